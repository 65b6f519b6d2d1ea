//! Who a token speaks for: people, agents, programs, and their groups.

use pipeline::{Login, Proof};

use super::*;
use crate::ClaimPath;

#[tokio::test]
async fn principals() {
    let key = Key::es256("k1");
    let v = verifier(&[&key], |o| {
        let i = &mut o.issuers[0];
        i.subject_prefix = "corp:".to_owned();
        i.group_prefix = "corp/".to_owned();
        i.attr_claims = vec!["email".to_owned(), "level".to_owned()];
        o.actors = vec![ActorConfig {
            subject: "corp:copilot".to_owned(),
            groups: vec!["agents".to_owned()],
            owner: Some("corp:olga".to_owned()),
            autonomous: true,
            kind: None,
        }];
    });
    let mut claims = claims();
    claims["email"] = json!("alice@example.com");
    claims["level"] = json!(3);
    claims["secret"] = json!("not for policies");
    claims["amr"] = json!(["pwd", "mfa"]);
    claims["groups"] = json!(["eng", "dba", "eng"]);

    let direct = v.verify(&key.sign(&claims)).await.unwrap();
    assert_eq!(&*direct.actor.subject, "corp:alice");
    assert_eq!(direct.actor.kind, PrincipalKind::User);
    assert!(direct.actor.mfa && !direct.actor.autonomous && direct.on_behalf_of.is_empty());
    let proof = Proof {
        login: Some(Login::Token),
        amr: vec!["mfa".into(), "pwd".into()],
        acr: None,
    };
    assert_eq!(direct.proof, proof);
    assert_eq!(direct.actor.groups, ["corp/dba".into(), "corp/eng".into()]);
    assert_eq!(direct.actor.attrs.len(), 2);
    assert_eq!(direct.actor.attrs["level"], "3");
    assert_eq!(
        (&*direct.issuer, direct.expires_at),
        (ISSUER, at(NOW + 300))
    );
    assert_eq!(direct.token_id.as_deref(), Some("t-1"));

    // Alice let the planner act, the planner let the copilot act.
    claims["act"] = json!({
        "sub": "copilot", "groups": ["admins"], "act": {"sub": "planner", "act": {"sub": "first"}}
    });
    let p = v.verify(&key.sign(&claims)).await.unwrap();
    let chain: Vec<&str> = p.chain().map(|a| &*a.subject).collect();
    assert_eq!(
        chain,
        ["corp:alice", "corp:first", "corp:planner", "corp:copilot"]
    );
    assert_eq!(p.actor.kind, PrincipalKind::Agent);
    assert_eq!(
        p.actor.groups,
        ["agents".into()],
        "groups in act are not believed"
    );
    assert_eq!(p.actor.owner.as_deref(), Some("corp:olga"));
    assert!(p.actor.autonomous && !p.actor.mfa && p.actor.attrs.is_empty());
    assert!(p.on_behalf_of[0].mfa);
    assert!(p.on_behalf_of[2].groups.is_empty());
}

