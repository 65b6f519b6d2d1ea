//! A host that is to let us in, and says anything.

use super::login::{Login, Then};
use super::*;
use crate::config::Secret;
use crate::fuzzing::Script;
use crate::startup::userauth::SERVICE;
use crate::wire::Put;
use crate::wire::numbers as n;

const PASSWORD: &str = "a password of nobody";
const MAX_STEPS: usize = 64;

/// Runs this script. A password is shown where it is asked for, each way once; a key proves itself once; and nobody is
/// in before the host has said so.
pub fn login(mode: u8, data: &[u8]) {
    let proof = match mode & 1 {
        0 => Proof::Password(Secret::new(PASSWORD)),
        _ => match PrivateKey::generate_ed25519() {
            Ok(key) => Proof::Key(Arc::new(key)),
            Err(error) => unreachable!("{error}"),
        },
    };
    let mut login = Login::new(b"session", "root", &proof);
    let mut script = Script(data);
    let (mut sent, mut shown) = (0, 0);
    for _ in 0..MAX_STEPS {
        if script.is_over() {
            return;
        }
        let mut payload = Vec::new();
        message(&mut script, &mut payload);
        let signatures = ["rsa-sha2-256".to_owned()];
        let signatures = (mode & 2 == 0).then_some(&signatures[..]);
        match login.receive(&payload, signatures) {
            Ok(Then::Nothing) => assert_eq!(payload.first(), Some(&n::USERAUTH_BANNER)),
            Ok(Then::Send(message)) => {
                let secret = PASSWORD.as_bytes();
                shown += usize::from(message.windows(secret.len()).any(|w| w == secret));
                sent += 1;
                assert!(shown <= 2, "the password was asked for twice");
                assert!(matches!(proof, Proof::Password(_)) || sent == 1);
            }
            Ok(Then::In) => {
                assert!(payload == [n::USERAUTH_SUCCESS] && sent > 0);
                return;
            }
            Err(error) => {
                // What it says reaches logs: not with the password in it.
                assert!(!error.to_string().contains(PASSWORD));
                assert!(!login.disconnected("x".into()).to_string().is_empty());
                return;
            }
        }
    }
}

const METHODS: &[&[u8]] = &[
    b"keyboard-interactive",
    b"publickey,keyboard-interactive",
    b"password,keyboard-interactive",
    b"publickey",
    b"",
];

fn message(script: &mut Script<'_>, out: &mut Vec<u8>) {
    match script.byte() % 6 {
        0 => out.byte(n::SERVICE_ACCEPT).string(SERVICE),
        1 => out.byte(n::USERAUTH_BANNER).raw(script.bytes()),
        2 => out.byte(n::USERAUTH_SUCCESS),
        3 => out
            .byte(n::USERAUTH_FAILURE)
            .string(script.pick(METHODS))
            .flag(script.byte() == 1),
        4 => {
            let count = u32::from(script.byte() % 3);
            out.byte(n::USERAUTH_INFO_REQUEST);
            out.string(b"").string(script.bytes()).string(b"");
            out.uint32(count);
            for _ in 0..count {
                out.string(script.bytes()).flag(script.byte() == 1);
            }
            out
        }
        _ => out.raw(script.bytes()),
    };
}
