//! `weir replay` and `weir verify`: reading the evidence. Neither needs a running Weir.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use recorder::{
    KeptCheckpoint, KeyWrap, LocalKeys, Moment, ReplayFormat, ReplayOptions, Severity, Store,
    StoreConfig, TrustedKey, VerifyOptions, VerifyReport, WitnessPolicy,
};

use super::decisions::{self, WindowArgs};
use super::play::{Pace, Played, Player};
use crate::assemble::{encryption, log_keys, log_options, store_config, vault_config};
use crate::config::Config;

/// Where the recordings are.
#[derive(Args)]
pub(super) struct Place {
    /// The configuration whose store is read.
    #[arg(long, short, env = "WEIR_CONFIG", conflicts_with = "store")]
    config: Option<PathBuf>,
    /// A directory, or s3://bucket/prefix?region=…&endpoint=… with the environment's credentials.
    #[arg(long)]
    store: Option<StoreConfig>,
    /// Where what is final is, if that is a place of its own; as --store.
    #[arg(long, requires = "store")]
    vault: Option<StoreConfig>,
    /// A key that wraps the keys of recordings, in a file; may be given more than once. With a
    /// configuration, its own are known.
    #[arg(long = "key-file", value_name = "FILE")]
    key_files: Vec<PathBuf>,
}

impl Place {
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// By more than a configuration, which the environment may name.
    pub(super) fn is_named(&self) -> bool {
        self.store.is_some() || self.vault.is_some() || !self.key_files.is_empty()
    }

    /// Keys may wait in the spool, too.
    pub(super) fn open(self, spool: Option<&Path>) -> anyhow::Result<(Store, Option<Config>)> {
        let (store, vault, config) = match (self.store, self.config) {
            (Some(store), _) => (store, self.vault, None),
            (None, Some(path)) => {
                let config = Config::load(&path)?;
                let recording = &config.recording;
                let vault = vault_config(recording.vault.as_ref())?;
                let store = store_config(&recording.store)?;
                (store, vault.map(|vault| vault.store), Some(config))
            }
            (None, None) => anyhow::bail!("name the recordings with --store or --config"),
        };
        let wrap: Option<Arc<dyn KeyWrap>> = match (&config, self.key_files.as_slice()) {
            (Some(config), []) => {
                let recording = &config.recording;
                encryption(recording)?.own(&log_options(recording))?
            }
            (None, []) => None,
            (_, files) => Some(Arc::new(LocalKeys::load(files)?)),
        };
        // The configuration may be read on another machine than that of its Weir.
        let known = config.as_ref().map(|c| c.recording.spool_dir.clone());
        let known = known.filter(|dir| dir.exists());
        let spool = spool.map(Path::to_path_buf).or(known);
        let store = Store::open_both(&store, vault.as_ref()).context("the store of recordings")?;
        let believed = match &config {
            Some(config) => log_keys(&config.recording)?,
            None => Vec::new(),
        };
        Ok((store.with_keys(wrap, spool).trusting(believed), config))
    }
}

#[derive(Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    place: Place,
    /// The session's id; without it, the recorded sessions are listed.
    session: Option<uuid::Uuid>,
    /// text, jsonl (one JSON object for each record), asciicast-v2 or asciicast-v3.
    #[arg(long, default_value = "text")]
    format: ReplayFormat,
    /// Leave out what is before: seconds after the start, such as +90, or 2026-11-20T12:34:56Z. With --play, what
    /// was shown before is shown at once, so that the screen is as it was then.
    #[arg(long, value_name = "TIME")]
    from: Option<Moment>,
    /// Leave out what is after.
    #[arg(long, value_name = "TIME")]
    to: Option<Moment>,
    /// Play the terminal of a session of SSH in this one.
    #[arg(long, conflicts_with = "format", requires = "session")]
    play: bool,
    /// With --play: so many times as fast.
    #[arg(long, default_value_t = 1.0, value_parser = speed, requires = "play")]
    speed: f64,
    /// With --play: no pause is longer than so many seconds.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600), requires = "play")]
    idle: u64,
    /// Of a session of SSH with several channels, played or as asciicast: the action whose terminal is meant.
    /// Without it, the first that shows anything.
    #[arg(long, value_name = "NUMBER")]
    action: Option<u64>,
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok();
    let speed = speed.filter(|speed| (0.01..=1_000.0).contains(speed));
    speed.ok_or_else(|| "a speed is a number from 0.01 to 1000".to_owned())
}

