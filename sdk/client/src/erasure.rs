//! Erasing what was recorded of a session.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseRequest {
    /// It has ended.
    pub session: String,
    /// Why, for the record. It is kept: name no person here whose data is erased.
    pub reason: String,
}

/// What was recorded of a session is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionErasure {
    pub session: String,
    /// The transparency log, and its leaf that says so.
    pub log: String,
    pub leaf: u64,
    /// The time of the leaf.
    pub at: String,
    /// The pseudonym, as the leaf has it, of who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// What is not erased with it, and somebody has to look after: what the store keeps of the key, such as
    /// an older version of its object, and what another Weir has of the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remains: Vec<String>,
    /// What else is to be known of it, such as that its key was missing before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
