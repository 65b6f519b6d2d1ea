//! Any bytes as a key or a certificate of SSH: reading them must not panic, and what is read is written again
//! byte for byte: a key has one form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ssh_keys::{Certificate, PrivateKey, PublicKey};

fuzz_target!(|data: &[u8]| {
    if let Ok(key) = PublicKey::from_blob(data) {
        assert_eq!(key.blob(), data);
        assert_eq!(PublicKey::from_openssh(&key.to_openssh("c")).as_ref(), Ok(&key));
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
    }
});
