//! The indexed evaluation against Cedar's own, on random policies and requests.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{AuthorizationError, Authorizer, Decision, Entities, PolicySet, Request};
use pipeline::{
    Access, Action, Actor, Facts, LabelSet, PrincipalKind, Resource, SqlKind, SshCommand, SshFacts,
    SshKind, SshPath,
};

use super::kit::{Ask, Dice, default_bundle, short, sql, target};
use crate::CompiledBundle;
use crate::reads::Reads;
use crate::vocab::{ResourceKind, action_facts, is_ssh, uid};

const PRINCIPALS: &[&str] = &[
    "principal",
    "principal",
    "principal is User",
    "principal is Agent",
    "principal in Group::\"a\"",
    "principal in Group::\"b\"",
    "principal is User in Group::\"a\"",
    "principal == User::\"u0\"",
    "principal == Agent::\"u1\"",
    "principal in User::\"u0\"",
];
const ACTIONS: &[&str] = &[
    "action",
    "action in Action::\"any\"",
    "action in [Action::\"read\", Action::\"write\"]",
    "action in Action::\"ddl\"",
    "action == Action::\"postgres:select\"",
    "action == Action::\"postgres:drop\"",
    "action in Action::\"relief\"",
    "action in Action::\"ssh\"",
    "action in [Action::\"ssh:forward\", Action::\"ssh:file_write\"]",
    "action == Action::\"ssh:exec\"",
    "action in [Action::\"postgres:call\", Action::\"control\"]",
];
const RESOURCES: &[&str] = &[
    "resource",
    "resource",
    "resource is Pg::Table",
    "resource is Pg::Function",
    "resource in Target::\"shop-prod\"",
    "resource in Target::\"shop-dev\"",
    "resource in Pg::Schema::\"shop-prod/d/s0\"",
    "resource == Pg::Table::\"shop-prod/d/s0/t0\"",
    "resource is Pg::Table in Pg::Database::\"shop-dev/d\"",
    "resource in Pg::Table::\"shop-prod/d/s1/t1\"",
    "resource == Weir::System::\"weir\"",
    "resource is Ssh::Program",
    "resource in Ssh::Account::\"shop-prod/l0\"",
    "resource is Ssh::File in Target::\"shop-prod\"",
];
/// Some of these fail on some requests: attributes that are not there, numbers that overflow.
const CONDITIONS: &[&str] = &[
    "true",
    "resource.env == Env::\"prod\"",
    "context.base.risk.score > 50",
    "context.base.risk.score * 200000000000000000 > 50",
    "context.base has onBehalfOf",
    "context.base.onBehalfOf in Group::\"a\"",
    "context.base.chain.contains(Agent::\"u1\")",
    "context.sql.hasWhere",
    "context has sql && context.sql.parsed",
    "resource.labels.contains(Label::\"pii\")",
    "resource has known && !resource.known",
    "principal.mfa",
    "principal has owner && principal.owner in Group::\"b\"",
    "principal.getTag(\"x\") == \"y\"",
    "principal.hasTag(\"x\")",
    "context.base.now > datetime(\"2026-01-01\")",
    "context.base.clock.minute + 9223372036854775000 > 5",
    "context.base.sourceIp.isInRange(ip(\"10.0.0.0/8\"))",
    "context.base.session == \"s1\"",
    "context.base.issuer == \"test\"",
    "context.sql.tables.contains(Pg::Table::\"shop-prod/d/s0/t0\")",
    "context.sql.functions.contains(\"s.f\")",
    "context.sql.limit < 10",
    "resource in Pg::Schema::\"shop-prod/d/s1\"",
    "resource.author == principal",
    "context.requesters.contains(principal)",
    "action in Action::\"destroy\"",
    "context has ssh && context.ssh.parsed",
    "context.ssh.onlyReads",
    "context.ssh.programs.contains(\"t0\")",
    "context.ssh.writes.under.contains(\"/s1\")",
    "context.ssh.reads.parts.contains(\".ssh\")",
    "context.ssh.by.contains(\"sudo\") && context.ssh.users.contains(\"root\")",
    "context.ssh.kind == SshKind::\"exec\"",
    "resource.path like \"/s0/*\"",
    "resource.port == 22 && !resource.loopback",
    "Action::\"postgres:drop\" in Action::\"ddl\"",
    "User::\"u0\" in Group::\"a\"",
    "Target::\"shop-prod\".env == Env::\"prod\"",
    "context.base.approvals.contains(ApprovalRule::\"risky\")",
];

