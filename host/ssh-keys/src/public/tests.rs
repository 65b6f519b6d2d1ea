//! Public keys: those of OpenSSH, and those that nobody should be let in with.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use super::*;
use crate::testing::{KINDS, fixed, generate, read, ssh_keygen};

fn key_of(kind: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let mut blob = Vec::new();
    blob.string(kind);
    for field in fields {
        blob.string(field);
    }
    blob
}

#[test]
fn keys_of_openssh_are_read_and_written_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    for (n, (options, kind)) in KINDS.into_iter().enumerate() {
        let name = format!("key{n}");
        generate(dir.path(), &name, options);
        let line = read(dir.path(), &format!("{name}.pub"));
        let key = PublicKey::from_openssh(&line).unwrap();
        assert_eq!(key.algorithm(), kind);
        assert_eq!(key.to_openssh("a comment"), line.trim_end());
        assert_eq!(PublicKey::from_blob(key.blob()).unwrap(), key);
        let shown = ssh_keygen(dir.path(), &["-lf", &name]).unwrap();
        assert!(
            shown.contains(&format!(" {} ", key.fingerprint())),
            "{shown}"
        );
    }
}

#[test]
fn no_key_can_be_cut_off_or_continued() {
    let dir = tempfile::tempdir().unwrap();
    for (n, (options, _)) in KINDS.into_iter().enumerate() {
        let name = format!("key{n}");
        generate(dir.path(), &name, options);
        let key = PublicKey::from_openssh(&read(dir.path(), &format!("{name}.pub"))).unwrap();
        let blob = key.blob();
        for end in 0..blob.len() {
            assert!(PublicKey::from_blob(&blob[..end]).is_err(), "{key:?} {end}");
        }
        let longer = [blob, &[0]].concat();
        assert_eq!(
            PublicKey::from_blob(&longer),
            Err(KeyError::Format(FormatError::Trailing(1)))
        );
        // A changed byte makes no key, or another one; never the same by two names.
        for at in 0..blob.len() {
            let mut changed = blob.to_vec();
            changed[at] ^= 0x41;
            if let Ok(other) = PublicKey::from_blob(&changed) {
                assert_eq!(other.blob(), changed);
                assert_ne!(other, key);
            }
        }
    }
}

