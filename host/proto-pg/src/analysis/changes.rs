//! The walk over INSERT, UPDATE, DELETE and MERGE: what they write.

use pg_raw_parse::{Node, nodes};
use pipeline::Action;

use super::conditions;
use super::found::Place;
use super::walk::{Item, Out, Walk};

impl<'t> Walk<'t, '_> {
    pub(super) fn insert(&mut self, s: &'t nodes::InsertStmt, item: Item<'t>) {
        let scope = self.with(s.with_clause(), &item);
        let inner = Item { scope, ..item };
        self.written(s.relation(), Action::PostgresInsert);
        for column in s.cols() {
            // Names only; subscripts may hold expressions.
            if let Node::ResTarget(column) = column {
                self.parts(column.indirection(), &inner);
            }
        }
        self.push(s.select_stmt(), scope, Out::Sink);
        if let Some(conflict) = s.on_conflict_clause() {
            if let Some(infer) = conflict.infer() {
                self.parts(infer.index_elems(), &inner);
                self.part(infer.where_clause(), &inner);
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
            self.assignments(conflict.target_list().iter(), &inner);
            self.part(conflict.where_clause(), &inner);
        }
        self.returning(s.returning_clause(), inner);
    }

    pub(super) fn update(&mut self, s: &'t nodes::UpdateStmt, item: Item<'t>) {
        let scope = self.with(s.with_clause(), &item);
        let inner = Item { scope, ..item };
        self.written(s.relation(), Action::PostgresUpdate);
        self.found.unbounded |= !conditions::restricts(s.where_clause(), s.relation());
        self.assignments(s.target_list().iter(), &inner);
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
        self.written(s.relation(), Action::PostgresMerge);
        self.part(s.source_relation(), &inner);
        self.part(s.join_condition(), &inner);
        for when in s.merge_when_clauses() {
            self.part(when.condition(), &inner);
            for target in when.target_list() {
                match target {
                    Node::ResTarget(t) => self.assignments(std::iter::once(t), &inner),
                    _ => self.odd("MERGE"),
                }
            }
            self.parts(when.values(), &inner);
        }
        self.returning(s.returning_clause(), inner);
    }

    fn assignments(&mut self, list: impl Iterator<Item = &'t nodes::ResTarget>, item: &Item<'t>) {
        for target in list {
            self.part(Node::ResTarget(target), item);
        }
    }

    fn returning(&mut self, clause: Option<&'t nodes::ReturningClause>, item: Item<'t>) {
        if let Some(clause) = clause {
            self.parts(clause.exprs(), &item);
        }
    }

    /// The target of a data-modifying statement: never a CTE.
    fn written(&mut self, relation: Option<&'t nodes::RangeVar>, action: Action) {
        let Some(relation) = relation else {
            self.odd("a statement without its relation");
            return;
        };
        self.found.writes = true;
        for place in self.places(relation) {
            self.writes_to(action, place);
        }
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
