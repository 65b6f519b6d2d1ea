//! Recorded decisions made again.
//!
//! Place in the flow: behind `weir verify --decisions` and `weir backtest`. It reads requests by way of
//! `recorder`, and judges them with `pipeline::judge`, the very function that decided, over bundles
//! (`authz`) and plugins (`plugin-host`) that were kept beside the recordings.
//!
//! Architecture invariants:
//! - Everything that a decision hangs on is in its record, or kept under a digest that is. What people,
//!   an upstream or a clock said is taken from the record.
//! - What cannot be judged again is counted and told of, never passed over.
//! - Nothing here writes to the store.

mod backtest;
mod inputs;
mod library;
mod recorded;
mod run;
mod set;
mod verify;

pub use backtest::{Backtest, Change, Changed, MAX_CHANGES, Try, backtest};
pub use library::Others;
pub use recorded::Decided;
pub use run::{Count, MAX_EXAMPLES, Notes, Place, Reasons, RerunError, Window};
pub use set::{SetDoc, SetPluginDoc};
pub use verify::{Decisions, Difference, verify_decisions};

#[cfg(test)]
mod tests;
