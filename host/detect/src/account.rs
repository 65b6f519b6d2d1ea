//! Card numbers, bank accounts, social security numbers.

use super::lead::{LEAST, is_of};
use super::{Detector, Found, byte, goes_back, is_word, run};

/// A card number: 13 to 19 digits that begin as an issuer's do and pass Luhn's check, in one piece or
/// in the groups that are printed on cards.
pub fn pan(value: &[u8], at: usize) -> Option<Found> {
    let mut digits = [0_u8; 19];
    let (count, end) = card_digits(value, at, &mut digits)?;
    let digits = digits.get(..count)?;
    let after = byte(value, end);
    let before = |back: usize| at.checked_sub(back).map_or(0, |i| byte(value, i));
    // The middle of something longer: a decimal number, a group that goes on, a UUID, which has letters
    // between its dashes too.
    let dashed = byte(value, at + 4) == b'-';
    let joins = |c: u8, next: u8| match c {
        b'-' if dashed => next.is_ascii_alphanumeric(),
        b'.' | b'-' => next.is_ascii_digit(),
        _ => false,
    };
    let goes_on =
        is_word(after) || joins(after, byte(value, end + 1)) || joins(before(1), before(2));
    (!goes_on && issued(digits) && luhn(digits)).then_some(Found {
        start: at,
        end,
        what: Detector::Pan,
    })
}

/// Reads digits in one piece, or in groups of 4-4-4-1..7 or 4-6-4..5 with the same separator.
fn card_digits(value: &[u8], at: usize, digits: &mut [u8; 19]) -> Option<(usize, usize)> {
    let first = run(value, at, 20, |c| c.is_ascii_digit());
    if (13..=19).contains(&first) {
        let piece = value.get(at..at + first)?;
        digits.get_mut(..first)?.copy_from_slice(piece);
        return Some((first, at + first));
    }
    let separator = byte(value, at + first);
    if first != 4 || !matches!(separator, b' ' | b'-') {
        return None;
    }
    let second = run(value, at + 5, 7, |c| c.is_ascii_digit());
    let groups: &[usize] = match second {
        4 => &[4, 4, 4, 4, 3],
        6 => &[4, 6, 5],
        _ => return None,
    };
    let (mut count, mut end) = (0, at);
    for (i, size) in groups.iter().enumerate() {
        let start = if i == 0 { at } else { end + 1 };
        if i > 0 && byte(value, end) != separator {
            break;
        }
        let len = run(value, start, *size, |c| c.is_ascii_digit());
        // Only the last group may be shorter.
        if len == 0 || (len < *size && byte(value, start + len) == separator) {
            break;
        }
        digits
            .get_mut(count..count + len)?
            .copy_from_slice(value.get(start..start + len)?);
        count += len;
        end = start + len;
        if len < *size {
            break;
        }
    }
    (13..=19).contains(&count).then_some((count, end))
}

/// Do these digits begin as those of an issuer, with one of its lengths?
fn issued(digits: &[u8]) -> bool {
    let head = |n: usize| {
        let digits = digits.iter().take(n);
        digits.fold(0_u32, |n, d| n * 10 + u32::from(d.saturating_sub(b'0')))
    };
    let (one, two, three, four) = (head(1), head(2), head(3), head(4));
    match digits.len() {
        13 => one == 4,
        14 => matches!(three, 300..=305) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37),
        16..=19 => {
            let long = one == 4 && matches!(digits.len(), 16 | 19);
            let mastercard = matches!(two, 51..=55) || matches!(four, 2221..=2720);
            long || (mastercard && digits.len() == 16)
                || four == 6011
                || matches!(three, 644..=649)
                || matches!(two, 62 | 65)
                || matches!(four, 2200..=2204)
                || matches!(four, 3528..=3589)
                || matches!(four, 5018 | 5020 | 5038 | 6304 | 6759 | 6761..=6763)
        }
        _ => false,
    }
}

/// Can this become a card number? At least four digits of it are there.
pub fn pan_begins(text: &[u8]) -> bool {
    let mut digits = [b'0'; 19];
    let mut count = 0;
    for (slot, digit) in digits
        .iter_mut()
        .zip(text.iter().filter(|c| c.is_ascii_digit()))
    {
        (*slot, count) = (*digit, count + 1);
    }
    let piece = text.iter().all(u8::is_ascii_digit) && text.len() <= digits.len();
    let groups = || {
        let separator = byte(text, 4);
        let shapes: [&[usize]; 2] = [&[4, 4, 4, 4, 3], &[4, 6, 5]];
        matches!(separator, b' ' | b'-') && shapes.iter().any(|g| is_grouped(text, g, separator))
    };
    // An issuer is told by four digits at most.
    let issued = |length: usize| digits.get(..length).is_some_and(issued);
    count >= LEAST && (piece || groups()) && (count.max(13)..=19).any(issued)
}

