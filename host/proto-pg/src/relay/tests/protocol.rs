//! The protocol as clients use it: batches, errors, names, portals, COPY, refusals at their place.

use bytes::BytesMut;
use pipeline::memory::{Memory, MemoryPolicy};
use pipeline::{Action, OutcomeKind};

use crate::testing::Weir;
use crate::testing::client::{Answer, Client, Message};
use crate::testing::postgres::Postgres;
use crate::wire::backend::TxStatus;
use crate::wire::encode;

pub(super) struct Bench {
    pub memory: Memory,
    pub weir: Weir,
    pub database: &'static str,
}

impl Bench {
    pub fn new(database: &'static str, policy: MemoryPolicy, setup: &str) -> Self {
        let pg = Postgres::shared();
        pg.database(database);
        if !setup.is_empty() {
            pg.sql(database, setup);
        }
        let memory = Memory::new(policy);
        let weir = Weir::to(pg, memory.ports());
        Self {
            memory,
            weir,
            database,
        }
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.weir.addr, &format!("db/{}", self.database))
            .await
            .unwrap()
    }
}

fn tags(messages: &[Message]) -> String {
    messages.iter().map(|m| m.tag).collect()
}

fn sync(out: &mut BytesMut) {
    encode::empty(out, b'S');
}

fn parse(out: &mut BytesMut, name: &str, sql: &str) {
    encode::parse(out, name.as_bytes(), sql.as_bytes(), &[]);
}

fn bind(out: &mut BytesMut, portal: &str, statement: &str) {
    encode::bind(
        out,
        portal.as_bytes(),
        statement.as_bytes(),
        encode::BIND_PLAIN,
    );
}

fn execute(out: &mut BytesMut, portal: &str, max: i32) {
    encode::execute(out, portal.as_bytes(), max);
}

