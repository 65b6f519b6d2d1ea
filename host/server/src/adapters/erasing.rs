//! Erasing sessions: the API asks the recorder, and the recorder asks whatever else knows sessions.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use control::{ApiError, Control, Recordings};
use pipeline::Principal;
use recorder::{Erase, EraseError, Erasure, Forget, Recorder, Store};
use uuid::Uuid;
use weir_client::SessionErasure;

/// When somebody may ask again, in seconds, where too many ask at once.
const RETRY_AFTER: u32 = 10;

/// The recorder, as the API sees it.
pub(crate) struct Erasing(pub(crate) Arc<Recorder>);

#[async_trait]
impl Recordings for Erasing {
    async fn erase(
        &self,
        session: Uuid,
        who: Arc<Principal>,
        reason: String,
        is_somebody_elses: bool,
    ) -> Result<SessionErasure, ApiError> {
        let ask = Erase {
            session,
            who: Some(who),
            reason,
            is_somebody_elses,
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
        notes: erasure.notes,
    }
}

fn refused(error: EraseError) -> ApiError {
    let text = error.to_string();
    match error {
        EraseError::Unknown(_) | EraseError::Unsigned(..) => ApiError::not_found(text),
        EraseError::Already(erasure) => {
            let mut text = text;
            if let Some(who) = &erasure.who {
                text.push_str(&format!(", asked for by {who}"));
            }
            // As it was told then, for who has to do something about it.
            for what in &erasure.remains {
                text.push_str(&format!("\nthere remains {what}"));
            }
            ApiError::conflict(text)
        }
        EraseError::Own(_) | EraseError::OwnerUnknown(_) => ApiError::forbidden(text),
        EraseError::Crowded => ApiError::too_many(text).retry_after(RETRY_AFTER),
        EraseError::Control(_)
        | EraseError::Running(_)
        | EraseError::NotStored(_)
        | EraseError::NoEnd(_)
        | EraseError::NotEncrypted(_)
        | EraseError::Key { .. }
        | EraseError::Locked { .. }
        | EraseError::PutAside { .. }
        | EraseError::Busy(_) => ApiError::conflict(text),
        EraseError::Log(error) if error.is_lasting() => ApiError::conflict(text),
        EraseError::GoesOn { .. } => ApiError::unavailable(text).goes_on(),
        EraseError::TooMany
        | EraseError::Slow(..)
        | EraseError::Log(_)
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
