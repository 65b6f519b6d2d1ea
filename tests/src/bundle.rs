//! The bundle under test: the default one, as it is shipped, with the planted data's labels, people
//! to vote, and grants for the people of the tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::paths;

/// Labels of the planted columns.
const LABELS: &str = r#"
[[label]]
table = "customers"
column = "ssn"
labels = ["pii"]

[[label]]
table = "customers"
column = "email"
labels = ["pii", "pii.email"]

[[label]]
table = "customers"
column = "card"
labels = ["pci"]
"#;

/// Who the people of the tests are. The default bundle's guards stay in force for all of them.
const PEOPLE: &str = r#"
@id("grant.e2e.staff")
permit (principal in Group::"staff",
        action in [Action::"connect", Action::"read", Action::"write", Action::"exec"],
        resource in Target::"orders-prod");

@id("grant.e2e.operators")
permit (principal in Group::"operators", action in [Action::"control"], resource);

@id("grant.e2e.approvers")
permit (principal in Group::"approvers",
        action in [Action::"approval:read", Action::"approval:vote"], resource);

@id("relief.e2e.cleared")
permit (principal in Group::"cleared", action == Action::"data:reveal", resource);

@id("relief.e2e.analysts")
permit (principal in Group::"analysts", action == Action::"data:compute", resource);

@id("relief.e2e.approved")
permit (principal in Group::"askers", action == Action::"data:compute", resource)
when { context.base.approvals.contains(ApprovalRule::"risky") };

@id("guard.e2e.no-drop")
@reason("nothing is dropped here")
forbid (principal, action == Action::"postgres:drop", resource);

@id("guard.e2e.accounts")
@reason("a change of accounts needs a second person")
forbid (principal, action in [Action::"postgres:update"], resource is Pg::Table)
when { resource.name == "accounts" }
unless { context.base.approvals.contains(ApprovalRule::"prod-bulk-write") };
"#;

/// A bundle: file names and texts.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub files: BTreeMap<String, String>,
}

impl Bundle {
    /// The default bundle with the tests' additions.
    pub fn for_tests() -> Result<Self> {
        let mut bundle = Self::default_bundle()?;
        // Its own tests are about its own people.
        bundle.files.retain(|path, _| !path.starts_with("tests/"));
        bundle.add("e2e.cedar", PEOPLE);
        let manifest = bundle
            .files
            .get_mut("bundle.toml")
            .context("no bundle.toml")?;
        manifest.push_str(LABELS);
        bundle.rules("approvers", "[\"approvers\"]");
        bundle.rules("required", "1");
        Ok(bundle)
    }

    /// `policies/`, as it stands.
    pub fn default_bundle() -> Result<Self> {
        Self::read(&paths::root().join("policies"), &["", "tests"])
    }

    /// The bundle that permits everything to `weir-permit-all`, but one guard hangs on what a command line is read as,
    /// and output is masked: what `tests/ssh/reading.cedar` says.
    pub fn that_reads() -> Result<Self> {
        let mut bundle = Self::read(&paths::root().join("policies/examples/permit-all"), &[""])?;
        let policies = bundle.files.get_mut("permit-all.cedar");
        let policies = policies.context("no permit-all.cedar")?;
        let (before, _) = policies
            .split_once("@id(\"relief.")
            .context("nothing is revealed by permit-all")?;
        *policies = before.into();
        let guard = std::fs::read_to_string(paths::root().join("tests/ssh/reading.cedar"))?;
        bundle.add("reading.cedar", &guard);
        Ok(bundle)
    }

    fn read(root: &Path, dirs: &[&str]) -> Result<Self> {
        let mut files = BTreeMap::new();
        for dir in dirs {
            for entry in std::fs::read_dir(root.join(dir))? {
                let path = entry?.path();
                let known = path.extension().and_then(|e| e.to_str());
                if !matches!(known, Some("cedar" | "cedarschema" | "toml" | "json")) {
                    continue;
                }
                let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
                files.insert(name, std::fs::read_to_string(&path)?);
            }
        }
        Ok(Self { files })
    }

    pub fn add(&mut self, name: &str, text: &str) {
        self.files.entry(name.into()).or_default().push_str(text);
    }

    /// Sets a key of every approval rule.
    pub fn rules(&mut self, key: &str, value: &str) {
        let Some(manifest) = self.files.get_mut("bundle.toml") else {
            return;
        };
        let set = |line: &str| match line.split_once('=') {
            Some((name, _)) if name.trim() == key => format!("{key} = {value}"),
            _ => line.to_owned(),
        };
        *manifest = manifest.lines().map(set).collect::<Vec<_>>().join("\n") + "\n";
    }

    /// Writes it below a directory, for a configuration or `weir policy push`.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let dir = dir.join("bundle");
        for (name, text) in &self.files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().context("no parent")?)?;
            std::fs::write(path, text)?;
        }
        Ok(dir)
    }

    /// The body of an upload.
    pub fn upload(&self, note: &str) -> Value {
        serde_json::json!({"files": self.files, "note": note})
    }
}
