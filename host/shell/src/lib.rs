//! What a shell command line runs, as far as reading it can tell.
//!
//! Place in the flow: `proto-ssh` reads the command of each exec request here, and the script that a client sends to
//! an interpreter's standard input; the facts that come out are decided on like those of a statement.
//!
//! - `parse` and `word` make the tree: a strict, linear reader of the grammar, with bounded depth. `expand` makes
//!   the words that programs get.
//! - `opinion` asks two other parsers whether they find the same.
//! - `walk` finds the commands, `peel`, `marks` and `containers` take wrappers off, `builtins` knows what the shell itself does.
//! - `gaps` finds what bash does before it tells its `DEBUG` trap of it, for shells whose commands are asked about.
//! - `pages` knows which programs show a pager at a terminal.
//! - `reads`, `stdin`, `hazards`, `interpreters`, `sed` and `transfer` say what is known about single programs.
//! - `zsh` knows what a shell other than bash makes of a text.
//! - `files` collects what may be names of files. `descend` knows programs that read all below a directory, `named`
//!   those that tell what lies in files which no word names, `patterns` words that only look like names.
//! - `here` says which names begin in the directory where the text does.
//! - `canonical` writes the text once more, in the plainest form.
//!
//! What no reading of a text can tell is taken to be in order: the files of the host, where it looks for programs,
//! what its shell is told when it starts, and a locale in which ASCII is ASCII.
//!
//! Architecture invariants:
//! - Pure: no I/O, no clock. What is read is bounded by `Limits`, and so is the time.
//! - A reading without a reason to be opaque names every program that the text runs by itself. Where that is not
//!   certain there is a reason, never a guess.
//! - Shells differ. A reading is one of bash; `canonical` means the same to every POSIX shell, and is what the
//!   host is to be given.

mod ansi;
mod ast;
mod builtins;
mod canonical;
mod compound;
mod containers;
mod cursor;
mod define;
mod descend;
mod environment;
mod expand;
mod feed;
mod files;
mod find;
mod gaps;
mod hazards;
mod here;
mod interpreters;
mod lookups;
mod marks;
mod named;
mod opinion;
mod options;
mod pages;
mod parse;
mod patterns;
mod peel;
mod posix;
mod programs;
mod reading;
mod reads;
mod reason;
mod redirect;
mod sed;
mod shows;
mod stdin;
mod sure;
mod transfer;
mod walk;
mod word;
mod wrappers;
mod zsh;

pub use builtins::is_own_array;
pub use canonical::quote;
pub use gaps::{Gap, gaps};
pub use reading::{Access, Command, Files, Hazard, Reading, Redirect, Script, Transfer, Word};
pub use reason::Opaque;

/// How much is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    pub depth: usize,
    /// Words and commands, in the text and in what is cut out of it.
    pub words: usize,
    /// Commands of a reading.
    pub commands: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 128 << 10,
            depth: 16,
            words: 20_000,
            commands: 1_000,
        }
    }
}

/// What a command line runs, as it is given to a shell by `-c`.
pub fn read(command: &[u8], limits: &Limits) -> Reading {
    start(command, limits, None)
}

/// What a script runs that `shell` reads from its standard input.
pub fn read_script(script: &[u8], shell: &str, limits: &Limits) -> Reading {
    start(script, limits, Some(shell))
}

fn start(bytes: &[u8], limits: &Limits, script: Option<&str>) -> Reading {
    let text = match text(bytes, limits) {
        Ok(text) => text,
        Err(reason) => return Reading::opaque(reason),
    };
    let mut walk = walk::Walk::new(limits, script.is_some());
    let mut ctx = walk.ctx();
    ctx.shell = script
        .map(programs::name)
        .filter(|shell| *shell != "bash")
        .map(str::to_owned);
    let program = walk.text(text, &ctx);
    let mut reading = walk.finish();
    if let Some(program) = program.filter(|_| script.is_none() && !reading.is_opaque()) {
        reading.set_canonical(&program, limits);
    }
    reading
}

