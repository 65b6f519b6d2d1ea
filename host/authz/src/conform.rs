//! Does the bundle's schema fit what Weir will ask? Checked before anything is decided with it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use cedar_policy::{Entities, Request, Schema};
use pipeline::{
    Access, Action, Actor, Column, Facts, LabelSet, Login, Principal, PrincipalKind, Proof,
    Protocol, Question, Relation, Resource, Risk, SessionId, SqlFacts, SqlKind, SshCommand,
    SshFacts, SshKind, SshPath, Target,
};

use crate::build::Builder;
use crate::bundle::{MANIFEST, SCHEMA};
use crate::compile::CompiledBundle;
use crate::manifest::Manifest;
use crate::model::Model;
use crate::problem::{Problem, Problems};
use crate::reads::Reads;
use crate::vocab::{
    APART, Extra, GROUPS, LATER, PRINCIPAL_KINDS, ResourceKind, SSH_GROUPS, Types, action_facts,
    is_ssh, principal_type,
};

const LOGIN: &str = "Login";

/// Names that must be declared: actions, groups, and the enumerations that the manifest uses.
pub(crate) fn vocabulary(model: &Model, manifest: &Manifest, problems: &mut Problems) {
    let mut fail = |file: &str, message: String| problems.push(Problem::file(file, message));
    for group in GROUPS {
        if !model.has_action(group) {
            fail(SCHEMA, format!("the action group {group:?} is missing"));
        }
    }
    let known: BTreeSet<&str> = Action::ALL.iter().map(|a| a.as_str()).collect();
    for leaf in model.leaves() {
        if !known.contains(leaf) {
            fail(
                SCHEMA,
                format!("this Weir has no action {leaf:?}: nothing would ever ask for it"),
            );
        }
    }
    let has_ssh = has_ssh(model);
    for group in SSH_GROUPS.iter().filter(|_| has_ssh) {
        if !model.has_action(group) {
            fail(SCHEMA, format!("the action group {group:?} is missing"));
        }
    }
    for action in Action::ALL {
        let name = action.as_str();
        if !model.has_action(name) {
            if LATER.contains(action) || (is_ssh(*action) && !has_ssh) {
                continue;
            }
            fail(SCHEMA, format!("the action {name:?} is missing"));
            continue;
        }
        let facts = action_facts(*action);
        for group in facts.groups {
            if !model.is_in_group(name, group) {
                fail(
                    SCHEMA,
                    format!("the action {name:?} must be in the group {group:?}"),
                );
            }
        }
        for apart in APART.iter().chain(&["any"]) {
            if model.is_in_group(name, apart) && !facts.groups.contains(apart) {
                fail(
                    SCHEMA,
                    format!("the action {name:?} must not be in the group {apart:?}"),
                );
            }
        }
    }
    for (name, need) in [
        ("Env", BTreeSet::new()),
        ("RiskLabel", BTreeSet::new()),
        (
            "SqlKind",
            SqlKind::ALL.iter().map(|k| k.as_str().to_owned()).collect(),
        ),
        (
            "SshKind",
            SshKind::ALL.iter().map(|k| k.as_str().to_owned()).collect(),
        ),
        (
            LOGIN,
            Login::ALL.iter().map(|l| l.as_str().to_owned()).collect(),
        ),
        ("Label", labels_of(manifest)),
        ("ApprovalRule", rules_of(manifest)),
    ] {
        if name == "SshKind" && !has_ssh || name == LOGIN && !has_logins(model) {
            continue;
        }
        let Some(choices) = model.choices(name) else {
            fail(
                SCHEMA,
                format!("{name} must be an enumeration: entity {name} enum [ … ];"),
            );
            continue;
        };
        for missing in need.difference(choices) {
            fail(SCHEMA, format!("the enumeration {name} lacks {missing:?}"));
        }
        if name == "ApprovalRule" {
            for extra in choices.difference(&need) {
                let message =
                    format!("ApprovalRule {extra:?} of the schema has no [[approval_rule]]");
                fail(MANIFEST, message);
            }
        }
    }
}

/// What Weir asks of a bundle with this schema.
fn asked(model: &Model) -> impl Iterator<Item = &'static Action> + '_ {
    let has_ssh = has_ssh(model);
    let mut all = Action::ALL.iter();
    std::iter::from_fn(move || {
        all.find(|a| {
            let may_lack = LATER.contains(a) || (is_ssh(**a) && !has_ssh);
            model.has_action(a.as_str()) || !may_lack
        })
    })
}

