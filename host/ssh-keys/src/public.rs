//! Public keys: blobs (RFC 4253 6.6, RFC 5656 3.1, RFC 8709, OpenSSH's PROTOCOL.u2f) and lines of OpenSSH.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED,
    EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::wire::{FormatError, Put, Reader};

/// A key of RSA with 8192 bits has a quarter of it.
pub const MAX_KEY_BYTES: usize = 4096;
const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BITS: usize = 8192;
/// Applications of security keys; OpenSSH makes keys for no other (`ssh-keygen -O application`).
const APPLICATION: &str = "ssh:";
const MAX_APPLICATION: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key cannot be read: {0}")]
    Format(#[from] FormatError),
    #[error("keys of the type {0:?} are not taken; make one with: ssh-keygen -t ed25519")]
    Type(String),
    #[error("the line says that the key is of the type {line:?}, the key says {blob:?}")]
    TypeMismatch { line: String, blob: &'static str },
    #[error("not one line of \"type key comment\", as ssh-keygen writes it")]
    Line,
    #[error("this is a certificate; a plain key is wanted")]
    IsCertificate,
    #[error("an RSA key has {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, this one has {0}")]
    RsaSize(usize),
    #[error("an RSA key has an odd modulus and an odd exponent of at most 32 bits above 1")]
    RsaNumbers,
    #[error("the point of the key is not on its curve, or everybody could sign for it")]
    Point,
    #[error("a security key's application begins with \"ssh:\"")]
    Application,
    #[error(
        "the signature is made with {signature:?}, not with {wanted:?}, or that is not for this key"
    )]
    Algorithm { signature: String, wanted: String },
    #[error("signatures with SHA-1 (ssh-rsa) are not taken; use rsa-sha2-256 or rsa-sha2-512")]
    Sha1,
    #[error("the signature cannot be read: {0}")]
    SignatureFormat(FormatError),
    #[error("the signature does not verify")]
    Signature,
    #[error("the security key was not touched")]
    NotTouched,
    #[error(
        "the private key is encrypted, and nobody can be asked for its passphrase; write it anew without one: ssh-keygen -p -N '' -f FILE"
    )]
    Encrypted,
    #[error("not a private key of OpenSSH or PKCS#8; convert it with: ssh-keygen -p -N '' -f FILE")]
    PrivateFormat,
    #[error("the private key does not fit its public key, or is damaged")]
    PrivateMismatch,
    #[error("the private key of a security key is in its hardware and cannot be used here")]
    PrivateHardware,
    #[error("the cryptographic library failed")]
    Crypto,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Its name in a key (RFC 5656 10.1).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
            Self::P521 => "nistp521",
        }
    }

    /// Bytes of a coordinate, and of a number in a signature.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(crate) fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
        }
    }
}

/// What kinds of keys there are for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum KeyType {
    Ed25519,
    Ecdsa(Curve),
    Rsa,
    SkEd25519,
    SkEcdsa,
}

/// One row for each: the type, its name, that of its certificates, with what it signs, and how somebody who
/// has a certificate says that.
struct Names {
    kind: KeyType,
    key: &'static str,
    certificate: &'static str,
    signs: &'static [&'static str],
    certified: &'static [&'static str],
}

macro_rules! names {
    ($kind:expr, $key:literal, $certificate:literal) => {
        Names {
            kind: $kind,
            key: $key,
            certificate: $certificate,
            signs: &[$key],
            certified: &[$certificate],
        }
    };
}

static NAMES: [Names; 7] = [
    names!(
        KeyType::Ed25519,
        "ssh-ed25519",
        "ssh-ed25519-cert-v01@openssh.com"
    ),
    names!(
        KeyType::Ecdsa(Curve::P256),
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp256-cert-v01@openssh.com"
    ),
    names!(
        KeyType::Ecdsa(Curve::P384),
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp384-cert-v01@openssh.com"
    ),
    names!(
        KeyType::Ecdsa(Curve::P521),
        "ecdsa-sha2-nistp521",
        "ecdsa-sha2-nistp521-cert-v01@openssh.com"
    ),
    // RFC 8332: the key keeps the old name, its signatures have new ones. `ssh-rsa` as a signature is SHA-1.
    Names {
        kind: KeyType::Rsa,
        key: "ssh-rsa",
        certificate: "ssh-rsa-cert-v01@openssh.com",
        signs: &["rsa-sha2-512", "rsa-sha2-256"],
        certified: &[
            "rsa-sha2-512-cert-v01@openssh.com",
            "rsa-sha2-256-cert-v01@openssh.com",
        ],
    },
    names!(
        KeyType::SkEd25519,
        "sk-ssh-ed25519@openssh.com",
        "sk-ssh-ed25519-cert-v01@openssh.com"
    ),
    names!(
        KeyType::SkEcdsa,
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com"
    ),
];

