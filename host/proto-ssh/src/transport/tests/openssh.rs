//! OpenSSH's client against our server role, its server against our client role: every algorithm, up to a command
//! whose bytes go both ways across key exchanges.

use std::path::{Path, PathBuf};

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::echo::{WAIT, Wire, base64, message, missing, piped, service};
use super::*;
use crate::testing::sshd::free_port;

/// Runs `ssh` with options against our server role and pipes `len` bytes through it.
async fn ssh(options: &[&str], len: usize) -> Transport {
    let command = |port: &str| {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "/dev/null", "-p", port, "-T", "-x", "-a"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "GlobalKnownHostsFile=/dev/null"])
            .args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(options)
            .args(["someone@127.0.0.1", "cat"]);
        command
    };
    let leg = piped(server_config(), command, len).await;
    assert!(leg.peer_ident().unwrap().starts_with("SSH-2.0-OpenSSH"));
    leg
}

#[tokio::test]
async fn its_client_with_every_key_exchange() {
    if missing("ssh") {
        return;
    }
    let known = Command::new("ssh")
        .args(["-Q", "kex"])
        .output()
        .await
        .unwrap();
    let known = String::from_utf8(known.stdout).unwrap();
    let ours: Vec<_> = KexAlgorithm::ALL.iter().map(|k| k.name()).collect();
    let shared: Vec<_> = ours
        .iter()
        .filter(|k| known.lines().any(|l| l == **k))
        .collect();
    assert!(shared.len() >= 4);
    for kex in shared {
        ssh(&["-o", &format!("KexAlgorithms={kex}")], 100).await;
    }
    ssh(&[], 0).await;
}

#[tokio::test]
async fn its_client_with_every_cipher_and_mac() {
    if missing("ssh") {
        return;
    }
    for cipher in CipherAlgorithm::ALL {
        let macs = if cipher.needs_mac() {
            MacAlgorithm::ALL
        } else {
            &MacAlgorithm::ALL[..1]
        };
        for mac in macs {
            ssh(&["-c", cipher.name(), "-m", mac.name()], 100_000).await;
        }
    }
}

#[tokio::test]
async fn its_client_across_many_key_exchanges() {
    if missing("ssh") {
        return;
    }
    for cipher in [
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
        "aes128-ctr",
    ] {
        let leg = ssh(&["-c", cipher, "-o", "RekeyLimit=100K"], 1_500_000).await;
        // 1.5 MB went each way under keys that were good for 100 KB.
        assert!(leg.rx.used.bytes < 500_000, "{}", leg.rx.used.bytes);
    }
}

