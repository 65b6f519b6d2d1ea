//! What is found by its form, what is known, and how they lie to each other.

use super::private_keys::key;
use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// The client says how wide its terminal is: where a line is full, nobody knows whether it goes on.
#[test]
fn keys_are_found_at_any_width() {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    let google = format!("AIza{}", "Sy0123456".repeat(4))
        .split_at(39)
        .0
        .to_owned();
    let text = format!(
        "[default]\r\naws_access_key_id = {AWS}\r\naws_secret_access_key = {secret}\r\nkey = {google}\r\nregion\r\n"
    );
    for columns in 0..=100 {
        let mut masker = Masker::new(patterns(&[]), Kind::Terminal);
        masker.resize(columns);
        let mut out = BytesMut::new();
        let _ = masker.push(text.as_bytes(), Instant::now(), &mut out);
        masker.flush(&mut out);
        let out = String::from_utf8_lossy(&out);
        for seen in [AWS, secret, &google] {
            assert!(!out.contains(seen), "{columns}: {out}");
        }
    }
}

#[test]
fn known_secrets_are_replaced_and_nothing_else() {
    for (secrets, input, expect) in [
        (
            &["hunter22hunter"][..],
            "pw=hunter22hunter;",
            "pw=**************;",
        ),
        (&["hunter22hunter"], "hunter22hunte", "*************"),
        (&["hunter22hunter"], "hunter22hunteX", "hunter22hunteX"),
        (
            &["hunter22hunter"],
            "hunter22hunter22hunter",
            "**********************",
        ),
        (&["abcdefgh", "efghijkl"], "abcdefghijkl", "************"),
        (&["abcdefgh", "defg-1234"], "abcdefg-1234", "abc*********"),
        (
            &["abcdefgh", "abcdefgh-long"],
            "abcdefgh-lon.",
            "********-lon.",
        ),
        (
            &["abcdefgh", "xxabcdefghyy"],
            "xxabcdefghy.",
            "xx********y.",
        ),
        (
            &["abcdefgh", "ijklmnop"],
            "abcdefghijklmnop",
            "****************",
        ),
        (&["abcdefgh"], "aabcdefghh", "a********h"),
        (&["aaaaaaaa"], "aaaaaaaaaaaa b", "************ b"),
        (
            &["p\u{e4}ssw\u{f6}rter"],
            "-p\u{e4}ssw\u{f6}rter-",
            "-************-",
        ),
        (
            &["two\nlines of it"],
            "two\r\nlines of it",
            "***\r\n***********",
        ),
        (&["tab\there-1"], "tab\there-1", "***\t******"),
    ] {
        assert_eq!(text(secrets, input), expect);
    }
}

