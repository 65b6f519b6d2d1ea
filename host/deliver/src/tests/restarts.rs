//! What is known after a restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::stage::{Answer, LIMIT, PACE, Receiver, Stage, acts, names};
use crate::State;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_restarts_often_sets_aside_what_is_refused() {
    // As the last that there is, so that nothing after it shows that the receiver takes anything.
    for poison in ["act:004", "act:019"] {
        let stage = Stage::new();
        let recorder = stage.recorder().await;
        acts(&recorder, names("act", 20)).await;
        assert!(recorder.flush(LIMIT).await);
        let receiver = Receiver::start(move |message| match message.body.contains(poison) {
            true => Answer::Status(400),
            false => Answer::Status(200),
        })
        .await;
        let began = Instant::now();
        let mut restarts = 0;
        loop {
            let running = stage.run(&recorder, vec![receiver.options("siem")]);
            let waiting = |s: &crate::Status| s.state == State::Waiting || s.set_aside == 1;
            running.until("siem", waiting).await;
            tokio::time::sleep(PACE.refused_for / 4).await;
            let status = running.status("siem");
            running.stop().await;
            if status.set_aside == 1 {
                break;
            }
            restarts += 1;
            assert!(restarts < 40, "{status:?}");
        }
        assert!(restarts >= 2, "one process alone had the time");
        assert!(began.elapsed() >= PACE.refused_for);
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        running.stop().await;
        let told: BTreeSet<String> = receiver.told("act").into_iter().collect();
        let rest = names("act", 20).into_iter().filter(|name| name != poison);
        assert_eq!(told, rest.collect());
        let kept = std::fs::read_to_string(stage.deliveries().join("siem.refused.jsonl")).unwrap();
        assert!(kept.lines().count() == 1 && kept.contains(poison), "{kept}");
    }
}

/// What was refused while everything was, is no sign against an event.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_before_a_restart_counts_against_no_event() {
    let stage = Stage::new();
    let recorder = stage.recorder().await;
    acts(&recorder, names("before", 3)).await;
    assert!(recorder.flush(LIMIT).await);
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let running = stage.run(&recorder, vec![receiver.options("siem")]);
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    receiver.now(|_| Answer::Status(400));
    acts(&recorder, names("act", 5)).await;
    running.until("siem", |s| s.state == State::Waiting).await;
    tokio::time::sleep(PACE.refused_for * 2).await;
    running.stop().await;
    receiver.all.lock().clear();
    receiver.now(|message| match message.body.contains("act:002") {
        true => Answer::Status(400),
        false => Answer::Status(200),
    });
    let running = stage.run(&recorder, vec![receiver.options("siem")]);
    running.until("siem", |s| s.set_aside == 1).await;
    running.stop().await;
    let all = receiver.all.lock().clone();
    let refused = all.iter().filter(|m| m.body.contains("act:002"));
    let refused: Vec<Instant> = refused.map(|m| m.at).collect();
    let span = *refused.last().unwrap() - refused[0];
    assert!(span >= PACE.refused_for, "{span:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_begins_when_it_is_first_known() {
    let stage = Stage::new();
    let receiver = Receiver::start(|_| Answer::Status(200)).await;
    let recorder = stage.recorder().await;
    let first = recorder.control_stream();
    // It has no time to do anything.
    let running = stage.run(&recorder, vec![receiver.options("siem")]);
    assert_eq!(running.status("siem").first_log, Some(first));
    running.stop().await;
    assert_eq!(receiver.all.lock().len(), 0);
    acts(&recorder, names("act", 5)).await;
    assert!(recorder.shutdown(Duration::from_secs(20)).await.log_stored);
    let recorder = stage.recorder().await;
    let other = Receiver::start(|_| Answer::Status(200)).await;
    let receivers = vec![receiver.options("siem"), other.options("later")];
    let running = stage.run(&recorder, receivers);
    acts(&recorder, names("more", 5)).await;
    assert!(recorder.flush(LIMIT).await);
    for name in ["siem", "later"] {
        running.until(name, |s| s.lag_leaves == Some(0)).await;
    }
    assert_eq!(running.status("siem").first_log, Some(first));
    let second = Some(recorder.control_stream());
    assert_eq!(running.status("later").first_log, second);
    assert_eq!(receiver.told("act"), names("act", 5));
    assert_eq!(receiver.told("more"), names("more", 5));
    assert!(other.told("act").is_empty());
    assert_eq!(other.told("more"), names("more", 5));
    running.stop().await;
}
