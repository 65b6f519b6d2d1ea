//! The native actions, applied to one value at a time, without allocation for a single action.

use aws_lc_rs::hmac;
use bytes::{BufMut, BytesMut};
use detect::{Detector, Detectors, Form, finds, redact};

use super::{MaskAction, MaskKeys};

/// What stands for a value that may not be seen.
pub const REDACTED: &str = "[redacted]";
/// Characters that stand for themselves in base 32, lower case, without look-alikes.
const BASE32: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Characters of a pseudonym behind its prefix: 80 bits.
const PSEUDONYM: usize = 16;
/// What a masker may keep of a value that policy hides: so many characters, and at most one in so
/// many.
const KEPT_AT_MOST: usize = 4;
const KEPT_ONE_IN: usize = 4;

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masked {
    /// As it was; nothing was written.
    Same,
    /// The new value was appended to the output.
    Changed,
    /// Nothing was written.
    Null,
}

/// One action that the host carries out itself.
#[derive(Debug, Clone)]
pub enum Step {
    Redact(Box<str>),
    Null,
    Hash(hmac::Key),
    Pseudonym(hmac::Key),
    KeepFirst(Kept),
    KeepLast(Kept),
    Detect(Detectors),
}

/// How much of a value stays.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    characters: usize,
    /// Policy hides the value: what stays must be a small part of it.
    little: bool,
}

impl Kept {
    fn of(characters: u8) -> Self {
        Self {
            characters: usize::from(characters),
            little: false,
        }
    }

    fn within(self, count: usize) -> usize {
        if self.little {
            self.characters.min(KEPT_AT_MOST).min(count / KEPT_ONE_IN)
        } else {
            self.characters
        }
    }
}

impl Step {
    /// None for `Pass` and `Inspect`. A key or detector that does not exist redacts.
    pub fn compile(action: &MaskAction, keys: &MaskKeys) -> Option<Self> {
        let redact = || Self::Redact(REDACTED.into());
        Some(match action {
            MaskAction::Pass | MaskAction::Inspect => return None,
            MaskAction::Redact(text) => Self::Redact(text.as_str().into()),
            MaskAction::Null => Self::Null,
            MaskAction::Hash(key) => keys.get(key).cloned().map_or_else(redact, Self::Hash),
            MaskAction::Pseudonym(key) => {
                keys.get(key).cloned().map_or_else(redact, Self::Pseudonym)
            }
            MaskAction::KeepFirst(n) => Self::KeepFirst(Kept::of(*n)),
            MaskAction::KeepLast(n) => Self::KeepLast(Kept::of(*n)),
            MaskAction::Detect(names) => {
                let add = |on: Detectors, name: &String| Some(on.with(Detector::by_name(name)?));
                let on = names.iter().try_fold(Detectors::NONE, add);
                on.map_or_else(redact, Self::Detect)
            }
        })
    }

    /// Does it hide the value whatever it is?
    pub fn hides(&self) -> bool {
        !matches!(self, Self::Detect(_))
    }

    /// Would it leave this text as it is?
    pub fn leaves(&self, value: &[u8]) -> bool {
        matches!(self, Self::Detect(on) if !finds(*on, value))
    }

    /// As it may be used on a value that policy hides: maskers choose how it is hidden, not whether.
    pub fn hiding(self) -> Self {
        match self {
            Self::KeepFirst(kept) => Self::KeepFirst(Kept {
                little: true,
                ..kept
            }),
            Self::KeepLast(kept) => Self::KeepLast(Kept {
                little: true,
                ..kept
            }),
            other => other,
        }
    }

    /// Applies it to text; what detectors find is replaced as the form of the value asks for.
    pub fn apply(&self, value: &[u8], form: Form, out: &mut BytesMut) -> Masked {
        match self {
            Self::Redact(text) => out.put_slice(text.as_bytes()),
            Self::Null => return Masked::Null,
            Self::Hash(key) => hex(hmac::sign(key, value).as_ref(), out),
            Self::Pseudonym(key) => pseudonym(key, value, out),
            Self::KeepFirst(kept) => match text(value) {
                Some(text) => keep(text, |i, _, n| i < n, *kept, out),
                None => out.put_slice(REDACTED.as_bytes()),
            },
            Self::KeepLast(kept) => match text(value) {
                Some(text) => keep(text, |i, count, n| i + n >= count, *kept, out),
                None => out.put_slice(REDACTED.as_bytes()),
            },
            Self::Detect(on) => {
                let found = redact(*on, value, form, |part| out.put_slice(part));
                if !found {
                    return Masked::Same;
                }
            }
        }
        Masked::Changed
    }

    /// 16 bytes that stand for a value, for types that hold nothing but bytes of that size.
    pub fn digest16(&self, value: &[u8]) -> Option<[u8; 16]> {
        let (Self::Hash(key) | Self::Pseudonym(key)) = self else {
            return None;
        };
        let tag = hmac::sign(key, value);
        tag.as_ref().get(..16)?.try_into().ok()
    }
}

