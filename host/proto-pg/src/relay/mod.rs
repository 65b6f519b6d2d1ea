//! One session: opens it, dials the target, and moves both directions until one side leaves.
//!
//! The two directions are independent futures of one task: [`client`] reads what the client wants,
//! decides and sends; [`server`] explains, masks, records and delivers the answers. They share the
//! [`Flow`] and nothing else, and neither waits for the other to be read from.
//!
//! Architecture invariants:
//! - Only `server` writes to the client; `client` hands it whole messages for the next frame boundary.
//! - No lock is held across an await.
//! - Bytes are recorded before the client gets them.

mod call;
mod catalog;
mod client;
mod deliver;
mod extended;
mod hold;
mod judge;
mod large;
mod look;
mod notify;
mod open;
mod own;
mod parse;
mod refresh;
mod rows;
mod scratch;
mod server;
mod texts;
mod witness;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use pipeline::mask::MaskKeys;
use pipeline::ports::Policy;
use pipeline::{EndReason, Session};
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::cancel::Cancellable;
use crate::config::{Limits, PgListener};
use crate::refusal;
use crate::service::Shared;
use crate::startup::Authenticated;
use crate::statements::Flow;
use crate::upstream::{Sender, Stream};
use crate::wire::backend::TxStatus;
use catalog::Catalog;

pub(crate) use catalog::{Catalogs, Moves};
pub(crate) use rows::ActiveMask;

/// Messages of our own that wait for a frame boundary on the way to the client.
const MAX_INJECTED: usize = 16;

/// What both directions know.
pub(crate) struct Link {
    pub session: Arc<Session>,
    pub flow: Arc<Mutex<Flow>>,
    /// Told after every reply that changed the flow.
    pub progress: Notify,
    pub limits: Limits,
    pub mask_keys: MaskKeys,
    pub catalog: Catalog,
    /// Turns for analyses of large texts, over all sessions.
    pub analysts: Arc<Semaphore>,
    /// Turns for surveys of held statements, over all sessions.
    pub surveys: Arc<Semaphore>,
    pub cancellable: Arc<Cancellable>,
    /// Whether what this session sends to those who listen is what was decided on.
    pub voice: notify::Voice,
    /// The database's encoding is UTF-8, as the client's is pinned to be.
    pub utf8: bool,
    /// The last answer of [`Link::indifferent`], and the digest of the bundle that gave it.
    pub indifferent: Mutex<Option<(Arc<str>, bool)>>,
    /// How the server reads texts, as it says itself.
    pub reads: Reads,
    /// Policy was indifferent to something that this session asked for: what texts, names, cursors and
    /// prepared statements mean was not followed, and cannot be told any more.
    pub strayed: AtomicBool,
    /// Whole messages for the client that have no place of their own among the replies: notices.
    pub inject: mpsc::Sender<Bytes>,
    /// Told when the flow holds an answer of our own that the server will not wake us for.
    pub local: Notify,
    /// The process shuts down: end as soon as nothing is under way.
    pub shutdown: CancellationToken,
    /// This session ends: nothing more is sent, whatever is decided.
    pub ending: CancellationToken,
}

impl Link {
    /// See [`Policy::is_indifferent`]: the principal and the target are those of the session.
    pub fn indifferent(&self, policy: &dyn Policy) -> bool {
        let digest = &policy.bundle().digest;
        let mut last = self.indifferent.lock();
        if let Some((of, answer)) = &*last
            && of == digest
        {
            return *answer;
        }
        let info = self.session.info();
        let answer = policy.is_indifferent(&info.principal, &info.target);
        *last = Some((digest.clone(), answer));
        answer
    }
}

impl Link {
    pub fn has_strayed(&self) -> bool {
        self.strayed.load(Ordering::SeqCst) || !self.reads.as_we_do()
    }

    /// What this session means was not followed, and the active bundle cares.
    pub fn is_lost(&self) -> bool {
        self.has_strayed() && !self.indifferent(&*self.session.pin())
    }

    /// Resolves when a bundle is activated under which the session is lost: what it has begun does not
    /// go on, whether or not the client sends anything more. Cancel safe.
    async fn lost(&self) {
        let mut bundles = self.session.ports().authorizer.watch();
        loop {
            bundles.mark_unchanged();
            if self.is_lost() {
                return;
            }
            if bundles.changed().await.is_err() {
                // Nobody activates bundles any more; the session's own end says so.
                return std::future::pending().await;
            }
        }
    }

    /// Is a transaction open, or may one be by the time that what is under way is done?
    pub fn in_transaction(&self) -> bool {
        let flow = self.flow.lock();
        flow.tx() != TxStatus::Idle || !flow.is_quiescent()
    }
}

/// Settings under which the server reads a text as it is read here. They are pinned, unless policy is
/// indifferent to what texts mean.
pub(crate) struct Reads {
    utf8: AtomicBool,
    standard: AtomicBool,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            utf8: AtomicBool::new(true),
            standard: AtomicBool::new(true),
        }
    }
}

impl Reads {
    /// Takes what the server reports into account. The name of the setting, if it is not as pinned.
    pub fn reported(&self, name: &[u8], value: &[u8]) -> Option<&'static str> {
        let (as_pinned, of, setting) = match name {
            b"client_encoding" => (value == b"UTF8", &self.utf8, "client_encoding"),
            b"standard_conforming_strings" => (
                value == b"on",
                &self.standard,
                "standard_conforming_strings",
            ),
            _ => return None,
        };
        of.store(as_pinned, Ordering::SeqCst);
        (!as_pinned).then_some(setting)
    }

    pub fn as_we_do(&self) -> bool {
        self.utf8.load(Ordering::SeqCst) && self.standard.load(Ordering::SeqCst)
    }
}

