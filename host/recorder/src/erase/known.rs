//! What the logs say of a session: who had it, whether it has ended, and which segments it has. What merely
//! lies in the store says nothing: anybody who can write there can put anything there.
//!
//! The logs of this spool vouch for one another, from the one that is being written backwards. Only where
//! none of them knows the session, other logs of the store are asked that the same key has signed, and that
//! is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use uuid::Uuid;

use super::{EraseError, confirm};
use crate::commit::{Ask, Flush};
use crate::doc::WhoPart;
use crate::keys::{SegmentKey, timestamp};
use crate::log::leaf::Leaf;
use crate::log::leaves::{Leaves, LeavesError, LogEnd};
use crate::log::names;
use crate::log::spool::BUNDLE;
use crate::recorder::Inner;
use crate::store::Store;

/// The most logs that one spool is followed back through: one for each start of Weir.
const MOST_LOGS: usize = 16_384;
/// The most bundles of one log that are passed over because they are not as they were signed.
const MOST_WRONG: usize = 16;
/// The most bundles after an erasure's leaf in which its outcome is looked for.
const MOST_AFTER: usize = 64;
/// The longest that logs are read for one session.
const LOOK_WITHIN: Duration = Duration::from_secs(30);

/// Whose log it is that knows a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of this spool.
    Own,
    /// Another's, with this origin, which a key has signed that is known here.
    Other(String),
}

/// What leaves say of one session.
#[derive(Debug)]
pub(super) struct Known {
    pub whose: Whose,
    /// Who had it, by pseudonyms.
    pub who: Option<WhoPart>,
    /// Segments, and the session's records up to the end of each.
    pub anchors: BTreeMap<SegmentKey, u64>,
    /// The number of its last record.
    ends: BTreeSet<u64>,
    /// What could not be read, if anything.
    wrong: Option<LeavesError>,
}

impl Known {
    fn new(whose: Whose) -> Self {
        Self {
            whose,
            who: None,
            anchors: BTreeMap::new(),
            ends: BTreeSet::new(),
            wrong: None,
        }
    }

    fn is_anything(&self) -> bool {
        self.who.is_some() || !self.anchors.is_empty() || !self.ends.is_empty()
    }

    /// Is there a last segment, which has the session's end, and every one before it? A number can have
    /// several segments, after a crash.
    fn is_whole(&self) -> bool {
        let numbers: BTreeSet<u32> = self.anchors.keys().map(|key| key.segment).collect();
        self.anchors.iter().any(|(key, records)| {
            let has_end = records
                .checked_sub(1)
                .is_some_and(|n| self.ends.contains(&n));
            has_end && numbers.range(..key.segment).count() == key.segment as usize
        })
    }

    fn see(&mut self, session: Uuid, entry: &[u8]) {
        let Ok(leaf) = serde_json::from_slice::<Leaf<'_>>(entry) else {
            return;
        };
        if leaf.sid == Some(session) {
            if self.who.is_none() {
                self.who = leaf.who.as_deref().cloned();
            }
            if leaf.kind == "session.end" {
                self.ends.extend(leaf.n);
            }
            return;
        }
        let anchor = leaf.rec.filter(|_| leaf.kind == "rec.anchor");
        if let Some(rec) = anchor
            && let Some(key) = SegmentKey::parse(&rec.key)
            && key.stream == session
            && !key.control
        {
            self.anchors.insert(key, rec.records);
        }
    }
}

impl Inner {
    /// The logs of this spool, oldest first, each up to where the next one says that it ended; back to the one
    /// that had begun at that time.
    pub(super) async fn own_logs(
        &self,
        leaves: &mut Leaves,
        since_ms: u64,
    ) -> Result<Vec<LogEnd>, LeavesError> {
        let mut next = leaves.durable(self.control).await?;
        let mut own: Vec<LogEnd> = Vec::new();
        while let Some(log) = next {
            if own.len() >= MOST_LOGS {
                break;
            }
            if began_ms(log.log) <= since_ms {
                own.push(log);
                break;
            }
            next = match leaves.before(&log).await {
                Ok(before) => before.filter(|log| own.iter().all(|known| known.log != log.log)),
                // What came before it is not in reach, and is nobody's then.
                Err(error) if error.is_lasting() => None,
                Err(error) => return Err(error),
            };
            own.push(log);
        }
        own.reverse();
        Ok(own)
    }

