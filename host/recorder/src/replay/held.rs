//! What waited for people, and of what nobody saw the end of that.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{action, field, list, parse, unreadable};
use crate::doc::HeldDoc;
use crate::keys::timestamp;
use crate::text::clean;

/// Actions that wait at the same time and are told of at the end; there are fewer.
const MAX_WAITING: usize = 1_000;

/// The holds of actions that have neither an intent nor a refusal yet.
#[derive(Default)]
pub(super) struct Waiting(BTreeMap<u64, String>);

impl Waiting {
    pub fn held(&mut self, at: &str, seq: u64, body: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let Some(doc) = parse::<HeldDoc>(body) else {
            return unreadable(at, "hold", out);
        };
        if self.0.len() < MAX_WAITING {
            self.0.insert(seq, doc.hold.clone());
        }
        action(at, seq, &doc.action, &doc.parameters, out)?;
        field(out, "decision", &clean(&doc.decision))?;
        field(out, "hold", &clean(&doc.hold))?;
        let basis = doc.action.basis.as_ref();
        list(out, "under rule", basis.map_or(&[], |basis| &basis.rules))?;
        field(out, "reason", &clean(&doc.reason))?;
        list(out, "asked by", &doc.action.policies)?;
        field(out, "until", &timestamp(doc.expires_ns))?;
        for line in &doc.shown {
            field(out, "shown", &clean(line))?;
        }
        Ok(())
    }

    /// The next record of this action says what became of it.
    pub fn decided(&mut self, seq: u64) {
        self.0.remove(&seq);
    }

    /// The session has ended: nothing more becomes of what still waits.
    pub fn ended(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for (seq, hold) in std::mem::take(&mut self.0) {
            let hold = clean(&hold);
            writeln!(
                out,
                "\n  #{seq} held (hold {hold}): nobody saw the end of that, and it was not forwarded"
            )?;
        }
        Ok(())
    }
}
