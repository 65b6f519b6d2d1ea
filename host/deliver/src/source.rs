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
/// Bundles of a log that was given up which are tried for one event about what is missing.
const MAX_TRIED: usize = 256;

pub struct Source {
    leaves: Leaves,
    /// This process's log, the last one.
    log: Uuid,
    /// From the cursor's log to the present one; empty until it is known.
    pub left: VecDeque<LogEnd>,
    /// After each of these logs others may be missing, and why.
    holes: Vec<(Uuid, String)>,
    /// Since when something cannot be read that should be there.
    unread: Option<Instant>,
    /// So long this log could not be read that nothing more of it is waited for.
    given_up: Option<Uuid>,
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
            holes: Vec::new(),
            unread: None,
            given_up: None,
            pace,
            events: options.batch_events,
            bytes: options.batch_bytes,
        }
    }

    /// Finds the logs between the cursor's and the present one, from the last one back: each names the one
    /// before it. Where that cannot be read, any later one than the cursor's is taken that can be proved.
    pub async fn plan(&mut self, cursor: &Cursor) -> Result<(), LeavesError> {
        let present = self.present().await?;
        let mut left = VecDeque::from([present.clone()]);
        let mut holes = Vec::new();
        let mut others: Option<Vec<LogEnd>> = None;
        while left.front().is_some_and(|first| first.log != cursor.log) {
            let is_known = |log: Uuid| left.iter().any(|end| end.log == log);
            let why = if left.len() >= MAX_LOGS {
                others = Some(Vec::new());
                format!("the receiver is more than {MAX_LOGS} logs behind")
            } else {
                match self.before(&left).await? {
                    Ok(before) if !is_known(before.log) => {
                        left.push_front(before);
                        continue;
                    }
                    Ok(_) => "a log says that it goes on after a later one".into(),
                    Err(why) => why,
                }
            };
            let found = match others.take() {
                Some(found) => found,
                None => self.others(cursor, &present).await?,
            };
            let mut found: Vec<LogEnd> =
                found.into_iter().filter(|end| !is_known(end.log)).collect();
            let next = match found.pop() {
                Some(next) => next,
                None => self.of_cursor(cursor, &present).await?,
            };
            others = Some(found);
            holes.push((next.log, why));
            left.push_front(next);
        }
        self.unread = None;
        self.holes = holes;
        self.left = left;
        Ok(())
    }

    /// The log before the first of these, or why nobody will know it.
    async fn before(
        &mut self,
        left: &VecDeque<LogEnd>,
    ) -> Result<Result<LogEnd, String>, LeavesError> {
        let Some(first) = left.front() else {
            return Ok(Err("there is no log".into()));
        };
        match self.leaves.before(first).await {
            Ok(Some(before)) => Ok(Ok(before)),
            Ok(None) => Ok(Err("no log says that it goes on after this one".into())),
            Err(error) => {
                let why = self.hopeless(error).await?;
                // It has been waited for.
                self.given_up = Some(first.log);
                Ok(Err(why))
            }
        }
    }

    /// Logs after the cursor's that are proved by themselves, by their ids, which begin with the time of
    /// their start.
    async fn others(
        &mut self,
        cursor: &Cursor,
        present: &LogEnd,
    ) -> Result<Vec<LogEnd>, LeavesError> {
        let mut ids = Vec::new();
        for listed in [
            self.leaves.spooled_logs().await,
            self.leaves.stored_logs().await,
        ] {
            match listed {
                Ok(listed) => ids.extend(listed),
                Err(error) => drop(self.hopeless(error).await?),
            }
        }
        ids.retain(|log| *log > cursor.log && *log != present.log);
        ids.sort();
        ids.dedup();
        let mut others = Vec::new();
        for log in ids.into_iter().rev().take(MAX_LOGS) {
            others.extend(self.proved(log, present).await?);
        }
        others.reverse();
        Ok(others)
    }

    /// A log that no other vouches for, as far as it is known to be of this instance.
    async fn proved(&mut self, log: Uuid, present: &LogEnd) -> Result<Option<LogEnd>, LeavesError> {
        let mut best: Option<LogEnd> = None;
        for known in [
            self.leaves.durable(log).await,
            self.leaves.signed_end(log, present).await,
        ] {
            let known = match known {
                Ok(known) => known,
                Err(error) => {
                    self.hopeless(error).await?;
                    None
                }
            };
            best = larger(best, known);
        }
        Ok(best)
    }

    /// The cursor's log, from which no other leads on.
    async fn of_cursor(
        &mut self,
        cursor: &Cursor,
        present: &LogEnd,
    ) -> Result<LogEnd, LeavesError> {
        let proved = self.proved(cursor.log, present).await?;
        Ok(larger(proved, cursor.end()).unwrap_or(LogEnd {
            log: cursor.log,
            origin: String::new(),
            size: cursor.next,
            root: [0; 32],
        }))
    }

    /// The present log, as far as it is durable.
    async fn present(&self) -> Result<LogEnd, LeavesError> {
        let log = self.log;
        let end = self.leaves.durable(log).await?;
        end.ok_or(LeavesError::Missing {
            log,
            path: "its last checkpoint".into(),
        })
    }

    /// Places before the present log's end that others may be missing from.
    pub fn holes(&self) -> u64 {
        let is_left = |log: &Uuid| self.left.iter().any(|end| end.log == *log);
        self.holes.iter().filter(|(log, _)| is_left(log)).count() as u64
    }

    /// The next events after the cursor. None: there is nothing new.
    pub async fn batch(&mut self, cursor: &Cursor) -> Result<Option<Batch>, LeavesError> {
        let (mut at, mut next) = (0, cursor.next);
        loop {
            let is_last = at + 1 == self.left.len();
            if is_last {
                let present = self.present().await?;
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
            if let Some((_, why)) = self.holes.iter().find(|(log, _)| *log == end.log) {
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
                Ok(leaves) => leaves,
                // What has been read comes first.
                Err(_) if batch.next > from => return Ok(batch),
                Err(error) => return self.missing(batch, error).await,
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

    /// What is told in place of leaves that cannot be read. The first of a log are waited for; the others
    /// like them are told at once, up to the next that can be read.
    async fn missing(
        &mut self,
        mut batch: Batch,
        error: LeavesError,
    ) -> Result<Batch, LeavesError> {
        let (log, from, size) = (batch.end.log, batch.next, batch.end.size);
        let why = match self.given_up == Some(log) {
            // It may just have gone from the spool, or have been replaced in the store.
            true => match self.leaves.read(&batch.end, from).await {
                Ok(_) => return Err(error),
                Err(again) if self.lasts(&again).await => again.to_string(),
                Err(again) => return Err(again),
            },
            false => self.hopeless(error).await?,
        };
        self.given_up = Some(log);
        self.unread = None;
        let after = |leaf: u64| (leaf / BUNDLE + 1).saturating_mul(BUNDLE).min(size);
        let mut until = after(from);
        for _ in 0..MAX_TRIED {
            if until >= size {
                break;
            }
            match self.leaves.read(&batch.end, until).await {
                Err(error) if self.lasts(&error).await => until = after(until),
                Ok(_) | Err(_) => break,
            }
        }
        let event = ocsf::missing(log, from, Some(until), &why, now_ms());
        batch.events.push(Event::new(event));
        batch.next = until;
        Ok(batch)
    }

    /// Would it be the same if it were read again? An error of the store is about one object if the store
    /// hands out another.
    async fn lasts(&self, error: &LeavesError) -> bool {
        match error {
            LeavesError::Store(_) => self.leaves.store_answers(self.log).await,
            _ => error.is_lasting(),
        }
    }

    /// Why something is missing, once it has been unreadable for long enough to say so; until then the error.
    async fn hopeless(&mut self, error: LeavesError) -> Result<String, LeavesError> {
        if !self.lasts(&error).await {
            return Err(error);
        }
        let since = self.unread.get_or_insert_with(Instant::now);
        match since.elapsed() >= self.pace.give_up {
            true => Ok(error.to_string()),
            false => Err(error),
        }
    }
}

/// Of the same log.
fn larger(one: Option<LogEnd>, other: Option<LogEnd>) -> Option<LogEnd> {
    one.into_iter().chain(other).max_by_key(|end| end.size)
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
