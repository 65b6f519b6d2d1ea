//! For whom certificates count, and for whom they do not.

use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

use super::*;
use crate::testing::{Key, NOW, at, verifier};
use crate::{AuthError, Verifier};

fn san(kind: &str, text: &str) -> SanType {
    let text = text.try_into().unwrap();
    match kind {
        "uri" => SanType::URI(text),
        "email" => SanType::Rfc822Name(text),
        _ => SanType::DnsName(text),
    }
}

fn certificate(names: &[(&str, &str)], change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, text) in names {
        match *kind {
            "cn" => params.distinguished_name.push(DnType::CommonName, *text),
            kind => params.subject_alt_names.push(san(kind, text)),
        }
    }
    (params.not_before, params.not_after) = (moment_of(0), moment_of(2 * 86_400));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

/// Seconds after the tests' now.
fn moment_of(seconds: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(NOW as i64 + seconds).unwrap()
}

fn rule(by: NameKind, pattern: &str) -> CertificateRule {
    CertificateRule {
        by,
        pattern: pattern.to_owned(),
        kind: PrincipalKind::Workload,
        groups: vec!["ci".into(), "all".into()],
    }
}

fn authority(rules: Vec<CertificateRule>) -> AuthorityConfig {
    AuthorityConfig {
        subject_prefix: "x:".into(),
        rules,
        ..AuthorityConfig::new("mesh")
    }
}

fn with(authority: AuthorityConfig) -> Verifier {
    verifier(&[&Key::es256("k1")], |o| o.authorities.push(authority))
}

fn subject(result: &Result<Arc<Principal>, AuthError>) -> Option<&str> {
    result.as_ref().ok().map(|p| &*p.actor.subject)
}

