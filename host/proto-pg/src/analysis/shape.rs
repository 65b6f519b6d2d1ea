//! The shape of one statement's result, and which labelled columns each of its fields can show.

use std::sync::Arc;

use pipeline::{Column, SqlKind};

use super::flow::{Flow, Masked, Reach};
use super::taint::Taints;
use crate::catalog::Snapshot;

/// One field of a RowDescription; the format of a bound portal comes from Bind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Field {
    pub name: String,
    pub table_oid: u32,
    pub attnum: i16,
    pub type_oid: u32,
    pub type_len: i16,
    pub type_mod: i32,
    pub format: i16,
}

/// What can be in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taint {
    /// Provably nothing of a masked column.
    Clean,
    /// Exactly the values of this masked column.
    Exact(Column),
    /// Anything.
    Tainted,
}

/// What a statement does to the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxEffect {
    /// `read_only` when the statement says so.
    Begin {
        read_only: Option<bool>,
    },
    Commit,
    Rollback,
    /// SAVEPOINT, RELEASE, ROLLBACK TO.
    Savepoint,
    /// SET TRANSACTION, SET SESSION CHARACTERISTICS.
    Set {
        read_only: Option<bool>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
}

/// COPY over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyKind {
    In,
    Out {
        format: CopyFormat,
        /// No option but the format: text has tabs, `\N` and no header.
        default_options: bool,
        /// When every column of the stream is known: they go to `taints` like a RowDescription's.
        fields: Option<Vec<Field>>,
    },
}

/// Where the values of a result come from.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// No relation is involved.
    Nothing,
    Unknown,
    Flow(Flow),
    /// The result of one of these.
    OneOf(Vec<Arc<Body>>),
}

/// One statement of a text. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StatementShape {
    pub(crate) kind: SqlKind,
    pub(crate) copy: Option<CopyKind>,
    pub(crate) transaction: Option<TxEffect>,
    pub(crate) body: Arc<Body>,
    pub(crate) late: bool,
    /// The relations that columns of the result can come from; none when nothing is labelled.
    pub(crate) origins: Option<Arc<[u32]>>,
}

impl StatementShape {
    pub fn kind(&self) -> SqlKind {
        self.kind
    }

    pub fn copy(&self) -> Option<&CopyKind> {
        self.copy.as_ref()
    }

    /// Names mean what they mean when it runs, not when its portal is bound.
    pub fn is_late(&self) -> bool {
        self.late && self.transaction.is_none()
    }

    pub fn transaction(&self) -> Option<TxEffect> {
        self.transaction
    }

    /// One per field. `masked` are the columns that policy hides in this request.
    pub fn taints(&self, fields: &[Field], snapshot: &Snapshot, masked: &[Column]) -> Vec<Taint> {
        if let Some(origins) = self.origins.as_deref() {
            // A column of a relation that the text did not mean when it was analysed: the server
            // understood it otherwise, and nothing of what is known holds.
            let strange = |f: &Field| f.table_oid != 0 && !origins.contains(&f.table_oid);
            if !matches!(*self.body, Body::Unknown) && fields.iter().any(strange) {
                return vec![Taint::Tainted; fields.len()];
            }
        }
        if masked.is_empty() {
            // A column that is newer than the snapshot could have a label.
            let newer = |f: &Field| self.origins.is_some() && is_newer(f, snapshot);
            let taint = |f| match newer(f) {
                true => Taint::Tainted,
                false => Taint::Clean,
            };
            return fields.iter().map(taint).collect();
        }
        let mut known = Masked::new(snapshot, masked);
        let derived = derived(&self.body, fields, &mut known);
        let mut derived = derived.into_iter();
        let changed = brought(&self.body);
        fields
            .iter()
            .map(|field| {
                let tainted = derived.next().unwrap_or(true);
                match (origin(field, snapshot, &mut known), tainted) {
                    // The column is clean, but code has put something into this row.
                    (Some(Taint::Clean), true) if changed => Taint::Tainted,
                    (Some(taint), _) => taint,
                    (None, true) => Taint::Tainted,
                    (None, false) => Taint::Clean,
                }
            })
            .collect()
    }
}

/// Can code that no statement names have changed rows of the result?
fn brought(body: &Body) -> bool {
    match body {
        Body::Nothing | Body::Unknown => false,
        Body::Flow(flow) => !flow.brought.is_empty(),
        Body::OneOf(bodies) => bodies.iter().any(|body| brought(body)),
    }
}

/// A column that its relation did not have when the snapshot was taken.
fn is_newer(field: &Field, snapshot: &Snapshot) -> bool {
    let relation = snapshot
        .index_of(field.table_oid)
        .and_then(|i| snapshot.relation(i));
    field.attnum > 0 && relation.is_some_and(|r| r.column(field.attnum).is_none())
}

/// What the server says about a field's origin; none when it says nothing.
fn origin(field: &Field, snapshot: &Snapshot, masked: &mut Masked<'_>) -> Option<Taint> {
    if field.table_oid == 0 || field.attnum == 0 {
        return None;
    }
    let found = snapshot.index_of(field.table_oid);
    let Some((index, relation)) = found.and_then(|i| Some((i, snapshot.relation(i)?))) else {
        return Some(Taint::Tainted);
    };
    if relation.is_leaky() {
        return Some(Taint::Tainted);
    }
    if field.attnum < 0 {
        // System columns: numbers of rows, transactions and relations.
        return Some(Taint::Clean);
    }
    let Some(column) = relation.column(field.attnum) else {
        return Some(Taint::Tainted);
    };
    if column.type_oid != field.type_oid && !is_domain(snapshot, column.type_oid) {
        // The snapshot is older than the table.
        return Some(Taint::Tainted);
    }
    if let Some(column) = masked.exact(index, &column.name) {
        return Some(Taint::Exact(column.clone()));
    }
    if relation.is_table() && relation.reads.is_empty() {
        return Some(Taint::Clean);
    }
    Some(match masked.reach(field.table_oid, 0) {
        Reach::All => Taint::Tainted,
        Reach::Columns(columns) if columns.contains(&&*column.name) => Taint::Tainted,
        Reach::Columns(_) => Taint::Clean,
    })
}

/// RowDescription names a domain's base type.
fn is_domain(snapshot: &Snapshot, type_oid: u32) -> bool {
    snapshot.type_info(type_oid).is_some_and(|t| t.kind == b'd')
}

/// Per field: can a masked value be in it, as far as the statement's text tells?
fn derived(body: &Body, fields: &[Field], masked: &mut Masked<'_>) -> Vec<bool> {
    match body {
        Body::Nothing => vec![false; fields.len()],
        Body::Unknown => vec![true; fields.len()],
        Body::Flow(flow) => {
            let taints = Taints::of(flow, masked, &[], 0);
            let count = fields.len();
            let named = fields.iter().enumerate();
            named
                .map(|(i, f)| taints.field(i, count, &f.name))
                .collect()
        }
        Body::OneOf(bodies) if bodies.is_empty() => vec![true; fields.len()],
        Body::OneOf(bodies) => {
            let mut any = vec![false; fields.len()];
            for body in bodies {
                let these = derived(body, fields, masked);
                any.iter_mut().zip(these).for_each(|(a, b)| *a |= b);
            }
            any
        }
    }
}
