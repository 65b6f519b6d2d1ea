//! Who may come in, and by what hosts are known, in memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use parking_lot::Mutex;
use pipeline::{Actor, Principal, PrincipalKind};
use ssh_keys::{
    Certificate, CertificateKind, CertificateSpec, Options, PrivateKey, PublicKey, Wanted,
};
use tokio::sync::{Notify, watch};

use crate::startup::{
    AuthRefused, Authenticate, Certified, DeviceFlow, GatewayKey, HostIdentity, Proved,
};
use crate::terms::May;
use crate::transport::HostKey;
use crate::upstream::{Grant, HostKeys, IssueError, Issuer, Standing};

/// The token that is good.
pub(crate) const TOKEN: &str = "a-good-token";
/// What certificates of users name.
pub(crate) const PRINCIPAL: &str = "weir";

pub(crate) struct Keys {
    /// Signs certificates of users, for Weir and for `sshd`.
    pub user_ca: PrivateKey,
    pub host_ca: PrivateKey,
    pub gateway: Arc<PrivateKey>,
    /// The host key of `sshd`.
    pub sshd: PrivateKey,
    /// In `authorized_keys` of `sshd`.
    pub fixed: Arc<PrivateKey>,
    pub registered: Mutex<Vec<PublicKey>>,
    /// What anybody came in by counts no more.
    pub revoked: AtomicBool,
    pub approved: Mutex<Vec<PublicKey>>,
    pub unknown: Mutex<Vec<String>>,
    /// An operator has said no to every key.
    pub rejects: Mutex<bool>,
    /// What was asked about last when a session began.
    pub came_in_by: Mutex<Option<Proved>>,
    /// What people say in the device flow.
    pub device: watch::Sender<Option<bool>>,
    /// Somebody has agreed, and nobody has asked since.
    pub agreed_unseen: Arc<AtomicBool>,
    pub flows: AtomicUsize,
    pub flows_dropped: Arc<AtomicUsize>,
    pub tokens_asked: AtomicUsize,
    pub keys_asked: AtomicUsize,
}

impl Keys {
    pub fn new() -> Arc<Self> {
        let key = || PrivateKey::generate_ed25519().unwrap();
        Arc::new(Self {
            user_ca: key(),
            host_ca: key(),
            gateway: Arc::new(key()),
            sshd: key(),
            fixed: Arc::new(key()),
            registered: Mutex::default(),
            revoked: AtomicBool::new(false),
            approved: Mutex::default(),
            unknown: Mutex::default(),
            rejects: Mutex::default(),
            came_in_by: Mutex::default(),
            device: watch::Sender::new(None),
            agreed_unseen: Arc::default(),
            flows: AtomicUsize::new(0),
            flows_dropped: Arc::default(),
            tokens_asked: AtomicUsize::new(0),
            keys_asked: AtomicUsize::new(0),
        })
    }

    pub fn spec(key: &PublicKey, kind: CertificateKind, principal: &str) -> CertificateSpec {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        CertificateSpec {
            key: key.clone(),
            kind,
            serial: 1,
            key_id: "test".into(),
            principals: vec![principal.to_owned()],
            valid_after: now - 60,
            valid_before: now + 600,
            critical: Options::new(),
            extensions: Options::new(),
        }
    }

    pub fn user_certificate(&self, key: &PublicKey) -> Certificate {
        let mut spec = Self::spec(key, CertificateKind::User, PRINCIPAL);
        spec.extensions = spec.extensions.flag("permit-pty");
        spec.sign(&self.user_ca).unwrap()
    }
}

pub(crate) fn alice() -> Arc<Principal> {
    Arc::new(Principal::direct(
        Actor::new(PrincipalKind::User, "alice", &["team"]),
        "test",
        SystemTime::now() + Duration::from_secs(3600),
    ))
}

