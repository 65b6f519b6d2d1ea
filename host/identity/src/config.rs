//! What the verifier is told: issuers, and what we know about actors.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pipeline::PrincipalKind;

use crate::algorithm::Algorithm;
use crate::certificate::{self, AuthorityConfig};
use crate::dev::{DEV_ISSUER, DevIssuer};
use crate::fetch::{self, FetchError};
use crate::json::Object;
use crate::jwks::JwksError;
use crate::keys::KeySetError;

/// A clock difference above this is not a difference of clocks.
pub const MAX_LEEWAY: Duration = Duration::from_secs(60);
/// How old a token may be unless the configuration says otherwise, and at most.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 3600);
pub const MAX_MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

#[derive(Default)]
pub struct VerifierOptions {
    pub issuers: Vec<IssuerConfig>,
    pub actors: Vec<ActorConfig>,
    /// Whose client certificates are taken.
    pub authorities: Vec<AuthorityConfig>,
    /// Accepts the tokens of the development issuer, too.
    pub dev: Option<DevIssuer>,
}

/// One OIDC issuer whose access tokens are accepted.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// Exactly as in the tokens' `iss`. Also where discovery starts.
    pub issuer: String,
    /// One of these must be in the tokens' `aud`.
    pub audiences: Vec<String>,
    pub jwks: JwksSource,
    pub timing: JwksTiming,
    pub algorithms: Vec<Algorithm>,
    /// What `typ` in the header may say.
    pub types: Vec<TokenType>,
    /// Accept tokens of type `JWT`, or of none, that have no claim by which access tokens differ
    /// from ID tokens. An ID token of the same audience is accepted then, too.
    pub unmarked: bool,
    /// Put before every subject, so that subjects are unique over all issuers.
    pub subject_prefix: String,
    /// Put before every group, so that one issuer cannot put its people into another's groups.
    pub group_prefix: String,
    /// The groups of this issuer that count, as its tokens name them; all when `None`. Others are
    /// left out.
    pub allowed_groups: Option<BTreeSet<String>>,
    /// Its groups are meant to be the same as those of other issuers.
    pub shared_groups: bool,
    /// The claim that names the subject in policies. `sub` must be there in any case. With `email`,
    /// `email_verified` must be true.
    pub subject_claim: ClaimPath,
    pub groups_claim: ClaimPath,
    /// Take `groups` inside `act` objects as the groups of that actor. Otherwise an actor's groups
    /// come from [`ActorConfig`] alone. Only the development issuer does that.
    pub(crate) act_groups: bool,
    /// The kind of principals whose token has no `kind_claim`.
    pub kind: PrincipalKind,
    /// The kind of programs that log in as themselves (client credentials), when their token has no
    /// `kind_claim`. By default they are workloads where `kind` is `User`: a program is no person,
    /// and does not decide what people decide.
    pub service_accounts: Option<PrincipalKind>,
    /// A claim that says what kind of principal this is: `user`, `agent` or `workload`; anything
    /// else is refused.
    pub kind_claim: Option<ClaimPath>,
    /// Claims that policies and plugins may see.
    pub attr_claims: Vec<String>,
    /// One of these in `amr`, or in `acr`, means: step-up authentication was done.
    pub mfa_amr: Vec<String>,
    pub mfa_acr: Vec<String>,
    /// How far the issuer's clock may be ahead of ours (`nbf`, `iat`). Never extends `exp`.
    pub leeway: Duration,
    /// A token issued longer ago is refused, whatever its `exp`. None: `iat` may be absent.
    pub max_age: Option<Duration>,
    /// Authorities for the connections to this issuer, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl IssuerConfig {
    /// An issuer with discovery and the default rules.
    pub fn new(issuer: &str, audience: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audiences: vec![audience.to_owned()],
            jwks: JwksSource::Discovery,
            timing: JwksTiming::default(),
            algorithms: Algorithm::ALL.to_vec(),
            types: vec![TokenType::AccessToken, TokenType::Jwt, TokenType::Absent],
            unmarked: false,
            subject_prefix: String::new(),
            group_prefix: String::new(),
            allowed_groups: None,
            shared_groups: false,
            subject_claim: ClaimPath::name("sub"),
            groups_claim: ClaimPath::name("groups"),
            act_groups: false,
            kind: PrincipalKind::User,
            service_accounts: None,
            kind_claim: None,
            attr_claims: Vec::new(),
            mfa_amr: vec!["mfa".to_owned()],
            mfa_acr: Vec::new(),
            leeway: Duration::from_secs(5),
            max_age: Some(DEFAULT_MAX_AGE),
            ca_file: None,
        }
    }
}

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// `{issuer}/.well-known/openid-configuration` names the place.
    Discovery,
    Uri(String),
    /// A JWKS file; it is read again like a URI would be.
    File(PathBuf),
    /// The JWKS itself.
    Static(String),
}

