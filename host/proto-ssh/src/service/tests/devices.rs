//! Logins by another device, against clients that do not behave.

use super::logins::stranger_from;
use super::*;
use std::time::SystemTime;

use crate::startup::Proved;

const USER: &str = "root+web1";

async fn begin(world: &World, user: &str) -> Leg {
    begin_from(world, "127.0.0.1", user).await
}

async fn begin_from(world: &World, address: &str, user: &str) -> Leg {
    let mut leg = stranger_from(world, address).await;
    let mut hello = Vec::new();
    hello.byte(n::SERVICE_REQUEST).string(b"ssh-userauth");
    leg.transport.send(&hello).unwrap();
    ask(&mut leg, user);
    leg
}

fn ask(leg: &mut Leg, user: &str) {
    let mut out = Vec::new();
    out.byte(n::USERAUTH_REQUEST)
        .string(user.as_bytes())
        .string(b"ssh-connection")
        .string(b"keyboard-interactive")
        .string(b"")
        .string(b"");
    leg.transport.send(&out).unwrap();
}

fn answer(leg: &mut Leg, answers: &[&[u8]]) {
    let mut out = Vec::new();
    out.byte(n::USERAUTH_INFO_RESPONSE)
        .uint32(u32::try_from(answers.len()).unwrap());
    for answer in answers {
        out.string(answer);
    }
    leg.transport.send(&out).unwrap();
}

