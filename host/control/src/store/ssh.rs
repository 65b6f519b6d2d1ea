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
