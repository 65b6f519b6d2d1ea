//! Configuration → build → run: the leaf that wires all crates, and the command `weir`.
//!
//! Place in the flow: the only crate that knows every other. The adapters between crates that must
//! not know each other (`identity` for `proto-pg` and `control`, `authz` and `plugin-host` for
//! `control`) live here.
//!
//! Architecture invariant: nothing is bound or dialled before the whole configuration is checked.
//! Architecture invariant: no statics; what a part needs is handed to it.

mod adapters;
mod assemble;
pub mod cli;
pub mod config;
mod data_dir;
mod descriptors;
