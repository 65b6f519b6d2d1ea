//! What may stand between Weir and a server: other ways into TLS, somebody in the middle, a pooler
//! without cancel keys.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipeline::memory::{Memory, MemoryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::config::{AuthMethod, PgTarget};
use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::testing::{Weir, options, target};
use crate::wire::{HEADER, header};

/// A certificate for 127.0.0.1, which is its own authority, in files.
struct Place {
    dir: PathBuf,
    pem: String,
}

impl Place {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("weir-up-{}", pipeline::SessionId::new()));
        std::fs::create_dir_all(&dir).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        std::fs::write(dir.join("cert.pem"), &pem).unwrap();
        std::fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
        Self { dir, pem }
    }

    fn server(&self, alpn: &[&[u8]], clients: bool) -> net::Tls {
        let (cert, key) = (self.dir.join("cert.pem"), self.dir.join("key.pem"));
        let mut options = net::ServerTlsOptions::new(cert.clone(), key).alpn(alpn);
        if clients {
            let authority = net::ClientAuthority {
                ca: cert,
                crl: None,
            };
            options.client_auth = net::ClientAuth::Required(authority);
        }
        net::Tls::load(options).unwrap()
    }

    fn client(&self, alpn: bool, identity: bool) -> net::ClientTls {
        let mut options = net::ClientTlsOptions::new(net::ClientTlsMode::VerifyFull);
        options.roots = Some(net::Roots::Pem(self.pem.clone().into_bytes()));
        if alpn {
            options.alpn = vec![b"postgresql".to_vec()];
        }
        options.identity = identity.then(|| (self.dir.join("cert.pem"), self.dir.join("key.pem")));
        net::ClientTls::build(options).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// Somebody between Weir and the server.
#[derive(Clone)]
enum Between {
    /// Ends TLS that begins with the first byte.
    Direct(net::Tls),
    /// Ends TLS after an SSLRequest: the server sees a connection without it.
    Ends(net::Tls),
    /// Passes everything on but the server's cancel keys.
    NoKeys,
}

async fn stand(between: Between) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = socket.accept().await {
            let between = between.clone();
            tokio::spawn(async move {
                pass(between, client).await.ok();
            });
        }
    });
    addr
}

async fn pass(between: Between, mut client: TcpStream) -> std::io::Result<()> {
    let limit = Duration::from_secs(10);
    let mut server = TcpStream::connect(("127.0.0.1", Postgres::shared().port)).await?;
    match between {
        Between::Direct(tls) => {
            if let Ok(mut client) = tls.accept(client, limit).await {
                copy_bidirectional(&mut client, &mut server).await?;
            }
        }
        Between::Ends(tls) => {
            let mut request = [0; 8];
            client.read_exact(&mut request).await?;
            client.write_all(b"S").await?;
            if let Ok(mut client) = tls.accept(client, limit).await {
                copy_bidirectional(&mut client, &mut server).await?;
            }
        }
        Between::NoKeys => {
            let (mut from_server, mut to_server) = server.split();
            let (mut from_client, mut to_client) = client.split();
            let strip = async {
                let mut buf = bytes::BytesMut::new();
                while from_server.read_buf(&mut buf).await? > 0 {
                    while let Ok(Some(h)) = header(&buf)
                        && buf.len() >= h.len
                    {
                        let frame = buf.split_to(h.len);
                        if h.tag != b'K' {
                            to_client.write_all(&frame).await?;
                        }
                        assert!(frame.len() >= HEADER);
                    }
                }
                to_client.shutdown().await
            };
            let up = tokio::io::copy(&mut from_client, &mut to_server);
            tokio::select! {
                end = strip => end?,
                end = up => drop(end?),
            }
        }
    }
    Ok(())
}

