//! Places that there are only so many of, over all and for one address: for clients of whom nobody knows yet
//! who they are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use parking_lot::Mutex;

/// Of an IPv6 address, what one customer has.
const PREFIX: u32 = 64;

pub(crate) struct Slots {
    max: usize,
    max_per_source: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// A place, until it is dropped.
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    source: IpAddr,
}

impl Slots {
    pub fn new(max: usize, max_per_source: usize) -> Self {
        Self {
            max,
            max_per_source,
            taken: Mutex::default(),
        }
    }

    pub fn take(&self, source: IpAddr) -> Option<Slot<'_>> {
        let source = network(source);
        let mut taken = self.taken.lock();
        if taken.all >= self.max {
            return None;
        }
        let here = taken.by_source.get(&source).copied().unwrap_or_default();
        if here >= self.max_per_source {
            return None;
        }
        taken.by_source.insert(source, here + 1);
        taken.all += 1;
        Some(Slot {
            slots: self,
            source,
        })
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.by_source.get_mut(&self.source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - PREFIX);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_over_all_and_for_each_source() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let slots = Slots::new(4, 2);
        let first = slots.take(ip("2001:db8::1")).unwrap();
        let _second = slots.take(ip("2001:db8::ffff:ffff:ffff:ffff")).unwrap();
        assert!(slots.take(ip("2001:db8::2")).is_none(), "the same network");
        let _third = slots.take(ip("2001:db8:0:1::1")).unwrap();
        let fourth = slots.take(ip("192.0.2.1")).unwrap();
        assert!(slots.take(ip("192.0.2.2")).is_none(), "all are taken");
        drop(fourth);
        let _other = slots.take(ip("192.0.2.2")).unwrap();
        drop(first);
        assert!(slots.take(ip("2001:db8::3")).is_some());
        let taken = slots.taken.lock();
        assert_eq!(taken.all, 3);
        assert_eq!(taken.by_source.len(), 3, "who is gone is forgotten");
    }
}
