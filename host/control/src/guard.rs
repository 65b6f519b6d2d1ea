//! Leave to act: what a call may touch, and the proof that an act is on record.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use pipeline::{
    Access, Action, ControlEvent, Facts, Principal, PrincipalKind, Protocol, Question, Resource,
    Risk, Ruling, Target,
};

use crate::control::Shared;
use crate::convert;
use crate::error::ApiError;

/// What an action is asked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) resource: Resource,
    pub(crate) target: Option<Arc<Target>>,
}

impl From<Resource> for Subject {
    fn from(resource: Resource) -> Self {
        Self {
            resource,
            target: None,
        }
    }
}

impl Subject {
    /// Weir as a whole: a target that is not named.
    pub(crate) fn system() -> Self {
        Resource::Target.into()
    }
}

/// The name of a resource in the record.
pub(crate) fn name_of(subject: &Subject) -> String {
    match &subject.resource {
        Resource::Target => match &subject.target {
            Some(target) => format!("Target::{:?}", target.name),
            None => "System".into(),
        },
        Resource::Session { id, .. } => format!("Session::\"{id}\""),
        Resource::Bundle { digest, .. } => format!("Bundle::{digest:?}"),
        Resource::Plugin { name } => format!("Plugin::{name:?}"),
        Resource::ApprovalRule { rule, .. } => format!("ApprovalRule::{rule:?}"),
        other => format!("{other:?}"),
    }
}

/// Does the active bundle permit `principal` to do `action` on `subject`? A ruling that asks for
/// approval is a denial: the control plane does not hold its own calls.
pub(crate) fn permitted(
    shared: &Shared,
    principal: &Principal,
    source: IpAddr,
    action: Action,
    subject: &Subject,
) -> Result<(), String> {
    let access = [Access {
        action,
        resource: subject.resource.clone(),
        target: subject.target.clone(),
    }];
    let ruling = shared.authorizer.pin().authorize(&Question {
        principal,
        source,
        session: "",
        now: shared.clock.now(),
        facts: None,
        risk: &Risk::default(),
        approvals: &BTreeSet::new(),
        accesses: &access,
    });
    match ruling {
        Ruling::Permit { .. } => Ok(()),
        Ruling::Deny { reason, .. } | Ruling::NeedsApproval { reason, .. } => Err(reason),
    }
}

/// Votes, activations and confirmations are a person's: nobody's agent, and no service account.
pub(crate) fn only_people(who: &Principal, what: &str) -> Result<(), ApiError> {
    if who.actor.kind == PrincipalKind::User && who.on_behalf_of.is_empty() {
        return Ok(());
    }
    let text = format!("only people {what}, with a token of their own");
    Err(ApiError::forbidden(text))
}

/// Does `who`, or anybody who answers for what `who` does, belong to those involved?
pub(crate) fn involved_in(involved: &[String], who: &Principal) -> bool {
    let mine = convert::involved(who);
    involved.iter().any(|subject| mine.contains(subject))
}

/// Proof that an act is durably on record. Everything that changes state takes one.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    by: Arc<Principal>,
    at: SystemTime,
}

impl Recorded {
    pub(crate) fn by(&self) -> &Arc<Principal> {
        &self.by
    }

    pub(crate) fn at(&self) -> SystemTime {
        self.at
    }
}

/// An authorized call: who calls, and on which subjects the route's action is permitted. Handlers
/// get it from the gate; there is no other way to have one.
#[derive(Clone)]
pub(crate) struct Permit {
    pub(crate) shared: Shared,
    pub(crate) principal: Arc<Principal>,
    pub(crate) source: IpAddr,
    pub(crate) action: Action,
    /// Those of the route's subjects that are permitted; at least one.
    pub(crate) subjects: Arc<[Subject]>,
    /// Method and path, for the record.
    pub(crate) call: Arc<str>,
}

impl Permit {
    /// Is another action permitted?
    pub(crate) fn may_do(&self, action: Action, subject: &Subject) -> bool {
        permitted(&self.shared, &self.principal, self.source, action, subject).is_ok()
    }

    /// Is the route's action permitted on this subject, too? For the items of lists.
    pub(crate) fn may(&self, subject: &Subject) -> bool {
        permitted(
            &self.shared,
            &self.principal,
            self.source,
            self.action,
            subject,
        )
        .is_ok()
    }

