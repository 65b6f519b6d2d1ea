//! Asking the server what there is and what names mean, between the client's messages.

use std::sync::Arc;
use std::time::Instant;

use super::End;
use super::catalog::Held;
use super::client::FromClient;
use super::judge::RELOAD_FOR_UNKNOWN;
use super::own::Patience;
use crate::catalog::{SessionState, Snapshot};
use crate::wire::backend::TxStatus;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refreshed {
    Yes,
    No,
    /// The transaction has failed: the server does nothing but end it.
    Aborted,
    /// The client gave up its statement meanwhile.
    Cancelled,
}

/// How new a catalogue has to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Newness {
    /// Not known to be stale.
    Fresh,
    /// What any session has read within [`RELOAD_FOR_UNKNOWN`]: names can be invented faster than
    /// catalogues are read.
    Recent,
    /// Read after this moment.
    Since(Instant),
}

impl FromClient {
    /// Asks the server what there is and what names mean, if it can be asked between the client's
    /// messages.
    pub(super) async fn refresh(
        &mut self,
        newness: Newness,
        patience: Patience,
    ) -> Result<Refreshed, End> {
        let link = self.link.clone();
        {
            let flow = link.flow.lock();
            if flow.is_open_batch() || flow.is_skipping() {
                return Ok(Refreshed::No);
            }
        }
        self.wait_until(|flow| flow.is_quiescent()).await?;
        let private = match link.flow.lock().tx() {
            TxStatus::Idle => false,
            TxStatus::InTransaction => true,
            TxStatus::Failed => return Ok(Refreshed::Aborted),
        };
        // A cancel does not go to the server meanwhile: it would hit one of our questions.
        let cancel = link.cancellable.token();
        if cancel.is_cancelled() {
            return Ok(Refreshed::Cancelled);
        }
        let refreshed = self.read_again(newness, private, patience).await?;
        if cancel.is_cancelled() {
            return Ok(Refreshed::Cancelled);
        }
        Ok(refreshed)
    }

    async fn read_again(
        &mut self,
        newness: Newness,
        private: bool,
        patience: Patience,
    ) -> Result<Refreshed, End> {
        let link = self.link.clone();
        let fresh = link.catalog.is_fresh(&self.judge.held);
        let reload = match newness {
            Newness::Fresh => self.judge.own_ddl || !fresh,
            Newness::Recent | Newness::Since(_) => true,
        };
        let serves = |held: &Held| match newness {
            Newness::Fresh => true,
            Newness::Recent => held.begun.elapsed() < RELOAD_FOR_UNKNOWN,
            Newness::Since(moment) => held.begun >= moment,
        };
        self.judge.state.asking();
        if reload {
            match link.catalog.get() {
                Some(held)
                    if !private
                        && !self.judge.own_ddl
                        && held.begun > self.judge.held.begun
                        && serves(&held) =>
                {
                    self.judge.held = held;
                }
                _ => {
                    if !self.reload(private, patience).await? {
                        return Ok(Refreshed::No);
                    }
                }
            }
            self.judge.epoch.path += 1;
        }
        Ok(match self.ask_state(patience).await? {
            true => Refreshed::Yes,
            false => Refreshed::No,
        })
    }

    /// Is what is known of the catalogue what was committed after `moment`? A transaction can go on
    /// seeing what was there when it began.
    pub(super) fn knows_since(&self, moment: Instant) -> bool {
        let held = self.judge.held();
        held.begun >= moment && (!held.private || self.judge.state().sees_now())
    }

    pub(super) async fn ask_state(&mut self, patience: Patience) -> Result<bool, End> {
        self.judge.asked = Instant::now();
        self.judge.state.asking();
        let Some(results) = self.ask(&[SessionState::QUERY], patience).await? else {
            return Ok(false);
        };
        let row = results.first().and_then(|rows| rows.first());
        let row = row.map(Vec::as_slice).unwrap_or_default();
        if let Err(error) = self.judge.state.refreshed(row) {
            tracing::error!(%error, "the session's state cannot be read");
            return Ok(false);
        }
        self.judge.epoch.path += 1;
        Ok(true)
    }

    async fn reload(&mut self, private: bool, patience: Patience) -> Result<bool, End> {
        let generation = self.link.catalog.generation();
        let begun = Instant::now();
        let Some(results) = self.ask(Snapshot::QUERIES, patience).await? else {
            return Ok(false);
        };
        // Large catalogues take their time, and this thread serves others.
        let built = tokio::task::spawn_blocking(move || Snapshot::build(&results)).await;
        let snapshot = match built {
            Ok(Ok(snapshot)) => Arc::new(snapshot),
            Ok(Err(error)) => {
                tracing::error!(%error, "the catalogue cannot be read");
                return Ok(false);
            }
            Err(error) => {
                tracing::error!(%error, "reading the catalogue failed");
                return Ok(false);
            }
        };
        self.judge.held = Held {
            snapshot,
            generation,
            begun,
            private,
        };
        self.judge.own_ddl = false;
        self.link.catalog.put(&self.judge.held);
        Ok(true)
    }
}
