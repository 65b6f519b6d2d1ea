//! Handshakes of every mode against good, wrong and expired certificates.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::testing::{Ca, Leaf, TempDir, expired, self_signed_ca};
use crate::{ClientAuth, ClientAuthority, ServerTlsOptions, Tls};

const LIMIT: Duration = Duration::from_secs(10);

/// One handshake over a pipe and one message back; what the client thought of it.
async fn handshake(server: &Tls, client: &ClientTls, host: &str) -> Result<Vec<u8>, TlsError> {
    let (near, far) = duplex(64 * 1024);
    let serve = async {
        let mut stream = server.accept(far, LIMIT).await?;
        let _ = stream.write_all(b"hello").await;
        let _ = stream.shutdown().await;
        Ok::<_, TlsError>(())
    };
    let call = async {
        let mut stream = client.connect(host, near, LIMIT).await?;
        let mut text = Vec::new();
        stream
            .read_to_end(&mut text)
            .await
            .map_err(TlsError::Handshake)?;
        Ok(text)
    };
    let (served, called) = tokio::join!(serve, call);
    match (served, called) {
        (_, Err(e)) | (Err(e), _) => Err(e),
        (Ok(()), Ok(text)) => Ok(text),
    }
}

fn server(dir: &TempDir, leaf: &Leaf) -> Tls {
    let cert = dir.write("server.crt", &leaf.cert);
    let key = dir.write("server.key", &leaf.key);
    Tls::load(ServerTlsOptions::new(cert, key)).unwrap()
}

fn client(mode: ClientTlsMode, roots: Option<&str>) -> ClientTls {
    let mut options = ClientTlsOptions::new(mode);
    options.roots = roots.map(|pem| Roots::Pem(pem.as_bytes().to_vec()));
    ClientTls::build(options).unwrap()
}

#[tokio::test]
async fn modes_mean_what_libpq_means() {
    use ClientTlsMode as M;
    let dir = TempDir::new();
    let (ca, other) = (Ca::new("ours"), Ca::new("theirs"));
    let good = ca.leaf(&["db.example", "127.0.0.1"]);
    let old = ca.leaf_with(&["db.example"], expired);
    let own = self_signed_ca(&["db.example"], |_| {});
    let own_old = self_signed_ca(&["db.example"], expired);
    let own_twin = self_signed_ca(&["db.example"], |_| {});

    let table = [
        // mode, server's certificate, client's roots, dialled name, works
        (M::VerifyFull, &good, Some(&ca.pem), "db.example", true),
        (M::VerifyFull, &good, Some(&ca.pem), "127.0.0.1", true),
        (M::VerifyFull, &good, Some(&ca.pem), "evil.example", false),
        (M::VerifyFull, &good, Some(&other.pem), "db.example", false),
        (M::VerifyFull, &good, None, "db.example", false),
        (M::VerifyFull, &old, Some(&ca.pem), "db.example", false),
        (M::VerifyCa, &good, Some(&ca.pem), "evil.example", true),
        (M::VerifyCa, &good, Some(&other.pem), "db.example", false),
        (M::VerifyCa, &old, Some(&ca.pem), "db.example", false),
        (M::Require, &good, None, "evil.example", true),
        (M::Require, &old, None, "evil.example", true),
        (M::Require, &good, Some(&other.pem), "db.example", false),
        (M::Require, &good, Some(&ca.pem), "evil.example", true),
        (M::Prefer, &good, None, "evil.example", true),
        // The server's own certificate as the CA file.
        (M::VerifyFull, &own, Some(&own.cert), "db.example", true),
        (M::VerifyFull, &own, Some(&own.cert), "evil.example", false),
        (M::VerifyCa, &own, Some(&own.cert), "evil.example", true),
        (
            M::VerifyFull,
            &own_old,
            Some(&own_old.cert),
            "db.example",
            false,
        ),
        (
            M::VerifyFull,
            &own_twin,
            Some(&own.cert),
            "db.example",
            false,
        ),
        (M::VerifyCa, &own_twin, Some(&own.cert), "db.example", false),
    ];
    for (n, (mode, leaf, roots, host, works)) in table.into_iter().enumerate() {
        let result = handshake(
            &server(&dir, leaf),
            &client(mode, roots.map(String::as_str)),
            host,
        )
        .await;
        match result {
            Ok(text) => assert!(works && text == b"hello", "row {n} should not work"),
            Err(e) => assert!(!works, "row {n} should work: {}", e.chain()),
        }
    }
}

