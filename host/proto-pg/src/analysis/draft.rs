//! What `statement` makes of a statement, before names become accesses and labels.

use std::sync::Arc;

use pipeline::{Named, SqlKind};

use super::found::Found;
use super::resolve::Source;
use super::shape::{CopyKind, TxEffect};
use super::summary::{Effect, Summary};

/// A statement as `statement` understands it.
#[derive(Debug)]
pub(crate) struct Draft {
    pub kind: SqlKind,
    pub found: Found,
    pub has_limit: bool,
    pub limit: Option<i64>,
    pub copy: Option<CopyKind>,
    pub transaction: Option<TxEffect>,
    pub effects: Vec<Effect>,
    /// Statements that run, or are prepared, inside this one.
    pub inner: Vec<Arc<Summary>>,
    /// What of them runs by its name only.
    pub runs: Vec<Arc<Named>>,
    /// The result is the inner statements' result.
    pub shows_inner: bool,
    /// The statement can reach every labelled column.
    pub everything: bool,
    /// A result that cannot be masked.
    pub unmaskable: Option<&'static str>,
    /// It is planned but does not run: writes count as reads.
    pub planned_only: bool,
    /// The result is the plan of a query with these columns, and nothing else.
    pub plan: Option<Arc<[Source]>>,
    /// Names mean what they mean when it runs, not when it is bound.
    pub late: bool,
}

impl Draft {
    pub fn new(kind: SqlKind, found: Found) -> Self {
        Self {
            kind,
            found,
            has_limit: false,
            limit: None,
            copy: None,
            transaction: None,
            effects: Vec::new(),
            inner: Vec::new(),
            runs: Vec::new(),
            shows_inner: false,
            everything: false,
            unmaskable: None,
            planned_only: false,
            plan: None,
            late: true,
        }
    }
}
