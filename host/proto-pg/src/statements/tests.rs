//! The queue of expected replies against scripts of messages, without a server.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::*;
use crate::wire::encode;

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode::frame(&mut out, tag, |b| b.extend_from_slice(body));
    out.to_vec()
}

fn refused() -> Refused {
    Refused::new("42501", "no")
}

/// Feeds replies, each a tag and a body; the error of the first one that is not explained.
fn replies(flow: &mut Flow, messages: &[(u8, &[u8])]) -> Result<(), Violation> {
    let mut done = Vec::new();
    for (tag, body) in messages {
        flow.reply(&frame(*tag, body), &mut done)?;
    }
    Ok(())
}

const ERROR: (u8, &[u8]) = (b'E', b"SERROR\0C42601\0Mx\0\0");
const IDLE: (u8, &[u8]) = (b'Z', b"I");
const ROW: (u8, &[u8]) = (b'D', b"\0\0");

#[test]
fn nothing_comes_unasked() {
    for message in [
        (b'1', &b""[..]),
        (b'2', b""),
        (b'3', b""),
        (b'C', b"SELECT 1\0"),
        ROW,
        (b'T', b"\0\0"),
        (b'n', b""),
        (b't', b"\0\0"),
        (b's', b""),
        (b'I', b""),
        (b'G', b"\0\0\0"),
        (b'H', b"\0\0\0"),
        (b'W', b"\0\0\0"),
        (b'd', b"x"),
        (b'c', b""),
        (b'V', b"\xff\xff\xff\xff"),
        (b'K', b"\0\0\0\0\0\0\0\0"),
        (b'R', b"\0\0\0\0"),
        (b'v', b"\0\0\0\0\0\0\0\0"),
        (b'?', b""),
        IDLE,
        ERROR,
    ] {
        let mut flow = Flow::new();
        assert!(replies(&mut flow, &[message]).is_err(), "{message:?}");
        // Nor while only a Sync is under way.
        if !matches!(message.0, b'Z' | b'E') {
            let mut flow = Flow::new();
            flow.sent_sync();
            assert!(replies(&mut flow, &[message]).is_err(), "{message:?}");
        }
    }
    // Parameters, notices and notifications come at any time.
    let mut flow = Flow::new();
    let any = [
        (b'S', &b"a\0b\0"[..]),
        (b'N', b"SNOTICE\0\0"),
        (b'A', b"\0\0\0\0c\0p\0"),
    ];
    assert!(replies(&mut flow, &any).is_ok());
}

#[test]
fn what_was_refused_must_fail() {
    let script: [fn(&mut Flow); 4] = [
        |f| f.sent_query(Run::refused(refused()), &Forgets::default()),
        |f| f.sent_refused_parse(Bytes::from_static(b"s"), refused()),
        |f| f.sent_refused_bind(refused()),
        |f| f.sent_execute(Run::refused(refused()), &Forgets::default()),
    ];
    let ran: [&[(u8, &[u8])]; 4] = [
        &[(b'C', b"SELECT 1\0")],
        &[(b'1', b"")],
        &[(b'2', b"")],
        &[(b'C', b"SELECT 1\0")],
    ];
    for (sent, bad) in script.into_iter().zip(ran) {
        let mut flow = Flow::new();
        sent(&mut flow);
        assert_eq!(replies(&mut flow, bad), Err(Violation::RanRefused));
    }
    for more in [ROW, (b'T', b"\0\0"), IDLE, (b'I', b"")] {
        let mut flow = Flow::new();
        flow.sent_query(Run::refused(refused()), &Forgets::default());
        assert!(replies(&mut flow, &[more]).is_err(), "{more:?}");
    }
    // As it should be: its own words in place of the server's.
    let mut flow = Flow::new();
    flow.sent_query(Run::refused(refused()), &Forgets::default());
    let mut done = Vec::new();
    let Ok(Effect::Report { manner, .. }) = flow.reply(&frame(ERROR.0, ERROR.1), &mut done) else {
        panic!("an error is expected");
    };
    assert_eq!(manner, Manner::Instead(refused()));
    assert!(replies(&mut flow, &[IDLE]).is_ok());
    assert!(flow.is_quiescent());
}

#[test]
fn an_error_skips_to_sync() {
    let mut flow = Flow::new();
    flow.sent_refused_parse(Bytes::new(), refused());
    flow.sent_describe(Described::Unknown, false, false);
    flow.sent_close(None, Some(Bytes::from_static(b"p")));
    assert!(flow.is_open_batch());
    assert!(replies(&mut flow, &[ERROR]).is_ok());
    assert!(flow.is_skipping() && flow.is_drained() && !flow.is_quiescent());
    flow.sent_sync();
    assert!(!flow.is_skipping());
    assert!(replies(&mut flow, &[IDLE]).is_ok());
    assert!(flow.is_quiescent());

    // A Sync that is already on its way ends the skipping.
    flow.sent_refused_bind(refused());
    flow.sent_describe(Described::Unknown, false, false);
    flow.sent_sync();
    flow.sent_describe(Described::Unknown, false, false);
    assert!(replies(&mut flow, &[ERROR]).is_ok());
    assert!(!flow.is_skipping());
    assert!(replies(&mut flow, &[IDLE, (b'n', b"")]).is_ok());
}

fn manner(flow: &mut Flow, message: (u8, &[u8])) -> Manner {
    match flow.reply(&frame(message.0, message.1), &mut Vec::new()) {
        Ok(Effect::Report { manner, .. } | Effect::Late { manner, .. }) => manner,
        _ => panic!("a report is expected"),
    }
}

