//! What is on record of those who tried: it is asked for as an auditor would.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde_json::Value;

use super::{SOON, Stage, Who};

/// Of whom, which action, how it ended (`""`: it ran), and what must be in its record.
pub(super) type Expected = (Who, String, String, String);

/// What of this is not there.
pub(super) fn lacking(stage: &Stage, expected: &[Expected]) -> Vec<String> {
    let mut replays = HashMap::new();
    let begin = Instant::now();
    loop {
        let lacking = look(stage, expected, &mut replays);
        // The index is some moments behind, and so may be the end of a session.
        if lacking.is_empty() || begin.elapsed() > SOON {
            return lacking;
        }
        replays.clear();
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
}

fn look(
    stage: &Stage,
    expected: &[Expected],
    replays: &mut HashMap<String, String>,
) -> Vec<String> {
    let mut by: BTreeMap<(&str, &str, &str, &str), usize> = BTreeMap::new();
    let mut people = BTreeMap::new();
    for (who, action, outcome, part) in expected {
        people
            .entry(subject(who))
            .or_insert_with(|| entries(stage, who));
        *by.entry((subject(who), action, outcome, part)).or_default() += 1;
    }
    let mut lacking = Vec::new();
    for ((subject, action, outcome, part), count) in by {
        let of: Vec<&Value> = people[subject]
            .iter()
            .filter(|e| is_of(e, action, outcome))
            .collect();
        let found = of.iter().filter(|e| holds(stage, e, part, replays));
        let found = found.count();
        if found < count {
            let of: Vec<String> = of.iter().map(ToString::to_string).collect();
            lacking.push(format!(
                "{subject}: {action} {outcome} {part:?}: {found} on record, not {count}: {}",
                of.join("\n  ")
            ));
        }
    }
    lacking
}

/// By whom it is done.
fn subject(who: &Who) -> &'static str {
    match who.agent {
        true => "copilot@example.test",
        false => who.subject,
    }
}

fn entries(stage: &Stage, who: &Who) -> Vec<Value> {
    let args = [
        "audit",
        "--format",
        "jsonl",
        "--limit",
        "1000",
        "--user",
        subject(who),
    ];
    let out = stage.weir.cli(Some(&stage.security), &args).unwrap();
    assert!(out.ok(), "{}", out.all());
    let entries = out.stdout.lines();
    entries.map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn is_of(entry: &Value, action: &str, outcome: &str) -> bool {
    let of = entry["actions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|a| a == action));
    let ended = entry["outcome"].as_str().unwrap_or_default();
    of && match outcome {
        "" => matches!(ended, "done" | "failed"),
        outcome => ended == outcome,
    }
}

/// In the index, or in the session itself, where constants are.
fn holds(stage: &Stage, entry: &Value, part: &str, replays: &mut HashMap<String, String>) -> bool {
    let written = Value::from(part).to_string();
    let written = written.trim_matches('"');
    if part.is_empty() || entry.to_string().contains(written) {
        return true;
    }
    let stream = entry["stream"].as_str().unwrap_or_default();
    let replay = replays.entry(stream.to_owned()).or_insert_with(|| {
        let out = stage
            .weir
            .cli(None, &["replay", stream, "--format", "jsonl"]);
        out.unwrap().stdout
    });
    replay.contains(written)
}