/// Applies several actions in order; the output gets the last one's.
pub fn apply_all(steps: &[Step], value: &[u8], form: Form, out: &mut BytesMut) -> Masked {
    match steps {
        [] => Masked::Same,
        [one] => one.apply(value, form, out),
        [first, rest @ ..] => {
            let mut current = BytesMut::new();
            let mut changed = match first.apply(value, form, &mut current) {
                Masked::Null => return Masked::Null,
                Masked::Changed => true,
                Masked::Same => false,
            };
            for step in rest {
                let mut next = BytesMut::new();
                let input: &[u8] = if changed { &current } else { value };
                match step.apply(input, form, &mut next) {
                    Masked::Null => return Masked::Null,
                    Masked::Changed => {
                        current = next;
                        changed = true;
                    }
                    Masked::Same => {}
                }
            }
            if changed {
                out.put_slice(&current);
                Masked::Changed
            } else {
                Masked::Same
            }
        }
    }
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.put_u8(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
        }
    }
}

fn pseudonym(key: &hmac::Key, value: &[u8], out: &mut BytesMut) {
    let mut context = hmac::Context::with_key(key);
    context.update(b"pseudonym\0");
    context.update(value);
    let tag = context.sign();
    out.put_slice(b"p_");
    for byte in tag.as_ref().iter().take(PSEUDONYM) {
        let letter = BASE32.get(usize::from(byte & 31)).copied();
        out.put_u8(letter.unwrap_or(b'a'));
    }
}

/// One star for each character that is not kept. A value with nothing to hide behind the kept
/// characters is starred as a whole.
fn keep(text: &str, stays: impl Fn(usize, usize, usize) -> bool, kept: Kept, out: &mut BytesMut) {
    let count = text.chars().count();
    let n = kept.within(count);
    for (i, c) in text.chars().enumerate() {
        if count > n && stays(i, count, n) {
            let mut buffer = [0; 4];
            out.put_slice(c.encode_utf8(&mut buffer).as_bytes());
        } else {
            out.put_u8(b'*');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> MaskKeys {
        MaskKeys::new([("k".to_owned(), vec![7; 32])]).unwrap()
    }

    fn run(actions: &[MaskAction], value: &str) -> Option<String> {
        let keys = keys();
        let steps: Vec<Step> = actions
            .iter()
            .filter_map(|a| Step::compile(a, &keys))
            .collect();
        let mut out = BytesMut::new();
        match apply_all(&steps, value.as_bytes(), Form::Text, &mut out) {
            Masked::Null => None,
            Masked::Same => Some(value.to_owned()),
            Masked::Changed => Some(String::from_utf8(out.to_vec()).unwrap()),
        }
    }

    #[test]
    fn actions() {
        use MaskAction as A;
        for (actions, value, expect) in [
            (vec![], "abc", Some("abc")),
            (vec![A::Pass], "abc", Some("abc")),
            (vec![A::Redact("x".into())], "abc", Some("x")),
            (vec![A::Null], "abc", None),
            (vec![A::KeepFirst(2)], "äöüß", Some("äö**")),
            (vec![A::KeepLast(4)], "123-45-6789", Some("*******6789")),
            (vec![A::KeepLast(4)], "6789", Some("****")),
            (vec![A::KeepFirst(255)], "6789", Some("****")),
            (vec![A::Hash("missing".into())], "abc", Some(REDACTED)),
            (
                vec![A::Detect(vec!["email".into()])],
                "to a@b.org!",
                Some("to [email]!"),
            ),
            (
                vec![A::Detect(vec!["email".into()])],
                "nothing",
                Some("nothing"),
            ),
            (
                vec![A::Detect(vec!["bogus".into()])],
                "nothing",
                Some(REDACTED),
            ),
            (
                vec![A::Detect(vec!["email".into()]), A::KeepFirst(3)],
                "a@b.org",
                Some("[em****"),
            ),
            (vec![A::KeepFirst(3), A::Null], "abcdef", None),
        ] {
            assert_eq!(
                run(&actions, value).as_deref(),
                expect,
                "{actions:?} on {value}"
            );
        }
    }

    #[test]
    fn keyed_and_stable() {
        let hash = |v: &str| run(&[MaskAction::Hash("k".into())], v).unwrap();
        let pseudonym = |v: &str| run(&[MaskAction::Pseudonym("k".into())], v).unwrap();
        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
        assert_eq!(hash("a").len(), 64);
        assert_eq!(pseudonym("a"), pseudonym("a"));
        assert_ne!(pseudonym("a"), pseudonym("b"));
        assert_eq!(pseudonym("a").len(), 18);
    }

    #[test]
    fn little_is_kept_of_what_policy_hides() {
        for (action, value, expect) in [
            (MaskAction::KeepFirst(200), "912-00-0048", "91*********"),
            (MaskAction::KeepLast(10), "912-00-0048", "*********48"),
            (
                MaskAction::KeepLast(255),
                "4111111111111111",
                "************1111",
            ),
            (MaskAction::KeepLast(4), "abc", "***"),
            (MaskAction::KeepFirst(0), "abcd", "****"),
        ] {
            let step = Step::compile(&action, &keys()).unwrap().hiding();
            let mut out = BytesMut::new();
            assert_eq!(
                step.apply(value.as_bytes(), Form::Text, &mut out),
                Masked::Changed
            );
            assert_eq!(out, expect.as_bytes(), "{action:?} on {value}");
        }
    }

    #[test]
    fn not_text() {
        let step = Step::compile(&MaskAction::KeepFirst(1), &keys()).unwrap();
        let mut out = BytesMut::new();
        step.apply(b"\xff\xfe", Form::Text, &mut out);
        assert_eq!(&out[..], REDACTED.as_bytes());
    }
}
