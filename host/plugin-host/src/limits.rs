//! Every limit and deadline of a plugin, in one place.

use std::time::Duration;

use crate::events::Hook;

/// One epoch: how long a busy plugin keeps a thread before it yields.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// The largest component that is admitted.
pub(crate) const COMPONENT_BYTES: usize = 32 << 20;
/// The largest precompiled artifact that is read back.
pub(crate) const ARTIFACT_BYTES: u64 = 512 << 20;
/// Plugins in one process.
pub(crate) const PLUGINS: usize = 64;
/// Length of a plugin's name, its own or the operator's.
pub(crate) const NAME_BYTES: usize = 64;
/// Entries and bytes of one plugin's configuration.
pub(crate) const CONFIG_ENTRIES: usize = 256;
pub(crate) const CONFIG_BYTES: usize = 64 << 10;

/// Native stack of guest code, and of the fiber that it runs on.
pub(crate) const WASM_STACK: usize = 512 << 10;
pub(crate) const FIBER_STACK: usize = 1 << 20;
/// Parts of one component.
pub(crate) const CORE_INSTANCES: u32 = 8;
pub(crate) const MEMORIES: u32 = 2;
pub(crate) const TABLES: u32 = 8;
pub(crate) const TABLE_ELEMENTS: usize = 20_000;
/// Memory and tables that a pool slot keeps for the next instance (cleared, of course).
pub(crate) const MEMORY_KEPT: usize = 4 << 20;
pub(crate) const TABLE_KEPT: usize = 64 << 10;
/// Of linear memory.
pub(crate) const WASM_PAGE: u64 = 64 << 10;

/// Bytes that one call can hand to the host, in an answer or to an import.
pub(crate) const ANSWER_BYTES: usize = 20 << 20;
/// Protocols that a plugin names.
pub(crate) const PROTOCOLS: usize = 16;
pub(crate) const LABELS: usize = 32;
pub(crate) const LABEL_BYTES: usize = 128;
pub(crate) const FINDINGS: usize = 64;
pub(crate) const TEXT_BYTES: usize = 2048;
pub(crate) const COLUMNS: usize = 4096;
pub(crate) const DETECTORS: usize = 64;
/// What a plan carries from `make-plan` to `mask-batch`.
pub(crate) const STATE_BYTES: usize = 64 << 10;
/// Values of one batch, and what they may become. A larger value cannot be inspected.
pub(crate) const BATCH_BYTES: usize = 8 << 20;
pub(crate) const EDIT_BYTES: usize = 16 << 20;
pub(crate) const APPROVERS: usize = 64;
pub(crate) const CHANNELS: usize = 16;
pub(crate) const TITLE_BYTES: usize = 512;
pub(crate) const BODY_BYTES: usize = 32 << 10;
/// Plans remembered for one set of plugins.
pub(crate) const PLANS: usize = 1024;
/// Answers of classifiers remembered for one set of plugins; twice as many at most.
pub(crate) const RISKS: usize = 1024;
/// The longest text that one is remembered for.
pub(crate) const RISK_TEXT: usize = 4 << 10;

pub(crate) const KV_ENTRIES: usize = 1024;
pub(crate) const KV_KEY_BYTES: usize = 256;
pub(crate) const KV_VALUE_BYTES: usize = 64 << 10;
pub(crate) const KV_BYTES: usize = 1 << 20;

pub(crate) const LOG_BYTES: usize = 1024;
pub(crate) const LOG_FIELDS: usize = 8;
pub(crate) const LOGS_PER_SECOND: u32 = 50;
/// Failures of one plugin that are logged as errors; all of them become events.
pub(crate) const FAILURE_LOGS_PER_SECOND: u32 = 1;

/// What differs from machine to machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Linear memory of one instance, all its memories together.
    pub memory_bytes: usize,
    /// Calls at the same time; more wait for their turn, at most until their deadline.
    pub concurrent_calls: u32,
    /// Time that a call may keep a thread busy.
    pub classify: Duration,
    pub route: Duration,
    pub plan: Duration,
    pub batch: Duration,
    /// `describe` and `check-config`.
    pub admission: Duration,
    /// Time from call to answer, waiting included. It is long, because on a busy machine a call
    /// waits for threads: the limits above end a plugin that misbehaves, this one is a backstop.
    pub wall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            concurrent_calls: 64,
            classify: Duration::from_millis(50),
            route: Duration::from_millis(50),
            plan: Duration::from_millis(50),
            batch: Duration::from_millis(250),
            admission: Duration::from_millis(1000),
            wall: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// Epochs that a call may be running for.
    pub(crate) fn ticks(&self, hook: Hook) -> u64 {
        let time = match hook {
            Hook::Classify => self.classify,
            Hook::Route => self.route,
            Hook::MaskPlan => self.plan,
            Hook::MaskBatch => self.batch,
            Hook::Admission => self.admission,
        };
        u64::try_from(time.as_micros() / TICK.as_micros()).unwrap_or(u64::MAX)
    }
}
