//! Receivers of the record.

use std::path::Path;

use toml::Spanned;

use super::values::{check_name, check_url, existing, one_of, secret, within};
use crate::config::error::Report;
use crate::config::raw::RawDelivery;
use crate::config::{Delivery, DeliveryTo};

/// More receivers are a mistake.
const MOST: usize = 16;
const EVENTS: (usize, usize) = (1, 10_000);
const BYTES: (usize, usize) = (1 << 10, 16 << 20);

#[derive(Clone, Copy)]
enum Kind {
    Webhook,
}

const KINDS: &[(&str, Kind)] = &[("webhook", Kind::Webhook)];

pub(super) fn deliveries(r: &mut Report<'_>, raw: Vec<RawDelivery>, base: &Path) -> Vec<Delivery> {
    let mut out: Vec<Delivery> = Vec::new();
    for (i, mut d) in raw.into_iter().enumerate() {
        let key = format!("delivery[{i}]");
        let name_key = format!("{key}.name");
        check_name(r, &name_key, &d.name);
        // Files are named after it, also where case makes no difference.
        let same = |other: &Delivery| other.name.eq_ignore_ascii_case(d.name.as_ref());
        if out.iter().any(same) {
            r.add(&name_key, d.name.span(), "two deliveries have this name");
        }
        if i == MOST {
            let message = format!("at most {MOST} deliveries are possible");
            r.add(&key, d.name.span(), message);
        }
        let batch_events = number(r, &key, "batch_events", d.batch_events.take(), EVENTS);
        let batch_bytes = number(r, &key, "batch_bytes", d.batch_bytes.take(), BYTES);
        let name = d.name.as_ref().clone();
        let to = match one_of(r, &format!("{key}.kind"), &d.kind, KINDS) {
            Some(Kind::Webhook) => webhook(r, &key, d, base),
            None => None,
        };
        out.extend(to.map(|to| Delivery {
            name,
            to,
            batch_events: batch_events.unwrap_or(deliver::BATCH_EVENTS),
            batch_bytes: batch_bytes.unwrap_or(deliver::BATCH_BYTES),
        }));
    }
    out
}

fn number(
    r: &mut Report<'_>,
    key: &str,
    what: &str,
    raw: Option<Spanned<usize>>,
    (min, max): (usize, usize),
) -> Option<usize> {
    raw.map(|v| within(r, &format!("{key}.{what}"), v, min, max))
}

fn webhook(r: &mut Report<'_>, key: &str, d: RawDelivery, base: &Path) -> Option<DeliveryTo> {
    let url = url(r, key, &d);
    let mut secrets = Vec::new();
    for (what, raw) in [("secret", d.secret), ("previous_secret", d.previous_secret)] {
        let Some(raw) = raw else { continue };
        let (key, span) = (format!("{key}.{what}"), raw.span());
        let Some(secret) = secret(r, &key, raw, base) else {
            continue;
        };
        if let Err(error) = control::check_webhook_secret(secret.expose()) {
            r.add(&key, span, error.to_string());
        }
        secrets.push(secret);
    }
    if secrets.is_empty() {
        let message =
            "a webhook needs a secret to be signed with: whsec_ and 24 to 64 bytes in base64";
        r.add(&format!("{key}.secret"), d.name.span(), message);
    }
    let ca = d
        .tls_ca
        .map(|ca| existing(r, &format!("{key}.tls_ca"), &ca, base));
    Some(DeliveryTo::Webhook {
        url: url?,
        secrets,
        ca,
    })
}

/// Where to, by HTTP.
fn url(r: &mut Report<'_>, key: &str, d: &RawDelivery) -> Option<String> {
    let key = format!("{key}.url");
    let Some(url) = &d.url else {
        r.add(
            &key,
            d.kind.span(),
            "it is missing: where are events sent to?",
        );
        return None;
    };
    if check_url(r, &key, url)
        && let Err(error) = control::check_webhook_url(url.as_ref(), d.allow_http)
    {
        r.add(&key, url.span(), error.to_string());
    }
    Some(url.as_ref().clone())
}
