//! Adapters between crates that must not know each other.

mod audit;
mod auth;
mod bundles;
mod erasing;
mod events;
mod packages;
mod plugins;
mod seal;
mod snapshots;
pub(crate) mod ssh;
mod ssh_certificates;
pub(crate) mod ssh_device;
pub(crate) mod ssh_hosts;
mod ssh_registered;
pub(crate) mod ssh_tokens;
mod watch;

pub(crate) use audit::{Feed, read_older};
pub(crate) use auth::Tokens;
pub(crate) use bundles::{Bundles, kept_longer};
pub(crate) use erasing::{Erasing, Forgetting, Known};
pub(crate) use events::{FailureRecorder, PluginFailures};
pub(crate) use packages::Packages;
pub(crate) use plugins::{Pins, PluginAdmin};
pub(crate) use seal::Seal;
pub(crate) use snapshots::Snapshots;
pub(crate) use ssh_certificates::SshCertificates;
pub(crate) use ssh_registered::RegisteredKeys;
pub(crate) use watch::Watching;

/// Which Weir it is, as packages name it.
pub(crate) fn software() -> String {
    concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned()
}
