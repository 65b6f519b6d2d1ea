//! The router that Weir ships: asks whom the rule names, and tells them what they need to know.
//!
//! Place in the flow: a component behind `weir:plugin/route`. Approvers read its text where they
//! decide: in the inbox, in a chat, in a mail.
//!
//! Architecture invariants:
//! - What comes from the requester (names, the statement, comments in it) is shown as it is, but it
//!   can neither leave its place in the Markdown nor hide behind invisible characters.
//! - The rule is the floor: a configuration can ask for more people and less time, never the reverse.

mod body;
mod config;
#[cfg(test)]
mod tests;

use config::Settings;
use weir_plugin::{
    Info, Operation, Plugin, PluginError, Risk, Router, Routing, Rule, Session, Stage,
};

struct RouteDefault;

impl Plugin for RouteDefault {
    fn info() -> Info {
        Info {
            name: "route-default".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            labels: Vec::new(),
        }
    }

    fn check_config() -> Result<(), PluginError> {
        Settings::read("").map(drop)
    }
}

impl Router for RouteDefault {
    fn route(
        session: Session,
        op: Operation,
        rule: Rule,
        risk: Risk,
    ) -> Result<Option<Routing>, PluginError> {
        let settings = Settings::read(&rule.name)?;
        let more = match settings.one_more_at {
            Some(score) if risk.score >= score => 1,
            _ => 0,
        };
        let timeout = settings.timeout_seconds.unwrap_or(rule.ttl_seconds);
        Ok(Some(Routing {
            stages: vec![Stage {
                any_of: rule.approvers.clone(),
                required: settings
                    .required
                    .unwrap_or(0)
                    .max(rule.required)
                    .saturating_add(more),
            }],
            channels: settings.channels,
            title: body::title(&session, &op, &rule),
            body_markdown: body::markdown(&session, &op, &rule, &risk),
            timeout_seconds: timeout.min(rule.ttl_seconds),
            attrs: Vec::new(),
        }))
    }
}

weir_plugin::export!(RouteDefault: router);
