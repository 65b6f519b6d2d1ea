//! Places that there are only so many of, over all and for one network: for clients of whom nobody knows yet
//! who they are.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use aws_lc_rs::rand;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Networks that a place counts for, by their prefixes of IPv4 and IPv6, and how many times the places of one
/// address each of them has. Of IPv6, one customer has a /64 at least, and may have a /56 or a /48.
const NETWORKS: [(u32, u32, usize); 3] = [(32, 64, 1), (32, 56, 2), (24, 48, 4)];

pub(crate) struct Slots {
    max: usize,
    max_per_source: usize,
    /// For how long a place is taken at least.
    least: Duration,
    /// After how long a place may be another's.
    kept: Option<Duration>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    held: Vec<Held>,
    /// By which of `NETWORKS`, and its first address.
    by_network: HashMap<(usize, IpAddr), usize>,
}

struct Held {
    id: u64,
    source: IpAddr,
    gives_way: CancellationToken,
    since: Instant,
    /// Nobody is there any more, but it was too short a time.
    left: bool,
}

/// A place, until it is dropped or has to give way.
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    id: u64,
    gives_way: CancellationToken,
}

impl Slot<'_> {
    /// Another one has the place now.
    pub async fn lost(&self) {
        self.gives_way.cancelled().await;
    }
}

impl Slots {
    pub fn new(max: usize, max_per_source: usize) -> Self {
        Self {
            max,
            max_per_source,
            least: Duration::ZERO,
            kept: None,
            taken: Mutex::default(),
        }
    }

    /// The same, where coming and going is bounded, too.
    pub fn taken_for(mut self, least: Duration) -> Self {
        self.least = least;
        self
    }

    /// The same, where no place is kept for longer if all are taken: otherwise strangers who have all of them let
    /// nobody wait beside them. Who has most loses the oldest.
    pub fn kept_for(mut self, kept: Duration) -> Self {
        self.kept = Some(kept.max(self.least));
        self
    }

    /// A place, if there is one.
    pub fn take(&self, source: IpAddr) -> Option<Slot<'_>> {
        self.place(source, false)
    }

    /// A place. If all are taken, one that chance chooses gives way: whoever takes all of them loses most of them
    /// again, and whoever needs one for a moment usually keeps it (`MaxStartups` of OpenSSH has the same idea).
    pub fn take_over(&self, source: IpAddr) -> Option<Slot<'_>> {
        self.place(source, true)
    }

    fn place(&self, source: IpAddr, over: bool) -> Option<Slot<'_>> {
        let mut taken = self.taken.lock();
        taken.free(self.least);
        let full = networks(source).any(|(key, times)| {
            let here = taken.by_network.get(&key).copied().unwrap_or_default();
            here >= self.max_per_source.saturating_mul(times)
        });
        if full {
            return None;
        }
        if taken.held.len() >= self.max {
            let loser = match (over, self.kept) {
                (true, _) => taken.held.get(chance(taken.held.len())?)?.id,
                (false, Some(kept)) => taken.with_most(source, self.max_per_source, kept)?,
                (false, None) => return None,
            };
            taken.give_back(loser);
        }
        let id = taken.next;
        taken.next = id.wrapping_add(1);
        for (key, _) in networks(source) {
            *taken.by_network.entry(key).or_default() += 1;
        }
        let gives_way = CancellationToken::new();
        taken.held.push(Held {
            id,
            source,
            gives_way: gives_way.clone(),
            since: Instant::now(),
            left: false,
        });
        Some(Slot {
            slots: self,
            id,
            gives_way,
        })
    }
}

impl Taken {
    /// Those that nobody has needed for long enough.
    fn free(&mut self, least: Duration) {
        if least.is_zero() {
            return;
        }
        let done = |held: &&Held| held.left && held.since.elapsed() >= least;
        let done: Vec<u64> = self.held.iter().filter(done).map(|held| held.id).collect();
        for id in done {
            self.give_back(id);
        }
    }

    /// What a block of addresses has beyond the places of one address (`share`), in any of the networks that it is in;
    /// then how many places the address has, and the widest network that it is in. So whoever has a block has no more for
    /// it, and whoever shares one with others loses nothing as long as they are few.
    fn weight(&self, source: IpAddr, share: usize) -> (usize, usize, usize) {
        let count = |(key, _)| self.by_network.get(&key).copied().unwrap_or_default();
        let mut counts = networks(source).map(count);
        let first = counts.next().unwrap_or_default();
        let (most, widest) = counts.fold((first, first), |(most, _), n| (n.max(most), n));
        (most.saturating_sub(share), first, widest)
    }

