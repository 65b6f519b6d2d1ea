//! The real client through the service to a real server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pipeline::memory::{Entry, Memory, MemoryPolicy};
use pipeline::{Action, EndReason};
use ssh_keys::{CertificateKind, Network, Options, PrivateKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::config::{ClientLogin, Credential, HostTrust, SshTarget};
use crate::testing::ports::{Keys, PRINCIPAL, TOKEN};
use crate::testing::sshd::{Sshd, free_port};
use crate::testing::{Dir, Ssh, Weir, finished, options, target, text};

/// A host, a gateway in front of it, and somebody with a directory.
struct World {
    keys: Arc<Keys>,
    memory: Memory,
    weir: Weir,
    dir: Dir,
    _sshd: Sshd,
}

impl World {
    async fn new() -> Option<Self> {
        Self::with(MemoryPolicy::permit_all(), |_, _| {}).await
    }

    async fn with(
        policy: MemoryPolicy,
        change: impl FnOnce(&mut crate::Options, &Keys),
    ) -> Option<Self> {
        let keys = Keys::new();
        let sshd = Sshd::start(&keys).await?;
        let memory = Memory::new(policy);
        let mut options = options(vec![target("web1", sshd.port, &keys)], &keys, &memory);
        change(&mut options, &keys);
        Some(Self {
            weir: Weir::start(options),
            keys,
            memory,
            dir: Dir::new(),
            _sshd: sshd,
        })
    }

    fn ssh(&self) -> Ssh<'_> {
        Ssh::to(&self.weir, &self.keys, &self.dir)
    }

    /// A client with a new certificate.
    fn certified(&self) -> Ssh<'_> {
        let mine = PrivateKey::generate_ed25519().unwrap();
        let certificate = self.keys.user_certificate(mine.public()).to_openssh("");
        self.with_certificate(&mine, &certificate)
    }

    fn with_certificate(&self, key: &PrivateKey, certificate: &str) -> Ssh<'_> {
        let path = self.dir.write("id", &key.to_openssh(""));
        self.dir.write("id-cert.pub", certificate);
        self.ssh()
            .arg("-i")
            .arg(&path.display().to_string())
            .option("IdentitiesOnly=yes")
            .option("BatchMode=yes")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_opens_a_session_on_a_real_host() {
    let Some(world) = World::new().await else {
        return;
    };
    let ssh = world.certified();
    for user in [
        "root+web1",
        "web1",
        "root%web1",
        "root@web1",
        "alice:web1",
        "root+WEB1",
    ] {
        let out = ssh.run(user, "echo $USER; exit 7").await;
        assert_eq!(text(&out.stdout), "root\n", "{user}: {}", text(&out.stderr));
        assert_eq!(out.status.code(), Some(7), "{user}");
    }
    let journal = world.memory.journal.entries();
    let starts = journal.iter().filter(|e| matches!(e, Entry::Start(_)));
    assert_eq!(starts.count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_and_what_is_forbidden_look_the_same() {
    let policy = MemoryPolicy::deny(&[Action::SshConnect]);
    let Some(world) = World::with(policy, |_, _| {}).await else {
        return;
    };
    let ssh = world.certified();
    let said = async |user: &str, name: &str| {
        let out = ssh.run(user, "true").await;
        assert_eq!(out.status.code(), Some(255));
        assert!(out.stdout.is_empty());
        text(&out.stderr).replace(name, "NAME")
    };
    let forbidden = said("root+web1", "web1").await;
    assert!(forbidden.contains("is open to you"), "{forbidden}");
    assert_eq!(forbidden, said("root+web2", "web2").await);
    assert_eq!(said("web1", "web1").await, said("web2", "web2").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_logins_of_the_target_are_open() {
    let logins = |options: &mut crate::Options, _: &Keys| {
        options.targets[0].logins = vec!["root".into(), "deploy".into()];
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), logins).await else {
        return;
    };
    let out = world.certified().run("admin+web1", "true").await;
    assert_eq!(out.status.code(), Some(255));
    assert!(
        text(&out.stderr).contains("no target"),
        "{}",
        text(&out.stderr)
    );
    assert!(world.memory.journal.entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_keys_of_an_agent_are_no_attempts() {
    let Some(world) = World::new().await else {
        return;
    };
    let agent = Agent::start(&world.dir).await;
    for i in 0..12 {
        let key = PrivateKey::generate_ed25519().unwrap();
        agent.add(&world.dir, &format!("stranger{i}"), &key).await;
    }
    let mine = PrivateKey::generate_ed25519().unwrap();
    world.keys.registered.lock().push(mine.public().clone());
    agent.add(&world.dir, "mine", &mine).await;
    let ssh = world
        .ssh()
        .env("SSH_AUTH_SOCK", &agent.socket)
        .option("BatchMode=yes");
    let begun = Instant::now();
    let out = ssh.run("root+web1", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    assert!(world.keys.keys_asked.load(Ordering::SeqCst) >= 13);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(text(&out.stderr), "", "a good login is quiet");
}

struct Agent {
    socket: std::path::PathBuf,
    _child: tokio::process::Child,
}

impl Agent {
    async fn start(dir: &Dir) -> Self {
        let socket = dir.0.join("agent");
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        for _ in 0..200 {
            if socket.exists() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self {
            socket,
            _child: child,
        }
    }

    async fn add(&self, dir: &Dir, name: &str, key: &PrivateKey) {
        let path = dir.write(name, &key.to_openssh(name));
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(path).env("SSH_AUTH_SOCK", &self.socket);
        let out = finished(&mut add).await;
        assert!(out.status.success(), "{}", text(&out.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_a_password() {
    let Some(world) = World::new().await else {
        return;
    };
    let ssh = world
        .ssh()
        .answers(TOKEN)
        .option("PreferredAuthentications=password");
    let out = ssh.run("root+web1", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    // Where a device is asked for first, the same program still gets in.
    let ssh = world.ssh().answers(TOKEN);
    let out = ssh.run("root+web1", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    assert_eq!(world.keys.flows_dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_refused_slowly_and_not_for_ever() {
    let slow = |options: &mut crate::Options, _: &Keys| {
        options.limits.failed_login_delay = Duration::from_millis(100);
        options.limits.max_attempts = 3;
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), slow).await else {
        return;
    };
    let ssh = world
        .ssh()
        .answers("wrong")
        .option("PreferredAuthentications=password")
        .option("NumberOfPasswordPrompts=20");
    let begun = Instant::now();
    let out = ssh.run("root+web1", "echo in").await;
    assert_eq!(out.status.code(), Some(255));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let said = text(&out.stderr);
    assert!(said.contains("the token is not valid"), "{said}");
    assert!(said.contains("too many authentication failures"), "{said}");
    assert_eq!(world.keys.tokens_asked.load(Ordering::SeqCst), 3);
    assert!(world.memory.journal.entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_openssh_has_cut_is_explained() {
    let Some(world) = World::new().await else {
        return;
    };
    let ssh = world
        .ssh()
        .answers(&"e".repeat(1_500))
        .option("PreferredAuthentications=password")
        .option("NumberOfPasswordPrompts=1");
    let out = ssh.run("root+web1", "true").await;
    assert_eq!(out.status.code(), Some(255));
    let said = text(&out.stderr);
    assert!(said.contains("exactly 1023 characters"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_approved_by_a_person() {
    let Some(world) = World::new().await else {
        return;
    };
    let ssh = world
        .ssh()
        .answers("")
        .option("PreferredAuthentications=keyboard-interactive");
    let approve = async {
        while world.keys.flows.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.keys.device.send_replace(Some(true));
    };
    let (out, ()) = tokio::join!(ssh.run("root+web1", "echo in"), approve);
    let said = text(&out.stderr);
    assert_eq!(text(&out.stdout), "in\n", "{said}");
    assert!(said.contains("https://login.example/device"), "{said}");
    assert!(said.contains("ABCD-EFGH"), "{said}");

    world.keys.device.send_replace(Some(false));
    let ssh = ssh.option("NumberOfPasswordPrompts=1");
    let out = ssh.run("root+web1", "echo in").await;
    assert_eq!(out.status.code(), Some(255));
    assert!(text(&out.stderr).contains("the device was not approved"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_device_flow_along() {
    let Some(world) = World::new().await else {
        return;
    };
    let ssh = world
        .ssh()
        .answers("")
        .option("PreferredAuthentications=keyboard-interactive");
    let mut child = ssh.command().arg("root+web1@127.0.0.1").spawn().unwrap();
    while world.keys.flows.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.keys.flows_dropped.load(Ordering::SeqCst), 0);
    child.kill().await.unwrap();
    let gone = async {
        while world.keys.flows_dropped.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), gone)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_do_not_count_say_why() {
    let Some(world) = World::new().await else {
        return;
    };
    let mine = PrivateKey::generate_ed25519().unwrap();
    let stranger = PrivateKey::generate_ed25519().unwrap();
    let spec = || Keys::spec(mine.public(), CertificateKind::User, PRINCIPAL);
    let ours = &world.keys.user_ca;
    let here = Network::host("127.0.0.1".parse().unwrap());
    let elsewhere = Network::host("192.0.2.1".parse().unwrap());
    let mut expired = spec();
    expired.valid_before = expired.valid_after + 1;
    let mut other_name = spec();
    other_name.principals = vec!["root".into()];
    let mut forced = spec();
    forced.critical = Options::new().text("force-command", "id");
    let mut odd = spec();
    odd.critical = Options::new().flag("verify-required");
    let mut far = spec();
    far.critical = Options::new().sources(&[elsewhere]);
    let mut near = spec();
    near.critical = Options::new().sources(&[here]);
    let mut host = spec();
    host.kind = CertificateKind::Host;
    for (spec, authority, said) in [
        (&near, ours, None),
        (&expired, ours, Some("expired")),
        (&other_name, ours, Some("")),
        (&forced, ours, Some("force-command")),
        (&odd, ours, Some("verify-required")),
        (&far, ours, Some("address")),
        (&host, ours, Some("")),
        // Nothing is said to whoever has a certificate of somebody else: it is a key like any other.
        (&near, &stranger, Some("")),
    ] {
        let certificate = spec.sign(authority).unwrap().to_openssh("");
        let ssh = world.with_certificate(&mine, &certificate);
        let out = ssh.run("root+web1", "echo in").await;
        let stderr = text(&out.stderr);
        match said {
            None => assert_eq!(text(&out.stdout), "in\n", "{stderr}"),
            Some(said) => {
                assert_eq!(out.status.code(), Some(255), "{said}");
                assert!(stderr.contains("Permission denied"), "{stderr}");
                assert!(stderr.contains(said), "{said}: {stderr}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_not_the_right_ones_are_not_talked_to() {
    let stranger = PrivateKey::generate_ed25519().unwrap();
    let wrong = stranger.public().clone();
    let change = move |options: &mut crate::Options, keys: &Keys| {
        let like = options.targets[0].clone();
        let with = |name: &str, trust: HostTrust| SshTarget {
            info: Arc::new(pipeline::Target {
                name: name.into(),
                ..(*like.info).clone()
            }),
            trust,
            ..like.clone()
        };
        options.targets = vec![
            with(
                "pinned",
                HostTrust {
                    pins: vec![wrong.clone()],
                    // An approval is no way around a pin.
                    approved: true,
                    ..HostTrust::default()
                },
            ),
            with(
                "authority",
                HostTrust {
                    authorities: vec![wrong.clone()],
                    ..HostTrust::default()
                },
            ),
            with(
                "new",
                HostTrust {
                    approved: true,
                    ..HostTrust::default()
                },
            ),
        ];
        keys.approved.lock().clear();
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    let ssh = world.certified();
    let refused = async |user: &str| {
        let out = ssh.run(user, "echo in").await;
        assert_eq!(out.status.code(), Some(255), "{user}");
        assert!(out.stdout.is_empty(), "{user}");
        text(&out.stderr)
    };
    let said = refused("root+pinned").await;
    assert!(
        said.contains("does not prove that it is the right host"),
        "{said}"
    );
    let said = refused("root+authority").await;
    assert!(said.contains("did not complete the login"), "{said}");
    let said = refused("root+new").await;
    assert!(said.contains("operators have to approve it"), "{said}");
    let fingerprint = world.keys.sshd.public().fingerprint();
    assert!(
        !said.contains(&fingerprint),
        "that is for operators: {said}"
    );
    assert_eq!(*world.keys.unknown.lock(), [format!("new {fingerprint}")]);
    let reasons = ended(&world.memory);
    let last = reasons.last().unwrap();
    assert!(
        matches!(last, EndReason::Error(why) if why.contains(&fingerprint)),
        "{last:?}"
    );
    // Once somebody has looked at it, it is known; what is pinned stays what it is.
    world
        .keys
        .approved
        .lock()
        .push(world.keys.sshd.public().clone());
    let out = ssh.run("root+new", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    refused("root+pinned").await;
}

fn ended(memory: &Memory) -> Vec<EndReason> {
    let entries = memory.journal.entries();
    let ends = entries.into_iter().filter_map(|e| match e {
        Entry::End(end) => Some(end.reason),
        _ => None,
    });
    ends.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_gets_the_key_that_it_is_configured_with() {
    let change = |options: &mut crate::Options, keys: &Keys| {
        let like = options.targets[0].clone();
        let with = |name: &str, credential: Credential, port: u16| SshTarget {
            info: Arc::new(pipeline::Target {
                name: name.into(),
                ..(*like.info).clone()
            }),
            credential,
            port,
            ..like.clone()
        };
        let wrong = Arc::new(PrivateKey::generate_ed25519().unwrap());
        options.targets = vec![
            with("key", Credential::Key(keys.fixed.clone()), like.port),
            with("wrong", Credential::Key(wrong), like.port),
            with("down", Credential::Key(keys.fixed.clone()), free_port()),
        ];
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    let ssh = world.certified();
    let out = ssh.run("root+key", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    for (user, said) in [
        ("root+wrong", "does not accept Weir's login"),
        ("root+down", "cannot be reached"),
    ] {
        let out = ssh.run(user, "echo in").await;
        assert_eq!(out.status.code(), Some(255));
        let stderr = text(&out.stderr);
        assert!(stderr.contains("connect failed"), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert!(!stderr.contains("publickey"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_is_a_door_for_the_same_identity() {
    let Some(world) = World::new().await else {
        return;
    };
    let ssh = world.certified();
    let jump = format!("ssh {} -W %h:%p alice@127.0.0.1", arguments(&ssh));
    let through = |host: &str, port: u16| {
        let mut ssh = Command::new("ssh");
        let known = world.dir.0.join("known_hosts");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-p", &port.to_string()])
            .args(["-o", &format!("ProxyCommand={jump}")])
            .args(["-o", &format!("UserKnownHostsFile={}", known.display())])
            .args([
                "-o",
                "GlobalKnownHostsFile=/dev/null",
                "-o",
                "StrictHostKeyChecking=yes",
            ])
            .env("HOME", &world.dir.0)
            .env_remove("SSH_AUTH_SOCK")
            .arg(format!("root@{host}"));
        ssh.kill_on_drop(true);
        ssh
    };
    // Neither key nor certificate for what is inside: the outer connection says who it is.
    let out = finished(through("web1", 22).arg("echo in; exit 3")).await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    assert_eq!(out.status.code(), Some(3));
    // More than every window on the way, both ways.
    let data = world.dir.0.join("data");
    std::fs::write(&data, vec![b'x'; 5 << 20]).unwrap();
    let mut cat = through("web1", 22);
    cat.arg("cat").stdin(std::fs::File::open(&data).unwrap());
    let out = finished(&mut cat).await;
    assert_eq!(out.stdout.len(), 5 << 20, "{}", text(&out.stderr));

    for (host, port, said) in [
        ("web2", 22, "is open to you"),
        ("web1", 80, "forwards nothing else"),
    ] {
        let out = finished(through(host, port).arg("echo in")).await;
        assert_eq!(out.status.code(), Some(255), "{host}:{port}");
        let stderr = text(&out.stderr);
        assert!(stderr.contains(said), "{host}:{port}: {stderr}");
    }
}

fn arguments(ssh: &Ssh<'_>) -> String {
    let command = ssh.command();
    let args: Vec<String> = command
        .as_std()
        .get_args()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    args.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_of_the_connection_is_told_before_it_is_open() {
    let policy = MemoryPolicy::hold(&[Action::SshConnect]);
    let Some(world) = World::with(policy, |_, _| {}).await else {
        return;
    };
    let ssh = world
        .certified()
        .option("ServerAliveInterval=1")
        .option("ServerAliveCountMax=1");
    let approve = async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let live = world.memory.registry.live();
        assert!(!live.is_empty(), "{:?}", world.memory.journal.entries());
        let session = &live.first().unwrap().id_text;
        world
            .memory
            .approver
            .approve(&format!("hold-{session}-0"), "bob");
    };
    let (out, ()) = tokio::join!(ssh.run("root+web1", "echo in"), approve);
    let said = text(&out.stderr);
    assert_eq!(text(&out.stdout), "in\n", "{said}");
    assert!(said.contains("connecting waits for approval"), "{said}");

    // Who does not wait cancels it.
    let mut child = ssh.command().arg("root+web1@127.0.0.1").spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(800)).await;
    child.kill().await.unwrap();
    let abandoned = async {
        while world.memory.approver.abandoned().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(3), abandoned)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_authenticate_in_time_is_let_go() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.login_timeout = Duration::from_millis(600);
        options.limits.max_unauthenticated_per_source = 3;
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    // Says nothing; says half a line; floods.
    let mut silent = TcpStream::connect(world.weir.addr).await.unwrap();
    let mut half = TcpStream::connect(world.weir.addr).await.unwrap();
    half.write_all(b"SSH-2.0-ha").await.unwrap();
    let mut flood = TcpStream::connect(world.weir.addr).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // No fourth one from here, until one of them is gone.
    let mut fourth = TcpStream::connect(world.weir.addr).await.unwrap();
    let mut answer = Vec::new();
    let end = fourth.read_to_end(&mut answer);
    let end = tokio::time::timeout(Duration::from_millis(300), end).await;
    assert!(end.is_ok(), "the fourth one waits");
    assert!(answer.is_empty(), "{}", text(&answer));
    let flooded = async {
        loop {
            if flood.write_all(&[b'x'; 4_096]).await.is_err() {
                return;
            }
        }
    };
    let limit = Duration::from_secs(3);
    tokio::time::timeout(limit, flooded).await.unwrap();
    for (name, stream) in [("silent", &mut silent), ("half", &mut half)] {
        let mut all = Vec::new();
        let end = tokio::time::timeout(limit, stream.read_to_end(&mut all)).await;
        assert!(end.is_ok(), "{name}");
    }
    let out = world.certified().run("root+web1", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_can_belong_to_one_target_and_have_a_banner() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.listeners[0].target = Some("web1".into());
        options.listeners[0].banner = Some("authorized use only\x1b[0m".into());
        options.listeners[0].logins = vec![ClientLogin::Certificate];
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    let ssh = world.certified();
    let out = ssh.run("root", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    assert_eq!(text(&out.stderr), "authorized use only[0m\r\n");
    let out = ssh.run("root+web1", "echo in").await;
    assert_eq!(out.status.code(), Some(255));
    let none = world
        .ssh()
        .option("BatchMode=yes")
        .run("root", "true")
        .await;
    assert!(text(&none.stderr).contains("Permission denied (publickey)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_waiting_clients_go() {
    let policy = MemoryPolicy::hold(&[Action::SshConnect]);
    let Some(world) = World::with(policy, |_, _| {}).await else {
        return;
    };
    let ssh = world.certified();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        world.weir.shutdown.cancel();
    };
    let begun = Instant::now();
    let (out, ()) = tokio::join!(ssh.run("root+web1", "echo in"), stop);
    assert_eq!(out.status.code(), Some(255));
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(ended(&world.memory).len(), 1);
}
