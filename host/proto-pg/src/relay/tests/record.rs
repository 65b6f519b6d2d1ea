//! The record says what happened: with which values, and how it ended.

use bytes::{BufMut, BytesMut};
use pipeline::memory::{Entry, MemoryPolicy};
use pipeline::{Action, BinaryValue, OutcomeKind, Parameter};

use super::protocol::Bench;
use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::wire::encode;

const SETUP: &str = "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, note text);
    CREATE TABLE child (id int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
    CREATE PROCEDURE commits() LANGUAGE plpgsql AS
      'BEGIN COMMIT; RAISE EXCEPTION USING ERRCODE = ''ZZ001''; END';
    GRANT ALL ON t, child TO weir";

fn bench(database: &'static str) -> Bench {
    Bench::new(database, MemoryPolicy::permit_all(), SETUP)
}

/// Parse, Bind, Execute of the unnamed statement, no Sync.
fn run(c: &mut Client, sql: &str) {
    encode::parse(&mut c.out, b"", sql.as_bytes(), &[]);
    encode::bind(&mut c.out, b"", b"", encode::BIND_PLAIN);
    encode::execute(&mut c.out, b"", 0);
}

async fn sync(c: &mut Client) -> String {
    encode::empty(&mut c.out, b'S');
    c.send().await;
    c.answer().await.code().to_owned()
}

/// What follows the names in a Bind with values in binary format.
fn values(values: &[&[u8]]) -> BytesMut {
    let mut rest = BytesMut::new();
    rest.put_u16(1);
    rest.put_u16(1);
    rest.put_u16(values.len() as u16);
    for value in values {
        rest.put_u32(value.len() as u32);
        rest.put_slice(value);
    }
    rest.put_u16(0);
    rest
}

fn said(bytes: &[u8], of: Option<&str>, text: Option<&str>) -> Parameter {
    Parameter::Binary(BinaryValue {
        bytes: bytes.to_vec(),
        of: of.map(Into::into),
        text: text.map(Into::into),
    })
}

impl Bench {
    /// Outcomes of what has come since, as `kind detail`, when there are so many.
    async fn ends(&self, from: usize, count: usize) -> Vec<String> {
        let started = std::time::Instant::now();
        loop {
            let all = self.memory.journal.outcomes();
            if all.len() >= from + count || started.elapsed().as_secs() > 30 {
                let mut new: Vec<_> = all.into_iter().skip(from).collect();
                new.sort_by_key(|o| o.seq);
                let shown = |o: &pipeline::Outcome| format!("{:?} {}", o.kind, o.detail);
                return new.iter().map(shown).collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn outcomes(&self) -> usize {
        self.memory.journal.outcomes().len()
    }
}

/// The bytes are a text as well, which is not what the server reads.
#[tokio::test(flavor = "multi_thread")]
async fn values_in_binary_format() {
    let b = bench("rec_values");
    let mut c = b.client().await;
    let eight = b"abcdefgh";
    // The client names the type; the server does; nobody does.
    let named = 20u32.to_be_bytes();
    encode::parse(&mut c.out, b"named", b"SELECT $1 + 1", &named);
    encode::parse(&mut c.out, b"told", b"SELECT $1::int8, $2::uuid", &[]);
    encode::object(&mut c.out, b'D', b'S', b"told");
    encode::parse(&mut c.out, b"open", b"SELECT $1::int8", &[]);
    assert_eq!(sync(&mut c).await, "");
    for (statement, sent, expect) in [
        (
            "named",
            vec![&eight[..]],
            vec![said(eight, Some("int8"), Some("7017280452245743464"))],
        ),
        (
            "told",
            vec![&eight[..], b"0123456789abcdef"],
            vec![
                said(eight, Some("int8"), Some("7017280452245743464")),
                said(
                    b"0123456789abcdef",
                    Some("uuid"),
                    Some("30313233-3435-3637-3839-616263646566"),
                ),
            ],
        ),
        ("open", vec![&eight[..]], vec![said(eight, None, None)]),
    ] {
        encode::bind(&mut c.out, b"", statement.as_bytes(), &values(&sent));
        encode::execute(&mut c.out, b"", 0);
        assert_eq!(sync(&mut c).await, "");
        let intent = b.memory.journal.intents().pop().unwrap();
        assert_eq!(intent.parameters, expect, "{statement}");
    }
}

/// What is held, and what is refused, is on record with its values.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_what_is_refused() {
    let b = Bench::new(
        "rec_refused",
        MemoryPolicy::deny(&[Action::PostgresDelete]),
        SETUP,
    );
    let mut c = b.client().await;
    let four = 7u32.to_be_bytes();
    encode::parse(
        &mut c.out,
        b"",
        b"DELETE FROM t WHERE id = $1",
        &23u32.to_be_bytes(),
    );
    assert_eq!(sync(&mut c).await, "42501");
    encode::parse(&mut c.out, b"s", b"SELECT $1::int4", &[]);
    assert_eq!(sync(&mut c).await, "");
    b.memory
        .authorizer
        .activate(MemoryPolicy::deny(&[Action::PostgresSession]));
    encode::bind(&mut c.out, b"", b"s", &values(&[&four]));
    encode::execute(&mut c.out, b"", 0);
    sync(&mut c).await;
    b.memory
        .authorizer
        .activate(MemoryPolicy::hold(&[Action::PostgresUpdate]));
    encode::parse(
        &mut c.out,
        b"",
        b"UPDATE t SET note = '' WHERE id = $1",
        &23u32.to_be_bytes(),
    );
    encode::bind(&mut c.out, b"", b"", &values(&[&four]));
    encode::execute(&mut c.out, b"", 0);
    let people = async {
        let id = b.memory.approver.next().await;
        let outcome = pipeline::HoldOutcome::Denied {
            by: "bob".into(),
            reason: "no".into(),
        };
        b.memory.approver.end(&id, outcome);
    };
    let (code, ()) = tokio::join!(sync(&mut c), people);
    assert_eq!(code, "42501");
    let refused = b.memory.journal.refusals().pop().unwrap();
    assert_eq!(refused.parameters, [said(&four, Some("int4"), Some("7"))]);
    assert_ne!(refused.fingerprint.0, [0; 32]);
}

/// All of a batch is one transaction: what an error undoes was not done.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_undoes() {
    let b = bench("rec_batch");
    let mut c = b.client().await;
    let insert = |n: u32| format!("INSERT INTO t (id) VALUES ({n})");
    let orphan = || "INSERT INTO child VALUES (999)".to_owned();
    // Not a constant, which planning would compute.
    let fails = || "SELECT 1 / count(*) FROM child".to_owned();
    let sql = |s: &str| s.to_owned();
    for (texts, code, expect) in [
        (vec![insert(1)], "", vec!["Done INSERT 0 1"]),
        (
            vec![insert(2), insert(3), fails(), insert(4)],
            "22012",
            vec![
                "Failed INSERT 0 1; undone by 22012",
                "Failed INSERT 0 1; undone by 22012",
                "Failed 22012",
                "Failed skipped after 22012",
            ],
        ),
        // It is refused only by Sync.
        (
            vec![insert(5), orphan()],
            "23503",
            vec![
                "Failed INSERT 0 1; undone by 23503",
                "Failed INSERT 0 1; undone by 23503",
            ],
        ),
        (
            vec![insert(6), sql("COMMIT"), insert(7), fails()],
            "22012",
            vec![
                "Done INSERT 0 1",
                "Done COMMIT",
                "Done INSERT 0 1",
                "Failed 22012",
            ],
        ),
        (
            vec![insert(8), sql("ROLLBACK")],
            "",
            vec!["Failed INSERT 0 1; undone by ROLLBACK", "Done ROLLBACK"],
        ),
        (
            vec![insert(9), sql("BEGIN"), sql("ROLLBACK")],
            "",
            vec![
                "Done INSERT 0 1; part of the transaction that begins then",
                "Done BEGIN",
                "Done ROLLBACK",
            ],
        ),
        (
            vec![insert(10), sql("CALL commits()")],
            "ZZ001",
            vec![
                "Unknown INSERT 0 1; perhaps undone by ZZ001",
                "Failed ZZ001",
            ],
        ),
    ] {
        let from = b.outcomes();
        for text in &texts {
            run(&mut c, text);
        }
        assert_eq!(sync(&mut c).await, code, "{texts:?}");
        assert_eq!(b.ends(from, expect.len()).await, expect, "{texts:?}");
    }
    let there = Postgres::shared().sql(b.database, "SELECT string_agg(id::text, ' ') FROM t");
    // The seventh is undone as well: what follows a COMMIT in its own batch is not followed.
    assert_eq!(there, "1 6 10");
}

/// In a transaction block the record of its end says what became of it; one text is one action.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_blocks_and_texts() {
    let b = bench("rec_blocks");
    let mut c = b.client().await;
    c.query("BEGIN").await;
    let from = b.outcomes();
    run(&mut c, "INSERT INTO t (id) VALUES (1)");
    run(&mut c, "SELECT 1 / count(*) FROM child");
    assert_eq!(sync(&mut c).await, "22012");
    assert_eq!(b.ends(from, 2).await, ["Done INSERT 0 1", "Failed 22012"]);
    c.query("ROLLBACK").await;
    let from = b.outcomes();
    c.query("INSERT INTO t (id) VALUES (2); COMMIT; SELECT 1 / 0")
        .await;
    c.query("SELECT 1 / 0; SELECT 2").await;
    assert_eq!(
        b.ends(from, 2).await,
        ["Failed 22012; after INSERT 0 1; COMMIT", "Failed 22012"]
    );
    assert_eq!(Postgres::shared().sql(b.database, "SELECT id FROM t"), "2");
}

/// Whoever goes away in the middle has had what was delivered by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_delivered_before_the_end() {
    let b = bench("rec_cut");
    let mut c = b.client().await;
    let from = b.outcomes();
    encode::query(
        &mut c.out,
        b"INSERT INTO t (id) VALUES (1); COMMIT; SELECT i, pg_sleep(i / 900) FROM generate_series(1, 1000) AS i",
    );
    c.send().await;
    while c.next().await.unwrap().tag != 'D' {}
    drop(c);
    let ends = b.ends(from, 1).await;
    assert_eq!(
        ends,
        ["Unknown the connection ended first; after INSERT 0 1; COMMIT"]
    );
    let outcome = b.memory.journal.outcomes().pop().unwrap();
    assert!(outcome.rows > 0 && outcome.bytes > 0, "{outcome:?}");
    // In a batch, nobody knows whether it was kept.
    let mut c = b.client().await;
    let from = b.outcomes();
    run(&mut c, "INSERT INTO t (id) VALUES (2)");
    encode::empty(&mut c.out, b'H');
    c.send().await;
    while c.next().await.unwrap().tag != 'C' {}
    drop(c);
    let ends = b.ends(from, 1).await;
    assert_eq!(
        ends,
        ["Unknown INSERT 0 1; the connection ended before its transaction"]
    );
}

