//! What the committer is asked, and what it answers.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::record::NewRecord;

/// Answers when the records are as safe as was asked for, or why they never will be.
pub type Done = oneshot::Sender<Result<(), Refused>>;

/// How safe records have to be before whoever waits for them is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// On the disk.
    #[default]
    Durable,
    /// With the operating system, and on the disk within this time.
    Written(Duration),
}

/// Why records were not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Poisoned(String),
    /// The session has ended.
    Ended,
    /// One of the records is longer than any record may be. None of them was written.
    TooLarge(usize),
}

/// One caller's records, written in order; together, as far as a block holds them.
#[derive(Default)]
pub struct Ask {
    pub records: Vec<NewRecord>,
    pub done: Option<Done>,
    pub level: Level,
    /// Answered when everything of the stream so far is in sealed segments.
    pub sealed: Option<(u128, Done)>,
    pub flush: Option<(Flush, Done)>,
    /// The last message: the thread ends after it.
    pub stop: bool,
    pub permit: Option<OwnedSemaphorePermit>,
    /// Bytes by which it was added to those that wait.
    pub counted: usize,
}

impl Ask {
    /// Somebody waits for the disk.
    pub fn is_urgent(&self) -> bool {
        let durable = self.done.is_some() && self.level == Level::Durable;
        durable || self.sealed.is_some() || self.flush.is_some() || self.stop
    }

    pub fn len(&self) -> usize {
        self.records.iter().map(NewRecord::encoded_len).sum()
    }
}

/// What is to be sealed, and durably marked as sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Everything but this instance's control stream.
    Others,
    All,
}
