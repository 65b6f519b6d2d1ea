//! The bytes of a write-ahead log file. Integers are little-endian.
//!
//! File header, 64 bytes: `"WEIRWAL1" | version u32 | file_no u64 | first_seq u64 | prev_chain [32] |
//! crc32c u32`. Then blocks: `"BLK2" | raw_len u32 (top bit: stored) | comp_len u32 | nrec u32 |
//! first_seq u64 | chain_after [32] | synced u64 | crc32c u32 | body`. A block's CRC covers its header and body.
//! `synced`: up to there the file was known to be durable when the block was written. In files of version 1 and 2
//! blocks begin with `"BLK1"` and do not have it.

use crate::chain::{self, Hash};
use crate::record::{self, Record};

pub const FILE_HEADER: usize = 64;
pub const BLOCK_HEADER: usize = 68;
/// Before blocks said what was durable.
const BLOCK_HEADER_1: usize = 60;
/// Records can be packed from version 2 on; from version 3 on blocks say what was durable; from version 4 on
/// there are records of kind 14 (held).
pub const VERSION: u32 = 4;
/// What an older Weir left is read.
const OLDEST: u32 = 1;

const FILE_MAGIC: &[u8; 8] = b"WEIRWAL1";
const BLOCK_MAGIC: &[u8; 4] = b"BLK2";
const BLOCK_MAGIC_1: &[u8; 4] = b"BLK1";
/// What all of them begin with.
pub const BLOCK_BEGINS: &[u8; 3] = b"BLK";
const STORED: u32 = 1 << 31;
/// The fastest that still saves something: these records are compressed again for their segment, and
/// this file goes as soon as that is stored.
const LEVEL: i32 = -3;
/// Blocks with fewer bytes that are not packed are stored: compressing them costs more than it saves.
const STORE_BELOW: usize = 16 << 10;
/// The longest raw block: one record of the greatest length.
pub const MAX_RAW: usize = record::MAX_RECORD + 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileHeader {
    pub file_no: u64,
    /// Number of its first record among all records of the spool.
    pub first_seq: u64,
    /// The chain at the end of the file before.
    pub prev_chain: Hash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("it is cut off")]
    Short,
    #[error("it does not begin as it should")]
    Magic,
    #[error("version {0} is not known")]
    Version(u32),
    #[error("the checksum is wrong")]
    Crc,
    #[error("a length is impossible")]
    Length,
    #[error("the body cannot be decompressed")]
    Zstd,
    #[error("its records are not what its header says")]
    Records,
    #[error("the hash chain does not fit")]
    Chain,
}

impl FileHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FILE_HEADER);
        out.extend_from_slice(FILE_MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.file_no.to_le_bytes());
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.prev_chain);
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let whole = bytes
            .first_chunk::<FILE_HEADER>()
            .ok_or(FormatError::Short)?;
        let mut r = Fields(whole);
        if r.take::<8>()? != *FILE_MAGIC {
            return Err(FormatError::Magic);
        }
        let version = r.u32()?;
        let header = Self {
            file_no: r.u64()?,
            first_seq: r.u64()?,
            prev_chain: r.take()?,
        };
        let (covered, _) = whole.split_at(FILE_HEADER - 4);
        if r.u32()? != crc32c::crc32c(covered) {
            return Err(FormatError::Crc);
        }
        if !(OLDEST..=VERSION).contains(&version) {
            return Err(FormatError::Version(version));
        }
        Ok(header)
    }
}

/// A block whose checksum, body and chain have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub first_seq: u64,
    pub nrec: u32,
    pub chain_after: Hash,
    pub raw: Vec<u8>,
    /// So much of the file was durable when it was written; None where blocks do not say it.
    pub synced: Option<u64>,
    /// Its length in the file.
    pub len: usize,
}

impl Block {
    /// Its records, in order. They were parsed once when the block was checked.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = self.raw.as_slice();
        std::iter::from_fn(move || record::take(&mut rest).ok().flatten())
    }
}

/// Compresses and frames blocks, with memory that is used again.
#[derive(Default)]
pub struct Packer {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    out: Vec<u8>,
}

/// Memory for blocks that is kept for the next one.
const KEEP: usize = 2 << 20;

