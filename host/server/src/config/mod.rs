//! The configuration: raw TOML → typed → used. A bad value is an error that names its key and line;
//! nothing falls back silently, and nothing is bound or dialled before all of it is checked.

mod check;
mod error;
mod raw;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use identity::{ActorConfig, AuthorityConfig, IssuerConfig};
use proto_pg::{ClientLogin, OAuth};

pub use error::{ConfigError, ConfigErrors};
pub use secret::Secret;

/// Everything that `weir serve` needs to know.
#[derive(Debug)]
pub struct Config {
    pub data_dir: PathBuf,
    /// Where people reach the API and the approval pages; links in notices start with it.
    pub base_url: String,
    pub log: Log,
    pub drain: Duration,
    pub api: Api,
    pub postgres: Postgres,
    pub ssh: Ssh,
    /// PostgreSQL servers.
    pub targets: Vec<Target>,
    /// SSH hosts.
    pub ssh_targets: Vec<SshTarget>,
    pub identity: Identity,
    pub recording: Recording,
    /// A bundle directory to start with; the embedded default bundle otherwise.
    pub bundle_dir: Option<PathBuf>,
    pub plugins: Vec<Plugin>,
    pub plugin_limits: PluginLimits,
    pub webhook: Option<Webhook>,
    /// Who is sent the record as events.
    pub deliveries: Vec<Delivery>,
    pub mask_keys: BTreeMap<String, Secret>,
    pub approvals: Approvals,
    /// None: the record cannot be searched.
    pub audit: Option<Audit>,
    /// None: no certificates for SSH.
    pub ssh_authority: Option<SshAuthority>,
}

/// Who signs certificates for SSH.
#[derive(Debug)]
pub struct SshAuthority {
    pub options: identity::SshAuthorityOptions,
    /// Certificates of callers count from anywhere, not only from where they were asked for.
    pub any_source: bool,
    /// By which clients know the gateway.
    pub host_names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone)]
pub struct Log {
    pub format: LogFormat,
    /// A `tracing` filter such as `info,proto_pg=debug`.
    pub filter: String,
}

#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug)]
pub struct Api {
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub max_connections: usize,
    /// From one address. A proxy in front of Weir counts as one source: with one, both limits
    /// should be the same.
    pub max_connections_per_source: usize,
}

#[derive(Debug)]
pub struct Postgres {
    pub listeners: Vec<PgListener>,
    pub hold_heartbeat: Duration,
    /// How long a statement may be held while its transaction is open.
    pub hold_in_transaction: Duration,
    pub max_query_bytes: usize,
}

#[derive(Debug, Clone)]
pub struct PgListener {
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    /// Serve this one target whatever database the client names.
    pub target: Option<String>,
    /// Take tokens over plaintext from other machines. Only for tests behind another tunnel.
    pub allow_plaintext_tokens: bool,
    pub max_connections: usize,
    /// Networks of load balancers that speak the PROXY protocol.
    pub proxy_protocol_from: Vec<net::IpNet>,
    /// How clients prove who they are, in the order of preference.
    pub logins: Vec<ClientLogin>,
    pub oauth: Option<OAuth>,
    /// The authority whose clients' certificates are taken, by name.
    pub certificates: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamTls {
    Disable,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamAuth {
    ScramSha256,
    ScramSha256Plus,
    Md5,
    Cleartext,
    None,
}

#[derive(Debug)]
pub struct Target {
    pub name: String,
    pub env: String,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<Secret>,
    /// Databases a client may name; any when empty.
    pub databases: Vec<String>,
    pub tls: UpstreamTls,
    pub tls_ca: Option<PathBuf>,
    /// The certificate by which we show who we are, and its key.
    pub tls_identity: Option<(PathBuf, PathBuf)>,
    /// TLS from the first byte on.
    pub direct_tls: bool,
    pub auth: Vec<UpstreamAuth>,
    /// The logins that its clients may use; any of their listener's when empty.
    pub client_logins: Vec<ClientLogin>,
    pub protocol_3_2: bool,
    pub cancel_by_pid: bool,
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug)]
pub struct Ssh {
    pub listeners: Vec<SshListener>,
    pub device: Option<SshDevice>,
    /// None: nobody comes in by a key alone.
    pub registered_keys: Option<RegisteredKeys>,
}

/// Where those log in who come to the prompt of SSH with nothing in their hands.
#[derive(Debug)]
pub struct SshDevice {
    /// One of [`Identity::issuers`].
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Option<Secret>,
    pub scope: String,
    pub audience: Option<String>,
    /// The issuer's.
    pub ca_file: Option<PathBuf>,
    /// How long somebody may take to agree.
    pub wait: Duration,
}

/// Public keys that people register to come in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegisteredKeys {
    /// For how long one counts at most: whoever comes in by it has the groups of when it was registered.
    pub validity: Duration,
    pub per_person: u32,
}

#[derive(Debug, Clone)]
pub struct SshListener {
    pub listen: SocketAddr,
    /// Every connection goes to this target, whatever its user name says.
    pub target: Option<String>,
    /// How clients prove who they are.
    pub logins: Vec<proto_ssh::ClientLogin>,
    pub banner: Option<String>,
    pub max_connections: usize,
    /// Networks of load balancers that speak the PROXY protocol.
    pub proxy_protocol_from: Vec<net::IpNet>,
}

