//! What a database holds, as an immutable snapshot made of plain SQL results, and what names mean in
//! one session.
//!
//! Place in the flow: the wire half sends [`Snapshot::QUERIES`] and [`SessionState::QUERY`] over the
//! upstream connection and feeds the rows in here; `analysis` resolves names against the result.

mod build;
mod checks;
mod code;
mod labels;
mod places;
mod queries;
mod resolve;
mod session;
#[cfg(test)]
pub(crate) mod tests;
mod writes;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::analysis::resolve::{Source, ViewDef};

pub(crate) use checks::{Act, Check, Reference};
pub(crate) use labels::LabelIndex;
pub(crate) use places::PLACES;
pub(crate) use resolve::{Path, family};
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
    /// A view's query; none when it is too long.
    pub view: Option<ViewDef>,
    /// When code that is not PostgreSQL's own runs although no statement names it.
    pub hidden: HiddenCode,
    /// Relations that foreign keys' actions write when rows of this one change or go.
    pub cascades: Vec<usize>,
    /// What is asked about its rows when one is written.
    pub checks: Vec<Check>,
    /// Foreign keys that refer to it.
    pub referred: Vec<Reference>,
    /// It has rules that are not a view's query.
    pub ruled: bool,
    /// It has row security policies.
    pub policies: bool,
    /// Columns that its policies look at, and those of other relations among them.
    pub looked_at: Vec<Source>,
    /// Columns by whose values rows go to one partition or another.
    pub key: Vec<i16>,
}

/// Code that runs with reads or writes of a relation.
#[derive(Debug, Default)]
pub(crate) struct HiddenCode {
    /// Events of triggers, as bits of `pg_trigger.tgtype`.
    pub triggers: u16,
    /// In defaults, constraints, indexes, columns' types: whatever stores rows runs it.
    pub stores: bool,
    /// In row security policies.
    pub policies: bool,
    /// Functions of casts that storing a value into a column implies, by schema and name.
    pub casts: Vec<FunctionName>,
}

/// Schema and name.
pub(crate) type FunctionName = (Arc<str>, Arc<str>);

#[derive(Debug)]
pub(crate) struct ColumnInfo {
    pub number: i16,
    pub name: Arc<str>,
    pub type_oid: u32,
    pub generated: bool,
    /// Columns of the same relation that the generation expression names.
    pub from: Vec<i16>,
    /// The relation whose rows its type holds: itself, or in arrays, domains and ranges.
    pub row: Option<usize>,
    /// Columns whose values it holds by a foreign key: relation and number.
    pub refers: Vec<(usize, i16)>,
    /// A trigger of PostgreSQL's own fills it from other columns.
    pub filled: bool,
    /// A row that comes without it has a value there all the same.
    pub given: bool,
    /// It has a collation of its own.
    pub collated: bool,
}

#[derive(Debug)]
pub(crate) struct FunctionInfo {
    pub schema: Arc<str>,
    pub volatile: bool,
    pub security_definer: bool,
    /// It gives rows.
    pub returns_set: bool,
    /// PostgreSQL's own, or of an extension that is known to compute from its arguments only.
    pub pure: bool,
    /// Of such an extension.
    pub trusted: bool,
    /// A row alone can be its arguments.
    pub takes_row: bool,
}

/// An operator that runs code which is not PostgreSQL's own.
#[derive(Debug)]
pub(crate) struct OperatorInfo {
    pub schema: Arc<str>,
    pub left: u32,
    pub right: u32,
    pub function: FunctionName,
}

/// A cast by such code that nobody has to write.
#[derive(Debug)]
pub(crate) struct ImplicitCast {
    pub source: u32,
    pub target: u32,
    pub function: FunctionName,
}

/// What a cast to a type of some name can run.
#[derive(Debug, Default)]
pub(crate) struct Conversion {
    pub functions: Vec<FunctionName>,
}

