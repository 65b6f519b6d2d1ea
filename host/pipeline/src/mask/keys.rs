//! Named secrets for keyed hashes and pseudonyms; plugins name them, only the host holds them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;

/// The shortest secret that is accepted, in bytes.
pub const MIN_KEY: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskKeyError {
    #[error("masking key {name:?} has {got} bytes; it needs at least {MIN_KEY}")]
    Short { name: String, got: usize },
}

/// HMAC-SHA-256 keys by name. Cheap to clone.
#[derive(Clone, Default)]
pub struct MaskKeys {
    keys: Arc<BTreeMap<String, hmac::Key>>,
}

impl MaskKeys {
    pub fn new(secrets: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, MaskKeyError> {
        let mut keys = BTreeMap::new();
        for (name, secret) in secrets {
            if secret.len() < MIN_KEY {
                let got = secret.len();
                return Err(MaskKeyError::Short { name, got });
            }
            keys.insert(name, hmac::Key::new(hmac::HMAC_SHA256, &secret));
        }
        Ok(Self {
            keys: Arc::new(keys),
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&hmac::Key> {
        self.keys.get(name)
    }
}

impl fmt::Debug for MaskKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}
