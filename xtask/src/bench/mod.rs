//! `cargo xtask bench`: what Weir costs, beside its peers, in one run.
//!
//! Every figure is a median over rounds in which the peers take turns, so that whatever else the
//! machine does hits all of them alike. Everything is on: TLS on both legs, recording, policy, the
//! first-party plugins. A row that this build cannot measure yet says so.

mod bulk;
mod evidence;
mod pgbench;
mod report;
mod ssh;
mod stand;
mod table;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use weir_tests::paths;

use crate::{build_plugins, deps, sh};
use report::Report;
use stand::Stand;

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Of one run of pgbench.
    pub seconds: u64,
    /// Rows of one bulk transfer.
    pub rows: u64,
    /// Sessions that are to be opened to see what an idle one weighs.
    pub idle: usize,
}

const FULL: Effort = Effort {
    rounds: 5,
    seconds: 4,
    rows: 1_000_000,
    idle: report::IDLE_OF_BARS,
};
/// Shows that everything runs; its figures are not to be quoted.
const QUICK: Effort = Effort {
    rounds: 1,
    seconds: 3,
    rows: 200_000,
    idle: 100,
};

pub fn run(args: &[&str]) -> Result<()> {
    if let ["ssh", rest @ ..] = args {
        return ssh::run(rest);
    }
    let mut effort = FULL;
    let mut quick = false;
    let mut rounds = None;
    let mut rest = args.iter();
    let mut hold = false;
    let mut only_evidence = false;
    while let Some(arg) = rest.next() {
        match *arg {
            "pg" => {}
            "evidence" => only_evidence = true,
            // For a profiler, or to measure one thing by hand.
            "hold" => hold = true,
            "--quick" => {
                effort = QUICK;
                quick = true;
            }
            "--rounds" => {
                let n = rest.next().context("--rounds needs a number")?;
                rounds = Some(n.parse().context("--rounds needs a number")?);
            }
            other => {
                bail!("bench does not know {other:?}: pg, evidence, ssh, hold, --quick, --rounds N")
            }
        }
    }
    let root = paths::root();
    if only_evidence {
        let effort = if quick {
            evidence::QUICK
        } else {
            evidence::FULL
        };
        let rounds = rounds.unwrap_or(effort.rounds).max(1);
        return evidence::run(&root, evidence::Effort { rounds, ..effort });
    }
    effort.rounds = rounds.unwrap_or(effort.rounds).max(1);
    prepare(&root, deps::BENCH)?;
    if hold {
        return stand(effort);
    }
    postgres(effort, quick)
}

/// What is measured, and what it is measured against.
fn prepare(root: &Path, needs: &[deps::Need]) -> Result<()> {
    deps::ensure(needs)?;
    build_plugins(root)?;
    // A binary that is named is measured as it is.
    if std::env::var_os("WEIR_BIN").is_none() {
        sh::run(sh::cargo(
            root,
            &["build", "--locked", "--release", "-p", "server"],
        ))?;
    }
    Ok(())
}

/// What one decision takes, cold and repeated: the example prints a name and a number per line.
fn decision() -> Result<[f64; 2]> {
    let root = paths::root();
    let args = ["build", "--locked", "--release", "-p", "server"];
    let args = [&args[..], &["--example", "decision"]].concat();
    sh::run(sh::cargo(&root, &args))?;
    let example = paths::target().join("release/examples/decision");
    let out = Command::new(example).arg(paths::plugins()).output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    let figure = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim().parse::<f64>().ok());
        number.with_context(|| format!("the example `decision` gives no {name:?}:\n{said}"))
    };
    let repeated = figure("classify_repeated ")? + figure("policy_repeated ")?;
    Ok([figure("cold ")?, repeated])
}

/// Starts the peers, says how to reach them, and waits until the standard input ends.
fn stand(effort: Effort) -> Result<()> {
    let stand = Stand::start(effort.rows)?;
    for (name, peer) in stand.all() {
        println!(
            "{name}: pid={} PGSSLMODE=require PGHOST=127.0.0.1 PGPORT={} PGUSER={} \
             PGDATABASE={} PGPASSWORD='{}'",
            peer.pid.unwrap_or_default(),
            peer.port,
            peer.user,
            stand::DATABASE,
            peer.password
        );
    }
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

fn postgres(effort: Effort, quick: bool) -> Result<()> {
    let stand = Stand::start(effort.rows)?;
    let mut report = Report::default();

    // First: memory that rows and statements have left behind would serve the sessions, and they
    // would seem to need none.
    eprintln!("idle sessions: {} at most", effort.idle);
    report.idle(bulk::idle(&stand.weir(), effort.idle)?);
    eprintln!(
        "statements: {} rounds of {} s each",
        effort.rounds, effort.seconds
    );
    for round in 0..effort.rounds {
        eprintln!("  round {} of {}", round + 1, effort.rounds);
        for mode in ["simple", "prepared"] {
            for clients in [1, 8, 32] {
                for peer in stand.peers().iter().chain([&stand.weir_os()]) {
                    let run = pgbench::run(peer, mode, clients, effort.seconds)?;
                    report.statements(peer.name, mode, clients, &run);
                }
            }
        }
        for peer in [&stand.direct_scram(), &stand.weir()] {
            report.connections(peer.name, pgbench::connect(peer, effort.seconds)?);
        }
    }
    eprintln!(
        "rows: {} rounds of {} rows each",
        effort.rounds, effort.rows
    );
    for _ in 0..effort.rounds {
        for peer in &stand.peers() {
            report.rows(
                peer.name,
                "unmasked",
                bulk::rows(peer, "SELECT * FROM wide")?,
            );
        }
        report.rows(
            "weir",
            "masked",
            bulk::rows(&stand.weir_masked(), "SELECT * FROM wide")?,
        );
        // Every text column is looked at, so the difference of these is what two of them cost.
        let plain = "SELECT id, c, d, e FROM wide_text";
        let text = "SELECT id, c, d, e, note, remark FROM wide_text";
        for (what, peer, sql) in [
            ("without text", stand.weir_masked(), plain),
            ("detect", stand.weir_masked(), text),
            ("inspect", stand.weir_inspect(), text),
        ] {
            report.rows("weir", what, bulk::rows(&peer, sql)?);
        }
    }
    report.huge(bulk::huge(&stand.weir())?);
    report.decision(decision()?);
    std::thread::sleep(Duration::from_millis(200));
    println!("{}", report.table(effort, quick));
    Ok(())
}
