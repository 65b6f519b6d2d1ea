//! An SSH server of our own, OpenSSH's, on a free port; and what a client needs to reach an SSH server, whether
//! that is this one or Weir before it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::openssh::Server;
use crate::paths;
use crate::proc::{Daemon, Scratch, Signal, free_port, listens};

/// Where Debian puts the server.
pub fn sshd() -> Option<PathBuf> {
    Some(PathBuf::from("/usr/sbin/sshd")).filter(|path| path.is_file())
}

/// The login that tests use: whoever runs them, because a server that is not root lets in nobody else.
pub fn login() -> Result<String> {
    let out = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

/// A running server. Its directory holds its keys, its log, and the key of a client that it lets in.
#[derive(Debug)]
pub struct Sshd {
    daemon: Daemon,
    pub port: u16,
    pub dir: PathBuf,
    _scratch: Scratch,
}

impl Sshd {
    /// Starts one that lets in `client_ed25519`, and whoever has a certificate of an authority that it is told
    /// to trust.
    pub fn start(name: &str) -> Result<Self> {
        Self::start_with(name, "")
    }

    /// The same, with more lines of configuration. They count before the usual ones.
    pub fn start_with(name: &str, more: &str) -> Result<Self> {
        Self::start_of(&Server::of_system()?, name, more)
    }

    /// The same, of another OpenSSH.
    pub fn start_of(server: &Server, name: &str, more: &str) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let dir = scratch.path().to_path_buf();
        keygen(&dir.join("host_ed25519"), "ed25519")?;
        keygen(&dir.join("client_ed25519"), "ed25519")?;
        std::fs::copy(dir.join("client_ed25519.pub"), dir.join("authorized_keys"))?;
        // Bash under sshd reads ~/.bashrc even for a single command, and that of this machine may print or start
        // what it likes. The account has a home of its own instead, with nothing in it.
        std::fs::create_dir_all(dir.join("home"))?;
        // What is told to xauth, for programs that look for it: see `tests/ssh/x11_.py`.
        let xauth = dir.join("xauth");
        let script = format!("#!/bin/sh\nexec cat >>{}/cookies\n", dir.display());
        std::fs::write(&xauth, script)?;
        std::fs::set_permissions(&xauth, PermissionsExt::from_mode(0o755))?;
        // The privilege separation directory of a server that runs as root.
        let _ = std::fs::create_dir_all("/run/sshd");
        let port = free_port()?;
        let shown = dir.display();
        let config = format!(
            "{more}Port {port}\nListenAddress 127.0.0.1\nHostKey {shown}/host_ed25519\nPidFile none\n\
             AuthorizedKeysFile {shown}/authorized_keys\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             AcceptEnv LANG LC_* WEIR_TEST_*\nMaxSessions 64\nMaxStartups 1000\nMaxAuthTries 6\n\
             AllowTcpForwarding yes\nAllowStreamLocalForwarding yes\nAllowAgentForwarding yes\n\
             GatewayPorts no\nPrintMotd no\nPrintLastLog no\n\
             X11Forwarding yes\nXAuthLocation {shown}/xauth\n\
             Subsystem sftp {}\nLogLevel VERBOSE\n\
             SetEnv HOME={shown}/home\nPermitUserRC no\n\
             TrustedUserCAKeys {shown}/authority.pub\n",
            server.sftp.display()
        );
        std::fs::write(dir.join("authority.pub"), "")?;
        let file = dir.join("sshd_config");
        std::fs::write(&file, config)?;
        let mut command = Command::new(&server.sshd);
        command.args(["-D", "-e", "-f"]).arg(&file);
        let mut daemon = Daemon::spawn("sshd", command, &dir.join("sshd.log"), Signal::Term)?;
        daemon.wait_until(|| listens(port))?;
        Ok(Self {
            daemon,
            port,
            dir,
            _scratch: scratch,
        })
    }

    /// The host's public key, as it is written in `known_hosts` after the name.
    pub fn host_key(&self) -> Result<String> {
        public_key(&self.dir.join("host_ed25519.pub"))
    }

    /// From now on, whoever has a certificate of this authority is let in.
    pub fn trust(&self, authority: &str) -> Result<()> {
        Ok(std::fs::write(
            self.dir.join("authority.pub"),
            format!("{authority}\n"),
        )?)
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// The way to it without anything in between.
    pub fn direct(&self) -> Result<Way> {
        let known = format!("[127.0.0.1]:{} {}", self.port, self.host_key()?);
        Way::new(
            &self.dir.join("direct"),
            self.port,
            &login()?,
            &known,
            &self.dir.join("client_ed25519"),
            None,
        )
    }
}

/// What a file of `ssh-keygen` holds but for its comment, as it is written in `known_hosts` after the name.
pub fn public_key(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)?;
    let mut words = text.split_whitespace();
    let (kind, key) = (words.next(), words.next());
    let (kind, key) = kind
        .zip(key)
        .with_context(|| format!("no public key in {}", path.display()))?;
    Ok(format!("{kind} {key}"))
}

