//! The verifier: all issuers, one question.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::Principal;
use pipeline::ports::{Clock, SystemClock};
use tokio::sync::Notify;

use crate::cache::{self, Cache, Entry};
use crate::certificate::{Authority, AuthorityConfig};
use crate::claims;
use crate::config::{self, ActorConfig, ConfigError, VerifierOptions};
use crate::error::{AuthError, shorten};
use crate::jwks::{Jwks, JwksError};
use crate::keys::Check;
use crate::mapping::Mapping;
use crate::token::{self, Unverified};

/// Shortest pause of [`Verifier::keep_fresh`].
const MIN_REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// Verifies tokens. Cheap to clone.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuers: Vec<Issuer>,
    authorities: Vec<Authority>,
    actors: HashMap<String, ActorConfig>,
    cache: Cache,
    clock: Arc<dyn Clock>,
    /// Somebody was served with old keys: [`Verifier::keep_fresh`] is to look at once.
    wake: Arc<Notify>,
}

struct Issuer {
    mapping: Mapping,
    jwks: Jwks,
}

impl Verifier {
    /// Checks the configuration and reads the files it names; asks no issuer yet. Blocks.
    pub fn build(options: VerifierOptions) -> Result<Self, ConfigError> {
        Self::build_with_clock(options, Arc::new(SystemClock))
    }

    pub fn build_with_clock(
        options: VerifierOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ConfigError> {
        // If some other crate of the build brings in the library's second backend, it panics unless
        // one is chosen. An error means that one is already.
        let _chosen = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let configs = config::check(&options)?;
        if let Some(dev) = &options.dev {
            dev.warn();
        }
        let wake = Arc::new(Notify::new());
        let issued = configs.iter().map(|c| c.subject_prefix.clone());
        let vouched = options.authorities.iter();
        let prefixes: Vec<String> = issued
            .chain(vouched.map(|a| a.subject_prefix.clone()))
            .collect();
        let group_prefixes: Vec<String> = configs.iter().map(|c| c.group_prefix.clone()).collect();
        let mut issuers = Vec::new();
        for config in configs {
            let jwks = Jwks::new(&config, wake.clone()).map_err(|e| unusable(&config.issuer, e))?;
            let mapping = Mapping {
                issuer: config.issuer.as_str().into(),
                foreign_prefixes: longer(&prefixes, &config.subject_prefix),
                foreign_groups: longer(&group_prefixes, &config.group_prefix),
                config,
            };
            issuers.push(Issuer { mapping, jwks });
        }
        let authority = |a: AuthorityConfig| {
            let foreign = longer(&prefixes, &a.subject_prefix);
            Authority::new(a, foreign)
        };
        let authorities = options.authorities.into_iter().map(authority).collect();
        let actors = options
            .actors
            .into_iter()
            .map(|a| (a.subject.clone(), a))
            .collect();
        Ok(Self(Arc::new(Inner {
            issuers,
            authorities,
            actors,
            cache: Cache::default(),
            wake,
            clock,
        })))
    }

    /// Whose token is this?
    ///
    /// May wait for the issuer's keys, for no longer than its timeout allows. Cancel safe.
    pub async fn verify(&self, token: &str) -> Result<Arc<Principal>, AuthError> {
        let now = self.0.clock.now();
        token::check_size(token)?;
        let digest = cache::digest_of(token);
        if let Some(principal) = self.remembered(&digest, now) {
            return Ok(principal);
        }
        let entry = self.judge(token, now).await?;
        let principal = entry.principal.clone();
        self.0.cache.put(digest, entry);
        Ok(principal)
    }

    /// Whose certificate is this, which TLS has verified against the authority of this name?
    pub fn certificate(&self, authority: &str, der: &[u8]) -> Result<Arc<Principal>, AuthError> {
        let mut known = self.0.authorities.iter();
        let authority = known
            .find(|a| a.config.name == authority)
            .ok_or(AuthError::NoAuthority)?;
        let principal = authority.principal(der, self.0.clock.now(), &self.0.actors)?;
        Ok(Arc::new(principal))
    }

    /// Are tokens of this issuer taken? What was got by one of them may be asked this long afterwards.
    pub fn has_issuer(&self, issuer: &str) -> bool {
        let mut issuers = self.0.issuers.iter();
        issuers.any(|i| i.mapping.config.issuer == issuer)
    }

    /// Asks every issuer for its keys, once, and says who did not answer: for a start-up log and
    /// for diagnosis.
    pub async fn warm_up(&self) -> Vec<(String, Arc<JwksError>)> {
        let mut failed = Vec::new();
        for issuer in &self.0.issuers {
            if issuer.jwks.fresh().is_none()
                && let Err(e) = issuer.jwks.refresh().await
            {
                failed.push((issuer.mapping.config.issuer.clone(), e));
            }
        }
        failed
    }

    /// Refreshes keys before they are needed, for ever; drop it to stop. Without it, keys that are
    /// past their time to live are used for as long as they may be, and only then renewed.
    pub async fn keep_fresh(&self) -> Infallible {
        let shortest = self
            .0
            .issuers
            .iter()
            .map(|i| i.mapping.config.timing.ttl)
            .min();
        let pause = (shortest.unwrap_or(Duration::MAX) / 2).max(MIN_REFRESH_PAUSE);
        loop {
            let due = tokio::select! {
                () = tokio::time::sleep(pause) => true,
                () = self.0.wake.notified() => false,
            };
            // One issuer that does not answer must not keep the others waiting.
            let refreshes = self.0.issuers.iter().map(|issuer| async move {
                if !issuer.jwks.is_fixed() && (due || issuer.jwks.fresh().is_none()) {
                    // A failure was logged where it happened, and the old keys serve on.
                    let _logged = issuer.jwks.refresh().await;
                }
            });
            futures::future::join_all(refreshes).await;
        }
    }

    fn remembered(&self, token: &cache::TokenDigest, now: SystemTime) -> Option<Arc<Principal>> {
        let entry = self.0.cache.get(token, now)?;
        let keys = self.0.issuers.get(entry.issuer)?.jwks.fresh()?;
        // Another key set may no longer have the key.
        (keys.keys.digest == entry.keys).then_some(entry.principal)
    }

    async fn judge(&self, token: &str, now: SystemTime) -> Result<Entry, AuthError> {
        let unverified = token::cut(token)?;
        let name = claims::issuer(&unverified.claims)?;
        let (at, issuer) = self
            .0
            .issuers
            .iter()
            .enumerate()
            .find(|(_, i)| i.mapping.config.issuer == name)
            .ok_or_else(|| AuthError::UnknownIssuer(shorten(name)))?;
        issuer.accepts(&unverified)?;
        // Before the keys: an expired or misdirected token is no reason to ask the issuer.
        let standing = claims::judge(
            &issuer.mapping.config,
            unverified.header.typ,
            &unverified.claims,
            now,
        )?;
        let keys = issuer.check_signature(&unverified).await?;
        let principal = issuer
            .mapping
            .principal(&unverified.claims, standing, &self.0.actors)?;
        Ok(Entry::new(Arc::new(principal), at, keys, now))
    }
}

impl Issuer {
    fn accepts(&self, token: &Unverified<'_>) -> Result<(), AuthError> {
        let config = &self.mapping.config;
        if !config.algorithms.contains(&token.header.alg) {
            return Err(AuthError::Algorithm(token.header.alg.to_string()));
        }
        if !config.types.contains(&token.header.typ) {
            return Err(AuthError::Type(format!("{:?}", token.header.typ)));
        }
        Ok(())
    }

