//! Configured listeners and targets → those of `proto-pg`.

use std::sync::Arc;

use anyhow::Context;
use pipeline::Protocol;
use proto_pg::PgTarget;

use super::server_tls;
use crate::config::{self, Config, PgListener, UpstreamAuth, UpstreamTls};

const ALPN: &[u8] = b"postgresql";

pub(super) fn listener(config: &Config, l: &PgListener) -> anyhow::Result<proto_pg::PgListener> {
    let clients = match &l.certificates {
        None => net::ClientAuth::None,
        Some(name) => {
            let mut known = config.identity.authorities.iter();
            let authority = known
                .find(|a| a.config.name == *name)
                .with_context(|| format!("there is no certificate authority {name:?}"))?;
            // Who has none may still come in by a login that needs none; the login decides.
            net::ClientAuth::Optional(net::ClientAuthority {
                ca: authority.ca.clone(),
                crl: authority.crl.clone(),
            })
        }
    };
    let mut listen = net::ListenerOptions::new("postgres", &l.listen.to_string())?;
    listen.max_connections = l.max_connections;
    listen.drain = config.drain;
    if !l.proxy_protocol_from.is_empty() {
        let nets = l.proxy_protocol_from.clone();
        listen.proxy_protocol = Some(net::ProxyProtocol::new(nets));
    }
    Ok(proto_pg::PgListener {
        listen,
        tls: l
            .tls
            .as_ref()
            .map(|files| server_tls(files, &[ALPN], clients))
            .transpose()?,
        target: l.target.as_deref().map(Arc::from),
        allow_plaintext_tokens: l.allow_plaintext_tokens,
        logins: l.logins.clone(),
        oauth: l.oauth.clone(),
        certificates: l.certificates.as_deref().map(Arc::from),
    })
}

pub(super) fn target(t: &config::Target) -> anyhow::Result<PgTarget> {
    let mode = match t.tls {
        UpstreamTls::Disable => net::ClientTlsMode::Disable,
        UpstreamTls::Require => net::ClientTlsMode::Require,
        UpstreamTls::VerifyCa => net::ClientTlsMode::VerifyCa,
        UpstreamTls::VerifyFull => net::ClientTlsMode::VerifyFull,
    };
    let mut tls = net::ClientTlsOptions::new(mode);
    tls.roots = t.tls_ca.clone().map(net::Roots::File);
    tls.identity = t.tls_identity.clone();
    if t.direct_tls {
        tls.alpn = vec![ALPN.to_vec()];
    }
    let tls = net::ClientTls::build(tls)
        .map_err(|e| anyhow::anyhow!("target {}: {}", t.name, e.chain()))?;
    Ok(PgTarget {
        info: Arc::new(pipeline::Target {
            name: t.name.as_str().into(),
            protocol: Protocol::Postgres,
            env: t.env.as_str().into(),
            tags: t.tags.clone(),
        }),
        host: t.host.clone(),
        port: t.port,
        user: t.user.clone(),
        password: t
            .password
            .as_ref()
            .map(|p| proto_pg::Secret::new(p.expose())),
        default_database: t.databases.first().map(|d| d.as_str().into()),
        databases: t.databases.iter().map(|d| d.as_str().into()).collect(),
        tls,
        direct_tls: t.direct_tls,
        protocol_3_2: t.protocol_3_2,
        cancel_by_pid: t.cancel_by_pid,
        client_logins: t.client_logins.clone(),
        require_auth: t.auth.iter().map(|a| auth_method(*a)).collect(),
    })
}

fn auth_method(method: UpstreamAuth) -> proto_pg::AuthMethod {
    match method {
        UpstreamAuth::ScramSha256 => proto_pg::AuthMethod::ScramSha256,
        UpstreamAuth::ScramSha256Plus => proto_pg::AuthMethod::ScramSha256Plus,
        UpstreamAuth::Md5 => proto_pg::AuthMethod::Md5,
        UpstreamAuth::Cleartext => proto_pg::AuthMethod::Cleartext,
        UpstreamAuth::None => proto_pg::AuthMethod::None,
    }
}

pub(super) fn limits(config: &Config) -> proto_pg::Limits {
    proto_pg::Limits {
        max_query: config.postgres.max_query_bytes,
        hold_heartbeat: config.postgres.hold_heartbeat,
        hold_in_transaction: config.postgres.hold_in_transaction,
        ..proto_pg::Limits::default()
    }
}
