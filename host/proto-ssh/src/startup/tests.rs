//! The authentication protocol against clients that want in without a proof.

use ssh_keys::{Certificate, PrivateKey};

use super::offer::{Offer, signed};
use super::userauth::{Ask, Bounds, CONNECTION, Methods, Next, UserAuth, Violation, banner};
use crate::testing::ports::Keys;
use crate::wire::numbers as n;
use crate::wire::{Put, Reader};

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
fn user_name_and_service_stay_what_they_are() {
    let first = request(USER, CONNECTION, b"none", b"");
    for (user, service) in [
        (&b"root+web2"[..], CONNECTION),
        (b"", CONNECTION),
        (USER, b"ssh-userauth"),
        (USER, b""),
    ] {
        let mut auth = begun(ALL);
        assert!(matches!(auth.receive(&first), Ok(Next::Reply(_))));
        let second = auth.receive(&request(user, service, b"none", b""));
        assert!(matches!(second, Err(Violation::Changed)));
    }
    for user in [&[b'a'; 513][..], b"\xff", b"a\0b", b"a\nb", b"\x1b[2J"] {
        let answer = begun(ALL).receive(&request(user, CONNECTION, b"none", b""));
        assert!(matches!(answer, Err(Violation::User)), "{user:?}");
    }
}

#[test]
fn services_are_asked_for_once_and_in_their_place() {
    let service = |name: &[u8]| {
        let mut out = Vec::new();
        out.byte(n::SERVICE_REQUEST).string(name);
        out
    };
    let mut auth = UserAuth::new(SESSION, ALL, BOUNDS);
    for name in [
        &b"ssh-connection"[..],
        b"",
        b"ssh-userauth\0",
        &[b'x'; 70_000],
    ] {
        let answer = auth.receive(&service(name));
        assert!(matches!(answer, Err(Violation::Service(_))));
    }
    let early = auth.receive(&request(USER, CONNECTION, b"none", b""));
    assert!(matches!(early, Err(Violation::Unexpected(50))));
    for name in [&b"ssh-userauth"[..], b"ssh-connection"] {
        let again = begun(ALL).receive(&service(name));
        assert!(matches!(again, Err(Violation::Unexpected(5))));
    }
}

