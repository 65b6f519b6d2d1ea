//! `weir dev`: tools for trying Weir out.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use identity::{DevActor, DevIssuer, DevToken};
use pipeline::PrincipalKind;

use crate::assemble::dev_key_dir;
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum DevCommand {
    /// Print an access token of the development issuer. Whoever can run this can be anybody.
    Token {
        #[arg(
            long,
            short,
            env = "WEIR_CONFIG",
            default_value = "/etc/weir/weir.toml"
        )]
        config: PathBuf,
        /// Whose token it is.
        #[arg(long)]
        sub: String,
        #[arg(long = "group")]
        groups: Vec<String>,
        #[arg(long, value_enum, default_value = "user")]
        kind: Kind,
        /// An agent that acts for the subject; again for the one before it.
        #[arg(long = "act")]
        act: Vec<String>,
        /// A group of the agent.
        #[arg(long = "act-group", requires = "act")]
        act_groups: Vec<String>,
        /// As if step-up authentication had been done.
        #[arg(long)]
        mfa: bool,
        /// Seconds until it expires.
        #[arg(long, default_value_t = 3600)]
        ttl: u64,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Kind {
    User,
    Agent,
    Workload,
}

pub(super) fn run(command: DevCommand) -> anyhow::Result<ExitCode> {
    let DevCommand::Token {
        config,
        sub,
        groups,
        kind,
        act,
        act_groups,
        mfa,
        ttl,
    } = command;
    let config = Config::load(&config)?;
    if !config.identity.dev {
        bail!(
            "the development issuer is off: this configuration lacks [identity.dev] enabled = true"
        );
    }
    let issuer = DevIssuer::open(&dev_key_dir(&config)).context("the development issuer")?;
    let actor = |subject: &String| DevActor {
        groups: act_groups.clone(),
        ..DevActor::agent(subject)
    };
    let token = DevToken {
        kind: match kind {
            Kind::User => PrincipalKind::User,
            Kind::Agent => PrincipalKind::Agent,
            Kind::Workload => PrincipalKind::Workload,
        },
        subject: sub,
        groups,
        act: act.iter().map(actor).collect(),
        mfa,
        ttl: Duration::from_secs(ttl),
    };
    println!("{}", issuer.mint(&token, SystemTime::now())?);
    Ok(ExitCode::SUCCESS)
}
