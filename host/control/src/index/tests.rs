//! The index: what is told once or twice is there once, is found by whatever is asked, and is gone when
//! it has to go.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use weir_client::AuditEntry;

use super::*;

const PLACE: IndexPlace = IndexPlace {
    file: 3,
    chain: [7; 32],
};

fn open(dir: &TempDir) -> Index {
    open_with(dir, IndexLimits::default())
}

fn open_with(dir: &TempDir, limits: IndexLimits) -> Index {
    Index::open(&path(dir), limits).unwrap()
}

fn path(dir: &TempDir) -> PathBuf {
    dir.path().join("index.db")
}

fn who(subject: &str) -> IndexWho {
    IndexWho {
        kind: "User".into(),
        subject: subject.into(),
        issuer: "https://issuer.test".into(),
        ..IndexWho::default()
    }
}

fn at(stream: u8, n: u64, at: Millis, action: Option<u64>, what: Indexed) -> IndexEntry {
    IndexEntry {
        stream: [stream; 16],
        n,
        at,
        action,
        what,
    }
}

fn start(stream: u8, who: IndexWho, time: Millis) -> IndexEntry {
    let start = IndexStart {
        who,
        target: format!("target-{stream}"),
        database: "shop".into(),
        source: "192.0.2.7".into(),
    };
    at(stream, 0, time, None, Indexed::Started(Box::new(start)))
}

fn action(text: &str, table: &str) -> IndexAction {
    IndexAction {
        decision: "permit".into(),
        shape: IndexShape {
            kind: "select".into(),
            actions: vec!["postgres:select".into()],
            resources: vec![format!("PgTable::shop.public.{table}")],
            labels: vec![format!("{table}-label")],
            findings: vec!["code".into()],
            policies: vec![format!("grant.{table}")],
            plugins: vec![("risk-sql".into(), "1".into(), "d".repeat(64))],
            masked: vec![],
            bundle: Some(("default".into(), 4)),
        },
        carried: None,
        risk: 10,
        text: Ok(IndexText {
            carried: text.into(),
            known: text.to_uppercase().replace("HUNTER2", "?"),
        }),
        hold: None,
        rules: vec![],
        approvers: vec![],
    }
}

fn acted(stream: u8, n: u64, time: Millis, action: IndexAction) -> IndexEntry {
    at(stream, n, time, Some(n), Indexed::Action(Box::new(action)))
}

/// With its outcome.
fn done(stream: u8, n: u64, time: Millis, action: IndexAction) -> [IndexEntry; 2] {
    [
        acted(stream, n, time, action),
        outcome(stream, n + 1, n, "SELECT 3"),
    ]
}

fn outcome(stream: u8, n: u64, seq: u64, detail: &str) -> IndexEntry {
    let failed = detail.chars().all(|c| c.is_ascii_digit()) && detail.len() == 5;
    let what = Indexed::Outcome(IndexOutcome {
        outcome: if failed { "failed" } else { "done" }.into(),
        detail: detail.into(),
        rows: 3,
        elapsed_us: 120,
    });
    at(stream, n, 9_000, Some(seq), what)
}

