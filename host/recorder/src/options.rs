//! What the recorder is told: where it spools, where it stores, and its limits.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::crypt::key::StreamKeyError;
use crate::crypt::wrap::{KeyWrap, LocalKeyError, LocalKeys};
use crate::erase::Forgetting;
use crate::follow::Following;
use crate::log::key::LogOptions;

/// Everything `Recorder::open` needs.
#[derive(Debug, Clone)]
pub struct RecorderOptions {
    /// The write-ahead log and the segments that are not stored yet. One process at a time.
    pub spool_dir: PathBuf,
    pub store: StoreConfig,
    /// Where what is final goes instead.
    pub vault: Option<VaultConfig>,
    pub limits: Limits,
    pub log: LogOptions,
    pub encryption: Encryption,
    /// Written into the control stream: which Weir wrote this.
    pub software: String,
    /// Told of every durable record.
    pub follower: Option<Following>,
    /// What else knows sessions, and forgets those that are erased.
    pub forgetting: Option<Forgetting>,
    /// For how many days the bundle that will be in force wants sessions kept. A vault that says no to one of
    /// these keeps the recorder from opening.
    pub kept_longer: BTreeSet<u32>,
}

impl RecorderOptions {
    /// With the keys in files of `keys` in the spool.
    pub fn new(spool_dir: impl Into<PathBuf>, store: StoreConfig) -> Self {
        let spool_dir = spool_dir.into();
        Self {
            log: LogOptions {
                name: "weir".to_owned(),
                key: None,
                key_dir: spool_dir.join("keys"),
                witnesses: Vec::new(),
            },
            spool_dir,
            store,
            encryption: Encryption::default(),
            vault: None,
            limits: Limits::default(),
            software: concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned(),
            follower: None,
            forgetting: None,
            kept_longer: BTreeSet::new(),
        }
    }
}

/// What wraps the keys of recordings.
#[derive(Clone, Default)]
pub struct Encryption {
    /// None: a key in `segments.key` of the log's `key_dir`, which is made at the first start.
    pub wrap: Option<Arc<dyn KeyWrap>>,
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").finish_non_exhaustive()
    }
}

impl Encryption {
    /// For who writes.
    pub(crate) fn open(
        &self,
        log: &LogOptions,
        spool: &Path,
    ) -> Result<Arc<dyn KeyWrap>, LocalKeyError> {
        if let Some(wrap) = &self.wrap {
            return Ok(wrap.clone());
        }
        let path = log.key_dir.join(KEY_FILE);
        let made = spool.join(KEY_MADE);
        let there = path.try_exists().map_err(crate::log::key::io(&path))?;
        // Another key in its place would look as if all were well.
        if !there && made.try_exists().map_err(crate::log::key::io(&made))? {
            return Err(LocalKeyError::Lost { path, made });
        }
        let keys = LocalKeys::make(&path)?;
        crate::disk::private()
            .create(true)
            .truncate(true)
            .open(&made)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::File::open(spool)?.sync_all())
            .map_err(crate::log::key::io(&made))?;
        Ok(Arc::new(keys))
    }

    /// For who reads: nothing is made. None: there is no key.
    pub fn own(&self, log: &LogOptions) -> Result<Option<Arc<dyn KeyWrap>>, LocalKeyError> {
        let path = log.key_dir.join(KEY_FILE);
        match &self.wrap {
            Some(wrap) => Ok(Some(wrap.clone())),
            // Whether it is there must be known.
            None if path.try_exists().map_err(crate::log::key::io(&path))? => {
                Ok(Some(Arc::new(LocalKeys::make(&path)?)))
            }
            None => Ok(None),
        }
    }
}

const KEY_FILE: &str = "segments.key";
/// In the spool: there was a key once.
const KEY_MADE: &str = "segments.key.made";

