//! The only way out: dials a target with the credential that only it owns, and sends what `decide`
//! permitted.
//!
//! Architecture invariants:
//! - `Permitted::release` is called here and nowhere else in this crate.
//! - Nothing that a client wrote as SQL leaves in another way than [`Sender::send`] (after a full
//!   decision) or [`Sender::plan`] (a Parse that policy did not deny: the server understands it).
//! - For those who decide on a held statement, [`Upstream::one`] has it planned under EXPLAIN, on a
//!   read-only connection of its own, if planning it runs no code but PostgreSQL's.
//! - A portal is planned by its Bind, which can run the code that its text calls: such a Bind leaves
//!   by [`Sender::bind_decided`], after a full decision.

mod login;
mod query;
pub(crate) mod scram;
mod sender;

use std::sync::Arc;

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
    #[error("the server did not agree to speak postgresql (ALPN), which direct TLS demands")]
    Alpn,
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
async fn cancel_by_key(
    target: &PgTarget,
    key: &CancelKey,
    limits: &Limits,
) -> Result<(), UpstreamError> {
    use tokio::io::AsyncReadExt;
    let mut socket = login::dial(target, limits).await?;
    let mut out = BytesMut::new();
    startup::cancel(&mut out, key.pid, &key.secret);
    socket.io.write_all(&out).await?;
    socket.io.flush().await?;
    // The server answers nothing and closes when the signal is sent.
    let mut rest = [0; 64];
    while socket.io.read(&mut rest).await? > 0 {}
    Ok(())
}

/// How what runs on one connection is cancelled from another.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Cancel {
    Key(CancelKey),
    /// By a login of our own, which may signal other backends of the same role.
    Backend(Backend),
}

impl Cancel {
    /// The server process behind the connection.
    pub fn process(&self) -> u32 {
        match self {
            Self::Key(key) => key.pid,
            Self::Backend(backend) => backend.pid,
        }
    }

    /// Within `limits.upstream_login_timeout`.
    pub async fn run(&self, target: &PgTarget, limits: &Limits) -> Result<(), UpstreamError> {
        let attempt = async {
            match self {
                Self::Key(key) => cancel_by_key(target, key, limits).await,
                Self::Backend(backend) => backend.cancel(target, limits).await,
            }
        };
        tokio::time::timeout(limits.upstream_login_timeout, attempt)
            .await
            .unwrap_or(Err(UpstreamError::Timeout))
    }
}

/// One server process. Its number alone may be somebody else's by the time that we use it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Backend {
    database: Arc<str>,
    pid: u32,
    started: String,
}

/// Every name is qualified: the client may have set `search_path`.
const BACKENDS: &str = "FROM pg_catalog.pg_stat_activity \
                        WHERE pid OPERATOR(pg_catalog.=) ";
const STARTED: &str = "pg_catalog.to_char(pg_catalog.timezone('UTC', backend_start), \
                       'YYYY-MM-DD HH24:MI:SS.US')";

impl Backend {
    /// Which process serves this connection.
    pub async fn of(
        upstream: &mut Upstream,
        database: &Arc<str>,
        bounds: Bounds,
    ) -> Result<Self, QueryError> {
        let sql = format!("SELECT pid, {STARTED} {BACKENDS}pg_catalog.pg_backend_pid()");
        let rows = upstream.query(&sql, bounds).await?;
        let found = match rows.first().map(Vec::as_slice) {
            Some([Some(pid), Some(started)]) => pid.parse().ok().map(|pid| (pid, started)),
            _ => None,
        };
        let plain = |c: char| c.is_ascii_digit() || "- :.".contains(c);
        match found {
            Some((pid, started)) if started.chars().all(plain) => Ok(Self {
                database: database.clone(),
                pid,
                started: started.clone(),
            }),
            _ => Err(MessageError::Value("backend").into()),
        }
    }

    async fn cancel(&self, target: &PgTarget, limits: &Limits) -> Result<(), UpstreamError> {
        let socket = login::dial(target, limits).await?;
        let mut upstream = login::login(socket, target, &self.database, &[]).await?;
        let sql = format!(
            "SELECT pg_catalog.pg_cancel_backend(pid) {BACKENDS}{} \
             AND {STARTED} OPERATOR(pg_catalog.=) '{}'",
            self.pid, self.started
        );
        let bounds = Bounds {
            rows: 1,
            bytes: 1 << 10,
            time: limits.upstream_login_timeout,
        };
        match upstream.query(&sql, bounds).await {
            Ok(_) => Ok(()),
            Err(QueryError::Refused { sqlstate, message }) => {
                Err(UpstreamError::Refused { sqlstate, message })
            }
            Err(_) => Err(UpstreamError::Unexpected("answer to a cancellation")),
        }
    }
}

#[cfg(test)]
mod tests;
