//! An authority that signs nothing.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use pipeline::Principal;
use weir_client::{SshAuthorityInfo, SshCertificate, SshCredentialKind};

use crate::{ApiError, IssuedCertificate, SshAuthority};

/// The one key that it knows.
pub(crate) const KEY: &str = "ssh-ed25519 AAAA";
pub(crate) const SERIAL: &str = "00000000000000aa";

/// How long it wants most revocations to be remembered.
pub(crate) const LASTS: Duration = Duration::from_secs(12 * 3600);

#[derive(Default)]
pub(crate) struct FakeSsh {
    pub(crate) revoked: Mutex<Vec<(SshCredentialKind, String)>>,
}

impl SshAuthority for FakeSsh {
    fn issue(
        &self,
        who: &Principal,
        public_key: &str,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<IssuedCertificate, ApiError> {
        if public_key != KEY {
            return Err(ApiError::rejected("the key is weak"));
        }
        Ok(IssuedCertificate {
            answer: SshCertificate {
                certificate: "ssh-ed25519-cert-v01@openssh.com AAAA".into(),
                serial: SERIAL.into(),
                key_id: format!("weir {}", who.actor.subject),
                valid_before: (now + Duration::from_secs(3600)).into(),
                source: Some(source.to_string()),
                authority: self.info(),
            },
            fingerprint: "SHA256:key".into(),
        })
    }

    fn canonical(&self, _: SshCredentialKind, value: &str) -> Result<String, ApiError> {
        match value.trim() {
            "" => Err(ApiError::rejected("it names nothing")),
            value => Ok(value.to_owned()),
        }
    }

    fn revoke(
        &self,
        kind: SshCredentialKind,
        value: &str,
        _: SystemTime,
    ) -> Result<Option<Duration>, ApiError> {
        self.revoked.lock().push((kind, value.to_owned()));
        Ok((kind != SshCredentialKind::Key).then_some(LASTS))
    }

    fn info(&self) -> SshAuthorityInfo {
        SshAuthorityInfo {
            host_ca: "ssh-ed25519 AAAB".into(),
            host_key: "ssh-ed25519 AAAC".into(),
            target_ca: "ssh-ed25519 AAAD".into(),
            host_names: vec!["gw.example".into()],
        }
    }
}
