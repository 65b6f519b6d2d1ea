//! Where those go who are let in.

use super::*;

/// A key of nobody here.
const P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLtN0uyglaA34HEw0ert4bnvdwruRynwDNPv9q1kNVeOrjH3cCJy9z07gBXEStqGtd0kVqr/5SP2e/iWEXeqpIE=";

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
    let floor = Duration::from_millis(800);
    let change = |options: &mut crate::Options, _: &Keys| options.limits.hold_notice = floor;
    let Some(world) = World::with(policy, change).await else {
        return;
    };
    let ssh = world.certified();
    let said = async |user: &str, name: &str| {
        let begun = Instant::now();
        let out = ssh.run(user, "true").await;
        // As late as the other, too.
        assert!(begun.elapsed() >= floor, "{user}: {:?}", begun.elapsed());
        assert_eq!(out.status.code(), Some(255));
        assert!(out.stdout.is_empty());
        text(&out.stderr).replace(name, "NAME")
    };
    let forbidden = said("root+web1", "web1").await;
    assert!(forbidden.contains("is open to you"), "{forbidden}");
    assert_eq!(forbidden, said("root+web2", "web2").await);
    assert_eq!(said("web1", "web1").await, said("web2", "web2").await);
}

/// There was no session, and who wanted one is on record.
#[track_caller]
fn no_session_but_on_record(world: &World) {
    let entries = world.memory.journal.entries();
    let [Entry::Event(event)] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    assert_eq!(event.action, "ssh:connect");
    assert!(event.principal.is_some() && event.result.is_err());
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
    no_session_but_on_record(&world);
}

