//! Masking: plans that plugins make, and the native actions that carry them out.

mod plan;

pub use plan::{Encoding, MaskAction, MaskBatch, MaskColumn, MaskEdits, MaskPlan};
