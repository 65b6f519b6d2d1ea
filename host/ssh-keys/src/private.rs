//! Private keys: they sign, and are written as OpenSSH writes them.

mod read;
#[cfg(test)]
pub(crate) use read::section_ed25519 as section_of_seed;

use std::fmt;

use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::public::{Curve, KeyError, PublicKey};
use crate::wire::Put;

/// A private key of RSA with 8192 bits, as text, has a fifth of it.
pub const MAX_PRIVATE_BYTES: usize = 32 * 1024;

const BEGIN_OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END_OPENSSH: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// Lines of base64 in a file of OpenSSH.
const LINE: usize = 70;
/// What the private part of a file is filled up to.
const BLOCK: usize = 8;

enum Signer {
    Ed25519(Ed25519KeyPair),
    Ecdsa(Curve, EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

/// A key that signs.
pub struct PrivateKey {
    signer: Signer,
    public: PublicKey,
    /// Type and numbers, as OpenSSH writes them.
    section: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    pub fn generate_ed25519() -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        rand::fill(seed.as_mut()).map_err(|_| KeyError::Crypto)?;
        Self::from_section(Zeroizing::new(read::section_ed25519(&seed)?))
    }

    /// A file as `ssh-keygen` writes it (`openssh-key-v1`), or PKCS#8 as PEM; without a passphrase.
    pub fn from_openssh(text: &[u8]) -> Result<Self, KeyError> {
        read::file(text)
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// With what it signs, the best first.
    pub fn algorithms(&self) -> &'static [&'static str] {
        self.public.algorithms()
    }

    /// The signature as it goes into a message: the algorithm's name and what it made.
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        if algorithm == "ssh-rsa" {
            return Err(KeyError::Sha1);
        }
        if !self.algorithms().contains(&algorithm) {
            return Err(KeyError::Algorithm {
                signature: self.public.algorithm().to_owned(),
                wanted: algorithm.to_owned(),
            });
        }
        let made = match &self.signer {
            Signer::Ed25519(pair) => {
                let signature = pair.try_sign(message).map_err(|_| KeyError::Crypto)?;
                signature.as_ref().to_vec()
            }
            Signer::Ecdsa(curve, pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                let signature = signature.map_err(|_| KeyError::Crypto)?;
                let halves = signature.as_ref().split_at_checked(curve.bytes());
                let (r, s) = halves.ok_or(KeyError::Crypto)?;
                let mut made = Vec::new();
                made.mpint(r).mpint(s);
                made
            }
            Signer::Rsa(pair) => {
                let encoding = match algorithm {
                    "rsa-sha2-256" => &RSA_PKCS1_SHA256,
                    _ => &RSA_PKCS1_SHA512,
                };
                let mut made = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut made)
                    .map_err(|_| KeyError::Crypto)?;
                made
            }
        };
        let mut signature = Vec::new();
        signature.string(algorithm.as_bytes()).string(&made);
        Ok(signature)
    }

    /// The file that `ssh-keygen` would write, without a passphrase.
    pub fn to_openssh(&self, comment: &str) -> Zeroizing<String> {
        let comment: String = comment.chars().filter(|c| !c.is_control()).collect();
        // Room for all of it from the start: a vector that grows leaves copies behind.
        let room = self.section.len() + comment.len() + 64;
        let mut private = Zeroizing::new(Vec::with_capacity(room));
        // Twice the same number: who decrypts with a wrong passphrase sees that. Nothing is encrypted here.
        private.uint32(0).uint32(0);
        private.raw(&self.section).string(comment.as_bytes());
        for pad in 1..=u8::MAX {
            if private.len() % BLOCK == 0 {
                break;
            }
            private.push(pad);
        }
        let room = room + self.public.blob().len() + 128;
        let mut file = Zeroizing::new(Vec::with_capacity(room));
        file.raw(MAGIC).string(b"none").string(b"none").string(b"");
        file.uint32(1).string(self.public.blob()).string(&private);
        let encoded = Zeroizing::new(STANDARD.encode(file.as_slice()));
        let mut text = Zeroizing::new(String::with_capacity(2 * encoded.len() + 128));
        text.push_str(BEGIN_OPENSSH);
        for (at, c) in encoded.chars().enumerate() {
            if at % LINE == 0 {
                text.push('\n');
            }
            text.push(c);
        }
        text.push('\n');
        text.push_str(END_OPENSSH);
        text.push('\n');
        text
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {:?})", self.public)
    }
}

fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
    }
}

/// The public half that the library derives from the private one has to be the one that the file names.
fn same(pair: &impl KeyPair, public: &[u8]) -> Result<(), KeyError> {
    match pair.public_key().as_ref() == public {
        true => Ok(()),
        false => Err(KeyError::PrivateMismatch),
    }
}

#[cfg(test)]
mod tests;
