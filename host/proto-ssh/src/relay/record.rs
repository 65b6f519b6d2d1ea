//! What passed, for the record: the messages of RFC 4254 as the client saw or sent them, each behind its length.

use bytes::{Bytes, BytesMut};
use pipeline::ports::JournalError;
use pipeline::{Direction, Session};

use super::core::{Effect, Side};
use crate::wire::Put;

/// Bytes of one record; messages are not divided.
const AT_ONCE: usize = 64 << 10;
/// What stands before each message.
const LENGTH: usize = 4;

/// Hands everything in `effects` that is to be recorded to the recorder. Waits while it is behind.
pub(super) async fn record(session: &Session, effects: &[Effect]) -> Result<(), JournalError> {
    let lengths = effects.iter().map(|effect| match effect {
        Effect::Send {
            payload,
            record: Some(_),
            ..
        } => LENGTH + payload.len(),
        _ => 0,
    });
    // All at once: what grows is copied.
    let mut batch = Batch {
        of: None,
        bytes: BytesMut::with_capacity(lengths.sum()),
    };
    for effect in effects {
        let Effect::Send {
            to,
            payload,
            record: Some(seq),
        } = effect
        else {
            continue;
        };
        let way = match to {
            Side::Client => Direction::ToClient,
            Side::Upstream => Direction::ToUpstream,
        };
        if batch.of != Some((*seq, way)) || batch.bytes.len() >= AT_ONCE {
            batch.write(session).await?;
            batch.of = Some((*seq, way));
        }
        batch.bytes.string(payload);
    }
    batch.write(session).await
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
