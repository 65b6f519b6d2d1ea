//! Masking: plans that plugins make, and the native actions that carry them out.

mod keys;
mod plan;

pub use keys::{MIN_KEY, MaskKeyError, MaskKeys};
pub use plan::{Encoding, MaskAction, MaskBatch, MaskColumn, MaskEdits, MaskPlan};
