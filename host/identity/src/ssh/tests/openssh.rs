//! What OpenSSH's own server and client make of the certificates.

use std::fs::{self, File, Permissions};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use super::*;

/// An sshd that trusts `target_ca`, and shows the gateway's host key with its certificate.
struct Sshd {
    child: Child,
    port: u16,
    dir: PathBuf,
    log: PathBuf,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Sshd {
    fn start(dir: &Path, authority: &SshAuthority) -> Self {
        // As root it wants this directory, whatever the configuration says.
        fs::create_dir_all("/run/sshd").ok();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let host = authority
            .issue_host(&["gw.example".to_owned()], SystemTime::now())
            .unwrap();
        secret(&dir.join("host"), &authority.host_key().to_openssh(""));
        fs::write(dir.join("host-cert.pub"), host.to_openssh("")).unwrap();
        fs::write(dir.join("cas"), authority.target_ca().to_openssh("")).unwrap();
        let at = |name: &str| dir.join(name).display().to_string();
        // A home with no start files: those of whoever runs the tests are none of theirs.
        fs::create_dir_all(dir.join("home")).unwrap();
        let config = format!(
            "HostKey {}\nHostCertificate {}\nTrustedUserCAKeys {}\nAuthorizedKeysFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n\
             PermitRootLogin yes\nPidFile none\nLogLevel VERBOSE\nListenAddress 127.0.0.1\n\
             SetEnv HOME={}\nPermitUserRC no\n",
            at("host"),
            at("host-cert.pub"),
            at("cas"),
            at("home"),
        );
        fs::write(dir.join("config"), config).unwrap();
        let log = dir.join("log");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.join("config"))
            .args(["-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .expect("sshd is needed: apt-get install openssh-server");
        let sshd = Self {
            child,
            port,
            dir: dir.to_owned(),
            log,
        };
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return sshd;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        panic!("{}", fs::read_to_string(&sshd.log).unwrap());
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// `ssh … command` with this certificate, to a gateway of this name.
    fn ssh(&self, certificate: &Certificate, known: &str, alias: &str, more: &[&str]) -> Output {
        fs::write(self.dir.join("key-cert.pub"), certificate.to_openssh("")).unwrap();
        fs::write(self.dir.join("known"), known).unwrap();
        let option = |name: &str, value: String| ["-o".to_owned(), format!("{name}={value}")];
        let at = |name: &str| self.dir.join(name).display().to_string();
        Command::new("ssh")
            .args(["-F", "none", "-p", &self.port.to_string(), "-i", &at("key")])
            .args(option("CertificateFile", at("key-cert.pub")))
            .args(option("UserKnownHostsFile", at("known")))
            .args(option("GlobalKnownHostsFile", "none".into()))
            .args(option("HostKeyAlias", alias.into()))
            .args(option("IdentitiesOnly", "yes".into()))
            .args(option("IdentityAgent", "none".into()))
            .args(option("BatchMode", "yes".into()))
            // The one of the default takes longest, and is no matter here.
            .args(option("KexAlgorithms", "curve25519-sha256".into()))
            .args(option("StrictHostKeyChecking", "yes".into()))
            .args(more)
            .stdin(Stdio::null())
            .output()
            .expect("ssh is needed: apt-get install openssh-client")
    }
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn me() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_target_takes_what_is_for_it_and_a_client_knows_the_gateway() {
    let (dir, authority) = authority();
    let sshd = Sshd::start(dir.path(), &authority);
    let key = PrivateKey::generate_ed25519().unwrap();
    secret(&dir.path().join("key"), &key.to_openssh(""));
    let key = key.public();
    let (me, session) = (me(), SessionId::default());
    let login = format!("{me}@127.0.0.1");
    let known = format!(
        "@cert-authority gw.example {}\n",
        authority.host_ca().to_openssh("")
    );
    let now = SystemTime::now();
    let issue = |login: &str, granted, now| {
        let issued = authority.issue_upstream(key, login, &dora(), session, granted, now);
        issued.unwrap()
    };
    let none = Granted::default();
    let good = issue(&me, none, now);
    let run = |certificate: &Certificate, more: &[&str]| {
        let words = [&[login.as_str()], more].concat();
        sshd.ssh(certificate, &known, "gw.example", &words)
    };
    let out = run(&good, &["echo", "in"]);
    assert_eq!(out.stdout, b"in\n", "{out:?} {}", sshd.log());
    // Its log tells whose session that is.
    let told = format!("ID weir dora session {session} (serial {})", good.serial);
    assert!(sshd.log().contains(&told), "{}", sshd.log());

    // Without the grant there is no terminal; with it there is.
    let out = sshd.ssh(&good, &known, "gw.example", &["-tt", &login, "tty"]);
    assert!(
        !String::from_utf8_lossy(&out.stdout).contains("/dev/"),
        "{out:?}"
    );
    let pty = Granted { pty: true, ..none };
    let out = sshd.ssh(
        &issue(&me, pty, now),
        &known,
        "gw.example",
        &["-tt", &login, "tty"],
    );
    assert!(
        String::from_utf8_lossy(&out.stdout).contains("/dev/pts/"),
        "{out:?}"
    );

    let hour = hours(1);
    let caller = Principal {
        expires_at: now + hour,
        ..dora()
    };
    let caller = authority.issue_user(&caller, key, None, now).unwrap();
    for (what, refused) in [
        ("a caller's", caller),
        ("another account's", issue("nobody-else", none, now)),
        ("an old one", issue(&me, none, now - hour)),
    ] {
        let out = run(&refused, &["echo", "in"]);
        assert_eq!(out.status.code(), Some(255), "{what}: {out:?}");
        assert!(out.stdout.is_empty(), "{what}: {out:?}");
    }

    // The gateway is known by its authority, under its name only.
    let out = sshd.ssh(&good, &known, "other.example", &[&login, "echo", "in"]);
    assert!(out.stdout.is_empty(), "{out:?}");
    let wrong = format!(
        "@cert-authority gw.example {}\n",
        authority.target_ca().to_openssh("")
    );
    let out = sshd.ssh(&good, &wrong, "gw.example", &[&login, "echo", "in"]);
    assert!(out.stdout.is_empty(), "{out:?}");
}
