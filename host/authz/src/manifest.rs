//! `bundle.toml`: the bundle's name, approval rules, data labels, how safe records have to be, and how long
//! they are kept.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{ApprovalRule, Durability, LabelCatalog, LabelRule};
use serde::Deserialize;
use toml::Spanned;

use crate::bundle::MANIFEST;
use crate::problem::{Problem, Problems};
use crate::retention::{MAX_DIFFERENT, RetentionRule};

pub const MAX_APPROVAL_RULES: usize = 64;
pub const MAX_LABEL_RULES: usize = 2_000;
pub const MAX_RETENTION_RULES: usize = 256;
const RETENTION_DAYS: std::ops::RangeInclusive<u32> = 1..=36_500;
const MAX_REQUIRED: u32 = 10;
const MIN_TTL_SECONDS: u64 = 10;
const MAX_TTL_SECONDS: u64 = 7 * 24 * 3600;
/// For how long the record of a read may be with the operating system only.
const SYNC_WITHIN_MS: std::ops::RangeInclusive<u64> = 5..=1_000;
const DEFAULT_SYNC_WITHIN_MS: u64 = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    approval_rule: Vec<RawRule>,
    #[serde(default)]
    label: Vec<RawLabel>,
    #[serde(default)]
    recording: RawRecording,
    #[serde(default)]
    retention: Vec<RawRetention>,
}

/// What cannot be undone is not the default: without a target it is an error.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRetention {
    target: Spanned<String>,
    days: Spanned<u32>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRecording {
    reads: Option<Spanned<String>>,
    sync_within_ms: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: Spanned<String>,
    approvers: Vec<String>,
    required: Spanned<u32>,
    ttl_seconds: Spanned<u64>,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLabel {
    #[serde(default = "everything")]
    target: String,
    #[serde(default = "everything")]
    schema: String,
    #[serde(default = "everything")]
    table: String,
    column: Spanned<String>,
    labels: Vec<String>,
}

fn everything() -> String {
    "*".into()
}

/// A manifest that has been checked on its own. That it fits the schema is checked elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub name: Arc<str>,
    pub description: String,
    /// In the manifest's order: rules that come first are preferred when several would do.
    pub rules: Vec<ApprovalRule>,
    pub label_rules: Vec<LabelRule>,
    pub labels: LabelCatalog,
    /// Of intents that only read.
    pub reads: Durability,
    pub retention: Vec<RetentionRule>,
}

impl Manifest {
    /// Finds as many problems as it can; `None` if there is one.
    pub fn parse(text: &str, problems: &mut Problems) -> Option<Self> {
        let raw: RawManifest = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                problems.push(Problem::at(MANIFEST, text, offset, error.message()));
                return None;
            }
        };
        let mut check = Check {
            text,
            problems,
            ok: true,
        };
        check.name(&raw.name, "the bundle's name");
        check.count(
            raw.approval_rule.len(),
            MAX_APPROVAL_RULES,
            "approval rules",
        );
        check.count(raw.label.len(), MAX_LABEL_RULES, "label rules");
        let mut seen = BTreeSet::new();
        for rule in &raw.approval_rule {
            check.rule(rule, &mut seen);
        }
        for label in &raw.label {
            check.label(label);
        }
        check.retention(&raw.retention);
        let reads = check.reads(&raw.recording);
        if !check.ok {
            return None;
        }
        let label_rules: Vec<LabelRule> = raw.label.into_iter().map(label_rule).collect();
        Some(Self {
            name: raw.name.into_inner().into(),
            description: raw.description,
            rules: raw.approval_rule.into_iter().map(approval_rule).collect(),
            labels: LabelCatalog::new(label_rules.clone()),
            label_rules,
            reads,
            retention: raw.retention.into_iter().map(retention_rule).collect(),
        })
    }
}

fn approval_rule(raw: RawRule) -> ApprovalRule {
    ApprovalRule {
        name: raw.name.into_inner().into(),
        approvers: raw.approvers.into_iter().map(Arc::from).collect(),
        required: raw.required.into_inner(),
        ttl: Duration::from_secs(raw.ttl_seconds.into_inner()),
        description: raw.description,
    }
}

fn label_rule(raw: RawLabel) -> LabelRule {
    LabelRule {
        target: raw.target,
        schema: raw.schema,
        table: raw.table,
        column: raw.column.into_inner(),
        labels: raw.labels.into_iter().map(Arc::from).collect(),
    }
}

fn retention_rule(raw: RawRetention) -> RetentionRule {
    RetentionRule {
        at: raw.days.span().start,
        target: raw.target.into_inner(),
        days: raw.days.into_inner(),
    }
}

