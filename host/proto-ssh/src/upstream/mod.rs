//! The only way out: dials a target, checks that it is the host that was meant, and proves who we are with the
//! credential that only the target owns.
//!
//! Architecture invariants:
//! - A host whose key is not known by configuration, by an authority or by an operator's approval is not
//!   talked to. The client is never asked, and nothing is learnt by itself.
//! - A target is offered exactly what it is configured with, once: no other key, and no password to whoever
//!   asks for one.

#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod host;
mod login;
pub(crate) mod send;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use pipeline::{Principal, SessionId};
use ssh_keys::{Certificate, KeyError, PrivateKey, PublicKey};

use crate::config::{Credential, Limits, SshTarget};
use crate::leg::{Leg, LegError};
use crate::terms::May;
use crate::transport::{ClientConfig, Event, Transport};
use crate::wire::WireError;
use crate::wire::numbers::disconnect;
use host::Known;
use login::Proof;

/// Host keys that operators have approved, and those that wait for it.
#[async_trait]
pub trait HostKeys: Send + Sync {
    async fn approved(&self, target: &str) -> Vec<PublicKey>;

    /// The target has shown, and proved that it has, a key that is not approved; `changed`: another one is. It is
    /// not talked to. Must not take long.
    async fn unknown(&self, target: &str, key: &PublicKey, changed: bool) -> Standing;
}

/// How a key stands that is not approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has said anything yet.
    Waits,
    /// Somebody has said that it is the wrong one.
    Rejected,
}

/// Issues certificates of minutes for targets.
#[async_trait]
pub trait Issuer: Send + Sync {
    async fn issue(&self, key: &PublicKey, grant: &Grant<'_>) -> Result<Certificate, IssueError>;
}

/// For whom a certificate is, and for what.
pub struct Grant<'a> {
    pub principal: &'a Principal,
    pub session: SessionId,
    pub target: &'a str,
    pub login: &'a str,
    /// What the session may ask the host for, if policy permits it then: the certificate has to allow that much.
    pub may: May,
    pub now: SystemTime,
}

#[derive(Debug, thiserror::Error)]
#[error("no certificate was issued: {0}")]
pub struct IssueError(pub String);

/// Why there is no connection to a target. The texts are for its operators; see
/// [`UpstreamError::client_text`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error(transparent)]
    Dial(#[from] net::DialError),
    #[error(transparent)]
    Leg(#[from] LegError),
    #[error("no answer in time ({0})")]
    Timeout(&'static str),
    #[error("it disconnected: {0}")]
    Disconnected(String),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("it does not accept {offered}; it would accept: {accepts}")]
    Refused { offered: String, accepts: String },
    #[error("it disconnected when it was shown {offered}: {text}")]
    Dropped { offered: String, text: String },
    #[error("it wants the password changed, which Weir does not do")]
    PasswordChange,
    #[error("it asks {0}, and only a password can be answered")]
    Question(&'static str),
    #[error("a message of its login is not laid out as its RFC wants it: {0}")]
    Layout(#[from] WireError),
    #[error("message {0} has no place in its login")]
    Unexpected(u8),
    #[error("it sent more than {0} messages and the login is not over")]
    TooMuch(usize),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("there is no authority that issues certificates")]
    NoIssuer,
    #[error("the key cannot be used: {0}")]
    Key(#[from] KeyError),
    #[error("an internal error: {0}")]
    Internal(&'static str),
}

/// Why a host is not the one that was meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    #[error("its host key cannot be read: {0}")]
    Unreadable(String),
    #[error("its signature over the key exchange is wrong ({fingerprint})")]
    Signature { fingerprint: String },
    #[error(
        "its host key {fingerprint} is not known; if it is the right one, approve it, or pin `{line}`"
    )]
    Unknown { fingerprint: String, line: String },
    #[error(
        "its host key {fingerprint} is not the one that was approved: somebody is in between, or its key was changed"
    )]
    Changed { fingerprint: String },
    #[error("its host key {fingerprint} was rejected by an operator")]
    Rejected { fingerprint: String },
    #[error(
        "its host key {fingerprint} is not the one that is pinned: somebody is in between, or its key was changed"
    )]
    NotPinned { fingerprint: String },
    #[error("its host certificate does not count: {0}")]
    Certificate(String),
}

impl UpstreamError {
    /// Never an address, a login, a fingerprint or the target's own words.
    pub fn client_text(&self) -> &'static str {
        match self {
            Self::Host(HostError::Unknown { .. }) => {
                "the target's host key is not known to Weir, and waits for its operators: who may host_key:approve has to compare and approve it (weir ssh host-key)"
            }
            Self::Host(_) => {
                "the target does not prove that it is the right host; its operators have to look at it"
            }
            Self::Refused { .. }
            | Self::Dropped { .. }
            | Self::PasswordChange
            | Self::Question(_) => "the target does not accept Weir's login",
            Self::Issue(_) | Self::NoIssuer | Self::Key(_) | Self::Internal(_) => {
                "Weir has no credential for the target at the moment"
            }
            Self::Dial(_) | Self::Timeout("dial") => "the target cannot be reached",
            _ => "the target did not complete the login",
        }
    }
}

/// What dialling takes besides the target.
pub(crate) struct Means<'a> {
    pub host_keys: &'a dyn HostKeys,
    pub issuer: Option<&'a dyn Issuer>,
    pub limits: &'a Limits,
}

