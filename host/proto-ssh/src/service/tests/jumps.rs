//! What comes and goes inside the connection of somebody who jumps.

use super::*;

/// `ssh` with a connection that others go through.
async fn master(ssh: &Ssh<'_>, socket: &str) -> tokio::process::Child {
    master_of(ssh, socket, "alice").await
}

async fn master_of(ssh: &Ssh<'_>, socket: &str, user: &str) -> tokio::process::Child {
    let mut master = ssh.command();
    master.args(["-M", "-N", "-S", socket, &format!("{user}@127.0.0.1")]);
    let master = master.spawn().unwrap();
    for _ in 0..600 {
        if std::path::Path::new(socket).exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    master
}

/// `ssh` to web1 through it.
fn through(dir: &Dir, socket: &str, more: &[&str], command: &str) -> Command {
    let jump = format!("ProxyCommand=ssh -F none -S {socket} -W web1:22 alice@127.0.0.1");
    let known = format!("UserKnownHostsFile={}", dir.0.join("known_hosts").display());
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", "none", "-l", "root", "-o", "BatchMode=yes"]);
    ssh.args(["-o", &jump, "-o", &known, "-o", "UpdateHostKeys=no"]);
    ssh.args(["-o", "GlobalKnownHostsFile=/dev/null"]);
    ssh.args(["-o", "StrictHostKeyChecking=yes"]);
    ssh.args(more).args(["web1", command]);
    ssh.env("HOME", &dir.0).env_remove("SSH_AUTH_SOCK");
    ssh.stdin(std::process::Stdio::null()).kill_on_drop(true);
    ssh
}

/// Whoever is connected may be so still when that is taken back with which they came: then nothing new is opened
/// through their connection.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_jumps_with_what_was_taken_back() {
    for certified in [true, false] {
        let Some(world) = World::new().await else {
            return;
        };
        let ssh = match certified {
            true => world.certified(),
            false => {
                let mine = PrivateKey::generate_ed25519().unwrap();
                world.keys.registered.lock().push(mine.public().clone());
                let path = world.dir.write("mine", &mine.to_openssh(""));
                let ssh = world.ssh().arg("-i").arg(&path.display().to_string());
                ssh.option("IdentitiesOnly=yes").option("BatchMode=yes")
            }
        };
        let socket = world.dir.0.join("c").display().to_string();
        let mut master = master(&ssh, &socket).await;
        let through = async || finished(&mut through(&world.dir, &socket, &[], "echo in")).await;
        let out = through().await;
        assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
        // `alice` is nobody's target, and nobody wanted to go there.
        let entries = world.memory.journal.entries();
        let turned = |entry: &&Entry| matches!(entry, Entry::Event(_));
        assert_eq!(entries.iter().find(turned).map(|e| format!("{e:?}")), None);
        world.keys.revoked.store(true, Ordering::SeqCst);
        let out = through().await;
        assert_eq!(out.status.code(), Some(255), "{certified}");
        assert!(out.stdout.is_empty());
        assert!(master.try_wait().unwrap().is_none(), "the outer one is up");
        master.kill().await.unwrap();
    }
}

