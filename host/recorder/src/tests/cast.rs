//! Terminals of SSH as asciicast: whose is played, how large it is, and when what happened.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::ports::Journal;
use pipeline::{Direction, Facts, Protocol, SessionStart, SshFacts, SshKind, Target};
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::*;
use crate::cast::{Cast, CastEvent};
use crate::record::{Kind, Record};
use crate::{Moment, ReplayFormat, ReplayOptions};

/// A channel on which something happens in hours only. Bytes are recorded when they are.
const LATE: u32 = 9;
const HOURS: Duration = Duration::from_secs(7_200);

/// What happens in a session, one after the other.
enum Happens {
    /// On a channel: a terminal of this size, a shell.
    Pty(u32, &'static str),
    Shell(u32),
    /// Under an action: bytes of messages.
    Shows(u64, Vec<u8>),
    Typed(u64, Vec<u8>),
}

use Happens::{Pty, Shell, Shows, Typed};

fn message(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes()[..], bytes].concat()
}

fn data(text: &[u8]) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap();
    message(&[&[94, 0, 0, 0, 0][..], &len.to_be_bytes(), text].concat())
}

fn request(name: &str, rest: &[u32]) -> Vec<u8> {
    let len = u32::try_from(name.len()).unwrap();
    let mut out = vec![98, 0, 0, 0, 0];
    out.extend(len.to_be_bytes());
    out.extend(name.as_bytes());
    out.push(0);
    out.extend(rest.iter().flat_map(|n| n.to_be_bytes()));
    message(&out)
}

/// A session of SSH.
fn ssh(began: SystemTime) -> SessionStart {
    let mut begin = start();
    let mut info = (*begin.info).clone();
    info.started = began;
    info.target = Arc::new(Target {
        protocol: Protocol::Ssh,
        ..(*info.target).clone()
    });
    begin.info = Arc::new(info);
    begin
}

/// Intents have the numbers 1, 2, … in their order, also those of terminals.
async fn recorded(dir: &TempDir, all: &[Happens]) -> Uuid {
    let (recorder, _) = dir.open().await;
    let began = SystemTime::now() - Duration::from_secs(100);
    let begin = ssh(began);
    let id = begin.info.id.0;
    let journal = recorder.open(begin).await.unwrap();
    let mut seq = 0;
    for one in all {
        let (kind, channel, text) = match one {
            Pty(channel, size) => (SshKind::Pty, *channel, *size),
            Shell(channel) => (SshKind::Shell, *channel, ""),
            Shows(seq, bytes) | Typed(seq, bytes) => {
                let way = match one {
                    Shows(..) => Direction::ToClient,
                    _ => Direction::ToUpstream,
                };
                journal
                    .bytes(*seq, way, bytes.clone().into())
                    .await
                    .unwrap();
                continue;
            }
        };
        seq += 1;
        let mut facts = SshFacts::plain(kind, "root".into(), text.into());
        facts.channel = Some(channel);
        let mut intent = intent(seq, "");
        intent.facts = Facts::Ssh(Arc::new(facts));
        intent.at = match channel {
            LATE => SystemTime::now() + HOURS,
            _ => began + Duration::from_secs(seq),
        };
        intent.approval = None;
        journal.intent(intent).await.unwrap();
    }
    let mut end = end();
    end.at = SystemTime::now();
    journal.close(end).await.unwrap();
    recorder.shutdown(SHORT).await;
    id
}

async fn played(dir: &TempDir, id: Uuid, options: &ReplayOptions) -> (Value, Vec<Value>) {
    let mut out = Vec::new();
    crate::replay(&dir.store(), id, options, &mut out)
        .await
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    let mut lines = text.lines().map(|l| serde_json::from_str(l).unwrap());
    (lines.next().unwrap(), lines.collect())
}

fn of(action: Option<u64>) -> ReplayOptions {
    ReplayOptions {
        format: ReplayFormat::Asciicast2,
        action,
        ..ReplayOptions::default()
    }
}

