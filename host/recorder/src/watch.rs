//! Sessions as they are recorded, for whoever may watch them: each record once it is durable, as
//! `replay` would print it.
//!
//! The sealer hands the records of watched sessions on, in the log's order; a relay is never asked, so
//! nobody is shown what is not on record. It waits for no watcher: each has a queue with a bound, and
//! who does not keep up loses records, and is told how many.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::commit::{Batch, Item};
use crate::export::{document, lines};
use crate::journal::BYTES_RECORD;
use crate::record::{self, Kind, Packed, Record};
use crate::recorder::Recorder;
use crate::replay::Printer;
use crate::sshframes::is_whole;
use crate::state::State;

/// Who may watch one session at once, and all sessions together.
pub const WATCHERS_OF_ONE: usize = 4;
pub const WATCHERS: usize = 32;
/// What waits for one watcher.
const QUEUE_BYTES: usize = 4 << 20;
const QUEUE_RECORDS: usize = 10_000;
/// A record with more bytes is told of and not shown: it would take the room of all others.
const LARGEST: usize = 1 << 20;
/// A message of PostgreSQL's with more bytes likewise.
const LONGEST_MESSAGE: usize = 512 << 10;
/// So much text is given at once, unless a single record has more.
const CHUNK: usize = 64 << 10;
/// And no more than this is unpacked for it.
const UNPACKED: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    #[error("no session of this id is being recorded here")]
    NotLive,
    #[error("{WATCHERS_OF_ONE} people watch this session already, which is the most")]
    TooManyOfOne,
    #[error("{WATCHERS} people watch sessions already, which is the most")]
    TooMany,
}

/// What the next lines are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watched {
    /// JSON lines, as of `weir replay --format jsonl`. A note about records that were left out has
    /// their number as `left_out`.
    pub lines: Vec<u8>,
    /// So many records are in them.
    pub records: u64,
}

impl Recorder {
    /// Watches a session from now on. With `text`, each line says also how the record reads as text.
    pub fn watch(&self, session: Uuid, text: bool) -> Result<Watch, WatchError> {
        let (queue, start) = self.inner.state.watching.enter(session)?;
        Ok(Watch {
            state: self.inner.state.clone(),
            queue,
            start: Some(start),
            finished: false,
            reader: Reader::new(session, text),
        })
    }
}

/// The sessions that are recorded, and who watches them.
#[derive(Default)]
pub struct Watching {
    /// The first records of sessions that the sealer has not come to. The committer puts them here before
    /// it tells anybody, and never waits for what is done for watchers.
    starts: Mutex<HashMap<u128, Arc<[u8]>>>,
    live: Mutex<HashMap<u128, Live>>,
    /// Of all sessions. Changed under the lock only.
    watchers: AtomicUsize,
}

/// A session that has not ended.
struct Live {
    /// Its first record: what it says is needed to read the others.
    start: Arc<[u8]>,
    watchers: Vec<Arc<Queue>>,
}

impl Live {
    fn new(start: Arc<[u8]>) -> Self {
        Self {
            start,
            watchers: Vec::new(),
        }
    }
}

impl Watching {
    /// These are durable now, and neither their sessions nor the sealer know it yet.
    pub fn begun(&self, batch: &Batch) {
        let starts = batch.items.iter();
        for item in starts.filter(|item| item.kind == Kind::SessionStart) {
            let encoded = batch.raw.get(item.encoded.clone()).unwrap_or_default();
            self.starts.lock().insert(item.stream, encoded.into());
        }
    }

    /// The sealer has come to these. After [`Watching::begun`].
    pub fn durable(&self, batch: &Batch) {
        let is_watched = self.watchers.load(Ordering::Acquire) > 0;
        let concerns =
            |item: &&Item| is_watched || matches!(item.kind, Kind::SessionStart | Kind::SessionEnd);
        let mut items = batch.items.iter().filter(concerns).peekable();
        if items.peek().is_none() {
            return;
        }
        let mut live = self.live.lock();
        for item in items {
            let encoded = batch.raw.get(item.encoded.clone()).unwrap_or_default();
            match item.kind {
                Kind::SessionStart => {
                    let start = self.starts.lock().remove(&item.stream);
                    // Somebody may watch it already.
                    let start = || Live::new(start.unwrap_or_else(|| encoded.into()));
                    live.entry(item.stream).or_insert_with(start);
                }
                Kind::SessionEnd => {
                    let encoded = Waits::of(encoded);
                    let session = live.remove(&item.stream);
                    let watchers = session.map(|s| s.watchers).unwrap_or_default();
                    self.watchers.fetch_sub(watchers.len(), Ordering::AcqRel);
                    watchers.iter().for_each(|queue| queue.end(&encoded));
                }
                _ => {
                    let watchers = live.get(&item.stream).map(|s| s.watchers.as_slice());
                    let watchers = watchers.unwrap_or_default();
                    if !watchers.is_empty() {
                        let waits = Waits::of(encoded);
                        watchers.iter().for_each(|queue| queue.push(&waits));
                    }
                }
            }
        }
    }