/// Two sessions and an operator's act.
fn some() -> Vec<IndexEntry> {
    let agent = IndexWho {
        kind: "Agent".into(),
        owner: Some("alice".into()),
        on_behalf_of: vec!["carol".into()],
        ..who("bot")
    };
    let held = IndexAction {
        hold: Some("hold-1".into()),
        rules: vec!["risky".into()],
        approvers: vec!["dave".into()],
        risk: 90,
        ..action("delete from orders", "orders")
    };
    let refused = IndexAction {
        decision: "hold-denied".into(),
        text: Err("it could not be read"),
        ..action("", "secrets")
    };
    let act = IndexAct {
        who: Some(who("olga")),
        action: "session:terminate".into(),
        resource: "Session::\"x\"".into(),
        refused: true,
    };
    vec![
        start(1, who("alice"), 1_000),
        acted(
            1,
            1,
            1_100,
            action("select name from users where id = ?", "users"),
        ),
        outcome(1, 2, 1, "SELECT 3"),
        start(2, agent, 1_150),
        acted(1, 3, 1_200, held),
        acted(
            2,
            1,
            1_200,
            action("SELECT name FROM \"order_items\"", "items"),
        ),
        acted(2, 2, 1_300, refused),
        outcome(1, 31, 3, "DELETE 3"),
        outcome(2, 31, 1, "SELECT 3"),
        at(9, 0, 900, None, Indexed::Instance("weir 1".into())),
        at(9, 1, 1_400, None, Indexed::Act(Box::new(act))),
        at(9, 2, 1_450, None, Indexed::Gap("a file".into())),
        at(1, 4, 1_500, None, Indexed::Ended("client-closed".into())),
    ]
}

async fn find(index: &Index, set: impl FnOnce(&mut Query)) -> Found {
    let mut query = Query {
        limit: 100,
        ..Query::default()
    };
    set(&mut query);
    index.search(query).await.unwrap()
}

/// Streams and record numbers, as `1/3`.
fn places(items: &[AuditEntry]) -> Vec<String> {
    let place = |e: &AuditEntry| {
        let stream = e.stream.get(1..2).unwrap_or_default();
        format!("{stream}/{}", e.record)
    };
    items.iter().map(place).collect()
}

#[tokio::test]
async fn everything_is_found_by_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    index.take(&some(), PLACE).unwrap();
    let all = find(&index, |_| {}).await;
    let expected = [
        "1/4", "9/2", "9/1", "2/2", "2/1", "1/3", "2/0", "1/1", "1/0", "9/0",
    ];
    assert_eq!(places(&all.items), expected);
    assert_eq!((all.first, all.last), (Some(900), Some(9_000)));
    let text = |text: &str| Some(text.to_owned());
    type Set = Box<dyn FnOnce(&mut Query)>;
    let cases: Vec<(Set, &[&str])> = vec![
        (
            Box::new(|q| q.since = Some(1_300)),
            &["1/4", "9/2", "9/1", "2/2"],
        ),
        (Box::new(|q| q.until = Some(1_000)), &["9/0"]),
        (
            Box::new(move |q| q.user = text("alice")),
            &["1/4", "2/2", "2/1", "1/3", "2/0", "1/1", "1/0"],
        ),
        (
            Box::new(move |q| q.user = text("carol")),
            &["2/2", "2/1", "2/0"],
        ),
        (Box::new(move |q| q.user = text("olga")), &["9/1"]),
        (Box::new(move |q| q.user = text("ali")), &[]),
        (
            Box::new(move |q| q.target = text("target-2")),
            &["2/2", "2/1", "2/0"],
        ),
        (
            Box::new(|q| q.session = Some([2; 16])),
            &["2/2", "2/1", "2/0"],
        ),
        (Box::new(|q| q.kind = Some(0)), &["2/0", "1/0"]),
        (
            Box::new(move |q| q.action = text("session:terminate")),
            &["9/1"],
        ),
        (
            Box::new(move |q| q.resource = text("public.orders")),
            &["1/3"],
        ),
        (Box::new(move |q| q.resource = text("users")), &["1/1"]),
        (
            Box::new(move |q| q.resource = text("PgTable::shop.public.users")),
            &["1/1"],
        ),
        (
            Box::new(move |q| q.decision = text("permit")),
            &["2/1", "1/3", "1/1"],
        ),
        (
            Box::new(move |q| q.decision = text("refused")),
            &["9/1", "2/2"],
        ),
        (
            Box::new(move |q| q.decision = text("hold-denied")),
            &["2/2"],
        ),
        (
            Box::new(move |q| q.outcome = text("done")),
            &["2/1", "1/3", "1/1"],
        ),
        (
            Box::new(move |q| q.outcome = text("client-closed")),
            &["1/4"],
        ),
        (Box::new(|q| q.risk = Some(90)), &["1/3"]),
        (Box::new(move |q| q.label = text("items-label")), &["2/1"]),
        (Box::new(move |q| q.policy = text("grant.orders")), &["1/3"]),
        (
            Box::new(move |q| q.plugin = text("risk-sql")),
            &["2/2", "2/1", "1/3", "1/1"],
        ),
        (Box::new(move |q| q.approval = text("dave")), &["1/3"]),
        (Box::new(move |q| q.approval = text("risky")), &["1/3"]),
        (Box::new(move |q| q.approval = text("hold-1")), &["1/3"]),
        (Box::new(|q| q.words = words("NAME from")), &["2/1", "1/1"]),
        (Box::new(|q| q.words = words("order_items")), &["2/1"]),
        (Box::new(|q| q.words = words("ord*")), &["2/1", "1/3"]),
        (Box::new(|q| q.words = words("nothing")), &[]),
        (
            Box::new(move |q| {
                q.user = text("alice");
                q.decision = text("permit");
                q.risk = Some(50);
            }),
            &["1/3"],
        ),
    ];
    for (at, (set, expected)) in cases.into_iter().enumerate() {
        let found = find(&index, set).await;
        assert_eq!(places(&found.items), expected, "case {at}");
        assert!(found.next.is_none());
    }
}

