//! CancelRequest: our own keys, and whom they stop.
//!
//! A client's key is random and ours; the upstream's never leaves, and there need not be one. What has not
//! reached the server is given up here, at once; where it is too late for that, the server is told when it has
//! it ([`work`]). The client has its answer after that: a signal that comes later would hit what it sends next.

mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::{Limits, PgTarget};
use crate::statements::Flow;
use crate::upstream::{Cancel, UpstreamError};
use work::{Aim, Batch, Deciding, Fate, Work};

/// In protocol 3.0 a secret has four bytes; from 3.2 on up to 256.
const SECRET_3_0: usize = 4;
const SECRET_3_2: usize = 32;
/// Attempts to find an unused process number.
const MAX_DRAWS: usize = 64;

/// How long a cancel waits for a statement to be given up or passed on. After that the statement still
/// knows: it is given up when it would be sent.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How often a cancel looks again what it is for.
const MAX_AIMS: usize = 4;

#[derive(Debug, thiserror::Error)]
#[error("no cancel key could be made")]
pub(crate) struct NoKey;

/// What can be stopped in one session.
pub(crate) struct Cancellable {
    pub target: Arc<PgTarget>,
    /// None: the server gave us nothing to cancel with.
    pub upstream: Option<Cancel>,
    /// One cancel at a time, from its first effect to its last.
    turn: tokio::sync::Mutex<()>,
    flow: Arc<Mutex<Flow>>,
    work: Work,
}

impl Cancellable {
    pub fn new(target: Arc<PgTarget>, upstream: Option<Cancel>, flow: Arc<Mutex<Flow>>) -> Self {
        Self {
            target,
            upstream,
            turn: tokio::sync::Mutex::default(),
            flow,
            work: Work::default(),
        }
    }

    /// A message of the client's is taken up: from now until [`Cancellable::end`], a cancel is for its
    /// batch.
    pub fn begin(&self) {
        self.work.begin(&self.flow);
    }

    /// The batch is in the buffer to the server, whole. True: a cancel waits for it to be written.
    pub fn end(&self) -> bool {
        self.work.end()
    }

    /// The buffer is written.
    pub fn flushed(&self) {
        self.flow.lock().flushed();
        self.work.changed.notify_waiters();
    }

    /// The buffer is written, and nothing more of the client's is at hand.
    pub fn rest(&self) {
        let position = {
            let mut flow = self.flow.lock();
            flow.flushed();
            flow.position()
        };
        self.work.rest(position);
    }

    /// The client is told that what it has sent was cancelled.
    pub fn given_up(&self) {
        self.work.given_up();
    }

    /// Cancelled when the batch that is worked on is.
    pub fn token(&self) -> CancellationToken {
        self.work.token()
    }

