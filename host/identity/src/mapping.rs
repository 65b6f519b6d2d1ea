//! From claims to a principal: the subject, its groups, and the chain of those who act for it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use pipeline::{Actor, Login, Principal, PrincipalKind, Proof};
use serde_json::Value;

use crate::claims::{Standing, is_service_account, string};
use crate::config::{ActorConfig, IssuerConfig};
use crate::error::{AuthError, shorten};
use crate::json::Object;

/// Links of `act` in one token. Longer chains are a loop, or nothing that anybody can still judge.
const MAX_ACTORS: usize = 4;
const MAX_SUBJECT_BYTES: usize = 255;
const MAX_GROUPS: usize = 500;
const MAX_GROUP_BYTES: usize = 255;
const MAX_ATTR_BYTES: usize = 1024;
/// Values of `amr`, and bytes of each and of `acr`: there are some twenty (RFC 8176), and `acr` may be a URI.
const MAX_AMR: usize = 32;
const MAX_METHOD_BYTES: usize = 255;

/// What the mapping of one issuer's tokens needs to know.
pub(crate) struct Mapping {
    pub(crate) config: IssuerConfig,
    pub(crate) issuer: Arc<str>,
    /// Longer prefixes of other issuers that begin with ours: subjects there are not ours.
    pub(crate) foreign_prefixes: Vec<String>,
    /// The same for groups.
    pub(crate) foreign_groups: Vec<String>,
}

impl Mapping {
    /// `claims` are verified.
    pub(crate) fn principal(
        &self,
        claims: &Object,
        standing: Standing,
        actors: &HashMap<String, ActorConfig>,
    ) -> Result<Principal, AuthError> {
        let head = self.head(claims, actors)?;
        // The outermost `act` is who acts now; what is nested in it acted before (RFC 8693, 4.1).
        let mut chain = self.delegates(claims, actors)?;
        let (actor, on_behalf_of) = if chain.is_empty() {
            (head, Vec::new())
        } else {
            let current = chain.remove(0);
            let earlier = chain.into_iter().rev();
            (current, std::iter::once(head).chain(earlier).collect())
        };
        Ok(Principal {
            actor,
            on_behalf_of,
            issuer: self.issuer.clone(),
            issued_at: standing.issued,
            expires_at: standing.ends,
            token_id: standing.jti,
            proof: proof(claims)?,
        })
    }

    /// The token's own subject.
    fn head(
        &self,
        claims: &Object,
        actors: &HashMap<String, ActorConfig>,
    ) -> Result<Actor, AuthError> {
        let config = &self.config;
        if config.subject_claim.is("email")
            && claims.get("email_verified") != Some(&Value::Bool(true))
        {
            return Err(AuthError::claim(
                "email_verified",
                "is not true, and email is the subject",
            ));
        }
        let name = match config.subject_claim.find(claims) {
            Some(Value::String(name)) => name,
            Some(_) => return Err(AuthError::claim("sub", "is not a string")),
            None => return Err(AuthError::Missing("sub (or the configured subject claim)")),
        };
        let subject = self.subject(name)?;
        self.refuse_unlisted_groups(claims)?;
        let mut actor = Actor {
            kind: self.kind(claims, self.kind_by_default(claims))?,
            subject: subject.into(),
            groups: self.groups(config.groups_claim.find(claims))?,
            mfa: self.mfa(claims)?,
            autonomous: false,
            owner: None,
            attrs: self.attrs(claims)?,
        };
        decorate(&mut actor, actors);
        Ok(actor)
    }

    /// All `act` objects, the outermost first.
    fn delegates(
        &self,
        claims: &Object,
        actors: &HashMap<String, ActorConfig>,
    ) -> Result<Vec<Actor>, AuthError> {
        let mut chain = Vec::new();
        let mut inside = claims;
        while let Some(act) = inside.get("act") {
            let act = act
                .as_object()
                .ok_or(AuthError::Delegation("act is not an object"))?;
            if chain.len() == MAX_ACTORS {
                return Err(AuthError::Delegation("the chain is too long"));
            }
            chain.push(self.delegate(act, actors)?);
            inside = act;
        }
        Ok(chain)
    }

