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
            "address = \"a:1\"\nsecret",
            ":24: delivery[0].address: it is of no use with kind = \"webhook\"",
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
fn syslog_needs_little() {
    let table =
        "[[delivery]]\nname = \"siem\"\nkind = \"syslog\"\naddress = \"siem.example:6514\"\n";
    let config = with(table).unwrap();
    let crate::config::DeliveryTo::Syslog {
        host,
        port,
        server_name,
        max_message,
        trust_unclean_end,
    } = &config.deliveries[0].to
    else {
        panic!("{config:?}");
    };
    assert_eq!((host.as_str(), *port), ("siem.example", 6514));
    assert_eq!((server_name, *max_message), (&None, deliver::MESSAGE_BYTES));
    assert!(!trust_unclean_end);
    let config = with(&format!("{table}trust_unclean_end = true\n")).unwrap();
    let to = &config.deliveries[0].to;
    let trusts = matches!(
        to,
        crate::config::DeliveryTo::Syslog {
            trust_unclean_end: true,
            ..
        }
    );
    assert!(trusts, "{to:?}");
}

#[test]
fn errors_of_syslog_name_key_and_line() {
    const TABLE: &str =
        "[[delivery]]\nname = \"siem\"\nkind = \"syslog\"\naddress = \"siem.example:6514\"\n";
    for (address, expect) in [
        ("", "delivery[0].address: \"\" is not a host and port"),
        ("siem.example", "is not a host and port"),
        ("siem.example:0", "is not a host and port"),
        ("siem.example:65536", "is not a host and port"),
        ("a b:6514", "is not a host and port"),
        ("::1:6514", "is not a host and port"),
        ("[::g]:6514", "is not a host and port"),
        (
            "tcp://siem.example:514",
            "TLS is spoken with it, and nothing else",
        ),
        (
            "siem.example:514/udp",
            "TLS is spoken with it, and nothing else",
        ),
    ] {
        let table = TABLE.replace("siem.example:6514", address);
        let error = with(&table).unwrap_err().to_string();
        assert!(
            error.contains(":23: delivery[0].address: "),
            "{address}: {error}"
        );
        assert!(error.contains(expect), "{address}: {error}");
    }
    assert!(with(&format!("{TABLE}max_message_bytes = 8192\n")).is_ok());
    for good in ["[::1]:6514", "127.0.0.1:1"] {
        assert!(with(&TABLE.replace("siem.example:6514", good)).is_ok());
    }
    for (more, expect) in [
        (
            "max_message_bytes = 8191",
            ":24: delivery[0].max_message_bytes: 8191 is not between 8192 and 1048576",
        ),
        (
            "server_name = \"a/b\"",
            ":24: delivery[0].server_name: \"a/b\" is neither",
        ),
        (
            "tls_cert = \"Cargo.toml\"",
            ":24: delivery[0].tls_cert: tls_key is missing",
        ),
        (
            "tls_key = \"Cargo.toml\"",
            ":24: delivery[0].tls_key: tls_cert is missing",
        ),
        // What belongs to another kind does nothing, so it is not taken.
        (
            "url = \"https://siem.example/\"",
            ":24: delivery[0].url: it is of no use with kind = \"syslog\"",
        ),
        (
            "secret = \"SECRET\"",
            ":24: delivery[0].secret: it is of no use",
        ),
        (
            "allow_http = true",
            ":24: delivery[0].allow_http: it is of no use",
        ),
    ] {
        let error = with(&format!("{TABLE}{more}\n")).unwrap_err().to_string();
        assert!(error.contains(expect), "{more}: {error}");
        assert!(!error.contains(SECRET), "{error}");
    }
}

#[test]
fn errors_of_otlp_name_key_and_line() {
    const TABLE: &str =
        "[[delivery]]\nname = \"siem\"\nkind = \"otlp\"\nurl = \"https://otel.example/t0ken\"\n";
    assert!(with(TABLE).is_ok());
    let config = with(&format!(
        "{TABLE}token = \"s3cret\"\ntoken_header = \"Api-Key\"\n"
    ))
    .unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    for (from, to, expect) in [
        ("https", "http", ":23: delivery[0].url: "),
        (
            "t0ken",
            "t0ken?x=y",
            "delivery[0].url: /v1/logs is added to it, so it has no \"?\"",
        ),
        ("url", "secret", "delivery[0].url: it is missing"),
        (
            "url = \"https://otel.example/t0ken\"",
            "tls_ca = \"Cargo.toml\"\nurl = \"http://127.0.0.1:1/\"",
            ":23: delivery[0].url: files of TLS are of no use with an http URL",
        ),
        (
            "url",
            "address = \"a:1\"\nurl",
            ":23: delivery[0].address: it is of no use with kind = \"otlp\"",
        ),
        (
            "url",
            "token = { env = \"NO_SUCH_VARIABLE\" }\nurl",
            ":23: delivery[0].token: the environment variable NO_SUCH_VARIABLE is not set",
        ),
        (
            "url",
            "token = \"s3cret\\n\"\nurl",
            ":23: delivery[0].token: it holds characters",
        ),
        (
            "url",
            "token = \"s3cret\"\ntoken_header = \"Content-Length\"\nurl",
            ":24: delivery[0].token_header: \"Content-Length\" is not a header for a token",
        ),
        (
            "url",
            "token = \"s3cret\"\ntoken_header = \"a: b\"\nurl",
            ":24: delivery[0].token_header: \"a: b\" is not a header for a token",
        ),
        (
            "url",
            "token_header = \"Api-Key\"\nurl",
            ":23: delivery[0].token_header: token is missing",
        ),
    ] {
        let error = with(&TABLE.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(expect), "{to}: {error}");
        for secret in ["s3cret", "t0ken"] {
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
