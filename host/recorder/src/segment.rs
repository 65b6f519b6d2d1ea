//! A sealed segment of one stream: independent zstd frames between two skippable ones, so that
//! `zstd -dc` reads it and a player can seek in it.
//!
//! `[skippable 0: header JSON] [zstd frame ≤ 256 KiB raw]… [skippable 1: footer JSON | json_len u32 |
//! crc32c u32 | "WEIRREC1"]`. The decompressed frames, one after the other, are the records.
//!
//! The body of a packed record is a frame of its own, as it was in the log.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::convert;
use crate::crypt::key::StreamKey;
use crate::pack;
use crate::record::{self, BYTES_HEAD, Packed, Record, RecordError};

/// Bytes of a frame before compression.
pub const FRAME_RAW: usize = 256 << 10;
/// A reader refuses a segment that claims to be larger than this after decompression.
pub const MAX_SEGMENT_RAW: u64 = 1 << 30;
pub const FORMAT: &str = "weir.rec.v2";
/// The same without packed records.
const FORMAT_1: &str = "weir.rec.v1";

const SKIP_HEADER: u32 = 0x184D_2A50;
const SKIP_FOOTER: u32 = 0x184D_2A51;
const MAGIC: &[u8; 8] = b"WEIRREC1";
const TRAILER: usize = 4 + 4 + 8;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderDoc {
    pub format: String,
    pub stream: String,
    pub control: bool,
    pub segment: u32,
    pub started_ns: u64,
    pub first_record: u64,
    pub chain_in: String,
    /// Random, so that nobody can find out from the object's hash what is in it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FooterDoc {
    pub stream: String,
    pub segment: u32,
    pub first_record: u64,
    pub records: u64,
    /// Times of the earliest and the latest record.
    pub t0_ns: u64,
    pub t1_ns: u64,
    pub chain_in: String,
    pub chain_out: String,
    /// The stream ends in this segment.
    pub last: bool,
    pub frames: Vec<FrameDoc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameDoc {
    /// Time and number of the first record that begins in this frame.
    pub t_ns: u64,
    pub record: u64,
    /// Where the frame is in the file.
    pub offset: u64,
    pub len: u64,
    pub raw: u64,
    /// Bytes at its start that belong to a record of an earlier frame.
    pub lead: u64,
    /// It is the body of a packed record, and all of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub packed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("it is cut off")]
    Short,
    #[error("its {0} is not as it should be")]
    Malformed(&'static str),
    #[error("the footer's checksum is wrong")]
    Crc,
    #[error("frame {0} cannot be decompressed")]
    Frame(usize),
    #[error("a record cannot be read: {0}")]
    Record(RecordError),
    #[error("record {found} stands where record {expected} should")]
    Order { expected: u64, found: u64 },
    #[error("a record of another stream is in it")]
    Stream,
    #[error("the hash chain does not fit")]
    Chain,
    #[error("it cannot be compressed")]
    Compress,
    #[error("the machine gives no random numbers")]
    Salt,
}

/// Collects records in memory until the segment is sealed.
pub struct Builder {
    stream: Uuid,
    segment: u32,
    first_record: u64,
    records: u64,
    times: Option<(u64, u64)>,
    chain_in: Hash,
    chain: Hash,
    out: Vec<u8>,
    frame: Vec<u8>,
    /// The first record that begins in the open frame, and the bytes before it.
    begins: Option<(u64, u64, u64)>,
    frames: Vec<FrameDoc>,
    raw_total: u64,
}

/// Where a segment stands in its stream.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub stream: Uuid,
    pub control: bool,
    pub started_ns: u64,
    pub segment: u32,
    pub first_record: u64,
    pub chain_in: Hash,
}

impl Builder {
    pub fn new(place: Place) -> Result<Self, SegmentError> {
        let header = HeaderDoc {
            format: FORMAT.to_owned(),
            stream: place.stream.to_string(),
            control: place.control,
            segment: place.segment,
            started_ns: place.started_ns,
            first_record: place.first_record,
            chain_in: hex::encode(place.chain_in),
            salt: convert::salt().map_err(|_| SegmentError::Salt)?,
        };
        let json = serde_json::to_vec(&header).map_err(|_| SegmentError::Malformed("header"))?;
        let mut out = Vec::with_capacity(8 + json.len());
        skippable(&mut out, SKIP_HEADER, &[&json]);
        Ok(Self {
            stream: place.stream,
            segment: place.segment,
            first_record: place.first_record,
            records: 0,
            times: None,
            chain_in: place.chain_in,
            chain: place.chain_in,
            out,
            frame: Vec::new(),
            begins: None,
            frames: Vec::new(),
            raw_total: 0,
        })
    }

    /// A record as it stands in the log.
    pub fn push(&mut self, encoded: &[u8], ts_ns: u64, leaf: &Hash) -> Result<(), SegmentError> {
        let record = record::take(&mut &*encoded).map_err(SegmentError::Record)?;
        let packed = record.and_then(|r| Some((r, r.packed()?)));
        let raw = match packed {
            Some((record, packed)) => self.push_packed(&record, &packed)?,
            None => self.push_plain(encoded, ts_ns)?,
        };
        self.chain = chain::link(&self.chain, leaf);
        self.records += 1;
        self.raw_total += raw;
        let (t0, t1) = self.times.unwrap_or((ts_ns, ts_ns));
        self.times = Some((t0.min(ts_ns), t1.max(ts_ns)));
        Ok(())
    }

    /// The next record begins here.
    fn begin(&mut self, ts_ns: u64, len: usize) -> Result<(), SegmentError> {
        if !self.frame.is_empty() && self.frame.len() + len > FRAME_RAW {
            self.flush()?;
        }
        let index = self.first_record + self.records;
        let at = self.frame.len() as u64;
        self.begins.get_or_insert((ts_ns, index, at));
        Ok(())
    }

    /// Its start, and then its frame as it is.
    fn push_packed(
        &mut self,
        record: &Record<'_>,
        packed: &Packed<'_>,
    ) -> Result<u64, SegmentError> {
        if packed.raw as usize > FRAME_RAW {
            return Err(SegmentError::Malformed("packed record"));
        }
        self.begin(record.ts_ns, BYTES_HEAD)?;
        self.frame.extend_from_slice(&packed.plain_head(record));
        self.flush()?;
        let raw = u64::from(packed.raw);
        self.frames.push(FrameDoc {
            t_ns: record.ts_ns,
            record: self.first_record + self.records + 1,
            offset: self.out.len() as u64,
            len: packed.frame.len() as u64,
            raw,
            lead: raw,
            packed: true,
        });
        self.out.extend_from_slice(packed.frame);
        Ok(BYTES_HEAD as u64 + raw)
    }

    fn push_plain(&mut self, encoded: &[u8], ts_ns: u64) -> Result<u64, SegmentError> {
        self.begin(ts_ns, encoded.len())?;
        let mut rest = encoded;
        while self.frame.len() + rest.len() > FRAME_RAW {
            let (piece, more) = rest.split_at(FRAME_RAW - self.frame.len());
            self.frame.extend_from_slice(piece);
            self.flush()?;
            rest = more;
        }
        self.frame.extend_from_slice(rest);
        Ok(encoded.len() as u64)
    }

    fn flush(&mut self) -> Result<(), SegmentError> {
        let offset = self.out.len() as u64;
        let out = &mut self.out;
        pack::frame(&self.frame, |frame| out.extend_from_slice(frame))
            .ok_or(SegmentError::Compress)?;
        let (t_ns, record, lead) = self.begins.take().unwrap_or_else(|| {
            let t1 = self.times.map_or(0, |t| t.1);
            let next = self.first_record + self.records + 1;
            (t1, next, self.frame.len() as u64)
        });
        self.frames.push(FrameDoc {
            t_ns,
            record,
            offset,
            len: self.out.len() as u64 - offset,
            raw: self.frame.len() as u64,
            lead,
            packed: false,
        });
        self.frame.clear();
        Ok(())
    }

    /// The time of the latest record.
    pub fn latest_ns(&self) -> u64 {
        self.times.map_or(0, |(_, t1)| t1)
    }

    pub fn chain(&self) -> Hash {
        self.chain
    }

    /// Bytes of records in it, before compression.
    pub fn raw_total(&self) -> u64 {
        self.raw_total
    }

    /// About what it takes in memory.
    pub fn memory(&self) -> u64 {
        (self.out.len() + self.frame.capacity()) as u64
    }

    /// The segment's bytes.
    pub fn finish(mut self, last: bool) -> Result<Vec<u8>, SegmentError> {
        if !self.frame.is_empty() {
            self.flush()?;
        }
        let (t0_ns, t1_ns) = self.times.unwrap_or_default();
        let footer = FooterDoc {
            stream: self.stream.to_string(),
            segment: self.segment,
            first_record: self.first_record,
            records: self.records,
            t0_ns,
            t1_ns,
            chain_in: hex::encode(self.chain_in),
            chain_out: hex::encode(self.chain),
            last,
            frames: self.frames,
        };
        let json = serde_json::to_vec(&footer).map_err(|_| SegmentError::Malformed("footer"))?;
        let len = u32::try_from(json.len()).map_err(|_| SegmentError::Malformed("footer"))?;
        let crc = crc32c::crc32c(&json);
        skippable(
            &mut self.out,
            SKIP_FOOTER,
            &[&json, &len.to_le_bytes(), &crc.to_le_bytes(), MAGIC],
        );
        Ok(self.out)
    }
}

fn skippable(out: &mut Vec<u8>, magic: u32, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    out.extend_from_slice(&magic.to_le_bytes());
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A segment whose framing, order and chain have been checked.
#[derive(Debug, Clone)]
pub struct Segment {
    pub header: HeaderDoc,
    pub footer: FooterDoc,
    pub stream: Uuid,
    pub chain_in: Hash,
    pub chain_out: Hash,
    /// The key that it was encrypted with, if it was.
    pub key: Option<Arc<StreamKey>>,
    raw: Vec<u8>,
}

impl Segment {
    pub fn parse(bytes: &[u8]) -> Result<Self, SegmentError> {
        let (header, body_at) = read_header(bytes)?;
        let (footer, body_end) = read_footer(bytes)?;
        let stream: Uuid = header
            .stream
            .parse()
            .map_err(|_| SegmentError::Malformed("stream"))?;
        let known = match &*header.format {
            FORMAT => true,
            FORMAT_1 => !footer.frames.iter().any(|f| f.packed),
            _ => false,
        };
        let agree = known
            && footer.stream == header.stream
            && footer.segment == header.segment
            && footer.first_record == header.first_record
            && footer.chain_in == header.chain_in;
        if !agree {
            return Err(SegmentError::Malformed("footer"));
        }
        let (raw, packed) = read_frames(bytes, &footer, body_at, body_end)?;
        let segment = Self {
            stream,
            chain_in: hash(&header.chain_in)?,
            chain_out: hash(&footer.chain_out)?,
            header,
            footer,
            key: None,
            raw,
        };
        segment.check(packed)?;
        Ok(segment)
    }

    fn check(&self, packed: Vec<Body<'_>>) -> Result<(), SegmentError> {
        let mut rest = self.raw.as_slice();
        let mut packed = packed.into_iter().peekable();
        let mut chain = self.chain_in;
        let mut expected = self.footer.first_record;
        while let Some(r) = record::take(&mut rest).map_err(SegmentError::Record)? {
            if r.stream != self.stream.as_u128() {
                return Err(SegmentError::Stream);
            }
            if r.index != expected {
                return Err(SegmentError::Order {
                    expected,
                    found: r.index,
                });
            }
            expected = expected
                .checked_add(1)
                .ok_or(SegmentError::Malformed("record number"))?;
            let end = self.raw.len() - rest.len();
            let body = packed.next_if(|body| body.at < end);
            chain = chain::link(&chain, &leaf(&r, end, body)?);
        }
        if packed.next().is_some() {
            return Err(SegmentError::Malformed("packed record"));
        }
        if expected - self.footer.first_record != self.footer.records {
            return Err(SegmentError::Malformed("number of records"));
        }
        if chain != self.chain_out {
            return Err(SegmentError::Chain);
        }
        Ok(())
    }

    /// Does it go on where the one before ended with this chain?
    pub fn continues(&self, chain: &Hash) -> bool {
        match &self.key {
            Some(key) => self.chain_in == key.chain_in(chain),
            None => self.chain_in == *chain,
        }
    }

    /// Its records, in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = self.raw.as_slice();
        std::iter::from_fn(move || record::take(&mut rest).ok().flatten())
    }
}

/// A frame that is the body of a packed record.
struct Body<'a> {
    /// Where it begins among the decompressed bytes.
    at: usize,
    raw: usize,
    frame: &'a [u8],
}

