//! Checks what was recorded: hashes, chains, order, completeness. Trusts nothing it reads.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::doc::{ControlStartDoc, GapDoc, MarkDoc, OutcomeDoc, StreamRefDoc};
use crate::keys::SegmentKey;
use crate::objects::StoreError;
use crate::record::{Kind, Record};
use crate::segment::Segment;
use crate::store::{Days, ReadError, Store};

/// What is verified. The default is everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    pub days: Days,
    pub session: Option<Uuid>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    pub sessions: u64,
    /// Sessions with an end record.
    pub complete: u64,
    pub control_streams: u64,
    pub segments: u64,
    pub records: u64,
    pub intents: u64,
    pub outcomes: u64,
    /// Outcomes that nobody knows.
    pub unknown: u64,
    pub refusals: u64,
    /// Recorded bytes of results and data.
    pub bytes: u64,
    /// Segments that a control stream vouches for.
    pub anchors: u64,
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Nothing is wrong. An unfinished session is not wrong by itself, nor is a gap that the
    /// recorder itself has written down.
    pub fn is_ok(&self) -> bool {
        !self.findings.iter().any(Finding::is_failure)
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
}

impl Finding {
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Unfinished { .. } | Self::Gap { .. })
    }
}

#[derive(Debug)]
struct Anchor {
    control: Uuid,
    mark: MarkDoc,
}

/// Verifies stored recordings.
pub async fn verify_store(
    store: &Store,
    options: &VerifyOptions,
) -> Result<VerifyReport, StoreError> {
    let mut run = Run {
        store,
        options,
        report: VerifyReport::default(),
        anchors: HashMap::new(),
        after: Vec::new(),
        chains: HashMap::new(),
    };
    // Control streams first, all of them: they know which segments there must be.
    let control = run.streams(true, Days::default()).await?;
    for (stream, keys) in control {
        run.report.control_streams += 1;
        run.stream(stream, true, keys).await?;
    }
    run.check_order();
    let mut sessions = run.streams(false, options.days).await?;
    if let Some(only) = options.session {
        sessions.retain(|id, _| *id == only);
    }
    for (stream, keys) in sessions {
        run.report.sessions += 1;
        run.stream(stream, false, keys).await?;
    }
    run.unmet_anchors();
    Ok(run.report)
}

struct Run<'a> {
    store: &'a Store,
    options: &'a VerifyOptions,
    report: VerifyReport,
    /// Segments that must be there, by key.
    anchors: HashMap<SegmentKey, Anchor>,
    /// Which control stream names which as the one before.
    after: Vec<(Uuid, StreamRefDoc)>,
    /// Chains of control streams after each record number that a segment ends with or that is asked.
    chains: HashMap<Uuid, Vec<Hash>>,
}

/// What is known of a stream while its segments pass by.
struct Follow {
    next_segment: u32,
    next_record: u64,
    chain: Hash,
    open: BTreeSet<u64>,
    done: HashSet<u64>,
    ended: bool,
    /// A segment before is missing, so that absences prove nothing.
    torn: bool,
}

