//! What names mean inside one session: search path, temporary schema, prepared statements, cursors.

use std::collections::HashMap;
use std::sync::Arc;

use super::{CatalogError, Path};
use crate::analysis::{Analysis, Effect, Summary};

/// Names of prepared statements or cursors that are remembered; a client that uses more gets its
/// EXECUTE and FETCH refused or masked as unknown.
const MAX_REMEMBERED: usize = 10_000;
/// Different statements under one name.
const MAX_PER_NAME: usize = 64;

/// The state of one upstream session that decides what a text means.
#[derive(Debug, Clone, Default)]
pub struct SessionState {
    /// Code that is not PostgreSQL's own ran in this transaction: it can have opened cursors of any
    /// name.
    foreign: bool,
    schemas: Vec<Arc<str>>,
    unknown: bool,
    /// The path was set since a transaction began: its end can set it back.
    unsettled: bool,
    prepared: Remembered,
    cursors: Remembered,
}

impl SessionState {
    /// One row; feed it to `new` and `refreshed`.
    pub const QUERY: &'static str =
        "SELECT pg_catalog.current_schemas(true), current_user, session_user";

    pub fn new(row: &[Option<String>]) -> Result<Self, CatalogError> {
        let mut state = Self::default();
        state.refreshed(row)?;
        Ok(state)
    }

    /// The connection is idle and the server was asked again.
    pub fn refreshed(&mut self, row: &[Option<String>]) -> Result<(), CatalogError> {
        let [Some(schemas), _, _] = row else {
            return Err(CatalogError::Shape {
                query: 0,
                expected: 3,
                got: row.len(),
            });
        };
        self.schemas = array(schemas).ok_or_else(|| CatalogError::Value {
            query: 0,
            what: "the search path",
            value: schemas.chars().take(64).collect(),
        })?;
        self.unknown = false;
        Ok(())
    }

    /// A text was forwarded: its effects count from now on, before its success is known, in union
    /// with what was.
    pub fn forwarded(&mut self, analysis: &Analysis) {
        self.foreign |= analysis.summaries.iter().any(|s| s.foreign);
        for effect in analysis.summaries.iter().flat_map(|s| &s.effects) {
            match effect {
                Effect::Path => {
                    self.unknown = true;
                    self.unsettled = true;
                }
                Effect::Ends => self.unknown |= self.unsettled,
                Effect::Prepares(name, summary, text) => {
                    self.prepared.add(name, summary, text, false);
                }
                Effect::Declares(name, summary) => {
                    self.cursors.add(name, summary, &analysis.facts.text, false);
                }
            }
        }
    }

    /// A Parse message was forwarded: SQL's EXECUTE can run it by its name.
    pub fn parsed(&mut self, name: &str, analysis: &Analysis) {
        for summary in &analysis.summaries {
            self.prepared.add(name, summary, &analysis.facts.text, true);
        }
    }

    /// A Bind message was forwarded: SQL's FETCH can read the portal by its name.
    pub fn bound(&mut self, portal: &str, analysis: &Analysis) {
        for summary in &analysis.summaries {
            self.cursors
                .add(portal, summary, &analysis.facts.text, true);
        }
    }

    /// No transaction is open: cursors that code has opened are gone.
    pub fn idle(&mut self) {
        self.foreign = false;
    }

    /// The catalogue may have changed and cannot be read now.
    pub fn doubt(&mut self) {
        self.unknown = true;
    }

    /// Unqualified names mean the union of all schemas until `refreshed`.
    pub fn search_path_unknown(&self) -> bool {
        self.unknown
    }

    pub(crate) fn path(&self) -> Path<'_> {
        if self.unknown {
            Path::Unknown
        } else {
            Path::Known(&self.schemas)
        }
    }

    pub(crate) fn prepared(&self, name: &str) -> Vec<Prepared> {
        self.prepared.get(name)
    }

    pub(crate) fn cursor(&self, name: &str) -> Vec<Arc<Summary>> {
        if self.foreign {
            return Vec::new();
        }
        let known = self.cursors.get(name).into_iter();
        known.map(|k| k.summary).collect()
    }
}

/// One meaning of a name.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub summary: Arc<Summary>,
    pub text: Arc<str>,
    /// The text is the statement itself, by a Parse message; else it holds a PREPARE.
    pub whole: bool,
}

/// Everything that was ever meant by a name in this session.
#[derive(Debug, Clone, Default)]
struct Remembered {
    by_name: HashMap<Box<str>, Vec<Prepared>>,
    /// Names with more meanings than are kept.
    full: bool,
}

impl Remembered {
    fn add(&mut self, name: &str, summary: &Arc<Summary>, text: &Arc<str>, whole: bool) {
        let meaning = || Prepared {
            summary: summary.clone(),
            text: text.clone(),
            whole,
        };
        if name.is_empty() {
            // SQL has no way to name it.
            return;
        }
        if let Some(known) = self.by_name.get_mut(name) {
            if known.iter().any(|k| Arc::ptr_eq(&k.summary, summary)) {
                return;
            }
            if known.len() >= MAX_PER_NAME {
                known.clear();
                self.full = true;
                return;
            }
            if !self.full || !known.is_empty() {
                known.push(meaning());
            }
        } else if self.by_name.len() < MAX_REMEMBERED {
            self.by_name.insert(name.into(), vec![meaning()]);
        }
    }

    fn get(&self, name: &str) -> Vec<Prepared> {
        self.by_name.get(name).cloned().unwrap_or_default()
    }
}

/// A one-dimensional array of names in PostgreSQL's text form.
fn array(text: &str) -> Option<Vec<Arc<str>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut out: Vec<Arc<str>> = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                any = true;
            }
            '\\' => word.push(chars.next()?),
            ',' if !quoted => {
                out.push(word.as_str().into());
                word.clear();
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if quoted {
        return None;
    }
    if any || !out.is_empty() {
        out.push(word.as_str().into());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays() {
        for (text, expect) in [
            ("{}", Some(vec![])),
            ("{pg_catalog,public}", Some(vec!["pg_catalog", "public"])),
            (r#"{"a,b","c\"d",e}"#, Some(vec!["a,b", "c\"d", "e"])),
            (r#"{"a}"#, None),
            ("public", None),
        ] {
            let got = array(text);
            let got = got
                .as_ref()
                .map(|v| v.iter().map(|s| &**s).collect::<Vec<_>>());
            assert_eq!(got, expect, "{text}");
        }
    }

    #[test]
    fn rows_of_the_wrong_shape() {
        assert!(SessionState::new(&[]).is_err());
        assert!(SessionState::new(&[None, None, None]).is_err());
        assert!(SessionState::new(&[Some("x".into()), None, None]).is_err());
    }
}
