//! WITH: what its names mean, also before it is known.

use std::rc::Rc;

use pg_raw_parse::raw::{CTEMaterialize, SetOperation};
use pg_raw_parse::{Node, nodes};

use super::cols::{Cols, Val};
use super::sets::{ANYTHING, Set};
use super::{NONE, Resolver};

/// Rounds until the columns of a recursive query are what they stay. Each adds at least one column to
/// one set; a query that needs more rotates its columns through more names than anybody writes.
const MAX_ROUNDS: usize = 64;

enum State<'a> {
    Open,
    /// It is being resolved; what is known of it so far.
    Busy(Option<Rc<Cols<'a>>>),
    Done(Rc<Cols<'a>>),
}

pub(super) struct Cte<'a> {
    /// The one before it, which can be seen where this one can.
    before: u32,
    name: &'a str,
    node: &'a nodes::CommonTableExpr,
    /// What it can see itself.
    env: u32,
    outer: u32,
    recursive: bool,
    /// It was looked at while it was being resolved.
    used: bool,
    /// How often it is named behind its definition.
    named: u32,
    state: State<'a>,
}

impl<'a> Resolver<'a> {
    /// Opens a WITH clause; gives what can be seen behind it.
    pub(super) fn with(
        &mut self,
        clause: Option<&'a nodes::WithClause>,
        env: u32,
        outer: u32,
    ) -> u32 {
        let Some(clause) = clause else {
            return env;
        };
        let first = self.ctes.len();
        let mut last = env;
        for node in clause.ctes() {
            let index = self.ctes.len() as u32;
            self.ctes.push(Cte {
                before: last,
                name: node.ctename().unwrap_or_default(),
                node,
                env: last,
                outer,
                recursive: clause.recursive,
                used: false,
                named: 0,
                state: State::Open,
            });
            last = index;
            if !clause.recursive {
                self.define(index);
            }
        }
        if clause.recursive {
            let end = self.ctes.len();
            for cte in self.ctes.get_mut(first..end).unwrap_or_default() {
                cte.env = last;
            }
            for index in first..end {
                self.define(index as u32);
            }
        }
        last
    }

    pub(super) fn find_cte(&mut self, mut env: u32, name: &str) -> Option<u32> {
        while let Some(cte) = self.ctes.get(env as usize) {
            self.work += 1;
            if cte.name == name {
                return Some(env);
            }
            env = cte.before;
        }
        None
    }

