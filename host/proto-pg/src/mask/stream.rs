//! Values that are too large to be held as a whole, looked at through windows.
//!
//! A row's length goes out before its values, so from then on nothing may change its length: what a
//! detector objects to is not replaced but starred out, from the beginning of the window in which it
//! was found to the end of the value. Columns that are hidden whatever they hold, and those whose values
//! a plugin judges, cannot be treated this way; a row that has one must fit into memory.

use bytes::{Bytes, BytesMut};

use super::row::RowMask;

/// What is looked at together.
pub const WINDOW: usize = 1 << 20;
/// Of each window, this much is looked at again with the next one. What can be longer is found by its
/// beginning: private keys by the detector, tokens by [`unfinished`].
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

    /// Do the host's detectors object to a part of a value?
    pub fn objects(&self, column: usize, part: &[u8]) -> bool {
        self.columns().get(column).is_none_or(|c| c.detects(part))
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
        if !clean || (self.left > 0 && unfinished(&self.held)) {
            self.hidden = true;
            let n = self.held.len();
            self.held = BytesMut::new();
            return stars(n);
        }
        let keep = if self.left == 0 { 0 } else { OVERLAP };
        let out = boundary(&self.held, self.held.len().saturating_sub(keep));
        self.held.split_to(out).freeze()
    }
}

/// Can a JSON Web Token begin in this part, and go on behind it for so long that no window has all of
/// it? A whole one has three parts with dots between them.
fn unfinished(part: &[u8]) -> bool {
    let in_token = |c: &&u8| c.is_ascii_alphanumeric() || matches!(**c, b'-' | b'_' | b'.');
    let length = part.iter().rev().take_while(in_token).count();
    let run = part.get(part.len() - length..).unwrap_or_default();
    let three: usize = run
        .rsplit(|c| *c == b'.')
        .take(3)
        .map(|p| p.len() + 1)
        .sum();
    // One that is shorter than the overlap is looked at again from its beginning.
    let from = length.saturating_sub(three);
    let may_begin = run.get(from..length.saturating_sub(OVERLAP) + 2);
    let at_word = |at: usize| {
        let before = (from + at).checked_sub(1).and_then(|i| run.get(i));
        before.is_none_or(|c| !c.is_ascii_alphanumeric())
    };
    let begins = may_begin.unwrap_or_default().windows(3);
    begins.enumerate().any(|(at, w)| w == b"eyJ" && at_word(at))
}

/// The last place up to `at` where no UTF-8 character is cut in two: stars may follow.
fn boundary(bytes: &[u8], at: usize) -> usize {
    let goes_on = |i: &usize| bytes.get(*i).is_some_and(|c| c & 0xC0 == 0x80);
    // A character has at most three such bytes; where there are more, it is not text.
    let inside = (0..4).find(|n| !goes_on(&at.saturating_sub(*n)));
    at.saturating_sub(inside.unwrap_or(0))
}

fn stars(n: usize) -> Bytes {
    Bytes::from(vec![b'*'; n])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a value in pieces; whatever has `needle` in it is objected to.
    fn run(value: &[u8], piece: usize, needle: &[u8]) -> (Vec<u8>, usize) {
        let has = |part: &[u8]| part.windows(needle.len()).any(|w| w == needle);
        judge(value, piece, has)
    }

    fn judge(value: &[u8], piece: usize, objects: impl Fn(&[u8]) -> bool) -> (Vec<u8>, usize) {
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
                    out.extend_from_slice(&windows.judged(!objects(&part)));
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

    /// A token that is longer than what is looked at twice, wherever it begins and its dots are.
    #[test]
    fn nothing_of_a_long_token_goes_out() {
        // As the detectors see it: two dots, and something before, between and after them.
        let whole = |part: &[u8]| {
            let begun = part.windows(3).position(|w| w == b"eyJ");
            begun.is_some_and(|at| part[at..].iter().filter(|c| **c == b'.').count() >= 2)
        };
        for (header, claims) in [
            (70 << 10, 20),
            (40, 200 << 10),
            (40, 3 * WINDOW),
            (OVERLAP - 10, 20),
            (OVERLAP, OVERLAP),
            (2 * WINDOW, 20),
        ] {
            let token = format!("eyJ{}.eyJ{}.sig", "h".repeat(header), "c".repeat(claims));
            for at in [
                0,
                1,
                WINDOW - OVERLAP - 1,
                WINDOW - OVERLAP,
                (WINDOW - OVERLAP).saturating_sub(header + 4),
                WINDOW - 4,
                WINDOW - 1,
            ] {
                let length = at + token.len() + 2 * WINDOW;
                let mut value = vec![b' '; length];
                value[at..at + token.len()].copy_from_slice(token.as_bytes());
                let (out, _) = judge(&value, 300_000, whole);
                assert_eq!(out.len(), length);
                let shown = out.iter().find(|c| !matches!(c, b' ' | b'*'));
                assert_eq!(shown, None, "{header} and {claims} at {at}");
            }
        }
        // Behind other words of the same letters, as the detectors take it.
        for before in ["-eyJ", "x_eyJ", "x.y-eyJ", "é-eyJ"] {
            let mut value = before.to_owned();
            value.push_str(&"x".repeat(2 * WINDOW));
            let (out, _) = judge(value.as_bytes(), 300_000, whole);
            assert!(out.iter().all(|c| *c == b'*'), "{before}");
        }
        // What cannot be one passes: long words, other encodings, and tokens that are looked at again.
        for text in ["x", "eyx", "xeyJ", "a.b.c.eyJ/"] {
            let mut value = text.to_owned();
            value.push_str(&"x".repeat(2 * WINDOW));
            let (out, _) = judge(value.as_bytes(), 300_000, whole);
            assert!(out == value.as_bytes(), "{text}");
        }
    }

    /// A client that reads UTF-8 can read what it gets.
    #[test]
    fn stars_cut_no_character_in_two() {
        for character in ["é", "漢", "🦀"] {
            for shift in 0..4 {
                let mut value = "x".repeat(shift);
                while value.len() < 2 * WINDOW {
                    value.push_str(character);
                }
                let (out, _) = run(value.as_bytes(), 300_000, b"needle");
                assert!(out == value.as_bytes());
                value.push_str("needle");
                let (out, _) = run(value.as_bytes(), 300_000, b"needle");
                assert_eq!(out.len(), value.len());
                let out = String::from_utf8(out).expect("UTF-8");
                assert!(out.contains(character) && out.ends_with('*'));
            }
        }
        // What is no text is cut somewhere.
        let (out, _) = run(&vec![0x80; 2 * WINDOW], 300_000, b"needle");
        assert!(out == vec![0x80; 2 * WINDOW]);
    }
}
