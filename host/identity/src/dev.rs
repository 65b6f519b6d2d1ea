//! The development issuer: tokens without an identity provider, for trying Weir out.
//!
//! Whoever can read its key file can be anybody. It exists so that nothing has to be installed, is
//! accepted only where it is configured, and says so loudly each time.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, error::Unspecified};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pipeline::PrincipalKind;
use serde_json::{Value, json};

use crate::algorithm::Algorithm;
use crate::config::{ClaimPath, IssuerConfig, JwksSource, TokenType};
use crate::key_file::{self, KeyFileError};

/// A name that no real issuer can have (RFC 2606).
pub const DEV_ISSUER: &str = "https://weir.invalid/dev";
pub const DEV_AUDIENCE: &str = "weir";
/// Development tokens live no longer than this.
pub const MAX_DEV_TTL: Duration = Duration::from_secs(24 * 3600);

const KEY_FILE: &str = "dev-issuer.p8";
const MAX_KEY_BYTES: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum DevError {
    #[error("development issuer: cannot {what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("development issuer: {path} is readable by others; run: chmod 600 {path}")]
    Permissions { path: PathBuf },
    #[error("development issuer")]
    Owner(#[source] KeyFileError),
    #[error("development issuer: {path} is not a P-256 key; remove it to get a new one")]
    Key { path: PathBuf },
    #[error("development issuer: signing failed")]
    Crypto,
    #[error("development tokens live from 1 second to {MAX_DEV_TTL:?}")]
    Ttl,
    #[error("a development token needs a subject")]
    Subject,
}

impl From<KeyFileError> for DevError {
    fn from(error: KeyFileError) -> Self {
        match error {
            KeyFileError::Io { what, path, source } => Self::Io { what, path, source },
            KeyFileError::Permissions { path } => Self::Permissions { path },
            owner @ KeyFileError::Owner { .. } => Self::Owner(owner),
        }
    }
}

impl From<Unspecified> for DevError {
    fn from(_: Unspecified) -> Self {
        Self::Crypto
    }
}

/// A key in a directory, with which anybody can be named.
pub struct DevIssuer {
    key: EcdsaKeyPair,
    kid: String,
    path: PathBuf,
    subject_prefix: String,
}

/// What a development token shall say.
#[derive(Debug, Clone)]
pub struct DevToken {
    pub subject: String,
    pub groups: Vec<String>,
    pub kind: PrincipalKind,
    /// Who acts for the subject: the current actor first, then who acted before it.
    pub act: Vec<DevActor>,
    pub mfa: bool,
    pub ttl: Duration,
}

#[derive(Debug, Clone)]
pub struct DevActor {
    pub subject: String,
    pub groups: Vec<String>,
    pub kind: PrincipalKind,
}

impl DevToken {
    /// A user's token for an hour.
    pub fn user(subject: &str, groups: &[&str]) -> Self {
        Self {
            subject: subject.to_owned(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            kind: PrincipalKind::User,
            act: Vec::new(),
            mfa: false,
            ttl: Duration::from_secs(3600),
        }
    }
}

impl DevActor {
    pub fn agent(subject: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            groups: Vec::new(),
            kind: PrincipalKind::Agent,
        }
    }
}

impl DevIssuer {
    /// Takes the key from the directory; makes both if they are not there. Blocks.
    pub fn open(directory: &Path) -> Result<Self, DevError> {
        let path = match directory.join(KEY_FILE) {
            path if path.exists() => path,
            _ => create_key(directory)?,
        };
        let key = read_key(&path)?;
        Ok(Self::with_key(key, path))
    }

    /// As [`DevIssuer::open`], but writes nothing: without a key there, one is made up that is
    /// forgotten afterwards. Blocks.
    pub fn check(directory: &Path) -> Result<Self, DevError> {
        let path = directory.join(KEY_FILE);
        let there = path.try_exists().map_err(|source| DevError::Io {
            what: "read",
            path: path.clone(),
            source,
        })?;
        let key = if there {
            read_key(&path)?
        } else {
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?
        };
        Ok(Self::with_key(key, path))
    }

    fn with_key(key: EcdsaKeyPair, path: PathBuf) -> Self {
        let hash = digest::digest(&digest::SHA256, key.public_key().as_ref());
        let kid = format!(
            "dev-{}",
            hex::encode(hash.as_ref().get(..8).unwrap_or_default())
        );
        Self {
            key,
            kid,
            path,
            subject_prefix: String::new(),
        }
    }

    /// Needed next to a real issuer, so that development tokens cannot name its people.
    pub fn with_subject_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.subject_prefix);
        self
    }

    pub(crate) fn warn(&self) {
        tracing::warn!(
            issuer = DEV_ISSUER,
            key = %self.path.display(),
            "DEVELOPMENT ISSUER IS ON: whoever can read this key file can be anybody; not for production"
        );
    }

    /// How the verifier shall treat our tokens: like any issuer's, with the keys at hand.
    pub(crate) fn issuer_config(&self) -> IssuerConfig {
        let mut config = IssuerConfig::new(DEV_ISSUER, DEV_AUDIENCE);
        config.jwks = JwksSource::Static(self.jwks());
        config.algorithms = vec![Algorithm::Es256];
        config.types = vec![TokenType::AccessToken];
        config.subject_prefix.clone_from(&self.subject_prefix);
        // Its clock is this one, or this machine's.
        config.leeway = Duration::ZERO;
        config.act_groups = true;
        // Whoever has its key can be anybody in any case.
        config.shared_groups = true;
        config.kind_claim = Some(ClaimPath::name("kind"));
        config
    }

    /// The public key, as a JWKS.
    pub fn jwks(&self) -> String {
        // SEC 1 uncompressed point: 4, x, y.
        let point = self.key.public_key().as_ref();
        let x = URL_SAFE_NO_PAD.encode(point.get(1..33).unwrap_or_default());
        let y = URL_SAFE_NO_PAD.encode(point.get(33..65).unwrap_or_default());
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.kid, "x": x, "y": y,
        }]})
        .to_string()
    }

    /// A signed token, valid from now on.
    pub fn mint(&self, token: &DevToken, now: SystemTime) -> Result<String, DevError> {
        if token.subject.is_empty() || token.act.iter().any(|a| a.subject.is_empty()) {
            return Err(DevError::Subject);
        }
        if token.ttl < Duration::from_secs(1) || token.ttl > MAX_DEV_TTL {
            return Err(DevError::Ttl);
        }
        let issued = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|_| DevError::Ttl)?
            .as_secs();
        let mut jti = [0u8; 16];
        rand::fill(&mut jti)?;
        let mut claims = json!({
            "iss": DEV_ISSUER,
            "aud": DEV_AUDIENCE,
            "sub": token.subject,
            "iat": issued,
            "exp": issued + token.ttl.as_secs(),
            "jti": hex::encode(jti),
            "groups": token.groups,
            "kind": kind(token.kind),
        });
        if let Some(claims) = claims.as_object_mut() {
            if token.mfa {
                claims.insert("amr".to_owned(), json!(["mfa"]));
            }
            if let Some(act) = nest(&token.act) {
                claims.insert("act".to_owned(), act);
            }
        }
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid});
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes())?;
        Ok(format!(
            "{message}.{}",
            URL_SAFE_NO_PAD.encode(signature.as_ref())
        ))
    }
}

/// The current actor outermost, as in RFC 8693.
fn nest(act: &[DevActor]) -> Option<Value> {
    act.iter().rev().fold(None, |inner, actor| {
        let mut object = json!({
            "sub": actor.subject,
            "groups": actor.groups,
            "kind": kind(actor.kind),
        });
        if let (Some(inner), Some(object)) = (inner, object.as_object_mut()) {
            object.insert("act".to_owned(), inner);
        }
        Some(object)
    })
}

fn kind(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "user",
        PrincipalKind::Agent => "agent",
        PrincipalKind::Workload => "workload",
    }
}

fn create_key(directory: &Path) -> Result<PathBuf, DevError> {
    let document =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
    Ok(key_file::create(directory, KEY_FILE, document.as_ref())?)
}

fn read_key(path: &Path) -> Result<EcdsaKeyPair, DevError> {
    let bytes = key_file::read(path, MAX_KEY_BYTES)?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes).map_err(|_| DevError::Key {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests;
