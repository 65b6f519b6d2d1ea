//! From the JSON of records back to the core's vocabulary, by hand. What this Weir does not know is an
//! error, never a guess: the decision could be another one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::{
    Access, Action, Actor, Column, Demand, Facts, Finding, LabelSet, Login, Named, PluginRef,
    Principal, PrincipalKind, Proof, Protocol, Relation, Resource, Risk, SessionId, SessionInfo,
    SqlFacts, SqlKind, Target,
};
use recorder::doc::{
    AccessDoc, ActionDoc, ActorDoc, BasisDoc, FactsDoc, PrincipalDoc, RelationDoc, RiskDoc,
    ScopeDoc, SqlDoc, StartDoc, TargetDoc,
};
use uuid::Uuid;

mod ssh;

/// Why a record cannot be turned back.
pub type Unfit = String;

/// Everything that one decision was made by, but bundle and plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    pub facts: Facts,
    pub accesses: Vec<Access>,
    pub labelled: Vec<Column>,
    pub unmaskable: Option<String>,
    pub risk: Risk,
}

impl Inputs {
    pub fn of(doc: &ActionDoc, basis: &BasisDoc, info: &SessionInfo) -> Result<Self, Unfit> {
        let accesses = doc.accesses.iter().map(|a| access(a, &info.target));
        Ok(Self {
            facts: facts(&doc.facts)?,
            accesses: accesses.collect::<Result<_, _>>()?,
            labelled: basis
                .labelled
                .iter()
                .map(column)
                .collect::<Result<_, _>>()?,
            unmaskable: basis.unmaskable.clone(),
            risk: risk(&doc.risk)?,
        })
    }
}

pub fn time(ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(ns)
}

pub fn session(id: Uuid, started_ns: u64, start: &StartDoc) -> Result<SessionInfo, Unfit> {
    let source: IpAddr = start
        .source
        .parse()
        .map_err(|_| unknown("address", &start.source))?;
    Ok(SessionInfo {
        id: SessionId(id),
        id_text: id.to_string().into(),
        principal: Arc::new(principal(&start.who)?),
        target: Arc::new(target(&start.target)?),
        scope: start.scope.name().into(),
        source,
        started: time(started_ns),
        attrs: start.attrs.clone(),
    })
}

fn unknown(what: &str, text: &str) -> Unfit {
    format!("this Weir knows no {what} {text:?}")
}

fn target(doc: &TargetDoc) -> Result<Target, Unfit> {
    let protocol = Protocol::ALL
        .into_iter()
        .find(|p| p.as_str() == doc.protocol);
    Ok(Target {
        name: doc.name.as_str().into(),
        protocol: protocol.ok_or_else(|| unknown("protocol", &doc.protocol))?,
        env: doc.env.as_str().into(),
        tags: doc.tags.clone(),
    })
}

fn principal(doc: &PrincipalDoc) -> Result<Principal, Unfit> {
    Ok(Principal {
        actor: actor(&doc.actor)?,
        on_behalf_of: doc
            .on_behalf_of
            .iter()
            .map(actor)
            .collect::<Result<_, _>>()?,
        issuer: doc.issuer.as_str().into(),
        // No decision asks for it, and no record has it.
        issued_at: None,
        expires_at: time(doc.expires_ns),
        token_id: doc.token_id.clone(),
        proof: Proof {
            login: doc.login.as_deref().map(login).transpose()?,
            amr: arcs(&doc.amr),
            acr: doc.acr.as_deref().map(Into::into),
        },
    })
}

fn login(text: &str) -> Result<Login, Unfit> {
    let found = Login::ALL.into_iter().find(|l| l.as_str() == text);
    found.ok_or_else(|| unknown("login", text))
}

