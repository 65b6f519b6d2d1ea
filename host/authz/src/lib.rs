//! Cedar behind pipeline's ports: bundles of policies, compiled, tested, and asked.
//!
//! A [`Bundle`] is text. [`CompiledBundle::compile`] turns it into something that decides, or lists
//! everything that is wrong with it. The [`Engine`] holds the active one and exchanges it without
//! stopping anybody.
//!
//! Place in the flow: `server` builds the engine and gives it to the protocol crates as
//! `pipeline::ports::Authorizer`; `control` compiles uploaded bundles and activates them.
//!
//! Architecture invariants:
//! - Only a bundle that passed strict validation, the lints, the self-test and its own tests can
//!   become active. Cedar's warnings are errors.
//! - No text reaches Cedar's parser before its nesting and its operators are counted, and that
//!   parser never runs on a caller's stack.
//! - An evaluation error denies. So does a request that the schema does not know.
//! - Every link of the principal's chain is asked, and all must be permitted.
//! - Approvals are facts in the context. No annotation changes a decision.
//! - Entities and contexts are built natively; no text from a client is ever parsed as Cedar.
//! - No sockets, no database, no clock: the time is part of the question.

mod build;
mod bundle;
mod cache;
mod checks;
mod civil;
mod compile;
mod conform;
mod decide;
mod diff;
mod engine;
mod key;
mod lint;
mod manifest;
mod model;
mod problem;
mod program;
mod reads;
mod retention;
mod scan;
mod vocab;

#[cfg(test)]
mod tests;

pub use bundle::{Bundle, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES};
pub use compile::{CompiledBundle, MAX_POLICIES, PolicyInfo};
pub use diff::{BundleDiff, Changes, Summary};
pub use engine::Engine;
pub use problem::{BundleErrors, MAX_PROBLEMS, Problem};
pub use retention::RetentionRule;
pub use scan::{MAX_NESTING, MAX_OPERATORS, MAX_POLICY_BYTES};
