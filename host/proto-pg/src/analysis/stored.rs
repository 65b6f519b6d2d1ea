//! Expressions that a definition stores: defaults, checks, bounds, policies, statistics and whatever
//! else the grammar allows. They run later, for other people, so what they call matters more than what
//! they give.
//!
//! Every part of the statement's tree is visited by the parser's own generated code, not by a list of
//! places where expressions can be: there is no place to forget.

use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_raw_parse::make::{self, MemoryToken};
use pg_raw_parse::transform::{Assignable, Transform, transform_constraint, transform_node};
use pg_raw_parse::{Node, nodes};
use pipeline::Action;

use super::summary::COPIES;
use super::walk::Walk;

/// Notes what the expressions in a definition call and read. Code that is not PostgreSQL's own in them
/// could store what it reads where no label protects it.
pub(super) fn expressions(node: Node<'_>, walk: &mut Walk<'_, '_>) {
    // Its query is walked by itself, and everything else of it is names. What is granted on is names, too,
    // of more kinds than the parser's generated code knows.
    if matches!(
        node,
        Node::ViewStmt(_) | Node::CreateSchemaStmt(_) | Node::GrantStmt(_)
    ) {
        return;
    }
    let whole = catch_unwind(AssertUnwindSafe(|| {
        if is_deep(node) {
            return false;
        }
        make::owned(|mem| {
            let mut copy = mem.make_unique(node);
            // The types of columns first: they say which operators can be meant.
            for types_only in [true, false] {
                let mut visit = Visit { walk, types_only };
                // The statement itself is no expression.
                transform_node(Assignable::new(&mut copy).into_inner(), &mut visit);
            }
            nothing(mem)
        });
        true
    }));
    if !matches!(whole, Ok(true)) {
        walk.odd("a definition that is nested too deeply");
    }
    if walk.found.opaque {
        walk.found.copies.get_or_insert(COPIES);
    }
}

/// Copying and visiting recurse, and nothing stops them: a tree that is nested more deeply than this is
/// not touched. Two levels are one operator.
const MAX_DEPTH: usize = 400;

/// The parser's debug output shows how deep a tree is, and writing it can be stopped.
fn is_deep(node: Node<'_>) -> bool {
    let mut depth = Depth::default();
    write!(depth, "{node:?}").is_err()
}

#[derive(Default)]
struct Depth {
    now: usize,
    quoted: bool,
    escaped: bool,
}

impl Write for Depth {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.quoted => self.escaped = true,
                b'"' => self.quoted = !self.quoted,
                _ if self.quoted => {}
                b'(' | b'[' | b'{' => self.now += 1,
                b')' | b']' | b'}' => self.now = self.now.saturating_sub(1),
                _ => {}
            }
            if self.now > MAX_DEPTH {
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

/// What the memory is made for has to be something.
fn nothing<'mem>(mem: MemoryToken<'mem>) -> make::Unique<'mem, &'mem nodes::Integer> {
    mem.make_integer(0)
}

struct Visit<'w, 't, 'c> {
    walk: &'w mut Walk<'t, 'c>,
    types_only: bool,
}

impl Visit<'_, '_, '_> {
    /// A walk of its own, whose findings join the definition's.
    fn walk(&mut self, node: Node<'_>) {
        if self.types_only {
            return;
        }
        let outer = &mut *self.walk;
        let mut inner = Walk::new(outer.snapshot, outer.path, outer.budget);
        for &oid in &outer.found.relations {
            inner.found.reach(oid);
        }
        inner.found.type_names = outer.found.type_names.clone();
        // Columns of what is being defined stand in it, which nothing in it says.
        inner.part_of_definition(node);
        outer.budget = inner.budget;
        outer.found.absorb(inner.found);
    }
}

impl Visit<'_, '_, '_> {
    /// A foreign key tells what the other table holds.
    fn refers(&mut self, relation: &nodes::RangeVar) {
        let outer = &mut *self.walk;
        let mut inner = Walk::new(outer.snapshot, outer.path, outer.budget);
        for place in inner.places(relation) {
            inner.found.tables.insert((Action::PostgresSelect, place));
        }
        // It can be the table that is being made.
        if !inner.found.unknown_names {
            outer.found.absorb(inner.found);
        }
    }
}

impl<'mem> Transform<'mem> for Visit<'_, '_, '_> {
    fn transform_node<'mutref>(&mut self, node: Assignable<'mem, 'mutref>) {
        if is_expression(node.as_ref()) {
            self.walk(node.as_ref());
        } else {
            transform_node(node.into_inner(), self);
        }
    }

    fn transform_type_name<'mutref>(&mut self, node: nodes::TypeNameMut<'mem, 'mutref>) {
        // A column's type casts nothing by itself.
        let names = node.names().iter().next_back().and_then(|s| s.sval());
        let types = &mut self.walk.found.type_names;
        types.extend(names.map(Into::into));
        for modifier in node.typmods() {
            self.walk(modifier);
        }
    }

    fn transform_constraint<'mutref>(&mut self, node: nodes::ConstraintMut<'mem, 'mutref>) {
        if let Some(referenced) = node.pktable() {
            self.refers(referenced);
        }
        transform_constraint(node, self);
    }

    fn transform_func_call<'mutref>(&mut self, node: nodes::FuncCallMut<'mem, 'mutref>) {
        self.walk(Node::FuncCall(&node));
    }

    fn transform_select_stmt<'mutref>(&mut self, node: nodes::SelectStmtMut<'mem, 'mutref>) {
        self.walk(Node::SelectStmt(&node));
    }
}

/// Where a walk of expressions begins. What is not here is taken apart further.
fn is_expression(node: Node<'_>) -> bool {
    matches!(
        node,
        Node::A_Expr(_)
            | Node::A_Indirection(_)
            | Node::A_ArrayExpr(_)
            | Node::BoolExpr(_)
            | Node::BooleanTest(_)
            | Node::CaseExpr(_)
            | Node::CoalesceExpr(_)
            | Node::CollateClause(_)
            | Node::ColumnRef(_)
            | Node::FuncCall(_)
            | Node::GroupingFunc(_)
            | Node::JsonArrayAgg(_)
            | Node::JsonArrayConstructor(_)
            | Node::JsonArrayQueryConstructor(_)
            | Node::JsonFuncExpr(_)
            | Node::JsonIsPredicate(_)
            | Node::JsonObjectAgg(_)
            | Node::JsonObjectConstructor(_)
            | Node::JsonParseExpr(_)
            | Node::JsonScalarExpr(_)
            | Node::JsonSerializeExpr(_)
            | Node::JsonValueExpr(_)
            | Node::MinMaxExpr(_)
            | Node::NamedArgExpr(_)
            | Node::NullTest(_)
            | Node::RowExpr(_)
            | Node::SQLValueFunction(_)
            | Node::SubLink(_)
            | Node::TypeCast(_)
            | Node::XmlExpr(_)
            | Node::XmlSerialize(_)
            | Node::SelectStmt(_)
            | Node::InsertStmt(_)
            | Node::UpdateStmt(_)
            | Node::DeleteStmt(_)
            | Node::MergeStmt(_)
    )
}