/// Does it know of hosts at all? Without any of their actions nobody is permitted one of them, whatever a
/// policy without an action says; with some of them, the others must not be forgotten.
fn has_ssh(model: &Model) -> bool {
    let mut ssh = Action::ALL.iter().filter(|a| is_ssh(**a));
    ssh.any(|a| model.has_action(a.as_str()))
}

/// Does it know by what people come in? One that does not is told nothing of it.
pub(crate) fn has_logins(model: &Model) -> bool {
    model.choices(LOGIN).is_some()
}

fn labels_of(manifest: &Manifest) -> BTreeSet<String> {
    let labels = manifest.label_rules.iter().flat_map(|r| &r.labels);
    labels.map(|l| l.to_string()).collect()
}

fn rules_of(manifest: &Manifest) -> BTreeSet<String> {
    manifest.rules.iter().map(|r| r.name.to_string()).collect()
}

/// Builds one sample of everything that Weir can ask, with and without what is optional, and lets
/// Cedar check it against the schema. After this, requests need no validation when they are made.
pub(crate) fn samples(builder: &Builder, schema: &Schema, model: &Model, problems: &mut Problems) {
    for action in asked(model) {
        let facts = action_facts(*action);
        for kind in facts.resources {
            let entity = kind.entity_type(&builder.types).to_string();
            let user = builder.types.user.to_string();
            if !model.applies(action.as_str(), &user, &entity) {
                let message = format!(
                    "the action {:?} must apply to a User on {entity}: Weir asks for that",
                    action.as_str()
                );
                problems.push(Problem::file(SCHEMA, message));
            }
            for principal in PRINCIPAL_KINDS {
                let ty = principal_type(&builder.types, *principal).to_string();
                if !model.applies(action.as_str(), &ty, &entity) {
                    continue;
                }
                for full in [false, true] {
                    let sample = Sample {
                        action: *action,
                        principal: *principal,
                        kind: *kind,
                        full,
                        env: first(model, "Env"),
                        label: first(model, "Label"),
                        rule: first(model, "ApprovalRule"),
                        risk: first(model, "RiskLabel"),
                    };
                    if let Err(error) = sample.check(builder, schema, facts.extra) {
                        let message = format!(
                            "{:?} by {ty} on {entity}, as Weir asks for it, does not fit: {error}",
                            action.as_str()
                        );
                        problems.push(Problem::file(SCHEMA, message));
                    }
                }
            }
        }
    }
}

fn first(model: &Model, name: &str) -> Option<Arc<str>> {
    let choices = model.choices(name)?;
    choices.first().map(|c| c.as_str().into())
}

/// One request with nothing optional, or with everything.
struct Sample {
    action: Action,
    principal: PrincipalKind,
    kind: ResourceKind,
    full: bool,
    env: Option<Arc<str>>,
    label: Option<Arc<str>>,
    rule: Option<Arc<str>>,
    risk: Option<Arc<str>>,
}

impl Sample {
    fn check(&self, builder: &Builder, schema: &Schema, extra: Extra) -> Result<(), String> {
        let access = self.access();
        let principal = self.principal();
        let facts = match extra {
            Extra::Ssh | Extra::MaybeSsh => Facts::Ssh(Arc::new(self.ssh())),
            _ => Facts::Sql(Arc::new(self.sql())),
        };
        let is_optional = matches!(extra, Extra::MaybeSql | Extra::MaybeSsh);
        let approvals = self.rule.iter().filter(|_| self.full).cloned().collect();
        let risk = Risk {
            labels: self
                .risk
                .iter()
                .filter(|_| self.full)
                .map(|l| l.to_string())
                .collect(),
            ..Risk::default()
        };
        let question = Question {
            principal: &principal,
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            session: "s",
            now: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            facts: (!is_optional || self.full).then_some(&facts),
            risk: &risk,
            approvals: &approvals,
            accesses: std::slice::from_ref(&access),
        };
        let actor = builder.actor(&principal.actor);
        let resource = builder.resource(&access).map_err(|e| e.to_string())?;
        let mut names = approvals.iter().map(|a| &**a);
        let context = builder
            .context(&question, &access, &mut names, extra, Reads::ALL)
            .map_err(|e| e.to_string())?;
        Request::new(
            actor.uid.clone().into(),
            crate::vocab::uid(&builder.types.action, self.action.as_str()).into(),
            resource.uid.clone().into(),
            context.into(),
            Some(schema),
        )
        .map_err(|e| e.to_string())?;
        let built = actor.entities.iter().chain(&resource.entities);
        let entities = built
            .map(|e| cedar_policy::Entity::from((**e).clone()))
            // Enumerated entities are never in the store.
            .filter(|e| {
                self.kind != ResourceKind::ApprovalRule
                    || e.uid().type_name().to_string() != "ApprovalRule"
            });
        Entities::from_entities(entities, Some(schema))
            .map(|_| ())
            .map_err(|e| format!("{e}: {}", sources(&e)))
    }

