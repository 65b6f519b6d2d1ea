//! The SSH certificate authority: certificates for callers, for targets, and for the gateway itself.
//!
//! Three keys, for three audiences that are not to be confused. What a *caller* has after `weir login` counts
//! at Weir and nowhere else; what Weir shows a *target* counts there and never at Weir; the *host* key's
//! certificate is what clients know the gateway by. A certificate of one key is refused everywhere that
//! another is asked for, whatever it says.
//!
//! A caller's certificate stands for the token that it was made from: it carries the whole principal, signed,
//! and ends with the token at the latest. So the gateway asks nobody when somebody comes in; and what an
//! operator changes about a principal counts from its next certificate on. Until then it can be revoked
//! (`revoked`); the control plane keeps that, and says it again at the next start. NOTES: other replicas are not
//! told; what is to hold everywhere goes into `[ssh.authority] revoked`, too. There is no list that OpenSSH
//! reads (KRL): callers' certificates count nowhere but here.
//!
//! People also come in by keys that they have registered (`registered`), if that is configured, and whoever may have
//! a certificate by a short token (`short`).

mod carried;
mod files;
mod registered;
mod revoked;
mod short;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use parking_lot::RwLock;
use pipeline::{Login, Principal, SessionId};
use ssh_keys::{
    Certificate, CertificateError, CertificateKind, CertificateSpec, FormatError, KeyError,
    Network, Options, PrivateKey, PublicKey, SpecError, Wanted,
};

use crate::error::shorten;
use crate::key_file::KeyFileError;
use crate::mapping::is_name;
use registered::Registered;
pub use registered::{
    CHALLENGE_LASTS, KEY_NAMESPACE, KeyChallenge, MAX_KEY_VALIDITY, RegisterError,
};
use revoked::{MAX_REVOKED, Revoked};
pub use revoked::{Revocation, TooManyRevoked};
pub use short::{
    SHORT_TOKEN_PREFIX, SHORT_TOKEN_VALIDITY, ShortToken, is_short_token, short_token_hash,
    short_token_id,
};

/// The one name in a caller's certificate. No account can be called so: no name of one has a colon.
pub const CALLER_PRINCIPAL: &str = "weir:caller";
/// No caller's certificate is good for longer, whoever signed it.
pub const MAX_CALLER_VALIDITY: Duration = Duration::from_secs(12 * 3600);
const CALLER_VALIDITY: Duration = Duration::from_secs(8 * 3600);
/// A certificate that ends sooner is of no use to anybody.
const MIN_CALLER_VALIDITY: Duration = Duration::from_secs(30);
/// Long enough to dial and authenticate; what is open by then stays open.
const TARGET_VALIDITY: Duration = Duration::from_secs(5 * 60);
/// Issued anew at each start, and by whoever serves it once a day.
const HOST_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Clocks differ: certificates begin a little before now.
const SKEW: Duration = Duration::from_secs(60);
/// In which extension a caller's certificate carries the principal.
const CARRIED: &str = "principal@weir.dev";
/// What OpenSSH's extensions of a caller's certificate permit.
const PERMITS: [&str; 4] = [
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
];

