//! Registered keys: people come in by what they have registered, for as long as it counts, and nobody else does.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use weir_tests::proc::{eventually, listens};
use weir_tests::sshd::{Way, keygen};

use super::rig::Rig;
use super::who::{SOON, gets_in, stays, wait_for_sessions};

const GROUPS: &[&str] = &["weir-permit-all"];

/// What `weir ssh key …` says to this person.
fn key(rig: &Rig, token: &str, args: &[&str]) -> (bool, String) {
    let args = [&["ssh", "key"], args].concat();
    let out = rig.weir.cli(Some(token), &args).unwrap();
    (out.ok(), out.all())
}

fn public(way: &Way) -> String {
    way.dir.join("id.pub").display().to_string()
}

fn fingerprint(way: &Way) -> String {
    let out = Command::new("ssh-keygen")
        .args(["-lf", &public(way)])
        .output();
    let text = String::from_utf8(out.unwrap().stdout).unwrap();
    text.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn people_come_in_by_keys_of_their_own_until_they_do_not_count() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let both = "\"certificate\", \"key\"";
    let more = "[ssh.registered_keys]\nmax_hours = 48\nper_person = 2\n";
    let mut rig = Rig::with_logins("ssh-keys", both, more).unwrap();
    let token = |name: &str| rig.weir.token(name, GROUPS).unwrap();
    let (alice, bob, security) = (token("alice"), token("bob"), token("sven"));
    let way = |name: &str, kind: &str| rig.way_by_key(name, kind, None).unwrap();
    let (mine, other, bobs) = (way("a1", "ed25519"), way("a2", "rsa"), way("b1", "ecdsa"));

    // A key that nobody knows, then one that somebody has registered.
    assert!(!gets_in(&mine));
    let (done, said) = key(&rig, &alice, &["add", &public(&mine), "--name", "laptop"]);
    assert!(done && said.contains(&fingerprint(&mine)), "{said}");
    assert!(gets_in(&mine), "{}", rig.weir.log());
    assert!(!gets_in(&other) && !gets_in(&bobs));
    let args = ["add", &public(&other), "--hours", "1"];
    assert!(key(&rig, &alice, &args).0);
    assert!(key(&rig, &bob, &["add", &public(&bobs)]).0);
    assert!(gets_in(&other) && gets_in(&bobs));
    // Keys that are only asked about are no attempts, however many an agent has.
    let dir = mine.dir.join("many");
    std::fs::create_dir_all(&dir).unwrap();
    let mut script = String::from("ssh -F $CFG -o IdentityFile=none");
    for n in 0..8 {
        keygen(&dir.join(n.to_string()), "ed25519").unwrap();
        script.push_str(&format!(" -i {}", dir.join(n.to_string()).display()));
    }
    script.push_str(" -i $KEY box echo in");
    let out = mine.script("many", &script, SOON).unwrap();
    assert_eq!(out.stdout, b"in\n", "{out:?}");

    refused(&rig, &mine, &other, &bobs);

    // Sessions that run end with what they came in by, and no others.
    let mut running: Vec<_> = [&mine, &other, &bobs].map(stays).into();
    wait_for_sessions(&rig, &security, "alice", 2);
    wait_for_sessions(&rig, &security, "bob", 1);
    let (done, said) = key(&rig, &alice, &["remove", "laptop"]);
    assert!(done && said.contains("1 session(s) ended"), "{said}");
    wait_for_sessions(&rig, &security, "alice", 1);
    assert!(!gets_in(&mine) && gets_in(&other));
    assert!(key(&rig, &alice, &["add", &public(&mine)]).0, "it is hers");
    assert!(gets_in(&mine));
    let args = [
        "ssh",
        "revoke",
        "--key",
        &fingerprint(&bobs),
        "--reason",
        "stolen",
    ];
    let said = rig.weir.cli(Some(&security), &args).unwrap();
    assert!(said.all().contains("1 session(s) ended"), "{}", said.all());
    wait_for_sessions(&rig, &security, "bob", 0);
    assert!(!gets_in(&bobs));
    let (done, said) = key(&rig, &bob, &["add", &public(&bobs)]);
    assert!(!done && said.contains("revoked"), "{said}");
    running.drain(..).for_each(|mut child| {
        let _ = child.kill();
        child.wait().unwrap();
    });

    // It is not forgotten, and it ends by itself: the session with it.
    let (_, said) = key(&rig, &security, &["list", "--all"]);
    assert_eq!(said.lines().count(), 2, "{said}");
    rig.weir.kill_9().unwrap();
    let ends = end_soon(&rig.weir.home, &fingerprint(&mine));
    rig.weir.launch().unwrap();
    eventually("SSH", SOON, || Ok(listens(rig.port).then_some(()))).unwrap();
    let mut child = stays(&mine);
    wait_for_sessions(&rig, &security, "alice", 1);
    assert!(!gets_in(&bobs) && gets_in(&other));
    wait_for_sessions(&rig, &security, "alice", 0);
    assert!(std::time::SystemTime::now() >= ends, "{}", rig.weir.log());
    assert_eq!(child.wait().unwrap().code(), Some(255));
    assert!(!gets_in(&mine) && gets_in(&other));
    // Everything of a person.
    let args = ["ssh", "revoke", "--subject", "alice", "--reason", "left us"];
    assert!(rig.weir.cli(Some(&security), &args).unwrap().ok());
    assert!(!gets_in(&other));
}

const GUARD: &str = r#"
@id("guard.prod-certificate")
@reason("production is open to certificates only")
forbid (principal, action in Action::"ssh", resource)
when { resource.env == Env::"prod" }
unless { context.base has login && context.base.login == Login::"certificate" };
"#;

