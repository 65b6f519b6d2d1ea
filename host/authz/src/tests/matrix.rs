//! The role matrix: what each role of the default bundle can do, written down where a change shows.

use std::fmt::Write as _;
use std::path::Path;

use pipeline::ports::Policy;
use pipeline::{Access, Action, Actor, LabelSet, Resource, SqlKind};

use super::kit::{Ask, agent, column, default_bundle, host, short, sql, table, target, user};

mod hosts;

const FILE: &str = "role-matrix.md";
/// Set to any value to write the file anew.
const REGENERATE: &str = "WEIR_REGENERATE";

fn roles() -> Vec<(&'static str, Actor, Vec<Actor>)> {
    let dora = || user("dora", &["dba"]);
    let erin = || user("erin", &["engineering"]);
    let olga = || user("olga", &["operators"]);
    let bot = || agent("bot", &["agents"]);
    let mut ci = Actor::new(pipeline::PrincipalKind::Workload, "ci", &["ci"]);
    ci.attrs.insert("ref".into(), "refs/heads/main".into());
    vec![
        ("stranger", user("nobody", &[]), vec![]),
        ("engineering", erin(), vec![]),
        ("dba", dora(), vec![]),
        ("support", user("sam", &["support"]), vec![]),
        ("operators", olga(), vec![]),
        ("security", user("sec", &["security"]), vec![]),
        (
            "data-protection",
            user("paula", &["data-protection"]),
            vec![],
        ),
        ("auditors", user("audrey", &["auditors"]), vec![]),
        ("weir-admins", user("wanda", &["weir-admins"]), vec![]),
        ("ci, main branch", ci, vec![]),
        ("agent", bot(), vec![]),
        ("agent for engineering", bot(), vec![erin()]),
        ("agent for dba", bot(), vec![dora()]),
        ("agent for operators", bot(), vec![olga()]),
    ]
}

fn catalog(name: &str) -> Resource {
    Resource::PgTable {
        database: "shop".into(),
        schema: "pg_catalog".into(),
        table: name.into(),
        known: true,
        labels: LabelSet::new(),
    }
}

fn function(schema: &str, name: &str, dangerous: bool) -> Resource {
    Resource::PgFunction {
        database: "shop".into(),
        schema: schema.into(),
        function: name.into(),
        known: true,
        volatile: true,
        security_definer: false,
        dangerous,
    }
}

/// Name, environment, action, resource, and whether UPDATE and DELETE have a WHERE.
fn statements() -> Vec<(&'static str, &'static str, Action, Resource, bool)> {
    let database = || Resource::PgDatabase {
        database: "shop".into(),
    };
    let orders = || table("orders");
    vec![
        ("connect", "prod", Action::PostgresConnect, database(), true),
        (
            "BEGIN, SET, cursors",
            "prod",
            Action::PostgresSession,
            database(),
            true,
        ),
        ("SELECT", "prod", Action::PostgresSelect, orders(), true),
        ("COPY TO", "prod", Action::PostgresCopyOut, orders(), true),
        (
            "SELECT pg_class",
            "prod",
            Action::PostgresSelect,
            catalog("pg_class"),
            true,
        ),
        (
            "SELECT pg_stats",
            "prod",
            Action::PostgresSelect,
            catalog("pg_stats"),
            true,
        ),
        (
            "format_type()",
            "prod",
            Action::PostgresCall,
            function("pg_catalog", "format_type", false),
            true,
        ),
        (
            "a user function",
            "prod",
            Action::PostgresCall,
            function("public", "f", false),
            true,
        ),
        (
            "pg_read_file()",
            "prod",
            Action::PostgresCall,
            function("pg_catalog", "pg_read_file", true),
            true,
        ),
        ("INSERT", "prod", Action::PostgresInsert, orders(), true),
        (
            "UPDATE … WHERE",
            "prod",
            Action::PostgresUpdate,
            orders(),
            true,
        ),
        ("UPDATE", "prod", Action::PostgresUpdate, orders(), false),
        ("TRUNCATE", "prod", Action::PostgresTruncate, orders(), true),
        ("ALTER TABLE", "prod", Action::PostgresAlter, orders(), true),
        (
            "GRANT, VACUUM, DO",
            "prod",
            Action::PostgresUtility,
            database(),
            true,
        ),
        (
            "SET ROLE",
            "prod",
            Action::PostgresAssumeRole,
            Resource::PgRole {
                role: "owner".into(),
            },
            true,
        ),
        ("UPDATE", "staging", Action::PostgresUpdate, orders(), false),
        ("ALTER TABLE", "dev", Action::PostgresAlter, orders(), true),
        (
            "GRANT, VACUUM, DO",
            "dev",
            Action::PostgresUtility,
            database(),
            true,
        ),
    ]
}

