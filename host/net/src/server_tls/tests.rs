//! Reloading, ALPN, and files that cannot be used.

use std::fs;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::testing::{Ca, TempDir};
use crate::{ClientTls, ClientTlsMode, ClientTlsOptions, ClientTlsStream, Roots, ServerTlsStream};

const LIMIT: Duration = Duration::from_secs(10);

type Pair = (ServerTlsStream<DuplexStream>, ClientTlsStream<DuplexStream>);

async fn pair(server: &Tls, ca: &Ca, alpn: &[&[u8]]) -> Result<Pair, TlsError> {
    let mut options = ClientTlsOptions::new(ClientTlsMode::VerifyFull);
    options.roots = Some(Roots::Pem(ca.pem.clone().into_bytes()));
    options.alpn = alpn.iter().map(|p| p.to_vec()).collect();
    let client = ClientTls::build(options)?;
    let (near, far) = duplex(64 * 1024);
    let (s, c) = tokio::join!(
        server.accept(far, LIMIT),
        client.connect("db.example", near, LIMIT)
    );
    Ok((s?, c?))
}

fn write(dir: &TempDir, ca: &Ca) -> ServerTlsOptions {
    let leaf = ca.leaf(&["db.example"]);
    ServerTlsOptions::new(
        dir.write("tls.crt", &leaf.cert),
        dir.write("tls.key", &leaf.key),
    )
}

#[tokio::test]
async fn reload_changes_new_connections_and_keeps_old_ones() {
    let dir = TempDir::new();
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let tls = Tls::load(write(&dir, &old)).unwrap();
    assert!(!tls.reload().unwrap(), "nothing changed");
    let (mut server, mut client) = pair(&tls, &old, &[]).await.unwrap();

    write(&dir, &new);
    assert!(tls.clone().reload().unwrap());
    assert!(pair(&tls, &old, &[]).await.is_err());
    pair(&tls, &new, &[]).await.unwrap();

    server.write_all(b"still here").await.unwrap();
    server.flush().await.unwrap();
    let mut text = [0; 10];
    client.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"still here");
}

#[tokio::test]
async fn a_bad_reload_changes_nothing() {
    let dir = TempDir::new();
    let ca = Ca::new("ours");
    let tls = Tls::load(write(&dir, &ca)).unwrap();
    let good_key = fs::read_to_string(dir.path("tls.key")).unwrap();
    let foreign = ca.leaf(&["db.example"]);
    for (name, text) in [
        ("tls.key", foreign.key.as_str()),
        ("tls.key", "not a key"),
        ("tls.crt", "not a certificate"),
        ("tls.crt", ""),
    ] {
        let before = fs::read_to_string(dir.path(name)).unwrap();
        dir.write(name, text);
        assert!(tls.reload().is_err(), "{name} {text:.20}");
        pair(&tls, &ca, &[]).await.unwrap();
        dir.write(name, &before);
    }
    fs::remove_file(dir.path("tls.key")).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::File(_))));
    dir.write("tls.key", &good_key);
    assert!(!tls.reload().unwrap());
}

