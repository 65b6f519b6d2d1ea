//! Configurations that are wrong: refused with key and line, before anything is bound, and without
//! showing a secret.

use std::process::{Command, Stdio};

use weir_tests::paths;
use weir_tests::proc::Scratch;

const GOOD: &str = r#"[server]
data_dir = "data"
base_url = "http://127.0.0.1:1"
[api]
listen = "127.0.0.1:0"
[[postgres.listener]]
listen = "127.0.0.1:0"
target = "orders-prod"
[[target]]
name = "orders-prod"
protocol = "postgres"
env = "prod"
host = "127.0.0.1"
port = 5432
user = "weir"
password = "hunter2-in-the-file"
tls = "disable"
[identity.dev]
enabled = true
"#;

fn check(text: &str) -> (bool, String) {
    let commands = ["check-config", "serve"];
    // What is right would serve for ever.
    run(
        text,
        if text == GOOD {
            &commands[..1]
        } else {
            &commands
        },
    )
}

fn check_only(text: &str) -> (bool, String) {
    run(text, &["check-config"])
}

fn run(text: &str, commands: &[&str]) -> (bool, String) {
    // `shop_with` builds the binary where it is missing; here nothing else does.
    assert!(
        paths::weir().is_file(),
        "build weir first: cargo build -p server"
    );
    let dir = Scratch::new("config").unwrap();
    let path = dir.join("weir.toml");
    std::fs::write(&path, text).unwrap();
    let mut said = String::new();
    let mut ok = true;
    for command in commands {
        let out = Command::new(paths::weir())
            .args([*command, "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        ok = out.status.success();
        said = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        assert!(!said.contains("hunter2"), "a secret was shown: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    (ok, said)
}

#[test]
fn a_good_one_is_good() {
    let (ok, said) = check(GOOD);
    assert!(ok, "{said}");
}

#[test]
fn a_bad_one_names_its_key_and_line() {
    for (from, to, expect) in [
        ("port = 5432", "port = 0", &["weir.toml:14", "port"][..]),
        ("port = 5432", "port = \"x\"", &["weir.toml:14"]),
        ("port = 5432", "prot = 5432", &["weir.toml:14", "prot"]),
        (
            "tls = \"disable\"",
            "tls = \"off\"",
            &["weir.toml:17", "tls"],
        ),
        (
            "\"hunter2-in-the-file\"",
            "{ env = \"WEIR_TEST_NOT_SET\" }",
            &["weir.toml:16", "WEIR_TEST_NOT_SET"],
        ),
        (
            "\"hunter2-in-the-file\"",
            "{ file = \"absent\" }",
            &["weir.toml:16", "absent"],
        ),
        (
            "env = \"prod\"",
            "env = \"produktion\"",
            &["env", "produktion"],
        ),
        (
            "target = \"orders-prod\"",
            "target = \"nowhere\"",
            &["weir.toml:8", "nowhere"],
        ),
        ("enabled = true", "enabled = false", &["identity"]),
        ("[api]", "[api", &["weir.toml:4"]),
        (
            "[identity.dev]",
            "[policy]\nbundle = \"no-such-directory\"\n[identity.dev]",
            &["no-such-directory"],
        ),
        (
            "[identity.dev]",
            "[[plugin]]\nname = \"x\"\npath = \"no-such.wasm\"\n[identity.dev]",
            &["no-such.wasm"],
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let (ok, said) = check(&GOOD.replacen(from, to, 1));
        assert!(!ok, "{to} was accepted: {said}");
        for part in expect {
            assert!(said.contains(part), "{to}: {part:?} is not in {said}");
        }
    }
}

/// A configuration without plugins is a right one, and does less than most people think.
#[test]
fn what_no_plugin_does_is_told() {
    let plugin = |name: &str| {
        let path = paths::plugin(name);
        format!(
            "[[plugin]]\nname = \"{name}\"\npath = \"{}\"\n",
            path.display()
        )
    };
    let lacking = [
        ("risk-sql", "no plugin classifies"),
        ("mask-pii", "no plugin masks"),
        ("route-default", "no plugin routes"),
    ];
    let all: String = lacking.map(|(name, _)| plugin(name)).concat();
    let (ok, said) = check_only(&format!("{GOOD}{all}"));
    assert!(ok && !said.contains("no plugin"), "{said}");
    for (name, warning) in lacking {
        let others = lacking.iter().filter(|(n, _)| *n != name);
        let others: String = others.map(|(n, _)| plugin(n)).collect();
        let (ok, said) = check_only(&format!("{GOOD}{others}"));
        assert!(
            ok && said.contains(&format!("warning: {warning}")),
            "{said}"
        );
        assert_eq!(said.matches("no plugin").count(), 1, "{said}");
    }
    let (ok, said) = check_only(GOOD);
    assert!(ok && said.matches("no plugin").count() == 3, "{said}");
}
