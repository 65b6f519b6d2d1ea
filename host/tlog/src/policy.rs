//! Policies: which logs are believed, and how many of which witnesses must have seen a checkpoint
//! (C2SP tlog-policy).

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, Opened, open_note};
use crate::keys::{CosignatureVerifier, Ed25519Verifier, KeyError};
use crate::note::{Limits, Note, NoteError, Verifier};
use crate::text::decimal;

/// The longest policy that is read, in bytes.
pub const MAX_POLICY: usize = 256 * 1024;

/// The most logs, the most witnesses and the most groups of a policy. The specification asks for 32 at
/// least.
pub const MAX_POLICY_LINES_OF_A_KIND: usize = 64;

/// The name of the quorum that needs no witness.
const NONE: &[u8] = b"none";

/// A log whose checkpoints are believed. Its key has the name that the checkpoints have as origin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyLog {
    pub key: Ed25519Verifier,
    pub url: Option<Vec<u8>>,
}

/// A witness, under the name that the policy gives it. Names and addresses are bytes, as the
/// specification has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyWitness {
    pub name: Vec<u8>,
    pub key: CosignatureVerifier,
    pub url: Option<Vec<u8>>,
}

/// Something that can have witnessed a checkpoint. Groups hold earlier ones only.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Member {
    Witness(usize),
    Group { threshold: usize, of: Vec<usize> },
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    members: Vec<Member>,
    /// `None` asks for no witness.
    quorum: Option<usize>,
}

#[derive(Debug, Error)]
pub enum PolicyError {
    #[error("a policy of {0} bytes; {MAX_POLICY} are allowed")]
    TooLong(usize),
    #[error("the last line does not end")]
    Unterminated,
    #[error("no quorum line")]
    NoQuorum,
    #[error("line {line}: {error}")]
    Line { line: usize, error: PolicyLineError },
    #[error("the policy knows no log {0:?}")]
    UnknownLog(String),
    #[error("too few witnesses have signed it, or not the right ones")]
    Quorum,
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Note(#[from] NoteError),
}

#[derive(Debug, Error, Eq, PartialEq)]
pub enum PolicyLineError {
    #[error("it has control characters")]
    Characters,
    #[error("neither log, witness, group nor quorum")]
    Keyword,
    #[error("{0} is expected")]
    Form(&'static str),
    #[error("the key: {0}")]
    Key(KeyError),
    #[error("the same key as on an earlier line")]
    SameKey,
    #[error("this name is taken")]
    NameTaken,
    #[error("no earlier line defines {0:?}")]
    Undefined(String),
    #[error("{0:?} is a member of a group already")]
    MemberTwice(String),
    #[error("a threshold between 1 and the number of members is expected")]
    Threshold,
    #[error("a second quorum line")]
    SecondQuorum,
    #[error("more lines of this kind than allowed")]
    TooMany,
}

/// A checkpoint that the policy accepts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    pub checkpoint: Checkpoint,
    /// Which of the policy's witnesses have signed it, by their numbers.
    pub witnesses: Vec<usize>,
    /// As it was read.
    pub note: Note,
}

impl Policy {
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_POLICY {
            return Err(PolicyError::TooLong(bytes.len()));
        }
        let mut reader = Reader::default();
        let lines = match bytes {
            [] => bytes,
            more => more.strip_suffix(b"\n").ok_or(PolicyError::Unterminated)?,
        };
        for (line, text) in (1..).zip(lines.split(|b| *b == b'\n')) {
            let read = reader.line(text);
            read.map_err(|error| PolicyError::Line { line, error })?;
        }
        Ok(Self {
            logs: reader.logs,
            witnesses: reader.witnesses,
            members: reader.members,
            quorum: reader.quorum.ok_or(PolicyError::NoQuorum)?,
        })
    }

    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Do these witnesses, by their numbers, make the quorum?
    pub fn is_quorum(&self, witnesses: &[usize]) -> bool {
        let Some(quorum) = self.quorum else {
            return true;
        };
        let mut reached: Vec<bool> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let has = match member {
                Member::Witness(number) => witnesses.contains(number),
                Member::Group { threshold, of } => {
                    let so_far = of.iter().filter(|m| reached.get(**m) == Some(&true));
                    so_far.count() >= *threshold
                }
            };
            reached.push(has);
        }
        reached.get(quorum) == Some(&true)
    }

    /// Reads a checkpoint of one of the policy's logs, and holds it against the quorum.
    pub fn open(&self, bytes: &[u8]) -> Result<Accepted, PolicyError> {
        let note = Note::parse(bytes, Limits::default())?;
        // Whose it says it is, which the signature then has to confirm.
        let origin = Checkpoint::parse(note.text())?.origin;
        let logs = self.logs.iter().map(|log| &log.key as &dyn Verifier);
        let keys: Vec<&dyn Verifier> = logs.filter(|key| key.name() == origin).collect();
        if keys.is_empty() {
            return Err(PolicyError::UnknownLog(origin));
        }
        self.accept(note, &origin, &keys)
    }

    /// The same for a log that is known from elsewhere: the policy's logs do not matter.
    pub fn open_of(
        &self,
        bytes: &[u8],
        origin: &str,
        log_keys: &[&dyn Verifier],
    ) -> Result<Accepted, PolicyError> {
        self.accept(Note::parse(bytes, Limits::default())?, origin, log_keys)
    }

    fn accept(
        &self,
        note: Note,
        origin: &str,
        log_keys: &[&dyn Verifier],
    ) -> Result<Accepted, PolicyError> {
        let witnesses = self.witnesses.iter().map(|w| &w.key as &dyn Verifier);
        let witnesses: Vec<&dyn Verifier> = witnesses.collect();
        let Opened {
            checkpoint,
            cosigners,
            note,
            ..
        } = open_note(note, origin, log_keys, &witnesses)?;
        match self.is_quorum(&cosigners) {
            true => Ok(Accepted {
                checkpoint,
                witnesses: cosigners,
                note,
            }),
            false => Err(PolicyError::Quorum),
        }
    }
}