impl Run<'_> {
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

    async fn stream(
        &mut self,
        stream: Uuid,
        control: bool,
        keys: Vec<SegmentKey>,
    ) -> Result<(), StoreError> {
        let mut follow = Follow {
            next_segment: 0,
            next_record: 0,
            chain: chain::stream_genesis(stream.as_u128()),
            open: BTreeSet::new(),
            done: HashSet::new(),
            ended: false,
            torn: false,
        };
        let mut last: Option<(u32, Hash, Hash)> = None;
        for key in keys {
            let anchor = self.anchors.remove(&key);
            let segment = match self.store.segment(&key).await {
                Ok(segment) => segment,
                Err(error) => {
                    self.unreadable(&key, &error);
                    continue;
                }
            };
            self.report.segments += 1;
            self.check_anchor(&key, &segment, anchor);
            let this = (key.segment, segment.chain_in, segment.chain_out);
            if let Some(before) = last
                && before.0 == key.segment
            {
                if before != this {
                    self.report.findings.push(Finding::TwoVersions {
                        stream,
                        segment: key.segment,
                    });
                }
                continue;
            }
            last = Some(this);
            self.segment(&mut follow, &segment, control);
        }
        self.finish(stream, &follow);
        Ok(())
    }

    fn unreadable(&mut self, key: &SegmentKey, error: &ReadError) {
        let (key, why) = (key.to_string(), error.to_string());
        self.report.findings.push(match error {
            ReadError::Store(_) => Finding::Unreadable { key, why },
            _ => Finding::Altered { key, why },
        });
    }

    fn check_anchor(&mut self, key: &SegmentKey, segment: &Segment, anchor: Option<Anchor>) {
        let Some(Anchor { control, mark }) = anchor else {
            return;
        };
        let records = segment.footer.first_record + segment.footer.records;
        if mark.records != records || mark.chain != segment.footer.chain_out {
            self.report.findings.push(Finding::AnchorMismatch {
                key: key.to_string(),
                control,
            });
        }
    }

    fn segment(&mut self, follow: &mut Follow, segment: &Segment, control: bool) {
        let stream = segment.stream;
        let number = segment.header.segment;
        for missing in follow.next_segment..number.min(follow.next_segment + MAX_MISSING) {
            follow.torn = true;
            self.report.findings.push(Finding::MissingSegment {
                stream,
                segment: missing,
            });
        }
        let contiguous = follow.next_segment == number;
        let fits =
            segment.chain_in == follow.chain && segment.footer.first_record == follow.next_record;
        if contiguous && !fits {
            self.report.findings.push(Finding::Broken {
                stream,
                segment: number,
            });
        }
        let mut at = segment.chain_in;
        for record in segment.records() {
            self.report.records += 1;
            self.record(follow, &record, stream, control);
            if control {
                at = chain::link(&at, &chain::leaf(record.encoded));
                self.chains.entry(stream).or_default().push(at);
            }
        }
        follow.next_segment = number.saturating_add(1);
        follow.next_record = segment.footer.first_record + segment.footer.records;
        follow.chain = segment.chain_out;
        if segment.footer.last != follow.ended {
            self.misplaced(
                stream,
                follow.next_record,
                "the footer and the end disagree",
            );
        }
    }

    fn misplaced(&mut self, stream: Uuid, record: u64, why: &'static str) {
        self.report.findings.push(Finding::Misplaced {
            stream,
            record,
            why,
        });
    }

    fn record(&mut self, follow: &mut Follow, r: &Record<'_>, stream: Uuid, control: bool) {
        if follow.ended {
            self.misplaced(stream, r.index, "it comes after the end");
        }
        let Some(kind) = r.known() else {
            self.report.findings.push(Finding::UnknownKind {
                stream,
                record: r.index,
                kind: r.kind,
            });
            return;
        };
        let start = matches!(kind, Kind::SessionStart | Kind::ControlStart);
        if start != (r.index == 0) {
            self.misplaced(stream, r.index, "a stream begins with its start, once");
        }
        let belongs = match kind {
            Kind::ControlStart | Kind::Control | Kind::Sealed => control,
            Kind::Carry => false,
            Kind::Gap | Kind::SessionEnd => true,
            _ => !control,
        };
        if !belongs {
            self.misplaced(
                stream,
                r.index,
                "its kind belongs to another sort of stream",
            );
        }
        match (kind, r.action()) {
            (Kind::Intent, Some((seq, _))) => {
                self.report.intents += 1;
                if !follow.open.insert(seq) || follow.done.contains(&seq) {
                    self.misplaced(stream, r.index, "the action has an intent already");
                }
            }
            (Kind::Outcome, Some((seq, body))) => {
                self.report.outcomes += 1;
                let unknown = serde_json::from_slice::<OutcomeDoc>(body)
                    .is_ok_and(|doc| doc.outcome == "unknown");
                self.report.unknown += u64::from(unknown);
                follow.done.insert(seq);
                if !follow.open.remove(&seq) && !follow.torn {
                    self.misplaced(stream, r.index, "the action has no open intent");
                }
            }
            (Kind::Refused, Some(_)) => self.report.refusals += 1,
            (Kind::ToClient | Kind::ToUpstream, Some((_, body))) => {
                self.report.bytes += body.len() as u64;
            }
            (kind, None) if kind.has_seq() => {
                self.misplaced(stream, r.index, "its action's number is cut off");
            }
            (Kind::SessionEnd, _) => follow.ended = true,
            (Kind::Gap, _) => self.gap(stream, r),
            (Kind::ControlStart, _) => self.control_start(stream, r),
            (Kind::Sealed, _) => self.anchor(stream, r),
            _ => {}
        }
    }

    fn gap(&mut self, stream: Uuid, r: &Record<'_>) {
        let what = serde_json::from_slice::<GapDoc>(r.payload)
            .map_or_else(|_| "in words that cannot be read".into(), |doc| doc.what);
        self.report.findings.push(Finding::Gap { stream, what });
    }

    fn control_start(&mut self, stream: Uuid, r: &Record<'_>) {
        match serde_json::from_slice::<ControlStartDoc>(r.payload) {
            Ok(doc) => self.after.extend(doc.after.map(|after| (stream, after))),
            Err(_) => self.misplaced(stream, r.index, "it cannot be read"),
        }
    }

    fn anchor(&mut self, stream: Uuid, r: &Record<'_>) {
        let Ok(mark) = serde_json::from_slice::<MarkDoc>(r.payload) else {
            return self.misplaced(stream, r.index, "it cannot be read");
        };
        self.report.anchors += 1;
        if let Some(key) = mark.key.as_deref().and_then(SegmentKey::parse) {
            let wanted = self.options.days.contains(key.day)
                && self.options.session.is_none_or(|s| s == key.stream);
            if wanted {
                let control = stream;
                self.anchors.insert(key, Anchor { control, mark });
            }
        }
    }

    fn finish(&mut self, stream: Uuid, follow: &Follow) {
        if follow.ended {
            self.report.complete += 1;
        } else {
            self.report.findings.push(Finding::Unfinished { stream });
        }
        // An open session may have open actions; an ended one may not.
        if follow.ended {
            for seq in &follow.open {
                self.report
                    .findings
                    .push(Finding::NoOutcome { stream, seq: *seq });
            }
        }
    }

    /// Every control stream that another one names must be there, with the chain it had.
    fn check_order(&mut self) {
        for (stream, after) in std::mem::take(&mut self.after) {
            let id = after.stream.parse::<Uuid>().unwrap_or_default();
            let position = usize::try_from(after.records)
                .ok()
                .and_then(|n| n.checked_sub(1));
            let chain = self.chains.get(&id).zip(position);
            let chain = chain.and_then(|(chains, n)| chains.get(n)).map(hex::encode);
            if chain.as_deref() != Some(&after.chain) {
                self.report.findings.push(Finding::MissingControl {
                    stream,
                    missing: after.stream,
                });
            }
        }
        self.chains.clear();
        // Control streams complete like sessions, but are counted apart.
        self.report.complete = 0;
    }

    fn unmet_anchors(&mut self) {
        let mut unmet: Vec<(SegmentKey, Uuid)> = self
            .anchors
            .drain()
            .map(|(key, anchor)| (key, anchor.control))
            .collect();
        unmet.sort();
        for (key, control) in unmet {
            self.report.findings.push(Finding::MissingAnchored {
                key: key.to_string(),
                control,
            });
        }
    }
}

/// Missing segments of one hole that are named one by one.
const MAX_MISSING: u32 = 1000;
