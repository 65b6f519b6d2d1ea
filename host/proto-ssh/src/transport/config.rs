//! What a leg is told: our name, the algorithms in the order of our liking, host keys, limits.

use std::sync::Arc;
use std::time::Duration;

use super::ident::IdentError;

/// Bytes in one direction after which new keys are made (RFC 4253 section 9).
pub const REKEY_BYTES: u64 = 1 << 30;
/// Packets in one direction after which new keys are made: half of what RFC 4344 section 3.1 allows.
pub const REKEY_PACKETS: u64 = 1 << 30;
/// Packets in one direction under the same keys beyond which a leg ends, because a peer makes no new ones.
pub const MAX_PACKETS: u64 = 1 << 31;
/// How long keys are in use (RFC 4253 section 9).
pub const REKEY_AFTER: Duration = Duration::from_secs(3600);
/// From the first message of a key exchange to its last.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server waits for the client's KEXINIT before it sends its own. Clients that wait for the server's
/// are rare, and cost them this much.
pub const KEXINIT_PATIENCE: Duration = Duration::from_millis(300);
/// Bytes that may wait to be sent: more of them means that nobody looks at `backlog`.
pub const MAX_BACKLOG: usize = 4 << 20;

/// The same, for a client that has not proved who it is.
pub const MAX_STRANGE_BACKLOG: usize = 64 << 10;

/// How two legs come to a shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KexAlgorithm {
    MlKem768X25519,
    Curve25519,
    /// The same under the name that it had before RFC 8731.
    Curve25519LibSsh,
    NistP256,
    NistP384,
}

/// How packets are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherAlgorithm {
    Aes256Gcm,
    Aes128Gcm,
    ChaCha20Poly1305,
    Aes256Ctr,
    Aes128Ctr,
}

/// How packets are authenticated where the cipher does not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacAlgorithm {
    Sha256Etm,
    Sha512Etm,
    /// Over the plaintext, for peers from before encrypt-then-mac.
    Sha256,
}

/// What has a name in KEXINIT.
pub trait Named: Copy + PartialEq + 'static {
    /// Every one of them, the best first.
    const ALL: &'static [Self];

    fn name(self) -> &'static str;

    fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|a| a.name() == name)
    }
}

impl Named for KexAlgorithm {
    const ALL: &'static [Self] = &[
        Self::MlKem768X25519,
        Self::Curve25519,
        Self::Curve25519LibSsh,
        Self::NistP256,
        Self::NistP384,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::MlKem768X25519 => "mlkem768x25519-sha256",
            Self::Curve25519 => "curve25519-sha256",
            Self::Curve25519LibSsh => "curve25519-sha256@libssh.org",
            Self::NistP256 => "ecdh-sha2-nistp256",
            Self::NistP384 => "ecdh-sha2-nistp384",
        }
    }
}

impl Named for CipherAlgorithm {
    const ALL: &'static [Self] = &[
        Self::Aes256Gcm,
        Self::Aes128Gcm,
        Self::ChaCha20Poly1305,
        Self::Aes256Ctr,
        Self::Aes128Ctr,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes256-gcm@openssh.com",
            Self::Aes128Gcm => "aes128-gcm@openssh.com",
            Self::ChaCha20Poly1305 => "chacha20-poly1305@openssh.com",
            Self::Aes256Ctr => "aes256-ctr",
            Self::Aes128Ctr => "aes128-ctr",
        }
    }
}

impl CipherAlgorithm {
    pub fn is_gcm(self) -> bool {
        matches!(self, Self::Aes256Gcm | Self::Aes128Gcm)
    }

    /// Whether it needs a MAC beside it.
    pub fn needs_mac(self) -> bool {
        matches!(self, Self::Aes256Ctr | Self::Aes128Ctr)
    }
}

impl Named for MacAlgorithm {
    const ALL: &'static [Self] = &[Self::Sha256Etm, Self::Sha512Etm, Self::Sha256];

    fn name(self) -> &'static str {
        match self {
            Self::Sha256Etm => "hmac-sha2-256-etm@openssh.com",
            Self::Sha512Etm => "hmac-sha2-512-etm@openssh.com",
            Self::Sha256 => "hmac-sha2-256",
        }
    }
}

