//! From Weir's vocabulary and the store's rows to the types of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipeline::{Column, Facts, Principal, Protocol, Relation};
use weir_client::{
    Actor, ApprovalDetail, ApprovalState, ApprovalSummary, BundleInfo, BundleRef, Cascade,
    Decision, EncodedValue, Finding, HeldLock, Impact, Named, Parameter, PluginChange,
    PluginChangeKind, PluginInfo, PluginState, PluginSummary, Risk, Route, SessionInfo, Statement,
    TargetInfo, Timestamp, TouchedTable, Vote,
};

use crate::store::{
    BundleRow, HoldRow, HoldState, Millis, PluginChangeRow, PluginRow, SessionRow, approved_by,
};

mod ssh;

/// How much of a statement a list shows.
const SHORT_STATEMENT: usize = 240;

/// Everybody who answers for what `principal` does: the chain, and the owners of its links.
pub(crate) fn involved(principal: &Principal) -> Vec<String> {
    let mut out = BTreeSet::new();
    for actor in principal.chain() {
        out.insert(actor.subject.to_string());
        out.extend(actor.owner.as_deref().map(str::to_owned));
    }
    out.into_iter().collect()
}

/// For times as the store keeps them.
pub(crate) fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The person that a session belongs to: the head of the chain, or who answers for it.
pub(crate) fn owner(principal: &Principal) -> String {
    let head = principal.chain().next().unwrap_or(&principal.actor);
    head.owner.as_deref().unwrap_or(&head.subject).to_owned()
}

pub(crate) fn actor(actor: &pipeline::Actor) -> Actor {
    Actor {
        kind: actor.kind.as_str().to_owned(),
        subject: actor.subject.to_string(),
        groups: actor.groups.iter().map(ToString::to_string).collect(),
        owner: actor.owner.as_deref().map(str::to_owned),
        mfa: actor.mfa,
        autonomous: actor.autonomous,
    }
}

pub(crate) fn target(target: &pipeline::Target) -> TargetInfo {
    TargetInfo {
        name: target.name.to_string(),
        protocol: target.protocol.as_str().to_owned(),
        env: target.env.to_string(),
        tags: target.tags.clone(),
    }
}

/// `computed` are the labelled columns that it computes with.
pub(crate) fn statement(facts: &Facts, computed: &[Column]) -> Statement {
    let names = |relations: &[Relation]| -> Vec<String> {
        relations
            .iter()
            .map(|r| format!("{}.{}", r.schema, r.name))
            .collect()
    };
    match facts {
        Facts::Connect { protocol, scope } => Statement {
            kind: "connect".into(),
            text: match protocol {
                Protocol::Postgres => format!("connect to database {scope}"),
                Protocol::Ssh => format!("log in as {scope}"),
            },
            truncated: false,
            runs: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            functions: Vec::new(),
            computes: Vec::new(),
            has_where: true,
            parsed: true,
            opaque: Vec::new(),
        },
        Facts::Ssh(ssh) => ssh::statement(ssh),
        Facts::Sql(sql) => Statement {
            kind: sql.kind.as_str().to_owned(),
            text: sql.text.to_string(),
            truncated: false,
            runs: sql.runs.iter().map(named).collect(),
            reads: names(&sql.reads),
            writes: names(&sql.writes_to),
            functions: sql.functions.iter().map(ToString::to_string).collect(),
            computes: computed.iter().map(column).collect(),
            has_where: sql.has_where,
            parsed: sql.parsed,
            opaque: Vec::new(),
        },
    }
}

pub(crate) fn impact(impact: &pipeline::Impact) -> Impact {
    Impact {
        rows: impact.rows,
        tables: impact.tables.iter().map(touched).collect(),
        in_transaction: impact.in_transaction,
        held: impact
            .held
            .iter()
            .map(|lock| HeldLock {
                relation: lock.relation.clone(),
                mode: lock.mode.clone(),
            })
            .collect(),
        gaps: impact.gaps.clone(),
    }
}

fn touched(table: &pipeline::TouchedTable) -> TouchedTable {
    TouchedTable {
        table: format!("{}.{}", table.schema, table.name),
        actions: table.actions.iter().map(ToString::to_string).collect(),
        lock: table.lock.map(str::to_owned),
        rows: table.rows,
        bytes: table.bytes,
        triggers: table.triggers.clone(),
        cascades: table
            .cascades
            .iter()
            .map(|cascade| Cascade {
                table: cascade.table.clone(),
                constraint: cascade.constraint.clone(),
                rule: cascade.rule.to_owned(),
                depth: cascade.depth,
                rows: cascade.rows,
            })
            .collect(),
    }
}

