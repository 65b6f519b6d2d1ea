//! Everything else that is said before somebody is in.

use super::*;

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

/// Each is a question to the provider, and asking for one proves nothing.
#[test]
fn a_connection_begins_so_many_device_flows() {
    let interactive = request(USER, CONNECTION, b"keyboard-interactive", &[0; 8]);
    let none = request(USER, CONNECTION, b"none", b"");
    let names = |auth: &mut UserAuth| match auth.receive(&none) {
        Ok(Next::Reply(answer)) => failure(&answer),
        _ => panic!("not refused"),
    };
    let mut auth = begun(ALL);
    assert_eq!(names(&mut auth), "publickey,keyboard-interactive,password");
    for n in 1..=BOUNDS.flows {
        let asked = auth.receive(&interactive);
        assert!(matches!(asked, Ok(Next::Ask(Ask::Device))), "{n}");
        auth.prompt("go there", "? ");
    }
    // The last one can still be answered; another is neither offered nor begun.
    let mut answer = Vec::new();
    answer.byte(n::USERAUTH_INFO_RESPONSE).uint32(1).string(b"");
    assert!(matches!(auth.receive(&answer), Ok(Next::Wait)));
    assert_eq!(names(&mut auth), "publickey,password");
    match auth.receive(&interactive) {
        Ok(Next::Reply(answer)) => assert_eq!(failure(&answer), "publickey,password"),
        _ => panic!("another flow was begun"),
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
        let question = auth.prompt("go there", "? ");
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

/// Not random, so that what fails once fails again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[test]
fn damaged_messages_prove_nothing_and_break_nothing() {
    let key = key();
    let keys = Keys::new();
    let certificate = keys.user_certificate(key.public());
    let mut password = Vec::new();
    password.flag(false).string(b"a-good-token");
    let mut answer = Vec::new();
    answer.byte(n::USERAUTH_INFO_RESPONSE).uint32(1).string(b"");
    let good = [
        Use::of(&key).message(),
        Use::certified(&key, &certificate).message(),
        request(USER, CONNECTION, b"password", &password),
        request(USER, CONNECTION, b"keyboard-interactive", &[0; 8]),
        answer,
    ];
    let mut dice = Dice(7);
    for _ in 0..20_000 {
        let whole = &good[dice.roll(good.len())];
        let mut message = whole.clone();
        for _ in 0..=dice.roll(3) {
            let at = dice.roll(message.len());
            match dice.roll(4) {
                0 => message[at] = u8::try_from(dice.roll(256)).unwrap(),
                1 => message.truncate(at + 1),
                2 => message.insert(at, 0xff),
                _ => message[at] ^= 1 << dice.roll(8),
            }
        }
        let mut auth = begun(ALL);
        if dice.roll(2) == 0 {
            auth.receive(&good[3]).ok();
            auth.prompt("go there", "? ");
        }
        let next = auth.receive(&message);
        let proved = matches!(next, Ok(Next::Ask(Ask::Proof(_))));
        // Of the flag that says that there is a signature, every bit but none means the same.
        let differs = message.len() != whole.len()
            || message
                .iter()
                .zip(whole)
                .any(|(a, b)| a != b && (*b != 1 || *a == 0));
        assert!(!proved || !differs, "{message:02x?}");
    }
}
