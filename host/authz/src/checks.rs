//! A bundle's own tests: requests with the answer that its author expects. A bundle that fails one
//! of them is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::ports::Policy;
use pipeline::{
    Access, Action, Actor, Column, Facts, LabelSet, Principal, PrincipalKind, Protocol, Question,
    Relation, Resource, Risk, Ruling, SessionId, SqlFacts, SqlKind, Target,
};
use serde::Deserialize;

use crate::bundle::{Bundle, FileKind};
use crate::compile::CompiledBundle;
use crate::problem::{Problem, Problems};
use crate::vocab::is_ssh;

mod proof;
mod ssh;

use ssh::{OnHost, Ssh};

pub const MAX_TESTS: usize = 2_000;
/// A Friday, 09:00 UTC: tests that do not care about the time all have the same.
const DEFAULT_TIME: u64 = 1_795_165_200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    test: Vec<Test>,
}

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Test {
    name: String,
    #[serde(rename = "as")]
    who: Who,
    /// On whose behalf, the head of the chain first.
    #[serde(default, rename = "for")]
    on_behalf_of: Vec<Who>,
    /// By what they came in, and what their token says of it.
    by: Option<String>,
    #[serde(default)]
    amr: Vec<String>,
    acr: Option<String>,
    action: String,
    on: Thing,
    #[serde(default)]
    target: On,
    #[serde(default = "shop")]
    database: String,
    #[serde(default)]
    sql: Sql,
    /// On an SSH host.
    #[serde(default = "deploy")]
    login: String,
    #[serde(default)]
    ssh: Ssh,
    #[serde(default)]
    risk: RiskOf,
    #[serde(default)]
    approvals: Vec<String>,
    source: Option<IpAddr>,
    /// Seconds since 1970.
    at: Option<u64>,
    expect: Expect,
    /// A text that the reason of a refusal or hold must contain.
    reason: Option<String>,
    #[serde(skip)]
    file: String,
}

fn shop() -> String {
    "shop".into()
}

