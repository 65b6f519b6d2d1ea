//! SASL OAUTHBEARER (RFC 7628), the server's side, as PostgreSQL 18 speaks it (`auth-oauth.c`).
//! Pure: messages in, messages out.

use crate::config::OAuth;
use crate::refusal::Refused;
use crate::wire::{Cursor, MessageError};

pub const MECHANISM: &[u8] = b"OAUTHBEARER";

/// What separates keys and values, and is all of a client's answer to an error.
const SEPARATOR: u8 = 0x01;
const SCHEME: &str = "Bearer ";

/// What a client's first message comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim<'a> {
    /// It has no token, and asks where one is to be had (RFC 7628, section 4.3).
    Discovery,
    Token(&'a str),
    /// An `auth` value that holds no bearer token; said to the log alone.
    Unusable(&'static str),
}

/// SASLInitialResponse: the client's first message, if it is there already.
pub fn initial(body: &[u8]) -> Result<Option<&[u8]>, Refused> {
    let mut c = Cursor::new(body);
    let read = |c: &mut Cursor<'_>| c.cstr().map(<[u8]>::to_vec);
    let mechanism = read(&mut c).map_err(Refused::malformed)?;
    if mechanism != MECHANISM {
        return Err(Refused::new(
            "08P01",
            "client selected an invalid SASL authentication mechanism",
        )
        .hint("This port takes tokens by OAUTHBEARER only."));
    }
    let first = c.value().and_then(|first| c.end().map(|()| first));
    first.map_err(|e: MessageError| Refused::malformed(e))
}

/// The client's first message: GS2 header, then keys and values.
pub fn first(message: &[u8]) -> Result<Claim<'_>, Refused> {
    if message.is_empty() {
        return Err(malformed("The message is empty."));
    }
    // PostgreSQL compares the length with that of a C string.
    if message.contains(&0) {
        return Err(malformed("Message length does not match input length."));
    }
    let rest = match message.split_first() {
        Some((b'n' | b'y', rest)) => rest,
        Some((b'p', _)) => {
            return Err(malformed(
                "The server does not support channel binding for OAuth, but the client message \
                 includes channel binding data.",
            ));
        }
        _ => return Err(malformed("Unexpected channel-binding flag.")),
    };
    let rest = rest
        .strip_prefix(b",")
        .ok_or_else(|| malformed("Comma expected, but found something else."))?;
    // An authorization identity would say whom to act as. Who somebody is says the token.
    if rest.first() == Some(&b'a') {
        return Err(Refused::new(
            "0A000",
            "client uses authorization identity, but it is not supported",
        ));
    }
    let rest = rest
        .strip_prefix(b",")
        .ok_or_else(|| malformed("Unexpected attribute in client-first-message."))?;
    let rest = rest
        .strip_prefix(&[SEPARATOR])
        .ok_or_else(|| malformed("Key-value separator expected, but found something else."))?;
    Ok(claim(auth_value(rest)?))
}

/// `key=value` pairs, each with a separator behind it, and one more separator at the end.
fn auth_value(mut rest: &[u8]) -> Result<&str, Refused> {
    let mut auth = None;
    loop {
        let end = rest
            .iter()
            .position(|b| *b == SEPARATOR)
            .ok_or_else(|| malformed("Message did not contain a final terminator."))?;
        let (pair, after) = rest.split_at(end);
        let after = after.get(1..).unwrap_or_default();
        if pair.is_empty() {
            return match (after, auth) {
                ([], Some(auth)) => Ok(auth),
                ([], None) => Err(malformed("Message does not contain an auth value.")),
                _ => Err(malformed(
                    "Message contains additional data after the final terminator.",
                )),
            };
        }
        let (key, value) = pair_of(pair)?;
        // Other keys (`host`, `port`) are for the server to ignore, as PostgreSQL does.
        if key == b"auth" && auth.replace(value).is_some() {
            return Err(malformed("Message contains multiple auth values."));
        }
        rest = after;
    }
}

