//! A disk that fails on demand, for tests of this crate and of those that use it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, RealDisk};

/// How the next writes or syncs fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC on the first write that would go beyond this many further bytes; what fits is written.
    NoSpaceAfter(u64),
    /// EIO from the sync after this many good ones.
    SyncFailsAfter(u64),
    /// The write after this many good ones writes only half, then fails.
    ShortWriteAfter(u64),
    /// EIO from renames.
    RenameFails,
}

/// [`RealDisk`] until a fault is set.
#[derive(Debug, Default, Clone)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    written: u64,
    writes: u64,
    syncs: u64,
    /// Syncs since the fault was set, good or bad.
    sync_calls: u64,
}

impl FaultDisk {
    /// Counts from now. `None` heals the disk.
    pub fn set(&self, fault: Option<Fault>) {
        *self.state.lock() = State {
            fault,
            ..State::default()
        };
    }

    /// How often a sync was tried since the last `set`.
    pub fn sync_calls(&self) -> u64 {
        self.state.lock().sync_calls
    }
}

struct FaultFile {
    inner: Box<dyn DiskFile>,
    state: Arc<Mutex<State>>,
}

impl Disk for FaultDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultFile {
            inner: RealDisk.create(path)?,
            state: self.state.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.state.lock().fault == Some(Fault::RenameFails) {
            return Err(io::Error::other("injected: rename failed"));
        }
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        RealDisk.truncate(path, len)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
}

impl DiskFile for FaultFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let len = bytes.len() as u64;
        let (fits, error) = match state.fault {
            Some(Fault::NoSpaceAfter(limit)) if state.written + len > limit => (
                limit.saturating_sub(state.written),
                Some(io::ErrorKind::StorageFull),
            ),
            Some(Fault::ShortWriteAfter(n)) if state.writes >= n => {
                (len / 2, Some(io::ErrorKind::WriteZero))
            }
            _ => (len, None),
        };
        state.writes += 1;
        state.written += fits;
        let fits = usize::try_from(fits).unwrap_or(usize::MAX);
        self.inner.write_all(bytes.get(..fits).unwrap_or(bytes))?;
        error.map_or(Ok(()), |kind| Err(io::Error::new(kind, "injected")))
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.sync_calls += 1;
        if let Some(Fault::SyncFailsAfter(n)) = state.fault
            && state.syncs >= n
        {
            return Err(io::Error::other("injected: input/output error"));
        }
        state.syncs += 1;
        self.inner.sync()
    }
}
