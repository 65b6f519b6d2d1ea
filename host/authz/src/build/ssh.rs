//! SSH hosts for Cedar: accounts and what is in them, and the facts about what is asked for.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{Literal, Value};
use pipeline::{Resource, SshFacts, Target};

use super::{Attrs, BuildError, Builder, Built, flag, key, long, record, refer, text, under};
use crate::reads::Reads;
use crate::vocab::{path, uid};

/// Bytes of paths and of the directories above them, of one action. More are not compared with anything.
const MAX_PATHS: usize = 1 << 20;

impl Builder {
    /// What is on an SSH host; none, if it is not that.
    pub(super) fn on_host(
        &self,
        target: &Target,
        resource: &Resource,
    ) -> Result<Option<Built>, BuildError> {
        let types = &self.types;
        let of_account = |ty, login: &str, id: &[&str], mut attrs: Attrs| {
            attrs.push(self.env(target));
            attrs.push((key("login"), text(login)));
            let parts: Vec<&str> = [&*target.name, login].iter().chain(id).copied().collect();
            under(
                Some(self.account(target, login)),
                uid(ty, path(&parts)),
                attrs,
            )
        };
        Ok(Some(match resource {
            Resource::SshAccount { login } => self.account(target, login),
            Resource::SshProgram {
                login,
                name,
                path,
                known,
            } => {
                // By its letters a path can begin at a directory from which it leads away.
                let climbs = path.split('/').any(|part| part == "..");
                let led = match path.starts_with('/') {
                    true => plain(path),
                    false => path.to_string(),
                };
                let attrs = vec![
                    (key("name"), text(name)),
                    (key("path"), text(&led)),
                    (key("known"), flag(*known && !climbs)),
                ];
                of_account(&types.ssh_program, login, &[name, path], attrs)
            }
            Resource::SshFile { login, path, known } => {
                let plain = plain(path);
                let of = Paths::of(plain.clone())?;
                let set = |of: &BTreeSet<String>| texts(of.iter().map(String::as_str));
                let attrs = vec![
                    (key("path"), text(&plain)),
                    (key("under"), set(&of.under)),
                    (key("parts"), set(&of.parts)),
                    (key("known"), flag(*known)),
                ];
                of_account(&types.ssh_file, login, &[path], attrs)
            }
            Resource::SshVariable { login, name, value } => {
                let attrs = vec![(key("name"), text(name)), (key("value"), text(value))];
                of_account(&types.ssh_variable, login, &[name], attrs)
            }
            Resource::SshSubsystem { login, name } => {
                let attrs = vec![(key("name"), text(name))];
                of_account(&types.ssh_subsystem, login, &[name], attrs)
            }
            Resource::SshEndpoint {
                host,
                port,
                loopback,
                own_ssh,
            } => {
                let attrs = vec![
                    self.env(target),
                    (key("host"), text(host)),
                    (key("port"), long(i64::from(*port))),
                    (key("loopback"), flag(*loopback)),
                    (key("ownSsh"), flag(*own_ssh)),
                ];
                let id = path(&[&target.name, host, &port.to_string()]);
                under(
                    Some(self.target(target)),
                    uid(&types.ssh_endpoint, id),
                    attrs,
                )
            }
            _ => return Ok(None),
        }))
    }

    /// Target ← Account.
    fn account(&self, target: &Target, login: &str) -> Built {
        let attrs = vec![self.env(target), (key("login"), text(login))];
        let id = uid(&self.types.ssh_account, path(&[&target.name, login]));
        under(Some(self.target(target)), id, attrs)
    }

    pub(super) fn ssh(&self, ssh: &SshFacts, reads: Reads) -> Result<Value, BuildError> {
        let mut out: Attrs = vec![
            (
                key("kind"),
                refer(uid(&self.types.ssh_kind, ssh.kind.as_str())),
            ),
            (key("parsed"), flag(ssh.parsed)),
            (key("code"), flag(ssh.code)),
            (key("pty"), flag(ssh.pty)),
            (key("hasStdin"), flag(ssh.stdin.is_some())),
            (key("stdinOpen"), flag(ssh.stdin_open)),
            (key("onlyReads"), flag(ssh.only_reads)),
            (key("dynamic"), flag(ssh.commands.iter().any(|c| c.dynamic))),
        ];
        if reads.has(Reads::LINES) {
            let programs = ssh.commands.iter().filter_map(|c| c.argv.first());
            let by = ssh.commands.iter().flat_map(|c| &c.by);
            let users = ssh.commands.iter().filter_map(|c| c.as_user.as_deref());
            out.extend([
                (key("opaque"), texts(ssh.opaque.iter().map(|why| &**why))),
                (key("programs"), texts(programs.map(|p| last_part(p)))),
                (key("by"), texts(by.map(|p| last_part(p)))),
                (key("users"), texts(users)),
                (
                    key("variables"),
                    texts(ssh.env.iter().map(|(name, _)| &**name)),
                ),
                (key("reads"), paths(ssh, false)?),
                (key("writes"), paths(ssh, true)?),
            ]);
        }
        Ok(record(out))
    }
}

