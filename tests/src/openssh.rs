//! A newer OpenSSH than Debian's, built from source by `cargo xtask deps`: where it comes from, and where it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::paths;

/// Debian's next release has it, so its pool keeps the tarball for years.
pub const VERSION: &str = "10.0p1";
pub const URL: &str = "http://deb.debian.org/debian/pool/main/o/openssh/openssh_10.0p1.orig.tar.gz";
/// As it stands in the signed index of that release.
pub const SHA256: &str = "021a2e709a0edf4250b1256bd5a9e500411a90dddabea830ed59cef90eb9d85c";
/// What a user runs.
pub const CLIENTS: [&str; 6] = ["ssh", "scp", "sftp", "ssh-keygen", "ssh-agent", "ssh-add"];
/// What serves.
pub const SERVERS: [&str; 4] = ["sshd", "sshd-session", "sshd-auth", "sftp-server"];

/// Where it is built for: its programs know each other by their paths.
pub fn dir() -> PathBuf {
    paths::target().join("tools/openssh")
}

fn stamp_file() -> PathBuf {
    dir().join("stamp")
}

fn reason_file() -> PathBuf {
    paths::target().join("tools/openssh-missing")
}

fn stamp() -> String {
    format!("{SHA256} {}\n", dir().display())
}

/// Is what is there of this version, built for this place?
pub fn is_fresh() -> bool {
    std::fs::read_to_string(stamp_file()).is_ok_and(|found| found == stamp())
}

/// It is all there.
pub fn set_fresh() -> Result<()> {
    let _ = std::fs::remove_file(reason_file());
    std::fs::write(stamp_file(), stamp()).context("the stamp of OpenSSH")
}

/// It cannot be had on this machine, and why: no reason to run no other test.
pub fn set_missing(why: &str) -> Result<()> {
    let file = reason_file();
    std::fs::create_dir_all(file.parent().unwrap_or(&file))?;
    std::fs::write(&file, why).with_context(|| file.display().to_string())
}

/// Its directory; where there is none, this says so.
pub fn newer() -> Option<PathBuf> {
    if is_fresh() {
        return Some(dir());
    }
    let what = format!("OpenSSH {VERSION}, newer than this machine's");
    match std::fs::read_to_string(reason_file()) {
        Ok(why) => crate::skip::skipped(&format!("{what}: {}", why.trim_end())),
        Err(_) => crate::skip::not_installed(&what),
    }
    None
}

/// The programs of one OpenSSH that serve.
#[derive(Debug, Clone)]
pub struct Server {
    pub sshd: PathBuf,
    pub sftp: PathBuf,
}

impl Server {
    /// Debian's.
    pub fn of_system() -> Result<Self> {
        Ok(Self {
            sshd: crate::sshd::sshd().context("no sshd: run `cargo xtask deps`")?,
            sftp: "/usr/lib/openssh/sftp-server".into(),
        })
    }

    /// That of [`newer`].
    pub fn of(dir: &Path) -> Self {
        Self {
            sshd: dir.join("bin/sshd"),
            sftp: dir.join("bin/sftp-server"),
        }
    }
}
