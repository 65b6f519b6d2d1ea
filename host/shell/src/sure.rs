//! Which variables a text has certainly set by the time a word is made, and what they can hold.
//!
//! Everything else may come from the client (TERM of a terminal, what `env` requests), or be a secret that the host
//! gives its programs. So a value counts only where it is sure to be there: not as a prefix, which is for one command,
//! not in a subshell, a pipe or in the background, not beside a redirection, which may fail, and not behind what may
//! not have run. Where a name is made readonly or taken away, at any place of the text, it counts nowhere.

use std::collections::BTreeSet;

use crate::ast::{Item, Join, List, Node, Part, Pipeline};
use crate::builtins::is_own_array;
use crate::parse::is_name;
use crate::reading::Word as Arg;
use crate::reason::Opaque;
use crate::walk::Walk;
use crate::{environment, expand};

/// bash lets nobody assign to these, and what follows on the same line is skipped then.
const LOCKED: &[&str] = &[
    "BASHOPTS",
    "BASH_VERSINFO",
    "EUID",
    "PPID",
    "SHELLOPTS",
    "UID",
];

/// These get other values by what the shell does, whatever they were given.
const OWN: &[&str] = &[
    "_",
    "HISTCMD",
    "OLDPWD",
    "OPTARG",
    "PROMPT_COMMAND",
    "PWD",
    "READLINE_ARGUMENT",
    "READLINE_LINE",
    "READLINE_MARK",
    "READLINE_POINT",
    "REPLY",
    "SRANDOM",
];

#[derive(Debug, Default)]
pub(crate) struct Variables {
    /// Those that are given a number somewhere, and those that may hold anything somewhere.
    numbers: BTreeSet<String>,
    texts: BTreeSet<String>,
    /// What arithmetic uses.
    computed: BTreeSet<String>,
    /// Certainly set, at the place that is being walked.
    sure: BTreeSet<String>,
    /// What was added to `sure` and is still in it, in this order. So to go back costs no more than to have come.
    added: Vec<String>,
    /// Somewhere made readonly or taken away.
    never: BTreeSet<String>,
    /// What was used because it was sure.
    relied: BTreeSet<String>,
    /// Something may have failed in such a way that the shell skips what follows and goes on behind it.
    skips: bool,
    /// Somewhere a variable becomes an array; and somewhere `declare` and its like give one whatever another one holds.
    pub(crate) arrays: bool,
    pub(crate) declared: bool,
    /// How often a name was put in or taken out.
    #[cfg(test)]
    pub(crate) moves: usize,
}

impl Variables {
    pub(crate) fn is_sure(&mut self, name: &str) -> bool {
        let sure = self.sure.contains(name) && !self.never.contains(name);
        if sure && !self.relied.contains(name) {
            self.relied.insert(name.to_owned());
        }
        sure
    }

    /// A subscript in the value would be run.
    pub(crate) fn computes(&mut self, name: &str) {
        let own = OWN.contains(&name) || name.starts_with("EPOCH") || is_own_array(name);
        if own || !(self.is_sure(name) && self.numbers.contains(name)) {
            self.texts.insert(name.to_owned());
        }
        self.computed.insert(name.to_owned());
    }

    /// Something is put behind what it held before.
    pub(crate) fn appends(&mut self, name: &str) {
        self.texts.insert(name.to_owned());
    }

    /// It cannot be set any more, or is there no more: from when on, what runs before what does not tell.
    pub(crate) fn never(&mut self, name: &str) {
        self.never.insert(name.to_owned());
    }

    /// From here on it holds what it was given.
    pub(crate) fn is_there(&mut self, name: &str) {
        if LOCKED.contains(&name) {
            self.skips = true;
        }
        if !self.skips && !self.sure.contains(name) {
            self.sure.insert(name.to_owned());
            self.added.push(name.to_owned());
            self.moved();
        }
    }

    /// What follows may be skipped.
    pub(crate) fn may_skip(&mut self) {
        self.skips = true;
    }

    fn back_to(&mut self, mark: usize) {
        while self.added.len() > mark {
            if let Some(name) = self.added.pop() {
                self.sure.remove(&name);
                self.moved();
            }
        }
    }

    fn moved(&mut self) {
        #[cfg(test)]
        {
            self.moves += 1;
        }
    }

    /// What arithmetic uses, and may not be numbers.
    pub(crate) fn unknown(&self) -> Vec<String> {
        let other = |name: &&String| {
            self.texts.contains(*name) || self.never.contains(*name) && self.relied.contains(*name)
        };
        self.computed.iter().filter(other).cloned().collect()
    }

    /// A name was taken for sure that is not.
    pub(crate) fn deceived(&self) -> bool {
        !self.never.is_disjoint(&self.relied)
    }
}

