//! Serves the API: bounded accepts, for each source, too; TLS; deadlines for peers that are slow to
//! write or to read; a tidy end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use net::{SocketOptions, Tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

mod paced;

use crate::limits::network;
use crate::options::Limits;
use crate::places::Places;
use paced::Paced;

/// The TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The head of a request, and the pause before the next request on the same connection.
const HEAD: Duration = Duration::from_secs(10);
/// The largest head of a request.
const MAX_HEAD: usize = 32 * 1024;
/// Connections that still work when this has passed since the shutdown are cut.
const GRACE: Duration = Duration::from_secs(20);
/// A peer that acknowledges nothing for so long is gone. Whoever watches a session is written to all the
/// time, so a place among the watchers does not stay with a machine that has vanished.
const VANISHED: Duration = Duration::from_secs(30);
/// So much waits in the system for a peer, besides what is on its way. More would hide for long that
/// nobody reads.
const UNSENT: u32 = 16 << 10;
/// The pause after a failed accept, which mostly means that file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the API is served over TLS.
#[derive(Clone)]
pub enum ServerTls {
    /// With this configuration for ever.
    Fixed(Arc<ServerConfig>),
    /// With the certificate that is current when a connection begins.
    Reloaded(Tls),
}

impl From<Arc<ServerConfig>> for ServerTls {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self::Fixed(config)
    }
}

impl From<Tls> for ServerTls {
    fn from(tls: Tls) -> Self {
        Self::Reloaded(tls)
    }
}

impl ServerTls {
    fn acceptor(&self) -> TlsAcceptor {
        match self {
            Self::Fixed(config) => config.clone().into(),
            Self::Reloaded(tls) => tls.current().into(),
        }
    }
}

/// Runs until `shutdown` is cancelled and the connections are done.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<ServerTls>,
    router: Router,
    limits: &Limits,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let sources = Places::default();
    let patience = limits.answer;
    let socket = SocketOptions {
        user_timeout: Some(VANISHED.max(limits.answer)),
        unsent: Some(UNSENT),
        ..SocketOptions::default()
    };
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection to the API could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = socket.apply(&stream) {
            tracing::debug!(%error, "the options of a socket");
        }
        let source = sources.enter(network(peer.ip()), limits.connections_per_source);
        let Some(source) = source else {
            tracing::debug!(%peer, "too many connections from there");
            continue;
        };
        let stream = Paced::new(stream, patience);
        let (tls, router) = (tls.clone(), router.clone());
        let (shutdown, cut) = (shutdown.clone(), cut.clone());
        // Ends with its connection; cut after the grace at the latest.
        tasks.spawn(async move {
            let _places = (place, source);
            tokio::select! {
                () = cut.cancelled() => {}
                () = connection(stream, peer, tls, router, shutdown) => {}
            }
        });
    }
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        cut.cancel();
        tasks.wait().await;
    }
}

async fn connection(
    stream: Paced<TcpStream>,
    peer: SocketAddr,
    tls: Option<ServerTls>,
    router: Router,
    shutdown: CancellationToken,
) {
    let Some(tls) = tls else {
        return http(stream, peer, router, shutdown).await;
    };
    match tokio::time::timeout(HANDSHAKE, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => http(stream, peer, router, shutdown).await,
        Ok(Err(error)) => tracing::debug!(%error, %peer, "the TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        async move {
            let request = request.map(axum::body::Body::new);
            let response = router.call(request).await;
            response.map_err(|never: Infallible| match never {})
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, %peer, "a connection to the API ended early");
    }
}
