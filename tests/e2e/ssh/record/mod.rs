//! What is recorded of SSH: terminals that are played as they were seen, commands, files; watched while it happens,
//! found afterwards, verified, also after a crash. The bundle is the default one.

mod casts;
mod ends;
mod finds;
mod live;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::bundle::Bundle;
use weir_tests::proc::{Scratch, eventually};
use weir_tests::sshd::Way;
use weir_tests::weir::Weir;

use super::rig::Rig;

/// However busy the machine is.
const SOON: Duration = Duration::from_secs(30);
/// Of the default bundle; what they type is not recorded.
const PEOPLE: &[&str] = &["engineering"];
/// The same, but what they type is recorded.
const WATCHED: &[&str] = &["engineering", "watched"];
const SECURITY: &str = "sven@example.test";
/// Columns and rows that no terminal has by itself.
const SIZE: &str = "93x31";

/// What members of `watched` type is recorded; security may list and watch sessions by default.
const MORE: &str = r#"
@id("guard.e2e.watched")
@reason("what they type is recorded")
forbid (principal in Group::"watched", action == Action::"ssh:input_unrecorded", resource);
"#;

/// A host that is not in production, so that nothing is held.
fn rig(name: &str) -> (Rig, Scratch) {
    let scratch = Scratch::new(&format!("{name}-bundle")).unwrap();
    let mut bundle = Bundle::default_bundle().unwrap();
    // Its own tests are about the default one.
    bundle.files.retain(|path, _| !path.starts_with("tests/"));
    bundle.add("e2e.cedar", MORE);
    let dir = bundle.write(scratch.path()).unwrap();
    (Rig::with_bundle(name, dir).unwrap(), scratch)
}

fn security(weir: &Weir) -> String {
    weir.token(SECURITY, &["security"]).unwrap()
}

fn is_missing() -> bool {
    let missing = weir_tests::sshd::sshd().is_none();
    if missing {
        weir_tests::skip::not_installed("an SSH server");
    }
    missing
}

fn expect(text: &str) -> Value {
    json!(["expect", text])
}

fn typed(text: &str) -> Value {
    json!(["type", text])
}

fn resize(columns: u32, rows: u32) -> Value {
    json!(["resize", columns, rows])
}

/// A shell that is the same for everybody, with a prompt that its own command line does not hold.
fn shell() -> [Value; 3] {
    [
        // Before that, the terminal of the client itself would show what is typed.
        json!(["raw"]),
        typed("exec env -u PROMPT_COMMAND PS1='rec''> ' HISTFILE= bash --norc --noprofile\r"),
        expect("rec> "),
    ]
}

/// Somebody at a terminal.
struct Person {
    child: Child,
    seen: PathBuf,
    said: PathBuf,
}

/// What they saw, and how it ended.
#[derive(Debug)]
struct Seen {
    code: Option<i32>,
    bytes: Vec<u8>,
    /// Of the terminal itself, if something did not go as expected.
    said: String,
}

impl Person {
    /// With `mode` raw, the terminal adds nothing to what the program writes, as that of `ssh` does not.
    fn sits(way: &Way, name: &str, mode: &str, steps: &[Value], program: &[&str]) -> Self {
        let dir = way.dir.join(format!("at-{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        let at = |name: &str| dir.join(name);
        std::fs::write(at("steps"), Value::from(steps.to_vec()).to_string()).unwrap();
        let script = weir_tests::paths::root().join("tests/ssh/record_pty.py");
        let child = Command::new("timeout")
            .args(["--kill-after=5", "80", "python3"])
            .arg(script)
            .args([at("steps"), at("seen")])
            .arg(format!("{SIZE},{mode}"))
            .args(program)
            .current_dir(&dir)
            .env("TERM", "xterm-256color")
            // Of the target that is in every configuration of a test.
            .env("TARGET_PASSWORD", "none")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("LESS")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(at("said")).unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            seen: at("seen"),
            said: at("said"),
        }
    }

    /// Logs in from a terminal.
    fn logs_in(way: &Way, name: &str, steps: &[Value]) -> Self {
        let config = way.dir.join("config").display().to_string();
        Self::sits(way, name, "", steps, &["ssh", "-F", &config, "-tt", "box"])
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.seen).unwrap_or_default()
    }

    fn waits_for(&mut self, text: &str) {
        eventually(&format!("{text:?} on a terminal"), SOON, || {
            if let Some(status) = self.child.try_wait()? {
                let said = std::fs::read_to_string(&self.said)?;
                anyhow::bail!("it ended with {status}: {said}");
            }
            Ok(contains(&self.bytes(), text.as_bytes()).then_some(()))
        })
        .unwrap();
    }

    fn ends(mut self) -> Seen {
        let status = self.child.wait().unwrap();
        Seen {
            code: status.code(),
            bytes: self.bytes(),
            said: std::fs::read_to_string(&self.said).unwrap(),
        }
    }

    /// How long it takes until it has ended.
    fn ends_within(mut self, limit: Duration) -> Seen {
        let begin = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < limit, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.ends()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Seen {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

fn contains(data: &[u8], what: &[u8]) -> bool {
    data.windows(what.len()).any(|w| w == what)
}

/// The sessions of somebody, the oldest first.
fn sessions_of(weir: &Weir, subject: &str) -> Vec<String> {
    let answer = weir.api(&security(weir), "GET", "/sessions?limit=200", None);
    let page = answer.unwrap().ok().unwrap();
    let all = page["items"].as_array().unwrap().iter();
    let of = all.filter(|s| s["principal"] == subject);
    // A UUIDv7 sorts by time.
    let mut ids: Vec<String> = of.map(|s| s["id"].as_str().unwrap().into()).collect();
    ids.sort_unstable();
    ids
}

/// The newest session of somebody.
fn session_of(weir: &Weir, subject: &str) -> String {
    sessions_of(weir, subject).pop().expect("no session")
}

/// A session as it is replayed, once all of it is where replay looks.
fn replayed(weir: &Weir, session: &str, format: &str) -> String {
    eventually(&format!("the whole of {session}"), SOON, || {
        let out = weir.cli(None, &["replay", session, "--format", format])?;
        let whole = out.ok() && !out.stderr.contains("still open");
        Ok(whole.then_some(out.stdout))
    })
    .unwrap()
}
