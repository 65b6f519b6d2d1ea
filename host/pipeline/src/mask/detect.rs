//! Detectors: secrets and personal data that are recognised by their form, in any text.
//!
//! They look at bytes, so that they also work on values that are not text as a whole (binary arrays
//! and records hold text as it is). One pass per detector, no allocation, no backtracking.

/// A kind of value that is found by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detector {
    Email,
    /// Payment card number, with its check digit.
    Pan,
    Iban,
    Jwt,
    UsSsn,
    Phone,
    PrivateKey,
    CloudKey,
}

/// Bytes `start..end` of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    pub start: usize,
    pub end: usize,
    pub detector: Detector,
}

impl Detector {
    pub const ALL: &'static [Self] = &[
        Self::Email,
        Self::Pan,
        Self::Iban,
        Self::Jwt,
        Self::UsSsn,
        Self::Phone,
        Self::PrivateKey,
        Self::CloudKey,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Pan => "pan",
            Self::Iban => "iban",
            Self::Jwt => "jwt",
            Self::UsSsn => "us-ssn",
            Self::Phone => "phone",
            Self::PrivateKey => "private-key",
            Self::CloudKey => "cloud-key",
        }
    }

    /// `_` and `-` are the same in names.
    pub fn by_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase().replace('_', "-");
        match name.as_str() {
            "ssn" => Some(Self::UsSsn),
            "card" | "credit-card" => Some(Self::Pan),
            "aws-key" => Some(Self::CloudKey),
            other => Self::ALL.iter().copied().find(|d| d.name() == other),
        }
    }

    /// The first finding at or after `from`.
    pub fn find(self, text: &[u8], from: usize) -> Option<Finding> {
        let place = match self {
            Self::Email => email(text, from),
            Self::Pan => digits(text, from, 13, 19, luhn),
            Self::Iban => words(text, from, iban),
            Self::Jwt => tokens(text, from),
            Self::UsSsn => words(text, from, us_ssn),
            Self::Phone => phone(text, from),
            Self::PrivateKey => private_key(text, from),
            Self::CloudKey => words(text, from, cloud_key),
        };
        place.map(|(start, end)| Finding {
            start,
            end,
            detector: self,
        })
    }
}

/// All findings of some detectors in one text, in order and apart from each other; of those that
/// start together, the longest.
pub struct Findings<'a> {
    text: &'a [u8],
    at: usize,
    /// The next finding of each detector: asked again only when it was passed over.
    next: [Option<Finding>; Detector::ALL.len()],
}

impl<'a> Findings<'a> {
    pub fn new(detectors: &[Detector], text: &'a [u8]) -> Self {
        let mut next = [None; Detector::ALL.len()];
        for (slot, detector) in next.iter_mut().zip(Detector::ALL) {
            if detectors.contains(detector) {
                *slot = detector.find(text, 0);
            }
        }
        Self { text, at: 0, next }
    }
}

impl Iterator for Findings<'_> {
    type Item = Finding;

    fn next(&mut self) -> Option<Finding> {
        for slot in &mut self.next {
            if let Some(found) = slot
                && found.start < self.at
            {
                *slot = found.detector.find(self.text, self.at);
            }
        }
        let found = self.next.iter().flatten();
        let first = *found.min_by(|a, b| a.start.cmp(&b.start).then(b.end.cmp(&a.end)))?;
        self.at = first.end;
        Some(first)
    }
}

fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

fn slice(text: &[u8], from: usize, to: usize) -> &[u8] {
    text.get(from..to).unwrap_or_default()
}

fn email(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let local =
        |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&c) || c >= 0x80;
    let domain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.' || c >= 0x80;
    let mut search = from;
    loop {
        let at = search
            + slice(text, search, text.len())
                .iter()
                .position(|&c| c == b'@')?;
        let before = slice(text, from, at);
        let name = before.iter().rev().take_while(|&&c| local(c)).count();
        let after = slice(text, at + 1, text.len());
        let mut host = after.iter().take_while(|&&c| domain(c)).count();
        while host > 0 && matches!(byte(after, host - 1), b'.' | b'-') {
            host -= 1;
        }
        let dotted = slice(after, 0, host)
            .iter()
            .rposition(|&c| c == b'.')
            .is_some_and(|dot| dot > 0 && host - dot > 2);
        if name > 0 && dotted {
            return Some((at - name, at + 1 + host));
        }
        search = at + 1;
    }
}

