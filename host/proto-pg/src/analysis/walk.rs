//! The walk over a statement's raw tree: iterative, bounded, with an allow-list of node types.
//!
//! Only queries and the four data-modifying statements are walked here; `statement` knows the
//! others. Expressions are in `expression`.

use std::collections::HashMap;
use std::sync::Arc;

use pg_raw_parse::raw::SetOperation;
use pg_raw_parse::{Node, nodes};
use pipeline::Action;

use super::flow::{DefKind, Flow, NONE, Name, Range, Top};
use super::found::{Found, Place};
use crate::catalog::{Path, Snapshot};

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
    /// The definition that the node is a part of.
    pub owner: u32,
    pub out: Out,
    pub group: u32,
    /// Its rows are compared with others: DISTINCT, UNION.
    pub compared: bool,
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
    /// Where an INSERT's values go, by the definition of its row: the table and its columns.
    pub(super) inserted: HashMap<u32, (u32, Vec<Name>)>,
    scopes: Vec<Scope<'t>>,
    /// Nodes that may still be looked at.
    pub budget: usize,
    /// The setting that the whole statement is about.
    pub(super) setting: Option<&'t str>,
}

impl<'t, 'c> Walk<'t, 'c> {
    pub fn new(snapshot: &'c Snapshot, path: Path<'c>, budget: usize) -> Self {
        Self {
            snapshot,
            path,
            found: Found::default(),
            stack: Vec::new(),
            inserted: HashMap::new(),
            scopes: Vec::new(),
            budget,
            setting: None,
        }
    }

    /// Walks a query or data-modifying statement.
    pub fn query(&mut self, node: Node<'t>, out: Out) {
        if out == Out::Top {
            self.found.flow.top = Top::Arms(Vec::new());
        }
        if let Node::SelectStmt(s) = node {
            self.setting = self.setting_of(s);
        }
        self.push(node, NONE, NONE, out, NONE);
        self.drain();
        self.unknown_columns();
    }

    /// Walks expressions whose values go nowhere.
    pub fn expressions(&mut self, node: Node<'t>) {
        self.push(node, NONE, NONE, Out::Nested, NONE);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(item) = self.stack.pop() {
            if self.budget == 0 {
                self.found.refuse = Some("the statement has too many parts".into());
                self.stack.clear();
                return;
            }
            self.budget -= 1;
            let before = std::mem::take(&mut self.found.flow.opaque);
            self.visit(item);
            let condition = item.owner == NONE || item.owner == self.found.flow.computes;
            self.found.opaque_condition |= condition && self.found.flow.opaque;
            self.found.flow.opaque |= before;
        }
        let before = self.found.flow.opaque;
        self.field_calls();
        self.operator_calls();
        self.cast_calls();
        // Where in the statement they are is not known any more.
        let conditions = self.found.flow.computes != NONE;
        self.found.opaque_condition |= conditions && self.found.flow.opaque && !before;
    }

    pub(super) fn push(&mut self, node: Node<'t>, scope: u32, owner: u32, out: Out, group: u32) {
        if !matches!(node, Node::None) {
            self.stack.push(Item {
                node,
                scope,
                owner,
                out,
                group,
                compared: false,
            });
        }
    }

