//! Receivers of the record.

use std::path::Path;

use toml::Spanned;

use super::values::{
    check_host, check_name, check_url, existing, identity, is_host_name, one_of, secret, within,
};
use crate::config::error::Report;
use crate::config::raw::RawDelivery;
use crate::config::{Delivery, DeliveryTls, DeliveryTo};

/// More receivers are a mistake.
const MOST: usize = 16;
const EVENTS: (usize, usize) = (1, 10_000);
const BYTES: (usize, usize) = (1 << 10, 16 << 20);
/// RFC 5425, 4.3.1: every receiver should take the least, and an ordinary event fits into it: with less, many are
/// set aside. Few take more than the most.
const MESSAGE: (usize, usize) = (8 << 10, 1 << 20);

#[derive(Clone, Copy)]
enum Kind {
    Webhook,
    Syslog,
    Otlp,
}

const KINDS: &[(&str, Kind)] = &[
    ("webhook", Kind::Webhook),
    ("syslog", Kind::Syslog),
    ("otlp", Kind::Otlp),
];
/// Headers that are not the operator's to set.
const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

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
        let files = [&d.tls_ca, &d.tls_cert, &d.tls_key];
        let files = files.into_iter().flatten().next().map(Spanned::span);
        let tls = DeliveryTls {
            ca: d
                .tls_ca
                .take()
                .map(|ca| existing(r, &format!("{key}.tls_ca"), &ca, base)),
            identity: identity(r, &key, d.tls_cert.take(), d.tls_key.take(), base),
        };
        let to = match one_of(r, &format!("{key}.kind"), &d.kind, KINDS) {
            Some(Kind::Webhook) => webhook(r, &key, &mut d, base),
            Some(Kind::Syslog) => syslog(r, &key, &mut d),
            Some(Kind::Otlp) => otlp(r, &key, &mut d, base),
            None => continue,
        };
        left_over(r, &key, &d);
        if let Some(DeliveryTo::Webhook { url, .. } | DeliveryTo::Otlp { url, .. }) = &to
            && let (true, Some(span)) = (url.starts_with("http://"), files)
        {
            let message = "files of TLS are of no use with an http URL";
            r.add(&format!("{key}.url"), span, message);
        }
        out.extend(to.map(|to| Delivery {
            name,
            to,
            tls,
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

/// What another kind of receiver needs; whoever wrote it believes that it does something.
fn left_over(r: &mut Report<'_>, key: &str, d: &RawDelivery) {
    let others = [
        ("url", d.url.as_ref().map(Spanned::span)),
        ("secret", d.secret.as_ref().map(Spanned::span)),
        (
            "previous_secret",
            d.previous_secret.as_ref().map(Spanned::span),
        ),
        ("allow_http", d.allow_http.as_ref().map(Spanned::span)),
        ("token", d.token.as_ref().map(Spanned::span)),
        ("token_header", d.token_header.as_ref().map(Spanned::span)),
        ("address", d.address.as_ref().map(Spanned::span)),
        ("server_name", d.server_name.as_ref().map(Spanned::span)),
        (
            "max_message_bytes",
            d.max_message_bytes.as_ref().map(Spanned::span),
        ),
        (
            "trust_unclean_end",
            d.trust_unclean_end.as_ref().map(Spanned::span),
        ),
    ];
    for (what, span) in others {
        if let Some(span) = span {
            let message = format!("it is of no use with kind = {:?}", d.kind.as_ref());
            r.add(&format!("{key}.{what}"), span, message);
        }
    }
}

fn webhook(r: &mut Report<'_>, key: &str, d: &mut RawDelivery, base: &Path) -> Option<DeliveryTo> {
    let url = url(r, key, d);
    let mut secrets = Vec::new();
    for (what, raw) in [
        ("secret", d.secret.take()),
        ("previous_secret", d.previous_secret.take()),
    ] {
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
    Some(DeliveryTo::Webhook { url: url?, secrets })
}

/// Where to, by HTTP.
fn url(r: &mut Report<'_>, key: &str, d: &mut RawDelivery) -> Option<String> {
    let key = format!("{key}.url");
    let allow_http = d.allow_http.take().is_some_and(Spanned::into_inner);
    let Some(url) = d.url.take() else {
        r.add(
            &key,
            d.kind.span(),
            "it is missing: where are events sent to?",
        );
        return None;
    };
    if check_url(r, &key, &url)
        && let Err(error) = control::check_webhook_url(url.as_ref(), allow_http)
    {
        r.add(&key, url.span(), error.to_string());
    }
    Some(url.into_inner())
}

fn otlp(r: &mut Report<'_>, key: &str, d: &mut RawDelivery, base: &Path) -> Option<DeliveryTo> {
    let url = url(r, key, d);
    // What is added to it would become a part of these.
    if let Some(url) = url.as_ref().filter(|url| url.contains(['?', '#'])) {
        let end = url.rfind(['?', '#']).and_then(|at| url.get(at..=at));
        let message = format!(
            "/v1/logs is added to it, so it has no {:?}",
            end.unwrap_or("?")
        );
        r.add(&format!("{key}.url"), d.kind.span(), message);
    }
    let token_key = format!("{key}.token");
    let span = d.token.as_ref().map(Spanned::span);
    let token = d
        .token
        .take()
        .and_then(|raw| secret(r, &token_key, raw, base));
    let is_sent = |c: char| c.is_ascii_graphic() || c == ' ';
    if let (Some(token), Some(span)) = (&token, &span)
        && !token.expose().chars().all(is_sent)
    {
        let message = "it holds characters that cannot be sent in a header";
        r.add(&token_key, span.clone(), message);
    }
    let header = d.token_header.take();
    if let Some(header) = &header {
        let header_key = format!("{key}.token_header");
        let name = header.as_ref().to_ascii_lowercase();
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || !name.chars().all(ok) || OWN_HEADERS.contains(&&*name) {
            let message = format!("{:?} is not a header for a token", header.as_ref());
            r.add(&header_key, header.span(), message);
        }
        if span.is_none() {
            r.add(&header_key, header.span(), "token is missing");
        }
    }
    Some(DeliveryTo::Otlp {
        url: url?,
        token,
        token_header: header.map(Spanned::into_inner),
    })
}

fn syslog(r: &mut Report<'_>, key: &str, d: &mut RawDelivery) -> Option<DeliveryTo> {
    let address_key = format!("{key}.address");
    if let Some(name) = &d.server_name {
        check_host(r, &format!("{key}.server_name"), name);
    }
    let server_name = d.server_name.take().map(Spanned::into_inner);
    let max_message = number(
        r,
        key,
        "max_message_bytes",
        d.max_message_bytes.take(),
        MESSAGE,
    );
    let trust_unclean_end = d.trust_unclean_end.take().is_some_and(Spanned::into_inner);
    let Some(address) = d.address.take() else {
        let message =
            "it is missing: where are events sent to? A host and port, such as siem.example:6514";
        r.add(&address_key, d.kind.span(), message);
        return None;
    };
    let Some((host, port)) = host_and_port(address.as_ref()) else {
        let message = format!(
            "{:?} is not a host and port, such as siem.example:6514; TLS is spoken with it, and nothing else",
            address.as_ref()
        );
        r.add(&address_key, address.span(), message);
        return None;
    };
    Some(DeliveryTo::Syslog {
        host,
        port,
        server_name,
        max_message: max_message.unwrap_or(deliver::MESSAGE_BYTES),
        trust_unclean_end,
    })
}

/// A name or an address, one of IPv6 in brackets.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let is_host = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(host),
    };
    is_host.then(|| (v6.unwrap_or(host).to_owned(), port))
}
