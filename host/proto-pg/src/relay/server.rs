//! From the upstream to the client: every message explained, masked, recorded, delivered.

use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use pipeline::EndReason;
use tokio::io::{AsyncReadExt, ReadHalf};
use tokio::sync::mpsc;

use super::deliver::Mark;
use super::large::{Begun, Large, STREAMED};
use super::rows::{self, Kind, Masking};
use super::{ClientWriter, Direction, End, Link, scratch, violation};
use crate::analysis::Field;
use crate::statements::{Columns, Effect, Run, Violation};
use crate::upstream::Stream;
use crate::wire::backend;
use crate::wire::{HEADER, encode, header};

/// What is read at once: little for an idle session, more under load.
const READ_MIN: usize = 8 << 10;
const READ_MAX: usize = 64 << 10;
/// What is delivered at once.
const MAX_UNSENT: usize = 64 << 10;
/// A row that may pass unseen and is larger than this is passed on in pieces.
const WHOLE: usize = 64 << 10;

/// The rows of the head of the queue.
pub(super) enum Current {
    /// To be forwarded without a look.
    Pass { tag: u8, seq: Option<u64> },
    Mask {
        tag: u8,
        seq: Option<u64>,
        masking: Box<Masking>,
    },
}

impl Current {
    pub(super) fn tag(&self) -> u8 {
        match self {
            Self::Pass { tag, .. } | Self::Mask { tag, .. } => *tag,
        }
    }
}

/// One direction of a session.
pub(crate) struct ToClient {
    pub(super) link: Arc<Link>,
    io: ReadHalf<Box<dyn Stream>>,
    pub(super) buf: BytesMut,
    read: usize,
    injected: mpsc::Receiver<Bytes>,
    pub(super) out: BytesMut,
    pub(super) marks: Vec<Mark>,
    pub(super) current: Option<Current>,
    /// Bytes of a row in pieces that are still to come, and whose they are.
    pieces: usize,
    pieces_of: Option<u64>,
    /// A row that is looked at while it passes.
    pub(super) large: Option<Large>,
    /// Of the action at the head.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// Whose they are.
    pub(super) last: Option<u64>,
    /// Rows before a COPY began.
    pub(super) before_copy: Option<u64>,
    pub(super) told: bool,
}

impl ToClient {
    pub fn new(
        link: Arc<Link>,
        io: ReadHalf<Box<dyn Stream>>,
        buf: BytesMut,
        injected: mpsc::Receiver<Bytes>,
    ) -> Self {
        Self {
            link,
            io,
            buf,
            read: READ_MIN,
            injected,
            out: BytesMut::new(),
            marks: Vec::new(),
            current: None,
            pieces: 0,
            pieces_of: None,
            large: None,
            rows: 0,
            bytes: 0,
            last: None,
            before_copy: None,
            told: false,
        }
    }

    pub async fn run(mut self, writer: &mut ClientWriter) -> Direction {
        let link = self.link.clone();
        loop {
            while self.step().await? {
                if self.out.len() >= MAX_UNSENT {
                    self.deliver(writer).await?;
                }
            }
            let idle = self.current.is_none() && self.buf.is_empty();
            if idle {
                // What there was room for once is not held while nothing comes.
                self.buf = BytesMut::new();
            } else {
                self.buf.reserve(self.read);
            }
            if self.current.is_some() && self.more_is_there().await? {
                continue;
            }
            self.flush_masking().await?;
            self.answers();
            self.deliver(writer).await?;
            tokio::select! {
                biased;
                n = read(&mut self.io, &mut self.buf, idle) => self.has_read(n)?,
                Some(message) = self.injected.recv(), if !self.is_mid_frame() => {
                    self.out.extend_from_slice(&message);
                }
                () = link.local.notified() => {}
            }
        }
    }

    /// Rows come in small pieces: what is there already is taken before any of them is sent on.
    async fn more_is_there(&mut self) -> Result<bool, End> {
        let read = self.io.read_buf(&mut self.buf);
        tokio::pin!(read);
        let n = std::future::poll_fn(|cx| {
            Poll::Ready(match read.as_mut().poll(cx) {
                Poll::Ready(n) => Some(n),
                Poll::Pending => None,
            })
        })
        .await;
        match n {
            // The end waits until what came before it is delivered; it is read again then.
            None | Some(Ok(0) | Err(_)) => Ok(false),
            Some(n) => self.has_read(n).map(|()| true),
        }
    }

