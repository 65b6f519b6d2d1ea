//! A batch on its way through the maskers that asked for it: each sees what the one before it left.

use std::ops::Range;

use pipeline::mask::{MaskBatch, MaskEdits};

use crate::bindings::mask::exports::weir::plugin::mask as wit_mask;
use crate::check;
use crate::fault::Fault;
use crate::limits::{BATCH_BYTES, EDIT_BYTES};

/// The values as they are now.
pub(crate) struct Values {
    data: Vec<u8>,
    cols: Vec<u16>,
    now: Vec<Value>,
}

enum Value {
    Same(Range<usize>),
    New(Vec<u8>),
    Null,
}

/// The values that one masker sees, and where they come from.
pub(crate) struct Selected {
    pub(crate) batch: wit_mask::Batch,
    positions: Vec<usize>,
}

impl Values {
    /// Checks the batch, which comes from a protocol crate.
    pub(crate) fn new(batch: MaskBatch) -> Result<Self, Fault> {
        let bad = |what: &str| Err(Fault::Host(format!("the batch is not valid: {what}")));
        if batch.data.len() > BATCH_BYTES {
            return bad("more than the limit for one batch");
        }
        if batch.ends.len() != batch.cols.len() {
            return bad("ends and columns differ");
        }
        let mut now = Vec::with_capacity(batch.ends.len());
        let mut start = 0;
        for end in &batch.ends {
            let end = *end as usize;
            if end < start || end > batch.data.len() {
                return bad("an end is out of range");
            }
            now.push(Value::Same(start..end));
            start = end;
        }
        Ok(Self {
            data: batch.data,
            cols: batch.cols,
            now,
        })
    }

    /// Does every value belong to one of `columns`?
    pub(crate) fn all_in(&self, columns: &[bool]) -> bool {
        self.cols.iter().all(|c| is_in(columns, *c))
    }

    /// The values of `columns` that are not NULL by now.
    pub(crate) fn select(&self, columns: &[bool]) -> Result<Selected, Fault> {
        let mut batch = wit_mask::Batch {
            data: Vec::with_capacity(self.data.len()),
            ends: Vec::with_capacity(self.now.len()),
            cols: Vec::with_capacity(self.now.len()),
        };
        let mut positions = Vec::with_capacity(self.now.len());
        for (i, (value, col)) in self.now.iter().zip(&self.cols).enumerate() {
            if !is_in(columns, *col) {
                continue;
            }
            let bytes = match value {
                Value::Same(range) => self.data.get(range.clone()).unwrap_or_default(),
                Value::New(bytes) => bytes,
                Value::Null => continue,
            };
            batch.data.extend_from_slice(bytes);
            batch.ends.push(end(batch.data.len())?);
            batch.cols.push(*col);
            positions.push(i);
        }
        Ok(Selected { batch, positions })
    }

    /// Applies a masker's edits to the values that it saw.
    pub(crate) fn apply(
        &mut self,
        positions: &[usize],
        edits: &wit_mask::Edits,
    ) -> Result<(), Fault> {
        check::edits(edits, positions.len())?;
        let mut start = 0;
        for (index, end) in edits.indexes.iter().zip(&edits.ends) {
            let end = *end as usize;
            let bytes = edits.data.get(start..end).unwrap_or_default().to_vec();
            start = end;
            self.put(positions, *index, Value::New(bytes));
        }
        for index in &edits.nulls {
            self.put(positions, *index, Value::Null);
        }
        Ok(())
    }

    /// `index` is in range: the edits were checked.
    fn put(&mut self, positions: &[usize], index: u32, value: Value) {
        let slot = positions
            .get(index as usize)
            .and_then(|position| self.now.get_mut(*position));
        if let Some(slot) = slot {
            *slot = value;
        }
    }

    /// What changed, all maskers together.
    pub(crate) fn finish(self) -> Result<MaskEdits, Fault> {
        let mut out = MaskEdits::default();
        for (i, value) in self.now.into_iter().enumerate() {
            match value {
                Value::Same(_) => {}
                Value::New(bytes) => {
                    out.data.extend_from_slice(&bytes);
                    out.indexes.push(end(i)?);
                    out.ends.push(end(out.data.len())?);
                }
                Value::Null => out.nulls.push(end(i)?),
            }
        }
        if out.data.len() > EDIT_BYTES {
            return Err(Fault::Answer("the joint edits are too large".into()));
        }
        Ok(out)
    }
}

impl Selected {
    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    pub(crate) fn positions(&self) -> &[usize] {
        &self.positions
    }
}

