//! Who gets no session is on record, and needs no permission for that. So a service has a bound on it, and nobody
//! can use up another's part: whoever is known has one of their own, and of those who are not, each source has a
//! smaller one within the part of all strangers.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::ports::Ports;
use crate::principal::Principal;
use crate::record::ControlEvent;
use crate::unasked::{Flood, Rate, USUAL, with_left_out};

/// For one source of strangers. A few sources together have what all of them have.
const SOURCE: Rate = Rate {
    at_once: 16,
    one_more: Duration::from_secs(4),
};
/// Principals that are told apart, and so many sources. Those beyond that share one part, which has room again when
/// others have been quiet.
const MAX_PARTS: usize = 1024;
/// How often is told what was left out of those who make no new attempts.
const TELL: Duration = Duration::from_secs(60);

/// The record of those who are turned away before there is a session: wrong proofs, targets that there are not.
/// One for each service, so that its bounds hold for all of its connections together.
pub struct TurnedAway {
    ports: Ports,
    parts: Mutex<Parts>,
}

/// Somebody who is turned away.
#[derive(Debug, Clone)]
pub struct Stranger<'a> {
    /// `ssh:login` and the like.
    pub action: &'static str,
    /// Who it is, if that is proved.
    pub principal: Option<Arc<Principal>>,
    pub source: IpAddr,
    /// What they said of themselves; cut off and made readable by whoever calls.
    pub said: &'a str,
    pub reason: &'a str,
}

impl TurnedAway {
    pub fn new(ports: Ports) -> Self {
        Self {
            ports,
            parts: Mutex::new(Parts::new(Instant::now())),
        }
    }

    /// Durable when it returns, or counted. Whoever it is stays out whatever becomes of this.
    pub async fn put(&self, stranger: Stranger<'_>) {
        let event = ControlEvent {
            at: self.ports.clock.now(),
            principal: stranger.principal,
            action: stranger.action.to_owned(),
            resource: format!("Source::\"{}\"", stranger.source),
            result: Err(stranger.reason.to_owned()),
            detail: stranger.said.to_owned(),
        };
        let next = self
            .parts
            .lock()
            .take(event, stranger.source, Instant::now());
        self.write(next).await;
    }

    /// Waits for the end of the service, and tells meanwhile what was left out of those who have become quiet.
    pub async fn beside<F: Future>(&self, service: F) -> F::Output {
        tokio::pin!(service);
        loop {
            tokio::select! {
                biased;
                output = &mut service => return output,
                () = tokio::time::sleep(TELL) => {}
            }
            let due = self.parts.lock().due(Instant::now());
            for one in due {
                self.write(Some(one)).await;
            }
        }
    }

    /// At the end of the service.
    pub async fn close(&self) {
        let rest = self.parts.lock().rest();
        for one in rest {
            self.write(Some(one)).await;
        }
    }

    async fn write(&self, next: Option<(ControlEvent, u64)>) {
        let Some((event, left_out)) = next else {
            return;
        };
        let result = event.result.map_err(|why| with_left_out(&why, left_out));
        let event = ControlEvent { result, ..event };
        if let Err(error) = self.ports.journal.event(event).await {
            tracing::error!(%error, "a refusal could not be recorded");
        }
    }
}

/// By issuer and subject.
type Who = (Arc<str>, Arc<str>);

struct Parts {
    strangers: Flood<ControlEvent>,
    sources: HashMap<IpAddr, Flood<ControlEvent>>,
    /// Of sources beyond those that are told apart.
    other_sources: Flood<ControlEvent>,
    known: HashMap<Who, Flood<ControlEvent>>,
    other_known: Flood<ControlEvent>,
}

impl Parts {
    fn new(now: Instant) -> Self {
        Self {
            strangers: Flood::new(USUAL, now),
            sources: HashMap::new(),
            other_sources: Flood::new(SOURCE, now),
            known: HashMap::new(),
            other_known: Flood::new(USUAL, now),
        }
    }

    fn take(
        &mut self,
        event: ControlEvent,
        source: IpAddr,
        now: Instant,
    ) -> Option<(ControlEvent, u64)> {
        if let Some(principal) = &event.principal {
            let who = (principal.issuer.clone(), principal.actor.subject.clone());
            let part = part(&mut self.known, &mut self.other_known, who, USUAL, now);
            return part.take(event, now);
        }
        let source = network(source);
        let part = part(
            &mut self.sources,
            &mut self.other_sources,
            source,
            SOURCE,
            now,
        );
        let (event, left_out) = part.take(event, now)?;
        self.strangers.take_with(event, left_out, now)
    }

    /// Of what was left out and is not told yet, what there is room for by now.
    fn due(&mut self, now: Instant) -> Vec<(ControlEvent, u64)> {
        let sources = self.sources.values_mut();
        let mut due = Vec::new();
        for source in sources.chain([&mut self.other_sources]) {
            if let Some((last, others)) = source.rest_of_room(now) {
                due.extend(self.strangers.take_with(last, others, now));
            }
        }
        let known = self.known.values_mut();
        let all = known.chain([&mut self.other_known, &mut self.strangers]);
        due.extend(all.filter_map(|part| part.rest_of_room(now)));
        due
    }

