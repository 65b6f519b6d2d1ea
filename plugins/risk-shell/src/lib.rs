//! A classifier for what is asked of a host over SSH: how much can this hurt?
//!
//! Place in the flow: a component behind `weir:plugin/classify`. It sees the facts that Weir's reading of the command
//! line found, as attributes of the operation (`facts` says which), and the text itself.
//!
//! Architecture invariants:
//! - The score is the maximum over the findings: each rule has its own weight, an operator can change it or switch it
//!   off, and one finding says why.
//! - Everyday commands stay below 30. 70 and above is for what an agent has no business doing, 85 and above for what a
//!   person should not do alone; the default bundle refuses and holds there.
//! - It judges what could not be read as risky, not as harmless; and so what it was told nothing about.

mod config;
mod destroys;
mod facts;
mod rules;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;

use config::Settings;
use facts::Facts;
use weir_plugin::{
    Classifier, Demand, Finding, Info, Operation, Plugin, PluginError, Protocol, Risk, Session,
    SshOp,
};

struct RiskShell;

impl Plugin for RiskShell {
    fn info() -> Info {
        Info {
            name: "risk-shell".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            labels: LABELS.iter().map(|l| (*l).to_owned()).collect(),
        }
    }

    fn protocols() -> Vec<Protocol> {
        vec![Protocol::Ssh]
    }

    fn check_config() -> Result<(), PluginError> {
        Settings::read().map(drop)
    }
}

impl Classifier for RiskShell {
    fn classify(_: Session, op: Operation) -> Result<Risk, PluginError> {
        let settings = Settings::read()?;
        Ok(match op {
            Operation::Ssh(op) => assess(&op, &settings),
            // Nothing here knows other protocols; policy decides about them.
            _ => weir_plugin::risk(0),
        })
    }
}

weir_plugin::export!(RiskShell: classifier);

/// What the default bundle's schema declares.
const LABELS: &[&str] = &[
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

fn assess(op: &SshOp, settings: &Settings) -> Risk {
    let facts = Facts::of(op);
    let mut hits = rules::hits(&facts);
    hits.extend(destroys::hits(&facts));
    hits.extend(text::hits(&facts));

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
