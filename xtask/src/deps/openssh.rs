//! A newer OpenSSH than Debian's, from its source.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use weir_tests::openssh::{CLIENTS, SERVERS, SHA256, URL, dir, set_fresh};
use weir_tests::paths;

use crate::sh;

/// What fetches packages fetches this, too: by the same way out of this machine, and only what has this digest.
const FETCH: &str = "/usr/lib/apt/apt-helper";

/// A minute on two cores: only what the tests run, optimised as little as its protections allow.
pub(super) fn install() -> Result<()> {
    if !Path::new(FETCH).is_file() {
        bail!("there is no {FETCH} to fetch it with");
    }
    let build = paths::target().join("tools/openssh-build");
    for old in [&build, &dir()] {
        if old.exists() {
            std::fs::remove_dir_all(old)?;
        }
    }
    std::fs::create_dir_all(&build)?;
    let digest = format!("SHA256:{SHA256}");
    let get = ["-q", "download-file", URL, "openssh.tar.gz", &digest];
    sh::run(sh::cmd(&build, FETCH, &get))?;
    let unpack = ["-xzf", "openssh.tar.gz", "--strip-components=1"];
    sh::run(sh::cmd(&build, "tar", &unpack))?;
    let bin = dir().join("bin");
    let options = [
        format!("--prefix={}", dir().display()),
        format!("--bindir={}", bin.display()),
        format!("--sbindir={}", bin.display()),
        format!("--libexecdir={}", bin.display()),
        "--with-privsep-path=/run/sshd".to_owned(),
        "CFLAGS=-O1 -w".to_owned(),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    quiet(sh::cmd(&build, "./configure", &options))?;
    let programs = [&CLIENTS[..], &SERVERS].concat();
    let jobs = format!("-j{}", std::thread::available_parallelism()?);
    quiet(sh::cmd(
        &build,
        "make",
        &[&[jobs.as_str()], &programs[..]].concat(),
    ))?;
    std::fs::create_dir_all(&bin)?;
    for program in programs {
        std::fs::copy(build.join(program), bin.join(program)).context(program)?;
    }
    set_fresh()?;
    Ok(std::fs::remove_dir_all(build)?)
}

/// It says thousands of lines that matter to nobody unless it fails.
fn quiet(command: Command) -> Result<()> {
    eprintln!("+ {}", command.get_program().to_string_lossy());
    sh::read(command).map(|_| ())
}
