//! BARS' table of SSH: what Weir costs beside a direct connection and `ssh -J`, and what it must never lose.
//!
//! Everything is on: the default bundle, the first-party plugins, recording. The host is in an environment where
//! the default bundle shows people secrets and does not record what they type; who measures masks and the record
//! of input is in a group for which it does neither.

mod correct;
mod files;
mod keys;
mod latency;
mod master;
mod process;
mod stand;
mod throughput;

use std::time::Instant;

use anyhow::{Context, Result, bail};
use weir_tests::paths;

use super::report::median;
use super::table::Table;
use crate::deps;
use stand::Stand;

/// How much of what.
#[derive(Debug, Clone, Copy)]
struct Effort {
    rounds: usize,
    /// Of one transfer that is timed.
    mib: u64,
    connections: usize,
    /// Keystrokes for each way.
    keys: usize,
    sessions: usize,
    exits: usize,
    transfers: usize,
    /// Each way.
    gib: u64,
}

const FULL: Effort = Effort {
    rounds: 5,
    mib: 1024,
    connections: 50,
    keys: 1_000,
    sessions: 200,
    exits: 10_000,
    transfers: 1_000,
    gib: 10,
};
/// Shows that everything runs; its figures are not to be quoted.
const QUICK: Effort = Effort {
    rounds: 1,
    mib: 64,
    connections: 5,
    keys: 50,
    sessions: 10,
    exits: 100,
    transfers: 10,
    gib: 1,
};

type Row = fn(&Stand, &Effort, &mut Table) -> Result<()>;

/// What can be picked. Memory comes first: what others leave behind would serve the sessions.
const ROWS: &[(&str, &str, Row)] = &[
    ("idle", "memory of an idle session", latency::idle),
    (
        "throughput",
        "both ways, and gateway CPU",
        throughput::plain,
    ),
    ("masking", "what masks of text cost", throughput::masking),
    ("recording", "what the record costs", throughput::recording),
    ("files", "scp, which is hashed", files::scp),
    ("setup", "time of a connection", latency::setup),
    ("echo", "time of a keystroke", latency::echo),
    ("held", "neighbours of a channel that waits", latency::held),
    (
        "exits",
        "exit codes of multiplexed sessions",
        correct::exits,
    ),
    (
        "rekeys",
        "transfers both ways while keys change",
        correct::rekeys,
    ),
    ("bytes", "many GiB, byte by byte", correct::bytes),
];

const COUNTS: &str =
    "--rounds, --mib, --connections, --keys, --sessions, --exits, --transfers, --gib";

struct Wanted {
    effort: Effort,
    quick: bool,
    rows: Vec<&'static (&'static str, &'static str, Row)>,
}

pub fn run(args: &[&str]) -> Result<()> {
    if args.contains(&"--list") {
        return list();
    }
    let (hold, args) = match args {
        ["hold"] => (true, &[][..]),
        args => (false, args),
    };
    let wanted = wanted(args)?;
    super::prepare(&paths::root(), deps::BENCH_SSH)?;
    let stand = Stand::start(wanted.effort.mib)?;
    if hold {
        stand.describe();
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        return Ok(());
    }
    let mut table = Table::new(&["direct", "ssh -J", "weir"]);
    let mut loads = String::new();
    let mut failed = None;
    for (name, what, row) in wanted.rows {
        let (before, begin) = (load(), Instant::now());
        eprintln!("{name}: {what}; load {before}");
        stand.renew()?;
        // What was measured before is told whatever happens.
        if let Err(error) = row(&stand, &wanted.effort, &mut table) {
            eprintln!("{name}: {error:#}");
            table.said(name, "it could not be measured", "", "failed");
            failed = Some(error.context(*name));
        }
        let took = begin.elapsed().as_secs();
        loads += &format!("{name}: load {before} before, {} after {took} s\n", load());
    }
    println!("{}", text(&wanted.effort, wanted.quick, &table, &loads));
    failed.map_or(Ok(()), Err)
}

fn wanted(args: &[&str]) -> Result<Wanted> {
    let quick = args.contains(&"--quick");
    let mut effort = if quick { QUICK } else { FULL };
    let mut rows = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let Some(name) = arg.strip_prefix("--") else {
            let known = ROWS.iter().find(|(row, ..)| row == arg);
            rows.push(known.with_context(|| format!("no row {arg:?}: see --list"))?);
            continue;
        };
        if name == "quick" {
            continue;
        }
        let number = rest.next().and_then(|n| n.parse::<u64>().ok());
        let n = number.filter(|n| *n > 0);
        let n = n.with_context(|| format!("--{name} needs a number above 0"))?;
        let count = usize::try_from(n)?;
        match name {
            "rounds" => effort.rounds = count,
            "mib" => effort.mib = n,
            "connections" => effort.connections = count,
            "keys" => effort.keys = count,
            "sessions" => effort.sessions = count,
            "exits" => effort.exits = count,
            "transfers" => effort.transfers = count,
            "gib" => effort.gib = n,
            other => bail!("bench ssh does not know --{other}: --quick, --list, {COUNTS}"),
        }
    }
    if rows.is_empty() {
        rows = ROWS.iter().collect();
    }
    Ok(Wanted {
        effort,
        quick,
        rows,
    })
}

fn list() -> Result<()> {
    println!("rows:");
    for (name, what, _) in ROWS {
        println!("  {name:12}{what}");
    }
    println!("counts, with what they are by default:\n  {FULL:?}\n  with --quick: {QUICK:?}");
    println!("`hold` instead of rows: start everything and wait, for a profiler");
    Ok(())
}

fn text(effort: &Effort, quick: bool, table: &Table, loads: &str) -> String {
    let mut text = format!(
        "SSH: medians of {} rounds, ratios within a round; peers take turns; aes256-gcm and curve25519 on every \
         leg; policy, plugins and recording are on. CPU is Weir's, with what it does behind a transfer.\n",
        effort.rounds
    );
    if quick || effort.rounds < FULL.rounds {
        text.push_str("A SHORT RUN: too few rounds to quote.\n");
    }
    format!("{text}\n{}\n{loads}", table.text())
}

/// Of the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// Of pairs, what `figure` makes of each.
fn medians<const N: usize>(rounds: &[[f64; N]], figure: impl Fn(&[f64; N]) -> f64) -> Option<f64> {
    median(rounds.iter().map(figure).collect())
}

/// The value below which this share of them lies.
fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    sorted.get((share * last as f64).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_counts_are_picked() {
        let all = wanted(&[]).unwrap();
        assert_eq!((all.rows.len(), all.effort.exits), (ROWS.len(), 10_000));
        let some = wanted(&["echo", "--keys", "7", "--quick"]).unwrap();
        assert_eq!((some.rows.len(), some.effort.keys), (1, 7));
        assert_eq!(some.effort.exits, QUICK.exits);
        for wrong in [
            &["nothing"][..],
            &["--keys"],
            &["--keys", "0"],
            &["--x", "1"],
        ] {
            assert!(wanted(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn quantiles() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(50.0));
        assert_eq!(quantile(&values, 0.99), Some(99.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
