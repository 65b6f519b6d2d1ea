//! Listeners in front of sessions: the limits before authentication, and the way from an accepted
//! connection to the relay.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use pipeline::{Stranger, TurnedAway};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::cancel::{CancelKeys, Cancellable};
use crate::config::{self, BuildError, Limits, Options, PgListener, PgTarget};
use crate::relay::{self, Catalogs};
use crate::startup::{Authenticated, Door, Hello, Raw, StartupError, is_near};
use crate::upstream::Stream;

/// PostgreSQL listeners, bound and not yet accepting.
pub struct PgService {
    listeners: net::Listeners<PgListener>,
    shared: Arc<Shared>,
}

/// What all connections of a service use.
pub(crate) struct Shared {
    pub options: Options,
    pub targets: HashMap<Arc<str>, Arc<PgTarget>>,
    pub keys: CancelKeys,
    pub catalogs: Catalogs,
    /// Turns for analyses of large texts.
    pub analysts: Arc<Semaphore>,
    /// Turns for surveys of held statements.
    pub surveys: Arc<Semaphore>,
    /// The record of those who get no session.
    turned_away: TurnedAway,
    unauthenticated: Semaphore,
    by_source: Mutex<HashMap<IpAddr, usize>>,
}

impl PgService {
    /// Checks the options and binds every listener. Needs a tokio runtime.
    pub fn new(options: Options) -> Result<Self, BuildError> {
        config::check(&options)?;
        let wanted = options.listeners.iter();
        let listeners = net::Listeners::bind(wanted.map(|l| (l.listen.clone(), l.clone())))?;
        let targets = options
            .targets
            .iter()
            .map(|t| (t.info.name.clone(), Arc::new(t.clone())))
            .collect();
        let shared = Shared {
            targets,
            keys: CancelKeys::default(),
            catalogs: Catalogs::default(),
            surveys: Arc::new(Semaphore::new(options.limits.max_surveys)),
            analysts: Arc::new(Semaphore::new(options.limits.max_large_analyses.max(1))),
            unauthenticated: Semaphore::new(options.limits.max_unauthenticated),
            by_source: Mutex::default(),
            turned_away: TurnedAway::new(options.ports.clone()),
            options,
        };
        Ok(Self {
            listeners,
            shared: Arc::new(shared),
        })
    }

    /// The addresses, in the order of the listeners, with the ports that the system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.local_addrs()
    }

    /// Counters, in the order of the listeners.
    pub fn stats(&self) -> Vec<net::ListenerStats> {
        self.listeners.stats()
    }

    #[cfg(test)]
    pub(crate) fn cancel_keys(&self) -> CancelKeys {
        self.shared.keys.clone()
    }

    /// Serves until `shutdown`, then drains: a session ends as soon as nothing is under way in it,
    /// at the latest at its listener's drain deadline. When dropped early, all sessions are cut.
    pub async fn run(self, shutdown: CancellationToken) {
        let shared = self.shared.clone();
        let ends = self.listeners.serve(shutdown, move |listener, connection| {
            serve(shared.clone(), listener, connection)
        });
        self.shared.turned_away.beside(ends).await;
        self.shared.turned_away.close().await;
        let patience = self.shared.options.limits.farewell;
        self.shared.catalogs.end(patience).await;
    }
}

/// One connection from its acceptance to its end.
async fn serve(
    shared: Arc<Shared>,
    listener: Arc<PgListener>,
    connection: net::Connection,
) -> Result<(), StartupError> {
    let net::Connection {
        stream,
        peer,
        shutdown,
    } = connection;
    let limits = &shared.options.limits;
    // Boxed, as it is over before the session begins.
    let login = Box::pin(async {
        let raw = Raw {
            stream,
            source: peer.source,
            near: is_near(&peer),
            tls: listener.tls.as_ref(),
            allow_plaintext_tokens: listener.allow_plaintext_tokens,
            limits,
        };
        match raw.negotiate().await? {
            Hello::Cancel {
                pid,
                secret,
                stream,
            } => Ok(Came::ToCancel {
                session: shared.keys.find(pid, &secret),
                _stream: stream,
            }),
            Hello::Client(asked) => {
                let door = Door {
                    auth: &*shared.options.auth,
                    listener: &listener,
                    targets: &shared.targets,
                    limits,
                };
                asked.login(&door).await.map(Came::In)
            }
        }
    });
    let came = {
        let Some(_waiting) = Waiting::enter(&shared, peer.source.ip()) else {
            tracing::warn!(source = %peer.source, "too many connections that have not authenticated");
            return Ok(());
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            login = tokio::time::timeout(limits.login_timeout, login) => match login {
                Ok(Ok(came)) => came,
                Err(_) => return Ok(()),
                Ok(Err(StartupError::Gone | StartupError::Discovery)) => return Ok(()),
                Ok(Err(StartupError::Refused(refused))) => {
                    let stranger = Stranger {
                        action: "postgres:login",
                        principal: None,
                        source: peer.source.ip(),
                        said: "",
                        reason: &refused.message,
                    };
                    shared.turned_away.put(stranger).await;
                    return Err(StartupError::Refused(refused));
                }
                Ok(Err(error)) => return Err(error),
            }
        }
    };
    match came {
        Came::In(authenticated) => relay::serve(shared, listener, authenticated, shutdown).await,
        // It may wait for a statement to get to the server; nobody who logs in waits for that.
        Came::ToCancel { session, _stream } => {
            let limit = limits.login_timeout;
            let cancelled = tokio::time::timeout(limit, cancel(session, limits)).await;
            if cancelled.is_err() {
                tracing::warn!("a cancel request was not dealt with within {limit:?}");
            }
        }
    }
    Ok(())
}

/// Who has come.
enum Came {
    In(Authenticated),
    ToCancel {
        /// None: the key is nobody's.
        session: Option<Arc<Cancellable>>,
        /// Its end tells the client that the cancel was dealt with.
        _stream: Box<dyn Stream>,
    },
}

async fn cancel(session: Option<Arc<Cancellable>>, limits: &Limits) {
    // Whether the key was right is told to nobody, as in PostgreSQL.
    match session {
        None => tracing::debug!("a cancel request with an unknown key"),
        Some(session) => {
            if let Err(error) = session.cancel(limits).await {
                tracing::warn!(target_name = %session.target.info.name, %error, "a cancel request could not be forwarded");
            }
        }
    }
}

/// Counts a connection until it has authenticated.
struct Waiting<'a> {
    shared: &'a Shared,
    source: IpAddr,
    _slot: tokio::sync::SemaphorePermit<'a>,
}

impl<'a> Waiting<'a> {
    fn enter(shared: &'a Shared, source: IpAddr) -> Option<Self> {
        let slot = shared.unauthenticated.try_acquire().ok()?;
        let mut by_source = shared.by_source.lock();
        let count = by_source.entry(source).or_insert(0);
        if *count >= shared.options.limits.max_unauthenticated_per_source {
            return None;
        }
        *count += 1;
        Some(Self {
            shared,
            source,
            _slot: slot,
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut by_source = self.shared.by_source.lock();
        if let Some(count) = by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                by_source.remove(&self.source);
            }
        }
    }
}