#[test]
fn tokens_are_replaced_behind_their_prefix() {
    let stars = |n: usize| "*".repeat(n);
    for (input, expect) in [
        (GITHUB.to_owned(), format!("ghp_{}", stars(36))),
        (
            format!("\"{GITHUB}\"\n"),
            format!("\"ghp_{}\"\n", stars(36)),
        ),
        // As it stands in JSON that stands in JSON.
        (
            format!("a\\n{GITHUB}\\n"),
            format!("a\\nghp_{}\\n", stars(36)),
        ),
        (AWS.to_owned(), format!("AKIA{}", stars(16))),
        (format!("{AWS}\r\nX"), format!("AKIA{}\r\nX", stars(16))),
        (JWT.to_owned(), format!("eyJ{}", stars(JWT.len() - 3))),
        (
            format!("{JWT} {JWT}"),
            format!("eyJ{0} eyJ{0}", stars(JWT.len() - 3)),
        ),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n".into(),
            format!("aws_secret_access_key = {}\n", stars(40)),
        ),
        (
            "|  SecretAccessKey |  wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY  |\n".into(),
            format!("|  SecretAccessKey |  {}  |\n", stars(40)),
        ),
        (
            r#"{"name":"AWS_SECRET_ACCESS_KEY","value":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}"#.into(),
            format!(r#"{{"name":"AWS_SECRET_ACCESS_KEY","value":"{}"}}"#, stars(40)),
        ),
        (
            "- name: AWS_SECRET_ACCESS_KEY\n  value: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n".into(),
            format!("- name: AWS_SECRET_ACCESS_KEY\n  value: {}\n", stars(40)),
        ),
        // Another word, the word alone, and twice.
        (
            "AWS_SECRET_ACCESS_KEY, sha wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY ".into(),
            "AWS_SECRET_ACCESS_KEY, sha wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY ".into(),
        ),
        (
            "AWS_SECRET_ACCESS_KEY value value wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY ".into(),
            "AWS_SECRET_ACCESS_KEY value value wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY ".into(),
        ),
        // Any length of what has no doubtful prefix.
        (
            format!("ghp_{}", "a".repeat(5000)),
            format!("ghp_{}", stars(5000)),
        ),
        // But for a header that is too long for one: what follows it is the secret.
        (
            format!("eyJ{}.eyJhIjoxfQ.c2ln", "a".repeat(9000)),
            format!("eyJ{}{}", "a".repeat(9000), stars(12 + 4)),
        ),
        (
            format!("eyJ{}.eyJhIjoxfQ.c2ln", "a".repeat(1000)),
            format!("eyJ{}", stars(1000 + 12 + 4)),
        ),
        // One that a line ends in the middle of, one that is whole before it does.
        (
            format!("{}\r\n{} x", &GITHUB[..20], &GITHUB[20..]),
            format!("ghp_{}\r\n{} x", stars(16), stars(20)),
        ),
        (
            format!("{GITHUB}\r\nabc"),
            format!("ghp_{}\r\nabc", stars(36)),
        ),
        (
            format!("{GITHUB}\x1b[5;1Habc"),
            format!("ghp_{}\x1b[5;1Habc", stars(36)),
        ),
        // One inside of another.
        (format!("xoxb-{GITHUB} "), format!("xoxb-{} ", stars(40))),
        // Alike.
        (format!("{AWS}X "), format!("{AWS}X ")),
        ("ghp_short ".into(), "ghp_short ".into()),
        (
            "ghp_0123456789abcdefghij-ABCDEFGHIJ".into(),
            "ghp_0123456789abcdefghij-ABCDEFGHIJ".into(),
        ),
        (
            "eyJhbGciOiJIUzI1NiJ9.abc.def ".into(),
            "eyJhbGciOiJIUzI1NiJ9.abc.def ".into(),
        ),
        ("eyJ.eyJ. ".into(), "eyJ.eyJ. ".into()),
        (
            "aws_secret_access_key = short ".into(),
            "aws_secret_access_key = short ".into(),
        ),
    ] {
        assert_eq!(text(&[], &input), expect);
        let long = format!("{}{input}", "an ordinary line\n".repeat(40));
        assert!(text(&[], &long).ends_with(&expect), "{input}");
    }
}

/// Every form that the detectors know, at the end of the stream, too.
#[test]
fn every_token_of_the_detectors() {
    for token in detect::TOKENS.iter().chain(super::super::token::VAULT) {
        let alphabet: Vec<u8> = (b'0'..=b'z').filter(|c| (token.alphabet)(*c)).collect();
        let alphabet = alphabet.into_iter().filter(u8::is_ascii_alphanumeric);
        let body: Vec<u8> = alphabet
            .collect::<Vec<_>>()
            .into_iter()
            .cycle()
            .take(token.least)
            .collect();
        let prefix = std::str::from_utf8(token.prefix).unwrap();
        let body = String::from_utf8(body).unwrap();
        for (before, behind) in [("", ""), ("x ", " y"), ("\"", "\",")] {
            let input = format!("{before}{prefix}{body}{behind}");
            let expect = format!("{before}{prefix}{}{behind}", "*".repeat(body.len()));
            assert_eq!(text(&[], &input), expect);
        }
    }
}

