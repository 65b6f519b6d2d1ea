//! Deliveries that never were.

use async_trait::async_trait;
use weir_client::{DeliveryInfo, DeliveryState};

use crate::ApiError;

/// Has never delivered anything.
pub(crate) struct OneDelivery;

#[async_trait]
impl crate::Deliveries for OneDelivery {
    async fn list(&self) -> Result<Vec<DeliveryInfo>, ApiError> {
        Ok(vec![DeliveryInfo {
            name: "siem".into(),
            kind: "webhook".into(),
            state: DeliveryState::Starting,
            first_log: None,
            lag_leaves: None,
            lag_seconds: None,
            delivered: 0,
            set_aside: 0,
            trusts_unclean_end: false,
            last_delivery: None,
            last_error: None,
            last_error_at: None,
        }])
    }
}
