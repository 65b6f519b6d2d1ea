//! Surveys of held statements, on a real server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pipeline::memory::{Memory, MemoryPolicy};
use pipeline::{Action, Impact, LabelCatalog, LabelRule, Ruling};

use crate::testing::client::Client;
use crate::testing::postgres::Postgres;
use crate::testing::{Weir, options, target};

const SCHEMA: &str = "
CREATE TABLE people (id int PRIMARY KEY, name text, ssn text);
INSERT INTO people SELECT n, 'n' || n, '111-22-' || n FROM generate_series(1, 1000) n;
CREATE TABLE orders (id int PRIMARY KEY, person int REFERENCES people ON DELETE CASCADE);
INSERT INTO orders SELECT n, n FROM generate_series(1, 500) n;
CREATE TABLE lines (id int, of_order int REFERENCES orders ON DELETE CASCADE);
CREATE TABLE notes (id int, of_line int, person int REFERENCES people ON DELETE SET NULL
    ON UPDATE CASCADE);
CREATE TABLE strict (id int, person int REFERENCES people);
CREATE TABLE loops (id int PRIMARY KEY, up int REFERENCES loops ON DELETE CASCADE);
CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
INSERT INTO part VALUES (1, 'x');
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER on_update AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION audit();
CREATE TRIGGER on_delete AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION audit();
CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$BEGIN RAISE LOG 'slow ran'; PERFORM pg_sleep(5); RETURN $1; END$$;
CREATE SCHEMA x;
CREATE TABLE x.people (id int);
GRANT USAGE ON SCHEMA x TO weir;
GRANT ALL ON ALL TABLES IN SCHEMA public TO weir; GRANT ALL ON x.people TO weir;
ANALYZE";

/// Holds whatever names a table or calls code.
fn policy() -> MemoryPolicy {
    MemoryPolicy {
        labels: LabelCatalog::new(vec![LabelRule {
            target: "*".into(),
            schema: "*".into(),
            table: "people".into(),
            column: "ssn".into(),
            labels: [Arc::from("pii")].into(),
        }]),
        decide: Arc::new(|q| {
            let session =
                |a: Action| matches!(a, Action::PostgresSession | Action::PostgresConnect);
            let free = q.accesses.iter().all(|a| session(a.action));
            match free || q.approvals.contains("test-rule") {
                true => Ruling::Permit {
                    policies: Vec::new(),
                },
                false => Ruling::NeedsApproval {
                    rules: vec!["test-rule".into()],
                    policies: Vec::new(),
                    reason: "held by the test".into(),
                },
            }
        }),
        ..MemoryPolicy::permit_all()
    }
}

struct Bench {
    memory: Memory,
    client: Client,
    _weir: Weir,
}

impl Bench {
    async fn new(database: &str, time: Duration, at_once: usize) -> Self {
        let pg = Postgres::shared();
        pg.database(database);
        pg.sql(database, SCHEMA);
        let memory = Memory::new(policy());
        let mut o = options(target(pg), memory.ports());
        o.limits.survey_time = time;
        o.limits.max_surveys = at_once;
        let weir = Weir::start(o);
        let client = Client::connect(weir.addr, &format!("db/{database}")).await;
        Self {
            memory,
            client: client.unwrap(),
            _weir: weir,
        }
    }

    async fn usual(database: &str) -> Self {
        Self::new(database, Duration::from_secs(10), 4).await
    }

    /// What people are shown of a statement; it is approved and runs.
    async fn shown(&mut self, sql: &str) -> Arc<Impact> {
        let look = async {
            let id = self.memory.approver.next().await;
            let impact = self.memory.approver.impact(&id).unwrap();
            self.memory.approver.approve(&id, "bob");
            impact
        };
        let (_, impact) = tokio::join!(self.client.query(sql), look);
        impact
    }
}

