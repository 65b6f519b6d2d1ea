//! From the client to the upstream: what may pass, in the order in which it came.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pipeline::{Direction as Way, EndReason, OutcomeKind, Permitted};
use tokio::io::{AsyncReadExt, ReadHalf};

use super::judge::{Judge, forgets, request};
use super::{Direction, End, Link, UpstreamSender, violation};
use crate::analysis::{CopyFormat, CopyKind};
use crate::refusal::Refused;
use crate::statements::{
    Columns, CopyIn, Described, Judged, Lookup, Portal, Prepared, Run,
};
use crate::upstream::{OWN_PREFIX, Planned, Sender, Statement, Stream};
use crate::wire::backend::TxStatus;
use crate::wire::frontend::{self, FrameLimits, Object, Tag};
use crate::wire::{FrameError, HEADER, encode};

/// What is read at once.
const READ: usize = 16 << 10;
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
        self.buf.reserve(READ);
        // An error is the end as well: there is nobody to answer.
        if matches!(self.io.read_buf(&mut self.buf).await, Ok(0) | Err(_)) {
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
}

impl FromClient {
    pub fn new(
        link: Arc<Link>,
        reader: ClientReader,
        sender: UpstreamSender,
        judge: Judge,
    ) -> Self {
        Self {
            link,
            reader,
            sender,
            judge,
        }
    }

    pub async fn run(mut self) -> Direction {
        let limits = FrameLimits {
            text: self.link.limits.max_query,
            data: self.link.limits.max_data,
        };
        loop {
            match self.reader.buffered(limits).map_err(violation)? {
                Some((tag, frame)) => {
                    self.message(tag, frame).await?;
                    if self.sender.pending() >= MAX_UNSENT {
                        self.sender.flush().await?;
                    }
                }
                None if self.reader.eof => return Err(End(EndReason::ClientClosed)),
                None => {
                    self.sender.flush().await?;
                    self.idle().await?;
                }
            }
        }
    }

