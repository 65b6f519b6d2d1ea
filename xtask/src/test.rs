//! `cargo xtask test`: everything that can be checked by running it.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use weir_tests::paths;

use crate::{build_plugins, deps, fuzz, plugins, sh};

/// How long each fuzz target runs.
const FUZZ_SECONDS: u64 = 20;

pub fn run(root: &Path, filter: &[&str]) -> Result<()> {
    let started = Instant::now();
    deps::ensure(deps::ALL)?;
    build_plugins(root)?;
    plugins::build_test_only(root, &paths::plugins())?;
    sh::run(sh::cargo(root, &["build", "--locked", "-p", "server"]))?;

    let mut args = vec!["test", "--locked", "--workspace"];
    if !filter.is_empty() {
        args.push("--");
        args.extend(filter);
        return sh::run(sh::cargo(root, &args));
    }
    sh::run(sh::cargo(root, &args))?;
    fuzz::run(root, FUZZ_SECONDS)?;
    println!(
        "cargo xtask test: everything passed in {} s",
        started.elapsed().as_secs()
    );
    Ok(())
}