#[tokio::test]
async fn groups_kinds_and_subjects_where_they_are_configured() {
    let key = Key::es256("k1");
    let v = verifier(&[&key], |o| {
        let i = &mut o.issuers[0];
        i.groups_claim = ClaimPath::nested(&["realm_access", "roles"]).unwrap();
        i.kind_claim = Some(ClaimPath::name("kind"));
        i.act_groups = true;
        i.subject_claim = ClaimPath::name("email");
        i.mfa_acr = vec!["phr".to_owned()];
        i.max_age = None;
    });
    let mut claims = claims();
    claims["realm_access"] = json!({"roles": ["ops"]});
    claims["email"] = json!("alice@example.com");
    claims["email_verified"] = json!(true);
    claims["kind"] = json!("workload");
    claims["acr"] = json!("phr");
    claims["act"] = json!({"sub": "agent", "groups": ["helpers"]});
    remove(&mut claims, "iat");
    let p = v.verify(&key.sign(&claims)).await.unwrap();
    assert_eq!(p.on_behalf_of[0].groups, ["ops".into()]);
    assert_eq!(&*p.on_behalf_of[0].subject, "alice@example.com");
    assert_eq!(p.on_behalf_of[0].kind, PrincipalKind::Workload);
    assert!(p.on_behalf_of[0].mfa);
    assert_eq!(
        (p.actor.groups.clone(), p.actor.kind),
        (vec!["helpers".into()], PrincipalKind::Agent)
    );

    type Row = (&'static str, fn(&mut Value));
    let rows: [Row; 6] = [
        ("unknown kind", |c| c["kind"] = json!("root")),
        ("kind list", |c| c["kind"] = json!(["workload"])),
        ("email not verified", |c| c["email_verified"] = json!(false)),
        ("email verified by a string", |c| {
            c["email_verified"] = json!("true")
        }),
        ("no email", |c| remove(c, "email")),
        ("no sub beside the email", |c| remove(c, "sub")),
    ];
    for (name, change) in rows {
        let mut claims = claims.clone();
        change(&mut claims);
        assert_eq!(code(&v.verify(&key.sign(&claims)).await), "claim", "{name}");
    }
}

#[tokio::test]
async fn service_accounts_are_workloads() {
    type Row = (&'static str, fn(&mut Value), PrincipalKind);
    let rows: [Row; 9] = [
        (
            "a person",
            |c| c["client_id"] = json!("app"),
            PrincipalKind::User,
        ),
        (
            "a person's azp",
            |c| c["azp"] = json!("app"),
            PrincipalKind::User,
        ),
        (
            "client_id",
            |c| c["client_id"] = json!("alice"),
            PrincipalKind::Workload,
        ),
        (
            "azp",
            |c| c["azp"] = json!("alice"),
            PrincipalKind::Workload,
        ),
        (
            "Okta",
            |c| c["cid"] = json!("alice"),
            PrincipalKind::Workload,
        ),
        (
            "Auth0",
            |c| (c["sub"], c["azp"]) = (json!("app@clients"), json!("app")),
            PrincipalKind::Workload,
        ),
        (
            "Auth0's grant",
            |c| c["gty"] = json!("client-credentials"),
            PrincipalKind::Workload,
        ),
        (
            "Entra ID",
            |c| c["idtyp"] = json!("app"),
            PrincipalKind::Workload,
        ),
        (
            "Keycloak",
            |c| {
                c["azp"] = json!("app");
                c["preferred_username"] = json!("service-account-app");
            },
            PrincipalKind::Workload,
        ),
    ];
    let key = Key::es256("k1");
    let strict = verifier(&[&key], |_| {});
    let agents = verifier(&[&key], |o| {
        o.issuers[0].service_accounts = Some(PrincipalKind::Agent);
    });
    let named = verifier(&[&key], |o| {
        o.actors = vec![ActorConfig {
            subject: "alice".to_owned(),
            kind: Some(PrincipalKind::User),
            ..ActorConfig::default()
        }];
    });
    for (name, change, expected) in rows {
        let mut claims = claims();
        change(&mut claims);
        let token = key.sign(&claims);
        let kind = strict.verify(&token).await.unwrap().actor.kind;
        assert_eq!(kind, expected, "{name}");
        let kind = agents.verify(&token).await.unwrap().actor.kind;
        let machine = expected == PrincipalKind::Workload;
        assert_eq!(kind == PrincipalKind::Agent, machine, "{name}");
        if claims["sub"] == "alice" {
            let kind = named.verify(&token).await.unwrap().actor.kind;
            assert_eq!(
                kind,
                PrincipalKind::User,
                "{name}: the operator knows better"
            );
        }
    }
}

#[tokio::test]
async fn only_groups_that_are_allowed_count() {
    let key = Key::es256("k1");
    let v = verifier(&[&key], |o| {
        let i = &mut o.issuers[0];
        i.group_prefix = "corp/".to_owned();
        i.allowed_groups = Some(["eng".to_owned()].into());
    });
    let p = v.verify(&key.sign(&claims())).await.unwrap();
    assert_eq!(p.actor.groups, ["corp/eng".into()]);
}

/// A clock that is ahead does not let a token outlive what was said before it was made.
#[tokio::test]
async fn a_token_is_as_old_as_its_issuers_clock_may_be_ahead() {
    let key = Key::es256("k1");
    let v = verifier(&[&key], |o| {
        o.issuers[0].leeway = Duration::from_secs(60);
    });
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let mut claims = claims();
    claims["iat"] = json!(NOW + 60);
    let ahead = v.verify(&key.sign(&claims)).await.unwrap();
    assert_eq!(ahead.issued_at, Some(at(NOW)));
    let dir = tempfile::tempdir().unwrap();
    let options = crate::SshAuthorityOptions::new(dir.path().join("ssh"));
    let authority = crate::SshAuthority::open(&options).unwrap();
    let all = crate::Revocation::Subject(ahead.actor.subject.to_string());
    authority.revoke(&all, at(NOW)).unwrap();
    let later = at(NOW + 3_600);
    assert!(authority.is_revoked_since(&ahead, later));
    claims["iat"] = json!(NOW + 61);
    assert!(v.verify(&key.sign(&claims)).await.is_err(), "too far ahead");
}
