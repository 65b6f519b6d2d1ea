//! However the bytes of a session are cut, the same comes out.

use super::pack::*;
use crate::sftp::{SftpError, packet as p};
use crate::transfer::{Answer, Content, Direction, Why};
use crate::wire::Put;

enum From {
    Client(Vec<u8>),
    Server(Vec<u8>),
}

/// A session with everything in it: pipelined reads whose answers come in another order and short, a write, lists,
/// refusals before, within and behind other answers, a handle that is not known.
fn session() -> Vec<From> {
    let block = |n: u8, len: usize| vec![n; len];
    let list = packet(p::NAME, 8, |b| {
        b.uint32(1).string(b"x").string(b"long x").uint32(0);
    });
    let here = packet(p::NAME, 1, |b| {
        b.uint32(1).string(b"/home/me").string(b"").uint32(0);
    });
    let writes = [
        write(20, b"w", 0, &block(7, 700)),
        path(p::STAT, 21, "/secret"),
        write(22, b"nobody", 0, &block(9, 333)),
        write(23, b"w", 700, &block(8, 41)),
        write(24, b"w", 741, b""),
        handle(p::CLOSE, 25, b"w"),
    ];
    let reads = [
        read(10, b"r", 0, 1000),
        read(11, b"r", 1000, 1000),
        path(p::REMOVE, 12, "secret"),
        read(13, b"r", 2000, 1000),
        read(14, b"w", 0, 10),
    ];
    let answers = [
        data(11, &block(2, 1000)),
        data(10, &block(1, 1000)),
        data(13, &block(3, 500)),
    ];
    vec![
        From::Client(init()),
        From::Server(version()),
        From::Client(
            [
                path(p::REALPATH, 1, "."),
                path(p::OPENDIR, 2, "/a/./b/../c//"),
            ]
            .concat(),
        ),
        From::Server([here, handle(p::HANDLE, 2, b"d")].concat()),
        From::Client(
            [
                open(3, "in", 1),
                open(4, "/out", 0x1a),
                handle(p::READDIR, 8, b"d"),
            ]
            .concat(),
        ),
        From::Server([handle(p::HANDLE, 4, b"w"), list, handle(p::HANDLE, 3, b"r")].concat()),
        From::Client(reads.concat()),
        From::Server(answers.concat()),
        From::Client([read(15, b"r", 2500, 500), handle(p::CLOSE, 16, b"r")].concat()),
        From::Server([status(15, 1), status(16, 0)].concat()),
        From::Client(writes.concat()),
        From::Server([status(23, 0), status(20, 0), status(24, 0), status(25, 0)].concat()),
    ]
}

fn run(cut: impl FnMut() -> usize) -> Seen {
    let (mut run, result) = feed(session(), cut);
    result.unwrap();
    assert!(run.sftp.is_idle() && run.sftp.live.is_empty() && run.sftp.tickets.is_empty());
    run.end();
    run.seen
}

fn feed(session: Vec<From>, mut cut: impl FnMut() -> usize) -> (Run, Result<(), SftpError>) {
    let mut run = Run {
        refuse: vec!["/secret", "/home/me/secret"],
        ..Run::default()
    };
    for chunk in session {
        let (bytes, client) = match &chunk {
            From::Client(bytes) => (bytes, true),
            From::Server(bytes) => (bytes, false),
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cut().clamp(1, rest.len()));
            let result = match client {
                true => run.client(now),
                false => run.server(now),
            };
            if result.is_err() {
                return (run, result);
            }
            rest = later;
        }
    }
    (run, Ok(()))
}

/// Bytes that are changed, left out or put in: whatever comes of it is the same however it is cut, and every byte is
/// accounted for.
#[test]
fn damage_is_found_at_the_same_place_however_the_bytes_are_cut() {
    let mut state = 7_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let (mut well, mut ill) = (0, 0);
    for _ in 0..200 {
        let mut session = session();
        for _ in 0..1 + random(3) {
            let n = random(session.len());
            let (From::Client(bytes) | From::Server(bytes)) = &mut session[n];
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] ^= 1 << random(8),
                1 => bytes[at] = [0, 1, 0x7f, 0xff][random(4)],
                2 => bytes.insert(at, random(256) as u8),
                _ => {
                    bytes.remove(at);
                }
            }
        }
        let copy = |from: &From| match from {
            From::Client(bytes) => From::Client(bytes.clone()),
            From::Server(bytes) => From::Server(bytes.clone()),
        };
        let again = session.iter().map(copy).collect();
        let (mut whole, one) = feed(session, || usize::MAX);
        let (mut bytewise, other) = feed(again, || 1);
        assert_eq!(one, other);
        if one.is_err() {
            ill += 1;
            continue;
        }
        well += 1;
        whole.end();
        bytewise.end();
        assert_eq!(whole.seen, bytewise.seen);
        assert_eq!(
            whole.seen.answered.len() + refusals(&whole.seen),
            whole.seen.asked.len()
        );
    }
    assert!(well > 20 && ill > 20, "{well} {ill}");
}

