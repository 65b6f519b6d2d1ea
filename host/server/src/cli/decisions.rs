//! Recorded decisions made again, for `weir verify --decisions` and `weir backtest`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

use clap::Args;
use recorder::text::clean;
use recorder::{Severity, Store};
use rerun::{Decisions, Window};

/// Examples that are printed; all are counted.
const MAX_PRINTED: usize = 20;

/// A time of RFC 3339, or a day.
#[derive(Debug, Clone, Copy)]
pub(super) struct When(u64);

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        recorder::parse_timestamp(text)
            .or_else(|| recorder::parse_timestamp(&format!("{text}T00:00:00Z")))
            .map(Self)
            .ok_or_else(|| "give 2026-11-20 or 2026-11-20T12:34:56Z".to_owned())
    }
}

#[derive(Args)]
pub(super) struct WindowArgs {
    /// Only decisions from then on: 2026-11-20 or 2026-11-20T12:34:56Z.
    #[arg(long, value_name = "TIME")]
    from: Option<When>,
    /// Only decisions before that.
    #[arg(long, value_name = "TIME")]
    to: Option<When>,
}

impl WindowArgs {
    pub(super) fn is_some(&self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    pub(super) fn window(&self, session: Option<uuid::Uuid>) -> anyhow::Result<Window> {
        let window = Window {
            from_ns: self.from.map(|w| w.0),
            to_ns: self.to.map(|w| w.0),
            session,
        };
        if let (Some(from), Some(to)) = (window.from_ns, window.to_ns)
            && from >= to
        {
            anyhow::bail!("--from has to be before --to");
        }
        Ok(window)
    }
}

/// Executes the decisions of a window again, and tells what came of it.
pub(super) async fn verify(
    store: &Store,
    spool: Option<PathBuf>,
    window: Window,
) -> anyhow::Result<Severity> {
    let began = Instant::now();
    let found = rerun::verify_decisions(store, spool, window).await?;
    print(&found, began.elapsed().as_secs_f64());
    Ok(match (found.differ, found.not_run()) {
        (0, 0) => Severity::Note,
        (0, _) => Severity::Gap,
        _ => Severity::Failure,
    })
}

fn print(found: &Decisions, seconds: f64) {
    println!(
        "{} decision(s) of {} session(s) executed again in {seconds:.1} s: {} as recorded, {} differ, {} \
         could not be executed again",
        found.decisions,
        found.sessions,
        found.same,
        found.differ,
        found.not_run()
    );
    if found.fleeting > 0 {
        println!(
            "note: the risk of {} of them is taken from the record: a classifier had used its store or the \
             clock, or had failed",
            found.fleeting
        );
    }
    if found.erased > 0 {
        println!(
            "note: {} session(s) were erased, and their decisions with them",
            found.erased
        );
    }
    for note in found.notes.texts.iter().take(MAX_PRINTED) {
        println!("note: {}", clean(note));
    }
    let noted = found.notes.texts.len().saturating_sub(MAX_PRINTED) as u64 + found.notes.more;
    if noted > 0 {
        println!("note: {noted} more notes about recordings");
    }
    for difference in found.differences.iter().take(MAX_PRINTED) {
        println!("FAILURE: {difference}");
    }
    if found.differ > MAX_PRINTED as u64 {
        let more = found.differ - MAX_PRINTED as u64;
        println!("FAILURE: {more} more decision(s) differ");
    }
    for (reason, count) in found.cannot.iter().take(MAX_PRINTED) {
        println!(
            "GAP: {} decision(s) could not be executed again, the first of them session {} action {}: {}",
            count.times,
            count.first.session,
            count.first.seq,
            clean(reason)
        );
    }
    if let Some(more) = found
        .cannot
        .len()
        .checked_sub(MAX_PRINTED)
        .filter(|n| *n > 0)
    {
        println!("GAP: {more} more reasons");
    }
}
