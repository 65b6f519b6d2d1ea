//! What the shape of the repository promises, held by tests: who may depend on whom, what is linked
//! into what, and that every file says what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weir_tests::paths;

/// Files may be longer than this only with a reason, below.
const MAX_LINES: usize = 600;
const LONG_FILES: &[(&str, &str)] = &[];

/// Packages in Cargo.lock.
const MAX_PACKAGES: usize = 600;

/// What stands in the repository's root, and nothing else.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "deploy",
    "fuzz",
    "host",
    "plugins",
    "policies",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "sdk",
    "tests",
    "wit",
    "xtask",
];

/// Crates that must not be reachable from a protocol crate, by name or by prefix (`*`).
const NOT_ON_THE_WIRE: &[&str] = &[
    "wasmtime*",
    "wasmparser",
    "cranelift*",
    "cedar-policy*",
    "object_store",
    "rusqlite",
    "libsqlite3-sys",
    "sqlx*",
    "tokio-postgres",
    "postgres",
    "diesel*",
    "axum",
    "reqwest",
];

#[test]
fn crates_depend_only_on_whom_the_architecture_allows() {
    let allowed = allowed_arrows();
    let packages = metadata();
    let ours: BTreeSet<&str> = packages.iter().map(|p| text(&p["name"])).collect();
    let mut wrong = Vec::new();
    for package in &packages {
        let name = text(&package["name"]);
        let Some(may) = allowed.get(name) else {
            wrong.push(format!("{name} is not in the table of ARCHITECTURE.md"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = text(&dependency["name"]);
            let development = dependency["kind"] == "dev";
            if ours.contains(to) && !development && !may.contains(to) {
                wrong.push(format!(
                    "{name} depends on {to}, which ARCHITECTURE.md does not allow"
                ));
            }
        }
    }
    for name in allowed.keys().filter(|name| !ours.contains(name.as_str())) {
        wrong.push(format!(
            "{name} is in the table of ARCHITECTURE.md, but is no crate"
        ));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_protocol_crate_links_no_policy_engine_no_wasm_and_no_database() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args([
            "tree", "--locked", "-p", "proto-pg", "-e", "normal", "--prefix", "none",
        ])
        .args(["--format", "{p}"])
        .current_dir(paths::root())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let tree = String::from_utf8_lossy(&out.stdout);
    let linked: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|n| !n.is_empty())
        .collect();
    assert!(
        linked.contains("proto-pg") && linked.contains("pipeline"),
        "{linked:?}"
    );
    let bad: Vec<&&str> = linked.iter().filter(|name| forbidden(name)).collect();
    assert!(bad.is_empty(), "proto-pg links {bad:?}");
}

fn forbidden(name: &str) -> bool {
    NOT_ON_THE_WIRE
        .iter()
        .any(|rule| match rule.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => *rule == name,
        })
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(
        silent.is_empty(),
        "no `//!` at the top of:\n{}",
        silent.join("\n")
    );
}

#[test]
fn a_crate_states_its_invariants() {
    let missing: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("host/") && path.ends_with("/src/lib.rs"))
        .filter(|(_, text)| !text.contains("Architecture invariant"))
        .map(|(path, _)| path)
        .collect();
    assert!(
        missing.is_empty(),
        "no invariants in:\n{}",
        missing.join("\n")
    );
}

