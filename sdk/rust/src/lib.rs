//! How to write a Weir plugin in Rust.
//!
//! A plugin is a WebAssembly component. Write a type, implement [`Plugin`] and the capabilities it
//! has ([`Classifier`], [`Masker`], [`Router`]), and name it once in [`export!`]:
//!
//! ```
//! use weir_plugin::{Classifier, Info, Operation, Plugin, PluginError, Risk, Session};
//!
//! struct NoDropOnFriday;
//!
//! impl Plugin for NoDropOnFriday {
//!     fn info() -> Info {
//!         Info { name: "no-drop".into(), version: "1.0.0".into(), labels: vec![] }
//!     }
//! }
//!
//! impl Classifier for NoDropOnFriday {
//!     fn classify(_: Session, op: Operation) -> Result<Risk, PluginError> {
//!         match op {
//!             Operation::Sql(sql) if sql.text.contains("DROP") => Ok(weir_plugin::risk(90)),
//!             _ => Ok(weir_plugin::risk(0)),
//!         }
//!     }
//! }
//!
//! weir_plugin::export!(NoDropOnFriday: classifier);
//! ```
//!
//! Place in the flow: compiled into the plugins; the other side of the contract is `plugin-host`.
//!
//! Architecture invariants:
//! - A plugin imports `weir:plugin/{log,config,kv,clock}` and nothing else: no WASI, no randomness.
//! - On the build machine the same source compiles natively, with [`testing`] standing in for the
//!   host, so that a plugin is tested with a plain `cargo test`.
//! - Unsafe code exists only in the generated glue and the allocator.

#[doc(hidden)]
pub mod bindings;
mod exports;
pub mod host;
#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
mod memory;
pub mod rules;
pub mod testing;

pub use bindings::base::weir::plugin::types::{
    Attrs, Demand, Finding, HttpOp, KubeOp, McpOp, Operation, OtherOp, PluginError, Principal,
    Protocol, Relation, Risk, Session, SqlFacts, SqlKind, SqlOp, SshOp,
};
pub use bindings::lifecycle::exports::weir::plugin::lifecycle::Info;
pub use bindings::mask::exports::weir::plugin::mask::{
    Action, Batch, Column, Edits, Encoding, Plan,
};
pub use bindings::route::exports::weir::plugin::route::{Routing, Rule, Stage};

/// What every plugin has.
pub trait Plugin {
    fn info() -> Info;

    /// The protocols that it classifies: about others it is not asked. Empty: all of them.
    fn protocols() -> Vec<Protocol> {
        Vec::new()
    }

    /// Looks at the configuration ([`host::config`]) before it becomes active.
    fn check_config() -> Result<(), PluginError> {
        Ok(())
    }
}

/// Says how risky an action is. It can raise risk, escalate or refuse; it cannot grant.
pub trait Classifier: Plugin {
    fn classify(session: Session, op: Operation) -> Result<Risk, PluginError>;
}

/// Plans masking, and inspects the values of the columns that its plan said [`Action::Inspect`] for.
pub trait Masker: Plugin {
    /// One action per column.
    fn make_plan(session: Session, columns: Vec<Column>) -> Result<Plan, PluginError>;

    /// Needed only by a masker that plans [`Action::Inspect`].
    fn mask_batch(_state: Vec<u8>, _batch: Batch) -> Result<Edits, PluginError> {
        Err(PluginError::Unsupported)
    }
}

/// Says who is asked for an approval, and how. The rule is the floor.
pub trait Router: Plugin {
    /// `None` leaves it to the next router, or to the rule itself.
    fn route(
        session: Session,
        op: Operation,
        rule: Rule,
        risk: Risk,
    ) -> Result<Option<Routing>, PluginError>;
}

/// A risk with nothing but a score.
pub fn risk(score: u8) -> Risk {
    Risk {
        score,
        labels: Vec::new(),
        findings: Vec::new(),
        demand: Demand::None,
    }
}

/// The code of the README compiles, and its test passes.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What [`export!`] expands to; not for direct use.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings;
    pub use crate::exports::Exported;
}
