//! Packages of evidence, from a real session to an empty directory.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use weir_tests::proc::eventually;
use weir_tests::weir::Weir;
use weir_tests::{paths, skip};

use crate::evidence::{a_session, transcript};
use crate::holds::approved;
use crate::shop::{ALICE, BOB, MALLORY, OLGA, shop, shop_with};

/// Whoever gets a package verifies it with a key and nothing else; its events are what OCSF says; and
/// what is taken out of it is missed.
#[test]
fn a_package_is_verified_in_an_empty_directory() {
    let mut shop = shop("package");
    let session = a_session(&shop);
    transcript(&shop.weir, &session, "the end");
    approved(&shop, "mark-package-77aa");
    shop.weir.stop();
    let home = shop.weir.home.clone();
    let package = home.join("evidence.zip").display().to_string();
    let make = |args: &[&str]| {
        let from = [
            "evidence",
            "--offline",
            "--from",
            "2020-01-01",
            "--out",
            &package,
        ];
        shop.weir.cli(None, &[&from, args].concat()).unwrap()
    };
    // A window that is over before there was anything.
    let out = make(&["--to", "2020-01-02"]);
    assert!(
        !out.ok() && out.stderr.contains("no transparency log"),
        "{}",
        out.all()
    );
    let out = make(&["--sample", "3"]);
    assert!(out.ok(), "{}", out.all());
    let said = out.stdout;
    assert!(said.contains("made offline: that it was made is on no log"));
    let key = said
        .lines()
        .find_map(|l| l.strip_prefix("package signed with the key you trust: "))
        .unwrap_or_else(|| panic!("{said}"));
    // It is not written over.
    assert!(!make(&[]).ok());

    let empty = home.join("empty");
    std::fs::create_dir(&empty).unwrap();
    std::fs::rename(&package, empty.join("p.zip")).unwrap();
    let verify = |file: &str, more: &[&str]| {
        let out = Command::new(paths::weir())
            .current_dir(&empty)
            .env_clear()
            .args(["verify", file])
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        (
            out.status.code(),
            said + &String::from_utf8_lossy(&out.stderr),
        )
    };
    let (code, said) = verify("p.zip", &["--log-key", key]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("verified\n"), "{said}");
    let (code, said) = verify("p.zip", &[]);
    assert!(
        code == Some(0) && said.contains("nobody vouched for"),
        "{said}"
    );
    let other = "weir+f3f47c88+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    assert_eq!(verify("p.zip", &["--log-key", other]).0, Some(1));
    assert_eq!(verify("none.zip", &[]).0, Some(1));

    let files = unzip(&empty.join("p.zip"));
    let get = |name: &str| {
        let found = files.iter().find(|(path, _)| path == name);
        String::from_utf8_lossy(&found.unwrap_or_else(|| panic!("{name}")).1).into_owned()
    };
    let population = get("population.csv");
    assert!(population.contains(&session), "{population}");
    // In leaves there is neither a name nor a text; and results are nowhere. A bundle's own text is whole.
    for (name, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("Customer 3"), "{name}");
        let may = name.starts_with("records/") || name == "people.csv";
        let may = may || name.starts_with("policies/");
        let named = [ALICE.0, BOB.0, "nothing is dropped", "INSERT INTO probe"];
        assert!(
            may || !named.iter().any(|n| text.contains(n)),
            "{name}: {text}"
        );
    }
    assert!(get("masking.csv").contains("ssn"), "{}", get("masking.csv"));
    assert!(get("approvals.csv").lines().count() > 1);
    assert!(get("people.csv").contains(ALICE.0), "{}", get("people.csv"));
    assert!(get("gaps.json").contains("\"verdict\": \"none\""));
    let classes = ["3002", "3003", "3005", "6002", "6003", "6005"];
    ocsf(&get("ocsf.jsonl"), &classes);

    // A leaf less.
    let taken = |(name, bytes): &(String, Vec<u8>)| {
        let cut = name.contains("/tile/entries/") && bytes.len() > 2;
        let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        let bytes = if cut {
            bytes[2 + length..].to_vec()
        } else {
            bytes.clone()
        };
        (name.clone(), bytes)
    };
    let less: Vec<_> = files.iter().map(taken).collect();
    zip(&empty.join("less.zip"), &less);
    let (code, said) = verify("less.zip", &["--log-key", key]);
    assert!(
        code == Some(1) && said.ends_with("NOT VERIFIED\n"),
        "{said}"
    );
    assert!(said.contains("tile/entries/000"), "{said}");
}

