//! Weir's SSH authority and verifier of tokens, as `proto-ssh` asks for them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use identity::{Granted, SshAuthority, Verifier};
use parking_lot::Mutex;
use pipeline::Principal;
use pipeline::ports::Clock;
use proto_ssh::transport::HostKey;
use proto_ssh::{
    AuthRefused, Authenticate, Certified, DeviceFlow, GatewayKey, Grant, HostIdentity, HostKeys,
    IssueError, Issuer, May,
};
use ssh_keys::{Certificate, PrivateKey, PublicKey};
use std::collections::HashMap;

use super::auth::Tokens;

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
}

impl Callers {
    pub(crate) fn new(
        verifier: Verifier,
        authority: Arc<SshAuthority>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            tokens: Tokens(verifier),
            authority,
            clock,
        }
    }
}

#[async_trait]
impl Authenticate for Callers {
    fn authority_is_known(&self, authority: &PublicKey) -> bool {
        authority == self.authority.caller_ca()
    }

    async fn key_is_known(&self, _: &PublicKey) -> bool {
        false
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
        tracing::warn!(%source, key = key.fingerprint(), "SSH key refused: it is not registered");
        Err(refused("this key is not registered"))
    }

    async fn token(&self, token: &str, source: IpAddr) -> Result<Arc<Principal>, AuthRefused> {
        let verified = self.tokens.verify(token, source).await;
        verified.map_err(|error| refused(error.client_message()))
    }

    async fn device(&self, _: IpAddr) -> Result<DeviceFlow, AuthRefused> {
        Err(refused("no provider for logins by device is configured"))
    }
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

/// What clients know the gateway by.
pub(crate) struct Gateway {
    key: Arc<PrivateKey>,
    authority: Arc<SshAuthority>,
    clock: Arc<dyn Clock>,
    /// Certificates for hosts that clients jump to, and when they were made.
    by_name: Mutex<HashMap<String, (SystemTime, Certificate)>>,
}

impl Gateway {
    pub(crate) fn new(authority: Arc<SshAuthority>, clock: Arc<dyn Clock>) -> Self {
        Self {
            key: authority.host_key().clone(),
            authority,
            clock,
            by_name: Mutex::default(),
        }
    }

    fn certificate(&self, name: &str) -> Option<Certificate> {
        let now = self.clock.now();
        let mut known = self.by_name.lock();
        if let Some((made, certificate)) = known.get(name)
            && now.duration_since(*made).is_ok_and(|age| age < FRESH)
        {
            return Some(certificate.clone());
        }
        match self.authority.issue_host(&[name.to_owned()], now) {
            Ok(certificate) => {
                if known.len() >= MAX_NAMES {
                    known.clear();
                }
                known.insert(name.to_owned(), (now, certificate.clone()));
                Some(certificate)
            }
            Err(error) => {
                tracing::error!(name, %error, "no host certificate could be made");
                None
            }
        }
    }
}

impl HostIdentity for Gateway {
    fn host_keys(&self, name: Option<&str>) -> Vec<Arc<dyn HostKey>> {
        let plain: Arc<dyn HostKey> = Arc::new(GatewayKey::plain(self.key.clone()));
        let certified = name.and_then(|name| {
            let certificate = self.certificate(&name.to_ascii_lowercase())?;
            GatewayKey::certified(self.key.clone(), certificate).ok()
        });
        let certified = certified.map(|key| Arc::new(key) as Arc<dyn HostKey>);
        certified.into_iter().chain([plain]).collect()
    }
}

/// No operator's approval of host keys is kept yet: a key is pinned in the configuration, or vouched for by an
/// authority that is named there.
pub(crate) struct Approved;

#[async_trait]
impl HostKeys for Approved {
    async fn approved(&self, _: &str) -> Vec<PublicKey> {
        Vec::new()
    }

    async fn unknown(&self, target: &str, key: &PublicKey) {
        let line = key.to_openssh("");
        tracing::error!(
            target_name = target,
            fingerprint = key.fingerprint(),
            "the host key of this target is not known; if it is the right one, add to its host_keys: {line}"
        );
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

    use super::*;

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
