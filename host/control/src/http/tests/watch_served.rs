//! Watching over a socket: whoever does not read, or is not there any more, keeps no place.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::served::served_with;
use super::watch::{acts, eventually, live};
use crate::Limits;
use crate::testing::Setup;

/// The answer's head has come, and the first sign of life.
async fn begin(address: SocketAddr, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v1/sessions/{id}/watch HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer dave\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains("alive") {
        let mut some = [0; 1_000];
        let count = stream.read(&mut some).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&all));
        all.extend(&some[..count]);
    }
    assert!(all.starts_with(b"HTTP/1.1 200"));
    stream
}

/// From now on nothing that comes is seen, and nothing is answered: neither taken nor refused.
fn vanish(stream: &TcpStream) {
    const RETURN: u16 = 0x06;
    let nothing = SockFilter::new(RETURN, 0, 0, 0);
    SockRef::from(stream).attach_filter(&[nothing]).unwrap();
}

/// Between Weir and a peer: takes so many bytes of what Weir sends, and then stands still.
async fn proxy(to: SocketAddr, most: usize) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        let mut weir = TcpStream::connect(to).await.unwrap();
        let (mut from_peer, mut to_peer) = peer.split();
        let (from_weir, mut to_weir) = weir.split();
        let mut some = from_weir.take(most as u64);
        tokio::join!(
            async { tokio::io::copy(&mut from_peer, &mut to_weir).await.ok() },
            async {
                tokio::io::copy(&mut some, &mut to_peer).await.ok();
                std::future::pending::<()>().await;
            },
        );
    });
    (address, task)
}

/// The session is quiet, so that only signs of life can find out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_nothing_is_cut_off() {
    for what in [
        "reads",
        "does not read",
        "vanishes",
        "is behind a proxy that stands still",
    ] {
        let limits = Limits {
            watch_alive: Duration::from_millis(10),
            watch_stalled: Duration::from_secs(3),
            ..Limits::default()
        };
        let setup = Setup {
            limits,
            ..Setup::default()
        };
        let served = served_with(None, setup).await;
        let (_session, id) = live(&served.rig, "alice").await;
        let _quiet = served.rig.watch.prepare();
        let (address, between) = match what.contains("proxy") {
            true => {
                let (address, task) = proxy(served.address, 100_000).await;
                (address, Some(task))
            }
            false => (served.address, None),
        };
        let mut peer = begin(address, &id).await;
        assert_eq!(served.rig.watch.open(), 1, "{what}");
        match what {
            // As long as it takes the others to be cut off.
            "reads" => {
                let mut some = vec![0; 64 << 10];
                let reading = async { while peer.read(&mut some).await.unwrap() > 0 {} };
                let cut = tokio::time::timeout(Duration::from_secs(8), reading).await;
                assert!(cut.is_err(), "{what}: it was cut off");
                assert_eq!(served.rig.watch.open(), 1, "{what}");
                drop(peer);
                served.end().await;
                continue;
            }
            "vanishes" => vanish(&peer),
            _ => {}
        }
        eventually(what, || served.rig.watch.open() == 0).await;
        eventually(what, || acts(&served.rig).len() == 2).await;
        let ended = acts(&served.rig)[1].1.clone().unwrap();
        assert!(
            ended.contains("what was sent was not read"),
            "{what}: {ended}"
        );
        // Another one of the same person has a place.
        let _quiet = served.rig.watch.prepare();
        let again = begin(served.address, &id).await;
        drop((peer, again));
        if let Some(between) = between {
            between.abort();
        }
        served.end().await;
    }
}
