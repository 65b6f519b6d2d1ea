//! Ceph's RADOS gateway from Debian's packages: a whole cluster in one directory and in memory.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::proc::{Daemon, Scratch, Signal, free_port};

/// Debian's packages of it.
pub const PACKAGES: &[&str] = &["ceph-common", "ceph-mgr", "ceph-mon", "ceph-osd", "radosgw"];

const PROGRAMS: &[&str] = &[
    "ceph",
    "ceph-authtool",
    "ceph-mgr",
    "ceph-mon",
    "ceph-osd",
    "monmaptool",
    "radosgw",
    "radosgw-admin",
];
const OBJECT_STORE_BYTES: u64 = 2 << 30;

/// Who may do what. Without authentication between its parts, the gateway does not start.
const KEYS: &[(&str, &[&str])] = &[
    ("mon.", &["mon", "allow *"]),
    (
        "client.admin",
        &["mon", "allow *", "osd", "allow *", "mgr", "allow *"],
    ),
    (
        "osd.0",
        &[
            "mon",
            "allow profile osd",
            "mgr",
            "allow profile osd",
            "osd",
            "allow *",
        ],
    ),
    ("mgr.x", &["mon", "allow profile mgr", "osd", "allow *"]),
    (
        "client.rgw",
        &["mon", "allow rw", "osd", "allow rwx", "mgr", "allow rw"],
    ),
];

/// A running cluster: monitor, manager, one store in memory, gateway.
#[derive(Debug)]
pub struct Ceph {
    // The gateway first, so that they are stopped from the outside in.
    _daemons: Vec<Daemon>,
    _scratch: Scratch,
    pub port: u16,
}

/// Is everything installed?
pub fn is_installed() -> bool {
    PROGRAMS
        .iter()
        .all(|p| Path::new("/usr/bin").join(p).is_file())
}

impl Ceph {
    /// Starts one with a user of these keys. About 15 seconds.
    pub fn start(access_key: &str, secret_key: &str) -> Result<Self> {
        let scratch = Scratch::new("ceph")?;
        let port = free_port()?;
        let cluster = Cluster::prepare(&scratch, port)?;
        let mut daemons = Vec::new();
        cluster.run(
            "ceph-mon",
            &["--mkfs", "-i", "a", "--monmap", &cluster.path("monmap")],
        )?;
        daemons.push(cluster.daemon("ceph-mon", &["-i", "a"])?);
        cluster.run("ceph", &["--connect-timeout", "60", "osd", "new", OSD, "0"])?;
        cluster.run("ceph-osd", &["--mkfs", "-i", "0", "--osd-uuid", OSD])?;
        daemons.push(cluster.daemon("ceph-mgr", &["-i", "x"])?);
        daemons.push(cluster.daemon("ceph-osd", &["-i", "0"])?);
        let user = ["-n", "client.rgw", "user", "create", "--uid", "weir"];
        let keys = ["--display-name", "weir", "--access-key", access_key];
        let secret = ["--secret-key", secret_key];
        cluster.run("radosgw-admin", &[&user[..], &keys, &secret].concat())?;
        let mut gateway = cluster.daemon("radosgw", &["-n", "client.rgw"])?;
        gateway.wait_until(|| crate::http::raw(port, "GET", "/", None, b"").is_ok())?;
        daemons.push(gateway);
        daemons.reverse();
        Ok(Self {
            _daemons: daemons,
            _scratch: scratch,
            port,
        })
    }
}

const CLUSTER: &str = "0b5fd4f8-7b1f-4d0e-9a43-1f6b2c6f7a10";
const OSD: &str = "5b9d6a57-6c1b-4a2c-8e4f-30d6f6a2c1ce";

struct Cluster {
    dir: PathBuf,
}

impl Cluster {
    fn prepare(scratch: &Scratch, port: u16) -> Result<Self> {
        let dir = scratch.join("cluster");
        for part in ["mon", "mgr", "osd", "rgw"] {
            std::fs::create_dir_all(dir.join(part))?;
        }
        let cluster = Self { dir };
        let monitor = format!(
            "[v2:127.0.0.1:{},v1:127.0.0.1:{}]",
            free_port()?,
            free_port()?
        );
        std::fs::write(
            cluster.dir.join("ceph.conf"),
            cluster.config(&monitor, port)?,
        )?;
        let keyring = cluster.path("keyring");
        cluster.run("ceph-authtool", &["-C", &keyring])?;
        for (name, caps) in KEYS {
            let mut args = vec![keyring.as_str(), "--gen-key", "-n", name];
            for pair in caps.chunks(2) {
                args.push("--cap");
                args.extend(pair);
            }
            cluster.run("ceph-authtool", &args)?;
        }
        let map = cluster.path("monmap");
        let args = ["--create", "--fsid", CLUSTER, "--addv", "a", &monitor, &map];
        cluster.run("monmaptool", &args)?;
        Ok(cluster)
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn config(&self, monitor: &str, port: u16) -> Result<String> {
        let mut text = "[global]\n".to_owned();
        for name in ["cluster", "service", "client"] {
            writeln!(text, "auth {name} required = cephx")?;
        }
        for (part, what) in [
            ("mon", "mon"),
            ("mgr", "mgr"),
            ("osd", "osd"),
            ("rgw", "rgw"),
        ] {
            writeln!(text, "{what} data = {}", self.path(part))?;
        }
        write!(
            text,
            "fsid = {CLUSTER}\n\
             mon host = {monitor}\n\
             public addr = 127.0.0.1\n\
             cluster addr = 127.0.0.1\n\
             keyring = {keyring}\n\
             run dir = {dir}\n\
             admin socket =\n\
             log file = {dir}/$name.log\n\
             pid file =\n\
             mgr initial modules =\n\
             osd objectstore = memstore\n\
             memstore device bytes = {OBJECT_STORE_BYTES}\n\
             osd pool default size = 1\n\
             osd pool default min size = 1\n\
             osd pool default pg num = 8\n\
             osd pool default pgp num = 8\n\
             osd pool default pg autoscale mode = off\n\
             osd crush chooseleaf type = 0\n\
             mon allow pool size one = true\n\
             mon data avail crit = 1\n\
             rgw frontends = beast endpoint=127.0.0.1:{port}\n\
             rgw thread pool size = 64\n",
            keyring = self.path("keyring"),
            dir = self.dir.display(),
        )?;
        Ok(text)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args);
        // The two that make files know no configuration yet.
        if !matches!(program, "ceph-authtool" | "monmaptool") {
            command.args(["-c", &self.path("ceph.conf")]);
        }
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        let out = self.command(program, args).output();
        let out = out.with_context(|| format!("{program} could not be started"))?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            bail!("{program} {}: {}\n{said}", args.join(" "), out.status);
        }
        Ok(())
    }

    fn daemon(&self, program: &str, args: &[&str]) -> Result<Daemon> {
        let log = self.dir.join(format!("{program}.out"));
        let command = self.command(program, &[args, &["-f"]].concat());
        Daemon::spawn(program, command, &log, Signal::Term)
    }
}
