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

use config::CODES;
use facts::Facts;
use weir_plugin::rules::{Hit, Settings};
use weir_plugin::{
    Classifier, Info, Operation, Plugin, PluginError, Protocol, Risk, Session, SshOp,
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
        Settings::read(CODES, &[]).map(drop)
    }
}

impl Classifier for RiskShell {
    fn classify(_: Session, op: Operation) -> Result<Risk, PluginError> {
        let settings = Settings::read(CODES, &[])?;
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

fn assess(op: &SshOp, settings: &Settings) -> Risk {
    let facts = Facts::of(op);
    let mut hits = rules::hits(&facts);
    hits.extend(destroys::hits(&facts));
    hits.extend(text::hits(&facts));
    settings.assess(hits)
}
