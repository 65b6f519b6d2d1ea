//! What a client shows with the method publickey: a key or a certificate, the algorithm that it is to be used
//! with, and, after the probe, a signature (RFC 4252 section 7, RFC 8332, `PROTOCOL.certkeys`).

use ssh_keys::{Certificate, PublicKey, signature_algorithm};

use crate::wire::Put;
use crate::wire::numbers as n;

/// A key or a certificate, whose bytes and algorithm fit each other.
#[derive(Clone)]
pub(crate) enum Offer {
    Key(Box<PublicKey>),
    Certificate(Box<Certificate>),
}

/// An offer with the algorithm by which it is to be proved.
pub(crate) struct Shown {
    pub offer: Offer,
    /// What the signature is made with: no certificate signs.
    signature: &'static str,
}

impl Shown {
    /// None: it cannot be used, whoever it belongs to. SHA-1 is not among the algorithms.
    pub fn read(algorithm: &[u8], blob: &[u8]) -> Option<Self> {
        let algorithm = std::str::from_utf8(algorithm).ok()?;
        let signature = signature_algorithm(algorithm)?;
        let offer = if algorithm == signature {
            let key = PublicKey::from_blob(blob).ok()?;
            let fits = key.algorithms().contains(&algorithm);
            fits.then(|| Offer::Key(Box::new(key)))?
        } else {
            let certificate = Certificate::from_blob(blob).ok()?;
            let fits = certificate.algorithms().contains(&algorithm);
            fits.then(|| Offer::Certificate(Box::new(certificate)))?
        };
        Some(Self { offer, signature })
    }

    pub fn is_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = match &self.offer {
            Offer::Key(key) => key,
            Offer::Certificate(certificate) => certificate.key(),
        };
        key.verify(self.signature, message, signature).is_ok()
    }
}

/// What is signed: bound to this connection, this user name, this service and this key.
pub(crate) fn signed(
    session_id: &[u8],
    user: &[u8],
    service: &[u8],
    algorithm: &[u8],
    blob: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(blob.len() + 256);
    out.string(session_id)
        .byte(n::USERAUTH_REQUEST)
        .string(user)
        .string(service)
        .string(b"publickey")
        .flag(true)
        .string(algorithm)
        .string(blob);
    out
}
