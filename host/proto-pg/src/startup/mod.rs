//! From a raw socket to an authenticated client, one state after the other: [`Raw`] negotiates
//! encryption and reads the startup packet, [`Asked`] demands certificate or token, [`Authenticated`]
//! is what a session can be opened for. Each step consumes the state before it.
//!
//! Architecture invariants:
//! - Before TLS, exactly the bytes of one packet are read; anything that came with it ends the
//!   connection.
//! - A token is asked for only where nobody on the way can read it, unless configured otherwise.
//! - Nothing about targets or databases is told before somebody has proved who they are, except how
//!   a target wants it proved where that differs from its listener's other targets.
//! - What proves it is never weaker than what both the listener and the target have in their lists.

mod login;
mod oauth;
mod params;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use pipeline::Principal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::Limits;
use crate::refusal::Refused;
use crate::upstream::Stream;
use crate::wire::startup::{self as packets, Packet, PacketError};

pub(crate) use login::Door;
pub(crate) use params::Wanted;

/// SSLRequest and GSSENCRequest, each at most once.
const MAX_NEGOTIATIONS: usize = 3;
/// The first byte of a TLS handshake record.
const TLS_HANDSHAKE: u8 = 0x16;
const ALPN: &[u8] = b"postgresql";

/// Turns a token, or a certificate, into who holds it. The server wires `identity` in here.
#[async_trait]
pub trait Authenticate: Send + Sync {
    async fn authenticate(
        &self,
        token: &str,
        source: IpAddr,
    ) -> Result<Arc<Principal>, AuthRefused>;

    /// `certificate` is DER. TLS has verified it against the authority of this name, and that the
    /// client has its key.
    fn certificate(
        &self,
        authority: &str,
        certificate: &[u8],
        source: IpAddr,
    ) -> Result<Arc<Principal>, AuthRefused>;
}

/// Why a token or a certificate is not accepted; the text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{client_text}")]
pub struct AuthRefused {
    pub client_text: String,
}

/// Why there is no session; the client has been told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartupError {
    #[error("{}", .0.message)]
    Refused(Refused),
    #[error("bytes after SSLRequest, before TLS")]
    EarlyBytes,
    #[error(transparent)]
    Tls(#[from] net::TlsError),
    /// The client asked where tokens come from, and was told.
    #[error("the client has no token yet")]
    Discovery,
    #[error("the client went away")]
    Gone,
    #[error("reading or writing failed: {0}")]
    Io(#[from] std::io::Error),
}

impl From<Refused> for StartupError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<PacketError> for StartupError {
    fn from(error: PacketError) -> Self {
        let sqlstate = match error {
            PacketError::Version { .. } => "0A000",
            PacketError::Length | PacketError::Layout(_) => "08P01",
        };
        Refused::new(sqlstate, error.to_string()).into()
    }
}

/// An accepted socket.
pub(crate) struct Raw<'a> {
    pub stream: TcpStream,
    pub source: SocketAddr,
    /// No network is in between: see [`is_near`].
    pub near: bool,
    pub tls: Option<&'a net::Tls>,
    pub allow_plaintext_tokens: bool,
    pub limits: &'a Limits,
}

/// Does the connection stay on this machine? A loopback address that a proxy elsewhere speaks of is that
/// machine's own.
pub(crate) fn is_near(peer: &net::Peer) -> bool {
    let via = peer.via.is_none_or(|proxy| proxy.ip().is_loopback());
    via && peer.source.ip().is_loopback()
}

/// What a connection turns out to be.
pub(crate) enum Hello {
    /// The stream is held until the cancel is forwarded: libpq waits for its end.
    Cancel {
        pid: u32,
        secret: Vec<u8>,
        stream: Box<dyn Stream>,
    },
    Client(Asked),
}

/// A client that sent its startup packet.
pub(crate) struct Asked {
    io: Box<dyn Stream>,
    wanted: Wanted,
    source: IpAddr,
    /// A token may travel here.
    private: bool,
    /// What the client showed in the TLS handshake, verified there; DER.
    certificate: Option<Vec<u8>>,
}

/// A client that has proved who it is; it has not been told yet.
pub(crate) struct Authenticated {
    pub io: Box<dyn Stream>,
    pub wanted: Wanted,
    pub source: IpAddr,
    pub principal: Arc<Principal>,
}

