//! Statements that are no queries, and tell all the same what is stored: by succeeding or failing, and by
//! the order or the size of what they leave behind.

use std::collections::BTreeSet;
use std::sync::Arc;

use pg_raw_parse::raw::AlterTableType as At;
use pg_raw_parse::{Node, nodes};
use pipeline::{Action, SqlKind};

use super::found::{Found, Place, Top};
use super::resolve::{ANY, Source};
use super::statement::Cx;
use super::summary::Summary;
use super::walk::{Out, Walk};
use crate::catalog::{Act, FIRST_USER_OID, Snapshot};

/// The columns of an index or an exclusion constraint that are given by name. Expressions are walked with
/// the rest of the definition.
pub(super) fn of_elements<'t>(elements: impl Iterator<Item = Node<'t>>) -> Option<Vec<&'t str>> {
    let names = elements.filter_map(|element| match element {
        Node::IndexElem(e) => e.name(),
        _ => None,
    });
    Some(names.collect())
}

fn texts<'t>(list: impl Iterator<Item = Node<'t>>) -> Vec<&'t str> {
    list.filter_map(Node::as_str).collect()
}

/// What is stored in these columns is told; in all of them when none are given. Without a relation it can
/// be any.
pub(super) fn columns<'t>(
    walk: &mut Walk<'t, '_>,
    relation: Option<&'t nodes::RangeVar>,
    names: Option<Vec<&str>>,
) {
    let Some(relation) = relation else {
        let all = walk.snapshot.relations().iter();
        let all =
            all.filter(|r| !r.columns.is_empty() && !crate::catalog::is_system_schema(&r.schema));
        let indexes = all.filter_map(|r| walk.snapshot.index_of(r.oid));
        walk.found.checked.extend(indexes);
        walk.found.computed.push(ANY);
        return;
    };
    let schema = relation.schemaname();
    let name = relation.relname().unwrap_or_default();
    for index in walk.snapshot.find_relations(schema, name, walk.path) {
        let Some(info) = walk.snapshot.relation(index) else {
            continue;
        };
        let told = info.columns.iter();
        let told = told.filter(|c| names.as_ref().is_none_or(|n| n.contains(&&*c.name)));
        let told = told.map(|c| Source {
            relation: info.oid,
            column: c.number,
        });
        walk.found.computed.extend(told);
    }
}

/// What is done to one partition alone, or to what a query has stored, tells which rows are in it: by
/// failing for one of them, or by taking them away.
pub(super) fn part(walk: &mut Walk<'_, '_>, index: usize) {
    let snapshot = walk.snapshot;
    let Some(info) = snapshot.relation(index) else {
        return;
    };
    walk.found.computed.extend(snapshot.told_by_part(index));
    if info.is_view() && info.is_stored() {
        snapshot.resolve_view(index);
        match info.view.as_ref().and_then(|v| v.columns()) {
            Some(view) if !info.opaque => walk.found.computed.extend(view.decides.iter()),
            _ => walk.found.computed.push(ANY),
        }
    }
}

/// A partition takes none of the rows that the default one has already: it fails when there are some.
pub(super) fn new_part<'t>(walk: &mut Walk<'t, '_>, parent: &'t nodes::RangeVar) {
    let snapshot = walk.snapshot;
    let name = parent.relname().unwrap_or_default();
    for index in snapshot.find_relations(parent.schemaname(), name, walk.path) {
        walk.found.computed.extend(snapshot.key_of(index));
    }
}

/// With VERBOSE, VACUUM and ANALYZE say something of each partition that is not empty: the texts are
/// withheld, but how many they are can be counted.
pub(super) fn vacuumed<'t>(walk: &mut Walk<'t, '_>, s: &'t nodes::VacuumStmt) {
    let mut options = s.options().iter();
    if !options.any(|option| option.defname() == Some("verbose")) {
        return;
    }
    let snapshot = walk.snapshot;
    let mut any = false;
    for relation in s.rels().iter().filter_map(|r| r.relation()) {
        any = true;
        let name = relation.relname().unwrap_or_default();
        for index in snapshot.find_relations(relation.schemaname(), name, walk.path) {
            walk.found.computed.extend(snapshot.told_by_place(index));
            walk.found.computed.extend(snapshot.told_by_part(index));
        }
    }
    if !any {
        walk.found.computed.extend(snapshot.keys());
    }
}

