//! OAUTHBEARER on the wire: what is accepted, what is answered, and every way to get it wrong.

use std::time::Instant;

use bytes::BufMut;

use super::*;
use crate::config::{ClientLogin, OAuth};
use crate::testing::client::Message;
use crate::wire::encode;

const DB: (&str, &str) = ("database", "db/postgres");
const DISCOVERY: &str = "https://login.example/.well-known/openid-configuration";
/// The first message of somebody who has no token.
const NO_TOKEN: &[u8] = b"n,,\x01auth=\x01\x01";

fn weir(delay: Duration, change: impl FnOnce(&mut crate::Options)) -> Weir {
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut o = options(target(Postgres::shared()), memory.ports());
    o.listeners[0].logins = vec![ClientLogin::OAuth];
    o.listeners[0].oauth = Some(OAuth {
        discovery: DISCOVERY.into(),
        scope: "openid weir".into(),
    });
    o.limits.failed_login_delay = delay;
    change(&mut o);
    Weir::start(o)
}

fn bearer(token: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

/// SASLInitialResponse.
fn initial(mechanism: &str, response: Option<&[u8]>) -> Vec<u8> {
    let mut body = BytesMut::new();
    encode::cstr(&mut body, mechanism.as_bytes());
    match response {
        None => body.put_i32(-1),
        Some(response) => {
            body.put_i32(response.len() as i32);
            body.put_slice(response);
        }
    }
    body.to_vec()
}

async fn say(c: &mut Client, body: &[u8]) {
    let mut out = BytesMut::new();
    encode::password(&mut out, body);
    c.io.write_all(&out).await.unwrap();
}

/// A client that was asked for OAUTHBEARER.
async fn asked(weir: &Weir) -> Client {
    let mut c = Client::raw(weir.addr).await;
    c.startup(PROTOCOL_3_2, &[("user", "me"), DB]).await;
    let m = c.next().await.unwrap();
    assert_eq!(
        (m.tag, &m.body[..]),
        ('R', &b"\0\0\0\x0aOAUTHBEARER\0\0"[..])
    );
    c
}

fn challenge(m: &Message) -> serde_json::Value {
    assert_eq!((m.tag, &m.body[..4]), ('R', &[0, 0, 0, 11][..]), "{m:?}");
    serde_json::from_slice(&m.body[4..]).unwrap()
}

/// FATAL, and the end of the connection.
async fn fatal(c: &mut Client) -> (String, String) {
    let m = c.next().await.unwrap();
    assert_eq!(m.tag, 'E', "{m:?}");
    assert_eq!(m.field(b'S'), "FATAL");
    assert_eq!(c.next().await, None);
    (m.field(b'C'), m.field(b'M'))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_in() {
    let weir = weir(Duration::from_secs(60), |_| {});
    for first in [
        bearer(TOKEN),
        format!("y,,\x01host=h\x01auth=bearer   {TOKEN}\x01\x01").into(),
    ] {
        for late in [false, true] {
            let mut c = asked(&weir).await;
            if late {
                say(&mut c, &initial("OAUTHBEARER", None)).await;
                let m = c.next().await.unwrap();
                assert_eq!((m.tag, &m.body[..]), ('R', &[0, 0, 0, 11][..]));
                say(&mut c, &first).await;
            } else {
                say(&mut c, &initial("OAUTHBEARER", Some(&first))).await;
            }
            c.login("").await.unwrap();
            assert_eq!(c.key.1.len(), 32);
            assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
        }
    }
    // What is negotiated comes before what is asked.
    let mut c = Client::raw(weir.addr).await;
    c.startup((3 << 16) | 9999, &[("user", "me"), DB, ("_pq_.x", "1")])
        .await;
    assert_eq!(c.next().await.unwrap().tag, 'v');
    assert_eq!(c.next().await.unwrap().tag, 'R');
    say(&mut c, &initial("OAUTHBEARER", Some(&bearer(TOKEN)))).await;
    c.login("").await.unwrap();
}

/// Two connections of an honest client: the first asks where tokens come from, and costs nobody
/// anything.
#[tokio::test(flavor = "multi_thread")]
async fn discovery_is_no_failed_login() {
    let weir = weir(Duration::from_secs(60), |o| {
        // Nobody may be asked for what no client has sent.
        struct Never;
        #[async_trait::async_trait]
        impl crate::Authenticate for Never {
            async fn authenticate(
                &self,
                _: &str,
                _: std::net::IpAddr,
            ) -> Result<Arc<pipeline::Principal>, crate::AuthRefused> {
                panic!("there was no token")
            }
            fn certificate(
                &self,
                _: &str,
                _: &[u8],
                _: std::net::IpAddr,
            ) -> Result<Arc<pipeline::Principal>, crate::AuthRefused> {
                panic!("there was no certificate")
            }
        }
        o.auth = Arc::new(Never);
    });
    let begun = Instant::now();
    for first in [NO_TOKEN, b"y,,\x01auth=\x01\x01"] {
        let mut c = asked(&weir).await;
        say(&mut c, &initial("OAUTHBEARER", Some(first))).await;
        let told = challenge(&c.next().await.unwrap());
        assert_eq!(told["status"], "invalid_token");
        assert_eq!(told["openid-configuration"], DISCOVERY);
        assert_eq!(told["scope"], "openid weir");
        say(&mut c, b"\x01").await;
        assert_eq!(fatal(&mut c).await.0, "28000");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "it was made to wait"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_in_json_then_as_an_error() {
    let delay = Duration::from_millis(300);
    let weir = weir(delay, |_| {});
    for (first, why) in [
        (bearer("wrong"), "the token is not valid"),
        (bearer(&"a".repeat(60_000)), "the token is not valid"),
        (
            b"n,,\x01auth=Basic abc\x01\x01".to_vec(),
            "not a bearer token",
        ),
        (bearer(""), "empty"),
        (bearer("=="), "empty"),
        (bearer("a b"), "format"),
    ] {
        let mut c = asked(&weir).await;
        let begun = Instant::now();
        say(&mut c, &initial("OAUTHBEARER", Some(&first))).await;
        let told = challenge(&c.next().await.unwrap());
        assert!(begun.elapsed() >= delay, "guessing costs nothing");
        assert_eq!(told["status"], "invalid_token");
        say(&mut c, b"\x01").await;
        let (code, text) = fatal(&mut c).await;
        assert_eq!(code, "28000", "{text}");
        assert!(text.contains(why), "{text}");
    }
    // After the error there is one answer only; a second token is none.
    for answer in [&b""[..], b"\0", b"\x01\x01", &bearer(TOKEN)] {
        let mut c = asked(&weir).await;
        say(&mut c, &initial("OAUTHBEARER", Some(&bearer("wrong")))).await;
        challenge(&c.next().await.unwrap());
        say(&mut c, answer).await;
        assert_eq!(fatal(&mut c).await.0, "08P01", "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_message_ends_the_connection() {
    let weir = weir(Duration::from_millis(1), |_| {});
    let frame = |body: &[u8]| {
        let mut out = BytesMut::new();
        encode::password(&mut out, body);
        out.to_vec()
    };
    let nul = format!("n,,\x01auth=Bearer {TOKEN}\0\x01\x01");
    let bound = format!("p=tls-server-end-point,,\x01auth=Bearer {TOKEN}\x01\x01");
    let twice = format!("n,,\x01auth=Bearer {TOKEN}\x01auth=Bearer {TOKEN}\x01\x01");
    let more = [bearer(TOKEN), b"x".to_vec()].concat();
    let mut longer = initial("OAUTHBEARER", Some(&bearer(TOKEN)));
    longer.push(0);
    for bytes in [
        frame(&initial("SCRAM-SHA-256", Some(b"n,,n=,r=x"))),
        frame(&initial("OAUTHBEARER", Some(b""))),
        frame(&initial("OAUTHBEARER", Some(nul.as_bytes()))),
        frame(&initial("OAUTHBEARER", Some(bound.as_bytes()))),
        frame(&initial("OAUTHBEARER", Some(twice.as_bytes()))),
        frame(&initial("OAUTHBEARER", Some(&more))),
        frame(&longer),
        frame(b""),
        frame(b"OAUTHBEARER"),
        // The token as a password, which another listener would take.
        frame(format!("{TOKEN}\0").as_bytes()),
        // Not a SASL message at all.
        b"Q\0\0\0\x0dSELECT 1\0".to_vec(),
        b"X\0\0\0\x04".to_vec(),
        // Lengths that lie: one byte above the limit, all there is, less than the length word.
        b"p\0\x01\0\x04".to_vec(),
        b"p\x7f\xff\xff\xff".to_vec(),
        b"p\0\0\0\x03".to_vec(),
    ] {
        let mut c = asked(&weir).await;
        c.io.write_all(&bytes).await.unwrap();
        let (code, text) = fatal(&mut c).await;
        assert_eq!(code, "08P01", "{:?}: {text}", &bytes[..bytes.len().min(60)]);
    }
    // Whom to act as is not the client's to say.
    let mut c = asked(&weir).await;
    let as_admin = format!("n,a=admin,\x01auth=Bearer {TOKEN}\x01\x01");
    say(&mut c, &initial("OAUTHBEARER", Some(as_admin.as_bytes()))).await;
    assert_eq!(fatal(&mut c).await.0, "0A000");
    // The largest message that PostgreSQL takes is read, and judged.
    let mut c = asked(&weir).await;
    let envelope = initial("OAUTHBEARER", Some(&bearer(""))).len();
    let largest = bearer(&"a".repeat(65_535 - envelope));
    let body = initial("OAUTHBEARER", Some(&largest));
    assert_eq!(body.len(), 65_535);
    say(&mut c, &body).await;
    challenge(&c.next().await.unwrap());
    // A client that goes away in the middle leaves nothing behind.
    let mut c = asked(&weir).await;
    c.io.write_all(b"p\0\0\x01\0OAUTH").await.unwrap();
    drop(c);
    let mut c = asked(&weir).await;
    say(&mut c, &initial("OAUTHBEARER", Some(&bearer(TOKEN)))).await;
    c.login("").await.unwrap();
}

/// Listener and target choose together, and never something that is not in both lists.
#[tokio::test(flavor = "multi_thread")]
async fn the_target_may_choose() {
    let weir = weir(Duration::from_millis(1), |o| {
        o.listeners[0].logins = vec![ClientLogin::Password, ClientLogin::OAuth];
        for (name, logins) in [
            ("strict", vec![ClientLogin::OAuth]),
            ("elsewhere", vec![ClientLogin::Certificate]),
        ] {
            let mut t = target(Postgres::shared());
            let info = pipeline::Target {
                name: name.into(),
                ..(*t.info).clone()
            };
            t.info = Arc::new(info);
            t.client_logins = logins;
            o.targets.push(t);
        }
    });
    for (database, asks) in [
        ("db/postgres", Some(3)),
        ("strict/postgres", Some(10)),
        ("strict", Some(10)),
        // Whether it exists is not told by this.
        ("nowhere/postgres", Some(3)),
        ("elsewhere/postgres", None),
    ] {
        let mut c = Client::raw(weir.addr).await;
        c.startup(PROTOCOL_3_0, &[("user", "me"), ("database", database)])
            .await;
        match asks {
            Some(method) => assert_eq!(c.next().await.unwrap().body[3], method, "{database}"),
            None => assert_eq!(fatal(&mut c).await.0, "28000", "{database}"),
        }
    }
}

/// As for passwords: a token that somebody can read is worth nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_in_clear_from_elsewhere() {
    for (login, plain) in [
        (ClientLogin::OAuth, false),
        (ClientLogin::Password, false),
        (ClientLogin::OAuth, true),
    ] {
        let weir = weir(Duration::from_millis(1), |o| {
            o.listeners[0].logins = vec![login];
            o.listeners[0].allow_plaintext_tokens = plain;
            let trusted = vec!["127.0.0.0/8".parse().unwrap()];
            o.listeners[0].listen.proxy_protocol = Some(net::ProxyProtocol::new(trusted));
        });
        let mut c = Client::raw(weir.addr).await;
        let header = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 5432\r\n";
        c.io.write_all(header).await.unwrap();
        c.startup(PROTOCOL_3_0, &[("user", "me"), DB]).await;
        if plain {
            assert_eq!(c.next().await.unwrap().tag, 'R');
        } else {
            let (code, text) = fatal(&mut c).await;
            assert_eq!(code, "28000");
            assert!(text.contains("not encrypted"), "{text}");
        }
    }
}

/// What a proxy on another machine calls its own is not ours: between it and us there is a network.
#[test]
fn a_proxy_elsewhere_is_no_neighbour() {
    for (source, via, near) in [
        ("127.0.0.1:1", None, true),
        ("[::1]:1", None, true),
        ("192.0.2.1:1", None, false),
        ("127.0.0.1:1", Some("127.0.0.1:2"), true),
        ("127.0.0.1:1", Some("[::1]:2"), true),
        ("127.0.0.1:1", Some("192.0.2.9:2"), false),
        ("[::1]:1", Some("192.0.2.9:2"), false),
        ("192.0.2.1:1", Some("127.0.0.1:2"), false),
        ("192.0.2.1:1", Some("192.0.2.9:2"), false),
    ] {
        let peer = net::Peer {
            source: source.parse().unwrap(),
            local: "127.0.0.1:5432".parse().unwrap(),
            via: via.map(|v| v.parse().unwrap()),
        };
        assert_eq!(crate::startup::is_near(&peer), near, "{source} {via:?}");
    }
}
