//! One place for objects: a directory or an S3-compatible bucket, with a prefix; as a vault, perhaps
//! with a lock on what it stores.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::aws::AmazonS3;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error, GetResultPayload, HeaderMap, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
};
use parking_lot::Mutex;

use crate::lock::{self, Lock, Writer};
use crate::objects::{Hold, Listed, StoreError};
use crate::options::{Retention, S3Config, StoreConfig};
use crate::s3;

/// Of so many objects it is known that they were stored again. Of one more nothing is, until one of them is seen
/// to be kept.
const MAX_AGAIN: usize = 4096;
/// Of a file, so much is compared at once.
const COMPARED: usize = 256 << 10;

#[derive(Clone)]
pub struct Place {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Writes go through it, if there is one.
    lock: Option<Keep>,
    /// For questions that the library does not know.
    s3: Option<Arc<(S3Config, Arc<AmazonS3>)>>,
}

/// A lock, and for how long what is stored is kept where that is longer than its own time.
#[derive(Clone)]
struct Keep {
    lock: Arc<Lock>,
    days: Option<u32>,
    /// What was stored again to have it kept, and the version that was there before. Nobody can take away what
    /// is locked for years, so there must not be one more for each time that it is tried.
    again: Arc<Mutex<HashMap<String, Option<String>>>>,
}

impl Keep {
    async fn writer(&self) -> Result<Arc<Writer>, StoreError> {
        self.lock.writer(self.days).await
    }

    /// May an object be stored again, of which the store shows this version? Once; and once more only if what was
    /// stored then never came there.
    fn may_store_again(&self, key: &str, version: Option<&str>) -> bool {
        let mut again = self.again.lock();
        match again.get(key) {
            Some(before) => version.is_some() && before.as_deref() == version,
            None if again.len() < MAX_AGAIN => {
                again.insert(key.to_owned(), version.map(str::to_owned));
                true
            }
            None => false,
        }
    }
}

impl Place {
    pub fn open(config: &StoreConfig, retention: Option<Retention>) -> Result<Self, StoreError> {
        let wrong = |e: Error| StoreError::Config(e.to_string());
        match config {
            StoreConfig::Directory(_) if retention.is_some() => {
                let what = "a directory cannot lock what it keeps: retention needs a bucket";
                Err(StoreError::Config(what.into()))
            }
            StoreConfig::Directory(dir) => {
                let unusable = |source| StoreError::Directory {
                    path: dir.clone(),
                    source,
                };
                crate::disk::private_dir(dir, false).map_err(unusable)?;
                let local = LocalFileSystem::new_with_prefix(dir).map_err(wrong)?;
                Ok(Self::new(Arc::new(local.with_fsync(true)), ""))
            }
            StoreConfig::S3(config) => {
                // Reads carry no headers of a lock.
                let client = s3::client(config, HeaderMap::new()).map_err(wrong)?;
                let mut place = Self::new(client.clone(), &config.prefix);
                place.s3 = Some(Arc::new((config.clone(), client)));
                place.lock = retention.map(|retention| Keep {
                    lock: Arc::new(Lock::new(config, retention)),
                    days: None,
                    again: Arc::default(),
                });
                Ok(place)
            }
        }
    }

