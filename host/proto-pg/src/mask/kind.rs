//! What a value of a type can be turned into so that it stays a value of that type.

use bytes::{BufMut, BytesMut};
use pipeline::mask::{Form, Masked, REDACTED, Step, apply_all};

/// How the values of one column are masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Text of a JSON value; `jsonb` in binary format has a version byte before it.
    Json {
        versioned: bool,
    },
    Uuid {
        binary: bool,
    },
    /// Big-endian integer.
    Integer,
    /// Anything else has no replacement but NULL.
    Other,
}

impl Kind {
    pub fn of(type_oid: u32, binary: bool) -> Self {
        match type_oid {
            // name, text, unknown, bpchar, varchar.
            19 | 25 | 705 | 1042 | 1043 => Self::Text,
            114 => Self::Json { versioned: false },
            3802 => Self::Json { versioned: binary },
            2950 => Self::Uuid { binary },
            20 | 21 | 23 if binary => Self::Integer,
            _ => Self::Other,
        }
    }

    /// Can a changed value be put in place of one of these?
    pub fn takes_edits(self) -> bool {
        matches!(self, Self::Text | Self::Json { .. })
    }

    pub fn mask(self, steps: &[Step], value: &[u8], out: &mut BytesMut) -> Masked {
        if steps.is_empty() {
            return Masked::Same;
        }
        match self {
            Self::Text => apply_all(steps, value, Form::Text, out),
            Self::Json { versioned } => json(steps, value, versioned, out),
            Self::Uuid { binary } => uuid(steps, value, binary, out),
            Self::Integer | Self::Other => self.other(steps, value),
        }
    }

    /// Would [`Kind::mask`] leave it as it is? Costs less than trying.
    pub fn leaves(self, steps: &[Step], value: &[u8]) -> bool {
        let leave = |text: &[u8]| steps.iter().all(|step| step.leaves(text));
        match self {
            Self::Text => leave(value),
            Self::Json { versioned } => unversioned(value, versioned).is_some_and(leave),
            Self::Uuid { .. } | Self::Integer | Self::Other => {
                self.other(steps, value) == Masked::Same
            }
        }
    }

    /// NULL when an action hides or a detector finds.
    fn other(self, steps: &[Step], value: &[u8]) -> Masked {
        let mut decimal = String::new();
        let text = match self {
            Self::Integer => {
                decimal.push_str(&integer(value));
                decimal.as_bytes()
            }
            _ => value,
        };
        let hit = steps.iter().any(|step| !step.leaves(text));
        if hit { Masked::Null } else { Masked::Same }
    }

    /// The value that stands for one that may not be seen.
    pub fn redacted(self, out: &mut BytesMut) -> Masked {
        match self {
            Self::Text => out.put_slice(REDACTED.as_bytes()),
            Self::Json { versioned } => json_string(REDACTED.as_bytes(), versioned, out),
            Self::Uuid { .. } | Self::Integer | Self::Other => return Masked::Null,
        }
        Masked::Changed
    }

    /// A plugin's new value, if the type can hold it.
    pub fn edited(self, value: &[u8], out: &mut BytesMut) -> Masked {
        let text = std::str::from_utf8(value).is_ok_and(|t| !t.contains('\0'));
        match self {
            Self::Text if text => out.put_slice(value),
            Self::Json { versioned } if text => {
                // What the plugin got had the version byte, and so has its answer.
                let body = unversioned(value, versioned);
                if body.is_some_and(is_json) {
                    out.put_slice(value);
                } else {
                    return self.redacted(out);
                }
            }
            _ => return self.redacted(out),
        }
        Masked::Changed
    }
}

fn unversioned(value: &[u8], versioned: bool) -> Option<&[u8]> {
    if versioned {
        value.strip_prefix(&[1])
    } else {
        Some(value)
    }
}

fn json(steps: &[Step], value: &[u8], versioned: bool, out: &mut BytesMut) -> Masked {
    let Some(body) = unversioned(value, versioned) else {
        return Masked::Null;
    };
    let hiding = steps.iter().any(Step::hides);
    if !hiding {
        return json_findings(steps, body, versioned, out);
    }
    let mut plain = BytesMut::new();
    // Keeping the first characters of a JSON text would be no JSON.
    let keeps = |s: &Step| matches!(s, Step::KeepFirst(_) | Step::KeepLast(_));
    if steps.iter().any(keeps) {
        json_string(REDACTED.as_bytes(), versioned, out);
        return Masked::Changed;
    }
    match apply_all(steps, body, Form::Text, &mut plain) {
        Masked::Null => Masked::Null,
        Masked::Same => Masked::Null,
        Masked::Changed => {
            json_string(&plain, versioned, out);
            Masked::Changed
        }
    }
}

