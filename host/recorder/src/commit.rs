//! The committer: it writes whatever has queued up, one block at a time, makes it durable with one
//! `fdatasync` for all who wait, and then answers them.
//!
//! Writing and syncing are two steps. Its thread does both; a session whose bundle is content with the
//! operating system's word ([`Level::Written`]) does the first on its own thread, if nobody else is at
//! it: that saves two changes of threads. Records that nobody waits for are taken along with the next
//! ones, or when a nap ends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

pub use crate::ask::{Ask, Done, Flush, Level, Refused};
pub use crate::batch::{Batch, Item, ToSealer};
use crate::bell::Woken;
use crate::chain::{self, Hash};
use crate::disk::DiskFile;
use crate::gathered::Gathered;
use crate::record::{Kind, MAX_RECORD, NO_STREAM, NewRecord};
use crate::state::State;
use crate::wal::format::FILE_HEADER;
use crate::wal::writer::{WriteError, Writer};

/// A block is closed before it grows beyond this size, even if more is waiting. Only a single longer
/// record makes a longer block.
const BLOCK_BYTES: usize = 1 << 20;
const BLOCK_RECORDS: usize = 8192;
/// What a session writes on its own thread at most; more is the committer's work.
const LITTLE_BYTES: usize = 64 << 10;
/// How long a record that nobody waits for is in no file.
pub const WRITE_WITHIN: Duration = Duration::from_millis(5);
/// How long it is in the file, but perhaps not on the disk.
const SYNC_WITHIN: Duration = Duration::from_millis(20);

/// A block that is in the file, and who waits for it to be durable.
pub struct Written {
    pub batch: Batch,
    pub done: Vec<Done>,
    pub flushes: Vec<(Flush, Done)>,
    /// When its sync is to begin, if nothing more urgent comes.
    sync_at: Instant,
    /// From then on the bundle's word about reads in it is broken, unless it is durable.
    late: Option<Instant>,
}

impl Written {
    fn is_urgent(&self) -> bool {
        !self.done.is_empty() || !self.batch.closers.is_empty() || !self.flushes.is_empty()
    }

    fn refuse(self, why: &str) {
        let closers = self.batch.closers.into_iter().map(|(_, done)| done);
        let flushes = self.flushes.into_iter().map(|(_, done)| done);
        for done in self.done.into_iter().chain(closers).chain(flushes) {
            done.send(Err(Refused::Poisoned(why.to_owned()))).ok();
        }
    }
}

/// The end of the log. Whoever holds its lock may append.
pub struct Committer {
    state: Arc<State>,
    writer: Writer,
    rx: mpsc::Receiver<Ask>,
    /// The next record's number in every open stream.
    next: HashMap<u128, u64>,
    /// Blocks that the sealer does not have yet, in order.
    written: VecDeque<Written>,
    /// So many of them, from the front, are durable.
    durable: usize,
    /// Messages taken in so far.
    seen: u64,
    /// Dropped sessions' last records, and how many messages must be seen before them.
    abandoned: Vec<(u64, Vec<NewRecord>)>,
    queue: u64,
    /// From then on a read waits for the disk: what an earlier one was promised is overdue.
    late: Option<Instant>,
    /// The last message was seen; only the thread itself writes what is still queued.
    stopping: bool,
    /// What comes next goes into a new file.
    rotate: bool,
}

#[derive(Default)]
struct Open {
    /// By a session's thread, which begins no new file: that takes its time.
    little: bool,
    raw: Vec<u8>,
    /// So many bytes of it are packed records.
    packed: usize,
    items: Vec<Item>,
    chain: Hash,
    done: Vec<Done>,
    /// Of those who are content with its being written.
    now: Vec<Done>,
    closers: Vec<(u128, Done)>,
    flushes: Vec<(Flush, Done)>,
    permits: Vec<OwnedSemaphorePermit>,
    /// The shortest time that is allowed to those in `now`.
    reads_within: Option<Duration>,
    /// It has records that nobody waits for.
    unasked: bool,
    /// A block before this one was closed early, because the next record did not fit.
    spilled: bool,
}

impl Open {
    fn wants_more(&self, most: usize) -> bool {
        self.raw.len() < most && self.items.len() < BLOCK_RECORDS && !self.spilled
    }