/// REFRESH runs the definition, all of it, and puts the rows into what is there with its indexes.
pub(super) fn refreshed<'t>(walk: &mut Walk<'t, '_>, relation: Option<&'t nodes::RangeVar>) {
    let Some(relation) = relation else {
        return;
    };
    let name = relation.relname().unwrap_or_default();
    let snapshot = walk.snapshot;
    for index in snapshot.find_relations(relation.schemaname(), name, walk.path) {
        snapshot.resolve_view(index);
        let info = snapshot.relation(index);
        let info = info.filter(|r| !r.opaque);
        let view = info.and_then(|r| r.view.as_ref()?.columns());
        let (Some(info), Some(view)) = (info, view) else {
            walk.found.computed.push(ANY);
            continue;
        };
        let made = view.columns.iter().flat_map(|c| c.when_used.iter());
        walk.found.computed.extend(made.chain(&*view.decides));
        // Its rows are compared with one another, not with those that they are made of.
        let compared = info.checks.iter().flat_map(|c| &c.columns);
        for number in compared {
            let place = info.columns.iter().position(|c| c.number == *number);
            match place.and_then(|p| view.columns.get(p)) {
                Some(column) => walk.found.computed.extend(column.sources.iter()),
                None => walk.found.computed.push(ANY),
            }
        }
    }
}

/// ALTER TABLE: constraints hold or do not.
pub(super) fn altered<'t>(
    walk: &mut Walk<'t, '_>,
    relation: Option<&'t nodes::RangeVar>,
    command: &'t nodes::AlterTableCmd,
) {
    match command.subtype {
        At::AT_AddConstraint => {
            if let Node::Constraint(constraint) = command.def() {
                self::constraint(walk, relation, constraint);
            }
        }
        At::AT_AddColumn => {
            if let Node::ColumnDef(column) = command.def() {
                for constraint in column.constraints() {
                    if let Node::Constraint(constraint) = constraint {
                        self::constraint(walk, None, constraint);
                    }
                }
            }
        }
        At::AT_SetNotNull => {
            let name = command.name().unwrap_or_default();
            columns(walk, relation, Some(vec![name]));
        }
        // Which columns it is about is not known here.
        At::AT_ValidateConstraint | At::AT_AttachPartition => {
            columns(walk, relation, None);
            others(walk, relation);
        }
        _ => {}
    }
}

fn constraint<'t>(
    walk: &mut Walk<'t, '_>,
    relation: Option<&'t nodes::RangeVar>,
    constraint: &'t nodes::Constraint,
) {
    if relation.is_some() {
        let mut own = texts(constraint.keys().iter());
        own.extend(texts(constraint.fk_attrs().iter()));
        let elements = constraint.exclusions().iter();
        let elements = elements.filter_map(|pair| pair.as_node_list()?.get(0));
        own.extend(of_elements(elements).unwrap_or_default());
        columns(walk, relation, Some(own));
    }
    if let Some(other) = constraint.pktable() {
        let theirs = texts(constraint.pk_attrs().iter());
        // Without a list it is the primary key.
        columns(walk, Some(other), Some(theirs).filter(|t| !t.is_empty()));
    }
}

/// The other sides of a relation's foreign keys.
fn others<'t>(walk: &mut Walk<'t, '_>, relation: Option<&'t nodes::RangeVar>) {
    let Some(relation) = relation else {
        return;
    };
    let name = relation.relname().unwrap_or_default();
    let found = walk
        .snapshot
        .find_relations(relation.schemaname(), name, walk.path);
    let infos = found.into_iter().filter_map(|i| walk.snapshot.relation(i));
    for (to, columns) in infos
        .flat_map(|r| &r.checks)
        .filter_map(|c| c.refers.as_ref())
    {
        let Some(to) = walk.snapshot.relation(*to) else {
            continue;
        };
        walk.found
            .computed
            .extend(columns.iter().map(|&column| Source {
                relation: to.oid,
                column,
            }));
    }
}

