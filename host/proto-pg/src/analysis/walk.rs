//! The walk over a statement's raw tree: iterative, bounded, with an allow-list of node types.
//!
//! It finds what a statement names and calls; where values flow is the resolver's part. Only queries and
//! the four data-modifying statements are walked here; `statement` knows the others. Expressions are in
//! `expression`.

use std::collections::HashSet;
use std::sync::Arc;

use pg_raw_parse::raw::SetOperation;
use pg_raw_parse::{Node, nodes};
use pipeline::Action;

use super::found::{Found, Place, Top};
use super::resolve::{Rows, resolve, resolve_part};
use crate::catalog::{Path, Snapshot};

/// No scope.
pub(super) const NONE: u32 = u32::MAX;

/// Where the rows of a query go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Out {
    /// Into the rest of the statement.
    Nested,
    /// To the client.
    Top,
    /// Into a relation.
    Sink,
}

#[derive(Clone, Copy)]
pub(super) struct Item<'t> {
    pub node: Node<'t>,
    pub scope: u32,
    pub out: Out,
}

/// One name that a WITH clause brings into scope.
struct Scope<'t> {
    parent: u32,
    name: &'t str,
}

pub(crate) struct Walk<'t, 'c> {
    pub snapshot: &'c Snapshot,
    pub path: Path<'c>,
    pub found: Found,
    stack: Vec<Item<'t>>,
    scopes: Vec<Scope<'t>>,
    /// Nodes that may still be looked at.
    pub budget: usize,
    /// The setting that the whole statement is about.
    pub(super) setting: Option<&'t str>,
    /// Names under which relations stand in the statement, and names of columns in it: one that is both
    /// can be a whole row. Not noted where no constant could run code.
    pub(super) relation_names: HashSet<&'t str>,
    pub(super) column_names: HashSet<&'t str>,
}

impl<'t, 'c> Walk<'t, 'c> {
    pub fn new(snapshot: &'c Snapshot, path: Path<'c>, budget: usize) -> Self {
        Self {
            snapshot,
            path,
            found: Found::default(),
            stack: Vec::new(),
            scopes: Vec::new(),
            budget,
            setting: None,
            relation_names: HashSet::new(),
            column_names: HashSet::new(),
        }
    }

    /// Walks a query or data-modifying statement, and resolves it.
    pub fn query(&mut self, node: Node<'t>, out: Out) {
        if let Node::SelectStmt(s) = node {
            self.setting = self.setting_of(s);
        }
        self.push(node, NONE, out);
        self.drain();
        if self.budget > 0 {
            self.resolve(node, out);
        }
        self.code_calls();
    }

    /// Walks expressions whose values go nowhere.
    pub fn expressions(&mut self, node: Node<'t>) {
        self.push(node, NONE, Out::Nested);
        self.drain();
        self.code_calls();
    }

    /// Walks an expression that a definition stores: whatever it is about decides something.
    pub fn part_of_definition(&mut self, node: Node<'t>) {
        self.expressions(node);
        if self.budget > 0 {
            let relations = self.found.relations.iter();
            let relations = relations.filter_map(|&oid| self.snapshot.index_of(oid));
            let relations: Vec<usize> = relations.collect();
            for &index in &relations {
                self.snapshot.resolve_view(index);
            }
            let decides = resolve_part(node, &relations, self.snapshot, self.path);
            self.found.computed.extend(decides);
        }
    }

