//! Peers that do not read what they are sent, and clients that have gone meanwhile.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use net::OnTheWay;
use pipeline::memory::{Memory, MemoryPolicy};
use pipeline::{EndReason, OutcomeKind};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::conformance::{between, meet, message, on, pair};
use crate::config::Limits;
use crate::leg::{Leg, Stream};
use crate::testing::ports::Keys;
use crate::transport::Event;
use crate::wire::{ChannelMessage, Connection, Open, Put, Request};

async fn tcp() -> (Box<dyn Stream>, Box<dyn Stream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = TcpStream::connect(listener.local_addr().unwrap());
    let (to, from) = tokio::join!(to, listener.accept());
    (Box::new(from.unwrap().0), Box::new(to.unwrap()))
}

/// A client and a host with a session between these legs.
async fn session(
    (client, inside): (Leg, Leg),
    (outside, host): (Leg, Leg),
    limits: Limits,
) -> (Leg, Leg, JoinHandle<EndReason>, Memory) {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let ended = between(memory.ports(), inside, outside, limits).await;
    let Ok(ended) = ended else {
        panic!("not permitted");
    };
    (client, host, ended, memory)
}

fn open(kind: &[u8], sender: u32) -> Vec<u8> {
    message(&Connection::Open(Open {
        kind,
        sender,
        window: 8 << 20,
        max_packet: 1 << 15,
        data: b"",
    }))
}

/// Says the same again and again and reads nothing, until nobody listens any more. So many times.
async fn flood(leg: &mut Leg, what: &[u8], most: usize) -> usize {
    const AT_ONCE: usize = 1_000;
    for said in 0..most / AT_ONCE {
        for _ in 0..AT_ONCE {
            leg.transport.send(what).unwrap();
        }
        let flushed = tokio::time::timeout(Duration::from_secs(10), leg.flush());
        if !matches!(flushed.await, Ok(Ok(()))) {
            return said * AT_ONCE;
        }
    }
    most
}

/// What is answered to a peer waits for it; so a peer that does not read is not listened to for ever, and in the end
/// its session ends. Each message here is answered by more bytes than it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_is_not_listened_to() {
    const MANY: usize = 1_000_000;
    let request = message(&Connection::GlobalRequest {
        name: b"x",
        want_reply: true,
        data: b"",
    });
    for (who, what) in [
        ("the client", open(b"x", 7)),
        ("the client", request.clone()),
        ("the host", open(b"x", 7)),
        ("the host", request),
    ] {
        let limits = Limits {
            max_stall: Duration::from_secs(1),
            ..Limits::default()
        };
        let keys = Keys::new();
        let (near, far) = (pair(&keys).await, pair(&keys).await);
        let (mut client, mut host, ended, _memory) = session(near, far, limits).await;
        let leg = match who {
            "the client" => &mut client,
            _ => &mut host,
        };
        let said = flood(leg, &what, MANY).await;
        assert!((1_000..MANY).contains(&said), "{who} said it {said} times");
        let reason = tokio::time::timeout(Duration::from_secs(30), ended).await;
        let EndReason::ProtocolViolation(reason) = reason.unwrap().unwrap() else {
            panic!("another reason");
        };
        assert!(
            reason.starts_with(&format!("{who} does not read")),
            "{reason}"
        );
    }
}