    /// A part of the same expression.
    pub(super) fn part(&mut self, node: Node<'t>, item: &Item<'t>) {
        self.push(node, item.scope, item.owner, Out::Nested, NONE);
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
            for name in cte.aliascolnames() {
                self.found.define(DefKind::Renamed, NONE, name.as_str());
            }
            if cte.search_clause().is_some() || cte.cycle_clause().is_some() {
                self.found.flow.blind = true;
            }
        }
        for (cte, before) in inner {
            let visible = if clause.recursive { scope } else { before };
            self.push(cte.ctequery(), visible, item.owner, Out::Nested, NONE);
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
        let aside = Item {
            owner: self.beside(item.owner),
            ..inner
        };
        for sort in s.sort_clause() {
            self.part(Node::SortBy(sort), &aside);
        }
        self.part(s.limit_offset(), &aside);
        self.part(s.limit_count(), &aside);
        if !s.locking_clause().is_empty() {
            self.found.locks = true;
        }
        let by_position = s.sort_clause().iter().any(|sort| is_position(sort.node()));
        if s.op != SetOperation::SETOP_NONE {
            let group = match item.group {
                NONE => {
                    self.found.flow.groups += 1;
                    self.found.flow.groups - 1
                }
                group => group,
            };
            for arm in [s.larg(), s.rarg()].into_iter().flatten() {
                self.push(Node::SelectStmt(arm), scope, item.owner, out, group);
                if let Some(arm) = self.stack.last_mut() {
                    // All but UNION ALL look for rows that are alike.
                    arm.compared = item.compared
                        || by_position
                        || !(s.all && s.op == SetOperation::SETOP_UNION);
                }
            }
            return;
        }
        self.parts(s.distinct_clause(), &aside);
        self.parts(s.from_clause(), &aside);
        self.part(s.where_clause(), &aside);
        self.parts(s.group_clause(), &aside);
        self.part(s.having_clause(), &aside);
        self.parts(s.window_clause(), &aside);
        let distinct = !s.distinct_clause().is_empty();
        let by_position =
            by_position || s.group_clause().iter().any(is_position) || s.group_distinct;
        let inner = Item {
            compared: item.compared || distinct || by_position,
            ..inner
        };
        if s.values_lists().is_empty() {
            self.targets(s.target_list().iter(), Item { out, ..inner });
        } else {
            self.values(s, Item { out, ..inner });
        }
    }

    /// Output columns, in order.
    pub(super) fn targets(
        &mut self,
        list: impl Iterator<Item = &'t nodes::ResTarget>,
        item: Item<'t>,
    ) {
        let mut arm = Vec::new();
        let mut star = false;
        for target in list {
            let mut stars = false;
            let kind = match item.out {
                Out::Sink => DefKind::Sink,
                Out::Nested | Out::Top => DefKind::Target,
            };
            let value = target.val();
            let (name, unnamed) = match (target.name(), value) {
                (Some(name), _) => (Some(name), false),
                (None, Node::ColumnRef(column)) => match column.fields().iter().next_back() {
                    Some(Node::A_Star(_)) => {
                        stars = true;
                        (None, false)
                    }
                    Some(last) => (last.as_str(), false),
                    None => (None, true),
                },
                // `(row).*` brings names that only the type knows.
                (None, Node::A_Indirection(i))
                    if matches!(i.indirection().iter().next_back(), Some(Node::A_Star(_))) =>
                {
                    stars = true;
                    self.found.flow.blind = true;
                    (None, false)
                }
                (None, _) => (None, true),
            };
            star |= stars;
            let def = self.found.define(kind, item.owner, name);
            if let Some(d) = self.found.def_mut(def) {
                d.star = stars;
                d.unnamed = unnamed;
                d.echo = target.name().is_none() && matches!(value, Node::ColumnRef(_));
                d.group = item.group;
                d.compared = item.compared;
            }
            // Behind a star nobody knows the positions.
            if !star {
                self.stored(def, item.owner, arm.len());
            }
            self.push(value, item.scope, def, Out::Nested, NONE);
            arm.push(def);
        }
        self.top(item.out, arm, star);
    }

    fn top(&mut self, out: Out, arm: Vec<u32>, star: bool) {
        if out != Out::Top {
            return;
        }
        match &mut self.found.flow.top {
            Top::Arms(_) if star => self.found.flow.top = Top::Named,
            Top::Arms(arms) => arms.push(arm),
            Top::Nothing | Top::Unknown | Top::Named => {}
        }
    }

