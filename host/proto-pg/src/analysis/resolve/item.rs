//! What stands in FROM, and how names find its columns.

use std::rc::Rc;

use super::Resolver;
use super::cols::{Cols, Val};
use super::sets::{ANYTHING, NOTHING, Set, Source};
use crate::analysis::telling;
use crate::catalog::{FIRST_USER_OID, PLACES, RelationInfo};

/// Columns that every table has, and that say nothing of its values but which partition a row is in.
pub(super) const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    /// Its alias, or its own name.
    pub name: Option<&'a str>,
    /// Relations that stand under their own names, and can be given with their schema.
    pub relations: Vec<usize>,
    /// It has the columns that tables have besides their own.
    pub table: bool,
    /// What `tableoid` and `ctid` tell: the columns that choose a row's partition.
    pub place: Set,
    /// An alias gives columns other names than its row type has.
    pub renamed: bool,
    pub cols: Rc<Cols<'a>>,
    /// It can be named as a qualifier.
    pub named: bool,
    /// Its columns can be named without one.
    pub bare: bool,
}

impl<'a> Item<'a> {
    pub fn derived(name: Option<&'a str>, cols: Rc<Cols<'a>>) -> Self {
        Self {
            name,
            relations: Vec::new(),
            table: false,
            place: NOTHING,
            renamed: false,
            cols,
            named: true,
            bare: true,
        }
    }
}

fn tells_place(name: &str) -> bool {
    PLACES.iter().any(|(_, n)| *n == name)
}

/// A range of items, and the scope around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    pub start: usize,
    pub end: usize,
    pub parent: u32,
}

/// What a name finds.
pub(super) enum Lookup<'a> {
    /// No such column, and the set of what could have one after all.
    Missing(Set),
    Found(Val<'a>),
}

impl<'a> Resolver<'a> {
    /// The items from `start` on.
    pub(super) fn scope(&mut self, start: usize, parent: u32) -> u32 {
        let end = self.items.len();
        self.scopes.push(Scope { start, end, parent });
        (self.scopes.len() - 1) as u32
    }

    fn scope_at(&self, scope: u32) -> Option<Scope> {
        self.scopes.get(scope as usize).copied()
    }

    /// A column of one list of columns.
    pub(super) fn in_cols(&mut self, cols: &Cols<'a>, name: &str) -> Lookup<'a> {
        self.work += cols.len();
        let mut found: Option<Val<'a>> = None;
        let mut maybe: Vec<Set> = cols.rest.into_iter().collect();
        for col in cols.iter() {
            match col.name {
                Some(n) if n == name => {
                    self.decide(col.val.when_used);
                    found = Some(match found {
                        None => col.val.clone(),
                        Some(other) => Val::of(self.sets.union(other.set, col.val.set)),
                    });
                }
                Some(_) => {}
                None => {
                    self.decide(col.val.when_used);
                    maybe.push(col.val.set);
                }
            }
        }
        let maybe = self.sets.all(maybe);
        match found {
            None => Lookup::Missing(maybe),
            Some(val) => Lookup::Found(Val {
                when_used: NOTHING,
                ..self.or(val, maybe)
            }),
        }
    }

    /// What was found, or something of `maybe`.
    fn or(&mut self, val: Val<'a>, maybe: Set) -> Val<'a> {
        if maybe == NOTHING {
            return val;
        }
        Val {
            set: self.sets.union(val.set, maybe),
            sure: false,
            weight: u32::MAX,
            collations: val.collations.max(1),
            kind: 0,
            ..val
        }
    }

    /// A column without a qualifier, in one scope and not around it.
    pub(super) fn local(&mut self, scope: u32, name: &str) -> Lookup<'a> {
        let Some(range) = self.scope_at(scope) else {
            return Lookup::Missing(NOTHING);
        };
        self.in_items(range.start, range.end, name)
    }

    pub(super) fn in_items(&mut self, start: usize, end: usize, name: &str) -> Lookup<'a> {
        let mut found: Option<Val<'a>> = None;
        let mut maybe = NOTHING;
        for i in start..end {
            self.work += 1;
            let Some(item) = self.items.get(i).filter(|i| i.bare) else {
                continue;
            };
            let (cols, table, place) = (item.cols.clone(), item.table, item.place);
            match self.in_cols(&cols, name) {
                Lookup::Found(val) => {
                    found = Some(match found {
                        None => val,
                        Some(other) => Val::of(self.sets.union(other.set, val.set)),
                    });
                }
                Lookup::Missing(set) if table && SYSTEM_COLUMNS.contains(&name) => {
                    maybe = self.sets.union(maybe, set);
                    let told = if tells_place(name) { place } else { NOTHING };
                    let before = found.map_or(NOTHING, |val| val.set);
                    found = Some(Val::of(self.sets.union(before, told)));
                }
                Lookup::Missing(set) => maybe = self.sets.union(maybe, set),
            }
        }
        match found {
            None => Lookup::Missing(maybe),
            Some(val) => Lookup::Found(self.or(val, maybe)),
        }
    }

