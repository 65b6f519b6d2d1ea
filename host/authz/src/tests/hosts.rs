//! Hosts: bundles from before them, what wildcards do not grant, and that the cache tells them apart.

use std::sync::Arc;

use pipeline::{Access, Action, Resource, SshCommand, SshFacts, SshKind, SshPath, SshStdin};

use super::kit::{Ask, default_files, host, on_prod, only, reason, short, small, table, user};

const SCHEMA: &str = "schema.cedarschema";
const ALL: &str =
    r#"@id("grant.all") permit (principal in Group::"g", action in Action::"any", resource);"#;

fn account() -> Resource {
    Resource::SshAccount {
        login: "app".into(),
    }
}

fn program(path: &str) -> Resource {
    Resource::SshProgram {
        login: "app".into(),
        name: path.rsplit('/').next().unwrap_or(path).into(),
        path: path.into(),
        known: true,
    }
}

fn on_host(action: Action, resource: Resource) -> Access {
    Access {
        action,
        resource,
        target: Some(host("prod")),
    }
}

fn ask(group: &str, access: Access, change: impl FnOnce(&mut SshFacts)) -> Ask {
    Ask::new(user("erin", &[group]), &[access]).on_host(change)
}

/// The schema as it was before Weir knew hosts.
fn before() -> String {
    let mut schema = default_files()[SCHEMA].clone();
    for (begin, end) in [
        ("entity SshKind", ";\n"),
        ("namespace Ssh {", "\n}\n"),
        ("type SshPaths", ";\n}"),
        ("type Ssh =", "};\n"),
    ] {
        let from = schema.find(begin).unwrap_or_else(|| panic!("{begin}"));
        let to = match begin {
            "type SshPaths" => schema[from..].find("};\n").map(|at| at + 3),
            _ => schema[from..].find(end).map(|at| at + end.len()),
        };
        schema.replace_range(from..from + to.unwrap_or_else(|| panic!("{end}")), "");
    }
    while let Some(from) = schema.find("action \"ssh") {
        let to = from + schema[from..].find(';').unwrap_or_else(|| panic!("an end")) + 1;
        schema.replace_range(from..to, "");
    }
    schema
}

#[test]
fn a_bundle_from_before_hosts_goes_on_and_permits_nothing_there() {
    let schema = before();
    assert!(!schema.contains("\"ssh"), "{schema}");
    let bundle = small(&[("zz.cedar", ALL), (SCHEMA, &schema)]).unwrap_or_else(|e| panic!("{e}"));
    for action in Action::ALL {
        let access = match action.as_str() {
            "postgres:select" => on_prod(*action, table("t")),
            name if name.starts_with("ssh:") => on_host(*action, account()),
            _ => continue,
        };
        let ruling = ask("g", access.clone(), |_| {}).of(&bundle);
        if *action == Action::PostgresSelect {
            let ruling = Ask::new(user("erin", &["g"]), &[access]).of(&bundle);
            assert_eq!(short(&ruling), "permit");
            continue;
        }
        assert_eq!(short(&ruling), "deny", "{action:?}");
        let why = reason(&ruling);
        assert!(why.contains("cannot be asked for"), "{action:?}: {why}");
    }
}

