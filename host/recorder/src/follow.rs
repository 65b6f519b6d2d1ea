//! Whoever wants to be told of every record, such as the index that people search: a thread of its own
//! reads what is durable from the write-ahead log's files, in the log's order, and hands it on.
//!
//! Nothing waits for it but the files: one goes only when the follower has durably taken everything in
//! it. So a slow or failing follower costs room in the spool and nothing else, until that is full. What
//! was taken when the process ended is told again in part, so followers know records by stream and
//! number.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::chain::Hash;
use crate::doc::{
    ControlDoc, ControlStartDoc, EndDoc, ErasureDoc, GapDoc, HeldDoc, IntentDoc, OutcomeDoc,
    RefusedDoc, StartDoc,
};
use crate::record::{Kind, NO_STREAM, Record};
use crate::wal::format::{self, BLOCK_START, FILE_HEADER, FileHeader};
use crate::wal::scan;

/// So long after something new, it is looked for: what comes meanwhile comes along.
const LINGER: Duration = Duration::from_millis(100);
/// How often it looks by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// One parcel: so many records, or records of so many bytes.
const PARCEL_RECORDS: usize = 2_000;
const PARCEL_BYTES: usize = 4 << 20;
/// Pauses between two attempts to hand over one parcel.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// How long it goes on when the process ends.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How often its trouble is put into the log.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// The others come first.
const NICE: i32 = 10;

/// Takes records. All calls come from one thread.
pub trait Follower: Send + Sync + 'static {
    /// How far it has come, as it was last told.
    fn place(&self) -> Option<Place>;
    /// Takes records and the place behind them; both are durable, or neither, when it returns. An error
    /// is tried again. Records that it has already change nothing.
    fn take(&self, records: &[Followed], place: Place) -> Result<(), String>;
}

/// A place in the write-ahead log: behind the block that has this chain, in this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub file: u64,
    pub chain: [u8; 32],
}

/// A follower among the options.
#[derive(Clone)]
pub struct Following(pub Arc<dyn Follower>);

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Following")
    }
}

/// One record but recorded bytes and marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    pub stream: Uuid,
    /// Its number in its stream.
    pub n: u64,
    pub at_ns: u64,
    /// The action's number, for those that belong to one.
    pub action: Option<u64>,
    pub body: FollowedBody,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowedBody {
    Start(Box<StartDoc>),
    Intent(Box<IntentDoc>),
    Refused(Box<RefusedDoc>),
    Held(Box<HeldDoc>),
    Outcome(OutcomeDoc),
    End(EndDoc),
    ControlStart(Box<ControlStartDoc>),
    Control(Box<ControlDoc>),
    /// A session's key is being destroyed: whoever has something of it forgets it.
    Erasure(Box<ErasureDoc>),
    Gap(GapDoc),
    /// It is not what its kind should be.
    Unreadable,
}

impl Followed {
    /// None: recorded bytes, marks, and what a newer Weir may have written.
    pub(crate) fn of(record: &Record<'_>) -> Option<Self> {
        let kind = record.known()?;
        if record.stream == NO_STREAM {
            return None;
        }
        let (action, body) = match record.action() {
            Some((seq, body)) => (Some(seq), body),
            None => (None, record.payload),
        };
        let body = match kind {
            // Wrapped keys are nobody else's.
            Kind::SessionStart => parse(body, |doc: StartDoc| {
                FollowedBody::Start(Box::new(StartDoc { key: None, ..doc }))
            }),
            Kind::Intent => parse(body, |doc| FollowedBody::Intent(Box::new(doc))),
            Kind::Refused => parse(body, |doc| FollowedBody::Refused(Box::new(doc))),
            Kind::Held => parse(body, |doc| FollowedBody::Held(Box::new(doc))),
            Kind::Outcome => parse(body, FollowedBody::Outcome),
            Kind::SessionEnd => parse(body, FollowedBody::End),
            Kind::ControlStart => parse(body, |doc: ControlStartDoc| {
                FollowedBody::ControlStart(Box::new(ControlStartDoc { key: None, ..doc }))
            }),
            Kind::Control => parse(body, |doc| FollowedBody::Control(Box::new(doc))),
            Kind::Erasure => parse(body, |doc| FollowedBody::Erasure(Box::new(doc))),
            Kind::Gap => parse(body, FollowedBody::Gap),
            Kind::ToClient | Kind::ToUpstream | Kind::Sealed | Kind::Carry => return None,
        };
        Some(Self {
            stream: Uuid::from_u128(record.stream),
            n: record.index,
            at_ns: record.ts_ns,
            action,
            body,
        })
    }
}

fn parse<T: DeserializeOwned>(json: &[u8], make: impl FnOnce(T) -> FollowedBody) -> FollowedBody {
    serde_json::from_slice(json).map_or(FollowedBody::Unreadable, make)
}

