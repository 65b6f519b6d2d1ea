//! Raw → typed: every value is checked, and every error names its key and line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::error::{ConfigErrors, Report};
use super::raw::{
    OneOrMany, RawApi, RawConfig, RawIdentity, RawIssuer, RawLog, RawPlugin, RawPostgres,
    RawRecording, RawS3, RawStore, RawTarget, RawTlsFiles, RawWebhook,
};
use super::secret::{RawSecret, Secret};
use super::{
    ActorEntry, Api, Approvals, Config, Identity, Issuer, Kind, Log, LogFormat, PgListener, Plugin,
    PluginLimits, Postgres, Recording, RecordingStore, Required, Target, TlsFiles, UpstreamAuth,
    UpstreamTls, Webhook,
};

impl RawConfig {
    pub(super) fn check(
        self,
        path: &Path,
        text: &str,
        base: &Path,
    ) -> Result<Config, ConfigErrors> {
        let mut report = Report::new(path, text);
        let r = &mut report;
        let data_dir = base.join(self.server.data_dir);
        check_url(r, "server.base_url", &self.server.base_url);
        let targets = targets(r, self.target, base);
        let config = Config {
            base_url: self
                .server
                .base_url
                .into_inner()
                .trim_end_matches('/')
                .to_owned(),
            drain: Duration::from_secs(
                self.server
                    .drain_seconds
                    .map_or(30, |v| within(r, "server.drain_seconds", v, 0, 3_600)),
            ),
            log: log(r, self.log),
            api: api(r, self.api, base),
            postgres: postgres(r, self.postgres, base, &targets),
            identity: identity(r, self.identity, base),
            recording: recording(r, self.recording, base, &data_dir),
            bundle_dir: self
                .policy
                .bundle
                .map(|dir| existing(r, "policy.bundle", &dir, base)),
            plugins: plugins(r, self.plugin, base),
            plugin_limits: PluginLimits {
                memory_bytes: self
                    .plugins
                    .memory_bytes
                    .map(|v| within(r, "plugins.memory_bytes", v, 1 << 20, 1 << 30)),
                deadline: self
                    .plugins
                    .deadline_ms
                    .map(|v| Duration::from_millis(within(r, "plugins.deadline_ms", v, 1, 10_000))),
                required: required(r, self.plugins.required),
            },
            webhook: self.webhook.and_then(|w| webhook(r, w, base)),
            mask_keys: self
                .mask_keys
                .into_iter()
                .filter_map(|(name, raw)| {
                    secret(r, &format!("mask_keys.{name}"), raw, base).map(|s| (name, s))
                })
                .collect(),
            approvals: Approvals {
                max_open: self
                    .approvals
                    .max_open
                    .map_or(1_000, |v| within(r, "approvals.max_open", v, 1, 100_000)),
                max_open_per_principal: self.approvals.max_open_per_principal.map_or(10, |v| {
                    within(r, "approvals.max_open_per_principal", v, 1, 100_000)
                }),
            },
            targets,
            data_dir,
        };
        report.finish(config)
    }
}

fn log(r: &mut Report<'_>, raw: RawLog) -> Log {
    let format = match &raw.format {
        None => LogFormat::Text,
        Some(format) => match format.as_ref().as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                r.add(
                    "log.format",
                    format.span(),
                    format!("{other:?} is neither text nor json"),
                );
                LogFormat::Text
            }
        },
    };
    Log {
        format,
        filter: raw.filter.unwrap_or_else(|| "info".into()),
    }
}

fn api(r: &mut Report<'_>, raw: RawApi, base: &Path) -> Api {
    let listen = address(r, "api.listen", &raw.listen);
    if raw.tls.is_none() && !raw.allow_plaintext && !listen.ip().is_loopback() {
        r.add(
            "api.listen",
            raw.listen.span(),
            "tokens would travel in clear: set api.tls, listen on loopback, or set \
             api.allow_plaintext = true behind a proxy that ends TLS",
        );
    }
    let max_connections = raw
        .max_connections
        .map_or(1_000, |v| within(r, "api.max_connections", v, 1, 100_000));
    Api {
        listen,
        tls: raw.tls.map(|t| tls_files(r, "api.tls", t, base)),
        max_connections,
        max_connections_per_source: raw.max_connections_per_source.map_or(
            (max_connections / 4).max(1),
            |v| {
                within(
                    r,
                    "api.max_connections_per_source",
                    v,
                    1,
                    max_connections.max(1),
                )
            },
        ),
    }
}