    /// Of what was left out and is not told yet, the last one of each who is known, and of all strangers.
    fn rest(&mut self) -> Vec<(ControlEvent, u64)> {
        let sources = self.sources.values_mut();
        for source in sources.chain([&mut self.other_sources]) {
            if let Some((last, others)) = source.rest() {
                self.strangers.leave_out(last, others);
            }
        }
        let known = self.known.values_mut();
        let all = known.chain([&mut self.other_known, &mut self.strangers]);
        all.filter_map(Flood::rest).collect()
    }
}

/// The part of one, or of the others where too many are told apart.
fn part<'a, K: Eq + Hash>(
    parts: &'a mut HashMap<K, Flood<ControlEvent>>,
    others: &'a mut Flood<ControlEvent>,
    whose: K,
    rate: Rate,
    now: Instant,
) -> &'a mut Flood<ControlEvent> {
    if !parts.contains_key(&whose) && parts.len() >= MAX_PARTS {
        // Who has been quiet has all the room again with a new one; what is not told yet is told with the others'.
        parts.retain(|_, part| {
            let quiet = part.is_quiet(now);
            if quiet && let Some((last, before)) = part.rest() {
                others.leave_out(last, before);
            }
            !quiet
        });
        if parts.len() >= MAX_PARTS {
            return others;
        }
    }
    parts.entry(whose).or_insert_with(|| Flood::new(rate, now))
}

