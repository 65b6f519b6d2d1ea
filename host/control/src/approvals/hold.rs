//! The waiting side of a hold.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pipeline::ports::{Clock, Hold};
use pipeline::{Fingerprint, HoldInfo, HoldOutcome};
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;
use weir_client::Timestamp;

use super::Desk;
use crate::store::{Change, Settled, Store, StoreError};

/// How often the store is asked though it said nothing: another process may have decided, or its
/// message may have been lost.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How soon the store is asked again after it failed.
const RETRY: Duration = Duration::from_millis(500);
/// How long after the end of a hold a failing store is still asked, before it counts as expired.
const PATIENCE: Duration = Duration::from_secs(10);

type Asking = Pin<Box<dyn Future<Output = Result<Settled, StoreError>> + Send>>;

/// One open hold. Dropping it before its outcome was handed over abandons it in the store.
pub(super) struct DeskHold {
    info: HoldInfo,
    fingerprint: Fingerprint,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    runtime: tokio::runtime::Handle,
    changes: broadcast::Receiver<Change>,
    /// A question that was asked and not answered before `decided` was cancelled. Its answer may
    /// be the approval itself, so it must not be thrown away.
    asking: Option<Asking>,
    /// What `decided` answered; the same again if it is asked again.
    outcome: Option<HoldOutcome>,
    over: bool,
}

impl DeskHold {
    pub(super) fn new(desk: &Desk, info: HoldInfo, fingerprint: Fingerprint) -> Self {
        Self {
            info,
            fingerprint,
            changes: desk.store.changes(),
            store: desk.store.clone(),
            clock: desk.clock.clone(),
            tasks: desk.tasks.clone(),
            runtime: tokio::runtime::Handle::current(),
            asking: None,
            outcome: None,
            over: false,
        }
    }

    /// It was never opened.
    pub(super) fn forget(mut self) {
        self.over = true;
    }

    fn ask(&self) -> Asking {
        let store = self.store.clone();
        let (id, fingerprint) = (self.info.id.clone(), self.fingerprint.0);
        let now = Timestamp::from(self.clock.now()).millis();
        Box::pin(async move { store.settle_hold(&id, fingerprint, now).await })
    }

    /// Waits until the store may have something new.
    async fn wait(&mut self) {
        let left = self
            .info
            .expires_at
            .duration_since(self.clock.now())
            .unwrap_or_default();
        let pause = tokio::time::sleep(left.clamp(Duration::from_millis(1), LOOK_AGAIN));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return,
                change = self.changes.recv() => match change {
                    Ok(Change::Hold(id)) if id == self.info.id => return,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => return,
                    Err(broadcast::error::RecvError::Closed) => {
                        pause.await;
                        return;
                    }
                },
            }
        }
    }

    /// A store that fails beyond the end of the hold cannot say that it was approved in time.
    fn given_up(&self) -> bool {
        self.clock.now() >= self.info.expires_at + PATIENCE
    }

    async fn abandon_now(store: Arc<dyn Store>, id: String, now: u64) {
        if let Err(error) = store.abandon_hold(&id, now).await {
            // It expires by itself, and nobody can take its approval any more.
            tracing::warn!(%error, hold = %id, "a hold could not be marked as abandoned");
        }
    }
}

#[async_trait]
impl Hold for DeskHold {
    fn info(&self) -> &HoldInfo {
        &self.info
    }

    async fn decided(&mut self) -> HoldOutcome {
        if let Some(outcome) = &self.outcome {
            return outcome.clone();
        }
        let outcome = loop {
            let asking = match self.asking.take() {
                Some(asking) => asking,
                None => self.ask(),
            };
            let answer = self.asking.insert(asking).await;
            self.asking = None;
            match answer {
                Ok(Settled::Pending) => self.wait().await,
                Ok(Settled::Approved { approvers }) => {
                    break HoldOutcome::Approved {
                        approvers,
                        fingerprint: self.fingerprint,
                    };
                }
                Ok(Settled::Denied { by, reason }) => break HoldOutcome::Denied { by, reason },
                Ok(Settled::Expired) => break HoldOutcome::Expired,
                Ok(Settled::Gone) => break HoldOutcome::Abandoned,
                Ok(Settled::Mismatch) => {
                    tracing::error!(hold = %self.info.id, "an approval is for another request");
                    break HoldOutcome::Abandoned;
                }
                Err(error) => {
                    tracing::warn!(%error, hold = %self.info.id, "a hold could not be looked at");
                    if self.given_up() {
                        break HoldOutcome::Expired;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        self.over = true;
        self.outcome = Some(outcome.clone());
        outcome
    }

    async fn abandon(mut self: Box<Self>) {
        // After `decided` answered, there is nothing left to abandon.
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        // A question in flight may take the approval after this: let it finish first.
        if let Some(asking) = self.asking.take() {
            asking.await.ok();
        }
        let now = Timestamp::from(self.clock.now()).millis();
        Self::abandon_now(self.store.clone(), self.info.id.clone(), now).await;
    }
}

impl Drop for DeskHold {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let asking = self.asking.take();
        let (store, id) = (self.store.clone(), self.info.id.clone());
        let now = Timestamp::from(self.clock.now()).millis();
        // Cancelled only when the process ends: then the next start abandons it. At most one such
        // task per open hold.
        self.tasks.spawn_on(
            async move {
                if let Some(asking) = asking {
                    asking.await.ok();
                }
                Self::abandon_now(store, id, now).await;
            },
            &self.runtime,
        );
    }
}
