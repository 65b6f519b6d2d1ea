//! What a bundle makes of one action: no port but the policy is asked, so that a decision can be made
//! again from what was recorded of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use crate::action::{Access, Column};
use crate::facts::Facts;
use crate::permit::Obligations;
use crate::ports::{Policy, Question, Ruling};
use crate::risk::{Demand, Risk};
use crate::session::SessionInfo;

/// Everything that a decision hangs on, beside the bundle, the approvals and the time.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    pub session: &'a SessionInfo,
    pub facts: &'a Facts,
    /// Those of `data:compute` included.
    pub accesses: &'a [Access],
    /// Labelled columns that can flow into the result.
    pub labelled: &'a [Column],
    /// Why the result cannot be masked, if it cannot.
    pub unmaskable: Option<&'a str>,
    pub risk: &'a Risk,
}

/// What becomes of a case under a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Permit {
        policies: Vec<Arc<str>>,
        obligations: Obligations,
    },
    Deny {
        policies: Vec<Arc<str>>,
        reason: String,
    },
    /// It waits for people, under each of these rules.
    Hold {
        rules: Vec<Arc<str>>,
        policies: Vec<Arc<str>>,
        reason: String,
    },
}

/// Judges one case. `approvals` are the rules that people have satisfied for exactly it.
pub fn judge(
    policy: &dyn Policy,
    case: &Case<'_>,
    approvals: &BTreeSet<Arc<str>>,
    now: SystemTime,
) -> Verdict {
    match weigh(policy, case, approvals, now) {
        Ruling::Permit { policies } => {
            let obligations = oblige(policy, case, approvals, now);
            match (case.unmaskable, obligations.masked.first()) {
                (Some(reason), Some(_)) => Verdict::Deny {
                    policies: Vec::new(),
                    reason: reason.to_owned(),
                },
                _ => Verdict::Permit {
                    policies,
                    obligations,
                },
            }
        }
        Ruling::Deny { policies, reason } => Verdict::Deny { policies, reason },
        Ruling::NeedsApproval {
            rules,
            policies,
            reason,
        } => match rules.iter().find(|r| policy.approval_rule(r).is_none()) {
            Some(name) => Verdict::Deny {
                policies: Vec::new(),
                reason: format!("policy needs approval rule {name:?}, which the bundle lacks"),
            },
            None => Verdict::Hold {
                rules,
                policies,
                reason,
            },
        },
    }
}

/// Policy's ruling, made stricter by what classifiers demand.
fn weigh(
    policy: &dyn Policy,
    case: &Case<'_>,
    approvals: &BTreeSet<Arc<str>>,
    now: SystemTime,
) -> Ruling {
    if case.accesses.is_empty() {
        return Ruling::Deny {
            policies: Vec::new(),
            reason: "the action names nothing to authorize".into(),
        };
    }
    let mut ruling = policy.authorize(&question(case, approvals, now));
    for demand in &case.risk.demands {
        match demand {
            Demand::None => {}
            Demand::Refuse(reason) => {
                return Ruling::Deny {
                    policies: Vec::new(),
                    reason: reason.clone(),
                };
            }
            Demand::Escalate(rule) if approvals.contains(rule.as_str()) => {}
            Demand::Escalate(rule) => ruling = escalate(ruling, policy, rule),
        }
    }
    ruling
}

fn escalate(ruling: Ruling, policy: &dyn Policy, rule: &str) -> Ruling {
    let Some(rule) = policy.approval_rule(rule) else {
        return Ruling::Deny {
            policies: Vec::new(),
            reason: format!("a classifier demands approval rule {rule:?}, which no bundle defines"),
        };
    };
    match ruling {
        Ruling::Deny { .. } => ruling,
        Ruling::Permit { policies } => Ruling::NeedsApproval {
            rules: vec![rule.name.clone()],
            policies,
            reason: format!("a risk classifier demands approval: {}", rule.description),
        },
        Ruling::NeedsApproval {
            mut rules,
            policies,
            reason,
        } => {
            if !rules.contains(&rule.name) {
                rules.push(rule.name.clone());
            }
            Ruling::NeedsApproval {
                rules,
                policies,
                reason,
            }
        }
    }
}

fn question<'a>(
    case: &Case<'a>,
    approvals: &'a BTreeSet<Arc<str>>,
    now: SystemTime,
) -> Question<'a> {
    Question {
        principal: &case.session.principal,
        source: case.session.source,
        session: &case.session.id_text,
        now,
        facts: Some(case.facts),
        risk: case.risk,
        approvals,
        accesses: case.accesses,
    }
}

/// Masking is on for every labelled column that no relief lifts.
fn oblige(
    policy: &dyn Policy,
    case: &Case<'_>,
    approvals: &BTreeSet<Arc<str>>,
    now: SystemTime,
) -> Obligations {
    let question = question(case, approvals, now);
    let mut obligations = Obligations::default();
    for column in case.labelled {
        match policy.reveal(&question, column, &case.session.scope) {
            true => obligations.revealed.push(column.clone()),
            false => obligations.masked.push(column.clone()),
        }
    }
    obligations
}
