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

/// A way through Weir, and what is different on it.
#[derive(Clone, Copy)]
struct Through<'a> {
    how: &'static str,
    way: &'a Way,
    /// The cases that are tried on it; all, if none are named.
    only: &'a [&'a str],
    /// Of a case, what it says there on purpose in the place of what it says directly.
    instead: &'a [(&'a str, &'a str, &'a str)],
}

impl<'a> Through<'a> {
    fn of(way: &'a Way) -> Self {
        Self {
            how: "through Weir",
            way,
            only: &[],
            instead: &[],
        }
    }

    fn tries(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.contains(&name)
    }

    fn means(&self, name: &str, mut seen: String) -> String {
        for (_, here, there) in self.instead.iter().filter(|(case, ..)| *case == name) {
            seen = seen.replace(here, there);
        }
        seen
    }
}

/// Runs cases directly and on ways through Weir, each on all of them at the same time, and tells which were not the
/// same everywhere, or did not say what they must.
fn differing(direct: &Way, through: &[Through<'_>], cases: &[&Case]) -> String {
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let work = || {
        while let Some((name, script, wanted)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let timed = |way| {
                let started = Instant::now();
                (run(way, name, script), started.elapsed())
            };
            let ((there, alone), here) = std::thread::scope(|scope| {
                let spawn = |way| scope.spawn(move || timed(way));
                let there = spawn(direct);
                let tried = through.iter().filter(|one| one.tries(name));
                let here: Vec<_> = tried.map(|one| (one, spawn(one.way))).collect();
                let joined = here
                    .into_iter()
                    .map(|(one, way)| (one, way.join().unwrap()));
                (there.join().unwrap(), joined.collect::<Vec<_>>())
            });
            for (one, (here, took)) in here {
                let (how, here) = (one.how, one.means(name, here));
                println!("{name}: {alone:.1?} direct, {took:.1?} {how}");
                if there != here || there.starts_with(TOOK_TOO_LONG) || !says(&there, wanted) {
                    let both =
                        format!("--- must say\n{wanted}\n--- direct\n{there}\n--- {how}\n{here}");
                    wrong.lock().unwrap().push(format!("{name}\n{both}"));
                }
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
    assert_eq!(differing(&one, &[Through::of(&other)], &[&good]), "");
    let bad: [&Case; 4] = [
        &("missing", "no-such-client 2>&1; echo done", "pong"),
        &("short", "echo first", "first\nlast"),
        &("order", "echo last; echo first", "first\nlast"),
        &("expects-nothing", "echo first", ""),
    ];
    for case in bad {
        let wrong = differing(&one, &[Through::of(&other)], &[case]);
        assert!(wrong.starts_with(case.0), "{}: {wrong}", case.0);
    }
}

/// What is tried where nothing hangs on what is read, too: there commands go on as they came, and data as it is.
const UNREAD: &[&str] = &[
    "exit-codes",
    "streams-apart",
    "stdin",
    "half-close",
    "quoting",
    "up",
    "both-ways",
    "rekey",
    "eow",
    "tty",
    "script-tty",
    "shell-from-stdin",
    "killed",
    "scp-old",
    "sftp",
    "control-master",
    "neighbour",
    "local",
    "plink",
];

/// In 8 MiB of noise some of it looks like addresses, which are masked; see `policy::binary`, which counts them.
const MASKED: &[(&str, &str, &str)] = &[(
    "russh",
    "rekeyed: often true, same false",
    "rekeyed: often true, same true",
)];

/// Everything that stock clients do is the same through Weir, where everything is permitted, though commands are read
/// and output is masked.
#[test]
fn clients_see_the_same_through_weir() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let permitting = Rig::permitting("ssh-same").unwrap();
    let reading = Rig::reading("ssh-reads").unwrap();
    let direct = permitting.host.direct().unwrap();
    let permitted = permitting.way("alice", &["weir-permit-all"]).unwrap();
    let read = reading.way("alice", &["weir-permit-all"]).unwrap();
    // It is the way that it is said to be: read, and masked.
    let secret = "ghp_a8Kd02mNqLxT7vRz5WbYcE3hGjU1sPfO9iVt";
    let script = format!(
        "ssh -F $CFG box weir-e2e-none 2>&1 | grep -o 'refused.*: e2e'; ssh -F $CFG box 'echo {secret}'"
    );
    let seen = run(&read, "reads", &script);
    assert!(
        seen.contains("refused") && seen.contains("ghp_***"),
        "{seen}"
    );
    // Those that take longest come first.
    let mut cases = wanted(&[cases::CLIENTS, cases::CASES, cases::FORWARDS]);
    if !weir_tests::russh::there() {
        cases.retain(|case| case.0 != "russh");
    }
    let ways = [
        Through {
            how: "unread",
            only: UNREAD,
            ..Through::of(&permitted)
        },
        Through {
            instead: MASKED,
            ..Through::of(&read)
        },
    ];
    let wrong = differing(&direct, &ways, &cases);
    assert!(wrong.is_empty(), "{wrong}");
}