fn text(impact: &Impact) -> String {
    impact.lines().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_change_touches() {
    let mut b = Bench::usual("s_touch").await;
    let i = b.shown("DELETE FROM people WHERE id > 900").await;
    assert!(i.gaps.is_empty() && !i.in_transaction, "{i:?}");
    assert!(i.rows.is_some_and(|r| (50..150).contains(&r)), "{i:?}");
    let people = &i.tables[0];
    assert_eq!((&*people.schema, &*people.name), ("public", "people"));
    assert_eq!(people.lock, Some("ROW EXCLUSIVE"));
    assert_eq!(people.rows, Some(1000));
    assert!(people.bytes.is_some_and(|b| b > 8192), "{people:?}");
    // It has a trigger, but not for this; what a foreign key deletes has one.
    let passed = ["on_delete runs public.audit, on public.orders"];
    assert_eq!(people.triggers, passed, "{people:?}");
    let cascades: Vec<_> = people
        .cascades
        .iter()
        .map(|c| (c.table.as_str(), c.rule, c.depth))
        .collect();
    for expect in [
        ("public.orders", "ON DELETE CASCADE", 1),
        ("public.notes", "ON DELETE SET NULL", 1),
        ("public.lines", "ON DELETE CASCADE", 2),
    ] {
        assert!(cascades.contains(&expect), "{expect:?} in {cascades:?}");
    }
    assert_eq!(cascades.len(), 3, "{cascades:?}");

    let i = b.shown("UPDATE people SET name = 'x' WHERE id < 4").await;
    assert_eq!(i.tables[0].triggers, ["on_update runs public.audit"]);
    let rules: Vec<_> = i.tables[0].cascades.iter().map(|c| c.rule).collect();
    assert_eq!(rules, ["ON UPDATE CASCADE, if a key changes"]);
    // A table that refers to itself does not go on for ever.
    let i = b.shown("DELETE FROM loops").await;
    assert_eq!(i.tables[0].cascades.len(), 1, "{i:?}");
    let i = b.shown("UPDATE part SET v = 'y'").await;
    assert!(i.tables[0].bytes.is_some_and(|b| b > 0), "{i:?}");
    assert!(i.rows.is_some(), "{i:?}");
    let i = b.shown("SELECT count(*) FROM people FOR UPDATE").await;
    assert_eq!(i.tables[0].lock, Some("ROW SHARE"), "{i:?}");
    let i = b.shown("ALTER TABLE notes ADD CHECK (id > 0)").await;
    assert_eq!(i.tables[0].lock, Some("ACCESS EXCLUSIVE"), "{i:?}");
    assert!(i.rows.is_none(), "{i:?}");
    // On record with the approval.
    let intents = b.memory.journal.intents();
    let shown = &intents.last().unwrap().approval.as_ref().unwrap().shown;
    assert!(
        shown.iter().any(|l| l.contains("ACCESS EXCLUSIVE")),
        "{shown:?}"
    );
}

/// However the statement is written, no small number stands for many rows.
#[tokio::test(flavor = "multi_thread")]
async fn many_rows_do_not_look_like_few() {
    let mut b = Bench::usual("s_few").await;
    for sql in [
        "WITH gone AS (DELETE FROM orders RETURNING 1) SELECT count(*) FROM gone",
        "WITH gone AS (DELETE FROM orders) SELECT 1",
        "WITH a AS (UPDATE orders SET id = id RETURNING 1), b AS (SELECT count(*) FROM a) TABLE b LIMIT 1",
        "WITH gone AS (DELETE FROM orders RETURNING 1) INSERT INTO notes SELECT count(*) FROM gone",
        "SELECT json_agg(name) FROM people",
        "SELECT string_agg(name, ',') FROM (SELECT DISTINCT name FROM people) AS p LIMIT 1",
        "SELECT ARRAY(SELECT name FROM people)",
        "SELECT (SELECT json_agg(name) FROM people) LIMIT 1",
        "WITH p AS MATERIALIZED (SELECT name FROM people) SELECT json_agg(name) FROM p",
    ] {
        b.client.query("BEGIN").await;
        let i = b.shown(sql).await;
        b.client.query("ROLLBACK").await;
        assert!(i.rows.is_some_and(|r| r >= 450), "{sql}: {i:?}");
    }
    for sql in [
        "SELECT name FROM people LIMIT 3",
        "SELECT max(id) FROM people",
    ] {
        let i = b.shown(sql).await;
        assert!(i.rows.is_some_and(|r| r <= 3), "{sql}: {i:?}");
    }
}

/// What the statistics do not know, or knew long ago.
#[tokio::test(flavor = "multi_thread")]
async fn sizes_are_those_of_now() {
    let mut b = Bench::usual("s_now").await;
    Postgres::shared().sql(
        "s_now",
        "CREATE TABLE grown (id int) WITH (autovacuum_enabled = off);
         INSERT INTO grown SELECT generate_series(1, 1000); ANALYZE grown;
         INSERT INTO grown SELECT generate_series(1, 99000);
         CREATE TABLE filled (id int) WITH (autovacuum_enabled = off); ANALYZE filled;
         INSERT INTO filled SELECT generate_series(1, 9000);
         CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20)
             WITH (autovacuum_enabled = off);
         INSERT INTO part SELECT 11, 'y' FROM generate_series(1, 9000);
         CREATE VIEW seen AS SELECT id FROM notes;
         GRANT ALL ON ALL TABLES IN SCHEMA public TO weir",
    );
    // Unknown names make the catalogue be read again, but not at once.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let i = b.shown("DELETE FROM grown").await;
    let rows = i.tables[0].rows;
    assert!(
        rows.is_some_and(|r| (80_000..120_000).contains(&r)),
        "{i:?}"
    );
    for sql in ["DELETE FROM filled", "DELETE FROM part"] {
        let i = b.shown(sql).await;
        assert_eq!(i.tables[0].rows, None, "{sql}: {i:?}");
        assert!(
            i.tables[0].bytes.is_some_and(|b| b > 100_000),
            "{sql}: {i:?}"
        );
    }
    let i = b.shown("DELETE FROM seen").await;
    let seen = i.tables.iter().find(|t| &*t.name == "seen").unwrap();
    assert_eq!((seen.rows, seen.bytes), (None, None), "{i:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_and_what_it_holds() {
    let mut b = Bench::usual("s_open").await;
    b.client.query("BEGIN").await;
    let i = b.shown("UPDATE orders SET id = id WHERE id = 1").await;
    assert!(i.in_transaction && i.held.is_empty(), "{i:?}");
    let i = b.shown("DELETE FROM notes").await;
    let held = |relation: &str| {
        i.held
            .iter()
            .any(|l| l.relation == relation && l.mode == "RowExclusiveLock")
    };
    assert!(held("public.orders"), "{i:?}");
    b.client.query("ROLLBACK").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_mean_what_they_mean_in_the_session() {
    let mut b = Bench::usual("s_path").await;
    b.client.query("SET search_path = x, public").await;
    let i = b.shown("DELETE FROM people").await;
    assert_eq!(&*i.tables[0].schema, "x");
    assert!(i.rows.is_some_and(|r| r != 1000), "{i:?}");
    assert!(i.tables[0].cascades.is_empty(), "{i:?}");
}

/// Nothing runs, nothing leaks, and what is not known is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_estimated() {
    let mut b = Bench::usual("s_not").await;
    for (sql, why) in [
        (
            "DELETE FROM notes WHERE id = slow(1)",
            "not PostgreSQL's own",
        ),
        (
            "UPDATE people SET name = 'x' WHERE ssn = '111-22-3'",
            "labelled columns",
        ),
        ("DELETE FROM notes; DELETE FROM lines", "single queries"),
        (
            "DELETE FROM notes WHERE table_to_xml('notes', true, true, '') IS DOCUMENT",
            "not PostgreSQL's own",
        ),
        ("TRUNCATE notes", "single queries"),
        ("CREATE TEMP TABLE tmp (id int)", "single queries"),
        ("INSERT INTO tmp VALUES (1)", "temporary table"),
    ] {
        let i = b.shown(sql).await;
        assert!(i.rows.is_none(), "{sql}: {i:?}");
        assert!(text(&i).contains(why), "{sql}: {i:?}");
        assert!(!text(&i).contains("111-22"), "{sql}: {i:?}");
    }
    let look = async {
        let id = b.memory.approver.next().await;
        let impact = b.memory.approver.impact(&id).unwrap();
        b.memory.approver.approve(&id, "bob");
        impact
    };
    let delete = "DELETE FROM strict WHERE id = $1";
    let (_, i) = tokio::join!(b.client.prepared(delete, &[Some("1")], false), look);
    assert!(i.rows.is_none() && text(&i).contains("parameters"), "{i:?}");
    assert_eq!(i.tables[0].lock, Some("ROW EXCLUSIVE"));
}

/// What only the planner finds, in an index of what is read.
#[tokio::test(flavor = "multi_thread")]
async fn planning_runs_no_code_of_others() {
    let mut b = Bench::usual("s_code").await;
    Postgres::shared().sql(
        "s_code",
        "CREATE FUNCTION ran(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
           $$BEGIN PERFORM pg_sleep(0.01); RETURN $1; END$$;
         CREATE TABLE kept (id int, n int); INSERT INTO kept VALUES (1, 1);
         CREATE INDEX ON kept ((id + ran(1)));
         CREATE VIEW over_kept AS SELECT id FROM kept;
         CREATE TABLE parted (id int) PARTITION BY RANGE (id);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (9);
         CREATE INDEX ON parted_1 (id) WHERE id > ran(1);
         GRANT ALL ON ALL TABLES IN SCHEMA public TO weir",
    );
    // Unknown names make the catalogue be read again, but not at once.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for sql in [
        "SELECT n FROM kept WHERE n = 1",
        "SELECT id FROM over_kept",
        "SELECT id FROM notes WHERE id IN (SELECT id FROM over_kept)",
        "SELECT id FROM parted WHERE id = 3",
        "UPDATE kept SET n = 2",
        "DELETE FROM kept",
    ] {
        let i = b.shown(sql).await;
        assert!(i.rows.is_none(), "{sql}: {i:?}");
        assert!(text(&i).contains("not PostgreSQL's own"), "{sql}: {i:?}");
    }
}