#[tokio::test]
async fn nothing_in_a_search_steers_it() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    index.take(&some(), PLACE).unwrap();
    for (odd, expected) in [
        ("\" name", 2),
        ("name\" OR \"orders", 0),
        ("name NEAR orders", 0),
        ("NOT name", 0),
        ("(name", 2),
        ("{text}:name", 0),
        ("text:name", 0),
        ("^name", 2),
        ("n*me", 0),
        ("'; DROP TABLE entries; --", 0),
        ("name\0", 2),
    ] {
        let found = find(&index, |q| q.words = words(odd)).await;
        assert_eq!(found.items.len(), expected, "{odd}");
        let found = find(&index, |q| {
            (q.user, q.resource) = (Some(odd.into()), Some(odd.into()));
        })
        .await;
        assert_eq!(found.items, [], "{odd}");
    }
    assert!(words("\" * --").is_empty());
}

#[tokio::test]
async fn an_entry_says_everything() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    index.take(&some(), PLACE).unwrap();
    let found = find(&index, |q| q.session = Some([1; 16])).await;
    let json = serde_json::to_string_pretty(&found.items.get(2).unwrap()).unwrap();
    expect_test::expect![[r#"
        {
          "at": "1970-01-01T00:00:01.100Z",
          "kind": "action",
          "stream": "01010101-0101-0101-0101-010101010101",
          "record": 1,
          "number": 1,
          "principal": {
            "kind": "User",
            "subject": "alice",
            "issuer": "https://issuer.test"
          },
          "target": "target-1",
          "database": "shop",
          "source": "192.0.2.7",
          "actions": [
            "postgres:select"
          ],
          "resources": [
            "PgTable::shop.public.users"
          ],
          "statement_kind": "select",
          "statement": "select name from users where id = ?",
          "decision": "permit",
          "policies": [
            "grant.users"
          ],
          "risk": 10,
          "labels": [
            "users-label"
          ],
          "findings": [
            "code"
          ],
          "plugins": [
            {
              "name": "risk-sql",
              "version": "1",
              "digest": "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
            }
          ],
          "bundle": "default 4",
          "outcome": "done",
          "detail": "SELECT 3",
          "rows": 3,
          "elapsed_us": 120
        }"#]]
    .assert_eq(&json);
}

#[tokio::test]
async fn pages_hold_each_entry_once() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    // Many of the same moment.
    let mut entries = vec![start(1, who("alice"), 10)];
    entries.extend((1..100).map(|n| acted(1, n, 10 + n / 40, action("select 1", "t"))));
    index.take(&entries, PLACE).unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = find(&index, |q| {
            q.limit = 7;
            q.before = after.as_deref().map(|text| parse_cursor(text).unwrap());
        })
        .await;
        seen.extend(places(&page.items));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 100);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 100);
    for wrong in ["", "x", "1", "1-", "-1", "01-1", "1-1-1", "g-1", "1-1 "] {
        assert_eq!(parse_cursor(wrong), None, "{wrong}");
    }
}

