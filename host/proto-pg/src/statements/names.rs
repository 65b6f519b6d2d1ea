//! Names of prepared statements and portals, as the server will see them.
//!
//! A change is proposed when its message is sent and settled when the server answers. Within one
//! batch, up to its Sync, a later message runs only if all earlier ones succeeded, so the proposal
//! counts. Across batches it may have failed: who needs such a name waits until it is settled.

use std::collections::HashMap;

use bytes::Bytes;

use crate::refusal::Refused;
use crate::upstream::OWN_PREFIX;

/// `NAMEDATALEN` - 1 (pg_config_manual.h). The server keeps no more of a name than this many bytes,
/// and says nothing: two names that are longer can be one.
const MAX_NAME: usize = 63;

/// Is `name`, of a prepared statement or a portal, the same to the server as to us? `utf8`: the
/// database's encoding is ours. Else the server converts names: they get longer or shorter, and two of
/// them can become one.
pub fn fit_name(name: &[u8], utf8: bool) -> Result<(), Refused> {
    if name.len() > MAX_NAME {
        let text = format!("a name of a statement or portal has at most {MAX_NAME} bytes");
        return Err(Refused::new("42622", text));
    }
    let readable = if utf8 {
        std::str::from_utf8(name).is_ok()
    } else {
        name.is_ascii()
    };
    if !readable {
        let text = "a name of a statement or portal has bytes that this database reads otherwise";
        return Err(Refused::new("42602", text).hint("Use ASCII letters and digits."));
    }
    if name.starts_with(OWN_PREFIX) {
        let text = "names with this prefix belong to Weir";
        return Err(Refused::new("42602", text));
    }
    Ok(())
}

/// As much of a name as the server keeps, where that is all it would change.
pub fn cut_name(name: &[u8], utf8: bool) -> Option<&[u8]> {
    let cut = name.get(..MAX_NAME)?;
    // The server cuts through characters, but does not accept such a name from outside.
    fit_name(cut, utf8).is_ok().then_some(cut)
}

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
    /// How many names are in use; the unnamed one is no name.
    pub fn named(&self) -> usize {
        self.slots.len() - usize::from(self.slots.contains_key(&b""[..]))
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

    /// The server dropped what it had under this name: DEALLOCATE, CLOSE.
    pub fn drop_settled(&mut self, name: &[u8]) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.settled = None;
            if slot.pending.is_empty() {
                self.slots.remove(name);
            }
        }
    }

    /// DEALLOCATE ALL: the unnamed one is not among them.
    pub fn clear_named(&mut self) {
        self.slots.retain(|name, slot| {
            if !name.is_empty() {
                slot.settled = None;
            }
            slot.settled.is_some() || !slot.pending.is_empty()
        });
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
    fn names_that_the_server_reads_otherwise() {
        let cyrillic = "ж".repeat(31);
        for (name, utf8, code) in [
            (&b"s1"[..], false, ""),
            (&[b'x'; 63], false, ""),
            (&[b'x'; 64], true, "42622"),
            (cyrillic.as_bytes(), true, ""),
            (cyrillic.as_bytes(), false, "42602"),
            (b"\xff", true, "42602"),
            (b"weir:catalog", true, "42602"),
            (b"", false, ""),
        ] {
            let fit = fit_name(name, utf8);
            let got = fit.err().map_or(String::new(), |r| r.sqlstate);
            assert_eq!(got, code, "{name:?} {utf8}");
        }
    }

    #[test]
    fn names_as_the_server_cuts_them() {
        let long = "x".repeat(70);
        let cyrillic = "ж".repeat(40);
        assert_eq!(cut_name(long.as_bytes(), false), Some(&[b'x'; 63][..]));
        assert_eq!(cut_name(cyrillic.as_bytes(), true), None);
        let odd = format!("x{cyrillic}");
        assert_eq!(cut_name(odd.as_bytes(), true), odd.as_bytes().get(..63));
        assert_eq!(cut_name(cyrillic.as_bytes(), false), None);
        assert_eq!(cut_name(&[0xff; 70], true), None);
        assert_eq!(cut_name(format!("weir:{long}").as_bytes(), true), None);
        assert_eq!(cut_name(b"short", true), None);
    }

    #[test]
    fn what_sql_drops_is_gone_unless_it_is_on_its_way() {
        let mut n = names();
        n.propose(name("a"), 1, 0, Some(1));
        n.settle(b"a", 1, Settled::Applied);
        n.drop_settled(b"a");
        assert_eq!((n.lookup(b"a", 1), n.named()), (Lookup::Absent, 0));
        n.propose(name("a"), 2, 1, Some(2));
        n.drop_settled(b"a");
        assert_eq!(n.lookup(b"a", 1), Lookup::Known(2));
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
        assert!(n.slots.is_empty());
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