/// A domain's constraints are checked on whatever is of its type.
pub(super) fn domain(walk: &mut Walk<'_, '_>, s: &nodes::AlterDomainStmt) {
    let mut names = s.type_name().iter();
    let name = names.next_back().and_then(Node::as_str).unwrap_or_default();
    let snapshot = walk.snapshot;
    for (index, info) in snapshot.relations().iter().enumerate() {
        for column in &info.columns {
            if snapshot.can_hold_named(column.type_oid, name) {
                walk.found.checked.insert(index);
                walk.found.computed.push(Source {
                    relation: info.oid,
                    column: column.number,
                });
            }
        }
    }
}

/// COPY … FROM: rows that are compared with those that are there.
pub(super) fn copied(walk: &mut Walk<'_, '_>, s: &nodes::CopyStmt, place: &Place) {
    let Place::Known(index) = place else {
        return;
    };
    let listed: BTreeSet<&str> = s.attlist().iter().filter_map(Node::as_str).collect();
    let written = (!listed.is_empty() && !walk.found.changed_by_code).then_some(&listed);
    let told = walk.snapshot.tells(*index, Act::Insert, written);
    walk.found.computed.extend(told);
}

/// The columns of a query whose plan tells of nothing else. Its estimates are made from what is known of
/// the columns that are in it, and their widths; a policy or code has others. None when more can be in the
/// plan.
pub(super) fn plan(node: Node<'_>, inner: &Summary, cx: &mut Cx<'_>) -> Option<Arc<[Source]>> {
    let Node::SelectStmt(_) = node else {
        return None;
    };
    let mut walk = cx.walk();
    walk.query(node, Out::Top);
    cx.budget = walk.budget;
    all_of_it(&walk.found, inner, cx.ctx.snapshot).map(Into::into)
}

/// All columns that a query has in it anywhere, through views as well; none when it cannot be told, or
/// when more than a query is in it. Of a view, what is not used is not computed, unless rows are locked.
pub(super) fn all_of_it(found: &Found, of: &Summary, snapshot: &Snapshot) -> Option<Vec<Source>> {
    let plain = of.kind == SqlKind::Select && of.parsed && !of.foreign && !found.writes;
    let known = !found.opaque && !found.anywhere && !found.unknown_names && !found.hidden_code;
    let whole = found.refuse.is_none() && found.elsewhere.is_empty();
    let Top::Rows(output) = &found.top else {
        return None;
    };
    let mut seen = BTreeSet::new();
    let mut queue = Vec::new();
    for (action, place) in &found.tables {
        match place {
            Place::Known(index) if *action == Action::PostgresSelect => queue.push(*index),
            _ => return None,
        }
    }
    while let Some(index) = queue.pop() {
        if !seen.insert(index) {
            continue;
        }
        let info = snapshot.relation(index)?;
        let view = info.view.as_ref().filter(|_| !info.is_stored());
        match view {
            _ if info.oid < FIRST_USER_OID => {}
            Some(view) => {
                let columns = view.columns()?;
                if info.opaque || columns.fixed || found.locks {
                    return None;
                }
                queue.extend(&info.reads);
            }
            None if info.policies => return None,
            // Of a file or another server, errors and plans show what they want.
            None if info.kind == b'f' => return None,
            None if info.is_table() || (info.is_stored() && info.is_view()) => {}
            None => return None,
        }
    }
    let shown = output.sources().flatten().copied();
    let all = found.named.iter().chain(&found.computed).copied();
    // Every partition has a line of its own.
    let places = seen.into_iter().flat_map(|i| snapshot.told_by_place(i));
    (plain && known && whole).then(|| all.chain(shown).chain(places).collect())
}
