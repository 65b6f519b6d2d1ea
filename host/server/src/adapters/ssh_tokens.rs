//! Short tokens for SSH: made for the API, found for the prompt.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use control::{ApiError, KeptToken, MadeToken, TokenDesk};
use identity::{
    MAX_CALLER_VALIDITY, SHORT_TOKEN_VALIDITY, SshAuthority, short_token_hash, short_token_id,
};
use pipeline::{Login, Principal};
use ssh_keys::Network;
use weir_client::SshToken;

/// What is said of every token that lets nobody in: the same as of an access token that is none.
pub(super) const NOT_VALID: &str = "the access token is not valid";

/// Makes one for whoever called from there.
pub(super) fn make(
    authority: &SshAuthority,
    who: &Principal,
    minutes: Option<u32>,
    source: Option<Network>,
    now: SystemTime,
) -> Result<MadeToken, ApiError> {
    let most = MAX_CALLER_VALIDITY.as_secs() / 60;
    let lasts = match minutes.map(u64::from) {
        None => SHORT_TOKEN_VALIDITY,
        Some(minutes) if (1..=most).contains(&minutes) => Duration::from_secs(minutes * 60),
        Some(_) => {
            return Err(ApiError::rejected(format!(
                "a short token counts for 1 to {most} minutes"
            )));
        }
    };
    let made = authority.make_short_token(who, lasts, now);
    let made = made.map_err(super::ssh_certificates::refusal)?;
    Ok(MadeToken {
        answer: SshToken {
            token: made.token.to_string(),
            id: made.id,
            expires_at: made.ends.into(),
            source: source.map(|network| network.to_string()),
        },
        hash: made.hash,
        kept: made.kept,
    })
}

/// Where tokens are kept.
#[async_trait]
pub(crate) trait Kept: Send + Sync {
    /// The error is for the log.
    async fn find(&self, hash: [u8; 32]) -> Result<Option<KeptToken>, String>;
    /// Is the one with this name there still? The error is for the log.
    async fn counts(&self, id: &str) -> Result<bool, String>;
}

#[async_trait]
impl Kept for TokenDesk {
    async fn find(&self, hash: [u8; 32]) -> Result<Option<KeptToken>, String> {
        TokenDesk::find(self, hash).await.map_err(|e| chain(&e))
    }