    fn enter(&self, session: Uuid) -> Result<(Arc<Queue>, Arc<[u8]>), WatchError> {
        let mut live = self.live.lock();
        let id = session.as_u128();
        let start = self.starts.lock().get(&id).cloned();
        if let Some(start) = start {
            live.entry(id).or_insert_with(|| Live::new(start));
        }
        let session = live.get_mut(&id).ok_or(WatchError::NotLive)?;
        if session.watchers.len() >= WATCHERS_OF_ONE {
            return Err(WatchError::TooManyOfOne);
        }
        if self.watchers.load(Ordering::Acquire) >= WATCHERS {
            return Err(WatchError::TooMany);
        }
        let queue = Arc::<Queue>::default();
        session.watchers.push(queue.clone());
        self.watchers.fetch_add(1, Ordering::AcqRel);
        Ok((queue, session.start.clone()))
    }

    fn leave(&self, session: Uuid, queue: &Arc<Queue>) {
        let mut live = self.live.lock();
        // A session that has ended has let its watchers go itself.
        if let Some(session) = live.get_mut(&session.as_u128()) {
            let before = session.watchers.len();
            session.watchers.retain(|q| !Arc::ptr_eq(q, queue));
            let left = before - session.watchers.len();
            self.watchers.fetch_sub(left, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
impl Watching {
    pub fn is_live(&self, session: Uuid) -> bool {
        let id = session.as_u128();
        self.live.lock().contains_key(&id) || self.starts.lock().contains_key(&id)
    }

    pub fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Acquire)
    }

    /// What waits for all watchers together.
    pub fn held_bytes(&self) -> usize {
        let live = self.live.lock();
        let queues = live.values().flat_map(|session| &session.watchers);
        queues
            .map(|q| {
                q.waiting
                    .lock()
                    .records
                    .iter()
                    .map(|r| r.len())
                    .sum::<usize>()
            })
            .sum()
    }
}

/// What waits for one watcher.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<Waits>,
    bytes: usize,
    /// Behind those, so many had no room. Until the watcher has been told, all others join them: what
    /// is shown has no gap that is not told of.
    left_out: u64,
    /// The session's last record, which always has room.
    end: Option<Waits>,
    ended: bool,
}

/// One record that waits.
#[derive(Clone)]
enum Waits {
    Record(Box<[u8]>),
    /// Its number, the action that it begins if it begins one, and its size.
    Large(u64, Option<u64>, usize),
}

impl Waits {
    fn of(encoded: &[u8]) -> Self {
        if encoded.len() <= LARGEST {
            return Self::Record(encoded.into());
        }
        let Ok(Some(record)) = record::take(&mut &*encoded) else {
            return Self::Large(0, None, encoded.len());
        };
        let begins = matches!(
            record.known(),
            Some(Kind::Held | Kind::Intent | Kind::Refused)
        );
        let action = record.action().map(|(seq, _)| seq).filter(|_| begins);
        Self::Large(record.index, action, encoded.len())
    }

    fn len(&self) -> usize {
        match self {
            Self::Record(encoded) => encoded.len(),
            Self::Large(..) => 0,
        }
    }
}

enum Next {
    Record(Waits),
    LeftOut(u64),
    Nothing,
    End,
}

impl Queue {
    fn push(&self, encoded: &Waits) {
        let mut waiting = self.waiting.lock();
        let room = waiting.bytes.saturating_add(encoded.len()) <= QUEUE_BYTES
            && waiting.records.len() < QUEUE_RECORDS;
        if waiting.left_out > 0 || !room {
            waiting.left_out += 1;
        } else {
            waiting.bytes += encoded.len();
            waiting.records.push_back(encoded.clone());
        }
        drop(waiting);
        self.more.notify_one();
    }

