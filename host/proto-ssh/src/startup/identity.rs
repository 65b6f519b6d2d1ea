//! Host keys of the gateway, as the key exchange wants them.

use std::sync::Arc;

use ssh_keys::{Certificate, PrivateKey, signature_algorithm};

use crate::transport::{HostKey, HostKeyError};

/// A key of the gateway, alone or with a certificate of it.
pub struct GatewayKey {
    key: Arc<PrivateKey>,
    certificate: Option<Certificate>,
}

#[derive(Debug, thiserror::Error)]
#[error("the host certificate is for another key than the gateway's")]
pub struct OtherKey;

impl GatewayKey {
    pub fn plain(key: Arc<PrivateKey>) -> Self {
        Self {
            key,
            certificate: None,
        }
    }

    pub fn certified(key: Arc<PrivateKey>, certificate: Certificate) -> Result<Self, OtherKey> {
        if certificate.key() != key.public() {
            return Err(OtherKey);
        }
        Ok(Self {
            key,
            certificate: Some(certificate),
        })
    }
}

impl HostKey for GatewayKey {
    fn algorithms(&self) -> &'static [&'static str] {
        match &self.certificate {
            Some(certificate) => certificate.algorithms(),
            None => self.key.algorithms(),
        }
    }

    fn public_blob(&self) -> &[u8] {
        match &self.certificate {
            Some(certificate) => certificate.blob(),
            None => self.key.public().blob(),
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, HostKeyError> {
        let failed = |reason: String| HostKeyError {
            algorithm: algorithm.to_owned(),
            reason,
        };
        // No certificate signs: its key does.
        let plain = signature_algorithm(algorithm)
            .ok_or_else(|| failed("there is no such algorithm".to_owned()))?;
        self.key
            .sign(plain, message)
            .map_err(|e| failed(e.to_string()))
    }
}
