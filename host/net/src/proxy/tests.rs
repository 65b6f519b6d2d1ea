//! Good headers, and every way to lie in one.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn options(trusted: &[&str]) -> ProxyProtocol {
    let mut options = ProxyProtocol::new(trusted.iter().map(|t| t.parse().unwrap()).collect());
    options.timeout = Duration::from_millis(200);
    options
}

/// v2 header with a body.
fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = V2_SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn v4_body() -> Vec<u8> {
    vec![192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 0x15, 0x38]
}

fn v6_body() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
    body.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
    body.extend([0xdc, 0x04, 0x15, 0x38]);
    body
}

fn with_extensions(mut body: Vec<u8>) -> Vec<u8> {
    body.extend([0xea, 0, 4, 1, 2, 3, 4]);
    body
}

/// What a trusted proxy's bytes say, and whether exactly the header was read.
async fn told(bytes: &[u8]) -> Result<Peer, String> {
    let (mut near, mut far) = duplex(64 * 1024);
    near.write_all(bytes).await.unwrap();
    near.write_all(b"REST").await.unwrap();
    let peer = identify(
        &options(&["10.0.0.0/8"]),
        &mut far,
        address("10.1.2.3:999"),
        address("10.9.9.9:5432"),
    )
    .await
    .map_err(|e| e.to_string())?;
    let mut rest = [0; 4];
    far.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"REST", "bytes after the header were eaten");
    Ok(peer)
}

