//! What waits for people, over SSH: approved, denied, expired, left behind; and what an approval is for.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use weir_tests::proc::eventually;

use super::{AGENT, OPERATOR, SOON, Stage, at_once, notice, script, ssh, stage, stage_with};

#[test]
fn commands_wait_for_people() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage("ssh-holds");
    at_once(vec![
        ("approved", Box::new(|| approved(stage))),
        ("denied", Box::new(|| denied(stage))),
        ("left", Box::new(|| left(stage))),
        ("bound", Box::new(|| bound(stage))),
        ("scripts", Box::new(|| scripts(stage))),
        ("fed", Box::new(|| fed(stage))),
        ("neighbour", Box::new(|| neighbour(stage))),
        ("resized", Box::new(|| resized(stage))),
        ("bytes", Box::new(|| bytes(stage))),
        ("shown", Box::new(|| shown(stage))),
    ]);
}

#[test]
fn nobody_decides_and_it_is_refused() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = stage_with("ssh-expired", |bundle| bundle.rules("ttl_seconds", "10"));
    let way = stage.way(AGENT, "web1");
    let mut client = ssh(&way, "expired", &["box", &stage.tracing("expired")]);
    let (id, _) = client.held();
    let seen = client.wait();
    assert_eq!(seen.code, Some(126), "{seen:?}");
    assert!(seen.err.contains("weir: refused: "), "{seen:?}");
    assert_eq!(stage.hold(&id)["state"], "expired");
    assert!(!stage.approve(&id), "it is over");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stage.trace("expired"), "");
}

/// Nobody has decided when Weir is killed: what was held is on record all the same, and nobody can approve it now.
#[test]
fn held_when_weir_is_killed_it_is_on_record_without_an_end() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let mut stage = stage("ssh-held-kill-9");
    let way = stage.way(AGENT, "web1");
    let command = stage.tracing("killed");
    let mut client = ssh(&way, "killed", &["box", &command]);
    let (id, _) = client.held();
    stage.weir.kill_9().unwrap();
    assert_eq!(client.wait().code, Some(255));
    stage.weir.launch().unwrap();
    crate::held::is_on_record_without_an_end(&stage.weir, &stage.security, &id, &command);
    assert_eq!(stage.hold(&id)["state"], "abandoned");
    assert!(!stage.approve(&id), "nobody waits for it any more");
    assert_eq!(stage.trace("killed"), "");
}

fn approved(stage: &Stage) {
    let way = stage.way(AGENT, "web1");
    let command = format!("{}; exit 7", stage.tracing("approved"));
    let mut client = ssh(&way, "approved", &["box", &command]);
    let (id, url) = client.held();
    let base = format!("http://127.0.0.1:{}/", stage.weir.api_port);
    assert!(url.starts_with(&base) && url.contains(&id), "{url}");
    let hold = stage.hold(&id);
    assert_eq!(hold["statement"]["text"], command.as_str(), "{hold}");
    assert_eq!(stage.trace("approved"), "", "it ran while it was held");
    // Not by the person for whom the agent asks.
    let own = stage.weir.approve(
        &stage.token(super::Who {
            agent: false,
            ..AGENT
        }),
        &id,
    );
    assert!((400..500).contains(&own.unwrap().status));
    assert_eq!(stage.trace("approved"), "");
    assert!(stage.approve(&id));
    let seen = client.wait();
    assert_eq!(seen.code, Some(7), "{seen:?}");
    assert_eq!(stage.trace("approved"), "ran\n", "exactly once");
    assert_eq!(stage.hold(&id)["state"], "used");
    // That was that: neither the vote nor the command counts again.
    assert!(!stage.approve(&id));
    let mut again = ssh(&way, "approved-again", &["box", &command]);
    let (second, _) = again.held();
    assert_ne!(second, id);
    assert_eq!(stage.trace("approved"), "ran\n", "exactly once");
    assert!(stage.deny(&second));
    assert_eq!(again.wait().code, Some(126));
}

fn denied(stage: &Stage) {
    let way = stage.way(AGENT, "web2");
    let mut client = ssh(&way, "denied", &["box", &stage.tracing("denied")]);
    let (id, _) = client.held();
    assert!(stage.deny(&id));
    let seen = client.wait();
    assert_eq!(seen.code, Some(126), "{seen:?}");
    assert!(seen.err.contains("not on a Friday"), "{seen:?}");
    assert!(seen.out.is_empty(), "{seen:?}");
    assert!(!stage.approve(&id), "a denial is final");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stage.trace("denied"), "");
}

