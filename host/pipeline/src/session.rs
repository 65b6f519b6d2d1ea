//! One authenticated connection of a principal to a target.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::action::Access;
use crate::decide::{Caller, decide};
use crate::facts::Facts;
use crate::permit::{Receipt, Request};
use crate::ports::{
    JournalError, KillSwitch, Policy, Ports, Question, Registration, Ruling, SessionJournal,
};
use crate::principal::Principal;
use crate::record::{Direction, EndReason, Outcome, OutcomeKind, SessionEnd, SessionStart};
use crate::refusal::{Fault, Refusal, RefusalKind};
use crate::risk::Risk;
use crate::unasked::{Flood, Maker, USUAL};

/// A UUIDv7: sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub uuid::Uuid);

impl SessionId {
    pub fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }
}

impl Default for SessionId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl std::str::FromStr for SessionId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Postgres,
    Ssh,
}

impl Protocol {
    pub const ALL: [Self; 2] = [Self::Postgres, Self::Ssh];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Ssh => "ssh",
        }
    }
}

/// One configured upstream, without its address and credential: those stay in the protocol crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: Arc<str>,
    pub protocol: Protocol,
    /// One of the schema's `Env` entities, such as `prod`.
    pub env: Arc<str>,
    pub tags: BTreeMap<String, String>,
}

/// Which bundle decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleRef {
    pub name: Arc<str>,
    pub version: u64,
    /// SHA-256 over the bundle's files, in hex.
    pub digest: Arc<str>,
}

/// What is known about a session from its start; never changes.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    pub id: SessionId,
    /// `id` as text: asked for on every decision.
    pub id_text: Arc<str>,
    pub principal: Arc<Principal>,
    pub target: Arc<Target>,
    /// The part of the target that it is in: a database of a PostgreSQL server, a login of an SSH host.
    pub scope: Arc<str>,
    pub source: IpAddr,
    pub started: SystemTime,
    /// What the client said of itself, such as `application_name`. Never used to decide.
    pub attrs: BTreeMap<String, String>,
}

/// An open session: connecting was permitted and its start is on record.
pub struct Session {
    pub(crate) info: Arc<SessionInfo>,
    pub(crate) ports: Ports,
    pub(crate) journal: Arc<dyn SessionJournal>,
    connect: Vec<Access>,
    /// Approval rules under which connecting was permitted; none as long as that is being decided.
    connect_approvals: Option<BTreeSet<Arc<str>>>,
    seq: AtomicU64,
    killed: watch::Receiver<Option<EndReason>>,
    /// Why it must end, once that was seen: it does not begin again when the cause goes away.
    ended: OnceLock<EndReason>,
    /// Refusals without a decision.
    pub(crate) flood: Mutex<Flood<Maker>>,
    _registration: Box<dyn Registration>,
}

impl Session {
    /// Records the session's start, then decides whether the principal may connect. `connect` names
    /// the accesses that this needs.
    pub async fn open(
        ports: Ports,
        info: Arc<SessionInfo>,
        connect: Vec<Access>,
        caller: Caller<'_>,
    ) -> Result<Self, Refusal> {
        let policy = ports.authorizer.pin();
        let start = SessionStart {
            info: info.clone(),
            bundle: policy.bundle().clone(),
            retention_days: policy.retention_days(&info.target.name),
        };
        let journal = ports.journal.open(start).await.map_err(not_recorded)?;
        let (kill, killed) = KillSwitch::new();
        let registration = ports.registry.register(info.clone(), kill);
        let mut session = Self {
            info: info.clone(),
            ports,
            journal,
            connect: connect.clone(),
            connect_approvals: None,
            seq: AtomicU64::new(0),
            killed,
            ended: OnceLock::new(),
            flood: Mutex::new(Flood::new(USUAL, Instant::now())),
            _registration: registration,
        };
        let facts = Facts::Connect {
            protocol: info.target.protocol,
            scope: info.scope.clone(),
        };
        let request = Request {
            policy,
            facts,
            accesses: connect,
            labelled: Vec::new(),
            computed: Vec::new(),
            unmaskable: None,
            canonical: format!("connect\0{}", info.scope).into_bytes(),
            parameters: Vec::new(),
            payload: (),
        };
        match decide(&session, request, caller).await {
            Ok(permitted) => {
                let ((), receipt) = permitted.release();
                session.connect_approvals = Some(receipt.approvals.clone());
                if let Err(e) = session.outcome(receipt, OutcomeKind::Done, "", 0, 0).await {
                    let refusal = not_recorded(e);
                    session.close(EndReason::RecorderFailed).await.ok();
                    return Err(refusal);
                }
                Ok(session)
            }
            Err(refusal) => {
                session
                    .close(EndReason::Error(refusal.reason.clone()))
                    .await
                    .ok();
                Err(refusal)
            }
        }
    }