    fn resolve(&mut self, node: Node<'t>, out: Out) {
        let snapshot = self.snapshot;
        let named = self.found.relations.iter();
        let named = named.filter_map(|&oid| snapshot.index_of(oid));
        for index in named.chain(self.found.elsewhere.iter().copied()) {
            snapshot.resolve_view(index);
        }
        let rows = match out {
            Out::Top => Rows::Shown,
            Out::Nested | Out::Sink => Rows::Stored,
        };
        let coded = self.found.changed_by_code;
        let resolved = resolve(node, rows, snapshot, self.path, coded);
        if !self.found.elsewhere.is_empty() {
            let elsewhere = resolve(node, rows, snapshot, Path::Unknown, coded);
            self.found.sinks_elsewhere.extend(elsewhere.sinks);
        }
        self.found.resolved(resolved, out == Out::Top);
        let silent = match node {
            Node::InsertStmt(s) => s.returning_clause().is_none(),
            Node::UpdateStmt(s) => s.returning_clause().is_none(),
            Node::DeleteStmt(s) => s.returning_clause().is_none(),
            Node::MergeStmt(s) => s.returning_clause().is_none(),
            _ => false,
        };
        if silent && out == Out::Top {
            // No rows, unless a rule makes a query of it.
            self.found.top = Top::Unknown;
        }
    }

    /// What runs code without being a call by name.
    fn code_calls(&mut self) {
        let before = std::mem::take(&mut self.found.opaque);
        self.field_calls();
        self.operator_calls();
        self.cast_calls();
        self.literal_calls();
        self.found.anywhere |= self.found.opaque;
        self.found.opaque |= before;
    }

    fn drain(&mut self) {
        while let Some(item) = self.stack.pop() {
            if self.budget == 0 {
                self.found.refuse = Some("the statement has too many parts".into());
                self.stack.clear();
                return;
            }
            self.budget -= 1;
            self.visit(item);
        }
    }

    pub(super) fn push(&mut self, node: Node<'t>, scope: u32, out: Out) {
        if !matches!(node, Node::None) {
            self.stack.push(Item { node, scope, out });
        }
    }

    /// A part of the same expression.
    pub(super) fn part(&mut self, node: Node<'t>, item: &Item<'t>) {
        self.push(node, item.scope, Out::Nested);
    }

    pub(super) fn parts(&mut self, list: impl IntoIterator<Item = Node<'t>>, item: &Item<'t>) {
        for node in list {
            self.part(node, item);
        }
    }

    pub(super) fn odd(&mut self, what: &'static str) {
        self.found.not_understood.get_or_insert(what);
    }

    fn visit(&mut self, item: Item<'t>) {
        match item.node {
            Node::SelectStmt(s) => self.select(s, item),
            Node::InsertStmt(s) => self.insert(s, item),
            Node::UpdateStmt(s) => self.update(s, item),
            Node::DeleteStmt(s) => self.delete(s, item),
            Node::MergeStmt(s) => self.merge(s, item),
            _ => self.expression(item),
        }
    }

    /// Opens a WITH clause; gives the scope of the statement that has it.
    pub(super) fn with(&mut self, clause: Option<&'t nodes::WithClause>, item: &Item<'t>) -> u32 {
        let Some(clause) = clause else {
            return item.scope;
        };
        let mut scope = item.scope;
        let mut inner = Vec::new();
        for cte in clause.ctes() {
            inner.push((cte, scope));
            self.scopes.push(Scope {
                parent: scope,
                name: cte.ctename().unwrap_or_default(),
            });
            scope = (self.scopes.len() - 1) as u32;
            if let Some(cycle) = cte.cycle_clause() {
                self.part(cycle.cycle_mark_value(), item);
                self.part(cycle.cycle_mark_default(), item);
            }
        }
        for (cte, before) in inner {
            let visible = if clause.recursive { scope } else { before };
            self.push(cte.ctequery(), visible, Out::Nested);
        }
        scope
    }

    fn is_cte(&mut self, name: &str, mut scope: u32) -> bool {
        while let Some(entry) = self.scopes.get(scope as usize) {
            if entry.name == name {
                return true;
            }
            scope = entry.parent;
            self.budget = self.budget.saturating_sub(1);
        }
        false
    }

