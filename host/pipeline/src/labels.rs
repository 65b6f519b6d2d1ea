//! Data labels of a bundle: which columns are `pii`, `pci`, `secret`, …

use std::sync::Arc;

use crate::action::LabelSet;

/// One line of the bundle's catalogue. `*` at the end, at the start or alone is a wildcard. ASCII
/// case does not matter: a column that was created as "userEmail" is still somebody's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRule {
    pub target: String,
    pub schema: String,
    pub table: String,
    pub column: String,
    pub labels: LabelSet,
}

/// All rules of a bundle. A column has the labels of every rule that matches it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelCatalog {
    rules: Vec<LabelRule>,
}

impl LabelCatalog {
    pub fn new(rules: Vec<LabelRule>) -> Self {
        Self { rules }
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Could anything in this target have a label, whatever it is named?
    pub fn reaches(&self, target: &str) -> bool {
        let target = target.to_ascii_lowercase();
        let mut rules = self.rules.iter();
        rules.any(|rule| !rule.labels.is_empty() && glob(&rule.target, &target))
    }

    /// The labels of a column by its canonical name.
    pub fn labels(&self, target: &str, schema: &str, table: &str, column: &str) -> LabelSet {
        let mut out = LabelSet::new();
        let [target, schema, table, column] =
            [target, schema, table, column].map(str::to_ascii_lowercase);
        for rule in &self.rules {
            if glob(&rule.target, &target)
                && glob(&rule.schema, &schema)
                && glob(&rule.table, &table)
                && glob(&rule.column, &column)
            {
                out.extend(rule.labels.iter().map(Arc::clone));
            }
        }
        out
    }
}

/// Does a bundle's pattern match this name? `*` at the end, at the start or alone is a wildcard, and ASCII
/// case does not matter.
pub fn pattern_matches(pattern: &str, name: &str) -> bool {
    glob(pattern, &name.to_ascii_lowercase())
}

/// `text` is in lower case already.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(rest), Some(_)) => text.contains(rest.strip_suffix('*').unwrap_or(rest)),
        (Some(tail), None) => text.ends_with(tail),
        (None, Some(head)) => text.starts_with(head),
        (None, None) => pattern == text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expect) in [
            ("*", "ssn", true),
            ("ssn", "ssn", true),
            ("ssn", "ssn2", false),
            ("ssn*", "ssn2", true),
            ("*_ssn", "tax_ssn", true),
            ("*_ssn", "ssn", false),
            ("*ssn*", "my_ssn_2", true),
            ("*ssn*", "my_sn_2", false),
            ("*SSN*", "my_ssn_2", true),
        ] {
            assert_eq!(glob(pattern, text), expect, "{pattern} on {text}");
        }
    }

    #[test]
    fn what_a_target_can_have() {
        let rule = |target: &str, labels: &[&str]| LabelRule {
            target: target.into(),
            schema: "no_such_schema".into(),
            table: "t".into(),
            column: "c".into(),
            labels: labels.iter().map(|l| (*l).into()).collect(),
        };
        let catalog = LabelCatalog::new(vec![rule("Shop-*", &["pii"]), rule("other", &[])]);
        for (target, expect) in [("shop-prod", true), ("SHOP-x", true), ("other", false)] {
            assert_eq!(catalog.reaches(target), expect, "{target}");
        }
        assert!(!LabelCatalog::default().reaches("shop-prod"));
    }

    #[test]
    fn case_does_not_matter() {
        let rule = LabelRule {
            target: "*".into(),
            schema: "public".into(),
            table: "*".into(),
            column: "*email*".into(),
            labels: LabelSet::from(["pii".into()]),
        };
        let catalog = LabelCatalog::new(vec![rule]);
        for (schema, column, expect) in [
            ("public", "userEmail", true),
            ("Public", "EMAIL", true),
            ("other", "email", false),
            ("public", "e_mail", false),
        ] {
            let labels = catalog.labels("t", schema, "users", column);
            assert_eq!(!labels.is_empty(), expect, "{schema}.{column}");
        }
    }
}
