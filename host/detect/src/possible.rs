//! Which detectors can find anything in a text at all, by the bytes that it has.
//!
//! Most values have nothing that could begin a finding. A pass without branches, over as many bytes
//! at a time as the processor takes, says so; in longer texts a second one looks for what every finding
//! has inside of it.

use super::bits::{BLOCK, Block, those};
use super::{Detector, Detectors, is_base64, is_base64url};

/// A run whose digits can be counted in one byte.
const CHUNK: usize = 128;

const AT: u8 = 1;
const DASH: u8 = 1 << 1;
const UNDERSCORE: u8 = 1 << 2;
const CAPITAL_A: u8 = 1 << 3;
const CAPITAL_J: u8 = 1 << 4;

/// Below this the detectors themselves are as quick.
const LONG: usize = 64;

/// Of `on`, those without which nothing can be missed: every finding of the others needs bytes that
/// the text has not.
pub fn possible(on: Detectors, text: &[u8]) -> Detectors {
    let on = by_bytes(on, text);
    match on.is_empty() || text.len() < LONG {
        true => on,
        false => by_shapes(on, text),
    }
}

fn by_bytes(on: Detectors, text: &[u8]) -> Detectors {
    let (marks, digits) = look(text);
    let any = |of: u8| marks & of != 0;
    let may = |one: Detector| match one {
        Detector::Email => any(AT),
        // The fewest digits that each has.
        Detector::Pan => digits >= 13,
        Detector::UsSsn => digits >= 9,
        Detector::Phone => digits >= 8,
        Detector::Iban => digits >= 2 && text.len() >= 15,
        // `eyJ`.
        Detector::Jwt => any(CAPITAL_J),
        Detector::PrivateKey => any(DASH),
        // Each prefix has one of them.
        Detector::CloudKey => any(DASH | UNDERSCORE | CAPITAL_A | CAPITAL_J) && text.len() >= 20,
    };
    if marks == 0 && digits < 2 {
        return Detectors::NONE;
    }
    let mut out = Detectors::NONE;
    for one in Detector::ALL {
        if may(*one) {
            out = out.with(*one);
        }
    }
    out.and(on)
}

/// Which marks it has, and how many digits.
fn look(text: &[u8]) -> (u8, usize) {
    let (mut marks, mut digits) = (0_u8, 0_usize);
    for chunk in text.chunks(CHUNK) {
        let mut count = 0_u8;
        for &c in chunk {
            count = count.wrapping_add(u8::from(c.is_ascii_digit()));
            marks |= mark(c == b'@', AT)
                | mark(c == b'-', DASH)
                | mark(c == b'_', UNDERSCORE)
                | mark(c == b'A', CAPITAL_A)
                | mark(c == b'J', CAPITAL_J);
        }
        digits += usize::from(count);
    }
    (marks, digits)
}

/// The mark or nothing, without a branch.
fn mark(is: bool, mark: u8) -> u8 {
    u8::from(is).wrapping_neg() & mark
}

/// Of `on`, those of which the text has a shape: characters beside each other that every finding has, and few
/// other texts.
fn by_shapes(on: Detectors, text: &[u8]) -> Detectors {
    let mut out = Detectors::of(Detector::Email).and(on);
    let mut low = Part::of(text, 0);
    let mut from = 0;
    while from < text.len() && out != on {
        from += BLOCK;
        let high = Part::of(text, from);
        let both = Both::new(&low, &high);
        for one in on.iter() {
            if !out.has(one) && both.has_shape(one) {
                out = out.with(one);
            }
        }
        low = high;
    }
    out
}

/// A block, and which of its bytes are what.
struct Part {
    bytes: Block,
    digit: u64,
    letter: u64,
    /// What else can stand in a key.
    other: u64,
}

impl Part {
    /// What is behind the end of the text is zero, which no shape has.
    fn of(text: &[u8], from: usize) -> Self {
        let rest = text.get(from..).unwrap_or_default();
        let bytes = match rest.first_chunk() {
            Some(whole) => *whole,
            None => {
                let mut last = [0; BLOCK];
                for (slot, c) in last.iter_mut().zip(rest) {
                    *slot = *c;
                }
                last
            }
        };
        Self {
            digit: those(&bytes, |c| c.is_ascii_digit()),
            letter: those(&bytes, |c| c.is_ascii_alphabetic()),
            other: those(&bytes, |c| {
                (c == b'-') | (c == b'_') | (c == b'/') | (c == b'+') | (c == b'=')
            }),
            bytes,
        }
    }
}

