//! `weir plugin`: upload, list and remove Wasm components.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use weir_client::{PluginChange, PluginConfirm, PluginInfo, PluginState};

use super::remote::{Remote, explain, shown};

#[derive(Subcommand)]
pub(super) enum PluginCommand {
    /// List the plugins in use.
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// Upload a component. A new one is used from the next session on; what takes the place of
    /// another one waits until somebody else confirms it.
    Push {
        #[command(flatten)]
        remote: Remote,
        name: String,
        file: PathBuf,
        /// The plugin's configuration.
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
        config: Vec<(String, String)>,
    },
    /// Ask for the removal of a plugin; somebody else confirms it.
    Rm {
        #[command(flatten)]
        remote: Remote,
        name: String,
    },
    /// Confirm a change that somebody else asked for.
    Confirm {
        #[command(flatten)]
        remote: Remote,
        name: String,
        /// The change's id, as `weir plugin ls` shows it.
        change: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))
}

pub(super) async fn run(command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::Ls { remote } => {
            let page = remote.client()?.plugins().await.map_err(explain)?;
            remote.print(&page, |page| page.items.iter().for_each(line))?;
        }
        PluginCommand::Push {
            remote,
            name,
            file,
            config,
        } => {
            let component = std::fs::read(&file)
                .with_context(|| format!("the component {} cannot be read", file.display()))?;
            let config: BTreeMap<_, _> = config.into_iter().collect();
            let plugin = remote
                .client()?
                .upload_plugin(&name, &component, config)
                .await
                .map_err(explain)?;
            remote.print(&plugin, line)?;
        }
        PluginCommand::Rm { remote, name } => {
            let plugin = remote
                .client()?
                .remove_plugin(&name)
                .await
                .map_err(explain)?;
            remote.print(&plugin, line)?;
        }
        PluginCommand::Confirm {
            remote,
            name,
            change,
            reason,
        } => {
            let confirm = PluginConfirm { change, reason };
            let plugin = remote
                .client()?
                .confirm_plugin(&name, &confirm)
                .await
                .map_err(explain)?;
            remote.print(&plugin, line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(p: &PluginInfo) {
    let state = match p.state {
        PluginState::Loaded => "",
        PluginState::Missing => "  MISSING, what it would look at is refused",
        PluginState::Removed => "  removed",
    };
    println!(
        "{} {} [{}] {} bytes, sha256 {}, by {}{state}",
        shown(&p.summary.name),
        shown(&p.summary.version),
        p.summary.capabilities.join(", "),
        p.size,
        p.summary.digest,
        p.uploaded_by
            .as_deref()
            .map_or_else(|| "configuration".into(), shown),
    );
    if let Some(problem) = &p.problem {
        println!("    {}", shown(problem));
    }
    if let Some(change) = &p.pending {
        pending(&p.summary.name, change);
    }
}

/// Whoever confirms must see what, and how.
fn pending(name: &str, change: &PluginChange) {
    match &change.summary {
        None => println!(
            "    waits: its removal, asked for by {}",
            shown(&change.author)
        ),
        Some(new) => {
            println!(
                "    waits: version {}, [{}], {} bytes, sha256 {}, asked for by {}",
                shown(&new.version),
                new.capabilities.join(", "),
                change.size,
                new.digest,
                shown(&change.author),
            );
            for (key, value) in &change.config {
                println!("      {}={}", shown(key), shown(value));
            }
        }
    }
    println!(
        "    until {}; somebody else confirms: weir plugin confirm {} {}",
        change.expires_at,
        shown(name),
        change.id,
    );
}
