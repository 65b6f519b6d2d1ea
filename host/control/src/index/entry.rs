//! What the index is told: records, without anything that could hold a value of somebody's data.

use serde::{Deserialize, Serialize};

use crate::store::Millis;

/// Longer lists are cut.
pub(super) const MOST: usize = 64;
/// Longer names are cut.
pub(super) const LONGEST: usize = 200;
/// A longer statement is not searchable by its words.
pub(super) const LONGEST_TEXT: usize = 32 << 10;

/// How far the record was read: a place in the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexPlace {
    pub file: u64,
    pub chain: [u8; 32],
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    pub stream: [u8; 16],
    /// Its number in its stream.
    pub n: u64,
    pub at: Millis,
    /// The number of the action that it belongs to.
    pub action: Option<u64>,
    pub what: Indexed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Indexed {
    Started(Box<IndexStart>),
    Action(Box<IndexAction>),
    /// It waits for people from here on; what becomes of it is its action.
    Held(Box<IndexAction>),
    Outcome(IndexOutcome),
    /// A session ended, and why in one word.
    Ended(String),
    /// An instance of Weir began to record: which one.
    Instance(String),
    Act(Box<IndexAct>),
    Gap(String),
    /// A record that could not be read.
    Unreadable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexStart {
    pub who: IndexWho,
    pub target: String,
    pub database: String,
    pub source: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexWho {
    pub kind: String,
    pub subject: String,
    pub issuer: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// From the human at the head.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<String>,
}

/// An intent, a refusal or a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexAction {
    /// `permit`, how it was refused, or `held`.
    pub decision: String,
    pub shape: IndexShape,
    /// What takes the place of `shape` when the server has carried the statement out: with names that
    /// are known to be names by then.
    pub carried: Option<IndexShape>,
    pub risk: u8,
    /// The statement, or why there is none.
    pub text: Result<IndexText, &'static str>,
    pub hold: Option<String>,
    pub rules: Vec<String>,
    pub approvers: Vec<String>,
}

/// A statement without anything that can be a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexText {
    /// With all words: true when the server has carried it out, since they are names then.
    pub carried: String,
    /// With the words that are names for certain.
    pub known: String,
}

/// What many actions have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexShape {
    /// Of a statement.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// Type and name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Of the data and of the risk.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Name, version and digest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<(String, String, String)>,
    /// Columns that stayed masked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// Name and version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<(String, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexOutcome {
    pub outcome: String,
    /// A command tag or an SQLSTATE, no text of the server's.
    pub detail: String,
    pub rows: u64,
    pub elapsed_us: u64,
}

/// An operator's act, or something that happened to Weir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexAct {
    pub who: Option<IndexWho>,
    pub action: String,
    pub resource: String,
    pub refused: bool,
}

/// Cut to what the index keeps of names.
pub(super) fn name(text: &str) -> &str {
    crate::convert::prefix(text, LONGEST)
}

/// By what a shape is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    Action = 1,
    Resource = 2,
    Label = 3,
    Policy = 4,
    Plugin = 5,
}

impl IndexShape {
    /// Bounded, whatever it was made of.
    pub(super) fn cut(mut self) -> Self {
        for list in [
            &mut self.actions,
            &mut self.resources,
            &mut self.labels,
            &mut self.findings,
            &mut self.policies,
            &mut self.masked,
        ] {
            list.truncate(MOST);
            for item in list {
                *item = name(item).to_owned();
            }
        }
        self.plugins.truncate(MOST);
        for (a, b, c) in &mut self.plugins {
            for item in [a, b, c] {
                *item = name(item).to_owned();
            }
        }
        self
    }

    pub(super) fn terms(&self) -> Vec<(Term, &str)> {
        let mut out = Vec::new();
        out.extend(self.actions.iter().map(|a| (Term::Action, &**a)));
        for resource in &self.resources {
            out.extend(resource_names(resource).map(|name| (Term::Resource, name)));
        }
        out.extend(self.labels.iter().map(|l| (Term::Label, &**l)));
        out.extend(self.policies.iter().map(|p| (Term::Policy, &**p)));
        for (name, _, digest) in &self.plugins {
            out.extend([(Term::Plugin, &**name), (Term::Plugin, &**digest)]);
        }
        out
    }
}

/// `PgTable::shop.public.users` is found by this, and by every end of it that begins behind `::` or a
/// dot.
fn resource_names(resource: &str) -> impl Iterator<Item = &str> {
    let (kind, name) = resource.split_once("::").unwrap_or(("", resource));
    let mut rest = Some(name).filter(|_| !kind.is_empty());
    let parts = std::iter::from_fn(move || {
        let here = rest?;
        rest = here.split_once('.').map(|(_, behind)| behind);
        Some(here)
    });
    std::iter::once(resource).chain(parts.filter(|p| !p.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_found_by_the_ends_of_their_names() {
        for (resource, names) in [
            (
                "PgTable::shop.public.users",
                &[
                    "PgTable::shop.public.users",
                    "shop.public.users",
                    "public.users",
                    "users",
                ][..],
            ),
            ("System", &["System"]),
            ("Target::", &["Target::"]),
        ] {
            let found: Vec<&str> = resource_names(resource).collect();
            assert_eq!(found, names);
        }
    }
}