impl KeyType {
    fn names(self) -> &'static Names {
        let [ed25519, p256, p384, p521, rsa, sk_ed25519, sk_ecdsa] = &NAMES;
        match self {
            Self::Ed25519 => ed25519,
            Self::Ecdsa(Curve::P256) => p256,
            Self::Ecdsa(Curve::P384) => p384,
            Self::Ecdsa(Curve::P521) => p521,
            Self::Rsa => rsa,
            Self::SkEd25519 => sk_ed25519,
            Self::SkEcdsa => sk_ecdsa,
        }
    }

    pub(crate) fn of_key(name: &[u8]) -> Result<Self, KeyError> {
        if Self::of_certificate(name).is_some() {
            return Err(KeyError::IsCertificate);
        }
        let found = NAMES.iter().find(|n| n.key.as_bytes() == name);
        found
            .map(|n| n.kind)
            .ok_or_else(|| KeyError::Type(shown(name)))
    }

    pub(crate) fn of_certificate(name: &[u8]) -> Option<Self> {
        let found = NAMES.iter().find(|n| n.certificate.as_bytes() == name);
        found.map(|n| n.kind)
    }

    pub(crate) fn name(self) -> &'static str {
        self.names().key
    }

    pub(crate) fn certificate_name(self) -> &'static str {
        self.names().certificate
    }

    pub(crate) fn signs(self) -> &'static [&'static str] {
        self.names().signs
    }

    pub(crate) fn certified(self) -> &'static [&'static str] {
        self.names().certified
    }
}

/// With what is signed where this public key algorithm was agreed on? Somebody with a certificate names an
/// algorithm of certificates, and signs with that of the key in it. `None`: there is no such algorithm for us.
pub fn signature_algorithm(algorithm: &str) -> Option<&'static str> {
    NAMES.iter().find_map(|names| {
        let plain = names.signs.iter().zip(names.certified);
        let mut found =
            plain.filter(|(plain, certified)| algorithm == **plain || algorithm == **certified);
        found.next().map(|(plain, _)| *plain)
    })
}

/// What a stranger wrote, short and printable.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(64).collect()
}

/// The numbers of a key. Read once, checked, and never changed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Material {
    Ed25519([u8; 32]),
    Ecdsa(Curve, Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    SkEd25519 {
        point: [u8; 32],
        application: String,
    },
    SkEcdsa {
        point: Vec<u8>,
        application: String,
    },
}

impl Material {
    /// What follows the type in a key, and the nonce in a certificate.
    pub(crate) fn read(kind: KeyType, reader: &mut Reader<'_>) -> Result<Self, KeyError> {
        match kind {
            KeyType::Ed25519 => Ok(Self::Ed25519(edwards_point(reader)?)),
            KeyType::Ecdsa(curve) => Ok(Self::Ecdsa(curve, curve_point(curve, reader)?)),
            KeyType::Rsa => {
                let (e, n) = (reader.mpint()?, reader.mpint()?);
                Self::rsa(n, e)
            }
            KeyType::SkEd25519 => Ok(Self::SkEd25519 {
                point: edwards_point(reader)?,
                application: application(reader)?,
            }),
            KeyType::SkEcdsa => Ok(Self::SkEcdsa {
                point: curve_point(Curve::P256, reader)?,
                application: application(reader)?,
            }),
        }
    }

    pub(crate) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, KeyError> {
        let leading = n.first().map_or(0, |b| b.leading_zeros() as usize);
        let bits = n.len() * 8 - leading;
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyError::RsaSize(bits));
        }
        let odd = |number: &[u8]| number.last().is_some_and(|b| b & 1 == 1);
        if !odd(n) || !odd(e) || e.len() > 4 || e == [1] {
            return Err(KeyError::RsaNumbers);
        }
        Ok(Self::Rsa {
            n: n.to_vec(),
            e: e.to_vec(),
        })
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ed25519(point) => out.string(point),
            Self::Ecdsa(curve, point) => out.string(curve.name().as_bytes()).string(point),
            Self::Rsa { n, e } => out.mpint(e).mpint(n),
            Self::SkEd25519 { point, application } => {
                out.string(point).string(application.as_bytes())
            }
            Self::SkEcdsa { point, application } => out
                .string(Curve::P256.name().as_bytes())
                .string(point)
                .string(application.as_bytes()),
        };
    }

    pub(crate) fn kind(&self) -> KeyType {
        match self {
            Self::Ed25519(_) => KeyType::Ed25519,
            Self::Ecdsa(curve, _) => KeyType::Ecdsa(*curve),
            Self::Rsa { .. } => KeyType::Rsa,
            Self::SkEd25519 { .. } => KeyType::SkEd25519,
            Self::SkEcdsa { .. } => KeyType::SkEcdsa,
        }
    }
}

