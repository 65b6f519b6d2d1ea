//! Who acts, and on whose behalf.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The three kinds of principal that policies can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PrincipalKind {
    User,
    /// Software acting for an owner, such as an AI agent.
    Agent,
    /// A CI job or a service.
    Workload,
}

impl PrincipalKind {
    /// The Cedar entity type's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Agent => "Agent",
            Self::Workload => "Workload",
        }
    }
}

/// One link of the chain: somebody or something that acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub kind: PrincipalKind,
    /// Unique over all issuers: the identity crate has applied the issuer's prefix.
    pub subject: Arc<str>,
    /// Sorted, without duplicates.
    pub groups: Vec<Arc<str>>,
    /// Step-up authentication was satisfied (`amr`/`acr` of the token).
    pub mfa: bool,
    /// An agent without a human in the loop.
    pub autonomous: bool,
    /// The human who answers for an agent.
    pub owner: Option<Arc<str>>,
    /// Further claims that policies and plugins may see, such as `email`, `repo`, `ref`, `vendor`.
    pub attrs: BTreeMap<String, String>,
}

impl Actor {
    /// An actor with nothing but a name and groups.
    pub fn new(kind: PrincipalKind, subject: &str, groups: &[&str]) -> Self {
        let mut groups: Vec<Arc<str>> = groups.iter().map(|g| Arc::from(*g)).collect();
        groups.sort();
        groups.dedup();
        Self {
            kind,
            subject: subject.into(),
            groups,
            mfa: false,
            autonomous: false,
            owner: None,
            attrs: BTreeMap::new(),
        }
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| &**g == group)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{:?}", self.kind.as_str(), self.subject)
    }
}

/// What somebody came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Login {
    /// A certificate of SSH, which stands for the token that it was made from.
    Certificate,
    /// A public key that its person registered.
    Key,
    /// An access token itself.
    Token,
    /// A short token, which stands for an access token.
    ShortToken,
    /// A login at the identity provider, on another device.
    Device,
    /// A client certificate of TLS, without a token.
    Mtls,
}

impl Login {
    pub const ALL: [Self; 6] = [
        Self::Certificate,
        Self::Key,
        Self::Token,
        Self::ShortToken,
        Self::Device,
        Self::Mtls,
    ];

    /// As the schema's `Login` and the record have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Key => "key",
            Self::Token => "token",
            Self::ShortToken => "short-token",
            Self::Device => "device",
            Self::Mtls => "mtls",
        }
    }
}

/// How it is known who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// None: nobody knows.
    pub login: Option<Login>,
    /// How the identity provider made sure of its person, as the token says (`amr`); sorted, without duplicates.
    pub amr: Vec<Arc<str>>,
    /// To what standard, as the token says.
    pub acr: Option<Arc<str>>,
}

impl From<Login> for Proof {
    fn from(login: Login) -> Self {
        Self {
            login: Some(login),
            ..Self::default()
        }
    }
}

/// The authenticated caller: the actor, and the chain of those it acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Who holds the connection.
    pub actor: Actor,
    /// From the human at the head down to whoever delegated to `actor`; empty without delegation.
    pub on_behalf_of: Vec<Actor>,
    pub issuer: Arc<str>,
    /// When the token was issued at the earliest: by its issuer's clock, less by what that may be ahead. None: nobody
    /// knows.
    pub issued_at: Option<SystemTime>,
    /// When the token ends; the session ends with it.
    pub expires_at: SystemTime,
    /// `jti`, for revocation and for the record.
    pub token_id: Option<String>,
    /// By what they are in now, whatever they had before.
    pub proof: Proof,
}

impl Principal {
    /// A principal that acts for itself.
    pub fn direct(actor: Actor, issuer: &str, expires_at: SystemTime) -> Self {
        Self {
            actor,
            on_behalf_of: Vec::new(),
            issuer: issuer.into(),
            issued_at: None,
            expires_at,
            token_id: None,
            proof: Proof::default(),
        }
    }

    /// The same, in by this.
    pub fn by(mut self, login: Login) -> Self {
        self.proof.login = Some(login);
        self
    }

    /// Every link of the chain, head first, the actor last. All of them must be permitted.
    pub fn chain(&self) -> impl Iterator<Item = &Actor> {
        self.on_behalf_of.iter().chain(std::iter::once(&self.actor))
    }

    /// Is `subject` the actor, one of those it acts for, or the owner of one? Such a person may
    /// not approve this principal's requests.
    pub fn involves(&self, subject: &str) -> bool {
        self.chain()
            .any(|a| &*a.subject == subject || a.owner.as_deref() == Some(subject))
    }
}
