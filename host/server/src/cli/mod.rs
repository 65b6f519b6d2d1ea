//! The command line. `weir serve` runs the proxy; the rest checks, reads evidence, or calls the API.

mod approvals;
mod audit;
mod backtest;
mod decisions;
mod deliveries;
mod dev;
mod erase;
mod evidence;
mod login;
mod package;
mod play;
mod plugin;
mod policy;
mod remote;
mod serve;
mod sessions;
mod ssh_admin;
mod ssh_challenge;
mod ssh_config;
mod ssh_files;
mod ssh_host;
mod ssh_key;
mod ssh_token;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// A policy proxy for databases: every statement authorized, masked and recorded.
#[derive(Parser)]
#[command(name = "weir", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy.
    Serve(ConfigArg),
    /// Check a configuration and everything it names, without binding a port.
    CheckConfig(ConfigArg),
    /// Tools for trying Weir out with the embedded development issuer.
    #[command(subcommand)]
    Dev(dev::DevCommand),
    /// Print the transcript of a recorded session.
    Replay(evidence::ReplayArgs),
    /// Check the recordings, or a package of evidence: hashes, chains, completeness.
    Verify(evidence::VerifyArgs),
    /// Make a package of evidence about a window of time, for auditors.
    Evidence(package::EvidenceArgs),
    /// What another bundle, or other plugins, would have decided of what was recorded.
    Backtest(backtest::BacktestArgs),
    /// Search the record: who did what, when, to what, and how it was decided.
    Audit(audit::AuditArgs),
    /// How far the receivers of the record are.
    Deliveries(deliveries::DeliveriesArgs),
    /// Erase what was recorded of a session: its key is destroyed.
    Erase(erase::EraseArgs),
    /// Policy bundles.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Wasm plugins.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Configured upstreams.
    #[command(subcommand)]
    Target(target::TargetCommand),
    /// Statements that wait for people.
    #[command(subcommand)]
    Approvals(approvals::ApprovalsCommand),
    /// Get an SSH certificate: logs in at an OpenID provider, or takes a token that you have.
    Login(login::LoginArgs),
    /// Print the part of ~/.ssh/config that leads to your hosts through Weir.
    SshConfig(ssh_config::SshConfigArgs),
    /// What people come in by over SSH, and by what hosts are known.
    #[command(subcommand)]
    Ssh(ssh_admin::SshCommand),
    /// Live and past sessions.
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
}

#[derive(Args)]
struct ConfigArg {
    /// The configuration file.
    #[arg(
        long,
        short,
        env = "WEIR_CONFIG",
        default_value = "/etc/weir/weir.toml"
    )]
    config: PathBuf,
}

/// Runs the command line; errors go to stderr, exit code 1 (2 for wrong usage).
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::serve(&args.config),
        Command::CheckConfig(args) => serve::check(&args.config),
        Command::Dev(command) => dev::run(command),
        Command::Replay(args) => block_on(evidence::replay(args)),
        Command::Verify(args) => block_on_all(evidence::verify(args)),
        Command::Evidence(args) => block_on(package::evidence(args)),
        Command::Backtest(args) => block_on_all(backtest::run(args)),
        Command::Audit(args) => block_on(audit::run(args)),
        Command::Deliveries(args) => block_on(deliveries::run(args)),
        Command::Erase(args) => block_on(erase::run(args)),
        Command::Policy(command) => block_on(policy::run(command)),
        Command::Plugin(command) => block_on(plugin::run(command)),
        Command::Target(command) => block_on(target::run(command)),
        Command::Approvals(command) => block_on(approvals::run(command)),
        Command::Login(args) => block_on(login::run(args)),
        Command::SshConfig(args) => block_on(ssh_config::run(args)),
        Command::Ssh(command) => block_on(ssh_admin::run(command)),
        Command::Sessions(command) => block_on(sessions::run(command)),
    }
}

/// For what has work for every core.
fn block_on_all(
    future: impl Future<Output = anyhow::Result<ExitCode>>,
) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(future)
}

fn block_on(future: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}
