//! Masks the rows of one result: what taints and the maskers' plan say, applied to bytes.
//!
//! Place in the flow: the wire half asks the statement's shape for taints, asks the maskers with
//! [`mask_columns`], compiles their plan into a [`RowMask`], and passes every row through it.

mod copy;
mod copying;
mod frame;
mod inside;
mod kind;
mod row;
pub(crate) mod stream;
#[cfg(test)]
mod tests;

use pipeline::Column;
use pipeline::mask::{Encoding, MaskColumn};

use crate::analysis::{Field, Taint};
use crate::catalog::Snapshot;

pub use frame::bodies;
pub use row::{RowMask, RunOf};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    #[error("a row is malformed: {0}")]
    Malformed(&'static str),
    #[error("a row has {got} values where its description has {expected}")]
    Columns { expected: usize, got: usize },
    #[error("a masked row would be larger than a message may be")]
    TooLarge,
}

/// What maskers are asked about a result. `revealed` are labelled columns that policy shows.
pub fn mask_columns(
    fields: &[Field],
    taints: &[Taint],
    snapshot: &Snapshot,
    revealed: &[Column],
) -> Vec<MaskColumn> {
    fields
        .iter()
        .enumerate()
        .map(|(i, field)| {
            let taint = taints.get(i).unwrap_or(&Taint::Tainted);
            let (origin, labels) = match taint {
                Taint::Exact(column) => (Some(dotted(column)), texts(column)),
                Taint::Clean => plain_origin(field, snapshot, revealed),
                Taint::Tainted => (None, Vec::new()),
            };
            MaskColumn {
                name: field.name.clone(),
                type_name: snapshot
                    .type_info(field.type_oid)
                    .map_or_else(|| format!("oid {}", field.type_oid), |t| t.name.to_string()),
                type_oid: field.type_oid,
                origin,
                labels,
                encoding: match field.format {
                    1 => Encoding::Binary,
                    _ => Encoding::Text,
                },
                must_mask: *taint != Taint::Clean,
            }
        })
        .collect()
}

fn plain_origin(
    field: &Field,
    snapshot: &Snapshot,
    revealed: &[Column],
) -> (Option<String>, Vec<String>) {
    let relation = snapshot
        .index_of(field.table_oid)
        .and_then(|i| snapshot.relation(i));
    let Some((relation, column)) = relation.and_then(|r| Some((r, r.column(field.attnum)?))) else {
        return (None, Vec::new());
    };
    let origin = format!("{}.{}.{}", relation.schema, relation.name, column.name);
    let labels = revealed
        .iter()
        .find(|c| {
            c.schema == relation.schema && c.table == relation.name && c.column == column.name
        })
        .map(texts)
        .unwrap_or_default();
    (Some(origin), labels)
}

fn dotted(column: &Column) -> String {
    format!("{}.{}.{}", column.schema, column.table, column.column)
}

fn texts(column: &Column) -> Vec<String> {
    column.labels.iter().map(|l| l.to_string()).collect()
}
