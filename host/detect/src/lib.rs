//! Detectors: secrets and personal data that are recognised by their form, in any text.
//!
//! Place in the flow: the host's masking action `detect` runs them over the values of a column, and
//! so does `mask-pii` in its sandbox where an operator wants that. Both compile this crate, so what
//! one finds the other finds.
//!
//! They run over values that nobody labelled, so they are conservative: every one checks what can be
//! checked (a checksum, a prefix, a length), and stands only between other characters.
//!
//! Architecture invariants:
//! - No dependency, no allocation, no state: bytes in, places out.
//! - Work is linear in the length of a text, whoever wrote it.
//! - What passes over text quickly ([`possible`], the words that are skipped) changes no finding; the
//!   tests compare it with asking every detector at every place.

mod account;
mod bits;
mod email;
mod key;
mod lead;
mod phone;
mod possible;
mod redact;
#[cfg(test)]
mod tests;

pub use key::{ASSIGNED, ASSIGNMENTS, GAP_WORD, TOKENS, Token, WIDEST_GAP};
pub use key::{is_base64, is_base64url, is_between, is_nucleotide};
pub use lead::lead;
pub use possible::possible;
pub use redact::{Form, redact};

/// A kind of value that is found by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Detector {
    Email,
    /// Payment card number, with its issuer's prefix and its check digit.
    Pan,
    Iban,
    /// United States social security number, or taxpayer number of the same form.
    UsSsn,
    Phone,
    Jwt,
    PrivateKey,
    CloudKey,
}

impl Detector {
    pub const ALL: &'static [Self] = &[
        Self::Email,
        Self::Pan,
        Self::Iban,
        Self::UsSsn,
        Self::Phone,
        Self::Jwt,
        Self::PrivateKey,
        Self::CloudKey,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Pan => "pan",
            Self::Iban => "iban",
            Self::UsSsn => "us-ssn",
            Self::Phone => "phone",
            Self::Jwt => "jwt",
            Self::PrivateKey => "private-key",
            Self::CloudKey => "cloud-key",
        }
    }

    /// What stands in the place of a finding.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Email => "[email]",
            Self::Pan => "[card]",
            Self::Iban => "[iban]",
            Self::UsSsn => "[ssn]",
            Self::Phone => "[phone]",
            Self::Jwt => "[jwt]",
            Self::PrivateKey => "[private-key]",
            Self::CloudKey => "[key]",
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
}

/// A set of detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detectors(u16);

impl Detectors {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self((1 << 8) - 1);

    pub const fn of(one: Detector) -> Self {
        Self(1 << one as u16)
    }

    #[must_use]
    pub fn with(self, one: Detector) -> Self {
        Self(self.0 | Self::of(one).0)
    }

    #[must_use]
    pub fn without(self, one: Detector) -> Self {
        Self(self.0 & !Self::of(one).0)
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn has(self, one: Detector) -> bool {
        self.0 & Self::of(one).0 != 0
    }

    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    pub fn iter(self) -> impl Iterator<Item = Detector> {
        let all = Detector::ALL.iter().copied();
        all.filter(move |one| self.has(*one))
    }

    pub fn bits(self) -> u16 {
        self.0
    }

    pub fn from_bits(bits: u16) -> Option<Self> {
        (bits & !Self::ALL.0 == 0).then_some(Self(bits))
    }
}

/// Bytes `start..end` of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub start: usize,
    pub end: usize,
    pub what: Detector,
}

/// Is there anything to be found?
pub fn finds(on: Detectors, text: &[u8]) -> bool {
    Findings::new(on, text).next().is_some()
}

/// What is found in a text, in order and apart from each other. Where one finding begins inside of
/// another one and goes on behind it, they are one.
pub struct Findings<'a> {
    text: &'a [u8],
    on: Detectors,
    at: usize,
    /// An e-mail address is noticed by its `@` and begins before it, but never before this: it may
    /// begin inside a word that was passed over, never inside a find.
    floor: usize,
    /// No token that begins before this says anything new, and no private key before that.
    no_jwt: usize,
    no_key: usize,
}

impl<'a> Findings<'a> {
    pub fn new(on: Detectors, text: &'a [u8]) -> Self {
        Self {
            on: possible(on, text),
            text,
            at: 0,
            floor: 0,
            no_jwt: 0,
            no_key: 0,
        }
    }