    fn is_empty(&self) -> bool {
        let waits = self.done.len() + self.now.len() + self.closers.len() + self.flushes.len();
        self.items.is_empty() && waits == 0 && self.permits.is_empty()
    }
}

/// The file to be synced.
struct Sync {
    file: Arc<dyn DiskFile>,
    number: u64,
    /// Its length now, and so many blocks wait for it.
    len: u64,
    blocks: usize,
}

/// What is left to do after a look at the queue.
struct Round {
    stop: bool,
    /// Nothing was there, and nothing is left to be synced.
    idle: bool,
    /// More is queued.
    more: bool,
    sync: Option<Sync>,
    /// When the next sync is due.
    due: Option<Instant>,
}

impl Committer {
    /// `next`: the next record's number in every open stream. `queue`: messages that `rx` holds.
    pub fn new(
        state: Arc<State>,
        writer: Writer,
        next: HashMap<u128, u64>,
        rx: mpsc::Receiver<Ask>,
        queue: usize,
    ) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            state,
            writer,
            rx,
            next,
            written: VecDeque::new(),
            durable: 0,
            seen: 0,
            abandoned: Vec::new(),
            queue: queue as u64,
            late: None,
            stopping: false,
            rotate: false,
        }))
    }

    /// Is more expected of this stream?
    pub fn is_open(&self, stream: u128) -> bool {
        self.next.contains_key(&stream)
    }

    /// What is queued from now on goes into a new file. Gives the number of the last one before it.
    pub fn rotate(&mut self) -> u64 {
        self.rotate = true;
        self.writer.file_no
    }

    /// Runs until the last sender is gone or a message says stop. After a write error it only
    /// refuses.
    pub fn run(shared: &Mutex<Self>, to_sealer: &SyncSender<Vec<ToSealer>>) {
        let state = shared.lock().state.clone();
        let _end = End(shared);
        let mut sealer = Gathered::default();
        let mut until: Option<Instant> = None;
        loop {
            let waiting = || shared.lock().has_work();
            let woken = state.bell.wait(until, waiting);
            if woken == Woken::Lazy {
                // More may come; it is written together.
                until = Some(Instant::now() + WRITE_WITHIN);
                continue;
            }
            let mut round = shared.lock().look(Instant::now());
            loop {
                if let Some(sync) = round.sync.take() {
                    // Not under the lock: others append meanwhile.
                    let synced = sync.file.sync();
                    let done = shared.lock().synced(synced, &sync);
                    sealer.take(&state, done);
                } else {
                    let done = shared.lock().take_durable();
                    sealer.take(&state, done);
                }
                if !round.more {
                    break;
                }
                sealer.send(&state, to_sealer, false);
                round = shared.lock().look(Instant::now());
            }
            // With nothing else to do, the sealer gets what there is.
            sealer.send(&state, to_sealer, woken == Woken::Time || round.stop);
            if round.stop {
                return;
            }
            let asleep = round.idle && sealer.is_empty();
            until = (!asleep).then(|| {
                let nap = Instant::now() + WRITE_WITHIN;
                round.due.map_or(nap, |due| due.min(nap))
            });
        }
    }

    fn has_work(&self) -> bool {
        !self.rx.is_empty()
            || self.rx.is_closed()
            || !self.written.is_empty()
            || !self.state.side.lock().is_empty()
    }

    /// Takes in what has queued up, and writes it.
    fn look(&mut self, now: Instant) -> Round {
        // Whoever leaves something at the side leaves it before he rings.
        let left = std::mem::take(&mut self.state.side.lock().abandoned);
        let seen = self.seen + self.queue + 1;
        self.abandoned.extend(left.into_iter().map(|a| (seen, a)));
        let before = self.seen;
        let mut open = self.begin(false);
        let mut drained = false;
        while !drained && open.wants_more(BLOCK_BYTES) {
            if self.stopping {
                // What is in the queue already is still written; nothing more comes in.
                self.rx.close();
            }
            match self.rx.try_recv() {
                Ok(ask) => self.stopping |= self.add(&mut open, ask),
                Err(mpsc::error::TryRecvError::Empty) => drained = true,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    drained = true;
                    self.stopping = true;
                }
            }
        }
        let stop = self.stopping && drained;
        let side = std::mem::take(&mut self.state.side.lock().records);
        self.put_each(&mut open, &side);
        for (seen, records) in std::mem::take(&mut self.abandoned) {
            if drained || self.seen >= seen {
                self.put_each(&mut open, &records);
            } else {
                self.abandoned.push((seen, records));
            }
        }
        self.finish(open);
        let mut unsynced = self.written.iter().skip(self.durable);
        let must = stop || unsynced.any(|w| w.is_urgent() || w.sync_at <= now);
        let blocks = self.written.len();
        let sync = (must && blocks > self.durable).then(|| Sync {
            file: self.writer.file(),
            number: self.writer.file_no,
            len: self.writer.file_len,
            blocks,
        });
        let unsynced = self.written.iter().skip(self.durable);
        Round {
            stop,
            idle: self.seen == before && self.written.is_empty(),
            more: !drained,
            due: match sync {
                Some(_) => None,
                None => unsynced.map(|w| w.sync_at).min(),
            },
            sync,
        }
    }

    /// On the thread of a session: writes what is queued, if it is little and the file has room.
    pub fn write_little(&mut self) {
        let waiting = self.state.waiting.load(Ordering::Relaxed);
        if self.stopping
            || waiting > LITTLE_BYTES
            || self.writer.is_full()
            || self.rotate
            || self.state.is_poisoned()
        {
            return;
        }
        let mut open = self.begin(true);
        while open.wants_more(LITTLE_BYTES) {
            let Ok(ask) = self.rx.try_recv() else { break };
            if self.add(&mut open, ask) {
                self.stopping = true;
                break;
            }
        }
        self.finish(open);
    }

    fn begin(&self, little: bool) -> Open {
        let queued = self.state.waiting.load(Ordering::Relaxed);
        Open {
            little,
            raw: Vec::with_capacity(queued.min(BLOCK_BYTES)),
            items: Vec::with_capacity(self.rx.len().min(BLOCK_RECORDS)),
            chain: self.writer.chain,
            ..Open::default()
        }
    }

    /// Takes one message in; true when it is the last.
    fn add(&mut self, open: &mut Open, ask: Ask) -> bool {
        self.seen += 1;
        self.state.waiting.fetch_sub(ask.counted, Ordering::Relaxed);
        let result = self.put_all(open, &ask.records);
        open.unasked |= ask.done.is_none() && !ask.records.is_empty();
        match (result, ask.done, ask.level) {
            (Ok(()), Some(done), Level::Durable) => open.done.push(done),
            (Ok(()), Some(done), Level::Written(within)) => {
                open.now.push(done);
                open.reads_within = Some(open.reads_within.map_or(within, |w| w.min(within)));
            }
            (Err(why), Some(done), _) => {
                done.send(Err(why)).ok();
            }
            (_, None, _) => {}
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
        open.unasked |= !records.is_empty();
        for record in records {
            match self.put_all(open, std::slice::from_ref(record)) {
                Ok(()) => {}
                Err(Refused::Ended) => self.state.came_late(record),
                Err(why) => {
                    tracing::warn!(kind = ?record.kind, ?why, "a record of the recorder itself is not written");
                }
            }
        }
    }

    /// Closes the block if so many bytes more would make it too long.
    fn make_room(&mut self, open: &mut Open, len: usize) {
        if !open.raw.is_empty() && open.raw.len().saturating_add(len) > BLOCK_BYTES {
            let little = open.little;
            self.finish(std::mem::take(open));
            *open = self.begin(little);
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
        if record.packed.is_some() {
            open.packed += open.raw.len() - from;
        }
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

    fn finish(&mut self, mut open: Open) {
        if open.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.late.is_some_and(|late| late <= now) {
            // The disk has fallen behind. Reads wait for it, too, or ever more of them would be
            // answered that a power cut takes.
            open.done.append(&mut open.now);
            open.reads_within = None;
        }
        // A sync takes time itself: it begins when half of theirs is over.
        let reads = open.reads_within.map(|within| now + within / 2);
        let others = open.unasked.then(|| now + SYNC_WITHIN);
        let sync_at = reads.into_iter().chain(others).min();
        let result = match self.state.poisoned() {
            Some(why) => Err(why),
            None if open.items.is_empty() => Ok(0),
            None => self.write(&open).map_err(|e| {
                let why = describe(&e);
                self.state.poison(why.clone());
                why
            }),
        };
        let written = Written {
            batch: Batch {
                file_no: self.writer.file_no,
                len: result.as_ref().map_or(0, |len| *len),
                raw: open.raw,
                items: open.items,
                chain: open.chain,
                closers: open.closers,
                permits: open.permits,
            },
            done: open.done,
            flushes: open.flushes,
            sync_at: sync_at.unwrap_or(now + SYNC_WITHIN),
            late: open.reads_within.map(|within| now + within),
        };
        match result {
            Ok(_) => {
                for done in open.now {
                    done.send(Ok(())).ok();
                }
                self.late = self.late.into_iter().chain(written.late).min();
                self.written.push_back(written);
            }
            Err(why) => {
                for done in open.now {
                    done.send(Err(Refused::Poisoned(why.clone()))).ok();
                }
                written.refuse(&why);
                self.refuse_unsynced(&why);
            }
        }
    }

    fn write(&mut self, open: &Open) -> Result<u64, WriteError> {
        let mut len = 0;
        if !open.little && (self.rotate || self.writer.is_full()) {
            // Nothing of the old file may become durable after something of the new one.
            if self.durable < self.written.len() {
                let synced = self.writer.file().sync();
                synced.map_err(|e| self.writer.error(e))?;
                self.durable = self.written.len();
                self.late = None;
            }
            self.writer.rotate()?;
            self.rotate = false;
            len += FILE_HEADER as u64;
        }
        let nrec = u32::try_from(open.items.len()).unwrap_or(u32::MAX);
        len += self
            .writer
            .append(&open.raw, open.packed, nrec, open.chain)?;
        let counters = &self.state.counters;
        self.state.wal_bytes.fetch_add(len, Ordering::Relaxed);
        counters
            .records
            .fetch_add(u64::from(nrec), Ordering::Relaxed);
        counters.blocks.fetch_add(1, Ordering::Relaxed);
        Ok(len)
    }

    /// The file was synced, or not. Gives what is durable.
    fn synced(&mut self, result: std::io::Result<()>, sync: &Sync) -> Vec<Written> {
        match result {
            Ok(()) if !self.state.is_poisoned() => {
                self.writer.synced(sync.number, sync.len);
                self.durable = self.durable.max(sync.blocks.min(self.written.len()));
                let unsynced = self.written.iter().skip(self.durable);
                self.late = unsynced.filter_map(|w| w.late).min();
            }
            Ok(()) => {
                let why = self.state.poisoned().unwrap_or_default();
                self.refuse_unsynced(&why);
            }
            Err(source) => {
                let why = describe(&self.writer.error(source));
                self.state.poison(why.clone());
                self.refuse_unsynced(&why);
            }
        }
        self.take_durable()
    }

    fn refuse_unsynced(&mut self, why: &str) {
        for written in self.written.split_off(self.durable) {
            written.refuse(why);
        }
    }

    fn take_durable(&mut self) -> Vec<Written> {
        let count = std::mem::take(&mut self.durable).min(self.written.len());
        self.written.drain(..count).collect()
    }
}

/// However the thread ends, nobody waits for it any more.
struct End<'a>(&'a Mutex<Committer>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut committer = self.0.lock();
        committer.stopping = true;
        if std::thread::panicking() {
            committer.state.poison("its thread failed".into());
        }
        let (_, nothing) = mpsc::channel(1);
        let mut queue = std::mem::replace(&mut committer.rx, nothing);
        drop(committer);
        queue.close();
        // With them go their answers, and whoever waits for one is told. Whoever had a place in the queue
        // before it was closed leaves his as soon as he runs.
        while queue.blocking_recv().is_some() {}
        let mut committer = self.0.lock();
        let why = committer.state.poisoned().unwrap_or_default();
        for written in std::mem::take(&mut committer.written) {
            written.refuse(&why);
        }
        committer.durable = 0;
        let ahead = committer.writer.ahead.take();
        drop(committer);
        // It may wait for a disk that does not answer.
        drop(ahead);
    }
}

fn describe(error: &WriteError) -> String {
    match error {
        WriteError::Io { source, .. } => format!("{error}: {source}"),
        WriteError::Block(_) => error.to_string(),
    }
}
