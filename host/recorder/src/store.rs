//! Reads stored recordings, from a directory or an S3-compatible store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use crate::chain;
use crate::crypt::container::{self, ContainerError};
use crate::crypt::key::StreamKey;
use crate::crypt::read::{KeyLoss, ReadKeys};
use crate::crypt::wrap::KeyWrap;
use crate::keys::{self, Day, SegmentKey};
use crate::log::check::TrustedKey;
use crate::objects::{Listed, Objects, StoreError};
use crate::options::{S3Config, StoreConfig, VaultConfig};
use crate::segment::{Segment, SegmentError};

/// A range of days longer than this is listed as a whole.
const MAX_DAYS_LISTED: usize = 62;

/// A store of recordings. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    objects: Objects,
    keys: ReadKeys,
}

/// One recorded session, as its keys tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry {
    pub session: Uuid,
    pub day: Day,
    pub segments: u32,
    /// As stored.
    pub bytes: u64,
}

/// Which days; both ends are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Days {
    pub since: Option<Day>,
    pub until: Option<Day>,
}

impl Days {
    pub fn contains(&self, day: Day) -> bool {
        self.since.is_none_or(|d| day >= d) && self.until.is_none_or(|d| day <= d)
    }

    /// Each day, if there are few.
    fn each(&self) -> Option<Vec<Day>> {
        let (mut day, until) = (self.since?, self.until?);
        let mut out = Vec::new();
        while day <= until {
            if out.len() == MAX_DAYS_LISTED {
                return None;
            }
            out.push(day);
            day = day.next();
        }
        Some(out)
    }
}

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}: its content does not have the hash in its key")]
    Hash(SegmentKey),
    #[error("{key}: {source}")]
    Segment {
        key: SegmentKey,
        source: SegmentError,
    },
    #[error("{0}: it holds another stream or segment than its key says")]
    Key(SegmentKey),
    #[error("{key}: {source}")]
    Sealed {
        key: SegmentKey,
        source: ContainerError,
    },
    #[error("{key}: its key cannot be read: {why}")]
    KeyStore { key: SegmentKey, why: String },
    /// It is what its name says, and nobody can read it.
    #[error("{key}: {why}")]
    Opaque {
        key: SegmentKey,
        why: Box<KeyLoss>,
        /// The time of its latest record.
        t1_ns: u64,
    },
}

impl Store {
    /// A directory must be there: a misspelt one is not an empty store.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        Self::open_both(config, None)
    }

    /// The same with a vault beside it; both are read as one.
    pub fn open_both(live: &StoreConfig, vault: Option<&StoreConfig>) -> Result<Self, StoreError> {
        for config in std::iter::once(live).chain(vault) {
            if let StoreConfig::Directory(path) = config {
                std::fs::read_dir(path).map_err(|source| StoreError::Directory {
                    path: path.clone(),
                    source,
                })?;
            }
        }
        // Nothing is stored, so nothing needs a lock.
        let vault = vault.map(|store| VaultConfig {
            store: store.clone(),
            retention: None,
        });
        Ok(Self::new(Objects::open_both(live, vault.as_ref())?))
    }

    pub fn new(objects: Objects) -> Self {
        let keys = ReadKeys::default();
        Self { objects, keys }
    }

    /// With what unwraps the keys of recordings, and the spool where some of them may wait.
    pub fn with_keys(self, wrap: Option<Arc<dyn KeyWrap>>, spool: Option<PathBuf>) -> Self {
        let keys = ReadKeys::new(wrap, spool);
        Self { keys, ..self }
    }

    /// With the keys of logs whose word is taken when they say that a session was erased.
    pub fn trusting(self, trusted: impl IntoIterator<Item = TrustedKey>) -> Self {
        let keys = self.keys.trusting(trusted.into_iter().collect());
        Self { keys, ..self }
    }

    /// Forgets the key of a stream, if it is remembered.
    pub fn forget(&self, stream: Uuid) {
        self.keys.forget(stream);
    }

    pub(crate) fn keys(&self) -> &ReadKeys {
        &self.keys
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Sessions in the order of their ids, which is the order of their starts.
    pub async fn sessions(&self, days: Days) -> Result<Vec<SessionEntry>, StoreError> {
        let (keys, _) = self.list(false, days).await?;
        let mut out: BTreeMap<Uuid, SessionEntry> = BTreeMap::new();
        for (key, size) in keys {
            let entry = out.entry(key.stream).or_insert(SessionEntry {
                session: key.stream,
                day: key.day,
                segments: 0,
                bytes: 0,
            });
            entry.segments += 1;
            entry.bytes += size;
        }
        Ok(out.into_values().collect())
    }

    /// The segments of one stream, in order.
    pub async fn segments(
        &self,
        control: bool,
        stream: Uuid,
    ) -> Result<Vec<SegmentKey>, StoreError> {
        let listed = match Day::of_v7(stream) {
            Some(day) => {
                let prefix = SegmentKey::stream_prefix(control, day, stream);
                self.objects.list(&prefix).await?
            }
            None => self.objects.list(keys::root(control)).await?,
        };
        let mut out: Vec<SegmentKey> = listed
            .iter()
            .filter_map(|l| SegmentKey::parse(&l.key))
            .filter(|k| k.stream == stream && k.control == control)
            .collect();
        out.sort_by_key(|k| (k.segment, k.sha256));
        Ok(out)
    }

    /// Reads a segment and checks everything about it that can be checked by itself.
    pub(crate) async fn segment(&self, key: &SegmentKey) -> Result<Segment, ReadError> {
        let bytes = self.objects.get(&key.to_string()).await?;
        let stream_key = match container::is_sealed(&bytes) {
            true => Some(self.keys.get(&self.objects, key.stream).await),
            false => None,
        };
        let key = *key;
        let parse = move || {
            if chain::sha256(&bytes) != key.sha256 {
                return Err(ReadError::Hash(key));
            }
            let (opened, with) = match stream_key {
                Some(stream_key) => {
                    open_sealed(&key, stream_key, &bytes).map(|(a, b)| (Some(a), Some(b)))?
                }
                None => (None, None),
            };
            let bytes = opened.as_deref().unwrap_or(&bytes);
            let mut segment =
                Segment::parse(bytes).map_err(|source| ReadError::Segment { key, source })?;
            segment.key = with;
            let fits = segment.stream == key.stream
                && segment.header.segment == key.segment
                && segment.header.control == key.control
                && Day::of_stream(key.stream, segment.header.started_ns) == key.day;
            if fits {
                Ok(segment)
            } else {
                Err(ReadError::Key(key))
            }
        };
        match tokio::task::spawn_blocking(parse).await {
            Ok(result) => result,
            Err(_) => Err(ReadError::Key(key)),
        }
    }

    /// All segment keys with their sizes, and the objects that are none.
    pub(crate) async fn list(
        &self,
        control: bool,
        days: Days,
    ) -> Result<(Vec<(SegmentKey, u64)>, Vec<String>), StoreError> {
        let root = keys::root(control);
        let listed: Vec<Listed> = match days.each() {
            Some(each) => {
                let mut all = Vec::new();
                for day in each {
                    all.extend(self.objects.list(&format!("{root}/{day}")).await?);
                }
                all
            }
            None => self.objects.list(root).await?,
        };
        let mut keys = Vec::new();
        let mut strange = Vec::new();
        for object in listed {
            match SegmentKey::parse(&object.key) {
                Some(key) if days.contains(key.day) => keys.push((key, object.size)),
                Some(_) => {}
                None => strange.push(object.key),
            }
        }
        keys.sort_by_key(|(k, _)| (k.stream, k.segment, k.sha256));
        Ok((keys, strange))
    }
}

