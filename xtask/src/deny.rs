//! Licences, bans, sources and advisories, by cargo-deny.

use std::path::{Path, PathBuf};

use anyhow::Result;
use weir_tests::paths;

use crate::sh;

const VERSION: &str = "0.20.2";

/// Licences, bans and sources are always checked. Advisories need a database that is fetched over
/// the network; where it cannot be had this says so, and does not count as a pass.
pub fn run(root: &Path) -> Result<()> {
    let deny = tool()?;
    let deny = deny.to_string_lossy();
    let locked = ["--locked", "check", "--hide-inclusion-graph"];
    let mut args = locked.to_vec();
    args.extend(["licenses", "bans", "sources"]);
    sh::run(sh::cmd(root, &deny, &args))?;

    if let Err(why) = sh::read(sh::cmd(root, &deny, &["--locked", "fetch", "db"])) {
        println!(
            "SKIPPED: the advisory database could not be fetched, so known vulnerabilities were \
             NOT checked. Run `cargo deny check advisories` where it can.\n  ({})",
            why.to_string().lines().last().unwrap_or_default()
        );
        return Ok(());
    }
    let mut args = locked.to_vec();
    args.push("advisories");
    sh::run(sh::cmd(root, &deny, &args))
}

/// cargo-deny: an installed one, or one built once and kept beside cargo.
fn tool() -> Result<PathBuf> {
    if let Some(found) = paths::which("cargo-deny") {
        return Ok(found);
    }
    println!("missing: cargo-deny, built from its crate once");
    let mut install = sh::cargo(
        Path::new("/"),
        &[
            "install",
            "--quiet",
            "--locked",
            "--debug",
            "--no-default-features",
            "cargo-deny",
        ],
    );
    // Its speed does not matter, the time to build it does.
    install
        .args(["--version", VERSION])
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    install.env_remove("CARGO_TARGET_DIR");
    sh::run(install)?;
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    Ok(paths::which("cargo-deny")
        .or_else(|| home.map(|h| h.join("bin/cargo-deny")))
        .unwrap_or_else(|| "cargo-deny".into()))
}
