//! Holds what is stored against what the transparency logs say: every record against its leaf, and every
//! leaf against its record.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use uuid::Uuid;

use crate::chain;
use crate::keys::{Day, SegmentKey, parse_timestamp, timestamp};
use crate::log::check::LogFinding;
use crate::log::{leaf, names};
use crate::record::Record;
use crate::verify::{ANCHOR_LAG, Finding, Run, VerifyError};

/// A log's first checkpoint follows its first objects at once, if the store is there.
const FIRST_CHECKPOINT: Duration = Duration::from_secs(600);
/// Records of several sessions are written in another order than that of their times, by no more.
const OUT_OF_ORDER: Duration = Duration::from_secs(10);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Did the log begin within this time before now? Its id says when.
fn began_since(log: Uuid, now: u64, time: Duration) -> bool {
    let began = log.get_timestamp().map_or(0, |at| {
        let (seconds, nanoseconds) = at.to_unix();
        seconds.saturating_mul(1_000_000_000) + u64::from(nanoseconds)
    });
    began.saturating_add(nanos(time)) > now && began < now.saturating_add(nanos(time))
}

struct Unlogged {
    first: u64,
    records: u64,
    last_ns: u64,
}

impl Run<'_> {
    /// A record against its leaf.
    pub fn leaf(&mut self, r: &Record<'_>, control: bool) {
        let has_leaf = r.known().is_some_and(|kind| leaf::has_leaf(kind, control));
        if !has_leaf {
            return;
        }
        let stream = Uuid::from_u128(r.stream);
        let key = (r.stream, r.index);
        let Some(mut leaves) = self.logs.records.remove(&key) else {
            self.unlogged.push((stream, r.index, r.ts_ns));
            return;
        };
        self.logged.insert(stream, r.index);
        let hash = chain::leaf(r.encoded);
        match leaves.iter().position(|(h, _)| *h == hash) {
            Some(this) => {
                leaves.remove(this);
            }
            None => {
                let (_, log) = leaves.pop().unwrap_or_default();
                self.report.findings.push(Finding::LeafMismatch {
                    stream,
                    record: r.index,
                    log,
                });
            }
        }
        // Of another record, which was lost, and whose number was given again.
        if !leaves.is_empty() {
            self.logs.records.insert(key, leaves);
        }
    }

    /// What is left when everything that is stored was seen.
    pub async fn check_logs(&mut self, empty: bool) -> Result<(), VerifyError> {
        self.report.logs = self.logs.logs.len() as u64;
        let first = self.logs.logs.values().filter(|l| l.prev.is_none());
        self.report.log_chains = first.count() as u64;
        self.report.leaves = self.logs.leaves;
        self.report.checkpoints = self.logs.checkpoints;
        self.report.signers = std::mem::take(&mut self.logs.signers).into_iter().collect();
        let now = self.began_ns;
        self.check_registered();
        self.report.registries = std::mem::take(&mut self.logs.registry_reports);
        let wrong = std::mem::take(&mut self.logs.wrong);
        let findings = wrong.into_iter().map(|wrong| match wrong {
            // A registry begins at a start, also while the store is away.
            LogFinding::NoCheckpoint { log }
                if began_since(
                    log,
                    now,
                    if self.logs.seen.contains(&log) {
                        FIRST_CHECKPOINT
                    } else {
                        ANCHOR_LAG
                    },
                ) =>
            {
                Finding::Waiting(format!("the first checkpoint of log {log}"))
            }
            wrong => Finding::Log(wrong),
        });
        self.report.findings.extend(findings);
        if self.logs.seen.is_empty() && !empty {
            self.report.findings.push(Finding::NoLog);
            return Ok(());
        }
        self.check_controls_have_logs().await?;
        self.check_unlogged();
        self.check_missing().await?;
        self.check_segments().await
    }

    /// Every log is in a registry soon after its first checkpoint is stored, and every leaf some time later.
    fn check_registered(&mut self) {
        let now = self.began_ns;
        let late = timestamp(now.saturating_sub(nanos(ANCHOR_LAG)));
        let asked = self.options.policy.is_some();
        if asked && self.logs.registries.is_empty() && !self.logs.stored.is_empty() {
            self.logs.wrong.push(LogFinding::NoRegistry);
        }
        for (log, since) in self.logs.unregistered(&late) {
            let comes = self.logs.waiting.contains(&log)
                || since.is_none() && began_since(log, now, ANCHOR_LAG);
            let id = log.to_string();
            let mut missing = self.logs.logs.values().flat_map(|log| &log.missing);
            let finding = match comes {
                true => Finding::Waiting(format!("log {log} in a registry")),
                false if missing.any(|what| what.contains(&id)) => Finding::LostLog(log),
                false => Finding::Log(LogFinding::Unregistered { log, since }),
            };
            self.report.findings.push(finding);
        }
        let seen = self.logs.not_seen_since().filter(|_| asked);
        if let Some((registry, time, newest)) = seen
            && let (Some(seen), Some(last)) = (parse_timestamp(time), parse_timestamp(newest))
            && seen.saturating_add(nanos(ANCHOR_LAG)) < last
        {
            let why =
                format!("witnesses have last seen it at {time}, and there are records of {newest}");
            self.logs
                .wrong
                .push(LogFinding::NotWitnessed { registry, why });
        }
    }

    /// A log has the name of its control stream. One that began while we looked is not missing.
    async fn check_controls_have_logs(&mut self) -> Result<(), VerifyError> {
        let controls: BTreeSet<Uuid> = self.controls.keys().map(|key| key.stream).collect();
        let without: Vec<Uuid> = controls.difference(&self.logs.seen).copied().collect();
        for control in without {
            let there = self.store.objects().list(&names::prefix(control)).await?;
            let id = control.to_string();
            let mut missing = self.logs.logs.values().flat_map(|log| &log.missing);
            let gap = missing.any(|what| what.contains(&id));
            self.report.findings.push(match there.is_empty() {
                true if gap => Finding::LostLog(control),
                true => Finding::NoLogOf(control),
                false => Finding::Waiting(format!("log {control}")),
            });
        }
        Ok(())
    }

    /// Logs to which leaves may still come: not ended, and no other names them as the one before.
    fn open_logs(&self) -> Vec<Uuid> {
        let logs = &self.logs.logs;
        let named: HashSet<&str> = logs
            .values()
            .filter_map(|l| Some(l.prev.as_ref()?.origin.as_str()))
            .collect();
        let open = logs
            .iter()
            .filter(|(_, l)| !l.ended && !named.contains(l.origin.as_str()));
        open.map(|(id, _)| *id).collect()
    }

    /// Records without a leaf. That may come, if they are the last of their stream, and the last of them
    /// is not older than what an open log ends with: a record can be written some time after what it
    /// tells of, but a stream's last one is not.
    fn check_unlogged(&mut self) {
        let now = self.began_ns;
        let lag = nanos(ANCHOR_LAG);
        let open = self.open_logs();
        let logs = &self.logs.logs;
        let clock = |id: &Uuid| logs.get(id).map(|l| l.clock.as_str());
        // To a log that is open; or to the next one, of which nothing is stored yet.
        let newest = open.iter().filter_map(clock).min();
        let newest = newest.or_else(|| logs.values().map(|l| l.clock.as_str()).max());
        let mut streams: BTreeMap<Uuid, Unlogged> = BTreeMap::new();
        for (stream, record, at) in std::mem::take(&mut self.unlogged) {
            let entry = streams.entry(stream).or_insert(Unlogged {
                first: record,
                records: 0,
                last_ns: 0,
            });
            entry.first = entry.first.min(record);
            entry.records += 1;
            entry.last_ns = entry.last_ns.max(at);
        }
        let mut early: Option<(Uuid, u64)> = None;
        for (
            stream,
            Unlogged {
                first,
                records,
                last_ns,
            },
        ) in streams
        {
            // All sessions have ended before a log does.
            let slack = if open.is_empty() {
                0
            } else {
                nanos(OUT_OF_ORDER)
            };
            let last = timestamp(last_ns.saturating_add(slack));
            let after = newest.is_none_or(|newest| *last >= *newest);
            let recent = last_ns.saturating_add(lag) > now && last_ns < now.saturating_add(lag);
            let at_the_end = self
                .logged
                .get(&stream)
                .is_none_or(|logged| *logged < first);
            if after && recent && at_the_end {
                let (_, all) = early.get_or_insert((stream, 0));
                *all += records;
                continue;
            }
            self.report.findings.push(Finding::Unlogged {
                stream,
                first,
                records,
            });
        }
        if let Some((first, records)) = early {
            let finding = Finding::NotLoggedYet { records, first };
            self.report.findings.push(finding);
        }
    }

    /// Leaves of records that are not there.
    async fn check_missing(&mut self) -> Result<(), VerifyError> {
        let mut missing: BTreeMap<(Uuid, Uuid), (u64, u64)> = BTreeMap::new();
        for ((stream, n), leaves) in std::mem::take(&mut self.logs.records) {
            for (_, log) in leaves {
                let key = (Uuid::from_u128(stream), log);
                let (first, records) = missing.entry(key).or_insert((n, 0));
                *first = n.min(*first);
                *records += 1;
            }
        }
        let open = self.open_logs();
        let lost_after = self.logs_with_losses();
        for ((stream, log), (first, records)) in missing {
            let control = self.logs.logs.contains_key(&stream);
            if self.opaque.contains_key(&stream) {
                // That its segments are there is all that can be told.
                continue;
            }
            if !self.asked_for(control, stream) {
                continue;
            }
            // Its last segments may be on their way, if it has not ended.
            let comes = self.waiting.contains(&stream)
                || !self.ended.contains(&stream)
                    && (open.contains(&log) || self.turns_up(control, stream, |_| true).await?);
            let lost = self.gaps.contains(&stream) || lost_after.contains(&log);
            self.report.findings.push(if comes {
                Finding::Waiting(format!("the rest of {stream}"))
            } else if lost {
                Finding::Lost {
                    stream,
                    first,
                    records,
                    log,
                }
            } else {
                Finding::MissingRecords {
                    stream,
                    first,
                    records,
                    log,
                }
            });
        }
        Ok(())
    }

    /// Logs after which the next instance found, and signed, that something is missing.
    fn logs_with_losses(&self) -> HashSet<Uuid> {
        let logs = self
            .logs
            .logs
            .values()
            .filter(|log| !log.missing.is_empty());
        let prev = logs.filter_map(|log| log.prev.as_ref()?.origin.rsplit_once('/'));
        prev.filter_map(|(_, id)| id.parse().ok()).collect()
    }

    /// Segments that a log vouches for, and that are not there.
    async fn check_segments(&mut self) -> Result<(), VerifyError> {
        let mut unmet: Vec<(SegmentKey, Uuid)> = std::mem::take(&mut self.logs.segments)
            .into_iter()
            .map(|(key, (_, log))| (key, log))
            .collect();
        unmet.sort();
        for (key, log) in unmet {
            if !self.asked_for(key.control, key.stream) {
                continue;
            }
            let this = |k: &SegmentKey| *k == key;
            let waits = self.turns_up(key.control, key.stream, this).await?;
            let key = key.to_string();
            let finding = match waits {
                true => Finding::Waiting(key),
                false => Finding::MissingAnchored { key, control: log },
            };
            if !self.report.findings.contains(&finding) {
                self.report.findings.push(finding);
            }
        }
        Ok(())
    }

    fn asked_for(&self, control: bool, stream: Uuid) -> bool {
        let day = Day::of_v7(stream);
        control
            || self.options.session.is_none_or(|s| s == stream)
                && day.is_none_or(|day| self.options.days.contains(day))
    }
}
