//! A client between its login and its session: it may already send, and nothing of it is answered but whether
//! it is still being listened to.

use bytes::Bytes;
use pipeline::EndReason;

use crate::config::Limits;
use crate::leg::{Leg, LegError};
use crate::transport::Event;
use crate::wire::Connection;
use crate::wire::numbers as n;

/// Why the client waits no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Left {
    #[error("the client went away")]
    Gone,
    #[error(transparent)]
    Leg(LegError),
    #[error("message {0} has no place after authentication")]
    Unexpected(u8),
    #[error("the client sent more than may wait before its session is open")]
    TooMuch,
}

impl From<&Left> for EndReason {
    fn from(left: &Left) -> Self {
        match left {
            Left::Gone => Self::ClientClosed,
            other => Self::ProtocolViolation(other.to_string()),
        }
    }
}

/// A client's leg, and what has come over it.
pub(crate) struct Lobby {
    pub leg: Leg,
    early: Vec<Bytes>,
    bytes: usize,
    max: (usize, usize),
    /// Requests among `early` whose answers come before those of later ones.
    unanswered: bool,
}

impl Lobby {
    pub fn new(leg: Leg, limits: &Limits) -> Self {
        Self {
            leg,
            early: Vec::new(),
            bytes: 0,
            max: (limits.max_early_messages, limits.max_early_bytes),
            unanswered: false,
        }
    }

    /// The leg, and what is still to be answered.
    pub fn leave(self) -> (Leg, Vec<Bytes>) {
        (self.leg, self.early)
    }

    /// Listens until the client goes away or does what it must not. Cancel safe.
    pub async fn watch(&mut self) -> Left {
        loop {
            let payload = match self.leg.recv().await {
                Ok(Event::Packet(payload)) => payload,
                Ok(Event::Disconnected { .. })
                | Err(LegError::Closed | LegError::Io(_) | LegError::Vanished(_)) => {
                    return Left::Gone;
                }
                Ok(Event::Ready | Event::HostKey(_)) => continue,
                Err(error) => return Left::Leg(error),
            };
            if let Err(left) = self.take(payload) {
                return left;
            }
        }
    }

    fn take(&mut self, payload: Bytes) -> Result<(), Left> {
        match payload.first().copied().unwrap_or_default() {
            n::GLOBAL_REQUEST => self.global(payload),
            n::REQUEST_SUCCESS.. => self.keep(payload),
            // RFC 4252 section 5.1: requests after a success are not answered.
            50..n::GLOBAL_REQUEST => Ok(()),
            other => Err(Left::Unexpected(other)),
        }
    }

    /// Is somebody there? is answered at once, if it does not overtake another answer.
    fn global(&mut self, payload: Bytes) -> Result<(), Left> {
        let Ok(Connection::GlobalRequest {
            name, want_reply, ..
        }) = Connection::parse(&payload)
        else {
            return Err(Left::Unexpected(n::GLOBAL_REQUEST));
        };
        if want_reply && name.starts_with(b"keepalive@") && !self.unanswered {
            let mut answer = Vec::new();
            Connection::RequestFailure.write(&mut answer);
            let sent = self.leg.transport.send(&answer);
            return sent.map_err(|e| Left::Leg(e.into()));
        }
        self.unanswered |= want_reply;
        self.keep(payload)
    }

    fn keep(&mut self, payload: Bytes) -> Result<(), Left> {
        self.bytes += payload.len();
        if self.early.len() >= self.max.0 || self.bytes > self.max.1 {
            return Err(Left::TooMuch);
        }
        self.early.push(payload);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
