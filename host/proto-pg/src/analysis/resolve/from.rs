//! FROM: tables, sub-selects, functions and whatever else gives rows.

use std::rc::Rc;

use pg_raw_parse::{Node, nodes};

use super::cols::{Cols, INT8, TEXT, Val};
use super::item::Item;
use super::sets::{ANYTHING, NOTHING, Set};
use super::{At, Resolver, Source};
use crate::catalog::{FIRST_USER_OID, RelationInfo};

/// Functions of PostgreSQL's own that give one column, whatever their arguments.
const ONE_COLUMN: &[&str] = &[
    "generate_series",
    "generate_subscripts",
    "regexp_split_to_table",
    "string_to_table",
    "regexp_matches",
    "jsonb_object_keys",
    "json_object_keys",
    "jsonb_path_query",
    "current_database",
    "now",
];

/// The same, but the column has a name of its own, whatever the alias.
const VALUES: &[&str] = &[
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "json_array_elements",
    "json_array_elements_text",
];

impl<'a> Resolver<'a> {
    /// `start` is the first item of the whole clause: what stands further left, LATERAL can see.
    pub(super) fn row_source(&mut self, node: Node<'a>, start: usize, env: u32, outer: u32) {
        if !self.enter() {
            self.add(Item::derived(None, Rc::new(Cols::unknown(ANYTHING))));
            return;
        }
        match node {
            Node::RangeVar(r) => {
                let item = self.range_var(r, env);
                self.add(item);
            }
            Node::RangeSubselect(r) => self.sub_select(r, start, env, outer),
            Node::JoinExpr(_) => self.join(node, start, env, outer),
            Node::RangeFunction(r) => self.functions(r, start, env, outer),
            Node::RangeTableSample(r) => {
                let at = At { scope: outer, env };
                self.row_source(r.relation(), start, env, outer);
                for arg in r.args() {
                    let val = self.expr(arg, at);
                    self.decide(val.set);
                }
                let seed = self.expr(r.repeatable(), at);
                self.decide(seed.set);
                // Rows are drawn by where they lie in each partition.
                if let Some(place) = self.items.last().map(|item| item.place) {
                    self.decide(place);
                }
            }
            Node::RangeTableFunc(r) => self.xml_table(r, start, env, outer),
            Node::JsonTable(r) => self.json_table(r, start, env, outer),
            _ => {
                self.partial = true;
                self.add(Item::derived(None, Rc::new(Cols::unknown(ANYTHING))));
            }
        }
        self.leave();
    }

    pub(super) fn add(&mut self, item: Item<'a>) {
        self.items.push(item);
    }

