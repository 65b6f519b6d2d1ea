//! Where values of a statement come from: an over-approximation by name.
//!
//! A *definition* is anything that gives a value a name: an output column, a column of VALUES, an
//! assigned column. Definitions mention names; a mention of a tainted name taints the definition,
//! which taints the names that it gives, until nothing changes. Scopes and positions are mostly
//! ignored: two columns of one name count as one, which can only taint too much. What names cannot
//! express (whole rows, sources with columns of unknown names, foreign code) taints everything.

use std::collections::{HashMap, HashSet};

use pipeline::Column;

use crate::catalog::Snapshot;

/// Index into `Flow::names`.
pub(crate) type Name = u32;
/// No name, no parent, no group.
pub(crate) const NONE: u32 = u32::MAX;

/// Names that PostgreSQL gives to unnamed expressions besides those of functions, types and columns.
const UNNAMED: &[&str] = &[
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
/// Rounds until the names settle; deeper renaming than this taints everything.
const MAX_ROUNDS: usize = 64;
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
}

#[derive(Debug, Clone)]
pub(crate) struct Def {
    pub kind: DefKind,
    /// The definition whose expression this is a part of.
    pub parent: u32,
    pub name: Name,
    /// An expression without a name of its own: PostgreSQL makes one up.
    pub unnamed: bool,
    /// Arms of one UNION, INTERSECT or EXCEPT.
    pub group: u32,
}

/// A column reference; `name` is none for a star.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mention {
    pub def: u32,
    pub qualifier: Name,
    pub name: Name,
}

/// What a name in FROM stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    Relation(u32),
    Derived,
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

