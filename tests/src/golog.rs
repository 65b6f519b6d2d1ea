//! The check of transparency logs by Go's implementation: `tests/tlog/check.go`, built when it is first
//! asked for.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, bail};

use crate::{paths, skip};

/// The checker, built once; `None` where Go is not installed.
pub fn checker() -> anyhow::Result<Option<&'static Path>> {
    static BUILT: OnceLock<Result<Option<PathBuf>, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|e| format!("{e:#}")));
    match built {
        Ok(program) => Ok(program.as_deref()),
        Err(why) => bail!("{why}"),
    }
}

fn build() -> anyhow::Result<Option<PathBuf>> {
    if !paths::go_tlog() {
        skip::not_installed("logs checked by Go's implementation: Go is not installed");
        return Ok(None);
    }
    let dir = paths::target().join("tlog-check");
    let program = dir.join("check");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(paths::root().join("tests/tlog/check.go"))
        .env("GO111MODULE", "off")
        .env("GOPATH", paths::GOPATH)
        .env("GOCACHE", dir.join("cache"))
        .env_remove("GOFLAGS")
        .output()
        .context("running go")?;
    match built.status.success() {
        true => Ok(Some(program)),
        false => bail!("{}", said(&built)),
    }
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Has Go check it; what it says, or why it refuses.
pub fn check(what: &str, dir: &Path, input: &str) -> anyhow::Result<Result<String, String>> {
    let program = checker()?.context("Go is not installed")?;
    let mut child = Command::new(program)
        .arg(what)
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // It reads all of it before it says anything; and what it does not want to read, it may leave.
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    let out = child.wait_with_output()?;
    match out.status.code() {
        Some(0) => Ok(Ok(said(&out))),
        // Go exits with 2 where it panics: that is no refusal.
        Some(1) => Ok(Err(said(&out))),
        _ => bail!("{}", said(&out)),
    }
}
