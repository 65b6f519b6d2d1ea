//! An issuer's keys, kept fresh: a time to live, a refresh for unknown key ids, one request at a
//! time, and old keys for a while when the issuer does not answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use crate::algorithm::Algorithm;
use crate::config::{IssuerConfig, JwksSource, JwksTiming};
use crate::fetch::{self, FetchError, Http, MAX_DOCUMENT_BYTES};
use crate::json::{self, JsonError};
use crate::keys::{KeySet, KeySetError};

const MAX_DISCOVERY_DEPTH: usize = 16;
/// In timeouts of one request; an attempt makes at most two.
const ABANDONED_AFTER: u32 = 3;

#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    #[error("cannot fetch")]
    Fetch(#[from] FetchError),
    #[error("the discovery document is {0}")]
    DiscoveryJson(JsonError),
    #[error("the discovery document is of another issuer: {found:?}")]
    OtherIssuer { found: String },
    #[error("the discovery document names no jwks_uri")]
    NoJwksUri,
    #[error("the discovery document of an https issuer names a jwks_uri without https")]
    Downgrade,
    #[error("cannot read the key set file {path}")]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    KeySet(#[from] KeySetError),
    #[error("the keys are part of the configuration: there is nothing to fetch")]
    Fixed,
    #[error("keys were asked for a moment ago; the next attempt is not due")]
    NotDue(#[source] Option<Arc<JwksError>>),
}

pub(crate) struct Loaded {
    pub(crate) keys: KeySet,
    fetched: Instant,
}

type Attempt = Shared<BoxFuture<'static, Result<Arc<Loaded>, Arc<JwksError>>>>;

#[derive(Default)]
struct Attempts {
    running: Option<Attempt>,
    started: Option<Instant>,
    last_error: Option<Arc<JwksError>>,
}

pub(crate) struct Jwks {
    timing: JwksTiming,
    source: Arc<Source>,
    loaded: Arc<ArcSwapOption<Loaded>>,
    attempts: Arc<Mutex<Attempts>>,
    /// Told when old keys were used.
    wake: Arc<Notify>,
}

impl Jwks {
    /// Does not ask the issuer yet. Blocks for files and TLS roots.
    pub(crate) fn new(config: &IssuerConfig, wake: Arc<Notify>) -> Result<Self, JwksError> {
        let loaded = match &config.jwks {
            JwksSource::Static(text) => Some(Arc::new(Loaded::now(text.as_bytes())?)),
            JwksSource::File(path) => Some(Arc::new(Loaded::now(&read_file(path)?)?)),
            JwksSource::Discovery | JwksSource::Uri(_) => None,
        };
        Ok(Self {
            timing: config.timing,
            source: Arc::new(Source::new(config)?),
            loaded: Arc::new(ArcSwapOption::new(loaded)),
            attempts: Arc::default(),
            wake,
        })
    }

    /// The keys, if they are there and fresh, without waiting.
    pub(crate) fn fresh(&self) -> Option<Arc<Loaded>> {
        self.loaded.load_full().filter(|l| self.is_fresh(l))
    }

    /// The keys for a token with this key id; refreshed if they do not have it. Old ones that have
    /// it serve at once, and are renewed in the background: an issuer that does not answer must not
    /// make everybody wait.
    ///
    /// Cancel safe: a refresh that has begun is finished by whoever else waits for it, or by the
    /// next caller.
    pub(crate) async fn keys_for(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Arc<Loaded>, Arc<JwksError>> {
        let known = self.loaded.load_full();
        if let Some(loaded) = &known
            && self.is_usable(loaded)
            && (kid.is_none() || self.is_fixed() || loaded.keys.has(kid, alg))
        {
            if !self.is_fresh(loaded) {
                self.wake.notify_one();
            }
            return Ok(loaded.clone());
        }
        match (self.refresh().await, known) {
            (Ok(loaded), _) => Ok(loaded),
            (Err(_), Some(old)) if self.is_usable(&old) => Ok(old),
            (Err(e), _) => Err(e),
        }
    }

    /// Fetches now, unless an attempt was made less than `min_interval` ago; joins one under way.
    pub(crate) async fn refresh(&self) -> Result<Arc<Loaded>, Arc<JwksError>> {
        let attempt = self.attempt()?;
        attempt.await
    }

    fn attempt(&self) -> Result<Attempt, Arc<JwksError>> {
        let mut attempts = self.attempts.lock();
        let since = attempts.started.map(|t| t.elapsed());
        match &attempts.running {
            // An attempt ends by itself after two requests. An older one was given up by everybody
            // who waited for it, and its clocks have run out meanwhile.
            Some(running) if since < Some(self.timing.timeout * ABANDONED_AFTER) => {
                return Ok(running.clone());
            }
            Some(_abandoned) => {}
            None if since.is_some_and(|since| since < self.timing.min_interval) => {
                return Err(Arc::new(JwksError::NotDue(attempts.last_error.clone())));
            }
            None => {}
        }
        attempts.started = Some(Instant::now());
        let (source, loaded, done) = (
            self.source.clone(),
            self.loaded.clone(),
            self.attempts.clone(),
        );
        let attempt = async move {
            let result = source.load().await.map(Arc::new).map_err(Arc::new);
            let mut attempts = done.lock();
            attempts.running = None;
            match &result {
                Ok(new) => {
                    loaded.store(Some(new.clone()));
                    attempts.last_error = None;
                }
                Err(e) => {
                    tracing::warn!(issuer = %source.issuer, error = %chain(e), "keys not refreshed");
                    attempts.last_error = Some(e.clone());
                }
            }
            result
        }
        .boxed()
        .shared();
        attempts.running = Some(attempt.clone());
        Ok(attempt)
    }

    /// The configuration holds the keys: there is nobody to ask.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.source.place, Place::Fixed)
    }

    fn is_fresh(&self, loaded: &Loaded) -> bool {
        self.is_fixed() || loaded.fetched.elapsed() < self.timing.ttl
    }

    fn is_usable(&self, loaded: &Loaded) -> bool {
        self.is_fresh(loaded)
            || loaded.fetched.elapsed() < self.timing.ttl.saturating_add(self.timing.stale_for)
    }
}

impl Loaded {
    fn now(bytes: &[u8]) -> Result<Self, KeySetError> {
        Ok(Self {
            keys: KeySet::parse(bytes)?,
            fetched: Instant::now(),
        })
    }
}

struct Source {
    issuer: String,
    place: Place,
}

enum Place {
    Discovery(Http),
    Uri(Http, String),
    File(PathBuf),
    /// Nothing to fetch: the configuration holds the keys.
    Fixed,
}

impl Source {
    fn new(config: &IssuerConfig) -> Result<Self, JwksError> {
        let http = |place| Http::new(place, config.ca_file.as_deref(), config.timing.timeout);
        let place = match &config.jwks {
            JwksSource::Discovery => Place::Discovery(http(&config.issuer)?),
            JwksSource::Uri(uri) => Place::Uri(http(uri)?, uri.clone()),
            JwksSource::File(path) => Place::File(path.clone()),
            JwksSource::Static(_) => Place::Fixed,
        };
        Ok(Self {
            issuer: config.issuer.clone(),
            place,
        })
    }

    async fn load(&self) -> Result<Loaded, JwksError> {
        let bytes = match &self.place {
            Place::Fixed => return Err(JwksError::Fixed),
            Place::File(path) => {
                let path = path.clone();
                let failed = path.clone();
                tokio::task::spawn_blocking(move || read_file(&path))
                    .await
                    .map_err(|e| JwksError::File {
                        path: failed,
                        source: std::io::Error::other(e),
                    })??
            }
            Place::Uri(http, uri) => http.get(fetch::check_url(uri)?).await?,
            Place::Discovery(http) => {
                let uri = self.discover(http).await?;
                http.get(uri).await?
            }
        };
        Ok(Loaded::now(&bytes)?)
    }

    async fn discover(&self, http: &Http) -> Result<reqwest::Url, JwksError> {
        let place = fetch::check_url(&fetch::discovery_url(&self.issuer))?;
        let https = place.scheme() == "https";
        let bytes = http.get(place).await?;
        let document =
            json::object(&bytes, MAX_DISCOVERY_DEPTH).map_err(JwksError::DiscoveryJson)?;
        // Otherwise whoever can answer at one place could speak for another issuer (OpenID Connect
        // Discovery 4.3).
        let found = document
            .get("issuer")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if found != self.issuer {
            return Err(JwksError::OtherIssuer {
                found: crate::error::shorten(found),
            });
        }
        let uri = document
            .get("jwks_uri")
            .and_then(Value::as_str)
            .ok_or(JwksError::NoJwksUri)?;
        let uri = fetch::check_url(uri)?;
        if https && uri.scheme() != "https" {
            return Err(JwksError::Downgrade);
        }
        Ok(uri)
    }
}

fn read_file(path: &std::path::Path) -> Result<Vec<u8>, JwksError> {
    fetch::read_bounded(path, MAX_DOCUMENT_BYTES as u64).map_err(|source| JwksError::File {
        path: path.to_owned(),
        source,
    })
}

fn chain(e: &JwksError) -> String {
    let mut text = e.to_string();
    let mut cause = std::error::Error::source(e);
    while let Some(e) = cause {
        text.push_str(": ");
        text.push_str(&e.to_string());
        cause = e.source();
    }
    text
}

#[cfg(test)]
mod tests;
