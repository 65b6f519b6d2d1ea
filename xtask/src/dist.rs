//! `cargo xtask dist`: what is shipped, in `target/dist`. A static binary, the plugins, the default
//! bundle, an example configuration, the licence, and the empty directory of the image's state.
//!
//! glibc rather than musl: its memcpy and its allocator are in the path of every row.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use weir_tests::paths;
use weir_tests::weir::PLUGINS;

use crate::{build_plugins, deps, sh};

/// Where it ends up.
pub fn dir() -> PathBuf {
    paths::target().join("dist")
}

pub fn run(root: &Path) -> Result<()> {
    deps::ensure(deps::BUILD)?;
    build_plugins(root)?;
    let host = host();
    let args = [
        "build",
        "--locked",
        "--profile",
        "dist",
        "-p",
        "server",
        "--target",
        &host,
    ];
    let mut build = sh::cargo(root, &args);
    build.env("RUSTFLAGS", STATIC);
    sh::run(build)?;
    assemble(root, &paths::target().join(&host).join("dist/weir"))?;
    let size = std::fs::metadata(dir().join("weir"))?.len();
    println!("{}: weir is {:.1} MB", dir().display(), size as f64 / 1e6);
    Ok(())
}

/// With an explicit target this does not reach build scripts and procedural macros.
pub const STATIC: &str = "-C target-feature=+crt-static";

/// This machine's target, to be named to cargo.
pub fn host() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Puts together what is shipped around a static binary.
pub fn assemble(root: &Path, binary: &Path) -> Result<()> {
    is_static(binary)?;
    let out = dir();
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    copy(binary, &out.join("weir"))?;
    for name in PLUGINS {
        copy(
            &paths::plugin(name),
            &out.join(format!("plugins/{name}.wasm")),
        )?;
    }
    copy_tree(&root.join("policies"), &out.join("policies"))?;
    copy(&root.join("deploy/weir.toml"), &out.join("weir.toml"))?;
    // Nothing in an empty image could make it, or give it to Weir's user.
    let state = out.join("data/weir");
    std::fs::create_dir_all(&state)?;
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700))?;
    copy(&root.join("LICENSE"), &out.join("LICENSE"))
}

/// A dynamic binary would not start in an empty image.
fn is_static(binary: &Path) -> Result<()> {
    let bytes = std::fs::read(binary)?;
    if has_interpreter(&bytes) {
        bail!("{} is not static", binary.display());
    }
    Ok(())
}

/// Looks for a PT_INTERP program header in a 64-bit little-endian ELF file.
fn has_interpreter(elf: &[u8]) -> bool {
    let u16_at = |at: usize| {
        let bytes = elf.get(at..at + 2)?;
        bytes.try_into().ok().map(u16::from_le_bytes)
    };
    let offset = elf
        .get(32..40)
        .and_then(|b| b.try_into().ok())
        .map(u64::from_le_bytes);
    let (Some(offset), Some(size), Some(count)) = (offset, u16_at(54), u16_at(56)) else {
        return true;
    };
    (0..usize::from(count)).any(|i| {
        let at = offset as usize + i * usize::from(size);
        elf.get(at..at + 4) == Some(&[3, 0, 0, 0])
    })
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    // Whoever runs the container must be able to read it.
    let mut mode = std::fs::metadata(to)?.permissions();
    mode.set_mode(mode.mode() | 0o444);
    std::fs::set_permissions(to, mode)?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let entries = std::fs::read_dir(from).with_context(|| from.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let to = to.join(path.file_name().context("a name")?);
        if path.is_dir() {
            copy_tree(&path, &to)?;
        } else {
            copy(&path, &to)?;
        }
    }
    Ok(())
}