fn actor(doc: &ActorDoc) -> Result<Actor, Unfit> {
    let kinds = [
        PrincipalKind::User,
        PrincipalKind::Agent,
        PrincipalKind::Workload,
    ];
    let kind = kinds.into_iter().find(|k| k.as_str() == doc.kind);
    Ok(Actor {
        kind: kind.ok_or_else(|| unknown("kind of principal", &doc.kind))?,
        subject: doc.subject.as_str().into(),
        groups: arcs(&doc.groups),
        mfa: doc.mfa,
        autonomous: doc.autonomous,
        owner: doc.owner.as_deref().map(Into::into),
        attrs: doc.attrs.clone(),
    })
}

fn protocol_of(scope: &ScopeDoc) -> Protocol {
    match scope {
        ScopeDoc::Database(_) => Protocol::Postgres,
        ScopeDoc::Login(_) => Protocol::Ssh,
    }
}

fn facts(doc: &FactsDoc) -> Result<Facts, Unfit> {
    Ok(match doc {
        FactsDoc::Connect { scope } => Facts::Connect {
            protocol: protocol_of(scope),
            scope: scope.name().into(),
        },
        FactsDoc::Ssh(doc) => Facts::Ssh(Arc::new(ssh::facts(doc)?)),
        FactsDoc::Sql(sql) => Facts::Sql(Arc::new(sql_facts(sql)?)),
    })
}

fn sql_facts(doc: &SqlDoc) -> Result<SqlFacts, Unfit> {
    let kind = SqlKind::ALL.into_iter().find(|k| k.as_str() == doc.kind);
    Ok(SqlFacts {
        text: doc.text.as_str().into(),
        runs: doc
            .runs
            .iter()
            .map(|n| Named {
                name: n.name.as_str().into(),
                text: n.text.as_str().into(),
                // Neither policies nor classifiers see the values.
                parameters: Arc::new([]),
            })
            .collect(),
        kind: kind.ok_or_else(|| unknown("kind of statement", &doc.kind))?,
        has_where: doc.has_where,
        has_limit: doc.has_limit,
        limit: doc.limit,
        multi_statement: doc.multi_statement,
        touches_catalog: doc.touches_catalog,
        writes: doc.writes,
        locks: doc.locks,
        // It decides how safe the record has to be, and nothing else.
        only_reads: false,
        parsed: doc.parsed,
        read_only_txn: doc.read_only_txn,
        reads: doc.reads.iter().map(relation).collect::<Result<_, _>>()?,
        writes_to: doc
            .writes_to
            .iter()
            .map(relation)
            .collect::<Result<_, _>>()?,
        functions: arcs(&doc.functions),
    })
}

/// The parts of a name: told apart, or by its dots.
fn parts<const N: usize>(name: &str, path: &[String]) -> Result<[Arc<str>; N], Unfit> {
    let parts: Vec<Arc<str>> = match path {
        [] => name.split('.').map(Into::into).collect(),
        path => arcs(path),
    };
    <[Arc<str>; N]>::try_from(parts).map_err(|_| format!("{name:?} does not have {N} parts"))
}

fn relation(doc: &RelationDoc) -> Result<Relation, Unfit> {
    let [schema, name] = parts(&doc.name, &doc.path)?;
    Ok(Relation {
        schema,
        name,
        labels: labels(&doc.labels),
    })
}

fn column(doc: &RelationDoc) -> Result<Column, Unfit> {
    let [schema, table, column] = parts(&doc.name, &doc.path)?;
    Ok(Column {
        schema,
        table,
        column,
        labels: labels(&doc.labels),
    })
}

fn access(doc: &AccessDoc, target: &Arc<Target>) -> Result<Access, Unfit> {
    let action = Action::ALL.iter().find(|a| a.as_str() == doc.action);
    Ok(Access {
        action: *action.ok_or_else(|| unknown("action", &doc.action))?,
        resource: resource(doc)?,
        target: match &doc.target {
            None => None,
            Some(name) if **name == *target.name => Some(target.clone()),
            Some(name) => return Err(format!("target {name:?} is not the session's")),
        },
    })
}