/// What is shown of it to who asks. The planner's estimate is made of values that they may not be
/// permitted to read, and nobody has agreed yet.
fn for_requester(impact: &mut Impact) {
    if impact.rows.take().is_some() {
        impact
            .gaps
            .push("how many rows: it is not shown to who asks".into());
    }
}

fn column(column: &Column) -> String {
    format!("{}.{}.{}", column.schema, column.table, column.column)
}

fn named(named: &pipeline::Named) -> Named {
    Named {
        name: named.name.to_string(),
        text: named.text.to_string(),
        parameters: named.parameters.iter().map(parameter).collect(),
    }
}

pub(crate) fn parameter(parameter: &pipeline::Parameter) -> Parameter {
    match parameter {
        pipeline::Parameter::Null => Parameter::Null,
        pipeline::Parameter::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Parameter::Text(text.to_owned()),
            Err(_) => Parameter::Binary(STANDARD.encode(bytes)),
        },
        pipeline::Parameter::Binary(value) => Parameter::Encoded(EncodedValue {
            hex: hex::encode(&value.bytes),
            of: value.of.as_deref().map(str::to_owned),
            text: value.text.clone(),
        }),
    }
}

pub(crate) fn risk(risk: &pipeline::Risk) -> Risk {
    Risk {
        score: risk.score,
        labels: risk.labels.iter().cloned().collect(),
        findings: risk
            .findings
            .iter()
            .map(|f| Finding {
                code: f.code.clone(),
                message: f.message.clone(),
            })
            .collect(),
        plugins: risk
            .plugins
            .iter()
            .map(|p| format!("{}@{}", p.name, p.version))
            .collect(),
    }
}

pub(crate) fn bundle_ref(bundle: &pipeline::BundleRef) -> BundleRef {
    BundleRef {
        name: bundle.name.to_string(),
        version: bundle.version,
        digest: bundle.digest.to_string(),
    }
}

pub(crate) fn approval_state(state: HoldState) -> ApprovalState {
    match state {
        HoldState::Open => ApprovalState::Open,
        HoldState::Approved => ApprovalState::Approved,
        HoldState::Used => ApprovalState::Used,
        HoldState::Denied => ApprovalState::Denied,
        HoldState::Expired => ApprovalState::Expired,
        HoldState::Abandoned => ApprovalState::Abandoned,
    }
}

pub(crate) fn hold_state(state: ApprovalState) -> HoldState {
    match state {
        ApprovalState::Open => HoldState::Open,
        ApprovalState::Approved => HoldState::Approved,
        ApprovalState::Used => HoldState::Used,
        ApprovalState::Denied => HoldState::Denied,
        ApprovalState::Expired => HoldState::Expired,
        ApprovalState::Abandoned => HoldState::Abandoned,
    }
}

pub(crate) fn routes(row: &HoldRow) -> Vec<Route> {
    row.record
        .document
        .routes
        .iter()
        .map(|route| Route {
            rule: route.rule.clone(),
            approvers: route.approvers.clone(),
            required: route.required.max(1),
            approved: u32::try_from(approved_by(&row.votes, &route.rule).len()).unwrap_or(u32::MAX),
            channels: route.channels.clone(),
            title: route.title.clone(),
            body_markdown: route.body_markdown.clone(),
        })
        .collect()
}

pub(crate) fn approval_summary(row: &HoldRow, url: String, now: Millis) -> ApprovalSummary {
    let document = &row.record.document;
    ApprovalSummary {
        id: row.record.id.clone(),
        url,
        state: approval_state(row.state_at(now)),
        opened_at: Timestamp::from_millis(row.record.opened_at),
        expires_at: Timestamp::from_millis(row.record.expires_at),
        principal: row.record.principal.clone(),
        target: document.target.name.clone(),
        database: document.database.clone(),
        rules: document.routes.iter().map(|r| r.rule.clone()).collect(),
        reason: document.reason.clone(),
        statement: cut(&document.statement, SHORT_STATEMENT),
        risk_score: document.risk.score,
    }
}

/// As `reader` may see it.
pub(crate) fn approval_detail(
    row: HoldRow,
    url: String,
    now: Millis,
    reader: &Principal,
) -> ApprovalDetail {
    let state = approval_state(row.state_at(now));
    let routes = routes(&row);
    let decision = row.decided_by.map(|by| Decision {
        by,
        reason: row.decision_reason.unwrap_or_default(),
        at: Timestamp::from_millis(row.decided_at.unwrap_or_default()),
    });
    let mut document = row.record.document;
    let readers = involved(reader);
    if row.record.involved.iter().any(|i| readers.contains(i))
        && let Some(impact) = &mut document.impact
    {
        for_requester(impact);
    }
    ApprovalDetail {
        id: row.record.id,
        url,
        state,
        opened_at: Timestamp::from_millis(row.record.opened_at),
        expires_at: Timestamp::from_millis(row.record.expires_at),
        session: document.session,
        seq: document.seq,
        chain: document.chain,
        issuer: document.issuer,
        source: document.source,
        target: document.target,
        database: document.database,
        reason: document.reason,
        statement: document.statement,
        impact: document.impact,
        parameters: document.parameters,
        risk: document.risk,
        bundle: document.bundle,
        fingerprint: hex::encode(row.record.fingerprint),
        routes,
        votes: row
            .votes
            .into_iter()
            .map(|v| Vote {
                rule: v.rule,
                voter: v.voter,
                kind: v.kind,
                reason: v.reason,
                at: Timestamp::from_millis(v.at),
            })
            .collect(),
        decision,
    }
}

