//! What a reading says.

use std::collections::BTreeSet;

use crate::Opaque;

/// One word of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Word {
    /// Without quotes. What only a running shell knows stands as it is written.
    pub text: String,
    /// Some of it is known only when it runs.
    pub dynamic: bool,
    /// It begins with something that is known only then: it may turn out to be an option.
    pub leads: bool,
    /// It may turn out to be several words, or none.
    pub splits: bool,
    /// It is a pattern for names of files.
    pub glob: bool,
    /// bash puts a home directory into it: for a tilde at its beginning, or behind `=` or `:`.
    pub(crate) home: bool,
    /// It is one expansion and nothing else.
    pub(crate) single: bool,
    /// That is a number which a running shell has. And of `name=value`, such a one is the value.
    pub(crate) number: bool,
    pub(crate) gives_number: bool,
    /// bash sees that it is assigned to a variable, and so splits nothing.
    pub(crate) assigned: bool,
}

impl Word {
    pub(crate) fn literal(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Stands for words that come from elsewhere: what `xargs` adds.
    pub(crate) fn anything() -> Self {
        Self {
            text: "…".into(),
            dynamic: true,
            leads: true,
            splits: true,
            ..Self::default()
        }
    }

    /// Exactly this one word, whatever happens.
    pub(crate) fn is_literal(&self) -> bool {
        !self.dynamic && !self.glob
    }

    /// Exactly this text, also where it is read as code.
    pub(crate) fn is_code(&self) -> bool {
        self.is_literal() && !self.home
    }

    /// It stays one word.
    pub fn is_one(&self) -> bool {
        !self.splits || self.assigned
    }

    /// Of `name=value`, with what the value begins is known only when it runs.
    pub fn begins_unknown(&self) -> bool {
        let (_, value) = self.text.split_once('=').unwrap_or_default();
        self.home || self.dynamic && value.starts_with(['$', '`'])
    }

    /// It, or a word that it turns into, can begin with a dash though it is not written so, or is another option than
    /// what is written of it.
    pub fn may_be_option(&self) -> bool {
        let cut = self.text.split(['$', '`', '*', '?', '[']).next();
        // Of `--name=$x` the name is known.
        let named = self.text.starts_with("--") && cut.is_some_and(|name| name.contains('='));
        let known = !self.text.starts_with('-') || named;
        self.splits
            || (self.dynamic && (self.leads || !known))
            || (self.glob && (self.text.starts_with(['*', '?', '[']) || !known))
    }
}

/// A simple command, with the programs that run it taken off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    pub argv: Vec<Word>,
    /// Programs that run it, the outermost first.
    pub by: Vec<String>,
    /// With whose rights, where `sudo` or its like says so.
    pub as_user: Option<String>,
    /// Variables that are set for it alone.
    pub env: Vec<(String, Word)>,
    /// Some word of it is known only when it runs.
    pub dynamic: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    Read,
    Write,
    Append,
}

/// A file that the shell itself opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub path: Word,
    pub access: Access,
}

/// Names of files, as they are written: whatever may be one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    pub paths: BTreeSet<String>,
    /// Relative names of files that are opened in the directory where the text begins, or may be: not all words that may
    /// be names, only those of which it is certain that they are.
    pub here: BTreeSet<String>,
    /// There are others: which ones turns out only when it runs.
    pub unknown: bool,
}

/// Something about a command that a policy or a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hazard {
    pub code: &'static str,
    pub program: String,
    pub why: String,
}

/// A program that runs what comes over the session's own standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub program: String,
    /// It is a shell, so that `read_script` can tell what the text runs.
    pub shell: bool,
}

/// A file transfer, by the command that a client's program runs on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transfer {
    /// `scp -t` (to the host) or `scp -f` (from it).
    Scp {
        to_host: bool,
        recursive: bool,
        paths: Vec<Word>,
    },
    /// `rsync --server`.
    Rsync {
        to_host: bool,
        paths: Vec<Word>,
        /// Those that do more than to choose how files are sent.
        dangerous: Vec<String>,
    },
    Git {
        to_host: bool,
        /// `git-upload-pack` and its like.
        service: &'static str,
        repository: Word,
    },
    Sftp {
        read_only: bool,
    },
}

/// What a text runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Every simple command that stands anywhere in it, in the order of the text.
    pub commands: Vec<Command>,
    pub redirects: Vec<Redirect>,
    /// What variables of the shell are set to, by assignments and by loops.
    pub values: Vec<Word>,
    /// Descriptors above 2 that it takes from around it: nothing in the text has opened them by then.
    pub borrows: BTreeSet<u32>,
    /// What the shell or its programs may read; of programs that do more, all that they are given.
    pub reads: Files,
    pub writes: Files,
    /// Why it cannot be told what it runs; then the other fields need not be complete.
    pub opaque: Vec<Opaque>,
    /// There is code in it for an interpreter that is not a shell, or an option that makes a program run others.
    pub code: bool,
    pub reads_stdin: Option<Script>,
    /// Some program of it may read the session's own standard input. Of an opaque text this says nothing.
    pub takes_stdin: bool,
    pub transfer: Option<Transfer>,
    /// A variable that nothing in the text has set by then goes into it: it may be one that the host gives its programs.
    pub(crate) tells_environment: bool,
    /// Every command is one that changes nothing, as far as its words tell.
    pub only_reads: bool,
    pub hazards: Vec<Hazard>,
    /// The same in the plainest form, for a POSIX shell or, with `needs_bash`, for bash. To be sent in place of the
    /// text, to that shell: see `pinned`.
    pub canonical: Option<Vec<u8>>,
    pub needs_bash: bool,
    /// As it is written, a shell other than bash reads it in another way.
    pub shell_dependent: bool,
}

impl Reading {
    pub(crate) fn opaque(reason: Opaque) -> Self {
        Self {
            opaque: vec![reason],
            ..Self::default()
        }
    }

    pub fn is_opaque(&self) -> bool {
        !self.opaque.is_empty()
    }
}
