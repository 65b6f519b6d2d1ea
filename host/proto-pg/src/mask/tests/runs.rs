//! Runs of rows, and columns in which only the host's detectors look.

use super::*;
use crate::mask::RunOf;

fn detect() -> Vec<MaskAction> {
    vec![MaskAction::Detect(vec!["email".into(), "pan".into()])]
}

/// A number, a text that is searched, a JSON document that is searched.
fn detecting() -> RowMask {
    RowMask::build(
        &[field(INT4, 0), field(TEXT, 0), field(JSONB, 0)],
        &[Taint::Clean, Taint::Clean, Taint::Clean],
        &plan(vec![vec![], detect(), detect()]),
        &keys(),
    )
}

fn through(mask: &RowMask, run: &[u8], of: RunOf) -> Result<(usize, BytesMut), MaskError> {
    let mut out = BytesMut::from(&b"before"[..]);
    let rows = mask.apply_run(run, &of, &mut out)?;
    assert_eq!(&out.split_to(6)[..], b"before");
    Ok((rows, out))
}

#[test]
fn where_nothing_is_found_a_run_stays_as_it_is() {
    let mask = detecting();
    assert!(!mask.is_pass() && !mask.wants_batch());
    let run: Vec<u8> = [
        framed(&row(&[Some(b"1"), Some(b"nothing"), None])),
        framed(&row(&[None, None, Some(b"{\"a\": 12}")])),
        framed(&row(&[Some(b"4111111111111111"), Some(b""), None])),
    ]
    .concat();
    let (rows, out) = through(&mask, &run, RunOf::Rows).unwrap();
    assert_eq!((rows, &out[..]), (3, &run[..]));
    let (rows, out) = through(&mask, b"", RunOf::Rows).unwrap();
    assert_eq!((rows, out.len()), (0, 0));
}

/// Wherever the row with a finding stands, the others stay and it does not.
#[test]
fn a_finding_changes_its_row_alone() {
    let mask = detecting();
    let plain = || framed(&row(&[Some(b"1"), Some(b"plain"), None]));
    let found = framed(&row(&[Some(b"1"), Some(b"to a@b.co"), None]));
    let masked = framed(&row(&[Some(b"1"), Some(b"to [email]"), None]));
    for place in 0..5 {
        let with = |other: &Bytes| -> Vec<u8> {
            let rows = (0..5).map(|i| if i == place { other.clone() } else { plain() });
            rows.collect::<Vec<_>>().concat()
        };
        let (rows, out) = through(&mask, &with(&found), RunOf::Rows).unwrap();
        assert_eq!((rows, &out[..]), (5, &with(&masked)[..]), "at {place}");
    }
}

/// The way of runs and the way of single rows agree, whatever the columns are.
#[test]
fn runs_are_rows() {
    let values: &[Option<&[u8]>] = &[
        None,
        Some(b""),
        Some(b"plain"),
        Some(b"to a@b.co"),
        Some(b"4111111111111111"),
        Some(b"{\"a\": 4111111111111111}"),
        Some(b"{\"a\": \"a@b.co\"}"),
        Some(b"\0\0\0\x01a@b.co"),
        Some(b"\x01{}"),
    ];
    let hide = || vec![MaskAction::KeepLast(4)];
    for (oid, format) in [
        (TEXT, 0),
        (JSONB, 0),
        (JSONB, 1),
        (1009, 1),
        (UUID, 0),
        (INT4, 1),
    ] {
        for other in [vec![], detect(), hide()] {
            let mask = RowMask::build(
                &[field(oid, format), field(TEXT, 0)],
                &[Taint::Clean, Taint::Clean],
                &plan(vec![detect(), other]),
                &keys(),
            );
            let (mut run, mut single) = (Vec::new(), BytesMut::new());
            for a in values {
                for b in values {
                    let body = row(&[*a, *b]);
                    run.extend_from_slice(&framed(&body));
                    mask.apply(&body, &mut single).unwrap();
                }
            }
            let (rows, out) = through(&mask, &run, RunOf::Rows).unwrap();
            assert_eq!(rows, values.len() * values.len());
            assert_eq!(out, single, "{oid} {format}");
        }
    }
}

#[test]
fn lines_of_copy() {
    let mask = detecting();
    let line = |text: &[u8]| {
        let length = u32::try_from(text.len() + 4).unwrap();
        [b"d", &length.to_be_bytes()[..], text].concat()
    };
    let run = [
        line(b"1\tplain\\\\text\\n\t\\N\n"),
        line(b"2\tto\\ta@b.co\t{\"n\": 4111111111111111}\n"),
        line(b"3\t\\N\t[]\n"),
    ]
    .concat();
    let expect = [
        line(b"1\tplain\\\\text\\n\t\\N\n"),
        line(b"2\tto\\t[email]\t{\"n\": null}\n"),
        line(b"3\t\\N\t[]\n"),
    ]
    .concat();
    let (rows, out) = through(&mask, &run, RunOf::Copy(super::copy::TABS)).unwrap();
    assert_eq!((rows, &out[..]), (3, &expect[..]));
    for bad in [&b"1\tx\n"[..], b"1\tx\ty\tz\n", b"1\tx\ty", b"1\tx\ny\tz\n"] {
        assert!(through(&mask, &line(bad), RunOf::Copy(super::copy::TABS)).is_err());
    }
}

/// What is no row is an error, also where nothing would be found in it.
#[test]
fn malformed_runs() {
    let mask = detecting();
    let good = framed(&row(&[Some(b"1"), Some(b"x"), None]));
    let narrow = framed(&row(&[Some(b"1"), Some(b"x")]));
    let behind = framed(&[&row(&[Some(b"1"), Some(b"x"), None])[..], b"!"].concat());
    let short = framed(&row(&[Some(b"1"), Some(b"x"), None])[..12]);
    for bad in [&narrow[..], &behind, &short, &good[..good.len() - 1]] {
        let run = [&good[..], bad].concat();
        assert!(through(&mask, &run, RunOf::Rows).is_err(), "{bad:?}");
    }
}

/// Very large values are judged in parts by the same detectors.
#[test]
fn parts_of_large_values() {
    let mask = RowMask::build(
        &[field(TEXT, 0), field(JSONB, 0)],
        &[Taint::Clean, Taint::Clean],
        &plan(vec![detect(), detect()]),
        &keys(),
    );
    assert!(mask.streams() && mask.looks(0));
    let mut part = vec![b'x'; 1 << 20];
    assert!(!mask.objects(0, &part) && !mask.objects(1, &part));
    part[500_000..500_008].copy_from_slice(b" a@b.co ");
    assert!(mask.objects(0, &part) && mask.objects(1, &part));
}

/// A plugin judges whole values, so nothing that it inspects passes in parts; nor does what is hidden.
#[test]
fn what_plugins_inspect_is_no_stream() {
    for (action, streams) in [
        (MaskAction::Pass, true),
        (MaskAction::Detect(vec!["pan".into()]), true),
        (MaskAction::Inspect, false),
        (MaskAction::KeepLast(4), false),
        (MaskAction::Null, false),
    ] {
        for actions in [
            vec![action.clone()],
            [detect(), vec![action.clone()]].concat(),
        ] {
            let mask = RowMask::build(
                &[field(TEXT, 0)],
                &[Taint::Clean],
                &plan(vec![actions]),
                &keys(),
            );
            assert_eq!(mask.streams(), streams, "{action:?}");
        }
    }
}
