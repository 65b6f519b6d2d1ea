//! Views that somebody replaces past Weir, while what is known of the catalogue is young.

use pipeline::memory::{Memory, MemoryPolicy};

use super::holds::labelled;
use crate::testing::Weir;
use crate::testing::client::{Answer, Client};
use crate::testing::postgres::Postgres;
use crate::wire::backend::TxStatus;
use crate::wire::encode;

const SETUP: &str = "CREATE TABLE emp (id int, name text, ssn text);
    INSERT INTO emp VALUES (1, 'Ann', '111-22-3333');
    CREATE TABLE kept (x text);
    CREATE VIEW v AS SELECT id, name AS x FROM emp;
    CREATE VIEW over_v AS SELECT x FROM v;
    CREATE SCHEMA box;
    ALTER VIEW v OWNER TO weir;
    GRANT ALL ON emp, kept, over_v TO weir; GRANT ALL ON SCHEMA public, box TO weir";
const CLEAN: &str = "CREATE OR REPLACE VIEW v AS SELECT id, name AS x FROM emp";
const SECRET: &str = "CREATE OR REPLACE VIEW v AS SELECT id, ssn AS x FROM emp";

struct Bench {
    memory: Memory,
    pg: &'static Postgres,
    database: &'static str,
    weir: Weir,
}

impl Bench {
    fn new(pg: &'static Postgres, database: &'static str) -> Self {
        Self::under(pg, database, labelled())
    }

    fn under(pg: &'static Postgres, database: &'static str, policy: MemoryPolicy) -> Self {
        pg.database(database);
        pg.sql(database, SETUP);
        let memory = Memory::new(policy);
        Self {
            weir: Weir::to(pg, memory.ports()),
            memory,
            pg,
            database,
        }
    }

    async fn client(&self) -> Client {
        let database = format!("db/{}", self.database);
        Client::connect(self.weir.addr, &database).await.unwrap()
    }

    /// What somebody else does.
    fn past(&self, sql: &str) {
        self.pg.sql(self.database, sql);
    }

    fn assert_nothing_got_out(&self) {
        let seen = self.memory.journal.to_client();
        let leaked = seen.windows(6).any(|w| w == b"111-22");
        assert!(!leaked, "{}", String::from_utf8_lossy(&seen));
    }
}

/// The value as it is shown; none when it is hidden.
fn shown(a: &Answer) -> Option<&str> {
    a.value().filter(|v| *v != "[redacted]")
}

async fn bound(c: &mut Client) -> Answer {
    bound_as(c, "s").await
}

async fn bound_as(c: &mut Client, statement: &str) -> Answer {
    c.bind("", statement, &[], false);
    encode::execute(&mut c.out, b"", 0);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    c.answer().await
}

/// However it is read, what shows is masked as the view is now, and shown again when it is clean again.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_read_it() {
    let b = Bench::new(Postgres::shared(), "r_every");
    let mut c = b.client().await;
    encode::parse(&mut c.out, b"s", b"SELECT x FROM v", &[]);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.error, None);
    c.query("PREPARE p AS SELECT x FROM v").await;
    for (definition, expected) in [(CLEAN, Some("Ann")), (SECRET, None), (CLEAN, Some("Ann"))] {
        for way in [
            "SELECT x FROM v",
            "EXECUTE p",
            "SELECT x FROM over_v",
            "TABLE over_v",
            "SELECT (SELECT max(x) FROM v)",
            "COPY (SELECT x FROM over_v) TO STDOUT",
        ] {
            b.past(definition);
            let a = c.query(way).await;
            if !way.starts_with("COPY") {
                assert_eq!(shown(&a), expected, "{way}: {a:?}");
            }
        }
        b.past(definition);
        let a = bound(&mut c).await;
        // Whatever it has meant is masked, for as long as it is prepared.
        let masked = shown(&a).is_none() && definition == CLEAN;
        assert!(shown(&a) == expected || masked, "{a:?}");
    }
    b.assert_nothing_got_out();
}

