//! `weir audit`: who did what, when, to what, and how it was decided. It asks the API, and every search
//! is itself on record.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use control::index::{Index, IndexLimits};
use weir_client::{AuditEntry, AuditFilter, AuditPage, Timestamp};

use super::remote::{Remote, explain, shown};
use crate::assemble::index_path;
use crate::config::Config;

/// Entries of one call.
const PAGE: u32 = 200;
/// A longer statement is cut in the table.
const WIDTH: usize = 100;

#[derive(Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    remote: Remote,
    /// Not before: -2h (also s, m, d, w), 2026-11-26, or 2026-11-26T12:34:56Z.
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    since: Option<When>,
    /// Before this time.
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    until: Option<When>,
    /// Who acts, owns the agent that acts, or is acted for.
    #[arg(long)]
    user: Option<String>,
    #[arg(long)]
    target: Option<String>,
    #[arg(long)]
    database: Option<String>,
    #[arg(long)]
    session: Option<String>,
    /// action, hold, session-start, session-end, act, start, gap or unreadable.
    #[arg(long)]
    kind: Option<String>,
    /// A Cedar action, such as postgres:delete.
    #[arg(long)]
    action: Option<String>,
    /// Such as PgTable::shop.public.users, or an end of its name: public.users, users.
    #[arg(long)]
    resource: Option<String>,
    /// permit, refused, or how: denied, hold-denied, hold-expired, …; held of a hold.
    #[arg(long)]
    decision: Option<String>,
    /// done, failed, cancelled, unknown or refused; of a hold decided, or no-end.
    #[arg(long)]
    outcome: Option<String>,
    /// At least this risk.
    #[arg(long)]
    risk: Option<u8>,
    /// A label of the risk or of the data.
    #[arg(long)]
    label: Option<String>,
    /// A policy that decided.
    #[arg(long)]
    policy: Option<String>,
    /// A plugin's name or digest.
    #[arg(long)]
    plugin: Option<String>,
    /// A hold's id, an approval rule or an approver.
    #[arg(long)]
    approval: Option<String>,
    /// Words of the statement; one that ends with * is a beginning. Constants cannot be searched for. Of a command
    /// line: the programs, and where one alone ran and succeeded, its paths; other arguments are not in the index. What
    /// has not ended is found by --action, not by its words.
    #[arg(long)]
    text: Option<String>,
    /// At most so many entries, newest first.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Instead of searching: read everything again from where it is stored, when Weir starts next. Weir
    /// must not be running.
    #[arg(long, requires = "config")]
    rebuild: bool,
    /// With --rebuild: the configuration whose index it is.
    #[arg(long, short, env = "WEIR_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    /// One JSON object for each entry.
    Jsonl,
}

/// A time, or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct When(Timestamp);

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(ago) = text.strip_prefix('-') {
            let at = long_ago(ago).and_then(|ago| SystemTime::now().checked_sub(ago));
            return at.map(|at| Self(at.into())).ok_or_else(|| {
                "so long ago is written as a number and one of s, m, h, d, w: -90m, -2h, -7d".into()
            });
        }
        let is_day = text.len() == 10;
        let whole = match is_day {
            true => format!("{text}T00:00:00Z"),
            false => text.to_owned(),
        };
        whole.parse().map(Self).map_err(|_| {
            "a time is written as -2h, 2026-11-26 or 2026-11-26T12:34:56Z (UTC)".into()
        })
    }
}

