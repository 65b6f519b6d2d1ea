//! The ways around that people know, through the real thing: whatever must not run has not run.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use weir_tests::sshd::Way;

use super::book::{Expected, lacking};
use super::others::{Entry, OTHERS, Other};
use super::table::{COMMANDS, Fate};
use super::{
    AGENT, ENGINEER, EVA, FORWARDER, OPERATOR, Running, Seen, Stage, notice, script, ssh, stage,
};

/// At a time: each is a connection with two logins.
const WORKERS: usize = 6;

/// What became of a client. Whatever waits is denied.
fn fate(stage: &Stage, mut client: Running) -> (Fate, Seen) {
    let begin = Instant::now();
    let mut denied = Vec::new();
    while client.child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_secs(60) {
        for line in client
            .err()
            .lines()
            .filter(|line| line.starts_with("weir: hold "))
        {
            let Some((id, _)) = notice(line) else {
                continue;
            };
            if !denied.contains(&id) {
                assert!(stage.deny(&id), "{line}");
                denied.push(id);
            }
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let seen = client.wait();
    let fate = if !denied.is_empty() {
        Fate::Held
    } else if seen.err.contains("weir: refused") {
        Fate::Refused
    } else {
        Fate::Recorded
    };
    (fate, seen)
}

/// Does jobs a few at a time; gives what they found wrong.
fn in_turn<J: Send>(jobs: Vec<J>, work: impl Fn(J) -> Option<String> + Sync) -> Vec<String> {
    let jobs = Mutex::new(jobs.into_iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(job) = { jobs.lock().unwrap().next() } {
                    wrong.lock().unwrap().extend(work(job));
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let all =
            chunk.iter().fold(0_u32, |all, b| all << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(char::from(DIGITS[(all >> (18 - 6 * place)) as usize & 63]));
        }
        out.push_str(&"=".repeat(3 - chunk.len()));
    }
    out
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn no_command_gets_around() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage("ssh-around");
    let run = format!("echo ran > {}", stage.traces.join(".ssh/tool").display());
    for file in ["tool", "ls", "rc", "src"] {
        let path = stage.traces.join(file);
        std::fs::write(&path, format!("#!/bin/sh\n{run}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    }
    let agent = stage.way(AGENT, "web1");
    // Nobody may have so much held in so short a time.
    let engineers = [ENGINEER, EVA].map(|who| stage.way(who, "stage1"));
    let mut jobs = Vec::new();
    for (n, row) in COMMANDS.iter().enumerate() {
        jobs.push((n, row, "agent", &agent, row.agent));
        jobs.push((n, row, "engineer", &engineers[n % 2], row.engineer));
    }
    let ran = Mutex::new(Vec::new());
    let mut wrong = in_turn(jobs, |(n, row, who, way, expect)| {
        let trace = stage.traces.join(format!(".ssh/{who}-{n}"));
        let plain = stage.traces.join(format!("code-{who}-{n}"));
        let encoded = format!("echo ran > {}", trace.display());
        let command = row
            .command
            .replace('%', &base64(&encoded))
            .replace(" # ", &format!(" {} ", hexadecimal(&encoded)))
            .replace('^', &plain.display().to_string())
            .replace("$T", &stage.traces.display().to_string())
            .replace('@', &trace.display().to_string());
        let (is, seen) = fate(stage, ssh(way, &format!("{who}-{n}"), &["box", &command]));
        if expect == Fate::Recorded {
            let who = if who == "agent" {
                AGENT
            } else {
                [ENGINEER, EVA][n % 2]
            };
            let entry = (who, "ssh:exec".to_owned(), String::new(), command.clone());
            ran.lock().unwrap().push(entry);
        }
        let ran = expect != Fate::Recorded && (trace.exists() || plain.exists());
        let stopped = is == Fate::Recorded || seen.code == Some(126);
        (is != expect || ran || !stopped).then(|| {
            format!("{who}: {} ({command:?}): {is:?}, not {expect:?}; ran: {ran}; {seen:?}\n  against it: {}", row.trick, row.defence)
        })
    });
    let ran = ran.into_inner().unwrap();
    assert!(!ran.is_empty());
    wrong.extend(lacking(stage, &ran));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_else_gets_around() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage("ssh-aside");
    let repo = stage.traces.join("repo.git");
    let made = std::process::Command::new("git")
        .args(["init", "-q", "--bare"])
        .arg(&repo)
        .status();
    assert!(made.unwrap().success());
    let people = [AGENT, ENGINEER, ENGINEER, OPERATOR, FORWARDER];
    let targets = ["web1", "web1", "stage1", "web1", "stage1"];
    let ways: [Way; 5] = std::array::from_fn(|n| stage.way(people[n], targets[n]));
    let jobs = OTHERS.iter().enumerate().collect();
    let mut wrong = in_turn(jobs, |(n, row): (usize, &Other)| {
        let trace = stage.traces.join(format!(".ssh/{n}"));
        let text = row.script.replace('@', &trace.display().to_string());
        let (is, seen) = fate(
            stage,
            script(stage, &ways[row.way], &format!("other-{n}"), &text),
        );
        let ran = trace.exists();
        let says = seen.text().contains(row.says);
        (is != row.expect || ran || !says).then(|| {
            format!("{}: {is:?}, not {:?}; ran: {ran}; says {:?}: {says}; {seen:?}\n  against it: {}\n{}", row.trick, row.expect, row.says, row.defence, seen.text())
        })
    });
    let of = |(n, row): (usize, &Other)| -> Vec<Expected> {
        let trace = stage.traces.join(format!(".ssh/{n}"));
        let entry = |(action, outcome, part): &Entry| {
            let part = part
                .replace('@', &trace.display().to_string())
                .replace("$HOST_PORT", &stage.host.port.to_string());
            let who = people[row.way];
            (who, (*action).to_owned(), (*outcome).to_owned(), part)
        };
        row.record.iter().map(entry).collect()
    };
    let expected: Vec<_> = OTHERS.iter().enumerate().flat_map(of).collect();
    wrong.extend(lacking(stage, &expected));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
