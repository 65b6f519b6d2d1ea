//! Follows one stream through its segments, record by record.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use uuid::Uuid;

use crate::chain::{self, Hash};
use crate::doc::{ControlStartDoc, GapDoc, MarkDoc, OutcomeDoc};
use crate::keys::SegmentKey;
use crate::record::{Kind, Record};
use crate::segment::Segment;
use crate::store::ReadError;
use crate::verify::{Anchor, Finding, Run, VerifyError};

/// Missing segments of one hole that are named one by one.
const MAX_MISSING: u32 = 1000;

/// What is known of a stream while its segments pass by.
struct Follow {
    next_segment: u32,
    next_record: u64,
    chain: Hash,
    open: BTreeSet<u64>,
    /// What waits for people, and for what they are asked.
    held: BTreeMap<u64, Hash>,
    /// Actions that have ended, or were refused.
    done: HashSet<u64>,
    ended: bool,
    /// A segment before is missing, so that absences prove nothing.
    torn: bool,
}

/// What a hold, and the intent or the refusal after it, say of the hold and of what is approved.
#[derive(Deserialize)]
struct AboutHold {
    hold: Option<String>,
    approval: Option<HoldOfApproval>,
    fingerprint: String,
}

#[derive(Deserialize)]
struct HoldOfApproval {
    hold: String,
}

impl AboutHold {
    /// A hash of both, however long they are; None where either is not there.
    fn read(body: &[u8]) -> Option<Hash> {
        let doc: Self = serde_json::from_slice(body).ok()?;
        let hold = doc.hold.or(doc.approval.map(|approval| approval.hold))?;
        let fingerprint = doc.fingerprint;
        Some(chain::leaf(
            format!("{}:{hold}{fingerprint}", hold.len()).as_bytes(),
        ))
    }
}

