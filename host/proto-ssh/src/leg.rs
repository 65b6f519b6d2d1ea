//! One side of a connection with its socket: bytes between a stream and a [`Transport`].

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use futures::FutureExt;
use net::OnTheWay;
use ssh_keys::{Certificate, PublicKey, signature_algorithm};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::life::{Life, MAX_SILENCE, Vanished};
use crate::transport::{Event, OfferedHostKey, Transport, TransportError};

/// TCP, or a channel of another connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Has the peer hung up? Seen even while what it has sent before is not read.
    fn is_hung_up(&self) -> bool;

    /// What is on its way to the peer. None: nobody says.
    fn on_the_way(&self) -> Option<OnTheWay>;
}

impl Stream for TcpStream {
    fn is_hung_up(&self) -> bool {
        let ready = self.ready(Interest::READABLE).now_or_never();
        matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
    }

    fn on_the_way(&self) -> Option<OnTheWay> {
        let way = net::on_the_way(self);
        way.inspect_err(|error| tracing::debug!(%error, "nobody says what a peer acknowledges"))
            .ok()
    }
}

/// In memory, for tests.
#[cfg(test)]
impl Stream for tokio::io::DuplexStream {
    fn is_hung_up(&self) -> bool {
        false
    }

    fn on_the_way(&self) -> Option<OnTheWay> {
        None
    }
}

/// Bytes that are read at once: a few packets of the usual size.
const READ_AT_ONCE: usize = 64 << 10;
/// From strangers: what answers it fits into what may wait for them.
const READ_FROM_STRANGERS: usize = 16 << 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LegError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("reading or writing failed: {0}")]
    Io(#[from] io::Error),
    #[error("the peer closed the connection")]
    Closed,
    #[error(transparent)]
    Vanished(#[from] Vanished),
}

/// What a turn of a leg brought.
#[derive(Debug)]
pub(crate) enum Turn {
    Event(Event),
    /// All that was to be sent is with the system.
    Sent,
}

/// A stream, the state of SSH on it, and what was read but not understood yet: less than a packet and one read.
pub(crate) struct Leg {
    pub io: Box<dyn Stream>,
    pub transport: Transport,
    pub input: BytesMut,
    pub life: Life,
}

impl Leg {
    pub fn new(io: Box<dyn Stream>, transport: Transport) -> Self {
        Self {
            io,
            transport,
            input: BytesMut::new(),
            life: Life::default(),
        }
    }

    /// The next event; what is to be sent is sent meanwhile. Cancel safe.
    pub async fn recv(&mut self) -> Result<Event, LegError> {
        loop {
            if let Turn::Event(event) = self.turn().await? {
                return Ok(event);
            }
        }
    }

    /// The next event, or the end of sending if there was something to send. Cancel safe.
    pub async fn turn(&mut self) -> Result<Turn, LegError> {
        loop {
            let now = Instant::now();
            match self.transport.receive(&mut self.input, now)? {
                Some(Event::HostKey(offered)) if offered.rekey => {
                    rekeyed(&mut self.transport, &offered)?;
                    continue;
                }
                Some(event) => return Ok(Turn::Event(event)),
                None => {}
            }
            if !self.transport.output().is_empty() {
                self.life.sent();
            }
            let look = self.life.look(&*self.io, now, MAX_SILENCE)?;
            let deadline = self.transport.deadline().into_iter().chain(look).min();
            let late = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let most = match self.transport.is_stranger() {
                true => READ_FROM_STRANGERS,
                false => READ_AT_ONCE,
            };
            let Self {
                io,
                transport,
                input,
                ..
            } = self;
            let moved = poll_fn(|cx| step(io, transport, input, most, cx));
            tokio::select! {
                moved = moved => match moved? {
                    Moved::Read => {}
                    Moved::Sent => return Ok(Turn::Sent),
                    Moved::End => return Err(LegError::Closed),
                },
                () = late => transport.tick(Instant::now())?,
            }
        }
    }

    /// Sends all that is to be sent. Reads nothing. Cancel safe.
    pub async fn flush(&mut self) -> Result<(), LegError> {
        if !self.transport.output().is_empty() {
            self.life.sent();
        }
        let Self { io, transport, .. } = self;
        poll_fn(|cx| {
            let output = transport.output();
            while !output.is_empty() {
                match write(io, output, cx) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => return Poll::Pending,
                }
            }
            Pin::new(&mut **io).poll_flush(cx)
        })
        .await?;
        Ok(())
    }
}

