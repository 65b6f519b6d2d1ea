//! Private keys, in whatever stands around their lines.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) fn key(title: &str, line: usize, lines: usize) -> (String, String) {
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

/// Sources that differ in digits only are one to who looks at how lines begin.
#[test]
fn private_keys_of_replicas_in_turns() {
    let (long, _) = key("RSA PRIVATE KEY", 64, 40);
    let (short, _) = key("RSA PRIVATE KEY", 64, 12);
    let line = |replica: usize, line: &str| format!("web-{replica}  | {line}\n");
    for first in [0, 1, 3] {
        // The second one begins behind so many lines of the first, and is the longer one.
        let mut ones = short.lines();
        let mut input: String = ones.by_ref().take(first).map(|l| line(1, l)).collect();
        for two in long.lines() {
            input += &line(2, two);
            input.extend(ones.next().map(|l| line(1, l)));
        }
        input += "web-1  | listening on 80\n$ ls\n";
        for piece in [1, 300, usize::MAX] {
            let out = mask(&patterns(&[]), Kind::Pipe, input.as_bytes(), piece);
            let out = String::from_utf8(out).unwrap();
            assert!(
                !out.contains("MIIE") && !out.contains("CAQEA"),
                "{first}: {out}"
            );
            assert!(out.ends_with("listening on 80\n$ ls\n"), "{first}: {out}");
        }
    }
}

#[test]
fn private_keys_are_not_used_up_or_ended_by_others() {
    let (pem, _) = key("RSA PRIVATE KEY", 64, 50);
    let lines = pem.lines().enumerate();
    let many = format!("{}\n", "api GET /index.html 200 ".repeat(5)).repeat(20);
    let ends = [
        "-----END CERTIFICATE-----\n",
        "12:00:01 -----END CERTIFICATE-----\n",
    ];
    for others in [many.as_str(), ends[0], ends[1]] {
        let between = |n: usize| if n > 2 { others } else { "" };
        let input: String = lines
            .clone()
            .map(|(n, l)| format!("web | {l}\n{}", between(n)))
            .collect();
        for piece in [1, 300, usize::MAX] {
            let out = mask(&patterns(&[]), Kind::Pipe, input.as_bytes(), piece);
            let out = String::from_utf8(out).unwrap();
            assert!(!out.contains("MIIE") && !out.contains("CAQEA"), "{out}");
        }
    }
}

/// A key may be as long as it likes, in lines, in one line of JSON, and in base 64.
#[test]
fn private_keys_of_any_length() {
    let (pem, _) = key("PGP PRIVATE KEY BLOCK", 64, 2500);
    let json = format!("{{\"key\": \"{}\"}}\n", pem.replace('\n', "\\n"));
    let prefixed: String = pem.lines().map(|l| format!("web-1  | {l}\n")).collect();
    let one_line = STANDARD.encode(&pem) + "\n";
    let lines = one_line.as_bytes().chunks(76);
    let lines: String = lines
        .map(|l| format!("{}\n", str::from_utf8(l).unwrap()))
        .collect();
    for input in [pem, json, prefixed, one_line, lines] {
        let out = text(&[], &format!("{input}$ ls\n"));
        let shown = out.bytes().filter(|c| *c != b'*' && *c != b'\n').count();
        // First lines, and quotation marks and slashes that are held, in JSON.
        assert!(shown < 200 && out.ends_with("$ ls\n"), "{shown} are shown");
    }
}

/// Long lines of another source behind the first line of a key.
#[test]
fn private_keys_behind_long_lines_of_others() {
    let (pem, _) = key("RSA PRIVATE KEY", 64, 12);
    let other = format!("db-1   | {{\"a\":\"{}\"}}\n", "x ".repeat(4500));
    for behind in [0, 1] {
        let lines = pem.lines().enumerate().map(|(n, line)| match n == behind {
            true => format!("web-1  | {line}\n{}", other.repeat(16)),
            false => format!("web-1  | {line}\n"),
        });
        let out = text(&[], &format!("{}$ ls\n", lines.collect::<String>()));
        assert!(!out.contains("CAQEA") && out.ends_with("$ ls\n"), "{out}");
    }
}

