//! Getting a token with a browser elsewhere: the device authorization grant (RFC 8628) of an OpenID provider, for
//! `weir login` and for people at the prompt of SSH.
//!
//! The provider's answers are shown on a terminal and followed in a browser, so they are taken apart as
//! strictly as tokens are: https only, no redirects, bounded in size and in time. The device code is sent to the
//! provider and to nobody else; neither it nor the code that people type is ever in an error.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::error::shorten;
use crate::fetch::{self, FetchError, Http};
use crate::json::{self, JsonError, Object};

/// How long one call to the provider may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long somebody may take to agree, whatever the provider would allow.
const MAX_WAIT: u64 = 30 * 60;
/// Between two questions, in seconds: what RFC 8628 3.2 has without a word, and what is believed.
const INTERVAL: u64 = 5;
const MAX_INTERVAL: u64 = 60;
/// How long it is believed where the provider says that it is to be asked.
const DESCRIPTION_AGE: Duration = Duration::from_secs(300);
/// Calls that failed in a row, before it is given up.
const MAX_FAILURES: u32 = 5;
const MAX_DEPTH: usize = 8;
const MAX_CODE: usize = 64;
const MAX_DEVICE_CODE: usize = 4096;
/// So many characters of a device code are known again in what a provider says.
const TOLD: usize = 8;
/// The longest token that Weir's API looks at.
const MAX_TOKEN: usize = 16 * 1024;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("the identity provider")]
    Fetch(#[from] FetchError),
    #[error("the identity provider's {what} cannot be read")]
    Json {
        what: &'static str,
        source: JsonError,
    },
    #[error("the identity provider calls itself {0:?}; pass that as the issuer if it is meant")]
    OtherIssuer(String),
    #[error("the identity provider has no {0}: it does not offer logins of this kind")]
    Unsupported(&'static str),
    #[error("the identity provider's {what} is missing or not usable")]
    Answer { what: &'static str },
    #[error("the identity provider refused: {0}")]
    Refused(String),
    #[error("the login was refused")]
    Denied,
    #[error("the login took too long; start again")]
    Expired,
}

/// At which provider, and as which of its clients.
#[derive(Clone)]
pub struct DeviceOptions {
    pub issuer: String,
    pub client_id: String,
    /// For clients that have one. At a terminal there is none: it could not be kept there.
    pub client_secret: Option<Zeroizing<String>>,
    pub scope: String,
    /// For providers that want to be told for which service the token is.
    pub audience: Option<String>,
    pub ca_file: Option<PathBuf>,
}

/// A provider at which people log in. It is asked nothing before somebody does.
pub struct DeviceProvider {
    http: Http,
    place: Url,
    options: DeviceOptions,
    known: Mutex<Option<(Instant, Endpoints)>>,
}

/// Where a provider wants to be asked.
#[derive(Clone)]
struct Endpoints {
    token: Url,
    device: Url,
}

impl DeviceProvider {
    /// Reads the CA file, if there is one. Blocks for as long as that takes.
    pub fn new(options: DeviceOptions) -> Result<Self, DeviceError> {
        let place = fetch::discovery_url(&options.issuer);
        Ok(Self {
            http: Http::new(&place, options.ca_file.as_deref(), TIMEOUT)?,
            place: fetch::check_url(&place)?,
            options,
            known: Mutex::new(None),
        })
    }

    pub fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// Asks the provider for a code. Cancel safe.
    pub async fn begin(&self) -> Result<DeviceLogin, DeviceError> {
        let endpoints = self.endpoints().await?;
        let options = &self.options;
        let mut fields = client_fields(&options.client_id, options.client_secret.as_deref());
        fields.push(("scope", options.scope.as_str()));
        fields.extend(options.audience.as_deref().map(|a| ("audience", a)));
        let (status, body) = self.http.post_form(&endpoints.device, &fields).await?;
        let what = "answer to the request for a code";
        let answer =
            json::object(&body, MAX_DEPTH).map_err(|source| DeviceError::Json { what, source })?;
        if status != StatusCode::OK {
            return Err(DeviceError::Refused(reason(&answer)));
        }
        DeviceLogin::of(self.http.clone(), endpoints.token, options, &answer)
    }

    /// From the provider's description, which is not asked for by everybody who logs in.
    async fn endpoints(&self) -> Result<Endpoints, DeviceError> {
        if let Some((since, endpoints)) = &*self.known.lock()
            && since.elapsed() < DESCRIPTION_AGE
        {
            return Ok(endpoints.clone());
        }
        let bytes = self.http.get(self.place.clone()).await?;
        let what = "description";
        let document =
            json::object(&bytes, MAX_DEPTH).map_err(|source| DeviceError::Json { what, source })?;
        // Otherwise whoever can answer at one place could speak for another issuer (OpenID Connect
        // Discovery 4.3).
        let found = text(&document, "issuer").unwrap_or_default();
        if found != self.options.issuer {
            return Err(DeviceError::OtherIssuer(shorten(found)));
        }
        let endpoint = |name: &'static str| {
            let url = text(&document, name).ok_or(DeviceError::Unsupported(name))?;
            fetch::check_url(url).map_err(DeviceError::from)
        };
        let endpoints = Endpoints {
            token: endpoint("token_endpoint")?,
            device: endpoint("device_authorization_endpoint")?,
        };
        *self.known.lock() = Some((Instant::now(), endpoints.clone()));
        Ok(endpoints)
    }
}

/// Could people log in there, as far as its name tells?
pub fn check_provider(issuer: &str) -> Result<(), FetchError> {
    fetch::check_url(&fetch::discovery_url(issuer)).map(drop)
}

/// Who asks (RFC 6749 2.3.1).
fn client_fields<'a>(id: &'a str, secret: Option<&'a String>) -> Vec<(&'static str, &'a str)> {
    let secret = secret.map(|secret| ("client_secret", secret.as_str()));
    std::iter::once(("client_id", id)).chain(secret).collect()
}

