//! Reads write-ahead log files: exactly the complete blocks, and what is wrong with the rest.

use std::io;
use std::path::{Path, PathBuf};

use crate::chain::Hash;
use crate::wal::format::{self, BLOCK_BEGINS, Block, FILE_HEADER, FileHeader, FormatError};

/// What follows the last block that could be read in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    Clean,
    /// A write that never finished: nothing valid follows, or only what was written before all of that was
    /// said to be durable, of which a power cut leaves any part.
    Torn {
        at: u64,
        bytes: u64,
    },
    /// Something is wrong in the middle: valid blocks follow.
    Damaged {
        at: u64,
        why: FormatError,
        blocks_after: u64,
    },
}

#[derive(Debug, Clone)]
pub struct Scan {
    /// None: not even the file header could be read.
    pub header: Option<FileHeader>,
    pub tail: Tail,
    /// The chain and the record number after the last block that was read.
    pub chain: Option<Hash>,
    pub next_seq: u64,
    pub blocks: u64,
    pub records: u64,
    /// Where the last valid block ends.
    pub valid_len: u64,
    /// Without the zeros that are at the end of the file because it was allocated.
    pub len: u64,
}

/// How many places that look like a block are tried beyond damage.
const MAX_CANDIDATES: usize = 4096;

/// Goes through one file. `on_block` sees every valid block in order, up to the first that is not.
pub fn scan_file(path: &Path, on_block: &mut dyn FnMut(&Block)) -> io::Result<Scan> {
    let bytes = std::fs::read(path)?;
    Ok(scan_bytes(&bytes, on_block))
}

pub fn scan_bytes(bytes: &[u8], on_block: &mut dyn FnMut(&Block)) -> Scan {
    // Files are allocated before they are written: zeros up to the end are no content.
    let content = bytes.len() - zeros_at_end(bytes);
    let len = content as u64;
    let mut scan = Scan {
        header: None,
        tail: Tail::Clean,
        chain: None,
        next_seq: 0,
        blocks: 0,
        records: 0,
        valid_len: 0,
        len,
    };
    let damage = match FileHeader::decode(bytes) {
        Ok(header) => {
            scan.chain = Some(header.prev_chain);
            scan.next_seq = header.first_seq;
            scan.header = Some(header);
            scan.valid_len = FILE_HEADER as u64;
            run(bytes, &mut scan, on_block)
        }
        Err(why) => Some((0, why)),
    };
    // A block, or the header, can end with zeros of its own.
    scan.len = scan.len.max(scan.valid_len);
    let Some((first_bad, why)) = damage else {
        return scan;
    };
    let at = first_bad as u64;
    let beyond = blocks_beyond(bytes, first_bad + 1, content);
    scan.tail = match beyond.synced <= at {
        true => Tail::Torn {
            at,
            bytes: scan.len.saturating_sub(at),
        },
        false => Tail::Damaged {
            at,
            why,
            blocks_after: beyond.count,
        },
    };
    scan
}

/// Reads blocks in order; returns where and why it stopped, if not at the end.
fn run(
    bytes: &[u8],
    scan: &mut Scan,
    on_block: &mut dyn FnMut(&Block),
) -> Option<(usize, FormatError)> {
    let mut at = FILE_HEADER;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let block = match format::decode_block(rest, scan.chain.as_ref()) {
            Ok(block) if block.first_seq != scan.next_seq => {
                return Some((at, FormatError::Records));
            }
            Ok(block) => block,
            // Nothing was written here yet.
            Err(_) if zeros_at_end(rest) == rest.len() => return None,
            Err(why) => return Some((at, why)),
        };
        at += block.len;
        scan.blocks += 1;
        scan.records += u64::from(block.nrec);
        scan.next_seq = block.first_seq.saturating_add(u64::from(block.nrec));
        scan.chain = Some(block.chain_after);
        scan.valid_len = at as u64;
        on_block(&block);
    }
    None
}

fn zeros_at_end(bytes: &[u8]) -> usize {
    bytes.iter().rev().take_while(|byte| **byte == 0).count()
}

/// Whole blocks behind damage.
#[derive(Default)]
struct Beyond {
    count: u64,
    /// So much of the file was durable, as the one that says most has it.
    synced: u64,
}

/// The whole blocks that can be found from `from` on. They are only counted: a client can put bytes
/// into a record that look like a block, and without the chain nothing tells them from ours. Such a one can
/// make damage of a torn end, but not the other way round.
fn blocks_beyond(bytes: &[u8], mut from: usize, content: usize) -> Beyond {
    let mut found = Beyond::default();
    for _ in 0..MAX_CANDIDATES {
        let Some(rest) = bytes.get(from..content) else {
            return found;
        };
        let hit = rest
            .windows(BLOCK_BEGINS.len())
            .position(|w| w == BLOCK_BEGINS);
        let Some(at) = hit.map(|h| from + h) else {
            return found;
        };
        from = at + 1;
        if let Ok(block) = format::decode_block(bytes.get(at..).unwrap_or_default(), None) {
            found.count += 1;
            found.synced = found.synced.max(block.synced.unwrap_or(u64::MAX));
            from = at + block.len;
        }
    }
    // Too many places look like a block: nobody can say that nothing follows.
    Beyond {
        count: found.count.max(1),
        synced: u64::MAX,
    }
}

/// The log files of a spool, oldest first.
pub fn files(wal_dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(wal_dir)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_suffix(".wal"))
            .and_then(|n| n.parse().ok());
        if let Some(number) = number {
            out.push((number, path));
        }
    }
    out.sort();
    Ok(out)
}

pub fn file_path(wal_dir: &Path, number: u64) -> PathBuf {
    wal_dir.join(format!("{number:012}.wal"))
}
