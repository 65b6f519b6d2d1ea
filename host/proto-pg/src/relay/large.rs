//! A row that is too large to be held, passed on while it is read: its values are looked at through
//! windows (`mask::stream`).

use std::sync::Arc;

use bytes::BufMut;

use super::rows::ActiveMask;
use super::server::{Current, ToClient};
use super::{End, violation};
use crate::mask::stream::{Next, Windows};
use crate::wire::HEADER;
use crate::wire::Header;

/// A larger row is not held as a whole, if its mask allows that.
pub(super) const STREAMED: usize = 4 << 20;

/// What became of a large row whose header is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// There is something to go on with.
    Yes,
    /// It must be read as a whole.
    No,
    /// Too little of it is there.
    Read,
}

/// A row under way.
pub(super) struct Large {
    seq: Option<u64>,
    mask: Arc<ActiveMask>,
    /// Bytes of the frame that have not been taken yet.
    left: usize,
    column: usize,
    /// The value that is being read; none: its length comes next.
    value: Option<Value>,
}

enum Value {
    /// Bytes to come that pass.
    Pass(usize),
    Look(Windows),
}

impl ToClient {
    /// Begins the row whose header is in the buffer, if it is one that may be passed on in parts.
    pub(super) async fn begin_large(&mut self, h: Header) -> Result<Begun, End> {
        if h.tag != b'D' || h.len <= STREAMED {
            return Ok(Begun::No);
        }
        if self.buf.len() < HEADER + 2 {
            return Ok(Begun::Read);
        }
        if !matches!(&self.current, Some(c) if c.tag() == b'D') {
            self.flush_masking().await?;
            self.answers();
            if !self.link.flow.lock().expects_first_row() {
                // Of a query of our own, or one too many: `message` knows what to do with it.
                return Ok(Begun::No);
            }
            // The first row of an Execute: finds its mask, as `message` does.
            self.current = Some(self.portal_rows().await?);
            return Ok(Begun::Yes);
        }
        let (seq, mask) = match &self.current {
            Some(Current::Mask { seq, masking, .. }) if masking.mask.streams() => {
                (*seq, masking.mask.clone())
            }
            _ => return Ok(Begun::No),
        };
        self.flush_masking().await?;
        let head = self.buf.split_to(HEADER + 2).freeze();
        let count = head.last_chunk::<2>().copied().unwrap_or_default();
        if usize::from(u16::from_be_bytes(count)) != mask.width() {
            return Err(violation("a row has other columns than its description"));
        }
        self.emit(seq, &head);
        self.rows += 1;
        self.large = Some(Large {
            seq,
            mask,
            left: h.len - head.len(),
            column: 0,
            value: None,
        });
        Ok(Begun::Yes)
    }

    /// Takes what has come of the row. False: more must be read.
    pub(super) fn large_step(&mut self) -> Result<bool, End> {
        let Some(mut large) = self.large.take() else {
            return Ok(false);
        };
        let went_on = self.large_part(&mut large)?;
        if large.value.is_some() || large.column < large.mask.width() {
            self.large = Some(large);
        } else if large.left > 0 {
            return Err(violation("a row is longer than its values"));
        }
        Ok(went_on)
    }

    fn large_part(&mut self, large: &mut Large) -> Result<bool, End> {
        let before = self.buf.len();
        let (next, seq) = match &mut large.value {
            None => return self.value_length(large),
            Some(Value::Pass(left)) => {
                let n = (*left).min(self.buf.len());
                *left -= n;
                let next = match n {
                    0 if *left == 0 => Next::End,
                    0 => Next::Read,
                    n => Next::Out(self.buf.split_to(n).freeze()),
                };
                (next, large.seq)
            }
            Some(Value::Look(windows)) => (windows.next(&mut self.buf), large.seq),
        };
        large.left -= before - self.buf.len();
        match next {
            Next::End => {
                large.value = None;
                large.column += 1;
                Ok(true)
            }
            Next::Read => Ok(false),
            Next::Out(bytes) => {
                self.emit(seq, &bytes);
                Ok(true)
            }
            Next::Look(part) => {
                let clean = !large.mask.objects(large.column, &part);
                if let Some(Value::Look(windows)) = &mut large.value {
                    let out = windows.judged(clean);
                    self.emit(seq, &out);
                }
                Ok(true)
            }
        }
    }

    fn value_length(&mut self, large: &mut Large) -> Result<bool, End> {
        let Some(bytes) = self.buf.first_chunk::<4>().copied() else {
            return Ok(false);
        };
        let length = i32::from_be_bytes(bytes);
        drop(self.buf.split_to(4));
        let mut head = bytes::BytesMut::with_capacity(4);
        head.put_i32(length);
        large.left = large
            .left
            .checked_sub(4)
            .ok_or_else(|| violation("a row ends before its last value"))?;
        let length = match length {
            -1 => {
                large.column += 1;
                self.emit(large.seq, &head);
                return Ok(true);
            }
            length => usize::try_from(length).ok().filter(|n| *n <= large.left),
        };
        let length = length.ok_or_else(|| violation("a value is longer than its row"))?;
        self.emit(large.seq, &head);
        large.value = Some(match large.mask.looks(large.column) {
            false => Value::Pass(length),
            true => Value::Look(Windows::new(length)),
        });
        Ok(true)
    }
}
