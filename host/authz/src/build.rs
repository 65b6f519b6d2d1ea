//! Builds what Cedar evaluates: entities and contexts, natively, from pipeline's vocabulary.
//!
//! One place builds every chain of parents, because a missing link in it silently turns an `in`
//! false. Each entity carries all of its ancestors, so no closure has to be computed.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use cedar_policy_core::ast::{Context, Entity, EntityType, EntityUID, Literal, Name, Value};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::pst::SmolStr;
use pipeline::{
    Access, Actor, Column, Facts, LabelSet, PrincipalKind, Question, Resource, SqlFacts, Target,
};

use crate::civil;
use crate::reads::Reads;
use crate::vocab::{Extra, ResourceKind, SYSTEM_ID, Types, path, principal_type, uid};

mod ssh;

/// Something could not be expressed; it is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{0} needs a target")]
    NoTarget(&'static str),
    #[error("the facts about the statement are missing")]
    NoStatement,
    #[error("it has more {0} than the {1} that are compared")]
    TooMany(&'static str, usize),
    #[error("Cedar's extension {0} refused a value: {1}")]
    Extension(&'static str, String),
}

/// An entity with everything above it.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub uid: EntityUID,
    /// The entity itself, then its ancestors as far as they have attributes.
    pub entities: Vec<Arc<Entity>>,
    /// Itself and all of its ancestors: what `in` can match.
    pub ids: Vec<EntityUID>,
}

type Attrs = Vec<(SmolStr, Value)>;

fn key(name: &'static str) -> SmolStr {
    SmolStr::new_static(name)
}

fn text(value: &str) -> Value {
    Value::from(Literal::from(value))
}

fn flag(value: bool) -> Value {
    Value::from(Literal::from(value))
}

fn long(value: i64) -> Value {
    Value::from(Literal::from(value))
}

fn refer(value: EntityUID) -> Value {
    Value::from(Literal::from(value))
}

fn refer_set(ty: &EntityType, ids: impl IntoIterator<Item = impl Into<SmolStr>>) -> Value {
    Value::set_of_lits(
        ids.into_iter().map(|id| Literal::from(uid(ty, id.into()))),
        None,
    )
}

fn record(pairs: Attrs) -> Value {
    Value::record_arc(Arc::new(pairs.into_iter().collect()), None)
}

fn entity(uid: EntityUID, attrs: Attrs, ancestors: &[EntityUID], tags: Attrs) -> Arc<Entity> {
    Arc::new(Entity::new_with_attr_partial_value(
        uid,
        attrs.into_iter().map(|(k, v)| (k, v.into())),
        HashSet::new(),
        ancestors.iter().cloned().collect(),
        tags.into_iter().map(|(k, v)| (k, v.into())),
    ))
}

/// Builds entities for one bundle.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    pub types: Types,
    /// Groups that some policy names. Others cannot change a decision and are left out.
    pub groups: HashSet<SmolStr>,
    /// Does the schema know of logins? One from before does not, and is told nothing of them.
    pub logins: bool,
}

impl Builder {
    pub fn actor(&self, actor: &Actor) -> Built {
        let types = &self.types;
        let id = uid(principal_type(types, actor.kind), &*actor.subject);
        let groups: Vec<EntityUID> = actor
            .groups
            .iter()
            .filter(|group| self.groups.contains(&***group))
            .map(|group| uid(&types.group, &**group))
            .collect();
        let mut attrs = Vec::new();
        match actor.kind {
            PrincipalKind::User => attrs.push((key("mfa"), flag(actor.mfa))),
            PrincipalKind::Workload => {}
            PrincipalKind::Agent => {
                attrs.push((key("autonomous"), flag(actor.autonomous)));
                if let Some(owner) = &actor.owner {
                    attrs.push((key("owner"), refer(uid(&types.user, &**owner))));
                }
            }
        }
        let tags = actor
            .attrs
            .iter()
            .map(|(k, v)| (SmolStr::from(k.as_str()), text(v)))
            .collect();
        let mut ids = vec![id.clone()];
        ids.extend(groups.iter().cloned());
        Built {
            uid: id.clone(),
            entities: vec![entity(id, attrs, &groups, tags)],
            ids,
        }
    }

    /// An owner who is not part of the chain: known by name only, so in no group.
    pub fn owner(&self, actor: &Actor) -> Option<Arc<Entity>> {
        let owner = actor.owner.as_deref()?;
        let id = uid(&self.types.user, owner);
        Some(entity(id, vec![(key("mfa"), flag(false))], &[], Vec::new()))
    }