fn left(stage: &Stage) {
    let way = stage.way(AGENT, "web1");
    let mut client = ssh(&way, "left", &["box", &stage.tracing("left")]);
    let (id, _) = client.held();
    client.child.kill().unwrap();
    eventually("the hold to be abandoned", SOON, || {
        Ok((stage.hold(&id)["state"] == "abandoned").then_some(()))
    })
    .unwrap();
    assert!(!stage.approve(&id), "nobody waits for it any more");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stage.trace("left"), "");
}

/// The same command in another form, for another login, target or with other variables: each waits by itself.
fn bound(stage: &Stage) {
    let (one, two) = (stage.way(AGENT, "web1"), stage.way(AGENT, "web2"));
    let command = stage.tracing("bound");
    let spaced = command.replace(" >>", "  >>");
    let mut clients = vec![
        ssh(&one, "bound", &["box", &command]),
        ssh(&one, "bound-spaced", &["box", &spaced]),
        ssh(&two, "bound-target", &["box", &command]),
        ssh(
            &one,
            "bound-env",
            &["-o", "SetEnv LC_WEIR=1", "box", &command],
        ),
        ssh(
            &one,
            "bound-env-2",
            &["-o", "SetEnv LC_WEIR=2", "box", &command],
        ),
    ];
    if weir_tests::sshd::login().unwrap() == "root" {
        // Only a server of root's lets in somebody else.
        let other = stage.way_as(AGENT, "daemon", "web1");
        clients.push(ssh(&other, "bound-login", &["box", &command]));
    }
    let ids: Vec<String> = clients.iter_mut().map(|c| c.held().0).collect();
    let mut prints: Vec<String> = ids
        .iter()
        .map(|id| stage.hold(id)["fingerprint"].as_str().unwrap().to_owned())
        .collect();
    prints.sort();
    prints.dedup();
    assert_eq!(
        prints.len(),
        ids.len(),
        "two of them are the same to approvers"
    );
    assert!(stage.approve(&ids[0]));
    let mut clients = clients.into_iter();
    assert_eq!(clients.next().unwrap().wait().code, Some(0));
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(
        stage.trace("bound"),
        "ran\n",
        "only that which was approved"
    );
    for (client, id) in clients.zip(&ids[1..]) {
        assert_eq!(stage.hold(id)["state"], "open");
        assert!(stage.deny(id));
        assert_eq!(client.wait().code, Some(126));
    }
    assert_eq!(stage.trace("bound"), "ran\n");
}

/// What a shell is fed is part of what is approved.
fn scripts(stage: &Stage) {
    let way = stage.way(AGENT, "web1");
    let text = |name: &str| format!("{}\n", stage.tracing(name));
    let start = |name: &str| {
        let mut client = super::ssh_fed(&way, name, &["box", "bash -s"], Stdio::piped());
        let mut input = client.child.stdin.take().unwrap();
        input.write_all(text(name).as_bytes()).unwrap();
        client
    };
    let (mut one, mut two) = (start("script-1"), start("script-2"));
    let (first, second) = (one.held().0, two.held().0);
    let hold = stage.hold(&first).to_string();
    assert!(
        hold.contains(&stage.tracing("script-1")),
        "people see the script: {hold}"
    );
    assert_ne!(
        stage.hold(&first)["fingerprint"],
        stage.hold(&second)["fingerprint"]
    );
    assert!(stage.approve(&first));
    let seen = one.wait();
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert_eq!(stage.trace("script-1"), "ran\n");
    assert_eq!(stage.trace("script-2"), "", "approved was another script");
    assert!(stage.deny(&second));
    assert_eq!(two.wait().code, Some(126));
    assert_eq!(stage.trace("script-2"), "");
}

/// For 15 seconds, with more on standard input than fits anywhere, and a client that asks whether we live.
fn fed(stage: &Stage) {
    let way = stage.way(AGENT, "web1");
    let data: Vec<u8> = (0..10_000_000_u32).map(|n| (n % 251) as u8).collect();
    let file = way.dir.join("ten");
    std::fs::write(&file, &data).unwrap();
    let to = stage.traces.join("ten");
    let alive = ["-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=3"];
    let command = format!("cat > {}", to.display());
    let args = [&alive[..], &["box", &command]].concat();
    let input = Stdio::from(std::fs::File::open(&file).unwrap());
    let mut client = super::ssh_fed(&way, "fed", &args, input);
    let (id, _) = client.held();
    std::thread::sleep(Duration::from_secs(15));
    assert!(
        client.child.try_wait().unwrap().is_none(),
        "{}",
        client.err()
    );
    assert!(!to.exists());
    assert!(stage.approve(&id));
    let seen = client.wait();
    assert_eq!(seen.code, Some(0), "{seen:?}");
    let come = std::fs::read(&to).unwrap();
    assert!(come == data, "{} bytes came", come.len());
}

