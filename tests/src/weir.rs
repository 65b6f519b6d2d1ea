//! Weir itself, as its users run it: a binary, a configuration file, tokens, an API, a command line.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::postgres::{Cluster, LOGIN, LOGIN_PASSWORD};
use crate::proc::{Daemon, Scratch, Signal, eventually, free_port, listens};
use crate::psql::{Output, Psql};
use crate::{http, paths, wire};

/// The first-party plugins, in the order in which they are asked.
pub const PLUGINS: &[&str] = &["risk-sql", "risk-shell", "mask-pii", "route-default"];
pub const TARGET: &str = "orders-prod";

/// One configured plugin.
#[derive(Debug, Clone)]
pub struct Plugin {
    pub name: String,
    pub path: PathBuf,
    /// An inline table of TOML, such as `mode = "trap"`.
    pub config: String,
}

impl Plugin {
    /// A built plugin by its name.
    pub fn built(name: &str, config: &str) -> Self {
        Self {
            name: name.into(),
            path: paths::plugin(name),
            config: config.into(),
        }
    }
}

/// What differs from one test to the next.
#[derive(Debug, Clone)]
pub struct Setup {
    pub name: String,
    pub postgres_port: u16,
    pub database: String,
    /// The target's login; its password is `TARGET_PASSWORD`.
    pub user: String,
    pub env: String,
    /// A bundle directory; the embedded default bundle if none.
    pub bundle: Option<PathBuf>,
    pub plugins: Vec<Plugin>,
    /// Serve PostgreSQL with TLS, by a certificate made for it.
    pub tls: bool,
    /// Lines of the `[postgres]` table.
    pub postgres: String,
    /// Lines of the `[[target]]` table, instead of `tls = "require"`.
    pub target: String,
    /// Lines of the `[recording]` table.
    pub recording: String,
    /// Whole tables, appended.
    pub extra: String,
    pub vars: Vec<(String, String)>,
    /// Where data and configuration live; a directory of its own if none.
    pub home: Option<PathBuf>,
    pub binary: PathBuf,
}

impl Setup {
    /// Weir before one database of a cluster, with everything that it has by default.
    pub fn new(name: &str, cluster: &Cluster, database: &str) -> Self {
        Self::before(name, cluster.port, database)
    }

    /// Weir for something else than PostgreSQL: nobody asks for its database, and none is there.
    pub fn without_database(name: &str) -> Self {
        Self::before(name, 1, "none")
    }

    fn before(name: &str, postgres_port: u16, database: &str) -> Self {
        let plugins = PLUGINS.iter().map(|p| Plugin::built(p, ""));
        Self {
            name: name.into(),
            postgres_port,
            database: database.into(),
            user: LOGIN.into(),
            env: "prod".into(),
            bundle: None,
            plugins: plugins.collect(),
            tls: false,
            postgres: String::new(),
            target: "tls = \"require\"".into(),
            recording: String::new(),
            extra: String::new(),
            vars: Vec::new(),
            home: None,
            binary: paths::weir(),
        }
    }

    fn toml(&self, home: &Path, pg_port: u16, api_port: u16) -> Result<String> {
        let mut t = String::new();
        let home_text = home.display();
        write!(
            t,
            "[server]\ndata_dir = \"{home_text}/data\"\n\
             base_url = \"http://127.0.0.1:{api_port}\"\ndrain_seconds = 2\n\
             [api]\nlisten = \"127.0.0.1:{api_port}\"\n\
             [log]\nfilter = \"{}\"\n\
             [postgres]\n{}\n[[postgres.listener]]\nlisten = \"127.0.0.1:{pg_port}\"\n\
             target = \"{TARGET}\"\n",
            std::env::var("WEIR_TEST_LOG").unwrap_or_else(|_| "info".into()),
            self.postgres
        )?;
        if self.tls {
            writeln!(
                t,
                "tls = {{ cert = \"{home_text}/weir.crt\", key = \"{home_text}/weir.key\" }}"
            )?;
        }
        write!(
            t,
            "[[target]]\nname = \"{TARGET}\"\nprotocol = \"postgres\"\nenv = \"{}\"\n\
             host = \"127.0.0.1\"\nport = {}\nuser = \"{}\"\n\
             password = {{ env = \"TARGET_PASSWORD\" }}\n{}\n\
             [identity.dev]\nenabled = true\n[recording]\n{}\n",
            self.env, self.postgres_port, self.user, self.target, self.recording
        )?;
        if let Some(bundle) = &self.bundle {
            writeln!(t, "[policy]\nbundle = \"{}\"", bundle.display())?;
        }
        for Plugin { name, path, config } in &self.plugins {
            let path = path.display();
            writeln!(
                t,
                "[[plugin]]\nname = \"{name}\"\npath = \"{path}\"\nconfig = {{ {config} }}"
            )?;
        }
        t.push_str(&self.extra);
        Ok(t)
    }