impl Walk<'_> {
    /// A variable gets a value, if this is run at all.
    pub(crate) fn set(&mut self, name: &str, value: &Arg) {
        if environment::decides(name, value) {
            self.opaque(Opaque::Environment(name.to_owned()));
        }
        if LOCKED.contains(&name) {
            self.variables.may_skip();
        }
        // `08` is no number, and where one is wanted the shell gives up.
        let decimal = value.is_literal() && is_decimal(&value.text);
        match decimal || value.number {
            true => self.variables.numbers.insert(name.to_owned()),
            false => self.variables.texts.insert(name.to_owned()),
        };
    }

    /// What is set in it is not sure behind it.
    pub(crate) fn maybe(&mut self, walk: impl FnOnce(&mut Self)) {
        let (mark, away) = (self.variables.added.len(), self.away);
        walk(self);
        self.variables.back_to(mark);
        self.away = away;
    }

    /// It runs at another time, or in another environment: what is set by now need not be there.
    pub(crate) fn afresh(&mut self, walk: impl FnOnce(&mut Self)) {
        let sure = std::mem::take(&mut self.variables.sure);
        let added = std::mem::take(&mut self.variables.added);
        let away = std::mem::take(&mut self.away);
        walk(self);
        self.away = away;
        self.variables.sure = sure;
        self.variables.added = added;
    }

    /// `first && then || else …`: behind `&&` what the last ones have set is there, behind `||` it may not be. So it is
    /// with the directory to which one of them goes, and behind the chain nobody knows whether it could.
    pub(crate) fn chain(
        &mut self,
        first: &Pipeline,
        rest: &[(Join, Pipeline)],
        mut walk: impl FnMut(&mut Self, &Pipeline),
    ) {
        let away = self.away;
        walk(self, first);
        // What did not succeed has not gone anywhere.
        self.away &= away || !first.negated;
        let always = self.variables.added.len();
        for (join, pipeline) in rest {
            match join {
                Join::And => walk(self, pipeline),
                Join::Or => {
                    self.variables.back_to(always);
                    self.away = away;
                    self.maybe(|me| walk(me, pipeline));
                }
            }
            self.away &= away || !pipeline.negated;
        }
        self.variables.back_to(always);
        self.away = away;
    }

    /// `while read -r name`: in the body it has read something.
    pub(crate) fn has_read(&mut self, test: &List) {
        let [Item { first, rest, .. }] = test.items.as_slice() else {
            return;
        };
        let [stage] = first.stages.as_slice() else {
            return;
        };
        let Node::Simple(simple) = &stage.node else {
            return;
        };
        let plain = rest.is_empty() && !first.negated;
        if !plain || simple.assigns.iter().any(|a| a.name != "IFS") {
            return;
        }
        let Ok(words) = expand::words(&simple.words) else {
            return;
        };
        if words.first().is_some_and(|w| w.text == "read") {
            for name in reads_into(words.get(1..).unwrap_or_default()) {
                self.variables.is_there(name);
            }
        }
    }

    /// An error in it ends more than its command: the shell skips the rest of the line.
    pub(crate) fn fails(&mut self, part: &Part) {
        let may = match part {
            Part::Arith { raw, .. } => {
                let inside = raw.strip_prefix("$((").and_then(|r| r.strip_suffix("))"));
                !inside.is_some_and(is_sum)
            }
            Part::Param { raw, .. } => {
                let name = raw.trim_start_matches(['$', '{', '#']);
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let rest = name.trim_start_matches(word);
                let special = name.len() == rest.len();
                let operator = raw.starts_with("${")
                    && rest.starts_with(['?', '!', '@', '[', ':'])
                    && ![":-", ":+", ":="].iter().any(|o| rest.starts_with(o));
                // `$?` and `${?}` are no operators.
                operator && !(special && rest.chars().count() <= 2)
            }
            _ => false,
        };
        if may {
            self.variables.may_skip();
        }
    }
}

/// Names and numbers with one sign between each two of them: nothing in it fails.
fn is_sum(text: &str) -> bool {
    let operand = |text: &str| is_name(text) || is_decimal(text);
    let mut parts = text.split(['+', '-', '*', '<', '>', '&', '|', ',']);
    parts.all(|part| operand(part.trim_matches([' ', '\t'])))
}

fn is_decimal(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

/// The names that `read` sets for sure, if it does not fail: none, if it is told anything unusual.
pub(crate) fn reads_into(args: &[Arg]) -> Vec<&str> {
    let options = args.iter().take_while(|w| w.text.starts_with('-')).count();
    let (options, names) = args.split_at(options);
    let plain = options
        .iter()
        .all(|w| w.is_literal() && matches!(w.text.as_str(), "-r" | "-s" | "-rs" | "-sr"));
    let named = names
        .iter()
        .all(|w| w.is_literal() && crate::parse::is_name(&w.text));
    match plain && named {
        true => names.iter().map(|w| w.text.as_str()).collect(),
        false => Vec::new(),
    }
}
