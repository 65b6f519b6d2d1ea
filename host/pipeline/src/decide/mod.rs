//! The one decision: classify → authorize → hold (journalled) → journal the intent → permit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::action::{Access, Action};
use crate::approval::{Fingerprint, HoldInfo, HoldOutcome, Route};
use crate::facts::Facts;
use crate::impact::{Impact, Survey};
use crate::parameter::Parameter;
use crate::permit::{Obligations, Permitted, Receipt, Request};
use crate::ports::HoldRequest;
use crate::record::{Approval, Basis, HoldRecord, Intent, RefusalRecord};
use crate::refusal::{Fault, Refusal, RefusalKind};
use crate::risk::Risk;
use crate::session::{BundleRef, Session, not_recorded};

mod durability;
mod judge;

pub use judge::{Case, Verdict, judge};

/// A survey bounds itself; this is for one that does not.
const SURVEY_AT_MOST: Duration = Duration::from_secs(2);
/// What to do about a denied `data:compute`.
const COMPUTE_HINT: &str = "Leave labelled columns out of WHERE, JOIN, ORDER BY, GROUP BY, DISTINCT and CASE, or \
     ask for the permission data:compute on them.";

/// What the protocol crate offers while a decision takes its time.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Cancelled when the client cancels this action or goes away.
    pub cancel: &'a CancellationToken,
    /// Called once when the action is held; must not block.
    pub on_hold: &'a (dyn Fn(&HoldInfo) + Send + Sync),
    /// Asked what the action would touch, before it is held.
    pub survey: Option<&'a dyn Survey>,
}

/// A permit on its way: by which policies, under which approval.
struct Granted {
    policies: Vec<Arc<str>>,
    rules: BTreeSet<Arc<str>>,
    approval: Option<Approval>,
    obligations: Obligations,
    /// The time that policies saw.
    at: SystemTime,
}

/// Decides one action. On `Ok` the intent is durable and the request may be forwarded once; on `Err`
/// nothing may be forwarded and the refusal is on record. Not cancel safe: cancel by `caller.cancel`.
pub async fn decide<R>(
    session: &Session,
    mut request: Request<R>,
    caller: Caller<'_>,
) -> Result<Permitted<R>, Refusal> {
    let started = Instant::now();
    let seq = session.next_seq();
    let fingerprint = fingerprint(session, &request);
    let info = &session.info;
    let computing = request.computed.iter();
    let computing = computing.map(|c| Access::compute(c, &info.scope, &info.target));
    request.accesses.extend(computing);

    let risk = session
        .ports
        .hooks
        .classify(&session.info, &request.facts)
        .await;

    let asked = session.ports.clock.now();
    let mut basis = Basis::new(asked, request.unmaskable);
    let verdict = judge(
        &*request.policy,
        &case(session, &request, &risk),
        &BTreeSet::new(),
        asked,
    );
    let granted = match verdict {
        Verdict::Permit {
            policies,
            obligations,
        } => Ok(Granted {
            policies,
            rules: BTreeSet::new(),
            approval: None,
            obligations,
            at: asked,
        }),
        Verdict::Deny { policies, reason } => Err(Turned::down(denied(reason, policies))),
        Verdict::Hold {
            rules,
            policies,
            reason,
        } => {
            basis.rules.clone_from(&rules);
            hold(
                session,
                &request,
                seq,
                fingerprint,
                &risk,
                (rules, policies, reason),
                &mut basis,
                caller,
            )
            .await
        }
    };
    let granted = match granted {
        Ok(granted) => granted,
        Err(turned) => {
            return Err(refuse(session, request, seq, fingerprint, (risk, basis), turned).await);
        }
    };

    let durability = durability::durability(&request, granted.approval.as_ref());
    let intent = Intent {
        durability,
        seq,
        at: granted.at,
        facts: request.facts,
        accesses: request.accesses,
        risk: risk.clone(),
        basis: basis.of(request.labelled),
        bundle: request.policy.bundle().clone(),
        policies: granted.policies,
        approval: granted.approval,
        fingerprint,
        parameters: request.parameters,
        masked: granted
            .obligations
            .masked
            .iter()
            .map(|c| format!("{}.{}.{}", c.schema, c.table, c.column))
            .collect(),
    };
    if let Err(error) = session.journal.intent(intent).await {
        return Err(Refusal {
            seq: Some(seq),
            ..not_recorded(error)
        });
    }

    let receipt = Receipt {
        seq,
        started,
        took: None,
        risk,
        obligations: granted.obligations,
        approvals: granted.rules,
    };
    Ok(Permitted::new(request.payload, receipt))
}

/// SHA-256 over everything that an approval is for.
fn fingerprint<R>(session: &Session, request: &Request<R>) -> Fingerprint {
    let bundle = request.policy.bundle();
    fingerprint_of(session, bundle, &request.canonical, &request.facts)
}

