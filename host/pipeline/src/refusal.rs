//! Why an action is refused, in words that the client may read.

use std::sync::Arc;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    Client,
    Policy,
    Upstream,
    Plugin,
    Storage,
    Us,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// Policy, or a classifier, says no.
    Denied,
    /// A person said no.
    HoldDenied,
    HoldExpired,
    /// The client cancelled the hold, or went away.
    Abandoned,
    /// The bundle changed while the action was held: the approval no longer fits.
    PolicyChanged,
    /// The intent could not be made durable.
    NotRecorded,
    /// Approvals cannot be asked for at the moment.
    ApprovalUnavailable,
    /// The session was killed, expired, or lost its permission to be connected.
    SessionEnded,
    /// A named limit was exceeded.
    Limit,
    /// Policy was not asked: it is malformed, not known, or what the login does not permit.
    Unasked,
}

/// A refusal. `reason` and `hint` may be shown to the client: they hold policy text and names, never
/// data, credentials or addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    pub kind: RefusalKind,
    pub fault: Fault,
    pub reason: String,
    pub hint: Option<String>,
    /// The action's number in the session, for the reader of the record.
    pub seq: Option<u64>,
    /// Policies that said no.
    pub policies: Vec<Arc<str>>,
}

impl Refusal {
    pub fn new(kind: RefusalKind, fault: Fault, reason: impl Into<String>) -> Self {
        Self {
            kind,
            fault,
            reason: reason.into(),
            hint: None,
            seq: None,
            policies: Vec::new(),
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
