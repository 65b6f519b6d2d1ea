//! A session is watched while it runs: as it is recorded, masked as its client sees it, on record itself,
//! and at nobody's cost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::dataset::leaks;
use weir_tests::proc::eventually;
use weir_tests::psql::Output;
use weir_tests::weir::Weir;

use crate::shop::{ALICE, BOB, MALLORY, OLGA, OTTO, Shop, shop};

const SOON: Duration = Duration::from_secs(30);

/// What is on record of watching.
fn acts(weir: &Weir, token: &str) -> Vec<Value> {
    let mut all = Vec::new();
    for action in ["session:watch", "session:watch-end"] {
        let args = ["audit", "--format", "jsonl", "--action", action];
        let out = weir.cli(Some(token), &args).unwrap();
        assert!(out.ok(), "{}", out.all());
        let parse = |line| serde_json::from_str::<Value>(line).unwrap();
        all.extend(out.stdout.lines().map(parse));
    }
    all
}

fn recorded(weir: &Weir, token: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} acts of watching"), SOON, || {
        Ok(Some(acts(weir, token)).filter(|acts| acts.len() >= count))
    })
    .unwrap()
}

fn live(shop: &Shop, who: &str) -> String {
    let olga = shop.token(OLGA);
    eventually("the session to be live", SOON, || {
        let sessions = shop.weir.live_sessions(&olga)?;
        let mine = sessions.iter().find(|s| s["principal"] == who);
        Ok(mine.and_then(|s| s["id"].as_str()).map(str::to_owned))
    })
    .unwrap()
}

fn watched(weir: &Weir, token: &str, id: &str, more: &[&str]) -> Output {
    let args = [&["sessions", "watch", id], more].concat();
    weir.cli(Some(token), &args).unwrap()
}

