//! Limits, drain, panics, and who the peer is.

use std::sync::atomic::AtomicBool;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn options() -> ListenerOptions {
    let mut options = ListenerOptions::new("test", "127.0.0.1:0").unwrap();
    options.drain = Duration::from_millis(200);
    options
}

struct Running {
    address: SocketAddr,
    stats: ListenerStats,
    stop: CancellationToken,
    task: JoinHandle<Drained>,
}

fn start<F, Fut, E>(options: ListenerOptions, handler: F) -> Running
where
    F: Fn(Connection) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let listener = Listener::bind(options).unwrap();
    let (address, stats) = (listener.local_addr(), listener.stats());
    let stop = CancellationToken::new();
    let task = tokio::spawn(listener.serve(handler).run(stop.clone()));
    Running {
        address,
        stats,
        stop,
        task,
    }
}

/// Sends back what it gets, until the client or the process ends.
async fn echo(mut connection: Connection) -> io::Result<()> {
    let mut buffer = [0; 256];
    loop {
        let n = tokio::select! {
            () = connection.shutdown.cancelled() => return Ok(()),
            n = connection.stream.read(&mut buffer) => n?,
        };
        if n == 0 {
            return Ok(());
        }
        connection.stream.write_all(&buffer[..n]).await?;
    }
}

async fn answers(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").await.is_ok() && matches!(stream.read(&mut byte).await, Ok(1))
}

async fn eventually(what: &str, check: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn addresses() {
    for (text, ok) in [
        ("127.0.0.1:5432", true),
        ("[::]:5432", true),
        ("0.0.0.0:0", true),
        ("127.0.0.1", false),
        ("5432", false),
        (":5432", false),
        ("localhost:5432", false),
        ("127.0.0.1:70000", false),
        ("", false),
    ] {
        assert_eq!(ListenerOptions::new("test", text).is_ok(), ok, "{text}");
    }
    let said = ListenerOptions::new("test", "nonsense")
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("nonsense") && said.contains("127.0.0.1:5432"),
        "{said}"
    );
}

#[tokio::test]
async fn binding_fails_by_name() {
    let first = Listener::bind(options()).unwrap();
    let mut second = options();
    second.bind = first.local_addr();
    let e = Listener::bind(second).err().unwrap();
    assert!(
        e.to_string().contains(&first.local_addr().to_string()),
        "{e}"
    );
    let mut none = options();
    none.max_connections = 0;
    assert!(matches!(
        Listener::bind(none),
        Err(BindError::MaxConnections { .. })
    ));
}

#[tokio::test]
async fn the_limit_closes_and_recovers() {
    let mut options = options();
    options.max_connections = 2;
    let running = start(options, echo);
    let mut a = TcpStream::connect(running.address).await.unwrap();
    let mut b = TcpStream::connect(running.address).await.unwrap();
    assert!(answers(&mut a).await && answers(&mut b).await);
    let mut c = TcpStream::connect(running.address).await.unwrap();
    assert!(!answers(&mut c).await, "one too many was served");
    assert_eq!((running.stats.active(), running.stats.refused()), (2, 1));
    assert!(answers(&mut a).await, "the others are not touched");
    drop(a);
    eventually("a slot is free again", || running.stats.active() == 1).await;
    let mut d = TcpStream::connect(running.address).await.unwrap();
    assert!(answers(&mut d).await);
}

#[tokio::test]
async fn drain_waits_for_those_who_finish() {
    let mut patient = options();
    patient.drain = PATIENCE;
    let running = start(patient, echo);
    let mut a = TcpStream::connect(running.address).await.unwrap();
    assert!(answers(&mut a).await);
    running.stop.cancel();
    assert_eq!(running.task.await.unwrap(), Drained { cut: 0 });
    assert!(
        TcpStream::connect(running.address).await.is_err(),
        "still listening"
    );
}

