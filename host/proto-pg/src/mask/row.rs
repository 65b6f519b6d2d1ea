//! A masking plan compiled for the rows of one portal.

use bytes::{Bytes, BytesMut};
use pipeline::mask::{MaskBatch, MaskEdits, MaskKeys, MaskPlan};

use super::MaskError;
use crate::analysis::{Field, Taint};

/// Compiled per portal: formats come from Bind.
#[derive(Debug)]
pub struct RowMask {
    pass: bool,
}

impl RowMask {
    /// Tainted is NULL always; Exact is the plugin's hiding action or redaction; anything else is the
    /// plugin's.
    pub fn build(_fields: &[Field], taints: &[Taint], _plan: &MaskPlan, _keys: &MaskKeys) -> Self {
        Self {
            pass: taints.iter().all(|t| *t == Taint::Clean),
        }
    }

    /// Rows may be forwarded without being looked at.
    pub fn is_pass(&self) -> bool {
        self.pass
    }

    /// Some values must travel to a plugin: `collect`, then `apply_batch`.
    pub fn wants_batch(&self) -> bool {
        false
    }

    /// `body` of one DataRow in, one whole DataRow frame appended.
    pub fn apply(&self, _body: &[u8], _out: &mut BytesMut) -> Result<(), MaskError> {
        Err(MaskError::Malformed("masking is not built yet"))
    }

    /// Adds the inspected values of one row.
    pub fn collect(&self, _body: &[u8], _batch: &mut MaskBatch) -> Result<(), MaskError> {
        Err(MaskError::Malformed("masking is not built yet"))
    }

    /// `rows` are the bodies that were collected, in order; no edits means that the batch failed and
    /// every inspected value is redacted.
    pub fn apply_batch(
        &self,
        _rows: &[Bytes],
        _edits: Option<&MaskEdits>,
        _out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        Err(MaskError::Malformed("masking is not built yet"))
    }

    /// One CopyData body of COPY … TO STDOUT in text format, with its newline: one whole CopyData
    /// frame appended.
    pub fn apply_copy_text(&self, _body: &[u8], _out: &mut BytesMut) -> Result<(), MaskError> {
        Err(MaskError::Malformed("masking is not built yet"))
    }

    pub fn collect_copy_text(&self, _body: &[u8], _batch: &mut MaskBatch) -> Result<(), MaskError> {
        Err(MaskError::Malformed("masking is not built yet"))
    }

    pub fn apply_copy_text_batch(
        &self,
        _rows: &[Bytes],
        _edits: Option<&MaskEdits>,
        _out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        Err(MaskError::Malformed("masking is not built yet"))
    }
}