#[test]
fn nothing_but_authentication_has_a_place_before_it() {
    for number in (0..=u8::MAX).filter(|number| *number != n::USERAUTH_REQUEST) {
        let answer = begun(ALL).receive(&[number, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(
            matches!(answer, Err(Violation::Unexpected(is)) if is == number),
            "{number}"
        );
    }
    assert!(matches!(begun(ALL).receive(&[]), Err(Violation::Layout(_))));
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

#[test]
fn requests_of_any_kind_have_a_bound() {
    for method in [
        &b"none"[..],
        b"hostbased",
        b"gssapi-with-mic",
        b"",
        &[b'x'; 1_000],
    ] {
        let mut auth = begun(ALL);
        let message = request(USER, CONNECTION, method, b"");
        let ended = (0..10_000).find_map(|i| match auth.receive(&message) {
            Ok(Next::Reply(answer)) => {
                failure(&answer);
                None
            }
            Ok(_) => panic!("taken"),
            Err(violation) => Some((i, violation)),
        });
        assert_eq!(ended, Some((BOUNDS.requests, Violation::Requests)));
    }
}

#[test]
fn wrong_proofs_are_counted() {
    let mut auth = begun(ALL);
    let mut rest = Vec::new();
    rest.flag(false).string(b"wrong");
    let message = request(USER, CONNECTION, b"password", &rest);
    for left in (1..BOUNDS.attempts).rev() {
        assert!(matches!(
            auth.receive(&message),
            Ok(Next::Ask(Ask::Token(_)))
        ));
        failure(&auth.refused().unwrap());
        assert!(left > 0);
    }
    assert!(matches!(
        auth.receive(&message),
        Ok(Next::Ask(Ask::Token(_)))
    ));
    assert_eq!(auth.refused(), Err(Violation::Attempts));
    assert!(matches!(
        auth.receive(&message),
        Err(Violation::Unexpected(50))
    ));
}

#[test]
fn passwords_are_tokens_and_not_changed() {
    let password = |changes: bool, token: &[u8], rest: &[u8]| {
        let mut out = Vec::new();
        out.flag(changes).string(token).raw(rest);
        request(USER, CONNECTION, b"password", &out)
    };
    for (what, message) in [
        ("changed", password(true, b"a-good-token", b"\0\0\0\x03new")),
        ("empty", password(false, b"", b"")),
        ("no text", password(false, b"\xff\xfe", b"")),
        ("too long", password(false, &[b'a'; 65_536], b"")),
    ] {
        assert!(
            matches!(begun(ALL).receive(&message), Ok(Next::Failed(_))),
            "{what}"
        );
    }
    let longer = password(false, b"token", b"\0");
    assert!(matches!(
        begun(ALL).receive(&longer),
        Err(Violation::Layout(_))
    ));
    for (len, cut) in [(1_022, false), (1_023, true), (1_024, false)] {
        let mut auth = begun(ALL);
        auth.receive(&password(false, &vec![b'a'; len], b"")).ok();
        assert_eq!(auth.maybe_cut(), cut, "{len}");
    }
}

#[test]
fn methods_that_are_not_offered_are_not_there() {
    let key = key();
    let keys = Keys::new();
    let certificate = keys.user_certificate(key.public());
    let mut password = Vec::new();
    password.flag(false).string(b"a-good-token");
    let password = request(USER, CONNECTION, b"password", &password);
    let interactive = request(USER, CONNECTION, b"keyboard-interactive", &[0; 8]);
    let plain = Use::of(&key).message();
    let certified = Use::certified(&key, &certificate).message();
    for (methods, names, takes) in [
        (
            Methods {
                certificate: true,
                ..Methods::default()
            },
            "publickey",
            [false, true, false, false],
        ),
        (
            Methods {
                key: true,
                ..Methods::default()
            },
            "publickey",
            [true, false, false, false],
        ),
        (
            Methods {
                token: true,
                ..Methods::default()
            },
            "password",
            [false, false, true, false],
        ),
        (
            Methods {
                device: true,
                ..Methods::default()
            },
            "keyboard-interactive",
            [false, false, false, true],
        ),
        (Methods::default(), "", [false; 4]),
    ] {
        for (message, taken) in [&plain, &certified, &password, &interactive]
            .into_iter()
            .zip(takes)
        {
            let is = match begun(methods).receive(message) {
                Ok(Next::Ask(_)) => true,
                Ok(Next::Reply(answer) | Next::Failed(answer)) => {
                    assert_eq!(failure(&answer), names);
                    false
                }
                _ => panic!("neither taken nor refused"),
            };
            assert_eq!(is, taken, "{names}");
        }
    }
}

#[test]
fn a_device_flow_is_answered_once_or_left() {
    let interactive = request(USER, CONNECTION, b"keyboard-interactive", &[0; 8]);
    let response = |count: u32, answers: &[&[u8]]| {
        let mut out = Vec::new();
        out.byte(n::USERAUTH_INFO_RESPONSE).uint32(count);
        for answer in answers {
            out.string(answer);
        }
        out
    };
    let prompted = || {
        let mut auth = begun(ALL);
        assert!(matches!(
            auth.receive(&interactive),
            Ok(Next::Ask(Ask::Device))
        ));
        let question = auth.prompt("go there");
        assert_eq!(question.first(), Some(&n::USERAUTH_INFO_REQUEST));
        assert!(auth.waits_for_answer());
        auth
    };
    let mut auth = prompted();
    assert!(matches!(auth.receive(&response(1, &[b""])), Ok(Next::Wait)));
    assert!(!auth.waits_for_answer());
    let again = auth.receive(&response(1, &[b""]));
    assert!(matches!(again, Err(Violation::Unexpected(61))));

    // Another request gives it up; its answer has no place then.
    let mut auth = prompted();
    let none = request(USER, CONNECTION, b"none", b"");
    assert!(matches!(auth.receive(&none), Ok(Next::Reply(_))));
    assert!(!auth.waits_for_answer());
    let late = auth.receive(&response(1, &[b""]));
    assert!(matches!(late, Err(Violation::Unexpected(61))));

    // Programs answer every question with the token.
    match prompted().receive(&response(1, &[b"a-good-token"])) {
        Ok(Next::Ask(Ask::Token(token))) => assert_eq!(&**token, "a-good-token"),
        _ => panic!("no token"),
    }
    for wrong in [
        response(0, &[]),
        response(2, &[b"", b""]),
        response(u32::MAX, &[]),
    ] {
        assert!(matches!(prompted().receive(&wrong), Ok(Next::Failed(_))));
    }
    let short = prompted().receive(&response(1, &[]));
    assert!(matches!(short, Err(Violation::Layout(_))));
    let unasked = begun(ALL).receive(&response(1, &[b""]));
    assert!(matches!(unasked, Err(Violation::Unexpected(61))));
}

#[test]
fn inside_another_connection_its_identity_is_enough() {
    let inside = Methods {
        inside: true,
        ..Methods::default()
    };
    let none = request(USER, CONNECTION, b"none", b"");
    assert!(matches!(
        begun(inside).receive(&none),
        Ok(Next::Ask(Ask::Outer))
    ));
    let key = key();
    let proved = begun(inside).receive(&Use::of(&key).message());
    assert!(matches!(proved, Ok(Next::Ask(Ask::Outer))));
    // A key that is not there is no proof here either.
    let wrong = Use {
        session: b"",
        ..Use::of(&key)
    }
    .message();
    assert!(matches!(begun(inside).receive(&wrong), Ok(Next::Failed(_))));
    // Nobody's password is asked for.
    let mut password = Vec::new();
    password.flag(false).string(b"secret");
    let password = request(USER, CONNECTION, b"password", &password);
    assert!(matches!(
        begun(inside).receive(&password),
        Ok(Next::Reply(_))
    ));
}

#[test]
fn a_banner_is_lines_of_text() {
    let message = banner("one\ntwo\x1b[31m\0\x07");
    let mut r = Reader::new(&message);
    assert_eq!(r.u8().unwrap(), n::USERAUTH_BANNER);
    assert_eq!(r.string().unwrap(), b"one\r\ntwo[31m\r\n");
    assert_eq!(r.string().unwrap(), b"");
    r.end().unwrap();
}
