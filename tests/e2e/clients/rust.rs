//! What the Rust clients of the matrix share: they run in this process, and print into a report.

use std::future::Future;
use std::time::Duration;

use anyhow::Result;

use super::run::Report;

/// What runs until it is cancelled.
pub const LONG: &str = "SELECT count(*) FROM generate_series(1, 20000000000)";
/// How long a client waits before it cancels.
pub const PATIENCE: Duration = Duration::from_secs(1);
pub const MASKED: &str =
    "SELECT id, ssn, email, card FROM customers WHERE id > $1::int4 ORDER BY id";

/// What waits for somebody else.
pub fn held(id: &str, decision: &str) -> String {
    format!("UPDATE accounts SET balance = balance + 1 WHERE id = {id} /* {decision} */")
}

/// One check's lines.
#[derive(Debug, Default)]
pub struct Saw(pub Vec<String>);

impl Saw {
    pub fn say(&mut self, line: impl std::fmt::Display) {
        self.0.push(line.to_string().trim_end().to_owned());
    }

    /// A value as it came over the wire.
    pub fn value(bytes: Option<&[u8]>) -> String {
        match bytes {
            Some(bytes) => format!("\"{}\"", bytes.escape_ascii()),
            None => "NULL".into(),
        }
    }

    pub fn failed(&mut self, sqlstate: &str, text: &str) {
        let reason = if text.contains("not today") {
            "reason"
        } else {
            ""
        };
        self.say(format!("error {sqlstate} {reason}"));
    }
}

/// Runs checks one by one on a runtime of their own.
pub struct Bench {
    runtime: tokio::runtime::Runtime,
    pub report: Report,
}

impl Bench {
    pub fn new(version: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let report = Report {
            version: version.into(),
            ..Report::default()
        };
        Self { runtime, report }
    }

    pub fn check<F: Future<Output = Result<Saw>>>(&mut self, name: &str, run: impl FnOnce() -> F) {
        let only = std::env::var("WEIR_CHECK").ok();
        if only.is_some_and(|o| !o.split(',').any(|c| c == name)) {
            return;
        }
        let limit = Duration::from_secs(60);
        let saw = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, run()).await });
        let lines = match saw {
            Ok(Ok(saw)) => saw.0,
            Ok(Err(error)) => vec![format!("UNEXPECTED {error:#}")],
            Err(_) => vec![format!("UNEXPECTED: not within {limit:?}")],
        };
        self.report.checks.insert(name.into(), lines);
    }

    pub fn end(mut self) -> Report {
        self.report.complete = true;
        self.report
    }
}

/// The version of a package that this is built with.
pub fn locked(package: &str) -> String {
    let lock = std::fs::read_to_string(weir_tests::paths::root().join("Cargo.lock")).unwrap();
    let mut lines = lock.lines();
    let name = format!("name = \"{package}\"");
    lines.by_ref().find(|line| *line == name);
    let version = lines.next().unwrap_or_default();
    version.trim_start_matches("version = ").replace('"', "")
}
