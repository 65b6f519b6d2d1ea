//! Peers who keep to nothing. A trick that once worked stays a row here.

use bytes::Bytes;

use crate::scp::{Command, DEPTH_MAX, RECORD_MAX, Scp, ScpError};
use crate::transfer::{Answer, Content, Effect, FileDone, Request, Verdict, Why};

/// A reader with a policy that answers at once, and what came out of it.
struct Run {
    scp: Scp,
    refuse: &'static str,
    hold: bool,
    seen: Seen,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// For the server.
    server: Vec<u8>,
    /// For the client.
    client: Vec<u8>,
    asked: Vec<Request>,
    answered: Vec<Answer>,
    done: Vec<FileDone>,
    dropped: usize,
    injected: usize,
}

impl Run {
    fn new(command: &str) -> Self {
        let words: Vec<&str> = command.split(' ').collect();
        Self {
            scp: Scp::new(Command::parse(&words, true).unwrap()),
            refuse: "nothing",
            hold: false,
            seen: Seen::default(),
        }
    }

    fn client(&mut self, bytes: &[u8]) -> Result<(), ScpError> {
        let mut out = Vec::new();
        let result = self.scp.client(Bytes::copy_from_slice(bytes), &mut out);
        self.take(out);
        result
    }

    fn server(&mut self, bytes: &[u8]) -> Result<(), ScpError> {
        let mut out = Vec::new();
        let result = self.scp.server(Bytes::copy_from_slice(bytes), &mut out);
        self.take(out);
        result
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::ToServer(bytes) => self.seen.server.extend_from_slice(&bytes),
                Effect::ToClient(bytes) => self.seen.client.extend_from_slice(&bytes),
                Effect::InjectServer(bytes) => {
                    self.seen.injected += bytes.len();
                    self.seen.server.extend_from_slice(&bytes);
                }
                Effect::InjectClient(bytes) => {
                    self.seen.injected += bytes.len();
                    self.seen.client.extend_from_slice(&bytes);
                }
                Effect::DropClient(n) | Effect::DropServer(n) => self.seen.dropped += n,
                Effect::Answered { result, .. } => self.seen.answered.push(result),
                Effect::Done(done) => self.seen.done.push(done),
                Effect::Ask(request) => {
                    self.seen.asked.push(request.clone());
                    if self.hold {
                        continue;
                    }
                    let refused = request.text().contains(self.refuse);
                    let verdict = match (refused, request.way) {
                        (true, _) => Verdict::Refuse("no"),
                        (false, crate::transfer::Way::ToServer) => {
                            self.seen.server.extend_from_slice(&request.raw);
                            Verdict::Permit
                        }
                        (false, crate::transfer::Way::ToClient) => {
                            self.seen.client.extend_from_slice(&request.raw);
                            Verdict::Permit
                        }
                    };
                    let mut out = Vec::new();
                    self.scp.answer(request.ticket, verdict, &mut out).unwrap();
                    self.take(out);
                }
            }
        }
    }
}

/// An upload after the server has said that it is there.
fn upload(command: &str) -> Run {
    let mut run = Run::new(command);
    run.server(b"\0").unwrap();
    run
}

#[test]
fn records_that_lead_out_or_are_no_records_end_the_channel() {
    let long = [b"C0644 1 ", &[b'x'; RECORD_MAX][..], b"\n"].concat();
    let rows: &[(&str, &[u8])] = &[
        ("a slash", b"C0644 1 ../x\n"),
        ("a path", b"C0644 1 /etc/passwd\n"),
        ("up", b"D0755 0 ..\n"),
        ("here", b"D0755 0 .\n"),
        ("no name", b"C0644 1 \n"),
        ("NUL", b"C0644 1 a\0b\n"),
        ("no size", b"C0644  a\n"),
        ("a size below zero", b"C0644 -1 a\n"),
        ("a size that is no number", b"C0644 0x10 a\n"),
        (
            "a size of more than 64 bits",
            b"C0644 18446744073709551616 a\n",
        ),
        ("a size with a sign", b"C0644 +1 a\n"),
        ("five digits of mode", b"C10644 1 a\n"),
        ("a mode that is not octal", b"C0648 1 a\n"),
        ("no mode", b"C 1 a\n"),
        ("tab for space", b"C0644\t1\ta\n"),
        ("nothing", b"\n"),
        ("an acknowledgement", b"\0"),
        ("another letter", b"X0644 1 a\n"),
        ("small letter", b"c0644 1 a\n"),
        ("an end of nothing", b"E\n"),
        ("an end with something", b"E x\n"),
        ("times that are none", b"T1 2 3\n"),
        ("times with more", b"T1 2 3 4 5\n"),
        ("times below zero", b"T-1 0 1 0\n"),
        ("longer than a record may be", &long),
        ("a shell's greeting", b"Welcome to host\n"),
        (
            "the old record with a carriage return before the name",
            b"C0644 1\r a\n",
        ),
    ];
    for (name, bytes) in rows {
        // From the client, whole and byte by byte.
        for size in [1, bytes.len()] {
            let mut run = upload("scp -r -t /d");
            run.hold = true;
            let result = bytes.chunks(size).try_for_each(|chunk| run.client(chunk));
            assert!(
                matches!(result, Err(ScpError::Client(_))),
                "{name}: {result:?}"
            );
            assert!(
                run.seen.server.is_empty() && run.seen.asked.is_empty(),
                "{name}"
            );
        }
        // From a server that wants to write elsewhere on the client.
        let mut run = Run::new("scp -r -f /d");
        run.client(b"\0").unwrap();
        run.hold = true;
        let result = run.server(bytes);
        assert!(
            matches!(result, Err(ScpError::Server(_))),
            "{name}: {result:?}"
        );
        assert!(
            run.seen.client.is_empty() && run.seen.asked.is_empty(),
            "{name}"
        );
    }
}

