//! Rules over commands that take something away.

use crate::Hit;
use crate::facts::{Facts, has, operands};

/// Programs that leave nothing of a disk.
const DISKS: &[&str] = &[
    "blkdiscard",
    "cryptsetup",
    "dmsetup",
    "fdisk",
    "gdisk",
    "lvremove",
    "mdadm",
    "mkswap",
    "parted",
    "pvremove",
    "sfdisk",
    "sgdisk",
    "vgremove",
    "wipefs",
];

pub fn hits(facts: &Facts<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    let many = facts
        .by
        .iter()
        .any(|b| matches!(*b, "xargs" | "find" | "parallel"));
    for (name, args) in facts.programs() {
        match name {
            "rm" | "rmdir" | "unlink" | "shred" | "srm" => removes(name, args, many, &mut hits),
            "find" if args.contains(&"-delete") => {
                let text = "find deletes whatever it finds";
                let weight = if operands(args).any(is_broad) { 90 } else { 60 };
                hits.push(Hit::new("bulk_write", weight, text).label("bulk_write"));
            }
            "dd" if args
                .iter()
                .any(|a| a.starts_with("of=/dev/") && *a != "of=/dev/null") =>
            {
                hits.push(destroyed("dd writes over a device"));
            }
            _ if name.starts_with("mkfs") || DISKS.contains(&name) => {
                let tells = has(args, "l", &["list", "print", "detail"]);
                if !tells {
                    hits.push(destroyed(&format!("{name} changes what a disk holds")));
                }
            }
            "zpool" | "zfs" | "btrfs"
                if args.iter().any(|a| matches!(*a, "destroy" | "delete")) =>
            {
                hits.push(destroyed(&format!("{name} destroys data")));
            }
            "chmod" | "chown" | "chgrp" | "setfacl" if has(args, "R", &["recursive"]) => {
                let broad = operands(args).any(is_broad);
                let text = format!("{name} of everything below a directory");
                let weight = if broad { 88 } else { 50 };
                hits.push(Hit::new("bulk_write", weight, text).label("bulk_write"));
            }
            "truncate" => {
                let text = "truncate cuts files off";
                hits.push(Hit::new("bulk_write", 50, text).label("bulk_write"));
            }
            "kubectl" | "oc" | "helm" | "terraform" | "tofu" | "pulumi" | "docker" | "podman"
            | "aws" | "gcloud" | "az" => {
                remote(name, args, &mut hits);
            }
            "git" => git(args, &mut hits),
            "dropdb" | "dropuser" => {
                let text = format!("{name} removes it with all its data");
                hits.push(Hit::new("bulk_write", 80, text).label("bulk_write"));
            }
            "rsync"
                if has(
                    args,
                    "",
                    &[
                        "delete",
                        "delete-after",
                        "delete-before",
                        "delete-excluded",
                        "remove-source-files",
                    ],
                ) =>
            {
                let text = "rsync removes files";
                hits.push(Hit::new("bulk_write", 55, text).label("bulk_write"));
            }
            _ => {}
        }
    }
    hits
}

fn destroyed(text: &str) -> Hit {
    Hit::new("destroys", 92, text).label("bulk_write")
}

/// `/`, a directory of the system, a home directory or everything here.
fn is_broad(path: &str) -> bool {
    const SYSTEM: &[&str] = &[
        "bin", "boot", "dev", "etc", "home", "lib", "lib64", "opt", "proc", "root", "sbin", "srv",
        "sys", "usr", "var", "Users", "mnt", "data",
    ];
    let path = path.trim_end_matches(['*', '/', '.']);
    match path.strip_prefix('/') {
        Some(rest) => {
            SYSTEM.contains(&rest) || rest.starts_with("var/lib") && rest.matches('/').count() < 3
        }
        None => matches!(path, "" | "~" | "$HOME" | "${HOME}" | "\"$HOME\"" | ".git"),
    }
}

fn removes(name: &str, args: &[&str], many: bool, hits: &mut Vec<Hit>) {
    let recursive = has(args, "rR", &["recursive"]);
    let unsafely = has(args, "", &["no-preserve-root"]);
    let broad = operands(args).any(is_broad);
    // What stands there only when it runs may be nothing, and then `$x/` is `/`.
    let unknown = operands(args).any(|p| p.starts_with('$'));
    let log = operands(args).any(|p| p.starts_with("/var/log") || p.ends_with("_history"));
    if log {
        let text = format!("{name} of what would tell what happened");
        hits.push(Hit::new("covers_tracks", 85, text).label("bulk_write"));
    }
    let (code, weight, text) = match (recursive, broad || unsafely, unknown || many) {
        (true, true, _) => (
            "destroys",
            95,
            "removes everything below a directory of the system or of a user",
        ),
        (true, _, true) => (
            "bulk_write",
            72,
            "removes everything below what is known only when it runs",
        ),
        (true, ..) => ("bulk_write", 55, "removes everything below a directory"),
        (false, _, true) => (
            "bulk_write",
            50,
            "removes files that are known only when it runs",
        ),
        (false, ..) => ("bulk_write", 30, "removes files"),
    };
    let mut hit = Hit::new(code, weight, format!("{name} {text}"));
    if weight >= 50 {
        hit = hit.label("bulk_write");
    }
    hits.push(hit);
}

/// Tools that reach beyond the host.
fn remote(name: &str, args: &[&str], hits: &mut Vec<Hit>) {
    const VERBS: &[&str] = &[
        "delete",
        "destroy",
        "drain",
        "uninstall",
        "prune",
        "rm",
        "rmi",
        "terminate-instances",
        "delete-stack",
        "rb",
    ];
    if let Some(verb) = args.iter().find(|a| VERBS.contains(a)) {
        let all = args.iter().any(|a| {
            matches!(
                *a,
                "--all" | "-a" | "-f" | "--force" | "-auto-approve" | "--auto-approve"
            )
        });
        let weight = if all { 75 } else { 60 };
        hits.push(Hit::new("bulk_write", weight, format!("{name} {verb}")).label("bulk_write"));
    }
}

fn git(args: &[&str], hits: &mut Vec<Hit>) {
    let verb = operands(args).next().unwrap_or_default();
    let text = match verb {
        "push"
            if has(
                args,
                "fd",
                &["force", "force-with-lease", "delete", "mirror", "prune"],
            ) =>
        {
            "rewrites or removes what others have"
        }
        "reset" if has(args, "", &["hard"]) => "throws away what is not committed",
        "clean" if has(args, "f", &["force"]) => "throws away what is not committed",
        _ => return,
    };
    hits.push(Hit::new("bulk_write", 45, format!("git {verb} {text}")));
}