    fn end(&self, encoded: &Waits) {
        let mut waiting = self.waiting.lock();
        waiting.end = Some(encoded.clone());
        waiting.ended = true;
        drop(waiting);
        self.more.notify_one();
    }

    fn next(&self) -> Next {
        let mut waiting = self.waiting.lock();
        if let Some(record) = waiting.records.pop_front() {
            waiting.bytes -= record.len();
            return Next::Record(record);
        }
        match std::mem::take(&mut waiting.left_out) {
            0 => {}
            n => return Next::LeftOut(n),
        }
        match (waiting.end.take(), waiting.ended) {
            (Some(end), _) => Next::Record(end),
            (None, true) => Next::End,
            (None, false) => Next::Nothing,
        }
    }
}

/// Somebody watches a session. The place is free again when this is dropped.
pub struct Watch {
    state: Arc<State>,
    queue: Arc<Queue>,
    start: Option<Arc<[u8]>>,
    /// What was left over has been told.
    finished: bool,
    reader: Reader,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.state.watching.leave(self.reader.session, &self.queue);
    }
}

impl Watch {
    /// The next lines; none when the session has ended, or nothing is recorded any more. Cancel safe.
    pub async fn next(&mut self) -> Option<Watched> {
        loop {
            // Asked first: what is durable by then is still shown.
            let over = self.state.ended.is_cancelled() || self.state.failed.is_cancelled();
            let mut out = Watched::default();
            if let Some(start) = self.start.take() {
                self.reader.record(&start, &mut out);
            }
            let mut ended = false;
            let mut unpacked = 0;
            while out.lines.len() < CHUNK && unpacked < UNPACKED {
                match self.queue.next() {
                    Next::Record(Waits::Record(encoded)) => {
                        unpacked += self.reader.record(&encoded, &mut out);
                    }
                    Next::Record(Waits::Large(index, action, bytes)) => {
                        self.reader.large(index, action, bytes, &mut out);
                    }
                    Next::LeftOut(n) => self.reader.left_out(n, &mut out),
                    Next::Nothing => break,
                    Next::End => {
                        ended = true;
                        self.finish(true, &mut out);
                        break;
                    }
                }
            }
            if over && !ended && out.lines.is_empty() {
                self.finish(false, &mut out);
            }
            if !out.lines.is_empty() {
                return Some(out);
            }
            if ended || over {
                return None;
            }
            tokio::select! {
                () = self.queue.more.notified() => {}
                () = self.state.ended.cancelled() => {}
                () = self.state.failed.cancelled() => {}
            }
        }
    }
}

impl Watch {
    /// Tells once what the end has left open.
    fn finish(&mut self, ended: bool, out: &mut Watched) {
        if !std::mem::replace(&mut self.finished, true) {
            self.reader.finish(ended, out);
        }
    }
}

/// Makes records readable for somebody who may not have seen those before.
struct Reader {
    session: Uuid,
    with_text: bool,
    printer: Printer,
    /// The first action whose beginning was seen. Bytes of earlier ones may begin within a message.
    first: Option<u64>,
    /// Of SSH, by direction: where messages begin is known. A shell is one action for hours, and nobody is there
    /// when it begins.
    aligned: Aligned,
    /// The next record's number, if nothing is left out.
    next: u64,
}

impl Reader {
    fn new(session: Uuid, with_text: bool) -> Self {
        Self {
            session,
            with_text,
            printer: Printer::up_to(LONGEST_MESSAGE),
            first: None,
            aligned: Aligned::default(),
            next: 0,
        }
    }

    /// How many bytes it has, unpacked.
    fn record(&mut self, encoded: &[u8], out: &mut Watched) -> usize {
        let plain = match plain(encoded) {
            Ok(plain) => plain,
            Err(why) => {
                self.note(&why, &[], out);
                return encoded.len();
            }
        };
        let plain = plain.as_deref().unwrap_or(encoded);
        self.plain(plain, out);
        plain.len()
    }

    /// A record that is too large. What it begins is shown all the same.
    fn large(&mut self, index: u64, action: Option<u64>, bytes: usize, out: &mut Watched) {
        self.next = index + 1;
        if let Some(seq) = action {
            self.first.get_or_insert(seq);
        }
        let text = format!(
            "(record {index}, {bytes} bytes: too large to be watched; weir replay shows it)"
        );
        self.note(&text, &[("too_large", bytes.into())], out);
        out.records += 1;
    }

