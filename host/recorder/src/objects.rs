//! The objects of the evidence, under one key space: what is final in the *vault*, what changes or
//! may go in the *live* place. Without a vault, one place has both.
//!
//! Whatever is read here is checked by who reads it, against a hash or a signature. So where both places
//! have a key, that of the place where it belongs counts, and nobody is deceived by the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::{Error, ObjectStore};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::keys;
use crate::log::names::{self, Part};
use crate::options::{StoreConfig, VaultConfig};
use crate::place::Place;
use crate::snapshots::Snapshot;

/// An object larger than this is not one of ours, so it is not read.
pub const MAX_OBJECT: u64 = 1 << 30;
/// How often what was stored is read before it counts as something else.
const READS: usize = 2;
/// Of so many objects it is remembered that something else was in their place, until they are stored.
const MAX_OTHERS: usize = 4096;
/// How long a start waits to hear whether the vault locks what it stores.
const PROOF_TIME: Duration = Duration::from_secs(10);

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
    #[error(
        "whether the vault keeps what it stores for so long cannot be known now, so nothing is changed: {0}. Try \
         again when it answers"
    )]
    Unproved(String),
    #[error("{0} was removed, as the store says, and is still there")]
    StillThere(String),
    #[error(
        "the vault does not keep what it stores as recording.vault.retention, or a bundle's retention, wants: \
         {0}. Its bucket needs Object Lock, and Weir the permissions s3:PutObjectRetention and \
         s3:GetObjectRetention"
    )]
    NotLocked(String),
    #[error(
        "{key} is there, and the store does not show that it is kept for {days} days from now: {why}. Weir needs \
         s3:GetObjectRetention on all that it stores ({all}), not on its probes alone; where it has that, \
         somebody may have put something else over it. It is asked again later, and stored again once at most"
    )]
    NotSeenKept {
        key: String,
        days: u32,
        why: String,
        /// Every key of the vault.
        all: String,
    },
    #[error(
        "it is to be kept for {0} days, as the bundle said when its session began, and nothing here locks \
         what is stored: it waits until weir.toml has recording.vault.retention again"
    )]
    NoLock(u32),
}

impl StoreError {
    /// Does it say nothing of this object, but that the store cannot be had?
    pub fn is_away(&self) -> bool {
        match self {
            Self::Object { source, .. } => !matches!(
                source,
                Error::PermissionDenied { .. }
                    | Error::Unauthenticated { .. }
                    | Error::NotFound { .. }
                    | Error::AlreadyExists { .. }
                    | Error::Precondition { .. }
                    | Error::NotImplemented { .. }
            ),
            _ => false,
        }
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Object {
                source: Error::NotFound { .. },
                ..
            }
        )
    }
}

/// A listed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Without the store's prefix.
    pub key: String,
    pub size: u64,
}

/// What was there when an object was stored for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Nothing,
    /// Something else, which was replaced.
    Other,
}

/// What a store keeps of an object that is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// It has versions, and this one stays.
    Version(String),
    /// It is locked: how, and until when.
    Locked(String),
    /// The store does not say: the status that it answers with.
    Untold(u16),
}

/// The places and their prefixes. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    live: Place,
    vault: Option<Place>,
    /// Where something else was, that is being replaced: it is told once it is, at whichever attempt.
    others: Arc<Mutex<BTreeSet<String>>>,
}

