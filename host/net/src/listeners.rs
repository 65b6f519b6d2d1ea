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
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    fn options() -> ListenerOptions {
        ListenerOptions::new("test", "127.0.0.1:0").unwrap()
    }

    #[tokio::test]
    async fn each_serves_with_its_own_and_all_of_them_end() {
        let listeners = Listeners::bind([(options(), b'a'), (options(), b'b')]).unwrap();
        let (addresses, stats) = (listeners.local_addrs(), listeners.stats());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(listeners.serve(
            stop.clone(),
            |own: Arc<u8>, mut connection| async move {
                let _ = connection.stream.write_all(&[*own]).await;
                Ok::<_, Infallible>(())
            },
        ));
        for (address, own) in addresses.iter().zip(*b"ab") {
            let mut said = Vec::new();
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.read_to_end(&mut said).await.unwrap();
            assert_eq!(said, [own]);
        }
        assert_eq!(stats.iter().map(ListenerStats::accepted).sum::<u64>(), 2);
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), serving).await;
        ended.unwrap().unwrap();
        for address in addresses {
            assert!(TcpStream::connect(address).await.is_err());
        }
    }

    /// A port that is taken leaves none of the others bound.
    #[tokio::test]
    async fn all_are_bound_or_none() {
        let taken = Listener::bind(options()).unwrap();
        let mut second = options();
        second.bind = taken.local_addr();
        let refused = Listeners::bind([(options(), ()), (second, ())]);
        let Err(BindError::Bind { bind, .. }) = refused else {
            panic!("it was bound twice");
        };
        assert_eq!(bind, taken.local_addr());
    }
}