/// What the lines so far have defined.
#[derive(Default)]
struct Reader {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: usize,
    members: Vec<Member>,
    names: BTreeMap<Vec<u8>, usize>,
    in_groups: BTreeSet<usize>,
    /// The outer says if there was a quorum line.
    quorum: Option<Option<usize>>,
}

impl Reader {
    fn line(&mut self, line: &[u8]) -> Result<(), PolicyLineError> {
        let control = |b: &u8| (*b < 0x20 && *b != b'\t') || *b == 0x7f;
        if line.iter().any(control) {
            return Err(PolicyLineError::Characters);
        }
        let words = line.split(|b| *b == b' ' || *b == b'\t');
        let words: Vec<&[u8]> = words.filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", rest @ ..] => self.log(rest),
            [b"witness", rest @ ..] => self.witness(rest),
            [b"group", rest @ ..] => self.group(rest),
            [b"quorum", rest @ ..] => self.quorum(rest),
            _ => Err(PolicyLineError::Keyword),
        }
    }

    fn log(&mut self, words: &[&[u8]]) -> Result<(), PolicyLineError> {
        let (vkey, url) = match words {
            [vkey] => (vkey, None),
            [vkey, url] => (vkey, Some(url.to_vec())),
            _ => return Err(PolicyLineError::Form("log <vkey> [<url>]")),
        };
        let key = Ed25519Verifier::parse(text(vkey)?).map_err(PolicyLineError::Key)?;
        let mut logs = self.logs.iter();
        if logs.any(|log| log.key.public_key() == key.public_key()) {
            return Err(PolicyLineError::SameKey);
        }
        self.logs.push(PolicyLog { key, url });
        room(self.logs.len())
    }

    fn witness(&mut self, words: &[&[u8]]) -> Result<(), PolicyLineError> {
        let (name, vkey, url) = match words {
            [name, vkey] => (name, vkey, None),
            [name, vkey, url] => (name, vkey, Some(url.to_vec())),
            _ => return Err(PolicyLineError::Form("witness <name> <vkey> [<url>]")),
        };
        let key = CosignatureVerifier::parse(text(vkey)?).map_err(PolicyLineError::Key)?;
        let mut witnesses = self.witnesses.iter();
        if witnesses.any(|witness| witness.key.public_key() == key.public_key()) {
            return Err(PolicyLineError::SameKey);
        }
        self.define(name, Member::Witness(self.witnesses.len()))?;
        let name = name.to_vec();
        self.witnesses.push(PolicyWitness { name, key, url });
        room(self.witnesses.len())
    }

    fn group(&mut self, words: &[&[u8]]) -> Result<(), PolicyLineError> {
        let [name, threshold, names @ ..] = words else {
            return Err(PolicyLineError::Form(
                "group <name> all|any|<number> <name>…",
            ));
        };
        let threshold = match *threshold {
            b"all" => names.len(),
            b"any" => 1,
            number => {
                let number = std::str::from_utf8(number).ok().and_then(decimal);
                let number = number.and_then(|n| usize::try_from(n).ok());
                number.ok_or(PolicyLineError::Threshold)?
            }
        };
        if !(1..=names.len()).contains(&threshold) {
            return Err(PolicyLineError::Threshold);
        }
        let mut of = Vec::with_capacity(names.len());
        for name in names {
            let member = self.defined(name)?;
            if !self.in_groups.insert(member) {
                return Err(PolicyLineError::MemberTwice(shown(name)));
            }
            of.push(member);
        }
        self.define(name, Member::Group { threshold, of })?;
        self.groups += 1;
        room(self.groups)
    }

    fn quorum(&mut self, words: &[&[u8]]) -> Result<(), PolicyLineError> {
        let [name] = words else {
            return Err(PolicyLineError::Form("quorum <name>|none"));
        };
        if self.quorum.is_some() {
            return Err(PolicyLineError::SecondQuorum);
        }
        self.quorum = Some(match *name == NONE {
            true => None,
            false => Some(self.defined(name)?),
        });
        Ok(())
    }

    fn define(&mut self, name: &[u8], member: Member) -> Result<(), PolicyLineError> {
        let number = self.members.len();
        if name == NONE || self.names.contains_key(name) {
            return Err(PolicyLineError::NameTaken);
        }
        self.names.insert(name.to_vec(), number);
        self.members.push(member);
        Ok(())
    }

    fn defined(&self, name: &[u8]) -> Result<usize, PolicyLineError> {
        let number = self.names.get(name).copied();
        number.ok_or_else(|| PolicyLineError::Undefined(shown(name)))
    }
}

fn room(lines: usize) -> Result<(), PolicyLineError> {
    match lines <= MAX_POLICY_LINES_OF_A_KIND {
        true => Ok(()),
        false => Err(PolicyLineError::TooMany),
    }
}

fn text(vkey: &[u8]) -> Result<&str, PolicyLineError> {
    std::str::from_utf8(vkey).map_err(|_| PolicyLineError::Form("a key of UTF-8"))
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
