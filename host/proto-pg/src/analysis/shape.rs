//! The shape of one statement's result, and which labelled columns each of its fields can show.

use pipeline::{Column, SqlKind};

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
    /// `fields` when every column of the stream is known: they go to `taints` like a
    /// RowDescription's. `text` has the default delimiter, null string and no header.
    Out {
        format: CopyFormat,
        default_options: bool,
        fields: Option<Vec<Field>>,
    },
}

/// One statement of a text.
#[derive(Debug, Clone)]
pub struct StatementShape {
    pub(crate) kind: SqlKind,
}

impl StatementShape {
    pub fn kind(&self) -> SqlKind {
        self.kind
    }

    pub fn copy(&self) -> Option<&CopyKind> {
        None
    }

    pub fn transaction(&self) -> Option<TxEffect> {
        None
    }

    /// One per field. `masked` are the columns that policy hides in this request.
    pub fn taints(
        &self,
        fields: &[Field],
        _snapshot: &Snapshot,
        masked: &[Column],
    ) -> Vec<Taint> {
        let taint = if masked.is_empty() {
            Taint::Clean
        } else {
            Taint::Tainted
        };
        vec![taint; fields.len()]
    }
}
