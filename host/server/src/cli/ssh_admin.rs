//! `weir ssh`: what people come in by, and by what hosts are known.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use weir_client::{SshCredentialKind, SshRevocation, SshRevocationRequest};

use super::remote::{Remote, explain, shown};
use super::ssh_host::HostKeyCommand;
use super::ssh_key::KeyCommand;
use super::ssh_token::TokenArgs;

#[derive(Subcommand)]
pub(super) enum SshCommand {
    /// Public keys of your own, to come in by.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print a short token for the password prompt, which stands for yours: alone on standard output. Or list and
    /// revoke those that there are.
    Token(TokenArgs),
    /// By what hosts are known.
    #[command(subcommand)]
    HostKey(HostKeyCommand),
    /// Make certificates or a key count no more, and end the sessions that came in by them.
    Revoke {
        #[command(flatten)]
        remote: Remote,
        #[command(flatten)]
        what: What,
        #[arg(long)]
        reason: String,
    },
    /// List what is revoked.
    Revocations {
        #[command(flatten)]
        remote: Remote,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct What {
    /// A certificate: 16 hexadecimal digits.
    #[arg(long)]
    serial: Option<String>,
    /// The certificates with this key id, in full.
    #[arg(long)]
    key_id: Option<String>,
    /// A key, by its fingerprint (SHA256:…) or as a line of OpenSSH.
    #[arg(long)]
    key: Option<String>,
    /// All that somebody came in by up to now, and what others came in by in their name.
    #[arg(long)]
    subject: Option<String>,
}

impl What {
    fn named(self) -> Option<(SshCredentialKind, String)> {
        use SshCredentialKind::{Key, KeyId, Serial, Subject};
        let all = [
            (Serial, self.serial),
            (KeyId, self.key_id),
            (Key, self.key),
            (Subject, self.subject),
        ];
        all.into_iter()
            .find_map(|(kind, value)| value.map(|v| (kind, v)))
    }
}

pub(super) async fn run(command: SshCommand) -> anyhow::Result<ExitCode> {
    match command {
        SshCommand::Key(command) => return super::ssh_key::run(command).await,
        SshCommand::Token(args) => return super::ssh_token::run(args).await,
        SshCommand::HostKey(command) => return super::ssh_host::run(command).await,
        SshCommand::Revoke {
            remote,
            what,
            reason,
        } => {
            let (kind, value) = what
                .named()
                .ok_or_else(|| anyhow::anyhow!("say what is to be revoked"))?;
            let request = SshRevocationRequest {
                kind,
                value,
                reason,
            };
            let done = remote.client()?.revoke_ssh(&request).await;
            let done = done.map_err(explain)?;
            remote.print(&done, |done| {
                revocation(&done.revocation);
                for key in &done.keys_removed {
                    println!("the registered key {} is removed", shown(key));
                }
                for token in &done.tokens_revoked {
                    println!("the short token {} is revoked", shown(token));
                }
                println!("{} session(s) ended", done.sessions_ended);
            })?;
        }
        SshCommand::Revocations { remote } => {
            let page = remote.client()?.ssh_revocations().await.map_err(explain)?;
            remote.print(&page, |page| page.items.iter().for_each(revocation))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn revocation(r: &SshRevocation) {
    let kind = match r.kind {
        SshCredentialKind::Serial => "certificate",
        SshCredentialKind::KeyId => "key id",
        SshCredentialKind::Key => "key",
        SshCredentialKind::Subject => "all of",
    };
    println!(
        "{}  {kind} {}  by {}: {}",
        r.at,
        shown(&r.value),
        shown(&r.by),
        shown(&r.reason)
    );
}