/// The hash of a record that ends at `end`. If a packed body begins in it, it must be all its body.
fn leaf(r: &Record<'_>, end: usize, body: Option<Body<'_>>) -> Result<Hash, SegmentError> {
    let wrong = SegmentError::Malformed("packed record");
    let Some(body) = body else {
        // As the log has it, and nobody would see what is in it.
        let hidden = r.packed().is_some();
        return if hidden {
            Err(wrong)
        } else {
            Ok(chain::leaf(r.encoded))
        };
    };
    let at = end - r.encoded.len() + BYTES_HEAD;
    if body.at != at || body.at + body.raw != end {
        return Err(wrong);
    }
    let head = r.packed_head(body.frame).ok_or(wrong)?;
    Ok(chain::leaf_of(&head, body.frame))
}

fn hash(text: &str) -> Result<Hash, SegmentError> {
    let mut out = [0; 32];
    hex::decode_to_slice(text, &mut out).map_err(|_| SegmentError::Malformed("chain"))?;
    Ok(out)
}

fn read_header(bytes: &[u8]) -> Result<(HeaderDoc, usize), SegmentError> {
    let wrong = SegmentError::Malformed("header");
    let (magic, rest) = bytes.split_first_chunk::<4>().ok_or(SegmentError::Short)?;
    let (len, rest) = rest.split_first_chunk::<4>().ok_or(SegmentError::Short)?;
    if u32::from_le_bytes(*magic) != SKIP_HEADER {
        return Err(wrong);
    }
    let len = u32::from_le_bytes(*len) as usize;
    let json = rest.get(..len).ok_or(SegmentError::Short)?;
    Ok((serde_json::from_slice(json).map_err(|_| wrong)?, 8 + len))
}

