//! Is this the host that was meant? By a pinned key, by a certificate of an authority, or by a key that an
//! operator has approved; never because it was seen before.

use std::time::SystemTime;

use ssh_keys::{Certificate, CertificateKind, PublicKey, Wanted, signature_algorithm};

use super::HostError;
use crate::config::HostTrust;

/// Kinds of host keys, the best first: what a host may prove itself with where nothing more is known.
const KINDS: [&str; 6] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];
const CERTIFICATES: [&str; 6] = [
    "ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
];

/// What is known of a host before it is dialled.
pub(super) struct Known<'a> {
    pub trust: &'a HostTrust,
    pub approved: &'a [PublicKey],
    /// What a certificate must name.
    pub name: &'a str,
}

impl Known<'_> {
    fn keys(&self) -> &[PublicKey] {
        match self.trust.pins.is_empty() {
            true => self.approved,
            false => &self.trust.pins,
        }
    }

    /// What the host is asked to prove itself with: a host has keys of several kinds, and only some are known.
    pub fn algorithms(&self) -> Vec<String> {
        let mut wanted = Vec::new();
        if !self.trust.authorities.is_empty() {
            wanted.extend(CERTIFICATES);
        }
        let keys = self.keys();
        let of_known = KINDS
            .iter()
            .filter(|kind| keys.iter().any(|k| k.algorithms().contains(kind)));
        wanted.extend(of_known);
        if self.trust.pins.is_empty() && self.trust.approved {
            // For its fingerprint: operators are shown the best of its keys, or the one that it has instead of the
            // approved one. Whatever it shows, only that counts.
            let others = KINDS.iter().filter(|kind| !wanted.contains(kind));
            let others: Vec<&str> = others.copied().collect();
            wanted.extend(others);
        }
        wanted.into_iter().map(str::to_owned).collect()
    }

    /// `algorithm` is the one that the key exchange agreed on.
    pub fn check(
        &self,
        algorithm: &str,
        blob: &[u8],
        signature: &[u8],
        exchange_hash: &[u8],
        now: SystemTime,
    ) -> Result<(), HostError> {
        let unreadable = |e: &dyn std::fmt::Display| HostError::Unreadable(e.to_string());
        let plain = signature_algorithm(algorithm)
            .ok_or_else(|| HostError::Unreadable(format!("{algorithm:?} is not known")))?;
        if plain != algorithm {
            let certificate = Certificate::from_blob(blob).map_err(|e| unreadable(&e))?;
            self.check_certificate(&certificate, now)?;
            return proved(certificate.key(), plain, exchange_hash, signature);
        }
        let key = PublicKey::from_blob(blob).map_err(|e| unreadable(&e))?;
        // First whether the host has the key at all: nobody is to be shown a fingerprint that was made up.
        proved(&key, plain, exchange_hash, signature)?;
        if self.keys().contains(&key) {
            return Ok(());
        }
        let fingerprint = key.fingerprint();
        Err(
            match (self.trust.pins.is_empty(), self.approved.is_empty()) {
                (true, true) => HostError::Unknown {
                    line: key.to_openssh("").trim_end().to_owned(),
                    fingerprint,
                },
                (true, false) => HostError::Changed { fingerprint },
                (false, _) => HostError::NotPinned { fingerprint },
            },
        )
    }

    fn check_certificate(
        &self,
        certificate: &Certificate,
        now: SystemTime,
    ) -> Result<(), HostError> {
        let wanted = Wanted {
            cas: &self.trust.authorities,
            kind: CertificateKind::Host,
            now,
            principal: self.name,
            source: None,
        };
        certificate
            .check(&wanted)
            .map_err(|e| HostError::Certificate(e.to_string()))
    }
}

fn proved(
    key: &PublicKey,
    algorithm: &str,
    exchange_hash: &[u8],
    signature: &[u8],
) -> Result<(), HostError> {
    key.verify(algorithm, exchange_hash, signature)
        .map_err(|_| HostError::Signature {
            fingerprint: key.fingerprint(),
        })
}
