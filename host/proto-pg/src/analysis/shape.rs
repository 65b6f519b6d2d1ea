//! The shape of one statement's result, and which labelled columns each of its fields can show.

use std::sync::Arc;

use pipeline::{Column, SqlKind};

use super::lineage::Masked;
use super::resolve::{Output, Source};
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

/// How COPY writes values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyStyle {
    /// NULL is `\\N`.
    Text {
        delimiter: u8,
        header: bool,
    },
    Csv {
        delimiter: u8,
        quote: u8,
        escape: u8,
        null: Box<str>,
        header: bool,
    },
    Binary,
}

impl CopyStyle {
    /// The first line holds names.
    pub fn has_header(&self) -> bool {
        match self {
            Self::Text { header, .. } | Self::Csv { header, .. } => *header,
            Self::Binary => false,
        }
    }

    /// The server says that it writes it.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary)
    }
}

/// COPY over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyKind {
    In,
    Out {
        /// None: in a way that cannot be read here.
        style: Option<CopyStyle>,
        /// When every column of the stream is known: they go to `taints` like a RowDescription's.
        fields: Option<Vec<Field>>,
    },
}

/// Where the values of a result come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// No rows, or rows that hold no data of relations.
    Nothing,
    /// Anything can be anywhere.
    Unknown,
    Rows(Box<Output>),
    /// A plan, of a query that has these columns in it.
    Plan(Arc<[Source]>),
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
        if self.has_strange_origin(fields) {
            return vec![Taint::Tainted; fields.len()];
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
        taints(&self.body, fields, &mut known)
    }

    /// The result as the server should describe it; none when it is not known.
    pub fn described(&self, snapshot: &Snapshot) -> Option<Vec<Field>> {
        match &*self.body {
            Body::Rows(output) => output.described(snapshot),
            Body::Nothing | Body::Unknown | Body::Plan(_) | Body::OneOf(_) => None,
        }
    }

    /// Has the server described another result than the one that was analysed?
    pub fn is_strange(&self, fields: &[Field]) -> bool {
        self.has_strange_origin(fields) || (self.origins.is_some() && !agrees(&self.body, fields))
    }

    /// A column of a relation that the text did not mean when it was analysed: the server understood it
    /// otherwise, and nothing of what is known holds.
    fn has_strange_origin(&self, fields: &[Field]) -> bool {
        let Some(origins) = self.origins.as_deref() else {
            return false;
        };
        let strange = |f: &Field| f.table_oid != 0 && !origins.contains(&f.table_oid);
        !matches!(*self.body, Body::Unknown) && fields.iter().any(strange)
    }
}

fn agrees(body: &Body, fields: &[Field]) -> bool {
    match body {
        Body::Nothing | Body::Unknown | Body::Plan(_) => true,
        Body::Rows(output) => output.agrees(fields),
        Body::OneOf(bodies) => bodies.iter().any(|body| agrees(body, fields)),
    }
}

/// A column that its relation did not have when the snapshot was taken.
fn is_newer(field: &Field, snapshot: &Snapshot) -> bool {
    let relation = snapshot
        .index_of(field.table_oid)
        .and_then(|i| snapshot.relation(i));
    field.attnum > 0 && relation.is_some_and(|r| r.column(field.attnum).is_none())
}

/// What can be in each field.
fn taints(body: &Body, fields: &[Field], masked: &mut Masked<'_>) -> Vec<Taint> {
    match body {
        Body::Plan(columns) if masked.hits(&**columns) => masked.described(fields),
        Body::Nothing | Body::Plan(_) => {
            let described = masked.described(fields).into_iter().zip(fields);
            described
                .map(|(taint, field)| match field.table_oid {
                    0 => Taint::Clean,
                    _ => taint,
                })
                .collect()
        }
        Body::Unknown => masked.described(fields),
        Body::Rows(output) => masked.fields(output, fields),
        Body::OneOf(bodies) => {
            let mut all: Option<Vec<Taint>> = None;
            for body in bodies {
                let these = taints(body, fields, masked);
                all = Some(match all {
                    None => these,
                    Some(all) => all.into_iter().zip(these).map(either).collect(),
                });
            }
            all.unwrap_or_else(|| vec![Taint::Tainted; fields.len()])
        }
    }
}

/// What can be in a field that is one or the other.
fn either((a, b): (Taint, Taint)) -> Taint {
    match (a, b) {
        (a, b) if a == b => a,
        _ => Taint::Tainted,
    }
}
