//! Signing new certificates.

use aws_lc_rs::rand;

use super::{Certificate, CertificateError, CertificateKind, Options};
use crate::private::PrivateKey;
use crate::public::{KeyError, PublicKey};
use crate::wire::Put;

/// Why a certificate is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("a certificate for nobody is of no use: name at least one principal")]
    NoPrincipals,
    #[error("such a certificate could not be read: {0}")]
    Unreadable(#[source] CertificateError),
    #[error("the authority cannot sign: {0}")]
    Sign(#[source] KeyError),
}

/// What a certificate is to say.
#[derive(Debug, Clone)]
pub struct CertificateSpec {
    pub key: PublicKey,
    pub kind: CertificateKind,
    pub serial: u64,
    pub key_id: String,
    pub principals: Vec<String>,
    /// Seconds since 1970.
    pub valid_after: u64,
    /// Seconds since 1970, the first at which it does not count.
    pub valid_before: u64,
    pub critical: Options,
    pub extensions: Options,
}

impl CertificateSpec {
    /// What comes back has been read again: nothing is signed that could not be checked.
    pub fn sign(&self, authority: &PrivateKey) -> Result<Certificate, SpecError> {
        if self.principals.is_empty() {
            return Err(SpecError::NoPrincipals);
        }
        let failed = |e| SpecError::Sign(e);
        let mut nonce = [0; 32];
        rand::fill(&mut nonce).map_err(|_| failed(KeyError::Crypto))?;
        let material = self.key.material();
        let mut principals = Vec::new();
        for principal in &self.principals {
            principals.string(principal.as_bytes());
        }
        let mut blob = Vec::new();
        blob.string(material.kind().certificate_name().as_bytes())
            .string(&nonce);
        material.put(&mut blob);
        blob.uint64(self.serial).uint32(self.kind.number());
        blob.string(self.key_id.as_bytes()).string(&principals);
        blob.uint64(self.valid_after).uint64(self.valid_before);
        blob.string(&self.critical.write())
            .string(&self.extensions.write());
        blob.string(b"").string(authority.public().blob());
        let algorithm = authority.algorithms().first();
        let algorithm = algorithm.ok_or_else(|| failed(KeyError::Crypto))?;
        let signature = authority.sign(algorithm, &blob).map_err(failed)?;
        blob.string(&signature);
        Certificate::from_blob(&blob).map_err(SpecError::Unreadable)
    }
}