fn is_in(columns: &[bool], column: u16) -> bool {
    columns.get(usize::from(column)).copied().unwrap_or(false)
}

fn end(n: usize) -> Result<u32, Fault> {
    u32::try_from(n).map_err(|_| Fault::Host("the batch is too large".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(values: &[(&str, u16)]) -> MaskBatch {
        let mut out = MaskBatch::default();
        for (value, col) in values {
            out.data.extend_from_slice(value.as_bytes());
            out.ends.push(out.data.len() as u32);
            out.cols.push(*col);
        }
        out
    }

    fn edits(changes: &[(u32, &str)], nulls: &[u32]) -> wit_mask::Edits {
        let mut out = wit_mask::Edits {
            indexes: vec![],
            ends: vec![],
            data: vec![],
            nulls: nulls.to_vec(),
        };
        for (index, value) in changes {
            out.data.extend_from_slice(value.as_bytes());
            out.indexes.push(*index);
            out.ends.push(out.data.len() as u32);
        }
        out
    }

    #[test]
    fn chains_maskers() {
        let input = batch(&[("a", 0), ("bb", 2), ("", 0), ("dddd", 2)]);
        let mut values = Values::new(input).unwrap();
        let first = values.select(&[false, false, true]).unwrap();
        assert_eq!(
            (first.batch.data.as_slice(), first.batch.ends.as_slice()),
            (b"bbdddd".as_slice(), [2, 6].as_slice())
        );
        values
            .apply(first.positions(), &edits(&[(1, "D")], &[0]))
            .unwrap();
        let second = values.select(&[true, false, true]).unwrap();
        assert_eq!(
            second.batch.data, b"aD",
            "NULLs are left out, edits are seen"
        );
        assert_eq!(second.batch.cols, [0, 0, 2]);
        values
            .apply(second.positions(), &edits(&[(1, "x"), (2, "")], &[]))
            .unwrap();
        let out = values.finish().unwrap();
        assert_eq!(out.indexes, [2, 3]);
        assert_eq!(
            (out.data.as_slice(), out.ends.as_slice()),
            (b"x".as_slice(), [1, 1].as_slice())
        );
        assert_eq!(out.nulls, [1]);
    }

    #[test]
    fn refuses_bad_batches() {
        let make = |data: &[u8], ends: &[u32], cols: &[u16]| {
            Values::new(MaskBatch {
                data: data.to_vec(),
                ends: ends.to_vec(),
                cols: cols.to_vec(),
            })
            .is_ok()
        };
        assert!(make(b"", &[], &[]));
        assert!(make(b"ab", &[1, 2], &[0, 1]));
        assert!(!make(b"ab", &[1, 3], &[0, 1]));
        assert!(!make(b"ab", &[2, 1], &[0, 1]));
        assert!(!make(b"ab", &[2], &[0, 1]));
        assert!(!make(&vec![0; BATCH_BYTES + 1], &[1], &[0]));
    }

    #[test]
    fn refuses_bad_edits() {
        let two = || Values::new(batch(&[("a", 0), ("b", 0)])).unwrap();
        let raw = |indexes: &[u32], ends: &[u32], data: &[u8], nulls: &[u32]| wit_mask::Edits {
            indexes: indexes.to_vec(),
            ends: ends.to_vec(),
            data: data.to_vec(),
            nulls: nulls.to_vec(),
        };
        for (edits, good) in [
            (raw(&[], &[], b"", &[]), true),
            (raw(&[0, 1], &[0, 1], b"x", &[]), true),
            (raw(&[0], &[1], b"x", &[1]), true),
            (raw(&[1], &[1], b"x", &[0]), true),
            (raw(&[2], &[1], b"x", &[]), false),
            (raw(&[u32::MAX], &[1], b"x", &[]), false),
            (raw(&[], &[], b"", &[2]), false),
            (raw(&[1, 0], &[1, 2], b"xy", &[]), false),
            (raw(&[0, 0], &[1, 2], b"xy", &[]), false),
            (raw(&[], &[], b"", &[1, 0]), false),
            (raw(&[], &[], b"", &[1, 1]), false),
            (raw(&[1], &[1], b"x", &[0, 1]), false),
            (raw(&[0], &[2], b"x", &[]), false),
            (raw(&[0, 1], &[1, 0], b"x", &[]), false),
            (raw(&[0], &[1], b"xy", &[]), false),
            (raw(&[], &[], b"x", &[]), false),
            (raw(&[0], &[], b"", &[]), false),
        ] {
            assert_eq!(two().apply(&[0, 1], &edits).is_ok(), good, "{edits:?}");
        }
    }
}
