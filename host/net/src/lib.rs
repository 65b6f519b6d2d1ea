//! Listeners, TLS on both legs, PROXY protocol, task tracking and drain.
//!
//! Place in the flow: first and last. A [`Listener`] accepts a connection, finds out where it really
//! comes from, and hands a [`Connection`] to the protocol crate; [`connect`] and [`ClientTls`] carry
//! the other leg to the upstream.
//!
//! Architecture invariants:
//! - No policy: this crate does not know what a principal, a target or a decision is, and depends on
//!   no other crate of the workspace.
//! - Nothing is unbounded: the number of connections, the length of a PROXY header, the time of a
//!   handshake, a dial and a drain each have a named maximum.
//! - Every connection is a task of one tracker, and none outlives the drain deadline.

mod client_tls;
mod files;
mod listener;
mod listeners;
mod proxy;
mod server_tls;
mod silence;
mod socket;

#[cfg(test)]
mod testing;

pub use client_tls::{ClientTls, ClientTlsMode, ClientTlsOptions, Roots, UnknownMode};
pub use files::{FileError, MAX_PEM_BYTES};
pub use listener::{
    BindError, Connection, Drained, Listener, ListenerOptions, ListenerStats, Peer, Service,
};
pub use listeners::Listeners;
pub use proxy::{MAX_V1_HEADER, MAX_V2_BODY, ProxyError, ProxyProtocol};
pub use server_tls::{ClientAuth, ClientAuthority, ServerTlsOptions, Tls};
pub use silence::{OnTheWay, on_the_way};
pub use socket::{DialError, Keepalive, SocketOptions, connect};

pub use ipnet::IpNet;
pub use tokio_rustls::{
    client::TlsStream as ClientTlsStream, server::TlsStream as ServerTlsStream,
};

/// What went wrong with TLS, while it was being set up or during a handshake.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path}: no certificate in this PEM file")]
    NoCertificate { path: String },
    #[error("{path}: no certificate revocation list in this PEM file")]
    NoRevocationList { path: String },
    #[error("{path}: no usable private key in this PEM file")]
    NoKey { path: String },
    #[error("{path}: certificate and key cannot be used together")]
    Pair { path: String, source: rustls::Error },
    #[error("{path}: not usable as certificate authorities: {reason}")]
    Authorities { path: String, reason: String },
    #[error("{path}: not usable as certificate revocation lists: {reason}")]
    RevocationLists { path: String, reason: String },
    #[error("the system has no readable certificate authorities; name a CA file")]
    NoSystemRoots,
    #[error("{0}")]
    Contradiction(&'static str),
    #[error("{0:?} is not a host name or an IP address that TLS can check")]
    ServerName(String),
    #[error("TLS is switched off for this connection")]
    Disabled,
    #[error("TLS configuration refused")]
    Config(#[source] rustls::Error),
    #[error("TLS handshake failed")]
    Handshake(#[source] std::io::Error),
    #[error("TLS handshake not finished after {0:?}")]
    Timeout(std::time::Duration),
}

impl TlsError {
    /// The message with its causes, for a log line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(e) = cause {
            text.push_str(": ");
            text.push_str(&e.to_string());
            cause = e.source();
        }
        text
    }
}
