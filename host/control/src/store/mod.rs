//! The state store: what the control plane must not forget. `sqlite` keeps it in one file.
//!
//! Architecture invariant: every rule about who may do what, and when a hold is decided, is in
//! [`hold`] or above this trait. An implementation stores, and makes each method one transaction.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;
use weir_client::{BundleState, BundleSummary, PluginChangeKind, PluginSummary};

use crate::ports::Files;

pub mod conformance;
mod hold;
mod sqlite;
mod ssh;

pub use hold::{
    Ballot, Cast, HoldDocument, HoldRecord, HoldRow, HoldState, RouteRecord, Settled, Verdict,
    VoteRecord, approved_by, cast, settle,
};
pub(crate) use sqlite::{Lock, connect, int, lock, make_private, uint};
pub use sqlite::{Sqlite, Stored, peek};
pub use ssh::{
    CertificateRow, HostKeyRow, HostKeySight, HostKeyVerdict, KeyLimits, KeyPut, KeyRow,
    RevocationRow, TokenPut, TokenRow, WentAlong,
};

/// Milliseconds since 1970.
pub type Millis = u64;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the state store has too much to do: {0} calls wait")]
    Busy(usize),
    #[error("the state store did not answer in time")]
    Timeout,
    #[error("the state store is closed")]
    Closed,
    #[error(
        "somebody else reads the database at this moment, so what was forgotten is still beside its file: end \
         what reads it, such as a backup"
    )]
    InUse,
    #[error("{what} failed")]
    Database {
        what: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("{what} in the state store cannot be read: {why}")]
    Corrupt { what: &'static str, why: String },
    #[error(
        "the database has schema {found}, this program knows {known}: it was used by a newer Weir"
    )]
    Newer { found: i64, known: i64 },
}

pub type Result<T> = std::result::Result<T, StoreError>;

/// Something changed that somebody may wait for. A receiver that lags must look by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Hold(String),
    Outbox,
}

