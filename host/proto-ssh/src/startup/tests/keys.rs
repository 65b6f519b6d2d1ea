//! Keys, certificates and signatures.

use super::*;

#[test]
fn a_right_signature_is_asked_about() {
    let key = key();
    match begun(ALL).receive(&Use::of(&key).message()) {
        Ok(Next::Ask(Ask::Proof(Offer::Key(shown)))) => assert_eq!(*shown, *key.public()),
        _ => panic!("not asked"),
    }
    let keys = Keys::new();
    let certificate = keys.user_certificate(key.public());
    match begun(ALL).receive(&Use::certified(&key, &certificate).message()) {
        Ok(Next::Ask(Ask::Proof(Offer::Certificate(shown)))) => {
            assert_eq!(shown.blob(), certificate.blob());
        }
        _ => panic!("not asked"),
    }
}

#[test]
fn a_signature_over_anything_else_is_none() {
    let (key, other) = (key(), key());
    let keys = Keys::new();
    let certificate = keys.user_certificate(key.public());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("another connection", {
            let session = b"the hash of the other exchange..";
            Use {
                session,
                ..Use::of(&key)
            }
            .message()
        }),
        (
            "no connection",
            Use {
                session: b"",
                ..Use::of(&key)
            }
            .message(),
        ),
        ("another user", {
            let signed_user = b"root+web2";
            Use {
                signed_user,
                ..Use::of(&key)
            }
            .message()
        }),
        ("another service", {
            let signed_service = b"ssh-userauth";
            Use {
                signed_service,
                ..Use::of(&key)
            }
            .message()
        }),
        ("another algorithm", {
            let signed_algorithm = "ssh-rsa";
            Use {
                signed_algorithm,
                ..Use::of(&key)
            }
            .message()
        }),
        ("another key", {
            let signed_blob = other.public().blob().to_vec();
            Use {
                signed_blob,
                ..Use::of(&key)
            }
            .message()
        }),
        ("made by another key", {
            let blob = key.public().blob().to_vec();
            Use {
                blob: blob.clone(),
                signed_blob: blob,
                ..Use::of(&other)
            }
            .message()
        }),
        ("the key, where the certificate is shown", {
            let certified = Use::certified(&key, &certificate);
            Use {
                signed_blob: key.public().blob().to_vec(),
                ..certified
            }
            .message()
        }),
        ("the certificate, made by another key", {
            Use {
                ..Use::certified(&other, &certificate)
            }
            .message()
        }),
        ("the plain algorithm with a certificate", {
            let certified = Use::certified(&key, &certificate);
            Use {
                algorithm: "ssh-ed25519",
                signed_algorithm: "ssh-ed25519",
                ..certified
            }
            .message()
        }),
        ("the algorithm of certificates with a plain key", {
            let algorithm = "ssh-ed25519-cert-v01@openssh.com";
            Use {
                algorithm,
                signed_algorithm: algorithm,
                ..Use::of(&key)
            }
            .message()
        }),
        ("an algorithm of another kind", {
            let algorithm = "ecdsa-sha2-nistp256";
            Use {
                algorithm,
                signed_algorithm: algorithm,
                ..Use::of(&key)
            }
            .message()
        }),
        ("SHA-1", {
            Use {
                algorithm: "ssh-rsa",
                signed_algorithm: "ssh-rsa",
                ..Use::of(&key)
            }
            .message()
        }),
        ("an algorithm that is no text", {
            let mut rest = Vec::new();
            rest.flag(true)
                .string(b"\xff\xfe")
                .string(key.public().blob())
                .string(b"");
            request(USER, CONNECTION, b"publickey", &rest)
        }),
        ("nothing", Use::of(&key).with(b"")),
        ("a signature with something behind it", {
            let mut signature = Use::of(&key).signature();
            signature.push(0);
            Use::of(&key).with(&signature)
        }),
    ];
    for (what, message) in cases {
        match begun(ALL).receive(&message) {
            Ok(Next::Failed(answer)) => {
                assert_eq!(
                    failure(&answer),
                    "publickey,keyboard-interactive,password",
                    "{what}"
                );
            }
            _ => panic!("{what} was taken, or ended the connection"),
        }
    }
    let whole = Use::of(&key);
    let signature = whole.signature();
    for at in 0..signature.len() {
        let mut changed = signature.clone();
        changed[at] ^= 1;
        let answer = begun(ALL).receive(&whole.with(&changed));
        assert!(
            matches!(answer, Ok(Next::Failed(_))),
            "byte {at} does not count"
        );
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_no_proof() {
    let key = key();
    let shown = Use::of(&key);
    let message = shown.message();
    let strings = [
        shown.algorithm.len(),
        shown.blob.len(),
        shown.signature().len(),
    ];
    let flag_from_end = 1 + strings.iter().map(|len| 4 + len).sum::<usize>();
    for at in 0..message.len() {
        assert!(
            !matches!(
                begun(ALL).receive(&message[..at]),
                Ok(Next::Ask(Ask::Proof(_)))
            ),
            "cut at {at}"
        );
        let mut changed = message.clone();
        // Of the flag, everything but 0 means the same.
        let flag = message.len() - flag_from_end;
        changed[at] ^= if at == flag { 1 } else { 0x21 };
        assert!(
            !matches!(begun(ALL).receive(&changed), Ok(Next::Ask(Ask::Proof(_)))),
            "changed at {at}"
        );
    }
    let mut longer = message;
    longer.push(0);
    assert!(matches!(
        begun(ALL).receive(&longer),
        Err(Violation::Layout(_))
    ));
}

#[test]
fn questions_about_keys_are_no_attempts_and_have_a_bound() {
    let (known, stranger) = (key(), key());
    let mut auth = begun(ALL);
    let mut asked = 0;
    let ended = (0..10_000).find_map(|i| {
        let key = if i % 2 == 0 { &known } else { &stranger };
        match auth.receive(&probe(b"ssh-ed25519", key.public().blob())) {
            Ok(Next::Ask(Ask::Probe(_))) => {
                asked += 1;
                let answer = auth.probed(i % 2 == 0);
                match i % 2 {
                    0 => {
                        let mut ok = Vec::new();
                        ok.byte(n::USERAUTH_PK_OK)
                            .string(b"ssh-ed25519")
                            .string(key.public().blob());
                        assert_eq!(answer, ok);
                    }
                    _ => {
                        failure(&answer);
                    }
                }
                None
            }
            Ok(_) => panic!("a probe is nothing else"),
            Err(violation) => Some(violation),
        }
    });
    assert_eq!(ended, Some(Violation::Probes));
    assert_eq!(asked, BOUNDS.probes);

    // What could never work is not even asked about.
    for (algorithm, blob) in [
        (&b"ssh-dss"[..], known.public().blob()),
        (b"ssh-rsa", known.public().blob()),
        (b"rsa-sha2-256", known.public().blob()),
        (b"ssh-ed25519", b"\0\0\0\x0bssh-ed25519"),
        (b"ssh-ed25519", &[0; 100_000]),
    ] {
        let answer = begun(ALL).receive(&probe(algorithm, blob));
        assert!(matches!(answer, Ok(Next::Reply(_))));
    }
}
