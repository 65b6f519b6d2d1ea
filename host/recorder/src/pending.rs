//! Sealed segments that wait in the spool: for the store to have them, and for the log to know that
//! they were sealed. A file goes when both are true; until the store has it, a file that the log knows
//! of carries `.marked` at the end of its name, because the log forgets its marks with its old files.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::chain;
use crate::disk::{Disk, write_whole};
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
    /// Told when a segment was stored, or will never be.
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
    /// It may be readable later.
    #[error("it cannot be read: {0}")]
    Io(io::Error),
    #[error("it is not there any more")]
    Gone,
    #[error("its content is not what its name says")]
    Altered,
}

impl ReadError {
    /// Trying again would not help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Gone | Self::Altered)
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Io(error),
        }
    }
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

    /// Writes a sealed segment. Its content is durable afterwards, its name after the next `sync`;
    /// then it is to be `add`ed.
    pub fn write(&self, key: SegmentKey, bytes: &[u8]) -> io::Result<()> {
        write_whole(&*self.disk, &self.dir.join(key.file_name()), bytes)
    }

    /// Queues a segment whose file is there already.
    pub fn add(&self, key: SegmentKey, len: u64, marked: bool) {
        let mut inner = self.inner.lock();
        let entry = Entry {
            len,
            stored: false,
            marked,
        };
        if inner.entries.insert(key, entry).is_none() {
            inner.queue.push_back(key);
            self.state.pending_bytes.fetch_add(len, Ordering::Relaxed);
        }
        drop(inner);
        self.work.notify_one();
    }

    /// The log knows of it, durably. The new name is durable after the next `sync`.
    pub fn marked(&self, key: &SegmentKey) -> io::Result<()> {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.entries.get_mut(key).filter(|e| !e.marked) else {
            return Ok(());
        };
        let old = self.dir.join(key.file_name());
        entry.marked = true;
        if !entry.stored {
            return self.disk.rename(&old, &self.dir.join(marked_name(key)));
        }
        let len = entry.len;
        inner.entries.remove(key);
        self.gone(key, &old, len);
        Ok(())
    }

    /// The store has it.
    pub fn stored(&self, key: &SegmentKey) {
        let mut inner = self.inner.lock();
        if let Some(entry) = inner.entries.get_mut(key) {
            entry.stored = true;
            if entry.marked {
                let len = entry.len;
                inner.entries.remove(key);
                self.gone(key, &self.dir.join(marked_name(key)), len);
            }
        }
        drop(inner);
        self.stored.notify_waiters();
    }

    fn gone(&self, key: &SegmentKey, path: &Path, len: u64) {
        // What cannot be removed is found and stored again at the next start, which changes nothing.
        if let Err(error) = self.disk.remove(path) {
            tracing::warn!(%key, %error, "a stored segment could not be removed from the spool");
        }
        self.state.pending_bytes.fetch_sub(len, Ordering::Relaxed);
        self.state.room.notify_waiters();
    }

    /// Makes the names durable, before the log forgets its marks.
    pub fn sync(&self) -> io::Result<()> {
        self.disk.sync_dir(&self.dir)
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
        // It may be marked, and so renamed, between two looks.
        let bytes = match std::fs::read(self.dir.join(key.file_name())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::read(self.dir.join(marked_name(key)))?
            }
            other => other?,
        };
        if chain::sha256(&bytes) != key.sha256 {
            return Err(ReadError::Altered);
        }
        Ok(Bytes::from(bytes))
    }

    /// Puts a segment aside that is not what it should be. It is not stored any more.
    pub fn quarantine(&self, key: &SegmentKey) {
        let to = self.quarantine.join(key.file_name());
        let moved = self
            .disk
            .rename(&self.dir.join(key.file_name()), &to)
            .or_else(|_| self.disk.rename(&self.dir.join(marked_name(key)), &to));
        let durable = moved.and_then(|()| self.disk.sync_dir(&self.quarantine));
        if let Err(error) = durable {
            tracing::error!(%key, %error, "a damaged segment could not be put aside");
        }
        let mut inner = self.inner.lock();
        let gone = inner.entries.remove(key);
        inner.queue.retain(|k| k != key);
        drop(inner);
        let len = gone.map_or(0, |e| e.len);
        self.state.pending_bytes.fetch_sub(len, Ordering::Relaxed);
        let counters = &self.state.counters;
        counters.quarantined.fetch_add(1, Ordering::Relaxed);
        self.stored.notify_waiters();
    }

    /// Is a segment of this stream here?
    pub fn has(&self, stream: Uuid) -> bool {
        let inner = self.inner.lock();
        inner.entries.keys().any(|key| key.stream == stream)
    }

    /// Segments that the store does not have yet.
    pub fn not_stored(&self) -> u64 {
        let inner = self.inner.lock();
        inner.entries.values().filter(|e| !e.stored).count() as u64
    }
}

const MARKED: &str = ".marked";

fn marked_name(key: &SegmentKey) -> String {
    format!("{}{MARKED}", key.file_name())
}

/// A segment in the spool, by the name of its file; true when the log knows of it.
pub fn parse_name(name: &str) -> Option<(SegmentKey, bool)> {
    match name.strip_suffix(MARKED) {
        Some(name) => Some((SegmentKey::from_file_name(name)?, true)),
        None => Some((SegmentKey::from_file_name(name)?, false)),
    }
}

/// A waiting segment that an earlier process left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    pub key: SegmentKey,
    pub marked: bool,
    pub len: u64,
}

/// The waiting segments that an earlier process left; its half-written ones are removed.
pub fn left_behind(dir: &Path, disk: &dyn Disk) -> io::Result<Vec<Left>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".tmp") {
            disk.remove(&entry.path())?;
        } else if let Some((key, marked)) = parse_name(&name) {
            let len = entry.metadata()?.len();
            out.push(Left { key, marked, len });
        }
    }
    out.sort();
    Ok(out)
}
