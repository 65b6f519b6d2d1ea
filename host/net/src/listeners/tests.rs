//! Several listeners of one protocol.

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