/// How long before the code ends it is asked for a last time.
const LAST: Duration = Duration::from_secs(1);
/// How long a last question waits for the provider's interval.
const MAX_LAST_WAIT: Duration = Duration::from_secs(10);

/// A login that waits for somebody to agree in a browser.
pub struct DeviceLogin {
    http: Http,
    token_endpoint: Url,
    client_id: String,
    client_secret: Option<Zeroizing<String>>,
    device_code: Zeroizing<String>,
    interval: Duration,
    /// By how much to slow down: five seconds, but for tests.
    step: Duration,
    until: Instant,
    /// What is to be typed there.
    pub user_code: String,
    pub verification_uri: String,
    /// The same with the code in it.
    pub verification_uri_complete: Option<String>,
}

impl DeviceLogin {
    /// Asks a provider for a code that is asked once. Cancel safe.
    pub async fn begin(options: &DeviceOptions) -> Result<Self, DeviceError> {
        DeviceProvider::new(options.clone())?.begin().await
    }

    fn of(
        http: Http,
        token_endpoint: Url,
        options: &DeviceOptions,
        answer: &Object,
    ) -> Result<Self, DeviceError> {
        let bad = |what| DeviceError::Answer { what };
        let device_code = text(answer, "device_code").filter(|c| printable(c, MAX_DEVICE_CODE));
        let user_code = text(answer, "user_code").filter(|c| printable(c, MAX_CODE));
        // Somebody opens it in a browser and logs in there.
        let place = |name: &str| {
            let url = text(answer, name)?;
            fetch::check_url(url).ok().map(|url| url.to_string())
        };
        let seconds = |name: &str| answer.get(name).and_then(Value::as_u64);
        let expires = seconds("expires_in").ok_or_else(|| bad("expires_in"))?;
        let interval = seconds("interval")
            .unwrap_or(INTERVAL)
            .clamp(1, MAX_INTERVAL);
        Ok(Self {
            http,
            token_endpoint,
            client_id: options.client_id.clone(),
            client_secret: options.client_secret.clone(),
            device_code: Zeroizing::new(device_code.ok_or_else(|| bad("device_code"))?.to_owned()),
            interval: Duration::from_secs(interval),
            step: Duration::from_secs(INTERVAL),
            until: Instant::now() + Duration::from_secs(expires.min(MAX_WAIT)),
            user_code: user_code.ok_or_else(|| bad("user_code"))?.to_owned(),
            verification_uri: place("verification_uri").ok_or_else(|| bad("verification_uri"))?,
            verification_uri_complete: place("verification_uri_complete"),
        })
    }