struct Check<'a> {
    text: &'a str,
    problems: &'a mut Problems,
    ok: bool,
}

impl Check<'_> {
    fn fail(&mut self, offset: usize, message: impl Into<String>) {
        self.ok = false;
        self.problems
            .push(Problem::at(MANIFEST, self.text, offset, message));
    }

    fn name(&mut self, name: &Spanned<String>, what: &str) {
        let text = name.get_ref();
        let good = !text.is_empty()
            && text.len() <= 64
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        if !good {
            self.fail(
                name.span().start,
                format!("{what} {text:?} must be 1 to 64 of a-z, 0-9, '-', '_' and '.'"),
            );
        }
    }

    fn count(&mut self, count: usize, max: usize, what: &str) {
        if count > max {
            self.fail(0, format!("{count} {what}; at most {max} are allowed"));
        }
    }

    fn rule(&mut self, rule: &RawRule, seen: &mut BTreeSet<String>) {
        let at = rule.name.span().start;
        let name = rule.name.get_ref();
        self.name(&rule.name, "an approval rule's name");
        if !seen.insert(name.clone()) {
            self.fail(at, format!("approval rule {name:?} appears twice"));
        }
        if rule.approvers.is_empty() || rule.approvers.iter().any(String::is_empty) {
            self.fail(
                at,
                format!("approval rule {name:?} needs groups in approvers"),
            );
        }
        if !(1..=MAX_REQUIRED).contains(rule.required.get_ref()) {
            self.fail(
                rule.required.span().start,
                format!("required must be 1 to {MAX_REQUIRED} people"),
            );
        }
        if !(MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(rule.ttl_seconds.get_ref()) {
            self.fail(
                rule.ttl_seconds.span().start,
                format!("ttl_seconds must be {MIN_TTL_SECONDS} to {MAX_TTL_SECONDS}"),
            );
        }
    }

    fn reads(&mut self, raw: &RawRecording) -> Durability {
        let within = raw.sync_within_ms.as_ref();
        match raw
            .reads
            .as_ref()
            .map(|r| (r.get_ref().as_str(), r.span().start))
        {
            None | Some(("fsync", _)) => {
                if let Some(within) = within {
                    let text = "sync_within_ms is for reads = \"os\"";
                    self.fail(within.span().start, text);
                }
                Durability::Fsync
            }
            Some(("os", at)) => {
                let ms = within.map_or(DEFAULT_SYNC_WITHIN_MS, |w| *w.get_ref());
                if !SYNC_WITHIN_MS.contains(&ms) {
                    let (least, most) = (SYNC_WITHIN_MS.start(), SYNC_WITHIN_MS.end());
                    let at = within.map_or(at, |w| w.span().start);
                    self.fail(at, format!("sync_within_ms must be {least} to {most}"));
                }
                Durability::Os {
                    within: Duration::from_millis(ms),
                }
            }
            Some((other, at)) => {
                self.fail(
                    at,
                    format!("recording.reads is \"fsync\" or \"os\", not {other:?}"),
                );
                Durability::Fsync
            }
        }
    }

    fn label(&mut self, label: &RawLabel) {
        let at = label.column.span().start;
        if label.labels.is_empty() {
            self.fail(at, "a label rule needs at least one label");
        }
        for pattern in [
            &label.target,
            &label.schema,
            &label.table,
            label.column.get_ref(),
        ] {
            self.pattern(at, pattern);
        }
    }

    fn pattern(&mut self, at: usize, pattern: &str) {
        let inner = pattern.strip_prefix('*').unwrap_or(pattern);
        let inner = inner.strip_suffix('*').unwrap_or(inner);
        if pattern.is_empty() || inner.contains('*') {
            let text =
                format!("{pattern:?} is no pattern: '*' stands at the start, the end, or alone");
            self.fail(at, text);
        }
    }

    fn retention(&mut self, rules: &[RawRetention]) {
        self.count(rules.len(), MAX_RETENTION_RULES, "retention rules");
        let mut different = BTreeSet::new();
        for rule in rules {
            self.pattern(rule.target.span().start, rule.target.get_ref());
            let at = rule.days.span().start;
            if !RETENTION_DAYS.contains(rule.days.get_ref()) {
                let (least, most) = (RETENTION_DAYS.start(), RETENTION_DAYS.end());
                self.fail(at, format!("days must be {least} to {most}"));
            }
            // Only once: what follows would say the same.
            if different.insert(*rule.days.get_ref()) && different.len() == MAX_DIFFERENT + 1 {
                let text = format!(
                    "the retention rules have more than {MAX_DIFFERENT} different numbers of days"
                );
                self.fail(at, text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str) -> String {
        let mut problems = Problems::default();
        let parsed = Manifest::parse(text, &mut problems);
        match problems.check() {
            Ok(()) => {
                assert!(parsed.is_some(), "no manifest and no problem");
                String::new()
            }
            Err(errors) => {
                assert!(parsed.is_none(), "a manifest in spite of {errors}");
                errors.to_string()
            }
        }
    }

    #[test]
    fn good_and_bad_manifests() {
        let rule = |body: &str| format!("name = \"x\"\n[[approval_rule]]\n{body}");
        let recording = |body: &str| format!("name = \"x\"\n[recording]\n{body}");
        let retention = |body: &str| format!("name = \"x\"\n[[retention]]\n{body}");
        let rules = |days: std::ops::RangeInclusive<usize>| -> String {
            let rule = |d| format!("[[retention]]\ntarget = \"a\"\ndays = {d}\n");
            days.map(rule).collect()
        };
        let good = "name = \"r\"\napprovers = [\"a\"]\nrequired = 1\nttl_seconds = 60\n";
        for (text, expect) in [
            ("name = \"x\"".to_owned(), ""),
            (rule(good), ""),
            ("nam = \"x\"".to_owned(), "bundle.toml:1:1"),
            ("name = \"X Y\"".to_owned(), "must be 1 to 64"),
            ("name = \"x\"\nname = \"y\"".to_owned(), "bundle.toml:2:"),
            (
                format!("{}[[approval_rule]]\n{good}", rule(good)),
                "appears twice",
            ),
            (rule(good).replace("[\"a\"]", "[]"), "needs groups"),
            (rule(good).replace("= 1", "= 0"), "bundle.toml:5:12"),
            (rule(good).replace("= 60", "= 1"), "ttl_seconds must be"),
            (
                "name = \"x\"\n[[label]]\ncolumn = \"a*b\"\nlabels = [\"pii\"]".to_owned(),
                "no pattern",
            ),
            (
                "name = \"x\"\n[[label]]\ncolumn = \"a\"\nlabels = []".to_owned(),
                "at least one label",
            ),
            (recording("reads = \"os\""), ""),
            (recording("reads = \"os\"\nsync_within_ms = 1000"), ""),
            (recording("reads = \"fsync\""), ""),
            (recording("reads = \"none\""), "\"fsync\" or \"os\""),
            (recording("sync_within_ms = 50"), "bundle.toml:3:18"),
            (
                recording("reads = \"os\"\nsync_within_ms = 1001"),
                "5 to 1000",
            ),
            (recording("writes = \"os\""), "unknown field"),
            (retention("target = \"pay*\"\ndays = 2555"), ""),
            (retention("target = \"*\"\ndays = 36500"), ""),
            (retention("target = \"pay*\"\ndays = 0"), "bundle.toml:4:8"),
            (retention("target = \"a\"\ndays = 36501"), "1 to 36500"),
            (retention("target = \"a\"\ndays = -1"), "bundle.toml:4:8"),
            (retention("target = \"a\"\ndays = 1.5"), "bundle.toml:4:8"),
            (retention("target = \"a\"\ndays = \"9\""), "bundle.toml:4:8"),
            (
                retention("target = \"a\"\ndays = 4294967297"),
                "bundle.toml:4:8",
            ),
            (retention("target = \"a*b\"\ndays = 9"), "bundle.toml:3:10"),
            (retention("target = \"\"\ndays = 9"), "no pattern"),
            // Everything for so long is never meant by leaving something out.
            (retention("days = 9"), "missing field `target`"),
            (retention("target = \"a\""), "missing field `days`"),
            (
                retention("targets = [\"a\"]\ndays = 9"),
                "unknown field `targets`",
            ),
            (
                retention("target = \"a\"\ndays = 9\nmode = \"none\""),
                "unknown field `mode`",
            ),
            (format!("name = \"x\"\n{}", rules(1..=MAX_DIFFERENT)), ""),
            (
                format!("name = \"x\"\n{}", rules(1..=MAX_DIFFERENT + 1)),
                "bundle.toml:52:8: the retention rules have more than 16 different",
            ),
            (
                format!("name = \"x\"\n{}", rules(9..=9).repeat(257)),
                "257 retention rules",
            ),
            (format!("name = {}", "[".repeat(50_000)), "bundle.toml:"),
        ] {
            let problems = problems_of(&text);
            if expect.is_empty() {
                assert_eq!(problems, "", "{text}");
            } else {
                assert!(problems.contains(expect), "{text}\n{problems}");
            }
        }
    }
}
