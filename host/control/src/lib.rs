//! The control plane: state, the approvals desk, live sessions, bundles and plugins, the index of the
//! record, the HTTP API over them, and a webhook.
//!
//! Place in the flow: `decide()` waits at [`Control::approver`] for people, and every session is
//! registered at [`Control::registry`]; people come in over the HTTP API. Policy, plugins, identity
//! and the record are ports that the server wires in through [`Options`].
//!
//! Architecture invariants:
//! - Every route names its Cedar action in one table (`http::table`); the gate in front of it
//!   authenticates and authorizes before the handler runs or the body is read.
//! - What changes state takes a `Recorded`: proof that the act is durably on record. If it cannot
//!   be recorded, it is not done.
//! - Races between voters, the waiting action and the clock are decided in one place, by one
//!   transaction of the store.
//! - No Cedar, no Wasm, no sockets to upstreams, no tokens in the store or the log.

mod approvals;
mod bundles;
mod control;
mod convert;
mod error;
mod forget;
mod guard;
mod http;
pub mod index;
mod limits;
mod options;
mod places;
mod plugins;
mod ports;
mod serve;
mod sessions;
mod ssh;
mod ssh_hosts;
mod ssh_keys;
mod ssh_tokens;
pub mod store;
mod webhook;

pub use control::{Control, check_base_url};
pub use error::{ApiError, ControlError};
pub use http::{Endpoint, endpoints, openapi};
pub use options::{Limits, Options, WebhookOptions};
pub use ports::{
    ActiveBundle, Authenticate, BundleEngine, CheckedKey, Coming, Deliveries, Files,
    IssuedCertificate, MadePackage, MadeToken, PackageOrder, Packages, PluginEngine, Recordings,
    SshAuthority, SshKeys, WatchSessions, WatchedLines, WatchedSession,
};
pub use serve::ServerTls;
pub use ssh_hosts::{HostKeyDesk, HostKeyStanding};
pub use ssh_tokens::{KeptToken, TokenDesk};
pub use webhook::{
    Signer as WebhookSigner, check_secret as check_webhook_secret, check_url as check_webhook_url,
};

#[cfg(test)]
mod testing;
