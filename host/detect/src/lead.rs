//! What a text ends with that may still become a finding, for those who read it before it is whole.
//!
//! Tokens and keys have none here: who reads streams follows them a byte at a time.

use super::{Detector, Detectors, account, byte, email, is_word, phone};

/// No finding but an address is longer: the longest IBAN in groups of four.
const LONGEST: usize = 64;
/// Fewer characters are what any text may end with.
pub(crate) const LEAST: usize = 4;

/// Where the first one begins, if the text ends with any, of which at least four characters are there. What cannot
/// become one any more, whatever follows, is none; of what can, nothing is left out.
pub fn lead(on: Detectors, text: &[u8]) -> Option<usize> {
    let from = text.len().saturating_sub(LONGEST);
    let until = text.len().saturating_sub(LEAST - 1);
    let number = (from..until).find(|at| begins(on, text, *at));
    let address = on.has(Detector::Email).then(|| email::lead(text)).flatten();
    match (number, address) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Can what goes from `at` to the end become one?
fn begins(on: Detectors, text: &[u8], at: usize) -> bool {
    if at.checked_sub(1).is_some_and(|i| is_word(byte(text, i))) {
        return false;
    }
    let rest = text.get(at..).unwrap_or_default();
    let has = |one: Detector| on.has(one);
    match byte(rest, 0) {
        b'0'..=b'9' => {
            has(Detector::Pan) && account::pan_begins(rest)
                || has(Detector::UsSsn) && account::ssn_begins(rest)
                || has(Detector::Phone) && phone::american_begins(rest)
        }
        b'(' => has(Detector::Phone) && phone::american_begins(rest),
        b'+' => has(Detector::Phone) && phone::international_begins(rest),
        b'a'..=b'z' | b'A'..=b'Z' => has(Detector::Iban) && account::iban_begins(rest),
        _ => false,
    }
}

/// Is this the beginning of a text of this form, or all of it? `d` stands for a digit, `N` for one from 2 on.
pub(crate) fn is_of(form: &[u8], text: &[u8]) -> bool {
    let fits = |(form, c): (&u8, &u8)| match form {
        b'd' => c.is_ascii_digit(),
        b'N' => matches!(c, b'2'..=b'9'),
        other => c == other,
    };
    text.len() <= form.len() && form.iter().zip(text).all(fits)
}
