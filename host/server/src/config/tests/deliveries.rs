//! Receivers of the record.

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn with(table: &str) -> Result<Config, ConfigErrors> {
    parse(&format!("{GOOD}{}", table.replace("SECRET", SECRET)))
}

#[test]
fn a_webhook_needs_little() {
    let table = "[[delivery]]\nname = \"siem\"\nkind = \"webhook\"\nurl = \"https://siem.example/x\"\n\
                 secret = \"SECRET\"\n";
    let config = with(table).unwrap();
    assert_eq!(config.deliveries.len(), 1);
    assert_eq!(config.deliveries[0].batch_events, deliver::BATCH_EVENTS);
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn errors_name_key_and_line() {
    const TABLE: &str = "[[delivery]]\nname = \"siem\"\nkind = \"webhook\"\n\
         url = \"https://siem.example/t0ken\"\nsecret = \"SECRET\"\n";
    for (from, to, expect) in [
        (
            "\"siem\"",
            "\"../siem\"",
            ":21: delivery[0].name: \"../siem\" is not a name",
        ),
        (
            "\"siem\"",
            "\"\"",
            ":21: delivery[0].name: \"\" is not a name",
        ),
        (
            "\"webhook\"",
            "\"kafka\"",
            ":22: delivery[0].kind: \"kafka\" is none of webhook",
        ),
        ("https", "http", ":23: delivery[0].url: "),
        (
            "https",
            "ftp",
            ":23: delivery[0].url: \"ftp://siem.example\" is not",
        ),
        ("https://", "https://me:pw@", ":23: delivery[0].url: "),
        ("SECRET", "hunter2", ":24: delivery[0].secret: "),
        (
            "secret = \"SECRET\"\n",
            "",
            "delivery[0].secret: a webhook needs a secret",
        ),
        ("secret", "secrets", ":24: unknown field `secrets`"),
        (
            "url = \"https://siem.example/t0ken\"\n",
            "",
            "delivery[0].url: it is missing",
        ),
        (
            "secret",
            "batch_events = 0\nsecret",
            ":24: delivery[0].batch_events: 0 is not between",
        ),
        (
            "secret",
            "batch_bytes = 1\nsecret",
            ":24: delivery[0].batch_bytes: 1 is not between",
        ),
        (
            "secret",
            "tls_ca = \"/no/ca\"\nsecret",
            ":24: delivery[0].tls_ca: /no/ca cannot be read",
        ),
    ] {
        let error = with(&TABLE.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(expect), "{to}: {error}");
        for secret in [SECRET, "hunter2", "t0ken", "me:pw"] {
            assert!(!error.contains(secret), "{to}: {error}");
        }
    }
}

#[test]
fn names_are_unique_as_names_of_files() {
    let table = "[[delivery]]\nname = \"NAME\"\nkind = \"webhook\"\nurl = \"https://siem.example/\"\n\
                 secret = \"SECRET\"\n";
    let two = |a: &str, b: &str| with(&(table.replace("NAME", a) + &table.replace("NAME", b)));
    assert!(two("siem", "other").is_ok());
    for (a, b) in [("siem", "siem"), ("siem", "SIEM")] {
        let error = two(a, b).unwrap_err().to_string();
        assert!(
            error.contains("delivery[1].name: two deliveries have this name"),
            "{error}"
        );
    }
    let many: String = (0..17)
        .map(|n| table.replace("NAME", &format!("n{n}")))
        .collect();
    assert!(
        with(&many)
            .unwrap_err()
            .to_string()
            .contains("at most 16 deliveries")
    );
}
