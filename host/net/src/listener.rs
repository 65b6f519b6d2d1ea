//! One listening socket: bounded accept, one tracked task per connection, drain with a deadline.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::proxy::{self, ProxyProtocol};
use crate::socket::SocketOptions;

/// Connections that the kernel may hold for us before we accept them.
const BACKLOG: u32 = 1024;
/// After an error of `accept` that concerns us and not the connection (no descriptors left).
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Refused connections are logged no more often than this.
const REFUSAL_LOG_EVERY: Duration = Duration::from_secs(1);
/// How long connections get to fall after the drain deadline: their futures are dropped, which
/// takes until their next await.
const ABORT_GRACE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// For log lines, such as `postgres`.
    pub name: String,
    pub bind: SocketAddr,
    /// One more connection than this is accepted and closed at once: the client learns it now
    /// instead of waiting in a queue that nobody serves, and a load balancer can go elsewhere.
    pub max_connections: usize,
    pub socket: SocketOptions,
    pub proxy_protocol: Option<ProxyProtocol>,
    /// From the shutdown signal until connections that are still there are cut.
    pub drain: Duration,
}

impl ListenerOptions {
    /// `bind` is an address and a port, such as `127.0.0.1:5432` or `[::]:5432`.
    pub fn new(name: &str, bind: &str) -> Result<Self, BindError> {
        let bind = bind.parse().map_err(|_| BindError::Address {
            text: bind.to_owned(),
        })?;
        Ok(Self {
            name: name.to_owned(),
            bind,
            max_connections: 1000,
            socket: SocketOptions::default(),
            proxy_protocol: None,
            drain: Duration::from_secs(30),
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "{text:?} is not an address to listen on; write IP:port, such as 127.0.0.1:5432 or [::]:5432"
    )]
    Address { text: String },
    #[error("listener {name}: max_connections must be between 1 and {max}")]
    MaxConnections { name: String, max: usize },
    #[error("listener {name}: cannot listen on {bind}")]
    Bind {
        name: String,
        bind: SocketAddr,
        source: io::Error,
    },
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Where the client is, as far as we can know: what a trusted PROXY header says, else the
    /// socket's peer. An IPv4 client is an IPv4 address here, also on a dual-stack socket.
    pub source: SocketAddr,
    /// Our end of the socket.
    pub local: SocketAddr,
    /// The trusted proxy in between, if there is one.
    pub via: Option<SocketAddr>,
}

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    pub peer: Peer,
    /// Cancelled when the process shuts down: finish what is under way and return. Who has not
    /// returned by the drain deadline is dropped at its next await.
    pub shutdown: CancellationToken,
}

/// Counters of one listener; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ListenerStats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    active: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
}

impl ListenerStats {
    /// Connections open now.
    pub fn active(&self) -> usize {
        self.0.active.load(Ordering::Relaxed)
    }