    /// Until the guard is dropped, the batch is decided on.
    pub fn deciding(&self) -> Deciding<'_> {
        self.work.deciding()
    }

    /// People are asked, as long as it is decided on.
    pub fn held(&self) {
        self.work.held();
    }

    pub fn is_deciding(&self) -> bool {
        self.work.is_deciding()
    }

    /// A cancel has come, and is not done with.
    #[cfg(test)]
    pub fn is_cancelled(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    /// Stops what is under way, here or on the server.
    pub async fn cancel(&self, limits: &Limits) -> Result<(), UpstreamError> {
        let _turn = self.turn.lock().await;
        for _ in 0..MAX_AIMS {
            match self.work.aim(&self.flow) {
                Aim::Nothing => return Ok(()),
                Aim::Server => return self.cancel_on_server(limits).await,
                Aim::Batch(batch) => return self.follow(batch, false, limits).await,
                Aim::Both(batch) => {
                    let told = self.cancel_on_server(limits).await;
                    return told.and(self.follow(batch, true, limits).await);
                }
                // By then it may have run, and the next one is what the client waits for.
                Aim::Unsent(position) => {
                    let written = || (self.flow.lock().written() >= position).then_some(());
                    if self.until(written).await.is_none() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Until the batch, which knows that it is cancelled, is given up or has been passed on. `told`: the
    /// server has been told of what was there.
    async fn follow(
        &self,
        batch: Batch,
        mut told: bool,
        limits: &Limits,
    ) -> Result<(), UpstreamError> {
        loop {
            let moved = || {
                let fate = batch.fate();
                let flow = self.flow.lock();
                let runs = flow.is_unanswered(batch.began..flow.written());
                (fate != Fate::Open || (runs && !told)).then_some(fate)
            };
            match self.until(moved).await {
                None | Some(Fate::GivenUp) => return Ok(()),
                // A part of it is there.
                Some(Fate::Open) => {
                    told = true;
                    self.cancel_on_server(limits).await?;
                }
                Some(Fate::Passed(position)) => {
                    let runs = self.flow.lock().is_unanswered(batch.began..position);
                    return match runs {
                        true => self.cancel_on_server(limits).await,
                        false => Ok(()),
                    };
                }
            }
        }
    }

    /// Waits for something that changes with the work or the buffer.
    async fn until<T>(&self, done: impl Fn() -> Option<T>) -> Option<T> {
        let waits = async {
            loop {
                let changed = self.work.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(done) = done() {
                    return done;
                }
                changed.await;
            }
        };
        let done = tokio::time::timeout(MAX_WAIT, waits).await.ok();
        if done.is_none() {
            tracing::warn!(
                "a statement is neither given up nor sent {MAX_WAIT:?} after its cancel"
            );
        }
        done
    }

    /// Ends when no cancel is under way that has given something up. Whoever answers the client waits for
    /// it, and has written before what was to be sent; each cancel has its limit.
    pub async fn told(&self) {
        drop(self.turn.lock().await);
    }

    /// Whatever runs there. Ends when the server has sent its signal.
    pub async fn cancel_on_server(&self, limits: &Limits) -> Result<(), UpstreamError> {
        let Some(cancel) = &self.upstream else {
            tracing::info!(target = %self.target.info.name, "the server gave no cancel key: nothing was cancelled");
            return Ok(());
        };
        cancel.run(&self.target, limits).await
    }
}

struct Entry {
    secret: Vec<u8>,
    session: Arc<Cancellable>,
}

/// All keys of this process. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct CancelKeys {
    keys: Arc<Mutex<HashMap<u32, Entry>>>,
}

impl CancelKeys {
    /// A new key, valid as long as the guard lives.
    pub fn register(&self, session: Arc<Cancellable>, long: bool) -> Result<Registered, NoKey> {
        let random = SystemRandom::new();
        let mut secret = vec![0; if long { SECRET_3_2 } else { SECRET_3_0 }];
        random.fill(&mut secret).map_err(|_| NoKey)?;
        for _ in 0..MAX_DRAWS {
            let mut word = [0; 4];
            random.fill(&mut word).map_err(|_| NoKey)?;
            // Positive, as a process number is: some clients read it as signed.
            let pid = u32::from_be_bytes(word) >> 1;
            let mut keys = self.keys.lock();
            if pid != 0 && !keys.contains_key(&pid) {
                let entry = Entry {
                    secret: secret.clone(),
                    session,
                };
                keys.insert(pid, entry);
                return Ok(Registered {
                    keys: self.clone(),
                    pid,
                    secret,
                });
            }
        }
        Err(NoKey)
    }

    /// Whom a request may stop, if its secret is right.
    pub fn find(&self, pid: u32, secret: &[u8]) -> Option<Arc<Cancellable>> {
        let keys = self.keys.lock();
        let entry = keys.get(&pid)?;
        constant_time::verify_slices_are_equal(&entry.secret, secret)
            .ok()
            .map(|()| entry.session.clone())
    }
}

/// A key in use.
pub(crate) struct Registered {
    keys: CancelKeys,
    pub pid: u32,
    pub secret: Vec<u8>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.keys.keys.lock().remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::testing;
    use crate::upstream::CancelKey;

    fn on(listener: &TcpListener) -> Cancellable {
        let target = PgTarget {
            port: listener.local_addr().unwrap().port(),
            ..testing::target(testing::postgres::Postgres::shared())
        };
        let key = CancelKey {
            pid: 7,
            secret: bytes::Bytes::from_static(&[1, 2, 3, 4]),
        };
        let flow = Arc::new(Mutex::new(Flow::new()));
        let session = Cancellable::new(Arc::new(target), Some(Cancel::Key(key)), flow);
        // Something of the client's runs.
        session.flow.lock().sent_sync();
        session.flushed();
        session.begin();
        session
    }

    #[tokio::test]
    async fn what_is_held_is_given_up_at_once_and_answered_when_the_server_was_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let session = on(&listener);
        let token = session.token();
        let _deciding = session.deciding();
        session.held();
        let limits = Limits::default();
        let cancel = session.cancel(&limits);
        tokio::pin!(cancel);
        let server = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 16];
            socket.read_exact(&mut request).await.unwrap();
            socket
        };
        let socket = tokio::select! {
            _ = &mut cancel => panic!("it waits for the server"),
            socket = server => socket,
        };
        // An approval that comes now sends nothing.
        assert!(token.is_cancelled());
        tokio::select! {
            _ = &mut cancel => panic!("it waits for the server"),
            () = session.told() => panic!("the server has not been told"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
        drop(socket);
        session.given_up();
        cancel.await.unwrap();
        session.told().await;
    }

    #[tokio::test]
    async fn what_is_held_is_given_up_whatever_the_server_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let session = on(&listener);
        drop(listener);
        let token = session.token();
        let _deciding = session.deciding();
        session.held();
        let limits = Limits::default();
        let given_up = async {
            token.cancelled().await;
            session.given_up();
        };
        let (told, ()) = tokio::join!(session.cancel(&limits), given_up);
        assert!(told.is_err());
    }

    /// Who would be told is not there: an error says that it was asked.
    #[tokio::test]
    async fn whom_a_cancel_is_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let session = on(&listener);
        drop(listener);
        let limits = Limits::default();
        let cancel = || session.cancel(&limits);
        // It runs, and what is looked at behind it is not meant.
        assert!(cancel().await.is_err());
        assert!(!session.token().is_cancelled());
        // Nothing is under way.
        let mut done = Vec::new();
        session.flow.lock().abandon(&mut done);
        session.rest();
        assert!(cancel().await.is_ok());
        // A batch that is given up, whoever is asked first.
        for last in [false, true] {
            session.begin();
            let token = session.token();
            let gives_up = async {
                token.cancelled().await;
                session.given_up();
                // The next one is taken up before the cancel has gone on.
                assert!(!session.end());
                session.rest();
                session.begin();
                session.flow.lock().sent_sync();
                assert!(last || !session.end());
                session.rest();
            };
            let (told, ()) = tokio::join!(cancel(), gives_up);
            assert!(told.is_ok(), "last: {last}");
            session.flow.lock().abandon(&mut done);
        }
        // One that is passed on, and one that has its answer by then.
        for answered in [false, true] {
            session.begin();
            let token = session.token();
            let passes_on = async {
                token.cancelled().await;
                session.flow.lock().sent_sync();
                assert!(session.end());
                if answered {
                    session.flow.lock().abandon(&mut Vec::new());
                }
                session.rest();
            };
            let (told, ()) = tokio::join!(cancel(), passes_on);
            assert_eq!(told.is_ok(), answered);
            session.flow.lock().abandon(&mut done);
        }
        // What is not written yet is waited for, and hit.
        session.flow.lock().sent_sync();
        session.begin();
        let token = session.token();
        let writes = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            session.flushed();
        };
        let (told, ()) = tokio::join!(cancel(), writes);
        assert!(told.is_err());
        assert!(!token.is_cancelled());
    }
}