/// What stands beside a key, or before its other lines, says nothing of whether it is one.
#[test]
fn private_keys_in_tables_and_logs() {
    let (pem, _) = key("RSA PRIVATE KEY", 64, 12);
    let in_rows = |first: &str, other: &str, width: usize, behind: &str, last: &str| -> String {
        let rows = pem.lines().enumerate().map(|(n, line)| {
            let (before, end) = match n {
                0 => (first, behind),
                13 => (other, last),
                _ => (other, behind.get(..2).unwrap_or_default()),
            };
            format!("{before}{line:width$}{end}\n")
        });
        rows.collect()
    };
    let host = "Nov 28 16:18:33 ip-10-0-12-34.eu-central-1.compute.internal";
    let journal = |what: &str| {
        let before = format!("{host} {what}[1]: ");
        in_rows(&before, &" ".repeat(before.len()), 0, "", "")
    };
    let syslog = |end: &str| {
        let lines = pem.lines().collect::<Vec<_>>().join(end);
        format!("Nov 28 16:18:33 web1 app[1234]: {lines}\n")
    };
    let headers = "-----#012Proc-Type: 4,ENCRYPTED#012DEK-Info: AES-128-CBC,4E51A8B0#012#012MII";
    let (row, none) = (" 1  | www.example.com | ", "    |                 | ");
    let (cell, empty) = ("\u{2502} key \u{2502} ", "\u{2502}     \u{2502} ");
    for (name, input) in [
        ("psql", in_rows(row, none, 64, "+| 2026-11-28", " |")),
        ("psql, last column", in_rows(row, none, 64, "+", "")),
        ("psql, wide column", in_rows(row, none, 150, "+", "")),
        (
            "nushell",
            in_rows(cell, empty, 70, " \u{2502} note", " \u{2502}"),
        ),
        (
            "columns",
            in_rows("| key | ", "|     | ", 70, " | note |", " |"),
        ),
        ("padded", in_rows("", "", 200, "", "")),
        ("dyff", in_rows(&" ".repeat(12), "          - ", 0, "", "")),
        ("journalctl", journal("kubelet")),
        ("journalctl", journal("a-longer-name")),
        ("rsyslog", syslog("#012")),
        ("rsyslog, DOS", syslog("#015#012")),
        (
            "rsyslog, headers",
            syslog("#012").replace("-----#012MII", headers),
        ),
        (
            "in one line",
            syslog(" ").replace("----- MII", &headers.replace("#012", " ")),
        ),
    ] {
        for columns in [0, 80, 40] {
            for piece in [1, 7, usize::MAX] {
                let mut masker = Masker::new(patterns(&[]), Kind::Terminal);
                masker.resize(columns);
                let (now, mut out) = (Instant::now(), BytesMut::new());
                let input = format!("x\n{input}$ ls\nplain words\n");
                for part in input.as_bytes().chunks(piece.min(input.len())) {
                    let _ = masker.push(part, now, &mut out);
                }
                masker.flush(&mut out);
                let out = String::from_utf8_lossy(&out);
                assert!(
                    !out.contains("MIIE") && !out.contains("CAQEA"),
                    "{name} {columns} {piece}:\n{out}"
                );
                assert!(out.ends_with("plain words\n"), "{name}:\n{out}");
            }
        }
    }
}

