//! Gated shells: bash on the host asks before it runs a command, whatever is typed.

mod reach;
mod tricks;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::bundle::Bundle;
use weir_tests::proc::{Signal, eventually, send};
use weir_tests::sshd::{Sshd, Way};

use super::{
    AGENT, ENGINEER, OPERATOR, Running, SOON, Stage, at_once, notice, ssh, ssh_fed, stage,
    stage_on, stage_with,
};
use tricks::{AROUND, DEEPER, LAST, TRICKS};

/// Somebody at a terminal.
struct Terminal {
    client: Running,
    input: ChildStdin,
    lines: u32,
}

impl Terminal {
    fn open(way: &Way, name: &str) -> Self {
        let mut client = ssh_fed(way, name, &["-tt", "box"], Stdio::piped());
        let input = client.child.stdin.take().unwrap();
        Self {
            client,
            input,
            lines: 0,
        }
    }

    fn send(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    fn enter(&mut self, line: &str) {
        self.send(&format!("{line}\r"));
    }

    fn said(&self) -> String {
        let out = std::fs::read(&self.client.out).unwrap();
        String::from_utf8_lossy(&out).into_owned() + &self.client.err()
    }

    fn until(&mut self, what: &str) {
        let begin = Instant::now();
        while !self.said().contains(what) {
            let ended = self.client.child.try_wait().unwrap();
            assert!(
                ended.is_none() && begin.elapsed() < SOON,
                "no {what:?} ({ended:?}): {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What was typed before is done.
    fn settle(&mut self) {
        self.lines += 1;
        let n = self.lines;
        self.enter(&format!("echo set''tled-{n}-"));
        self.until(&format!("settled-{n}-"));
    }

    /// The newest hold.
    fn held(&mut self, before: usize) -> String {
        let begin = Instant::now();
        loop {
            let err = self.client.err();
            let mut notices = err.lines().filter(|l| l.starts_with("weir: hold "));
            if let Some(line) = notices.nth(before) {
                return notice(line.trim_end()).unwrap().0;
            }
            assert!(begin.elapsed() < SOON, "not held: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process of bash, which it has been told to say.
    fn pid(&self) -> u32 {
        let said = self.said();
        let numbers = said
            .split("shell=")
            .filter_map(|after| after.split_once('.'));
        numbers
            .filter_map(|(number, _)| number.parse().ok())
            .last()
            .unwrap()
    }

    fn leave(mut self) -> super::Seen {
        self.enter("exit");
        let Self { client, input, .. } = self;
        let seen = client.wait();
        drop(input);
        seen
    }
}

/// Everything that waits for the approval is refused at once: what gets through does so without anybody's leave.
fn strict(name: &str) -> Stage {
    stage_with(name, |bundle| given(bundle, "false"))
}

/// Nothing waits for anybody, and nobody minds what cannot be told; `touch` is refused.
fn permissive(name: &str) -> Stage {
    stage_with(name, |bundle| {
        given(bundle, "(given || resource.env == Env::\"prod\")");
        let hosts = bundle.files.get_mut("hosts.cedar").unwrap();
        *hosts += "@id(\"guard.no-touch\")\n@reason(\"touch\")\nforbid (principal, action == Action::\"ssh:exec\", resource) \
                   when { resource is Ssh::Program && resource.name == \"touch\" };\n";
    })
}

/// Approvals are as if this were so, where `given` stands for what is asked of them.
fn given(bundle: &mut Bundle, so: &str) {
    for rule in ["prod-hosts", "opaque-command", "host-control", "risky"] {
        let given = format!("context.base.approvals.contains(ApprovalRule::\"{rule}\")");
        let mut changed = 0;
        for file in bundle.files.values_mut().filter(|f| f.contains(&given)) {
            *file = file.replace(&given, &so.replace("given", &given));
            changed += 1;
        }
        assert!(changed > 0, "{rule}");
    }
}

/// Enters these one after the other, and names those that ran.
fn tried(stage: &Stage, way: &Way, part: &str, tricks: &[(&str, &str)]) -> Vec<String> {
    let at = |n: usize| stage.traces.join(format!("{part}-{n}"));
    let mut shell = Terminal::open(way, part);
    shell.settle();
    for (n, (_, text)) in tricks.iter().enumerate() {
        let text = text.replace('@', &at(n).display().to_string());
        shell.enter(&text.replace('\n', "\r"));
        shell.settle();
    }
    // Still gated.
    let last = stage.traces.join(format!("{part}-last"));
    shell.enter(&format!("touch {}", last.display()));
    shell.settle();
    assert!(!last.exists(), "the gate is gone: {}", shell.said());
    assert!(shell.said().contains("weir: refused: "), "{}", shell.said());
    shell.enter("wait");
    shell.settle();
    let seen = shell.leave();
    let ended = "the gate of this shell has ended";
    assert!(!seen.err.contains(ended), "{seen:?}");
    let ran = tricks.iter().enumerate().filter(|(n, _)| at(*n).exists());
    ran.map(|(_, (name, _))| (*name).to_owned()).collect()
}

#[test]
fn a_gated_shell_asks_before_everything() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let mut stage = strict("ssh-gate");
    let way = stage.way(OPERATOR, "web1");
    // Tricks may leave things behind: some in one shell.
    let parts: Vec<_> = TRICKS.chunks(26).enumerate().collect();
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let (stage, way) = (&stage, &way);
        let run = |(n, tricks)| scope.spawn(move || tried(stage, way, &format!("part{n}"), tricks));
        let running: Vec<_> = parts.into_iter().map(run).collect();
        running
            .into_iter()
            .flat_map(|r| r.join().unwrap())
            .collect()
    });
    assert!(wrong.is_empty(), "these ran: {wrong:?}");
    reach::nothing_is_opened_around(&stage, &way);
    // Without Weir there is no shell, and nothing is left of it.
    let mut shell = Terminal::open(&way, "weirless");
    shell.settle();
    shell.enter("echo \"shell=$$.\"");
    shell.settle();
    let pid = shell.pid();
    let gate = gate_of(pid);
    assert!(gate.exists());
    shell.enter("sleep 60");
    stage.weir.kill_9().unwrap();
    eventually("the shell to end with Weir", SOON, || {
        Ok((!alive(pid) && !gate.exists()).then_some(()))
    })
    .unwrap();
}

#[test]
fn whoever_may_do_nearly_everything_is_still_asked() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &permissive("ssh-gate-deeper");
    let way = &stage.way(OPERATOR, "web1");
    let free = stage.traces.join("free");
    let mut shell = Terminal::open(way, "free");
    shell.enter(&format!(
        "echo x > {}; x=ev; sh -c \"echo ${{x}}aled\"",
        free.display()
    ));
    shell.until("evaled");
    assert!(free.exists(), "nothing is asked at all: {}", shell.said());
    shell.leave();
    let mut wrong = std::thread::scope(|scope| {
        let around = scope.spawn(|| tried(stage, way, "around", AROUND));
        let mut wrong = tried(stage, way, "deeper", DEEPER);
        wrong.extend(around.join().unwrap());
        wrong
    });
    for (n, (name, text)) in LAST.iter().enumerate() {
        let trace = stage.traces.join(format!("last-{n}"));
        let mut shell = Terminal::open(way, &format!("last-{n}"));
        shell.settle();
        let text = text.replace('@', &trace.display().to_string());
        shell.enter(&text.replace('\n', "\r"));
        std::thread::sleep(Duration::from_millis(400));
        drop(shell);
        if trace.exists() {
            wrong.push((*name).to_owned());
        }
    }
    let mut shell = Terminal::open(way, "changed");
    shell.settle();
    changed(&mut shell, &stage.traces.join("changed"));
    quits(&mut shell, &stage.traces.join("quits"));
    shell.leave();
    assert!(wrong.is_empty(), "these ran: {wrong:?}");
}

#[test]
fn a_host_that_opens_one_session_has_no_gated_shells() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let host = Sshd::start_with("ssh-gate-one-host", "MaxSessions 1\n").unwrap();
    let stage = &stage_on(host, "ssh-gate-one", |_| {});
    let way = stage.way(OPERATOR, "web1");
    let mut client = ssh_fed(&way, "one", &["-tt", "box"], Stdio::piped());
    let input = client.child.stdin.take();
    let seen = client.wait();
    drop(input);
    assert_eq!(seen.code, Some(126), "{seen:?}");
    assert!(
        seen.err
            .contains("a second channel, which the host does not open"),
        "{seen:?}"
    );
}

#[test]
fn commands_of_a_gated_shell_wait_for_people() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage("ssh-gate-holds");
    at_once(vec![
        ("held", Box::new(|| held(stage))),
        ("interrupted", Box::new(|| interrupted(stage))),
        ("piped", Box::new(|| piped(stage))),
        ("lines", Box::new(|| lines(stage))),
        ("levels", Box::new(|| levels(stage))),
        ("quick", Box::new(|| quick(stage))),
        ("killed", Box::new(|| killed(stage))),
        ("forged", Box::new(|| reach::forged(stage))),
        ("stopped", Box::new(|| reach::stopped(stage))),
        ("unread", Box::new(|| reach::unread(stage))),
        ("unasked", Box::new(|| reach::unasked(stage))),
        ("elsewhere", Box::new(|| reach::elsewhere(stage))),
    ]);
    // Of all that is started on the host.
    reach::limited(stage);
    // The shells, and each command of theirs.
    for (action, what, least) in [("ssh:gated_shell", "", 5), ("ssh:exec", "touch", 4)] {
        eventually("it to be on record", SOON, || {
            let args = [
                "audit", "--format", "jsonl", "--limit", "1000", "--action", action,
            ];
            let out = stage.weir.cli(Some(&stage.security), &args)?;
            let found = out.stdout.lines().filter(|l| l.contains(what)).count();
            Ok((out.ok() && found >= least).then_some(()))
        })
        .unwrap();
    }
}

fn held(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut shell = Terminal::open(&way, "gate-held");
    shell.enter("echo \"shell=$$.\"");
    shell.settle();
    let gate = gate_of(shell.pid());
    let mode = std::fs::metadata(&gate).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    shell.enter(&format!("cd {}", stage.traces.display()));
    shell.enter("f() { touch by-function; }");
    shell.enter("touch gate-held && echo do''ne");
    let id = shell.held(0);
    let hold = stage.hold(&id);
    assert_eq!(hold["statement"]["text"], "touch gate-held", "{hold}");
    let place = format!("{}/gate-held", stage.traces.display());
    assert!(hold.to_string().contains(&place), "where it is: {hold}");
    assert!(
        !stage.traces.join("gate-held").exists(),
        "it ran while it was held"
    );
    assert!(stage.approve(&id));
    shell.until("done");
    assert!(stage.traces.join("gate-held").exists());
    assert_eq!(stage.hold(&id)["state"], "used");
    // Once more is another one; what stands behind a denial in its line does not run.
    shell.enter("touch gate-held; echo beh''ind");
    let second = shell.held(1);
    assert_ne!(second, id);
    assert!(stage.deny(&second));
    shell.until("not on a Friday");
    shell.settle();
    assert!(!shell.said().contains("behind"), "{}", shell.said());
    // A function is asked about once when it is called, not again when it begins.
    shell.enter("f");
    let call = shell.held(2);
    assert_eq!(stage.hold(&call)["statement"]["text"], "f");
    assert!(stage.approve(&call));
    let inside = shell.held(3);
    assert_eq!(
        stage.hold(&inside)["statement"]["text"],
        "touch by-function"
    );
    assert!(stage.approve(&inside));
    shell.settle();
    assert!(stage.traces.join("by-function").exists());
    let seen = shell.leave();
    assert_eq!(seen.code, Some(0), "{seen:?}");
    eventually("nothing to be left of the gate", SOON, || {
        Ok((!gate.exists()).then_some(()))
    })
    .unwrap();
}

fn interrupted(stage: &Stage) {
    let way = stage.way(OPERATOR, "web2");
    let mut shell = Terminal::open(&way, "gate-interrupted");
    shell.settle();
    let trace = stage.traces.join("gate-interrupted");
    shell.enter(&format!("touch {}; echo beh''ind", trace.display()));
    let id = shell.held(0);
    shell.send("\u{3}");
    eventually("the hold to be given up", SOON, || {
        Ok((stage.hold(&id)["state"] == "abandoned").then_some(()))
    })
    .unwrap();
    assert!(!stage.approve(&id));
    shell.settle();
    assert!(!trace.exists());
    assert!(!shell.said().contains("behind"), "{}", shell.said());
    // The gate has survived that.
    shell.enter(&format!("touch {}", trace.display()));
    let again = shell.held(1);
    assert!(stage.deny(&again));
    shell.settle();
    assert!(!trace.exists());
    shell.leave();
}

/// Without a terminal there is no prompt, and so nothing that bash would ask about whole lines by.
fn piped(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut client = ssh_fed(&way, "gate-piped", &["-T", "box"], Stdio::piped());
    let mut input = client.child.stdin.take().unwrap();
    let trace = stage.traces.join("gate-piped");
    // It may be gone by now.
    let _ = write!(input, "echo one\n{{ :; }} > {}\n", trace.display());
    drop(input);
    let seen = client.wait();
    assert_eq!(seen.text(), "", "{seen:?}");
    assert_eq!(seen.code, Some(126), "{seen:?}");
    assert!(seen.err.contains("needs a terminal (ssh -t)"), "{seen:?}");
    assert!(!trace.exists());
}

/// What people type goes on as it did; what is refused as a whole leaves nothing behind, and says why.
fn lines(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut shell = Terminal::open(&way, "gate-lines");
    shell.settle();
    shell.send("\u{1b}[200~echo pas''ted-1\recho pas''ted-2\recho pas''ted-3\u{1b}[201~\r");
    shell.settle();
    shell.enter("for i in a b\r\rdo\r  echo loo''ped-\rdone");
    shell.settle();
    shell.enter("cat <<E\rhe\\$re\rE");
    shell.settle();
    shell.enter("if true; then echo chos''en; fi; while false; do :; done 2> /dev/null");
    shell.settle();
    for said in [
        "pasted-1",
        "pasted-2",
        "pasted-3",
        "looped-\r\nlooped-",
        "he$re",
        "chosen",
    ] {
        assert!(shell.said().contains(said), "{said}: {}", shell.said());
    }
    // What bash itself could not read, and what was given up, is in no line.
    shell.enter("echo )");
    shell.settle();
    shell.enter("echo 'x");
    shell.until("> ");
    std::thread::sleep(Duration::from_millis(300));
    shell.send("\u{3}");
    // The terminal forgets what was typed about then.
    std::thread::sleep(Duration::from_millis(300));
    shell.settle();
    assert!(!shell.said().contains("weir: refused"), "{}", shell.said());
    let trace = stage.traces.join("gate-lines");
    shell.enter(&format!(
        "echo ahe''ad; {{ echo with''in; }} > {}",
        trace.display()
    ));
    shell.until("redirect each of them by itself");
    shell.settle();
    assert!(!trace.exists());
    assert!(!shell.said().contains("ahead"), "{}", shell.said());
    let seen = shell.leave();
    assert_eq!(seen.code, Some(0), "{seen:?}");
    eventually("it to be on record", SOON, || {
        let args = [
            "audit",
            "--format",
            "jsonl",
            "--limit",
            "1000",
            "--decision",
            "refused",
        ];
        let out = stage.weir.cli(Some(&stage.security), &args)?;
        let entries = out.stdout.lines().map(serde_json::from_str::<Value>);
        let mut streams: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?["stream"].as_str()?.to_owned()))
            .collect();
        streams.sort_unstable();
        streams.dedup();
        for stream in streams {
            let replay = ["replay", &stream, "--format", "jsonl"];
            let out = stage.weir.cli(None, &replay)?.stdout;
            let is = |line: &str| line.contains("with''in") && line.contains("redirect each of");
            if out.lines().any(is) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .unwrap();
}

/// While a command goes on, its first line is changed in the history: bash has read it as it was. In the way of vi, a
/// search leaves no sign of that.
fn changed(shell: &mut Terminal, trace: &Path) {
    let pause = || std::thread::sleep(Duration::from_millis(400));
    let refused = |shell: &Terminal| shell.said().matches("not in the history as it was").count();
    for (n, (way, back, behind)) in [
        ("emacs", ["\u{1b}[A", "\u{15}if true"], ["\u{1b}[B", ""]),
        ("vi", ["\u{1b}", "k0Cif true"], ["\u{1b}", "j/if\rS"]),
    ]
    .into_iter()
    .enumerate()
    {
        shell.enter(&format!("set -o {way}"));
        shell.settle();
        shell.enter(&format!("{{ :; }} > {}; if true", trace.display()));
        // Until bash has the keys, they are the terminal's.
        pause();
        for keys in back.into_iter().chain(behind) {
            shell.send(keys);
            pause();
        }
        shell.enter("then :; fi");
        let begin = Instant::now();
        while refused(shell) <= n {
            assert!(begin.elapsed() < SOON, "{way}: {}", shell.said());
            pause();
        }
        shell.settle();
        assert!(!trace.exists(), "{way}: {}", shell.said());
    }
    shell.enter("set -o emacs");
    shell.settle();
}

/// Who asks about a line is not killed from the keyboard.
fn quits(shell: &mut Terminal, trace: &Path) {
    for key in ["\u{1c}", "\u{3}", "\u{1a}"] {
        shell.enter(&format!("{{ :; }} > {}", trace.display()));
        for _ in 0..200 {
            shell.send(key);
            std::thread::sleep(Duration::from_millis(2));
        }
        shell.enter("");
        shell.settle();
        assert!(!trace.exists(), "{key:?}: {}", shell.said());
    }
}

/// Refused, gated, or only recorded.
fn levels(stage: &Stage) {
    let agent = stage.way(AGENT, "web1");
    let seen = ssh(&agent, "gate-agent", &["-T", "box"]).wait();
    assert_eq!(seen.code, Some(126), "{seen:?}");
    assert!(seen.err.contains("one by one"), "{seen:?}");
    // Elsewhere nobody asks.
    let engineer = stage.way(ENGINEER, "stage1");
    let mut client = ssh_fed(&engineer, "gate-none", &["-T", "box"], Stdio::piped());
    let mut input = client.child.stdin.take().unwrap();
    let trace = stage.traces.join("gate-none");
    writeln!(input, "touch {}", trace.display()).unwrap();
    drop(input);
    assert_eq!(client.wait().code, Some(0));
    assert!(trace.exists());
}

/// What a command costs.
fn quick(stage: &Stage) {
    let way = stage.way(OPERATOR, "web2");
    let mut shell = Terminal::open(&way, "gate-quick");
    shell.settle();
    let begin = Instant::now();
    shell.enter("for i in {1..100}; do echo one; done; echo rea''dy");
    shell.until("ready");
    let each = begin.elapsed() / 201;
    println!("a command of a gated shell: {each:?}");
    assert!(each < Duration::from_millis(100), "{each:?}");
    shell.leave();
}

/// The helper goes: so does the shell, and what waits is not run.
fn killed(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut shell = Terminal::open(&way, "gate-killed");
    shell.settle();
    shell.enter("echo \"shell=$$.\"");
    shell.settle();
    let pid = shell.pid();
    let gate = gate_of(pid);
    let trace = stage.traces.join("gate-killed");
    shell.enter(&format!("touch {}", trace.display()));
    let id = shell.held(0);
    send(helper_of(&gate), Signal::Kill).unwrap();
    shell.until("the gate of this shell has ended");
    let seen = shell.client.wait();
    assert_eq!(seen.code, Some(126), "{seen:?}");
    assert!(!stage.approve(&id));
    eventually("the shell to end", SOON, || Ok((!alive(pid)).then_some(()))).unwrap();
    assert!(!trace.exists());
    // Who is killed removes nothing.
    std::fs::remove_dir_all(gate).unwrap();
}

fn alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// The arguments of a process.
fn arguments(pid: u32) -> Vec<String> {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|b| *b == 0);
    words
        .map(|w| String::from_utf8_lossy(w).into_owned())
        .collect()
}

/// The directory of a shell's gate.
fn gate_of(shell: u32) -> PathBuf {
    let all = arguments(shell);
    let file = all.iter().find(|a| a.starts_with("/tmp/weir-"));
    let file = file.unwrap_or_else(|| panic!("no gate: {all:?}"));
    Path::new(file).parent().unwrap().to_path_buf()
}

/// The process that passes on what is asked.
fn helper_of(gate: &Path) -> u32 {
    let gate = gate.display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = all.filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok());
    let helper = pids.find(|pid| {
        let all = arguments(*pid);
        all.iter().any(|a| a == "weir-gate") && all.contains(&gate)
    });
    helper.expect("a helper")
}
