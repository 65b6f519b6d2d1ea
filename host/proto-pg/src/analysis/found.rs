//! What a walk finds in one statement, before it is turned into facts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use pipeline::{Action, SqlKind};

use super::resolve::{CODE, Output, Resolved, Sink, Source};
use super::shape::TxEffect;

/// A relation that a statement names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Index in the snapshot.
    Known(usize),
    Unknown {
        schema: Arc<str>,
        name: Arc<str>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub known: bool,
    pub volatile: bool,
    pub security_definer: bool,
    pub dangerous: bool,
    /// Harmless and PostgreSQL's own: a fact, but nothing to authorize.
    pub plain: bool,
    /// Code of PostgreSQL, or that counts as such.
    pub own: bool,
}

/// The output of the statement itself.
#[derive(Debug, Default)]
pub(crate) enum Top {
    /// No rows, or rows that hold no data of relations.
    #[default]
    Nothing,
    /// Anything can be anywhere.
    Unknown,
    Rows(Output),
}

#[derive(Debug, Default)]
pub(crate) struct Found {
    pub tables: BTreeSet<(Action, Place)>,
    /// By schema and name.
    pub calls: BTreeMap<(Arc<str>, Arc<str>), Call>,
    /// OIDs of the relations in reach by name.
    pub relations: Vec<u32>,
    /// Code that can read anything is called.
    pub opaque: bool,
    /// The same, where it cannot be told which expression it is in.
    pub anywhere: bool,
    pub top: Top,
    /// Values that are stored or sent somewhere.
    pub sinks: Vec<Sink>,
    /// The same, if names without a schema meant other relations.
    pub sinks_elsewhere: Vec<Sink>,
    /// Columns whose values decide what a client sees.
    pub computed: Vec<Source>,
    /// Columns that a query has in it at all.
    pub named: Vec<Source>,
    /// What resolving cost.
    pub work: usize,
    /// An UPDATE or DELETE has no WHERE.
    pub unbounded: bool,
    pub locks: bool,
    pub writes: bool,
    pub unknown_names: bool,
    /// A node that is not understood, by what it is.
    pub not_understood: Option<&'static str>,
    pub refuse: Option<String>,
    /// Schemas other than those of relations.
    pub schemas: BTreeSet<(Action, Arc<str>)>,
    /// Actions on the database as a whole.
    pub database: BTreeSet<Action>,
    /// Roles of the server under which the session goes on.
    pub roles: BTreeSet<Arc<str>>,
    /// A constant sets the search path, or the role that has a part in it.
    pub sets_path: bool,
    /// How texts are read is set, or something that could be it.
    pub sets_reading: bool,
    pub changes_catalog: bool,
    /// Relations of a name that stands without its schema, but for the one that it means.
    pub elsewhere: BTreeSet<usize>,
    /// The statement can copy labelled columns to where no label is.
    pub copies: Option<&'static str>,
    /// Columns that can lose that by which they have their labels.
    pub freed: Vec<Source>,
    /// Fields of rows, by name: what is no column of the row is a call.
    pub fields: BTreeSet<Box<str>>,
    /// Operators that users made, or could have: by schema and name.
    pub operators: BTreeSet<(Option<Box<str>>, Box<str>)>,
    /// Types that the statement names.
    pub type_names: BTreeSet<Box<str>>,
    pub parameters: bool,
    /// Constants whose type their surroundings decide.
    pub literals: bool,
    /// Arrays are made of single values.
    pub arrays: bool,
    /// Types of whose values the statement names arrays.
    pub array_names: BTreeSet<Box<str>>,
    /// Code that is not PostgreSQL's own can run while the server still makes out what the text means.
    pub parses_code: bool,
    /// A write runs code that can put anything into the rows.
    pub changed_by_code: bool,
    /// Code runs that the statement does not name: errors and notices can say anything.
    pub hidden_code: bool,
    /// Relations whose constraints are checked: an error can show their rows.
    pub checked: BTreeSet<usize>,
    /// Columns that nothing in reach has; by the relation that they are said to be of.
    pub new_columns: BTreeSet<(Option<u32>, Box<str>)>,
    reached: HashSet<u32>,
}

impl Found {
    pub fn reach(&mut self, oid: u32) {
        if self.reached.insert(oid) {
            self.relations.push(oid);
        }
    }

    /// Takes over what the resolver found out.
    pub fn resolved(&mut self, resolved: Resolved, shown: bool) {
        if shown {
            self.top = Top::Rows(resolved.output);
        }
        self.sinks.extend(resolved.sinks);
        self.computed.extend(resolved.computed);
        self.named.extend(resolved.named);
        self.work += resolved.work;
        if !resolved.unknown.is_empty() {
            self.unknown_names = true;
            self.new_columns.extend(resolved.unknown);
        }
        // Names that nobody has looked at could be calls.
        self.opaque |= resolved.partial;
        self.anywhere |= resolved.partial;
        if !resolved.partial {
            self.fields = resolved.calls;
        }
    }

    /// Can the result or what is stored hold what triggers and defaults have put into rows?
    pub fn brought(&self) -> bool {
        let shown = match &self.top {
            Top::Rows(output) => output.sources().any(|s| s.contains(&CODE)),
            Top::Nothing | Top::Unknown => false,
        };
        shown || self.sinks.iter().any(|s| s.sources.contains(&CODE))
    }

    /// Does what the statement means depend on the catalogue?
    pub fn names_something(&self) -> bool {
        !self.tables.is_empty()
            || !self.calls.is_empty()
            || !self.type_names.is_empty()
            || !self.operators.is_empty()
            || !self.schemas.is_empty()
            || !self.checked.is_empty()
            || self.unknown_names
            || self.hidden_code
            || self.opaque
    }

    /// Does it read or begin a transaction, and nothing else? A COMMIT does all that was asked for before.
    pub fn only_reads(&self, kind: SqlKind, transaction: Option<TxEffect>) -> bool {
        let kind = match kind {
            // `set_config` is no read.
            SqlKind::Select | SqlKind::Copy => self.database.is_empty(),
            SqlKind::Transaction => matches!(transaction, Some(TxEffect::Begin { .. })),
            _ => false,
        };
        kind && !self.writes && !self.locks
    }

    /// What the walk over a part of a definition found. A condition or a default gives nothing to a
    /// result.
    pub fn absorb(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.calls.extend(other.calls);
        self.elsewhere.extend(other.elsewhere);
        for oid in other.relations {
            self.reach(oid);
        }
        self.opaque |= other.opaque;
        self.anywhere |= other.anywhere;
        self.computed.extend(other.computed);
        self.locks |= other.locks;
        self.writes |= other.writes;
        self.unknown_names |= other.unknown_names;
        self.sets_path |= other.sets_path;
        self.sets_reading |= other.sets_reading;
        self.hidden_code |= other.hidden_code;
        self.parses_code |= other.parses_code;
        self.not_understood = self.not_understood.or(other.not_understood);
        self.refuse = self.refuse.take().or(other.refuse);
        self.copies = self.copies.or(other.copies);
    }
}
