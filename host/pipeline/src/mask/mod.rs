//! Masking: plans that plugins make, and the native actions that carry them out.

mod keys;
mod native;
mod plan;

pub use detect::Form;
pub use keys::{MIN_KEY, MaskKeyError, MaskKeys};
pub use native::{Masked, REDACTED, Step, apply_all};
pub use plan::{Encoding, MaskAction, MaskBatch, MaskColumn, MaskEdits, MaskPlan};
