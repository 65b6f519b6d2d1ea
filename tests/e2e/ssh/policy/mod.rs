//! What policy does to stock clients: holds, ways around, masks, and secrets that are nowhere to be found. The
//! bundle is the default one, the host a real one, reached under several names in several environments.

mod around;
mod binary;
mod book;
mod gate;
mod holds;
mod masking;
mod others;
mod secrets;
mod table;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_tests::bundle::Bundle;
use weir_tests::proc::{Scratch, eventually, free_port, listens};
use weir_tests::sshd::{Sshd, Way, keygen, login};
use weir_tests::weir::{Setup, Weir};

/// A host that takes a password, which this is.
const PASSWORD: &str = "vault-only-Pa55word-4417";
/// However busy the machine is.
const SOON: Duration = Duration::from_secs(30);

/// Who asks: a subject, their groups, and the agent that acts for them.
#[derive(Debug, Clone, Copy)]
struct Who {
    subject: &'static str,
    groups: &'static [&'static str],
    agent: bool,
}

/// An agent for somebody who may do something there.
const AGENT: Who = Who {
    subject: "olga@example.test",
    groups: &["operators"],
    agent: true,
};
const ENGINEER: Who = Who {
    subject: "erin@example.test",
    groups: &["engineering"],
    agent: false,
};
const EVA: Who = Who {
    subject: "eva@example.test",
    ..ENGINEER
};
const OPERATOR: Who = Who {
    subject: "otto@example.test",
    groups: &["operators"],
    agent: false,
};
/// May open forwardings; nobody has that by default.
const FORWARDER: Who = Who {
    subject: "fred@example.test",
    groups: &["operators", "host-forwarding"],
    agent: false,
};

/// Names of the same host: in production, twice, and elsewhere; `vault` is one that Weir has a password for,
/// `pass` and `refuse` are what their hosts do with what is no text.
const TARGETS: [(&str, &str); 3] = [("web1", "prod"), ("web2", "prod"), ("stage1", "staging")];

struct Stage {
    host: Sshd,
    weir: Weir,
    port: u16,
    known_host: String,
    /// Whoever decides.
    security: String,
    /// Where commands leave a trace, if they run.
    traces: PathBuf,
    _scratch: Scratch,
}

/// With the default bundle.
fn stage(name: &str) -> Stage {
    stage_with(name, |_| {})
}

/// The default bundle, changed.
fn stage_with(name: &str, change: impl FnOnce(&mut Bundle)) -> Stage {
    stage_on(Sshd::start(&format!("{name}-host")).unwrap(), name, change)
}

/// The same, with this host.
fn stage_on(host: Sshd, name: &str, change: impl FnOnce(&mut Bundle)) -> Stage {
    let scratch = Scratch::new(&format!("{name}-more")).unwrap();
    let traces = scratch.path().join("traces");
    std::fs::create_dir_all(traces.join(".ssh")).unwrap();
    let port = free_port().unwrap();
    let mut setup = Setup::without_database(name);
    let mut bundle = Bundle::default_bundle().unwrap();
    let before = bundle.files.clone();
    change(&mut bundle);
    if bundle.files != before {
        // Its own tests are about the default one.
        bundle.files.retain(|path, _| !path.starts_with("tests/"));
        setup.bundle = Some(bundle.write(scratch.path()).unwrap());
    }
    let key = host.host_key().unwrap();
    let target = |name: &str, env: &str| {
        format!(
            "[[target]]\nname = \"{name}\"\nprotocol = \"ssh\"\nenv = \"{env}\"\nhost = \"127.0.0.1\"\n\
             port = {}\nhost_keys = [\"{key}\"]\n",
            host.port
        )
    };
    // Tests that run at the same time on one stage have one agent.
    setup.extra = format!(
        "[approvals]\nmax_open_per_principal = 50\n[[ssh.listener]]\nlisten = \"127.0.0.1:{port}\"\n\
         auth = [\"certificate\", \"token\"]\n"
    );
    for (name, env) in TARGETS {
        setup.extra += &target(name, env);
    }
    setup.extra += &target("vault", "staging");
    setup.extra += "password = { env = \"VAULT_PASSWORD\" }\n";
    for binary in ["pass", "refuse"] {
        setup.extra += &target(binary, "staging");
        setup.extra += &format!("binary = \"{binary}\"\n");
    }
    setup.vars = vec![("VAULT_PASSWORD".into(), PASSWORD.into())];
    let weir = setup.start().unwrap();
    eventually("Weir to listen for SSH", SOON, || {
        Ok(listens(port).then_some(()))
    })
    .unwrap();
    let security = weir.token("sven@example.test", &["security"]).unwrap();
    let answer = weir.api(&security, "GET", "/ssh/authority", None).unwrap();
    let authority = answer.ok().unwrap();
    host.trust(authority["target_ca"].as_str().unwrap())
        .unwrap();
    Stage {
        known_host: known_host(port),
        host,
        weir,
        port,
        security,
        traces,
        _scratch: scratch,
    }
}

/// Weir's own host key, as a client would learn it.
fn known_host(port: u16) -> String {
    let out = Command::new("ssh-keyscan")
        .args(["-T", "10", "-p", &port.to_string(), "127.0.0.1"])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let line = text.lines().find(|line| !line.starts_with('#'));
    line.expect("ssh-keyscan found no key").to_owned()
}

