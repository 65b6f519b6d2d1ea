//! Keys of streams in the spool: each is there, wrapped, from its stream's first segment on, until the
//! stream is over and the store has the key. The store gets it before any segment of the stream.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::crypt::container::ContainerError;
use crate::crypt::key::{self, KeyDoc, MAX_KEY_DOC, object_name};
use crate::disk::{Disk, write_whole};
use crate::objects::{Before, Objects, StoreError};

const SUFFIX: &str = ".key";

pub struct KeyFiles {
    /// Where the segments wait.
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    files: Mutex<HashMap<u128, Progress>>,
    /// Streams whose key is on its way to the store, or is destroyed: never both, and never one twice.
    busy: Mutex<HashMap<u128, Arc<tokio::sync::Mutex<()>>>>,
}

/// Whoever has it is alone with a stream's key.
struct Turn<'a> {
    files: &'a KeyFiles,
    stream: u128,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut busy = self.files.busy.lock();
        drop(std::mem::take(&mut self.lock));
        // Nobody else has it, and nobody gets it meanwhile.
        if busy
            .get(&self.stream)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            busy.remove(&self.stream);
        }
    }
}

#[derive(Default)]
struct Progress {
    stored: bool,
    /// Nothing more comes to the stream.
    over: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("the key of {0} is neither in the spool nor in the store")]
    Missing(Uuid),
    #[error("the key of {stream} cannot be read from the spool: {source}")]
    Spool { stream: Uuid, source: io::Error },
    #[error("how long it is to be kept cannot be read: {0}")]
    Header(#[from] ContainerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UploadError {
    /// Does it say nothing of this stream, but that the store cannot be had?
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_away())
    }
}

impl KeyFiles {
    pub fn new(dir: PathBuf, disk: Arc<dyn Disk>) -> Arc<Self> {
        Arc::new(Self {
            dir,
            disk,
            files: Mutex::default(),
            busy: Mutex::default(),
        })
    }

    fn path(&self, stream: u128) -> PathBuf {
        path(&self.dir, Uuid::from_u128(stream))
    }

    /// Writes a stream's key. It is durable afterwards, its name after the next sync of the directory.
    pub fn write(&self, stream: u128, doc: &KeyDoc) -> io::Result<()> {
        let json = serde_json::to_vec(doc).map_err(io::Error::other)?;
        write_whole(&*self.disk, &self.path(stream), &json)?;
        self.files.lock().entry(stream).or_default();
        Ok(())
    }

    /// A key that an earlier process left.
    pub fn adopt(&self, stream: u128, over: bool) {
        let stored = false;
        self.files.lock().insert(stream, Progress { stored, over });
    }

    /// Nothing more comes to this stream.
    pub fn over(&self, stream: u128) {
        let mut files = self.files.lock();
        let Some(progress) = files.get_mut(&stream) else {
            return;
        };
        progress.over = true;
        if progress.stored {
            files.remove(&stream);
            self.remove(stream);
        }
    }

    /// What cannot be removed is found and stored again at the next start, which changes nothing.
    fn remove(&self, stream: u128) {
        if let Err(error) = self.disk.remove(&self.path(stream)) {
            let stream = Uuid::from_u128(stream);
            tracing::warn!(%stream, %error, "a stored key could not be removed from the spool");
        }
    }

    /// Other streams go on meanwhile, however slow the store is.
    fn turn(&self, stream: u128) -> Turn<'_> {
        let lock = self.busy.lock().entry(stream).or_default().clone();
        let files = self;
        Turn {
            files,
            stream,
            lock,
        }
    }

    /// Has the store have the key of this stream; tells what was there.
    pub async fn store(&self, objects: &Objects, stream: Uuid) -> Result<Before, UploadError> {
        let id = stream.as_u128();
        let turn = self.turn(id);
        let _alone = turn.lock.lock().await;
        if self.files.lock().get(&id).is_some_and(|p| p.stored) {
            return Ok(Before::Nothing);
        }
        let name = object_name(stream);
        let bytes = match read(self.path(id)).await {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return match has_key(objects, stream).await? {
                    true => Ok(Before::Nothing),
                    false => Err(UploadError::Missing(stream)),
                };
            }
            Err(source) => return Err(UploadError::Spool { stream, source }),
        };
        // The name is no secret, so somebody may have been first; ours is the one that was used.
        let before = objects.put_for_good(&name, bytes).await?;
        let mut files = self.files.lock();
        let Some(progress) = files.get_mut(&id) else {
            return Ok(before);
        };
        progress.stored = true;
        if progress.over {
            files.remove(&id);
            self.remove(id);
        }
        Ok(before)
    }

    /// Destroys a key here and in the store: it is in neither afterwards.
    pub async fn destroy(&self, objects: &Objects, stream: Uuid) -> Result<(), UploadError> {
        let id = stream.as_u128();
        let turn = self.turn(id);
        let _alone = turn.lock.lock().await;
        let (disk, path, dir) = (self.disk.clone(), self.path(id), self.dir.clone());
        let remove = move || match disk.remove(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            Ok(()) | Err(_) => disk.sync_dir(&dir),
        };
        let removed = tokio::task::spawn_blocking(remove).await;
        removed
            .map_err(io::Error::other)
            .flatten()
            .map_err(|source| UploadError::Spool { stream, source })?;
        self.files.lock().remove(&id);
        Ok(objects.destroy(&object_name(stream)).await?)
    }

    /// Keys that the store may not have.
    pub fn waiting(&self) -> Vec<Uuid> {
        let files = self.files.lock();
        let waiting = files.iter().filter(|(_, p)| !p.stored);
        waiting.map(|(id, _)| Uuid::from_u128(*id)).collect()
    }
}

/// Is there anything in the key's place?
pub async fn has_key(objects: &Objects, stream: Uuid) -> Result<bool, StoreError> {
    let name = object_name(stream);
    match objects.find_up_to(&name, MAX_KEY_DOC as u64).await {
        Err(StoreError::TooLarge { .. }) => Ok(true),
        found => Ok(found?.is_some()),
    }
}

/// What there is in the key's place, here and in the store; nothing that is too long for a key.
pub async fn both(
    dir: &Path,
    objects: &Objects,
    stream: Uuid,
) -> Result<(Option<Bytes>, Option<Bytes>), StoreError> {
    let name = object_name(stream);
    let stored = match objects.find_up_to(&name, MAX_KEY_DOC as u64).await {
        Err(StoreError::TooLarge { .. }) => None,
        found => found?,
    };
    Ok((read(path(dir, stream)).await.ok(), stored))
}

/// A key file, for whoever must not block.
pub async fn read(path: PathBuf) -> io::Result<Bytes> {
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    Ok(read.map_err(io::Error::other)??.into())
}

pub fn path(dir: &Path, stream: Uuid) -> PathBuf {
    dir.join(format!("{}{SUFFIX}", stream.as_hyphenated()))
}

/// The keys in a spool's directory of segments. One that cannot be read is told by its name.
pub fn found(dir: &Path) -> io::Result<(HashMap<u128, KeyDoc>, Vec<PathBuf>)> {
    let (mut keys, mut wrong) = (HashMap::new(), Vec::new());
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(stream) = name.strip_suffix(SUFFIX) else {
            continue;
        };
        let id = stream.parse::<Uuid>();
        match (id, key::parse(&std::fs::read(&path)?)) {
            (Ok(id), Ok(doc)) if doc.stream == id.to_string() => {
                keys.insert(id.as_u128(), doc);
            }
            _ => wrong.push(path),
        }
    }
    Ok((keys, wrong))
}