/// Every bound of the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Log and unstored segments together; beyond it, new sessions and actions are refused.
    pub spool_bytes: u64,
    /// A log file is finished at this size.
    pub wal_file_bytes: u64,
    /// A segment is sealed at this many bytes before compression…
    pub segment_bytes: u64,
    /// …or at this age of its first record.
    pub segment_age: Duration,
    /// Memory for unsealed segments of all sessions; the largest is sealed beyond it.
    pub unsealed_bytes: u64,
    /// Recorded bytes that wait for the log, of all sessions together.
    pub queued_bytes: u32,
    /// Records that wait for the log.
    pub queued_records: usize,
    /// How long recorded bytes wait for room in a full spool before the session ends.
    pub full_wait: Duration,
    /// How long a new file of the spool waits for a file descriptor before the recorder fails.
    pub descriptor_wait: Duration,
    /// Uploads at the same time.
    pub uploads: usize,
    /// One attempt to store a segment.
    pub upload_timeout: Duration,
    /// The longest pause between two attempts.
    pub upload_backoff: Duration,
    /// The shortest time between two checkpoints in the store.
    pub publish_every: Duration,
    /// The shortest time between two leaves of the registry of logs about a log that goes on.
    pub register_every: Duration,
    /// How long wrapping or unwrapping a key may take.
    pub key_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            spool_bytes: 4 << 30,
            wal_file_bytes: 64 << 20,
            segment_bytes: 8 << 20,
            segment_age: Duration::from_secs(60),
            unsealed_bytes: 128 << 20,
            queued_bytes: 32 << 20,
            queued_records: 4096,
            full_wait: Duration::from_secs(30),
            descriptor_wait: Duration::from_secs(30),
            uploads: 4,
            upload_timeout: Duration::from_secs(60),
            upload_backoff: Duration::from_secs(30),
            publish_every: Duration::from_secs(10),
            register_every: Duration::from_secs(600),
            key_wait: Duration::from_secs(5),
        }
    }
}

impl Limits {
    pub fn check(&self) -> Result<(), OpenError> {
        let wrong = |what: &str| Err(OpenError::Limits(what.to_owned()));
        if self.wal_file_bytes < 4096 {
            return wrong("wal_file_bytes must be at least 4096");
        }
        if self.spool_bytes / 4 < self.wal_file_bytes {
            return wrong("spool_bytes must be at least four times wal_file_bytes");
        }
        if self.segment_bytes == 0 || self.unsealed_bytes < self.segment_bytes {
            return wrong("unsealed_bytes must be at least segment_bytes, and both more than 0");
        }
        if self.queued_bytes < 1 << 20 || self.queued_records == 0 {
            return wrong("queued_bytes must be at least 1 MiB and queued_records at least 1");
        }
        if self.uploads == 0 {
            return wrong("uploads must be at least 1");
        }
        Ok(())
    }
}

/// A second place, for what is final: sealed segments, full tiles, kept checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultConfig {
    pub store: StoreConfig,
    /// None: as long as the bucket says, or nobody removes it.
    pub retention: Option<Retention>,
}

/// How long, and how strictly, a vault keeps each object (S3 Object Lock).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub mode: RetentionMode,
    /// From when it is stored, at least.
    pub days: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionMode {
    /// Who has a special permission may remove an object before its time.
    Governance,
    /// Nobody may.
    Compliance,
}

impl RetentionMode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

/// Where recordings go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// A directory on this machine; made if it is missing.
    Directory(PathBuf),
    S3(S3Config),
}

/// Any S3-compatible store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct S3Config {
    pub bucket: String,
    /// `us-east-1` when empty.
    pub region: String,
    /// None: AWS.
    pub endpoint: Option<String>,
    /// Keys begin with it; no slash at its ends is needed.
    pub prefix: String,
    /// None: the machine's own (environment, web identity, instance metadata).
    pub credentials: Option<S3Credentials>,
    /// Plain HTTP, for a store on this machine.
    pub allow_http: bool,
    /// `https://bucket.endpoint/` instead of `https://endpoint/bucket/`.
    pub virtual_hosted_style: bool,
}

#[derive(Clone, PartialEq, Eq)]
pub struct S3Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// Why the recorder cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the recorder's limits: {0}")]
    Limits(String),
    #[error("the spool {0} is in use by another process; every instance needs its own")]
    Locked(PathBuf),
    #[error("{action} {path}: {source}")]
    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the recording store: {0}")]
    Store(#[from] crate::objects::StoreError),
    #[error("the write-ahead log cannot be written: {0}")]
    Wal(String),
    #[error("the transparency log: {0}")]
    Log(#[from] crate::log::sequence::LogError),
    #[error("what wraps the keys of recordings: {0}")]
    Keys(#[from] LocalKeyError),
    #[error("the key of the stream {stream} cannot be made, or unwrapped: {source}")]
    StreamKey {
        stream: Uuid,
        source: StreamKeyError,
    },
}

impl OpenError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