/// What is stored cannot be taken back.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_copied_elsewhere() {
    let b = Bench::new(Postgres::shared(), "r_stored");
    let mut c = b.client().await;
    for sql in [
        "INSERT INTO kept SELECT x FROM v",
        "INSERT INTO kept SELECT x FROM over_v",
        "UPDATE kept SET x = (SELECT max(x) FROM v)",
        "CREATE TABLE kept_too AS SELECT x FROM v",
    ] {
        b.past(CLEAN);
        let a = c.query(&format!("BEGIN; {sql}; ROLLBACK")).await;
        assert_eq!(a.error, None, "{sql}");
        b.past(SECRET);
        let a = c.query(sql).await;
        assert_eq!(a.code(), "42501", "{sql}: {a:?}");
        assert_eq!(b.pg.sql(b.database, "SELECT count(*) FROM kept"), "0");
    }
}

/// In a transaction that goes on seeing what was there when it began, the catalogue cannot be read as
/// it is; the server plans by what it is.
#[tokio::test(flavor = "multi_thread")]
async fn in_transactions() {
    let b = Bench::new(Postgres::shared(), "r_transactions");
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        b.past(CLEAN);
        let mut c = b.client().await;
        c.query(&format!("BEGIN ISOLATION LEVEL {level}")).await;
        assert_eq!(c.query("SELECT x FROM v").await.value(), Some("Ann"));
        // The transaction holds a lock on the view that it has read.
        c.query("ROLLBACK").await;
        c.query(&format!("BEGIN ISOLATION LEVEL {level}")).await;
        c.query("SELECT 1 FROM kept").await;
        b.past(SECRET);
        let a = c.query("SELECT x FROM v").await;
        assert_eq!(a.code(), "42501", "{a:?}");
        let refused = b.memory.journal.refusals().pop().unwrap();
        assert!(refused.reason.contains("replaced"), "{refused:?}");
        let a = c.query("ROLLBACK").await;
        assert_eq!(a.status, Some(TxStatus::Idle));
        assert_eq!(shown(&c.query("SELECT x FROM v").await), None);
    }
    b.past(CLEAN);
    let mut c = b.client().await;
    c.query("BEGIN").await;
    assert_eq!(c.query("SELECT 1 FROM kept").await.error, None);
    b.past(SECRET);
    assert_eq!(shown(&c.query("SELECT x FROM v").await), None);
    c.query("ROLLBACK").await;
    // What a session changes itself it sees, committed or not.
    b.past(CLEAN);
    c.query("BEGIN").await;
    c.query("CREATE OR REPLACE VIEW v AS SELECT id, upper(name) AS x FROM emp")
        .await;
    assert_eq!(c.query("SELECT x FROM v").await.value(), Some("ANN"));
    c.query("COMMIT").await;
    assert_eq!(c.query("SELECT x FROM v").await.value(), Some("ANN"));
    b.assert_nothing_got_out();
}

/// Another view comes to stand under the name, or a temporary one of somebody else's does not.
#[tokio::test(flavor = "multi_thread")]
async fn another_of_its_name() {
    let b = Bench::new(Postgres::shared(), "r_name");
    let mut c = b.client().await;
    c.query("SET search_path = box, public").await;
    assert_eq!(c.query("SELECT x || '' FROM v").await.value(), Some("Ann"));
    b.past("CREATE VIEW box.v AS SELECT id, ssn AS x FROM emp; GRANT SELECT ON box.v TO weir");
    assert_eq!(shown(&c.query("SELECT x || '' FROM v").await), None);
    b.past("DROP VIEW box.v");
    assert_eq!(c.query("SELECT x || '' FROM v").await.value(), Some("Ann"));
    b.past("CREATE TEMP VIEW v AS SELECT ssn AS x FROM emp");
    assert_eq!(c.query("SELECT x || '' FROM v").await.value(), Some("Ann"));
    b.past("DROP VIEW over_v; DROP VIEW v; CREATE VIEW v AS SELECT id, ssn AS x FROM emp; GRANT SELECT ON v TO weir");
    assert_eq!(shown(&c.query("SELECT x || '' FROM v").await), None);
    b.assert_nothing_got_out();
}

