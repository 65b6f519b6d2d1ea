//! Targets.

use std::ops::Range;
use std::path::{Path, PathBuf};

use proto_pg::ClientLogin;
use toml::Spanned;

use super::postgres::logins;
use super::ssh;
use super::values::{
    check_host, check_name, check_text, existing, identity, one_of, secret, within,
};
use crate::config::error::Report;
use crate::config::raw::{OneOrMany, RawTarget};
use crate::config::{SshTarget, Target, UpstreamAuth, UpstreamTls};

pub(super) fn targets(
    r: &mut Report<'_>,
    raw: Vec<RawTarget>,
    base: &Path,
) -> (Vec<Target>, Vec<SshTarget>) {
    let mut targets: Vec<Target> = Vec::new();
    let mut hosts: Vec<SshTarget> = Vec::new();
    for (i, t) in raw.into_iter().enumerate() {
        let key = format!("target[{i}]");
        check_name(r, &format!("{key}.name"), &t.name);
        let mut names = targets.iter().map(|t| &t.name);
        let name = t.name.as_ref();
        if names.any(|other| other == name) || hosts.iter().any(|other| other.name == *name) {
            r.add(
                &format!("{key}.name"),
                t.name.span(),
                "two targets have this name",
            );
        }
        check_host(r, &format!("{key}.host"), &t.host);
        check_name(r, &format!("{key}.env"), &t.env);
        match t.protocol.as_ref().as_str() {
            "postgres" => targets.push(database(r, &key, t, base)),
            "ssh" => hosts.push(ssh::target(r, &key, t, base)),
            other => {
                let message = format!("{other:?} is not a protocol: postgres or ssh");
                r.add(&format!("{key}.protocol"), t.protocol.span(), message);
            }
        }
    }
    (targets, hosts)
}

fn database(r: &mut Report<'_>, key: &str, t: RawTarget, base: &Path) -> Target {
    ssh::has_no_place(r, key, &t);
    let user = t.user.unwrap_or_else(|| {
        let span = t.name.span();
        r.add(
            &format!("{key}.user"),
            span.clone(),
            "a PostgreSQL server is logged in to as somebody",
        );
        Spanned::new(span, "-".to_owned())
    });
    check_text(r, &format!("{key}.user"), &user);
    let tls = upstream_tls(r, key, t.tls);
    let auth = upstream_auth(r, key, t.auth);
    let direct_tls = choice(
        r,
        &format!("{key}.tls_negotiation"),
        t.tls_negotiation,
        NEGOTIATION,
    );
    if let (Some((true, span)), UpstreamTls::Disable) = (&direct_tls, tls) {
        let message = "it is of no use with tls = \"disable\"";
        r.add(&format!("{key}.tls_negotiation"), span.clone(), message);
    }
    let protocol_3_2 = choice(r, &format!("{key}.max_protocol"), t.max_protocol, PROTOCOLS);
    Target {
        name: t.name.into_inner(),
        env: t.env.into_inner(),
        host: t.host.into_inner(),
        port: t
            .port
            .map_or(5432, |v| within(r, &format!("{key}.port"), v, 1, u16::MAX)),
        user: user.into_inner(),
        password: t
            .password
            .and_then(|p| secret(r, &format!("{key}.password"), p, base)),
        databases: t.databases.map(Spanned::into_inner).unwrap_or_default(),
        tls,
        direct_tls: direct_tls.is_some_and(|(direct, _)| direct),
        protocol_3_2: protocol_3_2.is_some_and(|(newer, _)| newer),
        cancel_by_pid: t.cancel_by_pid.is_some_and(Spanned::into_inner),
        client_logins: t
            .client_auth
            .map(|auth| client_logins(r, &format!("{key}.client_auth"), auth))
            .unwrap_or_default(),
        tls_identity: tls_identity(r, key, t.tls_cert, t.tls_key, tls, base),
        tls_ca: t
            .tls_ca
            .map(|p| existing(r, &format!("{key}.tls_ca"), &p, base)),
        auth,
        tags: t.tags,
    }
}

/// How TLS begins, in the words of libpq's `sslnegotiation`.
const NEGOTIATION: &[(&str, bool)] = &[("postgres", false), ("direct", true)];
/// The newest protocol to ask for.
const PROTOCOLS: &[(&str, bool)] = &[("3.0", false), ("3.2", true)];

fn choice(
    r: &mut Report<'_>,
    key: &str,
    raw: Option<Spanned<String>>,
    words: &[(&str, bool)],
) -> Option<(bool, Range<usize>)> {
    let raw = raw?;
    Some((one_of(r, key, &raw, words)?, raw.span()))
}

/// None at all means any; an empty list would let nobody in.
fn client_logins(r: &mut Report<'_>, key: &str, raw: Spanned<OneOrMany>) -> Vec<ClientLogin> {
    let span = raw.span();
    let logins = logins(r, key, raw);
    if logins.is_empty() {
        r.add(key, span, "no login is left, so nobody could come in");
    }
    logins
}

/// Certificate and key go together, and need TLS.
fn tls_identity(
    r: &mut Report<'_>,
    key: &str,
    cert: Option<Spanned<PathBuf>>,
    private: Option<Spanned<PathBuf>>,
    tls: UpstreamTls,
    base: &Path,
) -> Option<(PathBuf, PathBuf)> {
    match (cert, private) {
        (Some(cert), _) if tls == UpstreamTls::Disable => {
            let message = "a certificate is of no use with tls = \"disable\"";
            r.add(&format!("{key}.tls_cert"), cert.span(), message);
            None
        }
        (cert, private) => identity(r, key, cert, private, base),
    }
}

fn upstream_tls(r: &mut Report<'_>, key: &str, raw: Option<Spanned<String>>) -> UpstreamTls {
    let Some(raw) = raw else {
        return UpstreamTls::VerifyFull;
    };
    match raw.as_ref().as_str() {
        "disable" => UpstreamTls::Disable,
        "require" => UpstreamTls::Require,
        "verify-ca" => UpstreamTls::VerifyCa,
        "verify-full" => UpstreamTls::VerifyFull,
        other => {
            let message =
                format!("{other:?} is none of disable, require, verify-ca and verify-full");
            r.add(&format!("{key}.tls"), raw.span(), message);
            UpstreamTls::VerifyFull
        }
    }
}

fn upstream_auth(
    r: &mut Report<'_>,
    key: &str,
    raw: Option<Spanned<Vec<String>>>,
) -> Vec<UpstreamAuth> {
    let Some(raw) = raw else {
        return vec![UpstreamAuth::ScramSha256];
    };
    let span = raw.span();
    let mut methods = Vec::new();
    if raw.as_ref().is_empty() {
        let message = "no method is left: name at least one, or none at all for scram-sha-256";
        r.add(&format!("{key}.auth"), span.clone(), message);
    }
    for name in raw.into_inner() {
        methods.push(match name.as_str() {
            "scram-sha-256" => UpstreamAuth::ScramSha256,
            "scram-sha-256-plus" => UpstreamAuth::ScramSha256Plus,
            "md5" => UpstreamAuth::Md5,
            "password" => UpstreamAuth::Cleartext,
            "none" => UpstreamAuth::None,
            other => {
                let message = format!(
                    "{other:?} is none of scram-sha-256, scram-sha-256-plus, md5, password and none"
                );
                r.add(&format!("{key}.auth"), span.clone(), message);
                continue;
            }
        });
    }
    methods
}
