//! Keys by which SSH hosts are known.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// What was said of a host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SshHostKeyState {
    /// The host has shown it, and nobody has said anything yet: it does not count.
    Waiting,
    /// It is the host's. A target has one such key.
    Approved,
    /// It is not the host's, or not any more.
    Rejected,
}

/// A key that a host has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshHostKey {
    pub target: String,
    /// `SHA256:…`: compare it with what the host itself says (`ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub`).
    pub fingerprint: String,
    /// As a line of OpenSSH.
    pub public_key: String,
    pub state: SshHostKeyState,
    /// Another key is approved for this target: it was changed, or somebody is in between.
    pub changed: bool,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// How often it was shown without counting.
    pub seen: u64,
    pub decided_by: Option<String>,
    pub decided_at: Option<Timestamp>,
    pub reason: Option<String>,
}

/// What is said of a host key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshHostKeyVerdict {
    /// `SHA256:…` of a key that the target has shown.
    pub fingerprint: String,
    pub reason: String,
}

/// What a verdict did at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshHostKeyDecided {
    pub key: SshHostKey,
    /// Live sessions on the target, if it was known by this key before, or is known by this one instead of another now.
    pub sessions_ended: u64,
    /// Keys of the target that were rejected so long ago that they made room for others. If one is shown again, it
    /// waits.
    #[serde(default)]
    pub forgotten: Vec<String>,
}
