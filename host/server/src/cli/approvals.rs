//! `weir approvals`: the inbox of those who decide.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use weir_client::{
    ApprovalDetail, ApprovalFilter, ApprovalState, DenyRequest, EncodedValue, Parameter, Reason,
    Statement, VoteResult,
};

use super::remote::{Remote, explain, shown};

#[derive(Subcommand)]
pub(super) enum ApprovalsCommand {
    /// List statements that wait (or waited) for people.
    Ls {
        #[command(flatten)]
        remote: Remote,
        /// Only those in this state.
        #[arg(long, default_value = "open")]
        state: State,
    },
    /// Show one with its exact statement, parameters, risk and votes.
    Show {
        #[command(flatten)]
        remote: Remote,
        id: String,
    },
    /// Approve one.
    Approve {
        #[command(flatten)]
        remote: Remote,
        id: String,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Deny one. A denial is final.
    Deny {
        #[command(flatten)]
        remote: Remote,
        id: String,
        #[arg(long)]
        reason: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum State {
    All,
    Open,
    Approved,
    Used,
    Denied,
    Expired,
    Abandoned,
}

impl State {
    fn filter(self) -> Option<ApprovalState> {
        match self {
            Self::All => None,
            Self::Open => Some(ApprovalState::Open),
            Self::Approved => Some(ApprovalState::Approved),
            Self::Used => Some(ApprovalState::Used),
            Self::Denied => Some(ApprovalState::Denied),
            Self::Expired => Some(ApprovalState::Expired),
            Self::Abandoned => Some(ApprovalState::Abandoned),
        }
    }
}

pub(super) async fn run(command: ApprovalsCommand) -> anyhow::Result<ExitCode> {
    match command {
        ApprovalsCommand::Ls { remote, state } => {
            let filter = ApprovalFilter {
                state: state.filter(),
                ..ApprovalFilter::default()
            };
            let page = remote.client()?.approvals(&filter).await.map_err(explain)?;
            remote.print(&page, |page| {
                for a in &page.items {
                    println!(
                        "{}  {:?}  until {}  {} on {}/{}  [{}]  {}",
                        a.id,
                        a.state,
                        a.expires_at,
                        shown(&a.principal),
                        a.target,
                        shown(&a.database),
                        a.rules.join(", "),
                        shown(&a.statement.text),
                    );
                }
                if page.next.is_some() {
                    println!("(there are more)");
                }
            })?;
        }
        ApprovalsCommand::Show { remote, id } => {
            let detail = remote.client()?.approval(&id).await.map_err(explain)?;
            remote.print(&detail, show)?;
        }
        ApprovalsCommand::Approve { remote, id, reason } => {
            let result = remote
                .client()?
                .approve(&id, &Reason { reason })
                .await
                .map_err(explain)?;
            remote.print(&result, voted)?;
        }
        ApprovalsCommand::Deny { remote, id, reason } => {
            let result = remote
                .client()?
                .deny(&id, &DenyRequest { reason })
                .await
                .map_err(explain)?;
            remote.print(&result, voted)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn voted(result: &VoteResult) {
    println!(
        "{:?}; counted for {}",
        result.state,
        result.counted_for.join(", ")
    );
    for route in &result.routes {
        println!("  {}: {} of {}", route.rule, route.approved, route.required);
    }
}

fn show(a: &ApprovalDetail) {
    println!("{} ({:?}), expires {}", a.id, a.state, a.expires_at);
    for actor in &a.chain {
        println!(
            "  {} {} in [{}]",
            actor.kind,
            shown(&actor.subject),
            shown(&actor.groups.join(", "))
        );
    }
    println!("  from {}, issuer {}", a.source, shown(&a.issuer));
    let is_host = a.target.protocol == "ssh";
    println!(
        "  on {} ({}), {} {}",
        a.target.name,
        a.target.env,
        if is_host { "login" } else { "database" },
        shown(&a.database)
    );
    println!("  because {}", shown(&a.reason));
    println!(
        "  risk {} [{}]",
        a.risk.score,
        shown(&a.risk.labels.join(", "))
    );
    for finding in &a.risk.findings {
        println!("    {}: {}", shown(&finding.code), shown(&finding.message));
    }
    println!(
        "  statement{}:",
        if a.statement.truncated {
            " (cut short)"
        } else {
            ""
        }
    );
    for line in a.statement.text.lines() {
        println!("    {}", shown(line));
    }
    parameters(&a.parameters);
    for named in &a.statement.runs {
        println!("  which can run {:?}:", shown(&named.name));
        for line in named.text.lines() {
            println!("    {}", shown(line));
        }
        parameters(&named.parameters);
    }
    if is_host {
        on_host(&a.statement);
    }
    for column in &a.statement.computes {
        println!("  decided by the labelled column {}", shown(column));
    }
    if let Some(impact) = &a.impact {
        println!("  it touches:");
        for line in impact.lines() {
            println!("    {}", shown(&line));
        }
    }
    for route in &a.routes {
        println!(
            "  {}: {} of {} from [{}]",
            route.rule,
            route.approved,
            route.required,
            route.approvers.join(", ")
        );
    }
    for vote in &a.votes {
        println!(
            "  {:?} by {} at {}: {}",
            vote.kind,
            shown(&vote.voter),
            vote.at,
            shown(&vote.reason)
        );
    }
}

/// What a command on a host comes down to, as far as reading it tells.
fn on_host(statement: &Statement) {
    for why in &statement.opaque {
        println!("  what it does is not clear: {}", shown(why));
    }
    if !statement.parsed && statement.opaque.is_empty() {
        println!("  what it does is not clear");
    }
    for (way, list) in [
        ("runs", &statement.functions),
        ("writes", &statement.writes),
        ("reads", &statement.reads),
    ] {
        for what in list {
            println!("  it {way} {}", shown(what));
        }
    }
}

/// A value in binary format: what it says, or its bytes.
fn encoded(value: &EncodedValue) -> String {
    let of = value.of.as_deref().unwrap_or("of a type that is not known");
    match &value.text {
        Some(text) => format!("{} ({})", shown(text), shown(of)),
        None => format!("0x{} (binary, {})", shown(&value.hex), shown(of)),
    }
}

fn parameters(parameters: &[Parameter]) {
    for (i, parameter) in parameters.iter().enumerate() {
        match parameter {
            Parameter::Null => println!("    ${} = NULL", i + 1),
            Parameter::Text(text) => {
                // Escaped once: a line break is not to look like a blank.
                println!("    ${} = {}", i + 1, shown(&format!("{text:?}")));
            }
            Parameter::Binary(base64) => println!("    ${} = base64 {base64}", i + 1),
            Parameter::Encoded(value) => println!("    ${} = {}", i + 1, encoded(value)),
        }
    }
}
