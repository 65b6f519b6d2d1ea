//! One record as bytes: `len u32 | kind u8 | ts_ns u64 | stream [16] | index u64 | payload`, integers
//! little-endian, the stream's id as UUID bytes. The same bytes go into the write-ahead log and into
//! the segment, so one leaf hash stands for both.
//!
//! Recorded bytes can be *packed*: in the log, the kind has its top bit set and the payload is
//! `action u64 | length u32 | one zstd frame`. Their segment has the plain record, but its body is this
//! frame, byte by byte; so the leaf hash is that of the packed record, wherever it stands.

/// Bytes before the payload.
pub const HEADER: usize = 4 + 1 + 8 + 16 + 8;

/// Of the kind: the record is packed.
const PACKED: u8 = 0x80;
/// Of a packed record's payload, before its frame.
const PACKED_HEAD: usize = 8 + 4;

/// The longest record, so that a length field of garbage is never believed. PostgreSQL cuts a
/// message at 1 GiB; Weir's protocol crates cut far earlier.
pub const MAX_RECORD: usize = 256 << 20;

/// Records of the recorder itself that belong to no stream and never leave the spool.
pub const NO_STREAM: u128 = 0;

/// What a record is. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    SessionStart = 1,
    Intent = 2,
    Refused = 3,
    Outcome = 4,
    ToClient = 5,
    ToUpstream = 6,
    SessionEnd = 7,
    ControlStart = 8,
    Control = 9,
    /// A segment was sealed: in a control stream, an anchor for that segment.
    Sealed = 10,
    /// Records were lost, and which.
    Gap = 11,
    /// The state of a stream, carried forward so that an old log file can go.
    Carry = 12,
    /// A session's key is to be destroyed. In a control stream.
    Erasure = 13,
    /// An action waits for people from here on.
    Held = 14,
}

impl Kind {
    pub fn from_u8(kind: u8) -> Option<Self> {
        Some(match kind {
            1 => Self::SessionStart,
            2 => Self::Intent,
            3 => Self::Refused,
            4 => Self::Outcome,
            5 => Self::ToClient,
            6 => Self::ToUpstream,
            7 => Self::SessionEnd,
            8 => Self::ControlStart,
            9 => Self::Control,
            10 => Self::Sealed,
            11 => Self::Gap,
            12 => Self::Carry,
            13 => Self::Erasure,
            14 => Self::Held,
            _ => return None,
        })
    }

    /// Are these recorded bytes, which may be packed?
    pub fn is_bytes(self) -> bool {
        matches!(self, Self::ToClient | Self::ToUpstream)
    }

    /// Does the payload begin with the action's number?
    pub fn has_seq(self) -> bool {
        matches!(
            self,
            Self::Held
                | Self::Intent
                | Self::Refused
                | Self::Outcome
                | Self::ToClient
                | Self::ToUpstream
        )
    }
}

/// A record inside a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Not yet a [`Kind`]: a newer Weir may have written it.
    pub kind: u8,
    pub ts_ns: u64,
    pub stream: u128,
    /// Its number in its stream, from 0.
    pub index: u64,
    pub payload: &'a [u8],
    /// All its bytes, the length included.
    pub encoded: &'a [u8],
}

impl<'a> Record<'a> {
    pub fn known(&self) -> Option<Kind> {
        Kind::from_u8(self.kind)
    }

    /// The action's number and the rest, for kinds that have one.
    pub fn action(&self) -> Option<(u64, &'a [u8])> {
        if !self.known()?.has_seq() {
            return None;
        }
        let (seq, rest) = self.payload.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*seq), rest))
    }

    /// What is in it, if it is packed.
    pub fn packed(&self) -> Option<Packed<'a>> {
        let kind = (self.kind & PACKED != 0).then_some(self.kind & !PACKED)?;
        let kind = Kind::from_u8(kind).filter(|kind| kind.is_bytes())?;
        let (seq, rest) = self.payload.split_first_chunk::<8>()?;
        let (raw, frame) = rest.split_first_chunk::<4>()?;
        Some(Packed {
            kind,
            seq: u64::from_le_bytes(*seq),
            raw: u32::from_le_bytes(*raw),
            frame,
        })
    }

    /// The start of this record, of which `frame` is the body, as it would be packed: all but the frame.
    pub fn packed_head(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let (seq, body) = self.action()?;
        let record = NewRecord {
            kind: self.known().filter(|kind| kind.is_bytes())?,
            ts_ns: self.ts_ns,
            stream: self.stream,
            seq: Some(seq),
            body: bytes::Bytes::new(),
            packed: Some(u32::try_from(body.len()).ok()?),
        };
        let mut head = Vec::with_capacity(HEADER + PACKED_HEAD);
        record.encode_head(self.index, frame.len(), &mut head);
        Some(head)
    }
}

/// The payload of a packed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed<'a> {
    pub kind: Kind,
    pub seq: u64,
    /// How long the bytes are that are in the frame.
    pub raw: u32,
    pub frame: &'a [u8],
}

/// A plain record before its body.
pub const BYTES_HEAD: usize = HEADER + 8;

impl Packed<'_> {
    /// What stands before the frame in a segment: the start of the plain record.
    pub fn plain_head(&self, of: &Record<'_>) -> Vec<u8> {
        let record = NewRecord {
            kind: self.kind,
            ts_ns: of.ts_ns,
            stream: of.stream,
            seq: Some(self.seq),
            body: bytes::Bytes::new(),
            packed: None,
        };
        let mut head = Vec::with_capacity(BYTES_HEAD);
        record.encode_head(of.index, self.raw as usize, &mut head);
        head
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("a record says it is {0} bytes long")]
    Length(usize),
    #[error("a record is cut off")]
    Short,
}

