//! What the index is told of hosts.

use recorder::doc::{SshCommandDoc, SshDoc, SshHazardDoc, SshPathDoc, SshStdinDoc};

use super::*;

fn access(action: &str, kind: &str, path: &[&str], flags: &[&str]) -> AccessDoc {
    AccessDoc {
        action: action.into(),
        kind: kind.into(),
        resource: path.join("."),
        path: path.iter().map(|p| (*p).to_owned()).collect(),
        target: Some("web".into()),
        labels: vec![],
        flags: flags.iter().map(|f| (*f).to_owned()).collect(),
    }
}

/// A command line of these programs, each with a secret as its argument.
fn line(programs: &[&str], parsed: bool) -> ActionDoc {
    let command = |program: &&str| SshCommandDoc {
        argv: vec![(*program).to_owned(), format!("--password={SECRET}")],
        by: vec!["/usr/bin/sudo".into()],
        dynamic: false,
        as_user: Some(SECRET.into()),
    };
    let program = |path: &&str| {
        let name = path.rsplit('/').next().unwrap();
        access("ssh:exec", "SshProgram", &["app", name, path], &[])
    };
    ActionDoc {
        facts: FactsDoc::Ssh(SshDoc {
            kind: "exec".into(),
            channel: Some(0),
            login: "app".into(),
            text: format!("… --password={SECRET}"),
            parsed,
            opaque: vec![SECRET.into()],
            opaque_codes: vec![SECRET.into()],
            commands: programs.iter().map(command).collect(),
            hazards: vec![SshHazardDoc {
                code: SECRET.into(),
                program: SECRET.into(),
                why: SECRET.into(),
            }],
            code: false,
            stdin: Some(SshStdinDoc {
                sha256: SECRET.into(),
                bytes: 1,
                text: SECRET.into(),
            }),
            paths: vec![
                SshPathDoc {
                    path: "/srv/app.log".into(),
                    writes: false,
                },
                SshPathDoc {
                    path: format!("/srv/{SECRET}?x=1"),
                    writes: true,
                },
                SshPathDoc {
                    path: SECRET.into(),
                    writes: true,
                },
            ],
            env: vec![("LANG".into(), SECRET.into())],
            pty: false,
            stdin_open: false,
            only_reads: false,
        }),
        accesses: programs.iter().map(program).collect(),
        ..super::action("", true, "ssn")
    }
}

fn intent(action: ActionDoc) -> FollowedBody {
    let FollowedBody::Intent(doc) = super::intent("", "ssn") else {
        panic!("an intent")
    };
    FollowedBody::Intent(Box::new(IntentDoc {
        action,
        masked: vec![],
        ..*doc
    }))
}

fn refused(action: ActionDoc) -> FollowedBody {
    let FollowedBody::Refused(doc) = super::refused("", true) else {
        panic!("a refusal")
    };
    FollowedBody::Refused(Box::new(RefusedDoc { action, ..*doc }))
}

#[test]
fn no_secret_of_a_command_line_is_in_a_byte_of_the_index() {
    let dir = std::env::temp_dir().join(format!("weir-audit-{}", Uuid::now_v7()));
    std::fs::create_dir_all(&dir).unwrap();
    let feed = Feed::new(Index::open(&dir.join("index"), IndexLimits::default()).unwrap());
    let stream = Uuid::now_v7();
    let mut records = Vec::new();
    let mut add = |action: Option<u64>, body: FollowedBody| {
        records.push(Followed {
            stream,
            n: records.len() as u64,
            at_ns: 1_800_000_000_000_000_000,
            action,
            body,
        });
    };
    let start = StartDoc {
        scope: ScopeDoc::Login("app".into()),
        ..session()
    };
    add(None, FollowedBody::Start(Box::new(start)));
    let file = |path: &str, flags: &[&str]| {
        let mut action = line(&[], true);
        action.accesses = vec![access("ssh:sftp_read", "SshFile", &["app", path], flags)];
        action
    };
    let other = |kind: &str, path: &[&str]| {
        let mut action = line(&[], true);
        action.accesses = vec![access("ssh:env", kind, path, &[])];
        action
    };
    let secret_path = format!("/home/{SECRET}/x");
    let mut unsure = line(&["/srv/app/deploy"], true);
    if let FactsDoc::Ssh(ssh) = &mut unsure.facts {
        ssh.commands[0].dynamic = true;
    }
    unsure.accesses[0].flags = vec!["unknown".into()];
    let cases = [
        // What was typed in the wrong place, and what ran beside it.
        (line(&[SECRET], true), "failed"),
        (line(&[SECRET], true), "cancelled"),
        (line(&[SECRET], true), "unknown"),
        (line(&[SECRET, "true"], true), "done"),
        (line(&["rm"], false), "done"),
        (line(&["/usr/bin/rm"], true), "failed"),
        (line(&["/srv/app/migrate"], true), "done"),
        (unsure, "done"),
        (file(&secret_path, &[]), "failed"),
        (file(SECRET, &["unknown"]), "done"),
        (file("/srv/data.csv", &[]), "done"),
        (other("SshVariable", &["app", SECRET]), "failed"),
        (other("SshSubsystem", &["app", SECRET]), "failed"),
        (other("SshEndpoint", &[SECRET, "22"]), "failed"),
        (other("SshAccount", &[SECRET]), "failed"),
    ];
    let mut seq = 0;
    for (action, how) in cases {
        add(Some(seq), refused(action.clone()));
        add(Some(seq + 1), intent(action));
        add(Some(seq + 1), outcome_of(how, "exit 0"));
        seq += 2;
    }
    let place = Place {
        file: 1,
        chain: [1; 32],
    };
    feed.take(&records, place).unwrap();
    for there in [
        "SshProgram::rm",
        "SshProgram::migrate",
        "SshProgram::(unknown)",
        "exec sudo rm",
        "exec sudo migrate /srv/app.log",
        "SshFile::/home",
        "SshFile::/srv/data.csv",
        "SshEndpoint::?:22",
        "ssh:exec",
    ] {
        assert!(holds(&dir, there), "{there} is not there");
    }
    assert!(!holds(&dir, SECRET), "a secret is in the index");
    assert!(!holds(&dir, "deploy"), "a word that only a shell knows");
    std::fs::remove_dir_all(&dir).unwrap();
}