/// The host has started something and reads no more; the client sends all that it may, and is gone. How what had ended
/// by then did so is on record before the host is told goodbye, which it does not read either.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_gone_is_noticed_while_the_host_does_not_read() {
    let limits = Limits {
        last_bytes: Duration::from_secs(1),
        ..Limits::default()
    };
    let keys = Keys::new();
    let ((a, b), (c, d)) = (tcp().await, tcp().await);
    let (near, far) = (meet(&keys, a, b).await, meet(&keys, c, d).await);
    let (mut client, mut host, mut ended, memory) = session(near, far, limits).await;
    let mut command = Vec::new();
    command.string(b"sleep 60");
    let exec = |number| {
        let request = Request {
            name: b"exec",
            want_reply: false,
            data: &command,
        };
        on(number, ChannelMessage::Request(request))
    };
    for number in 0..8 {
        client.transport.send(&open(b"session", number)).unwrap();
        client.flush().await.unwrap();
        assert!(matches!(host.recv().await, Ok(Event::Packet(_))));
        let confirmation = Connection::OpenConfirmation {
            recipient: number,
            sender: number,
            window: 4 << 20,
            max_packet: 1 << 15,
            data: b"",
        };
        host.transport.send(&message(&confirmation)).unwrap();
        host.flush().await.unwrap();
        assert!(matches!(client.recv().await, Ok(Event::Packet(_))));
        client.transport.send(&exec(number)).unwrap();
        client.flush().await.unwrap();
        assert!(matches!(host.recv().await, Ok(Event::Packet(_))));
    }
    let status = Request {
        name: b"exit-status",
        want_reply: false,
        data: &[0, 0, 0, 3],
    };
    let status = on(0, ChannelMessage::Request(status));
    host.transport.send(&status).unwrap();
    host.flush().await.unwrap();
    let piece = vec![7; 1 << 15];
    let input = async {
        for number in 0..8 {
            for _ in 0..128 {
                let data = on(number, ChannelMessage::Data(&piece));
                client.transport.send(&data).unwrap();
                client.flush().await.unwrap();
            }
        }
    };
    let stuck = tokio::time::timeout(Duration::from_secs(2), input).await;
    assert!(stuck.is_err(), "all of it was taken");
    assert!(!ended.is_finished());
    let gone = Instant::now();
    drop(client);
    let ends = async {
        loop {
            let outcomes = memory.journal.outcomes();
            if let Some(outcome) = outcomes.iter().find(|o| o.detail == "exit 3") {
                break outcome.kind;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let kind = tokio::time::timeout(Duration::from_secs(20), ends).await;
    assert_eq!(kind.unwrap(), OutcomeKind::Failed);
    assert!(!ended.is_finished(), "last words came first");
    let reason = tokio::time::timeout(Duration::from_secs(20), &mut ended).await;
    assert_eq!(reason.unwrap().unwrap(), EndReason::ClientClosed);
    assert!(
        gone.elapsed() < Duration::from_secs(20),
        "{:?}",
        gone.elapsed()
    );
    drop(host);
}

/// A stream of which the system can be made to say that it leads nowhere.
struct Cut {
    io: DuplexStream,
    cut: Arc<AtomicBool>,
}

impl Stream for Cut {
    fn is_hung_up(&self) -> bool {
        false
    }

    fn on_the_way(&self) -> Option<OnTheWay> {
        let cut = self.cut.load(Ordering::SeqCst);
        Some(OnTheWay {
            bytes: 1,
            unanswered: if cut { 3 } else { 0 },
            silent: Duration::from_secs(3600),
        })
    }
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Who has vanished ends its session. Who is there, reads nothing and answers does not, however long that lasts.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_vanished_with_something_on_its_way_is_noticed() {
    for (who, reason) in [
        ("the client", EndReason::ClientClosed),
        ("the host", EndReason::UpstreamClosed),
    ] {
        let limits = Limits {
            max_silence: Duration::from_millis(400),
            last_bytes: Duration::from_millis(200),
            ..Limits::default()
        };
        let cut = Arc::new(AtomicBool::new(false));
        let keys = Keys::new();
        let streams = || {
            let (io, far) = tokio::io::duplex(64 << 10);
            let cut = cut.clone();
            (Box::new(Cut { io, cut }), Box::new(far))
        };
        let (plain, plain_far) = tokio::io::duplex(64 << 10);
        let (odd, odd_far) = streams();
        let plain: Box<dyn Stream> = Box::new(plain);
        let (near, far) = match who {
            "the client" => (
                meet(&keys, odd, odd_far).await,
                meet(&keys, Box::new(plain_far), plain).await,
            ),
            _ => (
                meet(&keys, plain, Box::new(plain_far)).await,
                meet(&keys, odd_far, odd).await,
            ),
        };
        let (mut client, host, mut ended, _memory) = session(near, far, limits).await;
        // Something for either of them.
        client.transport.send(&open(b"session", 0)).unwrap();
        client.transport.send(&open(b"x", 1)).unwrap();
        client.flush().await.unwrap();
        let there = tokio::time::timeout(Duration::from_secs(2), &mut ended).await;
        assert!(there.is_err(), "{who} is there: {there:?}");
        cut.store(true, Ordering::SeqCst);
        let gone = tokio::time::timeout(Duration::from_secs(30), &mut ended).await;
        assert_eq!(gone.unwrap().unwrap(), reason);
        drop(host);
    }
}

/// Whoever ends a session by breaking the protocol does not take off the record what it tried just before, behind
/// something that had to be decided on.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_tried_in_the_last_step_is_on_record() {
    let keys = Keys::new();
    let (near, far) = (pair(&keys).await, pair(&keys).await);
    let session = session(near, far, Limits::default()).await;
    let (mut client, mut host, ended, memory) = session;
    client.transport.send(&open(b"session", 0)).unwrap();
    client.flush().await.unwrap();
    assert!(matches!(host.recv().await, Ok(Event::Packet(_))));
    let confirmation = Connection::OpenConfirmation {
        recipient: 0,
        sender: 0,
        window: 1 << 20,
        max_packet: 1 << 15,
        data: b"",
    };
    host.transport.send(&message(&confirmation)).unwrap();
    host.flush().await.unwrap();
    assert!(matches!(client.recv().await, Ok(Event::Packet(_))));
    let request = |name, data| {
        let request = Request {
            name,
            want_reply: false,
            data,
        };
        on(0, ChannelMessage::Request(request))
    };
    for message in [
        request(b"env", b"\0\0\0\x01A\0\0\0\x01b"),
        request(b"x", b""),
        // For which nothing runs.
        on(0, ChannelMessage::Data(b"x")),
    ] {
        client.transport.send(&message).unwrap();
    }
    client.flush().await.unwrap();
    let reason = tokio::time::timeout(Duration::from_secs(30), ended).await;
    let reason = reason.unwrap().unwrap();
    assert!(matches!(reason, EndReason::ProtocolViolation(_)));
    let refusals = memory.journal.refusals();
    let reasons: Vec<&str> = refusals.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(reasons, ["a channel request that has no place here"]);
}
