//! Bundle administration for the control plane, over the Cedar engine.

use std::sync::Arc;

use authz::{Bundle, BundleErrors, CompiledBundle, Engine};
use control::{ActiveBundle, Files};
use recorder::Snapshot;
use weir_client::{BundleChange, BundleProblem, BundleSummary, ChangeKind};

use super::{Seal, Snapshots};

pub(crate) struct Bundles {
    pub(crate) engine: Arc<Engine>,
    /// What sessions are judged through.
    pub(crate) seal: Arc<Seal>,
    /// Where a bundle is kept before it decides anything.
    pub(crate) snapshots: Arc<Snapshots>,
}

impl Bundles {
    fn compile(files: &Files, version: u64) -> Result<CompiledBundle, Vec<BundleProblem>> {
        Bundle::from_files(files.clone())
            .and_then(|bundle| CompiledBundle::compile(bundle, version))
            .map_err(problems)
    }
}

impl control::BundleEngine for Bundles {
    fn validate(&self, files: &Files) -> Result<BundleSummary, Vec<BundleProblem>> {
        Self::compile(files, 0).map(|compiled| summary(&compiled))
    }

    fn diff(&self, old: &Files, new: &Files) -> Vec<BundleChange> {
        match (Self::compile(old, 0), Self::compile(new, 0)) {
            (Ok(old), Ok(new)) => changes(&old, &new),
            // A bundle from an earlier version of Weir may no longer compile: compare its files.
            _ => file_changes(old, new),
        }
    }

    fn activate(&self, files: &Files, version: u64) -> Result<BundleSummary, Vec<BundleProblem>> {
        let compiled = Self::compile(files, version)?;
        let kept = self
            .snapshots
            .keep(Snapshot::Bundle, &compiled.source().archive());
        kept.map_err(|error| {
            let message = format!("the bundle cannot be kept beside the recordings: {error}");
            vec![BundleProblem {
                file: String::new(),
                line: 0,
                column: 0,
                message,
                help: Some("its decisions could not be made again, so it is not activated".into()),
            }]
        })?;
        let summary = summary(&compiled);
        self.engine.activate(compiled);
        self.seal.open();
        Ok(summary)
    }

    fn seal(&self, reason: &str) {
        self.seal.close(reason);
    }

    fn active(&self) -> ActiveBundle {
        let active = self.engine.active();
        ActiveBundle {
            version: active.reference().version,
            files: active.source().files().clone(),
            summary: summary(&active),
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn summary(compiled: &CompiledBundle) -> BundleSummary {
    let s = compiled.summary();
    BundleSummary {
        name: s.name,
        digest: s.digest,
        policies: count(compiled.policies().len()),
        approval_rules: s.approval_rules,
        label_rules: count(s.label_rules),
        tests: count(s.tests),
    }
}

fn problems(errors: BundleErrors) -> Vec<BundleProblem> {
    let mut out: Vec<BundleProblem> = errors
        .problems
        .into_iter()
        .map(|p| BundleProblem {
            file: p.file,
            line: p.line,
            column: p.column,
            message: p.message,
            help: p.help,
        })
        .collect();
    if errors.more > 0 {
        out.push(BundleProblem {
            file: String::new(),
            line: 0,
            column: 0,
            message: format!("and {} more problems", errors.more),
            help: None,
        });
    }
    out
}

fn changes(old: &CompiledBundle, new: &CompiledBundle) -> Vec<BundleChange> {
    let diff = old.diff(new);
    let text = |bundle: &CompiledBundle, id: &str| {
        bundle
            .policies()
            .iter()
            .find(|p| &*p.id == id)
            .map(|p| p.text.clone())
    };
    let mut out = Vec::new();
    for (what, changes) in [
        ("policy", &diff.policies),
        ("approval rule", &diff.approval_rules),
        ("label", &diff.labels),
        ("file", &diff.files),
    ] {
        for (kind, names) in [
            (ChangeKind::Added, &changes.added),
            (ChangeKind::Removed, &changes.removed),
            (ChangeKind::Changed, &changes.changed),
        ] {
            for name in names {
                let of_policy = what == "policy";
                out.push(BundleChange {
                    kind,
                    subject: format!("{what} {name}"),
                    before: if of_policy { text(old, name) } else { None },
                    after: if of_policy { text(new, name) } else { None },
                });
            }
        }
    }
    out
}

fn file_changes(old: &Files, new: &Files) -> Vec<BundleChange> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| {
            let kind = match (old.get(name), new.get(name)) {
                (None, Some(_)) => ChangeKind::Added,
                (Some(_), None) => ChangeKind::Removed,
                (Some(a), Some(b)) if a != b => ChangeKind::Changed,
                _ => return None,
            };
            let (before, after) = (old.get(name).cloned(), new.get(name).cloned());
            Some(BundleChange {
                kind,
                subject: format!("file {name}"),
                before,
                after,
            })
        })
        .collect()
}
