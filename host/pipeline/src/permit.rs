//! The request before and after the decision.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::action::{Access, Column};
use crate::facts::Facts;
use crate::parameter::Parameter;
use crate::ports::Policy;
use crate::risk::Risk;

/// An action that wants to be forwarded. `payload` is what the upstream would get.
pub struct Request<R> {
    /// The bundle that the facts and labels below were computed with; the decision uses the same.
    pub policy: Arc<dyn Policy>,
    pub facts: Facts,
    /// All must be permitted. Never empty: an action that touches nothing names its database.
    pub accesses: Vec<Access>,
    /// Labelled columns that can flow into the result; each stays masked unless revealed.
    pub labelled: Vec<Column>,
    /// Labelled columns that the action computes with: their values decide which rows there are, in
    /// which order, which branch is taken or whether there is an error. Masks do not hide that, so
    /// each needs `data:compute`, and the action is refused without.
    pub computed: Vec<Column>,
    /// The result cannot be masked (COPY, for one): refuse, with this reason, unless every labelled
    /// column is revealed.
    pub unmaskable: Option<&'static str>,
    /// The exact bytes an approval is bound to: statement, parameters, whatever changes meaning.
    pub canonical: Vec<u8>,
    /// Parameters for the record.
    pub parameters: Vec<Parameter>,
    pub payload: R,
}

/// What stays on because nothing lifted it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obligations {
    /// Labelled columns of the request that must not be seen.
    pub masked: Vec<Column>,
    /// Labelled columns that this principal may see in this request.
    pub revealed: Vec<Column>,
}

/// Proof that an action was permitted and its intent is durable. Finish it with
/// `Session::outcome`; an unfinished receipt becomes `outcome: unknown` in the record.
#[derive(Debug)]
#[must_use = "every intent needs its outcome"]
pub struct Receipt {
    pub(crate) seq: u64,
    pub(crate) started: Instant,
    /// How long it took, if it is over.
    pub(crate) took: Option<Duration>,
    pub(crate) risk: Arc<Risk>,
    pub(crate) obligations: Obligations,
    /// Approval rules under which it was permitted.
    pub(crate) approvals: BTreeSet<Arc<str>>,
}

impl Receipt {
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// What classifiers said of it.
    pub fn risk(&self) -> &Risk {
        &self.risk
    }

    pub fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// It is over, whenever that is put on record.
    pub fn stop(&mut self) {
        self.took.get_or_insert_with(|| self.started.elapsed());
    }

    /// People had to agree, and time has passed meanwhile.
    pub fn was_held(&self) -> bool {
        !self.approvals.is_empty()
    }
}

/// A request that may be forwarded, once. Made by `decide` and nowhere else.
#[derive(Debug)]
#[must_use = "a permitted request is meant to be sent"]
pub struct Permitted<R> {
    payload: R,
    receipt: Receipt,
}

impl<R> Permitted<R> {
    pub(crate) fn new(payload: R, receipt: Receipt) -> Self {
        Self { payload, receipt }
    }

    pub fn get(&self) -> &R {
        &self.payload
    }

    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Takes the request out to write it to the upstream. Only a protocol crate's `upstream` module
    /// calls this; the tidy test holds it to that.
    pub fn release(self) -> (R, Receipt) {
        (self.payload, self.receipt)
    }
}
