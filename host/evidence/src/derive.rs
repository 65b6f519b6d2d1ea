//! What a package says, made from leaves alone. Whoever makes a package and whoever verifies one do this
//! with the same leaves in the same order, and must get the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Serialize;
use tlog::Hash;
use uuid::Uuid;

use crate::controls::{self, CONTROLS, README, README_TEXT};
use crate::csv::{list, row};
use crate::leaf::{Bundle, Leaf};
use crate::left::LeftOut;
use crate::logs::{LogFacts, Span};
use crate::ocsf;
use crate::policies;
use crate::select::{Sampler, Selection};
use crate::tables::{Tables, TooManyGroups};

pub const POPULATION: &str = "population.csv";
pub const EVENTS: &str = "ocsf.jsonl";
pub const APPROVALS: &str = "approvals.csv";
pub const OPERATORS: &str = "operators.csv";
pub const ERASURES: &str = "erasures.csv";
pub const SAMPLE: &str = "sample.csv";
pub const GAPS: &str = "gaps.json";

/// The most things of a kind that `gaps.json` names; the rest is counted.
const MAX_NAMED: usize = 10_000;
/// The most sessions and actions that are open at the same time, and the most people whose names are
/// asked for.
const MAX_OPEN: usize = 1_000_000;

#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    #[error("writing the package: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    TooMany(#[from] TooManyGroups),
    #[error("more than {MAX_OPEN} {0}; choose a shorter window")]
    TooOpen(&'static str),
    #[error("a document of the package cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// Where the files of a package go: into it, or only through a hash.
pub trait Sink {
    fn write(&mut self, path: &'static str, bytes: &[u8]) -> io::Result<()>;
}

/// A leaf of a session whose record is in the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub log: Uuid,
    pub index: u64,
    /// The leaf itself.
    pub entry: Vec<u8>,
    pub stream: Uuid,
    pub n: u64,
    /// The record's hash.
    pub body: Hash,
}

impl Item {
    fn of(log: Uuid, index: u64, entry: &[u8], leaf: &Leaf) -> Option<Self> {
        Some(Self {
            log,
            index,
            entry: entry.to_vec(),
            stream: leaf.sid?,
            n: leaf.n?,
            body: leaf.body_hash()?,
        })
    }

    /// Its files are named so, below `proofs/`.
    pub fn proof_path(&self) -> String {
        format!("proofs/{}-{}", self.log, self.index)
    }

    pub fn record_path(&self) -> String {
        format!("records/{}/{}.json", self.stream, self.n)
    }
}

/// An item of the sample, and the start of its session if that is in the window.
#[derive(Clone)]
struct Sampled {
    item: Option<Item>,
    start: Option<Item>,
    row: Vec<String>,
}

/// What leaves say, apart from the files.
#[derive(Debug, Default)]
pub struct Derived {
    /// Leaves of which the package has proofs and records.
    pub items: Vec<Item>,
    pub counts: Counts,
    pub gaps: Vec<GapRow>,
    pub erased: BTreeSet<Uuid>,
    /// The bundles that were in force.
    pub bundles: BTreeSet<Bundle>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub leaves: u64,
    pub sessions: u64,
    pub permitted: u64,
    pub refused: u64,
    /// Whatever became of them.
    pub held: u64,
    pub results: u64,
    pub unknown_results: u64,
    pub approvals: u64,
    pub operators: u64,
    pub masked: u64,
    pub erasures: u64,
    pub gaps: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GapRow {
    pub log: Uuid,
    pub leaf: u64,
    pub time: String,
    pub what: String,
}

/// What is not from leaves, and that the manifest says, too.
pub struct Told<'a> {
    pub left_out: &'a [LeftOut],
    pub more_left_out: u64,
    /// That the package is made is on record.
    pub recorded: bool,
}

/// `gaps.json`.
#[derive(Serialize)]
struct GapReport<'a> {
    /// `none`, or `gaps`: whether the recorder noted that something is missing, or a log is left out.
    verdict: &'static str,
    gaps: &'a [GapRow],
    more_gaps: u64,
    logs: Vec<Span>,
    left_out: &'a [LeftOut],
    more_left_out: u64,
    sessions_without_end: Vec<String>,
    more_sessions_without_end: u64,
    requests_without_result: Vec<String>,
    more_requests_without_result: u64,
    results_unknown: u64,
    about: &'static str,
}

const ABOUT_GAPS: &str = "gaps: what the recorder itself noted as missing, of all targets. logs: which \
    leaves of each log are in the window, and how it is known that there are no others. left_out: logs that \
    are in the store, or should be, and of which nothing is here: those that no key that counts has signed can \
    be another's, or planted; of the others something is missing, or is not what was signed. Sessions and \
    requests that have no end or result in the window may have one after it.";

