//! A stream whose peer must read what it is sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Fails when what is written is not all taken within the given time. A trickle does not help: the
/// time runs from the first byte that had to wait until everything is out.
pub(super) struct Paced<S> {
    inner: S,
    patience: Duration,
    /// Set while something waits to be written.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, patience: Duration) -> Self {
        Self {
            inner,
            patience,
            until: None,
        }
    }

    /// Ready with an error once the time is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        match &mut self.until {
            None => Poll::Pending,
            Some(until) => until.as_mut().poll(cx).map(|()| {
                io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its answer")
            }),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(over) = self.poll_over(cx) {
            return Poll::Ready(Err(over));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        if written.is_pending() && self.until.is_none() {
            self.until = Some(Box::pin(tokio::time::sleep(self.patience)));
            if let Poll::Ready(over) = self.poll_over(cx) {
                return Poll::Ready(Err(over));
            }
        }
        written
    }

    /// Whoever writes flushes when it has nothing more to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(over) = self.poll_over(cx) {
            return Poll::Ready(Err(over));
        }
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.until = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(over) = self.poll_over(cx) {
            return Poll::Ready(Err(over));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn who_reads_slowly_enough_is_cut() {
        // How many bytes the peer takes every 50 ms, and whether it gets everything.
        for (taken, complete) in [(0, false), (1, false), (400, true)] {
            let (ours, mut theirs) = tokio::io::duplex(16);
            let mut ours = Paced::new(ours, PATIENCE);
            let begun = Instant::now();
            let peer = async {
                let mut buf = vec![0; taken];
                while taken > 0 && begun.elapsed() < 4 * PATIENCE {
                    if theirs.read(&mut buf).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    if complete && begun.elapsed() > PATIENCE {
                        return;
                    }
                }
                tokio::time::sleep(4 * PATIENCE).await;
            };
            let write = async {
                ours.write_all(&[7; 64]).await?;
                ours.flush().await
            };
            let written = tokio::select! {
                biased;
                written = write => written,
                () = peer => panic!("{taken}: the peer was not cut"),
            };
            assert_eq!(written.is_ok(), complete, "{taken}");
            assert!(begun.elapsed() < 3 * PATIENCE, "{taken}");
        }
    }

    /// The time is for one backlog, not for the connection.
    #[tokio::test]
    async fn a_reader_may_take_many_answers() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let mut ours = Paced::new(ours, PATIENCE);
        let mut buf = [0; 32];
        for _ in 0..3 {
            let (written, _) = tokio::join!(
                async {
                    ours.write_all(&[7; 32]).await?;
                    ours.flush().await
                },
                theirs.read_exact(&mut buf)
            );
            written.unwrap();
            tokio::time::sleep(PATIENCE / 2).await;
        }
    }
}
