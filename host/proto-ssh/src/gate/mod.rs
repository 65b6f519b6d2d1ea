//! Gated shells: bash on the host asks about every line before it does anything of it, and about every simple command
//! before it runs it.
//!
//! The client's shell is replaced by a bash that reads `rc.sh` first. That sets a DEBUG trap which, with `extdebug`,
//! decides whether a command is run. What the trap asks comes back by a second channel, which Weir opens, the client
//! never sees, and `helper.sh` serves on the host; so does the verdict.
//!
//! - `asks` reads what comes over that channel.
//! - `lines` judges whole lines: what bash would do in one beside its simple commands.
//! - `elsewhere` is what other channels are kept from.
//! - `place` is where a command stands: what its text means depends on it.
//! - `reading` says what a command of bash is as a command line, and what is refused because it is about the gate:
//!   `paths` knows the ways to its pipes, `builtins` what bash itself could do to it, `arrays` what it computes unasked.
//!
//! Invariants:
//! - Pure: bytes in, asks and lines out. The relay's core moves them.
//! - Without an answer nothing runs: who cannot ask, or hears nothing, skips the command and what follows it.
//! - Who asks about a line is a process of its own, and may be killed: the shell goes on with a line only when it is told a
//!   number that it has thought of for that line, which nobody else has. So may those that it starts: what they say ends
//!   in what shows that it is all of it.
//! - A verdict is for one ask, which is named by a number of 122 random bits that the host's kernel makes for it; and a
//!   yes is sealed (`seal`) over all that was asked. The key is in Weir, in the helper, and in a function of the shell,
//!   whose text no expansion gives away, no child gets (it is not exported, and no argument) and no command may list.
//!   So who reads or writes the pipes can let a command wait for ever, but not run.

mod arrays;
mod asks;
mod builtins;
mod elsewhere;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod lines;
mod paths;
mod place;
mod reading;
mod seal;
#[cfg(test)]
mod tests;

use aws_lc_rs::rand;
use bytes::Bytes;

pub(crate) use arrays::Arrays;
pub(crate) use asks::{Ask, Asks, Said};
pub(crate) use elsewhere::{reaches_a_gate, text_reaches};
pub(crate) use lines::{Judged, Kind, Lines, Whole, kind, shown};
pub(crate) use place::Place;
pub(crate) use reading::{about_the_gate, command_line};
use seal::Key;

const HELPER: &str = include_str!("helper.sh");
const STARTUP: &str = include_str!("rc.sh");
/// What the startup file asks about when the trap is set, and at no other time.
pub(crate) const LIVE: &str = ": weir-live";

/// Of one gated shell: where it and its helper meet, the secret that they know each other by, and the key of its
/// verdicts. The secret goes through the pipes, the key does not.
#[derive(Clone)]
pub(crate) struct Gate {
    directory: String,
    secret: String,
    key: Key,
}

impl Gate {
    /// None: there is no randomness.
    pub fn new() -> Option<Self> {
        let (mut name, mut secret) = ([0; 16], [0; 32]);
        rand::fill(&mut name).ok()?;
        rand::fill(&mut secret).ok()?;
        Some(Self {
            directory: format!("/tmp/weir-{}", hex(&name)),
            secret: hex(&secret),
            key: Key::new()?,
        })
    }

    /// What runs in place of the client's shell, at its terminal.
    pub fn shell(&self) -> Bytes {
        format!("exec /bin/bash --rcfile {}/rc -i", self.directory).into()
    }

    /// What runs on the second channel.
    pub fn helper(&self) -> Bytes {
        let (helper, startup) = (shell::quote(HELPER), shell::quote(STARTUP));
        let directory = &self.directory;
        format!("exec /bin/bash --noprofile --norc -c {helper} weir-gate {directory} {startup}")
            .into()
    }

    /// What the helper is told first.
    pub fn greeting(&self) -> String {
        format!("{}\n{}\n", self.secret, self.key.written())
    }

    /// Who reads what the helper says.
    pub fn asks(&self) -> Asks {
        Asks::new(&self.secret, self.key.clone())
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
