//! What the recorder tells of itself.

/// A look at the recorder, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    pub records: u64,
    /// Blocks, each one write.
    pub blocks: u64,
    pub wal_bytes: u64,
    pub pending_bytes: u64,
    pub pending_segments: u64,
    pub spool_limit: u64,
    /// What counts against that limit.
    pub spool_used: u64,
    pub sealed_segments: u64,
    pub stored_segments: u64,
    pub store_failures: u64,
    pub quarantined_segments: u64,
    /// Leaves of the transparency log's newest durable checkpoint, and of the newest stored one.
    pub log_size: u64,
    pub log_stored: u64,
    /// Why whoever follows the log does not get on.
    pub follower_trouble: Option<String>,
    /// Why the recorder accepts nothing any more.
    pub poisoned: Option<String>,
}

/// What was left when the recorder ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Segments that the store does not have yet; the next start stores them.
    pub pending_segments: u64,
    /// Everything recorded is in sealed segments.
    pub sealed: bool,
    /// The store has the last checkpoint of the transparency log; otherwise the next start stores it.
    pub log_stored: bool,
}
