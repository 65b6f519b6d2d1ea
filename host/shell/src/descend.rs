//! Programs that read all that lies below a directory, of which their words name but the directory, or not even that.

use crate::reading::Word;
use crate::reads::is_option;

/// They do it without being told to, or are made for it.
const ALWAYS: &[&str] = &[
    "7z",
    "7za",
    "7zr",
    "7zz",
    "ack",
    "ag",
    "arj",
    "azcopy",
    "borg",
    "cpio",
    "dar",
    "darkhttpd",
    "dump",
    "duplicity",
    "genisoimage",
    "gsutil",
    "httpd",
    "lftp",
    "lha",
    "mkisofs",
    "mksquashfs",
    "pax",
    "pt",
    "rar",
    "rclone",
    "restic",
    "rsnapshot",
    "rsync",
    "s3cmd",
    "shar",
    "sift",
    "ug",
    "unison",
    "webfsd",
    "xfsdump",
    "xorriso",
    "zpaq",
];

/// They do it with one of these: letters among the short options, or long ones, perhaps cut short.
const WITH: &[(&str, &str, &[&str])] = &[
    ("aws", "", &["--recursive"]),
    ("cp", "rRa", &["--recursive", "--archive"]),
    ("gcloud", "rR", &["--recursive", "--recurse"]),
    ("git", "", &["--no-index"]),
    ("gunzip", "r", &["--recursive"]),
    ("gzcat", "r", &["--recursive"]),
    ("gzip", "r", &["--recursive"]),
    ("lz4", "r", &[]),
    ("lz4cat", "r", &[]),
    ("pigz", "r", &["--recursive"]),
    ("scp", "r", &[]),
    ("unpigz", "r", &["--recursive"]),
    ("unzstd", "r", &[]),
    ("zcat", "r", &["--recursive"]),
    ("zip", "rR", &["--recurse-paths", "--recurse-patterns"]),
    ("zstd", "r", &[]),
    ("zstdcat", "r", &[]),
];

/// Words with which these do it, as a whole or a part of a word.
const WORDS: &[(&str, &[&str])] = &[
    ("aws", &["sync"]),
    ("docker", &["cp"]),
    ("kubectl", &["cp"]),
    ("nerdctl", &["cp"]),
    ("oc", &["cp", "rsync"]),
    ("php", &["-S"]),
    ("podman", &["cp"]),
    ("python", PYTHON),
    ("python2", PYTHON),
    ("python3", PYTHON),
    ("ruby", &["-run"]),
];
const PYTHON: &[&str] = &[
    "http.server",
    "SimpleHTTPServer",
    "tarfile",
    "zipfile",
    "zipapp",
];

/// They look for a pattern, below a directory with one of their options or always.
const GREPS: &[&str] = &[
    "bzgrep",
    "egrep",
    "fgrep",
    "grep",
    "lzgrep",
    "pcre2grep",
    "pcregrep",
    "ugrep",
    "xzgrep",
    "zgrep",
    "zstdgrep",
];
const ALWAYS_GREP: &[&str] = &["rg", "rgrep"];

/// What programs write for people to read, and what packages bring: no credentials lie below these.
const PUBLIC: &[&str] = &["/usr/include", "/usr/share", "/usr/src", "/var/log"];

/// A name that ends so is that of a file. (Directories are called `x.d`, `python3.11`, `x.old` and `x.js`.)
const FILES: &[&str] = &[
    ".cfg", ".conf", ".csv", ".ini", ".json", ".log", ".md", ".service", ".sh", ".sql", ".timer",
    ".toml", ".txt", ".xml", ".yaml", ".yml",
];

/// It may read files below a directory, which nobody can name.
pub(crate) fn reads_below(name: &str, args: &[Word]) -> bool {
    let given =
        |letters: &str, longs: &[&str]| args.iter().any(|w| is_option(&w.text, letters, longs));
    if ALWAYS.contains(&name) {
        return true;
    }
    if ALWAYS_GREP.contains(&name) || GREPS.contains(&name) {
        let links = given("RLS", &["--dereference-recursive", "--follow"]);
        let below = ALWAYS_GREP.contains(&name)
            || given(
                "rRd",
                &["--recursive", "--dereference-recursive", "--directories"],
            );
        return below && (links || !is_public(args));
    }
    if let Some((_, letters, longs)) = WITH.iter().find(|(n, ..)| *n == name)
        && given(letters, longs)
    {
        return true;
    }
    if let Some((_, words)) = WORDS.iter().find(|(n, _)| *n == name) {
        return args.iter().any(|w| words.contains(&w.text.as_str()));
    }
    match name {
        "tar" | "gtar" | "bsdtar" | "star" => archives(args),
        // With two directories it compares what lies in both, and never stops at links.
        "diff" | "sdiff" | "colordiff" => given("r", &["--recursive"]) || !args.iter().any(is_file),
        _ => false,
    }
}

/// All places where it looks are known to hold nothing that matters.
fn is_public(args: &[Word]) -> bool {
    let mut operands: Vec<&Word> = args.iter().filter(|w| !w.text.starts_with('-')).collect();
    // The pattern, unless an option brings it.
    let brought = args
        .iter()
        .any(|w| w.text == "--" || is_option(&w.text, "ef", &["--regexp", "--file"]));
    if !brought && !operands.is_empty() {
        operands.remove(0);
    }
    let public = |w: &&Word| {
        w.is_literal()
            && !w.text.split('/').any(|part| part == "..")
            && PUBLIC.iter().any(|dir| {
                w.text
                    .strip_prefix(dir)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    };
    !operands.is_empty() && operands.iter().all(public)
}

/// It makes an archive, adds to one, or compares with one.
fn archives(args: &[Word]) -> bool {
    let makes = |w: &Word| {
        is_option(
            &w.text,
            "crudA",
            &[
                "--create",
                "--append",
                "--update",
                "--diff",
                "--compare",
                "--catenate",
                "--concatenate",
            ],
        )
    };
    let bundle = args
        .first()
        .is_some_and(|w| !w.text.starts_with('-') && w.text.contains(['c', 'r', 'u', 'd', 'A']));
    bundle || args.iter().any(makes)
}

fn is_file(word: &Word) -> bool {
    word.is_literal()
        && !word.text.starts_with('-')
        && (crate::reads::is_sink(&word.text) || FILES.iter().any(|end| word.text.ends_with(end)))
}
