//! What a write lets somebody find out by succeeding or failing: whether there is such a value already,
//! whether something refers to it, whether it fits the rest of its row.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::build::{Depend, MAX_OTHER, PG_CLASS, rows};
use super::code::{PG_CONSTRAINT, numbers};
use super::queries as q;
use super::{CatalogError, FIRST_USER_OID, RelationInfo, Rows, Snapshot};
use crate::analysis::resolve::Source;

/// A constraint or a unique index.
#[derive(Debug)]
pub(crate) struct Check {
    /// Of this relation.
    pub columns: Vec<i16>,
    /// Relation and columns of a foreign key's other side.
    pub refers: Option<(usize, Vec<i16>)>,
    /// It compares with other rows; if not, it is about the columns of one row.
    pub others: bool,
    /// When one of its columns is NULL, nothing is compared.
    pub skips_null: bool,
}

/// A foreign key, as the relation that it refers to sees it.
#[derive(Debug)]
pub(crate) struct Reference {
    pub columns: Vec<i16>,
    pub from: usize,
    pub from_columns: Vec<i16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Act {
    Insert,
    Update,
    Delete,
}

/// Columns of a relation that an object names.
type Named = HashMap<u32, Vec<(u32, i16)>>;

pub(super) fn collect(
    results: &[Rows],
    depends: &[Depend],
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    let (mut by_constraint, mut by_index) = (Named::new(), Named::new());
    for d in depends.iter().filter(|d| d.ref_class == PG_CLASS) {
        let named = match d.class {
            PG_CONSTRAINT => &mut by_constraint,
            PG_CLASS if d.column == 0 => &mut by_index,
            _ => continue,
        };
        let column = i16::try_from(d.ref_column).unwrap_or_default();
        if column > 0 {
            let place = (d.ref_object, column);
            named.entry(d.object).or_default().push(place);
        }
    }
    constraints(results, &by_constraint, snapshot)?;
    indexes(results, &by_index, snapshot)
}

/// Those of `named` that are of this relation, besides `given`. True when there are more than given.
fn columns(named: &Named, object: u32, relation: u32, given: &mut Vec<i16>) -> bool {
    let before = given.len();
    for &(of, column) in named.get(&object).into_iter().flatten() {
        if of == relation && !given.contains(&column) {
            given.push(column);
        }
    }
    given.len() > before
}

fn constraints(
    results: &[Rows],
    named: &Named,
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    for row in rows(results, q::CONSTRAINTS, 10, MAX_OTHER)? {
        let row = row?;
        let (oid, relation, other) = (row.oid(0)?, row.oid(1)?, row.oid(3)?);
        let kind = row.byte(4);
        let Some(&index) = snapshot.by_oid.get(&relation) else {
            continue;
        };
        let mut own: Vec<i16> = numbers(row.text(8)).filter(|&n| n > 0).collect();
        let theirs: Vec<i16> = numbers(row.text(9)).collect();
        let (others, more) = match kind {
            // A primary key and a unique constraint are there as indexes, too.
            b'x' | b'c' => (kind == b'x', columns(named, oid, relation, &mut own)),
            b'f' => (true, false),
            _ => continue,
        };
        let referred = snapshot.by_oid.get(&other).copied();
        let refers = referred.filter(|_| kind == b'f').map(|i| (i, theirs));
        if let Some((to, theirs)) = &refers
            && let Some(to) = snapshot.relations.get_mut(*to)
        {
            to.referred.push(Reference {
                columns: theirs.clone(),
                from: index,
                from_columns: own.clone(),
            });
        }
        if let Some(relation) = snapshot.relations.get_mut(index) {
            relation.checks.push(Check {
                columns: own,
                refers,
                others,
                skips_null: !more,
            });
        }
    }
    Ok(())
}

fn indexes(results: &[Rows], named: &Named, snapshot: &mut Snapshot) -> Result<(), CatalogError> {
    for row in rows(results, q::INDEXES, 6, MAX_OTHER)? {
        let row = row?;
        let (oid, relation) = (row.oid(0)?, row.oid(1)?);
        let compares = row.flag(2) || row.flag(3);
        let known = snapshot.by_oid.get(&relation).copied();
        let Some(info) = known.and_then(|i| snapshot.relations.get_mut(i)) else {
            continue;
        };
        let keys = row.text(4).split(' ').filter_map(|n| n.parse::<i16>().ok());
        let keys: Vec<i16> = keys.collect();
        let expression = keys.contains(&0);
        if !compares && !expression {
            continue;
        }
        let mut own: Vec<i16> = keys.into_iter().filter(|&n| n > 0).collect();
        let mut more = columns(named, oid, relation, &mut own);
        if expression && !more && own.is_empty() {
            // Of the row as a whole.
            own = info.columns.iter().map(|c| c.number).collect();
            more = true;
        }
        info.checks.push(Check {
            columns: own,
            refers: None,
            // An expression is computed for every row, and can fail.
            others: compares,
            skips_null: !more && !expression && !row.flag(5),
        });
    }
    Ok(())
}

/// Relations that one write can lead to. With more, it tells of everything.
const MAX_REACHED: usize = 10_000;

impl Snapshot {
    /// The columns of whose stored values a write tells something. `written`: the columns that are given
    /// a value; none when it can be any.
    pub(crate) fn tells(
        &self,
        index: usize,
        act: Act,
        written: Option<&BTreeSet<&str>>,
    ) -> BTreeSet<Source> {
        let numbers = |names: &BTreeSet<&str>| {
            let columns = self.relation(index).map(|r| r.columns.as_slice());
            let columns = columns.unwrap_or_default().iter();
            let named = columns.filter(|c| names.contains(&*c.name));
            named.map(|c| c.number).collect::<BTreeSet<i16>>()
        };
        let mut told = BTreeSet::new();
        let mut seen: HashSet<(usize, Act, Option<BTreeSet<i16>>)> = HashSet::new();
        let mut queue = vec![(index, act, written.map(numbers))];
        while let Some((next, act, written)) = queue.pop() {
            if !seen.insert((next, act, written.clone())) {
                continue;
            }
            let Some(info) = self.relation(next).filter(|_| seen.len() <= MAX_REACHED) else {
                told.insert(crate::analysis::resolve::ANY);
                return told;
            };
            self.told_by(info, act, written.as_ref(), &mut told);
            for reference in &info.referred {
                let touched = match act {
                    Act::Insert => false,
                    Act::Delete => true,
                    Act::Update => meets(&reference.columns, written.as_ref()),
                };
                if touched {
                    told.extend(sources(info, &reference.columns));
                    if let Some(from) = self.relation(reference.from) {
                        told.extend(sources(from, &reference.from_columns));
                    }
                    // Whatever the key's actions do there.
                    let columns = reference.from_columns.iter().copied().collect();
                    queue.push((reference.from, Act::Update, Some(columns)));
                    queue.push((reference.from, Act::Delete, None));
                }
            }
            for &child in &info.children {
                // Its columns have the same names, but numbers of their own.
                let below = written.as_ref().map(|w| self.same_columns(info, child, w));
                queue.push((child, act, below));
                if act == Act::Update && info.kind == b'p' {
                    // The row can move from one partition to another.
                    queue.push((child, Act::Insert, None));
                    queue.push((child, Act::Delete, None));
                }
            }
            if info.oid >= FIRST_USER_OID {
                // What a view or a rule writes to, in whatever way.
                for &read in &info.reads {
                    for act in [Act::Insert, Act::Update, Act::Delete] {
                        queue.push((read, act, None));
                    }
                }
            }
        }
        told
    }