#[tokio::test]
async fn what_is_told_again_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    assert_eq!(index.place().unwrap(), None);
    index.take(&some(), PLACE).unwrap();
    let once = find(&index, |_| {}).await;
    index.take(&some(), PLACE).unwrap();
    index.take(&some()[2..9], PLACE).unwrap();
    index.take(&[], IndexPlace { file: 4, ..PLACE }).unwrap();
    assert_eq!(find(&index, |_| {}).await, once);
    drop(index);
    // Also by another process, to which nothing is known.
    let index = open(&dir);
    assert_eq!(
        index.place().unwrap(),
        Some(IndexPlace { file: 4, ..PLACE })
    );
    index.take_stored(&some(), "rec/1", 0).unwrap();
    assert_eq!(find(&index, |_| {}).await, once);
    assert_eq!(index.backfill().unwrap(), behind(Some("rec/1"), 0));
    index.backfilled(0).unwrap();
    assert_eq!(index.backfill().unwrap(), Backfill::Done);
    index.rebuild().unwrap();
    assert_eq!(index.backfill().unwrap(), behind(None, 1));
    // What was begun before is not gone on with.
    assert!(index.take_stored(&some(), "rec/2", 0).is_err());
    assert!(index.backfilled(0).is_err());
    assert_eq!(index.backfill().unwrap(), behind(None, 1));
}

fn behind(after: Option<&str>, generation: u64) -> Backfill {
    Backfill::Behind {
        after: after.map(str::to_owned),
        generation,
    }
}

/// Any order gives the same, while older records are still being read.
#[tokio::test]
async fn older_records_may_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    index.take(&some(), PLACE).unwrap();
    let expected = find(&index, |_| {}).await;
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let mut backwards = some();
    backwards.reverse();
    for (n, entry) in backwards.iter().enumerate() {
        let one = std::slice::from_ref(entry);
        match n % 2 {
            0 => index.take(one, PLACE).unwrap(),
            _ => index.take_stored(one, "rec/1", 0).unwrap(),
        }
    }
    let sorted = |mut found: Found| {
        found.items.sort_by_key(|e| (e.stream.clone(), e.record));
        found.items
    };
    let found = find(&index, |_| {}).await;
    assert_eq!(sorted(found), sorted(expected));
}

/// All bytes of the file and whatever is beside it.
fn bytes_hold(dir: &Path, needle: &str) -> bool {
    let needle = needle.as_bytes();
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes
            .windows(needle.len())
            .any(|w| w.eq_ignore_ascii_case(needle))
    })
}

