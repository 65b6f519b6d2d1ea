//! Deliveries of the record to other systems.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is not known yet what there is to deliver.
    Starting,
    Delivering,
    /// After a failure; it is tried again.
    Waiting,
}

/// One receiver of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryInfo {
    pub name: String,
    pub kind: String,
    /// Of syslog: what it was sent counts as taken also where it ends the connection without saying so within TLS
    /// (`trust_unclean_end`), which anybody on the wire can do in its place.
    pub trusts_unclean_end: bool,
    pub state: DeliveryState,
    /// The transparency log that it began with: it was never sent what earlier ones have; null: not known.
    pub first_log: Option<String>,
    /// Leaves of the transparency logs under a signed checkpoint that the receiver has not taken; what was
    /// recorded in the last second or so is not among them. Null: not known yet.
    pub lag_leaves: Option<u64>,
    /// How old the first of them is, as far as it was read.
    pub lag_seconds: Option<u64>,
    /// Events that it has taken since Weir started.
    pub delivered: u64,
    /// Events that it refused while it took others, or that are too long for it; they are in a file beside its
    /// cursor.
    pub set_aside: u64,
    pub last_delivery: Option<Timestamp>,
    pub last_error: Option<String>,
    pub last_error_at: Option<Timestamp>,
}
