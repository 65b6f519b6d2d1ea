//! The end-to-end tests: stock clients before, real servers behind, the real binary between. One
//! test binary, so that one PostgreSQL cluster serves them all.
//!
//! `cargo xtask test` builds and installs what they need, and runs them.
// All of this is a test: what is not as expected must panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod audit;
mod bypasses;
mod clients;
mod compute;
mod config;
mod control;
mod decisions;
mod deliveries;
mod driver;
mod erasure;
mod evidence;
mod held;
mod holds;
mod identity;
mod image;
mod infrastructure;
mod logins;
mod malformed;
mod masking;
mod noninterference;
mod packages;
mod plugins;
mod postgres18;
mod retention;
mod scripts;
mod session;
mod shop;
mod siem;
mod ssh;
mod tidy;
mod transparency;
mod vaults;
mod watch;
mod webhook;
