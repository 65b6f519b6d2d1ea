//! What is looked up when all of a statement's names are known: fields that are calls, operators and casts
//! that users made.

use pg_raw_parse::Node;
use pg_raw_parse::list::NodeList;

use super::functions::{Nature, nature};
use super::walk::Walk;
use crate::catalog::{FIRST_USER_OID, OperatorInfo, Path};

/// Operators that PostgreSQL has for text: two literals of unknown type never mean another's.
const OF_TEXT: &[&str] = &[
    "=", "<>", "!=", "<", ">", "<=", ">=", "||", "~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*",
];

/// The schema, where one is given, and the name of a function or an operator.
pub(super) fn qualified(names: &NodeList) -> (Option<&str>, &str) {
    let text = |i: usize| names.get(i).and_then(Node::as_str);
    let name = names.len().checked_sub(1).and_then(text);
    let schema = names.len().checked_sub(2).and_then(text);
    (schema, name.unwrap_or_default())
}

impl Walk<'_, '_> {
    /// `row.name` calls a function of that name with the row as its argument when the row has no such
    /// column.
    pub(super) fn field_calls(&mut self) {
        for name in std::mem::take(&mut self.found.fields) {
            let snapshot = self.snapshot;
            let functions = snapshot.find_functions(None, &name, self.path);
            let calls = functions
                .iter()
                .any(|f| f.takes_row && (!f.pure || nature(&name, f.volatile) != Nature::Plain));
            if calls {
                self.function(None, &name);
            }
            if snapshot.conversion(&name).is_some() {
                self.conversion(&name);
            }
        }
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
                    self.found.opaque = true;
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
                self.found.opaque = true;
                self.function(Some(schema), name);
            }
        }
    }

    /// A constant, or a parameter, becomes what stands beside it: where that is read from text by code,
    /// the code runs. That of a constant runs before the rest of the statement is understood.
    pub(super) fn literal_calls(&mut self) {
        let snapshot = self.snapshot;
        if !(self.found.literals || self.found.parameters) {
            return;
        }
        // Their arguments and results can be of any type.
        let foreign = self.found.calls.values().any(|call| !call.own);
        let mut meant = foreign && !snapshot.read_types().is_empty();
        for (&oid, functions) in snapshot.read_types() {
            if self.has_read(oid) {
                meant = true;
                for (schema, name) in functions {
                    self.function(Some(schema), name);
                }
            }
        }
        self.found.opaque |= meant;
        self.found.parses_code |= meant && self.found.literals;
    }

    /// Can the statement have a value of this type that a constant is compared or put together with?
    fn has_read(&self, oid: u32) -> bool {
        let snapshot = self.snapshot;
        let Some(info) = snapshot.type_info(oid) else {
            return true;
        };
        let names = &self.found.type_names;
        let element = snapshot.type_info(info.element);
        let of_arrays = &self.found.array_names;
        if names.contains(&*info.name) || element.is_some_and(|e| of_arrays.contains(&*e.name)) {
            return true;
        }
        // An array of what is there one by one.
        let part = if self.found.arrays { info.element } else { 0 };
        let rows = element.filter(|_| part != 0).map_or(0, |e| e.relation);
        let mut relations = self.found.relations.iter();
        relations.any(|&relation| {
            let whole = relation == info.relation || relation == rows;
            let index = snapshot.index_of(relation);
            let Some(known) = index.and_then(|i| snapshot.relation(i)) else {
                return true;
            };
            let mut columns = known.columns.iter();
            (whole && self.has_whole_rows())
                || columns.any(|c| c.type_oid == oid || (part != 0 && c.type_oid == part))
        })
    }

    /// Does some relation stand in the statement as a value?
    fn has_whole_rows(&self) -> bool {
        let special = ["excluded", "old", "new"];
        let mut columns = self.column_names.iter();
        columns.any(|name| self.relation_names.contains(name) || special.contains(name))
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
        let relations = self.found.relations.iter();
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
}
