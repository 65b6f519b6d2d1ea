//! Registered public keys → the API, and what policy says of those who come in by them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control::{ApiError, CheckedKey};
use identity::{CHALLENGE_LASTS, KEY_NAMESPACE, RegisterError, SshAuthority};
use pipeline::ports::{Authorizer, Ruling};
use pipeline::{Access, Action, Principal, Question, Resource, Risk};
use ssh_keys::{KeyError, PublicKey};
use weir_client::{SshKeyChallenge, SshKeyRequest};

pub(crate) struct RegisteredKeys {
    pub(crate) authority: Arc<SshAuthority>,
    /// For how long a key counts at most.
    pub(crate) validity: Duration,
    pub(crate) per_person: u32,
}

impl control::SshKeys for RegisteredKeys {
    fn challenge(
        &self,
        who: &Principal,
        public_key: &str,
        now: SystemTime,
    ) -> Result<SshKeyChallenge, ApiError> {
        let key = read(public_key)?;
        let text = self.authority.key_challenge(&key, who, now);
        let ends = now.checked_add(CHALLENGE_LASTS).unwrap_or(now);
        Ok(SshKeyChallenge {
            text: text.map_err(refusal)?,
            namespace: KEY_NAMESPACE.to_owned(),
            expires_at: ends.into(),
        })
    }

    fn check(
        &self,
        who: &Principal,
        request: &SshKeyRequest,
        now: SystemTime,
    ) -> Result<CheckedKey, ApiError> {
        let key = read(&request.public_key)?;
        let most = self.validity.as_secs() / 3600;
        let lasts = match request.hours.map(u64::from) {
            None => self.validity,
            Some(hours) if (1..=most).contains(&hours) => Duration::from_secs(hours * 3600),
            Some(_) => {
                return Err(ApiError::rejected(format!(
                    "a key is registered here for 1 to {most} hours"
                )));
            }
        };
        let (text, signature) = (&request.challenge, &request.signature);
        let kept = self.authority.describe_key(&key, who, text, signature, now);
        Ok(CheckedKey {
            fingerprint: key.fingerprint(),
            public_key: key.to_openssh(""),
            kept: kept.map_err(refusal)?,
            ends: now.checked_add(lasts).unwrap_or(now),
        })
    }

    fn register(
        &self,
        public_key: &str,
        kept: &str,
        since: SystemTime,
        ends: SystemTime,
    ) -> Result<(), ApiError> {
        let key = read(public_key)?;
        // The configuration may permit less by now.
        let latest = since.checked_add(self.validity).unwrap_or(since);
        let done = self
            .authority
            .register_key(&key, kept, since, ends.min(latest));
        done.map_err(refusal)
    }

    fn forget(&self, fingerprint: &str) {
        self.authority.forget_key(fingerprint);
    }

    fn per_person(&self) -> u32 {
        self.per_person
    }
}

fn read(public_key: &str) -> Result<PublicKey, ApiError> {
    PublicKey::from_openssh(public_key).map_err(|error| {
        let hint = match &error {
            KeyError::IsCertificate => {
                "Send the key itself: the file that ends in .pub, not in -cert.pub."
            }
            _ => "Send the line of a file *.pub, as ssh-keygen -t ed25519 writes it.",
        };
        ApiError::rejected(format!("the public key: {error}")).hint(hint)
    })
}

fn refusal(error: RegisterError) -> ApiError {
    let text = error.to_string();
    match error {
        RegisterError::NotAPerson => ApiError::forbidden(text),
        RegisterError::TooMany => ApiError::insufficient_storage(text),
        RegisterError::Clock => ApiError::internal(text),
        _ => ApiError::rejected(text),
    }
}

/// Does policy still let this person have registered keys? Who may register none any more comes in by none.
pub(crate) fn still_may_register(
    authorizer: &dyn Authorizer,
    who: &Principal,
    source: IpAddr,
    now: SystemTime,
) -> Result<(), String> {
    let access = [Access {
        action: Action::KeyRegister,
        resource: Resource::Target,
        target: None,
    }];
    let ruling = authorizer.pin().authorize(&Question {
        principal: who,
        source,
        session: "",
        now,
        facts: None,
        risk: &Risk::default(),
        approvals: &Default::default(),
        accesses: &access,
    });
    match ruling {
        Ruling::Permit { .. } => Ok(()),
        Ruling::Deny { reason, .. } | Ruling::NeedsApproval { reason, .. } => Err(reason),
    }
}
