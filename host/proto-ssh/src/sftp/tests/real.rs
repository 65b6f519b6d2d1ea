//! OpenSSH's sftp and sftp-server, with the reader between them.

use std::fs;
use std::process::{Command, Output};

use aws_lc_rs::digest;
use bytes::Bytes;

use crate::sftp::Sftp;
use crate::transfer::bridge::{Dir, Log, Policy, Reader, script, through};
use crate::transfer::{Content, Direction, Effect, FileDone, Touch, Verdict, Why};

/// Where Debian and most others have it.
const SERVERS: [&str; 3] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

impl Reader for Sftp {
    fn client(&mut self, chunk: Bytes, out: &mut Vec<Effect>) {
        Sftp::client(self, chunk, out).unwrap();
    }
    fn server(&mut self, chunk: Bytes, out: &mut Vec<Effect>) {
        Sftp::server(self, chunk, out).unwrap();
    }
    fn answer(&mut self, ticket: u64, verdict: Verdict<'_>, out: &mut Vec<Effect>) {
        Sftp::answer(self, ticket, verdict, out).unwrap();
    }
    fn end(&mut self, out: &mut Vec<Effect>) {
        assert!(self.is_idle() && self.live.is_empty() && self.tickets.is_empty());
        Sftp::end(self, out);
    }
}

/// None where the machine has no sftp-server.
pub(super) fn server() -> Option<&'static str> {
    let found = SERVERS.into_iter().find(|path| fs::exists(path).unwrap());
    if found.is_none() {
        eprintln!("skipped: no sftp-server; apt-get install openssh-sftp-server");
    }
    found
}

/// Runs `commands` in `sftp`, in `dir`.
fn sftp(dir: &Dir, args: &[&str], commands: &str, policy: Policy) -> Option<(Output, Log)> {
    let server = server()?;
    let script = script(dir);
    fs::write(dir.path(".batch"), commands).unwrap();
    let mut client = Command::new("sftp");
    client
        .args(args)
        .args(["-q", "-b", &dir.path(".batch"), "-S", &script, "host"])
        .current_dir(&dir.0);
    let at = dir.0.clone();
    let serve = move |_: &str| {
        let mut command = Command::new(server);
        command.current_dir(at);
        command
    };
    Some(through(dir, client, serve, Sftp::new(), policy))
}

fn hash(bytes: &[u8]) -> Content {
    Content::Hashed {
        sha256: digest::digest(&digest::SHA256, bytes)
            .as_ref()
            .try_into()
            .unwrap(),
        whole: true,
    }
}

fn ok(output: &Output) {
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn summary(done: &[FileDone], dir: &Dir) -> Vec<(String, Direction, u64, Content)> {
    let home = format!("{}/", dir.0.display());
    done.iter()
        .map(|d| {
            (
                d.path.text.replace(&home, ""),
                d.direction,
                d.bytes,
                d.content,
            )
        })
        .collect()
}

#[test]
fn files_pass_whole_both_ways_with_their_hashes() {
    let dir = Dir::new("sftp-whole");
    let big = dir.fill("big", 64 << 20);
    let odd = dir.fill("odd", 100_001);
    dir.fill("empty", 0);
    let commands = "put big up\nget up down\nput odd odd2\nput empty empty2\nget empty2 empty3\n";
    let Some((output, log)) = sftp(&dir, &[], commands, |_| None) else {
        return;
    };
    ok(&output);
    assert!(fs::read(dir.path("down")).unwrap() == big);
    assert_eq!(
        summary(&log.done, &dir),
        [
            (
                "up".to_owned(),
                Direction::Write,
                big.len() as u64,
                hash(&big)
            ),
            (
                "up".to_owned(),
                Direction::Read,
                big.len() as u64,
                hash(&big)
            ),
            (
                "odd2".to_owned(),
                Direction::Write,
                odd.len() as u64,
                hash(&odd)
            ),
            ("empty2".to_owned(), Direction::Write, 0, hash(b"")),
            ("empty2".to_owned(), Direction::Read, 0, hash(b"")),
        ]
    );
    assert_eq!((log.dropped, log.injected), (0, 0));
    assert_eq!(log.answered, log.asked.len());
}
