//! What passed, for the record: the messages of RFC 4254 as the client saw or sent them, each behind its length; and
//! how what was permitted has ended.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use pipeline::ports::JournalError;
use pipeline::{Direction, OutcomeKind, Receipt, Session};

use super::core::{Effect, Side, Ticket};
use crate::wire::Put;

/// Bytes of one record; messages are not divided.
const AT_ONCE: usize = 64 << 10;
/// What stands before each message.
const LENGTH: usize = 4;

/// Hands everything in `effects` that is to be recorded to the recorder. Waits while it is behind.
pub(super) async fn record(session: &Session, effects: &[Effect]) -> Result<(), JournalError> {
    let lengths = effects.iter().filter_map(recorded);
    let lengths = lengths.map(|(_, _, payload)| LENGTH + payload.len());
    // All at once: what grows is copied.
    let mut batch = Batch {
        of: None,
        bytes: BytesMut::with_capacity(lengths.sum()),
    };
    for (seq, to, payload) in effects.iter().filter_map(recorded) {
        let way = match to {
            Side::Client => Direction::ToClient,
            Side::Upstream => Direction::ToUpstream,
        };
        if batch.of != Some((seq, way)) || batch.bytes.len() >= AT_ONCE {
            batch.write(session).await?;
            batch.of = Some((seq, way));
        }
        batch.bytes.string(payload);
    }
    batch.write(session).await
}

/// What of it is to be recorded: as part of which action, and to whom it goes.
fn recorded(effect: &Effect) -> Option<(u64, Side, &Bytes)> {
    match effect {
        Effect::Send {
            to,
            payload,
            record: Some(seq),
        }
        | Effect::Record { to, payload, seq } => Some((*seq, *to, payload)),
        _ => None,
    }
}

/// The receipts of what was permitted and has not ended.
#[derive(Default)]
pub(super) struct Receipts {
    under_way: HashMap<Ticket, Receipt>,
}

/// How something has ended, as far as that is known.
pub(super) struct Ended<'a> {
    pub kind: OutcomeKind,
    pub detail: &'a str,
    pub bytes: u64,
}

impl Ended<'_> {
    /// On record. Of what was permitted and never sent, too.
    pub async fn record(self, session: &Session, receipt: Receipt) -> Result<(), JournalError> {
        let Ended {
            kind,
            detail,
            bytes,
        } = self;
        session.outcome(receipt, kind, detail, 0, bytes).await
    }
}

impl Receipts {
    pub fn put(&mut self, ticket: Ticket, receipt: Receipt) {
        self.under_way.insert(ticket, receipt);
    }

    /// It has ended.
    pub async fn end(
        &mut self,
        session: &Session,
        ticket: Ticket,
        ended: Ended<'_>,
    ) -> Result<(), JournalError> {
        match self.under_way.remove(&ticket) {
            Some(receipt) => ended.record(session, receipt).await,
            None => Ok(()),
        }
    }

    /// The connection has ended, and nobody has seen the end of these.
    pub async fn end_all(&mut self, session: &Session) {
        for (_, receipt) in self.under_way.drain() {
            let ended = Ended {
                kind: OutcomeKind::Unknown,
                detail: "the connection ended first",
                bytes: 0,
            };
            if let Err(error) = ended.record(session, receipt).await {
                tracing::error!(%error, "an outcome could not be recorded");
                break;
            }
        }
    }
}

struct Batch {
    of: Option<(u64, Direction)>,
    bytes: BytesMut,
}

impl Batch {
    async fn write(&mut self, session: &Session) -> Result<(), JournalError> {
        let bytes: Bytes = self.bytes.split().freeze();
        match self.of {
            Some((seq, way)) if !bytes.is_empty() => session.record(seq, way, bytes).await,
            _ => Ok(()),
        }
    }
}
