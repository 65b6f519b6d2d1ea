//! Our views against another implementation of the same protocol: what `pgwire` encodes we must
//! read as it was meant, and what we encode it must read.
//!
//! Only well-formed messages: on malformed ones the two differ on purpose.

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::copy::{CopyData, CopyDone, CopyFail};
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Flush, Parse, Sync};
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::simplequery::Query;
use pgwire::messages::terminate::Terminate;
use pgwire::messages::{DecodeContext, Message, PgWireFrontendMessage};

use super::{HEADER, backend, encode, frontend};

const LIMITS: frontend::FrameLimits = frontend::FrameLimits {
    text: 1 << 20,
    data: 1 << 20,
};

/// Cuts one frame with our reader; it must be the whole of `bytes`.
fn cut(bytes: &[u8]) -> (frontend::Tag, &[u8]) {
    let (tag, header) = frontend::header(bytes, LIMITS).unwrap().unwrap();
    assert_eq!(header.len, bytes.len(), "the frame ends where theirs does");
    (tag, &bytes[HEADER..])
}

fn encoded(message: PgWireFrontendMessage) -> BytesMut {
    let mut out = BytesMut::new();
    message.encode(&mut out).unwrap();
    out
}

#[test]
fn what_they_send_as_a_client_we_read() {
    use PgWireFrontendMessage as M;
    use frontend::Tag;

    for sql in ["", "select 1", "select 'é ☃'", &"x".repeat(70_000)] {
        let bytes = encoded(M::Query(Query::new(sql.to_owned())));
        let (tag, body) = cut(&bytes);
        assert_eq!(tag, Tag::Query);
        assert_eq!(frontend::query(body).unwrap(), sql.as_bytes());

        for (name, types) in [(None, vec![]), (Some("s1"), vec![23, 25, 0])] {
            let message = Parse::new(name.map(str::to_owned), sql.to_owned(), types.clone());
            let bytes = encoded(M::Parse(message));
            let (tag, body) = cut(&bytes);
            let ours = frontend::parse(body).unwrap();
            assert_eq!(tag, Tag::Parse);
            assert_eq!(ours.name, name.unwrap_or_default().as_bytes());
            assert_eq!(ours.sql, sql.as_bytes());
            let mut oids = ours.types;
            let mut read = Vec::new();
            while oids.has_remaining() {
                read.push(oids.get_u32());
            }
            assert_eq!(read, types);
        }
    }

    let values = vec![
        None,
        Some(Bytes::from_static(b"")),
        Some(Bytes::from_static(b"a\0b")),
    ];
    for results in [vec![], vec![1], vec![0, 1, 1]] {
        let bind = Bind::new(
            Some("p".into()),
            None,
            vec![0, 1, 0],
            values.clone(),
            results.clone(),
        );
        let bytes = encoded(M::Bind(bind));
        let (tag, body) = cut(&bytes);
        let ours = frontend::bind(body).unwrap();
        assert_eq!(
            (tag, ours.portal, ours.statement),
            (Tag::Bind, &b"p"[..], &b""[..])
        );
        let theirs: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        assert_eq!(ours.params, theirs);
        assert_eq!(ours.result_formats, results);
    }

    let bytes = encoded(M::Execute(Execute::new(Some("p".into()), 7)));
    let (tag, body) = cut(&bytes);
    let ours = frontend::execute(body).unwrap();
    assert_eq!(
        (tag, ours.portal, ours.max_rows),
        (Tag::Execute, &b"p"[..], 7)
    );

    for (kind, expect) in [
        (b'S', frontend::Object::Statement(b"n")),
        (b'P', frontend::Object::Portal(b"n")),
    ] {
        let describe = encoded(M::Describe(Describe::new(kind, Some("n".into()))));
        let close = encoded(M::Close(Close::new(kind, Some("n".into()))));
        for (bytes, tag) in [(describe, Tag::Describe), (close, Tag::Close)] {
            let (got, body) = cut(&bytes);
            assert_eq!((got, frontend::object(body).unwrap()), (tag, expect));
        }
    }

    for (message, tag) in [
        (M::Flush(Flush::new()), Tag::Flush),
        (M::Sync(Sync::new()), Tag::Sync),
        (M::Terminate(Terminate::new()), Tag::Terminate),
        (M::CopyDone(CopyDone::new()), Tag::CopyDone),
        (M::CopyFail(CopyFail::new("why".into())), Tag::CopyFail),
        (
            M::CopyData(CopyData::new(Bytes::from_static(b"row"))),
            Tag::CopyData,
        ),
    ] {
        assert_eq!(cut(&encoded(message)).0, tag);
    }
}

#[test]
fn what_they_send_as_a_server_we_read() {
    let body = |bytes: BytesMut| {
        let header = super::header(&bytes).unwrap().unwrap();
        assert_eq!(header.len, bytes.len());
        bytes[HEADER..].to_vec()
    };
    let mut out = BytesMut::new();
    let fields = vec![
        FieldDescription::new("a".into(), 16_385, 2, 25, -1, -1, 0),
        FieldDescription::new("é".into(), 0, 0, 23, 4, -1, 1),
    ];
    RowDescription::new(fields).encode(&mut out).unwrap();
    let ours = backend::row_description(&body(out)).unwrap();
    assert_eq!(ours.len(), 2);
    assert_eq!(
        (ours[0].name.as_str(), ours[0].table_oid, ours[0].attnum),
        ("a", 16_385, 2)
    );
    assert_eq!(
        (ours[1].name.as_str(), ours[1].type_oid, ours[1].format),
        ("é", 23, 1)
    );

    let mut values = BytesMut::new();
    for value in [Some("one"), None, Some("")] {
        match value {
            None => values.extend_from_slice(&(-1i32).to_be_bytes()),
            Some(text) => {
                values.extend_from_slice(&i32::try_from(text.len()).unwrap().to_be_bytes());
                values.extend_from_slice(text.as_bytes());
            }
        }
    }
    let mut out = BytesMut::new();
    DataRow::new(values, 3).encode(&mut out).unwrap();
    let row = body(out);
    let ours = backend::data_row(&row).unwrap();
    assert_eq!(ours, [Some(&b"one"[..]), None, Some(&b""[..])]);

    let mut out = BytesMut::new();
    CommandComplete::new("SELECT 3".into())
        .encode(&mut out)
        .unwrap();
    assert_eq!(backend::command(&body(out)).unwrap(), b"SELECT 3");

    for (theirs, ours) in [
        (TransactionStatus::Idle, backend::TxStatus::Idle),
        (
            TransactionStatus::Transaction,
            backend::TxStatus::InTransaction,
        ),
        (TransactionStatus::Error, backend::TxStatus::Failed),
    ] {
        let mut out = BytesMut::new();
        ReadyForQuery::new(theirs).encode(&mut out).unwrap();
        assert_eq!(backend::ready(&body(out)).unwrap(), ours);
    }

    let mut out = BytesMut::new();
    let fields = vec![(b'S', "ERROR".to_owned()), (b'C', "42501".to_owned())];
    ErrorResponse::new(fields).encode(&mut out).unwrap();
    let report = body(out);
    assert_eq!(backend::report(&report).unwrap().sqlstate(), "42501");
}

#[test]
fn what_we_send_they_read() {
    let mut out = BytesMut::new();
    encode::ready(&mut out, backend::TxStatus::Failed);
    let read = ReadyForQuery::decode(&mut out, &DecodeContext::default())
        .unwrap()
        .unwrap();
    assert_eq!(read.status, TransactionStatus::Error);
    assert!(out.is_empty(), "they read all of it");
}