    fn values(&mut self, s: &'t nodes::SelectStmt, item: Item<'t>) {
        let mut columns: Vec<u32> = Vec::new();
        for row in s.values_lists() {
            let Some(row) = row.as_node_list() else {
                self.odd("VALUES");
                continue;
            };
            for (i, value) in row.iter().enumerate() {
                if columns.len() <= i {
                    let name = format!("column{}", i + 1);
                    let kind = match item.out {
                        Out::Sink => DefKind::Sink,
                        Out::Nested | Out::Top => DefKind::Target,
                    };
                    let def = self.found.define(kind, item.owner, Some(&name));
                    if let Some(d) = self.found.def_mut(def) {
                        d.group = item.group;
                        d.compared = item.compared;
                    }
                    self.stored(def, item.owner, i);
                    columns.push(def);
                }
                let owner = columns.get(i).copied().unwrap_or(item.owner);
                self.push(value, item.scope, owner, Out::Nested, NONE);
            }
        }
        self.top(item.out, columns, false);
    }

    /// A relation in FROM.
    pub(super) fn range_var(&mut self, relation: &'t nodes::RangeVar, item: &Item<'t>) {
        let name = relation.relname().unwrap_or_default();
        if relation.schemaname().is_none() && self.is_cte(name, item.scope) {
            let visible = relation.alias().and_then(|a| a.aliasname()).unwrap_or(name);
            self.range_derived(visible);
            self.alias(relation.alias());
            return;
        }
        let places = self.places(relation);
        self.name_range(relation, &places);
        self.alias(relation.alias());
        for place in places {
            self.found.tables.insert((Action::PostgresSelect, place));
        }
    }

    pub(super) fn name_range(&mut self, relation: &'t nodes::RangeVar, places: &[Place]) {
        let alias = relation.alias();
        let visible = alias
            .and_then(|a| a.aliasname())
            .or(relation.relname())
            .unwrap_or_default();
        if alias.is_some_and(|a| !a.colnames().is_empty()) {
            self.range_derived(visible);
        }
        for place in places {
            let info = match place {
                Place::Known(index) => self.snapshot.relation(*index),
                Place::Unknown { .. } => None,
            };
            match info {
                Some(info) => self.found.range(visible, Range::Relation(info.oid)),
                None => self.range_derived(visible),
            }
        }
    }

    /// What a relation's name can mean; everything it can mean is in reach.
    pub fn places(&mut self, relation: &'t nodes::RangeVar) -> Vec<Place> {
        let name = relation.relname().unwrap_or_default();
        let found = self
            .snapshot
            .find_relations(relation.schemaname(), name, self.path);
        if found.is_empty() {
            self.found.unknown_names = true;
            // It can be anything by the time that the server looks.
            self.found.flow.opaque = true;
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

    /// An alias's column list renames by position.
    pub(super) fn alias(&mut self, alias: Option<&'t nodes::Alias>) {
        let Some(alias) = alias else {
            return;
        };
        for name in alias.colnames() {
            self.found.define(DefKind::Renamed, NONE, name.as_str());
        }
    }

    pub(super) fn derived(&mut self, alias: Option<&'t nodes::Alias>) {
        if let Some(name) = alias.and_then(|a| a.aliasname()) {
            self.range_derived(name);
        }
        self.alias(alias);
    }
}

/// The flow of a view's definition.
pub(crate) fn view(text: &str, snapshot: &Snapshot) -> Option<Flow> {
    const BUDGET: usize = 200_000;
    let tree = pg_raw_parse::parse(text).ok()?;
    let mut stmts = tree.stmts();
    let (stmt, None) = (stmts.next()?, stmts.next()) else {
        return None;
    };
    let mut walk = Walk::new(snapshot, Path::Unknown, BUDGET);
    walk.query(stmt, Out::Top);
    let found = walk.found;
    let understood = found.not_understood.is_none() && found.refuse.is_none();
    (understood && !found.unknown_names).then_some(found.flow)
}

/// `ORDER BY 1`: an output column by its number. Which one is not looked at: all count.
fn is_position(node: Node<'_>) -> bool {
    matches!(node, Node::A_Const(_) | Node::GroupingSet(_))
}
