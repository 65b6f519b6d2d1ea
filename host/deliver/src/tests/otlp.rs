//! OTLP over HTTP: what is sent, and what answers mean.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::stage::{Answer, LIMIT, Message, PACE, Receiver, Stage, acts, names};
use crate::{OtlpTo, State, TlsFiles, To};

fn body(text: &str) -> Answer {
    Answer::Body(text.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_what_the_protocol_says() {
    let stage = Stage::new();
    let recorder = stage.recorder().await;
    acts(&recorder, names("act", 20)).await;
    assert!(recorder.flush(LIMIT).await);
    let receiver = Receiver::start(|_| body("{}")).await;
    let keyed = Receiver::start(|_| body("{}")).await;
    let mut by_key = keyed.otlp("keyed");
    by_key.to = To::Otlp(OtlpTo {
        url: keyed.url.clone(),
        token: Some((Some("Api-Key".into()), "t0ken".into())),
        tls: TlsFiles::default(),
    });
    let running = stage.run(&recorder, vec![receiver.otlp("siem"), by_key]);
    running.until("keyed", |s| s.lag_leaves == Some(0)).await;
    let status = running.until("siem", |s| s.lag_leaves == Some(0)).await;
    assert_eq!((status.kind, status.last_error), ("otlp", None));
    assert_eq!(receiver.told("act"), names("act", 20));
    let key = keyed.all.lock()[0].clone();
    assert_eq!(
        (&*key.header("api-key"), &*key.header("authorization")),
        ("t0ken", "")
    );
    for message in receiver.all.lock().iter() {
        assert!(
            message
                .head
                .starts_with("POST /s3cret-path/v1/logs HTTP/1.1"),
            "{}",
            message.head
        );
        assert_eq!(message.header("authorization"), "Bearer t0ken");
        assert_eq!(message.header("content-type"), "application/json");
        let body: Value = serde_json::from_str(&message.body).unwrap();
        let logs = &body["resourceLogs"][0];
        let service = &logs["resource"]["attributes"][0];
        assert_eq!(service["key"], "service.name");
        assert_eq!(service["value"]["stringValue"], "weir");
        let records = logs["scopeLogs"][0]["logRecords"].as_array().unwrap();
        for (record, event) in records.iter().zip(message.events()) {
            let ms = event["time"].as_u64().unwrap();
            assert_eq!(record["timeUnixNano"], format!("{ms}000000"));
            let number = match event["severity_id"].as_u64() {
                Some(1) => 9,
                Some(2) => 10,
                other => panic!("{other:?}"),
            };
            assert_eq!(record["severityNumber"], number);
            let uid = &record["attributes"][0];
            assert_eq!(uid["key"], "log.record.uid");
            assert_eq!(uid["value"]["stringValue"], event["metadata"]["uid"]);
            let class = &record["attributes"][1]["value"]["intValue"];
            assert_eq!(*class, event["class_uid"].to_string());
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_is_not_lost_and_the_rest_is_taken() {
    const POISON: &str = "act:011";
    for answer in [
        body(r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"no"}}"#),
        Answer::Status(400),
    ] {
        let stage = Stage::new();
        let recorder = stage.recorder().await;
        acts(&recorder, names("act", 20)).await;
        assert!(recorder.flush(LIMIT).await);
        let receiver = Receiver::start(move |m| match m.body.contains(POISON) {
            true => answer.clone(),
            false => body("{}"),
        })
        .await;
        let running = stage.run(&recorder, vec![receiver.otlp("siem")]);
        let status = running.until("siem", |s| s.lag_leaves == Some(0)).await;
        assert_eq!(status.set_aside, 1);
        let all: BTreeSet<String> = names("act", 20).into_iter().collect();
        let told = |message: &Message| -> Vec<String> {
            let events = message.events();
            let operation = |e: &Value| Some(e.pointer("/api/operation")?.as_str()?.to_owned());
            events.iter().filter_map(operation).collect()
        };
        let messages = receiver.all.lock().clone();
        let clean = messages.iter().filter(|m| !m.body.contains(POISON));
        let told: BTreeSet<String> = clean.flat_map(told).collect();
        let left: Vec<&String> = all.difference(&told).collect();
        assert_eq!(left, [POISON]);
        let kept = std::fs::read_to_string(stage.deliveries().join("siem.refused.jsonl")).unwrap();
        assert!(kept.lines().count() == 1 && kept.contains(POISON), "{kept}");
        // What showed that it takes anything had an id of its own each time.
        let probes = messages.iter().filter(|m| m.body.contains("/probe-"));
        let probes: Vec<&str> = probes.map(|m| &*m.body).collect();
        let others: BTreeSet<&str> = probes.iter().copied().collect();
        assert!(!probes.is_empty() && probes.len() == others.len());
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_yes_is_tried_again() {
    use Answer::{Close, CutBody, Hang, RetryAfter, RetryAfterDate, Status};
    let rejects_all = r#"{"partialSuccess":{"rejectedLogRecords":"99"}}"#;
    for (what, faults) in [
        (
            "errors",
            vec![
                Status(429),
                Status(502),
                Status(503),
                Status(504),
                Status(500),
            ],
        ),
        ("who may not", vec![Status(401), Status(403), Status(404)]),
        (
            "pauses",
            vec![RetryAfter(1), RetryAfterDate(2), RetryAfterDate(0)],
        ),
        ("no answer", vec![Hang, Close, CutBody]),
        (
            "no answer of OTLP",
            vec![body("<html>"), body("{\"partialSuccess\":"), body("[]")],
        ),
        ("too long an answer", vec![body(&" ".repeat(70_000))]),
        ("nothing at all", vec![body(rejects_all); 12]),
    ] {
        let stage = Stage::new();
        let recorder = stage.recorder().await;
        acts(&recorder, names("act", 5)).await;
        assert!(recorder.flush(LIMIT).await);
        let mut faults = faults.into_iter();
        let receiver = Receiver::start(move |_| faults.next().unwrap_or(Status(200))).await;
        let running = stage.run(&recorder, vec![receiver.otlp("siem")]);
        let status = running.until("siem", |s| s.lag_leaves == Some(0)).await;
        let told: BTreeSet<String> = receiver.told("act").into_iter().collect();
        assert_eq!(told, names("act", 5).into_iter().collect(), "{what}");
        assert_eq!(
            (status.set_aside, status.state),
            (0, State::Delivering),
            "{what}"
        );
        let error = status.last_error.unwrap().0;
        for secret in ["s3cret", "t0ken"] {
            assert!(!error.contains(secret), "{what}: {error}");
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_until_a_date_is_kept_up_to_a_limit() {
    for (seconds, least) in [(2, 900), (86_400, 6_000)] {
        let stage = Stage::new();
        let recorder = stage.recorder().await;
        let mut first = true;
        let receiver = Receiver::start(move |_| match std::mem::take(&mut first) {
            true => Answer::RetryAfterDate(seconds),
            false => Answer::Status(200),
        })
        .await;
        let running = stage.run(&recorder, vec![receiver.otlp("siem")]);
        acts(&recorder, names("act", 1)).await;
        running.until("siem", |s| s.last_delivery.is_some()).await;
        let all = receiver.all.lock();
        let pause = all[1].at - all[0].at;
        assert!(pause.as_millis() >= least, "{seconds}: {pause:?}");
        assert!(
            pause < PACE.longest_asked + Duration::from_secs(9),
            "{pause:?}"
        );
    }
}
