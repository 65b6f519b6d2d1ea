//! Bundle administration for the control plane, over the Cedar engine.

use std::collections::BTreeSet;
use std::sync::Arc;

use authz::{Bundle, BundleErrors, CompiledBundle, Engine};
use control::{ActiveBundle, Coming, Files};
use recorder::{Proof, Snapshot};
use tokio::runtime::Handle;
use weir_client::{BundleChange, BundleProblem, BundleSummary, ChangeKind};

use super::{Seal, Snapshots};

pub(crate) struct Bundles {
    pub(crate) engine: Arc<Engine>,
    /// What sessions are judged through.
    pub(crate) seal: Arc<Seal>,
    /// Where a bundle is kept before it decides anything.
    pub(crate) snapshots: Arc<Snapshots>,
    /// For how many days the vault locks everything, if it does.
    pub(crate) vault_days: Option<u32>,
}

impl Bundles {
    /// What may come into force here.
    fn compile(&self, files: &Files, version: u64) -> Result<CompiledBundle, Vec<BundleProblem>> {
        let compiled = compile(files, version)?;
        let kept = compiled.check_retention(self.vault_days);
        kept.map(|()| compiled).map_err(problems)
    }
}

fn compile(files: &Files, version: u64) -> Result<CompiledBundle, Vec<BundleProblem>> {
    Bundle::from_files(files.clone())
        .and_then(|bundle| CompiledBundle::compile(bundle, version))
        .map_err(problems)
}

impl control::BundleEngine for Bundles {
    fn validate(&self, files: &Files) -> Result<BundleSummary, Vec<BundleProblem>> {
        self.compile(files, 0).map(|compiled| summary(&compiled))
    }

    fn diff(&self, old: &Files, new: &Files) -> Vec<BundleChange> {
        match (compile(old, 0), compile(new, 0)) {
            (Ok(old), Ok(new)) => changes(&old, &new),
            // A bundle from an earlier version of Weir may no longer compile: compare its files.
            _ => file_changes(old, new),
        }
    }

