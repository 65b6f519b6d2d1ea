//! Programs that leave their standard input alone, and names by which others get at it.

use crate::programs::is_standard;
use crate::reading::Word;
use crate::reads::is_option;

/// Programs that never read their standard input.
const QUIET: &[&str] = &[
    ":",
    "alias",
    "arch",
    "basename",
    "break",
    "cd",
    "chgrp",
    "chmod",
    "chown",
    "continue",
    "cp",
    "date",
    "declare",
    "df",
    "dirname",
    "du",
    "echo",
    "env",
    "exit",
    "export",
    "false",
    "find",
    "free",
    "groups",
    "hostname",
    "id",
    "install",
    "kill",
    "killall",
    "ln",
    "local",
    "ls",
    "lsblk",
    "mkdir",
    "mktemp",
    "mv",
    "nproc",
    "pidof",
    "pkill",
    "popd",
    "printenv",
    "printf",
    "ps",
    "pushd",
    "pwd",
    "readlink",
    "readonly",
    "realpath",
    "return",
    "rm",
    "rmdir",
    "seq",
    "set",
    "shift",
    "shopt",
    "sleep",
    "stat",
    "systemctl",
    "test",
    "[",
    "touch",
    "trap",
    "true",
    "type",
    "umask",
    "uname",
    "unset",
    "uptime",
    "wait",
    "which",
    "whoami",
    "curl",
    "wget",
    "git",
    "tar",
    "groupadd",
    "useradd",
    "usermod",
    "sysctl",
    "ulimit",
    "hash",
    "unalias",
    "truncate",
    "mount",
    "umount",
    "sync",
    "ip",
    "ss",
    "hostnamectl",
    "timedatectl",
    "exec",
];
/// Among those: they read it when a word says so, or when files are missing or names ask for it.
const ASK: &[&str] = &[
    "cp",
    "mv",
    "rm",
    "tar",
    "git",
    "curl",
    "wget",
    "find",
    "ln",
    "install",
    "mount",
    "kill",
    "date",
    "du",
    "hostname",
    "ip",
    "killall",
    "pkill",
    "ss",
    "sysctl",
    "systemctl",
    "which",
];

pub(crate) fn is_known(name: &str) -> bool {
    QUIET.contains(&name)
}

/// A name by which a program gets its own standard input, or that of another. From which directory on it counts is
/// not looked at.
pub(crate) fn may_be_stdin(path: &str) -> bool {
    if path == "/dev/null" {
        return false;
    }
    let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let last = parts.next_back().unwrap_or_default();
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    matches!(last, "stdin" | "tty")
        || number(last) && parts.next_back().is_none_or(|dir| dir == "fd")
        || path
            .split('/')
            .any(|part| matches!(part, "dev" | "proc" | ".."))
}

/// The word, or what it says behind an option's name, may be such a name; a number by itself is none.
fn names_stdin(word: &str) -> bool {
    let value = word.split_once('=').map_or(word, |(_, value)| value);
    [word, value]
        .iter()
        .any(|path| may_be_stdin(path) && !path.bytes().all(|b| b.is_ascii_digit()))
}

/// With these words it leaves its standard input alone.
pub(crate) fn ignores_stdin(name: &str, argv: &[Word]) -> bool {
    let Some((head, args)) = argv.split_first() else {
        return false;
    };
    if !is_standard(&head.text) {
        return false;
    }
    let named = |w: &Word| !w.text.starts_with('-') && !w.splits && !w.glob;
    if matches!(
        name,
        "cat" | "head" | "tail" | "wc" | "md5sum" | "sha256sum" | "sort" | "cut"
    ) {
        return args
            .iter()
            .any(|w| named(w) && !w.dynamic && w.text.contains('/'))
            && !args
                .iter()
                .any(|w| w.text == "-" || w.text.contains('/') && names_stdin(&w.text));
    }
    if !QUIET.contains(&name) {
        return false;
    }
    if !ASK.contains(&name) {
        return true;
    }
    // An option may ask; so may a name that is a dash or a device.
    !args.iter().any(|w| {
        w.may_be_option()
            || w.text.ends_with('-')
            || names_stdin(&w.text)
            || name == "which" && is_option(&w.text, "i", &["--read-alias", "--read-functions"])
            || name == "systemctl" && matches!(w.text.as_str(), "edit" | "--stdin")
            || name == "killall" && is_option(&w.text, "i", &["--interactive"])
            || matches!(name, "cp" | "mv" | "rm" | "ln")
                && is_option(&w.text, "iI", &["--interactive"])
            || name == "git"
            || matches!(name, "curl" | "wget")
                && (w.text.contains("@-")
                    || is_option(
                        &w.text,
                        "iTFdK",
                        &[
                            "--input-file",
                            "--data",
                            "--config",
                            "--upload-file",
                            "--form",
                        ],
                    ))
            || name == "find" && (w.text.starts_with("-ok") || w.text.starts_with("-files0"))
            || name == "tar"
                && !args.iter().any(|w| {
                    is_option(&w.text, "f", &["--file"])
                        || !w.text.starts_with('-') && w.text.contains('f')
                })
    })
}
