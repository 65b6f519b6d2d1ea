//! Private keys and signatures: OpenSSH's and ours, changed, cut off, and of other algorithms.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, SHA512, digest};

use super::*;
use crate::testing::{KINDS, fixed, generate, read, ssh_keygen};
use crate::wire::Reader;

fn keys(dir: &Path) -> Vec<PrivateKey> {
    let key = |(n, (options, _)): (usize, (&[&str], &str))| {
        PrivateKey::from_openssh(&generate(dir, &format!("key{n}"), options)).unwrap()
    };
    KINDS.into_iter().enumerate().map(key).collect()
}

#[test]
fn keys_of_openssh_are_read_and_it_reads_ours() {
    let dir = tempfile::tempdir().unwrap();
    for (n, key) in keys(dir.path()).into_iter().enumerate() {
        let public = read(dir.path(), &format!("key{n}.pub"));
        assert_eq!(key.public(), &PublicKey::from_openssh(&public).unwrap());
        // The other way round: `ssh-keygen -y` reads a private key and says its public half.
        let ours = dir.path().join(format!("ours{n}"));
        write_private(&ours, key.to_openssh("a comment").as_bytes());
        let name = ours.file_name().unwrap().to_str().unwrap();
        assert_eq!(ssh_keygen(dir.path(), &["-yf", name]).unwrap(), public);
        let again = PrivateKey::from_openssh(key.to_openssh("").as_bytes()).unwrap();
        assert_eq!(again.public(), key.public());
    }
    let new = PrivateKey::generate_ed25519().unwrap();
    assert_ne!(
        new.public(),
        PrivateKey::generate_ed25519().unwrap().public()
    );
    write_private(&dir.path().join("new"), new.to_openssh("new").as_bytes());
    let shown = ssh_keygen(dir.path(), &["-yf", "new"]).unwrap();
    assert_eq!(shown.trim_end(), new.public().to_openssh("new"));
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn pkcs8_is_read() {
    let dir = tempfile::tempdir().unwrap();
    // For Ed25519, ssh-keygen knows no PKCS#8.
    for (n, (options, _)) in KINDS.into_iter().enumerate().skip(1) {
        let name = format!("key{n}");
        let plain = PrivateKey::from_openssh(&generate(dir.path(), &name, options)).unwrap();
        ssh_keygen(dir.path(), &["-p", "-N", "", "-m", "PKCS8", "-f", &name]).unwrap();
        let text = read(dir.path(), &name);
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----"), "{text}");
        let key = PrivateKey::from_openssh(text.as_bytes()).unwrap();
        assert_eq!(key.public(), plain.public());
        assert_eq!(key.section, plain.section);
    }
    let pair = Ed25519KeyPair::generate().unwrap();
    for der in [pair.to_pkcs8().unwrap(), pair.to_pkcs8v1().unwrap()] {
        let encoded = STANDARD.encode(der.as_ref());
        let text = format!("-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n");
        let key = PrivateKey::from_openssh(text.as_bytes()).unwrap();
        assert!(key.public().blob().ends_with(pair.public_key().as_ref()));
    }
}

/// What `ssh-keygen -Y` signs and verifies (OpenSSH's PROTOCOL.sshsig).
fn sshsig_message(message: &[u8], hash: &str) -> Vec<u8> {
    let hashed = match hash {
        "sha256" => digest(&SHA256, message),
        _ => digest(&SHA512, message),
    };
    let mut out = b"SSHSIG".to_vec();
    out.string(b"test")
        .string(b"")
        .string(hash.as_bytes())
        .string(hashed.as_ref());
    out
}

#[test]
fn openssh_takes_our_signatures_and_we_take_its() {
    let dir = tempfile::tempdir().unwrap();
    for (n, key) in keys(dir.path()).into_iter().enumerate() {
        let allowed = format!("me {}\n", key.public().to_openssh(""));
        std::fs::write(dir.path().join("allowed"), allowed).unwrap();
        std::fs::write(dir.path().join("message"), "hello").unwrap();
        for algorithm in key.algorithms() {
            let signature = key
                .sign(algorithm, &sshsig_message(b"hello", "sha512"))
                .unwrap();
            let mut file = b"SSHSIG".to_vec();
            file.uint32(1).string(key.public().blob());
            file.string(b"test")
                .string(b"")
                .string(b"sha512")
                .string(&signature);
            let text = format!(
                "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
                STANDARD.encode(&file)
            );
            std::fs::write(dir.path().join("ours.sig"), text).unwrap();
            let script = "ssh-keygen -Y verify -f allowed -I me -n test -s ours.sig < message";
            let verified = std::process::Command::new("sh")
                .args(["-c", script])
                .current_dir(dir.path())
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&verified.stdout);
            assert!(
                told.contains("Good \"test\" signature"),
                "{algorithm}: {verified:?}"
            );
        }

        let key_file = format!("key{n}");
        let _ = std::fs::remove_file(dir.path().join("message.sig"));
        ssh_keygen(
            dir.path(),
            &["-Y", "sign", "-f", &key_file, "-n", "test", "message"],
        )
        .unwrap();
        let text = read(dir.path(), "message.sig");
        let encoded: String = text.lines().filter(|l| !l.starts_with('-')).collect();
        let file = STANDARD.decode(encoded).unwrap();
        let mut reader = Reader::new(file.strip_prefix(b"SSHSIG").unwrap());
        assert_eq!(reader.uint32().unwrap(), 1);
        assert_eq!(reader.string().unwrap(), key.public().blob());
        assert_eq!(reader.string().unwrap(), b"test");
        reader.string().unwrap();
        let hash = reader.text().unwrap();
        let signature = reader.string().unwrap();
        let algorithm = Reader::new(signature).text().unwrap();
        let message = sshsig_message(b"hello", hash);
        key.public().verify(algorithm, &message, signature).unwrap();
    }
}

