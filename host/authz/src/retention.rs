//! For how long what is recorded of a target is kept, where a bundle wants it kept longer than the rest.
//!
//! A bundle can only lengthen: the vault's own time is the operators', and no author of policies shortens it.

use pipeline::pattern_matches;

use crate::bundle::MANIFEST;
use crate::compile::CompiledBundle;
use crate::problem::{BundleErrors, Problem, Problems};

/// Different numbers of days in one bundle: who stores them proves each one to itself.
pub const MAX_DIFFERENT: usize = 16;

/// One line of the bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// As in a label rule.
    pub target: String,
    pub days: u32,
    /// Where the days stand in the manifest.
    pub(crate) at: usize,
}

/// The longest of all rules that match.
pub(crate) fn longest(rules: &[RetentionRule], target: &str) -> Option<u32> {
    let matching = rules.iter().filter(|r| pattern_matches(&r.target, target));
    matching.map(|r| r.days).max()
}

impl CompiledBundle {
    pub fn retention_rules(&self) -> &[RetentionRule] {
        &self.manifest.retention
    }

    /// Can a vault that keeps everything for so many days keep what this bundle wants? None: there is no
    /// vault, or nothing is locked there.
    pub fn check_retention(&self, vault_days: Option<u32>) -> Result<(), BundleErrors> {
        let mut problems = Problems::default();
        let text = self.source.files().get(MANIFEST).map_or("", String::as_str);
        for rule in &self.manifest.retention {
            let (target, days) = (&rule.target, rule.days);
            let (what, help) = match vault_days {
                None => (
                    format!(
                        "what is recorded of {target:?} is to be kept for {days} days, and nothing that this \
                         Weir stores is locked"
                    ),
                    "set recording.vault.retention in weir.toml, or take the [[retention]] out",
                ),
                Some(least) if days < least => (
                    format!(
                        "what is recorded of {target:?} is to be kept for {days} days, which is less than the \
                         vault's {least}"
                    ),
                    "a bundle can only lengthen recording.vault.retention of weir.toml: give more days, or take \
                     the [[retention]] out",
                ),
                Some(_) => continue,
            };
            problems.push_with(|| Problem::at(MANIFEST, text, rule.at, what).help(help));
        }
        problems.check()
    }
}

#[cfg(test)]
mod tests {
    use pipeline::ports::Policy;

    use super::*;
    use crate::Bundle;

    fn compiled(rules: &[(&str, u32)]) -> CompiledBundle {
        let mut files = Bundle::embedded_default().unwrap().files().clone();
        let manifest = files.get_mut(MANIFEST).unwrap();
        for (target, days) in rules {
            manifest.push_str(&format!(
                "\n[[retention]]\ntarget = \"{target}\"\ndays = {days}\n"
            ));
        }
        CompiledBundle::compile(Bundle::from_files(files).unwrap(), 1).unwrap()
    }

    #[test]
    fn the_longest_of_all_that_match_counts() {
        let bundle = compiled(&[("pay*", 2555), ("*", 500), ("pay-eu", 900), ("*-old", 4000)]);
        for (target, days) in [
            ("shop", Some(500)),
            ("pay", Some(2555)),
            ("PAY-eu", Some(2555)),
            ("pay-old", Some(4000)),
            ("repay", Some(500)),
        ] {
            assert_eq!(bundle.retention_days(target), days, "{target}");
        }
        let bundle = compiled(&[("pay*", 2555)]);
        assert_eq!(bundle.retention_days("shop"), None);
        assert_eq!(compiled(&[]).retention_days("shop"), None);
    }

    #[test]
    fn a_bundle_only_lengthens_what_a_vault_locks() {
        let bundle = compiled(&[("pay*", 400), ("hr", 399)]);
        for (vault, expect) in [
            (Some(1), None),
            (Some(399), None),
            (Some(400), Some("less than the vault's 400")),
            (
                Some(401),
                Some("\"pay*\" is to be kept for 400 days, which is less"),
            ),
            (None, Some("nothing that this Weir stores is locked")),
        ] {
            let checked = bundle.check_retention(vault).map_err(|e| e.to_string());
            match expect {
                None => assert_eq!(checked, Ok(())),
                Some(part) => {
                    let errors = checked.unwrap_err();
                    assert!(errors.contains(part), "{vault:?}: {errors}");
                    assert!(errors.contains("bundle.toml:"), "{errors}");
                    assert!(errors.contains("recording.vault.retention"), "{errors}");
                }
            }
        }
        // Every one of them is told.
        let errors = bundle.check_retention(None).unwrap_err();
        assert_eq!(errors.problems.len(), 2);
        assert!(errors.problems.iter().all(|p| p.line > 1 && p.column == 8));
        // Who wants nothing needs nothing.
        assert!(compiled(&[]).check_retention(None).is_ok());
    }
}
