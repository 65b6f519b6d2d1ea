//! Erasing sessions: the API asks the recorder, and the recorder asks whatever else knows sessions.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use control::{ApiError, Control, Recordings};
use pipeline::Principal;
use recorder::{Erase, EraseError, Erasure, Forget, Recorder, Store};
use uuid::Uuid;
use weir_client::SessionErasure;

/// The recorder, as the API sees it.
pub(crate) struct Erasing(pub(crate) Arc<Recorder>);

#[async_trait]
impl Recordings for Erasing {
    async fn erase(
        &self,
        session: Uuid,
        who: Arc<Principal>,
        reason: String,
    ) -> Result<SessionErasure, ApiError> {
        let ask = Erase {
            session,
            who: Some(who),
            reason,
        };
        self.0.erase(ask).await.map(told).map_err(refused)
    }
}

fn told(erasure: Erasure) -> SessionErasure {
    SessionErasure {
        session: erasure.session.to_string(),
        log: erasure.log.to_string(),
        leaf: erasure.leaf,
        at: erasure.time,
        who: erasure.who,
        remains: erasure.remains,
    }
}

fn refused(error: EraseError) -> ApiError {
    let text = error.to_string();
    match error {
        EraseError::Unknown(_) => ApiError::not_found(text),
        EraseError::Already(erasure) => match erasure.who {
            Some(who) => ApiError::conflict(format!("{text}, asked for by {who}")),
            None => ApiError::conflict(text),
        },
        EraseError::Running(_)
        | EraseError::NotStored(_)
        | EraseError::NoEnd(_)
        | EraseError::NotEncrypted(_)
        | EraseError::Key { .. }
        | EraseError::Locked { .. }
        | EraseError::PutAside { .. }
        | EraseError::Busy(_) => ApiError::conflict(text),
        EraseError::GoesOn { .. } => ApiError::unavailable(text).goes_on(),
        EraseError::TooMany
        | EraseError::Store(_)
        | EraseError::Read(_)
        | EraseError::Spool(_)
        | EraseError::Journal(_) => ApiError::unavailable(text),
    }
}

/// What else knows sessions. It is there before the control plane is: until then, nothing is forgotten, and
/// the recorder asks again.
#[derive(Default)]
pub(crate) struct Forgetting(OnceLock<Known>);

/// Where sessions are known.
pub(crate) struct Known {
    pub(crate) control: Control,
    /// Reads recordings, and remembers keys.
    pub(crate) store: Store,
    /// The index of an earlier time, if none is kept now.
    pub(crate) old_index: Option<PathBuf>,
}

impl Forgetting {
    pub(crate) fn attach(&self, known: Known) {
        // Once, at the start.
        self.0.set(known).ok();
    }
}

#[async_trait]
impl Forget for Forgetting {
    async fn forget(&self, session: Uuid) -> Result<(), String> {
        let Some(known) = self.0.get() else {
            return Err("Weir has not started yet".into());
        };
        if let Some(index) = known.old_index.as_ref().filter(|path| path.exists()) {
            return Err(format!(
                "{} is left from when the record was indexed, and may have its statements: remove it, with \
                 the files beside it",
                index.display()
            ));
        }
        known.store.forget(session);
        let forgotten = known.control.forget_session(session).await;
        forgotten.map_err(|error| format!("the state or the index: {error}"))
    }
}