/// A run of digits, with single spaces or dashes between them.
fn digits(
    text: &[u8],
    from: usize,
    least: usize,
    most: usize,
    check: fn(&[u8]) -> bool,
) -> Option<(usize, usize)> {
    let mut at = from;
    while at < text.len() {
        let glued = at > 0 && byte(text, at - 1).is_ascii_alphanumeric();
        if !byte(text, at).is_ascii_digit() || glued {
            at += 1;
            continue;
        }
        let start = at;
        let mut run: [u8; 20] = [0; 20];
        let mut count = 0;
        let mut end = at;
        let mut scan = at;
        while scan < text.len() && count < run.len() {
            let c = byte(text, scan);
            if c.is_ascii_digit() {
                if let Some(slot) = run.get_mut(count) {
                    *slot = c - b'0';
                }
                count += 1;
                end = scan + 1;
                let closed = !byte(text, end).is_ascii_alphanumeric();
                if closed && (least..=most).contains(&count) && check(slice(&run, 0, count)) {
                    return Some((start, end));
                }
            } else if !(matches!(c, b' ' | b'-') && byte(text, scan + 1).is_ascii_digit()) {
                break;
            }
            scan += 1;
        }
        // The next run may start behind any separator of this one.
        at = start
            + slice(text, start, end)
                .iter()
                .take_while(|c| c.is_ascii_digit())
                .count();
        at = at.max(start + 1);
    }
    None
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &d)| match (i % 2, u32::from(d)) {
            (0, d) => d,
            (_, d) if d < 5 => d * 2,
            (_, d) => d * 2 - 9,
        })
        .sum();
    // Cards start with 2 to 6; a run of one digit is no card.
    let first = digits.first().copied().unwrap_or(0);
    sum.is_multiple_of(10) && (2..=6).contains(&first) && digits.iter().any(|d| *d != first)
}

/// Runs a check at every place where a word starts.
fn words(text: &[u8], from: usize, check: fn(&[u8]) -> Option<usize>) -> Option<(usize, usize)> {
    let mut at = from;
    while at < text.len() {
        let starts = byte(text, at).is_ascii_alphanumeric()
            && !(at > 0 && byte(text, at - 1).is_ascii_alphanumeric());
        if starts && let Some(length) = check(slice(text, at, text.len())) {
            return Some((at, at + length));
        }
        at += 1;
    }
    None
}

/// Two letters, two check digits, up to 30 more; spaces in groups of four.
fn iban(text: &[u8]) -> Option<usize> {
    let head = slice(text, 0, 4);
    let country = slice(head, 0, 2).iter().all(u8::is_ascii_alphabetic);
    if head.len() < 4 || !country || !slice(head, 2, 4).iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut compact: [u8; 34] = [0; 34];
    let mut count = 0;
    let mut found = None;
    let mut at = 0;
    while count < compact.len() {
        let c = byte(text, at);
        if c.is_ascii_alphanumeric() {
            if let Some(slot) = compact.get_mut(count) {
                *slot = c.to_ascii_uppercase();
            }
            count += 1;
            at += 1;
            let closed = !byte(text, at).is_ascii_alphanumeric();
            if closed && count >= 15 && mod97(slice(&compact, 0, count)) {
                found = Some(at);
            }
        } else if c == b' ' && byte(text, at + 1).is_ascii_alphanumeric() {
            at += 1;
        } else {
            break;
        }
    }
    found
}

fn mod97(compact: &[u8]) -> bool {
    let moved = slice(compact, 4, compact.len())
        .iter()
        .chain(slice(compact, 0, 4));
    let rest = moved.fold(0u32, |rest, &c| {
        if c.is_ascii_digit() {
            (rest * 10 + u32::from(c - b'0')) % 97
        } else {
            (rest * 100 + u32::from(c.saturating_sub(b'A')) + 10) % 97
        }
    });
    rest == 1
}

/// JWTs; they start where no other base64url character is before them, so that no part is read more
/// than three times.
fn tokens(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let part = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let mut search = from;
    loop {
        let at = position(text, search, b"eyJ")?;
        if !(at > 0 && part(byte(text, at - 1)))
            && let Some(length) = jwt(slice(text, at, text.len()))
        {
            return Some((at, at + length));
        }
        search = at + 3;
    }
}

