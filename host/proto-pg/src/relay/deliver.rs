//! What goes to the client: reports in the words that it may read, everything recorded before it is
//! delivered, and outcomes at their place.

use std::ops::Range;

use bytes::Bytes;
use pipeline::{Direction as Way, EndReason};

use super::server::ToClient;
use super::{ClientWriter, End, violation};
use crate::statements::{Done, Manner};
use crate::wire::{backend, encode};

/// What stands for text that may hold masked values.
const REDACTED: &[u8] = b"the message is withheld: it may contain masked values";

/// What must happen before the bytes collected so far may be delivered, in order.
pub(super) enum Mark {
    Record(u64, Range<usize>),
    /// What the client knows from earlier, and whoever reads the record must know to read what follows.
    Known(u64, Bytes),
    Done(Box<Done>),
}

impl ToClient {
    pub(super) fn report(
        &mut self,
        tag: u8,
        body: &[u8],
        seq: Option<u64>,
        manner: Manner,
    ) -> Result<(), End> {
        let report = backend::report(body).map_err(violation)?;
        self.told |= tag == b'E' && report.is_fatal();
        let from = self.out.len();
        match manner {
            Manner::AsIs => encode::report_fields(&mut self.out, tag, &report.fields),
            Manner::Instead(refused) => refused.encode("ERROR", &mut self.out),
            Manner::Redacted => {
                let mut kept: Vec<(u8, &[u8])> = Vec::new();
                for (code, text) in &report.fields {
                    match code {
                        // Severity, SQLSTATE, positions in the client's own text, and where in the
                        // server's source it happened.
                        b'S' | b'V' | b'C' | b'P' | b'F' | b'L' | b'R' => kept.push((*code, text)),
                        b'M' => kept.push((b'M', REDACTED)),
                        _ => {}
                    }
                }
                encode::report_fields(&mut self.out, tag, &kept);
            }
        }
        self.mark(seq, from);
        Ok(())
    }

    /// A COPY is complete: not each of its messages was a row, and the server has counted them.
    pub(super) fn copied(&mut self, body: &[u8]) {
        if let Some(before) = self.before_copy.take()
            && let Ok(tag) = backend::command(body)
            && let Some(rows) = tag.strip_prefix(b"COPY ")
            && let Some(rows) = std::str::from_utf8(rows).ok().and_then(|n| n.parse().ok())
        {
            self.rows = before.saturating_add(rows);
        }
    }

    /// Emits what an action is recorded with and that is no part of its result.
    pub(super) fn apart(
        &mut self,
        emit: impl FnOnce(&mut Self) -> Result<(), End>,
    ) -> Result<(), End> {
        let (bytes, last) = (self.bytes, self.last);
        emit(self)?;
        (self.bytes, self.last) = (bytes, last);
        Ok(())
    }

    pub(super) fn emit(&mut self, seq: Option<u64>, bytes: &[u8]) {
        let from = self.out.len();
        self.out.extend_from_slice(bytes);
        self.mark(seq, from);
    }

    /// What was added since `from` belongs to action `seq`.
    pub(super) fn mark(&mut self, seq: Option<u64>, from: usize) {
        let to = self.out.len();
        let Some(seq) = seq else {
            return;
        };
        if from == to {
            return;
        }
        self.last = Some(seq);
        self.bytes += (to - from) as u64;
        if let Some(Mark::Record(last, range)) = self.marks.last_mut()
            && *last == seq
            && range.end == from
        {
            range.end = to;
            return;
        }
        self.marks.push(Mark::Record(seq, from..to));
    }

    /// Records, then delivers.
    pub(super) async fn deliver(&mut self, writer: &mut ClientWriter) -> Result<(), End> {
        if self.out.is_empty() && self.marks.is_empty() {
            return Ok(());
        }
        let bytes = self.out.split().freeze();
        let session = &self.link.session;
        for mark in self.marks.drain(..) {
            match mark {
                Mark::Record(seq, range) => {
                    session
                        .record(seq, Way::ToClient, bytes.slice(range))
                        .await?;
                }
                Mark::Known(seq, bytes) => session.record(seq, Way::ToClient, bytes).await?,
                Mark::Done(d) => {
                    let Done {
                        receipt,
                        kind,
                        detail,
                        rows,
                        bytes,
                        ..
                    } = *d;
                    session.outcome(receipt, kind, &detail, rows, bytes).await?;
                }
            }
        }
        if let (Some(seq), true) = (self.last, self.bytes > 0) {
            // Of what is not over: for its outcome, if the session ends first.
            self.link.flow.lock().so_far(seq, self.rows, self.bytes);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let mid_frame = self.is_mid_frame();
        writer.write(&bytes, mid_frame).await.map_err(|e| {
            tracing::debug!(error = %e, "the client is gone");
            End(EndReason::ClientClosed)
        })?;
        writer.told |= self.told;
        Ok(())
    }
}