/// Nothing is made anew: two views, or two columns, only change places.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_places() {
    let b = Bench::new(Postgres::shared(), "r_places");
    b.past(
        "CREATE SCHEMA other; CREATE VIEW other.v AS SELECT id, ssn AS x FROM emp;
         CREATE VIEW w AS SELECT name AS a, ssn AS b FROM emp;
         CREATE VIEW odd AS SELECT name AS \"a~,2=b\", id AS \"~\", id AS \"3=\" FROM emp;
         GRANT USAGE ON SCHEMA other TO weir; GRANT SELECT ON other.v, w, odd TO weir",
    );
    let mut c = b.client().await;
    let there = "ALTER VIEW v SET SCHEMA box; ALTER VIEW other.v SET SCHEMA public;
                 ALTER VIEW box.v SET SCHEMA other";
    let schemas = "ALTER SCHEMA public RENAME TO p; ALTER SCHEMA other RENAME TO public;
                   ALTER SCHEMA p RENAME TO other";
    let columns = "ALTER VIEW w RENAME a TO c; ALTER VIEW w RENAME b TO a;
                   ALTER VIEW w RENAME c TO b";
    for (sql, swap) in [
        ("SELECT x || '' FROM public.v", there),
        ("SELECT x || '' FROM public.v", schemas),
        ("SELECT a || '' FROM w", columns),
        ("SELECT max(a) FROM w", columns),
    ] {
        for expected in [Some("Ann"), None, Some("Ann")] {
            let a = c.query(sql).await;
            assert_eq!(shown(&a), expected, "{swap}: {a:?}");
            b.past(swap);
        }
        b.past(swap);
    }
    // Where the catalogue cannot be read as it is, names that look like lists would show.
    c.query("BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    let a = c.query("SELECT \"a~,2=b\" FROM odd").await;
    assert_eq!(a.value(), Some("Ann"), "{a:?}");
    b.assert_nothing_got_out();
}

/// What is planned only when it is executed is not locked when it is bound.
#[tokio::test(flavor = "multi_thread")]
async fn between_bind_and_execute() {
    let b = Bench::new(Postgres::shared(), "r_between");
    let mut c = b.client().await;
    c.query("PREPARE p AS SELECT x || '' FROM v").await;
    for sql in ["EXECUTE p", "COPY (SELECT x || '' FROM v) TO STDOUT"] {
        for (definition, expected) in [(CLEAN, ""), (SECRET, "42501")] {
            b.past(CLEAN);
            assert_eq!(c.query("SELECT x FROM v").await.value(), Some("Ann"));
            c.query("BEGIN").await;
            encode::parse(&mut c.out, b"late", sql.as_bytes(), &[]);
            c.bind("k", "late", &[], false);
            encode::empty(&mut c.out, b'S');
            c.send().await;
            assert_eq!(c.answer().await.error, None, "{sql}");
            b.past(definition);
            encode::execute(&mut c.out, b"k", 0);
            encode::object(&mut c.out, b'C', b'S', b"late");
            encode::empty(&mut c.out, b'S');
            c.send().await;
            let a = c.answer().await;
            // It is replaced by the same, too, which cannot be told apart.
            assert!(a.code() == expected || definition == CLEAN, "{sql}: {a:?}");
            c.query("ROLLBACK").await;
            c.query("DEALLOCATE ALL").await;
            c.query("PREPARE p AS SELECT x || '' FROM v").await;
        }
    }
    b.assert_nothing_got_out();
}

