//! What is open around a command, and who reaches the processes and pipes of a gate.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use weir_tests::proc::{Signal, eventually, send};
use weir_tests::sshd::Way;

use super::super::{OPERATOR, SOON, Stage, script, ssh};
use super::{Terminal, gate_of, helper_of};

/// `open(2)`, on Linux.
const O_NONBLOCK: i32 = 0o4000;

/// Around commands nothing is opened, whatever it is: a file, a socket, or a pipe.
pub fn nothing_is_opened_around(stage: &Stage, way: &Way) {
    let at = |name: &str| stage.traces.join(name);
    let path = |name: &str| at(name).display().to_string();
    let mut shell = Terminal::open(way, "open");
    shell.settle();
    shell.enter(&format!("{{ echo x; }} > {}", path("open-1")));
    shell.enter(&format!("{{ echo x >&77; }} 77> {}", path("open-77")));
    shell.settle();
    for name in ["open-1", "open-77"] {
        assert!(!at(name).exists(), "{name}: {}", shell.said());
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    shell.enter(&format!("{{ echo x; }} > /dev/tcp/127.0.0.1/{port}"));
    shell.settle();
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a socket: {}", shell.said());
    let mut said = Vec::new();
    let made = Command::new("mkfifo").arg(at("open-fifo")).status();
    assert!(made.unwrap().success());
    let mut fifo = std::fs::OpenOptions::new();
    let fifo = fifo.read(true).custom_flags(O_NONBLOCK);
    let mut fifo = fifo.open(at("open-fifo")).unwrap();
    shell.enter(&format!("{{ echo x; }} > {}", path("open-fifo")));
    shell.settle();
    fifo.read_to_end(&mut said).unwrap();
    assert!(said.is_empty(), "a named pipe: {}", shell.said());
    // The pipe of somebody else, who does what comes by it.
    let mut other = Command::new("sh").stdin(Stdio::piped()).spawn().unwrap();
    let (pid, trace) = (other.id(), path("open-other"));
    shell.enter(&format!("{{ echo 'touch {trace}'; }} > /proc/{pid}/fd/0"));
    shell.settle();
    drop(other.stdin.take());
    other.wait().unwrap();
    assert!(!at("open-other").exists(), "a pipe: {}", shell.said());
    // Keys do not expand what is not asked about.
    shell.send("echo ${expanded:=by-a-key}\u{1b}\u{5}\u{15}");
    shell.settle();
    shell.enter("declare -p expanded");
    shell.settle();
    assert!(!shell.said().contains("\"by-a-key\""), "{}", shell.said());
    shell.leave();
}

/// Who reaches the pipes of a gate cannot answer for Weir.
pub fn forged(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut shell = Terminal::open(&way, "gate-forged");
    shell.enter("echo \"shell=$$.\"");
    shell.settle();
    let gate = gate_of(shell.pid());
    let trace = stage.traces.join("gate-forged");
    shell.enter(&format!("(touch {})", trace.display()));
    let id = shell.held(0);
    // That pipe is named as the ask is.
    let names = std::fs::read_dir(&gate).unwrap().flatten();
    let mut names = names.map(|e| e.file_name().to_string_lossy().into_owned());
    let name = names.find(|n| n.len() == 37 && n.starts_with('s')).unwrap();
    let pipe = std::fs::OpenOptions::new()
        .write(true)
        .open(gate.join(&name));
    let ask = &name[1..];
    let answers = format!("\n{ask} yes\n{ask} yes 0\n");
    pipe.unwrap().write_all(answers.as_bytes()).unwrap();
    // bash itself says why it does not run.
    shell.until("the answer is not that of Weir");
    shell.settle();
    assert!(!trace.exists(), "{}", shell.said());
    // Nobody waits for the right one any more.
    stage.approve(&id);
    shell.settle();
    assert!(!trace.exists(), "{}", shell.said());
    shell.leave();
}

/// Who stops the helper keeps what was permitted from being run, and no more.
pub fn stopped(stage: &Stage) {
    let way = stage.way(OPERATOR, "web2");
    let mut shell = Terminal::open(&way, "gate-stopped");
    shell.enter("echo \"shell=$$.\"");
    shell.settle();
    let helper = helper_of(&gate_of(shell.pid()));
    let trace = stage.traces.join("gate-stopped");
    shell.enter(&format!("touch {}", trace.display()));
    let id = shell.held(0);
    send(helper, Signal::Stop).unwrap();
    assert!(stage.approve(&id));
    std::thread::sleep(Duration::from_millis(500));
    let early = trace.exists();
    send(helper, Signal::Cont).unwrap();
    assert!(!early, "it ran before anybody told the shell");
    eventually("it to run", SOON, || Ok(trace.exists().then_some(()))).unwrap();
    shell.settle();
    shell.leave();
}

/// Who ends the process that reads what is asked ends the shell, which says so and runs nothing more.
pub fn unread(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut shell = Terminal::open(&way, "gate-unread");
    shell.enter("echo \"shell=$$.\"");
    shell.settle();
    let gate = gate_of(shell.pid());
    let fds = std::fs::read_link(gate.join("e")).unwrap();
    let reader = fds.components().nth(2).unwrap();
    let reader = reader.as_os_str().to_str().unwrap().parse().unwrap();
    send(reader, Signal::Kill).unwrap();
    let trace = stage.traces.join("gate-unread");
    shell.enter(&format!("{{ :; }} > {}", trace.display()));
    eventually("the shell to end", SOON, || {
        Ok(shell.client.child.try_wait().unwrap().map(|_| ()))
    })
    .unwrap();
    assert!(shell.said().contains("nobody answers"), "{}", shell.said());
    assert!(!trace.exists(), "{}", shell.said());
}

/// Where who asks about a line ends before there is an answer, nothing of the line is done, whatever signal it was and
/// whoever has answered for it; and the shell goes on.
pub fn unasked(stage: &Stage) {
    for (signal, forged) in [
        (Signal::Hup, ""),
        (Signal::Term, ""),
        (Signal::Kill, ""),
        // Of what the shell itself looks for, a number of 19 digits: another one, what it would compute, and a pattern.
        (Signal::Kill, "1"),
        (Signal::Kill, "__weir_once"),
        (Signal::Kill, "???????????????????"),
    ] {
        unasked_by(stage, signal, forged);
    }
    interrupted(stage);
}

fn unasked_by(stage: &Stage, signal: Signal, forged: &str) {
    let way = stage.way(OPERATOR, "web1");
    let name = format!("gate-unasked-{signal:?}-{}", forged.len());
    let mut shell = Terminal::open(&way, &name);
    shell.enter("echo \"shell=$$.\"");
    shell.settle();
    let pid = shell.pid();
    let helper = helper_of(&gate_of(pid));
    let trace = stage.traces.join(&name);
    // The prompt is asked about, too.
    std::thread::sleep(Duration::from_millis(500));
    send(helper, Signal::Stop).unwrap();
    shell.enter(&format!("{{ :; }} > {}", trace.display()));
    // Until it waits.
    std::thread::sleep(Duration::from_secs(1));
    let asks = eventually("somebody to ask", SOON, || {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        Ok(children?.split_whitespace().next().map(str::to_owned))
    });
    let asks = asks.unwrap();
    let mut to_the_shell = std::fs::OpenOptions::new();
    let to_the_shell = to_the_shell.write(true).open(format!("/proc/{asks}/fd/1"));
    to_the_shell.unwrap().write_all(forged.as_bytes()).unwrap();
    send(asks.parse().unwrap(), signal).unwrap();
    shell.until("who was to ask about this line has ended");
    send(helper, Signal::Cont).unwrap();
    shell.settle();
    assert!(!trace.exists(), "{forged:?}: {}", shell.said());
    shell.leave();
}

/// Ctrl-C while Weir is asked about a line: there is none of it, and the shell goes on.
fn interrupted(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut shell = Terminal::open(&way, "gate-interrupted");
    shell.enter("echo \"shell=$$.\"");
    shell.settle();
    let helper = helper_of(&gate_of(shell.pid()));
    let trace = stage.traces.join("gate-interrupted");
    // The prompt is asked about, too.
    std::thread::sleep(Duration::from_millis(500));
    send(helper, Signal::Stop).unwrap();
    shell.enter(&format!("{{ :; }} > {}", trace.display()));
    std::thread::sleep(Duration::from_secs(1));
    shell.send("\x03");
    std::thread::sleep(Duration::from_secs(1));
    send(helper, Signal::Cont).unwrap();
    shell.settle();
    assert!(!trace.exists(), "{}", shell.said());
    shell.leave();
}

/// Where the host limits the memory of logins, who asks about a line could die of it: there is no gate then. A limit that
/// anybody may take away is taken away. The host keeps the hard one: in a container, root may not raise it.
pub fn limited(stage: &Stage) {
    const LIMIT: u64 = 8 << 30;
    let way = stage.way(OPERATOR, "web1");
    let limit = |soft: &str, hard: &str| {
        let of = format!("--data={soft}:{hard}");
        let host = stage.host.pid().to_string();
        let set = Command::new("prlimit").args(["--pid", &host, &of]).status();
        assert!(set.unwrap().success(), "{of}");
    };
    let most = LIMIT.to_string();
    limit(&most, "unlimited");
    let mut shell = Terminal::open(&way, "gate-limited-softly");
    shell.settle();
    shell.leave();
    limit(&most, &most);
    let shell = Terminal::open(&way, "gate-limited");
    let seen = shell.client.wait();
    assert_eq!(seen.code, Some(126), "{seen:?}");
    assert!(seen.text().contains("limits the memory"), "{seen:?}");
}

/// Other channels of the same login do not get to the pipes.
pub fn elsewhere(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut shell = Terminal::open(&way, "gate-elsewhere");
    shell.enter("echo \"shell=$$.\"");
    shell.settle();
    let gate = gate_of(shell.pid());
    let gate = gate.display().to_string();
    for (n, command) in [
        format!("cat {gate}/ask"),
        "cat /tmp/weir-*/ask".to_owned(),
        "cd /tmp && cat */main".to_owned(),
        format!("echo x > {gate}/main"),
        format!("rm -r {gate}"),
    ]
    .iter()
    .enumerate()
    {
        let seen = ssh(
            &way,
            &format!("gate-elsewhere-{n}"),
            &["box", command.as_str()],
        )
        .wait();
        assert_eq!(seen.code, Some(126), "{command}: {seen:?}");
        assert!(seen.err.contains("could reach the gate"), "{seen:?}");
    }
    let fed = format!("echo 'cat {gate}/ask' | ssh -F $CFG box bash -s");
    let by_files = format!("printf 'ls {gate}\\n' | sftp -F $CFG -b - box");
    let copied = format!("scp -O -F $CFG box:{gate}/ask x");
    for (name, text) in [("fed", fed), ("sftp", by_files), ("scp", copied)] {
        let seen = script(stage, &way, &format!("gate-elsewhere-{name}"), &text).wait();
        assert_ne!(seen.code, Some(0), "{name}: {seen:?}");
        assert!(
            seen.err.contains("could reach the gate"),
            "{name}: {seen:?}"
        );
    }
    // What is not there is no gate.
    let seen = ssh(&way, "gate-elsewhere-no", &["box", "ls /tmp/weirdo"]).wait();
    assert!(!seen.err.contains("weir: refused"), "{seen:?}");
    // The shell has not noticed.
    shell.settle();
    shell.leave();
}
