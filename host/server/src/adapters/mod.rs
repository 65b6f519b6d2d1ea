//! Adapters between crates that must not know each other.

mod audit;
mod auth;
mod bundles;
mod erasing;
mod events;
mod plugins;
mod seal;
mod snapshots;
mod watch;

pub(crate) use audit::{Feed, read_older};
pub(crate) use auth::Tokens;
pub(crate) use bundles::Bundles;
pub(crate) use erasing::{Erasing, Forgetting, Known};
pub(crate) use events::{FailureRecorder, PluginFailures};
pub(crate) use plugins::{Pins, PluginAdmin};
pub(crate) use seal::Seal;
pub(crate) use snapshots::Snapshots;
pub(crate) use watch::Watching;