#[test]
fn a_session_is_watched_as_it_happens() {
    let shop = shop("watch");
    let (weir, olga) = (&shop.weir, shop.token(OLGA));
    let script = "SELECT 'before';\n\
        UPDATE accounts SET balance = balance + 1 WHERE id = 7;\n\
        SELECT id, name, ssn, email FROM customers WHERE id = 3;\n\
        DROP TABLE orders;\n\
        SELECT 'the ' || 'end';\n";
    let psql = shop.psql(ALICE).spawn(script).unwrap();
    // It waits for people now.
    let hold = weir.open_hold(&shop.token(BOB)).unwrap();
    let hold = hold["id"].as_str().unwrap();
    let id = live(&shop, ALICE.0);
    for stranger in [ALICE, MALLORY, BOB] {
        let out = watched(weir, &shop.token(stranger), &id, &[]);
        assert!(!out.ok() && out.stdout.is_empty(), "{}", out.all());
        assert!(out.stderr.contains("session:watch"), "{}", out.all());
    }
    let refused = recorded(weir, &olga, 3).len();
    let (text, lines) = std::thread::scope(|scope| {
        let text = scope.spawn(|| watched(weir, &olga, &id, &[]));
        let lines = scope.spawn(|| watched(weir, &olga, &id, &["--json"]));
        recorded(weir, &olga, refused + 2);
        weir.approve(&shop.token(BOB), hold).unwrap().ok().unwrap();
        let out = psql.wait(SOON).unwrap();
        assert!(out.stdout.contains("the end"), "{}", out.all());
        (text.join().unwrap(), lines.join().unwrap())
    });
    for out in [&text, &lines] {
        assert!(out.ok(), "{}", out.all());
        assert!(out.stderr.contains("recorded no more"), "{}", out.all());
        assert_eq!(
            leaks(out.stdout.as_bytes()),
            None,
            "a masked value was shown"
        );
        for part in [
            "alice@example.test",
            "watched from record",
            hold,
            "bob@example.test",
            "refused",
            "the end",
        ] {
            assert!(out.stdout.contains(part), "{part}: {}", out.stdout);
        }
        assert!(!out.stdout.contains("'before'"), "{}", out.stdout);
    }

    // The same as is replayed, from there on.
    let replayed = eventually("the session to be stored", SOON, || {
        let out = weir.cli(None, &["replay", &id])?;
        Ok(out.ok().then_some(out.stdout))
    })
    .unwrap();
    let seen: Vec<&str> = text.stdout.lines().collect();
    let note = seen
        .iter()
        .position(|l| l.contains("watched from record"))
        .unwrap();
    let later = seen[note + 1..].join("\n");
    assert!(
        replayed.trim_end().ends_with(&later),
        "{later}\n---\n{replayed}"
    );
    let kinds: Vec<String> = lines
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["kind"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(kinds[..2], ["start", "note"]);
    assert_eq!(kinds.last().unwrap(), "end");
    // Both began and ended on record.
    let acts = recorded(weir, &olga, refused + 4);
    let olgas = acts.iter().filter(|a| a["principal"]["subject"] == OLGA.0);
    assert_eq!(olgas.count(), 4, "{acts:#?}");
    let ends = acts
        .iter()
        .filter(|a| a["actions"][0] == "session:watch-end");
    assert_eq!(ends.count(), 2, "{acts:#?}");
    let over = watched(weir, &olga, &id, &[]);
    assert!(
        over.stderr.contains("no such live session"),
        "{}",
        over.all()
    );
}

/// Asks for a watch and reads no more than the answer's head.
fn begin(weir: &Weir, token: &str, id: &str) -> (u16, TcpStream) {
    let mut stream = TcpStream::connect(("127.0.0.1", weir.api_port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let request = format!(
        "GET /v1/sessions/{id}/watch HTTP/1.1\r\nHost: weir\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, stream)
}

#[test]
fn a_watcher_that_does_not_read_slows_nobody() {
    let shop = shop("watch-stopped");
    let olga = shop.token(OLGA);
    // Far more than sockets and queues hold, and nothing that is made much smaller.
    let script = "SELECT 1;\n\\! sleep 4\n\
        SELECT (SELECT string_agg(md5(random()::text || i + j), '') FROM generate_series(1, 30) AS j) FROM generate_series(1, 60000) AS i;\n\
        SELECT 'the ' || 'end';\n";
    let timed = |stop: bool| {
        let begun = Instant::now();
        let psql = shop.psql(ALICE).spawn(script).unwrap();
        let stopped = stop.then(|| begin(&shop.weir, &olga, &live(&shop, ALICE.0)));
        let out = psql.wait(Duration::from_secs(120)).unwrap();
        assert!(out.stdout.contains("the end"), "{}", out.stderr);
        assert!(
            out.stdout.len() > 50 << 20,
            "{}: {}",
            out.stdout.len(),
            out.stderr
        );
        (begun.elapsed(), stopped)
    };
    let (alone, _) = timed(false);
    let (watched, stopped) = timed(true);
    let bound = alone * 2 + Duration::from_secs(8);
    assert!(
        watched < bound,
        "{watched:?}, and {alone:?} without a watcher"
    );
    let (status, mut stream) = stopped.unwrap();
    assert_eq!(status, 200);
    // It is told what it has missed, or it was cut off: it has not got everything.
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok();
    let all = String::from_utf8_lossy(&all);
    assert!(all.len() < 50 << 20, "{}", all.len());
    let is_told = all.contains("you fell behind") && all.contains("\"left_out\":");
    assert!(
        is_told || !all.contains("\"over\":"),
        "neither told nor cut off"
    );
    let acts = recorded(&shop.weir, &olga, 2);
    assert_eq!(acts.len(), 2, "begun and ended: {acts:#?}");
}

#[test]
fn a_watcher_that_goes_frees_its_place_and_a_dead_session_ends_the_stream() {
    let shop = shop("watch-places");
    let (olga, otto) = (shop.token(OLGA), shop.token(OTTO));
    let alice = shop.connect(ALICE);
    let id = live(&shop, ALICE.0);
    let mut held: Vec<(u16, TcpStream)> = Vec::new();
    for token in [&otto, &otto, &olga, &olga] {
        held.push(begin(&shop.weir, token, &id));
    }
    assert!(held.iter().all(|(status, _)| *status == 200));
    assert_eq!(
        begin(&shop.weir, &olga, &id).0,
        429,
        "a third of one person"
    );
    // The session says nothing, so that only signs of life can find out.
    drop(held.pop());
    let (_, mut stream) = eventually("the place to be free", Duration::from_secs(10), || {
        Ok(Some(begin(&shop.weir, &olga, &id)).filter(|(status, _)| *status == 200))
    })
    .unwrap();
    drop(alice);
    let mut all = String::new();
    while !all.contains("\"over\":\"session\"") {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).unwrap();
        assert!(count > 0, "{all}");
        all.push_str(&String::from_utf8_lossy(&some[..count]));
    }
    assert!(all.contains("\"kind\":\"end\""), "{all}");
}
