//! A classifier for SQL: how much can this statement hurt?
//!
//! Place in the flow: a component behind `weir:plugin/classify`. It sees the facts that Weir's parser
//! found and the text itself. Facts say what a statement does; the text says how it came to be
//! (injected, obfuscated, talking to a model).
//!
//! Architecture invariants:
//! - The score is the maximum over the findings: each rule has its own weight, an operator can
//!   change it or switch it off, and one finding says why.
//! - Everyday statements stay below 30. 70 and above is for what an agent has no business doing, 85
//!   and above for what a person should not do alone; the default bundle refuses and holds there.
//! - It judges what it cannot read as risky, not as harmless.

mod config;
mod facts;
mod lex;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;

use config::Settings;
use weir_plugin::{
    Classifier, Demand, Finding, Info, Operation, Plugin, PluginError, Protocol, Risk, Session,
    SqlOp,
};

struct RiskSql;

impl Plugin for RiskSql {
    fn info() -> Info {
        Info {
            name: "risk-sql".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            labels: LABELS.iter().map(|l| (*l).to_owned()).collect(),
        }
    }

    fn protocols() -> Vec<Protocol> {
        vec![Protocol::Postgres]
    }

    fn check_config() -> Result<(), PluginError> {
        Settings::read().map(drop)
    }
}

impl Classifier for RiskSql {
    fn classify(_: Session, op: Operation) -> Result<Risk, PluginError> {
        let settings = Settings::read()?;
        Ok(match op {
            Operation::Sql(op) => assess(&op, &settings),
            // Nothing here knows other protocols; policy decides about them.
            _ => weir_plugin::risk(0),
        })
    }
}

weir_plugin::export!(RiskSql: classifier);

/// What the default bundle's schema declares.
const LABELS: &[&str] = &[
    "bulk_read",
    "bulk_write",
    "exfiltration",
    "prompt_injection",
    "secrets_access",
];

/// One thing that a rule noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hit {
    code: &'static str,
    weight: u8,
    label: Option<&'static str>,
    message: String,
}

impl Hit {
    fn new(code: &'static str, weight: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            weight,
            label: None,
            message: message.into(),
        }
    }

    fn label(self, label: &'static str) -> Self {
        Self {
            label: Some(label),
            ..self
        }
    }
}

fn assess(op: &SqlOp, settings: &Settings) -> Risk {
    let (text, whole) = lex::head(&op.text);
    let tokens = lex::tokens(text);
    let mut hits = facts::hits(op, &tokens, settings);
    hits.extend(text::hits(op, &tokens));
    if !whole {
        hits.push(Hit::new(
            "too_long",
            60,
            "the text is too long to be looked at in full",
        ));
    }

    let mut risk = weir_plugin::risk(0);
    let mut labels = BTreeSet::new();
    let mut codes = BTreeSet::new();
    for hit in hits {
        let Some(weight) = settings.weight(hit.code, hit.weight) else {
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
    risk.demand = settings.demand(risk.score);
    risk
}

impl Settings {
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