/// `eyJ….….…`: three base64url parts, the first two JSON objects.
fn jwt(text: &[u8]) -> Option<usize> {
    if !text.starts_with(b"eyJ") {
        return None;
    }
    let part = |from: usize| {
        let rest = slice(text, from, text.len());
        rest.iter()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
            .count()
    };
    let first = part(0);
    let second_at = first + 1;
    if first < 10 || byte(text, first) != b'.' || byte(text, second_at) != b'e' {
        return None;
    }
    let second = part(second_at);
    let end = second_at + second;
    if second < 2 || byte(text, end) != b'.' {
        return None;
    }
    Some(end + 1 + part(end + 1))
}

/// `AAA-GG-SSSS` that could have been issued.
fn us_ssn(text: &[u8]) -> Option<usize> {
    let shape = slice(text, 0, 11);
    if shape.len() < 11 || byte(text, 11).is_ascii_alphanumeric() {
        return None;
    }
    let fits = shape.iter().enumerate().all(|(i, c)| match i {
        3 | 6 => matches!(c, b'-' | b' '),
        _ => c.is_ascii_digit(),
    });
    let never = shape.starts_with(b"000")
        || shape.starts_with(b"666")
        || slice(shape, 4, 6) == b"00"
        || slice(shape, 7, 11) == b"0000";
    (fits && !never).then_some(11)
}

/// International form: a plus and 8 to 15 digits with the usual separators.
fn phone(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    while at < text.len() {
        if byte(text, at) != b'+' || !byte(text, at + 1).is_ascii_digit() {
            at += 1;
            continue;
        }
        let (mut count, mut end) = (0, at);
        for (i, &c) in slice(text, at + 1, text.len()).iter().enumerate() {
            if c.is_ascii_digit() {
                count += 1;
                end = at + 2 + i;
            } else if !matches!(c, b' ' | b'-' | b'.' | b'(' | b')') {
                break;
            }
            if count > 15 {
                break;
            }
        }
        if (8..=15).contains(&count) {
            return Some((at, end));
        }
        at += 1;
    }
    None
}

fn position(text: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    let rest = slice(text, from, text.len());
    let first = needle.first().copied()?;
    let mut at = 0;
    loop {
        at += slice(rest, at, rest.len())
            .iter()
            .position(|&c| c == first)?;
        if slice(rest, at, rest.len()).starts_with(needle) {
            return Some(from + at);
        }
        at += 1;
    }
}

/// A PEM block of any private key; without its end, everything behind its start.
fn private_key(text: &[u8], from: usize) -> Option<(usize, usize)> {
    const LONGEST_NAME: usize = 40;
    let mut search = from;
    loop {
        let start = position(text, search, b"-----BEGIN ")?;
        let named = slice(text, start, text.len().min(start + LONGEST_NAME));
        if position(named, 0, b"PRIVATE KEY-----").is_some() {
            let end = position(text, start + 11, b"-----END ")
                .and_then(|e| position(text, e + 9, b"-----"))
                .map_or(text.len(), |e| e + 5);
            return Some((start, end));
        }
        search = start + 1;
    }
}

