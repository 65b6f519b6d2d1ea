//! The mask of one result: from the columns' origins and the maskers' plan to bytes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pipeline::Obligations;
use pipeline::mask::{MaskBatch, MaskPlan};

use super::Link;
use crate::analysis::{Field, StatementShape, Taint};
use crate::mask::{MaskError, RowMask, mask_columns};
use crate::statements::{CachedMask, Judged, Portal};

/// Values of a batch that travel to plugins at once.
const BATCH_BYTES: usize = 64 << 10;
/// Rows of a batch, however small their values.
const BATCH_ROWS: usize = 4_096;

/// A compiled mask and the plan it came from.
pub(crate) struct ActiveMask {
    mask: RowMask,
    plan: MaskPlan,
}

impl ActiveMask {
    pub fn is_pass(&self) -> bool {
        self.mask.is_pass()
    }
}

/// Asks the maskers about `fields` of the statement `shape` and compiles what they and policy say.
pub(super) async fn build(
    link: &Link,
    judged: &Judged,
    shape: Option<&StatementShape>,
    fields: &[Field],
    obligations: &Obligations,
) -> ActiveMask {
    let masked = &obligations.masked;
    let taints = match shape {
        _ if judged.is_doubtful() => vec![Taint::Tainted; fields.len()],
        Some(shape) => shape.taints(fields, &judged.snapshot, masked),
        // More results than statements: nothing is known about this one.
        None if masked.is_empty() => vec![Taint::Clean; fields.len()],
        None => vec![Taint::Tainted; fields.len()],
    };
    let columns = mask_columns(fields, &taints, &judged.snapshot, &obligations.revealed);
    let session = &link.session;
    let plan = session
        .ports()
        .hooks
        .mask_plan(session.info(), &columns)
        .await;
    ActiveMask {
        mask: RowMask::build(fields, &taints, &plan, &link.mask_keys),
        plan,
    }
}

/// The mask for a portal's rows, from the statement's cache where nothing changed.
pub(super) async fn for_portal(
    link: &Link,
    portal: &Portal,
    judged: &Arc<Judged>,
    fields: &Arc<[Field]>,
    obligations: &Obligations,
) -> Arc<ActiveMask> {
    let cached = portal.prepared.mask.lock().clone();
    if let Some(cached) = cached
        && cached.fields == *fields
        && cached.obligations == *obligations
        && Arc::ptr_eq(&cached.judged, judged)
        && !judged.is_doubtful()
    {
        return cached.mask;
    }
    let shape = judged.analysis.statements.first();
    let mask = Arc::new(build(link, judged, shape, fields, obligations).await);
    *portal.prepared.mask.lock() = Some(CachedMask {
        fields: fields.clone(),
        obligations: obligations.clone(),
        judged: judged.clone(),
        mask: mask.clone(),
    });
    mask
}

/// What the rows of a result are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rows,
    CopyText,
}

/// Rows on their way through a mask; those that plugins inspect wait for a batch to fill.
pub(super) struct Masking {
    pub mask: Arc<ActiveMask>,
    kind: Kind,
    rows: Vec<Bytes>,
    batch: MaskBatch,
}

impl Masking {
    pub fn new(mask: Arc<ActiveMask>, kind: Kind) -> Self {
        Self {
            mask,
            kind,
            rows: Vec::new(),
            batch: MaskBatch::default(),
        }
    }

    /// One body in; frames out now, or when the batch is flushed. True: the batch is full.
    pub fn row(&mut self, body: Bytes, out: &mut BytesMut) -> Result<bool, MaskError> {
        let mask = &self.mask.mask;
        if !mask.wants_batch() {
            match self.kind {
                Kind::Rows => mask.apply(&body, out)?,
                Kind::CopyText => mask.apply_copy_text(&body, out)?,
            }
            return Ok(false);
        }
        match self.kind {
            Kind::Rows => mask.collect(&body, &mut self.batch)?,
            Kind::CopyText => mask.collect_copy_text(&body, &mut self.batch)?,
        }
        self.rows.push(body);
        Ok(self.batch.data.len() >= BATCH_BYTES || self.rows.len() >= BATCH_ROWS)
    }

    pub fn is_waiting(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Sends the batch to the plugins and writes its rows.
    pub async fn flush(&mut self, link: &Link, out: &mut BytesMut) -> Result<(), MaskError> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let session = &link.session;
        let edits = session
            .ports()
            .hooks
            .mask_batch(session.info(), &self.mask.plan, batch)
            .await;
        let edits = match edits {
            Ok(edits) => Some(edits),
            Err(error) => {
                tracing::warn!(session = %session.info().id_text, %error, "values are redacted");
                None
            }
        };
        let mask = &self.mask.mask;
        match self.kind {
            Kind::Rows => mask.apply_batch(&rows, edits.as_ref(), out),
            Kind::CopyText => mask.apply_copy_text_batch(&rows, edits.as_ref(), out),
        }
    }
}
