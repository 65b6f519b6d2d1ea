//! What is read in flight: file transfers that policy steers by path, secrets in text.

use std::sync::Arc;

use pipeline::mask::{MaskAction, MaskColumn, MaskPlan};
use pipeline::memory::MemoryPolicy;
use pipeline::{Action, Facts, HoldOutcome, Resource, Ruling, SshKind};
use tokio::process::Command;

use super::Rig;
use crate::testing::{finished, text};

fn ruling(denied: bool) -> Ruling {
    match denied {
        true => Ruling::Deny {
            policies: vec!["guard.test".into()],
            reason: "denied by the test".into(),
        },
        false => Ruling::Permit {
            policies: vec!["grant.all".into()],
        },
    }
}

/// Refuses what touches a path that holds this word.
fn without(word: &'static str) -> MemoryPolicy {
    MemoryPolicy {
        decide: Arc::new(move |q| {
            ruling(q.accesses.iter().any(|a| match &a.resource {
                Resource::SshFile { path, .. } => path.contains(word),
                _ => false,
            }))
        }),
        ..MemoryPolicy::permit_all()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_permitted_one_by_one() {
    let Some(rig) = Rig::start(without("secret")).await else {
        return;
    };
    let ssh = rig.wrapper(&[]).display().to_string();
    let host = rig.dir.0.join("host");
    std::fs::create_dir(&host).unwrap();
    for name in ["a", "secret", "z"] {
        rig.dir
            .write(name, &format!("this is {name}\n").repeat(9000));
        rig.dir.write(&format!("host/{name}"), name);
    }
    for old in [&[][..], &["-O"]] {
        for name in ["a", "z"] {
            std::fs::write(host.join(name), "old").unwrap();
        }
        let mut scp = Command::new("scp");
        scp.args(old).args(["-q", "-S", &ssh]);
        for name in ["a", "secret", "z"] {
            scp.arg(rig.dir.0.join(name));
        }
        scp.arg(format!("root+web1@127.0.0.1:{}", host.display()));
        let out = finished(&mut scp).await;
        let said = text(&out.stderr);
        assert!(
            !out.status.success() && said.contains("denied by the test"),
            "{old:?}: {said}"
        );
        let got = |name: &str| std::fs::read_to_string(host.join(name)).unwrap();
        assert_eq!(
            got("secret"),
            "secret",
            "{old:?}: a refused file was written"
        );
        assert_eq!(
            got("z"),
            "this is z\n".repeat(9000),
            "{old:?}: the ones around it"
        );
    }
    // What was opened is told with its hash when it is closed.
    let outcomes = rig.memory.journal.outcomes();
    let hashed = outcomes
        .iter()
        .filter(|o| o.detail.contains("sha256 ") && o.bytes == 90_000);
    assert!(hashed.count() >= 2, "{outcomes:?}");
    let files = rig.memory.journal.refusals();
    assert!(
        files
            .iter()
            .any(|r| matches!(&r.facts, Facts::Ssh(s) if s.kind == SshKind::Sftp))
    );
    assert!(
        files
            .iter()
            .any(|r| matches!(&r.facts, Facts::Ssh(s) if s.kind == SshKind::Scp))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_people_in_the_middle_of_a_transfer() {
    let Some(rig) = Rig::start(MemoryPolicy::hold(&[Action::SshSftpWrite])).await else {
        return;
    };
    let ssh = rig.wrapper(&[]).display().to_string();
    let from = rig.dir.write("from", &"x".repeat(300_000));
    let run = async |to: &str| {
        let mut scp = Command::new("scp");
        scp.args(["-q", "-S", &ssh]).arg(&from);
        scp.arg(format!(
            "root+web1@127.0.0.1:{}",
            rig.dir.0.join(to).display()
        ));
        finished(&mut scp).await
    };
    let approve = async {
        // The file is opened, its attributes are set, and it is closed.
        let id = rig.memory.approver.next().await;
        rig.memory.approver.approve(&id, "bob");
    };
    let (out, ()) = tokio::join!(run("to"), approve);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert_eq!(std::fs::read(rig.dir.0.join("to")).unwrap().len(), 300_000);
    let deny = async {
        let id = rig.memory.approver.next().await;
        let (by, reason) = ("bob".to_owned(), "not this one".to_owned());
        rig.memory
            .approver
            .end(&id, HoldOutcome::Denied { by, reason });
    };
    let (out, ()) = tokio::join!(run("other"), deny);
    assert!(!out.status.success());
    assert!(
        text(&out.stderr).contains("not this one"),
        "{}",
        text(&out.stderr)
    );
    assert!(!rig.dir.0.join("other").exists());
}

/// What its terminal makes of the input is not what was read of it.
#[tokio::test(flavor = "multi_thread")]
async fn files_are_not_transferred_over_a_terminal() {
    let Some(rig) = Rig::start(MemoryPolicy::permit_all()).await else {
        return;
    };
    let to = rig.dir.0.join("to");
    for (args, command) in [
        (&["-s"][..], "sftp".to_owned()),
        (&[], "/usr/lib/openssh/sftp-server".into()),
        (&[], format!("scp -t {}", to.display())),
        (&[], "scp -f /etc/hostname".into()),
        (&[], "rsync --server --sender -e.L . /etc/hostname".into()),
        (&[], "git-upload-pack '/srv/a.git'".into()),
    ] {
        let mut ssh = rig.ssh().arg("-tt");
        for arg in args {
            ssh = ssh.arg(arg);
        }
        let out = ssh.run("root+web1", &command).await;
        let said = text(&out.stderr);
        let why = "weir: refused: files are not transferred over a terminal";
        assert!(said.contains(why), "{command}: {said}");
        assert_eq!(out.status.code(), Some(126), "{command}");
        let refusals = rig.memory.journal.refusals();
        let last = refusals.last().expect("it is on record");
        assert!(
            last.reason.contains("over a terminal"),
            "{command}: {last:?}"
        );
        assert!(
            matches!(&last.facts, Facts::Ssh(s) if s.text.contains(command.as_str())),
            "{command}: {last:?}"
        );
    }
    // A command of the same program that is none, and one without a terminal.
    let echo = "echo scp -t /srv";
    let out = rig.ssh().arg("-tt").run("root+web1", echo).await;
    assert_eq!(text(&out.stdout), "scp -t /srv\r\n");
    let out = rig.run("scp -f /etc/hostname < /dev/null").await;
    assert!(!text(&out.stderr).contains("terminal"));
}

/// What a host says beside a transfer is text: on record, and masked where nothing relieves of that.
#[tokio::test(flavor = "multi_thread")]
async fn standard_error_of_transfers_is_text() {
    let token = "ghp_0123456789abcdefghijklmnopqrstuvwxyzABCD";
    for revealed in [true, false] {
        let policy = match revealed {
            true => MemoryPolicy::permit_all(),
            false => MemoryPolicy::deny(&[Action::SshReveal]),
        };
        let Some(rig) = Rig::start(policy).await else {
            return;
        };
        for (kind, command) in [
            (
                "rsync",
                format!("rsync --server --sender -e.L . /nosuch/{token}"),
            ),
            ("git", format!("git-upload-pack '/nosuch/{token}'")),
            ("sftp", "/usr/lib/openssh/sftp-server -e -l INFO".to_owned()),
        ] {
            let out = rig.run(&command).await;
            let said = text(&out.stderr);
            // The others say that nobody has asked them for anything.
            let named = kind == "git";
            assert_eq!(said.contains("/nosuch/ghp_"), named, "{kind}: {said}");
            assert_eq!(said.contains(token), named && revealed, "{kind}: {said}");
            let recorded = rig.memory.journal.to_client();
            let recorded = String::from_utf8_lossy(&recorded).into_owned();
            let last = said.lines().last().expect("it says why");
            assert!(recorded.contains(last), "{kind}: {said}: {recorded}");
            if !revealed {
                assert!(!recorded.contains(token), "{kind}: {recorded}");
            }
        }
    }
}

/// Secrets are masked for the client and on record, and bytes that are no text are left alone.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_text_are_masked() {
    let Some(rig) = Rig::start(MemoryPolicy::deny(&[Action::SshReveal])).await else {
        return;
    };
    let token = "ghp_0123456789abcdefghijklmnopqrstuvwxyzABCD";
    let slowly = "for p in ghp_01234567 89abcdefghij klmnopqrstuvwxyz ABCD; do printf %s $p; sleep 0.1; done; echo; exit 5";
    for (args, command, code) in [
        (&[][..], format!("echo before {token} after; exit 5"), 5),
        (&[], format!("echo before {token} after >&2; exit 5"), 5),
        (&["-tt"], format!("echo before {token} after; exit 5"), 5),
        (&[], slowly.to_owned(), 5),
    ] {
        let mut ssh = rig.ssh();
        for arg in args {
            ssh = ssh.arg(arg);
        }
        let out = ssh.run("root+web1", &command).await;
        let seen = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{command}: {seen}");
        assert!(
            !seen.contains(token) && seen.contains("*****"),
            "{command}: {seen}"
        );
    }
    let recorded = rig.memory.journal.to_client();
    let recorded = String::from_utf8_lossy(&recorded);
    assert!(recorded.contains("before") && !recorded.contains(token));
    // What is no text is masked all the same, at the same length: else one NUL would be a way around.
    for head in [
        "printf '\\0'; sleep 0.1",
        "head -c 100000 /dev/zero",
        "head -c 100000 /dev/urandom",
    ] {
        let out = rig.run(&format!("{head}; printf {token}")).await;
        assert!(!text(&out.stdout).contains(token), "{head}");
        assert!(out.stdout.ends_with(b"*****"), "{head}");
    }
    let recorded = rig.memory.journal.to_client();
    assert!(recorded.len() > 200_000, "it is on record, too");
    assert!(!String::from_utf8_lossy(&recorded).contains(token));
}

/// Plugins look at lines, the end of a command waits for what they say, and who fails hides everything.
#[tokio::test(flavor = "multi_thread")]
async fn plugins_look_at_text_in_spans() {
    let Some(rig) = Rig::start(MemoryPolicy::deny(&[Action::SshReveal])).await else {
        return;
    };
    let inspect = |columns: &[MaskColumn]| MaskPlan {
        actions: columns.iter().map(|_| vec![MaskAction::Inspect]).collect(),
        ..MaskPlan::pass(columns.len())
    };
    *rig.memory.hooks.plan.lock() = Some(Arc::new(inspect));
    let command = "echo open; echo a secret thing; echo the secret >&2; printf last; exit 9";
    let out = rig.run(command).await;
    super::says(&out, 9, "open\n[redacted]****\nlast");
    assert_eq!(text(&out.stderr), "[redacted]\n");
    // A great deal of it, all in order.
    let out = rig.run("seq 1 60000").await;
    let all: String = (1..=60_000).map(|n| format!("{n}\n")).collect();
    super::says(&out, 0, &all);
    *rig.memory.hooks.mask_batch_fails.lock() = true;
    let out = rig.run("echo anything").await;
    super::says(&out, 0, "********\n");
}

/// A bundle that shows secrets where nothing is risky is told of the risk.
#[tokio::test(flavor = "multi_thread")]
async fn reliefs_are_asked_for_with_the_risk() {
    let relieves = |q: &pipeline::ports::Question<'_>| {
        let relief = [Action::SshReveal, Action::SshInputUnrecorded];
        let asked = q.accesses.iter().any(|a| relief.contains(&a.action));
        ruling(asked && q.risk.score >= 50)
    };
    let policy = MemoryPolicy {
        decide: Arc::new(relieves),
        ..MemoryPolicy::permit_all()
    };
    let Some(rig) = Rig::start(policy).await else {
        return;
    };
    let token = format!("ghp_{}", "a1B2c3D4e5".repeat(4).get(..36).unwrap());
    let command = format!("echo {token}");
    let out = rig.run(&command).await;
    assert_eq!(text(&out.stdout), format!("{token}\n"), "nothing is risky");
    *rig.memory.hooks.risk.lock() = pipeline::Risk {
        score: 60,
        ..pipeline::Risk::default()
    };
    let out = rig.run(&command).await;
    assert!(!text(&out.stdout).contains(&token), "{}", text(&out.stdout));
    assert!(out.status.success());
}
