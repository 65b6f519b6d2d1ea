//! Who is let in, and who is not.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn twelve_keys_of_an_agent_are_no_attempts() {
    // One attempt would take longer than all of this.
    let delay = Duration::from_secs(25);
    let slow = |options: &mut crate::Options, _: &Keys| options.limits.failed_login_delay = delay;
    let Some(world) = World::with(MemoryPolicy::permit_all(), slow).await else {
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
    assert!(begun.elapsed() < delay, "{:?}", begun.elapsed());
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
        // The socket is there before anybody listens on it.
        let listens = async || tokio::net::UnixStream::connect(&socket).await.is_ok();
        for _ in 0..2_000 {
            if listens().await {
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
    let entries = world.memory.journal.entries();
    assert_eq!(entries.len(), 3);
    for entry in entries {
        let Entry::Event(event) = entry else {
            panic!("{entry:?}");
        };
        assert_eq!(event.action, "ssh:login");
        assert_eq!(event.result, Err("the token is not valid".to_owned()));
        assert_eq!(event.resource, "Source::\"127.0.0.1\"");
        assert_eq!(event.detail, "user \"root+web1\"", "and no token");
    }
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
    tokio::time::timeout(Duration::from_secs(20), gone)
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
async fn who_does_not_authenticate_in_time_is_let_go() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.login_timeout = Duration::from_secs(5);
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
    let end = tokio::time::timeout(Duration::from_secs(4), end).await;
    assert!(end.is_ok(), "the fourth one waits");
    assert!(answer.is_empty(), "{}", text(&answer));
    let flooded = async {
        loop {
            if flood.write_all(&[b'x'; 4_096]).await.is_err() {
                return;
            }
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, flooded).await.unwrap();
    for (name, stream) in [("silent", &mut silent), ("half", &mut half)] {
        let mut all = Vec::new();
        let end = tokio::time::timeout(limit, stream.read_to_end(&mut all)).await;
        assert!(end.is_ok(), "{name}");
    }
    let out = world.certified().run("root+web1", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
}

/// A client of our own, with keys.
pub(super) async fn stranger(world: &World) -> Leg {
    stranger_from(world, "127.0.0.1").await
}

/// From another address of this machine.
pub(super) async fn stranger_from(world: &World, address: &str) -> Leg {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket
        .bind(format!("{address}:0").parse().unwrap())
        .unwrap();
    let stream = socket.connect(world.weir.addr).await.unwrap();
    let config = ClientConfig::new(vec!["ssh-ed25519".to_owned()]);
    let mut leg = Leg::new(Box::new(stream), Transport::client(Arc::new(config)));
    loop {
        match leg.recv().await.unwrap() {
            Event::HostKey(_) => leg.transport.answer_host_key(true).unwrap(),
            Event::Ready => return leg,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_waits_for_a_device_has_its_time() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.login_timeout = Duration::from_secs(4);
        options.limits.device_timeout = Duration::from_secs(60);
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    let mut leg = stranger(&world).await;
    let ask = |method: &[u8]| {
        let mut out = Vec::new();
        out.byte(n::USERAUTH_REQUEST)
            .string(b"root+web1")
            .string(b"ssh-connection")
            .string(method);
        out
    };
    let mut hello = Vec::new();
    hello.byte(n::SERVICE_REQUEST).string(b"ssh-userauth");
    let mut device = ask(b"keyboard-interactive");
    device.string(b"").string(b"");
    leg.transport.send(&hello).unwrap();
    leg.transport.send(&device).unwrap();
    let mut asked = false;
    let end = async {
        loop {
            match leg.recv().await {
                Ok(Event::Packet(p)) if p.first() == Some(&n::USERAUTH_INFO_REQUEST) => {
                    asked = true;
                    // It goes on to something else, and stays.
                    leg.transport.send(&ask(b"none")).unwrap();
                }
                Ok(Event::Packet(_)) => {}
                Ok(Event::Disconnected { text, .. }) => return text,
                other => panic!("{other:?}"),
            }
        }
    };
    let end = tokio::time::timeout(Duration::from_secs(30), end).await;
    assert_eq!(end.unwrap(), "not authenticated in time");
    assert!(asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_take_no_person_and_the_last_place_is_everybodys() {
    const LONG: Duration = Duration::from_secs(300);
    let within = |keys: Duration| {
        let change = move |options: &mut crate::Options, _: &Keys| {
            options.limits.keys_timeout = keys;
            options.limits.login_timeout = LONG;
            options.limits.max_unauthenticated = 1;
        };
        World::with(MemoryPolicy::permit_all(), change)
    };
    let ended = async |stream: &mut TcpStream| {
        let mut all = Vec::new();
        let end = stream.read_to_end(&mut all);
        tokio::time::timeout(Duration::from_secs(30), end).await
    };
    let Some(world) = within(LONG).await else {
        return;
    };
    let mut silent = TcpStream::connect(world.weir.addr).await.unwrap();
    // The only place is taken, and a login takes it over.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let out = world.certified().run("root+web1", "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    assert!(ended(&mut silent).await.is_ok(), "it was not taken over");
    let Some(world) = within(Duration::from_secs(2)).await else {
        return;
    };
    let begun = Instant::now();
    let mut silent = TcpStream::connect(world.weir.addr).await.unwrap();
    assert!(ended(&mut silent).await.is_ok(), "it has a person's time");
    assert!(begun.elapsed() >= Duration::from_secs(2));
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
async fn keys_of_every_kind_get_in() {
    let Some(world) = World::new().await else {
        return;
    };
    for (kind, bits) in [
        ("rsa", "3072"),
        ("ecdsa", "256"),
        ("ecdsa", "384"),
        ("ecdsa", "521"),
    ] {
        let path = world.dir.0.join(format!("{kind}{bits}"));
        let mut keygen = Command::new("ssh-keygen");
        keygen
            .args(["-q", "-N", "", "-t", kind, "-b", bits, "-f"])
            .arg(&path);
        assert!(finished(&mut keygen).await.status.success());
        let line = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let public = ssh_keys::PublicKey::from_openssh(line.trim_end()).unwrap();
        let ssh = world
            .ssh()
            .arg("-i")
            .arg(&path.display().to_string())
            .option("IdentitiesOnly=yes")
            .option("BatchMode=yes");
        let out = ssh.run("root+web1", "echo in").await;
        assert_eq!(
            out.status.code(),
            Some(255),
            "{kind}-{bits} is not registered yet"
        );
        world.keys.registered.lock().push(public.clone());
        let out = ssh.run("root+web1", "echo in").await;
        assert_eq!(
            text(&out.stdout),
            "in\n",
            "{kind}-{bits}: {}",
            text(&out.stderr)
        );
        if kind == "rsa" {
            // Not by SHA-1, whoever the key belongs to.
            let old = ssh.option("PubkeyAcceptedAlgorithms=ssh-rsa");
            let out = old.run("root+web1", "echo in").await;
            assert_eq!(out.status.code(), Some(255));
        }
        // As a certificate, too.
        let certificate = world.keys.user_certificate(&public).to_openssh("");
        world
            .dir
            .write(&format!("{kind}{bits}-cert.pub"), &certificate);
        world.keys.registered.lock().clear();
        let ssh = world
            .ssh()
            .arg("-i")
            .arg(&path.display().to_string())
            .option("IdentitiesOnly=yes")
            .option("BatchMode=yes");
        let out = ssh.run("root+web1", "echo in").await;
        assert_eq!(
            text(&out.stdout),
            "in\n",
            "{kind}-{bits}: {}",
            text(&out.stderr)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stays_longer_than_the_certificate() {
    let Some(world) = World::new().await else {
        return;
    };
    let mine = PrivateKey::generate_ed25519().unwrap();
    let mut spec = Keys::spec(mine.public(), CertificateKind::User, PRINCIPAL);
    spec.valid_before = spec.valid_after + 60 + 8;
    let certificate = spec.sign(&world.keys.user_ca).unwrap().to_openssh("");
    let ssh = world.with_certificate(&mine, &certificate);
    let begun = Instant::now();
    let out = ssh.run("root+web1", "echo in; sleep 60").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    assert_eq!(out.status.code(), Some(255));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(ended(&world.memory), [EndReason::TokenExpired]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_proofs_of_any_kind_take_the_same_time() {
    // A second one would be seen, however busy this machine is.
    let delay = Duration::from_secs(8);
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.failed_login_delay = delay;
        options.limits.max_attempts = 1;
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    let stranger = PrivateKey::generate_ed25519().unwrap();
    let certificate = world.keys.user_certificate(stranger.public());
    let mut expired = Keys::spec(stranger.public(), CertificateKind::User, PRINCIPAL);
    expired.valid_before = expired.valid_after + 1;
    let expired = expired.sign(&world.keys.user_ca).unwrap();
    assert_ne!(certificate.blob(), expired.blob());
    let password = |token: &str| {
        world
            .ssh()
            .answers(token)
            .option("PreferredAuthentications=password")
    };
    let by_expired = world.with_certificate(&stranger, &expired.to_openssh(""));
    let (a_token, no_token) = (password("wrong"), password(""));
    let all = [
        ("a token", &a_token),
        ("no token", &no_token),
        ("a certificate", &by_expired),
    ]
    .into_iter()
    .flat_map(|(what, ssh)| ["root+web1", "nobody+nowhere"].map(|user| (what, ssh, user)))
    .map(async |(what, ssh, user)| {
        let begun = Instant::now();
        let out = ssh.run(user, "true").await;
        assert_eq!(out.status.code(), Some(255));
        let took = begun.elapsed();
        assert!(took >= delay, "{what} for {user}: {took:?}");
        assert!(took < 2 * delay, "{what} for {user}: {took:?}");
    });
    futures::future::join_all(all).await;
}
