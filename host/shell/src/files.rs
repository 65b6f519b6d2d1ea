//! Files that a text names: those that the shell opens, and all that programs are given as words. More than there
//! are, never fewer: what every word of every program means, nobody can tell.

use std::collections::BTreeSet;

use crate::ast::{Part, Word as Written};
use crate::reading::{Access, Command, Files, Redirect as Opened, Word};
use crate::reason::Opaque;
use crate::walk::Walk;
use crate::{descend, expand, hazards, named, patterns, programs, reads};

/// Bytes of names that are kept. Who names more is said to name something unknown.
const MAX_BYTES: usize = 256 << 10;
/// Directories that a text changes to.
const MAX_DIRS: usize = 8;
/// Of such a directory: the longest path of Linux.
const MAX_DIR: usize = 4096;

/// Their words are no files.
const NO_FILES: &[&str] = &[
    ":", "arch", "basename", "break", "cal", "cd", "continue", "declare", "dirname", "echo",
    "exit", "export", "expr", "false", "free", "getopts", "groups", "id", "jobs", "kill", "local",
    "nproc", "numfmt", "popd", "printenv", "printf", "ps", "pstree", "pushd", "pwd", "read",
    "readonly", "return", "seq", "set", "shift", "shopt", "sleep", "times", "tr", "trap", "true",
    "tty", "type", "typeset", "umask", "uname", "unset", "uptime", "wait", "which", "whoami",
];
/// They tell of a file that it is there, and what it is, but nothing that it holds: one that is not known is no
/// matter.
const ABOUT: &[&str] = &[
    "[", "df", "find", "ls", "readlink", "realpath", "stat", "test",
];
/// Letters of a cluster of options behind which a value may begin. Of longer ones it is not known where.
const MAX_CLUSTER: usize = 64;
/// With these words, `find` writes.
const FIND_WRITES: &[&str] = &["-delete", "-fprint", "-fprint0", "-fls", "-fprintf"];

/// They run others, and words of their own may be files.
const WRAPPERS: &[&str] = &[
    "docker", "flock", "kubectl", "nerdctl", "oc", "parallel", "podman", "ssh", "su", "xargs",
];

impl Walk<'_> {
    pub(crate) fn wrapper(&mut self, name: &str, argv: &[Word]) {
        if WRAPPERS.contains(&name) {
            let words = argv.get(1..).unwrap_or_default().to_vec();
            self.wrapped.push((name.to_owned(), words));
        }
    }

    pub(crate) fn opened(&mut self, word: &Written, op: &str) {
        let path = match expand::expand(word) {
            Ok(words) => match words.as_slice() {
                [(path, _)] => path.clone(),
                _ => {
                    return self.opaque(Opaque::Unread {
                        at: 0,
                        what: "a redirection to several files",
                    });
                }
            },
            Err(reason) => return self.opaque(reason),
        };
        let access = match op {
            "<" => Access::Read,
            ">>" => Access::Append,
            _ => Access::Write,
        };
        if access != Access::Read && !reads::is_sink(&path.text) {
            self.out.only_reads = false;
        }
        if word.parts.iter().all(|p| matches!(p, Part::Process { .. })) {
            // No file: what runs in it is looked at.
        } else if !path.is_literal() {
            // It may be any file, or `/dev/tcp/…`.
            self.opaque(Opaque::DynamicFile(path.text.clone()));
        }
        hazards::path(self, "redirect", &path, access != Access::Read);
        self.redirects_away.push(self.away);
        self.out.redirects.push(Opened { path, access });
    }

    /// What is read and written, now that all commands are known.
    pub(crate) fn name_files(&mut self) {
        let dirs = self.directories();
        let mut reads = Names::new(&dirs);
        let mut writes = Names::new(&dirs);
        let anothers = self.out.commands.iter().any(Self::at_anothers);
        for redirect in &self.out.redirects {
            if anothers && redirect.path.text.starts_with('~') {
                reads.files.unknown = true;
                writes.files.unknown |= redirect.access != Access::Read;
            }
            // What runs in a process substitution is looked at.
            if redirect.path.dynamic && redirect.path.text.starts_with(['<', '>']) {
                continue;
            }
            let into = match redirect.access {
                Access::Read => &mut reads,
                Access::Write | Access::Append => &mut writes,
            };
            into.word(&redirect.path, false);
        }
        let tell = patterns::only_tell(&self.out.commands);
        for command in &self.out.commands {
            let Some((head, args)) = command.argv.split_first() else {
                continue;
            };
            let name = programs::name(&head.text);
            let standard = head.is_literal() && programs::is_standard(&head.text);
            for file in named::behind(name, args) {
                reads.add(file.to_owned());
            }
            reads.files.unknown |= descend::reads_below(name, args);
            if standard && NO_FILES.contains(&name) {
                continue;
            }
            let finds =
                name == "find" && args.iter().any(|w| FIND_WRITES.contains(&w.text.as_str()));
            let only = standard && !finds && reads::only(name, &command.argv);
            let about = only && ABOUT.contains(&name);
            if !about && Self::at_anothers(command) && args.iter().any(|w| w.text.contains('~')) {
                reads.files.unknown = true;
                writes.files.unknown |= !only;
            }
            if only {
                for word in patterns::without(name, args, tell) {
                    reads.word(word, about);
                }
                continue;
            }
            for word in args {
                reads.word(word, about);
                writes.word(word, false);
            }
        }
        for (name, args) in &self.wrapped {
            for word in args {
                // What else stands there is the command that it runs.
                let about = name != "xargs";
                reads.word(word, about);
                if about {
                    writes.word(word, about);
                }
            }
        }
        if self.out.tells_environment {
            reads.add(named::OWN.to_owned());
        }
        self.out.reads = reads.files;
        self.out.writes = writes.files;
        self.name_here();
    }

    /// Its shell is another account's, and so is the home directory of `~`.
    fn at_anothers(command: &Command) -> bool {
        command.as_user.is_some()
            && command.by.iter().any(|by| {
                let name = programs::name(by);
                name == "su" || programs::is_shell(name)
            })
    }

    /// Where relative paths may start, beside the home directory; none: anywhere.
    fn directories(&self) -> Option<Vec<String>> {
        let mut dirs = Vec::new();
        if self.moved {
            return None;
        }
        for command in &self.out.commands {
            let Some((head, args)) = command.argv.split_first() else {
                continue;
            };
            match head.text.as_str() {
                // By the latter name, most shells other than bash have it, too.
                "cd" | "chdir" => {}
                "pushd" | "popd" => return None,
                _ => continue,
            }
            let operands: Vec<&Word> = args
                .iter()
                .filter(|w| !matches!(w.text.as_str(), "--" | "-P" | "-L"))
                .collect();
            let home = operands.iter().all(|w| w.text.starts_with('~'));
            match operands.as_slice() {
                _ if home && Self::at_anothers(command) => return None,
                [] => {}
                [dir] if is_certain(dir) && dir.text.len() <= MAX_DIR && dirs.len() < MAX_DIRS => {
                    dirs.push(dir.text.clone());
                }
                _ => return None,
            }
        }
        Some(dirs)
    }
}