    fn principal(&self) -> Principal {
        let mut actor = Actor::new(self.principal, "sample", &[]);
        let mut principal =
            Principal::direct(Actor::new(PrincipalKind::User, "u", &[]), "", UNIX_EPOCH);
        if self.full {
            actor.owner = Some("owner".into());
            actor.attrs.insert("email".into(), "x".into());
            principal.proof = Proof {
                login: Some(Login::Token),
                amr: vec!["otp".into()],
                acr: Some("x".into()),
            };
            principal.on_behalf_of = vec![
                Actor::new(PrincipalKind::User, "head", &[]),
                Actor::new(PrincipalKind::Agent, "between", &[]),
            ];
        }
        principal.actor = actor;
        principal
    }

    fn sql(&self) -> SqlFacts {
        let mut sql = SqlFacts::opaque("".into());
        if self.full {
            sql.limit = Some(1);
            sql.functions = vec!["s.f".into()];
            sql.reads = vec![Relation {
                schema: "s".into(),
                name: "t".into(),
                labels: LabelSet::new(),
            }];
        }
        sql
    }

    fn ssh(&self) -> SshFacts {
        let name: Arc<str> = "x".into();
        let mut ssh = SshFacts::opaque(SshKind::Exec, name.clone(), name.clone(), "why");
        if self.full {
            ssh.commands = vec![SshCommand {
                argv: vec![name.clone()],
                by: vec![name.clone()],
                dynamic: true,
                as_user: Some(name.clone()),
            }];
            let path = |writes| SshPath {
                path: "/x/y".into(),
                writes,
            };
            ssh.paths = vec![path(false), path(true)];
            ssh.env = vec![(name.clone(), name)];
        }
        ssh
    }

    fn access(&self) -> Access {
        let name: Arc<str> = "x".into();
        let labels: LabelSet = self.label.iter().filter(|_| self.full).cloned().collect();
        let (database, schema, table) = (name.clone(), name.clone(), name.clone());
        let resource = match self.kind {
            ResourceKind::Database => Resource::PgDatabase { database },
            ResourceKind::Schema => Resource::PgSchema { database, schema },
            ResourceKind::Table => Resource::PgTable {
                database,
                schema,
                table,
                known: true,
                labels,
            },
            ResourceKind::Column => Resource::PgColumn {
                database,
                column: Column {
                    schema,
                    table,
                    column: name.clone(),
                    labels,
                },
            },
            ResourceKind::Function => Resource::PgFunction {
                database,
                schema,
                function: name.clone(),
                known: true,
                volatile: false,
                security_definer: false,
                dangerous: false,
            },
            ResourceKind::Role => Resource::PgRole { role: name.clone() },
            ResourceKind::Account
            | ResourceKind::Program
            | ResourceKind::File
            | ResourceKind::Endpoint
            | ResourceKind::Variable
            | ResourceKind::Subsystem => on_host(self.kind, &name),
            ResourceKind::Target | ResourceKind::System => Resource::Target,
            ResourceKind::Session => Resource::Session {
                id: SessionId(Default::default()),
                owner: name.clone(),
            },
            ResourceKind::Bundle => Resource::Bundle {
                digest: name.clone(),
                author: self.full.then(|| name.clone()),
            },
            ResourceKind::Plugin => Resource::Plugin { name: name.clone() },
            ResourceKind::ApprovalRule => Resource::ApprovalRule {
                rule: self.rule.clone().unwrap_or_default(),
                requesters: if self.full {
                    vec![name.clone()]
                } else {
                    Vec::new()
                },
            },
        };
        let target = Target {
            name,
            protocol: Protocol::Postgres,
            env: self.env.clone().unwrap_or_default(),
            tags: self
                .full
                .then(|| ("tag".to_owned(), "x".to_owned()))
                .into_iter()
                .collect(),
        };
        let with_target = self.kind.needs_target()
            || self.kind == ResourceKind::Target
            || (self.full && self.kind == ResourceKind::Session);
        Access {
            action: self.action,
            resource,
            target: with_target.then(|| Arc::new(target)),
        }
    }
}

