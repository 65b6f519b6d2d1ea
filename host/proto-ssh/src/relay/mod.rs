//! The connection protocol between two authenticated legs: every message from 80 on goes on as it came, unless
//! policy, masking or a notice needs otherwise.
//!
//! `core` follows the messages, without sockets.

mod core;