/// A path from the root or the home directory on, without steps back.
fn is_certain(word: &Word) -> bool {
    word.is_literal()
        && !climbs(&word.text)
        && (word.text.starts_with('/') || word.text == "~" || word.text.starts_with("~/"))
}

/// Behind a link, `..` leads elsewhere than its letters say.
fn climbs(text: &str) -> bool {
    text.split('/').any(|part| part == "..")
}

struct Names<'a> {
    dirs: &'a Option<Vec<String>>,
    files: Files,
    bytes: usize,
}

impl<'a> Names<'a> {
    fn new(dirs: &'a Option<Vec<String>>) -> Self {
        Self {
            dirs,
            files: Files {
                paths: BTreeSet::new(),
                here: BTreeSet::new(),
                unknown: false,
            },
            bytes: 0,
        }
    }

    /// All that the word may name.
    fn word(&mut self, word: &Word, about: bool) {
        let text = word.text.as_str();
        self.files.unknown |= !about && !word.is_literal();
        let Some(option) = text.strip_prefix('-') else {
            self.whole(text, about);
            return self.pieces(text, about);
        };
        if let Some((_, value)) = text.split_once('=') {
            self.whole(value, about);
            self.pieces(value, about);
        }
        if option.starts_with('-') {
            return;
        }
        // `-f/etc/x`, `-nf.env`, `-rafshadow`: the value of a letter, behind others without one.
        let letters = option.find(['/', '.', '~']).unwrap_or(option.len());
        let starts = option.char_indices().map(|(at, _)| at).skip(1);
        for at in starts.take_while(|at| *at <= letters).take(MAX_CLUSTER) {
            self.whole(option.get(at..).unwrap_or_default(), about);
        }
        if letters > MAX_CLUSTER {
            self.files.unknown |= !about;
        }
        for at in [option.find('/'), option.find('.'), option.find('~')] {
            let value = at.and_then(|at| option.get(at..));
            value.into_iter().for_each(|value| self.whole(value, about));
        }
    }

    /// `of=/x`, `host:/x`, `@/x`, `/x:/y`.
    fn pieces(&mut self, text: &str, about: bool) {
        const MARKS: [char; 4] = ['=', ':', ',', '@'];
        if text.contains(MARKS) {
            for piece in text.split(MARKS) {
                self.whole(piece, about);
            }
        }
    }

    fn whole(&mut self, text: &str, about: bool) {
        if text.is_empty() || text == "-" || text.bytes().all(|b| b.is_ascii_digit()) {
            return;
        }
        let home = text == "~" || text.starts_with("~/");
        self.files.unknown |= !about && (climbs(text) || text.starts_with('~') && !home);
        if let Some(rest) = text.strip_prefix("~root") {
            self.add(format!("/root{rest}"));
        }
        self.add(text.to_owned());
        if home || text.starts_with('/') {
            return;
        }
        match self.dirs {
            Some(dirs) => {
                for dir in dirs {
                    self.add(format!("{dir}/{text}"));
                }
            }
            None => self.files.unknown |= !about,
        }
    }

    fn add(&mut self, path: String) {
        if self.bytes + path.len() > MAX_BYTES {
            self.files.unknown = true;
            return;
        }
        let bytes = path.len();
        if self.files.paths.insert(path) {
            self.bytes += bytes;
        }
    }
}
