//! What kept a secret: as a row expects it, and as it is seen from what came back.

use weir_tests::wire::{Fields, Reply};

/// One defence, or a set of those that would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Defence(u8);

/// Values came, and others in place of labelled ones.
pub const MASKED: Defence = Defence(1);
/// NULL came where there is a value.
pub const NULLED: Defence = Defence(2);
/// Weir refused a statement.
pub const REFUSED: Defence = Defence(4);
/// The server's error or notice came without its text.
pub const REDACTED: Defence = Defence(8);
/// A setting may not be changed.
pub const PINNED: Defence = Defence(16);
/// The server itself refuses it, in the same words whatever the labelled values are.
pub const FAILED: Defence = Defence(32);
/// What came is what would have come without Weir, and has nothing to do with labelled values.
pub const HARMLESS: Defence = Defence(64);

const NAMES: &[(Defence, &str)] = &[
    (REFUSED, "refused"),
    (PINNED, "pinned"),
    (REDACTED, "redacted"),
    (FAILED, "fails"),
    (MASKED, "masked"),
    (NULLED, "null"),
    (HARMLESS, "harmless"),
];

impl Defence {
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn allows(self, met: Self) -> bool {
        met.0 != 0 && self.0 & met.0 == met.0
    }

    pub fn name(self) -> String {
        let names = NAMES.iter().filter(|(d, _)| self.0 & d.0 != 0);
        names.map(|(_, name)| *name).collect::<Vec<_>>().join(" + ")
    }
}

/// What was met, with what comes past Weir to compare with.
pub fn met(replies: &[Reply], direct: &[Reply]) -> Defence {
    let errors = || replies.iter().flat_map(|r| &r.errors);
    let withheld = |f: &Fields| f.message().starts_with("the message is withheld");
    if errors().any(|e| e.message().contains("is pinned by the proxy")) {
        return PINNED;
    }
    // PostgreSQL says in which of its routines an error was raised.
    if errors().any(|e| e.get('R').is_empty() && !withheld(e)) {
        return REFUSED;
    }
    let notices = replies.iter().flat_map(|r| &r.notices);
    if errors().chain(notices).any(withheld) {
        return REDACTED;
    }
    if errors().next().is_some() {
        return FAILED;
    }
    let mut met = 0;
    for (reply, plain) in replies.iter().zip(direct) {
        // The order of rows says nothing.
        let values = |r: &Reply| r.rows.iter().flatten().cloned().collect::<Vec<_>>();
        let (got, plain_values) = (values(reply), values(plain));
        let nulls = |values: &[Option<Vec<u8>>]| values.iter().filter(|v| v.is_none()).count();
        if nulls(&got) > nulls(&plain_values) {
            met |= NULLED.0;
        }
        if got.iter().any(|v| v.is_some() && !plain_values.contains(v)) {
            met |= MASKED.0;
        }
        if reply.copied != plain.copied {
            met |= MASKED.0;
        }
    }
    if met == 0 { HARMLESS } else { Defence(met) }
}
