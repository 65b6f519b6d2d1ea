//! The recorder as a whole, on real files, with faults.

mod crash;
mod faults;
mod round_trip;
mod store;
mod support;
mod tamper;
mod wal;
