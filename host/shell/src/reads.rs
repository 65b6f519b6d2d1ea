//! Programs of which it is certain that they change nothing, with the options and words for which that is not so.

use crate::programs::is_standard;
use crate::reading::Word;
use crate::{lookups, stdin};

/// Whatever their words are.
const ALWAYS: &[&str] = &[
    ":",
    "basename",
    "cat",
    "cd",
    "cksum",
    "cmp",
    "comm",
    "cut",
    "df",
    "dirname",
    "du",
    "echo",
    "egrep",
    "exit",
    "expr",
    "false",
    "fgrep",
    "fold",
    "free",
    "grep",
    "groups",
    "head",
    "id",
    "join",
    "last",
    "lsblk",
    "lscpu",
    "lsmem",
    "ls",
    "md5sum",
    "nl",
    "nproc",
    "od",
    "paste",
    "pidof",
    "printenv",
    "ps",
    "pstree",
    "pwd",
    "pwdx",
    "readlink",
    "realpath",
    "rev",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "sleep",
    "stat",
    "sum",
    "tac",
    "tail",
    "tr",
    "true",
    "tty",
    "type",
    "uptime",
    "users",
    "vmstat",
    "w",
    "wc",
    "whereis",
    "which",
    "who",
    "whoami",
    "b2sum",
    "column",
    "cal",
    "hexdump",
    "locale",
    "numfmt",
    "seq",
    "test",
    "[",
    "return",
    "break",
    "continue",
    "shift",
    "times",
    "umask",
    "jobs",
];

/// Unless one of these stands in it: a letter among the short options, or the beginning of a long one. Words that are
/// known only when they run may be such.
const UNLESS: &[(&str, &str, &[&str])] = &[
    (
        "sort",
        "oT",
        &[
            "--output",
            "--compress-program",
            "--temporary-directory",
            "--files0-from",
        ],
    ),
    ("date", "s", &["--set"]),
    ("hostname", "Fb", &["--file", "--boot"]),
    (
        "dmesg",
        "CcDEnH",
        &["--clear", "--console", "--read-clear", "--human"],
    ),
    ("tree", "oR", &["--output"]),
    (
        "file",
        "CmzZ",
        &["--compile", "--magic-file", "--uncompress"],
    ),
    ("diff", "", &["--to-file", "--from-file"]),
    ("rg", "z", &["--pre", "--hostname-bin", "--search-zip"]),
    (
        "jq",
        "fL",
        &["--from-file", "--library-path", "--run-tests"],
    ),
    ("ss", "KDFN", &["--kill", "--diag", "--filter", "--net"]),
    // To FreeBSD, that resets what was counted.
    ("netstat", "z", &[]),
    ("strings", "", &[]),
    ("arch", "", &[]),
    ("uname", "S", &[]),
    (
        "journalctl",
        "",
        &[
            "--rotate",
            "--vacuum",
            "--flush",
            "--sync",
            "--relinquish",
            "--smart",
            "--update",
            "--setup",
            "--cursor-file",
            "--image",
        ],
    ),
    ("getent", "", &[]),
    // To toybox, that sends a signal.
    ("pgrep", "L", &["--signal", "--logpidfile"]),
    ("iostat", "o", &[]),
    ("mpstat", "o", &[]),
    ("base64", "o", &["--output"]),
    // `getconf -v x` runs a program of that name below a directory; `lsof -D` writes a file.
    ("getconf", "v", &[]),
    ("lsof", "Dkm", &[]),
    ("lspci", "AHOQqFM", &[]),
    ("lsusb", "D", &[]),
    ("env", "S", &["--split-string"]),
    ("printf", "v", &[]),
    // It completes names by what stands behind it.
    ("zcat", "S", &["--suffix"]),
];

/// Programs that do several things, and the words with which they only tell. No option stands before them.
const VERBS: &[(&str, &[&str])] = &[
    (
        "systemctl",
        &[
            "status",
            "is-active",
            "is-enabled",
            "is-failed",
            "list-units",
            "list-unit-files",
            "list-timers",
            "show",
            "cat",
        ],
    ),
    ("service", &["--status-all"]),
    (
        "docker",
        &[
            "ps", "images", "logs", "inspect", "version", "info", "stats", "top", "port",
        ],
    ),
    (
        "podman",
        &[
            "ps", "images", "logs", "inspect", "version", "info", "stats", "top", "port",
        ],
    ),
    (
        "kubectl",
        &[
            "get",
            "describe",
            "logs",
            "version",
            "top",
            "explain",
            "api-resources",
            "cluster-info",
        ],
    ),
    (
        "dpkg",
        &["-l", "-s", "-L", "--list", "--status", "--listfiles"],
    ),
    ("crontab", &["-l"]),
    ("sudo", &["-l", "-v"]),
    ("command", &["-v", "-V"]),
];

