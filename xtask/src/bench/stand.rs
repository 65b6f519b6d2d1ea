//! The peers: PostgreSQL itself, pgbouncer in session mode, and Weir, all with TLS.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use weir_tests::bundle::Bundle;
use weir_tests::paths;
use weir_tests::postgres::{self, Cluster, LOGIN, LOGIN_PASSWORD};
use weir_tests::proc::{Daemon, Scratch, Signal, free_port, listens};
use weir_tests::weir::{Setup, Weir};

/// One way to the same database.
#[derive(Debug, Clone)]
pub struct Peer {
    pub name: &'static str,
    pub port: u16,
    pub user: String,
    pub password: String,
    /// The process in the middle, whose time and memory are measured.
    pub pid: Option<u32>,
}

pub const DATABASE: &str = "bench";
/// May log in without a password, so that a simple client can measure the direct way.
const TRUSTED: &str = "bench_trusted";
const SCALE: &str = "10";

pub struct Stand {
    cluster: Cluster,
    bouncer: Daemon,
    bouncer_port: u16,
    weir: Weir,
    /// The same with a bundle that does not wait for the disk before reads, and with values searched
    /// in the sandbox.
    weir_os: Weir,
    token: String,
    token_os: String,
    token_masked: String,
    token_inspect: String,
    _scratches: [Scratch; 3],
}

impl Stand {
    pub fn start(rows: u64) -> Result<Self> {
        let scratch = Scratch::public("bench")?;
        let mut cluster = Cluster::start_quiet()?;
        load(&mut cluster, rows)?;
        let bouncer_port = free_port()?;
        let bouncer = bouncer(&cluster, &scratch, bouncer_port)?;
        let (weir, bundle) = start(&cluster, "bench-weir", "", "")?;
        let (weir_os, bundle_os) = start(&cluster, "bench-weir-os", READS_OS, INSPECT)?;
        let token = weir.token("bench@example.test", &["bench", "bench-reveal"])?;
        let token_os = weir_os.token("bench@example.test", &["bench", "bench-reveal"])?;
        let token_masked = weir.token("masked@example.test", &["bench"])?;
        let token_inspect = weir_os.token("masked@example.test", &["bench"])?;
        Ok(Self {
            cluster,
            bouncer,
            bouncer_port,
            weir,
            weir_os,
            token,
            token_os,
            token_masked,
            token_inspect,
            _scratches: [scratch, bundle, bundle_os],
        })
    }

    pub fn peers(&self) -> [Peer; 3] {
        [self.direct(), self.bouncer(), self.weir()]
    }