    pub fn new(inner: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            inner,
            prefix: Path::from(prefix),
            lock: None,
            s3: None,
        }
    }

    /// The same place, for what is kept for so many days. An error if it locks nothing.
    pub fn keeping(&self, days: u32) -> Result<Self, StoreError> {
        let keep = self.lock.as_ref().ok_or(StoreError::NoLock(days))?;
        Ok(Self {
            lock: Some(Keep {
                days: Some(days),
                ..keep.clone()
            }),
            ..self.clone()
        })
    }

    fn path(&self, key: &str) -> Path {
        Path::from_iter(self.prefix.parts().chain(Path::from(key).parts()))
    }

    /// Is what is stored here locked, if it has to be?
    pub async fn prove(&self) -> Result<(), StoreError> {
        match &self.lock {
            Some(keep) => keep.lock.prove(keep.days).await,
            None => Ok(()),
        }
    }

    async fn put(&self, key: &str, bytes: &Bytes, mode: PutMode) -> Result<(), Error> {
        let (path, payload) = (self.path(key), PutPayload::from_bytes(bytes.clone()));
        let put = self.inner.put_opts(&path, payload, PutOptions::from(mode));
        put.await.map(drop)
    }

    /// Stores it if nothing is there. False when something is.
    pub async fn create(&self, key: &str, bytes: &Bytes) -> Result<bool, StoreError> {
        let created = match &self.lock {
            None => self.put(key, bytes, PutMode::Create).await,
            Some(lock) => {
                let writer = lock.writer().await?;
                // Some stores add a version to what is there, whatever the condition says.
                if !writer.keeps_conditions && self.has(key).await? {
                    return Ok(false);
                }
                writer.put(&self.path(key), bytes, PutMode::Create).await
            }
        };
        match created {
            Ok(()) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            // The store knows no conditions. The key is the content's hash, so writing it again
            // changes nothing.
            Err(Error::NotImplemented { .. }) => {
                self.replace(key, bytes).await?;
                Ok(true)
            }
            Err(error) => Err(failed("storing", key)(error)),
        }
    }

    /// What is there is what was to be stored. Where it is to be kept for longer than everything else, and is
    /// not, it is stored again, as a version that is: somebody may have been first, and the store may have
    /// answered that it took ours. Where the store does not show it after that, it is only asked.
    pub async fn see_kept(&self, key: &str, bytes: &Bytes) -> Result<(), StoreError> {
        let (Some(keep), Some(s3)) = (&self.lock, &self.s3) else {
            return Ok(());
        };
        let Some(days) = keep.days else {
            return Ok(());
        };
        let path = self.path(key);
        let ask = async || lock::ask(&s3.0, &s3.1, &path).await;
        let unseen = |why: String| StoreError::NotSeenKept {
            key: key.to_owned(),
            days,
            why,
            all: match self.prefix.as_ref() {
                "" => "*".to_owned(),
                prefix => format!("{prefix}/*"),
            },
        };
        // Whoever may not say has not said that it keeps nothing.
        let kept = |(status, headers): &(u16, HeaderMap)| match status {
            200 => Ok(keep.lock.keeps(headers, days, SystemTime::now())),
            _ => Err(unseen(format!("it answers with status {status}"))),
        };
        let before = ask().await?;
        if !kept(&before)? {
            if !keep.may_store_again(key, lock::version(&before.1)) {
                return Err(unseen(lock::told(&before.1)));
            }
            self.replace(key, bytes).await?;
            let after = ask().await?;
            if !kept(&after)? {
                return Err(unseen(lock::told(&after.1)));
            }
        }
        keep.again.lock().remove(key);
        Ok(())
    }

    /// What would keep the object if it were removed. None also where nothing is, or where the place has
    /// neither versions nor locks.
    pub async fn hold(&self, key: &str) -> Result<Option<Hold>, StoreError> {
        let Some(s3) = &self.s3 else {
            return Ok(None);
        };
        let (status, headers) = lock::ask(&s3.0, &s3.1, &self.path(key)).await?;
        Ok(match status {
            200 => lock::held(&headers, SystemTime::now()),
            // Who may not list hears this also of what is not there; nobody can tell.
            401 | 403 => Some(Hold::Untold(status)),
            _ => None,
        })
    }

    /// Is anything there?
    pub async fn has(&self, key: &str) -> Result<bool, StoreError> {
        match self.inner.head(&self.path(key)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(failed("asking for", key)(error)),
        }
    }

    pub async fn replace(&self, key: &str, bytes: &Bytes) -> Result<(), StoreError> {
        let put = match &self.lock {
            None => self.put(key, bytes, PutMode::Overwrite).await,
            Some(lock) => {
                let writer = lock.writer().await?;
                writer.put(&self.path(key), bytes, PutMode::Overwrite).await
            }
        };
        put.map_err(failed("storing", key))
    }

    pub async fn remove(&self, key: &str) -> Result<(), StoreError> {
        let removed = self.inner.delete(&self.path(key)).await;
        removed.map_err(failed("removing", key))
    }

    /// An object of so many bytes at most. What is longer is not read, nor is more read than that, whatever the
    /// store says of its size.
    pub async fn get_up_to(&self, key: &str, max: u64) -> Result<Bytes, StoreError> {
        let got = self.inner.get(&self.path(key)).await;
        let got = got.map_err(failed("reading", key))?;
        let too_large = |size| StoreError::TooLarge {
            key: key.to_owned(),
            size,
        };
        if got.meta.size > max {
            return Err(too_large(got.meta.size));
        }
        let size = usize::try_from(got.meta.size).unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(size);
        let mut chunks = got.into_stream();
        while let Some(chunk) = chunks.try_next().await.map_err(failed("reading", key))? {
            let size = bytes.len().saturating_add(chunk.len()) as u64;
            if size > max {
                return Err(too_large(size));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// Is just this stored there? It is compared as it comes, and read no further than it is the same.
    pub async fn is(&self, key: &str, bytes: &Bytes) -> Result<bool, StoreError> {
        let wrong = || failed("reading", key);
        let got = self.inner.get(&self.path(key)).await.map_err(wrong())?;
        let mut chunks = match got.payload {
            GetResultPayload::Stream(chunks) => chunks,
            // Not in little chunks with a change of threads for each.
            GetResultPayload::File(file, _) => {
                let bytes = bytes.clone();
                let same = tokio::task::spawn_blocking(move || holds(file, &bytes)).await;
                let same = same.map_err(std::io::Error::other).flatten();
                return same.map_err(|source| {
                    wrong()(Error::Generic {
                        store: "directory",
                        source: source.into(),
                    })
                });
            }
        };
        let mut rest: &[u8] = bytes;
        while let Some(chunk) = chunks.try_next().await.map_err(wrong())? {
            match rest.strip_prefix(&*chunk) {
                Some(left) => rest = left,
                None => return Ok(false),
            }
        }
        Ok(rest.is_empty())
    }

    /// Every object below `prefix`.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let below = self.path(prefix);
        let skip = self.prefix.parts().count();
        let listed = self.inner.list(Some(&below)).map_ok(|meta| Listed {
            key: Path::from_iter(meta.location.parts().skip(skip)).to_string(),
            size: meta.size,
        });
        listed
            .try_collect()
            .await
            .map_err(failed("listing", prefix))
    }

    /// The names directly below `prefix`, as if it were a directory.
    pub async fn children(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let below = self.path(prefix);
        let listed = self.inner.list_with_delimiter(Some(&below)).await;
        let listed = listed.map_err(failed("listing", prefix))?;
        let names = listed.common_prefixes.iter();
        Ok(names
            .filter_map(|p| p.filename().map(str::to_owned))
            .collect())
    }
}

/// Has the file these bytes from its beginning, and no others? The last read finds that nothing is behind them.
fn holds(mut file: File, bytes: &[u8]) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut buffer = vec![0; COMPARED.min(bytes.len() + 1)];
    let mut rest = bytes;
    loop {
        let read = match file.read(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(rest.is_empty());
        }
        match rest.strip_prefix(buffer.get(..read).unwrap_or_default()) {
            Some(left) => rest = left,
            None => return Ok(false),
        }
    }
}

pub fn failed(action: &'static str, key: &str) -> impl FnOnce(Error) -> StoreError {
    let key = key.to_owned();
    move |source| StoreError::Object {
        action,
        key,
        source,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::options::S3Credentials;

    /// Answers every request with this status.
    async fn server(status: u16) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        TaskTracker::new().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 8192];
                // What is asked does not matter, nor whether all of it has come.
                let _asked = stream.read(&mut request).await;
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_store_that_may_not_say_what_it_keeps_has_not_said_that_it_keeps_nothing() {
        for (status, expected) in [
            (401, Some(Some(Hold::Untold(401)))),
            (403, Some(Some(Hold::Untold(403)))),
            (404, Some(None)),
            (200, Some(None)),
            (500, None),
        ] {
            let config = S3Config {
                bucket: "b".into(),
                endpoint: Some(server(status).await),
                allow_http: true,
                credentials: Some(S3Credentials {
                    access_key_id: "a".into(),
                    secret_access_key: "b".into(),
                    session_token: None,
                }),
                ..S3Config::default()
            };
            let place = Place::open(&StoreConfig::S3(config), None).unwrap();
            assert_eq!(place.hold("keys/x").await.ok(), expected, "{status}");
        }
    }
}