    /// What its name stands for. The server reads it in place, as if it were a sub-select, where it is
    /// named once, or where its definition says so; otherwise it computes all of it.
    pub(super) fn named_cte(&mut self, index: u32) -> Rc<Cols<'a>> {
        let cols = self.define(index);
        if let Some(cte) = self.ctes.get_mut(index as usize) {
            cte.named = cte.named.saturating_add(1);
            let each = cte.node.ctematerialized == CTEMaterialize::CTEMaterializeNever;
            if cte.named > 1 && !each {
                self.use_all(&cols);
            }
        }
        cols
    }

    fn define(&mut self, index: u32) -> Rc<Cols<'a>> {
        let Some(cte) = self.ctes.get_mut(index as usize) else {
            return Rc::new(Cols::unknown(ANYTHING));
        };
        match &cte.state {
            State::Done(cols) => return cols.clone(),
            State::Busy(Some(cols)) => {
                cte.used = true;
                return cols.clone();
            }
            // The part that has to come first refers to itself: the server refuses it.
            State::Busy(None) => return Rc::new(Cols::unknown(ANYTHING)),
            State::Open => {}
        }
        cte.state = State::Busy(None);
        let (node, env, outer) = (cte.node, cte.env, cte.outer);
        let recursive = cte.recursive;
        let fixed = std::mem::replace(&mut self.fixed, false);
        let cols = match node.ctequery() {
            Node::SelectStmt(s) if recursive && s.op == SetOperation::SETOP_UNION => {
                self.select(s, env, outer, Some(index))
            }
            query => self.lazy_query(query, env, outer),
        };
        let kept = node.ctematerialized == CTEMaterialize::CTEMaterializeAlways;
        if recursive || kept || self.fixed {
            self.use_all(&cols);
        }
        self.fixed |= fixed;
        let cols = self.renamed(cols, names(node));
        let cols = self.search_and_cycle(node, cols);
        self.set_state(index, State::Done(cols.clone()));
        cols
    }

    fn set_state(&mut self, index: u32, state: State<'a>) {
        if let Some(cte) = self.ctes.get_mut(index as usize) {
            cte.state = state;
        }
    }

    /// The arms of a recursive query behind the first: what they give is what they are given.
    pub(super) fn recursive_arms(
        &mut self,
        index: u32,
        first: Rc<Cols<'a>>,
        arms: &[&'a nodes::SelectStmt],
        env: u32,
        outer: u32,
    ) -> Rc<Cols<'a>> {
        let node = self.ctes.get(index as usize).map(|cte| cte.node);
        let mut known = first;
        for round in 0..MAX_ROUNDS {
            let shown = match node {
                Some(node) => self.renamed(known.clone(), names(node)),
                None => known.clone(),
            };
            self.set_state(index, State::Busy(Some(shown)));
            let mut next = Rc::unwrap_or_clone(known.clone());
            for (i, arm) in arms.iter().enumerate() {
                if i > 0 && i + 1 == arms.len() {
                    let cols = Rc::new(next.clone());
                    let shown = match node {
                        Some(node) => self.renamed(cols, names(node)),
                        None => cols,
                    };
                    self.set_state(index, State::Busy(Some(shown)));
                }
                let cols = self.select(arm, env, outer, None);
                next = self.merged(&next, &cols);
            }
            let used = self.ctes.get(index as usize).is_some_and(|c| c.used);
            if !used || same(&next, &known) {
                return Rc::new(next);
            }
            known = Rc::new(next);
            if self.work > super::MAX_WORK || round + 1 == MAX_ROUNDS {
                break;
            }
        }
        self.partial = true;
        self.decide(ANYTHING);
        for col in Rc::make_mut(&mut known).iter_mut() {
            col.val = Val::anything();
        }
        known
    }

    /// The columns that SEARCH and CYCLE add.
    fn search_and_cycle(
        &mut self,
        node: &'a nodes::CommonTableExpr,
        cols: Rc<Cols<'a>>,
    ) -> Rc<Cols<'a>> {
        if node.search_clause().is_none() && node.cycle_clause().is_none() {
            return cols;
        }
        let mut cols = Rc::unwrap_or_clone(cols);
        // Rows are put in order by some of its columns, and dropped by others.
        let set = self.all_of(&cols);
        self.decide(set);
        if let Some(search) = node.search_clause() {
            cols.push(search.search_seq_column(), Val::of(set));
        }
        if let Some(cycle) = node.cycle_clause() {
            let at = super::At {
                scope: NONE,
                env: NONE,
            };
            let marks = [cycle.cycle_mark_value(), cycle.cycle_mark_default()];
            let mut mark: Vec<Set> = marks.into_iter().map(|m| self.expr(m, at).set).collect();
            mark.push(set);
            let mark = self.sets.all(mark);
            cols.push(cycle.cycle_mark_column(), Val::of(mark));
            cols.push(cycle.cycle_path_column(), Val::of(set));
        }
        Rc::new(cols)
    }
}

fn names(node: &nodes::CommonTableExpr) -> impl Iterator<Item = &str> {
    node.aliascolnames().iter().filter_map(Node::as_str)
}

fn same(a: &Cols<'_>, b: &Cols<'_>) -> bool {
    a.rest == b.rest
        && a.head.len() == b.head.len()
        && a.tail.len() == b.tail.len()
        && a.iter().zip(b.iter()).all(|(x, y)| x.val.set == y.val.set)
}