/// The store. Every method is atomic and durable when it returns.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    fn changes(&self) -> broadcast::Receiver<Change>;
    /// Can it read and write? Answered after every write that was asked for before.
    async fn ping(&self) -> Result<()>;

    /// Opens a hold unless too many are open; also announces it when it asks for that. The oldest
    /// ended ones make room for it. A hold that ends keeps [`HoldDocument::shrunk`] only.
    async fn open_hold(&self, hold: HoldRecord, limits: HoldLimits) -> Result<Opened>;
    async fn hold(&self, id: &str) -> Result<Option<HoldRow>>;
    /// Newest first.
    async fn holds(&self, query: HoldQuery) -> Result<Vec<HoldRow>>;
    /// Counts a ballot by [`cast`].
    async fn vote(&self, ballot: Ballot) -> Result<Option<Verdict>>;
    /// Moves on by [`settle`]: expires it when it is time, takes an approval for `fingerprint`.
    async fn settle_hold(&self, id: &str, fingerprint: [u8; 32], now: Millis) -> Result<Settled>;
    /// Ends a hold that nobody waits for any more, also one whose approval was taken and not used.
    /// True if it was not ended otherwise before.
    async fn abandon_hold(&self, id: &str, now: Millis) -> Result<bool>;

    /// Adds a version in state `Staged`; `None` when `max_staged` are waiting already.
    async fn stage_bundle(&self, bundle: NewBundle, max_staged: u32) -> Result<Option<BundleRow>>;
    async fn bundle(&self, version: u64) -> Result<Option<BundleRow>>;
    async fn bundle_files(&self, version: u64) -> Result<Option<Files>>;
    /// Newest first.
    async fn bundles(&self, before: Option<u64>, limit: u32) -> Result<Vec<BundleRow>>;
    async fn active_bundle(&self) -> Result<Option<BundleRow>>;
    /// The version that was active before the present one.
    async fn previous_bundle(&self) -> Result<Option<BundleRow>>;
    /// Makes `version` active and retires `expected`; false, and nothing done, when another version
    /// than `expected` is active or `version` does not exist.
    async fn activate_bundle(
        &self,
        version: u64,
        expected: Option<u64>,
        by: &str,
        at: Millis,
    ) -> Result<bool>;

    /// Keeps a plugin whose name is not taken; false, and nothing done, when it is.
    async fn add_plugin(&self, plugin: PluginRow, component: Bytes) -> Result<bool>;
    async fn plugin(&self, name: &str) -> Result<Option<PluginRow>>;
    async fn plugin_component(&self, name: &str) -> Result<Option<Bytes>>;
    /// By name.
    async fn plugins(&self) -> Result<Vec<PluginRow>>;
    /// Keeps a change for somebody to confirm, in place of an earlier one of the same plugin; false
    /// when `max` of other plugins are waiting at `change.created_at`.
    async fn stage_plugin(
        &self,
        change: PluginChangeRow,
        component: Bytes,
        max: u32,
    ) -> Result<bool>;
    /// By name, also overdue ones.
    async fn plugin_changes(&self) -> Result<Vec<PluginChangeRow>>;
    /// What the change would bring; empty for a removal.
    async fn plugin_change_component(&self, id: &str) -> Result<Option<Bytes>>;
    /// Does what the change says, and forgets it; false, and nothing done, when there is none of
    /// this id, it is overdue, or the plugin is not the one any more that it was asked for.
    async fn apply_plugin_change(&self, id: &str, by: &str, at: Millis) -> Result<bool>;

    async fn write_sessions(&self, writes: Vec<SessionWrite>) -> Result<()>;
    async fn session(&self, id: &str) -> Result<Option<SessionRow>>;
    /// Newest first.
    async fn sessions(&self, query: SessionQuery) -> Result<Vec<SessionRow>>;

    /// Forgets what the session's statements say, and what its client said of itself; who asked for what
    /// kind of thing, when, and who decided, stays. It is not in the file afterwards, either.
    async fn forget_session(&self, id: &str) -> Result<()>;

    /// Announcements whose time has come, oldest first.
    async fn due_notices(&self, now: Millis, limit: u32) -> Result<Vec<Notice>>;
    async fn notice_delivered(&self, id: &str) -> Result<()>;
    /// Tries again at `retry_at`, or gives up.
    async fn notice_failed(&self, id: &str, retry_at: Option<Millis>, error: &str) -> Result<()>;

    /// In place of the same one of before. Also removes the registered keys that it names, or that go with the
    /// certificate that it names: its own key, and those that the same person registered with the same token. And the
    /// short tokens of the subject that it names, or that stand for the same token of the same one as the certificate.
    /// These are returned. None, and nothing done, when `max` are kept.
    async fn add_ssh_revocation(&self, row: RevocationRow, max: u32) -> Result<Option<WentAlong>>;
    /// Newest first.
    async fn ssh_revocations(&self) -> Result<Vec<RevocationRow>>;

    /// Keeps for whom a certificate was issued, until it ends. Of one subject's, those that end first make room, and
    /// of all those of whoever has most.
    async fn keep_ssh_certificate(&self, row: CertificateRow, limits: KeyLimits) -> Result<()>;

    /// Keeps a key, in place of what was known of it if the same person had registered it.
    async fn put_ssh_key(&self, row: KeyRow, limits: KeyLimits) -> Result<KeyPut>;
    /// False when this person has no such key.
    async fn remove_ssh_key(&self, fingerprint: &str, subject: &str) -> Result<bool>;
    /// Of one person, or of all; newest first. Also those that have ended and were not forgotten yet.
    async fn ssh_keys(&self, subject: Option<&str>, limit: u32) -> Result<Vec<KeyRow>>;

    /// Keeps a short token that is not kept yet.
    async fn put_ssh_token(&self, row: TokenRow, limits: KeyLimits) -> Result<TokenPut>;
    /// Also one that has ended and was not forgotten yet.
    async fn ssh_token(&self, hash: [u8; 32]) -> Result<Option<TokenRow>>;
    /// The same, by what people name it by.
    async fn ssh_token_called(&self, id: &str) -> Result<Option<TokenRow>>;
    /// Of one subject, or of all; newest first. Also those that have ended and were not forgotten yet.
    async fn ssh_tokens(&self, subject: Option<&str>, limit: u32) -> Result<Vec<TokenRow>>;
    /// False when there is no such token.
    async fn remove_ssh_token(&self, id: &str) -> Result<bool>;

    /// Lists a key that a host has shown, or that it has shown it again; tells when [`Store::recorded_ssh_host_key`] was
    /// called for it, if no verdict on a key of this target came since. Of one target, `max` wait: those that were shown longest ago make room.
    async fn saw_ssh_host_key(
        &self,
        sight: HostKeySight,
        max: u32,
    ) -> Result<(HostKeyRow, Option<Millis>)>;
    /// The record has said that the target shows this key.
    async fn recorded_ssh_host_key(
        &self,
        target: &str,
        fingerprint: &str,
        at: Millis,
    ) -> Result<()>;
    /// None when the target has not shown it. An approved key takes the place of the one before, which is rejected
    /// then; of one target, `max` are kept that are: those that were decided on first are forgotten, and returned.
    async fn decide_ssh_host_key(
        &self,
        verdict: HostKeyVerdict,
        max: u32,
    ) -> Result<Option<(HostKeyRow, Vec<String>)>>;
    /// By target.
    async fn ssh_host_keys(&self) -> Result<Vec<HostKeyRow>>;

    /// What a new process does first: holds, approvals and sessions of the one before are over.
    async fn begin(&self, now: Millis) -> Result<Begun>;
    /// Expires holds, changes of plugins, revocations and registered keys, and forgets what ended before `keep_since`.
    async fn sweep(&self, now: Millis, keep_since: Millis) -> Result<()>;
}