#[test]
fn a_schema_that_knows_hosts_knows_all_of_them() {
    let schema = &default_files()[SCHEMA];
    for (name, from, to, expect) in [
        (
            "one is left out",
            "action \"ssh:forward_agent\", \"ssh:forward_x11\", \"ssh:tunnel\"",
            "action \"ssh:forward_agent\", \"ssh:forward_x11\"",
            "\"ssh:tunnel\" is missing",
        ),
        (
            "a write that no guard on writes sees",
            "action \"ssh:file_write\" in [\"ssh\", \"write\"];",
            "action \"ssh:file_write\" in [\"ssh\"];",
            "must be in the group \"write\"",
        ),
        (
            "forwarding that no guard on hosts sees",
            "action \"ssh:forward\" in [\"ssh\"];",
            "action \"ssh:forward\" in [\"any\"];",
            "must be in the group \"ssh\"",
        ),
        (
            "clear text for who may do anything",
            "action \"ssh:reveal\", \"ssh:input_unrecorded\" in [\"relief\"]",
            "action \"ssh:reveal\", \"ssh:input_unrecorded\" in [\"relief\", \"any\"]",
            "must not be in the group \"any\"",
        ),
        (
            "a kind that is not declared",
            "\"x11\",",
            "",
            "lacks \"x11\"",
        ),
        (
            "facts that are left out",
            "  parsed: Bool,                    // false: what it does cannot be told by reading it\n",
            "",
            "does not fit",
        ),
        (
            "paths of another form",
            "  paths: Set<String>,              // \"/etc/cron.d/x\"\n",
            "",
            "does not fit",
        ),
        (
            "a program that stands beside its account",
            "entity Program in [Account]",
            "entity Program in [Target]",
            "does not fit",
        ),
    ] {
        assert!(schema.contains(from), "{name}: the schema has no {from:?}");
        let changed = schema.replacen(from, to, 1);
        let error = small(&[(SCHEMA, &changed)])
            .map(|_| ())
            .expect_err(name)
            .to_string();
        assert!(error.contains(expect), "{name}: {expect:?}\n{error}");
    }
}

/// Whoever was given groups of actions was not given a way through the host.
#[test]
fn forwarding_is_in_no_group_that_is_granted() {
    let bundle = only(
        r#"@id("grant.wide") permit (
            principal in Group::"g",
            action in [
                Action::"connect", Action::"read", Action::"write", Action::"exec", Action::"admin",
                Action::"ddl", Action::"destroy"
            ],
            resource
        );"#,
    );
    let endpoint = || Resource::SshEndpoint {
        host: "db".into(),
        port: 5432,
        loopback: false,
        own_ssh: false,
    };
    let socket = || Resource::SshFile {
        login: "app".into(),
        path: "/run/x.sock".into(),
        known: true,
    };
    for (action, resource, expect) in [
        (Action::SshShell, account(), "permit"),
        (Action::SshForwardLocal, endpoint(), "deny"),
        (Action::SshForwardRemote, endpoint(), "deny"),
        (Action::SshForwardLocalSocket, socket(), "deny"),
        (Action::SshForwardRemoteSocket, socket(), "deny"),
        (Action::SshForwardAgent, account(), "deny"),
        (Action::SshForwardX11, account(), "deny"),
        (Action::SshTunnel, account(), "deny"),
        (Action::SshReveal, account(), "deny"),
        (Action::SshInputUnrecorded, account(), "deny"),
    ] {
        let ruling = ask("g", on_host(action, resource), |_| {}).of(&bundle);
        assert_eq!(short(&ruling), expect, "{action:?}");
    }
}

