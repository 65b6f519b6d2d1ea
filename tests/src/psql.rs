//! Stock psql, run as a person would.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::postgres::input;
use crate::proc::{Signal, send};
use crate::{paths, reaper};

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct Psql {
    pub port: u16,
    pub user: String,
    pub database: String,
    pub password: String,
    pub sslmode: String,
    pub sslrootcert: Option<PathBuf>,
    pub args: Vec<String>,
}

/// What it printed.
#[derive(Debug, Clone)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub status: ExitStatus,
}

impl Output {
    pub fn ok(&self) -> bool {
        self.status.success()
    }
    /// Everything that a person would see.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl Psql {
    /// Runs a script from standard input to its end, as `psql < file` does.
    pub fn run(&self, script: &str) -> Result<Output> {
        let child = self.spawn(script)?;
        child.wait(Duration::from_secs(120))
    }

    /// Starts it and lets it run.
    pub fn spawn(&self, script: &str) -> Result<Running> {
        let psql = paths::postgres_bin("psql").context("no psql: run `cargo xtask deps`")?;
        let mut command = Command::new(psql);
        command
            .args([
                "-X",
                "-A",
                "-t",
                "-v",
                "VERBOSITY=verbose",
                "-h",
                "127.0.0.1",
            ])
            .args([
                "-p",
                &self.port.to_string(),
                "-U",
                &self.user,
                "-d",
                &self.database,
            ])
            .args(&self.args)
            .env("PGPASSWORD", &self.password)
            .env("PGSSLMODE", &self.sslmode)
            .env("PGCONNECT_TIMEOUT", "20")
            .env("LC_ALL", "C.UTF-8")
            .stdin(input(script)?);
        if let Some(cert) = &self.sslrootcert {
            command.env("PGSSLROOTCERT", cert);
        }
        Running::start(command)
    }
}

/// A client that runs, with what it prints in files: nothing can block on a full pipe.
#[derive(Debug)]
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        let stem = std::env::temp_dir().join(format!("weir-client-{}", unique()));
        let (out, err) = (stem.with_extension("out"), stem.with_extension("err"));
        let child = command
            .stdout(Stdio::from(std::fs::File::create(&out)?))
            .stderr(Stdio::from(std::fs::File::create(&err)?))
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        reaper::add(child.id());
        Ok(Self { child, out, err })
    }

    /// What it printed so far.
    pub fn printed(&self) -> String {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        read(&self.out) + &read(&self.err)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.child.id(), signal)
    }

    /// Waits until it printed `text`.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while !self.printed().contains(text) {
            if let Some(status) = self.child.try_wait()? {
                // What it printed last may have come after the look above.
                if self.printed().contains(text) {
                    return Ok(());
                }
                bail!(
                    "psql ended with {status} and never said {text:?}:\n{}",
                    self.printed()
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "psql did not say {text:?} within {limit:?}:\n{}",
                    self.printed()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub fn wait(mut self, limit: Duration) -> Result<Output> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let read =
                    |path| std::fs::read(path).map(|b| String::from_utf8_lossy(&b).into_owned());
                return Ok(Output {
                    stdout: read(&self.out)?,
                    stderr: read(&self.err)?,
                    status,
                });
            }
            if Instant::now() > deadline {
                bail!("psql did not end within {limit:?}:\n{}", self.printed());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        reaper::del(self.child.id());
        let _ = std::fs::remove_file(&self.out);
        let _ = std::fs::remove_file(&self.err);
    }
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}
