//! Where the values of a statement come from: scopes and positions, as PostgreSQL's own analysis has
//! them, over the raw tree and the catalogue snapshot.
//!
//! Every expression has the set of the base columns whose values can flow into it, and whether it is a
//! copy of one. Apart from that, the resolver collects the columns that *decide* something that a client
//! can see although no value of theirs is in the result: which rows there are, in which order and in
//! which groups, which branch is taken, whether there is an error.
//!
//! Place in the flow: `walk` has found out what the statement names and calls; this tells what flows
//! where. Labels and policy come later, in `lineage`.
//!
//! Architecture invariant: what cannot be resolved is never clean. It comes from anything, and whoever
//! asked is told.

mod call;
mod cols;
mod ctes;
mod expr;
mod from;
mod item;
mod join;
mod names;
mod query;
mod sets;
mod totals;
mod view;
mod write;

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use pg_raw_parse::Node;

use crate::catalog::{Path, Snapshot};
use cols::{Cols, Val};
use ctes::Cte;
use item::{Item, Scope};
use sets::{ANYTHING, NOTHING, Set, Sets};

pub(crate) use sets::{ALL, ANY, CODE, Source};
pub(crate) use view::ViewDef;

/// Queries and expressions inside one another. What is nested more deeply is not resolved.
const MAX_DEPTH: usize = 96;
/// Columns and names that are looked at. What is left then is not resolved.
const MAX_WORK: usize = 20_000_000;

/// No scope, no CTE.
const NONE: u32 = u32::MAX;

/// Where an expression stands.
#[derive(Clone, Copy)]
struct At {
    scope: u32,
    /// The CTEs that can be seen, by the last one.
    env: u32,
}

/// A value that is stored or sent somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sink {
    pub sources: Arc<[Source]>,
    /// The table's OID and the column's name, when there is exactly one.
    pub into: Option<(u32, Box<str>)>,
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutColumn {
    /// None: PostgreSQL makes one up, in a way that is not known here.
    pub name: Option<Box<str>>,
    pub sources: Arc<[Source]>,
    /// The column that the server will say it is.
    pub origin: Option<Source>,
    /// The server must say so.
    pub sure: bool,
}

/// The columns of a result; between `head` and `tail` there can be columns of unknown number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub head: Vec<OutColumn>,
    pub rest: Option<Arc<[Source]>>,
    pub tail: Vec<OutColumn>,
}

impl Output {
    pub fn sources(&self) -> impl Iterator<Item = &[Source]> {
        let columns = self.head.iter().chain(&self.tail);
        columns.map(|c| &*c.sources).chain(self.rest.as_deref())
    }
}

/// What the resolver knows about one statement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolved {
    pub output: Output,
    /// Columns whose values decide what a client sees.
    pub computed: Vec<Source>,
    /// Columns that are in it at all.
    pub named: Vec<Source>,
    pub sinks: Vec<Sink>,
    /// Functions that `row.name` can be a call of.
    pub calls: BTreeSet<Box<str>>,
    /// Columns that nothing has, and the relation that they are said to be of.
    pub unknown: BTreeSet<(Option<u32>, Box<str>)>,
    /// It was too deep or too much, and `calls` and `unknown` are not all.
    pub partial: bool,
    /// What it cost, in names and columns looked at.
    pub work: usize,
}

