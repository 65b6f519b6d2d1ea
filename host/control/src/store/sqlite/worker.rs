//! A thread that owns a connection and takes jobs from a bounded queue.

use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::store::{Result, StoreError};

/// Jobs that may wait.
const QUEUE: usize = 256;
/// How long a caller waits for a place in the queue.
const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// How long a caller waits for its answer. The job itself still runs to its end.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

pub(super) struct Worker {
    jobs: mpsc::Sender<Job>,
    answer_wait: Duration,
}

impl Worker {
    /// The thread ends, and closes the connection, when the worker is dropped and its queue is empty.
    pub(super) fn start(
        name: &str,
        mut connection: Connection,
        answer_wait: Duration,
    ) -> Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job>(QUEUE);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(|_| StoreError::Closed)?;
        Ok(Self { jobs, answer_wait })
    }

    /// Runs `job` on the thread. When this is cancelled or times out, the job may still be done.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody listening: the caller has gone.
            answer.send(job(connection)).ok();
        });
        match self.jobs.send_timeout(job, QUEUE_WAIT).await {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => return Err(StoreError::Busy(QUEUE)),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return Err(StoreError::Closed),
        }
        match tokio::time::timeout(self.answer_wait, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(StoreError::Closed),
            Err(_) => Err(StoreError::Timeout),
        }
    }
}
