//! `cargo xtask dist`: what is shipped, in `target/dist`. A static binary, the plugins, the default
//! bundle, an example configuration, the licence.
//!
//! glibc rather than musl: its memcpy and its allocator are in the path of every row.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use weir_tests::paths;

use crate::{build_plugins, deps, sh};

/// Where it ends up.
pub fn dir() -> PathBuf {
    paths::target().join("dist")
}

pub fn run(root: &Path) -> Result<()> {
    deps::ensure(deps::BUILD)?;
    build_plugins(root)?;
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
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
    // With an explicit target the flag does not reach build scripts and procedural macros.
    build.env("RUSTFLAGS", "-C target-feature=+crt-static");
    sh::run(build)?;

    let out = dir();
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    let binary = paths::target().join(&host).join("dist/weir");
    copy(&binary, &out.join("weir"))?;
    is_static(&out.join("weir"))?;
    copy_tree(&paths::plugins(), &out.join("plugins"), Some("wasm"))?;
    std::fs::remove_file(out.join("plugins/evil.wasm")).or_else(ignore_absent)?;
    copy_tree(&root.join("policies"), &out.join("policies"), None)?;
    copy(&root.join("deploy/weir.toml"), &out.join("weir.toml"))?;
    copy(&root.join("LICENSE"), &out.join("LICENSE"))?;
    let size = std::fs::metadata(out.join("weir"))?.len();
    println!("{}: weir is {:.1} MB", out.display(), size as f64 / 1e6);
    Ok(())
}

/// A dynamic binary would not start in an empty image.
fn is_static(binary: &Path) -> Result<()> {
    let bytes = std::fs::read(binary)?;
    // The interpreter's path stands in every dynamic executable.
    if bytes.windows(10).any(|w| w == b"/ld-linux-") && has_interpreter(&bytes) {
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

fn copy_tree(from: &Path, to: &Path, extension: Option<&str>) -> Result<()> {
    let entries = std::fs::read_dir(from).with_context(|| from.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().context("a name")?;
        if path.is_dir() {
            copy_tree(&path, &to.join(name), extension)?;
        } else if extension.is_none_or(|e| path.extension().is_some_and(|x| x == e)) {
            copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn ignore_absent(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}
