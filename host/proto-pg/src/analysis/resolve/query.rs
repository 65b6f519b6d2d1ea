//! SELECT: its output columns, and what decides which rows there are and in which order.

use std::rc::Rc;

use pg_raw_parse::raw::SetOperation;
use pg_raw_parse::{ConstValue, Node, nodes};

use super::cols::{Cols, Val, collations};
use super::item::Lookup;
use super::names;
use super::sets::{ANYTHING, NOTHING, Set};
use super::{At, Resolver};

impl<'a> Resolver<'a> {
    /// The rows of a query or of RETURNING.
    pub(super) fn query(&mut self, node: Node<'a>, env: u32, outer: u32) -> Rc<Cols<'a>> {
        let cols = self.lazy_query(node, env, outer);
        self.use_all(&cols);
        cols
    }

    /// The same of a query that others select from: the server does not compute columns of it that
    /// nobody uses.
    pub(super) fn lazy_query(&mut self, node: Node<'a>, env: u32, outer: u32) -> Rc<Cols<'a>> {
        if let Node::SelectStmt(s) = node {
            return self.lazy_select(s, env, outer, None);
        }
        if !self.enter() {
            return Rc::new(Cols::unknown(ANYTHING));
        }
        let (items, scopes) = (self.items.len(), self.scopes.len());
        let cols = match node {
            Node::InsertStmt(s) => self.insert(s, env, outer),
            Node::UpdateStmt(s) => self.update(s, env, outer),
            Node::DeleteStmt(s) => self.delete(s, env, outer),
            Node::MergeStmt(s) => self.merge_into(s, env, outer),
            _ => {
                self.partial = true;
                Cols::unknown(ANYTHING)
            }
        };
        self.items.truncate(items);
        self.scopes.truncate(scopes);
        self.leave();
        self.use_all(&cols);
        Rc::new(cols)
    }

    /// `recursive`: the CTE that it is, whose arms refer to it.
    pub(super) fn select(
        &mut self,
        s: &'a nodes::SelectStmt,
        env: u32,
        outer: u32,
        recursive: Option<u32>,
    ) -> Rc<Cols<'a>> {
        let mut cols = self.lazy_select(s, env, outer, recursive);
        self.use_all(&cols);
        if cols.iter().any(|c| c.val.when_used != NOTHING) {
            for col in Rc::make_mut(&mut cols).iter_mut() {
                col.val.when_used = NOTHING;
            }
        }
        cols
    }

    fn lazy_select(
        &mut self,
        s: &'a nodes::SelectStmt,
        env: u32,
        outer: u32,
        recursive: Option<u32>,
    ) -> Rc<Cols<'a>> {
        if !self.enter() {
            return Rc::new(Cols::unknown(ANYTHING));
        }
        let (items, scopes) = (self.items.len(), self.scopes.len());
        let env = self.with(s.with_clause(), env, outer);
        let cols = if s.op != SetOperation::SETOP_NONE {
            self.set_operation(s, env, outer, recursive)
        } else if s.values_lists().is_empty() {
            Rc::new(self.plain(s, env, outer))
        } else {
            let cols = Rc::new(self.values(s, env, outer));
            self.sorted(s, &cols, At { scope: outer, env });
            cols
        };
        let at = At { scope: outer, env };
        for limit in [s.limit_offset(), s.limit_count()] {
            let val = self.expr(limit, at);
            self.decide(val.set);
        }
        self.items.truncate(items);
        self.scopes.truncate(scopes);
        self.leave();
        cols
    }

