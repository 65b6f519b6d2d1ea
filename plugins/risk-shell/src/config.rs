//! The operator's settings.

use std::collections::BTreeMap;

use weir_plugin::PluginError;
use weir_plugin::host::config;

#[derive(Debug, Default)]
pub struct Settings {
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
        let mut out = Self::default();
        let (mut escalate_at, mut escalate_rule) = (None, None);
        for (key, value) in config::all() {
            match key.as_str() {
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
    "accounts",
    "bulk_write",
    "code",
    "covers_tracks",
    "destroys",
    "escape",
    "exfiltration",
    "fed",
    "firewall",
    "forwarding",
    "interactive",
    "kernel",
    "network",
    "opaque",
    "packages",
    "persistence",
    "prompt_injection",
    "reverse_shell",
    "root",
    "runs_by_option",
    "script",
    "secrets_access",
    "services",
    "system_file",
    "tunnel",
    "unread",
];
