//! A leg, and what waits for it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncReadExt;

use crate::leg::{Leg, Stream};
use crate::life::{Life, Vanished};
use crate::transport::{Event, OfferedHostKey, Transport, TransportError};

/// Bytes that may wait for a leg before the other one is not read any more.
const BEHIND: usize = 1 << 20;
/// Bytes that may wait for a leg before it is not read itself: beyond `BEHIND` nothing of the other leg is added, so
/// this is what it makes us say, and no peer that writes before it reads has a window for so much.
const FAR_BEHIND: usize = 4 * BEHIND;
/// What may wait at most. A key exchange, or text that plugins give free, brings more than `FAR_BEHIND`; beyond this
/// the session ends.
const MAX_PENDING: usize = 256 << 10;
const MAX_PENDING_BYTES: usize = 64 << 20;
/// What a message costs beside its bytes.
const MESSAGE: usize = 64;
/// How often a peer that is not read is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// Bytes that are read at once: few while little comes, so that an idle leg holds little memory.
const READ_AT_LEAST: usize = 4 << 10;
const READ_AT_MOST: usize = 64 << 10;

/// Why a leg cannot be borne any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Deaf {
    #[error("more than {MAX_PENDING_BYTES} bytes or {MAX_PENDING} messages wait for it")]
    Full,
    #[error("it has taken nothing of what waits for it for {} s", .0.as_secs())]
    Stalled(Duration),
}

pub(super) struct Half {
    io: Box<dyn Stream>,
    pub transport: Transport,
    input: BytesMut,
    /// Messages that the transport has not been given yet, and what they cost.
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    unflushed: bool,
    /// Since when it is behind and has taken nothing.
    stalled_since: Option<Instant>,
    /// Since when it is known to have hung up, while nobody read it.
    hung_up_since: Option<Instant>,
    /// How much the next read may bring.
    appetite: usize,
    life: Life,
    /// Nothing more comes.
    pub ended: bool,
}

impl Half {
    pub fn new(leg: Leg) -> Self {
        let Leg {
            io,
            transport,
            input,
            ..
        } = leg;
        let mut life = Life::default();
        // What was sent before may still be on its way.
        life.sent();
        Self {
            io,
            transport,
            input,
            pending: VecDeque::new(),
            pending_bytes: 0,
            unflushed: false,
            stalled_since: None,
            hung_up_since: None,
            appetite: READ_AT_LEAST,
            life,
            ended: false,
        }
    }

    pub fn is_openssh(&self) -> bool {
        let ident = self.transport.peer_ident();
        ident.is_some_and(|ident| ident.starts_with("SSH-2.0-OpenSSH"))
    }

    pub fn queue(&mut self, payload: Bytes) -> Result<(), Deaf> {
        if self.pending.len() >= MAX_PENDING || self.pending_bytes >= MAX_PENDING_BYTES {
            return Err(Deaf::Full);
        }
        self.pending_bytes += payload.len() + MESSAGE;
        self.pending.push_back(payload);
        Ok(())
    }

    /// Seals as much as should be sealed now.
    pub fn fill(&mut self) -> Result<(), TransportError> {
        while self.transport.backlog() < BEHIND {
            let Some(payload) = self.pending.pop_front() else {
                break;
            };
            self.pending_bytes = self.pending_bytes.saturating_sub(payload.len() + MESSAGE);
            self.transport.send(&payload)?;
        }
        Ok(())
    }

    /// So much waits for this leg that nothing should be read that adds to it.
    pub fn is_behind(&self) -> bool {
        self.waiting() >= BEHIND
    }

    /// So much waits for this leg that it should not be read, either: what it says is answered.
    pub fn is_far_behind(&self) -> bool {
        self.waiting() >= FAR_BEHIND
    }

    fn waiting(&self) -> usize {
        self.pending_bytes + self.transport.backlog()
    }

    /// By when it has to take something of what waits for it. An error: it has not.
    pub fn patience(&mut self, now: Instant, most: Duration) -> Result<Option<Instant>, Deaf> {
        if !self.is_behind() {
            self.stalled_since = None;
            return Ok(None);
        }
        let since = *self.stalled_since.get_or_insert(now);
        match since.checked_add(most) {
            Some(until) if until <= now => Err(Deaf::Stalled(most)),
            until => Ok(until),
        }
    }