#[derive(Debug, thiserror::Error)]
pub enum SshAuthorityError {
    #[error("SSH authority")]
    File(#[from] KeyFileError),
    #[error("SSH authority: the key {path}")]
    Key { path: PathBuf, source: KeyError },
    #[error(
        "SSH authority: {missing} is not there, but {there} is; put it back, or remove all of them for an authority that nobody knows yet"
    )]
    Missing { missing: PathBuf, there: PathBuf },
    #[error("SSH authority: no key can be made")]
    Make(#[source] KeyError),
    #[error("SSH authority: two of its keys are the same one; each needs a key of its own")]
    SameKey,
    #[error("SSH authority: certificates of callers live from 1 minute to 12 hours")]
    Validity,
    #[error("SSH authority: more than {MAX_REVOKED} serial numbers are revoked")]
    Revoked,
    #[error("SSH authority")]
    Secret(#[source] IssueError),
}

/// Why no certificate is issued. Callers may see it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    #[error("the token ends too soon; get a new one")]
    TokenEnds,
    #[error("what is known of the caller does not fit into a certificate; fewer groups would")]
    TooLarge,
    #[error("this is a key of Weir itself; make one of your own: ssh-keygen -t ed25519")]
    OwnKey,
    #[error("this key was revoked; make another one: ssh-keygen -t ed25519")]
    RevokedKey,
    #[error(
        "the token is older than the revocation of somebody in it, or does not say when it was issued; get a new one"
    )]
    OldToken,
    #[error("the account {0:?} cannot be named in a certificate")]
    Login(String),
    #[error("the names of the host cannot be in a certificate")]
    HostNames,
    #[error("the clock is before 1970")]
    Clock,
    #[error("the certificate cannot be signed: {0}")]
    Sign(#[from] SpecError),
    #[error("no random numbers can be had")]
    Random,
}

/// Why a certificate is nobody's. For the log: a client is told that it may not come in, and no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshCertificateError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the certificate {0:016x} was revoked")]
    Revoked(u64),
    #[error("the certificate is good for longer than 12 hours, as none of ours is")]
    TooLong,
    #[error("the certificate has other names than ours have")]
    Names,
    #[error("the certificate demands a command, as none of ours does")]
    Command,
    #[error("the principal in the certificate: {0}")]
    Carried(&'static str),
}

#[derive(Debug, Clone)]
pub struct SshAuthorityOptions {
    /// Where keys are that no file is named for; made when they are not there.
    pub directory: PathBuf,
    /// Signs certificates of callers.
    pub caller_key: Option<PathBuf>,
    /// Signs what is shown to targets.
    pub target_key: Option<PathBuf>,
    /// Signs the gateway's host key.
    pub host_ca_key: Option<PathBuf>,
    /// The gateway's host key.
    pub host_key: Option<PathBuf>,
    pub caller_validity: Duration,
    pub revoked: Vec<u64>,
}

impl SshAuthorityOptions {
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            caller_key: None,
            target_key: None,
            host_ca_key: None,
            host_key: None,
            caller_validity: CALLER_VALIDITY,
            revoked: Vec::new(),
        }
    }
}

/// What Weir may do on a target besides running something without a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Granted {
    pub pty: bool,
    pub port_forwarding: bool,
    pub agent_forwarding: bool,
    pub x11_forwarding: bool,
}

pub struct SshAuthority {
    callers: PrivateKey,
    targets: PrivateKey,
    hosts: PrivateKey,
    host_key: Arc<PrivateKey>,
    caller_validity: Duration,
    revoked: RwLock<Revoked>,
    registered: Registered,
}

impl SshAuthority {
    /// Reads the keys, and makes those that are not there. Blocks.
    pub fn open(options: &SshAuthorityOptions) -> Result<Self, SshAuthorityError> {
        Self::with(options, files::open)
    }

    /// As [`SshAuthority::open`], but writes nothing: instead of keys that are not there, some are made up
    /// that are forgotten afterwards. Blocks.
    pub fn check(options: &SshAuthorityOptions) -> Result<Self, SshAuthorityError> {
        Self::with(options, files::check)
    }

    fn with(options: &SshAuthorityOptions, get: files::Get) -> Result<Self, SshAuthorityError> {
        if options.caller_validity < Duration::from_secs(60)
            || options.caller_validity > MAX_CALLER_VALIDITY
        {
            return Err(SshAuthorityError::Validity);
        }
        if options.revoked.len() > MAX_REVOKED {
            return Err(SshAuthorityError::Revoked);
        }
        let directory = &options.directory;
        files::all_or_none(
            directory,
            &[
                ("caller-ca", options.caller_key.as_deref()),
                ("target-ca", options.target_key.as_deref()),
                ("host-ca", options.host_ca_key.as_deref()),
                ("host-key", options.host_key.as_deref()),
            ],
        )?;
        let authority = Self {
            callers: get(directory, "caller-ca", options.caller_key.as_deref())?,
            targets: get(directory, "target-ca", options.target_key.as_deref())?,
            hosts: get(directory, "host-ca", options.host_ca_key.as_deref())?,
            host_key: Arc::new(get(directory, "host-key", options.host_key.as_deref())?),
            caller_validity: options.caller_validity,
            revoked: RwLock::new(Revoked::of_serials(&options.revoked)),
            registered: Registered::new().map_err(SshAuthorityError::Secret)?,
        };
        let keys = authority.keys();
        let mut rest = keys.as_slice();
        while let [first, others @ ..] = rest {
            if others.contains(first) {
                return Err(SshAuthorityError::SameKey);
            }
            rest = others;
        }
        Ok(authority)
    }

