//! Peers who keep to nothing. A trick that once worked stays a row here.

use super::pack::*;
use crate::sftp::{FILES_MAX, IN_FLIGHT_MAX, SftpError, Wrong, packet as p};
use crate::transfer::Verdict;
use crate::wire::Put;

/// Bytes that end the channel, after INIT and VERSION and with `/f` open for everything as `h` (number 1).
#[test]
fn what_cannot_be_read_in_one_way_only_ends_the_channel() {
    let raw = |len: u32, rest: &[u8]| [&len.to_be_bytes()[..], rest].concat();
    let attributes = |flags: u32, rest: &'static [u8]| {
        packet(p::SETSTAT, 9, |b| {
            b.string(b"/f").uint32(flags).raw(rest);
        })
    };
    let lying = |says: u32, room: usize| {
        packet(p::WRITE, 9, |b| {
            b.string(b"h").uint64(0).uint32(says).raw(&vec![0; room]);
        })
    };
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("no length", raw(0, &[])),
        ("no number", raw(4, &[p::STAT, 0, 0, 0])),
        ("4 GiB", raw(u32::MAX, &[p::WRITE])),
        (
            "longer than a packet may be",
            raw(p::PACKET_MAX + 1, &[p::WRITE]),
        ),
        (
            "longer than a path may be",
            raw(p::CONTROL_MAX + 1, &[p::STAT]),
        ),
        ("type 0", packet(0, 9, |_| {})),
        ("type 21, LINK of version 6", packet(21, 9, |_| {})),
        ("type 255", packet(255, 9, |_| {})),
        ("an answer from the client", status(9, 0)),
        ("INIT again", init()),
        (
            "a path that is longer than its packet",
            packet(p::STAT, 9, |b| {
                b.uint32(100).raw(b"/f");
            }),
        ),
        (
            "bytes behind it",
            packet(p::STAT, 9, |b| {
                b.string(b"/f").string(b"/g");
            }),
        ),
        ("one path of two", path(p::RENAME, 9, "/f")),
        (
            "OPEN of version 5",
            packet(p::OPEN, 9, |b| {
                b.string(b"/f").uint32(1).uint32(0).uint32(0).byte(1);
            }),
        ),
        ("a write that says more than it has", lying(20, 10)),
        ("a write that says less than it has", lying(10, 20)),
        ("a write that says 4 GiB", lying(u32::MAX, 10)),
        (
            "a write without its length",
            packet(p::WRITE, 9, |b| {
                b.string(b"h").uint64(0);
            }),
        ),
        ("a write without its handle", packet(p::WRITE, 9, |_| {})),
        (
            "a handle of 4 GiB",
            packet(p::WRITE, 9, |b| {
                b.uint32(u32::MAX).raw(&[0; 30]);
            }),
        ),
        ("a handle of 257 bytes", handle(p::CLOSE, 9, &[0; 257])),
        (
            "a handle of 257 bytes to write to",
            write(9, &[0; 257], 0, b""),
        ),
        (
            "attributes that are not of version 3",
            attributes(0x10, &[]),
        ),
        ("attributes without their values", attributes(0x0f, &[0; 8])),
        ("4 billion attributes", attributes(0x8000_0000, &[0xff; 4])),
        (
            "an attribute too few",
            attributes(0x8000_0000, &[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "copy-data that ends early",
            packet(p::EXTENDED, 9, |b| {
                b.string(b"copy-data").string(b"h").uint64(0);
            }),
        ),
        (
            "a number that is open",
            [read(9, b"h", 0, 1), read(9, b"h", 0, 1)].concat(),
        ),
        (
            "the number of what waits",
            [path(p::STAT, 9, "/held"), read(9, b"h", 0, 1)].concat(),
        ),
    ];
    for (name, bytes) in rows {
        let mut run = opened("/f", p::FXF_READ | p::FXF_WRITE);
        run.hold = true;
        let result = run.client(&bytes);
        assert!(
            matches!(result, Err(SftpError::Client(_))),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn a_server_that_answers_what_was_not_asked_ends_the_channel() {
    let names = |id| {
        packet(p::NAME, id, |b| {
            b.uint32(0);
        })
    };
    let long_handle = |id| handle(p::HANDLE, id, &[1; 257]);
    // Open: 2 READ of 10 bytes, 3 STAT, 4 OPEN, 5 WRITE, 6 an extension, 7 STAT that is being decided on.
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("a number that is not open", status(99, 0)),
        ("a number that has been answered", status(1, 0)),
        ("an answer to what was not sent", status(7, 0)),
        ("names for a read", names(2)),
        ("a handle for a read", handle(p::HANDLE, 2, b"x")),
        ("more than was asked for", data(2, &[0; 11])),
        ("contents for a stat", data(3, b"x")),
        ("a handle for a stat", handle(p::HANDLE, 3, b"x")),
        ("attributes for an open", packet(p::ATTRS, 4, |_| {})),
        (
            "a handle that is another file's",
            handle(p::HANDLE, 4, b"h"),
        ),
        ("a handle of 257 bytes", long_handle(4)),
        ("contents for a write", data(5, b"x")),
        ("a handle for an extension", handle(p::HANDLE, 6, b"x")),
        ("contents for an extension", data(6, b"x")),
        ("VERSION again", version()),
        ("a request", path(p::STAT, 2, "/f")),
        (
            "contents that are longer than their packet",
            packet(p::DATA, 2, |b| {
                b.uint32(100).raw(b"x");
            }),
        ),
        (
            "contents that are shorter than their packet",
            packet(p::DATA, 2, |b| {
                b.uint32(1).raw(b"xx");
            }),
        ),
        ("4 GiB", [0xff, 0xff, 0xff, 0xff, p::DATA].to_vec()),
        ("contents without a length", packet(p::DATA, 2, |_| {})),
        ("a status without a code", packet(p::STATUS, 2, |_| {})),
    ];
    for (name, bytes) in rows {
        let mut run = opened("/f", p::FXF_READ | p::FXF_WRITE);
        run.client(&read(2, b"h", 0, 10)).unwrap();
        run.client(&path(p::STAT, 3, "/f")).unwrap();
        run.client(&open(4, "/g", 1)).unwrap();
        run.client(&write(5, b"h", 0, b"x")).unwrap();
        run.client(&path(p::EXTENDED, 6, "what@example.com"))
            .unwrap();
        run.hold = true;
        run.client(&path(p::STAT, 7, "/held")).unwrap();
        let result = run.server(&bytes);
        assert!(
            matches!(result, Err(SftpError::Server(_))),
            "{name}: {result:?}"
        );
    }
}

/// What is refused without being asked about; the channel goes on.
#[test]
fn a_handle_is_good_for_what_it_was_opened_for_and_no_longer_than_it_is_open() {
    let set = |id, h: &[u8], flags: u32, value: &[u8]| {
        packet(p::FSETSTAT, id, |b| {
            b.string(h).uint32(flags).raw(value);
        })
    };
    let extended = |id, name: &str, h: &[u8]| {
        packet(p::EXTENDED, id, |b| {
            b.string(name.as_bytes()).string(h);
        })
    };
    let copy = |id, from: &[u8], to: &[u8]| {
        packet(p::EXTENDED, id, |b| {
            b.string(b"copy-data")
                .string(from)
                .uint64(0)
                .uint64(0)
                .string(to)
                .uint64(0);
        })
    };
    // With r open for reading, w for writing, d a directory, and c closed.
    let rows: Vec<(&str, Vec<u8>, bool)> = vec![
        ("read", read(9, b"r", 0, 1), true),
        ("read what is for writing", read(9, b"w", 0, 1), false),
        ("read a directory", read(9, b"d", 0, 1), false),
        ("read what is closed", read(9, b"c", 0, 1), false),
        (
            "read what was never opened",
            read(9, b"\0\0\0\0", 0, 1),
            false,
        ),
        ("write", write(9, b"w", 0, b"x"), true),
        ("write what is for reading", write(9, b"r", 0, b"x"), false),
        ("write what is closed", write(9, b"c", 0, b"x"), false),
        ("write to no handle", write(9, b"", 0, b"x"), false),
        ("list", handle(p::READDIR, 9, b"d"), true),
        ("list a file", handle(p::READDIR, 9, b"r"), false),
        ("stat", handle(p::FSTAT, 9, b"r"), true),
        ("stat what is closed", handle(p::FSTAT, 9, b"c"), false),
        ("close what is closed", handle(p::CLOSE, 9, b"c"), false),
        ("cut", set(9, b"w", 1, &[0; 8]), true),
        ("cut what is closed", set(9, b"c", 1, &[0; 8]), false),
        ("fsync", extended(9, "fsync@openssh.com", b"w"), true),
        (
            "fsync what is for reading",
            extended(9, "fsync@openssh.com", b"r"),
            false,
        ),
        ("df", extended(9, "fstatvfs@openssh.com", b"r"), true),
        (
            "df of what is closed",
            extended(9, "fstatvfs@openssh.com", b"c"),
            false,
        ),
        ("copy the wrong way", copy(9, b"w", b"r"), false),
        ("copy to what is closed", copy(9, b"r", b"c"), false),
        ("a path with NUL", path(p::STAT, 9, "/a\0b"), false),
        (
            "a path that is too long",
            path(p::STAT, 9, &"/a".repeat(3000)),
            false,
        ),
        ("a path with NUL to write", open(9, "/a\0b", 2), false),
        (
            "a second path with NUL",
            packet(p::RENAME, 9, |b| {
                b.string(b"/a").string(b"/b\0");
            }),
            false,
        ),
    ];
    for (name, bytes, passes) in rows {
        let mut run = ready();
        for (id, path, flags, h) in [(1, "/r", 1, b"r"), (2, "/w", 2, b"w"), (3, "/c", 3, b"c")] {
            run.client(&open(id, path, flags)).unwrap();
            run.server(&handle(p::HANDLE, id, h)).unwrap();
        }
        run.client(&path(p::OPENDIR, 4, "/d")).unwrap();
        run.server(&handle(p::HANDLE, 4, b"d")).unwrap();
        run.client(&handle(p::CLOSE, 5, b"c")).unwrap();
        let (before, asked) = (run.seen.server.len(), run.seen.asked.len());
        run.client(&bytes).unwrap();
        let went = run.seen.server.len() - before;
        assert_eq!(run.seen.asked.len(), asked, "{name}: asked");
        assert_eq!(went, if passes { bytes.len() } else { 0 }, "{name}");
        assert_eq!(run.seen.dropped, bytes.len() - went, "{name}");
        let refused = cut(&run.seen.client)
            .last()
            .is_some_and(|(kind, id, code)| (*kind, *id) == (p::STATUS, 9) && *code > 2);
        assert_eq!(refused, !passes, "{name}");
        // Goes on, with the same number where it was refused.
        run.client(&read(if passes { 10 } else { 9 }, b"r", 0, 1))
            .unwrap();
    }
}

#[test]
fn nothing_grows_without_bound() {
    // Requests in flight.
    let mut run = opened("/f", p::FXF_READ);
    let mut id = 100;
    let full = loop {
        if let Err(error) = run.client(&read(id, b"h", 0, 1)) {
            break error;
        }
        id += 1;
    };
    assert_eq!(full, SftpError::Client(Wrong::InFlight(IN_FLIGHT_MAX)));
    // 100,000 files that are never closed.
    let mut run = ready();
    let mut refused = 0;
    for id in 0..100_000_u32 {
        let asked = run.seen.asked.len();
        run.client(&open(id, "/f", p::FXF_READ)).unwrap();
        if run.seen.asked.len() == asked {
            refused += 1;
            continue;
        }
        run.seen.asked.clear();
        run.server(&handle(p::HANDLE, id, &id.to_be_bytes()))
            .unwrap();
        run.seen.asked.clear();
    }
    assert_eq!(refused, 100_000 - FILES_MAX);
    assert!(run.sftp.live.is_empty());
    // Opens that the server does not answer count as well, and refused ones do not.
    let mut run = ready();
    run.refuse.push("/no");
    for id in 0..2000 {
        run.client(&open(id, "/no", p::FXF_READ)).unwrap();
    }
    for id in 0..2000 {
        run.client(&open(id, "/f", p::FXF_READ)).unwrap();
    }
    assert_eq!(run.sftp.files.count(), FILES_MAX);
}

#[test]
fn before_both_have_said_version_3_nothing_is_asked_or_answered() {
    let mut run = Run::default();
    assert_eq!(
        run.client(&path(p::STAT, 1, "/f")),
        Err(SftpError::Client(Wrong::Type(p::STAT)))
    );
    let mut run = Run::default();
    assert_eq!(
        run.server(&version()),
        Err(SftpError::Server(Wrong::Type(p::VERSION)))
    );
    for other in [0, 2, 4, 6, u32::MAX] {
        let mut run = Run::default();
        run.client(&init()).unwrap();
        let answer = packet(p::VERSION, other, |_| {});
        assert_eq!(
            run.server(&answer),
            Err(SftpError::Server(Wrong::Version(other)))
        );
    }
    let mut run = Run::default();
    let old = packet(p::INIT, 2, |_| {});
    assert_eq!(run.client(&old), Err(SftpError::Client(Wrong::Version(2))));
    // What a client of version 6 says becomes version 3, at the same length.
    for size in [1, 100] {
        let mut run = Run::default();
        let extra = |b: &mut Vec<u8>| {
            b.string(b"versions").string(b"3,4,6");
        };
        for chunk in packet(p::INIT, 6, extra).chunks(size) {
            run.client(chunk).unwrap();
        }
        assert_eq!(run.seen.server, packet(p::INIT, 3, extra));
        // A refusal waits for VERSION.
        run.client(&read(1, b"x", 0, 1)).unwrap();
        assert!(run.seen.client.is_empty());
        run.server(&version()).unwrap();
        let kinds: Vec<_> = cut(&run.seen.client)
            .iter()
            .map(|(kind, ..)| *kind)
            .collect();
        assert_eq!(kinds, [p::VERSION, p::STATUS]);
    }
}

#[test]
fn each_ask_is_answered_once() {
    let mut run = ready();
    run.hold = true;
    run.client(&path(p::STAT, 1, "/f")).unwrap();
    assert_eq!(run.decide(7, Verdict::Permit), Err(SftpError::Ticket(7)));
    run.decide(0, Verdict::Refuse("\u{1b}[2Jno\n")).unwrap();
    assert_eq!(run.decide(0, Verdict::Permit), Err(SftpError::Ticket(0)));
    let text = String::from_utf8_lossy(&run.seen.client);
    assert!(text.contains("\\u{1b}[2Jno\\n"), "{text}");
    run.client(&path(p::STAT, 1, "/f")).unwrap();
    run.decide(1, Verdict::Refuse(&"ä".repeat(5000))).unwrap();
    assert!(run.seen.injected < 1300);
}
