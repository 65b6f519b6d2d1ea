//! Hosts that are not what they say, or say too much.

use super::*;

/// A key that is not what it says.
struct Liar {
    key: TestKey,
    blob: Vec<u8>,
    signature: &'static str,
}

impl HostKey for Liar {
    fn algorithms(&self) -> &'static [&'static str] {
        &["ssh-ed25519"]
    }

    fn public_blob(&self) -> &[u8] {
        &self.blob
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Result<Vec<u8>, HostKeyError> {
        let mut out = Vec::new();
        out.string(self.signature.as_bytes());
        out.extend_from_slice(&self.key.sign(algorithm, message)?[15..]);
        Ok(out)
    }
}

#[test]
fn keys_and_signatures_are_of_the_kind_that_was_agreed_on() {
    for (key_form, signature, fits) in [
        ("ssh-ed25519", "ssh-ed25519", true),
        ("ssh-rsa", "ssh-ed25519", false),
        ("ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519", false),
        ("ssh-ed25519", "ssh-rsa", false),
        ("ssh-ed25519", "", false),
    ] {
        let key = TestKey::new();
        let mut blob = Vec::new();
        blob.string(key_form.as_bytes()).raw(&key.blob[15..]);
        let liar = Liar {
            key,
            blob,
            signature,
        };
        let mut pair = Pair::new(client_config(), ServerConfig::new(vec![Arc::new(liar)]));
        match pair.run() {
            Ok(()) => assert!(fits && pair.client.ready),
            Err(TransportError::HostKeyAlgorithm { .. }) => assert!(!fits, "{key_form}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_host_keeps_its_key() {
    let mut pair = Pair::ready();
    pair.server.leg.side = Side::Server(Arc::new(server_config()));
    pair.client.leg.rekey().unwrap();
    assert!(matches!(pair.run(), Err(TransportError::HostKeyChanged)));
}

#[test]
fn what_a_server_says_that_it_takes_is_bounded_and_checked() {
    let mut pair = Pair::ready();
    let mut names = vec!["x"; 5000].join(",");
    names.push_str(",last");
    let mut message = vec![n::EXT_INFO];
    message
        .uint32(2)
        .string(b"unknown")
        .string(b"\0\xff")
        .string(b"server-sig-algs")
        .string(names.as_bytes());
    pair.server.leg.own(&message).unwrap();
    pair.run().unwrap();
    assert_eq!(
        pair.client.leg.server_sig_algs().unwrap().len(),
        MAX_SIGNATURE_ALGORITHMS
    );
    for message in [
        &[n::EXT_INFO, 0, 0, 0, 1][..],
        &[n::EXT_INFO, 255, 255, 255, 255],
        &[n::EXT_INFO, 0, 0, 0, 0, 9],
    ] {
        let mut pair = Pair::ready();
        pair.server.leg.own(message).unwrap();
        assert!(matches!(
            pair.run(),
            Err(TransportError::Layout {
                number: n::EXT_INFO,
                ..
            })
        ));
    }
}
