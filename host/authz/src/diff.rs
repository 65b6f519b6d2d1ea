//! What a bundle contains and how two of them differ, for people and for the API.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::CompiledBundle;

/// What is in a bundle, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub name: String,
    pub version: u64,
    pub digest: String,
    pub description: String,
    pub files: Vec<String>,
    pub grants: usize,
    pub guards: usize,
    pub reliefs: usize,
    pub approval_rules: Vec<String>,
    pub label_rules: usize,
    pub tests: usize,
}

/// Names that came, went or changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
}

impl Changes {
    fn between<T: PartialEq>(old: &BTreeMap<String, T>, new: &BTreeMap<String, T>) -> Self {
        let missing = |from: &BTreeMap<String, T>, of: &BTreeMap<String, T>| -> Vec<String> {
            of.keys()
                .filter(|k| !from.contains_key(*k))
                .cloned()
                .collect()
        };
        Self {
            added: missing(old, new),
            removed: missing(new, old),
            changed: old
                .iter()
                .filter(|(name, value)| new.get(*name).is_some_and(|other| other != *value))
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// How one bundle differs from another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleDiff {
    pub files: Changes,
    /// By `@id`; a policy that only moved to another file or line has not changed.
    pub policies: Changes,
    pub approval_rules: Changes,
    /// Each written as `target.schema.table.column: labels`.
    pub labels: Changes,
    /// By the pattern of targets.
    pub retention: Changes,
}

impl BundleDiff {
    pub fn is_empty(&self) -> bool {
        [
            &self.files,
            &self.policies,
            &self.approval_rules,
            &self.labels,
            &self.retention,
        ]
        .iter()
        .all(|changes| changes.is_empty())
    }
}

impl CompiledBundle {
    pub fn summary(&self) -> Summary {
        let count = |prefix: &[&str]| {
            let of_prefix = |id: &str| prefix.iter().any(|p| id.starts_with(p));
            self.policies.iter().filter(|p| of_prefix(&p.id)).count()
        };
        Summary {
            name: self.reference.name.to_string(),
            version: self.reference.version,
            digest: self.reference.digest.to_string(),
            description: self.manifest.description.clone(),
            files: self.source.files().keys().cloned().collect(),
            grants: count(&["grant.", "jit."]),
            guards: count(&["guard."]),
            reliefs: count(&["relief."]),
            approval_rules: self
                .manifest
                .rules
                .iter()
                .map(|r| r.name.to_string())
                .collect(),
            label_rules: self.manifest.label_rules.len(),
            tests: self.tests,
        }
    }

    /// What would change if `new` took the place of this bundle.
    pub fn diff(&self, new: &CompiledBundle) -> BundleDiff {
        BundleDiff {
            files: Changes::between(self.source.files(), new.source.files()),
            policies: Changes::between(&self.by_id(), &new.by_id()),
            approval_rules: Changes::between(&self.by_rule(), &new.by_rule()),
            labels: Changes::between(&self.by_label(), &new.by_label()),
            retention: Changes::between(&self.by_retention(), &new.by_retention()),
        }
    }

    fn by_id(&self) -> BTreeMap<String, String> {
        let entry = |p: &crate::PolicyInfo| (p.id.to_string(), p.text.clone());
        self.policies.iter().map(entry).collect()
    }

    fn by_rule(&self) -> BTreeMap<String, pipeline::ApprovalRule> {
        let rules = self.manifest.rules.iter();
        rules.map(|r| (r.name.to_string(), r.clone())).collect()
    }

    /// For how many days what is recorded is kept, by the pattern of targets.
    pub fn by_retention(&self) -> BTreeMap<String, u32> {
        let mut out = BTreeMap::new();
        for rule in &self.manifest.retention {
            let days: &mut u32 = out.entry(rule.target.clone()).or_default();
            *days = rule.days.max(*days);
        }
        out
    }

    fn by_label(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for rule in &self.manifest.label_rules {
            let pattern = [&rule.target, &rule.schema, &rule.table, &rule.column];
            let pattern = pattern.map(String::as_str).join(".");
            let labels = rule.labels.iter().map(|l| l.to_string());
            out.entry(pattern).or_default().extend(labels);
        }
        out
    }
}
