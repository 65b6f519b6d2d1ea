//! Which detectors can find anything in a text at all, by the bytes that it has.
//!
//! Most values have nothing that could begin a finding. A pass without branches, over as many bytes
//! at a time as the processor takes, says so; in longer texts a second one looks for what every finding
//! has inside of it.

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

/// The longest shape that is looked for.
const SHAPE: usize = 32;

/// So many places at which shapes begin, and what they go on in. What is behind the end of the text is zero, which
/// no shape has.
type Window = [u8; CHUNK + SHAPE];

/// Of `on`, those of which the text has a shape: characters beside each other that every finding has, and few
/// other texts.
fn by_shapes(on: Detectors, text: &[u8]) -> Detectors {
    let mut out = Detectors::of(Detector::Email).and(on);
    let mut from = 0;
    while from < text.len() && out != on {
        let mut window: Window = [0; CHUNK + SHAPE];
        let rest = text.get(from..).unwrap_or_default();
        for (slot, c) in window.iter_mut().zip(rest) {
            *slot = *c;
        }
        let digits = Digits::of(&window);
        for one in on.iter() {
            if !out.has(one) && has_shape(one, &window, &digits) {
                out = out.with(one);
            }
        }
        from += CHUNK;
    }
    out
}

/// Where so many digits stand beside each other: four detectors ask.
struct Digits {
    one: Window,
    two: Window,
    four: Window,
}

impl Digits {
    fn of(text: &Window) -> Self {
        let one = those(text, |c| c.is_ascii_digit());
        let two = then(&one, 1, &one);
        let four = then(&two, 2, &two);
        Self { one, two, four }
    }
}

fn has_shape(one: Detector, text: &Window, digits: &Digits) -> bool {
    let Digits {
        one: digit,
        two,
        four,
    } = digits;
    match one {
        // By its mark alone.
        Detector::Email => true,
        // Four digits and four more, or thirteen in one piece.
        Detector::Pan => {
            let gap = those(text, |c| matches!(c, b' ' | b'-'));
            let groups = then(four, 4, &then(&gap, 1, four));
            let piece = then(&then(four, 4, four), 8, &then(four, 4, digit));
            any(&groups) || any(&piece)
        }
        // `123-45-6789`.
        Detector::UsSsn => {
            let gap = those(text, |c| matches!(c, b' ' | b'-'));
            let last = then(&gap, 1, four);
            let middle = then(&gap, 1, &then(two, 2, &last));
            any(&then(&then(two, 2, digit), 3, &middle))
        }
        // `+1`, or `555-0123`.
        Detector::Phone => {
            let plus = those(text, |c| c == b'+');
            let gap = those(text, |c| matches!(c, b'-' | b'.'));
            let three = then(two, 2, digit);
            any(&then(&plus, 1, digit)) || any(&then(&three, 3, &then(&gap, 1, four)))
        }
        // `DE89`.
        Detector::Iban => {
            let letters = those(text, |c| c.is_ascii_alphabetic());
            any(&then(&letters, 1, &then(&letters, 1, two)))
        }
        Detector::Jwt => {
            let [e, y, j] = [b'e', b'y', b'J'].map(|letter| those(text, |c| c == letter));
            any(&then(&e, 1, &then(&y, 1, &j)))
        }
        // Five dashes.
        Detector::PrivateKey => {
            let one = those(text, |c| c == b'-');
            let two = then(&one, 1, &one);
            any(&then(&two, 2, &then(&two, 2, &one)))
        }
        // As many characters as the shortest has, or, with what else base 64 has, as the shortest of those.
        Detector::CloudKey => {
            let (four, sixteen) = runs(&those(text, is_base64url));
            let (_, more) = runs(&those(text, is_base64));
            any(&then(&sixteen, 16, &four)) || any(&then(&more, 16, &more))
        }
    }
}

/// Where four and sixteen of them stand beside each other.
fn runs(one: &Window) -> (Window, Window) {
    let two = then(one, 1, one);
    let four = then(&two, 2, &two);
    let eight = then(&four, 4, &four);
    (four, then(&eight, 8, &eight))
}

/// Where these characters are: all bits of the byte.
fn those(text: &Window, is: impl Fn(u8) -> bool) -> Window {
    let mut out: Window = [0; CHUNK + SHAPE];
    for (out, c) in out.iter_mut().zip(text) {
        *out = u8::from(is(*c)).wrapping_neg();
    }
    out
}

/// Where one begins behind which, so many bytes on, the other one begins.
fn then(first: &Window, on: usize, second: &Window) -> Window {
    let mut out: Window = [0; CHUNK + SHAPE];
    let second = second.get(on..).unwrap_or_default();
    for ((out, first), second) in out.iter_mut().zip(first).zip(second) {
        *out = first & second;
    }
    out
}

fn any(places: &Window) -> bool {
    places.iter().fold(0, |all, one| all | one) != 0
}
