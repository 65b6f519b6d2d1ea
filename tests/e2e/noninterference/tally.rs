//! What came of the queries, counted.

use std::collections::BTreeMap;
use std::fmt;

use weir_tests::wire::Reply;

use crate::vaults::Vaults;

/// Bytes of a stream that are shown on either side of a difference.
const AROUND: usize = 300;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// As it would have come without Weir.
    Shown,
    /// With other values, or none, in some places.
    Masked,
    /// Weir refused a statement.
    Refused,
    /// The server's error, as it came.
    Failed,
    /// The server's error, without its text.
    Redacted,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub asked: usize,
    counts: BTreeMap<Outcome, usize>,
    /// What told the vaults apart.
    pub different: Vec<String>,
}

impl Tally {
    pub fn count(&self, outcome: Outcome) -> usize {
        self.counts.get(&outcome).copied().unwrap_or_default()
    }

    /// Are the two the same? Then nothing labelled can be in them.
    pub fn compare(&mut self, what: &str, a: &[Reply], b: &[Reply], vaults: &Vaults) -> bool {
        self.asked += 1;
        let (a, b) = (vaults.stream(a), vaults.stream(b));
        if a != b {
            self.different.push(format!("{what}\n{}", both(&a, &b)));
        }
        a == b
    }

    pub fn outcome(&mut self, got: &[Reply], plain: &[Reply], vaults: &Vaults) {
        let mut errors = got.iter().flat_map(|r| &r.errors);
        let outcome = match errors.next() {
            Some(e) if e.message().starts_with("the message is withheld") => Outcome::Redacted,
            Some(e) if e.get('R').is_empty() => Outcome::Refused,
            Some(_) => Outcome::Failed,
            None if vaults.stream(got) == vaults.stream(plain) => Outcome::Shown,
            None => Outcome::Masked,
        };
        *self.counts.entry(outcome).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |outcome| self.count(outcome);
        write!(
            f,
            "{} asked, {} shown, {} masked, {} refused, {} fail, {} fail with their text withheld; {} differ",
            self.asked,
            count(Outcome::Shown),
            count(Outcome::Masked),
            count(Outcome::Refused),
            count(Outcome::Failed),
            count(Outcome::Redacted),
            self.different.len()
        )
    }
}

/// Two streams from where they differ.
pub fn both(a: &[u8], b: &[u8]) -> String {
    let at = a.iter().zip(b).position(|(x, y)| x != y);
    let at = at.unwrap_or(a.len().min(b.len()));
    let part = |s: &[u8]| {
        let part = &s[at.saturating_sub(AROUND)..s.len().min(at + AROUND)];
        String::from_utf8_lossy(part).replace('\0', "·")
    };
    format!("  {}\n  {}", part(a), part(b))
}
