//! What a walk finds in one statement, before it is turned into facts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    interned: HashMap<Box<str>, Name>,
}

impl Found {
    pub fn intern(&mut self, name: &str) -> Name {
        if let Some(&id) = self.interned.get(name) {
            return id;
        }
        let id = self.flow.names.len() as Name;
        self.flow.names.push(name.into());
        self.interned.insert(name.into(), id);
        id
    }

    pub fn define(&mut self, kind: DefKind, parent: u32, name: Option<&str>) -> u32 {
        let name = name.map_or(NONE, |n| self.intern(n));
        self.flow.defs.push(Def {
            kind,
            parent,
            name,
            unnamed: false,
            group: NONE,
        });
        (self.flow.defs.len() - 1) as u32
    }

    pub fn def_mut(&mut self, def: u32) -> Option<&mut Def> {
        self.flow.defs.get_mut(def as usize)
    }

    /// Outside of a definition a mention has no effect on values.
    pub fn mention(&mut self, def: u32, qualifier: Option<&str>, name: Option<&str>) {
        if def == NONE {
            return;
        }
        let qualifier = qualifier.map_or(NONE, |q| self.intern(q));
        let name = name.map_or(NONE, |n| self.intern(n));
        self.flow.mentions.push(Mention {
            def,
            qualifier,
            name,
        });
    }

    pub fn range(&mut self, name: &str, range: Range) {
        let name = self.intern(name);
        self.flow.ranges.push((name, range));
    }

    pub fn made_up(&mut self, name: &str) {
        let name = self.intern(name);
        self.flow.made_up.push(name);
    }

    pub fn reach(&mut self, oid: u32) {
        if !self.flow.relations.contains(&oid) {
            self.flow.relations.push(oid);
        }
    }
}
