//! COPY through a mask.

use bytes::BytesMut;
use pipeline::mask::MaskAction;

use super::{INT4, TEXT, exact, field, keys, plan};
use crate::analysis::{CopyStyle, Taint};
use crate::mask::RowMask;

pub(super) const TABS: CopyStyle = CopyStyle::Text {
    delimiter: b'\t',
    header: false,
};

pub(super) fn csv() -> CopyStyle {
    CopyStyle::Csv {
        delimiter: b',',
        quote: b'"',
        escape: b'"',
        null: "".into(),
        header: false,
    }
}

/// What is not masked stays as it is written; what is, is written so that it is read as that.
#[test]
fn copied_in_every_format() {
    let fields = [field(TEXT, 0), field(TEXT, 0), field(INT4, 0)];
    let taints = [Taint::Clean, exact(), Taint::Tainted];
    let hide = vec![vec![], vec![MaskAction::Redact("a,\"|\n'".into())], vec![]];
    let mask = RowMask::build(&fields, &taints, &plan(hide), &keys());
    let pipes = CopyStyle::Text {
        delimiter: b'|',
        header: false,
    };
    let odd = CopyStyle::Csv {
        delimiter: b';',
        quote: b'\'',
        escape: b'\\',
        null: "NULL".into(),
        header: true,
    };
    for (style, body, expect) in [
        (
            &pipes,
            &b"x\\|y\\\\|se|7\n"[..],
            &b"x\\|y\\\\|a,\"\\|\\n'|\\N\n"[..],
        ),
        (&pipes, b"\\N|\\N|\\N\n", b"\\N|\\N|\\N\n"),
        (&csv(), b"x,secret,7\n", b"x,\"a,\"\"|\n'\",\n"),
        (
            &csv(),
            b"\"a \"\"b\"\", c\nd\",\"sec,\"\",ret\",\"7\"\n",
            b"\"a \"\"b\"\", c\nd\",\"a,\"\"|\n'\",\n",
        ),
        // An empty value is quoted, and is none that is not there.
        (&csv(), b"\"\",\"\",7\n", b"\"\",\"a,\"\"|\n'\",\n"),
        (&csv(), b",,\n", b",,\n"),
        (&odd, b"x\\y;NULL;NULL\n", b"x\\y;NULL;NULL\n"),
        (&odd, b"'NULL';'NULL';7\n", b"'NULL';'a,\"|\n\\'';NULL\n"),
        (
            &odd,
            b"'\\'\\\\;';'\\';';7\n",
            b"'\\'\\\\;';'a,\"|\n\\'';NULL\n",
        ),
    ] {
        let mut out = BytesMut::new();
        mask.apply_copy(style, body, &mut out).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&out[5..]),
            String::from_utf8_lossy(expect)
        );
    }
    for bad in [
        &b"a,b,c"[..],
        b"a,b\n",
        b"a,b,c,d\n",
        b"a\nb,c,d\n",
        b"\"a,b,c\n",
        b"\"a\"x,b,c\n",
        b"a\"b\",b,c\n",
        b"",
    ] {
        let mut out = BytesMut::new();
        assert!(mask.apply_copy(&csv(), bad, &mut out).is_err(), "{bad:?}");
        assert!(out.is_empty());
    }
}

#[test]
fn copied_in_binary() {
    let fields = [field(TEXT, 1), field(TEXT, 1), field(INT4, 1)];
    let taints = [Taint::Clean, exact(), Taint::Tainted];
    let hide = vec![vec![], vec![MaskAction::Redact("no".into())], vec![]];
    let mask = RowMask::build(&fields, &taints, &plan(hide), &keys());
    let row = |second: &[u8], third: &[u8]| [&b"\0\x03\0\0\0\x01x"[..], second, third].concat();
    let secret = row(b"\0\0\0\x03ssn", b"\0\0\0\x04\0\0\0\x07");
    let shown = row(b"\0\0\0\x02no", b"\xff\xff\xff\xff");
    let begins = |length: u8| {
        let extra = vec![7; usize::from(length)];
        [&b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0"[..], &[length], &extra].concat()
    };
    for before in [Vec::new(), begins(0), begins(5)] {
        for (body, expect) in [(&secret[..], &shown[..]), (b"\xff\xff", b"\xff\xff")] {
            let mut out = BytesMut::new();
            let body = [&before, body].concat();
            mask.apply_copy(&CopyStyle::Binary, &body, &mut out)
                .unwrap();
            assert_eq!(&out[5..], [&before, expect].concat());
        }
    }
    let cut = begins(200);
    for bad in [&secret[..9], &cut[..40], &begins(0), b"", b"\xff\xff\0"] {
        let mut out = BytesMut::new();
        assert!(mask.apply_copy(&CopyStyle::Binary, bad, &mut out).is_err());
    }
}

#[test]
fn copy_lines() {
    let fields = [field(TEXT, 0), field(TEXT, 0), field(INT4, 0)];
    let taints = [Taint::Clean, exact(), Taint::Tainted];
    let hide = vec![vec![], vec![MaskAction::Redact("a\tb".into())], vec![]];
    let mask = RowMask::build(&fields, &taints, &plan(hide), &keys());
    let mut out = BytesMut::new();
    let tabs = TABS;
    mask.apply_copy(&tabs, b"x\\ty\tsecret\t7\n", &mut out)
        .unwrap();
    assert_eq!(&out[5..], b"x\\ty\ta\\tb\t\\N\n");
    assert_eq!(out[0], b'd');
    assert_eq!(
        u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize + 1,
        out.len()
    );
    out.clear();
    mask.apply_copy(&tabs, b"\\N\t\\N\t\\N\n", &mut out)
        .unwrap();
    assert_eq!(&out[5..], b"\\N\t\\N\t\\N\n");
    for bad in [
        &b"a\tb\tc"[..],
        b"a\tb\n",
        b"a\tb\tc\td\n",
        b"",
        b"a\nb\tc\td\n",
    ] {
        assert!(mask.apply_copy(&tabs, bad, &mut out).is_err());
    }
}
