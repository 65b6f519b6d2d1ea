//! A PostgreSQL server of the operating system's package, in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::reaper;

/// Killed, with its directory removed, when dropped; or else when this process ends.
pub(crate) struct Postgres {
    dir: PathBuf,
    bin: PathBuf,
    pub port: u16,
}

/// `/usr/lib/postgresql/<newest>/bin`.
pub(crate) fn bin() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL's server package is needed for this test")
        .map(|e| e.unwrap().path().join("bin"))
        .filter(|p| p.join("postgres").exists())
        .collect();
    versions.sort();
    versions.pop().expect("no PostgreSQL server is installed")
}

fn is_root() -> bool {
    let out = Command::new("id").arg("-u").output().unwrap();
    out.stdout.trim_ascii() == b"0"
}

/// The server refuses to run as root.
fn command(program: &Path) -> Command {
    if is_root() {
        let mut c = Command::new("runuser");
        c.args(["-u", "postgres", "--"]).arg(program);
        c
    } else {
        Command::new(program)
    }
}

fn run(mut command: Command) {
    let out = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        out.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

impl Postgres {
    /// A fresh cluster with role `weir` (SCRAM, password `upstream-secret`), `weir_md5` and
    /// `weir_clear` (the same password by other methods), superuser `postgres` (trust).
    pub fn start() -> Self {
        let bin = bin();
        let dir = std::env::temp_dir().join(format!("weir-pg-{}", uuid()));
        std::fs::create_dir_all(&dir).unwrap();
        reaper::ends_with_us(&dir);
        if is_root() {
            run({
                let mut c = Command::new("chown");
                c.arg("postgres").arg(&dir);
                c
            });
        }
        let data = dir.join("data");
        let mut init = command(&bin.join("initdb"));
        init.arg("-D").arg(&data);
        init.args([
            "-U",
            "postgres",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        run(init);
        let hba = "host all weir all scram-sha-256\nhost all weir_md5 all md5\n\
                   host all weir_clear all password\nhost all postgres all trust\n";
        std::fs::write(data.join("pg_hba.conf"), hba).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut options = std::fs::read_to_string(data.join("postgresql.conf")).unwrap();
        options.push_str(&format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n\
             fsync = off\nmax_connections = 60\nmax_prepared_transactions = 5\n"
        ));
        std::fs::write(data.join("postgresql.conf"), options).unwrap();
        let pg = Self { dir, bin, port };
        pg.ctl(&["start", "-w", "-t", "60"]);
        pg.sql(
            "postgres",
            "CREATE ROLE weir LOGIN PASSWORD 'upstream-secret';
             CREATE ROLE weir_clear LOGIN PASSWORD 'upstream-secret';
             SET password_encryption = 'md5';
             CREATE ROLE weir_md5 LOGIN PASSWORD 'upstream-secret';
             GRANT ALL ON SCHEMA public TO PUBLIC",
        );
        pg
    }

    /// One server for all tests of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A new database on the shared server, owned by `weir`.
    pub fn database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER weir"));
    }

    fn ctl(&self, args: &[&str]) {
        let mut c = command(&self.bin.join("pg_ctl"));
        c.arg("-D").arg(self.dir.join("data"));
        c.arg("-l").arg(self.dir.join("log")).args(args);
        c.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(c.status().unwrap().success(), "pg_ctl {args:?}");
    }

    /// Waits until this, by these words, runs on the server.
    pub async fn until_runs(&self, sql: &str) {
        let sql = sql.replace('\'', "''");
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE query = '{sql}' AND state = 'active'"
        );
        self.until("postgres", &count, |count| count != "0").await;
    }

    /// Waits until what the server answers is what is waited for.
    pub async fn until(&self, database: &str, sql: &str, is: impl Fn(&str) -> bool) {
        let started = Instant::now();
        while !is(&self.sql(database, sql)) {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "not yet: {sql}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs SQL as the superuser, past Weir; rows as psql's unaligned text.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let started = Instant::now();
        loop {
            let out = Command::new(self.bin.join("psql"))
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
                .args(["-U", "postgres", "-d", database, "-X", "-q", "-A", "-t"])
                .args(["-v", "ON_ERROR_STOP=1", "-c", sql])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            if out.status.success() {
                return String::from_utf8(out.stdout).unwrap().trim().to_owned();
            }
            let error = String::from_utf8_lossy(&out.stderr).into_owned();
            let busy = error.contains("being accessed by other users");
            assert!(
                busy && started.elapsed() < Duration::from_secs(30),
                "{sql}: {error}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut c = command(&self.bin.join("pg_ctl"));
        c.arg("-D").arg(self.dir.join("data"));
        c.args(["stop", "-m", "immediate"]);
        c.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        c.status().ok();
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

fn uuid() -> String {
    pipeline::SessionId::new().to_string()
}
