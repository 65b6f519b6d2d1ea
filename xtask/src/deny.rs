//! Licences, bans, sources and advisories, by cargo-deny.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use weir_tests::{paths, russh};

use crate::sh;

const VERSION: &str = "0.20.2";

/// Must the advisories be checked? Set where the network is open, so that they are.
const REQUIRED: &str = "WEIR_ADVISORIES_REQUIRED";

/// Licences, bans, sources and withdrawn crates are always checked. Known vulnerabilities need a
/// database from GitHub, which closed networks do not reach: there this passes without them and says
/// so, unless it is told that they must be checked.
pub fn run(root: &Path, args: &[&str]) -> Result<()> {
    let required = match args {
        [] => std::env::var_os(REQUIRED).is_some(),
        ["--advisories"] => true,
        other => bail!("deny does not know {}: --advisories", other.join(" ")),
    };
    let deny = tool()?;
    let deny = deny.to_string_lossy();
    let check = ["--locked", "check", "--hide-inclusion-graph"];
    let mut args = check.to_vec();
    args.extend(["licenses", "bans", "sources"]);
    sh::run(sh::cmd(root, &deny, &args))?;

    // What only tests have may use other cryptography; where it is from and under which licence matters there, too.
    let peer = russh::source().join("Cargo.toml");
    let config = root.join("deny.toml");
    let (peer, config) = (peer.to_string_lossy(), config.to_string_lossy());
    let mut args = vec!["--manifest-path", &*peer, "--config", &*config];
    args.extend(check);
    args.extend(["--allow", "license-not-encountered", "licenses", "sources"]);
    sh::run(sh::cmd(root, &deny, &args))?;

    let Err(why) = sh::read(sh::cmd(root, &deny, &["--locked", "fetch", "db"])) else {
        let mut args = check.to_vec();
        args.push("advisories");
        return sh::run(sh::cmd(root, &deny, &args));
    };
    let config = stand_in(root)?;
    let config = config.to_string_lossy();
    let mut args = vec!["--offline", "--config", &*config];
    args.extend(check);
    args.push("advisories");
    sh::run(sh::cmd(root, &deny, &args)).context("withdrawn crates")?;
    let why = why.to_string();
    let why = why.lines().last().unwrap_or_default();
    if required {
        bail!("known vulnerabilities were not checked: {why}");
    }
    println!(
        "SKIPPED: known vulnerabilities were NOT checked, only that no crate is withdrawn. The \
         advisory database could not be fetched:\n  {why}\n\
         Where it can be, run `cargo xtask deny --advisories`, or set {REQUIRED}=1."
    );
    Ok(())
}

/// The configuration with a database of one advisory about no crate: cargo-deny looks for withdrawn
/// crates in the registry's index, but only together with advisories. It lies where nobody takes it
/// for the real one.
fn stand_in(root: &Path) -> Result<PathBuf> {
    let dir = paths::target().join("deny");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    // cargo-deny's own name for the database of its default URL.
    let db = dir.join("db/advisory-db-3157b0e258782691");
    let about = db.join("crates/weir-has-no-such-crate");
    std::fs::create_dir_all(&about)?;
    std::fs::write(about.join("RUSTSEC-2000-0001.md"), NO_ADVISORY)?;
    let name = ["-c", "user.name=weir", "-c", "user.email=weir@localhost"];
    for args in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &[&name[..], &["commit", "--quiet", "--message", "stands in"]].concat(),
    ] {
        sh::read(sh::cmd(&db, "git", args))?;
    }
    std::fs::write(db.join(".git/FETCH_HEAD"), "")?;
    let text = std::fs::read_to_string(root.join("deny.toml"))?;
    let here = format!("[advisories]\ndb-path = {:?}\n", dir.join("db"));
    let path = dir.join("deny.toml");
    std::fs::write(&path, text.replacen("[advisories]\n", &here, 1))?;
    Ok(path)
}

const NO_ADVISORY: &str = r#"```toml
[advisory]
id = "RUSTSEC-2000-0001"
package = "weir-has-no-such-crate"
date = "2000-01-01"

[versions]
patched = []
```

# Stands for the database that could not be fetched
"#;

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
