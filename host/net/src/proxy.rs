//! PROXY protocol v1 and v2 (haproxy's `proxy-protocol.txt`): who is behind a load balancer.
//!
//! From a trusted address the header must be there, as the specification demands: whoever guesses
//! can be lied to. From any other address it is never read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::Peer;
use crate::listener::canonical;

/// The longest v1 line, CRLF included (specification 2.1).
pub const MAX_V1_HEADER: usize = 107;
/// The longest v2 body that we read. 216 bytes hold all addresses; the rest are extensions.
pub const MAX_V2_BODY: usize = 2048;
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

#[derive(Debug, Clone)]
pub struct ProxyProtocol {
    /// Proxies whose word is taken.
    pub trusted: Vec<IpNet>,
    /// Connections from elsewhere are closed. Otherwise they are served as they are.
    pub refuse_others: bool,
    /// The whole header must arrive within this.
    pub timeout: Duration,
}

impl ProxyProtocol {
    pub fn new(trusted: Vec<IpNet>) -> Self {
        Self {
            trusted,
            refuse_others: false,
            timeout: Duration::from_secs(3),
        }
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        // A dual-stack socket shows IPv4 clients as ::ffff:a.b.c.d.
        let ip = ip.to_canonical();
        self.trusted.iter().any(|net| net.contains(&ip))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error("not one of the trusted proxies")]
    NotTrusted,
    #[error("no complete header within {0:?}")]
    Timeout(Duration),
    #[error("connection lost inside the header")]
    Read(#[from] std::io::Error),
    #[error("no PROXY header where one must be")]
    NoHeader,
    #[error("malformed v1 header: {0}")]
    V1(&'static str),
    #[error("malformed v2 header: {0}")]
    V2(&'static str),
}

/// Reads the header if `from` is trusted; not a byte beyond it.
///
/// Not cancel safe: the stream is of no use after a timeout or error.
pub(crate) async fn identify<S: AsyncRead + Unpin>(
    options: &ProxyProtocol,
    stream: &mut S,
    from: SocketAddr,
    local: SocketAddr,
) -> Result<Peer, ProxyError> {
    if !options.trusts(from.ip()) {
        return if options.refuse_others {
            Err(ProxyError::NotTrusted)
        } else {
            Ok(Peer {
                source: from,
                local,
                via: None,
            })
        };
    }
    let told = tokio::time::timeout(options.timeout, read_header(stream))
        .await
        .map_err(|_| ProxyError::Timeout(options.timeout))??;
    Ok(match told {
        Some(source) => Peer {
            source: canonical(source),
            local,
            via: Some(from),
        },
        // The proxy speaks for itself: a health check.
        None => Peer {
            source: from,
            local,
            via: None,
        },
    })
}

async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<Option<SocketAddr>, ProxyError> {
    // No header of either version is shorter than this.
    let mut start = [0u8; 12];
    stream.read_exact(&mut start).await?;
    if start == V2_SIGNATURE {
        read_v2(stream).await
    } else if start.starts_with(b"PROXY ") {
        read_v1(stream, &start).await
    } else {
        Err(ProxyError::NoHeader)
    }
}

async fn read_v1<S: AsyncRead + Unpin>(
    stream: &mut S,
    start: &[u8],
) -> Result<Option<SocketAddr>, ProxyError> {
    let mut line = start.to_vec();
    // Byte by byte, because what comes after the line is not ours.
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_V1_HEADER {
            return Err(ProxyError::V1("line too long"));
        }
        line.push(stream.read_u8().await?);
    }
    parse_v1(&line)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`, or `PROXY UNKNOWN …\r\n`.
fn parse_v1(line: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let text = std::str::from_utf8(line).map_err(|_| ProxyError::V1("not ASCII"))?;
    let text = text
        .strip_suffix("\r\n")
        .ok_or(ProxyError::V1("no end of line"))?;
    let mut words = text.split(' ');
    if words.next() != Some("PROXY") {
        return Err(ProxyError::V1("does not start with PROXY"));
    }
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let [
        Some(source),
        Some(destination),
        Some(source_port),
        Some(destination_port),
        None,
    ] = [
        words.next(),
        words.next(),
        words.next(),
        words.next(),
        words.next(),
    ]
    else {
        return Err(ProxyError::V1("wrong number of words"));
    };
    let ip = |text: &str| -> Result<IpAddr, ProxyError> {
        match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
            Some("TCP6") => text.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
            _ => return Err(ProxyError::V1("unknown family")),
        }
        .ok_or(ProxyError::V1("not an address of this family"))
    };
    let source = SocketAddr::new(ip(source)?, port(source_port)?);
    ip(destination)?;
    port(destination_port)?;
    Ok(Some(source))
}

/// A port as the specification writes it: digits only, no leading zero.
fn port(text: &str) -> Result<u16, ProxyError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or(ProxyError::V1("not a port"))
}

async fn read_v2<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, ProxyError> {
    let version_command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_V2_BODY {
        return Err(ProxyError::V2("body too long"));
    }
    let mut body = vec![0u8; length];
    stream.read_exact(&mut body).await?;
    parse_v2(version_command, family, &body)
}

fn parse_v2(
    version_command: u8,
    family: u8,
    body: &[u8],
) -> Result<Option<SocketAddr>, ProxyError> {
    match version_command {
        // LOCAL: the addresses, if there are any, mean nothing.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(ProxyError::V2("unknown version or command")),
    }
    let short = ProxyError::V2("addresses cut off");
    match family {
        0x11 => {
            let Some(([a, b, c, d, _, _, _, _, p, q, _, _], _)) = body.split_first_chunk::<12>()
            else {
                return Err(short);
            };
            let ip = IpAddr::from([*a, *b, *c, *d]);
            Ok(Some(SocketAddr::new(ip, u16::from_be_bytes([*p, *q]))))
        }
        0x21 => {
            let (Some((source, rest)), true) = (body.split_first_chunk::<16>(), body.len() >= 36)
            else {
                return Err(short);
            };
            let Some(([p, q], _)) = rest.get(16..).and_then(|r| r.split_first_chunk::<2>()) else {
                return Err(short);
            };
            Ok(Some(SocketAddr::new(
                IpAddr::from(*source),
                u16::from_be_bytes([*p, *q]),
            )))
        }
        _ => Err(ProxyError::V2("not TCP over IPv4 or IPv6")),
    }
}

#[cfg(test)]
mod tests;