fn refused(text: &str) -> AuthRefused {
    AuthRefused {
        client_text: text.to_owned(),
    }
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Authenticate for Keys {
    fn authority_is_known(&self, authority: &PublicKey) -> bool {
        self.keys_asked.fetch_add(1, Ordering::SeqCst);
        authority == self.user_ca.public()
    }

    async fn key_is_known(&self, key: &PublicKey) -> bool {
        self.keys_asked.fetch_add(1, Ordering::SeqCst);
        self.registered.lock().contains(key)
    }

    async fn still_counts(&self, proved: &Proved, _: &Principal, source: IpAddr) -> bool {
        assert!(
            source.is_loopback(),
            "where the client is, through a jump, too"
        );
        *self.came_in_by.lock() = Some(proved.clone());
        !self.revoked.load(Ordering::SeqCst)
    }

    async fn certificate(
        &self,
        certificate: &Certificate,
        source: IpAddr,
    ) -> Result<Certified, AuthRefused> {
        let wanted = Wanted {
            cas: std::slice::from_ref(self.user_ca.public()),
            kind: CertificateKind::User,
            now: SystemTime::now(),
            principal: PRINCIPAL,
            source: Some(source),
        };
        let checked = certificate.check(&wanted);
        checked.map_err(|e| refused(&e.to_string()))?;
        Ok(Certified {
            principal: alice(),
            may: May::of_extensions(certificate.extensions.names()),
        })
    }

    async fn key(&self, key: &PublicKey, _: IpAddr) -> Result<Arc<Principal>, AuthRefused> {
        match self.registered.lock().contains(key) {
            true => Ok(alice()),
            false => Err(refused("nobody has registered this key")),
        }
    }

    async fn token(&self, token: &str, _: IpAddr) -> Result<Arc<Principal>, AuthRefused> {
        self.tokens_asked.fetch_add(1, Ordering::SeqCst);
        match token == TOKEN {
            true => Ok(alice()),
            false => Err(refused("the token is not valid")),
        }
    }

    async fn device(&self, _: IpAddr) -> Result<DeviceFlow, AuthRefused> {
        self.flows.fetch_add(1, Ordering::SeqCst);
        let dropped = Dropped(self.flows_dropped.clone());
        let mut said = self.device.subscribe();
        let (last_call, unseen) = (Arc::<Notify>::default(), self.agreed_unseen.clone());
        let asked = last_call.clone();
        Ok(DeviceFlow {
            url: "https://login.example/device".into(),
            code: "ABCD-EFGH".into(),
            lives: Duration::from_secs(600),
            last_call,
            approved: Box::pin(async move {
                let _dropped = dropped;
                let said = tokio::select! {
                    said = said.wait_for(Option::is_some) => said.ok().and_then(|s| *s),
                    () = asked.notified() => Some(unseen.load(Ordering::SeqCst)),
                };
                match said {
                    Some(true) => Ok(alice()),
                    _ => Err(refused("the device was not approved")),
                }
            }),
        })
    }
}

impl HostIdentity for Keys {
    fn host_keys(&self, name: Option<&str>) -> Vec<Arc<dyn HostKey>> {
        let name = name.unwrap_or("gateway");
        let spec = Self::spec(self.gateway.public(), CertificateKind::Host, name);
        let certificate = spec.sign(&self.host_ca).unwrap();
        vec![
            Arc::new(GatewayKey::certified(self.gateway.clone(), certificate).unwrap()),
            Arc::new(GatewayKey::plain(self.gateway.clone())),
        ]
    }
}

#[async_trait]
impl HostKeys for Keys {
    async fn approved(&self, _: &str) -> Vec<PublicKey> {
        self.approved.lock().clone()
    }

    async fn unknown(&self, target: &str, key: &PublicKey, changed: bool) -> Standing {
        let changed = if changed { " changed" } else { "" };
        let line = format!("{target} {}{changed}", key.fingerprint());
        self.unknown.lock().push(line);
        match *self.rejects.lock() {
            true => Standing::Rejected,
            false => Standing::Waits,
        }
    }
}

#[async_trait]
impl Issuer for Keys {
    async fn issue(&self, key: &PublicKey, grant: &Grant<'_>) -> Result<Certificate, IssueError> {
        let mut spec = Self::spec(key, CertificateKind::User, grant.login);
        spec.extensions = spec.extensions.flag("permit-pty");
        spec.sign(&self.user_ca)
            .map_err(|e| IssueError(e.to_string()))
    }
}