/// Not each message of a COPY is a row.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_copy() {
    let b = bench("rec_copy");
    Postgres::shared().sql(b.database, "INSERT INTO t SELECT generate_series(1, 3)");
    let mut c = b.client().await;
    for sql in [
        "COPY t TO STDOUT",
        "COPY t TO STDOUT (FORMAT csv, HEADER)",
        "COPY t TO STDOUT (FORMAT binary)",
        "SELECT id FROM t",
        "COPY t TO STDOUT (FORMAT binary); COPY t TO STDOUT (FORMAT csv, HEADER)",
        "SELECT 1; COPY t TO STDOUT (FORMAT binary); SELECT 2",
    ] {
        let from = b.outcomes();
        assert_eq!(c.query(sql).await.error, None);
        b.ends(from, 1).await;
        let rows = b.memory.journal.outcomes().pop().unwrap().rows;
        let expect = match sql.matches(';').count() {
            0 => 3,
            1 => 6,
            _ => 5,
        };
        assert_eq!(rows, expect, "{sql}");
    }
}

/// Planning a portal runs code: it is on record, and so is that it was all.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_bound_and_never_run() {
    let b = Bench::new(
        "rec_bound",
        MemoryPolicy::permit_all(),
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 1; END'",
    );
    let mut c = b.client().await;
    let from = b.outcomes();
    encode::parse(&mut c.out, b"s", b"SELECT f()", &[]);
    for _ in 0..3 {
        encode::bind(&mut c.out, b"", b"s", encode::BIND_PLAIN);
    }
    encode::execute(&mut c.out, b"", 0);
    assert_eq!(sync(&mut c).await, "");
    assert_eq!(
        b.ends(from, 3).await,
        ["Done BIND", "Done BIND", "Done SELECT 1"]
    );
    assert_eq!(b.memory.journal.intents().len(), b.outcomes());
}

