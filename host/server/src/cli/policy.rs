//! `weir policy`: check a bundle here, or upload, compare, activate and roll back over the API.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use weir_client::{Activation, BundleInfo, BundleUpload, Paging, Reason};

use super::remote::{Remote, explain, shown};

#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Check a bundle directory: limits, strict validation, lints, its own tests.
    Check {
        /// The bundle directory; the embedded default bundle when absent.
        dir: Option<PathBuf>,
    },
    /// Upload a bundle directory. It is staged, not active.
    Push {
        #[command(flatten)]
        remote: Remote,
        dir: PathBuf,
        #[arg(long, default_value = "")]
        note: String,
    },
    /// List the bundles.
    Ls {
        #[command(flatten)]
        remote: Remote,
    },
    /// What would change.
    Diff {
        #[command(flatten)]
        remote: Remote,
        version: u64,
        /// Compare with this version instead of the active one.
        #[arg(long)]
        against: Option<u64>,
    },
    /// Make a staged bundle the active one. Its author may not.
    Activate {
        #[command(flatten)]
        remote: Remote,
        version: u64,
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Go back to the bundle that was active before.
    Rollback {
        #[command(flatten)]
        remote: Remote,
        #[arg(long, default_value = "")]
        reason: String,
    },
}

pub(super) async fn run(command: PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Check { dir } => return check(dir),
        PolicyCommand::Push { remote, dir, note } => {
            let files = authz::Bundle::from_dir(&dir)?.files().clone();
            let upload = BundleUpload { files, note };
            let bundle = remote
                .client()?
                .upload_bundle(&upload)
                .await
                .map_err(explain)?;
            remote.print(&bundle, line)?;
        }
        PolicyCommand::Ls { remote } => {
            let page = remote
                .client()?
                .bundles(&Paging::default())
                .await
                .map_err(explain)?;
            remote.print(&page, |page| page.items.iter().for_each(line))?;
        }
        PolicyCommand::Diff {
            remote,
            version,
            against,
        } => {
            let diff = remote
                .client()?
                .diff_bundle(version, against)
                .await
                .map_err(explain)?;
            remote.print(&diff, |diff| {
                println!("version {} against {}:", diff.version, diff.against);
                for change in &diff.changes {
                    println!("  {:?} {}", change.kind, shown(&change.subject));
                    // Whoever activates must see what, not only where.
                    for (sign, text) in [('-', &change.before), ('+', &change.after)] {
                        for line in text.iter().flat_map(|text| text.lines()) {
                            println!("    {sign} {}", shown(line));
                        }
                    }
                }
            })?;
        }
        PolicyCommand::Activate {
            remote,
            version,
            reason,
        } => {
            let done = remote
                .client()?
                .activate_bundle(version, &Reason { reason })
                .await
                .map_err(explain)?;
            remote.print(&done, activated)?;
        }
        PolicyCommand::Rollback { remote, reason } => {
            let done = remote
                .client()?
                .roll_back_bundle(&Reason { reason })
                .await
                .map_err(explain)?;
            remote.print(&done, activated)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn activated(a: &Activation) {
    println!("version {} is active (sha256 {})", a.version, a.digest);
}

fn line(b: &BundleInfo) {
    println!(
        "{}  {:?}  {}  {} policies, {} tests  sha256 {}  by {} at {}  {}",
        b.version,
        b.state,
        shown(&b.summary.name),
        b.summary.policies,
        b.summary.tests,
        b.summary.digest,
        b.author
            .as_deref()
            .map_or_else(|| "configuration".into(), shown),
        b.created_at,
        shown(&b.note),
    );
}

fn check(dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let bundle = match &dir {
        Some(dir) => authz::Bundle::from_dir(dir)?,
        None => authz::Bundle::embedded_default()?,
    };
    match authz::CompiledBundle::compile(bundle, 0) {
        Ok(compiled) => {
            let s = compiled.summary();
            println!(
                "ok: {} policies, {} approval rules, {} label rules, {} tests passed",
                compiled.policies().len(),
                s.approval_rules.len(),
                s.label_rules,
                s.tests
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            eprintln!("{errors}");
            Ok(ExitCode::FAILURE)
        }
    }
}
