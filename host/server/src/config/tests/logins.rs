//! How clients prove who they are: what can be configured, and what is refused.

use proto_pg::ClientLogin;

use super::*;

/// A file that is there.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
const RULE: &str = "[[identity.certificates.rule]]\ncn = \"a\"\nkind = \"user\"\n";

fn authority(lines: &str) -> String {
    format!("[[identity.certificates]]\nname = \"mesh\"\nca = {FILE:?}\n{lines}")
}

/// The good configuration with lines at its listener, at its target, and at its end.
fn text(listener: &str, target: &str, end: &str) -> String {
    let tls = format!("tls = {{ cert = {FILE:?}, key = {FILE:?} }}");
    GOOD.replace(
        "listen = \"127.0.0.1:5432\"",
        &format!("listen = \"127.0.0.1:5432\"\n{tls}\n{listener}"),
    )
    .replace("user = \"weir\"", &format!("user = \"weir\"\n{target}"))
        + end
}

#[test]
fn ways_in_that_are_right() {
    let mesh = authority(&format!("subject_prefix = \"x:\"\n{RULE}"));
    let both = format!("{ISSUER}{mesh}");
    for (listener, target, end, logins) in [
        ("", "", "", &[ClientLogin::Password][..]),
        ("auth = \"password\"", "", "", &[ClientLogin::Password]),
        (
            "auth = [\"oauth\", \"password\"]",
            "",
            ISSUER,
            &[ClientLogin::OAuth, ClientLogin::Password],
        ),
        (
            "auth = \"certificate\"\nclient_certificates = \"mesh\"",
            "",
            &mesh,
            &[ClientLogin::Certificate],
        ),
        (
            "auth = [\"certificate+oauth\", \"password\"]\nclient_certificates = \"mesh\"",
            "client_auth = \"certificate+oauth\"",
            &both,
            &[ClientLogin::CertificateAndOAuth, ClientLogin::Password],
        ),
    ] {
        let config = parse(&text(listener, target, end)).expect(listener);
        assert_eq!(config.postgres.listeners[0].logins, logins, "{listener}");
    }
    let with = "auth = \"oauth\"\noauth = { scope = \"openid db\" }";
    let config = parse(&text(with, "", ISSUER)).unwrap();
    let oauth = config.postgres.listeners[0].oauth.clone().unwrap();
    let discovery = "https://login.example/.well-known/openid-configuration";
    assert_eq!(
        (oauth.discovery.as_str(), oauth.scope.as_str()),
        (discovery, "openid db")
    );
    let second = format!("{ISSUER}{SECOND}shared_groups = true\n");
    let with = "auth = \"oauth\"\noauth = { issuer = \"https://ci.example\" }";
    let config = parse(&text(with, "", &second)).unwrap();
    let oauth = config.postgres.listeners[0].oauth.clone().unwrap();
    assert!(oauth.discovery.starts_with("https://ci.example/") && oauth.scope == "openid");
}

