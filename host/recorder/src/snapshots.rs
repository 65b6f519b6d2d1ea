//! What decisions are made by, kept beside their recordings: bundles, plugins, sets of plugins.
//!
//! Each is an object whose key is the SHA-256 of its bytes. It is durable in the spool before `keep`
//! returns, and goes from there when the store has it; so whoever keeps a bundle before it decides
//! anything can be sure that the store gets it.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::chain::{self, Hash};
use crate::disk::{Disk, write_whole};
use crate::objects::{Before, Objects, StoreError};
use crate::recorder::Recorder;
use crate::state::State;
use crate::store::Store;

/// The largest object. A plugin's component is far smaller.
pub const MAX_SNAPSHOT: usize = 64 << 20;
/// Objects that may wait in the spool.
const MAX_WAITING: usize = 256;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Snapshot {
    /// The archive of a policy bundle; its hash is the bundle's digest.
    Bundle,
    /// A plugin's component; its hash is the plugin's digest.
    Plugin,
    /// Which plugins were in force together, in order, with their configurations.
    PluginSet,
}

impl Snapshot {
    pub const ALL: [Self; 3] = [Self::Bundle, Self::Plugin, Self::PluginSet];

    /// The first part of its keys.
    pub fn root(self) -> &'static str {
        match self {
            Self::Bundle => "bundles",
            Self::Plugin => "plugins",
            Self::PluginSet => "plugin-sets",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Bundle => "bundle",
            Self::Plugin => "wasm",
            Self::PluginSet => "json",
        }
    }

    /// Under which digest these bytes are kept.
    pub fn digest(bytes: &[u8]) -> String {
        hex::encode(chain::sha256(bytes))
    }

    /// The key of the object with this hash, in hex; none for what is no hash.
    pub fn key(self, digest: &str) -> Option<String> {
        Key::new(self, digest).map(|key| key.to_string())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    kind: Snapshot,
    sha256: Hash,
}

impl Key {
    fn new(kind: Snapshot, digest: &str) -> Option<Self> {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(digest, &mut sha256).ok()?;
        let key = Self { kind, sha256 };
        (hex::encode(sha256) == digest).then_some(key)
    }

    fn parse(key: &str) -> Option<Self> {
        let file_name = key.replacen('/', "_", 1);
        Self::from_file_name(&file_name).filter(|parsed| parsed.to_string() == key)
    }

    fn file_name(&self) -> String {
        self.to_string().replace('/', "_")
    }

    fn from_file_name(name: &str) -> Option<Self> {
        let (root, file) = name.split_once('_')?;
        let kind = Snapshot::ALL.into_iter().find(|k| k.root() == root)?;
        let (digest, extension) = file.split_once('.')?;
        Self::new(kind, digest).filter(|_| extension == kind.extension())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (root, extension) = (self.kind.root(), self.kind.extension());
        write!(f, "{root}/{}.{extension}", hex::encode(self.sha256))
    }
}

/// Why something cannot be kept. Whatever it is must not come into force.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error("{0} bytes are more than the {MAX_SNAPSHOT} that are kept beside recordings")]
    TooLarge(usize),
    #[error("{MAX_WAITING} bundles and plugins wait for the recording store already")]
    TooMany,
    #[error("the spool cannot keep it: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Recorder(#[from] pipeline::ports::JournalError),
}

/// Why a kept object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0:?} is not a SHA-256 in hex")]
    Digest(String),
    #[error("{0}: its content does not have the hash in its key")]
    Altered(String),
}

impl Store {
    /// What was kept under this digest; None if nothing was.
    pub async fn snapshot(
        &self,
        kind: Snapshot,
        digest: &str,
    ) -> Result<Option<Bytes>, SnapshotError> {
        let wrong = || SnapshotError::Digest(digest.to_owned());
        let key = Key::new(kind, digest).ok_or_else(wrong)?;
        let Some(bytes) = self.objects().find(&key.to_string()).await? else {
            return Ok(None);
        };
        match chain::sha256(&bytes) == key.sha256 {
            true => Ok(Some(bytes)),
            false => Err(SnapshotError::Altered(key.to_string())),
        }
    }
}

