//! What receivers may do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::stage::{Answer, Message, PACE, Receiver, Stage, acts, names};
use crate::State;

fn yes(_: &Message) -> Answer {
    Answer::Status(204)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_for_a_time_nothing_is_lost() {
    use Answer::{Close, Hang, RetryAfter, Status};
    for (what, faults) in [
        (
            "errors",
            vec![Status(500), Status(503), Status(429), Status(502)],
        ),
        (
            "a password that has expired",
            vec![Status(401), Status(404), Status(302)],
        ),
        ("hangs", vec![Hang, Hang]),
        (
            "closes in the middle of its answer",
            vec![Close, Close, Close],
        ),
        ("asks for a pause", vec![RetryAfter(0), RetryAfter(1)]),
    ] {
        let stage = Stage::new();
        let recorder = stage.recorder().await;
        let mut faults = faults.into_iter();
        let receiver = Receiver::start(move |_| faults.next().unwrap_or(Status(200))).await;
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        acts(&recorder, names("act", 20)).await;
        // The last of them is durable once it was delivered.
        while receiver.told("act").len() < 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = running.until("siem", |s| s.lag_leaves == Some(0)).await;
        assert_eq!(receiver.told("act"), names("act", 20), "{what}");
        assert_eq!(status.set_aside, 0, "{what}");
        let error = status.last_error.unwrap().0;
        assert!(!error.contains("s3cret"), "{error}");
        // The same batch has the same id and body on every attempt, and a signature of its own time.
        let mut bodies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for message in receiver.all.lock().iter() {
            let id = message.header("webhook-id");
            let timestamp = message.header("webhook-timestamp");
            let signature = message.header("webhook-signature");
            assert!(
                signature.starts_with(&format!("v1,{id}.{timestamp}.")),
                "{signature}"
            );
            bodies.entry(id).or_default().insert(message.body.clone());
        }
        assert!(bodies.values().all(|bodies| bodies.len() == 1), "{what}");
        running.stop().await;
        recorder.shutdown(Duration::from_secs(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_is_asked_for_is_kept_up_to_a_limit() {
    for (seconds, least, most) in [(1, 1_000, 5_900), (86_400, 6_000, 15_000)] {
        let stage = Stage::new();
        let recorder = stage.recorder().await;
        let mut first = true;
        let receiver = Receiver::start(move |_| match std::mem::take(&mut first) {
            true => Answer::RetryAfter(seconds),
            false => Answer::Status(200),
        })
        .await;
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        acts(&recorder, names("act", 1)).await;
        running.until("siem", |s| s.last_delivery.is_some()).await;
        let all = receiver.all.lock();
        let pause = (all[1].at - all[0].at).as_millis();
        assert!((least..most).contains(&pause), "{seconds}: {pause}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_alone_is_set_aside_and_the_rest_goes_on() {
    // In the middle of a batch, and as the last that there is.
    for poison in ["act:011", "act:019"] {
        let stage = Stage::new();
        let recorder = stage.recorder().await;
        let receiver = Receiver::start(move |message| match message.body.contains(poison) {
            true => Answer::Status(400),
            false => Answer::Status(200),
        })
        .await;
        let other = Receiver::start(yes).await;
        let receivers = vec![receiver.options("siem"), other.options("other")];
        let running = stage.run(&recorder, receivers);
        acts(&recorder, names("act", 20)).await;
        let status = running.until("siem", |s| s.set_aside == 1).await;
        assert_eq!(status.set_aside, 1);
        running.until("other", |s| s.lag_leaves == Some(0)).await;
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        let told: BTreeSet<String> = receiver.told("act").into_iter().collect();
        let rest = names("act", 20).into_iter().filter(|n| n != poison);
        assert_eq!(told, rest.collect());
        assert_eq!(other.told("act"), names("act", 20));
        let all = receiver.all.lock().clone();
        let refused: Vec<&Message> = all.iter().filter(|m| m.body.contains(poison)).collect();
        let span = refused.last().unwrap().at - refused[0].at;
        assert!(
            span >= PACE.refused_for,
            "somebody could repair it: {span:?}"
        );
        let kept = stage.deliveries().join("siem.refused.jsonl");
        let kept = std::fs::read_to_string(kept).unwrap();
        assert!(kept.lines().count() == 1 && kept.contains(poison), "{kept}");
        assert!(!stage.deliveries().join("other.refused.jsonl").exists());
        running.stop().await;
        // It stays counted, and is not sent again.
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        let status = running.until("siem", |s| s.lag_leaves.is_some()).await;
        assert_eq!(status.set_aside, 1);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_everything_loses_nothing() {
    for status in [400, 401, 403, 404, 413, 422] {
        let stage = Stage::new();
        let recorder = stage.recorder().await;
        let receiver = Receiver::start(yes).await;
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        // With something that it took before, and without.
        if status % 2 == 0 {
            acts(&recorder, names("before", 3)).await;
            running.until("siem", |s| s.delivered >= 3).await;
        }
        receiver.now(move |_| Answer::Status(status));
        acts(&recorder, names("act", 10)).await;
        let waiting = |s: &crate::Status| s.state == State::Waiting && s.lag_leaves >= Some(10);
        running.until("siem", waiting).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        let seen = running.status("siem");
        assert_eq!(
            (seen.set_aside, receiver.told("act").len()),
            (0, 0),
            "{status}"
        );
        assert!(seen.lag_ms > Some(0), "{seen:?}");
        assert!(!stage.deliveries().join("siem.refused.jsonl").exists());
        receiver.now(yes);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        // A batch is sent in parts while it is refused: what is taken first is not known.
        let told: BTreeSet<String> = receiver.told("act").into_iter().collect();
        assert_eq!(told, names("act", 10).into_iter().collect(), "{status}");
        running.stop().await;
    }
}

/// Acts that are on record before anything is delivered, so that they are in few batches.
async fn recorded(stage: &Stage, acts_of: &[Vec<String>]) -> recorder::Recorder {
    let recorder = stage.recorder().await;
    for some in acts_of {
        acts(&recorder, some.clone()).await;
    }
    assert!(recorder.flush(Duration::from_secs(20)).await);
    recorder
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_send_has_nothing_set_aside() {
    for status in [401, 407, 429] {
        let stage = Stage::new();
        let recorder = recorded(&stage, &[names("act", 20)]).await;
        let receiver = Receiver::start(move |m| match m.body.contains("act:011") {
            true => Answer::Status(status),
            false => Answer::Status(200),
        })
        .await;
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        running.until("siem", |s| s.state == State::Waiting).await;
        tokio::time::sleep(PACE.refused_for * 3).await;
        let seen = running.status("siem");
        assert_eq!(
            (seen.set_aside, seen.state),
            (0, State::Waiting),
            "{status}"
        );
        running.stop().await;
    }
}

/// A name that somebody chose is in one event, and what stands before the receiver does not like it: whatever it
/// answers, the rest is delivered.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_before_the_receiver_stops_nothing_but_what_it_filters() {
    use Answer::{Close, Status};
    let poison = "act:011";
    for (what, answer, may_pass) in [
        ("forbidden", Status(403), false),
        ("not found", Status(404), false),
        ("a page elsewhere", Status(302), false),
        ("a server's error", Status(500), true),
        ("a broken connection", Close, true),
    ] {
        let stage = Stage::new();
        let recorder = recorded(&stage, &[names("act", 20)]).await;
        let filter = answer.clone();
        let receiver = Receiver::start(move |m| match m.body.contains(poison) {
            true => filter.clone(),
            false => Status(200),
        })
        .await;
        let running = stage.run(&recorder, vec![receiver.options("siem")]);
        running.until("siem", |s| s.set_aside == 1).await;
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        let told: BTreeSet<String> = receiver.told("act").into_iter().collect();
        let rest = names("act", 20).into_iter().filter(|n| n != poison);
        assert_eq!(told, rest.collect(), "{what}");
        let kept = stage.deliveries().join("siem.refused.jsonl");
        let kept = std::fs::read_to_string(kept).unwrap();
        assert!(kept.lines().count() == 1 && kept.contains(poison), "{kept}");
        // What looks as if it passed is waited for longer.
        let all = receiver.all.lock().clone();
        let alone = |m: &&Message| m.body.contains(poison) && m.events().len() == 1;
        let refused: Vec<&Message> = all.iter().filter(alone).collect();
        let span = refused.last().unwrap().at - refused[0].at;
        let least = PACE.refused_for * if may_pass { 6 } else { 1 };
        assert!(span >= least, "{what}: {span:?}");
        running.stop().await;
    }
}

/// It has taken nothing yet, so that nothing is known that it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_stops_nothing_of_the_first_batch_either() {
    let stage = Stage::new();
    let recorder = recorded(&stage, &[names("act", 5)]).await;
    let receiver = Receiver::start(|m| match m.body.contains("act:002") {
        true => Answer::Status(403),
        false => Answer::Status(200),
    })
    .await;
    let mut options = receiver.options("siem");
    options.batch_events = 200;
    let running = stage.run(&recorder, vec![options]);
    running.until("siem", |s| s.set_aside == 1).await;
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    let told: BTreeSet<String> = receiver.told("act").into_iter().collect();
    let rest = names("act", 5).into_iter().filter(|n| n != "act:002");
    assert_eq!(told, rest.collect());
    running.stop().await;
}

/// A receiver that fails with everything is sent no batch in parts, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_one_request_more_for_each_attempt() {
    let stage = Stage::new();
    let recorder = recorded(&stage, &[names("before", 3)]).await;
    let receiver = Receiver::start(yes).await;
    let running = stage.run(&recorder, vec![receiver.options("siem")]);
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    running.stop().await;
    receiver.now(|_| Answer::Status(503));
    receiver.all.lock().clear();
    acts(&recorder, names("act", 20)).await;
    assert!(recorder.flush(Duration::from_secs(20)).await);
    let running = stage.run(&recorder, vec![receiver.options("siem")]);
    running
        .until("siem", |_| receiver.all.lock().len() >= 20)
        .await;
    let seen = running.status("siem");
    assert_eq!((seen.set_aside, seen.state), (0, State::Waiting));
    // A whole batch, and what was taken before: no halves.
    let all = receiver.all.lock().clone();
    let sizes: BTreeSet<usize> = all.iter().map(|m| m.events().len()).collect();
    assert_eq!(sizes, BTreeSet::from([1, 7]));
    receiver.now(yes);
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    assert_eq!(running.status("siem").set_aside, 0);
    let told: BTreeSet<String> = receiver.told("act").into_iter().collect();
    assert_eq!(told, names("act", 20).into_iter().collect());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_remembers_what_it_took_does_not_show_that_it_takes_anything() {
    let stage = Stage::new();
    let recorder = recorded(&stage, &[names("before", 3)]).await;
    let receiver = Receiver::start(yes).await;
    let mut one = receiver.options("siem");
    one.batch_events = 1;
    let running = stage.run(&recorder, vec![one]);
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    let ids = receiver.taken.lock().clone();
    let ids: BTreeSet<String> = ids.iter().map(|m| m.header("webhook-id")).collect();
    receiver.now(move |m| match ids.contains(&m.header("webhook-id")) {
        true => Answer::Status(200),
        false => Answer::Status(400),
    });
    acts(&recorder, names("act", 3)).await;
    running.until("siem", |s| s.state == State::Waiting).await;
    tokio::time::sleep(PACE.refused_for * 3).await;
    assert_eq!(running.status("siem").set_aside, 0);
    receiver.now(yes);
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    let told: BTreeSet<String> = receiver.told("act").into_iter().collect();
    assert_eq!(told, names("act", 3).into_iter().collect());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_are_refused_are_waited_for() {
    for (what, batch, before, bad, aside) in [
        ("more than half of a batch", 200, 0, 9, 0),
        ("ten in a row", 200, 40, 10, 0),
        ("ten in a row, one by one", 1, 3, 12, 9),
    ] {
        let stage = Stage::new();
        let all = [names("good", before), names("bad", bad)];
        let recorder = recorded(&stage, &all).await;
        let receiver = Receiver::start(|m| match m.body.contains("bad:") {
            true => Answer::Status(422),
            false => Answer::Status(200),
        })
        .await;
        let mut one = receiver.options("siem");
        one.batch_events = batch;
        let running = stage.run(&recorder, vec![one]);
        let many = |s: &crate::Status| {
            let error = s.last_error.as_ref();
            error.is_some_and(|(why, _)| why.contains("so many events are refused"))
        };
        let seen = running.until("siem", many).await;
        assert_eq!(
            (seen.set_aside, seen.state),
            (aside, State::Waiting),
            "{what}"
        );
        receiver.now(yes);
        running.until("siem", |s| s.lag_leaves == Some(0)).await;
        let told: BTreeSet<String> = receiver.told("bad").into_iter().collect();
        assert_eq!(told.len() as u64, bad as u64 - aside, "{what}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn yes_is_yes_whatever_becomes_of_the_rest_of_the_answer() {
    let stage = Stage::new();
    let recorder = recorded(&stage, &[names("act", 20)]).await;
    let receiver = Receiver::start(|_| Answer::CutBody).await;
    let running = stage.run(&recorder, vec![receiver.options("siem")]);
    running.until("siem", |s| s.lag_leaves == Some(0)).await;
    assert_eq!(receiver.told("act"), names("act", 20), "each once");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cursor_is_told_and_stops_nobody_else() {
    let stage = Stage::new();
    let recorder = stage.recorder().await;
    let (one, two) = (Receiver::start(yes).await, Receiver::start(yes).await);
    let running = stage.run(&recorder, vec![one.options("one"), two.options("two")]);
    acts(&recorder, names("act", 3)).await;
    running.until("one", |s| s.delivered >= 3).await;
    running.until("two", |s| s.delivered >= 3).await;
    running.stop().await;
    let path = stage.deliveries().join("one.cursor");
    std::fs::write(&path, "damaged").unwrap();
    let running = stage.run(&recorder, vec![one.options("one"), two.options("two")]);
    acts(&recorder, names("more", 3)).await;
    let status = running.until("one", |s| s.last_error.is_some()).await;
    let error = status.last_error.unwrap().0;
    assert!(error.contains("one.cursor is damaged"), "{error}");
    assert_eq!(status.lag_leaves, None, "nobody knows");
    running.until("two", |s| s.delivered >= 3).await;
    assert_eq!(two.told("more"), names("more", 3));
    assert_eq!(one.told("more").len(), 0);
    running.stop().await;
}
