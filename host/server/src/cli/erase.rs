//! `weir erase`: what was recorded of a session cannot be read any more.

use std::process::ExitCode;

use clap::Args;
use weir_client::{EraseRequest, SessionErasure};

use super::remote::{Remote, explain, shown};

#[derive(Args)]
pub(super) struct EraseArgs {
    #[command(flatten)]
    remote: Remote,
    /// The session, which must have ended.
    session: String,
    /// Why. It is kept for ever: name no person here whose data is erased.
    #[arg(long)]
    reason: String,
}

pub(super) async fn run(args: EraseArgs) -> anyhow::Result<ExitCode> {
    let EraseArgs {
        remote,
        session,
        reason,
    } = args;
    let erased = remote
        .client()?
        .erase_session(&EraseRequest { session, reason })
        .await
        .map_err(explain)?;
    remote.print(&erased, tell)?;
    Ok(match erased.remains.is_empty() {
        true => ExitCode::SUCCESS,
        // It is erased for whoever reads through Weir, and somebody has to do something.
        false => ExitCode::from(3),
    })
}

fn tell(erased: &SessionErasure) {
    println!(
        "session {} is erased: leaf {} of log {}, {}",
        shown(&erased.session),
        erased.leaf,
        shown(&erased.log),
        shown(&erased.at)
    );
    for what in &erased.remains {
        println!("there remains {}", shown(what));
    }
    for what in &erased.notes {
        println!("note: {}", shown(what));
    }
}