impl Packer {
    /// The block is good until the next one is made. So many bytes of `raw` are packed already: they
    /// do not get shorter. `synced`: so much of the file is durable.
    pub fn encode_block(
        &mut self,
        raw: &[u8],
        packed: usize,
        nrec: u32,
        first_seq: u64,
        chain_after: &Hash,
        synced: u64,
    ) -> Result<&[u8], FormatError> {
        let mut raw_len = u32::try_from(raw.len()).map_err(|_| FormatError::Length)?;
        if raw.len() > MAX_RAW {
            return Err(FormatError::Length);
        }
        if self.out.capacity() > KEEP {
            self.out = Vec::new();
        }
        self.out.clear();
        self.out.resize(BLOCK_HEADER, 0);
        let plain = raw.len().saturating_sub(packed);
        if plain < packed || plain < STORE_BELOW || !self.pack(raw) {
            raw_len |= STORED;
            self.out.extend_from_slice(raw);
        }
        let comp_len = (self.out.len() - BLOCK_HEADER) as u32;
        let mut head = Vec::with_capacity(BLOCK_HEADER);
        head.extend_from_slice(BLOCK_MAGIC);
        head.extend_from_slice(&raw_len.to_le_bytes());
        head.extend_from_slice(&comp_len.to_le_bytes());
        head.extend_from_slice(&nrec.to_le_bytes());
        head.extend_from_slice(&first_seq.to_le_bytes());
        head.extend_from_slice(chain_after);
        head.extend_from_slice(&synced.to_le_bytes());
        let body = self.out.get(BLOCK_HEADER..).unwrap_or_default();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), body);
        head.extend_from_slice(&crc.to_le_bytes());
        for (to, from) in self.out.iter_mut().zip(&head) {
            *to = *from;
        }
        Ok(&self.out)
    }

    /// False: what cannot be compressed is stored; no record is lost to a lack of memory in here.
    fn pack(&mut self, raw: &[u8]) -> bool {
        if self.zstd.is_none() {
            self.zstd = zstd::bulk::Compressor::new(LEVEL).ok();
        }
        let Some(zstd) = &mut self.zstd else {
            return false;
        };
        self.out.resize(BLOCK_HEADER + raw.len(), 0);
        let room = self.out.get_mut(BLOCK_HEADER..).unwrap_or_default();
        match zstd.compress_to_buffer(raw, room) {
            Ok(len) if len < raw.len() => {
                self.out.truncate(BLOCK_HEADER + len);
                true
            }
            _ => {
                self.out.truncate(BLOCK_HEADER);
                false
            }
        }
    }
}

/// Reads the block at the start of `bytes`. With `chain`, its records must link from there.
pub fn decode_block(bytes: &[u8], chain: Option<&Hash>) -> Result<Block, FormatError> {
    let header = header_len(bytes).ok_or(match bytes.len() < BLOCK_MAGIC.len() {
        true => FormatError::Short,
        false => FormatError::Magic,
    })?;
    let head = bytes.get(..header).ok_or(FormatError::Short)?;
    let mut r = Fields(head);
    r.take::<4>()?;
    let raw_field = r.u32()?;
    let comp_len = r.u32()? as usize;
    let nrec = r.u32()?;
    let first_seq = r.u64()?;
    let chain_after: Hash = r.take()?;
    let synced = match header {
        BLOCK_HEADER => Some(r.u64()?),
        _ => None,
    };
    let crc = r.u32()?;
    let raw_len = (raw_field & !STORED) as usize;
    if raw_len > MAX_RAW || comp_len > MAX_RAW {
        return Err(FormatError::Length);
    }
    let body = bytes
        .get(header..header + comp_len)
        .ok_or(FormatError::Short)?;
    let (covered, _) = head.split_at(header - 4);
    if crc != crc32c::crc32c_append(crc32c::crc32c(covered), body) {
        return Err(FormatError::Crc);
    }
    let raw = if raw_field & STORED != 0 {
        body.to_vec()
    } else {
        zstd::bulk::decompress(body, raw_len).map_err(|_| FormatError::Zstd)?
    };
    if raw.len() != raw_len {
        return Err(FormatError::Length);
    }
    check_records(&raw, nrec, chain, &chain_after)?;
    Ok(Block {
        first_seq,
        nrec,
        chain_after,
        raw,
        synced,
        len: header + comp_len,
    })
}

/// The length of the header of the block that begins here.
fn header_len(bytes: &[u8]) -> Option<usize> {
    match bytes.first_chunk::<4>()? {
        BLOCK_MAGIC => Some(BLOCK_HEADER),
        BLOCK_MAGIC_1 => Some(BLOCK_HEADER_1),
        _ => None,
    }
}

/// What is enough of a block for the two below.
pub const BLOCK_START: usize = BLOCK_HEADER_1;

/// The length of the block that begins so, if it is one. Nothing else of it is checked.
pub fn block_len(start: &[u8]) -> Option<usize> {
    let header = header_len(start)?;
    let mut r = Fields(start);
    r.take::<8>().ok()?;
    let comp_len = r.u32().ok()? as usize;
    (comp_len <= MAX_RAW).then_some(header + comp_len)
}

/// What a block that begins so says of the chain after it.
pub fn chain_after(start: &[u8]) -> Option<Hash> {
    let mut r = Fields(start);
    r.take::<24>().ok()?;
    r.take().ok()
}

fn check_records(
    raw: &[u8],
    nrec: u32,
    chain: Option<&Hash>,
    after: &Hash,
) -> Result<(), FormatError> {
    let mut rest = raw;
    let mut count = 0u32;
    let mut at = chain.copied();
    while let Some(r) = record::take(&mut rest).map_err(|_| FormatError::Records)? {
        count += 1;
        at = at.map(|c| chain::link(&c, &chain::leaf(r.encoded)));
    }
    if count != nrec {
        return Err(FormatError::Records);
    }
    if at.is_some_and(|c| c != *after) {
        return Err(FormatError::Chain);
    }
    Ok(())
}

/// Fixed-size fields off the front of a slice.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(FormatError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        self.take().map(u64::from_le_bytes)
    }
}
