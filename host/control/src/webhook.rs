//! Tells an outside system of holds, as Standard Webhooks: <https://www.standardwebhooks.com>.
//!
//! What is to be told waits in the store's outbox, written with what it tells about. A delivery that
//! fails is tried again, with growing pauses and a last time.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipeline::ports::Clock;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use weir_client::{Impact, Statement, Timestamp};

use crate::convert;
use crate::error::ControlError;
use crate::options::WebhookOptions;
use crate::store::{Change, HoldState, Notice, NoticeKind, Store};

/// Pauses before the second, third, … attempt. After the last one it is given up.
const PAUSES: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(6 * 3600),
];
/// One delivery, from the connection to the end of the answer's head.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Deliveries taken from the outbox at once; they go out one after the other.
const BATCH: u32 = 16;
/// How often the outbox is looked at though nothing was said.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How much of a statement is sent.
const MAX_STATEMENT: usize = 1_000;
/// Key sizes that the standard permits, in bytes.
const KEY_SIZES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets to sign with: the present one, and those being retired.
const MAX_SECRETS: usize = 4;

/// Sends the outbox to one receiver.
pub(crate) struct Webhook {
    http: reqwest::Client,
    url: reqwest::Url,
    signer: Signer,
    include_statement: bool,
    base_url: Arc<str>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    pub(crate) fn new(
        options: &WebhookOptions,
        base_url: Arc<str>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ControlError> {
        let wrong = |why: String| ControlError::Webhook(why);
        let url = read_url(&options.url, options.allow_plain_http).map_err(wrong)?;
        let signer = Signer::new(&options.secrets)?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        Ok(Self {
            http,
            url,
            signer,
            include_statement: options.include_statement,
            base_url,
            store,
            clock,
        })
    }

    /// Delivers until `stop` is cancelled. What is in flight then is delivered again after the next
    /// start, with the same id.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut changes = self.store.changes();
        loop {
            let sent = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                sent = self.deliver_due() => sent,
            };
            if sent {
                continue;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = told(&mut changes) => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Is there perhaps more to do at once?
    async fn deliver_due(&self) -> bool {
        let now = Timestamp::from(self.clock.now()).millis();
        let due = match self.store.due_notices(now, BATCH).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read");
                return false;
            }
        };
        let more = due.len() == BATCH as usize;
        for notice in due {
            self.deliver_one(&notice).await;
        }
        more
    }

    async fn deliver_one(&self, notice: &Notice) {
        let written = match self.send(notice).await {
            Ok(()) => self.store.notice_delivered(&notice.id).await,
            Err(why) => {
                let pause = PAUSES.get(notice.attempts as usize);
                let hold = &notice.hold.record.id;
                match pause {
                    Some(_) => tracing::warn!(hold, why, "a webhook was not delivered"),
                    None => tracing::error!(hold, why, "a webhook is given up"),
                }
                let retry_at =
                    pause.map(|pause| Timestamp::from(self.clock.now() + *pause).millis());
                self.store.notice_failed(&notice.id, retry_at, &why).await
            }
        };
        if let Err(error) = written {
            tracing::warn!(%error, "the outbox cannot be written: a webhook may be sent twice");
        }
    }

    /// One attempt. The error names neither the URL's query nor a secret.
    async fn send(&self, notice: &Notice) -> Result<(), String> {
        let body = self.body(notice)?;
        let timestamp = Timestamp::from(self.clock.now()).millis() / 1_000;
        let request = self
            .http
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", timestamp)
            .header(
                "webhook-signature",
                self.signer.sign(&notice.id, timestamp, &body),
            )
            .body(body);
        let response = request
            .send()
            .await
            .map_err(|error| error.without_url().to_string())?;
        let status = response.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(format!("the receiver answered with status {status}"))
        }
    }

    /// The same on every attempt: it holds nothing that changes after the event.
    fn body(&self, notice: &Notice) -> Result<String, String> {
        let record = &notice.hold.record;
        let document = &record.document;
        let statement = self
            .include_statement
            .then(|| convert::cut(&document.statement, MAX_STATEMENT));
        let (kind, outcome) = match notice.kind {
            NoticeKind::Opened => ("hold.opened", None),
            NoticeKind::Decided(state) => ("hold.decided", Some(state)),
        };
        let by_a_person = matches!(outcome, Some(HoldState::Approved | HoldState::Denied));
        let payload = Payload {
            r#type: kind,
            timestamp: Timestamp::from_millis(notice.at),
            data: Data {
                id: &record.id,
                url: format!("{}/approvals/{}", self.base_url, record.id),
                principal: &record.principal,
                target: &document.target.name,
                database: &document.database,
                rules: document.routes.iter().map(|r| r.rule.as_str()).collect(),
                channels: document
                    .routes
                    .iter()
                    .flat_map(|r| r.channels.iter().map(String::as_str))
                    .collect(),
                reason: &document.reason,
                risk_score: document.risk.score,
                opened_at: Timestamp::from_millis(record.opened_at),
                expires_at: Timestamp::from_millis(record.expires_at),
                statement,
                impact: document.impact.as_ref().filter(|_| self.include_statement),
                outcome: outcome.map(HoldState::as_str),
                decided_by: by_a_person
                    .then_some(notice.hold.decided_by.as_deref())
                    .flatten(),
            },
        };
        serde_json::to_string(&payload).map_err(|e| e.to_string())
    }
}

