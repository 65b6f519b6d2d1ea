//! The object store behind one small type: a directory or an S3-compatible bucket, with a prefix.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, RetryConfig,
};

use crate::options::{S3Config, StoreConfig};

/// Attempts of the store's client within one of ours; the uploader retries above it.
const CLIENT_RETRIES: usize = 2;
const CLIENT_RETRY_TIME: Duration = Duration::from_secs(20);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An object larger than this is not one of ours, so it is not read.
pub const MAX_OBJECT: u64 = 1 << 30;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the directory {path} cannot be used: {source}")]
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the configuration cannot be used: {0}")]
    Config(String),
    #[error("{action} {key}: {source}")]
    Object {
        action: &'static str,
        key: String,
        source: Error,
    },
    #[error("{key} is {size} bytes long, more than any object of Weir")]
    TooLarge { key: String, size: u64 },
    #[error("{0} exists with other content")]
    Conflict(String),
    #[error("{0} was stored, but reads back as something else")]
    NotStored(String),
}

/// A listed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Without the store's prefix.
    pub key: String,
    pub size: u64,
}

/// A store and its prefix. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Is the whole object read back after it was stored, or only its length asked for?
    read_back: bool,
}

impl Objects {
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        match config {
            StoreConfig::Directory(dir) => {
                let wrong = |source| StoreError::Directory {
                    path: dir.clone(),
                    source,
                };
                crate::disk::private_dir(dir, false).map_err(wrong)?;
                let local = LocalFileSystem::new_with_prefix(dir)
                    .map_err(|e| StoreError::Config(e.to_string()))?
                    .with_fsync(true);
                Ok(Self::new(Arc::new(local), "", true))
            }
            StoreConfig::S3(s3) => {
                let store = s3_client(s3).map_err(|e| StoreError::Config(e.to_string()))?;
                Ok(Self::new(store, &s3.prefix, false))
            }
        }
    }

    /// Any other store, such as one that fails on purpose.
    pub fn new(inner: Arc<dyn ObjectStore>, prefix: &str, read_back: bool) -> Self {
        Self {
            inner,
            prefix: Path::from(prefix),
            read_back,
        }
    }

    fn path(&self, key: &str) -> Path {
        Path::from_iter(self.prefix.parts().chain(Path::from(key).parts()))
    }

    /// Stores a content-addressed object once. An equal object under its key is success, so the
    /// call may be repeated after a lost answer.
    pub async fn put_once(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.path(key);
        let put = |mode: PutMode| {
            let options = PutOptions::from(mode);
            self.inner
                .put_opts(&path, PutPayload::from_bytes(bytes.clone()), options)
        };
        let result = match put(PutMode::Create).await {
            // The store knows no conditions. The key is the content's hash, so writing it again
            // changes nothing.
            Err(Error::NotImplemented { .. }) => put(PutMode::Overwrite).await,
            other => other,
        };
        match result {
            Ok(_) if !self.read_back => {
                let head = self.inner.head(&path).await;
                match head.map_err(failed("asking for", key))?.size == bytes.len() as u64 {
                    true => Ok(()),
                    false => Err(StoreError::NotStored(key.to_owned())),
                }
            }
            Ok(_) => match self.get(key).await? == bytes {
                true => Ok(()),
                false => Err(StoreError::NotStored(key.to_owned())),
            },
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                match self.get(key).await? == bytes {
                    true => Ok(()),
                    false => Err(StoreError::Conflict(key.to_owned())),
                }
            }
            Err(source) => Err(failed("storing", key)(source)),
        }
    }

    /// Stores what replaces what was there. The bytes are read back, since a store can answer that it
    /// has them and keep what it had.
    pub async fn put_latest(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let payload = PutPayload::from_bytes(bytes.clone());
        let put = self.inner.put(&self.path(key), payload).await;
        put.map_err(failed("storing", key))?;
        match self.get(key).await? == bytes {
            true => Ok(()),
            false => Err(StoreError::NotStored(key.to_owned())),
        }
    }

    pub async fn remove(&self, key: &str) -> Result<(), StoreError> {
        let removed = self.inner.delete(&self.path(key)).await;
        removed.map_err(failed("removing", key))
    }

    /// What is there, or None if nothing is.
    pub async fn find(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match self.get(key).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StoreError::Object {
                source: Error::NotFound { .. },
                ..
            }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let got = self.inner.get(&self.path(key)).await;
        let got = got.map_err(failed("reading", key))?;
        if got.meta.size > MAX_OBJECT {
            return Err(StoreError::TooLarge {
                key: key.to_owned(),
                size: got.meta.size,
            });
        }
        got.bytes().await.map_err(failed("reading", key))
    }

    /// Every object below `prefix`, sorted by key.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let below = self.path(prefix);
        let skip = self.prefix.parts().count();
        let mut out: Vec<Listed> = self
            .inner
            .list(Some(&below))
            .map_ok(|meta| Listed {
                key: Path::from_iter(meta.location.parts().skip(skip)).to_string(),
                size: meta.size,
            })
            .try_collect()
            .await
            .map_err(failed("listing", prefix))?;
        out.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(out)
    }

    /// The names directly below `prefix`, as if it were a directory.
    pub async fn children(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let below = self.path(prefix);
        let listed = self.inner.list_with_delimiter(Some(&below)).await;
        let listed = listed.map_err(failed("listing", prefix))?;
        let mut out: Vec<String> = listed
            .common_prefixes
            .iter()
            .filter_map(|p| p.filename().map(str::to_owned))
            .collect();
        out.sort();
        Ok(out)
    }
}

fn failed(action: &'static str, key: &str) -> impl FnOnce(Error) -> StoreError {
    let key = key.to_owned();
    move |source| StoreError::Object {
        action,
        key,
        source,
    }
}

fn s3_client(s3: &S3Config) -> Result<Arc<dyn ObjectStore>, Error> {
    let client = ClientOptions::new()
        .with_timeout(CLIENT_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_allow_http(s3.allow_http);
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: CLIENT_RETRIES,
        retry_timeout: CLIENT_RETRY_TIME,
    };
    let region = if s3.region.is_empty() {
        "us-east-1"
    } else {
        &s3.region
    };
    // Only without credentials in the configuration may the environment be asked.
    let mut builder = match &s3.credentials {
        None => AmazonS3Builder::from_env(),
        Some(c) => {
            let builder = AmazonS3Builder::new()
                .with_access_key_id(&c.access_key_id)
                .with_secret_access_key(&c.secret_access_key);
            match &c.session_token {
                None => builder,
                Some(token) => builder.with_token(token),
            }
        }
    };
    builder = builder
        .with_bucket_name(&s3.bucket)
        .with_region(region)
        .with_virtual_hosted_style_request(s3.virtual_hosted_style)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_client_options(client)
        .with_allow_http(s3.allow_http)
        .with_retry(retry);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(Arc::new(builder.build()?))
}