/// Of what was asked about.
fn refusals(seen: &Seen) -> usize {
    let refused = |path: &str| matches!(path, "/secret" | "/home/me/secret");
    let asked = seen.asked.iter();
    asked
        .filter(|r| r.paths.iter().any(|p| refused(&p.path.text)))
        .count()
}

#[test]
fn the_same_comes_out_however_the_bytes_are_cut() {
    let whole = run(|| usize::MAX);
    assert_eq!(run(|| 1), whole);
    let mut state = 1_u64;
    for _ in 0..300 {
        let seen = run(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % 40
        });
        assert_eq!(seen, whole);
    }
}

#[test]
fn what_comes_out_is_what_should() {
    let seen = run(|| usize::MAX);
    let texts: Vec<_> = seen.asked.iter().map(|r| r.text()).collect();
    assert_eq!(
        texts,
        [
            "list /a/c",
            "open /home/me/in (read)",
            "open /out (write)",
            "remove /home/me/secret (write)",
            "stat /secret",
        ]
    );
    let done: Vec<_> = seen
        .done
        .iter()
        .map(|d| {
            (
                &*d.path.text,
                d.direction,
                d.bytes,
                matches!(d.content, Content::Hashed { whole: true, .. }),
            )
        })
        .collect();
    assert_eq!(
        done,
        [
            ("/home/me/in", Direction::Read, 2500, true),
            ("/out", Direction::Write, 741, true),
        ]
    );
    // Four refusals: two by policy, a write to no handle, a read of a handle for writing.
    let packets = cut(&seen.client);
    let refused: Vec<_> = packets
        .iter()
        .filter(|(kind, _, code)| *kind == p::STATUS && *code > 1)
        .collect();
    assert_eq!(
        refused,
        [
            &(p::STATUS, 12, 3),
            &(p::STATUS, 14, 3),
            &(p::STATUS, 21, 3),
            &(p::STATUS, 22, 4)
        ]
    );
    // Every byte of each side is accounted for.
    let sum = |client: bool| -> usize {
        let sizes = session().into_iter().map(|chunk| match (chunk, client) {
            (From::Client(bytes), true) | (From::Server(bytes), false) => bytes.len(),
            _ => 0,
        });
        sizes.sum()
    };
    assert_eq!(seen.server.len() + seen.dropped, sum(true));
    assert_eq!(seen.client.len() - seen.injected, sum(false));
}

#[test]
fn a_refusal_waits_for_the_end_of_the_packet_that_is_on_its_way() {
    let mut run = opened("/in", p::FXF_READ);
    run.refuse.push("/secret");
    run.client(&read(2, b"h", 0, 1000)).unwrap();
    run.client(&read(3, b"h", 1000, 1000)).unwrap();
    let answer = [data(2, &[1; 1000]), data(3, &[2; 1000])].concat();
    run.server(&answer[..500]).unwrap();
    let before = run.seen.client.len();
    run.client(&path(p::STAT, 4, "/secret")).unwrap();
    assert_eq!(
        run.seen.client.len(),
        before,
        "it went out within another answer"
    );
    run.server(&answer[500..]).unwrap();
    let kinds: Vec<_> = cut(&run.seen.client)
        .iter()
        .map(|(kind, id, _)| (*kind, *id))
        .collect();
    assert_eq!(kinds[2..], [(p::DATA, 2), (p::STATUS, 4), (p::DATA, 3)]);
}

