//! For tests: real `sshd` and `ssh` on loopback, a service between them, and ports that live in memory.

pub(crate) mod ports;
pub(crate) mod sshd;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pipeline::memory::Memory;
use pipeline::{Protocol, Target};
use tokio::process::Command;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::SshService;
use crate::config::{
    Binary, ClientLogin, Credential, HostTrust, Limits, Options, SshListener, SshTarget,
};
pub(crate) use ports::Keys;

/// Each once in this process.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A directory that goes with the test.
pub(crate) struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        let name = format!("weir-ssh-{}-{}", std::process::id(), number());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Only for its owner, as `ssh` wants private keys to be.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write(name, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A running service.
pub(crate) struct Weir {
    pub addr: SocketAddr,
    pub shutdown: CancellationToken,
    _stop: DropGuard,
}

impl Weir {
    pub fn start(options: Options) -> Self {
        Self::serve(SshService::new(options).unwrap())
    }

    pub fn serve(service: SshService) -> Self {
        let addr = *service.local_addrs().first().unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(service.run(shutdown.clone()));
        Self {
            addr,
            _stop: shutdown.clone().drop_guard(),
            shutdown,
        }
    }
}

pub(crate) fn target(name: &str, port: u16, keys: &Keys) -> SshTarget {
    SshTarget {
        info: Arc::new(Target {
            name: name.into(),
            protocol: Protocol::Ssh,
            env: "test".into(),
            tags: Default::default(),
        }),
        host: "127.0.0.1".into(),
        port,
        default_login: Some("root".into()),
        logins: Vec::new(),
        credential: Credential::Certificate,
        trust: HostTrust {
            pins: vec![keys.sshd.public().clone()],
            ..HostTrust::default()
        },
        binary: Binary::default(),
    }
}

pub(crate) fn options(targets: Vec<SshTarget>, keys: &Arc<Keys>, memory: &Memory) -> Options {
    let mut listen = net::ListenerOptions::new("ssh", "127.0.0.1:0").unwrap();
    listen.drain = Duration::from_secs(4);
    Options {
        listeners: vec![SshListener {
            listen,
            target: None,
            logins: ClientLogin::ALL.to_vec(),
            banner: None,
        }],
        targets,
        ports: memory.ports(),
        auth: keys.clone(),
        host_identity: keys.clone(),
        host_keys: keys.clone(),
        issuer: Some(keys.clone()),
        limits: Limits {
            failed_login_delay: Duration::from_millis(20),
            ..Limits::default()
        },
    }
}

/// The real client.
pub(crate) struct Ssh<'a> {
    dir: &'a Dir,
    known: PathBuf,
    port: u16,
    args: Vec<String>,
    envs: Vec<(String, String)>,
}

impl<'a> Ssh<'a> {
    /// A client that knows the gateway, and hosts behind it, by the authority of hosts.
    pub fn to(weir: &Weir, keys: &Keys, dir: &'a Dir) -> Self {
        let line = format!(
            "@cert-authority * {}\n",
            keys.host_ca.public().to_openssh("")
        );
        Self {
            dir,
            known: dir.write("known_hosts", &line),
            port: weir.addr.port(),
            args: Vec::new(),
            envs: Vec::new(),
        }
    }

    pub fn option(mut self, option: &str) -> Self {
        self.args.extend(["-o".to_owned(), option.to_owned()]);
        self
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &Path) -> Self {
        self.envs
            .push((name.to_owned(), value.display().to_string()));
        self
    }

    /// Answers every question with the same line.
    pub fn answers(self, answer: &str) -> Self {
        let text = format!(
            "#!/bin/sh\necho \"$1\" >> '{}'\nprintf '%s\\n' '{answer}'\n",
            self.dir.0.join("asked").display()
        );
        // Of another client in this directory the answer may be another.
        let name = format!("askpass-{}", number());
        let script = self.dir.script(&name, &text);
        let mut this = self.env("SSH_ASKPASS", &script);
        this.envs
            .push(("SSH_ASKPASS_REQUIRE".into(), "force".into()));
        this
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "none", "-p", &self.port.to_string()])
            .args([
                "-o",
                &format!("UserKnownHostsFile={}", self.known.display()),
            ])
            .args(["-o", "GlobalKnownHostsFile=/dev/null"])
            .args(["-o", "StrictHostKeyChecking=yes"])
            .args(["-o", "UpdateHostKeys=no", "-o", "HostKeyAlias=gateway"])
            .args(&self.args)
            .env_remove("SSH_AUTH_SOCK")
            .env("HOME", &self.dir.0)
            .envs(self.envs.iter().map(|(k, v)| (k, v)))
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub async fn run(&self, user: &str, command: &str) -> Output {
        let mut ssh = self.command();
        ssh.arg(format!("{user}@127.0.0.1")).arg(command);
        finished(&mut ssh).await
    }
}

pub(crate) async fn finished(command: &mut Command) -> Output {
    let limit = Duration::from_secs(30);
    let output = tokio::time::timeout(limit, command.output()).await;
    output.expect("the client did not end").unwrap()
}

/// For how long this thread has had a processor for that: however many others want one. Where no system says, how long
/// it took.
pub(crate) fn processor_time(work: impl FnOnce()) -> Duration {
    let ran = || {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(Duration::from_nanos(stat.split(' ').next()?.parse().ok()?))
    };
    let (begun, before) = (Instant::now(), ran());
    work();
    match before.zip(ran()) {
        Some((before, after)) => after.saturating_sub(before),
        None => begun.elapsed(),
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
