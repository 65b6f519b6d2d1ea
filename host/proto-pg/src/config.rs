//! What a [`PgService`](crate::PgService) is made of. Everything here is typed and checked before a
//! port is bound.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pipeline::Ports;
use pipeline::mask::MaskKeys;

use crate::startup::Authenticate;
use crate::upstream::scram::Salted;

/// Text that is never printed: a target's password.
#[derive(Clone)]
pub struct Secret {
    text: Arc<str>,
    /// What was made of it last, for all who hold it.
    pub(crate) salted: Arc<Salted>,
}

impl Secret {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self {
            text: text.into(),
            salted: Arc::default(),
        }
    }

    pub(crate) fn expose(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How we may prove to an upstream who we are. What the upstream asks for and is not in the target's
/// list is refused: a hostile server cannot talk us into sending the password in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// With or without channel binding, as the server offers it.
    ScramSha256,
    /// With channel binding only: whoever ends our TLS is whoever knows the password.
    ScramSha256Plus,
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
            Self::ScramSha256Plus => "scram-sha-256-plus",
            Self::Md5 => "md5",
            Self::Cleartext => "password",
            Self::None => "none",
        }
    }
}

/// How the clients of a listener prove who they are. A server must ask before the client shows what
/// it can do, so the operator chooses, by listener and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientLogin {
    /// A token as the password.
    Password,
    /// A token by SASL OAUTHBEARER, as PostgreSQL 18 speaks it.
    OAuth,
    /// The certificate of the TLS connection alone.
    Certificate,
    /// A token as the password, and a certificate of the same actor: a stolen token is not enough.
    CertificateAndPassword,
    CertificateAndOAuth,
}

/// How a token travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenBy {
    Password,
    OAuth,
}

impl ClientLogin {
    pub const ALL: [ClientLogin; 5] = [
        Self::Password,
        Self::OAuth,
        Self::Certificate,
        Self::CertificateAndPassword,
        Self::CertificateAndOAuth,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::OAuth => "oauth",
            Self::Certificate => "certificate",
            Self::CertificateAndPassword => "certificate+password",
            Self::CertificateAndOAuth => "certificate+oauth",
        }
    }

    pub fn needs_certificate(self) -> bool {
        !matches!(self, Self::Password | Self::OAuth)
    }

    pub fn by_oauth(self) -> bool {
        self.token() == Some(TokenBy::OAuth)
    }

    /// How many things a thief must have.
    fn proofs(self) -> usize {
        usize::from(self.needs_certificate()) + usize::from(self.token().is_some())
    }

    pub(crate) fn token(self) -> Option<TokenBy> {
        match self {
            Self::Password | Self::CertificateAndPassword => Some(TokenBy::Password),
            Self::OAuth | Self::CertificateAndOAuth => Some(TokenBy::OAuth),
            Self::Certificate => None,
        }
    }
}

/// What a client without a token is told: where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    /// The URL of the issuer's `.well-known/openid-configuration`.
    pub discovery: String,
    /// What to ask for there, separated by spaces.
    pub scope: String,
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
    /// Load it with ALPN `postgresql` where `direct_tls` is set.
    pub tls: net::ClientTls,
    /// TLS from the first byte on, without SSLRequest (PostgreSQL 17 and later).
    pub direct_tls: bool,
    /// Ask for protocol 3.2, whose cancel keys cannot be guessed. Old poolers break at it.
    pub protocol_3_2: bool,
    /// Where the server gives no cancel key, cancel by `pg_cancel_backend` over a connection of our
    /// own. Wrong before a pooler that changes backends between transactions.
    pub cancel_by_pid: bool,
    pub require_auth: Vec<AuthMethod>,
    /// The logins that this target's clients may use, of those that their listener has; any when
    /// empty.
    pub client_logins: Vec<ClientLogin>,
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
    /// In the order of preference: the first that the target allows, and that needs no certificate
    /// where the client has shown none.
    pub logins: Vec<ClientLogin>,
    /// For the logins by OAUTHBEARER.
    pub oauth: Option<OAuth>,
    /// The name of the authority whose clients' certificates `tls` verifies.
    pub certificates: Option<Arc<str>>,
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
    /// How long people may have to wait for a hold because of what is found out about it first.
    pub survey_time: Duration,
    /// Connections to targets that find that out, at once.
    pub max_surveys: usize,
    /// A catalogue snapshot is read again after this time, for changes made behind our back.
    pub catalog_ttl: Duration,
    /// How long the target may take to say whether views are still defined as they were.
    pub definitions_time: Duration,
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
            survey_time: Duration::from_millis(500),
            max_surveys: 4,
            catalog_ttl: Duration::from_secs(60),
            definitions_time: Duration::from_secs(2),
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
    #[error("listener {listener:?}: {problem}")]
    Logins {
        listener: String,
        problem: &'static str,
    },
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
        let bound = listener.target.as_ref();
        let served = options.targets.iter();
        let served = served
            .filter(|t| bound.is_none_or(|b| *b == t.info.name))
            .map(|t| t.client_logins.as_slice());
        check_logins(&listener.logins, served, bound.is_some())
            .and_then(|()| check_means(listener))
            .map_err(|problem| BuildError::Logins {
                listener: listener.listen.name.clone(),
                problem,
            })?;
    }
    Ok(())
}

/// What makes a listener's logins impossible, or worth less than they look. `served`: what each of
/// its targets allows; `bound`: it has one target only.
pub fn check_logins<'a>(
    logins: &[ClientLogin],
    served: impl IntoIterator<Item = &'a [ClientLogin]>,
    bound: bool,
) -> Result<(), &'static str> {
    if logins.is_empty() {
        return Err("there is no login, so nobody could come in");
    }
    for allowed in served {
        let offered: Vec<_> = offers(logins, allowed).collect();
        if offered.is_empty() && bound {
            return Err("the target allows none of these logins");
        }
        // Whether a certificate is shown is the client's choice.
        let two = offered.iter().filter(|l| l.proofs() == 2).count();
        if two != 0 && two != offered.len() {
            return Err("a login by two proofs is of no use beside one by only one of them");
        }
    }
    Ok(())
}

/// What a listener lacks for its logins.
fn check_means(listener: &PgListener) -> Result<(), &'static str> {
    let mut logins = listener.logins.iter();
    if logins.clone().any(|l| l.by_oauth()) && listener.oauth.is_none() {
        return Err("a login by oauth needs an issuer");
    }
    let certificates = listener.tls.is_some() && listener.certificates.is_some();
    if logins.any(|l| l.needs_certificate()) && !certificates {
        return Err("a login by certificate needs TLS and an authority");
    }
    Ok(())
}

/// Those of a listener's logins that a target allows, in the listener's order.
pub(crate) fn offers(
    logins: &[ClientLogin],
    allowed: &[ClientLogin],
) -> impl Iterator<Item = ClientLogin> {
    let fits = |login: &ClientLogin| allowed.is_empty() || allowed.contains(login);
    logins.iter().copied().filter(fits)
}
