//! A real `sshd` with a configuration of its own.

use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ssh_keys::Certificate;
use tokio::process::{Child, Command};

use super::Dir;
use super::ports::Keys;

pub(crate) struct Sshd {
    pub port: u16,
    _child: Child,
    _dir: Dir,
}

impl Sshd {
    /// None, with a reason that is printed, where there is none.
    pub async fn start(keys: &Keys) -> Option<Self> {
        Self::showing(keys, None).await
    }

    /// One that also has this certificate of its host key.
    pub async fn showing(keys: &Keys, certificate: Option<&Certificate>) -> Option<Self> {
        const SSHD: &str = "/usr/sbin/sshd";
        if !std::path::Path::new(SSHD).exists() {
            eprintln!("skipped: there is no {SSHD}");
            return None;
        }
        std::fs::create_dir_all("/run/sshd").ok();
        let dir = Dir::new();
        let host = dir.write("host", &keys.sshd.to_openssh(""));
        let ca = dir.write("ca.pub", &keys.user_ca.public().to_openssh(""));
        let authorized = dir.write("authorized", &keys.fixed.public().to_openssh(""));
        // The start files of whoever runs the tests are none of theirs: bash under sshd would read ~/.bashrc.
        let home = dir.0.join("home");
        std::fs::create_dir_all(&home).unwrap();
        let port = free_port();
        let shown = certificate.map(|c| dir.write("host-cert.pub", &c.to_openssh("")));
        let shown = shown.map(|path| format!("HostCertificate {}\n", path.display()));
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nTrustedUserCAKeys {}\n\
             AuthorizedKeysFile {}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\nMaxAuthTries 1\n\
             Subsystem sftp internal-sftp\nRekeyLimit 2M\nSetEnv HOME={}\nPermitUserRC no\n{}",
            host.display(),
            ca.display(),
            authorized.display(),
            home.display(),
            shown.unwrap_or_default()
        );
        let config = dir.write("config", &config);
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        for _ in 0..2_000 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
            {
                return Some(Self {
                    port,
                    _child: child,
                    _dir: dir,
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("sshd does not listen");
    }
}

/// A port that nobody listens on now, below those that the system gives away: one that has no number of its own, here
/// or in another test, could take it before whoever asked listens there.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 10_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(131);
    let mut ports = (0..COUNT).map(|_| {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        u16::try_from(FIRST + begin.wrapping_add(n) % COUNT).unwrap()
    });
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(free).expect("no port is free")
}
