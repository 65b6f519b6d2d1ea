//! The mask of one result: from the columns' origins and the maskers' plan to bytes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pipeline::Obligations;
use pipeline::mask::{MaskBatch, MaskPlan};

use super::Link;
use super::judge::RELOAD_FOR_UNKNOWN;
use crate::analysis::{Field, StatementShape, Taint};
pub(super) use crate::mask::RunOf as Kind;
use crate::mask::{MaskError, RowMask, bodies, mask_columns};
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

    /// May a row be passed on while it is read?
    pub fn streams(&self) -> bool {
        self.mask.streams()
    }

    pub fn width(&self) -> usize {
        self.mask.width()
    }

    /// Are values of this column looked at?
    pub fn looks(&self, column: usize) -> bool {
        self.mask.looks(column)
    }

    /// Do the detectors object to this part of a value?
    pub fn objects(&self, column: usize, part: &[u8]) -> bool {
        self.mask.objects(column, part)
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
    if shape.is_some_and(|shape| shape.is_strange(fields)) {
        link.catalog.doubt(RELOAD_FOR_UNKNOWN);
    }
    let columns = mask_columns(fields, &taints, &judged.snapshot, &obligations.revealed);
    let session = &link.session;
    let plan = session
        .ports()
        .hooks
        .mask_plan(session.info(), &columns)
        .await;
    ActiveMask {
        mask: RowMask::build(fields, &taints, &plan, &link.mask_keys).knowing(&judged.snapshot),
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
    let build = Box::pin(build(link, judged, shape, fields, obligations));
    let mask = Arc::new(build.await);
    *portal.prepared.mask.lock() = Some(CachedMask {
        fields: fields.clone(),
        obligations: obligations.clone(),
        judged: judged.clone(),
        mask: mask.clone(),
    });
    mask
}

/// Rows on their way through a mask; those that plugins inspect wait for a batch to fill.
pub(super) struct Masking {
    pub mask: Arc<ActiveMask>,
    kind: Kind,
    /// A line of names comes first.
    names: bool,
    /// Whole frames that wait, in order, and how many they are.
    runs: Vec<Bytes>,
    rows: usize,
    batch: MaskBatch,
}

impl Masking {
    pub fn new(mask: Arc<ActiveMask>, kind: Kind) -> Self {
        Self {
            mask,
            names: matches!(&kind, Kind::Copy(style) if style.has_header()),
            kind,
            runs: Vec::new(),
            rows: 0,
            batch: MaskBatch::default(),
        }
    }

    /// A run of whole frames in; masked frames out now, or when the batch is flushed. Gives how many
    /// there were.
    pub fn run(&mut self, mut run: Bytes, out: &mut BytesMut) -> Result<usize, MaskError> {
        let mut named = 0;
        if self.names && !run.is_empty() {
            self.names = false;
            // Nothing waits yet.
            out.extend_from_slice(&run.split_to(first(&run)?));
            named = 1;
        }
        let mask = &self.mask.mask;
        if !mask.wants_batch() {
            return Ok(named + mask.apply_run(&run, &self.kind, out)?);
        }
        let mut rows = 0;
        for body in bodies(&run) {
            let body = body?;
            rows += 1;
            match &self.kind {
                Kind::Rows => mask.collect(body, &mut self.batch)?,
                Kind::Copy(style) => mask.collect_copy(style, body, &mut self.batch)?,
            }
        }
        if rows > 0 {
            self.rows += rows;
            self.runs.push(run);
        }
        Ok(named + rows)
    }

    pub fn is_waiting(&self) -> bool {
        !self.runs.is_empty()
    }

    pub fn is_full(&self) -> bool {
        self.batch.data.len() >= BATCH_BYTES || self.rows >= BATCH_ROWS
    }

    /// Sends the batch to the plugins and writes its rows.
    pub async fn flush(&mut self, link: &Link, out: &mut BytesMut) -> Result<(), MaskError> {
        let runs = std::mem::take(&mut self.runs);
        if runs.is_empty() {
            return Ok(());
        }
        self.rows = 0;
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
        match &self.kind {
            Kind::Rows => mask.apply_batch(&runs, edits.as_ref(), out),
            Kind::Copy(style) => mask.apply_copy_batch(style, &runs, edits.as_ref(), out),
        }
    }
}

/// The length of the first frame.
fn first(run: &[u8]) -> Result<usize, MaskError> {
    match crate::wire::header(run) {
        Ok(Some(header)) if header.len <= run.len() => Ok(header.len),
        _ => Err(MaskError::Malformed("a frame is cut off")),
    }
}
