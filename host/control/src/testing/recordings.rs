//! Recordings in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pipeline::Principal;
use uuid::Uuid;
use weir_client::SessionErasure;

use crate::{ApiError, Recordings};

/// With this in its reason, an erasure begins and does not end.
pub(crate) const STUCK: &str = "the store is away";
/// With this, the record does not tell whose session it is.
pub(crate) const STRANGE: &str = "nobody knows";

/// Every session is there until it is erased.
#[derive(Default)]
pub(crate) struct FakeRecordings(Mutex<BTreeMap<Uuid, String>>);

#[async_trait]
impl Recordings for FakeRecordings {
    async fn erase(
        &self,
        session: Uuid,
        who: Arc<Principal>,
        reason: String,
        is_somebody_elses: bool,
    ) -> Result<SessionErasure, ApiError> {
        let by = who.actor.subject.to_string();
        if let Some(first) = self.0.lock().insert(session, by.clone()) {
            return Err(ApiError::conflict(format!("erased already, by {first}")));
        }
        if reason.contains(STRANGE) && !is_somebody_elses {
            self.0.lock().remove(&session);
            return Err(ApiError::forbidden("whose it is cannot be known"));
        }
        if reason.contains(STUCK) {
            return Err(ApiError::unavailable("it has begun, and goes on").goes_on());
        }
        Ok(SessionErasure {
            session: session.to_string(),
            log: Uuid::nil().to_string(),
            leaf: 7,
            at: "2026-11-27T00:00:00.000000Z".into(),
            who: Some(by),
            remains: Vec::new(),
            notes: Vec::new(),
        })
    }
}
