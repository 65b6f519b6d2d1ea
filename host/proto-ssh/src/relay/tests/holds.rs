//! Commands that wait for people, with a real client in front of them.

use std::process::Stdio;
use std::time::Duration;

use pipeline::memory::MemoryPolicy;
use pipeline::{Action, Facts, HoldOutcome, RefusalKind};
use tokio::io::AsyncWriteExt;

use super::{Rig, says};
use crate::testing::text;

async fn held() -> Option<Rig> {
    Rig::start(MemoryPolicy::hold(&[Action::SshExec])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_command_runs_once() {
    let Some(rig) = held().await else { return };
    let approve = async {
        let id = rig.memory.approver.next().await;
        rig.memory.approver.approve(&id, "bob");
        id
    };
    let (out, id) = tokio::join!(rig.run("echo ran"), approve);
    says(&out, 0, "ran\n");
    let told = text(&out.stderr);
    assert!(
        told.contains(&id) && told.contains("http://weir.test/approvals/"),
        "{told}"
    );
    let deny = async {
        let id = rig.memory.approver.next().await;
        let (by, reason) = ("bob".to_owned(), "not now".to_owned());
        rig.memory
            .approver
            .end(&id, HoldOutcome::Denied { by, reason });
    };
    let (out, ()) = tokio::join!(rig.run("echo ran"), deny);
    says(&out, 126, "");
    assert!(text(&out.stderr).contains("weir: refused: denied by bob: not now"));
}

/// A client that pipes more in than any window holds, and asks every second whether we are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_command_with_input_outlives_keepalives() {
    let Some(rig) = held().await else { return };
    let mut ssh = rig
        .ssh()
        .option("ServerAliveInterval=1")
        .option("ServerAliveCountMax=2")
        .command();
    let mut child = ssh
        .args(["root+web1@127.0.0.1", "wc -c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let write = async move {
        for _ in 0..10 {
            stdin.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        }
    };
    let approve = async {
        let id = rig.memory.approver.next().await;
        tokio::time::sleep(Duration::from_millis(4200)).await;
        rig.memory.approver.approve(&id, "bob");
    };
    let all = async {
        tokio::join!(write, approve, child.wait_with_output())
            .2
            .unwrap()
    };
    let out = tokio::time::timeout(Duration::from_secs(120), all)
        .await
        .unwrap();
    says(&out, 0, &format!("{}\n", 10 << 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_hold_with_it() {
    let Some(rig) = held().await else { return };
    let mut child = rig
        .ssh()
        .command()
        .args(["root+web1@127.0.0.1", "echo ran"])
        .spawn()
        .unwrap();
    let id = rig.memory.approver.next().await;
    child.kill().await.unwrap();
    for _ in 0..1_000 {
        if rig.memory.approver.abandoned().contains(&id) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(rig.memory.approver.abandoned().contains(&id));
    let refusals = rig.memory.journal.refusals();
    assert_eq!(
        refusals.last().map(|r| r.kind),
        Some(RefusalKind::Abandoned)
    );
}

/// `ssh host bash < script`: people approve what it runs, and that is what runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_approved_with_its_command() {
    let Some(rig) = held().await else { return };
    let script = "n=$((6 * 7))\nprintf 'got %s\\n' \"$n\"\nexit 4\n";
    let mut child = rig
        .ssh()
        .command()
        .args(["root+web1@127.0.0.1", "bash -s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).await.unwrap();
    drop(stdin);
    let id = rig.memory.approver.next().await;
    let Some(Facts::Ssh(facts)) = rig.memory.approver.facts(&id) else {
        panic!("no facts");
    };
    assert_eq!(&*facts.stdin.as_ref().unwrap().text, script);
    rig.memory.approver.approve(&id, "bob");
    says(&child.wait_with_output().await.unwrap(), 4, "got 42\n");
}

/// People who are asked know that what is piped in is nobody's word.
#[tokio::test(flavor = "multi_thread")]
async fn input_that_is_not_part_of_an_approval_is_said_to_be_so() {
    let Some(rig) = held().await else { return };
    for (command, open) in [("cat > /dev/null; echo end", true), ("echo end", false)] {
        let approve = async {
            let id = rig.memory.approver.next().await;
            let Some(Facts::Ssh(facts)) = rig.memory.approver.facts(&id) else {
                panic!("no facts");
            };
            rig.memory.approver.approve(&id, "bob");
            facts.stdin_open
        };
        let (out, said) = tokio::join!(rig.run(command), approve);
        says(&out, 0, "end\n");
        assert_eq!(said, open, "{command}");
    }
}