/// Does it belong in the vault? Segments, full tiles, kept checkpoints, bundles and plugins never change.
fn is_final(key: &str) -> bool {
    let logs = [names::ROOT, names::REGISTRY];
    let part = logs.iter().find_map(|root| names::parse(root, key));
    if let Some((_, part)) = part {
        return match part {
            Part::Tile(tile) => tile.is_full(),
            Part::Archived(_) => true,
            Part::Checkpoint | Part::Vkey => false,
        };
    }
    let below = |root: &str| {
        key.strip_prefix(root)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let kept = Snapshot::ALL.iter().any(|kind| below(kind.root()));
    kept || [true, false]
        .iter()
        .any(|control| below(keys::root(*control)))
}

impl Objects {
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        Self::open_both(config, None)
    }

    pub fn open_both(live: &StoreConfig, vault: Option<&VaultConfig>) -> Result<Self, StoreError> {
        let vault = vault
            .map(|v| Place::open(&v.store, v.retention))
            .transpose()?;
        let live = Place::open(live, None)?;
        Ok(Self {
            live,
            vault,
            others: Arc::default(),
        })
    }

    /// Any other store, such as one that fails on purpose.
    pub fn new(inner: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            live: Place::new(inner, prefix),
            vault: None,
            others: Arc::default(),
        }
    }

    /// The same with a vault.
    pub fn with_vault(self, inner: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self {
            vault: Some(Place::new(inner, prefix)),
            ..self
        }
    }

    /// The same, where what is final is kept for so many days, or for as long as everything there if that is
    /// longer. An error where nothing is locked.
    pub fn keeping(&self, days: Option<u32>) -> Result<Self, StoreError> {
        let Some(days) = days else {
            return Ok(self.clone());
        };
        let vault = self.vault.as_ref().ok_or(StoreError::NoLock(days))?;
        Ok(Self {
            vault: Some(vault.keeping(days)?),
            ..self.clone()
        })
    }

    /// Where the object belongs.
    fn place(&self, key: &str) -> &Place {
        match &self.vault {
            Some(vault) if is_final(key) => vault,
            _ => &self.live,
        }
    }

    /// Where it may be besides: a vault can have come later than the first recordings, and can have gone.
    fn elsewhere(&self, key: &str) -> Option<&Place> {
        let vault = self.vault.as_ref()?;
        Some(if is_final(key) { &self.live } else { vault })
    }

    /// Does the vault keep what it stores, if that is wanted? An error when it says that it does not, and when it
    /// does not say.
    pub async fn prove(&self) -> Result<(), StoreError> {
        let Some(vault) = &self.vault else {
            return Ok(());
        };
        match tokio::time::timeout(PROOF_TIME, vault.prove()).await {
            Ok(Err(error @ StoreError::Object { .. })) => {
                Err(StoreError::Unproved(error.to_string()))
            }
            Ok(proved) => proved,
            Err(_) => {
                let why = format!("no answer within {PROOF_TIME:?}");
                Err(StoreError::Unproved(why))
            }
        }
    }

    /// The same where things go on as they were: a vault that does not say is asked again before anything is
    /// stored there.
    pub async fn prove_or_wait(&self) -> Result<(), StoreError> {
        let proved = self.prove().await;
        let Err(StoreError::Unproved(why)) = &proved else {
            return proved;
        };
        tracing::error!(
            %why,
            "whether the vault locks what it stores cannot be known now; nothing is stored there until \
             it does, and recordings wait in the spool"
        );
        Ok(())
    }

    /// Stores an object whose key fixes its content. An equal object under its key is success, so the call may
    /// be repeated after a lost answer. The bytes are read back: a store can answer that it has them
    /// and have nothing, or only a part.
    pub async fn put_once(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let place = self.place(key);
        let is_new = place.create(key, &bytes).await?;
        for _ in 0..READS {
            if place.is(key, &bytes).await? {
                return place.see_kept(key, &bytes).await;
            }
        }
        match is_new {
            true => Err(StoreError::NotStored(key.to_owned())),
            false => Err(StoreError::Conflict(key.to_owned())),
        }
    }

    /// The same where whatever else is there is wrong: it was altered, or cut by the store. It is replaced.
    pub async fn put_for_good(&self, key: &str, bytes: Bytes) -> Result<Before, StoreError> {
        match self.put_once(key, bytes.clone()).await {
            Ok(()) => {}
            Err(StoreError::Conflict(_) | StoreError::NotStored(_)) => {
                tracing::error!(%key, "the store has something else under a key of the evidence");
                self.note_other(key);
                self.put_latest(key, bytes.clone()).await?;
                self.place(key).see_kept(key, &bytes).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(match self.others.lock().remove(key) {
            true => Before::Other,
            false => Before::Nothing,
        })
    }

    fn note_other(&self, key: &str) {
        let mut others = self.others.lock();
        if others.len() < MAX_OTHERS {
            others.insert(key.to_owned());
        }
    }

    /// Stores what replaces what was there. The bytes are read back, since a store can answer that it
    /// has them and keep what it had.
    pub async fn put_latest(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let place = self.place(key);
        place.replace(key, &bytes).await?;
        match place.is(key, &bytes).await? {
            true => Ok(()),
            false => Err(StoreError::NotStored(key.to_owned())),
        }
    }

    pub async fn remove(&self, key: &str) -> Result<(), StoreError> {
        self.place(key).remove(key).await
    }

    /// Removes it from wherever it can be, and looks if it is gone: a store can answer that it did, and
    /// keep it.
    pub async fn destroy(&self, key: &str) -> Result<(), StoreError> {
        for place in self.places() {
            match place.remove(key).await {
                Err(error) if !error.is_missing() => return Err(error),
                Ok(()) | Err(_) => {}
            }
            if place.has(key).await? {
                return Err(StoreError::StillThere(key.to_owned()));
            }
        }
        Ok(())
    }

    /// What keeps copies of an object that is removed, in every place that has it.
    pub async fn holds(&self, key: &str) -> Result<Vec<Hold>, StoreError> {
        let mut holds = Vec::new();
        for place in self.places() {
            holds.extend(place.hold(key).await?);
        }
        Ok(holds)
    }

    /// What is there, or None if nothing is.
    pub async fn find(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.find_up_to(key, MAX_OBJECT).await
    }

    /// The same of so many bytes at most.
    pub async fn find_up_to(&self, key: &str, max: u64) -> Result<Option<Bytes>, StoreError> {
        match self.get_up_to(key, max).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An object of a log, by its path as C2SP tlog-tiles has it. One that is longer than any of its kind is an
    /// error, and is not read.
    pub async fn find_of_log(&self, log: Uuid, path: &str) -> Result<Option<Bytes>, StoreError> {
        let key = names::object(log, path);
        match names::parse(names::ROOT, &key) {
            Some((_, part)) => self.find_up_to(&key, part.longest()).await,
            None => Ok(None),
        }
    }

    pub async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.get_up_to(key, MAX_OBJECT).await
    }

    /// An object of so many bytes at most; a longer one is an error.
    async fn get_up_to(&self, key: &str, max: u64) -> Result<Bytes, StoreError> {
        let got = self.place(key).get_up_to(key, max).await;
        match (got, self.elsewhere(key)) {
            (Err(error), Some(elsewhere)) if error.is_missing() => {
                elsewhere.get_up_to(key, max).await
            }
            (got, _) => got,
        }
    }

    /// Every object below `prefix`, sorted by key.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let mut all = BTreeMap::new();
        for place in self.places() {
            for listed in place.list(prefix).await? {
                let belongs = std::ptr::eq(place, self.place(&listed.key));
                if belongs || !all.contains_key(&listed.key) {
                    all.insert(listed.key, listed.size);
                }
            }
        }
        let listed = all.into_iter().map(|(key, size)| Listed { key, size });
        Ok(listed.collect())
    }

    /// The names directly below `prefix`, as if it were a directory.
    pub async fn children(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let mut all = BTreeSet::new();
        for place in self.places() {
            all.extend(place.children(prefix).await?);
        }
        Ok(all.into_iter().collect())
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.live).chain(&self.vault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_final_goes_to_the_vault() {
        let log = "log/01900000-0000-7000-8000-000000000000";
        for key in [
            "rec/2026/11/26/01900000-0000-7000-8000-000000000000/000000-00.rec",
            "ctl/2026/11/26/x",
            &format!("{log}/tile/entries/x001/000"),
            &format!("{log}/tile/0/000"),
            &format!("{log}/tile/1/000"),
            &format!("{log}/checkpoints/000000000256"),
            "registry/01900000-0000-7000-8000-000000000000/tile/0/000",
        ] {
            assert!(is_final(key), "{key}");
        }
        for key in [
            &format!("{log}/checkpoint"),
            &format!("{log}/vkey"),
            &format!("{log}/tile/entries/000.p/7"),
            &format!("{log}/tile/1/000.p/1"),
            "keys/2026/x",
            "records/x",
            "rec",
            "",
        ] {
            assert!(!is_final(key), "{key}");
        }
    }
}
