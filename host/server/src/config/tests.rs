//! What configurations are refused, and in which words.

use super::*;

const GOOD: &str = r#"
[server]
data_dir = "data"
base_url = "http://127.0.0.1:8443"
[api]
listen = "127.0.0.1:8443"
[[postgres.listener]]
listen = "127.0.0.1:5432"
[[target]]
name = "orders"
protocol = "postgres"
env = "prod"
host = "127.0.0.1"
port = 5433
user = "weir"
password = "hunter2-in-config"
tls = "disable"
[identity.dev]
enabled = true
"#;

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(Path::new("weir.toml"), text, Path::new("/nowhere"))
}

#[test]
fn a_small_configuration_is_enough() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.targets[0].port, 5433);
    assert!(matches!(config.recording.store, RecordingStore::Dir(_)));
}

#[test]
fn secrets_are_never_shown() {
    let config = parse(GOOD).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let bad = GOOD.replace("port = 5433", "port = 0");
    assert!(!parse(&bad).unwrap_err().to_string().contains("hunter2"));
}

#[test]
fn errors_name_key_and_line() {
    for (from, to, expect) in [
        (
            "port = 5433",
            "port = 0",
            "weir.toml:14: target[0].port: 0 is not between 1 and 65535",
        ),
        ("port = 5433", "port = \"x\"", "weir.toml:14: "),
        (
            "port = 5433",
            "prot = 5433",
            "weir.toml:14: unknown field `prot`",
        ),
        (
            "\"127.0.0.1:5432\"",
            "\"localhost\"",
            "weir.toml:8: postgres.listener[0].listen: ",
        ),
        (
            "tls = \"disable\"",
            "tls = \"off\"",
            "weir.toml:17: target[0].tls: \"off\" is none of",
        ),
        (
            "\"hunter2-in-config\"",
            "{ env = \"WEIR_NOT_SET\" }",
            "weir.toml:16: target[0].password",
        ),
        (
            "\"hunter2-in-config\"",
            "[\"hunter2-in-config\"]",
            "weir.toml:16: target[0].password: a secret is a string, ",
        ),
        (
            "\"hunter2-in-config\"",
            "{ file = \"absent\" }",
            "target[0].password: the secret file",
        ),
        (
            "data_dir = \"data\"",
            "data_dir = \"data\"\ndrain_seconds = 3601",
            "weir.toml:4: server.drain_seconds: 3601 is not between 0 and 3600",
        ),
        (
            "\"http://127.0.0.1:8443\"",
            "\"weir\"",
            "weir.toml:4: server.base_url: ",
        ),
        (
            "listen = \"127.0.0.1:8443\"",
            "listen = \"0.0.0.0:8443\"",
            "weir.toml:6: api.listen: ",
        ),
        (
            "name = \"orders\"",
            "name = \"a/b\"",
            "weir.toml:10: target[0].name: ",
        ),
        (
            "protocol = \"postgres\"",
            "protocol = \"mysql\"",
            "weir.toml:11: target[0].protocol: ",
        ),
        (
            "enabled = true",
            "enabled = false",
            "weir.toml: identity.issuer: nobody could log in",
        ),
        ("[api]", "[api", "weir.toml:5: "),
    ] {
        assert!(
            GOOD.contains(from),
            "{from} is not in the good configuration"
        );
        let errors = parse(&GOOD.replace(from, to)).expect_err(to).to_string();
        assert!(
            errors.contains(expect),
            "{to}: expected {expect:?} in {errors:?}"
        );
    }
}

#[test]
fn a_required_plugin_may_be_pinned() {
    let digest = "a".repeat(64);
    let more = format!("[plugins]\nrequired = [\"one\", \"two@sha256:{digest}\"]\n");
    let required = parse(&format!("{GOOD}{more}"))
        .unwrap()
        .plugin_limits
        .required;
    let expected = [("one", None), ("two", Some(digest))];
    let got: Vec<_> = required.into_iter().map(|r| (r.name, r.sha256)).collect();
    assert_eq!(got, expected.map(|(n, d)| (n.to_owned(), d)));
    for (bad, expect) in [
        (
            "\"two@md5:aa\"",
            "weir.toml:21: plugins.required[0]: what follows @",
        ),
        ("\"two@sha256:AB\"", "plugins.required[0]: what follows @"),
        ("\"a/b\"", "plugins.required[0]: \"a/b\" is not a name"),
        (
            "\"one\", \"one\"",
            "plugins.required[1]: it is required twice",
        ),
    ] {
        let text = format!("{GOOD}[plugins]\nrequired = [{bad}]\n");
        let errors = parse(&text).expect_err(bad).to_string();
        assert!(errors.contains(expect), "{bad}: {errors}");
    }
}

#[test]
fn every_error_is_reported_at_once() {
    let bad = GOOD
        .replace("port = 5433", "port = 0")
        .replace("\"disable\"", "\"off\"");
    assert_eq!(parse(&bad).unwrap_err().0.len(), 2);
}