#[test]
fn what_is_changed_in_a_signature_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    for key in keys(dir.path()) {
        for algorithm in key.algorithms() {
            let signature = key.sign(algorithm, b"message").unwrap();
            let public = key.public();
            public.verify(algorithm, b"message", &signature).unwrap();
            assert_eq!(
                public.verify(algorithm, b"massage", &signature),
                Err(KeyError::Signature)
            );
            for at in 0..signature.len() {
                let mut changed = signature.clone();
                changed[at] ^= 1;
                assert!(
                    public.verify(algorithm, b"message", &changed).is_err(),
                    "{at}"
                );
                assert!(
                    public
                        .verify(algorithm, b"message", &signature[..at])
                        .is_err()
                );
            }
            let longer = [signature.as_slice(), &[0]].concat();
            assert!(public.verify(algorithm, b"message", &longer).is_err());
            assert!(
                fixed(9)
                    .public()
                    .verify(algorithm, b"message", &signature)
                    .is_err()
            );
        }
    }
}

#[test]
fn sha1_and_other_algorithms_than_agreed_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rsa = generate(dir.path(), "rsa", &["-t", "rsa", "-b", "2048"]);
    let rsa = PrivateKey::from_openssh(&rsa).unwrap();
    assert_eq!(rsa.sign("ssh-rsa", b"m"), Err(KeyError::Sha1));
    assert!(rsa.sign("ssh-ed25519", b"m").is_err());
    assert!(fixed(1).sign("rsa-sha2-256", b"m").is_err());

    let good = rsa.sign("rsa-sha2-256", b"m").unwrap();
    let public = rsa.public();
    // Agreed on 512, signed with 256; and what says to be SHA-1.
    assert!(matches!(
        public.verify("rsa-sha2-512", b"m", &good),
        Err(KeyError::Algorithm { .. })
    ));
    let mut reader = Reader::new(&good);
    reader.string().unwrap();
    let made = reader.string().unwrap();
    let mut old = Vec::new();
    old.string(b"ssh-rsa").string(made);
    for algorithm in ["ssh-rsa", "rsa-sha2-256"] {
        assert_eq!(public.verify(algorithm, b"m", &old), Err(KeyError::Sha1));
    }
    assert_eq!(public.verify("ssh-rsa", b"m", &good), Err(KeyError::Sha1));
    let mut renamed = Vec::new();
    renamed.string(b"rsa-sha2-512").string(made);
    assert_eq!(
        public.verify("rsa-sha2-512", b"m", &renamed),
        Err(KeyError::Signature)
    );
}

