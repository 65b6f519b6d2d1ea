//! PostgreSQL's own regression suite through Weir, with the bundle that permits everything: what a
//! client can tell from a direct connection, it finds.
//!
//! The suite is PostgreSQL's source as the distribution ships it, in the version of the server.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use weir_tests::paths;
use weir_tests::postgres::{self, Cluster, SUPERUSER, SUPERUSER_PASSWORD};
use weir_tests::weir::Setup;

use crate::{build_plugins, deps, sh};

const USAGE: &str = "usage: cargo xtask regress [--direct | --bundle DIR] [TEST …]";
/// The group to which that bundle permits everything.
const GROUP: &str = "weir-permit-all";
/// The suite writes files of the server, and the server reads files of the suite.
const DIR: &str = "weir-regress";

pub fn run(args: &[&str]) -> Result<()> {
    let root = paths::root();
    let mut bundle = root.join("policies/examples/permit-all");
    let (direct, tests) = match args {
        ["--direct", tests @ ..] => (true, tests),
        ["--bundle", dir, tests @ ..] => {
            bundle = fs::canonicalize(dir).with_context(|| format!("--bundle {dir}"))?;
            (false, tests)
        }
        tests => (false, tests),
    };
    if tests.iter().any(|t| t.starts_with('-')) {
        bail!("{USAGE}");
    }
    deps::ensure(deps::REGRESS)?;
    let suite = Suite::get()?;
    let cluster = Cluster::start_quiet()?;
    if direct {
        return suite.run(cluster.port, SUPERUSER, SUPERUSER_PASSWORD, tests);
    }
    build_plugins(&root)?;
    let mut setup = Setup::new("regress", &cluster, "postgres");
    // The suite wants to be who made the cluster.
    setup.user = SUPERUSER.into();
    let password = ("TARGET_PASSWORD".into(), SUPERUSER_PASSWORD.into());
    setup.vars.push(password);
    setup.binary = match std::env::var_os("WEIR_BIN") {
        // A binary that is named is run as it is.
        Some(bin) => PathBuf::from(bin),
        None => {
            let release = ["build", "--release", "--locked", "-p", "server"];
            sh::run(sh::cargo(&root, &release))?;
            paths::target().join("release/weir")
        }
    };
    let shown = bundle.display().to_string();
    setup.bundle = Some(bundle);
    // Card numbers in free text are masked whatever policy permits; the suite has some.
    setup.plugins.retain(|p| p.name != "mask-pii");
    let plugins: Vec<String> = setup.plugins.iter().map(|p| p.name.clone()).collect();
    let weir = setup.start()?;
    let token = weir.token("regress@example.test", &[GROUP])?;
    suite.run(weir.pg_port, "regress", &token, tests)?;
    println!(
        "through Weir: bundle {shown}, recording on, plugins {} (not mask-pii: some test data looks \
         like card numbers)",
        plugins.join(", ")
    );
    Ok(())
}

/// The suite, ready to run.
struct Suite {
    home: PathBuf,
    source: PathBuf,
    pg_regress: PathBuf,
}

impl Suite {
    fn get() -> Result<Self> {
        let bin = paths::postgres_bin("pg_config").context("no pg_config")?;
        let config = |what: &str| -> Result<String> {
            let bin = bin.to_string_lossy();
            Ok(sh::read(sh::cmd(Path::new("/"), &bin, &[what]))?
                .trim()
                .to_owned())
        };
        let pgxs = PathBuf::from(config("--pgxs")?);
        let pg_regress = pgxs.with_file_name("").join("../test/regress/pg_regress");
        if !pg_regress.exists() {
            bail!("{} is missing", pg_regress.display());
        }
        let version = config("--version")?;
        let version = version
            .split_whitespace()
            .nth(1)
            .context("pg_config --version names none")?;
        let home = std::env::temp_dir().join(DIR);
        let source = source(&home, version)?.join("src/test/regress");
        let suite = Self {
            home,
            source,
            pg_regress,
        };
        suite.libraries(&config("--includedir-server")?, &config("--pkglibdir")?)?;
        Ok(suite)
    }

