//! Files: read in flight and hashed.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use super::super::table::{Goal, Table};
use super::Effort;
use super::process::succeed;
use super::stand::{BOX, Peer, Stand};
use super::throughput::{Moved, compare, measured};

const LIMIT: Duration = Duration::from_secs(900);

fn copy(peer: &Peer, bytes: u64, from: &str, to: &str) -> Result<Moved> {
    let mut scp = peer.program("scp");
    scp.args(["-q", from, to]);
    measured(peer, bytes, || {
        let null = Stdio::null;
        succeed(scp, null(), null(), &peer.errors("scp"), LIMIT)
    })
}

/// By scp, which speaks SFTP.
pub fn scp(stand: &Stand, effort: &Effort, table: &mut Table) -> Result<()> {
    let bytes = effort.mib << 20;
    let here = stand.binary.display().to_string();
    let there = stand.scratch.join("copied").display().to_string();
    let (source, target) = (format!("{BOX}:{here}"), format!("{BOX}:{there}"));
    for (what, from, to) in [
        ("scp down", &source, "/dev/null"),
        ("scp up", &here, &target),
    ] {
        eprintln!(" {what}: direct, ssh -J, weir");
        let goals = [Goal::Report, Goal::Report, Goal::Report];
        compare(table, effort, what, goals, |which| {
            let peers = stand.peers();
            let peer = peers.get(which).copied().unwrap_or(&stand.weir_plain);
            copy(peer, bytes, from, to)
        })?;
    }
    Ok(())
}
