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