/// Random policies, not validated: what is compared is how they are evaluated.
fn policies(dice: &mut Dice, count: usize) -> String {
    let mut out = String::new();
    for i in 0..count {
        let effect = dice.pick(&["permit", "permit", "forbid"]);
        let mut text = format!(
            "@id(\"p{i}\") {effect} ({}, {}, {})",
            dice.pick(PRINCIPALS),
            dice.pick(ACTIONS),
            dice.pick(RESOURCES)
        );
        for _ in 0..dice.roll(3) {
            let clause = dice.pick(&["when", "unless"]);
            text += &format!(" {clause} {{ {} }}", dice.pick(CONDITIONS));
        }
        out += &text;
        out += ";\n";
    }
    out
}

fn actor(dice: &mut Dice) -> Actor {
    let kind = dice.pick(&[
        PrincipalKind::User,
        PrincipalKind::Agent,
        PrincipalKind::Workload,
    ]);
    let groups: Vec<&str> = ["a", "b", "never-named"]
        .into_iter()
        .filter(|_| dice.roll(2) == 0)
        .collect();
    let mut actor = Actor::new(kind, dice.pick(&["u0", "u1"]), &groups);
    actor.mfa = dice.roll(2) == 0;
    if kind == PrincipalKind::Agent && dice.roll(2) == 0 {
        actor.owner = Some(dice.pick(&["u0", "boss"]).into());
    }
    if dice.roll(2) == 0 {
        actor
            .attrs
            .insert("x".into(), dice.pick(&["y", "z"]).into());
    }
    actor
}

fn access(dice: &mut Dice) -> Access {
    let action = dice.pick(Action::ALL);
    let kind = dice.pick(action_facts(action).resources);
    let (schema, name): (&str, &str) = (dice.pick(&["s0", "s1"]), dice.pick(&["t0", "t1"]));
    let (database, known) = ("d".into(), dice.roll(4) > 0);
    let labels: LabelSet = ["pii", "secret"]
        .into_iter()
        .filter(|_| dice.roll(2) == 0)
        .map(Into::into)
        .collect();
    let resource = match kind {
        ResourceKind::Database => Resource::PgDatabase { database },
        ResourceKind::Schema => Resource::PgSchema {
            database,
            schema: schema.into(),
        },
        ResourceKind::Table => Resource::PgTable {
            database,
            schema: schema.into(),
            table: name.into(),
            known,
            labels,
        },
        ResourceKind::Column => Resource::PgColumn {
            database,
            column: pipeline::Column {
                schema: schema.into(),
                table: name.into(),
                column: "c".into(),
                labels,
            },
        },
        ResourceKind::Function => Resource::PgFunction {
            database,
            schema: schema.into(),
            function: name.into(),
            known,
            volatile: dice.roll(2) == 0,
            security_definer: false,
            dangerous: false,
        },
        ResourceKind::Role => Resource::PgRole { role: name.into() },
        ResourceKind::Account => Resource::SshAccount { login: name.into() },
        ResourceKind::Program => Resource::SshProgram {
            login: "l0".into(),
            name: name.into(),
            path: format!("/bin/{name}").into(),
            known,
        },
        ResourceKind::File => Resource::SshFile {
            login: "l0".into(),
            path: format!("/{schema}/{name}").into(),
            known,
        },
        ResourceKind::Endpoint => Resource::SshEndpoint {
            host: name.into(),
            port: dice.pick(&[22, 5432]),
            loopback: !known,
            own_ssh: known,
        },
        ResourceKind::Variable => Resource::SshVariable {
            login: "l0".into(),
            name: name.into(),
            value: dice.pick(&["C", "zh_TW.BIG5"]).into(),
        },
        ResourceKind::Subsystem => Resource::SshSubsystem {
            login: "l0".into(),
            name: name.into(),
        },
        ResourceKind::Target | ResourceKind::System => Resource::Target,
        ResourceKind::Session => Resource::Session {
            id: pipeline::SessionId(Default::default()),
            owner: "u0".into(),
        },
        ResourceKind::Bundle => Resource::Bundle {
            digest: "x".into(),
            author: (dice.roll(2) == 0).then(|| "u0".into()),
        },
        ResourceKind::Plugin => Resource::Plugin { name: "p".into() },
        ResourceKind::ApprovalRule => Resource::ApprovalRule {
            rule: "risky".into(),
            requesters: vec!["u0".into()],
        },
    };
    let with_target = kind.needs_target() || kind == ResourceKind::Target;
    Access {
        action,
        resource,
        target: with_target.then(|| target(dice.pick(&["prod", "dev"]))),
    }
}

