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

/// They do it with one of these: letters among the short options, or long ones, perhaps cut short. (With `-S`, gzip
/// and its like complete names.)
const WITH: &[(&str, &str, &[&str])] = &[
    ("aws", "", &["--recursive"]),
    ("cp", "rRa", &["--recursive", "--archive"]),
    ("gcloud", "rR", &["--recursive", "--recurse"]),
    ("git", "", &["--no-index"]),
    ("gunzip", "rS", &["--recursive", "--suffix"]),
    ("gzcat", "rS", &["--recursive", "--suffix"]),
    ("gzip", "rS", &["--recursive", "--suffix"]),
    ("lz4", "r", &[]),
    ("lz4cat", "r", &[]),
    ("pigz", "rS", &["--recursive", "--suffix"]),
    ("scp", "r", &[]),
    ("uncompress", "rS", &["--recursive", "--suffix"]),
    ("unpigz", "rS", &["--recursive", "--suffix"]),
    ("unzstd", "r", &[]),
    ("zcat", "rS", &["--recursive", "--suffix"]),
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

/// Credentials, homes and what the system keeps lie below these. A directory elsewhere that is named in full, and
/// that is not the uppermost, holds what belongs together: an application, a site. That has credentials of its own:
/// it may be copied, or looked through without printing them.
const GUARDED: &[&[&str]] = &[
    &["boot"],
    &["dev"],
    &["etc"],
    &["export"],
    &["media"],
    &["mnt"],
    &["proc"],
    &["root"],
    &["run"],
    &["sys"],
    &["Users"],
    &["usr", "lib"],
    &["usr", "local", "etc"],
    &["var", "backups"],
    &["var", "lib"],
    &["var", "mail"],
    &["var", "run"],
    &["var", "spool"],
];

/// Short options that take nothing from the next word.
const GREP_FLAGS: &str = "rRinHhlcvwxsoEFPGaqIzZT";
const RG_FLAGS: &str = "abcFHiIlnNopPqsSuUvwx0";
const DIFF_FLAGS: &str = "abBcdeEfinNpqrstTuvwy";
const CP_FLAGS: &str = "rRafvpnudiTx";
const RSYNC_FLAGS: &str = "avzhnrtpPqulogxHAXSciWDEORIdmb";
/// Long ones; those that end so have their value in one with them.
const GREP_LONGS: &[&str] = &[
    "--after-context=",
    "--basic-regexp",
    "--before-context=",
    "--color=",
    "--context=",
    "--count",
    "--exclude-dir=",
    "--exclude=",
    "--extended-regexp",
    "--files-with-matches",
    "--files-without-match",
    "--fixed-strings",
    "--glob=",
    "--ignore-case",
    "--include=",
    "--initial-tab",
    "--invert-match",
    "--line-buffered",
    "--line-number",
    "--line-regexp",
    "--max-count=",
    "--no-filename",
    "--no-messages",
    "--null",
    "--null-data",
    "--only-matching",
    "--perl-regexp",
    "--quiet",
    "--recursive",
    "--silent",
    "--text",
    "--with-filename",
    "--word-regexp",
];
const DIFF_LONGS: &[&str] = &[
    "--brief",
    "--color=",
    "--ignore-all-space",
    "--ignore-blank-lines",
    "--ignore-case",
    "--ignore-space-change",
    "--minimal",
    "--new-file",
    "--no-dereference",
    "--recursive",
    "--report-identical-files",
    "--side-by-side",
    "--text",
    "--unified=",
];
const CP_LONGS: &[&str] = &[
    "--archive",
    "--force",
    "--no-clobber",
    "--no-dereference",
    "--no-target-directory",
    "--one-file-system",
    "--preserve",
    "--preserve=",
    "--recursive",
    "--update",
    "--verbose",
];
const RSYNC_LONGS: &[&str] = &[
    "--archive",
    "--bwlimit=",
    "--checksum",
    "--chmod=",
    "--chown=",
    "--compress",
    "--delete",
    "--dry-run",
    "--exclude=",
    "--human-readable",
    "--info=",
    "--itemize-changes",
    "--partial",
    "--progress",
    "--quiet",
    "--recursive",
    "--stats",
    "--verbose",
];
const TAR_LONGS: &[&str] = &["--exclude=", "--one-file-system", "--verbose"];

/// A name that ends so is that of a file. (Directories are called `x.d`, `python3.11`, `x.old` and `x.js`.)
const FILES: &[&str] = &[
    ".cfg", ".conf", ".csv", ".ini", ".json", ".log", ".md", ".service", ".sh", ".sql", ".timer",
    ".toml", ".txt", ".xml", ".yaml", ".yml",
];

/// Endings of what is written for programs or for people: no credentials that are guarded have such names.
const SOURCES: &[&str] = &[
    "c", "cc", "cpp", "cs", "css", "go", "h", "hpp", "htm", "html", "java", "js", "jsx", "kt",
    "log", "lua", "md", "php", "pl", "proto", "py", "rb", "rs", "rst", "scala", "scss", "sh",
    "sql", "svg", "swift", "ts", "tsx", "txt", "vue",
];

/// And so are these.
const NAMES: &[&str] = &[
    "Cargo.lock",
    "Containerfile",
    "Dockerfile",
    "GNUmakefile",
    "Gemfile",
    "Jenkinsfile",
    "LICENSE",
    "Makefile",
    "Procfile",
    "README",
    "Rakefile",
    "Vagrantfile",
    "crontab",
    "fstab",
    "group",
    "hosts",
    "makefile",
    "passwd",
    "yarn.lock",
];

/// It may read files below a directory, which nobody can name.
pub(crate) fn reads_below(name: &str, args: &[Word]) -> bool {
    let given =
        |letters: &str, longs: &[&str]| args.iter().any(|w| is_option(&w.text, letters, longs));
    if ALWAYS.contains(&name) {
        return name != "rsync" || !copies(args, RSYNC_FLAGS, RSYNC_LONGS);
    }
    if ALWAYS_GREP.contains(&name) || GREPS.contains(&name) {
        let links = given("RLS", &["--dereference-recursive", "--follow"]);
        let below = ALWAYS_GREP.contains(&name)
            || given(
                "rRd",
                &["--recursive", "--dereference-recursive", "--directories"],
            );
        return below && (links || !is_public(name, args));
    }
    if name == "cp" && copies(args, CP_FLAGS, CP_LONGS) {
        return false;
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
        "tar" | "gtar" | "bsdtar" | "star" => archives(args) && !archives_places(args),
        "diff" | "sdiff" | "colordiff" => compares_below(name, args),
        _ => false,
    }
}

/// The words that are no options, as long as no option may take one of them as its value. A letter of `counts` has
/// a number written in one with it.
fn operands<'a>(
    args: &'a [Word],
    flags: &str,
    counts: &str,
    longs: &[&str],
) -> Option<Vec<&'a Word>> {
    let known = |text: &str| {
        if text.starts_with("--") {
            return longs
                .iter()
                .any(|long| text == *long || long.ends_with('=') && text.starts_with(long));
        }
        let cluster = text.get(1..).unwrap_or_default();
        let number = cluster
            .strip_prefix(|c| counts.contains(c))
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        number || cluster.chars().all(|c| flags.contains(c))
    };
    let mut operands = Vec::new();
    for word in args {
        if word.may_be_option() || word.glob {
            return None;
        }
        if word.text == "-" || !word.text.starts_with('-') {
            operands.push(word);
        } else if word.dynamic || !known(&word.text) {
            return None;
        }
    }
    Some(operands)
}