    fn keys(&self) -> [&PublicKey; 4] {
        [
            self.callers.public(),
            self.targets.public(),
            self.hosts.public(),
            self.host_key.public(),
        ]
    }

    /// Whose signatures on callers' certificates count here.
    pub fn caller_ca(&self) -> &PublicKey {
        self.callers.public()
    }

    /// What targets put into `TrustedUserCAKeys`.
    pub fn target_ca(&self) -> &PublicKey {
        self.targets.public()
    }

    /// What clients put behind `@cert-authority`.
    pub fn host_ca(&self) -> &PublicKey {
        self.hosts.public()
    }

    pub fn host_key(&self) -> &Arc<PrivateKey> {
        &self.host_key
    }

    /// A certificate with which `principal` comes in, until its token ends at the latest. The key is its own;
    /// that it has it is shown when it comes in. With `source`, from there only.
    pub fn issue_user(
        &self,
        principal: &Principal,
        key: &PublicKey,
        source: Option<Network>,
        now: SystemTime,
    ) -> Result<Certificate, IssueError> {
        if self.keys().contains(&key) {
            return Err(IssueError::OwnKey);
        }
        if self.is_revoked_key(key) {
            return Err(IssueError::RevokedKey);
        }
        if self.is_revoked_since(principal, now) {
            return Err(IssueError::OldToken);
        }
        let latest = now.checked_add(self.caller_validity).unwrap_or(now);
        let ends = principal.expires_at.min(latest);
        if ends.duration_since(now).unwrap_or_default() < MIN_CALLER_VALIDITY {
            return Err(IssueError::TokenEnds);
        }
        let serial = serial()?;
        let subject = &principal.actor.subject;
        let critical = match source {
            None => Options::new(),
            Some(network) => Options::new().sources(&[network]),
        };
        let spec = CertificateSpec {
            key: key.clone(),
            kind: CertificateKind::User,
            serial,
            key_id: format!("weir {subject} of {} {serial:016x}", principal.issuer),
            principals: vec![CALLER_PRINCIPAL.to_owned()],
            valid_after: seconds(before(now))?,
            valid_before: seconds(ends)?,
            critical,
            // What of this is permitted, policy says each time; without them, nothing would be.
            extensions: PERMITS
                .into_iter()
                .fold(Options::new(), |options, name| options.flag(name))
                .text(CARRIED, &carried::write(principal)?),
        };
        spec.sign(&self.callers).map_err(|error| match error {
            SpecError::Unreadable(CertificateError::Format(FormatError::Long { .. })) => {
                IssueError::TooLarge
            }
            other => other.into(),
        })
    }