/// Dials and logs in, within `limits.upstream_login_timeout`.
pub(crate) async fn connect(
    target: &SshTarget,
    grant: &Grant<'_>,
    means: &Means<'_>,
) -> Result<Leg, UpstreamError> {
    let deadline = Instant::now() + means.limits.upstream_login_timeout;
    let at = Stage::default();
    let attempt = dial(target, grant, means, &at);
    match tokio::time::timeout_at(deadline.into(), attempt).await {
        Ok(result) => result,
        Err(_) => Err(UpstreamError::Timeout(at.name())),
    }
}

/// How far it has come, for the error if it takes too long.
#[derive(Default)]
struct Stage(std::sync::atomic::AtomicUsize);

impl Stage {
    const NAMES: [&'static str; 3] = ["dial", "key exchange", "login"];

    fn next(&self) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn name(&self) -> &'static str {
        let at = self.0.load(std::sync::atomic::Ordering::Relaxed);
        Self::NAMES.get(at).copied().unwrap_or("login")
    }
}

async fn dial(
    target: &SshTarget,
    grant: &Grant<'_>,
    means: &Means<'_>,
    stage: &Stage,
) -> Result<Leg, UpstreamError> {
    let timeout = means.limits.upstream_login_timeout;
    let approved = match target.trust.approved && target.trust.pins.is_empty() {
        true => means.host_keys.approved(&target.info.name).await,
        false => Vec::new(),
    };
    let known = Known {
        trust: &target.trust,
        approved: &approved,
        name: target.trust.principal.as_ref().unwrap_or(&target.info.name),
    };
    let socket = net::SocketOptions::default();
    let stream = net::connect(&target.host, target.port, timeout, &socket).await?;
    stage.next();
    let config = ClientConfig::new(known.algorithms());
    let mut leg = Leg::new(Box::new(stream), Transport::client(Arc::new(config)));
    let done = async {
        meet(&mut leg, &known, target, means).await?;
        stage.next();
        let proof = prove(target, grant, means).await?;
        login::run(&mut leg, grant.login, &proof).await
    };
    let result = done.await;
    match result {
        Ok(()) => Ok(leg),
        Err(error) => {
            let reason = match &error {
                UpstreamError::Host(_) => disconnect::HOST_NOT_ALLOWED_TO_CONNECT,
                _ => disconnect::BY_APPLICATION,
            };
            leg.transport.disconnect(reason, "");
            let farewell = means.limits.farewell;
            tokio::time::timeout(farewell, leg.flush()).await.ok();
            Err(error)
        }
    }
}

/// The key exchange, up to the first keys, with a host that is the right one.
async fn meet(
    leg: &mut Leg,
    known: &Known<'_>,
    target: &SshTarget,
    means: &Means<'_>,
) -> Result<(), UpstreamError> {
    let mut met = false;
    loop {
        match leg.recv().await? {
            Event::HostKey(offered) if !met => {
                match known.check(
                    &offered.algorithm,
                    &offered.key_blob,
                    &offered.signature,
                    &offered.exchange_hash,
                    SystemTime::now(),
                ) {
                    Ok(()) => {
                        met = true;
                        leg.transport
                            .answer_host_key(true)
                            .map_err(LegError::from)?;
                    }
                    Err(error) => {
                        // It disconnects; the reason is the error that we have.
                        let _ = leg.transport.answer_host_key(false);
                        let error = told(error, &offered.key_blob, target, means).await;
                        return Err(error.into());
                    }
                }
            }
            Event::Ready if met => return Ok(()),
            Event::Disconnected { text, .. } => return Err(UpstreamError::Disconnected(text)),
            _ => return Err(UpstreamError::Internal("keys without a host key")),
        }
    }
}

/// Operators are shown a key that they may approve.
async fn told(
    error: HostError,
    key_blob: &[u8],
    target: &SshTarget,
    means: &Means<'_>,
) -> HostError {
    let changed = matches!(error, HostError::Changed { .. });
    if !target.trust.approved || !(changed || matches!(error, HostError::Unknown { .. })) {
        return error;
    }
    let Ok(key) = PublicKey::from_blob(key_blob) else {
        return error;
    };
    let name = &target.info.name;
    match means.host_keys.unknown(name, &key, changed).await {
        Standing::Waits => error,
        Standing::Rejected => HostError::Rejected {
            fingerprint: key.fingerprint(),
        },
    }
}

/// What the target is shown, and nothing else.
async fn prove(
    target: &SshTarget,
    grant: &Grant<'_>,
    means: &Means<'_>,
) -> Result<Proof, UpstreamError> {
    Ok(match &target.credential {
        Credential::Password(password) => Proof::Password(password.clone()),
        Credential::Key(key) => Proof::Key(key.clone()),
        Credential::Certificate => {
            let issuer = means.issuer.ok_or(UpstreamError::NoIssuer)?;
            let key = PrivateKey::generate_ed25519()?;
            let certificate = issuer.issue(key.public(), grant).await?;
            if certificate.key() != key.public() {
                return Err(UpstreamError::Internal("a certificate for another key"));
            }
            Proof::Certificate(Box::new(key), Box::new(certificate))
        }
    })
}

impl fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("session", &self.session)
            .field("target", &self.target)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}