#[derive(Debug)]
pub(crate) struct TypeInfo {
    pub name: Arc<str>,
    /// `pg_type.typtype`.
    pub kind: u8,
    /// The relation whose rows a composite type has.
    pub relation: u32,
    /// Of arrays, and of some types of fixed length.
    pub element: u32,
    /// What a domain is over, or a range of.
    pub base: u32,
}

/// Everything analysis needs to know about one database, at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    relations: Vec<RelationInfo>,
    by_oid: HashMap<u32, usize>,
    by_name: HashMap<Arc<str>, Vec<usize>>,
    /// Rules by the OID of their relation, views' queries among them: OID and version (`xmin`).
    rules: HashMap<u32, Vec<(u32, u32)>>,
    functions: HashMap<Arc<str>, Vec<FunctionInfo>>,
    /// Schema and name of every function, by OID: FunctionCall messages say nothing else.
    by_function_oid: HashMap<u32, FunctionName>,
    /// Operators that run code which is not PostgreSQL's own, by name.
    operators: HashMap<Arc<str>, Vec<OperatorInfo>>,
    /// Casts that run such code, by the name of every type that leads to their targets.
    casts: HashMap<Arc<str>, Conversion>,
    /// Types whose values run such code when they are read from text, and the functions in it. That of a
    /// constant runs while the statement that it stands in is still being understood. A domain alone is
    /// none of them: its checks run with the statement.
    read_types: HashMap<u32, Vec<FunctionName>>,
    /// Casts that run such code and need not be written.
    implicit_casts: Vec<ImplicitCast>,
    /// Operators that users made of PostgreSQL's own functions, by name: what has the name of one that
    /// cannot fail can fail.
    made_operators: HashSet<Arc<str>>,
    /// The same of extensions that are trusted. Only types can mean one that the text does not show.
    added_operators: HashSet<Arc<str>>,
    /// Types to which users have made casts by PostgreSQL's own functions, by name.
    recast: HashSet<Arc<str>>,
    /// Values of PostgreSQL's own types become others without anybody writing it, by what users made.
    bends: bool,
    /// The same, where they become types of users' own.
    bends_beside: bool,
    /// Types that values become by casts that users made and nobody has to write.
    implicit_targets: HashSet<u32>,
    /// Such code runs with every DDL statement.
    event_triggers: bool,
    /// A transaction's end can run such code.
    deferred_triggers: bool,
    /// Relations with constraints that are checked when a transaction ends.
    deferred: Vec<usize>,
    /// Columns by which relations have partitions.
    keys: Vec<Source>,
    types: HashMap<u32, TypeInfo>,
    type_names: OnceLock<HashMap<Arc<str>, Option<u32>>>,
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

    /// Of a relation, by its OID: OIDs and versions of its rules.
    pub(crate) fn rules(&self, relation: u32) -> &[(u32, u32)] {
        let known = self.rules.get(&relation);
        known.map(Vec::as_slice).unwrap_or_default()
    }

    /// Relations of this name, in whatever schema.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &RelationInfo> {
        let known = self.by_name.get(name).into_iter().flatten();
        known.filter_map(|&i| self.relations.get(i))
    }

    pub(crate) fn type_info(&self, oid: u32) -> Option<&TypeInfo> {
        self.types.get(&oid)
    }

    pub(crate) fn function_of(&self, oid: u32) -> Option<&FunctionName> {
        self.by_function_oid.get(&oid)
    }

    /// What a cast to a type of this name can run that is not PostgreSQL's own.
    pub(crate) fn conversion(&self, type_name: &str) -> Option<&Conversion> {
        self.casts.get(type_name)
    }

    /// Types whose constants run code that is not PostgreSQL's own while a statement is understood.
    pub(crate) fn read_types(&self) -> &HashMap<u32, Vec<FunctionName>> {
        &self.read_types
    }

    /// What any function, operator or set operation can run for its arguments.
    pub(crate) fn implicit_casts(&self) -> &[ImplicitCast] {
        &self.implicit_casts
    }

    pub(crate) fn foreign_operators(&self, operator: &str) -> &[OperatorInfo] {
        let known = self.operators.get(operator);
        known.map(Vec::as_slice).unwrap_or_default()
    }

    /// Can an operator of this name be one that users made of PostgreSQL's own functions?
    /// `parameter`: it stands beside a parameter, whose type nobody has written.
    pub(crate) fn is_made(&self, operator: &str, parameter: bool) -> bool {
        let added = parameter && self.added_operators.contains(operator);
        added || self.made_operators.contains(operator)
    }

    /// Have users made casts to a type of this name, by functions that can fail?
    pub(crate) fn is_recast(&self, type_name: &str) -> bool {
        self.recast.contains(type_name)
    }

    /// Can any value become something else wherever it stands, and fail to? `parameter`: it stands beside
    /// one, of whatever type.
    pub(crate) fn bends(&self, parameter: bool) -> bool {
        self.bends || (parameter && self.bends_beside)
    }

    /// Is there a type of this name, in whatever schema?
    pub fn has_type(&self, name: &str) -> bool {
        self.types_by_name().contains_key(name)
    }

    /// The type of this name, when there is only one.
    pub(crate) fn type_named(&self, name: &str) -> Option<u32> {
        self.types_by_name().get(name).copied().flatten()
    }

    fn types_by_name(&self) -> &HashMap<Arc<str>, Option<u32>> {
        self.type_names.get_or_init(|| {
            let mut names: HashMap<Arc<str>, Option<u32>> = HashMap::new();
            for (&oid, info) in &self.types {
                let known = names.entry(info.name.clone());
                known.and_modify(|one| *one = None).or_insert(Some(oid));
            }
            names
        })
    }

    /// Does a value of this type run code that is not PostgreSQL's own, when it is made from text?
    pub fn runs_code(&self, type_oid: u32) -> bool {
        let info = self.types.get(&type_oid);
        info.is_some_and(|t| self.casts.contains_key(&t.name))
    }

    /// Can values become this type without anybody writing it, by what users made?
    pub(crate) fn is_cast_to(&self, type_oid: u32) -> bool {
        self.implicit_targets.contains(&type_oid)
    }

    /// Can a value of a type have values of another in it? Rows can have anything.
    pub(crate) fn can_hold(&self, type_oid: u32, part: u32) -> bool {
        const DEPTH: usize = 32;
        let mut oid = type_oid;
        for _ in 0..DEPTH {
            if oid == part {
                return true;
            }
            match self.types.get(&oid) {
                None => return true,
                Some(info) if matches!(info.kind, b'c' | b'm') => return true,
                Some(info) if info.base != 0 => oid = info.base,
                Some(info) if info.element != 0 => oid = info.element,
                Some(_) => return false,
            }
        }
        true
    }

    /// Can a value of a type have values of a domain of this name in it?
    pub(crate) fn can_hold_named(&self, type_oid: u32, name: &str) -> bool {
        const DEPTH: usize = 32;
        let mut oid = type_oid;
        for _ in 0..DEPTH {
            match self.types.get(&oid) {
                None => return true,
                Some(info) if &*info.name == name => return true,
                Some(info) if matches!(info.kind, b'c' | b'm') => {
                    return oid >= FIRST_USER_OID;
                }
                Some(info) if info.base != 0 => oid = info.base,
                Some(info) if info.element != 0 => oid = info.element,
                Some(_) => return false,
            }
        }
        true
    }

    pub(crate) fn has_event_triggers(&self) -> bool {
        self.event_triggers
    }

    pub(crate) fn has_deferred_triggers(&self) -> bool {
        self.deferred_triggers
    }

    pub(crate) fn deferred(&self) -> &[usize] {
        &self.deferred
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

    pub fn is_temporary(&self) -> bool {
        self.schema.starts_with("pg_temp_")
    }

    pub fn is_view(&self) -> bool {
        matches!(self.kind, b'v' | b'm')
    }

    /// It has rows of its own: all but plain views.
    pub fn is_stored(&self) -> bool {
        self.kind != b'v'
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
