//! How actions end, and when that is known.
//!
//! What an Execute has done outside of a transaction block is not done for good when the server says
//! that it is complete: all of a batch is one transaction, which Sync ends, and an error undoes it. So its
//! outcome waits for that.

use std::sync::Arc;

use pipeline::{OutcomeKind, Receipt};

use super::flow::Flow;
use super::{Portal, Run};
use crate::wire::backend::TxStatus;

/// Outcomes of one batch that wait for its end. Those of more say that they are not final.
const MAX_WAITING: usize = 4_096;
/// Portals that were decided on and have not run yet, before those are looked for that never will.
const MAX_BOUND: usize = 1_024;

/// A finished action.
pub(crate) struct Done {
    pub receipt: Receipt,
    pub kind: OutcomeKind,
    pub detail: String,
    /// It had begun: rows and bytes that were counted are its.
    pub ran: bool,
    pub rows: u64,
    pub bytes: u64,
    /// The end of its batch can still undo it.
    open: bool,
}

impl Done {
    pub fn new(mut receipt: Receipt, kind: OutcomeKind, detail: String, ran: bool) -> Self {
        receipt.stop();
        Self {
            receipt,
            kind,
            detail,
            ran,
            rows: 0,
            bytes: 0,
            open: false,
        }
    }

    fn and(mut self, kind: OutcomeKind, more: &str) -> Self {
        self.kind = kind;
        if !self.detail.is_empty() {
            self.detail.push_str("; ");
        }
        self.detail.push_str(more);
        self
    }
}

/// What became of what a batch had done up to a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
enum BatchEnd {
    Kept,
    /// By an error, or ROLLBACK.
    Undone(String),
    /// It is part of a transaction block that a BEGIN in the same batch has opened.
    Joined,
    /// Some of it was committed by what failed then, or none.
    Doubtful(String),
}

/// Of the batch under way.
#[derive(Default)]
pub(super) struct Batch {
    waiting: Vec<Done>,
    end: Option<BatchEnd>,
    /// Something in it ends transactions, or could: what comes then is not followed.
    ends_itself: bool,
    bound: Vec<Arc<Portal>>,
    /// Rows and bytes of an action that is not over.
    so_far: Option<(u64, u64, u64)>,
}

impl Run {
    /// Is it undone by an error that comes later in its batch, for sure?
    fn is_undoable(&self) -> bool {
        use pipeline::SqlKind::{Copy, Delete, Empty, Insert, Merge, Select, Session, Update};
        let kind = |s: &crate::analysis::StatementShape| {
            let plain = matches!(
                s.kind(),
                Empty | Session | Select | Copy | Insert | Update | Merge | Delete
            );
            plain && s.transaction().is_none()
        };
        self.judged.as_ref().is_some_and(|judged| {
            let analysis = &judged.analysis;
            !analysis.anything && analysis.statements.iter().all(kind)
        })
    }
}

impl Flow {
    /// An Execute is complete.
    pub(super) fn executed(&mut self, run: Box<Run>, done: &mut Vec<Done>) {
        if run.is_undoable() {
            let open = self.tx == TxStatus::Idle && !self.batch_state.ends_itself;
            done.extend(run.finish(true).map(|d| Done { open, ..d }));
            return;
        }
        let end = match run.tags.as_str() {
            "ROLLBACK" => BatchEnd::Undone("ROLLBACK".to_owned()),
            "BEGIN" | "START TRANSACTION" => BatchEnd::Joined,
            _ => BatchEnd::Kept,
        };
        self.batch_state.end = Some(end);
        self.batch_state.ends_itself = true;
        done.extend(run.finish(true));
    }

    /// The batch has failed, by `run` if that was one.
    pub(super) fn batch_failed(&mut self, run: Option<&Run>, sqlstate: &str) {
        let doubtful = run.is_some_and(|run| !run.is_undoable());
        self.batch_state.end = Some(match doubtful {
            true => BatchEnd::Doubtful(sqlstate.to_owned()),
            false => BatchEnd::Undone(sqlstate.to_owned()),
        });
    }

