//! SSH: stock clients before, OpenSSH's server behind, Weir between.

mod cases;
mod login;
mod newer;
mod policy;
mod record;
mod refused;
mod rig;
mod russh;
mod who;
mod who_device;
mod who_hosts;
mod who_keys;
mod who_tokens;

use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weir_tests::proc::free_port;
use weir_tests::sshd::Way;

use rig::Rig;

/// No case takes longer, on a machine that does other things too.
const LIMIT: Duration = Duration::from_secs(90);
/// How what took longer begins.
const TOOK_TOO_LONG: &str = "exit status: 124";
/// Cases that run at the same time.
const AT_ONCE: usize = 3;

/// State 0A is LISTEN.
const UP: &str = r#"up() { until grep -qi ":$(printf %04X $1) 00000000:0000 0A " /proc/net/tcp; do sleep 0.1; done; }"#;

/// What a script printed, and how it ended.
fn seen(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a case in a directory of the same name on both ways, so that nothing but the way differs.
fn run(way: &Way, name: &str, script: &str) -> String {
    // And `up PORT` waits until somebody listens there, without a connection.
    let ports = [free_port().unwrap(), free_port().unwrap()];
    let ports = format!("P1={} P2={}\n{UP}\n", ports[0], ports[1]);
    let output = way
        .script(name, &format!("{ports}{script}"), LIMIT)
        .unwrap();
    // The directories of the two ways have different names.
    seen(&output).replace(&way.dir.display().to_string(), "")
}

/// One thing that clients do: its name, a script, and what it says at the least. See [`says`].
type Case = (&'static str, &'static str, &'static str);

/// Is each of these lines part of a line of what was seen, in this order? Without it, what is broken on both ways
/// alike would pass: a client that is not installed, say.
fn says(seen: &str, wanted: &str) -> bool {
    let mut lines = seen.lines().skip(1);
    !wanted.is_empty()
        && wanted
            .lines()
            .all(|part| lines.any(|line| line.contains(part)))
}

/// Those of a list that are tried once more, under other circumstances: each of these names one.
fn again(lists: &[&'static [Case]], names: &[&str]) -> Vec<&'static Case> {
    let is = |name: &str| lists.iter().copied().flatten().any(|case| case.0 == name);
    let strange: Vec<_> = names.iter().filter(|name| !is(name)).collect();
    assert!(strange.is_empty(), "no such cases: {strange:?}");
    let mut cases = wanted(lists);
    cases.retain(|case| names.contains(&case.0));
    cases
}

/// Those of a list that are wanted: all, or one alone, for whoever looks for a mistake in it.
fn wanted(lists: &[&'static [Case]]) -> Vec<&'static Case> {
    let only = std::env::var("WEIR_TEST_SSH_CASE").ok();
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    lists
        .iter()
        .copied()
        .flatten()
        .filter(|(name, ..)| wanted(name))
        .collect()
}

/// Runs cases on both ways at the same time, and tells which of them were not the same, or did not say what they
/// must.
fn differing(direct: &Way, weir: &Way, cases: &[&Case]) -> String {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        while let Some((name, script, wanted)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let timed = |way| {
                let started = Instant::now();
                (run(way, name, script), started.elapsed())
            };
            let ((there, alone), (here, took)) = std::thread::scope(|scope| {
                let there = scope.spawn(|| timed(direct));
                let here = timed(weir);
                (there.join().unwrap(), here)
            });
            println!("{name}: {alone:.1?} direct, {took:.1?} through Weir");
            if there != here || there.starts_with(TOOK_TOO_LONG) || !says(&there, wanted) {
                let both = format!(
                    "--- must say\n{wanted}\n--- direct\n{there}\n--- through Weir\n{here}"
                );
                wrong.lock().unwrap().push(format!("{name}\n{both}"));
            }
        }
    };
    // Most of the time a case waits for something.
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    wrong.into_inner().unwrap().join("\n\n")
}

/// Bash under sshd reads `~/.bashrc` before a single command, too: on the host that is an empty home's, not the one
/// of whoever runs the tests, where a line of pyenv once made two runs differ.
#[test]
fn the_host_reads_no_start_files_of_ours() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let host = weir_tests::sshd::Sshd::start("ssh-home").unwrap();
    let script = r#"ssh -F $CFG box 'echo "$HOME"; ls -A "$HOME"' 2>&1"#;
    let output = host.direct().unwrap().script("home", script, LIMIT);
    let home = host.dir.join("home");
    assert_eq!(
        seen(&output.unwrap()),
        format!("exit status: 0\n{}\n", home.display())
    );
}

/// A client that is not there, one that is cut short, and one that says something else are no success, though both
/// ways show the same.
#[test]
fn what_fails_alike_on_both_ways_is_found() {
    let scratch = weir_tests::proc::Scratch::new("ssh-alike").unwrap();
    let dir = scratch.path();
    let way = |name| Way::new(&dir.join(name), 1, "nobody", "", dir, None).unwrap();
    let (one, other) = (way("one"), way("other"));
    let good: Case = ("good", "echo first; echo 'and last'", "first\nlast");
    assert_eq!(differing(&one, &other, &[&good]), "");
    let bad: [&Case; 4] = [
        &("missing", "no-such-client 2>&1; echo done", "pong"),
        &("short", "echo first", "first\nlast"),
        &("order", "echo last; echo first", "first\nlast"),
        &("expects-nothing", "echo first", ""),
    ];
    for case in bad {
        let wrong = differing(&one, &other, &[case]);
        assert!(wrong.starts_with(case.0), "{}: {wrong}", case.0);
    }
}

/// Everything that stock clients do is the same through Weir, where everything is permitted.
#[test]
fn clients_see_the_same_through_weir() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let rig = Rig::permitting("ssh-same").unwrap();
    let direct = rig.host.direct().unwrap();
    let weir = rig.way("alice", &["weir-permit-all"]).unwrap();
    // Those that take longest come first.
    let mut cases = wanted(&[cases::CLIENTS, cases::CASES, cases::FORWARDS]);
    if !weir_tests::russh::there() {
        cases.retain(|case| case.0 != "russh");
    }
    let wrong = differing(&direct, &weir, &cases);
    assert!(wrong.is_empty(), "{wrong}");
}