/// A finding inside a string is replaced where it is, a number by null; whatever is no JSON after that
/// is redacted as a whole.
fn json_findings(steps: &[Step], body: &[u8], versioned: bool, out: &mut BytesMut) -> Masked {
    let mut changed = BytesMut::new();
    match apply_all(steps, body, Form::Json, &mut changed) {
        Masked::Null => Masked::Null,
        Masked::Same => Masked::Same,
        Masked::Changed if is_json(&changed) => {
            if versioned {
                out.put_u8(1);
            }
            out.put_slice(&changed);
            Masked::Changed
        }
        Masked::Changed => {
            json_string(REDACTED.as_bytes(), versioned, out);
            Masked::Changed
        }
    }
}

fn json_string(text: &[u8], versioned: bool, out: &mut BytesMut) {
    if versioned {
        out.put_u8(1);
    }
    out.put_u8(b'"');
    for &c in text {
        match c {
            b'"' | b'\\' => out.put_slice(&[b'\\', c]),
            0..=0x1f => out.put_u8(b' '),
            c => out.put_u8(c),
        }
    }
    out.put_u8(b'"');
}

fn uuid(steps: &[Step], value: &[u8], binary: bool, out: &mut BytesMut) -> Masked {
    let Some(hiding) = steps.iter().find(|s| s.hides()) else {
        return Kind::Other.other(steps, value);
    };
    let bytes: Option<[u8; 16]> = if binary {
        value.try_into().ok()
    } else {
        uuid_bytes(value)
    };
    // Both formats give the same stand-in.
    let Some(mut new) = bytes.and_then(|b| hiding.digest16(&b)) else {
        return Masked::Null;
    };
    // Version 8, the variant of RFC 9562.
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut new;
    *version = (*version & 0x0f) | 0x80;
    *variant = (*variant & 0x3f) | 0x80;
    if binary {
        out.put_slice(&new);
    } else {
        for (i, byte) in new.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                out.put_u8(b'-');
            }
            out.put_slice(hex::encode([*byte]).as_bytes());
        }
    }
    Masked::Changed
}

fn uuid_bytes(text: &[u8]) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.iter().copied().filter(|c| *c != b'-').collect();
    let mut bytes = [0; 16];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

fn integer(value: &[u8]) -> String {
    match *value {
        [a, b] => i16::from_be_bytes([a, b]).to_string(),
        [a, b, c, d] => i32::from_be_bytes([a, b, c, d]).to_string(),
        [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]).to_string(),
        _ => String::new(),
    }
}

/// Is it one JSON value? Checks the grammar without building anything; at most `MAX_DEPTH` deep.
fn is_json(text: &[u8]) -> bool {
    Json { text, at: 0 }.check().is_some()
}

struct Json<'a> {
    text: &'a [u8],
    at: usize,
}

impl Json<'_> {
    const MAX_DEPTH: usize = 512;

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn eat(&mut self, word: &[u8]) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        rest.starts_with(word).then(|| self.at += word.len())
    }

    /// Iterative: the stack holds what closes the open brackets.
    fn check(&mut self) -> Option<()> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.space();
            match self.peek() {
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    self.space();
                    let close = bracket + 2;
                    if self.peek() == close {
                        self.at += 1;
                    } else {
                        if open.len() >= Self::MAX_DEPTH {
                            return None;
                        }
                        open.push(close);
                        if close == b'}' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.eat(b"true")?,
                b'f' => self.eat(b"false")?,
                b'n' => self.eat(b"null")?,
                _ => self.number()?,
            }
            loop {
                self.space();
                let Some(&close) = open.last() else {
                    return (self.at == self.text.len()).then_some(());
                };
                let here = self.peek();
                self.at += 1;
                if here == b',' {
                    if close == b'}' {
                        self.key()?;
                    }
                    break;
                } else if here == close {
                    open.pop();
                } else {
                    return None;
                }
            }
        }
    }

    fn key(&mut self) -> Option<()> {
        self.space();
        self.string()?;
        self.space();
        self.eat(b":")
    }

    fn string(&mut self) -> Option<()> {
        self.eat(b"\"")?;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') {
            self.at += 1;
        }
        let text = std::str::from_utf8(self.text.get(start..self.at)?).ok()?;
        let number: f64 = text.parse().ok()?;
        (!number.is_nan() && !text.starts_with('+')).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_grammar() {
        for (text, expect) in [
            (r#"{"a": [1, -2.5e3, "x\"y", true, null], "b": {}}"#, true),
            ("[]", true),
            (r#""a""#, true),
            ("", false),
            ("{", false),
            ("[1,]", false),
            (r#"{"a"}"#, false),
            ("[email]", false),
            ("[1]x", false),
            ("\"a\nb\"", false),
        ] {
            assert_eq!(is_json(text.as_bytes()), expect, "{text}");
        }
        assert!(!is_json("[".repeat(100_000).as_bytes()));
    }
}
