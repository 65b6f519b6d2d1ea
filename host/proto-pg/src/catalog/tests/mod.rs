//! Tests of the catalogue, against a real server.

pub(crate) mod server;
mod snapshot;
