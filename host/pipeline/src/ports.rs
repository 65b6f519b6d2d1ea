//! The ports: what the decision needs from the outside. Adapters implement them; nothing here knows
//! how.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::action::{Access, Column};
use crate::approval::{ApprovalRule, Fingerprint, HoldInfo, HoldOutcome, Route};
use crate::facts::Facts;
use crate::impact::Impact;
use crate::labels::LabelCatalog;
use crate::mask::{MaskBatch, MaskColumn, MaskEdits, MaskPlan};
use crate::parameter::Parameter;
use crate::principal::Principal;
use crate::record::{
    ControlEvent, Direction, Durability, EndReason, HoldRecord, Intent, Outcome, RefusalRecord,
    SessionEnd, SessionStart,
};
use crate::risk::Risk;
use crate::session::{BundleRef, SessionInfo, Target};

/// Everything a protocol crate gets. Cheap to clone.
#[derive(Clone)]
pub struct Ports {
    pub authorizer: Arc<dyn Authorizer>,
    pub hooks: Arc<dyn Hooks>,
    pub approver: Arc<dyn Approver>,
    pub journal: Arc<dyn Journal>,
    pub registry: Arc<dyn Registry>,
    pub clock: Arc<dyn Clock>,
}

pub trait Clock: Send + Sync {
    fn now(&self) -> SystemTime;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The active policy bundle.
pub trait Authorizer: Send + Sync {
    /// The bundle that is active now, for one statement: facts, decision and re-evaluation after a
    /// hold all name it.
    fn pin(&self) -> Arc<dyn Policy>;
    /// Changes with every activation.
    fn watch(&self) -> watch::Receiver<BundleRef>;
}

/// One bundle, immutable.
pub trait Policy: Send + Sync {
    fn bundle(&self) -> &BundleRef;
    /// All accesses must be permitted, for every link of the principal's chain. Pure, and total:
    /// an evaluation error is a denial. `data:compute` is permitted also to whom `data:reveal` is,
    /// unless a policy forbids it.
    fn authorize(&self, question: &Question<'_>) -> Ruling;
    /// May this principal see the column's values?
    fn reveal(&self, question: &Question<'_>, column: &Column, database: &str) -> bool;
    fn labels(&self) -> &LabelCatalog;
    /// Proven, not tried out: whatever a text does on this target, every link of the chain is
    /// permitted to do it, under any condition, and nothing there has a label. Then nothing hangs on
    /// what the text means. Without a proof, no.
    fn is_indifferent(&self, _: &Principal, _: &Target) -> bool {
        false
    }
    fn approval_rule(&self, name: &str) -> Option<&ApprovalRule>;
    /// How safe the intent of a mere read has to be before it is forwarded. Whatever else there is
    /// (see [`crate::decide()`]) has to be on the disk.
    fn durability_of_reads(&self) -> Durability {
        Durability::Fsync
    }
    /// For how many days at least what is recorded of sessions to this target is kept. None: as long as
    /// everything else.
    fn retention_days(&self, _target: &str) -> Option<u32> {
        None
    }
}

/// What is asked of a bundle.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub principal: &'a Principal,
    pub source: IpAddr,
    /// The session's id; empty on the control plane.
    pub session: &'a str,
    pub now: SystemTime,
    pub facts: Option<&'a Facts>,
    pub risk: &'a Risk,
    /// Approval rules satisfied for exactly this request.
    pub approvals: &'a BTreeSet<Arc<str>>,
    pub accesses: &'a [Access],
}

/// A bundle's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// By these policies.
    Permit { policies: Vec<Arc<str>> },
    Deny {
        policies: Vec<Arc<str>>,
        reason: String,
    },
    /// It would be permitted if exactly these approval rules were satisfied.
    NeedsApproval {
        rules: Vec<Arc<str>>,
        policies: Vec<Arc<str>>,
        reason: String,
    },
}

/// Plugins. Every failure has been mapped to its fail-closed outcome by the implementation, so
/// nothing here returns an error that a caller could ignore.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// A trap, timeout or limit is risk 100 and the label `plugin-failed`.
    async fn classify(&self, session: &SessionInfo, facts: &Facts) -> Arc<Risk>;
    /// How people are asked, under `rule`; the caller holds it to the rule's floor. A failed router
    /// gives the rule's own route.
    async fn route(
        &self,
        session: &SessionInfo,
        facts: &Facts,
        rule: &ApprovalRule,
        risk: &Risk,
    ) -> Route;
    /// One action per column. A failed masker redacts every column it was asked about.
    async fn mask_plan(&self, session: &SessionInfo, columns: &[MaskColumn]) -> MaskPlan;
    /// Edits for the values of `Inspect` columns. An error means: redact every value of the batch.
    async fn mask_batch(
        &self,
        session: &SessionInfo,
        plan: &MaskPlan,
        batch: MaskBatch,
    ) -> Result<MaskEdits, MaskFailed>;
}

