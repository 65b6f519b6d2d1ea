//! What a statement takes over from those that are inside of it.

use pipeline::Action;

use super::summary::Summary;

pub(super) fn merge(into: &mut Summary, inner: &Summary, planned_only: bool) {
    into.touches_catalog |= inner.touches_catalog;
    into.locks |= inner.locks;
    // Planning runs functions, too.
    into.only_reads &= inner.only_reads || (planned_only && !inner.foreign);
    into.foreign |= inner.foreign;
    into.plans_code |= inner.plans_code;
    into.parses_code |= inner.parses_code;
    into.shadowed |= inner.shadowed;
    into.tells |= inner.tells;
    into.defined.extend(&inner.defined);
    into.parsed &= inner.parsed;
    into.unknown_names |= inner.unknown_names;
    into.names_relations |= inner.names_relations;
    into.unbounded |= inner.unbounded && !planned_only;
    into.writes |= inner.writes && !planned_only;
    into.functions.extend(inner.functions.iter().cloned());
    into.labelled.extend(inner.labelled.iter().cloned());
    into.computed.extend(inner.computed.iter().cloned());
    into.unmaskable = into.unmaskable.or(inner.unmaskable);
    into.refuse = into.refuse.take().or_else(|| inner.refuse.clone());
    into.reads.extend(inner.reads.iter().cloned());
    into.runs.extend(inner.runs.iter().cloned());
    let written = inner.writes_to.iter().cloned();
    if planned_only {
        into.reads.extend(written);
    } else {
        into.writes_to.extend(written);
    }
    for access in &inner.accesses {
        let mut access = access.clone();
        if planned_only {
            access.action = planned(access.action);
        }
        if !into.accesses.contains(&access) {
            into.accesses.push(access);
        }
    }
}

/// What planning a statement needs: to know the relation.
pub(super) fn planned(action: Action) -> Action {
    match action {
        Action::PostgresInsert
        | Action::PostgresUpdate
        | Action::PostgresMerge
        | Action::PostgresDelete => Action::PostgresSelect,
        other => other,
    }
}
