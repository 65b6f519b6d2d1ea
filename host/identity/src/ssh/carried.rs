//! A principal as JSON, inside a caller's certificate.
//!
//! It is signed with the rest, so it comes from us; it is read strictly all the same, since what is left out or
//! misunderstood here would be somebody with other rights.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::{Actor, Login, Principal, PrincipalKind, Proof};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::IssueError;
use super::revoked::second;
use crate::json;

/// The one layout that there is. Another one gets another number, and is refused by whoever knows this.
const VERSION: u8 = 1;
/// What goes through every client, agent and server without being in anybody's way.
const MAX_BYTES: usize = 16 * 1024;
/// An object, its list of actors, one of them, its attributes.
const MAX_DEPTH: usize = 4;
/// As many as a token may have (`mapping`).
const MAX_DELEGATORS: usize = 4;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PrincipalDoc {
    v: u8,
    issuer: String,
    /// In seconds. Not in what was written before Weir looked at it.
    #[serde(default)]
    issued_at: Option<u64>,
    token_id: Option<String>,
    actor: ActorDoc,
    on_behalf_of: Vec<ActorDoc>,
    /// Not in what was written before Weir looked at it, nor where the token says nothing of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    amr: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActorDoc {
    kind: KindDoc,
    subject: String,
    groups: Vec<String>,
    mfa: bool,
    autonomous: bool,
    owner: Option<String>,
    attrs: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindDoc {
    User,
    Agent,
    Workload,
}

/// `expires_at` is not in it: the certificate's own end is. Nor is by what somebody got it: in they come by what it is in.
pub(super) fn write(principal: &Principal) -> Result<String, IssueError> {
    let Principal {
        actor,
        on_behalf_of,
        issuer,
        issued_at,
        expires_at: _,
        token_id,
        proof,
    } = principal;
    let doc = PrincipalDoc {
        v: VERSION,
        issuer: issuer.to_string(),
        issued_at: issued_at.map(second),
        token_id: token_id.clone(),
        actor: actor_doc(actor),
        on_behalf_of: on_behalf_of.iter().map(actor_doc).collect(),
        amr: proof.amr.iter().map(ToString::to_string).collect(),
        acr: proof.acr.as_ref().map(ToString::to_string),
    };
    let text = serde_json::to_string(&doc).map_err(|_| IssueError::TooLarge)?;
    // What could not be read again is not to be signed.
    match text.len() <= MAX_BYTES && doc.on_behalf_of.len() <= MAX_DELEGATORS {
        true => Ok(text),
        false => Err(IssueError::TooLarge),
    }
}

fn actor_doc(actor: &Actor) -> ActorDoc {
    let Actor {
        kind,
        subject,
        groups,
        mfa,
        autonomous,
        owner,
        attrs,
    } = actor;
    ActorDoc {
        kind: match kind {
            PrincipalKind::User => KindDoc::User,
            PrincipalKind::Agent => KindDoc::Agent,
            PrincipalKind::Workload => KindDoc::Workload,
        },
        subject: subject.to_string(),
        groups: groups.iter().map(ToString::to_string).collect(),
        mfa: *mfa,
        autonomous: *autonomous,
        owner: owner.as_ref().map(ToString::to_string),
        attrs: attrs.clone(),
    }
}

/// `login`: what carries it.
pub(super) fn read(
    text: &str,
    login: Login,
    expires_at: SystemTime,
) -> Result<Principal, &'static str> {
    if text.len() > MAX_BYTES {
        return Err("it is too large");
    }
    let object = json::object(text.as_bytes(), MAX_DEPTH).map_err(|_| "it is not strict JSON")?;
    if object.get("v") != Some(&Value::from(VERSION)) {
        return Err("it is laid out by another version of Weir; log in again");
    }
    let doc: PrincipalDoc = serde_json::from_value(Value::Object(object))
        .map_err(|_| "something is missing in it, or unknown")?;
    if doc.on_behalf_of.len() > MAX_DELEGATORS {
        return Err("its chain is too long");
    }
    let delegators: Option<Vec<Actor>> = doc.on_behalf_of.into_iter().map(actor).collect();
    let (Some(actor), Some(on_behalf_of)) = (actor(doc.actor), delegators) else {
        return Err("somebody in it has no name");
    };
    let mut amr: Vec<Arc<str>> = doc.amr.into_iter().map(Arc::from).collect();
    amr.sort();
    amr.dedup();
    let issued_at = match doc.issued_at {
        None => None,
        Some(at) => {
            let at = UNIX_EPOCH.checked_add(Duration::from_secs(at));
            Some(at.ok_or("its token was issued at no time")?)
        }
    };
    Ok(Principal {
        actor,
        on_behalf_of,
        issuer: doc.issuer.into(),
        issued_at,
        expires_at,
        token_id: doc.token_id,
        proof: Proof {
            login: Some(login),
            amr,
            acr: doc.acr.map(Arc::from),
        },
    })
}

fn actor(doc: ActorDoc) -> Option<Actor> {
    let unnamed = |name: &String| name.is_empty() || name.chars().any(char::is_control);
    let names = std::iter::once(&doc.subject).chain(&doc.groups);
    if names.chain(&doc.owner).any(unnamed) {
        return None;
    }
    let mut groups: Vec<Arc<str>> = doc.groups.into_iter().map(Arc::from).collect();
    groups.sort();
    groups.dedup();
    Some(Actor {
        kind: match doc.kind {
            KindDoc::User => PrincipalKind::User,
            KindDoc::Agent => PrincipalKind::Agent,
            KindDoc::Workload => PrincipalKind::Workload,
        },
        subject: doc.subject.into(),
        groups,
        mfa: doc.mfa,
        autonomous: doc.autonomous,
        owner: doc.owner.map(Arc::from),
        attrs: doc.attrs,
    })
}