#[tokio::test]
async fn a_session_that_is_erased_is_in_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let own = acted(
        1,
        5,
        1_600,
        action("select zebra from giraffes", "giraffes"),
    );
    let mut entries = some();
    entries.push(own);
    entries.push(outcome(1, 6, 5, "SELECT 3"));
    for n in 0..400 {
        // So that the words of the session are spread over the index.
        let text = format!("select okapi{n} from giraffes");
        let table = format!("okapi{n}");
        entries.extend(done(1, 10 + 2 * n, 1_700, action(&text, &table)));
        let text = format!("select c{n} from others");
        entries.extend(done(2, 10 + 2 * n, 1_700, action(&text, "others")));
    }
    index.take(&entries, PLACE).unwrap();
    for word in ["zebra", "giraffes", "okapi399", "target-1"] {
        assert!(bytes_hold(dir.path(), word), "{word}");
    }
    assert!(index.forget([1; 16]).unwrap());
    index.settle().unwrap();
    for word in ["zebra", "giraffe", "okapi", "target-1", "dave", "hold-1"] {
        assert!(!bytes_hold(dir.path(), word), "{word} is still there");
    }
    // Nothing of it comes back, and the others' is untouched.
    index.take(&entries, PLACE).unwrap();
    index.take_stored(&entries, "rec/1", 0).unwrap();
    assert!(!bytes_hold(dir.path(), "zebra"));
    assert_eq!(find(&index, |q| q.session = Some([1; 16])).await.items, []);
    assert_eq!(
        find(&index, |q| q.session = Some([2; 16]))
            .await
            .items
            .len(),
        100
    );
    assert_eq!(find(&index, |q| q.words = words("c7")).await.items.len(), 1);
    assert_eq!(find(&index, |q| q.words = words("okapi7")).await.items, []);
    // It says that it owned the agent.
    assert!(bytes_hold(dir.path(), "alice"));
    assert!(!index.forget([1; 16]).unwrap());
    assert!(!index.forget([77; 16]).unwrap(), "also one that never was");
    index.take(&[start(77, who("zoe"), 5)], PLACE).unwrap();
    assert!(!bytes_hold(dir.path(), "zoe"));
}

/// `WHERE password = hunter2`: what was meant as a value looks like a name until the server has carried
/// the statement out.
#[tokio::test]
async fn a_statement_that_failed_has_known_words_only() {
    let dir = tempfile::tempdir().unwrap();
    let index = open(&dir);
    let text = "select 1 from users where password = hunter2";
    let refused = IndexAction {
        decision: "denied".into(),
        ..action(text, "users")
    };
    let column = IndexShape {
        resources: vec!["PgColumn::shop.public.users.ssn".into()],
        ..IndexShape::default()
    };
    let read = IndexAction {
        carried: Some(column),
        ..action("select 1 from users where nosuch", "users")
    };
    let entries = [
        start(1, who("alice"), 1),
        acted(1, 1, 2, action(text, "users")),
        acted(1, 3, 2, action(text, "users")),
        acted(1, 4, 2, read),
        acted(1, 5, 2, refused),
        outcome(1, 6, 1, "42703"),
        outcome(1, 7, 4, "SELECT 1"),
    ];
    // The outcome in another parcel, and one that has to be tried again.
    index.take(&entries[..5], PLACE).unwrap();
    index
        .write(|w| {
            w.connection
                .execute_batch("PRAGMA query_only = ON")
                .map_err(db)
        })
        .unwrap();
    assert!(index.take(&entries[5..], PLACE).is_err());
    index
        .write(|w| {
            w.connection
                .execute_batch("PRAGMA query_only = OFF")
                .map_err(db)
        })
        .unwrap();
    index.take(&entries[5..], PLACE).unwrap();
    assert_eq!(find(&index, |q| q.words = words("hunter2")).await.items, []);
    assert_eq!(
        find(&index, |q| q.words = words("nosuch"))
            .await
            .items
            .len(),
        1
    );
    let carried = find(&index, |q| q.resource = Some("users.ssn".into())).await;
    assert_eq!(places(&carried.items), ["1/4"]);
    let found = find(&index, |q| q.kind = Some(1)).await;
    let texts: Vec<_> = found.items.iter().map(|e| e.statement.as_deref()).collect();
    let known = Some("SELECT 1 FROM USERS WHERE PASSWORD = ?");
    let carried = Some("select 1 from users where nosuch");
    assert_eq!(texts, [known, carried, None, known]);
    drop(index);
    assert!(!bytes_hold(dir.path(), "hunter2"));
}

mod held;
mod leaving;
