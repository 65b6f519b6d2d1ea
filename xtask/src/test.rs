//! `cargo xtask test`: everything that can be checked by running it.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use weir_tests::paths;

use crate::{build_plugins, demo, deps, dist, fuzz, plugins, sh};

/// How long each fuzz target runs, and where it starts.
const FUZZ_SECONDS: u64 = 20;
const FUZZ_SEED: u32 = 1;

/// One build serves all: `weir` is static, as it is shipped, and the crates' own tests share its
/// dependencies. So everything is compiled for a target that is named.
pub fn run(root: &Path, filter: &[&str]) -> Result<()> {
    let started = Instant::now();
    deps::ensure(deps::ALL)?;
    build_plugins(root)?;
    plugins::build_test_only(root, &paths::plugins())?;

    let host = dist::host();
    sh::run(cargo(
        root,
        &["build", "--locked", "-p", "server", "--target", &host],
    ))?;
    let weir = paths::target().join(&host).join("debug/weir");
    dist::assemble(root, &weir)?;

    let mut args = vec![
        "test",
        "--locked",
        "--workspace",
        "--no-fail-fast",
        "--target",
        &host,
    ];
    if !filter.is_empty() {
        args.push("--");
        args.extend(filter);
    }
    let mut test = cargo(root, &args);
    test.env("WEIR_BIN", &weir);
    forget_skipped()?;
    let tested = sh::run(test);
    let skipped = skipped();
    tested?;
    if !filter.is_empty() {
        return Ok(());
    }
    sh::run(sh::cmd(root, &weir.to_string_lossy(), &["policy", "check"]))?;
    for example in std::fs::read_dir(root.join("policies/examples"))? {
        let example = example?.path();
        let args = ["policy", "check", &example.to_string_lossy()];
        sh::run(sh::cmd(root, &weir.to_string_lossy(), &args))?;
    }
    demo::show(&weir)?;
    fuzz::run(root, FUZZ_SECONDS, Some(FUZZ_SEED))?;
    let seconds = started.elapsed().as_secs();
    match skipped {
        0 => println!("cargo xtask test: everything passed in {seconds} s"),
        n => println!("cargo xtask test: passed in {seconds} s, but {n} skipped, see above"),
    }
    Ok(())
}

/// The client matrix alone.
pub fn clients(root: &Path, args: &[&str]) -> Result<()> {
    let write = match args {
        [] => false,
        ["--write"] => true,
        other => bail!("clients does not know {}: --write", other.join(" ")),
    };
    let mut test = end_to_end(root, &["clients::every_client"])?;
    if write {
        test.env("WEIR_CLIENTS_WRITE", "1");
    }
    sh::run(test)
}

/// The end-to-end test of that name, longer or with another seed.
pub fn non_interference(root: &Path, args: &[&str]) -> Result<()> {
    let mut test = end_to_end(root, &["noninterference::labelled", "--nocapture"])?;
    for pair in args.chunks(2) {
        let (name, value) = match pair {
            ["--count", n] => ("WEIR_NONINTERFERENCE", n),
            ["--seed", n] => ("WEIR_NONINTERFERENCE_SEED", n),
            other => bail!("{}: --count N and --seed S are known", other.join(" ")),
        };
        let number: u64 = value
            .parse()
            .with_context(|| format!("{value} is no number"))?;
        test.env(name, number.to_string());
    }
    sh::run(test)
}

/// The crash test of the recorder, with so many rounds.
pub fn crash(root: &Path, rounds: u32) -> Result<()> {
    let test = [
        "test",
        "--locked",
        "-p",
        "recorder",
        "kill_9",
        "--",
        "--nocapture",
    ];
    let mut test = sh::cargo(root, &test);
    test.env("WEIR_RECORDER_CRASH_ROUNDS", rounds.to_string());
    sh::run(test)
}

/// A simulated week of traffic, with at least so many leaves. Optimized: it tells how long things take.
pub fn week(root: &Path, leaves: u64) -> Result<()> {
    sh::run(simulated_week(root, leaves)?)
}

/// The same, and what it has said.
pub fn week_said(root: &Path, leaves: u64) -> Result<String> {
    sh::read(simulated_week(root, leaves)?)
}

fn simulated_week(root: &Path, leaves: u64) -> Result<Command> {
    deps::ensure(&[deps::WASM])?;
    let test = [
        "test",
        "--locked",
        "--release",
        "-p",
        "rerun",
        "a_week_of_traffic",
        "--",
        "--nocapture",
    ];
    let mut test = sh::cargo(root, &test);
    test.env("WEIR_WEEK_LEAVES", leaves.to_string());
    Ok(test)
}

/// Some end-to-end tests, once what they need is there.
fn end_to_end(root: &Path, filter: &[&str]) -> Result<Command> {
    deps::ensure(deps::ALL)?;
    build_plugins(root)?;
    sh::run(sh::cargo(root, &["build", "--locked", "-p", "server"]))?;
    let test = [
        "test",
        "--locked",
        "-p",
        "weir-tests",
        "--test",
        "e2e",
        "--",
    ];
    Ok(sh::cargo(root, &[&test[..], filter].concat()))
}

fn forget_skipped() -> Result<()> {
    match std::fs::remove_file(paths::skipped()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

/// Shows what the tests could not test on this machine; how many that were.
fn skipped() -> usize {
    let skipped = std::fs::read_to_string(paths::skipped()).unwrap_or_default();
    for why in skipped.lines() {
        println!("SKIPPED: {why}");
    }
    skipped.lines().count()
}

/// Formatting and clippy. Compiled like the tests, so that C libraries are built once for both.
pub fn lint(root: &Path) -> Result<()> {
    deps::ensure(deps::BUILD)?;
    sh::run(sh::cargo(root, &["fmt", "--all", "--check"]))?;
    sh::run(deps::russh::cargo(&["fmt", "--check"]))?;
    let host = dist::host();
    let args = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--target",
        &host,
    ];
    let mut clippy = cargo(root, &args);
    clippy.args(["--", "-D", "warnings"]);
    sh::run(clippy)?;
    let args = ["clippy", "--locked", "--target", &host];
    let warnings = ["--", "-D", "warnings"];
    sh::run(deps::russh::cargo(&[&args[..], &warnings].concat()))
}

fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut command = sh::cargo(root, args);
    command.env("RUSTFLAGS", dist::STATIC);
    command
}
