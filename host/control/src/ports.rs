//! What the control plane needs from the outside. The server wires it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::{Principal, SessionId};
use uuid::Uuid;
use weir_client::{
    BundleChange, BundleProblem, BundleSummary, DeliveryInfo, PluginSummary, SessionErasure,
    SshAuthorityInfo, SshCertificate, SshCredentialKind, SshKeyChallenge, SshKeyRequest, Timestamp,
};

use crate::error::ApiError;

/// Turns a bearer token into a principal.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// Any error is a refusal: `ApiError::unauthorized`, or `unavailable` when the issuer's keys
    /// cannot be had. The error's text goes to the caller.
    async fn authenticate(&self, bearer: &str, source: IpAddr) -> Result<Arc<Principal>, ApiError>;
}

/// The recordings.
#[async_trait]
pub trait Recordings: Send + Sync + 'static {
    /// Destroys what was recorded of a session that is not the own one of `who`: where the control plane
    /// does not know that, the record has to tell. The text of the error goes to whoever asked.
    async fn erase(
        &self,
        session: Uuid,
        who: Arc<Principal>,
        reason: String,
        is_somebody_elses: bool,
    ) -> Result<SessionErasure, ApiError>;
}

/// What a package of evidence is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageOrder {
    pub from: Timestamp,
    /// Not included, and not later than now.
    pub to: Timestamp,
    /// None: all of them.
    pub targets: BTreeSet<String>,
    /// None: as many as packages have.
    pub sample: Option<u32>,
    pub names: bool,
}

/// A package that was made and verified.
#[derive(Debug)]
pub struct MadePackage {
    /// Nobody else can open it.
    pub file: std::fs::File,
    pub bytes: u64,
    /// SHA-256 of its manifest, in hex.
    pub digest: String,
}

/// Packages of evidence.
#[async_trait]
pub trait Packages: Send + Sync + 'static {
    /// Makes one, of bounded size and in bounded time. The text of the error goes to whoever asked.
    async fn make(&self, order: PackageOrder) -> Result<MadePackage, ApiError>;
}

/// A bundle's files: path and text.
pub type Files = BTreeMap<String, String>;

/// The bundle that the engine decides with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveBundle {
    pub version: u64,
    pub files: Files,
    pub summary: BundleSummary,
}

/// Why a bundle is put into the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coming {
    /// People activate it: what cannot be known of it now is against it.
    New,
    /// It was in force before this start, or before an activation that failed.
    Back,
}

/// Policy bundles. The calls may take long; they run on threads that may block.
pub trait BundleEngine: Send + Sync + 'static {
    /// Everything that `activate` would check, the bundle's own tests included.
    fn validate(&self, files: &Files) -> Result<BundleSummary, Vec<BundleProblem>>;
    fn diff(&self, old: &Files, new: &Files) -> Vec<BundleChange>;
    /// From the next decision on, this bundle decides. On an error the one before stays.
    fn activate(
        &self,
        files: &Files,
        version: u64,
        coming: Coming,
    ) -> Result<BundleSummary, Vec<BundleProblem>>;
    fn active(&self) -> ActiveBundle;
    /// Until the next bundle is activated, sessions are permitted nothing. The engine's own bundle
    /// still decides about calls of the API, so that somebody can bring another one.
    fn seal(&self, reason: &str);
}

/// Sessions as they are recorded.
pub trait WatchSessions: Send + Sync + 'static {
    /// What is recorded of a live session from now on; with `text`, also as it reads. Waits for
    /// nothing. An error's text goes to the caller.
    fn watch(&self, session: SessionId, text: bool) -> Result<Box<dyn WatchedSession>, ApiError>;
}

/// A session that somebody watches. No session waits for one of these; its place is free when it is
/// dropped.
#[async_trait]
pub trait WatchedSession: Send {
    /// What is durable by now; none when nothing more comes. Cancel safe.
    async fn next(&mut self) -> Option<WatchedLines>;
}

/// Whole JSON lines, and how many records are in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedLines {
    pub lines: Bytes,
    pub records: u64,
}

/// A certificate that nobody has yet.
#[derive(Debug)]
pub struct IssuedCertificate {
    pub answer: SshCertificate,
    /// Of the key in it, for the record.
    pub fingerprint: String,
}

