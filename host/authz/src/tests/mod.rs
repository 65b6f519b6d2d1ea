//! Tests over whole bundles.

mod decide;
mod differential;
mod kit;
mod matrix;
mod refused;
mod swap;