    pub fn resource(&self, access: &Access) -> Result<Built, BuildError> {
        let types = &self.types;
        let target = access.target.as_deref();
        let needed = |what| target.ok_or(BuildError::NoTarget(what));
        match &access.resource {
            Resource::PgDatabase { database } => {
                Ok(self.chain(needed("a database")?, database, None, None))
            }
            Resource::PgSchema { database, schema } => {
                Ok(self.chain(needed("a schema")?, database, Some(schema), None))
            }
            Resource::PgTable {
                database,
                schema,
                table,
                known,
                labels,
            } => {
                let target = needed("a table")?;
                let above = self.chain(target, database, Some(schema), None);
                Ok(self.table(
                    target,
                    above,
                    (database, schema, table),
                    *known,
                    Some(labels),
                ))
            }
            Resource::PgColumn { database, column } => {
                Ok(self.column(needed("a column")?, database, column))
            }
            Resource::PgFunction { .. } => self.function(needed("a function")?, &access.resource),
            Resource::PgRole { role } => Ok(self.role(needed("a role")?, role)),
            Resource::SshAccount { .. }
            | Resource::SshProgram { .. }
            | Resource::SshFile { .. }
            | Resource::SshEndpoint { .. }
            | Resource::SshVariable { .. }
            | Resource::SshSubsystem { .. } => {
                let what = "what is on a host";
                self.on_host(needed(what)?, &access.resource)?
                    .ok_or(BuildError::NoTarget(what))
            }
            Resource::Target => Ok(match target {
                Some(target) => self.target(target),
                None => bare(uid(&types.system, SYSTEM_ID)),
            }),
            Resource::Session { id, owner } => {
                let id = uid(&types.session, id.to_string());
                let attrs = vec![(key("owner"), refer(uid(&types.user, &**owner)))];
                Ok(under(target.map(|t| self.target(t)), id, attrs))
            }
            Resource::Bundle { digest, author } => {
                let id = uid(&types.bundle, &**digest);
                let attrs = author
                    .iter()
                    .map(|author| (key("author"), refer(uid(&types.user, &**author))))
                    .collect();
                Ok(under(None, id, attrs))
            }
            Resource::Plugin { name } => Ok(bare(uid(&types.plugin, &**name))),
            Resource::ApprovalRule { rule, .. } => Ok(bare(uid(&types.approval_rule, &**rule))),
        }
    }

    fn env(&self, target: &Target) -> (SmolStr, Value) {
        (key("env"), refer(uid(&self.types.env, &*target.env)))
    }

    pub fn target(&self, target: &Target) -> Built {
        let id = uid(&self.types.target, &*target.name);
        let attrs = vec![
            self.env(target),
            (key("protocol"), text(target.protocol.as_str())),
        ];
        let tags = target
            .tags
            .iter()
            .map(|(k, v)| (SmolStr::from(k.as_str()), text(v)))
            .collect();
        Built {
            uid: id.clone(),
            entities: vec![entity(id.clone(), attrs, &[], tags)],
            ids: vec![id],
        }
    }

    fn role(&self, target: &Target, role: &str) -> Built {
        let id = uid(&self.types.pg_role, path(&[&target.name, role]));
        let attrs = vec![self.env(target), (key("name"), text(role))];
        under(Some(self.target(target)), id, attrs)
    }

    /// Target ← Database ← Schema.
    fn chain(
        &self,
        target: &Target,
        database: &str,
        schema: Option<&Arc<str>>,
        catalog: Option<bool>,
    ) -> Built {
        let attrs = vec![self.env(target), (key("name"), text(database))];
        let id = uid(&self.types.pg_database, path(&[&target.name, database]));
        let built = under(Some(self.target(target)), id, attrs);
        let Some(schema) = schema else {
            return built;
        };
        let catalog = catalog.unwrap_or_else(|| is_catalog(schema));
        let attrs = vec![
            self.env(target),
            (key("name"), text(schema)),
            (key("catalog"), flag(catalog)),
        ];
        let id = uid(
            &self.types.pg_schema,
            path(&[&target.name, database, schema]),
        );
        under(Some(built), id, attrs)
    }

    fn table(
        &self,
        target: &Target,
        above: Built,
        (database, schema, table): (&str, &str, &str),
        known: bool,
        labels: Option<&LabelSet>,
    ) -> Built {
        let id = uid(
            &self.types.pg_table,
            path(&[&target.name, database, schema, table]),
        );
        let attrs = vec![
            self.env(target),
            (key("schema"), text(schema)),
            (key("name"), text(table)),
            (key("known"), flag(known)),
            (key("catalog"), flag(is_catalog(schema))),
            (key("labels"), self.labels(labels)),
        ];
        under(Some(above), id, attrs)
    }