/// Of a running Weir, a package is on record before anybody has it: nobody gets one in silence.
#[test]
fn a_package_that_a_weir_makes_is_on_record() {
    let mut shop = shop("package-online");
    let session = a_session(&shop);
    transcript(&shop.weir, &session, "the end");
    let home = shop.weir.home.clone();
    let package = home.join("evidence.zip").display().to_string();
    let make = |weir: &Weir, token: Option<&str>, args: &[&str]| {
        let from = ["evidence", "--from", "2020-01-01", "--out", &package];
        weir.cli(token, &[&from, args].concat()).unwrap()
    };
    let olga = shop.token(OLGA);
    // Without permission, or without a Weir to ask, there is none.
    for who in [ALICE, BOB, MALLORY] {
        let out = make(&shop.weir, Some(&shop.token(who)), &[]);
        assert!(!out.ok(), "{}: {}", who.0, out.all());
        assert!(out.stderr.contains("evidence:export"), "{}", out.all());
    }
    let store = home.join("recordings").display().to_string();
    for (args, why) in [
        (&["--unsigned"][..], "--offline"),
        (&["--store", &store], "--config"),
        (&["--sample", "1001"], "0 to 1000"),
        (&["--to", "2020-01-02"], "no transparency log"),
    ] {
        let out = make(&shop.weir, Some(&olga), args);
        assert!(
            !out.ok() && out.stderr.contains(why),
            "{args:?}: {}",
            out.all()
        );
    }
    assert!(!make(&shop.weir, None, &[]).ok(), "without a token");
    assert!(!Path::new(&package).exists());
    let left = std::fs::read_dir(&home).unwrap().flatten();
    let left = left.filter(|e| e.file_name().to_string_lossy().starts_with(".weir"));
    assert_eq!(left.count(), 0, "something is left of a package");

    let out = make(
        &shop.weir,
        Some(&olga),
        &["--target", "shop", "--sample", "3"],
    );
    assert!(
        out.ok() && out.stdout.ends_with("verified\n"),
        "{}",
        out.all()
    );
    let said = out.stdout;
    let line = |start: &str| {
        let found = said.lines().find_map(|l| l.strip_prefix(start));
        found.unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    let name = line("that it was made is on record: evidence:exported of ");
    let key = line("package signed with the key you trust: ");
    // It is not written over, and nothing is asked for in vain.
    assert!(!make(&shop.weir, Some(&olga), &[]).ok());
    let acts = eventually("it to be on record", Duration::from_secs(30), || {
        let args = ["audit", "--kind", "act", "--format", "jsonl"];
        let out = shop.weir.cli(Some(&olga), &args)?;
        let acts: Vec<Value> = out
            .stdout
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        let made = |act: &Value| act["actions"][0] == "evidence:exported";
        Ok(acts.iter().any(made).then_some(acts))
    })
    .unwrap();
    let named = |action: &str, decision: &str| {
        let of = |act: &&Value| act["actions"][0] == action && act["decision"] == decision;
        acts.iter().filter(of).cloned().collect::<Vec<Value>>()
    };
    let exported = named("evidence:exported", "permit");
    assert_eq!(exported.len(), 1, "{acts:#?}");
    assert_eq!(exported[0]["resources"][0], name);
    assert_eq!(exported[0]["principal"]["subject"], OLGA.0);
    let refused = named("evidence:export", "refused");
    assert!(refused.len() >= 3, "{acts:#?}");

    // In the log, too: what is made later of the store alone has it.
    shop.weir.stop();
    let empty = home.join("empty");
    std::fs::create_dir(&empty).unwrap();
    std::fs::rename(&package, empty.join("p.zip")).unwrap();
    let out = Command::new(paths::weir())
        .current_dir(&empty)
        .env_clear()
        .args(["verify", "p.zip", "--log-key", &key])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains(&name), "{said}");
    assert!(!make(&shop.weir, Some(&olga), &[]).ok(), "no Weir to ask");
    let out = make(&shop.weir, None, &["--offline", "--sample", "0"]);
    assert!(out.ok(), "{}", out.all());
    let files = unzip(Path::new(&package));
    let operators = files.iter().find(|(path, _)| path == "operators.csv");
    let operators = String::from_utf8_lossy(&operators.unwrap().1).into_owned();
    let row = operators.lines().find(|l| l.contains("evidence:exported"));
    let digest = name.trim_start_matches("Package::").trim_matches('"');
    assert!(row.is_some_and(|row| row.contains(digest)), "{operators}");
    assert!(!operators.contains(OLGA.0), "{operators}");
}

