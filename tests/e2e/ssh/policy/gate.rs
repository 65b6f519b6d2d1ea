//! Gated shells: bash on the host asks before it runs a command, whatever is typed.

use std::io::Write;
use std::process::{ChildStdin, Stdio};
use std::time::{Duration, Instant};

use weir_tests::proc::eventually;
use weir_tests::sshd::Way;

use super::{
    AGENT, ENGINEER, OPERATOR, Running, SOON, Stage, at_once, notice, ssh, ssh_fed, stage,
    stage_with,
};

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
    stage_with(name, |bundle| {
        let hosts = bundle.files.get_mut("hosts.cedar").unwrap();
        for rule in ["prod-hosts", "opaque-command", "host-control"] {
            let given = format!("context.base.approvals.contains(ApprovalRule::\"{rule}\")");
            assert!(hosts.contains(&given));
            *hosts = hosts.replace(&given, "false");
        }
    })
}

/// Each leaves a trace at `@`, if the gate lets it. Several lines are pasted at once.
const TRICKS: &[(&str, &str)] = &[
    ("plain", "touch @"),
    ("in a list", "echo x; touch @"),
    ("behind and", "true && touch @"),
    ("behind or", "false || touch @"),
    ("in a pipeline", "echo x | tee @"),
    ("at the start of one", "touch @ | cat"),
    ("in a subshell", "(touch @)"),
    ("in braces", "{ touch @; }"),
    ("in a function", "f() { touch @; }; f"),
    (
        "in a function of a function",
        "g() { f2() { touch @; }; f2; }; g",
    ),
    ("in a loop", "for i in 1 2; do touch @; done"),
    ("in a while", "while touch @; do break; done"),
    ("in an if", "if touch @; then :; fi"),
    ("in a case", "case x in x) touch @;; esac"),
    ("eval", "eval 'tou''ch @'"),
    ("eval of a variable", "v='touch @'; eval \"$v\""),
    ("a command substitution", "echo $(touch @)"),
    ("backquotes", "echo `touch @`"),
    ("a process substitution", "cat <(touch @)"),
    ("a word of a variable", "X=touch; $X @"),
    ("an alias", "alias q='touch @'\nq"),
    ("an alias of the gate", "alias __weir_gate=:\ntouch @"),
    (
        "an alias by its table",
        "BASH_ALIASES[__weir_gate]=:\ntouch @",
    ),
    ("a redirection", "echo x > @"),
    ("a redirection alone", "> @"),
    ("appending", "echo x >> @"),
    ("a here-document for a shell", "sh <<E\ntouch @\nE"),
    ("a here-string for a shell", "bash <<< 'touch @'"),
    ("sh -c", "sh -c 'touch @'"),
    ("a pipe into sh", "echo 'touch @' | sh"),
    ("base64 into sh", "echo dG91Y2g= | base64 -d | sh -s @"),
    ("exec", "exec sh -c 'touch @'"),
    ("env", "env touch @"),
    ("xargs", "echo @ | xargs touch"),
    ("find -exec", "find / -maxdepth 0 -exec touch @ \\;"),
    ("awk", "awk 'BEGIN{system(\"touch @\")}'"),
    ("coproc", "coproc touch @"),
    ("in the background", "touch @ &"),
    ("a trap for nothing", "trap 'touch @' EXIT; trap - EXIT"),
    (
        "a trap at every return",
        "trap 'touch @' RETURN\nh() { :; }; h\ntrap - RETURN",
    ),
    ("the trap away", "trap - DEBUG\ntouch @"),
    ("the trap emptied", "trap '' DEBUG\ntouch @"),
    ("the trap away, in quotes", "\"tr\"ap - DEB\"UG\"\ntouch @"),
    ("the trap away by builtin", "builtin trap - DEBUG\ntouch @"),
    ("the trap away by eval", "eval 'trap - DEBUG'\ntouch @"),
    (
        "the trap away in a function",
        "t() { trap - DEBUG; }; t\ntouch @",
    ),
    ("another trap", "trap : DEBUG\ntouch @"),
    ("extdebug off", "shopt -u extdebug\ntouch @"),
    ("functrace off", "set +T\nw() { touch @; }; w"),
    (
        "functrace off by name",
        "set +o functrace\nw2() { touch @; }; w2",
    ),
    ("the gate unset", "unset -f __weir_gate\ntouch @"),
    ("the gate redefined", "__weir_gate() { :; }\ntouch @"),
    (
        "builtins redefined",
        "builtin() { :; }; command() { :; }; read() { :; }; printf() { :; }; return() { :; }; unset() { :; }; kill() { :; }\ntouch @\nunset -f builtin command read printf return unset kill",
    ),
    (
        "a builtin locked",
        "true() { :; }; readonly -f true\ntouch @",
    ),
    ("builtins away", "enable -n builtin\ntouch @"),
    (
        "BASH_COMMAND unset",
        "unset BASH_COMMAND; BASH_COMMAND=ls\ntouch @",
    ),
    ("BASH_COMMAND set", "BASH_COMMAND=ls\ntouch @"),
    (
        "BASH_COMMAND local",
        "l() { local BASH_COMMAND=ls; touch @; }; l",
    ),
    ("POSIX mode", "set -o posix\ntouch @"),
    ("POSIX mode by variable", "POSIXLY_CORRECT=1\ntouch @"),
    ("the secret printed", "echo $__weir_n > @"),
    (
        "PROMPT_COMMAND",
        "PROMPT_COMMAND='touch @'\n:\nunset PROMPT_COMMAND",
    ),
    ("a prompt", "PS1='$(touch @)$ '\n:\nPS1='$ '"),
    ("a key", "bind -x '\"\\C-t\": touch @'\n\u{14}"),
    (
        "a completion",
        "comp() { touch @; }; complete -F comp zz\nzz \t\u{15}",
    ),
    ("history", "echo x\n!touch"),
    ("a subscript", "a[$(touch @)]=1"),
    ("arithmetic", "(( a[$(touch @)] ))"),
    ("a default", ": ${nothing:=$(touch @)}"),
    ("another directory", "cd / ; touch .@"),
    ("nocasematch and all", "set -fu; IFS=yes; touch @"),
    (
        "verdicts of one's own",
        "for p in /tmp/weir-*/main; do echo yes > $p; done\ntouch @",
    ),
    ("time", "time touch @"),
    ("not", "! touch @"),
    ("select", "select x in touch; do $x @; break; done <<< 1"),
    ("a file", "printf 'touch @' > @.sh; . @.sh"),
    ("dot from a pipe", ". <(echo touch @)"),
    ("a variable of the loader", "LD_PRELOAD=/x touch @"),
];

