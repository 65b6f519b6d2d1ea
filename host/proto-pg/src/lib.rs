//! PostgreSQL on the wire: parse, decide, forward, mask, record.
//!
//! Place in the flow: `net` hands over a TCP connection; [`PgService`] takes it from the raw socket
//! through TLS, startup and the token to a `pipeline::Session`, dials the target with the credential
//! that only [`PgTarget`] owns, and relays statements until one side leaves.
//!
//! - `wire` cuts frames and reads messages, without sockets.
//! - `startup` is the typestate from raw socket to authenticated client.
//! - `statements` follows what the server will answer: names, portals, expected replies.
//! - `analysis`, `catalog` and `mask` know SQL, the database's contents and rows.
//! - `survey` finds out what a held statement would touch, for the people who decide.
//! - `upstream` is the only way out; `relay` moves both directions and asks `pipeline::decide`.
//!
//! Architecture invariants:
//! - Neither Wasm nor Cedar nor a database driver is linked here.
//! - A client's statement reaches the server only inside `Permitted`, which `upstream` alone opens.
//! - Every reply is explained by an expectation, or the session ends.
//! - What cannot be parsed, resolved, masked or recorded does not pass.

pub mod analysis;
mod cancel;
pub mod catalog;
mod config;
pub mod mask;
mod refusal;
mod relay;
mod service;
mod startup;
mod statements;
mod survey;
mod upstream;
pub mod wire;

pub use config::{
    AuthMethod, BuildError, ClientLogin, Limits, OAuth, Options, PgListener, PgTarget, Secret,
    check_logins,
};
pub use service::PgService;
pub use startup::{AuthRefused, Authenticate};

#[cfg(test)]
mod testing;