/// A record that wants to be written.
#[derive(Debug, Clone)]
pub struct NewRecord {
    pub kind: Kind,
    pub ts_ns: u64,
    pub stream: u128,
    /// The action's number; set exactly for the kinds that have one.
    pub seq: Option<u64>,
    pub body: bytes::Bytes,
    /// The body is one zstd frame of so many bytes.
    pub packed: Option<u32>,
}

impl NewRecord {
    pub fn encoded_len(&self) -> usize {
        self.len_with(self.body.len())
    }

    fn len_with(&self, body: usize) -> usize {
        HEADER + self.seq.map_or(0, |_| 8) + self.packed.map_or(0, |_| 4) + body
    }

    /// Appends the record to `out`. The caller has checked the length.
    pub fn encode(&self, index: u64, out: &mut Vec<u8>) {
        self.encode_head(index, self.body.len(), out);
        out.extend_from_slice(&self.body);
    }

    /// All before a body of this length.
    fn encode_head(&self, index: u64, body: usize, out: &mut Vec<u8>) {
        let len = u32::try_from(self.len_with(body) - 4).unwrap_or(u32::MAX);
        let packed = self.packed.map_or(0, |_| PACKED);
        out.extend_from_slice(&len.to_le_bytes());
        out.push(self.kind as u8 | packed);
        out.extend_from_slice(&self.ts_ns.to_le_bytes());
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&index.to_le_bytes());
        if let Some(seq) = self.seq {
            out.extend_from_slice(&seq.to_le_bytes());
        }
        if let Some(raw) = self.packed {
            out.extend_from_slice(&raw.to_le_bytes());
        }
    }
}

/// Takes the first record off `buf`; `Ok(None)` at its end.
pub fn take<'a>(buf: &mut &'a [u8]) -> Result<Option<Record<'a>>, RecordError> {
    let whole: &'a [u8] = buf;
    if whole.is_empty() {
        return Ok(None);
    }
    let (len, rest) = whole.split_first_chunk::<4>().ok_or(RecordError::Short)?;
    let len = u32::from_le_bytes(*len) as usize;
    if !(HEADER - 4..=MAX_RECORD).contains(&len) {
        return Err(RecordError::Length(len));
    }
    let (kind, rest) = rest.split_first().ok_or(RecordError::Short)?;
    let (ts, rest) = rest.split_first_chunk::<8>().ok_or(RecordError::Short)?;
    let (stream, rest) = rest.split_first_chunk::<16>().ok_or(RecordError::Short)?;
    let (index, rest) = rest.split_first_chunk::<8>().ok_or(RecordError::Short)?;
    let payload = rest.get(..len + 4 - HEADER).ok_or(RecordError::Short)?;
    let (encoded, after) = whole.split_at_checked(len + 4).ok_or(RecordError::Short)?;
    *buf = after;
    Ok(Some(Record {
        kind: *kind,
        ts_ns: u64::from_le_bytes(*ts),
        stream: u128::from_be_bytes(*stream),
        index: u64::from_le_bytes(*index),
        payload,
        encoded,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        NewRecord {
            kind: Kind::ToClient,
            ts_ns: 7,
            stream: 9,
            seq: Some(3),
            body: bytes::Bytes::from_static(b"rows"),
            packed: None,
        }
        .encode(5, &mut out);
        out
    }

    #[test]
    fn a_packed_record_and_the_plain_one_tell_of_each_other() {
        let frame = crate::pack::frame(b"rows", <[u8]>::to_vec).unwrap();
        let mut bytes = Vec::new();
        let new = NewRecord {
            kind: Kind::ToClient,
            ts_ns: 7,
            stream: 9,
            seq: Some(3),
            body: frame.clone().into(),
            packed: Some(4),
        };
        new.encode(5, &mut bytes);
        assert_eq!(bytes.len(), new.encoded_len());
        let record = take(&mut &bytes[..]).unwrap().unwrap();
        // Nobody takes the frame for what it holds.
        assert_eq!((record.known(), record.action()), (None, None));
        let packed = record.packed().unwrap();
        assert_eq!(packed.frame, frame);
        let plain = [packed.plain_head(&record), b"rows".to_vec()].concat();
        assert_eq!(plain, sample());
        let plain = take(&mut &plain[..]).unwrap().unwrap();
        assert_eq!(plain.packed(), None);
        let again = [plain.packed_head(&frame).unwrap(), frame].concat();
        assert_eq!(again, bytes);
        // Only recorded bytes can be packed, and only whole ones.
        for kind in [0x80, 0x82, 0x88, 0xff] {
            assert_eq!(Record { kind, ..record }.packed(), None);
        }
        let payload = &record.payload[..11];
        assert_eq!(Record { payload, ..record }.packed(), None);
    }

    #[test]
    fn round_trip() {
        let bytes = sample();
        let mut rest = &bytes[..];
        let record = take(&mut rest).unwrap().unwrap();
        assert_eq!((record.ts_ns, record.stream, record.index), (7, 9, 5));
        assert_eq!(record.action(), Some((3, &b"rows"[..])));
        assert_eq!(record.encoded, &bytes[..]);
        assert_eq!(take(&mut rest), Ok(None));
    }

    #[test]
    fn every_cut_is_short_and_wild_lengths_are_refused() {
        let bytes = sample();
        for cut in 1..bytes.len() {
            assert_eq!(take(&mut &bytes[..cut]), Err(RecordError::Short), "{cut}");
        }
        for len in [0u32, 32, u32::MAX, MAX_RECORD as u32 + 1] {
            let mut wild = bytes.clone();
            wild[..4].copy_from_slice(&len.to_le_bytes());
            assert_eq!(take(&mut &wild[..]), Err(RecordError::Length(len as usize)));
        }
    }
}
