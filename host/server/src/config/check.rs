//! Raw → typed: every value is checked, and every error names its key and line.

mod authorities;
mod delivery;
mod identity;
mod postgres;
mod ssh;
mod ssh_authority;
mod ssh_device;
mod upstream;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use tracing_subscriber::EnvFilter;

use self::delivery::deliveries;
use self::identity::identity;
use self::postgres::postgres;
use self::ssh_authority::ssh_authority;
use self::ssh_device::ssh_device;
use self::upstream::targets;
use self::values::{address, check_name, check_url, existing, secret, tls_files, within};
use super::error::{ConfigErrors, Report};
use super::raw::{
    RawApi, RawAudit, RawConfig, RawLog, RawPlugin, RawRecording, RawS3, RawSshAuthority, RawStore,
    RawVault, RawWebhook, RawWitness,
};
use super::secret::{RawSecret, Secret};
use super::{
    Api, Approvals, Audit, Config, Log, LogFormat, Plugin, PluginLimits, Recording, RecordingStore,
    Required, Retention, Vault, Webhook,
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
        if self.server.data_dir.as_ref().as_os_str().is_empty() {
            let span = self.server.data_dir.span();
            r.add("server.data_dir", span, "it names no directory");
        }
        let data_dir = base.join(self.server.data_dir.into_inner());
        base_url(r, &self.server.base_url);
        let (targets, ssh_targets) = targets(r, self.target, base);
        let identity = identity(r, self.identity, base);
        // Who logs in by SSH is known by it, and so are the gateway and its sessions on hosts.
        let serves = !self.ssh.listener.is_empty();
        let mut ssh = self.ssh;
        let authority = ssh.authority.take();
        let authority = authority.or_else(|| serves.then(RawSshAuthority::default));
        let device = ssh_device(r, ssh.device.take(), base, &identity);
        if self.postgres.listener.is_empty() && !serves {
            let message = "there is no listener, nor an ssh.listener: Weir would serve nobody";
            r.missing("postgres.listener", message);
        }
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
            postgres: postgres(r, self.postgres, base, &targets, &identity),
            ssh: ssh::ssh(r, ssh, &ssh_targets, device),
            identity,
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
            deliveries: deliveries(r, self.delivery, base),
            mask_keys: mask_keys(r, self.mask_keys, base),
            approvals: Approvals {
                max_open: self
                    .approvals
                    .max_open
                    .map_or(1_000, |v| within(r, "approvals.max_open", v, 1, 100_000)),
                max_open_per_principal: self.approvals.max_open_per_principal.map_or(10, |v| {
                    within(r, "approvals.max_open_per_principal", v, 1, 100_000)
                }),
            },
            audit: audit(r, self.audit),
            ssh_authority: authority.map(|raw| ssh_authority(r, raw, base, &data_dir)),
            targets,
            ssh_targets,
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
    let filter = match raw.filter {
        None => "info".into(),
        Some(filter) => {
            if let Err(error) = EnvFilter::builder().parse(filter.as_ref()) {
                let message = format!("{:?} is not a tracing filter: {error}", filter.as_ref());
                r.add("log.filter", filter.span(), message);
            }
            filter.into_inner()
        }
    };
    Log { format, filter }
}

/// What `Control` will be told, and links in notices begin with.
fn base_url(r: &mut Report<'_>, raw: &Spanned<String>) {
    if check_url(r, "server.base_url", raw)
        && let Err(error) = control::check_base_url(raw.as_ref())
    {
        r.add("server.base_url", raw.span(), error.to_string());
    }
}

fn audit(r: &mut Report<'_>, raw: RawAudit) -> Option<Audit> {
    let days = |v| within(r, "audit.keep_days", v, 1, 36_500);
    let keep = Duration::from_secs(raw.keep_days.map_or(400, days) * 24 * 3_600);
    let bytes = |v| within(r, "audit.max_bytes", v, 16 << 20, 1 << 50);
    let max_bytes = raw.max_bytes.map_or(20 << 30, bytes);
    raw.index
        .unwrap_or(true)
        .then_some(Audit { keep, max_bytes })
}

