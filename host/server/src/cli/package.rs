//! `weir evidence`, and `weir verify` of what it makes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::Args;
use evidence::{Order, PackageReport, Receiving, Selection, Window, check_package, make};
use recorder::{Day, Severity, TrustedKey};
use weir_client::{PackageRequest, Timestamp};

use super::evidence::{Place, verdict};
use super::remote::{Reach, explain};
use crate::adapters::software;
use crate::assemble::{log_keys, log_options};
use crate::config::Config;

const NS_OF_MS: u64 = 1_000_000;

#[derive(Args)]
pub(super) struct EvidenceArgs {
    #[command(flatten)]
    reach: Reach,
    /// Read the store itself, instead of asking a running Weir: with --config on its machine, or with --store.
    /// That the package was made is on no log then, and its manifest says so.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    place: Place,
    /// Where the window begins: a day (2026-11-01) or a time in UTC (2026-11-01T12:00:00Z).
    #[arg(long, value_name = "TIME")]
    from: Time,
    /// Where it ends, not included: a day means its end, which is included. Now, if it is not given.
    #[arg(long, value_name = "TIME")]
    to: Option<Time>,
    /// Only this target, and what concerns all targets; may be given more than once.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// How many requests are drawn whose records are put in, with the text of their statements and the
    /// names of those who acted. 0: none.
    #[arg(long, value_name = "N", default_value_t = evidence::SAMPLE)]
    sample: usize,
    /// Also the records that say who everybody is.
    #[arg(long)]
    names: bool,
    /// Make it without a signature, where the key of the logs is not at hand.
    #[arg(long, requires = "offline")]
    unsigned: bool,
    /// A key whose logs are believed. Of a running Weir, the package has to be signed with one of these, if
    /// any is given, or with that of the configuration.
    #[arg(long = "log-key", value_name = "KEY")]
    log_keys: Vec<TrustedKey>,
    /// The file to make. It must not be there.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

/// A day, or a moment of it.
#[derive(Clone, Copy)]
enum Time {
    Day(Day),
    At(u64),
}

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(at) = recorder::parse_timestamp(text) {
            return Ok(Self::At(at));
        }
        let wrong =
            || format!("{text:?} is neither a day (2026-11-01) nor a time (2026-11-01T12:00:00Z)");
        let day = Day::parse(text).ok_or_else(wrong)?;
        // 31 February is not a day, and the day after it is not one, either.
        midnight(day).map(|_| Self::Day(day)).ok_or_else(wrong)
    }
}

fn midnight(day: Day) -> Option<u64> {
    let Day { year, month, day } = day;
    recorder::parse_timestamp(&format!("{year:04}-{month:02}-{day:02}T00:00:00Z"))
}

impl Time {
    fn start(self) -> Option<u64> {
        match self {
            Self::Day(day) => midnight(day),
            Self::At(at) => Some(at),
        }
    }

    fn end(self) -> Option<u64> {
        match self {
            Self::Day(day) => midnight(day.next()),
            Self::At(at) => Some(at),
        }
    }
}

pub(super) async fn evidence(args: EvidenceArgs) -> anyhow::Result<ExitCode> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now = u64::try_from(now.as_nanos())?;
    let from = args.from.start().context("--from is too late")?;
    let to = match args.to {
        Some(to) => to.end().context("--to is too late")?,
        None => now,
    };
    // What is still to come would be missing from it.
    let to = to.min(now);
    if from >= to {
        bail!("--from must be before --to, and before now");
    }
    match args.offline {
        true => offline(args, Window::new(from, to)).await,
        false => online(args, from).await,
    }
}

/// From a running Weir, which puts on record that it was made.
async fn online(args: EvidenceArgs, from: u64) -> anyhow::Result<ExitCode> {
    if args.place.is_named() {
        bail!(
            "--store, --vault and --key-file are for reading the store itself: say --offline, too. That the \
             package was made is on no log then"
        );
    }
    let to = match args.to {
        Some(to) => Some(millis(to.end().context("--to is too late")?)?),
        None => None,
    };
    let order = PackageRequest {
        from: millis(from)?,
        to,
        targets: args.targets,
        sample: Some(u32::try_from(args.sample).context("--sample is too large")?),
        names: args.names,
    };
    let mut trusted = args.log_keys;
    if let Some(path) = args.place.config() {
        let config = Config::load(path)?;
        trusted.extend(log_keys(&config.recording)?);
    }
    let mut receiving = Receiving::new(&args.out)?;
    let client = args.reach.client();
    let client =
        client.context("a running Weir makes packages; --offline makes one of the store alone")?;
    let mut package = client.package(&order).await.map_err(explain)?;
    while let Some(piece) = package.next().await.map_err(explain)? {
        receiving.write(&piece)?;
    }
    let report = receiving.finish(package.digest(), &trusted)?;
    print(&report, !trusted.is_empty());
    println!("{}", args.out.display());
    Ok(verdict(report.severity()))
}

