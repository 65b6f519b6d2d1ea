//! Detectors: hand-written scanners over bytes, one pass, no backtracking beyond a bounded window.
//!
//! They run over values that nobody labelled, so they are conservative: every one checks what can be
//! checked (a checksum, a prefix, a length), and stands only between other characters.

mod account;
mod email;
mod key;
mod phone;

/// One thing that was found, by bytes of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub start: usize,
    pub end: usize,
    /// What stands in its place, in brackets.
    pub what: &'static str,
}

/// A set of detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detectors(u16);

impl Detectors {
    pub const NONE: Self = Self(0);
    pub const EMAIL: Self = Self(1);
    pub const PAN: Self = Self(1 << 1);
    pub const IBAN: Self = Self(1 << 2);
    pub const SSN: Self = Self(1 << 3);
    pub const PHONE: Self = Self(1 << 4);
    pub const JWT: Self = Self(1 << 5);
    pub const PRIVATE_KEY: Self = Self(1 << 6);
    pub const CLOUD_KEY: Self = Self(1 << 7);
    pub const ALL: Self = Self((1 << 8) - 1);

    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "email" => Self::EMAIL,
            "pan" => Self::PAN,
            "iban" => Self::IBAN,
            "ssn" => Self::SSN,
            "phone" => Self::PHONE,
            "jwt" => Self::JWT,
            "private-key" => Self::PRIVATE_KEY,
            "cloud-key" => Self::CLOUD_KEY,
            _ => return None,
        })
    }

    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn has(self, one: Self) -> bool {
        self.0 & one.0 != 0
    }

    pub fn is(self, other: Self) -> bool {
        self == other
    }

    pub fn bits(self) -> u16 {
        self.0
    }

    pub fn from_bits(bits: u16) -> Option<Self> {
        (bits & !Self::ALL.0 == 0).then_some(Self(bits))
    }
}

/// Appends what is found in `value`, in order and without overlaps.
pub fn scan(value: &[u8], detectors: Detectors, found: &mut Vec<Found>) {
    let mut at = 0;
    // An e-mail address is noticed by its `@` and begins before it, but never before this.
    let mut floor = 0;
    while at < value.len() {
        let hit = match byte(value, at) {
            b'@' if detectors.has(Detectors::EMAIL) => email::around(value, at, floor),
            b'-' if detectors.has(Detectors::PRIVATE_KEY) => key::pem(value, at),
            c if starts_here(value, at, c) => word(value, at, c, detectors),
            _ => None,
        };
        match hit {
            Some(hit) => {
                at = hit.end.max(at + 1);
                floor = at;
                // An address may begin inside a word that was passed over, never inside a find.
                found.push(hit);
            }
            // Nothing else begins inside a word.
            None => at += run(value, at, usize::MAX, is_word).max(1),
        }
    }
}

/// Can something begin here that is not the middle of a word?
fn starts_here(value: &[u8], at: usize, c: u8) -> bool {
    let before = at.checked_sub(1).map_or(0, |i| byte(value, i));
    let opens = c.is_ascii_alphanumeric() || c == b'+' || c == b'(';
    opens && !is_word(before)
}

/// The detectors that begin at the start of a word.
fn word(value: &[u8], at: usize, c: u8, detectors: Detectors) -> Option<Found> {
    let on = |one: Detectors| detectors.has(one);
    if c.is_ascii_alphabetic() {
        // Most words are none of these by their first letters alone.
        let next = byte(value, at + 1);
        let account = next.is_ascii_alphabetic() && byte(value, at + 2).is_ascii_digit();
        if !account && !key::may_begin(c) {
            return None;
        }
        let jwt = on(Detectors::JWT).then(|| key::jwt(value, at)).flatten();
        let cloud = || {
            on(Detectors::CLOUD_KEY)
                .then(|| key::cloud(value, at))
                .flatten()
        };
        let iban = || {
            on(Detectors::IBAN)
                .then(|| account::iban(value, at))
                .flatten()
        };
        return jwt.or_else(cloud).or_else(iban);
    }
    if c.is_ascii_digit() {
        let pan = on(Detectors::PAN)
            .then(|| account::pan(value, at))
            .flatten();
        let ssn = || {
            on(Detectors::SSN)
                .then(|| account::ssn(value, at))
                .flatten()
        };
        let phone = || {
            on(Detectors::PHONE)
                .then(|| phone::american(value, at))
                .flatten()
        };
        return pan.or_else(ssn).or_else(phone);
    }
    if !on(Detectors::PHONE) {
        return None;
    }
    match c {
        b'+' => phone::international(value, at),
        _ => phone::american(value, at),
    }
}

/// The byte at `at`; zero past the end, which is in no detector's alphabet.
fn byte(value: &[u8], at: usize) -> u8 {
    value.get(at).copied().unwrap_or(0)
}

/// Letters of any script, digits and the underscore.
fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c >= 0x80
}

/// How many bytes from `at` on are good, at most `max`.
fn run(value: &[u8], at: usize, max: usize, good: impl Fn(u8) -> bool) -> usize {
    let rest = value.get(at..).unwrap_or_default();
    rest.iter().take(max).take_while(|c| good(**c)).count()
}

#[cfg(test)]
mod tests;