struct Resolver<'a> {
    snapshot: &'a Snapshot,
    path: Path<'a>,
    /// The only relations that names can mean: those of a view's definition.
    among: Option<&'a [usize]>,
    /// Code that no statement names changes what is written.
    coded: bool,
    sets: Sets,
    items: Vec<Item<'a>>,
    scopes: Vec<Scope>,
    ctes: Vec<Cte<'a>>,
    /// What has decided something so far.
    decides: Set,
    /// What would decide something if columns that are not used were computed all the same.
    put_off: Set,
    /// Rows are locked or written: whoever reads them, the server computes whole rows.
    whole_rows: bool,
    /// The server computes it, or the query that it is in, whether it is used or not: it gives rows, or is
    /// not the same each time.
    fixed: bool,
    /// What has been named so far, whatever becomes of it.
    named: Set,
    sinks: Vec<(Set, Option<(u32, &'a str)>)>,
    /// What `min` and `max` are taken of: an index can give them, and then the rows in front are looked
    /// at in its order, until one meets the conditions.
    extremes: Set,
    /// The same, of the query that is being resolved.
    own_extremes: Set,
    /// A condition can fail, or does something besides.
    fallible: bool,
    calls: BTreeSet<&'a str>,
    unknown: BTreeSet<(Option<u32>, &'a str)>,
    relations: HashMap<usize, Rc<Cols<'a>>>,
    functions: HashMap<(Option<&'a str>, &'a str), call::Meaning>,
    depth: usize,
    work: usize,
    partial: bool,
    /// What nothing has counts as nothing.
    lenient: bool,
}

/// What a statement's rows are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    Shown,
    Stored,
}

/// Resolves a query or data-modifying statement. `coded`: code that it does not name changes what it
/// writes.
pub(crate) fn resolve(
    node: Node<'_>,
    rows: Rows,
    snapshot: &Snapshot,
    path: Path<'_>,
    coded: bool,
) -> Resolved {
    let mut resolver = Resolver::new(snapshot, path, None, coded);
    let output = resolver.query(node, NONE, NONE);
    if rows == Rows::Stored {
        for set in output.sets() {
            resolver.sink(set, None);
        }
    }
    resolver.finish(&output)
}

/// What an expression in a definition is about, of the relations that are known; it is all that decides
/// anything when the definition is used.
pub(crate) fn resolve_part(
    node: Node<'_>,
    relations: &[usize],
    snapshot: &Snapshot,
    path: Path<'_>,
) -> Vec<Source> {
    let mut resolver = Resolver::new(snapshot, path, None, false);
    // Columns of what is being made have no values yet.
    resolver.lenient = true;
    for name in ["", "old", "new"] {
        for &index in relations {
            let cols = resolver.relation(index);
            let own = snapshot.relation(index).map_or("", |r| &*r.name);
            let item = Item::derived(Some(if name.is_empty() { own } else { name }), cols);
            resolver.add(Item {
                bare: name.is_empty(),
                table: true,
                ..item
            });
        }
    }
    let scope = resolver.scope(0, NONE);
    let at = At { scope, env: NONE };
    let set = match node {
        Node::SelectStmt(_)
        | Node::InsertStmt(_)
        | Node::UpdateStmt(_)
        | Node::DeleteStmt(_)
        | Node::MergeStmt(_) => {
            let cols = resolver.query(node, NONE, scope);
            resolver.all_of(&cols)
        }
        node => resolver.expr(node, at).set,
    };
    resolver.decide(set);
    resolver.whole_rows();
    resolver.sets.get(resolver.decides).to_vec()
}

impl<'a> Resolver<'a> {
    fn new(
        snapshot: &'a Snapshot,
        path: Path<'a>,
        among: Option<&'a [usize]>,
        coded: bool,
    ) -> Self {
        Self {
            snapshot,
            path,
            among,
            coded,
            sets: Sets::new(),
            items: Vec::new(),
            scopes: Vec::new(),
            ctes: Vec::new(),
            decides: NOTHING,
            put_off: NOTHING,
            whole_rows: false,
            fixed: false,
            named: NOTHING,
            sinks: Vec::new(),
            extremes: NOTHING,
            own_extremes: NOTHING,
            fallible: false,
            calls: BTreeSet::new(),
            unknown: BTreeSet::new(),
            relations: HashMap::new(),
            functions: HashMap::new(),
            depth: 0,
            work: 0,
            partial: false,
            lenient: false,
        }
    }

    /// A name that nothing has.
    fn missing(&mut self, relation: Option<u32>, name: &'a str) -> Val<'a> {
        self.unknown.insert((relation, name));
        match self.lenient {
            true => Val::of(NOTHING),
            false => Val::anything(),
        }
    }

    fn finish(mut self, output: &Cols<'a>) -> Resolved {
        self.whole_rows();
        if self.fallible {
            self.decide(self.extremes);
        }
        let owned = |col: &cols::Col<'a>| OutColumn {
            name: col.name.map(Into::into),
            sources: self.sets.get(col.val.set),
            origin: col.val.origin,
            sure: col.val.sure,
        };
        let sinks = self.sinks.iter();
        let sinks = sinks.map(|&(set, into)| Sink {
            sources: self.sets.get(set),
            into: into.map(|(table, column)| (table, column.into())),
        });
        Resolved {
            output: Output {
                head: output.head.iter().map(owned).collect(),
                rest: output.rest.map(|set| self.sets.get(set)),
                tail: output.tail.iter().map(owned).collect(),
            },
            computed: self.sets.get(self.decides).to_vec(),
            named: self.sets.get(self.named).to_vec(),
            sinks: sinks.collect(),
            calls: self.calls.iter().map(|c| (*c).into()).collect(),
            unknown: self.unknown.iter().map(|&(r, c)| (r, c.into())).collect(),
            partial: self.partial || self.sets.is_full(),
            work: self.work + self.sets.work,
        }
    }

    /// One level deeper; false: not any more.
    fn enter(&mut self) -> bool {
        self.work += 1;
        if self.depth >= MAX_DEPTH || self.work > MAX_WORK || self.sets.is_full() {
            self.partial = true;
            self.decides = ANYTHING;
            return false;
        }
        self.depth += 1;
        true
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// A condition decides which rows there are.
    fn condition(&mut self, node: Node<'a>, at: At) {
        let val = self.expr(node, at);
        self.fallible |= !val.plain;
        self.decide(val.set);
    }

    /// A value of these columns decides something that can be seen.
    fn decide(&mut self, set: Set) {
        self.decides = self.sets.union(self.decides, set);
    }

    /// It decides something if the server computes what is not used.
    fn put_off(&mut self, set: Set) {
        self.put_off = self.sets.union(self.put_off, set);
    }

    fn whole_rows(&mut self) {
        if self.whole_rows {
            self.decide(self.put_off);
        }
    }

    fn names(&mut self, set: Set) {
        self.named = self.sets.union(self.named, set);
    }

    fn sink(&mut self, set: Set, into: Option<(u32, &'a str)>) {
        if set != NOTHING && !self.sinks.contains(&(set, into)) {
            self.sinks.push((set, into));
        }
    }
}
