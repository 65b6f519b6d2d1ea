//! `weir sessions`: who is connected, what they do, and the kill switch.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::Value;
use weir_client::{KillRequest, SessionFilter, SessionInfo, WatchFilter};

use super::remote::{Remote, explain, shown};

#[derive(Subcommand)]
pub(super) enum SessionsCommand {
    /// List live sessions.
    Ls {
        #[command(flatten)]
        remote: Remote,
        /// Past sessions too.
        #[arg(long)]
        all: bool,
    },
    /// Show one.
    Show {
        #[command(flatten)]
        remote: Remote,
        id: String,
    },
    /// Show what a live session does, as it is recorded, until it ends. That you watch is on record.
    Watch {
        #[command(flatten)]
        remote: Remote,
        id: String,
    },
    /// End a live session at once.
    Kill {
        #[command(flatten)]
        remote: Remote,
        id: String,
        #[arg(long)]
        reason: String,
    },
}

pub(super) async fn run(command: SessionsCommand) -> anyhow::Result<ExitCode> {
    match command {
        SessionsCommand::Ls { remote, all } => {
            let filter = SessionFilter {
                live: (!all).then_some(true),
                ..SessionFilter::default()
            };
            let page = remote.client()?.sessions(&filter).await.map_err(explain)?;
            remote.print(&page, |page| page.items.iter().for_each(line))?;
        }
        SessionsCommand::Show { remote, id } => {
            let session = remote.client()?.session(&id).await.map_err(explain)?;
            remote.print(&session, line)?;
        }
        SessionsCommand::Watch { remote, id } => return watch(&remote, &id).await,
        SessionsCommand::Kill { remote, id, reason } => {
            let session = remote
                .client()?
                .kill_session(&id, &KillRequest { reason })
                .await
                .map_err(explain)?;
            remote.print(&session, line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what `weir replay` would, as text or as JSON lines. Why it ends goes to stderr.
async fn watch(remote: &Remote, id: &str) -> anyhow::Result<ExitCode> {
    let filter = WatchFilter {
        text: (!remote.json).then_some(true),
    };
    let client = remote.client()?;
    let mut session = client.watch_session(id, &filter).await.map_err(explain)?;
    let mut out = std::io::stdout();
    while let Some(line) = session.next().await.map_err(explain)? {
        if let Some(over) = line.get("over").and_then(Value::as_str) {
            let words = line.pointer("/lines/0").and_then(Value::as_str);
            eprintln!("{}", shown(words.unwrap_or(over)));
            return Ok(match over {
                "session" => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            });
        }
        if remote.json {
            writeln!(out, "{line}")?;
        } else {
            let text = line.get("text").and_then(Value::as_str);
            for line in text.unwrap_or_default().lines() {
                writeln!(out, "{}", shown(line))?;
            }
        }
        out.flush()?;
    }
    bail!("the connection to Weir was lost: `weir replay` shows what is on record")
}

fn line(s: &SessionInfo) {
    let end = match (&s.ended_at, &s.end) {
        (Some(at), Some(why)) => format!("ended {at}: {}", shown(why)),
        _ => "live".to_owned(),
    };
    let protocol = match s.protocol.as_str() {
        "" => String::new(),
        known => format!("{} ", shown(known)),
    };
    println!(
        "{}  since {}  {} {} from {} on {protocol}{}/{}  {:?}  {end}",
        s.id,
        s.started_at,
        s.kind,
        shown(&s.principal),
        s.source,
        s.target,
        shown(&s.database),
        shown(&s.application),
    );
}