/// A name that runs what was understood before, and a view that stands earlier on the path by then. The
/// server says nothing about the origin of what is computed.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_name_that_was_understood_before() {
    let b = Bench::new(Postgres::shared(), "r_before");
    let view = |place: &str, column: &str| {
        let sql = format!(
            "CREATE OR REPLACE VIEW {place}.w AS SELECT id, {column} AS x FROM emp;
             GRANT SELECT ON {place}.w TO weir"
        );
        b.past(&sql);
    };
    view("public", "name");
    let select = "SELECT x || '' FROM w";
    let mut c = b.client().await;
    c.query("SET search_path = box, public").await;
    c.query(&format!("PREPARE p AS {select}")).await;
    encode::parse(&mut c.out, b"s", select.as_bytes(), &[]);
    encode::empty(&mut c.out, b'S');
    c.send().await;
    assert_eq!(c.answer().await.error, None);
    for (column, expected) in [("name", Some("Ann")), ("ssn", None), ("name", Some("Ann"))] {
        view("public", column);
        assert_eq!(shown(&c.query("EXECUTE p").await), expected, "{column}");
        assert_eq!(shown(&bound(&mut c).await), expected, "{column}");
        c.query("BEGIN").await;
        c.query(&format!("DECLARE k CURSOR FOR {select}")).await;
        let a = c.query("FETCH k").await;
        // What the name has meant before is masked, too.
        assert!(shown(&a).is_none() || shown(&a) == expected, "{a:?}");
        c.query("COMMIT").await;
    }
    // Two meanings, one of which becomes another, and the server looks again.
    view("box", "name");
    assert_eq!(shown(&bound(&mut c).await), Some("Ann"));
    assert_eq!(shown(&c.query("EXECUTE p").await), Some("Ann"));
    view("box", "ssn");
    view("public", "name");
    assert_eq!(shown(&bound(&mut c).await), None);
    assert_eq!(shown(&c.query("EXECUTE p").await), None);
    b.assert_nothing_got_out();
}

/// People take their time, and agree to what the view was.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_waits_for_people() {
    let pg = Postgres::shared();
    let held = |q: &pipeline::Question<'_>| {
        let asks = match q.facts {
            Some(pipeline::Facts::Sql(facts)) => facts.text.contains("FROM v"),
            _ => false,
        };
        match !asks || q.approvals.contains("test-rule") {
            true => pipeline::Ruling::Permit {
                policies: Vec::new(),
            },
            false => pipeline::Ruling::NeedsApproval {
                rules: vec!["test-rule".into()],
                policies: Vec::new(),
                reason: "held by the test".into(),
            },
        }
    };
    let policy = MemoryPolicy {
        decide: std::sync::Arc::new(held),
        ..labelled()
    };
    let b = Bench::under(pg, "r_people", policy);
    for begin in [
        "BEGIN",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
    ] {
        for definition in [CLEAN, SECRET] {
            b.past(CLEAN);
            let mut c = b.client().await;
            c.query(begin).await;
            assert_eq!(c.query("SELECT 1 FROM kept").await.error, None);
            let people = async {
                let id = b.memory.approver.next().await;
                if definition == SECRET {
                    b.past(SECRET);
                }
                b.memory.approver.approve(&id, "bob");
            };
            let (a, ()) = tokio::join!(c.query("SELECT x || '' FROM v"), people);
            match definition == CLEAN {
                true => assert_eq!(a.value(), Some("Ann"), "{begin}: {a:?}"),
                false => assert_eq!(a.code(), "42501", "{begin}: {a:?}"),
            }
        }
    }
    b.assert_nothing_got_out();
}

/// Where no other connection can be had, the catalogue is read again for every such text.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_to_ask_on() {
    let pg: &'static Postgres = Box::leak(Box::new(Postgres::start()));
    let b = Bench::new(pg, "r_alone");
    b.past("ALTER ROLE weir CONNECTION LIMIT 1");
    let mut c = b.client().await;
    for (definition, expected) in [(CLEAN, Some("Ann")), (SECRET, None), (CLEAN, Some("Ann"))] {
        b.past(definition);
        assert_eq!(shown(&c.query("SELECT x FROM v").await), expected);
        b.past(definition);
        // In the middle of a batch nobody could be asked.
        let a = c.prepared("SELECT x || '' FROM v", &[], false).await;
        assert_eq!((shown(&a), a.code()), (expected, ""), "{a:?}");
    }
    b.assert_nothing_got_out();
}

