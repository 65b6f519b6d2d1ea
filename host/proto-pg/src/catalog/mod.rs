//! What a database holds, as an immutable snapshot made of plain SQL results, and what names mean in
//! one session.
//!
//! Place in the flow: the wire half sends [`Snapshot::QUERIES`] and [`SessionState::QUERY`] over the
//! upstream connection and feeds the rows in here; `analysis` resolves names against the result.

mod build;
mod labels;
mod queries;
mod resolve;
mod session;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::analysis::flow::Flow;

pub(crate) use labels::LabelIndex;
pub(crate) use resolve::Path;
pub use session::SessionState;
pub(crate) use session::{Prepared, Rest};

/// The first OID that PostgreSQL gives to objects which its users make.
pub(crate) const FIRST_USER_OID: u32 = 16_384;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    #[error("catalogue query {query}: expected {expected} result columns, got {got}")]
    Shape {
        query: usize,
        expected: usize,
        got: usize,
    },
    #[error("catalogue query {query}: {what} is not what it should be: {value:?}")]
    Value {
        query: usize,
        what: &'static str,
        value: String,
    },
    #[error("the catalogue has more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    #[error("the catalogue needs the results of {expected} queries, got {got}")]
    Missing { expected: usize, got: usize },
}

/// One query's rows; every value is text.
pub type Rows = Vec<Vec<Option<String>>>;

/// What can stand in a FROM clause.
#[derive(Debug)]
pub(crate) struct RelationInfo {
    pub oid: u32,
    pub schema: Arc<str>,
    pub name: Arc<str>,
    /// `pg_class.relkind`.
    pub kind: u8,
    /// Ascending by number; dropped columns are left out.
    pub columns: Vec<ColumnInfo>,
    /// Indexes of partitions and inheritance children.
    pub children: Vec<usize>,
    pub parents: Vec<usize>,
    /// Relations that a view's query or a rule of this relation names (indexes).
    pub reads: Vec<usize>,
    /// A view's query or a rule of this relation runs code that is not PostgreSQL's own.
    pub opaque: bool,
    /// What a view's query does with columns; none when it could not be read.
    pub view: Option<Flow>,
}

#[derive(Debug)]
pub(crate) struct ColumnInfo {
    pub number: i16,
    pub name: Arc<str>,
    pub type_oid: u32,
    pub generated: bool,
    /// Columns of the same relation that the generation expression names.
    pub from: Vec<i16>,
}

#[derive(Debug)]
pub(crate) struct FunctionInfo {
    pub schema: Arc<str>,
    pub volatile: bool,
    pub security_definer: bool,
    /// PostgreSQL's own, or of an extension that is known to compute from its arguments only.
    pub pure: bool,
    /// Its first argument may be a row.
    pub takes_row: bool,
}

#[derive(Debug)]
pub(crate) struct TypeInfo {
    pub name: Arc<str>,
    /// `pg_type.typtype`.
    pub kind: u8,
}

/// Everything analysis needs to know about one database, at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    relations: Vec<RelationInfo>,
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<Arc<str>, Vec<usize>>,
    functions: HashMap<Arc<str>, Vec<FunctionInfo>>,
    /// Names of operators that run code which is not PostgreSQL's own.
    operators: HashSet<Arc<str>>,
    /// Names of types that a cast by such code leads to.
    casts: HashSet<Arc<str>>,
    /// Such a cast needs not be written.
    implicit_casts: bool,
    types: HashMap<u32, TypeInfo>,
    /// Labelled columns by bundle: a few bundles can be in use at a time.
    labelled: Mutex<Vec<Arc<LabelIndex>>>,
}

impl Snapshot {
    /// Each is one simple-protocol query with one result.
    pub const QUERIES: &'static [&'static str] = queries::QUERIES;

    /// `results[i]` holds the rows of `QUERIES[i]`.
    pub fn build(results: &[Rows]) -> Result<Self, CatalogError> {
        build::build(results)
    }

    pub(crate) fn relation(&self, index: usize) -> Option<&RelationInfo> {
        self.relations.get(index)
    }

    pub(crate) fn relations(&self) -> &[RelationInfo] {
        &self.relations
    }

    pub(crate) fn index_of(&self, oid: u32) -> Option<usize> {
        self.by_oid.get(&oid).copied()
    }

    pub(crate) fn type_info(&self, oid: u32) -> Option<&TypeInfo> {
        self.types.get(&oid)
    }

    /// Can a cast to a type of this name run code that is not PostgreSQL's own?
    pub(crate) fn casts_by_foreign_code(&self, type_name: &str) -> bool {
        self.casts.contains(type_name)
    }

    /// Can any function or operator run such code for its arguments?
    pub(crate) fn casts_implicitly(&self) -> bool {
        self.implicit_casts
    }

    pub(crate) fn runs_foreign_code(&self, operator: &str) -> bool {
        self.operators.contains(operator)
    }
}

impl RelationInfo {
    pub fn column(&self, number: i16) -> Option<&ColumnInfo> {
        self.columns
            .binary_search_by_key(&number, |c| c.number)
            .ok()
            .and_then(|i| self.columns.get(i))
    }

    pub fn column_named(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|c| &*c.name == name)
    }

    /// A table whose columns the server's origins name directly.
    pub fn is_table(&self) -> bool {
        matches!(self.kind, b'r' | b'p' | b'f')
    }

    pub fn is_view(&self) -> bool {
        matches!(self.kind, b'v' | b'm')
    }

    /// Catalogue relations that hold values of other relations' columns.
    pub fn is_leaky(&self) -> bool {
        match &*self.schema {
            "pg_catalog" => matches!(
                &*self.name,
                "pg_statistic"
                    | "pg_stats"
                    | "pg_stats_ext"
                    | "pg_stats_ext_exprs"
                    | "pg_statistic_ext_data"
            ),
            "pg_toast" => true,
            _ => false,
        }
    }
}

pub(crate) fn is_system_schema(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "pg_toast")
}
