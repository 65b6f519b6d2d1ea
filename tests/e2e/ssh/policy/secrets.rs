//! What is secret is nowhere in what Weir keeps or says: credentials of targets, tokens, passwords that are typed.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{AGENT, ENGINEER, PASSWORD, Stage, script, ssh, ssh_fed, stage};

const TYPED: &str = "typed-unseen-7731-hunter";
const WRONG: &str = "wrong-secret-8812-attempt";

/// Every session as it is replayed in this format; of what is drawn, only that.
pub(super) fn replayed(stage: &Stage, format: &str) -> Vec<(String, Vec<u8>)> {
    let answer = stage
        .weir
        .api(&stage.security, "GET", "/sessions?limit=200", None);
    let page = answer.unwrap().ok().unwrap();
    let ids = page["items"].as_array().unwrap().iter();
    let ids: Vec<String> = ids
        .filter_map(|s| Some(s["id"].as_str()?.to_owned()))
        .collect();
    assert!(!ids.is_empty(), "no sessions");
    let mut all = Vec::new();
    for id in ids {
        let out = stage
            .weir
            .cli(None, &["replay", &id, "--format", format])
            .unwrap();
        let text = match format.starts_with("asciicast") {
            false => out.stdout,
            true => {
                let events = out
                    .stdout
                    .lines()
                    .filter_map(|line| serde_json::from_str::<Value>(line).ok());
                let drawn = events
                    .filter(|e| e[1] == "o")
                    .filter_map(|e| Some(e[2].as_str()?.to_owned()));
                drawn.collect()
            }
        };
        all.push((id, text.into_bytes()));
    }
    all
}

/// Every file below it that holds one of these.
fn holding<'a>(
    dir: &Path,
    secrets: &[(&'a str, Vec<u8>)],
    found: &mut Vec<(String, &'a str)>,
) -> usize {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        // Of the clients of this test.
        let client = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("way-"));
        if client || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            bytes += holding(&path, secrets, found);
            continue;
        }
        let Ok(data) = std::fs::read(&path) else {
            continue;
        };
        bytes += data.len();
        found.extend(
            secrets
                .iter()
                .filter(|(_, s)| contains(&data, s))
                .map(|(name, _)| (path.display().to_string(), *name)),
        );
    }
    bytes
}

fn contains(data: &[u8], what: &[u8]) -> bool {
    data.windows(what.len()).any(|w| w == what)
}

/// Types into a shell what it asks for without showing it.
fn type_password(stage: &Stage) {
    let way = stage.way(ENGINEER, "stage1");
    let mut client = ssh_fed(&way, "typed", &["-tt", "box"], Stdio::piped());
    let mut input = client.child.stdin.take().unwrap();
    for line in [
        "bash --norc -c 'read -s x; echo got ${#x}'\n",
        &format!("{TYPED}\n"),
        "exit\n",
    ] {
        std::thread::sleep(Duration::from_secs(2));
        input.write_all(line.as_bytes()).unwrap();
    }
    let seen = client.wait();
    assert!(
        seen.text().contains(&format!("got {}", TYPED.len())),
        "{seen:?}"
    );
}

/// Logs in with passwords: one is the token, one is none.
const LOGIN: &str = r#"
cat > login.py <<'E'
import os, sys, paramiko
t = paramiko.Transport(('127.0.0.1', int(os.environ['PORT'])))
t.start_client()
try:
    t.auth_password(os.environ['LOGIN'], sys.argv[1])
    c = t.open_session()
    c.exec_command('hostname')
    print('in', c.recv_exit_status())
except paramiko.AuthenticationException:
    print('out')
t.close()
E
$PY login.py "$TOKEN"; $PY login.py "$WRONG""#;

#[test]
fn secrets_are_nowhere() {
    if weir_tests::sshd::sshd().is_none() {
        return weir_tests::skip::not_installed("an SSH server");
    }
    let stage = &stage("ssh-secrets");
    let way = stage.way(AGENT, "web1");
    let text = LOGIN.replace("$WRONG", WRONG);
    let seen = script(stage, &way, "login", &text).wait();
    assert_eq!(seen.text(), "in 0\nout\n", "{seen:?}");
    // The host does not take this password, which is where it could be told.
    let vault = stage.way(ENGINEER, "vault");
    let seen = ssh(&vault, "vault", &["box", "true"]).wait();
    assert_eq!(seen.code, Some(255), "{seen:?}");
    assert!(!seen.err.contains(PASSWORD), "{seen:?}");
    type_password(stage);

    let token = way.password.clone().unwrap();
    let signature = token.rsplit('.').next().unwrap().to_owned();
    let secrets: Vec<(&str, Vec<u8>)> = vec![
        ("the target's password", PASSWORD.into()),
        ("a token", token.into()),
        ("a token's signature", signature.into()),
        ("a typed password", TYPED.into()),
        ("a wrong password", WRONG.into()),
    ];
    let mut found = Vec::new();
    let bytes = holding(&stage.weir.home, &secrets, &mut found);
    assert!(bytes > 10_000, "only {bytes} bytes were looked at");
    assert!(found.is_empty(), "{found:?}");
    // Recordings are compressed.
    let sessions = replayed(stage, "jsonl");
    let told = sessions.iter().any(|(_, said)| contains(said, b"got "));
    assert!(told, "the typed password's session is not among them");
    for (session, said) in sessions {
        for (name, secret) in &secrets {
            assert!(!contains(&said, secret), "{name} in {session}");
        }
    }
}
