//! Delivery of the record to systems that watch it: each durable leaf of the transparency log, as OCSF
//! events, in the log's order, at least once.
//!
//! Place in the flow: beside the recorder, whose logs it reads from the spool, and from the store once they
//! have gone from there (`recorder::Leaves`). Each receiver has a worker of its own: it reads (`source`),
//! sends (`send`, `webhook`, `syslog`, `otlp`), and moves its cursor (`cursor`) once the receiver has taken
//! what was sent. After a crash some of it is sent again: `metadata.uid` is the same then.
//!
//! - **Architecture invariant:** nothing waits for a delivery: no session, no file of the spool, no other
//!   receiver.
//! - **Architecture invariant:** a cursor moves after the receiver's acknowledgement, never before; where a
//!   protocol has none (`syslog`), after an end of the connection that shows that all of it was read.
//! - **Architecture invariant:** what leaves is what a leaf says. Text of statements, parameters, rows and
//!   names of people are in no leaf.
//! - **Architecture invariant:** nothing is passed over silently: what cannot be read is told as an event in
//!   its place, what a receiver does not take is kept in a file (`aside`).

mod aside;
mod batch;
mod cursor;
mod http;
mod options;
mod otlp;
mod send;
mod sending;
mod source;
mod status;
mod syslog;
mod webhook;
mod worker;

#[cfg(test)]
mod tests;

pub use options::{
    BATCH_BYTES, BATCH_EVENTS, MESSAGE_BYTES, Options, OtlpTo, Pace, ReceiverOptions, Sign,
    SyslogTo, TlsFiles, To, WebhookTo,
};
pub use status::{Handle, State, Status};
pub use worker::{OpenError, Worker, check, open};