    /// Starts it and waits until it serves.
    pub fn start(self) -> Result<Weir> {
        build(&self.binary)?;
        let scratch = Scratch::new(&self.name)?;
        let home = self
            .home
            .clone()
            .unwrap_or_else(|| scratch.path().to_path_buf());
        std::fs::create_dir_all(&home)?;
        if self.tls && !home.join("weir.crt").exists() {
            crate::postgres::certificate(&home, "weir", "localhost")?;
        }
        let pg_port = free_port()?;
        let api_port = free_port()?;
        let config = home.join("weir.toml");
        std::fs::write(&config, self.toml(&home, pg_port, api_port)?)?;
        let mut weir = Weir {
            setup: self,
            daemon: None,
            home,
            config,
            pg_port,
            api_port,
            _scratch: scratch,
        };
        weir.launch()?;
        Ok(weir)
    }
}

/// A running Weir.
#[derive(Debug)]
pub struct Weir {
    pub setup: Setup,
    daemon: Option<Daemon>,
    pub home: PathBuf,
    pub config: PathBuf,
    pub pg_port: u16,
    pub api_port: u16,
    _scratch: Scratch,
}

impl Weir {
    /// Starts the process on the configuration and data that are there.
    pub fn launch(&mut self) -> Result<()> {
        let mut command = self.command();
        command.args(["serve", "--config"]).arg(&self.config);
        let log = self.home.join("weir.log");
        let mut daemon = Daemon::spawn("weir", command, &log, Signal::Term)?;
        let (pg, api) = (self.pg_port, self.api_port);
        let ready = daemon.wait_until(|| listens(pg) && listens(api));
        self.daemon = Some(daemon);
        ready
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.setup.binary);
        command
            .env("TARGET_PASSWORD", LOGIN_PASSWORD)
            .env("WEIR_CONFIG", &self.config);
        command.env_remove("WEIR_TOKEN").stdin(Stdio::null());
        for (name, value) in &self.setup.vars {
            command.env(name, value);
        }
        command
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Daemon::pid)
    }

    pub fn is_alive(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(Daemon::is_alive)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.join("weir.log")).unwrap_or_default()
    }

    pub fn stop(&mut self) {
        self.daemon = None;
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let status = self.daemon.as_mut().context("not running")?.wait(limit)?;
        self.daemon = None;
        Ok(status)
    }

    /// As a power cut would.
    pub fn kill_9(&mut self) -> Result<()> {
        self.daemon.as_mut().context("not running")?.kill_9()?;
        self.daemon = None;
        Ok(())
    }

    // ---- people

    /// A token of the development issuer, for a person in these groups.
    pub fn token(&self, subject: &str, groups: &[&str]) -> Result<String> {
        self.token_with(subject, groups, &[])
    }

    pub fn token_with(&self, subject: &str, groups: &[&str], more: &[&str]) -> Result<String> {
        let mut args = vec!["dev", "token", "--sub", subject];
        for group in groups {
            args.extend(["--group", group]);
        }
        args.extend(more);
        let out = self.cli(None, &args)?;
        if !out.ok() {
            bail!("weir {}: {}", args.join(" "), out.all());
        }
        Ok(out.stdout.trim().to_owned())
    }

    /// The command line, as the person whose token it is.
    pub fn cli(&self, token: Option<&str>, args: &[&str]) -> Result<Output> {
        let mut command = self.command();
        command.env("WEIR_API", format!("http://127.0.0.1:{}", self.api_port));
        if let Some(token) = token {
            command.env("WEIR_TOKEN", token);
        }
        Self::output(command, args)
    }

    /// The command line of somebody who has no configuration.
    pub fn bare_cli(&self, args: &[&str]) -> Result<Output> {
        let mut command = self.command();
        command.env_remove("WEIR_CONFIG");
        Self::output(command, args)
    }

    fn output(mut command: Command, args: &[&str]) -> Result<Output> {
        command.args(args);
        let out = command.output().context("the weir command")?;
        Ok(Output {
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
            status: out.status,
        })
    }

    // ---- the API

    pub fn api(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Result<http::Answer> {
        http::call(
            self.api_port,
            method,
            &format!("/v1{path}"),
            Some(token),
            body.as_ref(),
        )
    }

    /// Waits for the one open hold and gives its summary.
    pub fn open_hold(&self, token: &str) -> Result<Value> {
        eventually("a hold to be open", Duration::from_secs(20), || {
            let page = self
                .api(token, "GET", "/approvals?state=open", None)?
                .ok()?;
            Ok(items(&page).first().cloned())
        })
    }

    pub fn approve(&self, token: &str, id: &str) -> Result<http::Answer> {
        let path = format!("/approvals/{id}/approve");
        self.api(
            token,
            "POST",
            &path,
            Some(json!({"reason": "looked at it"})),
        )
    }

    pub fn deny(&self, token: &str, id: &str, reason: &str) -> Result<http::Answer> {
        self.api(
            token,
            "POST",
            &format!("/approvals/{id}/deny"),
            Some(json!({"reason": reason})),
        )
    }

    /// Sessions that are live now.
    pub fn live_sessions(&self, token: &str) -> Result<Vec<Value>> {
        let page = self.api(token, "GET", "/sessions?live=true", None)?.ok()?;
        Ok(items(&page).to_vec())
    }

    /// The newest session of a person, live or not.
    pub fn session_of(&self, token: &str, subject: &str) -> Result<String> {
        let page = self.api(token, "GET", "/sessions?limit=200", None)?.ok()?;
        let mut ids: Vec<(&str, &str)> = items(&page)
            .iter()
            .filter(|s| s["principal"] == subject)
            .filter_map(|s| Some((s["started_at"].as_str()?, s["id"].as_str()?)))
            .collect();
        ids.sort_unstable();
        let newest = ids
            .last()
            .with_context(|| format!("no session of {subject}: {page}"))?;
        Ok(newest.1.to_owned())
    }

    // ---- clients

    pub fn psql(&self, user: &str, token: &str) -> Psql {
        Psql {
            port: self.pg_port,
            user: user.into(),
            database: self.setup.database.clone(),
            password: token.into(),
            sslmode: if self.setup.tls {
                "verify-ca"
            } else {
                "disable"
            }
            .into(),
            sslrootcert: self.setup.tls.then(|| self.home.join("weir.crt")),
            args: Vec::new(),
        }
    }

    pub fn connect(&self, user: &str, token: &str) -> Result<wire::Client> {
        wire::Client::connect(self.pg_port, user, &self.setup.database, token)
    }
}

/// The items of one page of a list.
fn items(page: &Value) -> &[Value] {
    page.get("items")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Builds the debug binary once if it is wanted and nobody did: `cargo test -p weir-tests` alone must work too.
fn build(binary: &Path) -> Result<()> {
    static BUILD: Once = Once::new();
    let mut result = Ok(());
    BUILD.call_once(|| {
        if !binary.is_file() {
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
            let status = Command::new(cargo)
                .args(["build", "--locked", "-p", "server"])
                .current_dir(paths::root())
                .status();
            result = match status {
                Ok(status) if status.success() => Ok(()),
                other => Err(anyhow::anyhow!("weir could not be built: {other:?}")),
            };
        }
    });
    result
}