/// A short token that nobody has yet, and that does not count yet.
pub struct MadeToken {
    pub answer: weir_client::SshToken,
    /// By which it is found.
    pub hash: [u8; 32],
    /// Who comes in by it, for whoever finds it. Nothing of it is secret.
    pub kept: String,
}

/// The SSH certificate authority.
pub trait SshAuthority: Send + Sync + 'static {
    /// A certificate for a key of `who`, which stands for the token and ends with it at the latest. Waits for
    /// nothing. An error's text goes to the caller.
    fn issue(
        &self,
        who: &Principal,
        public_key: &str,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<IssuedCertificate, ApiError>;
    /// A short token that stands for the token of `who`, as a certificate does, for so many minutes. An error's text
    /// goes to the caller.
    fn token(
        &self,
        who: &Principal,
        minutes: Option<u32>,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<MadeToken, ApiError>;
    fn info(&self) -> SshAuthorityInfo;
    /// What is to be revoked, in the one way of writing it. An error's text goes to the caller.
    fn canonical(&self, kind: SshCredentialKind, value: &str) -> Result<String, ApiError>;
    /// Was everything revoked that is as old as this token, of somebody in it?
    fn is_revoked(&self, who: &Principal, now: SystemTime) -> bool;
    /// From now on, and until this process ends, this does not count if it is from before `at`. Returns for how
    /// long that has to be remembered; none: for ever. Takes what `canonical` returns.
    fn revoke(
        &self,
        kind: SshCredentialKind,
        value: &str,
        at: SystemTime,
    ) -> Result<Option<Duration>, ApiError>;
}

/// A key that its person has shown to be theirs, and that does not count yet.
#[derive(Debug)]
pub struct CheckedKey {
    pub fingerprint: String,
    /// As a line of OpenSSH, in the one way of writing it.
    pub public_key: String,
    /// Who its person is, for [`SshKeys::register`]. Nothing of it is secret.
    pub kept: String,
    pub ends: SystemTime,
}

/// Public keys that people register to come in by. Nothing here waits; errors' texts go to the caller.
pub trait SshKeys: Send + Sync + 'static {
    /// What `who` has to sign with this key.
    fn challenge(
        &self,
        who: &Principal,
        public_key: &str,
        now: SystemTime,
    ) -> Result<SshKeyChallenge, ApiError>;
    /// Is it a key that may be registered, and has `who` signed with it?
    fn check(
        &self,
        who: &Principal,
        request: &SshKeyRequest,
        now: SystemTime,
    ) -> Result<CheckedKey, ApiError>;
    /// From now on, and until `ends`, whoever has this key is who `kept` says, since they registered it.
    fn register(
        &self,
        public_key: &str,
        kept: &str,
        since: SystemTime,
        ends: SystemTime,
    ) -> Result<(), ApiError>;
    /// From now on nobody comes in by this key.
    fn forget(&self, fingerprint: &str);
    /// Those by which somebody may come in, as far as is known here.
    fn known(&self) -> Vec<String>;
    /// How many one person may have.
    fn per_person(&self) -> u32;
}

/// Deliveries of the record.
#[async_trait]
pub trait Deliveries: Send + Sync + 'static {
    /// How far each receiver is, in the order of the configuration. An error's text goes to the caller.
    async fn list(&self) -> Result<Vec<DeliveryInfo>, ApiError>;
}

/// Plugins.
#[async_trait]
pub trait PluginEngine: Send + Sync + 'static {
    /// Checks, compiles and uses the component from the next session on, in place of another of the
    /// same name. On an error the one before stays. The text of the error goes to the uploader.
    async fn admit(
        &self,
        name: &str,
        component: Bytes,
        config: BTreeMap<String, String>,
    ) -> Result<PluginSummary, String>;
    /// What `admit` would say; changes nothing.
    async fn inspect(
        &self,
        name: &str,
        component: Bytes,
        config: BTreeMap<String, String>,
    ) -> Result<PluginSummary, String>;
    async fn remove(&self, name: &str) -> Result<(), String>;
    /// Fails closed, as without a required plugin, until one of this name is admitted or it is
    /// removed.
    fn expect(&self, name: &str);
    /// What is required or expected, and not loaded.
    fn missing(&self) -> Vec<String>;
    fn list(&self) -> Vec<PluginSummary>;
}
