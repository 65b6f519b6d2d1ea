//! `weir ssh token`: a token that is short enough for the password prompt of ssh.

use std::process::ExitCode;

use clap::Args;
use weir_client::SshTokenRequest;

use super::remote::{Remote, explain, shown};

#[derive(Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    remote: Remote,
    /// For how many minutes; 60 if nothing is said.
    #[arg(long, conflicts_with = "hours")]
    minutes: Option<u32>,
    /// For how many hours, 12 at most.
    #[arg(long)]
    hours: Option<u32>,
}

/// Standard output has the token and nothing else, so that what fills in passwords can have it from there.
pub(super) async fn run(args: TokenArgs) -> anyhow::Result<ExitCode> {
    let hours = args.hours.map(|hours| hours.saturating_mul(60));
    let request = SshTokenRequest {
        minutes: args.minutes.or(hours),
    };
    args.remote.demand_tls()?;
    let client = args.remote.client()?;
    let token = client.ssh_token(&request).await.map_err(explain)?;
    args.remote.print(&token, |token| {
        println!("{}", shown(&token.token));
        let from = token.source.as_deref().unwrap_or("anywhere");
        eprintln!(
            "counts until {} from {}; the record calls it {}",
            token.expires_at,
            shown(from),
            shown(&token.id)
        );
    })?;
    Ok(ExitCode::SUCCESS)
}
