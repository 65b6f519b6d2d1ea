//! Certificates, good and bad: whom a receiver must be, and whom Weir shows that it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use net::{ClientAuth, ClientAuthority, ServerTlsOptions, Tls};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::stage::{Answer, LIMIT, Receiver, Stage, acts, names};
use super::syslog::{self, Way};
use crate::{OpenError, ReceiverOptions, State, TlsFiles, To};

/// An authority, in a directory.
pub struct Ca {
    dir: PathBuf,
    name: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let this = Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
            issuer: Issuer::new(params, key),
        };
        std::fs::write(this.pem(), pem).unwrap();
        this
    }

    pub fn pem(&self) -> PathBuf {
        self.dir.join(format!("{}.pem", self.name))
    }

    /// A certificate and its key for this name, good up to a year.
    pub fn issue(&self, name: &str, until: i32) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let stem = self.dir.join(format!("{}-{name}-{until}", self.name));
        let (cert, private) = (stem.with_extension("crt"), stem.with_extension("key"));
        std::fs::write(&cert, pem).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        (cert, private)
    }

    /// A server with such a certificate, which asks clients for one of the other authority.
    pub fn server(&self, name: &str, until: i32, clients: Option<&Ca>) -> Tls {
        let (cert, key) = self.issue(name, until);
        let mut options = ServerTlsOptions::new(cert, key);
        if let Some(clients) = clients {
            let (ca, crl) = (clients.pem(), None);
            options.client_auth = ClientAuth::Required(ClientAuthority { ca, crl });
        }
        Tls::load(options).unwrap()
    }
}

const KINDS: [&str; 3] = ["webhook", "otlp", "syslog"];

/// A receiver of any kind with TLS, at `localhost`.
enum Any {
    Http(Receiver),
    Syslog(syslog::Receiver),
}

impl Any {
    async fn start(kind: &str, tls: Tls) -> Self {
        match kind {
            "syslog" => Self::Syslog(syslog::Receiver::start(tls, vec![Way::Read]).await),
            _ => Self::Http(Receiver::with_tls(tls, |_| Answer::Status(200)).await),
        }
    }

    fn options(
        &self,
        kind: &str,
        ca: &Ca,
        identity: Option<(PathBuf, PathBuf)>,
    ) -> ReceiverOptions {
        let mut options = match (self, kind) {
            (Self::Http(http), "otlp") => http.otlp("siem"),
            (Self::Http(http), _) => http.options("siem"),
            (Self::Syslog(syslog), _) => syslog.options("siem", ca),
        };
        let files = TlsFiles {
            ca: Some(ca.pem()),
            identity,
        };
        match &mut options.to {
            To::Webhook(to) => to.tls = files,
            To::Otlp(to) => to.tls = files,
            To::Syslog(to) => {
                to.tls = files;
                to.host = "localhost".into();
                to.server_name = None;
            }
        }
        options
    }

    fn told(&self) -> usize {
        match self {
            Self::Http(http) => http.told("act").len(),
            Self::Syslog(syslog) => syslog.told("act").len(),
        }
    }

