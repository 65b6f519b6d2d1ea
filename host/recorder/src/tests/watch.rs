//! Watching a session while it is recorded: what is durable, in order, and never at the session's cost.

use std::time::{Duration, Instant};

use pipeline::Direction;
use pipeline::ports::{Journal, SessionJournal};
use serde_json::Value;
use uuid::Uuid;

use super::support::*;
use crate::fault::{Fault, FaultDisk};
use crate::{Recorder, ReplayFormat, ReplayOptions, WATCHERS, WATCHERS_OF_ONE, Watch, WatchError};

const SOON: Duration = Duration::from_secs(10);

async fn begun(recorder: &Recorder) -> (Uuid, std::sync::Arc<dyn SessionJournal>) {
    let start = start();
    let id = start.info.id.0;
    (id, recorder.open(start).await.unwrap())
}

fn parsed(lines: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(lines).unwrap();
    assert!(text.ends_with('\n'), "whole lines only");
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

/// Lines until `enough` of them are there.
async fn some(watch: &mut Watch, enough: usize) -> Vec<Value> {
    let mut out = Vec::new();
    while out.len() < enough {
        let next = tokio::time::timeout(SOON, watch.next()).await;
        out.extend(parsed(&next.expect("in time").expect("not over").lines));
    }
    out
}

/// Lines until it is over.
async fn rest(watch: &mut Watch) -> Vec<Value> {
    let mut out = Vec::new();
    while let Some(next) = tokio::time::timeout(SOON, watch.next())
        .await
        .expect("in time")
    {
        out.extend(parsed(&next.lines));
    }
    out
}

/// A row of one column, as PostgreSQL sends it.
fn row(value: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend((value.len() as u32).to_be_bytes());
    body.extend(value);
    let mut out = vec![b'D'];
    out.extend((body.len() as u32 + 4).to_be_bytes());
    out.extend(body);
    out
}

async fn replayed(dir: &TempDir, id: Uuid, format: ReplayFormat) -> String {
    let options = ReplayOptions {
        format,
        ..ReplayOptions::default()
    };
    let mut out = Vec::new();
    let summary = crate::replay(&dir.store(), id, &options, &mut out).await;
    assert!(summary.unwrap().complete);
    String::from_utf8(out).unwrap()
}

/// Small and large bytes, the large ones packed and in several records, messages cut by them.
async fn play(journal: &dyn SessionJournal, from: u64) {
    for (seq, size) in [(from, 40), (from + 1, 9_000), (from + 2, 300_000)] {
        let text = format!("select {seq}\nfrom users");
        journal.intent(intent(seq, &text)).await.unwrap();
        let value = format!("value {seq} ").repeat(size / 8);
        let bytes = row(value.as_bytes());
        let way = Direction::ToClient;
        journal.bytes(seq, way, bytes.into()).await.unwrap();
        journal.outcome(outcome(seq)).await.unwrap();
    }
    journal
        .refused(refusal(from + 3, "drop table users"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_watched_from_the_start_is_what_is_replayed() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let (id, journal) = begun(&recorder).await;
    let mut plain = recorder.watch(id, false).unwrap();
    let mut with_text = recorder.watch(id, true).unwrap();
    // Another session's records are no business of theirs.
    session(&recorder, 3, 500).await;
    play(&*journal, 0).await;
    // Something is left over at the end.
    let half = row(b"a value that never came as a whole")[..12].to_vec();
    let way = Direction::ToClient;
    journal.intent(intent(9, "select half")).await.unwrap();
    journal.bytes(9, way, half.into()).await.unwrap();
    journal.close(end()).await.unwrap();
    let (plain, with_text) = (rest(&mut plain).await, rest(&mut with_text).await);
    recorder.shutdown(SHORT).await;

    let lines: Vec<Value> = replayed(&dir, id, ReplayFormat::JsonLines)
        .await
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert!(lines.len() > 12, "{}", lines.len());
    assert_eq!(plain, lines);
    assert!(plain.iter().all(|l| l["start"]["key"].is_null()));
    let last = plain.last().unwrap();
    assert!(
        last.to_string().contains("12 bytes of an unfinished"),
        "{last}"
    );
    let text: String = with_text
        .iter()
        .map(|l| l["text"].as_str().unwrap())
        .collect();
    assert_eq!(text, replayed(&dir, id, ReplayFormat::Text).await);
}

/// It can be watched once it can be known, and nothing of it is missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_watched_from_its_first_moment() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    for turn in 0..200 {
        let (id, journal) = begun(&recorder).await;
        let watch = recorder.watch(id, false);
        let mut watch = watch.unwrap_or_else(|e| panic!("{turn}: {e}"));
        journal.intent(intent(0, "select 1")).await.unwrap();
        journal.close(end()).await.unwrap();
        let kinds: Vec<Value> = rest(&mut watch)
            .await
            .iter()
            .map(|l| l["kind"].clone())
            .collect();
        assert_eq!(kinds.first().unwrap(), "start", "{turn}: {kinds:?}");
        assert_eq!(kinds.get(1).unwrap(), "intent", "{turn}: {kinds:?}");
        assert_eq!(kinds.last().unwrap(), "end", "{turn}: {kinds:?}");
        drop(watch);
        assert!(!recorder.inner.state.watching.is_live(id), "{turn}");
    }
    assert_eq!(recorder.inner.state.watching.watchers(), 0);
    recorder.shutdown(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_later_sees_who_it_is_and_what_comes_from_then_on() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let (id, journal) = begun(&recorder).await;
    play(&*journal, 0).await;
    // The middle of a message comes first.
    let long = row("from before ".repeat(100).as_bytes());
    let (head, tail) = long.split_at(700);
    let way = Direction::ToClient;
    journal.intent(intent(4, "select early")).await.unwrap();
    journal.bytes(4, way, head.to_vec().into()).await.unwrap();
    journal.settle().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut watch = recorder.watch(id, false).unwrap();
    journal.bytes(4, way, tail.to_vec().into()).await.unwrap();
    journal.outcome(outcome(4)).await.unwrap();
    journal.intent(intent(5, "select late")).await.unwrap();
    let bytes = row(b"hello");
    journal.bytes(5, way, bytes.into()).await.unwrap();
    journal.close(end()).await.unwrap();
    let lines = rest(&mut watch).await;
    let kinds: Vec<&str> = lines.iter().map(|l| l["kind"].as_str().unwrap()).collect();
    let expected = [
        "start",
        "note",
        "to_client",
        "outcome",
        "intent",
        "to_client",
        "outcome",
        "end",
    ];
    assert_eq!(kinds, expected, "{lines:?}");
    assert_eq!(lines[0]["record"], 0);
    assert_eq!(lines[1]["from"], lines[2]["record"]);
    assert!(
        lines[2].to_string().contains("was not watched"),
        "{}",
        lines[2]
    );
    assert!(
        !lines[2].to_string().contains("from before"),
        "{}",
        lines[2]
    );
    assert!(lines[5].to_string().contains("hello"), "{}", lines[5]);
    recorder.shutdown(SHORT).await;
}

/// A watcher that takes nothing costs its queue and nothing else, and is told what it has missed.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_keep_up_is_told_so_and_slows_nobody() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let (id, journal) = begun(&recorder).await;
    let mut stopped = recorder.watch(id, false).unwrap();
    let begun_at = Instant::now();
    // More than a queue holds, in bytes that do not compress away.
    for seq in 0..70 {
        journal.intent(intent(seq, "select noise")).await.unwrap();
        let bytes = noise(seq, 120_000);
        journal
            .bytes(seq, Direction::ToClient, bytes)
            .await
            .unwrap();
    }
    journal.settle().await.unwrap();
    assert!(begun_at.elapsed() < SOON, "{:?}", begun_at.elapsed());
    let held = recorder.inner.state.watching.held_bytes();
    assert!((1..=4 << 20).contains(&held), "{held}");
    journal.intent(intent(70, "select last")).await.unwrap();
    journal.close(end()).await.unwrap();
    let lines = rest(&mut stopped).await;
    let at = lines.iter().position(|l| !l["left_out"].is_null()).unwrap();
    let note = &lines[at];
    assert!(note.to_string().contains("you fell behind"), "{note}");
    // Nothing is missing that is not counted.
    let before = lines[at - 1]["record"].as_u64().unwrap();
    let after = lines[at + 1]["record"].as_u64().unwrap();
    assert_eq!(before + note["left_out"].as_u64().unwrap() + 1, after);
    assert_eq!(
        lines.last().unwrap()["kind"],
        "end",
        "the end is always told"
    );
    let numbers: Vec<u64> = lines[..at]
        .iter()
        .filter_map(|l| l["record"].as_u64())
        .collect();
    assert!(numbers.windows(2).all(|w| w[1] == w[0] + 1), "{numbers:?}");
    recorder.shutdown(SHORT).await;
}

/// A message that hardly takes room on the way does not take room when it is unpacked either, and an
/// action that is too large to be shown is told of.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_told_of_and_not_shown() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let (id, journal) = begun(&recorder).await;
    let mut watch = recorder.watch(id, true).unwrap();
    journal.intent(intent(0, "select wide")).await.unwrap();
    let wide = row(&vec![b'\x01'; 20 << 20]);
    for piece in wide.chunks(120_000) {
        let piece = bytes::Bytes::copy_from_slice(piece);
        journal.bytes(0, Direction::ToClient, piece).await.unwrap();
    }
    journal
        .bytes(0, Direction::ToClient, row(b"after it").into())
        .await
        .unwrap();
    let text = format!("/*{}*/ drop table x", "\x01".repeat(700_000));
    journal.intent(intent(1, &text)).await.unwrap();
    journal
        .bytes(1, Direction::ToClient, row(b"of the large one").into())
        .await
        .unwrap();
    journal.close(end()).await.unwrap();
    let mut lines = Vec::new();
    while let Some(next) = tokio::time::timeout(SOON, watch.next()).await.unwrap() {
        assert!(next.lines.len() < 4 << 20, "{}", next.lines.len());
        lines.extend(parsed(&next.lines));
    }
    let shown = |what: &str| {
        lines
            .iter()
            .filter(|l| l.to_string().contains(what))
            .count()
    };
    assert_eq!(shown("too long to be shown here"), 1);
    assert_eq!(shown("after it"), 1);
    assert_eq!(shown("too large to be watched"), 1);
    assert_eq!(shown("of the large one"), 1);
    assert_eq!(shown("you fell behind"), 0);
    assert_eq!(shown("beginning was not watched"), 0);
    recorder.shutdown(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fell_behind_goes_on_with_the_next_action() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let (id, journal) = begun(&recorder).await;
    let mut watch = recorder.watch(id, false).unwrap();
    let way = Direction::ToClient;
    journal.intent(intent(0, "select much")).await.unwrap();
    let mut large = row(&noise(1, 6 << 20));
    let tail = large.split_off(6 << 20);
    journal.bytes(0, way, large.into()).await.unwrap();
    journal.settle().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut lines = Vec::new();
    while !lines.iter().any(|l: &Value| !l["left_out"].is_null()) {
        lines.extend(some(&mut watch, 1).await);
    }
    // The end of a message whose beginning is left out.
    journal.bytes(0, way, tail.into()).await.unwrap();
    journal.intent(intent(1, "select little")).await.unwrap();
    journal
        .bytes(1, way, row(b"readable").into())
        .await
        .unwrap();
    journal.close(end()).await.unwrap();
    let lines = rest(&mut watch).await;
    let text = Value::from(lines).to_string();
    assert!(text.contains("readable"), "{text}");
    assert!(text.contains("was not watched"), "{text}");
    recorder.shutdown(SHORT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_few_and_come_back() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let unknown = recorder.watch(Uuid::now_v7(), false).err();
    assert_eq!(unknown, Some(WatchError::NotLive));
    let control = recorder.watch(recorder.control_stream(), false).err();
    assert_eq!(control, Some(WatchError::NotLive), "acts are not a session");
    let (first, journal) = begun(&recorder).await;
    let mut held: Vec<Watch> = Vec::new();
    for _ in 0..WATCHERS_OF_ONE {
        held.push(recorder.watch(first, false).unwrap());
    }
    let full = recorder.watch(first, false).err();
    assert_eq!(full, Some(WatchError::TooManyOfOne));
    held.pop();
    held.push(recorder.watch(first, false).unwrap());
    let mut others = Vec::new();
    while held.len() < WATCHERS {
        let (id, journal) = begun(&recorder).await;
        for _ in 0..WATCHERS_OF_ONE {
            held.push(recorder.watch(id, false).unwrap());
        }
        others.push((id, journal));
    }
    let (more, another) = begun(&recorder).await;
    assert_eq!(recorder.watch(more, false).err(), Some(WatchError::TooMany));
    // A session's end gives the places of its watchers back, and their own end does not do so again.
    journal.close(end()).await.unwrap();
    let gone = recorder.watch(first, false).err();
    assert_eq!(gone, Some(WatchError::NotLive));
    held.drain(..WATCHERS_OF_ONE);
    for _ in 0..WATCHERS_OF_ONE {
        held.push(recorder.watch(more, false).unwrap());
    }
    held.clear();
    assert_eq!(recorder.inner.state.watching.watchers(), 0);
    for (_, journal) in others {
        journal.close(end()).await.unwrap();
    }
    another.close(end()).await.unwrap();
    assert!(!recorder.inner.state.watching.is_live(more));
    recorder.shutdown(SHORT).await;
}

/// What could not be made durable is shown to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_durable_is_not_shown() {
    let dir = TempDir::new();
    let disk = FaultDisk::default();
    let recorder = dir.open_faulty(&disk, |_| {}).await;
    let (id, journal) = begun(&recorder).await;
    let mut watch = recorder.watch(id, false).unwrap();
    journal.intent(intent(0, "select shown")).await.unwrap();
    let shown = some(&mut watch, 2).await;
    assert!(shown[1].to_string().contains("select shown"), "{shown:?}");
    disk.set(Some(Fault::SyncFailsAfter(0)));
    let lost = journal.intent(intent(1, "select hidden")).await;
    assert!(lost.is_err());
    let lines = rest(&mut watch).await;
    assert!(!Value::from(lines).to_string().contains("hidden"));
    disk.set(None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_with_the_recorder() {
    let dir = TempDir::new();
    let (recorder, _) = dir.open().await;
    let (id, journal) = begun(&recorder).await;
    let mut watch = recorder.watch(id, false).unwrap();
    some(&mut watch, 1).await;
    recorder.shutdown(SHORT).await;
    let lines = rest(&mut watch).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].to_string().contains("no end"), "{lines:?}");
    drop(journal);
}
