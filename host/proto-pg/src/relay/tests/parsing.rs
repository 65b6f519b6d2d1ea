//! Constants are read while a text is still parsed, and so runs what reads them: Parse is enough.

use std::sync::Arc;

use pipeline::memory::MemoryPolicy;
use pipeline::{Action, Facts, Resource, Ruling};

use super::holds::labelled;
use super::protocol::Bench;
use crate::testing::client::Client;
use crate::wire::encode;

const SECRET: &[u8] = b"111-22";

/// A domain whose check gives `t` another meaning, and what has values of it inside.
const SETUP: &str = "CREATE SCHEMA hidden; CREATE TABLE hidden.emp (id int, ssn text);
    CREATE VIEW public.t AS SELECT 'x'::text AS x;
    CREATE VIEW hidden.t AS SELECT ssn AS x FROM hidden.emp;
    INSERT INTO hidden.emp VALUES (1, '111-22-3333');
    CREATE FUNCTION check_it(v text) RETURNS bool LANGUAGE plpgsql AS
    $$ BEGIN PERFORM set_config('search_path', 'hidden,public', false);
       RAISE NOTICE 'checked 111-22'; RETURN v <> 'wrong'; END $$;
    CREATE DOMAIN checked AS text CHECK (check_it(VALUE));
    CREATE DOMAIN outer_one AS checked[];
    CREATE TYPE comp AS (a int, c checked);
    CREATE TYPE checkrange AS RANGE (subtype = checked);
    CREATE TABLE arrays (a checked[]); CREATE TABLE comps (c comp, r checkrange, o outer_one);
    CREATE TABLE single (d checked, n int); CREATE TABLE harmless (d text, n int);
    CREATE FUNCTION takes(checked[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
    GRANT ALL ON ALL TABLES IN SCHEMA hidden, public TO weir; GRANT USAGE ON SCHEMA hidden TO weir;";

/// Each runs the check when it is parsed.
const RUNS: &[&str] = &[
    "SELECT '{a}'::checked[]",
    "SELECT CAST('{a}' AS _checked)",
    "SELECT comp '(1,a)'",
    "SELECT '(1,a)'::comp",
    "SELECT '{\"(1,a)\"}'::comp[]",
    "SELECT '[a,b)'::checkrange",
    "SELECT '{[a,b)}'::checkmultirange",
    "SELECT '{a}'::outer_one",
    "SELECT '(a,1)'::single",
    "SELECT takes('{a}')",
    "INSERT INTO arrays VALUES ('{a}')",
    "INSERT INTO comps (c) VALUES ('(1,a)')",
    "INSERT INTO comps (r) SELECT '[a,b)'",
    "UPDATE arrays SET a = '{a}'",
    "DELETE FROM arrays WHERE a IN ('{a}', '{b}')",
    "SELECT 1 FROM arrays WHERE a = '{a}'",
    "SELECT 1 FROM arrays WHERE ARRAY[a, '{a}'] IS NULL",
    "SELECT coalesce(a, '{a}') FROM arrays",
    "SELECT CASE WHEN true THEN a ELSE '{a}' END FROM arrays",
    "SELECT a || '{a}' FROM arrays",
    "SELECT a FROM arrays UNION SELECT '{a}'",
    "SELECT nullif(o, '{a}') FROM comps",
    "WITH w AS (SELECT c FROM comps) SELECT greatest(c, '(1,a)') FROM w",
    "SELECT coalesce(s, '(a,1)') FROM single s",
    "SELECT coalesce(single, '(a,1)') FROM single",
    "SELECT ARRAY[d] || '{a}' FROM single",
    "SELECT array_agg(d) || '{a}' FROM single",
    "SELECT ARRAY(SELECT d FROM single) || '{a}'",
    "EXPLAIN SELECT '{a}'::checked[]",
    "DECLARE c CURSOR WITH HOLD FOR SELECT '{a}'::checked[]",
];

/// None of these does, and nothing is asked about them when they are parsed.
const QUIET: &[&str] = &[
    "SELECT 'a'",
    "SELECT d FROM single WHERE d = 'a'",
    "SELECT coalesce(d, 'a') FROM single",
    "INSERT INTO harmless VALUES ('a', 1)",
    "SELECT d FROM harmless WHERE d IN ('a', 'b')",
    "SELECT harmless, ARRAY[d] || '{a}' FROM harmless",
    "SELECT a FROM arrays WHERE cardinality(a) = 1",
];

fn no_secret(b: &Bench, what: &str) {
    let seen = b.memory.journal.to_client();
    let leaked = seen.windows(SECRET.len()).any(|w| w == SECRET);
    assert!(!leaked, "{what}: {}", String::from_utf8_lossy(&seen));
}

fn parse(c: &mut Client, name: &str, sql: &str) {
    encode::parse(&mut c.out, name.as_bytes(), sql.as_bytes(), &[]);
}

fn run(c: &mut Client, sql: &str) {
    parse(c, "", sql);
    c.bind("", "", &[], false);
    encode::execute(&mut c.out, b"", 0);
}

async fn sync(c: &mut Client) -> crate::testing::client::Answer {
    encode::empty(&mut c.out, b'S');
    c.send().await;
    c.answer().await
}

/// The last permitted text is on record as reading the labelled table.
fn reads_hidden(b: &Bench, what: &str) {
    let intent = b.memory.journal.intents().pop().unwrap();
    let Facts::Sql(sql) = &intent.facts else {
        panic!("{intent:?}");
    };
    let mut reads = sql.reads.iter();
    let hidden = reads.any(|r| &*r.schema == "hidden" && &*r.name == "emp");
    assert!(hidden, "{what}: {sql:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parsed_can_have_set_the_path() {
    let b = Bench::new("parse_path", labelled(), SETUP);
    for sql in RUNS {
        for synced in [false, true] {
            let what = format!("{sql}, synced: {synced}");
            let mut c = b.client().await;
            parse(&mut c, "q", sql);
            if synced {
                let a = sync(&mut c).await;
                assert_eq!(a.code(), "", "{what}: {a:?}");
                let path = c.query("SHOW search_path").await;
                assert_eq!(path.value(), Some("hidden,public"), "{what}: no attack");
            }
            run(&mut c, "SELECT x || '' FROM t");
            sync(&mut c).await;
            no_secret(&b, &what);
            reads_hidden(&b, &what);
            c.query("SELECT x || '' FROM t").await;
            no_secret(&b, &what);
            reads_hidden(&b, &what);
        }
    }
}

/// The same text goes on after the code has run: what it names behind the constant is what that made of
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_text_means_can_change_while_it_is_parsed() {
    let b = Bench::new("parse_itself", labelled(), SETUP);
    for constant in [
        "SELECT '{a}'::checked[], ",
        "SELECT (SELECT coalesce(max(a), '{a}') FROM arrays), ",
        "SELECT takes('{a}'), ",
    ] {
        let mut c = b.client().await;
        let sql = format!("{constant} (SELECT x || '' FROM t)");
        let a = c.query(&sql).await;
        assert!(a.code() == "" || a.code() == "42501", "{sql}: {a:?}");
        no_secret(&b, &sql);
        run(&mut c, &sql);
        sync(&mut c).await;
        no_secret(&b, &sql);
    }
}

/// It is decided on, and on record, before it is sent; each decision has one outcome.
#[tokio::test(flavor = "multi_thread")]
async fn parsing_code_is_for_policy_to_decide() {
    let policy = MemoryPolicy {
        decide: Arc::new(|q| {
            let calls = q.accesses.iter().any(|a| {
                let of_check = matches!(&a.resource, Resource::PgFunction { function, .. }
                    if &**function == "check_it");
                a.action == Action::PostgresCall && of_check
            });
            match calls {
                true => Ruling::Deny {
                    policies: Vec::new(),
                    reason: "not this function".into(),
                },
                false => Ruling::Permit {
                    policies: Vec::new(),
                },
            }
        }),
        ..labelled()
    };
    let b = Bench::new("parse_denied", policy, SETUP);
    let mut c = b.client().await;
    let stores = "CREATE TABLE made AS SELECT '{a}'::checked[] AS a";
    let texts = RUNS.iter().filter(|sql| !sql.contains("takes"));
    for sql in texts.chain([&stores]) {
        parse(&mut c, "", sql);
        assert_eq!(sync(&mut c).await.code(), "42501", "{sql}");
        let path = c.query("SHOW search_path").await;
        assert_ne!(path.value(), Some("hidden,public"), "{sql}");
    }
    for policy in [labelled(), MemoryPolicy::indifferent()] {
        let database = match policy.indifferent {
            true => "parse_recorded_free",
            false => "parse_recorded",
        };
        let b = Bench::new(database, policy, SETUP);
        let mut c = b.client().await;
        for (i, sql) in RUNS.iter().enumerate() {
            let before = b.memory.journal.intents().len();
            parse(&mut c, &format!("s{i}"), sql);
            sync(&mut c).await;
            assert_eq!(b.memory.journal.intents().len(), before + 1, "{sql}");
        }
        parse(&mut c, "", "SELECT '{wrong}'::checked[]");
        assert_eq!(sync(&mut c).await.code(), "23514");
        // Skipped by the server.
        parse(&mut c, "", "SELECT 1 FROM nowhere");
        parse(&mut c, "", "SELECT '{a}'::checked[]");
        assert_ne!(sync(&mut c).await.code(), "");
        for sql in QUIET {
            let before = b.memory.journal.intents().len();
            parse(&mut c, "", sql);
            assert_eq!(sync(&mut c).await.code(), "", "{sql}");
            assert_eq!(b.memory.journal.intents().len(), before, "{sql}");
        }
        drop(c);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while b.memory.journal.outcomes().len() < b.memory.journal.intents().len() {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Describe makes the server read the text again, once something has changed.
#[tokio::test(flavor = "multi_thread")]
async fn describing_reads_again() {
    let b = Bench::new("parse_again", labelled(), SETUP);
    let mut c = b.client().await;
    parse(&mut c, "q", "SELECT a = '{a}' FROM arrays");
    assert_eq!(sync(&mut c).await.code(), "");
    c.query("SET search_path = public").await;
    assert_eq!(c.query("SELECT x FROM t").await.value(), Some("x"));
    encode::object(&mut c.out, b'D', b'S', b"q");
    run(&mut c, "SELECT x || '' FROM t");
    sync(&mut c).await;
    no_secret(&b, "describe");
    reads_hidden(&b, "describe");
}

/// Types that stand elsewhere than in a cast run their checks, too.
#[tokio::test(flavor = "multi_thread")]
async fn types_of_columns_that_a_function_gives() {
    let b = Bench::new(
        "parse_columns",
        MemoryPolicy::deny(&[Action::PostgresCall]),
        SETUP,
    );
    let mut c = b.client().await;
    for sql in [
        "SELECT * FROM json_to_record('{\"a\":\"x\"}') AS x (a checked)",
        "SELECT * FROM json_to_recordset('[{\"a\":[\"x\"]}]') AS x (a checked[])",
        "SELECT * FROM ROWS FROM (json_to_record('{\"a\":\"x\"}') AS (a checked))",
        "SELECT * FROM XMLTABLE('/r' PASSING '<r>x</r>' COLUMNS a checked PATH '.')",
    ] {
        assert_eq!(c.query(sql).await.code(), "42501", "{sql}");
    }
    for sql in [
        "SELECT * FROM json_to_record('{\"a\":\"x\"}') AS x (a text, b int[])",
        "SELECT * FROM ROWS FROM (json_to_record('{\"a\":\"x\"}') AS (a varchar(5)))",
    ] {
        assert_eq!(c.query(sql).await.rows.len(), 1, "{sql}");
    }
}
