//! A client that wants in, by any messages in any order.

use std::sync::OnceLock;

use ssh_keys::PrivateKey;

use super::userauth::{CONNECTION, SERVICE};
use super::*;
use crate::fuzzing::Script;
use crate::wire::numbers as n;
use crate::wire::{Put, Reader};

const SESSION: &[u8] = b"the hash of the first exchange..";
const USER: &[u8] = b"root+web1";
/// Small, so that they are met.
const BOUNDS: Bounds = Bounds {
    attempts: 3,
    probes: 4,
    requests: 20,
    flows: 2,
};

fn key() -> &'static PrivateKey {
    static ONCE: OnceLock<PrivateKey> = OnceLock::new();
    ONCE.get_or_init(|| match PrivateKey::generate_ed25519() {
        Ok(key) => key,
        Err(error) => unreachable!("{error}"),
    })
}

/// What may have been done at most, and was.
#[derive(Default)]
struct Seen {
    attempts: u32,
    probes: u32,
    requests: u32,
    flows: u32,
}

/// Runs this script, with these methods. Nobody is asked whose a key is before it was proved that the client has it;
/// by no method that there is not does anybody get in; and everything has its bound.
pub fn userauth(mode: u8, data: &[u8]) {
    let methods = Methods {
        certificate: mode & 1 == 0,
        key: mode & 2 == 0,
        token: mode & 4 == 0,
        device: mode & 8 == 0,
        inside: mode & 16 != 0,
    };
    let mut auth = UserAuth::new(SESSION, methods, BOUNDS);
    let mut script = Script(data);
    let mut seen = Seen::default();
    let mut user = None;
    while !script.is_over() {
        let (payload, proves) = payload(&mut script);
        seen.requests += u32::from(payload.first() == Some(&n::USERAUTH_REQUEST));
        let Ok(next) = auth.receive(&payload) else {
            return;
        };
        assert!(seen.requests <= BOUNDS.requests);
        if user.is_none() {
            user = auth.user().cloned();
        }
        assert_eq!(auth.user(), user.as_ref(), "it must not change");
        let over = match next {
            Next::Reply(message) => {
                well_formed(&message, methods);
                false
            }
            Next::Failed(message) => {
                seen.attempts += 1;
                well_formed(&message, methods);
                false
            }
            Next::Wait => {
                assert!(methods.device);
                false
            }
            Next::Ask(ask) => asked(&mut auth, ask, (methods, proves), &mut script, &mut seen),
        };
        // The last wrong proof ends it.
        assert!(seen.attempts < BOUNDS.attempts || over);
        if over {
            let more = auth.receive(&payload);
            assert!(more.is_err(), "nothing more is understood");
            return;
        }
    }
}

/// Somebody else answers. True: it is over.
fn asked(
    auth: &mut UserAuth,
    ask: Ask,
    (methods, proves): (Methods, bool),
    script: &mut Script<'_>,
    seen: &mut Seen,
) -> bool {
    let yes = script.byte() & 1 == 0;
    match ask {
        Ask::Probe(_) => {
            seen.probes += 1;
            assert!(seen.probes <= BOUNDS.probes && !proves);
            well_formed(&auth.probed(yes), methods);
            return false;
        }
        Ask::Proof(offer) => {
            assert!(
                proves && methods.key && !methods.inside,
                "nothing was proved"
            );
            assert!(matches!(offer, Offer::Key(k) if k.blob() == key().public().blob()));
        }
        Ask::Token(token) => assert!(methods.token && !token.is_empty()),
        Ask::Device => {
            seen.flows += 1;
            assert!(methods.device && seen.flows <= BOUNDS.flows);
            if yes {
                well_formed(&auth.prompt("go there", "done?"), methods);
                return false;
            }
        }
        Ask::Outer => assert!(methods.inside),
    }
    if yes {
        auth.accepted();
        return true;
    }
    seen.attempts += 1;
    match auth.refused() {
        Ok(message) => well_formed(&message, methods),
        Err(violation) => assert_eq!(violation, Violation::Attempts),
    }
    seen.attempts >= BOUNDS.attempts
}

/// It is one of the messages that a server sends here, and promises nothing that there is not.
fn well_formed(message: &[u8], methods: Methods) {
    let mut r = Reader::new(message);
    match r.u8() {
        Ok(n::USERAUTH_FAILURE) => {
            let mut names = r.names().into_iter().flatten();
            assert!(names.all(|name| match name {
                "publickey" => methods.certificate || methods.key || methods.inside,
                "password" => methods.token,
                "keyboard-interactive" => methods.device,
                _ => false,
            }));
            assert_eq!((r.bool(), r.end()), (Ok(false), Ok(())));
        }
        // With PK_OK the number is the same.
        Ok(n::SERVICE_ACCEPT | n::USERAUTH_PK_OK) => {}
        other => unreachable!("{other:?}"),
    }
}

const NAMES: &[&[u8]] = &[
    b"none",
    b"password",
    b"keyboard-interactive",
    b"publickey",
    b"hostbased",
];

/// One message, and whether it is the one proof that is right.
fn payload(script: &mut Script<'_>) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let what = script.byte();
    let user = if what & 128 == 0 { USER } else { b"root" };
    let blob = key().public().blob();
    let algorithm = b"ssh-ed25519";
    match what % 8 {
        0 => {
            out.byte(n::SERVICE_REQUEST).string(SERVICE);
        }
        1 => {
            let name = script.pick(NAMES);
            head(&mut out, user, name).raw(script.bytes());
        }
        2 => {
            let changes = script.byte() & 1 != 0;
            head(&mut out, user, b"password").flag(changes);
            out.string(script.bytes());
            if changes {
                out.string(script.bytes());
            }
        }
        3 => {
            head(&mut out, user, b"keyboard-interactive");
            out.string(b"").string(script.bytes());
        }
        4 => {
            let count = u32::from(script.byte() % 3);
            out.byte(n::USERAUTH_INFO_RESPONSE).uint32(count);
            out.string(script.bytes());
        }
        5 => {
            let proves = script.byte() & 1 != 0;
            let shown = script.bytes();
            let shown = if shown.is_empty() { blob } else { shown };
            head(&mut out, user, b"publickey").flag(proves);
            out.string(algorithm).string(shown);
            if proves {
                out.string(script.bytes());
            }
        }
        6 => {
            // Signed for another user, another connection, or right.
            let how = script.byte() % 4;
            let session = if how == 1 { b"another" } else { SESSION };
            let for_user = if how == 2 { b"dora" } else { user };
            let message = signed(session, for_user, CONNECTION, algorithm, blob);
            let signature = key().sign("ssh-ed25519", &message).unwrap_or_default();
            head(&mut out, user, b"publickey").flag(true);
            out.string(algorithm).string(blob).string(&signature);
            return (out, how == 0 || how == 3);
        }
        _ => {
            out.raw(script.bytes());
        }
    }
    (out, false)
}

fn head<'o>(out: &'o mut Vec<u8>, user: &[u8], method: &[u8]) -> &'o mut Vec<u8> {
    out.byte(n::USERAUTH_REQUEST)
        .string(user)
        .string(CONNECTION)
        .string(method)
}
