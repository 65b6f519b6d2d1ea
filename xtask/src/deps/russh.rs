//! SSH by russh, from `tests/russh-peer`.

use std::process::Command;

use anyhow::Result;
use weir_tests::{paths, russh};

use crate::{dist, sh};

/// Less than a minute on two cores: unoptimised, and with few features.
pub(super) fn install() -> Result<()> {
    let host = dist::host();
    sh::run(cargo(&["build", "--locked", "--target", &host]))?;
    std::fs::create_dir_all(paths::target().join("tools"))?;
    let built = russh::build_dir().join(&host).join("debug/russh-peer");
    // Another test may be running the one that is there.
    let part = russh::program().with_extension("part");
    std::fs::copy(built, &part)?;
    std::fs::rename(part, russh::program())?;
    russh::set_fresh()
}

/// Cargo in its workspace. Flags for Weir would be a reason to build all of it again.
pub fn cargo(args: &[&str]) -> Command {
    let mut cargo = sh::cargo(&russh::source(), args);
    cargo
        .env_remove("RUSTFLAGS")
        .env("CARGO_TARGET_DIR", russh::build_dir());
    cargo
}
