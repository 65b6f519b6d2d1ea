//! In-memory implementations of the ports, for tests of protocol crates and adapters.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::action::{Action, Column};
use crate::approval::{ApprovalRule, HoldInfo, HoldOutcome, Route};
use crate::facts::Facts;
use crate::impact::Impact;
use crate::labels::LabelCatalog;
use crate::mask::{MaskBatch, MaskColumn, MaskEdits, MaskPlan};
use crate::ports::{
    Approver, ApproverError, Authorizer, Clock, Hold, HoldRequest, Hooks, KillSwitch, MaskFailed,
    Policy, Ports, Question, Registration, Registry, Ruling,
};
use crate::principal::Principal;
use crate::record::{Durability, EndReason};
use crate::risk::Risk;
use crate::session::{BundleRef, SessionInfo, Target};

mod journal;

pub use journal::{Entry, MemoryJournal};

/// All in-memory ports together, kept so that a test can steer and read them.
#[derive(Clone)]
pub struct Memory {
    pub authorizer: Arc<MemoryAuthorizer>,
    pub hooks: Arc<MemoryHooks>,
    pub approver: Arc<MemoryApprover>,
    pub journal: Arc<MemoryJournal>,
    pub registry: Arc<MemoryRegistry>,
}

impl Memory {
    pub fn new(policy: MemoryPolicy) -> Self {
        Self {
            authorizer: Arc::new(MemoryAuthorizer::new(policy)),
            hooks: Arc::default(),
            approver: Arc::default(),
            journal: Arc::default(),
            registry: Arc::default(),
        }
    }

    pub fn ports(&self) -> Ports {
        Ports {
            authorizer: self.authorizer.clone(),
            hooks: self.hooks.clone(),
            approver: self.approver.clone(),
            journal: self.journal.clone(),
            registry: self.registry.clone(),
            clock: Arc::new(crate::ports::SystemClock),
        }
    }
}

