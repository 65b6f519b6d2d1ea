//! Object Lock: every object of a vault is stored with a retention, and the vault has to show that it
//! keeps to it.
//!
//! The headers that say how long belong to a client, so a client is good for a while and then made anew.
//! Each new one stores a small probe first and asks the store how long it keeps that. Nothing else is stored
//! through a client without this proof: a store without Object Lock can take the headers and do nothing.
//!
//! A bundle can want some sessions kept for longer. Each number of days has a client, and a proof, of its own.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::path::Path;
use object_store::signer::{Method, Signer};
use object_store::{Error, HeaderMap, HeaderValue, ObjectStore, PutMode, PutOptions, PutPayload};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::convert;
use crate::keys::{parse_timestamp, timestamp};
use crate::objects::{Hold, StoreError};
use crate::options::{Retention, RetentionMode, S3Config};
use crate::place::failed;
use crate::s3;

/// A client writes for so long. What it stores last is kept as long as is wanted all the same.
const RENEW_EVERY: Duration = Duration::from_secs(12 * 3600);
const SPARE: Duration = Duration::from_secs(24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A store that has said no is not asked again at once: each probe that it took is there for years.
const FIRST_REFUSAL: Duration = Duration::from_secs(1);
const LONGEST_REFUSAL: Duration = Duration::from_secs(300);
/// Where the probes are.
const PROBES: &str = "probes";
/// How long the signature of a question is good.
const ASK_TIME: Duration = Duration::from_secs(60);
const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const LEGAL_HOLD: &str = "x-amz-object-lock-legal-hold";
const VERSION: &str = "x-amz-version-id";
/// Some stores want to be told that there is a checksum before they lock anything.
const CHECKSUM: &str = "x-amz-sdk-checksum-algorithm";

/// Clients for different longer times. A bundle has no more of them; of more, which sessions of earlier bundles
/// can want, the one that nobody has asked for the longest is forgotten, and made anew.
const MAX_LONGER: usize = 16;

pub struct Lock {
    s3: S3Config,
    mode: RetentionMode,
    /// Of all that says nothing else.
    own: Arc<Term>,
    /// Longer than that; whoever was asked for last is at the end.
    longer: parking_lot::Mutex<Vec<Arc<Term>>>,
}

/// A number of days, and who stores for so long now. A store that does not take one of them holds up no other.
struct Term {
    days: u32,
    /// Whoever needs the next one waits while it is proved, so that it is proved once.
    now: Mutex<Now>,
}

/// What is a refusal until the store has answered.
const UNTOLD: &str = "a probe was stored, and the store has not said yet that it keeps it";

#[derive(Default)]
struct Now {
    writer: Option<Arc<Writer>>,
    refused: Option<Refused>,
}

/// What the store has said instead, how often by now, and until when that counts.
struct Refused {
    what: String,
    times: u32,
    until: Instant,
}

impl Now {
    /// An error while a refusal counts.
    fn still_refused(&self, at: Instant) -> Result<(), StoreError> {
        match &self.refused {
            Some(refused) if at < refused.until => Err(StoreError::NotLocked(refused.what.clone())),
            _ => Ok(()),
        }
    }

    /// Twice as long after each.
    fn refuse(&mut self, what: &str, at: Instant) {
        let times = self.refused.as_ref().map_or(0, |r| r.times);
        let pause = FIRST_REFUSAL.saturating_mul(1 << times.min(20));
        self.refused = Some(Refused {
            what: what.to_owned(),
            times: times.saturating_add(1),
            until: at + pause.min(LONGEST_REFUSAL),
        });
    }
}

impl Term {
    fn new(days: u32) -> Arc<Self> {
        let now = Mutex::default();
        Arc::new(Self { days, now })
    }
}

/// A client that has shown that what it stores is locked.
pub struct Writer {
    client: Arc<AmazonS3>,
    made: SystemTime,
    /// Is a condition kept where there are versions?
    pub keeps_conditions: bool,
}

impl Writer {
    pub async fn put(&self, path: &Path, bytes: &Bytes, mode: PutMode) -> Result<(), Error> {
        let payload = PutPayload::from_bytes(bytes.clone());
        let put = self.client.put_opts(path, payload, PutOptions::from(mode));
        put.await.map(drop)
    }

    /// Neither when it is old nor when the clock has gone back since.
    fn is_fresh(&self, now: SystemTime) -> bool {
        now.duration_since(self.made)
            .is_ok_and(|age| age < RENEW_EVERY)
    }
}

/// Until when, for a client that is made now. Stores take no signature of a clock that is a quarter of an hour
/// off, so theirs and ours do not differ by more.
fn until(now: SystemTime, days: u32) -> SystemTime {
    now + DAY * days + SPARE
}

/// To the second, as S3 writes it.
fn text(at: SystemTime) -> String {
    let text = timestamp(convert::ns(at));
    let (seconds, _) = text.split_once('.').unwrap_or((&text, ""));
    format!("{seconds}Z")
}

impl Lock {
    pub fn new(s3: &S3Config, retention: Retention) -> Self {
        Self {
            s3: s3.clone(),
            mode: retention.mode,
            own: Term::new(retention.days),
            longer: parking_lot::Mutex::default(),
        }
    }

    /// Who stores for so many days; for the vault's own time if that is longer.
    fn term(&self, days: Option<u32>) -> Arc<Term> {
        let Some(days) = days.filter(|days| *days > self.own.days) else {
            return self.own.clone();
        };
        let mut longer = self.longer.lock();
        let term = match longer.iter().position(|term| term.days == days) {
            Some(at) => longer.remove(at),
            None => Term::new(days),
        };
        if longer.len() == MAX_LONGER {
            longer.remove(0);
        }
        longer.push(term.clone());
        term
    }

    pub async fn writer(&self, days: Option<u32>) -> Result<Arc<Writer>, StoreError> {
        self.proved(days, false).await
    }

    /// For whoever has to know now: a refusal of a moment ago is asked about again.
    pub async fn prove(&self, days: Option<u32>) -> Result<(), StoreError> {
        self.proved(days, true).await.map(drop)
    }

    async fn proved(&self, days: Option<u32>, anew: bool) -> Result<Arc<Writer>, StoreError> {
        let term = self.term(days);
        let mut now = term.now.lock().await;
        let time = SystemTime::now();
        if let Some(writer) = now.writer.as_ref().filter(|writer| writer.is_fresh(time)) {
            return Ok(writer.clone());
        }
        if !anew {
            now.still_refused(Instant::now())?;
        }
        let proved = self.probe(time, term.days, &mut now).await;
        if let Err(StoreError::NotLocked(what)) = &proved {
            match &mut now.refused {
                Some(refused) if refused.what == UNTOLD => refused.what.clone_from(what),
                _ => now.refuse(what, Instant::now()),
            }
        }
        let writer = Arc::new(proved?);
        now.refused = None;
        now.writer = Some(writer.clone());
        Ok(writer)
    }

    async fn probe(
        &self,
        made: SystemTime,
        days: u32,
        now: &mut Now,
    ) -> Result<Writer, StoreError> {
        let mode = self.mode.name();
        let wanted = text(until(made, days));
        let client = self.client(mode, &wanted)?;
        let path = Path::from(format!("{}/{PROBES}/{}", self.s3.prefix, Uuid::now_v7()));
        let mut writer = Writer {
            client,
            made,
            keeps_conditions: true,
        };
        let body = Bytes::from(format!("stored to see that it is kept until {wanted}\n"));
        let stored = writer.put(&path, &body, PutMode::Create).await;
        stored.map_err(|error| match is_refusal(&error) {
            true => StoreError::NotLocked(error.to_string()),
            false => failed("storing", path.as_ref())(error),
        })?;
        // It is there for as long as was asked for, whatever comes of this, and also if nobody waits for that.
        now.refuse(UNTOLD, Instant::now());
        let (status, headers) = ask(&self.s3, &writer.client, &path).await?;
        if status != 200 {
            // Stored, and not to be had a moment later.
            return Err(StoreError::NotLocked(format!(
                "asked for {path}, the store answers with status {status}"
            )));
        }
        if !is_locked(&headers, mode, &wanted) {
            let told = told(&headers);
            return Err(StoreError::NotLocked(format!(
                "{path} should be kept until {wanted} ({mode}); {told}"
            )));
        }
        let again = writer.put(&path, &body, PutMode::Create).await;
        writer.keeps_conditions = match again {
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => true,
            Ok(()) | Err(Error::NotImplemented { .. }) => false,
            Err(error) => return Err(failed("storing", path.as_ref())(error)),
        };
        Ok(writer)
    }

    /// Is an object, as the answer to `ask` has it, kept for so many days from now?
    pub fn keeps(&self, headers: &HeaderMap, days: u32, now: SystemTime) -> bool {
        let days = days.max(self.own.days);
        is_locked(headers, self.mode.name(), &text(now + DAY * days))
    }

    fn client(&self, mode: &str, until: &str) -> Result<Arc<AmazonS3>, StoreError> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(MODE, mode), (UNTIL, until), (CHECKSUM, "SHA256")] {
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|e| StoreError::Config(e.to_string()))?;
            headers.insert(name, value);
        }
        s3::client(&self.s3, headers).map_err(|e| StoreError::Config(e.to_string()))
    }
}

