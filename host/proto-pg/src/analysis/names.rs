//! What is looked up when all of a statement's names are known: fields that are calls, operators that
//! users made, columns that nothing has.

use std::collections::{HashMap, HashSet};

use super::flow::{Name, Range, UNNAMED};
use super::functions::{Nature, nature};
use super::walk::Walk;
use crate::catalog::{FIRST_USER_OID, OperatorInfo, Path, Snapshot};

/// Columns that every table has.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
/// Operators that PostgreSQL has for text: two literals of unknown type never mean another's.
const OF_TEXT: &[&str] = &[
    "=", "<>", "!=", "<", ">", "<=", ">=", "||", "~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*",
];

impl Walk<'_, '_> {
    /// `row.name` calls a function of that name with the row as its argument when the row has no such
    /// column.
    pub(super) fn field_calls(&mut self) {
        let fields = std::mem::take(&mut self.found.fields);
        let ranges = by_name(&self.found.flow.ranges);
        for &(qualifier, id) in &fields {
            let Some(name) = self.found.flow.names.get(id as usize).cloned() else {
                continue;
            };
            let snapshot = self.snapshot;
            let functions = snapshot.find_functions(None, &name, self.path);
            let calls = functions
                .iter()
                .any(|f| f.takes_row && (!f.pure || nature(&name, f.volatile) != Nature::Plain));
            let casts = snapshot.conversion(&name).is_some();
            if (!calls && !casts) || self.is_column(ranges.get(&qualifier), &name) {
                continue;
            }
            if calls {
                self.function(None, &name);
            }
            if casts {
                self.conversion(&name);
            }
        }
        self.found.fields = fields;
    }

    /// Is it a column of whatever its qualifier means?
    fn is_column(&self, ranges: Option<&Vec<Range>>, name: &str) -> bool {
        ranges.is_some_and(|ranges| {
            ranges.iter().all(|range| match range {
                Range::Relation(oid) => has_column(self.snapshot, *oid, name),
                Range::Derived | Range::Excluded(_) => false,
            })
        })
    }

    pub(super) fn operator_calls(&mut self) {
        let operators = std::mem::take(&mut self.found.operators);
        let snapshot = self.snapshot;
        for (schema, name) in &operators {
            for operator in snapshot.foreign_operators(name) {
                let visible = match (schema.as_deref(), self.path) {
                    (Some(schema), _) => *operator.schema == *schema,
                    (None, Path::Known(schemas)) => schemas.contains(&operator.schema),
                    (None, Path::Unknown) => true,
                };
                if visible && self.can_mean(name, operator) {
                    let (schema, name) = &operator.function;
                    self.found.flow.opaque = true;
                    self.function(Some(schema), name);
                }
            }
        }
        self.found.operators = operators;
    }

    /// A cast that nobody writes is meant where a value of its types is; one between PostgreSQL's own
    /// types can be anywhere.
    pub(super) fn cast_calls(&mut self) {
        let snapshot = self.snapshot;
        for cast in snapshot.implicit_casts() {
            let types = [cast.source, cast.target];
            let mut own = types
                .into_iter()
                .filter(|t| *t >= FIRST_USER_OID)
                .peekable();
            let meant = own.peek().is_none()
                || self.found.parameters
                || self.found.calls.values().any(|call| !call.own)
                || own.any(|oid| self.has_value_of(oid, false));
            if meant {
                let (schema, name) = &cast.function;
                self.found.flow.opaque = true;
                self.function(Some(schema), name);
            }
        }
    }

    /// An operator is meant only where a value of one of its types is; a literal can become anything.
    fn can_mean(&self, name: &str, operator: &OperatorInfo) -> bool {
        let types = [operator.left, operator.right];
        let own: Vec<u32> = types.into_iter().filter(|t| *t >= FIRST_USER_OID).collect();
        own.is_empty()
            || !OF_TEXT.contains(&name)
            || self.found.parameters
            || self.found.calls.values().any(|call| !call.own)
            || own.iter().any(|&oid| self.has_value_of(oid, true))
    }

