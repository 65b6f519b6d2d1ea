//! What a leaf is in the words of OCSF, the Open Cybersecurity Schema Framework.
//!
//! | leaf | event class |
//! | --- | --- |
//! | `session.start`, `session.end` | Authentication (3002): Logon, Logoff |
//! | `request` | Datastore Activity (6005); of an SSH host SSH Activity (4007) |
//! | … that may connect | and Authorize Session (3003) |
//! | … that people have approved | and User Access Management (3005) |
//! | `hold` | the same class as its request, `Other`: it waits for people |
//! | `result` | the same class, `Other`: what became of the request |
//! | `control`, `erasure` | API Activity (6003) |
//! | `recorder.start`, `recorder.stop` | Application Lifecycle (6002) |
//! | `gap` | Application Error (6008) |
//!
//! `log.start` and `rec.anchor` are about the log itself and are no events. Events of one action have
//! `metadata.correlation_uid` in common: session and number. `metadata.uid` names the leaf, so an event
//! that is delivered twice can be told from two. People are pseudonyms, as in the leaf.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::leaf::{Leaf, Who};

mod held;

/// The version of OCSF that events are of.
pub const VERSION: &str = "1.8.0";

const AUTHENTICATION: Class = Class(3, 3002);
const AUTHORIZE_SESSION: Class = Class(3, 3003);
const USER_ACCESS: Class = Class(3, 3005);
const LIFECYCLE: Class = Class(6, 6002);
const API: Class = Class(6, 6003);
const DATASTORE: Class = Class(6, 6005);
const SSH: Class = Class(4, 4007);
const ERROR: Class = Class(6, 6008);

/// Category and class.
#[derive(Clone, Copy)]
struct Class(u64, u64);

const OTHER: u64 = 99;

type Fields = Vec<(&'static str, Value)>;

/// The events of one leaf; none, if it is about the log itself or of a kind that is not known.
pub fn events(log: Uuid, index: u64, leaf: &Leaf) -> Vec<Value> {
    let at = At { log, index, leaf };
    match &*leaf.kind {
        "session.start" => vec![at.session(1)],
        "session.end" => vec![at.session(2)],
        "request" => {
            let mut out = vec![at.request()];
            let connects = leaf.actions.iter().find(|a| a.ends_with(":connect"));
            if let Some(connect) = connects.filter(|_| leaf.is_permitted()) {
                out.push(at.grant(connect));
            }
            out.extend(at.approval());
            out
        }
        "hold" => vec![at.held()],
        "result" => vec![at.result()],
        "control" | "erasure" => vec![at.act()],
        "recorder.start" => vec![at.lifecycle(3)],
        "recorder.stop" => vec![at.lifecycle(4)],
        "gap" => vec![at.gap()],
        _ => Vec::new(),
    }
}

/// Leaves that should be there and cannot be had; without `until`, nobody knows how many. Whoever delivers
/// events says so in their place.
pub fn missing(log: Uuid, from: u64, until: Option<u64>, why: &str, time_ms: u64) -> Value {
    let end = until.map_or("?".to_owned(), |until| until.to_string());
    let metadata = object(vec![
        ("log_name", json!(log)),
        ("product", product(None)),
        ("sequence", json!(from)),
        ("uid", json!(format!("{log}/{from}-{end}/missing"))),
        ("version", json!(VERSION)),
    ]);
    let Class(category, class) = ERROR;
    let mut rest: Fields = vec![("leaf", json!("missing")), ("from", json!(from))];
    if let Some(until) = until {
        rest.push(("until", json!(until)));
    }
    object(vec![
        ("activity_id", json!(1)),
        ("category_uid", json!(category)),
        ("class_uid", json!(class)),
        ("message", json!(format!("events are missing: {why}"))),
        ("metadata", metadata),
        ("severity_id", json!(4)),
        ("time", json!(time_ms)),
        ("type_uid", json!(class * 100 + 1)),
        ("unmapped", object(rest)),
    ])
}

struct At<'a> {
    log: Uuid,
    index: u64,
    leaf: &'a Leaf,
}