fn question(dice: &mut Dice) -> Ask {
    let chain: Vec<Actor> = (0..dice.roll(3)).map(|_| actor(dice)).collect();
    let mut ask = Ask::new(actor(dice), &[access(dice)])
        .on_behalf_of(&chain)
        .risk(dice.roll(101) as u8);
    let mut facts = sql(dice.pick(&[SqlKind::Select, SqlKind::Update]));
    facts.has_where = dice.roll(2) == 0;
    facts.parsed = dice.roll(4) > 0;
    facts.limit = (dice.roll(2) == 0).then(|| dice.roll(20) as i64);
    facts.functions = (0..dice.roll(2)).map(|_| "s.f".into()).collect();
    facts.reads = (0..dice.roll(2))
        .map(|_| pipeline::Relation {
            schema: "s0".into(),
            name: "t0".into(),
            labels: LabelSet::new(),
        })
        .collect();
    ask = ask.facts(|f| *f = facts);
    if is_ssh(ask.accesses[0].action) {
        ask.facts = Some(Facts::Ssh(Arc::new(ssh(dice))));
    }
    if dice.roll(3) == 0 {
        ask = ask.approved(&["risky"]);
    }
    if dice.roll(3) == 0 {
        ask.session = "s2".into();
        ask.source = "192.0.2.7".parse().expect("an address");
    }
    ask
}

fn ssh(dice: &mut Dice) -> SshFacts {
    let kind = dice.pick(&SshKind::ALL);
    let mut facts = SshFacts::plain(kind, "l0".into(), "text".into());
    facts.parsed = dice.roll(4) > 0;
    facts.only_reads = dice.roll(2) == 0;
    facts.commands = (0..dice.roll(3))
        .map(|_| SshCommand {
            argv: vec![dice.pick(&["/bin/t0", "t1"]).into()],
            by: (0..dice.roll(2)).map(|_| "sudo".into()).collect(),
            dynamic: dice.roll(4) == 0,
            as_user: (dice.roll(4) == 0).then(|| "root".into()),
        })
        .collect();
    facts.paths = (0..dice.roll(3))
        .map(|_| SshPath {
            path: dice.pick(&["/s0/t0", "/tmp/../s1/t1", "~/.ssh/rc"]).into(),
            writes: dice.roll(2) == 0,
        })
        .collect();
    facts.env = (0..dice.roll(2))
        .map(|_| (dice.pick(&["t0", "LANG"]).into(), "x".into()))
        .collect();
    facts
}

/// The same request, in full, over all policies, by Cedar's own authorizer.
fn whole(bundle: &CompiledBundle, ask: &Ask, link: usize) -> (bool, BTreeSet<String>) {
    let question = ask.question();
    let access = &ask.accesses[0];
    let builder = &bundle.builder;
    let principal = builder.actor(question.principal.chain().nth(link).expect("a link"));
    let resource = builder.resource(access).expect("a resource");
    let mut entities = principal.entities.clone();
    entities.extend(resource.entities.iter().cloned());
    let mut add = |entity: std::sync::Arc<cedar_policy_core::ast::Entity>| {
        if !entities.iter().any(|e| e.uid() == entity.uid()) {
            entities.push(entity);
        }
    };
    let links: Vec<_> = question
        .principal
        .chain()
        .map(|a| builder.actor(a))
        .collect();
    // The last one of a name counts, as everywhere.
    links
        .iter()
        .rev()
        .flat_map(|l| l.entities.clone())
        .for_each(&mut add);
    question
        .principal
        .chain()
        .filter_map(|a| builder.owner(a))
        .for_each(&mut add);
    let mut approvals = ask.approvals.iter().map(|a| &**a);
    let extra = action_facts(access.action).extra;
    let context = builder
        .context(&question, access, &mut approvals, extra, Reads::ALL)
        .expect("a context");
    let action = uid(&builder.types.action, access.action.as_str());
    let request = Request::new(
        principal.uid.clone().into(),
        action.into(),
        resource.uid.clone().into(),
        context.into(),
        None,
    )
    .expect("a request");
    let entities = entities
        .iter()
        .filter(|e| e.uid().entity_type() != &builder.types.approval_rule)
        .map(|e| cedar_policy::Entity::from((**e).clone()));
    let entities = Entities::from_entities(entities, Some(&bundle.schema))
        .expect("entities that fit the schema");
    let response = Authorizer::new().is_authorized(&request, &bundle.whole, &entities);
    let failed: Vec<String> = response
        .diagnostics()
        .errors()
        .map(|e| match e {
            AuthorizationError::PolicyEvaluationError(e) => e.policy_id().to_string(),
        })
        .collect();
    let permit = response.decision() == Decision::Allow && failed.is_empty();
    let mut policies: BTreeSet<String> = response
        .diagnostics()
        .reason()
        .map(|id| id.to_string())
        .collect();
    if !permit && response.decision() == Decision::Allow {
        policies.clear();
    }
    policies.extend(failed);
    (permit, policies)
}