fn texts<'a>(of: impl Iterator<Item = &'a str>) -> Value {
    Value::set_of_lits(of.map(Literal::from), None)
}

fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The paths that it reads or writes.
fn paths(ssh: &SshFacts, writes: bool) -> Result<Value, BuildError> {
    let mut of = Paths::default();
    for path in ssh.paths.iter().filter(|p| p.writes == writes) {
        of.add(plain(&path.path))?;
    }
    let set = |of: &BTreeSet<String>| texts(of.iter().map(String::as_str));
    Ok(record(vec![
        (key("paths"), set(&of.paths)),
        (key("under"), set(&of.under)),
        (key("parts"), set(&of.parts)),
    ]))
}

/// A part of every path that looks like a private key.
const KEY: &str = "*.key";
const KEYS: &[&str] = &[
    ".pem",
    ".key",
    ".p12",
    ".pfx",
    ".jks",
    ".keystore",
    ".kdbx",
    ".ppk",
];
/// A part of every path that looks like a file of such variables.
const ENV: &str = ".env";
/// What everybody may have, though it is called like a key: certificates of authorities.
const CERTIFICATES: &[&str] = &["/etc/ssl/certs/", "/etc/pki/ca-trust/"];
/// Above every raw disk: whoever reads one reads all files. And above memory and what is swapped out of it, what tells
/// which keys are pressed, what consoles and terminals show and take, and the watchdog, which ends the machine once it
/// has been opened.
const DISK: &str = "/dev/disk";
const DISKS: &[&str] = &[
    "sd", "hd", "vd", "xvd", "nvme", "mmcblk", "dm-", "md", "loop", "bcache", "nbd", "drbd", "rbd",
    "zd", "zvol/", "sg", "pmem", "root", "mtd", "ubi", "vg", "da", "ada", "hidraw", "input/",
    "vcs", "watchdog", "core", "oldmem", "crash", "zram", "ram", "console", "hvc", "fb", "usbmon",
];

/// Directories of other devices. What lies in one of another name is a volume of LVM, a terminal, or any device by its
/// number.
const NO_DISKS: &[&str] = &[
    "bus",
    "cpu",
    "dri",
    "fd",
    "hugepages",
    "input",
    "mqueue",
    "net",
    "shm",
    "snd",
    "tcp",
    "udp",
    "vfio",
];

fn is_disk(name: &str) -> bool {
    let volume = name
        .split_once('/')
        .is_some_and(|(dir, _)| !NO_DISKS.contains(&dir));
    // By `tty`, whoever asks reaches their own.
    let terminal = name.starts_with("tty") && name != "tty";
    (volume || terminal || DISKS.iter().any(|disk| name.starts_with(disk))) && name != "pts/ptmx"
}

/// Paths, once by themselves, once with every directory above them, and once taken apart: a set cannot be
/// searched for what only begins with something.
#[derive(Default)]
struct Paths {
    paths: BTreeSet<String>,
    under: BTreeSet<String>,
    parts: BTreeSet<String>,
    bytes: usize,
}

impl Paths {
    fn of(path: String) -> Result<Self, BuildError> {
        let mut of = Self::default();
        of.add(path)?;
        Ok(of)
    }

    fn add(&mut self, path: String) -> Result<(), BuildError> {
        let mut at = &*path;
        loop {
            let dir = if at.is_empty() { "/" } else { at };
            if !self.under.insert(dir.to_owned()) {
                break;
            }
            // A path of many parts is above itself as many times.
            self.bytes += at.len();
            if self.bytes > MAX_PATHS {
                return Err(BuildError::TooMany("bytes of paths", MAX_PATHS));
            }
            match at.rsplit_once('/') {
                Some((above, _)) => at = above,
                None => break,
            }
        }
        let parts = path.split('/').filter(|part| !part.is_empty());
        self.parts.extend(parts.clone().map(str::to_owned));
        // `.env.production`, `prod.env`.
        if parts
            .clone()
            .any(|part| part.starts_with(".env.") || part.ends_with(ENV))
        {
            self.parts.insert(ENV.to_owned());
        }
        let public = path.ends_with(".pem") && CERTIFICATES.iter().any(|dir| path.starts_with(dir));
        if !public && KEYS.iter().any(|end| path.ends_with(end)) {
            self.parts.insert(KEY.to_owned());
        }
        let device = path.strip_prefix("/dev/");
        if device.is_some_and(is_disk) {
            self.under.insert(DISK.to_owned());
        }
        self.paths.insert(path);
        Ok(())
    }
}

