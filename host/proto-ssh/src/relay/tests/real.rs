//! OpenSSH on both ends.

use std::time::Duration;

use pipeline::memory::MemoryPolicy;
use pipeline::{Facts, OutcomeKind, RefusalKind, SshKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Rig, says};
use crate::testing::text;

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_as_they_do_without_us() {
    let Some(rig) = Rig::start(MemoryPolicy::permit_all()).await else {
        return;
    };
    says(&rig.run("echo out; echo err >&2; exit 7").await, 7, "out\n");
    let killed = rig.run("kill -9 $$").await;
    assert_eq!(killed.status.code(), Some(255), "{}", text(&killed.stderr));
    says(&rig.run("printf '\\377\\000x'").await, 0, "\u{fffd}\0x");
    let outcomes = rig.memory.journal.outcomes();
    let ends: Vec<_> = outcomes.iter().map(|o| o.detail.as_str()).collect();
    for (end, kind) in [
        ("exit 7", OutcomeKind::Failed),
        ("signal KILL", OutcomeKind::Failed),
        ("exit 0", OutcomeKind::Done),
    ] {
        let outcome = outcomes.iter().find(|o| o.detail == end);
        assert_eq!(outcome.map(|o| o.kind), Some(kind), "{ends:?}");
    }
    let facts = rig.memory.journal.intents();
    let execs = facts.iter().filter(|i| match &i.facts {
        Facts::Ssh(ssh) => ssh.kind == SshKind::Exec,
        _ => false,
    });
    assert_eq!(execs.count(), 3);
}

