//! Sessions as JSON lines and as asciicast, and parts of them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipeline::Direction;
use pipeline::ports::Journal;
use serde_json::Value;
use uuid::Uuid;

use super::support::*;
use crate::{Moment, ReplayFormat, ReplayOptions};

/// A second before the next one, so that times are easy to tell.
const BEGAN: u64 = 1_800_000_000;

/// A session with an action 10, 20 and 15 seconds after its start: the clock went back once.
async fn recorded(dir: &TempDir) -> Uuid {
    let (recorder, _) = dir.open().await;
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(BEGAN + seconds);
    let mut begin = start();
    let mut info = (*begin.info).clone();
    info.started = at(0);
    begin.info = std::sync::Arc::new(info);
    let id = begin.info.id.0;
    let journal = recorder.open(begin).await.unwrap();
    for (seq, seconds) in [(0, 10), (1, 20), (2, 15)] {
        let mut intent = intent(seq, &format!("select {seq}\nfrom users"));
        intent.at = at(seconds);
        journal.intent(intent).await.unwrap();
        let mut outcome = outcome(seq);
        outcome.at = at(seconds + 1);
        journal.outcome(outcome).await.unwrap();
    }
    let row = bytes::Bytes::from_static(b"D\0\0\0\x0d\0\x01\0\0\0\x03***");
    journal.bytes(2, Direction::ToClient, row).await.unwrap();
    let mut end = end();
    end.at = SystemTime::now().max(at(30));
    journal.close(end).await.unwrap();
    recorder.shutdown(SHORT).await;
    id
}

async fn replayed(dir: &TempDir, id: Uuid, options: &ReplayOptions) -> String {
    let mut out = Vec::new();
    let summary = crate::replay(&dir.store(), id, options, &mut out).await;
    assert!(summary.unwrap().complete);
    String::from_utf8(out).unwrap()
}

fn as_format(format: ReplayFormat) -> ReplayOptions {
    ReplayOptions {
        format,
        ..ReplayOptions::default()
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_have_every_record() {
    let dir = TempDir::new();
    let id = recorded(&dir).await;
    let all = lines(&replayed(&dir, id, &as_format(ReplayFormat::JsonLines)).await);
    let kinds: Vec<&str> = all.iter().map(|v| v["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "start",
            "intent",
            "outcome",
            "intent",
            "outcome",
            "intent",
            "outcome",
            "to_client",
            "end"
        ]
    );
    assert_eq!(all[0]["time"], "2027-01-15T08:00:00.000000Z");
    assert_eq!(all[0]["start"]["who"]["actor"]["subject"], "agent-7");
    assert_eq!(all[1]["seq"], 0);
    assert_eq!(all[1]["intent"]["facts"]["text"], "select 0\nfrom users");
    assert_eq!(all[1]["intent"]["approval"]["approvers"][0], "bob");
    assert_eq!(all[2]["outcome"]["outcome"], "done");
    assert_eq!(all[7]["lines"], serde_json::json!(["#2   ***"]));
    assert_eq!(all[8]["end"]["reason"], "client-closed");
    let numbers: Vec<u64> = all.iter().map(|v| v["record"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted() && numbers.len() == 9);
}

/// What the events say together is the transcript, and a marker stands at every action.
#[tokio::test(flavor = "multi_thread")]
async fn both_asciicasts_play_the_transcript() {
    let dir = TempDir::new();
    let id = recorded(&dir).await;
    let text = replayed(&dir, id, &ReplayOptions::default()).await;
    let mut times = Vec::new();
    for format in [ReplayFormat::Asciicast2, ReplayFormat::Asciicast3] {
        let cast = lines(&replayed(&dir, id, &as_format(format)).await);
        let (header, events) = cast.split_first().unwrap();
        assert_eq!(header["timestamp"], BEGAN);
        let mut sum = 0.0;
        let mut absolute = Vec::new();
        let mut said = String::new();
        let mut markers = Vec::new();
        for event in events {
            let [time, code, data] = event.as_array().unwrap().as_slice() else {
                panic!("{event}")
            };
            let time = time.as_f64().unwrap();
            assert!(time >= 0.0, "{event}");
            sum += time;
            absolute.push(match format {
                ReplayFormat::Asciicast3 => sum,
                _ => time,
            });
            match code.as_str().unwrap() {
                "o" => said.push_str(data.as_str().unwrap()),
                "m" => markers.push(data.as_str().unwrap().to_owned()),
                other => panic!("{other}"),
            }
        }
        assert_eq!(said, text.replace('\n', "\r\n"));
        assert_eq!(markers, ["#0", "#1", "#2"]);
        assert!(absolute.is_sorted(), "{absolute:?}");
        assert_eq!(&absolute[..2], [0.0, 10.0]);
        match format {
            ReplayFormat::Asciicast2 => {
                assert_eq!(header["version"], 2);
                assert!(header["width"].is_u64() && header["height"].is_u64());
            }
            _ => {
                assert_eq!(header["version"], 3);
                assert!(header["term"]["cols"].is_u64() && header["term"]["rows"].is_u64());
            }
        }
        times.push(absolute);
    }
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-4;
    assert!(times[0].iter().zip(&times[1]).all(close), "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_begins_and_ends_where_it_is_told() {
    let dir = TempDir::new();
    let id = recorded(&dir).await;
    let part = |from: &str, to: &str| ReplayOptions {
        from: (!from.is_empty()).then(|| from.parse().unwrap()),
        to: (!to.is_empty()).then(|| to.parse().unwrap()),
        ..ReplayOptions::default()
    };
    for (from, to, expect) in [
        ("", "", "012"),
        ("+15", "", "12"),
        ("+10.5", "+15", "2"),
        ("", "+12", "0"),
        ("2027-01-15T08:00:20Z", "2027-01-15T08:00:21Z", "1"),
        ("+1000000000", "", ""),
    ] {
        let text = replayed(&dir, id, &part(from, to)).await;
        assert!(text.starts_with(&format!("session {id}")), "{text}");
        let has = |n: &char| text.contains(&format!("    select {n}\n"));
        let found: String = ['0', '1', '2'].into_iter().filter(has).collect();
        assert_eq!(found, expect, "{from} to {to}");
    }
    // A part plays from its own beginning.
    let options = ReplayOptions {
        format: ReplayFormat::Asciicast2,
        ..part("+15", "")
    };
    let cast = lines(&replayed(&dir, id, &options).await);
    assert_eq!(cast[0]["timestamp"], BEGAN + 15);
    assert_eq!(cast[1][0], 0.0);
    assert_eq!(cast[2], serde_json::json!([5.0, "m", "#1"]));
}

#[test]
fn what_is_no_moment_or_format() {
    for wrong in [
        "",
        "+",
        "+x",
        "+-1",
        "+1e9",
        "90",
        "+inf",
        "+NaN",
        "yesterday",
    ] {
        assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
    }
    let moment = "+1.5".parse();
    assert_eq!(moment, Ok(Moment::After(Duration::from_millis(1500))));
    assert_eq!(
        "1970-01-01T00:00:01Z".parse(),
        Ok(Moment::At(1_000_000_000))
    );
    for wrong in ["", "json", "asciicast", "TEXT"] {
        assert!(wrong.parse::<ReplayFormat>().is_err(), "{wrong}");
    }
}