    /// The digest of the key set that the signature was verified with.
    async fn check_signature(&self, token: &Unverified<'_>) -> Result<[u8; 32], AuthError> {
        let (kid, alg) = (token.header.kid.as_deref(), token.header.alg);
        let issuer = || self.mapping.config.issuer.clone();
        let loaded =
            self.jwks
                .keys_for(kid, alg)
                .await
                .map_err(|source| AuthError::KeysUnavailable {
                    issuer: issuer(),
                    source,
                })?;
        match loaded
            .keys
            .check(kid, alg, token.message.as_bytes(), token.signature)
        {
            Check::Good => Ok(loaded.keys.digest),
            Check::Bad => Err(AuthError::Signature),
            Check::NoKey => Err(AuthError::UnknownKey {
                issuer: issuer(),
                kid: shorten(kid.unwrap_or_default()),
                alg: alg.as_str(),
            }),
        }
    }
}

/// Those that begin with `own` and go on: names there belong to somebody else.
fn longer(prefixes: &[String], own: &str) -> Vec<String> {
    let longer = |p: &&String| p.len() > own.len() && p.starts_with(own);
    prefixes.iter().filter(longer).cloned().collect()
}

fn unusable(issuer: &str, error: JwksError) -> ConfigError {
    let issuer = issuer.to_owned();
    match error {
        JwksError::KeySet(source) => ConfigError::Keys { issuer, source },
        source => ConfigError::Jwks { issuer, source },
    }
}

#[cfg(test)]
mod tests;
