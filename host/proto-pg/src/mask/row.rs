//! A masking plan compiled for the rows of one portal.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use pipeline::mask::{
    MaskAction, MaskBatch, MaskEdits, MaskKeys, MaskPlan, Masked, REDACTED, Step,
};

use super::MaskError;
use super::frame::{NULL, Row, begin, bodies, finish, patch};
use super::inside::Inside;
use super::kind::Kind;
use crate::analysis::{CopyStyle, Field, Taint};
use crate::catalog::Snapshot;

/// What is done to one column.
#[derive(Debug)]
pub(super) struct Column {
    kind: Kind,
    /// Of values in binary format that are neither text nor JSON.
    inside: Option<Inside>,
    /// NULL whatever the plan says.
    tainted: bool,
    before: Vec<Step>,
    inspect: bool,
    after: Vec<Step>,
}

impl Column {
    pub(super) fn passes(&self) -> bool {
        !self.tainted && !self.inspect && self.before.is_empty() && self.after.is_empty()
    }

    /// What has no shape is NULL for a plugin: such a value is not among those that it was sent.
    fn only_inspects(&self) -> bool {
        let plain = self.before.is_empty() && self.after.is_empty() && self.inside.is_none();
        self.inspect && !self.tainted && plain
    }

    fn only_detects(&self) -> bool {
        let mut steps = self.before.iter().chain(&self.after);
        !self.inspect && !self.tainted && !steps.any(Step::hides)
    }

    /// Does a column that only detects leave this value as it is?
    pub(super) fn leaves(&self, value: &[u8]) -> bool {
        let leave = |steps: &[Step]| match &self.inside {
            Some(inside) => steps.is_empty() || !hits(inside, steps, value),
            None => self.kind.leaves(steps, value),
        };
        leave(&self.before) && leave(&self.after)
    }

    /// It hides nothing but what the host finds in it, and stars may stand in it. Plugins judge whole
    /// values: what they would say of a part is not what they say of all of it.
    pub(super) fn streams(&self) -> bool {
        self.only_detects() && self.kind.takes_edits()
    }

    /// Do the detectors find something in a part of it?
    pub(super) fn detects(&self, part: &[u8]) -> bool {
        let mut steps = self.before.iter().chain(&self.after);
        !steps.all(|step| step.leaves(part))
    }
}

/// Compiled per portal: formats come from Bind.
#[derive(Debug)]
pub struct RowMask {
    columns: Vec<Column>,
    pass: bool,
    batch: bool,
    /// Nothing but plugins changes a value: without an edit a row stays as it is.
    only_inspects: bool,
    /// Nothing but the host's detectors does: a row in which they find nothing stays as it is.
    only_detects: bool,
}

/// What the frames of a run are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOf {
    Rows,
    Copy(CopyStyle),
}

/// What is done with the values of inspected columns.
pub(super) enum Edits<'a> {
    /// They are not known yet, or never will be: every value is redacted.
    Failed,
    Known {
        edits: &'a MaskEdits,
        /// Number of the next inspected value.
        value: u32,
        /// Places in `edits.indexes` and `edits.nulls`.
        changed: usize,
        nulled: usize,
    },
}

enum Edit<'a> {
    Keep,
    Redact,
    Null,
    Replace(&'a [u8]),
}

impl Edits<'_> {
    /// The next value stays as it is, which counts as asking for it.
    fn keeps(&mut self) -> bool {
        let Self::Known {
            edits,
            value,
            changed,
            nulled,
        } = self
        else {
            return false;
        };
        let touched =
            edits.nulls.get(*nulled) == Some(value) || edits.indexes.get(*changed) == Some(value);
        if !touched {
            *value += 1;
        }
        !touched
    }

    fn next(&mut self) -> Edit<'_> {
        let Self::Known {
            edits,
            value,
            changed,
            nulled,
        } = self
        else {
            return Edit::Redact;
        };
        let this = *value;
        *value += 1;
        if edits.nulls.get(*nulled) == Some(&this) {
            *nulled += 1;
            return Edit::Null;
        }
        if edits.indexes.get(*changed) != Some(&this) {
            return Edit::Keep;
        }
        let at = *changed;
        *changed += 1;
        let end = edits.ends.get(at).copied().unwrap_or(u32::MAX) as usize;
        let start = match at.checked_sub(1) {
            None => 0,
            Some(before) => edits.ends.get(before).copied().unwrap_or(u32::MAX) as usize,
        };
        // Checked by the plugin host; if it is wrong all the same, nothing is shown.
        match edits.data.get(start..end) {
            Some(data) => Edit::Replace(data),
            None => Edit::Redact,
        }
    }
}

