//! The rules of signed notes, one by one, and notes that someone changed.

use super::*;
use crate::keys::{Ed25519Signer, Ed25519Verifier};
use crate::testing::Random;

fn signer(name: &str, seed: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(name, &[seed; 32]).unwrap()
}

fn verifier(name: &str, seed: u8) -> Ed25519Verifier {
    signer(name, seed).verifier()
}

fn note(text: &str, signers: &[&Ed25519Signer]) -> String {
    let mut note = Note::new(text).unwrap();
    for signer in signers {
        note.sign(*signer).unwrap();
    }
    note.encode()
}

fn parse(note: &str) -> Result<Note, NoteError> {
    Note::parse(note.as_bytes(), Limits::default())
}

fn open(note: &str, verifiers: &[&dyn Verifier]) -> Result<Vec<Verified>, NoteError> {
    parse(note)?.open(verifiers)
}

/// Made once with golang.org/x/mod/sumdb/note: its key, its encoding of it, its signature.
#[test]
fn a_note_that_go_signed() {
    let text = "A text,\n\nwith an empty line.\n";
    let signed = format!(
        "{text}\n\u{2014} example.org/log yUz+FLbIB0KTQEpNnBiAhqDjh9qnxn13ymanbksxhNDZ1p0Em4CPKuDwI86sAcAT34X/sKaAKX3+2uAU3h9MCUgy1AE=\n"
    );
    let private =
        "PRIVATE+KEY+example.org/log+c94cfe14+Adlq5woHr8QZjxnGP1B40mIJCSQFwXtyrvWD5i5vzU6v";
    let vkey = "example.org/log+c94cfe14+AU+Zs1SN2vMmSc6eL0llbwW7412O9CPqdOTrbyvrTiWD";
    let key = Ed25519Verifier::parse(vkey).unwrap();
    let parsed = parse(&signed).unwrap();
    assert_eq!(parsed.text(), text);
    let by_it = Verified {
        verifier: 0,
        signature: 0,
    };
    assert_eq!(parsed.open(&[&key]), Ok(vec![by_it]));
    assert_eq!(parsed.encode(), signed);
    let signer = Ed25519Signer::parse(private).unwrap();
    assert_eq!(signer.private_key(), private);
    assert_eq!(signer.vkey(), vkey);
    assert_eq!(note(text, &[&signer]), signed);
}

#[test]
fn who_signed_is_said() {
    let (a, b, c) = (signer("a", 1), signer("b", 2), signer("c", 3));
    let signed = note("text\n", &[&a, &b, &c]);
    let (va, vb, vc) = (a.verifier(), b.verifier(), c.verifier());
    let at = |verifier, signature| Verified {
        verifier,
        signature,
    };
    assert_eq!(open(&signed, &[&vb]), Ok(vec![at(0, 1)]));
    assert_eq!(open(&signed, &[&vc, &va]), Ok(vec![at(1, 0), at(0, 2)]));
    assert_eq!(open(&signed, &[]), Err(NoteError::NotSigned));
    assert_eq!(
        open(&signed, &[&verifier("d", 1)]),
        Err(NoteError::NotSigned)
    );
    // The same name with another key, and the same key under another name, are other keys.
    assert_eq!(
        open(&signed, &[&verifier("a", 9)]),
        Err(NoteError::NotSigned)
    );
    assert!(matches!(
        open(&signed, &[&va, &va]),
        Err(NoteError::Ambiguous(_))
    ));
}

#[test]
fn one_wrong_signature_by_a_known_key_spoils_the_note() {
    let (a, b) = (signer("a", 1), signer("b", 2));
    let (va, vb) = (a.verifier(), b.verifier());
    let mut wrong = parse(&note("text\n", &[&a])).unwrap();
    let other = parse(&note("other\n", &[&b])).unwrap();
    wrong.add(other.signatures()[0].clone());
    assert!(wrong.open(&[&va]).is_ok());
    assert!(
        matches!(wrong.open(&[&va, &vb]), Err(NoteError::BadSignature(key)) if key.name == "b")
    );
    // A right one beside it makes no difference.
    wrong.sign(&b).unwrap();
    assert_eq!(wrong.signatures().len(), 3);
    assert!(matches!(
        wrong.open(&[&va, &vb]),
        Err(NoteError::BadSignature(_))
    ));
    // Someone else's signature under a known key's name and id.
    let mut forged = parse(&note("text\n", &[&a])).unwrap();
    let mut signature = forged.signatures()[0].clone();
    signature.name = "b".to_owned();
    signature.key_id = vb.key_id();
    forged.add(signature);
    assert!(matches!(
        forged.open(&[&va, &vb]),
        Err(NoteError::BadSignature(_))
    ));
}

#[test]
fn what_a_text_may_be() {
    let a = signer("a", 1);
    for text in [
        "\n",
        "\n\n",
        "a\n",
        "a\n\nb\n",
        "a\n\n\n\n",
        "\u{2014} a AAAAAAA=\n",
        "\u{2014} a AAAAAAA=\n\n",
        "è subito sera\u{7f}\u{85}\n",
    ] {
        let signed = note(text, &[&a]);
        let parsed = parse(&signed).unwrap();
        assert_eq!(parsed.text(), text);
        assert_eq!(parsed.encode(), signed);
        parsed.open(&[&a.verifier()]).unwrap();
    }
    for (text, error) in [
        ("", NoteError::Text),
        ("a", NoteError::Text),
        ("a\nb", NoteError::Text),
        ("a\r\n", NoteError::Characters),
        ("a\tb\n", NoteError::Characters),
        ("a\0\n", NoteError::Characters),
        ("a\u{1b}[0m\n", NoteError::Characters),
    ] {
        assert_eq!(Note::new(text).unwrap_err(), error, "{text:?}");
    }
}