/// Goes over the leaves.
pub struct Deriver<'a, S: Sink> {
    selection: &'a Selection,
    sink: &'a mut S,
    tables: Tables,
    sampler: Sampler<Sampled>,
    /// Sessions that have begun in the window and not ended, with their start.
    open: BTreeMap<Uuid, Option<Item>>,
    /// Permitted actions without a result.
    pending: BTreeSet<(Uuid, u64)>,
    /// The first start of a session of each person or chain.
    people: BTreeMap<String, Item>,
    derived: Derived,
    more_gaps: u64,
}

const POPULATION_HEAD: [&str; 27] = [
    "log",
    "leaf",
    "time",
    "clock",
    "type",
    "session",
    "record",
    "action_number",
    "who_kind",
    "who",
    "on_behalf_of",
    "target",
    "actions",
    "resources",
    "decision",
    "policies",
    "bundle",
    "bundle_version",
    "risk",
    "risk_labels",
    "masked",
    "hold",
    "rules",
    "approvers",
    "outcome",
    "more",
    "record_sha256",
];

impl<'a, S: Sink> Deriver<'a, S> {
    pub fn new(selection: &'a Selection, sink: &'a mut S) -> Result<Self, DeriveError> {
        sink.write(POPULATION, &row(POPULATION_HEAD))?;
        sink.write(EVENTS, b"")?;
        let approvals = [
            "log",
            "leaf",
            "time",
            "session",
            "action_number",
            "target",
            "who_kind",
            "who",
            "decision",
            "hold",
            "rules",
            "approvers",
            "actions",
            "resources",
        ];
        sink.write(APPROVALS, &row(approvals))?;
        let operators = [
            "log", "leaf", "time", "who_kind", "who", "action", "resource", "decision",
        ];
        sink.write(OPERATORS, &row(operators))?;
        let erasures = ["log", "leaf", "time", "session", "by", "outcome"];
        sink.write(ERASURES, &row(erasures))?;
        Ok(Self {
            selection,
            sink,
            tables: Tables::new(),
            sampler: Sampler::new(selection.seed(), selection.sample),
            open: BTreeMap::new(),
            pending: BTreeSet::new(),
            people: BTreeMap::new(),
            derived: Derived::default(),
            more_gaps: 0,
        })
    }

    /// One leaf of the window, selected or not.
    pub fn leaf(
        &mut self,
        log: Uuid,
        index: u64,
        entry: &[u8],
        leaf: &Leaf,
    ) -> Result<(), DeriveError> {
        if leaf.kind == "gap" {
            self.gap(log, index, leaf);
        }
        if !self.selection.selects(leaf) {
            return Ok(());
        }
        self.count(leaf);
        self.sink
            .write(POPULATION, &row(population(log, index, leaf)))?;
        for event in ocsf::events(log, index, leaf) {
            let mut line = serde_json::to_vec(&event)?;
            line.push(b'\n');
            self.sink.write(EVENTS, &line)?;
        }
        self.tables.leaf(leaf)?;
        if let Some(bundle) = leaf
            .bundle
            .as_ref()
            .filter(|b| policies::is_digest(&b.digest))
        {
            // As many as the table of policies has rows at most.
            if !self.derived.bundles.contains(bundle) {
                self.derived.bundles.insert(bundle.clone());
            }
        }
        match &*leaf.kind {
            "session.start" => self.start(log, index, entry, leaf)?,
            "session.end" => {
                if let Some(sid) = leaf.sid {
                    self.open.remove(&sid);
                }
            }
            "request" => self.request(log, index, entry, leaf)?,
            "result" => {
                if let Some(action) = leaf.action() {
                    self.pending.remove(&action);
                }
            }
            "control" => self.operator(log, index, leaf)?,
            _ => {}
        }
        if leaf.kind == "erasure" {
            self.erasure(log, index, leaf)?;
        }
        Ok(())
    }

    fn count(&mut self, leaf: &Leaf) {
        let counts = &mut self.derived.counts;
        counts.leaves += 1;
        match &*leaf.kind {
            "session.start" => counts.sessions += 1,
            "request" if leaf.is_permitted() => counts.permitted += 1,
            "request" => counts.refused += 1,
            "hold" => counts.held += 1,
            "result" => counts.results += 1,
            "control" => counts.operators += 1,
            _ => {}
        }
        if leaf.kind == "result" && leaf.outcome.as_deref() == Some("unknown") {
            counts.unknown_results += 1;
        }
        if leaf.approval.is_some() {
            counts.approvals += 1;
        }
    }