#[test]
fn contradictions_are_refused() {
    use ClientTlsMode as M;
    let ca = Ca::new("ours");
    let pem = || Some(Roots::Pem(ca.pem.clone().into_bytes()));
    for (mode, roots, ok) in [
        (M::VerifyCa, None, false),
        (M::VerifyCa, Some(Roots::WebPki), false),
        (M::Require, Some(Roots::WebPki), false),
        (M::Require, Some(Roots::System), false),
        (M::Prefer, pem(), false),
        (M::VerifyFull, Some(Roots::WebPki), true),
        (M::VerifyFull, pem(), true),
        (
            M::VerifyFull,
            Some(Roots::Pem(b"no certificate".to_vec())),
            false,
        ),
        (
            M::VerifyFull,
            Some(Roots::File("/does/not/exist".into())),
            false,
        ),
        (M::Disable, None, true),
    ] {
        let mut options = ClientTlsOptions::new(mode);
        options.roots = roots.clone();
        assert_eq!(ClientTls::build(options).is_ok(), ok, "{mode} {roots:?}");
    }
    for mode in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
        assert_eq!(mode.parse::<M>().unwrap().as_str(), mode);
    }
    for mode in ["allow", "Require", "", "verify_full"] {
        assert!(mode.parse::<M>().is_err(), "{mode}");
    }
}

#[tokio::test]
async fn disabled_never_connects_and_names_are_checked_first() {
    let (near, _far) = duplex(16);
    let e = ClientTls::disabled()
        .connect("db.example", near, LIMIT)
        .await
        .unwrap_err();
    assert!(matches!(e, TlsError::Disabled));
    let (near, _far) = duplex(16);
    let e = client(ClientTlsMode::Require, None)
        .connect("no name", near, LIMIT)
        .await;
    assert!(matches!(e, Err(TlsError::ServerName(_))));
}

#[tokio::test]
async fn a_silent_server_does_not_hold_us() {
    let (near, _far) = duplex(64 * 1024);
    let limit = Duration::from_millis(50);
    let e = client(ClientTlsMode::Require, None)
        .connect("db.example", near, limit)
        .await;
    assert!(matches!(e, Err(TlsError::Timeout(_))));
}

#[tokio::test]
async fn client_certificates() {
    let dir = TempDir::new();
    let (ca, other) = (Ca::new("ours"), Ca::new("theirs"));
    let leaf = ca.leaf(&["db.example"]);
    let ca_file = dir.write("ca.crt", &ca.pem);
    let with = |issuer: Option<&Ca>| {
        let mut options = ClientTlsOptions::new(ClientTlsMode::VerifyFull);
        options.roots = Some(Roots::File(ca_file.clone()));
        options.identity = issuer.map(|issuer| {
            let mine = issuer.leaf(&["somebody"]);
            (
                dir.write("me.crt", &mine.cert),
                dir.write("me.key", &mine.key),
            )
        });
        ClientTls::build(options).unwrap()
    };
    let authority = ClientAuthority {
        ca: ca_file.clone(),
        crl: None,
    };
    let required = ClientAuth::Required(authority.clone());
    let optional = ClientAuth::Optional(authority);
    for (auth, issuer, works) in [
        (&required, Some(&ca), true),
        (&required, Some(&other), false),
        (&required, None, false),
        (&optional, Some(&ca), true),
        (&optional, Some(&other), false),
        (&optional, None, true),
    ] {
        let cert = dir.write("server.crt", &leaf.cert);
        let key = dir.write("server.key", &leaf.key);
        let mut options = ServerTlsOptions::new(cert, key);
        options.client_auth = auth.clone();
        let tls = Tls::load(options).unwrap();
        let result = handshake(&tls, &with(issuer), "db.example").await;
        assert_eq!(result.is_ok(), works, "{auth:?} {}", issuer.is_some());
    }
}