/// The codes and data, without times.
fn said(events: &[Value]) -> Vec<(&str, &str)> {
    events
        .iter()
        .map(|e| (e[1].as_str().unwrap(), e[2].as_str().unwrap()))
        .collect()
}

/// What is said at the end of an action that another one was played instead of.
fn not_played(seq: u64) -> &'static str {
    match seq {
        2 => "#2 shell not played here: see --action 2",
        3 => "#3 shell not played here: see --action 3",
        4 => "#4 shell not played here: see --action 4",
        _ => "#5 shell not played here: see --action 5",
    }
}

/// Who sees one terminal is told of the others, of what is not in the recording, and of gaps in it.
#[test]
fn what_is_missing_is_told() {
    let mut cast = Cast::of(Some(1));
    let mut told = Vec::new();
    let mut record = |kind: Kind, payload: &[u8]| {
        let record = Record {
            kind: kind as u8,
            payload,
            ts_ns: 0,
            stream: 0,
            index: 1,
            encoded: &[],
        };
        cast.record(&record, &mut |event| told.push(event));
    };
    record(Kind::Gap, br#"{"what":"records are \u001b[2J lost"}"#);
    record(Kind::Gap, b"not JSON");
    let outcome = |detail: &str| {
        let doc = json!({ "outcome": "done", "detail": detail }).to_string();
        [&1u64.to_le_bytes()[..], doc.as_bytes()].concat()
    };
    record(Kind::Outcome, &outcome("exit 0"));
    record(
        Kind::Outcome,
        &outcome("the first 5 bytes of it are recorded"),
    );
    let told: Vec<_> = told
        .into_iter()
        .map(|event| match event {
            CastEvent::Marker(text) => text,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "GAP: records are \\u{1b}[2J lost",
            "GAP: not readable",
            "#1 not whole: see its outcome in the text",
        ]
    );
}

/// Two channels with terminals of their own; a third takes the number of the first, without a terminal.
#[tokio::test(flavor = "multi_thread")]
async fn the_size_is_that_of_the_terminal_that_is_played() {
    let dir = TempDir::new();
    let all = [
        Pty(0, "xterm 100x30"),
        Shell(0),
        Pty(1, "xterm 120x40"),
        Shell(1),
        Typed(2, data(b"early")),
        Typed(4, data(b"other")),
        Typed(4, request("window-change", &[121, 41, 0, 0])),
        Shows(4, data(b"four")),
        Shows(2, data(b"two")),
        Typed(2, request("window-change", &[90, 20, 0, 0])),
        Shows(2, data(b"\xf0\x9f\x98")),
        Shows(2, data(b"\x80 end \xe2\x86")),
        Shows(2, request("exit-status", &[3])),
        Shell(0),
        Shows(5, data(b"no terminal")),
    ];
    let id = recorded(&dir, &all).await;
    let markers = ["#1 pty", "#2 shell", "#3 pty", "#4 shell"].map(|m| ("m", m));
    for (action, size, expect) in [
        (
            None,
            (121, 41),
            vec![
                ("i", "other"),
                ("o", "four"),
                ("m", "#5 shell"),
                ("m", not_played(2)),
                ("m", not_played(5)),
            ],
        ),
        (
            Some(2),
            (100, 30),
            vec![
                ("i", "early"),
                ("o", "two"),
                ("r", "90x20"),
                ("o", "😀 end "),
                ("m", "exit 3"),
                ("m", "#5 shell"),
                ("o", "\u{fffd}"),
                ("m", not_played(4)),
                ("m", not_played(5)),
            ],
        ),
        (
            Some(5),
            (80, 24),
            vec![
                ("m", "#5 shell"),
                ("o", "no terminal"),
                ("m", not_played(2)),
                ("m", not_played(4)),
            ],
        ),
    ] {
        let (header, events) = played(&dir, id, &of(action)).await;
        let found = (&header["width"], &header["height"]);
        assert_eq!(found, (&json!(size.0), &json!(size.1)), "{action:?}");
        let expect = [&markers[..], &expect].concat();
        assert_eq!(said(&events), expect, "{action:?}");
        let times: Vec<f64> = events.iter().map(|e| e[0].as_f64().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
    }
}

/// Much is typed before anything is shown: nothing waits without end, and the size is told when it is known.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_size_has_a_limit() {
    let dir = TempDir::new();
    let typed = || Typed(2, data(&[b'x'; 60 << 10]));
    let mut all = vec![Pty(0, "xterm 100x30"), Shell(0)];
    all.extend((0..40).map(|_| typed()));
    all.push(Shows(2, data(b"shown")));
    let id = recorded(&dir, &all).await;
    let (header, events) = played(&dir, id, &of(None)).await;
    assert_eq!(header["width"], 80);
    let said = said(&events);
    assert_eq!(said.iter().filter(|(code, _)| *code == "i").count(), 40);
    assert_eq!(said.last(), Some(&("o", "shown")));
    assert_eq!(said[said.len() - 2], ("r", "100x30"));
}

/// Without catching up, a part is a part; with it, what was on the screen is there from the beginning, and so are the
/// markers before it.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_can_begin_with_the_screen_of_then() {
    let dir = TempDir::new();
    let all = [
        Pty(0, "xterm 100x30"),
        Shell(0),
        Shows(2, data(b"before")),
        Shell(LATE),
    ];
    let id = recorded(&dir, &all).await;
    let later = SystemTime::now() + HOURS / 2;
    let later = later.duration_since(UNIX_EPOCH).unwrap();
    let options = |catches_up| ReplayOptions {
        from: Some(Moment::At(u64::try_from(later.as_nanos()).unwrap())),
        catches_up,
        ..of(None)
    };
    let (header, events) = played(&dir, id, &options(false)).await;
    assert_eq!(
        (&header["width"], events.len()),
        (&json!(100), 2),
        "{events:?}"
    );
    assert_eq!(said(&events), [("m", "#3 shell"), ("m", not_played(3))]);
    let (_, events) = played(&dir, id, &options(true)).await;
    let (earlier, last) = events.split_at(3);
    assert_eq!(
        said(earlier),
        [("m", "#1 pty"), ("m", "#2 shell"), ("o", "before")]
    );
    assert!(earlier.iter().all(|event| event[0] == 0.0), "{events:?}");
    assert_eq!(said(last), [("m", "#3 shell"), ("m", not_played(3))]);
}

