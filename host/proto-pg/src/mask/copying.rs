//! COPY … TO STDOUT through a mask: one row in each CopyData message, in any of the three formats.
//!
//! What stays as it is goes out byte for byte as it came. What cannot be taken apart is an error, and
//! nothing of it goes out.

use bytes::{BufMut, Bytes, BytesMut};
use pipeline::mask::{MaskBatch, MaskEdits, Masked};

use super::frame::{begin, bodies, finish};
use super::row::{Edits, RowMask, known};
use super::{MaskError, copy};
use crate::analysis::CopyStyle;

/// Begins a stream in binary format; flags and the length of an extension follow
/// (<https://www.postgresql.org/docs/current/sql-copy.html>, File Formats).
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Ends it: a row of -1 columns.
const TRAILER: &[u8] = &[0xff, 0xff];

impl RowMask {
    /// The body of one CopyData message in, one whole frame appended. Values that a plugin should have
    /// inspected are redacted.
    pub fn apply_copy(
        &self,
        style: &CopyStyle,
        body: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        self.copied(style, body, &mut Edits::Failed, out)
    }

    /// Do the detectors find nothing in it?
    pub(super) fn leaves_copied(&self, style: &CopyStyle, body: &[u8]) -> Result<bool, MaskError> {
        if *style == CopyStyle::Binary {
            return match binary(body)? {
                (_, TRAILER) => Ok(true),
                (_, row) => self.leaves_row(row),
            };
        }
        for (column, raw) in self.columns().iter().zip(self.values(style, body)?) {
            if !column.passes()
                && let Some(value) = decode(style, raw)?
                && !column.leaves(&value)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds the inspected values of one row.
    pub fn collect_copy(
        &self,
        style: &CopyStyle,
        body: &[u8],
        batch: &mut MaskBatch,
    ) -> Result<(), MaskError> {
        if *style == CopyStyle::Binary {
            return match binary(body)? {
                (_, TRAILER) => Ok(()),
                (_, row) => self.collect(row, batch),
            };
        }
        for (i, (column, raw)) in self
            .columns()
            .iter()
            .zip(self.values(style, body)?)
            .enumerate()
        {
            if let Some(value) = decode(style, raw)? {
                column.collect(i, &value, batch)?;
            }
        }
        Ok(())
    }

    /// See [`RowMask::apply_batch`].
    pub fn apply_copy_batch(
        &self,
        style: &CopyStyle,
        runs: &[Bytes],
        edits: Option<&MaskEdits>,
        out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        let mut edits = known(edits);
        for run in runs {
            for body in bodies(run) {
                self.copied(style, body?, &mut edits, out)?;
            }
        }
        Ok(())
    }

    fn copied(
        &self,
        style: &CopyStyle,
        body: &[u8],
        edits: &mut Edits<'_>,
        out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        let start = out.len();
        let frame = begin(b'd', body.len(), out);
        let result = match style {
            CopyStyle::Binary => self.tuple(body, edits, out),
            _ => self.line(style, body, edits, out),
        };
        let result = result.and_then(|()| finish(out, frame));
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// A row is written as in DataRow.
    fn tuple(
        &self,
        body: &[u8],
        edits: &mut Edits<'_>,
        out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        let (before, row) = binary(body)?;
        out.put_slice(before);
        if row == TRAILER {
            out.put_slice(row);
            return Ok(());
        }
        self.write_values(row, edits, out)
    }

    fn line(
        &self,
        style: &CopyStyle,
        body: &[u8],
        edits: &mut Edits<'_>,
        out: &mut BytesMut,
    ) -> Result<(), MaskError> {
        let values = self.values(style, body)?;
        let mut masked = BytesMut::new();
        for (i, (column, raw)) in self.columns().iter().zip(values).enumerate() {
            if i > 0 {
                out.put_u8(delimiter(style));
            }
            let value = if column.passes() {
                None
            } else {
                decode(style, raw)?
            };
            let Some(value) = value else {
                // Passes, or is NULL.
                out.put_slice(raw);
                continue;
            };
            masked.clear();
            match column.mask(&value, edits, &mut masked) {
                Masked::Same => out.put_slice(raw),
                Masked::Null => out.put_slice(null(style)),
                Masked::Changed => encode(style, &masked, out),
            }
        }
        out.put_u8(b'\n');
        Ok(())
    }

    /// The values of a line, as they are written.
    fn values<'r>(&self, style: &CopyStyle, body: &'r [u8]) -> Result<Vec<&'r [u8]>, MaskError> {
        let line = body
            .strip_suffix(b"\n")
            .ok_or(MaskError::Malformed("a line of COPY without its end"))?;
        let expected = self.columns().len();
        let values = match expected {
            // A table without columns sends empty lines.
            0 if line.is_empty() => Vec::new(),
            _ => split(style, line)?,
        };
        if values.len() != expected {
            let got = values.len();
            return Err(MaskError::Columns { expected, got });
        }
        Ok(values)
    }
}

/// What begins the stream, and the row.
fn binary(body: &[u8]) -> Result<(&[u8], &[u8]), MaskError> {
    let cut = MaskError::Malformed("a COPY begins in the middle");
    let Some(rest) = body.strip_prefix(SIGNATURE) else {
        return Ok((&[], body));
    };
    // Flags.
    let Some((length, rest)) = rest.get(4..).and_then(|r| r.split_first_chunk::<4>()) else {
        return Err(cut);
    };
    let row = usize::try_from(u32::from_be_bytes(*length)).ok();
    let row = row.and_then(|length| rest.get(length..)).ok_or(cut)?;
    Ok((body.get(..body.len() - row.len()).unwrap_or_default(), row))
}

fn delimiter(style: &CopyStyle) -> u8 {
    match style {
        CopyStyle::Text { delimiter, .. } | CopyStyle::Csv { delimiter, .. } => *delimiter,
        CopyStyle::Binary => 0,
    }
}

fn null(style: &CopyStyle) -> &[u8] {
    match style {
        CopyStyle::Csv { null, .. } => null.as_bytes(),
        CopyStyle::Text { .. } | CopyStyle::Binary => b"\\N",
    }
}

fn split<'r>(style: &CopyStyle, line: &'r [u8]) -> Result<Vec<&'r [u8]>, MaskError> {
    let delimiter = delimiter(style);
    let mut values = Vec::new();
    let (mut from, mut i) = (0, 0);
    // In a quoted value everything stands for itself, but for what ends it.
    let mut quoted = false;
    while let Some(&c) = line.get(i) {
        let next = line.get(i + 1).copied();
        let step = match style {
            CopyStyle::Csv { quote, escape, .. } => {
                if quoted && c == *escape && next.is_some_and(|n| n == *quote || n == *escape) {
                    i += 2;
                    continue;
                }
                if c == *quote {
                    // Only at a value's beginning, and at its end.
                    if !quoted && i != from {
                        return Err(MaskError::Malformed("a quote within a value"));
                    }
                    if quoted && next.is_some_and(|n| n != delimiter) {
                        return Err(MaskError::Malformed("a value goes on behind its quotes"));
                    }
                    quoted = !quoted;
                }
                !quoted && c == delimiter
            }
            _ if c == b'\\' => {
                i += 2;
                continue;
            }
            _ => c == delimiter,
        };
        if c == b'\n' && !quoted {
            return Err(MaskError::Malformed("more than a line"));
        }
        if step {
            values.push(line.get(from..i).unwrap_or_default());
            from = i + 1;
        }
        i += 1;
    }
    if quoted {
        return Err(MaskError::Malformed("a quoted value does not end"));
    }
    values.push(line.get(from..).unwrap_or_default());
    Ok(values)
}

