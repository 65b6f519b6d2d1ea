//! `cargo xtask stores`: the recorder against stores of several makes, with everything that goes wrong
//! between it and them, and an outage that outlasts the spool.

use anyhow::{Context, Result, bail};
use weir_tests::paths;
use weir_tests::stores::Make;

use crate::{deps, sh};

const USAGE: &str = "usage: cargo xtask stores [--minutes N] [moto | s3s-fs | ceph …]";
/// How long the spool is full, unless somebody says so.
const MINUTES: u64 = 3;
const MAX_MINUTES: u64 = 24 * 60;

pub fn run(args: &[&str]) -> Result<()> {
    let (minutes, names) = match args {
        ["--minutes", minutes, names @ ..] => {
            let minutes: u64 = minutes
                .parse()
                .with_context(|| format!("{minutes}: {USAGE}"))?;
            (minutes, names)
        }
        names => (MINUTES, names),
    };
    if minutes > MAX_MINUTES {
        bail!("--minutes {minutes}: at most {MAX_MINUTES}");
    }
    let mut makes = Vec::new();
    for name in names {
        makes.push(Make::parse(name).with_context(|| format!("{name} is no store. {USAGE}"))?);
    }
    if makes.is_empty() {
        makes.extend(Make::ALL);
    }
    // Their buckets are made, and looked at, with the Python that moto brings along.
    deps::ensure(&[deps::CC, deps::PYTHON, deps::VENV])?;
    for make in &makes {
        match make {
            Make::Moto => {}
            Make::S3sFs => deps::ensure(&[deps::S3S_FS])?,
            Make::Ceph => deps::ensure(&[deps::CEPH])?,
        }
    }
    let args = [
        "test",
        "--locked",
        "-p",
        "recorder",
        "--lib",
        "--",
        "tests::stores::",
    ];
    let mut command = sh::cargo(&paths::root(), &[&args[..], &["--nocapture"]].concat());
    let names: Vec<&str> = makes.iter().map(|make| make.name()).collect();
    command.env("WEIR_STORES", names.join(","));
    command.env("WEIR_STORE_OUTAGE", (minutes * 60).to_string());
    sh::run(command)
}
