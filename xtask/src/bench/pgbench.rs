//! Runs of pgbench, and what the process in the middle spent on them.

use std::process::Command;

use anyhow::{Context, Result, bail};
use weir_tests::paths;
use weir_tests::proc::Scratch;

use super::stand::{DATABASE, Peer};

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Transactions per second.
    pub tps: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
    /// Microseconds of processor time per transaction; none for the direct way.
    pub cpu: Option<f64>,
}

/// `pgbench -S` for so long.
pub fn run(peer: &Peer, mode: &str, clients: u32, seconds: u64) -> Result<Run> {
    let scratch = Scratch::new("pgbench")?;
    let before = peer.pid.map(cpu_micros).transpose()?;
    let mut command = client(peer, clients)?;
    command.args(["-S", "-M", mode, "-T", &seconds.to_string(), "--log"]);
    command.current_dir(scratch.path());
    let said = output(command)?;
    let after = peer.pid.map(cpu_micros).transpose()?;
    let mut latencies = latencies(&scratch)?;
    if latencies.is_empty() {
        bail!("pgbench through {} did nothing:\n{said}", peer.name);
    }
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    let at = |share: f64| {
        let index = (share * (count - 1.0)) as usize;
        latencies.get(index).copied().unwrap_or_default() as f64
    };
    Ok(Run {
        tps: tps(&said)?,
        p50: at(0.50),
        p99: at(0.99),
        cpu: before
            .zip(after)
            .map(|(before, after)| (after - before) as f64 / count),
    })
}

/// Connections per second: each transaction logs in anew.
pub fn connect(peer: &Peer, seconds: u64) -> Result<f64> {
    let mut command = client(peer, 4)?;
    command.args(["-S", "-C", "-T", &seconds.to_string()]);
    tps(&output(command)?)
}

fn client(peer: &Peer, clients: u32) -> Result<Command> {
    let mut command = Command::new(paths::postgres_bin("pgbench").context("no pgbench")?);
    command
        .args([
            "-n",
            "-c",
            &clients.to_string(),
            "-j",
            &clients.min(2).to_string(),
        ])
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &peer.port.to_string(),
            "-U",
            &peer.user,
            DATABASE,
        ])
        .env("PGPASSWORD", &peer.password)
        .env("PGSSLMODE", "require");
    Ok(command)
}

fn output(mut command: Command) -> Result<String> {
    let out = command.output()?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        bail!(
            "{command:?}: {said}{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(said)
}

fn tps(said: &str) -> Result<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "));
    let number = line
        .and_then(|line| line.split(' ').next())
        .context("pgbench gives no tps")?;
    Ok(number.parse()?)
}

/// The third column of pgbench's transaction logs: microseconds.
fn latencies(scratch: &Scratch) -> Result<Vec<u64>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(scratch.path())? {
        let text = std::fs::read_to_string(entry?.path())?;
        all.extend(
            text.lines()
                .filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()),
        );
    }
    Ok(all)
}

/// Processor time of a process so far, in microseconds.
pub fn cpu_micros(pid: u32) -> Result<u64> {
    /// Linux counts in hundredths of a second on every architecture that Weir runs on.
    const TICK: u64 = 10_000;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command's name stands in parentheses and may hold anything.
    let (_, rest) = stat.rsplit_once(')').context("an odd /proc/pid/stat")?;
    let mut fields = rest
        .split_whitespace()
        .skip(11)
        .map_while(|f| f.parse::<u64>().ok());
    let (user, system) = fields
        .next()
        .zip(fields.next())
        .context("an odd /proc/pid/stat")?;
    Ok((user + system) * TICK)
}