    fn plain(&mut self, plain: &[u8], out: &mut Watched) {
        let Ok(Some(record)) = record::take(&mut &*plain) else {
            return self.note("(a record that this Weir cannot read)", &[], out);
        };
        if record.index > self.next && self.first.is_none() && self.next == 1 {
            let text = format!(
                "(watched from record {} on; weir replay shows those before it)",
                record.index
            );
            self.note(&text, &[("from", record.index.into())], out);
        }
        self.next = record.index + 1;
        let mut text = Vec::new();
        if self.print(&record, &mut text).is_err() {
            return self.note("(a record that cannot be printed)", &[], out);
        }
        let line = document(&record, &text);
        self.line(line, &text, out);
        out.records += 1;
    }

    fn print(&mut self, record: &Record<'_>, text: &mut Vec<u8>) -> io::Result<()> {
        match (record.known(), record.action()) {
            (Some(Kind::SessionStart), _) => {}
            // Nothing came before it.
            _ if record.index == 1 => self.first = Some(0),
            (Some(Kind::Held | Kind::Intent | Kind::Refused), Some((seq, _))) => {
                self.first.get_or_insert(seq);
            }
            (Some(kind), Some((seq, body)))
                if kind.is_bytes()
                    && self.first.is_none_or(|first| seq < first)
                    && !(self.printer.is_ssh() && self.aligned.are(kind, body)) =>
            {
                let text_of = format!(
                    "  #{seq} ({} bytes of an action whose beginning was not watched)\n",
                    body.len()
                );
                text.extend_from_slice(text_of.as_bytes());
                return Ok(());
            }
            _ => {}
        }
        self.printer.record(record, text)
    }

    fn left_out(&mut self, n: u64, out: &mut Watched) {
        self.next = self.next.saturating_add(n);
        // What comes next may begin anywhere.
        self.first = None;
        self.aligned = Aligned::default();
        self.printer.restart();
        let text = format!("(you fell behind: {n} records are left out; weir replay shows them)");
        self.note(&text, &[("left_out", n.into())], out);
    }

    /// As at the end of a replay.
    fn finish(&mut self, ended: bool, out: &mut Watched) {
        let mut text = Vec::new();
        let said = match ended {
            true => self.printer.rest(&mut text),
            false => self.printer.finish(&mut text),
        };
        if said.is_ok() && !text.is_empty() {
            let line = json!({ "kind": "note", "lines": lines(&text) });
            self.line(line, &text, out);
        }
    }

    fn note(&self, text: &str, more: &[(&str, Value)], out: &mut Watched) {
        let mut line = json!({ "kind": "note", "lines": lines(text.as_bytes()) });
        if let Some(line) = line.as_object_mut() {
            line.extend(more.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
        }
        self.line(line, format!("{text}\n").as_bytes(), out);
    }

    fn line(&self, mut line: Value, text: &[u8], out: &mut Watched) {
        if let (true, Some(line)) = (self.with_text, line.as_object_mut()) {
            line.insert("text".into(), String::from_utf8_lossy(text).into());
        }
        out.lines.extend_from_slice(line.to_string().as_bytes());
        out.lines.push(b'\n');
    }
}

/// Whether what is recorded of a direction next begins with a message.
#[derive(Default)]
struct Aligned {
    to_client: bool,
    to_upstream: bool,
}

impl Aligned {
    /// Is it so for these bytes? Once it is, nothing is missing any more.
    fn are(&mut self, kind: Kind, body: &[u8]) -> bool {
        let known = match kind {
            Kind::ToClient => &mut self.to_client,
            _ => &mut self.to_upstream,
        };
        *known = *known || is_whole(body);
        *known
    }
}

/// A packed record as it was before; none for one that is not packed.
fn plain(encoded: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let Ok(Some(record)) = record::take(&mut &*encoded) else {
        return Ok(None);
    };
    let Some(packed) = record.packed() else {
        return Ok(None);
    };
    let Packed { seq, raw, .. } = packed;
    let wrong = || format!("  #{seq} ({raw} bytes that cannot be unpacked)");
    let raw = usize::try_from(raw).map_err(|_| wrong())?;
    if raw > BYTES_RECORD {
        return Err(wrong());
    }
    let body = zstd::bulk::decompress(packed.frame, raw).map_err(|_| wrong())?;
    let mut plain = packed.plain_head(&record);
    plain.extend_from_slice(&body);
    Ok(Some(plain))
}