/// What a leg offers, the best first.
#[derive(Debug, Clone)]
pub struct Algorithms {
    pub kex: Vec<KexAlgorithm>,
    pub ciphers: Vec<CipherAlgorithm>,
    pub macs: Vec<MacAlgorithm>,
}

impl Default for Algorithms {
    fn default() -> Self {
        Self {
            kex: KexAlgorithm::ALL.to_vec(),
            ciphers: CipherAlgorithm::ALL.to_vec(),
            macs: MacAlgorithm::ALL.to_vec(),
        }
    }
}

/// When a leg makes new keys, and how much it bears.
#[derive(Debug, Clone)]
pub struct Limits {
    pub rekey_bytes: u64,
    pub rekey_packets: u64,
    pub rekey_after: Duration,
    pub exchange_timeout: Duration,
    pub kexinit_patience: Duration,
    pub backlog: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rekey_bytes: REKEY_BYTES,
            rekey_packets: REKEY_PACKETS,
            rekey_after: REKEY_AFTER,
            exchange_timeout: EXCHANGE_TIMEOUT,
            kexinit_patience: KEXINIT_PATIENCE,
            backlog: MAX_BACKLOG,
        }
    }
}

/// What stands behind `SSH-2.0-`. It tells no version: whoever scans learns nothing from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software(String);

impl Software {
    /// Printable ASCII without blanks and minus signs (RFC 4253 section 4.2).
    pub fn new(text: &str) -> Result<Self, IdentError> {
        let fits = !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_graphic() && b != b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdentError::Ours)
        }
    }

    pub(super) fn ident(&self) -> String {
        format!("SSH-2.0-{}", self.0)
    }
}

/// OpenSSH's clients send `eow@openssh.com`, by which `ssh host yes | head -1` ends, and `no-more-sessions@openssh.com`
/// only to servers whose name begins so. The first is passed on, the second is kept by the relay.
impl Default for Software {
    fn default() -> Self {
        Self("OpenSSH_Weir".to_owned())
    }
}

/// A host key could not sign.
#[derive(Debug, thiserror::Error)]
#[error("the host key cannot sign as {algorithm}: {reason}")]
pub struct HostKeyError {
    pub algorithm: String,
    pub reason: String,
}

/// A key that a server proves itself with, or a certificate of it.
pub trait HostKey: Send + Sync {
    /// Names for KEXINIT, the best first: `ssh-ed25519`, or `ssh-ed25519-cert-v01@openssh.com`.
    fn algorithms(&self) -> &'static [&'static str];

    /// The key, or the certificate, as it stands in the reply of a key exchange.
    fn public_blob(&self) -> &[u8];

    /// A signature as RFC 4253 section 6.6 lays it out: the name of its format, then its bytes.
    fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, HostKeyError>;
}

/// For a leg that a client has opened to us.
#[derive(Clone)]
pub struct ServerConfig {
    pub software: Software,
    /// In the order in which their algorithms are offered.
    pub host_keys: Vec<Arc<dyn HostKey>>,
    pub algorithms: Algorithms,
    /// What clients may sign with: `server-sig-algs` of RFC 8308.
    pub signature_algorithms: Vec<String>,
    pub limits: Limits,
}

impl ServerConfig {
    pub fn new(host_keys: Vec<Arc<dyn HostKey>>) -> Self {
        let signatures = [
            "ssh-ed25519",
            "sk-ssh-ed25519@openssh.com",
            "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp384",
            "sk-ecdsa-sha2-nistp256@openssh.com",
            "rsa-sha2-512",
            "rsa-sha2-256",
        ];
        Self {
            software: Software::default(),
            host_keys,
            algorithms: Algorithms::default(),
            signature_algorithms: signatures.map(str::to_owned).to_vec(),
            limits: Limits::default(),
        }
    }
}

/// For a leg that we have opened to a host.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub software: Software,
    /// What a host may prove itself with, the best first.
    pub host_key_algorithms: Vec<String>,
    pub algorithms: Algorithms,
    pub limits: Limits,
}

impl ClientConfig {
    pub fn new(host_key_algorithms: Vec<String>) -> Self {
        Self {
            software: Software::default(),
            host_key_algorithms,
            algorithms: Algorithms::default(),
            limits: Limits::default(),
        }
    }
}
