//! Weir's SSH authority and verifier of tokens, as `proto-ssh` asks for them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use identity::{Granted, SshAuthority, Verifier, is_short_token};
use parking_lot::Mutex;
use pipeline::Principal;
use pipeline::ports::{Authorizer, Clock};
use proto_ssh::transport::HostKey;
use proto_ssh::{
    AuthRefused, Authenticate, Certified, DeviceFlow, GatewayKey, Grant, HostIdentity, IssueError,
    Issuer, May, Proved,
};
use ssh_keys::{Certificate, PrivateKey, PublicKey};
use std::collections::HashMap;

use super::auth::Tokens;
use super::ssh_device::Devices;
use super::ssh_registered::still_may_register;
use super::ssh_tokens::{NOT_VALID, ShortTokens, short_token_named};

/// Of a certificate's key id, what is logged.
const MAX_KEY_ID_SHOWN: usize = 128;
/// Names for which a host certificate is remembered.
const MAX_NAMES: usize = 1_000;
/// A host certificate is made anew when it has been shown for so long.
const FRESH: Duration = Duration::from_secs(3_600);

/// Who comes in.
pub(crate) struct Callers {
    tokens: Tokens,
    authority: Arc<SshAuthority>,
    clock: Arc<dyn Clock>,
    devices: Option<Devices>,
    short_tokens: Option<ShortTokens>,
    /// Says who may have registered keys; none where nobody comes in by one.
    keys: Option<Arc<dyn Authorizer>>,
}

impl Callers {
    pub(crate) fn new(
        verifier: Verifier,
        authority: Arc<SshAuthority>,
        clock: Arc<dyn Clock>,
        keys: Option<Arc<dyn Authorizer>>,
    ) -> Self {
        Self {
            tokens: Tokens(verifier),
            authority,
            clock,
            keys,
            devices: None,
            short_tokens: None,
        }
    }

    /// People may come in by the device flow of a provider.
    pub(crate) fn with_devices(self, devices: Option<Devices>) -> Self {
        Self { devices, ..self }
    }

    /// People may come in by short tokens, which are kept there.
    pub(crate) fn with_short_tokens(self, tokens: ShortTokens) -> Self {
        Self {
            short_tokens: Some(tokens),
            ..self
        }
    }

    /// Whose is it? To the log what is wrong with it, to the client the same of every one.
    async fn short_token(
        &self,
        token: &str,
        source: IpAddr,
    ) -> Result<Arc<Principal>, AuthRefused> {
        let now = self.clock.now();
        let found = match &self.short_tokens {
            Some(tokens) => tokens.find(&self.authority, token, source, now).await,
            None => Err("there are none here".to_owned()),
        };
        let found = found.and_then(|who| {
            let reason = match self.tokens.0.has_issuer(&who.issuer) {
                false => "tokens of its person's issuer are not taken any more",
                true if self.authority.is_revoked_since(&who, now) => {
                    "it is older than the revocation of somebody in it"
                }
                true => return Ok(Arc::new(who)),
            };
            Err(reason.to_owned())
        });
        found.map_err(|reason| {
            tracing::warn!(%source, reason, "short token refused");
            refused(NOT_VALID)
        })
    }

    /// Whoever came in by a short token: is it still there? Of others there is nothing to be.
    async fn is_kept(&self, who: &Principal) -> bool {
        match (&self.short_tokens, short_token_named(who)) {
            (_, None) => true,
            (Some(tokens), Some(id)) => tokens.counts(id).await,
            (None, Some(_)) => false,
        }
    }

    /// Whose is it? To the log what is wrong with it, to the client only that it is not registered: whoever has a
    /// key is not told whether it was once somebody's.
    fn registered(&self, key: &PublicKey, source: IpAddr) -> Result<Arc<Principal>, &'static str> {
        let authorizer = self.keys.as_ref().ok_or("no keys are registered here")?;
        let now = self.clock.now();
        let who = self.authority.registered_key(key, now);
        let who = who.ok_or("it is not registered, has ended, or was revoked")?;
        if !self.tokens.0.has_issuer(&who.issuer) {
            return Err("tokens of its person's issuer are not taken any more");
        }
        let may = still_may_register(&**authorizer, &who, source, now);
        may.map(|()| who).map_err(|reason| {
            tracing::info!(%source, reason, "policy lets this person have no registered keys");
            "its person may not register keys any more"
        })
    }
}