fn millis(ns: u64) -> anyhow::Result<Timestamp> {
    if !ns.is_multiple_of(NS_OF_MS) {
        bail!("a running Weir takes times in whole milliseconds");
    }
    Ok(Timestamp::from_millis(ns / NS_OF_MS))
}

/// From the store alone.
async fn offline(args: EvidenceArgs, window: Window) -> anyhow::Result<ExitCode> {
    let (store, config) = args.place.open(None)?;
    let options = config.as_ref().map(|config| log_options(&config.recording));
    let key = match (&options, args.unsigned) {
        (_, true) => None,
        (Some(options), false) => recorder::own_log_key(options)?,
        (None, false) => None,
    };
    if key.is_none() && !args.unsigned {
        bail!(
            "there is no key to sign with: give the configuration of the Weir that made the logs with \
             --config, on its machine, or say --unsigned"
        );
    }
    let mut trusted = args.log_keys;
    if let Some(config) = &config {
        trusted.extend(log_keys(&config.recording)?);
    }
    let order = Order {
        selection: Selection {
            window,
            targets: args.targets.into_iter().collect::<BTreeSet<_>>(),
            sample: args.sample,
            names: args.names,
        },
        software: software(),
        key: key.as_deref(),
        name: options.map(|o| o.name).unwrap_or_default(),
        trusted,
        recorded: false,
        most: evidence::MAX_PACKAGE,
        watch: evidence::unwatched(),
    };
    // Its own key is believed, or one that was named; otherwise nobody has vouched for any.
    let trusted = order.key.is_some() || !order.trusted.is_empty();
    let report = make(&store, &order, &args.out).await?;
    print(&report, trusted);
    println!("{}", args.out.display());
    Ok(verdict(report.severity()))
}

/// Verifies a package with nothing but keys.
pub(super) fn verify(package: &Path, log_keys: &[TrustedKey]) -> anyhow::Result<ExitCode> {
    let report = check_package(package, log_keys)
        .with_context(|| format!("the package {}", package.display()))?;
    print(&report, !log_keys.is_empty());
    Ok(verdict(report.severity()))
}

fn print(report: &PackageReport, trusted: bool) {
    let manifest = &report.manifest;
    let targets = match manifest.targets.as_slice() {
        [] => "all targets".to_owned(),
        some => some.join(", "),
    };
    println!("{} to {}, {targets}", manifest.from, manifest.to);
    println!(
        "made {} by {}; {} log(s), {} file(s)",
        manifest.made,
        manifest.software,
        manifest.logs.len(),
        manifest.files.len()
    );
    match manifest.recorded {
        true => println!(
            "that it was made is on record: evidence:exported of Package::\"{}\"",
            report.digest
        ),
        false => println!("made offline: that it was made is on no log"),
    }
    let counts = &report.counts;
    println!(
        "{} leaves: {} session(s), {} permitted, {} refused, {} held, {} result(s), {} act(s) of \
         operators, {} erasure(s), {} gap(s); {} record(s) proven",
        counts.leaves,
        counts.sessions,
        counts.permitted,
        counts.refused,
        counts.held,
        counts.results,
        counts.operators,
        counts.erasures,
        counts.gaps,
        report.proven
    );
    let word = match trusted {
        true => "with the key you trust",
        false => "with a key that nobody vouched for (name it with --log-key if it is yours)",
    };
    for key in &report.log_signers {
        println!("logs signed {word}: {key}");
    }
    if let Some(key) = &report.signer {
        println!("package signed {word}: {key}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_times_exact() {
        let check = |text: &str, start: &str, end: &str| {
            let time: Time = text.parse().unwrap();
            let at = |text| recorder::parse_timestamp(text);
            assert_eq!((time.start(), time.end()), (at(start), at(end)), "{text}");
        };
        let (first, third) = ("2028-02-28T00:00:00Z", "2028-02-29T00:00:00Z");
        check("2028-02-28", first, third);
        check("2028-12-31", "2028-12-31T00:00:00Z", "2029-01-01T00:00:00Z");
        check(
            "2028-02-28T12:00:00.5Z",
            "2028-02-28T12:00:00.5Z",
            "2028-02-28T12:00:00.5Z",
        );
        for wrong in [
            "",
            "now",
            "2027-02-29",
            "2028-02-28T12:00",
            "2028-2-8",
            "28-02-28",
        ] {
            assert!(wrong.parse::<Time>().is_err(), "{wrong}");
        }
    }
}