    fn range_var(&mut self, r: &'a nodes::RangeVar, env: u32) -> Item<'a> {
        let name = r.relname().unwrap_or_default();
        if r.schemaname().is_none()
            && let Some(cte) = self.find_cte(env, name)
        {
            let cols = self.named_cte(cte);
            return self.aliased(Item::derived(Some(name), cols), r.alias());
        }
        self.table(r)
    }

    /// What a relation's name means, whatever CTEs there are.
    pub(super) fn table(&mut self, r: &'a nodes::RangeVar) -> Item<'a> {
        let name = r.relname().unwrap_or_default();
        let found = self.relations_named(r.schemaname(), name);
        for &index in &found {
            self.rows_of(index);
        }
        let cols = match found.as_slice() {
            [] => Rc::new(Cols::unknown(ANYTHING)),
            [one] => self.relation(*one),
            [first, others @ ..] => {
                let mut all = self.relation(*first);
                for &other in others {
                    let cols = self.relation(other);
                    all = Rc::new(self.either(&all, &cols));
                }
                all
            }
        };
        let places = found.iter().flat_map(|&i| self.snapshot.told_by_place(i));
        let places: Vec<Source> = places.collect();
        let place = match places.is_empty() {
            true => NOTHING,
            false => self.sets.of(places),
        };
        let item = Item {
            relations: found,
            table: true,
            place,
            ..Item::derived(Some(name), cols)
        };
        self.aliased(item, r.alias())
    }

    pub(super) fn relations_named(&self, schema: Option<&str>, name: &str) -> Vec<usize> {
        let mut found = self.snapshot.find_relations(schema, name, self.path);
        if let Some(among) = self.among {
            // Nobody notes down what depends on PostgreSQL's own.
            let own = |r: &RelationInfo| r.oid < FIRST_USER_OID && &*r.schema == "pg_catalog";
            let snapshot = self.snapshot;
            found.retain(|i| among.contains(i) || snapshot.relation(*i).is_some_and(own));
        }
        found
    }

    /// One of two relations of the same name.
    fn either(&mut self, a: &Cols<'a>, b: &Cols<'a>) -> Cols<'a> {
        let alike = a.rest.is_none() && b.rest.is_none() && a.len() == b.len();
        let names = |c: &Cols<'a>| c.iter().map(|c| c.name).collect::<Vec<_>>();
        if alike && names(a) == names(b) {
            return self.merged(a, b);
        }
        // Names find what either of them has under it.
        self.use_all(a);
        self.use_all(b);
        let mut out = Cols::default();
        let sets: Vec<Set> = a.sets().into_iter().chain(b.sets()).collect();
        let all = self.sets.all(sets);
        self.push_rest(&mut out, all);
        out
    }

    /// An alias hides the relation's own name.
    pub(super) fn aliased(
        &mut self,
        mut item: Item<'a>,
        alias: Option<&'a nodes::Alias>,
    ) -> Item<'a> {
        let Some(alias) = alias else {
            return item;
        };
        if let Some(name) = alias.aliasname() {
            item.name = Some(name);
            item.relations.clear();
        }
        let names = alias.colnames().iter().filter_map(Node::as_str);
        item.cols = self.renamed(item.cols, names);
        item.renamed |= !alias.colnames().is_empty();
        item
    }

    fn sub_select(&mut self, r: &'a nodes::RangeSubselect, start: usize, env: u32, outer: u32) {
        let around = match r.lateral {
            true => self.scope(start, outer),
            false => outer,
        };
        let cols = self.lazy_query(r.subquery(), env, around);
        let item = self.aliased(Item::derived(None, cols), r.alias());
        let named = item.name.is_some();
        self.add(Item { named, ..item });
    }

    fn functions(&mut self, r: &'a nodes::RangeFunction, start: usize, env: u32, outer: u32) {
        let at = At {
            scope: self.scope(start, outer),
            env,
        };
        let mut cols = Cols::default();
        let alias = r.alias().and_then(|a| a.aliasname());
        let mut own_name = None;
        let alone = r.functions().len() == 1;
        for function in r.functions() {
            // Each is a list of the call and its column definitions.
            let Some(pair) = function.as_node_list() else {
                self.partial = true;
                cols.rest = Some(ANYTHING);
                continue;
            };
            let call = pair.get(0).unwrap_or(Node::None);
            let val = self.expr(call, at);
            // How many rows it gives depends on what it is given; what code of its own makes of that is
            // between whoever permits the call and the code.
            if !self.is_foreign(call) {
                self.decide(val.set);
            }
            let definitions = pair.get(1).and_then(|d| d.as_node_list());
            let own = r.coldeflist().iter().map(|d| d.colname());
            let more = definitions
                .into_iter()
                .flat_map(|d| d.iter())
                .map(|d| match d {
                    Node::ColumnDef(d) => d.colname(),
                    _ => None,
                });
            let defined: Vec<Option<&'a str>> = own.chain(more).collect();
            let name = super::names::made_up(call);
            own_name = name;
            if !defined.is_empty() {
                for name in defined {
                    cols.push(name, Val::of(val.set));
                }
            } else if name.is_some_and(|n| VALUES.contains(&n) && self.is_own(call, n)) {
                cols.push(Some("value"), Val::of(val.set));
            } else if name.is_some_and(|n| ONE_COLUMN.contains(&n) && self.is_own(call, n)) {
                let shown = alias.filter(|_| alone && !r.is_rowsfrom).or(name);
                cols.push(shown, Val::of(val.set));
            } else {
                self.push_rest(&mut cols, val.set);
            }
        }
        if r.ordinality {
            let val = Val {
                kind: INT8,
                ..Val::of(NOTHING)
            };
            cols.push(Some("ordinality"), val);
        }
        let name = own_name.filter(|_| alone);
        let item = Item::derived(name, Rc::new(cols));
        let item = self.aliased(item, r.alias());
        let named = item.name.is_some();
        self.add(Item { named, ..item });
    }

