//! What a client is told: the one way from our errors to ErrorResponse.

use bytes::BytesMut;
use pipeline::{EndReason, Refusal, RefusalKind};

use crate::wire::{MessageError, encode};

/// Text that a client may see. Whatever does not implement this stays in the log.
pub(crate) trait ClientText {
    fn sqlstate(&self) -> &str;
    fn client_text(&self) -> String;
}

/// An ErrorResponse of our own, ready to be sent at its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// The character of the client's text that it is about, counted from one.
    pub position: Option<u32>,
}

impl Refused {
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Self {
        Self {
            sqlstate: sqlstate.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A message that PostgreSQL would call malformed.
    pub fn malformed(error: MessageError) -> Self {
        Self::new("08P01", error.to_string())
    }

    /// `session` and the action's number let the reader find the record.
    pub fn by_policy(refusal: &Refusal, session: &str) -> Self {
        let sqlstate = match refusal.kind {
            RefusalKind::Abandoned => "57014",
            RefusalKind::NotRecorded => "58030",
            RefusalKind::SessionEnded => "57P01",
            RefusalKind::Limit => "54000",
            RefusalKind::Denied
            | RefusalKind::HoldDenied
            | RefusalKind::HoldExpired
            | RefusalKind::PolicyChanged
            | RefusalKind::ApprovalUnavailable
            | RefusalKind::Unasked => "42501",
        };
        let place = match refusal.seq {
            Some(seq) => format!("Action {seq} of Weir session {session}."),
            None => format!("Weir session {session}."),
        };
        let hint = match (&refusal.hint, refusal.kind) {
            (Some(hint), _) => format!("{hint} {place}"),
            (None, RefusalKind::Denied) => {
                format!("Policy decides what this principal may do here; it was not run. {place}")
            }
            (None, RefusalKind::HoldDenied) => format!("It was not run. {place}"),
            (None, RefusalKind::HoldExpired) => {
                format!("It was not run; send it again to ask again. {place}")
            }
            (None, _) => place,
        };
        Self::new(sqlstate, refusal.reason.clone()).hint(hint)
    }

    pub fn encode(&self, severity: &str, out: &mut BytesMut) {
        encode::error(
            out,
            &encode::Report {
                severity,
                sqlstate: &self.sqlstate,
                message: &self.message,
                detail: self.detail.as_deref(),
                hint: self.hint.as_deref(),
                position: self.position,
            },
        );
    }
}

impl<T: ClientText> From<&T> for Refused {
    fn from(error: &T) -> Self {
        Self::new(error.sqlstate(), error.client_text())
    }
}

/// The last words to the client of a session that ends, if it gets any.
pub(crate) fn farewell(reason: &EndReason) -> Option<Refused> {
    Some(match reason {
        EndReason::ClientClosed => return None,
        EndReason::UpstreamClosed => Refused::new("08006", "the target closed the connection"),
        EndReason::Killed { reason, .. } => Refused::new(
            "57P01",
            format!("terminating connection: an operator ended this session: {reason}"),
        ),
        EndReason::TokenExpired => {
            let text = "terminating connection: the token or certificate has expired";
            Refused::new("28000", text).hint("Get a new one and connect again.")
        }
        EndReason::PolicyChanged => Refused::new(
            "28000",
            "terminating connection: policy no longer permits it",
        ),
        EndReason::RecorderFailed => Refused::new(
            "58030",
            "terminating connection: it cannot be recorded at the moment",
        ),
        EndReason::ProtocolViolation(what) => {
            Refused::new("08P01", format!("terminating connection: {what}"))
        }
        EndReason::Shutdown => Refused::new("57P01", "terminating connection: Weir shuts down"),
        // The reason is for the record; it was not written for clients.
        EndReason::Error(_) => {
            Refused::new("XX000", "terminating connection: an internal error of Weir")
        }
    })
}
