//! `cargo xtask`: what the project does to itself. Build plugins, run the tests, show the demo,
//! measure, and make what is shipped.
//!
//! Place in the flow: none; nothing that is shipped depends on it.
//!
//! Architecture invariants:
//! - It compiles in seconds, so it depends on next to nothing.
//! - Whatever a command needs from the machine it installs by itself, through package managers.

mod bench;
mod demo;
mod deny;
mod deps;
mod dist;
mod fuzz;
mod plugins;
mod regress;
mod seeds;
mod sh;
mod stores;
mod test;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use weir_tests::paths;

const USAGE: &str = "\
usage: cargo xtask <command>

  demo            install what is missing, start everything, show every promise, clean up
  test [FILTER]   plugins, all tests, policy checks, a short run of every fuzz target
  clients         every client direct and through Weir, as a matrix: [--write] its versions
  lint            format and clippy, warnings are errors
  plugins [--all] build the first-party plugins into target/plugins; --all: those of tests, too
  bench [pg]      measure against direct and pgbouncer: [--quick] [--rounds N]
  bench evidence  what the record costs, what crashes do to it, how long it takes to verify: [--quick]
  bench ssh [ROW …]
                  measure against direct and `ssh -J`: [--quick] [--list], and how much of what: see --list
  bench hold      start what `bench` measures and wait, for a profiler
  regress [TEST]  PostgreSQL's regression suite through Weir: [--direct] [--bundle DIR]
  noninterference [--count N] [--seed S]
                  so many generated queries to two databases that differ in labelled values only
  crash [ROUNDS]  kills the recorder so many times (1,000) under load; nothing is lost, nothing invented
  week [LEAVES]   a simulated week of a million leaves: written, verified, every decision executed again,
                  and tried with a bundle that differs in planted ways; tells the seconds
  stores [--minutes N] [STORE …]
                  the recorder against moto, s3s-fs and ceph, with faults, and an outage so long
  dist            a static binary, plugins and the default bundle, in target/dist
  fuzz [SECONDS]  every fuzz target for so long
  deny            licences, bans, sources, withdrawn crates, advisories where they can be fetched;
                  --advisories: fail where they cannot
  deps            install what is missing on this machine
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    let root = paths::root();
    match args {
        ["demo"] => demo::run(),
        ["test", rest @ ..] => test::run(&root, rest),
        ["plugins", "--all"] => {
            deps::ensure(&[deps::WASM])?;
            build_plugins(&root)?;
            plugins::build_test_only(&root, &paths::plugins()).map(drop)
        }
        ["clients", rest @ ..] => test::clients(&root, rest),
        ["lint"] => test::lint(&root),
        ["plugins"] => {
            deps::ensure(&[deps::WASM])?;
            build_plugins(&root)
        }
        ["bench", rest @ ..] => bench::run(rest),
        ["regress", rest @ ..] => regress::run(rest),
        ["noninterference", rest @ ..] => test::non_interference(&root, rest),
        ["crash"] => test::crash(&root, 1000),
        ["crash", rounds] => test::crash(&root, rounds.parse().context("how many rounds?")?),
        ["week"] => test::week(&root, 1_000_000),
        ["week", leaves] => test::week(&root, leaves.parse().context("how many leaves?")?),
        ["stores", rest @ ..] => stores::run(rest),
        ["dist"] => dist::run(&root),
        ["fuzz"] => fuzz::run(&root, 20, None),
        ["fuzz", seconds] => fuzz::run(&root, seconds.parse().context("how many seconds?")?, None),
        ["deny", rest @ ..] => deny::run(&root, rest),
        ["deps"] => deps::ensure(deps::ALL),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("no such command: {}\n\n{USAGE}", other.join(" ")),
    }
}

/// Builds the first-party plugins to where tests, the demo and `dist` look for them.
fn build_plugins(root: &Path) -> Result<()> {
    let out = paths::plugins();
    let built = plugins::build(root, &out)?;
    for path in built {
        println!("built {}", path.display());
    }
    Ok(())
}
