//! Data labels of a bundle: which columns are `pii`, `pci`, `secret`, …

use std::sync::Arc;

use crate::action::LabelSet;

/// One line of the bundle's catalogue. `*` at the end, at the start or alone is a wildcard.
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

    /// The labels of a column by its canonical name.
    pub fn labels(&self, target: &str, schema: &str, table: &str, column: &str) -> LabelSet {
        let mut out = LabelSet::new();
        for rule in &self.rules {
            if glob(&rule.target, target)
                && glob(&rule.schema, schema)
                && glob(&rule.table, table)
                && glob(&rule.column, column)
            {
                out.extend(rule.labels.iter().map(Arc::clone));
            }
        }
        out
    }
}

fn glob(pattern: &str, text: &str) -> bool {
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
        ] {
            assert_eq!(glob(pattern, text), expect, "{pattern} on {text}");
        }
    }
}