/// A shell is one action for hours: whoever comes in the middle sees it from the next whole message on.
#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_watched_from_its_middle_on() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let begin = ssh(SystemTime::now());
    let id = begin.info.id.0;
    let journal = recorder.open(begin).await.unwrap();
    let mut intent = intent(1, "");
    let facts = SshFacts::plain(SshKind::Shell, "root".into(), "".into());
    intent.facts = Facts::Ssh(Arc::new(facts));
    journal.intent(intent).await.unwrap();
    let long = data("from before\n".repeat(50).as_bytes());
    let (head, tail) = long.split_at(300);
    let mut watch = None;
    let way = Direction::ToClient;
    // Each in a record of its own.
    for piece in [head, tail, &data(b"shown\n"), head, tail, &data(b"more\n")] {
        journal.bytes(1, way, piece.to_vec().into()).await.unwrap();
        journal.settle().await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        watch = watch.or_else(|| Some(recorder.watch(id, false).unwrap()));
    }
    journal.close(end()).await.unwrap();
    let mut watch = watch.unwrap();
    let mut said = String::new();
    while let Some(next) = watch.next().await {
        said.push_str(std::str::from_utf8(&next.lines).unwrap());
    }
    // The first piece was before; the second begins within a message.
    assert_eq!(said.matches("was not watched").count(), 1, "{said}");
    let whole = ["│ shown", "│ more"].map(|line| said.find(line));
    assert!(
        whole.iter().all(Option::is_some) && whole.is_sorted(),
        "{said}"
    );
    assert_eq!(said.matches("│ from before").count(), 50, "{said}");
    recorder.shutdown(SHORT).await;
}
