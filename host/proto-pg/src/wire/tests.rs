//! Frames and messages: tables of what PostgreSQL accepts and refuses, and random bytes.

use bytes::BytesMut;

use super::frontend::{FrameLimits, Tag};
use super::startup::{Packet, PacketError};
use super::*;

const LIMITS: FrameLimits = FrameLimits {
    text: 1_000,
    data: 2_000,
};

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode::frame(&mut out, tag, |b| b.extend_from_slice(body));
    out.to_vec()
}

#[test]
fn headers() {
    for (bytes, expect) in [
        (&b""[..], Ok(None)),
        (b"Q\0\0\0", Ok(None)),
        (b"S\0\0\0\x04", Ok(Some((Tag::Sync, 5)))),
        (b"Q\0\0\0\x05\0", Ok(Some((Tag::Query, 6)))),
        (b"Q\0\0\0\x03", Err(FrameError::Length)),
        (b"Q\0\0\0\0", Err(FrameError::Length)),
        (b"Q\xff\xff\xff\xff", Err(FrameError::Length)),
        (b"Q\x80\0\0\0", Err(FrameError::Length)),
        (b"p", Err(FrameError::Type(b'p'))),
        (b"\0", Err(FrameError::Type(0))),
        (b"R\0\0\0\x04", Err(FrameError::Type(b'R'))),
        (
            b"Q\0\0\x03\xed",
            Err(FrameError::TooLarge {
                tag: b'Q',
                len: 1006,
                limit: 1_000,
            }),
        ),
        (b"Q\0\0\x03\xec", Ok(Some((Tag::Query, 1005)))),
        (
            b"S\x7f\xff\xff\xff",
            Err(FrameError::TooLarge {
                tag: b'S',
                len: 0x8000_0000,
                limit: SMALL_MESSAGE,
            }),
        ),
    ] {
        let got = frontend::header(bytes, LIMITS).map(|h| h.map(|(tag, h)| (tag, h.len)));
        assert_eq!(got, expect, "{bytes:?}");
    }
}

#[test]
fn queries_hold_exactly_one_string() {
    for (body, expect) in [
        (&b"SELECT 1\0"[..], Ok(&b"SELECT 1"[..])),
        (b"\0", Ok(b"")),
        (b"", Err(MessageError::String)),
        (b"SELECT 1", Err(MessageError::String)),
        (b"SELECT 1\0Q\0\0\0\x05\0", Err(MessageError::Trailing)),
        (b"a\0\0", Err(MessageError::Trailing)),
    ] {
        assert_eq!(frontend::query(body), expect, "{body:?}");
    }
}

