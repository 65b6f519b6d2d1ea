//! Relations that a statement reads by a definition: views, and tables with rules.
//!
//! What the server says about the origin of a result's columns ends at the view. So when somebody else
//! replaces it, nothing in the result tells; [`crate::relay`] asks whether the definitions that the
//! analysis went by are still there.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Analysis;
use super::found::{Found, Place};
use crate::catalog::{FIRST_USER_OID, Snapshot, is_system_schema};

/// The definitions that one text goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Defined {
    /// OIDs of relations with rules, in reach by views of views as well.
    pub relations: BTreeSet<u32>,
    /// Names that the text gives them: another relation can come to stand under one.
    pub names: BTreeSet<Arc<str>>,
}

impl Defined {
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
    }

    pub fn extend(&mut self, other: &Self) {
        self.relations.extend(&other.relations);
        self.names.extend(other.names.iter().cloned());
    }

    /// PostgreSQL's own are taken as what they are. `behind` gives a relation and what its definition
    /// reads.
    pub fn of(
        found: &Found,
        snapshot: &Snapshot,
        behind: impl Fn(usize) -> BTreeSet<usize>,
    ) -> Self {
        let mut defined = Self::default();
        for (_, place) in &found.tables {
            let Place::Known(index) = place else {
                continue;
            };
            let reached = behind(*index).into_iter();
            let infos = reached.filter_map(|i| snapshot.relation(i));
            let ruled = infos
                .filter(|r| r.oid >= FIRST_USER_OID && !is_system_schema(&r.schema))
                .map(|r| r.oid)
                .filter(|&oid| !snapshot.rules(oid).is_empty());
            let ruled: Vec<u32> = ruled.collect();
            if !ruled.is_empty()
                && let Some(info) = snapshot.relation(*index)
            {
                defined.names.insert(info.name.clone());
                defined.relations.extend(ruled);
            }
        }
        defined
    }
}

impl Analysis {
    /// The definitions that it goes by; none when there are none.
    pub(crate) fn defined(&self) -> Option<Defined> {
        let mut all = Defined::default();
        for summary in &self.summaries {
            all.extend(&summary.defined);
        }
        (!all.is_empty()).then_some(all)
    }
}
