//! What a masker is asked and what it answers.

use std::any::Any;
use std::sync::Arc;

use crate::risk::PluginRef;

/// How values of a column travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    Text,
    Binary,
    Json,
}

/// One column of a result, as a masker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MaskColumn {
    pub name: String,
    pub type_name: String,
    pub type_oid: u32,
    /// `schema.table.column` for a plain reference; none for an expression.
    pub origin: Option<String>,
    pub labels: Vec<String>,
    pub encoding: Encoding,
    /// Policy demands that the values are not seen: the answer can only choose how.
    pub must_mask: bool,
}

/// What is done to the values of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskAction {
    Pass,
    /// Replaced by this text (NULL where the type has no such value).
    Redact(String),
    Null,
    /// Keyed HMAC; the argument names a key that only the host holds.
    Hash(String),
    Pseudonym(String),
    KeepFirst(u8),
    KeepLast(u8),
    /// Host-native detectors by name; what they find is redacted, the rest stays.
    Detect(Vec<String>),
    /// Values travel to the plugin in batches.
    Inspect,
}

impl MaskAction {
    /// Does the action hide the value whatever it is?
    pub fn hides(&self) -> bool {
        !matches!(self, Self::Pass | Self::Detect(_) | Self::Inspect)
    }
}

/// The joint plan of all maskers for one result schema.
#[derive(Clone)]
pub struct MaskPlan {
    /// One list per column; every action applies, in order. Empty means pass.
    pub actions: Vec<Vec<MaskAction>>,
    pub plugins: Vec<PluginRef>,
    /// What the plugin host needs to send batches to the right plugins; opaque to others.
    pub token: Option<Arc<dyn Any + Send + Sync>>,
}

impl MaskPlan {
    /// Nothing is masked by plugins.
    pub fn pass(columns: usize) -> Self {
        Self {
            actions: vec![Vec::new(); columns],
            plugins: Vec::new(),
            token: None,
        }
    }

    /// What a failed masker amounts to.
    pub fn redact_all(columns: usize) -> Self {
        let redact = vec![MaskAction::Redact("[redacted]".into())];
        Self {
            actions: vec![redact; columns],
            plugins: Vec::new(),
            token: None,
        }
    }

    /// Must values of column `index` be sent to a plugin?
    pub fn inspects(&self, index: usize) -> bool {
        self.actions
            .get(index)
            .is_some_and(|a| a.contains(&MaskAction::Inspect))
    }
}

/// Values of the inspected columns, row-major, NULLs left out: value `i` is
/// `data[ends[i-1]..ends[i]]` of column `cols[i]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskBatch {
    pub data: Vec<u8>,
    pub ends: Vec<u32>,
    pub cols: Vec<u16>,
}

/// Changed values only, ascending: value `indexes[i]` becomes `data[ends[i-1]..ends[i]]`;
/// `nulls` become NULL. The plugin host has checked that every index and end is in range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskEdits {
    pub indexes: Vec<u32>,
    pub ends: Vec<u32>,
    pub data: Vec<u8>,
    pub nulls: Vec<u32>,
}