#[tokio::test]
async fn watch_notices_new_files_and_survives_half_of_them() {
    let dir = TempDir::new();
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let tls = Tls::load(write(&dir, &old)).unwrap();
    let stop = CancellationToken::new();
    let watching = tls.clone().watch(Duration::from_millis(10), stop.clone());
    let change = async {
        let leaf = new.leaf(&["db.example"]);
        dir.write("tls.crt", &leaf.cert);
        tokio::time::sleep(Duration::from_millis(100)).await;
        pair(&tls, &old, &[]).await.unwrap();
        dir.write("tls.key", &leaf.key);
        let deadline = tokio::time::Instant::now() + LIMIT;
        while pair(&tls, &new, &[]).await.is_err() {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the new files were not noticed"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stop.cancel();
    };
    tokio::join!(watching, change);
}

#[tokio::test]
async fn alpn_is_chosen_or_refused() {
    let dir = TempDir::new();
    let ca = Ca::new("ours");
    let postgres: &[&[u8]] = &[b"postgresql"];
    let web: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (ours, theirs, chosen) in [
        (postgres, postgres, Some(Some(&b"postgresql"[..]))),
        (postgres, &[][..], Some(None)),
        (postgres, web, None),
        (&[], postgres, Some(None)),
        (web, &[b"http/1.1", b"h2"], Some(Some(&b"h2"[..]))),
    ] {
        let tls = Tls::load(write(&dir, &ca).alpn(ours)).unwrap();
        let result = pair(&tls, &ca, theirs).await;
        let got = result
            .as_ref()
            .ok()
            .map(|(s, _)| s.get_ref().1.alpn_protocol());
        assert_eq!(got, chosen, "{ours:?} {theirs:?}");
    }
}

#[tokio::test]
async fn a_silent_client_does_not_hold_us() {
    let dir = TempDir::new();
    let tls = Tls::load(write(&dir, &Ca::new("ours"))).unwrap();
    let (_near, far) = duplex(16);
    let e = tls.accept(far, Duration::from_millis(50)).await;
    assert!(matches!(e, Err(TlsError::Timeout(_))));
    let (mut near, far) = duplex(1024);
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(matches!(
        tls.accept(far, LIMIT).await,
        Err(TlsError::Handshake(_))
    ));
}

#[tokio::test]
async fn tls12_can_be_refused() {
    let dir = TempDir::new();
    let ca = Ca::new("ours");
    let mut options = write(&dir, &ca);
    options.only_tls13 = true;
    let tls = Tls::load(options).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = authorities(ca.pem.as_bytes(), "test").unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = duplex(64 * 1024);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = "db.example".try_into().unwrap();
    let (s, c) = tokio::join!(tls.accept(far, LIMIT), connector.connect(name, near));
    assert!(s.is_err() && c.is_err());
}

#[test]
fn unusable_files_are_named() {
    let dir = TempDir::new();
    let ca = Ca::new("ours");
    let good = write(&dir, &ca);
    let huge = dir.write("huge", &"x".repeat(crate::MAX_PEM_BYTES as usize + 1));
    let text = |options: ServerTlsOptions| Tls::load(options).err().unwrap().to_string();
    for (cert, key) in [
        (dir.path("missing"), good.key.clone()),
        (good.cert.clone(), dir.path("missing")),
        (huge.clone(), good.key.clone()),
    ] {
        let said = text(ServerTlsOptions::new(cert, key));
        assert!(said.contains("missing") || said.contains("huge"), "{said}");
    }
    let mut options = good.clone();
    options.client_auth = ClientAuth::Required(ClientAuthority {
        ca: good.key.clone(),
        crl: None,
    });
    assert!(text(options).contains("no certificate"));
    let mut options = good.clone();
    options.client_auth = ClientAuth::Optional(ClientAuthority {
        ca: good.cert.clone(),
        crl: Some(good.cert.clone()),
    });
    assert!(text(options).contains("no certificate revocation list"));
    assert!(text(ServerTlsOptions::new(good.key.clone(), good.key.clone())).contains("tls.key"));
}

/// A client's handshake with a certificate; TLS 1.2 tells it at once, 1.3 with the first read.
async fn shows(server: &Tls, ours: &Ca, mine: &crate::testing::Leaf, dir: &TempDir) -> bool {
    let mut options = ClientTlsOptions::new(ClientTlsMode::VerifyFull);
    options.roots = Some(Roots::Pem(ours.pem.clone().into_bytes()));
    options.identity = Some((
        dir.write("me.crt", &mine.cert),
        dir.write("me.key", &mine.key),
    ));
    let client = ClientTls::build(options).unwrap();
    let (near, far) = duplex(64 * 1024);
    let (s, _c) = tokio::join!(
        server.accept(far, LIMIT),
        client.connect("db.example", near, LIMIT)
    );
    s.is_ok_and(|s| s.get_ref().1.peer_certificates().is_some())
}

#[tokio::test]
async fn a_revoked_certificate_is_refused() {
    let dir = TempDir::new();
    let ca = Ca::new("ours");
    let serial =
        |n: u8| move |p: &mut rcgen::CertificateParams| p.serial_number = Some(vec![n].into());
    let (good, bad) = (
        ca.leaf_with(&["good"], serial(7)),
        ca.leaf_with(&["bad"], serial(8)),
    );
    let crl = dir.write("ours.crl", &ca.crl(&[], 2099));
    let mut options = write(&dir, &ca);
    options.client_auth = ClientAuth::Required(ClientAuthority {
        ca: dir.write("ca.crt", &ca.pem),
        crl: Some(crl),
    });
    let tls = Tls::load(options).unwrap();
    assert!(shows(&tls, &ca, &good, &dir).await && shows(&tls, &ca, &bad, &dir).await);

    dir.write("ours.crl", &ca.crl(&[8], 2099));
    assert!(tls.reload().unwrap(), "a new list is a change");
    assert!(shows(&tls, &ca, &good, &dir).await);
    assert!(!shows(&tls, &ca, &bad, &dir).await);

    // A list that says nothing about this authority, or nothing any more, vouches for nobody.
    for list in [ca.crl(&[8], 2021), Ca::new("other").crl(&[], 2099)] {
        dir.write("ours.crl", &list);
        assert!(tls.reload().unwrap());
        assert!(!shows(&tls, &ca, &good, &dir).await);
    }
    // What is no list at all is not taken.
    dir.write("ours.crl", "");
    assert!(tls.reload().is_err());
}

#[tokio::test]
async fn a_session_with_a_certificate_is_not_resumed() {
    let dir = TempDir::new();
    let ca = Ca::new("ours");
    let mut options = write(&dir, &ca);
    options.client_auth = ClientAuth::Optional(ClientAuthority {
        ca: dir.write("ca.crt", &ca.pem),
        crl: None,
    });
    let config = Tls::load(options).unwrap().current();
    assert_eq!(config.send_tls13_tickets, 0);
    assert!(!config.session_storage.can_cache());
    assert!(!config.ticketer.enabled());
}
