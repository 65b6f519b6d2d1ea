//! Commands that a client's own program runs on the host to transfer files: `scp`, `rsync`, `git`, `sftp-server`.

use crate::reading::{Transfer, Word};

/// Options of `rsync --server` that do more than to choose how files are sent.
const RSYNC: &[&str] = &[
    "--daemon",
    "--rsh",
    "--rsync-path",
    "--remove-source-files",
    "--remove-sent-files",
    "--log-file",
    "--config",
    "--files-from",
    "--write-devices",
    "--copy-devices",
    "--copy-unsafe-links",
    "--backup-dir",
    "--temp-dir",
    "--partial-dir",
    "--compare-dest",
    "--copy-dest",
    "--link-dest",
    "--password-file",
    "--early-input",
    "--dparam",
    "--only-write-batch",
    "--write-batch",
    "--read-batch",
    "--super",
    "--fake-super",
    "--specials",
    "--devices",
    "--chown",
    "--usermap",
    "--groupmap",
    "--trust-sender",
    "--copy-as",
    "--keep-dirlinks",
    "--munge-links",
];

pub(crate) fn read(name: &str, argv: &[Word]) -> Option<Transfer> {
    let args = argv.get(1..).unwrap_or_default();
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
            let name = text.split('=').next().unwrap_or(text);
            if RSYNC
                .iter()
                .any(|d| d.starts_with(name) || name.starts_with(d))
            {
                dangerous.push(text.to_owned());
            }
        } else if let Some(cluster) = text
            .strip_prefix('-')
            .filter(|c| !c.is_empty() && *c != "-")
        {
            // `e.` begins what a client says about its abilities; anything else is a program to run.
            if let Some(at) = cluster.find('e')
                && !cluster
                    .get(at + 1..)
                    .is_some_and(|rest| rest.starts_with('.'))
            {
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
