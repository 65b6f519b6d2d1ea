//! Clients that try to make Weir's picture of a session differ from the server's.

use bytes::BytesMut;
use pipeline::memory::{Memory, MemoryPolicy};
use pipeline::{Action, LabelCatalog, LabelRule};

use super::protocol::Bench;
use crate::testing::client::{Answer, Client, Message};
use crate::testing::postgres::Postgres;
use crate::testing::{Weir, options, target};
use crate::wire::encode;

pub(super) fn tags(messages: &[Message]) -> String {
    messages.iter().map(|m| m.tag).collect()
}

/// Messages of a batch, as they are written one after another.
#[derive(Default)]
pub(super) struct Script(BytesMut);

impl Script {
    pub fn parse(mut self, name: &str, sql: &str) -> Self {
        encode::parse(&mut self.0, name.as_bytes(), sql.as_bytes(), &[]);
        self
    }
    pub fn bind(mut self, portal: &str, statement: &str) -> Self {
        let (portal, statement) = (portal.as_bytes(), statement.as_bytes());
        encode::bind(&mut self.0, portal, statement, encode::BIND_PLAIN);
        self
    }
    pub fn execute(mut self, portal: &str) -> Self {
        encode::execute(&mut self.0, portal.as_bytes(), 0);
        self
    }
    pub fn object(mut self, tag: u8, kind: u8, name: &str) -> Self {
        encode::object(&mut self.0, tag, kind, name.as_bytes());
        self
    }
    pub fn query(mut self, sql: &str) -> Self {
        encode::query(&mut self.0, sql.as_bytes());
        self
    }
    pub fn data(mut self, text: &str) -> Self {
        encode::frame(&mut self.0, b'd', |b| b.extend_from_slice(text.as_bytes()));
        self
    }
    pub fn empty(mut self, tag: u8) -> Self {
        encode::empty(&mut self.0, tag);
        self
    }
    pub fn sync(self) -> Self {
        self.empty(b'S')
    }
    pub fn run(self, sql: &str) -> Self {
        self.parse("", sql).bind("", "").execute("")
    }
    pub async fn send(self, c: &mut Client) {
        c.out.extend_from_slice(&self.0);
        c.send().await;
    }
    /// Sends it and reads up to the first ReadyForQuery.
    pub async fn ask(self, c: &mut Client) -> Vec<Message> {
        self.send(c).await;
        c.until_ready().await
    }
}

pub(super) fn script() -> Script {
    Script::default()
}

const SECRET: &str = "111-22-3333";

/// `emp.ssn` is labelled and revealed to nobody.
fn labelled() -> MemoryPolicy {
    MemoryPolicy {
        labels: LabelCatalog::new(vec![LabelRule {
            target: "*".into(),
            schema: "*".into(),
            table: "emp".into(),
            column: "ssn".into(),
            labels: [std::sync::Arc::from("pii")].into(),
        }]),
        ..MemoryPolicy::permit_all()
    }
}

