//! A plugin that misbehaves in every way, steered by the configuration key `mode`. For tests of the
//! host; never shipped.

mod faults;

use weir_plugin::host::config;
use weir_plugin::{
    Action, Batch, Classifier, Column, Demand, Edits, Finding, Info, Masker, Operation, Plan,
    Plugin, PluginError, Protocol, Risk, Router, Routing, Rule, Session, Stage,
};

struct Evil;

fn mode() -> String {
    config::get("mode").unwrap_or_default()
}

impl Plugin for Evil {
    fn info() -> Info {
        let mode = mode();
        if let Some(fault) = mode.strip_prefix("describe-") {
            faults::commit(fault);
        }
        let name = match mode.as_str() {
            "bad-name" => "../../etc/passwd\n".into(),
            "huge-name" => "n".repeat(1 << 20),
            _ => "evil".into(),
        };
        Info {
            name,
            version: "6.6.6".into(),
            labels: vec!["evil".into()],
        }
    }

    fn protocols() -> Vec<Protocol> {
        let mode = mode();
        if let Some(fault) = mode.strip_prefix("scope-") {
            faults::commit(fault);
        }
        match mode.as_str() {
            "only-ssh" | "only-ssh-and-trap" => vec![Protocol::Ssh, Protocol::Http, Protocol::Ssh],
            "only-http" => vec![Protocol::Http],
            "huge-scope" => vec![Protocol::Ssh; 1 << 20],
            _ => Vec::new(),
        }
    }

    fn check_config() -> Result<(), PluginError> {
        let mode = mode();
        if let Some(fault) = mode.strip_prefix("check-") {
            faults::commit(fault);
        }
        match mode.as_str() {
            "bad-config" => Err(PluginError::BadConfig("mode: I do not like it".into())),
            _ => Ok(()),
        }
    }
}

impl Classifier for Evil {
    fn classify(session: Session, _: Operation) -> Result<Risk, PluginError> {
        let mode = mode();
        faults::commit(mode.strip_prefix("only-ssh-and-").unwrap_or(&mode));
        let mut risk = weir_plugin::risk(10);
        match mode.as_str() {
            "error" => return Err(PluginError::Internal("I do not feel well".into())),
            // The nearest thing to a grant that the contract can express.
            "grant" => {
                risk.score = 0;
                risk.labels = vec!["granted".into(), "approved".into()];
                risk.demand = Demand::None;
            }
            "score-255" => risk.score = 255,
            "huge-string" => risk.findings = vec![finding("m".repeat(8 << 20))],
            "huge-label" => risk.labels = vec!["l".repeat(4096)],
            "many-labels" => risk.labels = (0..10_000).map(|i| format!("l{i}")).collect(),
            "many-findings" => risk.findings = (0..10_000).map(|_| finding("f".into())).collect(),
            "refuse" => risk.demand = Demand::Refuse("no".into()),
            "escalate" => risk.demand = Demand::Escalate("dba".into()),
            "count" => risk.score = faults::count(&session.principal.subject),
            "kv-flood" => risk.score = faults::kv_flood(),
            "fill" => risk.score = if faults::fill() > 0 { 1 } else { 99 },
            "scan" => risk.score = if faults::scan() == 0 { 1 } else { 99 },
            _ => {}
        }
        Ok(risk)
    }
}

fn finding(message: String) -> Finding {
    Finding {
        code: "evil".into(),
        message,
    }
}

impl Masker for Evil {
    fn make_plan(_: Session, columns: Vec<Column>) -> Result<Plan, PluginError> {
        let mode = mode();
        if let Some(fault) = mode.strip_prefix("plan-") {
            faults::commit(fault);
        }
        let mut actions: Vec<_> = columns.iter().map(|_| Action::Inspect).collect();
        let mut state = b"state".to_vec();
        match mode.as_str() {
            "plan-error" => return Err(PluginError::Unsupported),
            "too-few" => drop(actions.pop()),
            "too-many" => actions.push(Action::Pass),
            "pass" => actions = columns.iter().map(|_| Action::Pass).collect(),
            "last-only" => {
                let last = columns.len().saturating_sub(1);
                let pick = |i| {
                    if i == last {
                        Action::Inspect
                    } else {
                        Action::NullOut
                    }
                };
                actions = (0..columns.len()).map(pick).collect();
            }
            // As little as an action that hides can hide.
            "keep-all" => actions = columns.iter().map(|_| Action::KeepFirst(255)).collect(),
            "huge-redact" => {
                actions = columns
                    .iter()
                    .map(|_| Action::Redact("r".repeat(1 << 20)))
                    .collect();
            }
            "many-detectors" => {
                let detect = || Action::Detect((0..10_000).map(|i| i.to_string()).collect());
                actions = columns.iter().map(|_| detect()).collect();
            }
            "huge-state" => state = vec![7; 8 << 20],
            _ => {}
        }
        Ok(Plan { actions, state })
    }