#[test]
fn who_speaks_out_of_turn_ends_the_channel() {
    // What the client sends after "C0644 3 a\n" before the server has answered would be contents to us and records
    // to a server that does not take the file.
    let mut run = upload("scp -t /d");
    assert!(run.client(b"C0644 3 a\nabc").is_err());
    assert_eq!(run.seen.server, b"C0644 3 a\n");
    // The same while it is being decided.
    let mut run = upload("scp -t /d");
    run.hold = true;
    run.client(b"C0644 3 a\n").unwrap();
    assert!(run.client(b"abc").is_err());
    assert!(run.seen.server.is_empty());
    // Before the server is there.
    assert!(Run::new("scp -t /d").client(b"C0644 3 a\n").is_err());
    // More than the size.
    let mut run = upload("scp -t /d");
    run.client(b"C0644 3 a\n").unwrap();
    run.server(b"\0").unwrap();
    assert!(run.client(b"abcC0644 3 b\n").is_err());
    assert_eq!(run.seen.server, b"C0644 3 a\nabc");
    // Another record before the contents are acknowledged.
    let mut run = upload("scp -t /d");
    run.client(b"C0644 3 a\n").unwrap();
    run.server(b"\0").unwrap();
    assert!(run.client(b"abc\0C0644 3 b\n").is_err());
    // A server that acknowledges twice, within contents, or with something else.
    assert!(upload("scp -t /d").server(b"\0").is_err());
    let mut run = upload("scp -t /d");
    run.client(b"C0644 3 a\n").unwrap();
    run.server(b"\0").unwrap();
    run.client(b"a").unwrap();
    assert!(run.server(b"\0").is_err());
    assert!(Run::new("scp -t /d").server(b"Welcome\n").is_err());
    assert!(Run::new("scp -t /d").server(b"\x03no\n").is_err());
    assert!(Run::new("scp -t /d").server(&[1; RECORD_MAX + 1]).is_err());
    // A download to which the client sends contents.
    let mut run = Run::new("scp -f /d/a");
    run.client(b"\0").unwrap();
    assert!(run.client(b"C0644 3 a\n").is_err());
    // Nothing after the end.
    let mut run = upload("scp -t /d");
    run.client(b"\x02gone\n").unwrap();
    assert!(run.client(b"C0644 3 a\n").is_err());
}

#[test]
fn directories_only_where_they_were_asked_for_and_not_too_deep() {
    let mut run = upload("scp -t /d");
    assert!(run.client(b"D0755 0 x\n").is_err());
    let mut run = upload("scp -r -t /d");
    let name = "x".repeat(200);
    let mut deep = upload("scp -r -t /d");
    let record = format!("D0755 0 {name}\n");
    let fits = (0..DEPTH_MAX).take_while(|_| {
        deep.client(record.as_bytes())
            .and_then(|()| deep.server(b"\0"))
            .is_ok()
    });
    assert_eq!(fits.count(), 20, "paths are no longer than Linux takes");
    for _ in 0..DEPTH_MAX {
        run.client(b"D0755 0 x\n").unwrap();
        run.server(b"\0").unwrap();
    }
    assert!(run.client(b"D0755 0 x\n").is_err());
}