/// A host has made new keys with us. Its host key is the one that was accepted; that it has it, it proves again.
pub(crate) fn rekeyed(
    transport: &mut Transport,
    offered: &OfferedHostKey,
) -> Result<(), TransportError> {
    let proved = proves(offered);
    transport.answer_host_key(proved)?;
    match proved {
        true => Ok(()),
        false => Err(TransportError::HostKeyRefused),
    }
}

fn proves(offered: &OfferedHostKey) -> bool {
    let Some(plain) = signature_algorithm(&offered.algorithm) else {
        return false;
    };
    let key = match plain == offered.algorithm {
        true => PublicKey::from_blob(&offered.key_blob).ok(),
        false => Certificate::from_blob(&offered.key_blob)
            .ok()
            .map(|c| c.key().clone()),
    };
    key.is_some_and(|key| {
        key.verify(plain, &offered.exchange_hash, &offered.signature)
            .is_ok()
    })
}

enum Moved {
    Read,
    Sent,
    End,
}

/// Writes what can be written, then reads what can be read, unless the peer leaves too much unread itself.
fn step(
    io: &mut Box<dyn Stream>,
    transport: &mut Transport,
    input: &mut BytesMut,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Moved>> {
    let output = transport.output();
    if !output.is_empty() {
        while !output.is_empty() {
            match write(io, output, cx) {
                Poll::Ready(written) => written?,
                Poll::Pending => break,
            }
        }
        if output.is_empty() {
            // A stream that is not flushed yet is so by its next turn; TCP always is.
            let _ = Pin::new(&mut **io).poll_flush(cx)?;
            return Poll::Ready(Ok(Moved::Sent));
        }
    }
    if transport.is_behind() {
        // Writing has woken up for more; until then the deadline of whoever waits here counts.
        return Poll::Pending;
    }
    let mut space = [MaybeUninit::<u8>::uninit(); READ_AT_ONCE];
    let mut read = ReadBuf::uninit(space.get_mut(..most).unwrap_or_default());
    match Pin::new(&mut **io).poll_read(cx, &mut read) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
        Poll::Ready(Ok(())) if read.filled().is_empty() => Poll::Ready(Ok(Moved::End)),
        Poll::Ready(Ok(())) => {
            input.extend_from_slice(read.filled());
            Poll::Ready(Ok(Moved::Read))
        }
    }
}

fn write(
    io: &mut Box<dyn Stream>,
    output: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    match Pin::new(&mut **io).poll_write(cx, output) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
        Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        Poll::Ready(Ok(n)) => {
            output.advance(n);
            Poll::Ready(Ok(()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::startup::HostIdentity;
    use crate::testing::ports::Keys;
    use crate::transport::{ClientConfig, MAX_STRANGE_BACKLOG, ServerConfig};
    use crate::wire::numbers as n;

    #[tokio::test]
    async fn a_stranger_that_does_not_read_costs_little_and_is_not_read() {
        let (near, far) = tokio::io::duplex(4_096);
        let config = ServerConfig::new(Keys::new().host_keys(None));
        let mut server = Leg::new(Box::new(near), Transport::server(Arc::new(config)));
        let config = ClientConfig::new(vec!["ssh-ed25519".into()]);
        let mut client = Leg::new(Box::new(far), Transport::client(Arc::new(config)));
        let meet = async {
            assert!(matches!(server.recv().await, Ok(Event::Ready)));
        };
        let greet = async {
            loop {
                match client.recv().await.unwrap() {
                    Event::HostKey(_) => client.transport.answer_host_key(true).unwrap(),
                    Event::Ready => break,
                    other => panic!("{other:?}"),
                }
            }
            client.flush().await.unwrap();
        };
        tokio::join!(meet, greet);
        let flood = async {
            for sent in 0..100_000 {
                client.transport.send(&[n::PING, 0, 0, 0, 0]).unwrap();
                let flushed = tokio::time::timeout(Duration::from_millis(300), client.flush());
                if flushed.await.is_err() {
                    return sent;
                }
            }
            panic!("all of it was read");
        };
        let listen = tokio::time::timeout(Duration::from_secs(2), server.recv());
        let (sent, heard) = tokio::join!(flood, listen);
        assert!(heard.is_err(), "{heard:?}");
        assert!(sent > 100);
        assert!(server.transport.backlog() <= MAX_STRANGE_BACKLOG);
        assert!(server.transport.is_behind());
        assert!(server.input.len() <= READ_FROM_STRANGERS);
    }
}