#[derive(Debug, Clone, Copy)]
pub struct JwksTiming {
    /// Keys are fetched again after this. A key that the issuer withdraws is trusted that long.
    pub ttl: Duration,
    /// If fetching fails, the old keys serve this much longer.
    pub stale_for: Duration,
    /// An unknown key id, or a failure, makes us ask again no more often than this.
    pub min_interval: Duration,
    /// For one HTTP request.
    pub timeout: Duration,
}

impl Default for JwksTiming {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(300),
            stale_for: Duration::from_secs(3600),
            min_interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Values of the header's `typ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068).
    AccessToken,
    Jwt,
    /// No `typ` at all.
    Absent,
}

/// A claim, possibly inside objects: `groups`, or `realm_access` then `roles`. Names are taken as
/// they are, because dots and slashes occur in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    outer: Vec<String>,
    last: String,
}

impl ClaimPath {
    pub fn name(name: &str) -> Self {
        Self {
            outer: Vec::new(),
            last: name.to_owned(),
        }
    }

    /// None for an empty path.
    pub fn nested(path: &[&str]) -> Option<Self> {
        let (last, outer) = path.split_last()?;
        Some(Self {
            outer: outer.iter().map(|s| (*s).to_owned()).collect(),
            last: (*last).to_owned(),
        })
    }

    pub(crate) fn find<'a>(&self, claims: &'a Object) -> Option<&'a serde_json::Value> {
        let mut object = claims;
        for name in &self.outer {
            object = object.get(name)?.as_object()?;
        }
        object.get(&self.last)
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.outer.is_empty() && self.last == name
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.outer {
            write!(f, "{name} > ")?;
        }
        f.write_str(&self.last)
    }
}

/// What an operator knows about an actor and a token need not say.
#[derive(Debug, Clone, Default)]
pub struct ActorConfig {
    /// With the issuer's prefix.
    pub subject: String,
    /// In addition to those of the token. Names as policies use them.
    pub groups: Vec<String>,
    /// The subject who answers for it.
    pub owner: Option<String>,
    pub autonomous: bool,
    /// Overrides what the token says.
    pub kind: Option<PrincipalKind>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("no issuer is configured: nobody could log in")]
    NoIssuer,
    #[error("issuer {0} is configured twice")]
    SameIssuer(String),
    #[error("issuers {0} and {1} have the same subject_prefix: one could name the other's people")]
    SamePrefix(String, String),
    #[error(
        "issuers {0} and {1} could name each other's groups: give one a group_prefix or \
         allowed_groups, or say shared_groups = true"
    )]
    SameGroups(String, String),
    #[error("issuer {issuer}: {problem}")]
    Issuer {
        issuer: String,
        problem: &'static str,
    },
    #[error("issuer {issuer}: {what}")]
    Url {
        issuer: String,
        what: &'static str,
        source: FetchError,
    },
    #[error("issuer {issuer}: key set not usable")]
    Keys { issuer: String, source: KeySetError },
    #[error("issuer {issuer}: keys cannot be had")]
    Jwks { issuer: String, source: JwksError },
    #[error("certificate authority {name}: {problem}")]
    Authority { name: String, problem: &'static str },
    #[error(
        "certificates of {authority} could name the people of issuer {issuer}: give it a \
         subject_prefix of its own, or say shared_subjects = true"
    )]
    SharedSubjects { authority: String, issuer: String },
    #[error(
        "certificate authorities {0} and {1} have the same name or the same subject_prefix: one \
         could name the other's holders"
    )]
    SameAuthority(String, String),
    #[error("actor {0} is configured twice")]
    SameActor(String),
    #[error("actor: subject and groups must not be empty or hold control characters")]
    ActorName,
}

