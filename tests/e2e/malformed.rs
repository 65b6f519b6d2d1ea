//! Bytes that no client sends: refused as PostgreSQL would, closed where the protocol demands, and
//! never a panic.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use weir_tests::dataset::find;
use weir_tests::wire::{self, Client, cstr, frame, startup};

use crate::shop::{ALICE, Shop, shop, shop_with};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// Sends bytes on a fresh connection, listens for a moment, ends our side, and gives everything that
/// came back.
fn answer(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = wire::raw(port).unwrap();
    // A server that has already hung up makes writing fail: that is an answer, too.
    let _ = stream.write_all(bytes);
    let mut back = Vec::new();
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    read_all(&mut stream, &mut back);
    let _ = stream.shutdown(Shutdown::Write);
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    read_all(&mut stream, &mut back);
    back
}

fn read_all(stream: &mut TcpStream, back: &mut Vec<u8>) {
    let mut chunk = [0; 4096];
    while let Ok(n) = stream.read(&mut chunk) {
        if n == 0 || back.len() > 1 << 20 {
            break;
        }
        back.extend_from_slice(&chunk[..n]);
    }
}

fn alive(shop: &mut Shop, after: &str) {
    assert!(shop.weir.is_alive(), "{after}:\n{}", shop.weir.log());
    let log = shop.weir.log();
    assert!(!log.contains("panicked"), "{after}:\n{log}");
    let mut client = shop.connect(ALICE);
    assert_eq!(client.query("SELECT 1").unwrap().rows.len(), 1, "{after}");
}

#[test]
fn before_anybody_is_known() {
    let mut shop = shop("malformed-startup");
    let port = shop.weir.pg_port;
    let user = ("user", "alice");
    for (what, bytes, expect) in [
        ("nothing", vec![], ""),
        ("length 0", vec![0, 0, 0, 0], ""),
        ("length 7", vec![0, 0, 0, 7, 0, 3, 0], ""),
        ("length -1", vec![0xff; 12], ""),
        (
            "2 GiB announced",
            [&i32::MAX.to_be_bytes()[..], &[0, 3, 0, 0]].concat(),
            "",
        ),
        (
            "64 KiB of parameters",
            startup(&[user, ("application_name", &"x".repeat(64 << 10))]),
            "",
        ),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), ""),
        (
            "a TLS hello where none is served",
            vec![22, 3, 1, 0, 5, 1, 0, 0, 1, 0],
            "",
        ),
        ("protocol 2.0", vec![0, 0, 0, 9, 0, 2, 0, 0, 0], "0A000"),
        (
            "protocol 9.0",
            [&[0, 0, 0, 21, 0, 9, 0, 0][..], b"user\0alice\0\0\0"].concat(),
            "",
        ),
        ("no user", startup(&[("database", "shop")]), "28000"),
        (
            "no terminator",
            [&[0, 0, 0, 18, 0, 3, 0, 0][..], b"user\0alice"].concat(),
            "08P01",
        ),
        (
            "a name without value",
            [&[0, 0, 0, 14, 0, 3, 0, 0][..], b"user\0\0"].concat(),
            "",
        ),
        (
            "replication",
            startup(&[user, ("replication", "true")]),
            "42501",
        ),
        (
            "replication by database",
            startup(&[user, ("replication", "database")]),
            "42501",
        ),
        ("GSS encryption", GSS_REQUEST.to_vec(), "N"),
        ("SSL where none is served", SSL_REQUEST.to_vec(), "N"),
        (
            "a cancel request with a key of nobody",
            [&[0, 0, 0, 16, 4, 210, 22, 46][..], &[9; 8]].concat(),
            "",
        ),
        (
            "a cancel request that is too short",
            vec![0, 0, 0, 9, 4, 210, 22, 46, 1],
            "",
        ),
        ("a query before login", frame(b'Q', b"SELECT 1\0"), ""),
    ] {
        let back = answer(port, &bytes);
        let shown = String::from_utf8_lossy(&back).into_owned();
        assert!(
            find(&back, expect.as_bytes()) || expect.is_empty(),
            "{what}: {shown:?}"
        );
        assert!(
            !find(&back, b"\x00\x00\x00\x08\x00\x00\x00\x00"),
            "{what}: let in"
        );
        alive(&mut shop, what);
    }
    let mut bad_user = startup(&[("user", "alice")]);
    let at = bad_user.len() - 4;
    bad_user[at] = 0xff;
    answer(port, &bad_user);
    alive(&mut shop, "a user that is not UTF-8");
}

