//! What is found by its form, what is known, and how they lie to each other.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

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
        (
            format!("eyJ{}.eyJhIjoxfQ.", "a".repeat(9000)),
            format!("eyJ{}", stars(9000 + 12)),
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

fn key(title: &str, line: usize, lines: usize) -> (String, String) {
    let body = format!("{}\n", "MIIEowIBAAKCAQEA".repeat(line / 16)).repeat(lines);
    let input = format!("-----BEGIN {title}-----\n{body}-----END {title}-----\n");
    let expect: String = input
        .lines()
        .enumerate()
        .fold(String::new(), |out, (i, line)| match i {
            0 => out + line + "\n",
            _ => out + &"*".repeat(line.len()) + "\n",
        });
    (input, expect)
}

#[test]
fn private_keys_until_their_end() {
    for title in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
    ] {
        for lines in [1, 24, 200] {
            let (input, expect) = key(title, 64, lines);
            let (input, expect) = (format!("a {input}$ ls\n"), format!("a {expect}$ ls\n"));
            assert_eq!(text(&[], &input), expect);
            let patterns = patterns(&[]);
            for piece in [1, 7, 300] {
                let out = mask(&patterns, Kind::Pipe, input.as_bytes(), piece);
                assert_eq!(String::from_utf8(out).unwrap(), expect);
            }
        }
    }
    let shows_nothing = |input: &str| {
        let out = text(&[], input);
        assert!(!out.contains("MIIE"), "{out}");
        assert!(out.ends_with("$ ls\n"), "{out}");
    };
    let (plain, _) = key("RSA PRIVATE KEY", 64, 3);
    let body: Vec<&str> = plain.lines().collect();
    shows_nothing(&format!("{}\r\n$ ls\n", body.join("\r\n")));
    shows_nothing(&format!("  {}\n$ ls\n", body.join("\n  ")));
    shows_nothing(&format!("> {}\n$ ls\n", body.join("\n> ")));
    shows_nothing(&format!("+{}\n$ ls\n", body.join("\n+")));
    shows_nothing(&format!("-{}\n$ ls\n", body.join("\n-")));
    shows_nothing(&format!("\"{}\"\n$ ls\n", body.join("\\n")));
    shows_nothing(&format!("{}\n$ ls\n", body.join(" ")));
    shows_nothing(&format!("     1\t{}\n$ ls\n", body.join("\n     2\t")));
    shows_nothing(&format!(
        "\x1b[31m{}\x1b[0m\n$ ls\n",
        body.join("\x1b[0m\n\x1b[31m")
    ));
    let headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,4E51A8B0\n\n";
    shows_nothing(&format!(
        "{}\n{headers}{}\n$ ls\n",
        body[0],
        body[1..].join("\n")
    ));
    // Its end was cut off, its beginning was.
    shows_nothing(&format!("{}\n$ ls\n", body[..3].join("\n")));
    shows_nothing(&format!(
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\n{}\n$ ls\n",
        body[1]
    ));
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

/// As programs show files: whatever they put before each line, or behind it.
#[test]
fn private_keys_behind_what_stands_before_each_line() {
    type Before = fn(usize) -> String;
    let befores: &[(&str, Before, &str)] = &[
        ("diff", |_| "< ".into(), ""),
        ("diff -y", |_| "\t\t\t\t> ".into(), ""),
        ("bat", |n| format!("{n:4}   \u{2502} "), ""),
        ("cat -A", |_| String::new(), "$"),
        ("cat -A of a file of DOS", |_| String::new(), "^M$"),
        ("cat -An", |n| format!("{n:6}^I"), "$"),
        ("grep -r . dir", |_| "a.key:".into(), ""),
        (
            "grep -rn . dir",
            |n| format!("./etc/ssl/private/web-1.example.org_key.pem:{n}:"),
            "",
        ),
        ("grep -rZ", |_| "a.key\0".into(), ""),
        ("docker compose logs", |_| "web-1  | ".into(), ""),
        ("in colour", |_| "\x1b[36mweb-1  | \x1b[0m".into(), ""),
        (
            "kubectl logs --prefix",
            |_| "[pod/web-7f9c/app] ".into(),
            "",
        ),
        (
            "journalctl",
            |n| format!("Nov 28 00:59:{:02} web1 app[4711]: ", n % 60),
            "",
        ),
        (
            "logs with times",
            |n| format!("2026-11-28T00:59:{:02}.{n}Z stdout F ", n % 60),
            "",
        ),
        ("indented", |_| " ".repeat(40), ""),
        ("indented by tabs", |_| "\t".repeat(20), ""),
        (
            "git blame",
            |n| format!("^1a2b3c4 (Erin 2026-11-28 00:59:00 +0000 {n:2}) "),
            "",
        ),
        ("a quotation in Markdown", |_| "> > - ".into(), ""),
        ("a comment", |_| "// ".into(), ""),
        ("a comment of SQL", |_| "-- ".into(), ""),
        ("in a frame", |_| "\u{2551} ".into(), ""),
    ];
    let (plain, _) = key("RSA PRIVATE KEY", 64, 12);
    for (program, before, behind) in befores {
        let lines = plain.lines().enumerate();
        let shown: String = lines
            .map(|(i, line)| format!("{}{line}{behind}\n", before(i + 4)))
            .collect();
        for outer in [String::new(), "an ordinary line of text\n".repeat(50)] {
            let input = format!("{outer}{shown}$ ls\n");
            for kind in [Kind::Terminal, Kind::Pipe] {
                for piece in [1, 11, 300, usize::MAX] {
                    let out = mask(&patterns(&[]), kind, input.as_bytes(), piece);
                    let out = String::from_utf8(out).unwrap();
                    assert!(
                        !out.contains("MIIE") && !out.contains("CAQEA"),
                        "{program}: {out}"
                    );
                    assert!(out.ends_with("$ ls\n"), "{program}: {out}");
                    assert!(out.starts_with(outer.as_str()), "{program}: {out}");
                }
            }
        }
    }
    // Where only the first line is not indented, and two keys of which one does not end with a line.
    let text_of = |body: String| text(&[], &body);
    let yaml = plain.replace('\n', &format!("\n{}", " ".repeat(30)));
    assert!(!text_of(format!("key: {yaml}")).contains("MIIE"));
    let two = format!("{}{plain}", plain.trim_end());
    let out = text_of(format!("{two}$ ls\n"));
    assert!(!out.contains("MIIE") && out.ends_with("$ ls\n"), "{out}");
}

/// A private key of one source goes on behind lines of others, also behind such in which other keys begin.
#[test]
fn private_keys_among_lines_of_others() {
    let (pem, _) = key("RSA PRIVATE KEY", 64, 12);
    let of = |before: &str| -> Vec<String> {
        let lines = pem.lines();
        lines.map(|line| format!("{before}{line}\n")).collect()
    };
    let other = |n: usize| match n % 4 {
        0 => "api-1  | GET /index.html 200\n",
        1 => "api-1  | level:info ok\n",
        2 => "db-1   | listening\n",
        _ => "db-1   | -----BEGIN \n",
    };
    let with = |between: &dyn Fn(usize) -> String| {
        let lines = of("web-1  | ").into_iter().enumerate();
        lines
            .map(|(n, line)| line + &between(n))
            .collect::<String>()
    };
    let cases = [
        // Not behind the first line: nobody knows yet that each line begins so.
        with(&|n| {
            if n > 1 {
                other(n).into()
            } else {
                String::new()
            }
        }),
        with(&|n| {
            if n == 4 {
                (0..60).map(other).collect()
            } else {
                String::new()
            }
        }),
        // Of the same program, a second time: only digits differ.
        with(&|n| {
            if n > 1 {
                "web-2  | GET /index.html\n".into()
            } else {
                String::new()
            }
        }),
        // A key of another source, in turns with it.
        of("a | ").into_iter().zip(of("b | ")).enumerate().fold(
            String::new(),
            |all, (n, (a, b))| match n {
                0 => all + &a,
                1 => all + &a + &of("b | ")[0] + &b,
                _ => all + &a + &b,
            },
        ),
        // What a key of OpenSSH begins with, behind so much that nobody knows how its line begins.
        with(&|n| match n {
            3 => format!(
                "web-1  | {}b3BlbnNzaC1rZXktdjE\n",
                "MIIEowIBAAKCAQEA".repeat(8)
            ),
            _ => String::new(),
        }),
    ];
    for (n, input) in cases.into_iter().enumerate() {
        let input = format!("an ordinary line\n{input}$ ls\n");
        for kind in [Kind::Terminal, Kind::Pipe] {
            for piece in [1, 11, 300, usize::MAX] {
                let out = mask(&patterns(&[]), kind, input.as_bytes(), piece);
                let out = String::from_utf8(out).unwrap();
                assert!(
                    !out.contains("MIIE") && !out.contains("CAQEA"),
                    "{n}: {out}"
                );
                assert!(out.ends_with("$ ls\n"), "{n}: {out}");
                let others = |text: &str| {
                    text.matches("GET /index.html").count() + text.matches("level:info").count()
                };
                assert_eq!(others(&out), others(&input), "{n}: {out}");
            }
        }
    }
}

/// As clusters and clouds keep them.
#[test]
fn private_keys_in_base_64() {
    for title in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
    ] {
        let (pem, _) = key(title, 64, 12);
        for before in ["", "x", "xy", "a longer text before it: "] {
            let whole = STANDARD.encode(format!("{before}{pem}"));
            // Nothing of what stands behind the title.
            let secret = &whole[(before.len() + 11 + title.len()) * 4 / 3 + 5..whole.len() - 44];
            let wrapped: Vec<&str> = whole
                .as_bytes()
                .chunks(76)
                .map(|l| str::from_utf8(l).unwrap())
                .collect();
            for input in [
                format!(
                    "data:\n  tls.crt: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUQ\n  tls.key: {whole}\nkind: Secret\n"
                ),
                format!("    client-key-data: {whole}\nkind: Secret\n"),
                format!("{{\"key\": \"{}\"}}\nkind: Secret\n", wrapped.join("\\n")),
                format!("{}\nkind: Secret\n", wrapped.join("\n")),
                format!("  {}\r\nkind: Secret\n", wrapped.join("\r\n  ")),
            ] {
                for piece in [1, 50, usize::MAX] {
                    let out = mask(&patterns(&[]), Kind::Pipe, input.as_bytes(), piece);
                    let out = String::from_utf8(out).unwrap();
                    assert!(out.ends_with("kind: Secret\n"), "{out}");
                    assert!(
                        !secret
                            .as_bytes()
                            .chunks_exact(24)
                            .any(|p| has(out.as_bytes(), str::from_utf8(p).unwrap())),
                        "{before:?} {out}"
                    );
                }
            }
        }
    }
    for (title, body) in [
        ("CERTIFICATE", "MIIB"),
        ("PUBLIC KEY", "MIIB"),
        ("RSA PUBLIC KEY", "MIIB"),
    ] {
        let pem = format!(
            "-----BEGIN {title}-----\n{}\n-----END {title}-----\n",
            body.repeat(16)
        );
        let input = format!("x: {}\n", STANDARD.encode(pem));
        assert_eq!(text(&[], &input), input);
    }
}

/// A first line that a search has found hides nothing of what follows but a word.
#[test]
fn a_first_line_alone_hides_little() {
    for behind in [
        "root@host:~# ls -la /tmp\n",
        "[root@host ~]# ls\n",
        "$ cat x\n",
        "./a/b.pem: no\n",
    ] {
        let input = format!("id_rsa:-----BEGIN RSA PRIVATE KEY-----\n{behind}");
        let out = text(&[], &input);
        let changed = input
            .bytes()
            .zip(out.bytes())
            .filter(|(a, b)| a != b)
            .count();
        assert!(changed <= 8, "{out}");
    }
    let public = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkq\n-----END PUBLIC KEY-----\n";
    assert_eq!(text(&[], public), public);
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkq\n-----END CERTIFICATE-----\n";
    assert_eq!(text(&[], certificate), certificate);
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