/// How often a store that does not answer is asked, before nobody knows what it did.
const ASK_AGAIN: usize = 5;

/// After [`StoreError::Timeout`], waits until the write is done or never will be. False when even
/// that cannot be found out.
pub(crate) async fn write_is_over(store: &dyn Store) -> bool {
    for _ in 0..ASK_AGAIN {
        if store.ping().await.is_ok() {
            return true;
        }
    }
    false
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Begun {
    pub holds_abandoned: usize,
    pub sessions_ended: usize,
}

#[derive(Debug, Clone, Copy)]
pub struct HoldLimits {
    /// Open ones.
    pub total: u32,
    pub per_principal: u32,
    /// Ended ones included. The oldest ended ones make room, those of the principal first.
    pub kept: Kept,
    pub kept_per_principal: Kept,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    pub rows: u64,
    /// Of the documents.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    Yes,
    /// This many are open or take the room, of all or of this principal.
    TooMany(usize),
}

#[derive(Debug, Clone, Default)]
pub struct HoldQuery {
    pub state: Option<HoldState>,
    pub principal: Option<String>,
    pub target: Option<String>,
    /// Only ids before this one.
    pub before: Option<String>,
    pub limit: u32,
}

/// A bundle that has been validated.
#[derive(Debug, Clone)]
pub struct NewBundle {
    pub files: Files,
    pub summary: BundleSummary,
    /// None: it came with the configuration.
    pub author: Option<String>,
    /// The author, those it acts for, and who answers for them.
    pub involved: Vec<String>,
    pub note: String,
    pub at: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRow {
    pub version: u64,
    pub state: BundleState,
    pub summary: BundleSummary,
    pub author: Option<String>,
    pub involved: Vec<String>,
    pub note: String,
    pub created_at: Millis,
    pub activated_at: Option<Millis>,
    pub activated_by: Option<String>,
    pub retired_at: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRow {
    pub summary: PluginSummary,
    pub size: u64,
    pub config: BTreeMap<String, String>,
    pub uploaded_by: String,
    pub uploaded_at: Millis,
    /// Who confirmed that it takes another one's place.
    pub confirmed_by: Option<String>,
}

impl PluginRow {
    /// Tells this upload from every other one of the same name.
    pub fn edition(&self) -> String {
        format!("{}@{}", self.summary.digest, self.uploaded_at)
    }
}

/// A change of a plugin that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginChangeRow {
    /// A UUIDv7.
    pub id: String,
    pub kind: PluginChangeKind,
    /// With only the name filled in for a removal.
    pub summary: PluginSummary,
    pub size: u64,
    pub config: BTreeMap<String, String>,
    /// The edition that was in force when it was asked for; empty when none was.
    pub replaces: String,
    pub author: String,
    /// The author, those it acts for, and who answers for them.
    pub involved: Vec<String>,
    pub created_at: Millis,
    pub expires_at: Millis,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// A UUIDv7: sorts by time.
    pub id: String,
    pub kind: String,
    pub principal: String,
    pub owner: String,
    pub target: String,
    /// Empty: of a session of a time when it was not kept.
    pub protocol: String,
    pub database: String,
    pub source: String,
    pub application: String,
    pub started_at: Millis,
    pub ended_at: Option<Millis>,
    pub end: Option<String>,
}

#[derive(Debug, Clone)]
pub enum SessionWrite {
    Started(Box<SessionRow>),
    Ended { id: String, at: Millis, end: String },
}

#[derive(Debug, Clone)]
pub struct SessionQuery {
    /// Only those with (false) or without (true) an end.
    pub live: Option<bool>,
    /// Only ids before this one.
    pub before: Option<String>,
    pub limit: u32,
}

/// What is told to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    Opened,
    /// The hold ended in this state.
    Decided(HoldState),
}

/// One announcement in the outbox.
#[derive(Debug, Clone)]
pub struct Notice {
    pub id: String,
    pub kind: NoticeKind,
    pub at: Millis,
    /// Deliveries tried so far.
    pub attempts: u32,
    pub hold: HoldRow,
}