/// Could notices go there? https, or http to this machine, or where plain text is permitted.
pub fn check_url(text: &str, allow_plain_http: bool) -> Result<(), ControlError> {
    read_url(text, allow_plain_http)
        .map(drop)
        .map_err(ControlError::Webhook)
}

/// Could notices be signed with this?
pub fn check_secret(secret: &str) -> Result<(), ControlError> {
    key(secret).map(drop).map_err(ControlError::Webhook)
}

/// Resolves when something was put into the outbox.
async fn told(changes: &mut broadcast::Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(Change::Outbox) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(Change::Hold(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return std::future::pending().await,
        }
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    id: &'a str,
    url: String,
    principal: &'a str,
    target: &'a str,
    database: &'a str,
    rules: Vec<&'a str>,
    channels: Vec<&'a str>,
    reason: &'a str,
    risk_score: u8,
    opened_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<Statement>,
    /// With the statement only: it names tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    impact: Option<&'a Impact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<&'a str>,
}

/// Signs as the standard says, with every secret that it was made from.
pub struct Signer {
    keys: Vec<hmac::Key>,
}

impl Signer {
    /// The present secret, and those being retired.
    pub fn new(secrets: &[String]) -> Result<Self, ControlError> {
        if secrets.is_empty() || secrets.len() > MAX_SECRETS {
            let why = format!("it needs 1 to {MAX_SECRETS} secrets");
            return Err(ControlError::Webhook(why));
        }
        let keys: Result<_, String> = secrets.iter().map(|s| key(s)).collect();
        let keys = keys.map_err(ControlError::Webhook)?;
        Ok(Self { keys })
    }

    /// The header `webhook-signature`: `v1,<base64>` for each key, separated by spaces; HMAC-SHA256 over
    /// `id.timestamp.body`.
    pub fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let signed = format!("{id}.{timestamp}.{body}");
        let signatures: Vec<String> = self
            .keys
            .iter()
            .map(|key| {
                let tag = hmac::sign(key, signed.as_bytes());
                format!("v1,{}", STANDARD.encode(tag.as_ref()))
            })
            .collect();
        signatures.join(" ")
    }
}

fn key(secret: &str) -> Result<hmac::Key, String> {
    let encoded = secret
        .strip_prefix("whsec_")
        .ok_or("a secret starts with whsec_")?;
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| "a secret is base64 after whsec_")?;
    if !KEY_SIZES.contains(&bytes.len()) {
        return Err(format!(
            "a secret has {} to {} bytes",
            KEY_SIZES.start(),
            KEY_SIZES.end()
        ));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

fn read_url(text: &str, allow_plain_http: bool) -> Result<reqwest::Url, String> {
    let url = reqwest::Url::parse(text).map_err(|e| format!("its URL cannot be read: {e}"))?;
    let host = url.host_str().ok_or("its URL has no host")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("its URL must not hold a user or password".into());
    }
    // `localhost` is what a resolver says it is; only an address is surely this machine.
    let loopback = host
        .trim_matches(['[', ']'])
        .parse::<IpAddr>()
        .is_ok_and(|ip| ip.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback || allow_plain_http => Ok(url),
        "http" => Err("its URL must be https, or http to a loopback address".into()),
        other => Err(format!("its URL has scheme {other:?}")),
    }
}

#[cfg(test)]
mod tests;