/// Of the programs above, the letters of short options and the names of long ones that are no harm; whatever else
/// begins with a dash may be one that is. (git is not among them: what it runs, the repository's own settings say.)
const TOLD: &[(&str, &str, &[&str])] = &[
    (
        "systemctl",
        "alqrnpt",
        &[
            "--no-pager",
            "--all",
            "--type",
            "--state",
            "--property",
            "--user",
            "--lines",
            "--full",
            "--plain",
            "--no-legend",
            "--output",
            "--value",
        ],
    ),
    ("docker", "aflnqst", CONTAINERS),
    ("podman", "aflnqst", CONTAINERS),
    (
        "kubectl",
        "nAolcpw",
        &[
            "--namespace",
            "--all-namespaces",
            "--output",
            "--selector",
            "--tail",
            "--since",
            "--container",
            "--previous",
            "--show-labels",
            "--no-headers",
            "--sort-by",
            "--field-selector",
            "--watch",
        ],
    ),
    ("crontab", "u", &[]),
    ("sudo", "lnUu", &[]),
];
const CONTAINERS: &[&str] = &[
    "--all",
    "--format",
    "--filter",
    "--tail",
    "--since",
    "--until",
    "--follow",
    "--no-trunc",
    "--quiet",
    "--no-stream",
];

/// Of busybox and toybox, those that only tell something with whatever words.
pub(crate) const APPLETS: &[&str] = &[
    "[",
    "arch",
    "basename",
    "cat",
    "cksum",
    "cmp",
    "comm",
    "cut",
    "df",
    "dirname",
    "du",
    "echo",
    "egrep",
    "expr",
    "false",
    "fgrep",
    "fold",
    "free",
    "grep",
    "head",
    "id",
    "ls",
    "md5sum",
    "nl",
    "nproc",
    "od",
    "paste",
    "pidof",
    "printenv",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rev",
    "seq",
    "sha1sum",
    "sha256sum",
    "sha512sum",
    "sleep",
    "stat",
    "strings",
    "tac",
    "tail",
    "test",
    "tr",
    "true",
    "tty",
    "uname",
    "uptime",
    "wc",
    "which",
    "whoami",
    "zcat",
];

/// It opens nothing that is kept.
pub(crate) fn is_sink(path: &str) -> bool {
    matches!(
        path,
        "/dev/null" | "/dev/stdout" | "/dev/stderr" | "/dev/fd/1" | "/dev/fd/2"
    )
}

pub(crate) fn is_known(name: &str) -> bool {
    ALWAYS.contains(&name)
        || matches!(name, "sed" | "awk" | "tar" | "find" | "rm" | "cp" | "mv")
        || UNLESS.iter().any(|(n, ..)| *n == name)
        || VERBS.iter().any(|(n, _)| *n == name)
        || stdin::is_known(name)
}

/// As far as its words tell, this command changes nothing.
pub(crate) fn only(name: &str, argv: &[Word]) -> bool {
    let Some((head, args)) = argv.split_first() else {
        return false;
    };
    if !is_standard(&head.text) {
        return false;
    }
    if ALWAYS.contains(&name) {
        return true;
    }
    // What follows hangs on options, so all that may be one has to be known.
    if args.iter().any(Word::may_be_option) {
        return false;
    }
    if let Some((_, letters, longs)) = UNLESS.iter().find(|(n, ..)| *n == name) {
        let plain = !args.iter().any(|w| is_option(&w.text, letters, longs));
        let operands = args
            .iter()
            .filter(|w| !w.text.starts_with('-') || w.text == "-");
        let operands = operands.count();
        return plain
            && match name {
                // That of macOS runs what stands behind it.
                "arch" => args.is_empty(),
                "hostname" | "env" => operands == 0,
                "date" => tells_time(args),
                "getent" | "lsof" | "ss" => !lookups::asks(name, args),
                // Behind `@`, a file in which there are more words.
                "strings" => !args.iter().any(|w| w.text.starts_with('@')),
                // That of zutils is told by them which program is to uncompress.
                "zcat" => !args.iter().any(|w| w.text.starts_with("--")),
                _ => true,
            };
    }
    if let Some((_, verbs)) = VERBS.iter().find(|(n, _)| *n == name) {
        let (letters, longs) = TOLD
            .iter()
            .find(|(n, ..)| *n == name)
            .map_or(("", &[][..]), |(_, letters, longs)| (*letters, *longs));
        let told = |w: &Word| is_told(&w.text, letters, longs) && !tells_secrets(name, w);
        let verb = args
            .first()
            .is_some_and(|v| v.is_literal() && verbs.contains(&v.text.as_str()));
        return verb && args.iter().skip(1).all(told);
    }
    match name {
        "awk" | "gawk" | "mawk" | "nawk" | "sed" => sed_only(name, args),
        "find" => true,
        "tar" => tar_lists(args),
        // Its words can be cut short, and `s` may be `show` or `set`.
        "ip" => args.split_first().is_some_and(|(what, rest)| {
            !what.text.starts_with('-')
                && rest
                    .iter()
                    .all(|w| matches!(w.text.as_str(), "show" | "list" | "ls"))
        }),
        "mount" => args.is_empty(),
        // Where these do more, that is a reason by itself.
        "set" | "shopt" => true,
        // Where the second is written to, one pattern can be two.
        "uniq" => operands(args) <= 1 && !args.iter().any(|w| w.glob),
        // With its editor, a key starts another.
        "read" => !args.iter().any(|w| is_option(&w.text, "ei", &[])),
        "export" | "declare" | "local" | "readonly" | "typeset" | "unset" | "wait" | "trap"
        | "getopts" => true,
        _ => false,
    }
}

