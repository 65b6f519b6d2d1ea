//! The authentication protocol against clients that want in without a proof.

use ssh_keys::{Certificate, PrivateKey};

use super::offer::{Offer, signed};
use super::userauth::{Ask, Bounds, CONNECTION, Methods, Next, UserAuth, Violation, banner};
use crate::testing::ports::Keys;
use crate::wire::numbers as n;
use crate::wire::{Put, Reader};

mod keys;
mod methods;

const SESSION: &[u8] = b"the hash of the first exchange..";
const ALL: Methods = Methods {
    certificate: true,
    key: true,
    token: true,
    device: true,
    inside: false,
};
const BOUNDS: Bounds = Bounds {
    attempts: 6,
    probes: 64,
    requests: 256,
    flows: 2,
};
const USER: &[u8] = b"root+web1";

fn begun(methods: Methods) -> UserAuth {
    let mut auth = UserAuth::new(SESSION, methods, BOUNDS);
    let mut hello = Vec::new();
    hello.byte(n::SERVICE_REQUEST).string(b"ssh-userauth");
    let Ok(Next::Reply(answer)) = auth.receive(&hello) else {
        panic!("the service was not accepted");
    };
    assert_eq!(answer.first(), Some(&n::SERVICE_ACCEPT));
    auth
}

fn request(user: &[u8], service: &[u8], method: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.byte(n::USERAUTH_REQUEST)
        .string(user)
        .string(service)
        .string(method)
        .raw(rest);
    out
}

/// One use of a key, with everything that an attacker could get wrong on purpose.
struct Use<'a> {
    key: &'a PrivateKey,
    algorithm: &'a str,
    blob: Vec<u8>,
    session: &'a [u8],
    /// What the signature is over.
    signed_user: &'a [u8],
    signed_service: &'a [u8],
    signed_algorithm: &'a str,
    signed_blob: Vec<u8>,
}

impl<'a> Use<'a> {
    fn of(key: &'a PrivateKey) -> Self {
        let blob = key.public().blob().to_vec();
        Self {
            key,
            algorithm: "ssh-ed25519",
            blob: blob.clone(),
            session: SESSION,
            signed_user: USER,
            signed_service: CONNECTION,
            signed_algorithm: "ssh-ed25519",
            signed_blob: blob,
        }
    }

    fn certified(key: &'a PrivateKey, certificate: &Certificate) -> Self {
        Self {
            algorithm: "ssh-ed25519-cert-v01@openssh.com",
            signed_algorithm: "ssh-ed25519-cert-v01@openssh.com",
            blob: certificate.blob().to_vec(),
            signed_blob: certificate.blob().to_vec(),
            ..Self::of(key)
        }
    }

    fn signature(&self) -> Vec<u8> {
        let message = signed(
            self.session,
            self.signed_user,
            self.signed_service,
            self.signed_algorithm.as_bytes(),
            &self.signed_blob,
        );
        self.key.sign("ssh-ed25519", &message).unwrap()
    }

    fn message(&self) -> Vec<u8> {
        self.with(&self.signature())
    }

    fn with(&self, signature: &[u8]) -> Vec<u8> {
        let mut rest = Vec::new();
        rest.flag(true)
            .string(self.algorithm.as_bytes())
            .string(&self.blob)
            .string(signature);
        request(USER, CONNECTION, b"publickey", &rest)
    }
}

fn probe(algorithm: &[u8], blob: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    rest.flag(false).string(algorithm).string(blob);
    request(USER, CONNECTION, b"publickey", &rest)
}

fn key() -> PrivateKey {
    PrivateKey::generate_ed25519().unwrap()
}

/// The methods of a failure.
fn failure(message: &[u8]) -> String {
    let mut r = Reader::new(message);
    assert_eq!(r.u8().unwrap(), n::USERAUTH_FAILURE);
    let names = String::from_utf8(r.string().unwrap().to_vec()).unwrap();
    assert!(!r.bool().unwrap(), "no success is partial");
    r.end().unwrap();
    names
}