    /// How the erasure that this leaf begins has ended, as the log says itself.
    pub(super) async fn outcome_of(
        &self,
        leaves: &mut Leaves,
        own: &[LogEnd],
        session: Uuid,
        (log, leaf): (Uuid, u64),
    ) -> Result<Option<String>, LeavesError> {
        let mut left = MOST_AFTER;
        let logs = own.iter().skip_while(|known| known.log != log);
        for known in logs {
            let mut at = if known.log == log { leaf } else { 0 };
            while at < known.size && left > 0 {
                left -= 1;
                let bundle = leaves.read(known, at).await?;
                for entry in &bundle {
                    let parsed = serde_json::from_slice::<Leaf<'_>>(entry);
                    let ended = parsed.ok().filter(|leaf| leaf.erased == Some(session));
                    if let Some(outcome) = ended.and_then(|leaf| leaf.outcome) {
                        return Ok(Some(outcome.0.into_owned()));
                    }
                }
                at += bundle.len() as u64;
            }
        }
        Ok(None)
    }

    /// What is known of a session that has ended; an error if it has not, or nobody knows it.
    pub(super) async fn known(&self, session: Uuid) -> Result<Known, EraseError> {
        let found = self.look(session).await?;
        if found.is_whole() {
            return Ok(found);
        }
        // Its end may be in no checkpoint yet.
        let sealed = self.ask(|done| Ask {
            flush: Some((Flush::All, done)),
            ..Ask::default()
        });
        sealed.await?;
        let found = self.look(session).await?;
        match (found.is_whole(), found.is_anything(), found.wrong) {
            (true, _, wrong) => Ok(Known { wrong, ..found }),
            (false, _, Some(wrong)) => Err(wrong.into()),
            (false, true, None) => Err(EraseError::NoEnd(session)),
            (false, false, None) => Err(EraseError::Unknown(session)),
        }
    }

    async fn look(&self, session: Uuid) -> Result<Known, EraseError> {
        let look = async {
            let mut leaves = Leaves::new(Store::new(self.objects.clone()), &self.spool);
            let mut found = Known::new(Whose::Own);
            let near = self.own_logs(&mut leaves, began_ms(session)).await?;
            look_near(&mut leaves, &near, session, &mut found).await?;
            if found.is_whole() {
                return Ok(found);
            }
            // Then a clock has been changed, or it has no end, or it is another's.
            let own = self.own_logs(&mut leaves, 0).await?;
            look_everywhere(&mut leaves, &own, session, &mut found).await?;
            if found.is_anything() {
                return Ok(found);
            }
            let own: BTreeSet<Uuid> = own.iter().map(|log| log.log).collect();
            match self.elsewhere(&mut leaves, &own, session).await? {
                Some(other) => Ok(other),
                None => Ok(found),
            }
        };
        match tokio::time::timeout(LOOK_WITHIN, look).await {
            Ok(found) => found,
            Err(_) => Err(EraseError::Slow(
                "the search of the logs for the session",
                LOOK_WITHIN,
            )),
        }
    }

    /// In what other logs the store has, if a key has signed them that is known here. Anybody may have made
    /// the rest, and so nothing in those counts; logs of two keys say nothing together.
    async fn elsewhere(
        &self,
        leaves: &mut Leaves,
        own: &BTreeSet<Uuid>,
        session: Uuid,
    ) -> Result<Option<Known>, EraseError> {
        let mut notes = Vec::new();
        for log in leaves.stored_logs().await? {
            if own.contains(&log) {
                continue;
            }
            let note = self.objects.find_of_log(log, names::CHECKPOINT).await;
            notes.extend(confirm::if_ours(note)?.map(|note| (log, note)));
        }
        let (mut some, mut signed) = (None, BTreeSet::new());
        for key in self.trusted.as_slice() {
            let key = std::slice::from_ref(key);
            let logs = notes.iter().filter_map(|(log, note)| {
                let (checkpoint, is_signed) = confirm::open(note, *log, key)?;
                is_signed.then_some(LogEnd {
                    log: *log,
                    origin: checkpoint.origin,
                    size: checkpoint.size,
                    root: checkpoint.root,
                })
            });
            let logs: Vec<LogEnd> = logs.collect();
            signed.extend(logs.iter().map(|log| log.log));
            let mut found = Known::new(Whose::Other(String::new()));
            look_near(leaves, &logs, session, &mut found).await?;
            if !found.is_anything() {
                look_everywhere(leaves, &logs, session, &mut found).await?;
            }
            if found.is_whole() {
                return Ok(Some(found));
            }
            some = some.or_else(|| found.is_anything().then_some(found));
        }
        let unsigned = notes.len().saturating_sub(signed.len());
        match (&some, unsigned) {
            (None, 1..) => Err(EraseError::Unsigned(session, unsigned)),
            _ => Ok(some),
        }
    }
}

