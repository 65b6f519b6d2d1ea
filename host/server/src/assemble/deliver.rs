//! Deliveries of the record.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use control::{ApiError, WebhookSigner};
use deliver::{
    Handle, OtlpTo, Pace, ReceiverOptions, Sign, SyslogTo, TlsFiles, To, WebhookTo, Worker,
};
use recorder::{Leaves, Recorder};
use weir_client::{DeliveryInfo, DeliveryState};

use super::stored_records;
use crate::config::{Config, Delivery, DeliveryTo};

/// Reads what receivers' options name.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    for delivery in &config.deliveries {
        deliver::check(&receiver(delivery)?)?;
    }
    Ok(())
}

/// A worker for each receiver.
pub(super) fn open(
    config: &Config,
    recorder: &Recorder,
) -> anyhow::Result<(Vec<Worker>, Arc<Status>)> {
    let store = stored_records(&config.recording)?;
    let receivers: anyhow::Result<_> = config.deliveries.iter().map(receiver).collect();
    let (workers, handle) = deliver::open(deliver::Options {
        dir: config.data_dir.join("deliveries"),
        leaves: Leaves::new(store, &config.recording.spool_dir),
        log: recorder.control_stream(),
        receivers: receivers?,
        pace: Pace::default(),
    })?;
    Ok((workers, Arc::new(Status(Arc::new(handle)))))
}

fn receiver(delivery: &Delivery) -> anyhow::Result<ReceiverOptions> {
    let tls = TlsFiles {
        ca: delivery.tls.ca.clone(),
        identity: delivery.tls.identity.clone(),
    };
    let to = match &delivery.to {
        DeliveryTo::Webhook { url, secrets } => {
            let secrets: Vec<String> = secrets.iter().map(|s| s.expose().to_owned()).collect();
            let signer = WebhookSigner::new(&secrets);
            let signer = signer.with_context(|| format!("delivery {}", delivery.name))?;
            To::Webhook(WebhookTo {
                url: url.clone(),
                signer: Arc::new(Signer(signer)),
                tls,
            })
        }
        DeliveryTo::Otlp {
            url,
            token,
            token_header,
        } => To::Otlp(OtlpTo {
            url: url.clone(),
            token: token
                .as_ref()
                .map(|token| (token_header.clone(), token.expose().to_owned())),
            tls,
        }),
        DeliveryTo::Syslog {
            host,
            port,
            server_name,
            max_message,
            trust_unclean_end,
        } => To::Syslog(SyslogTo {
            host: host.clone(),
            port: *port,
            server_name: server_name.clone(),
            tls,
            max_message: *max_message,
            trust_unclean_end: *trust_unclean_end,
        }),
    };
    Ok(ReceiverOptions {
        name: delivery.name.clone(),
        to,
        batch_events: delivery.batch_events,
        batch_bytes: delivery.batch_bytes,
    })
}

struct Signer(WebhookSigner);

impl Sign for Signer {
    fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        self.0.sign(id, timestamp, body)
    }
}

/// For the API.
pub(super) struct Status(Arc<Handle>);

#[async_trait]
impl control::Deliveries for Status {
    async fn list(&self) -> Result<Vec<DeliveryInfo>, ApiError> {
        let handle = self.0.clone();
        let all = tokio::task::spawn_blocking(move || handle.list()).await;
        // That there are no receivers would be another answer.
        let all = all.map_err(|error| {
            tracing::error!(%error, "how far deliveries are could not be found out");
            ApiError::unavailable("how far deliveries are is not known now; Weir's log says why")
        })?;
        Ok(all.into_iter().map(info).collect())
    }
}

fn info(status: deliver::Status) -> DeliveryInfo {
    let (error, error_at) = status.last_error.unzip();
    DeliveryInfo {
        name: status.name,
        kind: status.kind.to_owned(),
        trusts_unclean_end: status.trusts_unclean_end,
        state: match status.state {
            deliver::State::Starting => DeliveryState::Starting,
            deliver::State::Delivering => DeliveryState::Delivering,
            deliver::State::Waiting => DeliveryState::Waiting,
        },
        first_log: status.first_log.map(|log| log.to_string()),
        lag_leaves: status.lag_leaves,
        lag_seconds: status.lag_ms.map(|ms| ms / 1_000),
        delivered: status.delivered,
        set_aside: status.set_aside,
        last_delivery: status.last_delivery.map(Into::into),
        last_error: error,
        last_error_at: error_at.map(Into::into),
    }
}