    /// How long the codes live.
    pub fn lives(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Waits until somebody has agreed, and returns the access token. When dropped, nobody is asked any more.
    pub async fn finish(self) -> Result<Zeroizing<String>, DeviceError> {
        self.finish_at(&Notify::new()).await
    }

    /// The same; when `last_call` is notified, the provider is asked once more, as soon as it may be, and then no more.
    pub async fn finish_at(mut self, last_call: &Notify) -> Result<Zeroizing<String>, DeviceError> {
        let token = self.poll(last_call).await;
        token.map_err(|error| match error {
            // Errors are logged. The codes are not, whatever a provider says.
            DeviceError::Refused(text) if self.is_told_in(&text) => {
                DeviceError::Refused("what it says has a code in it".to_owned())
            }
            error => error,
        })
    }

    fn is_told_in(&self, text: &str) -> bool {
        // What is long is cut when it is told, so a part of it is enough.
        let begin: String = self.device_code.chars().take(TOLD).collect();
        text.contains(&begin) || text.contains(&self.user_code)
    }

    async fn poll(&mut self, last_call: &Notify) -> Result<Zeroizing<String>, DeviceError> {
        let (mut failures, mut last) = (0, false);
        // Somebody may agree at the last moment: so late, the code is asked for sooner than usual.
        let latest = self.until.checked_sub(LAST).unwrap_or(self.until);
        loop {
            let now = Instant::now();
            if last || now >= latest {
                return Err(DeviceError::Expired);
            }
            last = now + self.interval >= latest;
            let due = (now + self.interval).min(latest);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = last_call.notified() => {
                    last = true;
                    let soon = Instant::now() + MAX_LAST_WAIT;
                    tokio::time::sleep_until(due.min(soon).into()).await;
                }
            }
            let mut fields = vec![
                ("grant_type", GRANT),
                ("device_code", self.device_code.as_str()),
            ];
            fields.extend(client_fields(
                &self.client_id,
                self.client_secret.as_deref(),
            ));
            let polled = match self.http.post_form(&self.token_endpoint, &fields).await {
                Ok((status, body)) => judge(status, &body)?,
                // RFC 8628 3.5: what does not answer is asked less often.
                Err(error) => {
                    failures += 1;
                    if failures >= MAX_FAILURES {
                        return Err(error.into());
                    }
                    Polled::SlowDown
                }
            };
            match polled {
                Polled::Token(token) => return Ok(token),
                Polled::Pending => failures = 0,
                Polled::SlowDown => self.interval += self.step,
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Polled {
    Token(Zeroizing<String>),
    Pending,
    SlowDown,
}

/// What an answer of the token endpoint means (RFC 6749 5.1, 5.2; RFC 8628 3.5).
fn judge(status: StatusCode, body: &[u8]) -> Result<Polled, DeviceError> {
    let what = "answer to the request for a token";
    let answer =
        json::object(body, MAX_DEPTH).map_err(|source| DeviceError::Json { what, source })?;
    if status == StatusCode::OK {
        let bearer = text(&answer, "token_type").is_some_and(|t| t.eq_ignore_ascii_case("bearer"));
        let token = text(&answer, "access_token").filter(|t| bearer && printable(t, MAX_TOKEN));
        let token = token.ok_or(DeviceError::Answer {
            what: "access token",
        })?;
        return Ok(Polled::Token(Zeroizing::new(token.to_owned())));
    }
    match text(&answer, "error") {
        Some("authorization_pending") => Ok(Polled::Pending),
        Some("slow_down") => Ok(Polled::SlowDown),
        Some("access_denied") => Err(DeviceError::Denied),
        Some("expired_token") => Err(DeviceError::Expired),
        _ => Err(DeviceError::Refused(reason(&answer))),
    }
}

/// What a provider says is wrong, short; who shows it escapes it.
fn reason(answer: &Object) -> String {
    let error = shorten(text(answer, "error").unwrap_or("it does not say why"));
    match text(answer, "error_description") {
        None => error,
        Some(more) => format!("{error}: {}", shorten(more)),
    }
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

/// Not empty, not long, and nothing that a terminal or a header would take for something else.
fn printable(text: &str, max: usize) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

#[cfg(test)]
mod tests;
