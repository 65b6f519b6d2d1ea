//! Logins by certificate, alone and beside a token.

use std::path::PathBuf;

use super::*;
use crate::config::{BuildError, ClientLogin};
use crate::testing::AUTHORITY;

/// An authority for clients, and the server's own certificate.
struct Place {
    dir: PathBuf,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    server: rcgen::Certificate,
}

impl Place {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("weir-certs-{}", pipeline::SessionId::new()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        std::fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
        let own = rcgen::KeyPair::generate().unwrap();
        let server = rcgen::CertificateParams::new(vec!["localhost".into()])
            .unwrap()
            .self_signed(&own)
            .unwrap();
        std::fs::write(dir.join("cert.pem"), server.pem()).unwrap();
        std::fs::write(dir.join("key.pem"), own.serialize_pem()).unwrap();
        Self {
            dir,
            issuer: rcgen::Issuer::new(params, key),
            server,
        }
    }

    fn tls(&self) -> net::Tls {
        let (cert, key) = (self.dir.join("cert.pem"), self.dir.join("key.pem"));
        let mut options = net::ServerTlsOptions::new(cert, key).alpn(&[b"postgresql"]);
        options.client_auth = net::ClientAuth::Optional(net::ClientAuthority {
            ca: self.dir.join("ca.pem"),
            crl: None,
        });
        net::Tls::load(options).unwrap()
    }

    fn weir(&self, logins: &[ClientLogin]) -> Weir {
        let memory = Memory::new(MemoryPolicy::permit_all());
        let mut o = options(target(Postgres::shared()), memory.ports());
        o.listeners[0].tls = Some(self.tls());
        o.listeners[0].logins = logins.to_vec();
        o.listeners[0].certificates = Some(AUTHORITY.into());
        Weir::start(o)
    }

    /// A client that shows a certificate with this name, or none.
    async fn client(&self, weir: &Weir, name: Option<&str>) -> Client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.server.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = rcgen::KeyPair::generate().unwrap();
                let params = rcgen::CertificateParams::new(vec![name.into()]).unwrap();
                let cert = params.signed_by(&key, &self.issuer).unwrap();
                let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder
                    .with_client_auth_cert(vec![cert.der().clone()], der)
                    .unwrap()
            }
        };
        let tcp = TcpStream::connect(weir.addr).await.unwrap();
        let tls = handshake(tcp, &Arc::new(config), true).await.unwrap();
        let mut c = Client::over(Box::new(tls), weir.addr);
        c.startup(PROTOCOL_3_2, &[("user", "me"), ("database", "db/postgres")])
            .await;
        c
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in() {
    use ClientLogin::{Certificate, CertificateAndPassword, Password};
    let place = Place::new();
    for (logins, name, token, expect) in [
        // The certificate alone; nothing is asked, and a token is of no help.
        (&[Certificate][..], Some("robot.test"), None, Ok(())),
        (&[Certificate], Some("stranger.test"), None, Err("28000")),
        (&[Certificate], None, None, Err("28000")),
        // Whoever shows one goes by it, also when it is not good enough.
        (&[Certificate, Password], Some("robot.test"), None, Ok(())),
        (
            &[Certificate, Password],
            Some("stranger.test"),
            None,
            Err("28000"),
        ),
        (&[Certificate, Password], None, Some(TOKEN), Ok(())),
        (&[Certificate, Password], None, Some("wrong"), Err("28P01")),
        (&[Password], Some("robot.test"), Some(TOKEN), Ok(())),
        // Both, and of one actor: TOKEN is alice's.
        (
            &[CertificateAndPassword],
            Some("alice.test"),
            Some(TOKEN),
            Ok(()),
        ),
        (
            &[CertificateAndPassword],
            Some("alice.test"),
            Some("wrong"),
            Err("28P01"),
        ),
        (
            &[CertificateAndPassword],
            Some("robot.test"),
            Some(TOKEN),
            Err("28000"),
        ),
        (
            &[CertificateAndPassword],
            Some("stranger.test"),
            None,
            Err("28000"),
        ),
        (&[CertificateAndPassword], None, None, Err("28000")),
    ] {
        let weir = place.weir(logins);
        let mut c = place.client(&weir, name).await;
        let result = c.login(token.unwrap_or("must not be asked for")).await;
        let asked = c
            .greeting
            .iter()
            .any(|m| m.tag == 'R' && m.body == [0, 0, 0, 3]);
        assert_eq!(asked, token.is_some(), "{logins:?} {name:?}");
        let result = result.map_err(|m| m.field(b'C'));
        assert_eq!(
            result,
            expect.map_err(str::to_owned),
            "{logins:?} {name:?} {token:?}"
        );
        if expect.is_ok() {
            assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
        } else {
            assert_eq!(c.next().await, None);
        }
    }
}

