//! Logs that `tlog` writes, checked by `check.go`, which stands on Go's implementation of transparency
//! logs and knows nothing of Weir's.
//!
//! Place in the flow: outside. Nothing that is shipped depends on it.
//!
//! Architecture invariants:
//! - What is written by the one program is judged by the other alone: no hash, path or signature that
//!   is checked here was computed by whoever checks it.
//! - An alteration that is not refused fails the test, and so does one that was not made.

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
mod tests;
