//! Telephone numbers: only with a plus or in the American groups, because anything looser matches
//! order numbers.

use super::lead::{LEAST, is_of};
use super::{Detector, Found, account, byte, goes_back, is_word};

/// The longest time before a zone: `12:34:56.123456789 `.
const TIME: usize = 19;

/// `+49 30 1234567`: 8 to 15 digits (E.164), single separators between them.
pub fn international(value: &[u8], at: usize) -> Option<Found> {
    let mut digits = 0;
    let mut end = at + 1;
    let mut i = at + 1;
    if !matches!(byte(value, i), b'1'..=b'9') || is_zone(value, at) {
        return None;
    }
    let mut open = false;
    // Where it ends if what follows behind a space is another number.
    let mut before_space = None;
    loop {
        match byte(value, i) {
            b'0'..=b'9' => {
                digits += 1;
                i += 1;
                end = i;
                if digits > 15 {
                    let card = account::pan(value, at + 1).is_some();
                    return before_space.filter(|_| !card);
                }
            }
            b'(' if !open && byte(value, i + 1).is_ascii_digit() => {
                open = true;
                i += 1;
            }
            b')' if open => {
                open = false;
                i += 1;
            }
            c @ (b' ' | b'-' | b'.' | b'/') if matches!(byte(value, i + 1), b'0'..=b'9' | b'(') => {
                if c == b' ' && (8..=15).contains(&digits) {
                    before_space = Some(found(at, end));
                    if account::pan(value, i + 1).is_some() {
                        return before_space;
                    }
                }
                i += 1;
            }
            _ => break,
        }
    }
    let alone = !is_word(byte(value, end));
    match (8..=15).contains(&digits) && alone {
        true => Some(found(at, end)),
        false => before_space,
    }
}

/// Is it the zone of a time that stands before it (`12:34:56.7 +1000 `, as `ls --full-time` and `git log` write it)?
fn is_zone(value: &[u8], at: usize) -> bool {
    // Those east of ten hours; what begins with a zero is no number anyway.
    const ZONES: [&[u8]; 9] = [
        b"1000", b"1030", b"1100", b"1130", b"1200", b"1245", b"1300", b"1345", b"1400",
    ];
    let zone = value.get(at + 1..at + 5);
    let zone =
        zone.is_some_and(|zone| ZONES.contains(&zone)) && !byte(value, at + 5).is_ascii_digit();
    let before = value.get(at.saturating_sub(TIME)..at).unwrap_or_default();
    let Some(before) = before.strip_suffix(b" ").filter(|_| zone) else {
        return false;
    };
    let parts = before.iter().rev();
    let parts = parts.take_while(|c| c.is_ascii_digit()).count();
    let whole = match before.get(..before.len() - parts) {
        Some([whole @ .., b'.' | b',']) if parts > 0 => whole,
        _ => before,
    };
    let form = b"dd:dd:dd".iter().rev();
    whole.len() >= form.len()
        && form.zip(whole.iter().rev()).all(|(form, c)| match form {
            b'd' => c.is_ascii_digit(),
            other => c == other,
        })
}

/// Can this become one? At least four digits of it are there.
pub fn international_begins(text: &[u8]) -> bool {
    let digits = text.iter().filter(|c| c.is_ascii_digit()).count();
    let between = |c: &u8| c.is_ascii_digit() || b" -./()".contains(c);
    // Of separators, none beside another one but for brackets.
    let plain = |c: &u8| b" -./".contains(c);
    let apart = !text.windows(2).any(|two| two.iter().all(plain));
    let behind = text.get(1..).unwrap_or_default();
    (LEAST..=15).contains(&digits)
        && matches!(byte(text, 1), b'1'..=b'9')
        && behind.iter().all(between)
        && apart
}

/// Can this become one of those below? A digit is there behind the first group.
pub fn american_begins(text: &[u8]) -> bool {
    const FORMS: [&[u8]; 4] = [
        b"Ndd-Ndd-dddd",
        b"Ndd.Ndd.dddd",
        b"(Ndd)Ndd-dddd",
        b"(Ndd) Ndd-dddd",
    ];
    let behind = match text {
        [b'1', b'-' | b' ' | b'.', behind @ ..] => behind,
        _ => text,
    };
    behind.len() > LEAST && FORMS.iter().any(|form| is_of(form, behind))
}

fn found(start: usize, end: usize) -> Found {
    Found {
        start,
        end,
        what: Detector::Phone,
    }
}

/// `(212) 555-0123`, `212-555-0123`, `1-212-555-0123`: area and exchange begin with 2 to 9.
pub fn american(value: &[u8], at: usize) -> Option<Found> {
    let digit = |i: usize| byte(value, i).is_ascii_digit();
    let group = |i: usize| matches!(byte(value, i), b'2'..=b'9') && digit(i + 1) && digit(i + 2);
    if goes_back(value, at, b"-./") {
        return None;
    }
    let mut i = at;
    if byte(value, i) == b'1' && matches!(byte(value, i + 1), b'-' | b' ' | b'.') {
        i += 2;
    }
    let parens = byte(value, i) == b'(';
    i += usize::from(parens);
    if !group(i) {
        return None;
    }
    i += 3;
    let separator = match (parens, byte(value, i), byte(value, i + 1)) {
        (true, b')', b' ') => {
            i += 2;
            b'-'
        }
        (true, b')', _) => {
            i += 1;
            b'-'
        }
        (false, c @ (b'-' | b'.'), _) => {
            i += 1;
            c
        }
        _ => return None,
    };
    let rest = group(i) && byte(value, i + 3) == separator && (4..8).all(|n| digit(i + n));
    let end = i + 8;
    let after = byte(value, end);
    let goes_on = is_word(after) || (matches!(after, b'-' | b'.') && digit(end + 1));
    (rest && !goes_on).then_some(found(at, end))
}
