//! Key exchange: the secret that both sides come to, the hash that is signed, and the keys derived from both
//! (RFC 4253 sections 7.2 and 8, RFC 5656, RFC 8731, and the draft on ML-KEM with X25519).

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::digest::{self, SHA256, SHA384};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use zeroize::Zeroizing;

use super::cipher::{CipherError, Material, Open, Seal, Suite};
use super::config::KexAlgorithm;
use crate::wire::Put;

/// Bytes of a public key of X25519.
const X25519: usize = 32;
/// Bytes of a public key of ML-KEM-768.
const ML_KEM_KEY: usize = 1184;
/// Bytes of a ciphertext of ML-KEM-768.
const ML_KEM_CIPHERTEXT: usize = 1088;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KexError {
    #[error(
        "the peer's value for the key exchange has {0} bytes, which its algorithm does not have"
    )]
    Length(usize),
    #[error("the peer's value for the key exchange is not a valid key")]
    Value,
    #[error("no key could be made")]
    Generate,
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// The shared secret, encoded as it goes into hashes.
pub(super) struct Secret(Zeroizing<Vec<u8>>);

/// Our half while the peer's is on its way.
pub(super) struct Ephemeral {
    algorithm: KexAlgorithm,
    curve: PrivateKey,
    kem: Option<DecapsulationKey>,
}

fn curve(algorithm: KexAlgorithm) -> &'static agreement::Algorithm {
    match algorithm {
        KexAlgorithm::NistP256 => &agreement::ECDH_P256,
        KexAlgorithm::NistP384 => &agreement::ECDH_P384,
        KexAlgorithm::MlKem768X25519
        | KexAlgorithm::Curve25519
        | KexAlgorithm::Curve25519LibSsh => &agreement::X25519,
    }
}

pub(super) fn hash(algorithm: KexAlgorithm) -> &'static digest::Algorithm {
    match algorithm {
        KexAlgorithm::NistP384 => &SHA384,
        _ => &SHA256,
    }
}

fn generate(algorithm: KexAlgorithm) -> Result<(PrivateKey, agreement::PublicKey), KexError> {
    let key = PrivateKey::generate(curve(algorithm)).map_err(|_| KexError::Generate)?;
    let public = key.compute_public_key().map_err(|_| KexError::Generate)?;
    Ok((key, public))
}

/// The peer's key in the one form that SSH has: other forms, which the library would read, are refused.
fn agree(
    algorithm: KexAlgorithm,
    ours: &PrivateKey,
    theirs: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KexError> {
    let (len, form) = match algorithm {
        KexAlgorithm::NistP256 => (65, Some(4)),
        KexAlgorithm::NistP384 => (97, Some(4)),
        _ => (X25519, None),
    };
    if theirs.len() != len {
        return Err(KexError::Length(theirs.len()));
    }
    if form.is_some() && theirs.first().copied() != form {
        return Err(KexError::Value);
    }
    let theirs = UnparsedPublicKey::new(curve(algorithm), theirs);
    // Points off the curve and secrets of nothing but zeros (RFC 8731 section 3) are errors here.
    agreement::agree(ours, theirs, KexError::Value, |secret| {
        Ok(Zeroizing::new(secret.to_vec()))
    })
}

fn secret(algorithm: KexAlgorithm, curve: &[u8], kem: Option<&[u8]>) -> Secret {
    let mut out = Zeroizing::new(Vec::with_capacity(64));
    match kem {
        Some(kem) => {
            let mut context = digest::Context::new(hash(algorithm));
            context.update(kem);
            context.update(curve);
            out.string(context.finish().as_ref());
        }
        None => {
            out.mpint(curve);
        }
    }
    Secret(out)
}

impl Ephemeral {
    /// The client's half, and what it sends.
    pub(super) fn generate(algorithm: KexAlgorithm) -> Result<(Self, Vec<u8>), KexError> {
        let (curve, public) = generate(algorithm)?;
        let mut message = Vec::with_capacity(ML_KEM_KEY + X25519);
        let kem = match algorithm {
            KexAlgorithm::MlKem768X25519 => {
                let key =
                    DecapsulationKey::generate(&ML_KEM_768).map_err(|_| KexError::Generate)?;
                let wanted = key.encapsulation_key().map_err(|_| KexError::Generate)?;
                let bytes = wanted.key_bytes().map_err(|_| KexError::Generate)?;
                message.extend_from_slice(bytes.as_ref());
                Some(key)
            }
            _ => None,
        };
        message.extend_from_slice(public.as_ref());
        let ephemeral = Self {
            algorithm,
            curve,
            kem,
        };
        Ok((ephemeral, message))
    }

    /// The client's end: what the server has answered.
    pub(super) fn finish(self, reply: &[u8]) -> Result<Secret, KexError> {
        let Some(kem) = self.kem else {
            let curve = agree(self.algorithm, &self.curve, reply)?;
            return Ok(secret(self.algorithm, &curve, None));
        };
        let (ciphertext, point) = halves(reply, ML_KEM_CIPHERTEXT)?;
        let inner = kem
            .decapsulate(Ciphertext::from(ciphertext))
            .map_err(|_| KexError::Value)?;
        let curve = agree(self.algorithm, &self.curve, point)?;
        Ok(secret(self.algorithm, &curve, Some(inner.as_ref())))
    }
}

fn halves(bytes: &[u8], first: usize) -> Result<(&[u8], &[u8]), KexError> {
    if bytes.len() != first + X25519 {
        return Err(KexError::Length(bytes.len()));
    }
    bytes
        .split_at_checked(first)
        .ok_or(KexError::Length(bytes.len()))
}

/// The server's half: its answer, and the secret.
pub(super) fn respond(algorithm: KexAlgorithm, init: &[u8]) -> Result<(Vec<u8>, Secret), KexError> {
    let (key, public) = generate(algorithm)?;
    if algorithm != KexAlgorithm::MlKem768X25519 {
        let curve = agree(algorithm, &key, init)?;
        return Ok((public.as_ref().to_vec(), secret(algorithm, &curve, None)));
    }
    let (wanted, point) = halves(init, ML_KEM_KEY)?;
    let wanted = EncapsulationKey::new(&ML_KEM_768, wanted).map_err(|_| KexError::Value)?;
    let (ciphertext, inner) = wanted.encapsulate().map_err(|_| KexError::Value)?;
    let curve = agree(algorithm, &key, point)?;
    let mut reply = Vec::with_capacity(ML_KEM_CIPHERTEXT + X25519);
    reply.extend_from_slice(ciphertext.as_ref());
    reply.extend_from_slice(public.as_ref());
    Ok((reply, secret(algorithm, &curve, Some(inner.as_ref()))))
}

/// Everything that the two sides have said, which the host's key signs the hash of.
pub(super) struct Transcript<'a> {
    pub(super) client_ident: &'a str,
    pub(super) server_ident: &'a str,
    pub(super) client_kexinit: &'a [u8],
    pub(super) server_kexinit: &'a [u8],
    pub(super) host_key: &'a [u8],
    pub(super) init: &'a [u8],
    pub(super) reply: &'a [u8],
}