pub(crate) fn fingerprint_of(
    session: &Session,
    bundle: &BundleRef,
    canonical: &[u8],
    facts: &Facts,
) -> Fingerprint {
    let principal = &session.info.principal;
    let mut parts: Vec<&[u8]> = vec![
        bundle.digest.as_bytes(),
        session.info.target.name.as_bytes(),
        session.info.scope.as_bytes(),
        principal.issuer.as_bytes(),
    ];
    for actor in principal.chain() {
        parts.push(actor.kind.as_str().as_bytes());
        parts.push(actor.subject.as_bytes());
    }
    parts.push(canonical);
    for named in facts.runs() {
        parts.extend([named.name.as_bytes(), named.text.as_bytes()]);
        for parameter in named.parameters.iter() {
            match parameter {
                Parameter::Null => parts.push(b"null"),
                Parameter::Text(value) => parts.extend([&b"value"[..], value]),
                Parameter::Binary(value) => {
                    let of = value.of.as_deref().unwrap_or_default();
                    parts.extend([&b"binary"[..], of.as_bytes(), &value.bytes]);
                }
            }
        }
    }
    Fingerprint::of(parts)
}

/// Asks people, then Cedar again. The approval is good for this fingerprint and this bundle only. That it waits is
/// durable before the caller is told, so that it stays on record whatever becomes of Weir.
#[allow(clippy::too_many_arguments)] // The parts of one decision, passed on once.
async fn hold<R>(
    session: &Session,
    request: &Request<R>,
    seq: u64,
    fingerprint: Fingerprint,
    risk: &Arc<Risk>,
    (rules, policies, reason): (Vec<Arc<str>>, Vec<Arc<str>>, String),
    basis: &mut Basis,
    caller: Caller<'_>,
) -> Result<Granted, Turned> {
    let (routes, impact) =
        tokio::join!(routes(session, request, risk, &rules), look(caller.survey));
    let routes = routes?;
    let asked = HoldRequest {
        session: session.info.clone(),
        seq,
        facts: request.facts.clone(),
        risk: Risk::clone(risk),
        bundle: request.policy.bundle().clone(),
        fingerprint,
        parameters: request.parameters.clone(),
        computed: request.computed.clone(),
        impact: impact.clone(),
        reason,
        routes,
    };
    let mut hold = session.ports.approver.open(asked).await.map_err(|error| {
        tracing::warn!(%error, "a hold could not be opened");
        Turned::down(Refusal::new(
            RefusalKind::ApprovalUnavailable,
            Fault::Us,
            format!("this needs an approval, which cannot be asked for now: {error}"),
        ))
    })?;
    let held = Held {
        id: hold.info().id.clone(),
        impact,
    };
    let begins = HoldRecord {
        seq,
        at: session.ports.clock.now(),
        facts: request.facts.clone(),
        accesses: request.accesses.clone(),
        risk: risk.clone(),
        basis: basis.clone().of(request.labelled.clone()),
        bundle: request.policy.bundle().clone(),
        policies,
        hold: held.id.clone(),
        reason: hold.info().reason.clone(),
        expires_at: hold.info().expires_at,
        fingerprint,
        parameters: request.parameters.clone(),
        shown: held.shown(),
    };
    if let Err(error) = session.journal.held(begins).await {
        hold.abandon().await;
        return Err(Turned {
            refusal: not_recorded(error),
            hold: Some(held),
        });
    }
    (caller.on_hold)(hold.info());

    // The end of the session comes first: who cancels because of it is told why.
    let outcome = tokio::select! {
        biased;
        _ = session.ended() => Err((
            RefusalKind::SessionEnded,
            Fault::Policy,
            "the session ended while this waited for approval",
        )),
        () = caller.cancel.cancelled() => Err((
            RefusalKind::Abandoned,
            Fault::Client,
            "cancelled while it waited for approval",
        )),
        outcome = hold.decided() => Ok(outcome),
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err((kind, fault, reason)) => {
            hold.abandon().await;
            return Err(Turned::held(held, kind, fault, reason));
        }
    };
    let approvers = match outcome {
        HoldOutcome::Approved {
            approvers,
            fingerprint: given,
        } if given == fingerprint => approvers,
        HoldOutcome::Approved { .. } => {
            let reason = "the approval was given for something else";
            return Err(Turned::held(
                held,
                RefusalKind::HoldDenied,
                Fault::Us,
                reason,
            ));
        }
        HoldOutcome::Denied { by, reason } => {
            let reason = format!("denied by {by}: {reason}");
            return Err(Turned::held(
                held,
                RefusalKind::HoldDenied,
                Fault::Policy,
                reason,
            ));
        }
        HoldOutcome::Expired => {
            let reason = "nobody approved it in time";
            return Err(Turned::held(
                held,
                RefusalKind::HoldExpired,
                Fault::Policy,
                reason,
            ));
        }
        HoldOutcome::Abandoned => {
            let reason = "the hold was abandoned";
            return Err(Turned::held(
                held,
                RefusalKind::Abandoned,
                Fault::Client,
                reason,
            ));
        }
    };

    let now_active = session.pin();
    if now_active.bundle().digest != request.policy.bundle().digest {
        let reason = "the policy bundle changed while this waited; send it again";
        return Err(Turned::held(
            held,
            RefusalKind::PolicyChanged,
            Fault::Policy,
            reason,
        ));
    }
    let granted: BTreeSet<Arc<str>> = rules.iter().cloned().collect();
    let at = session.ports.clock.now();
    basis.again = Some(at);
    match judge(&*now_active, &case(session, request, risk), &granted, at) {
        Verdict::Permit {
            policies,
            obligations,
        } => Ok(Granted {
            policies,
            rules: granted,
            approval: Some(Approval {
                shown: held.shown(),
                hold: held.id,
                rules,
                approvers,
            }),
            obligations,
            at,
        }),
        Verdict::Deny { reason, policies }
        | Verdict::Hold {
            reason, policies, ..
        } => Err(Turned {
            refusal: denied(reason, policies),
            hold: Some(held),
        }),
    }
}