impl Stage {
    fn token(&self, who: Who) -> String {
        let more: &[&str] = match who.agent {
            true => &["--act", "copilot@example.test", "--act-group", "agents"],
            false => &[],
        };
        let token = self.weir.token_with(who.subject, who.groups, more);
        token.unwrap()
    }

    /// A way to a target, by a certificate.
    fn way(&self, who: Who, target: &str) -> Way {
        self.way_as(who, &login().unwrap(), target)
    }

    fn way_as(&self, who: Who, login: &str, target: &str) -> Way {
        let token = self.token(who);
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = self.weir.home.join(format!("way-{n}"));
        std::fs::create_dir_all(&dir).unwrap();
        let key = dir.join("id");
        keygen(&key, "ed25519").unwrap();
        let public = std::fs::read_to_string(dir.join("id.pub")).unwrap();
        let body = json!({ "public_key": public.trim() });
        let given = self
            .weir
            .api(&token, "POST", "/ssh/certificates", Some(body));
        let given = given.unwrap().ok().unwrap();
        let certificate = given["certificate"].as_str().expect("no certificate");
        std::fs::write(dir.join("id-cert.pub"), format!("{certificate}\n")).unwrap();
        let user = format!("{login}+{target}");
        Way::new(&dir, self.port, &user, &self.known_host, &key, Some(&token)).unwrap()
    }

    fn hold(&self, id: &str) -> Value {
        let path = format!("/approvals/{id}");
        let answer = self.weir.api(&self.security, "GET", &path, None).unwrap();
        answer.ok().unwrap()
    }

    /// True if the vote counted.
    fn approve(&self, id: &str) -> bool {
        self.weir.approve(&self.security, id).unwrap().status == 200
    }

    fn deny(&self, id: &str) -> bool {
        let answer = self.weir.deny(&self.security, id, "not on a Friday");
        answer.unwrap().status == 200
    }

    /// What has been left at this trace, nothing if nothing ran.
    fn trace(&self, name: &str) -> String {
        std::fs::read_to_string(self.traces.join(name)).unwrap_or_default()
    }

    /// A command that leaves a trace.
    fn tracing(&self, name: &str) -> String {
        format!("echo ran >> {}", self.traces.join(name).display())
    }
}

/// A client under way; what it says is in files, to be read while it runs.
struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// What a client saw.
#[derive(Debug)]
struct Seen {
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
}

/// Starts `ssh` with these arguments, `box` being the host.
fn ssh(way: &Way, name: &str, args: &[&str]) -> Running {
    ssh_fed(way, name, args, Stdio::null())
}

fn ssh_fed(way: &Way, name: &str, args: &[&str], input: Stdio) -> Running {
    let mut command = Command::new("ssh");
    command.arg("-F").arg(way.dir.join("config")).args(args);
    spawn(way, name, command, input)
}

fn spawn(way: &Way, name: &str, mut command: Command, input: Stdio) -> Running {
    let (out, err) = (
        way.dir.join(format!("{name}.out")),
        way.dir.join(format!("{name}.err")),
    );
    let child = command
        .env("LC_ALL", "C.UTF-8")
        .env_remove("SSH_AUTH_SOCK")
        .stdin(input)
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    Running { child, out, err }
}

/// A script of bash, which finds `$CFG` and `$T`, the directory of traces, and `$PY`, in its environment.
fn script(stage: &Stage, way: &Way, name: &str, text: &str) -> Running {
    let work = way.dir.join(format!("work-{name}"));
    std::fs::create_dir_all(&work).unwrap();
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", "55", "bash", "-c", text])
        .current_dir(&work)
        .env("CFG", way.dir.join("config"))
        .env("T", &stage.traces)
        .env("HOST_PORT", stage.host.port.to_string())
        .env("PORT", stage.port.to_string())
        .env("FREE", free_port().unwrap().to_string())
        .env("LOGIN", &way.user)
        .env("KEY", &way.key)
        .env("TOKEN", way.password.as_deref().unwrap_or_default())
        .env("PY", weir_tests::paths::venv().join("bin/python"));
    spawn(way, name, command, Stdio::null())
}

/// The id in the notice, and where it can be decided.
fn notice(text: &str) -> Option<(String, String)> {
    let line = text.lines().find(|line| line.starts_with("weir: hold "))?;
    let id = line.split(' ').nth(2)?;
    let url = line.split("decided at ").nth(1)?;
    Some((id.into(), url.trim().into()))
}

impl Running {
    fn err(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap()).into_owned()
    }

    /// Waits until it is told of its hold.
    fn held(&mut self) -> (String, String) {
        let begin = Instant::now();
        loop {
            if let Some(found) = notice(&self.err()) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && begin.elapsed() < SOON,
                "not held: {ended:?} {}",
                self.err()
            );
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    fn wait(mut self) -> Seen {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > SOON * 2 {
                let _ = self.child.kill();
                panic!("the client does not end: {}", self.err());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Seen {
            code: status.code(),
            out: std::fs::read(&self.out).unwrap(),
            err: self.err(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Seen {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

/// A test among others, with its name.
type Job<'a> = (&'a str, Box<dyn FnOnce() + Send + 'a>);

/// Runs what does not depend on each other at the same time; every failure is told.
fn at_once(jobs: Vec<Job<'_>>) {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = jobs
            .into_iter()
            .map(|(name, job)| (name, scope.spawn(job)))
            .collect();
        running
            .into_iter()
            .filter_map(|(name, job)| job.join().err().map(|_| name.to_owned()))
            .collect()
    });
    assert!(failed.is_empty(), "failed: {}", failed.join(", "));
}
