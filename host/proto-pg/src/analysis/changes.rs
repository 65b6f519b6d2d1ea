//! The walk over INSERT, UPDATE, DELETE and MERGE: what they write, and where values go.

use pg_raw_parse::{Node, nodes};
use pipeline::Action;

use super::conditions;
use super::flow::{DefKind, NONE, Name, Range, Top};
use super::found::Place;
use super::walk::{Item, Out, Walk};

/// The name of the row that an INSERT could not insert; no column can have it.
const EXCLUDED: &str = "\u{0}excluded";

impl<'t> Walk<'t, '_> {
    pub(super) fn insert(&mut self, s: &'t nodes::InsertStmt, item: Item<'t>) {
        let scope = self.with(s.with_clause(), &item);
        let inner = Item { scope, ..item };
        let table = self.written(s.relation(), Action::PostgresInsert);
        for column in s.cols() {
            // Names only; subscripts may hold expressions.
            if let Node::ResTarget(column) = column {
                self.parts(column.indirection(), &inner);
            }
        }
        // What any of the values is tainted by can be in any column of the row `excluded`.
        let excluded = self.found.intern(EXCLUDED);
        let row = self
            .found
            .define(DefKind::Target, item.owner, Some(EXCLUDED));
        self.push(s.select_stmt(), scope, row, Out::Sink, NONE);
        if let Some(table) = table {
            let columns = self.insert_columns(s, table);
            self.inserted.insert(row, (table, columns));
        }
        if let Some(conflict) = s.on_conflict_clause() {
            self.found.range("excluded", Range::Excluded(excluded));
            match conflict.infer() {
                Some(infer) if infer.conname().is_none() => {
                    self.parts(infer.index_elems(), &inner);
                    self.part(infer.where_clause(), &inner);
                }
                // Whatever is unique: it is not looked up which columns those are.
                _ => {
                    let table = s.relation().and_then(|r| {
                        let alias = r.alias().and_then(|a| a.aliasname());
                        alias.or(r.relname())
                    });
                    self.found.mention(item.owner, table, None);
                }
            }
            if !conflict.target_list().is_empty() {
                self.written(s.relation(), Action::PostgresUpdate);
                let values = match s.select_stmt() {
                    Node::SelectStmt(source) => !source.values_lists().is_empty(),
                    node => matches!(node, Node::None),
                };
                // As many rows as a query gives, which nobody can see from the text.
                self.found.unbounded |= !values;
            }
            self.assignments(conflict.target_list().iter(), &inner, table);
            self.part(conflict.where_clause(), &inner);
        }
        self.returning(s.returning_clause(), inner);
    }

    /// What stands beside the values of an INSERT gives nothing to its row.
    pub(super) fn beside(&self, owner: u32) -> u32 {
        let flow = &self.found.flow;
        let name = flow.defs.get(owner as usize).map(|d| d.name);
        match name.is_some_and(|name| name != NONE && flow.name(EXCLUDED) == Some(name)) {
            true => NONE,
            false => owner,
        }
    }

    /// The columns that values go to, by position.
    fn insert_columns(&mut self, s: &'t nodes::InsertStmt, table: u32) -> Vec<Name> {
        let snapshot = self.snapshot;
        let info = snapshot.index_of(table).and_then(|i| snapshot.relation(i));
        let Some(info) = info else {
            return Vec::new();
        };
        let mut names: Vec<&str> = Vec::new();
        for column in s.cols() {
            match column {
                Node::ResTarget(c) if c.indirection().is_empty() => names.extend(c.name()),
                // A part of a column.
                _ => names.push(""),
            }
        }
        if s.cols().is_empty() {
            names = info.columns.iter().map(|c| &*c.name).collect();
        }
        names
            .into_iter()
            .map(|name| self.found.intern(name))
            .collect()
    }

    pub(super) fn update(&mut self, s: &'t nodes::UpdateStmt, item: Item<'t>) {
        let scope = self.with(s.with_clause(), &item);
        let inner = Item { scope, ..item };
        let table = self.written(s.relation(), Action::PostgresUpdate);
        self.found.unbounded |= !conditions::restricts(s.where_clause(), s.relation());
        self.assignments(s.target_list().iter(), &inner, table);
        self.part(s.where_clause(), &inner);
        self.parts(s.from_clause(), &inner);
        self.returning(s.returning_clause(), inner);
    }

    pub(super) fn delete(&mut self, s: &'t nodes::DeleteStmt, item: Item<'t>) {
        let scope = self.with(s.with_clause(), &item);
        let inner = Item { scope, ..item };
        self.written(s.relation(), Action::PostgresDelete);
        self.found.unbounded |= !conditions::restricts(s.where_clause(), s.relation());
        self.parts(s.using_clause(), &inner);
        self.part(s.where_clause(), &inner);
        self.returning(s.returning_clause(), inner);
    }

    pub(super) fn merge(&mut self, s: &'t nodes::MergeStmt, item: Item<'t>) {
        let scope = self.with(s.with_clause(), &item);
        let inner = Item { scope, ..item };
        let table = self.written(s.relation(), Action::PostgresMerge);
        self.part(s.source_relation(), &inner);
        self.part(s.join_condition(), &inner);
        for when in s.merge_when_clauses() {
            self.part(when.condition(), &inner);
            for target in when.target_list() {
                match target {
                    Node::ResTarget(t) => self.assignments(std::iter::once(t), &inner, table),
                    _ => self.odd("MERGE"),
                }
            }
            let columns: Vec<Option<&str>> = when
                .target_list()
                .iter()
                .map(|target| match target {
                    Node::ResTarget(t) if t.indirection().is_empty() => t.name(),
                    _ => None,
                })
                .collect();
            for (i, value) in when.values().iter().enumerate() {
                let sink = self.found.define(DefKind::Sink, NONE, None);
                if let (Some(table), Some(Some(name))) = (table, columns.get(i)) {
                    let into = (table, self.found.intern(name));
                    self.store_into(sink, into);
                }
                self.push(value, scope, sink, Out::Nested, NONE);
            }
        }
        self.returning(s.returning_clause(), inner);
    }

    fn assignments(
        &mut self,
        list: impl Iterator<Item = &'t nodes::ResTarget>,
        item: &Item<'t>,
        table: Option<u32>,
    ) {
        for target in list {
            let sink = self.found.define(DefKind::Sink, NONE, None);
            self.parts(target.indirection(), item);
            // Several columns from one row have no column of their own to be compared with.
            let alone = !matches!(target.val(), Node::MultiAssignRef(_));
            if let (Some(table), Some(name), true) = (table, target.name(), alone)
                && target.indirection().is_empty()
            {
                let into = (table, self.found.intern(name));
                self.store_into(sink, into);
            }
            self.push(target.val(), item.scope, sink, Out::Nested, NONE);
        }
    }

    /// The value at a position of an INSERT's source goes to the column at that position.
    pub(super) fn stored(&mut self, def: u32, row: u32, position: usize) {
        let sink = matches!(self.found.def_mut(def), Some(d) if d.kind == DefKind::Sink);
        if let (true, Some((table, columns))) = (sink, self.inserted.get(&row))
            && let Some(&column) = columns.get(position)
        {
            let into = (*table, column);
            self.store_into(def, into);
        }
    }

    fn store_into(&mut self, sink: u32, into: (u32, Name)) {
        if let Some(def) = self.found.def_mut(sink) {
            def.into = Some(into);
        }
    }

    fn returning(&mut self, clause: Option<&'t nodes::ReturningClause>, item: Item<'t>) {
        let Some(clause) = clause else {
            // No rows, unless a rule makes a query of it.
            if item.out == Out::Top {
                self.found.flow.top = Top::Unknown;
            }
            return;
        };
        for name in ["old", "new"] {
            self.range_derived(name);
        }
        for option in clause.options() {
            if let Some(name) = option.value() {
                self.range_derived(name);
            }
        }
        let targets = clause.exprs().iter().filter_map(|node| match node {
            Node::ResTarget(target) => Some(target),
            _ => None,
        });
        let first = self.found.flow.defs.len() as u32;
        self.targets(targets, item);
        if self.found.changed_by_code {
            // Triggers and defaults can have put anything into the row.
            let end = self.found.flow.defs.len() as u32;
            self.found.flow.brought.extend(first..end);
        }
    }

    pub(super) fn range_derived(&mut self, name: &str) {
        self.found.range(name, Range::Derived);
    }

    /// The target of a data-modifying statement: never a CTE. Gives its OID when it is one table.
    fn written(&mut self, relation: Option<&'t nodes::RangeVar>, action: Action) -> Option<u32> {
        let Some(relation) = relation else {
            self.odd("a statement without its relation");
            return None;
        };
        self.found.writes = true;
        let places = self.places(relation);
        self.name_range(relation, &places);
        let table = match places.as_slice() {
            [Place::Known(index)] => self.snapshot.relation(*index).map(|r| r.oid),
            _ => None,
        };
        for place in places {
            self.writes_to(action, place);
        }
        table
    }

    /// A write, and the code that comes with it.
    pub(super) fn writes_to(&mut self, action: Action, place: Place) {
        if let Place::Known(index) = place {
            let snapshot = self.snapshot;
            let effects = snapshot.write(index, action);
            self.found.changed_by_code |= effects.code;
            for (schema, name) in &effects.casts {
                self.function(Some(schema), name);
            }
        }
        self.found.tables.insert((action, place));
    }
}
