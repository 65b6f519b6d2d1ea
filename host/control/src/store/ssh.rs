//! What is kept of logins over SSH, and of the keys of hosts.

use weir_client::{SshCredentialKind, SshHostKeyState};

use super::Millis;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationRow {
    /// A UUIDv7.
    pub id: String,
    pub kind: SshCredentialKind,
    pub value: String,
    pub reason: String,
    pub by: String,
    pub at: Millis,
    /// What it names has ended by itself then. None: never.
    pub ends_at: Option<Millis>,
}

/// What went with a revocation, and is not kept any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WentAlong {
    /// Fingerprints of registered keys.
    pub keys: Vec<String>,
    /// Names of short tokens.
    pub tokens: Vec<String>,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRow {
    pub serial: String,
    pub key_id: String,
    pub subject: String,
    /// Of the key in it.
    pub fingerprint: String,
    /// `jti` of the token that it stands for.
    pub token: Option<String>,
    pub ends_at: Millis,
}

/// A public key that somebody registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub fingerprint: String,
    /// As a line of OpenSSH.
    pub public_key: String,
    pub subject: String,
    /// What its person calls it.
    pub name: String,
    /// Who that is, as the authority describes it.
    pub kept: String,
    /// `jti` of the token that it was registered with.
    pub token: Option<String>,
    pub registered_at: Millis,
    pub expires_at: Millis,
}

#[derive(Debug, Clone, Copy)]
pub struct KeyLimits {
    pub per_subject: u32,
    pub total: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPut {
    /// Also when the same person had registered it before.
    Yes,
    SomebodyElses,
    /// So many are registered by this person.
    TooMany(u32),
    /// So many are registered by all.
    Full(u32),
}

/// A short token. The token itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// By which people and the record name it.
    pub id: String,
    pub subject: String,
    /// `jti` of the token that it stands for.
    pub token: Option<String>,
    /// Who that is, as the authority describes it.
    pub kept: String,
    /// The only network from where it counts; none: from anywhere.
    pub source: Option<String>,
    pub issued_at: Millis,
    pub expires_at: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPut {
    Yes,
    /// So many of this person count.
    TooMany(u32),
    /// So many of all count.
    Full(u32),
}

/// A key that a host has shown, and what people said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyRow {
    pub target: String,
    pub fingerprint: String,
    /// As a line of OpenSSH.
    pub public_key: String,
    pub state: SshHostKeyState,
    pub first_seen: Millis,
    pub last_seen: Millis,
    /// How often it was shown without counting.
    pub seen: u64,
    pub decided_by: Option<String>,
    pub decided_at: Option<Millis>,
    pub reason: Option<String>,
}

/// A host has shown a key that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeySight {
    pub target: String,
    pub fingerprint: String,
    pub public_key: String,
    pub at: Millis,
}

/// What is said of a key that a host has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeyVerdict {
    pub target: String,
    pub fingerprint: String,
    /// False: it is the wrong one.
    pub approved: bool,
    pub by: String,
    pub at: Millis,
    pub reason: String,
}