    fn is_foreign(&mut self, call: Node<'a>) -> bool {
        let Node::FuncCall(f) = call else {
            return false;
        };
        let name = |i: usize| f.funcname().get(i).and_then(Node::as_str);
        let last = f.funcname().len().saturating_sub(1);
        let schema = last.checked_sub(1).and_then(name);
        name(last).is_some_and(|n| self.meaning(schema, n).reads)
    }

    /// Only where the name cannot mean somebody's own function.
    fn is_own(&mut self, call: Node<'a>, name: &'a str) -> bool {
        matches!(call, Node::FuncCall(_)) && self.is_own_function(name)
    }

    fn xml_table(&mut self, r: &'a nodes::RangeTableFunc, start: usize, env: u32, outer: u32) {
        let at = At {
            scope: self.scope(start, outer),
            env,
        };
        let mut sets = vec![
            self.expr(r.docexpr(), at).set,
            self.expr(r.rowexpr(), at).set,
        ];
        for namespace in r.namespaces() {
            sets.push(self.expr(namespace, at).set);
        }
        for column in r.columns() {
            sets.push(self.expr(column.colexpr(), at).set);
            sets.push(self.expr(column.coldefexpr(), at).set);
        }
        let set = self.sets.all(sets);
        self.decide(set);
        let mut cols = Cols::default();
        for column in r.columns() {
            let set = if column.for_ordinality { NOTHING } else { set };
            cols.push(column.colname(), Val::of(set));
        }
        let item = self.aliased(Item::derived(Some("xmltable"), Rc::new(cols)), r.alias());
        self.add(item);
    }

    fn json_table(&mut self, r: &'a nodes::JsonTable, start: usize, env: u32, outer: u32) {
        let at = At {
            scope: self.scope(start, outer),
            env,
        };
        let mut sets = vec![self.json_value(r.context_item(), at)];
        for argument in r.passing() {
            sets.push(self.expr(argument, at).set);
        }
        let mut names = Vec::new();
        let mut stack: Vec<Node<'a>> = Vec::new();
        let columns: Vec<Node<'a>> = r.columns().iter().map(Node::JsonTableColumn).collect();
        stack.extend(columns.into_iter().rev());
        while let Some(node) = stack.pop() {
            self.work += 1;
            let Node::JsonTableColumn(column) = node else {
                continue;
            };
            for behavior in [column.on_empty(), column.on_error()] {
                sets.push(self.json_behavior(behavior, at));
            }
            let nested: Vec<Node<'a>> = column.columns().iter().collect();
            if nested.is_empty() {
                names.push(column.name());
            }
            stack.extend(nested.into_iter().rev());
        }
        sets.push(self.json_behavior(r.on_error(), at));
        let set = self.sets.all(sets);
        self.decide(set);
        let mut cols = Cols::default();
        for name in names {
            let val = Val {
                kind: if name.is_none() { TEXT } else { 0 },
                ..Val::of(set)
            };
            cols.push(name, val);
        }
        let item = self.aliased(Item::derived(Some("json_table"), Rc::new(cols)), r.alias());
        self.add(item);
    }

    /// All FROM items of a clause.
    pub(super) fn rows_from(
        &mut self,
        list: impl Iterator<Item = Node<'a>>,
        start: usize,
        env: u32,
        outer: u32,
    ) -> At {
        for node in list {
            self.row_source(node, start, env, outer);
        }
        At {
            scope: self.scope(start, outer),
            env,
        }
    }
}
