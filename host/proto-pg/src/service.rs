//! Listeners in front of sessions.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::{self, BuildError, Options, PgListener};

/// PostgreSQL listeners, bound and not yet accepting.
pub struct PgService {
    bound: Vec<(net::Listener, PgListener)>,
    shared: Arc<Options>,
}

impl PgService {
    /// Checks the options and binds every listener. Needs a tokio runtime.
    pub fn new(options: Options) -> Result<Self, BuildError> {
        config::check(&options)?;
        let mut bound = Vec::with_capacity(options.listeners.len());
        for listener in &options.listeners {
            let socket = net::Listener::bind(listener.listen.clone())?;
            bound.push((socket, listener.clone()));
        }
        Ok(Self {
            bound,
            shared: Arc::new(options),
        })
    }

    /// The addresses, in the order of the listeners, with the ports that the system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|(l, _)| l.local_addr()).collect()
    }

    /// Serves until `shutdown`, then drains: idle sessions end at once, busy ones get until the
    /// listener's drain deadline.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut running = tokio::task::JoinSet::new();
        for (socket, _listener) in self.bound {
            let _shared = self.shared.clone();
            let shutdown = shutdown.clone();
            running.spawn(async move {
                let handler = |_connection: net::Connection| async { Ok::<(), std::io::Error>(()) };
                socket.serve(handler).run(shutdown).await
            });
        }
        while running.join_next().await.is_some() {}
    }
}
