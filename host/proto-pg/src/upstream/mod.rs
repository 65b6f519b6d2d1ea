//! The only way out: dials a target with the credential that only it owns, and sends what `decide`
//! permitted.
//!
//! Architecture invariants:
//! - `Permitted::release` is called here and nowhere else in this crate.
//! - Nothing that a client wrote as SQL leaves in another way than [`Sender::send`] (after a full
//!   decision) or [`Sender::plan`] (a Parse that policy did not deny: the server understands it).
//! - A portal is planned by its Bind, which can run the code that its text calls: such a Bind leaves
//!   by [`Sender::bind_decided`], after a full decision.

mod login;
mod query;
mod scram;
mod sender;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::config::{Limits, PgTarget};
use crate::refusal::ClientText;
use crate::wire::{FrameError, MessageError, startup};

pub(crate) use query::{Bounds, Collector, QueryError};
pub(crate) use sender::{Bound, DecidedBind, NO_SUCH, OWN_PREFIX, Planned, Sender, Statement};

/// TCP, or TLS over it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error(transparent)]
    Dial(#[from] net::DialError),
    #[error(transparent)]
    Tls(#[from] net::TlsError),
    #[error("the server has no TLS, which this target requires")]
    NoTls,
    #[error("the server asks for {0}, which this target's auth list does not allow")]
    Method(&'static str),
    #[error("the server asks for a password, and this target has none")]
    NoPassword,
    #[error("SCRAM: {0}")]
    Scram(#[from] scram::ScramError),
    #[error("the server refused the login: {sqlstate} {message}")]
    Refused { sqlstate: String, message: String },
    #[error("unexpected {0} from the server")]
    Unexpected(&'static str),
    #[error("the server sent a broken frame: {0}")]
    Frame(#[from] FrameError),
    #[error("the server sent a broken message: {0}")]
    Message(#[from] MessageError),
    #[error("the server closed the connection")]
    Closed,
    #[error("no answer from the server in time")]
    Timeout,
    #[error("reading or writing failed: {0}")]
    Io(#[from] std::io::Error),
}

impl ClientText for UpstreamError {
    /// Never an address, a user name or the server's own words.
    fn sqlstate(&self) -> &str {
        match self {
            Self::Refused { sqlstate, .. } if sqlstate == "3D000" => "3D000",
            Self::Refused { sqlstate, .. } if sqlstate == "53300" => "53300",
            Self::Refused { sqlstate, .. } if sqlstate == "57P03" => "57P03",
            Self::Refused { .. } | Self::Method(_) | Self::NoPassword | Self::Scram(_) => "08004",
            _ => "08006",
        }
    }

    fn client_text(&self) -> String {
        match self.sqlstate() {
            "3D000" => "the target has no such database",
            "53300" => "the target has too many connections",
            "57P03" => "the target is starting up or shutting down",
            "08004" => "the target does not accept Weir's login",
            _ => "the target cannot be reached",
        }
        .to_owned()
    }
}

/// What the server gave us to cancel with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CancelKey {
    pub pid: u32,
    pub secret: Bytes,
}

/// A logged-in connection, idle.
pub(crate) struct Upstream {
    io: Box<dyn Stream>,
    buf: BytesMut,
    /// ParameterStatus as the server reported them at login.
    pub parameters: Vec<(Bytes, Bytes)>,
    pub cancel: Option<CancelKey>,
}

impl Upstream {
    fn new(
        socket: login::Socket,
        parameters: Vec<(Bytes, Bytes)>,
        cancel: Option<CancelKey>,
    ) -> Self {
        Self {
            io: socket.io,
            buf: socket.buf,
            parameters,
            cancel,
        }
    }

    /// Dials and logs in, within `limits.upstream_login_timeout`.
    pub async fn connect(
        target: &PgTarget,
        database: &str,
        parameters: &[(String, String)],
        limits: &Limits,
    ) -> Result<Self, UpstreamError> {
        let attempt = async {
            let socket = login::dial(target, limits).await?;
            login::login(socket, target, database, parameters).await
        };
        tokio::time::timeout(limits.upstream_login_timeout, attempt)
            .await
            .unwrap_or(Err(UpstreamError::Timeout))
    }

    /// The two independent directions.
    pub fn split(self) -> (tokio::io::ReadHalf<Box<dyn Stream>>, BytesMut, Sender) {
        let (reader, writer) = tokio::io::split(self.io);
        (reader, self.buf, Sender::new(writer))
    }
}

/// Asks the server to cancel what runs on another connection, and waits until it has read that.
pub(crate) async fn cancel(
    target: &PgTarget,
    key: &CancelKey,
    limits: &Limits,
) -> Result<(), UpstreamError> {
    use tokio::io::AsyncReadExt;
    let attempt = async {
        let mut socket = login::dial(target, limits).await?;
        let mut out = BytesMut::new();
        startup::cancel(&mut out, key.pid, &key.secret);
        socket.io.write_all(&out).await?;
        socket.io.flush().await?;
        // The server answers nothing and closes when the signal is sent.
        let mut rest = [0; 64];
        while socket.io.read(&mut rest).await? > 0 {}
        Ok(())
    };
    tokio::time::timeout(limits.upstream_login_timeout, attempt)
        .await
        .unwrap_or(Err(UpstreamError::Timeout))
}
