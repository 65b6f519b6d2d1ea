//! What of the client's has been read and has not been passed on yet, and what a CancelRequest does to it.
//!
//! A statement takes its time before the server has it: names are looked up, policy and people are asked,
//! the intent is made durable. The server is idle meanwhile, and would ignore a cancel. So the cancel is
//! kept: either the statement is given up here, or the server is told once it has the statement.
//!
//! A batch is what the server would run without another look at the client: a simple query, a function
//! call, or extended messages up to their Sync. Positions are those of the [`Flow`].

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::statements::Flow;

#[derive(Default)]
pub(super) struct Work {
    now: Mutex<Option<Batch>>,
    pub changed: Notify,
}

/// The batch that is worked on. A cancel that is about it keeps it.
#[derive(Clone)]
pub(super) struct Batch {
    pub token: CancellationToken,
    fate: Arc<Mutex<Fate>>,
    /// What was sent before it.
    pub began: u64,
    deciding: bool,
    /// People are asked.
    held: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Open,
    /// The client is told that it was cancelled.
    GivenUp,
    /// Nothing of it is left here; it was sent as far as this.
    Passed(u64),
}

impl Batch {
    pub fn fate(&self) -> Fate {
        *self.fate.lock()
    }

    fn meets(&self, fate: Fate) {
        let mut now = self.fate.lock();
        if *now == Fate::Open {
            *now = fate;
        }
    }
}

/// Whom a cancel is for.
pub(super) enum Aim {
    /// The client has nothing under way.
    Nothing,
    /// What runs on the server.
    Server,
    /// What is not written to the server yet, up to this position.
    Unsent(u64),
    /// What is still here, and has been told.
    Batch(Batch),
    /// The same, and what runs on the server besides: that may be waited for.
    Both(Batch),
}

impl Work {
    /// A message of the client's is taken up.
    pub fn begin(&self, flow: &Mutex<Flow>) {
        let mut now = self.now.lock();
        if now.is_none() {
            *now = Some(Batch {
                token: CancellationToken::new(),
                fate: Arc::new(Mutex::new(Fate::Open)),
                began: flow.lock().position(),
                deciding: false,
                held: false,
            });
        }
    }

    /// The batch is in the buffer to the server, whole. True: a cancel waits for it to be written.
    pub fn end(&self) -> bool {
        let mut now = self.now.lock();
        let cancelled = |b: &Batch| b.token.is_cancelled() && b.fate() == Fate::Open;
        let awaited = now.as_ref().is_some_and(cancelled);
        if !awaited {
            *now = None;
        }
        awaited
    }

    /// Nothing more of the client's is at hand.
    pub fn rest(&self, position: u64) {
        if let Some(batch) = self.now.lock().take() {
            batch.meets(Fate::Passed(position));
        }
        self.changed.notify_waiters();
    }

    pub fn given_up(&self) {
        if let Some(batch) = &*self.now.lock() {
            batch.meets(Fate::GivenUp);
        }
        self.changed.notify_waiters();
    }

    pub fn token(&self) -> CancellationToken {
        let now = self.now.lock();
        now.as_ref().map(|b| b.token.clone()).unwrap_or_default()
    }

    pub fn is_deciding(&self) -> bool {
        self.now.lock().as_ref().is_some_and(|b| b.deciding)
    }

    pub fn deciding(&self) -> Deciding<'_> {
        self.change(|batch| batch.deciding = true);
        Deciding(self)
    }

    pub fn held(&self) {
        self.change(|batch| batch.held = true);
    }

    fn change(&self, change: impl FnOnce(&mut Batch)) {
        if let Some(batch) = &mut *self.now.lock() {
            change(batch);
        }
    }

    /// A cancel has come. What it is for knows of it when this returns: nobody's approval may send it
    /// meanwhile.
    pub fn aim(&self, flow: &Mutex<Flow>) -> Aim {
        let now = self.now.lock();
        let flow = flow.lock();
        let before = now.as_ref().map_or(flow.position(), |b| b.began);
        let written = flow.written().min(before);
        let runs = flow.is_unanswered(0..written);
        let unsent = flow.is_unanswered(written..before);
        match &*now {
            // A hold is given up whatever runs before it.
            Some(batch) if runs && batch.held => {
                batch.token.cancel();
                Aim::Both(batch.clone())
            }
            _ if runs => Aim::Server,
            _ if unsent => Aim::Unsent(before),
            Some(batch) => {
                batch.token.cancel();
                Aim::Batch(batch.clone())
            }
            None => Aim::Nothing,
        }
    }
}

/// A batch is decided on, until this is dropped.
pub(crate) struct Deciding<'a>(&'a Work);

impl Drop for Deciding<'_> {
    fn drop(&mut self) {
        self.0.change(|batch| {
            batch.deciding = false;
            batch.held = false;
        });
    }
}