/// Parse, Bind, Execute of the unnamed statement, no Sync.
fn run(out: &mut BytesMut, sql: &str) {
    parse(out, "", sql);
    bind(out, "", "");
    execute(out, "", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn simple_queries() {
    let b = Bench::new("p_simple", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    for (sql, rows, tags, code, status) in [
        ("", 0, vec![], "", TxStatus::Idle),
        ("-- nothing", 0, vec![], "", TxStatus::Idle),
        ("SELECT 1", 1, vec!["SELECT 1"], "", TxStatus::Idle),
        (
            "SELECT 1; SELECT 2, 3; SELECT 4 WHERE false",
            2,
            vec!["SELECT 1", "SELECT 1", "SELECT 0"],
            "",
            TxStatus::Idle,
        ),
        ("BEGIN", 0, vec!["BEGIN"], "", TxStatus::InTransaction),
        ("SELECT 1/0", 0, vec![], "22012", TxStatus::Failed),
        ("SELECT 1", 0, vec![], "25P02", TxStatus::Failed),
        ("ROLLBACK", 0, vec!["ROLLBACK"], "", TxStatus::Idle),
        (
            "SELECT 1; SELECT 1/0; SELECT 2",
            1,
            vec!["SELECT 1"],
            "22012",
            TxStatus::Idle,
        ),
    ] {
        let a = c.query(sql).await;
        assert_eq!(
            (a.rows.len(), a.tags.clone(), a.code(), a.status),
            (
                rows,
                tags.iter().map(|s| s.to_string()).collect(),
                code,
                Some(status)
            ),
            "{sql}: {a:?}"
        );
    }
    // Every intent has its outcome, in order.
    let intents = b.memory.journal.intents();
    let outcomes = b.memory.journal.outcomes();
    assert_eq!(intents.len(), outcomes.len());
    assert!(intents.iter().zip(&outcomes).all(|(i, o)| i.seq == o.seq));
    let details: Vec<&str> = outcomes.iter().skip(1).map(|o| o.detail.as_str()).collect();
    assert_eq!(details[3], "SELECT 1; SELECT 1; SELECT 0");
    assert_eq!(details[5], "22012");
    assert_eq!(outcomes[6].kind, OutcomeKind::Failed);
    assert_eq!(outcomes[4].rows, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_fails_where_the_statement_would() {
    let policy = MemoryPolicy::deny(&[Action::PostgresInsert]);
    let b = Bench::new(
        "p_refuse",
        policy,
        "CREATE TABLE t (n int); GRANT ALL ON t TO weir",
    );
    let mut c = b.client().await;
    let insert = "INSERT INTO t VALUES (1)";

    let a = c.query(insert).await;
    assert_eq!(
        (a.code(), a.status),
        ("42501", Some(TxStatus::Idle)),
        "{a:?}"
    );
    assert!(a.error.unwrap().1.contains("denied by the test"));

    // Inside a transaction it fails the transaction, as a missing permission would.
    c.query("BEGIN").await;
    let a = c.query(insert).await;
    assert_eq!(
        (a.code(), a.status),
        ("42501", Some(TxStatus::Failed)),
        "{a:?}"
    );
    assert_eq!(c.query("SELECT 1").await.code(), "25P02");
    assert_eq!(c.query("ROLLBACK").await.status, Some(TxStatus::Idle));

    // In the middle of a batch: what was before is done, what comes after is skipped up to Sync.
    run(&mut c.out, "SELECT 1");
    parse(&mut c.out, "", insert);
    bind(&mut c.out, "", "");
    execute(&mut c.out, "", 0);
    run(&mut c.out, "SELECT 2");
    sync(&mut c.out);
    run(&mut c.out, "SELECT 3");
    sync(&mut c.out);
    c.send().await;
    let first = c.until_ready().await;
    assert_eq!(tags(&first), "12DCEZ", "{first:?}");
    assert_eq!(first[4].field(b'C'), "42501");
    assert!(first[4].field(b'H').contains("session"));
    let second = c.until_ready().await;
    assert_eq!(tags(&second), "12DCZ");

    // Two simple queries at once: the refusal has its place between the answers.
    encode::query(&mut c.out, b"SELECT 1");
    encode::query(&mut c.out, insert.as_bytes());
    encode::query(&mut c.out, b"SELECT 2");
    c.send().await;
    assert_eq!(c.answer().await.value(), Some("1"));
    assert_eq!(c.answer().await.code(), "42501");
    assert_eq!(c.answer().await.value(), Some("2"));

    assert_eq!(
        Postgres::shared().sql("p_refuse", "SELECT count(*) FROM t"),
        "0"
    );
    assert_eq!(b.memory.journal.refusals().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_the_servers() {
    let b = Bench::new("p_names", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    // A named statement; the same name again fails and leaves the first; other batches use it.
    parse(&mut c.out, "s", "SELECT 'first'");
    sync(&mut c.out);
    parse(&mut c.out, "s", "SELECT 'second'");
    sync(&mut c.out);
    bind(&mut c.out, "", "s");
    execute(&mut c.out, "", 0);
    sync(&mut c.out);
    c.send().await;
    assert_eq!(tags(&c.until_ready().await), "1Z");
    assert_eq!(c.answer().await.code(), "42P05");
    assert_eq!(c.answer().await.value(), Some("first"));

    // Close, then the name is free in the same batch.
    encode::object(&mut c.out, b'C', b'S', b"s");
    parse(&mut c.out, "s", "SELECT 'third'");
    bind(&mut c.out, "", "s");
    execute(&mut c.out, "", 0);
    sync(&mut c.out);
    c.send().await;
    assert_eq!(c.answer().await.value(), Some("third"));

    // The unnamed statement: a failed Parse and a simple query drop it.
    for breaker in ["parse", "query"] {
        parse(&mut c.out, "", "SELECT 'old'");
        sync(&mut c.out);
        c.send().await;
        c.until_ready().await;
        if breaker == "parse" {
            parse(&mut c.out, "", "SELEC");
            sync(&mut c.out);
        } else {
            encode::query(&mut c.out, b"SELECT 1");
        }
        bind(&mut c.out, "", "");
        execute(&mut c.out, "", 0);
        sync(&mut c.out);
        c.send().await;
        c.until_ready().await;
        assert_eq!(c.answer().await.code(), "26000", "{breaker}");
    }
    for (name, code) in [("nobody", "26000"), ("weir:catalog", "42602")] {
        bind(&mut c.out, "", name);
        sync(&mut c.out);
        c.send().await;
        assert_eq!(c.answer().await.code(), code);
    }
    parse(&mut c.out, "weir:x", "SELECT 1");
    sync(&mut c.out);
    c.send().await;
    assert_eq!(c.answer().await.code(), "42602");

    // SQL can give the name another meaning: then the protocol's is over.
    parse(&mut c.out, "p", "SELECT 'protocol'");
    sync(&mut c.out);
    c.send().await;
    c.until_ready().await;
    assert_eq!(
        c.query("DEALLOCATE p; PREPARE p AS SELECT 'sql'")
            .await
            .tags
            .len(),
        2
    );
    bind(&mut c.out, "", "p");
    execute(&mut c.out, "", 0);
    sync(&mut c.out);
    c.send().await;
    assert_eq!(c.answer().await.code(), "26000");
    assert_eq!(c.query("EXECUTE p").await.value(), Some("sql"));
}

#[tokio::test(flavor = "multi_thread")]
async fn portals() {
    let b = Bench::new("p_portals", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    let series = "SELECT n FROM generate_series(1, 5) n";
    c.query("BEGIN").await;
    parse(&mut c.out, "", series);
    bind(&mut c.out, "cur", "");
    execute(&mut c.out, "cur", 2);
    sync(&mut c.out);
    c.send().await;
    let m = c.until_ready().await;
    assert_eq!(tags(&m), "12DDsZ", "{m:?}");
    // It survives Sync and other statements inside the transaction.
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
    execute(&mut c.out, "cur", 2);
    encode::object(&mut c.out, b'D', b'P', b"cur");
    sync(&mut c.out);
    c.send().await;
    assert_eq!(tags(&c.until_ready().await), "DDsTZ");
    execute(&mut c.out, "cur", 0);
    encode::object(&mut c.out, b'C', b'P', b"cur");
    sync(&mut c.out);
    c.send().await;
    assert_eq!(tags(&c.until_ready().await), "DC3Z");
    c.query("COMMIT").await;
    // The end of the transaction ends portals.
    parse(&mut c.out, "", series);
    bind(&mut c.out, "cur", "");
    sync(&mut c.out);
    execute(&mut c.out, "cur", 0);
    sync(&mut c.out);
    c.send().await;
    c.until_ready().await;
    assert_eq!(c.answer().await.code(), "34000");

    // Empty query, no rows, describe of both kinds.
    parse(&mut c.out, "", "");
    bind(&mut c.out, "", "");
    execute(&mut c.out, "", 0);
    sync(&mut c.out);
    c.send().await;
    assert_eq!(tags(&c.until_ready().await), "12IZ");
    parse(&mut c.out, "d", "SELECT $1::int4 AS n");
    encode::object(&mut c.out, b'D', b'S', b"d");
    sync(&mut c.out);
    c.send().await;
    assert_eq!(tags(&c.until_ready().await), "1tTZ");
    c.bind("", "d", &[Some("7")], true);
    execute(&mut c.out, "", 0);
    sync(&mut c.out);
    c.send().await;
    let m = c.until_ready().await;
    assert_eq!(tags(&m), "2DCZ");
    assert_eq!(m[1].body[2..], [0, 0, 0, 4, 0, 0, 0, 7]);
    for name in ["d", "nobody"] {
        encode::object(&mut c.out, b'D', b'P', name.as_bytes());
    }
    sync(&mut c.out);
    c.send().await;
    assert_eq!(c.answer().await.code(), "34000");
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_without_sync_and_many_syncs() {
    let b = Bench::new("p_flush", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    parse(&mut c.out, "", "SELECT 7");
    encode::object(&mut c.out, b'D', b'S', b"");
    encode::empty(&mut c.out, b'H');
    c.send().await;
    for expect in ['1', 't', 'T'] {
        assert_eq!(c.next().await.unwrap().tag, expect);
    }
    bind(&mut c.out, "", "");
    execute(&mut c.out, "", 0);
    sync(&mut c.out);
    c.send().await;
    assert_eq!(c.answer().await.value(), Some("7"));

    const BATCHES: usize = 300;
    for i in 0..BATCHES {
        run(&mut c.out, &format!("SELECT {i}"));
        if i % 7 == 3 {
            run(&mut c.out, "SELECT 1/0");
            run(&mut c.out, "SELECT 'skipped'");
        }
        sync(&mut c.out);
    }
    c.send().await;
    for i in 0..BATCHES {
        let a = c.answer().await;
        assert_eq!(a.value(), Some(i.to_string().as_str()));
        assert_eq!(a.code(), if i % 7 == 3 { "22012" } else { "" });
    }
    let outcomes = b.memory.journal.outcomes();
    assert_eq!(outcomes.len(), b.memory.journal.intents().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn copy() {
    let b = Bench::new(
        "p_copy",
        MemoryPolicy::permit_all(),
        "CREATE TABLE t (n int PRIMARY KEY); GRANT ALL ON t TO weir",
    );
    let mut c = b.client().await;
    let data = |out: &mut BytesMut, text: &str| {
        encode::frame(out, b'd', |b| b.extend_from_slice(text.as_bytes()));
    };
    // Simple.
    encode::query(&mut c.out, b"COPY t FROM STDIN; SELECT count(*) FROM t");
    data(&mut c.out, "1\n2\n");
    encode::empty(&mut c.out, b'S');
    data(&mut c.out, "3\n");
    encode::empty(&mut c.out, b'c');
    c.send().await;
    let a = c.answer().await;
    assert_eq!(a.tags, ["COPY 3", "SELECT 1"], "{a:?}");
    assert_eq!(a.value(), Some("3"));
    // Extended, as libpq does it: a Sync right after Execute, which the server swallows.
    run(&mut c.out, "COPY t FROM STDIN");
    sync(&mut c.out);
    data(&mut c.out, "4\n");
    encode::empty(&mut c.out, b'c');
    sync(&mut c.out);
    c.send().await;
    let m = c.until_ready().await;
    assert_eq!(tags(&m), "12GCZ", "{m:?}");
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
    // Failing in the middle, while the client goes on sending.
    for extended in [false, true] {
        if extended {
            run(&mut c.out, "COPY t FROM STDIN");
        } else {
            encode::query(&mut c.out, b"COPY t FROM STDIN");
        }
        for _ in 0..50 {
            data(&mut c.out, "not a number\n");
        }
        encode::empty(&mut c.out, b'c');
        if extended {
            sync(&mut c.out);
        }
        c.send().await;
        let a = c.answer().await;
        assert_eq!(a.code(), "22P02", "{a:?}");
        assert_eq!(c.query("SELECT 2").await.value(), Some("2"));
    }
    // Given up by the client.
    encode::query(&mut c.out, b"COPY t FROM STDIN");
    data(&mut c.out, "9\n");
    encode::frame(&mut c.out, b'f', |b| encode::cstr(b, b"changed my mind"));
    c.send().await;
    let a = c.answer().await;
    assert_eq!(a.code(), "57014");
    assert!(a.error.unwrap().1.contains("changed my mind"));
    // Out.
    let m = {
        encode::query(&mut c.out, b"COPY t TO STDOUT");
        c.send().await;
        c.until_ready().await
    };
    assert_eq!(tags(&m), "HddddcCZ", "{m:?}");
    let m = {
        run(&mut c.out, "COPY t TO STDOUT");
        sync(&mut c.out);
        c.send().await;
        c.until_ready().await
    };
    assert_eq!(tags(&m), "12HddddcCZ", "{m:?}");
    assert!(!b.memory.journal.to_client().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_results_pass_in_pieces() {
    let b = Bench::new("p_large", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    let a = c
        .query("SELECT repeat('x', 3000000), repeat('y', 10)")
        .await;
    assert_eq!(a.rows[0][0].as_ref().unwrap().len(), 3_000_000);
    assert_eq!(a.rows[0][1].as_deref(), Some("yyyyyyyyyy"));
    let a = c
        .query("SELECT n, repeat('z', 100) FROM generate_series(1, 20000) n")
        .await;
    assert_eq!(a.rows.len(), 20_000);
    assert_eq!(b.memory.journal.outcomes().last().unwrap().rows, 20_000);
    assert!(b.memory.journal.to_client().len() > 3_000_000 + 20_000 * 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_reaches_the_server() {
    let b = Bench::new("p_cancel", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    let cancel = c.canceller();
    const SLEEP: &str = "SELECT pg_sleep(61)";
    let stop = async {
        Postgres::shared().until_runs(SLEEP).await;
        cancel.await;
    };
    let (a, ()) = tokio::join!(c.query(SLEEP), stop);
    assert_eq!(a.code(), "57014");
    assert_eq!(
        b.memory.journal.outcomes().last().unwrap().kind,
        OutcomeKind::Cancelled
    );
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_are_errors_of_the_protocol() {
    let b = Bench::new("p_malformed", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    // A body that hides a second message behind the first one's NUL.
    let mut smuggled = b"SELECT 1\0".to_vec();
    smuggled.extend_from_slice(b"Q\0\0\0\x0dSELECT 2\0");
    for (tag, body) in [
        (b'Q', &smuggled[..]),
        (b'Q', b"SELECT 1"),
        (b'Q', b""),
        (b'F', b"\0\0\0\x01"),
    ] {
        encode::frame(&mut c.out, tag, |b| b.extend_from_slice(body));
        c.send().await;
        let a = c.answer().await;
        assert!(matches!(a.code(), "08P01" | "42501"), "{a:?}");
        assert!(a.rows.is_empty());
    }
    for (tag, body) in [
        (b'P', &b"s\0SELECT 1\0\0\x05"[..]),
        (b'B', b"\0\0\0\0\xff\xff\0\0"),
        (b'B', b"\0\0\0\x01\0\x02\0\0\0\0"),
        (b'D', b"X\0"),
        (b'E', b"\0"),
        (b'C', b"S"),
    ] {
        encode::frame(&mut c.out, tag, |b| b.extend_from_slice(body));
        sync(&mut c.out);
        c.send().await;
        let a = c.answer().await;
        assert_eq!(a.code(), "08P01", "{tag} {a:?}");
    }
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
    // A broken stream ends the session.
    for bytes in [
        &b"Q\0\0\0\x03"[..],
        b"\xff",
        b"p\0\0\0\x04",
        b"Q\x7f\xff\xff\xff",
        b"S\0\0\xff\xff",
    ] {
        let mut c = b.client().await;
        c.out.extend_from_slice(bytes);
        c.send().await;
        let m = c.until_ready().await;
        assert_eq!(tags(&m), "E", "{bytes:?}");
        assert_eq!(m[0].field(b'C'), "08P01");
        assert_eq!(m[0].field(b'S'), "FATAL");
    }
}

/// After DDL the catalogue is read again, which a failed transaction does not permit: the server's own
/// answer comes all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_answers_as_without_weir() {
    let pg = Postgres::shared();
    pg.database("p_failed");
    pg.sql("p_failed", "GRANT ALL ON SCHEMA public TO weir");
    let weir = Weir::to(pg, Memory::new(MemoryPolicy::permit_all()).ports());
    let mut c = Client::connect(weir.addr, "db/p_failed").await.unwrap();
    c.query("BEGIN").await;
    c.query("CREATE TABLE made (a int)").await;
    assert_eq!(c.query("SELECT 1/0").await.code(), "22012");
    assert_eq!(c.query("SELECT a FROM made").await.code(), "25P02");
    assert_eq!(
        c.prepared("SELECT a FROM made", &[], false).await.code(),
        "25P02"
    );
    // What goes on after the end of the transaction is another matter.
    let a = c.query("ROLLBACK; SELECT a FROM made").await;
    assert_eq!(a.code(), "42501", "{a:?}");
    assert_eq!(c.query("ROLLBACK").await.code(), "");
    assert_eq!(c.query("SELECT a FROM made").await.code(), "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_follows_ddl() {
    let b = Bench::new("p_ddl", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    let mut other = b.client().await;
    c.query("CREATE TABLE made (n int)").await;
    assert_eq!(
        c.query("INSERT INTO made VALUES (1)").await.tags,
        ["INSERT 0 1"]
    );
    assert_eq!(other.query("SELECT n FROM made").await.value(), Some("1"));
    // Inside a transaction, and rolled back.
    c.query("BEGIN").await;
    c.query("CREATE TABLE mine (n int)").await;
    let a = c.query("SELECT count(*) FROM mine").await;
    assert_eq!(a.value(), Some("0"), "{a:?}");
    c.query("ROLLBACK").await;
    assert_eq!(c.query("SELECT * FROM mine").await.code(), "42P01");
    // The search path decides what a name means; the unnamed statement outlives our questions.
    c.query("CREATE SCHEMA s; CREATE TABLE s.made (m text)")
        .await;
    parse(&mut c.out, "", "SELECT 'kept'");
    sync(&mut c.out);
    c.send().await;
    c.until_ready().await;
    run(&mut c.out, "SET search_path = s, public");
    sync(&mut c.out);
    c.send().await;
    c.until_ready().await;
    let a: Answer = c.query("SELECT count(*) FROM made").await;
    assert_eq!(a.value(), Some("0"), "{a:?}");
    let last = b.memory.journal.intents().last().unwrap().clone();
    let text = format!("{:?}", last.accesses);
    assert!(text.contains("\"s\""), "{text}");
}
