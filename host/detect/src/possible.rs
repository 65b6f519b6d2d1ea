//! Which detectors can find anything in a text at all, by the bytes that it has.
//!
//! Most values have nothing that could begin a finding. A pass without branches, over as many bytes
//! at a time as the processor takes, says so; in longer texts another one, before it or behind it, looks for what
//! every finding has inside of it.

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
    let Some(first) = text.first_chunk::<LONG>() else {
        return by_bytes(on, text);
    };
    // Whichever says no spares the other one: to prose its bytes do, to lines of a log, which begin with digits, shapes.
    let digits = first.iter().map(|c| u8::from(c.is_ascii_digit()));
    let [some, other] = match digits.fold(0, u8::wrapping_add) > 0 {
        true => [by_shapes, by_bytes],
        false => [by_bytes, by_shapes],
    };
    match some(on, text) {
        Detectors::NONE => Detectors::NONE,
        some => other(some, text),
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
    let rare = Rare::of(text);
    let needs = [
        (Detector::Email, rare.at),
        (Detector::Jwt, rare.capital_j),
        (Detector::PrivateKey, rare.dashes),
    ];
    let mut sought = on;
    for (one, _) in needs.into_iter().filter(|(_, there)| !there) {
        sought = sought.without(one);
    }
    // By its mark alone.
    let mut out = sought.and(Detectors::of(Detector::Email));
    sought = sought.without(Detector::Email);
    let (blocks, rest) = text.as_chunks();
    // What is behind the end of the text is zero, which no shape has.
    let mut last = NOTHING;
    for (slot, c) in last.iter_mut().zip(rest) {
        *slot = *c;
    }
    // Backwards: what a shape that begins in a block goes on in is known by then.
    let mut behind = Part::NONE;
    for bytes in std::iter::once(&last).chain(blocks.iter().rev()) {
        if sought.is_empty() {
            break;
        }
        let here = Part::of(bytes, &behind);
        let likely = here.likely(&behind, sought, rare.plus);
        if !likely.is_empty() {
            let both = Both::new(&here, &behind);
            for one in likely.iter().filter(|one| both.has_shape(*one)) {
                out = out.with(one);
                sought = sought.without(one);
            }
        }
        behind = here;
    }
    out
}

/// What most text has nothing of.
struct Rare {
    at: bool,
    capital_j: bool,
    plus: bool,
    /// Two of them, where the first one stands at an even place: of three in a row, two do.
    dashes: bool,
}

impl Rare {
    fn of(text: &[u8]) -> Self {
        const DASHES: u16 = u16::from_ne_bytes(*b"--");
        let (mut at, mut capital_j, mut plus, mut dashes) = (0, 0, 0, 0);
        for &c in text {
            at |= u8::from(c == b'@');
            capital_j |= u8::from(c == b'J');
            plus |= u8::from(c == b'+');
        }
        for two in text.as_chunks().0 {
            dashes |= u16::from(u16::from_ne_bytes(*two) == DASHES);
        }
        Self {
            at: at != 0,
            capital_j: capital_j != 0,
            plus: plus != 0,
            dashes: dashes != 0,
        }
    }
}

const NOTHING: Block = [0; BLOCK];

/// A block, and which of its bytes are what.
struct Part<'a> {
    bytes: &'a Block,
    digit: u64,
    /// What can stand in a key.
    key: u64,
    /// Where so many digits begin that stand beside each other.
    two: u64,
    four: u64,
    /// So many of what can stand in a key.
    key_4: u64,
    key_8: u64,
}

impl<'a> Part<'a> {
    const NONE: Part<'static> = Part {
        bytes: &NOTHING,
        digit: 0,
        key: 0,
        two: 0,
        four: 0,
        key_4: 0,
        key_8: 0,
    };

    fn of(bytes: &'a Block, behind: &Part<'_>) -> Self {
        let digit = those(bytes, |c| c.is_ascii_digit());
        // One comparison for `)`, `+`, `-` and `/`.
        let key = those(bytes, |c| {
            let other = (c & !0b110 == 0b10_1001) | (c == b'_') | (c == b'=');
            c.is_ascii_digit() | c.is_ascii_alphabetic() | other
        });
        let two = digit & further(digit, behind.digit, 1);
        let key_2 = key & further(key, behind.key, 1);
        let key_4 = key_2 & further(key_2, behind.key & behind.key >> 1, 2);
        Self {
            bytes,
            digit,
            key,
            two,
            four: two & further(two, behind.two, 2),
            key_4,
            key_8: key_4 & further(key_4, behind.key_4, 4),
        }
    }

    /// Of those that are sought, all of which [`Both::has_shape`] may say yes: of most text, none.
    fn likely(&self, behind: &Part<'_>, sought: Detectors, plus: bool) -> Detectors {
        let mut out = Detectors::NONE;
        let mut add = |one: Detector, places: u64| {
            if places != 0 {
                out = out.with(one);
            }
        };
        let two = |more: u32| further(self.two, behind.two, more);
        let four = |more: u32| further(self.four, behind.four, more);
        let key_4 = |more: u32| further(self.key_4, behind.key_4, more);
        let three = self.two & further(self.digit, behind.digit, 2);
        add(Detector::Pan, self.four & four(5));
        add(Detector::UsSsn, three & two(4) & four(7));
        add(Detector::Phone, three & four(4));
        if plus {
            let plus = those(self.bytes, |c| c == b'+');
            add(Detector::Phone, plus & further(self.digit, behind.digit, 1));
        }
        // `DE89`, and where a group begins or the piece goes on.
        let no_digit = |part: &Part<'_>| part.key & !part.digit;
        let letters = no_digit(self) & further(no_digit(self), no_digit(behind), 1);
        add(Detector::Iban, letters & two(2) & key_4(5) & key_4(10));
        if sought.has(Detector::Jwt) {
            let capital_j = |part: &Part<'_>| those(part.bytes, |c| c == b'J');
            add(
                Detector::Jwt,
                further(capital_j(self), capital_j(behind), 2),
            );
        }
        if sought.has(Detector::PrivateKey) {
            let dash = |part: &Part<'_>| those(part.bytes, |c| c == b'-');
            let dashes = dash(self) & further(dash(self), dash(behind), 4);
            add(Detector::PrivateKey, dashes);
        }
        let key_16 = self.key_8 & further(self.key_8, behind.key_8, 8);
        add(Detector::CloudKey, key_16 & key_4(16));
        out.and(sought)
    }
}

