//! Programs that bring their own protocols, and everything that is forwarded.

use std::process::Stdio;
use std::time::Duration;

use pipeline::memory::{Entry, MemoryPolicy};
use pipeline::{Action, Direction};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::Rig;
use crate::testing::sshd::free_port;
use crate::testing::{finished, text};

fn installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()));
    if !found {
        eprintln!("skipped: there is no {program}");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_over_whole() {
    let Some(rig) = Rig::start(MemoryPolicy::permit_all()).await else {
        return;
    };
    let ssh = rig.wrapper(&[]).display().to_string();
    let whole: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    let from = rig.dir.write("from", &whole).display().to_string();
    let to = |name: &str| rig.dir.0.join(name).display().to_string();
    let remote = |name: &str| format!("root+web1@127.0.0.1:{}", to(name));
    let rsync = format!("{ssh} -o LogLevel=ERROR");
    let up_and_down: [(&str, Vec<&str>); 4] = [
        ("scp", vec!["-S", &ssh]),
        ("scp", vec!["-O", "-S", &ssh]),
        ("rsync", vec!["-e", &rsync]),
        ("rsync", vec!["-z", "-e", &rsync]),
    ];
    for (n, (program, args)) in up_and_down.iter().enumerate() {
        if !installed(program) {
            continue;
        }
        let (up, down) = (format!("up{n}"), format!("down{n}"));
        for (a, b) in [(from.clone(), remote(&up)), (remote(&up), to(&down))] {
            let out = finished(Command::new(program).args(args).args([&a, &b])).await;
            assert!(
                out.status.success(),
                "{program} {args:?}: {}",
                text(&out.stderr)
            );
        }
        for name in [&up, &down] {
            let got = std::fs::read_to_string(to(name)).unwrap();
            assert!(got == whole, "{program} {args:?} {name}");
        }
    }
}

/// A server that answers everything with its first line, in upper case.
async fn loud() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut got = [0; 5];
            if socket.read_exact(&mut got).await.is_ok() {
                socket.write_all(&got.to_ascii_uppercase()).await.ok();
            }
        }
    });
    (port, serve)
}