    /// When to look again whether the peer acknowledges anything. An error: it has vanished.
    pub fn is_there(&mut self, now: Instant, most: Duration) -> Result<Option<Instant>, Vanished> {
        self.life.look(&*self.io, now, most)
    }

    /// Since when the peer is known to have hung up. For a leg that is not read: reading tells it by itself.
    pub fn hung_up(&mut self, now: Instant) -> Option<Instant> {
        if self.hung_up_since.is_none() && self.io.is_hung_up() {
            self.hung_up_since = Some(now);
        }
        self.hung_up_since
    }

    /// Its key exchange has to go on before anything else can: it is read whatever happens, because the other
    /// leg may be waiting for it in turn.
    pub fn waits_for_keys(&mut self) -> bool {
        let sealed = self.transport.output().len();
        self.transport.backlog() > sealed
    }

    /// The next thing that the peer said.
    pub fn event(&mut self, now: Instant) -> Result<Option<Event>, TransportError> {
        let event = self.transport.receive(&mut self.input, now)?;
        if event.is_none() && self.input.is_empty() && self.appetite == READ_AT_LEAST {
            self.input = BytesMut::new();
        }
        Ok(event)
    }

    /// Writes what can be written and reads what can be read. True: something has happened. Reading that fails
    /// is an end of the leg like any other.
    pub fn step(&mut self, may_read: bool, cx: &mut Context<'_>) -> io::Result<bool> {
        let wrote = self.write(cx)?;
        if !may_read || self.ended {
            return Ok(wrote);
        }
        self.input.reserve(self.appetite);
        let read = pin!(self.io.read_buf(&mut self.input)).poll(cx);
        match read {
            Poll::Pending => Ok(wrote),
            Poll::Ready(Ok(n)) => {
                self.ended = n == 0;
                self.appetite = match n >= self.appetite {
                    true => (self.appetite * 2).min(READ_AT_MOST),
                    false if n < self.appetite / 4 => (self.appetite / 2).max(READ_AT_LEAST),
                    false => self.appetite,
                };
                Ok(true)
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "reading failed");
                self.ended = true;
                Ok(true)
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        while !self.transport.output().is_empty() {
            let output = self.transport.output();
            match Pin::new(&mut *self.io).poll_write(cx, output) {
                Poll::Pending => return Ok(wrote),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => {
                    output.advance(n);
                    wrote = true;
                    self.stalled_since = None;
                    self.unflushed = true;
                    self.life.sent();
                }
            }
        }
        if self.unflushed && Pin::new(&mut *self.io).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(wrote)
    }

    /// Writes everything that waits, as far as the transport takes it: what stands behind a key exchange is not
    /// owed to anybody any more. Bounded by its caller.
    pub async fn drain(&mut self) -> io::Result<()> {
        loop {
            let before = self.pending.len();
            let filled = self.fill().is_ok();
            std::future::poll_fn(|cx| match self.write(cx) {
                Err(error) => Poll::Ready(Err(error)),
                Ok(_) if self.transport.output().is_empty() && !self.unflushed => {
                    Poll::Ready(Ok(()))
                }
                Ok(_) => Poll::Pending,
            })
            .await?;
            if !filled || self.pending.is_empty() || self.pending.len() == before {
                return Ok(());
            }
        }
    }

    /// Says goodbye behind what waits, as far as the transport takes that.
    pub async fn farewell(&mut self, reason: u32, text: &str) {
        if self.drain().await.is_err() {
            return;
        }
        self.transport.disconnect(reason, text);
        if self.drain().await.is_ok() {
            let shutdown = std::future::poll_fn(|cx| Pin::new(&mut *self.io).poll_shutdown(cx));
            shutdown.await.ok();
        }
    }
}

/// A host that makes new keys proves itself again, with the key that was accepted at the start.
pub(super) fn proves_itself_again(offered: &OfferedHostKey) -> bool {
    let verified = || {
        let algorithm = ssh_keys::signature_algorithm(&offered.algorithm)?;
        let key = match algorithm == offered.algorithm {
            true => ssh_keys::PublicKey::from_blob(&offered.key_blob).ok()?,
            false => {
                let certificate = ssh_keys::Certificate::from_blob(&offered.key_blob).ok()?;
                certificate.key().clone()
            }
        };
        key.verify(algorithm, &offered.exchange_hash, &offered.signature)
            .ok()
    };
    offered.rekey && verified().is_some()
}
