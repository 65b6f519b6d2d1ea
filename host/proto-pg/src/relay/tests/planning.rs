//! Planning runs functions, and Bind is enough for that: what they change counts from then on.

use pipeline::Facts;

use super::holds::labelled;
use super::protocol::Bench;
use crate::testing::client::Client;
use crate::wire::encode;

const SECRET: &[u8] = b"111-22";

/// Code that gives `t` another meaning, in a function that PostgreSQL runs when it plans.
const SETUP: &str = "CREATE SCHEMA hidden; CREATE TABLE hidden.emp (id int, ssn text);
    CREATE VIEW public.t AS SELECT 'x'::text AS x;
    CREATE VIEW hidden.t AS SELECT ssn AS x FROM hidden.emp;
    GRANT ALL ON ALL TABLES IN SCHEMA hidden, public TO weir; GRANT USAGE ON SCHEMA hidden TO weir;
    INSERT INTO hidden.emp VALUES (1, '111-22-3333');
    CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM set_config('search_path', 'hidden', false); RETURN 1; END $$;";

fn sync(c: &mut Client) {
    encode::empty(&mut c.out, b'S');
}

fn run(c: &mut Client, sql: &[u8]) {
    encode::parse(&mut c.out, b"", sql, &[]);
    c.bind("", "", &[], false);
    encode::execute(&mut c.out, b"", 0);
}

fn no_secret(b: &Bench) {
    let seen = b.memory.journal.to_client();
    let leaked = seen.windows(SECRET.len()).any(|w| w == SECRET);
    assert!(!leaked, "{}", String::from_utf8_lossy(&seen));
}

/// The last permitted text is on record as reading the labelled table.
fn reads_hidden(b: &Bench) {
    let intent = b.memory.journal.intents().pop().unwrap();
    let Facts::Sql(sql) = &intent.facts else {
        panic!("{intent:?}");
    };
    let mut reads = sql.reads.iter();
    let hidden = reads.any(|r| &*r.schema == "hidden" && &*r.name == "emp");
    assert!(hidden, "{sql:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bound_can_have_set_the_path() {
    let before = "SELECT x || '' FROM t";
    for (database, synced, named) in [
        ("plan_batch", false, ""),
        ("plan_synced", true, ""),
        ("plan_named", false, "p"),
    ] {
        let b = Bench::new(database, labelled(), SETUP);
        let mut c = b.client().await;
        assert_eq!(c.query(before).await.value(), Some("x"));
        // A name that is known to be another's afterwards.
        encode::parse(&mut c.out, b"old", before.as_bytes(), &[]);
        encode::parse(&mut c.out, b"q", b"SELECT f()", &[]);
        c.bind(named, "q", &[], false);
        if synced {
            sync(&mut c);
            c.send().await;
            assert_eq!(c.answer().await.code(), "");
        }
        run(&mut c, before.as_bytes());
        c.bind("", "old", &[], false);
        encode::execute(&mut c.out, b"", 0);
        sync(&mut c);
        c.send().await;
        c.answer().await;
        no_secret(&b);
        reads_hidden(&b);
        c.query(before).await;
        no_secret(&b);
        reads_hidden(&b);
        assert_eq!(c.query("SHOW search_path").await.value(), Some("hidden"));
    }
}

/// It does not overtake itself: what is bound is still executed.
#[tokio::test(flavor = "multi_thread")]
async fn what_calls_code_runs_when_it_is_bound() {
    let b = Bench::new("plan_runs", labelled(), SETUP);
    let mut c = b.client().await;
    for sql in ["SELECT public.f()", "EXPLAIN (COSTS OFF) SELECT public.f()"] {
        for _ in 0..2 {
            let a = c.prepared(sql, &[], false).await;
            assert_eq!((a.code(), a.rows.is_empty()), ("", false), "{sql}: {a:?}");
        }
    }
}

/// A text that is put under its name again is read under the settings of then.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_planned_again_has_one_reading() {
    let setup = "CREATE TABLE emp (id int, ssn text); GRANT ALL ON emp TO weir;
        INSERT INTO emp VALUES (1, '111-22-3333');
        CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        PERFORM set_config('standard_conforming_strings', 'off', false); RETURN 1; END $$;";
    let b = Bench::new("plan_again", labelled(), setup);
    let mut c = b.client().await;
    let two_ways = br"SELECT '\'' || ssn FROM emp --'";
    encode::parse(&mut c.out, b"p", two_ways, &[]);
    sync(&mut c);
    c.send().await;
    assert_eq!(c.answer().await.code(), "42501");
    encode::parse(&mut c.out, b"q", b"SELECT f()", &[]);
    c.bind("", "q", &[], false);
    c.bind("", "p", &[], false);
    encode::execute(&mut c.out, b"", 0);
    encode::empty(&mut c.out, b'H');
    c.send().await;
    let silence = std::time::Duration::from_secs(1);
    while let Ok(Some(_)) = tokio::time::timeout(silence, c.next()).await {}
    no_secret(&b);
}
