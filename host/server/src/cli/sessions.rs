//! `weir sessions`: who is connected, and the kill switch.

use std::process::ExitCode;

use clap::Subcommand;
use weir_client::{KillRequest, SessionFilter, SessionInfo};

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

fn line(s: &SessionInfo) {
    let end = match (&s.ended_at, &s.end) {
        (Some(at), Some(why)) => format!("ended {at}: {}", shown(why)),
        _ => "live".to_owned(),
    };
    println!(
        "{}  since {}  {} {} from {} on {}/{}  {:?}  {end}",
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