/// The same person, by what policy lets them in and by what it does not.
#[test]
fn production_is_open_to_certificates_and_to_no_registered_key() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let bundle = std::env::temp_dir().join(format!("weir-login-policy-{}", std::process::id()));
    std::fs::create_dir_all(&bundle).unwrap();
    let from = weir_tests::paths::root().join("policies/examples/permit-all");
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), bundle.join(file.file_name())).unwrap();
    }
    std::fs::write(bundle.join("guard.cedar"), GUARD).unwrap();
    let both = "\"certificate\", \"key\", \"token\"";
    let more = "[ssh.registered_keys]\nmax_hours = 48\nper_person = 2\n";
    let name = "ssh-login-policy";
    let rig = Rig::with_logins_under(name, bundle.clone(), both, more).unwrap();
    let alice = rig.weir.token("alice", GROUPS).unwrap();
    let by_key = rig.way_by_key("key", "ed25519", None).unwrap();
    let (done, said) = key(&rig, &alice, &["add", &public(&by_key)]);
    assert!(done, "{said}");
    let certified = rig.way("alice", GROUPS).unwrap();
    assert!(gets_in(&certified), "{}", rig.weir.log());
    assert!(!gets_in(&by_key), "{}", rig.weir.log());
    std::fs::remove_dir_all(&bundle).unwrap();
    let shown = rig.weir.log();
    assert!(
        !shown.contains("SSH key refused"),
        "it is policy that says no: {shown}"
    );
}

/// What others try with keys that are registered by now, and with what is no key of a person.
fn refused(rig: &Rig, mine: &Way, other: &Way, bobs: &Way) {
    let mallory = rig.weir.token("mallory", GROUPS).unwrap();
    // A public key that is somebody else's: the signature is one's own, or theirs for another person.
    let line = std::fs::read_to_string(public(mine)).unwrap();
    let body = json!({ "public_key": line });
    let asked = rig
        .weir
        .api(&mallory, "POST", "/ssh/keys/challenge", Some(body));
    let challenge = asked.unwrap().ok().unwrap();
    let text = challenge["text"].as_str().unwrap();
    let register = |token: &str, signature: &str| {
        let body = json!({
            "public_key": line, "name": "x", "challenge": text, "signature": signature,
        });
        rig.weir
            .api(token, "POST", "/ssh/keys", Some(body))
            .unwrap()
    };
    let own = sign(other, text, "ssh-key@weir.dev");
    let answer = register(&mallory, &own);
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(answer.body.to_string().contains("another key"));
    let theirs = sign(mine, text, "ssh-key@weir.dev");
    let alice = rig.weir.token("alice", GROUPS).unwrap();
    assert_eq!(register(&alice, &theirs).status, 422, "it is for mallory");
    assert_eq!(register(&mallory, &sign(mine, text, "file")).status, 422);
    // With the key in hand, it is still hers who registered it first.
    let answer = register(&mallory, &theirs);
    assert_eq!(answer.status, 409, "{}", answer.body);
    let (done, said) = key(rig, &mallory, &["remove", &fingerprint(mine)]);
    assert!(!done && said.contains("none of your keys"), "{said}");

    // Too many, too weak, not a key, a certificate's key by itself, and nobody's who is no person.
    let third = rig.way_by_key("a3", "ed25519", None).unwrap();
    let (done, said) = key(rig, &alice, &["add", &public(&third)]);
    assert!(!done && said.contains("2 keys"), "{said}");
    let weak = mine.dir.join("weak");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f"])
        .arg(&weak)
        .status();
    if made.unwrap().success() {
        let (done, said) = key(rig, &mallory, &["add", &format!("{}.pub", weak.display())]);
        assert!(!done && said.contains("2048"), "{said}");
    }
    let (done, said) = key(rig, &mallory, &["add", &mine.key.display().to_string()]);
    assert!(!done && said.contains("stays with you"), "{said}");
    let certified = rig.way("carol", GROUPS).unwrap();
    assert!(gets_in(&certified));
    std::fs::remove_file(certified.dir.join("id-cert.pub")).unwrap();
    assert!(!gets_in(&certified), "its key alone is nobody's");
    for more in [
        &["--kind", "agent"][..],
        &["--kind", "workload"],
        &["--act", "bot"],
    ] {
        let token = rig.weir.token_with("robot", GROUPS, more).unwrap();
        let (done, said) = key(rig, &token, &["add", &public(&third)]);
        assert!(!done, "{more:?}: {said}");
    }
    let nobody = rig.weir.token("nobody", &["engineering"]).unwrap();
    let (done, said) = key(rig, &nobody, &["add", &public(&third)]);
    assert!(!done && said.contains("key:register"), "{said}");
    assert!(!gets_in(&third));
    assert!(gets_in(mine) && gets_in(bobs));
}

fn sign(way: &Way, text: &str, namespace: &str) -> String {
    let file = way.dir.join("text");
    std::fs::write(&file, text).unwrap();
    let _ = std::fs::remove_file(way.dir.join("text.sig"));
    let out = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
        .args([&way.key, &file])
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    std::fs::read_to_string(way.dir.join("text.sig")).unwrap()
}

/// As if it had been registered long ago: it ends in seconds.
fn end_soon(home: &Path, fingerprint: &str) -> std::time::SystemTime {
    let ends = std::time::SystemTime::now() + Duration::from_secs(25);
    let millis = ends
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\n\
                  n = c.execute('UPDATE ssh_keys SET expires_at = ? WHERE fingerprint = ?', sys.argv[2:]).rowcount\n\
                  c.commit()\nassert n == 1\n";
    let database = home.join("data/state.sqlite").display().to_string();
    let args = ["-c", script, &database, &millis.to_string(), fingerprint];
    let out = Command::new("python3").args(args).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    ends
}