#[tokio::test]
async fn good_headers() {
    let long = format!(
        "PROXY UNKNOWN {}\r\n",
        "f".repeat(MAX_V1_HEADER - "PROXY UNKNOWN \r\n".len())
    );
    assert_eq!(long.len(), MAX_V1_HEADER);
    for (bytes, source) in [
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".to_vec(),
            Some("192.0.2.1:56324"),
        ),
        (
            b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n".to_vec(),
            Some("[2001:db8::1]:56324"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN whatever it says\r\n".to_vec(), None),
        (long.into_bytes(), None),
        (v2(0x21, 0x11, &v4_body()), Some("192.0.2.1:56324")),
        (
            v2(0x21, 0x11, &with_extensions(v4_body())),
            Some("192.0.2.1:56324"),
        ),
        (v2(0x21, 0x21, &v6_body()), Some("[2001:db8::1]:56324")),
        (
            v2(0x21, 0x21, &with_extensions(v6_body())),
            Some("[2001:db8::1]:56324"),
        ),
        (v2(0x20, 0x00, &[]), None),
        (v2(0x20, 0x11, &v4_body()), None),
    ] {
        let peer = told(&bytes).await.unwrap();
        match source {
            Some(source) => {
                assert_eq!(peer.source, address(source));
                assert_eq!(peer.via, Some(address("10.1.2.3:999")));
            }
            None => {
                assert_eq!(peer.source, address("10.1.2.3:999"));
                assert_eq!(peer.via, None);
            }
        }
        assert_eq!(peer.local, address("10.9.9.9:5432"));
    }
}

#[tokio::test]
async fn malformed_headers_close() {
    let too_long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_V1_HEADER));
    let mut wrong_version = v2(0x21, 0x11, &v4_body());
    wrong_version[12] = 0x31;
    let mut lying_length = v2(0x21, 0x11, &v4_body());
    lying_length[14] = 0xff;
    let rows: Vec<(&str, Vec<u8>)> = vec![
        (
            "no header",
            b"\0\0\0\x08\x04\xd2\x16\x2f............".to_vec(),
        ),
        ("http", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        (
            "lower case",
            b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        ),
        ("too long", too_long.into_bytes()),
        ("family", b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n".to_vec()),
        (
            "v6 in TCP4",
            b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n".to_vec(),
        ),
        (
            "v4 in TCP6",
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        ),
        (
            "bad destination",
            b"PROXY TCP4 192.0.2.1 192.0.2 1 2\r\n".to_vec(),
        ),
        ("octal", b"PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n".to_vec()),
        (
            "port too big",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n".to_vec(),
        ),
        (
            "signed port",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n".to_vec(),
        ),
        (
            "port with zero",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n".to_vec(),
        ),
        (
            "bad destination port",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 x\r\n".to_vec(),
        ),
        ("too few", b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n".to_vec()),
        (
            "too many",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n".to_vec(),
        ),
        (
            "two blanks",
            b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        ),
        (
            "not ASCII",
            b"PROXY TCP4 \xff92.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        ),
        (
            "newline inside",
            b"PROXY TCP4 192.0.2.1\n192.0.2.2 1 2\r\n".to_vec(),
        ),
        ("no words", b"PROXY \r\n......".to_vec()),
        ("v2 version", wrong_version),
        ("v2 command", v2(0x22, 0x11, &v4_body())),
        ("v2 udp", v2(0x21, 0x12, &v4_body())),
        ("v2 unix", v2(0x21, 0x31, &[0; 216])),
        ("v2 unspecified", v2(0x21, 0x00, &[])),
        ("v2 short v4", v2(0x21, 0x11, &v4_body()[..11])),
        ("v2 short v6", v2(0x21, 0x21, &v6_body()[..35])),
        ("v2 empty", v2(0x21, 0x11, &[])),
        ("v2 too long", v2(0x21, 0x11, &vec![0; MAX_V2_BODY + 1])),
        ("v2 length beyond the data", lying_length),
    ];
    for (name, bytes) in rows {
        assert!(told(&bytes).await.is_err(), "{name} was accepted");
    }
}

#[tokio::test]
async fn a_slow_or_broken_header_does_not_hold_us() {
    let (near, mut far) = duplex(1024);
    let trusted = options(&["10.0.0.0/8"]);
    let (from, local) = (address("10.1.2.3:999"), address("10.9.9.9:5432"));
    let mut near = near;
    near.write_all(b"PROXY TCP4 19").await.unwrap();
    let e = identify(&trusted, &mut far, from, local).await.unwrap_err();
    assert!(matches!(e, ProxyError::Timeout(_)), "{e}");

    let (mut near, mut far) = duplex(1024);
    near.write_all(b"PROXY TCP4 19").await.unwrap();
    drop(near);
    let e = identify(&trusted, &mut far, from, local).await.unwrap_err();
    assert!(matches!(e, ProxyError::Read(_)), "{e}");
}

#[tokio::test]
async fn only_trusted_proxies_are_believed() {
    let lie = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n";
    for (trusted, from, believed) in [
        (&["10.0.0.0/8"][..], "10.1.2.3:1", true),
        (&["10.0.0.0/8"], "[::ffff:10.1.2.3]:1", true),
        (&["10.0.0.0/8", "2001:db8::/32"], "[2001:db8::9]:1", true),
        (&["10.0.0.0/8"], "11.1.2.3:1", false),
        (&["10.0.0.0/8"], "[2001:db8::9]:1", false),
        (&[], "10.1.2.3:1", false),
    ] {
        let (mut near, mut far) = duplex(1024);
        near.write_all(lie).await.unwrap();
        let from = address(from);
        let mut options = options(trusted);
        let peer = identify(&options, &mut far, from, address("10.9.9.9:5432"))
            .await
            .unwrap();
        let expected = if believed {
            address("192.0.2.1:56324")
        } else {
            from
        };
        assert_eq!(peer.source, expected, "{trusted:?}");

        if !believed {
            // Not a byte was read, so a protocol that expects something else will refuse it.
            let mut all = vec![0; lie.len()];
            far.read_exact(&mut all).await.unwrap();
            assert_eq!(all, lie);
            options.refuse_others = true;
            let e = identify(&options, &mut far, from, address("10.9.9.9:5432")).await;
            assert!(matches!(e, Err(ProxyError::NotTrusted)));
        }
    }
}