/// A masker trapped, timed out, hit a limit or answered nonsense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the masking plugin {plugin} failed: {message}")]
pub struct MaskFailed {
    pub plugin: String,
    pub message: String,
}

/// A request for people's approval.
#[derive(Debug, Clone)]
pub struct HoldRequest {
    pub session: Arc<SessionInfo>,
    pub seq: u64,
    pub facts: Facts,
    pub risk: Risk,
    pub bundle: BundleRef,
    pub fingerprint: Fingerprint,
    pub parameters: Vec<Parameter>,
    /// Labelled columns that it computes with.
    pub computed: Vec<Column>,
    /// What it would touch, as far as anybody looked.
    pub impact: Option<Arc<Impact>>,
    pub reason: String,
    /// One per approval rule; all must be satisfied.
    pub routes: Vec<Route>,
}

/// The desk where people decide.
#[async_trait]
pub trait Approver: Send + Sync {
    /// Registers the hold durably and tells whoever must know.
    async fn open(&self, request: HoldRequest) -> Result<Box<dyn Hold>, ApproverError>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApproverError {
    #[error("too many holds are open ({0})")]
    TooMany(usize),
    #[error("the approval store failed: {0}")]
    Store(String),
}

/// One open hold. Dropping it without `decided` or `abandon` abandons it.
#[async_trait]
pub trait Hold: Send {
    fn info(&self) -> &HoldInfo;
    /// Waits for the outcome, at most until it expires. Cancel safe. An approval is consumed by
    /// being returned here: it is never valid twice.
    async fn decided(&mut self) -> HoldOutcome;
    /// The client went away or cancelled. If people approved at the same moment, the approval is
    /// void.
    async fn abandon(self: Box<Self>);
}

/// The evidence.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Durable when it returns.
    async fn open(&self, start: SessionStart) -> Result<Arc<dyn SessionJournal>, JournalError>;
    /// An operator's act. Durable when it returns.
    async fn event(&self, event: ControlEvent) -> Result<(), JournalError>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("the recorder failed and accepts nothing more: {0}")]
    Poisoned(String),
    #[error("the recording spool is full ({used} of {limit} bytes)")]
    SpoolFull { used: u64, limit: u64 },
    #[error("a record of {size} bytes is larger than the {limit} that can be recorded")]
    TooLarge { size: u64, limit: u64 },
    #[error("the recorder is shutting down")]
    Closed,
    #[error("the recording cannot be encrypted: {0}")]
    Keys(String),
}

/// The records of one session, in order.
#[async_trait]
pub trait SessionJournal: Send + Sync {
    /// Durable when it returns. If it fails, the action must not wait: it is refused.
    async fn held(&self, held: HoldRecord) -> Result<(), JournalError>;
    /// Durable when it returns. If it fails, the action must not be forwarded.
    async fn intent(&self, intent: Intent) -> Result<(), JournalError>;
    /// Durable soon; never lost in order behind a later intent.
    async fn refused(&self, refusal: RefusalRecord) -> Result<(), JournalError>;
    async fn outcome(&self, outcome: Outcome) -> Result<(), JournalError>;
    /// Bytes as they passed, after masking. Waits while the recorder is behind.
    async fn bytes(&self, seq: u64, way: Direction, bytes: Bytes) -> Result<(), JournalError>;
    /// Durable when it returns: everything of this session so far.
    async fn settle(&self) -> Result<(), JournalError>;
    /// Cancelled when recording this session has become impossible: it must end.
    fn failed(&self) -> CancellationToken;
    /// Seals the session's segments and hands them to the uploader.
    async fn close(&self, end: SessionEnd) -> Result<(), JournalError>;
}

/// Who is connected, for people and for kill switches.
pub trait Registry: Send + Sync {
    /// The registration lasts as long as the returned guard.
    fn register(&self, info: Arc<SessionInfo>, kill: KillSwitch) -> Box<dyn Registration>;
}

/// Removes the session from the registry when dropped.
pub trait Registration: Send + Sync {}

/// Ends one session; cheap to clone.
#[derive(Clone)]
pub struct KillSwitch {
    tx: Arc<watch::Sender<Option<EndReason>>>,
}

impl KillSwitch {
    pub(crate) fn new() -> (Self, watch::Receiver<Option<EndReason>>) {
        let (tx, rx) = watch::channel(None);
        (Self { tx: Arc::new(tx) }, rx)
    }

    /// The first reason stays.
    pub fn kill(&self, reason: EndReason) {
        self.tx.send_if_modified(|slot| {
            if slot.is_none() {
                *slot = Some(reason);
                true
            } else {
                false
            }
        });
    }
}