    /// `cast`: what becomes such a value without being written counts, too.
    fn has_value_of(&self, oid: u32, cast: bool) -> bool {
        let snapshot = self.snapshot;
        let Some(info) = snapshot.type_info(oid) else {
            return true;
        };
        if (cast && snapshot.is_cast_to(oid)) || self.found.type_names.contains(&*info.name) {
            return true;
        }
        let relations = self.found.flow.relations.iter();
        relations
            .filter_map(|&oid| snapshot.index_of(oid))
            .any(|index| {
                let Some(relation) = snapshot.relation(index) else {
                    return true;
                };
                relation.oid == info.relation
                    || relation
                        .columns
                        .iter()
                        .any(|c| snapshot.can_hold(c.type_oid, oid))
            })
    }

    /// Columns that nothing in reach has: they are newer than the snapshot, or a mistake.
    pub(super) fn unknown_columns(&mut self) {
        let flow = &self.found.flow;
        if flow.blind || flow.opaque {
            return;
        }
        let snapshot = self.snapshot;
        let relations = flow.relations.iter();
        let known = relations.filter_map(|&oid| snapshot.relation(snapshot.index_of(oid)?));
        let columns: HashSet<&str> = known
            .flat_map(|r| &r.columns)
            .map(|c| &*c.name)
            .chain(SYSTEM_COLUMNS.iter().copied())
            .chain(UNNAMED.iter().copied())
            .collect();
        let names = flow.defs.iter().filter(|d| !d.echo).map(|d| d.name);
        let mut given: HashSet<Name> = names.collect();
        given.extend(&flow.made_up);
        let ranges: HashSet<Name> = flow.ranges.iter().map(|(name, _)| *name).collect();
        let tables = by_name(&flow.ranges);
        let derived = flow
            .ranges
            .iter()
            .filter(|(_, r)| !matches!(r, Range::Relation(_)));
        let derived: HashSet<Name> = derived.map(|(name, _)| *name).collect();
        let text = |name: Name| {
            flow.names
                .get(name as usize)
                .map(|n| &**n)
                .unwrap_or_default()
        };
        let somewhere = |name: Name| {
            self.found.any_column || given.contains(&name) || columns.contains(text(name))
        };
        let bare = self.found.bare.iter().copied();
        let mut unknown: Vec<(Option<u32>, Name)> = bare
            .filter(|name| !somewhere(*name) && !ranges.contains(name))
            .map(|name| (None, name))
            .collect();
        for &(qualifier, name) in &self.found.fields {
            if !ranges.contains(&qualifier) || snapshot.takes_row(text(name)) {
                continue;
            }
            if derived.contains(&qualifier) {
                if !somewhere(name) {
                    unknown.push((None, name));
                }
                continue;
            }
            for &range in tables.get(&qualifier).into_iter().flatten() {
                if let Range::Relation(oid) = range
                    && !has_column(snapshot, oid, text(name))
                {
                    unknown.push((Some(oid), name));
                }
            }
        }
        if !unknown.is_empty() {
            self.found.unknown_names = true;
            self.found.flow.unknown = unknown.iter().map(|(_, name)| *name).collect();
            self.found.new_columns.extend(unknown);
        }
    }
}

fn by_name(ranges: &[(Name, Range)]) -> HashMap<Name, Vec<Range>> {
    let mut named: HashMap<Name, Vec<Range>> = HashMap::new();
    for &(name, range) in ranges {
        named.entry(name).or_default().push(range);
    }
    named
}

fn has_column(snapshot: &Snapshot, oid: u32, name: &str) -> bool {
    let relation = snapshot.index_of(oid).and_then(|i| snapshot.relation(i));
    SYSTEM_COLUMNS.contains(&name) || relation.is_some_and(|r| r.column_named(name).is_some())
}