    /// A column under its table. Only what is known of the column is said of the table.
    fn column(&self, target: &Target, database: &str, column: &Column) -> Built {
        let (schema, table) = (&column.schema, &column.table);
        let above = self.chain(target, database, Some(schema), None);
        let labels = Some(&column.labels);
        let above = self.table(target, above, (database, schema, table), true, labels);
        let id = uid(
            &self.types.pg_column,
            path(&[&target.name, database, schema, table, &column.column]),
        );
        let attrs = vec![
            self.env(target),
            (key("schema"), text(schema)),
            (key("table"), text(table)),
            (key("name"), text(&column.column)),
            (key("labels"), self.labels(labels)),
        ];
        under(Some(above), id, attrs)
    }

    fn function(&self, target: &Target, resource: &Resource) -> Result<Built, BuildError> {
        let Resource::PgFunction {
            database,
            schema,
            function,
            known,
            volatile,
            security_definer,
            dangerous,
        } = resource
        else {
            return Err(BuildError::NoTarget("a function"));
        };
        let above = self.chain(target, database, Some(schema), None);
        let id = uid(
            &self.types.pg_function,
            path(&[&target.name, database, schema, function]),
        );
        let attrs = vec![
            self.env(target),
            (key("schema"), text(schema)),
            (key("name"), text(function)),
            (key("known"), flag(*known)),
            (key("catalog"), flag(is_catalog(schema))),
            (key("volatile"), flag(*volatile)),
            (key("securityDefiner"), flag(*security_definer)),
            (key("dangerous"), flag(*dangerous)),
        ];
        Ok(under(Some(above), id, attrs))
    }

    fn labels(&self, labels: Option<&LabelSet>) -> Value {
        refer_set(
            &self.types.label,
            labels.into_iter().flatten().map(|l| SmolStr::from(&**l)),
        )
    }

    /// The context of one access. What no policy of the slice reads is left out; Cedar cannot tell.
    pub fn context(
        &self,
        question: &Question<'_>,
        access: &Access,
        approvals: &mut dyn Iterator<Item = &str>,
        extra: Extra,
        reads: Reads,
    ) -> Result<Context, BuildError> {
        let mut top = BTreeMap::new();
        top.insert(key("base"), self.base(question, approvals, reads)?);
        let (sql, ssh) = match question.facts {
            Some(Facts::Sql(sql)) => (Some(sql), None),
            Some(Facts::Ssh(ssh)) => (None, Some(ssh)),
            Some(Facts::Connect { .. }) | None => (None, None),
        };
        match (extra, sql) {
            (Extra::Sql, None) => return Err(BuildError::NoStatement),
            (Extra::Sql | Extra::MaybeSql, Some(sql)) => {
                top.insert(key("sql"), self.sql(sql, access, reads));
            }
            (Extra::Ssh | Extra::MaybeSsh, _) => match ssh {
                Some(ssh) => {
                    top.insert(key("ssh"), self.ssh(ssh, reads)?);
                }
                None if extra == Extra::Ssh => return Err(BuildError::NoStatement),
                None => {}
            },
            (Extra::Requesters, _) => {
                if let Resource::ApprovalRule { requesters, .. } = &access.resource {
                    let ids = requesters.iter().map(|r| SmolStr::from(&**r));
                    top.insert(key("requesters"), refer_set(&self.types.user, ids));
                }
            }
            (Extra::MaybeSql | Extra::None, _) => {}
        }
        Ok(Context::Value(Arc::new(top)))
    }

    fn base(
        &self,
        question: &Question<'_>,
        approvals: &mut dyn Iterator<Item = &str>,
        reads: Reads,
    ) -> Result<Value, BuildError> {
        let types = &self.types;
        let mut out: Attrs = Vec::with_capacity(12);
        if reads.has(Reads::NOW) {
            out.push((key("now"), datetime(question.now)?));
        }
        if reads.has(Reads::CLOCK) {
            let (day, minute) = civil::weekday_and_minute(question.now);
            let clock = vec![(key("dayOfWeek"), long(day)), (key("minute"), long(minute))];
            out.push((key("clock"), record(clock)));
        }
        if reads.has(Reads::SOURCE) {
            out.push((key("sourceIp"), ip(question.source)?));
        }
        out.push((key("session"), text(question.session)));
        out.push((key("issuer"), text(&question.principal.issuer)));
        if reads.has(Reads::CHAIN) {
            let links = &question.principal.on_behalf_of;
            if let Some(head) = links.first().filter(|a| a.kind == PrincipalKind::User) {
                let head = uid(&types.user, &*head.subject);
                out.push((key("onBehalfOf"), refer(head)));
            }
            let agents = links
                .iter()
                .filter(|a| a.kind == PrincipalKind::Agent)
                .map(|a| SmolStr::from(&*a.subject));
            out.push((key("chain"), refer_set(&types.agent, agents)));
        }
        if self.logins && reads.has(Reads::LOGIN) {
            let proof = &question.principal.proof;
            if let Some(login) = proof.login {
                out.push((key("login"), refer(uid(&types.login, login.as_str()))));
            }
            let amr = proof.amr.iter().map(|method| Literal::from(&**method));
            out.push((key("amr"), Value::set_of_lits(amr, None)));
            if let Some(acr) = &proof.acr {
                out.push((key("acr"), text(acr)));
            }
        }
        if reads.has(Reads::RISK) {
            let labels = question
                .risk
                .labels
                .iter()
                .map(|l| SmolStr::from(l.as_str()));
            let risk = vec![
                (key("score"), long(i64::from(question.risk.score))),
                (key("labels"), refer_set(&types.risk_label, labels)),
            ];
            out.push((key("risk"), record(risk)));
        }
        let approvals = approvals.map(SmolStr::from);
        out.push((key("approvals"), refer_set(&types.approval_rule, approvals)));
        Ok(record(out))
    }

