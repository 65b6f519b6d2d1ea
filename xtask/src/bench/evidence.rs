//! BARS' table of evidence: what it costs to keep it, that no crash loses any, and how long it takes to
//! check it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use weir_tests::paths;

use super::report::median;
use super::table::{Goal, Table};
use crate::{deps, sh, test};

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// In each, the bare loop and the recorder take turns.
    pub rounds: usize,
    pub seconds: u64,
    pub crashes: u32,
    pub leaves: u64,
}

pub const FULL: Effort = Effort {
    rounds: 5,
    seconds: 5,
    crashes: 1_000,
    leaves: 1_000_000,
};
/// Shows that everything runs; its figures are not to be quoted.
pub const QUICK: Effort = Effort {
    rounds: 1,
    seconds: 2,
    crashes: 10,
    leaves: 20_000,
};

/// Sessions that record at the same time.
const SESSIONS: &str = "64";

pub fn run(root: &Path, effort: Effort) -> Result<()> {
    deps::ensure(&[deps::CC])?;
    let example = ["--example", "commit_rate"];
    let args = ["build", "--locked", "--release", "-p", "recorder"];
    sh::run(sh::cargo(root, &[&args[..], &example].concat()))?;
    let example = paths::target().join("release/examples/commit_rate");
    let mut rounds = Vec::new();
    for round in 1..=effort.rounds {
        eprintln!("  round {round} of {}", effort.rounds);
        let mut command = Command::new(&example);
        command.args([SESSIONS, &effort.seconds.to_string()]);
        // On the disk that is built on: a directory for temporary files can be in memory.
        command.arg(paths::target());
        rounds.push(Round::read(&sh::read(command)?)?);
    }
    let week = Week::read(&test::week_said(root, effort.leaves)?)?;
    let crashed = test::crash(root, effort.crashes);
    println!("{}", table(effort, &rounds, &week, crashed.is_ok()));
    crashed
}

fn table(effort: Effort, rounds: &[Round], week: &Week, survived: bool) -> String {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let ratio = |figure: fn(&Round) -> [f64; 2]| {
        let ratio = |r: &Round| {
            let [peer, ours] = figure(r);
            ours / peer
        };
        median(rounds.iter().map(ratio).collect())
    };
    let mut t = Table::new(&["peer", "weir"]);
    t.line(
        "durable intents/s, 64 sessions; a bare loop of group commits",
        [of(|r| r.bare), of(|r| r.intents)],
        ratio(|r| [r.bare, r.intents]),
        &Goal::AtLeast(0.9),
    );
    t.line(
        "CPU to record a streamed MB, µs; SHA-256 and zstd -1 alone",
        [of(|r| r.hash_and_zstd), of(|r| r.stream)],
        ratio(|r| [r.hash_and_zstd, r.stream]),
        &Goal::AtMost(1.5),
    );
    let verdict = if survived { "met" } else { "missed" };
    let what = format!("kill -9 under load, {} times", effort.crashes);
    let said = if survived {
        "0 lost, 0 invented"
    } else {
        "failed"
    };
    t.said(&what, said, "0 lost", verdict);
    let report = |t: &mut Table, what: &str, seconds: f64| {
        t.line(what, [Some(seconds)], None, &Goal::Report);
    };
    report(
        &mut t,
        &format!("verify {} leaves offline, s", week.leaves),
        week.verified,
    );
    let what = "execute their decisions again, s";
    report(&mut t, what, week.executed);
    let what = "try another bundle on them, s";
    report(&mut t, what, week.tried);

    let mut text = format!("Evidence: medians of {} rounds\n", effort.rounds);
    if effort.rounds < FULL.rounds || effort.leaves < FULL.leaves {
        text.push_str("A SHORT RUN: too little to quote.\n");
    }
    text + "\n" + &t.text()
}

/// What the example `commit_rate` prints: a name and a number per line.
#[derive(Debug, Clone, Copy)]
struct Round {
    bare: f64,
    intents: f64,
    stream: f64,
    hash_and_zstd: f64,
}

impl Round {
    fn read(said: &str) -> Result<Self> {
        let figure = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.trim().parse::<f64>().ok());
            let number = number.filter(|n| *n > 0.0);
            number.with_context(|| format!("the example `commit_rate` gives no {name:?}:\n{said}"))
        };
        Ok(Self {
            bare: figure("bare_per_second ")?,
            intents: figure("recorder_per_second ")?,
            stream: figure("stream_cpu_us_per_mb ")?,
            hash_and_zstd: figure("sha256_and_zstd1_us_per_mb ")?,
        })
    }
}

/// Seconds that the simulated week prints.
#[derive(Debug)]
struct Week {
    leaves: u64,
    verified: f64,
    executed: f64,
    tried: f64,
}

impl Week {
    fn read(said: &str) -> Result<Self> {
        let told = |part: &str| {
            let mut lines = said.lines().filter_map(|line| line.strip_prefix("week: "));
            let line = lines.find(|line| line.contains(part));
            line.with_context(|| format!("the week does not say what was {part:?}:\n{said}"))
        };
        let seconds = |line: &str| {
            let number = line.strip_suffix(" s").and_then(|l| l.rsplit(' ').next());
            let number = number.and_then(|n| n.parse::<f64>().ok());
            number.with_context(|| format!("no seconds in {line:?}"))
        };
        let verified = told("verified")?;
        let Some(Ok(leaves)) = verified.split(' ').next().map(str::parse) else {
            bail!("no leaves in {verified:?}");
        };
        Ok(Self {
            leaves,
            verified: seconds(verified)?,
            executed: seconds(told("executed again")?)?,
            tried: seconds(told("tried with")?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: &str = "running 1 test\nweek: written in 100.0 s\n\
         week: 1000027 leaves of 17094 sessions verified in 12.5 s\n\
         week: 769230 decisions executed again in 30.0 s\n\
         week: 769230 requests tried with another bundle in 31.5 s\ntest result: ok.";

    #[test]
    fn what_was_printed_is_read() {
        let week = Week::read(WEEK).unwrap();
        assert_eq!((week.leaves, week.verified), (1_000_027, 12.5));
        assert_eq!((week.executed, week.tried), (30.0, 31.5));
        assert!(Week::read(&WEEK.replace("executed", "left")).is_err());
        assert!(Week::read(&WEEK.replace("12.5 s", "12.5")).is_err());
        assert!(Round::read("bare_per_second 10\n").is_err());
    }

    #[test]
    fn a_goal_that_is_missed_says_so() {
        let said = |intents: u32| {
            let round = Round::read(&format!(
                "bare_per_second 100\nrecorder_per_second {intents}\n\
                 stream_cpu_us_per_mb 3\nsha256_and_zstd1_us_per_mb 2\n"
            ));
            table(FULL, &[round.unwrap()], &Week::read(WEEK).unwrap(), false)
        };
        let line = |text: &str, start: &str| {
            let mut lines = text.lines().filter(|l| l.starts_with(start));
            lines.next().unwrap().to_owned()
        };
        for (intents, verdict) in [(89, "missed"), (91, "met")] {
            let line = line(&said(intents), "| durable intents");
            assert!(line.contains(verdict), "{line}");
        }
        assert!(line(&said(91), "| CPU").contains("1.50×"));
        assert!(line(&said(91), "| kill").contains("missed"));
    }
}
