//! Statements that wait for people, and results that are masked, on the wire.

use std::sync::Arc;
use std::time::Duration;

use pipeline::mask::{MaskAction, MaskPlan};
use pipeline::memory::{Entry, Memory, MemoryPolicy};
use pipeline::{Action, LabelCatalog, LabelRule, RefusalKind};

use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::testing::{Weir, options, target};
use crate::wire::backend::TxStatus;

const INSERT: &str = "INSERT INTO t VALUES (1)";

async fn bench(database: &str, heartbeat: u64, cap: u64) -> (Memory, Weir, Client) {
    let pg = Postgres::shared();
    pg.database(database);
    pg.sql(database, "CREATE TABLE t (n int); GRANT ALL ON t TO weir");
    let memory = Memory::new(MemoryPolicy::hold(&[Action::PostgresInsert]));
    let mut o = options(target(pg), memory.ports());
    o.limits.hold_heartbeat = Duration::from_millis(heartbeat);
    o.limits.hold_in_transaction = Duration::from_millis(cap);
    let weir = Weir::start(o);
    let client = Client::connect(weir.addr, &format!("db/{database}"))
        .await
        .unwrap();
    (memory, weir, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_statement_is_announced_and_answered() {
    let (memory, _weir, mut c) = bench("h_notice", 100, 30_000).await;
    let approve = async {
        let id = memory.approver.next().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        memory.approver.approve(&id, "bob");
    };
    let (a, ()) = tokio::join!(c.query(INSERT), approve);
    assert_eq!(a.tags, ["INSERT 0 1"]);
    assert!(a.notices.len() >= 3, "{:?}", a.notices);
    assert!(a.notices[0].contains("held by the test"));
    // Extended: what was before the held one is answered while it waits.
    use crate::wire::encode;
    for sql in ["SELECT 5", INSERT] {
        encode::parse(&mut c.out, b"", sql.as_bytes(), &[]);
        encode::bind(&mut c.out, b"", b"", encode::BIND_PLAIN);
        encode::execute(&mut c.out, b"", 0);
        encode::empty(&mut c.out, b'H');
    }
    encode::empty(&mut c.out, b'S');
    c.send().await;
    for tag in ['1', '2', 'D', 'C'] {
        let mut m = c.next().await.unwrap();
        while m.tag == 'N' {
            m = c.next().await.unwrap();
        }
        assert_eq!(m.tag, tag);
    }
    let id = memory.approver.next().await;
    memory.approver.approve(&id, "bob");
    assert_eq!(c.answer().await.tags, ["INSERT 0 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_does_not_wait_for_ever() {
    let (memory, _weir, mut c) = bench("h_cap", 10_000, 200).await;
    c.query("BEGIN").await;
    let a = c.query(INSERT).await;
    assert_eq!(
        (a.code(), a.status),
        ("42501", Some(TxStatus::Failed)),
        "{a:?}"
    );
    assert!(a.error.unwrap().1.contains("open transaction"));
    assert_eq!(memory.approver.abandoned().len(), 1);
    c.query("ROLLBACK").await;
    assert_eq!(
        Postgres::shared().sql("h_cap", "SELECT count(*) FROM t"),
        "0"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_ends_a_hold_and_is_recorded() {
    let (memory, weir, _first) = bench("h_kill", 10_000, 30_000).await;
    // Each time, the kill meets the hold at another moment.
    for round in 1..=20 {
        let mut c = Client::connect(weir.addr, "db/h_kill").await.unwrap();
        let kill = async {
            memory.approver.next().await;
            memory.registry.kill_all();
        };
        let (a, ()) = tokio::join!(c.query(INSERT), kill);
        assert_eq!((a.code(), a.status), ("57P01", None), "{round}: {a:?}");
        assert_eq!(memory.approver.abandoned().len(), round);
        let refusals = memory.journal.refusals();
        assert_eq!(refusals.last().unwrap().kind, RefusalKind::SessionEnded);
    }
    let ended = || {
        let entries = memory.journal.entries();
        entries
            .iter()
            .filter(|e| matches!(e, Entry::End(_)))
            .count()
            == 21
    };
    while !ended() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        Postgres::shared().sql("h_kill", "SELECT count(*) FROM t"),
        "0"
    );
}

pub(super) fn labelled() -> MemoryPolicy {
    MemoryPolicy {
        labels: LabelCatalog::new(vec![LabelRule {
            target: "*".into(),
            schema: "*".into(),
            table: "emp".into(),
            column: "ssn".into(),
            labels: [Arc::from("pii")].into(),
        }]),
        ..MemoryPolicy::permit_all()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_labelled_column_does_not_get_out() {
    let pg = Postgres::shared();
    pg.database("h_mask");
    pg.sql(
        "h_mask",
        "CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text);
         INSERT INTO emp VALUES (1, 'Ann', '111-22-3333'), (2, 'Bob', '444-55-6666');
         CREATE VIEW v AS SELECT id, ssn AS harmless FROM emp;
         GRANT ALL ON emp, v TO weir",
    );
    let memory = Memory::new(labelled());
    let weir = Weir::to(pg, memory.ports());
    let mut c = Client::connect(weir.addr, "db/h_mask").await.unwrap();
    let a = c.query("SELECT id, name, ssn FROM emp ORDER BY id").await;
    assert_eq!(a.rows.len(), 2, "{a:?}");
    assert_eq!(a.rows[0][1].as_deref(), Some("Ann"));
    for sql in [
        "SELECT ssn FROM emp",
        "SELECT ssn AS id FROM emp",
        "SELECT 'x' || ssn FROM emp",
        "SELECT upper(ssn), id FROM emp",
        "SELECT emp FROM emp",
        "SELECT row_to_json(emp) FROM emp",
        "SELECT * FROM v",
        "SELECT ssn::int FROM emp",
        "SELECT max(ssn) FROM emp",
        "COPY emp TO STDOUT",
        "COPY emp TO STDOUT (FORMAT csv)",
        "COPY (SELECT ssn FROM emp) TO STDOUT",
        "UPDATE emp SET name = name RETURNING ssn",
        "INSERT INTO emp SELECT id, name, ssn FROM emp",
        "SELECT id FROM emp; SELECT ssn FROM emp",
        "EXPLAIN ANALYZE SELECT * FROM emp WHERE ssn = '111-22-3333'",
    ] {
        for extended in [false, true] {
            if extended {
                c.prepared(sql, &[], true).await;
            } else {
                c.query(sql).await;
            }
        }
    }
    c.query("BEGIN; DECLARE k CURSOR FOR SELECT ssn FROM emp")
        .await;
    c.query("FETCH ALL FROM k").await;
    c.query("ROLLBACK").await;
    // What the client saw is what was recorded; the row values are nowhere in it.
    let seen = memory.journal.to_client();
    for secret in [&b"111-22"[..], b"2-3333", b"444-55", b"5-6666"] {
        let found = seen.windows(secret.len()).any(|w| w == secret);
        assert!(!found, "{}", String::from_utf8_lossy(&seen));
    }
    assert!(seen.windows(3).any(|w| w == b"Ann"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_inspect_values_in_batches() {
    let pg = Postgres::shared();
    pg.database("h_inspect");
    let memory = Memory::new(MemoryPolicy::permit_all());
    *memory.hooks.plan.lock() = Some(Arc::new(|columns| MaskPlan {
        actions: vec![vec![MaskAction::Inspect]; columns.len()],
        ..MaskPlan::pass(columns.len())
    }));
    let weir = Weir::to(pg, memory.ports());
    let mut c = Client::connect(weir.addr, "db/h_inspect").await.unwrap();
    let sql = "SELECT CASE n % 2 WHEN 0 THEN 'a secret ' || n ELSE 'fine ' || n END \
               FROM generate_series(1, 10000) n";
    for extended in [false, true] {
        let a = if extended {
            c.prepared(sql, &[], false).await
        } else {
            c.query(sql).await
        };
        assert_eq!(a.rows.len(), 10_000, "{:?}", a.error);
        for (i, row) in a.rows.iter().enumerate() {
            let n = i + 1;
            let fine = format!("fine {n}");
            let expect = if n % 2 == 0 {
                "[redacted]"
            } else {
                fine.as_str()
            };
            assert_eq!(row[0].as_deref(), Some(expect));
        }
        assert_eq!(a.tags, ["SELECT 10000"]);
    }
    *memory.hooks.mask_batch_fails.lock() = true;
    let a = c.query("SELECT 'fine'").await;
    assert_ne!(a.value(), Some("fine"));
}
