//! Where permits are opened: what was decided on is what goes to the host.

use std::time::Instant;

use bytes::Bytes;
use pipeline::{Permitted, Receipt};

use crate::relay::{Core, Effect, Grant, Ticket, Violation};

/// A message, or part of a channel's data, that goes to the host if it is permitted. Only [`send`] can look
/// inside.
pub(crate) struct Forward(Bytes);

impl Forward {
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

/// What became of a permit.
pub(crate) struct Sent {
    /// Wants its outcome.
    pub receipt: Receipt,
    /// False: the client does not want it any more, and nothing was sent.
    pub sent: Result<bool, Violation>,
}

/// Sends what was permitted on its way, in its place among the messages of its channel.
pub(crate) fn send(
    core: &mut Core,
    ticket: Ticket,
    permitted: Permitted<Forward>,
    grant: Grant,
    now: Instant,
    out: &mut Vec<Effect>,
) -> Sent {
    let (forward, receipt) = permitted.release();
    let grant = Grant {
        seq: receipt.seq(),
        ..grant
    };
    let sent = core.granted(ticket, forward.0, grant, now, out);
    Sent { receipt, sent }
}

/// It is not sent after all.
pub(crate) fn withdraw(permitted: Permitted<Forward>) -> Receipt {
    permitted.release().1
}