impl At<'_> {
    /// What every event has. `part` tells several events of one leaf from one another.
    fn base(&self, class: Class, activity: u64, severity: u64, part: &str) -> Fields {
        let leaf = self.leaf;
        let Class(category, class) = class;
        let time = leaf.clock.as_deref().unwrap_or(&leaf.time);
        let ms = recorder::parse_timestamp(time).unwrap_or_default() / 1_000_000;
        let mut metadata: Fields = vec![
            ("log_name", json!(self.log)),
            ("product", product(None)),
            ("sequence", json!(self.index)),
            ("uid", json!(format!("{}/{}{part}", self.log, self.index))),
            ("version", json!(VERSION)),
        ];
        if let Some(sid) = leaf.sid {
            let correlation = match leaf.seq {
                Some(seq) => format!("{sid}/{seq}"),
                None => sid.to_string(),
            };
            metadata.push(("correlation_uid", json!(correlation)));
        }
        match class {
            class if class == DATASTORE.1 => {
                metadata.push(("profiles", json!(["security_control"])));
            }
            // Who acts is of another profile there.
            class if class == SSH.1 => {
                metadata.push(("profiles", json!(["host", "security_control"])));
            }
            _ => {}
        }
        vec![
            ("activity_id", json!(activity)),
            ("category_uid", json!(category)),
            ("class_uid", json!(class)),
            ("metadata", object(metadata)),
            ("severity_id", json!(severity)),
            ("time", json!(ms)),
            ("type_uid", json!(class * 100 + activity)),
        ]
    }

    fn session(&self, activity: u64) -> Value {
        let leaf = self.leaf;
        let mut event = self.base(AUTHENTICATION, activity, 1, "");
        event.push(("user", user(leaf.who.as_ref())));
        event.push(("service", object(vec![("name", self.target())])));
        event.push(("status_id", json!(1)));
        if let Some(sid) = leaf.sid {
            event.push(("session", object(vec![("uid", json!(sid))])));
        }
        if let Some(why) = &leaf.outcome {
            event.push(("status_detail", json!(why)));
        }
        self.unmapped(event)
    }

    fn request(&self) -> Value {
        let leaf = self.leaf;
        let permitted = leaf.is_permitted();
        let score = leaf.risk.as_ref().map_or(0, |risk| risk.score);
        let severity = match (permitted, score) {
            (true, ..50) => 1,
            (true, _) => 2,
            (false, ..50) => 2,
            (false, ..80) => 3,
            (false, _) => 4,
        };
        let (activity, name) = match self.is_on_host() {
            true => on_host(&leaf.actions, permitted),
            false => activity(&leaf.actions),
        };
        let mut event = self.base(self.class(), activity, severity, "");
        if activity == OTHER {
            event.push(("activity_name", json!(name)));
        }
        self.subject(&mut event);
        let allowed = |yes: u64, no: u64| json!(if permitted { yes } else { no });
        event.push(("action_id", allowed(1, 2)));
        let disposition = match (permitted, &leaf.approval) {
            (true, Some(_)) => 8,
            (true, None) => 1,
            (false, _) => 2,
        };
        event.push(("disposition_id", json!(disposition)));
        // What is permitted is written down before it is done: how it ended, the result tells.
        if !permitted {
            event.push(("status_id", json!(2)));
        }
        event.push(("risk_score", json!(score)));
        if let Some(decision) = &leaf.decision {
            event.push(("status_detail", json!(decision)));
        }
        let decided = |policy: &String| {
            let policy = object(vec![("name", json!(policy))]);
            let word = if permitted { "permit" } else { "refuse" };
            object(vec![("decision", json!(word)), ("policy", policy)])
        };
        if !leaf.policies.is_empty() {
            let all: Vec<Value> = leaf.policies.iter().map(decided).collect();
            event.push(("authorizations", json!(all)));
        }
        self.unmapped(event)
    }

    fn is_on_host(&self) -> bool {
        self.leaf.protocol.as_deref() == Some("ssh")
    }

    fn class(&self) -> Class {
        if self.is_on_host() { SSH } else { DATASTORE }
    }

    /// Who, where, and under which bundle.
    fn subject(&self, event: &mut Fields) {
        let leaf = self.leaf;
        event.push(("actor", self.actor()));
        event.push(("src_endpoint", self.source()));
        match self.is_on_host() {
            true => event.push(("dst_endpoint", object(vec![("name", self.target())]))),
            false => self.datastore(event),
        }
        if let Some(bundle) = &leaf.bundle {
            let policy = vec![
                ("name", json!(bundle.name)),
                ("uid", json!(bundle.digest)),
                ("version", json!(bundle.version.to_string())),
            ];
            event.push(("policy", object(policy)));
        }
    }

    fn datastore(&self, event: &mut Fields) {
        let leaf = self.leaf;
        let database = vec![("name", self.target()), ("type_id", json!(1))];
        event.push(("database", object(database)));
        // Of several, nothing says which one the activity is about.
        let tables = leaf.resources.iter();
        let tables: Vec<&str> = tables.filter_map(|r| r.strip_prefix("PgTable::")).collect();
        if let ([table], 0) = (&tables[..], leaf.more)
            && *table != "?"
        {
            event.push(("table", object(vec![("name", json!(table))])));
        }
    }

    fn result(&self) -> Value {
        let outcome = self.leaf.outcome.as_deref().unwrap_or("unknown");
        let (status, severity) = match outcome {
            "done" => (1, 1),
            "failed" | "cancelled" => (2, 1),
            _ => (0, 2),
        };
        let mut event = self.base(self.class(), OTHER, severity, "");
        event.push(("activity_name", json!("Result")));
        self.subject(&mut event);
        event.push(("status_id", json!(status)));
        event.push(("status_detail", json!(outcome)));
        self.unmapped(event)
    }

    fn grant(&self, connect: &str) -> Value {
        let mut event = self.base(AUTHORIZE_SESSION, 1, 1, "/grant");
        event.push(("user", user(self.leaf.who.as_ref())));
        event.push(("privileges", json!([connect])));
        if let Some(sid) = self.leaf.sid {
            event.push(("session", object(vec![("uid", json!(sid))])));
        }
        self.unmapped(event)
    }

    fn approval(&self) -> Option<Value> {
        let leaf = self.leaf;
        let approval = leaf.approval.as_ref()?;
        let mut event = self.base(USER_ACCESS, 1, 2, "/approval");
        event.push(("user", user(leaf.who.as_ref())));
        event.push(("privileges", json!(approval.rules)));
        if let Some(by) = approval.approvers.first() {
            let by = object(vec![("type_id", json!(1)), ("uid", json!(by))]);
            event.push(("actor", object(vec![("user", by)])));
        }
        Some(self.unmapped(event))
    }

    fn act(&self) -> Value {
        let leaf = self.leaf;
        let operation = leaf.actions.first().map_or(&*leaf.kind, String::as_str);
        let (activity, name) = match operation.rsplit(':').next().unwrap_or_default() {
            "upload" => (1, ""),
            "read" | "observe" => (2, ""),
            "activate" | "vote" => (3, ""),
            "remove" | "terminate" | "erase" | "erasure" => (4, ""),
            _ => (OTHER, operation),
        };
        let refused = leaf.decision.as_deref() == Some("deny");
        let mut event = self.base(API, activity, if refused { 3 } else { 2 }, "");
        if activity == OTHER {
            event.push(("activity_name", json!(name)));
        }
        let service = object(vec![("name", json!("weir"))]);
        let api = vec![("operation", json!(operation)), ("service", service)];
        event.push(("api", object(api)));
        event.push(("actor", self.actor()));
        event.push(("src_endpoint", self.source()));
        // A session's erasure is written down before its key is destroyed.
        if leaf.kind != "erasure" || leaf.outcome.is_some() {
            let failed = refused || operation.ends_with(":failed");
            event.push(("status_id", json!(if failed { 2 } else { 1 })));
        }
        if let Some(how) = &leaf.outcome {
            event.push(("status_detail", json!(how)));
        }
        let resource = |name: &String| object(vec![("name", json!(name))]);
        let mut all: Vec<Value> = leaf.resources.iter().map(resource).collect();
        if let Some(session) = leaf.erased {
            let session = vec![("type", json!("Session")), ("uid", json!(session))];
            all.push(object(session));
        }
        if !all.is_empty() {
            event.push(("resources", json!(all)));
        }
        self.unmapped(event)
    }

    fn lifecycle(&self, activity: u64) -> Value {
        let mut event = self.base(LIFECYCLE, activity, 2, "");
        event.push(("app", product(self.leaf.software.as_deref())));
        if let Some(why) = &self.leaf.outcome {
            event.push(("status_detail", json!(why)));
        }
        self.unmapped(event)
    }

    fn gap(&self) -> Value {
        let mut event = self.base(ERROR, 1, 4, "");
        let what = self.leaf.outcome.as_deref().unwrap_or("a gap");
        event.push(("message", json!(format!("the recording has a gap: {what}"))));
        self.unmapped(event)
    }

    fn target(&self) -> Value {
        json!(self.leaf.target.as_deref().unwrap_or("weir"))
    }

    fn actor(&self) -> Value {
        let leaf = self.leaf;
        let Some(who) = &leaf.who else {
            return object(vec![("app_name", json!("weir"))]);
        };
        let mut actor = vec![("user", user(Some(who)))];
        if let Some(sid) = leaf.sid.filter(|_| leaf.target.is_some()) {
            actor.push(("session", object(vec![("uid", json!(sid))])));
        }
        object(actor)
    }

    /// The address is in the session's record, not in its leaves.
    fn source(&self) -> Value {
        match self.leaf.sid {
            Some(sid) => object(vec![("uid", json!(sid))]),
            None => object(vec![("name", json!("unknown"))]),
        }
    }

    /// What the schema has no place for.
    fn unmapped(&self, mut event: Fields) -> Value {
        let leaf = self.leaf;
        let mut rest: Fields = vec![("leaf", json!(leaf.kind))];
        if let Some(who) = leaf.who.as_ref().filter(|who| !who.act.is_empty()) {
            rest.push(("on_behalf_of", json!(who.act)));
        }
        for (name, list) in [
            ("actions", &leaf.actions),
            ("resources", &leaf.resources),
            ("masked", &leaf.masked),
        ] {
            if !list.is_empty() {
                rest.push((name, json!(list)));
            }
        }
        if leaf.more > 0 {
            rest.push(("more", json!(leaf.more)));
        }
        if let Some(approval) = &leaf.approval {
            rest.push(("approvers", json!(approval.approvers)));
            rest.push(("hold", json!(approval.hold)));
        }
        if let Some(hold) = &leaf.hold {
            rest.push(("hold", json!(hold.id)));
        }
        if let Some(risk) = leaf.risk.as_ref().filter(|risk| !risk.labels.is_empty()) {
            rest.push(("risk_labels", json!(risk.labels)));
        }
        event.push(("unmapped", object(rest)));
        object(event)
    }
}