/// It prints no more than names and numbers, or only out of files whose names are none of credentials.
fn prints_little(name: &str, args: &[Word]) -> bool {
    const LITTLE: &[&str] = &["--count", "--files-with-matches", "--quiet", "--silent"];
    let choose = match name {
        "grep" | "egrep" | "fgrep" | "rgrep" => "--include=",
        "rg" => "--glob=",
        _ => return false,
    };
    let little = |w: &Word| LITTLE.contains(&w.text.as_str()) || is_option(&w.text, "clq", &[]);
    let chosen: Vec<&str> = args
        .iter()
        .filter_map(|w| w.text.strip_prefix(choose))
        .collect();
    let source = |of: &&str| {
        of.strip_prefix("*.")
            .is_some_and(|end| SOURCES.contains(&end))
    };
    // Where what is left out is told first, all else is taken.
    let left_out = args.iter().any(|w| w.text.starts_with("--exclude="));
    args.iter().any(little) || !left_out && !chosen.is_empty() && chosen.iter().all(source)
}

/// What it looks for.
pub(crate) fn pattern<'a>(name: &str, args: &'a [Word]) -> Option<&'a Word> {
    if !matches!(name, "egrep" | "fgrep" | "grep" | "rg") {
        return None;
    }
    let flags = if name == "rg" { RG_FLAGS } else { GREP_FLAGS };
    operands(args, flags, "ABCm", GREP_LONGS)?.first().copied()
}

