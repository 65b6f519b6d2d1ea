//! `weir target`: the configured upstreams, without their addresses and credentials.

use std::process::ExitCode;

use clap::Subcommand;

use super::remote::{Remote, explain};

#[derive(Subcommand)]
pub(super) enum TargetCommand {
    /// List them.
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
}

pub(super) async fn run(command: TargetCommand) -> anyhow::Result<ExitCode> {
    let TargetCommand::Ls { remote } = command;
    let page = remote.client()?.targets().await.map_err(explain)?;
    remote.print(&page, |page| {
        for t in &page.items {
            println!("{}  {}  {}", t.name, t.protocol, t.env);
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
