//! A masker for personal data, cards and secrets.
//!
//! Place in the flow: a component behind `weir:plugin/mask`. Once per result it plans by label, name
//! and type; columns of text that nothing covers are searched, value by value, by the host's own
//! detectors. With `inspect = on` their values come here instead, and the same detectors run in the
//! sandbox: several times as much work per row, for an operator who wants to see it separated.
//!
//! Architecture invariants:
//! - A column that must be masked gets an action that hides it, whatever the configuration says.
//! - Nothing reads a value but the detectors, and nothing keeps one.
//! - An edit leaves a value valid for its type: JSON stays JSON, an array stays an array, and where
//!   that cannot be kept, the value becomes NULL.

mod config;
mod inspect;
mod plan;
#[cfg(test)]
mod tests;

use config::Settings;
use weir_plugin::{Batch, Column, Edits, Info, Masker, Plan, Plugin, PluginError, Session};

struct MaskPii;

impl Plugin for MaskPii {
    fn info() -> Info {
        Info {
            name: "mask-pii".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            labels: ["pci", "pii", "pii.email", "secret"]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    fn check_config() -> Result<(), PluginError> {
        Settings::read().map(drop)
    }
}

impl Masker for MaskPii {
    fn make_plan(_: Session, columns: Vec<Column>) -> Result<Plan, PluginError> {
        Ok(plan::plan(&columns, &Settings::read()?))
    }

    fn mask_batch(state: Vec<u8>, batch: Batch) -> Result<Edits, PluginError> {
        let state = inspect::State::read(&state)
            .ok_or_else(|| PluginError::Internal("the plan's state did not come back".into()))?;
        inspect::batch(&state, &batch)
    }
}

weir_plugin::export!(MaskPii: masker);