/// A target that does not answer, or no turn, holds up nobody for long and lets nothing through.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_survey_is_a_gap() {
    let mut b = Bench::new("s_none", Duration::from_secs(10), 0).await;
    let i = b.shown("DELETE FROM notes").await;
    assert!(text(&i).contains("too many"), "{i:?}");
    assert_eq!(i.tables[0].lock, Some("ROW EXCLUSIVE"));

    let mut b = Bench::new("s_late", Duration::from_millis(300), 4).await;
    // Its size cannot be read while this is open.
    let pg = Postgres::shared();
    let lock = "BEGIN; LOCK TABLE notes; SELECT pg_sleep(60); COMMIT";
    let blocked = std::thread::spawn(move || pg.sql("s_late", lock));
    let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'notes'::regclass
                 AND mode = 'AccessExclusiveLock' AND granted";
    pg.until("s_late", locks, |count| count != "0").await;
    let started = Instant::now();
    let look = async {
        let id = b.memory.approver.next().await;
        let waited = started.elapsed();
        let impact = b.memory.approver.impact(&id).unwrap();
        let outcome = pipeline::HoldOutcome::Denied {
            by: "bob".into(),
            reason: "no".into(),
        };
        b.memory.approver.end(&id, outcome);
        (impact, waited)
    };
    let (a, (i, waited)) = tokio::join!(b.client.query("DELETE FROM notes"), look);
    assert_eq!(a.code(), "42501", "{a:?}");
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    assert!(!i.gaps.is_empty() && i.rows.is_none(), "{i:?}");
    let refused = b.memory.journal.refusals();
    assert!(!refused.last().unwrap().shown.is_empty());
    let end = "SELECT count(pg_cancel_backend(pid)) FROM pg_locks
               WHERE relation = 'notes'::regclass AND mode = 'AccessExclusiveLock' AND granted";
    assert_eq!(pg.sql("s_late", end), "1", "it was open all the time");
    assert!(blocked.join().is_err(), "it was cancelled");
}
