//! The recorder as the core sees it: `Journal` and `SessionJournal`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pipeline::ports::{Journal, JournalError, SessionJournal};
use pipeline::{
    ControlEvent, Direction, Durability, HoldRecord, Intent, Outcome, RefusalRecord, SessionEnd,
    SessionStart,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::commit::{Ask, Done, Level, Refused};
use crate::convert::{self, json, json_of, ns};
use crate::crypt::ring::Begun;
use crate::doc::{EndDoc, OutcomeDoc};
use crate::pack;
use crate::record::{Kind, MAX_RECORD, NewRecord};
use crate::recorder::Inner;
use crate::size;

/// Recorded bytes are cut into records of this size, so that frames and blocks stay small.
pub const BYTES_RECORD: usize = 128 << 10;
/// Shorter ones are not packed: together with what comes before and after them they get smaller.
const PACK_FROM: usize = 16 << 10;
/// Bytes that one call queues at once; a longer one waits in between.
const BYTES_AT_ONCE: usize = 512 << 10;
/// Records that nobody waits for wake the committer when there are so many bytes of them.
const WAKE_BYTES: usize = 256 << 10;
/// How often a call that waits for room looks by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Inner {
    /// Queues records; returns when they are in the queue.
    async fn queue(&self, ask: Ask) -> Result<(), JournalError> {
        self.state.check()?;
        let place = match self.tx.try_reserve() {
            Ok(place) => place,
            Err(mpsc::error::TrySendError::Full(())) => {
                self.state.bell.ring_now();
                match self.tx.reserve().await {
                    Ok(place) => place,
                    Err(_) => return self.gone(),
                }
            }
            Err(mpsc::error::TrySendError::Closed(())) => return self.gone(),
        };
        self.place(place, ask);
        Ok(())
    }

    /// Puts it where the committer finds it, and wakes that if it is needed now.
    fn place(&self, place: mpsc::Permit<'_, Ask>, mut ask: Ask) {
        let urgent = ask.is_urgent();
        let len = ask.len();
        ask.counted = len;
        let before = self.state.waiting.fetch_add(len, Ordering::Relaxed);
        let waiting = before.saturating_add(len);
        place.send(ask);
        let few = self.tx.capacity() < self.tx.max_capacity() / 2;
        if urgent || few || waiting >= WAKE_BYTES {
            self.state.bell.ring_now();
        } else {
            self.state.bell.ring();
        }
    }

    fn gone<T>(&self) -> Result<T, JournalError> {
        self.state.check()?;
        Err(JournalError::Closed)
    }

    /// Waits until `len` bytes may be queued.
    async fn permit(&self, len: usize) -> Result<OwnedSemaphorePermit, JournalError> {
        let most = self.state.limits.queued_bytes;
        let wanted = u32::try_from(len).unwrap_or(most).clamp(1, most);
        // Whoever waits already is served first: as long as he does, none are left for this.
        if let Ok(permit) = self.queued.clone().try_acquire_many_owned(wanted) {
            return Ok(permit);
        }
        tokio::select! {
            permit = self.queued.clone().acquire_many_owned(wanted) => {
                permit.map_err(|_| JournalError::Closed)
            }
            () = self.state.failed.cancelled() => {
                self.state.check()?;
                Err(JournalError::Closed)
            }
            () = self.state.ended.cancelled() => self.gone(),
        }
    }

    /// Waits until a record of about `size` bytes may be made, before it takes any memory.
    async fn permit_record(&self, size: usize) -> Result<OwnedSemaphorePermit, JournalError> {
        self.state.check()?;
        if size > MAX_RECORD {
            return Err(too_large(size));
        }
        self.permit(size).await
    }

    /// Writes short records; returns when they are durable.
    pub(crate) async fn commit(&self, records: Vec<NewRecord>) -> Result<(), JournalError> {
        let sizes = records.iter().map(NewRecord::encoded_len);
        let permit = self.permit(sizes.fold(0, usize::saturating_add)).await?;
        self.commit_permitted(records, permit, Level::Durable).await
    }

    /// Writes records; returns when they are as safe as is asked for.
    async fn commit_permitted(
        &self,
        records: Vec<NewRecord>,
        permit: OwnedSemaphorePermit,
        level: Level,
    ) -> Result<(), JournalError> {
        let (done, mut answer) = oneshot::channel();
        self.queue(Ask {
            records,
            done: Some(done),
            level,
            permit: Some(permit),
            ..Ask::default()
        })
        .await?;
        if level != Level::Durable {
            // Changing to another thread and back costs more than writing a little.
            if let Some(mut committer) = self.committer.try_lock() {
                committer.write_little();
            }
            match answer.try_recv() {
                Ok(answered) => {
                    // So that it is synced in time.
                    self.state.bell.ring();
                    return self.answered(Some(answered));
                }
                Err(_) => self.state.bell.ring_now(),
            }
        }
        self.answer(answer).await
    }

    /// A key for a session that is to begin. If there is none, nothing begins.
    async fn begin_key(&self, id: u128) -> Result<Begun, JournalError> {
        match self.ring.begin(Uuid::from_u128(id), false).await {
            Ok(Some(begun)) => Ok(begun),
            Ok(None) => Err(JournalError::Closed),
            Err(error) => {
                tracing::error!(%error, "a session is refused, since its recording cannot be encrypted");
                Err(JournalError::Keys(error.to_string()))
            }
        }
    }

    /// Writes a stream's start. The sealer takes the key when it is durable.
    async fn start(
        &self,
        first: NewRecord,
        permit: OwnedSemaphorePermit,
        begun: Begun,
    ) -> Result<(), JournalError> {
        let (done, answer) = oneshot::channel();
        self.queue(Ask {
            records: vec![first],
            done: Some(done),
            permit: Some(permit),
            ..Ask::default()
        })
        .await?;
        let kept = begun.keep();
        let answered = self.answer(answer).await;
        if answered.is_err() {
            kept.forget();
        }
        answered
    }

    pub(crate) async fn answer(
        &self,
        answer: oneshot::Receiver<Result<(), Refused>>,
    ) -> Result<(), JournalError> {
        // What the committer does not answer goes with it, and so does the sender.
        self.answered(answer.await.ok())
    }

    fn answered(&self, answer: Option<Result<(), Refused>>) -> Result<(), JournalError> {
        match answer {
            Some(Ok(())) => Ok(()),
            Some(Err(Refused::Poisoned(why))) => Err(JournalError::Poisoned(why)),
            Some(Err(Refused::TooLarge(size))) => Err(too_large(size)),
            Some(Err(Refused::Ended)) | None => self.gone(),
        }
    }

    /// Sends a message that has no records of its own and waits for its answer.
    pub(crate) async fn ask(&self, make: impl FnOnce(Done) -> Ask) -> Result<(), JournalError> {
        let (done, answer) = oneshot::channel();
        self.queue(make(done)).await?;
        self.answer(answer).await
    }
}