/// Rows that were once an idea of somebody who wanted in.
#[test]
fn what_is_no_good_key_is_refused() {
    let point = *fixed(1).public().blob().last_chunk::<32>().unwrap();
    let p256 = |point: &[u8]| key_of(b"ecdsa-sha2-nistp256", &[b"nistp256", point]);
    let off_curve = [[4].as_slice(), &[1; 64]].concat();
    let infinity = p256(&[0]);
    let compressed = [[2].as_slice(), &[1; 32]].concat();
    let modulus = |bytes: usize| {
        let mut n = vec![0xff; bytes];
        n.insert(0, 0);
        n
    };
    let rsa = |e: &[u8], n: &[u8]| key_of(b"ssh-rsa", &[e, n]);
    let three = [3].as_slice();
    let even = {
        let mut n = modulus(256);
        n[256] = 0xfe;
        n
    };
    type Row = (&'static str, Vec<u8>, fn(&KeyError) -> bool);
    let rows: Vec<Row> = vec![
        ("nothing", vec![], |e| {
            matches!(e, KeyError::Format(FormatError::Short))
        }),
        ("a length beyond the end", vec![0xff; 8], |e| {
            matches!(e, KeyError::Format(FormatError::Short))
        }),
        ("DSA", key_of(b"ssh-dss", &[&[1], &[1], &[1], &[1]]), |e| {
            matches!(e, KeyError::Type(_))
        }),
        (
            "a certificate",
            key_of(b"ssh-ed25519-cert-v01@openssh.com", &[&[0; 32]]),
            |e| *e == KeyError::IsCertificate,
        ),
        (
            "a short point",
            key_of(b"ssh-ed25519", &[&point[..31]]),
            |e| matches!(e, KeyError::Format(FormatError::Short)),
        ),
        (
            "a long point",
            key_of(b"ssh-ed25519", &[&[point.as_slice(), &[0]].concat()]),
            |e| matches!(e, KeyError::Format(FormatError::Trailing(1))),
        ),
        ("off the curve", p256(&off_curve), |e| *e == KeyError::Point),
        ("infinity", infinity, |e| *e == KeyError::Point),
        ("compressed", p256(&compressed), |e| *e == KeyError::Point),
        (
            "another curve's name",
            key_of(b"ecdsa-sha2-nistp256", &[b"nistp384", &off_curve]),
            |e| matches!(e, KeyError::Type(_)),
        ),
        ("1024 bits", rsa(three, &modulus(128)), |e| {
            *e == KeyError::RsaSize(1024)
        }),
        ("2040 bits", rsa(three, &modulus(255)), |e| {
            *e == KeyError::RsaSize(2040)
        }),
        ("16384 bits", rsa(three, &modulus(2048)), |e| {
            *e == KeyError::RsaSize(16384)
        }),
        ("an even modulus", rsa(three, &even), |e| {
            *e == KeyError::RsaNumbers
        }),
        ("exponent 1", rsa(&[1], &modulus(256)), |e| {
            *e == KeyError::RsaNumbers
        }),
        ("exponent 0", rsa(&[], &modulus(256)), |e| {
            *e == KeyError::RsaNumbers
        }),
        ("exponent 2", rsa(&[2], &modulus(256)), |e| {
            *e == KeyError::RsaNumbers
        }),
        (
            "a huge exponent",
            rsa(&[1, 0, 0, 0, 1], &modulus(256)),
            |e| *e == KeyError::RsaNumbers,
        ),
        ("a leading zero", rsa(&[0, 3], &modulus(256)), |e| {
            matches!(e, KeyError::Format(FormatError::Number))
        }),
        ("a negative modulus", rsa(three, &[0xff; 256]), |e| {
            matches!(e, KeyError::Format(FormatError::Number))
        }),
        (
            "a security key for the web",
            key_of(b"sk-ssh-ed25519@openssh.com", &[&point, b"bank.example"]),
            |e| *e == KeyError::Application,
        ),
        (
            "an application that is no text",
            key_of(b"sk-ssh-ed25519@openssh.com", &[&point, b"ssh:\x1b[2J"]),
            |e| matches!(e, KeyError::Format(FormatError::Text)),
        ),
        ("too long", vec![0; MAX_KEY_BYTES + 1], |e| {
            matches!(e, KeyError::Format(FormatError::Long { .. }))
        }),
    ];
    for (what, blob, expected) in rows {
        let error = PublicKey::from_blob(&blob).expect_err(what);
        assert!(expected(&error), "{what}: {error:?}");
    }
}

/// Whoever registers such a key lets everybody in; and could say later that it was not him.
#[test]
fn a_key_that_everybody_can_sign_for_is_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let forged = [identity.as_slice(), &[0; 32]].concat();
    let library = UnparsedPublicKey::new(&ED25519, identity);
    assert!(
        library.verify(b"anything", &forged).is_ok(),
        "the library takes it"
    );
    for y in SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut point = y;
            point[31] |= sign;
            let blob = key_of(b"ssh-ed25519", &[&point]);
            assert_eq!(
                PublicKey::from_blob(&blob),
                Err(KeyError::Point),
                "{point:?}"
            );
        }
    }
    // 2^255 - 19 and above: second ways to write 0 to 18.
    for low in 0xed..=0xff {
        let mut point = [0xff; 32];
        point[0] = low;
        let blob = key_of(b"ssh-ed25519", &[&point]);
        assert_eq!(PublicKey::from_blob(&blob), Err(KeyError::Point), "{low}");
    }
}

#[test]
fn a_line_is_one_key_and_what_it_says_it_is() {
    let line = fixed(1).public().to_openssh("me@here");
    let (_, rest) = line.split_once(' ').unwrap();
    assert!(PublicKey::from_openssh(&format!("{line}\r\n")).is_ok());
    assert!(PublicKey::from_openssh(&format!("  {line}")).is_ok());
    for bad in [
        String::new(),
        "ssh-ed25519".to_owned(),
        format!("ssh-rsa {rest}"),
        format!("command=\"id\" {line}"),
        format!("{line}\n{line}"),
        format!("{line}\0"),
        format!("ssh-ed25519 {}", &rest[1..]),
        format!("ssh-ed25519 {}=", rest.split(' ').next().unwrap()),
        format!("{line} {}", "x".repeat(2 * MAX_KEY_BYTES)),
    ] {
        assert!(PublicKey::from_openssh(&bad).is_err(), "{bad}");
    }
    let injected = fixed(1).public().to_openssh("a\nssh-ed25519 AAAA");
    assert_eq!(injected.lines().count(), 1);
}

#[test]
fn each_name_of_an_algorithm_leads_to_one_signature() {
    for (name, expected) in [
        ("ssh-ed25519", Some("ssh-ed25519")),
        ("ssh-ed25519-cert-v01@openssh.com", Some("ssh-ed25519")),
        ("rsa-sha2-256-cert-v01@openssh.com", Some("rsa-sha2-256")),
        ("rsa-sha2-512", Some("rsa-sha2-512")),
        (
            "sk-ssh-ed25519-cert-v01@openssh.com",
            Some("sk-ssh-ed25519@openssh.com"),
        ),
        ("ssh-rsa", None),
        ("ssh-rsa-cert-v01@openssh.com", None),
        ("ssh-dss", None),
        ("", None),
    ] {
        assert_eq!(signature_algorithm(name), expected, "{name}");
    }
    for names in &NAMES {
        assert_eq!(names.kind.name(), names.key);
        assert_eq!(names.kind.certificate_name(), names.certificate);
        assert_eq!(names.signs.len(), names.certified.len());
    }
}