/// Whoever can write to the store ends no package by it, and leaves nothing out in silence. Nor does a key that
/// was replaced: it is named, or its logs are.
#[test]
fn what_is_beside_the_record_is_told_and_ends_no_package() {
    let mut shop = shop("package-planted");
    let session = a_session(&shop);
    transcript(&shop.weir, &session, "the end");
    let home = shop.weir.home.clone();
    let made = |weir: &Weir, token: &str, name: &str, code: i32| {
        let package = home.join(name).display().to_string();
        let args = ["evidence", "--from", "2020-01-01", "--sample", "0", "--out"];
        let out = weir
            .cli(Some(token), &[&args[..], &[&package]].concat())
            .unwrap();
        assert_eq!(out.status.code(), Some(code), "{name}: {}", out.all());
        out.stdout
    };
    let olga = shop.token(OLGA);
    let said = made(&shop.weir, &olga, "whole.zip", 0);
    let key = said
        .lines()
        .find_map(|l| l.strip_prefix("package signed with the key you trust: "))
        .unwrap_or_else(|| panic!("{said}"))
        .to_owned();
    let planted = "01900000-0000-7000-8000-000000000007";
    let log = home.join("data/recordings/log").join(planted);
    std::fs::create_dir_all(&log).unwrap();
    std::fs::write(log.join("checkpoint"), "hello").unwrap();
    let said = made(&shop.weir, &olga, "planted.zip", 3);
    let left = format!("GAP: log {planted}, which no key that counts has signed, is left out");
    assert!(said.contains(&left), "{said}");
    std::fs::remove_dir_all(&log).unwrap();

    // Another key signs from here on.
    shop.weir.stop();
    std::fs::remove_file(home.join("data/keys/log.key")).unwrap();
    shop.weir.launch().unwrap();
    let said = made(&shop.weir, &olga, "another.zip", 3);
    assert!(
        said.contains("GAP: log ") && said.contains("trusted_log_keys"),
        "{said}"
    );
    assert!(!said.contains(&key), "{said}");
    // Until the one before is named.
    shop.weir.stop();
    let config = std::fs::read_to_string(&shop.weir.config).unwrap();
    let named = format!("[recording]\ntrusted_log_keys = [\"{key}\"]\n");
    std::fs::write(&shop.weir.config, config.replace("[recording]\n", &named)).unwrap();
    shop.weir.launch().unwrap();
    // That the key is another is a gap of its own: the registry of logs began anew with it.
    let said = made(&shop.weir, &olga, "named.zip", 3);
    assert!(
        said.contains("the registry of logs") && !said.contains("is left out"),
        "{said}"
    );
    assert!(
        said.contains(&format!("logs signed with the key you trust: {key}")),
        "{said}"
    );
}

/// Without room for it, every session would end.
#[test]
fn what_the_record_may_need_of_the_disk_is_not_a_packages() {
    let most = "spool_limit_bytes = 1125899906842624";
    let shop = shop_with(
        "package-room",
        |_| {},
        |setup| setup.recording = most.into(),
    );
    let package = shop.weir.home.join("evidence.zip");
    let args = [
        "evidence",
        "--from",
        "2020-01-01",
        "--out",
        &package.display().to_string(),
    ];
    let out = shop.weir.cli(Some(&shop.token(OLGA)), &args).unwrap();
    assert!(
        !out.ok() && out.stderr.contains("has no room for a package"),
        "{}",
        out.all()
    );
    assert!(!package.exists());
    assert!(
        shop.weir.log().contains("are kept for the record"),
        "{}",
        shop.weir.log()
    );
    assert!(shop.psql(ALICE).run("SELECT 1").unwrap().ok());
}

/// Every event is valid by the published schema, and these classes are among them.
pub fn ocsf(events: &str, classes: &[&str]) {
    let python = paths::venv().join("bin/python");
    let has = Command::new(&python)
        .args(["-c", "import ocsf_json_schema"])
        .output();
    if !has.is_ok_and(|out| out.status.success()) {
        skip::not_installed("OCSF events against their schema: ocsf-json-schema is not installed");
        return;
    }
    let mut child = Command::new(&python)
        .arg(paths::root().join("tests/ocsf/check.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(events.as_bytes())
        .unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}");
    for class in classes {
        assert!(
            said.contains(&format!("{class}: ")),
            "no event of {class}: {said}"
        );
    }
}

/// With Python, as others would read it.
pub fn unzip(path: &Path) -> Vec<(String, Vec<u8>)> {
    let dir = path.with_extension("d");
    let script = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])";
    run(&[
        "-c",
        script,
        &path.display().to_string(),
        &dir.display().to_string(),
    ]);
    let mut out = Vec::new();
    let mut dirs = vec![dir.clone()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(&dir).unwrap().display().to_string();
                out.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    out.sort();
    out
}

fn zip(path: &Path, files: &[(String, Vec<u8>)]) {
    let dir = path.with_extension("d");
    for (name, bytes) in files {
        let file = dir.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    let script = "import sys, os, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\nfor d, _, fs in \
                  os.walk(sys.argv[2]):\n for f in fs:\n  p = os.path.join(d, f)\n  z.write(p, \
                  os.path.relpath(p, sys.argv[2]))\nz.close()";
    run(&[
        "-c",
        script,
        &path.display().to_string(),
        &dir.display().to_string(),
    ]);
}

fn run(args: &[&str]) {
    let out = Command::new("python3").args(args).output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}
