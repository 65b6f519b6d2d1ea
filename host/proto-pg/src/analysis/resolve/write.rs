//! INSERT, UPDATE, DELETE and MERGE: which values go where, and what RETURNING shows.

use std::collections::BTreeSet;
use std::rc::Rc;

use pg_raw_parse::raw::CmdType;
use pg_raw_parse::{Node, nodes};

use super::cols::{Cols, Val};
use super::item::Item;
use super::sets::{ANYTHING, CODED, NOTHING, Set};
use super::{At, Resolver};
use crate::catalog::Act;

/// The table that a statement writes to.
struct Target<'a> {
    item: Item<'a>,
    /// Its OID, when it is exactly one.
    oid: Option<u32>,
    /// RETURNING shows what a rule wants.
    ruled: bool,
    /// Those that the name can mean.
    relations: Vec<usize>,
}

impl<'a> Resolver<'a> {
    fn target(&mut self, relation: Option<&'a nodes::RangeVar>) -> Target<'a> {
        let Some(relation) = relation else {
            self.partial = true;
            let cols = Rc::new(Cols::unknown(ANYTHING));
            return Target {
                item: Item::derived(None, cols),
                oid: None,
                ruled: false,
                relations: Vec::new(),
            };
        };
        let name = relation.relname().unwrap_or_default();
        let found = self.relations_named(relation.schemaname(), name);
        let item = self.table(relation);
        let infos = found.iter().filter_map(|&i| self.snapshot.relation(i));
        let ruled = infos.clone().any(|r| r.ruled);
        let oid = match found.as_slice() {
            [one] => self.snapshot.relation(*one).map(|r| r.oid),
            _ => None,
        };
        Target {
            item,
            oid,
            ruled,
            relations: found,
        }
    }

    /// Whether a write succeeds tells of what is stored. `written`: the columns that get a value.
    fn tells(&mut self, target: &Target<'a>, act: Act, written: Option<&BTreeSet<&str>>) {
        // Triggers can give a value to any.
        let written = written.filter(|_| !self.coded);
        for &relation in &target.relations {
            let told = self.snapshot.tells(relation, act, written);
            let set = self.sets.of(told.into_iter().collect());
            self.decide(set);
        }
    }

    pub(super) fn insert(&mut self, s: &'a nodes::InsertStmt, env: u32, outer: u32) -> Cols<'a> {
        let env = self.with(s.with_clause(), env, outer);
        let target = self.target(s.relation());
        let given = match s.select_stmt() {
            Node::None => Rc::new(Cols::default()),
            node => self.query(node, env, outer),
        };
        let columns = self.insert_columns(s, &target);
        let mut excluded = Rc::unwrap_or_clone(target.item.cols.clone());
        // A column that is not given has its default.
        let rest = given.rest.map_or(NOTHING, |_| ANYTHING);
        for col in excluded.iter_mut() {
            col.val = Val {
                kind: col.val.kind,
                plain: true,
                ..Val::of(rest)
            };
        }
        let count = given.rest.is_none().then_some(given.len());
        let known = count.unwrap_or(given.head.len());
        for i in 0..known {
            let set = self.at(&given, i, count);
            let column = columns.get(i).copied().flatten();
            self.stored(set, target.oid, column);
            let place = excluded
                .iter_mut()
                .find(|c| c.name == column && column.is_some());
            match place {
                Some(col) => col.val.set = set,
                None if set != NOTHING => {
                    for col in excluded.iter_mut() {
                        col.val.set = self.sets.union(col.val.set, set);
                    }
                }
                None => {}
            }
        }
        if let Some(rest) = given.rest {
            let tail = given.tail.iter().map(|c| c.val.set).chain([rest]);
            let set = self.sets.all(tail);
            self.stored(set, None, None);
        }
        let listed = match s.cols().is_empty() {
            true => columns.iter().take(known).copied().collect(),
            false => names(s.cols().iter()),
        };
        let written = listed.filter(|_| given.rest.is_none());
        self.tells(&target, Act::Insert, written.as_ref());
        self.excluded_by_code(&target, &mut excluded);
        let start = self.items.len();
        self.add(target.item.clone());
        for column in s.cols() {
            if let Node::ResTarget(column) = column {
                let at = At { scope: outer, env };
                self.subscripts(column, at);
            }
        }
        if let Some(conflict) = s.on_conflict_clause() {
            self.whole_rows = true;
            self.conflict(conflict, &target, excluded, start, env, outer);
        }
        self.returning(s.returning_clause(), &target, start, env, outer)
    }

    /// Generated columns, and what triggers have made of the row.
    fn excluded_by_code(&mut self, target: &Target<'a>, excluded: &mut Cols<'a>) {
        let all = self.all_of(excluded);
        let info = target
            .oid
            .and_then(|oid| self.snapshot.relation(self.snapshot.index_of(oid)?));
        for col in excluded.iter_mut() {
            let named = col.name.and_then(|name| info?.column_named(name));
            if named.is_some_and(|c| c.generated || c.filled) {
                col.val.set = all;
            }
            if self.coded {
                col.val.set = CODED;
            }
        }
    }

    /// The columns that values go to, by position.
    fn insert_columns(
        &mut self,
        s: &'a nodes::InsertStmt,
        target: &Target<'a>,
    ) -> Vec<Option<&'a str>> {
        if s.cols().is_empty() {
            return target.item.cols.iter().map(|c| c.name).collect();
        }
        let listed = s.cols().iter();
        listed
            .map(|column| match column {
                Node::ResTarget(c) if c.indirection().is_empty() => c.name(),
                // A part of a column.
                _ => None,
            })
            .collect()
    }

    #[allow(clippy::too_many_arguments)]
    fn conflict(
        &mut self,
        conflict: &'a nodes::OnConflictClause,
        target: &Target<'a>,
        excluded: Cols<'a>,
        start: usize,
        env: u32,
        outer: u32,
    ) {
        let at = At {
            scope: self.scope(start, outer),
            env,
        };
        // Whether there is such a row already. Without a target any constraint can be meant: what those
        // compare is told already.
        if let Some(infer) = conflict.infer().filter(|i| i.conname().is_none()) {
            for element in infer.index_elems() {
                let set = match element {
                    Node::IndexElem(e) => match e.name() {
                        Some(name) => self.bare(at.scope, name).set,
                        None => self.expr(e.expr(), at).set,
                    },
                    _ => ANYTHING,
                };
                self.decide(set);
            }
            let val = self.expr(infer.where_clause(), at);
            self.decide(val.set);
        }
        let mark = self.items.len();
        let item = Item::derived(Some("excluded"), Rc::new(excluded));
        self.add(Item {
            bare: false,
            ..item
        });
        let at = At {
            scope: self.scope(start, outer),
            env,
        };
        if !conflict.target_list().is_empty() {
            let written = names(conflict.target_list().iter().map(Node::ResTarget));
            self.tells(target, Act::Update, written.as_ref());
        }
        self.assignments(conflict.target_list().iter(), target, at);
        let val = self.expr(conflict.where_clause(), at);
        self.decide(val.set);
        self.items.truncate(mark);
    }

    pub(super) fn update(&mut self, s: &'a nodes::UpdateStmt, env: u32, outer: u32) -> Cols<'a> {
        self.whole_rows = true;
        let env = self.with(s.with_clause(), env, outer);
        let target = self.target(s.relation());
        let start = self.items.len();
        self.add(target.item.clone());
        let from = s.from_clause().iter();
        let at = self.rows_behind(from, start, env, outer);
        let written = names(s.target_list().iter().map(Node::ResTarget));
        self.tells(&target, Act::Update, written.as_ref());
        self.assignments(s.target_list().iter(), &target, at);
        let val = self.expr(s.where_clause(), at);
        self.decide(val.set);
        self.returning(s.returning_clause(), &target, start, env, outer)
    }

    pub(super) fn delete(&mut self, s: &'a nodes::DeleteStmt, env: u32, outer: u32) -> Cols<'a> {
        self.whole_rows = true;
        let env = self.with(s.with_clause(), env, outer);
        let target = self.target(s.relation());
        let start = self.items.len();
        self.add(target.item.clone());
        self.tells(&target, Act::Delete, None);
        let at = self.rows_behind(s.using_clause().iter(), start, env, outer);
        let val = self.expr(s.where_clause(), at);
        self.decide(val.set);
        self.returning(s.returning_clause(), &target, start, env, outer)
    }

    /// FROM behind the target, which LATERAL cannot see.
    fn rows_behind(
        &mut self,
        list: impl Iterator<Item = Node<'a>>,
        start: usize,
        env: u32,
        outer: u32,
    ) -> At {
        let behind = self.items.len();
        self.rows_from(list, behind, env, outer);
        At {
            scope: self.scope(start, outer),
            env,
        }
    }

    pub(super) fn merge_into(&mut self, s: &'a nodes::MergeStmt, env: u32, outer: u32) -> Cols<'a> {
        self.whole_rows = true;
        let env = self.with(s.with_clause(), env, outer);
        let target = self.target(s.relation());
        let start = self.items.len();
        self.rows_from([s.source_relation()].into_iter(), start, env, outer);
        self.add(target.item.clone());
        let at = At {
            scope: self.scope(start, outer),
            env,
        };
        let val = self.expr(s.join_condition(), at);
        self.decide(val.set);
        for when in s.merge_when_clauses() {
            let val = self.expr(when.condition(), at);
            self.decide(val.set);
            let targets = when.target_list().iter();
            let targets: Vec<&'a nodes::ResTarget> = targets
                .filter_map(|t| match t {
                    Node::ResTarget(t) => Some(t),
                    _ => None,
                })
                .collect();
            self.merge_tells(when, &target);
            if when.values().is_empty() {
                self.assignments(targets.into_iter(), &target, at);
                continue;
            }
            let columns: Vec<Option<&'a str>> = match targets.as_slice() {
                [] => target.item.cols.iter().map(|c| c.name).collect(),
                named => named
                    .iter()
                    .map(|t| t.name().filter(|_| t.indirection().is_empty()))
                    .collect(),
            };
            for (i, value) in when.values().iter().enumerate() {
                let set = self.expr(value, at).set;
                let column = columns.get(i).copied().flatten();
                self.stored(set, target.oid, column);
            }
        }
        self.returning(s.returning_clause(), &target, start, env, outer)
    }

    fn merge_tells(&mut self, when: &'a nodes::MergeWhenClause, target: &Target<'a>) {
        let listed = names(when.target_list().iter());
        match when.command_type {
            CmdType::CMD_UPDATE => self.tells(target, Act::Update, listed.as_ref()),
            CmdType::CMD_DELETE => self.tells(target, Act::Delete, None),
            CmdType::CMD_NOTHING => {}
            _ => {
                let listed = listed.filter(|l| !l.is_empty());
                self.tells(target, Act::Insert, listed.as_ref());
            }
        }
    }

    fn assignments(
        &mut self,
        list: impl Iterator<Item = &'a nodes::ResTarget>,
        target: &Target<'a>,
        at: At,
    ) {
        let mut last: Option<(&'a nodes::MultiAssignRef, Rc<Cols<'a>>, Set)> = None;
        for assignment in list {
            self.subscripts(assignment, at);
            let set = match assignment.val() {
                Node::MultiAssignRef(m) => {
                    let index = usize::try_from(m.colno).unwrap_or(1).saturating_sub(1);
                    let source = match last.take().filter(|_| index > 0) {
                        Some((_, cols, set)) => (cols, set),
                        None => self.several(m.source(), at),
                    };
                    let count = usize::try_from(m.ncolumns).ok();
                    let set = self.at(&source.0, index, count);
                    let set = self.sets.union(set, source.1);
                    last = Some((m, source.0, source.1));
                    set
                }
                value => self.expr(value, at).set,
            };
            let whole = assignment
                .name()
                .filter(|_| assignment.indirection().is_empty());
            self.stored(set, target.oid, whole);
        }
    }

    /// The columns of `(a, b) = …`, and what is in all of them.
    fn several(&mut self, source: Node<'a>, at: At) -> (Rc<Cols<'a>>, Set) {
        match source {
            Node::SubLink(s) => {
                let (cols, inside) = self.sub_query(s.subselect(), at);
                (cols, inside)
            }
            Node::RowExpr(r) => {
                let mut cols = Cols::default();
                for node in r.args() {
                    let val = self.expr(node, at);
                    cols.push(None, val);
                }
                (Rc::new(cols), NOTHING)
            }
            node => {
                let val = self.expr(node, at);
                (Rc::new(Cols::unknown(val.set)), val.set)
            }
        }
    }

    fn subscripts(&mut self, target: &'a nodes::ResTarget, at: At) {
        for step in target.indirection() {
            if let Node::A_Indices(_) = step {
                let val = self.expr(step, at);
                self.decide(val.set);
                self.sink(val.set, None);
            }
        }
    }

    /// Storing what is read can fail by what it is: by a length, a type, a constraint.
    fn stored(&mut self, set: Set, table: Option<u32>, column: Option<&'a str>) {
        self.decide(set);
        self.sink(set, table.zip(column));
    }

    fn returning(
        &mut self,
        clause: Option<&'a nodes::ReturningClause>,
        target: &Target<'a>,
        start: usize,
        env: u32,
        outer: u32,
    ) -> Cols<'a> {
        let Some(clause) = clause else {
            return Cols::default();
        };
        let mut shown = target.item.cols.clone();
        if target.ruled {
            // The server goes on saying that it is the column, whatever the rule puts there.
            let cols = Rc::make_mut(&mut shown);
            for col in cols.iter_mut() {
                col.val.set = CODED;
            }
            cols.rest = cols.rest.map(|_| CODED);
            if let Some(item) = self.items.get_mut(start) {
                item.cols = shown.clone();
            }
        }
        let mut both = ["old", "new"];
        for option in clause.options() {
            use pg_raw_parse::raw::ReturningOptionKind;
            let place = match option.option {
                ReturningOptionKind::RETURNING_OPTION_OLD => both.get_mut(0),
                _ => both.get_mut(1),
            };
            if let (Some(place), Some(name)) = (place, option.value()) {
                *place = name;
            }
        }
        let names = self.items.get(start..).unwrap_or_default().iter();
        let taken: Vec<Option<&str>> = names.map(|i| i.name).collect();
        for name in both {
            if taken.contains(&Some(name)) {
                continue;
            }
            let mut cols = (*shown).clone();
            for col in cols.iter_mut() {
                col.val.sure = false;
            }
            self.add(Item {
                bare: false,
                table: true,
                place: target.item.place,
                ..Item::derived(Some(name), Rc::new(cols))
            });
        }
        let at = At {
            scope: self.scope(start, outer),
            env,
        };
        let targets = clause.exprs().iter().filter_map(|node| match node {
            Node::ResTarget(target) => Some(target),
            _ => None,
        });
        let mut cols = self.targets(targets, at);
        if self.coded || target.ruled {
            // Rules, triggers and defaults can have put anything into the row.
            for col in cols.iter_mut() {
                col.val.set = self.sets.union(col.val.set, CODED);
            }
            cols.rest = cols.rest.map(|_| CODED);
        }
        cols
    }
}

/// The columns that a list of targets names; none when that is not all that there is to it.
fn names<'a>(list: impl Iterator<Item = Node<'a>>) -> Option<BTreeSet<&'a str>> {
    list.map(|node| match node {
        Node::ResTarget(target) => target.name(),
        _ => None,
    })
    .collect()
}
