//! What one SQL text does: facts, accesses, labelled columns in reach, and the shape of each result.
//!
//! PostgreSQL's own grammar makes the raw tree; a depth-limited walk with an allow-list of node
//! types reads it. Whatever is not understood makes `facts.parsed` false.

mod shape;

use std::sync::Arc;

use pipeline::{Access, Action, Column, LabelCatalog, Resource, SqlFacts, Target};

use crate::catalog::{SessionState, Snapshot};

pub use shape::{CopyFormat, CopyKind, Field, StatementShape, Taint, TxEffect};

/// Bounds of the work that one text may cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of SQL text.
    pub max_text: usize,
    /// Nodes of the raw tree that are looked at.
    pub max_nodes: usize,
    /// Statements in one text.
    pub max_statements: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_text: 4 << 20,
            max_nodes: 1_000_000,
            max_statements: 1_000,
        }
    }
}

/// Everything an analysis depends on.
#[derive(Clone, Copy)]
pub struct Ctx<'a> {
    pub snapshot: &'a Snapshot,
    pub state: &'a SessionState,
    pub labels: &'a LabelCatalog,
    pub target: &'a Arc<Target>,
    pub database: &'a Arc<str>,
    pub read_only_txn: bool,
    pub limits: &'a Limits,
}

/// What one text does.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// Merged over all statements of the text.
    pub facts: Arc<SqlFacts>,
    /// Never empty.
    pub accesses: Vec<Access>,
    /// Labelled columns that can flow into any result or error text.
    pub labelled: Vec<Column>,
    /// See `pipeline::Request::unmaskable`.
    pub unmaskable: Option<&'static str>,
    /// One per statement: the i-th result of a simple query.
    pub statements: Vec<StatementShape>,
    /// A name is not in the snapshot: refresh it once and analyse again.
    pub unknown_names: bool,
    /// DDL: the snapshot is stale once this ran.
    pub changes_catalog: bool,
    /// Refused whatever policy says; the client may read the text.
    pub refuse: Option<String>,
}

/// Total: what cannot be resolved gives `facts.parsed = false` or `known = false`.
pub fn analyse(sql: &[u8], ctx: &Ctx<'_>) -> Analysis {
    let text: Arc<str> = String::from_utf8_lossy(sql).into();
    Analysis {
        facts: Arc::new(SqlFacts::opaque(text)),
        accesses: vec![Access {
            action: Action::PostgresUtility,
            resource: Resource::PgDatabase {
                database: ctx.database.clone(),
            },
            target: Some(ctx.target.clone()),
        }],
        labelled: Vec::new(),
        unmaskable: None,
        statements: Vec::new(),
        unknown_names: false,
        changes_catalog: false,
        refuse: Some("this text is not analysed yet".into()),
    }
}
