//! Batches: what the detectors find is replaced, the rest stays as it is.

use detect::{Detectors, Form, finds, redact};
use weir_plugin::{Batch, Edits, PluginError};

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
    let mut start = 0;
    for (i, (end, col)) in batch.ends.iter().zip(&batch.cols).enumerate() {
        let end = *end as usize;
        let value = batch.data.get(start..end).ok_or_else(|| wrong("an end"))?;
        start = end;
        let shape = state.shapes.get(usize::from(*col)).copied().flatten();
        let shape = shape.ok_or_else(|| wrong("a column"))?;
        let index = u32::try_from(i).map_err(|_| wrong("its size"))?;
        let form = match shape {
            Shape::Opaque => {
                if finds(state.detectors, value) {
                    edits.nulls.push(index);
                }
                continue;
            }
            Shape::Json => Form::Json,
            Shape::Text | Shape::List => Form::Text,
        };
        let put = |part: &[u8]| edits.data.extend_from_slice(part);
        if !redact(state.detectors, value, form, put) {
            continue;
        }
        edits.indexes.push(index);
        let end = u32::try_from(edits.data.len()).map_err(|_| wrong("its size"))?;
        edits.ends.push(end);
    }
    Ok(edits)
}