    /// The server is ready for the next one.
    pub(super) fn batch_ended(&mut self, failed: Option<(&Run, &str)>) {
        match failed {
            Some((run, sqlstate)) => self.batch_failed(Some(run), sqlstate),
            None => self.batch_state.end = Some(BatchEnd::Kept),
        }
        self.batch_state.ends_itself = false;
    }

    /// What is final now, of those that have just ended and of those that waited.
    pub fn settled(&mut self, done: Vec<Done>) -> Vec<Done> {
        let batch = &mut self.batch_state;
        let mut settled = Vec::new();
        if let Some(end) = batch.end.take() {
            settled.extend(batch.waiting.drain(..).map(|d| match &end {
                BatchEnd::Kept => d,
                BatchEnd::Undone(by) => d.and(OutcomeKind::Failed, &format!("undone by {by}")),
                BatchEnd::Joined => d.and(
                    OutcomeKind::Done,
                    "part of the transaction that begins then",
                ),
                BatchEnd::Doubtful(by) => {
                    d.and(OutcomeKind::Unknown, &format!("perhaps undone by {by}"))
                }
            }));
        }
        for d in done {
            if !d.open {
                settled.push(d);
            } else if batch.waiting.len() < MAX_WAITING {
                batch.waiting.push(d);
            } else {
                settled.push(d.and(OutcomeKind::Done, "its transaction is not over"));
            }
        }
        settled
    }

    /// So much of an action was delivered.
    pub fn so_far(&mut self, seq: u64, rows: u64, bytes: u64) {
        self.batch_state.so_far = Some((seq, rows, bytes));
    }

    /// A portal is bound whose execution was decided on.
    pub(super) fn bound(&mut self, portal: Arc<Portal>, done: &mut Vec<Done>) {
        if self.batch_state.bound.len() >= MAX_BOUND {
            // Nobody else knows it any more.
            self.never_run(done, |portal| Arc::strong_count(portal) == 1);
        }
        self.batch_state.bound.push(portal);
    }

    /// Portals that were bound and will not run: their planning did.
    pub(super) fn never_run(&mut self, done: &mut Vec<Done>, gone: impl Fn(&Arc<Portal>) -> bool) {
        self.batch_state.bound.retain(|portal| {
            let mut granted = portal.granted.lock();
            if granted.is_some() && !gone(portal) {
                return true;
            }
            done.extend(granted.take().map(|bound| {
                Done::new(bound.give_up(), OutcomeKind::Done, "BIND".to_owned(), false)
            }));
            false
        });
    }

    /// The session ends: what has no outcome yet gets one.
    pub fn abandon(&mut self, done: &mut Vec<Done>) {
        let from = done.len();
        let waiting = std::mem::take(&mut self.batch_state.waiting).into_iter();
        done.extend(waiting.map(|d| {
            d.and(
                OutcomeKind::Unknown,
                "the connection ended before its transaction",
            )
        }));
        self.never_run(done, |_| true);
        let queue = std::mem::take(&mut self.queue);
        done.extend(
            queue
                .into_iter()
                .filter_map(super::expect::Expect::abandoned),
        );
        if let Some((seq, rows, bytes)) = self.batch_state.so_far {
            let ended = done.iter_mut().skip(from);
            for d in ended.filter(|d| d.receipt.seq() == seq) {
                (d.rows, d.bytes) = (rows, bytes);
            }
        }
    }
}

/// It was under way, or waited for its turn, when the connection ended.
pub(super) fn cut_off(receipt: Receipt, so_far: &str) -> Done {
    let mut detail = "the connection ended first".to_owned();
    if !so_far.is_empty() {
        detail.push_str("; after ");
        detail.push_str(so_far);
    }
    Done::new(receipt, OutcomeKind::Unknown, detail, false)
}

/// A decided text that could not be parsed.
pub(super) fn unparsed(receipt: Option<Receipt>, why: &str) -> Option<Done> {
    receipt.map(|receipt| Done::new(receipt, OutcomeKind::Failed, why.to_owned(), false))
}

/// A decided portal that could not be bound: it is not run.
pub(super) fn unbound(granted: Option<Arc<Portal>>, why: &str) -> Option<Done> {
    let receipt = granted?.granted.lock().take()?.give_up();
    Some(Done::new(
        receipt,
        OutcomeKind::Failed,
        why.to_owned(),
        false,
    ))
}