fn too_large(size: usize) -> JournalError {
    JournalError::TooLarge {
        size: size as u64,
        limit: MAX_RECORD as u64,
    }
}

pub(crate) fn record(
    kind: Kind,
    at: SystemTime,
    stream: u128,
    seq: Option<u64>,
    body: Bytes,
) -> NewRecord {
    NewRecord {
        kind,
        ts_ns: ns(at),
        stream,
        seq,
        body,
        packed: None,
    }
}

/// Recorded bytes, packed if they are many.
fn bytes_record(kind: Kind, at: SystemTime, stream: u128, seq: u64, body: Bytes) -> NewRecord {
    let plain = record(kind, at, stream, Some(seq), body);
    if plain.body.len() < PACK_FROM {
        return plain;
    }
    let raw = u32::try_from(plain.body.len()).ok();
    match raw.zip(pack::bytes(&plain.body)) {
        Some((raw, body)) => NewRecord {
            body,
            packed: Some(raw),
            ..plain
        },
        None => plain,
    }
}

#[async_trait]
impl Journal for crate::Recorder {
    async fn open(&self, start: SessionStart) -> Result<Arc<dyn SessionJournal>, JournalError> {
        let inner = self.inner.clone();
        if inner.closed.load(Ordering::Acquire) {
            return Err(JournalError::Closed);
        }
        inner.state.check()?;
        inner.state.check_room()?;
        let id = start.info.id.0.as_u128();
        let mut doc = convert::start(&start);
        doc.salt = convert::salt()?;
        let begun = inner.begin_key(id).await?;
        doc.key = Some(begun.key.doc.clone());
        let body = json(&doc)?;
        let first = record(Kind::SessionStart, start.info.started, id, None, body);
        let permit = inner.permit(first.encoded_len()).await?;
        // From here on the session exists: if this call is dropped, its end is still written.
        let recording = Arc::new(Recording {
            failed: inner.state.failed.child_token(),
            inner: inner.clone(),
            id,
            lost: AtomicBool::new(false),
            open: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let started = inner.start(first, permit, begun).await;
        match started {
            Ok(()) => Ok(recording),
            Err(error) => {
                recording.closed.store(true, Ordering::Release);
                Err(error)
            }
        }
    }

    async fn event(&self, event: ControlEvent) -> Result<(), JournalError> {
        self.inner.state.check_headroom(0)?;
        let mut doc = convert::control(&event);
        doc.salt = convert::salt()?;
        let body = json(&doc)?;
        let stream = self.inner.control.as_u128();
        let record = record(Kind::Control, event.at, stream, None, body);
        self.inner.commit(vec![record]).await
    }
}

/// One session's way into the log.
struct Recording {
    inner: Arc<Inner>,
    id: u128,
    failed: CancellationToken,
    /// It has failed by itself.
    lost: AtomicBool,
    /// Actions without an outcome.
    open: Mutex<BTreeSet<u64>>,
    closed: AtomicBool,
}

impl Recording {
    fn check(&self) -> Result<(), JournalError> {
        self.inner.state.check()?;
        if self.closed.load(Ordering::Acquire) || self.lost.load(Ordering::Acquire) {
            return Err(JournalError::Closed);
        }
        Ok(())
    }

    /// The session's last records.
    fn last_records(&self, at: SystemTime, end: &EndDoc) -> Result<Vec<NewRecord>, JournalError> {
        let open = std::mem::take(&mut *self.open.lock());
        last_records(self.id, open, at, end)
    }

    async fn wait_for_room(&self) -> Result<(), JournalError> {
        let inner = &self.inner;
        let deadline = tokio::time::Instant::now() + inner.state.limits.full_wait;
        loop {
            let room = inner.state.room.notified();
            let free = inner.queued.available_permits() as u64;
            let queued = u64::from(inner.state.limits.queued_bytes).saturating_sub(free);
            let full = match inner.state.check_headroom(queued) {
                Ok(()) => return Ok(()),
                Err(full) => full,
            };
            if tokio::time::Instant::now() >= deadline {
                // These bytes will be missing, so nothing more of this session may pass.
                self.lost.store(true, Ordering::Release);
                self.failed.cancel();
                return Err(full);
            }
            tokio::select! {
                () = room => {}
                () = self.failed.cancelled() => return self.check().and(Err(full)),
                // What is queued shrinks without a word when it is written.
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }
}

/// Outcomes for what has none, and the end.
pub(crate) fn last_records(
    stream: u128,
    open: BTreeSet<u64>,
    at: SystemTime,
    end: &EndDoc,
) -> Result<Vec<NewRecord>, JournalError> {
    let mut records = Vec::with_capacity(open.len() + 1);
    let mut unknown = OutcomeDoc::unknown();
    for seq in open {
        unknown.salt = convert::salt()?;
        let body = json(&unknown)?;
        records.push(record(Kind::Outcome, at, stream, Some(seq), body));
    }
    let end = EndDoc {
        salt: convert::salt()?,
        ..end.clone()
    };
    records.push(record(Kind::SessionEnd, at, stream, None, json(&end)?));
    Ok(records)
}

#[async_trait]
impl SessionJournal for Recording {
    async fn held(&self, held: HoldRecord) -> Result<(), JournalError> {
        self.check()?;
        self.inner.state.check_room()?;
        let size = size::held(&held);
        let permit = self.inner.permit_record(size).await?;
        let mut doc = convert::held(&held);
        doc.salt = convert::salt()?;
        let body = json_of(&doc, size)?;
        let record = record(Kind::Held, held.at, self.id, Some(held.seq), body);
        let level = Level::Durable;
        self.inner
            .commit_permitted(vec![record], permit, level)
            .await
    }

    async fn intent(&self, intent: Intent) -> Result<(), JournalError> {
        self.check()?;
        self.inner.state.check_room()?;
        let size = size::intent(&intent);
        let permit = self.inner.permit_record(size).await?;
        let mut doc = convert::intent(&intent);
        doc.salt = convert::salt()?;
        let body = json_of(&doc, size)?;
        let record = record(Kind::Intent, intent.at, self.id, Some(intent.seq), body);
        self.open.lock().insert(intent.seq);
        let level = match intent.durability {
            Durability::Fsync => Level::Durable,
            Durability::Os { within } => Level::Written(within),
        };
        let done = self
            .inner
            .commit_permitted(vec![record], permit, level)
            .await;
        if matches!(done, Err(JournalError::TooLarge { .. })) {
            self.open.lock().remove(&intent.seq);
        }
        done
    }

    async fn refused(&self, refusal: RefusalRecord) -> Result<(), JournalError> {
        self.check()?;
        self.inner.state.check_headroom(0)?;
        let size = size::refused(&refusal);
        let permit = self.inner.permit_record(size).await?;
        let mut doc = convert::refused(&refusal);
        doc.salt = convert::salt()?;
        let body = json_of(&doc, size)?;
        let seq = Some(refusal.seq);
        let record = record(Kind::Refused, refusal.at, self.id, seq, body);
        let level = Level::Durable;
        self.inner
            .commit_permitted(vec![record], permit, level)
            .await
    }

    async fn outcome(&self, outcome: Outcome) -> Result<(), JournalError> {
        self.check()?;
        let mut doc = convert::outcome(&outcome);
        doc.salt = convert::salt()?;
        let body = json(&doc)?;
        let record = record(Kind::Outcome, outcome.at, self.id, Some(outcome.seq), body);
        let permit = self.inner.permit(record.encoded_len()).await?;
        self.inner
            .queue(Ask {
                records: vec![record],
                permit: Some(permit),
                ..Ask::default()
            })
            .await?;
        // Only now: if this call is dropped while it waits, the action still has no outcome.
        self.open.lock().remove(&outcome.seq);
        Ok(())
    }

    async fn bytes(&self, seq: u64, way: Direction, bytes: Bytes) -> Result<(), JournalError> {
        let kind = match way {
            Direction::ToClient => Kind::ToClient,
            Direction::ToUpstream => Kind::ToUpstream,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            self.check()?;
            self.wait_for_room().await?;
            let mut now = rest.split_to(rest.len().min(BYTES_AT_ONCE));
            let mut permit = self.inner.permit(now.len()).await?;
            let at = SystemTime::now();
            let mut records = Vec::with_capacity(now.len().div_ceil(BYTES_RECORD));
            while !now.is_empty() {
                let piece = now.split_to(now.len().min(BYTES_RECORD));
                records.push(bytes_record(kind, at, self.id, seq, piece));
            }
            // What they take from here on is less.
            let takes = records.iter().map(|r| r.body.len()).sum::<usize>().max(1);
            drop(permit.split(permit.num_permits().saturating_sub(takes)));
            self.inner
                .queue(Ask {
                    records,
                    permit: Some(permit),
                    ..Ask::default()
                })
                .await?;
        }
        Ok(())
    }

    async fn settle(&self) -> Result<(), JournalError> {
        self.check()?;
        // Written in the order in which they were queued, by all sessions.
        self.inner.commit(Vec::new()).await
    }

    fn failed(&self) -> CancellationToken {
        self.failed.clone()
    }

    async fn close(&self, end: SessionEnd) -> Result<(), JournalError> {
        self.inner.state.check()?;
        // A place in the queue first: if this call is dropped while it waits for one, the session has
        // not been closed, and still gets its end.
        let Ok(place) = self.inner.tx.reserve().await else {
            self.inner.state.check()?;
            return Err(JournalError::Closed);
        };
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let records = self.last_records(end.at, &convert::end(&end))?;
        let (done, durable) = oneshot::channel();
        let (sealed, in_segment) = oneshot::channel();
        let ask = Ask {
            records,
            done: Some(done),
            sealed: Some((self.id, sealed)),
            ..Ask::default()
        };
        self.inner.place(place, ask);
        self.inner.answer(durable).await?;
        self.inner.answer(in_segment).await
    }
}

impl Drop for Recording {
    /// A session that was dropped without `close` still gets its end, from the committer's thread.
    fn drop(&mut self) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let end = EndDoc::new("abandoned", "the session was dropped without an end");
        if let Ok(records) = self.last_records(SystemTime::now(), &end) {
            self.inner.state.side.lock().abandoned.push(records);
            self.inner.state.bell.ring();
            if self.inner.tx.is_closed() {
                tracing::warn!("a session was dropped after the recorder had shut down");
            }
        }
    }
}
