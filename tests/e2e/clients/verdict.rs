//! What a client saw on both ways, compared.

use weir_tests::dataset::leaks;

use super::CHECKS;
use super::run::{self, Client, Report};
use super::stage::{Stage, Way};

/// How many lines of a difference are shown.
const SHOWN: usize = 6;

/// One line of the matrix.
pub struct Line {
    pub name: &'static str,
    pub version: String,
    /// A word for each check.
    pub cells: Vec<&'static str>,
    pub wrong: Vec<String>,
    pub seconds: (u64, u64),
}

pub fn of(client: &Client, stage: &Stage) -> Line {
    let superuser = client.way == Way::Open;
    let direct = run::run(client, &stage.place(client.name, Way::Direct, superuser));
    let weir = run::run(client, &stage.place(client.name, client.way, superuser));
    let mut line = Line {
        name: client.name,
        version: direct.version.clone(),
        cells: Vec::new(),
        wrong: Vec::new(),
        seconds: (direct.took.as_secs(), weir.took.as_secs()),
    };
    for (way, report) in [("direct", &direct), ("through Weir", &weir)] {
        if !report.complete {
            let name = client.name;
            let wrong = format!("{name} {way} did not come to its end: {}", report.noise);
            line.wrong.push(wrong);
        }
    }
    let only = std::env::var("WEIR_CHECK").ok();
    for &check in CHECKS {
        let left_out = only
            .as_ref()
            .is_some_and(|o| !o.split(',').any(|c| c == check));
        let cell = if left_out {
            Ok("")
        } else {
            cell(client, check, &direct, &weir)
        };
        line.cells.push(match cell {
            Ok(word) => word,
            Err(why) => {
                line.wrong.push(format!("{}, {check}: {why}", client.name));
                "WRONG"
            }
        });
    }
    let waited = ["approved", "denied", "cancelled"];
    let waited = waited.iter().filter(|c| weir.checks.contains_key(**c));
    let (waited, held) = (waited.count(), stage.held(client.name));
    if held < waited {
        line.wrong
            .push(format!("{}: only {held} statements were held", client.name));
    }
    line
}

fn cell(
    client: &Client,
    check: &str,
    direct: &Report,
    weir: &Report,
) -> Result<&'static str, String> {
    let unable = !client.can.does(check);
    let (direct, weir) = match (direct.checks.get(check), weir.checks.get(check)) {
        (None, None) if unable => return Ok("-"),
        (Some(_), _) | (_, Some(_)) if unable => {
            return Err("it can do what the table says it cannot".into());
        }
        (Some(direct), Some(weir)) => (direct, weir),
        (direct, weir) => {
            let saw = |lines: Option<_>| if lines.is_some() { "ran" } else { "did not" };
            return Err(format!(
                "direct it {}, through Weir {}",
                saw(direct),
                saw(weir)
            ));
        }
    };
    if direct.is_empty() {
        return Err("it saw nothing: that proves nothing".into());
    }
    if let Some(at) = direct.iter().position(|l| l.contains("UNEXPECTED")) {
        return Err(format!("direct, {}", show_from(direct, at)));
    }
    match check {
        "masked" => masked(direct, weir)?,
        "denied" => same(&instead(direct, "error 42501 reason")?, weir)?,
        "cancelled" => same(&instead(direct, "error 57014")?, weir)?,
        _ => same(direct, weir)?,
    }
    Ok("ok")
}

/// Nobody denies or can cancel what is not held: direct it ran.
fn instead(direct: &[String], error: &str) -> Result<Vec<String>, String> {
    if !direct.iter().all(|l| l == "ran" || l == "usable 1") {
        return Err(format!("direct, {}", show_from(direct, 0)));
    }
    let lines = direct.iter().map(|line| match line.as_str() {
        "ran" => error.to_owned(),
        other => other.to_owned(),
    });
    Ok(lines.collect())
}

fn same(direct: &[String], weir: &[String]) -> Result<(), String> {
    let differs = (0..direct.len().max(weir.len())).find(|&i| direct.get(i) != weir.get(i));
    match differs {
        None => Ok(()),
        Some(i) => Err(format!(
            "from line {i} on, direct:\n{}\nthrough Weir:\n{}",
            show_from(direct, i),
            show_from(weir, i)
        )),
    }
}

/// As many lines, each with planted values direct and none through Weir.
fn masked(direct: &[String], weir: &[String]) -> Result<(), String> {
    if direct.len() != weir.len() {
        return same(direct, weir);
    }
    for (i, (direct, weir)) in direct.iter().zip(weir).enumerate() {
        if leaks(direct.as_bytes()).is_none() {
            return Err(format!("line {i} shows nothing planted, direct: {direct}"));
        }
        if let Some(leak) = leaks(weir.as_bytes()) {
            return Err(format!("line {i} shows {leak}: {weir}"));
        }
        if !weir.contains("[redacted]") {
            return Err(format!("line {i} is not masked, but: {weir}"));
        }
    }
    Ok(())
}

fn show_from(lines: &[String], at: usize) -> String {
    let lines = lines.iter().skip(at).take(SHOWN);
    let cut = lines.map(|l| l.chars().take(1_500).collect::<String>());
    cut.collect::<Vec<_>>().join("\n")
}

/// Prints the matrix where it is seen: past the test harness, which keeps what a passing test prints.
pub fn show(lines: &[Line]) {
    use std::io::Write;
    let mut text = String::from("\nclient");
    let names = lines.iter().map(|l| l.name.len());
    let width = names.max().unwrap_or(0).max("client".len()) + 2;
    text.push_str(&" ".repeat(width.saturating_sub("client".len())));
    text.push_str(&CHECKS.join("  "));
    for line in lines {
        text.push_str(&format!("\n{:width$}", line.name));
        for (check, cell) in CHECKS.iter().zip(&line.cells) {
            text.push_str(&format!("{cell:w$}", w = check.len() + 2));
        }
        let (direct, weir) = line.seconds;
        text.push_str(&format!("{direct} s direct, {weir} s through Weir"));
    }
    text.push_str("\n(ok: the same direct and through Weir; -: the client has no way to do it)\n");
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// The versions that were tested, as README.md shows them. `WEIR_CLIENTS_WRITE` writes them there;
/// else those that the repository pins must be there.
pub fn document(lines: &[Line], pinned: impl Fn(&str) -> bool) {
    let readme = weir_tests::paths::root().join("tests/clients/README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let rows: Vec<(bool, String)> = lines
        .iter()
        .map(|l| (pinned(l.name), format!("| {} | {} |", l.name, l.version)))
        .collect();
    if std::env::var_os("WEIR_CLIENTS_WRITE").is_some() {
        let (before, rest) = text.split_once(FROM).expect("README.md has a mark");
        let (_, after) = rest.split_once(TO).expect("README.md has an end mark");
        let rows: Vec<String> = rows.into_iter().map(|(_, row)| row).collect();
        let table = format!("| client | version |\n| --- | --- |\n{}", rows.join("\n"));
        std::fs::write(&readme, format!("{before}{FROM}\n{table}\n{TO}{after}")).unwrap();
        return;
    }
    for (_, row) in rows.iter().filter(|(pinned, _)| *pinned) {
        assert!(
            text.contains(row),
            "tests/clients/README.md has no {row}: run `cargo xtask clients --write`"
        );
    }
}

const FROM: &str = "<!-- versions -->";
const TO: &str = "<!-- end -->";
