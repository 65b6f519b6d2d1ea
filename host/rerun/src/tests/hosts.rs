//! What was decided on hosts is decided again, as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::{
    Action, Actor, PrincipalKind, Resource, SshCommand, SshFacts, SshHazard, SshKind, SshPath,
    SshStdin,
};

use super::stage::*;
use crate::{Window, verify_decisions};

const START: u64 = 1_764_000_000_000_000_000;

fn login() -> Arc<str> {
    "shop".into()
}

fn program(path: &str, known: bool) -> (Action, Resource) {
    let resource = Resource::SshProgram {
        login: login(),
        name: path.rsplit('/').next().unwrap_or(path).into(),
        path: path.into(),
        known,
    };
    (Action::SshExec, resource)
}

fn file(action: Action, path: &str, known: bool) -> (Action, Resource) {
    let resource = Resource::SshFile {
        login: login(),
        path: path.into(),
        known,
    };
    (action, resource)
}

fn command(text: &str, argv: &[&str]) -> SshFacts {
    let mut facts = SshFacts::plain(SshKind::Exec, login(), text.into());
    facts.channel = Some(3);
    facts.commands = vec![SshCommand {
        argv: argv.iter().map(|w| Arc::from(*w)).collect(),
        by: vec![],
        dynamic: false,
        as_user: None,
    }];
    facts
}

/// One of everything: read, changed, opaque, with all that there can be to it, oddly named.
fn actions() -> Vec<(SshFacts, Vec<(Action, Resource)>)> {
    let plain = |kind| SshFacts::plain(kind, login(), "x".into());
    let mut reads = command("uptime", &["uptime"]);
    reads.only_reads = true;
    let mut full = command("sudo -u app env X=1 sh -s a.b", &["sh", "-s", "a.b"]);
    full.commands[0].by = vec!["sudo".into(), "env".into()];
    full.commands[0].as_user = Some("app".into());
    full.commands[0].dynamic = true;
    full.opaque_codes = vec!["fed".into()];
    full.hazards = vec![SshHazard {
        code: "secret-file".into(),
        program: "cat".into(),
        why: "/etc/a.b".into(),
    }];
    full.code = true;
    full.pty = true;
    full.env = vec![("LANG".into(), "C\u{1}".into())];
    full.paths = vec![
        SshPath {
            path: "/etc/a.b".into(),
            writes: true,
        },
        SshPath {
            path: "~/.ssh/x".into(),
            writes: false,
        },
    ];
    full.stdin = Some(SshStdin {
        sha256: [0xcd; 32],
        bytes: 9,
        text: "rm -rf /".into(),
    });
    let opaque = SshFacts::opaque(SshKind::Exec, login(), "$X".into(), "a word of a shell's");
    let endpoint = |host: &str, loopback| Resource::SshEndpoint {
        host: host.into(),
        port: 22,
        loopback,
        own_ssh: loopback,
    };
    let variable = |name: &str, value: &str| Resource::SshVariable {
        login: login(),
        name: name.into(),
        value: value.into(),
    };
    let subsystem = Resource::SshSubsystem {
        login: login(),
        name: "net.conf".into(),
    };
    let account = Resource::SshAccount {
        login: "a.b".into(),
    };
    vec![
        (reads, vec![program("uptime", true)]),
        (full, vec![program("sh", true), program("/srv/a.b", true)]),
        (opaque, vec![program("$X", false)]),
        (
            plain(SshKind::Shell),
            vec![(Action::SshShell, account.clone())],
        ),
        (
            plain(SshKind::Agent),
            vec![(Action::SshForwardAgent, account)],
        ),
        (
            plain(SshKind::Sftp),
            vec![file(Action::SshSftpRead, "/srv/data.csv", true)],
        ),
        (
            plain(SshKind::Sftp),
            vec![file(Action::SshSftpWrite, "/srv/data", true)],
        ),
        (
            plain(SshKind::Scp),
            vec![file(Action::SshScpWrite, "*.x", false)],
        ),
        (
            plain(SshKind::Forward),
            vec![(Action::SshForwardLocal, endpoint("db.internal", false))],
        ),
        (
            plain(SshKind::Forward),
            vec![(Action::SshForwardRemote, endpoint("::1", true))],
        ),
        (
            plain(SshKind::Env),
            vec![(Action::SshEnv, variable("LC_ALL", "C.UTF-8"))],
        ),
        (
            plain(SshKind::Env),
            vec![(Action::SshEnv, variable("BASH_ENV", "/tmp/x"))],
        ),
        (
            plain(SshKind::Env),
            vec![(Action::SshEnv, variable("LC_ALL", "zh_TW.BIG5"))],
        ),
        (
            plain(SshKind::Subsystem),
            vec![(Action::SshSubsystem, subsystem)],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_on_hosts_is_decided_again() {
    let stage = Stage::new(bundle(&[])).await;
    let actor = |kind, name: &str, groups: &[&str]| Actor::new(kind, name, groups);
    let olga = actor(
        PrincipalKind::User,
        "olga",
        &["operators", "host-forwarding"],
    );
    let agent = actor(PrincipalKind::Agent, "helper", &["agents"]);
    let (mut requests, mut permitted) = (0, 0);
    for who in [
        principal(olga.clone(), Vec::new()),
        principal(agent, vec![olga]),
        principal(actor(PrincipalKind::User, "nobody", &[]), Vec::new()),
    ] {
        for env in ["prod", "dev"] {
            requests += 1;
            let Some(session) = stage.session(&who, &host("web", env), START).await else {
                continue;
            };
            for (facts, accesses) in actions() {
                requests += 1;
                permitted += u64::from(act_on_host(&session, facts, accesses).await.is_ok());
            }
            let ended = session.close(pipeline::EndReason::ClientClosed);
            ended.await.unwrap();
        }
    }
    assert!(stage.recorder.flush(LONG).await);
    let found = verify_decisions(&stage.store(), None, Window::default())
        .await
        .unwrap();
    assert_eq!(found.differences, []);
    assert_eq!(found.cannot, BTreeMap::new());
    assert_eq!((found.decisions, found.same), (requests, requests));
    assert!(permitted > 10 && permitted < requests - 10, "{permitted}");
}
