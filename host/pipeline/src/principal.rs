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

/// The authenticated caller: the actor, and the chain of those it acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Who holds the connection.
    pub actor: Actor,
    /// From the human at the head down to whoever delegated to `actor`; empty without delegation.
    pub on_behalf_of: Vec<Actor>,
    pub issuer: Arc<str>,
    /// When the token was issued, by its issuer's clock. None: nobody knows.
    pub issued_at: Option<SystemTime>,
    /// When the token ends; the session ends with it.
    pub expires_at: SystemTime,
    /// `jti`, for revocation and for the record.
    pub token_id: Option<String>,
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
        }
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
