//! Is it text at all?

use super::Kind;

/// What is judged together.
const WINDOW: usize = 8 << 10;
/// Of so many bytes at most one is none of a text.
const ONE_IN: usize = 20;
const BLOCK: usize = 64;
/// So many blocks, and one more, are counted in bytes.
const ROWS: usize = 128;
/// Of less it cannot be told by counting. So many shown bytes in a row are text, whatever stands around them.
const SHORT: usize = BLOCK;
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
/// told once. [`has_text`] judges each piece by itself.
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

/// Is a part of this text, whatever came before it, and in whatever it is encoded? That is for the record, which has
/// too much rather than too little: text with NULs between its words or its letters (UTF-16), with any other byte
/// behind each letter, in 8 bits for each character, cut into the shortest pieces, or a few lines among noise.
pub(crate) fn has_text(mut piece: &[u8]) -> bool {
    if piece.len() < SHORT {
        return piece.iter().any(|c| *c >= b' ' && *c != 0x7F);
    }
    while !piece.is_empty() {
        // What is left over is judged with what stands before it.
        let rest = piece.len() >= 2 * WINDOW;
        let window = if rest { WINDOW } else { piece.len() };
        let (now, later) = piece.split_at_checked(window).unwrap_or((piece, &[]));
        let (lanes, (shown, run)) = (Lane::both(now), shown(now));
        let bytes: usize = lanes.iter().map(|lane| lane.bytes).sum();
        // Between short fields may stand many that are not shown.
        if run || bytes > 0 && 3 * shown >= 2 * bytes || lanes.iter().any(Lane::is_text) {
            return true;
        }
        piece = later;
    }
    false
}

/// Every second byte.
#[derive(Debug, Default)]
struct Lane {
    /// But for NULs.
    bytes: usize,
    odd: usize,
}

impl Lane {
    fn both(part: &[u8]) -> [Self; 2] {
        let mut lanes = [Self::default(), Self::default()];
        for rows in part.chunks(BLOCK * ROWS) {
            // Counted column by column, without branches, and in bytes: the processor takes a row at a time.
            let (mut bytes, mut odds) = ([0_u8; BLOCK], [0_u8; BLOCK]);
            let mut add = |row: &[u8; BLOCK]| {
                for ((bytes, odds), c) in bytes.iter_mut().zip(&mut odds).zip(row) {
                    *bytes += u8::from(*c != 0);
                    *odds += u8::from(is_odd(*c) & (*c != 0));
                }
            };
            let (whole, rest) = rows.as_chunks();
            whole.iter().for_each(&mut add);
            let mut last = [0; BLOCK];
            last.iter_mut().zip(rest).for_each(|(to, c)| *to = *c);
            add(&last);
            let columns = bytes.as_chunks::<2>().0.iter().zip(odds.as_chunks::<2>().0);
            for (bytes, odds) in columns {
                for (lane, (bytes, odd)) in lanes.iter_mut().zip(bytes.iter().zip(odds)) {
                    lane.bytes += usize::from(*bytes);
                    lane.odd += usize::from(*odd);
                }
            }
        }
        lanes
    }

    fn is_text(&self) -> bool {
        self.bytes > 0 && self.odd * ONE_IN <= self.bytes
    }
}

/// How much ASCII is shown of this, or is a space of some kind; and has it a block of nothing else: twice as much in a row
/// has one, wherever it begins.
fn shown(part: &[u8]) -> (usize, bool) {
    let is_shown = |c: u8| (c.wrapping_sub(b' ') < 0x5F) | matches!(c, b'\t' | b'\n' | b'\r');
    // Of a block they fit into a byte.
    let count = |block: &[u8]| block.iter().map(|c| u8::from(is_shown(*c))).sum::<u8>();
    let (blocks, rest) = part.as_chunks::<BLOCK>();
    let (mut all, mut run) = (usize::from(count(rest)), false);
    for block in blocks {
        let shown = usize::from(count(block));
        all += shown;
        run |= shown == BLOCK;
    }
    (all, run)
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

    #[test]
    fn text_between_characters_that_are_not_shown_is_text() {
        let fix = "8=FIX.4.4\x0135=D\x0149=ME\x0156=YOU\x0111=1\x0155=EUR\x01".repeat(40);
        assert!(has_text(fix.as_bytes()));
        assert!(has_text(&fix.as_bytes()[..100]));
        let table = "a\x0112\x01\\N\x01xy\n".repeat(500);
        assert!(has_text(table.as_bytes()));
        let mut c = 1_u64;
        let mut noise = || {
            c = c.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            c.to_be_bytes()[0]
        };
        let noise: Vec<u8> = (0..1 << 20).map(|_| noise()).collect();
        for piece in [8192, 32_768] {
            let text = noise.chunks_exact(piece).filter(|p| has_text(p)).count();
            assert_eq!(text, 0, "{piece}");
        }
    }
}