/// In logs in the order of their beginnings, from when the session began on, until it is whole.
async fn look_near(
    leaves: &mut Leaves,
    logs: &[LogEnd],
    session: Uuid,
    found: &mut Known,
) -> Result<(), LeavesError> {
    let since = began_ms(session);
    let first = logs.iter().rposition(|log| began_ms(log.log) <= since);
    let (_, after) = logs.split_at(first.unwrap_or(0));
    let since = timestamp(since.saturating_mul(1_000_000));
    for log in after {
        let from = first_since(leaves, log, &since).await;
        read(leaves, log, from, session, found).await?;
        if found.is_whole() {
            break;
        }
    }
    Ok(())
}

async fn look_everywhere(
    leaves: &mut Leaves,
    logs: &[LogEnd],
    session: Uuid,
    found: &mut Known,
) -> Result<(), LeavesError> {
    for log in logs {
        read(leaves, log, 0, session, found).await?;
        if found.is_whole() {
            break;
        }
    }
    Ok(())
}

/// The leaves of a log from this one on, until the session is whole.
async fn read(
    leaves: &mut Leaves,
    log: &LogEnd,
    from: u64,
    session: Uuid,
    found: &mut Known,
) -> Result<(), LeavesError> {
    let needle = session.as_hyphenated().to_string();
    let (mut at, mut wrong) = (from, 0);
    while at < log.size && !found.is_whole() {
        let bundle = match leaves.read(log, at).await {
            Ok(bundle) => bundle,
            Err(error) if error.is_lasting() => {
                found.wrong.get_or_insert(error);
                wrong += 1;
                // Of another's log, nobody knows that it has any more.
                if wrong > MOST_WRONG || found.whose != Whose::Own {
                    return Ok(());
                }
                at = (at / BUNDLE + 1) * BUNDLE;
                continue;
            }
            Err(error) => return Err(error),
        };
        for entry in &bundle {
            let names = entry.windows(needle.len()).any(|w| w == needle.as_bytes());
            if names {
                found.see(session, entry);
                if let Whose::Other(origin) = &mut found.whose
                    && origin.is_empty()
                {
                    origin.clone_from(&log.origin);
                }
            }
        }
        at += bundle.len() as u64;
    }
    Ok(())
}

/// The beginning of the bundle before the first one that begins at this time or later. Times of leaves only
/// go forward. What cannot be read is not passed over.
async fn first_since(leaves: &mut Leaves, log: &LogEnd, since: &str) -> u64 {
    let (mut low, mut high) = (0, log.size.div_ceil(BUNDLE));
    while low < high {
        let middle = low + (high - low) / 2;
        let bundle = leaves.read(log, middle * BUNDLE).await.unwrap_or_default();
        let is_before = bundle.first().is_some_and(|entry| {
            serde_json::from_slice::<Leaf<'_>>(entry).is_ok_and(|leaf| *leaf.time < *since)
        });
        match is_before {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low.saturating_sub(1) * BUNDLE
}

/// When it began, as its id says; of another kind of id, from the beginning of time.
pub(super) fn began_ms(id: Uuid) -> u64 {
    match id.get_version_num() {
        7 => u64::try_from(id.as_u128() >> 80).unwrap_or(0),
        _ => 0,
    }
}
