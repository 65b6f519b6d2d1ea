//! Clients that try to get replies out of their order, or to leave a session in the middle of
//! something.

use std::time::Duration;

use pipeline::Action;
use pipeline::memory::MemoryPolicy;
use tokio::net::TcpSocket;

use super::hostile::{script, tags};
use super::protocol::Bench;
use crate::testing::TOKEN;
use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::wire::backend::TxStatus;
use crate::wire::startup::PROTOCOL_3_0;

/// A client whose socket takes little at once.
async fn narrow(b: &Bench) -> Client {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let io = socket.connect(b.weir.addr).await.unwrap();
    let mut c = Client::over(Box::new(io), b.weir.addr);
    let database = format!("db/{}", b.database);
    c.startup(PROTOCOL_3_0, &[("user", "me"), ("database", &database)])
        .await;
    c.login(TOKEN).await.unwrap();
    c
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_keeps_its_place_before_a_slow_reader() {
    let b = Bench::new("x_slow", MemoryPolicy::deny(&[Action::PostgresInsert]), "");
    let big = |kb| format!("SELECT repeat('x', 1000) FROM generate_series(1, {kb})");
    // How much fits between Weir and a client that does not read?
    let mut c = narrow(&b).await;
    script().query(&big(20_000)).send(&mut c).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let fits = b.memory.journal.to_client().len() / 1012;
    drop(c);
    // The last piece of a result waits; what comes after it is ready before it is taken.
    let mut bad = Vec::new();
    for kb in (fits - 100..fits + 20).step_by(8) {
        let mut c = narrow(&b).await;
        script().query(&big(kb)).send(&mut c).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        script()
            .query("INSERT INTO pg_class DEFAULT VALUES")
            .query("SELECT 'two'")
            .send(&mut c)
            .await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let mut seen = String::new();
        for _ in 0..3 {
            let m = tags(&c.until_ready().await);
            seen.push_str(&m.replace('D', ""));
        }
        if seen != "TCZEZTCZ" {
            bad.push((kb, seen));
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_fail_answer_their_sync() {
    let setup = "CREATE TABLE t (n int); GRANT ALL ON t TO weir;
        CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql
            AS $$BEGIN RAISE EXCEPTION 'no'; END$$;
        CREATE TABLE never (n int);
        CREATE TRIGGER no BEFORE INSERT ON never EXECUTE FUNCTION no(); GRANT ALL ON never TO weir";
    let b = Bench::new("x_copy", MemoryPolicy::permit_all(), setup);
    let mut c = b.client().await;
    let begin = || script().run("COPY t FROM STDIN");
    // Sync without CopyDone, after data that fails: the server has left the COPY.
    for data in ["not a row\n", "1\nnot a row\n"] {
        let m = begin().data(data).sync().ask(&mut c).await;
        assert_eq!(tags(&m), "12GEZ", "{m:?}");
        assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
    }
    // It may fail before it reads anything.
    let m = script()
        .run("COPY never FROM STDIN")
        .sync()
        .ask(&mut c)
        .await;
    assert_eq!(tags(&m), "12GEZ", "{m:?}");
    // Two of them are answered twice.
    begin().data("not a row\n").sync().sync().send(&mut c).await;
    assert_eq!(tags(&c.until_ready().await), "12GEZ");
    assert_eq!(tags(&c.until_ready().await), "Z");
    // While it goes well, they mean nothing.
    let m = begin()
        .sync()
        .data("1\n")
        .sync()
        .empty(b'H')
        .data("2\n")
        .empty(b'c')
        .sync()
        .ask(&mut c)
        .await;
    assert_eq!(tags(&m), "12GCZ", "{m:?}");
    assert_eq!(c.query("SELECT 1").await.value(), Some("1"));
    // Another message in the middle of it fails it, extended or simple.
    let m = begin()
        .data("3\n")
        .parse("", "SELECT 1")
        .sync()
        .ask(&mut c)
        .await;
    assert_eq!(tags(&m), "12GEZ", "{m:?}");
    let m = begin()
        .data("not a row\n")
        .sync()
        .query("SELECT 'q'")
        .ask(&mut c)
        .await;
    assert_eq!(tags(&m), "12GEZ", "{m:?}");
    assert_eq!(c.answer().await.value(), Some("q"));
    let m = script()
        .query("COPY t FROM STDIN")
        .data("not a row\n")
        .query("SELECT 'q'")
        .ask(&mut c)
        .await;
    assert_eq!(tags(&m), "GEZ", "{m:?}");
    assert_eq!(c.answer().await.value(), Some("q"));
    assert_eq!(
        Postgres::shared().sql("x_copy", "SELECT sum(n) FROM t"),
        "3"
    );
    let outcomes = b.memory.journal.outcomes();
    assert_eq!(outcomes.len(), b.memory.journal.intents().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_open_batch_comes() {
    let b = Bench::new("x_terminate", MemoryPolicy::permit_all(), "");
    for batch in [
        script().parse("", "SELECT 1").bind("", ""),
        script().run("SELECT 1"),
        script().parse("", "SELEC"),
        script().run("COPY pg_class TO STDOUT"),
    ] {
        let mut c = b.client().await;
        batch.empty(b'X').send(&mut c).await;
        let end = async { while c.next().await.is_some() {} };
        let ended = tokio::time::timeout(Duration::from_secs(30), end).await;
        assert!(ended.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_questions_do_not_hurt_the_client() {
    let b = Bench::new(
        "x_own",
        MemoryPolicy::permit_all(),
        "CREATE TABLE t (n int); GRANT ALL ON t TO weir",
    );
    // A timeout that our questions exceed, in a transaction and outside of one: what they read is
    // locked for a while.
    let lock = || {
        let sql = "BEGIN; LOCK TABLE pg_catalog.pg_rewrite; SELECT pg_sleep(4); COMMIT";
        tokio::task::spawn_blocking(move || Postgres::shared().sql("x_own", sql))
    };
    let begins = || tokio::time::sleep(Duration::from_millis(300));
    let mut c = b.client().await;
    for sql in [
        "SET statement_timeout = '1500ms'",
        "BEGIN",
        "INSERT INTO t VALUES (1)",
        "CREATE TEMP TABLE mine (a int)",
    ] {
        assert_eq!(c.query(sql).await.code(), "", "{sql}");
    }
    let locked = lock();
    begins().await;
    let a = c.query("SELECT count(*) FROM mine").await;
    locked.await.unwrap();
    assert_eq!(
        (a.value(), a.status),
        (Some("0"), Some(TxStatus::InTransaction)),
        "{a:?}"
    );
    let a = c.query("SHOW statement_timeout").await;
    assert_eq!(a.value(), Some("1500ms"));
    assert_eq!(c.query("COMMIT").await.tags, ["COMMIT"]);
    assert_eq!(
        Postgres::shared().sql("x_own", "SELECT count(*) FROM t"),
        "1"
    );
    c.query("CREATE TABLE another (a int)").await;
    let locked = lock();
    begins().await;
    assert_eq!(
        c.query("SELECT count(*) FROM another").await.value(),
        Some("0")
    );

    locked.await.unwrap();
    // Nor does one that it began with.
    let mut impatient = Client::raw(b.weir.addr).await;
    let parameters = [
        ("user", "me"),
        ("database", "db/x_own"),
        ("options", "-c statement_timeout=1500ms"),
    ];
    c.query("CREATE TABLE more (a int)").await;
    let locked = lock();
    begins().await;
    impatient.startup(PROTOCOL_3_0, &parameters).await;
    impatient.login(TOKEN).await.unwrap();
    locked.await.unwrap();
    let a = impatient.query("SHOW statement_timeout").await;
    assert_eq!(a.value(), Some("1500ms"), "{a:?}");
    let a = impatient.query("RESET ALL; SHOW statement_timeout").await;
    assert_eq!(a.value(), Some("1500ms"), "{a:?}");

    // Cancel requests that meet our questions.
    let mut later = 0;
    for round in 0..40_u64 {
        let mut c = b.client().await;
        c.query("CREATE TABLE IF NOT EXISTS made (a int)").await;
        let cancel = c.canceller();
        let stop = async {
            tokio::time::sleep(Duration::from_micros(500 * (round % 20))).await;
            cancel.await;
        };
        let (first, ()) = tokio::join!(c.query("SELECT 1 FROM made"), stop);
        assert!(matches!(first.code(), "" | "57014"), "{first:?}");
        for sql in ["SELECT 2 FROM made", "SELECT 3 FROM made"] {
            let a = c.query(sql).await;
            later += usize::from(!a.code().is_empty());
        }
    }
    assert_eq!(later, 0, "a cancel request poisons nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_question_that_fails_is_asked_again() {
    let b = Bench::new("x_heal", MemoryPolicy::permit_all(), "");
    let mut c = b.client().await;
    c.query("CREATE TABLE made (a int)").await;
    // The server stops what runs on the connection, again and again, past Weir.
    let stop = async {
        for _ in 0..60 {
            Postgres::shared().sql(
                "x_heal",
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
                 WHERE datname = 'x_heal' AND usename = 'weir' AND state <> 'idle'",
            );
        }
    };
    let ask = async {
        for _ in 0..60 {
            c.query("SET search_path = public").await;
            c.query("SELECT 1 FROM made").await;
            c.query("CREATE TABLE IF NOT EXISTS made (a int)").await;
        }
    };
    let stop = tokio::task::spawn_blocking(|| tokio::runtime::Handle::current().block_on(stop));
    ask.await;
    stop.await.unwrap();
    c.query("ROLLBACK").await;
    let a = c.query("SELECT count(*) FROM made").await;
    assert_eq!(a.value(), Some("0"), "{a:?}");
}

/// One thread serves everybody here: who blocks it, blocks all.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_large_text_does_not_stop_others() {
    let b = Bench::new("x_large", MemoryPolicy::permit_all(), "");
    let mut slow = b.client().await;
    let mut quick = b.client().await;
    // Long enough to be noticed, refused by nobody.
    let large = format!("SELECT 1{}", " + 1".repeat(150_000));
    let began = std::time::Instant::now();
    script().query(&large).send(&mut slow).await;
    let mut answered = Vec::new();
    for _ in 0..20 {
        assert_eq!(quick.query("SELECT 2").await.value(), Some("2"));
        answered.push(began.elapsed());
    }
    slow.answer().await;
    let done = began.elapsed();
    let meanwhile = answered.iter().filter(|at| **at < done / 2).count();
    assert!(meanwhile >= 5, "{answered:?} {done:?}");
}

/// Where nothing is labelled, names are taken at their word; what the server says it did is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_the_decision_ends_the_session() {
    let setup = "CREATE TABLE t (n int); INSERT INTO t VALUES (1); GRANT ALL ON t TO weir;
        CREATE FUNCTION do_it(text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE $1; END$$";
    let b = Bench::new("x_verb", MemoryPolicy::permit_all(), setup);
    let mut c = b.client().await;
    let harmless = script().parse("s", "SELECT 1");
    harmless.sync().ask(&mut c).await;
    c.query("SELECT do_it('DEALLOCATE s')").await;
    c.query("SELECT do_it('PREPARE s AS DELETE FROM t')").await;
    let m = script().bind("", "s").execute("").sync().ask(&mut c).await;
    let last = m.last().unwrap();
    assert_eq!(
        (last.tag, last.field(b'S').as_str()),
        ('E', "FATAL"),
        "{m:?}"
    );
    assert!(last.field(b'M').contains("something else"), "{m:?}");
}
