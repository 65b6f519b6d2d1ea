//! Where values of a statement come from: an over-approximation by name.
//!
//! A *definition* is anything that gives a value a name: an output column, a column of VALUES, an
//! assigned column. Definitions mention names; a mention of a tainted name taints the definition,
//! which taints the names that it gives, until nothing changes. Scopes and positions are mostly
//! ignored: two columns of one name count as one, which can only taint too much. What names cannot
//! express (whole rows, sources with columns of unknown names, foreign code) taints everything.

use std::collections::{HashMap, HashSet};

use pipeline::Column;

use super::taint::Taints;
use crate::catalog::Snapshot;

/// Index into `Flow::names`.
pub(crate) type Name = u32;
/// No name, no parent, no group.
pub(crate) const NONE: u32 = u32::MAX;

/// Names that PostgreSQL gives to unnamed expressions besides those of functions, types and columns.
pub(super) const UNNAMED: &[&str] = &[
    "?column?",
    "array",
    "case",
    "coalesce",
    "exists",
    "greatest",
    "least",
    "nullif",
    "row",
    "grouping",
    "timezone",
    "collation",
    "user",
    "session_user",
    "current_user",
    "current_role",
    "current_catalog",
    "current_schema",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "system_user",
    "xmlconcat",
    "xmlelement",
    "xmlforest",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
    "json",
    "json_array",
    "json_arrayagg",
    "json_object",
    "json_objectagg",
    "json_scalar",
    "json_serialize",
    "json_query",
    "json_value",
    "json_exists",
    "merge_action",
    "bool",
    "overlay",
    "position",
    "substring",
    "trim",
    "normalize",
    "is_normalized",
    "extract",
    "date_part",
];
/// Views over views over views.
const MAX_VIEW_DEPTH: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DefKind {
    /// An output column, or a column of VALUES.
    Target,
    /// A value that is stored or sent somewhere.
    Sink,
    /// Arguments of a row source: its columns can have any name.
    Source,
    /// A name from an alias's column list: could be any column.
    Renamed,
    /// What the statement computes with: no value of its own.
    Compute,
}

#[derive(Debug, Clone)]
pub(crate) struct Def {
    pub kind: DefKind,
    /// The definition whose expression this is a part of.
    pub parent: u32,
    pub name: Name,
    /// An expression without a name of its own: PostgreSQL makes one up.
    pub unnamed: bool,
    /// The name is that of the column which it is: it brings no name of its own.
    pub echo: bool,
    /// Arms of one UNION, INTERSECT or EXCEPT.
    pub group: u32,
    /// It stands for columns whose names and number are not known here.
    pub star: bool,
    /// Its value is compared with others: DISTINCT, UNION, GROUP BY 1.
    pub compared: bool,
    /// The OID and the column that a sink stores into, when they are known.
    pub into: Option<(u32, Name)>,
}

/// A column reference; `name` is none for a star.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mention {
    pub def: u32,
    pub qualifier: Name,
    pub name: Name,
}

/// What a name in FROM stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Range {
    Relation(u32),
    Derived,
    /// The row that an INSERT could not insert; what flows into it taints this name.
    Excluded(Name),
}

/// The output of the statement itself.
#[derive(Debug, Clone, Default)]
pub(crate) enum Top {
    /// No rows, or rows that hold no data of relations.
    #[default]
    Nothing,
    /// Anything can be anywhere.
    Unknown,
    /// One list of definitions for each arm of a set operation; a star makes it `Named`.
    Arms(Vec<Vec<u32>>),
    /// The names of the fields decide.
    Named,
}

#[derive(Debug, Clone)]
pub(crate) struct Flow {
    pub names: Vec<Box<str>>,
    pub defs: Vec<Def>,
    pub mentions: Vec<Mention>,
    pub ranges: Vec<(Name, Range)>,
    /// OIDs of the relations in reach by name.
    pub relations: Vec<u32>,
    /// Names of functions and types: PostgreSQL uses them for unnamed expressions.
    pub made_up: Vec<Name>,
    pub groups: u32,
    pub top: Top,
    /// Code that can read anything is called.
    pub opaque: bool,
    /// Something renames columns in a way that is not followed.
    pub blind: bool,
    /// Columns that nothing in reach has: newer than what is known.
    pub unknown: Vec<Name>,
    /// Definitions that can hold what a trigger or a default has put into the row.
    pub brought: Vec<u32>,
    /// The definition of what the statement computes with, or none when that is nothing.
    pub computes: u32,
    pub interned: HashMap<Box<str>, Name>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            defs: Vec::new(),
            mentions: Vec::new(),
            ranges: Vec::new(),
            relations: Vec::new(),
            made_up: Vec::new(),
            groups: 0,
            top: Top::default(),
            opaque: false,
            blind: false,
            unknown: Vec::new(),
            brought: Vec::new(),
            computes: NONE,
            interned: HashMap::new(),
        }
    }
}