    /// Waits for the client, or for the moment to end when the process shuts down.
    async fn idle(&mut self) -> Result<(), End> {
        let link = self.link.clone();
        loop {
            let progress = link.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            let ending = link.shutdown.is_cancelled();
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
                () = progress, if ending => {}
            }
        }
    }

    async fn message(&mut self, tag: Tag, frame: Bytes) -> Result<(), End> {
        if let CopyIn::Active { seq } = self.copy_in() {
            return self.during_copy(tag, frame, seq).await;
        }
        if tag == Tag::Sync {
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
            Tag::FunctionCall => {
                let text = "the function call protocol is not permitted through Weir";
                let refused = Refused::new("42501", text)
                    .hint("Large objects can be used through SQL functions, where policy permits.");
                self.refuse_query(refused).await
            }
            // What is left of a COPY that has failed; the server ignores it, too.
            Tag::CopyData | Tag::CopyDone | Tag::CopyFail => Ok(()),
            Tag::Sync | Tag::Terminate => Ok(()),
        }
    }

    fn copy_in(&self) -> CopyIn {
        self.link.flow.lock().copy_in()
    }

    fn skipping(&self) -> bool {
        self.link.flow.lock().is_skipping()
    }

    /// The client is done. What it has sent before still runs to its end, as without Weir.
    async fn terminate(&mut self) -> Result<(), End> {
        self.wait_until(|flow| flow.is_drained()).await?;
        self.sender.terminate();
        self.sender.flush().await?;
        Err(End(EndReason::ClientClosed))
    }

    // ---- simple queries ----

    async fn query(&mut self, frame: Bytes) -> Result<(), End> {
        let sql = match frontend::query(frame.get(HEADER..).unwrap_or_default()) {
            Ok(sql) => frame.slice_ref(sql),
            Err(e) => return self.refuse_query(Refused::malformed(e)).await,
        };
        let judged = match self.judge_text(&sql).await? {
            Ok(judged) => Arc::new(judged),
            Err(refused) => return self.refuse_query(refused).await,
        };
        let mut canonical = b"query\0".to_vec();
        canonical.extend_from_slice(&sql);
        let asked = request(&judged, canonical, Vec::new(), Statement::Query(frame));
        let permitted = match self.decide(asked).await? {
            Ok(permitted) => permitted,
            Err(refusal) => {
                let refused = Refused::by_policy(&refusal, &self.link.session.info().id_text);
                return self.refuse_query(refused).await;
            }
        };
        let copy_masks = match self.copy_masks(&judged, &permitted).await {
            Ok(masks) => masks,
            Err(refused) => {
                self.withdraw(permitted, &refused.sqlstate).await?;
                return self.refuse_query(refused).await;
            }
        };
        if self.skipping() {
            return self.withdraw(permitted, "skipped").await;
        }
        self.judge.forwarded(&judged.analysis);
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
    async fn refuse_query(&mut self, refused: Refused) -> Result<(), End> {
        let here = {
            let flow = self.link.flow.lock();
            flow.is_quiescent() && flow.tx() == TxStatus::Idle
        };
        if here {
            let mut out = BytesMut::new();
            refused.encode("ERROR", &mut out);
            encode::ready(&mut out, TxStatus::Idle);
            // The other direction is gone only when the session ends.
            let _ = self.link.inject.send(out.freeze()).await;
            return Ok(());
        }
        if self.skipping() {
            return Ok(());
        }
        self.sender.refused_query();
        let forgets = crate::statements::Forgets::default();
        self.link
            .flow
            .lock()
            .sent_query(Run::refused(refused), &forgets);
        Ok(())
    }

    /// A permitted statement that is not sent after all.
    async fn withdraw(&mut self, permitted: Permitted<Statement>, why: &str) -> Result<(), End> {
        let receipt = Sender::withdraw(permitted);
        self.link
            .session
            .outcome(receipt, OutcomeKind::Failed, why, 0, 0)
            .await?;
        Ok(())
    }

    // ---- COPY ----

    /// Masks for the statement's COPY … TO STDOUT, or why it cannot be let through.
    async fn copy_masks(
        &mut self,
        judged: &Judged,
        permitted: &Permitted<Statement>,
    ) -> Result<Vec<Option<Arc<super::ActiveMask>>>, Refused> {
        let obligations = permitted.receipt().obligations();
        let mut masks = Vec::new();
        for shape in &judged.analysis.statements {
            let Some(CopyKind::Out {
                format,
                default_options,
                fields,
            }) = shape.copy()
            else {
                masks.push(None);
                continue;
            };
            let refused = || {
                Refused::new("42501", "the result of this COPY has values that must be masked")
                    .hint("Use SELECT, or COPY with default options in text format.")
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
            } else if *format == CopyFormat::Text && *default_options {
                masks.push(Some(Arc::new(mask)));
            } else {
                return Err(refused());
            }
        }
        Ok(masks)
    }

    /// Until the server reads data, or has answered otherwise: only then is it known what Sync and
    /// CopyData mean to it.
    async fn wait_for_copy(&mut self) -> Result<(), End> {
        self.wait_until(|flow| flow.copy_in() != CopyIn::None || flow.is_drained())
            .await
    }

    async fn during_copy(&mut self, tag: Tag, frame: Bytes, seq: u64) -> Result<(), End> {
        match tag {
            Tag::CopyData => {
                let session = self.link.session.clone();
                session.record(seq, Way::ToUpstream, frame.clone()).await?;
                // The COPY may have failed meanwhile; then nobody reads this any more.
                if self.copy_in() != CopyIn::None {
                    self.sender.copy_data(&frame);
                }
                Ok(())
            }
            Tag::CopyDone | Tag::CopyFail => {
                if tag == Tag::CopyDone {
                    self.sender.copy_done();
                } else {
                    let reason = frontend::query(frame.get(HEADER..).unwrap_or_default());
                    self.sender.copy_fail(reason.unwrap_or_default());
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
                Ok(())
            }
            // "Ignore Flush/Sync for the convenience of client libraries" (copyfromparse.c).
            Tag::Flush | Tag::Sync => Ok(()),
            Tag::Terminate => {
                self.sender.terminate();
                self.sender.flush().await?;
                Err(End(EndReason::ClientClosed))
            }
            _ => Err(violation("unexpected message type during COPY from stdin")),
        }
    }

    // ---- extended protocol ----

    async fn parse(&mut self, frame: Bytes) -> Result<(), End> {
        let p = match frontend::parse(frame.get(HEADER..).unwrap_or_default()) {
            Ok(p) => p,
            Err(e) => return self.refuse_parse(Bytes::new(), Refused::malformed(e)),
        };
        let name = frame.slice_ref(p.name);
        let sql = frame.slice_ref(p.sql);
        let types = frame.slice_ref(p.types);
        if let Err(refused) = self.name_is_free(&name, true) {
            return self.refuse_parse(name, refused);
        }
        let judged = match self.judge_plan(&sql).await? {
            Ok(judged) => Arc::new(judged),
            Err(refused) => return self.refuse_parse(name, refused),
        };
        if !judged.may_be_planned() {
            let refused = self.record_refusal(&judged, &sql).await?;
            return self.refuse_parse(name, refused);
        }
        if self.skipping() {
            return Ok(());
        }
        let Some(planned) = Planned::new(&frame, &judged) else {
            return Ok(());
        };
        self.sender.plan(planned);
        self.judge.parsed(&name, &judged.analysis);
        let prepared = Arc::new(Prepared::new(sql, types, judged));
        self.link.flow.lock().sent_parse(name, prepared);
        Ok(())
    }

    fn refuse_parse(&mut self, name: Bytes, refused: Refused) -> Result<(), End> {
        if !self.skipping() {
            self.sender.refused_parse(&name);
            self.link.flow.lock().sent_refused_parse(name, refused);
        }
        Ok(())
    }

    fn refuse_bind(&mut self, refused: Refused) -> Result<(), End> {
        if !self.skipping() {
            self.sender.refused_bind();
            self.link.flow.lock().sent_refused_bind(refused);
        }
        Ok(())
    }

    fn refuse_execute(&mut self, refused: Refused) -> Result<(), End> {
        if !self.skipping() {
            self.sender.refused_execute();
            let forgets = crate::statements::Forgets::default();
            self.link
                .flow
                .lock()
                .sent_execute(Run::refused(refused), &forgets);
        }
        Ok(())
    }

    /// Puts on record that a text was refused before it was planned.
    async fn record_refusal(&mut self, judged: &Judged, sql: &[u8]) -> Result<Refused, End> {
        let mut canonical = b"parse\0".to_vec();
        canonical.extend_from_slice(sql);
        let asked = request(judged, canonical, Vec::new(), Statement::Nothing);
        match self.decide(asked).await? {
            Err(refusal) => Ok(Refused::by_policy(
                &refusal,
                &self.link.session.info().id_text,
            )),
            // It cannot be permitted: its policy only refuses.
            Ok(permitted) => {
                self.withdraw(permitted, "refused").await?;
                Ok(Refused::new("42501", "refused"))
            }
        }
    }

    fn name_is_free(&self, name: &[u8], statement: bool) -> Result<(), Refused> {
        if name.starts_with(OWN_PREFIX) {
            return Err(Refused::new("42602", "names with this prefix belong to Weir"));
        }
        let limit = self.link.limits.max_names;
        let flow = self.link.flow.lock();
        let used = if statement {
            flow.statements.len()
        } else {
            flow.portals.len()
        };
        if !name.is_empty() && used >= limit {
            let text = format!("a session may have {limit} prepared statements or portals");
            return Err(Refused::new("54000", text));
        }
        Ok(())
    }

    async fn statement(&mut self, name: &[u8]) -> Result<Option<Arc<Prepared>>, End> {
        loop {
            let found = {
                let flow = self.link.flow.lock();
                flow.statements.lookup(name, flow.batch())
            };
            match found {
                Lookup::Known(prepared) => return Ok(Some(prepared)),
                Lookup::Absent => return Ok(None),
                Lookup::Unsettled => {
                    self.wait_until(|flow| {
                        !matches!(flow.statements.lookup(name, flow.batch()), Lookup::Unsettled)
                    })
                    .await?;
                }
            }
        }
    }

    async fn portal(&mut self, name: &[u8]) -> Result<Option<Arc<Portal>>, End> {
        loop {
            let found = {
                let flow = self.link.flow.lock();
                flow.portals.lookup(name, flow.batch())
            };
            match found {
                Lookup::Known(portal) => return Ok(Some(portal)),
                Lookup::Absent => return Ok(None),
                Lookup::Unsettled => {
                    self.wait_until(|flow| {
                        !matches!(flow.portals.lookup(name, flow.batch()), Lookup::Unsettled)
                    })
                    .await?;
                }
            }
        }
    }

    async fn bind(&mut self, body: Bytes) -> Result<(), End> {
        let b = match frontend::bind(&body) {
            Ok(b) => b,
            Err(e) => return self.refuse_bind(Refused::malformed(e)),
        };
        if let Err(refused) = self.name_is_free(b.portal, false) {
            return self.refuse_bind(refused);
        }
        let Some(prepared) = self.statement(b.statement).await? else {
            let name = String::from_utf8_lossy(b.statement);
            let text = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            return self.refuse_bind(Refused::new("26000", text));
        };
        let judged = match self.current(&prepared).await? {
            Ok(judged) => judged,
            Err(refused) => return self.refuse_bind(refused),
        };
        if self.skipping() {
            return Ok(());
        }
        self.sender.bind(b.portal, b.statement, b.rest);
        self.judge.bound(b.portal, &judged.analysis);
        let name = Bytes::copy_from_slice(b.portal);
        let portal = Arc::new(Portal::new(prepared, judged, &b));
        self.link.flow.lock().sent_bind(name, portal);
        Ok(())
    }

    /// The verdict on a prepared text as the server understands it now: it plans again when names
    /// have changed their meaning.
    async fn current(
        &mut self,
        prepared: &Arc<Prepared>,
    ) -> Result<Result<Arc<Judged>, Refused>, End> {
        let judged = prepared.judged.lock().clone();
        let policy = self.link.session.pin();
        if judged.is_current(&*policy, self.judge.snapshot(), self.judge.epoch()) {
            return Ok(Ok(judged));
        }
        let sql = prepared.sql.clone();
        let judged = match self.judge_plan(&sql).await? {
            Ok(judged) => Arc::new(judged),
            Err(refused) => return Ok(Err(refused)),
        };
        if !judged.may_be_planned() {
            return Ok(Err(self.record_refusal(&judged, &sql).await?));
        }
        *prepared.judged.lock() = judged.clone();
        // Its columns may come from elsewhere now.
        *prepared.columns.lock() = Columns::Unknown;
        Ok(Ok(judged))
    }

    async fn describe(&mut self, body: Bytes) -> Result<(), End> {
        let object = match frontend::object(&body) {
            Ok(object) => object,
            Err(e) => return self.refuse_bind(Refused::malformed(e)),
        };
        let (kind, name, what) = match object {
            Object::Statement(name) => {
                let what = match self.statement(name).await? {
                    Some(prepared) => Described::Statement(prepared),
                    None => Described::Unknown,
                };
                (b'S', name, what)
            }
            Object::Portal(name) => {
                let what = match self.portal(name).await? {
                    Some(portal) => Described::Portal(portal),
                    None => Described::Unknown,
                };
                (b'P', name, what)
            }
        };
        if !self.skipping() {
            self.sender.describe(kind, name);
            self.link.flow.lock().sent_describe(what, false);
        }
        Ok(())
    }

    fn close(&mut self, body: Bytes) -> Result<(), End> {
        match frontend::object(&body) {
            Ok(Object::Statement(name)) => {
                self.sender.close(b'S', name);
                let name = Some(body.slice_ref(name));
                self.link.flow.lock().sent_close(name, None);
            }
            Ok(Object::Portal(name)) => {
                self.sender.close(b'P', name);
                let name = Some(body.slice_ref(name));
                self.link.flow.lock().sent_close(None, name);
            }
            Err(e) => return self.refuse_bind(Refused::malformed(e)),
        }
        Ok(())
    }

    async fn execute(&mut self, body: Bytes) -> Result<(), End> {
        let e = match frontend::execute(&body) {
            Ok(e) => e,
            Err(e) => return self.refuse_execute(Refused::malformed(e)),
        };
        let Some(portal) = self.portal(e.portal).await? else {
            let name = String::from_utf8_lossy(e.portal);
            let text = format!("portal \"{name}\" does not exist");
            return self.refuse_execute(Refused::new("34000", text));
        };
        let judged = match self.at_execution(&portal).await? {
            Ok(judged) => judged,
            Err(refused) => return self.refuse_execute(refused),
        };
        let statement = Statement::Execute {
            portal: body.slice_ref(e.portal),
            max_rows: e.max_rows,
            describe: matches!(portal.known_columns(), Columns::Unknown),
        };
        let asked = request(
            &judged,
            portal.canonical.clone(),
            portal.params.clone(),
            statement,
        );
        let permitted = match self.decide(asked).await? {
            Ok(permitted) => permitted,
            Err(refusal) => {
                let refused = Refused::by_policy(&refusal, &self.link.session.info().id_text);
                return self.refuse_execute(refused);
            }
        };
        let copy_masks = match self.copy_masks(&judged, &permitted).await {
            Ok(masks) => masks,
            Err(refused) => {
                self.withdraw(permitted, &refused.sqlstate).await?;
                return self.refuse_execute(refused);
            }
        };
        if self.skipping() {
            return self.withdraw(permitted, "skipped").await;
        }
        self.judge.forwarded(&judged.analysis);
        let forgets = forgets(&judged.analysis);
        let copies_in = copies_in(&judged);
        let describes = matches!(
            permitted.get(),
            Statement::Execute { describe: true, .. }
        );
        let receipt = self.sender.send(permitted);
        let mut run = Run::permitted(receipt, judged, Some(portal.clone()));
        run.copy_masks = copy_masks;
        {
            let mut flow = self.link.flow.lock();
            if describes {
                flow.sent_describe(Described::Portal(portal), true);
            }
            flow.sent_execute(run, &forgets);
        }
        if copies_in {
            self.wait_for_copy().await?;
        }
        Ok(())
    }

    /// What a bound portal does is what it meant when it was bound; only policy may be newer.
    async fn at_execution(
        &mut self,
        portal: &Arc<Portal>,
    ) -> Result<Result<Arc<Judged>, Refused>, End> {
        let judged = portal.judged.clone();
        let policy = self.link.session.pin();
        if judged.policy.bundle().digest == policy.bundle().digest {
            return Ok(Ok(judged));
        }
        if judged.epoch != self.judge.epoch() {
            let text = "policy and the meaning of names have changed since this portal was bound";
            return Ok(Err(Refused::new("42501", text).hint("Bind it again.")));
        }
        let sql = portal.prepared.sql.clone();
        Ok(self.judge_text(&sql).await?.map(Arc::new))
    }
}

fn copies_in(judged: &Judged) -> bool {
    judged
        .analysis
        .statements
        .iter()
        .any(|s| matches!(s.copy(), Some(CopyKind::In)))
}
