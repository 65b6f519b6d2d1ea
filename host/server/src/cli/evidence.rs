//! `weir replay` and `weir verify`: reading the evidence. Neither needs a running Weir.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use recorder::{Store, StoreConfig, VerifyOptions};

use crate::assemble::store_config;
use crate::config::Config;

/// Where the recordings are.
#[derive(Args)]
struct Place {
    /// The configuration whose store is read.
    #[arg(long, short, env = "WEIR_CONFIG", conflicts_with = "store")]
    config: Option<PathBuf>,
    /// A directory, or s3://bucket/prefix?region=…&endpoint=… with the environment's credentials.
    #[arg(long)]
    store: Option<StoreConfig>,
}

impl Place {
    fn open(self) -> anyhow::Result<(Store, Option<Config>)> {
        let (store, config) = match (self.store, self.config) {
            (Some(store), _) => (store, None),
            (None, Some(path)) => {
                let config = Config::load(&path)?;
                (store_config(&config.recording.store)?, Some(config))
            }
            (None, None) => anyhow::bail!("name the recordings with --store or --config"),
        };
        Ok((
            Store::open(&store).context("the store of recordings")?,
            config,
        ))
    }
}

#[derive(Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    place: Place,
    /// The session's id; without it, the recorded sessions are listed.
    session: Option<uuid::Uuid>,
}

#[derive(Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// Only this session (the control streams are verified in any case).
    #[arg(long)]
    session: Option<uuid::Uuid>,
    /// The spool of a Weir that is not running, too.
    #[arg(long)]
    spool: Option<PathBuf>,
}

pub(super) async fn replay(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let (store, _) = args.place.open()?;
    let mut out = std::io::stdout();
    let Some(session) = args.session else {
        for entry in store.sessions(recorder::Days::default()).await? {
            writeln!(
                out,
                "{}  {}  {} segment(s), {} bytes",
                entry.session, entry.day, entry.segments, entry.bytes
            )?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let summary = recorder::replay(&store, session, &mut out).await?;
    if !summary.complete {
        eprintln!("weir: the session is still open, or its end is not stored yet");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn verify(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let (store, config) = args.place.open()?;
    let options = VerifyOptions {
        session: args.session,
        ..VerifyOptions::default()
    };
    let report = recorder::verify_store(&store, &options).await?;
    println!(
        "{} session(s), {} complete; {} control stream(s); {} segments, {} records, {} recorded \
         bytes",
        report.sessions,
        report.complete,
        report.control_streams,
        report.segments,
        report.records,
        report.bytes
    );
    println!(
        "{} actions permitted ({} with unknown outcome), {} refused; {} segments anchored",
        report.intents, report.unknown, report.refusals, report.anchors
    );
    for finding in &report.findings {
        println!(
            "{}: {finding}",
            if finding.is_failure() {
                "FAILURE"
            } else {
                "note"
            }
        );
    }
    let mut ok = report.is_ok();
    if let Some(spool) = args
        .spool
        .or(config.map(|c| c.recording.spool_dir))
        .filter(|s| s.exists())
    {
        let wal = recorder::verify_wal(&spool)
            .await
            .with_context(|| format!("the spool {}", spool.display()))?;
        println!(
            "write-ahead log: {} file(s), {} blocks, {} records; {} segment(s) waiting for the \
             store",
            wal.files, wal.blocks, wal.records, wal.waiting_segments
        );
        for finding in &wal.findings {
            println!("log: {finding}");
        }
        ok &= wal.is_ok();
    }
    println!("{}", if ok { "verified" } else { "NOT VERIFIED" });
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
