//! Runs every fuzz target for a short time.
//!
//! The targets in `fuzz/` are plain cargo-fuzz ones. Coverage needs only stable compiler flags, so
//! this builds and runs them without installing cargo-fuzz.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use weir_tests::paths;

use crate::{dist, seeds, sh};

/// What cargo-fuzz passes for `--sanitizer none`.
const FLAGS: &[&str] = &[
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// An input of more bytes finds nothing that a shorter one does not, and costs time.
const MAX_INPUT: &str = "-max_len=8192";

/// What a run by itself tries is another thing each time; a run that others wait for starts from the same
/// `seed`, so that what fails fails again.
pub fn run(root: &Path, seconds: u64, seed: Option<u32>) -> Result<()> {
    let dir = root.join("fuzz");
    let host = dist::host();
    let targets = targets(&dir)?;
    // The same versions as Weir itself; cargo adds what only fuzzing needs.
    if !dir.join("Cargo.lock").exists() {
        std::fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock"))?;
    }
    let target_dir = paths::target().join("fuzz");
    let mut build = sh::cargo(&dir, &["build", "--release", "--bins", "--target", &host]);
    // A debug-assertions release build: fast enough to try much, strict enough to notice.
    build
        .env("RUSTFLAGS", FLAGS.join(" "))
        .env("CARGO_TARGET_DIR", &target_dir);
    build.env("CARGO_INCREMENTAL", "0");
    sh::run(build)?;
    // Each has one thread; a processor each.
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, |n| n.get());
    let one_after_the_other = || -> Result<()> {
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let said = one(root, &target_dir, target, seconds, seed)?;
            println!("fuzz target {target} for {seconds} s\n{said}");
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|_| scope.spawn(one_after_the_other))
            .collect();
        let results = workers.into_iter().map(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All of them end first, whatever one finds.
        results.collect::<Vec<_>>().into_iter().collect()
    })
}

/// Runs a target, and gives its statistics.
fn one(
    root: &Path,
    target_dir: &Path,
    target: &str,
    seconds: u64,
    seed: Option<u32>,
) -> Result<String> {
    let program = target_dir.join(dist::host()).join("release").join(target);
    let corpus = target_dir.join("corpus").join(target);
    let artifacts = target_dir.join("artifacts").join(target);
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let seeds = seeds::write(root, target_dir, target)?;
    let prefix = format!("-artifact_prefix={}/", artifacts.display());
    let time = format!("-max_total_time={seconds}");
    let seed = seed.map(|seed| format!("-seed={seed}"));
    let corpus = corpus.to_string_lossy().into_owned();
    let mut args = vec![
        MAX_INPUT,
        "-timeout=5",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ];
    args.extend(seed.as_deref());
    args.extend([prefix.as_str(), time.as_str(), corpus.as_str()]);
    // What is found goes to the first directory; the others are only read.
    let given = seeds.dir.to_string_lossy().into_owned();
    args.push(&given);
    let dictionary = seeds.dictionary.map(|d| format!("-dict={}", d.display()));
    args.extend(dictionary.as_deref());
    let program = program.to_string_lossy().into_owned();
    let mut command = sh::cmd(root, &program, &args);
    let out = command
        .output()
        .with_context(|| format!("{program} could not be started"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        bail!("fuzz target {target} found something:\n{said}");
    }
    let told = ["seed corpus:", "number_of_executed_units"].map(|told| {
        let line = said.lines().find(|line| line.contains(told));
        format!("  {}", line.unwrap_or("no statistics").trim())
    });
    Ok(told.join("\n"))
}

/// Names of the targets: every file in `fuzz/fuzz_targets`.
fn targets(dir: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(dir.join("fuzz_targets")).context("fuzz/fuzz_targets")?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    if names.is_empty() {
        bail!("fuzz/fuzz_targets holds no target");
    }
    Ok(names)
}
