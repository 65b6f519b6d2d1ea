//! What there is to deliver: the logs from a cursor's to the present one, and events of their leaves.

use std::collections::VecDeque;
use std::time::Instant;

use evidence::{Leaf, ocsf};
use recorder::{Leaves, LeavesError, LogEnd};
use serde_json::Value;
use uuid::Uuid;

use crate::batch::{Batch, Event};
use crate::cursor::Cursor;
use crate::options::{Pace, ReceiverOptions};
use crate::status::now_ms;

/// A receiver that is more logs behind is told of a gap.
const MAX_LOGS: usize = 10_000;
/// Leaves without events, such as those about stored segments, that one batch passes.
const MAX_LEAVES: usize = 10_000;
/// Leaves of one bundle.
const BUNDLE: u64 = 256;

pub struct Source {
    leaves: Leaves,
    /// This process's log, the last one.
    log: Uuid,
    /// From the cursor's log to the present one; empty until it is known.
    pub left: VecDeque<LogEnd>,
    /// After this log others may be missing, and why.
    hole: Option<(Uuid, String)>,
    /// Since when something cannot be read that should be there.
    unread: Option<Instant>,
    pace: Pace,
    events: usize,
    bytes: usize,
}

impl Source {
    pub fn new(leaves: Leaves, log: Uuid, pace: Pace, options: &ReceiverOptions) -> Self {
        Self {
            leaves,
            log,
            left: VecDeque::new(),
            hole: None,
            unread: None,
            pace,
            events: options.batch_events,
            bytes: options.batch_bytes,
        }
    }

    /// Finds the logs between the cursor's and the present one, from the last one back: each names the one
    /// before it.
    pub async fn plan(&mut self, cursor: &Cursor) -> Result<(), LeavesError> {
        let mut left = VecDeque::from([self.present()?]);
        let broken = loop {
            let Some(first) = left.front() else {
                break None;
            };
            if first.log == cursor.log {
                break None;
            }
            if left.len() >= MAX_LOGS {
                break Some(format!("the receiver is more than {MAX_LOGS} logs behind"));
            }
            match self.leaves.before(first).await {
                Ok(Some(before)) => left.push_front(before),
                Ok(None) => break Some("no log says that it goes on after this one".into()),
                Err(error) if self.is_hopeless(&error) => break Some(error.to_string()),
                Err(error) => return Err(error),
            }
        };
        self.unread = None;
        if let Some(why) = broken {
            // Ids of logs begin with the time of their start.
            left.retain(|end| end.log > cursor.log || end.log == self.log);
            let known = match self.leaves.end(cursor.log).ok().flatten() {
                Some(known) => Some(known),
                None => self.leaves.signed_end(cursor.log, &self.present()?).await?,
            };
            left.push_front(known.or_else(|| cursor.end()).unwrap_or(LogEnd {
                log: cursor.log,
                origin: String::new(),
                size: cursor.next,
                root: [0; 32],
            }));
            self.hole = Some((cursor.log, why));
        }
        self.left = left;
        Ok(())
    }

    /// The present log, as far as it is durable.
    fn present(&self) -> Result<LogEnd, LeavesError> {
        let log = self.log;
        let end = self.leaves.end(log);
        let end = end.map_err(|source| LeavesError::Spool { log, source })?;
        end.ok_or(LeavesError::Missing {
            log,
            path: "its last checkpoint".into(),
        })
    }

    /// The next events after the cursor. None: there is nothing new.
    pub async fn batch(&mut self, cursor: &Cursor) -> Result<Option<Batch>, LeavesError> {
        let (mut at, mut next) = (0, cursor.next);
        loop {
            let is_last = at + 1 == self.left.len();
            if is_last {
                let present = self.present()?;
                if let Some(last) = self.left.back_mut() {
                    *last = present;
                }
            }
            let Some(end) = self.left.get(at).cloned() else {
                return Ok(None);
            };
            if next < end.size {
                return self.read(end, next).await.map(Some);
            }
            let Some(following) = self.left.get(at + 1).cloned() else {
                return Ok(None);
            };
            if let Some((log, why)) = &self.hole
                && *log == end.log
            {
                let event = ocsf::missing(end.log, next, None, why, now_ms());
                return Ok(Some(Batch {
                    events: vec![Event::new(event)],
                    end: following,
                    next: 0,
                }));
            }
            (at, next) = (at + 1, 0);
        }
    }

    /// It has been taken, and the cursor is behind it.
    pub fn taken(&mut self, batch: &Batch) {
        while self.left.len() > 1 && self.left.front().is_some_and(|f| f.log != batch.end.log) {
            self.left.pop_front();
        }
    }

    async fn read(&mut self, end: LogEnd, from: u64) -> Result<Batch, LeavesError> {
        let mut batch = Batch {
            events: Vec::new(),
            end,
            next: from,
        };
        let (mut bytes, mut seen) = (0, 0);
        while batch.next < batch.end.size && seen < MAX_LEAVES {
            let leaves = match self.leaves.read(&batch.end, batch.next).await {
                Ok(leaves) if leaves.is_empty() => break,
                Ok(leaves) => leaves,
                // What has been read comes first.
                Err(_) if batch.next > from => return Ok(batch),
                Err(error) if self.is_hopeless(&error) => {
                    self.unread = None;
                    let until = (batch.next / BUNDLE + 1) * BUNDLE;
                    let until = until.min(batch.end.size);
                    let why = error.to_string();
                    let event = ocsf::missing(batch.end.log, from, Some(until), &why, now_ms());
                    batch.events.push(Event::new(event));
                    batch.next = until;
                    return Ok(batch);
                }
                Err(error) => return Err(error),
            };
            self.unread = None;
            for leaf in leaves {
                let events = events(batch.end.log, batch.next, &leaf);
                let more: usize = events.iter().map(|event| event.json.len()).sum();
                let count = batch.events.len() + events.len();
                let is_full = count > self.events || bytes + more > self.bytes;
                if is_full && !batch.events.is_empty() {
                    return Ok(batch);
                }
                batch.events.extend(events);
                batch.next += 1;
                bytes += more;
                seen += 1;
            }
        }
        Ok(batch)
    }

    /// Has it been unreadable for long enough to say that it is missing?
    fn is_hopeless(&mut self, error: &LeavesError) -> bool {
        if !error.is_lasting() {
            self.unread = None;
            return false;
        }
        let since = self.unread.get_or_insert_with(Instant::now);
        since.elapsed() >= self.pace.give_up
    }
}

fn events(log: Uuid, index: u64, leaf: &[u8]) -> Vec<Event> {
    let values: Vec<Value> = match Leaf::parse(leaf) {
        Ok(leaf) => ocsf::events(log, index, &leaf),
        Err(error) => {
            let why = format!("a leaf cannot be read: {error}");
            vec![ocsf::missing(log, index, Some(index + 1), &why, now_ms())]
        }
    };
    values.into_iter().map(Event::new).collect()
}
