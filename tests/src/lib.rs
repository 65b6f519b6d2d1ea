//! What the end-to-end tests, the demo and the benchmarks stand on: real servers and real clients,
//! started and stopped by code.
//!
//! Place in the flow: outside. It knows Weir as its users do, by its binary, its configuration file,
//! its API and its wire protocols, and links none of its crates.
//!
//! Architecture invariants:
//! - Nothing here is shared with what it tests; a mistake in Weir's frame layer cannot hide behind
//!   the same mistake in the tests' client.
//! - Everything that is started ends with the process that started it, however that ends.

pub mod bundle;
pub mod ceph;
pub mod certificates;
pub mod dataset;
pub mod faulty;
pub mod golog;
pub mod http;
pub mod oidc;
pub mod openssh;
pub mod paths;
pub mod postgres;
pub mod proc;
pub mod psql;
mod reaper;
pub mod receiver;
pub mod russh;
pub mod s3;
pub mod skip;
pub mod sshd;
pub mod stores;
pub mod vault;
pub mod weir;
pub mod wire;