    /// Connections accepted, ever.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Connections closed at once: too many, or a bad PROXY header.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    fn enter(&self) -> Active {
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
        self.0.active.fetch_add(1, Ordering::Relaxed);
        Active(self.clone())
    }

    fn refuse(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a connection for as long as it lives, however it ends.
struct Active(ListenerStats);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A bound socket that does not accept yet.
pub struct Listener {
    options: ListenerOptions,
    socket: TcpListener,
    local: SocketAddr,
    stats: ListenerStats,
}

impl Listener {
    /// Binds. Needs a tokio runtime.
    pub fn bind(options: ListenerOptions) -> Result<Self, BindError> {
        if !(1..=Semaphore::MAX_PERMITS).contains(&options.max_connections) {
            return Err(BindError::MaxConnections {
                name: options.name,
                max: Semaphore::MAX_PERMITS,
            });
        }
        match bind(options.bind) {
            Ok((socket, local)) => Ok(Self {
                options,
                socket,
                local,
                stats: ListenerStats::default(),
            }),
            Err(source) => Err(BindError::Bind {
                name: options.name,
                bind: options.bind,
                source,
            }),
        }
    }

    /// The address, with the port that the system chose if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub fn stats(&self) -> ListenerStats {
        self.stats.clone()
    }

    /// Every connection is given to `handler`, in a task of its own. Its error is logged.
    pub fn serve<F, Fut, E>(self, handler: F) -> Service<F>
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        Service {
            listener: self,
            handler: Arc::new(handler),
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart need not wait for old connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let local = listener.local_addr()?;
    Ok((listener, local))
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had to be cut at the deadline.
    pub cut: usize,
}

/// A listener with its handler, ready to run.
pub struct Service<F> {
    listener: Listener,
    handler: Arc<F>,
}

impl<F, Fut, E> Service<F>
where
    F: Fn(Connection) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Display,
{
    /// Accepts until `shutdown`, then waits for the connections, up to the drain deadline.
    ///
    /// When dropped early, all connections are cut.
    pub async fn run(self, shutdown: CancellationToken) -> Drained {
        let Self {
            listener:
                Listener {
                    options,
                    socket,
                    local,
                    stats,
                },
            handler,
        } = self;
        let tracker = TaskTracker::new();
        let cut = CancellationToken::new();
        let _cut_when_dropped = cut.clone().drop_guard();
        let worker = Worker {
            slots: Arc::new(Semaphore::new(options.max_connections)),
            options: Arc::new(options),
            local,
            stats,
            handler,
            shutdown: shutdown.clone(),
            cut: cut.clone(),
        };
        let name = worker.options.name.clone();
        let drain = worker.options.drain;
        tracing::info!(listener = %name, %local, "listening");

        accept_until(socket, &worker, &tracker, &shutdown).await;

        tracker.close();
        let open = tracker.len();
        if tokio::time::timeout(drain, tracker.wait()).await.is_ok() {
            tracing::info!(listener = %name, waited_for = open, "drained");
            return Drained { cut: 0 };
        }
        let left = tracker.len();
        tracing::warn!(listener = %name, connections = left, after = ?drain, "drain deadline, cutting connections");
        cut.cancel();
        if tokio::time::timeout(ABORT_GRACE, tracker.wait())
            .await
            .is_err()
        {
            tracing::error!(listener = %name, connections = tracker.len(), "connections do not end");
        }
        Drained { cut: left }
    }
}

/// What a connection's task needs.
struct Worker<F> {
    options: Arc<ListenerOptions>,
    local: SocketAddr,
    stats: ListenerStats,
    slots: Arc<Semaphore>,
    handler: Arc<F>,
    shutdown: CancellationToken,
    cut: CancellationToken,
}

async fn accept_until<F, Fut, E>(
    socket: TcpListener,
    worker: &Worker<F>,
    tracker: &TaskTracker,
    shutdown: &CancellationToken,
) where
    F: Fn(Connection) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Display,
{
    let mut backoff = BACKOFF_MIN;
    let mut refusals = RefusalLog::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(pair) => pair,
            Err(e) if concerns_one_connection(&e) => continue,
            Err(e) => {
                tracing::error!(listener = %worker.options.name, error = %e, retry_in = ?backoff, "cannot accept");
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
                continue;
            }
        };
        backoff = BACKOFF_MIN;
        let Ok(slot) = worker.slots.clone().try_acquire_owned() else {
            worker.stats.refuse();
            refusals.note(&worker.options, from);
            continue;
        };
        let active = worker.stats.enter();
        let cut = worker.cut.clone();
        let one = handle(worker, stream, from);
        tracker.spawn(async move {
            let _held = (slot, active);
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                () = one => {}
            }
        });
    }
}

/// The client was gone before we took it: nothing is wrong with the listener.
fn concerns_one_connection(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// One connection from its acceptance to its end.
fn handle<F, Fut, E>(
    worker: &Worker<F>,
    mut stream: TcpStream,
    from: SocketAddr,
) -> impl Future<Output = ()> + Send + 'static
where
    F: Fn(Connection) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Display,
{
    let options = worker.options.clone();
    let handler = worker.handler.clone();
    let stats = worker.stats.clone();
    let shutdown = worker.shutdown.child_token();
    let bound = worker.local;
    let from = canonical(from);
    async move {
        let name = options.name.as_str();
        if let Err(e) = options.socket.apply(&stream) {
            tracing::debug!(listener = %name, %from, error = %e, "socket options not set, closing");
            return;
        }
        let local = canonical(stream.local_addr().unwrap_or(bound));
        let peer = match &options.proxy_protocol {
            None => Peer {
                source: from,
                local,
                via: None,
            },
            Some(p) => match proxy::identify(p, &mut stream, from, local).await {
                Ok(peer) => peer,
                Err(e) => {
                    stats.refuse();
                    tracing::warn!(listener = %name, %from, error = %e, "PROXY protocol, closing");
                    return;
                }
            },
        };
        let source = peer.source;
        let connection = Connection {
            stream,
            peer,
            shutdown,
        };
        // The handler is built inside, so that a panic while it is built is caught, too.
        let served = AssertUnwindSafe(async { handler(connection).await })
            .catch_unwind()
            .await;
        match served {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!(listener = %name, %source, error = %e, "connection ended"),
            Err(_) => tracing::error!(listener = %name, %source, "connection handler panicked"),
        }
    }
}

/// `::ffff:192.0.2.1` is 192.0.2.1 to whoever compares addresses.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Many refusals, few log lines.
#[derive(Default)]
struct RefusalLog {
    last: Option<Instant>,
    unsaid: u64,
}

impl RefusalLog {
    fn note(&mut self, options: &ListenerOptions, from: SocketAddr) {
        self.unsaid += 1;
        if self.last.is_some_and(|t| t.elapsed() < REFUSAL_LOG_EVERY) {
            return;
        }
        tracing::warn!(
            listener = %options.name,
            %from,
            max_connections = options.max_connections,
            refused = self.unsaid,
            "too many connections, closing new ones"
        );
        self.last = Some(Instant::now());
        self.unsaid = 0;
    }
}

#[cfg(test)]
mod tests;
