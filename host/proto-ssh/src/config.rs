//! What an [`SshService`](crate::SshService) is made of. Everything here is typed and checked before a port is
//! bound.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pipeline::Ports;
use ssh_keys::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::life::MAX_SILENCE;
use crate::startup::{Authenticate, HostIdentity};
use crate::upstream::{HostKeys, Issuer};

/// `DNS` allows no longer name.
pub(crate) const MAX_NAME: usize = 253;
/// Linux allows 32, Windows and directories more.
pub(crate) const MAX_LOGIN: usize = 128;
/// A banner is a text for people, and comes with every login.
const MAX_BANNER: usize = 4_096;

/// Text that is never printed: a target's password.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
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

/// How the clients of a listener prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientLogin {
    /// A certificate of Weir's own authority.
    Certificate,
    /// A public key that somebody has registered.
    Key,
    /// A token as the password.
    Token,
    /// The device flow of the identity provider, by keyboard-interactive.
    Device,
}

impl ClientLogin {
    pub const ALL: [Self; 4] = [Self::Certificate, Self::Key, Self::Token, Self::Device];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Token => "token",
            Self::Device => "device",
        }
    }
}

/// How we prove to a target who we are. Nothing else is ever offered to it.
#[derive(Clone)]
pub enum Credential {
    /// A key that lives as long as one login, with a certificate of minutes from the [`Issuer`].
    Certificate,
    Key(Arc<PrivateKey>),
    /// By the method `password`; by keyboard-interactive where a target has only that.
    Password(Secret),
}

/// What is done with output of a command that turns out to be no text, where it is masked. Terminals are always text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Binary {
    /// It is masked as text is, as far as a secret stands in it in one piece.
    #[default]
    Mask,
    /// From the packet on that tells, no byte of its stream is touched: whoever runs commands can have that with one
    /// NUL, for any secret.
    Pass,
    /// The channel ends there.
    Refuse,
}

impl Binary {
    pub const ALL: [Self; 3] = [Self::Mask, Self::Pass, Self::Refuse];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mask => "mask",
            Self::Pass => "pass",
            Self::Refuse => "refuse",
        }
    }
}

/// By what a target's host key is known.
#[derive(Clone, Default)]
pub struct HostTrust {
    /// Where there are any, nothing else counts but an authority below.
    pub pins: Vec<PublicKey>,
    /// Authorities for certificates of hosts.
    pub authorities: Vec<PublicKey>,
    /// The name that a certificate must hold; the target's own name when there is none.
    pub principal: Option<Arc<str>>,
    /// Keys that operators have approved count, where there are no pins.
    pub approved: bool,
}

/// One host, with the credential that only it owns.
#[derive(Clone)]
pub struct SshTarget {
    pub info: Arc<pipeline::Target>,
    pub host: String,
    pub port: u16,
    /// For clients that name none.
    pub default_login: Option<Arc<str>>,
    /// Logins that clients may ask for; empty means any. They are compared to the letter: a host that knows no
    /// case in its accounts (Windows, some directories) takes `Root` for `root`, so name the logins of such a
    /// host here, and let policies name them in the same case.
    pub logins: Vec<Arc<str>>,
    pub credential: Credential,
    pub trust: HostTrust,
    pub binary: Binary,
}

impl fmt::Debug for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshTarget")
            .field("name", &self.info.name)
            .finish_non_exhaustive()
    }
}

/// One port that clients connect to.
#[derive(Clone)]
pub struct SshListener {
    pub listen: net::ListenerOptions,
    /// Every connection goes to this target, and the user name is the login there. Without it, a user name is
    /// `login+target`, and this port can be a jump host.
    pub target: Option<Arc<str>>,
    pub logins: Vec<ClientLogin>,
    /// Told to everybody before they log in.
    pub banner: Option<String>,
}

