//! Where policy is proven to be indifferent to what texts mean, nothing that is legal in PostgreSQL is
//! refused, changed or noticed; everywhere else it stays refused.

use bytes::{BufMut, BytesMut};
use pipeline::memory::MemoryPolicy;
use pipeline::{BundleRef, Facts};

use super::protocol::Bench;
use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::wire::encode;

fn indifferent() -> MemoryPolicy {
    MemoryPolicy::indifferent()
}

/// As `indifferent` says of itself, but a column is labelled.
fn with_labels() -> MemoryPolicy {
    MemoryPolicy {
        labels: super::holds::labelled().labels,
        ..MemoryPolicy::indifferent()
    }
}

/// Another bundle, to be activated.
fn strict(digest: &str) -> MemoryPolicy {
    MemoryPolicy {
        bundle: BundleRef {
            name: "memory".into(),
            version: 2,
            digest: digest.into(),
        },
        ..MemoryPolicy::permit_all()
    }
}

/// Each text, and what it answers directly: a value, a tag or an SQLSTATE.
const LIFTED: &[(&str, &str)] = &[
    ("SET ROLE pg_monitor", "SET"),
    ("SELECT current_user", "pg_monitor"),
    ("RESET ROLE", "RESET"),
    (
        "SELECT set_config('role', 'pg_monitor', false)",
        "pg_monitor",
    ),
    ("SET SESSION AUTHORIZATION DEFAULT", "SET"),
    ("SET ROLE no_such_role", "22023"),
    ("SET client_min_messages = debug1", "SET"),
    ("RESET ALL", "RESET"),
    // Read with standard_conforming_strings on.
    (r"SELECT length('a\')", "2"),
    ("SET standard_conforming_strings = off", "SET"),
    (r"SELECT length('a\'b')", "3"),
    ("SET standard_conforming_strings = on", "SET"),
    (r"SELECT length('a\')", "2"),
    ("SET client_encoding = 'LATIN1'", "SET"),
    ("SELECT length(E'\\u00e4')", "1"),
    ("RESET client_encoding", "RESET"),
    // PostgreSQL's own words and places.
    ("SELEC 1", "42601"),
    ("DO $$ BEGIN PERFORM 1; END $$", "DO"),
    (
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION",
    ),
    (
        "CREATE TABLE made (a int); INSERT INTO made VALUES (one()); SELECT a FROM made",
        "1",
    ),
    (
        "UPDATE pg_settings SET setting = 'off' WHERE name = 'jit'",
        "off",
    ),
    ("SHOW jit", "off"),
    ("DISCARD ALL", "DISCARD ALL"),
    ("SELECT current_user", "weir"),
];

fn short(answer: &crate::testing::client::Answer) -> String {
    match (&answer.error, answer.value()) {
        (Some((code, _)), _) => code.clone(),
        (None, Some(value)) => value.to_owned(),
        (None, None) => answer.tags.last().cloned().unwrap_or_default(),
    }
}