/// Access keys of large clouds and code hosts, by their fixed prefixes.
fn cloud_key(text: &[u8]) -> Option<usize> {
    let upper = |c: &u8| c.is_ascii_uppercase() || c.is_ascii_digit();
    let any = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    let run = |prefix: usize, part: &dyn Fn(&u8) -> bool| {
        let rest = slice(text, prefix, text.len());
        rest.iter().take_while(|c| part(c)).count()
    };
    let (least, length) = if text.starts_with(b"AKIA") || text.starts_with(b"ASIA") {
        (16, 4 + run(4, &upper))
    } else if text.starts_with(b"AIza") {
        (35, 4 + run(4, &any))
    } else if text.starts_with(b"github_pat_") {
        (22, 11 + run(11, &any))
    } else if ["ghp_", "gho_", "ghs_", "ghu_"]
        .iter()
        .any(|p| text.starts_with(p.as_bytes()))
    {
        (36, 4 + run(4, &any))
    } else if text.starts_with(b"sk_live_") || text.starts_with(b"rk_live_") {
        (16, 8 + run(8, &any))
    } else if ["xoxb-", "xoxp-", "xoxa-"]
        .iter()
        .any(|p| text.starts_with(p.as_bytes()))
    {
        (10, 5 + run(5, &any))
    } else {
        return None;
    };
    (length >= least).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        for (detector, text, expect) in [
            (
                Detector::Email,
                "to ada@example.org, now",
                Some("ada@example.org"),
            ),
            (Detector::Email, "a@b", None),
            (Detector::Email, "@@x@example.org.", Some("x@example.org")),
            (Detector::Email, "user@host.c", None),
            (
                Detector::Pan,
                "card 4111 1111 1111 1111.",
                Some("4111 1111 1111 1111"),
            ),
            (Detector::Pan, "4111111111111111", Some("4111111111111111")),
            (Detector::Pan, "4111111111111112", None),
            (Detector::Pan, "x4111111111111111", None),
            (
                Detector::Pan,
                "1 4111111111111111",
                Some("4111111111111111"),
            ),
            (Detector::Pan, "0000000000000000", None),
            (
                Detector::Pan,
                "5500-0000-0000-0004",
                Some("5500-0000-0000-0004"),
            ),
            (
                Detector::Iban,
                "DE89 3704 0044 0532 0130 00",
                Some("DE89 3704 0044 0532 0130 00"),
            ),
            (
                Detector::Iban,
                "(GB82WEST12345698765432)",
                Some("GB82WEST12345698765432"),
            ),
            (Detector::Iban, "DE88370400440532013000", None),
            (
                Detector::Jwt,
                "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl;",
                Some(jwt),
            ),
            (Detector::Jwt, "eyJ", None),
            (Detector::UsSsn, "id 123-45-6789", Some("123-45-6789")),
            (Detector::UsSsn, "000-45-6789", None),
            (Detector::UsSsn, "123-45-67890", None),
            (
                Detector::Phone,
                "call +49 (30) 1234-5678 x",
                Some("+49 (30) 1234-5678"),
            ),
            (Detector::Phone, "1+1", None),
            (
                Detector::CloudKey,
                "key=AKIAIOSFODNN7EXAMPLE",
                Some("AKIAIOSFODNN7EXAMPLE"),
            ),
            (Detector::CloudKey, "AKIA", None),
            (
                Detector::PrivateKey,
                "x -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- y",
                Some("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"),
            ),
            (
                Detector::PrivateKey,
                "-----BEGIN PRIVATE KEY-----\nab",
                Some("-----BEGIN PRIVATE KEY-----\nab"),
            ),
            (Detector::PrivateKey, "-----BEGIN CERTIFICATE-----", None),
        ] {
            let found = detector.find(text.as_bytes(), 0);
            let found = found.map(|f| &text[f.start..f.end]);
            assert_eq!(found, expect, "{detector:?} in {text:?}");
        }
    }

    #[test]
    fn findings_do_not_overlap() {
        let text = b"a@b.org 4111111111111111 c@d.org +1 555 123 4567";
        let found: Vec<&str> = Findings::new(Detector::ALL, text)
            .map(|f| f.detector.name())
            .collect();
        assert_eq!(found, ["email", "pan", "email", "phone"]);
        assert_eq!(Findings::new(&[], text).count(), 0);
    }

    /// Quadratic work on hostile text would not end here.
    #[test]
    fn long_hostile_texts() {
        for part in [
            "a@b.org ",
            "eyJ-",
            "eyJ.",
            "ghp_",
            "@",
            "1 ",
            "+1",
            "-----BEGIN ",
            "DE89 ",
        ] {
            let text = part.repeat(100_000);
            Findings::new(Detector::ALL, text.as_bytes()).count();
        }
    }

    #[test]
    fn names_round_trip() {
        for detector in Detector::ALL {
            assert_eq!(Detector::by_name(detector.name()), Some(*detector));
        }
        assert_eq!(Detector::by_name("private_key"), Some(Detector::PrivateKey));
        assert_eq!(Detector::by_name("nonsense"), None);
    }

    #[test]
    fn any_bytes_at_any_place() {
        let mut state = 1u32;
        for length in 0..200 {
            let text: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b"0123456789-@. +eyJAKIADE\xffx"[(state >> 16) as usize % 25]
                })
                .collect();
            for detector in Detector::ALL {
                for from in 0..=length {
                    if let Some(f) = detector.find(&text, from) {
                        assert!(f.start >= from && f.start < f.end && f.end <= length);
                    }
                }
            }
        }
    }
}