#[test]
fn slices_decide_like_the_whole() {
    let base = default_bundle();
    let mut dice = Dice::new(1);
    let (mut permits, mut errors, mut asked) = (0, 0, 0);
    for round in 0..25 {
        let count = 5 + dice.roll(60);
        let text = policies(&mut dice, count);
        let bundle = base.with_unchecked(&text);
        for _ in 0..60 {
            let ask = question(&mut dice);
            let links = ask.principal.chain().count();
            for link in 0..links {
                let kind = ask.principal.chain().nth(link).expect("a link").kind;
                let access = &ask.accesses[0];
                let resource = ResourceKind::of(&access.resource, access.target.is_some());
                if !bundle.program.applies(kind, access.action, resource) {
                    continue;
                }
                asked += 1;
                let expect = whole(&bundle, &ask, link);
                for cached in [false, true] {
                    let judged = crate::decide::judge_one(&bundle, &ask.question(), access, link);
                    errors += usize::from(
                        judged
                            .reasons
                            .iter()
                            .any(|r| r.contains("could not be evaluated")),
                    );
                    let got: BTreeSet<String> =
                        judged.policies.iter().map(|p| p.to_string()).collect();
                    assert_eq!(
                        (judged.permit, got),
                        expect,
                        "round {round}, link {link}, cached {cached}\n{:#?}\n{text}",
                        ask.question().accesses
                    );
                }
                permits += usize::from(expect.0);
            }
        }
    }
    assert!(
        permits * 20 > asked,
        "{permits} of {asked}: hardly anything was permitted"
    );
    assert!(errors > 100, "{errors}: hardly anything failed");
}

#[test]
fn a_further_forbid_never_widens() {
    let base = default_bundle();
    let mut dice = Dice::new(7);
    let rank = |text: &str| match text {
        "deny" => 0,
        "permit" => 2,
        _ => 1,
    };
    let mut narrowed = 0;
    for _ in 0..80 {
        // Approvals may only help, as the lint has it; and something must be permitted at first.
        let text: String = policies(&mut dice, 6)
            .lines()
            .filter(|line| !line.contains("approvals"))
            .collect::<Vec<_>>()
            .join("\n");
        let text = format!(
            "{text}\n@id(\"all\") permit (principal, action in Action::\"any\", resource);\n\
             @id(\"held\") permit (principal, action in Action::\"control\", resource)\
             when {{ context.base.approvals.contains(ApprovalRule::\"risky\") }};"
        );
        let before = base.with_unchecked(&text);
        let forbid = policies(&mut dice, 1)
            .replacen("permit (", "forbid (", 1)
            .replace("\"p0\"", "\"new\"")
            .replace(
                "when { context.base.approvals",
                "unless { context.base.approvals",
            );
        let after = base.with_unchecked(&format!("{text}\n{forbid}"));
        for _ in 0..60 {
            let ask = question(&mut dice);
            let (old, new) = (short(&ask.of(&before)), short(&ask.of(&after)));
            assert!(
                rank(&new) <= rank(&old),
                "{old} became {new}\n{text}\n{forbid}"
            );
            narrowed += usize::from(rank(&new) < rank(&old));
        }
    }
    assert!(narrowed > 50, "{narrowed}: the forbids did nothing");
}

/// Cedar's own parser is the judge of where a policy begins and ends.
#[test]
fn the_scan_finds_as_many_policies_as_the_parser() {
    let mut dice = Dice::new(3);
    for _ in 0..50 {
        let count = 1 + dice.roll(30);
        let text = policies(&mut dice, count);
        let parsed: PolicySet = text.parse().expect("policies");
        let spans =
            crate::scan::policies("x", &text, &mut Default::default()).expect("within the limits");
        assert_eq!(spans.len(), parsed.num_of_policies());
    }
}