/// Every bound of this crate, by name.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections that have not authenticated yet, over all listeners and from one address (of IPv6, one /64).
    /// A /56 may have twice as many as an address, a /48 and a /24 of IPv4 four times. If all places are taken, a
    /// random one of those who wait gives way to the next who comes.
    pub max_unauthenticated: usize,
    pub max_unauthenticated_per_source: usize,
    /// From accept to the first keys: no person has a part in it.
    pub keys_timeout: Duration,
    /// From accept to a proof that is accepted (`LoginGraceTime` of OpenSSH).
    pub login_timeout: Duration,
    /// The same, as long as people are asked to approve a device.
    pub device_timeout: Duration,
    /// Of those who wait for that, at once, and from one address.
    pub max_device_flows: usize,
    pub max_device_flows_per_source: usize,
    /// For less time nobody is sent anywhere to approve anything.
    pub least_device_time: Duration,
    /// How long such a place is taken at least: whoever begins one after the other asks the provider no more often.
    pub device_flow_pause: Duration,
    /// If all such places are taken, one that was taken for longer goes over to somebody who has fewer; people need
    /// about so long to agree.
    pub device_flow_kept: Duration,
    /// Of those that one connection begins.
    pub max_device_flows_per_connection: u32,
    /// How long after a wrong proof its answer is sent, however long it took to see that it is wrong.
    pub failed_login_delay: Duration,
    /// Wrong proofs on one connection (`MaxAuthTries` of OpenSSH); keys that are only asked about are none.
    pub max_attempts: u32,
    /// Keys that are only asked about, on one connection: agents hold many.
    pub max_probes: u32,
    /// Authentication requests of any kind on one connection.
    pub max_auth_requests: u32,
    /// For a target: dial, key exchange and login.
    pub upstream_login_timeout: Duration,
    /// What a client may send while its session is decided on and the target is dialled.
    pub max_early_messages: usize,
    pub max_early_bytes: usize,
    /// How long the client is not told yet that it is logged in, so that a hold of the connection itself can be
    /// told by the only means there is before a channel is open.
    pub hold_notice: Duration,
    /// Connections to targets through one that serves as a jump host.
    pub max_jumps: usize,
    /// What such a connection may send ahead.
    pub jump_window: u32,
    /// A connection that has no session and no jump under way ends after this time.
    pub lounge_idle: Duration,
    /// For the last words to a client, or to a target, that does not read.
    pub farewell: Duration,
    /// How long what has passed already may take to be written when one side has gone.
    pub last_bytes: Duration,
    /// How long a client or a target for which much waits may take none of it, before its session ends.
    pub max_stall: Duration,
    /// How long a client or a target may acknowledge nothing of what is on its way to it, where the system says so.
    pub max_silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_unauthenticated: 1_000,
            max_unauthenticated_per_source: 100,
            keys_timeout: Duration::from_secs(10),
            login_timeout: Duration::from_secs(60),
            device_timeout: Duration::from_secs(300),
            max_device_flows: 100,
            max_device_flows_per_source: 10,
            least_device_time: Duration::from_secs(5),
            device_flow_pause: Duration::from_secs(10),
            device_flow_kept: Duration::from_secs(45),
            max_device_flows_per_connection: 2,
            failed_login_delay: Duration::from_millis(500),
            max_attempts: 6,
            max_probes: 64,
            max_auth_requests: 256,
            upstream_login_timeout: Duration::from_secs(20),
            max_early_messages: 256,
            max_early_bytes: 256 << 10,
            hold_notice: Duration::from_millis(300),
            max_jumps: 16,
            jump_window: 1 << 20,
            lounge_idle: Duration::from_secs(60),
            farewell: Duration::from_secs(2),
            last_bytes: Duration::from_secs(10),
            max_stall: Duration::from_secs(3600),
            max_silence: MAX_SILENCE,
        }
    }
}