#[test]
fn ways_in_that_are_refused() {
    let mesh = authority(&format!("subject_prefix = \"x:\"\n{RULE}"));
    let two = format!("{ISSUER}{SECOND}shared_groups = true\n");
    let by = "auth = \"certificate\"\n";
    for (listener, target, end, expect) in [
        (
            "auth = \"trust\"",
            "",
            "",
            "listener[0].auth: \"trust\" is none of password, oauth",
        ),
        ("auth = []", "", "", "listener[0].auth: there is no login"),
        (
            "auth = [\"password\", \"password\"]",
            "",
            "",
            "auth: \"password\" is named twice",
        ),
        (
            "auth = \"oauth\"",
            "",
            "",
            "oauth.issuer: name the one of [[identity.issuer]]",
        ),
        (
            "auth = \"oauth\"",
            "",
            &two,
            "oauth.issuer: name the one of [[identity.issuer]]",
        ),
        (
            "auth = \"oauth\"\noauth = { issuer = \"https://login.example/\" }",
            "",
            ISSUER,
            "weir.toml:11: postgres.listener[0].oauth.issuer: this is not one of",
        ),
        (
            "oauth = { scope = \"x\" }",
            "",
            ISSUER,
            "listener[0].oauth: auth has no login by oauth",
        ),
        (
            "auth = \"oauth\"\noauth = { scope = \"\" }",
            "",
            ISSUER,
            "oauth.scope: it is empty",
        ),
        (
            by,
            "",
            &mesh,
            "client_certificates: a login by certificate needs to name",
        ),
        (
            "auth = \"certificate\"\nclient_certificates = \"other\"",
            "",
            &mesh,
            "there is no [[identity.certificates]] named \"other\"",
        ),
        (
            "client_certificates = \"mesh\"",
            "",
            &mesh,
            "auth has no login by certificate",
        ),
        (
            "auth = [\"certificate+password\", \"password\"]\nclient_certificates = \"mesh\"",
            "",
            &mesh,
            "a login by two proofs is of no use beside one by only one of them",
        ),
        (
            "target = \"orders\"",
            "client_auth = \"oauth\"",
            "",
            "listener[0].auth: the target allows none of these logins",
        ),
        (
            "",
            "client_auth = []",
            "",
            "target[0].client_auth: no login is left",
        ),
        (
            "",
            "client_auth = \"x\"",
            "",
            "target[0].client_auth: \"x\" is none of",
        ),
        (
            "",
            "max_protocol = \"3.1\"",
            "",
            "max_protocol: \"3.1\" is none of 3.0, 3.2",
        ),
        (
            "",
            "tls_negotiation = \"direct\"",
            "",
            "tls_negotiation: it is of no use with",
        ),
        (
            "",
            "tls_negotiation = \"x\"",
            "",
            "tls_negotiation: \"x\" is none of",
        ),
        (
            "",
            "tls_cert = \"x\"",
            "",
            "tls_cert: a certificate is of no use with",
        ),
        ("", "tls_key = \"x\"", "", "tls_key: tls_cert is missing"),
        (
            "",
            "auth = [\"scram\"]",
            "",
            "target[0].auth: \"scram\" is none of",
        ),
    ] {
        let errors = parse(&text(listener, target, end))
            .expect_err(expect)
            .to_string();
        assert!(errors.contains(expect), "expected {expect:?} in {errors}");
    }
    let without_tls = GOOD.replace(
        "listen = \"127.0.0.1:5432\"",
        "listen = \"127.0.0.1:5432\"\nauth = \"certificate\"\nclient_certificates = \"mesh\"",
    );
    let errors = parse(&format!("{without_tls}{mesh}"))
        .unwrap_err()
        .to_string();
    assert!(
        errors.contains("tls: certificates are shown in TLS"),
        "{errors}"
    );
}

#[test]
fn authorities_that_are_refused() {
    let prefix = "subject_prefix = \"x:\"\n";
    for (lines, expect) in [
        (
            prefix.to_owned(),
            "identity.certificates[0]: certificate authority mesh: it has no rule",
        ),
        (
            format!("{prefix}[[identity.certificates.rule]]\nkind = \"user\"\n"),
            "weir.toml:24: identity.certificates[0].rule[0]: name one of uri, email, dns and cn",
        ),
        (
            format!("{prefix}{RULE}dns = \"b\"\n"),
            "rule[0]: name one of uri, email, dns and cn",
        ),
        (
            format!("{prefix}[[identity.certificates.rule]]\ncn = \"a\"\nkind = \"robot\"\n"),
            "rule[0].kind: \"robot\" is none of user, agent, workload",
        ),
        (
            format!("{prefix}[[identity.certificates.rule]]\ncn = \"a**\"\nkind = \"user\"\n"),
            "more than one *",
        ),
        (
            format!("{prefix}{RULE}groups = [\"\"]\n"),
            "rule[0].groups[0]: it is empty",
        ),
        (
            format!("{prefix}max_session_seconds = 0\n{RULE}"),
            "weir.toml:24: identity.certificates[0].max_session_seconds: 0 is not between",
        ),
        (
            format!("{prefix}crl = \"absent\"\n{RULE}"),
            "certificates[0].crl: /nowhere/absent",
        ),
        // The only issuer has no prefix either.
        (
            format!("{RULE}{ISSUER}"),
            "could name the people of issuer https://login.example",
        ),
        (
            format!("{prefix}{RULE}{}", authority(&format!("{prefix}{RULE}"))),
            "identity.certificates[1]: certificate authorities mesh and mesh have the same name",
        ),
    ] {
        let end = authority(&lines);
        refused(&end, expect);
    }
    parse(&format!(
        "{GOOD}{}{ISSUER}",
        authority(&format!("shared_subjects = true\n{RULE}"))
    ))
    .unwrap();
}