/// What was done, as the schema numbers it; of several things, the one that changes most.
fn activity(actions: &[String]) -> (u64, &str) {
    const ORDER: [(&str, u64); 11] = [
        ("postgres:drop", 7),
        ("postgres:truncate", 7),
        ("postgres:delete", 7),
        ("postgres:alter", 2),
        ("postgres:update", 2),
        ("postgres:merge", 2),
        ("postgres:create", 6),
        ("postgres:insert", 5),
        ("postgres:copy_out", 1),
        ("postgres:select", 1),
        ("postgres:connect", 3),
    ];
    let found = ORDER
        .iter()
        .find(|(action, _)| actions.iter().any(|a| a == action));
    match found {
        Some((action, number)) => (*number, action),
        None => (OTHER, actions.first().map_or("none", String::as_str)),
    }
}

/// The same on a host: the class knows connections. What is done on one, its name says.
fn on_host(actions: &[String], permitted: bool) -> (u64, &str) {
    let connects = actions.iter().any(|a| a == "ssh:connect");
    match (permitted, connects) {
        (false, _) => (5, ""),
        (true, true) => (1, ""),
        (true, false) => (OTHER, actions.first().map_or("none", String::as_str)),
    }
}

fn product(version: Option<&str>) -> Value {
    let mut product: Fields = vec![("name", json!("Weir")), ("vendor_name", json!("Weir"))];
    if let Some(version) = version {
        product.push(("version", json!(version)));
    }
    object(product)
}

