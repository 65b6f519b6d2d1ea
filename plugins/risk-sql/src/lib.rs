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

use config::Settings;
use weir_plugin::rules::Hit;
use weir_plugin::{
    Classifier, Info, Operation, Plugin, PluginError, Protocol, Risk, Session, SqlOp,
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
    settings.rules.assess(hits)
}
