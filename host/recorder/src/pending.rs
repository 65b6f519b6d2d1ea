//! Sealed segments that wait in the spool: for the store to have them, and for the log to know that
//! they were sealed. A file goes when both are true; until the store has it, a file that the log knows
//! of carries `.marked` at the end of its name, because the log forgets its marks with its old files.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::chain;
use crate::disk::{Disk, write_whole};
use crate::keys::SegmentKey;
use crate::state::State;

/// Bytes of segments that are kept in memory until somebody tries to store them; others are read from their files.
pub const MAX_FRESH: usize = 32 << 20;

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
    /// Nobody has tried these.
    queue: VecDeque<SegmentKey>,
    /// These could not be stored, and when each is tried again.
    later: BTreeSet<(Instant, SegmentKey)>,
    /// Was the last one that was taken of those?
    took_later: bool,
    /// Just sealed: what is hashed already is not read and hashed again. How many bytes these are.
    fresh: HashMap<SegmentKey, Bytes>,
    fresh_bytes: usize,
}

struct Entry {
    len: u64,
    stored: bool,
    marked: bool,
    /// So often it could not be stored.
    failures: u32,
}

/// What there is to store.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Segment(SegmentKey),
    /// Nothing before then, unless a segment comes.
    At(Instant),
    Nothing,
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

    /// Queues a segment that was just written, and whose hash was taken of these bytes.
    pub fn add_fresh(&self, key: SegmentKey, bytes: Bytes) {
        let len = bytes.len();
        let mut inner = self.inner.lock();
        if inner.fresh_bytes.saturating_add(len) <= MAX_FRESH && !inner.entries.contains_key(&key) {
            inner.fresh_bytes += len;
            inner.fresh.insert(key, bytes);
        }
        drop(inner);
        self.add(key, len as u64, false);
    }

    /// Its bytes, if they are still in memory. They are given once: who fails to store them reads the file later.
    pub fn take_fresh(&self, key: &SegmentKey) -> Option<Bytes> {
        let mut inner = self.inner.lock();
        let bytes = inner.fresh.remove(key)?;
        inner.fresh_bytes = inner.fresh_bytes.saturating_sub(bytes.len());
        Some(bytes)
    }

    /// Queues a segment whose file is there already.
    pub fn add(&self, key: SegmentKey, len: u64, marked: bool) {
        let mut inner = self.inner.lock();
        let entry = Entry {
            len,
            stored: false,
            marked,
            failures: 0,
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

    /// The next segment to store. What could not be stored before and what nobody has tried take turns, so that
    /// neither waits for the other to come to an end.
    pub fn take(&self, now: Instant) -> Next {
        let mut inner = self.inner.lock();
        let due = inner.later.first().copied();
        let is_due = due.is_some_and(|(at, _)| at <= now);
        if is_due && (!inner.took_later || inner.queue.is_empty()) {
            inner.took_later = true;
            return match inner.later.pop_first() {
                Some((_, key)) => Next::Segment(key),
                None => Next::Nothing,
            };
        }
        inner.took_later = false;
        match (inner.queue.pop_front(), due) {
            (Some(key), _) => Next::Segment(key),
            (None, Some((at, _))) => Next::At(at),
            (None, None) => Next::Nothing,
        }
    }

    /// Tries a segment again, after a pause that goes by how often it has failed by now. Nobody waits for it
    /// meanwhile.
    pub fn again(&self, key: SegmentKey, now: Instant, pause: impl FnOnce(u32) -> Duration) {
        let mut inner = self.inner.lock();
        let Some(entry) = inner.entries.get_mut(&key) else {
            return;
        };
        entry.failures = entry.failures.saturating_add(1);
        let at = now + pause(entry.failures);
        inner.later.insert((at, key));
        drop(inner);
        // Whoever has nothing to do waits for it, if whoever tried it is busy then.
        self.work.notify_one();
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
        inner.later.retain(|(_, k)| k != key);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::options::Limits;

    fn nowhere() -> Pending {
        let dir = PathBuf::from("nowhere");
        let state = Arc::new(State::new(Limits::default()));
        Pending::new(dir.clone(), dir, Arc::new(RealDisk), state)
    }

    #[test]
    fn what_is_kept_in_memory_is_bounded_and_given_once() {
        let pending = nowhere();
        let half = Bytes::from(vec![1; MAX_FRESH / 2]);
        (0..3).for_each(|n| pending.add_fresh(SegmentKey::sample(n), half.clone()));
        assert_eq!(pending.not_stored(), 3);
        assert_eq!(
            pending.take_fresh(&SegmentKey::sample(2)),
            None,
            "there was no room"
        );
        assert_eq!(
            pending.take_fresh(&SegmentKey::sample(0)),
            Some(half.clone())
        );
        assert_eq!(pending.take_fresh(&SegmentKey::sample(0)), None);
        assert!(matches!(
            pending.read(&SegmentKey::sample(0)),
            Err(ReadError::Gone)
        ));
        pending.add_fresh(SegmentKey::sample(3), half.clone());
        assert_eq!(
            pending.take_fresh(&SegmentKey::sample(3)),
            Some(half.clone())
        );
        // One that is known already is not kept twice.
        pending.add_fresh(SegmentKey::sample(3), half.clone());
        assert_eq!(pending.take_fresh(&SegmentKey::sample(3)), None);
        assert_eq!(pending.take_fresh(&SegmentKey::sample(1)), Some(half));
        assert_eq!(pending.inner.lock().fresh_bytes, 0);
    }

    #[test]
    fn what_cannot_be_stored_holds_up_nothing_and_is_not_forgotten() {
        let pending = nowhere();
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(pending.take(now), Next::Nothing);
        (0..3).for_each(|n| pending.add(SegmentKey::sample(n), 1, true));
        for n in 0..3 {
            assert_eq!(pending.take(now), Next::Segment(SegmentKey::sample(n)));
            pending.again(SegmentKey::sample(n), now, |failures| {
                assert_eq!(failures, 1);
                second * (3 - n)
            });
        }
        // The first that is due, not the first that failed.
        assert_eq!(pending.take(now), Next::At(now + second));
        (3..5).for_each(|n| pending.add(SegmentKey::sample(n), 1, true));
        assert_eq!(pending.take(now), Next::Segment(SegmentKey::sample(3)));
        // All are due: they take turns.
        let late = now + 3 * second;
        for n in [2, 4, 1, 0] {
            assert_eq!(pending.take(late), Next::Segment(SegmentKey::sample(n)));
        }
        assert_eq!(pending.take(late), Next::Nothing);
        pending.again(SegmentKey::sample(0), late, |failures| second * failures);
        assert_eq!(pending.take(late), Next::At(late + 2 * second));
        pending.quarantine(&SegmentKey::sample(0));
        pending.again(SegmentKey::sample(0), late, |_| second);
        assert_eq!(pending.take(late), Next::Nothing);
    }
}