/// What stands so many bytes further on than each byte of a block; `behind` follows it.
fn further(here: u64, behind: u64, more: u32) -> u64 {
    here >> more | behind << (u64::BITS - more)
}

/// Two of them: shapes that begin in the first one, and what they go on in. Those of the second one are seen with
/// the one behind it.
struct Both<'a> {
    low: &'a Part<'a>,
    high: &'a Part<'a>,
    /// Where so many digits stand beside each other.
    digit: u128,
    two: u128,
    four: u128,
}

fn joined(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << BLOCK
}

impl<'a> Both<'a> {
    fn new(low: &'a Part<'a>, high: &'a Part<'a>) -> Self {
        let digit = joined(low.digit, high.digit);
        let two = digit & digit >> 1;
        Self {
            digit,
            two,
            four: two & two >> 2,
            low,
            high,
        }
    }

    /// Characters that are looked for only where the others of a shape are.
    fn those(&self, is: impl Fn(u8) -> bool) -> u128 {
        joined(those(self.low.bytes, &is), those(self.high.bytes, &is))
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
                begins(self.those(|c| c == b'+') & digit >> 1)
                    || begins(groups)
                        && begins(groups & self.those(|c| (c == b'-') | (c == b'.')) >> 3)
            }
            // `DE89`, and what the shortest of them has behind that, in one piece or in groups of four.
            Detector::Iban => {
                let letter = self.those(|c| c.is_ascii_alphabetic());
                let begin = letter & letter >> 1 & self.two >> 2;
                begins(begin) && {
                    let (four, eight, _) = runs(letter | self.digit);
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
                let dash = self.those(|c| c == b'-');
                begins(pairs(dash).1 & dash >> 4)
            }
            // As many characters as the shortest has, or, with what else base 64 has, as the shortest of those.
            Detector::CloudKey => {
                let (four, _, sixteen) = runs(self.those(is_base64url));
                let (_, _, more) = runs(self.those(is_base64));
                begins(sixteen & four >> 16 | more & more >> 16)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every shape looked for at every place, from the first block to the last one.
    fn slowly(on: Detectors, text: &[u8]) -> Detectors {
        let mut blocks: Vec<Block> = Vec::new();
        for chunk in text.chunks(BLOCK) {
            let mut block = NOTHING;
            block[..chunk.len()].copy_from_slice(chunk);
            blocks.push(block);
        }
        let parts: Vec<Part<'_>> = blocks
            .iter()
            .map(|block| Part::of(block, &Part::NONE))
            .chain([Part::NONE])
            .collect();
        let mut out = Detectors::NONE;
        for two in parts.windows(2) {
            let both = Both::new(&two[0], &two[1]);
            for one in on.iter().filter(|one| both.has_shape(*one)) {
                out = out.with(one);
            }
        }
        match text.contains(&b'@') {
            true => out,
            false => out.without(Detector::Email),
        }
    }

    #[test]
    fn what_is_unlikely_has_no_shape() {
        const PIECES: &[&str] = &[
            "1234 5678",
            "1234-5678",
            "1234567890123",
            "123-45-6789",
            "123 45 6789",
            "+1",
            "555-0123",
            "555.0123",
            "DE89370400440532",
            "DE89 3704 0044 0532",
            "no93 8601 1117 ",
            "MT84 MALT 0110 ",
            "eyJ",
            "J",
            "-----",
            "--",
            "-",
            "0123456789abcdefghij",
            "ABC-_/+=",
            "/+=",
            "=",
            "ab12",
            "12",
            "1",
            "a",
            " ",
            ".",
            ")",
            "@",
            "\n",
            "é",
            "x: ",
        ];
        let mut state = 5_u64;
        let mut below = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % n
        };
        let mut seen = [0; 8];
        for round in 0..60_000 {
            let mut text = Vec::new();
            // At every place of a block, and around the end of it.
            text.resize(below(200), [b' ', b'x', b'.', b'-'][round % 4]);
            for _ in 0..1 + below(4) {
                text.extend_from_slice(PIECES[below(PIECES.len())].as_bytes());
            }
            if below(3) == 0 {
                text.resize(text.len() + below(140), b' ');
            }
            let on = match round % 3 {
                0 => Detectors::from_bits(below(256) as u16).unwrap(),
                _ => Detectors::ALL,
            };
            let some = by_shapes(on, &text);
            assert_eq!(
                some,
                slowly(on, &text),
                "{:?}",
                String::from_utf8_lossy(&text)
            );
            some.iter().for_each(|one| seen[one as usize] += 1);
            let both = by_bytes(some, &text);
            let long = text.len() >= LONG;
            assert_eq!(
                possible(on, &text),
                if long { both } else { by_bytes(on, &text) }
            );
        }
        assert!(seen.iter().all(|seen| *seen > 500), "{seen:?}");
    }
}