    fn has_read(&mut self, n: std::io::Result<usize>) -> Result<(), End> {
        match n {
            Ok(0) => Err(End(EndReason::UpstreamClosed)),
            Ok(n) => {
                if n >= self.read {
                    self.read = READ_MAX;
                }
                Ok(())
            }
            Err(e) => {
                tracing::info!(error = %e, "the connection to the target failed");
                Err(End(EndReason::UpstreamClosed))
            }
        }
    }

    pub(super) fn is_mid_frame(&self) -> bool {
        self.pieces > 0 || self.large.is_some()
    }

    /// Answers of our own whose turn it is: nothing that the server has still to say comes first.
    pub(super) fn answers(&mut self) {
        let mut any = false;
        while let Some(answer) = {
            let mut flow = self.link.flow.lock();
            flow.take_local()
        } {
            self.out.extend_from_slice(&answer);
            any = true;
        }
        if any {
            self.link.progress.notify_waiters();
        }
    }

    /// Takes the next message, or a run of rows, out of the buffer. False: more must be read.
    async fn step(&mut self) -> Result<bool, End> {
        if self.pieces > 0 {
            return Ok(self.piece());
        }
        if self.large.is_some() {
            return self.large_step();
        }
        let Some(h) = header(&self.buf).map_err(violation)? else {
            return Ok(false);
        };
        if let Some(Current::Pass { tag, seq }) = self.current
            && tag == h.tag
        {
            return Ok(self.pass_rows(tag, seq));
        }
        match self.begin_large(h).await? {
            Begun::Yes => return Ok(true),
            Begun::Read => return Ok(false),
            Begun::No => {}
        }
        let limit = self.link.limits.max_reply;
        if h.len > limit {
            return Err(violation(format_args!(
                "a message of the target has {} bytes; at most {limit} can be looked at",
                h.len
            )));
        }
        if self.current.as_ref().is_some_and(|c| c.tag() == h.tag) && self.buf.len() >= h.len {
            let run = self.whole_rows(h.tag);
            self.mask_rows(run).await?;
            return Ok(true);
        }
        if self.buf.len() < h.len {
            // Room for all of it at once.
            self.buf.reserve(h.len - self.buf.len());
            return Ok(false);
        }
        let frame = self.buf.split_to(h.len).freeze();
        self.message(frame).await?;
        Ok(true)
    }

    // ---- rows ----

    /// The longest run of rows that is here, by their headers alone.
    fn pass_rows(&mut self, tag: u8, seq: Option<u64>) -> bool {
        let mut end = 0;
        while let Some(rest) = self.buf.get(end..)
            && let Ok(Some(h)) = header(rest)
            && h.tag == tag
        {
            if h.len <= rest.len() {
                end += h.len;
                self.rows += 1;
            } else if h.len > WHOLE {
                self.rows += 1;
                self.pieces = h.len - rest.len();
                self.pieces_of = seq;
                end = self.buf.len();
                break;
            } else {
                break;
            }
            if self.out.len() + end >= MAX_UNSENT {
                break;
            }
        }
        if end == 0 {
            return false;
        }
        let run = self.buf.split_to(end);
        self.emit(seq, &run);
        true
    }

    fn piece(&mut self) -> bool {
        let n = self.pieces.min(self.buf.len());
        if n == 0 {
            return false;
        }
        let piece = self.buf.split_to(n);
        self.pieces -= n;
        self.emit(self.pieces_of, &piece);
        true
    }

    /// The longest run of whole rows that is here, at most about what is delivered at once.
    fn whole_rows(&mut self, tag: u8) -> Bytes {
        let limit = self.link.limits.max_reply;
        let mut end = 0;
        while let Some(rest) = self.buf.get(end..)
            && let Ok(Some(h)) = header(rest)
            && h.tag == tag
            && h.len <= rest.len().min(limit)
            && (end == 0 || h.len <= STREAMED)
        {
            end += h.len;
            if end >= MAX_UNSENT {
                break;
            }
        }
        self.buf.split_to(end).freeze()
    }

