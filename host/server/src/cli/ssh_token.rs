//! `weir ssh token`: tokens that are short enough for the password prompt of ssh.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use weir_client::{
    ClientError, SshTokenFilter, SshTokenInfo, SshTokenRemoval, SshTokenRequest,
    SshTokenRevocation, SshTokenRevoked,
};

use super::remote::{Listed, Remote, explain, shown};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: Option<TokenCommand>,
    #[command(flatten)]
    new: NewToken,
}

#[derive(Args)]
struct NewToken {
    #[command(flatten)]
    remote: Remote,
    /// For how many minutes; 60 if nothing is said.
    #[arg(long, conflicts_with = "hours")]
    minutes: Option<u32>,
    /// For how many hours, 12 at most.
    #[arg(long)]
    hours: Option<u32>,
}

#[derive(Subcommand)]
enum TokenCommand {
    /// List your short tokens that count, without the tokens.
    List(Listed),
    /// Make a short token count no more, and end the sessions that came in by it.
    Revoke {
        #[command(flatten)]
        remote: Remote,
        /// As it was called when it was printed, and as the list and the record call it.
        id: String,
        /// Why, of one that is not your own; if you may revoke it.
        #[arg(long)]
        reason: Option<String>,
    },
}

pub(super) async fn run(args: TokenArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        None => print(args.new).await?,
        Some(TokenCommand::List(of)) => {
            let client = of.remote.client()?;
            let page = match of.of_others() {
                true => {
                    let subject = of.subject;
                    client.all_ssh_tokens(&SshTokenFilter { subject }).await
                }
                false => client.ssh_tokens().await,
            };
            let page = page.map_err(explain)?;
            of.remote
                .print(&page, |page| page.items.iter().for_each(line_of))?;
        }
        Some(TokenCommand::Revoke { remote, id, reason }) => {
            let done = revoke(&remote, id, reason).await?;
            remote.print(&done, |done| {
                println!(
                    "{} does not count any more; {} session(s) ended",
                    shown(&done.id),
                    done.sessions_ended
                );
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// With a reason, of anybody; without one, of one's own.
async fn revoke(
    remote: &Remote,
    id: String,
    reason: Option<String>,
) -> anyhow::Result<SshTokenRevoked> {
    let client = remote.client()?;
    if let Some(reason) = reason {
        let request = SshTokenRevocation { id, reason };
        return client.revoke_ssh_token(&request).await.map_err(explain);
    }
    let request = SshTokenRemoval { id };
    match client.remove_ssh_token(&request).await {
        Err(ClientError::Refused { status, .. }) if status.as_u16() == 404 => bail!(
            "you have no short token {:?}: weir ssh token list shows yours; of others, say why (--reason)",
            request.id
        ),
        done => done.map_err(explain),
    }
}

/// Standard output has the token and nothing else, so that what fills in passwords can have it from there.
async fn print(new: NewToken) -> anyhow::Result<()> {
    let hours = new.hours.map(|hours| hours.saturating_mul(60));
    let request = SshTokenRequest {
        minutes: new.minutes.or(hours),
    };
    new.remote.demand_tls()?;
    let client = new.remote.client()?;
    let token = client.ssh_token(&request).await.map_err(explain)?;
    new.remote.print(&token, |token| {
        println!("{}", shown(&token.token));
        let from = token.source.as_deref().unwrap_or("anywhere");
        eprintln!(
            "counts until {} from {}; it is called {id}, and ends before that by: weir ssh token revoke {id}",
            token.expires_at,
            shown(from),
            id = shown(&token.id)
        );
    })
}

fn line_of(token: &SshTokenInfo) {
    let from = token.source.as_deref().unwrap_or("anywhere");
    println!(
        "{}  until {}  from {}  of {}",
        shown(&token.id),
        token.expires_at,
        shown(from),
        shown(&token.subject)
    );
}