    fn select(&mut self, s: &'t nodes::SelectStmt, item: Item<'t>) {
        let scope = self.with(s.with_clause(), &item);
        let inner = Item { scope, ..item };
        let out = item.out;
        if s.into_clause().is_some() && out != Out::Sink {
            // `statement` handles it at the top; PostgreSQL allows it nowhere else.
            self.odd("SELECT INTO");
        }
        let aside = inner;
        for sort in s.sort_clause() {
            self.part(Node::SortBy(sort), &aside);
        }
        self.part(s.limit_offset(), &aside);
        self.part(s.limit_count(), &aside);
        if !s.locking_clause().is_empty() {
            self.found.locks = true;
        }
        if s.op != SetOperation::SETOP_NONE {
            for arm in [s.larg(), s.rarg()].into_iter().flatten() {
                self.push(Node::SelectStmt(arm), scope, out);
            }
            return;
        }
        self.parts(s.distinct_clause(), &aside);
        self.parts(s.from_clause(), &aside);
        self.part(s.where_clause(), &aside);
        self.parts(s.group_clause(), &aside);
        self.part(s.having_clause(), &aside);
        self.parts(s.window_clause(), &aside);
        for target in s.target_list() {
            self.part(Node::ResTarget(target), &aside);
        }
        self.parts(s.values_lists(), &aside);
    }

    /// A relation in FROM.
    pub(super) fn range_var(&mut self, relation: &'t nodes::RangeVar, item: &Item<'t>) {
        let name = relation.relname().unwrap_or_default();
        if relation.schemaname().is_none() && self.is_cte(name, item.scope) {
            return;
        }
        for place in self.places(relation) {
            self.found.tables.insert((Action::PostgresSelect, place));
        }
    }

    /// What a relation's name can mean; everything it can mean is in reach.
    pub fn places(&mut self, relation: &'t nodes::RangeVar) -> Vec<Place> {
        let name = relation.relname().unwrap_or_default();
        if !self.snapshot.read_types().is_empty() {
            let alias = relation.alias().and_then(|a| a.aliasname());
            self.relation_names.insert(alias.unwrap_or(name));
        }
        let found = self
            .snapshot
            .find_relations(relation.schemaname(), name, self.path);
        if found.is_empty() {
            self.found.unknown_names = true;
            // It can be anything by the time that the server looks.
            self.found.opaque = true;
            return vec![Place::Unknown {
                schema: self.schema_of(relation.schemaname()),
                name: name.into(),
            }];
        }
        for &index in &found {
            if let Some(info) = self.snapshot.relation(index) {
                self.found.reach(info.oid);
            }
        }
        if relation.schemaname().is_none() {
            let all = self.snapshot.find_relations(None, name, Path::Unknown);
            let other = all.into_iter().filter(|i| !found.contains(i));
            self.found.elsewhere.extend(other);
        }
        found.into_iter().map(Place::Known).collect()
    }

    /// Where an unqualified name would be created, or is said to be missing from.
    pub fn schema_of(&self, schema: Option<&str>) -> Arc<str> {
        if let Some(schema) = schema {
            return schema.into();
        }
        let first = match self.path {
            Path::Known(schemas) => schemas
                .iter()
                .find(|s| &***s != "pg_catalog" && !s.starts_with("pg_temp_")),
            Path::Unknown => None,
        };
        first.cloned().unwrap_or_else(|| "public".into())
    }
}

/// The one statement of a text.
pub(crate) fn only_statement(tree: &pg_raw_parse::ParseResult) -> Option<Node<'_>> {
    let mut stmts = tree.stmts();
    match (stmts.next(), stmts.next()) {
        (Some(stmt), None) => Some(stmt),
        _ => None,
    }
}

/// Can a view's definition read anything? So it counts when it cannot be read.
pub(crate) fn reads_anything(text: &str, snapshot: &Snapshot) -> bool {
    const BUDGET: usize = 200_000;
    let Ok(tree) = pg_raw_parse::parse(text) else {
        return true;
    };
    let Some(stmt) = only_statement(&tree) else {
        return true;
    };
    let mut walk = Walk::new(snapshot, Path::Unknown, BUDGET);
    walk.expressions(stmt);
    let found = walk.found;
    let understood = found.not_understood.is_none() && found.refuse.is_none();
    found.opaque || found.unknown_names || !understood
}