fn pair_of(pair: &[u8]) -> Result<(&[u8], &str), Refused> {
    let at = pair
        .iter()
        .position(|b| *b == b'=')
        .ok_or_else(|| malformed("Message contains a key without a value."))?;
    let (key, value) = pair.split_at(at);
    if key.is_empty() {
        return Err(malformed("Message contains an empty key name."));
    }
    if !key.iter().all(u8::is_ascii_alphabetic) {
        return Err(malformed("Message contains an invalid key name."));
    }
    let value = value.get(1..).unwrap_or_default();
    let printable = |b: &u8| matches!(b, 0x20..=0x7e | b'\t' | b'\r' | b'\n');
    match std::str::from_utf8(value) {
        Ok(text) if value.iter().all(printable) => Ok((key, text)),
        _ => Err(malformed("Message contains an invalid value.")),
    }
}

/// `Bearer` and a `b64token` (RFC 6750, section 2.1), or nothing.
fn claim(auth: &str) -> Claim<'_> {
    if auth.is_empty() {
        return Claim::Discovery;
    }
    let token = match auth.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token,
        _ => return Claim::Unusable("it is not a bearer token"),
    };
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    if body.is_empty() {
        return Claim::Unusable("the bearer token is empty");
    }
    if !body.bytes().all(allowed) {
        return Claim::Unusable("the bearer token is not in the correct format");
    }
    Claim::Token(token)
}

/// What a client without an accepted token is told (RFC 7628, section 3.2.2).
pub fn challenge(oauth: &OAuth) -> String {
    serde_json::json!({
        "status": "invalid_token",
        "openid-configuration": oauth.discovery,
        "scope": oauth.scope,
    })
    .to_string()
}

/// After an error there is one answer only (RFC 7628, section 3.2.3).
pub fn acknowledged(answer: &[u8]) -> Result<(), Refused> {
    if answer == [SEPARATOR] {
        Ok(())
    } else {
        Err(malformed("Client did not send a kvsep response."))
    }
}

