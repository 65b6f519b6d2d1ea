//! An authority that signs nothing.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use pipeline::Principal;
use std::collections::BTreeMap;

use weir_client::{
    SshAuthorityInfo, SshCertificate, SshCredentialKind, SshKeyChallenge, SshKeyRequest, SshToken,
};

use super::Rig;
use crate::{ApiError, CheckedKey, IssuedCertificate, MadeToken, SshAuthority, SshKeys};

/// The one key that it knows.
pub(crate) const KEY: &str = "ssh-ed25519 AAAA";
pub(crate) const SERIAL: &str = "00000000000000aa";

/// How long it wants most revocations to be remembered.
pub(crate) const LASTS: Duration = Duration::from_secs(12 * 3600);

/// The one proof that it takes.
pub(crate) const SIGNED: &str = "signed";

#[derive(Default)]
pub(crate) struct FakeSsh {
    /// Whose keys count, by the last word of the key.
    pub(crate) keys: Mutex<BTreeMap<String, String>>,
    /// Says no to every key from now on.
    pub(crate) keys_fail: Mutex<bool>,
    /// How many it has made.
    pub(crate) tokens: Mutex<u8>,
    pub(crate) revoked: Mutex<Vec<(SshCredentialKind, String)>>,
    /// Happens when the next key has just come into force.
    pub(crate) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
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

    fn token(
        &self,
        who: &Principal,
        minutes: Option<u32>,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<MadeToken, ApiError> {
        let minutes = minutes.unwrap_or(60);
        if minutes > 60 {
            return Err(ApiError::rejected("not for so long"));
        }
        let mut made = self.tokens.lock();
        *made += 1;
        let mut hash = [0; 32];
        hash[0] = *made;
        Ok(MadeToken {
            answer: SshToken {
                token: format!("weir_st_{made}"),
                id: format!("{:02x}", *made),
                expires_at: (now + Duration::from_secs(u64::from(minutes) * 60)).into(),
                source: Some(source.to_string()),
            },
            hash,
            kept: who.actor.subject.to_string(),
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

    fn is_revoked(&self, who: &Principal, _: SystemTime) -> bool {
        let subject = who.actor.subject.to_string();
        let what = (SshCredentialKind::Subject, subject);
        self.revoked.lock().contains(&what)
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

/// Keys are `ssh-ed25519 NAME`, and their fingerprint `SHA256:NAME`.
fn fingerprint(public_key: &str) -> Result<String, ApiError> {
    let name = public_key.strip_prefix("ssh-ed25519 ");
    let name = name.ok_or_else(|| ApiError::rejected("the key is weak"))?;
    Ok(format!("SHA256:{name}"))
}

impl SshKeys for FakeSsh {
    fn challenge(
        &self,
        who: &Principal,
        public_key: &str,
        now: SystemTime,
    ) -> Result<SshKeyChallenge, ApiError> {
        Ok(SshKeyChallenge {
            text: format!("{} of {}", fingerprint(public_key)?, who.actor.subject),
            namespace: "test".into(),
            expires_at: now.into(),
        })
    }

    fn check(
        &self,
        who: &Principal,
        request: &SshKeyRequest,
        now: SystemTime,
    ) -> Result<CheckedKey, ApiError> {
        let text = self.challenge(who, &request.public_key, now)?.text;
        if request.challenge != text || request.signature != SIGNED {
            return Err(ApiError::rejected("it was not signed"));
        }
        let hours = u64::from(request.hours.unwrap_or(24));
        Ok(CheckedKey {
            fingerprint: fingerprint(&request.public_key)?,
            public_key: request.public_key.clone(),
            kept: who.actor.subject.to_string(),
            ends: now + Duration::from_secs(hours * 3600),
        })
    }

    fn register(
        &self,
        public_key: &str,
        kept: &str,
        _: SystemTime,
        _: SystemTime,
    ) -> Result<(), ApiError> {
        if *self.keys_fail.lock() {
            return Err(ApiError::rejected("it does not count"));
        }
        let fingerprint = fingerprint(public_key)?;
        self.keys.lock().insert(fingerprint, kept.to_owned());
        if let Some(happens) = self.meanwhile.lock().take() {
            happens();
        }
        Ok(())
    }

    fn forget(&self, fingerprint: &str) {
        self.keys.lock().remove(fingerprint);
    }

    fn known(&self) -> Vec<String> {
        self.keys.lock().keys().cloned().collect()
    }

    fn per_person(&self) -> u32 {
        2
    }
}

impl Rig {
    /// The same person by another token, with this name.
    pub(crate) fn add_token(&self, token: &str, of: &str, id: &str) {
        let principal = Principal {
            token_id: Some(id.to_owned()),
            ..self.principal(of).as_ref().clone()
        };
        let mut people = self.people.0.lock();
        people.insert(token.into(), Arc::new(principal));
    }
}