    fn mask_batch(state: Vec<u8>, batch: Batch) -> Result<Edits, PluginError> {
        let mode = mode();
        if let Some(fault) = mode.strip_prefix("batch-") {
            faults::commit(fault);
        }
        if state != b"state" {
            return Err(PluginError::Internal("the state did not come back".into()));
        }
        let last = u32::try_from(batch.ends.len()).unwrap_or(u32::MAX);
        let edits = |indexes: &[u32], ends: &[u32], data: &[u8], nulls: &[u32]| Edits {
            indexes: indexes.to_vec(),
            ends: ends.to_vec(),
            data: data.to_vec(),
            nulls: nulls.to_vec(),
        };
        Ok(match mode.as_str() {
            "batch-error" => return Err(PluginError::Internal("no".into())),
            "index-out-of-range" => edits(&[last], &[1], b"x", &[]),
            "null-out-of-range" => edits(&[], &[], b"", &[last]),
            "descending" => edits(&[1, 0], &[1, 2], b"xy", &[]),
            "twice" => edits(&[0, 0], &[1, 2], b"xy", &[]),
            "null-twice" => edits(&[], &[], b"", &[0, 0]),
            "both" => edits(&[0], &[1], b"x", &[0]),
            "end-past-data" => edits(&[0], &[9], b"x", &[]),
            "ends-descend" => edits(&[0, 1], &[2, 1], b"xy", &[]),
            "too-few-ends" => edits(&[0, 1], &[1], b"x", &[]),
            "too-many-ends" => edits(&[0], &[1, 2], b"xy", &[]),
            "data-left-over" => edits(&[0], &[1], b"xyz", &[]),
            "end-max" => edits(&[0], &[u32::MAX], b"x", &[]),
            "huge-edits" => {
                let n: u32 = 24 << 20;
                Edits {
                    data: vec![b'x'; n as usize],
                    ..edits(&[0], &[n], b"", &[])
                }
            }
            "null-first" => edits(&[], &[], b"", &[0]),
            // Every value becomes everything that was seen.
            "steal" => faults::steal(&batch),
            // What a decent masker does: every value becomes its length and column.
            _ => faults::describe_values(&batch),
        })
    }
}

impl Router for Evil {
    fn route(
        _: Session,
        _: Operation,
        rule: Rule,
        _: Risk,
    ) -> Result<Option<Routing>, PluginError> {
        let mode = mode();
        if let Some(fault) = mode.strip_prefix("route-") {
            faults::commit(fault);
        }
        let mut routing = Routing {
            stages: vec![Stage {
                any_of: rule.approvers.clone(),
                required: rule.required,
            }],
            channels: vec!["evil".into()],
            title: "from evil".into(),
            body_markdown: String::new(),
            timeout_seconds: rule.ttl_seconds,
            attrs: Vec::new(),
        };
        match mode.as_str() {
            "route-none" => return Ok(None),
            "route-error" => return Err(PluginError::Internal("no".into())),
            "nobody" => {
                routing.stages = vec![Stage {
                    any_of: vec!["evil".into()],
                    required: 0,
                }]
            }
            "forever" => routing.timeout_seconds = u32::MAX,
            "stages" => routing.stages.extend(routing.stages.clone()),
            "no-stages" => routing.stages = Vec::new(),
            "huge-title" => routing.title = "t".repeat(1 << 20),
            "many-channels" => routing.channels = vec!["c".into(); 10_000],
            _ => {}
        }
        Ok(Some(routing))
    }
}

weir_plugin::export!(Evil: classifier, masker, router);