/// Everything that can be known to be wrong without asking anybody.
pub(crate) fn check(options: &VerifierOptions) -> Result<Vec<IssuerConfig>, ConfigError> {
    let mut issuers = Vec::new();
    for issuer in &options.issuers {
        check_issuer(issuer)?;
        issuers.push(issuer.clone());
    }
    if let Some(dev) = &options.dev {
        issuers.push(dev.issuer_config());
    }
    if issuers.is_empty() {
        return Err(ConfigError::NoIssuer);
    }
    for (at, a) in issuers.iter().enumerate() {
        for b in issuers.iter().skip(at + 1) {
            check_pair(a, b)?;
        }
    }
    for (at, authority) in options.authorities.iter().enumerate() {
        certificate::check_authority(authority)?;
        for issuer in &issuers {
            certificate::check_subjects(authority, issuer)?;
        }
        for other in options.authorities.iter().skip(at + 1) {
            certificate::check_authorities(authority, other)?;
        }
    }
    for (at, actor) in options.actors.iter().enumerate() {
        let names = std::iter::once(&actor.subject)
            .chain(&actor.groups)
            .chain(&actor.owner);
        if names
            .into_iter()
            .any(|n| n.is_empty() || n.chars().any(char::is_control))
        {
            return Err(ConfigError::ActorName);
        }
        if options
            .actors
            .iter()
            .skip(at + 1)
            .any(|b| b.subject == actor.subject)
        {
            return Err(ConfigError::SameActor(actor.subject.clone()));
        }
    }
    Ok(issuers)
}

/// Can two issuers be trusted at once, or could one speak for the other's people?
pub fn check_pair(a: &IssuerConfig, b: &IssuerConfig) -> Result<(), ConfigError> {
    let both = || (a.issuer.clone(), b.issuer.clone());
    if a.issuer == b.issuer {
        return Err(ConfigError::SameIssuer(a.issuer.clone()));
    }
    if a.subject_prefix == b.subject_prefix {
        let (a, b) = both();
        return Err(ConfigError::SamePrefix(a, b));
    }
    let open = |i: &IssuerConfig| i.allowed_groups.is_none() && !i.shared_groups;
    if open(a) && open(b) && a.group_prefix == b.group_prefix {
        let (a, b) = both();
        return Err(ConfigError::SameGroups(a, b));
    }
    Ok(())
}

/// Everything about one issuer that can be known to be wrong without asking anybody.
pub fn check_issuer(config: &IssuerConfig) -> Result<(), ConfigError> {
    let bad = |problem| {
        Err(ConfigError::Issuer {
            issuer: config.issuer.clone(),
            problem,
        })
    };
    if config.issuer == DEV_ISSUER {
        return bad("this name belongs to the development issuer");
    }
    let url = |text: &str, what| {
        fetch::check_url(text)
            .map(drop)
            .map_err(|source| ConfigError::Url {
                issuer: config.issuer.clone(),
                what,
                source,
            })
    };
    match &config.jwks {
        JwksSource::Discovery => url(&config.issuer, "the issuer is not usable for discovery")?,
        JwksSource::Uri(uri) => url(uri, "the jwks uri is not usable")?,
        JwksSource::File(_) | JwksSource::Static(_) => {}
    }
    if config.issuer.is_empty() {
        return bad("the issuer's name is empty");
    }
    if config.audiences.is_empty() || config.audiences.iter().any(String::is_empty) {
        return bad("an audience is needed: without one, tokens for any service would be accepted");
    }
    if config.algorithms.is_empty() {
        return bad("no signature algorithm is allowed");
    }
    if config.types.is_empty() {
        return bad("no token type is allowed");
    }
    if config.leeway > MAX_LEEWAY {
        return bad("leeway above 60 seconds");
    }
    if config.max_age.is_some_and(|age| age.is_zero()) {
        return bad("max_age is zero");
    }
    if config.max_age.is_some_and(|age| age > MAX_MAX_AGE) {
        return bad("max_age above 30 days");
    }
    if config.timing.timeout.is_zero() {
        return bad("the timeout for fetching keys is zero");
    }
    if config.subject_prefix.chars().any(char::is_control)
        || config.group_prefix.chars().any(char::is_control)
    {
        return bad("a prefix holds control characters");
    }
    Ok(())
}
