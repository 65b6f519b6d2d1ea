//! Weir's vocabulary, its one decision function, and the ports around it.
//!
//! Everything that passes through Weir is an *action*: one statement, one command, one call. A
//! protocol crate parses it, wraps it into a [`Request`] and calls [`decide`]. Only if that returns
//! [`Permitted`] can the request be forwarded, because an upstream's `send` takes nothing else.
//!
//! Place in the flow: the root. Protocol crates and the adapters (`authz`, `plugin-host`,
//! `recorder`, `control`) depend on this crate and never on one another.
//!
//! Architecture invariants:
//! - No sockets, no database, no Wasm, no Cedar, no serialisation. Only vocabulary and order.
//! - [`decide`] is one straight line: classify → authorize → hold → journal the intent → permit.
//! - A [`Permitted`] is made here and nowhere else; it holds the request it was made for.
//! - An error while deciding is a refusal.

mod action;
mod approval;
mod decide;
mod facts;
mod impact;
mod labels;
pub mod mask;
mod parameter;
mod permit;
pub mod ports;
mod principal;
mod record;
mod refusal;
mod risk;
mod session;
mod ssh;
mod turned_away;
mod unasked;

pub mod conformance;
pub mod memory;

pub use action::{Access, Action, Column, LabelSet, Resource};
pub use approval::{ApprovalRule, Fingerprint, HoldInfo, HoldOutcome, Route};
pub use decide::{Caller, Case, Verdict, decide, judge};
pub use facts::{Facts, Named, Relation, SqlFacts, SqlKind};
pub use impact::{Cascade, HeldLock, Impact, Survey, TouchedTable};
pub use labels::{LabelCatalog, LabelRule, pattern_matches};
pub use parameter::{BinaryValue, Parameter};
pub use permit::{Obligations, Permitted, Receipt, Request};
pub use ports::{Ports, Question, Ruling};
pub use principal::{Actor, Login, Principal, PrincipalKind, Proof};
pub use record::{
    Approval, Basis, ControlEvent, Direction, Durability, EndReason, HoldRecord, Intent, Outcome,
    OutcomeKind, RefusalRecord, SessionEnd, SessionStart,
};
pub use refusal::{Fault, Refusal, RefusalKind};
pub use risk::{Demand, Finding, PluginRef, Risk};
pub use session::{BundleRef, Protocol, Session, SessionId, SessionInfo, Target};
pub use ssh::{SshCommand, SshFacts, SshHazard, SshKind, SshPath, SshStdin};
pub use turned_away::{Stranger, TurnedAway};
pub use unasked::Unasked;