/// Is this the beginning of such groups, or all of them?
fn is_grouped(text: &[u8], groups: &[usize], separator: u8) -> bool {
    let mut rest = text;
    for (i, size) in groups.iter().enumerate() {
        if i > 0 {
            match rest.split_first() {
                None => return true,
                Some((c, behind)) if *c == separator => rest = behind,
                Some(_) => return false,
            }
        }
        let len = run(rest, 0, *size, |c| c.is_ascii_digit());
        rest = rest.get(len..).unwrap_or_default();
        if len < *size {
            return rest.is_empty();
        }
    }
    rest.is_empty()
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let digit = u32::from(digit.saturating_sub(b'0'));
            match (i % 2, digit * 2) {
                (0, _) => digit,
                (_, double) if double > 9 => double - 9,
                (_, double) => double,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// What the standard allows.
const IBAN_LONGEST: usize = 34;

/// Lengths of IBANs by country, from the registry of SWIFT.
const IBANS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HN", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"OM", 23),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"RU", 33),
    (b"SA", 24),
    (b"SC", 31),
    (b"SD", 18),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"SO", 23),
    (b"ST", 25),
    (b"SV", 28),
    (b"TL", 23),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"VG", 24),
    (b"XK", 20),
    (b"YE", 30),
];

/// An IBAN with its country's length and a remainder of 1 modulo 97, in one piece or in groups of
/// four.
pub fn iban(value: &[u8], at: usize) -> Option<Found> {
    let country = [byte(value, at), byte(value, at + 1)].map(|c| c.to_ascii_uppercase());
    let checked = byte(value, at + 2).is_ascii_digit() && byte(value, at + 3).is_ascii_digit();
    if !checked {
        return None;
    }
    let len = IBANS.iter().find(|(c, _)| **c == country)?.1;
    let mut characters = [0_u8; IBAN_LONGEST];
    let mut end = at;
    let spaced = byte(value, at + 4) == b' ';
    for (i, slot) in characters.iter_mut().take(len).enumerate() {
        if spaced && i > 0 && i.is_multiple_of(4) {
            if byte(value, end) != b' ' {
                return None;
            }
            end += 1;
        }
        let c = byte(value, end);
        if !c.is_ascii_alphanumeric() {
            return None;
        }
        *slot = c.to_ascii_uppercase();
        end += 1;
    }
    let characters = characters.get(..len)?;
    (!is_word(byte(value, end)) && mod97(characters)).then_some(Found {
        start: at,
        end,
        what: Detector::Iban,
    })
}

/// Can this become one? Its country and its check digits are there.
pub fn iban_begins(text: &[u8]) -> bool {
    let country = [byte(text, 0), byte(text, 1)].map(|c| c.to_ascii_uppercase());
    let Some((_, len)) = IBANS.iter().find(|(c, _)| **c == country) else {
        return false;
    };
    let checked = byte(text, 2).is_ascii_digit() && byte(text, 3).is_ascii_digit();
    let groups = match byte(text, 4) {
        b' ' => len.div_ceil(4) - 1,
        _ => 0,
    };
    let fits = |(i, c): (usize, &u8)| match groups > 0 && i % 5 == 4 {
        true => *c == b' ',
        false => c.is_ascii_alphanumeric(),
    };
    checked && text.len() <= len + groups && text.iter().enumerate().all(fits)
}

fn mod97(characters: &[u8]) -> bool {
    let moved = characters.iter().skip(4).chain(characters.iter().take(4));
    let remainder = moved.fold(0_u32, |n, c| match c {
        b'0'..=b'9' => (n * 10 + u32::from(c - b'0')) % 97,
        _ => (n * 100 + u32::from(c.saturating_sub(b'A')) + 10) % 97,
    });
    remainder == 1
}

/// Can this become one of those below? A digit is there behind the first separator.
pub fn ssn_begins(text: &[u8]) -> bool {
    let forms: [&[u8]; 2] = [b"ddd-dd-dddd", b"ddd dd dddd"];
    text.len() > LEAST && forms.iter().any(|form| is_of(form, text))
}

/// A US social security or taxpayer number, with its dashes or spaces: without them it is any number.
pub fn ssn(value: &[u8], at: usize) -> Option<Found> {
    let text = value.get(at..at + 11)?;
    let separator = byte(text, 3);
    let shape = matches!(separator, b'-' | b' ')
        && text.iter().enumerate().all(|(i, c)| match i {
            3 | 6 => *c == separator,
            _ => c.is_ascii_digit(),
        });
    if !shape {
        return None;
    }
    let before = |back: usize| at.checked_sub(back).map_or(0, |i| byte(value, i));
    let (after, beyond) = (byte(value, at + 11), byte(value, at + 12));
    // Numbers with spaces between them are a list when there are more of them.
    let listed = separator == b' '
        && ((before(1) == b' ' && before(2).is_ascii_digit())
            || (after == b' ' && beyond.is_ascii_digit()));
    let goes_on = is_word(after) || (after == b'-' && beyond.is_ascii_digit());
    let alone = !goes_on && !goes_back(value, at, b"-./") && before(1) != b'+' && !listed;
    let (area, group, serial) = (text.get(..3)?, text.get(4..6)?, text.get(7..)?);
    // Taxpayer numbers begin with 9 and are told by their groups.
    let given = match byte(area, 0) {
        b'9' => {
            matches!(group, [b'5'..=b'9', _])
                && !matches!(group, b"66" | b"67" | b"68" | b"69" | b"89" | b"93")
        }
        _ => area != b"000" && area != b"666" && group != b"00",
    };
    (alone && given && serial != b"0000").then_some(Found {
        start: at,
        end: at + 11,
        what: Detector::UsSsn,
    })
}
