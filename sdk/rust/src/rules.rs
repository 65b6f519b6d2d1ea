//! A classifier that is a set of rules: each has a code and a weight, which an operator can change.
//!
//! The score is the weight of the heaviest rule that has found something; each rule says so once, whatever it found. The
//! settings are those of the plugin's configuration ([`host::config`](crate::host::config)): `refuse_at`, `escalate_at`
//! with `escalate_rule`, and `weight.<code>`.

use std::collections::{BTreeMap, BTreeSet};

use crate::host::config;
use crate::{Demand, Finding, PluginError, Risk};

/// One thing that a rule noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub code: &'static str,
    /// If the operator says nothing else.
    pub weight: u8,
    pub label: Option<&'static str>,
    pub message: String,
}

impl Hit {
    pub fn new(code: &'static str, weight: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            weight,
            label: None,
            message: message.into(),
        }
    }

    /// What policy may ask for by name.
    pub fn label(self, label: &'static str) -> Self {
        Self {
            label: Some(label),
            ..self
        }
    }
}

/// What the operator has set.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `refuse_at`: refuse at this score, whatever policy says.
    refuse_at: Option<u8>,
    /// `escalate_at` and `escalate_rule`: ask for this approval rule at this score.
    escalate: Option<(u8, String)>,
    /// `weight.<code>`: another weight for a rule; 0 or `off` switches it off.
    weights: BTreeMap<String, Option<u8>>,
}

impl Settings {
    /// Of a plugin with the rules `codes`, which reads the settings `others` itself. Every key must be known: a typo that
    /// is ignored would weaken a rule unseen.
    pub fn read(codes: &[&str], others: &[&str]) -> Result<Self, PluginError> {
        let mut out = Self::default();
        let (mut escalate_at, mut escalate_rule) = (None, None);
        for (key, value) in config::all() {
            match key.as_str() {
                "refuse_at" => out.refuse_at = Some(score(&key, &value)?),
                "escalate_at" => escalate_at = Some(score(&key, &value)?),
                "escalate_rule" => escalate_rule = Some(value),
                other if others.contains(&other) => {}
                _ => {
                    let Some(code) = key.strip_prefix("weight.") else {
                        return bad(format!("{key}: there is no such setting"));
                    };
                    if !codes.contains(&code) {
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

    /// What the rules have found, as one answer.
    pub fn assess(&self, hits: impl IntoIterator<Item = Hit>) -> Risk {
        let mut risk = crate::risk(0);
        let mut labels = BTreeSet::new();
        let mut codes = BTreeSet::new();
        for hit in hits {
            let Some(weight) = self.weight(hit.code, hit.weight) else {
                continue;
            };
            risk.score = risk.score.max(weight);
            labels.extend(hit.label);
            if codes.insert(hit.code) {
                risk.findings.push(Finding {
                    code: hit.code.into(),
                    message: hit.message,
                });
            }
        }
        risk.labels = labels.into_iter().map(str::to_owned).collect();
        risk.demand = self.demand(risk.score);
        risk
    }

    /// None when the rule is switched off.
    fn weight(&self, code: &str, default: u8) -> Option<u8> {
        self.weights.get(code).copied().unwrap_or(Some(default))
    }

    fn demand(&self, score: u8) -> Demand {
        match (&self.refuse_at, &self.escalate) {
            (Some(at), _) if score >= *at => {
                Demand::Refuse(format!("the risk classifier gives this {score} of 100"))
            }
            (_, Some((at, rule))) if score >= *at => Demand::Escalate(rule.clone()),
            _ => Demand::None,
        }
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