/// The statement with at most `limit` bytes of its text.
pub(crate) fn cut(statement: &Statement, limit: usize) -> Statement {
    let text = prefix(&statement.text, limit);
    let mut left = limit - text.len();
    let mut runs = Vec::new();
    for named in &statement.runs {
        let text = prefix(&named.text, left);
        left -= text.len();
        let whole = text.len() == named.text.len();
        runs.extend((!text.is_empty()).then(|| Named {
            text: text.to_owned(),
            // A list is no place for values.
            parameters: Vec::new(),
            name: named.name.clone(),
        }));
        if !whole {
            break;
        }
    }
    let texts = |s: &[Named]| s.iter().map(|n| n.text.len()).sum::<usize>();
    let cut = text.len() < statement.text.len() || texts(&runs) < texts(&statement.runs);
    Statement {
        truncated: statement.truncated || cut,
        text: text.to_owned(),
        runs,
        ..statement.clone()
    }
}

/// At most `limit` bytes of `text`, whole characters.
pub(crate) fn prefix(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

pub(crate) fn bundle(row: BundleRow) -> BundleInfo {
    BundleInfo {
        version: row.version,
        state: row.state,
        summary: row.summary,
        author: row.author,
        note: row.note,
        created_at: Timestamp::from_millis(row.created_at),
        activated_at: row.activated_at.map(Timestamp::from_millis),
        activated_by: row.activated_by,
        retired_at: row.retired_at.map(Timestamp::from_millis),
    }
}

/// An uploaded plugin; with a problem, it is missed.
pub(crate) fn plugin(row: PluginRow, problem: Option<String>) -> PluginInfo {
    PluginInfo {
        summary: row.summary,
        state: match problem {
            None => PluginState::Loaded,
            Some(_) => PluginState::Missing,
        },
        problem,
        size: row.size,
        config: row.config,
        uploaded_by: Some(row.uploaded_by),
        uploaded_at: Some(Timestamp::from_millis(row.uploaded_at)),
        confirmed_by: row.confirmed_by,
        pending: None,
    }
}

pub(crate) fn removed_plugin(row: PluginRow) -> PluginInfo {
    PluginInfo {
        state: PluginState::Removed,
        ..plugin(row, None)
    }
}

/// One that came with the configuration.
pub(crate) fn loaded_plugin(summary: PluginSummary) -> PluginInfo {
    PluginInfo {
        summary,
        state: PluginState::Loaded,
        problem: None,
        size: 0,
        config: BTreeMap::new(),
        uploaded_by: None,
        uploaded_at: None,
        confirmed_by: None,
        pending: None,
    }
}

/// One that is required and was never there.
pub(crate) fn missing_plugin(name: &str) -> PluginInfo {
    let summary = PluginSummary {
        name: name.to_owned(),
        version: String::new(),
        digest: String::new(),
        capabilities: Vec::new(),
    };
    PluginInfo {
        state: PluginState::Missing,
        problem: Some("it is required, and nobody has uploaded it".into()),
        ..loaded_plugin(summary)
    }
}

pub(crate) fn plugin_change(row: PluginChangeRow) -> PluginChange {
    PluginChange {
        id: row.id,
        kind: row.kind,
        summary: (row.kind == PluginChangeKind::Put).then_some(row.summary),
        size: row.size,
        config: row.config,
        author: row.author,
        created_at: Timestamp::from_millis(row.created_at),
        expires_at: Timestamp::from_millis(row.expires_at),
    }
}

pub(crate) fn session(row: SessionRow, live: bool) -> SessionInfo {
    SessionInfo {
        id: row.id,
        live,
        kind: row.kind,
        principal: row.principal,
        owner: row.owner,
        target: row.target,
        protocol: row.protocol,
        database: row.database,
        source: row.source,
        application: row.application,
        started_at: Timestamp::from_millis(row.started_at),
        ended_at: row.ended_at.map(Timestamp::from_millis),
        end: row.end,
    }
}
