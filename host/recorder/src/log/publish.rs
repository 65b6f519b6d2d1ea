//! The publisher: it stores the entry bundles and tiles of a log, and only then the checkpoint that
//! needs them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tlog::{Kind, Tile, Tree};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::disk::Disk;
use crate::log::names;
use crate::log::registry::{Registry, RegistryError};
use crate::log::sequence::{Shared, Snapshot};
use crate::log::spool::{self, BUNDLE, CHUNK, Cursor, Stored};
use crate::objects::{Before, Objects, StoreError};
use crate::state::State;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// A checkpoint is kept at least so often; those between follow from the tiles.
const ARCHIVE_EVERY: Duration = Duration::from_secs(600);
/// Full bundles that are read before they are stored.
const AT_ONCE: u64 = 16;
const PER_CHUNK: u64 = CHUNK / BUNDLE;

#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no answer within {0:?}")]
    Slow(Duration),
    #[error("the registry: {0}")]
    Registry(#[from] RegistryError),
    #[error("the spool cannot be read: {0}")]
    Read(io::Error),
    /// Trying again would not help.
    #[error("the spool is damaged: {0}")]
    Damaged(String),
}

impl PublishError {
    /// Something else is stored where it belongs, and will stay there.
    fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(StoreError::Conflict(_)))
    }
}

impl From<io::Error> for PublishError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Read(error),
        }
    }
}

pub struct Publisher {
    pub state: Arc<State>,
    pub disk: Arc<dyn Disk>,
    pub objects: Objects,
    pub shared: Arc<Shared>,
    /// Logs of earlier epochs, as they ended.
    pub old: Vec<Arc<Snapshot>>,
    pub quarantine: PathBuf,
    /// Until it runs.
    pub registry: Option<Registry>,
    /// This instance's control stream.
    pub control: u128,
    pub stop: CancellationToken,
}

/// The size of a checkpoint with this log's signature.
fn size_in(note: &[u8], vkey: &str) -> Option<u64> {
    let verifier = tlog::Ed25519Verifier::parse(vkey).ok()?;
    let origin = tlog::Verifier::name(&verifier);
    let opened = tlog::open_checkpoint(note, origin, &[&verifier], &[]).ok()?;
    Some(opened.checkpoint.size)
}

/// How far one log is stored.
struct Progress {
    cursor: Cursor,
    /// Partial tiles that are in the store until the full one is.
    partial: BTreeSet<Tile>,
    /// When a checkpoint was put into the archive.
    archived: Option<Instant>,
    /// The size of the last checkpoint that was stored.
    stored: u64,
}

