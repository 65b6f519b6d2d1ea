//! SSH on the wire: terminate, parse, decide, forward, mask, record.
//!
//! Place in the flow: `net` hands over a TCP connection; `SshService` takes it through key exchange and
//! authentication to a `pipeline::Session`, dials the target with a credential of its own, and relays the
//! connection protocol (RFC 4254) between two transports. Channel numbers and windows are the peers' own, end
//! to end: a channel is changed only where policy, masking or a notice needs it.
//!
//! - `wire` reads and writes messages (RFC 4250–4254), without sockets.
//! - `transport` is one leg: identification, key exchange, packets, rekeying (RFC 4253). Pure.
//! - `startup` authenticates the client (RFC 4252); `visit` finds out which target it wants and whether it may,
//!   with the client in the `lobby`; `jump` is for clients without a session, and for those who jump.
//! - `upstream` dials, checks the host's key, proves who we are, and is the only way out.
//! - `relay` moves both directions, follows every channel, and asks `pipeline::decide`.
//! - `action` turns channel requests into facts and accesses; `sftp` and `scp` read file transfers in flight;
//!   `transfer` is what those two have in common.
//! - `gate` has bash on the host ask about every command of a shell.
//! - `mask` hides secrets in text that passes, at the same length.
//!
//! Architecture invariants:
//! - Neither Wasm nor Cedar nor a database driver is linked here.
//! - What a client asks for reaches the host only inside `Permitted`, which `upstream` alone opens.
//! - One channel never waits for another.
//! - What cannot be parsed, decided, masked or recorded does not pass.

mod action;
mod config;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gate;
mod jump;
mod leg;
mod life;
mod lobby;
pub mod mask;
mod masks;
mod relay;
pub mod scp;
mod service;
pub mod sftp;
mod slots;
mod startup;
mod terms;
#[cfg(test)]
mod testing;
pub mod transfer;
pub mod transport;
mod upstream;
mod visit;
pub mod wire;

pub use action::command_facts;
pub use config::{
    Binary, BuildError, ClientLogin, Credential, HostTrust, Limits, Options, Secret, SshListener,
    SshTarget,
};
pub use service::SshService;
pub use startup::{
    AuthRefused, Authenticate, Certified, DeviceFlow, GatewayKey, HostIdentity, OtherKey, Proved,
};
pub use terms::May;
pub use upstream::{Grant, HostKeys, IssueError, Issuer, Standing};