const EMP: &str = "CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text);
    INSERT INTO emp VALUES (1, 'Ann', '111-22-3333'), (2, 'Bob', '444-55-6666');
    CREATE TABLE orders (id int);
    INSERT INTO orders SELECT generate_series(1, 100);
    CREATE FUNCTION ssn_of(n int) RETURNS text LANGUAGE sql STABLE
        AS 'SELECT ssn FROM emp WHERE id = n';
    CREATE FUNCTION tell(n int) RETURNS int LANGUAGE plpgsql STABLE
        AS $$BEGIN RAISE NOTICE 'it is %', (SELECT ssn FROM emp WHERE id = n); RETURN 1; END$$;
    CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql
        AS $$BEGIN RAISE EXCEPTION 'it was %', (SELECT ssn FROM emp WHERE id = 1); END$$;
    CREATE TABLE deferred (id int);
    CREATE CONSTRAINT TRIGGER later AFTER INSERT ON deferred DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION late();
    CREATE FUNCTION open_it(refcursor) RETURNS refcursor LANGUAGE plpgsql
        AS $$BEGIN OPEN $1 FOR SELECT ssn || '' AS a FROM emp; RETURN $1; END$$;
    CREATE FUNCTION do_it(text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE $1; END$$;
    CREATE TABLE ruled (a text);
    CREATE RULE r AS ON INSERT TO ruled DO INSTEAD SELECT ssn || '' AS a FROM emp;
    GRANT ALL ON emp, orders, deferred, ruled TO weir; ANALYZE";

pub(super) fn whole(messages: &[Message]) -> String {
    format!("{messages:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_server_cuts_are_refused() {
    let deny = MemoryPolicy::deny(&[Action::PostgresInsert]);
    let b = Bench::new(
        "x_names",
        deny,
        "CREATE TABLE t (n int); GRANT ALL ON t TO weir",
    );
    let x = "x".repeat(63);
    let (a, other) = (format!("{x}a"), format!("{x}b"));
    let mut c = b.client().await;

    // What used to work: judged under one name, kept by the server under another.
    script()
        .parse(&a, "SELECT 'harmless'")
        .sync()
        .ask(&mut c)
        .await;
    script().object(b'C', b'S', &other).sync().ask(&mut c).await;
    script()
        .parse(&other, "SELECT 'other'")
        .sync()
        .ask(&mut c)
        .await;
    let m = script().bind("", &a).execute("").sync().ask(&mut c).await;
    assert!(!whole(&m).contains("other"), "{m:?}");
    // By SQL, whose scanner cuts names.
    script()
        .parse(&a, "SELECT 'harmless'")
        .sync()
        .ask(&mut c)
        .await;
    c.query(&format!("DEALLOCATE {x}")).await;
    c.query(&format!("PREPARE {x} AS SELECT 'other'")).await;
    let m = script().bind("", &a).execute("").sync().ask(&mut c).await;
    assert!(!whole(&m).contains("other"), "{m:?}");
    // Portals.
    let m = script()
        .parse("h", "SELECT 'harmless'")
        .parse("o", "SELECT 'other'")
        .bind(&a, "h")
        .object(b'C', b'P', &other)
        .bind(&other, "o")
        .execute(&a)
        .sync()
        .ask(&mut c)
        .await;
    assert!(!whole(&m).contains("other"), "{m:?}");

    // Each message is refused at its place; what comes after it in the batch is skipped.
    let head = || script().parse("", "SELECT 1");
    for (name, bad) in [
        ("parse", head().parse(&a, "SELECT 2")),
        ("bind statement", head().bind("", &a)),
        ("bind portal", head().bind(&a, "")),
        ("describe statement", head().object(b'D', b'S', &a)),
        ("describe portal", head().object(b'D', b'P', &a)),
        ("execute", head().execute(&a)),
        ("close statement", head().object(b'C', b'S', &a)),
        ("close portal", head().object(b'C', b'P', &a)),
    ] {
        let m = bad.run("SELECT 3").sync().ask(&mut c).await;
        assert_eq!(tags(&m), "1EZ", "{name}: {m:?}");
        assert_eq!(m[1].field(b'C'), "42622", "{name}");
    }
    c.query("DEALLOCATE ALL").await;
    // The longest name that is one.
    let m = script()
        .parse(&x, "SELECT 'fine'")
        .bind(&x, &x)
        .execute(&x)
        .object(b'C', b'P', &x)
        .object(b'C', b'S', &x)
        .sync()
        .ask(&mut c)
        .await;
    assert_eq!(tags(&m), "12DC33Z", "{m:?}");
    // The unnamed statement outlives a refused Parse under a long name.
    script().parse("", "SELECT 'kept'").sync().ask(&mut c).await;
    script().parse(&a, "SELECT 1").sync().ask(&mut c).await;
    let m = script().bind("", "").execute("").sync().ask(&mut c).await;
    assert!(whole(&m).contains("kept"), "{m:?}");
    // A database's name is cut by the server as well.
    let long = format!("db/{a}");
    let m = Client::connect(b.weir.addr, &long).await.err().unwrap();
    assert_eq!(m.field(b'C'), "42622", "{m:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_do_not_travel_in_reports() {
    let b = Bench::new("x_reports", labelled(), EMP);
    let mut c = b.client().await;
    // Planned when it is bound: stable functions run for the estimate.
    let wild = "SELECT 1 FROM orders WHERE id = ssn_of(1)::int";
    let m = script()
        .parse("", wild)
        .bind("", "")
        .sync()
        .ask(&mut c)
        .await;
    assert_eq!(tags(&m), "1EZ", "{m:?}");
    assert_eq!(m[1].field(b'C'), "22P02");
    let quiet = "SELECT 1 FROM orders WHERE id = tell(1)";
    let m = script()
        .parse("", quiet)
        .bind("", "")
        .sync()
        .ask(&mut c)
        .await;
    assert!(tags(&m).starts_with("1N"), "{m:?}");
    // A deferred constraint, wherever it is checked.
    let insert = "INSERT INTO deferred SELECT 1 FROM emp WHERE ssn = '111-22-3333'";
    for check in [
        "SET CONSTRAINTS ALL IMMEDIATE",
        "COMMIT",
        "PREPARE TRANSACTION 'p'",
    ] {
        c.query("BEGIN").await;
        let a = c.query(insert).await;
        assert_eq!(a.code(), "", "{a:?}");
        let a = c.query(check).await;
        assert_eq!(a.code(), "P0001", "{check}: {a:?}");
        c.query("ROLLBACK").await;
    }
    for check in ["SET CONSTRAINTS ALL IMMEDIATE", "COMMIT"] {
        let m = script()
            .run("BEGIN")
            .run(insert)
            .run(check)
            .sync()
            .ask(&mut c)
            .await;
        assert!(whole(&m).contains("P0001"), "{check}: {m:?}");
        c.query("ROLLBACK").await;
    }
    // At the Sync of an implicit transaction.
    let m = script().run(insert).sync().ask(&mut c).await;
    assert!(whole(&m).contains("P0001"), "{m:?}");
    // Everything the client has seen is on record, and none of it is a value.
    let seen = String::from_utf8_lossy(&b.memory.journal.to_client()).into_owned();
    assert!(!seen.contains(SECRET), "{seen}");

    // A session that touches nothing labelled reads its errors.
    let a = c.query("SELECT 'x'::int").await;
    assert!(a.error.as_ref().unwrap().1.contains("\"x\""), "{a:?}");
    let m = script().run("SELECT 'x'::int").sync().ask(&mut c).await;
    assert!(whole(&m).contains("invalid input syntax"), "{m:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn code_on_the_server_gives_names_no_other_meaning() {
    let b = Bench::new("x_code", labelled(), EMP);
    let mut c = b.client().await;
    let harmless = "SELECT 'x' || '' AS a";
    for gone in [
        "COMMIT AND CHAIN",
        "ROLLBACK TO s",
        "CLOSE c",
        "SELECT do_it('CLOSE c')",
    ] {
        c.query("BEGIN; SAVEPOINT s").await;
        let bound = script().parse("", harmless).bind("c", "");
        let m = bound.object(b'D', b'P', "c").sync().ask(&mut c).await;
        assert_eq!(tags(&m), "12TZ", "{gone}: {m:?}");
        c.query(gone).await;
        let a = c.query("SELECT open_it('c')").await;
        assert_eq!(a.code(), "", "{gone}: {a:?}");
        script().execute("c").sync().ask(&mut c).await;
        c.query("FETCH ALL FROM c").await;
        c.query("ROLLBACK").await;
    }
    // A prepared statement.
    let m = script()
        .parse("s", harmless)
        .object(b'D', b'S', "s")
        .sync()
        .ask(&mut c)
        .await;
    assert_eq!(tags(&m), "1tTZ", "{m:?}");
    for described in [false, true] {
        c.query("SELECT do_it('DEALLOCATE s')").await;
        c.query("SELECT do_it($$PREPARE s AS SELECT ssn || 'y' AS a FROM emp$$)")
            .await;
        let mut bind = script();
        if described {
            bind = bind.object(b'D', b'S', "s");
        }
        let m = bind.bind("", "s").execute("").sync().ask(&mut c).await;
        let expect = if described { "tT2DCZ" } else { "2DCZ" };
        assert_eq!(tags(&m), expect, "{m:?}");
        assert!(whole(&m).contains("x"), "{m:?}");
    }
    // It stays the client's through a failed transaction.
    c.query("BEGIN").await;
    c.query("SELECT do_it('SELECT 1')").await;
    c.query("SELECT 1/0").await;
    let m = script().bind("", "s").execute("").sync().ask(&mut c).await;
    assert_eq!(m[0].field(b'C'), "25P02", "{m:?}");
    script()
        .run("SELECT do_it('x')")
        .run("ROLLBACK")
        .sync()
        .ask(&mut c)
        .await;
    let both = script().query("ROLLBACK").bind("", "s").execute("").sync();
    both.send(&mut c).await;
    c.until_ready().await;
    assert_eq!(tags(&c.until_ready().await), "2DCZ");
    // A portal that runs such code itself goes on.
    let open = script().parse(
        "",
        "SELECT do_it('SELECT 1'), n FROM generate_series(1, 3) n",
    );
    c.query("BEGIN").await;
    let mut open = open.bind("own", "");
    for _ in 0..2 {
        encode::execute(&mut open.0, b"own", 1);
    }
    let m = open.sync().ask(&mut c).await;
    assert_eq!(tags(&m), "12DsDsZ", "{m:?}");
    let m = script().execute("own").sync().ask(&mut c).await;
    assert_eq!(tags(&m), "DCZ", "{m:?}");
    c.query("ROLLBACK").await;
    // What a rule shows, and what the server reports of settings.
    c.query("INSERT INTO ruled VALUES ('x')").await;
    script()
        .run("INSERT INTO ruled VALUES ('x')")
        .sync()
        .ask(&mut c)
        .await;
    let set = "SELECT do_it($$SELECT set_config('application_name', ssn, false) FROM emp \
               WHERE id = 1$$)";
    let m = script().query(set).ask(&mut c).await;
    assert!(!whole(&m).contains(SECRET), "{m:?}");
    let seen = String::from_utf8_lossy(&b.memory.journal.to_client()).into_owned();
    assert!(!seen.contains(SECRET), "{seen}");
}

/// What a text makes the server say, by its tags.
const KINDS: &[(&str, &str)] = &[
    ("", ""),
    ("SELECT 1", "SELECT 1"),
    ("VALUES (1), (2)", "SELECT 2"),
    ("TABLE t", "SELECT 0"),
    ("SELECT 1 FOR UPDATE", "SELECT 1"),
    ("SELECT 1 AS a INTO made1", "SELECT 1"),
    ("CREATE TABLE made2 AS SELECT 1 AS a", "SELECT 1"),
    (
        "CREATE TABLE IF NOT EXISTS made2 AS SELECT 1 AS a",
        "CREATE TABLE AS",
    ),
    (
        "CREATE TABLE made3 AS SELECT 1 AS a WITH NO DATA",
        "CREATE TABLE AS",
    ),
    ("CREATE MATERIALIZED VIEW m AS SELECT 1 AS a", "SELECT 1"),
    ("REFRESH MATERIALIZED VIEW m", "REFRESH MATERIALIZED VIEW"),
    ("INSERT INTO t VALUES (1)", "INSERT 0 1"),
    ("INSERT INTO t VALUES (1) RETURNING n", "INSERT 0 1"),
    ("UPDATE t SET n = 2", "UPDATE 2"),
    (
        "WITH d AS (DELETE FROM t RETURNING n) SELECT * FROM d",
        "SELECT 2",
    ),
    (
        "WITH i AS (INSERT INTO t VALUES (3)) DELETE FROM t",
        "DELETE 0",
    ),
    (
        "WITH i AS (SELECT 1 AS n) INSERT INTO t SELECT n FROM i",
        "INSERT 0 1",
    ),
    (
        "MERGE INTO t USING (SELECT 1 AS n) s ON t.n = s.n WHEN MATCHED THEN DELETE",
        "MERGE 1",
    ),
    // Rules: what was asked for counts, not what is done.
    ("INSERT INTO elsewhere VALUES (1)", "INSERT 0 0"),
    ("INSERT INTO noted VALUES (1)", "INSERT 0 1"),
    ("INSERT INTO nowhere VALUES (1)", "INSERT 0 0"),
    ("INSERT INTO shown VALUES (1)", "INSERT 0 0"),
    ("UPDATE elsewhere SET n = 2", "UPDATE 0"),
    ("DELETE FROM elsewhere", "DELETE 0"),
    ("UPDATE view SET n = 7", "UPDATE 5"),
    ("COPY t TO STDOUT", "COPY 5"),
    ("COPY (SELECT 1) TO STDOUT", "COPY 1"),
    ("PREPARE p AS SELECT 1", "PREPARE"),
    ("PREPARE q AS UPDATE t SET n = 3", "PREPARE"),
    ("EXECUTE p", "SELECT 1"),
    ("EXECUTE q", "UPDATE 5"),
    ("CREATE TABLE made4 AS EXECUTE p", "SELECT 1"),
    ("EXPLAIN SELECT 1", "EXPLAIN"),
    ("EXPLAIN ANALYZE EXECUTE q", "EXPLAIN"),
    ("EXPLAIN ANALYZE CREATE TABLE made5 AS SELECT 1", "EXPLAIN"),
    ("DEALLOCATE p", "DEALLOCATE"),
    ("DEALLOCATE ALL", "DEALLOCATE ALL"),
    ("SHOW work_mem", "SHOW"),
    ("SET work_mem = '8MB'", "SET"),
    ("RESET work_mem", "RESET"),
    ("DO $$BEGIN PERFORM 1; END$$", "DO"),
    ("CALL act()", "CALL"),
    ("CALL tells(1)", "CALL"),
    ("SELECT act2()", "SELECT 1"),
    ("LISTEN a", "LISTEN"),
    ("NOTIFY a", "NOTIFY"),
    ("UNLISTEN a", "UNLISTEN"),
    ("CREATE SCHEMA s CREATE TABLE u (a int)", "CREATE SCHEMA"),
    ("COMMENT ON TABLE t IS 'x'", "COMMENT"),
    ("GRANT SELECT ON t TO PUBLIC", "GRANT"),
    ("ALTER TABLE t ADD COLUMN b int", "ALTER TABLE"),
    ("TRUNCATE t", "TRUNCATE TABLE"),
    ("ANALYZE t", "ANALYZE"),
    ("VACUUM t", "VACUUM"),
    ("REINDEX TABLE t", "REINDEX"),
    ("CLUSTER", "CLUSTER"),
    ("DISCARD PLANS", "DISCARD PLANS"),
    ("BEGIN", "BEGIN"),
    ("LOCK TABLE t", "LOCK TABLE"),
    ("SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS"),
    ("SAVEPOINT a", "SAVEPOINT"),
    ("RELEASE a", "RELEASE"),
    (
        "DECLARE c CURSOR FOR SELECT generate_series(1, 5)",
        "DECLARE CURSOR",
    ),
    ("FETCH 2 FROM c", "FETCH 2"),
    ("MOVE 2 FROM c", "MOVE 2"),
    ("CLOSE c", "CLOSE CURSOR"),
    ("CLOSE ALL", "CLOSE CURSOR ALL"),
    ("SAVEPOINT b", "SAVEPOINT"),
    ("ROLLBACK TO b", "ROLLBACK"),
    ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
    ("ROLLBACK PREPARED 'x'", "ROLLBACK PREPARED"),
    ("START TRANSACTION READ ONLY", "START TRANSACTION"),
    ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET"),
    ("COMMIT AND CHAIN", "COMMIT"),
    ("SELECT 1/0", "!22012"),
    ("COMMIT", "ROLLBACK"),
    (
        "BEGIN; SELECT 1; INSERT INTO t VALUES (1); COMMIT",
        "BEGIN;SELECT 1;INSERT 0 1;COMMIT",
    ),
    ("; SELECT 1;; SELECT 2; ", "SELECT 1;SELECT 1"),
    ("DROP TABLE made1, made2, made3, made4", "DROP TABLE"),
    ("DISCARD ALL", "DISCARD ALL"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_fits_what_was_decided() {
    let setup = "CREATE TABLE t (n int);
        CREATE TABLE elsewhere (n int); CREATE TABLE noted (n int); CREATE TABLE nowhere (n int);
        CREATE TABLE shown (n int); CREATE VIEW view AS SELECT n FROM t;
        CREATE RULE i AS ON INSERT TO elsewhere DO INSTEAD UPDATE t SET n = 4;
        CREATE RULE u AS ON UPDATE TO elsewhere DO INSTEAD INSERT INTO t VALUES (5);
        CREATE RULE d AS ON DELETE TO elsewhere DO INSTEAD INSERT INTO t VALUES (6);
        CREATE RULE n AS ON INSERT TO noted DO ALSO INSERT INTO t VALUES (7);
        CREATE RULE w AS ON INSERT TO nowhere DO INSTEAD NOTHING;
        CREATE RULE s AS ON INSERT TO shown DO INSTEAD (SELECT 1; INSERT INTO t VALUES (8));
        CREATE PROCEDURE act() LANGUAGE sql AS 'INSERT INTO t VALUES (9)';
        CREATE PROCEDURE tells(INOUT n int) LANGUAGE plpgsql AS 'BEGIN n := 2; END';
        CREATE FUNCTION act2() RETURNS int LANGUAGE sql AS 'DELETE FROM t; SELECT 1';
        ALTER TABLE t OWNER TO weir; GRANT ALL ON ALL TABLES IN SCHEMA public TO weir;
        ALTER VIEW view OWNER TO weir";
    for extended in [false, true] {
        let database = if extended { "x_kinds_e" } else { "x_kinds_s" };
        let b = Bench::new(database, MemoryPolicy::permit_all(), setup);
        let mut c = b.client().await;
        for (sql, expect) in KINDS {
            // Several statements are for simple queries only.
            let several = sql.trim_matches([' ', ';']).contains(';') && !sql.contains("$$");
            let m = if extended && !several {
                script().run(sql).sync().ask(&mut c).await
            } else {
                script().query(sql).ask(&mut c).await
            };
            let last = m.last().map(|m| m.tag);
            assert_eq!(last, Some('Z'), "{sql}: the session ended: {m:?}");
            let a = Answer::from(m);
            let said = match &a.error {
                Some((code, _)) => format!("!{code}"),
                None => a.tags.join(";"),
            };
            // How many rows rules leave is not the question here.
            let word = |s: &str| s.split(' ').next().unwrap_or_default().to_owned();
            assert_eq!(word(&said), word(expect), "{sql}: {a:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sql_drops_is_dropped_here() {
    let pg = Postgres::shared();
    pg.database("x_drops");
    let memory = Memory::new(MemoryPolicy::permit_all());
    let mut o = options(target(pg), memory.ports());
    o.limits.max_names = 4;
    o.limits.max_named_bytes = 1 << 20;
    let weir = Weir::start(o);
    let mut c = Client::connect(weir.addr, "db/x_drops").await.unwrap();
    for (round, drops) in ["DEALLOCATE ALL", "DISCARD ALL", "one by one", "Close"]
        .into_iter()
        .enumerate()
    {
        for n in 0..4 {
            let m = script()
                .parse(&format!("s{n}"), "SELECT 1")
                .sync()
                .ask(&mut c)
                .await;
            assert_eq!(tags(&m), "1Z", "{round} {m:?}");
        }
        let m = script().parse("s5", "SELECT 1").sync().ask(&mut c).await;
        assert_eq!(m[0].field(b'C'), "54000");
        // The unnamed statement is not among them.
        script()
            .parse("", "SELECT 'unnamed'")
            .sync()
            .ask(&mut c)
            .await;
        if drops == "Close" || drops == "one by one" {
            for n in 0..4 {
                if drops == "Close" {
                    let name = format!("s{n}");
                    script().object(b'C', b'S', &name).sync().ask(&mut c).await;
                } else {
                    let sql = format!("DEALLOCATE s{n}");
                    assert_eq!(c.query(&sql).await.tags, ["DEALLOCATE"]);
                    script()
                        .parse("", "SELECT 'unnamed'")
                        .sync()
                        .ask(&mut c)
                        .await;
                }
            }
        } else {
            let m = script().bind("p", "s0").sync().ask(&mut c).await;
            assert_eq!(tags(&m), "2Z");
            c.query(drops).await;
            script()
                .parse("", "SELECT 'unnamed'")
                .sync()
                .ask(&mut c)
                .await;
        }
        let m = script().bind("", "").execute("").sync().ask(&mut c).await;
        assert!(whole(&m).contains("unnamed"), "{drops}: {m:?}");
    }
    // Cursors that SQL closes.
    c.query("BEGIN").await;
    for n in 0..12 {
        let p = format!("p{n}");
        let m = script()
            .parse("", "SELECT 1")
            .bind(&p, "")
            .sync()
            .ask(&mut c)
            .await;
        assert_eq!(tags(&m), "12Z", "{n} {m:?}");
        c.query(&if n % 3 == 2 {
            "CLOSE ALL".into()
        } else {
            format!("CLOSE {p}")
        })
        .await;
    }
    c.query("COMMIT").await;
    // Bytes count, too.
    let large = format!("SELECT 1 /* {} */", "x".repeat(300_000));
    for _ in 0..4 {
        let m = script().parse("a", &large).sync().ask(&mut c).await;
        assert_eq!(tags(&m), "1Z", "{m:?}");
        let m = script().parse("b", &large).sync().ask(&mut c).await;
        assert_eq!(m[0].field(b'C'), "54000", "{m:?}");
        let m = script()
            .parse("", &large)
            .object(b'C', b'S', "a")
            .sync()
            .ask(&mut c)
            .await;
        assert_eq!(tags(&m), "13Z", "{m:?}");
    }
}