#[test]
fn a_file_that_is_refused_is_left_out_and_the_next_one_comes() {
    let mut run = upload("scp -r -d -t /d");
    run.refuse = "secret";
    run.client(b"D0755 0 x\n").unwrap();
    run.server(b"\0").unwrap();
    run.client(b"C0644 3 secret\n").unwrap();
    assert_eq!(run.seen.client, b"\0\0\x01no\n");
    // What the client would send for a file that was taken is not taken for a record.
    run.client(b"C4755 3 b\n").unwrap();
    run.server(b"\0").unwrap();
    run.client(b"abc\0").unwrap();
    run.server(b"\x01disk full\n").unwrap();
    run.client(b"E\n").unwrap();
    run.server(b"\0").unwrap();
    run.client(b"D0755 0 secrets\n").unwrap();
    run.client(b"C0644 0 empty\n").unwrap();
    run.server(b"\0").unwrap();
    run.client(b"\0").unwrap();
    run.server(b"\0").unwrap();
    let texts: Vec<_> = run
        .seen
        .asked
        .iter()
        .map(|r| (r.text(), r.known()))
        .collect();
    assert_eq!(
        texts,
        [
            ("scp directory /d/x (write) mode 0755".to_owned(), true),
            (
                "scp file /d/x/secret (write) mode 0644 size 3".to_owned(),
                true
            ),
            ("scp file /d/x/b (write) mode 4755 size 3".to_owned(), false),
            (
                "scp directory /d/secrets (write) mode 0755".to_owned(),
                true
            ),
            (
                "scp file /d/empty (write) mode 0644 size 0".to_owned(),
                true
            ),
        ]
    );
    assert_eq!(
        run.seen.server,
        b"D0755 0 x\nC4755 3 b\nabc\0E\nC0644 0 empty\n\0"
    );
    assert_eq!((run.seen.dropped, run.seen.injected), (15 + 16, 8));
    let done: Vec<_> = run
        .seen
        .done
        .iter()
        .map(|d| (&*d.path.text, d.bytes, d.content))
        .collect();
    assert_eq!(done[0], ("/d/x/b", 3, Content::Unhashed(Why::Failed)));
    assert!(matches!(
        done[1],
        ("/d/empty", 0, Content::Hashed { whole: true, .. })
    ));
    assert_eq!(
        run.seen.answered,
        [Answer::Done, Answer::Failed(1), Answer::Done]
    );
}

#[test]
fn what_a_server_sends_that_was_not_asked_for_is_not_known() {
    // The command, the record, what is asked, and whether that is known.
    let rows = [
        (
            "scp -f /d/a",
            "C0644 1 a\n",
            "scp file /d/a (read) mode 0644 size 1",
            true,
        ),
        (
            "scp -f /d/a",
            "C0644 1 b\n",
            "scp file /d/b (read) mode 0644 size 1",
            false,
        ),
        (
            "scp -f /d/",
            "C0644 1 d\n",
            "scp file /d (read) mode 0644 size 1",
            true,
        ),
        (
            "scp -f a",
            "C0644 1 a\n",
            "scp file a (read) mode 0644 size 1",
            false,
        ),
        (
            "scp -f /d/a /e/b",
            "C0644 1 b\n",
            "scp file /e/b (read) mode 0644 size 1",
            true,
        ),
        (
            "scp -f -- /d/a",
            "C0644 1 a\n",
            "scp file /d/a (read) mode 0644 size 1",
            true,
        ),
        (
            "scp -r -f /d",
            "D0755 0 d\n",
            "scp directory /d (read) mode 0755",
            true,
        ),
    ];
    for (command, record, text, known) in rows {
        let mut run = Run::new(command);
        run.client(b"\0").unwrap();
        run.server(record.as_bytes()).unwrap();
        let asked = &run.seen.asked[0];
        assert_eq!(
            (asked.text(), asked.known()),
            (text.to_owned(), known),
            "{command}"
        );
        assert_eq!(run.seen.client, record.as_bytes());
    }
    let glob = Command::parse(&["scp", "-f", "/d/*"], false).unwrap();
    assert!(!glob.paths[0].known);
}

#[test]
fn how_scp_is_started_is_read_or_it_is_not() {
    let parse = |command: &str| {
        let words: Vec<&str> = command.split(' ').collect();
        Command::parse(&words, true).is_some()
    };
    for good in [
        "scp -t /d",
        "scp -f /d a",
        "/usr/bin/scp -v -r -p -d -t -- -x",
        "scp -rpt /d",
    ] {
        assert!(parse(good), "{good}");
    }
    for bad in [
        "scp /a /b",
        "scp -t",
        "scp -t /a /b",
        "scp -f",
        "scp -t -f /a",
        "scp -S sh -t /a",
        "scp -oProxyCommand=x -t /a",
        "scp -3 -t /a",
        "scp --help -t /a",
    ] {
        assert!(!parse(bad), "{bad}");
    }
}

#[test]
fn the_same_comes_out_however_the_bytes_are_cut() {
    let turns: [(bool, &[u8]); 13] = [
        (true, b"\0"),
        (false, b"T1 0 2 0\n"),
        (true, b"\0"),
        (false, b"\x01a: not to be read\nD0755 0 d\n"),
        (true, b"\0"),
        (false, b"C0644 5 with space\n"),
        (true, b"\0"),
        (false, b"C0644\0"),
        (true, b"\0"),
        (false, b"C0644 9 secret\n"),
        (false, b"E\n"),
        (true, b"\x02no\n"),
        (true, b""),
    ];
    let run = |size: usize| {
        let mut run = Run::new("scp -p -r -f /d");
        run.refuse = "secret";
        for (client, bytes) in turns {
            for chunk in bytes.chunks(size) {
                match client {
                    true => run.client(chunk).unwrap(),
                    false => run.server(chunk).unwrap(),
                }
            }
        }
        run.seen
    };
    let whole = run(usize::MAX);
    for size in 1..20 {
        assert_eq!(run(size), whole);
    }
    assert_eq!(whole.server, b"\0\0\0\0\0\x01no\n\x02no\n");
    assert_eq!(whole.done.len(), 1);
}
