//! Reads long command lines and scripts, and whole lines of gated shells, beside the tasks of the sessions: so many at a time for all of them, one at a
//! time for each, so that nobody's many commands are in the way of another's one.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::core::Ticket;
use super::decide::{Answered, Deciding};
use crate::action::Unread;
use crate::gate::Whole;

/// Texts that are read at a time, over all sessions. The longest ones take a processor some tens of milliseconds.
const AT_ONCE: usize = 2;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a text was not read, in words for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotRead {
    #[error("it was interrupted")]
    Interrupted,
    #[error(
        "too many long commands are being read, and its turn has not come within {} s; please try again",
        PATIENCE.as_secs()
    )]
    Busy,
    #[error("it could not be read")]
    Failed,
}

/// Those of a service.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    all: Arc<Semaphore>,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Readers {
    /// Those of a new session.
    pub(super) fn turns(&self) -> Turns {
        Turns {
            all: self.all.clone(),
            own: Arc::new(Semaphore::new(1)),
        }
    }
}

/// Those of a session.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
}

/// Reads it when its turn comes.
pub(super) fn read(
    turns: Turns,
    ticket: Ticket,
    unread: Unread,
    cancel: CancellationToken,
) -> Deciding<'static> {
    async move {
        let line = turns.when_it_comes(cancel, || unread.read()).await;
        Answered::Read { ticket, line }
    }
    .boxed()
}

/// Judges it when its turn comes.
pub(super) fn judge(
    turns: Turns,
    ticket: Ticket,
    whole: Whole,
    cancel: CancellationToken,
) -> Deciding<'static> {
    async move {
        let judged = turns.when_it_comes(cancel, || whole.judge()).await;
        Answered::Judged { ticket, judged }
    }
    .boxed()
}

impl Turns {
    async fn when_it_comes<T: Send + 'static>(
        self,
        cancel: CancellationToken,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotRead> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(NotRead::Interrupted),
            read = self.take(read) => read,
        }
    }

    async fn take<T: Send + 'static>(
        self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotRead> {
        let turn = async {
            let own = self.own.acquire_owned().await?;
            Ok((own, self.all.acquire_owned().await?))
        };
        let turn: Result<_, tokio::sync::AcquireError> =
            match tokio::time::timeout(PATIENCE, turn).await {
                Ok(turn) => turn,
                Err(_) => return Err(NotRead::Busy),
            };
        let turn = turn.map_err(|_| NotRead::Failed)?;
        // Nothing stops it once it has begun, and it has its turn until it ends, whether or not anybody waits.
        let reading = tokio::task::spawn_blocking(move || {
            let read = read();
            drop(turn);
            read
        });
        reading.await.map_err(|error| {
            tracing::error!(%error, "a command line could not be read");
            NotRead::Failed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Line;

    fn long() -> Unread {
        let unread = Unread::command("ls;".repeat(10_000).into(), true);
        assert!(!unread.is_short());
        unread
    }

    fn asked(turns: &Turns) -> (Deciding<'static>, CancellationToken) {
        let cancel = CancellationToken::new();
        let reading = read(turns.clone(), Ticket(1), long(), cancel.clone());
        (reading, cancel)
    }

    fn line(answered: Option<Answered>) -> Result<Line, NotRead> {
        match answered {
            Some(Answered::Read { line, .. }) => line,
            _ => panic!("no reading"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn readings_are_bounded_and_wait_no_longer_than_that() {
        let readers = Readers::default();
        let taken = readers.all.clone().acquire_many_owned(2).await.unwrap();
        assert_eq!(readers.all.available_permits(), 0, "two and no more");
        let (mut waits, cancel) = asked(&readers.turns());
        assert!((&mut waits).now_or_never().is_none());
        cancel.cancel();
        let cancelled = line(waits.now_or_never());
        assert_eq!(cancelled.unwrap_err(), NotRead::Interrupted);
        let begun = tokio::time::Instant::now();
        let (late, _cancel) = asked(&readers.turns());
        assert_eq!(line(Some(late.await)).unwrap_err(), NotRead::Busy);
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
        drop(taken);
        let (soon, _cancel) = asked(&readers.turns());
        assert!(line(Some(soon.await)).unwrap().command.is_opaque());
        assert_eq!(readers.all.available_permits(), AT_ONCE);
    }

    /// However many channels a session has, it stands in the queue of all sessions once.
    #[tokio::test(start_paused = true)]
    async fn a_session_has_one_turn_at_a_time() {
        let readers = Readers::default();
        let taken = readers.all.clone().acquire_many_owned(2).await.unwrap();
        let greedy = readers.turns();
        let mut many: Vec<_> = (0..50).map(|_| asked(&greedy)).collect();
        for (reading, _) in &mut many {
            assert!(reading.now_or_never().is_none());
        }
        let (mut other, _cancel) = asked(&readers.turns());
        assert!((&mut other).now_or_never().is_none());
        drop(taken);
        // Nobody polls the fifty: one of them has the first turn, and the second is the other session's.
        assert!(line(Some(other.await)).is_ok());
    }
}
