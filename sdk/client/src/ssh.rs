//! Certificates for SSH.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

/// For which key a certificate is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshCertificateRequest {
    /// The caller's own public key, as a line of OpenSSH. The private one stays with the caller.
    pub public_key: String,
}

/// A certificate that stands for the token that it was got with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshCertificate {
    /// As a line of OpenSSH, for a file `…-cert.pub`.
    pub certificate: String,
    /// 16 hexadecimal digits: by which it can be revoked.
    pub serial: String,
    pub key_id: String,
    /// The first moment at which it does not count.
    pub valid_before: Timestamp,
    /// From where it counts; none: from anywhere.
    pub source: Option<String>,
    pub authority: SshAuthorityInfo,
}

/// The keys that Weir is known by. All are public, as lines of OpenSSH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshAuthorityInfo {
    /// Signs the gateway's host key: for `@cert-authority` of `known_hosts`.
    pub host_ca: String,
    /// The gateway's host key itself.
    pub host_key: String,
    /// Signs what Weir shows to targets: for their `TrustedUserCAKeys`.
    pub target_ca: String,
    /// The names of the gateway.
    pub host_names: Vec<String>,
}

/// The hosts that the caller may connect to, perhaps once somebody has agreed, and by what Weir is known in front of
/// them. Where they are is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshHosts {
    /// Names of targets.
    pub hosts: Vec<String>,
    pub authority: SshAuthorityInfo,
}

/// By what a credential is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SshCredentialKind {
    /// A certificate by its serial number: 16 hexadecimal digits.
    Serial,
    /// Certificates by their key id, in full.
    KeyId,
    /// A key by its fingerprint (`SHA256:…`) or as a line of OpenSSH: as it is, and in every certificate.
    Key,
    /// Everything that somebody came in by, or that somebody else had in their name, up to now.
    Subject,
}

/// What is to count no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshRevocationRequest {
    pub kind: SshCredentialKind,
    pub value: String,
    pub reason: String,
}

/// What counts no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshRevocation {
    pub id: String,
    pub kind: SshCredentialKind,
    /// In the one way of writing it.
    pub value: String,
    pub reason: String,
    pub by: String,
    pub at: Timestamp,
    /// When it is forgotten, because what it names has ended by itself. None: never.
    pub forgotten_at: Option<Timestamp>,
}

/// What a revocation did at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SshRevoked {
    pub revocation: SshRevocation,
    /// Live sessions that had come in by it, or by a registered key or a short token that went with it.
    pub sessions_ended: u64,
    /// Fingerprints of registered keys that it names, or that went with the certificate that it names.
    #[serde(default)]
    pub keys_removed: Vec<String>,
    /// Short tokens that went with it, as the record names them.
    #[serde(default)]
    pub tokens_revoked: Vec<String>,
}
