//! A PostgreSQL server of our own: a fresh cluster on a free port, with SCRAM and TLS.
//!
//! The server is the one that is installed, or version 18 of an npm package, which has no clients:
//! those of the installed one are used for both.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

use crate::proc::{Daemon, Signal, free_port};
use crate::{dataset, paths, reaper};

/// The superuser of the cluster. Weir's own login is `weir`, which owns the databases.
pub const SUPERUSER: &str = "postgres";
pub const SUPERUSER_PASSWORD: &str = "root-of-the-test-cluster";
/// The credential that only the target owns: no client ever sees it.
pub const LOGIN: &str = "weir";
pub const LOGIN_PASSWORD: &str = "only-the-target-knows-this";

/// Sessions that a cluster takes, and a quiet one, which is there to be measured.
const CONNECTIONS: usize = 800;
pub const QUIET_CONNECTIONS: usize = 4_200;

/// Which server a cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The newest one that is installed.
    Installed,
    /// PostgreSQL 18, which `cargo xtask deps` puts below the target directory.
    Eighteen,
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    daemon: Option<Daemon>,
    dir: PathBuf,
    server: Server,
    /// Logs no statements: for measuring.
    quiet: bool,
    pub port: u16,
    databases: AtomicU32,
}

/// The cluster that all tests of this process share; each test has a database of its own.
pub fn shared() -> Result<&'static Cluster> {
    shared_of(Server::Installed)
}

/// The same for each server. One that no test asks for is not started.
pub fn shared_of(server: Server) -> Result<&'static Cluster> {
    static INSTALLED: OnceLock<Result<Cluster, String>> = OnceLock::new();
    static EIGHTEEN: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let shared = match server {
        Server::Installed => &INSTALLED,
        Server::Eighteen => &EIGHTEEN,
    };
    let cluster = shared.get_or_init(|| Cluster::start_of(server).map_err(|e| format!("{e:#}")));
    cluster.as_ref().map_err(|e| anyhow::anyhow!("{e}"))
}

impl Cluster {
    /// Starts a cluster with the planted data in the template database `planted`.
    pub fn start() -> Result<Self> {
        Self::start_with(Server::Installed, false)
    }

    /// The same of a server of choice.
    pub fn start_of(server: Server) -> Result<Self> {
        Self::start_with(server, false)
    }

    /// The same, but it does not log statements.
    pub fn start_quiet() -> Result<Self> {
        Self::start_with(Server::Installed, true)
    }

    fn start_with(server: Server, quiet: bool) -> Result<Self> {
        let dir = cluster_dir()?;
        reaper::remove_at_end(&dir);
        let port = free_port()?;
        let mut cluster = Self {
            daemon: None,
            dir,
            server,
            quiet,
            port,
            databases: AtomicU32::new(0),
        };
        cluster.init()?;
        cluster.launch()?;
        cluster.sql(
            "postgres",
            &format!(
                "CREATE ROLE {LOGIN} LOGIN PASSWORD '{LOGIN_PASSWORD}';
                 CREATE DATABASE planted OWNER {LOGIN};"
            ),
        )?;
        cluster.sql("planted", dataset::SCHEMA)?;
        Ok(cluster)
    }

