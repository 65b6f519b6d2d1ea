//! What configurations are refused, and in which words.

mod deliveries;
mod logins;
mod ssh;
mod ssh_device;

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
        (
            "[api]",
            "[[recording.witnesses]]\nurl = \"ftp://w.example\"\nkey = \"w\"\n[api]",
            "weir.toml:6: recording.witnesses[0].url: ",
        ),
        (
            "[api]",
            "[[recording.witnesses]]\nurl = \"https://w.example\"\nkey = \"w+1234+x\"\n[api]",
            "weir.toml:7: recording.witnesses[0].key: \"w+1234+x\" is not a key of a witness",
        ),
        (
            "[api]",
            "[recording]\ntrusted_log_keys = [\"w+1234+x\"]\n[api]",
            "weir.toml:6: recording.trusted_log_keys[0]: \"w+1234+x\" is not a key of a log",
        ),
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

const ISSUER: &str =
    "[[identity.issuer]]\nissuer = \"https://login.example\"\naudience = \"weir\"\n";
const SECOND: &str = "[[identity.issuer]]\nissuer = \"https://ci.example\"\naudience = \"weir\"\nsubject_prefix = \"ci:\"\n";
const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The good configuration with more at its end, which is checked and refused with `expect`.
fn refused(more: &str, expect: &str) {
    let errors = parse(&format!("{GOOD}{more}")).expect_err(more).to_string();
    assert!(errors.contains(expect), "{more}: {errors}");
}

/// What once passed, or was told without its line and one at a time.
#[test]
fn every_value_is_looked_at_where_it_is_written() {
    for (issuer, expect) in [
        (
            "algorithms = [\"ES256\", \"HS256\"]",
            "weir.toml:23: identity.issuer[0].algorithms[1]: ",
        ),
        ("algorithms = []", "weir.toml:21: identity.issuer[0]: "),
        (
            "token_types = [\"id\"]",
            "weir.toml:23: identity.issuer[0].token_types[0]: ",
        ),
        (
            "jwks_uri = \"keys\"",
            "weir.toml:23: identity.issuer[0].jwks_uri: ",
        ),
        (
            "jwks_uri = \"http://a.example/k\"",
            "weir.toml:23: identity.issuer[0].jwks_uri: ",
        ),
        (
            "max_age_seconds = 9223372036854775807",
            "weir.toml:23: identity.issuer[0].max_age_seconds: ",
        ),
        (
            "max_age_seconds = 0",
            "identity.issuer[0].max_age_seconds: 0 is not between",
        ),
        (
            "kind = \"person\"",
            "weir.toml:23: identity.issuer[0].kind: ",
        ),
        (
            "service_accounts = \"bot\"",
            "weir.toml:23: identity.issuer[0].service_accounts: ",
        ),
        (
            "groups_claim = \" > \"",
            "weir.toml:23: identity.issuer[0].groups_claim: ",
        ),
        (
            "subject_claim = \"\"",
            "weir.toml:23: identity.issuer[0].subject_claim: ",
        ),
        (
            "subject_prefix = \"dev:\"",
            "weir.toml:23: identity.issuer[0].subject_prefix: ",
        ),
    ] {
        refused(&format!("{ISSUER}{issuer}\n"), expect);
    }
    let actor = "[[identity.actor]]\nsubject = \"a\"\n";
    let webhook = |rest: &str| format!("[webhook]\nurl = \"https://a.example/x\"\n{rest}\n");
    for (more, expect) in [
        (
            format!("{actor}{actor}"),
            "weir.toml:23: identity.actor[1].subject: ",
        ),
        (
            format!("{actor}groups = [\"\"]"),
            "weir.toml:22: identity.actor[0].groups[0]: ",
        ),
        (
            format!("{actor}kind = \"bot\""),
            "weir.toml:22: identity.actor[0].kind: ",
        ),
        (
            "[mask_keys]\nk = \"short\"\n".to_owned(),
            "weir.toml:21: mask_keys.k: ",
        ),
        (
            webhook("secret = \"whsec_AAAA\""),
            "weir.toml:22: webhook.secret: ",
        ),
        (
            webhook(&format!("secret = \"{SECRET}\"\nprevious_secret = \"x\"")),
            "weir.toml:23: webhook.previous_secret: ",
        ),
        (
            format!("[webhook]\nurl = \"http://10.1.2.3/x\"\nsecret = \"{SECRET}\""),
            "weir.toml:21: webhook.url: the webhook cannot be used: its URL must be https",
        ),
        (
            "[log]\nfilter = \"weir=notalevel\"".to_owned(),
            "weir.toml:21: log.filter: ",
        ),
    ] {
        refused(&more, expect);
    }
    for (from, to, expect) in [
        (
            "user = \"weir\"",
            "user = \"\"",
            "weir.toml:15: target[0].user: ",
        ),
        (
            "host = \"127.0.0.1\"",
            "host = \"no such host!\"",
            "weir.toml:13: target[0].host: ",
        ),
        (
            "data_dir = \"data\"",
            "data_dir = \"\"",
            "weir.toml:3: server.data_dir: ",
        ),
        (
            "tls = \"disable\"",
            "auth = []",
            "weir.toml:17: target[0].auth: ",
        ),
        (
            "\"127.0.0.1:5432\"",
            "\"127.0.0.1:5432\"\nproxy_protocol_from = [\"10.0.0.0/8\", \"x\"]",
            "weir.toml:9: postgres.listener[0].proxy_protocol_from[1]: ",
        ),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let errors = parse(&GOOD.replace(from, to)).expect_err(to).to_string();
        assert!(errors.contains(expect), "{to}: {errors}");
    }
}

