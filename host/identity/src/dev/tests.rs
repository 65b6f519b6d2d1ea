//! Development tokens: what they say, and that nobody takes them by accident.

use pipeline::Principal;
use std::fs;

use super::*;
use crate::testing::{Key, NOW, TempDir, at, verifier};
use crate::{AuthError, Verifier};

fn with_dev(dev: DevIssuer) -> Verifier {
    let key = Key::es256("k1");
    verifier(&[&key], |o| o.dev = Some(dev))
}

fn open(dir: &TempDir) -> DevIssuer {
    DevIssuer::open(&dir.0.join("dev"))
        .unwrap()
        .with_subject_prefix("dev:")
}

#[tokio::test]
async fn minted_tokens_are_accepted_where_configured() {
    let dir = TempDir::new();
    let dev = open(&dir);
    let mut token = DevToken::user("alice", &["eng"]);
    token.mfa = true;
    token.act = vec![
        DevActor {
            groups: vec!["agents".to_owned()],
            ..DevActor::agent("copilot")
        },
        DevActor {
            kind: PrincipalKind::Workload,
            ..DevActor::agent("planner")
        },
    ];
    let text = dev.mint(&token, at(NOW)).unwrap();
    let p: std::sync::Arc<Principal> = with_dev(dev).verify(&text).await.unwrap();
    let chain: Vec<String> = p.chain().map(ToString::to_string).collect();
    assert_eq!(
        chain,
        [
            "User::\"dev:alice\"",
            "Workload::\"dev:planner\"",
            "Agent::\"dev:copilot\""
        ]
    );
    assert!(p.on_behalf_of[0].mfa && p.on_behalf_of[0].in_group("eng"));
    assert!(p.actor.in_group("agents"));
    assert_eq!((p.expires_at, &*p.issuer), (at(NOW + 3600), DEV_ISSUER));
    assert!(p.token_id.is_some());

    // Without the development issuer, its tokens are of an unknown issuer.
    let key = Key::es256("k1");
    let e = verifier(&[&key], |_| {}).verify(&text).await.unwrap_err();
    assert!(matches!(e, AuthError::UnknownIssuer(_)), "{e:?}");
    // Another directory, another key.
    let other = TempDir::new();
    let e = with_dev(open(&other)).verify(&text).await.unwrap_err();
    assert!(matches!(e, AuthError::UnknownKey { .. }), "{e:?}");
}

#[test]
fn next_to_a_real_issuer_it_needs_its_own_prefix() {
    let (dir, key) = (TempDir::new(), Key::es256("k1"));
    let dev = DevIssuer::open(&dir.0).unwrap();
    let issuers = vec![crate::testing::config(JwksSource::Static(
        crate::testing::jwks(&[&key]),
    ))];
    let options = crate::VerifierOptions {
        issuers,
        dev: Some(dev),
        ..crate::VerifierOptions::default()
    };
    assert!(Verifier::build(options).is_err());
}

#[test]
fn the_key_is_made_once_and_kept_private() {
    let dir = TempDir::new();
    let sets: Vec<String> = std::thread::scope(|s| {
        let open: Vec<_> = (0..8).map(|_| s.spawn(|| open(&dir).jwks())).collect();
        open.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(sets.windows(2).all(|w| w[0] == w[1]), "two keys were made");
    let files: Vec<_> = fs::read_dir(dir.0.join("dev"))
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    assert_eq!(
        files,
        [dir.0.join("dev").join(KEY_FILE)],
        "drafts were left behind"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&files[0], fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            DevIssuer::open(&dir.0.join("dev")),
            Err(DevError::Permissions { .. })
        ));
        fs::set_permissions(&files[0], fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(&files[0], "nonsense").unwrap();
    assert!(matches!(
        DevIssuer::open(&dir.0.join("dev")),
        Err(DevError::Key { .. })
    ));
}

#[test]
fn what_cannot_be_minted() {
    let dir = TempDir::new();
    let dev = open(&dir);
    let token = |ttl| DevToken {
        ttl,
        ..DevToken::user("alice", &[])
    };
    for (ttl, ok) in [
        (Duration::ZERO, false),
        (Duration::from_millis(999), false),
        (Duration::from_secs(1), true),
        (MAX_DEV_TTL, true),
        (MAX_DEV_TTL + Duration::from_secs(1), false),
    ] {
        assert_eq!(dev.mint(&token(ttl), at(NOW)).is_ok(), ok, "{ttl:?}");
    }
    assert!(dev.mint(&DevToken::user("", &[]), at(NOW)).is_err());
    let mut nameless = DevToken::user("alice", &[]);
    nameless.act = vec![DevActor::agent("")];
    assert!(dev.mint(&nameless, at(NOW)).is_err());
}

#[test]
fn a_check_writes_nothing() {
    let dir = TempDir::new();
    let place = dir.0.join("absent");
    let made_up = DevIssuer::check(&place).unwrap();
    assert!(!place.exists());
    let real = DevIssuer::open(&place).unwrap();
    assert_ne!(made_up.jwks(), real.jwks());
    assert_eq!(DevIssuer::check(&place).unwrap().jwks(), real.jwks());
}
