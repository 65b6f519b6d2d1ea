//! The first bytes of a connection, against a running service without an upstream.

mod certificates;
mod oauth;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use pipeline::memory::{Memory, MemoryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::testing::{TOKEN, Weir, options, target};
use crate::wire::startup::{PROTOCOL_3_0, PROTOCOL_3_2, ssl_request};

const GSSENC: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

/// A service with TLS; the directory of its certificate goes with it.
fn with_tls() -> (Weir, Arc<rustls::ClientConfig>) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".into()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let dir = std::env::temp_dir().join(format!("weir-tls-{}", pipeline::SessionId::new()));
    std::fs::create_dir_all(&dir).unwrap();
    let (c, k) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&c, cert.pem()).unwrap();
    std::fs::write(&k, key.serialize_pem()).unwrap();
    let tls = net::Tls::load(net::ServerTlsOptions::new(&c, &k).alpn(&[b"postgresql"])).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut o = options(target(Postgres::shared()), memory.ports());
    o.listeners[0].tls = Some(tls);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Weir::start(o), Arc::new(config))
}

async fn handshake(
    tcp: TcpStream,
    config: &Arc<rustls::ClientConfig>,
    alpn: bool,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut config = (**config).clone();
    if alpn {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
}

async fn works(io: Box<dyn crate::testing::client::Io>, weir: &Weir) {
    let mut c = Client::over(io, weir.addr);
    c.startup(PROTOCOL_3_0, &[("user", "me"), ("database", "db/postgres")])
        .await;
    c.login(TOKEN).await.unwrap();
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_is_negotiated() {
    let (weir, config) = with_tls();
    let mut request = BytesMut::new();
    ssl_request(&mut request);
    // GSSAPI first, as libpq does it; then TLS.
    let mut tcp = TcpStream::connect(weir.addr).await.unwrap();
    tcp.write_all(GSSENC).await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), b'N');
    tcp.write_all(&request).await.unwrap();
    assert_eq!(tcp.read_u8().await.unwrap(), b'S');
    works(
        Box::new(handshake(tcp, &config, false).await.unwrap()),
        &weir,
    )
    .await;
    // Direct TLS, only with ALPN.
    let tcp = TcpStream::connect(weir.addr).await.unwrap();
    works(
        Box::new(handshake(tcp, &config, true).await.unwrap()),
        &weir,
    )
    .await;
    let tcp = TcpStream::connect(weir.addr).await.unwrap();
    let tls = handshake(tcp, &config, false).await.unwrap();
    let mut c = Client::over(Box::new(tls), weir.addr);
    assert_eq!(c.next().await.unwrap().field(b'C'), "08P01");
    // A startup packet that came with the request was not protected: nobody may read it as if it was.
    let mut tcp = TcpStream::connect(weir.addr).await.unwrap();
    let mut early = request.to_vec();
    early.extend_from_slice(b"\0\0\0\x11\0\x03\0\0user\0me\0\0");
    tcp.write_all(&early).await.unwrap();
    let mut c = Client::over(Box::new(tcp), weir.addr);
    let m = c.next().await;
    // FATAL in plain, or nothing at all; never an 'S' that goes on.
    assert!(m.is_none_or(|m| m.tag == 'E'));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_options() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let weir = Weir::to(Postgres::shared(), memory.ports());
    for (version, extra, answer, secret) in [
        (PROTOCOL_3_0, None, None, 4),
        (PROTOCOL_3_2, None, None, 32),
        ((3 << 16) | 9999, None, Some("\0\x03\0\x02\0\0\0\0"), 32),
        (
            PROTOCOL_3_2,
            Some(("_pq_.x", "1")),
            Some("\0\x03\0\x02\0\0\0\x01_pq_.x\0"),
            32,
        ),
        (
            PROTOCOL_3_0,
            Some(("_pq_.x", "1")),
            Some("\0\x03\0\0\0\0\0\x01_pq_.x\0"),
            4,
        ),
    ] {
        let mut c = Client::raw(weir.addr).await;
        let mut parameters = vec![("user", "me"), ("database", "db/postgres")];
        parameters.extend(extra);
        c.startup(version, &parameters).await;
        c.login(TOKEN).await.unwrap();
        let negotiated = c.greeting.iter().find(|m| m.tag == 'v');
        let body = negotiated.map(|m| String::from_utf8(m.body.clone()).unwrap());
        assert_eq!(body.as_deref(), answer, "{version:x} {extra:?}");
        assert_eq!(c.key.1.len(), secret);
        assert!(
            c.parameters
                .iter()
                .any(|(n, v)| n == "server_encoding" && v == "UTF8")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_arrive_in_the_upstreams_startup() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let weir = Weir::to(Postgres::shared(), memory.ports());
    let mut c = Client::raw(weir.addr).await;
    c.startup(
        PROTOCOL_3_0,
        &[
            ("user", "me"),
            ("database", "db/postgres"),
            (
                "options",
                "-c statement_timeout=77s -c intervalstyle=iso_8601",
            ),
            ("application_name", "tests"),
        ],
    )
    .await;
    c.login(TOKEN).await.unwrap();
    for (name, value) in [
        ("statement_timeout", "77s"),
        ("intervalstyle", "iso_8601"),
        ("application_name", "tests"),
    ] {
        assert_eq!(c.query(&format!("SHOW {name}")).await.value(), Some(value));
        // RESET goes to the client's default, not to the role's.
        c.query(&format!("RESET {name}")).await;
        assert_eq!(c.query(&format!("SHOW {name}")).await.value(), Some(value));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_turned_away() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let weir = Weir::to(Postgres::shared(), memory.ports());
    let db = ("database", "db/postgres");
    for (parameters, token, code) in [
        (vec![("user", "me"), db], "wrong", "28P01"),
        (vec![("user", "me"), db], "", "28P01"),
        (vec![db], TOKEN, "28000"),
        (vec![("user", "me"), ("user", "you"), db], TOKEN, "08P01"),
        (
            vec![("user", "me"), db, ("replication", "true")],
            TOKEN,
            "42501",
        ),
        (
            vec![("user", "me"), db, ("role", "postgres")],
            TOKEN,
            "42501",
        ),
        (
            vec![("user", "me"), ("database", "nowhere/x")],
            TOKEN,
            "3D000",
        ),
        (
            vec![("user", "me"), ("database", "db/nowhere")],
            TOKEN,
            "3D000",
        ),
        (vec![("user", "me")], TOKEN, "3D000"),
    ] {
        let mut c = Client::raw(weir.addr).await;
        c.startup(PROTOCOL_3_0, &parameters).await;
        let m = c.login(token).await.unwrap_err();
        assert_eq!(m.field(b'C'), code, "{parameters:?}: {m:?}");
        assert_eq!(m.field(b'S'), "FATAL");
        assert_eq!(c.next().await, None);
    }
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\x08\0\x02\0\0",
        b"\0\0\0\x04",
        b"\0\0\0\x08\x04\xd2\x16\x30\0\0\0\x08\x04\xd2\x16\x30",
    ] {
        let mut tcp = TcpStream::connect(weir.addr).await.unwrap();
        tcp.write_all(bytes).await.unwrap();
        let mut all = Vec::new();
        tokio::time::timeout(Duration::from_secs(30), tcp.read_to_end(&mut all))
            .await
            .expect("it is closed")
            .ok();
        assert!(
            all.is_empty() || all[0] == b'E' || all[0] == b'N',
            "{bytes:?}: {all:?}"
        );
    }
    // Something else than a password, and one that is too long.
    for bytes in [
        &b"Q\0\0\0\x0dSELECT 1\0"[..],
        b"p\x7f\xff\xff\xff",
        b"p\0\0\0\x04",
        b"p\0\0\0\x07a\0b",
    ] {
        let mut c = Client::raw(weir.addr).await;
        c.startup(PROTOCOL_3_0, &[("user", "me"), db]).await;
        assert_eq!(c.next().await.unwrap().tag, 'R');
        c.io.write_all(bytes).await.unwrap();
        let m = c.next().await.unwrap();
        assert_eq!(m.field(b'C'), "08P01", "{bytes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_before_authentication() {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut o = options(target(Postgres::shared()), memory.ports());
    o.limits.max_unauthenticated_per_source = 2;
    o.limits.login_timeout = Duration::from_secs(5);
    let weir = Weir::start(o);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut c = Client::raw(weir.addr).await;
        c.startup(PROTOCOL_3_0, &[("user", "me"), ("database", "db/postgres")])
            .await;
        assert_eq!(c.next().await.unwrap().tag, 'R');
        waiting.push(c);
    }
    let mut c = Client::raw(weir.addr).await;
    assert_eq!(c.next().await, None, "one too many is closed");
    // Who does not log in in time makes room.
    assert_eq!(waiting[0].next().await, None);
    assert!(Client::connect(weir.addr, "db/postgres").await.is_ok());
}
