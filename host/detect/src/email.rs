//! E-mail addresses.

use super::lead::LEAST;
use super::{Detector, Found, run};

/// The longest parts, from RFC 5321.
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;
const MAX_LABEL: usize = 63;

/// The address around an `@`, not reaching back before `floor`.
pub fn around(value: &[u8], at: usize, floor: usize) -> Option<Found> {
    let before = value.get(floor..at)?;
    let start = at - local(before)?;
    let after = value.get(at + 1..)?;
    let end = at + 1 + domain(after)?;
    Some(Found {
        start,
        end,
        what: Detector::Email,
    })
}

/// Where an address begins that the text ends with, or ends before its domain does.
pub fn lead(value: &[u8]) -> Option<usize> {
    let part = value.iter().rev().take(MAX_DOMAIN + 1);
    let domain = part.take_while(|c| is_domain(**c) || **c == b'.').count();
    let at = (value.len() - domain).checked_sub(1)?;
    let (before, behind) = value.split_at_checked(at)?;
    let start = at - local(before)?;
    (behind.first() == Some(&b'@') && value.len() - start >= LEAST).then_some(start)
}

/// How long the local part is that this ends with.
fn local(before: &[u8]) -> Option<usize> {
    let ends_with = |good: fn(u8) -> bool| {
        let part = before.iter().rev().take(MAX_LOCAL + 1);
        let length = part.take_while(|c| good(**c)).count();
        let part = before.get(before.len() - length..)?;
        // Neither begins nor ends with a dot, which is the end of a sentence or of an ellipsis.
        let quoted = run(part, 0, length, |c| matches!(c, b'.' | b'\''));
        let good = part.last().is_some_and(|c| *c != b'.') && length <= MAX_LOCAL;
        (good && quoted < length).then_some(length - quoted)
    };
    // Where no spaces are written, it stands right behind a word of another script.
    ends_with(is_local).or_else(|| ends_with(|c| is_local(c) && c.is_ascii()))
}

/// How long the domain is that this begins with: at least two labels, the last one of letters. What
/// follows may be glued to it: a sentence, a date, text in a script that writes no spaces.
fn domain(after: &[u8]) -> Option<usize> {
    let (mut at, mut end) = (0, None);
    loop {
        let length = run(after, at, MAX_LABEL + 1, is_domain);
        let label = after.get(at..at + length)?;
        if at > 0
            && let Some(top) = top(label)
        {
            end = Some(at + top);
        }
        let whole =
            (1..=MAX_LABEL).contains(&length) && !label.starts_with(b"-") && !label.ends_with(b"-");
        at += length + 1;
        if !whole || after.get(at - 1) != Some(&b'.') || at > MAX_DOMAIN {
            return end;
        }
    }
}

/// What is no top-level domain: kinds of units of systemd (`getty@tty1.service`; `target` is one), and ends of names of
/// files (`logo@2x.png`; `zip` and `sh` are some).
#[rustfmt::skip]
const NONE: [&[u8]; 41] = [
    b"service", b"socket", b"timer", b"mount", b"automount", b"path", b"slice", b"scope", b"swap", b"device",
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"ico", b"txt", b"log", b"snap",
    b"wasm", b"yaml", b"yml", b"json", b"css", b"html", b"xml", b"tgz", b"gz", b"bz2",
    b"xz", b"deb", b"rpm", b"jar", b"whl", b"gem", b"rb", b"conf", b"cfg", b"lock",
    b"tar",
];

/// How much of a label can be the last one. Those that are given out are either ASCII or not.
fn top(label: &[u8]) -> Option<usize> {
    let punycode = label.get(..4);
    if punycode.is_some_and(|p| p.eq_ignore_ascii_case(b"xn--")) {
        return Some(label.len());
    }
    let ascii = run(label, 0, MAX_LABEL, |c| c.is_ascii_alphabetic());
    let letters = run(label, 0, MAX_LABEL + 1, |c| {
        c.is_ascii_alphabetic() || c >= 0x80
    });
    let most = if ascii < 2 { letters } else { ascii };
    let letters = label.get(..most).unwrap_or_default();
    if NONE.contains(&letters) || NONE.contains(&label) {
        return None;
    }
    (2..=MAX_LABEL).contains(&most).then_some(most)
}

/// RFC 5322 allows more, but what else it allows is a separator far more often: `email=a@b.co`,
/// `{a@b.co}`, `//a@b.co`.
fn is_local(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c >= 0x80 || b".%+-_'".contains(&c)
}

fn is_domain(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c >= 0x80 || c == b'-'
}