/// The path without `.`, empty parts, and `..` where it takes a part away: `/tmp/../etc` is below `/etc`.
/// What links do, only the host knows.
fn plain(path: &str) -> String {
    let from_root = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(last) if *last != ".." && !last.starts_with('~') => {
                    parts.pop();
                }
                None if from_root => {}
                _ => parts.push(part),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (from_root, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_private_key() {
        for (path, expect) in [
            ("/srv/tls/site.key", true),
            ("/srv/tls/site.pem", true),
            ("/etc/ssl/certs/ca.pem", false),
            ("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", false),
            ("/etc/ssl/certs/site.key", true),
            ("/etc/ssl/certs/../private/site.pem", true),
            ("/etc/ssl/certs.pem", true),
            ("etc/ssl/certs/ca.pem", true),
            ("/srv/etc/ssl/certs/ca.pem", true),
            ("/etc/ssl/cert", false),
        ] {
            let of = Paths::of(plain(path)).unwrap();
            assert_eq!(of.parts.contains(KEY), expect, "{path}");
        }
    }

    #[test]
    fn what_looks_like_a_file_of_variables() {
        for (path, expect) in [
            ("/srv/app/.env", true),
            ("/srv/app/.env.production", true),
            (".env.local", true),
            ("/srv/app/prod.env", true),
            ("/srv/.env.d/x", true),
            ("/srv/app/env", false),
            ("/srv/app/.environment", false),
            ("/srv/app/prod.env.d", false),
        ] {
            let of = Paths::of(plain(path)).unwrap();
            assert_eq!(of.parts.contains(ENV), expect, "{path}");
        }
    }

    #[test]
    fn devices_that_are_no_files_to_look_at() {
        for (path, expect) in [
            ("/dev/sda1", true),
            ("/dev/watchdog", true),
            ("/dev/watchdog0", true),
            ("/dev/input/event3", true),
            ("/dev/vcs", true),
            ("/dev/vcsa1", true),
            ("/dev/./vcs7", true),
            ("/dev/core", true),
            ("/dev/char/10:130", true),
            ("/dev/char/13:64", true),
            ("/dev/char/1:1", true),
            ("/dev/char/7:128", true),
            ("/dev/char/../core", true),
            ("/dev/block/8:0", true),
            ("/dev/zram0", true),
            ("/dev/ram0", true),
            ("/dev/fb0", true),
            ("/dev/usbmon0", true),
            ("/dev/oldmem", true),
            ("/dev/pts/0", true),
            ("/dev//pts/./3", true),
            ("/dev/tty1", true),
            ("/dev/ttyS0", true),
            ("/dev/ttyUSB0", true),
            ("/dev/hvc0", true),
            ("/dev/console", true),
            ("/dev/serial/by-id/x", true),
            ("/dev/null", false),
            ("/dev/zero", false),
            ("/dev/full", false),
            ("/dev/random", false),
            ("/dev/urandom", false),
            ("/dev/stdin", false),
            ("/dev/stdout", false),
            ("/dev/stderr", false),
            ("/dev/tty", false),
            ("/dev/ptmx", false),
            ("/dev/pts/ptmx", false),
            ("/dev/shm/x", false),
            ("/srv/dev/core", false),
            ("/srv/watchdog", false),
        ] {
            let of = Paths::of(plain(path)).unwrap();
            assert_eq!(of.under.contains(DISK), expect, "{path}");
        }
    }

    #[test]
    fn ways_to_write_one_path() {
        for (path, expect) in [
            ("/etc/passwd", "/etc/passwd"),
            ("//etc///passwd", "/etc/passwd"),
            ("/tmp/../etc/./passwd", "/etc/passwd"),
            ("/../../etc/passwd/", "/etc/passwd"),
            ("/", "/"),
            ("/..", "/"),
            ("../x", "../x"),
            ("a/../../x", "../x"),
            ("./.ssh/authorized_keys", ".ssh/authorized_keys"),
            ("~/.ssh/rc", "~/.ssh/rc"),
            // What is above a home, only the host knows.
            ("~/../root", "~/../root"),
            ("", "."),
            (".", "."),
        ] {
            assert_eq!(plain(path), expect, "{path}");
        }
    }
}
