//! The manifest of a package: what it is about, and the hash of every file. And its signature.

use serde::{Deserialize, Serialize};
use tlog::{Limits, Note, Signer, Verifier};
use uuid::Uuid;

use crate::archive::{Digest, digest};
use crate::left::LeftOut;

pub const MANIFEST: &str = "manifest.json";
/// The signed note that names the manifest's hash.
pub const NOTE: &str = "manifest.note";
/// How the manifest is longest.
pub const MAX_MANIFEST: u64 = 64 << 20;
/// What a package signs with is the key of its logs, under their name and this word.
pub const SIGNER: &str = "evidence";

/// How a package is made. Verification makes it again, so whatever changes a byte of what is derived from
/// leaves has to change this.
pub const FORMAT: &str = "weir.evidence.v4";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: String,
    /// Which Weir made it.
    pub software: String,
    /// When, by the clock of whoever made it.
    pub made: String,
    /// From (included) and to (not included).
    pub from: String,
    pub to: String,
    /// None: all.
    pub targets: Vec<String>,
    pub sample: u64,
    pub names: bool,
    pub logs: Vec<LogEntry>,
    /// What whoever made the package knows to be missing from it.
    pub missing: Vec<String>,
    /// Logs that are in the store, or should be, and that are not in the package; how many more there are.
    pub left_out: Vec<LeftOut>,
    pub more_left_out: u64,
    /// Whether making it is on record: a leaf `evidence:exported` of the Weir that made it names the SHA-256
    /// of this file. Otherwise it was made from the store alone, and is on no log.
    pub recorded: bool,
    pub files: Vec<FileEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    pub id: Uuid,
    pub origin: String,
    pub size: u64,
    /// In base64, as in its checkpoint.
    pub root: String,
    /// The leaves in the window: from `first`, to before `end`.
    pub first: u64,
    pub end: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    pub path: String,
    pub size: u64,
    pub sha256: String,
}

impl FileEntry {
    pub fn new(path: &str, digest: &Digest) -> Self {
        Self {
            path: path.to_owned(),
            size: digest.size,
            sha256: hex::encode(digest.sha256),
        }
    }

    pub fn is(&self, digest: &Digest) -> bool {
        *self == Self::new(&self.path, digest)
    }
}

/// What is signed: a text that no checkpoint can be, since its second line is no number.
fn text(manifest: &[u8]) -> String {
    let hash = hex::encode(digest(manifest).sha256);
    format!("{FORMAT}\n{MANIFEST} {hash}\n")
}

#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    #[error("the manifest's signature: {0}")]
    Note(#[from] tlog::NoteError),
    #[error("the manifest cannot be signed: {0}")]
    Sign(#[from] tlog::SignError),
    #[error("the signature is of another manifest")]
    Other,
    #[error("no key that is trusted has signed the manifest")]
    NotSigned,
}

/// The signed note for this manifest.
pub fn sign(manifest: &[u8], signer: &dyn Signer) -> Result<String, SignatureError> {
    let mut note = Note::new(text(manifest))?;
    note.sign(signer)?;
    Ok(note.encode())
}

/// Whether one of these has signed this manifest; which one.
pub fn check(
    manifest: &[u8],
    note: &[u8],
    verifiers: &[&dyn Verifier],
) -> Result<usize, SignatureError> {
    let note = Note::parse(note, Limits::default())?;
    if note.text() != text(manifest) {
        return Err(SignatureError::Other);
    }
    let verified = note.open(verifiers)?;
    let first = verified.first().ok_or(SignatureError::NotSigned)?;
    Ok(first.verifier)
}