fn control() -> Vec<(&'static str, Action, Resource)> {
    let bundle = |author: &str| Resource::Bundle {
        digest: "d".into(),
        author: Some(author.into()),
    };
    let rule = |name: &str| Resource::ApprovalRule {
        rule: name.into(),
        requesters: vec!["somebody".into()],
    };
    let session = || Resource::Session {
        id: pipeline::SessionId(Default::default()),
        owner: "somebody".into(),
    };
    let plugin = || Resource::Plugin { name: "p".into() };
    vec![
        ("list targets", Action::TargetRead, Resource::Target),
        ("read bundles", Action::BundleRead, bundle("somebody")),
        ("upload a bundle", Action::BundleUpload, bundle("somebody")),
        (
            "activate somebody's bundle",
            Action::BundleActivate,
            bundle("somebody"),
        ),
        (
            "activate wanda's bundle",
            Action::BundleActivate,
            bundle("wanda"),
        ),
        ("read plugins", Action::PluginRead, plugin()),
        ("upload a plugin", Action::PluginUpload, plugin()),
        ("read holds", Action::ApprovalRead, rule("risky")),
        (
            "vote on prod-bulk-write",
            Action::ApprovalVote,
            rule("prod-bulk-write"),
        ),
        (
            "vote on prod-hosts",
            Action::ApprovalVote,
            rule("prod-hosts"),
        ),
        ("vote on risky", Action::ApprovalVote, rule("risky")),
        ("search the record", Action::AuditRead, Resource::Target),
        ("see deliveries", Action::DeliveryRead, Resource::Target),
        (
            "see that a session is there",
            Action::SessionObserve,
            session(),
        ),
        ("watch a session", Action::SessionWatch, session()),
        ("end a session", Action::SessionTerminate, session()),
        ("erase a session", Action::RecordErase, Resource::Target),
        (
            "take a package of evidence",
            Action::EvidenceExport,
            Resource::Target,
        ),
        (
            "get an SSH certificate",
            Action::CertificateIssue,
            Resource::Target,
        ),
        (
            "revoke credentials",
            Action::CredentialRevoke,
            Resource::Target,
        ),
        ("register a key", Action::KeyRegister, Resource::Target),
        (
            "approve a host key",
            Action::HostKeyApprove,
            Resource::Target,
        ),
    ]
}