/// All but the format is behind an option: what stands by itself sets the clock, to BusyBox in any form.
fn tells_time(args: &[Word]) -> bool {
    const TAKES: &[&str] = &["--date", "--file", "--reference"];
    let takes = |text: &str| {
        let letter = text
            .strip_prefix('-')
            .and_then(|t| t.strip_suffix(['d', 'f', 'r']));
        TAKES.contains(&text) || letter.is_some_and(|l| l.chars().all(|c| c == 'u'))
    };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if word.glob || word.text == "--" || !word.text.starts_with(['-', '+']) {
            return false;
        }
        if takes(&word.text) && words.next().is_none_or(|w| w.glob) {
            return false;
        }
    }
    true
}

/// It is no option, or one of these and nothing else: digits may stand behind a letter.
fn is_told(text: &str, letters: &str, longs: &[&str]) -> bool {
    if let Some(long) = text.strip_prefix("--") {
        let name = long.split('=').next().unwrap_or(long);
        return longs.iter().any(|l| l.strip_prefix("--") == Some(name));
    }
    match text.strip_prefix('-') {
        Some(cluster) => cluster
            .chars()
            .all(|c| letters.contains(c) || c.is_ascii_digit()),
        None => true,
    }
}

/// `kubectl get secrets`, `secret/x`, `pods,secrets`, or what cannot be told from it.
fn tells_secrets(name: &str, word: &Word) -> bool {
    name == "kubectl" && (!word.is_literal() || word.text.to_ascii_lowercase().contains("secret"))
}

/// How many words are none of the options; behind `--` all are.
fn operands(args: &[Word]) -> usize {
    let end = args.iter().position(|w| w.text == "--");
    let (before, after) = args.split_at(end.unwrap_or(args.len()));
    let is_operand = |w: &&Word| !w.text.starts_with('-') || w.text == "-";
    before.iter().filter(is_operand).count() + after.len().saturating_sub(1)
}

/// The option's letter is in a cluster, or its name, perhaps cut short, is one of `longs`.
pub(crate) fn is_option(text: &str, letters: &str, longs: &[&str]) -> bool {
    if text.len() > 2 && text.starts_with("--") {
        let name = text.split('=').next().unwrap_or(text);
        return longs
            .iter()
            .any(|long| long.starts_with(name) || name.starts_with(long));
    }
    match text.strip_prefix('-') {
        Some(cluster) => cluster.chars().any(|c| letters.contains(c)),
        None => false,
    }
}

/// What these run or write is found elsewhere; here only files that they change in place count.
fn sed_only(name: &str, args: &[Word]) -> bool {
    name != "sed"
        || !args
            .iter()
            .any(|w| is_option(&w.text, "i", &["--in-place"]))
}

fn tar_lists(args: &[Word]) -> bool {
    let Some(first) = args.first() else {
        return false;
    };
    let mode = first.text.strip_prefix('-').unwrap_or(&first.text);
    let letters =
        !mode.starts_with('-') && mode.contains('t') && mode.chars().all(|c| "tvfzjJ".contains(c));
    let rest = args.iter().skip(1).all(|w| !w.text.starts_with('-'));
    (letters && rest || args.iter().any(|w| w.text == "--list") && args.len() == 1)
        // A name with a colon is one on another host, and a pattern may turn into one.
        && !args.iter().any(|w| w.glob || w.dynamic || w.text.contains(':'))
}
