//! Refusals that policy was not asked about: what is malformed, what nobody knows, what a login does not permit.
//! They are evidence like any other, but whoever makes them needs no permission for it: so many are recorded one by
//! one, and of the others the number and the last one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::action::Access;
use crate::decide::fingerprint_of;
use crate::facts::Facts;
use crate::record::{Basis, RefusalRecord};
use crate::refusal::RefusalKind;
use crate::risk::Risk;
use crate::session::Session;

/// How many at once are recorded one by one, and after how long there is room for one more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub at_once: u32,
    pub one_more: Duration,
}

/// For one session, one known principal, or all strangers together.
pub(crate) const USUAL: Rate = Rate {
    at_once: 64,
    one_more: Duration::from_secs(1),
};

/// Something that was refused without a decision.
#[derive(Debug, Clone)]
pub struct Unasked {
    pub facts: Facts,
    /// What would have had to be permitted, as far as that is known.
    pub accesses: Vec<Access>,
    pub canonical: Vec<u8>,
    pub reason: String,
}

/// What makes one, when and if there is a place for it on record: it may be much longer than what asked for it.
pub(crate) type Maker = Box<dyn FnOnce() -> Unasked + Send>;

/// A bound on what is recorded; what is beyond it is counted.
#[derive(Debug)]
pub(crate) struct Flood<T> {
    rate: Rate,
    room: u32,
    since: Instant,
    /// How many were left out, and the last of them.
    left_out: u64,
    last: Option<T>,
}

impl<T> Flood<T> {
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            room: rate.at_once,
            since: now,
            left_out: 0,
            last: None,
        }
    }

    /// What is to be recorded now, and how many before it were left out. None: it is one of those.
    pub fn take(&mut self, new: T, now: Instant) -> Option<(T, u64)> {
        self.take_with(new, 0, now)
    }

    /// The same of one that tells of others before it.
    pub fn take_with(&mut self, new: T, others: u64, now: Instant) -> Option<(T, u64)> {
        self.refill(now);
        if self.room == 0 {
            self.leave_out(new, others);
            return None;
        }
        self.room -= 1;
        self.last = None;
        Some((new, std::mem::take(&mut self.left_out) + others))
    }

    /// It is not recorded, and neither were those before it that it tells of.
    pub fn leave_out(&mut self, last: T, others: u64) {
        self.left_out += 1 + others;
        self.last = Some(last);
    }

    /// It has been quiet for so long that nothing of it needs to be remembered but what was left out.
    pub fn is_quiet(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.room == self.rate.at_once
    }

    /// The same before the end, as soon as there is room for it: whoever is quiet makes no next one that it is told with.
    pub fn rest_of_room(&mut self, now: Instant) -> Option<(T, u64)> {
        self.refill(now);
        let rest = (self.room > 0).then(|| self.rest()).flatten();
        self.room -= u32::from(rest.is_some());
        rest
    }

    /// At the end: the last one that was left out, and how many before it were.
    pub fn rest(&mut self) -> Option<(T, u64)> {
        let last = self.last.take()?;
        Some((last, std::mem::take(&mut self.left_out).saturating_sub(1)))
    }

    fn refill(&mut self, now: Instant) {
        let Rate { at_once, one_more } = self.rate;
        let passed = now.saturating_duration_since(self.since).as_nanos() / one_more.as_nanos();
        if let Ok(passed) = u32::try_from(passed)
            && passed < at_once - self.room
        {
            self.room += passed;
            self.since += one_more * passed;
        } else {
            self.room = at_once;
            self.since = now;
        }
    }
}

/// A reason that tells of those that are not on record.
pub(crate) fn with_left_out(reason: &str, left_out: u64) -> String {
    match left_out {
        0 => reason.to_owned(),
        n => format!("{reason} (before this, {n} refusals without a decision were left out)"),
    }
}

impl Session {
    /// Puts on record, as durably as a denied decision, that something was refused without one. Of a flood, some and
    /// the number of the others; those are not even made. Nothing is forwarded whatever becomes of this; a failed
    /// recorder ends the session.
    pub async fn refused_unasked(&self, make: impl FnOnce() -> Unasked + Send + 'static) {
        let make: Maker = Box::new(make);
        let next = self.flood.lock().take(make, Instant::now());
        if let Some((make, left_out)) = next {
            self.put_unasked(make(), left_out).await;
        }
    }

    /// What a flood has left out so far.
    pub(crate) async fn tell_left_out(&self) {
        let rest = self.flood.lock().rest();
        if let Some((last, left_out)) = rest {
            self.put_unasked(last(), left_out).await;
        }
    }

