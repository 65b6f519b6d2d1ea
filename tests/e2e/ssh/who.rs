//! Who comes in, and that they do not any more once it was said so.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::proc::{eventually, listens};
use weir_tests::sshd::Way;

use super::rig::Rig;

pub(super) const SOON: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(60);

/// Does this come through?
pub(super) fn gets_in(way: &Way) -> bool {
    let out = way.script("in", "ssh -F $CFG box echo in", LIMIT).unwrap();
    out.stdout == b"in\n"
}

/// A session that lasts.
pub(super) fn stays(way: &Way) -> Child {
    let config = way.dir.join("config");
    Command::new("timeout")
        .args(["60", "ssh", "-F"])
        .arg(config)
        .args(["box", "echo up; sleep 50"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub(super) fn sessions_of(rig: &Rig, token: &str, subject: &str) -> usize {
    let live = rig.weir.live_sessions(token).unwrap();
    live.iter().filter(|s| s["principal"] == subject).count()
}

pub(super) fn wait_for_sessions(rig: &Rig, token: &str, subject: &str, many: usize) {
    let what = format!("{many} session(s) of {subject}");
    // Nobody may ask more often than 600 times in a minute.
    let pause = std::time::Duration::from_millis(200);
    eventually(&what, SOON, || {
        let there = sessions_of(rig, token, subject) == many;
        if !there {
            std::thread::sleep(pause);
        }
        Ok(there.then_some(()))
    })
    .unwrap();
}

/// What ssh-keygen says of a certificate: its serial number, as Weir writes it, and its key id.
fn certificate(way: &Way) -> (String, String) {
    let path = way.dir.join("id-cert.pub");
    let out = Command::new("ssh-keygen").arg("-Lf").arg(path).output();
    let text = String::from_utf8(out.unwrap().stdout).unwrap();
    // Wherever it was carried to, it counts from where it was asked for.
    assert!(text.contains("source-address 127.0.0.1/32"), "{text}");
    let says = |name: &str| {
        let line = text.lines().find_map(|l| l.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {text}")).trim()
    };
    let serial: u64 = says("Serial:").parse().unwrap();
    let id = says("Key ID:").trim_matches('"').to_owned();
    (format!("{serial:016x}"), id)
}

fn revoked(rig: &Rig, token: &str, kind: &str, value: &str) -> Value {
    let body = json!({"kind": kind, "value": value, "reason": "a laptop was stolen"});
    let answer = rig.weir.api(token, "POST", "/ssh/revocations", Some(body));
    answer.unwrap().ok().unwrap()
}

#[test]
fn what_is_revoked_lets_nobody_in_and_ends_what_came_in_by_it() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let mut rig = Rig::permitting("ssh-revoked").unwrap();
    let groups = &["weir-permit-all"];
    let security = rig.weir.token("sven", groups).unwrap();
    let names = ["alice", "bob", "carol", "dave", "erin"];
    let ways = names.map(|name| rig.way(name, groups).unwrap());
    let [alice, bob, carol, dave, erin] = &ways;
    let mut running: Vec<Child> = ways.iter().map(stays).collect();
    for name in names {
        wait_for_sessions(&rig, &security, name, 1);
    }

    let elsewhere = "ssh -b 127.0.0.2 -F $CFG box echo in";
    let out = erin.script("elsewhere", elsewhere, LIMIT).unwrap();
    assert!(!out.status.success() && out.stdout.is_empty(), "{out:?}");
    assert!(gets_in(erin));

    // Each by another name of it; whoever was not named goes on.
    let (serial, _) = certificate(alice);
    let done = revoked(&rig, &security, "serial", &serial);
    assert_eq!(done["sessions_ended"], 1, "{done}");
    let (_, key_id) = certificate(bob);
    assert_eq!(
        revoked(&rig, &security, "key_id", &key_id)["sessions_ended"],
        1
    );
    let public = std::fs::read_to_string(carol.dir.join("id.pub")).unwrap();
    assert_eq!(
        revoked(&rig, &security, "key", &public)["sessions_ended"],
        1
    );
    let args = ["ssh", "revoke", "--subject", "dave", "--reason", "left us"];
    let said = rig.weir.cli(Some(&security), &args).unwrap();
    assert!(
        said.ok() && said.stdout.contains("1 session(s) ended"),
        "{}",
        said.all()
    );
    for name in ["alice", "bob", "carol", "dave"] {
        wait_for_sessions(&rig, &security, name, 0);
    }
    for child in &mut running[..4] {
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(255), "ssh says that it lost the host");
    }
    assert_eq!(sessions_of(&rig, &security, "erin"), 1);
    let closed = |rig: &Rig| {
        for (way, name) in [
            (alice, "alice"),
            (bob, "bob"),
            (carol, "carol"),
            (dave, "dave"),
        ] {
            assert!(!gets_in(way), "{name}: {}", rig.weir.log());
        }
        assert!(gets_in(erin));
    };
    closed(&rig);
    // A key that was revoked gets no other certificate; a person does.
    let token = rig.weir.token("carol", groups).unwrap();
    let again = json!({ "public_key": public });
    let again = rig
        .weir
        .api(&token, "POST", "/ssh/certificates", Some(again));
    assert_eq!(again.unwrap().status, 422);
    assert!(gets_in(&rig.way("dave", groups).unwrap_or_else(|_| {
        // ssh-keygen does not write over the old key.
        std::fs::remove_dir_all(&dave.dir).unwrap();
        rig.way("dave", groups).unwrap()
    })));

    // Whoever may not, does not; and what names nothing is refused.
    let nobody = rig.weir.token("mallory", &["engineering"]).unwrap();
    for (token, kind, value, status) in [
        (&nobody, "subject", "sven", 403),
        (&security, "serial", "17", 422),
        (&security, "key", "SHA256:short", 422),
        (&security, "key_id", "a\nb", 422),
        (&security, "everything", "x", 400),
    ] {
        let body = json!({"kind": kind, "value": value, "reason": "r"});
        let answer = rig.weir.api(token, "POST", "/ssh/revocations", Some(body));
        assert_eq!(answer.unwrap().status, status, "{kind} {value}");
    }

    // It is on record, and it is not forgotten.
    running.pop().unwrap().kill().unwrap();
    rig.weir.kill_9().unwrap();
    rig.weir.launch().unwrap();
    eventually("SSH", SOON, || Ok(listens(rig.port).then_some(()))).unwrap();
    let list = rig
        .weir
        .cli(Some(&security), &["ssh", "revocations"])
        .unwrap();
    assert_eq!(list.stdout.lines().count(), 4, "{}", list.all());
    assert!(
        list.stdout
            .contains(&format!("certificate {serial}  by sven: a laptop"))
    );
    for (way, name) in [(alice, "alice"), (bob, "bob"), (carol, "carol")] {
        assert!(!gets_in(way), "{name}: after a start");
    }
    assert!(gets_in(erin));
}
