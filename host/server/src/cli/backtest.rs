//! `weir backtest`: what another bundle, or other plugins, would have decided.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Instant;

use anyhow::Context;
use authz::{Bundle, CompiledBundle};
use clap::{Args, ValueEnum};
use recorder::text::clean;
use recorder::timestamp;
use rerun::{Backtest, Change, Changed, MAX_CHANGES, Place, Try, Window};
use serde_json::json;

use super::decisions::WindowArgs;
use super::evidence;

/// Something would change. (1 stands for any failure, 2 for wrong usage.)
const EXIT_CHANGES: u8 = 4;
/// Nothing would change, as far as could be tried.
const EXIT_NOT_ALL: u8 = 3;

#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 nothing would change; 4 something would; 3 nothing would, but not every \
                  recorded request could be tried; 1 an error."
)]
pub(super) struct BacktestArgs {
    #[command(flatten)]
    place: evidence::Place,
    /// The directory of the bundle to try; without it, the bundles of the time are asked.
    #[arg(long, value_name = "DIR", required_unless_present = "plugins")]
    bundle: Option<PathBuf>,
    /// A plugin to try in the place of the one of this name, with its configuration; one of a new name is
    /// added. May be given more than once.
    #[arg(long = "plugin", value_name = "NAME=FILE.WASM")]
    plugins: Vec<PluginFile>,
    /// Only this session.
    #[arg(long)]
    session: Option<uuid::Uuid>,
    #[command(flatten)]
    window: WindowArgs,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    /// One JSON object for each change, then one that counts.
    Jsonl,
}

#[derive(Debug, Clone)]
struct PluginFile {
    name: String,
    path: PathBuf,
}

impl FromStr for PluginFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self {
                name: name.to_owned(),
                path: path.into(),
            }),
            _ => Err("give name=file.wasm".to_owned()),
        }
    }
}

pub(super) async fn run(args: BacktestArgs) -> anyhow::Result<ExitCode> {
    let window = args.window.window(args.session)?;
    let new = new(&args).await?;
    let (store, config) = args.place.open(None)?;
    let spool = config
        .map(|c| c.recording.spool_dir)
        .filter(|dir| dir.exists());
    let began = Instant::now();
    let found = backtest(&store, spool, window, new).await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut out = std::io::BufWriter::new(std::io::stdout());
    match args.format {
        Format::Text => text(&mut out, &found, seconds)?,
        Format::Jsonl => jsonl(&mut out, &found)?,
    }
    out.flush()?;
    Ok(match (found.changed, found.not_tried()) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(EXIT_NOT_ALL),
        _ => ExitCode::from(EXIT_CHANGES),
    })
}

async fn backtest(
    store: &recorder::Store,
    spool: Option<PathBuf>,
    window: Window,
    new: Try,
) -> anyhow::Result<Backtest> {
    Ok(rerun::backtest(store, spool, window, new).await?)
}

async fn new(args: &BacktestArgs) -> anyhow::Result<Try> {
    let bundle = match &args.bundle {
        None => None,
        Some(dir) => {
            let bundle = Bundle::from_dir(dir)?;
            Some(CompiledBundle::compile(bundle, 0)?)
        }
    };
    let mut new = Try {
        bundle,
        plugins: rerun::Others::new(),
    };
    for PluginFile { name, path } in &args.plugins {
        let wasm =
            std::fs::read(path).with_context(|| format!("plugin {name}: {}", path.display()))?;
        let before = new.plugins.insert(name.clone(), wasm);
        anyhow::ensure!(before.is_none(), "plugin {name} is given twice");
    }
    Ok(new)
}

fn text(out: &mut impl Write, found: &Backtest, seconds: f64) -> std::io::Result<()> {
    for (change, seen) in &found.changes {
        let (who, target, database) = (
            clean(&change.who),
            clean(&change.target),
            clean(&change.database),
        );
        writeln!(out, "{} time(s): {who} on {target}/{database}", seen.times)?;
        writeln!(out, "  statement  {}", clean(&change.statement))?;
        writeln!(out, "  {} was {}", change.what, clean(&change.was))?;
        writeln!(out, "  would be   {}", clean(&change.would_be))?;
        for (name, place) in [("first", seen.first), ("last", seen.last)] {
            writeln!(
                out,
                "  {name:<10} {} session {} action {}",
                timestamp(place.at_ns),
                place.session,
                place.seq
            )?;
        }
    }
    if found.more > 0 {
        writeln!(
            out,
            "{} more request(s) would change, in other ways than the {MAX_CHANGES} that are listed",
            found.more
        )?;
    }
    for (reason, count) in &found.cannot {
        writeln!(
            out,
            "not tried: {} request(s), the first of them session {} action {}: {}",
            count.times,
            count.first.session,
            count.first.seq,
            clean(reason)
        )?;
    }
    for note in &found.notes.texts {
        writeln!(out, "note: {}", clean(note))?;
    }
    if found.notes.more > 0 {
        writeln!(
            out,
            "note: {} more notes about recordings",
            found.notes.more
        )?;
    }
    if found.erased > 0 {
        writeln!(out, "note: {} session(s) were erased", found.erased)?;
    }
    if found.other_labels > 0 {
        writeln!(
            out,
            "note: {} request(s) were recorded under other labels than those of this bundle. Columns that \
             only this bundle labels are not on record: what would be masked or refused because of them is \
             not listed here.",
            found.other_labels
        )?;
    }
    writeln!(
        out,
        "{} request(s) of {} session(s) tried in {seconds:.1} s: {} would change, in {} way(s); {} could not \
         be tried",
        found.tried,
        found.sessions,
        found.changed,
        found.changes.len(),
        found.not_tried()
    )
}

fn jsonl(out: &mut impl Write, found: &Backtest) -> std::io::Result<()> {
    let place = |p: Place| json!({ "time": timestamp(p.at_ns), "session": p.session.to_string(), "action": p.seq });
    for (change, seen) in &found.changes {
        let Change {
            who,
            target,
            database,
            statement,
            what,
            was,
            would_be,
        } = change;
        let Changed { times, first, last } = seen;
        let line = json!({
            "type": "change", "who": who, "target": target, "database": database,
            "statement": statement, "what": what, "was": was, "would_be": would_be,
            "times": times, "first": place(*first), "last": place(*last),
        });
        writeln!(out, "{line}")?;
    }
    for (reason, count) in &found.cannot {
        let line = json!({
            "type": "not_tried", "reason": reason, "times": count.times, "first": place(count.first),
        });
        writeln!(out, "{line}")?;
    }
    for note in &found.notes.texts {
        writeln!(out, "{}", json!({ "type": "note", "text": note }))?;
    }
    let line = json!({
        "type": "summary", "more_notes": found.notes.more, "sessions": found.sessions, "tried": found.tried,
        "changed": found.changed, "changes": found.changes.len(), "more": found.more,
        "not_tried": found.not_tried(), "erased": found.erased, "other_labels": found.other_labels,
    });
    writeln!(out, "{line}")
}