/// Two of them: shapes that begin in the first one, and what they go on in. Those of the second one are seen with
/// the one behind it.
struct Both<'a> {
    low: &'a Part,
    high: &'a Part,
    letter: u128,
    other: u128,
    /// Where so many digits stand beside each other.
    digit: u128,
    two: u128,
    four: u128,
}

fn joined(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << BLOCK
}

impl<'a> Both<'a> {
    fn new(low: &'a Part, high: &'a Part) -> Self {
        let digit = joined(low.digit, high.digit);
        let two = digit & digit >> 1;
        Self {
            letter: joined(low.letter, high.letter),
            other: joined(low.other, high.other),
            digit,
            two,
            four: two & two >> 2,
            low,
            high,
        }
    }

    /// Characters that are looked for only where the others of a shape are.
    fn those(&self, is: impl Fn(u8) -> bool) -> u128 {
        joined(those(&self.low.bytes, &is), those(&self.high.bytes, &is))
    }

    fn has_shape(&self, one: Detector) -> bool {
        match one {
            // By its mark alone.
            Detector::Email => true,
            // Four digits and four more, or thirteen in one piece.
            Detector::Pan => {
                let (digit, four) = (self.digit, self.four);
                let piece = four & four >> 4 & four >> 8 & digit >> 12;
                let groups = four & four >> 5;
                begins(piece)
                    || begins(groups)
                        && begins(groups & self.those(|c| (c == b' ') | (c == b'-')) >> 4)
            }
            // `123-45-6789`.
            Detector::UsSsn => {
                let (digit, two, four) = (self.digit, self.two, self.four);
                let groups = two & digit >> 2 & two >> 4 & four >> 7;
                begins(groups) && {
                    let gap = self.those(|c| (c == b' ') | (c == b'-'));
                    begins(groups & gap >> 3 & gap >> 6)
                }
            }
            // `+1`, or `555-0123`.
            Detector::Phone => {
                let (digit, two, four) = (self.digit, self.two, self.four);
                let groups = two & digit >> 2 & four >> 4;
                let plus = self.other & digit >> 1;
                begins(plus) && begins(plus & self.those(|c| c == b'+'))
                    || begins(groups)
                        && begins(groups & self.those(|c| (c == b'-') | (c == b'.')) >> 3)
            }
            // `DE89`, and what the shortest of them has behind that, in one piece or in groups of four.
            Detector::Iban => {
                let begin = self.letter & self.letter >> 1 & self.two >> 2;
                begins(begin) && {
                    let (four, eight, _) = runs(self.letter | self.digit);
                    let space = self.those(|c| c == b' ');
                    let group = space & four >> 1;
                    let groups = group & group >> 5 & space >> 10;
                    begins(begin & (groups | eight & eight >> 3) >> 4)
                }
            }
            Detector::Jwt => {
                let [e, y, j] = [b'e', b'y', b'J'].map(|letter| self.those(|c| c == letter));
                begins(e & y >> 1 & j >> 2)
            }
            // Five dashes.
            Detector::PrivateKey => {
                let (_, four) = pairs(self.other);
                begins(four & self.other >> 4) && {
                    let dash = self.those(|c| c == b'-');
                    begins(pairs(dash).1 & dash >> 4)
                }
            }
            // As many characters as the shortest has, or, with what else base 64 has, as the shortest of those.
            Detector::CloudKey => {
                let (four, _, sixteen) = runs(self.letter | self.digit | self.other);
                begins(sixteen & four >> 16) && {
                    let (four, _, sixteen) = runs(self.those(is_base64url));
                    let (_, _, more) = runs(self.those(is_base64));
                    begins(sixteen & four >> 16 | more & more >> 16)
                }
            }
        }
    }
}

/// Does any begin in the first block?
fn begins(places: u128) -> bool {
    places & u128::from(u64::MAX) != 0
}

/// Where two and four of them stand beside each other.
fn pairs(one: u128) -> (u128, u128) {
    let two = one & one >> 1;
    (two, two & two >> 2)
}

/// Where four, eight and sixteen.
fn runs(one: u128) -> (u128, u128, u128) {
    let (_, four) = pairs(one);
    let eight = four & four >> 4;
    (four, eight, eight & eight >> 8)
}