#[test]
fn the_first_rule_that_fits_says_who_it_is() {
    use NameKind::{CommonName, Dns, Email, Uri};
    let spiffe = "spiffe://prod.example/ns/*/sa/*";
    for (by, pattern, names, expect) in [
        (
            Uri,
            spiffe,
            &[("uri", "spiffe://prod.example/ns/a/sa/b")][..],
            Some("x:spiffe://prod.example/ns/a/sa/b"),
        ),
        // Other names of the certificate are no obstacle, and no help.
        (
            Uri,
            spiffe,
            &[
                ("cn", "admin"),
                ("dns", "a.example"),
                ("uri", "spiffe://prod.example/ns/a/sa/b"),
            ],
            Some("x:spiffe://prod.example/ns/a/sa/b"),
        ),
        (
            Uri,
            spiffe,
            &[("cn", "spiffe://prod.example/ns/a/sa/b")],
            None,
        ),
        (
            Uri,
            spiffe,
            &[("dns", "spiffe://prod.example/ns/a/sa/b")],
            None,
        ),
        // A star stands for something, within its part.
        (
            Uri,
            spiffe,
            &[("uri", "spiffe://prod.example/ns//sa/b")],
            None,
        ),
        (
            Uri,
            spiffe,
            &[("uri", "spiffe://prod.example/ns/a/x/sa/b")],
            None,
        ),
        (
            Uri,
            spiffe,
            &[("uri", "spiffe://prod.example/ns/a/sa/b/c")],
            None,
        ),
        (
            Uri,
            spiffe,
            &[("uri", "spiffe://prod.example.evil/ns/a/sa/b")],
            None,
        ),
        (
            Uri,
            spiffe,
            &[("uri", "spiffe://test.example/ns/a/sa/b")],
            None,
        ),
        // Of two, neither is the holder's.
        (
            Uri,
            spiffe,
            &[
                ("uri", "spiffe://prod.example/ns/a/sa/b"),
                ("uri", "spiffe://prod.example/ns/a/sa/c"),
            ],
            None,
        ),
        (
            Uri,
            spiffe,
            &[
                ("uri", "spiffe://prod.example/ns/a/sa/b"),
                ("uri", "https://x"),
            ],
            None,
        ),
        (
            Email,
            "*@example.com",
            &[("email", "a@example.com")],
            Some("x:a@example.com"),
        ),
        (Email, "*@example.com", &[("email", "@example.com")], None),
        (
            Email,
            "*@example.com",
            &[("email", "a@b@example.com")],
            None,
        ),
        (
            Email,
            "*@example.com",
            &[("email", "a@example.com.evil")],
            None,
        ),
        (Email, "*@example.com", &[("cn", "a@example.com")], None),
        (
            Dns,
            "*.ci.example",
            &[("dns", "A.CI.example")],
            Some("x:a.ci.example"),
        ),
        (Dns, "*.ci.example", &[("dns", "a.b.ci.example")], None),
        (Dns, "*.ci.example", &[("dns", "ci.example")], None),
        (
            Dns,
            "runner-*.ci",
            &[("dns", "runner-7.ci")],
            Some("x:runner-7.ci"),
        ),
        (Dns, "runner-*.ci", &[("dns", "runner-.ci")], None),
        (CommonName, "robot", &[("cn", "robot")], Some("x:robot")),
        (CommonName, "robot", &[("cn", "Robot")], None),
        (
            CommonName,
            "robot",
            &[("cn", "robot"), ("dns", "robot")],
            Some("x:robot"),
        ),
        (CommonName, "*", &[], None),
        (CommonName, "r*t", &[("cn", "robo\u{200b}t")], None),
    ] {
        let der = certificate(names, |_| {});
        let result = with(authority(vec![rule(by, pattern)])).certificate("mesh", &der);
        assert_eq!(subject(&result), expect, "{pattern} {names:?}: {result:?}");
    }
    // Order counts; a rule that does not fit leaves it to the next.
    let mut second = rule(CommonName, "*");
    second.kind = PrincipalKind::Agent;
    let v = with(authority(vec![rule(Uri, spiffe), second]));
    let der = certificate(&[("cn", "robot")], |_| {});
    let principal = v.certificate("mesh", &der).unwrap();
    assert_eq!(principal.actor.kind, PrincipalKind::Agent);
    assert_eq!(&*principal.issuer, "x509:mesh");
    let groups: Vec<&str> = principal.actor.groups.iter().map(|g| &**g).collect();
    assert_eq!(groups, ["all", "ci"]);
    assert!(
        principal
            .token_id
            .as_ref()
            .unwrap()
            .starts_with("x509-sha256:")
    );
    assert!(matches!(
        v.certificate("other", &der),
        Err(AuthError::NoAuthority)
    ));
}

#[test]
fn common_names_that_are_not_what_they_seem() {
    let v = with(authority(vec![rule(NameKind::CommonName, "*")]));
    let two = certificate(&[], |p| {
        // A second one under the same object identifier.
        p.distinguished_name.push(DnType::CommonName, "robot");
        let other = DnType::CustomDnType(vec![2, 5, 4, 3]);
        p.distinguished_name.push(other, "admin");
    });
    let nul = certificate(&[], |p| {
        let name = DnValue::Utf8String("robot\0.evil".into());
        p.distinguished_name.push(DnType::CommonName, name);
    });
    for der in [two, nul, b"".to_vec(), b"\x30\x03\x02\x01\x01".to_vec()] {
        let result = v.certificate("mesh", &der);
        assert_eq!(
            result.as_ref().err().map(AuthError::code),
            Some("certificate"),
            "{result:?}"
        );
    }
    // Something after the certificate is no certificate.
    let mut der = certificate(&[("cn", "robot")], |_| {});
    assert!(v.certificate("mesh", &der).is_ok());
    der.push(0);
    assert!(v.certificate("mesh", &der).is_err());
}

