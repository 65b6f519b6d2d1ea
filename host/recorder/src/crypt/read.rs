//! Keys of streams as a reader finds them: in the spool, if that is at hand, and in the store.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::crypt::files;
use crate::crypt::key::{self, MAX_KEY_DOC, StreamKey, StreamKeyError, erased_name, object_name};
use crate::crypt::wrap::{KeyWrap, WrapError};
use crate::erase::confirm::{self, Confirmed};
use crate::log::check::TrustedKey;
use crate::objects::{Objects, StoreError};

/// Keys that are remembered.
const MOST: usize = 1024;

/// What stands where a session's key was. It is there for people; what counts is the leaf in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedDoc {
    pub format: String,
    pub session: String,
    pub time: String,
    /// The pseudonym of who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The leaf that says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<u64>,
    /// What was not erased with it, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remains: Vec<String>,
}

/// Why the content of a stream cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyLoss {
    #[error("it is encrypted, and no key was given: name one with --key-file or --config")]
    NoKey,
    #[error("it is encrypted, and its key is missing")]
    Missing,
    /// The leaf that it names says the same, and a trusted key has signed its log.
    #[error("it was erased at {}{}{}", .0.time, by(.0), leaf(.0))]
    Erased(Box<ErasedDoc>),
    #[error(
        "it is encrypted, and its key is missing. An object in its place says that it was erased, and no leaf \
         of a stored log confirms that"
    )]
    Claimed,
    /// That leaf may be anybody's.
    #[error(
        "it is encrypted, and its key is missing. An object in its place claims that it was erased at {}{}{}. \
         That is not checked: no key that is known here has signed that log. Run weir verify with the log's key",
        .0.time, by(.0), leaf(.0)
    )]
    Unchecked(Box<ErasedDoc>),
    #[error("it is encrypted, and {0}")]
    Key(#[from] StreamKeyError),
    #[error("its key cannot be read: {0}")]
    Read(String),
}

fn by(doc: &ErasedDoc) -> String {
    let who = doc.who.as_ref();
    who.map_or(String::new(), |who| format!(" by {who}"))
}

fn leaf(doc: &ErasedDoc) -> String {
    let place = confirm::place(doc);
    place.map_or(String::new(), |(log, leaf)| {
        format!(", leaf {leaf} of log {log}")
    })
}

impl From<StoreError> for KeyLoss {
    fn from(error: StoreError) -> Self {
        Self::Read(error.to_string())
    }
}

/// Finds and unwraps keys. Cheap to clone.
#[derive(Clone, Default)]
pub struct ReadKeys {
    wrap: Option<Arc<dyn KeyWrap>>,
    /// Where segments wait.
    spool: Option<PathBuf>,
    /// Keys of logs whose word is taken for an erasure.
    trusted: Vec<TrustedKey>,
    known: Arc<Mutex<Remembered>>,
}

#[derive(Default)]
struct Remembered {
    found: HashMap<Uuid, Found>,
    /// How often something was forgotten. What was found before that is not remembered after it: a key
    /// manager can take longer than the destruction of the key that it unwraps.
    forgotten: u64,
}

type Found = Result<Arc<StreamKey>, KeyLoss>;

impl ReadKeys {
    pub fn new(wrap: Option<Arc<dyn KeyWrap>>, spool: Option<PathBuf>) -> Self {
        Self {
            wrap,
            spool: spool.map(|dir| dir.join("segments")),
            trusted: Vec::new(),
            known: Arc::default(),
        }
    }

    pub fn trusting(self, trusted: Vec<TrustedKey>) -> Self {
        Self { trusted, ..self }
    }

    /// Is anything known with which keys are unwrapped?
    pub fn has_wrap(&self) -> bool {
        self.wrap.is_some()
    }

    pub async fn get(&self, objects: &Objects, stream: Uuid) -> Found {
        let forgotten = {
            let known = self.known.lock();
            if let Some(found) = known.found.get(&stream) {
                return found.clone();
            }
            known.forgotten
        };
        let found = self.find(objects, stream).await;
        // A store that is away, or a key manager, may come back, and so may a leaf.
        let passes = |why: &KeyLoss| {
            matches!(
                why,
                KeyLoss::Read(_) | KeyLoss::Claimed | KeyLoss::Unchecked(_)
            )
        };
        if !found.as_ref().is_err_and(passes) {
            let mut known = self.known.lock();
            if known.found.len() >= MOST {
                known.found.clear();
            }
            if known.forgotten == forgotten {
                known.found.insert(stream, found.clone());
            }
        }
        found
    }

    /// A key that is destroyed is not remembered.
    pub fn forget(&self, stream: Uuid) {
        let mut known = self.known.lock();
        known.forgotten += 1;
        known.found.remove(&stream);
    }

    async fn find(&self, objects: &Objects, stream: Uuid) -> Found {
        let waiting = self.waiting(stream).await?;
        let doc = match waiting.map(|bytes| key::parse(&bytes)) {
            Some(Ok(doc)) => doc,
            // The store may have it whole.
            damaged => match (stored(objects, stream).await?, damaged) {
                (Some(bytes), _) => key::parse(&bytes)?,
                (None, Some(Err(damaged))) => return Err(damaged.into()),
                (None, _) => return Err(erased(objects, &self.trusted, stream).await?),
            },
        };
        let wrap = self.wrap.as_ref().ok_or(KeyLoss::NoKey)?;
        match StreamKey::unwrap(&**wrap, stream, doc).await {
            Ok(key) => Ok(Arc::new(key)),
            // It may come back, and nothing is wrong with the key.
            Err(StreamKeyError::Wrap(WrapError::Unavailable(why))) => {
                Err(KeyLoss::Read(format!("the key manager: {why}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Segments and keys only move from the spool to the store.
    async fn waiting(&self, stream: Uuid) -> Result<Option<Bytes>, KeyLoss> {
        let Some(dir) = &self.spool else {
            return Ok(None);
        };
        match files::read(files::path(dir, stream)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(KeyLoss::Read(e.to_string())),
        }
    }
}

/// The key as the store has it.
async fn stored(objects: &Objects, stream: Uuid) -> Result<Option<Bytes>, KeyLoss> {
    let name = object_name(stream);
    match objects.find_up_to(&name, MAX_KEY_DOC as u64).await {
        Err(StoreError::TooLarge { .. }) => Err(key::too_long().into()),
        found => Ok(found?),
    }
}

/// Is it gone, and was it erased?
pub async fn erased(
    objects: &Objects,
    trusted: &[TrustedKey],
    stream: Uuid,
) -> Result<KeyLoss, KeyLoss> {
    let marker = erased_name(stream);
    let bytes = match objects.find_up_to(&marker, confirm::MAX_MARKER).await {
        // None of ours says that.
        Err(StoreError::TooLarge { .. }) => return Ok(KeyLoss::Claimed),
        Ok(None) => return Ok(KeyLoss::Missing),
        found => found?.unwrap_or_default(),
    };
    let doc = serde_json::from_slice::<ErasedDoc>(&bytes).ok();
    let Some(doc) = doc.filter(|doc| doc.session == stream.to_string()) else {
        return Ok(KeyLoss::Claimed);
    };
    match confirm::confirmed(objects, trusted, stream, &doc).await? {
        Confirmed::Yes => Ok(KeyLoss::Erased(Box::new(doc))),
        Confirmed::Unchecked => Ok(KeyLoss::Unchecked(Box::new(doc))),
        Confirmed::No => Ok(KeyLoss::Claimed),
    }
}