    async fn mask_rows(&mut self, run: Bytes) -> Result<(), End> {
        let Some(Current::Mask { seq, masking, .. }) = &mut self.current else {
            return Err(violation(Violation::RowsWithoutColumns));
        };
        let seq = *seq;
        let from = self.out.len();
        let rows = masking.run(run, &mut self.out).map_err(unmaskable)?;
        let full = masking.is_full();
        self.rows += rows as u64;
        self.mark(seq, from);
        if full {
            self.flush_masking().await?;
        }
        Ok(())
    }

    /// Rows that waited for their batch go out.
    pub(super) async fn flush_masking(&mut self) -> Result<(), End> {
        let Some(Current::Mask { seq, masking, .. }) = &mut self.current else {
            return Ok(());
        };
        if !masking.is_waiting() {
            return Ok(());
        }
        let seq = *seq;
        let from = self.out.len();
        Box::pin(masking.flush(&self.link, &mut self.out))
            .await
            .map_err(unmaskable)?;
        self.mark(seq, from);
        Ok(())
    }

    // ---- everything else ----

    async fn message(&mut self, frame: Bytes) -> Result<(), End> {
        self.flush_masking().await?;
        self.answers();
        let tag = frame.first().copied().unwrap_or(0);
        let body = frame.slice(HEADER..);
        let mut done = Vec::new();
        let (effect, changed) = {
            let mut flow = self.link.flow.lock();
            let effect = flow.reply(&frame, &mut done).map_err(violation)?;
            (effect, flow.take_catalog_changed())
        };
        if changed {
            self.link.catalog.changed();
        }
        // Neither notices nor parameters end a result.
        if !matches!(tag, b'N' | b'A' | b'S') {
            self.current = None;
        }
        match tag {
            b'C' => self.copied(&body),
            b'E' => self.before_copy = None,
            _ => {}
        }
        match effect {
            Effect::Swallow => {}
            Effect::Notified(seq) => {
                let told = self.link.notification(&body)?;
                self.apart(|to_client| {
                    to_client.emit(Some(seq), &told);
                    Ok(())
                })?;
            }
            Effect::Pass(seq) => {
                if tag == b'S' {
                    self.check_pinned(&body)?;
                }
                self.emit(seq, &frame);
            }
            Effect::Report { seq, manner } => self.report(tag, &body, seq, manner)?,
            Effect::Late { seq, manner } => {
                self.apart(|to_client| to_client.report(tag, &body, Some(seq), manner))?;
            }
            Effect::Rows => self.described(frame).await?,
            Effect::CopyOut => self.copy_out(frame)?,
            Effect::Data => {
                self.current = Some(self.portal_rows().await?);
                match &self.current {
                    Some(Current::Pass { seq, .. }) => {
                        let seq = *seq;
                        self.rows += 1;
                        self.emit(seq, &frame);
                    }
                    _ => self.mask_rows(frame).await?,
                }
            }
        }
        if !done.is_empty() || matches!(tag, b'Z' | b'E') {
            for d in done.iter_mut().filter(|d| d.ran) {
                d.rows = std::mem::take(&mut self.rows);
                d.bytes = std::mem::take(&mut self.bytes);
            }
            let settled = self.link.flow.lock().settled(done);
            let settled = settled.into_iter().map(|d| Mark::Done(Box::new(d)));
            self.marks.extend(settled);
        }
        self.link.progress.notify_waiters();
        Ok(())
    }

    /// A simple query's result begins.
    async fn described(&mut self, frame: Bytes) -> Result<(), End> {
        let body = frame.slice(HEADER..);
        let fields = backend::row_description(&body).map_err(violation)?;
        let (judged, next, obligations, seq) = self.head(|run| {
            let judged = run.judged.clone()?;
            Some((judged, run.next, run.obligations()?.clone(), run.seq()))
        })?;
        let shape = judged.analysis.statements.get(next);
        let build = rows::build(&self.link, &judged, shape, &fields, &obligations);
        let mask = Box::pin(build).await;
        self.current = Some(current(b'D', seq, Arc::new(mask), Kind::Rows));
        self.emit(seq, &frame);
        Ok(())
    }

