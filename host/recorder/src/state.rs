//! What the recorder's threads and tasks share: whether it failed, and how full the spool is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use pipeline::ports::JournalError;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::bell::Bell;
use crate::convert;
use crate::doc::GapDoc;
use crate::journal;
use crate::options::Limits;
use crate::record::{Kind, NewRecord};
use crate::watch::Watching;

pub struct State {
    pub limits: Limits,
    pub failed: CancellationToken,
    /// The threads have ended: what has no answer yet gets none.
    pub ended: CancellationToken,
    reason: OnceLock<String>,
    pub wal_bytes: AtomicU64,
    pub pending_bytes: AtomicU64,
    /// Of transparency logs that the store does not have yet.
    pub log_bytes: AtomicU64,
    pub counters: Counters,
    /// Told whenever the spool got smaller.
    pub room: Notify,
    /// Records that the recorder's own threads and dropped sessions want written.
    pub side: Mutex<Side>,
    /// Bytes of records in the committer's queue.
    pub waiting: AtomicUsize,
    /// Wakes the committer.
    pub bell: Bell,
    pub watching: Watching,
}

#[derive(Default)]
pub struct Side {
    pub records: Vec<NewRecord>,
    /// The last records of sessions that were dropped without an end. They may be written only after
    /// everything that was queued before them.
    pub abandoned: Vec<Vec<NewRecord>>,
    /// Gaps that were found after the control stream's end.
    pub late: Vec<GapDoc>,
}

impl Side {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.abandoned.is_empty()
    }
}

#[derive(Debug, Default)]
pub struct Counters {
    pub records: AtomicU64,
    pub blocks: AtomicU64,
    pub sealed: AtomicU64,
    pub stored: AtomicU64,
    pub store_failures: AtomicU64,
    pub quarantined: AtomicU64,
}

impl State {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            failed: CancellationToken::new(),
            ended: CancellationToken::new(),
            reason: OnceLock::new(),
            wal_bytes: AtomicU64::new(0),
            pending_bytes: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            counters: Counters::default(),
            room: Notify::new(),
            side: Mutex::default(),
            waiting: AtomicUsize::new(0),
            bell: Bell::default(),
            watching: Watching::default(),
        }
    }

    /// Has a record written soon, whether or not anybody else writes.
    pub fn post(&self, record: NewRecord) {
        self.side.lock().records.push(record);
        self.bell.ring();
    }

    /// Writes down, in this control stream, that something is missing or was replaced.
    pub fn post_gap(&self, control: u128, what: String, file: Option<String>) {
        if let Ok(body) = convert::json(&GapDoc { what, file }) {
            let now = SystemTime::now();
            self.post(journal::record(Kind::Gap, now, control, None, body));
        }
    }

    /// A record of the recorder's own whose stream has ended. What it says is missing is not forgotten.
    pub fn came_late(&self, record: &NewRecord) {
        match (record.kind, serde_json::from_slice(&record.body)) {
            (Kind::Gap, Ok(gap)) => self.side.lock().late.push(gap),
            _ => {
                tracing::warn!(kind = ?record.kind, "a record of the recorder itself came too late")
            }
        }
    }

    /// Of what nobody writes any more: the gaps that were found too late.
    pub fn late_gaps(&self) -> Vec<GapDoc> {
        let records = std::mem::take(&mut self.side.lock().records);
        records.iter().for_each(|record| self.came_late(record));
        std::mem::take(&mut self.side.lock().late)
    }

    /// From here on every call errs, and every session is told to end. The first reason stays.
    pub fn poison(&self, why: String) {
        self.reason.get_or_init(|| {
            tracing::error!(%why, "the recorder failed; every session ends and none is accepted");
            why
        });
        self.failed.cancel();
    }

    pub fn is_poisoned(&self) -> bool {
        self.reason.get().is_some()
    }

    pub fn poisoned(&self) -> Option<String> {
        self.reason.get().cloned()
    }

    pub fn check(&self) -> Result<(), JournalError> {
        match self.reason.get() {
            None => Ok(()),
            Some(why) => Err(JournalError::Poisoned(why.clone())),
        }
    }

    /// A log's files went from the spool.
    pub fn log_went(&self, bytes: u64) {
        let less = |held: u64| Some(held.saturating_sub(bytes));
        self.log_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .ok();
        self.room.notify_waiters();
    }

    pub fn used(&self) -> u64 {
        let parts = [&self.wal_bytes, &self.pending_bytes, &self.log_bytes];
        parts
            .iter()
            .map(|bytes| bytes.load(Ordering::Relaxed))
            .sum()
    }

    /// May something new begin?
    pub fn check_room(&self) -> Result<(), JournalError> {
        self.check_below(self.limits.spool_bytes, 0)
    }

    /// What has begun may go on for a little longer, so that it can be recorded to its end. `queued`
    /// bytes are on their way into the log.
    pub fn check_headroom(&self, queued: u64) -> Result<(), JournalError> {
        let limit = self.limits.spool_bytes + self.limits.spool_bytes / 8;
        self.check_below(limit, queued)
    }

    fn check_below(&self, limit: u64, queued: u64) -> Result<(), JournalError> {
        let used = self.used() + queued;
        if used < limit {
            return Ok(());
        }
        Err(JournalError::SpoolFull { used, limit })
    }
}