impl Publisher {
    /// Runs until it is told to stop.
    pub async fn run(self) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.work() => {}
        }
    }

    async fn work(mut self) {
        let mut registry = self.registry.take();
        // First, since the next log names what is in them.
        let stored = self.old_logs(registry.as_mut()).await;
        match registry {
            Some(registry) => drop(tokio::join!(
                self.current(),
                self.register(registry, stored)
            )),
            None => self.current().await,
        }
    }

    /// Stores the logs of earlier processes, and has each registered at once: a process that does not live long
    /// gets on with them, too. Gives those that are stored and not registered yet.
    async fn old_logs(&mut self, mut registry: Option<&mut Registry>) -> Vec<Arc<Snapshot>> {
        let old = std::mem::take(&mut self.old);
        let mut left = old.len();
        let mut stored = Vec::new();
        for log in old {
            match self.finish(&log).await {
                true => stored.push(log),
                false => left -= 1,
            }
            self.shared.set_old(left);
            let Some(to) = registry.as_mut() else {
                continue;
            };
            match to.register(&stored).await {
                Ok(()) => {
                    left -= stored.len();
                    stored.drain(..).for_each(|log| self.let_go(&log));
                    self.shared.set_old(left);
                }
                Err(error) => {
                    // They are registered with the next log, which does not wait for this.
                    tracing::warn!(%error, "logs of earlier processes are not registered yet");
                    registry = None;
                }
            }
        }
        stored
    }

    async fn current(&self) {
        let mut progress: Option<Progress> = None;
        let mut last: Option<Instant> = None;
        let mut failures = 0;
        loop {
            let work = self.shared.work.notified();
            let Some(log) = self.shared.latest() else {
                work.await;
                continue;
            };
            let due = last.map(|at| at + self.state.limits.publish_every);
            if let (Some(due), false) = (due, self.shared.in_hurry())
                && Instant::now() < due
            {
                tokio::select! {
                    () = work => {}
                    () = tokio::time::sleep_until(due) => {}
                }
                continue;
            }
            match self.publish(&mut progress, &log).await {
                Ok(()) => {
                    failures = 0;
                    last = Some(Instant::now());
                    self.note_stored(&log);
                    self.shared.published(&log);
                }
                Err(PublishError::Damaged(why)) => {
                    // What was signed cannot be shown any more, so nothing more may be signed.
                    let why = format!("the transparency log in the spool is damaged: {why}");
                    return self.state.poison(why);
                }
                Err(error) => {
                    failures += 1;
                    if failures == 1 && error.is_conflict() {
                        self.gap(format!("the log {} cannot be stored: {error}", log.epoch));
                    }
                    self.failed(&log, &error, failures).await;
                }
            }
        }
    }

    /// For whoever verifies with this spool at hand: so much the store has had.
    fn note_stored(&self, log: &Snapshot) {
        let stored = Stored {
            size: log.size,
            first_file: log.size / CHUNK,
        };
        if let Err(error) = spool::write_stored(&*self.disk, &log.dir, stored) {
            tracing::warn!(log = %log.epoch, %error, "how much is stored could not be noted");
        }
    }

    pub(super) async fn failed(&self, log: &Snapshot, error: &PublishError, failures: u32) {
        let counters = &self.state.counters;
        counters.store_failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(log = %log.epoch, %error, "a checkpoint is not stored yet; it stays in the spool");
        let doubled = FIRST_BACKOFF.saturating_mul(1 << failures.min(20).saturating_sub(1));
        tokio::time::sleep(doubled.min(self.state.limits.upload_backoff)).await;
    }

    /// Stores the rest of a log that an earlier process left. False: it cannot be.
    async fn finish(&self, log: &Arc<Snapshot>) -> bool {
        let mut progress = None;
        let mut failures = 0;
        loop {
            match self.publish(&mut progress, log).await {
                Ok(()) => return true,
                Err(PublishError::Damaged(why)) => {
                    self.put_aside(log, &why);
                    return false;
                }
                Err(error) if error.is_conflict() => {
                    self.put_aside(log, &error.to_string());
                    return false;
                }
                Err(error) => {
                    failures += 1;
                    self.failed(log, &error, failures).await;
                }
            }
        }
    }

    pub(super) fn let_go(&self, log: &Snapshot) {
        let bytes = spool::bytes_of(&log.dir).unwrap_or_default();
        if let Err(error) = spool::remove(&*self.disk, &log.dir) {
            // It is found, and stored, again at the next start, which changes nothing.
            tracing::warn!(log = %log.epoch, %error, "a stored log could not be removed from the spool");
            return;
        }
        self.state.log_went(bytes);
    }

    fn put_aside(&self, log: &Snapshot, why: &str) {
        tracing::error!(log = %log.epoch, %why, "a waiting log is damaged; it is put aside");
        let bytes = spool::bytes_of(&log.dir).unwrap_or_default();
        match spool::put_aside(&*self.disk, &log.dir, &self.quarantine) {
            Ok(()) => self.state.log_went(bytes),
            Err(error) => {
                tracing::error!(log = %log.epoch, %error, "a damaged log could not be put aside")
            }
        }
        self.gap(format!(
            "the waiting end of log {} cannot be stored: {why}",
            log.epoch
        ));
    }

    fn gap(&self, what: String) {
        self.state.post_gap(self.control, what, None);
    }

    /// Stores everything up to a checkpoint, and then that.
    async fn publish(
        &self,
        progress: &mut Option<Progress>,
        log: &Arc<Snapshot>,
    ) -> Result<(), PublishError> {
        let progress = match progress {
            Some(progress) => progress,
            None => {
                let vkey = format!("{}\n", log.vkey);
                self.put(&names::object(log.epoch, names::VKEY), vkey.into())
                    .await?;
                progress.insert(Progress {
                    cursor: Cursor::open(&log.dir)?,
                    partial: BTreeSet::new(),
                    archived: None,
                    stored: 0,
                })
            }
        };
        while progress.cursor.bundle < log.size / BUNDLE {
            self.bundles(progress, log).await?;
        }
        self.open_tiles(progress, log).await?;
        let note = Bytes::from(log.note.clone());
        let key = names::object(log.epoch, names::CHECKPOINT);
        self.limited(self.forward(&key, log, note.clone())).await?;
        // After it: what is archived was the newest once.
        let now = Instant::now();
        let due = progress.archived.is_none_or(|at| now >= at + ARCHIVE_EVERY);
        if due || self.shared.in_hurry() || log.is_over {
            self.put(&names::archived(log.epoch, log.size), note)
                .await?;
            progress.archived = Some(now);
        }
        progress.stored = log.size;
        Ok(())
    }

    /// Replaces the newest checkpoint, which never goes back: where the store has a later one with the
    /// log's own signature, this spool is a copy of an earlier time.
    async fn forward(&self, key: &str, log: &Snapshot, note: Bytes) -> Result<(), StoreError> {
        let there = self.objects.find(key).await?;
        if there.is_some_and(|there| size_in(&there, &log.vkey) > Some(log.size)) {
            return Err(StoreError::Conflict(key.to_owned()));
        }
        self.objects.put_latest(key, note).await
    }

    /// A few full bundles, and the full tiles that end with them.
    async fn bundles(
        &self,
        progress: &mut Progress,
        log: &Arc<Snapshot>,
    ) -> Result<(), PublishError> {
        let first = progress.cursor.bundle;
        let until = (log.size / BUNDLE).min(first + AT_ONCE);
        // Only what is below one file of leaves: it goes when all of that is stored.
        let until = until.min((first / PER_CHUNK + 1) * PER_CHUNK);
        // Some megabytes are read and hashed.
        let (of, mut cursor) = (log.clone(), progress.cursor.clone());
        let read = move || {
            let mut tiles = Vec::new();
            for _ in first..until {
                let len = bundle(&cursor, &of, &mut tiles)?;
                cursor.advance(len);
            }
            Ok::<_, PublishError>((cursor, tiles))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (cursor, tiles) = read.map_err(|e| PublishError::Read(io::Error::other(e)))??;
        let stores = tiles
            .into_iter()
            .map(|(tile, bytes)| self.put_tile(log.epoch, tile, bytes));
        futures::stream::iter(stores)
            .buffer_unordered(self.state.limits.uploads)
            .try_collect::<()>()
            .await?;
        progress.cursor = cursor;
        self.drop_partial(progress, log).await?;
        if until.is_multiple_of(PER_CHUNK) {
            let chunk = until / PER_CHUNK - 1;
            // So that what is not there is not missing.
            let stored = Stored {
                size: progress.stored,
                first_file: chunk + 1,
            };
            spool::write_stored(&*self.disk, &log.dir, stored)?;
            let bytes = spool::remove_chunk(&*self.disk, &log.dir, chunk)?;
            self.state.log_went(bytes);
        }
        Ok(())
    }

    async fn open_tiles(
        &self,
        progress: &mut Progress,
        log: &Snapshot,
    ) -> Result<(), PublishError> {
        if let Some((tile, bytes)) = last_entries(&progress.cursor, log)? {
            self.open_tile(progress, log, tile, bytes).await?;
        }
        for (tile, bytes) in &log.partial {
            self.open_tile(progress, log, *tile, Bytes::from(bytes.clone()))
                .await?;
        }
        Ok(())
    }

    async fn open_tile(
        &self,
        progress: &mut Progress,
        log: &Snapshot,
        tile: Tile,
        bytes: Bytes,
    ) -> Result<(), PublishError> {
        // Those of higher levels seldom change.
        if !progress.partial.contains(&tile) {
            self.put_tile(log.epoch, tile, bytes).await?;
            progress.partial.insert(tile);
        }
        Ok(())
    }

    /// Partial tiles may go when the full one is there.
    async fn drop_partial(
        &self,
        progress: &mut Progress,
        log: &Snapshot,
    ) -> Result<(), PublishError> {
        let stored = progress.cursor.bundle;
        let is_full = |tile: &Tile| match tile.kind {
            Kind::Entries | Kind::Level(0) => tile.index < stored,
            Kind::Level(level) => {
                let below = BUNDLE.saturating_pow(u32::from(level));
                (tile.index + 1).saturating_mul(below) <= stored
            }
        };
        let (gone, kept) = std::mem::take(&mut progress.partial)
            .into_iter()
            .partition(is_full);
        progress.partial = kept;
        let gone: BTreeSet<Tile> = gone;
        let removed = gone.into_iter().map(|tile| async move {
            let key = names::object(log.epoch, &tile.path());
            // One that stays is in nobody's way.
            if let Err(error) = self.limited(self.objects.remove(&key)).await {
                tracing::debug!(%key, %error, "a partial tile stays in the store");
            }
        });
        futures::stream::iter(removed)
            .buffer_unordered(self.state.limits.uploads)
            .collect::<()>()
            .await;
        Ok(())
    }

    async fn put_tile(&self, epoch: Uuid, tile: Tile, bytes: Bytes) -> Result<(), PublishError> {
        self.put(&names::object(epoch, &tile.path()), bytes).await
    }

    /// What belongs under a log's key is fixed by what was signed. So whatever else is there was altered, or
    /// cut by the store: it is replaced, and told of.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), PublishError> {
        if self.limited(self.objects.put_for_good(key, bytes)).await? == Before::Other {
            self.gap(format!(
                "{key} had other content in the store, and was replaced"
            ));
        }
        Ok(())
    }

    async fn limited<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, PublishError> {
        let limit = self.state.limits.upload_timeout;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(PublishError::Slow(limit)),
        }
    }
}

