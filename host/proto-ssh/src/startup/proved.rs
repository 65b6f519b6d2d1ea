//! What somebody came in by: for the record, and to find out later whether it still counts.

use std::sync::Arc;
use std::time::SystemTime;

use ssh_keys::{Certificate, PublicKey};

use crate::config::ClientLogin;

/// A proof that was accepted.
#[derive(Debug, Clone)]
pub enum Proved {
    Certificate(Arc<Certificate>),
    Key(PublicKey),
    /// When it was shown.
    Token {
        since: SystemTime,
    },
    /// When the login began that somebody agreed to.
    Device {
        since: SystemTime,
    },
}

impl Proved {
    pub(super) fn token() -> Self {
        let since = SystemTime::now();
        Self::Token { since }
    }

    pub fn login(&self) -> ClientLogin {
        match self {
            Self::Certificate(_) => ClientLogin::Certificate,
            Self::Key(_) => ClientLogin::Key,
            Self::Token { .. } => ClientLogin::Token,
            Self::Device { .. } => ClientLogin::Device,
        }
    }

    /// As the record of a session has it: no secret is in it, and it names what can be revoked.
    pub fn attrs(&self) -> Vec<(String, String)> {
        let mut attrs = vec![("login".to_owned(), self.login().as_str().to_owned())];
        let mut add = |name: &str, value: String| attrs.push((name.to_owned(), value));
        match self {
            Self::Certificate(certificate) => {
                add("certificate", format!("{:016x}", certificate.serial));
                add("certificate_id", certificate.key_id.clone());
                add("key", certificate.key().fingerprint());
            }
            Self::Key(key) => add("key", key.fingerprint()),
            Self::Token { .. } | Self::Device { .. } => {}
        }
        attrs
    }
}