impl Transcript<'_> {
    pub(super) fn hash(&self, algorithm: KexAlgorithm, secret: &Secret) -> digest::Digest {
        let mut context = digest::Context::new(hash(algorithm));
        for part in [
            self.client_ident.as_bytes(),
            self.server_ident.as_bytes(),
            self.client_kexinit,
            self.server_kexinit,
            self.host_key,
            self.init,
            self.reply,
        ] {
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            context.update(&len.to_be_bytes());
            context.update(part);
        }
        context.update(&secret.0);
        context.finish()
    }
}

/// Letters of RFC 4253 section 7.2 for one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Letters {
    iv: u8,
    key: u8,
    mac: u8,
}

pub(super) const FROM_CLIENT: Letters = Letters {
    iv: b'A',
    key: b'C',
    mac: b'E',
};
pub(super) const FROM_SERVER: Letters = Letters {
    iv: b'B',
    key: b'D',
    mac: b'F',
};

/// What keys are derived from.
pub(super) struct Derivation<'a> {
    pub(super) algorithm: KexAlgorithm,
    pub(super) secret: &'a Secret,
    pub(super) exchange_hash: &'a [u8],
    pub(super) session_id: &'a [u8],
}

impl Derivation<'_> {
    pub(super) fn seal(&self, suite: Suite, letters: Letters) -> Result<Seal, KexError> {
        let bytes = self.material(suite, letters);
        Ok(Seal::new(suite, &bytes.borrow())?)
    }

    pub(super) fn open(&self, suite: Suite, letters: Letters) -> Result<Open, KexError> {
        let bytes = self.material(suite, letters);
        Ok(Open::new(suite, &bytes.borrow())?)
    }

    fn material(&self, suite: Suite, letters: Letters) -> Bytes {
        let lengths = suite.lengths();
        Bytes {
            iv: self.derive(letters.iv, lengths.iv),
            key: self.derive(letters.key, lengths.key),
            mac: self.derive(letters.mac, lengths.mac),
        }
    }

    fn derive(&self, letter: u8, len: usize) -> Zeroizing<Vec<u8>> {
        let hash = hash(self.algorithm);
        let mut out = Zeroizing::new(Vec::with_capacity(len.saturating_add(hash.output_len())));
        while out.len() < len {
            let mut context = digest::Context::new(hash);
            context.update(&self.secret.0);
            context.update(self.exchange_hash);
            if out.is_empty() {
                context.update(&[letter]);
                context.update(self.session_id);
            } else {
                context.update(&out);
            }
            out.extend_from_slice(context.finish().as_ref());
        }
        out.truncate(len);
        out
    }
}

struct Bytes {
    iv: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
    mac: Zeroizing<Vec<u8>>,
}

impl Bytes {
    fn borrow(&self) -> Material<'_> {
        Material {
            iv: &self.iv,
            key: &self.key,
            mac: &self.mac,
        }
    }
}
