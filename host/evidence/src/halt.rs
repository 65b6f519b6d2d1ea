//! What ends the making of a package before it is done.

use std::io;
use std::sync::Arc;

/// It is asked again after so many bytes.
pub const EVERY: u64 = 4 << 20;
/// A file counts for so many bytes at least: many small ones take long, too.
pub const FILE: u64 = 16 << 10;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    #[error(
        "the disk has {free} bytes free, and {needed} are kept for the record and as a reserve"
    )]
    NoRoom { free: u64, needed: u64 },
    #[error("nobody waits for the package any more")]
    Unwanted,
    #[error("the package took too long")]
    TooLate,
    #[error("what is free on the disk cannot be found out: {0}")]
    Unknown(String),
}

/// Asked before anything is written, and again and again; an error ends it.
pub type Watch = Arc<dyn Fn() -> Result<(), Halt> + Send + Sync>;

/// Nothing ends it.
pub fn unwatched() -> Watch {
    Arc::new(|| Ok(()))
}

/// Asks as bytes go by.
pub struct Steps {
    watch: Watch,
    since: u64,
}

impl Steps {
    pub fn new(watch: Watch) -> Self {
        Self { watch, since: 0 }
    }

    /// Before so many bytes more.
    pub fn add(&mut self, bytes: u64) -> Result<(), Halt> {
        self.since = self.since.saturating_add(bytes);
        if self.since < EVERY {
            return Ok(());
        }
        self.since = 0;
        (self.watch)()
    }
}

impl From<Halt> for io::Error {
    fn from(halt: Halt) -> Self {
        Self::other(halt)
    }
}

/// What was ended by one, in disguise.
pub fn of_io(error: &io::Error) -> Option<&Halt> {
    error.get_ref()?.downcast_ref()
}
