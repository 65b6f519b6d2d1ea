//! Appends blocks to the current log file, and begins a new one when it is full.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::chain::Hash;
use crate::disk::{Disk, DiskFile};
use crate::wal::format::{FILE_HEADER, FileHeader, FormatError, Packer};
use crate::wal::scan;

/// A file that may grow larger is not allocated at its full size.
const ALLOCATED_AT_MOST: u64 = 256 << 20;

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
        let (path, file) = begin(&*disk, &dir, rotate_at, file_no, next_seq, chain)?;
        Ok(Self {
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

    /// Is the current file full?
    pub fn is_full(&self) -> bool {
        self.file_len >= self.rotate_at
    }

    /// Goes on in a new file.
    pub fn rotate(&mut self) -> Result<(), WriteError> {
        let number = self.file_no + 1;
        let (seq, chain) = (self.next_seq, self.chain);
        let (path, file) = begin(&*self.disk, &self.dir, self.rotate_at, number, seq, chain)?;
        self.file = file;
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
            .encode_block(raw, packed, nrec, self.next_seq, &chain_after)
            .map_err(WriteError::Block)?;
        let len = block.len() as u64;
        self.file.write_all(block).map_err(|e| self.error(e))?;
        self.chain = chain_after;
        self.next_seq += u64::from(nrec);
        self.file_len += len;
        Ok(len)
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

fn begin(
    disk: &dyn Disk,
    dir: &std::path::Path,
    rotate_at: u64,
    file_no: u64,
    first_seq: u64,
    prev_chain: Hash,
) -> Result<(PathBuf, Arc<dyn DiskFile>), WriteError> {
    let path = scan::file_path(dir, file_no);
    let make = || {
        let file = disk.create(&path)?;
        file.allocate(rotate_at.min(ALLOCATED_AT_MOST));
        let header = FileHeader {
            file_no,
            first_seq,
            prev_chain,
        };
        file.write_all(&header.encode())?;
        file.sync()?;
        disk.sync_dir(dir)?;
        Ok(file)
    };
    match make() {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(WriteError::Io { path, source }),
    }
}
