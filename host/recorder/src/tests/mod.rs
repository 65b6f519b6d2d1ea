//! The recorder as a whole, on real files, with faults.

mod ahead;
mod anchors;
mod crash;
mod crypt;
mod durability;
mod erase;
mod export;
mod faults;
mod follow;
mod limits;
mod live;
mod log;
mod log_faults;
mod packed;
mod power;
mod registry;
mod retention;
mod round_trip;
mod snapshots;
mod store;
mod stores;
pub mod support;
mod tamper;
mod wal;
mod walk;
mod watch;
mod witness;