impl Flow {
    pub fn name(&self, name: &str) -> Option<Name> {
        self.interned.get(name).copied()
    }
}

/// The flow of a view's definition; none when it cannot be read.
pub(crate) fn of_view(text: &str, snapshot: &Snapshot) -> Option<Flow> {
    super::walk::view(text, snapshot)
}

/// What of one relation is tainted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    Columns(Vec<&'a str>),
    All,
}

impl Reach<'_> {
    pub fn any(&self) -> bool {
        match self {
            Self::Columns(columns) => !columns.is_empty(),
            Self::All => true,
        }
    }
}

/// Masked columns against one snapshot; remembers what it found out about relations.
pub(crate) struct Masked<'a> {
    snapshot: &'a Snapshot,
    by_name: HashMap<(&'a str, &'a str, &'a str), &'a Column>,
    reach: HashMap<u32, Reach<'a>>,
}

impl<'a> Masked<'a> {
    pub fn new(snapshot: &'a Snapshot, masked: &'a [Column]) -> Self {
        Self {
            snapshot,
            by_name: masked
                .iter()
                .map(|c| ((&*c.schema, &*c.table, &*c.column), c))
                .collect(),
            reach: HashMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn snapshot(&self) -> &'a Snapshot {
        self.snapshot
    }

    /// Has a table's column the very labels of the columns of that name among the relations? More of
    /// them would not do: policy may show what has a further label.
    pub fn protects(&self, into: u32, column: &str, relations: &[u32], source: &str) -> bool {
        let known = |oid| {
            let index = self.snapshot.index_of(oid)?;
            Some((index, self.snapshot.relation(index)?))
        };
        // A rule could store it elsewhere, too.
        let table = known(into).filter(|(_, info)| info.is_table() && info.reads.is_empty());
        let Some(has) = table.and_then(|(index, _)| self.exact(index, column)) else {
            return false;
        };
        relations.iter().all(|&oid| match known(oid) {
            None => false,
            Some((_, info)) if info.column_named(source).is_none() => !info.is_leaky(),
            Some((index, info)) if info.is_table() => {
                let masked = self.exact(index, source);
                masked.is_none_or(|masked| masked.labels == has.labels)
            }
            Some(_) => false,
        })
    }

    /// The masked column that a table's column is: its own, or that of a child whose rows are read
    /// through it.
    pub fn exact(&self, relation: usize, name: &str) -> Option<&'a Column> {
        let mut seen = HashSet::new();
        let mut queue = vec![relation];
        while let Some(index) = queue.pop() {
            if !seen.insert(index) {
                continue;
            }
            let info = self.snapshot.relation(index)?;
            if let Some(column) = self.by_name.get(&(&*info.schema, &*info.name, name)) {
                return Some(column);
            }
            queue.extend(&info.children);
        }
        None
    }

    pub fn reach(&mut self, oid: u32, depth: usize) -> Reach<'a> {
        if let Some(known) = self.reach.get(&oid) {
            return known.clone();
        }
        let reach = self.find_reach(oid, depth);
        // A view that was cut short by its depth is not worth remembering.
        if depth < MAX_VIEW_DEPTH {
            self.reach.insert(oid, reach.clone());
        }
        reach
    }

    fn find_reach(&mut self, oid: u32, depth: usize) -> Reach<'a> {
        let snapshot = self.snapshot;
        let found = snapshot.index_of(oid);
        let Some((index, info)) = found.and_then(|i| Some((i, snapshot.relation(i)?))) else {
            return Reach::All;
        };
        if info.is_leaky() || info.opaque || depth >= MAX_VIEW_DEPTH {
            return Reach::All;
        }
        let own = |masked: &Self| {
            let columns = info.columns.iter().map(|c| &*c.name);
            columns
                .filter(|name| masked.exact(index, name).is_some())
                .collect::<Vec<_>>()
        };
        if info.reads.is_empty() {
            return Reach::Columns(own(self));
        }
        let behind = info.reads.iter().filter_map(|&r| snapshot.relation(r));
        let behind: Vec<u32> = behind.map(|r| r.oid).collect();
        let tainted = behind.iter().any(|&oid| self.reach(oid, depth + 1).any());
        if !tainted {
            return Reach::Columns(own(self));
        }
        let Some(flow) = info.view.as_ref() else {
            return Reach::All;
        };
        let taints = Taints::of(flow, self, &behind, depth + 1);
        let mut columns = own(self);
        for (i, column) in info.columns.iter().enumerate() {
            if taints.field(i, info.columns.len(), &column.name)
                && !columns.contains(&&*column.name)
            {
                columns.push(&column.name);
            }
        }
        Reach::Columns(columns)
    }
}