/// What waits does not delay what shares its connection.
fn neighbour(stage: &Stage) {
    let way = stage.way(AGENT, "web1");
    let control = way.dir.join("c");
    let control = control.to_str().unwrap();
    let mut master = ssh(&way, "master", &["-M", "-N", "-S", control, "box"]);
    eventually("the master", SOON, || {
        Ok(std::path::Path::new(control).exists().then_some(()))
    })
    .unwrap();
    let median = |name: &str| {
        let mut times: Vec<Duration> = (0..7)
            .map(|n| {
                let begin = Instant::now();
                let seen = ssh(
                    &way,
                    &format!("{name}-{n}"),
                    &["-S", control, "box", "true"],
                )
                .wait();
                assert_eq!(seen.code, Some(0), "{seen:?}");
                begin.elapsed()
            })
            .collect();
        times.sort();
        times[3]
    };
    let alone = median("alone");
    let command = stage.tracing("neighbour");
    let mut client = ssh(&way, "neighbour", &["-S", control, "box", &command]);
    let (id, _) = client.held();
    let beside = median("beside");
    let delay = beside.saturating_sub(alone);
    println!("a held neighbour: {beside:?} beside, {alone:?} alone: {delay:?} more");
    // Here other tests run at the same time, so this sees one that waits for the other, and no more. That it is at most
    // 50 ms is for `cargo xtask bench ssh held` to measure, on a machine of its own.
    assert!(delay < Duration::from_secs(5), "{delay:?}");
    assert_eq!(stage.trace("neighbour"), "");
    assert!(stage.approve(&id));
    assert_eq!(client.wait().code, Some(0));
    assert_eq!(stage.trace("neighbour"), "ran\n");
    master.child.kill().unwrap();
}

/// The window changes while it is held: the program starts in the new one.
fn resized(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    const PROGRAM: &str = r#"
import fcntl, os, pty, struct, subprocess, sys, termios, time
def size(rows, columns):
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))
pid, master = pty.fork()
if pid == 0:
    os.execvp('ssh', ['ssh', '-F', sys.argv[1], '-tt', 'box', sys.argv[2]])
said, told = b'', False
while True:
    try:
        more = os.read(master, 65536)
    except OSError:
        break
    if not more:
        break
    said += more
    os.write(1, more)
    if b'weir: hold ' in said and not told:
        told = True
        size(31, 97)
        time.sleep(1)
        print('\nresized', flush=True)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;
    let command = format!("{}; stty size", stage.tracing("resized"));
    let text = format!("cat > p.py <<'END'\n{PROGRAM}\nEND\nexec $PY p.py $CFG '{command}'");
    let mut client = script(stage, &way, "resized", &text);
    // A terminal has no standard error: what is said is with all else.
    let said = || {
        String::from_utf8_lossy(&std::fs::read(way.dir.join("resized.out")).unwrap()).into_owned()
    };
    let (id, _) = eventually("it to be held, and the window to change", SOON, || {
        assert!(
            client.child.try_wait().unwrap().is_none(),
            "{} {}",
            said(),
            client.err()
        );
        Ok(notice(&said()).filter(|_| said().contains("resized\n")))
    })
    .unwrap();
    assert_eq!(stage.trace("resized"), "");
    assert!(stage.approve(&id));
    let seen = client.wait();
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert!(seen.text().contains("31 97"), "{seen:?}");
    assert_eq!(stage.trace("resized"), "ran\n");
}

/// A variable that is no text arrives as it was sent, and breaks nothing.
fn bytes(stage: &Stage) {
    let way = stage.way(AGENT, "web1");
    let command = format!("{}; printenv LC_WEIR", stage.tracing("bytes"));
    let text = format!("exec ssh -F $CFG -o SetEnv=LC_WEIR=$'a\\xff\\xfe' box '{command}'");
    let mut client = script(stage, &way, "bytes", &text);
    let (id, _) = client.held();
    assert!(stage.approve(&id));
    let seen = client.wait();
    assert_eq!(
        (seen.code, &*seen.out),
        (Some(0), &b"a\xff\xfe\n"[..]),
        "{seen:?}"
    );
}

/// What would hide something from whoever decides, or from whoever waits, is shown as what it is.
fn shown(stage: &Stage) {
    let way = stage.way(AGENT, "web1");
    let hidden = "\u{1b}[2K\u{1b}[1A\u{202e}";
    let command = format!("{} # {hidden}", stage.tracing("shown"));
    let mut client = ssh(&way, "shown", &["box", &command]);
    let (id, _) = client.held();
    let text = stage.hold(&id)["statement"]["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let cli = stage
        .weir
        .cli(Some(&stage.security), &["approvals", "show", &id])
        .unwrap();
    for shown in [text, cli.stdout, client.err()] {
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    }
    assert!(stage.deny(&id));
    assert_eq!(client.wait().code, Some(126));
    assert_eq!(stage.trace("shown"), "");
}
