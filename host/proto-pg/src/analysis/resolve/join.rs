//! JOIN: conditions, and columns that USING and NATURAL merge.

use std::collections::BTreeSet;
use std::rc::Rc;

use pg_raw_parse::raw::JoinType;
use pg_raw_parse::{Node, nodes};

use super::cols::{Cols, Val};
use super::item::{Item, Lookup};
use super::sets::ANYTHING;
use super::{At, Resolver};

impl<'a> Resolver<'a> {
    /// Joins lean to the left, as deep as the text is long: no recursion there.
    pub(super) fn join(&mut self, node: Node<'a>, start: usize, env: u32, outer: u32) {
        let mut joins: Vec<&'a nodes::JoinExpr> = Vec::new();
        let mut leftmost = node;
        while let Node::JoinExpr(join) = leftmost {
            joins.push(join);
            leftmost = join.larg();
        }
        let first = self.items.len();
        self.row_source(leftmost, start, env, outer);
        while let Some(join) = joins.pop() {
            self.work += 1;
            let middle = self.items.len();
            self.row_source(join.rarg(), start, env, outer);
            let at = At {
                scope: self.scope(first, outer),
                env,
            };
            self.condition(join.quals(), at);
            self.merge(join, first, middle);
        }
    }

    fn merge(&mut self, join: &'a nodes::JoinExpr, first: usize, middle: usize) {
        let end = self.items.len();
        let merges = join.is_natural || !join.using_clause().is_empty();
        let alias = join.alias().and_then(|a| a.aliasname());
        if !merges && alias.is_none() {
            return;
        }
        let (left, right) = (self.visible(first, middle), self.visible(middle, end));
        let names: Vec<&'a str> = if join.is_natural {
            common(&left, &right)
        } else {
            join.using_clause()
                .iter()
                .filter_map(|s| s.sval())
                .collect()
        };
        let mut cols = Cols::default();
        for &name in &names {
            let val = self.merged_column(join, first, middle, name);
            cols.push(Some(name), val);
        }
        let unsure = |c: &Cols<'a>| c.rest.is_some() || c.iter().any(|c| c.name.is_none());
        let blind = join.is_natural && (unsure(&left) || unsure(&right));
        let merged = Rc::new(cols.clone());
        let using: BTreeSet<&str> = names.into_iter().collect();
        for side in [&left, &right] {
            let mut others = side.clone();
            let keeps = |c: &super::cols::Col<'a>| c.name.is_none_or(|n| !using.contains(n));
            others.head.retain(keeps);
            others.tail.retain(keeps);
            self.append(&mut cols, &others);
        }
        if blind {
            // Nobody knows which columns are compared and which are merged.
            let all = self.all_of(&cols);
            self.decide(all);
            cols = Cols::unknown(all);
        }
        let scoped = join.join_using_alias().and_then(|a| a.aliasname());
        match alias {
            Some(_) => {
                self.items.truncate(first);
                let item = Item::derived(None, Rc::new(cols));
                let item = self.aliased(item, join.alias());
                self.add(item);
            }
            None => {
                for item in self.items.get_mut(first..end).unwrap_or_default() {
                    item.bare = false;
                }
                self.add(Item {
                    named: false,
                    ..Item::derived(None, Rc::new(cols))
                });
            }
        }
        if let Some(name) = scoped {
            self.add(Item {
                bare: false,
                ..Item::derived(Some(name), merged)
            });
        }
    }

    /// The columns that a star shows of some items.
    pub(super) fn visible(&mut self, start: usize, end: usize) -> Cols<'a> {
        let mut all = Cols::default();
        for i in start..end {
            self.work += 1;
            if let Some(item) = self.items.get(i).filter(|item| item.bare) {
                let cols = item.cols.clone();
                self.append(&mut all, &cols);
            }
        }
        all
    }

    fn merged_column(
        &mut self,
        join: &'a nodes::JoinExpr,
        first: usize,
        middle: usize,
        name: &'a str,
    ) -> Val<'a> {
        let end = self.items.len();
        let mut side = |start, end| match self.in_items(start, end, name) {
            Lookup::Found(val) => val,
            Lookup::Missing(super::sets::NOTHING) => {
                self.unknown.insert((None, name));
                Val::of(ANYTHING)
            }
            Lookup::Missing(set) => Val::of(set),
        };
        let (left, right) = (side(first, middle), side(middle, end));
        let set = self.sets.union(left.set, right.set);
        self.decide(set);
        let alike = left.kind == right.kind && left.kind != 0;
        let origin = match join.jointype {
            JoinType::JOIN_FULL => None,
            JoinType::JOIN_RIGHT => right.origin,
            _ => left.origin,
        };
        Val {
            origin,
            sure: false,
            kind: if alike { left.kind } else { 0 },
            plain: alike,
            ..Val::of(set)
        }
    }
}

fn common<'a>(left: &Cols<'a>, right: &Cols<'a>) -> Vec<&'a str> {
    let there: BTreeSet<&str> = right.iter().filter_map(|c| c.name).collect();
    let names = left.iter().filter_map(|c| c.name);
    names.filter(|n| there.contains(n)).collect()
}