/// The next bundle, and the full tiles that end with it. Gives its length.
pub(super) fn bundle(
    cursor: &Cursor,
    log: &Snapshot,
    tiles: &mut Vec<(Tile, Bytes)>,
) -> Result<usize, PublishError> {
    let number = cursor.bundle;
    let bytes = cursor.read(BUNDLE)?;
    let (hashes, root) = hashes(&bytes)?;
    check(log, number, &root)?;
    let len = bytes.len();
    let full = |kind, index| Tile {
        kind,
        index,
        width: 256,
    };
    tiles.push((full(Kind::Entries, number), bytes.into()));
    tiles.push((full(Kind::Level(0), number), hashes.into()));
    let (mut level, mut index) = (1, number + 1);
    while index.is_multiple_of(BUNDLE) {
        index /= BUNDLE;
        let tile = full(Kind::Level(level), index - 1);
        tiles.push((tile, spool::read_tile(&log.dir, &tile)?.into()));
        level += 1;
    }
    Ok(len)
}

/// The entries after the last full bundle.
pub(super) fn last_entries(
    cursor: &Cursor,
    log: &Snapshot,
) -> Result<Option<(Tile, Bytes)>, PublishError> {
    let width = log.size % BUNDLE;
    if width == 0 {
        return Ok(None);
    }
    let bytes = cursor.read(width)?;
    let (hashes, _) = hashes(&bytes)?;
    let signed = log.partial.iter().find(|(t, _)| t.kind == Kind::Level(0));
    if signed.is_none_or(|(_, bytes)| *bytes != hashes) {
        let why = "its last entries are not what was signed";
        return Err(PublishError::Damaged(why.into()));
    }
    let tile = Tile {
        kind: Kind::Entries,
        index: log.size / BUNDLE,
        width: u16::try_from(width).unwrap_or(u16::MAX),
    };
    Ok(Some((tile, bytes.into())))
}