/// Numbers of RSA and ECDSA are shorter once in a while; such signatures are as good as others.
#[test]
fn short_numbers_in_signatures_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys(dir.path());
    let (ecdsa, rsa) = (&keys[1], &keys[4]);
    // One in 256.
    let mut short = 0;
    let mut n = 0_u32;
    while short == 0 && n < 20_000 {
        n += 1;
        let message = n.to_be_bytes();
        let signature = ecdsa.sign("ecdsa-sha2-nistp256", &message).unwrap();
        let mut outer = Reader::new(&signature);
        outer.string().unwrap();
        let mut inner = Reader::new(outer.string().unwrap());
        short += usize::from(inner.mpint().unwrap().len() < 32);
        ecdsa
            .public()
            .verify("ecdsa-sha2-nistp256", &message, &signature)
            .unwrap();
    }
    assert!(
        short > 0,
        "{n} signatures without one short number do not happen"
    );

    let found = (0..4000_u32).find_map(|n| {
        let message = n.to_be_bytes();
        let signature = rsa.sign("rsa-sha2-256", &message).unwrap();
        let made = signature.last_chunk::<256>().unwrap();
        (made[0] == 0).then(|| (message, made[1..].to_vec()))
    });
    let (message, made) = found.expect("one in 256 begins with a zero");
    let mut stripped = Vec::new();
    stripped.string(b"rsa-sha2-256").string(&made);
    rsa.public()
        .verify("rsa-sha2-256", &message, &stripped)
        .unwrap();
}

/// A security key signs over its application, its flags and its counter.
#[test]
fn security_keys_have_to_be_touched() {
    let dir = tempfile::tempdir().unwrap();
    let p256 = PrivateKey::from_openssh(&generate(dir.path(), "p256", KINDS[1].0)).unwrap();
    for (hardware, kind) in [
        (fixed(7), "sk-ssh-ed25519@openssh.com"),
        (p256, "sk-ecdsa-sha2-nistp256@openssh.com"),
    ] {
        let plain_kind = hardware.algorithms()[0];
        let mut fields = Reader::new(hardware.public().blob());
        fields.string().unwrap();
        let mut blob = Vec::new();
        blob.string(kind.as_bytes())
            .raw(fields.rest())
            .string(b"ssh:");
        let key = PublicKey::from_blob(&blob).unwrap();
        assert_eq!((key.algorithm(), key.blob()), (kind, blob.as_slice()));
        let sign = |application: &str, flags: u8, counter: u32| {
            let mut signed = digest(&SHA256, application.as_bytes()).as_ref().to_vec();
            signed.push(flags);
            signed
                .uint32(counter)
                .raw(digest(&SHA256, b"message").as_ref());
            let inner = hardware.sign(plain_kind, &signed).unwrap();
            let mut reader = Reader::new(&inner);
            reader.string().unwrap();
            let mut signature = Vec::new();
            signature
                .string(kind.as_bytes())
                .string(reader.string().unwrap());
            signature.push(flags);
            signature.uint32(counter);
            signature
        };
        let proof = key.prove(kind, b"message", &sign("ssh:", 5, 42)).unwrap();
        assert_eq!((proof.user_verified, proof.counter), (true, Some(42)));
        let proof = key.prove(kind, b"message", &sign("ssh:", 1, 1)).unwrap();
        assert!(!proof.user_verified);
        for flags in [0, 4] {
            let untouched = sign("ssh:", flags, 1);
            let refused = key.verify(kind, b"message", &untouched);
            assert_eq!(refused, Err(KeyError::NotTouched));
        }
        let elsewhere = sign("ssh:other", 1, 1);
        let refused = key.verify(kind, b"message", &elsewhere);
        assert_eq!(refused, Err(KeyError::Signature));
        // Flags and counter are signed: neither can be raised afterwards.
        let good = sign("ssh:", 1, 1);
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 4;
            assert!(key.verify(kind, b"message", &changed).is_err(), "{at}");
            assert!(key.verify(kind, b"message", &good[..at]).is_err(), "{at}");
        }
        // The key in the hardware is not the key without it.
        let public = hardware.public();
        assert!(public.verify(plain_kind, b"message", &good).is_err());
        let plain = hardware.sign(plain_kind, b"message").unwrap();
        assert!(key.verify(plain_kind, b"message", &plain).is_err());
        assert!(key.verify(kind, b"message", &plain).is_err());
    }
}

