//! Which variables a text has certainly set by the time a word is made, and what they can hold.
//!
//! Everything else may come from the client (TERM of a terminal, what `env` requests), or be a secret that the host
//! gives its programs. So a value counts only where it is sure to be there: not as a prefix, which is for one command,
//! not in a subshell, a pipe or in the background, and not behind what may not have run.

use std::collections::BTreeSet;

use crate::ast::{Join, Pipeline};
use crate::environment;
use crate::reading::Word as Arg;
use crate::reason::Opaque;
use crate::walk::Walk;

#[derive(Debug, Default)]
pub(crate) struct Variables {
    /// Those that are given a number somewhere, and those that may hold anything somewhere.
    numbers: BTreeSet<String>,
    texts: BTreeSet<String>,
    /// What arithmetic uses.
    computed: BTreeSet<String>,
    /// Certainly set, at the place that is being walked.
    sure: BTreeSet<String>,
}

impl Variables {
    pub(crate) fn is_sure(&self, name: &str) -> bool {
        self.sure.contains(name)
    }

    /// A subscript in the value would be run.
    pub(crate) fn computes(&mut self, name: &str) {
        if !(self.is_sure(name) && self.numbers.contains(name)) {
            self.texts.insert(name.to_owned());
        }
        self.computed.insert(name.to_owned());
    }

    /// Something is put behind what it held before.
    pub(crate) fn appends(&mut self, name: &str) {
        self.texts.insert(name.to_owned());
    }

    pub(crate) fn is_gone(&mut self, name: &str) {
        self.sure.remove(name);
    }

    /// From here on it holds what it was given.
    pub(crate) fn is_there(&mut self, name: &str) {
        self.sure.insert(name.to_owned());
    }

    /// What arithmetic uses, and may not be numbers.
    pub(crate) fn unknown(&self) -> Vec<String> {
        self.computed.intersection(&self.texts).cloned().collect()
    }
}

impl Walk<'_> {
    /// A variable gets a value, if this is run at all.
    pub(crate) fn set(&mut self, name: &str, value: &Arg) {
        if environment::decides(name, value) {
            self.opaque(Opaque::Environment(name.to_owned()));
        }
        let text = &value.text;
        let number =
            value.is_literal() && !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        let computed =
            text.starts_with("$((") && text.ends_with("))") && text.matches("$(").count() == 1;
        match number || computed {
            true => self.variables.numbers.insert(name.to_owned()),
            false => self.variables.texts.insert(name.to_owned()),
        };
    }

    /// What is set in it is not sure behind it.
    pub(crate) fn maybe(&mut self, walk: impl FnOnce(&mut Self)) {
        let before = self.variables.sure.clone();
        walk(self);
        self.variables.sure = before;
    }

    /// `first && then || else …`: behind `&&` what the last ones have set is there, behind `||` it may not be.
    pub(crate) fn chain(
        &mut self,
        first: &Pipeline,
        rest: &[(Join, Pipeline)],
        mut walk: impl FnMut(&mut Self, &Pipeline),
    ) {
        walk(self, first);
        let always = self.variables.sure.clone();
        for (join, pipeline) in rest {
            match join {
                Join::And => walk(self, pipeline),
                Join::Or => {
                    self.variables.sure = always.clone();
                    self.maybe(|me| walk(me, pipeline));
                }
            }
        }
        self.variables.sure = always;
    }
}
