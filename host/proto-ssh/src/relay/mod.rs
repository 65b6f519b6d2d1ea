//! The connection protocol between two authenticated legs: every message from 80 on goes on as it came, unless
//! policy, masking or a notice needs otherwise.
//!
//! - `core` follows the messages, without sockets.
//! - `run` is the one task of a session: it reads both legs, and writes to both.
//! - `taps` reads file transfers and masks text; `decide` asks the pipeline; `half` is a leg with what waits for it; `read` reads long command lines; `end` says why it is over; `record` puts on record what passed.
//!
//! Invariants:
//! - What the client is to see is with the recorder before it is sent.
//! - A leg is not read while the other one is behind, or it is far behind itself, unless its own key exchange has to
//!   go on. What waits for a leg has a maximum, and a leg that takes nothing ends its session.
//! - A decision is never dropped half made: it is cancelled, and its end is waited for.

mod core;
mod decide;
mod end;
mod half;
mod read;
mod record;
mod run;
mod taps;
#[cfg(test)]
mod tests;

#[cfg(fuzzing)]
pub(crate) use self::core::fuzzing;
pub(crate) use self::core::{Core, Effect, Grant, Ticket, Violation};
pub(crate) use read::Readers;
pub(crate) use run::run;