/// To have jumped takes nothing off the record: neither that a session was asked for, nor where else to.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_jumped_is_on_record_for_what_is_refused() {
    for (user, reason) in [
        ("root+nosuch", "there is no such target"),
        ("root:x+web1", "no target is named"),
    ] {
        let Some(world) = World::new().await else {
            return;
        };
        let socket = world.dir.0.join("c").display().to_string();
        let mut master = master_of(&world.certified(), &socket, user).await;
        let out = finished(&mut through(&world.dir, &socket, &[], "echo in")).await;
        assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
        let told = || {
            let entries = world.memory.journal.entries();
            let events = entries.into_iter().filter_map(|entry| match entry {
                Entry::Event(event) => Some((event.action, event.detail, event.result)),
                _ => None,
            });
            events.collect::<Vec<_>>()
        };
        assert_eq!(told(), []);
        let over = |args: &[&str]| {
            let mut ssh = Command::new("ssh");
            // Where that fails, it would connect by itself: to nobody.
            ssh.args(["-F", "none", "-S", &socket, "-p", "1"]);
            ssh.args(["-o", "BatchMode=yes"]).args(args);
            ssh.env("HOME", &world.dir.0).env_remove("SSH_AUTH_SOCK");
            ssh.stdin(std::process::Stdio::null()).kill_on_drop(true);
            ssh
        };
        finished(&mut over(&["-W", "web1:80", "alice@127.0.0.1"])).await;
        let out = finished(&mut over(&["alice@127.0.0.1", "true"])).await;
        assert_eq!(out.status.code(), Some(255));
        for _ in 0..1_000 {
            if told().len() > 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let told = told();
        let [(forward, where_to, _), (connect, _, why)] = told.as_slice() else {
            panic!("{told:?}");
        };
        assert_eq!(
            (forward.as_str(), where_to.as_str()),
            ("ssh:forward_local", "connect to web1:80")
        );
        assert_eq!(connect, "ssh:connect");
        assert!(why.as_ref().unwrap_err().contains(reason), "{why:?}");
        master.kill().await.unwrap();
    }
}

/// In front of a host: what goes there stops when that is wanted, and is not read any more.
async fn valve(port: u16, shut: tokio::sync::watch::Receiver<bool>) -> u16 {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(8).unwrap();
    let here = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut shut = shut.clone();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                    _ = shut.wait_for(|shut| *shut) => {}
                }
                std::future::pending::<()>().await;
            });
        }
    });
    here
}

/// The outer connection goes while a host inside does not read: the session there ends as any other does.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_inside_ends_with_its_record() {
    let shut = tokio::sync::watch::Sender::new(false);
    let keys = Keys::new();
    let Some(sshd) = Sshd::start(&keys).await else {
        return;
    };
    let port = valve(sshd.port, shut.subscribe()).await;
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut options = options(vec![target("web1", port, &keys)], &keys, &memory);
    options.limits.farewell = Duration::from_millis(100);
    options.limits.last_bytes = Duration::from_secs(2);
    let world = World {
        weir: Weir::start(options),
        keys,
        memory,
        dir: Dir::new(),
        _sshd: sshd,
    };
    let ssh = world.certified();
    let socket = world.dir.0.join("c").display().to_string();
    let mut master = master(&ssh, &socket).await;
    // As many commands as have more room for input together than the systems on the way.
    let inner = world.dir.0.join("i").display().to_string();
    let mut children = Vec::new();
    let mut pipes = Vec::new();
    for n in 0..6 {
        let mux = if n == 0 {
            "ControlMaster=yes"
        } else {
            "ControlMaster=no"
        };
        let more = ["-S", &inner, "-o", mux];
        let mut command = through(&world.dir, &socket, &more, "echo in; cat >/dev/null");
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 3];
        let stdout = child.stdout.as_mut().unwrap();
        stdout.read_exact(&mut said).await.unwrap();
        pipes.push(child.stdin.take().unwrap());
        children.push(child);
    }
    shut.send_replace(true);
    let fill = pipes.iter_mut().map(async |stdin| {
        let piece = [0; 1 << 15];
        while stdin.write_all(&piece).await.is_ok() {}
    });
    let fill = futures::future::join_all(fill);
    tokio::time::timeout(Duration::from_secs(2), fill)
        .await
        .ok();
    for child in &mut children {
        child.kill().await.unwrap();
    }
    master.kill().await.unwrap();
    let end = async {
        loop {
            if let Some(reason) = ended(&world.memory).pop() {
                break reason;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(30), end).await;
    assert_eq!(reason.unwrap(), EndReason::ClientClosed);
    // Of the connection and of each command.
    assert_eq!(world.memory.journal.outcomes().len(), 7);
}
