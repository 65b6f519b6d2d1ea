//! How long people wait: for a connection, for a key's echo, for others who wait. And what somebody idle weighs.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::super::bulk::resident_kb;
use super::super::table::Table;
use super::keys::Terminal;
use super::master::Master;
use super::process::{Client, succeed};
use super::stand::{self, BOX, HELD, Peer, Stand};
use super::{Effort, quantile};

const LIMIT: Duration = Duration::from_secs(60);
/// BARS: kilobytes of a session, milliseconds of the others.
const IDLE: f64 = 400.0;
const SETUP_ADDED: f64 = 30.0;
const SETUP_OF_JUMP: f64 = 0.8;
const ECHO: [f64; 2] = [0.2, 2.0];
const ECHO_MASKED: [f64; 2] = [0.3, 20.0];
const HELD_ADDED: f64 = 50.0;
/// Sessions before those that are weighed: what the first ones cost once is not what each costs.
const WARM: usize = 20;
/// What waits on the standard input of what is held.
const WAITING: u64 = 10 << 20;

/// Terminals whose text is masked.
pub fn idle(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    let open = |count: usize, name: &str| -> Result<Vec<Terminal>> {
        let peer = &stand.weir_masked;
        let each = (0..count).map(|n| Terminal::open(peer, &[], &format!("{name}{n}")));
        each.collect()
    };
    let warm = open(WARM, "warm")?;
    std::thread::sleep(Duration::from_secs(2));
    let before = resident_kb(stand.pid())?;
    let sessions = open(effort.sessions, "idle")?;
    std::thread::sleep(Duration::from_secs(2));
    let after = resident_kb(stand.pid())?;
    let each = after.saturating_sub(before) as f64 / sessions.len() as f64;
    drop((sessions, warm));
    let what = format!(
        "memory of an idle session, KiB ({} of them)",
        effort.sessions
    );
    table.absolute(&what, Some(each), IDLE);
    Ok(())
}

pub fn setup(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..effort.connections {
        for (peer, times) in stand.peers().into_iter().zip(&mut times) {
            let ssh = peer.ssh(&[BOX, "true"]);
            let null = Stdio::null;
            let took = succeed(ssh, null(), null(), &peer.errors("setup"), LIMIT)?;
            times.push(took.as_secs_f64() * 1000.0);
        }
    }
    let middle = times.map(|times| quantile(&times, 0.5));
    let [direct, jump, weir] = middle;
    let added = direct.zip(weir).map(|(direct, weir)| weir - direct);
    table.judged(
        "connection and `true`, p50, ms",
        middle,
        &added.map_or(String::new(), |ms| format!("{ms:+.1} ms")),
        &format!("≤ direct + {SETUP_ADDED} ms"),
        added.map(|ms| ms <= SETUP_ADDED),
    );
    table.line(
        "the same against ssh -J",
        middle,
        weir.zip(jump).map(|(weir, jump)| weir / jump),
        &super::super::table::Goal::AtMost(SETUP_OF_JUMP),
    );
    Ok(())
}

pub fn echo(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    let peers = [
        &stand.direct,
        &stand.jump,
        &stand.weir_plain,
        &stand.weir_masked,
    ];
    let terminals = peers.map(|peer| Terminal::open(peer, &[], "echo"));
    let mut times = [const { Vec::new() }; 4];
    let mut all = Vec::new();
    for terminal in terminals {
        all.push(terminal?);
    }
    /// Keys of one peer's turn.
    const TURN: usize = 25;
    let mut left = effort.keys;
    while left > 0 {
        let now = left.min(TURN);
        for (terminal, times) in all.iter_mut().zip(&mut times) {
            times.extend(terminal.keys(now)?);
        }
        left -= now;
    }
    let [direct, jump, plain, masked] = times;
    for (which, weir, goals) in [("", plain, ECHO), (", masked", masked, ECHO_MASKED)] {
        for (name, share, most) in [("p50", 0.5, goals[0]), ("p99", 0.99, goals[1])] {
            let values = [&direct, &jump, &weir].map(|times| quantile(times, share));
            let added = values[2].zip(values[0]).map(|(weir, direct)| weir - direct);
            table.judged(
                &format!("echo of a key{which}, {name}, ms ({} keys)", effort.keys),
                values,
                &added.map_or(String::new(), |ms| format!("{ms:+.2} ms")),
                &format!("≤ direct + {most} ms"),
                added.map(|ms| ms <= most),
            );
        }
    }
    Ok(())
}

/// Keys and new channels of a connection, while another channel of it waits with its standard input full, and while
/// none does.
pub fn held(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    let peer = &stand.weir_plain;
    let master = Master::open(peer, "master")?;
    let [s, socket] = master.args();
    let through = [s.as_str(), socket.as_str()];
    let mut terminal = Terminal::open(peer, &through, "neighbour")?;
    let input = stand.scratch.join("waiting");
    stand::write_text(&input, WAITING)?;
    let each = (effort.keys / effort.rounds / 2).max(10);
    // Without and with a channel that waits.
    let (mut keys, mut channels) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2]);
    for round in 0..effort.rounds {
        let turns = [false, true]
            .into_iter()
            .zip(keys.iter_mut().zip(&mut channels));
        for (waits, (keys, channels)) in turns {
            let held = waits.then(|| hold(peer, &master, &input, round));
            let held = held.transpose()?;
            keys.extend(terminal.keys(each)?);
            for _ in 0..each.div_ceil(10) {
                let null = Stdio::null;
                let ssh = master.ssh("true");
                let took = succeed(ssh, null(), null(), &peer.errors("new"), LIMIT)?;
                channels.push(took.as_secs_f64() * 1000.0);
            }
            if let Some(mut held) = held
                && held.has_ended()?
            {
                bail!("what was to be held has ended");
            }
        }
    }
    for (what, [without, with]) in [("a key", keys), ("a new channel with `true`", channels)] {
        let [without, with] = [without, with].map(|times| quantile(&times, 0.99));
        let added = with.zip(without).map(|(with, without)| with - without);
        let shown = without.map_or(String::new(), |ms| format!("; {ms:.1} without"));
        table.judged(
            &format!("{what} beside a held channel, p99, ms{shown}"),
            [with],
            &added.map_or(String::new(), |ms| format!("{ms:+.1} ms")),
            &format!("≤ + {HELD_ADDED} ms"),
            added.map(|ms| ms <= HELD_ADDED),
        );
    }
    Ok(())
}

/// A channel that waits for people who never come.
fn hold(peer: &Peer, master: &Master<'_>, input: &Path, round: usize) -> Result<Client> {
    let errors = peer.errors(&format!("held{round}"));
    let input = File::open(input)?;
    let mut client = Client::spawn(master.ssh(HELD), input.into(), Stdio::null(), &errors)?;
    let begin = Instant::now();
    loop {
        let said = std::fs::read_to_string(&errors).context("what Weir says")?;
        // Its notice, and time for its input to have come as far as it can.
        if !said.is_empty() {
            std::thread::sleep(Duration::from_millis(500));
        }
        if client.has_ended()? || begin.elapsed() > LIMIT {
            bail!("it is not held: {said}");
        }
        if !said.is_empty() {
            return Ok(client);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
