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