/// Of a kind that is on a host.
fn on_host(kind: ResourceKind, name: &Arc<str>) -> Resource {
    let (login, name) = (name.clone(), name.clone());
    match kind {
        ResourceKind::Program => Resource::SshProgram {
            login,
            path: name.clone(),
            name,
            known: true,
        },
        ResourceKind::File => Resource::SshFile {
            login,
            path: name,
            known: true,
        },
        ResourceKind::Endpoint => Resource::SshEndpoint {
            host: name,
            port: 22,
            loopback: false,
            own_ssh: false,
        },
        ResourceKind::Variable => Resource::SshVariable {
            login,
            value: name.clone(),
            name,
        },
        ResourceKind::Subsystem => Resource::SshSubsystem { login, name },
        _ => Resource::SshAccount { login },
    }
}

fn sources(error: &dyn std::error::Error) -> String {
    let mut out = Vec::new();
    let mut at = error.source();
    while let Some(error) = at {
        out.push(error.to_string());
        at = error.source();
    }
    out.join(": ")
}

/// Evaluates `forbid (principal, action in Action::"<group>", resource)` on requests built the way
/// Weir builds them. Action groups that do not match are the worst way to fail: every guard on them
/// is silently off, and nothing reports an error.
pub(crate) fn self_test(
    bundle: &CompiledBundle,
    schema: &Schema,
    model: &Model,
    problems: &mut Problems,
) {
    let Ok(actions) = schema.action_entities() else {
        problems.push(Problem::file(SCHEMA, "its actions form no hierarchy"));
        return;
    };
    for group in GROUPS.iter().chain(SSH_GROUPS) {
        for action in asked(model) {
            if let Err(message) = try_group(bundle, &actions, group, *action) {
                let message = format!("self-test: {message} for {:?}", action.as_str());
                problems.push(Problem::file(SCHEMA, message));
            }
        }
    }
}

fn try_group(
    bundle: &CompiledBundle,
    actions: &Entities,
    group: &str,
    action: Action,
) -> Result<(), String> {
    let probe = format!("forbid (principal, action in Action::{group:?}, resource);");
    let probe = cedar_policy::Policy::parse(None, probe).map_err(|e| e.to_string())?;
    let facts = action_facts(action);
    let sample = Sample {
        action,
        principal: PrincipalKind::User,
        kind: *facts.resources.first().ok_or("nothing to ask about")?,
        full: false,
        env: bundle.envs.first().map(|e| e.as_str().into()),
        label: None,
        rule: bundle.manifest.rules.first().map(|r| r.name.clone()),
        risk: None,
    };
    let fired = bundle.program.probe(
        &probe.as_ref().condition(),
        &bundle.builder,
        &sample.principal().actor,
        &sample.access(),
    )?;
    let declared = schema_says(actions, &bundle.builder.types, action.as_str(), group);
    if fired != declared || (facts.groups.contains(&group) && !fired) {
        let fires = if fired { "fires" } else { "does not fire" };
        return Err(format!("a policy on the group {group:?} {fires}"));
    }
    Ok(())
}

/// Is the action below the group, by Cedar's own reading of the schema?
fn schema_says(actions: &Entities, types: &Types, action: &str, group: &str) -> bool {
    let uid = |name: &str| cedar_policy::EntityUid::from(crate::vocab::uid(&types.action, name));
    actions.is_ancestor_of(&uid(group), &uid(action))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Program;
    use crate::tests::kit::default_bundle;

    /// Action entities without their groups are what the self-test is for: nothing else notices.
    #[test]
    fn the_self_test_notices_groups_that_do_not_match() {
        let mut bundle = default_bundle();
        let schema = bundle.schema.clone();
        let text = &bundle.source.files()[SCHEMA];
        let (json, _) = cedar_policy::schema_str_to_json_with_resolved_types(text)
            .unwrap_or_else(|e| panic!("{e}"));
        let model = Model::from_json(&json);
        let mut problems = Problems::default();
        self_test(&bundle, &schema, &model, &mut problems);
        assert!(problems.is_empty());

        let types = bundle.builder.types.clone();
        let none = cedar_policy_core::entities::Entities::new();
        bundle.program = Program::new(Vec::new(), &model, &types, none);
        self_test(&bundle, &schema, &model, &mut problems);
        let errors = problems.check().expect_err("no guard fires").to_string();
        assert!(
            errors.contains("\"any\" does not fire for \"postgres:select\""),
            "{errors}"
        );
    }
}