    fn sql(&self, sql: &SqlFacts, access: &Access, reads: Reads) -> Value {
        let types = &self.types;
        let mut out: Attrs = vec![
            (key("kind"), refer(uid(&types.sql_kind, sql.kind.as_str()))),
            (key("hasWhere"), flag(sql.has_where)),
            (key("hasLimit"), flag(sql.has_limit)),
            (key("multiStatement"), flag(sql.multi_statement)),
            (key("touchesCatalog"), flag(sql.touches_catalog)),
            (key("writes"), flag(sql.writes)),
            (key("locks"), flag(sql.locks)),
            (key("parsed"), flag(sql.parsed)),
            (key("readOnlyTxn"), flag(sql.read_only_txn)),
        ];
        if let Some(limit) = sql.limit {
            out.push((key("limit"), long(limit)));
        }
        if reads.has(Reads::OBJECTS) {
            let target = access.target.as_ref().map_or("", |t| &*t.name);
            let database = database_of(&access.resource);
            let tables = sql
                .reads
                .iter()
                .chain(&sql.writes_to)
                .map(|r| path(&[target, database, &r.schema, &r.name]));
            out.push((key("tables"), refer_set(&types.pg_table, tables)));
            let functions = sql.functions.iter().map(|f| Literal::from(&**f));
            out.push((key("functions"), Value::set_of_lits(functions, None)));
        }
        record(out)
    }
}

/// The database that a resource lies in; empty for what is in none.
pub(crate) fn database_of(resource: &Resource) -> &str {
    match resource {
        Resource::PgDatabase { database }
        | Resource::PgSchema { database, .. }
        | Resource::PgTable { database, .. }
        | Resource::PgColumn { database, .. }
        | Resource::PgFunction { database, .. } => database,
        Resource::PgRole { .. }
        | Resource::SshAccount { .. }
        | Resource::SshProgram { .. }
        | Resource::SshFile { .. }
        | Resource::SshEndpoint { .. }
        | Resource::SshVariable { .. }
        | Resource::SshSubsystem { .. }
        | Resource::Target
        | Resource::Session { .. }
        | Resource::Bundle { .. }
        | Resource::Plugin { .. }
        | Resource::ApprovalRule { .. } => "",
    }
}

/// PostgreSQL's own schemas. A user cannot create one that begins with `pg_`.
fn is_catalog(schema: &str) -> bool {
    schema == "information_schema" || schema == "pg_catalog" || schema == "pg_toast"
}

fn bare(uid: EntityUID) -> Built {
    under(None, uid, Vec::new())
}

/// An entity below `above`, with all of its ancestors.
fn under(above: Option<Built>, uid: EntityUID, attrs: Attrs) -> Built {
    let (mut entities, mut ids) = match above {
        Some(above) => (above.entities, above.ids),
        None => (Vec::new(), Vec::new()),
    };
    entities.insert(0, entity(uid.clone(), attrs, &ids, Vec::new()));
    ids.insert(0, uid.clone());
    Built { uid, entities, ids }
}

fn datetime(at: SystemTime) -> Result<Value, BuildError> {
    extension("datetime", &civil::rfc3339_millis(at))
}

/// An IPv4 address that arrives as IPv6 must match the ranges written for IPv4.
fn ip(address: IpAddr) -> Result<Value, BuildError> {
    extension("ip", &address.to_canonical().to_string())
}

fn extension(function: &'static str, argument: &str) -> Result<Value, BuildError> {
    let fail = |error: String| BuildError::Extension(function, error);
    let name = Name::parse_unqualified_name(function).map_err(|e| fail(e.to_string()))?;
    let value = Extensions::all_available()
        .func(&name)
        .map_err(|e| fail(e.to_string()))?
        .call(&[text(argument)])
        .map_err(|e| fail(e.to_string()))?;
    Value::try_from(value).map_err(|e| fail(e.to_string()))
}

/// Does this kind of resource lie below a target at all, and is there one?
pub(crate) fn target_missing(kind: ResourceKind, access: &Access) -> bool {
    kind.needs_target() && access.target.is_none()
}