    fn same_columns(
        &self,
        of: &RelationInfo,
        child: usize,
        numbers: &BTreeSet<i16>,
    ) -> BTreeSet<i16> {
        let named = numbers.iter().filter_map(|&n| of.column(n));
        let child = self.relation(child);
        let same = named.filter_map(|c| child?.column_named(&c.name));
        same.map(|c| c.number).collect()
    }

    fn told_by(
        &self,
        info: &RelationInfo,
        act: Act,
        written: Option<&BTreeSet<i16>>,
        told: &mut BTreeSet<Source>,
    ) {
        // Columns that are made of others are written with them.
        let mut all = written.cloned();
        if let Some(all) = &mut all {
            for column in info.columns.iter().filter(|c| c.generated) {
                let made = act == Act::Insert || column.from.is_empty();
                if made || column.from.iter().any(|n| all.contains(n)) {
                    if act == Act::Update {
                        let rest = column.from.iter().filter(|n| !all.contains(n));
                        let rest: Vec<i16> = rest.copied().collect();
                        told.extend(sources(info, &rest));
                    }
                    all.insert(column.number);
                }
            }
        }
        if all.is_none() && act == Act::Update {
            for column in info.columns.iter().filter(|c| c.generated) {
                told.extend(sources(info, &column.from));
            }
        }
        for check in &info.checks {
            let asked = match act {
                Act::Delete => false,
                Act::Update => meets(&check.columns, all.as_ref()),
                Act::Insert => check.others && compares(info, check, all.as_ref()),
            };
            if !asked {
                continue;
            }
            let stored = check.columns.iter().copied();
            let stored =
                stored.filter(|n| check.others || all.as_ref().is_none_or(|a| !a.contains(n)));
            told.extend(sources(info, &stored.collect::<Vec<i16>>()));
            if let Some((to, columns)) = &check.refers
                && let Some(to) = self.relation(*to)
            {
                told.extend(sources(to, columns));
            }
        }
    }
}

fn sources<'a>(info: &'a RelationInfo, columns: &'a [i16]) -> impl Iterator<Item = Source> + 'a {
    columns.iter().map(|&column| Source {
        relation: info.oid,
        column,
    })
}

fn meets(columns: &[i16], written: Option<&BTreeSet<i16>>) -> bool {
    written.is_none_or(|w| columns.iter().any(|c| w.contains(c)))
}

/// Is a new row with these columns compared with others?
fn compares(info: &RelationInfo, check: &Check, written: Option<&BTreeSet<i16>>) -> bool {
    let has = |&n: &i16| {
        let given = info
            .column(n)
            .is_none_or(|c| c.given || c.generated || c.filled);
        given || written.is_none_or(|w| w.contains(&n))
    };
    !check.skips_null || check.columns.iter().all(has)
}
