//! The operator's settings.

use std::collections::BTreeMap;

use weir_plugin::PluginError;
use weir_plugin::host::config;

/// Rows that a LIMIT may ask of a labelled table before it counts as a bulk read.
const BULK_LIMIT: i64 = 1000;

#[derive(Debug, Default)]
pub struct Settings {
    /// `bulk_limit`
    pub bulk_limit: i64,
    /// `refuse_at`: refuse at this score, whatever policy says.
    pub refuse_at: Option<u8>,
    /// `escalate_at` and `escalate_rule`: ask for this approval rule at this score.
    pub escalate: Option<(u8, String)>,
    /// `weight.<code>`: another weight for a rule; 0 or `off` switches it off.
    weights: BTreeMap<String, Option<u8>>,
}

impl Settings {
    /// Every key must be known: a typo that is ignored would weaken a rule unseen.
    pub fn read() -> Result<Self, PluginError> {
        let mut out = Self {
            bulk_limit: BULK_LIMIT,
            ..Self::default()
        };
        let (mut escalate_at, mut escalate_rule) = (None, None);
        for (key, value) in config::all() {
            match key.as_str() {
                "bulk_limit" => out.bulk_limit = config::parse(&key, BULK_LIMIT)?.max(0),
                "refuse_at" => out.refuse_at = Some(score(&key, &value)?),
                "escalate_at" => escalate_at = Some(score(&key, &value)?),
                "escalate_rule" => escalate_rule = Some(value),
                _ => {
                    let Some(code) = key.strip_prefix("weight.") else {
                        return bad(format!("{key}: there is no such setting"));
                    };
                    if !CODES.contains(&code) {
                        return bad(format!("{key}: there is no rule of that name"));
                    }
                    let weight = match value.trim() {
                        "off" | "0" => None,
                        _ => Some(score(&key, &value)?),
                    };
                    out.weights.insert(code.to_owned(), weight);
                }
            }
        }
        out.escalate = match (escalate_at, escalate_rule) {
            (Some(at), Some(rule)) => Some((at, rule)),
            (None, None) => None,
            _ => return bad("escalate_at and escalate_rule need each other".into()),
        };
        Ok(out)
    }

    /// None when the rule is switched off.
    pub fn weight(&self, code: &str, default: u8) -> Option<u8> {
        self.weights.get(code).copied().unwrap_or(Some(default))
    }
}

fn score(key: &str, value: &str) -> Result<u8, PluginError> {
    match value.trim().parse() {
        Ok(score @ 1..=100) => Ok(score),
        _ => bad(format!("{key}: {value:?} is not a score from 1 to 100")),
    }
}

fn bad<T>(message: String) -> Result<T, PluginError> {
    Err(PluginError::BadConfig(message))
}

/// Every rule, for `weight.<code>`.
pub const CODES: &[&str] = &[
    "administration",
    "bulk_read",
    "bulk_write",
    "code_in_comment",
    "copies_labelled_data",
    "dangerous_function",
    "ddl",
    "destructive",
    "dynamic_code",
    "labelled_read",
    "locks",
    "many_statements",
    "obfuscated",
    "privileges",
    "prompt_injection",
    "secrets_access",
    "server_access",
    "stalls",
    "tautology",
    "too_long",
    "union_probe",
    "unparsed",
];
