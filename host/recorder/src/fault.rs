//! A disk that fails on demand, for tests of this crate and of those that use it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile, RealDisk};
use crate::patient::EMFILE;

/// How the next operations fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC on the first write that would go beyond this many further bytes; what fits is written.
    NoSpaceAfter(u64),
    /// EIO from the sync after this many good ones.
    SyncFailsAfter(u64),
    /// Every sync takes so long.
    SyncTakes(std::time::Duration),
    /// A sync panics.
    SyncPanics,
    /// The write after this many good ones writes only half, then fails.
    ShortWriteAfter(u64),
    /// EIO from renames.
    RenameFails,
    /// EIO from filling a file ahead.
    FillFails,
    /// EIO from opening a file again.
    ReopenFails,
    CreateFails,
    RemoveFails,
    TruncateFails,
    SyncFileFails,
    SyncDirFails,
    /// EMFILE from everything that opens a file.
    NoDescriptors,
}

/// One operation that was tried, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Create(PathBuf),
    Reopen(PathBuf),
    Fill(PathBuf),
    Write(PathBuf),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Truncate(PathBuf),
    SyncFile(PathBuf),
    SyncDir(PathBuf),
}

/// Operations that are remembered; a longer test sets the disk anew in between.
const MAX_CALLS: usize = 1 << 17;

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
    /// Since the fault was set, good or bad.
    calls: Vec<Call>,
}

impl State {
    fn call(&mut self, call: Call) {
        if self.calls.len() < MAX_CALLS {
            self.calls.push(call);
        }
    }
}

impl FaultDisk {
    /// Counts from now. `None` heals the disk.
    pub fn set(&self, fault: Option<Fault>) {
        *self.state.lock() = State {
            fault,
            ..State::default()
        };
    }

    /// How often a file's sync was tried since the last `set`.
    pub fn sync_calls(&self) -> u64 {
        let state = self.state.lock();
        let syncs = state.calls.iter().filter(|c| matches!(c, Call::Sync(_)));
        syncs.count() as u64
    }

    /// What was tried since the last `set`.
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.clone()
    }

    /// Remembers the call; an error when one of `faults` is set.
    fn try_call(&self, call: Call, faults: &[Fault]) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(call);
        match state.fault.filter(|f| faults.contains(f)) {
            None => Ok(()),
            Some(Fault::NoDescriptors) => Err(io::Error::from_raw_os_error(EMFILE)),
            Some(fault) => Err(io::Error::other(format!("injected: {fault:?}"))),
        }
    }
}

struct FaultFile {
    inner: Arc<dyn DiskFile>,
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Disk for FaultDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.try_call(
            Call::Create(path.into()),
            &[Fault::CreateFails, Fault::NoDescriptors],
        )?;
        Ok(Arc::new(FaultFile {
            inner: RealDisk.create(path)?,
            path: path.into(),
            state: self.state.clone(),
        }))
    }

    fn reopen(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.try_call(
            Call::Reopen(path.into()),
            &[Fault::ReopenFails, Fault::NoDescriptors],
        )?;
        Ok(Arc::new(FaultFile {
            inner: RealDisk.reopen(path)?,
            path: path.into(),
            state: self.state.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.try_call(Call::Rename(from.into(), to.into()), &[Fault::RenameFails])?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.try_call(Call::Remove(path.into()), &[Fault::RemoveFails])?;
        RealDisk.remove(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.try_call(
            Call::Truncate(path.into()),
            &[Fault::TruncateFails, Fault::NoDescriptors],
        )?;
        RealDisk.truncate(path, len)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.try_call(
            Call::SyncFile(path.into()),
            &[Fault::SyncFileFails, Fault::NoDescriptors],
        )?;
        RealDisk.sync_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.try_call(
            Call::SyncDir(path.into()),
            &[Fault::SyncDirFails, Fault::NoDescriptors],
        )?;
        RealDisk.sync_dir(path)
    }
}

impl DiskFile for FaultFile {
    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::Write(self.path.clone()));
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

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::Sync(self.path.clone()));
        if let Some(Fault::SyncFailsAfter(n)) = state.fault
            && state.syncs >= n
        {
            return Err(io::Error::other("injected: input/output error"));
        }
        state.syncs += 1;
        let fault = state.fault;
        // Others write meanwhile.
        drop(state);
        match fault {
            Some(Fault::SyncTakes(time)) => std::thread::sleep(time),
            #[expect(clippy::panic, reason = "a test asks for it")]
            Some(Fault::SyncPanics) => panic!("injected"),
            _ => {}
        }
        self.inner.sync()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn fill(&self, from: u64, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::Fill(self.path.clone()));
        if state.fault == Some(Fault::FillFails) {
            return Err(io::Error::other("injected: input/output error"));
        }
        drop(state);
        self.inner.fill(from, len)
    }
}
