//! Statements that run others by name, and names that change their meaning.

use std::sync::Arc;

use pipeline::memory::{Memory, MemoryPolicy};
use pipeline::ports::Ruling;
use pipeline::{Action, Facts, Named, OutcomeKind};

use super::holds::labelled;
use crate::testing::Weir;
use crate::testing::client::{Answer, Client};
use crate::testing::postgres::Postgres;
use crate::wire::backend::TxStatus;
use crate::wire::encode;

const MARK: &str = "DELETE FROM t WHERE n = 7";

async fn bench(database: &str, policy: MemoryPolicy, setup: &str) -> (Memory, Weir, Client) {
    let pg = Postgres::shared();
    pg.database(database);
    pg.sql(database, setup);
    let memory = Memory::new(policy);
    let weir = Weir::to(pg, memory.ports());
    let client = Client::connect(weir.addr, &format!("db/{database}")).await;
    (memory, weir, client.unwrap())
}

async fn synced(c: &mut Client) -> Answer {
    encode::empty(&mut c.out, b'S');
    c.send().await;
    c.answer().await
}

/// Whoever approves, classifies or replays sees what runs, not only the name that it runs by.
#[tokio::test(flavor = "multi_thread")]
async fn what_runs_by_name_is_shown() {
    let setup = "CREATE TABLE t (n int, note text); INSERT INTO t SELECT generate_series(1, 9);
                 GRANT ALL ON t TO weir";
    let policy = MemoryPolicy::hold(&[Action::PostgresDelete]);
    let (memory, _weir, mut c) = bench("n_shown", policy, setup).await;

    encode::parse(&mut c.out, b"s1", MARK.as_bytes(), &[]);
    assert_eq!(synced(&mut c).await.error, None, "planning runs nothing");
    c.query("BEGIN").await;
    encode::parse(
        &mut c.out,
        b"s2",
        b"DELETE FROM t WHERE n = $1 RETURNING n",
        &[],
    );
    c.bind("p2", "s2", &[Some("8")], false);
    assert_eq!(synced(&mut c).await.error, None);

    let named = |name: &str, text: &str, parameters: &[Option<&str>]| Named {
        name: name.into(),
        text: text.into(),
        parameters: parameters
            .iter()
            .map(|p| p.map(str::as_bytes).into())
            .collect(),
    };
    let returning = "DELETE FROM t WHERE n = $1 RETURNING n";
    for (sql, expect, tag) in [
        (
            "FETCH ALL FROM p2",
            named("p2", returning, &[Some("8")]),
            "FETCH 1",
        ),
        ("EXECUTE s1", named("s1", MARK, &[]), "DELETE 1"),
        (
            "EXPLAIN (ANALYZE, COSTS OFF) EXECUTE s1",
            named("s1", MARK, &[]),
            "EXPLAIN",
        ),
    ] {
        let approve = async {
            let id = memory.approver.next().await;
            let facts = memory.approver.facts(&id).unwrap();
            memory.approver.approve(&id, "bob");
            facts
        };
        let (a, facts) = tokio::join!(c.query(sql), approve);
        assert_eq!(a.tags, [tag], "{sql}: {a:?}");
        assert_eq!(facts.runs(), std::slice::from_ref(&expect), "{sql}");
        let intent = memory.journal.intents().pop().unwrap();
        assert_eq!(intent.facts.runs(), [expect], "{sql}");
    }
}

/// An approval of one meaning of a name is none of another.
#[tokio::test(flavor = "multi_thread")]
async fn approvals_are_bound_to_what_runs() {
    let setup = "CREATE TABLE t (n int); GRANT ALL ON t TO weir";
    let policy = MemoryPolicy::permit_all();
    let (memory, _weir, mut c) = bench("n_bound", policy, setup).await;
    let mut seen = Vec::new();
    for sql in [MARK, "DELETE FROM t WHERE n = 8"] {
        c.query("DEALLOCATE ALL").await;
        c.query(&format!("PREPARE p AS {sql}")).await;
        c.query("EXECUTE p").await;
        seen.push(memory.journal.intents().pop().unwrap().fingerprint);
    }
    assert_ne!(seen[0], seen[1]);
}