    /// A column without a qualifier: of the innermost scope that has one, or a whole row of that name.
    pub(super) fn bare(&mut self, scope: u32, name: &'a str) -> Val<'a> {
        let mut maybe = NOTHING;
        let mut open = false;
        let mut at = scope;
        while let Some(range) = self.scope_at(at) {
            match self.in_items(range.start, range.end, name) {
                Lookup::Found(val) => return self.or(val, maybe),
                Lookup::Missing(set) => maybe = self.sets.union(maybe, set),
            }
            open |= self.is_open(range);
            at = range.parent;
        }
        let rows = self.named(scope, name);
        if rows.is_empty() && open {
            return Val::of(maybe);
        }
        if rows.is_empty() {
            return self.missing(None, name);
        }
        let row = self.whole(&rows);
        match maybe {
            NOTHING => row,
            _ => Val::of(self.sets.union(row.set, maybe)),
        }
    }

    /// Can an item here have columns that are not known?
    fn is_open(&self, range: Scope) -> bool {
        let items = self.items.get(range.start..range.end).unwrap_or_default();
        items.iter().any(|item| {
            item.bare && (item.cols.rest.is_some() || item.cols.iter().any(|c| c.name.is_none()))
        })
    }

    /// The items that a qualifier means: those of the innermost scope that has one.
    pub(super) fn named(&mut self, scope: u32, name: &str) -> Vec<usize> {
        self.find(scope, |item, _| item.name == Some(name))
    }

    /// Relations under their own names, given with their schema.
    pub(super) fn in_schema(&mut self, scope: u32, schema: &str, name: &str) -> Vec<usize> {
        let snapshot = self.snapshot;
        let is = |r: &RelationInfo| {
            &*r.name == name
                && (&*r.schema == schema || (schema == "pg_temp" && r.schema.starts_with(schema)))
        };
        let found = self.find(scope, |item, relations| {
            item.name == Some(name)
                && relations
                    .iter()
                    .any(|&r| snapshot.relation(r).is_some_and(is))
        });
        if !found.is_empty() {
            return found;
        }
        // One that is not in the snapshot has no columns that are known.
        self.find(scope, |item, relations| {
            item.name == Some(name) && relations.is_empty() && item.table
        })
    }

    fn find(&mut self, scope: u32, is: impl Fn(&Item<'a>, &[usize]) -> bool) -> Vec<usize> {
        let mut at = scope;
        while let Some(range) = self.scope_at(at) {
            self.work += range.end - range.start;
            let items = self.items.get(range.start..range.end).unwrap_or_default();
            let found: Vec<usize> = items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.named && is(item, &item.relations))
                .map(|(i, _)| range.start + i)
                .collect();
            if !found.is_empty() {
                return found;
            }
            at = range.parent;
        }
        Vec::new()
    }

    /// The whole row of an item. A table's row is of the table's type: beyond this query its fields have
    /// the names of that type, and not those of an alias.
    pub(super) fn whole(&mut self, items: &[usize]) -> Val<'a> {
        let mut sets = Vec::new();
        let mut row = None;
        for &i in items {
            let Some(item) = self.items.get(i) else {
                continue;
            };
            let (cols, typed) = (item.cols.clone(), item.table && item.renamed);
            self.use_all(&cols);
            sets.extend(cols.sets());
            row = (!typed).then_some(cols);
        }
        let set = self.sets.all(sets);
        Val {
            row: row.filter(|_| items.len() == 1),
            plain: true,
            ..Val::of(set)
        }
    }

