//! The configuration as written: what TOML must look like.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, ConfigErrors, line_of};
use super::secret::RawSecret;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) server: RawServer,
    #[serde(default)]
    pub(super) log: RawLog,
    pub(super) api: RawApi,
    #[serde(default)]
    pub(super) postgres: RawPostgres,
    #[serde(default)]
    pub(super) ssh: RawSsh,
    #[serde(default)]
    pub(super) target: Vec<RawTarget>,
    pub(super) identity: RawIdentity,
    #[serde(default)]
    pub(super) recording: RawRecording,
    #[serde(default)]
    pub(super) policy: RawPolicy,
    #[serde(default)]
    pub(super) plugin: Vec<RawPlugin>,
    #[serde(default)]
    pub(super) plugins: RawPlugins,
    pub(super) webhook: Option<RawWebhook>,
    #[serde(default)]
    pub(super) delivery: Vec<RawDelivery>,
    #[serde(default)]
    pub(super) mask_keys: BTreeMap<String, Spanned<RawSecret>>,
    #[serde(default)]
    pub(super) approvals: RawApprovals,
    #[serde(default)]
    pub(super) audit: RawAudit,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSshAuthority {
    pub(super) caller_key: Option<Spanned<PathBuf>>,
    pub(super) target_key: Option<Spanned<PathBuf>>,
    pub(super) host_ca_key: Option<Spanned<PathBuf>>,
    pub(super) host_key: Option<Spanned<PathBuf>>,
    pub(super) certificate_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) any_source: bool,
    #[serde(default)]
    pub(super) host_names: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) revoked: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    pub(super) data_dir: Spanned<PathBuf>,
    pub(super) base_url: Spanned<String>,
    pub(super) drain_seconds: Option<Spanned<u64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) format: Option<Spanned<String>>,
    pub(super) filter: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTlsFiles {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApi {
    pub(super) listen: Spanned<String>,
    pub(super) tls: Option<Spanned<RawTlsFiles>>,
    #[serde(default)]
    pub(super) allow_plaintext: bool,
    pub(super) max_connections: Option<Spanned<usize>>,
    pub(super) max_connections_per_source: Option<Spanned<usize>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPostgres {
    #[serde(default)]
    pub(super) listener: Vec<RawPgListener>,
    pub(super) hold_heartbeat_seconds: Option<Spanned<u64>>,
    pub(super) hold_in_transaction_seconds: Option<Spanned<u64>>,
    pub(super) max_query_bytes: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPgListener {
    pub(super) listen: Spanned<String>,
    pub(super) tls: Option<Spanned<RawTlsFiles>>,
    pub(super) target: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) allow_plaintext_tokens: bool,
    pub(super) max_connections: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) proxy_protocol_from: Vec<Spanned<String>>,
    pub(super) auth: Option<Spanned<OneOrMany>>,
    pub(super) oauth: Option<Spanned<RawOAuth>>,
    pub(super) client_certificates: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOAuth {
    pub(super) issuer: Option<Spanned<String>>,
    pub(super) scope: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTarget {
    pub(super) name: Spanned<String>,
    pub(super) protocol: Spanned<String>,
    pub(super) env: Spanned<String>,
    pub(super) host: Spanned<String>,
    pub(super) port: Option<Spanned<u16>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) password: Option<Spanned<RawSecret>>,
    pub(super) databases: Option<Spanned<Vec<String>>>,
    pub(super) tls: Option<Spanned<String>>,
    pub(super) tls_ca: Option<Spanned<PathBuf>>,
    pub(super) tls_cert: Option<Spanned<PathBuf>>,
    pub(super) tls_key: Option<Spanned<PathBuf>>,
    pub(super) tls_negotiation: Option<Spanned<String>>,
    pub(super) auth: Option<Spanned<Vec<String>>>,
    pub(super) client_auth: Option<Spanned<OneOrMany>>,
    pub(super) max_protocol: Option<Spanned<String>>,
    pub(super) cancel_by_pid: Option<Spanned<bool>>,
    pub(super) logins: Option<Spanned<Vec<String>>>,
    pub(super) default_login: Option<Spanned<String>>,
    pub(super) key: Option<Spanned<RawSecret>>,
    pub(super) host_keys: Option<Spanned<Vec<String>>>,
    pub(super) host_key: Option<Spanned<String>>,
    pub(super) host_authorities: Option<Spanned<Vec<String>>>,
    pub(super) host_principal: Option<Spanned<String>>,
    pub(super) binary: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSsh {
    #[serde(default)]
    pub(super) listener: Vec<RawSshListener>,
    pub(super) authority: Option<RawSshAuthority>,
    pub(super) device: Option<Spanned<RawSshDevice>>,
    pub(super) registered_keys: Option<Spanned<RawRegisteredKeys>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSshDevice {
    pub(super) issuer: Option<Spanned<String>>,
    pub(super) client_id: Spanned<String>,
    pub(super) client_secret: Option<Spanned<RawSecret>>,
    pub(super) scope: Option<Spanned<String>>,
    pub(super) audience: Option<Spanned<String>>,
    pub(super) wait_seconds: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRegisteredKeys {
    pub(super) max_hours: Option<Spanned<u64>>,
    pub(super) per_person: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSshListener {
    pub(super) listen: Spanned<String>,
    pub(super) target: Option<Spanned<String>>,
    pub(super) auth: Option<Spanned<OneOrMany>>,
    pub(super) banner: Option<Spanned<String>>,
    pub(super) max_connections: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) proxy_protocol_from: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdentity {
    pub(super) dev: Option<RawDev>,
    #[serde(default)]
    pub(super) issuer: Vec<RawIssuer>,
    #[serde(default)]
    pub(super) actor: Vec<RawActor>,
    #[serde(default)]
    pub(super) certificates: Vec<RawAuthority>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuthority {
    pub(super) name: Spanned<String>,
    pub(super) ca: Spanned<PathBuf>,
    pub(super) crl: Option<Spanned<PathBuf>>,
    pub(super) subject_prefix: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) shared_subjects: bool,
    pub(super) max_session_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) rule: Vec<Spanned<RawRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) uri: Option<String>,
    pub(super) email: Option<String>,
    pub(super) dns: Option<String>,
    pub(super) cn: Option<String>,
    pub(super) kind: Spanned<String>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDev {
    pub(super) enabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIssuer {
    pub(super) issuer: Spanned<String>,
    pub(super) audience: Spanned<OneOrMany>,
    pub(super) jwks_uri: Option<Spanned<String>>,
    pub(super) jwks_file: Option<Spanned<PathBuf>>,
    pub(super) algorithms: Option<Vec<Spanned<String>>>,
    pub(super) subject_prefix: Option<Spanned<String>>,
    pub(super) group_prefix: Option<Spanned<String>>,
    pub(super) allowed_groups: Option<Vec<String>>,
    #[serde(default)]
    pub(super) shared_groups: bool,
    pub(super) subject_claim: Option<Spanned<String>>,
    pub(super) groups_claim: Option<Spanned<String>>,
    pub(super) kind: Option<Spanned<String>>,
    pub(super) service_accounts: Option<Spanned<String>>,
    pub(super) kind_claim: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) attr_claims: Vec<String>,
    pub(super) mfa_amr: Option<Vec<String>>,
    #[serde(default)]
    pub(super) mfa_acr: Vec<String>,
    pub(super) leeway_seconds: Option<Spanned<u64>>,
    pub(super) max_age_seconds: Option<Spanned<u64>>,
    pub(super) token_types: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) accept_unmarked_tokens: bool,
    pub(super) ca: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawActor {
    pub(super) subject: Spanned<String>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
    pub(super) owner: Option<Spanned<String>>,
    pub(super) kind: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) autonomous: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRecording {
    pub(super) store: Option<Spanned<RawStore>>,
    pub(super) vault: Option<Spanned<RawVault>>,
    pub(super) spool_limit_bytes: Option<Spanned<u64>>,
    pub(super) segment_bytes: Option<Spanned<u64>>,
    pub(super) segment_seconds: Option<Spanned<u64>>,
    pub(super) log_name: Option<Spanned<String>>,
    pub(super) key_dir: Option<PathBuf>,
    #[serde(default)]
    pub(super) trusted_log_keys: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) witnesses: Vec<RawWitness>,
    #[serde(default)]
    pub(super) wrap_keys: Vec<Spanned<RawSecret>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWitness {
    pub(super) url: Spanned<String>,
    pub(super) key: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    pub(super) dir: Option<PathBuf>,
    pub(super) s3: Option<RawS3>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVault {
    pub(super) dir: Option<PathBuf>,
    pub(super) s3: Option<RawS3>,
    pub(super) retention: Option<RawRetention>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetention {
    pub(super) mode: Spanned<String>,
    pub(super) days: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawS3 {
    pub(super) bucket: String,
    #[serde(default)]
    pub(super) prefix: String,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) access_key_id: Option<RawSecret>,
    pub(super) secret_access_key: Option<RawSecret>,
    #[serde(default)]
    pub(super) allow_http: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    pub(super) bundle: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlugin {
    pub(super) name: Spanned<String>,
    pub(super) path: Spanned<PathBuf>,
    #[serde(default)]
    pub(super) config: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlugins {
    pub(super) memory_bytes: Option<Spanned<u64>>,
    pub(super) deadline_ms: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) required: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebhook {
    pub(super) url: Spanned<String>,
    pub(super) secret: Spanned<RawSecret>,
    pub(super) previous_secret: Option<Spanned<RawSecret>>,
    #[serde(default)]
    pub(super) allow_http: bool,
    #[serde(default = "yes")]
    pub(super) include_statement: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDelivery {
    pub(super) name: Spanned<String>,
    pub(super) kind: Spanned<String>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) secret: Option<Spanned<RawSecret>>,
    pub(super) previous_secret: Option<Spanned<RawSecret>>,
    pub(super) allow_http: Option<Spanned<bool>>,
    pub(super) token: Option<Spanned<RawSecret>>,
    pub(super) token_header: Option<Spanned<String>>,
    pub(super) address: Option<Spanned<String>>,
    pub(super) server_name: Option<Spanned<String>>,
    pub(super) max_message_bytes: Option<Spanned<usize>>,
    pub(super) trust_unclean_end: Option<Spanned<bool>>,
    pub(super) tls_ca: Option<Spanned<PathBuf>>,
    pub(super) tls_cert: Option<Spanned<PathBuf>>,
    pub(super) tls_key: Option<Spanned<PathBuf>>,
    pub(super) batch_events: Option<Spanned<usize>>,
    pub(super) batch_bytes: Option<Spanned<usize>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApprovals {
    pub(super) max_open: Option<Spanned<usize>>,
    pub(super) max_open_per_principal: Option<Spanned<usize>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAudit {
    pub(super) index: Option<bool>,
    pub(super) keep_days: Option<Spanned<u64>>,
    pub(super) max_bytes: Option<Spanned<u64>>,
}

fn yes() -> bool {
    true
}

impl RawConfig {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, ConfigErrors> {
        toml::from_str(text).map_err(|e| {
            ConfigErrors(vec![ConfigError {
                file: path.into(),
                line: e.span().map(|s| line_of(text, s.start)),
                key: String::new(),
                message: e.message().to_owned(),
            }])
        })
    }
}