#[tokio::test]
async fn drain_cuts_those_who_do_not() {
    struct Dropped(Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let gone = Arc::new(AtomicBool::new(false));
    let seen = gone.clone();
    let running = start(options(), move |connection| {
        let dropped = Dropped(seen.clone());
        async move {
            let _both = (dropped, connection);
            std::future::pending::<Result<(), String>>().await
        }
    });
    let mut a = TcpStream::connect(running.address).await.unwrap();
    eventually("accepted", || running.stats.active() == 1).await;
    let began = Instant::now();
    running.stop.cancel();
    assert_eq!(running.task.await.unwrap(), Drained { cut: 1 });
    assert!(
        began.elapsed() >= Duration::from_millis(200),
        "cut before the deadline"
    );
    assert!(gone.load(Ordering::SeqCst), "its future was not dropped");
    assert!(!answers(&mut a).await);
}

#[tokio::test]
async fn dropping_the_service_cuts_everything() {
    let running = start(options(), |connection| async move {
        let _held = connection;
        std::future::pending::<Result<(), String>>().await
    });
    let _a = TcpStream::connect(running.address).await.unwrap();
    eventually("accepted", || running.stats.active() == 1).await;
    running.task.abort();
    eventually("cut", || running.stats.active() == 0).await;
}

#[tokio::test]
async fn a_panic_ends_one_connection() {
    let running = start(options(), |mut connection| async move {
        let mut byte = [0];
        connection.stream.read_exact(&mut byte).await?;
        assert_ne!(&byte, b"x", "a panic on purpose");
        connection.stream.write_all(b"fine").await
    });
    let mut a = TcpStream::connect(running.address).await.unwrap();
    assert!(!answers(&mut a).await);
    eventually("the slot is free", || running.stats.active() == 0).await;
    let mut b = TcpStream::connect(running.address).await.unwrap();
    b.write_all(b"y").await.unwrap();
    let mut text = String::new();
    b.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "fine");
}

#[tokio::test]
async fn peers_directly_and_behind_a_proxy() {
    async fn say(mut connection: Connection) -> io::Result<()> {
        let text = format!(
            "{} {:?}",
            connection.peer.source,
            connection.peer.via.is_some()
        );
        assert!(connection.stream.nodelay()?);
        connection.stream.write_all(text.as_bytes()).await
    }
    async fn ask(address: SocketAddr, first: &[u8]) -> (SocketAddr, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let me = stream.local_addr().unwrap();
        stream.write_all(first).await.unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        (me, text)
    }
    let running = start(options(), say);
    let (me, text) = ask(running.address, b"").await;
    assert_eq!(text, format!("{me} false"));

    let mut behind = options();
    behind.proxy_protocol = Some(ProxyProtocol::new(vec!["127.0.0.0/8".parse().unwrap()]));
    let running = start(behind, say);
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n";
    assert_eq!(ask(running.address, header).await.1, "192.0.2.1:56324 true");
    assert_eq!(ask(running.address, b"PROXY TCP4 nonsense\r\n").await.1, "");
    assert_eq!(running.stats.refused(), 1);
}

#[tokio::test]
async fn a_silent_proxy_does_not_block_accepting() {
    let mut behind = options();
    behind.proxy_protocol = Some(ProxyProtocol::new(vec!["127.0.0.0/8".parse().unwrap()]));
    let running = start(behind, echo);
    let _silent = TcpStream::connect(running.address).await.unwrap();
    let mut other = TcpStream::connect(running.address).await.unwrap();
    other.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    assert!(answers(&mut other).await);
}

#[tokio::test]
async fn an_ipv4_client_of_a_dual_stack_socket_is_an_ipv4_client() {
    let mut both = options();
    both.bind = "[::]:0".parse().unwrap();
    let running = start(both, |mut connection| async move {
        connection
            .stream
            .write_all(connection.peer.source.to_string().as_bytes())
            .await
    });
    let mut stream = TcpStream::connect(("127.0.0.1", running.address.port()))
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, stream.local_addr().unwrap().to_string());
}
