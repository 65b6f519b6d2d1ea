//! Types and client of Weir's HTTP API.
//!
//! The types are the contract at the edge: the server answers with them, the command line and other
//! programs read them, and the OpenAPI description is generated from them.
//!
//! Place in the flow: between `control` (which serves the API) and whoever calls it.
//!
//! Architecture invariants:
//! - No type of another Weir crate is part of the API: each is converted by hand.
//! - A token is sent as a bearer header and is never part of a URL, an error or a `Debug` text.

mod api;
mod audit;
mod client;
mod deliveries;
mod erasure;
mod impact;
mod package;
mod ssh;
mod ssh_hosts;
mod ssh_keys;
mod ssh_tokens;
mod time;
mod watch;

pub use api::{
    Activation, Actor, ApprovalDetail, ApprovalFilter, ApprovalState, ApprovalSummary,
    BundleChange, BundleDiff, BundleFiles, BundleInfo, BundleProblem, BundleRef, BundleState,
    BundleSummary, BundleUpload, ChangeKind, Decision, DenyRequest, EncodedValue, ErrorBody,
    Finding, Health, KillRequest, Named, Page, Paging, Parameter, PluginChange, PluginChangeKind,
    PluginConfirm, PluginInfo, PluginState, PluginSummary, PluginUpload, Reason, Risk, Route,
    SessionFilter, SessionInfo, Statement, TargetInfo, Vote, VoteKind, VoteResult, WatchFilter,
};
pub use audit::{AuditApproval, AuditEntry, AuditFilter, AuditPage, AuditPlugin, AuditPrincipal};
pub use client::{Client, ClientError};
pub use deliveries::{DeliveryInfo, DeliveryState};
pub use erasure::{EraseRequest, SessionErasure};
pub use impact::{Cascade, HeldLock, Impact, TouchedTable};
pub use package::{PACKAGE_HEADER, PackageDownload, PackageRequest};
pub use ssh::{
    SshAuthorityInfo, SshCertificate, SshCertificateRequest, SshCredentialKind, SshHosts,
    SshRevocation, SshRevocationRequest, SshRevoked,
};
pub use ssh_hosts::{SshHostKey, SshHostKeyDecided, SshHostKeyState, SshHostKeyVerdict};
pub use ssh_keys::{
    SshKey, SshKeyChallenge, SshKeyChallengeRequest, SshKeyFilter, SshKeyRemoval, SshKeyRemoved,
    SshKeyRequest,
};
pub use ssh_tokens::{
    SshToken, SshTokenFilter, SshTokenInfo, SshTokenRemoval, SshTokenRequest, SshTokenRevocation,
    SshTokenRevoked,
};
pub use time::Timestamp;
pub use watch::Watching;
