//! Policies as the specification has them, and what it does not allow.

use super::*;
use crate::checkpoint::sign_checkpoint;
use crate::keys::{CosignatureSigner, Ed25519Signer};
use crate::testing::{Random, grow};

const ORIGIN: &str = "example.com/log";

fn log(n: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN, &[n; 32]).unwrap()
}

fn witness(n: u8) -> CosignatureSigner {
    CosignatureSigner::from_seed(&format!("w{n}.example"), &[100 + n; 32], 1_700_000_000).unwrap()
}

/// The example of the specification, with keys.
fn example() -> String {
    let mut policy = format!("# logs\nlog {}\n\n", log(1).vkey());
    for (n, name) in (0..).zip(["X1", "X2", "X3", "Y1", "Y2", "Y3"]) {
        policy.push_str(&format!("witness {name} {}\n", witness(n).vkey()));
    }
    policy.push_str("group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n");
    policy.push_str("group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n");
    policy
}

fn checkpoint(by: &[u8]) -> String {
    let checkpoint = Checkpoint {
        origin: ORIGIN.into(),
        size: 9,
        root: grow(9).0.root(),
        extensions: Vec::new(),
    };
    let signed = sign_checkpoint(&checkpoint, &log(1)).unwrap();
    let mut note = Note::parse(signed.as_bytes(), Limits::default()).unwrap();
    for n in by {
        note.sign(&witness(*n)).unwrap();
    }
    note.encode()
}

#[test]
fn the_example_of_the_specification() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!(policy.logs().len(), 1);
    assert_eq!(policy.witnesses()[3].name, b"Y1");
    for set in 0..64usize {
        let by: Vec<usize> = (0..6).filter(|n| set >> n & 1 == 1).collect();
        let (x, y) = (set & 7, set >> 3);
        let reached = x.count_ones() >= 2 && y.count_ones() >= 1;
        assert_eq!(policy.is_quorum(&by), reached, "{by:?}");
        let by: Vec<u8> = by.into_iter().map(|n| n as u8).collect();
        let opened = policy.open(checkpoint(&by).as_bytes());
        match reached {
            true => assert_eq!(opened.unwrap().witnesses.len(), by.len()),
            false => assert!(matches!(opened, Err(PolicyError::Quorum))),
        }
    }
    assert!(!policy.is_quorum(&[0, 0, 0, 3]));
    assert!(!policy.is_quorum(&[6, 7, 99]));
}

#[test]
fn other_quorums() {
    let head = example();
    let head = head.split("group").next().unwrap();
    for (quorum, by, reached) in [
        ("quorum none\n", vec![], true),
        ("quorum X2\n", vec![1], true),
        ("quorum X2\n", vec![0, 2, 3, 4, 5], false),
        ("group g 1 X1\nquorum g\n", vec![0], true),
        ("group all all X1 X2\nquorum all\n", vec![0], false),
        ("group all all X1 X2\nquorum all\n", vec![0, 1], true),
        (
            "group 2 any X1 X2\ngroup any 2 2 X3\nquorum any\n",
            vec![1, 2],
            true,
        ),
        (
            "group 2 any X1 X2\ngroup any 2 2 X3\nquorum any\n",
            vec![0, 1],
            false,
        ),
        // A quorum can be of something that is in a group as well.
        ("group g any X1 X2\nquorum X1\n", vec![1], false),
    ] {
        let policy = Policy::parse(format!("{head}{quorum}").as_bytes()).unwrap();
        assert_eq!(policy.is_quorum(&by), reached, "{quorum} {by:?}");
    }
}

#[test]
fn spaces_comments_addresses_and_foreign_bytes() {
    let (log, w) = (log(1).vkey(), witness(0).vkey());
    let mut text = b"\n \t \n  # a comment \xff\n#\n\t log ".to_vec();
    text.extend(format!("\t{log}  https://log.example/x \n").bytes());
    text.extend(b"witness \xe2\x84\xaa ");
    text.extend(format!("{w} \t https://w.example/").bytes());
    text.extend(b"\xe9\n");
    text.extend(b"quorum \xe2\x84\xaa\n");
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(
        policy.logs()[0].url.as_deref(),
        Some(&b"https://log.example/x"[..])
    );
    assert_eq!(policy.witnesses()[0].name, "\u{212a}".as_bytes());
    assert!(policy.witnesses()[0].url.is_some());
    assert!(policy.is_quorum(&[0]) && !policy.is_quorum(&[]));
    // The same letter, spelled otherwise, is another name.
    let other = String::from_utf8_lossy(&text).replace("quorum \u{212a}", "quorum K");
    assert!(Policy::parse(other.as_bytes()).is_err());
}