#[test]
fn the_matrix_is_as_written() {
    let bundle = default_bundle();
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for (name, env, action, resource, has_where) in statements() {
        let access = Access {
            action,
            resource,
            target: Some(target(env)),
        };
        for risk in [0, 75, 90] {
            // Risk is shown where it matters most.
            if risk > 0 && (name, env) != ("SELECT", "prod") {
                continue;
            }
            let cells = roles().into_iter().map(|(_, actor, chain)| {
                let ask = Ask::new(actor, std::slice::from_ref(&access))
                    .on_behalf_of(&chain)
                    .risk(risk)
                    .facts(|f| {
                        *f = pipeline::SqlFacts {
                            has_where,
                            ..sql(SqlKind::Select)
                        }
                    });
                short(&ask.of(&bundle))
            });
            let risk = if risk > 0 {
                format!(", risk {risk}")
            } else {
                String::new()
            };
            rows.push((format!("{name} ({env}{risk})"), cells.collect()));
        }
    }
    for (name, labels) in [
        ("email", vec!["pii", "pii.email"]),
        ("ssn", vec!["pii"]),
        ("password", vec!["secret"]),
    ] {
        for (env, approvals) in [
            ("prod", vec![]),
            (
                "prod",
                vec!["prod-bulk-write", "prod-ddl", "agent-write", "risky"],
            ),
            ("dev", vec![]),
        ] {
            let access = Access {
                action: Action::PostgresSelect,
                resource: table("customers"),
                target: Some(target(env)),
            };
            let column = column(name, &labels);
            let ask = |actor, chain: &[Actor], access: &Access| {
                Ask::new(actor, std::slice::from_ref(access))
                    .on_behalf_of(chain)
                    .approved(&approvals)
            };
            let shown = roles().into_iter().map(|(_, actor, chain)| {
                let ask = ask(actor, &chain, &access);
                let reveal = bundle.reveal(&ask.question(), &column, "shop");
                if reveal { "reveal" } else { "mask" }.to_owned()
            });
            let compute = Access::compute(&column, &"shop".into(), &target(env));
            let searched = roles()
                .into_iter()
                .map(|(_, actor, chain)| short(&ask(actor, &chain, &compute).of(&bundle)));
            let approved = if approvals.is_empty() {
                ""
            } else {
                ", all approved"
            };
            rows.push((format!("column {name} ({env}{approved})"), shown.collect()));
            let search = format!("search by column {name} ({env}{approved})");
            rows.push((search, searched.collect()));
        }
    }
    for (name, env, action, resource, change) in hosts::actions() {
        let access = Access {
            action,
            resource,
            target: Some(host(env)),
        };
        let cells = roles().into_iter().map(|(_, actor, chain)| {
            let ask = Ask::new(actor, std::slice::from_ref(&access)).on_behalf_of(&chain);
            short(&ask.on_host(change).of(&bundle))
        });
        rows.push((format!("{name} ({env})"), cells.collect()));
    }
    for (name, action, resource) in control() {
        let access = Access {
            action,
            resource,
            target: None,
        };
        let cells = roles().into_iter().map(|(_, actor, chain)| {
            let mut ask = Ask::new(actor, std::slice::from_ref(&access)).on_behalf_of(&chain);
            ask.facts = None;
            short(&ask.of(&bundle))
        });
        rows.push((name.to_owned(), cells.collect()));
    }
    compare(&render(&rows));
}

fn render(rows: &[(String, Vec<String>)]) -> String {
    let mut out = format!(
        "# What the roles of the default bundle can do\n\n\
         Written by a test of `authz`, which fails when this page no longer tells the truth. After an\n\
         intended change: `{REGENERATE}=1 cargo test -p authz the_matrix`, and review the difference.\n\n"
    );
    let names: Vec<&str> = roles().iter().map(|(name, _, _)| *name).collect();
    let _ = writeln!(out, "| | {} |", names.join(" | "));
    let _ = writeln!(out, "| --- {}|", "| --- ".repeat(names.len()));
    for (name, cells) in rows {
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    }
    out
}

fn compare(now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../policies")
        .join(FILE);
    if std::env::var_os(REGENERATE).is_some() {
        std::fs::write(&path, now).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written == now {
        return;
    }
    let changed: Vec<&str> = now
        .lines()
        .filter(|l| !written.lines().any(|w| w == *l))
        .collect();
    panic!(
        "policies/{FILE} is out of date; if the change is meant, run with {REGENERATE}=1. Now:\n{}",
        changed.join("\n")
    );
}
