//! Names of prepared statements and portals, as the server will see them.
//!
//! A change is proposed when its message is sent and settled when the server answers. Within one
//! batch, up to its Sync, a later message runs only if all earlier ones succeeded, so the proposal
//! counts. Across batches it may have failed: who needs such a name waits until it is settled.

use std::collections::HashMap;

use bytes::Bytes;

#[derive(Debug)]
pub struct Names<T> {
    slots: HashMap<Bytes, Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    settled: Option<T>,
    /// In the order in which they were sent.
    pending: Vec<Proposal<T>>,
}

#[derive(Debug)]
struct Proposal<T> {
    id: u64,
    batch: u64,
    value: Option<T>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    Known(T),
    Absent,
    /// An earlier batch may have changed it; the server has not said.
    Unsettled,
}

/// How a proposal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Applied,
    /// The server did not get to it, or refused it: what was before still is.
    Reverted,
    /// Whatever it was, the name holds nothing that we know.
    Gone,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
        }
    }
}

impl<T: Clone> Names<T> {
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn lookup(&self, name: &[u8], batch: u64) -> Lookup<T> {
        let Some(slot) = self.slots.get(name) else {
            return Lookup::Absent;
        };
        let value = match slot.pending.last() {
            None => &slot.settled,
            Some(last) if last.batch == batch => &last.value,
            Some(_) => return Lookup::Unsettled,
        };
        match value {
            Some(value) => Lookup::Known(value.clone()),
            None => Lookup::Absent,
        }
    }

    pub fn propose(&mut self, name: Bytes, id: u64, batch: u64, value: Option<T>) {
        if value.is_none() && !self.slots.contains_key(&name) {
            return;
        }
        let slot = self.slots.entry(name).or_insert_with(|| Slot {
            settled: None,
            pending: Vec::new(),
        });
        slot.pending.push(Proposal { id, batch, value });
    }

    pub fn settle(&mut self, name: &[u8], id: u64, how: Settled) {
        let Some(slot) = self.slots.get_mut(name) else {
            return;
        };
        let Some(at) = slot.pending.iter().position(|p| p.id == id) else {
            return;
        };
        let proposal = slot.pending.remove(at);
        match how {
            Settled::Applied => slot.settled = proposal.value,
            Settled::Reverted => {}
            Settled::Gone => slot.settled = None,
        }
        if slot.settled.is_none() && slot.pending.is_empty() {
            self.slots.remove(name);
        }
    }

    /// The server dropped everything it had: the end of a transaction, for portals.
    pub fn clear_settled(&mut self) {
        self.slots.retain(|_, slot| {
            slot.settled = None;
            !slot.pending.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names<u8> {
        Names::default()
    }

    fn name(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_proposal_counts_in_its_own_batch_only() {
        let mut n = names();
        n.propose(name("a"), 1, 0, Some(1));
        assert_eq!(n.lookup(b"a", 0), Lookup::Known(1));
        assert_eq!(n.lookup(b"a", 1), Lookup::Unsettled);
        n.settle(b"a", 1, Settled::Applied);
        assert_eq!(n.lookup(b"a", 1), Lookup::Known(1));
    }

    #[test]
    fn a_failed_redefinition_leaves_the_old_one() {
        let mut n = names();
        n.propose(name("a"), 1, 0, Some(1));
        n.settle(b"a", 1, Settled::Applied);
        n.propose(name("a"), 2, 1, Some(2));
        assert_eq!(n.lookup(b"a", 2), Lookup::Unsettled);
        n.settle(b"a", 2, Settled::Reverted);
        assert_eq!(n.lookup(b"a", 2), Lookup::Known(1));
    }

    #[test]
    fn a_failed_parse_drops_the_unnamed_statement() {
        let mut n = names();
        n.propose(name(""), 1, 0, Some(1));
        n.settle(b"", 1, Settled::Applied);
        n.propose(name(""), 2, 1, Some(2));
        n.settle(b"", 2, Settled::Gone);
        assert_eq!(n.lookup(b"", 2), Lookup::Absent);
        assert_eq!(n.len(), 0);
    }

    #[test]
    fn the_end_of_a_transaction_keeps_what_is_on_its_way() {
        let mut n = names();
        n.propose(name("p"), 1, 0, Some(1));
        n.settle(b"p", 1, Settled::Applied);
        n.propose(name("q"), 2, 1, Some(2));
        n.clear_settled();
        assert_eq!(n.lookup(b"p", 1), Lookup::Absent);
        assert_eq!(n.lookup(b"q", 1), Lookup::Known(2));
    }
}