/// None is NULL.
fn decode<'r>(
    style: &CopyStyle,
    raw: &'r [u8],
) -> Result<Option<std::borrow::Cow<'r, [u8]>>, MaskError> {
    let CopyStyle::Csv {
        quote,
        escape,
        null,
        ..
    } = style
    else {
        return Ok(copy::decode(raw));
    };
    let Some(inner) = raw.strip_prefix(&[*quote]) else {
        return Ok((raw != null.as_bytes()).then_some(raw.into()));
    };
    let inner = inner
        .strip_suffix(&[*quote])
        .ok_or(MaskError::Malformed("a quoted value does not end"))?;
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(c) = bytes.next() {
        match bytes.peek() {
            Some(&next) if c == *escape && (next == *quote || next == *escape) => {
                bytes.next();
                value.push(next);
            }
            _ => value.push(c),
        }
    }
    Ok(Some(value.into()))
}

fn encode(style: &CopyStyle, value: &[u8], out: &mut BytesMut) {
    let CopyStyle::Csv { quote, escape, .. } = style else {
        return copy::encode(value, delimiter(style), out);
    };
    out.put_u8(*quote);
    for &c in value {
        if c == *quote || c == *escape {
            out.put_u8(*escape);
        }
        out.put_u8(c);
    }
    out.put_u8(*quote);
}