#[test]
fn what_is_no_note() {
    let good = "\u{2014} a AAAAAAA=\n";
    for (bad, error) in [
        (String::new(), NoteError::NoSignatures),
        ("\n".into(), NoteError::NoSignatures),
        ("text\n".into(), NoteError::NoSignatures),
        ("text\n\n".into(), NoteError::NoSignatures),
        (format!("text\n{good}"), NoteError::NoSignatures),
        (format!("\n{good}"), NoteError::NoSignatures),
        (format!("text\n\n{good}\n"), NoteError::NoSignatures),
        (format!("text\n\n{good}x"), NoteError::NoSignatures),
        (
            format!("text\n\n{}", good.trim_end()),
            NoteError::NoSignatures,
        ),
        (format!("text\n\n{good}text\n"), NoteError::SignatureLine(2)),
        ("text\n\n- a AAAAAAA=\n".into(), NoteError::SignatureLine(1)),
        (
            "text\n\n\u{2013} a AAAAAAA=\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014}a AAAAAAA=\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014}  AAAAAAA=\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n \u{2014} a AAAAAAA=\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} a  AAAAAAA=\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} a AAAAAAA= \n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} a b AAAAAAA=\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} a+b AAAAAAA=\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} a\u{a0}b AAAAAAA=\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} a AAAAAA==\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} a AAAAAAB=\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} a AAAAAAA\n".into(),
            NoteError::SignatureLine(1),
        ),
        (
            "text\n\n\u{2014} a AAA-_AA=\n".into(),
            NoteError::SignatureLine(1),
        ),
        ("text\n\n\u{2014} a \n".into(), NoteError::SignatureLine(1)),
        (
            "te\txt\n\n\u{2014} a AAAAAAA=\n".into(),
            NoteError::Characters,
        ),
        (
            "text\n\n\u{2014} a AAAAAAA=\r\n".into(),
            NoteError::Characters,
        ),
    ] {
        assert_eq!(parse(&bad), Err(error), "{bad:?}");
    }
    parse(&format!("text\n\n{good}")).unwrap();
    let latin = b"t\xe9xt\n\n\xe2\x80\x94 a AAAAAAA=\n";
    assert_eq!(
        Note::parse(latin, Limits::default()),
        Err(NoteError::Characters)
    );
}

#[test]
fn a_note_is_read_up_to_its_limits() {
    let limits = Limits {
        bytes: 100,
        signatures: 2,
    };
    let lines = |n: usize| "\u{2014} a AAAAAAA=\n".repeat(n);
    Note::parse(format!("t\n\n{}", lines(2)).as_bytes(), limits).unwrap();
    assert_eq!(
        Note::parse(format!("t\n\n{}", lines(3)).as_bytes(), limits),
        Err(NoteError::TooManySignatures(2))
    );
    let long = format!("{}\n\n{}", "t".repeat(100), lines(1));
    assert_eq!(
        Note::parse(long.as_bytes(), limits),
        Err(NoteError::TooLong(long.len()))
    );
    let most = format!("t\n\n{}", lines(MAX_SIGNATURES));
    assert_eq!(parse(&most).unwrap().signatures().len(), MAX_SIGNATURES);
    assert!(parse(&format!("{most}{}", lines(1))).is_err());
}

#[test]
fn a_name_that_no_line_can_carry_does_not_sign() {
    struct Odd(&'static str, &'static [u8]);
    impl Signer for Odd {
        fn name(&self) -> &str {
            self.0
        }
        fn key_id(&self) -> u32 {
            7
        }
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SignError> {
            Ok(self.1.to_vec())
        }
    }
    let mut note = Note::new("text\n").unwrap();
    for name in ["", "a b", "a+b", "a\nb"] {
        assert!(matches!(
            note.sign(&Odd(name, b"x")),
            Err(SignError::Name(_))
        ));
    }
    assert!(matches!(
        note.sign(&Odd("a", b"")),
        Err(SignError::Key { .. })
    ));
    assert!(note.signatures().is_empty());
}

#[test]
fn whatever_is_read_is_written_the_same() {
    let (a, b) = (signer("a.example/log", 1), signer("b", 2));
    let signed = note("one\n\ntwo\n", &[&a, &b]);
    let (va, vb) = (a.verifier(), b.verifier());
    let mut random = Random::new(6);
    let mut read = 0;
    for _ in 0..15_000 {
        let bytes = random.mutated(signed.as_bytes());
        let Ok(note) = Note::parse(&bytes, Limits::default()) else {
            continue;
        };
        read += 1;
        assert_eq!(note.encode().as_bytes(), bytes);
        if note.open(&[&va, &vb]).is_ok() {
            assert_eq!(note.text(), "one\n\ntwo\n");
        }
    }
    assert!(read > 30, "{read}");
    for _ in 0..5_000 {
        let length = random.below(200);
        let _ = Note::parse(&random.bytes(length), Limits::default());
    }
}