/// What reaches the client without being asked for is on record as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_unasked() {
    let b = bench("rec_unasked");
    let mut c = b.client().await;
    c.query("LISTEN ch; SELECT pg_notify('ch', 'the payload')")
        .await;
    run(&mut c, "INSERT INTO child VALUES (999)");
    assert_eq!(sync(&mut c).await, "23503");
    let recorded = b.memory.journal.to_client();
    for text in [&b"the payload"[..], b"child_id_fkey"] {
        assert!(recorded.windows(text.len()).any(|w| w == text));
    }
    // And counted as nobody's result.
    let bytes: u64 = b.memory.journal.outcomes().iter().map(|o| o.bytes).sum();
    assert!(bytes < recorded.len() as u64);
}

/// Why a client gives up a COPY goes to the server, and so it is on record.
#[tokio::test(flavor = "multi_thread")]
async fn why_a_copy_is_given_up() {
    let b = bench("rec_fails");
    let mut c = b.client().await;
    let from = b.outcomes();
    encode::query(&mut c.out, b"COPY t (id) FROM STDIN");
    c.send().await;
    while c.next().await.unwrap().tag != 'G' {}
    encode::copy_fail(&mut c.out, b"no more");
    c.send().await;
    assert_eq!(c.answer().await.code(), "57014");
    assert_eq!(b.ends(from, 1).await, ["Cancelled 57014"]);
    let entries = b.memory.journal.entries();
    let sent = entries.iter().filter_map(|e| match e {
        Entry::Bytes {
            way: pipeline::Direction::ToUpstream,
            bytes,
            ..
        } => Some(bytes.to_vec()),
        _ => None,
    });
    let mut expected = BytesMut::new();
    encode::copy_fail(&mut expected, b"no more");
    assert_eq!(sent.collect::<Vec<_>>(), [expected.to_vec()]);
}

