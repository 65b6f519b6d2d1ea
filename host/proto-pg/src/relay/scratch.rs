//! Reading without a buffer of one's own: an idle session holds none.
//!
//! Most sessions wait most of the time. What they will read next goes into memory of the thread that is
//! there when it comes, and only as much as has come is kept.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

/// What is read at most at once.
pub(super) const SCRATCH: usize = 16 << 10;

thread_local! {
    static ROOM: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Appends what there is to read; zero is the end. Cancel safe.
pub(super) async fn read(
    mut io: impl AsyncRead + Unpin,
    into: &mut BytesMut,
) -> std::io::Result<usize> {
    std::future::poll_fn(|cx| poll(Pin::new(&mut io), cx, into)).await
}

fn poll(
    io: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    into: &mut BytesMut,
) -> Poll<std::io::Result<usize>> {
    let room = ROOM.take();
    let mut room = room.unwrap_or_else(|| vec![0; SCRATCH].into_boxed_slice());
    let mut read = ReadBuf::new(&mut room);
    let result = io.poll_read(cx, &mut read);
    let filled = read.filled().len();
    if matches!(result, Poll::Ready(Ok(()))) {
        into.extend_from_slice(read.filled());
    }
    // Nothing of this session stays for the next one.
    if let Some(used) = room.get_mut(..filled) {
        used.fill(0);
    }
    ROOM.set(Some(room));
    ready!(result)?;
    Poll::Ready(Ok(filled))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn what_comes_is_appended_and_nothing_is_held_meanwhile() {
        let (mut there, mut here) = tokio::io::duplex(64 << 10);
        let mut buf = BytesMut::new();
        let waiting = tokio::time::timeout(
            std::time::Duration::from_millis(10),
            read(&mut here, &mut buf),
        );
        assert!(waiting.await.is_err());
        assert_eq!(buf.capacity(), 0);
        for part in [&b"abc"[..], b"de", &[7; SCRATCH + 5]] {
            there.write_all(part).await.unwrap();
            let before = buf.len();
            let n = read(&mut here, &mut buf).await.unwrap();
            assert_eq!(n, part.len().min(SCRATCH));
            assert_eq!(&buf[before..], &part[..n]);
        }
        assert_eq!(read(&mut here, &mut buf).await.unwrap(), 5);
        drop(there);
        assert_eq!(read(&mut here, &mut buf).await.unwrap(), 0);
        assert!(ROOM.take().is_none_or(|room| room.iter().all(|b| *b == 0)));
    }
}