/// Makes a key pair without a passphrase.
pub fn keygen(path: &Path, kind: &str) -> Result<()> {
    let out = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", "", "-C", "weir-test", "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()?;
    if !out.status.success() {
        bail!("ssh-keygen: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}

/// A way to a shell on the host: what a client has to be told. In its directory, `config` is a file for
/// OpenSSH's programs in which the host is called `box`.
#[derive(Debug, Clone)]
pub struct Way {
    pub dir: PathBuf,
    pub port: u16,
    pub user: String,
    pub key: PathBuf,
    /// For clients that cannot show a certificate.
    pub password: Option<String>,
    /// Where programs are looked for before those of this machine.
    programs: Option<PathBuf>,
}

impl Way {
    pub fn new(
        dir: &Path,
        port: u16,
        user: &str,
        known_hosts: &str,
        key: &Path,
        password: Option<&str>,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join("known_hosts"), format!("{known_hosts}\n"))?;
        let shown = dir.display();
        let config = format!(
            "Host box\n  HostName 127.0.0.1\n  Port {port}\n  User {user}\n  IdentityFile {}\n\
             \x20 IdentitiesOnly yes\n  UserKnownHostsFile {shown}/known_hosts\n\
             \x20 GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n\
             \x20 LogLevel ERROR\n  ConnectTimeout 20\n  UpdateHostKeys no\n",
            key.display()
        );
        std::fs::write(dir.join("config"), config)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            port,
            user: user.into(),
            key: key.to_path_buf(),
            password: password.map(Into::into),
            programs: None,
        })
    }

    /// The same for the clients in this directory.
    pub fn with_programs(mut self, dir: &Path) -> Self {
        self.programs = Some(dir.to_path_buf());
        self
    }

    /// Runs a script of bash that finds the way in its environment: `$CFG`, `$HOST`, `$PORT`, `$LOGIN`, `$KEY`,
    /// `$KNOWN`, `$PASSWORD`, and `$D`, a fresh directory that is also its current one.
    pub fn script(&self, name: &str, script: &str, limit: Duration) -> Result<Output> {
        let work = self.dir.join("work").join(name);
        if work.exists() {
            std::fs::remove_dir_all(&work)?;
        }
        std::fs::create_dir_all(&work)?;
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", &limit.as_secs().to_string(), "bash", "-c"])
            .arg(script)
            .current_dir(&work)
            .stdin(Stdio::null());
        for (name, value) in self.vars(&work) {
            command.env(name, value);
        }
        command.env_remove("SSH_AUTH_SOCK");
        if let Some(first) = &self.programs {
            let rest = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{}:{rest}", first.display()));
        }
        let out = command.output()?;
        Ok(out)
    }

    fn vars(&self, work: &Path) -> Vec<(&'static str, String)> {
        let at = |name: &str| self.dir.join(name).display().to_string();
        vec![
            ("CFG", at("config")),
            ("KNOWN", at("known_hosts")),
            ("HOST", "127.0.0.1".into()),
            ("PORT", self.port.to_string()),
            ("LOGIN", self.user.clone()),
            ("KEY", self.key.display().to_string()),
            ("PASSWORD", self.password.clone().unwrap_or_default()),
            ("D", work.display().to_string()),
            (
                "CLIENTS",
                paths::root().join("tests/ssh").display().to_string(),
            ),
            (
                "PYTHON",
                paths::venv().join("bin/python").display().to_string(),
            ),
            ("RUSSH", crate::russh::program().display().to_string()),
            ("VENV", paths::venv().display().to_string()),
            (
                "NODE_PATH",
                paths::npm("ssh").join("node_modules").display().to_string(),
            ),
            ("LC_ALL", "C.UTF-8".into()),
        ]
    }
}
