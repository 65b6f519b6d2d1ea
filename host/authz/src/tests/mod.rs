//! Tests over whole bundles.

mod compute;
mod decide;
mod differential;
mod hosts;
mod indifferent;
pub(crate) mod kit;
mod matrix;
mod refused;
mod swap;
