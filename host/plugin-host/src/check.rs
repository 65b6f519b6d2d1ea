//! What a plugin answers, held against the contract. What breaks it is a fault, not a suggestion.

use std::sync::Arc;
use std::time::Duration;

use pipeline::mask::MaskAction;
use pipeline::{ApprovalRule, Demand, Finding, PluginRef, Risk, Route};

use crate::bindings::mask::exports::weir::plugin::mask as wit_mask;
use crate::bindings::route::exports::weir::plugin::route as wit_route;
use crate::bindings::types;
use crate::fault::Fault;
use crate::limits::{
    APPROVERS, BODY_BYTES, CHANNELS, DETECTORS, EDIT_BYTES, FINDINGS, LABEL_BYTES, LABELS,
    STATE_BYTES, TEXT_BYTES, TITLE_BYTES,
};
use crate::log::cut;

fn broken<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Answer(what.into()))
}

fn at_most(what: &str, len: usize, max: usize) -> Result<(), Fault> {
    if len > max {
        return broken(format!("{what}: {len}, at most {max}"));
    }
    Ok(())
}

/// A plugin that says itself that it cannot answer.
pub(crate) fn said<T>(answer: Result<T, types::PluginError>) -> Result<T, Fault> {
    answer.map_err(|error| match error {
        types::PluginError::Unsupported => Fault::Said("unsupported".into()),
        types::PluginError::BadConfig(text) => {
            Fault::Said(format!("bad configuration: {}", cut(&text, TEXT_BYTES)))
        }
        types::PluginError::Internal(text) => Fault::Said(cut(&text, TEXT_BYTES)),
    })
}

pub(crate) fn risk(risk: types::Risk, plugin: &PluginRef) -> Result<Risk, Fault> {
    if risk.score > 100 {
        return broken(format!("a score of {}, at most 100", risk.score));
    }
    at_most("labels", risk.labels.len(), LABELS)?;
    for label in &risk.labels {
        at_most("bytes of a label", label.len(), LABEL_BYTES)?;
    }
    at_most("findings", risk.findings.len(), FINDINGS)?;
    for finding in &risk.findings {
        at_most("bytes of a finding's code", finding.code.len(), LABEL_BYTES)?;
        at_most("bytes of a finding", finding.message.len(), TEXT_BYTES)?;
    }
    let demand = match risk.demand {
        types::Demand::None => Demand::None,
        types::Demand::Escalate(rule) => {
            at_most("bytes of a rule's name", rule.len(), LABEL_BYTES)?;
            Demand::Escalate(rule)
        }
        types::Demand::Refuse(reason) => {
            at_most("bytes of a reason", reason.len(), TEXT_BYTES)?;
            Demand::Refuse(reason)
        }
    };
    let finding = |f: types::Finding| Finding {
        code: f.code,
        message: f.message,
    };
    Ok(Risk {
        score: risk.score,
        labels: risk.labels.into_iter().collect(),
        findings: risk.findings.into_iter().map(finding).collect(),
        demands: vec![demand],
        plugins: vec![plugin.clone()],
        ..Risk::default()
    })
}

/// One checked action per column, and the state for its batches.
pub(crate) fn plan(
    plan: wit_mask::Plan,
    columns: usize,
) -> Result<(Vec<MaskAction>, Vec<u8>), Fault> {
    let len = plan.actions.len();
    if len != columns {
        return broken(format!("{len} actions for {columns} columns"));
    }
    at_most("bytes of state", plan.state.len(), STATE_BYTES)?;
    let actions: Result<_, _> = plan.actions.into_iter().map(action).collect();
    Ok((actions?, plan.state))
}

fn action(action: wit_mask::Action) -> Result<MaskAction, Fault> {
    use wit_mask::Action;
    let text = |text: String| at_most("bytes of an action", text.len(), TEXT_BYTES).map(|()| text);
    Ok(match action {
        Action::Pass => MaskAction::Pass,
        Action::Redact(by) => MaskAction::Redact(text(by)?),
        Action::NullOut => MaskAction::Null,
        Action::Hash(key) => MaskAction::Hash(text(key)?),
        Action::Pseudonym(key) => MaskAction::Pseudonym(text(key)?),
        Action::KeepFirst(n) => MaskAction::KeepFirst(n),
        Action::KeepLast(n) => MaskAction::KeepLast(n),
        Action::Detect(names) => {
            at_most("detectors", names.len(), DETECTORS)?;
            for name in &names {
                at_most("bytes of a detector's name", name.len(), LABEL_BYTES)?;
            }
            MaskAction::Detect(names)
        }
        Action::Inspect => MaskAction::Inspect,
    })
}

/// Edits for a batch of `values` values: every index in range, ascending and once, every end in
/// range and ascending, no byte left over.
pub(crate) fn edits(edits: &wit_mask::Edits, values: usize) -> Result<(), Fault> {
    at_most("bytes of edits", edits.data.len(), EDIT_BYTES)?;
    if edits.indexes.len() != edits.ends.len() {
        let (i, e) = (edits.indexes.len(), edits.ends.len());
        return broken(format!("{i} indexes, {e} ends"));
    }
    ascending("indexes", &edits.indexes, values)?;
    ascending("nulls", &edits.nulls, values)?;
    let mut nulls = edits.nulls.iter().peekable();
    for index in &edits.indexes {
        while nulls.next_if(|n| *n < index).is_some() {}
        if nulls.peek() == Some(&index) {
            return broken(format!("value {index} is both edited and NULL"));
        }
    }
    let mut start = 0;
    for end in &edits.ends {
        if *end < start {
            return broken("ends descend");
        }
        start = *end;
    }
    if start as usize != edits.data.len() {
        let len = edits.data.len();
        return broken(format!(
            "the last end is {start}, but there are {len} bytes"
        ));
    }
    Ok(())
}

fn ascending(what: &str, indexes: &[u32], values: usize) -> Result<(), Fault> {
    let mut next = 0_u64;
    for index in indexes {
        if u64::from(*index) < next {
            return broken(format!("{what} do not ascend"));
        }
        if *index as usize >= values {
            return broken(format!("{what}: {index} of {values} values"));
        }
        next = u64::from(*index) + 1;
    }
    Ok(())
}

/// The caller holds the route to the floor of `rule`.
pub(crate) fn route(routing: wit_route::Routing, rule: &ApprovalRule) -> Result<Route, Fault> {
    let [stage] = routing.stages.as_slice() else {
        let n = routing.stages.len();
        return broken(format!("{n} stages; this host accepts exactly one"));
    };
    at_most("approvers", stage.any_of.len(), APPROVERS)?;
    for group in &stage.any_of {
        at_most("bytes of an approver", group.len(), LABEL_BYTES)?;
    }
    at_most("channels", routing.channels.len(), CHANNELS)?;
    for channel in &routing.channels {
        at_most("bytes of a channel", channel.len(), LABEL_BYTES)?;
    }
    at_most("bytes of a title", routing.title.len(), TITLE_BYTES)?;
    at_most("bytes of a body", routing.body_markdown.len(), BODY_BYTES)?;
    Ok(Route {
        rule: rule.name.clone(),
        approvers: stage.any_of.iter().map(|g| Arc::from(g.as_str())).collect(),
        required: stage.required,
        timeout: Duration::from_secs(routing.timeout_seconds.into()),
        channels: routing.channels,
        title: routing.title,
        body_markdown: routing.body_markdown,
    })
}
