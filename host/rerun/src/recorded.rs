//! What a record says was decided.

use std::sync::Arc;

use pipeline::Verdict;
use recorder::doc::{ActionDoc, BasisDoc};
use recorder::{Request, RequestDoc};

use crate::inputs::arcs;

/// What was decided at once, and what after people had agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub asked_ns: u64,
    pub first: Decided,
    /// When policies were asked again, and what they said then.
    pub again: Option<(u64, Decided)>,
}

/// A decision, as far as it hangs on policies and plugins alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decided {
    Permit {
        policies: Vec<Arc<str>>,
        masked: Vec<String>,
    },
    Deny {
        policies: Vec<Arc<str>>,
        reason: String,
    },
    /// Policies of a hold are on record only where nobody was asked.
    Hold { rules: Vec<Arc<str>> },
}

impl Decided {
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Permit {
                policies,
                obligations,
            } => Self::Permit {
                policies: policies.clone(),
                masked: obligations
                    .masked
                    .iter()
                    .map(|c| format!("{}.{}.{}", c.schema, c.table, c.column))
                    .collect(),
            },
            Verdict::Deny { policies, reason } => Self::Deny {
                policies: policies.clone(),
                reason: reason.clone(),
            },
            Verdict::Hold { rules, .. } => Self::Hold {
                rules: rules.clone(),
            },
        }
    }

    /// The same as far as whoever asks is concerned: whatever the reason, and by whichever policy.
    pub fn amounts_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Permit { masked: a, .. }, Self::Permit { masked: b, .. }) => a == b,
            (Self::Deny { .. }, Self::Deny { .. }) => true,
            (Self::Hold { rules: a }, Self::Hold { rules: b }) => a == b,
            _ => false,
        }
    }
}

/// The common part of a request's record.
pub fn action(doc: &RequestDoc) -> Option<&ActionDoc> {
    match doc {
        RequestDoc::Permitted(doc) => Some(&doc.action),
        RequestDoc::Refused(doc) => Some(&doc.action),
        RequestDoc::Unreadable(_) => None,
    }
}

impl Recorded {
    /// An error: the record contradicts itself.
    pub fn of(request: &Request, basis: &BasisDoc) -> Result<Self, String> {
        let asked_ns = basis.asked_ns.unwrap_or(request.at_ns);
        let hold = |rules: &[String]| Decided::Hold { rules: arcs(rules) };
        let (first, again) = match &request.doc {
            RequestDoc::Unreadable(why) => return Err(why.clone()),
            RequestDoc::Permitted(doc) => {
                let permit = Decided::Permit {
                    policies: arcs(&doc.action.policies),
                    masked: doc.masked.clone(),
                };
                match (&doc.approval, basis.again_ns) {
                    (None, None) if basis.rules.is_empty() => (permit, None),
                    (Some(approval), Some(at)) if approval.rules == basis.rules => {
                        (hold(&basis.rules), Some((at, permit)))
                    }
                    _ => return Err("its approval is not what its basis says".into()),
                }
            }
            RequestDoc::Refused(doc) => {
                let deny = || Decided::Deny {
                    policies: arcs(&doc.action.policies),
                    reason: doc.reason.clone(),
                };
                match (basis.rules.is_empty(), doc.kind.as_str(), basis.again_ns) {
                    (true, "denied", None) => (deny(), None),
                    (false, "denied", Some(at)) => (hold(&basis.rules), Some((at, deny()))),
                    // People, or circumstances, ended it.
                    (false, kind, None) if kind != "denied" => (hold(&basis.rules), None),
                    (_, kind, _) => {
                        return Err(format!("{kind:?} is not how what its basis says can end"));
                    }
                }
            }
        };
        Ok(Self {
            asked_ns,
            first,
            again,
        })
    }
}

#[cfg(test)]
pub mod tests {
    use recorder::doc::{IntentDoc, RefusedDoc};
    use serde_json::{Value, json};

    use super::*;

    /// A record with these fields besides those that every one has.
    pub fn request(refused: bool, more: Value) -> Request {
        let mut doc = json!({
            "facts": { "type": "connect", "database": "shop" }, "accesses": [], "risk": { "score": 0 },
            "bundle": { "name": "b", "version": 1, "digest": "d" }, "fingerprint": "f",
            "decision": "permit", "kind": "denied", "reason": "no",
        });
        for (name, value) in more.as_object().unwrap() {
            doc[name] = value.clone();
        }
        let doc = match refused {
            true => {
                RequestDoc::Refused(Box::new(serde_json::from_value::<RefusedDoc>(doc).unwrap()))
            }
            false => {
                RequestDoc::Permitted(Box::new(serde_json::from_value::<IntentDoc>(doc).unwrap()))
            }
        };
        let (seq, at_ns) = (1, 7);
        Request { seq, at_ns, doc }
    }

    #[test]
    fn a_record_says_one_thing() {
        let approval = json!({ "hold": "h", "rules": ["r"], "approvers": ["sam"] });
        let basis =
            |rules: &[&str], again: Option<u64>| json!({ "rules": rules, "again_ns": again });
        for (refused, more, fits) in [
            (false, json!({ "basis": {} }), true),
            (true, json!({ "basis": {} }), true),
            (
                false,
                json!({ "basis": basis(&["r"], Some(9)), "approval": approval }),
                true,
            ),
            (true, json!({ "basis": basis(&["r"], Some(9)) }), true),
            (
                true,
                json!({ "basis": basis(&["r"], None), "kind": "hold-denied" }),
                true,
            ),
            // Nobody was asked, or somebody else.
            (false, json!({ "basis": {}, "approval": approval }), false),
            (
                false,
                json!({ "basis": basis(&["x"], Some(9)), "approval": approval }),
                false,
            ),
            (
                false,
                json!({ "basis": basis(&["r"], None), "approval": approval }),
                false,
            ),
            // It was to be held, and was not.
            (false, json!({ "basis": basis(&["r"], None) }), false),
            (true, json!({ "basis": {}, "kind": "hold-denied" }), false),
            (true, json!({ "basis": basis(&["r"], None) }), false),
            (
                true,
                json!({ "basis": basis(&["r"], Some(9)), "kind": "hold-expired" }),
                false,
            ),
        ] {
            let request = request(refused, more.clone());
            let basis = action(&request.doc).unwrap().basis.clone().unwrap();
            let read = Recorded::of(&request, &basis);
            assert_eq!(read.is_ok(), fits, "{more}: {read:?}");
        }
    }
}
