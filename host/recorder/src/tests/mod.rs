//! The recorder as a whole, on real files, with faults.

mod crash;
mod faults;
mod limits;
mod power;
mod round_trip;
mod store;
pub mod support;
mod tamper;
mod wal;