    fn gap(&mut self, log: Uuid, leaf: u64, of: &Leaf) {
        self.derived.counts.gaps += 1;
        if self.derived.gaps.len() >= MAX_NAMED {
            self.more_gaps += 1;
            return;
        }
        self.derived.gaps.push(GapRow {
            log,
            leaf,
            time: of.time.clone(),
            what: of.outcome.clone().unwrap_or_default(),
        });
    }

    fn start(
        &mut self,
        log: Uuid,
        index: u64,
        entry: &[u8],
        leaf: &Leaf,
    ) -> Result<(), DeriveError> {
        let Some(sid) = leaf.sid else { return Ok(()) };
        if self.open.len() >= MAX_OPEN || self.people.len() >= MAX_OPEN {
            return Err(DeriveError::TooOpen("sessions are open at the same time"));
        }
        let item = Item::of(log, index, entry, leaf);
        if let (true, Some(who), Some(item)) = (self.selection.names, &leaf.who, &item) {
            // A chain names several people: a record of each chain tells all of them.
            let key = list(&[std::slice::from_ref(&who.id), &who.act].concat());
            self.people.entry(key).or_insert_with(|| item.clone());
        }
        self.open.insert(sid, item);
        Ok(())
    }

    fn request(
        &mut self,
        log: Uuid,
        index: u64,
        entry: &[u8],
        leaf: &Leaf,
    ) -> Result<(), DeriveError> {
        if let (true, Some(action)) = (leaf.is_permitted(), leaf.action()) {
            if self.pending.len() >= MAX_OPEN {
                return Err(DeriveError::TooOpen("actions have no result"));
            }
            self.pending.insert(action);
        }
        if let Some(approval) = &leaf.approval {
            let cells = [
                log.to_string(),
                index.to_string(),
                leaf.time.clone(),
                text(leaf.sid),
                text(leaf.seq),
                leaf.target.clone().unwrap_or_default(),
                leaf.who
                    .as_ref()
                    .map(|w| w.kind.clone())
                    .unwrap_or_default(),
                leaf.who.as_ref().map(|w| w.id.clone()).unwrap_or_default(),
                leaf.decision.clone().unwrap_or_default(),
                approval.hold.clone(),
                list(&approval.rules),
                list(&approval.approvers),
                list(&leaf.actions),
                list(&leaf.resources),
            ];
            self.sink.write(APPROVALS, &row(cells))?;
        }
        let open = &self.open;
        self.sampler.offer(&tlog::leaf_hash(entry), || {
            let start = leaf.sid.and_then(|sid| open.get(&sid)).cloned().flatten();
            Sampled {
                item: Item::of(log, index, entry, leaf),
                start,
                row: population(log, index, leaf),
            }
        });
        Ok(())
    }

    fn operator(&mut self, log: Uuid, index: u64, leaf: &Leaf) -> Result<(), DeriveError> {
        let cells = [
            log.to_string(),
            index.to_string(),
            leaf.time.clone(),
            leaf.who
                .as_ref()
                .map(|w| w.kind.clone())
                .unwrap_or_default(),
            leaf.who.as_ref().map(|w| w.id.clone()).unwrap_or_default(),
            list(&leaf.actions),
            list(&leaf.resources),
            leaf.decision.clone().unwrap_or_default(),
        ];
        self.sink.write(OPERATORS, &row(cells))?;
        Ok(())
    }

    fn erasure(&mut self, log: Uuid, index: u64, leaf: &Leaf) -> Result<(), DeriveError> {
        // One leaf says that it begins, another how it ended, and a crash between them makes it three.
        self.derived.erased.extend(leaf.erased);
        self.derived.counts.erasures = self.derived.erased.len() as u64;
        let cells = [
            log.to_string(),
            index.to_string(),
            leaf.time.clone(),
            text(leaf.erased),
            leaf.who.as_ref().map(|w| w.id.clone()).unwrap_or_default(),
            leaf.outcome.clone().unwrap_or_else(|| "begun".to_owned()),
        ];
        self.sink.write(ERASURES, &row(cells))?;
        Ok(())
    }