/// What the store says of a lock, in words.
pub fn told(headers: &HeaderMap) -> String {
    let header = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let (has, kept) = (header(MODE).unwrap_or("none"), header(UNTIL).unwrap_or(""));
    format!("the store answers with mode {has} until {kept:?}")
}

/// The version that the store shows, if it has any.
pub fn version(headers: &HeaderMap) -> Option<&str> {
    let version = headers.get(VERSION)?.to_str().ok();
    version.filter(|version| !version.is_empty() && *version != "null")
}

fn is_locked(headers: &HeaderMap, mode: &str, until: &str) -> bool {
    let header = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let (has, kept) = (header(MODE).unwrap_or(""), header(UNTIL).unwrap_or(""));
    // The same zone and spelling up to the seconds, which is as far as they are compared.
    let long_enough = kept.get(..19) >= until.get(..19) && kept.ends_with('Z');
    has.eq_ignore_ascii_case(mode) && long_enough
}

/// What the store says of an object, besides what the client's library hands on: the status and the headers.
pub async fn ask(
    s3: &S3Config,
    client: &AmazonS3,
    path: &Path,
) -> Result<(u16, HeaderMap), StoreError> {
    let asking = failed("asking for", path.as_ref());
    let url = match client.signed_url(Method::HEAD, path, ASK_TIME).await {
        Ok(url) => url,
        Err(error) => return Err(asking(error)),
    };
    let generic = |source: Box<dyn std::error::Error + Send + Sync>| Error::Generic {
        store: "S3",
        source,
    };
    let http = match ReqwestConnector::default().connect(&s3::connection(s3)) {
        Ok(http) => http,
        Err(error) => return Err(asking(error)),
    };
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = Method::HEAD;
    *request.uri_mut() = match url.as_str().parse() {
        Ok(uri) => uri,
        Err(_) => return Err(StoreError::Config(format!("{url} is no address"))),
    };
    let answer = match http.execute(request).await {
        Ok(answer) => answer,
        Err(error) => return Err(asking(generic(Box::new(error)))),
    };
    match answer.status().as_u16() {
        status @ (200 | 401 | 403 | 404) => Ok((status, answer.headers().clone())),
        status => Err(asking(generic(format!("status {status}").into()))),
    }
}