    fn copy_out(&mut self, frame: Bytes) -> Result<(), End> {
        let mut flow = self.link.flow.lock();
        let Some(run) = flow.head_run() else {
            return Ok(());
        };
        let seq = run.seq();
        if run.judged.as_ref().is_some_and(|j| j.is_doubtful()) {
            // Its lines have no description to go by.
            return Err(violation("the catalogue changed under a COPY"));
        }
        let mask = run.copy_masks.get(run.next).cloned().flatten();
        let (style, width) = run.copy_out_style();
        drop(flow);
        let (binary, columns) =
            backend::copy_out(frame.get(HEADER..).unwrap_or_default()).map_err(violation)?;
        // All that the server says of it is how many columns there are.
        let strange = width.is_some_and(|width| width != columns)
            || (style.as_ref()).is_some_and(|style| style.is_binary() != binary);
        if strange {
            return Err(violation("a COPY has other columns than were understood"));
        }
        self.current = Some(match (mask, style) {
            (None, _) => Current::Pass { tag: b'd', seq },
            (Some(mask), Some(style)) => current(b'd', seq, mask, Kind::Copy(style)),
            (Some(_), None) => return Err(violation("a COPY that cannot be masked")),
        });
        self.before_copy = Some(self.rows);
        self.emit(seq, &frame);
        Ok(())
    }

    /// The first row of an Execute: what its columns are was asked before.
    pub(super) async fn portal_rows(&mut self) -> Result<Current, End> {
        let (portal, judged, obligations, seq) = self.head(|run| {
            let judged = run.judged.clone()?;
            Some((
                run.portal.clone(),
                judged,
                run.obligations()?.clone(),
                run.seq(),
            ))
        })?;
        let known = portal.as_ref().map(|p| p.known_columns());
        let (Some(portal), Some(Columns::Fields(fields))) = (portal, known) else {
            return Err(violation(Violation::RowsWithoutColumns));
        };
        let fields: Arc<[Field]> = fields;
        if let Some(seq) = seq
            && fields.iter().any(|f| f.format != 0)
        {
            let mut described = BytesMut::new();
            encode::row_description(&mut described, &fields);
            self.marks.push(Mark::Known(seq, described.freeze()));
        }
        let mask = rows::for_portal(&self.link, &portal, &judged, &fields, &obligations).await;
        Ok(current(b'D', seq, mask, Kind::Rows))
    }

    fn head<T>(&self, f: impl FnOnce(&mut Run) -> Option<T>) -> Result<T, End> {
        self.link
            .flow
            .lock()
            .head_run()
            .and_then(f)
            .ok_or_else(|| violation(Violation::RowsWithoutColumns))
    }

    /// Settings that were pinned at the start: under other values the server reads texts differently
    /// from us.
    fn check_pinned(&self, body: &[u8]) -> Result<(), End> {
        let (name, value) = backend::parameter(body).map_err(violation)?;
        let Some(setting) = self.link.reads.reported(name, value) else {
            return Ok(());
        };
        if self.link.indifferent(&*self.link.session.pin()) {
            return Ok(());
        }
        Err(violation(format_args!("{setting} must stay as it was")))
    }
}

/// Into the room that there is, or, where nothing may come for long, into somebody else's.
async fn read(
    io: &mut ReadHalf<Box<dyn Stream>>,
    buf: &mut BytesMut,
    idle: bool,
) -> std::io::Result<usize> {
    if idle {
        scratch::read(io, buf).await
    } else {
        io.read_buf(buf).await
    }
}

fn current(tag: u8, seq: Option<u64>, mask: Arc<super::ActiveMask>, kind: Kind) -> Current {
    if mask.is_pass() {
        Current::Pass { tag, seq }
    } else {
        Current::Mask {
            tag,
            seq,
            masking: Box::new(Masking::new(mask, kind)),
        }
    }
}

fn unmaskable(error: crate::mask::MaskError) -> End {
    tracing::error!(%error, "a row cannot be masked");
    violation("a row of the target cannot be masked")
}
