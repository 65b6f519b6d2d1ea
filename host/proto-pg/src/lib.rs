//! proto-pg

pub mod analysis;
pub mod catalog;
pub mod mask;
