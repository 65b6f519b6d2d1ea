//! What a shell command line runs, as far as reading it can tell.
//!
//! Place in the flow: `proto-ssh` reads the command of each exec request here, and the script that a client sends to
//! an interpreter's standard input; the facts that come out are decided on like those of a statement.
//!
//! - `parse` and `word` make the tree: a strict, linear reader of the grammar, with bounded depth. `expand` makes
//!   the words that programs get.
//! - `opinion` asks two other parsers whether they find the same.
//!
//! Architecture invariants:
//! - Pure: no I/O, no clock. What is read is bounded by `Limits`, and so is the time.
//! - A reading without a reason to be opaque names every program that the text runs by itself. Where that is not
//!   certain there is a reason, never a guess.
//! - Shells differ. A reading is one of bash; `canonical` means the same to every POSIX shell, and is what the
//!   host is to be given.

mod ast;
mod builtins;
mod cursor;
mod environment;
mod expand;
mod find;
mod hazards;
mod interpreters;
mod opinion;
mod options;
mod parse;
mod peel;
mod programs;
mod reading;
mod reads;
mod reason;
mod transfer;
mod walk;
mod word;
mod wrappers;

pub use reading::{Access, Command, Hazard, Reading, Redirect, Script, Transfer, Word};
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
    start(command, limits, false)
}

/// What a script runs that a shell reads from its standard input.
pub fn read_script(script: &[u8], limits: &Limits) -> Reading {
    start(script, limits, true)
}

fn start(bytes: &[u8], limits: &Limits, script: bool) -> Reading {
    let text = match text(bytes, limits) {
        Ok(text) => text,
        Err(reason) => return Reading::opaque(reason),
    };
    let mut walk = walk::Walk::new(limits, script);
    let ctx = walk.ctx();
    let _program = walk.text(text, &ctx);
    walk.finish()
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
    let text = std::str::from_utf8(bytes).map_err(|_| Opaque::NotUtf8)?;
    if text.trim().is_empty() {
        return Err(Opaque::Empty);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
