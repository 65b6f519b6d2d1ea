//! What wraps the keys of streams: made for a key manager elsewhere; built in are keys on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::chain;
use crate::crypt::key::Secret;
use crate::log::key as file;

/// Wraps and unwraps the keys of streams. What it does may take a while and may fail: then no session
/// begins. `context` is authenticated with the key, and is not secret.
#[async_trait]
pub trait KeyWrap: Send + Sync {
    async fn wrap(&self, context: &[u8], key: &Secret) -> Result<Wrapped, WrapError>;
    /// With the wrapping key of this name.
    async fn unwrap(&self, kek: &str, context: &[u8], wrapped: &[u8]) -> Result<Secret, WrapError>;
}

/// A wrapped key, and the name of what wrapped it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    pub kek: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    #[error("the key manager: {0}")]
    Unavailable(String),
    #[error("it is wrapped by the key {0}, which is not among those that were given")]
    UnknownKey(String),
    #[error("it is not what was wrapped, or not by the key {0}")]
    Altered(String),
}

/// Whatever wraps, within a time.
pub struct Within {
    pub inner: Arc<dyn KeyWrap>,
    pub limit: Duration,
}

impl Within {
    async fn wait<T>(
        &self,
        call: impl Future<Output = Result<T, WrapError>>,
    ) -> Result<T, WrapError> {
        let late = |_| WrapError::Unavailable(format!("no answer within {:?}", self.limit));
        tokio::time::timeout(self.limit, call).await.map_err(late)?
    }
}

#[async_trait]
impl KeyWrap for Within {
    async fn wrap(&self, context: &[u8], key: &Secret) -> Result<Wrapped, WrapError> {
        self.wait(self.inner.wrap(context, key)).await
    }

    async fn unwrap(&self, kek: &str, context: &[u8], wrapped: &[u8]) -> Result<Secret, WrapError> {
        self.wait(self.inner.unwrap(kek, context, wrapped)).await
    }
}

/// Keys on this machine: AES-256-GCM, with a random nonce before the ciphertext. The first wraps; all
/// unwrap.
pub struct LocalKeys(Vec<(String, LessSafeKey)>);

/// Why keys on this machine cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalKeyError {
    #[error(transparent)]
    File(#[from] file::KeyError),
    #[error("a wrapping key is 64 hexadecimal digits and nothing else")]
    Form,
    #[error("name one wrapping key at least")]
    None,
    #[error(
        "{path}, which wraps the keys of recordings, is gone: what was recorded cannot be read without it. \
         Bring it back, or remove {made} to go on with another key"
    )]
    Lost { path: PathBuf, made: PathBuf },
}

impl LocalKeys {
    pub fn new(keys: impl IntoIterator<Item = Secret>) -> Result<Self, LocalKeyError> {
        let mut out = Vec::new();
        for key in keys {
            let unbound = UnboundKey::new(&AES_256_GCM, &*key);
            let unbound = unbound.map_err(|_| LocalKeyError::None)?;
            out.push((name(&key), LessSafeKey::new(unbound)));
        }
        match out.is_empty() {
            true => Err(LocalKeyError::None),
            false => Ok(Self(out)),
        }
    }

    /// The key in this file, which is made if it is not there.
    pub fn make(path: &Path) -> Result<Self, LocalKeyError> {
        Self::new([Zeroizing::new(file::secret(path)?)])
    }

    /// The keys in these files. None of them is made.
    pub fn load(files: &[impl AsRef<Path>]) -> Result<Self, LocalKeyError> {
        let keys = files.iter().map(|path| file::existing(path.as_ref()));
        let keys: Result<Vec<_>, _> = keys.collect();
        Self::new(keys?.into_iter().map(Zeroizing::new))
    }

    /// Keys as text, as their files have them.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, LocalKeyError> {
        let keys: Result<Vec<_>, _> = texts.into_iter().map(parse).collect();
        Self::new(keys?)
    }
}

fn parse(text: &str) -> Result<Secret, LocalKeyError> {
    let mut secret = Secret::default();
    hex::decode_to_slice(text.trim_ascii(), &mut *secret).map_err(|_| LocalKeyError::Form)?;
    Ok(secret)
}

/// A name that tells nothing of the key but that it is this one.
fn name(key: &Secret) -> String {
    let mut text = hex::encode(chain::sha256(&[b"weir.kek.v1\0", &key[..]].concat()));
    text.truncate(16);
    text
}

#[async_trait]
impl KeyWrap for LocalKeys {
    async fn wrap(&self, context: &[u8], key: &Secret) -> Result<Wrapped, WrapError> {
        let random = || WrapError::Unavailable("the machine gives no random numbers".into());
        let (kek, with) = self.0.first().ok_or_else(random)?;
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| random())?;
        let mut sealed = Zeroizing::new(**key);
        let tag = with
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut *sealed,
            )
            .map_err(|_| random())?;
        Ok(Wrapped {
            kek: kek.clone(),
            bytes: [&nonce[..], &sealed[..], tag.as_ref()].concat(),
        })
    }

    async fn unwrap(&self, kek: &str, context: &[u8], wrapped: &[u8]) -> Result<Secret, WrapError> {
        let altered = || WrapError::Altered(kek.to_owned());
        let with = self.0.iter().find(|(name, _)| name == kek);
        let (_, with) = with.ok_or_else(|| WrapError::UnknownKey(kek.to_owned()))?;
        let (nonce, sealed) = wrapped.split_first_chunk().ok_or_else(altered)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = with.open_in_place(nonce, Aad::from(context), &mut sealed);
        let opened = opened.map_err(|_| altered())?;
        let mut key = Secret::default();
        match opened.len() == key.len() {
            true => key.copy_from_slice(opened),
            false => return Err(altered()),
        }
        Ok(key)
    }
}