    /// After the last leaf.
    pub fn finish(mut self, logs: &[LogFacts], told: &Told<'_>) -> Result<Derived, DeriveError> {
        for (path, bytes) in self.tables.write() {
            self.sink.write(path, &bytes)?;
        }
        self.derived.counts.masked = self.tables.masked();
        self.gap_report(logs, told)?;
        let mut sampled: Vec<Sampled> =
            std::mem::replace(&mut self.sampler, Sampler::new([0; 32], 0))
                .into_items()
                .collect();
        sampled.sort_by_key(Sampled::key);
        let head = POPULATION_HEAD.iter().chain(&["proof", "record", "start"]);
        self.sink.write(SAMPLE, &row(head))?;
        let mut items: BTreeMap<(Uuid, u64), Item> = BTreeMap::new();
        for Sampled {
            item,
            start,
            row: cells,
        } in sampled
        {
            let path = |item: &Option<Item>, of: fn(&Item) -> String| {
                item.as_ref().map(of).unwrap_or_default()
            };
            let tail = [
                path(&item, Item::proof_path),
                path(&item, Item::record_path),
                path(&start, Item::record_path),
            ];
            self.sink.write(SAMPLE, &row(cells.iter().chain(&tail)))?;
            let both = [item, start].into_iter().flatten();
            items.extend(both.map(|item| ((item.log, item.index), item)));
        }
        let spans: Vec<Span> = logs.iter().map(|log| log.span(logs)).collect();
        let page = controls::html(self.selection, &self.derived.counts, &spans, told.recorded);
        self.sink.write(CONTROLS, page.as_bytes())?;
        self.sink.write(README, README_TEXT.as_bytes())?;
        let people = std::mem::take(&mut self.people).into_values();
        items.extend(people.map(|item| ((item.log, item.index), item)));
        self.derived.items = items.into_values().collect();
        Ok(self.derived)
    }

    fn gap_report(&mut self, logs: &[LogFacts], told: &Told<'_>) -> Result<(), DeriveError> {
        let named = |all: Vec<String>| {
            let more = all.len().saturating_sub(MAX_NAMED) as u64;
            let all: Vec<String> = all.into_iter().take(MAX_NAMED).collect();
            (all, more)
        };
        let sessions = self.open.keys().map(Uuid::to_string).collect();
        let (sessions, more_sessions) = named(sessions);
        let requests = self.pending.iter().map(|(sid, seq)| format!("{sid}/{seq}"));
        let (requests, more_requests) = named(requests.collect());
        let report = GapReport {
            verdict: match self.derived.gaps.is_empty() && told.left_out.is_empty() {
                true => "none",
                false => "gaps",
            },
            gaps: &self.derived.gaps,
            more_gaps: self.more_gaps,
            logs: logs.iter().map(|log| log.span(logs)).collect(),
            left_out: told.left_out,
            more_left_out: told.more_left_out,
            sessions_without_end: sessions,
            more_sessions_without_end: more_sessions,
            requests_without_result: requests,
            more_requests_without_result: more_requests,
            results_unknown: self.derived.counts.unknown_results,
            about: ABOUT_GAPS,
        };
        let mut bytes = serde_json::to_vec_pretty(&report)?;
        bytes.push(b'\n');
        self.sink.write(GAPS, &bytes)?;
        Ok(())
    }
}

impl Sampled {
    fn key(&self) -> Option<(Uuid, u64)> {
        self.item.as_ref().map(|item| (item.log, item.index))
    }
}

/// What is there, as text.
fn text<T: ToString>(of: Option<T>) -> String {
    of.map(|of| of.to_string()).unwrap_or_default()
}

fn population(log: Uuid, index: u64, leaf: &Leaf) -> Vec<String> {
    let (kind, id, act) = match &leaf.who {
        Some(who) => (who.kind.clone(), who.id.clone(), list(&who.act)),
        None => Default::default(),
    };
    let (hold, rules, approvers) = match (&leaf.approval, &leaf.hold) {
        (Some(a), _) => (a.hold.clone(), list(&a.rules), list(&a.approvers)),
        (None, Some(hold)) => (hold.id.clone(), list(&hold.rules), String::new()),
        (None, None) => Default::default(),
    };
    let (risk, labels) = match &leaf.risk {
        Some(risk) => (risk.score.to_string(), list(&risk.labels)),
        None => Default::default(),
    };
    vec![
        log.to_string(),
        index.to_string(),
        leaf.time.clone(),
        leaf.clock.clone().unwrap_or_default(),
        leaf.kind.clone(),
        text(leaf.sid),
        text(leaf.n),
        text(leaf.seq),
        kind,
        id,
        act,
        leaf.target.clone().unwrap_or_default(),
        list(&leaf.actions),
        list(&leaf.resources),
        leaf.decision.clone().unwrap_or_default(),
        list(&leaf.policies),
        leaf.bundle
            .as_ref()
            .map(|b| b.name.clone())
            .unwrap_or_default(),
        leaf.bundle
            .as_ref()
            .map(|b| b.version.to_string())
            .unwrap_or_default(),
        risk,
        labels,
        list(&leaf.masked),
        hold,
        rules,
        approvers,
        leaf.outcome.clone().unwrap_or_default(),
        leaf.more.to_string(),
        leaf.body
            .as_ref()
            .map(|b| b.sha256.clone())
            .unwrap_or_default(),
    ]
}
