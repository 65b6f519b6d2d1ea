//! Which labelled columns a statement computes with: they decide which rows there are, in which order,
//! and which of them are alike.
//!
//! By name, like everything else about the flow, and too many rather than too few.

use std::collections::{BTreeSet, HashSet};

use pipeline::Column;

use super::flow::{DefKind, Flow, Masked, NONE, Name};
use super::found::Found;
use super::taint::{Brings, Taints};

/// The definitions whose values are compared, and what they consist of.
pub(super) fn defs(flow: &Flow) -> HashSet<u32> {
    let mut inside = HashSet::new();
    // A definition stands behind the one that it is a part of.
    for (i, def) in flow.defs.iter().enumerate() {
        if def.compared || def.kind == DefKind::Compute || inside.contains(&def.parent) {
            inside.insert(i as u32);
        }
    }
    inside
}

/// Of `labelled`, what the statement computes with. `reached` are columns of relations that it names,
/// `labelled` also what code can read.
pub(super) fn computed<'l>(
    found: &Found,
    taints: &Taints<'_>,
    masked: &mut Masked<'_>,
    reached: &'l [Column],
    labelled: &'l [Column],
) -> Vec<&'l Column> {
    let flow = &found.flow;
    let nothing = flow.computes == NONE && flow.defs.iter().all(|d| !d.compared);
    let names = match () {
        () if found.opaque_condition => None,
        () if nothing => return Vec::new(),
        () if flow.opaque => names(&Taints::despite_code(flow, masked)),
        () => names(taints),
    };
    let Some(names) = names else {
        return labelled.iter().collect();
    };
    let mut columns = Vec::new();
    for name in names {
        let before = columns.len();
        columns.extend(reached.iter().filter(|c| *c.column == *name));
        if columns.len() == before {
            // A column of a view, which can be made of any.
            return labelled.iter().collect();
        }
    }
    columns
}

/// By their names; none when it could be anything.
fn names(taints: &Taints<'_>) -> Option<BTreeSet<Box<str>>> {
    if !taints.any {
        return Some(BTreeSet::new());
    }
    if taints.everything {
        return None;
    }
    let flow = taints.flow;
    let inside = defs(flow);
    let named = flow.defs.iter().filter(|d| !d.echo).map(|d| d.name);
    let given: HashSet<Name> = named.chain(flow.ranges.iter().map(|r| r.0)).collect();
    let mut columns = BTreeSet::new();
    for &(name, brings) in &taints.computing {
        let tainted = match brings {
            Brings::Nothing => false,
            Brings::Taint => true,
            // Nobody knows what code gives to the names of its results.
            Brings::Whatever(n) => taints.is_name(n) || (flow.opaque && given.contains(&n)),
        };
        if tainted {
            let column = flow.names.get(name as usize);
            columns.insert(column.filter(|_| !given.contains(&name))?.clone());
        }
    }
    let mut compared = inside
        .iter()
        .filter_map(|d| Some((d, flow.defs.get(*d as usize)?)));
    let brought = |def: &u32| flow.brought.contains(def);
    // Values of code, or that no name brings.
    let other = compared.any(|(def, d)| {
        brought(def)
            || (flow.opaque && d.compared && !d.echo)
            || (columns.is_empty() && taints.is_def(*def))
    });
    (!other).then_some(columns)
}