/// Nothing is wrong with what there is, but the recorder itself noted that something is missing.
/// (1 stands for any failure, 2 for wrong usage.)
const EXIT_GAPS: u8 = 3;
/// What shells say of what SIGINT ended.
const EXIT_INTERRUPTED: u8 = 130;

#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 verified; 1 not verified, or an error; 3 verified, but the \
                        recorder noted gaps."
)]
pub(super) struct VerifyArgs {
    /// A package that `weir evidence` made; nothing but it and a key is needed. Without it, the recordings
    /// are verified.
    #[arg(conflicts_with_all = ["store", "session", "spool", "checkpoints", "policy", "key_files"])]
    package: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Only this session (the control streams are verified in any case).
    #[arg(long)]
    session: Option<uuid::Uuid>,
    /// The spool of the Weir that writes to the store, too; with a configuration, it is known.
    #[arg(long)]
    spool: Option<PathBuf>,
    /// A key whose transparency logs are believed, as `name+hash+key`; may be given more than once. With
    /// a configuration, the key of its own logs is known, and those that it names.
    #[arg(long = "log-key", value_name = "KEY")]
    log_keys: Vec<TrustedKey>,
    /// A checkpoint of a transparency log that you kept: what it covers must still be there. May be given
    /// more than once.
    #[arg(long = "checkpoint", value_name = "FILE")]
    checkpoints: Vec<PathBuf>,
    /// Which witnesses must have signed the registry of logs, and how many of them: a policy (C2SP
    /// tlog-policy) with lines `witness`, `group` and `quorum`.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Execute the recorded decisions again as well, with the bundles and plugins of their time. One that
    /// comes out differently is a failure; one that cannot be executed again, a gap.
    #[arg(long, conflicts_with = "package")]
    decisions: bool,
    #[command(flatten)]
    window: WindowArgs,
}

