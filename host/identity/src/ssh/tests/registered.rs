//! Keys that people have registered: whose they are, since when, and what takes that away.

use super::*;
use crate::ssh::registered::{
    CHALLENGE_LASTS, KEY_NAMESPACE, KeyChallenge, MAX_KEY_VALIDITY, RegisterError,
};

/// What `ssh-keygen` makes of a text with this key.
fn sign(private: &PrivateKey, namespace: &str, text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, private.to_openssh("").as_bytes()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(dir.path().join("text"), text).unwrap();
    let out = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
        .args([&path, &dir.path().join("text")])
        .output()
        .expect("ssh-keygen is needed: apt-get install openssh-client");
    assert!(out.status.success(), "{out:?}");
    std::fs::read_to_string(dir.path().join("text.sig")).unwrap()
}

/// What is kept of somebody who has shown that they have the key.
fn kept(authority: &SshAuthority, private: &PrivateKey, who: &Principal) -> String {
    kept_at(authority, private, who, now())
}

fn kept_at(
    authority: &SshAuthority,
    private: &PrivateKey,
    who: &Principal,
    at: SystemTime,
) -> String {
    let key = private.public();
    let text = authority.key_challenge(key, who, at).unwrap();
    let says = KeyChallenge::of(&text, key).unwrap();
    assert!(says.is_for(&who.actor.subject, &who.issuer), "{text}");
    assert!(!says.is_for("mallory", &who.issuer) && !says.is_for(&who.actor.subject, "x"));
    assert_eq!(says.gateway, authority.host_ca().fingerprint());
    let signature = sign(private, KEY_NAMESPACE, &text);
    let kept = authority.describe_key(key, who, &text, &signature, at);
    kept.unwrap()
}

#[test]
fn a_registered_key_is_its_persons_without_their_second_factor_until_it_ends() {
    let (_dir, authority) = authority();
    let private = PrivateKey::generate_ed25519().unwrap();
    let mine = private.public();
    let mut who = dora();
    who.actor.mfa = true;
    let kept = kept(&authority, &private, &who);
    // It is for later than the token, and that is the point.
    let ends = now() + hours(48);
    assert!(authority.registered_key(mine, now()).is_none());
    authority.register_key(mine, &kept, now(), ends).unwrap();
    let found = authority.registered_key(mine, now()).unwrap();
    assert_eq!(found.actor.subject, who.actor.subject);
    assert_eq!(found.actor.groups, who.actor.groups);
    assert!(!found.actor.mfa, "nobody has shown a second factor");
    assert_eq!(found.expires_at, ends);
    assert!(authority.registered_key(mine, ends).is_none());
    assert!(authority.registered_key(&key(), now()).is_none());
    // What was kept elsewhere is read as strictly, and says nothing of a second factor.
    let forged = kept.replace("\"mfa\":false", "\"mfa\":true");
    assert_ne!(forged, kept);
    authority.register_key(mine, &forged, now(), ends).unwrap();
    assert!(!authority.registered_key(mine, now()).unwrap().actor.mfa);
    let agent = kept.replace("\"user\"", "\"agent\"");
    let agents = authority.register_key(mine, &agent, now(), ends);
    assert_eq!(agents, Err(RegisterError::NotAPerson));
    let broken = authority.register_key(mine, "{}", now(), ends);
    assert!(matches!(broken, Err(RegisterError::Kept(_))), "{broken:?}");
    // However long a file says that it is.
    let for_ever = now() + hours(24 * 365);
    authority
        .register_key(mine, &kept, now(), for_ever)
        .unwrap();
    let found = authority.registered_key(mine, now()).unwrap();
    assert_eq!(found.expires_at, now() + MAX_KEY_VALIDITY);
}

