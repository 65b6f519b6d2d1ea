//! Tests over whole bundles.

mod decide;
mod differential;
pub(crate) mod kit;
mod matrix;
mod refused;
mod swap;
