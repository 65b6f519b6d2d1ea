//! From the core's vocabulary to the JSON of records, by hand.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use pipeline::ports::JournalError;
use pipeline::{
    Access, Actor, Basis, BundleRef, Column, ControlEvent, Demand, EndReason, Facts, HoldRecord,
    Intent, LabelSet, Named, Outcome, OutcomeKind, Parameter, Principal, Protocol, RefusalKind,
    RefusalRecord, Relation, Resource, Risk, SessionEnd, SessionStart,
};

use crate::doc::*;
use crate::size::{MAX_PARAMETER, PARAMETER_START};

mod ssh;

/// Nanoseconds since 1970; 0 before it.
pub fn ns(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// What makes a record's hash tell nothing of what it says, as long as the record is unknown.
pub fn salt() -> Result<String, JournalError> {
    let bytes = salts::next()
        .ok_or_else(|| JournalError::Poisoned("the machine gives no random numbers".into()))?;
    Ok(hex_of(&bytes))
}

/// In hex. It is written several times for every record.
pub fn hex_of(bytes: &[u8]) -> String {
    let mut out = vec![0; 2 * bytes.len()];
    // Of the length that it wants, and ASCII.
    hex::encode_to_slice(bytes, &mut out).ok();
    String::from_utf8(out).unwrap_or_default()
}

/// Random numbers, fetched for several records at once: most of what that costs is the call.
mod salts {
    use std::cell::RefCell;

    const SALT: usize = 16;
    const AT_ONCE: usize = 64;

    thread_local! {
        static LEFT: RefCell<Vec<[u8; SALT]>> = const { RefCell::new(Vec::new()) };
    }

    /// None: the machine gives none.
    pub fn next() -> Option<[u8; SALT]> {
        LEFT.with_borrow_mut(|left| {
            if left.is_empty() {
                let mut fetched = [[0; SALT]; AT_ONCE];
                aws_lc_rs::rand::fill(fetched.as_flattened_mut()).ok()?;
                left.extend(fetched);
            }
            left.pop()
        })
    }
}

/// These documents are maps of strings and numbers, which always can be written; an error would mean
/// that the record cannot be made, so it is one.
pub fn json<T: serde::Serialize>(doc: &T) -> Result<bytes::Bytes, JournalError> {
    json_of(doc, 128)
}

/// As [`json`], of about this size: a long document is not copied over and over while it grows.
pub fn json_of<T: serde::Serialize>(doc: &T, size: usize) -> Result<bytes::Bytes, JournalError> {
    let written = if size > SHORT {
        let mut out = Vec::with_capacity(size);
        serde_json::to_writer(&mut out, doc).map(|()| out.into())
    } else {
        // Most are much shorter than they could be: they wait for the disk in no more memory than they need.
        BUFFER.with_borrow_mut(|out| {
            out.clear();
            let written = serde_json::to_writer(&mut *out, doc);
            let json = bytes::Bytes::copy_from_slice(out);
            out.shrink_to(SHORT);
            written.map(|()| json)
        })
    };
    written.map_err(|e| JournalError::Poisoned(format!("a record cannot be written as JSON: {e}")))
}

/// A document of which more is expected gets its memory at once.
const SHORT: usize = 64 << 10;

thread_local! {
    static BUFFER: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

pub fn start(start: &SessionStart) -> StartDoc {
    let info = &start.info;
    StartDoc {
        v: DOC_VERSION,
        salt: String::new(),
        who: principal(&info.principal),
        target: TargetDoc {
            name: info.target.name.to_string(),
            protocol: info.target.protocol.as_str().to_owned(),
            env: info.target.env.to_string(),
            tags: info.target.tags.clone(),
        },
        scope: scope(info.target.protocol, &info.scope),
        source: info.source.to_string(),
        bundle: bundle(&start.bundle),
        retention_days: start.retention_days,
        attrs: info.attrs.clone(),
        key: None,
    }
}

fn scope(protocol: Protocol, name: &str) -> ScopeDoc {
    match protocol {
        Protocol::Postgres => ScopeDoc::Database(name.to_owned()),
        Protocol::Ssh => ScopeDoc::Login(name.to_owned()),
    }
}

pub fn principal(p: &Principal) -> PrincipalDoc {
    PrincipalDoc {
        actor: actor(&p.actor),
        on_behalf_of: p.on_behalf_of.iter().map(actor).collect(),
        issuer: p.issuer.to_string(),
        expires_ns: ns(p.expires_at),
        token_id: p.token_id.clone(),
        login: p.proof.login.map(|login| login.as_str().to_owned()),
        amr: strings(&p.proof.amr),
        acr: p.proof.acr.as_deref().map(str::to_owned),
    }
}

fn actor(a: &Actor) -> ActorDoc {
    ActorDoc {
        kind: a.kind.as_str().to_owned(),
        subject: a.subject.to_string(),
        groups: strings(&a.groups),
        mfa: a.mfa,
        autonomous: a.autonomous,
        owner: a.owner.as_deref().map(str::to_owned),
        attrs: a.attrs.clone(),
    }
}

pub fn bundle(b: &BundleRef) -> BundleDoc {
    BundleDoc {
        name: b.name.to_string(),
        version: b.version,
        digest: b.digest.to_string(),
    }
}

pub fn intent(i: &Intent) -> IntentDoc {
    IntentDoc {
        salt: String::new(),
        action: ActionDoc {
            facts: facts(&i.facts),
            accesses: i.accesses.iter().map(access).collect(),
            risk: risk(&i.risk),
            bundle: bundle(&i.bundle),
            policies: strings(&i.policies),
            basis: Some(basis(&i.basis, i.at)),
        },
        decision: "permit".into(),
        approval: i.approval.as_ref().map(|a| ApprovalDoc {
            hold: a.hold.clone(),
            rules: strings(&a.rules),
            approvers: a.approvers.clone(),
            shown: a.shown.clone(),
        }),
        fingerprint: hex_of(&i.fingerprint.0),
        parameters: i.parameters.iter().map(parameter).collect(),
        masked: i.masked.clone(),
    }
}

fn named(n: &Named) -> NamedDoc {
    let parameters = n.parameters.iter();
    NamedDoc {
        name: n.name.to_string(),
        text: n.text.to_string(),
        parameters: parameters.map(parameter).collect(),
    }
}

fn parameter(parameter: &Parameter) -> ParameterDoc {
    let large = |bytes: &[u8], start| {
        ParameterDoc::Large(LargeDoc {
            sha256: hex::encode(crate::chain::sha256(bytes)),
            bytes: bytes.len() as u64,
            start: Box::new(start),
        })
    };
    match parameter {
        Parameter::Null => ParameterDoc::Null,
        Parameter::Text(bytes) if bytes.len() > MAX_PARAMETER => {
            large(bytes, value(beginning(bytes)))
        }
        Parameter::Text(bytes) => value(bytes),
        Parameter::Binary(v) if v.bytes.len() > MAX_PARAMETER => {
            let start = v.bytes.get(..PARAMETER_START).unwrap_or(&v.bytes);
            large(&v.bytes, binary(start, v.of.as_deref(), None))
        }
        Parameter::Binary(v) => binary(&v.bytes, v.of.as_deref(), v.text.as_deref()),
    }
}

fn binary(bytes: &[u8], of: Option<&str>, text: Option<&str>) -> ParameterDoc {
    ParameterDoc::Binary(BinaryDoc {
        hex: hex::encode(bytes),
        of: of.map(str::to_owned),
        text: text.map(str::to_owned),
    })
}

fn value(bytes: &[u8]) -> ParameterDoc {
    match std::str::from_utf8(bytes) {
        Ok(text) => ParameterDoc::Text(text.to_owned()),
        Err(_) => ParameterDoc::Hex(hex::encode(bytes)),
    }
}

/// Its first bytes, without a character that is cut in two.
fn beginning(bytes: &[u8]) -> &[u8] {
    let start = bytes.get(..PARAMETER_START).unwrap_or(bytes);
    let whole = match std::str::from_utf8(start) {
        Err(e) if e.error_len().is_none() => e.valid_up_to(),
        _ => start.len(),
    };
    start.get(..whole).unwrap_or(start)
}

pub fn refused(r: &RefusalRecord) -> RefusedDoc {
    RefusedDoc {
        salt: String::new(),
        action: ActionDoc {
            facts: facts(&r.facts),
            accesses: r.accesses.iter().map(access).collect(),
            risk: risk(&r.risk),
            bundle: bundle(&r.bundle),
            policies: strings(&r.policies),
            basis: Some(basis(&r.basis, r.at)),
        },
        kind: refusal_kind(r.kind).into(),
        reason: r.reason.clone(),
        fingerprint: hex_of(&r.fingerprint.0),
        parameters: r.parameters.iter().map(parameter).collect(),
        hold: r.hold.clone(),
        shown: r.shown.clone(),
    }
}

pub fn held(h: &HoldRecord) -> HeldDoc {
    HeldDoc {
        salt: String::new(),
        action: ActionDoc {
            facts: facts(&h.facts),
            accesses: h.accesses.iter().map(access).collect(),
            risk: risk(&h.risk),
            bundle: bundle(&h.bundle),
            policies: strings(&h.policies),
            basis: Some(basis(&h.basis, h.at)),
        },
        decision: "held".into(),
        hold: h.hold.clone(),
        reason: h.reason.clone(),
        expires_ns: ns(h.expires_at),
        fingerprint: hex_of(&h.fingerprint.0),
        parameters: h.parameters.iter().map(parameter).collect(),
        shown: h.shown.clone(),
    }
}

fn refusal_kind(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Denied => "denied",
        RefusalKind::HoldDenied => "hold-denied",
        RefusalKind::HoldExpired => "hold-expired",
        RefusalKind::Abandoned => "abandoned",
        RefusalKind::PolicyChanged => "policy-changed",
        RefusalKind::NotRecorded => "not-recorded",
        RefusalKind::ApprovalUnavailable => "approval-unavailable",
        RefusalKind::SessionEnded => "session-ended",
        RefusalKind::Limit => "limit",
        RefusalKind::Unasked => "unasked",
    }
}

pub fn outcome(o: &Outcome) -> OutcomeDoc {
    OutcomeDoc {
        salt: String::new(),
        outcome: match o.kind {
            OutcomeKind::Done => "done",
            OutcomeKind::Failed => "failed",
            OutcomeKind::Cancelled => "cancelled",
            OutcomeKind::Unknown => "unknown",
        }
        .into(),
        detail: o.detail.clone(),
        rows: o.rows,
        bytes: o.bytes,
        elapsed_us: u64::try_from(o.elapsed.as_micros()).unwrap_or(u64::MAX),
    }
}

pub fn end(e: &SessionEnd) -> EndDoc {
    let (reason, detail) = match &e.reason {
        EndReason::ClientClosed => ("client-closed", String::new()),
        EndReason::UpstreamClosed => ("upstream-closed", String::new()),
        EndReason::Killed { by, reason } => ("killed", format!("by {by}: {reason}")),
        EndReason::TokenExpired => ("token-expired", String::new()),
        EndReason::PolicyChanged => ("policy-changed", String::new()),
        EndReason::RecorderFailed => ("recorder-failed", String::new()),
        EndReason::ProtocolViolation(what) => ("protocol-violation", what.clone()),
        EndReason::Shutdown => ("shutdown", String::new()),
        EndReason::Error(what) => ("error", what.clone()),
    };
    EndDoc {
        salt: String::new(),
        reason: reason.into(),
        detail,
    }
}

pub fn control(e: &ControlEvent) -> ControlDoc {
    ControlDoc {
        salt: String::new(),
        who: e.principal.as_deref().map(principal),
        action: e.action.clone(),
        resource: e.resource.clone(),
        refused: e.result.as_ref().err().cloned(),
        detail: e.detail.clone(),
    }
}

fn facts(f: &Facts) -> FactsDoc {
    match f {
        Facts::Connect {
            protocol,
            scope: name,
        } => FactsDoc::Connect {
            scope: scope(*protocol, name),
        },
        Facts::Ssh(s) => FactsDoc::Ssh(ssh::facts(s)),
        Facts::Sql(s) => FactsDoc::Sql(SqlDoc {
            text: s.text.to_string(),
            runs: s.runs.iter().map(named).collect(),
            kind: s.kind.as_str().to_owned(),
            parsed: s.parsed,
            has_where: s.has_where,
            has_limit: s.has_limit,
            limit: s.limit,
            multi_statement: s.multi_statement,
            touches_catalog: s.touches_catalog,
            writes: s.writes,
            locks: s.locks,
            read_only_txn: s.read_only_txn,
            reads: s.reads.iter().map(relation).collect(),
            writes_to: s.writes_to.iter().map(relation).collect(),
            functions: strings(&s.functions),
        }),
    }
}

fn basis(b: &Basis, at: SystemTime) -> BasisDoc {
    BasisDoc {
        asked_ns: (b.asked != at).then(|| ns(b.asked)),
        again_ns: b.again.map(ns),
        labelled: b.labelled.iter().map(column).collect(),
        unmaskable: b.unmaskable.map(str::to_owned),
        rules: strings(&b.rules),
    }
}

fn relation(r: &Relation) -> RelationDoc {
    let parts = [&*r.schema, &*r.name];
    RelationDoc {
        name: parts.join("."),
        path: path(&parts),
        labels: labels(&r.labels),
    }
}

fn column(c: &Column) -> RelationDoc {
    let parts = [&*c.schema, &*c.table, &*c.column];
    RelationDoc {
        name: parts.join("."),
        path: path(&parts),
        labels: labels(&c.labels),
    }
}

/// The parts of a name, unless its dots tell them apart.
fn path(parts: &[impl AsRef<str>]) -> Vec<String> {
    let parts = || parts.iter().map(AsRef::as_ref);
    match parts().any(|part| part.contains('.')) {
        true => parts().map(str::to_owned).collect(),
        false => Vec::new(),
    }
}

fn risk(r: &Risk) -> RiskDoc {
    RiskDoc {
        score: r.score,
        labels: r.labels.iter().cloned().collect(),
        findings: r
            .findings
            .iter()
            .map(|f| FindingDoc {
                code: f.code.clone(),
                message: f.message.clone(),
            })
            .collect(),
        demands: r
            .demands
            .iter()
            .filter_map(|d| match d {
                Demand::None => None,
                Demand::Escalate(rule) => Some(format!("escalate {rule}")),
                Demand::Refuse(reason) => Some(format!("refuse {reason}")),
            })
            .collect(),
        plugins: r
            .plugins
            .iter()
            .map(|p| PluginDoc {
                name: p.name.to_string(),
                version: p.version.to_string(),
                digest: p.digest.to_string(),
            })
            .collect(),
        set: r.set.as_deref().map(str::to_owned),
        fleeting: r.fleeting,
    }
}

fn access(a: &Access) -> AccessDoc {
    let (kind, parts) = resource_name(&a.resource);
    let (labels_of, flags) = resource_notes(&a.resource);
    AccessDoc {
        action: a.action.as_str().to_owned(),
        kind: kind.to_owned(),
        path: if parts.len() > 1 {
            path(&parts)
        } else {
            Vec::new()
        },
        resource: parts.join("."),
        target: a.target.as_ref().map(|t| t.name.to_string()),
        labels: labels_of,
        flags,
    }
}

fn resource_name(resource: &Resource) -> (&'static str, Vec<Cow<'_, str>>) {
    let (kind, parts): (_, Vec<&str>) = match resource {
        Resource::PgDatabase { database } => ("PgDatabase", vec![database]),
        Resource::PgSchema { database, schema } => ("PgSchema", vec![database, schema]),
        Resource::PgTable {
            database,
            schema,
            table,
            ..
        } => ("PgTable", vec![database, schema, table]),
        Resource::PgColumn {
            database,
            column: c,
        } => ("PgColumn", vec![database, &c.schema, &c.table, &c.column]),
        Resource::PgFunction {
            database,
            schema,
            function,
            ..
        } => ("PgFunction", vec![database, schema, function]),
        Resource::PgRole { role } => ("PgRole", vec![role]),
        Resource::SshAccount { login } => ("SshAccount", vec![login]),
        Resource::SshProgram {
            login, name, path, ..
        } => ("SshProgram", vec![login, name, path]),
        Resource::SshFile { login, path, .. } => ("SshFile", vec![login, path]),
        Resource::SshEndpoint { host, port, .. } => {
            let parts = vec![Cow::Borrowed(&**host), port.to_string().into()];
            return ("SshEndpoint", parts);
        }
        Resource::SshVariable { login, name, value } => ("SshVariable", vec![login, name, value]),
        Resource::SshSubsystem { login, name } => ("SshSubsystem", vec![login, name]),
        Resource::Target => ("Target", Vec::new()),
        Resource::Session { id, .. } => return ("Session", vec![id.to_string().into()]),
        Resource::Bundle { digest, .. } => ("Bundle", vec![digest]),
        Resource::Plugin { name } => ("Plugin", vec![name]),
        Resource::ApprovalRule { rule, .. } => ("ApprovalRule", vec![rule]),
    };
    (kind, parts.into_iter().map(Cow::Borrowed).collect())
}

fn resource_notes(resource: &Resource) -> (Vec<String>, Vec<String>) {
    let flag = |on: bool, name: &str| on.then(|| name.to_owned());
    match resource {
        Resource::PgTable {
            known, labels: l, ..
        } => (labels(l), flag(!known, "unknown").into_iter().collect()),
        Resource::PgColumn { column, .. } => (labels(&column.labels), Vec::new()),
        Resource::PgFunction {
            known,
            volatile,
            security_definer,
            dangerous,
            ..
        } => {
            let flags = [
                flag(!known, "unknown"),
                flag(*volatile, "volatile"),
                flag(*security_definer, "security-definer"),
                flag(*dangerous, "dangerous"),
            ];
            (Vec::new(), flags.into_iter().flatten().collect())
        }
        Resource::SshProgram { known, .. } | Resource::SshFile { known, .. } => {
            (Vec::new(), flag(!known, "unknown").into_iter().collect())
        }
        Resource::SshEndpoint {
            loopback, own_ssh, ..
        } => {
            let flags = [flag(*loopback, "loopback"), flag(*own_ssh, "own-ssh")];
            (Vec::new(), flags.into_iter().flatten().collect())
        }
        _ => (Vec::new(), Vec::new()),
    }
}

fn labels(labels: &LabelSet) -> Vec<String> {
    labels.iter().map(|l| l.to_string()).collect()
}

fn strings(list: &[std::sync::Arc<str>]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}
