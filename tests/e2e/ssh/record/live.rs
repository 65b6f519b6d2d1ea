//! Live sessions: listed with what they are, watched while they happen, ended at once.

use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::proc::eventually;

use super::{
    PEOPLE, Person, SOON, expect, is_missing, replayed, rig, security, session_of, shell, typed,
};

/// An operator's word reaches the client at once, however busy the machine is.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn sessions_are_listed_watched_and_ended() {
    if is_missing() {
        return;
    }
    let (rig, _bundle) = rig("ssh-live");
    let (weir, token) = (&rig.weir, security(&rig.weir));
    let way = rig.way("lena", PEOPLE).unwrap();
    let file = way.dir.join("go");
    let go = file.display();
    let steps = [
        &shell()[..],
        &[
            typed("echo before-$((40+2))\r"),
            expect("before-42"),
            // Until somebody watches.
            typed(&format!(
                "while [ ! -e {go} ]; do sleep 0.1; done; echo seen-$((40+2)); printf half-a-line-$((40+2))\r"
            )),
            expect("half-a-line-42"),
        ],
    ]
    .concat();
    let mut person = Person::logs_in(&way, "live", &steps);
    person.waits_for("before-42");
    let id = session_of(weir, "lena");

    let listed = &weir.live_sessions(&token).unwrap()[0];
    let login = weir_tests::sshd::login().unwrap();
    for (field, value) in [
        ("id", &*id),
        ("protocol", "ssh"),
        ("target", super::super::rig::HOST),
        ("database", &login),
        ("principal", "lena"),
    ] {
        assert_eq!(listed[field], value, "{listed}");
    }
    let out = weir.cli(Some(&token), &["sessions", "ls"]).unwrap();
    let said = format!("lena from 127.0.0.1 on ssh web1/{login}");
    assert!(out.stdout.contains(&said), "{}", out.all());

    let watch = |more: &[&str]| {
        let args = [&["sessions", "watch", &id], more].concat();
        weir.cli(Some(&token), &args).unwrap()
    };
    let (text, lines, taken) = std::thread::scope(|scope| {
        let text = scope.spawn(|| watch(&[]));
        let lines = scope.spawn(|| watch(&["--json"]));
        eventually("two who watch", SOON, || {
            let args = ["audit", "--format", "jsonl", "--action", "session:watch"];
            let out = weir.cli(Some(&token), &args)?;
            Ok((out.stdout.lines().count() >= 2).then_some(()))
        })
        .unwrap();
        std::fs::write(&file, "").unwrap();
        person.waits_for("half-a-line-42");
        let args = ["sessions", "kill", &id, "--reason", "too curious"];
        let out = weir.cli(Some(&token), &args).unwrap();
        assert!(out.ok(), "{}", out.all());
        let begin = Instant::now();
        let seen = person.ends_within(AT_ONCE);
        let taken = begin.elapsed();
        // The words are the client's own, on its terminal.
        assert_eq!(seen.code, Some(255), "{} {}", seen.said, seen.text());
        let said = "an operator ended this session: too curious";
        assert!(seen.text().contains(said), "{}", seen.text());
        (text.join().unwrap(), lines.join().unwrap(), taken)
    });
    println!("ended {taken:?} after the word of the operator");
    for out in [&text, &lines] {
        assert!(out.ok(), "{}", out.all());
        let said = &out.stdout;
        assert!(
            said.contains("seen-42") && !said.contains("before-42"),
            "{said}"
        );
        assert!(said.contains("half-a-line-42"), "what has no end: {said}");
    }
    let kinds = lines
        .stdout
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap());
    let kinds: Vec<String> = kinds
        .map(|l| l["kind"].as_str().unwrap_or("-").into())
        .collect();
    assert!(kinds.iter().any(|k| k == "to_client"), "{kinds:?}");
    // What is replayed says so, too.
    let whole = replayed(weir, &id, "text");
    for part in ["end: killed", "too curious", SECURITY] {
        assert!(whole.contains(part), "{part:?} is not in {whole}");
    }
}

const SECURITY: &str = super::SECURITY;