/// What is judged, of a request in its session.
fn case<'a, R>(session: &'a Session, request: &'a Request<R>, risk: &'a Risk) -> Case<'a> {
    Case {
        session: &session.info,
        facts: &request.facts,
        accesses: &request.accesses,
        labelled: &request.labelled,
        unmaskable: request.unmaskable,
        risk,
    }
}

/// Whom to ask, one for each rule.
async fn routes<R>(
    session: &Session,
    request: &Request<R>,
    risk: &Risk,
    rules: &[Arc<str>],
) -> Result<Vec<Route>, Turned> {
    let mut routes = Vec::with_capacity(rules.len());
    for name in rules {
        let Some(rule) = request.policy.approval_rule(name) else {
            let reason = format!("policy needs approval rule {name:?}, which the bundle lacks");
            return Err(Turned::down(denied(reason, Vec::new())));
        };
        let asked = session
            .ports
            .hooks
            .route(&session.info, &request.facts, rule, risk)
            .await;
        routes.push(Route::at_least(rule, asked));
    }
    Ok(routes)
}

/// People wait for this, so it is short, whoever looks.
async fn look(survey: Option<&dyn Survey>) -> Option<Arc<Impact>> {
    let survey = survey?;
    let looked = tokio::time::timeout(SURVEY_AT_MOST, survey.survey()).await;
    Some(Arc::new(looked.unwrap_or_else(|_| Impact {
        gaps: vec!["nothing was found out in time".into()],
        ..Impact::default()
    })))
}

/// A refusal on its way, with the hold it came from.
struct Turned {
    refusal: Refusal,
    hold: Option<Held>,
}

/// A hold that was opened, and what people were shown.
#[derive(Clone)]
struct Held {
    id: String,
    impact: Option<Arc<Impact>>,
}

impl Held {
    fn shown(&self) -> Vec<String> {
        self.impact.as_ref().map_or_else(Vec::new, |i| i.lines())
    }
}

impl Turned {
    fn down(refusal: Refusal) -> Self {
        Self {
            refusal,
            hold: None,
        }
    }

    fn held(hold: Held, kind: RefusalKind, fault: Fault, reason: impl Into<String>) -> Self {
        Self {
            refusal: Refusal::new(kind, fault, reason),
            hold: Some(hold),
        }
    }
}

fn denied(reason: String, policies: Vec<Arc<str>>) -> Refusal {
    let computes = reason.contains(Action::DataCompute.as_str());
    let refusal = Refusal {
        policies,
        ..Refusal::new(RefusalKind::Denied, Fault::Policy, reason)
    };
    // The reasons of a denied data:compute name it and its column. Also when policy was asked before,
    // and all that is left of its answer is its text.
    match computes {
        true => refusal.hint(COMPUTE_HINT),
        false => refusal,
    }
}

/// Puts the refusal on record and gives it back for the client.
async fn refuse<R>(
    session: &Session,
    request: Request<R>,
    seq: u64,
    fingerprint: Fingerprint,
    (risk, basis): (Arc<Risk>, Basis),
    turned: Turned,
) -> Refusal {
    let Turned { refusal, hold } = turned;
    let record = RefusalRecord {
        seq,
        at: match basis.rules.is_empty() {
            true => basis.asked,
            false => session.ports.clock.now(),
        },
        facts: request.facts,
        accesses: request.accesses,
        risk,
        basis: basis.of(request.labelled),
        bundle: request.policy.bundle().clone(),
        kind: refusal.kind,
        reason: refusal.reason.clone(),
        policies: refusal.policies.clone(),
        fingerprint,
        parameters: request.parameters,
        shown: hold.as_ref().map_or_else(Vec::new, Held::shown),
        hold: hold.map(|h| h.id),
    };
    if let Err(error) = session.journal.refused(record).await {
        // It is refused all the same; the failed recorder ends the session.
        tracing::error!(%error, "a refusal could not be recorded");
    }
    Refusal {
        seq: Some(seq),
        ..refusal
    }
}

#[cfg(test)]
mod tests;