/// The footer, and where its frame begins.
pub fn read_footer(bytes: &[u8]) -> Result<(FooterDoc, usize), SegmentError> {
    let wrong = SegmentError::Malformed("footer");
    let (rest, magic) = bytes.split_last_chunk::<8>().ok_or(SegmentError::Short)?;
    let (rest, crc) = rest.split_last_chunk::<4>().ok_or(SegmentError::Short)?;
    let (rest, len) = rest.split_last_chunk::<4>().ok_or(SegmentError::Short)?;
    if magic != MAGIC {
        return Err(wrong);
    }
    let len = u32::from_le_bytes(*len) as usize;
    let at = rest.len().checked_sub(len).ok_or(SegmentError::Short)?;
    let (rest, json) = rest.split_at(at);
    if crc32c::crc32c(json) != u32::from_le_bytes(*crc) {
        return Err(SegmentError::Crc);
    }
    let (rest, size) = rest.split_last_chunk::<4>().ok_or(SegmentError::Short)?;
    let (rest, skip) = rest.split_last_chunk::<4>().ok_or(SegmentError::Short)?;
    if u32::from_le_bytes(*skip) != SKIP_FOOTER
        || u32::from_le_bytes(*size) as usize != len + TRAILER
    {
        return Err(wrong);
    }
    Ok((serde_json::from_slice(json).map_err(|_| wrong)?, rest.len()))
}