/// Checks everything that was kept in a store: how much there is, and what is not what its key says.
pub(crate) async fn check(objects: &Objects) -> Result<(u64, Vec<SnapshotFinding>), StoreError> {
    let (mut whole, mut findings) = (0, Vec::new());
    for kind in Snapshot::ALL {
        for listed in objects.list(kind.root()).await? {
            let Some(key) = Key::parse(&listed.key) else {
                findings.push(SnapshotFinding::Stranger(listed.key));
                continue;
            };
            // What is too large is not read.
            let bytes = match listed.size <= MAX_SNAPSHOT as u64 {
                true => objects.find(&listed.key).await?.unwrap_or_default(),
                false => Bytes::new(),
            };
            match chain::sha256(&bytes) == key.sha256 {
                true => whole += 1,
                false => findings.push(SnapshotFinding::Altered(listed.key)),
            }
        }
    }
    Ok((whole, findings))
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFinding {
    #[error("{0}: the bundle or plugin does not have the hash in its key")]
    Altered(String),
    #[error("{0} is no bundle or plugin that a Weir has kept")]
    Stranger(String),
}

/// What waits in a spool under this digest; None if nothing does, also where it was stored meanwhile.
/// Who looks for something asks the spool first, then the store. Blocks.
pub fn waiting_snapshot(spool: &std::path::Path, kind: Snapshot, digest: &str) -> Option<Bytes> {
    let key = Key::new(kind, digest)?;
    let bytes = std::fs::read(spool.join("snapshots").join(key.file_name())).ok()?;
    (chain::sha256(&bytes) == key.sha256).then(|| bytes.into())
}

impl Recorder {
    /// Keeps what decisions will be made by, durably; gives its digest. Call it before it comes into
    /// force: what cannot be kept must not. Blocks for a sync of the disk.
    pub fn keep(&self, kind: Snapshot, bytes: &[u8]) -> Result<String, KeepError> {
        self.inner.snapshots.keep(kind, bytes)
    }
}

/// The objects that wait in the spool.
pub(crate) struct Snapshots {
    dir: PathBuf,
    quarantine: PathBuf,
    disk: Arc<dyn Disk>,
    state: Arc<State>,
    inner: Mutex<Inner>,
    work: Notify,
    /// Told when one was stored.
    pub stored: Notify,
}

#[derive(Default)]
struct Inner {
    /// Kept by this process: in the spool, or stored.
    kept: HashSet<Key>,
    /// With their lengths, as they were counted.
    waiting: VecDeque<(Key, u64)>,
}

impl Snapshots {
    /// With what an earlier process left; its half-written files are removed, and damaged ones put
    /// aside, so that they can be kept anew.
    pub fn open(
        (dir, quarantine): (PathBuf, PathBuf),
        disk: Arc<dyn Disk>,
        state: Arc<State>,
    ) -> io::Result<Self> {
        let out = Self {
            dir,
            quarantine,
            disk,
            state,
            inner: Mutex::default(),
            work: Notify::new(),
            stored: Notify::new(),
        };
        for entry in std::fs::read_dir(&out.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".tmp") {
                out.disk.remove(&entry.path())?;
                continue;
            }
            let Some(key) = Key::from_file_name(&name) else {
                continue;
            };
            let bytes = std::fs::read(entry.path())?;
            if chain::sha256(&bytes) != key.sha256 {
                out.put_aside(&key);
                continue;
            }
            let len = bytes.len() as u64;
            out.state.pending_bytes.fetch_add(len, Ordering::Relaxed);
            let mut inner = out.inner.lock();
            inner.kept.insert(key);
            inner.waiting.push_back((key, len));
        }
        Ok(out)
    }

    fn put_aside(&self, key: &Key) {
        tracing::error!(
            %key,
            "a kept bundle or plugin was altered in the spool; it is put aside, and not stored"
        );
        let name = key.file_name();
        let moved = self
            .disk
            .rename(&self.dir.join(&name), &self.quarantine.join(&name));
        if let Err(error) = moved.and_then(|()| self.disk.sync_dir(&self.quarantine)) {
            tracing::error!(%key, %error, "it could not be put aside");
        }
    }

    /// Keeps an object, durably; gives its hash, in hex. Blocks for a sync of the disk.
    pub fn keep(&self, kind: Snapshot, bytes: &[u8]) -> Result<String, KeepError> {
        self.state.check()?;
        if bytes.len() > MAX_SNAPSHOT {
            return Err(KeepError::TooLarge(bytes.len()));
        }
        let key = Key {
            kind,
            sha256: chain::sha256(bytes),
        };
        let digest = hex::encode(key.sha256);
        // Held while it is written: nobody may believe that it is there before it is.
        let mut inner = self.inner.lock();
        if inner.kept.contains(&key) {
            return Ok(digest);
        }
        if inner.waiting.len() >= MAX_WAITING {
            return Err(KeepError::TooMany);
        }
        write_whole(&*self.disk, &self.dir.join(key.file_name()), bytes)?;
        self.disk.sync_dir(&self.dir)?;
        let len = bytes.len() as u64;
        self.state.pending_bytes.fetch_add(len, Ordering::Relaxed);
        inner.kept.insert(key);
        inner.waiting.push_back((key, len));
        drop(inner);
        self.work.notify_one();
        Ok(digest)
    }

    pub fn is_stored(&self) -> bool {
        self.inner.lock().waiting.is_empty()
    }

    /// Stores what waits, until `stop` is cancelled; what is on its way then stays in the spool.
    pub async fn run(self: Arc<Self>, objects: Objects, control: u128, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.work(&objects, control) => {}
        }
    }

    /// Again and again until the store has it.
    async fn work(&self, objects: &Objects, control: u128) {
        let mut failures = 0u32;
        loop {
            let work = self.work.notified();
            let next = self.inner.lock().waiting.front().copied();
            let Some((key, len)) = next else {
                work.await;
                continue;
            };
            let done = self.store(objects, key, control).await;
            if done != Done::Later {
                failures = 0;
                self.leave(&key, len, done);
                continue;
            }
            // Another one first, next time.
            self.inner.lock().waiting.rotate_left(1);
            failures = failures.saturating_add(1);
            let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(20).saturating_sub(1));
            tokio::time::sleep(pause.min(self.state.limits.upload_backoff)).await;
        }
    }

    /// It waits no more.
    fn leave(&self, key: &Key, len: u64, done: Done) {
        // Held until it is over: nobody may believe that something is kept that was put aside.
        let mut inner = self.inner.lock();
        if done == Done::Altered {
            self.put_aside(key);
            inner.kept.remove(key);
        }
        inner.waiting.retain(|(k, _)| k != key);
        drop(inner);
        self.state.pending_bytes.fetch_sub(len, Ordering::Relaxed);
        self.state.room.notify_waiters();
        self.stored.notify_waiters();
    }

    async fn store(&self, objects: &Objects, key: Key, control: u128) -> Done {
        let path = self.dir.join(key.file_name());
        let read = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || std::fs::read(path)).await
        };
        let bytes = match read {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => {
                tracing::error!(%key, %error, "a kept object cannot be read; it stays in the spool");
                return Done::Later;
            }
            Err(error) => {
                tracing::error!(%key, %error, "reading a kept object was interrupted");
                return Done::Later;
            }
        };
        let gap = |what| {
            let file = Some(key.file_name());
            self.state.post_gap(control, what, file);
        };
        if chain::sha256(&bytes) != key.sha256 {
            gap(format!(
                "{key} was altered in the spool before it was stored"
            ));
            return Done::Altered;
        }
        let limit = self.state.limits.upload_timeout;
        let name = key.to_string();
        let put = objects.put_for_good(&name, bytes.into());
        let error = match tokio::time::timeout(limit, put).await {
            Ok(Ok(before)) => {
                if before == Before::Other {
                    gap(format!(
                        "{key} had other content in the store, and was replaced"
                    ));
                }
                // What cannot be removed is stored again at the next start, which changes nothing.
                if let Err(error) = self.disk.remove(&path) {
                    tracing::warn!(%key, %error, "a stored object could not be removed from the spool");
                }
                return Done::Stored;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {limit:?}"),
        };
        let counters = &self.state.counters;
        counters.store_failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(%key, %error, "a bundle or plugin is not stored yet; it stays in the spool");
        Done::Later
    }
}

/// What became of an attempt to store one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Stored,
    /// It is not what was kept.
    Altered,
    Later,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_spelling() {
        let digest = "ab".repeat(32);
        for kind in Snapshot::ALL {
            let key = Key::new(kind, &digest).unwrap();
            assert_eq!(Key::from_file_name(&key.file_name()), Some(key));
            assert_eq!(kind.key(&digest), Some(key.to_string()));
            for wrong in [
                "",
                "ab",
                &"AB".repeat(32),
                &"../".repeat(22),
                &"zz".repeat(32),
            ] {
                assert_eq!(kind.key(wrong), None, "{wrong}");
            }
        }
        let of = |name: &str| Key::from_file_name(&name.replace('#', &digest));
        assert!(of("bundles_#.bundle").is_some());
        for wrong in [
            "bundles_#.wasm",
            "bundles_#",
            "rec_#.rec",
            "bundles_#.bundle.tmp",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