impl RowMask {
    /// Tainted is NULL always; Exact is the plugin's hiding actions, which keep little, or redaction,
    /// and no plugin inspects it; anything else is the plugin's. A plan that does not fit the fields redacts everything.
    pub fn build(fields: &[Field], taints: &[Taint], plan: &MaskPlan, keys: &MaskKeys) -> Self {
        let fits = plan.actions.len() == fields.len() && taints.len() == fields.len();
        let failed = [MaskAction::Redact(REDACTED.into())];
        let columns: Vec<Column> = fields
            .iter()
            .enumerate()
            .map(|(i, field)| {
                let actions: &[MaskAction] = match plan.actions.get(i) {
                    Some(actions) if fits => actions,
                    _ => &failed,
                };
                column(
                    field,
                    taints.get(i).unwrap_or(&Taint::Tainted),
                    actions,
                    keys,
                )
            })
            .collect();
        Self {
            pass: columns.iter().all(Column::passes),
            batch: columns.iter().any(|c| c.inspect && !c.tainted),
            only_inspects: columns.iter().all(|c| c.passes() || c.only_inspects()),
            only_detects: columns.iter().all(Column::only_detects),
            columns,
        }
    }

    /// Values in binary format are taken apart by these types.
    pub fn knowing(mut self, types: &Arc<Snapshot>) -> Self {
        let inside = self.columns.iter_mut().filter_map(|c| c.inside.as_mut());
        inside.for_each(|inside| inside.knowing(types));
        self
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Rows may be forwarded without being looked at.
    pub fn is_pass(&self) -> bool {
        self.pass
    }

    /// Some values must travel to a plugin: `collect`, then `apply_batch`.
    pub fn wants_batch(&self) -> bool {
        self.batch
    }

    /// `body` of one DataRow in, one whole DataRow frame appended. Values that a plugin should have
    /// inspected are redacted.
    pub fn apply(&self, body: &[u8], out: &mut BytesMut) -> Result<(), MaskError> {
        self.row(body, &mut Edits::Failed, out)
    }

    /// A run of whole frames in, masked frames appended; rows in which nothing is found are copied
    /// together. Gives how many rows there were.
    pub fn apply_run(
        &self,
        run: &[u8],
        of: &RunOf,
        out: &mut BytesMut,
    ) -> Result<usize, MaskError> {
        let (mut rows, mut at, mut kept) = (0, 0, 0);
        for body in bodies(run) {
            let body = body?;
            let end = at + crate::wire::HEADER + body.len();
            let stays = self.only_detects
                && match of {
                    RunOf::Rows => self.leaves_row(body)?,
                    RunOf::Copy(style) => self.leaves_copied(style, body)?,
                };
            if !stays {
                out.extend_from_slice(run.get(kept..at).unwrap_or_default());
                match of {
                    RunOf::Rows => self.apply(body, out)?,
                    RunOf::Copy(style) => self.apply_copy(style, body, out)?,
                }
                kept = end;
            }
            at = end;
            rows += 1;
        }
        out.extend_from_slice(run.get(kept..).unwrap_or_default());
        Ok(rows)
    }

    pub(super) fn leaves_row(&self, body: &[u8]) -> Result<bool, MaskError> {
        let mut row = Row::open(body, self.columns.len())?;
        for column in &self.columns {
            if let Some(value) = row.value()?
                && !column.passes()
                && !column.leaves(value)
            {
                return Ok(false);
            }
        }
        row.end()?;
        Ok(true)
    }

    /// Adds the inspected values of one row.
    pub fn collect(&self, body: &[u8], batch: &mut MaskBatch) -> Result<(), MaskError> {
        let mut row = Row::open(body, self.columns.len())?;
        for (i, column) in self.columns.iter().enumerate() {
            if let Some(value) = row.value()? {
                column.collect(i, value, batch)?;
            }
        }
        row.end()
    }

    /// Each run holds whole frames that were collected, in order; no edits means that the batch
    /// failed and every inspected value is redacted.
    pub fn apply_batch(
        &self,
        runs: &[Bytes],
        edits: Option<&MaskEdits>,
        out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        if let (true, Some(edits)) = (self.only_inspects, edits)
            && edits.indexes.is_empty()
            && edits.nulls.is_empty()
        {
            runs.iter().for_each(|run| out.extend_from_slice(run));
            return Ok(());
        }
        let mut edits = known(edits);
        for run in runs {
            for body in bodies(run) {
                self.row(body?, &mut edits, out)?;
            }
        }
        Ok(())
    }

    fn row(&self, body: &[u8], edits: &mut Edits<'_>, out: &mut BytesMut) -> Result<(), MaskError> {
        let start = out.len();
        let result = self.write_row(body, edits, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// What stays is copied in as few pieces as there can be, with its lengths.
    fn write_row(
        &self,
        body: &[u8],
        edits: &mut Edits<'_>,
        out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        let frame = begin(b'D', body.len(), out);
        self.write_values(body, edits, out)?;
        finish(out, frame)
    }

    pub(super) fn write_values(
        &self,
        body: &[u8],
        edits: &mut Edits<'_>,
        out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        let mut row = Row::open(body, self.columns.len())?;
        // Everything of the body up to here is written.
        let mut from = 0;
        for column in &self.columns {
            let at = body.len() - row.rest.len();
            let Some(value) = row.value()? else {
                continue;
            };
            if column.passes() || (column.only_inspects() && edits.keeps()) {
                continue;
            }
            out.put_slice(body.get(from..at).unwrap_or_default());
            let length_at = out.len();
            out.put_i32(0);
            let masked = column.mask(value, edits, out);
            from = body.len() - row.rest.len();
            match masked {
                Masked::Same => {
                    out.truncate(length_at);
                    from = at;
                }
                Masked::Null => {
                    out.truncate(length_at);
                    out.put_i32(NULL);
                }
                Masked::Changed => {
                    let length = out.len() - length_at - 4;
                    patch(out, length_at, length)?;
                }
            }
        }
        row.end()?;
        out.put_slice(body.get(from..).unwrap_or_default());
        Ok(())
    }
}

impl Column {
    /// Appends the new value to `out` when there is one.
    pub(super) fn mask(&self, value: &[u8], edits: &mut Edits<'_>, out: &mut BytesMut) -> Masked {
        if self.tainted {
            return Masked::Null;
        }
        if !self.inspect {
            return self.first(value, out);
        }
        let mut sent = BytesMut::new();
        let first = self.first(value, &mut sent);
        if first == Masked::Null {
            return Masked::Null;
        }
        let input: &[u8] = if first == Masked::Changed {
            &sent
        } else {
            value
        };
        let mut edited = BytesMut::new();
        let second = match edits.next() {
            Edit::Keep => Masked::Same,
            Edit::Null => Masked::Null,
            Edit::Redact => self.kind.redacted(&mut edited),
            Edit::Replace(data) if self.kind.takes_edits() => self.kind.edited(data, &mut edited),
            Edit::Replace(_) => Masked::Null,
        };
        let input: &[u8] = match second {
            Masked::Null => return Masked::Null,
            Masked::Changed => &edited,
            Masked::Same => input,
        };
        match self.steps(&self.after, input, out) {
            Masked::Same if first == Masked::Same && second == Masked::Same => Masked::Same,
            Masked::Same => {
                out.put_slice(input);
                Masked::Changed
            }
            other => other,
        }
    }

    /// What is done before a plugin looks at a value.
    fn first(&self, value: &[u8], out: &mut BytesMut) -> Masked {
        match &self.inside {
            // Nobody could tell a plugin what is in it.
            Some(inside) if self.inspect && inside.all(value).is_none() => Masked::Null,
            _ => self.steps(&self.before, value, out),
        }
    }

    fn steps(&self, steps: &[Step], value: &[u8], out: &mut BytesMut) -> Masked {
        match &self.inside {
            Some(inside) if !steps.is_empty() => match hits(inside, steps, value) {
                true => Masked::Null,
                false => Masked::Same,
            },
            _ => self.kind.mask(steps, value, out),
        }
    }

    pub(super) fn collect(
        &self,
        index: usize,
        value: &[u8],
        batch: &mut MaskBatch,
    ) -> Result<(), MaskError> {
        if !self.inspect || self.tainted {
            return Ok(());
        }
        let mut sent = BytesMut::new();
        let texts;
        let data: &[u8] = match self.first(value, &mut sent) {
            // `mask` asks for no edit of a value that is NULL by then.
            Masked::Null => return Ok(()),
            Masked::Changed => &sent,
            Masked::Same => match &self.inside {
                // What is in it as text, since a plugin cannot take it apart.
                Some(inside) => {
                    texts = inside.all(value).unwrap_or_default();
                    &texts
                }
                None => value,
            },
        };
        let column = u16::try_from(index).map_err(|_| MaskError::TooLarge)?;
        let end = batch.data.len() + data.len();
        batch
            .ends
            .push(u32::try_from(end).map_err(|_| MaskError::TooLarge)?);
        batch.data.extend_from_slice(data);
        batch.cols.push(column);
        Ok(())
    }
}

/// Does a step hide the value, or find something in it?
fn hits(inside: &Inside, steps: &[Step], value: &[u8]) -> bool {
    steps.iter().any(Step::hides)
        || inside.any(value, |text| steps.iter().any(|step| !step.leaves(text)))
}

fn column(field: &Field, taint: &Taint, actions: &[MaskAction], keys: &MaskKeys) -> Column {
    let binary = field.format == 1;
    let kind = Kind::of(field.type_oid, binary);
    let inside = (binary && kind == Kind::Other).then(|| Inside::of(field.type_oid));
    let compile = |actions: &[MaskAction]| -> Vec<Step> {
        actions
            .iter()
            .filter_map(|a| Step::compile(a, keys))
            .collect()
    };
    if matches!(taint, Taint::Exact(_)) {
        return labelled(kind, inside, compile(actions));
    }
    let mut parts = actions.splitn(2, |a| *a == MaskAction::Inspect);
    Column {
        kind,
        inside,
        tainted: *taint == Taint::Tainted,
        before: compile(parts.next().unwrap_or_default()),
        inspect: actions.contains(&MaskAction::Inspect),
        after: compile(parts.next().unwrap_or_default()),
    }
}

/// A column that policy hides: its values go to no plugin, which could write them elsewhere, and
/// what a masker wants to keep of them is little.
fn labelled(kind: Kind, inside: Option<Inside>, steps: Vec<Step>) -> Column {
    let mut before: Vec<Step> = steps.into_iter().map(Step::hiding).collect();
    if !before.iter().any(Step::hides) {
        before = vec![Step::Redact(REDACTED.into())];
    }
    Column {
        kind,
        inside,
        tainted: false,
        before,
        inspect: false,
        after: Vec::new(),
    }
}

pub(super) fn known(edits: Option<&MaskEdits>) -> Edits<'_> {
    match edits {
        None => Edits::Failed,
        Some(edits) => Edits::Known {
            edits,
            value: 0,
            changed: 0,
            nulled: 0,
        },
    }
}