/// After as long as the authority of the tests gives; with a token, the earlier end counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_the_certificate() {
    let place = Place::new();
    for (login, token) in [
        (ClientLogin::Certificate, ""),
        (ClientLogin::CertificateAndPassword, TOKEN),
    ] {
        let weir = place.weir(&[login]);
        let mut c = place.client(&weir, Some("alice.test")).await;
        c.login(token).await.unwrap();
        let m = c.next().await.unwrap();
        assert_eq!((m.tag, m.field(b'S').as_str()), ('E', "FATAL"));
        assert_eq!(c.next().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_needs_tls() {
    let place = Place::new();
    let weir = place.weir(&[ClientLogin::Certificate]);
    let mut c = Client::raw(weir.addr).await;
    c.startup(PROTOCOL_3_0, &[("user", "me"), ("database", "db/postgres")])
        .await;
    assert_eq!(c.next().await.unwrap().field(b'C'), "28000");
}

/// What cannot work, or does not do what it seems to, is not begun.
#[tokio::test]
async fn logins_that_are_refused_at_the_start() {
    use ClientLogin::{Certificate, CertificateAndOAuth, CertificateAndPassword, OAuth, Password};
    let place = Place::new();
    let start = |logins: &[ClientLogin], allowed: &[ClientLogin], able: bool, bound: bool| {
        let memory = Memory::new(MemoryPolicy::permit_all());
        let mut t = target(Postgres::shared());
        t.client_logins = allowed.to_vec();
        let mut o = options(t, memory.ports());
        let l = &mut o.listeners[0];
        l.logins = logins.to_vec();
        l.target = bound.then(|| "db".into());
        if able {
            l.tls = Some(place.tls());
            l.certificates = Some(AUTHORITY.into());
            l.oauth = Some(crate::OAuth {
                discovery: "https://login.example".into(),
                scope: "openid".into(),
            });
        }
        crate::PgService::new(o).map(drop)
    };
    for (logins, allowed, able, bound, works) in [
        (&[][..], &[][..], true, false, false),
        (&[Password], &[], false, false, true),
        (&[OAuth], &[], false, false, false),
        (&[Certificate], &[], false, false, false),
        (&[OAuth, Certificate], &[], true, false, true),
        (&[CertificateAndPassword, Password], &[], true, false, false),
        (
            &[Certificate, CertificateAndPassword],
            &[],
            true,
            false,
            false,
        ),
        (
            &[CertificateAndOAuth, CertificateAndPassword],
            &[],
            true,
            false,
            true,
        ),
        // The target makes it right.
        (
            &[CertificateAndPassword, Password],
            &[CertificateAndPassword],
            true,
            true,
            true,
        ),
        (&[Password], &[OAuth], true, true, false),
        // Not served there, and served elsewhere.
        (&[Password], &[OAuth], true, false, true),
    ] {
        let result = start(logins, allowed, able, bound);
        let ok = match &result {
            Ok(()) => true,
            Err(BuildError::Logins { .. }) => false,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(ok, works, "{logins:?} {allowed:?} {able} {bound}");
    }
}
