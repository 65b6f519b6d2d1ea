//! Signed notes: a text, an empty line, and lines with signatures (C2SP signed-note).

use std::fmt;

use thiserror::Error;

use crate::text::{decode64, encode64, has_control, is_key_name};

/// The longest note that is read, in bytes. Like the next one, it is what Go's implementation reads.
pub const MAX_NOTE: usize = 1_000_000;

/// The most signatures that a note may have. The specification asks for 16 at least.
pub const MAX_SIGNATURES: usize = 100;

const DASH: &str = "\u{2014} ";
const KEY_ID: usize = 4;

/// Whatever can sign: a key in memory, or one that a key manager keeps.
pub trait Signer: Send + Sync {
    fn name(&self) -> &str;
    fn key_id(&self) -> u32;
    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A key that is known.
pub trait Verifier: Send + Sync {
    fn name(&self) -> &str;
    fn key_id(&self) -> u32;
    fn verify(&self, text: &[u8], signature: &[u8]) -> bool;
}

#[derive(Debug, Error)]
pub enum SignError {
    /// Says why, in the words of whoever keeps the key.
    #[error("the key {key} did not sign: {why}")]
    Key { key: String, why: String },
    #[error("{0:?} is no name that a key can have")]
    Name(String),
    #[error("the key {0} signs checkpoints alone")]
    NoCheckpoint(String),
}

#[derive(Debug, Error, Eq, PartialEq)]
pub enum NoteError {
    #[error("a note of {0} bytes is longer than allowed")]
    TooLong(usize),
    #[error("a note with more than {0} signatures")]
    TooManySignatures(usize),
    #[error("not UTF-8, or with control characters")]
    Characters,
    #[error("no text that ends in a newline")]
    Text,
    #[error("no signatures after an empty line")]
    NoSignatures,
    #[error("line {0} after the text is no signature")]
    SignatureLine(usize),
    #[error("two known keys are both called {0}")]
    Ambiguous(Key),
    #[error("the signature by {0} is wrong")]
    BadSignature(Key),
    #[error("not signed by a key that is known")]
    NotSigned,
}

/// How a key is called in a signature line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    pub name: String,
    pub id: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}", self.name, self.id)
    }
}

/// How much of a note is read.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    pub bytes: usize,
    pub signatures: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: MAX_NOTE,
            signatures: MAX_SIGNATURES,
        }
    }
}

/// One signature, which says nothing until it has been verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature {
    name: String,
    key_id: u32,
    bytes: Vec<u8>,
}

impl Signature {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// What the key's algorithm made, without the key's id.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The line without its newline.
    fn line(&self) -> String {
        let mut bytes = self.key_id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.bytes);
        format!("{DASH}{} {}", self.name, encode64(&bytes))
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = decode64(signature)?;
        let (key_id, bytes) = bytes.split_first_chunk::<KEY_ID>()?;
        if !is_key_name(name) || bytes.is_empty() {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            key_id: u32::from_be_bytes(*key_id),
            bytes: bytes.to_vec(),
        })
    }
}

/// Lines of signatures, each with its newline.
pub(crate) fn parse_signatures(lines: &str, limit: usize) -> Result<Vec<Signature>, NoteError> {
    let Some(lines) = lines.strip_suffix('\n') else {
        return Err(NoteError::NoSignatures);
    };
    if lines.split('\n').nth(limit).is_some() {
        return Err(NoteError::TooManySignatures(limit));
    }
    let parsed = (1..).zip(lines.split('\n'));
    parsed
        .map(|(at, line)| Signature::parse(line).ok_or(NoteError::SignatureLine(at)))
        .collect()
}

/// A signature that is right.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// Its number among the verifiers that were given.
    pub verifier: usize,
    /// Its number among the note's signatures.
    pub signature: usize,
}

/// A text and signatures of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// A text that nobody has signed yet.
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        if has_control(&text) {
            return Err(NoteError::Characters);
        }
        if !text.ends_with('\n') {
            return Err(NoteError::Text);
        }
        let signatures = Vec::new();
        Ok(Self { text, signatures })
    }

    pub fn parse(bytes: &[u8], limits: Limits) -> Result<Self, NoteError> {
        if bytes.len() > limits.bytes {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::Characters)?;
        if has_control(note) {
            return Err(NoteError::Characters);
        }
        // The text keeps the first of the two newlines.
        let empty = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, rest) = note.split_at_checked(empty + 1).ok_or(NoteError::Text)?;
        let lines = rest.strip_prefix('\n').unwrap_or_default();
        Ok(Self {
            text: text.to_owned(),
            signatures: parse_signatures(lines, limits.signatures)?,
        })
    }

    /// The text with its last newline. Until [`Note::open`] says who signed it, it is anybody's.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Signs the text, after those who have signed already.
    pub fn sign(&mut self, signer: &dyn Signer) -> Result<(), SignError> {
        if !is_key_name(signer.name()) {
            return Err(SignError::Name(signer.name().to_owned()));
        }
        let bytes = signer.sign(self.text.as_bytes())?;
        if bytes.is_empty() {
            return Err(SignError::Key {
                key: signer.name().to_owned(),
                why: "the signature is empty".to_owned(),
            });
        }
        self.add(Signature {
            name: signer.name().to_owned(),
            key_id: signer.key_id(),
            bytes,
        });
        Ok(())
    }

    /// Adds a signature that is not there yet.
    pub fn add(&mut self, signature: Signature) {
        if !self.signatures.contains(&signature) {
            self.signatures.push(signature);
        }
    }

    /// Who of these keys signed the text. A wrong signature by any of them, and a note that none of them
    /// signed, are errors; signatures by other keys are ignored.
    pub fn open(&self, verifiers: &[&dyn Verifier]) -> Result<Vec<Verified>, NoteError> {
        let verified = verify(self.text.as_bytes(), &self.signatures, verifiers)?;
        match verified.is_empty() {
            true => Err(NoteError::NotSigned),
            false => Ok(verified),
        }
    }

    pub fn encode(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            note.push_str(&signature.line());
            note.push('\n');
        }
        note
    }
}

/// Which of these signatures are by keys that are known; all of those must be right.
pub(crate) fn verify(
    text: &[u8],
    signatures: &[Signature],
    verifiers: &[&dyn Verifier],
) -> Result<Vec<Verified>, NoteError> {
    let key = |v: &dyn Verifier| Key {
        name: v.name().to_owned(),
        id: v.key_id(),
    };
    for (at, one) in verifiers.iter().enumerate() {
        let mut before = verifiers.iter().take(at);
        if before.any(|other| other.key_id() == one.key_id() && other.name() == one.name()) {
            return Err(NoteError::Ambiguous(key(*one)));
        }
    }
    let mut verified = Vec::new();
    for (at, signature) in signatures.iter().enumerate() {
        let known =
            |v: &&dyn Verifier| v.key_id() == signature.key_id && v.name() == signature.name;
        let Some((verifier, by)) = verifiers.iter().enumerate().find(|(_, v)| known(v)) else {
            continue;
        };
        if !by.verify(text, &signature.bytes) {
            return Err(NoteError::BadSignature(key(*by)));
        }
        verified.push(Verified {
            verifier,
            signature: at,
        });
    }
    Ok(verified)
}

#[cfg(test)]
mod tests;
