//! At a start: the keys of streams that the last process left open, and of those whose keys the store may
//! not have yet.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;

use crate::crypt::files;
use crate::crypt::key::{KeyDoc, StreamKey, StreamKeyError};
use crate::crypt::wrap::WrapError;
use crate::options::OpenError;
use crate::record::{Kind, Record};
use crate::seal::Sealer;

/// Of a stream's first record, its key.
#[derive(Deserialize)]
struct StartView {
    #[serde(default)]
    key: Option<KeyDoc>,
}

/// Wrapped keys that were found.
#[derive(Default)]
pub struct Wrapped {
    /// In first records.
    pub starts: HashMap<u128, KeyDoc>,
    /// In files.
    files: HashMap<u128, KeyDoc>,
    /// What was wrong with files.
    pub damaged: Vec<String>,
}

impl Wrapped {
    pub fn learn(&mut self, record: &Record<'_>) {
        let start = matches!(
            record.known(),
            Some(Kind::SessionStart | Kind::ControlStart)
        );
        if start && let Ok(StartView { key: Some(key) }) = serde_json::from_slice(record.payload) {
            self.starts.insert(record.stream, key);
        }
    }

    pub fn read_files(&mut self, dir: &Path) -> Result<(), OpenError> {
        let found = files::found(dir).map_err(OpenError::io("reading the keys in", dir))?;
        self.files = found.0;
        for path in found.1 {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.damaged
                .push(format!("the waiting key {name} is damaged"));
        }
        Ok(())
    }

    pub fn has_file(&self, stream: u128) -> bool {
        self.files.contains_key(&stream)
    }

    /// The streams of which there is a key here.
    pub fn known(&self) -> impl Iterator<Item = u128> {
        self.starts.keys().chain(self.files.keys()).copied()
    }

    /// Has the sealer know of every file. What is not open is over.
    pub fn adopt(&self, sealer: &Sealer) {
        for stream in self.files.keys() {
            let open = sealer.streams.contains_key(stream) || self.starts.contains_key(stream);
            let over = !open || sealer.finished.contains(stream);
            sealer.key_files.adopt(*stream, over);
        }
    }

    /// The same of a stream of which nothing but a segment is left: a key that is damaged is as good as none.
    pub fn unwrap_whole(
        &self,
        sealer: &Sealer,
        stream: u128,
    ) -> Result<Option<Arc<StreamKey>>, OpenError> {
        match self.unwrap(sealer, stream) {
            Err(OpenError::StreamKey {
                source: StreamKeyError::Altered(_) | StreamKeyError::Wrap(WrapError::Altered(_)),
                ..
            }) => Ok(None),
            unwrapped => unwrapped,
        }
    }

    /// The key of a stream, if there is one. Without what wrapped it, nothing can go on: the start waits
    /// for nobody, and says so.
    pub fn unwrap(
        &self,
        sealer: &Sealer,
        stream: u128,
    ) -> Result<Option<Arc<StreamKey>>, OpenError> {
        let doc = self.files.get(&stream).or_else(|| self.starts.get(&stream));
        let Some(doc) = doc.cloned() else {
            return Ok(None);
        };
        let stream = Uuid::from_u128(stream);
        let unwrapped = StreamKey::unwrap(&*sealer.ring.wrap, stream, doc);
        let unwrapped = tokio::runtime::Handle::current().block_on(unwrapped);
        let key = unwrapped.map_err(|source| OpenError::StreamKey { stream, source })?;
        Ok(Some(Arc::new(key)))
    }
}
