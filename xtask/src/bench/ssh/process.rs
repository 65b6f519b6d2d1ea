//! Clients: started, waited for with a limit, and what the process in the middle needed for them.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::pgbench::cpu_micros;

/// How often is looked whether a client has ended: often while that is what is measured.
const SOON: Duration = Duration::from_micros(300);
const LATER: Duration = Duration::from_millis(5);
/// What the middle has to do behind a transfer is done when it does nothing for so long.
const QUIET: Duration = Duration::from_millis(400);
/// Processor time that is nothing, within `QUIET`.
const NOTHING: u64 = 20_000;
/// However much there is to be done.
const SETTLED: Duration = Duration::from_secs(60);

/// A client that ends with this value.
pub struct Client {
    child: Child,
    begin: Instant,
}

/// How it went. No status: it had not ended within the limit, and was ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    pub status: Option<ExitStatus>,
    pub took: Duration,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status?.code()
    }

    pub fn is_hung(&self) -> bool {
        self.status.is_none()
    }
}

impl Client {
    /// Its errors go to a file.
    pub fn spawn(mut command: Command, stdin: Stdio, stdout: Stdio, errors: &Path) -> Result<Self> {
        command.stdin(stdin).stdout(stdout);
        command.stderr(File::create(errors)?);
        let begin = Instant::now();
        let child = command.spawn();
        let child = child.with_context(|| format!("{command:?} could not be started"))?;
        Ok(Self { child, begin })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub fn finish(mut self, limit: Duration) -> Result<Ended> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                let took = self.begin.elapsed();
                let status = Some(status);
                return Ok(Ended { status, took });
            }
            let took = self.begin.elapsed();
            if took > limit {
                return Ok(Ended { status: None, took });
            }
            let short = took < Duration::from_secs(2);
            std::thread::sleep(if short { SOON } else { LATER });
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Of one that has ended neither does anything.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client that has to succeed.
pub fn succeed(
    command: Command,
    stdin: Stdio,
    stdout: Stdio,
    errors: &Path,
    limit: Duration,
) -> Result<Duration> {
    let shown = format!("{command:?}");
    let ended = Client::spawn(command, stdin, stdout, errors)?.finish(limit)?;
    if ended.code() != Some(0) {
        let said = std::fs::read_to_string(errors).unwrap_or_default();
        bail!("{shown}: {:?}\n{}", ended.status, said.trim_end());
    }
    Ok(ended.took)
}

/// Processor time of a process in microseconds, once it has nothing more to do for what was.
pub fn settled(pid: u32) -> Result<u64> {
    let begin = Instant::now();
    let mut before = cpu_micros(pid)?;
    loop {
        std::thread::sleep(QUIET);
        let now = cpu_micros(pid)?;
        if now - before <= NOTHING || begin.elapsed() > SETTLED {
            return Ok(now);
        }
        before = now;
    }
}
