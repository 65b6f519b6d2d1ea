//! PostgreSQL's listeners, and how their clients prove who they are.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use proto_pg::{ClientLogin, OAuth};
use toml::Spanned;

use super::values::{address, check_text, one_of, tls_files, within};
use crate::config::error::Report;
use crate::config::raw::{OneOrMany, RawOAuth, RawPgListener, RawPostgres};
use crate::config::{Identity, PgListener, Postgres, Target};

/// What a client asks its provider for, unless the configuration says otherwise.
const DEFAULT_SCOPE: &str = "openid";

pub(super) fn postgres(
    r: &mut Report<'_>,
    raw: RawPostgres,
    base: &Path,
    targets: &[Target],
    identity: &Identity,
) -> Postgres {
    let mut listeners = Vec::new();
    for (i, l) in raw.listener.into_iter().enumerate() {
        let key = format!("postgres.listener[{i}]");
        listeners.push(listener(r, &key, l, base, targets, identity));
    }
    Postgres {
        listeners,
        hold_heartbeat: Duration::from_secs(raw.hold_heartbeat_seconds.map_or(10, |v| {
            within(r, "postgres.hold_heartbeat_seconds", v, 1, 3_600)
        })),
        hold_in_transaction: Duration::from_secs(raw.hold_in_transaction_seconds.map_or(30, |v| {
            within(r, "postgres.hold_in_transaction_seconds", v, 0, 86_400)
        })),
        max_query_bytes: raw.max_query_bytes.map_or(16 << 20, |v| {
            within(r, "postgres.max_query_bytes", v, 1 << 10, 1 << 30)
        }),
    }
}

fn listener(
    r: &mut Report<'_>,
    key: &str,
    l: RawPgListener,
    base: &Path,
    targets: &[Target],
    identity: &Identity,
) -> PgListener {
    if let Some(target) = &l.target
        && !targets.iter().any(|t| t.name == *target.as_ref())
    {
        let message = format!("there is no [[target]] named {:?}", target.as_ref());
        r.add(&format!("{key}.target"), target.span(), message);
    }
    let auth_span = l.auth.as_ref().map_or(l.listen.span(), Spanned::span);
    let logins = match l.auth {
        None => vec![ClientLogin::Password],
        Some(auth) => logins(r, &format!("{key}.auth"), auth),
    };
    let bound = l.target.as_ref().map(Spanned::as_ref);
    let served = targets
        .iter()
        .filter(|t| bound.is_none_or(|b| *b == t.name))
        .map(|t| t.client_logins.as_slice());
    if let Err(problem) = proto_pg::check_logins(&logins, served, bound.is_some()) {
        r.add(&format!("{key}.auth"), auth_span.clone(), problem);
    }
    let tls = l.tls.map(|t| tls_files(r, &format!("{key}.tls"), t, base));
    let asks = logins.iter().any(|l| l.needs_certificate());
    let certificates = l.client_certificates;
    check_certificates(
        r,
        key,
        certificates.as_ref(),
        asks,
        auth_span.clone(),
        identity,
    );
    if asks && tls.is_none() {
        let message = "certificates are shown in TLS, which this listener has not";
        r.add(&format!("{key}.tls"), auth_span.clone(), message);
    }
    let by_oauth = logins.iter().any(|l| l.by_oauth());
    PgListener {
        listen: address(r, &format!("{key}.listen"), &l.listen),
        tls,
        target: l.target.map(Spanned::into_inner),
        allow_plaintext_tokens: l.allow_plaintext_tokens,
        max_connections: l.max_connections.map_or(10_000, |v| {
            within(r, &format!("{key}.max_connections"), v, 1, 1_000_000)
        }),
        proxy_protocol_from: networks(
            r,
            &format!("{key}.proxy_protocol_from"),
            l.proxy_protocol_from,
        ),
        oauth: oauth(
            r,
            &format!("{key}.oauth"),
            l.oauth,
            by_oauth,
            auth_span,
            identity,
        ),
        logins,
        certificates: certificates.map(Spanned::into_inner),
    }
}