    fn plain(&mut self, s: &'a nodes::SelectStmt, env: u32, outer: u32) -> Cols<'a> {
        let start = self.items.len();
        let extremes = std::mem::replace(&mut self.own_extremes, NOTHING);
        if !s.locking_clause().is_empty() {
            // Locks reach into sub-selects and views, and nothing that takes them is left out.
            self.whole_rows = true;
            self.fixed = true;
        }
        let at = self.rows_from(s.from_clause().iter(), start, env, outer);
        let cols = self.targets(s.target_list().iter(), at);
        for condition in [s.where_clause(), s.having_clause()] {
            self.condition(condition, at);
        }
        for group in s.group_clause() {
            self.grouped(group, &cols, at);
        }
        for window in s.window_clause() {
            if let Node::WindowDef(w) = window {
                self.window(Some(w), at);
            }
        }
        for distinct in s.distinct_clause() {
            match distinct {
                // Plain DISTINCT compares everything.
                Node::None => {
                    let all = self.all_of(&cols);
                    self.decide(all);
                }
                node => {
                    // The server leaves no column out of rows that it compares.
                    self.use_all(&cols);
                    self.sort_key(node, &cols, at);
                }
            }
        }
        self.sorted(s, &cols, at);
        let own = std::mem::replace(&mut self.own_extremes, extremes);
        if s.group_clause().is_empty() {
            self.extremes = self.sets.union(self.extremes, own);
        }
        cols
    }

    fn sorted(&mut self, s: &'a nodes::SelectStmt, cols: &Cols<'a>, at: At) {
        for sort in s.sort_clause() {
            self.sort_key(sort.node(), cols, at);
        }
    }

    /// ORDER BY and DISTINCT ON: positions and names mean output columns first.
    fn sort_key(&mut self, node: Node<'a>, cols: &Cols<'a>, at: At) {
        let key = match self.by_position(node, cols) {
            Some(set) => set,
            None => match bare_name(node).map(|name| self.in_cols(cols, name)) {
                Some(Lookup::Found(val)) => val.set,
                Some(Lookup::Missing(maybe)) if maybe != NOTHING => {
                    let val = self.expr(node, at);
                    self.sets.union(maybe, val.set)
                }
                _ => self.expr(node, at).set,
            },
        };
        self.decide(key);
    }

    /// GROUP BY: names mean columns of FROM first.
    fn grouped(&mut self, node: Node<'a>, cols: &Cols<'a>, at: At) {
        let mut stack = vec![node];
        while let Some(node) = stack.pop() {
            self.work += 1;
            if let Node::GroupingSet(set) = node {
                stack.extend(set.content());
                continue;
            }
            // `(a, b)` inside of sets.
            if let Node::RowExpr(row) = node {
                stack.extend(row.args());
                continue;
            }
            let key = match self.by_position(node, cols) {
                Some(set) => set,
                None => match bare_name(node) {
                    Some(name) => self.group_name(node, name, cols, at),
                    None => self.expr(node, at).set,
                },
            };
            self.decide(key);
        }
    }

    fn group_name(&mut self, node: Node<'a>, name: &'a str, cols: &Cols<'a>, at: At) -> Set {
        let maybe = match self.local(at.scope, name) {
            Lookup::Found(val) => return val.set,
            Lookup::Missing(maybe) => maybe,
        };
        match self.in_cols(cols, name) {
            Lookup::Found(val) => self.sets.union(val.set, maybe),
            Lookup::Missing(output) => {
                let val = self.expr(node, at);
                self.sets.all([val.set, output, maybe])
            }
        }
    }

    fn by_position(&mut self, node: Node<'a>, cols: &Cols<'a>) -> Option<Set> {
        let Node::A_Const(c) = node else {
            return None;
        };
        match c.val() {
            Some(ConstValue::Integer(n)) => {
                let index = usize::try_from(n).ok()?.checked_sub(1)?;
                Some(self.at(cols, index, None))
            }
            _ => None,
        }
    }

    /// UNION and the like lean to the left, as deep as the text is long: no recursion there.
    fn set_operation(
        &mut self,
        s: &'a nodes::SelectStmt,
        env: u32,
        outer: u32,
        recursive: Option<u32>,
    ) -> Rc<Cols<'a>> {
        let mut arms: Vec<&'a nodes::SelectStmt> = Vec::new();
        let mut compares = false;
        let mut node = s;
        loop {
            // All but UNION ALL look for rows that are alike.
            compares |= !(node.all && node.op == SetOperation::SETOP_UNION);
            arms.extend(node.rarg());
            let Some(left) = node.larg() else {
                break;
            };
            if left.op == SetOperation::SETOP_NONE || !is_bare(left) {
                arms.push(left);
                break;
            }
            node = left;
        }
        arms.reverse();
        let Some((first, others)) = arms.split_first() else {
            return Rc::new(Cols::unknown(ANYTHING));
        };
        let mut cols = self.select(first, env, outer, None);
        for col in Rc::make_mut(&mut cols).iter_mut() {
            col.val.origin = None;
            col.val.sure = false;
            col.val.row = None;
        }
        let cols = match recursive {
            Some(index) => self.recursive_arms(index, cols, others, env, outer),
            None => {
                for arm in others {
                    let next = self.select(arm, env, outer, None);
                    cols = Rc::new(self.merged(&cols, &next));
                }
                cols
            }
        };
        if compares {
            let all = self.all_of(&cols);
            self.decide(all);
        }
        self.sorted(s, &cols, At { scope: outer, env });
        cols
    }