#[test]
fn what_is_not_a_whole_file_in_order_has_no_hash() {
    let flags = p::FXF_WRITE | p::FXF_CREAT;
    let empty = flags | p::FXF_TRUNC;
    // Flags, the writes by offset and length, the code of the last answer, and what is said.
    type Row = (u32, &'static [(u64, usize)], u32, Result<bool, Why>);
    let rows: &[Row] = &[
        (empty, &[(0, 10), (10, 5)], 0, Ok(true)),
        (empty, &[(10, 5), (0, 10)], 0, Err(Why::NotFromStart)),
        (empty, &[(0, 10), (15, 5), (10, 5)], 0, Ok(true)),
        (empty, &[(0, 10), (20, 5), (15, 5), (10, 5)], 0, Ok(true)),
        (flags, &[(0, 10), (10, 5)], 0, Ok(false)),
        (empty, &[(0, 10), (11, 5)], 0, Err(Why::Gaps)),
        (empty, &[(0, 10), (9, 5)], 0, Err(Why::Again)),
        (empty, &[(0, 10), (0, 10)], 0, Err(Why::Again)),
        (empty, &[(0, 10), (12, 5), (14, 5)], 0, Err(Why::Again)),
        (
            empty,
            &[(0, 10), (14, 5), (12, 5), (10, 2)],
            0,
            Err(Why::Again),
        ),
        (empty, &[(0, 10)], 4, Err(Why::Failed)),
        (flags | p::FXF_APPEND, &[(0, 10)], 0, Err(Why::Appended)),
        (flags, &[(512, 10)], 0, Err(Why::NotFromStart)),
        (flags, &[], 0, Err(Why::Nothing)),
        (empty, &[], 0, Ok(true)),
        (empty, &[(0, 1), (1 << 40, 2)], 0, Err(Why::Gaps)),
        (empty, &[(0, 1), (u64::MAX, 2)], 0, Err(Why::Gaps)),
    ];
    for (i, (flags, writes, code, expect)) in rows.iter().enumerate() {
        let mut run = opened("/out", *flags);
        for (id, (offset, len)) in (10..).zip(*writes) {
            run.client(&write(id, b"h", *offset, &vec![1; *len]))
                .unwrap();
            run.server(&status(id, *code)).unwrap();
        }
        run.client(&handle(p::CLOSE, 2, b"h")).unwrap();
        run.server(&status(2, 0)).unwrap();
        let said = match run.seen.done[..] {
            [ref done] => match done.content {
                Content::Hashed { whole, .. } => Ok(whole),
                Content::Unhashed(why) => Err(why),
            },
            _ => panic!("row {i}: {:?}", run.seen.done),
        };
        assert_eq!(&said, expect, "row {i}");
    }
}

#[test]
fn what_comes_too_far_ahead_is_not_kept() {
    let mut run = opened("/out", p::FXF_WRITE | p::FXF_TRUNC);
    let block = vec![1; 200 << 10];
    run.client(&write(2, b"h", 0, b"x")).unwrap();
    for n in 1..64_u64 {
        run.client(&write(100 + n as u32, b"h", n << 20, &block))
            .unwrap();
    }
    for id in std::iter::once(2).chain(101..164) {
        run.server(&status(id, 0)).unwrap();
    }
    run.end();
    assert_eq!(run.seen.done[0].content, Content::Unhashed(Why::OutOfOrder));
}

/// A client that goes away: what passed is told, and that it was not all.
#[test]
fn what_is_still_open_at_the_end_is_not_said_to_be_whole() {
    let mut run = opened("/out", p::FXF_WRITE | p::FXF_TRUNC);
    run.client(&write(2, b"h", 0, b"abc")).unwrap();
    run.server(&status(2, 0)).unwrap();
    run.client(&open(3, "/in", p::FXF_READ)).unwrap();
    run.server(&handle(p::HANDLE, 3, b"i")).unwrap();
    run.client(&read(4, b"i", 0, 10)).unwrap();
    run.server(&data(4, b"abcdef")[..14]).unwrap();
    run.client(&path(p::STAT, 5, "/x")).unwrap();
    let mut run_held = ready();
    run_held.hold = true;
    run_held.client(&path(p::STAT, 1, "/x")).unwrap();
    run_held.end();
    assert!(run_held.seen.answered.is_empty(), "it never was permitted");
    run.end();
    let contents: Vec<_> = run
        .seen
        .done
        .iter()
        .map(|done| (done.bytes, done.content))
        .collect();
    assert!(matches!(
        contents[0],
        (3, Content::Hashed { whole: false, .. })
    ));
    assert_eq!(contents[1], (1, Content::Unhashed(Why::Unfinished)));
    assert!(
        run.seen
            .answered
            .iter()
            .all(|(_, answer)| *answer == Answer::Unknown)
    );
    assert_eq!(run.seen.answered.len(), 3);
}

#[test]
fn a_handle_for_both_says_what_was_done_with_it() {
    let both = p::FXF_READ | p::FXF_WRITE;
    let said = |flags: u32, reads: bool, writes: bool| {
        let mut run = opened("/f", flags);
        if reads {
            run.client(&read(2, b"h", 0, 10)).unwrap();
            run.server(&data(2, b"abc")).unwrap();
        }
        if writes {
            run.client(&write(3, b"h", 0, b"x")).unwrap();
            run.server(&status(3, 0)).unwrap();
        }
        run.client(&handle(p::CLOSE, 4, b"h")).unwrap();
        run.server(&status(4, 0)).unwrap();
        assert_eq!(run.seen.answered.len(), 1);
        let directions = run.seen.done.iter().map(|done| done.direction);
        directions.collect::<Vec<_>>()
    };
    use Direction::{Read, Write};
    assert_eq!(said(both, true, false), [Read]);
    assert_eq!(said(both, false, true), [Write]);
    assert_eq!(said(both, true, true), [Read, Write]);
    assert_eq!(said(both | p::FXF_TRUNC, true, false), [Read, Write]);
    assert_eq!(said(p::FXF_WRITE, false, false), [Write]);
    assert_eq!(said(p::FXF_READ, false, false), []);
}