    pub fn info(&self) -> &Arc<SessionInfo> {
        &self.info
    }

    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The bundle for the next statement.
    pub fn pin(&self) -> Arc<dyn Policy> {
        self.ports.authorizer.pin()
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.seq.fetch_add(1, Ordering::Relaxed)
    }

    /// Finishes an action that was forwarded.
    pub async fn outcome(
        &self,
        receipt: Receipt,
        kind: OutcomeKind,
        detail: &str,
        rows: u64,
        bytes: u64,
    ) -> Result<(), JournalError> {
        self.journal
            .outcome(Outcome {
                seq: receipt.seq,
                at: self.ports.clock.now(),
                kind,
                detail: detail.to_owned(),
                rows,
                bytes,
                elapsed: receipt.took.unwrap_or_else(|| receipt.started.elapsed()),
            })
            .await
    }

    /// Records bytes of action `seq` as they passed, after masking.
    pub async fn record(&self, seq: u64, way: Direction, bytes: Bytes) -> Result<(), JournalError> {
        self.journal.bytes(seq, way, bytes).await
    }

    /// Makes what was recorded of this session so far durable.
    pub async fn settle(&self) -> Result<(), JournalError> {
        self.journal.settle().await
    }

    /// Resolves when the session must end: killed, expired, no longer permitted, or unrecordable.
    /// Then it resolves at once, for everyone, with the same reason. Cancel safe; may be awaited by
    /// several tasks.
    pub async fn ended(&self) -> EndReason {
        if let Some(reason) = self.ended.get() {
            return reason.clone();
        }
        let reason = self.cause_to_end().await;
        self.ended.get_or_init(|| reason).clone()
    }

    async fn cause_to_end(&self) -> EndReason {
        let mut killed = self.killed.clone();
        let mut bundles = self.ports.authorizer.watch();
        bundles.mark_changed();
        let recorder_failed = self.journal.failed();
        let left = self
            .info
            .principal
            .expires_at
            .duration_since(self.ports.clock.now())
            .unwrap_or_default();
        let expiry = tokio::time::sleep(left);
        tokio::pin!(expiry);
        loop {
            tokio::select! {
                biased;
                reason = killed.wait_for(Option::is_some) => {
                    return match reason {
                        Ok(reason) => reason.clone().unwrap_or(EndReason::Shutdown),
                        // The registry is gone: nobody could kill this session any more.
                        Err(_) => EndReason::Shutdown,
                    };
                }
                () = recorder_failed.cancelled() => return EndReason::RecorderFailed,
                () = &mut expiry => return EndReason::TokenExpired,
                changed = bundles.changed() => {
                    if changed.is_err() {
                        return EndReason::Shutdown;
                    }
                    if !self.may_still_connect() {
                        return EndReason::PolicyChanged;
                    }
                }
            }
        }
    }

    /// Does the active bundle permit this connection as it was permitted when it opened?
    fn may_still_connect(&self) -> bool {
        let Some(approvals) = &self.connect_approvals else {
            // It is not permitted yet. People may be asked whether it is; `decide` sees what they say, and that
            // the bundle is still the one that they were asked under.
            return true;
        };
        let policy = self.pin();
        let facts = Facts::Connect {
            protocol: self.info.target.protocol,
            scope: self.info.scope.clone(),
        };
        let risk = Risk::default();
        let ruling = policy.authorize(&Question {
            principal: &self.info.principal,
            source: self.info.source,
            session: &self.info.id_text,
            now: self.ports.clock.now(),
            facts: Some(&facts),
            risk: &risk,
            approvals,
            accesses: &self.connect,
        });
        matches!(ruling, Ruling::Permit { .. })
    }

    /// Writes the last record and seals the session's segments.
    pub async fn close(self, reason: EndReason) -> Result<(), JournalError> {
        self.tell_left_out().await;
        self.journal
            .close(SessionEnd {
                at: self.ports.clock.now(),
                reason,
            })
            .await
    }
}

pub(crate) fn not_recorded(error: JournalError) -> Refusal {
    tracing::error!(%error, "refusing: the recorder cannot record");
    Refusal::new(
        RefusalKind::NotRecorded,
        Fault::Storage,
        "this cannot be recorded at the moment, so it is not done",
    )
    .hint("Weir refuses what it cannot record. Ask the operators of Weir to look at the recorder.")
}