    async fn put_unasked(&self, unasked: Unasked, left_out: u64) {
        let bundle = self.pin().bundle().clone();
        let now = self.ports.clock.now();
        let record = RefusalRecord {
            seq: self.next_seq(),
            at: now,
            fingerprint: fingerprint_of(self, &bundle, &unasked.canonical, &unasked.facts),
            facts: unasked.facts,
            accesses: unasked.accesses,
            risk: Arc::new(Risk::default()),
            basis: Basis::new(now, None),
            bundle,
            kind: RefusalKind::Unasked,
            reason: with_left_out(&unasked.reason, left_out),
            policies: Vec::new(),
            parameters: Vec::new(),
            hold: None,
            shown: Vec::new(),
        };
        if let Err(error) = self.journal.refused(record).await {
            tracing::error!(%error, "a refusal could not be recorded");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::SystemTime;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::action::{Action, Resource};
    use crate::decide::Caller;
    use crate::memory::{Entry, Memory, MemoryPolicy};
    use crate::principal::{Actor, Principal, PrincipalKind};
    use crate::record::EndReason;
    use crate::session::{Protocol, SessionId, SessionInfo, Target};

    async fn session(memory: &Memory) -> Session {
        let id = SessionId::new();
        let now = SystemTime::now();
        let alice = Actor::new(PrincipalKind::User, "alice", &[]);
        let target = Arc::new(Target {
            name: "web1".into(),
            protocol: Protocol::Ssh,
            env: "prod".into(),
            tags: Default::default(),
        });
        let info = SessionInfo {
            id,
            id_text: id.to_string().into(),
            principal: Arc::new(Principal::direct(
                alice,
                "issuer",
                now + USUAL.one_more * 600,
            )),
            target: target.clone(),
            scope: "root".into(),
            source: std::net::Ipv4Addr::LOCALHOST.into(),
            started: now,
            attrs: Default::default(),
        };
        let access = Access {
            action: Action::SshConnect,
            resource: Resource::Target,
            target: Some(target),
        };
        let caller = Caller {
            cancel: &CancellationToken::new(),
            on_hold: &|_| {},
            survey: None,
        };
        let open = Session::open(memory.ports(), Arc::new(info), vec![access], caller);
        open.await.unwrap()
    }

    fn unasked(n: u32) -> Unasked {
        let scope = "root".into();
        let protocol = Protocol::Ssh;
        Unasked {
            facts: Facts::Connect { protocol, scope },
            accesses: Vec::new(),
            canonical: vec![1],
            reason: format!("refusal {n}"),
        }
    }

    #[tokio::test]
    async fn what_is_refused_unasked_is_on_record_and_a_flood_of_it_is_counted() {
        let memory = Memory::new(MemoryPolicy::permit_all());
        let session = session(&memory).await;
        let made = Arc::new(AtomicU32::new(0));
        for n in 0..USUAL.at_once + 100 {
            let made = made.clone();
            let make = move || {
                made.fetch_add(1, Ordering::Relaxed);
                unasked(n)
            };
            session.refused_unasked(make).await;
        }
        session.close(EndReason::ClientClosed).await.unwrap();
        let refusals = memory.journal.refusals();
        assert!(refusals.iter().all(|r| r.kind == RefusalKind::Unasked));
        let seqs: BTreeSet<u64> = refusals.iter().map(|r| r.seq).collect();
        assert_eq!(seqs.len(), refusals.len(), "each has a number of its own");
        // Nothing is missing without a word, however long this took.
        let left_out = |reason: &str| -> u32 {
            let (_, rest) = reason.split_once("before this, ").unwrap_or(("", "0 "));
            rest.split(' ').next().unwrap().parse().unwrap()
        };
        let counted: u32 = refusals.iter().map(|r| 1 + left_out(&r.reason)).sum();
        assert_eq!(counted, USUAL.at_once + 100);
        assert!(
            refusals.len() < USUAL.at_once as usize + 50,
            "{}",
            refusals.len()
        );
        let made = made.load(Ordering::Relaxed) as usize;
        assert_eq!(made, refusals.len(), "what is only counted is not made");
        let entries = memory.journal.entries();
        assert!(matches!(entries.last(), Some(Entry::End(_))));
    }

    #[test]
    fn a_flood_is_counted_and_told() {
        let start = Instant::now();
        let mut flood = Flood::new(USUAL, start);
        let mut kept = 0;
        for n in 0..1_000 {
            kept += u32::from(flood.take(n, start).is_some());
        }
        assert_eq!(kept, USUAL.at_once);
        let left_out = u64::from(1_000 - USUAL.at_once);
        // A second later there is room for one, which tells of all that are missing.
        let later = start + USUAL.one_more;
        assert_eq!(flood.take(1_000, later), Some((1_000, left_out)));
        assert_eq!(flood.take(1_001, later), None);
        assert_eq!(flood.take(1_002, later), None);
        // The end tells of those after it: one of the two is on record by that itself.
        assert_eq!(flood.rest(), Some((1_002, 1)));
        assert_eq!(flood.rest(), None);
        // Quiet gives all the room again, and no more than that.
        let quiet = later + USUAL.one_more * 10_000;
        let kept = (0..1_000).filter(|n| flood.take(*n, quiet).is_some());
        assert_eq!(kept.count(), USUAL.at_once as usize);
    }
}