    /// `qualifier.name`, and `schema.qualifier.name`.
    pub(super) fn qualified(
        &mut self,
        scope: u32,
        schema: Option<&str>,
        qualifier: &str,
        name: &'a str,
    ) -> Val<'a> {
        let items = match schema {
            None => self.named(scope, qualifier),
            Some(schema) => self.in_schema(scope, schema, qualifier),
        };
        if items.is_empty() {
            // The server knows no such thing, unless it is newer than what is known.
            self.calls.insert(name);
            return match self.lenient {
                true => Val::of(NOTHING),
                false => Val::anything(),
            };
        }
        let mut vals = Vec::new();
        for &i in &items {
            let Some(item) = self.items.get(i) else {
                continue;
            };
            let (cols, place) = (item.cols.clone(), item.table.then_some(item.place));
            let relation = item.relations.first().copied();
            vals.push(match self.in_cols(&cols, name) {
                Lookup::Found(val) => val,
                Lookup::Missing(set) => self.field_of(&cols, set, place, relation, name),
            });
        }
        match vals.len() {
            1 => vals.remove(0),
            _ => Val::of(self.sets.all(vals.iter().map(|v| v.set))),
        }
    }

    /// What `row.name` is when the row has no such column; `place` where it is a table's.
    fn field_of(
        &mut self,
        cols: &Cols<'a>,
        maybe: Set,
        place: Option<Set>,
        relation: Option<usize>,
        name: &'a str,
    ) -> Val<'a> {
        if let Some(place) = place.filter(|_| SYSTEM_COLUMNS.contains(&name)) {
            let told = if tells_place(name) { place } else { NOTHING };
            return Val {
                plain: true,
                ..Val::of(self.sets.union(maybe, told))
            };
        }
        if self.snapshot.takes_row(name) || self.snapshot.conversion(name).is_some() {
            self.calls.insert(name);
            let set = self.all_of(cols);
            self.decide(set);
            return self.called(None, name, set);
        }
        if cols.rest.is_some() || cols.iter().any(|c| c.name.is_none()) {
            self.calls.insert(name);
            return Val::of(maybe);
        }
        let oid = relation
            .and_then(|r| self.snapshot.relation(r))
            .map(|r| r.oid);
        self.missing(oid, name)
    }

    /// A relation's columns.
    pub(super) fn relation(&mut self, index: usize) -> Rc<Cols<'a>> {
        if let Some(known) = self.relations.get(&index) {
            return known.clone();
        }
        let cols = Rc::new(self.relation_columns(index));
        self.relations.insert(index, cols.clone());
        cols
    }

    fn relation_columns(&mut self, index: usize) -> Cols<'a> {
        let snapshot = self.snapshot;
        let Some(info) = snapshot.relation(index) else {
            return Cols::unknown(ANYTHING);
        };
        self.work += info.columns.len();
        let view = info.view.as_ref().map(|view| view.columns());
        // What a materialized view shows is stored: nothing of it is computed when it is read.
        let computes = !info.is_stored();
        let system = info.oid < FIRST_USER_OID && &*info.schema == "pg_catalog";
        let anything = info.opaque || info.is_leaky() || (info.view.is_some() && view.is_none());
        let mut cols = Cols::default();
        for (i, column) in info.columns.iter().enumerate() {
            let origin = Source {
                relation: info.oid,
                column: column.number,
            };
            let set = if anything {
                ANYTHING
            } else if let Some(Some(view)) = view {
                let behind = view.columns.get(i).map(|c| c.sources.to_vec());
                let mut all = behind.unwrap_or_else(|| vec![super::ANY]);
                all.push(origin);
                self.sets.of(all)
            } else {
                let own = self.sets.one(origin);
                let told = match system {
                    true => self.told(telling::column(&info.name, &column.name)),
                    false => NOTHING,
                };
                self.sets.union(own, told)
            };
            let made = view.flatten().and_then(|view| view.columns.get(i));
            let made = made.filter(|_| computes);
            let val = Val {
                origin: Some(origin),
                sure: true,
                kind: self.base_type(column.type_oid),
                plain: made.is_none_or(|made| made.plain),
                weight: made.map_or(1, |made| made.weight),
                collations: u8::from(column.collated),
                when_used: made.map_or(NOTHING, |made| self.sets.of(made.when_used.to_vec())),
                ..Val::of(set)
            };
            self.put_off(val.when_used);
            cols.push(Some(&column.name), val);
        }
        cols
    }

    /// What decides which rows a relation has.
    pub(super) fn rows_of(&mut self, index: usize) {
        let Some(info) = self.snapshot.relation(index) else {
            return;
        };
        let told = self.snapshot.told_by_rows(index);
        if !told.is_empty() {
            let told = self.sets.of(told.into_iter().collect());
            self.decide(told);
        }
        let Some(view) = info.view.as_ref() else {
            return;
        };
        match view.columns() {
            Some(columns) if !info.opaque => {
                let decides = self.sets.of(columns.decides.to_vec());
                self.decide(decides);
                if !info.is_stored() {
                    let put_off = self.sets.of(columns.put_off.to_vec());
                    self.put_off(put_off);
                    self.fixed |= columns.fixed;
                    self.fallible |= columns.fallible;
                }
            }
            _ => self.decide(ANYTHING),
        }
    }

    /// What a domain is over.
    pub(super) fn base_type(&self, oid: u32) -> u32 {
        const DEPTH: usize = 8;
        let mut oid = oid;
        for _ in 0..DEPTH {
            match self.snapshot.type_info(oid) {
                Some(info) if info.kind == b'd' && info.base != 0 => oid = info.base,
                Some(_) | None => break,
            }
        }
        oid
    }

    /// The items that a scope has without those around it.
    pub(super) fn items_of(&self, scope: u32) -> (usize, usize) {
        self.scope_at(scope).map_or((0, 0), |s| (s.start, s.end))
    }
}
