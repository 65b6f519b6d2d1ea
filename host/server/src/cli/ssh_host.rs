//! `weir ssh host-key`: by what hosts are known.

use std::process::ExitCode;

use clap::Subcommand;
use weir_client::{SshHostKey, SshHostKeyState, SshHostKeyVerdict};

use super::remote::{Remote, explain, shown};

#[derive(Subcommand)]
pub(super) enum HostKeyCommand {
    /// List the keys that hosts have shown, and what was said of them.
    List {
        #[command(flatten)]
        remote: Remote,
        /// Only those of this target.
        #[arg(long)]
        target: Option<String>,
    },
    /// Say that a key is the host's. Compare it with what the host says:
    /// ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
    Approve(Verdict),
    /// Say that a key is not the host's, or not any more.
    Reject(Verdict),
}

#[derive(clap::Args)]
pub(super) struct Verdict {
    #[command(flatten)]
    remote: Remote,
    target: String,
    /// The whole of it: SHA256:…
    fingerprint: String,
    #[arg(long)]
    reason: String,
}

pub(super) async fn run(command: HostKeyCommand) -> anyhow::Result<ExitCode> {
    match command {
        HostKeyCommand::List { remote, target } => {
            let page = remote.client()?.ssh_host_keys().await;
            let mut page = page.map_err(explain)?;
            page.items
                .retain(|key| target.as_ref().is_none_or(|target| key.target == *target));
            remote.print(&page, |page| page.items.iter().for_each(line_of))?;
        }
        HostKeyCommand::Approve(verdict) => decide(verdict, true).await?,
        HostKeyCommand::Reject(verdict) => decide(verdict, false).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn decide(verdict: Verdict, approve: bool) -> anyhow::Result<()> {
    let Verdict {
        remote,
        target,
        fingerprint,
        reason,
    } = verdict;
    let body = SshHostKeyVerdict {
        fingerprint,
        reason,
    };
    let client = remote.client()?;
    let done = match approve {
        true => client.approve_ssh_host_key(&target, &body).await,
        false => client.reject_ssh_host_key(&target, &body).await,
    };
    let done = done.map_err(explain)?;
    remote.print(&done, |done| {
        line_of(&done.key);
        if done.sessions_ended > 0 {
            println!("{} session(s) ended", done.sessions_ended);
        }
        for key in &done.forgotten {
            println!("forgotten: the rejection of {}", shown(key));
        }
    })
}

fn line_of(key: &SshHostKey) {
    let state = match key.state {
        SshHostKeyState::Waiting if key.changed => "CHANGED",
        SshHostKeyState::Waiting => "waiting",
        SshHostKeyState::Approved => "approved",
        SshHostKeyState::Rejected => "rejected",
    };
    let kind = key.public_key.split(' ').next().unwrap_or_default();
    let by = key.decided_by.as_ref().map_or(String::new(), |by| {
        let reason = key.reason.as_deref().unwrap_or_default();
        format!("  by {}: {}", shown(by), shown(reason))
    });
    println!(
        "{}  {state}  {}  {}  shown {} time(s), {} to {}{by}",
        shown(&key.target),
        shown(&key.fingerprint),
        shown(kind),
        key.seen,
        key.first_seen,
        key.last_seen
    );
}
