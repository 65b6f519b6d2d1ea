//! Where rows are, and who sees them: partitions and row security policies tell of the columns by whose
//! values they choose.

use std::collections::BTreeSet;

use super::build::{Depend, MAX_OTHER, PG_CLASS, rows};
use super::code::{PG_POLICY, owners};
use super::queries as q;
use super::{CatalogError, FIRST_USER_OID, RelationInfo, Rows, Snapshot, family};
use crate::analysis::resolve::{ALL, Source};

pub(super) fn collect(
    results: &[Rows],
    depends: &[Depend],
    snapshot: &mut Snapshot,
) -> Result<(), CatalogError> {
    for row in rows(results, q::PARTITIONED, 2, MAX_OTHER)? {
        let row = row?;
        let relation = snapshot.by_oid.get(&row.oid(0)?).copied();
        let Some(relation) = relation.and_then(|i| snapshot.relations.get_mut(i)) else {
            continue;
        };
        let numbers: Vec<i16> = row
            .text(1)
            .split(' ')
            .filter_map(|n| n.parse().ok())
            .collect();
        let oid = relation.oid;
        relation.key = match numbers.contains(&0) {
            // An expression, of whatever columns.
            true => relation.columns.iter().map(|c| c.number).collect(),
            false => numbers,
        };
        let key = relation.key.iter();
        snapshot.keys.extend(key.map(|&column| Source {
            relation: oid,
            column,
        }));
    }
    let policies = owners(results, q::POLICIES, 2)?;
    let of_policies = depends.iter().filter(|d| d.class == PG_POLICY);
    for d in of_policies.filter(|d| d.ref_class == PG_CLASS) {
        let column = i16::try_from(d.ref_column).unwrap_or_default();
        let relation = policies
            .get(&d.object)
            .and_then(|oid| snapshot.by_oid.get(oid))
            .copied();
        if let Some(relation) = relation.and_then(|i| snapshot.relations.get_mut(i))
            && column > 0
        {
            relation.looked_at.push(Source {
                relation: d.ref_object,
                column,
            });
        }
    }
    Ok(())
}

/// System columns that tell which partition a row is in, by number and name: rows are counted in each
/// partition for itself.
pub(crate) const PLACES: &[(i16, &str)] = &[(-1, "ctid"), (-6, "tableoid")];

/// A serializable transaction's locks on rows and pages are in the partitions where it has read something,
/// and how many there are depends on how much it was.
fn lists_locks(info: &RelationInfo) -> bool {
    info.oid < FIRST_USER_OID && &*info.schema == "pg_catalog" && &*info.name == "pg_locks"
}

impl Snapshot {
    /// Columns of which it tells something that a row is in this relation, and can be seen. Views that
    /// policies look at are resolved by then.
    pub(crate) fn told_by_rows(&self, index: usize) -> BTreeSet<Source> {
        let mut told = BTreeSet::new();
        let mut seen = BTreeSet::from([index]);
        let mut queue = vec![index];
        while let Some((next, info)) = queue.pop().and_then(|i| Some((i, self.relation(i)?))) {
            told.extend(&info.looked_at);
            if lists_locks(info) {
                told.extend(self.keys());
            }
            told.extend(self.told_by_part(next));
            for source in &info.looked_at {
                let other = self.index_of(source.relation);
                let Some((other, view)) = other.and_then(|i| Some((i, &self.relation(i)?.view)))
                else {
                    continue;
                };
                match view {
                    // What policies look at has policies of its own.
                    None if seen.insert(other) => queue.push(other),
                    None => {}
                    Some(_) => told.extend(self.told_by_view(other, source.column)),
                }
            }
        }
        told
    }

    /// What a column of a view tells, and that it has a row with it.
    fn told_by_view(&self, index: usize, column: i16) -> BTreeSet<Source> {
        let info = self.relation(index);
        let columns = info.and_then(|r| r.view.as_ref().filter(|_| !r.opaque)?.columns());
        let place = info.and_then(|r| r.columns.iter().position(|c| c.number == column));
        match (columns, place.and_then(|p| columns?.columns.get(p))) {
            (Some(view), Some(column)) => {
                let all = column.sources.iter().chain(&*column.when_used);
                all.chain(&*view.decides).copied().collect()
            }
            _ => BTreeSet::from([ALL]),
        }
    }

    /// Columns of which it tells something that a row is in this partition.
    pub(crate) fn told_by_part(&self, index: usize) -> BTreeSet<Source> {
        let mut told = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut queue = vec![index];
        while let Some(info) = queue.pop().and_then(|i| self.relation(i)) {
            for &parent in info.parents.iter().filter(|p| seen.insert(**p)) {
                told.extend(self.key_of(parent));
                queue.push(parent);
            }
        }
        told
    }

    /// Columns of which it tells something which partition a row is in.
    pub(crate) fn told_by_place(&self, index: usize) -> BTreeSet<Source> {
        let all = family(self, index).into_iter();
        all.flat_map(|i| self.key_of(i)).collect()
    }

    /// The keys of all relations that have partitions: what counts rows tells how many are in each.
    pub(crate) fn keys(&self) -> &[Source] {
        &self.keys
    }

    pub(crate) fn key_of(&self, index: usize) -> impl Iterator<Item = Source> + '_ {
        let info = self.relation(index);
        info.into_iter().flat_map(|info| {
            info.key.iter().map(|&column| Source {
                relation: info.oid,
                column,
            })
        })
    }

    /// Relations that its definition or its policies name.
    pub(crate) fn leads_to(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let info = self.relation(index);
        info.into_iter().flat_map(move |info| {
            let named = info.looked_at.iter();
            let named = named.filter_map(|s| self.index_of(s.relation));
            info.reads
                .iter()
                .copied()
                .chain(named.filter(move |&i| i != index))
        })
    }
}
