//! Which columns of a snapshot are labelled, with everything that inheritance and generated columns
//! add to the bundle's rules.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pipeline::{Column, LabelCatalog, LabelSet};

use super::family;
use super::{RelationInfo, Snapshot, is_system_schema};
use crate::analysis::resolve::Source;

/// How many bundles' labels a snapshot remembers: the active one and some that sessions still hold.
const REMEMBERED: usize = 4;
/// Labels travel along inheritance and generated columns; a chain longer than this is not followed
/// further. Real hierarchies have two or three levels.
const MAX_ROUNDS: usize = 64;
/// No schema can have this name, so only rules that match any schema match it.
const NO_SCHEMA: &str = "\u{0}";

/// The labelled columns of every relation under one bundle.
#[derive(Debug)]
pub(crate) struct LabelIndex {
    target: Arc<str>,
    catalog: LabelCatalog,
    by_relation: HashMap<usize, Vec<Column>>,
    pub all: Vec<Column>,
    /// Columns with labels that they have from others.
    derived: HashSet<Source>,
}

impl LabelIndex {
    pub fn of(&self, relation: usize) -> &[Column] {
        self.by_relation
            .get(&relation)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The labelled columns that are among these, and those of children whose rows are read through them.
    pub fn among(&self, snapshot: &Snapshot, sources: &[Source]) -> Vec<Column> {
        let mut found = Vec::new();
        for source in sources {
            let Some(index) = snapshot.index_of(source.relation) else {
                continue;
            };
            let info = snapshot.relation(index);
            let Some(column) = info.and_then(|r| r.column(source.column)) else {
                continue;
            };
            for relation in family(snapshot, index) {
                let labelled = self.of(relation).iter();
                found.extend(labelled.filter(|c| c.column == column.name).cloned());
            }
        }
        found
    }

    pub fn is_derived(&self, column: Source) -> bool {
        self.derived.contains(&column)
    }

    /// The union of the labels of its columns.
    pub fn union(&self, relation: usize) -> LabelSet {
        let columns = self.of(relation).iter();
        columns.flat_map(|c| c.labels.iter().cloned()).collect()
    }
}

impl Snapshot {
    pub(crate) fn labelled(&self, labels: &LabelCatalog, target: &Arc<str>) -> Arc<LabelIndex> {
        let mut known = self.labelled.lock();
        let found = known
            .iter()
            .find(|i| i.target == *target && i.catalog == *labels);
        if let Some(index) = found {
            return index.clone();
        }
        let index = Arc::new(build(self, labels, target));
        if known.len() >= REMEMBERED {
            known.remove(0);
        }
        known.push(index.clone());
        index
    }
}

fn build(snapshot: &Snapshot, labels: &LabelCatalog, target: &Arc<str>) -> LabelIndex {
    let mut sets: Vec<Vec<LabelSet>> = snapshot
        .relations()
        .iter()
        .map(|relation| direct(relation, labels, target))
        .collect();
    let named = sets.clone();
    if !labels.is_empty() {
        for _ in 0..MAX_ROUNDS {
            if !spread(snapshot, &mut sets) {
                break;
            }
        }
    }
    let derived = derived(snapshot, &named, &sets);
    let mut by_relation = HashMap::new();
    let mut all = Vec::new();
    for (index, (relation, sets)) in snapshot.relations().iter().zip(sets).enumerate() {
        let columns: Vec<Column> = relation
            .columns
            .iter()
            .zip(sets)
            .filter(|(_, labels)| !labels.is_empty())
            .map(|(column, labels)| Column {
                schema: relation.schema.clone(),
                table: relation.name.clone(),
                column: column.name.clone(),
                labels,
            })
            .collect();
        if !columns.is_empty() {
            all.extend(columns.iter().cloned());
            by_relation.insert(index, columns);
        }
    }
    LabelIndex {
        target: target.clone(),
        catalog: labels.clone(),
        by_relation,
        all,
        derived,
    }
}

/// What has more labels than its own name gives it.
fn derived(
    snapshot: &Snapshot,
    named: &[Vec<LabelSet>],
    sets: &[Vec<LabelSet>],
) -> HashSet<Source> {
    let mut found = HashSet::new();
    for (relation, (before, after)) in snapshot.relations().iter().zip(named.iter().zip(sets)) {
        for (column, (before, after)) in relation.columns.iter().zip(before.iter().zip(after)) {
            if before != after {
                found.insert(Source {
                    relation: relation.oid,
                    column: column.number,
                });
            }
        }
    }
    found
}

/// By the bundle's rules alone. Rules for any schema do not mean PostgreSQL's own: labelling
/// `pg_class.relname` by a rule for `*name*` would break every client.
fn direct(relation: &RelationInfo, labels: &LabelCatalog, target: &str) -> Vec<LabelSet> {
    let of = |schema: &str, column: &str| labels.labels(target, schema, &relation.name, column);
    let system = is_system_schema(&relation.schema);
    relation
        .columns
        .iter()
        .map(|column| {
            let mut set = of(&relation.schema, &column.name);
            if system && !set.is_empty() {
                let anywhere = of(NO_SCHEMA, &column.name);
                set.retain(|label| !anywhere.contains(label));
            }
            set
        })
        .collect()
}

/// One round: parents and children share labels by column name, generated columns have those of what
/// they are made of, columns that hold rows those of all the rows' columns, foreign keys those of what
/// they refer to. True when something changed.
fn spread(snapshot: &Snapshot, sets: &mut [Vec<LabelSet>]) -> bool {
    let mut changed = false;
    for (index, relation) in snapshot.relations().iter().enumerate() {
        for &child in &relation.children {
            changed |= share(snapshot, sets, index, child);
            changed |= share(snapshot, sets, child, index);
        }
        for (i, column) in relation.columns.iter().enumerate() {
            let rows = column.row.and_then(|row| sets.get(row));
            let rows = rows.into_iter().flatten();
            let sources = column.refers.iter().filter_map(|&(relation, number)| {
                let columns = &snapshot.relation(relation)?.columns;
                let place = columns.iter().position(|c| c.number == number)?;
                sets.get(relation)?.get(place)
            });
            let filled = sets.get(index).filter(|_| column.filled);
            let labels: LabelSet = rows
                .chain(sources)
                .chain(filled.into_iter().flatten())
                .flatten()
                .cloned()
                .collect();
            if let Some(set) = sets.get_mut(index).and_then(|own| own.get_mut(i)) {
                let before = set.len();
                set.extend(labels);
                changed |= set.len() != before;
            }
        }
        let Some(own) = sets.get_mut(index) else {
            continue;
        };
        for (i, column) in relation.columns.iter().enumerate() {
            if !column.generated {
                continue;
            }
            let sources = relation.columns.iter().zip(own.iter());
            let labels: LabelSet = sources
                // No recorded source: it could be any column.
                .filter(|(c, _)| {
                    column.from.is_empty()
                        || column.from.contains(&c.number)
                        || column.from.contains(&0)
                })
                .flat_map(|(_, set)| set.iter().cloned())
                .collect();
            if let Some(set) = own.get_mut(i) {
                let before = set.len();
                set.extend(labels);
                changed |= set.len() != before;
            }
        }
    }
    changed
}

fn share(snapshot: &Snapshot, sets: &mut [Vec<LabelSet>], from: usize, to: usize) -> bool {
    let (Some(source), Some(target)) = (snapshot.relation(from), snapshot.relation(to)) else {
        return false;
    };
    let mut changed = false;
    for (i, column) in source.columns.iter().enumerate() {
        let labels = match sets.get(from).and_then(|s| s.get(i)) {
            Some(labels) if !labels.is_empty() => labels.clone(),
            _ => continue,
        };
        let place = target.columns.iter().position(|c| c.name == column.name);
        let Some(set) = place.and_then(|p| sets.get_mut(to)?.get_mut(p)) else {
            continue;
        };
        let before = set.len();
        set.extend(labels);
        changed |= set.len() != before;
    }
    changed
}