#[async_trait]
impl Authenticate for Callers {
    fn authority_is_known(&self, authority: &PublicKey) -> bool {
        authority == self.authority.caller_ca()
    }

    async fn key_is_known(&self, key: &PublicKey) -> bool {
        // Whether policy still lets its person in is found out once they have shown that they have it.
        self.keys.is_some()
            && self
                .authority
                .registered_key(key, self.clock.now())
                .is_some()
    }

    async fn still_counts(&self, proved: &Proved, who: &Principal, source: IpAddr) -> bool {
        let now = self.clock.now();
        match proved {
            // In full: it may have ended, too, and where it counts is in it.
            Proved::Certificate(certificate) => {
                self.authority.verify_user(certificate, source, now).is_ok()
            }
            // It is still the same person's, as they were then: another may have registered it since, or they
            // themselves with other groups. And policy still lets them have one.
            Proved::Key(key) => self
                .registered(key, source)
                .is_ok_and(|known| known.actor == who.actor && known.issuer == who.issuer),
            Proved::Token { since } | Proved::Device { since } => {
                now < who.expires_at
                    && !self.authority.is_revoked_since(who, *since)
                    && self.is_kept(who).await
            }
        }
    }

    async fn certificate(
        &self,
        certificate: &Certificate,
        source: IpAddr,
    ) -> Result<Certified, AuthRefused> {
        let now = self.clock.now();
        let verified = self.authority.verify_user(certificate, source, now);
        // Ours leave to policy what their sessions do.
        let certified = |principal| Certified {
            principal: Arc::new(principal),
            may: May::ALL,
        };
        verified.map(certified).map_err(|error| {
            // What it says of itself is worth a line only if our authority has signed it.
            let ours = certificate.ca() == self.authority.caller_ca();
            let key_id = ours.then(|| shortened(&certificate.key_id));
            tracing::warn!(%source, key_id, serial = certificate.serial, %error, "SSH certificate refused");
            refused("this certificate is not accepted")
        })
    }

    async fn key(&self, key: &PublicKey, source: IpAddr) -> Result<Arc<Principal>, AuthRefused> {
        self.registered(key, source).map_err(|reason| {
            tracing::warn!(%source, key = key.fingerprint(), reason, "SSH key refused");
            refused("this key is not registered")
        })
    }

    async fn token(&self, token: &str, source: IpAddr) -> Result<Arc<Principal>, AuthRefused> {
        if is_short_token(token) {
            return self.short_token(token, source).await;
        }
        let verified = self.tokens.verify(token, source).await;
        let who = verified.map_err(|error| refused(error.client_message()))?;
        not_revoked(&self.authority, who, self.clock.now(), source)
    }

    async fn device(&self, source: IpAddr) -> Result<DeviceFlow, AuthRefused> {
        match &self.devices {
            Some(devices) => {
                let flow = devices.begin(source).await?;
                let (authority, since) = (self.authority.clone(), self.clock.now());
                let approved = async move {
                    let who = flow.approved.await?;
                    not_revoked(&authority, who, since, source)
                };
                Ok(DeviceFlow {
                    approved: Box::pin(approved),
                    ..flow
                })
            }
            None => Err(refused("no provider for logins by device is configured")),
        }
    }
}

/// Was what they show revoked since it is theirs? A session asks again (`still_counts`).
fn not_revoked(
    authority: &SshAuthority,
    who: Arc<Principal>,
    since: SystemTime,
    source: IpAddr,
) -> Result<Arc<Principal>, AuthRefused> {
    if !authority.is_revoked_since(&who, since) {
        return Ok(who);
    }
    tracing::warn!(%source, actor = %who.actor, "token refused: it is older than the revocation of somebody in it");
    Err(refused(
        "this token does not count any more; get a new one and log in again",
    ))
}