/// Runs a text that every shell reads in the same way. It was read as bash does it, whose `echo` and `[` are not those of
/// others: so bash runs it where the host has one. What bash reads when it starts, the login shell has read by then.
pub fn for_any_host(text: &str) -> String {
    let other = r#"; exec /bin/sh -c -- "${1%:weir.}" sh"#;
    sent(text, &format!("[ -x /bin/bash ] && {BASH}{other}"))
}

fn for_bash(text: &str) -> String {
    sent(text, BASH)
}

/// Linux starts no program with a longer argument (MAX_ARG_STRLEN).
const MAX_SENT: usize = 128 << 10;

const BASH: &str = r#"exec /bin/bash --norc -c -- "${1%:weir.}" bash"#;

/// `shell` runs the text, which is `$1` without the mark that says that all of it is there, and may look like an option. Whichever shell the login has takes it for one
/// word: what could mean something to any of them, line ends to csh and `&` to Windows among it, goes as its number, which
/// `printf` makes a character of again.
fn sent(text: &str, shell: &str) -> String {
    use std::fmt::Write;
    let mut word = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b" _./-,:=@+".contains(&byte);
        match plain {
            true => word.push(char::from(byte)),
            false => {
                let _ = write!(word, "\\0{byte:03o}");
            }
        }
    }
    let text = r#"set -- "$(printf %b:weir. "$0")"; [ "${1%:weir.}" != "$1" ] || exit 127; "#;
    format!("exec /bin/sh -c '{text}{shell}' '{word}'")
}

impl Reading {
    /// Kept only if it is read as the text itself is.
    fn set_canonical(&mut self, program: &parse::Program, limits: &Limits) {
        let Some((text, needs_bash)) = canonical::render(program) else {
            return;
        };
        if text.is_empty() {
            // Nothing but a comment.
            return;
        }
        let mut walk = walk::Walk::new(limits, false);
        let ctx = walk.ctx();
        walk.text(&text, &ctx);
        let again = walk.finish();
        let same = again.opaque.is_empty()
            && again.same_words(self)
            && again.redirects == self.redirects
            && again.reads_stdin == self.reads_stdin
            && (needs_bash || self.needs_bash || !again.shell_dependent);
        if same {
            // What stands there only once braces are made, too.
            self.needs_bash |= needs_bash || again.needs_bash;
            self.canonical = Some(text.into_bytes());
        }
    }

    /// The same commands, but for how what is known later is written.
    fn same_words(&self, other: &Self) -> bool {
        let key = |reading: &Self| -> Vec<_> {
            let words = |c: &Command| {
                c.argv
                    .iter()
                    .map(|w| if w.dynamic { None } else { Some(w.clone()) })
                    .collect::<Vec<_>>()
            };
            reading
                .commands
                .iter()
                .map(|c| (words(c), c.by.clone(), c.as_user.clone(), c.env.len()))
                .collect()
        };
        key(self) == key(other)
    }

    /// The program that shows a pager where there is a terminal, out of which a person gets into a shell; and how it
    /// shows none.
    pub fn pages(&self) -> Option<(&str, &'static str)> {
        let paging = self.commands.iter().find(|command| pages::pages(command))?;
        let name = programs::name(&paging.argv.first()?.text);
        Some((name, pages::without(name)))
    }

    /// The command line to send: `canonical` for the shell that it is written for, whatever the login shell is. None, too,
    /// where it would be longer than what a host can give to a shell.
    pub fn pinned(&self) -> Option<Vec<u8>> {
        let text = str::from_utf8(self.canonical.as_deref()?).ok()?;
        let sent = match self.needs_bash {
            true => for_bash(text),
            false => for_any_host(text),
        };
        (sent.len() < MAX_SENT).then(|| sent.into_bytes())
    }
}

fn text<'a>(bytes: &'a [u8], limits: &Limits) -> Result<&'a str, Opaque> {
    if bytes.len() > limits.bytes {
        return Err(Opaque::TooLong(limits.bytes));
    }
    if bytes.contains(&0) {
        return Err(Opaque::Nul);
    }
    if bytes.contains(&b'\r') {
        return Err(Opaque::CarriageReturn);
    }
    let text = str::from_utf8(bytes).map_err(|_| Opaque::NotUtf8)?;
    if text.trim().is_empty() {
        return Err(Opaque::Empty);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
