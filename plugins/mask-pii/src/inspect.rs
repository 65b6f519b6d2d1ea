//! Batches: what the detectors find is replaced, the rest stays as it is.

use weir_plugin::{Batch, Edits, PluginError};

use crate::detect::{Detectors, Found, scan};

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    Json,
    /// Elements in text format: arrays, hstore, tsvector.
    List,
    /// Lengths are embedded in it: it cannot be edited, only taken away.
    Opaque,
}

/// What the plan hands to its batches.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    detectors: Detectors,
    /// By column.
    shapes: Vec<Option<Shape>>,
}

const VERSION: u8 = 1;

impl State {
    pub fn new(detectors: Detectors) -> Self {
        Self {
            detectors,
            shapes: Vec::new(),
        }
    }

    pub fn add(&mut self, column: usize, shape: Shape) {
        if self.shapes.len() <= column {
            self.shapes.resize(column + 1, None);
        }
        if let Some(slot) = self.shapes.get_mut(column) {
            *slot = Some(shape);
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let [low, high] = self.detectors.bits().to_le_bytes();
        let shapes = self.shapes.iter().map(|shape| match shape {
            None => 0,
            Some(Shape::Text) => 1,
            Some(Shape::Json) => 2,
            Some(Shape::List) => 3,
            Some(Shape::Opaque) => 4,
        });
        [VERSION, low, high].into_iter().chain(shapes).collect()
    }

    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [VERSION, low, high, shapes @ ..] = bytes else {
            return None;
        };
        let shape = |byte: &u8| {
            Some(match byte {
                0 => None,
                1 => Some(Shape::Text),
                2 => Some(Shape::Json),
                3 => Some(Shape::List),
                4 => Some(Shape::Opaque),
                _ => return None,
            })
        };
        Some(Self {
            detectors: Detectors::from_bits(u16::from_le_bytes([*low, *high]))?,
            shapes: shapes.iter().map(shape).collect::<Option<_>>()?,
        })
    }
}

pub fn batch(state: &State, batch: &Batch) -> Result<Edits, PluginError> {
    let wrong = |what: &str| PluginError::Internal(format!("the batch is not valid: {what}"));
    let mut edits = Edits {
        indexes: Vec::new(),
        ends: Vec::new(),
        data: Vec::new(),
        nulls: Vec::new(),
    };
    let mut found = Vec::new();
    let mut start = 0;
    for (i, (end, col)) in batch.ends.iter().zip(&batch.cols).enumerate() {
        let end = *end as usize;
        let value = batch.data.get(start..end).ok_or_else(|| wrong("an end"))?;
        start = end;
        let shape = state.shapes.get(usize::from(*col)).copied().flatten();
        let shape = shape.ok_or_else(|| wrong("a column"))?;
        found.clear();
        scan(value, state.detectors, &mut found);
        if found.is_empty() {
            continue;
        }
        let index = u32::try_from(i).map_err(|_| wrong("its size"))?;
        if shape == Shape::Opaque {
            edits.nulls.push(index);
            continue;
        }
        replace(value, shape, &found, &mut edits.data);
        edits.indexes.push(index);
        let end = u32::try_from(edits.data.len()).map_err(|_| wrong("its size"))?;
        edits.ends.push(end);
    }
    Ok(edits)
}

/// Copies `value` to `out` with every find replaced by the name of its detector.
fn replace(value: &[u8], shape: Shape, found: &[Found], out: &mut Vec<u8>) {
    let mut at = 0;
    let mut strings = Strings::default();
    for find in found {
        if find.start < at {
            // Overlaps what has been replaced; at most its end is still to come.
            at = at.max(find.end);
            continue;
        }
        let between = value.get(at..find.start).unwrap_or_default();
        out.extend_from_slice(between);
        strings.skip(value.get(..find.start).unwrap_or_default());
        // A number outside a string of JSON: a bare word would break the document.
        if shape == Shape::Json && !strings.inside {
            out.extend_from_slice(b"null");
        } else {
            out.push(b'[');
            out.extend_from_slice(find.what.as_bytes());
            out.push(b']');
        }
        at = find.end;
    }
    out.extend_from_slice(value.get(at..).unwrap_or_default());
}

/// Knows whether a position of a JSON text is inside a string.
#[derive(Default)]
struct Strings {
    at: usize,
    inside: bool,
    escaped: bool,
}

impl Strings {
    /// Goes on to the end of `text`, of which the part before has been seen.
    fn skip(&mut self, text: &[u8]) {
        for byte in text.get(self.at..).unwrap_or_default() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.inside => self.escaped = true,
                b'"' => self.inside = !self.inside,
                _ => {}
            }
        }
        self.at = self.at.max(text.len());
    }
}