/// All places where it looks are known to hold nothing that matters.
fn is_public(name: &str, args: &[Word]) -> bool {
    let flags = if name == "rg" { RG_FLAGS } else { GREP_FLAGS };
    let Some(operands) = operands(args, flags, "ABCm", GREP_LONGS) else {
        return false;
    };
    let public = |w: &&Word| {
        w.is_literal()
            && !w.text.split('/').any(|part| part == "..")
            && PUBLIC.iter().any(|dir| {
                w.text
                    .strip_prefix(dir)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    };
    // The first is the pattern.
    let places = operands.get(1..).unwrap_or_default();
    let little = prints_little(name, args);
    !places.is_empty() && places.iter().all(|w| public(w) || little && is_place(w))
}

/// A directory, or a file, of something that is neither a home nor the system.
fn is_place(word: &Word) -> bool {
    let parts: Vec<&str> = word
        .text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    word.is_literal()
        && word.text.starts_with('/')
        && parts.len() >= 2
        && !parts.iter().any(|part| matches!(*part, ".." | "home"))
        && !GUARDED.iter().any(|dir| parts.starts_with(dir))
}

/// It copies such directories, and does not follow links in them.
fn copies(args: &[Word], flags: &str, longs: &[&str]) -> bool {
    operands(args, flags, "", longs).is_some_and(|operands| match operands.split_last() {
        Some((to, from)) => to.is_literal() && !from.is_empty() && from.iter().all(|w| is_place(w)),
        None => false,
    })
}

/// `tar czf x.tgz /srv/app` and its like.
fn archives_places(args: &[Word]) -> bool {
    let Some((first, mut rest)) = args.split_first().filter(|(w, _)| w.is_literal()) else {
        return false;
    };
    let dashed = first.text.starts_with('-');
    let letters = first.text.strip_prefix('-').unwrap_or(&first.text);
    let files = letters.matches('f').count();
    let known = letters.contains('c') && letters.chars().all(|c| "czjJvfap".contains(c));
    if !known || files > 1 || files == 1 && dashed && !letters.ends_with('f') {
        return false;
    }
    if files == 1 {
        rest = match rest.split_first() {
            Some((archive, rest)) if archive.is_literal() && !archive.may_be_option() => rest,
            _ => return false,
        };
    }
    operands(rest, "", "", TAR_LONGS)
        .is_some_and(|places| !places.is_empty() && places.iter().all(|w| is_place(w)))
}

/// Of two directories it compares what lies in both, follows links, and prints what it finds unless it is to be brief.
fn compares_below(name: &str, args: &[Word]) -> bool {
    // What tells one `diff` that blanks do not matter has a value for another.
    let flags = if name == "sdiff" {
        DIFF_FLAGS.replace('w', "")
    } else {
        DIFF_FLAGS.to_owned()
    };
    let Some(operands) = operands(args, &flags, "UC", DIFF_LONGS) else {
        return true;
    };
    let [a, b] = operands.as_slice() else {
        return true;
    };
    let brief = args.iter().any(|w| is_option(&w.text, "q", &["--brief"]));
    let places = brief && name != "sdiff" && is_place(a) && is_place(b);
    if args
        .iter()
        .any(|w| is_option(&w.text, "r", &["--recursive"]))
    {
        let links = !args.iter().any(|w| w.text == "--no-dereference");
        return links || !places;
    }
    !places && !is_file(a) && !is_file(b)
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
        && (crate::reads::is_sink(&word.text)
            || FILES.iter().any(|end| word.text.ends_with(end))
            || NAMES.contains(&crate::programs::name(&word.text)))
}