fn postgres(r: &mut Report<'_>, raw: RawPostgres, base: &Path, targets: &[Target]) -> Postgres {
    if raw.listener.is_empty() {
        r.missing(
            "postgres.listener",
            "there is no listener: Weir would serve nobody",
        );
    }
    let mut listeners = Vec::new();
    for (i, l) in raw.listener.into_iter().enumerate() {
        let key = format!("postgres.listener[{i}]");
        if let Some(target) = &l.target
            && !targets.iter().any(|t| t.name == *target.as_ref())
        {
            let message = format!("there is no [[target]] named {:?}", target.as_ref());
            r.add(&format!("{key}.target"), target.span(), message);
        }
        listeners.push(PgListener {
            listen: address(r, &format!("{key}.listen"), &l.listen),
            tls: l.tls.map(|t| tls_files(r, &format!("{key}.tls"), t, base)),
            target: l.target.map(Spanned::into_inner),
            allow_plaintext_tokens: l.allow_plaintext_tokens,
            max_connections: l.max_connections.map_or(10_000, |v| {
                within(r, &format!("{key}.max_connections"), v, 1, 1_000_000)
            }),
            proxy_protocol_from: l.proxy_protocol_from,
        });
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

fn targets(r: &mut Report<'_>, raw: Vec<RawTarget>, base: &Path) -> Vec<Target> {
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
        if t.host.as_ref().is_empty() {
            r.add(&format!("{key}.host"), t.host.span(), "the host is empty");
        }
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
            user: t.user,
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

fn identity(r: &mut Report<'_>, raw: RawIdentity, base: &Path) -> Identity {
    let dev = raw.dev.is_some_and(|d| d.enabled);
    if !dev && raw.issuer.is_empty() {
        r.missing(
            "identity.issuer",
            "nobody could log in: name at least one [[identity.issuer]], or try Weir with \
             [identity.dev] enabled = true",
        );
    }
    let issuers = raw
        .issuer
        .into_iter()
        .enumerate()
        .map(|(i, issuer)| one_issuer(r, i, issuer, base));
    let issuers = issuers.collect();
    let actors = raw
        .actor
        .into_iter()
        .map(|a| ActorEntry {
            subject: a.subject,
            groups: a.groups,
            owner: a.owner,
            autonomous: a.autonomous,
        })
        .collect();
    Identity {
        dev,
        issuers,
        actors,
    }
}

fn one_issuer(r: &mut Report<'_>, i: usize, raw: RawIssuer, base: &Path) -> Issuer {
    let key = format!("identity.issuer[{i}]");
    check_url(r, &format!("{key}.issuer"), &raw.issuer);
    let span = raw.audience.span();
    let audiences = match raw.audience.into_inner() {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    };
    if audiences.is_empty() || audiences.iter().any(String::is_empty) {
        r.add(
            &format!("{key}.audience"),
            span,
            "a token for anybody would be accepted",
        );
    }
    let kind = match raw.kind {
        None => Kind::User,
        Some(kind) => match kind.as_ref().as_str() {
            "user" => Kind::User,
            "agent" => Kind::Agent,
            "workload" => Kind::Workload,
            other => {
                let message = format!("{other:?} is none of user, agent and workload");
                r.add(&format!("{key}.kind"), kind.span(), message);
                Kind::User
            }
        },
    };
    Issuer {
        issuer: raw.issuer.into_inner(),
        audiences,
        jwks_uri: raw.jwks_uri,
        jwks_file: raw
            .jwks_file
            .map(|p| existing(r, &format!("{key}.jwks_file"), &p, base)),
        algorithms: raw
            .algorithms
            .unwrap_or_else(|| ["ES256", "RS256", "EdDSA"].map(str::to_owned).to_vec()),
        subject_prefix: raw.subject_prefix,
        groups_claim: raw.groups_claim.unwrap_or_else(|| "groups".into()),
        kind,
        kind_claim: raw.kind_claim,
        attr_claims: raw.attr_claims,
        leeway: Duration::from_secs(
            raw.leeway_seconds
                .map_or(5, |v| within(r, &format!("{key}.leeway_seconds"), v, 0, 60)),
        ),
        max_age: raw.max_age_seconds.map(Duration::from_secs),
        token_types: raw
            .token_types
            .unwrap_or_else(|| ["at+jwt", "JWT", "none"].map(str::to_owned).to_vec()),
        ca: raw.ca.map(|p| existing(r, &format!("{key}.ca"), &p, base)),
    }
}

fn recording(r: &mut Report<'_>, raw: RawRecording, base: &Path, data_dir: &Path) -> Recording {
    let store = match raw.store {
        None => RecordingStore::Dir(data_dir.join("recordings")),
        Some(store) => {
            let span = store.span();
            match store.into_inner() {
                RawStore {
                    dir: Some(dir),
                    s3: None,
                } => RecordingStore::Dir(base.join(dir)),
                RawStore {
                    dir: None,
                    s3: Some(s3),
                } => s3_store(r, s3, span, base),
                _ => {
                    r.add("recording.store", span, "name either dir or s3");
                    RecordingStore::Dir(data_dir.join("recordings"))
                }
            }
        }
    };
    Recording {
        spool_dir: data_dir.join("spool"),
        store,
        spool_limit: raw.spool_limit_bytes.map_or(4 << 30, |v| {
            within(r, "recording.spool_limit_bytes", v, 1 << 20, 1 << 50)
        }),
        segment_bytes: raw.segment_bytes.map_or(16 << 20, |v| {
            within(r, "recording.segment_bytes", v, 64 << 10, 1 << 30)
        }),
        segment_age: Duration::from_secs(raw.segment_seconds.map_or(300, |v| {
            within(r, "recording.segment_seconds", v, 1, 86_400)
        })),
    }
}

fn s3_store(
    r: &mut Report<'_>,
    s3: RawS3,
    span: std::ops::Range<usize>,
    base: &Path,
) -> RecordingStore {
    let mut resolve = |key: &str, raw: Option<RawSecret>| {
        raw.and_then(|raw| match raw.resolve(base) {
            Ok(secret) => Some(secret),
            Err(message) => {
                r.add(&format!("recording.store.s3.{key}"), span.clone(), message);
                None
            }
        })
    };
    RecordingStore::S3 {
        access_key_id: resolve("access_key_id", s3.access_key_id),
        secret_access_key: resolve("secret_access_key", s3.secret_access_key),
        bucket: s3.bucket,
        prefix: s3.prefix,
        endpoint: s3.endpoint,
        region: s3.region.unwrap_or_else(|| "us-east-1".into()),
        allow_http: s3.allow_http,
    }
}

fn plugins(r: &mut Report<'_>, raw: Vec<RawPlugin>, base: &Path) -> Vec<Plugin> {
    let mut plugins: Vec<Plugin> = Vec::new();
    for (i, p) in raw.into_iter().enumerate() {
        let key = format!("plugin[{i}]");
        check_name(r, &format!("{key}.name"), &p.name);
        if plugins.iter().any(|other| other.name == *p.name.as_ref()) {
            r.add(
                &format!("{key}.name"),
                p.name.span(),
                "two plugins have this name",
            );
        }
        let path = existing(r, &format!("{key}.path"), &p.path, base);
        plugins.push(Plugin {
            name: p.name.into_inner(),
            path,
            config: p.config,
        });
    }
    plugins
}

/// `risk-sql`, or `risk-sql@sha256:…` for one component only.
fn required(r: &mut Report<'_>, raw: Vec<Spanned<String>>) -> Vec<Required> {
    let mut out: Vec<Required> = Vec::new();
    for (i, entry) in raw.into_iter().enumerate() {
        let key = format!("plugins.required[{i}]");
        let (name, sha256) = match entry.as_ref().split_once('@') {
            None => (entry.as_ref().clone(), None),
            Some((name, pin)) => {
                let digest = pin.strip_prefix("sha256:").unwrap_or_default();
                let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
                if digest.len() != 64 || !digest.bytes().all(lower_hex) {
                    let message = "what follows @ is not sha256: and 64 lower-case hex digits";
                    r.add(&key, entry.span(), message);
                }
                (name.to_owned(), Some(digest.to_owned()))
            }
        };
        check_name(r, &key, &Spanned::new(entry.span(), name.clone()));
        if out.iter().any(|other| other.name == name) {
            r.add(&key, entry.span(), "it is required twice");
        }
        out.push(Required { name, sha256 });
    }
    out
}

fn webhook(r: &mut Report<'_>, raw: RawWebhook, base: &Path) -> Option<Webhook> {
    check_url(r, "webhook.url", &raw.url);
    let span = raw.secret.span();
    let secret = secret(r, "webhook.secret", raw.secret, base)?;
    if !secret.expose().starts_with("whsec_") {
        r.add(
            "webhook.secret",
            span,
            "a Standard Webhooks secret starts with whsec_",
        );
    }
    Some(Webhook {
        url: raw.url.into_inner(),
        secret,
        allow_http: raw.allow_http,
        include_statement: raw.include_statement,
    })
}

// ---- values ----

fn address(r: &mut Report<'_>, key: &str, raw: &Spanned<String>) -> SocketAddr {
    raw.as_ref().parse().unwrap_or_else(|_| {
        let message = format!(
            "{:?} is not an address and port such as 127.0.0.1:5432",
            raw.as_ref()
        );
        r.add(key, raw.span(), message);
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn check_url(r: &mut Report<'_>, key: &str, raw: &Spanned<String>) {
    let url = raw.as_ref();
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    if rest.is_none_or(|host| host.is_empty() || host.contains(char::is_whitespace)) {
        r.add(
            key,
            raw.span(),
            format!("{url:?} is not an http or https URL"),
        );
    }
}

fn check_name(r: &mut Report<'_>, key: &str, raw: &Spanned<String>) {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = raw.as_ref();
    if name.is_empty() || name.len() > 63 || !name.chars().all(ok) {
        let message =
            format!("{name:?} is not a name: 1 to 63 letters, digits, dots, dashes, underscores");
        r.add(key, raw.span(), message);
    }
}

fn within<T: PartialOrd + Copy + std::fmt::Display>(
    r: &mut Report<'_>,
    key: &str,
    raw: Spanned<T>,
    min: T,
    max: T,
) -> T {
    let value = *raw.as_ref();
    if value < min || value > max {
        r.add(
            key,
            raw.span(),
            format!("{value} is not between {min} and {max}"),
        );
    }
    value
}

fn existing(r: &mut Report<'_>, key: &str, raw: &Spanned<PathBuf>, base: &Path) -> PathBuf {
    let path = base.join(raw.as_ref());
    if let Err(e) = std::fs::metadata(&path) {
        r.add(
            key,
            raw.span(),
            format!("{} cannot be read: {e}", path.display()),
        );
    }
    path
}

fn tls_files(r: &mut Report<'_>, key: &str, raw: Spanned<RawTlsFiles>, base: &Path) -> TlsFiles {
    let span = raw.span();
    let files = raw.into_inner();
    let files = TlsFiles {
        cert: base.join(files.cert),
        key: base.join(files.key),
    };
    for path in [&files.cert, &files.key] {
        if let Err(e) = std::fs::metadata(path) {
            r.add(
                key,
                span.clone(),
                format!("{} cannot be read: {e}", path.display()),
            );
        }
    }
    files
}

fn secret(r: &mut Report<'_>, key: &str, raw: Spanned<RawSecret>, base: &Path) -> Option<Secret> {
    let span = raw.span();
    match raw.into_inner().resolve(base) {
        Ok(secret) => Some(secret),
        Err(message) => {
            r.add(key, span, message);
            None
        }
    }
}
