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

    fn known(&self) -> Vec<String> {
        self.authority.registered_keys()
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use std::time::UNIX_EPOCH;

    use control::SshKeys;
    use identity::{DEV_ISSUER, DevIssuer, SshAuthorityOptions, Verifier, VerifierOptions};
    use pipeline::memory::{MemoryAuthorizer, MemoryPolicy};
    use pipeline::ports::Clock;
    use pipeline::{Actor, Login, PrincipalKind, Proof};
    use proto_ssh::{Authenticate, Proved};
    use ssh_keys::{Network, PrivateKey};

    use super::*;
    use crate::adapters::ssh::Callers;

    const HOUR: Duration = Duration::from_secs(3600);

    struct At(SystemTime);

    impl Clock for At {
        fn now(&self) -> SystemTime {
            self.0
        }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn from() -> IpAddr {
        [192, 0, 2, 7].into()
    }

    fn alice(issuer: &str) -> Principal {
        let actor = Actor::new(PrincipalKind::User, "alice", &["ops"]);
        Principal::direct(actor, issuer, now() + HOUR)
    }

    fn request(keys: &RegisteredKeys, private: &PrivateKey, who: &Principal) -> SshKeyRequest {
        let public_key = private.public().to_openssh("laptop");
        let challenge = keys.challenge(who, &public_key, now()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (key, text) = (dir.path().join("key"), dir.path().join("text"));
        std::fs::write(&key, private.to_openssh("").as_bytes()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&text, &challenge.text).unwrap();
        let done = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", &challenge.namespace, "-f"])
            .args([&key, &text])
            .status();
        assert!(done.unwrap().success());
        SshKeyRequest {
            public_key,
            name: "laptop".into(),
            hours: None,
            challenge: challenge.text,
            signature: std::fs::read_to_string(dir.path().join("text.sig")).unwrap(),
        }
    }

    /// What stands between a key that was registered and somebody who comes in by it.
    #[tokio::test]
    async fn a_registered_key_lets_in_whom_policy_and_the_configuration_still_know() {
        let dir = tempfile::tempdir().unwrap();
        let options = SshAuthorityOptions::new(dir.path().join("ssh"));
        let authority = Arc::new(SshAuthority::open(&options).unwrap());
        let keys = RegisteredKeys {
            authority: authority.clone(),
            validity: 24 * HOUR,
            per_person: 1,
        };
        let verifier = Verifier::build(VerifierOptions {
            issuers: Vec::new(),
            actors: Vec::new(),
            authorities: Vec::new(),
            dev: Some(DevIssuer::open(&dir.path().join("dev")).unwrap()),
        })
        .unwrap();
        let callers = |policy: Option<MemoryPolicy>, at: SystemTime| {
            let policy = policy.map(|p| Arc::new(MemoryAuthorizer::new(p)) as Arc<dyn Authorizer>);
            Callers::new(
                verifier.clone(),
                authority.clone(),
                Arc::new(At(at)),
                policy,
            )
        };
        let all = || Some(MemoryPolicy::permit_all());
        let private = PrivateKey::generate_ed25519().unwrap();
        let key = private.public().clone();
        let asked = request(&keys, &private, &alice(DEV_ISSUER));
        let register = |hours: Option<u32>, who: &Principal| {
            let asked = SshKeyRequest {
                hours,
                ..asked.clone()
            };
            let checked = keys.check(who, &asked, now())?;
            keys.register(&checked.public_key, &checked.kept, now(), checked.ends)?;
            Ok::<_, ApiError>(checked.ends)
        };
        let who = alice(DEV_ISSUER);
        for hours in [Some(0), Some(25), Some(u32::MAX)] {
            let error = register(hours, &who).unwrap_err();
            assert!(error.message.contains("1 to 24 hours"), "{error}");
        }
        assert!(!callers(all(), now()).key_is_known(&key).await);
        assert_eq!(register(None, &who).unwrap(), now() + 24 * HOUR);
        assert_eq!(register(Some(2), &who).unwrap(), now() + 2 * HOUR);

        let inside = callers(all(), now());
        assert!(inside.key_is_known(&key).await);
        let in_ = inside.key(&key, from()).await.unwrap();
        assert_eq!(
            (&*in_.actor.subject, in_.expires_at),
            ("alice", now() + 2 * HOUR)
        );
        let proved = Proved::Key(key.clone());
        assert!(inside.still_counts(&proved, &in_, from()).await);
        // Somebody else's by now, or by a key that nobody has.
        let mut bob = (*in_).clone();
        bob.actor.subject = "bob".into();
        assert!(!inside.still_counts(&proved, &bob, from()).await);
        let other = PrivateKey::generate_ed25519().unwrap().public().clone();
        assert!(
            !inside
                .still_counts(&Proved::Key(other.clone()), &in_, from())
                .await
        );
        assert!(inside.key(&other, from()).await.is_err());

        // Not where keys are off, after its end, or when policy lets nobody register any.
        for outside in [
            callers(None, now()),
            callers(all(), now() + 2 * HOUR),
            callers(Some(MemoryPolicy::deny(&[Action::KeyRegister])), now()),
        ] {
            let refused = outside.key(&key, from()).await.unwrap_err();
            // The same as of a key that nobody has.
            assert_eq!(refused.client_text, "this key is not registered");
            // Nor does it open another session for who has come in by it before.
            assert!(!outside.still_counts(&proved, &in_, from()).await);
        }
        for outside in [callers(None, now()), callers(all(), now() + 2 * HOUR)] {
            assert!(!outside.key_is_known(&key).await);
        }
        // The configuration of the next start permits less, and knows another issuer.
        let kept = |who: &Principal| {
            let asked = request(&keys, &private, who);
            keys.check(who, &asked, now()).unwrap().kept
        };
        let line = key.to_openssh("");
        let shorter = RegisteredKeys {
            validity: HOUR,
            authority: authority.clone(),
            per_person: 1,
        };
        let ends = now() + 24 * HOUR;
        shorter.register(&line, &kept(&who), now(), ends).unwrap();
        let in_ = inside.key(&key, from()).await.unwrap();
        assert_eq!(in_.expires_at, now() + HOUR);
        let stranger = kept(&alice("https://before.example"));
        keys.register(&line, &stranger, now(), ends).unwrap();
        assert!(inside.key(&key, from()).await.is_err());
        keys.register(&line, &kept(&who), now(), ends).unwrap();
        keys.forget(&key.fingerprint());
        assert!(inside.key(&key, from()).await.is_err());
    }

    /// Whoever has a connection asks for one session after the other: each time it is as if they came in then.
    #[tokio::test]
    async fn what_somebody_came_in_by_is_looked_at_again_for_each_session() {
        let dir = tempfile::tempdir().unwrap();
        let options = SshAuthorityOptions::new(dir.path().join("ssh"));
        let authority = Arc::new(SshAuthority::open(&options).unwrap());
        let verifier = Verifier::build(VerifierOptions {
            dev: Some(DevIssuer::open(&dir.path().join("dev")).unwrap()),
            ..VerifierOptions::default()
        })
        .unwrap();
        let policy = Arc::new(MemoryAuthorizer::new(MemoryPolicy::permit_all()));
        let keys = RegisteredKeys {
            authority: authority.clone(),
            validity: 24 * HOUR,
            per_person: 1,
        };
        let callers = |at: SystemTime| {
            let policy = Some(policy.clone() as Arc<dyn Authorizer>);
            Callers::new(
                verifier.clone(),
                authority.clone(),
                Arc::new(At(at)),
                policy,
            )
        };
        let who = Principal {
            issued_at: Some(now()),
            proof: Proof {
                login: Some(Login::Token),
                amr: vec!["hwk".into()],
                acr: Some("gold".into()),
            },
            ..alice(DEV_ISSUER)
        };
        let private = PrivateKey::generate_ed25519().unwrap();
        let certificate = authority
            .issue_user(&who, private.public(), Some(Network::host(from())), now())
            .unwrap();
        let in_ = callers(now()).certificate(&certificate, from()).await;
        let in_ = in_.unwrap().principal;
        assert_eq!(in_.proof.login, Some(Login::Certificate));
        assert_eq!(in_.proof.amr, who.proof.amr, "as its token said");
        let certified = Proved::Certificate(Arc::new(certificate));
        let asked = request(&keys, &private, &who);
        let checked = keys.check(&who, &asked, now()).unwrap();
        keys.register(&checked.public_key, &checked.kept, now(), checked.ends)
            .unwrap();
        let in_ = callers(now()).key(private.public(), from()).await.unwrap();
        assert_eq!(in_.proof, Login::Key.into(), "long after its token");
        let by_key = Proved::Key(private.public().clone());
        let token = Proved::Token { since: now() };
        let device = Proved::Device { since: now() };
        let all = [&certified, &by_key, &token, &device];
        let counts = async |at: SystemTime, source: &str| {
            let source = source.parse().unwrap();
            let mut counts = [false; 4];
            for (n, proved) in all.iter().enumerate() {
                counts[n] = callers(at).still_counts(proved, &who, source).await;
            }
            counts
        };
        assert_eq!(counts(now(), "192.0.2.7").await, [true; 4]);
        // The certificate is bound to where it was asked for, and ends with its token; the key ends on its own.
        assert_eq!(counts(now(), "192.0.2.8").await, [false, true, true, true]);
        assert_eq!(
            counts(now() + HOUR, "192.0.2.7").await,
            [false, true, false, false]
        );
        policy.activate(MemoryPolicy::deny(&[Action::KeyRegister]));
        assert_eq!(counts(now(), "192.0.2.7").await, [true, false, true, true]);
        policy.activate(MemoryPolicy::permit_all());
        // A token from before counts no more, even if it is shown afterwards.
        let what = identity::Revocation::Subject("alice".into());
        authority.revoke(&what, now()).unwrap();
        let later = Proved::Token {
            since: now() + HOUR / 2,
        };
        assert_eq!(counts(now(), "192.0.2.7").await, [false; 4]);
        assert!(!callers(now()).still_counts(&later, &who, from()).await);
    }

    /// The token itself, at the prompt.
    #[tokio::test]
    async fn a_token_from_before_the_revocation_of_its_person_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let options = SshAuthorityOptions::new(dir.path().join("ssh"));
        let authority = Arc::new(SshAuthority::open(&options).unwrap());
        let dev = DevIssuer::open(&dir.path().join("dev")).unwrap();
        let at = SystemTime::now();
        let ago = |n: u64| at - Duration::from_secs(n);
        let token = |at| {
            dev.mint(&identity::DevToken::user("alice", &[]), at)
                .unwrap()
        };
        let (old, new) = (token(ago(60)), token(ago(20)));
        let verifier = Verifier::build(VerifierOptions {
            dev: Some(dev),
            ..VerifierOptions::default()
        })
        .unwrap();
        let callers = Callers::new(verifier, authority.clone(), Arc::new(At(at)), None);
        assert!(callers.token(&old, from()).await.is_ok());
        let what = identity::Revocation::Subject("alice".into());
        authority.revoke(&what, ago(40)).unwrap();
        let refused = callers.token(&old, from()).await.unwrap_err();
        assert!(refused.client_text.contains("get a new one"), "{refused}");
        assert!(callers.token(&new, from()).await.is_ok());
    }

    #[test]
    fn what_is_no_key_of_a_person_is_refused_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let options = SshAuthorityOptions::new(dir.path().join("ssh"));
        let authority = Arc::new(SshAuthority::open(&options).unwrap());
        let key = PrivateKey::generate_ed25519().unwrap();
        let certificate = authority
            .issue_user(&alice("test"), key.public(), None, now())
            .unwrap();
        let keys = RegisteredKeys {
            authority: authority.clone(),
            validity: HOUR,
            per_person: 1,
        };
        for (line, expect) in [
            (certificate.to_openssh(""), "this is a certificate"),
            (
                authority.host_key().public().to_openssh(""),
                "a key of Weir itself",
            ),
            ("ssh-dss AAAAB3NzaC1kc3M=".into(), "are not taken"),
            ("".into(), "not one line"),
        ] {
            let error = keys.challenge(&alice("test"), &line, now()).unwrap_err();
            assert!(error.message.contains(expect), "{line}: {error}");
            assert_eq!(error.status.as_u16(), 422);
        }
    }
}