#[test]
fn what_is_no_policy() {
    let (l, l2) = (log(1).vkey(), log(2).vkey());
    let (w, w2) = (witness(0).vkey(), witness(1).vkey());
    let renamed = Ed25519Signer::from_seed("other", &[1; 32]).unwrap().vkey();
    let renamed_witness = CosignatureSigner::from_seed("other", &[100; 32], 0)
        .unwrap()
        .vkey();
    for (bad, line) in [
        (String::new(), 0),
        ("\n".into(), 0),
        (format!("log {l}\n"), 0),
        ("quorum none".into(), 0),
        ("Quorum none\n".into(), 1),
        ("quorum\n".into(), 1),
        ("quorum none none\n".into(), 1),
        ("quorum none # comment\n".into(), 1),
        ("quorum none\nquorum none\n".into(), 2),
        ("quorum w\n".into(), 1),
        (format!("quorum w\nwitness w {w}\n"), 1),
        ("quorum none\r\n".into(), 1),
        ("quorum\u{b}none\n".into(), 1),
        ("# \0\nquorum none\n".into(), 1),
        ("# \u{7f}\nquorum none\n".into(), 1),
        ("quorum\u{a0}none\n".into(), 1),
        ("\u{feff}quorum none\n".into(), 1),
        ("log\nquorum none\n".into(), 1),
        ("log x\nquorum none\n".into(), 1),
        (format!("log {w}\nquorum none\n"), 1),
        (format!("log {l} a b\nquorum none\n"), 1),
        (format!("log {l}\nlog {l}\nquorum none\n"), 2),
        (format!("log {l}\nlog {renamed}\nquorum none\n"), 2),
        (format!("witness w {l}\nquorum none\n"), 1),
        (format!("witness {w}\nquorum none\n"), 1),
        (format!("witness w {w} u v\nquorum none\n"), 1),
        (format!("witness none {w}\nquorum none\n"), 1),
        (format!("witness w {w}\nwitness w {w2}\nquorum none\n"), 2),
        (format!("witness w {w}\nwitness v {w}\nquorum none\n"), 2),
        (
            format!("witness w {w}\nwitness v {renamed_witness}\nquorum none\n"),
            2,
        ),
        (format!("witness w {w}\ngroup w any w\nquorum w\n"), 2),
        (format!("witness w {w}\ngroup none any w\nquorum w\n"), 2),
        (format!("witness w {w}\ngroup g any g\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g any none\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g any x\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g any\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g all\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g 0 w\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g 2 w\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g 01 w\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g +1 w\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g -1 w\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g ALL w\nquorum g\n"), 2),
        (format!("witness w {w}\ngroup g 2 w w\nquorum g\n"), 2),
        (
            format!("witness w {w}\ngroup g 1 w\ngroup h 1 w\nquorum h\n"),
            3,
        ),
    ] {
        match Policy::parse(bad.as_bytes()) {
            Err(PolicyError::Line { line: found, .. }) => assert_eq!(found, line, "{bad}"),
            Err(_) => assert_eq!(line, 0, "{bad}"),
            Ok(_) => panic!("{bad}"),
        }
    }
    Policy::parse(format!("log {l}\nlog {l2}\nquorum none\n").as_bytes()).unwrap();
}

#[test]
fn a_policy_is_read_up_to_its_limits() {
    let witnesses = |n: u8| {
        let line = |n| format!("witness w{n} {}\n", witness(n).vkey());
        (0..n).map(line).collect::<String>() + "quorum none\n"
    };
    Policy::parse(witnesses(64).as_bytes()).unwrap();
    let error = Policy::parse(witnesses(65).as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 65: more lines of this kind than allowed"
    );
    let long = format!("quorum none\n#{}\n", " ".repeat(MAX_POLICY));
    assert!(matches!(
        Policy::parse(long.as_bytes()),
        Err(PolicyError::TooLong(_))
    ));
}

#[test]
fn a_checkpoint_must_be_of_a_log_of_the_policy() {
    let signed = checkpoint(&[0]);
    let other = Policy::parse(format!("log {}\nquorum none\n", log(2).vkey()).as_bytes()).unwrap();
    assert!(matches!(
        other.open(signed.as_bytes()),
        Err(PolicyError::Checkpoint(_))
    ));
    let elsewhere = Ed25519Signer::from_seed("elsewhere", &[1; 32]).unwrap();
    let policy = format!("log {}\nquorum none\n", elsewhere.vkey());
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    assert!(matches!(
        policy.open(signed.as_bytes()),
        Err(PolicyError::UnknownLog(_))
    ));
    // One of several keys is enough, and a log can be known from elsewhere.
    let both = format!(
        "log {}\nlog {}\nquorum none\n",
        log(2).vkey(),
        log(1).vkey()
    );
    let both = Policy::parse(both.as_bytes()).unwrap();
    assert_eq!(both.open(signed.as_bytes()).unwrap().checkpoint.size, 9);
    let key = log(1).verifier();
    let opened = other.open_of(signed.as_bytes(), ORIGIN, &[&key]).unwrap();
    assert_eq!(opened.note.encode(), signed);
    assert!(other.open_of(signed.as_bytes(), "other", &[&key]).is_err());
    assert!(other.open_of(signed.as_bytes(), ORIGIN, &[]).is_err());
}

/// Two logs of one origin may be listed; a key of another log of the policy says nothing about this one.
#[test]
fn a_log_does_not_sign_for_another() {
    let other = Ed25519Signer::from_seed("other.example", &[3; 32]).unwrap();
    let policy = format!("log {}\nlog {}\nquorum none\n", log(1).vkey(), other.vkey());
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let mut note = Note::parse(checkpoint(&[]).as_bytes(), Limits::default()).unwrap();
    let text = note.text().to_owned();
    note = Note::new(text).unwrap();
    note.sign(&other).unwrap();
    assert!(policy.open(note.encode().as_bytes()).is_err());
}

#[test]
fn random_changes_do_no_harm() {
    let good = example();
    let mut random = Random::new(9);
    for _ in 0..5_000 {
        let bytes = random.mutated(good.as_bytes());
        if let Ok(policy) = Policy::parse(&bytes) {
            policy.is_quorum(&[0, 1, 2]);
        }
    }
}