#[test]
fn a_damaged_private_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for key in keys(dir.path()) {
        let text = key.to_openssh("c");
        let encoded: String = text.lines().filter(|l| !l.starts_with('-')).collect();
        let file = STANDARD.decode(encoded).unwrap();
        let rsa = key.public().algorithm() == "ssh-rsa";
        let armour = |file: &[u8]| {
            format!(
                "{BEGIN_OPENSSH}\n{}\n{END_OPENSSH}\n",
                STANDARD.encode(file)
            )
        };
        assert!(PrivateKey::from_openssh(armour(&file).as_bytes()).is_ok());
        // Each byte of a key of RSA would take too long.
        let step = if rsa { 37 } else { 1 };
        let comment = file.iter().rposition(|b| *b == b'c').unwrap();
        for at in (0..file.len()).step_by(step).filter(|at| *at != comment) {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let read = PrivateKey::from_openssh(armour(&changed).as_bytes());
            assert!(read.is_err(), "{key:?} {at}");
            assert!(PrivateKey::from_openssh(armour(&file[..at]).as_bytes()).is_err());
        }
        let longer = [file.as_slice(), &[0]].concat();
        assert!(PrivateKey::from_openssh(armour(&longer).as_bytes()).is_err());
    }
}

#[test]
fn an_encrypted_key_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    ssh_keygen(
        dir.path(),
        &["-q", "-t", "ed25519", "-N", "secret", "-f", "locked"],
    )
    .unwrap();
    let error = PrivateKey::from_openssh(read(dir.path(), "locked").as_bytes()).unwrap_err();
    assert_eq!(error, KeyError::Encrypted);
    assert!(error.to_string().contains("ssh-keygen -p"));
    let rows = [
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            KeyError::Encrypted,
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
            KeyError::Encrypted,
        ),
        ("-----BEGIN RSA PRIVATE KEY-----\n", KeyError::PrivateFormat),
        (
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----",
            KeyError::PrivateFormat,
        ),
        ("ssh-ed25519 AAAA", KeyError::PrivateFormat),
        ("", KeyError::PrivateFormat),
    ];
    for (text, expected) in rows {
        assert_eq!(
            PrivateKey::from_openssh(text.as_bytes()).unwrap_err(),
            expected,
            "{text}"
        );
    }
    let long = vec![b' '; MAX_PRIVATE_BYTES + 1];
    assert!(PrivateKey::from_openssh(&long).is_err());
}

#[test]
fn nothing_that_prints_a_key_prints_its_secret() {
    let key = fixed(5);
    let shown = format!("{key:?} {:?}", key.public());
    assert!(shown.contains("SHA256:"), "{shown}");
    assert!(
        !shown.contains("5, 5") && !shown.contains("0505"),
        "{shown}"
    );
}