pub(super) async fn replay(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let (store, _) = args.place.open(None)?;
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
    let options = ReplayOptions {
        format: args.format,
        from: args.from,
        to: args.to,
        action: args.action,
        catches_up: args.play,
    };
    let mut notes = Vec::new();
    let replayed = if args.play {
        let options = ReplayOptions {
            format: ReplayFormat::Asciicast2,
            ..options
        };
        let mut player = Player::start(Pace {
            speed: args.speed,
            idle: Duration::from_secs(args.idle),
        });
        let played =
            recorder::replay_noting(&store, session, &options, &mut player, &mut notes).await;
        if player.finish()? == Played::Interrupted {
            // Whoever has had enough is not told that reading went no further.
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        played
    } else {
        let mut out = std::io::BufWriter::new(out);
        let replayed =
            recorder::replay_noting(&store, session, &options, &mut out, &mut notes).await;
        // What came before an error is worth seeing, too, and what was passed over may be why there is one.
        out.flush()?;
        replayed
    };
    for note in &notes {
        eprintln!("weir: {note}");
    }
    let summary = replayed?;
    if !summary.complete {
        eprintln!("weir: the session is still open, or its end is not stored yet");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn verify(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.decisions || !args.window.is_some(),
        "--from and --to say which decisions are executed again: give --decisions, too"
    );
    let window = args.window.window(args.session)?;
    if let Some(package) = &args.package {
        let mut keys = args.log_keys;
        if let Some(path) = args.place.config {
            let config = Config::load(&path)?;
            keys.extend(log_keys(&config.recording)?);
        }
        return super::package::verify(package, &keys);
    }
    let (store, config) = args.place.open(args.spool.as_deref())?;
    let mut keys = args.log_keys;
    if let Some(config) = &config {
        keys.extend(log_keys(&config.recording)?);
    }
    let trusted = !keys.is_empty();
    let kept = kept(&args.checkpoints)?;
    let policy = args.policy.as_deref().map(policy).transpose()?;
    // The configuration may be read on another machine than that of its Weir. A spool that was asked
    // for must be there.
    let known = config
        .map(|c| c.recording.spool_dir)
        .filter(|dir| dir.exists());
    let spool = args.spool.or(known);
    let options = VerifyOptions {
        session: args.session,
        spool: spool.clone(),
        log_keys: keys,
        kept,
        policy,
        ..VerifyOptions::default()
    };
    let report = recorder::verify_store(&store, &options).await?;
    print(&report, trusted);
    let mut severity = report.severity();
    if args.decisions {
        severity = severity.max(decisions::verify(&store, spool.clone(), window).await?);
    }
    if let Some(spool) = spool {
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
        if !wal.is_ok() {
            severity = Severity::Failure;
        }
    }
    Ok(verdict(severity))
}

/// Says it, and how the command ends.
pub(super) fn verdict(severity: Severity) -> ExitCode {
    let (verdict, code) = match severity {
        Severity::Note => ("verified", ExitCode::SUCCESS),
        Severity::Gap => ("verified, WITH GAPS", ExitCode::from(EXIT_GAPS)),
        Severity::Failure => ("NOT VERIFIED", ExitCode::FAILURE),
    };
    println!("{verdict}");
    code
}

/// No checkpoint is longer, and no policy.
const MAX_FILE: u64 = 1_000_000;

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn kept(files: &[PathBuf]) -> anyhow::Result<Vec<KeptCheckpoint>> {
    let one = |path: &PathBuf| {
        let note = read(path).with_context(|| format!("the checkpoint {}", path.display()))?;
        Ok(KeptCheckpoint {
            name: path.display().to_string(),
            note,
        })
    };
    files.iter().map(one).collect()
}

fn policy(path: &Path) -> anyhow::Result<WitnessPolicy> {
    let wrong = || format!("the policy {}", path.display());
    WitnessPolicy::parse(&read(path).with_context(wrong)?).with_context(wrong)
}

fn print(report: &VerifyReport, trusted: bool) {
    println!(
        "{} session(s), {} complete; {} control stream(s) in {} chain(s); {} segments, {} records, \
         {} recorded bytes",
        report.sessions,
        report.complete,
        report.control_streams,
        report.chains,
        report.segments,
        report.records,
        report.bytes
    );
    println!(
        "{} actions permitted ({} with unknown outcome), {} refused, {} held before that ({} of them without an \
         end: they were not forwarded); {} segments anchored",
        report.intents,
        report.unknown,
        report.refusals,
        report.held,
        report.unanswered,
        report.anchors
    );
    println!(
        "{} transparency log(s) in {} chain(s), {} leaves, {} signed checkpoints",
        report.logs, report.log_chains, report.leaves, report.checkpoints
    );
    for key in &report.signers {
        let word = match trusted {
            true => "signed with the key you trust",
            false => {
                "signed with a key that nobody vouched for (name it with --log-key if it is yours)"
            }
        };
        println!("{word}: {key}");
    }
    for registry in &report.registries {
        print!(
            "registry of logs {}: {} leaves",
            registry.key, registry.size
        );
        match &registry.witnessed {
            Some(seen) => println!(
                ", {} of them seen by {} at {}",
                seen.size,
                seen.by.join(", "),
                seen.time
            ),
            None => println!(),
        }
    }
    for finding in &report.findings {
        let word = match finding.severity() {
            Severity::Note => "note",
            Severity::Gap => "GAP",
            Severity::Failure => "FAILURE",
        };
        println!("{word}: {finding}");
    }
}