type Decider = dyn Fn(&Question<'_>) -> Ruling + Send + Sync;

/// A policy that is a function. Permits everything and reveals nothing unless told otherwise.
#[derive(Clone)]
pub struct MemoryPolicy {
    pub bundle: BundleRef,
    pub labels: LabelCatalog,
    pub rules: Vec<ApprovalRule>,
    pub decide: Arc<Decider>,
    pub reveal: Arc<dyn Fn(&Column) -> bool + Send + Sync>,
    /// What `Policy::is_indifferent` answers while nothing is labelled.
    pub indifferent: bool,
    pub reads: Durability,
    /// What `Policy::retention_days` answers for every target.
    pub retention_days: Option<u32>,
}

impl MemoryPolicy {
    pub fn permit_all() -> Self {
        Self {
            bundle: BundleRef {
                name: "memory".into(),
                version: 1,
                digest: "00".into(),
            },
            labels: LabelCatalog::default(),
            rules: vec![ApprovalRule {
                name: "test-rule".into(),
                approvers: vec!["approvers".into()],
                required: 1,
                ttl: Duration::from_secs(60),
                description: "approval for tests".into(),
            }],
            decide: Arc::new(|_| Ruling::Permit {
                policies: vec!["grant.all".into()],
            }),
            reveal: Arc::new(|_| false),
            indifferent: false,
            reads: Durability::Fsync,
            retention_days: None,
        }
    }

    /// Permits everything, and says that nothing hangs on what a text means.
    pub fn indifferent() -> Self {
        Self {
            indifferent: true,
            ..Self::permit_all()
        }
    }

    /// Permits everything but the given actions.
    pub fn deny(actions: &'static [Action]) -> Self {
        Self {
            decide: Arc::new(move |q| {
                if q.accesses.iter().any(|a| actions.contains(&a.action)) {
                    Ruling::Deny {
                        policies: vec!["guard.test".into()],
                        reason: "denied by the test".into(),
                    }
                } else {
                    Ruling::Permit {
                        policies: vec!["grant.all".into()],
                    }
                }
            }),
            ..Self::permit_all()
        }
    }

    /// Holds the given actions under `test-rule`.
    pub fn hold(actions: &'static [Action]) -> Self {
        Self {
            decide: Arc::new(move |q| {
                let touched = q.accesses.iter().any(|a| actions.contains(&a.action));
                if touched && !q.approvals.contains("test-rule") {
                    Ruling::NeedsApproval {
                        rules: vec!["test-rule".into()],
                        policies: vec!["guard.test".into()],
                        reason: "held by the test".into(),
                    }
                } else {
                    Ruling::Permit {
                        policies: vec!["grant.all".into()],
                    }
                }
            }),
            ..Self::permit_all()
        }
    }
}

impl Policy for MemoryPolicy {
    fn bundle(&self) -> &BundleRef {
        &self.bundle
    }
    fn authorize(&self, question: &Question<'_>) -> Ruling {
        (self.decide)(question)
    }
    fn reveal(&self, _: &Question<'_>, column: &Column, _: &str) -> bool {
        (self.reveal)(column)
    }
    fn labels(&self) -> &LabelCatalog {
        &self.labels
    }
    fn is_indifferent(&self, _: &Principal, target: &Target) -> bool {
        self.indifferent && !self.labels.reaches(&target.name)
    }
    fn approval_rule(&self, name: &str) -> Option<&ApprovalRule> {
        self.rules.iter().find(|r| &*r.name == name)
    }
    fn durability_of_reads(&self) -> Durability {
        self.reads
    }
    fn retention_days(&self, _: &str) -> Option<u32> {
        self.retention_days
    }
}

pub struct MemoryAuthorizer {
    active: Mutex<Arc<MemoryPolicy>>,
    changed: watch::Sender<BundleRef>,
}

impl MemoryAuthorizer {
    pub fn new(policy: MemoryPolicy) -> Self {
        let (changed, _) = watch::channel(policy.bundle.clone());
        Self {
            active: Mutex::new(Arc::new(policy)),
            changed,
        }
    }

    pub fn activate(&self, policy: MemoryPolicy) {
        let bundle = policy.bundle.clone();
        *self.active.lock() = Arc::new(policy);
        self.changed.send_replace(bundle);
    }
}

impl Authorizer for MemoryAuthorizer {
    fn pin(&self) -> Arc<dyn Policy> {
        self.active.lock().clone()
    }
    fn watch(&self) -> watch::Receiver<BundleRef> {
        self.changed.subscribe()
    }
}

/// Hooks with fixed answers.
#[derive(Default)]
pub struct MemoryHooks {
    pub risk: Mutex<Risk>,
    /// When set, every batch fails.
    pub mask_batch_fails: Mutex<bool>,
    /// The plan for every result schema; pass when absent.
    #[allow(clippy::type_complexity)]
    pub plan: Mutex<Option<Arc<dyn Fn(&[MaskColumn]) -> MaskPlan + Send + Sync>>>,
}

#[async_trait]
impl Hooks for MemoryHooks {
    async fn classify(&self, _: &SessionInfo, _: &Facts) -> Arc<Risk> {
        Arc::new(self.risk.lock().clone())
    }
    async fn route(&self, _: &SessionInfo, _: &Facts, rule: &ApprovalRule, _: &Risk) -> Route {
        Route::from_rule(rule, "held".into())
    }
    async fn mask_plan(&self, _: &SessionInfo, columns: &[MaskColumn]) -> MaskPlan {
        let plan = self.plan.lock().clone();
        plan.map_or_else(|| MaskPlan::pass(columns.len()), |plan| plan(columns))
    }
    async fn mask_batch(
        &self,
        _: &SessionInfo,
        _: &MaskPlan,
        batch: MaskBatch,
    ) -> Result<MaskEdits, MaskFailed> {
        if *self.mask_batch_fails.lock() {
            return Err(MaskFailed {
                plugin: "memory".into(),
                message: "told to fail".into(),
            });
        }
        // Masks every value that contains "secret".
        let mut edits = MaskEdits::default();
        let mut from = 0;
        for (i, end) in batch.ends.iter().enumerate() {
            let value = batch.data.get(from..*end as usize).unwrap_or_default();
            if value.windows(6).any(|w| w == b"secret") {
                edits.indexes.push(u32::try_from(i).unwrap_or(u32::MAX));
                edits.data.extend_from_slice(b"[redacted]");
                edits
                    .ends
                    .push(u32::try_from(edits.data.len()).unwrap_or(u32::MAX));
            }
            from = *end as usize;
        }
        Ok(edits)
    }
}

/// A desk whose votes come from the test.
#[derive(Default)]
pub struct MemoryApprover {
    open: Arc<Mutex<Vec<OpenHold>>>,
    abandoned: Arc<Mutex<Vec<String>>>,
    opened: watch::Sender<usize>,
}

struct OpenHold {
    request: HoldRequest,
    id: String,
    answer: oneshot::Sender<HoldOutcome>,
}

impl MemoryApprover {
    /// Waits until a hold is open and returns its id.
    pub async fn next(&self) -> String {
        let mut opened = self.opened.subscribe();
        loop {
            if let Some(hold) = self.open.lock().last() {
                return hold.id.clone();
            }
            if opened.changed().await.is_err() {
                return String::new();
            }
        }
    }

    /// Approves the hold as `who`.
    pub fn approve(&self, id: &str, who: &str) {
        if let Some(hold) = self.take(id) {
            let fingerprint = hold.request.fingerprint;
            hold.answer
                .send(HoldOutcome::Approved {
                    approvers: vec![who.into()],
                    fingerprint,
                })
                .ok();
        }
    }

    pub fn end(&self, id: &str, outcome: HoldOutcome) {
        if let Some(hold) = self.take(id) {
            hold.answer.send(outcome).ok();
        }
    }

    /// What people are shown of an open hold.
    pub fn facts(&self, id: &str) -> Option<Facts> {
        let open = self.open.lock();
        Some(open.iter().find(|h| h.id == id)?.request.facts.clone())
    }

    /// The labelled columns that an open hold is about.
    pub fn computed(&self, id: &str) -> Vec<Column> {
        let open = self.open.lock();
        let hold = open.iter().find(|h| h.id == id);
        hold.map_or_else(Vec::new, |h| h.request.computed.clone())
    }

    /// What people are shown of what an open hold would touch.
    pub fn impact(&self, id: &str) -> Option<Arc<Impact>> {
        let open = self.open.lock();
        open.iter().find(|h| h.id == id)?.request.impact.clone()
    }

    pub fn abandoned(&self) -> Vec<String> {
        self.abandoned.lock().clone()
    }

    fn take(&self, id: &str) -> Option<OpenHold> {
        let mut open = self.open.lock();
        let at = open.iter().position(|h| h.id == id)?;
        Some(open.remove(at))
    }
}

#[async_trait]
impl Approver for MemoryApprover {
    async fn open(&self, request: HoldRequest) -> Result<Box<dyn Hold>, ApproverError> {
        let (answer, receiver) = oneshot::channel();
        let id = format!("hold-{}-{}", request.session.id_text, request.seq);
        let timeouts = request.routes.iter().map(|r| r.timeout);
        let ttl = timeouts.min().unwrap_or(Duration::from_secs(60));
        let info = HoldInfo {
            url: format!("http://weir.test/approvals/{id}"),
            id: id.clone(),
            rules: request.routes.iter().map(|r| r.rule.clone()).collect(),
            reason: request.reason.clone(),
            expires_at: SystemTime::now() + ttl,
        };
        let mut open = self.open.lock();
        open.push(OpenHold {
            request,
            id,
            answer,
        });
        self.opened.send_replace(open.len());
        Ok(Box::new(MemoryHold {
            info,
            answer: receiver,
            open: self.open.clone(),
            abandoned: self.abandoned.clone(),
        }))
    }
}

struct MemoryHold {
    info: HoldInfo,
    answer: oneshot::Receiver<HoldOutcome>,
    open: Arc<Mutex<Vec<OpenHold>>>,
    abandoned: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Hold for MemoryHold {
    fn info(&self) -> &HoldInfo {
        &self.info
    }
    async fn decided(&mut self) -> HoldOutcome {
        (&mut self.answer).await.unwrap_or(HoldOutcome::Abandoned)
    }
    async fn abandon(self: Box<Self>) {
        self.open.lock().retain(|hold| hold.id != self.info.id);
        self.abandoned.lock().push(self.info.id.clone());
    }
}

type Live = Arc<Mutex<Vec<(Arc<SessionInfo>, KillSwitch)>>>;

/// Remembers the kill switches of live sessions.
#[derive(Default)]
pub struct MemoryRegistry {
    live: Live,
}

impl MemoryRegistry {
    pub fn live(&self) -> Vec<Arc<SessionInfo>> {
        self.live
            .lock()
            .iter()
            .map(|(info, _)| info.clone())
            .collect()
    }

    /// Kills every live session.
    pub fn kill_all(&self) {
        for (_, kill) in self.live.lock().iter() {
            kill.kill(EndReason::Killed {
                by: "test".into(),
                reason: "told to".into(),
            });
        }
    }
}

struct MemoryRegistration {
    live: Live,
    info: Arc<SessionInfo>,
}

impl Registration for MemoryRegistration {}

impl Drop for MemoryRegistration {
    fn drop(&mut self) {
        self.live.lock().retain(|(info, _)| info.id != self.info.id);
    }
}

impl Registry for MemoryRegistry {
    fn register(&self, info: Arc<SessionInfo>, kill: KillSwitch) -> Box<dyn Registration> {
        self.live.lock().push((info.clone(), kill));
        Box::new(MemoryRegistration {
            live: self.live.clone(),
            info,
        })
    }
}

/// A clock that stands where the test puts it.
pub struct FixedClock(pub Mutex<SystemTime>);

impl Clock for FixedClock {
    fn now(&self) -> SystemTime {
        *self.0.lock()
    }
}
