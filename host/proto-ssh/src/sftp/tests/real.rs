//! OpenSSH's sftp and sftp-server, with the reader between them.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use aws_lc_rs::digest;

use crate::sftp::Sftp;
use crate::transfer::bridge::{Dir, Log, Policy, have, script, through};
use crate::transfer::{Content, Direction, FileDone, Touch, Why};

/// Where Debian and most others have it.
const SERVERS: [&str; 3] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

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
    let server = server().filter(|_| have("sftp"))?;
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
    let (output, log) = through(dir, client, serve, |_| Sftp::new(), policy);
    assert_eq!(log.error, None);
    Some((output, log))
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

#[test]
fn everything_that_sftp_does_is_asked_about_under_its_name() {
    let dir = Dir::new("sftp-all");
    dir.fill("a", 300_000);
    let commands = "mkdir d\ncd d\npwd\nput a\nrename a b\nrename -l b c\nln -s c s\nln c h\n\
         chmod 600 c\ndf .\nls -l\ncp c k\nrm c\nrm h\nrm s\nrm k\ncd ..\nrmdir d\n";
    let Some((output, log)) = sftp(&dir, &[], commands, |_| None) else {
        return;
    };
    ok(&output);
    assert!(!dir.0.join("d").exists());
    let home = format!("{}/", dir.0.display());
    let texts: Vec<String> = log
        .texts()
        .iter()
        .map(|text| text.replace(&home, ""))
        .collect();
    for expected in [
        "mkdir d (write) mode 0777",
        "open d/a (write) mode 0644",
        "rename d/a (write) d/b (write) d/a (read)",
        "rename d/b (write) d/c (write) d/b (read)",
        "hardlink d/c (write) d/h (write) d/c (read)",
        "set attributes d/c (write) mode 0600",
        "df d",
        "list d",
        "remove d/c (write)",
        "rmdir d (write)",
    ] {
        assert!(
            texts.iter().any(|text| text == expected),
            "{expected}: {texts:#?}"
        );
    }
    let link = log
        .asked
        .iter()
        .find(|r| r.text().starts_with("symlink"))
        .unwrap();
    // What it leads to is as it is written, which is from the link's directory on.
    assert_eq!(
        link.text(),
        format!("symlink c (write) {home}d/s (write) c (read) {home}d/s (read)")
    );
    assert!(!link.known());
    assert!(
        log.asked
            .iter()
            .all(|r| r.known() || r.text().starts_with("symlink")),
        "{texts:#?}"
    );
    assert_eq!((log.dropped, log.injected), (0, 0));
    assert_eq!(log.answered, log.asked.len());
    let copied = summary(&log.done, &dir)
        .into_iter()
        .find(|(path, ..)| path == "d/k");
    if let Some((_, _, bytes, content)) = copied {
        assert_eq!((bytes, content), (0, Content::Unhashed(Why::Changed)));
    }
}

#[test]
fn a_resumed_transfer_is_told_as_such() {
    let dir = Dir::new("sftp-resume");
    let whole = dir.fill("a", 500_000);
    fs::write(dir.path("b"), &whole[..200_000]).unwrap();
    fs::write(dir.path("c"), &whole[..100_001]).unwrap();
    let Some((output, log)) = sftp(&dir, &[], "reput a b\nreget a c\n", |_| None) else {
        return;
    };
    ok(&output);
    assert!(fs::read(dir.path("b")).unwrap() == whole && fs::read(dir.path("c")).unwrap() == whole);
    let done = summary(&log.done, &dir);
    assert_eq!(
        (&*done[0].0, done[0].1, done[0].2),
        ("b", Direction::Write, 300_000)
    );
    assert!(matches!(
        done[0].3,
        Content::Unhashed(Why::NotFromStart | Why::Appended)
    ));
    let read = (
        "a".to_owned(),
        Direction::Read,
        399_999,
        Content::Unhashed(Why::NotFromStart),
    );
    assert_eq!(done[1], read);
}

#[test]
fn ten_thousand_names_pass() {
    let dir = Dir::new("sftp-list");
    fs::create_dir(dir.path("many")).unwrap();
    for n in 0..10_000 {
        fs::write(dir.path(&format!("many/{n:05}")), b"").unwrap();
    }
    let Some((output, log)) = sftp(&dir, &[], "ls -1 many\n", |_| None) else {
        return;
    };
    ok(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text
        .lines()
        .filter(|line| line.starts_with("many/"))
        .count();
    assert_eq!(names, 10_000);
    assert!(
        log.asked
            .iter()
            .all(|r| r.paths.iter().all(|p| p.touch == Touch::List))
    );
}

#[test]
fn what_is_refused_is_not_done_and_the_session_goes_on() {
    let dir = Dir::new("sftp-refuse");
    let a = dir.fill("a", 100_000);
    dir.fill("secret", 10);
    let refuse: Policy = |request| {
        let writes = request.paths.iter().any(|p| p.touch == Touch::Write);
        let secret = request
            .paths
            .iter()
            .any(|p| p.path.text.ends_with("secret"));
        (writes || secret && request.kind == crate::transfer::Kind::Open).then_some("not here")
    };
    let commands =
        "-put a b\n-get secret stolen\n-rm a\n-rename a c\n-mkdir d\n-ln a l\nget a copy\nls\n";
    let Some((output, log)) = sftp(&dir, &[], commands, refuse) else {
        return;
    };
    ok(&output);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.matches("ermission denied").count(), 6, "{errors}");
    assert!(fs::read(dir.path("copy")).unwrap() == a);
    for absent in ["b", "c", "d", "l"] {
        assert!(!dir.0.join(absent).exists(), "{absent}");
    }
    assert!(fs::read(dir.path("stolen")).unwrap_or_default().is_empty());
    assert!(log.dropped > 0 && log.injected > 0);
    assert_eq!(summary(&log.done, &dir).len(), 1);
}

