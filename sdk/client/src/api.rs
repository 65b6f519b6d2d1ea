//! The types of the API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::impact::Impact;
use crate::time::Timestamp;

/// Every error is answered with this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// Stable, for programs: `not_found`, `forbidden`, …
    pub code: String,
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What is wrong with a bundle, place by place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<BundleProblem>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// Only what the caller may see: a page may hold fewer items than asked for.
    pub items: Vec<T>,
    /// Ask for the rest with `after` set to this; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// At most this many items, 1 to 200; 50 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or what is missing.
    pub status: String,
}

// ---- bundles

/// A policy bundle as files: paths and their text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleUpload {
    pub files: BTreeMap<String, String>,
    /// What this version is about, for its reviewer.
    #[serde(default)]
    pub note: String,
}

/// What is wrong with a bundle, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleProblem {
    /// Empty when the bundle as a whole is meant.
    pub file: String,
    /// From 1; 0 when the file as a whole is meant.
    pub line: u32,
    pub column: u32,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// What a valid bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleSummary {
    pub name: String,
    /// SHA-256 over the files, in hex.
    pub digest: String,
    pub policies: u32,
    /// Names of its approval rules.
    pub approval_rules: Vec<String>,
    /// Rules that label data.
    pub label_rules: u32,
    /// Policy tests that ran, and passed.
    pub tests: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BundleState {
    /// Valid, and waits for somebody else than its author to activate it.
    Staged,
    /// Decides now. Exactly one version is active.
    Active,
    /// Was active.
    Retired,
}

/// One version of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleInfo {
    pub version: u64,
    pub state: BundleState,
    pub summary: BundleSummary,
    /// The subject that uploaded it; absent for the bundle that came with the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    pub note: String,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleFiles {
    pub version: u64,
    pub digest: String,
    pub files: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Added,
    Removed,
    Changed,
}

/// One difference between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleChange {
    pub kind: ChangeKind,
    /// `policy guard.prod-ddl`, `approval rule prod-ddl`, `file manifest.toml`, …
    pub subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleDiff {
    /// The version that it is compared with.
    pub against: u64,
    pub version: u64,
    pub changes: Vec<BundleChange>,
}

/// A version became active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Activation {
    pub version: u64,
    pub digest: String,
    /// The version that was active before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
}

/// Why something is done, for the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[serde(default)]
    pub reason: String,
}

// ---- plugins

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginUpload {
    /// The component, in base64.
    pub component: String,
    /// The plugin's own configuration.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// What the host says about a component that it admits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginSummary {
    pub name: String,
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// `classifier`, `masker`, `router`.
    pub capabilities: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PluginState {
    Loaded,
    /// It should be in force and is not: everything that it would look at is refused or redacted.
    Missing,
    /// It is in force no more.
    Removed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginInfo {
    /// Version and digest are empty when a plugin of this name is required and was never there.
    pub summary: PluginSummary,
    pub state: PluginState,
    /// Why it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    pub size: u64,
    pub config: BTreeMap<String, String>,
    /// Absent for a plugin that came with the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_at: Option<Timestamp>,
    /// Who confirmed it, when it took the place of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
    /// What was asked for and waits for somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PluginChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PluginChangeKind {
    /// Another component, or another configuration, under this name.
    Put,
    Remove,
}

/// A change that could loosen what is in force: somebody else than who asked for it confirms it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginChange {
    pub id: String,
    pub kind: PluginChangeKind,
    /// What would be in force; absent for a removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<PluginSummary>,
    pub size: u64,
    pub config: BTreeMap<String, String>,
    /// Who asked for it, and may not confirm it.
    pub author: String,
    pub created_at: Timestamp,
    /// It is forgotten then.
    pub expires_at: Timestamp,
}

/// Names the change, so that nobody confirms another one than the one that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PluginConfirm {
    /// The id of the pending change.
    pub change: String,
    #[serde(default)]
    pub reason: String,
}

// ---- targets

/// A configured upstream, without its address and credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetInfo {
    pub name: String,
    pub protocol: String,
    pub env: String,
    pub tags: BTreeMap<String, String>,
}

// ---- approvals

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Waits for people.
    Open,
    /// Enough people approved; the waiting action has not taken it yet.
    Approved,
    /// Approved, and used by the action that waited. It is never used again.
    Used,
    Denied,
    Expired,
    /// The client cancelled or went away, the session ended, or Weir restarted.
    Abandoned,
}