#[derive(Debug)]
pub struct SshTarget {
    pub name: String,
    pub env: String,
    pub host: String,
    pub port: u16,
    /// Logins that clients may ask for, compared to the letter; any when empty.
    pub logins: Vec<String>,
    pub default_login: Option<String>,
    pub credential: SshCredential,
    pub host_keys: Vec<ssh_keys::PublicKey>,
    /// Its key counts once somebody has approved it.
    pub host_keys_by_approval: bool,
    pub host_authorities: Vec<ssh_keys::PublicKey>,
    /// The name that a host's certificate must hold; the target's own name if none.
    pub host_principal: Option<String>,
    pub binary: proto_ssh::Binary,
    pub tags: BTreeMap<String, String>,
}

/// How we prove to a host who we are.
#[derive(Debug)]
pub enum SshCredential {
    /// A key for one session, with a certificate of minutes from Weir's own authority.
    Certificate,
    Key(std::sync::Arc<ssh_keys::PrivateKey>),
    Password(Secret),
}

/// Put before the subjects of the development issuer when there are real ones.
pub(crate) const DEV_SUBJECT_PREFIX: &str = "dev:";

#[derive(Debug)]
pub struct Identity {
    /// The embedded development issuer. Whoever can read its key directory can be anybody.
    pub dev: bool,
    pub issuers: Vec<IssuerConfig>,
    /// What is known about agents and workloads besides their tokens.
    pub actors: Vec<ActorConfig>,
    pub authorities: Vec<Authority>,
}

/// Whose client certificates are taken.
#[derive(Debug)]
pub struct Authority {
    pub config: AuthorityConfig,
    pub ca: PathBuf,
    pub crl: Option<PathBuf>,
}

#[derive(Debug)]
pub enum RecordingStore {
    Dir(PathBuf),
    S3 {
        bucket: String,
        prefix: String,
        endpoint: Option<String>,
        region: String,
        access_key_id: Option<Secret>,
        secret_access_key: Option<Secret>,
        allow_http: bool,
    },
}

/// Where what is final is recorded, apart from the rest.
#[derive(Debug)]
pub struct Vault {
    pub store: RecordingStore,
    pub retention: Option<Retention>,
}

/// How a vault locks what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Nobody may shorten it; otherwise somebody with a special permission may.
    pub compliance: bool,
    pub days: u32,
}

#[derive(Debug)]
pub struct Recording {
    pub spool_dir: PathBuf,
    pub store: RecordingStore,
    pub vault: Option<Vault>,
    pub spool_limit: u64,
    pub segment_bytes: u64,
    pub segment_age: Duration,
    /// What the names of this Weir's transparency logs begin with.
    pub log_name: String,
    /// Where the keys of the logs are, and are made.
    pub key_dir: PathBuf,
    /// Keys of logs that are believed besides its own: those that it had before, and those of other Weirs that
    /// write to the store.
    pub trusted_log_keys: Vec<recorder::TrustedKey>,
    /// Who is asked to sign the checkpoints of the registry of logs.
    pub witnesses: Vec<recorder::WitnessOptions>,
    /// What wraps the keys of recordings: the first; the others unwrap what they wrapped. None named: a
    /// key in `key_dir`.
    pub wrap_keys: Vec<Secret>,
}

#[derive(Debug, Clone)]
pub struct Plugin {
    pub name: String,
    pub path: PathBuf,
    pub config: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub struct PluginLimits {
    pub memory_bytes: Option<u64>,
    pub deadline: Option<Duration>,
    /// Plugins that must be loaded; while one is missing, what it would do fails closed.
    pub required: Vec<Required>,
}

/// A plugin that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required {
    pub name: String,
    /// The one component that counts, in hex; any of this name when absent.
    pub sha256: Option<String>,
}

#[derive(Debug)]
pub struct Webhook {
    pub url: String,
    /// The present one, and the one that is being retired.
    pub secrets: Vec<Secret>,
    pub allow_http: bool,
    pub include_statement: bool,
}

/// A receiver of the record.
#[derive(Debug)]
pub struct Delivery {
    /// Files are named after it.
    pub name: String,
    pub to: DeliveryTo,
    pub tls: DeliveryTls,
    pub batch_events: usize,
    pub batch_bytes: usize,
}

#[derive(Debug)]
pub enum DeliveryTo {
    Webhook {
        url: String,
        /// The present one, and the one that is being retired.
        secrets: Vec<Secret>,
    },
    Syslog {
        host: String,
        port: u16,
        server_name: Option<String>,
        max_message: usize,
        /// An end of the connection without `close_notify` counts, too.
        trust_unclean_end: bool,
    },
    Otlp {
        /// Without `/v1/logs`.
        url: String,
        token: Option<Secret>,
        /// What the token is sent in; without it, as a bearer token.
        token_header: Option<String>,
    },
}

#[derive(Debug)]
pub struct DeliveryTls {
    /// The only authorities that are trusted; those of the system if none.
    pub ca: Option<PathBuf>,
    /// The certificate by which we show who we are, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone)]
pub struct Approvals {
    pub max_open: usize,
    pub max_open_per_principal: usize,
}

/// What the index of the record keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    pub keep: Duration,
    pub max_bytes: u64,
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to its directory.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| ConfigErrors::whole_file(path, format!("cannot be read: {e}")))?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(path, &text, base)
    }

    /// Checks a configuration text.
    pub fn parse(path: &Path, text: &str, base: &Path) -> Result<Self, ConfigErrors> {
        let raw = raw::RawConfig::parse(path, text)?;
        raw.check(path, text, base)
    }
}
