//! Symbolic links that were asked for on this channel.
//!
//! Where a link leads cannot be seen from here. But one that was made a moment ago is the plainest way to be
//! permitted one path and to reach another, so a path through it counts as not known.

use std::sync::Arc;

use crate::transfer::Path;

/// Links that are remembered. No more can be made on a channel.
pub const LINKS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Links {
    at: Vec<Arc<str>>,
}

impl Links {
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// `path` is or will be a link.
    pub(super) fn add(&mut self, path: &Path) {
        if self.at.len() < LINKS_MAX && !self.at.contains(&path.text) {
            self.at.push(path.text.clone());
        }
    }

    /// What is at `from` will be at `to` as well, or instead.
    pub(super) fn moved(&mut self, from: &Path, to: &Path) {
        let there: Vec<Arc<str>> = self
            .at
            .iter()
            .filter_map(|link| below(link, &from.text))
            .map(|rest| format!("{}{rest}", to.text).into())
            .collect();
        for text in there {
            self.add(&Path { text, ..to.clone() });
        }
    }

    /// Would moving something to another place make more links than can be remembered?
    pub(super) fn room_for(&self, from: &Path) -> bool {
        let more = self
            .at
            .iter()
            .filter(|link| below(link, &from.text).is_some());
        self.at.len() + more.count() <= LINKS_MAX
    }

    /// It leads through a link, or, where the last one is followed too, ends at one.
    pub(super) fn lead(&self, path: &Path, follows: bool) -> bool {
        let through = |rest: &str| follows || !rest.is_empty();
        let mut links = self.at.iter();
        links.any(|link| below(&path.text, link).is_some_and(through))
    }
}

/// What follows `directory` in `path`, if it is below it or the same.
fn below<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(directory)?;
    (rest.is_empty() || rest.starts_with('/') || directory.ends_with('/')).then_some(rest)
}