/// The y coordinates of the points of small order (1, 2, 4 and 8): a signature for such a key can be made up
/// by anybody, for any message.
const SMALL_ORDER: [[u8; 32]; 5] = {
    let mut zero = [0; 32];
    let mut one = [0; 32];
    let mut minus_one = [0xff; 32];
    zero[0] = 0;
    one[0] = 1;
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    [
        zero,
        one,
        minus_one,
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

/// RFC 8032 5.1.3, as far as it can be seen without arithmetic: y is below 2^255 - 19, so that a point is
/// written in one way, and the point is not of small order.
fn edwards_point(reader: &mut Reader<'_>) -> Result<[u8; 32], KeyError> {
    let point: [u8; 32] = reader.exactly()?;
    let mut y = point;
    let [low, middle @ .., high] = &mut y;
    *high &= 0x7f;
    if *high == 0x7f && *low >= 0xed && middle.iter().all(|b| *b == 0xff) {
        return Err(KeyError::Point);
    }
    match SMALL_ORDER.contains(&y) {
        true => Err(KeyError::Point),
        false => Ok(point),
    }
}

/// RFC 5656 3.1. Only uncompressed points: compressed ones would be a second way to write the same key.
fn curve_point(curve: Curve, reader: &mut Reader<'_>) -> Result<Vec<u8>, KeyError> {
    let name = reader.string()?;
    if name != curve.name().as_bytes() {
        return Err(KeyError::Type(shown(name)));
    }
    let point = reader.string()?;
    if point.first() != Some(&4) || point.len() != 1 + 2 * curve.bytes() {
        return Err(KeyError::Point);
    }
    ParsedPublicKey::new(curve.verification(), point).map_err(|_| KeyError::Point)?;
    Ok(point.to_vec())
}

fn application(reader: &mut Reader<'_>) -> Result<String, KeyError> {
    let text = reader.text()?;
    if !text.starts_with(APPLICATION) || text.len() > MAX_APPLICATION {
        return Err(KeyError::Application);
    }
    Ok(text.to_owned())
}

/// A key that signatures can be checked with. Equal keys have equal blobs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    blob: Vec<u8>,
    material: Material,
}

impl PublicKey {
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        bounded(blob.len(), MAX_KEY_BYTES)?;
        let mut reader = Reader::new(blob);
        let kind = KeyType::of_key(reader.string()?)?;
        let material = Material::read(kind, &mut reader)?;
        reader.end()?;
        Ok(Self::new(material))
    }

    /// A line as in a file `*.pub`: type, key, and perhaps a comment, which is not looked at.
    pub fn from_openssh(line: &str) -> Result<Self, KeyError> {
        let (name, blob) = read_line(line, MAX_KEY_BYTES)?;
        let key = Self::from_blob(&blob)?;
        match name == key.algorithm() {
            true => Ok(key),
            false => Err(KeyError::TypeMismatch {
                line: shown(name.as_bytes()),
                blob: key.algorithm(),
            }),
        }
    }

    pub(crate) fn new(material: Material) -> Self {
        let mut blob = Vec::new();
        blob.string(material.kind().name().as_bytes());
        material.put(&mut blob);
        Self { blob, material }
    }

    pub(crate) fn material(&self) -> &Material {
        &self.material
    }

    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Its type, as it is in the blob: `ssh-rsa` for RSA, whatever it signs with.
    pub fn algorithm(&self) -> &'static str {
        self.material.kind().name()
    }

    /// With what it may sign, the best first.
    pub fn algorithms(&self) -> &'static [&'static str] {
        self.material.kind().signs()
    }

    /// As OpenSSH shows it: `SHA256:` and the hash in base64 without padding.
    pub fn fingerprint(&self) -> String {
        let hash = digest(&SHA256, &self.blob);
        format!("SHA256:{}", STANDARD_NO_PAD.encode(hash))
    }

    /// The line of a file `*.pub`, without its end.
    pub fn to_openssh(&self, comment: &str) -> String {
        write_line(self.algorithm(), &self.blob, comment)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm(), self.fingerprint())
    }
}

pub(crate) fn bounded(len: usize, max: usize) -> Result<(), FormatError> {
    match len > max {
        true => Err(FormatError::Long { len, max }),
        false => Ok(()),
    }
}

/// The type and the bytes of a line of OpenSSH.
pub(crate) fn read_line(line: &str, max: usize) -> Result<(&str, Vec<u8>), KeyError> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    // Base64 takes four characters for three bytes; type and comment have room besides.
    bounded(line.len(), max.saturating_mul(2))?;
    if line.contains(['\n', '\r', '\0']) {
        return Err(KeyError::Line);
    }
    let mut words = line.split([' ', '\t']).filter(|w| !w.is_empty());
    let (Some(name), Some(key)) = (words.next(), words.next()) else {
        return Err(KeyError::Line);
    };
    let blob = STANDARD.decode(key).map_err(|_| FormatError::Base64)?;
    Ok((name, blob))
}

pub(crate) fn write_line(name: &str, blob: &[u8], comment: &str) -> String {
    // A comment with a line's end would be a second line.
    let comment: String = comment.chars().filter(|c| !c.is_control()).collect();
    let line = format!("{name} {} {comment}", STANDARD.encode(blob));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
