//! Why a session is over, and what each side reads of that.

use pipeline::EndReason;
use pipeline::ports::JournalError;

use super::core::{Side, Violation};
use super::half::Deaf;
use crate::action::printable;
use crate::life::Vanished;
use crate::transport::TransportError;
use crate::wire::numbers::disconnect;

/// Why it is over, and what each side is told.
pub(super) struct End {
    pub reason: EndReason,
    pub client: (u32, String),
    pub upstream: (u32, String),
}

impl End {
    pub fn new(reason: EndReason) -> Self {
        let code = match &reason {
            EndReason::ProtocolViolation(_) => disconnect::PROTOCOL_ERROR,
            EndReason::UpstreamClosed => disconnect::CONNECTION_LOST,
            _ => disconnect::BY_APPLICATION,
        };
        Self {
            client: (code, words(&reason)),
            upstream: (disconnect::BY_APPLICATION, String::new()),
            reason,
        }
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        let text = violation.to_string();
        let (told, other) = (
            (disconnect::PROTOCOL_ERROR, text.clone()),
            (
                disconnect::BY_APPLICATION,
                "the other side broke the protocol".to_owned(),
            ),
        );
        let (client, upstream) = match violation.side() {
            Side::Client => (told, other),
            Side::Upstream => (other, told),
        };
        Self {
            reason: EndReason::ProtocolViolation(text),
            client,
            upstream,
        }
    }
}

impl From<JournalError> for End {
    fn from(error: JournalError) -> Self {
        tracing::error!(%error, "ending a session: it cannot be recorded");
        Self::new(EndReason::RecorderFailed)
    }
}

/// What a client may read of the end.
fn words(reason: &EndReason) -> String {
    match reason {
        EndReason::ClientClosed => String::new(),
        EndReason::UpstreamClosed => "the target closed the connection".into(),
        EndReason::Killed { reason, .. } => {
            format!("an operator ended this session: {}", printable(reason))
        }
        EndReason::TokenExpired => "the token or certificate has expired".into(),
        EndReason::PolicyChanged => "policy no longer permits this connection".into(),
        EndReason::RecorderFailed => "this session cannot be recorded at the moment".into(),
        EndReason::ProtocolViolation(what) => what.clone(),
        EndReason::Shutdown => "Weir shuts down".into(),
        // The reason is for the record; it was not written for clients.
        EndReason::Error(_) => "an internal error of Weir".into(),
    }
}

/// A leg cannot go on. Its peer has been told by the transport.
pub(super) fn broken(side: Side, error: &TransportError) -> End {
    let reason = EndReason::ProtocolViolation(format!("{side}: {error}"));
    End {
        client: (
            disconnect::CONNECTION_LOST,
            "the target broke the protocol".into(),
        ),
        upstream: (disconnect::BY_APPLICATION, String::new()),
        reason,
    }
}

/// A side does not take what is sent to it.
pub(super) fn deaf(side: Side, error: Deaf) -> End {
    let reason = EndReason::ProtocolViolation(format!("{side} does not read: {error}"));
    End::new(reason)
}

/// A side is not there any more, and did not say so.
pub(super) fn vanished(side: Side, error: Vanished) -> End {
    tracing::info!(%side, %error, "gone without a word");
    End::new(match side {
        Side::Client => EndReason::ClientClosed,
        Side::Upstream => EndReason::UpstreamClosed,
    })
}

/// A side has said goodbye: the other one hears it, too.
pub(super) fn gone(side: Side, code: u32, text: &str) -> End {
    let text = printable(text);
    match side {
        Side::Client => End {
            reason: EndReason::ClientClosed,
            client: (disconnect::BY_APPLICATION, String::new()),
            upstream: (code, text),
        },
        Side::Upstream => End {
            reason: EndReason::UpstreamClosed,
            client: (code, text),
            upstream: (disconnect::BY_APPLICATION, String::new()),
        },
    }
}