    fn values(&mut self, s: &'a nodes::SelectStmt, env: u32, outer: u32) -> Cols<'a> {
        let at = At { scope: outer, env };
        // Of each column, the sets, and a value of each kind.
        let mut columns: Vec<Vec<Set>> = Vec::new();
        let mut kinds: Vec<Vec<Val<'a>>> = Vec::new();
        for row in s.values_lists() {
            let Some(row) = row.as_node_list() else {
                self.partial = true;
                continue;
            };
            for (i, node) in row.iter().enumerate() {
                let val = self.expr(node, at);
                match (columns.get_mut(i), kinds.get_mut(i)) {
                    (Some(sets), Some(kinds)) => {
                        if val.set != NOTHING {
                            sets.push(val.set);
                        }
                        let alike = |k: &Val<'_>| k.kind == val.kind && k.set == val.set;
                        if val.set != NOTHING || !kinds.iter().any(alike) {
                            kinds.push(val);
                        }
                    }
                    _ => {
                        columns.push(vec![val.set]);
                        kinds.push(vec![val]);
                    }
                }
            }
        }
        let rows = s.values_lists().len();
        let mut cols = Cols::default();
        for (i, (sets, mut kinds)) in columns.into_iter().zip(kinds).enumerate() {
            let set = self.sets.all(sets);
            if set != NOTHING && self.bend(kinds.iter()) {
                self.decide(set);
            }
            let collations = collations(&kinds);
            let val = match kinds.pop() {
                // One row is no more than a list of expressions, but the server does not trace it.
                Some(val) if rows == 1 => Val {
                    origin: None,
                    sure: false,
                    row: None,
                    ..val
                },
                _ => Val {
                    plain: true,
                    collations,
                    ..Val::of(set)
                },
            };
            cols.push(names::of_values(i), val);
        }
        cols
    }

    /// Output columns, in order.
    pub(super) fn targets(
        &mut self,
        list: impl Iterator<Item = &'a nodes::ResTarget>,
        at: At,
    ) -> Cols<'a> {
        let mut cols = Cols::default();
        for target in list {
            self.work += 1;
            let value = target.val();
            if let Some(star) = self.star(value, at) {
                let all = self.sets.all(star.sets());
                self.names(all);
                self.append(&mut cols, &star);
                continue;
            }
            let val = self.output_column(value, at);
            let name = target.name().or_else(|| names::made_up(value));
            cols.push(name, val);
        }
        cols
    }

    /// An output column: what computing it tells, it tells where it is used, if the server does without
    /// it otherwise.
    fn output_column(&mut self, value: Node<'a>, at: At) -> Val<'a> {
        let decides = std::mem::replace(&mut self.decides, NOTHING);
        let fixed = std::mem::replace(&mut self.fixed, false);
        let mut val = self.expr(value, at);
        let own = std::mem::replace(&mut self.decides, decides);
        match self.fixed {
            true => self.decide(own),
            false => {
                val.when_used = own;
                self.put_off(own);
            }
        }
        self.fixed |= fixed;
        val
    }

    /// The columns of a star; none when it is no star.
    fn star(&mut self, value: Node<'a>, at: At) -> Option<Cols<'a>> {
        match value {
            Node::ColumnRef(column) => {
                let fields = column.fields();
                if !matches!(fields.iter().next_back(), Some(Node::A_Star(_))) {
                    return None;
                }
                let names: Vec<&'a str> = fields.iter().filter_map(Node::as_str).collect();
                if names.is_empty() {
                    let (start, end) = self.items_of(at.scope);
                    return Some(self.visible(start, end));
                }
                Some(self.columns_named(&names, at))
            }
            Node::A_Indirection(i) => {
                let last = i.indirection().len().checked_sub(1)?;
                if !matches!(i.indirection().get(last), Some(Node::A_Star(_))) {
                    return None;
                }
                let steps = i.indirection().iter().take(last);
                let row = self.indirect(i.arg(), steps, at);
                Some(self.columns_of(row))
            }
            _ => None,
        }
    }

    /// The columns of what has a name, as that name's star shows them.
    fn columns_named(&mut self, names: &[&'a str], at: At) -> Cols<'a> {
        let items = self.items_named(names, at);
        if let [one] = items.as_slice()
            && let Some(item) = self.items.get(*one)
        {
            return (*item.cols).clone();
        }
        let row = match (items.is_empty(), names.last()) {
            (true, Some(name)) => self.missing(None, name),
            _ => self.whole(&items),
        };
        self.columns_of(row)
    }

    /// The columns of a row, as `row.*` shows them.
    fn columns_of(&mut self, row: Val<'a>) -> Cols<'a> {
        if let Some(cols) = row.row {
            return Rc::unwrap_or_clone(cols);
        }
        let mut cols = Cols::default();
        match self.row_type(row.kind) {
            Some(relation) => {
                for column in &relation.columns {
                    let val = Val {
                        kind: self.base_type(column.type_oid),
                        plain: true,
                        ..Val::of(row.set)
                    };
                    cols.push(Some(&column.name), val);
                }
            }
            None => self.push_rest(&mut cols, row.set),
        }
        cols
    }
}

/// Nothing but its arms.
fn is_bare(s: &nodes::SelectStmt) -> bool {
    s.with_clause().is_none()
        && s.sort_clause().is_empty()
        && matches!(s.limit_count(), Node::None)
        && matches!(s.limit_offset(), Node::None)
}

/// A name that can be that of an output column.
fn bare_name(node: Node<'_>) -> Option<&str> {
    match node {
        Node::ColumnRef(column) if column.fields().len() == 1 => {
            column.fields().get(0).and_then(Node::as_str)
        }
        _ => None,
    }
}
