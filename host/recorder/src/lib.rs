//! The evidence: a write-ahead log with group commit, sealed segments of every session, their way
//! into an object store, and what reads them again.
//!
//! Place in the flow: adapts `pipeline::ports::{Journal, SessionJournal}`. A session's calls queue
//! records for the *committer* (`commit`), which writes them in shared blocks, makes these durable and passes them
//! on to the *sealer* (`seal`), which sorts them into segments; the *uploader* (`upload`) stores
//! those. Recorded bytes of some length are compressed before they are queued (`pack`) and stay as they
//! are, from the log to the store. `Store`, `verify` and `replay` read what was stored and know nothing of the writers.
//!
//! The formats are described in `FORMAT.md`.
//!
//! Architecture invariants:
//! - An intent, a refusal, a session's start and an operator's act are durable before the call
//!   returns; outcomes and bytes follow in order, in the file within 5 ms and durable within 25. An
//!   intent whose bundle asks for no more is in the file before the call returns, and durable within
//!   the time that the bundle names.
//! - After a write or sync error nothing is written to that log any more: every call errs, every
//!   session is told to end.
//! - A log file is removed only when a durable mark says that all its records are in segments, and
//!   whoever follows the log (`follow`) has taken them; a segment leaves the spool only when, besides, the store has it.
//! - Who watches a session (`watch`) is told by the sealer what is durable, and nobody waits for it.
//! - Core types are converted by hand (`convert`) to the documents of the format (`doc`).
//! - Readers trust nothing: every length has a bound, every hash is checked again.

mod ask;
mod batch;
mod bell;
mod cast;
mod chain;
mod commit;
mod convert;
mod crypt;
mod dirs;
pub mod disk;
pub mod doc;
mod erase;
mod export;
pub mod fault;
mod follow;
mod fresh;
mod gathered;
mod history;
pub mod hosts;
mod journal;
mod keys;
mod late;
mod lock;
mod log;
pub mod objects;
mod options;
mod pack;
mod patient;
mod pending;
mod pgframes;
mod place;
mod reading;
mod record;
mod recorder;
mod recover;
mod replay;
mod requests;
mod retention;
mod s3;
mod seal;
mod segment;
mod size;
mod snapshots;
mod spool;
mod sshframes;
mod state;
mod stats;
mod store;
mod stream;
pub mod text;
mod upload;
mod verify;
mod verify_keys;
mod verify_log;
mod verify_stream;
mod verify_wal;
mod wal;
mod walk;
mod watch;

pub use crate::log::check::{KeptCheckpoint, LogFinding, TrustedKey, TrustedKeyError};
pub use crate::log::key::{KeyError, LogKey, LogOptions, SeedKey, own_key, own_log_key};
pub use crate::log::leaves::{Leaves, LeavesError, LogEnd};
pub use crate::log::registry_check::{RegistryReport, WitnessPolicy};
pub use crate::log::spool::{replace as replace_doc, unsealed as read_doc};
pub use crate::log::witness::{WitnessKey, WitnessKeyError, WitnessOptions};
pub use crypt::key::{KeyDoc, Secret, StreamKeyError};
pub use crypt::read::{ErasedDoc, KeyLoss};
pub use crypt::wrap::{KeyWrap, LocalKeyError, LocalKeys, WrapError, Wrapped};
pub use erase::{Erase, EraseError, Erasure, Forget, Forgetting};
pub use export::{FormatError, Moment, MomentError, ReplayFormat, ReplayOptions};
pub use follow::{Followed, FollowedBody, Follower, Following, Place};
pub use history::{HistoryError, TakeHistory, history};
pub use keys::{Day, SegmentKey, parse_timestamp, timestamp};
pub use objects::StoreError;
pub use options::{
    Encryption, Limits, OpenError, RecorderOptions, Retention, RetentionMode, S3Config,
    S3Credentials, StoreConfig, VaultConfig,
};
pub use reading::{MAX_RECORD_TEXT, StoredRecord};
pub use recorder::Recorder;
pub use recover::RecoveryReport;
pub use replay::{ReplayError, ReplaySummary, replay, replay_noting};
pub use requests::{Request, RequestDoc, Requests};
pub use retention::Proof;
pub use snapshots::{
    KeepError, MAX_SNAPSHOT, Snapshot, SnapshotError, SnapshotFinding, waiting_snapshot,
};
pub use stats::{ShutdownReport, Stats};
pub use store::{Days, ReadError, SessionEntry, Store, StoreUrlError};
pub use verify::{Finding, Severity, VerifyError, VerifyOptions, VerifyReport, verify_store};
pub use verify_wal::{WalFinding, WalReport, verify_wal};
pub use watch::{WATCHERS, WATCHERS_OF_ONE, Watch, WatchError, Watched};

#[cfg(test)]
mod tests;
