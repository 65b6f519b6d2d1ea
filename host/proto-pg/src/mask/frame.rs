//! Frames of rows: read value by value, and written.

use bytes::{BufMut, BytesMut};

use super::MaskError;

/// The longest message PostgreSQL's protocol has.
const MAX_FRAME: usize = 0x3fff_ffff;
/// Length of a NULL on the wire.
pub(super) const NULL: i32 = -1;

/// The bodies of a run of whole frames.
pub fn bodies(run: &[u8]) -> impl Iterator<Item = Result<&[u8], MaskError>> {
    let mut rest = run;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let frame = match crate::wire::header(rest) {
            Ok(Some(h)) => rest.split_at_checked(h.len),
            _ => None,
        };
        let Some((frame, after)) = frame else {
            rest = &[];
            return Some(Err(MaskError::Malformed("a frame is cut off")));
        };
        rest = after;
        Some(Ok(frame.get(crate::wire::HEADER..).unwrap_or_default()))
    })
}

/// Reads the values of one DataRow.
pub(super) struct Row<'a> {
    pub rest: &'a [u8],
}

impl<'a> Row<'a> {
    pub fn open(body: &'a [u8], expected: usize) -> Result<Self, MaskError> {
        let (count, rest) = body
            .split_first_chunk::<2>()
            .ok_or(MaskError::Malformed("it has no column count"))?;
        let got = usize::from(u16::from_be_bytes(*count));
        if got != expected {
            return Err(MaskError::Columns { expected, got });
        }
        Ok(Self { rest })
    }

    pub fn value(&mut self) -> Result<Option<&'a [u8]>, MaskError> {
        let (length, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or(MaskError::Malformed("it ends before its last value"))?;
        self.rest = rest;
        let length = i32::from_be_bytes(*length);
        if length == NULL {
            return Ok(None);
        }
        let length =
            usize::try_from(length).map_err(|_| MaskError::Malformed("a negative length"))?;
        let (value, rest) = rest
            .split_at_checked(length)
            .ok_or(MaskError::Malformed("a value is longer than the row"))?;
        self.rest = rest;
        Ok(Some(value))
    }

    pub fn end(self) -> Result<(), MaskError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(MaskError::Malformed("bytes are left behind the last value"))
        }
    }
}

/// Starts a frame; gives the place of its length.
pub(super) fn begin(tag: u8, room: usize, out: &mut BytesMut) -> usize {
    out.reserve(room + 5);
    out.put_u8(tag);
    out.put_i32(0);
    out.len() - 4
}

pub(super) fn finish(out: &mut BytesMut, frame: usize) -> Result<(), MaskError> {
    let length = out.len() - frame;
    if length > MAX_FRAME {
        return Err(MaskError::TooLarge);
    }
    patch(out, frame, length)
}

pub(super) fn patch(out: &mut BytesMut, at: usize, length: usize) -> Result<(), MaskError> {
    let length = i32::try_from(length).map_err(|_| MaskError::TooLarge)?;
    let place = out.get_mut(at..at + 4).ok_or(MaskError::TooLarge)?;
    place.copy_from_slice(&length.to_be_bytes());
    Ok(())
}