/// A client that sends much at once, on a slow server or to a quick one, is told the same.
#[test]
fn what_is_sent_later_changes_no_earlier_report() {
    let hiding = |flow: &mut Flow| flow.sent_describe(Described::Unknown, false, true);
    let plain = |flow: &mut Flow| flow.sent_describe(Described::Unknown, false, false);
    for early in [true, false] {
        let mut flow = Flow::new();
        plain(&mut flow);
        if early {
            hiding(&mut flow);
            flow.sent_sync();
        }
        assert_eq!(
            manner(&mut flow, ERROR),
            Manner::AsIs,
            "sent early: {early}"
        );
        if !early {
            flow.sent_sync();
        }
        // The server never came to it.
        let failed = (b'Z', &b"E"[..]);
        assert!(replies(&mut flow, &[failed]).is_ok());
        plain(&mut flow);
        assert_eq!(
            manner(&mut flow, ERROR),
            Manner::AsIs,
            "sent early: {early}"
        );
    }
}

/// What was answered counts until its transaction ends, and what is under way for itself.
#[test]
fn what_hides_counts_from_its_turn_to_the_end_of_its_transaction() {
    let hiding = |flow: &mut Flow| flow.sent_describe(Described::Unknown, false, true);
    let plain = |flow: &mut Flow| flow.sent_describe(Described::Unknown, false, false);
    const NOTICE: (u8, &[u8]) = (b'N', b"SNOTICE\0C00000\0Mx\0\0");
    const OPTION: (u8, &[u8]) = (b'S', b"application_name\0x\0");
    let shows = |flow: &mut Flow| {
        let effect = flow.reply(&frame(OPTION.0, OPTION.1), &mut Vec::new());
        matches!(effect, Ok(Effect::Pass(None)))
    };
    let mut flow = Flow::new();
    plain(&mut flow);
    hiding(&mut flow);
    plain(&mut flow);
    assert_eq!(manner(&mut flow, NOTICE), Manner::AsIs);
    assert!(shows(&mut flow));
    assert!(replies(&mut flow, &[(b'n', b"")]).is_ok());
    assert_eq!(manner(&mut flow, NOTICE), Manner::Redacted);
    assert!(!shows(&mut flow));
    assert!(replies(&mut flow, &[(b'n', b"")]).is_ok());
    assert_eq!(manner(&mut flow, NOTICE), Manner::Redacted);
    flow.sent_sync();
    assert!(replies(&mut flow, &[(b'n', b"")]).is_ok());
    // A deferred constraint.
    assert_eq!(manner(&mut flow, ERROR), Manner::Redacted);
    assert!(replies(&mut flow, &[(b'Z', b"T")]).is_ok());
    plain(&mut flow);
    flow.sent_sync();
    assert_eq!(manner(&mut flow, ERROR), Manner::Redacted);
    assert!(replies(&mut flow, &[IDLE]).is_ok());
    plain(&mut flow);
    assert_eq!(manner(&mut flow, ERROR), Manner::AsIs);

    // It failed itself, and what it touched may be spoken of until the transaction is over.
    let mut flow = Flow::new();
    hiding(&mut flow);
    flow.sent_sync();
    assert_eq!(manner(&mut flow, ERROR), Manner::Redacted);
    assert_eq!(manner(&mut flow, NOTICE), Manner::Redacted);
    assert!(replies(&mut flow, &[IDLE]).is_ok());
    assert_eq!(manner(&mut flow, NOTICE), Manner::AsIs);
}

#[test]
fn a_described_statement_has_parameters_first() {
    let mut flow = Flow::new();
    flow.sent_describe(Described::Unknown, false, false);
    assert!(replies(&mut flow, &[(b't', b"\0\0"), (b't', b"\0\0")]).is_err());
}

#[test]
fn our_own_questions_are_swallowed() {
    let bounds = crate::upstream::Bounds {
        rows: 1,
        bytes: 100,
        time: std::time::Duration::from_secs(1),
    };
    let mut flow = Flow::new();
    let mut answer = flow.sent_own(bounds);
    let mut done = Vec::new();
    for (tag, body) in [
        (b'1', &b""[..]),
        (b'2', b""),
        (b'D', b"\0\x01\0\0\0\x01x"),
        (b'C', b"SELECT 1\0"),
        (b'3', b""),
        (b'3', b""),
        (b'Z', b"T"),
    ] {
        let effect = flow.reply(&frame(tag, body), &mut done).unwrap();
        assert!(matches!(effect, Effect::Swallow), "{tag}");
    }
    assert_eq!(
        answer.try_recv().unwrap().unwrap(),
        [[Some("x".to_owned())]]
    );
    assert_eq!(flow.tx(), crate::wire::backend::TxStatus::InTransaction);
    // More rows than allowed end the session.
    let _answer = flow.sent_own(bounds);
    assert!(replies(&mut flow, &[ROW, ROW]).is_err());
}

#[test]
fn formats_of_a_portal_come_from_bind() {
    let fields: Vec<Field> = (0..3)
        .map(|i| Field {
            name: format!("c{i}"),
            table_oid: 0,
            attnum: 0,
            type_oid: 23,
            type_len: 4,
            type_mod: -1,
            format: 0,
        })
        .collect();
    for (formats, expect) in [
        (vec![], [0, 0, 0]),
        (vec![1], [1, 1, 1]),
        (vec![0, 1, 0], [0, 1, 0]),
    ] {
        let got = in_formats(&fields, &formats);
        let got: Vec<i16> = got.iter().map(|f| f.format).collect();
        assert_eq!(got, expect);
    }
    let _: Arc<[Field]> = in_formats(&fields, &[]);
}
