//! What the committer hands on to the sealer.

use std::ops::Range;

use tokio::sync::OwnedSemaphorePermit;

use crate::ask::{Done, Flush};
use crate::chain::Hash;
use crate::record::Kind;

/// To the sealer, in the order of the log.
pub enum ToSealer {
    Batch(Batch),
    Flush(Flush, Done),
}

/// One durable block.
#[derive(Default)]
pub struct Batch {
    pub file_no: u64,
    /// What it added to the log file.
    pub len: u64,
    pub raw: Vec<u8>,
    pub items: Vec<Item>,
    /// The log's chain after it.
    pub chain: Hash,
    pub closers: Vec<(u128, Done)>,
    /// Given back when the sealer is done with it: until then, `raw` is memory too.
    pub permits: Vec<OwnedSemaphorePermit>,
}

#[derive(Debug, Clone)]
pub struct Item {
    pub kind: Kind,
    pub ts_ns: u64,
    pub stream: u128,
    pub index: u64,
    pub seq: Option<u64>,
    pub leaf: Hash,
    pub encoded: Range<usize>,
}