#[test]
fn scp_over_sftp_is_hashed_although_it_does_not_cut_the_file_first() {
    let dir = Dir::new("sftp-scp");
    let a = dir.fill("a", 3_000_000);
    let old = dir.fill("b", 4_000_000);
    assert_ne!(a, old);
    let Some(server) = server().filter(|_| have("scp")) else {
        return;
    };
    let script = script(&dir);
    let mut client = Command::new("scp");
    client.args([
        "-q",
        "-s",
        "-S",
        &script,
        "a",
        &format!("host:{}", dir.path("b")),
    ]);
    client.current_dir(&dir.0);
    let (output, log) = through(
        &dir,
        client,
        |_| Command::new(server),
        |_| Sftp::new(),
        |_| None,
    );
    ok(&output);
    assert!(fs::read(dir.path("b")).unwrap() == a);
    let expected = ("b".to_owned(), Direction::Write, a.len() as u64, hash(&a));
    assert_eq!(summary(&log.done, &dir), [expected]);
}

/// Sixty-four reads on the way, as OpenSSH's client has them, with refusals in between, over and over.
#[test]
fn refusals_among_pipelined_reads_arrive_whole_and_the_reads_are_answered() {
    use super::pack::*;
    use crate::sftp::packet as p;
    let dir = Dir::new("sftp-pipeline");
    let file = dir.fill("a", 64 * 40_000);
    let Some(server) = server() else {
        return;
    };
    let mut server = Command::new(server)
        .current_dir(&dir.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to_server = server.stdin.take().unwrap();
    let mut from_server = server.stdout.take().unwrap();
    let mut run = Run {
        refuse: vec!["/etc/shadow"],
        ..Run::default()
    };
    let mut sent = 0;
    // Until everything is answered. Every few chunks, wherever that is within an answer, there is a refusal.
    let mut exchange = |run: &mut Run, chunk: usize| {
        to_server.write_all(&run.seen.server[sent..]).unwrap();
        sent = run.seen.server.len();
        let mut buffer = vec![0; chunk];
        for id in 10_000.. {
            let n = from_server.read(&mut buffer).unwrap();
            assert!(n > 0, "the server has ended");
            if id % 4 == 3 {
                run.client(&path(p::STAT, id, "/etc/shadow")).unwrap();
            }
            run.server(&buffer[..n]).unwrap();
            if run.sftp.live.is_empty() && run.sftp.is_idle() {
                break;
            }
        }
    };
    run.client(&init()).unwrap();
    exchange(&mut run, 4096);
    run.client(&open(1, &dir.path("a"), p::FXF_READ)).unwrap();
    exchange(&mut run, 4096);
    let at = run.seen.client.len() - 4;
    let h = run.seen.client[at..].to_vec();
    for n in 0..64_u32 {
        run.client(&read(100 + n, &h, u64::from(n) * 40_000, 40_000))
            .unwrap();
        if n % 3 == 0 {
            run.client(&path(p::STAT, 200 + n, "/etc/shadow")).unwrap();
        }
    }
    exchange(&mut run, 7777);
    run.client(&handle(p::CLOSE, 2, &h)).unwrap();
    exchange(&mut run, 7777);
    drop(to_server);
    server.wait().unwrap();
    let packets = cut(&run.seen.client);
    let count = |wanted: u8, code: u32| {
        packets
            .iter()
            .filter(|(kind, _, n)| (*kind, *n) == (wanted, code))
            .count()
    };
    assert_eq!(count(p::DATA, 40_000), 64);
    assert_eq!(
        count(p::STATUS, p::FX_PERMISSION_DENIED),
        run.seen.asked.len() - 1
    );
    assert!(run.seen.asked.len() > 30);
    let [done] = &run.seen.done[..] else {
        panic!("{:?}", run.seen.done);
    };
    assert_eq!(done.bytes, file.len() as u64);
    let Content::Hashed { sha256, .. } = done.content else {
        panic!("{done:?}");
    };
    assert_eq!(
        Content::Hashed {
            sha256,
            whole: true
        },
        hash(&file)
    );
}
