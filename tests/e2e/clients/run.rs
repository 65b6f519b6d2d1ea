//! Running one client once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use weir_tests::paths;
use weir_tests::postgres::input;
use weir_tests::proc::Scratch;

use super::stage::{Place, Way};

/// A client that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(100);

pub struct Client {
    pub name: &'static str,
    pub program: Program,
    pub can: Can,
    /// Not `Way::Direct`.
    pub way: Way,
}

/// Which checks a client has a way to do.
#[derive(Clone, Copy)]
pub enum Can {
    All,
    AllBut(&'static [&'static str]),
    Only(&'static [&'static str]),
}

impl Can {
    pub fn does(self, check: &str) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(not) => !not.contains(&check),
            Self::Only(these) => these.contains(&check),
        }
    }
}

pub enum Program {
    /// A script of `tests/clients/python`, and its arguments.
    Python(&'static str, &'static [&'static str]),
    /// One of `tests/clients/node`.
    Node(&'static str),
    /// One of `tests/clients/java`, compiled as it is run.
    Java(&'static str),
    /// A module here.
    Rust(fn(&Place) -> Report),
}

/// What a client saw.
#[derive(Debug, Default)]
pub struct Report {
    pub version: String,
    pub checks: BTreeMap<String, Vec<String>>,
    /// It came to its end.
    pub complete: bool,
    /// What else it printed.
    pub noise: String,
    pub took: Duration,
}

impl Report {
    fn parse(text: &str) -> Self {
        let mut report = Self::default();
        let mut check = None;
        for line in text.lines() {
            if let Some(version) = line.strip_prefix("@version ") {
                report.version = version.trim().into();
            } else if let Some(name) = line.strip_prefix("@check ") {
                check = Some(report.checks.entry(name.trim().into()).or_default());
            } else if line == "@end" {
                report.complete = true;
            } else if let Some(lines) = check.as_mut() {
                lines.push(line.trim_end().to_owned());
            } else {
                report.noise.push_str(line);
            }
        }
        report
    }
}

pub fn run(client: &Client, place: &Place) -> Report {
    let started = Instant::now();
    let mut report = match client.program {
        Program::Python(script, args) => {
            let mut command = Command::new(paths::venv().join("bin/python"));
            command.arg(clients().join("python").join(script));
            command.args(args);
            script_output(command, place)
        }
        Program::Node(script) => {
            let mut command = Command::new("node");
            command
                .arg(clients().join("node").join(script))
                .env("NODE_PATH", paths::npm("clients").join("node_modules"));
            script_output(command, place)
        }
        Program::Java(script) => {
            let mut command = Command::new("java");
            command
                .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
                .arg(paths::jdbc().expect("JDBC: run `cargo xtask deps`"))
                .arg(clients().join("java").join(script));
            script_output(command, place)
        }
        Program::Rust(run) => run(place),
    };
    // Each has a database of its own.
    for line in report.checks.values_mut().flatten() {
        *line = line.replace(&place.database, "DATABASE");
    }
    report.took = started.elapsed();
    report
}

fn clients() -> PathBuf {
    paths::root().join("tests/clients")
}

/// What every script is told.
fn tell(command: &mut Command, place: &Place) {
    command
        .env("WEIR_HOST", "127.0.0.1")
        .env("WEIR_PORT", place.port.to_string())
        .env("WEIR_USER", &place.user)
        .env("WEIR_PASSWORD", &place.password)
        .env("WEIR_DATABASE", &place.database)
        .env("WEIR_CA", &place.ca)
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1");
}

fn script_output(mut command: Command, place: &Place) -> Report {
    tell(&mut command, place);
    let (text, noise) = output(command);
    let mut report = Report::parse(&text);
    report.noise.push_str(&noise);
    report
}

/// Standard output and standard error, by way of files: no pipe can fill up. A program that does not
/// end is ended.
pub fn output(mut command: Command) -> (String, String) {
    let scratch = Scratch::new("client").unwrap();
    let file = |name: &str| std::fs::File::create(scratch.join(name)).unwrap();
    command
        .stdin(input("").unwrap())
        .stdout(Stdio::from(file("out")))
        .stderr(Stdio::from(file("err")));
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.to_string();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            break format!("did not end within {LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let read = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut noise = read(&scratch.join("err"));
    if status != "exit status: 0" {
        noise.push_str(&format!("\n{status}"));
    }
    (read(&scratch.join("out")), noise)
}
