//! The committer: one thread that makes whatever has queued up durable, one block and one
//! `fdatasync` at a time, and then answers all who wait for it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::chain::{self, Hash};
use crate::record::{Kind, MAX_RECORD, NO_STREAM, NewRecord};
use crate::state::State;
use crate::wal::format::FILE_HEADER;
use crate::wal::writer::{WriteError, Writer};

/// A block is closed before it grows beyond this size, even if more is waiting. Only a single longer
/// record makes a longer block.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCK_RECORDS: usize = 8192;

/// Answers when the records are durable, or why they never will be.
pub type Done = oneshot::Sender<Result<(), Refused>>;

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
    /// Answered when everything of the stream so far is in sealed segments.
    pub sealed: Option<(u128, Done)>,
    pub flush: Option<(Flush, Done)>,
    /// The last message: the thread ends after it.
    pub stop: bool,
    pub permit: Option<OwnedSemaphorePermit>,
}

/// What is to be sealed, and durably marked as sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Everything but this instance's control stream.
    Others,
    All,
}

/// To the sealer, in the order of the log.
pub enum ToSealer {
    Batch(Batch),
    Flush(Flush, Done),
}

/// One durable block.
pub struct Batch {
    pub file_no: u64,
    /// What it added to the log file.
    pub len: u64,
    pub raw: Vec<u8>,
    pub items: Vec<Item>,
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

pub struct Committer {
    pub state: Arc<State>,
    pub writer: Writer,
    /// The next record's number in every open stream.
    pub next: HashMap<u128, u64>,
    pub to_sealer: SyncSender<ToSealer>,
    pub queue: usize,
}

#[derive(Default)]
struct Open {
    raw: Vec<u8>,
    items: Vec<Item>,
    chain: Hash,
    done: Vec<Done>,
    closers: Vec<(u128, Done)>,
    flushes: Vec<(Flush, Done)>,
    permits: Vec<OwnedSemaphorePermit>,
    /// A block before this one was closed early, because the next record did not fit.
    spilled: bool,
}

impl Open {
    fn wants_more(&self) -> bool {
        self.raw.len() < BLOCK_BYTES && self.items.len() < BLOCK_RECORDS && !self.spilled
    }
}

impl Committer {
    /// Runs until the last sender is gone or a message says stop. After a write error it only
    /// refuses.
    pub fn run(mut self, mut rx: mpsc::Receiver<Ask>) {
        // Dropped sessions' last records, and how many messages must be seen before them.
        let mut abandoned: Vec<(usize, Vec<NewRecord>)> = Vec::new();
        loop {
            // Whoever leaves something at the side leaves it before he wakes us: so either it is seen
            // here, or there is a message.
            let idle = abandoned.is_empty() && self.state.side.lock().is_empty();
            let first = if idle {
                match rx.blocking_recv() {
                    None => return,
                    first => first,
                }
            } else {
                rx.try_recv().ok()
            };
            let left = std::mem::take(&mut self.state.side.lock().abandoned);
            abandoned.extend(left.into_iter().map(|a| (self.queue + 1, a)));
            let mut open = self.begin();
            let mut seen = 0;
            let mut stop = false;
            let mut next = first;
            while let Some(ask) = next {
                seen += 1;
                stop |= self.add(&mut open, ask);
                if stop || !open.wants_more() {
                    break;
                }
                next = rx.try_recv().ok();
            }
            let drained = !stop && open.wants_more();
            let side = std::mem::take(&mut self.state.side.lock().records);
            self.put_each(&mut open, &side);
            for (wait, records) in &mut abandoned {
                *wait = if drained {
                    0
                } else {
                    wait.saturating_sub(seen)
                };
                if *wait == 0 {
                    self.put_each(&mut open, &std::mem::take(records));
                }
            }
            abandoned.retain(|(wait, _)| *wait > 0);
            self.finish(open);
            if stop {
                rx.close();
            }
        }
    }

    fn begin(&self) -> Open {
        Open {
            chain: self.writer.chain,
            ..Open::default()
        }
    }

    /// Takes one message in; true when it is the last.
    fn add(&mut self, open: &mut Open, ask: Ask) -> bool {
        let result = self.put_all(open, &ask.records);
        match (result, ask.done) {
            (Ok(()), Some(done)) => open.done.push(done),
            (Err(why), Some(done)) => {
                done.send(Err(why)).ok();
            }
            (_, None) => {}
        }
        open.closers.extend(ask.sealed);
        open.flushes.extend(ask.flush);
        open.permits.extend(ask.permit);
        ask.stop
    }

