//! Checks what was recorded: hashes, chains, order, completeness. Trusts nothing it reads.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::chain::Hash;
use crate::convert::ns;
use crate::crypt::read::KeyLoss;
use crate::doc::{ControlStartDoc, MarkDoc, StreamRefDoc};
use crate::keys::SegmentKey;
use crate::log;
use crate::log::check::{KeptCheckpoint, LogFinding, Logs, TrustedKey};
use crate::log::registry_check::{RegistryReport, WitnessPolicy};
use crate::objects::StoreError;
use crate::record::{Kind, NO_STREAM, Record};
use crate::snapshots::{self, SnapshotFinding};
use crate::spool::Spool;
use crate::store::{Days, Store};

/// A segment may be stored this long before the control segment that vouches for it, and a clock may
/// differ from another: the greatest age of a segment, and a reserve.
pub const ANCHOR_LAG: Duration = Duration::from_secs(25 * 60 * 60);

/// What is verified. The default is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    pub days: Days,
    pub session: Option<Uuid>,
    /// The spool of the Weir that writes to the store, if it is at hand: what waits there is not
    /// missing, and what its log vouches for must be somewhere.
    pub spool: Option<PathBuf>,
    /// Keys whose logs are believed. None: whatever signed, and the report says what did.
    pub log_keys: Vec<TrustedKey>,
    /// Checkpoints that somebody kept: what they cover must still be there.
    pub kept: Vec<KeptCheckpoint>,
    /// Which witnesses must have signed the registries of logs.
    pub policy: Option<WitnessPolicy>,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the spool cannot be read: {0}")]
    Spool(#[from] std::io::Error),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub sessions: u64,
    /// Sessions with an end record.
    pub complete: u64,
    pub control_streams: u64,
    /// Control streams that no later one names: one for every Weir that writes here.
    pub chains: u64,
    pub segments: u64,
    pub records: u64,
    pub intents: u64,
    pub outcomes: u64,
    /// Outcomes that nobody knows.
    pub unknown: u64,
    pub refusals: u64,
    /// Actions that waited for people, and those of them of which nobody saw the end: they were not forwarded.
    pub held: u64,
    pub unanswered: u64,
    /// Recorded bytes of results and data.
    pub bytes: u64,
    /// Segments that a control stream vouches for.
    pub anchors: u64,
    /// Transparency logs, those of them that name no other as the one before, their leaves, and signed
    /// checkpoints of them.
    pub logs: u64,
    pub log_chains: u64,
    pub leaves: u64,
    pub checkpoints: u64,
    /// Bundles, plugins and sets of plugins.
    pub snapshots: u64,
    /// The keys that signed them, in the form in which they are trusted.
    pub signers: Vec<String>,
    /// The logs of all logs.
    pub registries: Vec<RegistryReport>,
    /// Segments that are what was stored, and that nobody here can read.
    pub opaque: u64,
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Nothing is wrong. An unfinished session is not wrong by itself, nor is a gap that the
    /// recorder itself has written down.
    pub fn is_ok(&self) -> bool {
        self.severity() < Severity::Failure
    }

    /// The worst of it.
    pub fn severity(&self) -> Severity {
        let all = self.findings.iter().map(Finding::severity);
        all.max().unwrap_or(Severity::Note)
    }
}