    /// Whose certificate is this? It is good now, from there, and not revoked; that whoever shows it has its
    /// key is for the caller to find out.
    pub fn verify_user(
        &self,
        certificate: &Certificate,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<Principal, SshCertificateError> {
        certificate.check(&Wanted {
            cas: std::slice::from_ref(self.callers.public()),
            kind: CertificateKind::User,
            now,
            principal: CALLER_PRINCIPAL,
            source: Some(source),
        })?;
        if certificate.principals != [CALLER_PRINCIPAL] {
            return Err(SshCertificateError::Names);
        }
        if certificate.force_command.is_some() {
            return Err(SshCertificateError::Command);
        }
        // However the authority's key was used elsewhere: nobody is in for longer than we would let him.
        let (from, to) = (certificate.valid_after, certificate.valid_before);
        let most = (MAX_CALLER_VALIDITY + SKEW).as_secs();
        if to.saturating_sub(from) > most {
            return Err(SshCertificateError::TooLong);
        }
        let text = certificate.extensions.get_text(CARRIED);
        let text = text.ok_or(SshCertificateError::Carried("there is none"))?;
        let ends = UNIX_EPOCH.checked_add(Duration::from_secs(to));
        let ends = ends.ok_or(SshCertificateError::TooLong)?;
        let who = carried::read(text, Login::Certificate, ends);
        let who = who.map_err(SshCertificateError::Carried)?;
        self.still_counts(certificate, &who)?;
        Ok(who)
    }

    /// What Weir shows a target, for one session: good for minutes, for one account, for what is granted.
    /// The target's log tells whose session it is.
    pub fn issue_upstream(
        &self,
        key: &PublicKey,
        login: &str,
        principal: &Principal,
        session: SessionId,
        granted: Granted,
        now: SystemTime,
    ) -> Result<Certificate, IssueError> {
        // A comma separates names where sshd reads them from files.
        // And sshd opens the account before a ':'.
        if !is_name(login)
            || login.contains([',', ' ', ':', '/', '\\'])
            || login == CALLER_PRINCIPAL
        {
            return Err(IssueError::Login(shorten(login)));
        }
        if self.keys().contains(&key) {
            return Err(IssueError::OwnKey);
        }
        let extensions = [
            (granted.pty, "permit-pty"),
            (granted.port_forwarding, "permit-port-forwarding"),
            (granted.agent_forwarding, "permit-agent-forwarding"),
            (granted.x11_forwarding, "permit-X11-forwarding"),
        ];
        let ends = now.checked_add(TARGET_VALIDITY).ok_or(IssueError::Clock)?;
        let spec = CertificateSpec {
            key: key.clone(),
            kind: CertificateKind::User,
            serial: serial()?,
            key_id: format!("weir {} session {session}", principal.actor.subject),
            principals: vec![login.to_owned()],
            valid_after: seconds(before(now))?,
            valid_before: seconds(ends)?,
            critical: Options::new(),
            extensions: extensions
                .into_iter()
                .filter(|(granted, _)| *granted)
                .fold(Options::new(), |options, (_, name)| options.flag(name)),
        };
        Ok(spec.sign(&self.targets)?)
    }

    /// What clients know the gateway by, under each of these names.
    pub fn issue_host(&self, names: &[String], now: SystemTime) -> Result<Certificate, IssueError> {
        if names.is_empty() || names.iter().any(|n| !is_name(n)) {
            return Err(IssueError::HostNames);
        }
        let serial = serial()?;
        let ends = now.checked_add(HOST_VALIDITY).ok_or(IssueError::Clock)?;
        let spec = CertificateSpec {
            key: self.host_key.public().clone(),
            kind: CertificateKind::Host,
            serial,
            key_id: format!("weir gateway {serial:016x}"),
            principals: names.iter().map(|n| n.to_ascii_lowercase()).collect(),
            valid_after: seconds(before(now))?,
            valid_before: seconds(ends)?,
            critical: Options::new(),
            extensions: Options::new(),
        };
        Ok(spec.sign(&self.hosts)?)
    }
}

/// A number that nobody can guess, and that no other certificate has.
fn serial() -> Result<u64, IssueError> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| IssueError::Random)?;
    Ok(u64::from_be_bytes(bytes))
}

fn before(now: SystemTime) -> SystemTime {
    now.checked_sub(SKEW).unwrap_or(UNIX_EPOCH)
}

fn seconds(time: SystemTime) -> Result<u64, IssueError> {
    let since = time.duration_since(UNIX_EPOCH);
    Ok(since.map_err(|_| IssueError::Clock)?.as_secs())
}

#[cfg(test)]
mod tests;