#[test]
fn long_files_have_a_reason() {
    let mut wrong = Vec::new();
    let files = sources();
    for (path, text) in &files {
        let lines = text.lines().count();
        let excused = LONG_FILES.iter().any(|(file, _)| file == path);
        if lines > MAX_LINES && !excused {
            wrong.push(format!("{path} has {lines} lines"));
        }
        if lines <= MAX_LINES && excused {
            wrong.push(format!("{path} is short enough now: take it off the list"));
        }
    }
    for (file, reason) in LONG_FILES {
        assert!(reason.len() > 20, "{file}: a reason, please");
        if !files.iter().any(|(path, _)| path == file) {
            wrong.push(format!("{file} is on the list, but is no file"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A permit is taken apart where its request goes out, and nowhere else.
#[test]
fn permits_are_released_in_upstream_modules_only() {
    let bad: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("host/") && !path.starts_with("host/pipeline/"))
        .filter(|(path, _)| !path.contains("/upstream/") && !path.ends_with("/upstream.rs"))
        .filter(|(_, text)| code(text).contains(".release()"))
        .map(|(path, _)| path)
        .collect();
    assert!(
        bad.is_empty(),
        "Permitted::release is called in:\n{}",
        bad.join("\n")
    );
}

/// A task that nobody tracks outlives its session.
#[test]
fn no_task_is_spawned_without_a_tracker() {
    let bad: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("host/") && path.contains("/src/"))
        .filter(|(path, _)| !path.contains("test"))
        .filter(|(_, text)| {
            let code = code(text);
            code.contains("tokio::spawn(") || code.contains("tokio::task::spawn(")
        })
        .map(|(path, _)| path)
        .collect();
    assert!(bad.is_empty(), "bare tokio::spawn in:\n{}", bad.join("\n"));
}

/// Nothing that looks done without being it.
#[test]
fn nothing_is_left_for_later() {
    let marks = ["todo!", "unimplemented!", "#[ignore", "FIXME", "XXX"];
    let mut bad = Vec::new();
    for (path, text) in sources() {
        if path == "tests/e2e/tidy.rs" {
            continue;
        }
        for mark in marks {
            if text.contains(mark) {
                bad.push(format!("{mark} in {path}"));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn few_packages_are_locked() {
    let lock = std::fs::read_to_string(paths::root().join("Cargo.lock")).unwrap();
    let count = lock.lines().filter(|line| *line == "[[package]]").count();
    assert!(
        count > 1 && count < MAX_PACKAGES,
        "{count} packages, at most {MAX_PACKAGES}"
    );
}

#[test]
fn the_root_holds_what_it_should() {
    let found: BTreeSet<String> = tracked()
        .iter()
        .filter_map(|path| Some(path.split('/').next()?.to_owned()))
        .collect();
    let expected: BTreeSet<String> = TOP_LEVEL.iter().map(|s| (*s).to_owned()).collect();
    let extra: Vec<&String> = found.difference(&expected).collect();
    let missing: Vec<&String> = expected.difference(&found).collect();
    assert!(
        extra.is_empty() && missing.is_empty(),
        "extra {extra:?}, missing {missing:?}"
    );
}

// ---- how

/// The table `| crate | may depend on |` of ARCHITECTURE.md.
fn allowed_arrows() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(paths::root().join("ARCHITECTURE.md")).unwrap();
    let mut lines = text.lines().map(str::trim);
    let header = lines.find(|line| *line == "| crate | may depend on |");
    assert!(
        header.is_some(),
        "ARCHITECTURE.md has no table `| crate | may depend on |`"
    );
    let mut table = BTreeMap::new();
    for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, may] = cells.as_slice() else {
            panic!("an odd row: {line}")
        };
        let name = name.trim_matches('`').to_owned();
        let may = may
            .split(',')
            .map(|s| s.trim().trim_matches('`').to_owned());
        let may: BTreeSet<String> = may.filter(|s| !s.is_empty() && s != "–").collect();
        table.insert(name, may);
    }
    assert!(table.len() > 5, "the table is too short to be true");
    table
}

/// The packages of the workspace, by cargo's own account.
fn metadata() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--locked", "--no-deps", "--format-version", "1"])
        .current_dir(paths::root())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let all: Value = serde_json::from_slice(&out.stdout).unwrap();
    all["packages"].as_array().unwrap().clone()
}

/// Every Rust file of the repository, with its text.
fn sources() -> Vec<(String, String)> {
    let root = paths::root();
    let mut found = Vec::new();
    for dir in ["host", "sdk", "plugins", "tests", "xtask", "fuzz"] {
        walk(&root.join(dir), &mut found);
    }
    assert!(found.len() > 30, "only {} files found", found.len());
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let shown = path
                .strip_prefix(&root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            (shown, text)
        })
        .collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(
                name.as_str(),
                "target" | "node_modules" | "corpus" | "artifacts"
            ) {
                walk(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// The text without its comment lines.
fn code(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn tracked() -> Vec<String> {
    let out = Command::new("git")
        .args(["ls-files"])
        .current_dir(paths::root())
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
