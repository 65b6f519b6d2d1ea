//! Builds the plugins of this repository: core modules by cargo, then components by `wit-component`.
//!
//! Also compiled into the tests of `plugin-host`, which need the components.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use wit_component::ComponentEncoder;

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "plugin";

/// What Weir ships.
const FIRST_PARTY: &[&str] = &["mask-pii", "risk-shell", "risk-sql", "route-default"];
/// What only tests load.
const TEST_ONLY: &[&str] = &["evil"];

/// Builds the first-party plugins into `out` as `<name>.wasm`, and gives their paths.
pub fn build(root: &Path, out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    components(root, out, FIRST_PARTY)
}

/// Builds the misbehaving plugin of the host's tests.
#[allow(dead_code)] // Used where this file is part of a test.
pub fn build_test_only(root: &Path, out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    components(root, out, TEST_ONLY)
}

fn components(root: &Path, out: &Path, names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    add_target(root)?;
    let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir),
        None => root.join("target"),
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--quiet"]);
    cargo.args(["--profile", PROFILE, "--target", TARGET]);
    cargo.arg("--target-dir").arg(&target_dir);
    for name in names {
        cargo.args(["--package", name]);
    }
    // Flags for the host, such as coverage or a linker, mean nothing to wasm32.
    cargo
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(cargo)?;

    std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let modules = target_dir.join(TARGET).join(PROFILE);
    names
        .iter()
        .map(|name| encode(&modules, out, name))
        .collect()
}

/// Makes a component of a core module. It is written beside its place and renamed, so that nobody
/// reads half of it.
fn encode(modules: &Path, out: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let module = modules.join(format!("{}.wasm", name.replace('-', "_")));
    let bytes = std::fs::read(&module).with_context(|| format!("reading {}", module.display()))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&bytes)
        .and_then(|encoder| encoder.encode())
        .with_context(|| format!("making a component of {}", module.display()))?;
    let path = out.join(format!("{name}.wasm"));
    let part = out.join(format!("{name}.wasm.{}.part", std::process::id()));
    std::fs::write(&part, component).with_context(|| format!("writing {}", part.display()))?;
    std::fs::rename(&part, &path).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}

/// Installs the compilation target when the toolchain lacks it. Without rustup, cargo's own error
/// says what is missing.
fn add_target(root: &Path) -> anyhow::Result<()> {
    let mut list = Command::new("rustup");
    list.current_dir(root)
        .args(["target", "list", "--installed"]);
    let Ok(installed) = list.output() else {
        return Ok(());
    };
    let installed = String::from_utf8_lossy(&installed.stdout);
    if installed.lines().any(|line| line.trim() == TARGET) {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.current_dir(root).args(["target", "add", TARGET]);
    run(add)
}

fn run(mut command: Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
