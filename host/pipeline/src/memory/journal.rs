//! A journal in memory.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::ports::{Journal, JournalError, SessionJournal};
use crate::record::{
    ControlEvent, Direction, HoldRecord, Intent, Outcome, RefusalRecord, SessionEnd, SessionStart,
};

/// One entry of the in-memory journal, in order.
#[derive(Debug, Clone)]
pub enum Entry {
    Start(SessionStart),
    Held(HoldRecord),
    Intent(Intent),
    Refused(RefusalRecord),
    Outcome(Outcome),
    Bytes {
        seq: u64,
        way: Direction,
        bytes: Bytes,
    },
    /// Everything before it was made durable.
    Settled,
    End(SessionEnd),
    Event(ControlEvent),
}

/// A journal in memory that can be told to fail.
#[derive(Default)]
pub struct MemoryJournal {
    entries: Arc<Mutex<Vec<Entry>>>,
    broken: Arc<Mutex<bool>>,
    failed: CancellationToken,
}

impl MemoryJournal {
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().clone()
    }

    pub fn intents(&self) -> Vec<Intent> {
        let pick = |e: Entry| match e {
            Entry::Intent(i) => Some(i),
            _ => None,
        };
        self.entries().into_iter().filter_map(pick).collect()
    }

    pub fn holds(&self) -> Vec<HoldRecord> {
        let pick = |e: Entry| match e {
            Entry::Held(h) => Some(h),
            _ => None,
        };
        self.entries().into_iter().filter_map(pick).collect()
    }

    pub fn refusals(&self) -> Vec<RefusalRecord> {
        let pick = |e: Entry| match e {
            Entry::Refused(r) => Some(r),
            _ => None,
        };
        self.entries().into_iter().filter_map(pick).collect()
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        let pick = |e: Entry| match e {
            Entry::Outcome(o) => Some(o),
            _ => None,
        };
        self.entries().into_iter().filter_map(pick).collect()
    }

    /// Everything that was recorded on its way to the client, joined.
    pub fn to_client(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in self.entries() {
            if let Entry::Bytes {
                way: Direction::ToClient,
                bytes,
                ..
            } = entry
            {
                out.extend_from_slice(&bytes);
            }
        }
        out
    }

    /// From now on nothing can be recorded; running sessions are told.
    pub fn break_now(&self) {
        *self.broken.lock() = true;
        self.failed.cancel();
    }

    /// From now on nothing can be recorded; sessions learn it at their next record.
    pub fn break_quietly(&self) {
        *self.broken.lock() = true;
    }
}

struct MemorySessionJournal {
    entries: Arc<Mutex<Vec<Entry>>>,
    broken: Arc<Mutex<bool>>,
    failed: CancellationToken,
}

impl MemorySessionJournal {
    fn push(&self, entry: Entry) -> Result<(), JournalError> {
        if *self.broken.lock() {
            return Err(JournalError::Poisoned("told to fail".into()));
        }
        self.entries.lock().push(entry);
        Ok(())
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn open(&self, start: SessionStart) -> Result<Arc<dyn SessionJournal>, JournalError> {
        let session = MemorySessionJournal {
            entries: self.entries.clone(),
            broken: self.broken.clone(),
            failed: self.failed.clone(),
        };
        session.push(Entry::Start(start))?;
        Ok(Arc::new(session))
    }
    async fn event(&self, event: ControlEvent) -> Result<(), JournalError> {
        if *self.broken.lock() {
            return Err(JournalError::Poisoned("told to fail".into()));
        }
        self.entries.lock().push(Entry::Event(event));
        Ok(())
    }
}

#[async_trait]
impl SessionJournal for MemorySessionJournal {
    async fn held(&self, held: HoldRecord) -> Result<(), JournalError> {
        self.push(Entry::Held(held))
    }
    async fn intent(&self, intent: Intent) -> Result<(), JournalError> {
        self.push(Entry::Intent(intent))
    }
    async fn refused(&self, refusal: RefusalRecord) -> Result<(), JournalError> {
        self.push(Entry::Refused(refusal))
    }
    async fn outcome(&self, outcome: Outcome) -> Result<(), JournalError> {
        self.push(Entry::Outcome(outcome))
    }
    async fn bytes(&self, seq: u64, way: Direction, bytes: Bytes) -> Result<(), JournalError> {
        self.push(Entry::Bytes { seq, way, bytes })
    }
    async fn settle(&self) -> Result<(), JournalError> {
        self.push(Entry::Settled)
    }
    fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }
    async fn close(&self, end: SessionEnd) -> Result<(), JournalError> {
        self.push(Entry::End(end))
    }
}
