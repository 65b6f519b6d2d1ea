//! What a write brings with it: code that it does not name, and rows of other relations.

use std::collections::{BTreeSet, HashSet};

use pipeline::Action;

use super::{FIRST_USER_OID, FunctionName, RelationInfo, Snapshot};

// Bits of pg_trigger.tgtype.
const INSERT: u16 = 4;
const DELETE: u16 = 8;
const UPDATE: u16 = 16;
const TRUNCATE: u16 = 32;

#[derive(Debug, Default)]
pub(crate) struct WriteEffects {
    /// Code that is not PostgreSQL's own runs: it can say anything, and change the rows.
    pub code: bool,
    /// Some of it stands in defaults, constraints and indexes, which planning looks at, too.
    pub stored: bool,
    /// Functions of casts that it implies.
    pub casts: BTreeSet<FunctionName>,
    /// Relations whose rows change too.
    pub reached: BTreeSet<usize>,
}

impl Snapshot {
    /// Can work on whole databases run code that is not PostgreSQL's own?
    pub(crate) fn hides_code(&self) -> bool {
        self.relations().iter().any(|r| r.hidden.stores)
    }

    pub(crate) fn write(&self, index: usize, action: Action) -> WriteEffects {
        let events = match action {
            Action::PostgresInsert => INSERT,
            Action::PostgresUpdate => UPDATE,
            Action::PostgresDelete => DELETE,
            Action::PostgresMerge => INSERT | UPDATE | DELETE,
            Action::PostgresTruncate => TRUNCATE,
            // What rewrites, checks or analyses rows runs what their columns and indexes run.
            Action::PostgresAlter | Action::PostgresUtility => INSERT,
            _ => return WriteEffects::default(),
        };
        let mut effects = WriteEffects::default();
        if events == TRUNCATE {
            // CASCADE empties whatever refers to it.
            let all = self.relations().iter();
            effects.code = all.map(|r| r.hidden.triggers).any(|t| t & TRUNCATE != 0);
            return effects;
        }
        let mut seen: HashSet<(usize, u16)> = HashSet::new();
        let mut queue = vec![(index, events)];
        while let Some((next, events)) = queue.pop() {
            if !seen.insert((next, events)) {
                continue;
            }
            let Some(info) = self.relation(next) else {
                effects.code = true;
                effects.stored = true;
                continue;
            };
            effects.of(info, events);
            // A row that moves to another partition leaves one and enters the other.
            let all = INSERT | UPDATE | DELETE;
            let moves = !info.children.is_empty() && events & UPDATE != 0;
            let below = if moves { all } else { events };
            queue.extend(info.children.iter().map(|&child| (child, below)));
            if info.oid >= FIRST_USER_OID {
                // What a view or a rule names can be what it writes to, in whatever way.
                queue.extend(info.reads.iter().map(|&read| (read, all)));
            }
            if events & (UPDATE | DELETE) != 0 {
                effects.reached.extend(&info.cascades);
                queue.extend(info.cascades.iter().map(|&to| (to, UPDATE | DELETE)));
            }
        }
        effects
    }
}

impl WriteEffects {
    fn of(&mut self, info: &RelationInfo, events: u16) {
        self.code |= info.hidden.triggers & events != 0;
        if events & (INSERT | UPDATE) != 0 {
            self.code |= info.hidden.stores;
            self.stored |= info.hidden.stores;
            self.casts.extend(info.hidden.casts.iter().cloned());
        }
    }
}
