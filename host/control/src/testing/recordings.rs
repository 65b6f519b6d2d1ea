//! Recordings in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pipeline::Principal;
use uuid::Uuid;
use weir_client::SessionErasure;

use crate::{ApiError, Recordings};

/// Every session is there until it is erased.
#[derive(Default)]
pub(crate) struct FakeRecordings(Mutex<BTreeMap<Uuid, String>>);

#[async_trait]
impl Recordings for FakeRecordings {
    async fn erase(
        &self,
        session: Uuid,
        who: Arc<Principal>,
        _: String,
    ) -> Result<SessionErasure, ApiError> {
        let by = who.actor.subject.to_string();
        if let Some(first) = self.0.lock().insert(session, by.clone()) {
            return Err(ApiError::conflict(format!("erased already, by {first}")));
        }
        Ok(SessionErasure {
            session: session.to_string(),
            log: Uuid::nil().to_string(),
            leaf: 7,
            at: "2026-11-27T00:00:00.000000Z".into(),
            who: Some(by),
            remains: Vec::new(),
        })
    }
}
