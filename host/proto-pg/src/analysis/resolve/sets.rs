//! Sets of columns, interned: large expressions over the same columns cost one set.

use std::collections::HashMap;
use std::sync::Arc;

/// A column of a relation: its OID and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Source {
    pub relation: u32,
    pub column: i16,
}

/// Any column at all: something could not be told, or reads what it wants.
pub(crate) const ANY: Source = Source {
    relation: 0,
    column: 0,
};
/// Whatever code that no statement names has put there: more than any column, for not even a plain
/// reference shows only what the column had.
pub(crate) const CODE: Source = Source {
    relation: 0,
    column: 1,
};

/// Any column of the database, be it in reach of the statement or not: of what the server writes down.
pub(crate) const ALL: Source = Source {
    relation: 0,
    column: 2,
};

/// Index of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Set(u32);

pub(super) const NOTHING: Set = Set(0);
pub(super) const ANYTHING: Set = Set(1);
pub(super) const CODED: Set = Set(2);
pub(super) const EVERYTHING: Set = Set(3);

/// Members of all sets together; when there are more, everything counts as anything.
const MAX_MEMBERS: usize = 2_000_000;

pub(super) struct Sets {
    sets: Vec<Arc<[Source]>>,
    known: HashMap<Arc<[Source]>, Set>,
    unions: HashMap<(Set, Set), Set>,
    /// Members looked at and stored: what all of it costs.
    pub work: usize,
}

impl Sets {
    pub fn new() -> Self {
        let mut sets = Self {
            sets: Vec::new(),
            known: HashMap::new(),
            unions: HashMap::new(),
            work: 0,
        };
        for first in [&[][..], &[ANY], &[CODE], &[ALL]] {
            sets.add(first.into());
        }
        sets
    }

    fn add(&mut self, members: Arc<[Source]>) -> Set {
        let id = Set(self.sets.len() as u32);
        self.sets.push(members.clone());
        self.known.insert(members, id);
        id
    }

    pub fn get(&self, set: Set) -> Arc<[Source]> {
        let found = self.sets.get(set.0 as usize);
        found
            .cloned()
            .unwrap_or_else(|| Arc::from([ANY].as_slice()))
    }

    pub fn is_full(&self) -> bool {
        self.work > MAX_MEMBERS
    }

    pub fn of(&mut self, mut members: Vec<Source>) -> Set {
        members.sort_unstable();
        members.dedup();
        if members.contains(&ANY) {
            members.retain(|m| [ANY, CODE, ALL].contains(m));
        }
        self.work += members.len() + 1;
        if let Some(&id) = self.known.get(members.as_slice()) {
            return id;
        }
        if self.is_full() {
            return ANYTHING;
        }
        self.add(members.into())
    }

    pub fn one(&mut self, member: Source) -> Set {
        self.of(vec![member])
    }

    pub fn union(&mut self, a: Set, b: Set) -> Set {
        if a == b || b == NOTHING {
            return a;
        }
        if a == NOTHING {
            return b;
        }
        let key = if a.0 < b.0 { (a, b) } else { (b, a) };
        if let Some(&known) = self.unions.get(&key) {
            return known;
        }
        let members = self
            .get(a)
            .iter()
            .chain(self.get(b).iter())
            .copied()
            .collect();
        let union = self.of(members);
        self.unions.insert(key, union);
        union
    }

    pub fn all(&mut self, sets: impl IntoIterator<Item = Set>) -> Set {
        let mut first = NOTHING;
        let mut more: Vec<Set> = Vec::new();
        for set in sets {
            if set == NOTHING || set == first {
                continue;
            }
            if first == NOTHING {
                first = set;
            } else if more.last() != Some(&set) {
                more.push(set);
            }
        }
        match more.as_slice() {
            [] => first,
            [one] => self.union(first, *one),
            _ => {
                more.push(first);
                more.sort_unstable_by_key(|s| s.0);
                more.dedup();
                let members = more.iter().flat_map(|&s| self.get(s).to_vec()).collect();
                self.of(members)
            }
        }
    }
}
