//! Values that are too large to be held as a whole, looked at through windows.
//!
//! A row's length goes out before its values, so from then on nothing may change its length: what a
//! detector or a plugin objects to is not replaced but starred out, from the beginning of the window
//! in which it was found to the end of the value. Columns that are hidden whatever they hold cannot be
//! treated this way; a row that has one must fit into memory.

use bytes::{Bytes, BytesMut};
use pipeline::mask::{MaskBatch, Masked};

use super::row::RowMask;

/// What is looked at together.
pub const WINDOW: usize = 1 << 20;
/// Of each window, this much is looked at again with the next one: nothing that is found is longer,
/// except for private keys, which are found by their beginning.
pub const OVERLAP: usize = 64 << 10;

impl RowMask {
    /// May a row of this mask be passed on while it is read?
    pub fn streams(&self) -> bool {
        self.columns().iter().all(|c| c.passes() || c.streams())
    }

    pub fn width(&self) -> usize {
        self.columns().len()
    }

    /// Are values of this column looked at?
    pub fn looks(&self, column: usize) -> bool {
        self.columns().get(column).is_none_or(|c| !c.passes())
    }

    /// Do the host's own detectors object to a part of a value?
    pub fn objects(&self, column: usize, part: &[u8]) -> bool {
        let mut out = BytesMut::new();
        self.columns()
            .get(column)
            .is_none_or(|c| c.detects(part, &mut out) != Masked::Same)
    }

    /// Do plugins look at values of this column?
    pub fn inspects(&self, column: usize) -> bool {
        self.columns().get(column).is_none_or(|c| c.inspects())
    }

    /// What plugins are asked about a part of a value.
    pub fn batch(&self, column: usize, part: &Bytes) -> Option<MaskBatch> {
        Some(MaskBatch {
            ends: vec![u32::try_from(part.len()).ok()?],
            cols: vec![u16::try_from(column).ok()?],
            data: part.to_vec(),
        })
    }
}

/// Cuts one value into windows.
#[derive(Debug, Default)]
pub struct Windows {
    held: BytesMut,
    /// Bytes of the value that have not come yet.
    left: usize,
    /// The rest is starred out.
    hidden: bool,
}

/// What to do next with a value.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// It is over.
    End,
    /// More of it must be read.
    Read,
    /// This part is to be looked at; then [`Windows::judged`] is told.
    Look(Bytes),
    /// These bytes go out.
    Out(Bytes),
}

impl Windows {
    pub fn new(length: usize) -> Self {
        Self {
            left: length,
            ..Self::default()
        }
    }

    /// Takes what has come out of `input`.
    pub fn next(&mut self, input: &mut BytesMut) -> Next {
        if self.hidden {
            let n = self.left.min(input.len()).min(WINDOW);
            return match n {
                0 if self.left == 0 => Next::End,
                0 => Next::Read,
                n => {
                    drop(input.split_to(n));
                    self.left -= n;
                    Next::Out(stars(n))
                }
            };
        }
        let n = self.left.min(input.len()).min(WINDOW - self.held.len());
        self.held.extend_from_slice(&input.split_to(n));
        self.left -= n;
        if self.held.is_empty() && self.left == 0 {
            return Next::End;
        }
        if self.held.len() < WINDOW && self.left > 0 {
            return Next::Read;
        }
        Next::Look(Bytes::copy_from_slice(&self.held))
    }

    /// The part that was given to be looked at may go out, or not. Gives what does.
    pub fn judged(&mut self, clean: bool) -> Bytes {
        if !clean {
            self.hidden = true;
            let n = self.held.len();
            self.held = BytesMut::new();
            return stars(n);
        }
        let keep = if self.left == 0 { 0 } else { OVERLAP };
        let out = self.held.len().saturating_sub(keep);
        self.held.split_to(out).freeze()
    }
}

fn stars(n: usize) -> Bytes {
    Bytes::from(vec![b'*'; n])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a value in pieces; whatever has `needle` in it is objected to.
    fn run(value: &[u8], piece: usize, needle: &[u8]) -> (Vec<u8>, usize) {
        let mut windows = Windows::new(value.len());
        let (mut input, mut rest) = (BytesMut::new(), value);
        let (mut out, mut most) = (Vec::new(), 0);
        loop {
            match windows.next(&mut input) {
                Next::End => break,
                Next::Read => {
                    let (now, later) = rest.split_at(piece.min(rest.len()));
                    assert!(!now.is_empty(), "it reads past the end");
                    input.extend_from_slice(now);
                    rest = later;
                }
                Next::Look(part) => {
                    most = most.max(part.len());
                    let clean = !part.windows(needle.len()).any(|w| w == needle);
                    out.extend_from_slice(&windows.judged(clean));
                }
                Next::Out(bytes) => out.extend_from_slice(&bytes),
            }
        }
        (out, most)
    }

    #[test]
    fn what_nobody_objects_to_comes_out_as_it_is() {
        for length in [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW + 7] {
            let value: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            for piece in [10_007, WINDOW] {
                let (out, most) = run(&value, piece, b"needle");
                assert!(out == value, "{length} in pieces of {piece}");
                assert!(most <= WINDOW);
            }
        }
    }

    /// Wherever it stands, also across windows.
    #[test]
    fn nothing_of_what_is_found_goes_out() {
        let needle = b"4111 1111 1111 1111";
        let length = 2 * WINDOW + 3;
        let places = [0, 1, WINDOW - OVERLAP, WINDOW, length - needle.len()];
        let around = (0..needle.len() + 2).map(|i| WINDOW - i);
        for at in places.into_iter().chain(around) {
            let mut value = vec![b'x'; length];
            value[at..at + needle.len()].copy_from_slice(needle);
            let (out, _) = run(&value, 300_000, needle);
            assert_eq!(out.len(), length);
            assert!(!out.contains(&b'1'), "found at {at}");
            let shown = out.iter().take_while(|c| **c == b'x').count();
            assert!(shown <= at && out[shown..].iter().all(|c| *c == b'*'));
        }
    }
}