async fn connect(addr: SocketAddr, change: impl FnOnce(&mut PgTarget)) -> Result<(), String> {
    let mut t = target(Postgres::shared());
    t.port = addr.port();
    change(&mut t);
    let memory = Memory::new(MemoryPolicy::permit_all());
    let weir = Weir::start(options(t, memory.ports()));
    match Client::connect(weir.addr, "db/postgres").await {
        Ok(mut c) => {
            assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
            Ok(())
        }
        Err(m) => Err(m.field(b'C')),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_tls() {
    let place = Place::new();
    let postgres: &[&[u8]] = &[b"postgresql"];
    for (offers, alpn, works) in [
        (postgres, true, true),
        (&[], true, false),
        (postgres, false, false),
    ] {
        let addr = stand(Between::Direct(place.server(offers, false))).await;
        let result = connect(addr, |t| {
            t.tls = place.client(alpn, false);
            t.direct_tls = true;
        })
        .await;
        let expect = if works {
            Ok(())
        } else {
            Err("08006".to_owned())
        };
        assert_eq!(result, expect, "{offers:?} {alpn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_certificate_for_the_server() {
    let place = Place::new();
    let addr = stand(Between::Ends(place.server(&[], true))).await;
    for identity in [true, false] {
        let result = connect(addr, |t| t.tls = place.client(false, identity)).await;
        assert_eq!(result.is_ok(), identity, "{result:?}");
    }
}

/// Whoever ends our TLS without being the server cannot bind the login to it.
#[tokio::test(flavor = "multi_thread")]
async fn channel_binding_can_be_demanded() {
    let place = Place::new();
    let addr = stand(Between::Ends(place.server(&[], false))).await;
    for (method, works) in [
        (AuthMethod::ScramSha256, true),
        (AuthMethod::ScramSha256Plus, false),
    ] {
        let result = connect(addr, |t| {
            t.tls = place.client(false, false);
            t.require_auth = vec![method];
        })
        .await;
        let expect = if works {
            Ok(())
        } else {
            Err("08004".to_owned())
        };
        assert_eq!(result, expect, "{method:?}");
    }
}

/// A server that does not know 3.2 says so, and serves.
#[tokio::test(flavor = "multi_thread")]
async fn the_newer_protocol_is_asked_for() {
    let addr = SocketAddr::from(([127, 0, 0, 1], Postgres::shared().port));
    assert_eq!(connect(addr, |t| t.protocol_3_2 = true).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_without_a_key_of_the_servers() {
    let addr = stand(Between::NoKeys).await;
    for by_pid in [true, false] {
        let mut t = target(Postgres::shared());
        t.port = addr.port();
        t.cancel_by_pid = by_pid;
        let memory = Memory::new(MemoryPolicy::permit_all());
        let weir = Weir::start(options(t, memory.ports()));
        let mut c = Client::connect(weir.addr, "db/postgres").await.unwrap();
        assert_ne!(c.key.0, 0, "the client has a key of ours");
        let cancel = c.canceller();
        let begun = Instant::now();
        let sql = if by_pid {
            "SELECT pg_sleep(62)"
        } else {
            "SELECT pg_sleep(3)"
        };
        let stop = async {
            match by_pid {
                true => Postgres::shared().until_runs(sql).await,
                false => tokio::time::sleep(Duration::from_millis(300)).await,
            }
            cancel.await;
        };
        let (a, ()) = tokio::join!(c.query(sql), stop);
        let expect = if by_pid { "57014" } else { "" };
        assert_eq!(a.code(), expect, "{a:?}");
        assert!(begun.elapsed() < Duration::from_secs(20));
        // A cancel that comes when nothing runs harms nothing.
        c.canceller().await;
        assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
    }
}

/// The process of somebody else who has the number by now is not touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_more_than_its_number() {
    use super::{Backend, Bounds, Upstream};
    let (limits, t) = (crate::Limits::default(), target(Postgres::shared()));
    let bounds = Bounds {
        rows: 10,
        bytes: 1 << 10,
        time: Duration::from_secs(10),
    };
    let database: Arc<str> = "postgres".into();
    let connect = || Upstream::connect(&t, "postgres", &[], &limits);
    let mut busy = connect().await.unwrap();
    let right = Backend::of(&mut busy, &database, bounds).await.unwrap();
    let mut wrong = right.clone();
    wrong.started = right.started.replace(':', ".");
    assert_ne!(wrong.started, right.started);
    let sleep = busy.query("SELECT pg_sleep(3)", bounds);
    let cancels = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        wrong.cancel(&t, &limits).await.unwrap();
    };
    let (slept, ()) = tokio::join!(sleep, cancels);
    assert!(slept.is_ok(), "{slept:?}");
    const SLEEP: &str = "SELECT pg_sleep(9)";
    let sleep = busy.query(SLEEP, bounds);
    let cancels = async {
        Postgres::shared().until_runs(SLEEP).await;
        right.cancel(&t, &limits).await.unwrap();
    };
    let (slept, ()) = tokio::join!(sleep, cancels);
    let error = slept.unwrap_err().to_string();
    assert!(error.contains("57014"), "{error}");
}