/// A server of OpenSSH in a directory of its own, on a free port.
struct Sshd {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        if std::thread::panicking() {
            println!("sshd says: {}", self.log());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Sshd {
    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    async fn start(name: &str, user: &TestKey, more: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("weir-transport-{name}-{}", std::process::id()));
        // A home with no start files: those of whoever runs the tests are none of theirs.
        std::fs::create_dir_all(dir.join("home")).unwrap();
        std::fs::create_dir_all("/run/sshd").unwrap();
        for kind in ["ed25519", "ecdsa", "rsa"] {
            keygen(&["-t", kind, "-N", "", "-q", "-f"], &dir.join(kind)).await;
        }
        keygen(&["-t", "ed25519", "-N", "", "-q", "-f"], &dir.join("ca")).await;
        let ca = dir.join("ca");
        let args = [
            "-s",
            ca.to_str().unwrap(),
            "-I",
            "host",
            "-h",
            "-n",
            "localhost",
            "-q",
        ];
        keygen(&args, &dir.join("ed25519.pub")).await;
        let line = base64(&user.blob);
        std::fs::write(dir.join("authorized"), format!("ssh-ed25519 {line}\n")).unwrap();
        let port = free_port();
        let d = dir.display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {d}/ed25519\nHostKey {d}/ecdsa\nHostKey {d}/rsa\n\
             HostCertificate {d}/ed25519-cert.pub\nPidFile none\nUsePAM no\nStrictModes no\n\
             PermitRootLogin yes\nMaxStartups 1000\nAuthorizedKeysFile {d}/authorized\n\
             SetEnv HOME={d}/home\nPermitUserRC no\n{more}\n"
        );
        std::fs::write(dir.join("config"), config).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", dir.join("config").to_str().unwrap()])
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let sshd = Self { child, dir, port };
        // Asking the port instead could reach the socket that has found it, in a process not yet replaced.
        let started = Instant::now();
        while !sshd.log().contains("Server listening") {
            assert!(started.elapsed() < WAIT, "sshd does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        sshd
    }

    async fn connect(&self, config: ClientConfig) -> Wire {
        let io = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        Wire::new(io, Transport::client(Arc::new(config)))
    }
}

async fn keygen(args: &[&str], path: &Path) {
    let mut command = Command::new("ssh-keygen");
    let out = command.args(args).arg(path).output().await.unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[tokio::test]
async fn its_server_with_every_host_key() {
    if missing("sshd") {
        return;
    }
    let sshd = Sshd::start("keys", &TestKey::new(), "").await;
    for algorithm in [
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "rsa-sha2-512",
        "rsa-sha2-256",
        "ssh-ed25519-cert-v01@openssh.com",
    ] {
        let all = async {
            let mut wire = sshd
                .connect(ClientConfig::new(vec![algorithm.to_owned()]))
                .await;
            wire.ready(|offered| {
                assert_eq!(offered.algorithm, algorithm);
                if algorithm == "ssh-ed25519" {
                    verify_ed25519(offered);
                }
            })
            .await;
            service(&mut wire).await;
            let taken = wire.leg.server_sig_algs().expect("EXT_INFO");
            assert!(taken.iter().any(|a| a == "ssh-ed25519"));
        };
        tokio::time::timeout(WAIT, all).await.expect(algorithm);
    }
}

#[tokio::test]
async fn its_server_with_every_algorithm() {
    if missing("sshd") {
        return;
    }
    let sshd = Sshd::start("algorithms", &TestKey::new(), "MACs +hmac-sha2-256").await;
    let mut combinations = Vec::new();
    for cipher in CipherAlgorithm::ALL {
        let macs = if cipher.needs_mac() {
            MacAlgorithm::ALL
        } else {
            &MacAlgorithm::ALL[..1]
        };
        combinations.extend(macs.iter().map(|m| (KexAlgorithm::Curve25519, *cipher, *m)));
    }
    // The first of all is one that the server of this machine may not know.
    for kex in &KexAlgorithm::ALL[1..] {
        combinations.push((*kex, CipherAlgorithm::Aes256Gcm, MacAlgorithm::Sha256));
    }
    for (kex, cipher, mac) in combinations {
        let mut config = client_config();
        config.algorithms = Algorithms {
            kex: vec![kex],
            ciphers: vec![cipher],
            macs: vec![mac],
        };
        let all = async {
            let mut wire = sshd.connect(config).await;
            wire.ready(verify_ed25519).await;
            service(&mut wire).await;
        };
        let ended = tokio::time::timeout(WAIT, all).await;
        assert!(ended.is_ok(), "{kex:?} {cipher:?} {mac:?}");
    }
}

/// Publickey (RFC 4252 section 7): the signature is over the session's identifier, so it shows that both sides have
/// the same.
async fn log_in(wire: &mut Wire, key: &TestKey) {
    service(wire).await;
    let request = message(n::USERAUTH_REQUEST, |m| {
        m.string(b"root")
            .string(b"ssh-connection")
            .string(b"publickey")
            .flag(true)
            .string(b"ssh-ed25519")
            .string(&key.blob);
    });
    let mut signed = Vec::new();
    signed.string(wire.leg.session_id().unwrap()).raw(&request);
    let signature = key.sign("ssh-ed25519", &signed).unwrap();
    let mut request = request;
    request.string(&signature);
    wire.send(request).await;
    wire.expect(n::USERAUTH_SUCCESS).await;
}

#[tokio::test]
async fn its_server_across_many_key_exchanges() {
    if missing("sshd") {
        return;
    }
    let user = TestKey::new();
    let sshd = Sshd::start("rekey", &user, "RekeyLimit 200K").await;
    let all = async {
        let mut wire = sshd.connect(client_config()).await;
        wire.ready(verify_ed25519).await;
        log_in(&mut wire, &user).await;
        wire.send(message(n::CHANNEL_OPEN, |m| {
            m.string(b"session")
                .uint32(0)
                .uint32(1 << 30)
                .uint32(32 << 10);
        }))
        .await;
        while wire.packet().await[0] != n::CHANNEL_OPEN_CONFIRMATION {}
        wire.send(message(n::CHANNEL_REQUEST, |m| {
            m.uint32(0).string(b"exec").flag(true).string(b"cat");
        }))
        .await;
        while wire.packet().await[0] != n::CHANNEL_SUCCESS {}
        let mut got = 0;
        for round in 0..60u32 {
            let data = vec![round as u8; 30_000];
            wire.send(message(n::CHANNEL_DATA, |m| {
                m.uint32(0).string(&data);
            }))
            .await;
            // Ours and the server's own meet.
            if round % 4 == 0 {
                wire.leg.rekey().unwrap();
                wire.flush().await;
            }
            while got < 30_000 * (round as usize + 1) {
                let packet = wire.packet().await;
                if packet[0] == n::CHANNEL_DATA {
                    assert!(packet[9..].iter().all(|b| *b == round as u8));
                    got += packet.len() - 9;
                }
            }
        }
        assert!(wire.asked >= 15, "{}", wire.asked);
    };
    tokio::time::timeout(WAIT, all).await.expect("it hangs");
}