/// A log is for people's eyes, and everybody can write to this one.
fn shortened(key_id: &str) -> String {
    let seen = key_id.chars().flat_map(char::escape_debug);
    seen.take(MAX_KEY_ID_SHOWN).collect()
}

fn refused(text: &str) -> AuthRefused {
    AuthRefused {
        client_text: text.to_owned(),
    }
}

/// OpenSSH takes no certificate with more names.
const MAX_PRINCIPALS: usize = 256;

/// What clients know the gateway by.
pub(crate) struct Gateway {
    key: Arc<PrivateKey>,
    authority: Arc<SshAuthority>,
    clock: Arc<dyn Clock>,
    /// Its own names, then those of the targets: `weir ssh-config` has ssh look for the target's.
    names: Vec<String>,
    /// Certificates for hosts that clients jump to, and when they were made; of no host, the one with all names.
    by_name: Mutex<HashMap<Option<String>, (SystemTime, Certificate)>>,
}

impl Gateway {
    pub(crate) fn new(
        authority: Arc<SshAuthority>,
        clock: Arc<dyn Clock>,
        names: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut of: Vec<String> = Vec::new();
        for name in names {
            let name = name.to_ascii_lowercase();
            if !of.contains(&name) {
                of.push(name);
            }
        }
        if of.len() > MAX_PRINCIPALS {
            tracing::warn!(
                names = of.len(),
                "the gateway's host certificate has the first {MAX_PRINCIPALS} names only: for the others, clients go by the host key itself"
            );
            of.truncate(MAX_PRINCIPALS);
        }
        Self {
            key: authority.host_key().clone(),
            authority,
            clock,
            names: of,
            by_name: Mutex::default(),
        }
    }

    fn certificate(&self, name: Option<String>) -> Option<Certificate> {
        let now = self.clock.now();
        let names = match &name {
            Some(name) => std::slice::from_ref(name),
            None if self.names.is_empty() => return None,
            None => self.names.as_slice(),
        };
        let mut known = self.by_name.lock();
        if let Some((made, certificate)) = known.get(&name)
            && now.duration_since(*made).is_ok_and(|age| age < FRESH)
        {
            return Some(certificate.clone());
        }
        match self.authority.issue_host(names, now) {
            Ok(certificate) => {
                if known.len() >= MAX_NAMES {
                    known.clear();
                }
                known.insert(name, (now, certificate.clone()));
                Some(certificate)
            }
            Err(error) => {
                tracing::error!(?name, %error, "no host certificate could be made");
                None
            }
        }
    }
}

impl HostIdentity for Gateway {
    fn host_keys(&self, name: Option<&str>) -> Vec<Arc<dyn HostKey>> {
        let plain: Arc<dyn HostKey> = Arc::new(GatewayKey::plain(self.key.clone()));
        let certificate = self.certificate(name.map(str::to_ascii_lowercase));
        let certified = certificate.and_then(|c| GatewayKey::certified(self.key.clone(), c).ok());
        let certified = certified.map(|key| Arc::new(key) as Arc<dyn HostKey>);
        certified.into_iter().chain([plain]).collect()
    }
}

/// What Weir shows to targets.
pub(crate) struct Certificates(pub(crate) Arc<SshAuthority>);