/// What is in an encrypted segment.
fn open_sealed(
    key: &SegmentKey,
    stream_key: Result<Arc<StreamKey>, KeyLoss>,
    bytes: &[u8],
) -> Result<(Vec<u8>, Arc<StreamKey>), ReadError> {
    let key = *key;
    let wrong = |source| ReadError::Sealed { key, source };
    let (header, _) = container::read_header(bytes).map_err(wrong)?;
    if !container::fits(&header, &key) {
        return Err(ReadError::Key(key));
    }
    match stream_key {
        Ok(stream_key) => {
            let opened = container::open(&stream_key, bytes).map_err(wrong)?;
            Ok((opened, stream_key))
        }
        Err(KeyLoss::Read(why)) => Err(ReadError::KeyStore { key, why }),
        Err(why) => Err(ReadError::Opaque {
            key,
            why: Box::new(why),
            t1_ns: header.t1_ns,
        }),
    }
}

/// A store in one argument is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a store: give a directory, or s3://bucket/prefix?region=…&endpoint=…&allow_http=true"
)]
pub struct StoreUrlError(String);

/// A directory, or `s3://bucket/prefix?region=…&endpoint=…&allow_http=true&virtual_hosted=true`, with
/// the credentials of the environment.
impl FromStr for StoreConfig {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let wrong = || StoreUrlError(text.to_owned());
        let Some(rest) = text.strip_prefix("s3://") else {
            return match text.is_empty() || text.contains("://") {
                true => Err(wrong()),
                false => Ok(Self::Directory(text.into())),
            };
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let mut s3 = S3Config {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            ..S3Config::default()
        };
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
            match name {
                "region" => s3.region = value.to_owned(),
                "endpoint" => s3.endpoint = Some(value.to_owned()),
                "allow_http" => s3.allow_http = value.parse().map_err(|_| wrong())?,
                "virtual_hosted" => s3.virtual_hosted_style = value.parse().map_err(|_| wrong())?,
                _ => return Err(wrong()),
            }
        }
        if s3.bucket.is_empty() {
            return Err(wrong());
        }
        Ok(Self::S3(s3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_arguments() {
        let s3 = "s3://b/a/c/?region=eu&endpoint=http://127.0.0.1:1&allow_http=true";
        let Ok(StoreConfig::S3(s3)) = s3.parse() else {
            panic!("{s3}")
        };
        assert_eq!(
            (&*s3.bucket, &*s3.prefix, s3.allow_http),
            ("b", "a/c", true)
        );
        assert_eq!(s3.endpoint.as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(
            "/tmp/x".parse(),
            Ok(StoreConfig::Directory("/tmp/x".into()))
        );
        for wrong in [
            "",
            "s3://",
            "gs://b",
            "s3://b?x=1",
            "s3://b?allow_http=maybe",
            "s3://b?x",
        ] {
            assert!(wrong.parse::<StoreConfig>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_in_between() {
        let day = |t| Day::parse(t);
        let days = Days {
            since: day("2024-02-27"),
            until: day("2024-03-01"),
        };
        let each: Vec<String> = days.each().unwrap().iter().map(Day::to_string).collect();
        assert_eq!(
            each,
            ["2024/02/27", "2024/02/28", "2024/02/29", "2024/03/01"]
        );
        assert!(Days::default().each().is_none());
        assert!(!days.contains(day("2024-03-02").unwrap()));
    }
}