async fn talk(port: u16) -> Option<String> {
    for _ in 0..100 {
        if let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)).await {
            socket.write_all(b"hello").await.ok()?;
            let mut got = String::new();
            socket.read_to_string(&mut got).await.ok()?;
            return (!got.is_empty()).then_some(got);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

fn background(rig: &Rig, args: &[&str]) -> Child {
    let mut ssh = rig.ssh().command();
    ssh.args(args).arg("-N").arg("root+web1@127.0.0.1");
    ssh.stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_forwarded_both_ways() {
    let Some(rig) = Rig::start(MemoryPolicy::permit_all()).await else {
        return;
    };
    let (port, _server) = loud().await;
    for way in ["-L", "-R"] {
        let here = free_port();
        let forward = format!("127.0.0.1:{here}:127.0.0.1:{port}");
        let mut ssh = background(&rig, &[way, &forward]);
        assert_eq!(talk(here).await.as_deref(), Some("HELLO"), "{way}");
        ssh.kill().await.unwrap();
    }
    let mut ssh = rig.ssh().command();
    let mut child = ssh
        .args(["-W", &format!("127.0.0.1:{port}"), "root+web1@127.0.0.1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"hello")
        .await
        .unwrap();
    let out = child.wait_with_output().await.unwrap();
    assert_eq!(text(&out.stdout), "HELLO");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_forwards_go_nowhere() {
    const FORWARDS: &[Action] = &[
        Action::SshForwardLocal,
        Action::SshForwardRemote,
        Action::SshForwardLocalSocket,
        Action::SshForwardRemoteSocket,
        Action::SshForwardAgent,
        Action::SshForwardX11,
        Action::SshTunnel,
    ];
    let Some(rig) = Rig::start(MemoryPolicy::deny(FORWARDS)).await else {
        return;
    };
    let (port, _server) = loud().await;
    let here = free_port();
    let forward = format!("127.0.0.1:{here}:127.0.0.1:{port}");
    let mut ssh = background(&rig, &["-L", &forward]);
    assert_eq!(talk(here).await, None, "-L");
    ssh.kill().await.unwrap();
    let mut ssh = rig.ssh().option("ExitOnForwardFailure=yes").command();
    ssh.args(["-R", &forward, "-N", "root+web1@127.0.0.1"]);
    let out = finished(&mut ssh).await;
    assert_eq!(out.status.code(), Some(255), "-R: {}", text(&out.stderr));
    let mut ssh = rig.ssh().command();
    ssh.args(["-W", &format!("127.0.0.1:{port}"), "root+web1@127.0.0.1"]);
    let out = finished(&mut ssh).await;
    assert!(
        text(&out.stderr).contains("denied by the test"),
        "-W: {}",
        text(&out.stderr)
    );
    assert_eq!(rig.memory.journal.refusals().len(), 3);
    // The rest of the connection is not touched by that.
    let out = rig
        .ssh()
        .arg("-A")
        .run("root+web1", "echo \"[$SSH_AUTH_SOCK]\"")
        .await;
    super::says(&out, 0, "[]\n");
}

/// With which actions it is on record that the host has connected to the agent.
fn reached(rig: &Rig) -> Vec<u64> {
    let entries = rig.memory.journal.entries();
    let opened = entries.into_iter().filter_map(|entry| match entry {
        Entry::Bytes {
            seq,
            way: Direction::ToClient,
            bytes,
        } => Some((seq, bytes)),
        _ => None,
    });
    let name = b"auth-agent@openssh.com";
    let opened = opened.filter(|(_, bytes)| bytes.windows(name.len()).any(|w| w == name));
    opened.map(|(seq, _)| seq).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_reached_where_that_is_permitted() {
    if !installed("ssh-agent") {
        return;
    }
    let Some(rig) = Rig::start(MemoryPolicy::permit_all()).await else {
        return;
    };
    let socket = rig.dir.0.join("agent");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut added = false;
    for _ in 0..100 {
        let mut add = Command::new("ssh-add");
        add.arg(rig.dir.0.join("id")).env("SSH_AUTH_SOCK", &socket);
        added = finished(&mut add).await.status.success();
        if added {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(added, "no agent takes the key");
    let out = rig
        .ssh()
        .arg("-A")
        .env("SSH_AUTH_SOCK", &socket)
        .run(
            "root+web1",
            "for i in 1 2 3 4 5 6; do ssh-add -l & done; wait",
        )
        .await;
    let lines = text(&out.stdout);
    assert_eq!(
        lines.lines().filter(|l| l.contains("SHA256:")).count(),
        6,
        "{lines}"
    );
    // Two sessions of one connection ask for it: that the host connects is on record with both.
    let control = rig.dir.0.join("c").display().to_string();
    let shared = |more: &[&str]| {
        let mut ssh = rig.ssh().env("SSH_AUTH_SOCK", &socket).command();
        ssh.args(["-A", "-S", &control]).args(more);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped());
        ssh.kill_on_drop(true);
        ssh
    };
    let mut first = shared(&["-M", "root+web1@127.0.0.1", "cat"])
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (first.stdin.take().unwrap(), first.stdout.take().unwrap());
    stdin.write_all(b"begun").await.unwrap();
    stdout.read_exact(&mut [0; 5]).await.unwrap();
    let before = reached(&rig).len();
    let out = finished(&mut shared(&["root+web1@127.0.0.1", "ssh-add -l"])).await;
    assert!(text(&out.stdout).contains("SHA256:"), "{out:?}");
    let mut seqs = reached(&rig).split_off(before);
    seqs.sort_unstable();
    let [one, other] = seqs.as_slice() else {
        panic!("{seqs:?}");
    };
    let permitted = rig.memory.journal.intents();
    let asked = permitted.iter().filter(|intent| {
        let mut accesses = intent.accesses.iter();
        accesses.any(|access| access.action == Action::SshForwardAgent)
    });
    let asked: Vec<u64> = asked.map(|intent| intent.seq).collect();
    assert!(asked.ends_with(&[*one, *other]), "{asked:?} {seqs:?}");
    first.kill().await.unwrap();
    agent.kill().await.unwrap();
}