impl Run<'_> {
    pub async fn stream(
        &mut self,
        stream: Uuid,
        control: bool,
        keys: Vec<SegmentKey>,
    ) -> Result<(), VerifyError> {
        let mut follow = Follow {
            next_segment: 0,
            next_record: 0,
            chain: chain::stream_genesis(stream.as_u128()),
            open: BTreeSet::new(),
            held: BTreeMap::new(),
            done: HashSet::new(),
            ended: false,
            torn: false,
        };
        let mut last: Option<(u32, Hash, Hash)> = None;
        for key in &keys {
            let anchor = self.anchors.remove(key);
            let segment = match self.store.segment(key).await {
                Ok(segment) => segment,
                Err(ReadError::Opaque { why, t1_ns, .. }) => {
                    let hole = follow.next_segment..key.segment;
                    self.missing(&mut follow, stream, control, hole, &keys)
                        .await?;
                    follow.next_segment = key.segment.saturating_add(1);
                    self.opaque(key, *why, t1_ns, anchor.is_some());
                    continue;
                }
                Err(error) => {
                    if control {
                        self.controls.insert(*key, None);
                    }
                    self.unreadable(key, &error);
                    continue;
                }
            };
            self.report.segments += 1;
            self.check_anchor(key, &segment, anchor);
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
            let hole = follow.next_segment..key.segment;
            self.missing(&mut follow, stream, control, hole, &keys)
                .await?;
            self.segment(&mut follow, &segment, control);
        }
        self.finish(stream, control, &follow);
        Ok(())
    }

    async fn missing(
        &mut self,
        follow: &mut Follow,
        stream: Uuid,
        control: bool,
        hole: std::ops::Range<u32>,
        keys: &[SegmentKey],
    ) -> Result<(), VerifyError> {
        let end = hole.end.min(hole.start.saturating_add(MAX_MISSING));
        for segment in hole.start..end {
            follow.torn = true;
            let this = |key: &SegmentKey| key.segment == segment;
            if keys.iter().any(this) {
                // There, but unreadable: that has been said.
                continue;
            }
            let finding = if self.turns_up(control, stream, this).await? {
                self.waiting.insert(stream);
                Finding::Waiting(format!("segment {segment} of {stream}"))
            } else {
                Finding::MissingSegment { stream, segment }
            };
            self.report.findings.push(finding);
        }
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
        let records = segment.footer.first_record + segment.footer.records;
        let t1 = segment.footer.t1_ns;
        let logged = self.logs.segments.remove(key);
        if let Some((n, log)) = &logged
            && *n != records
        {
            self.report.findings.push(Finding::AnchorMismatch {
                key: key.to_string(),
                control: *log,
            });
        }
        if key.control {
            let state = (records, segment.footer.chain_out.clone());
            self.controls.insert(*key, Some(state));
            self.latest_control_ns = self.latest_control_ns.max(t1);
        }
        match anchor {
            Some(Anchor { control, mark }) => {
                if mark.records != records || mark.chain != segment.footer.chain_out {
                    self.report.findings.push(Finding::AnchorMismatch {
                        key: key.to_string(),
                        control,
                    });
                }
            }
            None if key.control || logged.is_some() => {}
            None => self.unanchored.push((*key, t1)),
        }
    }

    fn segment(&mut self, follow: &mut Follow, segment: &Segment, control: bool) {
        let stream = segment.stream;
        let number = segment.header.segment;
        let contiguous = follow.next_segment == number;
        let fits =
            segment.continues(&follow.chain) && segment.footer.first_record == follow.next_record;
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
            self.leaf(&record, control);
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
            Kind::ControlStart | Kind::Control | Kind::Sealed | Kind::Erasure => control,
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
            (Kind::Intent, Some((seq, body))) => {
                self.report.intents += 1;
                self.answer(follow, (stream, r.index), seq, body);
                if !follow.open.insert(seq) || follow.done.contains(&seq) {
                    self.misplaced(
                        stream,
                        r.index,
                        "the action was permitted or refused before",
                    );
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
            (Kind::Held, Some((seq, body))) => {
                self.report.held += 1;
                let is_decided = follow.open.contains(&seq) || follow.done.contains(&seq);
                let Some(about) = AboutHold::read(body) else {
                    return self.misplaced(stream, r.index, "it cannot be read");
                };
                if is_decided || follow.held.contains_key(&seq) {
                    let why = "the action was held, permitted or refused before";
                    return self.misplaced(stream, r.index, why);
                }
                follow.held.insert(seq, about);
            }
            (Kind::Refused, Some((seq, body))) => {
                self.report.refusals += 1;
                self.answer(follow, (stream, r.index), seq, body);
                follow.done.insert(seq);
            }
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

    /// What was held is permitted or refused: by this hold, and as people were asked.
    fn answer(&mut self, follow: &mut Follow, (stream, index): (Uuid, u64), seq: u64, body: &[u8]) {
        let asked = follow.held.remove(&seq);
        if asked.is_some_and(|asked| AboutHold::read(body) != Some(asked)) {
            let why =
                "it does not name the hold of its action, or is of something else than was held";
            self.misplaced(stream, index, why);
        }
    }

    fn gap(&mut self, stream: Uuid, r: &Record<'_>) {
        self.gaps.insert(stream);
        let what = serde_json::from_slice::<GapDoc>(r.payload)
            .map_or_else(|_| "in words that cannot be read".into(), |doc| doc.what);
        self.report.findings.push(Finding::Gap { stream, what });
    }

    fn control_start(&mut self, stream: Uuid, r: &Record<'_>) {
        match serde_json::from_slice::<ControlStartDoc>(r.payload) {
            Ok(doc) => {
                self.learn_start(stream, &doc);
                let cut = doc.truncated.into_iter();
                let cut = cut.map(|t| Finding::Truncated {
                    stream,
                    file: t.file,
                    bytes: t.bytes,
                });
                self.report.findings.extend(cut);
            }
            Err(_) => self.misplaced(stream, r.index, "it cannot be read"),
        }
    }

    fn anchor(&mut self, stream: Uuid, r: &Record<'_>) {
        let Ok(mark) = serde_json::from_slice::<MarkDoc>(r.payload) else {
            return self.misplaced(stream, r.index, "it cannot be read");
        };
        self.report.anchors += 1;
        self.learn_anchor(stream, mark);
    }

    fn finish(&mut self, stream: Uuid, control: bool, follow: &Follow) {
        self.open_control |= control && !follow.ended;
        if self.opaque.contains_key(&stream) {
            // Nobody can tell.
            return;
        }
        if follow.ended {
            self.ended.insert(stream);
            self.report.complete += 1;
        } else {
            self.report.findings.push(Finding::Unfinished { stream });
        }
        // An open session may have open actions; an ended one may not.
        if follow.ended {
            if !follow.torn {
                self.report.unanswered += follow.held.len() as u64;
            }
            for seq in &follow.open {
                self.report
                    .findings
                    .push(Finding::NoOutcome { stream, seq: *seq });
            }
        }
    }
}
