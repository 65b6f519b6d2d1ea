//! Commands that a client's own program runs on the host to transfer files: `scp`, `rsync`, `git`, `sftp-server`.

use crate::programs::is_standard;
use crate::reading::{Transfer, Word};

/// Letters of `rsync --server` that only choose how files are sent. Not among them: `s` (the words come over standard
/// input, after the decision), `e` but for `e.`, and `L`, `k` and `K` (links are followed).
const LETTERS: &str = "vqbunldmOJyWHogDtUNpEAXrcCIRxSz";
/// The same of long options.
const FLAGS: &[&str] = &[
    "--sender",
    "--delete",
    "--delete-before",
    "--delete-during",
    "--delete-delay",
    "--delete-after",
    "--delete-excluded",
    "--force",
    "--ignore-errors",
    "--size-only",
    "--existing",
    "--ignore-existing",
    "--ignore-non-existing",
    "--inplace",
    "--append",
    "--append-verify",
    "--partial",
    "--numeric-ids",
    "--compress",
    "--new-compress",
    "--old-compress",
    "--stats",
    "--msgs2stderr",
    "--no-msgs2stderr",
    "--no-iconv",
    "--no-implied-dirs",
    "--no-r",
    "--no-W",
    "--no-whole-file",
    "--fuzzy",
    "--fsync",
    "--open-noatime",
    "--delay-updates",
    "--preallocate",
    "--prune-empty-dirs",
    "--safe-links",
    "--mkpath",
    "--list-only",
];
/// And of those with a value, which has to stand in the same word: what stands behind might be taken for one.
const VALUES: &[&str] = &[
    "--max-delete=",
    "--checksum-choice=",
    "--checksum-seed=",
    "--compress-level=",
    "--compress-choice=",
    "--skip-compress=",
    "--bwlimit=",
    "--timeout=",
    "--max-size=",
    "--min-size=",
    "--max-alloc=",
    "--modify-window=",
    "--log-format=",
    "--stderr=",
    "--iconv=",
];

/// Where servers of transfers lie beside the directories of programs.
const SERVERS: &[&str] = &[
    "/usr/lib/openssh/",
    "/usr/lib/ssh/",
    "/usr/lib/git-core/",
    "/usr/libexec/",
    "/usr/libexec/openssh/",
    "/usr/libexec/git-core/",
];

/// A program of such a name that lies anywhere else may be anything.
fn is_server(path: &str) -> bool {
    let lies_in = |dir: &str| {
        path.strip_prefix(dir)
            .is_some_and(|rest| !rest.contains('/'))
    };
    is_standard(path) || SERVERS.iter().any(|dir| lies_in(dir))
}

pub(crate) fn read(name: &str, argv: &[Word]) -> Option<Transfer> {
    let (head, args) = argv.split_first()?;
    if !is_server(&head.text) {
        return None;
    }
    match name {
        "scp" => scp(args),
        "rsync" => rsync(args),
        "git" => git(
            args.first()?.text.as_str(),
            args.get(1..).unwrap_or_default(),
        ),
        "sftp-server" | "internal-sftp" => Some(Transfer::Sftp {
            read_only: args.iter().any(|w| w.text == "-R"),
        }),
        _ => git(name.strip_prefix("git-")?, args),
    }
}

fn scp(args: &[Word]) -> Option<Transfer> {
    let mut to_host = None;
    let mut recursive = false;
    let mut at = 0;
    while let Some(word) = args
        .get(at)
        .filter(|w| w.text.starts_with('-') && !w.dynamic)
    {
        at += 1;
        if word.text == "--" {
            break;
        }
        for c in word.text.chars().skip(1) {
            match c {
                // With both it reads or writes as its version sees fit.
                't' | 'f' if to_host.is_some_and(|to| to != (c == 't')) => return None,
                't' => to_host = Some(true),
                'f' => to_host = Some(false),
                'r' => recursive = true,
                'v' | 'p' | 'd' => {}
                _ => return None,
            }
        }
    }
    Some(Transfer::Scp {
        to_host: to_host?,
        recursive,
        paths: args.get(at..)?.to_vec(),
    })
}

fn rsync(args: &[Word]) -> Option<Transfer> {
    let (first, args) = args.split_first()?;
    if first.text != "--server" {
        return None;
    }
    let mut to_host = true;
    let mut dangerous = Vec::new();
    let mut paths = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let text = word.text.as_str();
        if text == "--sender" {
            to_host = false;
        } else if word.may_be_option() {
            dangerous.push(text.to_owned());
        } else if text.starts_with("--") && text.len() > 2 {
            if !FLAGS.contains(&text) && !VALUES.iter().any(|v| text.starts_with(v)) {
                dangerous.push(text.to_owned());
            }
        } else if let Some(cluster) = text
            .strip_prefix('-')
            .filter(|c| !c.is_empty() && *c != "-")
        {
            // `e.` begins what a client says about its abilities; anything else is a program to run.
            let (letters, abilities) = match cluster.find('e') {
                Some(at) => cluster.split_at_checked(at).unwrap_or((cluster, "")),
                None => (cluster, ""),
            };
            let told = abilities.is_empty()
                || abilities
                    .strip_prefix("e.")
                    .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_alphanumeric()));
            if !told || !letters.chars().all(|c| LETTERS.contains(c)) {
                dangerous.push(text.to_owned());
            }
        } else {
            paths.push(word.clone());
            paths.extend(words.by_ref().cloned());
        }
    }
    // The first is a dot that stands for nothing.
    if paths.first().is_some_and(|w| w.text == ".") {
        paths.remove(0);
    }
    Some(Transfer::Rsync {
        to_host,
        paths,
        dangerous,
    })
}

fn git(verb: &str, args: &[Word]) -> Option<Transfer> {
    let (service, to_host) = match verb {
        "upload-pack" => ("git-upload-pack", false),
        "receive-pack" => ("git-receive-pack", true),
        "upload-archive" => ("git-upload-archive", false),
        _ => return None,
    };
    let [repository] = args else { return None };
    if repository.may_be_option() || repository.text.starts_with('-') {
        return None;
    }
    Some(Transfer::Git {
        to_host,
        service,
        repository: repository.clone(),
    })
}
