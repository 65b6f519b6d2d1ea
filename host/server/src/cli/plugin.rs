//! `weir plugin`: upload, list and remove Wasm components.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use weir_client::PluginInfo;

use super::remote::{Remote, explain, shown};

#[derive(Subcommand)]
pub(super) enum PluginCommand {
    /// List the plugins in use.
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// Upload a component; it is used from the next session on.
    Push {
        #[command(flatten)]
        remote: Remote,
        name: String,
        file: PathBuf,
        /// The plugin's configuration.
        #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
        config: Vec<(String, String)>,
    },
    /// Remove a plugin.
    Rm {
        #[command(flatten)]
        remote: Remote,
        name: String,
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
            remote.print(&plugin, |p| println!("removed {}", shown(&p.summary.name)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(p: &PluginInfo) {
    println!(
        "{} {} [{}] {} bytes, sha256 {}, by {}",
        shown(&p.summary.name),
        shown(&p.summary.version),
        p.summary.capabilities.join(", "),
        p.size,
        p.summary.digest,
        p.uploaded_by
            .as_deref()
            .map_or_else(|| "configuration".into(), shown),
    );
}
