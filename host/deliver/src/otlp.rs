//! OTLP: the logs of OpenTelemetry, over HTTP with JSON. One log record for each event, whose body is the event
//! as JSON text.
//!
//! A receiver may answer that it has taken only some of the records, and does not say which: that counts as if
//! it had refused all of them, so they are sent in parts. `log.record.uid` tells those that it had.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::batch::Event;
use crate::http::{self, HttpError};
use crate::options::OtlpTo;
use crate::send::{Failure, Purpose, Send};

/// What OTLP/HTTP adds to the URL of a receiver.
const PATH: &str = "v1/logs";
/// So much of what a receiver says of records that it has not taken is kept.
const MAX_SAID: usize = 300;

pub struct Otlp {
    client: Client,
    url: Url,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Otlp {
    pub fn new(to: &OtlpTo, attempt: Duration) -> Result<Self, HttpError> {
        let mut url = http::url(&to.url)?;
        {
            let path = url.path_segments_mut();
            let mut path = path.map_err(|()| HttpError::Url("it has no path".into()))?;
            path.pop_if_empty().extend(PATH.split('/'));
        }
        Ok(Self {
            client: http::client(&to.tls, attempt)?,
            url,
            header: to.token.as_ref().map(header).transpose()?,
        })
    }

    fn body(events: &[&Event], purpose: Purpose) -> String {
        let text =
            |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let records: Vec<Value> = events.iter().map(|event| record(event, purpose)).collect();
        let resource = [
            text("service.name", "weir"),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ];
        json!({
            "resourceLogs": [{
                "resource": { "attributes": resource },
                "scopeLogs": [{ "scope": { "name": "weir.ocsf" }, "logRecords": records }],
            }],
        })
        .to_string()
    }
}

/// Marked as what is not to be shown.
fn header(
    (name, value): &(Option<String>, String),
) -> Result<(HeaderName, HeaderValue), HttpError> {
    let (name, value) = match name {
        Some(name) => (name.parse().map_err(|_| HttpError::Header)?, value.clone()),
        None => (AUTHORIZATION, format!("Bearer {value}")),
    };
    let mut value = HeaderValue::try_from(value).map_err(|_| HttpError::Header)?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Numbers of 64 bits are text in the JSON of protocol buffers.
fn record(event: &Event, purpose: Purpose) -> Value {
    let number = |name: &str| event.value.get(name).and_then(Value::as_u64);
    let nanos = event.time_ms.saturating_mul(1_000_000).to_string();
    let (severity, word) = severity(number("severity_id"));
    let uid = match purpose {
        Purpose::Deliver => event.uid.clone(),
        Purpose::Probe => format!("{}/probe-{}", event.uid, Uuid::now_v7().simple()),
    };
    let mut attributes = vec![json!({
        "key": "log.record.uid",
        "value": { "stringValue": uid },
    })];
    if let Some(class) = number("class_uid") {
        attributes.push(json!({
            "key": "ocsf.class_uid",
            "value": { "intValue": class.to_string() },
        }));
    }
    json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": severity,
        "severityText": word,
        "body": { "stringValue": event.json },
        "attributes": attributes,
    })
}

/// `SeverityNumber` of OpenTelemetry, and OCSF's word, for a severity of OCSF.
fn severity(ocsf: Option<u64>) -> (u64, &'static str) {
    match ocsf {
        Some(1) => (9, "Informational"),
        Some(2) => (10, "Low"),
        Some(3) => (13, "Medium"),
        Some(4) => (17, "High"),
        Some(5) => (18, "Critical"),
        Some(6) => (21, "Fatal"),
        _ => (0, "Unknown"),
    }
}

#[async_trait]
impl Send for Otlp {
    async fn send(&mut self, events: &[&Event], purpose: Purpose) -> Result<(), Failure> {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Self::body(events, purpose));
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        let answer = http::post(request).await?;
        taken(&http::body(answer).await?)
    }
}

