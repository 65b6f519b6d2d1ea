//! Sealed segments that wait in the spool: for the store to have them, and for the log to know that
//! they were sealed. A file goes when both are true.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::chain;
use crate::disk::Disk;
use crate::keys::SegmentKey;
use crate::state::State;

pub struct Pending {
    dir: PathBuf,
    quarantine: PathBuf,
    disk: Arc<dyn Disk>,
    state: Arc<State>,
    inner: Mutex<Inner>,
    /// Told when a segment can be stored.
    pub work: Notify,
    /// Told when a segment was stored.
    pub stored: Notify,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<SegmentKey, Entry>,
    queue: VecDeque<SegmentKey>,
}

struct Entry {
    len: u64,
    stored: bool,
    marked: bool,
}

/// Why a waiting segment cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    #[error("its content is not what its name says")]
    Altered,
}

impl Pending {
    pub fn new(dir: PathBuf, quarantine: PathBuf, disk: Arc<dyn Disk>, state: Arc<State>) -> Self {
        Self {
            dir,
            quarantine,
            disk,
            state,
            inner: Mutex::default(),
            work: Notify::new(),
            stored: Notify::new(),
        }
    }

    /// Writes a sealed segment durably and queues it for the store.
    pub fn write(&self, key: SegmentKey, bytes: &[u8]) -> io::Result<()> {
        let name = key.file_name();
        let temporary = self.dir.join(format!("{name}.tmp"));
        if temporary.exists() {
            self.disk.remove(&temporary)?;
        }
        let mut file = self.disk.create(&temporary)?;
        file.write_all(bytes)?;
        file.sync()?;
        self.disk.rename(&temporary, &self.dir.join(name))?;
        self.disk.sync_dir(&self.dir)?;
        self.add(key, bytes.len() as u64);
        Ok(())
    }

    /// Queues a segment whose file is there already.
    pub fn add(&self, key: SegmentKey, len: u64) {
        let mut inner = self.inner.lock();
        let entry = Entry {
            len,
            stored: false,
            marked: false,
        };
        if inner.entries.insert(key, entry).is_none() {
            inner.queue.push_back(key);
            self.state.pending_bytes.fetch_add(len, Ordering::Relaxed);
        }
        drop(inner);
        self.work.notify_one();
    }

    /// The log knows of it, durably.
    pub fn marked(&self, key: &SegmentKey) {
        self.update(key, |e| e.marked = true);
    }

    pub fn stored(&self, key: &SegmentKey) {
        self.update(key, |e| e.stored = true);
        self.stored.notify_waiters();
    }

    fn update(&self, key: &SegmentKey, change: impl FnOnce(&mut Entry)) {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.entries.get_mut(key) else {
            return;
        };
        change(entry);
        if !(entry.marked && entry.stored) {
            return;
        }
        let len = entry.len;
        inner.entries.remove(key);
        drop(inner);
        // What cannot be removed is found and stored again at the next start, which changes nothing.
        if let Err(error) = self.disk.remove(&self.dir.join(key.file_name())) {
            tracing::warn!(%key, %error, "a stored segment could not be removed from the spool");
        }
        self.state.pending_bytes.fetch_sub(len, Ordering::Relaxed);
        self.state.room.notify_waiters();
    }

    /// The next segment to store.
    pub fn take(&self) -> Option<SegmentKey> {
        self.inner.lock().queue.pop_front()
    }

    /// Tries a segment again later, after the others.
    pub fn put_back(&self, key: SegmentKey) {
        self.inner.lock().queue.push_back(key);
    }

    pub fn read(&self, key: &SegmentKey) -> Result<Bytes, ReadError> {
        let bytes = std::fs::read(self.dir.join(key.file_name())).map_err(ReadError::Io)?;
        if chain::sha256(&bytes) != key.sha256 {
            return Err(ReadError::Altered);
        }
        Ok(Bytes::from(bytes))
    }

    /// Puts a segment aside that is not what it should be.
    pub fn quarantine(&self, key: &SegmentKey) {
        let name = key.file_name();
        let moved = self
            .disk
            .rename(&self.dir.join(&name), &self.quarantine.join(&name));
        if let Err(error) = moved {
            tracing::error!(%key, %error, "a damaged segment could not be put aside");
        }
        let gone = self.inner.lock().entries.remove(key);
        let len = gone.map_or(0, |e| e.len);
        self.state.pending_bytes.fetch_sub(len, Ordering::Relaxed);
        let counters = &self.state.counters;
        counters.quarantined.fetch_add(1, Ordering::Relaxed);
    }

    /// Segments that the store does not have yet.
    pub fn not_stored(&self) -> u64 {
        let inner = self.inner.lock();
        inner.entries.values().filter(|e| !e.stored).count() as u64
    }
}

/// The waiting segments that an earlier process left; its half-written ones are removed.
pub fn left_behind(dir: &Path, disk: &dyn Disk) -> io::Result<Vec<(SegmentKey, u64)>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".tmp") {
            disk.remove(&entry.path())?;
        } else if let Some(key) = SegmentKey::from_file_name(&name) {
            out.push((key, entry.metadata()?.len()));
        }
    }
    out.sort();
    Ok(out)
}