/// `sshd` cuts a user name at its first ':' and logs in what is before it: with the login `root:x`, policy would
/// see an account that there is not, and the host would open root's.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_the_account_that_the_host_opens() {
    let key = |options: &mut crate::Options, keys: &Keys| {
        options.targets[0].credential = Credential::Key(keys.fixed.clone());
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), key).await else {
        return;
    };
    let ssh = world.certified();
    for user in [
        "root:x+web1",
        "root:+web1",
        "root/sysadm_r+web1",
        "-root+web1",
    ] {
        let option = format!("User={user}");
        let mut command = ssh.command();
        let out = finished(command.args(["-o", &option, "127.0.0.1", "echo in"])).await;
        assert_eq!(text(&out.stdout), "", "{user}");
        assert_eq!(out.status.code(), Some(255), "{user}");
    }
    let turned = world.memory.journal.entries().into_iter().map(|e| match e {
        Entry::Event(event) => event.result.unwrap_err(),
        other => panic!("{other:?}"),
    });
    let turned: Vec<String> = turned.collect();
    // Some clients do not send the last one.
    assert!((3..=4).contains(&turned.len()), "{turned:?}");
    assert!(turned.iter().all(|why| why.contains("no target is named")));
    // The way is open, so it is the login that closes it.
    let out = ssh.run("root+web1", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
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
    assert!(said.contains("who may host_key:approve"), "{said}");
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
    // One that an operator has said no to waits for nobody.
    *world.keys.rejects.lock() = true;
    let said = refused("root+new").await;
    assert!(
        said.contains("does not prove that it is the right host"),
        "{said}"
    );
    // Another one than the approved one, of the same kind or of another: a change is nobody's to wait for quietly.
    *world.keys.rejects.lock() = false;
    for other in [
        PrivateKey::generate_ed25519().unwrap().public().clone(),
        ssh_keys::PublicKey::from_openssh(P256).unwrap(),
    ] {
        *world.keys.approved.lock() = vec![other];
        let said = refused("root+new").await;
        assert!(
            said.contains("does not prove that it is the right host"),
            "{said}"
        );
        let last = world.keys.unknown.lock().last().cloned();
        assert_eq!(last.unwrap(), format!("new {fingerprint} changed"));
        let reasons = ended(&world.memory);
        let last = reasons.last().unwrap();
        assert!(
            matches!(last, EndReason::Error(why) if why.contains("not the one that was approved")),
            "{last:?}"
        );
    }
    world.keys.approved.lock().clear();
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

/// A host that is known by nothing but its certificate is the one that the certificate names.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_a_certificate_is_the_one_that_it_names() {
    let keys = Keys::new();
    let spec = Keys::spec(keys.sshd.public(), CertificateKind::Host, "db.internal");
    let certificate = spec.sign(&keys.host_ca).unwrap();
    let Some(sshd) = Sshd::showing(&keys, Some(&certificate)).await else {
        return;
    };
    let of = |name: &str, principal: Option<&str>, authority: &PrivateKey| {
        let mut target = target(name, sshd.port, &keys);
        target.trust = HostTrust {
            authorities: vec![authority.public().clone()],
            principal: principal.map(Arc::from),
            ..HostTrust::default()
        };
        target
    };
    let memory = Memory::new(MemoryPolicy::permit_all());
    let targets = vec![
        of("named", Some("db.internal"), &keys.host_ca),
        of("db.internal", None, &keys.host_ca),
        of("unnamed", None, &keys.host_ca),
        of("misnamed", Some("web.internal"), &keys.host_ca),
        of("signed", Some("db.internal"), &keys.user_ca),
    ];
    let weir = Weir::start(options(targets, &keys, &memory));
    let world = World {
        keys,
        memory,
        weir,
        dir: Dir::new(),
        _sshd: sshd,
    };
    let ssh = world.certified();
    for (name, is_in, why) in [
        ("named", true, ""),
        ("db.internal", true, ""),
        ("unnamed", false, "its host certificate does not count"),
        ("misnamed", false, "its host certificate does not count"),
        ("signed", false, "its host certificate does not count"),
    ] {
        let out = ssh.run(&format!("root+{name}"), "echo in").await;
        let said = text(&out.stderr);
        let expect = if is_in { "in\n" } else { "" };
        assert_eq!(text(&out.stdout), expect, "{name}: {said}");
        if is_in {
            continue;
        }
        assert_eq!(out.status.code(), Some(255), "{name}");
        let told = "does not prove that it is the right host";
        assert!(said.contains(told), "{name}: {said}");
        let reasons = ended(&world.memory);
        let last = reasons.last().unwrap();
        assert!(
            matches!(last, EndReason::Error(e) if e.contains(why)),
            "{name}: {last:?}"
        );
    }
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
    let ssh = world.certified().option("RekeyLimit=1M");
    let jump = format!("ssh {} -W %h:%p alice@127.0.0.1", arguments(&ssh));
    let through = |host: &str, port: u16| {
        let mut ssh = Command::new("ssh");
        let known = world.dir.0.join("known_hosts");
        ssh.args(["-F", "none", "-o", "BatchMode=yes", "-p", &port.to_string()])
            .args(["-o", "RekeyLimit=1M"])
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
    // More than every window on the way, both ways, and with new keys inside and outside meanwhile.
    let data = world.dir.0.join("data");
    let sent: Vec<u8> = (0..5_u32 << 18).flat_map(u32::to_be_bytes).collect();
    std::fs::write(&data, &sent).unwrap();
    let mut cat = through("web1", 22);
    cat.arg("cat").stdin(std::fs::File::open(&data).unwrap());
    let out = finished(&mut cat).await;
    assert!(
        out.stdout == sent,
        "{} bytes: {}",
        out.stdout.len(),
        text(&out.stderr)
    );

    for (host, port, said) in [
        ("web2", 22, "is open to you"),
        ("web1", 80, "forwards nothing else"),
    ] {
        let out = finished(through(host, port).arg("echo in")).await;
        assert_eq!(out.status.code(), Some(255), "{host}:{port}");
        let stderr = text(&out.stderr);
        assert!(stderr.contains(said), "{host}:{port}: {stderr}");
    }
    // Who came in before it was revoked has a connection, and no session any more.
    world.keys.revoked.store(true, Ordering::SeqCst);
    let jumped = finished(through("web1", 22).arg("echo in")).await;
    let direct = world.certified().run("root+web1", "echo in").await;
    for out in [jumped, direct] {
        assert_eq!(text(&out.stdout), "");
        assert!(
            text(&out.stderr).contains("does not count any more"),
            "{}",
            text(&out.stderr)
        );
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
        .option("ServerAliveCountMax=2");
    let approve = async {
        world.memory.approver.next().await;
        // Longer than a client waits whose questions nobody answers.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let live = world.memory.registry.live();
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
    world.memory.approver.next().await;
    child.kill().await.unwrap();
    let abandoned = async {
        while world.memory.approver.abandoned().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), abandoned)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_waiting_clients_go() {
    let policy = MemoryPolicy::hold(&[Action::SshConnect]);
    let drain = Duration::from_secs(60);
    let change = |options: &mut crate::Options, _: &Keys| options.listeners[0].listen.drain = drain;
    let Some(world) = World::with(policy, change).await else {
        return;
    };
    let ssh = world.certified();
    let stop = async {
        world.memory.approver.next().await;
        world.weir.shutdown.cancel();
        Instant::now()
    };
    let (out, begun) = tokio::join!(ssh.run("root+web1", "echo in"), stop);
    assert_eq!(out.status.code(), Some(255));
    assert!(begun.elapsed() < drain / 2, "{:?}", begun.elapsed());
    assert_eq!(ended(&world.memory).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_session_does_not_stay() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.lounge_idle = Duration::from_secs(3);
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    // Keepalives are answered, and are no reason to stay.
    let ssh = world.certified().arg("-N").option("ServerAliveInterval=1");
    let out = finished(ssh.command().arg("alice@127.0.0.1")).await;
    assert_eq!(out.status.code(), Some(255));
    assert!(
        text(&out.stderr).contains("there is no session"),
        "{}",
        text(&out.stderr)
    );
    no_session_but_on_record(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_can_rule_out_a_terminal() {
    let Some(world) = World::new().await else {
        return;
    };
    let mine = PrivateKey::generate_ed25519().unwrap();
    let with = Keys::spec(mine.public(), CertificateKind::User, PRINCIPAL);
    let without = with.clone();
    let mut with = with;
    with.extensions = Options::new().flag("permit-pty");
    for (spec, terminal) in [(with, true), (without, false)] {
        let certificate = spec.sign(&world.keys.user_ca).unwrap().to_openssh("");
        let ssh = world.with_certificate(&mine, &certificate).arg("-tt");
        let out = ssh.run("root+web1", "tty").await;
        let is = text(&out.stdout).starts_with("/dev/");
        let said = text(&out.stderr);
        assert_eq!(is, terminal, "{} {said}", text(&out.stdout));
        assert_eq!(
            said.contains("PTY allocation request failed"),
            !terminal,
            "{said}"
        );
    }
}

/// By whatever name it is configured, it is one host, and all of its ports lead there.
#[test]
fn ports_of_ssh_are_those_of_all_targets_on_the_host() {
    let target = |host: &str, port: u16| SshTarget {
        info: Arc::new(pipeline::Target {
            name: format!("{host}-{port}").into(),
            protocol: pipeline::Protocol::Ssh,
            env: "test".into(),
            tags: Default::default(),
        }),
        host: host.into(),
        port,
        default_login: None,
        logins: Vec::new(),
        credential: Credential::Certificate,
        trust: HostTrust::default(),
        binary: Default::default(),
    };
    let known = crate::service::ports(&[
        target("web1.example", 22),
        target("WEB1.example.", 2222),
        target("10.0.0.7", 22),
        target("::ffff:10.0.0.7", 2022),
        target("localhost", 2201),
        target("127.0.0.1", 2202),
        target("web2.example", 2222),
    ]);
    let of = |host: &str| known[&crate::action::one_name(host)].to_vec();
    assert_eq!(of("web1.example"), [22, 2222]);
    assert_eq!(of("10.0.0.7"), [22, 2022]);
    assert_eq!(of("::1"), [2201, 2202]);
    assert_eq!(of("web2.example"), [2222]);
}
