//! The SSH certificate authority → the API.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::{ApiError, IssuedCertificate, MadeToken};
use identity::{IssueError, Revocation, SshAuthority};
use pipeline::Principal;
use ssh_keys::{Network, PublicKey};
use weir_client::{SshAuthorityInfo, SshCertificate, SshCredentialKind as Kind};

/// Addresses of IPv6 change within a network of this size.
const IPV6_NETWORK: u32 = 64;

pub(crate) struct SshCertificates {
    pub(crate) authority: Arc<SshAuthority>,
    pub(crate) any_source: bool,
    pub(crate) host_names: Vec<String>,
}

impl control::SshAuthority for SshCertificates {
    fn issue(
        &self,
        who: &Principal,
        public_key: &str,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<IssuedCertificate, ApiError> {
        let key = PublicKey::from_openssh(public_key).map_err(|e| {
            ApiError::rejected(format!("the public key: {e}"))
                .hint("Send the line of a file *.pub, as ssh-keygen -t ed25519 writes it.")
        })?;
        let network = (!self.any_source).then(|| network(source));
        let issued = self.authority.issue_user(who, &key, network, now);
        let certificate = issued.map_err(refusal)?;
        let ends = UNIX_EPOCH.checked_add(Duration::from_secs(certificate.valid_before));
        Ok(IssuedCertificate {
            fingerprint: key.fingerprint(),
            answer: SshCertificate {
                certificate: certificate.to_openssh("weir"),
                serial: format!("{:016x}", certificate.serial),
                key_id: certificate.key_id.clone(),
                valid_before: ends.unwrap_or(now).into(),
                source: network.map(|n| n.to_string()),
                authority: self.info(),
            },
        })
    }

    fn token(
        &self,
        who: &Principal,
        minutes: Option<u32>,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<MadeToken, ApiError> {
        let network = (!self.any_source).then(|| network(source));
        super::ssh_tokens::make(&self.authority, who, minutes, network, now)
    }

    fn canonical(&self, kind: Kind, value: &str) -> Result<String, ApiError> {
        canonical(kind, value.trim())
    }

    fn revoke(
        &self,
        kind: Kind,
        value: &str,
        at: SystemTime,
    ) -> Result<Option<Duration>, ApiError> {
        let what = revocation(kind, value)?;
        match self.authority.revoke(&what, at) {
            Ok(()) => Ok(what.lasts()),
            Err(error) => Err(ApiError::insufficient_storage(error.to_string())),
        }
    }

    fn is_revoked(&self, who: &Principal, now: SystemTime) -> bool {
        self.authority.is_revoked_since(who, now)
    }

    fn info(&self) -> SshAuthorityInfo {
        let line = |key: &PublicKey, what: &str| key.to_openssh(what);
        SshAuthorityInfo {
            host_ca: line(self.authority.host_ca(), "weir-host-ca"),
            host_key: line(self.authority.host_key().public(), "weir-host"),
            target_ca: line(self.authority.target_ca(), "weir-target-ca"),
            host_names: self.host_names.clone(),
        }
    }
}

/// The one way of writing it that compares.
fn canonical(kind: Kind, value: &str) -> Result<String, ApiError> {
    let bad = |text: &str| ApiError::rejected(text.to_owned());
    match kind {
        Kind::Serial => {
            let digits = value.len() == 16 && value.bytes().all(|b| b.is_ascii_hexdigit());
            match digits {
                true => Ok(value.to_ascii_lowercase()),
                false => Err(bad(
                    "a serial number is 16 hexadecimal digits, as `weir login` and the record show it",
                )),
            }
        }
        Kind::Key if value.starts_with("SHA256:") => {
            // 256 bits in base64, as ssh-keygen writes them.
            let digest = value.strip_prefix("SHA256:").unwrap_or_default();
            let base64 = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
            match digest.len() == 43 && digest.bytes().all(base64) {
                true => Ok(value.to_owned()),
                false => Err(bad(
                    "a fingerprint is as `ssh-keygen -l` shows it: SHA256:…",
                )),
            }
        }
        Kind::Key => match PublicKey::from_openssh(value) {
            Ok(key) => Ok(key.fingerprint()),
            Err(error) => Err(ApiError::rejected(format!(
                "it is neither a fingerprint (SHA256:…) nor a public key: {error}"
            ))),
        },
        Kind::KeyId | Kind::Subject => {
            match value.is_empty() || value.chars().any(char::is_control) {
                true => Err(bad("a key id, or a subject, is a line of text")),
                false => Ok(value.to_owned()),
            }
        }
    }
}

fn revocation(kind: Kind, canonical: &str) -> Result<Revocation, ApiError> {
    Ok(match kind {
        Kind::Serial => {
            let serial = u64::from_str_radix(canonical, 16);
            let serial = serial.map_err(|_| ApiError::rejected("this is no serial number"))?;
            Revocation::Serial(serial)
        }
        Kind::KeyId => Revocation::KeyId(canonical.to_owned()),
        Kind::Key => Revocation::Key(canonical.to_owned()),
        Kind::Subject => Revocation::Subject(canonical.to_owned()),
    })
}

/// From where somebody at this address may come in.
fn network(source: IpAddr) -> Network {
    let v6 = match source.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => v6,
        _ => return Network::host(source),
    };
    let host_bits = 128 - IPV6_NETWORK;
    let first = IpAddr::from((v6.to_bits() >> host_bits << host_bits).to_be_bytes());
    Network::new(first, 64).unwrap_or(Network::host(source))
}

pub(super) fn refusal(error: IssueError) -> ApiError {
    match error {
        IssueError::TokenEnds
        | IssueError::TooLarge
        | IssueError::OwnKey
        | IssueError::RevokedKey
        | IssueError::OldToken => ApiError::rejected(error.to_string()),
        other => {
            tracing::error!(error = %other, "no credential for SSH could be made");
            ApiError::internal("it cannot be made at the moment")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_bound_to_the_network_that_it_was_asked_from() {
        for (source, expected) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::1/128"),
        ] {
            let network = network(source.parse().unwrap());
            assert_eq!(network.to_string(), expected);
            assert!(network.contains(source.parse().unwrap()));
        }
    }
}
