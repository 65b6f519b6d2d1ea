//! Expressions: what flows into their values, and what in them decides something.

use std::rc::Rc;

use pg_raw_parse::raw::{A_Expr_Kind, BoolExprType, SubLinkType};
use pg_raw_parse::{ConstValue, Node, nodes};

use super::cols::{BOOL, Cols, PARAMETER, TEXT, Val, bends, collations, common};
use super::item::Lookup;
use super::sets::{ANYTHING, NOTHING, Set};
use super::{At, Resolver, totals};
use crate::catalog::RelationInfo;

impl<'a> Resolver<'a> {
    pub(super) fn expr(&mut self, node: Node<'a>, at: At) -> Val<'a> {
        match node {
            Node::ParamRef(_) => {
                self.work += 1;
                return Val::parameter();
            }
            Node::None
            | Node::A_Const(_)
            | Node::SetToDefault(_)
            | Node::CurrentOfExpr(_)
            | Node::SQLValueFunction(_)
            | Node::MergeSupportFunc(_)
            | Node::GroupingFunc(_)
            | Node::Integer(_)
            | Node::Float(_)
            | Node::Boolean(_)
            | Node::BitString(_)
            | Node::String(_) => {
                self.work += 1;
                return Val::constant();
            }
            Node::ColumnRef(c) => {
                let val = self.column(c, at);
                self.names(val.set);
                return val;
            }
            _ => {}
        }
        if !self.enter() {
            return Val::anything();
        }
        let val = self.inner(node, at);
        self.leave();
        val
    }

    fn inner(&mut self, node: Node<'a>, at: At) -> Val<'a> {
        match node {
            Node::A_Expr(e) => self.operators(e, at),
            Node::BoolExpr(e) => self.logic(e, at),
            Node::FuncCall(f) => self.call(f, at),
            Node::TypeCast(c) => self.cast(c, at),
            Node::SubLink(s) => self.sub_link(s, at),
            Node::CaseExpr(c) => self.case(c, at),
            Node::A_Indirection(i) => self.indirect(i.arg(), i.indirection().iter(), at),
            Node::CollateClause(c) => {
                let val = self.expr(c.arg(), at);
                Val {
                    origin: None,
                    sure: false,
                    collations: 1,
                    ..val
                }
            }
            Node::NullTest(t) => self.test(t.arg(), at),
            Node::BooleanTest(t) => self.test(t.arg(), at),
            Node::CoalesceExpr(c) => self.coalesce(c, at),
            Node::MinMaxExpr(m) => self.parts(m.args().iter(), at, true),
            Node::RowExpr(r) => self.parts(r.args().iter(), at, false),
            Node::A_ArrayExpr(a) => self.parts(a.elements().iter(), at, true),
            Node::NodeList(list) => self.parts(list.iter(), at, false),
            Node::NamedArgExpr(a) => self.expr(a.arg(), at),
            Node::ResTarget(t) => self.expr(t.val(), at),
            Node::MultiAssignRef(m) => self.expr(m.source(), at),
            Node::SortBy(s) => self.expr(s.node(), at),
            Node::IndexElem(e) => self.expr(e.expr(), at),
            Node::A_Indices(i) => Val::of(self.subscript(i, at)),
            node => self.xml_and_json(node, at),
        }
    }

    /// Several values as one: a row, a list; an array, whose values have to be `alike`.
    fn parts(&mut self, list: impl Iterator<Item = Node<'a>>, at: At, alike: bool) -> Val<'a> {
        let vals: Vec<Val<'a>> = list.map(|node| self.expr(node, at)).collect();
        let set = self.sets.all(vals.iter().map(|v| v.set));
        let like = !alike || vals.windows(2).all(|w| matches!(w, [a, b] if a.is_like(b)));
        let collations = collations(&vals);
        if !like || !vals.iter().all(Val::is_scalar) || (alike && collations > 1) {
            // Arrays of arrays, and rows that are compared, can fail for what is in them.
            self.decide(set);
        }
        Val {
            collations,
            plain: vals.iter().all(|v| v.plain && v.is_scalar()),
            weight: vals.iter().map(|v| v.weight).fold(0, u32::saturating_add),
            ..Val::of(set)
        }
    }

    fn column(&mut self, column: &'a nodes::ColumnRef, at: At) -> Val<'a> {
        self.work += 1;
        let fields = column.fields();
        let names: Vec<&'a str> = fields.iter().filter_map(Node::as_str).collect();
        if matches!(fields.iter().next_back(), Some(Node::A_Star(_))) {
            // In an expression: the row as a whole.
            if names.is_empty() {
                let (start, end) = self.items_of(at.scope);
                let cols = self.visible(start, end);
                return Val::of(self.all_of(&cols));
            }
            return self.row_named(&names, at);
        }
        match names.as_slice() {
            [name] => self.bare(at.scope, name),
            [qualifier, name] => self.qualified(at.scope, None, qualifier, name),
            [.., schema, qualifier, name] => {
                self.qualified(at.scope, Some(schema), qualifier, name)
            }
            [] => Val::anything(),
        }
    }

    /// A whole row by its name.
    fn row_named(&mut self, names: &[&'a str], at: At) -> Val<'a> {
        let items = self.items_named(names, at);
        match (items.is_empty(), names.last()) {
            (false, _) => self.whole(&items),
            (true, Some(name)) => self.missing(None, name),
            (true, None) => Val::anything(),
        }
    }

    /// The items that `name`, `schema.name` or `database.schema.name` means.
    pub(super) fn items_named(&mut self, names: &[&'a str], at: At) -> Vec<usize> {
        match names {
            [] => Vec::new(),
            [name] => self.named(at.scope, name),
            [.., schema, name] => self.in_schema(at.scope, schema, name),
        }
    }

    /// `a + b + c` leans to the left, as deep as the text is long: no recursion there.
    fn operators(&mut self, e: &'a nodes::A_Expr, at: At) -> Val<'a> {
        let mut chain = vec![e];
        let mut left = e.lexpr();
        while let Node::A_Expr(inner) = left {
            chain.push(inner);
            left = inner.lexpr();
        }
        let mut val = self.expr(left, at);
        if matches!(left, Node::None) {
            val.kind = 0;
        }
        while let Some(e) = chain.pop() {
            self.work += 1;
            let prefix = matches!(e.lexpr(), Node::None);
            val = self.operate(e, (!prefix).then_some(val), at);
        }
        val
    }

    fn operate(&mut self, e: &'a nodes::A_Expr, left: Option<Val<'a>>, at: At) -> Val<'a> {
        let rights: Vec<Val<'a>> = match e.rexpr() {
            Node::NodeList(list) => list.iter().map(|node| self.expr(node, at)).collect(),
            node => vec![self.expr(node, at)],
        };
        let name = e
            .name()
            .iter()
            .next_back()
            .and_then(Node::as_str)
            .unwrap_or_default();
        let all: Vec<&Val<'a>> = left.iter().chain(&rights).collect();
        let between = matches!(
            e.kind,
            A_Expr_Kind::AEXPR_BETWEEN
                | A_Expr_Kind::AEXPR_NOT_BETWEEN
                | A_Expr_Kind::AEXPR_BETWEEN_SYM
                | A_Expr_Kind::AEXPR_NOT_BETWEEN_SYM
        );
        let implied: &[&str] = if between {
            &["<=", ">=", "<", ">"]
        } else {
            &[name]
        };
        let mut meant = implied.iter();
        let foreign = meant.any(|n| !self.snapshot.foreign_operators(n).is_empty());
        self.fixed |= foreign;
        let parameter = all.iter().any(|v| v.kind == PARAMETER);
        let mut meant = implied.iter();
        let made = meant.any(|n| self.snapshot.is_made(n, parameter));
        let result = match foreign || made || self.snapshot.bends(parameter) {
            true => totals::Result::FAILS,
            false if divides(e) => totals::divided(&all),
            false => totals::operator(e.kind, name, &all),
        };
        let plain = all.iter().all(|v| v.plain);
        let set = self.sets.all(all.iter().map(|v| v.set).collect::<Vec<_>>());
        // These are done as soon as they know: what is left then is not looked at.
        let lazy = between || e.kind == A_Expr_Kind::AEXPR_IN;
        if !result.total || (lazy && !plain) || e.kind == A_Expr_Kind::AEXPR_NULLIF {
            self.decide(set);
        }
        Val {
            kind: result.kind,
            plain: plain && result.total,
            weight: result.weight,
            collations: collations(all),
            ..Val::of(set)
        }
    }

    fn logic(&mut self, e: &'a nodes::BoolExpr, at: At) -> Val<'a> {
        let mut e = e;
        // NOT NOT NOT …
        while e.boolop == BoolExprType::NOT_EXPR
            && let Some(Node::BoolExpr(inner)) = e.args().get(0)
        {
            self.work += 1;
            e = inner;
        }
        let vals: Vec<Val<'a>> = e.args().iter().map(|node| self.expr(node, at)).collect();
        let set = self.sets.all(vals.iter().map(|v| v.set));
        let plain = vals.iter().all(|v| v.plain);
        if vals.len() > 1 && !plain {
            // What is looked at depends on what was before it.
            self.decide(set);
        }
        Val {
            kind: BOOL,
            plain,
            ..Val::of(set)
        }
    }

    fn test(&mut self, arg: Node<'a>, at: At) -> Val<'a> {
        let val = self.expr(arg, at);
        Val {
            kind: BOOL,
            plain: val.plain,
            ..Val::of(val.set)
        }
    }

    fn coalesce(&mut self, c: &'a nodes::CoalesceExpr, at: At) -> Val<'a> {
        let vals: Vec<Val<'a>> = c.args().iter().map(|node| self.expr(node, at)).collect();
        let set = self.sets.all(vals.iter().map(|v| v.set));
        let plain = vals.iter().all(|v| v.plain);
        if !plain || self.bend(vals.iter()) {
            self.decide(set);
        }
        Val {
            kind: common(&vals),
            plain,
            collations: collations(&vals),
            weight: vals.iter().map(|v| v.weight).max().unwrap_or(1),
            ..Val::of(set)
        }
    }

    fn case(&mut self, c: &'a nodes::CaseExpr, at: At) -> Val<'a> {
        let tested = self.expr(c.arg(), at);
        let mut conditions = vec![tested.set];
        let mut values = Vec::new();
        for when in c.args() {
            let Node::CaseWhen(when) = when else {
                self.partial = true;
                return Val::anything();
            };
            conditions.push(self.expr(when.expr(), at).set);
            values.push(self.expr(when.result(), at));
        }
        values.push(self.expr(c.defresult(), at));
        let decides = self.sets.all(conditions);
        self.decide(decides);
        let set = self.sets.all(values.iter().map(|v| v.set));
        if self.bend(values.iter()) {
            self.decide(set);
        }
        Val {
            kind: common(&values),
            collations: collations(&values),
            // The branch that was taken is in the value, too.
            ..Val::of(self.sets.union(set, decides))
        }
    }

    /// Where all of these become one type, can one fail to?
    pub(super) fn bend<'v>(&self, vals: impl Iterator<Item = &'v Val<'a>>) -> bool
    where
        'a: 'v,
    {
        let vals: Vec<&Val<'_>> = vals.collect();
        bends(&vals) || (vals.len() > 1 && self.snapshot.bends(false))
    }

    fn cast(&mut self, c: &'a nodes::TypeCast, at: At) -> Val<'a> {
        let val = self.expr(c.arg(), at);
        let Some(name) = c.type_name() else {
            self.decide(val.set);
            return Val::of(val.set);
        };
        for modifier in name.typmods() {
            self.expr(modifier, at);
        }
        let last = name
            .names()
            .iter()
            .next_back()
            .and_then(|s| s.sval())
            .unwrap_or_default();
        let array = !name.array_bounds().is_empty();
        let text = matches!(last, "text" | "varchar" | "bpchar" | "name" | "char") && !array;
        // A domain can have the same name, and checks of its own.
        let text =
            text && self.snapshot.type_named(last).is_some() && !self.snapshot.is_recast(last);
        if self.snapshot.conversion(last).is_some() || !self.snapshot.has_type(last) {
            self.fixed = true;
            self.decide(val.set);
            return Val::anything();
        }
        // A number can be too large for a single byte.
        let byte = last == "char" && !val.is_text();
        if text && !byte && val.is_scalar() {
            return Val {
                sure: false,
                kind: if last == "text" { TEXT } else { 1043 },
                row: None,
                ..val
            };
        }
        self.decide(val.set);
        Val {
            // A cast to the type that it has leaves it as it is.
            origin: val.origin,
            weight: u32::MAX,
            collations: val.collations,
            kind: self
                .snapshot
                .type_named(last)
                .filter(|_| !array)
                .unwrap_or(0),
            ..Val::of(val.set)
        }
    }

    /// A query inside of an expression, and what decides which rows it has: that is in the value, too.
    pub(super) fn sub_query(&mut self, query: Node<'a>, at: At) -> (Rc<Cols<'a>>, Set) {
        let before = std::mem::replace(&mut self.decides, NOTHING);
        let cols = self.query(query, at.env, at.scope);
        let inside = std::mem::replace(&mut self.decides, before);
        self.decide(inside);
        (cols, inside)
    }

    fn sub_link(&mut self, s: &'a nodes::SubLink, at: At) -> Val<'a> {
        let tested = self.expr(s.testexpr(), at);
        let (cols, inside) = self.sub_query(s.subselect(), at);
        match s.sub_link_type {
            SubLinkType::EXISTS_SUBLINK => Val {
                kind: BOOL,
                ..Val::of(inside)
            },
            SubLinkType::EXPR_SUBLINK | SubLinkType::ARRAY_SUBLINK => {
                let all = self.all_of(&cols);
                let first = cols
                    .head
                    .first()
                    .filter(|_| cols.len() == 1 && cols.rest.is_none());
                let kind = match s.sub_link_type {
                    SubLinkType::EXPR_SUBLINK => first.map_or(0, |c| c.val.kind),
                    _ => 0,
                };
                let array = s.sub_link_type == SubLinkType::ARRAY_SUBLINK;
                if array && !first.is_some_and(|c| c.val.is_scalar()) {
                    // Arrays can only be put into one when they have the same size.
                    self.decide(all);
                }
                // A sub-select without FROM gives its row as it is.
                let row = first.and_then(|c| c.val.row.clone());
                Val {
                    kind,
                    row: row.filter(|_| s.sub_link_type == SubLinkType::EXPR_SUBLINK),
                    weight: first.map_or(u32::MAX, |c| c.val.weight),
                    collations: first.map_or(0, |c| c.val.collations),
                    ..Val::of(self.sets.union(all, inside))
                }
            }
            _ => {
                let all = self.all_of(&cols);
                let set = self.sets.all([tested.set, all, inside]);
                // Rows are made until it is known, and no longer: what making them does besides, or whether
                // it fails, tells of the value.
                self.decide(set);
                Val {
                    kind: BOOL,
                    ..Val::of(set)
                }
            }
        }
    }

    /// Subscripts and fields of a value.
    pub(super) fn indirect(
        &mut self,
        arg: Node<'a>,
        steps: impl Iterator<Item = Node<'a>>,
        at: At,
    ) -> Val<'a> {
        let mut val = self.expr(arg, at);
        for step in steps {
            val = match step {
                Node::String(s) => self.field(val, s.sval().unwrap_or_default()),
                Node::A_Indices(i) => {
                    let index = self.subscript(i, at);
                    Val::of(self.sets.union(val.set, index))
                }
                _ => val,
            };
        }
        val
    }

    /// What becomes an integer to be a subscript can be too large for one.
    fn subscript(&mut self, i: &'a nodes::A_Indices, at: At) -> Set {
        const INTEGERS: &[u32] = &[21, 23];
        let (from, to) = (self.expr(i.lidx(), at), self.expr(i.uidx(), at));
        let set = self.sets.union(from.set, to.set);
        let fits = |v: &Val<'a>| v.is_text() || INTEGERS.contains(&v.kind);
        if !(fits(&from) && fits(&to)) {
            self.decide(set);
        }
        set
    }

    /// `(row).name`: a field, or a call of a function with the row as its argument.
    fn field(&mut self, val: Val<'a>, name: &'a str) -> Val<'a> {
        if let Some(cols) = &val.row {
            let cols = cols.clone();
            if let Lookup::Found(field) = self.in_cols(&cols, name) {
                return Val {
                    sure: false,
                    set: self.with_rows(field.set, val.set, &cols),
                    ..field
                };
            }
        }
        let column = self.row_type(val.kind).and_then(|r| r.column_named(name));
        if let Some(column) = column {
            return Val {
                kind: self.base_type(column.type_oid),
                plain: val.plain,
                ..Val::of(val.set)
            };
        }
        self.calls.insert(name);
        if self.snapshot.takes_row(name) || self.snapshot.conversion(name).is_some() {
            self.decide(val.set);
            return self.called(None, name, val.set);
        }
        Val::of(val.set)
    }

    /// A field of a row that a sub-select gave: what decided which row it was is in it.
    fn with_rows(&mut self, field: Set, row: Set, cols: &Cols<'a>) -> Set {
        let columns = self.all_of(cols);
        match self.sets.union(columns, row) == columns {
            true => field,
            false => self.sets.union(field, row),
        }
    }

    /// The relation whose rows a type has.
    pub(super) fn row_type(&self, kind: u32) -> Option<&'a RelationInfo> {
        let info = self.snapshot.type_info(kind).filter(|t| t.kind == b'c')?;
        self.snapshot
            .relation(self.snapshot.index_of(info.relation)?)
    }

    /// Whether any of them can fail nobody has looked at.
    fn xml_and_json(&mut self, node: Node<'a>, at: At) -> Val<'a> {
        let sets: Vec<Set> = match node {
            Node::XmlExpr(e) => {
                let parts = e.named_args().iter().chain(e.args());
                parts.map(|n| self.expr(n, at).set).collect()
            }
            Node::XmlSerialize(e) => vec![self.expr(e.expr(), at).set],
            Node::JsonValueExpr(e) => vec![self.json_value(Some(e), at)],
            Node::JsonArgument(e) => vec![self.json_value(e.val(), at)],
            Node::JsonIsPredicate(e) => vec![self.expr(e.expr(), at).set],
            Node::JsonParseExpr(e) => vec![self.json_value(e.expr(), at)],
            Node::JsonScalarExpr(e) => vec![self.expr(e.expr(), at).set],
            Node::JsonSerializeExpr(e) => vec![self.json_value(e.expr(), at)],
            Node::JsonKeyValue(e) => {
                vec![self.expr(e.key(), at).set, self.json_value(e.value(), at)]
            }
            Node::JsonObjectConstructor(e) => {
                let pairs = e.exprs().iter().map(Node::JsonKeyValue);
                pairs.map(|n| self.expr(n, at).set).collect()
            }
            Node::JsonArrayConstructor(e) => e
                .exprs()
                .iter()
                .map(|v| self.json_value(Some(v), at))
                .collect(),
            Node::JsonArrayQueryConstructor(e) => {
                let (cols, inside) = self.sub_query(e.query(), at);
                vec![self.all_of(&cols), inside]
            }
            Node::JsonObjectAgg(e) => {
                let pair = e.arg().map(|p| self.expr(Node::JsonKeyValue(p), at).set);
                pair.into_iter()
                    .chain([self.json_aggregate(e.constructor(), at)])
                    .collect()
            }
            Node::JsonArrayAgg(e) => {
                vec![
                    self.json_value(e.arg(), at),
                    self.json_aggregate(e.constructor(), at),
                ]
            }
            Node::JsonFuncExpr(e) => {
                let mut sets = vec![self.json_value(e.context_item(), at)];
                sets.push(self.expr(e.pathspec(), at).set);
                sets.extend(
                    e.passing()
                        .iter()
                        .map(|n| self.expr(n, at).set)
                        .collect::<Vec<_>>(),
                );
                sets.push(self.json_behavior(e.on_empty(), at));
                sets.push(self.json_behavior(e.on_error(), at));
                sets
            }
            Node::JsonBehavior(e) => vec![self.expr(e.expr(), at).set],
            _ => {
                self.partial = true;
                vec![ANYTHING]
            }
        };
        let set = self.sets.all(sets);
        self.decide(set);
        self.fixed = true;
        Val::of(set)
    }

    pub(super) fn json_value(&mut self, value: Option<&'a nodes::JsonValueExpr>, at: At) -> Set {
        let Some(value) = value else {
            return NOTHING;
        };
        let raw = self.expr(value.raw_expr(), at).set;
        let formatted = self.expr(value.formatted_expr(), at).set;
        self.sets.union(raw, formatted)
    }

    pub(super) fn json_behavior(&mut self, b: Option<&'a nodes::JsonBehavior>, at: At) -> Set {
        b.map_or(NOTHING, |b| self.expr(b.expr(), at).set)
    }

    fn json_aggregate(&mut self, c: Option<&'a nodes::JsonAggConstructor>, at: At) -> Set {
        let Some(c) = c else {
            return NOTHING;
        };
        let mut sets = vec![self.expr(c.agg_filter(), at).set];
        for order in c.agg_order() {
            sets.push(self.expr(order, at).set);
        }
        sets.push(self.window(c.over(), at));
        self.sets.all(sets)
    }
}

/// By a whole number that is there to be read: neither nothing, nor what makes the smallest number one
/// that is too large.
fn divides(e: &nodes::A_Expr) -> bool {
    let name = e.name();
    let by = |n: &str| name.len() == 1 && name.get(0).and_then(Node::as_str) == Some(n);
    let Node::A_Const(divisor) = e.rexpr() else {
        return false;
    };
    let Some(ConstValue::Integer(n)) = divisor.val() else {
        return false;
    };
    let plain = e.kind == A_Expr_Kind::AEXPR_OP && !matches!(e.lexpr(), Node::None);
    plain && n != 0 && n != -1 && (by("/") || by("%"))
}