/// What keeps an object from going, as the headers of the answer to `ask` say.
/// A lock whose time is over keeps nothing; one whose end cannot be read keeps it.
pub fn held(headers: &HeaderMap, now: SystemTime) -> Option<Hold> {
    let header = |name| {
        let value = headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok());
        value.filter(|text| !text.is_empty())
    };
    if header(LEGAL_HOLD).is_some_and(|text| text.eq_ignore_ascii_case("ON")) {
        return Some(Hold::Locked("by a legal hold".to_owned()));
    }
    let lasts = |until: &&str| parse_timestamp(until).is_none_or(|end| end > convert::ns(now));
    if let Some(until) = header(UNTIL).filter(lasts) {
        let mode = header(MODE).unwrap_or("Object Lock");
        return Some(Hold::Locked(format!("until {until} ({mode})")));
    }
    version(headers).map(|version| Hold::Version(version.to_owned()))
}

/// Does the store say that it will not, now or later? The library tells only in words that a request was
/// found to be wrong (400), which is what a bucket without Object Lock finds.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotFound { .. } => {
            true
        }
        Error::NotImplemented { .. } => true,
        error => error.to_string().contains("status code: 400"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_when_it_says() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let locked = |until: &str| Some(Hold::Locked(format!("until {until} (COMPLIANCE)")));
        let version = Some(Hold::Version("v1".into()));
        for (until, expected) in [
            ("2024-10-03T23:59:59Z", version.clone()),
            ("2024-10-04T00:00:00.000Z", version.clone()),
            ("2024-10-04T00:00:01Z", locked("2024-10-04T00:00:01Z")),
            (
                "2024-10-04T00:00:00.001Z",
                locked("2024-10-04T00:00:00.001Z"),
            ),
            // Nobody knows when these end.
            (
                "2024-10-03T23:59:59+02:00",
                locked("2024-10-03T23:59:59+02:00"),
            ),
            ("yesterday", locked("yesterday")),
            ("", version.clone()),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(MODE, "COMPLIANCE"), (UNTIL, until), (VERSION, "v1")] {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(held(&headers, now), expected, "{until:?}");
            headers.insert(LEGAL_HOLD, HeaderValue::from_static("ON"));
            assert!(
                matches!(held(&headers, now), Some(Hold::Locked(_))),
                "{until:?}"
            );
        }
    }

    #[test]
    fn what_a_client_stores_last_is_kept_long_enough() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let until = until(now, 30);
        assert!(until >= now + RENEW_EVERY + DAY * 30);
        assert_eq!(text(until), "2024-11-04T00:00:00Z");
    }

    #[test]
    fn clients_are_few_and_never_for_less_than_the_vault_keeps() {
        let retention = Retention {
            mode: RetentionMode::Compliance,
            days: 400,
        };
        let lock = Lock::new(&S3Config::default(), retention);
        for days in [None, Some(0), Some(399), Some(400)] {
            assert!(Arc::ptr_eq(&lock.term(days), &lock.own), "{days:?}");
        }
        let first = lock.term(Some(2555));
        for days in 401..401 + MAX_LONGER as u32 - 1 {
            assert_eq!(lock.term(Some(days)).days, days);
        }
        assert!(Arc::ptr_eq(&lock.term(Some(2555)), &first));
        // One more: 401 has not been asked for the longest.
        lock.term(Some(9000));
        assert_eq!(lock.longer.lock().len(), MAX_LONGER);
        let has = |days| lock.longer.lock().iter().any(|term| term.days == days);
        assert!(has(2555) && has(9000) && has(402) && !has(401));
        assert_eq!(lock.term(Some(401)).days, 401);
    }

    #[test]
    fn a_refusal_counts_for_a_while_and_longer_each_time() {
        let (mut now, mut at) = (Now::default(), Instant::now());
        now.still_refused(at).unwrap();
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            now.refuse("no", at);
            at += Duration::from_secs(seconds);
            let before = now.still_refused(at - Duration::from_millis(1));
            assert!(matches!(before, Err(StoreError::NotLocked(what)) if what == "no"));
            now.still_refused(at).unwrap();
        }
    }

    #[test]
    fn what_is_there_is_kept_long_enough_or_not() {
        let retention = Retention {
            mode: RetentionMode::Compliance,
            days: 30,
        };
        let lock = Lock::new(&S3Config::default(), retention);
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        for (mode, until, days, expect) in [
            ("COMPLIANCE", "2024-11-03T00:00:00Z", 30, true),
            ("compliance", "2024-11-03T00:00:00.000Z", 30, true),
            ("COMPLIANCE", "2024-11-02T23:59:59Z", 30, false),
            ("COMPLIANCE", "2024-11-03T00:00:00Z", 31, false),
            // Less than the vault's is never meant.
            ("COMPLIANCE", "2024-11-02T23:59:59Z", 1, false),
            ("GOVERNANCE", "2034-11-03T00:00:00Z", 30, false),
            ("", "2034-11-03T00:00:00Z", 30, false),
            ("COMPLIANCE", "", 30, false),
            ("COMPLIANCE", "2034-11-03T00:00:00+02:00", 30, false),
            ("COMPLIANCE", "for ever", 30, false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(MODE, mode), (UNTIL, until)] {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(lock.keeps(&headers, days, now), expect, "{mode} {until:?}");
        }
    }
}