    /// The oldest place of whoever has most, if that is more than `newcomer` has; of those that were kept for long
    /// enough. Places are few, so all of them are looked at.
    fn with_most(&self, newcomer: IpAddr, share: usize, kept: Duration) -> Option<u64> {
        let old = |held: &&Held| held.since.elapsed() >= kept;
        let most = self
            .held
            .iter()
            .filter(old)
            .max_by_key(|held| (self.weight(held.source, share), Reverse(held.id)))?;
        let more = self.weight(most.source, share) > self.weight(newcomer, share);
        more.then_some(most.id)
    }

    fn leave(&mut self, id: u64, least: Duration) {
        match self.held.iter_mut().find(|held| held.id == id) {
            Some(held) if held.since.elapsed() < least => held.left = true,
            _ => self.give_back(id),
        }
    }

    /// Whoever has lost a place gives nothing back.
    fn give_back(&mut self, id: u64) {
        let Some(at) = self.held.iter().position(|held| held.id == id) else {
            return;
        };
        let held = self.held.swap_remove(at);
        held.gives_way.cancel();
        for (key, _) in networks(held.source) {
            if let Some(count) = self.by_network.get_mut(&key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.by_network.remove(&key);
                }
            }
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.taken.lock().leave(self.id, self.slots.least);
    }
}

/// One of so many; none if there is no chance to be had.
fn chance(of: usize) -> Option<usize> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).ok()?;
    let of = u64::try_from(of).ok()?;
    usize::try_from(u64::from_be_bytes(bytes).checked_rem(of)?).ok()
}