/// Who has one address of IPv6 has a whole network of them.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::SystemTime;

    use super::*;
    use crate::memory::{Entry, Memory, MemoryPolicy};
    use crate::principal::{Actor, PrincipalKind};

    fn somebody(subject: &str) -> Option<Arc<Principal>> {
        let actor = Actor::new(PrincipalKind::User, subject, &[]);
        let expires = SystemTime::now() + Duration::from_secs(600);
        Some(Arc::new(Principal::direct(actor, "issuer", expires)))
    }

    async fn put(door: &TurnedAway, who: Option<Arc<Principal>>, source: [u8; 4]) {
        let stranger = Stranger {
            action: "ssh:login",
            principal: who,
            source: Ipv4Addr::from(source).into(),
            said: "user \"root\"",
            reason: "wrong",
        };
        door.put(stranger).await;
    }

    /// Whose, from where, and how many before it were left out.
    fn told(memory: &Memory) -> Vec<(String, String, u64)> {
        let told = memory.journal.entries().into_iter().map(|e| match e {
            Entry::Event(event) => {
                let who = event.principal.map(|p| p.actor.subject.to_string());
                let why = event.result.unwrap_err();
                let (_, rest) = why.split_once("before this, ").unwrap_or(("", "0 "));
                let left_out = rest.split(' ').next().unwrap().parse().unwrap();
                (who.unwrap_or_default(), event.resource, left_out)
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    fn from(told: &[(String, String, u64)], source: &str) -> usize {
        let resource = format!("Source::\"{source}\"");
        told.iter().filter(|(_, r, _)| *r == resource).count()
    }

    fn of(told: &[(String, String, u64)], who: &str) -> usize {
        told.iter().filter(|(w, ..)| w == who).count()
    }

    /// Two floods, of a source and of somebody known: nobody else is left out.
    #[tokio::test]
    async fn a_flood_takes_nobody_elses_place() {
        let memory = Memory::new(MemoryPolicy::permit_all());
        let door = TurnedAway::new(memory.ports());
        let (alice, mallory) = (somebody("alice"), somebody("mallory"));
        for _ in 0..200 {
            put(&door, None, [192, 0, 2, 1]).await;
            put(&door, mallory.clone(), [192, 0, 2, 1]).await;
        }
        // From the same address, and from another.
        put(&door, alice.clone(), [192, 0, 2, 1]).await;
        put(&door, None, [192, 0, 2, 2]).await;
        let at_once = told(&memory);
        assert_eq!(of(&at_once, "alice"), 1);
        assert_eq!(from(&at_once, "192.0.2.2"), 1);
        let mallorys = of(&at_once, "mallory");
        assert!((64..70).contains(&mallorys), "{mallorys}");
        let strangers = of(&at_once, "");
        assert!((17..25).contains(&strangers), "{strangers}");
        door.close().await;
        // Nothing is missing without a word, however long this took.
        let told = told(&memory);
        assert_eq!(told.iter().map(|(.., n)| n + 1).sum::<u64>(), 402);
        let whose = |who: &str| -> u64 {
            let of = told.iter().filter(|(w, ..)| w == who);
            of.map(|(.., n)| n + 1).sum()
        };
        let counts = ["mallory", "alice", ""].map(whose);
        assert_eq!(counts, [200, 1, 201]);
    }

    /// However many sources strangers have, there is an end to it, and who is known is not concerned.
    #[tokio::test]
    async fn strangers_from_everywhere_have_a_bound_together() {
        let memory = Memory::new(MemoryPolicy::permit_all());
        let door = TurnedAway::new(memory.ports());
        for n in 0..3_000_u32 {
            let [_, _, b, c] = n.to_be_bytes();
            put(&door, None, [10, 0, b, c]).await;
        }
        assert!(door.parts.lock().sources.len() <= MAX_PARTS);
        let alice = somebody("alice");
        put(&door, alice, [10, 0, 0, 1]).await;
        door.close().await;
        let told = told(&memory);
        assert_eq!(of(&told, "alice"), 1);
        assert!(told.len() < 100, "{}", told.len());
        assert_eq!(told.iter().map(|(.., n)| n + 1).sum::<u64>(), 3_001);
    }

    /// Whoever tries a few times too often and then never again: that is told while the service runs, once.
    #[tokio::test(start_paused = true)]
    async fn of_who_is_quiet_it_is_told_all_the_same() {
        let memory = Memory::new(MemoryPolicy::permit_all());
        let door = TurnedAway::new(memory.ports());
        let mallory = somebody("mallory");
        for _ in 0..100 {
            put(&door, mallory.clone(), [192, 0, 2, 1]).await;
        }
        let count = |told: &[(String, String, u64)]| told.iter().map(|(.., n)| n + 1).sum::<u64>();
        assert!(count(&told(&memory)) < 100);
        // Rooms are made by a clock that does not stand still: after one second there is one.
        let before = Instant::now();
        let all = async {
            while count(&told(&memory)) < 100 && before.elapsed() < Duration::from_secs(10) {
                tokio::time::sleep(TELL).await;
                std::thread::sleep(Duration::from_millis(20));
            }
            tokio::time::sleep(10 * TELL).await;
        };
        door.beside(all).await;
        assert_eq!(count(&told(&memory)), 100);
        door.close().await;
        assert_eq!(count(&told(&memory)), 100);
    }

    /// What is told of them has the same bound as everything else of strangers, and nothing is lost for that.
    #[test]
    fn what_is_told_late_is_bounded_too() {
        let start = Instant::now();
        let mut parts = Parts::new(start);
        let mut count = 0;
        for source in 0..500_u32 {
            for _ in 0..20 {
                let event = ControlEvent {
                    at: SystemTime::now(),
                    principal: None,
                    action: "ssh:login".into(),
                    resource: source.to_string(),
                    result: Err("wrong".into()),
                    detail: String::new(),
                };
                let address = IpAddr::from(source.to_be_bytes());
                count += parts.take(event, address, start).map_or(0, |(_, n)| n + 1);
            }
        }
        let later = start + TELL;
        let due = parts.due(later);
        assert!(due.len() <= 64, "{}", due.len());
        count += due.iter().map(|(_, n)| n + 1).sum::<u64>();
        assert!(parts.due(later).is_empty());
        let due = parts.due(later + TELL);
        assert!(!due.is_empty());
        count += due.iter().map(|(_, n)| n + 1).sum::<u64>();
        count += parts.rest().iter().map(|(_, n)| n + 1).sum::<u64>();
        assert_eq!(count, 10_000);
    }

    #[test]
    fn parts_are_forgotten_when_they_are_quiet_and_not_before() {
        let start = Instant::now();
        let event = |n: u32| ControlEvent {
            at: SystemTime::now(),
            principal: None,
            action: "ssh:login".into(),
            resource: n.to_string(),
            result: Err("wrong".into()),
            detail: String::new(),
        };
        let mut parts = HashMap::new();
        let mut others = Flood::new(SOURCE, start);
        for n in 0..MAX_PARTS as u32 {
            let part = part(&mut parts, &mut others, n, SOURCE, start);
            part.take(event(n), start);
        }
        // One of them has more than it may.
        for _ in 0..100 {
            let part = part(&mut parts, &mut others, 7, SOURCE, start);
            part.take(event(7), start);
        }
        let new = MAX_PARTS as u32;
        part(&mut parts, &mut others, new, SOURCE, start).take(event(new), start);
        assert!(!parts.contains_key(&new) && parts.contains_key(&7));
        let later = start + SOURCE.one_more * 2;
        part(&mut parts, &mut others, new, SOURCE, later).take(event(new), later);
        // The flood has not been forgotten for all that.
        let left: Vec<u32> = parts.keys().copied().collect();
        assert!(left.len() == 2 && left.contains(&7) && left.contains(&new));
        let quiet = start + SOURCE.one_more * 1_000;
        for n in 0..MAX_PARTS as u32 {
            part(&mut parts, &mut others, 10_000 + n, SOURCE, quiet).take(event(n), quiet);
        }
        assert!(!parts.contains_key(&7));
        let (last, before) = others.rest().unwrap();
        assert_eq!((last.resource.as_str(), before), ("7", 84));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:0:0:1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
    }
}