/// What else begins in the line of a key, or in a long token, does not put an end to its being hidden.
#[test]
fn what_is_being_hidden_is_not_displaced() {
    let prefixes = "glpat-gldt-glrt-glptt-glcbt-xoxb-xoxp-xoxa-xoxr-xoxs-xapp-sk-ant-tskey-";
    for line in [
        "AIza".repeat(16),
        "AKIAASIAABIA".repeat(5),
        "eyJ".repeat(20),
    ] {
        let rest = "MIIEowIBAAKCAQEA".repeat(4);
        let body = format!("{line}\n{rest}\n{rest}\n");
        let input =
            format!("-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\n");
        for piece in [1, usize::MAX] {
            let out = mask(&patterns(&[]), Kind::Pipe, input.as_bytes(), piece);
            let out = String::from_utf8(out).unwrap();
            assert!(!out.contains("MIIE") && !out.contains("AIza"), "{out}");
        }
    }
    // One that is long enough to be hidden as it comes, and a payload behind which its signature comes.
    for (before, behind) in [
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", ""),
        ("github_pat_0123456789abcdefghijABCDEFGHIJ", ""),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.", ""),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIi", "."),
    ] {
        let input = format!("{before}{}{behind}c2lnbmF0dXJl", "AIza".repeat(12));
        assert!(!text(&[], &input).contains("c2lnbmF0"), "{input}");
    }
    // With so many of them that all hide, one that hides as much is enough, and all of it is hidden.
    let each = prefixes
        .split_inclusive('-')
        .map(|p| p.to_owned() + "0123456789abcdefghijABCDEFGHIJ01");
    let input: String = each.collect();
    let out = text(&[], &input);
    assert!(
        out.starts_with("glpat-****") && !out[6..].contains("0123"),
        "{out}"
    );
}

/// However many forms hide or are unfinished when one more begins, that one is hidden when those have ended.
#[test]
fn one_too_many_is_hidden() {
    let hiding = |prefix: &str| format!("{prefix}0123456789abcdefghijABCDEFGHIJ01");
    let all = [
        "glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-",
    ];
    let eight: String = all[..8].iter().map(|p| hiding(p)).collect();
    // Of another alphabet, so that it goes on when those have ended.
    let session = format!("IQoJb3JpZ2luX2Vj/{}", "c2Vzc2lvbi/+".repeat(20));
    let (pem, _) = key("RSA PRIVATE KEY", 64, 200);
    // None of these is long enough to be told from a word, and none of them gives way.
    let encoded = "LS0tLS1CRUdJTi".to_owned() + "0tLS0tQkVHSU4g" + "tLS0tLUJFR0lOI";
    let unfinished = encoded.repeat(2) + "xoxb-xoxp-xoxa-glrt-gldt-";
    let nine_in_base_64 = format!("{unfinished}{}", GITHUB);
    for (name, input, secret) in [
        ("session", format!("{eight}{session}"), "c2Vzc2lvbi/+c2"),
        ("key", format!("{eight}{pem}"), "MIIEowIBAAKCAQEA"),
        ("unfinished", nine_in_base_64.clone(), "0123456789abcdef"),
        (
            "behind",
            format!("{unfinished}.\n{GITHUB}"),
            "0123456789abcdef",
        ),
        ("held", format!("{unfinished}{session}"), "c2Vzc2lvbi/+c2"),
    ] {
        for kind in [Kind::Terminal, Kind::Pipe] {
            for piece in [1, 13, usize::MAX] {
                let out = mask(&patterns(&[]), kind, input.as_bytes(), piece);
                assert!(
                    !has(&out, secret),
                    "{name}: {}",
                    String::from_utf8_lossy(&out)
                );
            }
        }
    }
    // That comes to its end: what there was no room for is as long as the longest token, or key.
    let input = format!(
        "{nine_in_base_64}\n{}",
        "an ordinary line of text\n".repeat(4000)
    );
    let out = mask(&patterns(&[]), Kind::Pipe, input.as_bytes(), usize::MAX);
    assert!(out.ends_with(b"an ordinary line of text\n"));
}

