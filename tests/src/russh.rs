//! SSH by russh, in a workspace of its own (`tests/russh-peer`), built by `cargo xtask deps`: where it is, and a host
//! that is served by it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::paths;
use crate::proc::{Daemon, Scratch, Signal, free_port, listens};
use crate::sshd::{Way, keygen, login, public_key};

/// Its source.
pub fn source() -> PathBuf {
    paths::root().join("tests/russh-peer")
}

/// Where it is built; what was built for an older source shortens the next build.
pub fn build_dir() -> PathBuf {
    paths::target().join("russh-peer")
}

/// The program, if it was built.
pub fn program() -> PathBuf {
    paths::target().join("tools/russh-peer")
}

fn stamp_file() -> PathBuf {
    paths::target().join("tools/russh-peer.stamp")
}

/// Tells two versions of the source apart; no more than that.
fn stamp() -> Result<String> {
    let dir = source();
    let mut files = vec![dir.join("Cargo.toml"), dir.join("Cargo.lock")];
    for entry in std::fs::read_dir(dir.join("src"))? {
        files.push(entry?.path());
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        let text = std::fs::read(&file).with_context(|| file.display().to_string())?;
        text.hash(&mut hasher);
    }
    Ok(format!("{:016x}\n", hasher.finish()))
}

/// Is what is there built from this source?
pub fn is_fresh() -> bool {
    let found = std::fs::read_to_string(stamp_file());
    program().is_file() && found.is_ok_and(|found| stamp().is_ok_and(|wanted| wanted == found))
}

/// It is.
pub fn set_fresh() -> Result<()> {
    std::fs::write(stamp_file(), stamp()?).context("the stamp of russh-peer")
}

/// Is it there? Where it is not, this says so, and fails where CI runs.
pub fn there() -> bool {
    let there = is_fresh();
    if !there {
        crate::skip::not_installed("russh-peer, SSH by somebody else");
    }
    there
}

/// A host whose server is not OpenSSH. It has the files that an [`Sshd`](crate::sshd::Sshd) has in its directory.
#[derive(Debug)]
pub struct Host {
    daemon: Daemon,
    pub port: u16,
    pub dir: PathBuf,
    _scratch: Scratch,
}

impl Host {
    pub fn start(name: &str) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let dir = scratch.path().to_path_buf();
        keygen(&dir.join("host_ed25519"), "ed25519")?;
        keygen(&dir.join("client_ed25519"), "ed25519")?;
        std::fs::copy(dir.join("client_ed25519.pub"), dir.join("authorized_keys"))?;
        std::fs::write(dir.join("authority.pub"), "")?;
        std::fs::create_dir_all(dir.join("home"))?;
        let port = free_port()?;
        let mut command = Command::new(program());
        command
            .args(["server", &port.to_string()])
            .arg(&dir)
            .current_dir(dir.join("home"))
            .env("HOME", dir.join("home"));
        let log = dir.join("server.log");
        let mut daemon = Daemon::spawn("russh-peer", command, &log, Signal::Kill)?;
        daemon.wait_until(|| listens(port))?;
        Ok(Self {
            daemon,
            port,
            dir,
            _scratch: scratch,
        })
    }

    /// The host's public key, as it is written in `known_hosts` after the name.
    pub fn host_key(&self) -> Result<String> {
        public_key(&self.dir.join("host_ed25519.pub"))
    }

    /// From now on, whoever has a certificate of the authority in this file is let in.
    pub fn trust(&self, authority: &Path) -> Result<()> {
        std::fs::copy(authority, self.dir.join("authority.pub"))?;
        Ok(())
    }

    /// The way to it without anything in between.
    pub fn direct(&self) -> Result<Way> {
        Way::new(
            &self.dir.join("direct"),
            self.port,
            &login()?,
            &format!("[127.0.0.1]:{} {}", self.port, self.host_key()?),
            &self.dir.join("client_ed25519"),
            None,
        )
    }

    pub fn is_alive(&mut self) -> bool {
        self.daemon.is_alive()
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }
}
