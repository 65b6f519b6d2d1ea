//! Whether a peer still acknowledges what was sent to it. A peer that has vanished with something on its way is given
//! up by Linux after a quarter of an hour, and `TCP_USER_TIMEOUT` would also give up one that is there and has no room.
//! So we ask what the system knows: sock_diag(7), of this one connection.

#[cfg(target_os = "linux")]
mod diag;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

/// What the system knows of what is on its way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnTheWay {
    /// Bytes that are not acknowledged, or wait until the peer has room.
    pub bytes: u32,
    /// How often in a row nothing came back: of what was sent again, or when the peer was asked for room.
    pub unanswered: u8,
    /// When anything was acknowledged last. A peer that has no room acknowledges that it is asked for some.
    pub silent: Duration,
}

impl OnTheWay {
    /// So often is nothing answered in a row before it means something.
    const UNANSWERED: u8 = 3;

    /// The system tries in vain to reach the peer, and has heard nothing for so long. Where there was no room for long,
    /// it tries every two minutes.
    pub fn is_lost(&self, most: Duration) -> bool {
        self.bytes > 0 && self.unanswered >= Self::UNANSWERED && self.silent >= most
    }
}

/// What is on its way to the peer of this connection. An error: this system does not say.
pub fn on_the_way(stream: &TcpStream) -> io::Result<OnTheWay> {
    diag::ask(plain(stream.local_addr()?), plain(stream.peer_addr()?))
}

/// An IPv4 peer is one, on a socket of either kind.
fn plain(at: SocketAddr) -> SocketAddr {
    match at.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, at.port()),
        IpAddr::V6(_) => at,
    }
}

/// Other systems are not asked.
#[cfg(not(target_os = "linux"))]
mod diag {
    pub fn ask(_: super::SocketAddr, _: super::SocketAddr) -> super::io::Result<super::OnTheWay> {
        Err(super::io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::time::Instant;

    use socket2::{SockFilter, SockRef};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    async fn pair(at: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(at).await.unwrap();
        let to = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(to, listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    /// None: this system has no sock_diag.
    async fn pairs() -> Option<Vec<(TcpStream, TcpStream)>> {
        let mut all = vec![pair("127.0.0.1:0").await];
        for at in ["[::1]:0", "[::]:0"] {
            if TcpListener::bind(at).await.is_ok() {
                all.push(pair(at).await);
            }
        }
        if let Err(error) = on_the_way(&all[0].0) {
            eprintln!("skipped: {error}");
            return None;
        }
        Some(all)
    }

    /// From here on nothing reaches this socket: its peer has vanished.
    fn vanish(socket: &TcpStream) {
        const BPF_RET: u16 = 6;
        let drop_all = [SockFilter::new(BPF_RET, 0, 0, 0)];
        SockRef::from(socket).attach_filter(&drop_all).unwrap();
    }

    async fn until(stream: &TcpStream, what: impl Fn(&OnTheWay) -> bool) -> OnTheWay {
        let begun = Instant::now();
        loop {
            let now = on_the_way(stream).unwrap();
            if what(&now) {
                return now;
            }
            assert!(begun.elapsed() < SOON, "{now:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[tokio::test]
    async fn who_has_vanished_acknowledges_nothing() {
        let Some(pairs) = pairs().await else { return };
        for (mut near, far) in pairs {
            near.write_all(b"read").await.unwrap();
            let there = until(&near, |now| now.bytes == 0).await;
            assert!(!there.is_lost(Duration::ZERO), "{there:?}");
            vanish(&far);
            near.write_all(b"lost").await.unwrap();
            let most = Duration::from_secs(1);
            let lost = until(&near, |now| now.is_lost(most)).await;
            assert_eq!(lost.bytes, 4);
            assert!(!lost.is_lost(Duration::from_secs(60)));
            drop(far);
        }
    }

    /// It has no room, and says so whenever it is asked.
    #[tokio::test]
    async fn who_does_not_read_is_there() {
        let Some(pairs) = pairs().await else { return };
        for (mut near, far) in pairs {
            let fill = async {
                loop {
                    near.write_all(&[0; 64 << 10]).await.unwrap();
                }
            };
            let full = tokio::time::timeout(Duration::from_secs(2), fill).await;
            assert!(full.is_err());
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(2) {
                let now = on_the_way(&near).unwrap();
                assert!(
                    now.bytes > 0 && now.unanswered < OnTheWay::UNANSWERED,
                    "{now:?}"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            drop(far);
        }
    }
}
