//! Host keys by approval: the caller is never asked, people say which key is a host's, and a changed one is nobody's.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use weir_tests::proc::{eventually, listens};
use weir_tests::sshd::{Way, keygen};

use super::rig::{HOST, Rig};
use super::who::{SOON, gets_in, stays, wait_for_sessions};

const GROUPS: &[&str] = &["weir-permit-all"];

/// What ssh says when it does not get in.
fn refused(way: &Way) -> String {
    let out = way
        .script("refused", "ssh -o LogLevel=INFO -F $CFG box echo in", SOON)
        .unwrap();
    assert_eq!(out.stdout, b"");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn fingerprint(key: &Path) -> String {
    let out = Command::new("ssh-keygen").arg("-lf").arg(key).output();
    let text = String::from_utf8(out.unwrap().stdout).unwrap();
    text.split_whitespace().nth(1).unwrap().to_owned()
}

/// What `weir ssh host-key …` says to this person.
fn host_key(rig: &Rig, token: &str, args: &[&str]) -> (bool, String) {
    let args = [&["ssh", "host-key"], args].concat();
    let out = rig.weir.cli(Some(token), &args).unwrap();
    (out.ok(), out.all())
}

fn say(rig: &Rig, token: &str, word: &str, print: &str) -> (bool, String) {
    let args = [word, HOST, print, "--reason", "compared at the console"];
    host_key(rig, token, &args)
}

/// The host has this key from now on.
fn wears(rig: &Rig, key: &Path) {
    let shown = rig.host.dir.join("host_ed25519");
    std::fs::copy(key, &shown).unwrap();
    std::fs::copy(key.with_extension("pub"), shown.with_extension("pub")).unwrap();
    // It starts itself anew, on the same port.
    let pid = rig.host.pid().to_string();
    let done = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
    assert!(done.success());
    let public = rig.host.host_key().unwrap();
    let scan = || {
        let port = rig.host.port.to_string();
        let args = ["-T", "2", "-t", "ed25519", "-p", &port, "127.0.0.1"];
        let out = Command::new("ssh-keyscan").args(args).output()?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        Ok(text.contains(&public).then_some(()))
    };
    eventually("the host with its other key", SOON, scan).unwrap();
}

#[test]
fn a_host_is_known_by_the_key_that_a_person_approved_and_by_no_other() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let mut rig = Rig::trusting("ssh-hosts", "host_key = \"approval\"").unwrap();
    let security = rig.weir.token("sven", GROUPS).unwrap();
    let way = rig.way("alice", GROUPS).unwrap();
    let dir = rig.weir.home.join("host-keys");
    std::fs::create_dir_all(&dir).unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.join(name));
    let shown = rig.host.dir.join("host_ed25519");
    std::fs::copy(&shown, &first).unwrap();
    std::fs::copy(shown.with_extension("pub"), first.with_extension("pub")).unwrap();
    keygen(&second, "ed25519").unwrap();
    let (one, two) = (fingerprint(&first), fingerprint(&second));

    // It waits, and the caller is told who decides, and not asked. To try again changes nothing.
    for _ in 0..2 {
        let said = refused(&way);
        assert!(
            said.contains("host_key:approve") && !said.contains(&one),
            "{said}"
        );
    }
    let (_, list) = host_key(&rig, &security, &["list"]);
    assert_eq!(list.lines().count(), 1, "{list}");
    let line = format!("{HOST}  waiting  {one}  ssh-ed25519  shown 2 time(s)");
    assert!(list.starts_with(&line), "{list}");
    // Not by an agent, by who may not, by another name of it, or for another host.
    let agent = rig
        .weir
        .token_with("bot", GROUPS, &["--kind", "agent"])
        .unwrap();
    let engineer = rig.weir.token("erin", &["engineering"]).unwrap();
    for token in [&agent, &engineer] {
        let (done, said) = say(&rig, token, "approve", &one);
        assert!(!done && said.contains("403"), "{said}");
    }
    for print in [&two, &one[..20], "SHA256:"] {
        let (done, said) = say(&rig, &security, "approve", print);
        assert!(!done && said.contains("shown no such key"), "{said}");
    }
    let body = json!({"fingerprint": one, "reason": "r"});
    let path = "/targets/orders-prod/host-keys/approve";
    let elsewhere = rig.weir.api(&security, "POST", path, Some(body)).unwrap();
    assert_eq!(elsewhere.status, 404, "{}", elsewhere.text);
    assert!(!gets_in(&way));
    let (done, said) = say(&rig, &security, "approve", &one);
    assert!(done && said.contains("approved"), "{said}");
    assert!(gets_in(&way), "{}", rig.weir.log());
    rig.weir.kill_9().unwrap();
    rig.weir.launch().unwrap();
    eventually("SSH", SOON, || Ok(listens(rig.port).then_some(()))).unwrap();
    assert!(gets_in(&way), "after a start");

    // Another key: nobody gets there, it is said loudly, and nothing is replaced by that.
    wears(&rig, &second);
    let said = refused(&way);
    assert!(
        said.contains("does not prove that it is the right host"),
        "{said}"
    );
    let log = rig.weir.log();
    assert!(log.contains("HAS CHANGED") && log.contains(&two), "{log}");
    let (_, list) = host_key(&rig, &security, &["list"]);
    assert!(list.contains(&format!("CHANGED  {two}")), "{list}");
    assert!(list.contains(&format!("approved  {one}")), "{list}");
    // The index follows the log.
    eventually("the changed key in the audit", SOON, || {
        let audit = rig
            .weir
            .cli(Some(&security), &["audit", "--since", "-1h"])?;
        Ok(audit.all().contains("host_key:changed").then_some(()))
    })
    .unwrap();
    wears(&rig, &first);
    assert!(gets_in(&way), "it is still the one that was approved");

    // Rejected, it waits for nobody; approved by a person, it takes the place of the first.
    assert!(say(&rig, &security, "reject", &two).0);
    wears(&rig, &second);
    assert!(!gets_in(&way));
    assert!(say(&rig, &security, "approve", &two).0);
    let mut running = stays(&way);
    wait_for_sessions(&rig, &security, "alice", 1);
    let (_, list) = host_key(&rig, &security, &["list", "--target", HOST]);
    assert!(list.contains(&format!("rejected  {one}")), "{list}");
    assert!(list.contains("by sven: replaced by"), "{list}");
    // And is not the host's any more: what runs there ends.
    let (done, said) = say(&rig, &security, "reject", &two);
    assert!(done && said.contains("1 session(s) ended"), "{said}");
    assert_eq!(running.wait().unwrap().code(), Some(255));
    assert!(!gets_in(&way));
}
