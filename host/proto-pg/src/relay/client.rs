//! From the client to the upstream: what may pass, in the order in which it came.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pipeline::{Direction as Way, EndReason, Obligations, OutcomeKind, Permitted};
use tokio::io::ReadHalf;

use super::judge::{Judge, forgets, request};
use super::{Direction, End, Link, UpstreamSender, scratch, violation};
use crate::analysis::CopyKind;
use crate::refusal::Refused;
use crate::statements::{Budget, CopyIn, Forgets, Judged, Prepared, Run};
use crate::survey::About;
use crate::upstream::{Sender, Statement, Stream};
use crate::wire::backend::TxStatus;
use crate::wire::frontend::{self, FrameLimits, Tag};
use crate::wire::{FrameError, HEADER, encode};

/// What may wait to be written while more messages are at hand.
const MAX_UNSENT: usize = 64 << 10;

/// The client's half that is read from.
pub(crate) struct ClientReader {
    io: ReadHalf<Box<dyn Stream>>,
    buf: BytesMut,
    eof: bool,
    max_ahead: usize,
}

impl ClientReader {
    pub fn new(io: ReadHalf<Box<dyn Stream>>, max_ahead: usize) -> Self {
        Self {
            io,
            buf: BytesMut::new(),
            eof: false,
            max_ahead,
        }
    }

    /// Reads ahead while something else is waited for; resolves when the client is gone. Cancel safe.
    pub async fn watch(&mut self) {
        while !self.eof {
            if self.buf.len() >= self.max_ahead {
                // No more is taken; whether the client is there cannot be told either.
                return std::future::pending().await;
            }
            self.fill().await;
        }
    }

    /// Cancel safe.
    async fn fill(&mut self) {
        if self.buf.is_empty() {
            // What it had room for once is not held while nothing comes.
            self.buf = BytesMut::new();
        }
        // An error is the end as well: there is nobody to answer.
        if matches!(
            scratch::read(&mut self.io, &mut self.buf).await,
            Ok(0) | Err(_)
        ) {
            self.eof = true;
        }
    }

    /// The next whole frame, if it is here.
    fn buffered(&mut self, limits: FrameLimits) -> Result<Option<(Tag, Bytes)>, FrameError> {
        match frontend::header(&self.buf, limits)? {
            Some((tag, h)) if self.buf.len() >= h.len => {
                Ok(Some((tag, self.buf.split_to(h.len).freeze())))
            }
            _ => Ok(None),
        }
    }
}

/// One direction of a session.
pub(crate) struct FromClient {
    pub(super) link: Arc<Link>,
    pub(super) reader: ClientReader,
    pub(super) sender: UpstreamSender,
    pub(super) judge: Judge,
    /// What is kept under names.
    pub(super) named: Budget,
    /// What the last message parsed, if its views were vouched for then: the server has looked them up
    /// and holds locks on them until this is bound. Only what ends a transaction would let them go.
    pub(super) parsed: Option<Arc<Prepared>>,
    /// A text of this session was too large to be analysed inline.
    pub(super) large_texts: bool,
    /// Syncs during a COPY … FROM STDIN: the server ignores them, unless it has given up the COPY
    /// before it reads them, which shows later.
    held_syncs: usize,
}

impl FromClient {
    pub fn new(
        link: Arc<Link>,
        reader: ClientReader,
        sender: UpstreamSender,
        judge: Judge,
    ) -> Self {
        let named = Budget::new(link.limits.max_named_bytes);
        Self {
            link,
            reader,
            sender,
            judge,
            named,
            parsed: None,
            large_texts: false,
            held_syncs: 0,
        }
    }

    pub async fn run(mut self) -> Direction {
        let limits = FrameLimits {
            text: self.link.limits.max_query,
            data: self.link.limits.max_data,
        };
        loop {
            self.release_syncs();
            match self.reader.buffered(limits).map_err(violation)? {
                Some((tag, frame)) => {
                    self.link.cancellable.begin();
                    // Boxed: what it takes to decide is not held by those who wait.
                    Box::pin(self.message(tag, frame)).await?;
                    if ends_batch(tag) && self.link.cancellable.end() {
                        self.flush().await?;
                        self.link.cancellable.rest();
                    } else if self.sender.pending() >= MAX_UNSENT {
                        self.flush().await?;
                    }
                }
                None if self.reader.eof => return Err(End(EndReason::ClientClosed)),
                None => {
                    self.sender.flush().await?;
                    self.link.cancellable.rest();
                    self.idle().await?;
                }
            }
        }
    }

