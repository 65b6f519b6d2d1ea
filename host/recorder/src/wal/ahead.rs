//! The next log file, written with zeros before it is needed.
//!
//! A sync of a file that grows, or of blocks that were only allocated, has to make durable where its
//! blocks are, too: on most file systems that is a second write, and often one of a journal. Where every
//! block was written before, the data is all there is. So a file is filled while the one before it is in
//! use, and gets its number when that one is full. Whatever goes wrong here costs time only: the log goes
//! on in a file that was not filled.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::disk::{Disk, DiskFile};

/// Its name until it has a number.
const NAME: &str = "ahead";
/// Zeros that are written, and synced, at once: nobody's sync waits for more of them.
const PIECE: u64 = 1 << 20;
/// A file is made only where the disk has room for so many.
const ROOM: u64 = 4;

#[derive(Default)]
struct Flags {
    ready: AtomicBool,
    stop: AtomicBool,
}

pub struct Ahead {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    len: u64,
    flags: Arc<Flags>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// For files of so many bytes. What an earlier process left may not be zeros to its end, and goes.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, len: u64) -> io::Result<Self> {
        let path = dir.join(NAME);
        if path.exists() {
            disk.remove(&path)?;
        }
        Ok(Self {
            disk,
            path,
            len,
            flags: Arc::default(),
            thread: None,
        })
    }

    /// Begins to make a file, unless that has begun.
    pub fn begin(&mut self) {
        if self.thread.is_some() {
            return;
        }
        let (disk, path, len) = (self.disk.clone(), self.path.clone(), self.len);
        let flags = self.flags.clone();
        let make = move || match make(&*disk, &path, len, &flags.stop) {
            Ok(made) => flags.ready.store(made, Ordering::Release),
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::Unsupported => {
                        tracing::debug!(%error, "no log file is filled ahead")
                    }
                    _ => {
                        tracing::warn!(%error, path = %path.display(), "the next log file is not filled ahead")
                    }
                }
                // Perhaps it was never there.
                disk.remove(&path).ok();
            }
        };
        let thread = std::thread::Builder::new().name("weir-ahead".into());
        match thread.spawn(make) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => tracing::warn!(%error, "no thread fills the next log file ahead"),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.flags.ready.load(Ordering::Acquire)
    }

    /// Gives the file, if it is there, this name, and how much of it was written. The name is durable after
    /// the next sync of the directory.
    pub fn take(&mut self, name: &Path) -> Option<(Arc<dyn DiskFile>, u64)> {
        if !self.is_ready() {
            // It is being made, or could not be: then it is tried again for the file after this one.
            if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
                self.thread = None;
            }
            return None;
        }
        self.flags.ready.store(false, Ordering::Release);
        self.thread = None;
        let renamed = self.disk.rename(&self.path, name);
        let opened = renamed.and_then(|()| self.disk.reopen(name));
        match opened {
            Ok(file) => Some((file, self.len)),
            Err(error) => {
                tracing::warn!(%error, path = %name.display(), "a filled log file cannot be used");
                // The number must be free for another.
                for path in [name, &self.path] {
                    self.disk.remove(path).ok();
                }
                None
            }
        }
    }

    /// Nothing more is written after this.
    fn stop(&mut self) {
        self.flags.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_ok()
            && self.is_ready()
        {
            self.flags.ready.store(false, Ordering::Release);
            self.disk.remove(&self.path).ok();
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.stop();
    }
}

/// False: it was stopped, and what was made is gone.
fn make(disk: &dyn Disk, path: &Path, len: u64, stop: &AtomicBool) -> io::Result<bool> {
    // What is left of a disk that is nearly full belongs to those who need it now.
    if free(path)? < len.saturating_mul(ROOM) {
        let what = "the disk has too little room left for it";
        return Err(io::Error::new(io::ErrorKind::StorageFull, what));
    }
    let file = disk.create(path)?;
    file.allocate(len)?;
    let mut filled = 0;
    while filled < len {
        if stop.load(Ordering::Acquire) {
            disk.remove(path)?;
            return Ok(false);
        }
        let piece = PIECE.min(len - filled);
        file.fill(filled, piece)?;
        filled += piece;
    }
    Ok(true)
}

/// Bytes that are free where this file is to be.
#[cfg(unix)]
fn free(path: &Path) -> io::Result<u64> {
    let dir = path.parent().unwrap_or(path);
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free(_path: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}