/// Why a direction stopped.
#[derive(Debug)]
pub(crate) struct End(pub EndReason);

impl From<std::io::Error> for End {
    fn from(error: std::io::Error) -> Self {
        Self(EndReason::Error(format!(
            "reading or writing failed: {error}"
        )))
    }
}

impl From<pipeline::ports::JournalError> for End {
    fn from(error: pipeline::ports::JournalError) -> Self {
        tracing::error!(%error, "ending a session: it cannot be recorded");
        Self(EndReason::RecorderFailed)
    }
}

pub(crate) fn violation(what: impl std::fmt::Display) -> End {
    End(EndReason::ProtocolViolation(what.to_string()))
}

/// The client's half that is written to, and where in the stream we are.
pub(crate) struct ClientWriter {
    pub io: WriteHalf<Box<dyn Stream>>,
    /// A write or a frame is unfinished: nothing of our own may follow.
    pub torn: bool,
    /// A FATAL error was delivered: there is nothing left to say.
    pub told: bool,
}

impl ClientWriter {
    pub fn new(io: WriteHalf<Box<dyn Stream>>) -> Self {
        Self {
            io,
            torn: false,
            told: false,
        }
    }

    /// `mid_frame`: the last frame in `bytes` is not complete.
    pub async fn write(&mut self, bytes: &[u8], mid_frame: bool) -> std::io::Result<()> {
        self.torn = true;
        self.io.write_all(bytes).await?;
        self.io.flush().await?;
        self.torn = mid_frame;
        Ok(())
    }
}

/// From a verified token to the end of the session.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: Arc<PgListener>,
    authenticated: Authenticated,
    shutdown: CancellationToken,
) {
    // Boxes: an idle session is to hold no more than it needs then.
    let opening = Box::pin(open::open(&shared, &listener, authenticated, &shutdown));
    let Some(opened) = opening.await else {
        return;
    };
    let open::Opened {
        link,
        client,
        server,
        mut writer,
        registered,
    } = opened;
    let drain = listener
        .listen
        .drain
        .saturating_sub(link.limits.farewell * 2);

    let reason = {
        let from_client = Box::pin(client.run());
        let to_client = Box::pin(server.run(&mut writer));
        let both = async {
            tokio::select! {
                end = from_client => end,
                end = to_client => end,
            }
        };
        let late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        tokio::pin!(both);
        let reason = tokio::select! {
            biased;
            reason = link.session.ended() => reason,
            () = link.lost() => EndReason::PolicyChanged,
            () = late => EndReason::Shutdown,
            end = &mut both => match end {
                Ok(never) => match never {},
                Err(End(reason)) => reason,
            },
        };
        link.ending.cancel();
        if link.cancellable.is_deciding() {
            // A decision is not dropped half made: a held one is abandoned, and that is recorded.
            tokio::time::timeout(link.limits.farewell, &mut both)
                .await
                .ok();
        }
        reason
    };
    drop(registered);
    Box::pin(close(link, writer, reason)).await;
}

/// The result of a direction: it only ever stops with a reason.
pub(crate) type Direction = Result<Infallible, End>;

/// Last words, what has no outcome, and the end of the record.
async fn close(link: Arc<Link>, mut writer: ClientWriter, reason: EndReason) {
    let target = link.cancellable.target.info.name.clone();
    match &reason {
        EndReason::ClientClosed | EndReason::UpstreamClosed | EndReason::Shutdown => {
            tracing::info!(session = %link.session.info().id_text, %target, ?reason, "session ended");
        }
        _ => {
            tracing::warn!(session = %link.session.info().id_text, %target, ?reason, "session ended");
        }
    }
    let mut done = Vec::new();
    let busy = {
        let mut flow = link.flow.lock();
        let busy = flow.is_busy();
        flow.abandon(&mut done);
        busy
    };
    let goodbye = async {
        if let Some(last) = refusal::farewell(&reason)
            && !writer.torn
            && !writer.told
        {
            let mut out = BytesMut::new();
            last.encode("FATAL", &mut out);
            // The client may be gone; the session ends either way.
            let _ = writer.io.write_all(&out).await;
        }
        let _ = writer.io.shutdown().await;
    };
    // Nothing more of it is sent: what runs, runs on the server.
    link.cancellable.rest();
    let stop = async {
        if busy && reason != EndReason::UpstreamClosed {
            let cancelled = link.cancellable.cancel_on_server(&link.limits).await;
            if let Err(error) = cancelled {
                tracing::warn!(%target, %error, "what still runs on the target could not be cancelled");
            }
        }
    };
    let farewell = link.limits.farewell;
    tokio::join!(
        async { tokio::time::timeout(farewell, goodbye).await.ok() },
        async { tokio::time::timeout(farewell, stop).await.ok() },
    );

    for d in done {
        let written = link
            .session
            .outcome(d.receipt, d.kind, &d.detail, d.rows, d.bytes)
            .await;
        if let Err(error) = written {
            tracing::error!(%error, "an outcome could not be recorded");
            break;
        }
    }
    let session = link.session.clone();
    drop(link);
    match Arc::try_unwrap(session) {
        Ok(session) => {
            if let Err(error) = session.close(reason).await {
                tracing::error!(%error, "the end of a session could not be recorded");
            }
        }
        Err(_) => tracing::error!("a session is still in use at its end"),
    }
}

/// What the client's direction works with.
pub(crate) type UpstreamSender = Sender;

#[cfg(test)]
mod tests;
