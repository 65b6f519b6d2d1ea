//! Certificates of the authority: what is found again in them, and all that is refused.

mod openssh;
mod registered;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use pipeline::{Actor, Login, PrincipalKind, Proof};
use tempfile::TempDir;

use super::*;

fn authority() -> (TempDir, SshAuthority) {
    let dir = tempfile::tempdir().unwrap();
    let options = SshAuthorityOptions::new(dir.path().join("ssh"));
    (dir, SshAuthority::open(&options).unwrap())
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

fn key() -> PublicKey {
    PrivateKey::generate_ed25519().unwrap().public().clone()
}

fn from() -> IpAddr {
    "10.1.2.3".parse().unwrap()
}

fn dora() -> Principal {
    let actor = Actor::new(PrincipalKind::User, "dora", &["ops", "dba"]);
    Principal::direct(actor, "https://id.example", now() + hours(24))
}

/// The same with a token of this time.
fn dora_at(at: SystemTime) -> Principal {
    Principal {
        issued_at: Some(at),
        ..dora()
    }
}

/// Somebody of whom everything is known that can be known.
fn everybody() -> Principal {
    let mut head = Actor::new(PrincipalKind::User, "corp/dörä \"d\" \\", &["b", "a"]);
    head.mfa = true;
    head.attrs = BTreeMap::from([
        ("email".into(), "d@x.example".into()),
        ("é".into(), "".into()),
    ]);
    let mut agent = Actor::new(PrincipalKind::Agent, "agents/claude", &["agents"]);
    agent.autonomous = true;
    agent.owner = Some("dora".into());
    let job = Actor::new(PrincipalKind::Workload, "ci/7", &[]);
    Principal {
        actor: agent,
        on_behalf_of: vec![head, job],
        issuer: "https://id.example".into(),
        issued_at: Some(now() - hours(2)),
        expires_at: now() + hours(1),
        token_id: Some("jti-1".into()),
        proof: Proof {
            login: Some(Login::Token),
            amr: vec!["hwk".into(), "pin".into()],
            acr: Some("urn:gold".into()),
        },
    }
}

#[test]
fn everything_that_is_known_of_a_principal_is_found_again() {
    let (_dir, authority) = authority();
    for principal in [dora(), everybody()] {
        let certificate = authority
            .issue_user(&principal, &key(), None, now())
            .unwrap();
        let found = authority.verify_user(&certificate, from(), now()).unwrap();
        let ends = principal.expires_at.min(now() + hours(8));
        assert_eq!(
            found,
            Principal {
                expires_at: ends,
                ..principal.clone().by(Login::Certificate)
            }
        );
        // It goes through the text that it is kept as.
        let again = Certificate::from_openssh(&certificate.to_openssh("c")).unwrap();
        assert_eq!(authority.verify_user(&again, from(), now()).unwrap(), found);
        assert!(certificate.key_id.contains(&*found.actor.subject));
        assert!(certificate.key_id.contains(&*found.issuer));
    }
}

#[test]
fn a_certificate_ends_with_the_token_and_after_hours() {
    let (_dir, authority) = authority();
    for (token, expected) in [(hours(24), hours(8)), (hours(3), hours(3))] {
        let mut principal = dora();
        principal.expires_at = now() + token;
        let certificate = authority
            .issue_user(&principal, &key(), None, now())
            .unwrap();
        let ends = now() + expected;
        let just = ends - Duration::from_secs(1);
        assert!(authority.verify_user(&certificate, from(), just).is_ok());
        assert_eq!(
            authority.verify_user(&certificate, from(), ends),
            Err(SshCertificateError::Certificate(CertificateError::Expired))
        );
    }
    for ends in [now(), now() + Duration::from_secs(29), now() - hours(1)] {
        let mut principal = dora();
        principal.expires_at = ends;
        let refused = authority.issue_user(&principal, &key(), None, now());
        assert_eq!(refused.unwrap_err(), IssueError::TokenEnds);
    }
}

#[test]
fn a_certificate_bound_to_a_place_is_good_there_only() {
    let (_dir, authority) = authority();
    let bound = Some(Network::host(from()));
    let certificate = authority.issue_user(&dora(), &key(), bound, now()).unwrap();
    assert!(authority.verify_user(&certificate, from(), now()).is_ok());
    for other in ["10.1.2.4", "::1", "127.0.0.1"] {
        assert_eq!(
            authority.verify_user(&certificate, other.parse().unwrap(), now()),
            Err(SshCertificateError::Certificate(CertificateError::Source))
        );
    }
}

#[test]
fn a_revoked_certificate_is_refused() {
    let (dir, authority) = authority();
    let certificate = authority.issue_user(&dora(), &key(), None, now()).unwrap();
    let other = authority.issue_user(&dora(), &key(), None, now()).unwrap();
    let what = Revocation::Serial(certificate.serial);
    authority.revoke(&what, now()).unwrap();
    let revoked = Err(SshCertificateError::Revoked(certificate.serial));
    assert_eq!(authority.verify_user(&certificate, from(), now()), revoked);
    assert!(authority.verify_user(&other, from(), now()).is_ok());
    // Of the next process too, if the configuration says so.
    let mut options = SshAuthorityOptions::new(dir.path().join("ssh"));
    options.revoked = vec![certificate.serial];
    let next = SshAuthority::open(&options).unwrap();
    assert_eq!(next.verify_user(&certificate, from(), now()), revoked);
    assert!(next.verify_user(&other, from(), now()).is_ok());
    options.revoked = vec![7; MAX_REVOKED + 1];
    assert!(SshAuthority::open(&options).is_err());
}

/// Each of the three keys counts for one thing.
#[test]
fn what_is_for_one_audience_is_nothing_to_another() {
    let (_dir, authority) = authority();
    let refused = |certificate: &Certificate| authority.verify_user(certificate, from(), now());
    let unknown = |result: Result<Principal, SshCertificateError>| {
        let Err(SshCertificateError::Certificate(error)) = result else {
            panic!("{result:?}");
        };
        assert!(
            matches!(error, CertificateError::UnknownAuthority(_)),
            "{error:?}"
        );
    };
    let session = SessionId::default();
    let granted = Granted::default();
    let upstream = authority
        .issue_upstream(&key(), "root", &dora(), session, granted, now())
        .unwrap();
    unknown(refused(&upstream));
    let host = authority
        .issue_host(&["gw.example".to_owned()], now())
        .unwrap();
    unknown(refused(&host));

    // At a target, a caller's certificate is of another authority, and names no account.
    let caller = authority.issue_user(&dora(), &key(), None, now()).unwrap();
    let mut wanted = Wanted {
        cas: std::slice::from_ref(authority.target_ca()),
        kind: CertificateKind::User,
        now: now(),
        principal: "root",
        source: None,
    };
    assert!(upstream.check(&wanted).is_ok());
    assert!(caller.check(&wanted).is_err());
    wanted.cas = std::slice::from_ref(authority.caller_ca());
    assert!(caller.check(&wanted).is_err());
    wanted.principal = "dora";
    assert!(caller.check(&wanted).is_err());
    // Nobody has an account certified that is called as callers are.
    for login in [
        CALLER_PRINCIPAL,
        "",
        "a,b",
        "root:x",
        "root/r",
        "D\\root",
        "a b",
        "a\nb",
        "a\0",
    ] {
        let result = authority.issue_upstream(&key(), login, &dora(), session, granted, now());
        assert!(matches!(result, Err(IssueError::Login(_))), "{login:?}");
    }
    // Nor has anybody Weir's own keys certified.
    for own in authority.keys() {
        let result = authority.issue_user(&dora(), own, None, now());
        assert_eq!(result.unwrap_err(), IssueError::OwnKey);
        let result = authority.issue_upstream(own, "root", &dora(), session, granted, now());
        assert_eq!(result.unwrap_err(), IssueError::OwnKey);
    }
}

/// Signed by the right key, and still not as we sign: by somebody who uses the key elsewhere.
#[test]
fn what_we_would_not_have_issued_is_refused() {
    use SshCertificateError as E;
    let (_dir, authority) = authority();
    let good = authority.issue_user(&dora(), &key(), None, now()).unwrap();
    let text = good.extensions.get_text(CARRIED).unwrap().to_owned();
    let spec = || CertificateSpec {
        key: good.key().clone(),
        kind: CertificateKind::User,
        serial: 1,
        key_id: "id".into(),
        principals: vec![CALLER_PRINCIPAL.into()],
        valid_after: good.valid_after,
        valid_before: good.valid_before,
        critical: Options::new(),
        extensions: Options::new().text(CARRIED, &text),
    };
    let with = |change: &dyn Fn(&mut CertificateSpec)| {
        let mut spec = spec();
        change(&mut spec);
        let certificate = spec.sign(&authority.callers).unwrap();
        authority.verify_user(&certificate, from(), now())
    };
    assert!(with(&|_| {}).is_ok());
    let carried = |text: &str| with(&|s| s.extensions = Options::new().text(CARRIED, text));
    let long = with(&|s| s.valid_before = s.valid_after + 13 * 3600);
    assert_eq!(long, Err(E::TooLong));
    assert_eq!(with(&|s| s.valid_before = u64::MAX), Err(E::TooLong));
    let names = with(&|s| s.principals.push("root".into()));
    assert_eq!(names, Err(E::Names));
    let other_name = with(&|s| s.principals = vec!["root".into()]);
    assert!(matches!(
        other_name,
        Err(E::Certificate(CertificateError::Principal(_)))
    ));
    let command = with(&|s| s.critical = Options::new().text("force-command", "id"));
    assert_eq!(command, Err(E::Command));
    let host = with(&|s| s.kind = CertificateKind::Host);
    assert!(matches!(
        host,
        Err(E::Certificate(CertificateError::WrongKind { .. }))
    ));
    let nobody = with(&|s| s.extensions = Options::new().flag(CARRIED));
    assert_eq!(nobody, Err(E::Carried("there is none")));
    let nobody = with(&|s| s.extensions = Options::new().flag("permit-pty"));
    assert_eq!(nobody, Err(E::Carried("there is none")));

    for bad in [
        "",
        "{}",
        "[]",
        &text.replace("\"v\":1", "\"v\":2"),
        &text.replace("\"v\":1", "\"v\":1.5"),
        &text.replace("\"v\":1", "\"v\":\"1\""),
        &text.replace("\"v\":1", "\"v\":1,\"v\":1"),
        &text.replace("\"v\":1", "\"v\":1,\"more\":1"),
        &text.replace("\"mfa\":false", "\"mfa\":true,\"mfa\":false"),
        &text.replace("\"mfa\":false", "\"mfa\":0"),
        &text.replace("\"mfa\":false,", ""),
        &text.replace("\"user\"", "\"root\""),
        &text.replace("\"dora\"", "\"\""),
        &text.replace("\"dora\"", "\"do\\u0000ra\""),
        &text.replace("\"ops\"", "\"\""),
        &format!("{text}{text}"),
        &format!("{text}{}", " ".repeat(16 * 1024)),
    ] {
        assert_ne!(bad, text);
        let result = carried(bad);
        assert!(matches!(result, Err(E::Carried(_))), "{bad}: {result:?}");
    }
    let mut chain = dora();
    chain.on_behalf_of = vec![chain.actor.clone(); 5];
    let result = authority.issue_user(&chain, &key(), None, now());
    assert_eq!(result.unwrap_err(), IssueError::TooLarge);
    let mut many = dora();
    many.actor.groups = (0..500).map(|n| format!("{n:0200}").into()).collect();
    let result = authority.issue_user(&many, &key(), None, now());
    assert_eq!(result.unwrap_err(), IssueError::TooLarge);
}

/// As OpenSSH sees them.
#[test]
fn certificates_show_whose_they_are_and_grant_what_was_granted() {
    let (dir, authority) = authority();
    let show = |certificate: &Certificate| {
        let path = dir.path().join("x-cert.pub");
        std::fs::write(&path, certificate.to_openssh("")).unwrap();
        let out = Command::new("ssh-keygen").arg("-Lf").arg(&path).output();
        let out = out.expect("ssh-keygen is needed: apt-get install openssh-client");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    let session = SessionId::default();
    let none = authority
        .issue_upstream(&key(), "root", &dora(), session, Granted::default(), now())
        .unwrap();
    let shown = show(&none);
    assert!(
        shown.contains(&format!("Key ID: \"weir dora session {session}\"")),
        "{shown}"
    );
    assert!(shown.contains("Extensions: (none)"), "{shown}");
    assert!(shown.contains("Critical Options: (none)"), "{shown}");
    assert_eq!(none.valid_before - none.valid_after, 6 * 60);
    let pty = Granted {
        pty: true,
        ..Granted::default()
    };
    let pty = authority
        .issue_upstream(&key(), "root", &dora(), session, pty, now())
        .unwrap();
    assert_eq!(pty.extensions.names().collect::<Vec<_>>(), ["permit-pty"]);

    let bound = Some(Network::host(from()));
    let caller = authority
        .issue_user(&everybody(), &key(), bound, now())
        .unwrap();
    let shown = show(&caller);
    for part in [
        CALLER_PRINCIPAL,
        "source-address 10.1.2.3/32",
        "principal@weir.dev",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // Policy decides on all of these, each time.
    for permit in PERMITS {
        assert!(shown.contains(permit), "{permit}: {shown}");
    }
    let names = ["GW.example".to_owned(), "*.corp.example".to_owned()];
    let host = authority.issue_host(&names, now()).unwrap();
    let shown = show(&host);
    assert!(
        shown.contains("host certificate") && shown.contains("gw.example"),
        "{shown}"
    );
    let wanted = |name| Wanted {
        cas: std::slice::from_ref(authority.host_ca()),
        kind: CertificateKind::Host,
        now: now(),
        principal: name,
        source: None,
    };
    assert!(host.check(&wanted("web1.corp.example")).is_ok());
    assert!(host.check(&wanted("web1.example")).is_err());
    assert!(authority.issue_host(&[], now()).is_err());
}

#[test]
fn keys_are_made_once_for_nobody_else_to_read_and_each_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("ssh");
    let options = SshAuthorityOptions::new(place.clone());
    // A check writes nothing.
    SshAuthority::check(&options).unwrap();
    assert!(!place.exists());
    let first = SshAuthority::open(&options).unwrap();
    let again = SshAuthority::open(&options).unwrap();
    assert_eq!(first.keys(), again.keys());
    assert_eq!(SshAuthority::check(&options).unwrap().keys(), first.keys());
    let files: Vec<_> = std::fs::read_dir(&place)
        .unwrap()
        .map(|f| f.unwrap())
        .collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in &files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
    }

    let ca = place.join("caller-ca");
    std::fs::set_permissions(&ca, std::fs::Permissions::from_mode(0o640)).unwrap();
    for refused in [SshAuthority::open(&options), SshAuthority::check(&options)] {
        let error = refused.map(drop).unwrap_err();
        let SshAuthorityError::File(KeyFileError::Permissions { .. }) = error else {
            panic!("{error:?}");
        };
    }
    std::fs::set_permissions(&ca, std::fs::Permissions::from_mode(0o600)).unwrap();

    let mut same = options.clone();
    same.target_key = Some(ca.clone());
    let error = SshAuthority::open(&same).map(drop).unwrap_err();
    assert!(matches!(error, SshAuthorityError::SameKey), "{error:?}");
    let mut named = options.clone();
    named.caller_key = Some(dir.path().join("not there"));
    assert!(
        SshAuthority::open(&named).is_err(),
        "a file that is named is never made"
    );
    for validity in [Duration::ZERO, hours(12) + Duration::from_secs(1)] {
        let mut options = options.clone();
        options.caller_validity = validity;
        assert!(SshAuthority::open(&options).is_err(), "{validity:?}");
    }
    // A lost one is not made anew beside the others.
    let kept = std::fs::read(&ca).unwrap();
    std::fs::remove_file(&ca).unwrap();
    for refused in [SshAuthority::open(&options), SshAuthority::check(&options)] {
        let error = refused.map(drop).unwrap_err();
        let SshAuthorityError::Missing { missing, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(missing, ca);
        assert!(!ca.exists());
    }
    std::fs::write(&ca, kept).unwrap();
    std::fs::set_permissions(&ca, std::fs::Permissions::from_mode(0o600)).unwrap();
    SshAuthority::open(&options).unwrap();
    // Damaged, it is not made anew: certificates of the old one would count no more, and nobody would know.
    std::fs::write(&ca, "nothing").unwrap();
    assert!(SshAuthority::open(&options).is_err());
}

/// Each kind hits what it names and nothing beside it.
#[test]
fn what_is_revoked_is_what_was_named() {
    let (_dir, authority) = authority();
    let (mine, other) = (key(), key());
    let of =
        |who: &Principal, key: &PublicKey, at| authority.issue_user(who, key, None, at).unwrap();
    let counts = |c: &Certificate| authority.verify_user(c, from(), now()).is_ok();
    let early = now() - hours(1);
    let by_key_id = of(&dora(), &mine, early);
    let by_key = of(&dora(), &other, early);
    let for_dora = of(&everybody(), &key(), early);
    let id = by_key_id.key_id.clone();
    // Not a part of it, and not as it is written elsewhere.
    for close in [
        &id[1..],
        &id[..id.len() - 1],
        &id.to_uppercase(),
        "",
        "weir dora",
    ] {
        let what = Revocation::KeyId(close.to_owned());
        authority.revoke(&what, now()).unwrap();
    }
    assert!(counts(&by_key_id));
    authority.revoke(&Revocation::KeyId(id), now()).unwrap();
    assert!(!counts(&by_key_id) && counts(&by_key) && counts(&for_dora));

    let print = other.fingerprint();
    authority.revoke(&Revocation::Key(print), now()).unwrap();
    assert!(!counts(&by_key) && counts(&for_dora));
    // It gets no other one.
    let again = authority.issue_user(&dora(), &other, None, now());
    assert_eq!(again.unwrap_err(), IssueError::RevokedKey);

    // Whose agent, or whose owner: all that is in somebody's name ends with them. What is issued later counts.
    let second = Duration::from_secs(1);
    let later = of(&dora_at(now() + second), &mine, now() + second);
    // Made of an older token while it was revoked.
    let old_token = of(&dora_at(now()), &mine, now() + second);
    let same_second = of(&dora(), &mine, now());
    let stranger = of(
        &Principal::direct(
            Actor::new(PrincipalKind::User, "dorado", &[]),
            "https://id.example",
            now() + hours(24),
        ),
        &key(),
        early,
    );
    let subject = Revocation::Subject("dora".into());
    authority.revoke(&subject, now()).unwrap();
    assert!(!counts(&for_dora) && !counts(&same_second) && !counts(&old_token));
    assert!(counts(&later) && counts(&stranger));
    // An older moment takes nothing back.
    authority.revoke(&subject, early - hours(1)).unwrap();
    assert!(!counts(&for_dora));
    assert!(authority.is_revoked_since(&dora(), now()));
    assert!(!authority.is_revoked_since(&dora_at(now() + second), now() + second));
    // Whoever has one of the tokens from before gets nothing with it, however much later; nor with one that does not
    // say from when it is.
    let much_later = now() + hours(1);
    let delegated = Principal {
        issued_at: Some(now()),
        expires_at: now() + hours(2),
        ..everybody()
    };
    for who in [dora_at(now()), dora_at(early), dora(), delegated.clone()] {
        assert!(authority.is_revoked_since(&who, much_later));
        let got = authority.issue_user(&who, &mine, None, much_later);
        assert_eq!(got.unwrap_err(), IssueError::OldToken);
        let short = authority.make_short_token(&who, hours(1), much_later);
        assert_eq!(short.err(), Some(IssueError::OldToken));
    }
    let delegated = Principal {
        issued_at: Some(now() + second),
        ..delegated
    };
    for who in [dora_at(now() + second), delegated] {
        assert!(!authority.is_revoked_since(&who, much_later));
        assert!(counts(&of(&who, &mine, now() + second)));
    }
    // None of these is longer than a certificate can be.
    for what in [
        subject,
        Revocation::Serial(1),
        Revocation::KeyId("x".into()),
    ] {
        assert!(what.lasts().unwrap() > MAX_CALLER_VALIDITY + SKEW);
    }
    assert_eq!(Revocation::Key("SHA256:x".into()).lasts(), None);
}
