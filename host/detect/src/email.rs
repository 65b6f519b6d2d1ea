//! E-mail addresses.

use super::{Detector, Found, byte, run};

/// The longest parts, from RFC 5321.
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;

/// The address around an `@`, not reaching back before `floor`.
pub fn around(value: &[u8], at: usize, floor: usize) -> Option<Found> {
    let before = value.get(floor..at)?;
    let local = before
        .iter()
        .rev()
        .take(MAX_LOCAL + 1)
        .take_while(|c| is_local(**c))
        .count();
    let mut start = at - local;
    // Neither begins nor ends with a dot, which is the end of a sentence or of an ellipsis.
    while start < at && matches!(byte(value, start), b'.' | b'\'') {
        start += 1;
    }
    let good_local = (1..=MAX_LOCAL).contains(&(at - start)) && byte(value, at - 1) != b'.';
    let mut end = at + 1 + run(value, at + 1, MAX_DOMAIN, is_domain);
    while end > at + 1 && matches!(byte(value, end - 1), b'.' | b'-') {
        end -= 1;
    }
    let domain = value.get(at + 1..end)?;
    (good_local && is_host(domain)).then_some(Found {
        start,
        end,
        what: Detector::Email,
    })
}

/// RFC 5322 allows more, but what else it allows is a separator far more often: `email=a@b.co`,
/// `{a@b.co}`, `//a@b.co`.
fn is_local(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c >= 0x80 || b".%+-_'".contains(&c)
}

fn is_domain(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c >= 0x80 || matches!(c, b'.' | b'-')
}

/// At least two labels, the last one of letters.
fn is_host(domain: &[u8]) -> bool {
    let mut labels = domain.split(|c| *c == b'.').rev();
    let top = labels.next().unwrap_or_default();
    let letters = |c: &u8| c.is_ascii_alphabetic() || *c >= 0x80;
    let punycode = top.to_ascii_lowercase().starts_with(b"xn--");
    let good_top = top.len() >= 2 && (punycode || top.iter().all(letters));
    let mut rest = 0;
    let good_rest = labels.all(|label| {
        rest += 1;
        (1..=63).contains(&label.len()) && !label.starts_with(b"-") && !label.ends_with(b"-")
    });
    good_top && good_rest && rest >= 1
}