/// The next message of this kind, or how the connection ended; with all banners before it.
async fn until(leg: &mut Leg, kind: u8) -> (String, Vec<u8>) {
    let mut banners = String::new();
    let heard = async {
        loop {
            match leg.recv().await {
                Ok(Event::Packet(p)) if p.first() == Some(&kind) => return p.to_vec(),
                Ok(Event::Packet(p)) if p.first() == Some(&n::USERAUTH_BANNER) => {
                    banners.push_str(&text(&p));
                }
                Ok(Event::Packet(p)) if p.first() == Some(&n::SERVICE_ACCEPT) => {}
                other => return format!("{other:?}").into_bytes(),
            }
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(30), heard).await;
    (banners, heard.unwrap())
}

async fn instruction(leg: &mut Leg) -> String {
    let (_, asked) = until(leg, n::USERAUTH_INFO_REQUEST).await;
    assert_eq!(
        asked.first(),
        Some(&n::USERAUTH_INFO_REQUEST),
        "{}",
        text(&asked)
    );
    text(&asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_takes_too_long_ends_in_words() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.device_timeout = Duration::from_secs(4);
        options.limits.least_device_time = Duration::from_millis(100);
        options.limits.failed_login_delay = Duration::ZERO;
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    let mut leg = begin(&world, USER).await;
    instruction(&mut leg).await;
    answer(&mut leg, &[b""]);
    let (said, failed) = until(&mut leg, n::USERAUTH_FAILURE).await;
    assert!(
        said.contains("nobody agreed in time"),
        "{said}: {}",
        text(&failed)
    );
    assert_eq!(failed.first(), Some(&n::USERAUTH_FAILURE));
    assert_eq!(
        world.keys.flows_dropped.load(Ordering::SeqCst),
        1,
        "nobody is asked any more"
    );
    // The time is the connection's: another flow has none left, and is not begun.
    ask(&mut leg, USER);
    let (said, failed) = until(&mut leg, n::USERAUTH_FAILURE).await;
    assert!(said.contains("no time left"), "{said}: {}", text(&failed));
    assert_eq!(world.keys.flows.load(Ordering::SeqCst), 1);
}

/// Whoever is revoked while the client waits at its prompt does not come in by what somebody agreed to before.
#[tokio::test(flavor = "multi_thread")]
async fn a_flow_counts_from_when_it_began() {
    let Some(world) = World::new().await else {
        return;
    };
    let mut leg = begin(&world, USER).await;
    instruction(&mut leg).await;
    let begun = SystemTime::now();
    world.keys.device.send_replace(Some(true));
    tokio::time::sleep(Duration::from_millis(200)).await;
    answer(&mut leg, &[b""]);
    let (said, success) = until(&mut leg, n::USERAUTH_SUCCESS).await;
    assert_eq!(success, [n::USERAUTH_SUCCESS], "{said}");
    let asked = async {
        loop {
            if let Some(proved) = world.keys.came_in_by.lock().clone() {
                return proved;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let proved = tokio::time::timeout(Duration::from_secs(30), asked).await;
    match proved.unwrap() {
        Proved::Device { since } => assert!(since <= begun, "{since:?} {begun:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_flows_is_bounded_and_begins_nothing_at_the_provider() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.max_device_flows_per_source = 2;
        options.limits.device_flow_pause = Duration::from_secs(600);
        options.limits.failed_login_delay = Duration::ZERO;
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut leg = begin(&world, USER).await;
        instruction(&mut leg).await;
        waiting.push(leg);
    }
    for round in 0..4 {
        let mut leg = begin(&world, USER).await;
        let (said, failed) = until(&mut leg, n::USERAUTH_FAILURE).await;
        assert!(
            said.contains("too many logins wait"),
            "{round}: {said} {}",
            text(&failed)
        );
        // Coming and going is no way around it.
        waiting.pop();
    }
    assert_eq!(world.keys.flows.load(Ordering::SeqCst), 2);
}

/// Strangers who hold all places do not keep others out; and what somebody has agreed to is not taken away.
#[tokio::test(flavor = "multi_thread")]
async fn a_flow_gives_way_when_all_places_are_taken() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.max_device_flows = 2;
        options.limits.failed_login_delay = Duration::ZERO;
        options.limits.device_flow_pause = Duration::from_millis(50);
        options.limits.device_flow_kept = Duration::from_millis(50);
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    let mut oldest = begin(&world, USER).await;
    instruction(&mut oldest).await;
    let mut other = begin(&world, USER).await;
    instruction(&mut other).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut elsewhere = begin_from(&world, "127.0.0.2", USER).await;
    instruction(&mut elsewhere).await;
    answer(&mut oldest, &[b""]);
    let (said, failed) = until(&mut oldest, n::USERAUTH_FAILURE).await;
    assert!(
        said.contains("gave way to another"),
        "{said}: {}",
        text(&failed)
    );
    assert_eq!(world.keys.flows_dropped.load(Ordering::SeqCst), 1);
    // Agreed to, and not answered yet: it is in, however many others come.
    world.keys.device.send_replace(Some(true));
    tokio::time::sleep(Duration::from_secs(1)).await;
    for address in ["127.0.0.3", "127.0.0.4", "127.0.0.5"] {
        begin_from(&world, address, USER).await;
    }
    answer(&mut other, &[b""]);
    let (said, success) = until(&mut other, n::USERAUTH_SUCCESS).await;
    assert_eq!(success, [n::USERAUTH_SUCCESS], "{said}");
}

/// A provider is asked every few seconds only: who has agreed in between is in, also when it is too late by then, or
/// the place is another's.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_to_between_two_polls_counts() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.device_timeout = Duration::from_secs(4);
        options.limits.least_device_time = Duration::from_millis(100);
        options.limits.failed_login_delay = Duration::ZERO;
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    world.keys.agreed_unseen.store(true, Ordering::SeqCst);
    let mut late = begin(&world, USER).await;
    instruction(&mut late).await;
    answer(&mut late, &[b""]);
    let (said, success) = until(&mut late, n::USERAUTH_SUCCESS).await;
    assert_eq!(success, [n::USERAUTH_SUCCESS], "{said}");

    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.max_device_flows = 1;
        options.limits.device_flow_pause = Duration::from_millis(50);
        options.limits.device_flow_kept = Duration::from_millis(50);
        options.limits.max_device_flows_per_source = 1;
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    world.keys.agreed_unseen.store(true, Ordering::SeqCst);
    let mut first = begin(&world, USER).await;
    instruction(&mut first).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut newcomer = begin_from(&world, "127.0.1.1", USER).await;
    instruction(&mut newcomer).await;
    answer(&mut first, &[b""]);
    let (said, success) = until(&mut first, n::USERAUTH_SUCCESS).await;
    assert_eq!(success, [n::USERAUTH_SUCCESS], "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_let_nobody_in() {
    let change = |options: &mut crate::Options, _: &Keys| {
        options.limits.failed_login_delay = Duration::ZERO;
    };
    let Some(world) = World::with(MemoryPolicy::permit_all(), change).await else {
        return;
    };
    world.keys.device.send_replace(Some(true));
    let many = vec![b"".as_slice(); 1_000];
    let garbage: [&[&[u8]]; 5] = [&[], &[b"", b""], &[b"\xff\xfe"], &[b"not a token"], &many];
    for answers in garbage {
        let mut leg = begin(&world, USER).await;
        instruction(&mut leg).await;
        answer(&mut leg, answers);
        let (said, failed) = until(&mut leg, n::USERAUTH_FAILURE).await;
        assert_eq!(
            failed.first(),
            Some(&n::USERAUTH_FAILURE),
            "{said} {}",
            text(&failed)
        );
        // It has nothing to answer any more.
        answer(&mut leg, &[b""]);
        let (_, end) = until(&mut leg, n::USERAUTH_SUCCESS).await;
        // 2 is a protocol error.
        let said = text(&end);
        assert!(said.contains("Disconnected { reason: 2,"), "{said}");
    }
}

/// Nothing that is said tells if there is such a target; and the flow begins either way.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_there_is_not_is_asked_for_in_the_same_words() {
    let Some(world) = World::new().await else {
        return;
    };
    let said = async |user: &str| {
        let mut leg = begin(&world, user).await;
        let said = instruction(&mut leg).await;
        said.replace(user, "USER")
            .chars()
            .skip(1)
            .collect::<String>()
    };
    let known = said("root+web1").await;
    assert!(known.contains("USER"), "{known}");
    let without = |text: String| text.replace(|c: char| c.is_control(), "");
    assert_eq!(without(said("root+web9").await), without(known));
}

/// Who offers keys, or cannot ask anybody, sends nobody anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn no_flow_begins_for_a_client_that_does_not_choose_it() {
    let Some(world) = World::new().await else {
        return;
    };
    let out = world.certified().run(USER, "echo in").await;
    assert_eq!(text(&out.stdout), "in\n", "{}", text(&out.stderr));
    let out = world.ssh().option("BatchMode=yes").run(USER, "true").await;
    let said = text(&out.stderr);
    assert!(
        said.contains("Permission denied") && said.contains("keyboard-interactive"),
        "{said}"
    );
    assert_eq!(world.keys.flows.load(Ordering::SeqCst), 0);
}
