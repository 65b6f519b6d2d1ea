//! Who comes in by a short token: the one to whom it was given, from where, as long as it counts.

use std::time::Duration;

use serde_json::json;
use weir_tests::sshd::{Way, login};

use super::rig::{HOST, Rig};
use super::who::wait_for_sessions;

const LIMIT: Duration = Duration::from_secs(60);
const GROUPS: &[&str] = &["weir-permit-all"];

/// What ssh does with `$PASSWORD` at the prompt: nobody is asked, so that it is shown once.
fn ssh(options: &str, command: &str) -> String {
    format!(
        "printf '#!/bin/sh\\nprintf %%s \"$PASSWORD\"\\n' > ask && chmod 700 ask\n\
         export SSH_ASKPASS=$PWD/ask SSH_ASKPASS_REQUIRE=force DISPLAY=none:0\n\
         ssh -F $CFG -o BatchMode=no -o LogLevel=INFO -o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 \
         -o PreferredAuthentications=password {options} box '{command}' 2>said; echo $? >>said; cat said"
    )
}

fn way(rig: &Rig, name: &str, token: &str) -> Way {
    let dir = rig.weir.home.join(format!("way-{name}"));
    let user = format!("{}+{HOST}", login().unwrap());
    let known = rig.known_host().unwrap();
    Way::new(
        &dir,
        rig.port,
        &user,
        &known,
        &dir.join("none"),
        Some(token),
    )
    .unwrap()
}

fn shows(way: &Way, options: &str) -> String {
    let out = way.script("in", &ssh(options, "echo in"), LIMIT).unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The last letter has four bits of the number and two that do not count in base64: they count here.
fn altered(token: &str) -> String {
    let (rest, last) = token.split_at(token.len() - 1);
    let other = match last {
        "A" => "B",
        _ => "A",
    };
    format!("{rest}{other}")
}

#[test]
fn a_short_token_lets_in_whose_it_is_until_it_does_not_count() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let mut rig = Rig::permitting("ssh-short-tokens").unwrap();
    let weir = &rig.weir;
    let of = |name: &str| {
        let token = weir.token(name, GROUPS).unwrap();
        let said = weir
            .cli(Some(&token), &["ssh", "token", "--minutes", "5"])
            .unwrap();
        assert!(said.ok(), "{}", said.all());
        let short = said.stdout.strip_suffix('\n').unwrap().to_owned();
        assert!(
            short.starts_with("weir_st_") && short.len() == 51 && !short.contains('\n'),
            "{}",
            said.stdout
        );
        assert!(said.all().contains("from 127.0.0.1/32"), "{}", said.all());
        short
    };
    let (alice, bob) = (of("alice"), of("bob"));
    let [ways, bobs] = [("alice", &alice), ("bob", &bob)].map(|(n, t)| way(&rig, n, t));
    assert_eq!(shows(&ways, ""), "in\n0\n");
    let keyboard = "-o PreferredAuthentications=keyboard-interactive";
    assert_eq!(shows(&ways, keyboard), "in\n0\n");

    // What is wrong is said of none of them, and the same of all.
    let refused = |way: &Way, options: &str| -> Option<String> {
        let said = shows(way, options);
        assert!(said.ends_with("\n255\n"), "{said}\n{}", rig.weir.log());
        said.lines()
            .find(|line| line.contains("token"))
            .map(str::to_owned)
    };
    let unknown = format!("weir_st_{}", "A".repeat(43));
    let wrong = [
        ("unknown", &*unknown, ""),
        ("elsewhere", &alice, "-b 127.0.0.2"),
        ("altered", &altered(&alice), ""),
        ("no-jwt", "a.b.c", ""),
    ];
    let first = std::thread::scope(|scope| {
        let all = wrong.map(|(name, token, options)| {
            let way = way(&rig, name, token);
            let refused = &refused;
            scope.spawn(move || refused(&way, options))
        });
        let said = all.map(|one| one.join().unwrap());
        assert!(
            said[0].is_some() && said.iter().all(|s| *s == said[0]),
            "{said:?}"
        );
        said[0].clone()
    });

    // Neither the token nor anything like it is where people look.
    let security = rig.weir.token("sven", GROUPS).unwrap();
    let mut audit = String::new();
    weir_tests::proc::eventually("the audit", super::who::SOON, || {
        let page = rig
            .weir
            .api(&security, "GET", "/audit/actions?limit=100", None)?;
        audit = page.ok()?.to_string();
        let both = audit.matches("Token::").count() >= 2 && audit.matches("\"bob\"").count() >= 1;
        Ok(both.then_some(()))
    })
    .unwrap();
    let log = rig.weir.log();
    for short in [&alice, &bob] {
        assert!(!audit.contains(&**short) && !log.contains(&**short));
    }

    // A session that lasts ends with the revocation of its person; nobody else's does.
    let scripts = [(&ways, "alice"), (&bobs, "bob")];
    std::thread::scope(|scope| {
        let lasting = scripts.map(|(way, _)| {
            scope.spawn(|| {
                way.script("stays", &ssh("", "echo up; sleep 3"), LIMIT)
                    .unwrap()
            })
        });
        for (_, name) in scripts {
            wait_for_sessions(&rig, &security, name, 1);
        }
        let body = json!({"kind": "subject", "value": "alice", "reason": "a laptop was stolen"});
        let done = rig
            .weir
            .api(&security, "POST", "/ssh/revocations", Some(body));
        assert_eq!(done.unwrap().ok().unwrap()["sessions_ended"], 1);
        let ends = lasting.map(|one| String::from_utf8(one.join().unwrap().stdout).unwrap());
        assert!(
            ends[0].ends_with("255\n") && ends[1].ends_with("\n0\n"),
            "{ends:?}"
        );
    });
    assert_eq!(refused(&ways, ""), first, "revoked");

    // Those that count are not forgotten, and the others do not come back.
    rig.weir.kill_9().unwrap();
    rig.weir.launch().unwrap();
    let up = || Ok(weir_tests::proc::listens(rig.port).then_some(()));
    weir_tests::proc::eventually("SSH", super::who::SOON, up).unwrap();
    assert_eq!(shows(&bobs, ""), "in\n0\n");
    assert!(shows(&ways, "").ends_with("255\n"));
}
