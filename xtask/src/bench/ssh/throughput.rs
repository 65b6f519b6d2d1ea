//! Large streams: how fast, what they cost Weir, and what masks and the record add to that.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use super::super::pgbench::cpu_micros;
use super::super::table::{Goal, Table};
use super::process::{settled, succeed};
use super::stand::{BOX, Peer, Stand};
use super::{Effort, medians};

const LIMIT: Duration = Duration::from_secs(900);

#[derive(Debug, Clone, Copy)]
pub enum Way {
    Down,
    Up,
}

/// Of one transfer, with the connection that it needs.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    pub seconds: f64,
    /// Seconds of Weir's processor time for a GiB, with what is left to do when the client has ended.
    pub cpu: f64,
}

pub fn transfer(peer: &Peer, way: Way, file: &Path) -> Result<Moved> {
    let (command, stdin) = match way {
        Way::Down => (format!("cat {}", file.display()), Stdio::null()),
        Way::Up => ("cat >/dev/null".into(), File::open(file)?.into()),
    };
    let ssh = peer.ssh(&[BOX, &command]);
    let bytes = std::fs::metadata(file)?.len();
    measured(peer, bytes, || {
        succeed(ssh, stdin, Stdio::null(), &peer.errors("transfer"), LIMIT)
    })
}

/// What Weir needs for this.
pub fn measured(peer: &Peer, bytes: u64, run: impl FnOnce() -> Result<Duration>) -> Result<Moved> {
    let before = peer.pid.map(cpu_micros).transpose()?;
    let took = run()?;
    let after = peer.pid.map(settled).transpose()?;
    let micros = before
        .zip(after)
        .map_or(0, |(before, after)| after - before);
    Ok(Moved {
        seconds: took.as_secs_f64(),
        cpu: micros as f64 / 1e6 * gib() / bytes as f64,
    })
}

fn gib() -> f64 {
    f64::from(1 << 30)
}

/// In each round every peer has its turn.
fn rounds<const N: usize>(
    effort: &Effort,
    mut each: impl FnMut(usize) -> Result<Moved>,
) -> Result<Vec<[Moved; N]>> {
    let mut rounds = Vec::new();
    for round in 1..=effort.rounds {
        let mut all = [Moved {
            seconds: 0.0,
            cpu: 0.0,
        }; N];
        for (which, slot) in all.iter_mut().enumerate() {
            *slot = each(which)?;
        }
        let shown: Vec<_> = all
            .iter()
            .map(|m| format!("{:.2} s ({:.2} CPU s/GiB)", m.seconds, m.cpu))
            .collect();
        eprintln!("  round {round} of {}: {}", effort.rounds, shown.join(", "));
        rounds.push(all);
    }
    Ok(rounds)
}

/// The rows of a transfer that all peers make.
pub fn compare(
    table: &mut Table,
    effort: &Effort,
    what: &str,
    goals: [Goal; 3],
    mut each: impl FnMut(usize) -> Result<Moved>,
) -> Result<()> {
    let rounds = rounds::<3>(effort, &mut each)?;
    let seconds: Vec<[f64; 3]> = rounds.iter().map(|r| r.map(|m| m.seconds)).collect();
    let speed = |which: usize| {
        let of = |r: &[f64; 3]| effort.mib as f64 / r.get(which).copied().unwrap_or(f64::NAN);
        medians(&seconds, of)
    };
    let [direct, jump, cpu] = goals;
    table.line(
        &format!("{what}, MiB/s, against direct"),
        [speed(0), speed(1), speed(2)],
        medians(&seconds, |[direct, _, weir]| direct / weir),
        &direct,
    );
    table.line(
        &format!("{what}, MiB/s, against ssh -J"),
        [speed(0), speed(1), speed(2)],
        medians(&seconds, |[_, jump, weir]| jump / weir),
        &jump,
    );
    let used: Vec<[f64; 1]> = rounds.iter().map(|[.., weir]| [weir.cpu]).collect();
    let used = medians(&used, |[cpu]| *cpu);
    let what = format!("{what}, gateway CPU, s/GiB");
    match cpu {
        Goal::AtMost(most) => table.absolute(&what, used, most),
        goal => table.line(&what, [used], None, &goal),
    }
    Ok(())
}

pub fn plain(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    for (file, content, binding) in [
        (&stand.binary, "no text", true),
        (&stand.text, "text", false),
    ] {
        for (way, direction) in [(Way::Down, "down"), (Way::Up, "up")] {
            let what = format!("{direction}, unmasked, {content}");
            eprintln!(" {what}: direct, ssh -J, weir");
            let goals = match binding {
                true => [Goal::AtLeast(0.75), Goal::AtLeast(1.3), Goal::AtMost(0.6)],
                false => [Goal::Report, Goal::Report, Goal::Report],
            };
            compare(table, effort, &what, goals, |which| {
                let peers = stand.peers();
                let peer = peers.get(which).copied().unwrap_or(&stand.weir_plain);
                transfer(peer, way, file)
            })?;
        }
    }
    Ok(())
}

/// The same stream by somebody for whom it is shown as it is, and by somebody for whom it is masked.
pub fn masking(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    for (file, content, goal) in [
        (&stand.text, "text", Some(0.25)),
        (&stand.binary, "what is no text", None),
    ] {
        eprintln!(" {content}: unmasked, masked");
        let peers = [&stand.weir_plain, &stand.weir_masked];
        let rounds = rounds::<2>(effort, |which| {
            let peer = peers.get(which).copied().unwrap_or(&stand.weir_plain);
            transfer(peer, Way::Down, file)
        })?;
        let cpu: Vec<[f64; 2]> = rounds.iter().map(|r| r.map(|m| m.cpu)).collect();
        let added = medians(&cpu, |[plain, masked]| masked - plain);
        let what = format!("masking of {content} adds, CPU s/GiB");
        match goal {
            Some(most) => table.absolute(&what, added, most),
            None => table.line(&what, [added], None, &Goal::Report),
        }
        let seconds: Vec<[f64; 2]> = rounds.iter().map(|r| r.map(|m| m.seconds)).collect();
        table.line(
            &format!("masked {content}, wall against unmasked, s"),
            [medians(&seconds, |[_, masked]| *masked)],
            medians(&seconds, |[plain, masked]| masked / plain),
            &Goal::Report,
        );
    }
    Ok(())
}

/// The same stream by somebody whose input is not recorded, and by somebody whose input is. Nobody's output is
/// ever left unrecorded, so input has to tell.
pub fn recording(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    for (file, content) in [(&stand.text, "text"), (&stand.binary, "no text")] {
        eprintln!(" {content}: unrecorded, recorded");
        let peers = [&stand.weir_plain, &stand.weir_recorded];
        let rounds = rounds::<2>(effort, |which| {
            let peer = peers.get(which).copied().unwrap_or(&stand.weir_plain);
            transfer(peer, Way::Up, file)
        })?;
        let seconds: Vec<[f64; 2]> = rounds.iter().map(|r| r.map(|m| m.seconds)).collect();
        table.line(
            &format!("recorded input, {content}, wall against unrecorded, s"),
            [medians(&seconds, |[_, recorded]| *recorded)],
            medians(&seconds, |[without, recorded]| recorded / without),
            &Goal::AtMost(1.1),
        );
        let cpu: Vec<[f64; 2]> = rounds.iter().map(|r| r.map(|m| m.cpu)).collect();
        let added = medians(&cpu, |[without, recorded]| recorded - without);
        let what = format!("recording of {content} adds, CPU s/GiB");
        table.line(&what, [added], None, &Goal::Report);
    }
    Ok(())
}
