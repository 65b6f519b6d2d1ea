//! What a [`PgService`](crate::PgService) is made of. Everything here is typed and checked before a
//! port is bound.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pipeline::Ports;
use pipeline::mask::MaskKeys;

use crate::startup::Authenticate;

/// Text that is never printed: a target's password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How we may prove to an upstream who we are. What the upstream asks for and is not in the target's
/// list is refused: a hostile server cannot talk us into sending the password in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    ScramSha256,
    Md5,
    /// The password itself, over TLS or not.
    Cleartext,
    /// The server lets us in without asking (trust, peer, client certificate).
    None,
}

impl AuthMethod {
    pub const DEFAULT: &'static [AuthMethod] = &[AuthMethod::ScramSha256];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScramSha256 => "scram-sha-256",
            Self::Md5 => "md5",
            Self::Cleartext => "password",
            Self::None => "none",
        }
    }

    /// By the words of libpq's `require_auth`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::ScramSha256, Self::Md5, Self::Cleartext, Self::None]
            .into_iter()
            .find(|m| m.as_str() == text)
    }
}

/// One upstream server, with the credential that only it owns.
#[derive(Clone)]
pub struct PgTarget {
    pub info: Arc<pipeline::Target>,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<Secret>,
    /// The database for clients that name none.
    pub default_database: Option<Arc<str>>,
    /// Databases that clients may ask for; empty means any.
    pub databases: Vec<Arc<str>>,
    pub tls: net::ClientTls,
    pub require_auth: Vec<AuthMethod>,
}

impl fmt::Debug for PgTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgTarget")
            .field("name", &self.info.name)
            .finish_non_exhaustive()
    }
}

/// One port that clients connect to.
#[derive(Clone)]
pub struct PgListener {
    pub listen: net::ListenerOptions,
    /// Load it with ALPN `postgresql` (or none): libpq 17 and later offer it.
    pub tls: Option<net::Tls>,
    /// Every connection goes to this target, and `database` is the upstream's database name.
    /// Without it, clients connect to `database=<target>/<database>`.
    pub target: Option<Arc<str>>,
    /// Accept tokens over connections without TLS that do not come from this machine.
    pub allow_plaintext_tokens: bool,
}

/// Every bound of this crate, by name.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections that have not authenticated yet, over all listeners and from one address.
    pub max_unauthenticated: usize,
    pub max_unauthenticated_per_source: usize,
    /// From accept to a verified token, TLS included (`authentication_timeout` of PostgreSQL).
    pub login_timeout: Duration,
    /// How long a client with a wrong token waits for the answer.
    pub failed_login_delay: Duration,
    /// For the upstream: dial, TLS, login and the first `ReadyForQuery`.
    pub upstream_login_timeout: Duration,
    /// Bytes of one Query or Parse message.
    pub max_query: usize,
    /// Bytes of one Bind or CopyData message.
    pub max_data: usize,
    /// Bytes of one message from the upstream that must be looked at as a whole.
    pub max_reply: usize,
    /// Prepared statements, and portals, of one session.
    pub max_names: usize,
    /// Messages in flight to the upstream that it has not answered.
    pub max_in_flight: usize,
    /// What a client may send ahead while one of its statements is held.
    pub max_ahead: usize,
    pub hold_heartbeat: Duration,
    /// A hold inside an open transaction keeps locks: it lasts no longer than this.
    pub hold_in_transaction: Duration,
    /// A catalogue snapshot is read again after this time, for changes made behind our back.
    pub catalog_ttl: Duration,
    pub catalog_timeout: Duration,
    pub max_catalog_rows: usize,
    pub max_catalog_bytes: usize,
    /// For the last words to a client, or to an upstream, that does not read.
    pub farewell: Duration,
    pub analysis: crate::analysis::Limits,
    /// Texts with more bytes are analysed aside from the threads that serve sessions, and only so many
    /// of them at once, over all sessions.
    pub inline_text: usize,
    pub max_large_analyses: usize,
    /// Bytes of texts and values behind the named prepared statements and portals of one session.
    pub max_named_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_unauthenticated: 1_000,
            max_unauthenticated_per_source: 100,
            login_timeout: Duration::from_secs(60),
            failed_login_delay: Duration::from_millis(500),
            upstream_login_timeout: Duration::from_secs(20),
            max_query: 16 << 20,
            max_data: 64 << 20,
            max_reply: 64 << 20,
            max_names: 10_000,
            max_in_flight: 16_384,
            max_ahead: 1 << 20,
            hold_heartbeat: Duration::from_secs(10),
            hold_in_transaction: Duration::from_secs(30),
            catalog_ttl: Duration::from_secs(60),
            catalog_timeout: Duration::from_secs(30),
            max_catalog_rows: 2_000_000,
            max_catalog_bytes: 512 << 20,
            farewell: Duration::from_secs(2),
            analysis: crate::analysis::Limits::default(),
            inline_text: 16 << 10,
            max_large_analyses: 4,
            max_named_bytes: 128 << 20,
        }
    }
}

/// Everything a [`PgService`](crate::PgService) needs.
#[derive(Clone)]
pub struct Options {
    pub listeners: Vec<PgListener>,
    pub targets: Vec<PgTarget>,
    pub ports: Ports,
    pub auth: Arc<dyn Authenticate>,
    pub mask_keys: MaskKeys,
    pub limits: Limits,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("two targets are named {0:?}")]
    DuplicateTarget(Arc<str>),
    #[error("target name {0:?} must not be empty and must not contain '/'")]
    TargetName(Arc<str>),
    #[error("listener {listener:?} is bound to target {target:?}, which does not exist")]
    UnknownTarget { listener: String, target: Arc<str> },
    #[error(
        "target {target:?} has no password, but its auth list has only methods that need one; \
         give it a password or allow \"none\""
    )]
    NoPassword { target: Arc<str> },
    #[error("target {0:?}: the auth list is empty, so no login could succeed")]
    NoAuth(Arc<str>),
    #[error(transparent)]
    Bind(#[from] net::BindError),
}

/// Checks what the types cannot.
pub(crate) fn check(options: &Options) -> Result<(), BuildError> {
    for (i, target) in options.targets.iter().enumerate() {
        let name = &target.info.name;
        if name.is_empty() || name.contains('/') {
            return Err(BuildError::TargetName(name.clone()));
        }
        if options.targets.iter().take(i).any(|t| t.info.name == *name) {
            return Err(BuildError::DuplicateTarget(name.clone()));
        }
        if target.require_auth.is_empty() {
            return Err(BuildError::NoAuth(name.clone()));
        }
        if target.password.is_none() && !target.require_auth.contains(&AuthMethod::None) {
            return Err(BuildError::NoPassword {
                target: name.clone(),
            });
        }
    }
    for listener in &options.listeners {
        if let Some(target) = &listener.target
            && !options.targets.iter().any(|t| t.info.name == *target)
        {
            return Err(BuildError::UnknownTarget {
                listener: listener.listen.name.clone(),
                target: target.clone(),
            });
        }
    }
    Ok(())
}