#[async_trait]
impl Issuer for Certificates {
    async fn issue(&self, key: &PublicKey, grant: &Grant<'_>) -> Result<Certificate, IssueError> {
        // Its key never leaves this process. What of this the session does, policy says, each time.
        let May {
            pty,
            port_forwarding,
            agent_forwarding,
            x11_forwarding,
        } = grant.may;
        let granted = Granted {
            pty,
            port_forwarding,
            agent_forwarding,
            x11_forwarding,
        };
        self.0
            .issue_upstream(
                key,
                grant.login,
                grant.principal,
                grant.session,
                granted,
                grant.now,
            )
            .map_err(|error| IssueError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use identity::SshAuthorityOptions;
    use pipeline::{Actor, PrincipalKind, SessionId};
    use ssh_keys::{CertificateKind, Wanted};

    use super::*;

    struct Movable(Mutex<SystemTime>);

    impl Clock for Movable {
        fn now(&self) -> SystemTime {
            *self.0.lock()
        }
    }

    /// What `weir ssh-config` has ssh look for: the target's name, with no jump host named.
    #[test]
    fn the_gateway_is_certified_under_its_names_and_every_targets() {
        let dir = tempfile::tempdir().unwrap();
        let options = SshAuthorityOptions::new(dir.path().join("ssh"));
        let authority = Arc::new(SshAuthority::open(&options).unwrap());
        let clock = Arc::new(Movable(Mutex::new(SystemTime::now())));
        let names = ["GW.example", "web1", "db-2", "web1"].map(str::to_owned);
        let gateway = Gateway::new(authority.clone(), clock.clone(), names);
        let shown = |name: Option<&str>| {
            let keys = gateway.host_keys(name);
            assert_eq!(
                keys.len(),
                2,
                "{name:?}: a certificate, then the key itself"
            );
            assert_eq!(keys[1].public_blob(), authority.host_key().public().blob());
            Certificate::from_blob(keys[0].public_blob()).unwrap()
        };
        let fits = |certificate: &Certificate, principal: &str| {
            let wanted = Wanted {
                cas: std::slice::from_ref(authority.host_ca()),
                kind: CertificateKind::Host,
                now: *clock.0.lock(),
                principal,
                source: None,
            };
            certificate.check(&wanted).is_ok()
        };
        let first = shown(None);
        for name in ["gw.example", "web1", "db-2"] {
            assert!(fits(&first, name), "{name}");
        }
        assert!(!fits(&first, "web2"));
        // Whoever jumps is told of the host that it is for, and no other.
        let jumped = shown(Some("WEB9"));
        assert!(fits(&jumped, "web9") && !fits(&jumped, "web1"));
        assert_eq!(shown(None).blob(), first.blob());
        // It is made anew long before it ends.
        *clock.0.lock() += FRESH;
        assert_ne!(shown(None).blob(), first.blob());
        let many = (0..300).map(|n| format!("web{n}"));
        let gateway = Gateway::new(authority.clone(), clock.clone(), many);
        let keys = gateway.host_keys(None);
        let most = Certificate::from_blob(keys[0].public_blob()).unwrap();
        assert_eq!(most.principals.len(), MAX_PRINCIPALS);
        // Without any name there is nothing to certify.
        let nameless = Gateway::new(authority, clock, []);
        assert_eq!(nameless.host_keys(None).len(), 1);
    }

    #[tokio::test]
    async fn a_target_is_shown_what_the_login_may_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let options = SshAuthorityOptions::new(dir.path().join("ssh"));
        let issuer = Certificates(Arc::new(SshAuthority::open(&options).unwrap()));
        let key = PrivateKey::generate_ed25519().unwrap();
        let now = SystemTime::now();
        let principal = Principal::direct(
            Actor::new(PrincipalKind::User, "alice", &[]),
            "test",
            now + Duration::from_secs(3_600),
        );
        let pty = May {
            pty: true,
            ..May::NOTHING
        };
        for may in [May::ALL, May::NOTHING, pty] {
            let grant = Grant {
                principal: &principal,
                session: SessionId::new(),
                target: "web1",
                login: "root",
                may,
                now,
            };
            let certificate = issuer.issue(key.public(), &grant).await.unwrap();
            let shown = May::of_extensions(certificate.extensions.names());
            assert_eq!(shown, may);
        }
    }

    #[test]
    fn a_key_id_in_a_log_is_short_and_seen() {
        let shown = shortened("a\u{202e}b\nc");
        assert_eq!(shown, "a\\u{202e}b\\nc");
        assert_eq!(shortened(&"x".repeat(10_000)).len(), MAX_KEY_ID_SHOWN);
    }
}
