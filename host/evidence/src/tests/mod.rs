//! Packages, whole and tampered with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod erased;
mod halt;
mod left;
mod support;
mod tamper;
mod whole;
