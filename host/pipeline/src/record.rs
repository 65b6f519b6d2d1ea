//! The records of every action, and the frame around a session. Core types: how they are
//! written to disk is the recorder's business.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::action::{Access, Column};
use crate::approval::Fingerprint;
use crate::facts::Facts;
use crate::parameter::Parameter;
use crate::principal::Principal;
use crate::refusal::RefusalKind;
use crate::risk::Risk;
use crate::session::{BundleRef, SessionInfo};

/// Durable before the upstream is dialled.
#[derive(Debug, Clone)]
pub struct SessionStart {
    pub info: Arc<SessionInfo>,
    pub bundle: BundleRef,
    /// For how many days at least its recording is kept, where the bundle wants it kept longer than others.
    /// A bundle that is activated later changes nothing about it.
    pub retention_days: Option<u32>,
}

/// What an action was judged by, beside its facts, accesses and risk: with these, its decision can be
/// made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// The time that policies saw.
    pub asked: SystemTime,
    /// The time that they saw when they were asked again, after people had agreed.
    pub again: Option<SystemTime>,
    /// Labelled columns that can flow into the result.
    pub labelled: Vec<Column>,
    /// Why the result cannot be masked, if it cannot.
    pub unmaskable: Option<&'static str>,
    /// Approval rules that people were to satisfy.
    pub rules: Vec<Arc<str>>,
}

impl Basis {
    pub fn new(asked: SystemTime, unmaskable: Option<&'static str>) -> Self {
        Self {
            asked,
            again: None,
            labelled: Vec::new(),
            unmaskable,
            rules: Vec::new(),
        }
    }

    pub(crate) fn of(self, labelled: Vec<Column>) -> Self {
        Self { labelled, ..self }
    }
}

/// Durable before the action is forwarded.
#[derive(Debug, Clone)]
pub struct Intent {
    pub seq: u64,
    pub at: SystemTime,
    pub facts: Facts,
    pub accesses: Vec<Access>,
    pub risk: Arc<Risk>,
    pub basis: Basis,
    pub bundle: BundleRef,
    /// Policies that permitted it.
    pub policies: Vec<Arc<str>>,
    pub approval: Option<Approval>,
    /// SHA-256 over the exact bytes, parameters included.
    pub fingerprint: Fingerprint,
    /// Parameters of the action as sent, for the transcript.
    pub parameters: Vec<Parameter>,
    /// Names of the labelled columns that stay masked in its result.
    pub masked: Vec<String>,
    /// How safe its record has to be before it is forwarded.
    pub durability: Durability,
}

/// When a record counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When it is on the disk.
    #[default]
    Fsync,
    /// When the operating system has it: a crash of Weir loses nothing, a crash of the machine at most
    /// what was written `within` this time before it.
    Os { within: Duration },
}

/// An action that waits for people from here on. Durable before anybody who waits for it is told; what became
/// of it is its intent or its refusal. With neither, nobody has seen the end of the hold, and it was not forwarded.
#[derive(Debug, Clone)]
pub struct HoldRecord {
    pub seq: u64,
    pub at: SystemTime,
    pub facts: Facts,
    pub accesses: Vec<Access>,
    pub risk: Arc<Risk>,
    pub basis: Basis,
    pub bundle: BundleRef,
    /// Policies that ask for people.
    pub policies: Vec<Arc<str>>,
    pub hold: String,
    /// Why it waits; under which rules is in its basis.
    pub reason: String,
    pub expires_at: SystemTime,
    /// As in its intent, if it comes to one.
    pub fingerprint: Fingerprint,
    pub parameters: Vec<Parameter>,
    /// What people are shown of what it would touch.
    pub shown: Vec<String>,
}

/// The approval under which an action was permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub hold: String,
    pub rules: Vec<Arc<str>>,
    pub approvers: Vec<String>,
    /// What they were shown of what it would touch.
    pub shown: Vec<String>,
}

/// An action that was not forwarded.
#[derive(Debug, Clone)]
pub struct RefusalRecord {
    pub seq: u64,
    pub at: SystemTime,
    pub facts: Facts,
    pub accesses: Vec<Access>,
    pub risk: Arc<Risk>,
    pub basis: Basis,
    pub bundle: BundleRef,
    pub kind: RefusalKind,
    pub reason: String,
    pub policies: Vec<Arc<str>>,
    /// As in its intent, if it had come to one.
    pub fingerprint: Fingerprint,
    pub parameters: Vec<Parameter>,
    pub hold: Option<String>,
    /// What people were shown of what it would touch.
    pub shown: Vec<String>,
}

/// How a forwarded action ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub seq: u64,
    pub at: SystemTime,
    pub kind: OutcomeKind,
    /// The upstream's own words: a command tag or an error code.
    pub detail: String,
    pub rows: u64,
    pub bytes: u64,
    pub elapsed: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    Done,
    /// The upstream answered with an error.
    Failed,
    /// The client cancelled it.
    Cancelled,
    /// Nobody knows: the connection ended first. Recovery writes the same.
    Unknown,
}

/// Which way recorded bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToClient,
    ToUpstream,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    ClientClosed,
    UpstreamClosed,
    /// By an operator.
    Killed {
        by: String,
        reason: String,
    },
    TokenExpired,
    /// The active bundle no longer permits the connection.
    PolicyChanged,
    /// The recorder cannot record: nothing unrecorded passes.
    RecorderFailed,
    ProtocolViolation(String),
    Shutdown,
    Error(String),
}

#[derive(Debug, Clone)]
pub struct SessionEnd {
    pub at: SystemTime,
    pub reason: EndReason,
}

/// An operator's own act on Weir, or something that happened to it.
#[derive(Debug, Clone)]
pub struct ControlEvent {
    pub at: SystemTime,
    pub principal: Option<Arc<Principal>>,
    /// The Cedar action's name, or `recorder:start`, `plugin:failed`, …
    pub action: String,
    pub resource: String,
    /// Permitted and done, or the reason why not.
    pub result: Result<(), String>,
    pub detail: String,
}