/// What a status of success means, by its ExportLogsServiceResponse. One whose body cannot be read is none: it
/// may say that records were rejected.
fn taken(body: &[u8]) -> Result<(), Failure> {
    let unreadable = |why: &str| {
        // Nor from what it came: a page that tells of a filter looks like this.
        Failure::Doubtful {
            why: format!(
                "the receiver's answer is not that of OTLP/HTTP with JSON, so nobody knows what it has taken: {why}"
            ),
            after: None,
            may_pass: true,
        }
    };
    // All that is the default is left out, and some leave out the braces.
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let answer: Map<String, Value> =
        serde_json::from_slice(body).map_err(|e| unreadable(&e.to_string()))?;
    let partial = match answer.get("partialSuccess") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(partial)) => partial,
        Some(_) => return Err(unreadable("partialSuccess is no object")),
    };
    // As text, as it should be, or as a number.
    let rejected = match partial.get("rejectedLogRecords") {
        None | Some(Value::Null) => Some(0),
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_i64(),
    };
    let rejected = rejected.ok_or_else(|| unreadable("rejectedLogRecords is no whole number"))?;
    if rejected == 0 {
        return Ok(());
    }
    let said = partial.get("errorMessage").and_then(Value::as_str);
    let said: String = said.unwrap_or_default().chars().take(MAX_SAID).collect();
    Err(Failure::Refused {
        why: format!("the receiver has rejected {rejected} log records: {said:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_yes_no_or_none() {
        let refused = |body: &str| match taken(body.as_bytes()) {
            Ok(()) => Some(false),
            Err(Failure::Refused { .. }) => Some(true),
            Err(Failure::Later { .. } | Failure::Doubtful { .. }) => None,
        };
        for (body, expect) in [
            ("", Some(false)),
            ("{}", Some(false)),
            ("null", None),
            (r#"{"partialSuccess":null}"#, Some(false)),
            (r#"{"partialSuccess":{}}"#, Some(false)),
            (
                r#"{"partialSuccess":{"rejectedLogRecords":"0"}}"#,
                Some(false),
            ),
            // A warning.
            (
                r#"{"partialSuccess":{"errorMessage":"slow down"}}"#,
                Some(false),
            ),
            (
                r#"{"partialSuccess":{"rejectedLogRecords":null}}"#,
                Some(false),
            ),
            (
                r#"{"partialSuccess":{"rejectedLogRecords":"3"}}"#,
                Some(true),
            ),
            (
                r#"{"partialSuccess":{"rejectedLogRecords":1,"new":[]}}"#,
                Some(true),
            ),
            (
                r#"{"partialSuccess":{"rejectedLogRecords":-1}}"#,
                Some(true),
            ),
            (r#"{"partialSuccess":{"rejectedLogRecords":"many"}}"#, None),
            (r#"{"partialSuccess":{"rejectedLogRecords":1.5}}"#, None),
            (r#"{"partialSuccess":{"rejectedLogRecords":"3""#, None),
            (r#"{"partialSuccess":"no"}"#, None),
            ("\u{a}\u{2}\u{8}\u{3}", None),
            ("<html>welcome</html>", None),
            ("[]", None),
            (r#"{"partialSuccess":[]}"#, None),
            (r#"{"partialSuccess":{"rejectedLogRecords":"0"}} x"#, None),
        ] {
            assert_eq!(refused(body), expect, "{body}");
        }
    }

    #[test]
    fn where_to() {
        for (url, to) in [
            ("https://otel.test", "https://otel.test/v1/logs"),
            ("https://otel.test/", "https://otel.test/v1/logs"),
            ("https://otel.test/a/b", "https://otel.test/a/b/v1/logs"),
            ("https://otel.test/a/b/", "https://otel.test/a/b/v1/logs"),
        ] {
            let options = OtlpTo {
                url: url.into(),
                token: None,
                tls: crate::TlsFiles::default(),
            };
            let otlp = Otlp::new(&options, Duration::from_secs(1)).unwrap();
            assert_eq!(otlp.url.as_str(), to);
        }
    }
}