/// Which approvals to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ApprovalFilter {
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub state: Option<ApprovalState>,
    /// Only those asked for by this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Only those on this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// At most this many items, 1 to 200; 50 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A link of the principal's chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Actor {
    /// `User`, `Agent` or `Workload`.
    pub kind: String,
    pub subject: String,
    pub groups: Vec<String>,
    /// Who answers for an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub mfa: bool,
    pub autonomous: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BundleRef {
    pub name: String,
    pub version: u64,
    pub digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Risk {
    /// 0 to 100.
    pub score: u8,
    pub labels: Vec<String>,
    pub findings: Vec<Finding>,
    /// `name@version` of the plugins that said so.
    pub plugins: Vec<String>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statement {
    /// `connect`, `select`, `update`, …
    pub kind: String,
    /// In a list it is cut short; in a single approval it is whole.
    pub text: String,
    /// The text above, or one of those below, is not whole.
    pub truncated: bool,
    /// What the text can run by a name alone: prepared statements, cursors, portals. Of a command on a host:
    /// what it is given on standard input, and the variables that it runs with.
    pub runs: Vec<Named>,
    /// Tables it reads, `schema.name`, or paths.
    pub reads: Vec<String>,
    /// Tables it writes, `schema.name`, or paths.
    pub writes: Vec<String>,
    /// Functions it calls, `schema.name`, or programs it runs, with their arguments.
    pub functions: Vec<String>,
    /// Labelled columns, `schema.table.column`, that decide which rows there are, their order or a
    /// branch: what the answer tells of them, no mask hides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub computes: Vec<String>,
    /// Every UPDATE and DELETE in it has a WHERE clause.
    pub has_where: bool,
    /// It could be parsed and resolved in full.
    pub parsed: bool,
    /// Why reading it does not tell what it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opaque: Vec<String>,
}

/// Something that a statement runs by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Named {
    pub name: String,
    /// The text that made it, as it was sent.
    pub text: String,
    /// Values that were bound when it was made.
    pub parameters: Vec<Parameter>,
}

/// A parameter of the statement, exactly as sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "type", content = "value")]
pub enum Parameter {
    Null,
    Text(String),
    /// Sent as text, and not UTF-8: base64.
    Binary(String),
    /// Sent in binary format.
    Encoded(EncodedValue),
}

/// A value in binary format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EncodedValue {
    pub hex: String,
    /// The name of its type, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The value as text, where its type leaves no doubt about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoteKind {
    Approve,
    Deny,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Vote {
    pub rule: String,
    pub voter: String,
    pub kind: VoteKind,
    pub reason: String,
    pub at: Timestamp,
}

/// One rule that must be satisfied, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    pub rule: String,
    /// Groups whose members may vote.
    pub approvers: Vec<String>,
    /// Distinct people needed.
    pub required: u32,
    /// Distinct people who approved so far.
    pub approved: u32,
    pub channels: Vec<String>,
    pub title: String,
    pub body_markdown: String,
}

/// How an approval ended, if by a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// Who gave the vote that decided it.
    pub by: String,
    pub reason: String,
    pub at: Timestamp,
}

/// A hold, as in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalSummary {
    pub id: String,
    /// Where a person can decide it.
    pub url: String,
    pub state: ApprovalState,
    pub opened_at: Timestamp,
    pub expires_at: Timestamp,
    /// Who asks: the actor's subject.
    pub principal: String,
    pub target: String,
    /// Of a PostgreSQL server the database, of an SSH host the login.
    pub database: String,
    pub rules: Vec<String>,
    pub reason: String,
    pub statement: Statement,
    pub risk_score: u8,
}

/// A hold with everything that a person needs to decide it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApprovalDetail {
    pub id: String,
    pub url: String,
    pub state: ApprovalState,
    pub opened_at: Timestamp,
    pub expires_at: Timestamp,
    pub session: String,
    /// The action's number in its session.
    pub seq: u64,
    /// From the human at the head down to who holds the connection.
    pub chain: Vec<Actor>,
    pub issuer: String,
    pub source: String,
    pub target: TargetInfo,
    /// Of a PostgreSQL server the database, of an SSH host the login.
    pub database: String,
    /// Why policy asks for approval.
    pub reason: String,
    pub statement: Statement,
    /// What it would touch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impact: Option<Impact>,
    pub parameters: Vec<Parameter>,
    pub risk: Risk,
    pub bundle: BundleRef,
    /// What an approval is bound to: SHA-256 in hex.
    pub fingerprint: String,
    pub routes: Vec<Route>,
    pub votes: Vec<Vote>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// A denial needs its reason: the client is shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DenyRequest {
    pub reason: String,
}

/// What a vote led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VoteResult {
    pub state: ApprovalState,
    /// The rules that this vote counts for.
    pub counted_for: Vec<String>,
    pub routes: Vec<Route>,
}

// ---- sessions

/// Which sessions to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SessionFilter {
    /// Only live ones (true) or only past ones (false); both by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// At most this many items, 1 to 200; 50 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WatchFilter {
    /// Each line also says in `text` how it reads in `weir replay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionInfo {
    pub id: String,
    pub live: bool,
    /// The actor's kind: `User`, `Agent` or `Workload`.
    pub kind: String,
    /// The actor's subject.
    pub principal: String,
    /// The human at the head of the chain, or who answers for the agent; the actor itself otherwise.
    pub owner: String,
    pub target: String,
    /// `postgres` or `ssh`. Not there: of a session of a time when it was not kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Of a PostgreSQL server the database, of an SSH host the login.
    pub database: String,
    pub source: String,
    /// What the client says of itself.
    pub application: String,
    pub started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How it ended, as far as this machine knows; the evidence has the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillRequest {
    pub reason: String,
}
