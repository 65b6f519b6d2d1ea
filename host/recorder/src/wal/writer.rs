//! Appends blocks to the current log file, and begins a new one when it is full.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::chain::Hash;
use crate::disk::{Disk, DiskFile};
use crate::wal::ahead::Ahead;
use crate::wal::format::{FILE_HEADER, FileHeader, FormatError, Packer};
use crate::wal::scan;

/// A file that may grow larger is not allocated at its full size.
const ALLOCATED_AT_MOST: u64 = 256 << 20;
/// Of the first file of a process, so much is filled before it is used: a start does not wait for more.
const FIRST_FILLED: u64 = 1 << 20;

/// Any error here poisons the log: the caller never writes again.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("writing the log file {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a block cannot be encoded: {0}")]
    Block(FormatError),
}

pub struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    rotate_at: u64,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    packer: Packer,
    /// So much of the file was written before it was used.
    filled: u64,
    /// So much of it is durable.
    synced: u64,
    /// None: nothing more is written.
    pub ahead: Option<Ahead>,
    pub file_no: u64,
    pub file_len: u64,
    pub chain: Hash,
    pub next_seq: u64,
}

impl Writer {
    /// Begins file `file_no`, which continues `chain`.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        rotate_at: u64,
        file_no: u64,
        next_seq: u64,
        chain: Hash,
    ) -> Result<Self, WriteError> {
        let path = scan::file_path(&dir, file_no);
        let allocated = rotate_at.min(ALLOCATED_AT_MOST);
        let first_filled = allocated.min(FIRST_FILLED);
        let header = FileHeader {
            file_no,
            first_seq: next_seq,
            prev_chain: chain,
        };
        let make = || {
            let ahead = Ahead::new(disk.clone(), &dir, allocated)?;
            let file = disk.create(&path)?;
            let filled = match file.allocate(allocated) {
                Ok(()) => first_filled,
                Err(error) => not_allocated(&error),
            };
            if filled > 0 {
                file.fill(0, filled)?;
            }
            begin(&*disk, &dir, &*file, header)?;
            Ok((ahead, file, filled))
        };
        let (ahead, file, filled) = make().map_err(|source| WriteError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            filled,
            synced: FILE_HEADER as u64,
            ahead: Some(ahead),
            disk,
            dir,
            rotate_at,
            file,
            path,
            packer: Packer::default(),
            file_no,
            file_len: FILE_HEADER as u64,
            chain,
            next_seq,
        })
    }

    /// Is the current file full? What is not filled of it is used only as long as no other one is.
    pub fn is_full(&self) -> bool {
        self.file_len >= self.rotate_at || (self.file_len >= self.filled && self.is_ahead())
    }

    fn is_ahead(&self) -> bool {
        self.ahead.as_ref().is_some_and(Ahead::is_ready)
    }

    /// Goes on in a new file.
    pub fn rotate(&mut self) -> Result<(), WriteError> {
        let number = self.file_no + 1;
        let path = scan::file_path(&self.dir, number);
        let header = FileHeader {
            file_no: number,
            first_seq: self.next_seq,
            prev_chain: self.chain,
        };
        let mut make = || {
            let (file, filled) = match self.ahead.as_mut().and_then(|ahead| ahead.take(&path)) {
                Some(filled) => filled,
                None => {
                    let file = self.disk.create(&path)?;
                    let allocated = file.allocate(self.rotate_at.min(ALLOCATED_AT_MOST));
                    (file, allocated.map_or_else(|e| not_allocated(&e), |()| 0))
                }
            };
            begin(&*self.disk, &self.dir, &*file, header)?;
            Ok((file, filled))
        };
        let (file, filled) = make().map_err(|source| WriteError::Io {
            path: path.clone(),
            source,
        })?;
        if self.file_len < self.rotate_at.min(ALLOCATED_AT_MOST)
            && let Err(error) = self.disk.truncate(&self.path, self.file_len)
        {
            // What was allocated and not used stays until the file goes.
            tracing::debug!(%error, path = %self.path.display(), "a log file keeps what it does not need");
        }
        self.file = file;
        self.filled = filled;
        self.synced = FILE_HEADER as u64;
        self.path = path;
        self.file_no = number;
        self.file_len = FILE_HEADER as u64;
        Ok(())
    }

    /// Appends one block, in one write. It is durable once the file is synced. So many bytes of `raw` are
    /// packed.
    pub fn append(
        &mut self,
        raw: &[u8],
        packed: usize,
        nrec: u32,
        chain_after: Hash,
    ) -> Result<u64, WriteError> {
        let block = self
            .packer
            .encode_block(raw, packed, nrec, self.next_seq, &chain_after, self.synced)
            .map_err(WriteError::Block)?;
        let len = block.len() as u64;
        self.file.write_all(block).map_err(|e| self.error(e))?;
        self.chain = chain_after;
        self.next_seq += u64::from(nrec);
        self.file_len += len;
        if self.file_len >= self.filled / 2
            && let Some(ahead) = &mut self.ahead
        {
            ahead.begin();
        }
        Ok(len)
    }

    /// The file was synced when it had this length.
    pub fn synced(&mut self, file_no: u64, len: u64) {
        if file_no == self.file_no {
            self.synced = self.synced.max(len);
        }
    }

    /// The file that is appended to now, for syncing it while more is appended.
    pub fn file(&self) -> Arc<dyn DiskFile> {
        self.file.clone()
    }

    /// An error of this file.
    pub fn error(&self, source: io::Error) -> WriteError {
        WriteError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

/// Writes the header, and makes that and the file's name durable.
fn begin(
    disk: &dyn Disk,
    dir: &std::path::Path,
    file: &dyn DiskFile,
    header: FileHeader,
) -> io::Result<()> {
    file.write_all(&header.encode())?;
    file.sync()?;
    disk.sync_dir(dir)
}

/// The file works as well: nothing of it is filled.
fn not_allocated(error: &io::Error) -> u64 {
    tracing::debug!(%error, "a log file grows as it is written");
    0
}