fn long_ago(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

pub(super) async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    if args.rebuild {
        return rebuild(args.config).await;
    }
    if args.limit == 0 {
        bail!("--limit must be at least 1");
    }
    let client = args.remote.client()?;
    let mut filter = AuditFilter {
        since: args.since.map(|w| w.0),
        until: args.until.map(|w| w.0),
        user: args.user,
        target: args.target,
        database: args.database,
        session: args.session,
        kind: args.kind,
        action: args.action,
        resource: args.resource,
        decision: args.decision,
        outcome: args.outcome,
        risk: args.risk,
        label: args.label,
        policy: args.policy,
        plugin: args.plugin,
        approval: args.approval,
        text: args.text,
        limit: None,
        after: None,
    };
    let mut left = args.limit;
    loop {
        filter.limit = Some(left.min(PAGE));
        let page = client.audit(&filter).await.map_err(explain)?;
        left = left.saturating_sub(u32::try_from(page.items.len()).unwrap_or(u32::MAX));
        print(&page, args.format, args.remote.json)?;
        if page.rebuilding && filter.after.is_none() {
            eprintln!("weir: older records are still being indexed; some may be missing");
        }
        match page.next {
            Some(next) if left > 0 => filter.after = Some(next),
            next => {
                if next.is_some() {
                    eprintln!("weir: there is more; see --limit, --since, --until");
                }
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

async fn rebuild(config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let config = config.context("name the configuration with --config")?;
    let config = Config::load(&config)?;
    let path = index_path(&config);
    let reset = move || -> anyhow::Result<()> {
        let index = Index::open(&path, IndexLimits::default())
            .with_context(|| format!("{}", path.display()))?;
        Ok(index.rebuild()?)
    };
    tokio::task::spawn_blocking(reset).await??;
    println!("when Weir starts next, all stored records are read into the index again");
    Ok(ExitCode::SUCCESS)
}

fn print(page: &AuditPage, format: Format, json: bool) -> anyhow::Result<()> {
    for entry in &page.items {
        match format {
            Format::Jsonl => println!("{}", serde_json::to_string(entry)?),
            Format::Table if json => println!("{}", serde_json::to_string_pretty(entry)?),
            Format::Table => println!("{}", line(entry)),
        }
    }
    Ok(())
}

/// One line, with nothing in it that a terminal obeys.
fn line(e: &AuditEntry) -> String {
    let at = e.at.map_or(String::new(), |at| at.to_string());
    let mut out = format!("{at}  {:<13}", shown(&e.kind));
    let mut add = |text: &str| {
        if !text.is_empty() {
            out.push_str("  ");
            out.push_str(&shown(text));
        }
    };
    let who = e.principal.as_ref().map_or_else(
        || "-".to_owned(),
        |p| match p.on_behalf_of.last() {
            Some(other) => format!("{} {} for {other}", p.kind, p.subject),
            None => format!("{} {}", p.kind, p.subject),
        },
    );
    add(&who);
    if let (Some(target), Some(database)) = (&e.target, &e.database) {
        add(&format!("{target}/{database}"));
    }
    add(e.decision.as_deref().unwrap_or_default());
    let outcome = e.outcome.as_deref().unwrap_or_default();
    match e.detail.as_deref() {
        Some(detail) if !detail.is_empty() => add(&format!("{outcome} [{detail}]")),
        _ if e.outcome != e.decision && outcome != "refused" => add(outcome),
        _ => {}
    }
    if let Some(risk) = e.risk.filter(|risk| *risk > 0) {
        add(&format!("risk {risk} {}", e.labels.join(",")));
    }
    if let Some(approval) = &e.approval {
        let (by, rules) = (approval.approvers.join(","), approval.rules.join(","));
        match (by.is_empty(), rules.is_empty()) {
            // Given up, say, or denied.
            (true, true) => add("held"),
            (true, false) => add(&format!("held ({rules})")),
            (false, _) => add(&format!("approved by {by} ({rules})")),
        }
    }
    add(&e.actions.join(","));
    add(&e.resources.join(","));
    match (&e.statement, &e.no_statement) {
        (Some(text), _) => add(&cut(text)),
        (None, Some(why)) => add(&format!("(no statement: {why})")),
        (None, None) => {}
    }
    let number = e.number.map_or(String::new(), |n| format!("#{n}"));
    add(&format!("{}{number}", e.stream));
    out
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("2026-11-26", "2026-11-26T00:00:00.000Z"),
            ("2026-11-26T12:34:56Z", "2026-11-26T12:34:56.000Z"),
            ("2026-11-26T12:34:56.5Z", "2026-11-26T12:34:56.500Z"),
        ] {
            assert_eq!(text.parse::<When>().unwrap().0.to_string(), expected);
        }
        for (text, seconds) in [
            ("-90s", 90),
            ("-2h", 7_200),
            ("-7d", 604_800),
            ("-1w", 604_800),
        ] {
            let When(at) = text.parse().unwrap();
            let ago = SystemTime::now().duration_since(at.time()).unwrap();
            assert!(ago.as_secs().abs_diff(seconds) < 5, "{text}");
        }
        for wrong in [
            "",
            "-",
            "-h",
            "-2",
            "-2y",
            "2h",
            "yesterday",
            "2026-13-01",
            "--2h",
            "-1é",
            "-99999999999999999999d",
            "-9999999999999999d",
            "2026-11-2é",
        ] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_nobody_approved_is_not_called_approved() {
        for (approvers, rules, expected) in [
            (&["sue"][..], &["prod"][..], "approved by sue (prod)"),
            (&[], &["prod"], "held (prod)"),
            (&[], &[], "held"),
        ] {
            let approval = weir_client::AuditApproval {
                approvers: approvers.iter().map(|a| (*a).to_owned()).collect(),
                rules: rules.iter().map(|r| (*r).to_owned()).collect(),
                ..Default::default()
            };
            let entry = AuditEntry {
                approval: Some(approval),
                ..AuditEntry::default()
            };
            let line = line(&entry);
            assert!(line.contains(expected), "{line}");
            let said = line.contains("approved");
            assert_eq!(said, !approvers.is_empty(), "{line}");
        }
    }

    #[test]
    fn a_line_holds_nothing_that_a_terminal_obeys() {
        let entry = AuditEntry {
            kind: "action".into(),
            statement: Some("SELECT \u{1b}[2J\u{202e} FROM t\nx".into()),
            database: Some("a\u{1b}]0;b\u{7}".into()),
            target: Some("t".into()),
            resources: vec!["PgTable::\u{9b}31m".into()],
            ..AuditEntry::default()
        };
        let line = line(&entry);
        assert!(
            !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{line:?}"
        );
        assert_eq!(cut(&"é".repeat(WIDTH + 1)).chars().count(), WIDTH + 1);
    }
}