#[test]
fn extended_messages() {
    let p = frontend::parse(b"s\0SELECT $1\0\0\x01\0\0\0\x17").unwrap();
    assert_eq!(
        (p.name, p.sql, p.types),
        (&b"s"[..], &b"SELECT $1"[..], &b"\0\0\0\x17"[..])
    );
    for (body, expect) in [
        (&b"s\0q\0\0\x01"[..], MessageError::Short),
        (b"s\0q\0\xff\xff\0\0", MessageError::Short),
        (b"s\0q\0\0\0x", MessageError::Trailing),
        (b"s\0q", MessageError::String),
        (b"s\0q\0", MessageError::Short),
    ] {
        assert_eq!(frontend::parse(body), Err(expect), "{body:?}");
    }
    let b = frontend::bind(b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01")
        .unwrap();
    assert_eq!(b.params, [Some(&b"ab"[..]), None]);
    assert_eq!(b.result_formats, [1]);
    assert_eq!((b.portal, b.statement), (&b"p"[..], &b"s"[..]));
    for (body, expect) in [
        // A count that lies.
        (&b"\0\0\0\0\xff\xff\0\0"[..], MessageError::Short),
        // A length beyond the message, and a negative one that is not NULL.
        (b"\0\0\0\0\0\x01\0\0\0\x09a\0\0", MessageError::Short),
        (b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0", MessageError::Short),
        (
            b"\0\0\0\x01\0\x02\0\0\0\0",
            MessageError::Value("format code"),
        ),
        (
            b"\0\0\0\x02\0\0\0\0\0\x01\xff\xff\xff\xff\0\0",
            MessageError::Value("number of parameter formats"),
        ),
        (b"\0\0\0\0\0\0\0\0x", MessageError::Trailing),
        (b"\0\0\0\0\0\0\0\x01", MessageError::Short),
        (b"\0", MessageError::String),
    ] {
        assert_eq!(frontend::bind(body), Err(expect), "{body:?}");
    }
    assert_eq!(frontend::execute(b"p\0\0\0\0\x05").unwrap().max_rows, 5);
    assert_eq!(frontend::execute(b"p\0\0\0"), Err(MessageError::Short));
    assert_eq!(
        frontend::object(b"Ss\0"),
        Ok(frontend::Object::Statement(b"s"))
    );
    assert_eq!(frontend::object(b"P\0"), Ok(frontend::Object::Portal(b"")));
    for bad in [&b""[..], b"S", b"Xs\0", b"Ss\0\0"] {
        assert!(frontend::object(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn startup_packets() {
    for (word, expect) in [
        (&b"\0\0"[..], Ok(None)),
        (b"\0\0\0\x08", Ok(Some(8))),
        (b"\0\0\0\x07", Err(PacketError::Length)),
        (b"\0\0\x27\x10", Ok(Some(10_000))),
        (b"\0\0\x27\x11", Err(PacketError::Length)),
        (b"\xff\xff\xff\xff", Err(PacketError::Length)),
        // An HTTP request.
        (b"GET ", Err(PacketError::Length)),
    ] {
        assert_eq!(startup::length(word), expect, "{word:?}");
    }
    let with = |body: &[u8]| {
        let mut out = BytesMut::new();
        encode::length_prefixed(&mut out, |b| b.extend_from_slice(body));
        out.to_vec()
    };
    assert_eq!(startup::packet(&with(b"\x04\xd2\x16\x2f")), Ok(Packet::Ssl));
    assert_eq!(
        startup::packet(&with(b"\x04\xd2\x16\x30")),
        Ok(Packet::GssEnc)
    );
    assert!(startup::packet(&with(b"\x04\xd2\x16\x2fx")).is_err());
    let cancel = with(b"\x04\xd2\x16\x2e\0\0\0\x07abcd");
    assert_eq!(
        startup::packet(&cancel),
        Ok(Packet::Cancel {
            pid: 7,
            secret: b"abcd"
        })
    );
    assert!(startup::packet(&with(b"\x04\xd2\x16\x2e\0\0\0\x07abc")).is_err());
    let hello = with(b"\0\x03\0\0user\0me\0database\0d\0\0");
    let Ok(Packet::Startup {
        version,
        parameters,
    }) = startup::packet(&hello)
    else {
        panic!("a startup packet");
    };
    assert_eq!(version, startup::PROTOCOL_3_0);
    assert_eq!(
        parameters,
        [(&b"user"[..], &b"me"[..]), (b"database", b"d")]
    );
    for bad in [
        &b"\0\x03\0\0user\0me\0"[..],
        b"\0\x03\0\0user\0me\0\0x",
        b"\0\x03\0\0user\0",
        b"\0\x03\0\0",
        b"\0\x02\0\0\0",
        b"\0\x04\0\0\0",
    ] {
        assert!(startup::packet(&with(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn server_messages() {
    let report = backend::report(b"SERROR\0VERROR\0C42501\0Mno\0\0").unwrap();
    assert_eq!(report.sqlstate(), "42501");
    assert!(!report.is_fatal());
    assert!(backend::report(b"SFATAL\0\0").unwrap().is_fatal());
    for bad in [&b""[..], b"SERROR\0", b"S", b"\0x"] {
        assert!(backend::report(bad).is_err(), "{bad:?}");
    }
    assert_eq!(backend::ready(b"T"), Ok(backend::TxStatus::InTransaction));
    for bad in [&b""[..], b"X", b"II"] {
        assert!(backend::ready(bad).is_err(), "{bad:?}");
    }
    assert!(backend::row_description(b"\xff\xff").is_err());
    assert!(backend::data_row(b"\xff\xffab").is_err());
    assert!(backend::key_data(b"\0\0\0\x01abc").is_err());
    assert_eq!(backend::key_data(b"\0\0\0\x01abcd"), Ok((1, &b"abcd"[..])));
    assert_eq!(
        backend::authentication(b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
        Ok(backend::Authentication::Sasl(vec![b"SCRAM-SHA-256"]))
    );
    for bad in [&b""[..], b"\0\0\0\x05ab", b"\0\0\0\0x", b"\0\0\0\x0aX\0"] {
        assert!(backend::authentication(bad).is_err(), "{bad:?}");
    }
}

/// xorshift64*: the same bytes every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[test]
fn no_bytes_panic_and_no_view_reaches_beyond_its_frame() {
    let mut random = Random(0x5eed);
    let tags = b"QPBDECHSFdcfXRTtKZNAGHWVnI123sv";
    for _ in 0..200_000 {
        let len = random.below(40);
        let mut body: Vec<u8> = (0..len)
            .map(|_| match random.below(4) {
                0 => 0,
                1 => 1,
                2 => 0xff,
                _ => random.next() as u8,
            })
            .collect();
        let tag = tags[random.below(tags.len())];
        let mut bytes = frame(tag, &body);
        if random.below(8) == 0 {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        check(&bytes);
        body.truncate(random.below(len + 1));
        check(&body);
    }
}

/// Every reader on the same bytes, as the fuzz target does it.
fn check(bytes: &[u8]) {
    read_everything(bytes);
    if let Ok(Some((tag, h))) = frontend::header(bytes, LIMITS)
        && tag == Tag::Bind
        && let Some(body) = bytes.get(HEADER..h.len)
        && let Ok(b) = frontend::bind(body)
    {
        // What is written again is what was read.
        let mut again = BytesMut::new();
        encode::bind(&mut again, b.portal, b.statement, b.rest);
        assert_eq!(&again[..], &bytes[..h.len]);
    }
}

#[test]
fn a_negotiated_version() {
    let read = |text: &[u8]| backend::negotiated(text).map(|(v, o)| (v, o.len()));
    for (body, expect) in [
        (&b"\0\x03\0\0\0\0\0\0"[..], Ok((3 << 16, 0))),
        (b"\0\x03\0\x02\0\0\0\0", Ok(((3 << 16) | 2, 0))),
        (b"\0\x03\0\0\0\0\0\x01_pq_.x\0", Ok((3 << 16, 1))),
        (
            b"\0\x03\0\x03\0\0\0\0",
            Err(MessageError::Value("protocol version")),
        ),
        (
            b"\0\x02\0\0\0\0\0\0",
            Err(MessageError::Value("protocol version")),
        ),
        (b"\0\x03\0\0\0\0\0\x01", Err(MessageError::String)),
        (b"\0\x03\0\0\xff\xff\xff\xff", Err(MessageError::String)),
        (b"\0\x03\0\0\0\0\0\0x", Err(MessageError::Trailing)),
        (b"\0\x03\0\0", Err(MessageError::Short)),
    ] {
        assert_eq!(read(body), expect, "{body:?}");
    }
}