    /// Would policy let them connect to this host, perhaps once somebody has agreed? As which account is not known
    /// here: a bundle that permits some accounts only lists none.
    pub(crate) fn may_connect(&self, target: &Arc<Target>) -> bool {
        let access = [Access {
            action: Action::SshConnect,
            resource: Resource::SshAccount { login: "".into() },
            target: Some(target.clone()),
        }];
        let facts = Facts::Connect {
            protocol: Protocol::Ssh,
            scope: "".into(),
        };
        let ruling = self.shared.authorizer.pin().authorize(&Question {
            principal: &self.principal,
            source: self.source,
            session: "",
            now: self.shared.clock.now(),
            facts: Some(&facts),
            risk: &Risk::default(),
            approvals: &BTreeSet::new(),
            accesses: &access,
        });
        match ruling {
            Ruling::Permit { .. } | Ruling::NeedsApproval { .. } => true,
            Ruling::Deny { .. } => false,
        }
    }

    /// The approval rules among the permitted subjects.
    pub(crate) fn rules(&self) -> BTreeSet<Arc<str>> {
        self.subjects
            .iter()
            .filter_map(|s| match &s.resource {
                Resource::ApprovalRule { rule, .. } => Some(rule.clone()),
                _ => None,
            })
            .collect()
    }

    /// Records the act, then does it. Goes on to its end when the caller goes away. When it fails,
    /// that is recorded too.
    pub(crate) async fn perform<T, F, Fut>(
        &self,
        resource: String,
        detail: String,
        effect: F,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(Recorded) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, ApiError>> + Send + 'static,
    {
        let Ok(place) = self.shared.acts.clone().try_acquire_owned() else {
            return Err(ApiError::unavailable("too many changes at once").retry_after(1));
        };
        let permit = self.clone();
        // Only a panic ends this task early; a shutdown waits for it.
        let act = self.shared.tasks.spawn(async move {
            let _place = place;
            let mut event = permit.event(resource, detail, Ok(()));
            let recorded = Recorded {
                by: permit.principal.clone(),
                at: event.at,
            };
            record(&permit.shared, event.clone()).await?;
            let result = effect(recorded).await;
            if let Err(error) = &result {
                event.at = permit.shared.clock.now();
                match error.goes_on {
                    // It was not refused.
                    true => event.detail = format!("{}: {}", event.detail, error.message),
                    false => event.result = Err(error.message.clone()),
                }
                // The caller is told of the failure in any case.
                record(&permit.shared, event).await.ok();
            }
            result
        });
        match act.await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, call = %self.call, "a call of the API ended unexpectedly");
                Err(ApiError::internal("the call ended unexpectedly"))
            }
        }
    }

    /// Records that this call is refused after all, and gives the refusal back.
    pub(crate) async fn refuse(&self, resource: String, error: ApiError) -> ApiError {
        let event = self.event(resource, String::new(), Err(error.message.clone()));
        match record(&self.shared, event).await {
            Ok(()) => error,
            Err(unrecorded) => unrecorded,
        }
    }

    /// Records what became of an act that took its time, under a name of its own.
    pub(crate) async fn tell(
        &self,
        name: &str,
        resource: String,
        detail: String,
    ) -> Result<(), ApiError> {
        let event = ControlEvent {
            action: name.to_owned(),
            ..self.event(resource, detail, Ok(()))
        };
        record(&self.shared, event).await
    }

    fn event(&self, resource: String, detail: String, result: Result<(), String>) -> ControlEvent {
        event(
            &self.shared,
            Some(self.principal.clone()),
            self.action,
            resource,
            &format!("{} from {}: {detail}", self.call, self.source),
            result,
        )
    }
}

pub(crate) fn event(
    shared: &Shared,
    principal: Option<Arc<Principal>>,
    action: Action,
    resource: String,
    detail: &str,
    result: Result<(), String>,
) -> ControlEvent {
    ControlEvent {
        at: shared.clock.now(),
        principal,
        action: action.as_str().to_owned(),
        resource,
        result,
        detail: detail.trim_end_matches([':', ' ']).to_owned(),
    }
}

/// Durable when it returns `Ok`.
pub(crate) async fn record(shared: &Shared, event: ControlEvent) -> Result<(), ApiError> {
    shared.journal.event(event).await.map_err(|error| {
        tracing::error!(%error, "the recorder cannot record a call, or its end");
        ApiError::unavailable("this cannot be recorded at the moment, so it is not done")
            .hint("Weir refuses what it cannot record. Ask its operators to look at the recorder.")
    })
}

impl<S: Sync> FromRequestParts<S> for Permit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ApiError::internal("this route has no gate"))
    }
}