/// More names or meanings than are remembered: what they run cannot be told, so it is not run.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_remembered_is_refused() {
    let setup = "CREATE TABLE t (n int); GRANT ALL ON t TO weir";
    let policy = MemoryPolicy {
        decide: Arc::new(|q| match q.facts {
            Some(Facts::Sql(sql)) if !sql.parsed => Ruling::Deny {
                policies: Vec::new(),
                reason: "not understood".into(),
            },
            _ => Ruling::Permit {
                policies: Vec::new(),
            },
        }),
        ..MemoryPolicy::permit_all()
    };
    let (_memory, _weir, mut c) = bench("n_many", policy, setup).await;
    c.query("BEGIN").await;
    for i in 0..70 {
        let sql = format!("SELECT {i} FROM t");
        encode::parse(&mut c.out, b"", sql.as_bytes(), &[]);
        c.bind("p", "", &[], false);
        encode::object(&mut c.out, b'C', b'P', b"p");
    }
    encode::parse(&mut c.out, b"", MARK.as_bytes(), &[]);
    c.bind("p", "", &[], false);
    assert_eq!(synced(&mut c).await.error, None);
    let a = c.query("FETCH ALL FROM p").await;
    assert_eq!(a.code(), "42501", "{a:?}");
    // The name is another's in the next transaction.
    c.query("ROLLBACK").await;
    c.query("BEGIN").await;
    c.query("DECLARE q CURSOR FOR SELECT 1").await;
    assert_eq!(c.query("FETCH ALL FROM q").await.tags, ["FETCH 1"]);
}

/// The server does not look for relations that have come to stand earlier on the path: a prepared
/// text keeps its meaning, and its labels.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_text_keeps_what_it_may_show() {
    let setup = "CREATE TABLE emp (id int, ssn text); INSERT INTO emp VALUES (1, '111-22-3333');
                 GRANT ALL ON emp TO weir; GRANT TEMP ON DATABASE n_keeps TO weir";
    let (memory, _weir, mut c) = bench("n_keeps", labelled(), setup).await;
    c.query("CREATE TEMP TABLE first_one (a int)").await;
    let sql = "SELECT 'q' || e::text FROM emp e";
    c.query(&format!("PREPARE pp AS {sql}")).await;
    encode::parse(&mut c.out, b"s", sql.as_bytes(), &[]);
    assert_eq!(synced(&mut c).await.error, None);
    let a = c.query("CREATE TEMP TABLE emp (id int, a text)").await;
    assert_eq!(a.tags, ["CREATE TABLE"], "{a:?}");
    for _ in 0..2 {
        let a = c.query("EXECUTE pp").await;
        assert_eq!(a.value(), None, "{a:?}");
        c.bind("", "s", &[], false);
        encode::execute(&mut c.out, b"", 0);
        let a = synced(&mut c).await;
        assert_eq!(a.value(), None, "{a:?}");
    }
    let seen = memory.journal.to_client();
    let leaked = seen.windows(6).any(|w| w == b"111-22");
    assert!(!leaked, "{}", String::from_utf8_lossy(&seen));
}

/// Code on the server can prepare another statement under the same name.
#[tokio::test(flavor = "multi_thread")]
async fn code_gives_prepared_names_no_other_meaning() {
    let setup = "CREATE TABLE emp (id int, ssn text); INSERT INTO emp VALUES (1, '111-22-3333');
                 GRANT ALL ON emp TO weir;
                 CREATE FUNCTION do_it(text) RETURNS void LANGUAGE plpgsql AS
                 'BEGIN EXECUTE $1; END'";
    let (memory, _weir, mut c) = bench("n_foreign", labelled(), setup).await;
    c.query("PREPARE s AS SELECT 'fine'").await;
    assert_eq!(c.query("EXECUTE s").await.value(), Some("fine"));
    for sql in [
        "SELECT do_it('DEALLOCATE s')",
        "SELECT do_it($$PREPARE s AS SELECT ssn || 'y' FROM emp$$)",
        "EXECUTE s",
        "EXPLAIN ANALYZE EXECUTE s",
    ] {
        c.query(sql).await;
    }
    let seen = memory.journal.to_client();
    assert!(!seen.windows(6).any(|w| w == b"111-22"));
    // What is prepared is read in the protocol as before.
    assert_eq!(
        c.prepared("SELECT 'fine'", &[], false).await.value(),
        Some("fine")
    );
}

