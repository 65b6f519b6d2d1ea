//! What must never go wrong: exit codes that are lost, transfers that hang, bytes that change.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::super::table::Table;
use super::Effort;
use super::master::Master;
use super::process::Client;
use super::stand::{
    self, LIVELY, LIVELY_BYTES, Peer, RESTLESS, RESTLESS_BYTES, Stand, count_new_keys,
};

/// A client that has not ended by then never will.
const LIMIT: Duration = Duration::from_secs(120);
/// Connections with many channels, and channels of each at the same time.
const MASTERS: usize = 4;
const CHANNELS: usize = 4;
/// Exit codes: 255 is what the client says for itself.
const CODES: usize = 255;
/// What a channel reads before it ends: more than a pipe holds, so that the end comes close behind it.
const INPUT: u64 = 150_000;
/// Transfers at the same time, and what each of them moves both ways.
const TRANSFERS: usize = 4;
const MOVED: u64 = 4 << 20;
/// Of what did not go well, so much is told.
const TOLD: usize = 5;

/// What went wrong, by kind.
#[derive(Default)]
struct Wrong {
    lost: AtomicUsize,
    hung: AtomicUsize,
    changed: AtomicUsize,
    told: Mutex<Vec<String>>,
}

impl Wrong {
    fn count(&self, kind: &AtomicUsize, what: String) {
        kind.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut told) = self.told.lock()
            && told.len() < TOLD
        {
            told.push(what);
        }
    }

    fn tell(&self) {
        for what in self.told.lock().iter().flat_map(|told| told.iter()) {
            eprintln!("  {what}");
        }
    }

    fn sum(&self) -> usize {
        let all = [&self.lost, &self.hung, &self.changed];
        all.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }
}

/// `each` gets every number below `count` once; it is called with the number of its thread, too.
fn share(
    threads: usize,
    count: usize,
    each: impl Fn(usize, usize) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let work = |thread: usize| {
            let (each, next) = (&each, &next);
            move || -> Result<()> {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return Ok(());
                    }
                    if n > 0 && n.is_multiple_of(1_000) {
                        eprintln!("  {n} of {count}");
                    }
                    each(thread, n)?;
                }
            }
        };
        let running: Vec<_> = (0..threads).map(|t| scope.spawn(work(t))).collect();
        let mut all = Ok(());
        for thread in running {
            let ended = thread.join();
            all = all.and(ended.unwrap_or_else(|_| bail!("a thread has panicked")));
        }
        all
    })
}

fn verdict(wrong: usize) -> &'static str {
    match wrong {
        0 => "met",
        _ => "missed",
    }
}

/// Half of them read input to its end first: both ends are near each other then.
pub fn exits(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    let input = stand.scratch.join("input");
    stand::write_text(&input, INPUT)?;
    let ways: [(&Peer, usize); 2] = [
        // So that it is known what is lost without Weir.
        (&stand.direct, (effort.exits / 10).max(1)),
        (&stand.weir_masked, effort.exits),
    ];
    let mut said = [const { String::new() }; 2];
    let mut wrong = 0;
    for ((peer, count), said) in ways.into_iter().zip(&mut said) {
        let all = exits_of(peer, count, &input)?;
        all.tell();
        let [lost, hung] = [&all.lost, &all.hung].map(|n| n.load(Ordering::Relaxed));
        *said = format!("{lost} lost, {hung} hung");
        wrong = all.sum();
    }
    let what = format!(
        "exit codes of {} multiplexed sessions (direct, {}: {})",
        effort.exits, ways[0].1, said[0]
    );
    table.said(&what, &said[1], "0 lost", verdict(wrong));
    Ok(())
}

fn exits_of(peer: &Peer, count: usize, input: &Path) -> Result<Wrong> {
    let wrong = Wrong::default();
    let masters = (0..MASTERS).map(|n| Master::open(peer, &format!("master{n}")));
    let mut masters: Vec<_> = masters.collect::<Result<_>>()?;
    share(MASTERS * CHANNELS, count, |thread, n| {
        let master = masters.get(thread % MASTERS).context("no connection")?;
        let code = n % CODES;
        let (command, stdin) = match n % 2 {
            0 => ("cat >/dev/null", File::open(input)?.into()),
            _ => ("echo done", Stdio::null()),
        };
        let ssh = master.ssh(&format!("{command}; exit {code}"));
        let errors = peer.errors(&format!("exit{thread}"));
        let ended = Client::spawn(ssh, stdin, Stdio::null(), &errors)?.finish(LIMIT)?;
        let got = ended.code();
        if ended.is_hung() {
            wrong.count(&wrong.hung, format!("{n}: no end within {LIMIT:?}"));
        } else if got != i32::try_from(code).ok() {
            let said = std::fs::read_to_string(&errors)?;
            let what = format!("{n}: {code} became {got:?}: {}", said.trim_end());
            wrong.count(&wrong.lost, what);
        }
        Ok(())
    })?;
    for master in &mut masters {
        if !master.is_open()? {
            wrong.count(
                &wrong.lost,
                "a connection has ended with all of its channels".into(),
            );
        }
    }
    Ok(wrong)
}

