//! CancelRequest: our own keys, and whom they stop.
//!
//! A client's key is random and ours; the upstream's never leaves, and there need not be one. What has not
//! reached the server is given up here, at once; where it is too late for that, the server is told when it has
//! it ([`work`]). The client has its answer after that: a signal that comes later would hit what it sends next.

mod work;

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::{Limits, PgTarget};
use crate::statements::Flow;
use crate::upstream::{Cancel, UpstreamError};
use work::{Staged, Work};

/// In protocol 3.0 a secret has four bytes; from 3.2 on up to 256.
const SECRET_3_0: usize = 4;
const SECRET_3_2: usize = 32;
/// Attempts to find an unused process number.
const MAX_DRAWS: usize = 64;

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
        self.work.begin(|| self.is_busy());
    }

    /// The batch is in the buffer to the server, whole. True: a cancel waits for it to be sent.
    pub fn end(&self) -> bool {
        self.work.end()
    }

    /// The buffer is written.
    pub fn flushed(&self) {
        self.work.flushed();
    }

    /// The buffer is written, and nothing more of the client's is at hand.
    pub fn rest(&self) {
        self.work.rest();
    }

    /// The client is told that what it has sent was cancelled.
    pub fn given_up(&self) {
        self.work.given_up();
    }

    /// Cancelled when the batch that is worked on is.
    pub fn token(&self) -> CancellationToken {
        self.work.token()
    }

    /// Until the guard is dropped, the batch is decided on. `busy`: something earlier of the client's
    /// runs on the server meanwhile.
    pub fn deciding(&self, busy: bool) -> Staged<'_> {
        self.work.deciding(busy)
    }

    /// Until the guard is dropped, only questions of our own run on the server. A cancel does not go
    /// there: it would hit one of them in the client's stead.
    pub fn asking(&self) -> Staged<'_> {
        self.work.asking()
    }

    /// Until the guard is dropped, nothing is done but to wait for what the server has.
    pub fn waiting(&self) -> Staged<'_> {
        self.work.waiting()
    }

    pub fn is_deciding(&self) -> bool {
        self.work.is_deciding()
    }

    fn is_busy(&self) -> bool {
        self.flow.lock().is_busy()
    }

    /// Stops what is under way, here or on the server.
    pub async fn cancel(&self, limits: &Limits) -> Result<(), UpstreamError> {
        let _turn = self.turn.lock().await;
        let aim = self.work.cancel(|| self.is_busy());
        if !self.work.reached(aim).await {
            return Ok(());
        }
        self.cancel_on_server(limits).await
    }

    /// Ends when no cancel is under way that has given something up. Whoever answers the client waits for
    /// it; each cancel has its limit.
    pub async fn told(&self) {
        drop(self.turn.lock().await);
    }

    /// Ends when the server has sent its signal.
    async fn cancel_on_server(&self, limits: &Limits) -> Result<(), UpstreamError> {
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
    use std::time::Duration;

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
        session.begin();
        session
    }

    #[tokio::test]
    async fn what_is_held_is_given_up_at_once_and_answered_when_the_server_was_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let session = on(&listener);
        let token = session.token();
        let _deciding = session.deciding(true);
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
        cancel.await.unwrap();
        session.told().await;
    }

    #[tokio::test]
    async fn what_is_held_is_given_up_whatever_the_server_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let session = on(&listener);
        drop(listener);
        for busy in [false, true] {
            session.rest();
            session.begin();
            let token = session.token();
            let _deciding = session.deciding(busy);
            let limits = Limits::default();
            let given_up = async {
                token.cancelled().await;
                session.given_up();
            };
            let (told, ()) = tokio::join!(session.cancel(&limits), given_up);
            assert_eq!(told.is_ok(), !busy);
        }
    }
}
