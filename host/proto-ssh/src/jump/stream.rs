//! A channel of a connection as a stream for another one inside it.
//!
//! Two ends share a buffer for each direction. What comes from the channel is bounded by the window that was
//! given for it; what goes out waits until the channel's window lets it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use net::OnTheWay;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::leg::Stream;

/// Bytes that may wait to go out into the channel.
const MAX_OUTBOUND: usize = 128 << 10;

#[derive(Default)]
struct Pipe {
    inbound: BytesMut,
    /// Nothing more comes in.
    inbound_over: bool,
    /// Taken out of `inbound`, not credited to the peer yet.
    taken: u32,
    outbound: BytesMut,
    /// Nothing more goes out.
    outbound_over: bool,
    /// The channel is closed: whoever writes is told.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

/// The end that an SSH connection runs over.
pub(super) struct ChannelStream {
    pipe: Arc<Mutex<Pipe>>,
    progress: Arc<Notify>,
}

/// The end at the channel.
pub(super) struct ChannelEnd {
    pipe: Arc<Mutex<Pipe>>,
}

/// `progress` is told when the stream has taken or given something.
pub(super) fn pair(progress: Arc<Notify>) -> (ChannelEnd, ChannelStream) {
    let pipe = Arc::new(Mutex::new(Pipe::default()));
    let end = ChannelEnd { pipe: pipe.clone() };
    (end, ChannelStream { pipe, progress })
}

impl ChannelEnd {
    /// From the channel. The caller has checked it against the window.
    pub fn push(&self, data: &[u8]) {
        let mut pipe = self.pipe.lock();
        if pipe.gone {
            // Nobody reads it; the window says how much of this there can be.
            return;
        }
        pipe.inbound.extend_from_slice(data);
        pipe.wake_reader();
    }

    /// The peer sends nothing more.
    pub fn end(&self) {
        let mut pipe = self.pipe.lock();
        pipe.inbound_over = true;
        pipe.wake_reader();
    }

    /// What was taken since, if it is worth a message or nothing else is there.
    pub fn credit(&self, window: u32) -> u32 {
        let mut pipe = self.pipe.lock();
        if pipe.taken < window / 2 {
            return 0;
        }
        std::mem::take(&mut pipe.taken)
    }

    /// At most so many bytes for the channel.
    pub fn pull(&self, max: usize) -> Option<Bytes> {
        let mut pipe = self.pipe.lock();
        let n = pipe.outbound.len().min(max);
        if n == 0 {
            return None;
        }
        let data = pipe.outbound.split_to(n).freeze();
        pipe.wake_writer();
        Some(data)
    }

    /// The stream has ended, and all of it was pulled.
    pub fn is_over(&self) -> bool {
        let pipe = self.pipe.lock();
        pipe.outbound_over && pipe.outbound.is_empty()
    }
}

impl Drop for ChannelEnd {
    fn drop(&mut self) {
        let mut pipe = self.pipe.lock();
        pipe.gone = true;
        pipe.inbound_over = true;
        pipe.wake_reader();
        pipe.wake_writer();
    }
}

impl Stream for ChannelStream {
    fn is_hung_up(&self) -> bool {
        self.pipe.lock().inbound_over
    }

    /// Who has vanished is noticed by the connection that this is a channel of.
    fn on_the_way(&self) -> Option<OnTheWay> {
        None
    }
}

impl AsyncRead for ChannelStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.pipe.lock();
        if pipe.inbound.is_empty() {
            if pipe.inbound_over {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = pipe.inbound.len().min(buf.remaining());
        if let Some(data) = pipe.inbound.get(..n) {
            buf.put_slice(data);
        }
        pipe.inbound.advance(n);
        pipe.taken = pipe
            .taken
            .saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        drop(pipe);
        self.progress.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ChannelStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.pipe.lock();
        if pipe.gone || pipe.outbound_over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = MAX_OUTBOUND.saturating_sub(pipe.outbound.len());
        let n = room.min(data.len());
        if n == 0 && !data.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.outbound
            .extend_from_slice(data.get(..n).unwrap_or_default());
        drop(pipe);
        self.progress.notify_one();
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.lock().outbound_over = true;
        self.progress.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl Drop for ChannelStream {
    fn drop(&mut self) {
        let mut pipe = self.pipe.lock();
        pipe.outbound_over = true;
        pipe.gone = true;
        pipe.inbound.clear();
        drop(pipe);
        self.progress.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn both_directions_carry_bytes_within_bounds() {
        let progress = Arc::new(Notify::new());
        let (end, mut stream) = pair(progress.clone());
        end.push(b"hello");
        let mut got = [0; 5];
        stream.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
        assert_eq!(end.credit(100), 0, "not worth a message yet");
        assert_eq!(end.credit(10), 5);
        assert_eq!(end.credit(0), 0);

        // A writer waits when nobody pulls.
        let big = vec![7; MAX_OUTBOUND + 1];
        let mut writing = Box::pin(stream.write_all(&big));
        tokio::select! {
            biased;
            done = &mut writing => panic!("more than the bound was taken: {done:?}"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(end.pull(10).map(|b| b.len()), Some(10));
        writing.await.unwrap();
        let mut pulled = 10;
        while let Some(data) = end.pull(1 << 15) {
            pulled += data.len();
        }
        assert_eq!(pulled, big.len());
        assert!(!end.is_over());
        stream.shutdown().await.unwrap();
        assert!(end.is_over());
        end.end();
        assert_eq!(stream.read(&mut got).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn each_end_learns_that_the_other_is_gone() {
        let progress = Arc::new(Notify::new());
        let (end, mut stream) = pair(progress.clone());
        drop(end);
        assert_eq!(stream.read(&mut [0; 4]).await.unwrap(), 0);
        assert!(stream.write_all(b"x").await.is_err());

        let (end, mut stream) = pair(progress.clone());
        stream.write_all(b"last").await.unwrap();
        drop(stream);
        assert!(!end.is_over(), "what was written is still to be pulled");
        assert_eq!(end.pull(100).as_deref(), Some(&b"last"[..]));
        assert!(end.is_over());
        // What still comes is let go.
        end.push(&[0; 100]);
    }
}