#[test]
fn a_gated_shell_asks_before_everything() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &strict("ssh-gate");
    let way = stage.way(OPERATOR, "web1");
    let at = |n: usize| stage.traces.join(format!("trick{n}"));
    let mut wrong = Vec::new();
    // Tricks may leave things behind: some in one shell, each third of them.
    for (part, tricks) in TRICKS.chunks(26).enumerate() {
        let mut shell = Terminal::open(&way, &format!("tricks{part}"));
        shell.settle();
        for (n, (name, text)) in tricks.iter().enumerate() {
            let n = part * 26 + n;
            let trace = at(n);
            let text = text.replace('@', &trace.display().to_string());
            shell.enter(&text.replace('\n', "\r"));
            shell.settle();
            if trace.exists() {
                wrong.push(*name);
            }
        }
        // Still gated, and what only reads runs.
        let last = stage.traces.join(format!("last{part}"));
        shell.enter(&format!("touch {}", last.display()));
        shell.settle();
        assert!(!last.exists(), "the gate is gone: {}", shell.said());
        assert!(shell.said().contains("weir: refused: "), "{}", shell.said());
        let seen = shell.leave();
        assert!(
            !seen.err.contains("the gate of this shell has ended"),
            "{seen:?}"
        );
    }
    std::thread::sleep(Duration::from_millis(500));
    for (n, (name, _)) in TRICKS.iter().enumerate() {
        if at(n).exists() && !wrong.contains(name) {
            wrong.push(*name);
        }
    }
    assert!(wrong.is_empty(), "these ran: {wrong:?}");
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
        ("levels", Box::new(|| levels(stage))),
        ("quick", Box::new(|| quick(stage))),
        ("killed", Box::new(|| killed(stage))),
    ]);
    eventually("nothing to be left in /tmp", SOON, || {
        Ok((directories() == 0).then_some(()))
    })
    .unwrap();
}

/// Directories of gates that there are.
fn directories() -> usize {
    let all = std::fs::read_dir("/tmp").unwrap().flatten();
    all.filter(|e| {
        let name = e.file_name().to_string_lossy().into_owned();
        name.len() == 37 && name.starts_with("weir-")
    })
    .count()
}

fn held(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut shell = Terminal::open(&way, "gate-held");
    shell.settle();
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

/// Without a terminal: a script on standard input.
fn piped(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut client = ssh_fed(&way, "gate-piped", &["-T", "box"], Stdio::piped());
    let mut input = client.child.stdin.take().unwrap();
    let trace = stage.traces.join("gate-piped");
    write!(input, "echo one\ntouch {}\necho two\n", trace.display()).unwrap();
    drop(input);
    let (id, _) = client.held();
    assert!(stage.deny(&id));
    let seen = client.wait();
    assert_eq!(seen.text(), "one\n", "{seen:?}");
    assert_eq!(seen.code, Some(126), "{seen:?}");
    assert!(!trace.exists());
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
    shell.enter("for i in {1..100}; do echo $i; done; echo rea''dy");
    shell.until("ready");
    let each = begin.elapsed() / 201;
    println!("a command of a gated shell: {each:?}");
    assert!(each < Duration::from_millis(100), "{each:?}");
    shell.leave();
}

/// The helper goes: so does the shell.
fn killed(stage: &Stage) {
    let way = stage.way(OPERATOR, "web1");
    let mut shell = Terminal::open(&way, "gate-killed");
    shell.settle();
    shell.enter("echo \"pid=$$ dir=\"/tmp/weir-*");
    shell.settle();
    let _ = shell.said();
    shell.leave();
}