impl Raw<'_> {
    /// Encryption and the first packet.
    pub async fn negotiate(mut self) -> Result<Hello, StartupError> {
        if self.begins_with_tls().await? {
            return self.direct_tls().await;
        }
        let mut asked_ssl = false;
        let mut asked_gss = false;
        for _ in 0..MAX_NEGOTIATIONS {
            let bytes = match read_packet(&mut self.stream).await {
                Ok(bytes) => bytes,
                Err(e) => return Err(tell(&mut self.stream, e).await),
            };
            match packets::packet(&bytes) {
                Ok(Packet::Ssl) if !asked_ssl => {
                    asked_ssl = true;
                    let Some(tls) = self.tls else {
                        self.stream.write_all(b"N").await?;
                        continue;
                    };
                    self.nothing_follows().await?;
                    self.stream.write_all(b"S").await?;
                    let io = tls.accept(self.stream, self.limits.login_timeout).await?;
                    return inside_tls(io, self.source.ip()).await;
                }
                Ok(Packet::GssEnc) if !asked_gss => {
                    asked_gss = true;
                    self.nothing_follows().await?;
                    self.stream.write_all(b"N").await?;
                }
                packet => {
                    let private = self.near || self.allow_plaintext_tokens;
                    let hello = first_packet(packet, self.source.ip(), private);
                    return finish(Box::new(self.stream), hello, None).await;
                }
            }
        }
        let refused = Refused::new("08P01", "too many negotiation requests");
        Err(tell(&mut self.stream, refused.into()).await)
    }

    async fn begins_with_tls(&self) -> Result<bool, StartupError> {
        let mut first = [0];
        match self.stream.peek(&mut first).await? {
            0 => Err(StartupError::Gone),
            _ => Ok(first == [TLS_HANDSHAKE]),
        }
    }

    /// TLS from the first byte on (libpq's `sslnegotiation=direct`): only with ALPN, so that no other
    /// protocol's client can be led here.
    async fn direct_tls(self) -> Result<Hello, StartupError> {
        let Some(tls) = self.tls else {
            return Err(StartupError::Tls(net::TlsError::Disabled));
        };
        let io = tls.accept(self.stream, self.limits.login_timeout).await?;
        if io.get_ref().1.alpn_protocol() != Some(ALPN) {
            let refused = Refused::new(
                "08P01",
                "received direct SSL connection request without ALPN protocol negotiation extension",
            );
            let mut io = io;
            return Err(tell(&mut io, refused.into()).await);
        }
        inside_tls(io, self.source.ip()).await
    }

    /// Bytes that came with the request were not protected, but would be read as if they were.
    async fn nothing_follows(&mut self) -> Result<(), StartupError> {
        let mut early = [0];
        match self.stream.try_read(&mut early) {
            Ok(0) => Err(StartupError::Gone),
            Ok(_) => {
                let refused = Refused::new(
                    "08P01",
                    "received unencrypted data after SSL or GSSAPI encryption request",
                );
                tell(&mut self.stream, refused.into()).await;
                Err(StartupError::EarlyBytes)
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

async fn inside_tls(
    mut io: net::ServerTlsStream<TcpStream>,
    source: IpAddr,
) -> Result<Hello, StartupError> {
    let shown = io.get_ref().1.peer_certificates();
    let certificate = shown
        .and_then(|chain| chain.first())
        .map(|leaf| leaf.as_ref().to_vec());
    let bytes = match read_packet(&mut io).await {
        Ok(bytes) => bytes,
        Err(e) => return Err(tell(&mut io, e).await),
    };
    let hello = first_packet(packets::packet(&bytes), source, true);
    finish(Box::new(io), hello, certificate).await
}

enum First {
    Cancel {
        pid: u32,
        secret: Vec<u8>,
    },
    Client {
        wanted: Wanted,
        source: IpAddr,
        private: bool,
    },
}

fn first_packet(
    packet: Result<Packet<'_>, PacketError>,
    source: IpAddr,
    private: bool,
) -> Result<First, StartupError> {
    match packet? {
        Packet::Cancel { pid, secret } => Ok(First::Cancel {
            pid,
            secret: secret.to_vec(),
        }),
        packet @ Packet::Startup { .. } => Ok(First::Client {
            wanted: params::wanted(&packet)?,
            source,
            private,
        }),
        Packet::Ssl | Packet::GssEnc => Err(Refused::new(
            "08P01",
            "encryption is requested a second time, or inside of TLS",
        )
        .into()),
    }
}

async fn finish(
    mut io: Box<dyn Stream>,
    first: Result<First, StartupError>,
    certificate: Option<Vec<u8>>,
) -> Result<Hello, StartupError> {
    match first {
        Ok(First::Cancel { pid, secret }) => Ok(Hello::Cancel {
            pid,
            secret,
            stream: io,
        }),
        Ok(First::Client {
            wanted,
            source,
            private,
        }) => Ok(Hello::Client(Asked {
            io,
            wanted,
            source,
            private,
            certificate,
        })),
        Err(e) => Err(tell(&mut io, e).await),
    }
}

/// One packet with its length word. Reads no byte more.
async fn read_packet<S>(stream: &mut S) -> Result<Vec<u8>, StartupError>
where
    S: tokio::io::AsyncRead + Unpin + ?Sized,
{
    let mut bytes = vec![0; 4];
    read_exact(stream, &mut bytes).await?;
    let len = packets::length(&bytes)?.ok_or(PacketError::Length)?;
    bytes.resize(len, 0);
    read_exact(stream, bytes.get_mut(4..).unwrap_or_default()).await?;
    Ok(bytes)
}

async fn read_exact<S>(stream: &mut S, buf: &mut [u8]) -> Result<(), StartupError>
where
    S: tokio::io::AsyncRead + Unpin + ?Sized,
{
    match stream.read_exact(buf).await {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(StartupError::Gone),
        Err(e) => Err(e.into()),
    }
}

/// Sends what the client may know of an error; gives the error back for the log.
async fn tell<S>(stream: &mut S, error: StartupError) -> StartupError
where
    S: tokio::io::AsyncWrite + Unpin + ?Sized,
{
    if let StartupError::Refused(refused) = &error {
        let mut out = BytesMut::new();
        refused.encode("FATAL", &mut out);
        // It is gone or not: there is nobody else to tell.
        let _ = stream.write_all(&out).await;
        let _ = stream.shutdown().await;
    }
    error
}