/// Planning runs code that a text calls: it is decided on, and on record, before that.
#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_calls_code_is_decided_on_when_it_is_bound() {
    let setup = "CREATE TABLE t (n int); GRANT ALL ON t TO weir;
                 CREATE SEQUENCE side; GRANT ALL ON side TO weir;
                 CREATE FUNCTION fx(int) RETURNS int STABLE LANGUAGE plpgsql AS
                 'BEGIN PERFORM setval(''side'', 4711); RETURN $1; END'";
    let policy = MemoryPolicy::hold(&[Action::PostgresCall]);
    let (memory, _weir, mut c) = bench("n_code", policy, setup).await;
    let side = || Postgres::shared().sql("n_code", "SELECT last_value FROM side");
    let sql = "SELECT n FROM t WHERE n = fx(3)";

    let deny = async {
        let id = memory.approver.next().await;
        assert_eq!(side(), "1", "nothing ran while it was held");
        let outcome = pipeline::HoldOutcome::Denied {
            by: "bob".into(),
            reason: "no".into(),
        };
        memory.approver.end(&id, outcome);
    };
    encode::parse(&mut c.out, b"", sql.as_bytes(), &[]);
    c.bind("", "", &[], false);
    let (a, ()) = tokio::join!(synced(&mut c), deny);
    assert_eq!((a.code(), side().as_str()), ("42501", "1"), "{a:?}");

    // One approval is enough for Bind and Execute together, and one intent tells of both.
    let before = memory.journal.intents().len();
    let approve = async {
        let id = memory.approver.next().await;
        memory.approver.approve(&id, "bob");
    };
    let (a, ()) = tokio::join!(c.prepared(sql, &[], false), approve);
    assert_eq!((a.code(), a.status), ("", Some(TxStatus::Idle)), "{a:?}");
    assert_eq!(side(), "4711");
    let (intents, outcomes) = (memory.journal.intents(), memory.journal.outcomes());
    assert_eq!(intents.len(), before + 1);
    assert_eq!(outcomes.last().unwrap().kind, OutcomeKind::Done);
    assert_eq!(outcomes.len(), intents.len());

    // What fails while it is planned has its outcome, too.
    let fails = "SELECT n FROM t WHERE n = fx(3) AND n = 1 / (fx(1) - 1)";
    encode::parse(&mut c.out, b"", fails.as_bytes(), &[]);
    c.bind("", "", &[], false);
    let approve = async {
        let id = memory.approver.next().await;
        memory.approver.approve(&id, "bob");
    };
    let (a, ()) = tokio::join!(synced(&mut c), approve);
    assert_eq!(a.code(), "22012", "{a:?}");
    let outcomes = memory.journal.outcomes();
    assert_eq!(outcomes.len(), memory.journal.intents().len());
    assert_eq!(outcomes.last().unwrap().detail, "22012");
}

/// A domain's check runs when a parameter is bound, and no text names it.
#[tokio::test(flavor = "multi_thread")]
async fn parameters_run_no_code() {
    let setup = "CREATE SEQUENCE side; GRANT ALL ON side TO weir;
                 CREATE FUNCTION ok(text) RETURNS bool LANGUAGE plpgsql AS
                 'BEGIN PERFORM setval(''side'', 4711); RETURN true; END';
                 CREATE DOMAIN checked AS text CHECK (ok(VALUE))";
    let policy = MemoryPolicy::deny(&[Action::PostgresCall]);
    let (_memory, _weir, mut c) = bench("n_types", policy, setup).await;
    let sql = |sql: &str| Postgres::shared().sql("n_types", sql);
    let oid: u32 = sql("SELECT 'checked'::regtype::oid").parse().unwrap();
    for (oid, code) in [(oid, "42501"), (25, "")] {
        encode::parse(&mut c.out, b"", b"SELECT $1", &oid.to_be_bytes());
        c.bind("", "", &[Some("x")], false);
        encode::execute(&mut c.out, b"", 0);
        assert_eq!(synced(&mut c).await.code(), code, "{oid}");
    }
    assert_eq!(sql("SELECT last_value FROM side"), "1");
}

/// People agree to what names mean when they are asked.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_move_on_during_a_hold() {
    let setup = "CREATE SCHEMA box AUTHORIZATION weir;
                 CREATE TABLE box.t (n int); CREATE TABLE public.t (n int);
                 INSERT INTO public.t VALUES (1); GRANT ALL ON box.t, public.t TO weir";
    let policy = MemoryPolicy::hold(&[Action::PostgresDelete]);
    let (memory, _weir, mut c) = bench("n_moved", policy, setup).await;
    c.query("SET search_path = box, public").await;
    for extended in [false, true] {
        let again = "CREATE TABLE IF NOT EXISTS box.t (n int); GRANT ALL ON box.t TO weir";
        Postgres::shared().sql("n_moved", again);
        c.query("SELECT 1 FROM box.t").await;
        let approve = async {
            let id = memory.approver.next().await;
            // The server itself knows what a bound portal means, and keeps others away from it.
            if !extended {
                Postgres::shared().sql("n_moved", "DROP TABLE box.t");
            }
            memory.approver.approve(&id, "bob");
        };
        let ask = async {
            if extended {
                c.prepared("DELETE FROM t", &[], false).await
            } else {
                c.query("DELETE FROM t").await
            }
        };
        let (a, ()) = tokio::join!(ask, approve);
        if extended {
            assert_eq!(a.tags, ["DELETE 0"], "{a:?}");
        } else {
            assert_eq!(
                (a.code(), a.status),
                ("42501", Some(TxStatus::Idle)),
                "{a:?}"
            );
        }
        let left = Postgres::shared().sql("n_moved", "SELECT count(*) FROM public.t");
        assert_eq!(left, "1");
    }
    let outcomes = memory.journal.outcomes();
    assert_eq!(outcomes.len(), memory.journal.intents().len());
}

