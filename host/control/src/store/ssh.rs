//! What is kept of logins over SSH.

use weir_client::SshCredentialKind;

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
