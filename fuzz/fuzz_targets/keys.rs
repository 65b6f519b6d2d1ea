//! Any bytes as a key or a certificate of SSH: reading them must not panic, and what is read is written again
//! byte for byte: a key has one form. Any bytes as a signature over a text prove nothing; of one that does, nothing can
//! be changed.
#![no_main]

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use ssh_keys::{Certificate, PrivateKey, PublicKey, signer_of_text};

const FOR: &str = "test@weir.dev";
const TEXT: &[u8] = b"mine";
const SHA256: [u8; 32] = [
    0x3f, 0xd3, 0x05, 0x42, 0xfe, 0x3f, 0x61, 0xb1, 0x4b, 0xd4, 0xa4, 0xb2, 0xdc, 0x0b, 0x6f, 0xb3,
    0x0f, 0xa6, 0xf6, 0x3e, 0xbc, 0xe5, 0x2d, 0xd1, 0x77, 0x8a, 0xaa, 0x8c, 0x4d, 0xc0, 0x2c, 0xff,
];

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

fn key() -> &'static PrivateKey {
    static ONCE: OnceLock<PrivateKey> = OnceLock::new();
    ONCE.get_or_init(|| PrivateKey::generate_ed25519().expect("randomness"))
}

/// Of `TEXT`, for this purpose.
fn signature() -> &'static [u8] {
    static ONCE: OnceLock<Vec<u8>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let middle = [string(FOR.as_bytes()), string(b""), string(b"sha256")].concat();
        let signed = [b"SSHSIG", &middle[..], &string(&SHA256)].concat();
        let signature = key()
            .sign("ssh-ed25519", &signed)
            .expect("a key that signs");
        let head = [b"SSHSIG", &1_u32.to_be_bytes()[..]].concat();
        let key = string(key().public().blob());
        [head, key, middle, string(&signature)].concat()
    })
}

/// Who signed `TEXT`, by this signature.
fn signer(blob: &[u8]) -> Option<PublicKey> {
    let (begin, end) = (
        "-----BEGIN SSH SIGNATURE-----",
        "-----END SSH SIGNATURE-----",
    );
    let text = format!("{begin}\n{}\n{end}\n", STANDARD.encode(blob));
    signer_of_text(&text, FOR, TEXT).ok()
}

fn signatures(data: &[u8]) {
    assert!(signer(data).is_none());
    let right = signature();
    let [at, cut, new @ ..] = data else {
        assert_eq!(signer(right).as_ref(), Some(key().public()));
        return;
    };
    // Some of it is replaced.
    let (head, rest) = right.split_at(usize::from(*at) % right.len());
    let tail = &rest[usize::from(*cut).min(rest.len())..];
    let new = &new[..new.len().min(300)];
    let changed = [head, new, tail].concat();
    let expect = (changed == right).then(|| key().public().clone());
    assert_eq!(signer(&changed), expect);
}

fuzz_target!(|data: &[u8]| {
    if let Ok(key) = PublicKey::from_blob(data) {
        assert_eq!(key.blob(), data);
        assert_eq!(
            PublicKey::from_openssh(&key.to_openssh("c")).as_ref(),
            Ok(&key)
        );
        // Whatever it says, it is no signature of anything.
        for algorithm in key.algorithms() {
            assert!(key.verify(algorithm, data, data).is_err());
        }
    }
    if let Ok(certificate) = Certificate::from_blob(data) {
        assert_eq!(certificate.blob(), data);
        assert!(Certificate::from_openssh(&certificate.to_openssh("c")).is_ok());
    }
    if let Ok(key) = PrivateKey::from_openssh(data) {
        let again = PrivateKey::from_openssh(key.to_openssh("c").as_bytes());
        assert!(again.is_ok_and(|again| again.public() == key.public()));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = PublicKey::from_openssh(text);
        let _ = Certificate::from_openssh(text);
        assert!(signer_of_text(text, FOR, TEXT).is_err());
    }
    signatures(data);
});
