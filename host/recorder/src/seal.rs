//! The sealer: one thread that sorts durable records into their streams, seals segments, and lets a
//! log file go when everything in it is in sealed segments and whoever follows the log has taken it.
//!
//! What may be forgotten is decided by durable marks. After a segment's file is in the spool, a mark
//! goes into the log; only when that has come back as durable may the log files before it go, and
//! only then may the segment's file go once the store has it. So at every moment a stream's state can
//! be found from the log and the spool alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::commit::{Batch, Done, Flush, Item, Refused, ToSealer};
use crate::crypt::container::ContainerError;
use crate::crypt::files::KeyFiles;
use crate::crypt::key::StreamKey;
use crate::crypt::ring::Ring;
use crate::disk::Disk;
use crate::doc::MarkDoc;
use crate::follow::Followers;
use crate::fresh::FreshOnes;
use crate::keys::{Day, SegmentKey};
use crate::log::sequence::{LogError, Sequencer};
use crate::pending::Pending;
use crate::record::{Kind, NO_STREAM, NewRecord};
use crate::segment::Builder;
use crate::state::State;
use crate::stream::Stream;
use crate::wal::scan;

/// How often ages are looked at.
const TICK: Duration = Duration::from_millis(200);

pub struct Sealer {
    pub state: Arc<State>,
    pub disk: Arc<dyn Disk>,
    pub pending: Arc<Pending>,
    /// This instance's control stream, where marks go.
    pub control: Uuid,
    pub wal_dir: PathBuf,
    pub quarantine_dir: PathBuf,
    pub streams: HashMap<u128, Stream>,
    /// Log files and their sizes.
    pub files: BTreeMap<u64, u64>,
    /// Log files that are put aside instead of being removed: those with damage in them, and those
    /// with records that are in no segment.
    pub damaged: HashSet<u64>,
    /// Segments whose files are written, but whose names are not durable yet.
    pub fresh: FreshOnes,
    /// Memory of all builders.
    pub unsealed: u64,
    pub flushes: Vec<(Flush, Done)>,
    /// While old log files are read again, their marks are known already.
    pub replaying: bool,
    /// Streams of old log files that are sealed to their end.
    pub finished: HashSet<u128>,
    pub log: Sequencer,
    pub followers: Arc<Followers>,
    /// Keys of streams that begin, and those of all others in the spool.
    pub ring: Arc<Ring>,
    pub key_files: Arc<KeyFiles>,
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("the segment {key} cannot be written to the spool: {source}")]
    Spool {
        key: SegmentKey,
        source: std::io::Error,
    },
    #[error("a segment of {stream} cannot be built: {source}")]
    Build {
        stream: Uuid,
        source: crate::segment::SegmentError,
    },
    #[error("a segment of {stream} cannot be encrypted: {source}")]
    Encrypt {
        stream: Uuid,
        source: ContainerError,
    },
    #[error("the key of {stream} cannot be written to the spool: {source}")]
    Key {
        stream: Uuid,
        source: std::io::Error,
    },
    #[error(
        "{0} is to be kept for {1} days, and has no key: nothing says so on what is not encrypted"
    )]
    NotKept(Uuid, u32),
    #[error("{0} begins without a key")]
    NoKey(Uuid),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("a mark cannot be written: {0}")]
    Mark(serde_json::Error),
    #[error("the names of new segments cannot be made durable: {0}")]
    Names(std::io::Error),
    #[error("the log file {path} cannot be removed: {source}")]
    Remove {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Sealer {
    /// Runs until the committer is gone.
    pub fn run(mut self, rx: Receiver<Vec<ToSealer>>) {
        let mut last_tick = Instant::now();
        loop {
            let messages = match rx.recv_timeout(TICK) {
                Ok(messages) => messages,
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return self.last_checkpoint(),
            };
            let mut messages = messages.into_iter();
            let result = messages.by_ref().try_for_each(|message| match message {
                ToSealer::Batch(batch) => self.batch(batch),
                ToSealer::Flush(flush, done) => self.flush(flush, done),
            });
            let ticked = if last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                self.tick()
            } else {
                Ok(())
            };
            if let Err(error) = result.and(ticked) {
                self.state.poison(error.to_string());
                return self.refuse_all(messages, &rx);
            }
        }
    }

    /// After an error: nothing is sealed any more, the log keeps what it has.
    fn refuse_all(mut self, left: impl Iterator<Item = ToSealer>, rx: &Receiver<Vec<ToSealer>>) {
        let refuse = |done: Done, state: &State| {
            let why = state.poisoned().unwrap_or_default();
            done.send(Err(Refused::Poisoned(why))).ok();
        };
        for (_, done) in self.flushes.drain(..) {
            refuse(done, &self.state);
        }
        let later = std::iter::from_fn(|| rx.recv().ok()).flatten();
        for message in left.chain(later) {
            match message {
                ToSealer::Batch(batch) => {
                    for (_, done) in batch.closers {
                        refuse(done, &self.state);
                    }
                }
                ToSealer::Flush(_, done) => refuse(done, &self.state),
            }
        }
    }

    fn batch(&mut self, batch: Batch) -> Result<(), SealError> {
        let len = self.files.entry(batch.file_no).or_insert(0);
        *len += batch.len;
        self.followers.durable(batch.file_no, *len);
        self.state.watching.durable(&batch);
        let mut result = Ok(());
        for item in &batch.items {
            let encoded = batch.raw.get(item.encoded.clone()).unwrap_or_default();
            result = result.and_then(|()| self.apply(batch.file_no, item, encoded));
        }
        self.log.wal_chain = batch.chain;
        result = result.and_then(|()| self.settle());
        // Before anybody who waits for this batch looks again.
        let answer = result.as_ref().map_err(|error| {
            let why = error.to_string();
            self.state.poison(why.clone());
            Refused::Poisoned(why)
        });
        for (_, done) in batch.closers {
            done.send(answer.clone().copied()).ok();
        }
        // Its bytes are in the builders now, which have a limit of their own.
        drop((batch.raw, batch.permits));
        result?;
        if self.pressed() {
            self.relieve()?;
        }
        self.answer_flushes()
    }

    /// Is the spool so full that old log files should go at once?
    fn pressed(&self) -> bool {
        self.state.used() > self.state.limits.spool_bytes / 2
    }

    /// With the last checkpoint, everything that is durable has its leaf.
    fn last_checkpoint(mut self) {
        if let Err(error) = self.log.checkpoint() {
            self.state.poison(error.to_string());
        }
    }

    /// Takes one durable record to the transparency log and to its stream.
    pub fn apply(&mut self, file: u64, item: &Item, encoded: &[u8]) -> Result<(), SealError> {
        self.log.record(file, item, encoded)?;
        if matches!(item.kind, Kind::Sealed | Kind::Carry) && !self.replaying {
            self.mark_durable(file, encoded)?;
        }
        if item.stream == NO_STREAM || self.finished.contains(&item.stream) {
            return Ok(());
        }
        if item.index == 0 {
            self.begin(item)?;
        }
        let Some(stream) = self.streams.get_mut(&item.stream) else {
            self.left_out(file);
            return Ok(());
        };
        if item.index < stream.next {
            // Sealed already, before a crash; which actions are open follows from it all the same.
            stream.follow(item.kind, item.seq);
            return Ok(());
        }
        if item.index > stream.next {
            stream.broken = true;
            self.left_out(file);
            return Ok(());
        }
        let id = stream.id;
        let wrong = |source| SealError::Build { stream: id, source };
        let mut builder = match stream.builder.take() {
            Some(builder) => builder,
            None => Builder::new(stream.place()).map_err(wrong)?,
        };
        let before = if stream.begun.is_some() {
            builder.memory()
        } else {
            0
        };
        builder
            .push(encoded, item.ts_ns, &item.leaf)
            .map_err(wrong)?;
        stream.begun.get_or_insert((file, Instant::now()));
        stream.next += 1;
        stream.chain = builder.chain();
        stream.follow(item.kind, item.seq);
        self.unsealed = (self.unsealed + builder.memory()).saturating_sub(before);
        let full = builder.raw_total() >= self.state.limits.segment_bytes || stream.ended;
        stream.builder = Some(builder);
        if full {
            self.seal(item.stream)?;
        }
        while self.unsealed > self.state.limits.unsealed_bytes {
            let largest = self
                .streams
                .iter()
                .filter_map(|(id, s)| Some((s.builder.as_ref()?.memory(), *id)))
                .max();
            match largest {
                Some((_, id)) => self.seal(id)?,
                None => break,
            }
        }
        Ok(())
    }

    /// A stream begins, unless a mark has told of it already.
    fn begin(&mut self, item: &Item) -> Result<(), SealError> {
        if self.streams.contains_key(&item.stream) {
            return Ok(());
        }
        let id = Uuid::from_u128(item.stream);
        let key = self.ring.take(item.stream);
        if key.is_none() && !self.replaying {
            return Err(SealError::NoKey(id));
        }
        let control = item.kind == Kind::ControlStart;
        let stream = Stream {
            key,
            ..Stream::new(id, control, item.ts_ns)
        };
        self.streams.insert(item.stream, stream);
        Ok(())
    }

    /// Seals what the stream has, if it has anything.
    fn seal(&mut self, id: u128) -> Result<(), SealError> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Ok(());
        };
        let (Some(builder), Some((file, _))) = (stream.builder.take(), stream.begun.take()) else {
            return Ok(());
        };
        self.unsealed = self.unsealed.saturating_sub(builder.memory());
        let session = self.log.session(id);
        let retention_days = stream.kept_for(session.as_ref());
        let bytes = stream.at_rest(builder, retention_days)?;
        if let Some(key) = stream.key.as_ref().filter(|_| !stream.key_written) {
            let written = self.key_files.write(id, &key.doc);
            let stream = stream.id;
            written.map_err(|source| SealError::Key { stream, source })?;
        }
        stream.key_written = true;
        let key = SegmentKey {
            control: stream.control,
            day: Day::of_stream(stream.id, stream.started_ns),
            stream: stream.id,
            segment: stream.next_segment,
            sha256: chain::sha256(&bytes),
        };
        stream.next_segment += 1;
        let mark = stream.mark_now(key, session);
        stream.in_flight.push_back((Some(key), file));
        stream.mark = Some(mark.clone());
        self.pending
            .write(key, &bytes)
            .map_err(|source| SealError::Spool { key, source })?;
        self.state.counters.sealed.fetch_add(1, Ordering::Relaxed);
        self.fresh.add(key, bytes, mark);
        Ok(())
    }

    /// Makes the names of new segments durable, all at once; only then may the store have them, and
    /// the log say that they are there.
    pub fn settle(&mut self) -> Result<(), SealError> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        self.pending.sync().map_err(SealError::Names)?;
        for mark in self.fresh.settle(&self.pending) {
            self.post_sealed(&mark)?;
        }
        Ok(())
    }

    /// A record that cannot be used, since one before it is lost. Its log file must not go.
    fn left_out(&mut self, file: u64) {
        if self.replaying {
            self.damaged.insert(file);
        }
    }

    fn post_sealed(&self, mark: &MarkDoc) -> Result<(), SealError> {
        // This instance's own segments cannot be anchored in its own control stream without end. The
        // next instance anchors them by naming the stream; those of an instance before it are
        // anchored here.
        let own = mark.stream == self.control.to_string();
        let to = if own {
            NO_STREAM
        } else {
            self.control.as_u128()
        };
        self.post(Kind::Sealed, to, mark)
    }

    /// The key of a stream that is open.
    pub fn key_of(&self, stream: u128) -> Option<Arc<StreamKey>> {
        match self.streams.get(&stream) {
            Some(stream) => stream.key.clone(),
            None => self.ring.get(stream),
        }
    }

    /// Takes over a segment that an earlier process sealed without living to mark it.
    pub fn adopt(&mut self, key: SegmentKey, mark: MarkDoc, chain: Hash, oldest: u64) {
        let id = key.stream.as_u128();
        let ring = &self.ring;
        let stream = self.streams.entry(id).or_insert_with(|| Stream {
            key: ring.take(id),
            ..Stream::new(key.stream, mark.control, mark.started_ns)
        });
        stream.next = mark.records;
        stream.chain = chain;
        stream.next_segment = mark.next_segment;
        stream.ended |= mark.ended;
        stream.retention_days = stream.retention_days.max(mark.kept_for());
        stream.in_flight.push_back((Some(key), oldest));
        stream.mark = Some(mark);
    }

    /// Marks what was adopted, now that the log has shown which actions are open.
    /// Their marks go before those of segments that were sealed from the log meanwhile.
    pub fn mark_adopted(&mut self, marks: Vec<MarkDoc>) -> Result<(), SealError> {
        let later = std::mem::take(&mut self.state.side.lock().records);
        for mut mark in marks {
            let id = mark.stream.parse::<Uuid>().map_or(0, |id| id.as_u128());
            if let Some(stream) = self.streams.get_mut(&id) {
                mark.open = stream.open.iter().copied().collect();
                // The start was read after the segment was taken over, and may be gone at the next one.
                mark.session = self.log.session(id);
                mark.retention_days = stream.unsaid(mark.session.as_ref());
                if let Some(last) = &mut stream.mark {
                    last.session.clone_from(&mark.session);
                    last.retention_days = mark.retention_days;
                }
            }
            self.post_sealed(&mark)?;
        }
        self.state.side.lock().records.extend(later);
        Ok(())
    }

    fn post(&self, kind: Kind, stream: u128, mark: &MarkDoc) -> Result<(), SealError> {
        let record = NewRecord {
            kind,
            ts_ns: crate::convert::ns(std::time::SystemTime::now()),
            stream,
            seq: None,
            body: serde_json::to_vec(mark).map_err(SealError::Mark)?.into(),
            packed: None,
        };
        self.state.post(record);
        Ok(())
    }

    fn mark_durable(&mut self, file: u64, encoded: &[u8]) -> Result<(), SealError> {
        let payload = encoded.get(crate::record::HEADER..).unwrap_or_default();
        let Ok(mark) = serde_json::from_slice::<MarkDoc>(payload) else {
            return Ok(());
        };
        let Ok(id) = mark.stream.parse::<Uuid>() else {
            return Ok(());
        };
        let Some(stream) = self.streams.get_mut(&id.as_u128()) else {
            return Ok(());
        };
        stream.mark_file = Some(file);
        match mark.key.as_deref().and_then(SegmentKey::parse) {
            Some(key) => {
                stream.in_flight.retain(|(k, _)| *k != Some(key));
                let renamed = self.pending.marked(&key);
                renamed.map_err(|source| SealError::Spool { key, source })?;
            }
            None => stream.carrying = false,
        }
        if stream.over() {
            self.streams.remove(&id.as_u128());
            self.key_files.over(id.as_u128());
            self.log.forget(id.as_u128());
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), SealError> {
        let age = self.state.limits.segment_age;
        let old: Vec<u128> = self
            .streams
            .iter()
            .filter(|(_, s)| s.begun.is_some_and(|(_, at)| at.elapsed() >= age))
            .map(|(id, _)| *id)
            .collect();
        for id in old {
            self.seal(id)?;
        }
        self.settle()?;
        self.log.checkpoint_if_due()?;
        self.relieve()?;
        if self.state.is_poisoned() {
            // No mark will become durable any more.
            let why = self.state.poisoned().unwrap_or_default();
            for (_, done) in self.flushes.drain(..) {
                done.send(Err(Refused::Poisoned(why.clone()))).ok();
            }
        }
        Ok(())
    }

    /// Lets old log files go, or does what it takes for the oldest to go.
    fn relieve(&mut self) -> Result<(), SealError> {
        while let (Some((&oldest, &len)), true) =
            (self.files.first_key_value(), self.files.len() > 1)
        {
            if self.log.pin().is_some_and(|pin| pin <= oldest) {
                self.log.checkpoint()?;
            }
            match self.streams.values().filter_map(Stream::pin).min() {
                Some(pin) if pin <= oldest => return self.unpin(oldest),
                _ if !self.followers.is_past(oldest) => return Ok(()),
                _ => self.remove(oldest, len)?,
            }
        }
        Ok(())
    }

    fn remove(&mut self, file: u64, len: u64) -> Result<(), SealError> {
        let path = scan::file_path(&self.wal_dir, file);
        let wrong = |source| SealError::Remove {
            path: path.clone(),
            source,
        };
        self.pending.sync().map_err(wrong)?;
        let gone = if self.damaged.remove(&file) {
            let to = scan::file_path(&self.quarantine_dir, file);
            let moved = self.disk.rename(&path, &to);
            moved.and_then(|()| self.disk.sync_dir(&self.quarantine_dir))
        } else {
            self.disk.remove(&path)
        };
        // Durable before the next one goes: an old file must not come back alone.
        gone.and_then(|()| self.disk.sync_dir(&self.wal_dir))
            .map_err(wrong)?;
        self.files.remove(&file);
        self.state.wal_bytes.fetch_sub(len, Ordering::Relaxed);
        self.state.room.notify_waiters();
        Ok(())
    }

    fn unpin(&mut self, oldest: u64) -> Result<(), SealError> {
        let pressed = self.pressed();
        let mut carry = Vec::new();
        let mut seal = Vec::new();
        for (id, stream) in &mut self.streams {
            if stream.pin() > Some(oldest) {
                continue;
            }
            let only_mark = stream.in_flight.is_empty() && stream.mark_file.is_some();
            if stream.begun.is_some_and(|(file, _)| file <= oldest) {
                if pressed {
                    seal.push(*id);
                }
            } else if only_mark && !stream.carrying {
                stream.carrying = true;
                carry.extend(stream.mark.clone());
            }
        }
        for id in seal {
            self.seal(id)?;
        }
        self.settle()?;
        for mut mark in carry {
            mark.key = None;
            self.post(Kind::Carry, NO_STREAM, &mark)?;
        }
        Ok(())
    }

    fn flush(&mut self, flush: Flush, done: Done) -> Result<(), SealError> {
        let wanted: Vec<u128> = self
            .streams
            .iter()
            .filter(|(_, s)| flush == Flush::All || s.id != self.control)
            .map(|(id, _)| *id)
            .collect();
        for id in wanted {
            self.seal(id)?;
        }
        self.settle()?;
        self.flushes.push((flush, done));
        self.answer_flushes()
    }

    fn answer_flushes(&mut self) -> Result<(), SealError> {
        let own = self.control;
        let waits = |flush: Flush, s: &Stream| {
            (flush == Flush::All || s.id != own) && !s.in_flight.is_empty()
        };
        let (ready, wait): (Vec<_>, Vec<_>) = std::mem::take(&mut self.flushes)
            .into_iter()
            .partition(|(flush, _)| !self.streams.values().any(|s| waits(*flush, s)));
        self.flushes = wait;
        if !ready.is_empty() {
            self.log.checkpoint()?;
            self.relieve()?;
        }
        for (_, done) in ready {
            done.send(Ok(())).ok();
        }
        Ok(())
    }
}