fn resource(doc: &AccessDoc) -> Result<Resource, Unfit> {
    let flag = |name: &str| doc.flags.iter().any(|f| f == name);
    let known = [
        "unknown",
        "volatile",
        "security-definer",
        "dangerous",
        "loopback",
        "own-ssh",
    ];
    if let Some(flag) = doc.flags.iter().find(|f| !known.contains(&f.as_str())) {
        return Err(unknown("flag", flag));
    }
    // A name of one part is that part, dots and all.
    let single = || Arc::from(doc.resource.as_str());
    Ok(match doc.kind.as_str() {
        "PgDatabase" => Resource::PgDatabase { database: single() },
        "PgSchema" => {
            let [database, schema] = parts(&doc.resource, &doc.path)?;
            Resource::PgSchema { database, schema }
        }
        "PgTable" => {
            let [database, schema, table] = parts(&doc.resource, &doc.path)?;
            Resource::PgTable {
                database,
                schema,
                table,
                known: !flag("unknown"),
                labels: labels(&doc.labels),
            }
        }
        "PgColumn" => {
            let [database, schema, table, column] = parts(&doc.resource, &doc.path)?;
            Resource::PgColumn {
                database,
                column: Column {
                    schema,
                    table,
                    column,
                    labels: labels(&doc.labels),
                },
            }
        }
        "PgFunction" => {
            let [database, schema, function] = parts(&doc.resource, &doc.path)?;
            Resource::PgFunction {
                database,
                schema,
                function,
                known: !flag("unknown"),
                volatile: flag("volatile"),
                security_definer: flag("security-definer"),
                dangerous: flag("dangerous"),
            }
        }
        "PgRole" => Resource::PgRole { role: single() },
        "SshAccount" => Resource::SshAccount { login: single() },
        "SshProgram" => {
            let [login, name, path] = parts(&doc.resource, &doc.path)?;
            Resource::SshProgram {
                login,
                name,
                path,
                known: !flag("unknown"),
            }
        }
        "SshFile" => {
            let [login, path] = parts(&doc.resource, &doc.path)?;
            Resource::SshFile {
                login,
                path,
                known: !flag("unknown"),
            }
        }
        "SshEndpoint" => {
            let [host, port] = parts(&doc.resource, &doc.path)?;
            Resource::SshEndpoint {
                host,
                port: port.parse().map_err(|_| unknown("port", &port))?,
                loopback: flag("loopback"),
                own_ssh: flag("own-ssh"),
            }
        }
        "SshVariable" => {
            let [login, name, value] = parts(&doc.resource, &doc.path)?;
            Resource::SshVariable { login, name, value }
        }
        "SshSubsystem" => {
            let [login, name] = parts(&doc.resource, &doc.path)?;
            Resource::SshSubsystem { login, name }
        }
        "Target" => Resource::Target,
        other => return Err(unknown("resource of a session's request", other)),
    })
}

fn risk(doc: &RiskDoc) -> Result<Risk, Unfit> {
    let demand = |text: &String| match text.split_once(' ') {
        Some(("escalate", rule)) => Ok(Demand::Escalate(rule.to_owned())),
        Some(("refuse", reason)) => Ok(Demand::Refuse(reason.to_owned())),
        _ => Err(unknown("demand", text)),
    };
    Ok(Risk {
        score: doc.score,
        labels: doc.labels.iter().cloned().collect(),
        findings: doc
            .findings
            .iter()
            .map(|f| Finding {
                code: f.code.clone(),
                message: f.message.clone(),
            })
            .collect(),
        demands: doc.demands.iter().map(demand).collect::<Result<_, _>>()?,
        plugins: doc
            .plugins
            .iter()
            .map(|p| PluginRef {
                name: p.name.as_str().into(),
                version: p.version.as_str().into(),
                digest: p.digest.as_str().into(),
            })
            .collect(),
        set: doc.set.as_deref().map(Into::into),
        fleeting: doc.fleeting,
    })
}

fn labels(list: &[String]) -> LabelSet {
    list.iter().map(|l| l.as_str().into()).collect()
}

pub fn arcs(list: &[String]) -> Vec<Arc<str>> {
    list.iter().map(|s| s.as_str().into()).collect()
}