    /// Writes what is buffered for the server.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        self.sender.flush().await?;
        self.link.cancellable.flushed();
        Ok(())
    }

    /// Waits for the client, or for the moment to end when the process shuts down.
    async fn idle(&mut self) -> Result<(), End> {
        let link = self.link.clone();
        loop {
            let progress = link.progress.notified();
            tokio::pin!(progress);
            let ending = link.shutdown.is_cancelled();
            let held = self.held_syncs > 0;
            if ending || held {
                // Before the flow is looked at; otherwise nobody needs to wake us for its progress.
                progress.as_mut().enable();
            }
            if held && self.copy_in() == CopyIn::None {
                return Ok(());
            }
            if ending {
                let flow = link.flow.lock();
                if flow.is_quiescent() && flow.tx() == TxStatus::Idle {
                    return Err(End(EndReason::Shutdown));
                }
            }
            tokio::select! {
                biased;
                () = self.reader.fill() => return Ok(()),
                () = link.shutdown.cancelled(), if !ending => {}
                () = progress, if ending || held => {}
            }
        }
    }

    async fn message(&mut self, tag: Tag, frame: Bytes) -> Result<(), End> {
        self.may_go_on()?;
        if let CopyIn::Active { seq } = self.copy_in()
            && self.during_copy(tag, &frame, seq).await?
        {
            return Ok(());
        }
        if !matches!(tag, Tag::Bind | Tag::Describe | Tag::Flush) {
            self.parsed = None;
        }
        if tag == Tag::Sync {
            self.judge.synced();
            self.sender.sync();
            self.link.flow.lock().sent_sync();
            return Ok(());
        }
        if tag == Tag::Terminate {
            return self.terminate().await;
        }
        // The server ignores everything up to the next Sync, and so do we.
        if self.skipping() {
            return Ok(());
        }
        let limit = self.link.limits.max_in_flight;
        if self.link.flow.lock().len() >= limit {
            self.prompt();
            self.wait_until(|flow| flow.len() < limit).await?;
        }
        let body = frame.slice(HEADER..);
        match tag {
            Tag::Query => self.query(frame).await,
            Tag::Parse => self.parse(frame).await,
            Tag::Bind => self.bind(body).await,
            Tag::Describe => self.describe(body).await,
            Tag::Execute => self.execute(body).await,
            Tag::Close => self.close(body),
            Tag::Flush => {
                self.sender.flush_request();
                Ok(())
            }
            Tag::FunctionCall => self.call(frame).await,
            // What is left of a COPY that has failed; the server ignores it, too.
            Tag::CopyData | Tag::CopyDone | Tag::CopyFail => Ok(()),
            Tag::Sync | Tag::Terminate => Ok(()),
        }
    }

    fn copy_in(&self) -> CopyIn {
        self.link.flow.lock().copy_in()
    }

    pub(super) fn skipping(&self) -> bool {
        self.link.flow.lock().is_skipping()
    }

    /// Before waiting for answers: those to a batch that no Sync has ended come when they are asked
    /// for.
    fn prompt(&mut self) {
        if self.link.flow.lock().is_open_batch() {
            self.sender.flush_request();
        }
    }

    /// The client is done. What it has sent before still runs to its end, as without Weir.
    async fn terminate(&mut self) -> Result<(), End> {
        self.prompt();
        self.wait_until(|flow| flow.is_drained()).await?;
        self.sender.terminate();
        self.flush().await?;
        Err(End(EndReason::ClientClosed))
    }

    // ---- simple queries ----

    async fn query(&mut self, frame: Bytes) -> Result<(), End> {
        let sql = match frontend::query(frame.get(HEADER..).unwrap_or_default()) {
            Ok(sql) => frame.slice_ref(sql),
            Err(e) => return self.refuse_query(Refused::malformed(e)),
        };
        let judged = match self.judge_text(&sql).await? {
            Ok(judged) => Arc::new(judged),
            Err(refused) => return self.refuse_query(refused),
        };
        let mut canonical = b"query\0".to_vec();
        canonical.extend_from_slice(&sql);
        let asked = request(&judged, canonical, Vec::new(), Statement::Query(frame));
        let permitted = match self.decide(asked, About::text(&judged, &sql)).await? {
            Ok(permitted) => permitted,
            Err(refusal) => {
                let refused = judged.told(&refusal, &self.link.session.info().id_text);
                return self.refuse_query(refused);
            }
        };
        if permitted.receipt().was_held()
            && let Some(refused) = self.moved_on(&sql, &judged).await?
        {
            self.withdraw(permitted, OutcomeKind::Failed, &refused.sqlstate)
                .await?;
            return self.refuse_query(refused);
        }
        let obligations = permitted.receipt().obligations();
        let copy_masks = match self.copy_masks(&judged, obligations).await {
            Ok(masks) => masks,
            Err(refused) => {
                self.withdraw(permitted, OutcomeKind::Failed, &refused.sqlstate)
                    .await?;
                return self.refuse_query(refused);
            }
        };
        if let Some(refused) = self.last_look().await? {
            self.withdraw(permitted, OutcomeKind::Cancelled, &refused.sqlstate)
                .await?;
            return self.refuse_query(refused);
        }
        if self.skipping() {
            return self
                .withdraw(permitted, OutcomeKind::Failed, "skipped")
                .await;
        }
        self.judge.forwarded(&judged.analysis);
        self.link.voice.says(&judged.analysis);
        let forgets = forgets(&judged.analysis);
        let copies_in = copies_in(&judged);
        let receipt = self.sender.send(permitted);
        let mut run = Run::permitted(receipt, judged, None);
        run.copy_masks = copy_masks;
        self.link.flow.lock().sent_query(run, &forgets);
        if copies_in {
            self.wait_for_copy().await?;
        }
        Ok(())
    }

    /// Answers a query that is not sent: at once if the server has nothing to say about it, else by
    /// way of a text that fails there.
    pub(super) fn refuse_query(&mut self, refused: Refused) -> Result<(), End> {
        let here = {
            let flow = self.link.flow.lock();
            flow.is_quiescent() && flow.tx() == TxStatus::Idle
        };
        if here {
            let mut out = BytesMut::new();
            refused.encode("ERROR", &mut out);
            encode::ready(&mut out, TxStatus::Idle);
            self.link.flow.lock().sent_nothing(out.freeze());
            self.link.local.notify_one();
            return Ok(());
        }
        if self.skipping() {
            return Ok(());
        }
        self.sender.refused_query();
        let forgets = Forgets::default();
        self.link
            .flow
            .lock()
            .sent_query(Run::refused(refused), &forgets);
        Ok(())
    }

    /// A permitted statement that is not sent after all.
    pub(super) async fn withdraw<R>(
        &mut self,
        permitted: Permitted<R>,
        kind: OutcomeKind,
        why: &str,
    ) -> Result<(), End> {
        let receipt = Sender::withdraw(permitted);
        let detail = format!("not sent: {why}");
        let session = self.link.session.clone();
        session.outcome(receipt, kind, &detail, 0, 0).await?;
        Ok(())
    }

    // ---- COPY ----

    /// Masks for the statement's COPY … TO STDOUT, or why it cannot be let through.
    pub(super) async fn copy_masks(
        &mut self,
        judged: &Judged,
        obligations: &Obligations,
    ) -> Result<Vec<Option<Arc<super::ActiveMask>>>, Refused> {
        let mut masks = Vec::new();
        for shape in &judged.analysis.statements {
            let Some(CopyKind::Out { style, fields }) = shape.copy() else {
                masks.push(None);
                continue;
            };
            let refused = || {
                Refused::new(
                    "42501",
                    "the result of this COPY has values that must be masked",
                )
                .hint("Use SELECT, or COPY with default options.")
            };
            let Some(fields) = fields else {
                if !obligations.masked.is_empty() {
                    return Err(refused());
                }
                masks.push(None);
                continue;
            };
            let mask =
                super::rows::build(&self.link, judged, Some(shape), fields, obligations).await;
            if mask.is_pass() {
                masks.push(None);
            } else if style.is_some() {
                masks.push(Some(Arc::new(mask)));
            } else {
                return Err(refused());
            }
        }
        Ok(masks)
    }

    /// Until the server reads data, or has answered otherwise: only then is it known what Sync and
    /// CopyData mean to it.
    pub(super) async fn wait_for_copy(&mut self) -> Result<(), End> {
        self.prompt();
        self.wait_until(|flow| flow.copy_in() != CopyIn::None || flow.is_drained())
            .await
    }

    /// False: the COPY is over, and the message is not about it.
    async fn during_copy(&mut self, tag: Tag, frame: &Bytes, seq: u64) -> Result<bool, End> {
        match tag {
            Tag::CopyData => {
                self.held_syncs = 0;
                let session = self.link.session.clone();
                session.record(seq, Way::ToUpstream, frame.clone()).await?;
                // The COPY may have failed meanwhile; then nobody reads this any more.
                if self.copy_in() != CopyIn::None {
                    self.sender.copy_data(frame);
                }
            }
            Tag::CopyDone | Tag::CopyFail => {
                self.held_syncs = 0;
                if tag == Tag::CopyDone {
                    // What it writes is in the data: the server keeps none of it before this.
                    let session = self.link.session.clone();
                    session.settle().await?;
                    self.sender.copy_done();
                } else {
                    let reason = frontend::query(frame.get(HEADER..).unwrap_or_default());
                    let mut fails = BytesMut::new();
                    encode::copy_fail(&mut fails, reason.unwrap_or_default());
                    let fails = fails.freeze();
                    let session = self.link.session.clone();
                    session.record(seq, Way::ToUpstream, fails.clone()).await?;
                    self.sender.copy_fail(&fails);
                }
                let simple = {
                    let mut flow = self.link.flow.lock();
                    flow.sent_copy_end();
                    !flow.is_open_batch()
                };
                if simple {
                    // The text may hold another COPY.
                    self.wait_for_copy().await?;
                }
            }
            // "Ignore Flush/Sync for the convenience of client libraries" (copyfromparse.c).
            Tag::Flush => {}
            Tag::Sync => {
                self.held_syncs += 1;
                if self.held_syncs > self.link.limits.max_in_flight {
                    return Err(violation("too many Sync messages during COPY from stdin"));
                }
            }
            Tag::Terminate => {
                self.sender.terminate();
                self.flush().await?;
                return Err(End(EndReason::ClientClosed));
            }
            // The server fails the COPY, unless it has failed before, and then it may well understand
            // the message. Failing it here gives one answer in both cases.
            _ => {
                let reason = b"unexpected message type during COPY from stdin";
                let mut fails = BytesMut::new();
                encode::copy_fail(&mut fails, reason);
                self.sender.copy_fail(&fails);
                self.link.flow.lock().sent_copy_end();
                self.release_syncs();
                self.wait_until(|flow| flow.is_drained()).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The server has given up the COPY, and reads the Syncs behind it.
    fn release_syncs(&mut self) {
        if self.held_syncs == 0 || self.copy_in() != CopyIn::None {
            return;
        }
        for _ in 0..std::mem::take(&mut self.held_syncs) {
            self.judge.synced();
            self.sender.sync();
            self.link.flow.lock().sent_sync();
        }
    }
}

/// Has the server all that it needs to answer without another message?
fn ends_batch(tag: Tag) -> bool {
    matches!(tag, Tag::Query | Tag::FunctionCall | Tag::Sync)
}

pub(super) fn copies_in(judged: &Judged) -> bool {
    let analysis = &judged.analysis;
    let mut statements = analysis.statements.iter();
    analysis.anything || statements.any(|s| matches!(s.copy(), Some(CopyKind::In)))
}
