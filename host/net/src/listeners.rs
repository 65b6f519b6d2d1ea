//! The listeners of one protocol, each with what else it was configured with.

use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::listener::{BindError, Connection, Listener, ListenerOptions, ListenerStats};

/// Bound, and not yet accepting. `L` is what a protocol has to know of a listener.
pub struct Listeners<L>(Vec<(Listener, Arc<L>)>);

impl<L: Send + Sync + 'static> Listeners<L> {
    /// Binds all of them, or none. Needs a tokio runtime.
    pub fn bind(wanted: impl IntoIterator<Item = (ListenerOptions, L)>) -> Result<Self, BindError> {
        let bound = wanted
            .into_iter()
            .map(|(options, own)| Ok((Listener::bind(options)?, Arc::new(own))));
        bound.collect::<Result<_, _>>().map(Self)
    }

    /// The addresses, in the order of the listeners, with the ports that the system chose.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|(l, _)| l.local_addr()).collect()
    }

    /// Counters, in the order of the listeners.
    pub fn stats(&self) -> Vec<ListenerStats> {
        self.0.iter().map(|(l, _)| l.stats()).collect()
    }

    /// Gives every connection to `handler` until `shutdown`, then drains, each listener up to its own deadline.
    /// When dropped early, all connections are cut.
    pub async fn serve<F, Fut, E>(self, shutdown: CancellationToken, handler: F)
    where
        F: Fn(Arc<L>, Connection) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        let mut running = JoinSet::new();
        for (listener, own) in self.0 {
            let (handler, shutdown) = (handler.clone(), shutdown.clone());
            let service = listener.serve(move |connection| handler(own.clone(), connection));
            running.spawn(service.run(shutdown));
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a listener failed");
            }
        }
    }
}

#[cfg(test)]
mod tests;
