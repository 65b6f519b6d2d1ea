//! Is it text at all?

use super::Kind;

/// What is judged together.
const WINDOW: usize = 8 << 10;
/// Of so many bytes at most one is none of a text.
const ONE_IN: usize = 20;
const BLOCK: usize = 64;
/// Of less it cannot be told by counting.
const SHORT: usize = 64;
/// The longest beginning of a character.
const PARTIAL: usize = 3;

/// What is passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "whether binary data passes without being masked is for the caller to say"]
pub enum Verdict {
    Text,
    /// It is not text: replacing bytes of it would break it, and what it is packed in hides what it says. What has
    /// been replaced stays so; the caller goes on without the masker, or not at all.
    Binary,
}

/// Looks at everything. Once something was no text, [`Guard::look`] says so of all that follows: that stays to be
/// told once. [`Guard::has_text`] judges each piece by itself.
#[derive(Debug)]
pub(crate) struct Guard {
    binary: bool,
    off: bool,
    seen: usize,
    odd: usize,
    /// The beginning of a character whose rest has not come.
    partial: Vec<u8>,
}

impl Guard {
    /// What is on a terminal is shown as text, whatever it is.
    pub fn new(kind: Kind) -> Self {
        Self {
            binary: false,
            off: kind == Kind::Terminal,
            seen: 0,
            odd: 0,
            partial: Vec::new(),
        }
    }

    pub fn look(&mut self, mut input: &[u8]) -> Verdict {
        if self.off {
            return Verdict::Text;
        }
        while !self.binary && !input.is_empty() {
            let part = input.len().min(WINDOW - self.seen);
            let (now, later) = input.split_at_checked(part).unwrap_or((input, &[]));
            self.part(now);
            input = later;
        }
        match self.binary {
            true => Verdict::Binary,
            false => Verdict::Text,
        }
    }

    /// Is a part of this text, whatever came before it? By counting only: a NUL here and there makes it nothing else.
    pub fn has_text(&mut self, mut piece: &[u8]) -> bool {
        let mut text = false;
        while !piece.is_empty() {
            // What is left over is judged with what stands before it.
            let rest = piece.len() >= 2 * WINDOW;
            let window = if rest { WINDOW } else { piece.len() };
            let (now, later) = piece.split_at_checked(window).unwrap_or((piece, &[]));
            // What cannot be text any more is not looked at any longer.
            let most = now.len() / ONE_IN;
            let count = odd(now);
            let count = count + self.characters(now, most.saturating_sub(count));
            text |= match now.len() < SHORT {
                true => memchr::memchr(0, now).is_none(),
                false => count <= most,
            };
            piece = later;
        }
        text
    }

    fn part(&mut self, part: &[u8]) {
        let odd = odd(part);
        self.binary = odd > 0 && memchr::memchr(0, part).is_some();
        self.odd += odd;
        if !part.is_ascii() || !self.partial.is_empty() {
            self.odd += self.characters(part, usize::MAX);
        }
        self.seen += part.len();
        if self.seen >= WINDOW {
            self.binary |= self.odd * ONE_IN > self.seen;
            (self.seen, self.odd) = (0, 0);
        }
    }

    /// Counts what is no character of UTF-8, up to somewhat more than `most`.
    fn characters(&mut self, part: &[u8], most: usize) -> usize {
        let joined;
        let mut rest = part;
        if !self.partial.is_empty() {
            joined = [std::mem::take(&mut self.partial).as_slice(), part].concat();
            rest = &joined;
        }
        let end = rest;
        let mut count = 0;
        while count <= most
            && let Err(error) = std::str::from_utf8(rest)
        {
            let Some(odd) = error.error_len() else {
                break;
            };
            count += odd;
            rest = rest.get(error.valid_up_to() + odd..).unwrap_or_default();
        }
        self.partial = beginning(end).to_vec();
        count
    }
}

/// The beginning of a character at the end of this, whose rest is not there.
fn beginning(text: &[u8]) -> &[u8] {
    let parts = (1..=PARTIAL)
        .rev()
        .map(|n| text.split_at_checked(text.len().wrapping_sub(n)));
    let tails = parts.flatten().map(|(_, tail)| tail);
    let begins = |tail: &&[u8]| {
        std::str::from_utf8(tail).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
    };
    tails.into_iter().find(begins).unwrap_or_default()
}

fn odd(part: &[u8]) -> usize {
    let (blocks, rest) = part.as_chunks::<BLOCK>();
    // Counted in bytes, the processor does many at a time.
    let count = |block: &[u8]| block.iter().map(|c| u8::from(is_odd(*c))).sum::<u8>();
    let blocks = blocks.iter().map(|block| usize::from(count(block)));
    blocks.sum::<usize>() + usize::from(count(rest))
}

/// A control character that text has no use for.
pub(super) fn is_odd(c: u8) -> bool {
    // Without a branch: 0x07 to 0x0D have a use.
    ((c < 0x20) & (c.wrapping_sub(0x07) > 6) & (c != 0x1B)) | (c == 0x7F)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A character that begins in what is no text any more, and ends in what is.
    #[test]
    fn what_is_not_looked_at_has_a_last_character_all_the_same() {
        let mut guard = Guard::new(Kind::Pipe);
        let euro = "€".as_bytes();
        let noise = [&[0xff; 8192][..], &euro[..2]].concat();
        assert!(!guard.has_text(&noise));
        // Five of a hundred are the most.
        let text = [&euro[2..], &[0xff; 5], &[b'x'; 94]].concat();
        assert!(guard.has_text(&text));
        assert!(!guard.has_text(&text), "its first byte is no character now");
        for (text, left) in [
            (&b"abc"[..], 0),
            (b"", 0),
            (b"\xe2", 1),
            (b"abc\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            (b"\x82\x82\x82", 0),
            (b"\xe2\x82\xac", 0),
        ] {
            assert_eq!(beginning(text).len(), left, "{text:x?}");
        }
    }
}
