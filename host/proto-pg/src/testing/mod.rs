//! For tests: a real PostgreSQL in a temporary directory, a service in front of it, and a client that
//! says exactly what a test wants said.

pub(crate) mod client;
pub(crate) mod postgres;
pub(crate) mod reaper;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pipeline::mask::MaskKeys;
use pipeline::{Actor, Ports, Principal, PrincipalKind, Protocol, Target};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cancel::CancelKeys;
use crate::config::{AuthMethod, ClientLogin, Limits, Options, PgListener, PgTarget, Secret};
use crate::startup::{AuthRefused, Authenticate};
use postgres::Postgres;

/// The token that is good.
pub(crate) const TOKEN: &str = "a-good-token";

/// The certificate that is good, as this authority sees it: any, for the same person as the token's.
pub(crate) const AUTHORITY: &str = "ours";

struct OneToken;

#[async_trait]
impl Authenticate for OneToken {
    async fn authenticate(&self, token: &str, _: IpAddr) -> Result<Arc<Principal>, AuthRefused> {
        if token != TOKEN {
            return Err(AuthRefused {
                client_text: "the token is not valid".into(),
            });
        }
        Ok(Arc::new(Principal::direct(
            Actor::new(PrincipalKind::User, "alice", &["team"]),
            "test",
            SystemTime::now() + Duration::from_secs(3600),
        )))
    }

    /// The name is the certificate's first DNS name; the real reading of certificates is `identity`'s.
    fn certificate(
        &self,
        authority: &str,
        certificate: &[u8],
        _: IpAddr,
    ) -> Result<Arc<Principal>, AuthRefused> {
        assert_eq!(authority, AUTHORITY);
        let der = rustls_pki_types::CertificateDer::from(certificate.to_vec());
        let parsed = webpki::EndEntityCert::try_from(&der).unwrap();
        let name = parsed.valid_dns_names().next().unwrap_or_default();
        if name == "stranger.test" {
            return Err(AuthRefused {
                client_text: "nobody is known by this certificate".into(),
            });
        }
        let subject = name.trim_end_matches(".test");
        Ok(Arc::new(Principal::direct(
            Actor::new(PrincipalKind::User, subject, &["team"]),
            "test",
            SystemTime::now() + CERTIFIED,
        )))
    }
}

/// A running service.
pub(crate) struct Weir {
    pub addr: SocketAddr,
    pub shutdown: CancellationToken,
    pub keys: CancelKeys,
    _stop: DropGuard,
}

/// How long whoever has shown a certificate may stay.
pub(crate) const CERTIFIED: Duration = Duration::from_secs(5);

pub(crate) fn target(pg: &Postgres) -> PgTarget {
    PgTarget {
        info: Arc::new(Target {
            name: "db".into(),
            protocol: Protocol::Postgres,
            env: "test".into(),
            tags: Default::default(),
        }),
        host: "127.0.0.1".into(),
        port: pg.port,
        user: "weir".into(),
        password: Some(Secret::new("upstream-secret")),
        default_database: Some("postgres".into()),
        databases: Vec::new(),
        tls: net::ClientTls::disabled(),
        direct_tls: false,
        protocol_3_2: false,
        cancel_by_pid: false,
        require_auth: AuthMethod::DEFAULT.to_vec(),
        client_logins: Vec::new(),
    }
}

pub(crate) fn options(target: PgTarget, ports: Ports) -> Options {
    let mut listen = net::ListenerOptions::new("pg", "127.0.0.1:0").unwrap();
    listen.drain = Duration::from_secs(8);
    Options {
        listeners: vec![PgListener {
            listen,
            tls: None,
            target: None,
            allow_plaintext_tokens: false,
            logins: vec![ClientLogin::Password],
            oauth: None,
            certificates: None,
        }],
        targets: vec![target],
        ports,
        auth: Arc::new(OneToken),
        mask_keys: MaskKeys::default(),
        limits: Limits {
            failed_login_delay: Duration::from_millis(10),
            ..Limits::default()
        },
    }
}

impl Weir {
    pub fn start(options: Options) -> Self {
        tracing_subscriber::fmt()
            .with_env_filter("proto_pg=debug")
            .with_test_writer()
            .try_init()
            .ok();
        let service = crate::PgService::new(options).unwrap();
        let addr = *service.local_addrs().first().unwrap();
        let shutdown = CancellationToken::new();
        let (token, keys) = (shutdown.clone(), service.cancel_keys());
        tokio::spawn(service.run(token));
        Self {
            addr,
            keys,
            _stop: shutdown.clone().drop_guard(),
            shutdown,
        }
    }

    pub fn to(pg: &Postgres, ports: Ports) -> Self {
        Self::start(options(target(pg), ports))
    }
}