    async fn counts(&self, id: &str) -> Result<bool, String> {
        TokenDesk::counts(self, id).await.map_err(|e| chain(&e))
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// What the `token_id` of whoever came in by a short token begins with; its name follows.
const NAMED: &str = "short:";

/// The name of the short token by which they came in.
pub(super) fn short_token_named(who: &Principal) -> Option<&str> {
    let by_one = who.proof.login == Some(Login::ShortToken);
    who.token_id
        .as_deref()
        .filter(|_| by_one)?
        .strip_prefix(NAMED)
}

/// Who comes in by a short token.
#[derive(Clone)]
pub(crate) struct ShortTokens(pub(crate) Arc<dyn Kept>);

impl ShortTokens {
    /// When nobody can say, it is not there.
    pub(super) async fn counts(&self, id: &str) -> bool {
        self.0.counts(id).await.unwrap_or_else(|error| {
            tracing::warn!(id, error, "a short token cannot be looked up");
            false
        })
    }

    /// Whose is it? The error is for the log. What is looked up is the hash, so how long that takes says nothing of
    /// the token; and whatever is wrong with it, it is looked up first.
    pub(super) async fn find(
        &self,
        authority: &SshAuthority,
        token: &str,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Principal, String> {
        let hash = short_token_hash(token);
        let kept = self.0.find(hash).await;
        let kept = kept.map_err(|error| format!("it cannot be looked up: {error}"))?;
        let kept = kept.ok_or("there is none like it, or no more")?;
        if let Some(network) = &kept.source {
            let network: Network = network
                .parse()
                .map_err(|_| "from where it counts cannot be read")?;
            if !network.contains(source) {
                return Err(format!("it counts from {network} only"));
            }
        }
        let read = authority.read_short_token(&kept.kept, kept.since, kept.ends, now);
        Ok(Principal {
            // By what sessions are found that came in by it.
            token_id: Some(format!("{NAMED}{}", short_token_id(&hash))),
            ..read?
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use identity::{DEV_ISSUER, DevIssuer, Revocation, SshAuthorityOptions, Verifier};
    use parking_lot::Mutex;
    use pipeline::ports::Clock;
    use pipeline::{Actor, PrincipalKind};
    use proto_ssh::Authenticate;

    use super::*;
    use crate::adapters::ssh::Callers;

    const HOUR: Duration = Duration::from_secs(3600);

    struct At(SystemTime);

    impl Clock for At {
        fn now(&self) -> SystemTime {
            self.0
        }
    }

    /// What the store says of every token.
    struct One(Mutex<Result<([u8; 32], KeptToken), String>>);

    #[async_trait]
    impl Kept for One {
        async fn find(&self, hash: [u8; 32]) -> Result<Option<KeptToken>, String> {
            let (of, kept) = self.0.lock().clone()?;
            Ok((of == hash).then_some(kept))
        }

        async fn counts(&self, id: &str) -> Result<bool, String> {
            let (of, _) = self.0.lock().clone()?;
            Ok(short_token_id(&of) == id)
        }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[tokio::test]
    async fn whatever_is_wrong_with_a_short_token_the_same_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let options = SshAuthorityOptions::new(dir.path().join("ssh"));
        let authority = Arc::new(SshAuthority::open(&options).unwrap());
        let verifier = Verifier::build(identity::VerifierOptions {
            issuers: Vec::new(),
            actors: Vec::new(),
            authorities: Vec::new(),
            dev: Some(DevIssuer::open(&dir.path().join("dev")).unwrap()),
        })
        .unwrap();
        let who = |issuer: &str| {
            let actor = Actor::new(PrincipalKind::User, "alice", &["ops"]);
            let who = Principal::direct(actor, issuer, now() + HOUR);
            Principal {
                issued_at: Some(now() - HOUR),
                ..who
            }
        };
        let here: IpAddr = [192, 0, 2, 7].into();
        for minutes in [0, 721, u32::MAX] {
            let made = make(&authority, &who(DEV_ISSUER), Some(minutes), None, now());
            let error = made.err().unwrap();
            assert!(error.message.contains("1 to 720 minutes"), "{error}");
        }
        let of = |issuer: &str| {
            let network = Some(Network::host(here));
            let made = make(&authority, &who(issuer), Some(10), network, now()).unwrap();
            let kept = KeptToken {
                kept: made.kept,
                source: made.answer.source,
                since: now(),
                ends: now() + Duration::from_secs(600),
            };
            (made.answer.token, (made.hash, kept))
        };
        let (token, good) = of(DEV_ISSUER);
        let (strange, stranger) = of("https://before.example");
        let says = |store: Result<_, String>, token: &str, source: IpAddr, at: SystemTime| {
            let callers = Callers::new(verifier.clone(), authority.clone(), Arc::new(At(at)), None);
            let tokens = ShortTokens(Arc::new(One(Mutex::new(store))));
            let (callers, token) = (callers.with_short_tokens(tokens), token.to_owned());
            async move {
                callers
                    .token(&token, source)
                    .await
                    .map_err(|e| e.client_text)
            }
        };
        let in_ = says(Ok(good.clone()), &token, here, now()).await.unwrap();
        assert_eq!((&*in_.actor.subject, &*in_.issuer), ("alice", DEV_ISSUER));
        assert_eq!(in_.proof.login, Some(Login::ShortToken));
        let id = short_token_id(&good.0);
        assert_eq!(in_.token_id, Some(format!("short:{id}")));
        assert_eq!(in_.expires_at, now() + Duration::from_secs(600));

        // For each session on the same connection.
        let proved = proto_ssh::Proved::Token { since: now() };
        for (store, expect) in [
            (Ok(good.clone()), true),
            (Ok(([0; 32], good.1.clone())), false),
            (Err("the disk is gone".to_owned()), false),
        ] {
            let tokens = ShortTokens(Arc::new(One(Mutex::new(store))));
            let at = Arc::new(At(now()));
            let callers = Callers::new(verifier.clone(), authority.clone(), at, None);
            let callers = callers.with_short_tokens(tokens);
            assert_eq!(callers.still_counts(&proved, &in_, here).await, expect);
        }

        let with = |change: &dyn Fn(&mut KeptToken)| {
            let mut changed = good.clone();
            change(&mut changed.1);
            Ok(changed)
        };
        let late = now() + Duration::from_secs(600);
        for (store, token, source, at) in [
            (Err("the disk is gone".to_owned()), &*token, here, now()),
            (Ok(good.clone()), "weir_st_", here, now()),
            (Ok(good.clone()), &*format!("{token}="), here, now()),
            (Ok(good.clone()), &*token, [192, 0, 2, 8].into(), now()),
            (Ok(good.clone()), &*token, here, late),
            (Ok(stranger), &*strange, here, now()),
            (
                with(&|k| k.source = Some("nowhere".into())),
                &*token,
                here,
                now(),
            ),
            (with(&|k| k.kept.truncate(9)), &*token, here, now()),
        ] {
            let said = says(store, token, source, at).await;
            assert_eq!(said.unwrap_err(), NOT_VALID, "{token} {source}");
        }
        // The same as of an access token that is none.
        let said = says(Ok(good.clone()), "a.b.c", here, now()).await;
        assert_eq!(said.unwrap_err(), NOT_VALID);
        // Also when it was not to be deleted.
        let all = Revocation::Subject("alice".into());
        authority.revoke(&all, now()).unwrap();
        let said = says(Ok(good), &token, here, now()).await;
        assert_eq!(said.unwrap_err(), NOT_VALID);
    }
}