    /// Every way, by a name for people.
    pub fn all(&self) -> [(&'static str, Peer); 6] {
        [
            ("direct", self.direct()),
            ("pgbouncer", self.bouncer()),
            ("weir", self.weir()),
            ("weir-os", self.weir_os()),
            ("weir, masked", self.weir_masked()),
            ("weir-os, masked and inspected", self.weir_inspect()),
        ]
    }

    fn direct(&self) -> Peer {
        let user = TRUSTED.to_owned();
        let password = String::new();
        Peer {
            name: "direct",
            port: self.cluster.port,
            user,
            password,
            pid: None,
        }
    }

    /// The direct way with a password, for measuring connections.
    pub fn direct_scram(&self) -> Peer {
        Peer {
            user: LOGIN.into(),
            password: LOGIN_PASSWORD.into(),
            ..self.direct()
        }
    }

    fn bouncer(&self) -> Peer {
        let pid = Some(self.bouncer.pid());
        Peer {
            name: "pgbouncer",
            port: self.bouncer_port,
            pid,
            ..self.direct()
        }
    }

    /// As somebody who may see every column.
    pub fn weir(&self) -> Peer {
        Peer {
            name: "weir",
            port: self.weir.pg_port,
            user: "bench".into(),
            password: self.token.clone(),
            pid: Some(self.weir.pid()),
        }
    }

    pub fn weir_os(&self) -> Peer {
        Peer {
            name: "weir-os",
            port: self.weir_os.pg_port,
            password: self.token_os.clone(),
            pid: Some(self.weir_os.pid()),
            ..self.weir()
        }
    }

    /// Free text goes to a plugin.
    pub fn weir_inspect(&self) -> Peer {
        Peer {
            password: self.token_inspect.clone(),
            ..self.weir_os()
        }
    }

    /// As somebody for whom labelled columns are masked.
    pub fn weir_masked(&self) -> Peer {
        Peer {
            password: self.token_masked.clone(),
            ..self.weir()
        }
    }
}

fn load(cluster: &mut Cluster, rows: u64) -> Result<()> {
    cluster.sql(
        "postgres",
        &format!("CREATE ROLE {TRUSTED} LOGIN; CREATE DATABASE {DATABASE} OWNER {LOGIN}"),
    )?;
    // What a person types into a support tool, with a card number in some of them.
    let note = "'called about order ' || n || case when n % 50 = 0 \
                then ', paid with 4111 1111 1111 1111' else ', no complaint' end";
    cluster.sql(
        DATABASE,
        &format!(
            "SET ROLE {LOGIN};
             CREATE TABLE wide AS SELECT n AS id, 'a' || n AS a, md5(n::text) AS b, n * 2 AS c,
                 '912-45-' || lpad((n % 10000)::text, 4, '0') AS ssn,
                 'u' || n || '@mail.example' AS email, now() AS d, n % 7 = 0 AS e
             FROM generate_series(1, {rows}) AS n;
             CREATE TABLE wide_text AS SELECT id, a, b, c, d, e,
                 (SELECT {note} FROM (SELECT id AS n) AS x) AS note,
                 'seen by agent ' || (id % 100) AS remark FROM wide;
             RESET ROLE;
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {TRUSTED};
             VACUUM ANALYZE"
        ),
    )?;
    let pgbench = paths::postgres_bin("pgbench").context("no pgbench")?;
    let out = Command::new(pgbench)
        .args([
            "-i",
            "-q",
            "-s",
            SCALE,
            "-h",
            "127.0.0.1",
            "-p",
            &cluster.port.to_string(),
        ])
        .args(["-U", LOGIN, DATABASE])
        .env("PGPASSWORD", LOGIN_PASSWORD)
        .output()?;
    anyhow::ensure!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    cluster.sql(
        DATABASE,
        &format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {TRUSTED}; CHECKPOINT"),
    )?;
    cluster.trust(TRUSTED)
}

fn bouncer(cluster: &Cluster, scratch: &Scratch, port: u16) -> Result<Daemon> {
    let dir = scratch.path();
    let shown = dir.display();
    postgres::certificate(dir, "bouncer", "localhost")?;
    let users = format!("\"{TRUSTED}\" \"\"\n\"{LOGIN}\" \"{LOGIN_PASSWORD}\"\n");
    std::fs::write(dir.join("users"), users)?;
    let config = dir.join("pgbouncer.ini");
    let database = format!("host=127.0.0.1 port={} user={LOGIN}", cluster.port);
    std::fs::write(
        &config,
        format!(
            "[databases]\n{DATABASE} = {database}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nauth_type = trust\nauth_file = {shown}/users\n\
             pool_mode = session\nmax_client_conn = 1000\ndefault_pool_size = 200\n\
             client_tls_sslmode = require\nclient_tls_key_file = {shown}/bouncer.key\n\
             client_tls_cert_file = {shown}/bouncer.crt\nserver_tls_sslmode = require\n\
             unix_socket_dir =\nlog_connections = 0\nlog_disconnections = 0\n\
             ignore_startup_parameters = extra_float_digits\n"
        ),
    )?;
    let mut command = postgres::as_server_user(&paths::pgbouncer().context("no pgbouncer")?)?;
    command.arg(&config);
    postgres::give_to_server_user(dir)?;
    let mut daemon = Daemon::spawn("pgbouncer", command, &scratch.join("log"), Signal::Int)?;
    daemon.wait_until(|| listens(port))?;
    Ok(daemon)
}

/// Appended to the bundle's manifest.
const READS_OS: &str = "\n[recording]\nreads = \"os\"\nsync_within_ms = 50\n";

/// Settings of `mask-pii`.
const INSPECT: &str = "inspect = \"on\"";

/// Weir, and where its bundle is.
fn start(cluster: &Cluster, name: &str, manifest: &str, mask_pii: &str) -> Result<(Weir, Scratch)> {
    let scratch = Scratch::new(&format!("{name}-bundle"))?;
    let mut setup = Setup::new(name, cluster, DATABASE);
    setup.tls = true;
    for plugin in setup.plugins.iter_mut().filter(|p| p.name == "mask-pii") {
        plugin.config = mask_pii.into();
    }
    setup.bundle = Some(bundle(&scratch, manifest)?);
    setup.binary = match std::env::var_os("WEIR_BIN") {
        Some(bin) => PathBuf::from(bin),
        None => paths::target().join("release/weir"),
    };
    Ok((setup.start()?, scratch))
}

/// Who measures: everything in the default bundle stays in force for them.
const PEOPLE: &str = r#"
@id("grant.bench")
permit (principal in Group::"bench",
        action in [Action::"connect", Action::"read", Action::"exec"],
        resource in Target::"orders-prod");

@id("relief.bench")
permit (principal in Group::"bench-reveal", action == Action::"data:reveal", resource);
"#;

/// The default bundle with people to measure as. It labels the columns `ssn` and `email`.
fn bundle(scratch: &Scratch, manifest: &str) -> Result<PathBuf> {
    let mut bundle = Bundle::default_bundle()?;
    if let Some(text) = bundle.files.get_mut("bundle.toml") {
        text.push_str(manifest);
    }
    bundle.files.retain(|path, _| !path.starts_with("tests/"));
    bundle.add("bench.cedar", PEOPLE);
    bundle.write(scratch.path())
}
