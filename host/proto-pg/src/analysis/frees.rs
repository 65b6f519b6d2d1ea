//! What takes away that by which a column has its labels, and leaves its values: labels come along foreign
//! keys, from inheritance parents, from what a trigger fills a column with, and to a materialized view
//! through the views that it was made of.

use std::collections::BTreeSet;

use pg_raw_parse::nodes;
use pg_raw_parse::raw::{AlterTableType as At, DropBehavior, ObjectType};
use pipeline::Column;

use super::resolve::Source;
use super::walk::Walk;
use crate::catalog::{ColumnInfo, LabelIndex, RelationInfo, Snapshot, family};

/// ALTER TABLE: constraints and columns go, with what depends on them.
pub(super) fn altered<'t>(
    walk: &mut Walk<'t, '_>,
    relation: Option<&'t nodes::RangeVar>,
    command: &'t nodes::AlterTableCmd,
) {
    let column = match command.subtype {
        At::AT_DropConstraint => None,
        At::AT_DropColumn => command.name(),
        _ => return,
    };
    let snapshot = walk.snapshot;
    let Some(relation) = relation else {
        return;
    };
    let name = relation.relname().unwrap_or_default();
    for index in snapshot.find_relations(relation.schemaname(), name, walk.path) {
        let partitioned = snapshot.relation(index).is_none_or(|r| r.kind == b'p');
        for reached in family(snapshot, index) {
            let Some(info) = snapshot.relation(reached) else {
                continue;
            };
            let Some(column) = column else {
                // Which one it is, its name does not say.
                free(walk, info, |c| !c.refers.is_empty());
                continue;
            };
            // A key of several columns goes with any of them, and children can keep columns that
            // partitions cannot.
            let keys = keys_with(info, column);
            let below = reached != index && !partitioned;
            free(walk, info, |c| {
                c.filled || keys.contains(&c.number) || (below && *c.name == *column)
            });
        }
    }
    if command.behavior == DropBehavior::DROP_CASCADE {
        keys(walk);
    }
}

/// DROP: what goes with it can be a foreign key of anything.
pub(super) fn dropped<'t>(walk: &mut Walk<'t, '_>, s: &'t nodes::DropStmt) {
    if s.behavior == DropBehavior::DROP_CASCADE {
        keys(walk);
    }
    if s.remove_type == ObjectType::OBJECT_TRIGGER {
        all(walk, |c| c.filled);
    }
}

/// The columns of foreign keys that have this one in them.
fn keys_with(info: &RelationInfo, column: &str) -> Vec<i16> {
    let number = info.column_named(column).map(|c| c.number);
    let keys = info.checks.iter().filter(|c| c.refers.is_some());
    let keys = keys.filter(|c| number.is_some_and(|n| c.columns.contains(&n)));
    keys.flat_map(|c| c.columns.iter().copied()).collect()
}

/// Those that have labels which no rule of the bundle gives them by their own names.
pub(super) fn labelled(freed: &[Source], index: &LabelIndex, snapshot: &Snapshot) -> Vec<Column> {
    let derived = freed.iter().filter(|s| index.is_derived(**s));
    let derived: Vec<Source> = derived.copied().collect();
    index.among(snapshot, &derived)
}

/// All columns that refer to others.
pub(super) fn keys(walk: &mut Walk<'_, '_>) {
    all(walk, |c| !c.refers.is_empty());
}

/// Is there a materialized view with rows that a view gave?
pub(super) fn is_kept<'t>(walk: &Walk<'t, '_>, view: Option<&'t nodes::RangeVar>) -> bool {
    let Some(view) = view else {
        return false;
    };
    let snapshot = walk.snapshot;
    let name = view.relname().unwrap_or_default();
    let found = snapshot.find_relations(view.schemaname(), name, walk.path);
    found.into_iter().any(|index| is_read(snapshot, index))
}

fn is_read(snapshot: &Snapshot, view: usize) -> bool {
    let mut seen = BTreeSet::from([view]);
    // Views over views: each round goes one further up.
    loop {
        let mut more = Vec::new();
        for (index, info) in snapshot.relations().iter().enumerate() {
            if info.is_view() && info.reads.iter().any(|r| seen.contains(r)) {
                if info.kind == b'm' {
                    return true;
                }
                more.push(index);
            }
        }
        let before = seen.len();
        seen.extend(more);
        if seen.len() == before {
            return false;
        }
    }
}

fn all(walk: &mut Walk<'_, '_>, is: impl Fn(&ColumnInfo) -> bool) {
    let snapshot = walk.snapshot;
    for info in snapshot.relations() {
        free(walk, info, &is);
    }
}

fn free(walk: &mut Walk<'_, '_>, info: &RelationInfo, is: impl Fn(&ColumnInfo) -> bool) {
    let columns = info.columns.iter().filter(|c| is(c));
    walk.found.freed.extend(columns.map(|c| Source {
        relation: info.oid,
        column: c.number,
    }));
}