/// Each fact that a policy can read changes the answer, also when the other answer is in the cache.
#[test]
fn the_cache_tells_facts_apart() {
    let conditions = [
        "context.ssh.kind == SshKind::\"shell\"",
        "!context.ssh.parsed",
        "context.ssh.code",
        "context.ssh.dynamic",
        "context.ssh.pty",
        "context.ssh.hasStdin",
        "context.ssh.stdinOpen",
        "context.ssh.onlyReads",
        "context.ssh.opaque.contains(\"why\")",
        "context.ssh.programs.contains(\"rm\")",
        "context.ssh.by.contains(\"sudo\")",
        "context.ssh.users.contains(\"root\")",
        "context.ssh.variables.contains(\"LANG\")",
        "context.ssh.reads.paths.contains(\"/etc/x\")",
        "context.ssh.writes.under.contains(\"/etc\")",
    ];
    let command = |argv: &str, by: &[&str], user: Option<&str>| SshCommand {
        argv: vec![argv.into()],
        by: by.iter().map(|b| Arc::from(*b)).collect(),
        dynamic: false,
        as_user: user.map(Into::into),
    };
    let path = |path: &str, writes| SshPath {
        path: path.into(),
        writes,
    };
    type Change<'a> = Box<dyn Fn(&mut SshFacts) + 'a>;
    let changes: Vec<Change<'_>> = vec![
        Box::new(|f| f.kind = SshKind::Shell),
        Box::new(|f| f.parsed = false),
        Box::new(|f| f.code = true),
        Box::new(|f| {
            f.commands = vec![SshCommand {
                dynamic: true,
                ..command("x", &[], None)
            }]
        }),
        Box::new(|f| f.pty = true),
        Box::new(|f| {
            f.stdin = Some(SshStdin {
                sha256: [0; 32],
                bytes: 0,
                text: "".into(),
            })
        }),
        Box::new(|f| f.stdin_open = true),
        Box::new(|f| f.only_reads = true),
        Box::new(|f| f.opaque = vec!["why".into()]),
        Box::new(|f| f.commands = vec![command("/bin/rm", &[], None)]),
        Box::new(|f| f.commands = vec![command("x", &["/usr/bin/sudo"], None)]),
        Box::new(|f| f.commands = vec![command("x", &[], Some("root"))]),
        Box::new(|f| f.env = vec![("LANG".into(), "C".into())]),
        Box::new(|f| f.paths = vec![path("/tmp/../etc/x", false)]),
        Box::new(|f| f.paths = vec![path("/etc/x", true)]),
    ];
    assert_eq!(conditions.len(), changes.len());
    let policies: Vec<String> = conditions
        .iter()
        .enumerate()
        .map(|(i, condition)| {
            format!(
                "@id(\"grant.g{i}\") permit (principal in Group::\"g{i}\", \
                 action == Action::\"ssh:exec\", resource) when {{ {condition} }};"
            )
        })
        .collect();
    let bundle = only(&policies.join("\n"));
    for _ in 0..2 {
        for (group, condition) in conditions.iter().enumerate() {
            for (at, change) in changes.iter().enumerate() {
                let access = on_host(Action::SshExec, program("x"));
                let ruling = ask(&format!("g{group}"), access, change).of(&bundle);
                let expect = if at == group { "permit" } else { "deny" };
                assert_eq!(short(&ruling), expect, "{condition}: {at}");
            }
        }
    }
}

/// Two things on a host that only look like one.
#[test]
fn names_on_hosts_do_not_collide() {
    let bundle = only(
        r#"@id("grant.one") permit (
            principal in Group::"g", action in Action::"ssh", resource in Ssh::Account::"web-prod/app"
        );"#,
    );
    let at = |login: &str| Resource::SshAccount {
        login: login.into(),
    };
    for (login, expect) in [
        ("app", "permit"),
        ("app/x", "deny"),
        ("app%2Fx", "deny"),
        ("", "deny"),
        ("other", "deny"),
        ("app", "permit"),
    ] {
        let ruling = ask("g", on_host(Action::SshShell, at(login)), |_| {}).of(&bundle);
        assert_eq!(short(&ruling), expect, "{login}");
    }
}

/// What is too much to be compared is refused, whoever asks.
#[test]
fn more_paths_than_are_compared_are_refused() {
    let bundle = only(
        r#"@id("grant.all") permit (principal in Group::"g", action in Action::"any", resource);
        @id("guard.etc") @reason("etc") forbid (principal, action == Action::"ssh:exec", resource)
        when { context.ssh.writes.under.contains("/etc") };"#,
    );
    let many = |count: usize| {
        move |f: &mut SshFacts| {
            f.paths = (0..count)
                .map(|i| SshPath {
                    path: format!("/d{i}/f").into(),
                    writes: true,
                })
                .collect();
        }
    };
    let access = || on_host(Action::SshExec, program("x"));
    assert_eq!(short(&ask("g", access(), many(100)).of(&bundle)), "permit");
    let deep = |f: &mut SshFacts| {
        f.paths = vec![SshPath {
            path: "/a".repeat(30_000).into(),
            writes: false,
        }];
    };
    let file = Resource::SshFile {
        login: "app".into(),
        path: "/a".repeat(30_000).into(),
        known: true,
    };
    for ask in [
        ask("g", access(), many(100_000)),
        ask("g", access(), deep),
        ask("g", on_host(Action::SshSftpRead, file), |_| {}),
    ] {
        let ruling = ask.of(&bundle);
        assert_eq!(short(&ruling), "deny");
        let why = reason(&ruling);
        assert!(why.contains("more bytes of paths"), "{why}");
    }
}
