//! Tests of masked rows.

mod copy;
mod runs;

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use pipeline::Column;
use pipeline::mask::{MaskAction, MaskBatch, MaskEdits, MaskKeys, MaskPlan};

use super::{MaskError, RowMask};
use crate::analysis::{CopyStyle, Field, Taint};

const TEXT: u32 = 25;
const INT4: u32 = 23;
const INT8: u32 = 20;
const JSONB: u32 = 3802;
const UUID: u32 = 2950;

fn field(type_oid: u32, format: i16) -> Field {
    Field {
        name: "c".into(),
        table_oid: 0,
        attnum: 0,
        type_oid,
        type_len: -1,
        type_mod: -1,
        format,
    }
}

fn exact() -> Taint {
    Taint::Exact(Column {
        schema: "public".into(),
        table: "t".into(),
        column: "c".into(),
        labels: [Arc::from("pii")].into(),
    })
}

fn keys() -> MaskKeys {
    MaskKeys::new([("k".to_owned(), vec![1; 32])]).unwrap()
}

fn plan(actions: Vec<Vec<MaskAction>>) -> MaskPlan {
    MaskPlan {
        actions,
        plugins: Vec::new(),
        token: None,
    }
}

/// A DataRow with this body.
fn framed(body: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(b'D');
    frame.put_i32(body.len() as i32 + 4);
    frame.put_slice(body);
    frame.freeze()
}

fn row(values: &[Option<&[u8]>]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(values.len() as u16);
    for value in values {
        match value {
            None => body.put_i32(-1),
            Some(v) => {
                body.put_i32(v.len() as i32);
                body.put_slice(v);
            }
        }
    }
    body.freeze()
}

/// The values of one DataRow frame.
fn values(frame: &[u8]) -> Vec<Option<Vec<u8>>> {
    assert_eq!(frame[0], b'D');
    let length = u32::from_be_bytes(frame[1..5].try_into().unwrap()) as usize;
    assert_eq!(length + 1, frame.len());
    let count = u16::from_be_bytes(frame[5..7].try_into().unwrap());
    let mut at = 7;
    (0..count)
        .map(|_| {
            let length = i32::from_be_bytes(frame[at..at + 4].try_into().unwrap());
            at += 4;
            (length >= 0).then(|| {
                let value = frame[at..at + length as usize].to_vec();
                at += length as usize;
                value
            })
        })
        .collect()
}

fn mask_one(
    type_oid: u32,
    format: i16,
    taint: Taint,
    actions: Vec<MaskAction>,
    value: &[u8],
) -> Option<Vec<u8>> {
    let mask = RowMask::build(
        &[field(type_oid, format)],
        &[taint],
        &plan(vec![actions]),
        &keys(),
    );
    let mut out = BytesMut::new();
    mask.apply(&row(&[Some(value)]), &mut out).unwrap();
    values(&out).remove(0)
}