/// What was permitted, and whether it was understood.
fn texts(b: &Bench) -> Vec<(String, bool)> {
    let intents = b.memory.journal.intents();
    let texts = intents.iter().filter_map(|i| match &i.facts {
        Facts::Sql(sql) => Some((sql.text.to_string(), sql.parsed)),
        Facts::Connect { .. } | Facts::Ssh(_) => None,
    });
    texts.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_followed_passes() {
    Postgres::shared().sql("postgres", "GRANT pg_monitor TO weir");
    let b = Bench::new("free", indifferent(), "");
    let mut c = b.client().await;
    for (sql, expect) in LIFTED {
        let a = c.query(sql).await;
        assert_eq!(short(&a), *expect, "{sql}: {a:?}");
    }
    let texts = texts(&b);
    assert_eq!(texts.len(), LIFTED.len());
    for ((text, parsed), (sql, _)) in texts.into_iter().zip(LIFTED) {
        assert_eq!(text, *sql);
        // It is on record what was not read as the server read it.
        let read = !matches!(*sql, "SELEC 1" | r"SELECT length('a\'b')");
        assert!(read || !parsed, "{sql}");
    }
    let intents = b.memory.journal.intents().len();
    assert_eq!(b.memory.journal.outcomes().len(), intents);
    assert!(b.memory.journal.refusals().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_labels_or_guards_it_stays_refused() {
    for (database, policy) in [
        ("free_not", MemoryPolicy::permit_all()),
        ("free_labels", with_labels()),
    ] {
        let b = Bench::new(database, policy, "CREATE TABLE emp (id int, ssn text)");
        let mut c = b.client().await;
        for sql in [
            "SET client_min_messages = debug1",
            "SET session_replication_role = replica",
            "SET standard_conforming_strings = off",
            "SET client_encoding = 'LATIN1'",
            "UPDATE pg_settings SET setting = 'off' WHERE name = 'jit'",
            "SELECT set_config('standard_conforming_strings', 'off', false)",
        ] {
            let a = c.query(sql).await;
            assert_eq!(a.code(), "42501", "{sql}: {a:?}");
        }
        assert_eq!(called(&mut c, INT4PL, &["1", "2"]).await, "42501");
        let two_ways = r"SELECT length('a\'), '1'";
        for _ in 0..2 {
            assert_eq!(c.query(two_ways).await.code(), "42501");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_followed_does_not_live_on_under_a_bundle_that_cares() {
    let setup = "CREATE TABLE emp (id int, ssn text); GRANT ALL ON emp TO weir;
        INSERT INTO emp VALUES (1, '111-22-3333')";
    let b = Bench::new("free_strays", indifferent(), setup);
    for (i, (stray, then)) in [
        ("SET client_min_messages = debug1", "SELECT 1"),
        ("SET standard_conforming_strings = off", r"SELECT '\'\', 1"),
        (
            "SELECT set_config('client_encoding', 'LATIN1', false)",
            "SELECT 1",
        ),
        // What is kept under a name was read under other labels.
        (
            "DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM emp",
            "FETCH c",
        ),
        ("PREPARE p AS SELECT ssn FROM emp", "EXECUTE p"),
        ("SELECT 1", "SELECT 1"),
    ]
    .iter()
    .enumerate()
    {
        b.memory.authorizer.activate(MemoryPolicy {
            bundle: strict(&format!("free{i}")).bundle,
            ..indifferent()
        });
        let (mut strayed, mut new) = (b.client().await, b.client().await);
        assert_eq!(strayed.query(stray).await.code(), "");
        b.memory.authorizer.activate(MemoryPolicy {
            labels: super::holds::labelled().labels,
            ..strict(&format!("strict{i}"))
        });
        let a = strayed.query(then).await;
        assert_eq!((a.code(), a.rows.len()), ("28000", 0), "{stray}: {a:?}");
        assert!(strayed.next().await.is_none(), "{stray}");
        assert_eq!(new.query("SELECT 1").await.value(), Some("1"), "{stray}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_portal_does_not_outlive_indifference() {
    let setup = "CREATE TABLE emp (id int, ssn text); GRANT ALL ON emp TO weir;
        INSERT INTO emp VALUES (1, '111-22-3333'), (2, '444-55-6666')";
    let b = Bench::new("free_portal", indifferent(), setup);
    let mut c = b.client().await;
    c.query("BEGIN").await;
    encode::parse(&mut c.out, b"s", b"SELECT ssn FROM emp", &[]);
    c.bind("p", "s", &[], false);
    encode::execute(&mut c.out, b"p", 1);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.value(), Some("111-22-3333"));
    b.memory.authorizer.activate(MemoryPolicy {
        labels: super::holds::labelled().labels,
        ..strict("cares")
    });
    encode::execute(&mut c.out, b"p", 1);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    let a = c.answer().await;
    assert_eq!(a.rows.len(), 0, "{a:?}");
    assert!(matches!(a.code(), "28000" | "42501"), "{a:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_copies_in_one_text() {
    let setup = "CREATE TABLE c (a int); GRANT ALL ON c TO weir; INSERT INTO c VALUES (1)";
    let text =
        "COPY c TO STDOUT; COPY c FROM STDIN; COPY (SELECT 7) TO STDOUT; SELECT count(*) FROM c";
    for (database, policy) in [
        ("free_copies", indifferent()),
        ("unlabelled_copies", MemoryPolicy::permit_all()),
    ] {
        let b = Bench::new(database, policy, setup);
        let mut c = b.client().await;
        encode::query(&mut c.out, text.as_bytes());
        encode::frame(&mut c.out, b'd', |b| b.extend_from_slice(b"2\n3\n"));
        encode::empty(&mut c.out, b'c');
        c.send().await;
        let messages = c.until_ready().await;
        let lines: Vec<_> = messages
            .iter()
            .filter(|m| m.tag == 'd')
            .map(|m| String::from_utf8_lossy(&m.body).into_owned())
            .collect();
        assert_eq!(lines, ["1\n", "7\n"], "{messages:?}");
        let a = crate::testing::client::Answer::from(messages);
        assert_eq!(a.value(), Some("3"));
        assert_eq!(a.tags, ["COPY 1", "COPY 2", "COPY 1", "SELECT 1"]);
    }
    let b = Bench::new("free_copies_not", with_labels(), setup);
    let a = b.client().await.query(text).await;
    assert_eq!(a.code(), "42501", "{a:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_and_what_uses_it_in_one_pipeline() {
    let b = Bench::new("free_pipeline", indifferent(), "");
    let mut c = b.client().await;
    for sql in [
        "CREATE TABLE p (a int)",
        "INSERT INTO p VALUES (5)",
        "SELECT a FROM p",
    ] {
        encode::parse(&mut c.out, b"", sql.as_bytes(), &[]);
        c.bind("", "", &[], false);
        encode::execute(&mut c.out, b"", 0);
    }
    encode::empty(&mut c.out, b'S');
    c.send().await;
    let a = c.answer().await;
    assert_eq!(a.value(), Some("5"), "{a:?}");
}

/// A FunctionCall with text arguments and a text result.
fn call(c: &mut Client, function: u32, arguments: &[&str]) {
    let mut body = BytesMut::new();
    body.put_u32(function);
    body.put_u16(0);
    body.put_u16(arguments.len() as u16);
    for argument in arguments {
        body.put_i32(argument.len() as i32);
        body.put_slice(argument.as_bytes());
    }
    body.put_u16(0);
    encode::frame(&mut c.out, b'F', |b| b.extend_from_slice(&body));
}

async fn called(c: &mut Client, function: u32, arguments: &[&str]) -> String {
    call(c, function, arguments);
    c.send().await;
    let messages = c.until_ready().await;
    match messages.iter().find(|m| matches!(m.tag, 'V' | 'E')) {
        Some(m) if m.tag == 'V' => {
            String::from_utf8_lossy(m.body.get(4..).unwrap_or_default()).into_owned()
        }
        Some(m) => m.field(b'C'),
        None => panic!("{messages:?}"),
    }
}

/// OIDs of functions, which are PostgreSQL's for good (pg_proc.dat).
const LO_CREATE: u32 = 715;
const LO_OPEN: u32 = 952;
const LO_TELL: u32 = 958;
const LO_UNLINK: u32 = 964;
const INT4PL: u32 = 177;

#[tokio::test(flavor = "multi_thread")]
async fn function_calls() {
    let b = Bench::new("free_calls", indifferent(), "");
    let mut c = b.client().await;
    // A portal and the unnamed statement outlive it.
    encode::parse(&mut c.out, b"", b"SELECT 9", &[]);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    c.answer().await;
    assert_eq!(called(&mut c, INT4PL, &["40", "2"]).await, "42");
    c.bind("", "", &[], false);
    encode::execute(&mut c.out, b"", 0);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.value(), Some("9"));
    assert_eq!(called(&mut c, INT4PL, &["x", "2"]).await, "22P02");
    assert_eq!(called(&mut c, 999_999, &[]).await, "42883");
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
    let texts: Vec<String> = texts(&b).into_iter().map(|(text, _)| text).collect();
    assert!(
        texts.contains(&"SELECT \"pg_catalog\".\"int4pl\"($1, $2)".to_owned()),
        "{texts:?}"
    );
    assert!(
        texts.contains(&"FunctionCall of 999999".to_owned()),
        "{texts:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_are_for_policy_to_decide() {
    let b = Bench::new("free_lo", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    assert_eq!(called(&mut c, LO_CREATE, &["4711"]).await, "4711");
    c.query("BEGIN").await;
    assert_eq!(called(&mut c, LO_OPEN, &["4711", "262144"]).await, "0");
    assert_eq!(called(&mut c, LO_TELL, &["0"]).await, "0");
    c.query("COMMIT").await;
    assert_eq!(called(&mut c, LO_UNLINK, &["4711"]).await, "1");
    // Not of large objects. It is on record.
    assert_eq!(called(&mut c, INT4PL, &["1", "2"]).await, "42501");
    assert_eq!(called(&mut c, 999_999, &[]).await, "42501");
    assert_eq!(texts(&b).len(), 6);
    assert_eq!(b.memory.journal.refusals().len(), 2);

    let deny = MemoryPolicy::deny(&[pipeline::Action::PostgresCall]);
    let b = Bench::new("free_lo_not", deny, "");
    let mut c = b.client().await;
    assert_eq!(called(&mut c, LO_CREATE, &["4712"]).await, "42501");
    assert_eq!(b.memory.journal.refusals().len(), 1);
    assert!(texts(&b).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_not_read_for_every_statement() {
    let b = Bench::new("free_catalogue", indifferent(), "");
    let pg = Postgres::shared();
    let mut c = b.client().await;
    let aborted = "SELECT xact_rollback FROM pg_stat_database WHERE datname = 'free_catalogue'";
    for i in 0..50 {
        let a = c.query(&format!("CREATE TABLE t{i} (a int)")).await;
        assert_eq!(a.code(), "", "{a:?}");
        let a = c.query(&format!("SELECT a FROM t{i}")).await;
        assert_eq!(a.code(), "", "{a:?}");
    }
    drop(c);
    // Each of our questions is a transaction that is rolled back.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'free_catalogue'";
        if pg.sql("postgres", open) == "0" {
            break;
        }
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let rolled_back: u32 = pg.sql("postgres", aborted).parse().unwrap();
    assert!(
        rolled_back < 25,
        "{rolled_back} catalogue readings for 100 statements"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_server_cuts_and_names_of_sql() {
    let long = format!("{}ж", "x".repeat(61));
    let b = Bench::new("free_names", indifferent(), "");
    let mut c = b.client().await;
    encode::parse(&mut c.out, format!("{long}1").as_bytes(), b"SELECT 1", &[]);
    encode::empty(&mut c.out, b'S');
    encode::parse(&mut c.out, format!("{long}2").as_bytes(), b"SELECT 2", &[]);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.code(), "");
    // The same to the server.
    assert_eq!(c.answer().await.code(), "42P05");
    let longer = format!("{long}3");
    c.bind(&longer, &longer, &[], false);
    encode::object(&mut c.out, b'D', b'P', longer.as_bytes());
    encode::execute(&mut c.out, longer.as_bytes(), 0);
    encode::object(&mut c.out, b'C', b'S', longer.as_bytes());
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.value(), Some("1"));

    c.query("PREPARE plus(int) AS SELECT $1 + 1").await;
    c.bind("", "plus", &[Some("41")], false);
    encode::execute(&mut c.out, b"", 0);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.value(), Some("42"));
    c.query("BEGIN; DECLARE \"a cursor\" CURSOR FOR SELECT 'x' FROM generate_series(1, 3)")
        .await;
    encode::execute(&mut c.out, b"a cursor", 2);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    let a = c.answer().await;
    assert_eq!((a.code(), a.rows.len()), ("", 2), "{a:?}");
    c.query("COMMIT").await;
    c.bind("", "never", &[], false);
    encode::empty(&mut c.out, b'S');
    encode::execute(&mut c.out, b"never", 0);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.code(), "26000");
    assert_eq!(c.answer().await.code(), "34000");
    let shown = texts(&b).into_iter().map(|(text, _)| text);
    let shown: Vec<String> = shown.collect();
    for text in ["EXECUTE \"plus\"", "FETCH ALL FROM \"a cursor\""] {
        assert!(shown.iter().any(|t| t == text), "{text}: {shown:?}");
    }

    let b = Bench::new("free_names_not", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    encode::parse(&mut c.out, longer.as_bytes(), b"SELECT 1", &[]);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.code(), "42622");
    c.query("PREPARE plus(int) AS SELECT $1 + 1").await;
    c.bind("", "plus", &[Some("41")], false);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.code(), "26000");
}

/// In SJIS the last byte of `Á` takes the backslash with it, so the quote behind it ends the string.
const TWO_TEXTS: &str = r"SELECT E'Á\'; DROP TABLE victim; --'";

/// What is sent in one go before [`TWO_TEXTS`], and what before that.
const REREAD: &[(&[&str], &[&str])] = &[
    (&[], &["SET client_encoding = 'SJIS'"]),
    (&[], &["SET NAMES 'SJIS'"]),
    (
        &[],
        &["SELECT set_config('client_encoding', 'SJIS', false)"],
    ),
    (
        &[],
        &["SELECT set_config(x, 'SJIS', false) FROM (VALUES ('client_encoding')) v (x)"],
    ),
    (
        &[],
        &["UPDATE pg_settings SET setting = 'SJIS' WHERE name = 'client_encoding'"],
    ),
    (&[], &["SELECT sjis()"]),
    (
        &[],
        &["DO $$ BEGIN PERFORM set_config('client_encoding', 'SJIS', false); END $$"],
    ),
    (
        &["PREPARE p AS SELECT set_config('client_encoding', 'SJIS', false)"],
        &["EXECUTE p"],
    ),
    (
        &[
            "SET client_encoding = 'SJIS'",
            "BEGIN",
            "SET LOCAL client_encoding = 'UTF8'",
        ],
        &["ROLLBACK"],
    ),
    (
        &[
            "SET client_encoding = 'SJIS'",
            "BEGIN",
            "SET LOCAL client_encoding = 'UTF8'",
        ],
        &["COMMIT"],
    ),
    (&["SET client_encoding = 'SJIS'"], &["SELECT 1", "SELECT 2"]),
];

const VICTIM: &str = "CREATE FUNCTION sjis() RETURNS text LANGUAGE sql AS
    $$ SELECT set_config('client_encoding', 'SJIS', false) $$;";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_reads_otherwise_by_then_is_on_record_as_not_understood() {
    let b = Bench::new("free_reread", indifferent(), VICTIM);
    let pg = Postgres::shared();
    for extended in [false, true] {
        for (before, with) in REREAD {
            pg.sql("free_reread", "DROP TABLE IF EXISTS victim; CREATE TABLE victim (); ALTER TABLE victim OWNER TO weir");
            let mut c = b.client().await;
            for sql in *before {
                assert_eq!(c.query(sql).await.code(), "", "{sql}");
            }
            let texts = with.iter().chain([&TWO_TEXTS]);
            for sql in texts {
                if extended && *sql != TWO_TEXTS {
                    encode::parse(&mut c.out, b"", sql.as_bytes(), &[]);
                    c.bind("", "", &[], false);
                    encode::execute(&mut c.out, b"", 0);
                    encode::empty(&mut c.out, b'S');
                } else {
                    encode::query(&mut c.out, sql.as_bytes());
                }
            }
            c.send().await;
            for _ in 0..=with.len() {
                assert_eq!(c.answer().await.code(), "", "{with:?}");
            }
            let left = pg.sql("free_reread", "SELECT to_regclass('victim') IS NULL");
            assert_eq!(left, "t", "{before:?} {with:?}: the text is no attack");
            let facts = b.memory.journal.intents().pop().unwrap().facts;
            let Facts::Sql(sql) = facts else { panic!() };
            assert!(!sql.parsed, "{before:?} {with:?}: {sql:?}");
        }
    }
    // What cannot be read in two ways is still understood.
    let mut c = b.client().await;
    for sql in ["SELECT sjis()", "SELECT 'plain'"] {
        encode::query(&mut c.out, sql.as_bytes());
    }
    c.send().await;
    c.answer().await;
    c.answer().await;
    assert_eq!(texts(&b).pop(), Some(("SELECT 'plain'".to_owned(), true)));
}

/// Where policy cares, the text waits for the answer, or is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_reads_otherwise_by_then_is_not_sent() {
    let b = Bench::new("cares_reread", MemoryPolicy::permit_all(), VICTIM);
    let pg = Postgres::shared();
    pg.sql(
        "cares_reread",
        "CREATE TABLE victim (); ALTER TABLE victim OWNER TO weir",
    );
    for synced in [true, false] {
        let mut c = b.client().await;
        encode::parse(&mut c.out, b"two", TWO_TEXTS.as_bytes(), &[]);
        encode::parse(&mut c.out, b"", b"SELECT sjis()", &[]);
        c.bind("", "", &[], false);
        encode::execute(&mut c.out, b"", 0);
        if synced {
            encode::empty(&mut c.out, b'S');
            encode::query(&mut c.out, TWO_TEXTS.as_bytes());
        } else {
            encode::parse(&mut c.out, b"", TWO_TEXTS.as_bytes(), &[]);
            c.bind("", "", &[], false);
            encode::execute(&mut c.out, b"", 0);
            encode::empty(&mut c.out, b'S');
        }
        encode::empty(&mut c.out, b'X');
        c.send().await;
        while c.next().await.is_some() {}
        assert_eq!(
            pg.sql("cares_reread", "SELECT to_regclass('victim') IS NULL"),
            "f"
        );
    }
    // Nothing is refused that is read in one way.
    pg.sql(
        "cares_reread",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    let mut c = b.client().await;
    for sql in ["SELECT one()", "SELECT 'ä'", "SELECT one()"] {
        encode::query(&mut c.out, sql.as_bytes());
    }
    encode::parse(&mut c.out, b"", b"SELECT one()", &[]);
    c.bind("", "", &[], false);
    encode::execute(&mut c.out, b"", 0);
    encode::parse(&mut c.out, b"", b"SELECT 'a'", &[]);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    for value in ["1", "ä", "1", "1"] {
        assert_eq!(c.answer().await.value(), Some(value));
    }
}