/// A statement that was permitted and never left is not one that the server refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sent() {
    let b = Bench::new(
        "rec_unsent",
        MemoryPolicy::hold(&[Action::PostgresSelect]),
        SETUP,
    );
    let mut c = b.client().await;
    let from = b.outcomes();
    let people = async {
        let id = b.memory.approver.next().await;
        Postgres::shared().sql(
            b.database,
            "ALTER TABLE t RENAME TO u; ALTER TABLE child RENAME TO t",
        );
        b.memory.approver.approve(&id, "bob");
    };
    let (a, ()) = tokio::join!(c.query("SELECT id FROM t"), people);
    assert_eq!(a.code(), "42501", "{a:?}");
    assert_eq!(b.ends(from, 1).await, ["Failed not sent: 42501"]);
}

/// The data of a COPY is what it writes: it is as safe as the statement before the server may keep it.
#[tokio::test(flavor = "multi_thread")]
async fn data_of_a_copy_is_durable_first() {
    let b = bench("rec_copied");
    let mut c = b.client().await;
    encode::query(&mut c.out, b"COPY t (id) FROM STDIN");
    c.send().await;
    while c.next().await.unwrap().tag != 'G' {}
    encode::frame(&mut c.out, b'd', |b| b.put_slice(b"41\n42\n"));
    encode::empty(&mut c.out, b'c');
    c.send().await;
    assert_eq!(c.answer().await.error, None);
    let entries = b.memory.journal.entries();
    let at = |what: &dyn Fn(&Entry) -> bool| entries.iter().position(what).unwrap();
    let data = at(&|e| matches!(e, Entry::Bytes { bytes, .. } if bytes.ends_with(b"41\n42\n")));
    let settled = at(&|e| matches!(e, Entry::Settled));
    let done = at(&|e| matches!(e, Entry::Outcome(o) if o.detail == "COPY 2"));
    assert!(data < settled && settled < done, "{entries:?}");

    // What cannot be made safe is not kept.
    encode::query(&mut c.out, b"COPY t (id) FROM STDIN");
    c.send().await;
    while c.next().await.unwrap().tag != 'G' {}
    encode::frame(&mut c.out, b'd', |b| b.put_slice(b"43\n"));
    c.send().await;
    let recorded = || {
        let entries = b.memory.journal.entries();
        let mut entries = entries.iter();
        entries.any(|e| matches!(e, Entry::Bytes { bytes, .. } if bytes.ends_with(b"43\n")))
    };
    while !recorded() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    b.memory.journal.break_quietly();
    encode::empty(&mut c.out, b'c');
    c.send().await;
    while c.next().await.is_some() {}
    let kept = Postgres::shared().sql(b.database, "SELECT string_agg(id::text, ' ') FROM t");
    assert_eq!(kept, "41 42");
    let outcome = b.memory.journal.outcomes().pop().unwrap();
    assert_eq!(
        (outcome.kind, outcome.detail.as_str()),
        (OutcomeKind::Done, "COPY 2")
    );
}

/// Rows whose description the client has had before can be read from the record alone.
#[tokio::test(flavor = "multi_thread")]
async fn rows_in_binary_format_are_described() {
    let b = bench("rec_described");
    let mut c = b.client().await;
    encode::parse(&mut c.out, b"s", b"SELECT 65 AS n", &[]);
    encode::object(&mut c.out, b'D', b'S', b"s");
    assert_eq!(sync(&mut c).await, "");
    for binary in [false, true] {
        let from = b.memory.journal.to_client().len();
        c.bind("", "s", &[], binary);
        encode::execute(&mut c.out, b"", 0);
        encode::empty(&mut c.out, b'S');
        c.send().await;
        let got: String = c.until_ready().await.iter().map(|m| m.tag).collect();
        assert_eq!(got, "2DCZ");
        let recorded = b.memory.journal.to_client().split_off(from);
        let described = recorded.starts_with(b"T") && recorded.windows(3).any(|w| w == b"\0\x01n");
        assert_eq!(described, binary, "{recorded:?}");
    }
}
