//! What the control plane is told of the configuration.

use control::WebhookOptions;

use crate::config::{Config, Webhook};

pub(super) fn webhook(w: &Webhook) -> WebhookOptions {
    WebhookOptions {
        url: w.url.clone(),
        secrets: w.secrets.iter().map(|s| s.expose().to_owned()).collect(),
        include_statement: w.include_statement,
        allow_plain_http: w.allow_http,
    }
}

pub(super) fn limits(config: &Config) -> control::Limits {
    let cap = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    control::Limits {
        holds: cap(config.approvals.max_open),
        holds_per_principal: cap(config.approvals.max_open_per_principal),
        connections: config.api.max_connections,
        connections_per_source: config.api.max_connections_per_source,
        ..control::Limits::default()
    }
}