fn malformed(detail: &str) -> Refused {
    Refused {
        detail: Some(detail.to_owned()),
        ..Refused::new("08P01", "malformed OAUTHBEARER message")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_first_message_says() {
        let long = format!("n,,\x01auth=Bearer {}\x01\x01", "a".repeat(60_000));
        for (message, expect) in [
            ("n,,\x01auth=\x01\x01", Claim::Discovery),
            ("y,,\x01auth=\x01\x01", Claim::Discovery),
            ("n,,\x01auth=Bearer abc\x01\x01", Claim::Token("abc")),
            (
                "y,,\x01auth=bEARER   a.b-_~+/c==\x01\x01",
                Claim::Token("a.b-_~+/c=="),
            ),
            (
                "n,,\x01host=h\x01port=1\x01auth=Bearer abc\x01x=\x01\x01",
                Claim::Token("abc"),
            ),
            (&long, Claim::Token(&"a".repeat(60_000))),
            (
                "n,,\x01auth=Basic abc\x01\x01",
                Claim::Unusable("it is not a bearer token"),
            ),
            (
                "n,,\x01auth=Bearer\x01\x01",
                Claim::Unusable("it is not a bearer token"),
            ),
            (
                "n,,\x01auth=Bearer  \x01\x01",
                Claim::Unusable("the bearer token is empty"),
            ),
            (
                "n,,\x01auth=Bearer ==\x01\x01",
                Claim::Unusable("the bearer token is empty"),
            ),
            (
                "n,,\x01auth=Bearer a=b\x01\x01",
                Claim::Unusable("the bearer token is not in the correct format"),
            ),
            (
                "n,,\x01auth=Bearer a b\x01\x01",
                Claim::Unusable("the bearer token is not in the correct format"),
            ),
            (
                "n,,\x01auth=Bearer a,b\x01\x01",
                Claim::Unusable("the bearer token is not in the correct format"),
            ),
        ] {
            assert_eq!(
                first(message.as_bytes()).as_ref(),
                Ok(&expect),
                "{message:.60}"
            );
        }
    }

    #[test]
    fn what_is_malformed() {
        for (message, detail) in [
            (&b""[..], "empty"),
            (b"n,,\x01auth=\x01\x01\0", "length"),
            (b"n,,\x01auth=Bearer a\0b\x01\x01", "length"),
            (
                b"p=tls-server-end-point,,\x01auth=\x01\x01",
                "channel binding",
            ),
            (b"x,,\x01auth=\x01\x01", "flag"),
            (b"n", "Comma"),
            (b"n;,\x01auth=\x01\x01", "Comma"),
            (b"n,", "attribute"),
            (b"n,m=x,\x01auth=\x01\x01", "attribute"),
            (b"n,,", "separator"),
            (b"n,,auth=\x01\x01", "separator"),
            (b"n,,\x01", "terminator"),
            (b"n,,\x01auth=", "terminator"),
            (b"n,,\x01auth=\x01", "terminator"),
            (b"n,,\x01\x01", "an auth value"),
            (b"n,,\x01host=x\x01\x01", "an auth value"),
            (b"n,,\x01AUTH=x\x01\x01", "an auth value"),
            (b"n,,\x01auth=\x01auth=Bearer a\x01\x01", "multiple"),
            (b"n,,\x01auth=Bearer a\x01auth=Bearer a\x01\x01", "multiple"),
            (b"n,,\x01auth=\x01\x01\x01", "additional"),
            (b"n,,\x01auth=\x01\x01x", "additional"),
            (b"n,,\x01auth\x01\x01", "without a value"),
            (b"n,,\x01=x\x01\x01", "empty key"),
            (b"n,,\x01a-b=x\x01\x01", "invalid key"),
            (b"n,,\x01auth=Bearer \xff\x01\x01", "invalid value"),
            (b"n,,\x01auth=Bearer \x02\x01\x01", "invalid value"),
        ] {
            let refused = first(message).unwrap_err();
            assert_eq!(refused.sqlstate, "08P01", "{message:?}");
            let said = refused.detail.unwrap();
            assert!(said.contains(detail), "{message:?}: {said}");
        }
        // PostgreSQL's own code for what it knows and does not do.
        let refused = first(b"n,a=admin,\x01auth=Bearer abc\x01\x01").unwrap_err();
        assert_eq!(refused.sqlstate, "0A000");
    }

    #[test]
    fn the_envelope() {
        let body = |mechanism: &[u8], len: i32, rest: &[u8]| {
            [mechanism, b"\0", &len.to_be_bytes(), rest].concat()
        };
        assert_eq!(initial(&body(MECHANISM, 3, b"n,,")), Ok(Some(&b"n,,"[..])));
        assert_eq!(initial(&body(MECHANISM, 0, b"")), Ok(Some(&b""[..])));
        assert_eq!(initial(&body(MECHANISM, -1, b"")), Ok(None));
        for bad in [
            b"".to_vec(),
            MECHANISM.to_vec(),
            body(b"SCRAM-SHA-256", 3, b"n,,"),
            body(b"oauthbearer", 3, b"n,,"),
            body(b"", 3, b"n,,"),
            body(MECHANISM, 4, b"n,,"),
            body(MECHANISM, 2, b"n,,"),
            body(MECHANISM, -1, b"n,,"),
            body(MECHANISM, -2, b"n,,"),
            body(MECHANISM, i32::MAX, b"n,,"),
            // A password message of old.
            b"secret\0".to_vec(),
        ] {
            assert_eq!(initial(&bad).unwrap_err().sqlstate, "08P01", "{bad:?}");
        }
        assert_eq!(acknowledged(b"\x01"), Ok(()));
        for bad in [
            &b""[..],
            b"\x01\x01",
            b"\0",
            b"n,,\x01auth=Bearer abc\x01\x01",
        ] {
            assert_eq!(acknowledged(bad).unwrap_err().sqlstate, "08P01");
        }
    }

    #[test]
    fn a_challenge_is_json_whatever_the_configuration_holds() {
        let text = challenge(&OAuth {
            discovery: "https://a.example/\"x\\".into(),
            scope: "openid \u{1}".into(),
        });
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["status"], "invalid_token");
        assert_eq!(value["openid-configuration"], "https://a.example/\"x\\");
        assert_eq!(value["scope"], "openid \u{1}");
    }
}