    fn delegate(
        &self,
        act: &Object,
        actors: &HashMap<String, ActorConfig>,
    ) -> Result<Actor, AuthError> {
        // An issuer speaks for its own actors only.
        if string(act, "iss")?.is_some_and(|iss| iss != self.config.issuer) {
            return Err(AuthError::Delegation("an actor is of another issuer"));
        }
        if act.contains_key("cnf") {
            return Err(AuthError::Bound);
        }
        let name = string(act, "sub")?.ok_or(AuthError::Delegation("an actor has no sub"))?;
        let groups = if self.config.act_groups {
            act.get("groups")
        } else {
            None
        };
        let mut actor = Actor {
            kind: self.kind(act, PrincipalKind::Agent)?,
            subject: self.subject(name)?.into(),
            groups: self.groups(groups)?,
            mfa: false,
            autonomous: false,
            owner: None,
            attrs: BTreeMap::new(),
        };
        decorate(&mut actor, actors);
        Ok(actor)
    }

    fn subject(&self, name: &str) -> Result<String, AuthError> {
        if !is_name(name) {
            return Err(AuthError::claim(
                "sub",
                "is empty, too long or holds control characters",
            ));
        }
        let subject = format!("{}{name}", self.config.subject_prefix);
        if self.foreign_prefixes.iter().any(|p| subject.starts_with(p)) {
            return Err(AuthError::ForeignSubject(shorten(&subject)));
        }
        Ok(subject)
    }

    /// Of a token that does not say it.
    fn kind_by_default(&self, claims: &Object) -> PrincipalKind {
        match (self.config.kind, self.config.service_accounts) {
            (_, Some(kind)) if is_service_account(claims) => kind,
            (PrincipalKind::User, None) if is_service_account(claims) => PrincipalKind::Workload,
            (kind, _) => kind,
        }
    }

    fn kind(&self, claims: &Object, default: PrincipalKind) -> Result<PrincipalKind, AuthError> {
        let Some(path) = &self.config.kind_claim else {
            return Ok(default);
        };
        match path.find(claims) {
            None => Ok(default),
            Some(value) => value
                .as_str()
                .and_then(kind_of)
                .ok_or_else(|| AuthError::claim(&path.to_string(), "names no known kind")),
        }
    }

    fn groups(&self, claim: Option<&Value>) -> Result<Vec<Arc<str>>, AuthError> {
        let bad = |problem| {
            Err(AuthError::claim(
                &self.config.groups_claim.to_string(),
                problem,
            ))
        };
        let list = match claim {
            None => return Ok(Vec::new()),
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            Some(Value::Array(list)) => list.as_slice(),
            Some(_) => return bad("is neither a list nor a string"),
        };
        if list.len() > MAX_GROUPS {
            return bad("has too many groups");
        }
        let mut groups: Vec<Arc<str>> = Vec::with_capacity(list.len());
        for group in list {
            let Some(name) = group.as_str() else {
                return bad("holds what is not a string");
            };
            if name.is_empty() || name.len() > MAX_GROUP_BYTES || name.chars().any(invisible) {
                return bad("holds an empty, too long or unprintable name");
            }
            let allowed = self.config.allowed_groups.as_ref();
            if allowed.is_some_and(|allowed| !allowed.contains(name)) {
                continue;
            }
            let group = format!("{}{name}", self.config.group_prefix);
            let foreign = |p: &String| group.starts_with(p);
            // Leaving it out would make a member of it nobody's: that could evade what forbids.
            if !self.config.shared_groups && self.foreign_groups.iter().any(foreign) {
                return bad("holds a name of another issuer's groups");
            }
            groups.push(group.into());
        }
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    /// With very many groups, some providers leave them out and say where to ask for them
    /// (OpenID Connect Core 5.6.2). Whoever then counts as in no group evades what forbids a group.
    fn refuse_unlisted_groups(&self, claims: &Object) -> Result<(), AuthError> {
        let elsewhere = claims.get("_claim_names").and_then(Value::as_object);
        let overage = claims
            .get("hasgroups")
            .is_some_and(|v| v != &Value::Bool(false));
        let distributed = elsewhere
            .is_some_and(|names| names.keys().any(|name| self.config.groups_claim.is(name)));
        if overage || distributed {
            return Err(AuthError::claim(
                "groups",
                "is left out because there are too many",
            ));
        }
        Ok(())
    }

    fn mfa(&self, claims: &Object) -> Result<bool, AuthError> {
        let amr = methods(claims)?
            .iter()
            .filter_map(Value::as_str)
            .any(|m| self.config.mfa_amr.iter().any(|wanted| wanted == m));
        let acr = string(claims, "acr")?;
        Ok(amr || acr.is_some_and(|a| self.config.mfa_acr.iter().any(|wanted| wanted == a)))
    }

    /// Scalars only: a list or an object has no one meaning as an attribute.
    fn attrs(&self, claims: &Object) -> Result<BTreeMap<String, String>, AuthError> {
        let mut attrs = BTreeMap::new();
        for name in &self.config.attr_claims {
            let value = match claims.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(s)) => s.clone(),
                Some(Value::Bool(b)) => b.to_string(),
                Some(Value::Number(n)) => n.to_string(),
                Some(_) => return Err(AuthError::claim(name, "is not a single value")),
            };
            if value.len() > MAX_ATTR_BYTES || value.chars().any(invisible) {
                return Err(AuthError::claim(
                    name,
                    "is too long or holds control characters",
                ));
            }
            attrs.insert(name.clone(), value);
        }
        Ok(attrs)
    }
}

