//! What a walk finds in one statement, before it is turned into facts.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use pipeline::Action;

use super::flow::{Def, DefKind, Flow, Mention, NONE, Name, Range};

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

#[derive(Debug, Default)]
pub(crate) struct Found {
    pub tables: BTreeSet<(Action, Place)>,
    /// By schema and name.
    pub calls: BTreeMap<(Arc<str>, Arc<str>), Call>,
    pub flow: Flow,
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
    /// A constant sets the search path.
    pub sets_path: bool,
    pub changes_catalog: bool,
    /// Relations of a name that stands without its schema, but for the one that it means.
    pub elsewhere: BTreeSet<usize>,
    /// The statement can copy labelled columns to where no label is.
    pub copies: Option<&'static str>,
    /// Fields of something that has a name, to be looked at when all names are known.
    pub fields: BTreeSet<(Name, Name)>,
    /// Columns that stand without a qualifier.
    pub bare: BTreeSet<Name>,
    /// Operators that users made, or could have: by schema and name.
    pub operators: BTreeSet<(Option<Box<str>>, Box<str>)>,
    /// Types that the statement names.
    pub type_names: BTreeSet<Box<str>>,
    pub parameters: bool,
    /// A write runs code that can put anything into the rows.
    pub changed_by_code: bool,
    /// Code runs that the statement does not name: errors and notices can say anything.
    pub hidden_code: bool,
    /// Something in FROM has columns of unknown names.
    pub any_column: bool,
    /// Code that can read anything decides which rows there are.
    pub opaque_condition: bool,
    /// Relations whose constraints are checked: an error can show their rows.
    pub checked: BTreeSet<usize>,
    /// Columns that nothing in reach has; by the relation that they are said to be of.
    pub new_columns: BTreeSet<(Option<u32>, Name)>,
    mentions: HashSet<Mention>,
    ranges: HashSet<(Name, Range)>,
    reached: HashSet<u32>,
}

impl Found {
    pub fn intern(&mut self, name: &str) -> Name {
        if let Some(&id) = self.flow.interned.get(name) {
            return id;
        }
        let id = self.flow.names.len() as Name;
        self.flow.names.push(name.into());
        self.flow.interned.insert(name.into(), id);
        id
    }

    pub fn define(&mut self, kind: DefKind, parent: u32, name: Option<&str>) -> u32 {
        let name = name.map_or(NONE, |n| self.intern(n));
        self.flow.defs.push(Def {
            kind,
            parent,
            name,
            unnamed: false,
            echo: false,
            group: NONE,
            star: false,
            compared: false,
            into: None,
        });
        (self.flow.defs.len() - 1) as u32
    }

    pub fn def_mut(&mut self, def: u32) -> Option<&mut Def> {
        self.flow.defs.get_mut(def as usize)
    }

    /// Outside of a definition a mention has no effect on values: the statement computes with it.
    pub fn mention(&mut self, def: u32, qualifier: Option<&str>, name: Option<&str>) {
        let def = match def {
            NONE => self.computes(),
            def => def,
        };
        let qualifier = qualifier.map_or(NONE, |q| self.intern(q));
        let name = name.map_or(NONE, |n| self.intern(n));
        let mention = Mention {
            def,
            qualifier,
            name,
        };
        if self.mentions.insert(mention) {
            self.flow.mentions.push(mention);
        }
    }

    /// The definition that stands for whatever decides rows, their order, branches and errors.
    pub fn computes(&mut self) -> u32 {
        if self.flow.computes == NONE {
            self.flow.computes = self.define(DefKind::Compute, NONE, None);
        }
        self.flow.computes
    }

    pub fn range(&mut self, name: &str, range: Range) {
        let name = self.intern(name);
        if self.ranges.insert((name, range)) {
            self.flow.ranges.push((name, range));
        }
    }

    pub fn made_up(&mut self, name: &str) {
        let name = self.intern(name);
        self.flow.made_up.push(name);
    }

    pub fn reach(&mut self, oid: u32) {
        if self.reached.insert(oid) {
            self.flow.relations.push(oid);
        }
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
            || self.flow.opaque
    }

    /// What the walk over a part of a definition found. Where its values come from says nothing about
    /// the definition's own: a condition or a default gives nothing to a result.
    pub fn absorb(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.calls.extend(other.calls);
        self.elsewhere.extend(other.elsewhere);
        self.computes_like(&other.flow);
        self.opaque_condition |= other.opaque_condition;
        for oid in other.flow.relations {
            self.reach(oid);
        }
        self.flow.opaque |= other.flow.opaque;
        self.locks |= other.locks;
        self.writes |= other.writes;
        self.unknown_names |= other.unknown_names;
        self.sets_path |= other.sets_path;
        self.hidden_code |= other.hidden_code;
        self.not_understood = self.not_understood.or(other.not_understood);
        self.refuse = self.refuse.take().or(other.refuse);
        self.copies = self.copies.or(other.copies);
    }

    /// Takes over what another flow computes with: its definitions, since conditions are about them, but
    /// none of its sinks.
    fn computes_like(&mut self, other: &Flow) {
        let nothing = other.computes == NONE && other.defs.iter().all(|d| !d.compared);
        if nothing {
            return;
        }
        let computes = self.computes();
        let names: Vec<Name> = other.names.iter().map(|n| self.intern(n)).collect();
        let name = |n: Name| names.get(n as usize).copied().unwrap_or(NONE);
        let first = self.flow.defs.len() as u32;
        let def = |d: u32| match d {
            NONE => NONE,
            d if d == other.computes => computes,
            d => first + d,
        };
        let groups = self.flow.groups;
        for d in &other.defs {
            self.flow.defs.push(Def {
                kind: match d.kind {
                    DefKind::Sink | DefKind::Compute => DefKind::Target,
                    kind => kind,
                },
                parent: def(d.parent),
                name: name(d.name),
                group: match d.group {
                    NONE => NONE,
                    group => groups + group,
                },
                into: None,
                ..d.clone()
            });
        }
        self.flow.groups += other.groups;
        for m in &other.mentions {
            let mention = Mention {
                def: def(m.def),
                qualifier: name(m.qualifier),
                name: name(m.name),
            };
            if self.mentions.insert(mention) {
                self.flow.mentions.push(mention);
            }
        }
        for &(range, of) in &other.ranges {
            let of = match of {
                Range::Excluded(n) => Range::Excluded(name(n)),
                of => of,
            };
            if self.ranges.insert((name(range), of)) {
                self.flow.ranges.push((name(range), of));
            }
        }
        self.flow
            .unknown
            .extend(other.unknown.iter().map(|n| name(*n)));
        self.flow
            .brought
            .extend(other.brought.iter().map(|d| first + d));
        self.flow.blind |= other.blind;
    }
}