    fn activate(
        &self,
        files: &Files,
        version: u64,
        coming: Coming,
    ) -> Result<BundleSummary, Vec<BundleProblem>> {
        let compiled = self.compile(files, version)?;
        if let Some(recorder) = self.snapshots.recorder() {
            let proof = match coming {
                Coming::New => Proof::Now,
                Coming::Back => Proof::OrLater,
            };
            let proved = recorder.prove_retention(kept_longer(&compiled), proof);
            let proved = Handle::current().block_on(proved);
            proved.map_err(|error| {
                vec![whole(
                    format!("its [[retention]] cannot be kept: {error}"),
                    "give fewer days, or have the store keep them; nothing was activated",
                )]
            })?;
        }
        let kept = self
            .snapshots
            .keep(Snapshot::Bundle, &compiled.source().archive());
        kept.map_err(|error| {
            let message = format!("the bundle cannot be kept beside the recordings: {error}");
            let help = "its decisions could not be made again, so it is not activated";
            vec![whole(message, help)]
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

/// A problem of the bundle as a whole.
fn whole(message: String, help: &str) -> BundleProblem {
    BundleProblem {
        file: String::new(),
        line: 0,
        column: 0,
        message,
        help: Some(help.to_owned()),
    }
}

/// What a store has to show that it keeps, before this bundle comes into force.
pub(crate) fn kept_longer(bundle: &CompiledBundle) -> BTreeSet<u32> {
    let rules = bundle.retention_rules().iter();
    rules.map(|rule| rule.days).collect()
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
    // Whoever activates must see what, not only where.
    let text = |bundle: &CompiledBundle, what: &str, name: &str| match what {
        "policy" => {
            let policy = bundle.policies().iter().find(|p| &*p.id == name);
            policy.map(|p| p.text.clone())
        }
        "retention of" => {
            let days = bundle.by_retention().get(name).copied();
            days.map(|days| format!("{days} days"))
        }
        _ => None,
    };
    let mut out = Vec::new();
    for (what, changes) in [
        ("policy", &diff.policies),
        ("approval rule", &diff.approval_rules),
        ("label", &diff.labels),
        ("retention of", &diff.retention),
        ("file", &diff.files),
    ] {
        for (kind, names) in [
            (ChangeKind::Added, &changes.added),
            (ChangeKind::Removed, &changes.removed),
            (ChangeKind::Changed, &changes.changed),
        ] {
            for name in names {
                out.push(BundleChange {
                    kind,
                    subject: format!("{what} {name}"),
                    before: text(old, what, name),
                    after: text(new, what, name),
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

#[cfg(test)]
mod tests {
    use control::BundleEngine;

    use super::*;

    /// The default bundle, and what it is to say besides.
    fn files(more: &str) -> Files {
        let mut files = Bundle::embedded_default().unwrap().files().clone();
        files.get_mut("bundle.toml").unwrap().push_str(more);
        files
    }

    fn bundles(vault_days: Option<u32>) -> Bundles {
        let bundle = Bundle::embedded_default().unwrap();
        let engine = Arc::new(Engine::new(CompiledBundle::compile(bundle, 1).unwrap()));
        Bundles {
            seal: Arc::new(Seal::new(engine.clone())),
            engine,
            snapshots: Arc::default(),
            vault_days,
        }
    }

    const RETENTION: &str = "\n[[retention]]\ntarget = \"pay*\"\ndays = 400\n";

    #[test]
    fn a_retention_that_the_vault_does_not_keep_comes_into_force_nowhere() {
        for (vault, expect) in [
            (None, "nothing that this Weir stores is locked"),
            (Some(401), "less than the vault's 401"),
        ] {
            let bundles = bundles(vault);
            let refused = [
                bundles.validate(&files(RETENTION)),
                bundles.activate(&files(RETENTION), 2, Coming::New),
            ];
            for problems in refused.map(Result::unwrap_err) {
                let [problem] = problems.as_slice() else {
                    panic!("{problems:?}")
                };
                assert!(problem.message.contains(expect), "{problem:?}");
                assert_eq!((&*problem.file, problem.column), ("bundle.toml", 8));
                assert!(problem.line > 1 && problem.help.is_some(), "{problem:?}");
            }
            assert_eq!(bundles.active().version, 1, "what was active stays");
            // The same without it is fine.
            bundles.activate(&files(""), 3, Coming::New).unwrap();
        }
        let bundles = bundles(Some(400));
        bundles.validate(&files(RETENTION)).unwrap();
        bundles.activate(&files(RETENTION), 2, Coming::New).unwrap();
        assert_eq!(bundles.active().version, 2);
    }

    #[test]
    fn who_activates_sees_how_long_it_was_and_will_be() {
        // Also where this Weir could not keep it: nothing comes into force by being compared.
        let bundles = bundles(None);
        let said = |old: &str, new: &str| {
            let changes = bundles.diff(&files(old), &files(new));
            let mut changes = changes
                .into_iter()
                .filter(|c| c.subject.contains("retention"));
            let change = changes.next().unwrap();
            assert!(changes.next().is_none());
            assert_eq!(change.subject, "retention of pay*");
            (change.kind, change.before, change.after)
        };
        let days = |text: &str| Some(text.to_owned());
        let shorter = RETENTION.replace("400", "30");
        assert_eq!(
            said("", RETENTION),
            (ChangeKind::Added, None, days("400 days"))
        );
        assert_eq!(
            said(RETENTION, ""),
            (ChangeKind::Removed, days("400 days"), None)
        );
        assert_eq!(
            said(RETENTION, &shorter),
            (ChangeKind::Changed, days("400 days"), days("30 days"))
        );
    }

    /// What the configuration says of the vault is one thing, what the recorder has another.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_store_does_not_show_that_it_keeps_comes_into_force_nowhere() {
        let dir = std::env::temp_dir().join(format!("weir-bundles-{}", uuid::Uuid::now_v7()));
        let store = recorder::StoreConfig::Directory(dir.join("store"));
        let options = recorder::RecorderOptions::new(dir.join("spool"), store);
        let (recorder, _) = recorder::Recorder::open(options).await.unwrap();
        let bundles = Arc::new(bundles(Some(400)));
        bundles.snapshots.attach(&recorder).unwrap();
        let activate = async |more: &str, version| {
            let (bundles, files) = (bundles.clone(), files(more));
            let done =
                tokio::task::spawn_blocking(move || bundles.activate(&files, version, Coming::New));
            done.await.unwrap()
        };
        let problems = activate(RETENTION, 2).await.unwrap_err();
        let said = &problems[0].message;
        assert!(said.contains("its [[retention]] cannot be kept"), "{said}");
        assert!(said.contains("400 days"), "{said}");
        assert_eq!(bundles.active().version, 1, "what was active stays");
        activate("", 3).await.unwrap();
        assert_eq!(bundles.active().version, 3);
        recorder.shutdown(std::time::Duration::from_secs(5)).await;
        std::fs::remove_dir_all(dir).unwrap();
    }
}
