//! What of the client's has been read and has not been passed on yet, and what a CancelRequest does to it.
//!
//! A statement takes its time before the server has it: names are looked up, policy and people are asked,
//! the intent is made durable. The server is idle meanwhile, and would ignore a cancel. So the cancel is
//! kept: either the statement is given up here, or the server is told once it has the statement.
//!
//! A batch is what the server would run without another look at the client: a simple query, a function
//! call, or extended messages up to their Sync.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long a cancel waits for a batch to be given up or passed on. After that the batch still knows: it
/// is given up as soon as it is looked at.
const MAX_WAIT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Work {
    now: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    batch: Option<Batch>,
    /// Tells one batch from the next.
    number: u64,
    /// A whole batch waits to be written.
    unsent: bool,
}

struct Batch {
    token: CancellationToken,
    stage: Stage,
    /// Something earlier of the client's may still run on the server.
    busy: bool,
    given_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is found out what it means, or it is on its way to the buffer.
    Looking,
    /// It is decided on.
    Deciding,
    /// Only questions of our own run on the server. A cancel would hit one of them in the client's stead.
    Asking,
    /// Nothing is done before the server has answered what it has.
    Waiting,
}

/// Whom a cancel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// What runs on the server.
    Server,
    /// What runs on the server, as soon as it is there.
    Unsent,
    /// A batch that is kept here.
    Here(u64),
    /// A batch that is decided on, and what runs on the server besides.
    Both,
}

impl Work {
    /// A message of the client's is taken up. `busy`: does something earlier run on the server?
    pub fn begin(&self, busy: impl FnOnce() -> bool) {
        let mut state = self.now.lock();
        if state.batch.is_none() {
            state.number += 1;
            state.batch = Some(Batch {
                token: CancellationToken::new(),
                stage: Stage::Looking,
                busy: busy(),
                given_up: false,
            });
        }
    }

    /// The batch is in the buffer to the server, whole. True: a cancel waits for it to be sent.
    pub fn end(&self) -> bool {
        let mut state = self.now.lock();
        state.unsent = true;
        let cancelled = |b: &Batch| b.token.is_cancelled() && !b.given_up;
        let awaited = state.batch.as_ref().is_some_and(cancelled);
        if !awaited {
            // Who cancels from now on waits for `unsent`.
            state.batch = None;
        }
        awaited
    }

    /// The buffer is written.
    pub fn flushed(&self) {
        self.now.lock().unsent = false;
        self.changed.notify_waiters();
    }

    /// The buffer is written, and nothing more of the client's is at hand.
    pub fn rest(&self) {
        let mut state = self.now.lock();
        state.unsent = false;
        state.batch = None;
        drop(state);
        self.changed.notify_waiters();
    }

    /// A cancel has been heeded: the client is told that the batch was cancelled.
    pub fn given_up(&self) {
        if let Some(batch) = &mut self.now.lock().batch {
            batch.given_up = true;
        }
        self.changed.notify_waiters();
    }

    /// What a cancel of the batch cancels.
    pub fn token(&self) -> CancellationToken {
        let state = self.now.lock();
        let batch = state.batch.as_ref();
        batch.map(|b| b.token.clone()).unwrap_or_default()
    }

    pub fn is_deciding(&self) -> bool {
        let state = self.now.lock();
        let batch = state.batch.as_ref();
        batch.is_some_and(|b| b.stage == Stage::Deciding)
    }

    pub fn deciding(&self, busy: bool) -> Staged<'_> {
        self.enter(Stage::Deciding, Some(busy))
    }

    pub fn asking(&self) -> Staged<'_> {
        self.enter(Stage::Asking, None)
    }

    pub fn waiting(&self) -> Staged<'_> {
        self.enter(Stage::Waiting, None)
    }

    fn enter(&self, stage: Stage, busy: Option<bool>) -> Staged<'_> {
        let mut before = Stage::Looking;
        if let Some(batch) = &mut self.now.lock().batch {
            before = std::mem::replace(&mut batch.stage, stage);
            batch.busy = busy.unwrap_or(batch.busy);
        }
        self.changed.notify_waiters();
        Staged { work: self, before }
    }

    /// A cancel has come. `busy`: does something of the client's run on the server?
    pub fn cancel(&self, busy: impl FnOnce() -> bool) -> Aim {
        let state = self.now.lock();
        let Some(batch) = &state.batch else {
            return match state.unsent {
                true => Aim::Unsent,
                false => Aim::Server,
            };
        };
        match batch.stage {
            Stage::Waiting => return Aim::Server,
            // A hold is given up whatever runs before it: that may be waited for.
            Stage::Deciding if batch.busy => {
                batch.token.cancel();
                return Aim::Both;
            }
            Stage::Looking if state.unsent => return Aim::Unsent,
            Stage::Looking if batch.busy && busy() => return Aim::Server,
            Stage::Looking | Stage::Deciding | Stage::Asking => {}
        }
        // At once: nobody's approval may send it meanwhile.
        batch.token.cancel();
        Aim::Here(state.number)
    }

    /// Ends when what `aim` is about is on the server, if it gets there. False: it was given up here.
    pub async fn reached(&self, aim: Aim) -> bool {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(reached) = self.has_reached(aim) {
                    return reached;
                }
                changed.await;
            }
        };
        let reached = tokio::time::timeout(MAX_WAIT, reached).await;
        reached.unwrap_or_else(|_| {
            tracing::warn!(
                "a statement is neither given up nor sent, {MAX_WAIT:?} after its cancel"
            );
            false
        })
    }

    fn has_reached(&self, aim: Aim) -> Option<bool> {
        let state = self.now.lock();
        match aim {
            Aim::Server => Some(true),
            Aim::Unsent | Aim::Both => (!state.unsent).then_some(true),
            Aim::Here(number) => match &state.batch {
                Some(batch) if batch.given_up && state.number == number => Some(false),
                // It is sent, and says so when it has run, or is in a COPY.
                Some(batch) if batch.stage == Stage::Waiting => Some(true),
                Some(_) if state.number == number => None,
                _ => Some(true),
            },
        }
    }
}

/// A stage of the batch, until it is dropped.
pub(crate) struct Staged<'a> {
    work: &'a Work,
    before: Stage,
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Some(batch) = &mut self.work.now.lock().batch {
            batch.stage = self.before;
        }
    }
}
