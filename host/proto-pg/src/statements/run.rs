//! One text or portal under way on the server.

use std::sync::Arc;

use pipeline::{Obligations, OutcomeKind, Receipt};

use super::{Done, Judged, Portal};
use crate::analysis::{Command, CopyKind, CopyStyle};
use crate::refusal::Refused;
use crate::relay::ActiveMask;

/// One text or portal under way on the server.
pub(crate) struct Run {
    /// What was permitted; none for a refused one.
    pub receipt: Option<Receipt>,
    /// None for a refused one.
    pub judged: Option<Arc<Judged>>,
    pub portal: Option<Arc<Portal>>,
    pub refused: Option<Refused>,
    /// The statement of the text whose result comes next.
    pub next: usize,
    /// Command tags so far.
    pub tags: String,
    /// The SQLSTATE it failed with.
    pub failed: Option<String>,
    /// COPY … TO STDOUT has begun.
    pub copy_out: bool,
    /// Masks of COPY … TO STDOUT, by statement: made before it was sent.
    pub copy_masks: Vec<Option<Arc<ActiveMask>>>,
    /// A FunctionCall: its one answer is a FunctionCallResponse.
    pub call: bool,
}

impl Run {
    pub fn permitted(receipt: Receipt, judged: Arc<Judged>, portal: Option<Arc<Portal>>) -> Self {
        Self {
            receipt: Some(receipt),
            judged: Some(judged),
            portal,
            refused: None,
            next: 0,
            tags: String::new(),
            failed: None,
            copy_out: false,
            copy_masks: Vec::new(),
            call: false,
        }
    }

    pub fn refused(refused: Refused) -> Self {
        Self {
            receipt: None,
            judged: None,
            portal: None,
            refused: Some(refused),
            next: 0,
            tags: String::new(),
            failed: None,
            copy_out: false,
            copy_masks: Vec::new(),
            call: false,
        }
    }

    pub fn called(mut self) -> Self {
        self.call = true;
        self
    }

    pub fn obligations(&self) -> Option<&Obligations> {
        self.receipt.as_ref().map(Receipt::obligations)
    }

    pub fn seq(&self) -> Option<u64> {
        self.receipt.as_ref().map(Receipt::seq)
    }

    /// Something in it must not be seen, also when it fails.
    pub fn is_masked(&self) -> bool {
        let quiet = self.judged.as_ref().is_some_and(|j| j.analysis.is_quiet());
        (!quiet && self.obligations().is_some_and(|o| !o.masked.is_empty()))
            || self.judged.as_ref().is_some_and(|j| j.is_doubtful())
    }

    /// The statement whose result comes next, as the server will speak of it.
    pub(super) fn command(&self) -> Option<&Command> {
        let judged = self.judged.as_ref()?;
        judged.analysis.commands.get(self.next)
    }

    /// A command is complete that the text, as it was understood, does not have.
    pub(super) fn is_one_too_many(&self) -> bool {
        let judged = self.judged.as_ref();
        judged.is_some_and(|j| {
            let known = j.analysis.commands.len();
            known > 0 && self.next >= known
        })
    }

    pub(super) fn is_indifferent(&self) -> bool {
        self.judged.as_ref().is_some_and(|j| j.indifferent)
    }

    /// COPY in the statement whose result comes next.
    pub(super) fn copy(&self) -> Option<&CopyKind> {
        let judged = self.judged.as_ref()?;
        judged.analysis.statements.get(self.next)?.copy()
    }

    /// How a COPY … TO STDOUT is written, and how many columns it has, as far as that is known.
    pub fn copy_out_style(&self) -> (Option<CopyStyle>, Option<usize>) {
        match self.copy() {
            Some(CopyKind::Out { style, fields }) => (style.clone(), fields.as_ref().map(Vec::len)),
            _ => (None, None),
        }
    }

    /// Does the server begin a COPY from the client here?
    pub(super) fn may_copy_in(&self) -> bool {
        matches!(self.copy(), Some(CopyKind::In)) || self.is_anything()
    }

    pub(super) fn may_copy_out(&self) -> bool {
        matches!(self.copy(), Some(CopyKind::Out { .. })) || self.is_anything()
    }

    fn is_anything(&self) -> bool {
        let judged = self.judged.as_ref();
        judged.is_some_and(|judged| judged.analysis.anything)
    }

    pub(super) fn changes_catalog(&self) -> bool {
        let judged = self.judged.as_ref();
        judged.is_some_and(|judged| judged.analysis.changes_catalog)
    }

    /// Kept short: a thousand statements in one text are one outcome.
    pub(super) fn add_tag(&mut self, tag: &str) {
        const MAX_TAGS: usize = 512;
        if self.tags.len() + tag.len() > MAX_TAGS {
            if !self.tags.ends_with('…') {
                self.tags.push('…');
            }
            return;
        }
        if !self.tags.is_empty() {
            self.tags.push_str("; ");
        }
        self.tags.push_str(tag);
    }

    pub(super) fn finish(self: Box<Self>, ran: bool) -> Option<Done> {
        let Self {
            receipt,
            tags,
            failed,
            ..
        } = *self;
        let (kind, detail) = match failed {
            None => (OutcomeKind::Done, tags),
            Some(code) => {
                let kind = match code.as_str() {
                    "57014" => OutcomeKind::Cancelled,
                    _ => OutcomeKind::Failed,
                };
                // Some of them may have been committed by others.
                let detail = match tags.is_empty() {
                    true => code,
                    false => format!("{code}; after {tags}"),
                };
                (kind, detail)
            }
        };
        receipt.map(|receipt| Done::new(receipt, kind, detail, ran))
    }
}