/// Wherever it begins in what was encoded, whatever stands around it.
#[test]
fn encoded_secrets() {
    let patterns = patterns(&[LITERAL]);
    for before in ["", "u", "us", "use", "user:", "user:a"] {
        for behind in ["", "x", "xy", "\nz"] {
            let plain = format!("{before}{LITERAL}{behind}");
            for encoded in [
                STANDARD.encode(&plain),
                URL_SAFE.encode(&plain),
                hex::encode(&plain),
                hex::encode_upper(&plain),
            ] {
                let out = mask(
                    &patterns,
                    Kind::Pipe,
                    format!("x {encoded} y").as_bytes(),
                    3,
                );
                // What encodes the secret alone: all but the characters that its ends share.
                let bits = if encoded.len() >= 2 * plain.len() {
                    4
                } else {
                    6
                };
                let first = (before.len() * 8).div_ceil(bits);
                let last = (before.len() + LITERAL.len()) * 8 / bits;
                let shown = |range: std::ops::Range<usize>| &out[2 + range.start..2 + range.end];
                assert!(shown(first..last).iter().all(|c| *c == b'*'), "{encoded}");
                assert_eq!(shown(0..first), &encoded.as_bytes()[..first]);
                assert_eq!(shown(last..encoded.len()), &encoded.as_bytes()[last..]);
            }
        }
    }
    // Broken into lines, and as it stands in URLs.
    let lines = STANDARD.encode(format!("{}{LITERAL}", "y".repeat(50)));
    let (a, b) = lines.split_at(76);
    let out = mask(&patterns, Kind::Pipe, format!("{a}\n{b}\n").as_bytes(), 1);
    assert!(
        out[67..out.len() - 4]
            .iter()
            .all(|c| matches!(c, b'*' | b'\n'))
    );
    for url in ["correct%2Fhorse%2Bbattery9", "correct%2fhorse%2bbattery9"] {
        let out = mask(&patterns, Kind::Pipe, format!("?p={url}&q").as_bytes(), 1);
        assert_eq!(
            out,
            [b"?p=", "*".repeat(url.len()).as_bytes(), b"&q"].concat()
        );
    }
}

/// As writers of JSON put it.
#[test]
fn in_strings_of_json() {
    let secret = "a/b\"c\\d<e>&\tf";
    for written in [
        r#"a/b\"c\\d<e>&\tf"#,
        r#"a\/b\"c\\d<e>&\tf"#,
        r#"a/b\"c\\d\u003ce\u003e\u0026\tf"#,
    ] {
        let out = text(&[secret], &format!("{{\"p\": \"{written}\"}}"));
        assert_eq!(out, format!("{{\"p\": \"{}\"}}", "*".repeat(written.len())));
    }
    assert_eq!(text(&["one-line\ntwo"], "one-line\\ntwo"), "*************");
}

#[test]
fn what_cannot_be_masked_is_said() {
    let new = |secret: &[u8]| Patterns::new([Zeroizing::new(secret.to_vec())]).map(|_| ());
    let length = |got| Err(PatternsError::Length { index: 0, got });
    assert_eq!(new(b"short12"), length(7));
    assert_eq!(new(b"1234567\n"), length(8));
    assert_eq!(new(&[b'x'; MAX_SECRET + 1]), length(MAX_SECRET + 1));
    assert_eq!(
        new(b"bell\x07bell"),
        Err(PatternsError::Control { index: 0 })
    );
    assert_eq!(
        new("next\u{85}line".as_bytes()),
        Err(PatternsError::Control { index: 0 })
    );
    assert_eq!(new(&[b'x'; MAX_SECRET]), Ok(()));
    let many = |count: usize, length: usize| {
        let secret = move |i: usize| {
            let secret = format!("{i:05}{}", "s".repeat(length - 5));
            Zeroizing::new(secret.into_bytes())
        };
        Patterns::new((0..count).map(secret)).map(|_| ())
    };
    assert_eq!(many(MAX_SECRETS, 32), Ok(()));
    assert_eq!(many(MAX_SECRETS + 1, 32), Err(PatternsError::TooMany));
    assert_eq!(many(MAX_SECRETS, MAX_SECRET), Err(PatternsError::TooMany));
    assert!(!format!("{:?}", patterns(&[LITERAL])).contains("horse"));
}