/// Source code, logs and lists in which a first line is mentioned stay as they are.
#[test]
fn what_is_behind_a_mention_stays_readable() {
    let prompt = "src/a.go:3:\t\"-----BEGIN RSA PRIVATE KEY-----\"\nsrc/b.go: ok\nbash$ ";
    for input in [
        "src/auth/jwt.go:12:\tconst pemHeader = \"-----BEGIN RSA PRIVATE KEY-----\"\n\
         src/config/templates/ingress/controller/deployment.yaml:99: x\n\
         src/auth/loadPrivateKeyFromEnvironment.go:7:\t// -----BEGIN EC PRIVATE KEY-----\n\
         src/auth/jwt_test.go:8:func TestLoadPrivateKeyFromEnvironmentOrFile(t) {\n",
        "class A:\n    if \"-----BEGIN OPENSSH PRIVATE KEY-----\" in data:\n        return True\n    \
         internationalizationService.reload()\n    x = 1\n    name: value\n",
        "2026-11-28T16:18:01Z INFO key -----BEGIN RSA PRIVATE KEY-----[redacted]\n\
         2026-11-28T16:18:02Z WARN GET /usr/share/nginx/html/index/page\nroot@host:~# ls\nbin\netc\n",
        "  # -----BEGIN RSA PRIVATE KEY-----\n  ca: |\n    -----BEGIN CERTIFICATE-----\n    \
         MIIBIjANBgkqMIIBIjANBgkqMIIBIjANBgkqMIIBIjANBgkqMIIBIjANBgkqMIIB\n    \
         -----END CERTIFICATE-----\n",
        // Behind what begins a key of OpenSSH, the names of files are no part of it.
        "src/tests.rs:7:  b3BlbnNzaC1rZXktdjE\nsrc/tests.rs:8:  ok(1)\nsrc/tests.rs:9:}\n",
        prompt,
    ] {
        assert_eq!(text(&[], input), input);
    }
    let patterns = patterns(&[]);
    let out = trickle(
        &patterns,
        Kind::Terminal,
        prompt.as_bytes(),
        Duration::from_secs(3),
    );
    assert_eq!(String::from_utf8(out).unwrap(), prompt);
}

/// In base 64, of several lines, behind what stands before each of them.
#[test]
fn private_keys_in_base_64_behind_what_stands_before_each_line() {
    let (pem, _) = key("RSA PRIVATE KEY", 64, 24);
    let whole = STANDARD.encode(pem.replace("MIIE", "Zm9v").replace("CAQEA", "x+/1b"));
    let lines: Vec<&str> = whole
        .as_bytes()
        .chunks(76)
        .map(|l| str::from_utf8(l).unwrap())
        .collect();
    let second = format!("{}\n", STANDARD.encode("xy"));
    type Before = fn(usize) -> String;
    let befores: [(&str, Before); 9] = [
        ("base64", |_| String::new()),
        ("cat -n", |n| format!("{n:6}\t")),
        ("grep -r", |_| "key.b64:".into()),
        ("grep -rn", |n| format!("dir/key.b64:{n}:")),
        ("docker compose logs", |_| "web-1  | ".into()),
        ("diff", |_| "> ".into()),
        ("git diff", |_| "-".into()),
        ("git diff, added", |_| "+".into()),
        // Lines that begin as it does, with letters.
        ("yaml", |n| {
            if n == 0 {
                "LS0: ".into()
            } else {
                String::new()
            }
        }),
    ];
    for (name, before) in befores {
        for columns in [0, 60, u16::try_from(before(0).len() + 76).unwrap()] {
            for piece in [1, 7, usize::MAX] {
                let shown = lines.iter().enumerate();
                let shown = shown.map(|(n, line)| format!("{}{line}\n", before(n)));
                let input = format!(
                    "x\n{}$ ls\nkind: Secret {second}",
                    shown.collect::<String>()
                );
                let mut masker = Masker::new(patterns(&[]), Kind::Pipe);
                masker.resize(columns);
                let (now, mut out) = (Instant::now(), BytesMut::new());
                for part in input.as_bytes().chunks(piece.min(input.len())) {
                    let _ = masker.push(part, now, &mut out);
                }
                masker.flush(&mut out);
                let out = String::from_utf8_lossy(&out);
                // The title is shown, which its last line has, too.
                let behind = out.split_once('*').unwrap().1;
                let seen = lines.iter().skip(1).filter(|line| {
                    let parts = line.as_bytes().windows(20);
                    parts
                        .into_iter()
                        .any(|part| has(behind.as_bytes(), str::from_utf8(part).unwrap()))
                });
                assert_eq!(seen.count(), 0, "{name} {columns} {piece}:\n{out}");
                assert!(
                    out.ends_with(&format!("kind: Secret {second}")),
                    "{name}:\n{out}"
                );
            }
        }
    }
}
