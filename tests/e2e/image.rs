//! The container image: built without a container engine, started from its own files alone, set up
//! by the scripts and the example configuration of `deploy/`, and used by psql.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use weir_tests::dataset::leaks;
use weir_tests::postgres::{self, Cluster, SUPERUSER, SUPERUSER_PASSWORD};
use weir_tests::proc::{Daemon, Scratch, Signal, free_port};
use weir_tests::{http, paths};

use crate::shop::{not_installed, skipped};

/// The password of the target's login, as compose gives it to both sides.
const ORDERS_PASSWORD: &str = "orders'password of the image test";

fn buildah(home: &Path, args: &[&str]) -> Output {
    Command::new("buildah")
        .args(["--storage-driver", "vfs", "--root"])
        .arg(home.join("storage"))
        .arg("--runroot")
        .arg(home.join("run"))
        .args(args)
        .output()
        .unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Can this machine build an image? Says so where it cannot.
fn can_build(context: &Path) -> bool {
    let root = Command::new("id").arg("-u").output().unwrap();
    if !root.stdout.starts_with(b"0\n") {
        skipped("the image: building without an engine needs root");
    } else if paths::which("buildah").is_none() {
        not_installed("the image: buildah is not installed");
    } else if !context.join("weir").is_file() {
        not_installed("the image: target/dist has no binary (`cargo xtask dist` puts it there)");
    } else {
        return true;
    }
    false
}

#[test]
fn the_image_is_built_and_serves() {
    let context = paths::target().join("dist");
    if !can_build(&context) {
        return;
    }
    let home = Scratch::new("image").unwrap();
    let dockerfile = paths::root()
        .join("deploy/Dockerfile")
        .to_string_lossy()
        .into_owned();
    let context = context.to_string_lossy().into_owned();
    let built = buildah(
        home.path(),
        &[
            "bud",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "-t",
            "weir",
            "-f",
            &dockerfile,
            &context,
        ],
    );
    assert!(built.status.success(), "{}", said(&built));
    let inspected = said(&buildah(
        home.path(),
        &["inspect", "--type", "image", "weir"],
    ));
    assert!(
        inspected.contains("65532"),
        "it must not run as root: {inspected}"
    );

    let from = buildah(home.path(), &["from", "--pull-never", "weir"]);
    assert!(from.status.success(), "{}", said(&from));
    let container = String::from_utf8_lossy(&from.stdout).trim().to_owned();
    let mounted = buildah(home.path(), &["mount", &container]);
    let root = String::from_utf8_lossy(&mounted.stdout).trim().to_owned();
    assert!(
        mounted.status.success() && !root.is_empty(),
        "{}",
        said(&mounted)
    );
    Image::new(Path::new(&root), home.path()).serves();
    buildah(home.path(), &["umount", &container]);
    buildah(home.path(), &["rm", &container]);
}

/// The files of the image with what a container runtime and its user put there, and a PostgreSQL.
struct Image {
    root: PathBuf,
    home: PathBuf,
    cluster: &'static Cluster,
    database: String,
    /// Where clients connect to. Not loopback: what comes through a published port does not, either.
    address: String,
    api: u16,
    pg: u16,
}

impl Image {
    fn new(root: &Path, home: &Path) -> Self {
        let cluster = postgres::shared().unwrap();
        let image = Self {
            root: root.to_path_buf(),
            home: home.to_path_buf(),
            cluster,
            database: cluster.database().unwrap(),
            address: address(),
            api: free_port().unwrap(),
            pg: free_port().unwrap(),
        };
        image.holds_what_it_should();
        image.supply();
        image.certify();
        image.make_login();
        image
    }

    fn holds_what_it_should(&self) {
        for part in [
            "usr/bin/weir",
            "usr/share/weir/plugins/mask-pii.wasm",
            "etc/weir/weir.toml",
        ] {
            assert!(self.root.join(part).exists(), "{part} is not in the image");
        }
        assert!(
            !self.root.join("bin/sh").exists() && !self.root.join("lib").exists(),
            "it is not empty"
        );
    }

    /// What every container runtime supplies: devices, and the names of the network's others.
    fn supply(&self) {
        std::fs::create_dir_all(self.root.join("dev")).unwrap();
        for (device, minor) in [("null", "3"), ("random", "8"), ("urandom", "9")] {
            let mut mknod = Command::new("mknod");
            mknod
                .args(["-m", "666"])
                .arg(self.root.join("dev").join(device));
            run(mknod.args(["c", "1", minor]));
        }
        std::fs::write(self.root.join("etc/hosts"), "127.0.0.1 postgres\n").unwrap();
        // The ports are this test's; everything else is as it is shipped.
        let path = self.root.join("etc/weir/weir.toml");
        let mut config = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("0.0.0.0:8443", format!("127.0.0.1:{}", self.api)),
            ("0.0.0.0:5432", format!("0.0.0.0:{}", self.pg)),
            ("port = 5432", format!("port = {}", self.cluster.port)),
        ] {
            assert!(config.contains(from), "{from}");
            config = config.replace(from, &to);
        }
        std::fs::write(path, config).unwrap();
    }

    /// `deploy/certificate.sh`, mounted as compose.yaml does.
    fn certify(&self) {
        let script = self.home.join("certificate.sh");
        std::fs::copy(paths::root().join("deploy/certificate.sh"), &script).unwrap();
        run(&mut Command::new(script));
        let tls = self.root.join("etc/weir/tls");
        run(Command::new("cp")
            .arg("-a")
            .arg(self.home.join("tls"))
            .arg(tls));
    }

    /// `deploy/postgres-init.sh`, with the environment of the PostgreSQL image.
    fn make_login(&self) {
        run(Command::new("sh")
            .arg(paths::root().join("deploy/postgres-init.sh"))
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.cluster.port.to_string())
            .env("PGPASSWORD", SUPERUSER_PASSWORD)
            .env("POSTGRES_USER", SUPERUSER)
            .env("POSTGRES_DB", &self.database)
            .env("ORDERS_PASSWORD", ORDERS_PASSWORD));
        let rights = "SELECT rolsuper, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles \
                      WHERE rolname = 'weir_login'";
        let rights = self.cluster.sql(&self.database, rights).unwrap();
        assert_eq!(
            rights, "f|f|f|f",
            "the target's login is more than a plain role"
        );
        let grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO weir_login";
        self.cluster.sql(&self.database, grant).unwrap();
    }

    /// The image's command, in the image, as the image's user.
    fn weir(&self, args: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.arg("--userspec=65532:65532").arg(&self.root);
        command.arg("/usr/bin/weir").args(args);
        command
            .env_clear()
            .env("ORDERS_PASSWORD", ORDERS_PASSWORD)
            .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin");
        command
    }

    /// psql as `deploy/README.md` says it, with this password.
    fn psql(&self, sslmode: &str, password: &str, sql: &str) -> Output {
        Command::new(paths::postgres_bin("psql").unwrap())
            .arg(format!(
                "host=localhost hostaddr={} port={} dbname={} user=you sslmode={sslmode} sslrootcert={}",
                self.address,
                self.pg,
                self.database,
                self.home.join("tls/weir.crt").display()
            ))
            .args(["-X", "-A", "-t", "-c", sql])
            .env("PGPASSWORD", password)
            .output()
            .unwrap()
    }

    fn serves(&self) {
        let log = self.home.join("log");
        let serve = self.weir(&["serve", "--config", "/etc/weir/weir.toml"]);
        let mut daemon = Daemon::spawn("weir image", serve, &log, Signal::Term).unwrap();
        daemon
            .wait_until(|| {
                http::call(self.api, "GET", "/healthz", None, None)
                    .is_ok_and(|answer| answer.status == 200)
            })
            .unwrap();

        let token = [
            "dev",
            "token",
            "--sub",
            "you@example.test",
            "--group",
            "engineering",
        ];
        let token = self.weir(&token).output().unwrap();
        assert!(token.status.success(), "{}", said(&token));
        let token = String::from_utf8_lossy(&token.stdout).trim().to_owned();
        let ask = "SELECT id, name, ssn, card FROM customers WHERE id = 3";
        let seen = self.psql("verify-full", &token, ask);
        assert!(seen.status.success(), "{}{}", said(&seen), daemon.log());
        let line = String::from_utf8_lossy(&seen.stdout).into_owned();
        assert!(line.starts_with("3|Customer 3|"), "{line}");
        assert!(leaks(line.as_bytes()).is_none(), "{line}");
        let refused = self.psql("verify-full", &token, "SELECT pg_read_file('/etc/passwd')");
        assert!(!refused.status.success(), "{}", said(&refused));
        assert!(
            said(&refused).contains("it was not run"),
            "{}",
            said(&refused)
        );
        let password = self.psql("verify-full", ORDERS_PASSWORD, ask);
        assert_eq!(password.status.code(), Some(2), "{}", said(&password));
        if self.address != LOOPBACK {
            let clear = self.psql("disable", &token, ask);
            assert_eq!(clear.status.code(), Some(2), "{}", said(&clear));
        }

        daemon.signal(Signal::Term).unwrap();
        let status = daemon.wait(Duration::from_secs(20)).unwrap();
        assert!(status.success(), "{status}: {}", daemon.log());
        // What the volume must keep.
        let config = ["--config", "/etc/weir/weir.toml"];
        let sessions = self
            .weir(&[&["replay"], &config[..]].concat())
            .output()
            .unwrap();
        assert_eq!(said(&sessions).lines().count(), 2, "{}", said(&sessions));
        let verified = self
            .weir(&[&["verify"], &config[..]].concat())
            .output()
            .unwrap();
        assert!(verified.status.success(), "{}", said(&verified));
    }
}

const LOOPBACK: &str = "127.0.0.1";

/// An address of this machine's other than loopback.
fn address() -> String {
    let out = Command::new("hostname").arg("-I").output().unwrap();
    let all = String::from_utf8_lossy(&out.stdout).into_owned();
    let first = all.split_whitespace().find(|a| !a.contains(':'));
    first.map(str::to_owned).unwrap_or_else(|| {
        skipped("the image: refusing tokens in clear (this machine has no address but loopback)");
        LOOPBACK.to_owned()
    })
}

fn run(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", said(&out));
}
