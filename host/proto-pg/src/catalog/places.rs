//! Where rows are, and who sees them: partitions and row security policies tell of the columns by whose
//! values they choose.

use std::collections::BTreeSet;

use super::build::{Depend, MAX_OTHER, PG_CLASS, rows};
use super::code::{PG_POLICY, owners};
use super::queries as q;
use super::{CatalogError, Rows, Snapshot, family};
use crate::analysis::resolve::Source;

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
        relation.key = match numbers.contains(&0) {
            // An expression, of whatever columns.
            true => relation.columns.iter().map(|c| c.number).collect(),
            false => numbers,
        };
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

impl Snapshot {
    /// Columns of which it tells something that a row is in this relation, and can be seen.
    pub(crate) fn told_by_rows(&self, index: usize) -> BTreeSet<Source> {
        let mut told = BTreeSet::new();
        if let Some(info) = self.relation(index) {
            told.extend(info.looked_at.iter().copied());
        }
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

    fn key_of(&self, index: usize) -> impl Iterator<Item = Source> + '_ {
        let info = self.relation(index);
        info.into_iter().flat_map(|info| {
            info.key.iter().map(|&column| Source {
                relation: info.oid,
                column,
            })
        })
    }
}
