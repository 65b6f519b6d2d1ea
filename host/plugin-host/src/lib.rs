//! Runs Wasm components behind the pipeline's hooks.
//!
//! A plugin is a component that exports `weir:plugin/lifecycle` and at least one of `classify`,
//! `mask` and `route` (the contract is in `wit/`). [`Plugins`] holds the named plugins of one
//! process in order and implements [`pipeline::ports::Hooks`] over them; [`Runtime`] is the Wasm
//! engine that they share.
//!
//! Place in the flow: behind the port `Hooks`. `decide()` asks for risk and routes, protocol crates
//! for masking plans and batches; the control plane adds and removes plugins.
//!
//! Architecture invariants:
//! - A plugin can make things stricter, never looser. Results are joined with the pipeline's own
//!   `join` and checked against the contract; an answer that breaks it is a failure.
//! - Every failure has its fail-closed outcome here: risk 100, redaction, the rule's own route.
//!   Nothing of a plugin's failure reaches a caller as an error that could be ignored.
//! - Every call has its own instance. Nothing survives it but the plugin's `kv` store.
//! - A plugin imports `weir:plugin/{types,log,config,kv,clock}` and nothing else. There is no WASI
//!   in this crate.
//! - Limits and deadlines are in `limits.rs` and nowhere else.
//! - A precompiled artifact is native code: it is loaded only if its HMAC under the host's key says
//!   that this host wrote it for this component and this engine.

mod admission;
mod archive;
mod batch;
mod bindings;
mod cache;
mod call;
mod check;
mod convert;
mod events;
mod fault;
mod hooks;
mod kv;
mod limits;
mod log;
mod plugins;
mod risks;
mod runtime;
mod state;
mod ticker;

#[cfg(test)]
mod tests;

pub use admission::{AdmissionError, Capability, PluginInfo};
pub use archive::{Archive, NoArchive, SetInfo, SetPlugin};
pub use cache::{ArtifactCache, CacheError, HostKey};
pub use events::{Events, Hook, NoEvents, PluginFailure};
pub use fault::Fault;
pub use limits::Limits;
pub use plugins::{Config, Options, Plugins};
pub use runtime::{Runtime, RuntimeError};