    fn init(&self) -> Result<()> {
        if self.server == Server::Eighteen {
            let from = paths::postgres18().context("no PostgreSQL 18: run `cargo xtask deps`")?;
            // The user that the server runs as may not be let into the target directory.
            run(Command::new("cp")
                .args(["-a", "--"])
                .arg(&from)
                .arg(self.dir.join("server")))?;
        }
        let password = self.dir.join("password");
        std::fs::write(&password, SUPERUSER_PASSWORD)?;
        certificate(&self.dir, "server", "localhost")?;
        give_to_server_user(&self.dir)?;
        let data = self.dir.join("data");
        run(self
            .server_command("initdb")?
            .args([
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth=scram-sha-256",
            ])
            .args(["-U", SUPERUSER, "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(&data))?;
        Ok(())
    }

    /// Starts the server on the data that is there.
    pub fn launch(&mut self) -> Result<()> {
        let dir = self.dir.to_string_lossy().into_owned();
        let settings = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".into(),
            format!("unix_socket_directories={dir}"),
            "ssl=on".into(),
            format!("ssl_cert_file={dir}/server.crt"),
            format!("ssl_key_file={dir}/server.key"),
            "fsync=off".into(),
            // Its time is its own: plans would change in the middle of a test, on one of two servers.
            "autovacuum=off".into(),
            format!(
                "max_connections={}",
                if self.quiet {
                    QUIET_CONNECTIONS
                } else {
                    CONNECTIONS
                }
            ),
            "shared_buffers=256MB".into(),
            "max_prepared_transactions=20".into(),
            format!("log_statement={}", if self.quiet { "none" } else { "all" }),
            "log_line_prefix=%m [%p] %d ".into(),
        ];
        let mut command = self.server_command("postgres")?;
        command.arg("-D").arg(self.dir.join("data"));
        for setting in &settings {
            command.args(["-c", setting]);
        }
        let log = self.dir.join("log");
        let mut daemon = Daemon::spawn("postgres", command, &log, Signal::Int)?;
        let port = self.port;
        let ready = paths::postgres_bin("pg_isready").context("no pg_isready")?;
        daemon.wait_until(|| {
            Command::new(&ready)
                .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
                .status()
                .is_ok_and(|s| s.success())
        })?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// A fresh copy of the planted data; its name.
    pub fn database(&self) -> Result<String> {
        self.copy_of("planted")
    }

    /// A fresh copy of a database that nobody is connected to; its name.
    pub fn copy_of(&self, template: &str) -> Result<String> {
        let n = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("shop{n}");
        self.sql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {LOGIN}"),
        )?;
        Ok(name)
    }

    /// Runs SQL as the superuser, past Weir. Gives unaligned tuples.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        let psql = paths::postgres_bin("psql").context("no psql: run `cargo xtask deps`")?;
        let out = Command::new(psql)
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
            ])
            .args([
                "-p",
                &self.port.to_string(),
                "-U",
                SUPERUSER,
                "-d",
                database,
                "-f",
                "-",
            ])
            .env("PGPASSWORD", SUPERUSER_PASSWORD)
            .stdin(input(sql)?)
            .output()?;
        if !out.status.success() {
            bail!(
                "psql as superuser: {}\n{sql}",
                String::from_utf8_lossy(&out.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&out.stdout).trim_end().to_owned())
    }

    /// Lets a role in without a password, from this machine.
    pub fn trust(&self, role: &str) -> Result<()> {
        let file = self.dir.join("data/pg_hba.conf");
        let rules = std::fs::read_to_string(&file)?;
        std::fs::write(
            &file,
            format!("host all {role} 127.0.0.1/32 trust\n{rules}"),
        )?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        Ok(())
    }

    /// The server's own certificate, for `verify-ca`.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("server.crt")
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Daemon::pid)
    }

    /// What the server logged: every statement that reached it.
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.stop();
        }
    }

    fn server_command(&self, program: &str) -> Result<Command> {
        let program = match self.server {
            Server::Installed => paths::postgres_bin(program)
                .with_context(|| format!("no {program}: run `cargo xtask deps`"))?,
            Server::Eighteen => self.dir.join("server/bin").join(program),
        };
        let mut command = as_server_user(&program)?;
        command.current_dir(&self.dir).env("LC_ALL", "C.UTF-8");
        Ok(command)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// PostgreSQL and its friends refuse to run as root, so root runs them as `postgres`.
pub fn as_server_user(program: &Path) -> Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    Ok(command)
}

/// Lets that user write there.
pub fn give_to_server_user(dir: &Path) -> Result<()> {
    if is_root()? {
        run(Command::new("chown").args(["-R", "postgres", &dir.to_string_lossy()]))?;
    }
    Ok(())
}

/// Not below the target directory: the user postgres must be able to walk to it.
fn cluster_dir() -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("weir-pg-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A self-signed certificate `<name>.crt` with its key `<name>.key`.
pub fn certificate(dir: &Path, name: &str, host: &str) -> Result<()> {
    let key = dir.join(format!("{name}.key"));
    run(Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "30", "-subj", &format!("/CN={host}")])
        .args([
            "-addext",
            &format!("subjectAltName=DNS:{host},IP:127.0.0.1"),
        ])
        // A server's certificate that says it is an authority is refused by strict clients.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(dir.join(format!("{name}.crt"))))?;
    run(Command::new("chmod").arg("600").arg(&key))
}

/// A file to read from, so that no pipe can fill up.
pub fn input(text: &str) -> Result<std::fs::File> {
    use std::io::{Seek, Write};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("weir-input-{}-{n}", std::process::id()));
    let mut file = std::fs::File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

fn is_root() -> Result<bool> {
    let out = Command::new("id").arg("-u").output()?;
    Ok(out.stdout.starts_with(b"0\n"))
}

pub(crate) fn run(command: &mut Command) -> Result<()> {
    let out = command.output().with_context(|| format!("{command:?}"))?;
    if !out.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}
