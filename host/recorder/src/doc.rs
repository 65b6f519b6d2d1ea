//! The JSON of records, as `FORMAT.md` describes it. These types are the edge: they are stable, and
//! `convert` fills them by hand from the core's vocabulary. Reading ignores fields it does not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::crypt::key::KeyDoc;

mod ssh;

pub use ssh::{SshCommandDoc, SshDoc, SshHazardDoc, SshPathDoc, SshStdinDoc};

/// The version of the documents below.
pub const DOC_VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartDoc {
    pub v: u32,
    /// Random, so that nobody can find out from the record's hash what it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    pub who: PrincipalDoc,
    pub target: TargetDoc,
    /// `database` or `login`.
    #[serde(flatten)]
    pub scope: ScopeDoc,
    pub source: String,
    pub bundle: BundleDoc,
    /// For how many days at least its segments are to be kept. None: as long as the vault keeps everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// What the client said of itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attrs: BTreeMap<String, String>,
    /// The session's own key, wrapped. It is encrypted with itself, where it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyDoc>,
}

/// The part of the target that a session is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeDoc {
    /// Of a PostgreSQL server.
    Database(String),
    /// Of an SSH host.
    Login(String),
}

impl ScopeDoc {
    pub fn name(&self) -> &str {
        match self {
            Self::Database(name) | Self::Login(name) => name,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrincipalDoc {
    pub actor: ActorDoc,
    /// From the human at the head down to whoever delegated to `actor`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<ActorDoc>,
    pub issuer: String,
    pub expires_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// By what they came in, where it is known; and what the token says of how they were authenticated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorDoc {
    /// `User`, `Agent` or `Workload`.
    pub kind: String,
    pub subject: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default)]
    pub mfa: bool,
    #[serde(default)]
    pub autonomous: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attrs: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetDoc {
    pub name: String,
    pub protocol: String,
    pub env: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleDoc {
    pub name: String,
    pub version: u64,
    pub digest: String,
}

/// What an action was, and what was found out about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionDoc {
    pub facts: FactsDoc,
    pub accesses: Vec<AccessDoc>,
    pub risk: RiskDoc,
    pub bundle: BundleDoc,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// What else it takes to decide again; none in what an earlier Weir wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<BasisDoc>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct BasisDoc {
    /// The time that policies saw, where it is not the record's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_ns: Option<u64>,
    /// The time that they saw after people had agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_ns: Option<u64>,
    /// Labelled columns that can flow into the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labelled: Vec<RelationDoc>,
    /// Why the result cannot be masked, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmaskable: Option<String>,
    /// Approval rules that people were to satisfy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FactsDoc {
    Connect {
        /// `database` or `login`.
        #[serde(flatten)]
        scope: ScopeDoc,
    },
    Sql(SqlDoc),
    Ssh(SshDoc),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SqlDoc {
    pub text: String,
    /// What the text can run by a name alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<NamedDoc>,
    pub kind: String,
    pub parsed: bool,
    pub has_where: bool,
    pub has_limit: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    pub multi_statement: bool,
    pub touches_catalog: bool,
    pub writes: bool,
    pub locks: bool,
    pub read_only_txn: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<RelationDoc>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes_to: Vec<RelationDoc>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedDoc {
    pub name: String,
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterDoc>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationDoc {
    pub name: String,
    /// The parts of the name, where one of them has a dot in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessDoc {
    /// The Cedar action.
    pub action: String,
    /// The Cedar entity type without its namespace.
    #[serde(rename = "type")]
    pub kind: String,
    pub resource: String,
    /// The parts of the resource's name, where one of them has a dot in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// What else is noteworthy, such as `unknown` or `dangerous`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct RiskDoc {
    pub score: u8,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FindingDoc>,
    /// `escalate <rule>` or `refuse <reason>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demands: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginDoc>,
    /// The digest of the set of plugins that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// A classifier used its store or the clock, or failed: asked again, it may say something else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fleeting: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingDoc {
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginDoc {
    pub name: String,
    pub version: String,
    pub digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentDoc {
    /// Random, so that nobody can find out from the record's hash what it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    #[serde(flatten)]
    pub action: ActionDoc,
    /// Always `permit`: the record of a refusal is its own kind.
    pub decision: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalDoc>,
    pub fingerprint: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterDoc>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalDoc {
    pub hold: String,
    pub rules: Vec<String>,
    pub approvers: Vec<String>,
    /// What they were shown of what it would touch, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<String>,
}

/// A parameter of a statement, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterDoc {
    Null,
    /// Valid UTF-8.
    Text(String),
    /// Anything else that was sent as text.
    Hex(String),
    /// Sent in binary format.
    Binary(BinaryDoc),
    /// Too long to be repeated here.
    Large(LargeDoc),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryDoc {
    pub hex: String,
    /// Of its type, where that is known.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The value as text, where the type leaves no doubt about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeDoc {
    pub sha256: String,
    pub bytes: u64,
    /// How it begins.
    pub start: Box<ParameterDoc>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedDoc {
    /// Random, so that nobody can find out from the record's hash what it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    #[serde(flatten)]
    pub action: ActionDoc,
    /// Such as `denied` or `hold-expired`.
    pub kind: String,
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterDoc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<String>,
}

/// An action waits for people: its intent or its refusal comes after this, unless nobody saw the end of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldDoc {
    /// Random, so that nobody can find out from the record's hash what it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    #[serde(flatten)]
    pub action: ActionDoc,
    /// Always `held`.
    pub decision: String,
    pub hold: String,
    pub reason: String,
    /// Nobody can approve it any more from then on.
    pub expires_ns: u64,
    pub fingerprint: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<ParameterDoc>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shown: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeDoc {
    /// Random, so that nobody can find out from the record's hash what it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    /// `done`, `failed`, `cancelled` or `unknown`.
    pub outcome: String,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub rows: u64,
    #[serde(default)]
    pub bytes: u64,
    #[serde(default)]
    pub elapsed_us: u64,
}

impl OutcomeDoc {
    /// Nobody knows how it ended, and nobody has counted anything.
    pub fn is_unknown(&self) -> bool {
        let unknown = Self {
            salt: self.salt.clone(),
            ..Self::unknown()
        };
        *self == unknown
    }

    /// Nobody knows how the action ended.
    pub fn unknown() -> Self {
        Self {
            salt: String::new(),
            outcome: "unknown".into(),
            detail: String::new(),
            rows: 0,
            bytes: 0,
            elapsed_us: 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndDoc {
    /// Random, so that nobody can find out from the record's hash what it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    /// Such as `client-closed` or `interrupted`.
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl EndDoc {
    /// Its salt is given when it is written.
    pub fn new(reason: &str, detail: &str) -> Self {
        Self {
            salt: String::new(),
            reason: reason.to_owned(),
            detail: detail.to_owned(),
        }
    }
}

/// The first record of a control stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlStartDoc {
    pub v: u32,
    pub software: String,
    /// The control stream before this one in the same spool, and its chain at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<StreamRefDoc>,
    /// The stream's own key, wrapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyDoc>,
    /// Ends of log files that were cut off, since they held a write that never finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub truncated: Vec<TruncatedDoc>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruncatedDoc {
    pub file: String,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRefDoc {
    pub stream: String,
    pub records: u64,
    pub chain: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlDoc {
    /// Random, so that nobody can find out from the record's hash what it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<PrincipalDoc>,
    pub action: String,
    pub resource: String,
    /// None: permitted and done. Otherwise why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// A session's key is destroyed after this was written; how that ended is told by another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureDoc {
    /// Random, so that nobody can find out from the record's hash what it says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    pub session: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<PrincipalDoc>,
    pub reason: String,
    /// None: it begins. Otherwise `done`, or what remains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapDoc {
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// The state of a stream after a segment was sealed, or carried forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkDoc {
    pub stream: String,
    pub control: bool,
    pub started_ns: u64,
    /// Records that are in sealed segments.
    pub records: u64,
    /// The stream's chain after them.
    pub chain: String,
    pub next_segment: u32,
    /// Actions without an outcome so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<u64>,
    /// The stream's last record is in a sealed segment.
    pub ended: bool,
    /// The segment's key, when one was sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its segments are encrypted with a key of the stream's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// What the leaves of the stream's records say of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionPart>,
    /// How long its segments are to be kept, where that is known and the start that said it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
}

impl MarkDoc {
    pub fn kept_for(&self) -> Option<u32> {
        let said = self.session.as_ref().and_then(|s| s.retention_days);
        said.max(self.retention_days)
    }
}

/// Of a session, what stands in each of its leaves, and what its segments have to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPart {
    /// None: PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// As in its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    pub target: String,
    pub who: WhoPart,
}

/// A principal without its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoPart {
    /// On whose behalf, from the human at the head.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub act: Vec<String>,
    pub id: String,
    pub kind: String,
}