fn mask_keys(
    r: &mut Report<'_>,
    raw: BTreeMap<String, Spanned<RawSecret>>,
    base: &Path,
) -> BTreeMap<String, Secret> {
    let mut out = BTreeMap::new();
    for (name, raw) in raw {
        let key = format!("mask_keys.{name}");
        let span = raw.span();
        let Some(secret) = secret(r, &key, raw, base) else {
            continue;
        };
        let named = [(name.clone(), secret.expose().as_bytes().to_vec())];
        if let Err(error) = pipeline::mask::MaskKeys::new(named) {
            r.add(&key, span, error.to_string());
        }
        out.insert(name, secret);
    }
    out
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

/// The longest retention, 100 years: nothing could shorten a mistake.
const MAX_RETENTION_DAYS: u64 = 36_500;

fn recording(r: &mut Report<'_>, raw: RawRecording, base: &Path, data_dir: &Path) -> Recording {
    let store = match raw.store {
        None => RecordingStore::Dir(data_dir.join("recordings")),
        Some(store) => {
            let span = store.span();
            let RawStore { dir, s3 } = store.into_inner();
            let place = recording_place(r, "recording.store", dir, s3, span, base);
            place.unwrap_or_else(|| RecordingStore::Dir(data_dir.join("recordings")))
        }
    };
    let vault = raw.vault.and_then(|vault| recording_vault(r, vault, base));
    Recording {
        spool_dir: data_dir.join("spool"),
        store,
        vault,
        spool_limit: raw.spool_limit_bytes.map_or(4 << 30, |v| {
            within(r, "recording.spool_limit_bytes", v, 1 << 20, 1 << 50)
        }),
        segment_bytes: raw.segment_bytes.map_or(16 << 20, |v| {
            within(r, "recording.segment_bytes", v, 64 << 10, 1 << 30)
        }),
        segment_age: Duration::from_secs(raw.segment_seconds.map_or(300, |v| {
            within(r, "recording.segment_seconds", v, 1, 86_400)
        })),
        log_name: raw
            .log_name
            .map_or("weir".to_owned(), |name| log_name(r, name)),
        key_dir: raw
            .key_dir
            .map_or(data_dir.join("keys"), |dir| base.join(dir)),
        trusted_log_keys: trusted_log_keys(r, raw.trusted_log_keys),
        witnesses: witnesses(r, raw.witnesses),
        wrap_keys: wrap_keys(r, raw.wrap_keys, base),
    }
}

/// Each signature of a log is tried with each of them.
const MAX_LOG_KEYS: usize = 256;

fn trusted_log_keys(r: &mut Report<'_>, raw: Vec<Spanned<String>>) -> Vec<recorder::TrustedKey> {
    let mut keys = Vec::new();
    for (n, key) in raw.into_iter().enumerate() {
        let name = format!("recording.trusted_log_keys[{n}]");
        if n == MAX_LOG_KEYS {
            r.add(&name, key.span(), format!("at most {MAX_LOG_KEYS} keys"));
            break;
        }
        match key.as_ref().parse::<recorder::TrustedKey>() {
            Ok(key) => keys.push(key),
            Err(error) => r.add(&name, key.span(), error.to_string()),
        }
    }
    keys
}

/// Nobody needs more, and each is asked every time.
const MAX_WITNESSES: usize = 16;

fn witnesses(r: &mut Report<'_>, raw: Vec<RawWitness>) -> Vec<recorder::WitnessOptions> {
    let mut out: Vec<recorder::WitnessOptions> = Vec::new();
    for (n, witness) in raw.into_iter().enumerate() {
        let at = |field: &str| format!("recording.witnesses[{n}].{field}");
        if n == MAX_WITNESSES {
            let what = format!("more than {MAX_WITNESSES} witnesses");
            r.add(&at("url"), witness.url.span(), what);
        }
        let good = check_url(r, &at("url"), &witness.url);
        let url = witness.url.as_ref().trim_end_matches('/').to_owned();
        if good && url.contains(['?', '#', '@']) {
            let what = "what its paths begin with, without a user, ? and #";
            r.add(&at("url"), witness.url.span(), what);
        }
        match witness.key.as_ref().parse::<recorder::WitnessKey>() {
            Ok(key) if out.iter().any(|w| w.key.name() == key.name()) => {
                let what = format!("there is a witness {:?} already", key.name());
                r.add(&at("key"), witness.key.span(), what);
            }
            Ok(key) => out.push(recorder::WitnessOptions { url, key }),
            Err(error) => r.add(&at("key"), witness.key.span(), error.to_string()),
        }
    }
    out
}

/// More wrapping keys are a mistake.
const MAX_WRAP_KEYS: usize = 64;

fn wrap_keys(r: &mut Report<'_>, raw: Vec<Spanned<RawSecret>>, base: &Path) -> Vec<Secret> {
    let mut keys = Vec::new();
    for (n, key) in raw.into_iter().enumerate() {
        let name = format!("recording.wrap_keys[{n}]");
        let span = key.span();
        if n == MAX_WRAP_KEYS {
            r.add(&name, span, format!("at most {MAX_WRAP_KEYS} keys"));
            break;
        }
        let Some(secret) = secret(r, &name, key, base) else {
            continue;
        };
        if let Err(error) = recorder::LocalKeys::parse([secret.expose()]) {
            r.add(&name, span, error.to_string());
        }
        keys.push(secret);
    }
    keys
}

fn recording_place(
    r: &mut Report<'_>,
    key: &str,
    dir: Option<PathBuf>,
    s3: Option<RawS3>,
    span: std::ops::Range<usize>,
    base: &Path,
) -> Option<RecordingStore> {
    match (dir, s3) {
        (Some(dir), None) => Some(RecordingStore::Dir(base.join(dir))),
        (None, Some(s3)) => Some(s3_store(r, key, s3, span, base)),
        _ => {
            r.add(key, span, "name either dir or s3");
            None
        }
    }
}

fn recording_vault(r: &mut Report<'_>, vault: Spanned<RawVault>, base: &Path) -> Option<Vault> {
    let span = vault.span();
    let RawVault { dir, s3, retention } = vault.into_inner();
    if let (Some(_), Some(_)) = (&dir, &retention) {
        let what =
            "a directory cannot lock what it keeps: leave retention out, or name a bucket (s3)";
        r.add("recording.vault.retention", span.clone(), what);
    }
    let store = recording_place(r, "recording.vault", dir, s3, span, base)?;
    let retention = retention.map(|raw| {
        let days = within(
            r,
            "recording.vault.retention.days",
            raw.days,
            1,
            MAX_RETENTION_DAYS,
        );
        let compliance = match raw.mode.as_ref().as_str() {
            "compliance" => true,
            "governance" => false,
            _ => {
                let what =
                    "governance (a special permission may shorten it) or compliance (nobody can)";
                r.add("recording.vault.retention.mode", raw.mode.span(), what);
                false
            }
        };
        Retention {
            compliance,
            days: u32::try_from(days).unwrap_or(u32::MAX),
        }
    });
    Some(Vault { store, retention })
}

/// The name of a key in C2SP signed-note, with room for what makes it one log's.
fn log_name(r: &mut Report<'_>, name: Spanned<String>) -> String {
    let span = name.span();
    let name = name.into_inner();
    let wrong = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > 200 || name.ends_with('/') || name.contains(wrong) {
        let what = "at most 200 characters without spaces and +, such as weir.example.com/prod";
        r.add("recording.log_name", span, what);
    }
    name
}

fn s3_store(
    r: &mut Report<'_>,
    place: &str,
    s3: RawS3,
    span: std::ops::Range<usize>,
    base: &Path,
) -> RecordingStore {
    let mut resolve = |key: &str, raw: Option<RawSecret>| {
        raw.and_then(|raw| match raw.resolve(base) {
            Ok(secret) => Some(secret),
            Err(message) => {
                r.add(&format!("{place}.s3.{key}"), span.clone(), message);
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
    if check_url(r, "webhook.url", &raw.url)
        && let Err(error) = control::check_webhook_url(raw.url.as_ref(), raw.allow_http)
    {
        r.add("webhook.url", raw.url.span(), error.to_string());
    }
    let mut secrets = Vec::new();
    for (key, raw) in [
        ("webhook.secret", Some(raw.secret)),
        ("webhook.previous_secret", raw.previous_secret),
    ] {
        let Some(raw) = raw else { continue };
        let span = raw.span();
        let secret = secret(r, key, raw, base)?;
        if let Err(error) = control::check_webhook_secret(secret.expose()) {
            r.add(key, span, error.to_string());
        }
        secrets.push(secret);
    }
    Some(Webhook {
        url: raw.url.into_inner(),
        secrets,
        allow_http: raw.allow_http,
        include_statement: raw.include_statement,
    })
}