fn deploy() -> String {
    "deploy".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    user: Option<String>,
    agent: Option<String>,
    workload: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    mfa: bool,
    #[serde(default)]
    autonomous: bool,
    owner: Option<String>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// What is asked about. Exactly one of the names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Thing {
    #[serde(default)]
    host: OnHost,
    #[serde(default)]
    database: bool,
    schema: Option<String>,
    /// `schema.table`
    table: Option<String>,
    /// `schema.table.column`
    column: Option<String>,
    /// `schema.function`
    function: Option<String>,
    role: Option<String>,
    #[serde(default)]
    target: bool,
    #[serde(default)]
    system: bool,
    session: Option<String>,
    bundle: Option<String>,
    plugin: Option<String>,
    approval_rule: Option<String>,
    known: Option<bool>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    volatile: bool,
    #[serde(default)]
    security_definer: bool,
    #[serde(default)]
    dangerous: bool,
    author: Option<String>,
    #[serde(default)]
    requesters: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct On {
    name: String,
    env: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

impl Default for On {
    fn default() -> Self {
        Self {
            name: "shop-prod".into(),
            env: "prod".into(),
            tags: BTreeMap::new(),
        }
    }
}

/// Facts about the statement. What is left out is what a plain, fully understood statement has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sql {
    kind: Option<String>,
    has_where: Option<bool>,
    limit: Option<i64>,
    multi_statement: Option<bool>,
    touches_catalog: Option<bool>,
    writes: Option<bool>,
    locks: Option<bool>,
    parsed: Option<bool>,
    read_only_txn: Option<bool>,
    /// `schema.table`
    #[serde(default)]
    tables: Vec<String>,
    #[serde(default)]
    functions: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RiskOf {
    #[serde(default)]
    score: u8,
    #[serde(default)]
    labels: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Expect {
    Word(Word),
    Needs { needs: BTreeSet<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Permit,
    Deny,
    Reveal,
    Masked,
}

/// Reads the test files.
pub(crate) fn parse(bundle: &Bundle, problems: &mut Problems) -> Vec<Test> {
    let mut tests = Vec::new();
    for (path, text) in bundle.of_kind(FileKind::TestToml) {
        match toml::from_str::<File>(text) {
            Ok(file) => add(&mut tests, path, file.test),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                problems.push(Problem::at(path, text, at, error.message()));
            }
        }
    }
    for (path, text) in bundle.of_kind(FileKind::TestJson) {
        match serde_json::from_str::<Vec<Test>>(text) {
            Ok(list) => add(&mut tests, path, list),
            Err(error) => problems.push(Problem {
                line: u32::try_from(error.line()).unwrap_or(0),
                column: u32::try_from(error.column()).unwrap_or(0),
                ..Problem::file(path, error.to_string())
            }),
        }
    }
    if tests.len() > MAX_TESTS {
        let message = format!(
            "{} policy tests; at most {MAX_TESTS} are allowed",
            tests.len()
        );
        problems.push(Problem::file("", message));
    }
    tests
}

fn add(tests: &mut Vec<Test>, path: &str, found: Vec<Test>) {
    tests.extend(found.into_iter().map(|test| Test {
        file: path.to_owned(),
        ..test
    }));
}

/// Runs all of them.
pub(crate) fn run(bundle: &CompiledBundle, tests: &[Test], problems: &mut Problems) {
    for test in tests {
        if let Err(message) = test.run(bundle) {
            let text = bundle.source.files().get(&test.file);
            let text = text.map_or("", String::as_str);
            let quoted = format!("{:?}", test.name);
            let at = text.find(&quoted).unwrap_or(0);
            let message = format!("policy test {:?}: {message}", test.name);
            problems.push(Problem::at(&test.file, text, at, message));
        }
    }
}

impl Test {
    fn run(&self, bundle: &CompiledBundle) -> Result<(), String> {
        let action = self.action()?;
        let access = self.access(action)?;
        let principal = self.principal()?;
        let facts = match action {
            Action::PostgresConnect => Facts::Connect {
                protocol: Protocol::Postgres,
                scope: self.database.as_str().into(),
            },
            Action::SshConnect => Facts::Connect {
                protocol: Protocol::Ssh,
                scope: self.login.as_str().into(),
            },
            _ if is_ssh(action) => {
                let ssh = self.ssh.facts(action, &self.login, &self.on.host)?;
                Facts::Ssh(Arc::new(ssh))
            }
            _ => Facts::Sql(Arc::new(self.sql(action)?)),
        };
        let has_facts = action.as_str().starts_with("postgres:")
            || is_ssh(action)
            || matches!(action, Action::DataReveal | Action::DataCompute);
        let risk = Risk {
            score: self.risk.score,
            labels: self.risk.labels.clone(),
            ..Risk::default()
        };
        let approvals = self.approvals.iter().map(|a| a.as_str().into()).collect();
        let question = Question {
            principal: &principal,
            source: self
                .source
                .unwrap_or(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
            session: "policy-test",
            now: UNIX_EPOCH + Duration::from_secs(self.at.unwrap_or(DEFAULT_TIME)),
            facts: has_facts.then_some(&facts),
            risk: &risk,
            approvals: &approvals,
            accesses: std::slice::from_ref(&access),
        };
        match &self.expect {
            Expect::Word(Word::Reveal | Word::Masked) if action != Action::DataReveal => {
                Err("reveal and masked are about a column, and data:reveal".into())
            }
            Expect::Word(word @ (Word::Reveal | Word::Masked)) => {
                let Resource::PgColumn { database, column } = &access.resource else {
                    return Err("reveal and masked are about a column".into());
                };
                let reveal = bundle.reveal(&question, column, database);
                expect_same(*word == Word::Reveal, reveal, "reveal")
            }
            expect => self.compare(expect, &bundle.authorize(&question)),
        }
    }

    fn compare(&self, expect: &Expect, ruling: &Ruling) -> Result<(), String> {
        let (fits, reason) = match (expect, ruling) {
            (Expect::Word(Word::Permit), Ruling::Permit { .. }) => (true, ""),
            (Expect::Word(Word::Deny), Ruling::Deny { reason, .. }) => (true, reason.as_str()),
            (Expect::Needs { needs }, Ruling::NeedsApproval { rules, reason, .. }) => {
                let rules: BTreeSet<String> = rules.iter().map(|r| r.to_string()).collect();
                (rules == *needs, reason.as_str())
            }
            _ => (false, ""),
        };
        if !fits {
            return Err(format!("expected {expect:?}, got {ruling:?}"));
        }
        match &self.reason {
            Some(want) if !reason.contains(want.as_str()) => {
                Err(format!("expected a reason with {want:?}, got {reason:?}"))
            }
            _ => Ok(()),
        }
    }

    fn action(&self) -> Result<Action, String> {
        Action::ALL
            .iter()
            .copied()
            .find(|a| a.as_str() == self.action)
            .ok_or_else(|| format!("there is no action {:?}", self.action))
    }

    fn principal(&self) -> Result<Principal, String> {
        let mut principal = Principal::direct(self.who.actor()?, "test", SystemTime::UNIX_EPOCH);
        for who in &self.on_behalf_of {
            principal.on_behalf_of.push(who.actor()?);
        }
        principal.proof = proof::proof(self.by.as_deref(), &self.amr, self.acr.as_deref())?;
        Ok(principal)
    }

    fn sql(&self, action: Action) -> Result<SqlFacts, String> {
        let sql = &self.sql;
        let kind = match &sql.kind {
            Some(name) => kind_named(name)?,
            None => kind_of(action),
        };
        let writes = matches!(
            kind,
            SqlKind::Insert
                | SqlKind::Update
                | SqlKind::Merge
                | SqlKind::Delete
                | SqlKind::Ddl
                | SqlKind::Dcl
                | SqlKind::Utility
        );
        let mut reads = Vec::new();
        for table in &sql.tables {
            let [schema, name] = names(table)?;
            reads.push(Relation {
                schema: schema.into(),
                name: name.into(),
                labels: LabelSet::new(),
            });
        }
        Ok(SqlFacts {
            text: "-- policy test".into(),
            runs: Vec::new(),
            kind,
            has_where: sql.has_where.unwrap_or(true),
            has_limit: sql.limit.is_some(),
            limit: sql.limit,
            multi_statement: sql.multi_statement.unwrap_or(false),
            touches_catalog: sql.touches_catalog.unwrap_or(false),
            writes: sql.writes.unwrap_or(writes),
            locks: sql.locks.unwrap_or(false),
            only_reads: false,
            parsed: sql.parsed.unwrap_or(true),
            read_only_txn: sql.read_only_txn.unwrap_or(false),
            reads,
            writes_to: Vec::new(),
            functions: sql.functions.iter().map(|f| f.as_str().into()).collect(),
        })
    }

    fn access(&self, action: Action) -> Result<Access, String> {
        let on = &self.on;
        let database: Arc<str> = self.database.as_str().into();
        let known = on.known.unwrap_or(true);
        let labels: LabelSet = on.labels.iter().map(|l| l.as_str().into()).collect();
        let mut found = Vec::new();
        if on.database {
            found.push(Resource::PgDatabase {
                database: database.clone(),
            });
        }
        if let Some(schema) = &on.schema {
            found.push(Resource::PgSchema {
                database: database.clone(),
                schema: schema.as_str().into(),
            });
        }
        if let Some(path) = &on.table {
            let [schema, table] = names(path)?;
            found.push(Resource::PgTable {
                database: database.clone(),
                schema: schema.into(),
                table: table.into(),
                known,
                labels: labels.clone(),
            });
        }
        if let Some(path) = &on.column {
            let [schema, table, column] = names(path)?;
            let column = Column {
                schema: schema.into(),
                table: table.into(),
                column: column.into(),
                labels,
            };
            found.push(Resource::PgColumn {
                database: database.clone(),
                column,
            });
        }
        if let Some(path) = &on.function {
            let [schema, function] = names(path)?;
            found.push(Resource::PgFunction {
                database,
                schema: schema.into(),
                function: function.into(),
                known,
                volatile: on.volatile,
                security_definer: on.security_definer,
                dangerous: on.dangerous,
            });
        }
        if let Some(role) = &on.role {
            let role = role.as_str().into();
            found.push(Resource::PgRole { role });
        }
        found.extend(on.host.resources(&self.login, known)?);
        found.extend(on.control());
        let on_target = !on.system && (on.target || found.iter().any(is_of_a_target));
        let [resource] = <[Resource; 1]>::try_from(found)
            .map_err(|found| format!("`on` must name one thing, not {}", found.len()))?;
        Ok(Access {
            action,
            resource,
            target: on_target.then(|| self.target.target(action)),
        })
    }
}

impl Thing {
    fn control(&self) -> Vec<Resource> {
        let mut found = Vec::new();
        if self.target || self.system {
            found.push(Resource::Target);
        }
        if let Some(owner) = &self.session {
            found.push(Resource::Session {
                id: SessionId(Default::default()),
                owner: owner.as_str().into(),
            });
        }
        if let Some(digest) = &self.bundle {
            found.push(Resource::Bundle {
                digest: digest.as_str().into(),
                author: self.author.as_deref().map(Into::into),
            });
        }
        if let Some(name) = &self.plugin {
            found.push(Resource::Plugin {
                name: name.as_str().into(),
            });
        }
        if let Some(rule) = &self.approval_rule {
            found.push(Resource::ApprovalRule {
                rule: rule.as_str().into(),
                requesters: self.requesters.iter().map(|r| r.as_str().into()).collect(),
            });
        }
        found
    }
}

impl Who {
    fn actor(&self) -> Result<Actor, String> {
        let named = [
            (PrincipalKind::User, &self.user),
            (PrincipalKind::Agent, &self.agent),
            (PrincipalKind::Workload, &self.workload),
        ];
        let mut named = named
            .into_iter()
            .filter_map(|(k, n)| Some((k, n.as_ref()?)));
        let (Some((kind, subject)), None) = (named.next(), named.next()) else {
            return Err("a principal is one of user, agent and workload".into());
        };
        let groups: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        Ok(Actor {
            mfa: self.mfa,
            autonomous: self.autonomous,
            owner: self.owner.as_deref().map(Into::into),
            attrs: self.attrs.clone(),
            ..Actor::new(kind, subject, &groups)
        })
    }
}

impl On {
    fn target(&self, action: Action) -> Arc<Target> {
        Arc::new(Target {
            name: self.name.as_str().into(),
            protocol: match is_ssh(action) {
                true => Protocol::Ssh,
                false => Protocol::Postgres,
            },
            env: self.env.as_str().into(),
            tags: self.tags.clone(),
        })
    }
}

fn expect_same(expected: bool, got: bool, what: &str) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("expected {what} to be {expected}, and it is {got}"))
}

fn is_of_a_target(resource: &Resource) -> bool {
    matches!(
        resource,
        Resource::PgDatabase { .. }
            | Resource::PgSchema { .. }
            | Resource::PgTable { .. }
            | Resource::PgColumn { .. }
            | Resource::PgFunction { .. }
            | Resource::PgRole { .. }
            | Resource::SshAccount { .. }
            | Resource::SshProgram { .. }
            | Resource::SshFile { .. }
            | Resource::SshEndpoint { .. }
            | Resource::SshVariable { .. }
            | Resource::SshSubsystem { .. }
            | Resource::Session { .. }
    )
}

fn names<const N: usize>(path: &str) -> Result<[&str; N], String> {
    let parts: Vec<&str> = path.split('.').collect();
    <[&str; N]>::try_from(parts).map_err(|_| format!("{path:?} must be {N} names with dots"))
}

fn kind_of(action: Action) -> SqlKind {
    match action {
        Action::PostgresSession | Action::PostgresAssumeRole => SqlKind::Session,
        Action::PostgresCopyOut => SqlKind::Copy,
        Action::PostgresInsert => SqlKind::Insert,
        Action::PostgresUpdate => SqlKind::Update,
        Action::PostgresMerge => SqlKind::Merge,
        Action::PostgresDelete => SqlKind::Delete,
        Action::PostgresTruncate
        | Action::PostgresCreate
        | Action::PostgresAlter
        | Action::PostgresDrop => SqlKind::Ddl,
        Action::PostgresUtility => SqlKind::Utility,
        _ => SqlKind::Select,
    }
}

fn kind_named(name: &str) -> Result<SqlKind, String> {
    SqlKind::ALL
        .iter()
        .copied()
        .find(|k| k.as_str() == name)
        .ok_or_else(|| format!("there is no kind of statement {name:?}"))
}