/// Both ways at once, while both ends change keys all the time; by turns masked and not.
pub fn rekeys(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    let input = stand.scratch.join("moved");
    stand::write_text(&input, MOVED)?;
    let expected = std::fs::read(&input)?;
    let wrong = Wrong::default();
    let keys = AtomicUsize::new(0);
    let before = stand.new_keys(RESTLESS);
    let limit = format!("RekeyLimit={RESTLESS_BYTES}");
    share(TRANSFERS, effort.transfers, |thread, n| {
        let peer = match n % 2 {
            0 => &stand.weir_plain,
            _ => &stand.weir_masked,
        };
        let out = peer.dir.join(format!("moved{thread}"));
        let errors = peer.errors(&format!("moved{thread}"));
        let ssh = peer.ssh(&["-v", "-o", &limit, RESTLESS, "cat"]);
        let (stdin, stdout) = (File::open(&input)?, File::create(&out)?);
        let ended = Client::spawn(ssh, stdin.into(), stdout.into(), &errors)?.finish(LIMIT)?;
        let said = std::fs::read_to_string(&errors)?;
        let seen = count_new_keys(&said).saturating_sub(1);
        keys.fetch_add(seen, Ordering::Relaxed);
        let last = || said.lines().last().unwrap_or_default().to_owned();
        if ended.is_hung() {
            wrong.count(
                &wrong.hung,
                format!("{n}: no end after {seen} changes of keys: {}", last()),
            );
        } else if ended.code() != Some(0) {
            wrong.count(&wrong.lost, format!("{n}: {:?}: {}", ended.status, last()));
        } else if std::fs::read(&out)? != expected {
            wrong.count(&wrong.changed, format!("{n}: other bytes came back"));
        }
        Ok(())
    })?;
    wrong.tell();
    // The first keys of a connection are no change.
    let host = stand.new_keys(RESTLESS) - before;
    let host = host.saturating_sub(effort.transfers);
    let client = keys.load(Ordering::Relaxed);
    let [lost, hung, changed] =
        [&wrong.lost, &wrong.hung, &wrong.changed].map(|n| n.load(Ordering::Relaxed));
    let what = format!(
        "{} transfers of {} MiB both ways at once, keys changed {client} times before Weir and {host} behind",
        effort.transfers,
        MOVED >> 20
    );
    let said = format!("{hung} hung, {lost} broken, {changed} changed");
    // Without changes of keys nothing was shown.
    let shown = client.min(host) >= effort.transfers;
    let verdict = if shown {
        verdict(wrong.sum())
    } else {
        "no rekeys"
    };
    table.said(&what, &said, "0 hung", verdict);
    Ok(())
}

/// Numbered lines: nothing of them can be lost, doubled or moved and have the same hash.
pub fn bytes(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    let peer = &stand.weir_plain;
    let count = effort.gib << 30;
    let source = format!("seq 1000000000 9999999999 | head -c {count}");
    let expected = hash(peer, &format!("{source} | sha256sum"))?;
    let ssh = format!(
        "ssh -F {}/config -v -o RekeyLimit={LIVELY_BYTES} {LIVELY}",
        peer.dir.display()
    );
    let errors = peer.errors("bytes");
    for (way, script) in [
        (
            "down",
            format!("{ssh} '{source}' 2>{} | sha256sum", errors.display()),
        ),
        (
            "up",
            format!("{source} | {ssh} sha256sum 2>{}", errors.display()),
        ),
    ] {
        eprintln!("  {way}");
        let before = stand.new_keys(LIVELY);
        let got = hash(peer, &script);
        let client = count_new_keys(&std::fs::read_to_string(&errors)?).saturating_sub(1);
        let host = (stand.new_keys(LIVELY) - before).saturating_sub(1);
        let what = format!(
            "{} GiB {way}, keys changed {client} times before Weir and {host} behind",
            effort.gib
        );
        match got {
            Ok(hash) if hash == expected => table.said(&what, "the same bytes", "exact", "met"),
            Ok(_) => table.said(&what, "other bytes", "exact", "missed"),
            Err(error) => {
                eprintln!("  {error:#}");
                table.said(&what, "it broke off", "exact", "missed");
            }
        }
    }
    Ok(())
}

/// The hash that a script of bash prints.
fn hash(peer: &Peer, script: &str) -> Result<String> {
    /// Seconds.
    const MOST: &str = "3600";
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", MOST, "bash", "-c", script]);
    command.current_dir(&peer.dir).stdin(Stdio::null());
    let out = command.env_remove("SSH_AUTH_SOCK").output()?;
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    match said.split_whitespace().next() {
        Some(hash) if out.status.success() && hash.len() == 64 => Ok(hash.to_owned()),
        _ => bail!(
            "{script}: {}: {said}{}",
            out.status,
            String::from_utf8_lossy(&out.stderr)
        ),
    }
}