/// Bytes sent in clear right behind SSLRequest were seen by everybody on the way: taking them as the
/// first of the encrypted ones would let anybody on the way speak first.
#[test]
fn bytes_after_ssl_request_are_fatal() {
    let mut shop = shop_with("malformed-tls", |_| {}, |setup| setup.tls = true);
    let port = shop.weir.pg_port;
    for (what, extra) in [
        ("one byte", vec![0]),
        ("a startup message", startup(&[("user", "alice")])),
        ("a second request", SSL_REQUEST.to_vec()),
    ] {
        let back = answer(port, &[&SSL_REQUEST[..], &extra].concat());
        assert!(
            back.first() != Some(&b'S') || back.len() == 1,
            "{what}: {back:?}"
        );
        assert!(
            !find(&back, b"R\0\0\0"),
            "{what}: authentication began: {back:?}"
        );
        assert!(shop.weir.is_alive(), "{what}");
    }
    assert_eq!(answer(port, &SSL_REQUEST).first(), Some(&b'S'));
    let out = shop.psql(ALICE).run("SELECT 'over TLS'").unwrap();
    assert_eq!(out.stdout, "over TLS\n", "{}", out.all());
    assert!(shop.weir.is_alive());
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// An error with one of these codes (`|` between them), then it works on after a Sync.
    Goes(&'static str),
    /// An error with this code, then it is closed.
    Closed(&'static str),
}

/// How long a connection may hang on something malformed.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn after_login() {
    use End::{Closed, Goes};
    let mut shop = shop("malformed-frames");
    let huge = |tag: u8| [&[tag][..], &0x4000_0000_i32.to_be_bytes()].concat();
    let bad_bind =
        |body: &[u8]| [frame(b'P', b"\0SELECT $1::int\0\0\0"), frame(b'B', body)].concat();
    for (what, bytes, end) in [
        ("an unknown tag", frame(b'~', b""), Closed("08P01")),
        ("tag 0", frame(0, b""), Closed("08P01")),
        ("a length below 4", vec![b'Q', 0, 0, 0, 3], Closed("08P01")),
        (
            "a negative length",
            vec![b'Q', 0xff, 0xff, 0xff, 0xff],
            Closed("08P01"),
        ),
        ("a gigabyte of query", huge(b'Q'), Closed("08P01")),
        ("a gigabyte of Sync", huge(b'S'), Closed("08P01")),
        (
            "a query without end",
            frame(b'Q', b"SELECT 1"),
            Goes("08P01"),
        ),
        (
            "a query with two ends",
            frame(b'Q', b"SELECT 1\0SELECT 2\0"),
            Goes("08P01"),
        ),
        (
            "a password out of turn",
            frame(b'p', b"x\0"),
            Closed("08P01"),
        ),
        (
            "a query that is not UTF-8",
            frame(b'Q', b"SELECT '\xff\xfe'\0"),
            Goes("22021"),
        ),
        (
            "a function call",
            frame(b'F', &[0; 14]),
            Goes("08P01|0A000|42501"),
        ),
        ("a parse without text", frame(b'P', b"x\0"), Goes("08P01")),
        (
            "a parse that is not UTF-8",
            frame(b'P', b"\0SELECT '\xff'\0\0\0"),
            Goes("22021"),
        ),
        (
            "a parse with missing types",
            frame(b'P', b"\0SELECT 1\0\0\x05"),
            Goes("08P01"),
        ),
        (
            "a bind of a statement of nobody",
            frame(b'B', b"\0nobody\0\0\0\0\0\0\0"),
            Goes("26000"),
        ),
        (
            "a bind that ends early",
            bad_bind(b"\0\0\0\0\0\x01\0\0\0\x09x"),
            Goes("08P01"),
        ),
        (
            "a bind with a length of -2",
            bad_bind(b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
            Goes("08P01"),
        ),
        (
            "a bind with bytes left over",
            bad_bind(b"\0\0\0\0\0\x01\0\0\0\x011\0\0zz"),
            Goes("08P01"),
        ),
        (
            // PostgreSQL says 22023 once it gets to the value; here the message is not understood.
            "a bind with format 7",
            bad_bind(b"\0\0\0\x01\0\x07\0\x01\0\0\0\x011\0\0"),
            Goes("08P01|22023"),
        ),
        (
            "a describe of nothing known",
            frame(b'D', b"X\0"),
            Goes("08P01"),
        ),
        (
            "an execute without count",
            frame(b'E', b"\0"),
            Goes("08P01"),
        ),
        (
            "an execute of nobody's portal",
            frame(b'E', b"nobody\0\0\0\0\0"),
            Goes("34000"),
        ),
        (
            "a close of nothing known",
            frame(b'C', b"Q\0"),
            Goes("08P01"),
        ),
    ] {
        let started = Instant::now();
        let mut client = shop.connect(ALICE);
        let mut all = bytes.clone();
        // A simple query and a function call end by themselves.
        if !matches!(bytes.first(), Some(b'Q' | b'F')) {
            all.extend(frame(b'S', b""));
        }
        let sent = client.send_raw(&all);
        let first = sent.and_then(|()| error_of(&mut client));
        match (end, first) {
            (Goes(code), Ok(got)) => {
                assert!(
                    code.split('|').any(|code| got.starts_with(code)),
                    "{what}: {got}"
                );
                assert_eq!(
                    client.query("SELECT 7").unwrap().text(0, 0).as_deref(),
                    Some("7"),
                    "{what}"
                );
            }
            (Closed(code), Ok(got)) => {
                assert!(got.starts_with(code), "{what}: {got}");
                assert!(drained(&mut client), "{what}: still open");
            }
            // It may close so fast that the error is lost with the connection.
            (Closed(_), Err(_)) => {}
            (Goes(_), Err(error)) => panic!("{what}: {error:#}"),
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{what} took {:?}",
            started.elapsed()
        );
        alive(&mut shop, what);
    }
}

/// The first error that comes, as its code; afterwards the reply is read to its end.
fn error_of(client: &mut Client) -> anyhow::Result<String> {
    let reply = client.reply()?;
    Ok(reply
        .error()
        .map(|e| e.sqlstate().to_owned())
        .unwrap_or_default())
}

/// Has the other side closed?
fn drained(client: &mut Client) -> bool {
    (0..100).any(|_| client.frame().is_err())
}

#[test]
fn frames_that_come_byte_by_byte_and_all_at_once() {
    let shop = shop("malformed-slow");
    let mut client = shop.connect(ALICE);
    for byte in frame(b'Q', &cstr("SELECT 'slow'")) {
        client.send_raw(&[byte]).unwrap();
    }
    assert_eq!(client.reply().unwrap().text(0, 0).as_deref(), Some("slow"));
    let many = frame(b'Q', &cstr("SELECT 1")).repeat(500);
    client.send_raw(&many).unwrap();
    for _ in 0..500 {
        assert_eq!(client.reply().unwrap().rows.len(), 1);
    }
}

/// Text that would take the parser's stack or minutes of its time.
#[test]
fn statements_of_unreasonable_shape() {
    let mut shop = shop("malformed-sql");
    for (what, sql) in [
        (
            "parentheses",
            format!("SELECT {}1{}", "(".repeat(200_000), ")".repeat(200_000)),
        ),
        ("operators", format!("SELECT {}1", "+ ".repeat(500_000))),
        (
            "subqueries",
            format!(
                "{}SELECT 1{}",
                "SELECT * FROM (".repeat(20_000),
                ") AS x".repeat(20_000)
            ),
        ),
        ("a long list", format!("SELECT {}1", "1,".repeat(500_000))),
        (
            "a long AND",
            format!("SELECT {}true", "true AND ".repeat(200_000)),
        ),
        ("statements", "SELECT 1;".repeat(50_000)),
    ] {
        let mut client = shop.connect(ALICE);
        let answered = client.query(&sql);
        assert!(answered.is_ok(), "{what}: {:?}", answered.err());
        alive(&mut shop, what);
    }
}
