//! Signatures of public keys, as they are in messages and certificates: the algorithm's name, then what it
//! made (RFC 4253 6.6, RFC 5656 3.1.2, RFC 8332, RFC 8709; OpenSSH's PROTOCOL.u2f for security keys).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
};

use crate::public::{Curve, KeyError, Material, PublicKey, shown};
use crate::wire::{FormatError, Reader};

/// Flags of a security key's signature.
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;

/// What a signature proves besides that its key made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proof {
    /// A security key asked for a PIN or a fingerprint.
    pub user_verified: bool,
    /// How often a security key had signed by then.
    pub counter: Option<u32>,
}

impl PublicKey {
    /// Has this key made `signature` over `message`, with this algorithm and no other?
    pub fn verify(
        &self,
        algorithm: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), KeyError> {
        self.prove(algorithm, message, signature).map(|_| ())
    }

    /// As [`PublicKey::verify`], and says what else is known then. A security key has to have been touched.
    pub fn prove(
        &self,
        algorithm: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<Proof, KeyError> {
        let mut reader = Reader::new(signature);
        let name = reader.string().map_err(KeyError::SignatureFormat)?;
        if name == b"ssh-rsa" || algorithm == "ssh-rsa" {
            return Err(KeyError::Sha1);
        }
        if name != algorithm.as_bytes() || !self.algorithms().contains(&algorithm) {
            return Err(KeyError::Algorithm {
                signature: shown(name),
                wanted: shown(algorithm.as_bytes()),
            });
        }
        let made = reader.string().map_err(KeyError::SignatureFormat)?;
        let touch = match self.material() {
            Material::SkEd25519 { application, .. } | Material::SkEcdsa { application, .. } => {
                Some(Touch::read(&mut reader, application).map_err(KeyError::SignatureFormat)?)
            }
            _ => None,
        };
        reader.end().map_err(KeyError::SignatureFormat)?;
        match self.material() {
            Material::Ed25519(point) => edwards(point, message, made)?,
            Material::Ecdsa(curve, point) => ecdsa(*curve, point, message, made)?,
            Material::Rsa { n, e } => rsa(n, e, algorithm, message, made)?,
            Material::SkEd25519 { point, .. } => {
                edwards(
                    point,
                    &touch.as_ref().ok_or(KeyError::Signature)?.message(message),
                    made,
                )?;
            }
            Material::SkEcdsa { point, .. } => {
                let message = touch.as_ref().ok_or(KeyError::Signature)?.message(message);
                ecdsa(Curve::P256, point, &message, made)?;
            }
        }
        touch.map_or(Ok(Proof::default()), |touch| touch.proof())
    }
}

/// What a security key says of how it came to sign, and signs.
struct Touch<'a> {
    application: &'a str,
    flags: u8,
    counter: u32,
}

impl<'a> Touch<'a> {
    fn read(reader: &mut Reader<'_>, application: &'a str) -> Result<Self, FormatError> {
        Ok(Self {
            application,
            flags: reader.byte()?,
            counter: reader.uint32()?,
        })
    }

    fn message(&self, message: &[u8]) -> Vec<u8> {
        let mut signed = digest(&SHA256, self.application.as_bytes())
            .as_ref()
            .to_vec();
        signed.push(self.flags);
        signed.extend_from_slice(&self.counter.to_be_bytes());
        signed.extend_from_slice(digest(&SHA256, message).as_ref());
        signed
    }

    fn proof(&self) -> Result<Proof, KeyError> {
        if self.flags & USER_PRESENT == 0 {
            return Err(KeyError::NotTouched);
        }
        Ok(Proof {
            user_verified: self.flags & USER_VERIFIED != 0,
            counter: Some(self.counter),
        })
    }
}

fn edwards(point: &[u8; 32], message: &[u8], made: &[u8]) -> Result<(), KeyError> {
    let key = UnparsedPublicKey::new(&ED25519, point);
    key.verify(message, made).map_err(|_| KeyError::Signature)
}

/// Two numbers, r and s, each of them below the order of the curve; the library wants them in full width.
fn ecdsa(curve: Curve, point: &[u8], message: &[u8], made: &[u8]) -> Result<(), KeyError> {
    let mut reader = Reader::new(made);
    let mut fixed = Vec::new();
    for _ in 0..2 {
        let number = reader.mpint().map_err(KeyError::SignatureFormat)?;
        let missing = curve.bytes().checked_sub(number.len());
        let missing = missing.ok_or(KeyError::Signature)?;
        fixed.resize(fixed.len() + missing, 0);
        fixed.extend_from_slice(number);
    }
    reader.end().map_err(KeyError::SignatureFormat)?;
    let key = UnparsedPublicKey::new(curve.verification(), point);
    key.verify(message, &fixed).map_err(|_| KeyError::Signature)
}

fn rsa(n: &[u8], e: &[u8], algorithm: &str, message: &[u8], made: &[u8]) -> Result<(), KeyError> {
    let parameters = match algorithm {
        "rsa-sha2-256" => &RSA_PKCS1_2048_8192_SHA256,
        "rsa-sha2-512" => &RSA_PKCS1_2048_8192_SHA512,
        _ => return Err(KeyError::Sha1),
    };
    // Some clients leave out the zeros at the beginning; one signature in 256 has some.
    let missing = n.len().checked_sub(made.len()).ok_or(KeyError::Signature)?;
    let mut full = vec![0; missing];
    full.extend_from_slice(made);
    PublicKeyComponents { n, e }
        .verify(parameters, message, &full)
        .map_err(|_| KeyError::Signature)
}
