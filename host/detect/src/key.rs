//! Tokens and keys: JSON Web Tokens, private keys, keys of well-known services.

use super::{Detector, Found, byte, is_word, run};

fn is_base64url(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')
}

/// What is known of a place, and up to where: what begins in the same part is none either, or ends where
/// this one does.
pub struct Jwt {
    pub found: Option<Found>,
    pub part: usize,
}

/// `eyJ….e….…`: both parts are JSON objects in base64url; the signature may be empty.
pub fn jwt(value: &[u8], at: usize) -> Jwt {
    let part = |at: usize| run(value, at, usize::MAX, is_base64url);
    let begins = |at: usize, with: &[u8]| value.get(at..).is_some_and(|v| v.starts_with(with));
    let none = |part: usize| Jwt { found: None, part };
    if !begins(at, b"eyJ") {
        return none(at);
    }
    let header = at + part(at);
    // A payload is an object too; what follows its brace may be white space.
    if header - at < 10 || byte(value, header) != b'.' || !begins(header + 1, b"e") {
        return none(header);
    }
    let payload = header + 1 + part(header + 1);
    if payload < header + 3 || byte(value, payload) != b'.' {
        return none(header);
    }
    let found = Found {
        start: at,
        end: payload + 1 + part(payload + 1),
        what: Detector::Jwt,
    };
    Jwt {
        found: Some(found),
        part: header,
    }
}

/// From `-----BEGIN … PRIVATE KEY-----` to its end, or to the end of the value if it has none. Gives where
/// the end begins, too: what begins before it ends where this one does.
pub fn pem(value: &[u8], at: usize) -> Option<(Found, usize)> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    const DASHES: &[u8] = b"-----";
    const LONGEST_TITLE: usize = 75;
    let rest = value.get(at..)?;
    let title = rest.strip_prefix(BEGIN)?;
    let title = title.get(..title.len().min(LONGEST_TITLE))?;
    let len = find(title, 0, DASHES).unwrap_or(title.len());
    find(title.get(..len)?, 0, b"PRIVATE KEY")?;
    let body = BEGIN.len() + len;
    let last = find(rest, body, END).unwrap_or(rest.len());
    let end = find(rest, last + END.len(), DASHES).map_or(rest.len(), |end| end + DASHES.len());
    let found = Found {
        start: at,
        end: at + end,
        what: Detector::PrivateKey,
    };
    Some((found, at + last))
}

fn find(value: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    let rest = value.get(from..)?;
    let at = rest.windows(what.len()).position(|w| w == what)?;
    Some(from + at)
}

/// Prefix, how many characters follow at least and at most, and out of which alphabet.
type Rule = (&'static [u8], usize, usize, fn(u8) -> bool);

const KEYS: &[Rule] = &[
    (b"AKIA", 16, 16, is_upper),
    (b"ASIA", 16, 16, is_upper),
    (b"ABIA", 16, 16, is_upper),
    (b"ACCA", 16, 16, is_upper),
    (b"ghp_", 36, 255, is_alphanumeric),
    (b"gho_", 36, 255, is_alphanumeric),
    (b"ghu_", 36, 255, is_alphanumeric),
    (b"ghs_", 36, 255, is_alphanumeric),
    (b"ghr_", 36, 255, is_alphanumeric),
    (b"github_pat_", 22, 255, is_word_ascii),
    (b"glpat-", 20, 255, is_base64url),
    (b"xoxb-", 20, 255, is_base64url),
    (b"xoxp-", 20, 255, is_base64url),
    (b"xoxa-", 20, 255, is_base64url),
    (b"sk_live_", 20, 255, is_alphanumeric),
    (b"rk_live_", 20, 255, is_alphanumeric),
    (b"AIza", 35, 35, is_base64url),
];

/// Does a token, a key or an assignment of one begin with this letter?
pub fn may_begin(c: u8) -> bool {
    matches!(c, b'A' | b'a' | b'e' | b'g' | b'r' | b's' | b'x')
}

/// Names after which the secret half of a key pair stands.
const ASSIGNMENTS: &[&[u8]] = &[b"aws_secret_access_key", b"AWS_SECRET_ACCESS_KEY"];

pub fn cloud(value: &[u8], at: usize) -> Option<Found> {
    let rest = value.get(at..)?;
    for (prefix, least, most, good) in KEYS {
        if !rest.starts_with(prefix) {
            continue;
        }
        let len = run(rest, prefix.len(), most + 1, good);
        let end = prefix.len() + len;
        if (*least..=*most).contains(&len) && !is_word(byte(rest, end)) {
            return Some(Found {
                start: at,
                end: at + end,
                what: Detector::CloudKey,
            });
        }
    }
    let name = ASSIGNMENTS.iter().find(|name| rest.starts_with(name))?;
    let gap = run(rest, name.len(), 8, |c| b" \t\"'=:>".contains(&c));
    let start = name.len() + gap;
    let secret = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'+' | b'=');
    let len = run(rest, start, 41, secret);
    (gap > 0 && len == 40).then_some(Found {
        start: at + start,
        end: at + start + len,
        what: Detector::CloudKey,
    })
}

fn is_upper(c: u8) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit()
}

fn is_alphanumeric(c: u8) -> bool {
    c.is_ascii_alphanumeric()
}

fn is_word_ascii(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

#[cfg(test)]
mod tests {
    use super::super::{Detectors, possible};
    use super::*;

    #[test]
    fn whatever_is_looked_for_may_begin() {
        let keys = KEYS.iter().map(|(prefix, ..)| *prefix);
        let cloud: Vec<&[u8]> = keys.chain(ASSIGNMENTS.iter().copied()).collect();
        for begins in cloud.iter().copied().chain([&b"eyJ"[..]]) {
            assert!(may_begin(begins[0]), "{begins:?}");
        }
        for prefix in cloud {
            let on = Detectors::of(Detector::CloudKey);
            let text = [prefix, &[b'x'; 40]].concat();
            assert!(!possible(on, &text).is_empty(), "{prefix:?}");
        }
        for (prefix, least, ..) in KEYS {
            assert!(prefix.len() + least >= 20, "{prefix:?}");
        }
    }
}