/// Are the leaves in the spool those that were signed?
fn check(log: &Snapshot, bundle: u64, root: &tlog::Hash) -> Result<(), PublishError> {
    let (tile, at) = (bundle / BUNDLE, (bundle % BUNDLE) as usize * 32);
    let open = log
        .partial
        .iter()
        .find(|(t, _)| t.kind == Kind::Level(1) && t.index == tile);
    let level_1 = match open {
        Some((_, bytes)) => bytes.clone(),
        None => spool::read_tile(
            &log.dir,
            &Tile {
                kind: Kind::Level(1),
                index: tile,
                width: 256,
            },
        )?,
    };
    match level_1.get(at..at + 32) == Some(root) {
        true => Ok(()),
        false => Err(PublishError::Damaged(format!(
            "entry bundle {bundle} is not what was signed"
        ))),
    }
}

/// The hashes of a bundle's entries, and the root over them.
fn hashes(bundle: &[u8]) -> Result<(Vec<u8>, tlog::Hash), PublishError> {
    let mut tree = Tree::new();
    let mut hashes = Vec::with_capacity(32 * BUNDLE as usize);
    for entry in tlog::entries(bundle) {
        let entry = entry.map_err(|e| PublishError::Damaged(e.to_string()))?;
        let hash = tlog::leaf_hash(entry);
        hashes.extend_from_slice(&hash);
        tree.append(hash, &mut |_, _| {});
    }
    Ok((hashes, tree.root()))
}

/// Everything of a log that is in the spool, for whoever asks how full it is.
pub fn size_of(logs: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(logs)? {
        let dir = entry?.path();
        if dir.is_dir() {
            sum += spool::bytes_of(&dir)?;
        }
    }
    Ok(sum)
}
