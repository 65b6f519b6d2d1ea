//! Targets.

use std::path::Path;

use toml::Spanned;

use super::values::{check_host, check_name, check_text, existing, secret, within};
use crate::config::error::Report;
use crate::config::raw::RawTarget;
use crate::config::{Target, UpstreamAuth, UpstreamTls};

pub(super) fn targets(r: &mut Report<'_>, raw: Vec<RawTarget>, base: &Path) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for (i, t) in raw.into_iter().enumerate() {
        let key = format!("target[{i}]");
        check_name(r, &format!("{key}.name"), &t.name);
        if targets.iter().any(|other| other.name == *t.name.as_ref()) {
            r.add(
                &format!("{key}.name"),
                t.name.span(),
                "two targets have this name",
            );
        }
        if t.protocol.as_ref() != "postgres" {
            let message = format!("{:?} is not a protocol; only postgres", t.protocol.as_ref());
            r.add(&format!("{key}.protocol"), t.protocol.span(), message);
        }
        check_host(r, &format!("{key}.host"), &t.host);
        check_text(r, &format!("{key}.user"), &t.user);
        check_name(r, &format!("{key}.env"), &t.env);
        let tls = upstream_tls(r, &key, t.tls);
        let auth = upstream_auth(r, &key, t.auth);
        targets.push(Target {
            name: t.name.into_inner(),
            env: t.env.into_inner(),
            host: t.host.into_inner(),
            port: t
                .port
                .map_or(5432, |v| within(r, &format!("{key}.port"), v, 1, u16::MAX)),
            user: t.user.into_inner(),
            password: t
                .password
                .and_then(|p| secret(r, &format!("{key}.password"), p, base)),
            databases: t.databases,
            tls,
            tls_ca: t
                .tls_ca
                .map(|p| existing(r, &format!("{key}.tls_ca"), &p, base)),
            auth,
            tags: t.tags,
        });
    }
    targets
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
            "md5" => UpstreamAuth::Md5,
            "password" => UpstreamAuth::Cleartext,
            "none" => UpstreamAuth::None,
            other => {
                let message = format!("{other:?} is none of scram-sha-256, md5, password and none");
                r.add(&format!("{key}.auth"), span.clone(), message);
                continue;
            }
        });
    }
    methods
}