#[test]
fn a_session_ends_with_its_certificate_and_in_time() {
    let v = with(authority(vec![rule(NameKind::CommonName, "*")]));
    for (from, to, expect) in [
        (-10, 3_600, Ok(3_600)),
        (-10, 400 * 86_400, Ok(86_400)),
        (-20, -10, Err("certificate-expired")),
        (-20, 0, Err("certificate-expired")),
        (10, 20, Err("certificate")),
    ] {
        let der = certificate(&[("cn", "robot")], |p| {
            (p.not_before, p.not_after) = (moment_of(from), moment_of(to));
        });
        let result = v.certificate("mesh", &der);
        let got = result.map(|p| p.expires_at).map_err(|e| e.code());
        assert_eq!(got, expect.map(|s| at(NOW + s)), "{from} {to}");
    }
}

#[test]
fn subjects_and_actors() {
    // What an operator knows of an actor counts for its certificate, too.
    let v = verifier(&[&Key::es256("k1")], |o| {
        o.authorities
            .push(authority(vec![rule(NameKind::CommonName, "*")]));
        o.actors.push(ActorConfig {
            subject: "x:robot".into(),
            groups: vec!["known".into()],
            owner: Some("olga".into()),
            kind: Some(PrincipalKind::Agent),
            ..ActorConfig::default()
        });
    });
    let der = certificate(&[("cn", "robot")], |_| {});
    let actor = v.certificate("mesh", &der).unwrap().actor.clone();
    assert!(actor.in_group("known") && actor.in_group("ci"));
    assert_eq!(
        (actor.kind, actor.owner.as_deref()),
        (PrincipalKind::Agent, Some("olga"))
    );
    // Nobody reaches into a longer namespace of somebody else's.
    let other = AuthorityConfig {
        name: "people".into(),
        subject_prefix: "x:people:".into(),
        ..authority(vec![rule(NameKind::CommonName, "*")])
    };
    let v = verifier(&[&Key::es256("k1")], |o| {
        o.authorities
            .push(authority(vec![rule(NameKind::CommonName, "*")]));
        o.authorities.push(other);
    });
    let der = certificate(&[("cn", "people:olga")], |_| {});
    assert!(v.certificate("mesh", &der).is_err());
    let der = certificate(&[("cn", "olga")], |_| {});
    let result = v.certificate("people", &der);
    assert_eq!(subject(&result), Some("x:people:olga"));
}

#[test]
fn what_cannot_be_configured() {
    let good = || authority(vec![rule(NameKind::CommonName, "*")]);
    assert!(check_authority(&good()).is_ok());
    for change in [
        (|a: &mut AuthorityConfig| a.rules.clear()) as fn(&mut AuthorityConfig),
        |a| a.rules[0].pattern.clear(),
        |a| a.rules[0].pattern = "a**".into(),
        |a| a.rules[0].pattern = "a\n".into(),
        |a| a.rules[0].groups = vec![String::new()],
        |a| a.rules[0] = rule(NameKind::Dns, "*.Example"),
        |a| a.subject_prefix = "\0".into(),
        |a| a.max_session = Duration::ZERO,
        |a| a.max_session = MAX_MAX_AGE + Duration::from_secs(1),
    ] {
        let mut bad = good();
        change(&mut bad);
        assert!(check_authority(&bad).is_err(), "{bad:?}");
    }
    assert!(check_authorities(&good(), &good()).is_err());
    let mut other = good();
    other.name = "other".into();
    assert!(check_authorities(&good(), &other).is_err());
    other.subject_prefix = "y:".into();
    assert!(check_authorities(&good(), &other).is_ok());
    // An issuer's people are named by certificates only where somebody says so.
    let mut issuer = IssuerConfig::new("https://a.example", "weir");
    assert!(check_subjects(&good(), &issuer).is_ok());
    issuer.subject_prefix = "x:".into();
    assert!(check_subjects(&good(), &issuer).is_err());
    let mut shared = good();
    shared.shared_subjects = true;
    assert!(check_subjects(&shared, &issuer).is_ok());
}