/// Everything an [`SshService`](crate::SshService) needs.
#[derive(Clone)]
pub struct Options {
    pub listeners: Vec<SshListener>,
    pub targets: Vec<SshTarget>,
    pub ports: Ports,
    pub auth: Arc<dyn Authenticate>,
    pub host_identity: Arc<dyn HostIdentity>,
    pub host_keys: Arc<dyn HostKeys>,
    /// For targets with [`Credential::Certificate`].
    pub issuer: Option<Arc<dyn Issuer>>,
    pub limits: Limits,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("two targets are named {0:?}")]
    DuplicateTarget(Arc<str>),
    #[error(
        "target name {0:?} must have 1 to {MAX_NAME} bytes of letters, digits, '.', '-' and '_': it is part of user names and host names"
    )]
    TargetName(Arc<str>),
    #[error("target {target:?}: {login:?} cannot be a login: {problem}")]
    Login {
        target: Arc<str>,
        login: Arc<str>,
        problem: &'static str,
    },
    #[error("target {0:?}: its default login is not among its logins")]
    DefaultLogin(Arc<str>),
    #[error("target {0:?} logs in with certificates, and there is no authority that issues them")]
    NoIssuer(Arc<str>),
    #[error(
        "target {0:?}: no host key could ever be accepted; pin one, name an authority, or let operators approve keys"
    )]
    NoTrust(Arc<str>),
    #[error("listener {listener:?} is bound to target {target:?}, which does not exist")]
    UnknownTarget { listener: String, target: Arc<str> },
    #[error("listener {0:?}: there is no login, so nobody could come in")]
    NoLogin(String),
    #[error("listener {listener:?}: the banner has more than {MAX_BANNER} bytes")]
    Banner { listener: String },
    #[error("the limit {0} must not be zero: nobody could come in")]
    Zero(&'static str),
    #[error("there is no host key, so no client could know this gateway")]
    NoHostKey,
    #[error(transparent)]
    Masks(#[from] crate::mask::PatternsError),
    #[error(transparent)]
    Bind(#[from] net::BindError),
}

/// Checks what the types cannot.
pub(crate) fn check(options: &Options) -> Result<(), BuildError> {
    for (i, target) in options.targets.iter().enumerate() {
        let name = &target.info.name;
        if !is_name(name) {
            return Err(BuildError::TargetName(name.clone()));
        }
        let before = options.targets.iter().take(i);
        if before
            .map(|t| &t.info.name)
            .any(|n| n.eq_ignore_ascii_case(name))
        {
            return Err(BuildError::DuplicateTarget(name.clone()));
        }
        check_target(target, options.issuer.is_some())?;
    }
    for listener in &options.listeners {
        let name = || listener.listen.name.clone();
        if let Some(target) = &listener.target
            && !options.targets.iter().any(|t| t.info.name == *target)
        {
            return Err(BuildError::UnknownTarget {
                listener: name(),
                target: target.clone(),
            });
        }
        if listener.logins.is_empty() {
            return Err(BuildError::NoLogin(name()));
        }
        if listener
            .banner
            .as_ref()
            .is_some_and(|b| b.len() > MAX_BANNER)
        {
            return Err(BuildError::Banner { listener: name() });
        }
    }
    check_limits(&options.limits)?;
    if options.host_identity.host_keys(None).is_empty() {
        return Err(BuildError::NoHostKey);
    }
    Ok(())
}

fn check_target(target: &SshTarget, issuer: bool) -> Result<(), BuildError> {
    let name = &target.info.name;
    for login in target.logins.iter().chain(&target.default_login) {
        if let Err(problem) = check_login(login) {
            return Err(BuildError::Login {
                target: name.clone(),
                login: login.clone(),
                problem,
            });
        }
    }
    if let Some(login) = &target.default_login
        && !target.logins.is_empty()
        && !target.logins.contains(login)
    {
        return Err(BuildError::DefaultLogin(name.clone()));
    }
    if matches!(target.credential, Credential::Certificate) && !issuer {
        return Err(BuildError::NoIssuer(name.clone()));
    }
    let trust = &target.trust;
    if trust.pins.is_empty() && trust.authorities.is_empty() && !trust.approved {
        return Err(BuildError::NoTrust(name.clone()));
    }
    Ok(())
}

fn check_limits(limits: &Limits) -> Result<(), BuildError> {
    for (name, value) in [
        ("max_unauthenticated", limits.max_unauthenticated),
        (
            "max_unauthenticated_per_source",
            limits.max_unauthenticated_per_source,
        ),
        ("max_attempts", limits.max_attempts as usize),
        ("max_probes", limits.max_probes as usize),
        ("max_auth_requests", limits.max_auth_requests as usize),
        ("max_early_messages", limits.max_early_messages),
        ("max_early_bytes", limits.max_early_bytes),
        ("jump_window", limits.jump_window as usize),
    ] {
        if value == 0 {
            return Err(BuildError::Zero(name));
        }
    }
    Ok(())
}

/// Can this be a target's name, or that of a host which a client jumps to?
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (1..=MAX_NAME).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(fits)
}

/// Can this be a login? It goes into certificates, records and policies, and to the target as it is.
pub(crate) fn check_login(login: &str) -> Result<(), &'static str> {
    if login.is_empty() {
        return Err("it is empty");
    }
    if login.len() > MAX_LOGIN {
        return Err("it has more than 128 bytes");
    }
    if login.starts_with('-') {
        return Err("it begins with a minus sign, as an option does");
    }
    // OpenSSH takes what is before a ':' for the account (what follows is a "style"), and what follows a '/' for
    // a role of SELinux: policy would see another account than the one that is logged in. Directories put a
    // domain before a '\\'.
    if login.contains([':', '/', '\\']) {
        return Err(
            "it has one of : / \\, which hosts do not take for a part of the account's name",
        );
    }
    if !login.chars().all(prints) {
        return Err("it has a blank, or a character that is not printed");
    }
    if login.contains(',') {
        // Lists of principals are separated by them.
        return Err("it has a comma");
    }
    Ok(())
}

/// Is this seen as what it is? Not so what has no glyph, what reorders or joins others, and blanks: with any of
/// them, two names look the same.
pub(crate) fn prints(c: char) -> bool {
    // Blanks that Unicode has among its letters and symbols.
    let blank = matches!(
        c,
        ' ' | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
    );
    // The standard library escapes every other one, and characters that grow onto the one before.
    let shown = c.escape_debug().len() == 1 || matches!(c, '\'' | '"' | '\\');
    shown && !blank
}

#[cfg(test)]
mod tests;