    /// Functions in C that the suite calls.
    fn libraries(&self, include: &str, installed: &str) -> Result<()> {
        let lib = self.home.join("lib");
        fs::create_dir_all(&lib)?;
        let out = lib.join("regress.so").to_string_lossy().into_owned();
        let include = format!("-I{include}");
        let args = [
            "-shared",
            "-fPIC",
            "-O1",
            "-w",
            &include,
            "-o",
            &out,
            "regress.c",
        ];
        sh::run(sh::cmd(&self.source, "cc", &args))?;
        for name in ["refint.so", "autoinc.so"] {
            let from = Path::new(installed).join(name);
            fs::copy(&from, lib.join(name))
                .with_context(|| format!("{}: is postgresql-contrib installed?", from.display()))?;
        }
        Ok(())
    }

    fn run(&self, port: u16, user: &str, password: &str, tests: &[&str]) -> Result<()> {
        let out = self.home.join("out");
        let _ = fs::remove_dir_all(&out);
        fs::create_dir_all(&out)?;
        postgres::give_to_server_user(&self.home)?;
        let mut command = postgres::as_server_user(&self.pg_regress)?;
        let psql = paths::postgres_bin("psql").context("no psql")?;
        command
            .current_dir(&out)
            .arg(format!("--bindir={}", psql.with_file_name("").display()))
            .arg(format!("--inputdir={}", self.source.display()))
            .arg(format!("--outputdir={}", out.display()))
            .arg(format!("--dlpath={}", self.home.join("lib").display()))
            .args(["--host=127.0.0.1", "--max-connections=20"])
            .arg(format!("--port={port}"))
            .arg(format!("--user={user}"))
            .env("PGPASSWORD", password)
            .env("PGSSLMODE", "prefer");
        let mut wanted: BTreeSet<String> = tests.iter().map(|t| (*t).to_owned()).collect();
        if tests.is_empty() {
            let schedule = self.source.join("parallel_schedule");
            wanted = scheduled(&fs::read_to_string(&schedule)?);
            command.arg(format!("--schedule={}", schedule.display()));
        } else {
            // What most of the suite builds upon.
            wanted.insert("test_setup".to_owned());
            command.arg("test_setup").args(tests);
        }
        let started = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut passed = BTreeSet::new();
        for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
            let line = line?;
            passed.extend(ok(&line).filter(|t| wanted.contains(*t)).map(str::to_owned));
            println!("{line}");
        }
        let status = child.wait()?;
        let failed: Vec<&str> = wanted.difference(&passed).map(String::as_str).collect();
        let seconds = started.elapsed().as_secs();
        println!("{} of {}, in {seconds} s", passed.len(), wanted.len());
        if !failed.is_empty() || !status.success() {
            bail!(
                "not passed: {}; what differs is in {}",
                failed.join(" "),
                out.join("regression.diffs").display()
            );
        }
        Ok(())
    }
}

/// The tests of a schedule: whoever stops half-way has not passed the rest.
fn scheduled(schedule: &str) -> BTreeSet<String> {
    let groups = schedule.lines().filter_map(|l| l.strip_prefix("test:"));
    groups
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

/// The test that a line of pg_regress says has passed: `test char ... ok 9 ms`, `     char ... ok 9 ms`,
/// and from version 16 on `ok 2 + char 9 ms`.
fn ok(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["test", name, "...", "ok", ..] | [name, "...", "ok", ..] => Some(name),
        ["ok", _, "+" | "-", name, ..] => Some(name),
        _ => None,
    }
}

/// PostgreSQL's source, fetched once: of this version, or the nearest that can be had.
fn source(home: &Path, version: &str) -> Result<PathBuf> {
    let unpacked = |v: &str| {
        let tree = home.join(format!("postgresql-{v}"));
        let whole = tree.join("src/test/regress/parallel_schedule").exists();
        whole.then_some(tree)
    };
    if let Some(tree) = unpacked(version) {
        return Ok(tree);
    }
    fs::create_dir_all(home)?;
    let apt = Apt::with_sources(home)?;
    let major = version.split('.').next().unwrap_or(version);
    let package = format!("postgresql-{major}");
    let known = apt.read("apt-cache", &["showsrc", &package])?;
    let mut known: Vec<&str> = known
        .lines()
        .filter_map(|line| line.strip_prefix("Version: "))
        .collect();
    let upstream = |v: &str| v.split('-').next().unwrap_or(v).to_owned();
    known.sort_by_key(|v| {
        (
            upstream(v) != version,
            std::cmp::Reverse(minor(&upstream(v))),
        )
    });
    for found in known {
        let which = format!("{package}={found}");
        if let Err(error) = apt.run("apt-get", &["source", "--download-only", &which]) {
            println!("{which} cannot be had: {error}");
            continue;
        }
        let found = upstream(found);
        if found != version {
            println!(
                "THE SUITE IS THAT OF {found}, the server is {version}: compare with --direct"
            );
        }
        let packed = home.join(format!("{package}_{found}.orig.tar.bz2"));
        let packed = packed.to_string_lossy().into_owned();
        sh::run(sh::cmd(home, "tar", &["xf", &packed]))?;
        return unpacked(&found).with_context(|| format!("{packed} holds no regression suite"));
    }
    bail!("no source of {package} can be had")
}

