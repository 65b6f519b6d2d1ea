//! Standard Webhooks: one message for each batch, `{"type": "ocsf.events", "timestamp": …, "data": […]}`.
//!
//! Its id follows from the events in it, so the same batch has the same id whenever it is sent; only what is
//! sent to see if the receiver takes anything has another each time. After a
//! restart a batch may be cut elsewhere: then `metadata.uid` tells which events came before.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use reqwest::{Client, Url};
use uuid::Uuid;

use crate::batch::Event;
use crate::http::{self, HttpError};
use crate::options::{Sign, WebhookTo};
use crate::send::{Failure, Purpose, Send};

pub struct Webhook {
    client: Client,
    url: Url,
    signer: Arc<dyn Sign>,
}

impl Webhook {
    pub fn new(to: &WebhookTo, attempt: Duration) -> Result<Self, HttpError> {
        let url = http::url(&to.url)?;
        Ok(Self {
            client: http::client(&to.tls, attempt)?,
            url,
            signer: to.signer.clone(),
        })
    }
}

#[async_trait]
impl Send for Webhook {
    async fn send(&mut self, events: &[&Event], purpose: Purpose) -> Result<(), Failure> {
        let mut id = id(events);
        if purpose == Purpose::Probe {
            id = format!("{id}_probe_{}", Uuid::now_v7().simple());
        }
        let body = body(events);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let timestamp = now.unwrap_or_default().as_secs();
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.signer.sign(&id, timestamp, &body))
            .body(body);
        http::drain(http::post(request).await?).await;
        Ok(())
    }
}

/// `<log>_<leaf>_<leaf>`, with what tells several events of one leaf from one another.
fn id(events: &[&Event]) -> String {
    let uid = |event: Option<&&Event>| event.map_or("", |e| &*e.uid).replace('/', "-");
    let (first, last) = (uid(events.first()), uid(events.last()));
    // A log's id is 36 characters.
    format!(
        "{first}_{}_{}",
        last.get(37..).unwrap_or(&last),
        events.len()
    )
}

fn body(events: &[&Event]) -> String {
    let ms = events.last().map_or(0, |event| event.time_ms);
    let time = recorder::timestamp(ms.saturating_mul(1_000_000));
    let data: Vec<&str> = events.iter().map(|event| &*event.json).collect();
    let data = data.join(",");
    format!("{{\"type\":\"ocsf.events\",\"timestamp\":\"{time}\",\"data\":[{data}]}}")
}