/// Somebody else's key, a text for somebody else, for another key, of another Weir or another time.
#[test]
fn nobody_registers_what_they_have_not_signed_with_for_this() {
    let (_dir, authority) = authority();
    let private = PrivateKey::generate_ed25519().unwrap();
    let theirs = PrivateKey::generate_ed25519().unwrap();
    let (key, who) = (private.public(), dora());
    let mut mallory = dora();
    mallory.actor.subject = "mallory".into();
    let text = authority.key_challenge(key, &who, now()).unwrap();
    for part in [&key.fingerprint(), "\"dora\"", "https://id.example"] {
        assert!(text.contains(part), "{text}");
    }
    let good = sign(&private, KEY_NAMESPACE, &text);
    let register = |who: &Principal, key: &PublicKey, text: &str, signature: &str, at| {
        let kept = authority.describe_key(key, who, text, signature, at);
        kept.map(drop)
    };
    assert_eq!(register(&who, key, &text, &good, now()), Ok(()));
    assert_eq!(
        register(&who, key, &text, &good, now() + CHALLENGE_LASTS),
        Ok(())
    );
    let stale = Err(RegisterError::Challenge);
    let late = now() + CHALLENGE_LASTS + Duration::from_secs(1);
    assert_eq!(register(&who, key, &text, &good, late), stale);
    let early = now() - Duration::from_secs(1);
    assert_eq!(register(&who, key, &text, &good, early), stale);
    assert_eq!(register(&mallory, key, &text, &good, now()), stale);
    assert_eq!(register(&who, theirs.public(), &text, &good, now()), stale);
    let (_other_dir, other) = super::authority();
    let elsewhere = other.describe_key(key, &who, &text, &good, now());
    assert_eq!(elsewhere.map(drop), stale);
    // A text that was made up: without the number, with another one, of the time when it will be shown.
    let now_at = "at: 1800000000";
    assert!(text.contains(now_at));
    for text in [
        text.replace("number: ", "number: 0"),
        text.replace(now_at, "at: 1800000001"),
        text.replace(now_at, "at: "),
        format!("{text}\n"),
        String::new(),
    ] {
        let signature = sign(&private, KEY_NAMESPACE, &text);
        assert_eq!(
            register(&who, key, &text, &signature, now()),
            stale,
            "{text}"
        );
    }
    // Signed by another key, for another purpose, or not at all.
    let not_mine = sign(&theirs, KEY_NAMESPACE, &text);
    let other = Err(RegisterError::OtherKey(theirs.public().fingerprint()));
    assert_eq!(register(&who, key, &text, &not_mine, now()), other);
    for signature in [&sign(&private, "file", &text), &*text, ""] {
        let result = register(&who, key, &text, signature, now());
        assert!(matches!(result, Err(RegisterError::Proof(_))), "{result:?}");
    }
    // An agent, and an agent in somebody's name, have keys of their own only in certificates.
    let agent = Actor::new(PrincipalKind::Agent, "bot", &["ops"]);
    let mut delegated = dora();
    delegated.on_behalf_of = vec![dora().actor];
    let agent = Principal::direct(agent, "https://id.example", now() + hours(1));
    for who in [agent, everybody(), delegated] {
        let challenge = authority.key_challenge(key, &who, now());
        assert_eq!(challenge, Err(RegisterError::NotAPerson));
        let result = register(&who, key, &text, &good, now());
        assert_eq!(result, Err(RegisterError::NotAPerson));
    }
    for own in authority.keys() {
        let challenge = authority.key_challenge(own, &who, now());
        assert_eq!(challenge, Err(RegisterError::OwnKey));
    }
}

#[test]
fn what_is_revoked_of_a_person_or_a_key_takes_registered_keys_with_it() {
    let private = PrivateKey::generate_ed25519().unwrap();
    let mine = private.public();
    for (what, again) in [
        (Revocation::Key(mine.fingerprint()), false),
        (Revocation::Subject("dora".into()), true),
    ] {
        let (_dir, authority) = authority();
        let kept = kept(&authority, &private, &dora());
        let ends = now() + hours(24);
        authority.register_key(mine, &kept, now(), ends).unwrap();
        assert!(authority.registered_key(mine, now()).is_some());
        authority.revoke(&what, now()).unwrap();
        assert!(authority.registered_key(mine, now()).is_none(), "{what:?}");
        // A person may register it anew, later; a key that was stolen is nobody's any more.
        let later = now() + Duration::from_secs(1);
        let new = match again {
            true => kept_at(&authority, &private, &dora_at(later), later),
            false => kept.clone(),
        };
        let result = authority.register_key(mine, &new, later, ends);
        assert_eq!(result.is_ok(), again, "{what:?}");
        assert_eq!(authority.registered_key(mine, later).is_some(), again);
        // What a file of before says does not bring it back.
        authority.forget_key(&mine.fingerprint());
        assert!(authority.registered_key(mine, later).is_none());
        authority.register_key(mine, &kept, now(), ends).ok();
        assert!(authority.registered_key(mine, later).is_none(), "{what:?}");
        // It is remembered for as long as any such key could count.
        let lasts = what.lasts().unwrap_or(Duration::MAX);
        assert!(lasts > MAX_KEY_VALIDITY, "{what:?}");
    }
}

/// Whoever has stolen a token has it after the revocation, too.
#[test]
fn a_token_from_before_the_revocation_of_its_person_registers_nothing() {
    let (_dir, authority) = authority();
    let private = PrivateKey::generate_ed25519().unwrap();
    let mine = private.public();
    let second = Duration::from_secs(1);
    let (before, later) = (now(), now() + hours(1));
    // All that was asked for before: a text, its signature, and what is to be kept.
    let old = dora_at(before);
    let text = authority.key_challenge(mine, &old, later).unwrap();
    let signature = sign(&private, KEY_NAMESPACE, &text);
    let kept = authority.describe_key(mine, &old, &text, &signature, later);
    let kept = kept.unwrap();
    let subject = Revocation::Subject("dora".into());
    authority.revoke(&subject, before).unwrap();
    let too_old = Some(RegisterError::OldToken);
    for who in [&old, &dora()] {
        let asked = authority.key_challenge(mine, who, later);
        assert_eq!(asked.err(), too_old);
        let shown = authority.describe_key(mine, who, &text, &signature, later);
        assert_eq!(shown.err(), too_old);
    }
    let ends = now() + hours(24);
    let registered = authority.register_key(mine, &kept, later, ends);
    assert_eq!(registered.err(), too_old);
    assert!(authority.registered_key(mine, later).is_none());
    // With another token, it is hers; and the next revocation ends what that one has registered, though it is of
    // before the registration.
    let new = dora_at(before + second);
    let kept = kept_at(&authority, &private, &new, later);
    authority.register_key(mine, &kept, later, ends).unwrap();
    assert!(authority.registered_key(mine, later).is_some());
    authority.revoke(&subject, before + second).unwrap();
    assert!(authority.registered_key(mine, later).is_none());
}
