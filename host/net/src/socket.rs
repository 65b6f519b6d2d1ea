//! Options of one TCP socket, and dialling an upstream.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

/// No more addresses of one name than this are tried.
const MAX_ADDRESSES: usize = 8;

/// What is set on every socket of a leg.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// Small messages go out at once: every request is waited for.
    pub nodelay: bool,
    /// Notices a peer that is gone, and keeps NAT entries alive.
    pub keepalive: Option<Keepalive>,
    /// How long sent data may stay unacknowledged (Linux; elsewhere ignored).
    pub user_timeout: Option<Duration>,
    /// So many bytes may wait here to be sent, before whoever writes has to wait (Linux; elsewhere ignored).
    pub unsent: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
pub struct Keepalive {
    pub idle: Duration,
    pub interval: Duration,
    pub retries: u32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(60),
                interval: Duration::from_secs(15),
                retries: 4,
            }),
            user_timeout: None,
            unsent: None,
        }
    }
}

impl SocketOptions {
    /// Sets the options on a connected socket.
    pub fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(self.nodelay)?;
        let socket = SockRef::from(stream);
        if let Some(k) = self.keepalive {
            let wanted = TcpKeepalive::new()
                .with_time(k.idle)
                .with_interval(k.interval);
            #[cfg(not(windows))]
            let wanted = wanted.with_retries(k.retries);
            socket.set_tcp_keepalive(&wanted)?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(unsent) = self.unsent {
            socket.set_tcp_notsent_lowat(unsent)?;
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("cannot resolve {host:?}")]
    Resolve { host: String, source: io::Error },
    #[error("{host:?} resolves to no address")]
    NoAddress { host: String },
    #[error("{host}:{port} did not answer within {after:?}")]
    Timeout {
        host: String,
        port: u16,
        after: Duration,
    },
    #[error("cannot connect to {host}:{port}")]
    Connect {
        host: String,
        port: u16,
        source: io::Error,
    },
}

/// Connects to an upstream. The timeout covers resolving and every address that is tried, one after
/// the other; the error is that of the last one.
pub async fn connect(
    host: &str,
    port: u16,
    timeout: Duration,
    options: &SocketOptions,
) -> Result<TcpStream, DialError> {
    let deadline = Instant::now() + timeout;
    let late = || DialError::Timeout {
        host: host.to_owned(),
        port,
        after: timeout,
    };
    let failed = |source| DialError::Connect {
        host: host.to_owned(),
        port,
        source,
    };

    // A name in a configuration may be written as in a URL: [::1].
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    let addresses: Vec<SocketAddr> = timeout_at(deadline, lookup_host((bare, port)))
        .await
        .map_err(|_| late())?
        .map_err(|source| DialError::Resolve {
            host: host.to_owned(),
            source,
        })?
        .take(MAX_ADDRESSES)
        .collect();

    let mut last = None;
    for address in addresses {
        match timeout_at(deadline, TcpStream::connect(address))
            .await
            .map_err(|_| late())?
        {
            Ok(stream) => {
                options.apply(&stream).map_err(failed)?;
                return Ok(stream);
            }
            Err(e) => last = Some(e),
        }
    }
    Err(match last {
        Some(e) => failed(e),
        None => DialError::NoAddress {
            host: host.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn dials_by_name_and_sets_options() {
        let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = l.local_addr().unwrap().port();
        let options = SocketOptions {
            user_timeout: Some(Duration::from_secs(7)),
            unsent: Some(4_096),
            ..SocketOptions::default()
        };
        for host in ["127.0.0.1", "localhost"] {
            let s = connect(host, port, Duration::from_secs(5), &options)
                .await
                .unwrap();
            assert!(s.nodelay().unwrap());
            let socket = SockRef::from(&s);
            assert!(socket.keepalive().unwrap());
            assert_eq!(
                socket.tcp_keepalive_time().unwrap(),
                Duration::from_secs(60)
            );
            #[cfg(target_os = "linux")]
            assert_eq!(
                socket.tcp_user_timeout().unwrap(),
                Some(Duration::from_secs(7))
            );
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_notsent_lowat().unwrap(), 4_096);
        }
    }

    #[tokio::test]
    async fn says_what_failed() {
        let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = l.local_addr().unwrap().port();
        drop(l);
        let options = SocketOptions::default();
        let e = connect("127.0.0.1", port, Duration::from_secs(5), &options)
            .await
            .unwrap_err();
        assert!(matches!(e, DialError::Connect { .. }), "{e:?}");
        let e = connect("no-such-host.invalid", 1, Duration::from_secs(20), &options)
            .await
            .unwrap_err();
        assert!(
            matches!(e, DialError::Resolve { .. } | DialError::NoAddress { .. }),
            "{e:?}"
        );
        let e = connect("127.0.0.1", port, Duration::ZERO, &options)
            .await
            .unwrap_err();
        assert!(
            matches!(e, DialError::Timeout { .. } | DialError::Connect { .. }),
            "{e:?}"
        );
    }
}