/// The records, and the frames among them that are bodies of packed ones.
fn read_frames<'a>(
    bytes: &'a [u8],
    footer: &FooterDoc,
    mut at: usize,
    end: usize,
) -> Result<(Vec<u8>, Vec<Body<'a>>), SegmentError> {
    let total = footer
        .frames
        .iter()
        .try_fold(0u64, |sum, f| sum.checked_add(f.raw))
        .filter(|t| *t <= MAX_SEGMENT_RAW)
        .ok_or(SegmentError::Malformed("size"))?;
    let mut raw = Vec::with_capacity(usize::try_from(total).unwrap_or(0).min(bytes.len() * 8));
    let mut bodies = Vec::new();
    for (number, frame) in footer.frames.iter().enumerate() {
        let wrong = SegmentError::Frame(number);
        if frame.offset != at as u64 || frame.raw > FRAME_RAW as u64 {
            return Err(wrong);
        }
        let len = usize::try_from(frame.len).map_err(|_| wrong.clone())?;
        let next = at.checked_add(len).filter(|n| *n <= end);
        let next = next.ok_or(SegmentError::Short)?;
        let packed = bytes.get(at..next).ok_or(SegmentError::Short)?;
        let piece =
            zstd::bulk::decompress(packed, frame.raw as usize).map_err(|_| wrong.clone())?;
        if piece.len() as u64 != frame.raw {
            return Err(wrong);
        }
        if frame.packed {
            bodies.push(Body {
                at: raw.len(),
                raw: piece.len(),
                frame: packed,
            });
        }
        raw.extend_from_slice(&piece);
        at = next;
    }
    if at != end {
        return Err(SegmentError::Malformed("length"));
    }
    Ok((raw, bodies))
}