/// One login, or several in the order of preference.
pub(super) fn logins(r: &mut Report<'_>, key: &str, raw: Spanned<OneOrMany>) -> Vec<ClientLogin> {
    let span = raw.span();
    let words = ClientLogin::ALL.map(|l| (l.as_str(), l));
    let mut out = Vec::new();
    for name in raw.into_inner().into_vec() {
        let name = Spanned::new(span.clone(), name);
        let Some(login) = one_of(r, key, &name, &words) else {
            continue;
        };
        if out.contains(&login) {
            r.add(
                key,
                span.clone(),
                format!("{:?} is named twice", login.as_str()),
            );
        }
        out.push(login);
    }
    out
}

fn check_certificates(
    r: &mut Report<'_>,
    key: &str,
    named: Option<&Spanned<String>>,
    asks: bool,
    auth: Range<usize>,
    identity: &Identity,
) {
    let key = format!("{key}.client_certificates");
    match named {
        None if asks => r.add(
            &key,
            auth,
            "a login by certificate needs to name one of [[identity.certificates]]",
        ),
        None => {}
        Some(name) if !asks => r.add(
            &key,
            name.span(),
            "auth has no login by certificate, so nobody would look at one",
        ),
        Some(name) => {
            let mut known = identity.authorities.iter();
            if !known.any(|a| a.config.name == *name.as_ref()) {
                let message = format!(
                    "there is no [[identity.certificates]] named {:?}",
                    name.as_ref()
                );
                r.add(&key, name.span(), message);
            }
        }
    }
}

/// Where clients without a token are sent. The issuer must be one whose tokens are accepted.
fn oauth(
    r: &mut Report<'_>,
    key: &str,
    raw: Option<Spanned<RawOAuth>>,
    asks: bool,
    auth: Range<usize>,
    identity: &Identity,
) -> Option<OAuth> {
    let span = raw.as_ref().map_or(auth, Spanned::span);
    if !asks {
        if raw.is_some() {
            r.add(
                key,
                span,
                "auth has no login by oauth, so nobody would be told",
            );
        }
        return None;
    }
    let raw = raw.map(Spanned::into_inner).unwrap_or_default();
    let known: Vec<&str> = identity.issuers.iter().map(|i| i.issuer.as_str()).collect();
    let issuer = match (raw.issuer, known.as_slice()) {
        (Some(issuer), known) if known.contains(&issuer.as_ref().as_str()) => issuer.into_inner(),
        (Some(issuer), _) => {
            let message = "this is not one of [[identity.issuer]], so its tokens would be refused";
            r.add(&format!("{key}.issuer"), issuer.span(), message);
            return None;
        }
        (None, [one]) => (*one).to_owned(),
        (None, _) => {
            let message = "name the one of [[identity.issuer]] that clients are sent to";
            r.add(&format!("{key}.issuer"), span, message);
            return None;
        }
    };
    if let Some(scope) = &raw.scope {
        check_text(r, &format!("{key}.scope"), scope);
    }
    Some(OAuth {
        discovery: ::identity::discovery_url(&issuer),
        scope: raw
            .scope
            .map_or_else(|| DEFAULT_SCOPE.to_owned(), Spanned::into_inner),
    })
}

/// Networks of load balancers.
pub(super) fn networks(
    r: &mut Report<'_>,
    key: &str,
    raw: Vec<Spanned<String>>,
) -> Vec<net::IpNet> {
    let mut out = Vec::new();
    for (i, text) in raw.into_iter().enumerate() {
        match text.as_ref().parse() {
            Ok(network) => out.push(network),
            Err(_) => {
                let message = format!("{:?} is not a network such as 10.0.0.0/8", text.as_ref());
                r.add(&format!("{key}[{i}]"), text.span(), message);
            }
        }
    }
    out
}