/// The networks that an address is in, and how many times the places of one address each has.
fn networks(source: IpAddr) -> impl Iterator<Item = ((usize, IpAddr), usize)> {
    let source = source.to_canonical();
    NETWORKS
        .into_iter()
        .enumerate()
        .map(move |(at, (v4, v6, times))| {
            let first = match source {
                IpAddr::V4(address) => {
                    let mask = u32::MAX.checked_shl(u32::BITS - v4).unwrap_or_default();
                    IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
                }
                IpAddr::V6(address) => {
                    let mask = u128::MAX.checked_shl(u128::BITS - v6).unwrap_or_default();
                    IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
                }
            };
            ((at, first), times)
        })
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_bounded_over_all_and_for_each_source() {
        let slots = Slots::new(4, 2);
        let first = slots.take(ip("2001:db8::1")).unwrap();
        let _second = slots.take(ip("2001:db8::ffff:ffff:ffff:ffff")).unwrap();
        assert!(slots.take(ip("2001:db8::2")).is_none(), "the same network");
        assert!(slots.take_over(ip("2001:db8::2")).is_none(), "in any case");
        let _third = slots.take(ip("2001:db8:0:1::1")).unwrap();
        let fourth = slots.take(ip("192.0.2.1")).unwrap();
        assert!(slots.take(ip("192.0.2.2")).is_none(), "all are taken");
        drop(fourth);
        let _other = slots.take(ip("192.0.2.2")).unwrap();
        drop(first);
        let fifth = slots.take(ip("2001:db8::3"));
        assert!(fifth.is_some());
        assert_eq!(slots.taken.lock().held.len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn coming_and_going_is_bounded_where_places_are_taken_for_a_time() {
        let least = Duration::from_millis(500);
        let slots = Slots::new(3, 2).taken_for(least);
        let comes = |n: usize| {
            let address = ip(&format!("192.0.{n}.1"));
            (0..100).filter(|_| slots.take(address).is_some()).count()
        };
        let (here, there) = (comes(1), comes(2));
        assert_eq!((here, there), (2, 1), "of one source, and of all");
        // Whoever stays keeps his place, and others have theirs again.
        advance(least).await;
        let stays = slots.take(ip("192.0.1.1")).unwrap();
        advance(least).await;
        assert_eq!(comes(1), 1);
        assert_eq!(slots.taken.lock().held.len(), 2);
        drop(stays);
        assert_eq!(slots.taken.lock().held.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_most_places_loses_the_oldest_once_it_was_kept_for_long_enough() {
        let kept = Duration::from_millis(300);
        let slots = Slots::new(6, 3).kept_for(kept);
        let take = |address: &str| slots.take(ip(address));
        let many: Vec<_> = (0..3).filter_map(|_| take("192.0.2.1")).collect();
        // One address each, of one network.
        let wide: Vec<_> = (1..3)
            .filter_map(|i| take(&format!("198.51.100.{i}")))
            .collect();
        let one = take("203.0.113.1").unwrap();
        assert_eq!((many.len(), wide.len()), (3, 2));
        let newcomer = take("203.0.114.1");
        assert!(newcomer.is_none(), "people need a while to agree");
        advance(kept).await;
        assert!(take("192.0.2.1").is_none(), "whoever has most gets no more");
        let lost = |slots: &[Slot<'_>]| -> Vec<bool> {
            slots
                .iter()
                .map(|slot| slot.gives_way.is_cancelled())
                .collect()
        };
        let first = take("203.0.114.1").unwrap();
        assert_eq!(lost(&many), [true, false, false], "the oldest");
        let second = take("203.0.115.1").unwrap();
        assert_eq!(lost(&many), [true, true, false]);
        let third = take("203.0.116.1").unwrap();
        assert_eq!(lost(&wide), [true, false], "then of the widest network");
        // What was taken just now is kept for a while, and nobody has fewer than one.
        assert!(!first.gives_way.is_cancelled() && !second.gives_way.is_cancelled());
        assert!(!one.gives_way.is_cancelled() && !third.gives_way.is_cancelled());
        assert!(take("203.0.116.1").is_none(), "no more than others have");
        assert_eq!(slots.taken.lock().held.len(), 6);
        drop((many, wide, one, first, second, third));
        assert!(slots.taken.lock().by_network.is_empty());
    }

    /// One place for each address of a block is as many as one address with all of them.
    #[test]
    fn a_block_of_addresses_is_weighed_before_single_ones() {
        for (name, address) in [
            ("/24", (|i| format!("192.0.2.{i}")) as fn(usize) -> String),
            ("/56", |i| format!("2001:db8:0:{i:x}::1")),
            ("/48", |i| format!("2001:db8:0:{:x}::1", i << 8)),
        ] {
            let slots = Slots::new(10, 4).kept_for(Duration::ZERO);
            let block: Vec<_> = (1..8)
                .map(|i| slots.take(ip(&address(i))).unwrap())
                .collect();
            // People of one office.
            let office: Vec<_> = (0..3)
                .map(|_| slots.take(ip("203.0.113.1")).unwrap())
                .collect();
            let lost = |of: &[Slot<'_>]| of.iter().filter(|s| s.gives_way.is_cancelled()).count();
            let mut late = Vec::new();
            for n in 1..=3 {
                late.push(slots.take(ip(&format!("198.51.{n}.1"))).unwrap());
                assert_eq!((lost(&block), lost(&office)), (n, 0), "{name}");
            }
            // No more than what one address may have: then whoever has most by one address, as ever.
            late.push(slots.take(ip("198.51.4.1")).unwrap());
            assert_eq!((lost(&block), lost(&office)), (3, 1), "{name}");
            late.push(slots.take(ip(&address(99))).unwrap());
            assert_eq!((lost(&block), lost(&office)), (3, 2), "{name}");
            late.push(slots.take(ip(&address(100))).unwrap());
            assert_eq!((lost(&block), lost(&office)), (4, 2), "{name}: its own");
        }
    }

    #[test]
    fn whoever_has_many_networks_has_not_all_places() {
        for (name, most, address) in [
            (
                "/56",
                4,
                (|i| format!("2001:db8:0:{i:x}::1")) as fn(usize) -> String,
            ),
            ("/48", 8, |i| format!("2001:db8:0:{:x}::1", i << 8)),
            ("/24", 8, |i| format!("192.0.2.{i}")),
            ("/24, written as IPv6", 8, |i| format!("::ffff:192.0.2.{i}")),
        ] {
            let slots = Slots::new(1_000, 2);
            let held: Vec<_> = (1..100)
                .filter_map(|i| slots.take(ip(&address(i))))
                .collect();
            assert_eq!(held.len(), most, "{name}");
            drop(held);
            let taken = slots.taken.lock();
            assert!(taken.held.is_empty(), "{name}");
            assert!(taken.by_network.is_empty(), "who is gone is forgotten");
        }
    }

    #[tokio::test]
    async fn one_gives_way_when_all_are_taken() {
        let slots = Slots::new(3, 100);
        let mut held: Vec<_> = (0..3)
            .map(|i| slots.take_over(ip(&format!("192.0.2.{i}"))).unwrap())
            .collect();
        for round in 0..50 {
            held.push(slots.take_over(ip("198.51.100.1")).unwrap());
            let lost: Vec<_> = held.iter().filter(|s| s.gives_way.is_cancelled()).collect();
            assert_eq!(lost.len(), 1, "{round}");
            lost[0].lost().await;
            // It gives nothing back that is another's.
            held.retain(|s| !s.gives_way.is_cancelled());
            assert_eq!(slots.taken.lock().held.len(), 3);
        }
        drop(held);
        assert!(slots.taken.lock().by_network.is_empty());
    }
}