fn methods(claims: &Object) -> Result<&[Value], AuthError> {
    match claims.get("amr") {
        None => Ok(&[]),
        Some(Value::Array(methods)) => Ok(methods),
        Some(_) => Err(AuthError::claim("amr", "is not a list")),
    }
}

/// What the token says of how its person was authenticated. Leaving some of it out could evade what forbids it.
fn proof(claims: &Object) -> Result<Proof, AuthError> {
    let fits = |text: &str| text.len() <= MAX_METHOD_BYTES && !text.chars().any(invisible);
    let list = methods(claims)?;
    if list.len() > MAX_AMR {
        return Err(AuthError::claim("amr", "has too many methods"));
    }
    let mut amr: Vec<Arc<str>> = Vec::with_capacity(list.len());
    for method in list.iter().filter_map(Value::as_str) {
        if !fits(method) {
            return Err(AuthError::claim(
                "amr",
                "holds a name that is too long or unprintable",
            ));
        }
        amr.push(method.into());
    }
    amr.sort();
    amr.dedup();
    let acr = string(claims, "acr")?;
    if acr.is_some_and(|acr| !fits(acr)) {
        return Err(AuthError::claim("acr", "is too long or unprintable"));
    }
    Ok(Proof {
        login: Some(Login::Token),
        amr,
        acr: acr.map(Arc::from),
    })
}

/// What the kind claim may say.
fn kind_of(value: &str) -> Option<PrincipalKind> {
    match value {
        "user" => Some(PrincipalKind::User),
        "agent" => Some(PrincipalKind::Agent),
        "workload" => Some(PrincipalKind::Workload),
        _ => None,
    }
}

/// Characters that make two names look the same, or break a line of a log.
fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// May this name somebody?
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_SUBJECT_BYTES && !name.chars().any(invisible)
}

/// Adds what the operator knows about this actor.
pub(crate) fn decorate(actor: &mut Actor, actors: &HashMap<String, ActorConfig>) {
    let Some(known) = actors.get(&*actor.subject) else {
        return;
    };
    actor
        .groups
        .extend(known.groups.iter().map(|g| Arc::from(g.as_str())));
    actor.groups.sort();
    actor.groups.dedup();
    actor.owner = known.owner.as_deref().map(Arc::from);
    actor.autonomous = known.autonomous;
    if let Some(kind) = known.kind {
        actor.kind = kind;
    }
}
