//! Which detectors can find anything in a text at all, by the bytes that it has.
//!
//! Most values have nothing that could begin a finding. One pass without branches, over as many bytes
//! at a time as the processor takes, says so.

use super::{Detector, Detectors};

/// A run whose digits can be counted in one byte.
const CHUNK: usize = 128;

const AT: u8 = 1;
const DASH: u8 = 1 << 1;
const UNDERSCORE: u8 = 1 << 2;
const CAPITAL_A: u8 = 1 << 3;
const CAPITAL_J: u8 = 1 << 4;

/// Of `on`, those without which nothing can be missed: every finding of the others needs bytes that
/// the text has not.
pub fn possible(on: Detectors, text: &[u8]) -> Detectors {
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
