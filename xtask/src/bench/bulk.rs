//! Many rows, many sessions, one huge field.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use weir_tests::postgres::QUIET_CONNECTIONS;
use weir_tests::wire::Client;

use super::pgbench::cpu_micros;
use super::stand::{DATABASE, Peer};

/// One bulk transfer.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    pub rows_per_second: f64,
    /// Nanoseconds of the process in the middle, per row.
    pub cpu: Option<f64>,
}

fn connect(peer: &Peer) -> Result<Client> {
    Client::connect_tls(peer.port, &peer.user, DATABASE, &peer.password)
        .with_context(|| format!("connecting through {}", peer.name))
}

/// Reads all rows and keeps none.
pub fn rows(peer: &Peer, sql: &str) -> Result<Transfer> {
    let mut client = connect(peer)?;
    let before = peer.pid.map(cpu_micros).transpose()?;
    let started = Instant::now();
    let (rows, _) = client.drain(sql)?;
    let elapsed = started.elapsed().as_secs_f64();
    let after = peer.pid.map(cpu_micros).transpose()?;
    if rows == 0 {
        bail!("{sql} through {} gave no rows", peer.name);
    }
    let cpu = before
        .zip(after)
        .map(|(b, a)| (a - b) as f64 * 1000.0 / rows as f64);
    Ok(Transfer {
        rows_per_second: rows as f64 / elapsed,
        cpu,
    })
}

/// What idle sessions weigh.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Of the proxy, for each.
    pub kilobytes: f64,
    pub sessions: usize,
    /// What does not allow more of them, where that is so.
    pub limit: Option<&'static str>,
}

/// Opens as many sessions as are wanted, or as this machine allows.
pub fn idle(peer: &Peer, wanted: usize) -> Result<Idle> {
    let pid = peer.pid.context("no process to measure")?;
    let (sessions, limit) = allowed(wanted)?;
    // What the first sessions cost once is not what each costs.
    let warm: Vec<Client> = (0..WARM).map(|_| plain(peer)).collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_secs(1));
    let before = resident_kb(pid)?;
    let open: Vec<Client> = (0..sessions).map(|_| plain(peer)).collect::<Result<_>>()?;
    std::thread::sleep(Duration::from_secs(1));
    let after = resident_kb(pid)?;
    drop(warm);
    Ok(Idle {
        kilobytes: after.saturating_sub(before) as f64 / open.len() as f64,
        sessions,
        limit,
    })
}

const WARM: usize = 20;
/// One session is two descriptors of Weir, and two of ours: the pipes to a TLS client.
const DESCRIPTORS: usize = 2;
/// One session is also a process of PostgreSQL's and a TLS client of the bench's.
const NEIGHBOURS_KB: usize = 8 << 10;
/// What everything else takes.
const SPARE: usize = 200;

/// At most so many as are wanted, and what keeps it from being more.
fn allowed(wanted: usize) -> Result<(usize, Option<&'static str>)> {
    let descriptors = field("/proc/self/limits", "Max open files")?;
    let memory = field("/proc/meminfo", "MemAvailable:")?;
    let limits = [
        (wanted, None),
        (
            descriptors.saturating_sub(SPARE) / DESCRIPTORS,
            Some("file descriptors"),
        ),
        (memory / NEIGHBOURS_KB, Some("memory")),
        (QUIET_CONNECTIONS - SPARE, Some("the PostgreSQL behind it")),
    ];
    let least = limits.into_iter().min_by_key(|(sessions, _)| *sessions);
    Ok(least.unwrap_or((wanted, None)))
}

/// The first number behind a name in a file of /proc; what is unlimited is very much.
fn field(path: &str, name: &str) -> Result<usize> {
    let text = std::fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    let value = value.with_context(|| format!("{path} has no {name:?}"))?;
    Ok(value.parse().unwrap_or(usize::MAX))
}

fn plain(peer: &Peer) -> Result<Client> {
    let mut client = connect(peer)?;
    let reply = client.query("SELECT 1")?;
    if let Some(error) = reply.error() {
        bail!("{}", error.message());
    }
    Ok(client)
}

/// Megabytes that the process grows by while a field of a gigabyte passes.
pub fn huge(peer: &Peer) -> Result<Result<f64, String>> {
    const BYTES: u64 = 1_000_000_000;
    let pid = peer.pid.context("no process to measure")?;
    let mut client = connect(peer)?;
    let before = resident_kb(pid)?;
    let peak = AtomicU64::new(before);
    let done = AtomicBool::new(false);
    let passed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(resident_kb(pid).unwrap_or_default(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let passed = client.drain(&format!("SELECT repeat('x', {BYTES})"));
        done.store(true, Ordering::Relaxed);
        passed
    });
    let growth = peak.load(Ordering::Relaxed).saturating_sub(before) as f64 / 1024.0;
    Ok(match passed {
        Ok((1, bytes)) if bytes >= BYTES => Ok(growth),
        Ok((rows, bytes)) => Err(format!("only {rows} rows, {bytes} bytes came through")),
        Err(error) => Err(format!("it did not pass: {error:#}")),
    })
}

/// What the process has in memory.
pub fn resident_kb(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    line.split_whitespace()
        .next()
        .and_then(|kb| kb.parse().ok())
        .context("an odd VmRSS")
}