    /// The detectors that begin at the start of a word.
    fn word(&mut self, c: u8) -> Option<Found> {
        let (text, at) = (self.text, self.at);
        if c.is_ascii_alphabetic() {
            // Most words are none of these by their first letters alone.
            if key::may_begin(c, byte(text, at + 1))
                && let Some(found) = self.jwt().or_else(|| self.cloud())
            {
                return Some(found);
            }
            let account =
                byte(text, at + 1).is_ascii_alphabetic() && byte(text, at + 2).is_ascii_digit();
            return (account && self.on.has(Detector::Iban))
                .then(|| account::iban(text, at))
                .flatten();
        }
        let if_on = |one: Detector, find: fn(&[u8], usize) -> Option<Found>| {
            self.on.has(one).then(|| find(text, at)).flatten()
        };
        match c {
            b'0'..=b'9' => if_on(Detector::Pan, account::pan)
                .or_else(|| if_on(Detector::UsSsn, account::ssn))
                .or_else(|| if_on(Detector::Phone, phone::american)),
            b'+' => if_on(Detector::Phone, phone::international),
            _ => if_on(Detector::Phone, phone::american),
        }
    }

    fn jwt(&mut self) -> Option<Found> {
        if !self.on.has(Detector::Jwt) || self.at < self.no_jwt {
            return None;
        }
        let jwt = key::jwt(self.text, self.at);
        self.no_jwt = jwt.part;
        jwt.found
    }

    fn private_key(&mut self) -> Option<Found> {
        if !self.on.has(Detector::PrivateKey) || self.at < self.no_key {
            return None;
        }
        let (found, last) = key::pem(self.text, self.at)?;
        self.no_key = last;
        Some(found)
    }

    fn cloud(&self) -> Option<Found> {
        let on = self.on.has(Detector::CloudKey);
        on.then(|| key::cloud(self.text, self.at)).flatten()
    }

    /// The next finding that is noticed before `limit`; goes on behind the place where it was noticed.
    fn noticed(&mut self, limit: usize) -> Option<Found> {
        while self.at < limit {
            let at = self.at;
            let c = *self.text.get(at)?;
            let class = CLASSES.get(usize::from(c)).copied().unwrap_or(NOTHING);
            let hit = match class {
                NOTHING => {
                    self.at += 1;
                    continue;
                }
                AT if self.on.has(Detector::Email) => email::around(self.text, at, self.floor),
                DASH => self.private_key(),
                OPENS | WORD_OPENS
                    if !at
                        .checked_sub(1)
                        .is_some_and(|i| is_word(byte(self.text, i))) =>
                {
                    self.word(c)
                }
                _ => None,
            };
            // Nothing else begins inside a word.
            self.at += run(self.text, at, usize::MAX, is_word).max(1);
            if hit.is_some() {
                return hit;
            }
        }
        None
    }
}

impl Iterator for Findings<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if self.on.is_empty() {
            return None;
        }
        let mut found = self.noticed(usize::MAX)?;
        while let Some(inside) = self.noticed(found.end) {
            found.end = found.end.max(inside.end);
        }
        self.at = self.at.max(found.end);
        self.floor = found.end;
        Some(found)
    }
}

/// What a byte can be the beginning of.
const NOTHING: u8 = 0;
/// An ASCII letter or digit.
const WORD_OPENS: u8 = 1;
/// A telephone number may begin with it.
const OPENS: u8 = 2;
const AT: u8 = 3;
const DASH: u8 = 4;

const CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut out = [NOTHING; 256];
    let mut c = 0;
    // `for` is not for constants.
    while c < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        {
            out[c] = match c as u8 {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => WORD_OPENS,
                b'+' | b'(' => OPENS,
                b'@' => AT,
                b'-' => DASH,
                _ => NOTHING,
            };
        }
        c += 1;
    }
    out
}

/// The byte at `at`; zero past the end, which is in no detector's alphabet.
fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// What no finding may be the middle of. Neither the underscore nor what is beyond ASCII: numbers stand
/// behind names (`card_4111…`), between quotation marks of all kinds, and without a space in Chinese text.
fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric()
}

/// Is it the middle of something longer, because one of these joins it to a digit before it?
fn goes_back(text: &[u8], at: usize, joints: &[u8]) -> bool {
    let before = |back: usize| at.checked_sub(back).map_or(0, |i| byte(text, i));
    joints.contains(&before(1)) && before(2).is_ascii_digit()
}

/// How many bytes from `at` on are good, at most `max`.
fn run(text: &[u8], at: usize, max: usize, good: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().take(max).take_while(|c| good(**c)).count()
}