/// Two issuers must not be able to speak for each other's people, nor to put theirs into the
/// other's groups, unless somebody says that they may.
#[test]
fn issuers_are_kept_apart() {
    refused(
        &format!("{ISSUER}{ISSUER}"),
        "weir.toml:24: identity.issuer[1].issuer: ",
    );
    let same = SECOND.replace("ci:", "");
    refused(
        &format!("{ISSUER}{same}"),
        "weir.toml:26: identity.issuer[1].subject_prefix: ",
    );
    refused(
        &format!("{ISSUER}{SECOND}"),
        "weir.toml:24: identity.issuer[1].group_prefix: ",
    );
    for more in [
        "group_prefix = \"ci/\"",
        "allowed_groups = [\"ci\"]",
        "shared_groups = true",
    ] {
        parse(&format!("{GOOD}{ISSUER}{SECOND}{more}\n")).expect(more);
    }
}

#[test]
fn what_users_need_of_an_issuer_can_be_set() {
    let more = "subject_claim = \"email\"\nmfa_amr = [\"hwk\"]\nmfa_acr = [\"phr\"]\n\
                service_accounts = \"agent\"\naccept_unmarked_tokens = true\nmax_age_seconds = 3600\n\
                groups_claim = \"realm_access > roles\"\n";
    let config = parse(&format!("{GOOD}{ISSUER}{more}")).unwrap();
    let issuer = &config.identity.issuers[0];
    assert_eq!(issuer.subject_claim.to_string(), "email");
    assert_eq!(issuer.groups_claim.to_string(), "realm_access > roles");
    assert_eq!(
        (&issuer.mfa_amr[..], &issuer.mfa_acr[..]),
        (&["hwk".to_owned()][..], &["phr".to_owned()][..])
    );
    assert_eq!(
        issuer.service_accounts,
        Some(pipeline::PrincipalKind::Agent)
    );
    assert!(issuer.unmarked);
    assert_eq!(issuer.max_age, Some(Duration::from_secs(3600)));
    let config = parse(&format!("{GOOD}{ISSUER}")).unwrap();
    assert_eq!(
        config.identity.issuers[0].max_age,
        Some(identity::DEFAULT_MAX_AGE)
    );
}

#[test]
fn a_url_is_not_shown_whole() {
    for url in [
        "postgres://u:hunter2@db.example/x",
        "ftp://hunter2@a.example",
        "https://",
        "hunter2",
        "https://u:hunter2@a.example/hunter2?hunter2#hunter2",
        "https://a b/hunter2",
    ] {
        let bad = GOOD.replace("http://127.0.0.1:8443", url);
        let errors = parse(&bad).expect_err(url).to_string();
        assert!(errors.contains("server.base_url"), "{errors}");
        assert!(!errors.contains("hunter2"), "{url}: {errors}");
        let bad = format!("{GOOD}{}", ISSUER.replace("https://login.example", url));
        let errors = parse(&bad).expect_err(url).to_string();
        assert!(!errors.contains("hunter2"), "{url}: {errors}");
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

#[test]
fn keys_of_other_logs_are_believed_besides_its_own() {
    use recorder::LogKey;
    let key = recorder::SeedKey::new([3; 32]).vkey("weir.old").unwrap();
    let keys = |n: usize| {
        let all = vec![format!("{key:?}"); n].join(", ");
        parse(&format!("{GOOD}\n[recording]\ntrusted_log_keys = [{all}]"))
    };
    let recording = keys(1).unwrap().recording;
    let believed = crate::assemble::log_keys(&recording).unwrap();
    let vkeys: Vec<String> = believed.iter().map(recorder::TrustedKey::vkey).collect();
    assert!(matches!(&vkeys[..], [only] if *only == key), "{vkeys:?}");
    assert!(keys(256).is_ok());
    let error = keys(257).unwrap_err().to_string();
    assert!(
        error.contains("trusted_log_keys[256]: at most 256 keys"),
        "{error}"
    );
}

#[test]
fn a_vault_is_a_place_of_its_own() {
    let vault = |of: &str| parse(&format!("{GOOD}\n[recording.vault]\n{of}"));
    let config = vault("dir = \"v\"").unwrap();
    let vault_of = config.recording.vault.unwrap();
    assert!(matches!(vault_of.store, RecordingStore::Dir(_)) && vault_of.retention.is_none());
    let bucket = "s3 = { bucket = \"b\" }\n";
    let kept = "retention = { mode = \"compliance\", days = 400 }";
    let config = vault(&format!("{bucket}{kept}")).unwrap();
    let retention = config.recording.vault.and_then(|v| v.retention).unwrap();
    assert_eq!((retention.compliance, retention.days), (true, 400));
    for (wrong, expect) in [
        ("", "weir.toml:21: recording.vault: name either dir or s3"),
        (
            &format!("dir = \"v\"\n{kept}"),
            "recording.vault.retention: a directory cannot lock",
        ),
        (
            &format!("{bucket}retention = {{ mode = \"strict\", days = 1 }}"),
            "weir.toml:23: recording.vault.retention.mode: governance",
        ),
        (
            &format!("{bucket}retention = {{ mode = \"governance\", days = 0 }}"),
            "weir.toml:23: recording.vault.retention.days: 0 is not between 1 and 36500",
        ),
        (
            &format!("{bucket}retention = {{ days = 1 }}"),
            "missing field `mode`",
        ),
        (
            "s3 = { bucket = \"b\", access_key_id = { env = \"WEIR_NOT_SET\" } }",
            "recording.vault.s3.access_key_id",
        ),
    ] {
        let errors = vault(wrong).expect_err(wrong).to_string();
        assert!(errors.contains(expect), "{wrong}: {errors}");
    }
}
