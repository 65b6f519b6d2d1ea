//! Options of real wrappers, put together at random: whatever they run has to be in the reading, or it is opaque.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command as Process, Stdio};

use super::differential::{Dice, fits};
use crate::{Limits, read};

/// A program, and words that are put behind it in any order before `d` and its words.
const WRAPPERS: &[(&str, &[&str])] = &[
    (
        "env",
        &[
            "-i",
            "X=1",
            "-u",
            "X",
            "--",
            "-",
            "-C",
            ".",
            "Y=$(d in)",
            "--unset=X",
            "-0",
            "--chdir",
            "-v",
            "-u X",
        ],
    ),
    ("nohup", &["--", "-x"]),
    (
        "timeout",
        &[
            "5",
            "-k",
            "1",
            "-s",
            "KILL",
            "--signal=INT",
            "--foreground",
            "-v",
            "--",
            "-k1",
            "--kill-after",
            "-vs",
        ],
    ),
    (
        "nice",
        &[
            "-n",
            "5",
            "-5",
            "-n5",
            "--adjustment=3",
            "--adjustment",
            "--",
            "-n -1",
        ],
    ),
    (
        "ionice",
        &[
            "-c", "3", "-c3", "-n", "4", "-t", "--class", "2", "--", "-tc3",
        ],
    ),
    (
        "stdbuf",
        &["-o", "L", "-oL", "-i0", "--error=0", "--output", "--"],
    ),
    ("setsid", &["-w", "--wait", "-c", "--", "-wc"]),
    (
        "flock",
        &[
            "l",
            "-n",
            "-w",
            "1",
            "-x",
            "--",
            "-c",
            "'d z'",
            "-xn",
            "-E",
            "--timeout",
            "-o",
        ],
    ),
    (
        "xargs",
        &[
            "-n", "1", "-n1", "-r", "-I", "{}", "-I{}", "-t", "-P", "2", "-0", "--", "-d", "x",
            "-i", "-L1", "-l", "-s", "99",
        ],
    ),
    (
        "find",
        &[
            ".",
            "-maxdepth",
            "0",
            "-exec",
            "-name",
            "'*'",
            "{}",
            "\\;",
            "+",
            "-o",
            "-print",
            "-type",
            "d",
            "!",
            "(",
            ")",
            "-quit",
        ],
    ),
    (
        "bash",
        &[
            "-c", "'d z'", "-e", "-x", "-o", "errexit", "--", "-", "-ec", "+e", "-s", "--norc",
            "-l", "'d y'", "-eo",
        ],
    ),
    (
        "sh",
        &[
            "-c",
            "'d z'",
            "-e",
            "-x",
            "--",
            "-",
            "-ec",
            "-s",
            "'d y; d w'",
            "-u",
        ],
    ),
    ("command", &["-p", "-v", "--", "-V", "-pv"]),
    ("exec", &["-a", "x", "-c", "-l", "--", "-la", "-cl"]),
    ("eval", &["'d z;'", "--", "d", "';'", "'|'"]),
    ("chrt", &["-o", "0", "-b", "-i", "--", "-R", "-v"]),
    (
        "taskset",
        &["-c", "0", "0x1", "1", "--", "-a", "--cpu-list"],
    ),
];

fn line(dice: &mut Dice) -> (String, String) {
    let (name, tokens) = WRAPPERS[dice.roll(WRAPPERS.len())];
    let before: Vec<&str> = (0..dice.roll(5)).map(|_| dice.pick(tokens)).collect();
    let after: Vec<&str> = (0..dice.roll(3))
        .map(|_| dice.pick(&["a", "-x", "'b c'", "--", ";", "\\;"]))
        .collect();
    let call = if dice.roll(5) == 0 { "" } else { "d" };
    let end = if name == "find" && dice.roll(3) > 0 {
        "\\;"
    } else {
        ""
    };
    let text = format!(
        "{name} {} {call} {} {end}",
        before.join(" "),
        after.join(" ")
    );
    (name.to_owned(), text)
}

#[test]
fn what_wrappers_run_is_what_was_read() {
    let seed: u64 = std::env::var("WEIR_SHELL_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    let mut dice = Dice(7 + seed * 1000);
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    let program = dir.path().join("d");
    let separator = "printf '\\035%s' \"$@\" '\u{1e}'";
    std::fs::write(
        &program,
        format!("#!/bin/sh\n{separator} >> {}\n", log.display()),
    )
    .expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let work = dir.path().join("work");
    std::fs::create_dir(&work).expect("a directory");

    let mut texts = Vec::new();
    let mut script = format!("cd {}\n: > {}\n", work.display(), log.display());
    while texts.len() < 250 {
        let (name, text) = line(&mut dice);
        let reading = read(text.as_bytes(), &Limits::default());
        // A shell that is given `d` for a script runs it as one.
        let script_file = reading.hazards.iter().any(|h| h.code == "script-file");
        if reading.is_opaque() || reading.reads_stdin.is_some() || script_file {
            continue;
        }
        let quoted = text.replace('\'', "'\\''");
        let input = if name == "xargs" {
            "printf 'p q\\n' |"
        } else {
            ""
        };
        script.push_str(&format!(
            "{input} ( eval ' {quoted}' ) >/dev/null 2>&1\nprintf '\\037' >> {}\n",
            log.display()
        ));
        texts.push((text, reading));
    }
    let status = Process::new("timeout")
        .args(["-k", "1", "20", "bash", "-c"])
        .arg(&script)
        .env(
            "PATH",
            format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", dir.path().display()),
        )
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("bash runs").success());
    let log = String::from_utf8(std::fs::read(&log).expect("the log")).expect("UTF-8");
    let mut wrong = Vec::new();
    let mut calls = 0;
    for ((text, reading), run) in texts.iter().zip(log.split('\u{1f}')) {
        for call in run.split('\u{1e}').filter(|c| !c.is_empty()) {
            calls += 1;
            let mut words: Vec<String> = call.split('\u{1d}').skip(1).map(str::to_owned).collect();
            words.pop();
            if !reading.commands.iter().any(|c| fits(&words, c)) {
                wrong.push(format!(
                    "{text:?} runs {words:?}, read {:?}",
                    super::line(reading)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(calls > 60, "only {calls} calls");
}