/// Between the sealer, which lets files go, and the thread.
pub(crate) struct Followers {
    /// The newest log file, and how much of it is durable.
    durable: Mutex<(u64, u64)>,
    more: Condvar,
    /// The oldest log file that is still needed.
    needed: AtomicU64,
    stop: OnceLock<Instant>,
    /// Why it does not get on.
    trouble: Mutex<Option<String>>,
}

impl Followers {
    /// Nobody follows: no file is needed.
    pub fn none() -> Arc<Self> {
        Self::needing(u64::MAX)
    }

    /// All files are needed until it is known how far the follower has come.
    pub fn all() -> Arc<Self> {
        Self::needing(0)
    }

    fn needing(file: u64) -> Arc<Self> {
        Arc::new(Self {
            durable: Mutex::new((0, 0)),
            more: Condvar::new(),
            needed: AtomicU64::new(file),
            stop: OnceLock::new(),
            trouble: Mutex::default(),
        })
    }

    /// So much of the newest file is durable.
    pub fn durable(&self, file: u64, len: u64) {
        if self.needed.load(Ordering::Acquire) == u64::MAX {
            return;
        }
        *self.durable.lock() = (file, len);
        self.more.notify_one();
    }

    /// Has the follower taken everything in this file?
    pub fn is_past(&self, file: u64) -> bool {
        self.needed.load(Ordering::Acquire) > file
    }

    /// It takes what is there, if that is soon done, tries nothing a second time, and ends.
    pub fn stop(&self) {
        // Under the lock: otherwise the thread could miss it.
        let durable = self.durable.lock();
        self.stop.get_or_init(Instant::now);
        drop(durable);
        self.more.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.stop.get().is_some()
    }

    /// It has had its time; the next start goes on.
    fn is_over(&self) -> bool {
        self.stop.get().is_some_and(|at| at.elapsed() > STOP_WITHIN)
    }

    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Waits for something beyond `(file, at)`; false when there is nothing and it is to end.
    fn wait(&self, file: u64, at: u64) -> bool {
        let mut durable = self.durable.lock();
        loop {
            if *durable > (file, at) {
                return true;
            }
            if self.is_stopping() {
                return false;
            }
            self.more.wait_for(&mut durable, LOOK_AGAIN);
        }
    }

    /// Waits, unless it is to end.
    fn pause(&self, time: Duration) {
        let mut durable = self.durable.lock();
        let until = Instant::now() + time;
        while !self.is_stopping() && !self.more.wait_until(&mut durable, until).timed_out() {}
    }
}

/// The thread.
pub(crate) struct Thread {
    pub shared: Arc<Followers>,
    pub follower: Arc<dyn Follower>,
    pub wal_dir: PathBuf,
    file: Option<Open>,
    parcel: Vec<Followed>,
    bytes: usize,
    said: Option<Instant>,
}

/// The log file that is read now.
struct Open {
    number: u64,
    file: File,
    at: u64,
    chain: Hash,
}

impl Thread {
    pub fn new(shared: Arc<Followers>, follower: Arc<dyn Follower>, wal_dir: PathBuf) -> Self {
        Self {
            shared,
            follower,
            wal_dir,
            file: None,
            parcel: Vec::new(),
            bytes: 0,
            said: None,
        }
    }

    /// Ends when it is told to, having taken what was there.
    pub fn run(mut self) {
        // Of this thread alone, on Linux. It is no loss if it cannot be had.
        rustix::process::setpriority_process(None, NICE).ok();
        let mut pause = RETRY_FIRST;
        loop {
            match self.round() {
                Ok(true) => {
                    pause = RETRY_FIRST;
                    *self.shared.trouble.lock() = None;
                }
                Ok(false) => return,
                Err(why) => {
                    if self.shared.is_stopping() {
                        return;
                    }
                    self.say(why);
                    self.shared.pause(pause);
                    pause = (pause * 2).min(RETRY_LONGEST);
                }
            }
        }
    }

