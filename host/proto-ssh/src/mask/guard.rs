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
            let before = self.odd;
            self.odd += odd(now);
            self.characters(now);
            let count = std::mem::replace(&mut self.odd, before) - before;
            text |= match now.len() < SHORT {
                true => memchr::memchr(0, now).is_none(),
                false => count * ONE_IN <= now.len(),
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
            self.characters(part);
        }
        self.seen += part.len();
        if self.seen >= WINDOW {
            self.binary |= self.odd * ONE_IN > self.seen;
            (self.seen, self.odd) = (0, 0);
        }
    }

    /// Counts what is no character of UTF-8.
    fn characters(&mut self, part: &[u8]) {
        let joined;
        let mut rest = part;
        if !self.partial.is_empty() {
            joined = [std::mem::take(&mut self.partial).as_slice(), part].concat();
            rest = &joined;
        }
        while let Err(error) = std::str::from_utf8(rest) {
            let behind = rest.get(error.valid_up_to()..).unwrap_or_default();
            match error.error_len() {
                Some(odd) => {
                    self.odd += odd;
                    rest = behind.get(odd..).unwrap_or_default();
                }
                None => {
                    let partial = behind.len().min(PARTIAL);
                    self.partial = behind.get(..partial).unwrap_or_default().to_vec();
                    break;
                }
            }
        }
    }
}

fn odd(part: &[u8]) -> usize {
    let (blocks, rest) = part.as_chunks::<BLOCK>();
    // Hardly any block has one, which the processor tells of many bytes at a time.
    let odd = blocks
        .iter()
        .filter(|b| b.iter().fold(false, |any, c| any | is_odd(*c)));
    let bytes = odd.flatten().chain(rest);
    bytes.filter(|c| is_odd(**c)).count()
}

/// A control character that text has no use for.
pub(super) fn is_odd(c: u8) -> bool {
    // Without a branch: 0x07 to 0x0D have a use.
    ((c < 0x20) & (c.wrapping_sub(0x07) > 6) & (c != 0x1B)) | (c == 0x7F)
}
