//! Forgetting sessions. Whoever asks for it may stop waiting and ask again: the work is done once for each
//! session, and for one session at a time, however often and however soon it is asked for.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::index::{Index, Leaving, PAUSE};
use crate::store::{Result, Store, StoreError};

/// Sessions that are being forgotten, or were and nobody has asked how it ended.
const MOST: usize = 2_048;

/// How it has ended, for everybody who waits.
type Ended = std::result::Result<(), Arc<StoreError>>;
type Job = watch::Receiver<Option<Ended>>;

/// What is being forgotten.
pub(crate) struct Forgets {
    jobs: Mutex<HashMap<Uuid, Job>>,
    /// Whoever has it works.
    turn: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Forgets {
    pub(crate) fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            jobs: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            stop,
            tasks,
        }
    }

    /// Waits for the work on this session, which is begun if there is none.
    pub(crate) async fn done<F>(&self, session: Uuid, work: impl FnOnce() -> F) -> Ended
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut job = self.job(session, work)?;
        let ended = job.wait_for(Option::is_some).await;
        // Without an end, its task has panicked.
        let ended = ended.map_or(None, |ended| ended.clone());
        // It is told: whoever asks now wants it done once more.
        let mut jobs = self.jobs.lock();
        if jobs.get(&session).is_some_and(|of| of.same_channel(&job)) {
            jobs.remove(&session);
        }
        ended.unwrap_or_else(|| Err(Arc::new(StoreError::Closed)))
    }

    fn job<F>(
        &self,
        session: Uuid,
        work: impl FnOnce() -> F,
    ) -> std::result::Result<Job, Arc<StoreError>>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut jobs = self.jobs.lock();
        if let Some(job) = jobs.get(&session) {
            return Ok(job.clone());
        }
        if jobs.len() >= MOST {
            jobs.retain(|_, job| job.borrow().is_none());
        }
        if jobs.len() >= MOST {
            return Err(Arc::new(StoreError::Busy(MOST)));
        }
        let (end, job) = watch::channel(None);
        jobs.insert(session, job.clone());
        let (turn, stop, work) = (self.turn.clone(), self.stop.clone(), work());
        self.tasks.spawn(async move {
            let turn = tokio::select! {
                turn = turn.acquire_owned() => turn.ok(),
                () = stop.cancelled() => None,
            };
            let ended = match turn {
                Some(_turn) => work.await,
                None => Err(StoreError::Closed),
            };
            end.send(Some(ended.map_err(Arc::new))).ok();
        });
        Ok(job)
    }
}

/// Forgets the session in the state, and in the index if there is one.
pub(crate) async fn everywhere(
    store: Arc<dyn Store>,
    index: Option<Index>,
    session: Uuid,
    stop: CancellationToken,
) -> Result<()> {
    let id = session.as_hyphenated().to_string();
    store.forget_session(&id).await?;
    let Some(index) = index else {
        return Ok(());
    };
    let begin = index.clone();
    let mut leaving = blocking(move || begin.leaving(session.into_bytes())).await?;
    loop {
        let step = |mut leaving: Leaving| leaving.step().map(|more| (leaving, more));
        let (rest, more) = blocking(move || step(leaving)).await?;
        leaving = rest;
        if !more {
            break;
        }
        tokio::select! {
            () = stop.cancelled() => return Err(StoreError::Closed),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    blocking(move || leaving.settle()).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(StoreError::Closed))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    fn forgets() -> Forgets {
        Forgets::new(TaskTracker::new(), CancellationToken::new())
    }

    /// The recorder waits for half a minute, and asks again half a minute later, for as long as it takes.
    #[tokio::test]
    async fn who_asks_again_and_again_has_it_done_once() {
        let (forgets, begun, go) = (
            forgets(),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Notify::new()),
        );
        let work = || {
            let (begun, go) = (begun.clone(), go.clone());
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                Ok(())
            }
        };
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let patience = std::time::Duration::from_millis(1);
        for _ in 0..100 {
            let ask = |session| tokio::time::timeout(patience, forgets.done(session, work));
            assert!(ask(one).await.is_err());
            assert!(ask(other).await.is_err());
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1, "one session at a time");
        go.notify_one();
        tokio::task::yield_now().await;
        // It has ended while nobody waited, and that is what is told.
        forgets.done(one, work).await.unwrap();
        go.notify_one();
        forgets.done(other, work).await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        assert!(forgets.jobs.lock().is_empty());
    }

    #[tokio::test]
    async fn an_error_is_told_and_not_kept() {
        let forgets = forgets();
        let session = Uuid::from_u128(1);
        let failed = forgets.done(session, || async { Err(StoreError::InUse) });
        let failed = failed.await.unwrap_err();
        assert!(matches!(*failed, StoreError::InUse));
        let panicked = forgets.done(session, || async { panic!("as a test wants it") });
        assert!(matches!(*panicked.await.unwrap_err(), StoreError::Closed));
        forgets.done(session, || async { Ok(()) }).await.unwrap();
    }

    #[tokio::test]
    async fn more_than_are_remembered_are_refused_and_the_end_ends_them() {
        let forgets = forgets();
        let stuck = || std::future::pending::<Result<()>>();
        let at_once = std::time::Duration::ZERO;
        for n in 0..MOST {
            let asked = forgets.done(Uuid::from_u128(n as u128), stuck);
            assert!(tokio::time::timeout(at_once, asked).await.is_err());
        }
        let refused = forgets.done(Uuid::from_u128(MOST as u128), stuck);
        assert!(matches!(
            *refused.await.unwrap_err(),
            StoreError::Busy(MOST)
        ));
        forgets.stop.cancel();
        let waited = forgets.done(Uuid::from_u128(7), stuck).await;
        assert!(matches!(*waited.unwrap_err(), StoreError::Closed));
    }
}