/// One thing that an auditor wants to know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("{key} cannot be read: {why}")]
    Unreadable { key: String, why: String },
    #[error("{key} is altered: {why}")]
    Altered { key: String, why: String },
    #[error("{0} is not an object of Weir")]
    Stranger(String),
    #[error("segment {segment} of {stream} is missing")]
    MissingSegment { stream: Uuid, segment: u32 },
    #[error("{key} is missing, but control stream {control} vouches for it")]
    MissingAnchored { key: String, control: Uuid },
    #[error("{control} vouches for {key} with another chain or number of records")]
    AnchorMismatch { key: String, control: Uuid },
    #[error("there are two different segments {segment} of {stream}")]
    TwoVersions { stream: Uuid, segment: u32 },
    #[error("segment {segment} of {stream} does not continue the one before")]
    Broken { stream: Uuid, segment: u32 },
    #[error("{stream}: record {record} does not belong where it is: {why}")]
    Misplaced {
        stream: Uuid,
        record: u64,
        why: &'static str,
    },
    #[error("{stream}: action {seq} was permitted, and has no outcome")]
    NoOutcome { stream: Uuid, seq: u64 },
    #[error("control stream {missing}, which came before {stream}, is missing or differs")]
    MissingControl { stream: Uuid, missing: String },
    #[error("{stream}: record {record} has kind {kind}, which this Weir does not know")]
    UnknownKind { stream: Uuid, record: u64, kind: u8 },
    #[error("{stream} has no end: it is still open, or its last segments are not stored yet")]
    Unfinished { stream: Uuid },
    #[error("{stream}: the recorder noted a gap: {what}")]
    Gap { stream: Uuid, what: String },
    #[error(
        "{stream}: {bytes} bytes at the end of log file {file} were cut off at the start: a write that \
         never finished, so nobody was told that it had"
    )]
    Truncated {
        stream: Uuid,
        file: String,
        bytes: u64,
    },
    #[error("no control stream vouches for {key}")]
    Unanchored { key: String },
    #[error(
        "no control stream vouches yet for {segments} segment(s), the first of them {first}: what will \
         is not stored yet"
    )]
    NotAnchoredYet { segments: u64, first: String },
    #[error(transparent)]
    Log(LogFinding),
    #[error(transparent)]
    Snapshot(SnapshotFinding),
    #[error("there is no transparency log")]
    NoLog,
    #[error("control stream {0} has no transparency log")]
    NoLogOf(Uuid),
    #[error("the transparency log of control stream {0} is lost; a gap is on record")]
    LostLog(Uuid),
    #[error("{stream}: record {record} is not what its leaf in log {log} says")]
    LeafMismatch {
        stream: Uuid,
        record: u64,
        log: Uuid,
    },
    #[error(
        "{stream}: {records} record(s) have no leaf in any log, the first of them record {first}"
    )]
    Unlogged {
        stream: Uuid,
        first: u64,
        records: u64,
    },
    #[error("{records} record(s) have no leaf in a stored log yet, the first of them of {first}")]
    NotLoggedYet { records: u64, first: Uuid },
    #[error(
        "{stream}: log {log} has leaves of {records} record(s) that are missing, the first of them \
         record {first}"
    )]
    MissingRecords {
        stream: Uuid,
        first: u64,
        records: u64,
        log: Uuid,
    },
    #[error(
        "{stream}: log {log} has leaves of {records} record(s) that are lost, the first of them \
         record {first}; a gap is on record"
    )]
    Lost {
        stream: Uuid,
        first: u64,
        records: u64,
        log: Uuid,
    },
    #[error(
        "the content of {segments} segment(s) of {streams} stream(s) was not checked: it is encrypted, and \
         no key was given (--key-file or --config)"
    )]
    NotRead { streams: u64, segments: u64 },
    #[error("session {session} was erased at {time}{}, leaf {leaf} of log {log}", by(.who))]
    Erased {
        session: Uuid,
        time: String,
        who: Option<String>,
        log: Uuid,
        leaf: u64,
    },
    #[error("an object says that session {0} was erased, and no leaf of a log says the same")]
    ErasureUnknown(Uuid),
    #[error("the key of {0} is missing, and no log says that it was erased")]
    KeyMissing(Uuid),
    #[error("the key of {stream}: {why}")]
    KeyWrong { stream: Uuid, why: String },
    #[error("the key of session {0} is still there, though a log says that it was erased")]
    KeyStillThere(Uuid),
    #[error("{0} is not stored yet")]
    Waiting(String),
    #[error("there is no recording at all: is the store's name or its prefix misspelt?")]
    Empty,
    #[error("nothing is stored yet; the spool's log has {records} record(s)")]
    NothingStored { records: u64 },
    #[error("there is no recording of session {0}")]
    NoSession(Uuid),
}

fn by(who: &Option<String>) -> String {
    who.as_ref()
        .map_or(String::new(), |who| format!(" by {who}"))
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Not wrong by itself.
    Note,
    /// Something is missing, and the recorder itself has written that down.
    Gap,
    /// What is here is not what was recorded.
    Failure,
}

