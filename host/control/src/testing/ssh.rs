//! An authority that signs nothing.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use pipeline::Principal;
use weir_client::{SshAuthorityInfo, SshCertificate};

use crate::{ApiError, IssuedCertificate, SshAuthority};

/// The one key that it knows.
pub(crate) const KEY: &str = "ssh-ed25519 AAAA";
pub(crate) const SERIAL: &str = "00000000000000aa";

pub(crate) struct FakeSsh;

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

    fn info(&self) -> SshAuthorityInfo {
        SshAuthorityInfo {
            host_ca: "ssh-ed25519 AAAB".into(),
            host_key: "ssh-ed25519 AAAC".into(),
            target_ca: "ssh-ed25519 AAAD".into(),
            host_names: vec!["gw.example".into()],
        }
    }
}
