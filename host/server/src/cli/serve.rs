//! `weir serve` and `weir check-config`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::assemble::{Parts, Purpose};
use crate::config::{Config, Log, LogFormat};
use crate::descriptors;

/// Runs the proxy until SIGTERM or SIGINT, or until nothing can be recorded any more: then with an
/// error, so that a supervisor starts it anew.
pub(super) fn serve(path: &Path) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(path)?;
    start_log(&config.log)?;
    descriptors::raise();
    if let Some(warning) = descriptors::warning(&config, descriptors::limit()) {
        tracing::warn!("{warning}");
    }
    descriptors::fit(&mut config, descriptors::limit())?;
    runtime()?.block_on(async {
        let parts = Parts::build(config, Purpose::Serve).await?;
        let shutdown = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("asked to stop: draining");
            shutdown.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = parts.run(shutdown.clone()) => result,
            () = asked => Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Says whether `serve` would start, without binding a port or writing anything.
pub(super) fn check(path: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    // That of whoever checks. The service may have another, so this is no error.
    let warning = descriptors::warning(&config, descriptors::limit());
    let parts = runtime()?.block_on(Parts::build(config, Purpose::Check))?;
    println!("{}", parts.describe());
    if let Some(warning) = warning {
        println!("warning: {warning}");
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot start")
}

fn start_log(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.filter)
        .with_context(|| format!("log.filter {:?} is not a tracing filter", log.filter))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