#[test]
fn types_and_formats() {
    use MaskAction as A;
    let redacted = Some(b"[redacted]".to_vec());
    for (type_oid, format, taint, actions, value, expect) in [
        (TEXT, 0, exact(), vec![], &b"secret"[..], redacted.clone()),
        (TEXT, 1, exact(), vec![A::Pass], b"secret", redacted.clone()),
        (
            TEXT,
            0,
            exact(),
            vec![A::Detect(vec!["email".into()])],
            b"secret",
            redacted.clone(),
        ),
        (
            TEXT,
            0,
            exact(),
            vec![A::KeepLast(2)],
            b"a secret",
            Some(b"******et".to_vec()),
        ),
        (
            TEXT,
            0,
            exact(),
            vec![A::KeepFirst(200)],
            b"a secret",
            Some(b"a ******".to_vec()),
        ),
        (
            TEXT,
            0,
            Taint::Tainted,
            vec![A::KeepLast(2)],
            b"secret",
            None,
        ),
        (
            TEXT,
            0,
            Taint::Clean,
            vec![],
            b"open",
            Some(b"open".to_vec()),
        ),
        (
            TEXT,
            0,
            Taint::Clean,
            vec![A::Redact("x".into())],
            b"open",
            Some(b"x".to_vec()),
        ),
        (INT4, 0, exact(), vec![A::Hash("k".into())], b"42", None),
        (INT4, 1, exact(), vec![], &[0, 0, 0, 42], None),
        (
            INT8,
            1,
            Taint::Clean,
            vec![A::Detect(vec!["pan".into()])],
            &4_111_111_111_111_111i64.to_be_bytes(),
            None,
        ),
        (
            INT8,
            1,
            Taint::Clean,
            vec![A::Detect(vec!["pan".into()])],
            &7i64.to_be_bytes(),
            Some(7i64.to_be_bytes().to_vec()),
        ),
        (
            JSONB,
            0,
            exact(),
            vec![],
            br#"{"a":1}"#,
            Some(br#""[redacted]""#.to_vec()),
        ),
        (
            JSONB,
            1,
            exact(),
            vec![],
            b"\x01{}",
            Some(b"\x01\"[redacted]\"".to_vec()),
        ),
        (
            JSONB,
            0,
            Taint::Clean,
            vec![A::Detect(vec!["email".into()])],
            br#"{"a":"x@y.org"}"#,
            Some(br#"{"a":"[email]"}"#.to_vec()),
        ),
        (
            JSONB,
            0,
            Taint::Clean,
            vec![A::Detect(vec!["pan".into()])],
            br#"{"a":4111111111111111}"#,
            Some(br#"{"a":null}"#.to_vec()),
        ),
        (
            JSONB,
            1,
            Taint::Clean,
            vec![A::Detect(vec!["pan".into()])],
            b"\x01[-4111111111111111]",
            Some(b"\x01[null]".to_vec()),
        ),
        // What is left is no JSON.
        (
            JSONB,
            1,
            Taint::Clean,
            vec![A::Detect(vec!["pan".into()])],
            b"\x01[4111111111111111",
            Some(b"\x01\"[redacted]\"".to_vec()),
        ),
        // A binary array of text still holds the text.
        (
            1009,
            1,
            Taint::Clean,
            vec![A::Detect(vec!["email".into()])],
            b"\0\0\0\x01x@y.org",
            None,
        ),
        (17, 0, exact(), vec![], b"\\x00", None),
    ] {
        let got = mask_one(type_oid, format, taint.clone(), actions.clone(), value);
        assert_eq!(got, expect, "{type_oid} {format} {taint:?} {actions:?}");
    }
}

#[test]
fn uuids_are_the_same_in_both_formats() {
    let text = b"00112233-4455-6677-8899-aabbccddeeff";
    let binary: Vec<u8> = (0..16).map(|i| i * 0x11).collect();
    let hash = || vec![MaskAction::Pseudonym("k".into())];
    let a = mask_one(UUID, 0, exact(), hash(), text).unwrap();
    let b = mask_one(UUID, 1, exact(), hash(), &binary).unwrap();
    assert_eq!(
        String::from_utf8(a).unwrap().replace('-', ""),
        hex::encode(b)
    );
    assert_eq!(mask_one(UUID, 0, exact(), vec![], text), None);
}

#[test]
fn malformed_rows_are_errors_and_leave_nothing() {
    let mask = RowMask::build(
        &[field(TEXT, 0), field(TEXT, 0)],
        &[Taint::Clean, exact()],
        &MaskPlan::pass(2),
        &keys(),
    );
    let good = row(&[Some(b"a"), Some(b"b")]);
    let mut extra = good.to_vec();
    extra.push(0);
    let mut negative = row(&[None, None]).to_vec();
    negative[5] = 0xfe;
    for (body, expect) in [
        (&b""[..], MaskError::Malformed("it has no column count")),
        (
            &good[..good.len() - 1],
            MaskError::Malformed("a value is longer than the row"),
        ),
        (
            &good[..4],
            MaskError::Malformed("it ends before its last value"),
        ),
        (
            &extra,
            MaskError::Malformed("bytes are left behind the last value"),
        ),
        (&negative, MaskError::Malformed("a negative length")),
        (
            &row(&[Some(b"a")]),
            MaskError::Columns {
                expected: 2,
                got: 1,
            },
        ),
    ] {
        let mut out = BytesMut::from(&b"before"[..]);
        let mut batch = MaskBatch::default();
        assert_eq!(mask.apply(body, &mut out), Err(expect.clone()), "{body:?}");
        assert_eq!(&out[..], b"before");
        assert_eq!(mask.collect(body, &mut batch), Err(expect));
    }
}

#[test]
fn a_plan_that_does_not_fit_redacts() {
    let mask = RowMask::build(
        &[field(TEXT, 0)],
        &[Taint::Clean],
        &MaskPlan::pass(2),
        &keys(),
    );
    assert!(!mask.is_pass());
    let mut out = BytesMut::new();
    mask.apply(&row(&[Some(b"a")]), &mut out).unwrap();
    assert_eq!(values(&out), [Some(b"[redacted]".to_vec())]);
}

/// A masker that saw a labelled value could write it into a column that everybody sees.
#[test]
fn labelled_values_travel_to_no_plugin() {
    let actions = vec![
        vec![MaskAction::Inspect],
        vec![MaskAction::Inspect, MaskAction::KeepLast(255)],
        vec![MaskAction::Inspect],
    ];
    let fields = [field(TEXT, 0), field(TEXT, 0), field(TEXT, 0)];
    let taints = [exact(), exact(), Taint::Clean];
    let mask = RowMask::build(&fields, &taints, &plan(actions), &keys());
    let row = row(&[Some(b"secret-1"), Some(b"secret-2"), Some(b"open")]);
    let mut batch = MaskBatch::default();
    mask.collect(&row, &mut batch).unwrap();
    assert_eq!((&*batch.data, &*batch.cols), (&b"open"[..], &[2][..]));
    let mut out = BytesMut::new();
    let edits = MaskEdits {
        indexes: vec![0],
        ends: vec![6],
        data: b"edited".to_vec(),
        nulls: Vec::new(),
    };
    mask.apply_batch(&[framed(&row)], Some(&edits), &mut out)
        .unwrap();
    let expect = [&b"[redacted]"[..], b"******-2", b"edited"];
    assert_eq!(values(&out), expect.map(|v| Some(v.to_vec())));
}

/// Without an edit a row that only plugins look at goes out byte by byte; a failed batch redacts.
#[test]
fn what_no_plugin_edits_stays_as_it_is() {
    let mask = inspecting();
    let rows = [
        row(&[Some(b"one"), Some(b"x"), Some(b"1")]),
        row(&[None, None, None]),
    ];
    let run: Bytes = rows
        .iter()
        .flat_map(|r| framed(r))
        .collect::<Vec<_>>()
        .into();
    let mut out = BytesMut::new();
    let none = MaskEdits::default();
    mask.apply_batch(std::slice::from_ref(&run), Some(&none), &mut out)
        .unwrap();
    assert_eq!(out, run);
    out.clear();
    mask.apply_batch(std::slice::from_ref(&run), None, &mut out)
        .unwrap();
    assert!(!out.windows(3).any(|w| w == b"one"));
    // What is hidden is hidden without any edit, too.
    let actions = vec![vec![MaskAction::Inspect], vec![], vec![]];
    let fields = [field(TEXT, 0), field(TEXT, 0), field(INT4, 0)];
    let taints = [Taint::Clean, exact(), Taint::Clean];
    let mask = RowMask::build(&fields, &taints, &plan(actions), &keys());
    out.clear();
    mask.apply_batch(&[framed(&rows[0])], Some(&none), &mut out)
        .unwrap();
    let expect = [&b"one"[..], b"[redacted]", b"1"];
    assert_eq!(values(&out), expect.map(|v| Some(v.to_vec())));
}

#[test]
fn a_run_that_is_cut_off_is_malformed() {
    let mask = inspecting();
    let whole = framed(&row(&[Some(b"one"), Some(b"x"), Some(b"1")]));
    for cut in 1..whole.len() {
        let mut out = BytesMut::new();
        let cut = whole.slice(..cut);
        let result = mask.apply_batch(&[cut], None, &mut out);
        assert!(matches!(result, Err(MaskError::Malformed(_))));
    }
}

/// Which rows may be passed on before they are there as a whole.
#[test]
fn only_what_hides_nothing_streams() {
    let detect = || vec![MaskAction::Detect(vec!["email".into()])];
    let inspect = || vec![MaskAction::Inspect];
    let hide = || vec![MaskAction::KeepLast(4)];
    for (fields, taints, actions, expect) in [
        (
            [TEXT, INT4],
            [Taint::Clean, Taint::Clean],
            [detect(), vec![]],
            true,
        ),
        (
            [JSONB, TEXT],
            [Taint::Clean, Taint::Clean],
            [detect(), detect()],
            true,
        ),
        (
            [JSONB, TEXT],
            [Taint::Clean, Taint::Clean],
            [inspect(), detect()],
            false,
        ),
        (
            [TEXT, INT4],
            [Taint::Clean, Taint::Clean],
            [hide(), vec![]],
            false,
        ),
        (
            [TEXT, TEXT],
            [Taint::Clean, exact()],
            [detect(), vec![]],
            false,
        ),
        (
            [TEXT, TEXT],
            [Taint::Tainted, Taint::Clean],
            [vec![], vec![]],
            false,
        ),
        // Stars would be no value of this type.
        (
            [UUID, TEXT],
            [Taint::Clean, Taint::Clean],
            [detect(), vec![]],
            false,
        ),
    ] {
        let fields = fields.map(|oid| field(oid, 0));
        let mask = RowMask::build(&fields, &taints, &plan(actions.to_vec()), &keys());
        assert_eq!(mask.streams(), expect, "{fields:?} {taints:?}");
    }
}

fn inspecting() -> RowMask {
    let actions = vec![vec![MaskAction::Inspect], vec![], vec![MaskAction::Inspect]];
    let fields = [field(TEXT, 0), field(TEXT, 0), field(INT4, 0)];
    RowMask::build(
        &fields,
        &[Taint::Clean, Taint::Clean, Taint::Clean],
        &plan(actions),
        &keys(),
    )
}

#[test]
fn batches() {
    let mask = inspecting();
    assert!(mask.wants_batch() && !mask.is_pass());
    let rows = [
        row(&[Some(b"one"), Some(b"x"), Some(b"1")]),
        row(&[None, Some(b"y"), Some(b"2")]),
        row(&[Some(b"three"), None, None]),
    ];
    let mut batch = MaskBatch::default();
    for row in &rows {
        mask.collect(row, &mut batch).unwrap();
    }
    assert_eq!(batch.data, b"one12three");
    assert_eq!(batch.ends, [3, 4, 5, 10]);
    assert_eq!(batch.cols, [0, 2, 2, 0]);
    let apply = |edits: Option<&MaskEdits>| {
        let mut out = BytesMut::new();
        // Two of them in one run, as they come off the wire.
        let runs = [
            [&framed(&rows[0])[..], &framed(&rows[1])].concat().into(),
            framed(&rows[2]),
        ];
        mask.apply_batch(&runs, edits, &mut out).unwrap();
        let mut rows = Vec::new();
        while !out.is_empty() {
            let length = u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize;
            rows.extend(values(&out.split_to(length + 1)));
        }
        let text = |v: Option<Vec<u8>>| {
            v.map(|v| String::from_utf8(v).unwrap())
                .unwrap_or("-".into())
        };
        rows.into_iter().map(text).collect::<Vec<_>>().join(" ")
    };
    let edits = MaskEdits {
        indexes: vec![0, 2],
        ends: vec![1, 2],
        data: b"AB".to_vec(),
        nulls: vec![3],
    };
    // An integer takes no edit but NULL.
    assert_eq!(apply(Some(&edits)), "A x 1 - y - - - -");
    assert_eq!(
        apply(Some(&MaskEdits::default())),
        "one x 1 - y 2 three - -"
    );
    assert_eq!(apply(None), "[redacted] x - - y - [redacted] - -");
    let broken = MaskEdits {
        indexes: vec![0],
        ends: vec![100],
        ..MaskEdits::default()
    };
    assert_eq!(apply(Some(&broken)), "[redacted] x 1 - y 2 three - -");
}

#[test]
fn random_bodies_never_panic() {
    let mask = inspecting();
    let mut state = 7u32;
    for _ in 0..20_000 {
        let length = (state >> 20) % 40;
        let body: Vec<u8> = (0..length)
            .map(|i| {
                state = state
                    .wrapping_mul(1_664_525)
                    .wrapping_add(1_013_904_223 + i);
                [0, 0, 1, 3, 255, 4][(state >> 16) as usize % 6]
            })
            .collect();
        let mut out = BytesMut::new();
        let mut batch = MaskBatch::default();
        let (a, b) = (mask.apply(&body, &mut out), mask.collect(&body, &mut batch));
        assert_eq!(a.is_ok(), b.is_ok());
        for style in [copy::TABS, copy::csv(), CopyStyle::Binary] {
            let mut batch = MaskBatch::default();
            let a = mask.apply_copy(&style, &body, &mut out);
            let b = mask.collect_copy(&style, &body, &mut batch);
            assert_eq!(a.is_ok(), b.is_ok(), "{style:?} {body:?}");
        }
        state = state.wrapping_add(1);
    }
}
