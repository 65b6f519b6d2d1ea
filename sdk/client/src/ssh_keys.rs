//! Public keys that people register to come in by over SSH.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Timestamp;

/// Which key is to be registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshKeyChallengeRequest {
    /// As a line of OpenSSH. The private one stays with the caller.
    pub public_key: String,
}

/// What is to be signed with the key, to show that it is the caller's: `ssh-keygen -Y sign -n NAMESPACE -f KEY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshKeyChallenge {
    /// Every byte of it, the last line's end included.
    pub text: String,
    pub namespace: String,
    /// When another one is needed.
    pub expires_at: Timestamp,
}

/// A key of the caller's own, to come in by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshKeyRequest {
    pub public_key: String,
    /// What its person calls it.
    pub name: String,
    /// For how long it is to count; none: as long as this Weir permits.
    pub hours: Option<u32>,
    /// The text that was signed.
    pub challenge: String,
    /// As `ssh-keygen -Y sign` makes it.
    pub signature: String,
}

/// A registered key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshKey {
    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// As a line of OpenSSH.
    pub public_key: String,
    pub name: String,
    /// Whose it is.
    pub subject: String,
    /// Whoever comes in by it is who they were then, with the groups of that time.
    pub registered_at: Timestamp,
    /// The first moment at which it does not count.
    pub expires_at: Timestamp,
}

/// Which keys are to be listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SshKeyFilter {
    /// Only those of this person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// Which key is to count no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshKeyRemoval {
    /// `SHA256:…`
    pub fingerprint: String,
}

/// What a removal did at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshKeyRemoved {
    pub fingerprint: String,
    /// Live sessions that had come in by it.
    pub sessions_ended: u64,
}