    fn say(&mut self, why: String) {
        if self.said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!(
                %why,
                "the index of the records does not get on; log files stay in the spool until it does"
            );
        }
        *self.shared.trouble.lock() = Some(why);
    }

    /// Waits for something new, takes it. False: it is to end, and has taken everything.
    fn round(&mut self) -> Result<bool, String> {
        if !self.parcel.is_empty() {
            self.hand_over()?;
        }
        if self.file.is_none() {
            self.file = self.begin().map_err(|e| format!("the log: {e}"))?;
        }
        let Some(open) = &self.file else {
            // No file yet: the first one is on its way.
            return Ok(self.shared.wait(0, 0));
        };
        if !self.shared.wait(open.number, open.at) {
            return Ok(false);
        }
        self.shared.pause(LINGER);
        let (last, len) = *self.shared.durable.lock();
        self.read(last, len)?;
        Ok(true)
    }

    /// Finds the place where the follower is.
    fn begin(&self) -> io::Result<Option<Open>> {
        let files = scan::files(&self.wal_dir)?;
        let Some((oldest, _)) = files.first() else {
            return Ok(None);
        };
        if let Some(place) = self.follower.place()
            && let Some((number, path)) = files.iter().find(|(number, _)| *number == place.file)
            && let Some(open) = seek(*number, File::open(path)?, &place.chain)?
        {
            self.shared.needed.store(*number, Ordering::Release);
            return Ok(Some(open));
        }
        self.shared.needed.store(*oldest, Ordering::Release);
        self.open(*oldest).map(Some)
    }

    fn open(&self, number: u64) -> io::Result<Open> {
        let file = File::open(scan::file_path(&self.wal_dir, number))?;
        Ok(Open {
            number,
            chain: header(&file)?.map_or([0; 32], |header| header.prev_chain),
            file,
            at: FILE_HEADER as u64,
        })
    }

    /// Hands over everything up to `len` of the file `last`.
    fn read(&mut self, last: u64, len: u64) -> Result<(), String> {
        while let Some(open) = &mut self.file {
            let end = if open.number < last { u64::MAX } else { len };
            let block = match open.at < end {
                true => next_block(open).map_err(|e| format!("log file {}: {e}", open.number))?,
                false => None,
            };
            if let Some(raw) = block {
                let mut rest = raw.as_slice();
                while let Ok(Some(record)) = crate::record::take(&mut rest) {
                    if let Some(followed) = Followed::of(&record) {
                        self.bytes += record.payload.len();
                        self.parcel.push(followed);
                    }
                }
                if self.parcel.len() >= PARCEL_RECORDS || self.bytes >= PARCEL_BYTES {
                    self.hand_over()?;
                }
                continue;
            }
            let (number, at) = (open.number, open.at);
            let is_whole = match number < last {
                true => block_start(&open.file, at).is_ok_and(|start| start.is_none()),
                false => at >= end,
            };
            self.hand_over()?;
            if number >= last && is_whole {
                return Ok(());
            }
            if !is_whole {
                let why = format!("log file {number} cannot be read from byte {at} on");
                if number >= last {
                    return Err(why);
                }
                // What was so at the start is a gap that the recorder has told of.
                tracing::warn!(%why, "records in it are not in the index until it is rebuilt");
            }
            let next = self.open(number + 1);
            self.file = Some(next.map_err(|e| format!("log file {}: {e}", number + 1))?);
            self.shared.needed.store(number + 1, Ordering::Release);
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), String> {
        let Some(open) = &self.file else {
            return Ok(());
        };
        let place = Place {
            file: open.number,
            chain: open.chain,
        };
        self.follower.take(&self.parcel, place)?;
        self.parcel.clear();
        self.bytes = 0;
        match self.shared.is_over() {
            true => Err("the process ends".into()),
            false => Ok(()),
        }
    }
}

fn header(file: &File) -> io::Result<Option<FileHeader>> {
    let mut head = [0; FILE_HEADER];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => Ok(FileHeader::decode(&head).ok()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// The records of the next block; none at the end of what can be read.
fn next_block(open: &mut Open) -> io::Result<Option<Vec<u8>>> {
    let Some((mut bytes, len)) = block_start(&open.file, open.at)? else {
        return Ok(None);
    };
    bytes.resize(len, 0);
    let rest = bytes.get_mut(BLOCK_START..).unwrap_or_default();
    match open.file.read_exact_at(rest, open.at + BLOCK_START as u64) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    // The chain was checked by whoever found the file, or made by this process.
    let Ok(block) = format::decode_block(&bytes, None) else {
        return Ok(None);
    };
    open.at += block.len as u64;
    open.chain = block.chain_after;
    Ok(Some(block.raw))
}

/// How a block begins, and its length.
fn block_start(file: &File, at: u64) -> io::Result<Option<(Vec<u8>, usize)>> {
    let mut start = vec![0; BLOCK_START];
    match file.read_exact_at(&mut start, at) {
        Ok(()) => Ok(format::block_len(&start).map(|len| (start, len))),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}

/// The place behind the block that has this chain; none if the file has none such.
fn seek(number: u64, file: File, chain: &Hash) -> io::Result<Option<Open>> {
    let Some(header) = header(&file)? else {
        return Ok(None);
    };
    let mut at = FILE_HEADER as u64;
    let mut found = header.prev_chain == *chain;
    while !found && let Some((start, len)) = block_start(&file, at)? {
        at += len as u64;
        found = format::chain_after(&start) == Some(*chain);
    }
    Ok(found.then_some(Open {
        number,
        file,
        at,
        chain: *chain,
    }))
}