fn minor(version: &str) -> u32 {
    let minor = version.split('.').nth(1);
    minor.and_then(|m| m.parse().ok()).unwrap_or(0)
}

/// apt with the machine's own sources, and their source packages, without touching how it is set up.
struct Apt {
    home: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn with_sources(home: &Path) -> Result<Self> {
        let parts = home.join("apt/sources");
        let lists = home.join("apt/lists");
        fs::create_dir_all(&parts)?;
        fs::create_dir_all(lists.join("partial"))?;
        let system = Path::new("/etc/apt");
        let mut files = vec![system.join("sources.list")];
        if let Ok(more) = fs::read_dir(system.join("sources.list.d")) {
            files.extend(more.flatten().map(|entry| entry.path()));
        }
        for (i, file) in files.iter().enumerate() {
            let Ok(text) = fs::read_to_string(file) else {
                continue;
            };
            // Only the distribution's own: others have no source, or not this one.
            let (ours, kind) = match file.extension().and_then(|e| e.to_str()) {
                Some("sources") => (with_deb822_source(&text), "sources"),
                Some("list") => (with_source_lines(&text), "list"),
                _ => continue,
            };
            fs::write(parts.join(format!("{i}.{kind}")), ours)?;
        }
        let option = |name: &str, path: &Path| format!("{name}={}", path.display());
        let apt = Self {
            home: home.to_owned(),
            options: vec![
                option("Dir::Etc::sourcelist", Path::new("/dev/null")),
                option("Dir::Etc::sourceparts", &parts),
                option("Dir::State::lists", &lists),
            ],
        };
        apt.run("apt-get", &["update", "-qq"])?;
        Ok(apt)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = sh::cmd(&self.home, program, &[]);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command.args(args);
        command
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<()> {
        sh::run(self.command(program, args))
    }

    fn read(&self, program: &str, args: &[&str]) -> Result<String> {
        sh::read(self.command(program, args))
    }
}

/// A file of stanzas, those of Debian with source packages.
fn with_deb822_source(text: &str) -> String {
    let stanzas = text.split("\n\n").filter(|s| s.contains("debian"));
    let with: Vec<String> = stanzas
        .map(|stanza| {
            let lines = stanza.lines().map(|line| match line {
                "Types: deb" => "Types: deb deb-src",
                line => line,
            });
            lines.collect::<Vec<_>>().join("\n")
        })
        .collect();
    with.join("\n\n") + "\n"
}

/// A file of lines, those of Debian with source packages.
fn with_source_lines(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().filter(|l| l.contains("debian")) {
        if let Some(rest) = line.strip_prefix("deb ") {
            out.push_str(&format!("{line}\ndeb-src {rest}\n"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passed() {
        for (line, expect) in [
            (
                "test test_setup                   ... ok          219 ms",
                Some("test_setup"),
            ),
            (
                "     boolean                      ... ok           51 ms",
                Some("boolean"),
            ),
            (
                "     char                         ... FAILED       48 ms",
                None,
            ),
            (
                "     random                       ... failed (ignored) 3 ms",
                None,
            ),
            (
                "ok 1         - test_setup                  219 ms",
                Some("test_setup"),
            ),
            (
                "ok 2         + boolean                      51 ms",
                Some("boolean"),
            ),
            ("not ok 3     + char                         48 ms", None),
            ("parallel group (2 tests):  boolean char", None),
        ] {
            assert_eq!(ok(line), expect, "{line}");
        }
        let names = scheduled("# test: none\ntest: b a\n\nignore: c\ntest: d\n");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b", "d"]);
    }
}