    /// Whatever came, of whatever it was.
    fn count(&self) -> usize {
        match self {
            Self::Http(http) => http.all.lock().len(),
            Self::Syslog(syslog) => syslog.taken.lock().len(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_cannot_show_who_it_is_is_told_nothing() {
    let stage = Stage::new();
    let recorder = stage.recorder().await;
    acts(&recorder, names("act", 5)).await;
    assert!(recorder.flush(LIMIT).await);
    let dir = stage.dir.path();
    let (ca, other) = (Ca::new(dir, "ca"), Ca::new(dir, "other"));
    for kind in KINDS {
        for (what, tls, why) in [
            (
                "of another authority",
                other.server("localhost", 2090, None),
                "UnknownIssuer",
            ),
            (
                "of another name",
                ca.server("other.test", 2090, None),
                "not valid for name",
            ),
            ("expired", ca.server("localhost", 2021, None), "expired"),
        ] {
            let receiver = Any::start(kind, tls).await;
            let options = receiver.options(kind, &ca, None);
            let running = stage.run(&recorder, vec![options]);
            let status = running.until("siem", |s| s.state == State::Waiting).await;
            let error = status.last_error.unwrap().0;
            assert!(error.contains(why), "{kind}, {what}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(receiver.count(), 0, "{kind}, {what}");
            assert!(
                running.status("siem").lag_leaves >= Some(5),
                "{kind}, {what}"
            );
            running.stop().await;
        }
    }
    // Nothing was lost by that.
    for kind in KINDS {
        let receiver = Any::start(kind, ca.server("localhost", 2090, None)).await;
        std::fs::remove_dir_all(stage.deliveries()).unwrap();
        let running = stage.run(&recorder, vec![receiver.options(kind, &ca, None)]);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        assert_eq!(receiver.told(), 5, "{kind}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weir_shows_who_it_is_where_that_is_asked() {
    let stage = Stage::new();
    let recorder = stage.recorder().await;
    acts(&recorder, names("act", 5)).await;
    assert!(recorder.flush(LIMIT).await);
    let dir = stage.dir.path();
    let (ca, other) = (Ca::new(dir, "ca"), Ca::new(dir, "other"));
    let clients = Ca::new(dir, "clients");
    for kind in KINDS {
        let tls = ca.server("localhost", 2090, Some(&clients));
        let receiver = Any::start(kind, tls).await;
        for (what, identity) in [
            ("none", None),
            ("of another authority", Some(other.issue("weir", 2090))),
            ("expired", Some(clients.issue("weir", 2021))),
        ] {
            let options = receiver.options(kind, &ca, identity);
            let running = stage.run(&recorder, vec![options]);
            let status = running.until("siem", |s| s.last_error.is_some()).await;
            tokio::time::sleep(Duration::from_millis(700)).await;
            let error = running.status("siem").last_error.unwrap().0;
            assert_eq!(receiver.count(), 0, "{kind}, {what}: {error}");
            assert_eq!(status.delivered, 0, "{kind}, {what}");
            assert!(
                error.contains("received fatal alert"),
                "{kind}, {what}: {error}"
            );
            let status = running.until("siem", |s| s.state == State::Waiting).await;
            assert!(status.lag_leaves >= Some(5), "{kind}, {what}: {status:?}");
            running.stop().await;
        }
        let identity = Some(clients.issue("weir", 2090));
        let running = stage.run(&recorder, vec![receiver.options(kind, &ca, identity)]);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        assert_eq!(receiver.told(), 5, "{kind}");
        running.stop().await;
        std::fs::remove_dir_all(stage.deliveries()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_used_are_told_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::new(dir.path(), "ca");
    let (one, two) = (ca.issue("one", 2090), ca.issue("two", 2090));
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let gone = dir.path().join("gone.pem");
    for kind in KINDS {
        let receiver = Any::start(kind, ca.server("localhost", 2090, None)).await;
        let good = || receiver.options(kind, &ca, Some(one.clone()));
        crate::check(&good()).unwrap();
        for (what, files) in [
            ("an authority", (Some(empty.clone()), None)),
            ("an authority", (Some(gone.clone()), None)),
            (
                "a certificate",
                (None, Some((empty.clone(), one.1.clone()))),
            ),
            ("a certificate", (None, Some((gone.clone(), one.1.clone())))),
            ("a key", (None, Some((one.0.clone(), empty.clone())))),
            (
                "the key of another",
                (None, Some((one.0.clone(), two.1.clone()))),
            ),
        ] {
            let mut options = good();
            let files = TlsFiles {
                ca: files.0.or(Some(ca.pem())),
                identity: files.1,
            };
            match &mut options.to {
                To::Webhook(to) => to.tls = files,
                To::Otlp(to) => to.tls = files,
                To::Syslog(to) => to.tls = files,
            }
            let error = crate::check(&options).unwrap_err();
            assert!(
                matches!(error, OpenError::Http { .. } | OpenError::Tls { .. }),
                "{kind}, {what}: {error}"
            );
            assert!(error.to_string().contains("delivery siem: "), "{error}");
        }
    }
}
