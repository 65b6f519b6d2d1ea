//! What the server hears of failing plugins.

use std::fmt;

use pipeline::{PluginRef, SessionId};

use crate::fault::Fault;

/// Where a plugin was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    Classify,
    Route,
    MaskPlan,
    MaskBatch,
    Admission,
}

impl Hook {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Route => "route",
            Self::MaskPlan => "make-plan",
            Self::MaskBatch => "mask-batch",
            Self::Admission => "admission",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One failed call. Its outcome has already been made fail-closed.
#[derive(Debug, Clone)]
pub struct PluginFailure {
    /// Version and digest are empty for a required plugin that is not loaded.
    pub plugin: PluginRef,
    pub hook: Hook,
    pub fault: Fault,
    pub session: SessionId,
}

/// Told of every failure, in the middle of a call: must not block.
pub trait Events: Send + Sync {
    fn plugin_failed(&self, failure: PluginFailure);
}

/// Nobody listens; failures are still logged.
#[derive(Debug, Default)]
pub struct NoEvents;

impl Events for NoEvents {
    fn plugin_failed(&self, _: PluginFailure) {}
}
