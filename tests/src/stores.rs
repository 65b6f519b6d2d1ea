//! Servers that speak S3, of several makes: what holds with one need not hold with another.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::ceph::{self, Ceph};
use crate::proc::{Daemon, Scratch, Signal, free_port};
use crate::{http, paths};

pub const ACCESS_KEY: &str = "test";
pub const SECRET_KEY: &str = "test-secret";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// moto: conditional writes, Object Lock.
    Moto,
    /// s3s-fs: no versions, and conditions that two writers at once can both meet.
    S3sFs,
    /// Ceph's gateway: a bucket with versions takes what exists already.
    Ceph,
}

impl Make {
    pub const ALL: [Self; 3] = [Self::Moto, Self::S3sFs, Self::Ceph];

    pub fn name(self) -> &'static str {
        match self {
            Self::Moto => "moto",
            Self::S3sFs => "s3s-fs",
            Self::Ceph => "ceph",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|make| make.name() == name)
    }

    /// Has it versions, and Object Lock?
    pub fn locks(self) -> bool {
        self != Self::S3sFs
    }

    pub fn is_installed(self) -> bool {
        match self {
            Self::Moto => moto().is_file(),
            Self::S3sFs => s3s_fs().is_file(),
            Self::Ceph => ceph::is_installed(),
        }
    }
}

fn moto() -> PathBuf {
    paths::venv().join("bin/moto_server")
}

/// Where `cargo xtask stores` installs it.
pub fn s3s_fs() -> PathBuf {
    paths::target().join("tools/bin/s3s-fs")
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    pub make: Make,
    pub port: u16,
    daemon: Option<Daemon>,
    _ceph: Option<Ceph>,
    scratch: Scratch,
}

impl Server {
    pub fn start(make: Make) -> Result<Self> {
        if !make.is_installed() {
            bail!("{} is not installed", make.name());
        }
        let scratch = Scratch::new(make.name())?;
        if make == Make::Ceph {
            let ceph = Ceph::start(ACCESS_KEY, SECRET_KEY)?;
            return Ok(Self {
                make,
                port: ceph.port,
                daemon: None,
                _ceph: Some(ceph),
                scratch,
            });
        }
        let port = free_port()?;
        let mut command = match make {
            Make::S3sFs => {
                let mut command = Command::new(s3s_fs());
                let root = scratch.join("root");
                std::fs::create_dir_all(&root)?;
                command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]);
                command.args(["--host", "127.0.0.1"]).arg(root);
                command
            }
            _ => {
                let mut command = Command::new(moto());
                command.args(["-H", "127.0.0.1"]);
                command
            }
        };
        command.args([
            if make == Make::S3sFs { "--port" } else { "-p" },
            &port.to_string(),
        ]);
        let mut daemon = Daemon::spawn(make.name(), command, &scratch.join("log"), Signal::Term)?;
        daemon.wait_until(|| http::raw(port, "GET", "/", None, b"").is_ok())?;
        Ok(Self {
            make,
            port,
            daemon: Some(daemon),
            _ceph: None,
            scratch,
        })
    }

    /// What it printed; Ceph's parts have files of their own.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    pub fn make_bucket(&self, name: &str, locked: bool) -> Result<()> {
        let locked = if locked {
            "ObjectLockEnabledForBucket=True"
        } else {
            ""
        };
        let bucket = format!("s3.create_bucket(Bucket={name:?}, {locked})");
        self.boto(&bucket).map(drop)
    }

    /// Runs Python with `s3`, a client of boto3, and gives what it printed: what somebody sees who has
    /// nothing of Weir.
    pub fn boto(&self, code: &str) -> Result<String> {
        let script = format!(
            "import boto3\n\
             from botocore.config import Config\n\
             s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:{}', region_name='us-east-1',\n\
             \x20   aws_access_key_id='{ACCESS_KEY}', aws_secret_access_key='{SECRET_KEY}',\n\
             \x20   config=Config(s3={{'addressing_style': 'path'}}))\n\
             {code}\n",
            self.port
        );
        let out = Command::new(paths::venv().join("bin/python"))
            .args(["-c", &script])
            .current_dir(self.scratch.path())
            .output()
            .context("Python could not be started: run `cargo xtask deps`")?;
        if !out.status.success() {
            bail!("{code}:\n{}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }
}