/// Where it is parsed, the server locks what it has looked up; a COMMIT in the same batch lets it go.
#[tokio::test(flavor = "multi_thread")]
async fn between_parse_and_bind() {
    let b = Bench::new(Postgres::shared(), "r_parsed");
    let mut c = b.client().await;
    for between in [None, Some("COMMIT"), Some("ROLLBACK")] {
        b.past(CLEAN);
        encode::parse(&mut c.out, b"", b"SELECT x || '' FROM v", &[]);
        encode::empty(&mut c.out, b'H');
        c.send().await;
        assert_eq!(c.next().await.unwrap().tag, '1');
        let locks = "SELECT count(*) FROM pg_locks WHERE relation = 'v'::regclass";
        assert_eq!(b.pg.sql(b.database, locks), "1");
        if let Some(sql) = between {
            encode::parse(&mut c.out, b"end", sql.as_bytes(), &[]);
            c.bind("end", "end", &[], false);
            encode::execute(&mut c.out, b"end", 0);
            encode::object(&mut c.out, b'C', b'S', b"end");
            encode::empty(&mut c.out, b'H');
            c.send().await;
            while c.next().await.unwrap().tag != '3' {}
            b.past(SECRET);
        }
        let a = bound_as(&mut c, "").await;
        let expected = Some("Ann").filter(|_| between.is_none());
        assert_eq!(shown(&a), expected, "{between:?}: {a:?}");
    }
    b.assert_nothing_got_out();
}

