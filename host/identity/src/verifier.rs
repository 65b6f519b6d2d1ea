//! The verifier: all issuers, one question.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::Principal;
use pipeline::ports::{Clock, SystemClock};

use crate::cache::{self, Cache, Entry};
use crate::claims;
use crate::config::{self, ActorConfig, ConfigError, VerifierOptions};
use crate::error::{AuthError, shorten};
use crate::jwks::{Jwks, JwksError};
use crate::keys::Check;
use crate::mapping::Mapping;
use crate::revoke::Revocations;
use crate::token::{self, Unverified};

/// Shortest pause of [`Verifier::keep_fresh`].
const MIN_REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// Verifies tokens. Cheap to clone.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuers: Vec<Issuer>,
    actors: HashMap<String, ActorConfig>,
    cache: Cache,
    revocations: Revocations,
    clock: Arc<dyn Clock>,
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
        let prefixes: Vec<String> = configs.iter().map(|c| c.subject_prefix.clone()).collect();
        let mut issuers = Vec::new();
        for config in configs {
            let jwks = Jwks::new(&config).map_err(|e| unusable(&config.issuer, e))?;
            let own = config.subject_prefix.as_str();
            let foreign_prefixes = prefixes
                .iter()
                .filter(|p| p.len() > own.len() && p.starts_with(own))
                .cloned()
                .collect();
            let mapping = Mapping {
                issuer: config.issuer.as_str().into(),
                config,
                foreign_prefixes,
            };
            issuers.push(Issuer { mapping, jwks });
        }
        let actors = options
            .actors
            .into_iter()
            .map(|a| (a.subject.clone(), a))
            .collect();
        Ok(Self(Arc::new(Inner {
            issuers,
            actors,
            cache: Cache::default(),
            revocations: Revocations::default(),
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
        let principal = match self.remembered(&digest, now) {
            Some(principal) => principal,
            None => {
                let entry = self.judge(token, now).await?;
                let principal = entry.principal.clone();
                self.0.cache.put(digest, entry);
                principal
            }
        };
        if self.0.revocations.is_denied(&principal, now) {
            return Err(AuthError::Revoked);
        }
        Ok(principal)
    }

    /// The deny list that this verifier obeys.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
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

    /// Refreshes keys before they are needed, for ever; drop it to stop. Without it, the first token
    /// after a key set's time to live waits for the issuer.
    pub async fn keep_fresh(&self) -> Infallible {
        let shortest = self
            .0
            .issuers
            .iter()
            .map(|i| i.mapping.config.timing.ttl)
            .min();
        let pause = (shortest.unwrap_or(Duration::MAX) / 2).max(MIN_REFRESH_PAUSE);
        loop {
            tokio::time::sleep(pause).await;
            for issuer in &self.0.issuers {
                if !issuer.jwks.is_fixed() {
                    // A failure was logged where it happened, and the old keys serve on.
                    let _logged = issuer.jwks.refresh().await;
                }
            }
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
        let standing = claims::judge(&issuer.mapping.config, &unverified.claims, now)?;
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

fn unusable(issuer: &str, error: JwksError) -> ConfigError {
    let issuer = issuer.to_owned();
    match error {
        JwksError::KeySet(source) => ConfigError::Keys { issuer, source },
        source => ConfigError::Jwks { issuer, source },
    }
}

#[cfg(test)]
mod tests;
