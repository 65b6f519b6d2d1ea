//! Masks the rows of one result: what taints and the maskers' plan say, applied to bytes.

mod row;

use pipeline::Column;
use pipeline::mask::{Encoding, MaskColumn};

use crate::analysis::{Field, Taint};
use crate::catalog::Snapshot;

pub use row::RowMask;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    #[error("a DataRow is malformed: {0}")]
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
    _snapshot: &Snapshot,
    _revealed: &[Column],
) -> Vec<MaskColumn> {
    fields
        .iter()
        .enumerate()
        .map(|(i, field)| MaskColumn {
            name: field.name.clone(),
            type_name: String::new(),
            type_oid: field.type_oid,
            origin: None,
            labels: Vec::new(),
            encoding: if field.format == 1 {
                Encoding::Binary
            } else {
                Encoding::Text
            },
            must_mask: !matches!(taints.get(i), Some(Taint::Clean)),
        })
        .collect()
}