#[derive(Debug, Clone, Default)]
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
    fn any(&self) -> bool {
        match self {
            Self::Columns(columns) => !columns.is_empty(),
            Self::All => true,
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Columns(columns) => columns.contains(&name),
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

/// The settled taints of one flow.
pub(crate) struct Taints<'f> {
    flow: &'f Flow,
    names: Vec<bool>,
    defs: Vec<bool>,
    /// Names that only a star brings in.
    relations: Vec<ReachOwned>,
    unnamed: bool,
    everything: bool,
    any: bool,
}

#[derive(Debug)]
struct ReachOwned {
    all: bool,
    columns: Vec<String>,
}

impl<'f> Taints<'f> {
    /// `more` are relations in reach besides those that the flow names.
    pub fn of(flow: &'f Flow, masked: &mut Masked<'_>, more: &[u32], depth: usize) -> Self {
        let mut taints = Self {
            flow,
            names: vec![false; flow.names.len()],
            defs: vec![false; flow.defs.len()],
            relations: Vec::new(),
            unnamed: false,
            everything: false,
            any: false,
        };
        if masked.is_empty() {
            return taints;
        }
        if flow.opaque {
            taints.everything = true;
            taints.any = true;
            return taints;
        }
        let mut reached: HashMap<u32, Reach<'_>> = HashMap::new();
        for &oid in flow.relations.iter().chain(more) {
            let reach = masked.reach(oid, depth);
            taints.any |= reach.any();
            taints.relations.push(ReachOwned::new(&reach));
            reached.insert(oid, reach);
        }
        if !taints.any {
            return taints;
        }
        taints.everything = flow.blind;
        for (tainted, name) in taints.names.iter_mut().zip(&flow.names) {
            *tainted = reached.values().any(|r| r.has(name));
        }
        let ranges = taints.ranges();
        taints.settle(masked.snapshot, &reached, &ranges);
        taints
    }

    fn ranges(&self) -> HashMap<Name, Vec<Range>> {
        let mut ranges: HashMap<Name, Vec<Range>> = HashMap::new();
        for &(name, range) in &self.flow.ranges {
            ranges.entry(name).or_default().push(range);
        }
        ranges
    }

    fn settle(
        &mut self,
        snapshot: &Snapshot,
        reached: &HashMap<u32, Reach<'_>>,
        ranges: &HashMap<Name, Vec<Range>>,
    ) {
        let flow = self.flow;
        let mut groups = vec![false; flow.groups as usize];
        for _ in 0..MAX_ROUNDS {
            let mut changed = false;
            for mention in &flow.mentions {
                if !self.is_def(mention.def) && self.mention(mention, snapshot, reached, ranges) {
                    changed |= self.taint_def(mention.def);
                }
            }
            changed |= self.taint_made_up();
            for (i, def) in flow.defs.iter().enumerate().rev() {
                let own = def.kind == DefKind::Renamed || self.is_def(i as u32);
                let group = groups.get(def.group as usize).copied().unwrap_or(false);
                if own {
                    changed |= self.taint_def(def.parent);
                    self.everything |= def.kind == DefKind::Source;
                    if let Some(slot) = groups.get_mut(def.group as usize)
                        && !*slot
                    {
                        *slot = true;
                        changed = true;
                    }
                }
                if own || group {
                    changed |= self.taint_name(def.name);
                    if def.unnamed && !self.unnamed {
                        self.unnamed = true;
                        changed = true;
                        for &name in &flow.made_up {
                            self.taint_name(name);
                        }
                    }
                }
            }
            if !changed || self.everything {
                return;
            }
        }
        self.everything = true;
    }

    /// Does a mention bring a tainted value?
    fn mention(
        &self,
        mention: &Mention,
        snapshot: &Snapshot,
        reached: &HashMap<u32, Reach<'_>>,
        ranges: &HashMap<Name, Vec<Range>>,
    ) -> bool {
        let row = |name: &str| snapshot.takes_row(name);
        let qualified = ranges.get(&mention.qualifier);
        let tables: Option<Vec<u32>> = qualified.and_then(|ranges| {
            let oids = ranges.iter().map(|range| match range {
                Range::Relation(oid) => Some(*oid),
                Range::Derived => None,
            });
            oids.collect()
        });
        let Some(name) = self.flow.names.get(mention.name as usize) else {
            // A star.
            return match tables {
                Some(oids) => oids.iter().any(|o| reached.get(o).is_none_or(Reach::any)),
                None => true,
            };
        };
        if let Some(oids) = tables {
            return oids.iter().any(|oid| {
                let reach = reached.get(oid);
                let there = snapshot
                    .index_of(*oid)
                    .and_then(|i| snapshot.relation(i))
                    .is_some_and(|r| r.column_named(name).is_some());
                reach.is_none_or(|r| r.has(name) || (r.any() && !there && row(name)))
            });
        }
        self.is_name(mention.name)
            || ranges.contains_key(&mention.name)
            || (mention.qualifier != NONE && row(name))
    }

    /// Is field `index` of `count` tainted?
    pub fn field(&self, index: usize, count: usize, name: &str) -> bool {
        if !self.any {
            return false;
        }
        if self.everything {
            return true;
        }
        match &self.flow.top {
            Top::Nothing | Top::Unknown => true,
            Top::Arms(arms) => {
                arms.is_empty()
                    || arms.iter().any(|arm| {
                        // A count that does not fit: not the result that was analysed.
                        arm.len() != count || arm.get(index).is_none_or(|&def| self.is_def(def))
                    })
            }
            Top::Named => {
                let known = self.flow.names.iter().position(|n| **n == *name);
                known.is_some_and(|n| self.is_name(n as u32))
                    || self.relations.iter().any(|r| r.has(name))
                    || (self.unnamed && UNNAMED.contains(&name))
            }
        }
    }

    /// Does a tainted value reach a sink?
    pub fn sinks(&self) -> bool {
        let mut defs = self.flow.defs.iter().enumerate();
        self.any
            && defs
                .any(|(i, d)| d.kind == DefKind::Sink && (self.everything || self.is_def(i as u32)))
    }

    fn is_def(&self, def: u32) -> bool {
        self.defs.get(def as usize).copied().unwrap_or(false)
    }

    fn is_name(&self, name: Name) -> bool {
        self.names.get(name as usize).copied().unwrap_or(false)
    }

    fn taint_def(&mut self, def: u32) -> bool {
        set(&mut self.defs, def)
    }

    fn taint_name(&mut self, name: Name) -> bool {
        set(&mut self.names, name)
    }

    /// `CASE … ELSE name END` is called `name`, whatever else flows into it: a tainted definition
    /// without a name taints every name that it mentions, and so do the parts it consists of.
    fn taint_made_up(&mut self) -> bool {
        let flow = self.flow;
        let mut spreads: Vec<bool> = Vec::with_capacity(flow.defs.len());
        let mut changed = false;
        for (i, def) in flow.defs.iter().enumerate() {
            let parent = spreads.get(def.parent as usize).copied().unwrap_or(false);
            spreads.push(def.unnamed && (parent || self.is_def(i as u32)));
            if parent {
                changed |= self.taint_name(def.name);
            }
        }
        for mention in &flow.mentions {
            if spreads.get(mention.def as usize).copied().unwrap_or(false) {
                changed |= self.taint_name(mention.name);
            }
        }
        changed
    }
}

impl ReachOwned {
    fn new(reach: &Reach<'_>) -> Self {
        match reach {
            Reach::All => Self {
                all: true,
                columns: Vec::new(),
            },
            Reach::Columns(columns) => Self {
                all: false,
                columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            },
        }
    }

    fn has(&self, name: &str) -> bool {
        self.all || self.columns.iter().any(|c| c == name)
    }
}

/// True when it changed.
fn set(flags: &mut [bool], index: u32) -> bool {
    match flags.get_mut(index as usize) {
        Some(flag) if !*flag => {
            *flag = true;
            true
        }
        _ => false,
    }
}