    /// All of them, or none when one is too long.
    fn put_all(&mut self, open: &mut Open, records: &[NewRecord]) -> Result<(), Refused> {
        let sizes = records.iter().map(NewRecord::encoded_len);
        if let Some(size) = sizes.clone().find(|size| *size > MAX_RECORD) {
            return Err(Refused::TooLarge(size));
        }
        self.make_room(open, sizes.sum::<usize>().min(BLOCK_BYTES));
        for record in records {
            self.make_room(open, record.encoded_len());
            self.put(open, record)?;
        }
        Ok(())
    }

    /// Records that nobody waits for: one that cannot be written does not keep the others away.
    fn put_each(&mut self, open: &mut Open, records: &[NewRecord]) {
        for record in records {
            if let Err(why) = self.put_all(open, std::slice::from_ref(record)) {
                tracing::warn!(kind = ?record.kind, ?why, "a record of the recorder itself is not written");
            }
        }
    }

    /// Closes the block if so many bytes more would make it too long.
    fn make_room(&mut self, open: &mut Open, len: usize) {
        if !open.raw.is_empty() && open.raw.len().saturating_add(len) > BLOCK_BYTES {
            self.finish(std::mem::take(open));
            *open = self.begin();
            open.spilled = true;
        }
    }

    fn put(&mut self, open: &mut Open, record: &NewRecord) -> Result<(), Refused> {
        let index = match record.kind {
            Kind::SessionStart | Kind::ControlStart => {
                // An id that is in use would mix two sessions up.
                if self.next.contains_key(&record.stream) {
                    return Err(Refused::Ended);
                }
                self.next.insert(record.stream, 1);
                0
            }
            _ if record.stream == NO_STREAM => 0,
            kind => {
                let next = self.next.get_mut(&record.stream).ok_or(Refused::Ended)?;
                let index = *next;
                *next += 1;
                if kind == Kind::SessionEnd {
                    self.next.remove(&record.stream);
                }
                index
            }
        };
        let from = open.raw.len();
        record.encode(index, &mut open.raw);
        let encoded = open.raw.get(from..).unwrap_or_default();
        let leaf = chain::leaf(encoded);
        open.chain = chain::link(&open.chain, &leaf);
        open.items.push(Item {
            kind: record.kind,
            ts_ns: record.ts_ns,
            stream: record.stream,
            index,
            seq: record.seq,
            leaf,
            encoded: from..open.raw.len(),
        });
        Ok(())
    }

    fn finish(&mut self, open: Open) {
        let result = match self.state.poisoned() {
            Some(why) => Err(why),
            None if open.items.is_empty() => Ok(0),
            None => self.write(&open).map_err(|e| {
                let why = describe(&e);
                self.state.poison(why.clone());
                why
            }),
        };
        let answer = result
            .as_ref()
            .map(|_| ())
            .map_err(|why| Refused::Poisoned(why.clone()));
        for done in open.done {
            done.send(answer.clone()).ok();
        }
        let Ok(len) = result else {
            for (_, done) in open.closers {
                done.send(answer.clone()).ok();
            }
            for (_, done) in open.flushes {
                done.send(answer.clone()).ok();
            }
            return;
        };
        let batch = ToSealer::Batch(Batch {
            file_no: self.writer.file_no,
            len,
            raw: open.raw,
            items: open.items,
            closers: open.closers,
            permits: open.permits,
        });
        let mut sent = self.to_sealer.send(batch).is_ok();
        for (flush, done) in open.flushes {
            sent &= self.to_sealer.send(ToSealer::Flush(flush, done)).is_ok();
        }
        if !sent {
            self.state.poison("the sealer has stopped".into());
        }
    }

    fn write(&mut self, open: &Open) -> Result<u64, WriteError> {
        let mut len = 0;
        if self.writer.is_full() {
            self.writer.rotate()?;
            len += FILE_HEADER as u64;
        }
        let nrec = u32::try_from(open.items.len()).unwrap_or(u32::MAX);
        len += self.writer.append(&open.raw, nrec, open.chain)?;
        let counters = &self.state.counters;
        self.state.wal_bytes.fetch_add(len, Ordering::Relaxed);
        counters
            .records
            .fetch_add(u64::from(nrec), Ordering::Relaxed);
        counters.blocks.fetch_add(1, Ordering::Relaxed);
        Ok(len)
    }
}

fn describe(error: &WriteError) -> String {
    match error {
        WriteError::Io { source, .. } => format!("{error}: {source}"),
        WriteError::Block(_) => error.to_string(),
    }
}
