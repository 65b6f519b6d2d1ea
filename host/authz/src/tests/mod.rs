//! Tests over whole bundles.

mod compute;
mod decide;
mod differential;
mod hosts;
mod indifferent;
pub(crate) mod kit;
mod logins;
mod matrix;
mod refused;
mod swap;