/// Many sessions ask at once, and one connection answers.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once() {
    let b = Bench::new(Postgres::shared(), "r_many");
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(b.client().await);
    }
    let asked = clients.into_iter().map(|mut c| {
        tokio::spawn(async move {
            for _ in 0..20 {
                assert_eq!(c.query("SELECT x FROM over_v").await.value(), Some("Ann"));
            }
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
    let count = "SELECT count(*) FROM pg_stat_activity
                 WHERE application_name = 'weir: definitions' AND datname = 'r_many'";
    assert_eq!(b.pg.sql("postgres", count), "1");
    // It ends with the service.
    b.weir.shutdown.cancel();
    let started = std::time::Instant::now();
    while b.pg.sql("postgres", count) != "0" {
        assert!(started.elapsed().as_secs() < 20);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Who cannot ask elsewhere reads the catalogue within the transaction, where that sees what is there now.
#[tokio::test(flavor = "multi_thread")]
async fn in_transactions_without_a_connection_to_ask_on() {
    let pg: &'static Postgres = Box::leak(Box::new(Postgres::start()));
    let b = Bench::new(pg, "r_alone_there");
    b.past("ALTER ROLE weir CONNECTION LIMIT 1");
    let mut c = b.client().await;
    for begin in ["BEGIN", "BEGIN ISOLATION LEVEL READ UNCOMMITTED"] {
        for (definition, expected) in [(CLEAN, Some("Ann")), (SECRET, None), (CLEAN, Some("Ann"))] {
            c.query(begin).await;
            assert_eq!(c.query("SELECT 1 FROM kept").await.error, None);
            b.past(definition);
            let a = c.query("SELECT x || '' FROM v").await;
            assert_eq!((shown(&a), a.code()), (expected, ""), "{begin}: {a:?}");
            let a = c.prepared("SELECT x || '' FROM over_v", &[], false).await;
            assert_eq!((shown(&a), a.code()), (expected, ""), "{begin}: {a:?}");
            c.query("ROLLBACK").await;
        }
    }
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        b.past(CLEAN);
        // What the session was asked before was another transaction.
        c.query("BEGIN").await;
        let a = c.query("SELECT x || '' FROM v").await;
        assert_eq!(a.value(), Some("Ann"), "{a:?}");
        c.query("ROLLBACK").await;
        c.query(&format!("BEGIN ISOLATION LEVEL {level}")).await;
        c.query("SELECT 1 FROM kept").await;
        b.past(SECRET);
        let a = c.query("SELECT x || '' FROM v").await;
        assert_eq!(a.code(), "42501", "{level}: {a:?}");
        c.query("ROLLBACK").await;
    }
    b.assert_nothing_got_out();
}

/// What another session has read a moment ago is too old, when nobody says that it still holds.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_session_has_read_before() {
    let pg: &'static Postgres = Box::leak(Box::new(Postgres::start()));
    let b = Bench::new(pg, "r_alone_together");
    b.past("ALTER ROLE weir CONNECTION LIMIT 2");
    let (mut first, mut second) = (b.client().await, b.client().await);
    for _ in 0..3 {
        b.past(CLEAN);
        let a = first.query("SELECT x || '' FROM v").await;
        assert_eq!(a.value(), Some("Ann"), "{a:?}");
        b.past(SECRET);
        let a = second.query("SELECT x || '' FROM v").await;
        assert_eq!((shown(&a), a.code()), (None, ""), "{a:?}");
    }
    b.assert_nothing_got_out();
}

/// A server that does not answer is waited for once in a while, not by every statement.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_dead() {
    use super::super::witness::{Place, Tasks, Witness};
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = dead.local_addr().unwrap().port();
    let target = crate::config::PgTarget {
        port,
        ..crate::testing::target(Postgres::shared())
    };
    let target = std::sync::Arc::new(target);
    let tasks = Tasks::default();
    let witness = Witness::default();
    let patience = std::time::Duration::from_millis(300);
    let place = || Place {
        target: target.clone(),
        database: "d".into(),
        limits: crate::config::Limits {
            definitions_time: patience,
            ..Default::default()
        },
        tasks: tasks.clone(),
    };
    let mut waited = Vec::new();
    for _ in 0..20 {
        let asked = tokio::time::Instant::now();
        assert!(witness.ask(Default::default(), place).await.is_none());
        waited.push(asked.elapsed());
    }
    let (first, rest) = waited.split_first().unwrap();
    assert!(*first >= patience, "{waited:?}");
    assert!(
        rest.iter().sum::<std::time::Duration>() < patience,
        "{waited:?}"
    );
    // It is asked again.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    let asked = tokio::time::Instant::now();
    assert!(witness.ask(Default::default(), place).await.is_none());
    assert!(asked.elapsed() >= patience);
    tasks.end(std::time::Duration::from_secs(1)).await;
}

/// Labels go by the names of columns. What an expression shows after a swap is what it will show.
#[tokio::test(flavor = "multi_thread")]
async fn columns_of_tables_that_change_places() {
    let b = Bench::new(Postgres::shared(), "r_columns");
    let mut c = b.client().await;
    let texts = [
        "SELECT name || '' FROM emp",
        "SELECT ssn || '' FROM emp",
        "SELECT name FROM emp",
        "SELECT ssn FROM emp",
    ];
    let mut before = Vec::new();
    for sql in texts {
        before.push(shown(&c.query(sql).await).map(str::to_owned));
    }
    assert_eq!(
        before,
        [Some("Ann".to_owned()), None, Some("Ann".to_owned()), None]
    );
    b.assert_nothing_got_out();
    b.past(
        "ALTER TABLE emp RENAME name TO other; ALTER TABLE emp RENAME ssn TO name;
         ALTER TABLE emp RENAME other TO ssn",
    );
    let mut stale = Vec::new();
    for sql in texts {
        stale.push(shown(&c.query(sql).await).map(str::to_owned));
    }
    // DDL through Weir: the catalogue is read again.
    c.query("CREATE TABLE anything ()").await;
    let mut known = Vec::new();
    for sql in texts {
        known.push(shown(&c.query(sql).await).map(str::to_owned));
    }
    for ((sql, stale), known) in texts.iter().zip(stale).zip(known) {
        assert!(
            stale.is_none() || stale == known,
            "{sql}: {stale:?} {known:?}"
        );
    }
}