/// SET ROLE is an access of its own; what names mean under the role is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn another_role_is_for_policy_to_decide() {
    let setup = "CREATE ROLE painter; CREATE ROLE sculptor; GRANT painter, sculptor TO weir;
        CREATE SCHEMA painter AUTHORIZATION painter; CREATE SCHEMA sculptor AUTHORIZATION sculptor;
        CREATE TABLE painter.works (id int, title text); CREATE TABLE sculptor.works (id int);
        CREATE TABLE public.works (id int);
        GRANT SELECT ON painter.works, sculptor.works, public.works TO weir, painter, sculptor";
    let only_painter = MemoryPolicy {
        decide: std::sync::Arc::new(|q| {
            let strange = q.accesses.iter().any(|a| {
                matches!(&a.resource, pipeline::Resource::PgRole { role } if &**role != "painter")
            });
            if strange {
                Ruling::Deny {
                    policies: Vec::new(),
                    reason: "not this role".into(),
                }
            } else {
                Ruling::Permit {
                    policies: Vec::new(),
                }
            }
        }),
        ..MemoryPolicy::permit_all()
    };
    let (memory, _weir, mut c) = bench("roles", only_painter, setup).await;
    let mut read = Vec::new();
    for (sql, expect) in [
        ("SELECT id FROM works", ""),
        ("SET ROLE painter", ""),
        ("SELECT id FROM works", ""),
        ("SET ROLE sculptor", "42501"),
        ("SELECT current_user::text", ""),
        ("SET SESSION AUTHORIZATION sculptor", "42501"),
        ("SELECT set_config('role', 'sculptor', false)", "42501"),
        ("RESET ROLE", ""),
        ("SELECT id FROM works", ""),
        ("BEGIN", ""),
        ("SET LOCAL ROLE painter", ""),
        ("SELECT id FROM works", ""),
        ("ROLLBACK", ""),
        ("SELECT id FROM works", ""),
        // Pools reset so.
        ("SET ROLE painter", ""),
        ("DISCARD ALL", ""),
        ("SELECT id FROM works", ""),
    ] {
        let a = c.query(sql).await;
        assert_eq!(a.code(), expect, "{sql}: {a:?}");
        if sql.ends_with("works") {
            let last = memory.journal.intents().pop().unwrap();
            let pipeline::Facts::Sql(facts) = &last.facts else {
                panic!("{last:?}");
            };
            let schemas: Vec<String> = facts.reads.iter().map(|r| r.schema.to_string()).collect();
            read.push(schemas.join(" "));
        }
    }
    assert_eq!(
        read,
        ["public", "painter", "public", "painter", "public", "public"]
    );
}

/// A dropped name is nothing, which is for the server to say; and it is not what it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_name_is_told_by_the_server() {
    let setup = "CREATE TABLE emp (id int, ssn text); INSERT INTO emp VALUES (1, '111-22-3333');
                 GRANT ALL ON emp TO weir";
    let (memory, _weir, mut c) = bench("n_dropped", labelled(), setup).await;
    for drop in ["DEALLOCATE p", "DEALLOCATE ALL", "DISCARD ALL"] {
        c.query("PREPARE p AS SELECT 'fine'").await;
        assert_eq!(c.query("EXECUTE p").await.value(), Some("fine"));
        c.query(drop).await;
        let a = c.query("EXECUTE p").await;
        assert_eq!(a.code(), "26000", "{drop}: {a:?}");
        // The name means something else from now on, and nothing of what it meant.
        c.query("PREPARE p AS SELECT ssn || '' FROM emp").await;
        assert_eq!(c.query("EXECUTE p").await.value(), None);
        c.query(drop).await;
        c.query("PREPARE p AS SELECT 'fine'").await;
        assert_eq!(c.query("EXECUTE p").await.value(), Some("fine"));
        c.query(drop).await;
    }
    assert!(
        !memory
            .journal
            .to_client()
            .windows(6)
            .any(|w| w == b"111-22")
    );
}