fn user(who: Option<&Who>) -> Value {
    let Some(who) = who else {
        return object(vec![("type_id", json!(0)), ("uid", json!("unknown"))]);
    };
    let kind = if who.kind == "User" { 1 } else { 4 };
    object(vec![
        ("type", json!(who.kind)),
        ("type_id", json!(kind)),
        ("uid", json!(who.id)),
    ])
}

/// An object with its names in order, whatever order the map of this build keeps: the same leaf must be
/// the same line wherever it is verified.
fn object(mut fields: Fields) -> Value {
    fields.sort_by_key(|(name, _)| *name);
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Value::Object(fields.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &str = "01a219f0-9377-72b1-b75a-eae60ae78e03";

    fn leaf(more: Value) -> Leaf {
        let mut leaf = json!({
            "type": "request", "time": "2026-11-20T12:34:56.789012Z", "v": 1, "sid": SID, "n": 3,
            "seq": 2, "target": "shop", "who": {"id": "aa", "kind": "Agent", "act": ["bb"]},
        });
        for (name, value) in more.as_object().unwrap() {
            leaf[name] = value.clone();
        }
        Leaf::parse(leaf.to_string().as_bytes()).unwrap()
    }

    /// Class, activity, status and severity of each event.
    fn check(more: Value, expect: &[(u64, u64, Option<u64>, u64)]) {
        let leaf = leaf(more);
        let events = events(Uuid::nil(), 7, &leaf);
        let number = |event: &Value, name: &str| event[name].as_u64();
        let found: Vec<_> = events
            .iter()
            .map(|e| {
                (
                    number(e, "class_uid").unwrap(),
                    number(e, "activity_id").unwrap(),
                    number(e, "status_id"),
                    number(e, "severity_id").unwrap(),
                )
            })
            .collect();
        assert_eq!(found, expect, "{leaf:?}");
        let uids: std::collections::BTreeSet<&str> = events
            .iter()
            .map(|e| e["metadata"]["uid"].as_str().unwrap())
            .collect();
        assert_eq!(uids.len(), events.len());
        for event in &events {
            assert_eq!(event["time"], 1_795_178_096_789_u64);
        }
    }

    #[test]
    fn leaves_are_events() {
        check(json!({"type": "session.start"}), &[(3002, 1, Some(1), 1)]);
        check(
            json!({"type": "session.end", "outcome": "killed"}),
            &[(3002, 2, Some(1), 1)],
        );
        let connect = json!({"actions": ["postgres:connect"], "decision": "permit"});
        check(connect, &[(6005, 3, None, 1), (3003, 1, None, 1)]);
        let refused = json!({"actions": ["postgres:connect"], "decision": "denied"});
        check(refused, &[(6005, 3, Some(2), 2)]);
        let select = json!({
            "actions": ["postgres:select"], "decision": "permit", "policies": ["p"],
            "resources": ["PgTable::shop.public.users"], "masked": ["public.users.ssn"],
            "bundle": {"name": "b", "version": 1, "digest": "cc"},
            "risk": {"score": 60, "labels": ["pii"]},
        });
        check(select, &[(6005, 1, None, 2)]);
        let risky = json!({
            "actions": ["postgres:select", "postgres:drop"], "decision": "denied",
            "risk": {"score": 100}, "policies": ["g"],
        });
        check(risky, &[(6005, 7, Some(2), 4)]);
        let approved = json!({
            "actions": ["postgres:update"], "decision": "permit",
            "approval": {"hold": "h", "rules": ["risky"], "approvers": ["dd"]},
        });
        check(approved, &[(6005, 2, None, 1), (3005, 1, None, 2)]);
        check(json!({"decision": "unparsed"}), &[(6005, 99, Some(2), 2)]);
        check(
            json!({"type": "result", "outcome": "done"}),
            &[(6005, 99, Some(1), 1)],
        );
        check(
            json!({"type": "result", "outcome": "unknown"}),
            &[(6005, 99, Some(0), 2)],
        );
        let host = |mut more: Value| {
            more["protocol"] = json!("ssh");
            more
        };
        let connect = host(json!({"actions": ["ssh:connect"], "decision": "permit"}));
        check(connect, &[(4007, 1, None, 1), (3003, 1, None, 1)]);
        let exec = host(json!({
            "actions": ["ssh:exec"], "decision": "permit", "resources": ["SshProgram::rm"],
            "bundle": {"name": "b", "version": 1, "digest": "cc"}, "policies": ["p"],
            "approval": {"hold": "h", "rules": ["prod-hosts"], "approvers": ["dd"]},
        }));
        check(exec, &[(4007, 99, None, 1), (3005, 1, None, 2)]);
        let refused = host(json!({
            "actions": ["ssh:forward_local"], "decision": "denied", "risk": {"score": 90},
        }));
        check(refused, &[(4007, 5, Some(2), 4)]);
        let failed = host(json!({"type": "result", "outcome": "failed"}));
        check(failed, &[(4007, 99, Some(2), 1)]);
        check(
            host(json!({"type": "session.start"})),
            &[(3002, 1, Some(1), 1)],
        );
        let act = json!({
            "type": "control", "actions": ["bundle:activate"], "resources": ["Bundle::x"],
            "decision": "deny", "target": null,
        });
        check(act, &[(6003, 3, Some(2), 3)]);
        let own =
            json!({"type": "control", "actions": ["plugin:failed"], "who": null, "target": null});
        check(own, &[(6003, 99, Some(2), 2)]);
        check(
            json!({"type": "erasure", "erased": SID, "target": null}),
            &[(6003, 4, None, 2)],
        );
        check(
            json!({"type": "recorder.start", "software": "weir 1"}),
            &[(6002, 3, None, 2)],
        );
        check(
            json!({"type": "recorder.stop", "outcome": "shutdown"}),
            &[(6002, 4, None, 2)],
        );
        check(
            json!({"type": "gap", "outcome": "lost"}),
            &[(6008, 1, None, 4)],
        );
        for kind in ["log.start", "rec.anchor", "something.new"] {
            check(json!({"type": kind}), &[]);
        }
    }
}