/// Bytes come out as they went in, both ways at once, while both legs make new keys.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_across_key_exchanges() {
    let Some(rig) = Rig::start(MemoryPolicy::permit_all()).await else {
        return;
    };
    let mut ssh = rig.ssh().option("RekeyLimit=1M").command();
    let mut child = ssh
        .args(["root+web1@127.0.0.1", "cat"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let block: Vec<u8> = (0..1_000_003_u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let sent = block.clone();
    let write = async move {
        for _ in 0..8 {
            stdin.write_all(&sent).await.unwrap();
        }
    };
    let read = async move {
        let mut got = Vec::new();
        stdout.read_to_end(&mut got).await.unwrap();
        got
    };
    let both = async { tokio::join!(write, read).1 };
    let got = tokio::time::timeout(Duration::from_secs(120), both)
        .await
        .unwrap();
    assert_eq!(got.len(), block.len() * 8);
    assert!(got.chunks(block.len()).all(|chunk| chunk == block));
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn terminals_and_variables() {
    let Some(rig) = Rig::start(MemoryPolicy::permit_all()).await else {
        return;
    };
    let tty = rig
        .ssh()
        .arg("-tt")
        .run("root+web1", "tty >&2; stty size")
        .await;
    assert_eq!(tty.status.code(), Some(0));
    assert!(
        text(&tty.stdout).contains("/dev/pts/"),
        "{}",
        text(&tty.stdout)
    );
    use std::os::unix::ffi::OsStrExt;
    let mut ssh = rig.ssh().option("SendEnv=LC_WEIRD").command();
    ssh.env("LC_WEIRD", std::ffi::OsStr::from_bytes(b"\xff\xfe"))
        .args(["root+web1@127.0.0.1", "exit 3"]);
    let out = crate::testing::finished(&mut ssh).await;
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    let intents = rig.memory.journal.intents();
    let facts = intents.iter().rev().find_map(|i| match &i.facts {
        Facts::Ssh(ssh) if ssh.kind == SshKind::Exec => Some(ssh.clone()),
        _ => None,
    });
    let env = facts.unwrap().env.clone();
    assert_eq!(env.len(), 1);
    assert_eq!((&*env[0].0, &*env[0].1), ("LC_WEIRD", "\\xff\\xfe"));
}

/// Many channels of one connection, and the exit status of each: clients of a multiplexer close before it comes.
#[tokio::test(flavor = "multi_thread")]
async fn no_exit_status_is_lost_on_a_shared_connection() {
    let Some(rig) = Rig::start(MemoryPolicy::permit_all()).await else {
        return;
    };
    let socket = rig.dir.0.join("mux");
    let path = format!("ControlPath={}", socket.display());
    let mut master = rig
        .ssh()
        .option(&path)
        .arg("-M")
        .arg("-N")
        .command()
        .arg("root+web1@127.0.0.1")
        .spawn()
        .unwrap();
    for _ in 0..600 {
        if socket.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = rig.ssh().option(&path);
    let one = async |n: i32| {
        let mut ssh = client.command();
        let mut child = ssh
            .arg("root+web1@127.0.0.1")
            .arg(format!("cat > /dev/null; exit {n}"))
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&vec![b'x'; 150_000]).await.unwrap();
        drop(stdin);
        assert_eq!(child.wait().await.unwrap().code(), Some(n));
    };
    for round in 0..3 {
        let all = (0..8).map(|n| one(round * 8 + n));
        let all = futures::future::join_all(all);
        tokio::time::timeout(Duration::from_secs(60), all)
            .await
            .unwrap();
    }
    assert!(master.try_wait().unwrap().is_none(), "the connection lives");
    master.kill().await.unwrap();
}

/// A shutdown ends what is idle at once, lets a command end that runs, and waits for none beyond the drain.
#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_what_is_under_way() {
    let drain = Duration::from_secs(10);
    let change = |options: &mut crate::Options| options.listeners[0].listen.drain = drain;
    let Some(rig) = Rig::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    let client = rig.ssh();
    let start = |args: &[&str]| {
        let mut ssh = client.command();
        ssh.args(args)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let idle = start(&["-N", "root+web1@127.0.0.1"]);
    let short = start(&["root+web1@127.0.0.1", "echo begun; sleep 1; echo done"]);
    let long = start(&["root+web1@127.0.0.1", "sleep 60"]);
    let two = || {
        let intents = rig.memory.journal.intents();
        intents
            .iter()
            .filter(|i| matches!(i.facts, Facts::Ssh(_)))
            .count()
            == 2
    };
    for _ in 0..1_500 {
        if two() && rig.memory.registry.live().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rig.weir.shutdown.cancel();
    let began = std::time::Instant::now();
    let ends = async {
        tokio::join!(
            idle.wait_with_output(),
            short.wait_with_output(),
            long.wait_with_output()
        )
    };
    let (idle, short, long) = tokio::time::timeout(Duration::from_secs(40), ends)
        .await
        .unwrap();
    assert!(began.elapsed() < drain * 3, "{:?}", began.elapsed());
    assert_eq!(idle.unwrap().status.code(), Some(255));
    assert_eq!(text(&short.unwrap().stdout), "begun\ndone\n");
    assert_eq!(long.unwrap().status.code(), Some(255));
    for _ in 0..1_000 {
        if rig.memory.registry.live().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let outcomes = rig.memory.journal.outcomes();
    let unknown = outcomes.iter().filter(|o| o.kind == OutcomeKind::Unknown);
    assert_eq!(unknown.count(), 1, "the long one: {outcomes:?}");
}

/// What never comes to a decision is evidence all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_without_a_decision_is_on_record() {
    let Some(rig) = Rig::start(MemoryPolicy::permit_all()).await else {
        return;
    };
    says(&rig.run("rm -rf /srv\recho hi").await, 126, "");
    let refusals = rig.memory.journal.refusals();
    let [refusal] = refusals.as_slice() else {
        panic!("{refusals:?}");
    };
    assert_eq!(refusal.kind, RefusalKind::Unasked);
    assert_eq!(
        refusal.reason,
        "the command line holds a bare carriage return"
    );
    let Facts::Ssh(facts) = &refusal.facts else {
        panic!("{refusal:?}");
    };
    assert_eq!(&*facts.text, "rm -rf /srv\\u{d}echo hi");
    let run = |i: &pipeline::Intent| matches!(&i.facts, Facts::Ssh(f) if f.kind == SshKind::Exec);
    assert!(!rig.memory.journal.intents().iter().any(run));
}