impl Finding {
    pub fn severity(&self) -> Severity {
        match self {
            Self::Unfinished { .. }
            | Self::Truncated { .. }
            | Self::NotAnchoredYet { .. }
            | Self::NotLoggedYet { .. }
            | Self::Log(LogFinding::Beyond { over: false, .. })
            | Self::Waiting(_)
            | Self::NotRead { .. }
            | Self::Erased { .. }
            | Self::NothingStored { .. } => Severity::Note,
            Self::Gap { .. } | Self::Lost { .. } | Self::LostLog(_) => Severity::Gap,
            _ => Severity::Failure,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Anchor {
    pub control: Uuid,
    pub mark: MarkDoc,
}

/// Verifies stored recordings.
pub async fn verify_store(
    store: &Store,
    options: &VerifyOptions,
) -> Result<VerifyReport, VerifyError> {
    let mut run = Run::new(store, options);
    run.began_ns = ns(SystemTime::now());
    let waiting = match options.spool.clone() {
        Some(spool) => tokio::task::spawn_blocking(move || log::spool::waiting(&spool))
            .await
            .map_err(std::io::Error::other)??,
        None => Vec::new(),
    };
    run.logs = log::check::check(
        store.objects(),
        &options.log_keys,
        &waiting,
        &options.kept,
        options.policy.as_ref().map(|p| &p.0),
    )
    .await?;
    // Control streams first, all of them: they know which segments there must be.
    let control = run.streams(true, Days::default()).await?;
    for (stream, keys) in control {
        run.report.control_streams += 1;
        run.stream(stream, true, keys).await?;
    }
    // Control streams complete like sessions, but are counted apart.
    run.report.complete = 0;
    let logged = run.ask_spool().await?;
    run.check_order().await?;
    run.check_controls();
    let mut sessions = run.streams(false, options.days).await?;
    let empty = sessions.is_empty() && run.report.control_streams == 0;
    if let Some(only) = options.session {
        sessions.retain(|id, _| *id == only);
        run.check_session(only, sessions.contains_key(&only))
            .await?;
    }
    for (stream, keys) in sessions {
        run.report.sessions += 1;
        run.stream(stream, false, keys).await?;
    }
    run.unmet_anchors().await?;
    run.check_unanchored();
    run.check_logs(empty).await?;
    run.check_keys().await?;
    let (snapshots, wrong) = snapshots::check(store.objects()).await?;
    run.report.snapshots = snapshots;
    let wrong = wrong.into_iter().map(Finding::Snapshot);
    run.report.findings.extend(wrong);
    if empty {
        run.report.findings.push(match logged {
            0 => Finding::Empty,
            records => Finding::NothingStored { records },
        });
    }
    Ok(run.report)
}

pub(crate) struct Run<'a> {
    pub store: &'a Store,
    pub options: &'a VerifyOptions,
    pub spool: Option<Spool>,
    pub report: VerifyReport,
    /// Segments that must be there, by key.
    pub anchors: HashMap<SegmentKey, Anchor>,
    /// The segments of control streams that are there: number of records and chain, if readable. What
    /// vouches for them may come later.
    pub controls: HashMap<SegmentKey, Option<(u64, String)>>,
    /// Segments of sessions that nothing vouches for, and the time of their latest record.
    pub unanchored: Vec<(SegmentKey, u64)>,
    /// Which control stream names which as the one before.
    after: BTreeMap<Uuid, StreamRefDoc>,
    /// Chains of control streams after each record.
    pub chains: HashMap<Uuid, Vec<Hash>>,
    /// When the logs were looked at.
    pub began_ns: u64,
    /// What the transparency logs say, less what was found.
    pub logs: Logs,
    /// Records without a leaf, and their times.
    pub unlogged: Vec<(Uuid, u64, u64)>,
    /// Of each stream, the latest record that has its leaf.
    pub logged: HashMap<Uuid, u64>,
    /// Streams that are stored to their ends, and those with a gap.
    pub ended: HashSet<Uuid>,
    pub gaps: HashSet<Uuid>,
    /// Streams of which a segment waits in the spool.
    pub waiting: HashSet<Uuid>,
    /// Streams that nobody here can read, and why.
    pub opaque: HashMap<Uuid, KeyLoss>,
    /// A control stream has no end: more anchors may come.
    pub open_control: bool,
    /// The time of the latest stored record of a control stream.
    pub latest_control_ns: u64,
}

impl<'a> Run<'a> {
    fn new(store: &'a Store, options: &'a VerifyOptions) -> Self {
        Self {
            store,
            options,
            spool: options.spool.as_deref().map(Spool::new),
            report: VerifyReport::default(),
            anchors: HashMap::new(),
            controls: HashMap::new(),
            unanchored: Vec::new(),
            after: BTreeMap::new(),
            chains: HashMap::new(),
            began_ns: 0,
            logs: Logs::default(),
            unlogged: Vec::new(),
            logged: HashMap::new(),
            ended: HashSet::new(),
            gaps: HashSet::new(),
            waiting: HashSet::new(),
            opaque: HashMap::new(),
            open_control: false,
            latest_control_ns: 0,
        }
    }

    async fn streams(
        &mut self,
        control: bool,
        days: Days,
    ) -> Result<BTreeMap<Uuid, Vec<SegmentKey>>, StoreError> {
        let (keys, strange) = self.store.list(control, days).await?;
        for key in strange {
            self.report.findings.push(Finding::Stranger(key));
        }
        let mut out: BTreeMap<Uuid, Vec<SegmentKey>> = BTreeMap::new();
        for (key, _) in keys {
            out.entry(key.stream).or_default().push(key);
        }
        Ok(out)
    }

    /// What the spool's control records say, as if they were stored. Gives how many records the log
    /// has.
    async fn ask_spool(&mut self) -> Result<u64, VerifyError> {
        let Some(spool) = self.spool.clone() else {
            return Ok(0);
        };
        let keys = self.control_keys(&spool).await?;
        let read = move || {
            let (mut starts, mut marks) = (Vec::new(), Vec::new());
            let records = spool.control_records(&keys, &mut |r: &Record<'_>| {
                let stream = Uuid::from_u128(r.stream);
                match r.known() {
                    Some(Kind::ControlStart) => starts.push((stream, r.payload.to_vec())),
                    Some(Kind::Sealed) if r.stream != NO_STREAM => {
                        marks.push((stream, r.payload.to_vec()));
                    }
                    _ => {}
                }
            })?;
            Ok::<_, std::io::Error>((records, starts, marks))
        };
        let (records, starts, marks) = tokio::task::spawn_blocking(read)
            .await
            .map_err(std::io::Error::other)??;
        for (stream, payload) in starts {
            if let Ok(doc) = serde_json::from_slice(&payload) {
                self.learn_start(stream, &doc);
            }
        }
        for (stream, payload) in marks {
            if let Ok(mark) = serde_json::from_slice(&payload) {
                self.learn_anchor(stream, mark);
            }
        }
        Ok(records)
    }

    pub fn learn_start(&mut self, stream: Uuid, doc: &ControlStartDoc) {
        if let Some(after) = &doc.after {
            self.after.insert(stream, after.clone());
        }
    }

    pub fn learn_anchor(&mut self, control: Uuid, mark: MarkDoc) {
        let Some(key) = mark.key.as_deref().and_then(SegmentKey::parse) else {
            return;
        };
        let wanted = key.control
            || self.options.days.contains(key.day)
                && self.options.session.is_none_or(|s| s == key.stream);
        if wanted {
            self.anchors.insert(key, Anchor { control, mark });
        }
    }

    /// Is what seems to be missing on its way? First the spool is asked, then the store: segments only
    /// move from the one to the other.
    pub async fn turns_up(
        &self,
        control: bool,
        stream: Uuid,
        fits: impl Fn(&SegmentKey) -> bool,
    ) -> Result<bool, VerifyError> {
        if let Some(spool) = self.spool.clone() {
            let waiting = tokio::task::spawn_blocking(move || spool.waiting());
            let waiting = waiting.await.map_err(std::io::Error::other)??;
            let here = |key: &SegmentKey| key.stream == stream && key.control == control;
            if waiting.iter().any(|(key, _)| here(key) && fits(key)) {
                return Ok(true);
            }
        }
        let stored = self.store.segments(control, stream).await?;
        Ok(stored.iter().any(fits))
    }

    /// Every control stream that another one names must be there, with the chain it had.
    async fn check_order(&mut self) -> Result<(), VerifyError> {
        let mut named = HashSet::new();
        for (stream, after) in std::mem::take(&mut self.after) {
            let id = after.stream.parse::<Uuid>().unwrap_or_default();
            named.insert(id);
            let position = usize::try_from(after.records)
                .ok()
                .and_then(|n| n.checked_sub(1));
            let chain = self.chains.get(&id).zip(position);
            let chain = chain.and_then(|(chains, n)| chains.get(n)).map(hex::encode);
            if chain.as_deref() == Some(&after.chain) || self.opaque.contains_key(&id) {
                continue;
            }
            // With another chain it is altered. With too few records, the rest may be on its way.
            let new = |key: &SegmentKey| !self.controls.contains_key(key);
            let finding = if chain.is_none() && self.turns_up(true, id, new).await? {
                Finding::Waiting(format!("the rest of control stream {id}"))
            } else {
                Finding::MissingControl {
                    stream,
                    missing: after.stream,
                }
            };
            self.report.findings.push(finding);
        }
        let unnamed = self.chains.keys().filter(|id| !named.contains(id));
        self.report.chains = unnamed.count() as u64;
        self.chains.clear();
        Ok(())
    }

    /// A control stream's segments are vouched for by a later one.
    fn check_controls(&mut self) {
        let of_control: Vec<SegmentKey> =
            self.anchors.keys().filter(|k| k.control).copied().collect();
        for key in of_control {
            let Some(there) = self.controls.get(&key) else {
                continue;
            };
            let Some(Anchor { control, mark }) = self.anchors.remove(&key) else {
                continue;
            };
            let differs =
                |(records, chain): &(u64, String)| *records != mark.records || *chain != mark.chain;
            if there.as_ref().is_some_and(differs) {
                self.report.findings.push(Finding::AnchorMismatch {
                    key: key.to_string(),
                    control,
                });
            }
        }
    }

    async fn check_session(&mut self, session: Uuid, stored: bool) -> Result<(), VerifyError> {
        if !stored {
            let waits = self.turns_up(false, session, |_| true).await?;
            self.report.findings.push(match waits {
                true => Finding::Waiting(format!("session {session}")),
                false => Finding::NoSession(session),
            });
        }
        Ok(())
    }

    async fn unmet_anchors(&mut self) -> Result<(), VerifyError> {
        let mut unmet: Vec<(SegmentKey, Uuid)> = self
            .anchors
            .drain()
            .map(|(key, anchor)| (key, anchor.control))
            .collect();
        unmet.sort();
        for (key, control) in unmet {
            let this = |k: &SegmentKey| *k == key;
            let waits = self.turns_up(key.control, key.stream, this).await?;
            let key = key.to_string();
            self.report.findings.push(match waits {
                true => Finding::Waiting(key),
                false => Finding::MissingAnchored { key, control },
            });
        }
        Ok(())
    }

    /// What nothing vouches for did not come from a Weir, unless what vouches for it is still to come.
    fn check_unanchored(&mut self) {
        let now = ns(SystemTime::now());
        let lag = u64::try_from(ANCHOR_LAG.as_nanos()).unwrap_or(u64::MAX);
        let latest = self.latest_control_ns;
        let may_come = |t1: u64| {
            let until = t1.saturating_add(lag);
            let soon = if self.open_control {
                until > latest
            } else {
                // The next instance's control stream, of which nothing is stored yet.
                t1 > latest && until > now
            };
            soon && t1 < now.saturating_add(lag)
        };
        let (later, never): (Vec<_>, Vec<_>) = std::mem::take(&mut self.unanchored)
            .into_iter()
            .partition(|(_, t1)| may_come(*t1));
        for (key, _) in never {
            let key = key.to_string();
            self.report.findings.push(Finding::Unanchored { key });
        }
        if let Some((first, _)) = later.first() {
            self.report.findings.push(Finding::NotAnchoredYet {
                segments: later.len() as u64,
                first: first.to_string(),
            });
        }
    }
}
