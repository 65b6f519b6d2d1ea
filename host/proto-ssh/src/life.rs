//! Whether a peer acknowledges anything of what is sent to it. One that has vanished does not; one that is there and
//! reads nothing does, and is none of this.

use std::time::{Duration, Instant};

use crate::leg::Stream;

/// How long a peer may acknowledge nothing while the system tries to reach it.
pub(crate) const MAX_SILENCE: Duration = Duration::from_secs(300);
/// How often that is looked at, while something is on its way.
const LOOK: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer has acknowledged nothing for {} s", .0.as_secs())]
pub(crate) struct Vanished(Duration);

/// Of one peer.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Something was sent since the last look.
    sent: bool,
    next: Option<Instant>,
    /// Nobody says.
    blind: bool,
}

impl Life {
    pub fn sent(&mut self) {
        self.sent = true;
    }

    /// Looks, if it is time to; and when it is time again.
    pub fn look(
        &mut self,
        io: &dyn Stream,
        now: Instant,
        most: Duration,
    ) -> Result<Option<Instant>, Vanished> {
        let pause = LOOK.min(most / 4);
        match self.next {
            _ if self.blind => {}
            None if !self.sent => {}
            None => self.next = Some(now + pause),
            Some(at) if at > now => {}
            Some(_) => {
                self.sent = false;
                let way = io.on_the_way();
                if way.is_some_and(|way| way.is_lost(most)) {
                    return Err(Vanished(most));
                }
                self.blind = way.is_none();
                self.next = way.filter(|way| way.bytes > 0).map(|_| now + pause);
            }
        }
        Ok(self.next)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Poll};

    use net::OnTheWay;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::*;

    /// What is said of a peer, and how often it was asked for.
    struct Said {
        way: Option<OnTheWay>,
        asked: AtomicU32,
    }

    impl Stream for Said {
        fn is_hung_up(&self) -> bool {
            false
        }

        fn on_the_way(&self) -> Option<OnTheWay> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.way
        }
    }

    impl AsyncRead for Said {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Said {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<std::io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            Poll::Pending
        }
    }

    /// Ten minutes in which something is sent at the beginning: how often it was looked, and when it was over.
    fn minutes(way: Option<OnTheWay>) -> (u32, Option<Duration>) {
        let asked = AtomicU32::new(0);
        let io = Said { way, asked };
        let begun = Instant::now();
        let mut life = Life::default();
        assert_eq!(
            life.look(&io, begun, MAX_SILENCE),
            Ok(None),
            "nothing is sent"
        );
        life.sent();
        let mut over = None;
        for second in 0..600 {
            let after = Duration::from_secs(second);
            match life.look(&io, begun + after, MAX_SILENCE) {
                Ok(next) => assert!(next.is_none_or(|at| at > begun + after)),
                Err(_) => {
                    over = Some(after);
                    break;
                }
            }
        }
        (io.asked.load(Ordering::Relaxed), over)
    }

    #[test]
    fn only_what_is_on_its_way_is_looked_at() {
        let way = |bytes, unanswered, silent| {
            Some(OnTheWay {
                bytes,
                unanswered,
                silent: Duration::from_secs(silent),
            })
        };
        let first = Some(LOOK);
        for (said, expect) in [
            // It has arrived; nobody says.
            (way(0, 0, 9_999), (1, None)),
            (None, (1, None)),
            // It has vanished.
            (way(1, 9, 300), (1, first)),
            // It is not given up yet; it does not read, and answers when it is asked.
            (way(1, 9, 299), (19, None)),
            (way(1, 0, 9_999), (19, None)),
            (way(1, 2, 240), (19, None)),
        ] {
            assert_eq!(minutes(said), expect, "{said:?}");
        }
    }
}
