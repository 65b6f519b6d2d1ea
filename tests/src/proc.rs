//! Daemons under test: started with a log file, waited for, signalled, stopped on drop.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{paths, reaper};

/// How long anything may take to come up. A cold debug build of Weir compiles plugins first.
const START: Duration = Duration::from_secs(90);
/// How long a polite stop may take before it becomes a rude one.
const STOP: Duration = Duration::from_secs(10);

/// A process that runs until it is dropped.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Option<Child>,
    log: PathBuf,
    stop: Signal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Hup,
    Int,
    Term,
    Kill,
    Stop,
    Cont,
}

impl Signal {
    fn flag(self) -> &'static str {
        match self {
            Self::Hup => "-HUP",
            Self::Int => "-INT",
            Self::Term => "-TERM",
            Self::Kill => "-KILL",
            Self::Stop => "-STOP",
            Self::Cont => "-CONT",
        }
    }
}

impl Daemon {
    /// Starts it, with everything it prints in `log`.
    pub fn spawn(name: &str, mut command: Command, log: &Path, stop: Signal) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("{name} could not be started: {command:?}"))?;
        reaper::add(child.id());
        Ok(Self {
            name: name.into(),
            child: Some(child),
            log: log.into(),
            stop,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `ready` says so; an error if the process ends first or takes too long.
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + START;
        while !ready() {
            if let Some(status) = self.exited()? {
                bail!(
                    "{} ended with {status} before it was ready:\n{}",
                    self.name,
                    self.log()
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "{} was not ready within {START:?}:\n{}",
                    self.name,
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its exit status, if it has ended.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = self.child.as_mut() else {
            bail!("{} was stopped", self.name)
        };
        Ok(child.try_wait()?)
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.exited(), Ok(None))
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!(
                    "{} did not end within {limit:?}:\n{}",
                    self.name,
                    self.log()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid(), signal)
    }

    /// Ends it now, as a crash would.
    pub fn kill_9(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::Kill)?;
        let status = self.wait(STOP)?;
        if status.signal() != Some(9) {
            bail!(
                "{} ended with {status} before it could be killed",
                self.name
            );
        }
        self.forget();
        Ok(status)
    }

    /// Ends it politely, and rudely if that does not help.
    pub fn stop(&mut self) {
        if self.child.is_none() {
            return;
        }
        if self.is_alive() {
            let _ = self.signal(self.stop);
        }
        if self.wait(STOP).is_err() {
            let _ = self.signal(Signal::Kill);
            let _ = self.wait(STOP);
        }
        self.forget();
    }

    fn forget(&mut self) {
        if let Some(child) = self.child.take() {
            reaper::del(child.id());
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends a signal to one process, by its id.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    if pid == 0 {
        bail!("there is no such process");
    }
    let status = Command::new("kill")
        .args([signal.flag(), &pid.to_string()])
        .status()?;
    if !status.success() {
        bail!("kill {} {pid}: {status}", signal.flag());
    }
    Ok(())
}

/// A port that nobody listens on now.
pub fn free_port() -> Result<u16> {
    // Below the ports that the system gives to outgoing connections: one of those could take it
    // before whoever asked listens there.
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(131);
    for _ in 0..COUNT {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + begin.wrapping_add(n) % COUNT)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}

pub fn listens(port: u16) -> bool {
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&to, Duration::from_millis(200)).is_ok()
}

/// Polls until `check` gives a value.
pub fn eventually<T>(
    what: &str,
    limit: Duration,
    mut check: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = check()? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("{what}: not within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// A directory of one test's own. Removed on drop, kept when the test fails.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn new(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = paths::scratch().join(format!("{name}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// The same where other users can walk to.
    pub fn public(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("weir-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.path.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
