//! Statements and what they are said to do.

use super::{World, show};
use crate::catalog::tests::server::Server;

const SCHEMA: &str = "
CREATE TABLE emp (id int, name text, ssn text, pay int);
CREATE TABLE open (id int, note text);
CREATE SCHEMA hr; CREATE TABLE hr.emp (id int);
CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (9);
CREATE VIEW names AS SELECT id, name FROM emp;
CREATE FUNCTION f(int) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1';
CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1';
";

/// Code that others have made can write, whatever it is declared as.
#[test]
fn what_only_reads_runs_nobody_elses_code() {
    let schema = "
CREATE TABLE log (n int); CREATE TABLE t (n int, v text);
CREATE FUNCTION w(int) RETURNS int LANGUAGE sql VOLATILE
    AS 'INSERT INTO log VALUES ($1) RETURNING n';
CREATE FUNCTION s(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN w($1); END';
CREATE FUNCTION i(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN w($1); END';
CREATE FUNCTION same(int, text) RETURNS bool LANGUAGE plpgsql IMMUTABLE
    AS 'BEGIN RETURN w($1) IS NULL; END';
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = text, FUNCTION = same);
CREATE VIEW calls AS SELECT s(n) FROM t;
CREATE VIEW plain AS SELECT count(*), now() FROM t;
CREATE TABLE kept (n int); ALTER TABLE kept ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON kept USING (s(n) > 0);
CREATE AGGREGATE agg(int) (SFUNC = int4pl, STYPE = int, FINALFUNC = s);
CREATE SEQUENCE q;
";
    let server = Server::start("facts_reads");
    let mut client = server.connect();
    client.run(schema);
    let world = World::new(client.snapshot(), client.state());
    for (sql, expect) in [
        ("SELECT 1", true),
        ("SELECT n, lower(v) FROM t WHERE n = 1 ORDER BY v", true),
        ("SELECT * FROM plain", true),
        ("COPY t TO STDOUT", true),
        ("EXPLAIN DELETE FROM t", true),
        ("BEGIN", true),
        ("START TRANSACTION READ ONLY; SELECT 1", true),
        ("SELECT s(1)", false),
        ("SELECT i(1)", false),
        ("SELECT w(1)", false),
        ("SELECT agg(n) FROM t", false),
        ("SELECT n === v FROM t", false),
        ("SELECT * FROM calls", false),
        ("SELECT * FROM kept", false),
        ("COPY (SELECT s(1)) TO STDOUT", false),
        ("EXPLAIN SELECT i(1)", false),
        ("EXPLAIN ANALYZE DELETE FROM t", false),
        ("SELECT nextval('q')", false),
        ("SELECT set_config('work_mem', '1MB', false)", false),
        ("SELECT nope(1)", false),
        ("SELECT * FROM t FOR UPDATE", false),
        (
            "WITH d AS (DELETE FROM t RETURNING n) SELECT * FROM d",
            false,
        ),
        ("INSERT INTO t VALUES (1)", false),
        ("BEGIN; DELETE FROM t", false),
        ("SELECT 1; COMMIT", false),
        ("COMMIT", false),
        ("END", false),
        ("ROLLBACK", false),
        ("SAVEPOINT a", false),
        ("RELEASE a", false),
        ("PREPARE TRANSACTION 'x'", false),
        ("SET work_mem = '1MB'", false),
        ("COPY t FROM STDIN", false),
        ("DO $$BEGIN END$$", false),
        ("SELECT 1 INTO x", false),
        ("", false),
    ] {
        assert_eq!(world.analyse(sql).facts.only_reads, expect, "{sql}");
    }
}

const TABLE: &[(&str, &str)] = &[
    ("", "empty session:db"),
    ("-- nothing", "empty session:db"),
    (";;", "empty session:db"),
    ("SELECT 1", "select session:db"),
    (
        "SELECT count(*), now() FROM open",
        "select select:public.open",
    ),
    (
        "SELECT * FROM emp LIMIT 10",
        "select select:public.emp+ limit=10",
    ),
    ("SELECT * FROM open LIMIT ALL", "select select:public.open"),
    ("SELECT * FROM EMP", "select select:public.emp+"),
    ("SELECT * FROM \"EMP\"", "select select:public.EMP?"),
    ("SELECT * FROM U&\"\\0065mp\"", "select select:public.emp+"),
    ("SELECT * FROM hr.emp", "select select:hr.emp"),
    (
        "SELECT * FROM names",
        "select select:public.emp+ select:public.names",
    ),
    ("SELECT * FROM part", "select select:public.part"),
    (
        "SELECT * FROM pg_class",
        "select select:pg_catalog.pg_class",
    ),
    ("SELECT f(1)", "select call:public.f() writes"),
    ("SELECT nope(1)", "select call:public.nope()?"),
    (
        "SELECT pg_read_file('x')",
        "select call:pg_catalog.pg_read_file()! writes",
    ),
    (
        "SELECT query_to_xml('select 1',true,true,'')",
        "select call:pg_catalog.query_to_xml()! writes",
    ),
    (
        "WITH emp AS (SELECT 1 AS a) SELECT * FROM emp",
        "select session:db",
    ),
    (
        "WITH x AS (SELECT * FROM emp), emp AS (SELECT 1) SELECT * FROM x",
        "select select:public.emp+",
    ),
    (
        "WITH RECURSIVE x AS (SELECT * FROM emp), emp AS (SELECT 1) SELECT * FROM x",
        "select session:db",
    ),
    (
        "WITH emp AS (SELECT 1) SELECT * FROM public.emp",
        "select select:public.emp+",
    ),
    (
        "WITH d AS (DELETE FROM open RETURNING *) SELECT * FROM d",
        "delete delete:public.open no-where writes",
    ),
    (
        "SELECT * FROM open FOR UPDATE",
        "select select:public.open locks",
    ),
    (
        "INSERT INTO open VALUES (1, 'x')",
        "insert insert:public.open writes",
    ),
    (
        "INSERT INTO open SELECT id, name FROM emp",
        "insert select:public.emp+ insert:public.open writes",
    ),
    (
        "INSERT INTO open SELECT id, ssn FROM emp",
        "insert select:public.emp+ insert:public.open writes UNMASKABLE",
    ),
    (
        "INSERT INTO open(note) VALUES ((SELECT ssn FROM emp))",
        "insert select:public.emp+ insert:public.open writes UNMASKABLE",
    ),
    (
        "UPDATE open SET note = 'x'",
        "update update:public.open no-where writes",
    ),
    (
        "UPDATE emp SET name = 'x' WHERE ssn = '1'",
        "update select:public.emp+ update:public.emp+ writes",
    ),
    (
        "UPDATE emp SET name = ssn WHERE id = 1",
        "update select:public.emp+ update:public.emp+ writes UNMASKABLE",
    ),
    (
        "UPDATE emp SET (name, id) = (SELECT ssn, 1) WHERE id = 1",
        "update select:public.emp+ update:public.emp+ writes UNMASKABLE",
    ),
    (
        "DELETE FROM emp",
        "delete delete:public.emp+ no-where writes",
    ),
    (
        "MERGE INTO open o USING emp e ON o.id = e.id WHEN MATCHED THEN UPDATE SET note = e.ssn",
        "merge select:public.emp+ select:public.open merge:public.open writes UNMASKABLE",
    ),
    (
        "INSERT INTO open VALUES (1) ON CONFLICT (id) DO UPDATE SET note = excluded.note",
        "insert insert:public.open update:public.open writes",
    ),
    ("TRUNCATE emp", "delete truncate:public.emp+ writes"),
    (
        "CREATE TABLE n AS SELECT id FROM emp",
        "ddl select:public.emp+ create:public.* writes",
    ),
    (
        "CREATE TABLE n AS SELECT * FROM emp",
        "ddl select:public.emp+ create:public.* writes UNMASKABLE",
    ),
    (
        "CREATE TABLE n AS TABLE emp",
        "ddl select:public.emp+ create:public.* writes UNMASKABLE",
    ),
    (
        "SELECT ssn INTO n FROM emp",
        "ddl select:public.emp+ create:public.* writes UNMASKABLE",
    ),
    (
        "SELECT ssn AS x INTO n FROM emp UNION SELECT 'x'",
        "ddl select:public.emp+ create:public.* writes UNMASKABLE",
    ),
    (
        "CREATE VIEW v AS SELECT ssn FROM emp",
        "ddl select:public.emp+ create:public.* writes UNMASKABLE",
    ),
    (
        "CREATE MATERIALIZED VIEW v AS SELECT upper(ssn) FROM emp",
        "ddl select:public.emp+ create:public.* writes UNMASKABLE",
    ),
    ("CREATE TABLE hr.n (a int)", "ddl create:hr.* writes"),
    ("CREATE TEMP TABLE n (a int)", "ddl create:pg_temp.* writes"),
    (
        "ALTER TABLE emp ADD COLUMN x int",
        "ddl alter:public.emp+ writes",
    ),
    (
        "ALTER TABLE emp RENAME ssn TO x",
        "ddl alter:public.emp+ writes UNMASKABLE",
    ),
    (
        "ALTER TABLE emp ALTER name TYPE text USING ssn",
        "ddl alter:public.emp+ writes UNMASKABLE",
    ),
    (
        "ALTER TABLE emp ADD g text GENERATED ALWAYS AS (ssn) STORED",
        "ddl alter:public.emp+ writes UNMASKABLE",
    ),
    (
        "ALTER TABLE emp SET SCHEMA hr",
        "ddl alter:public.emp+ create:hr.* writes UNMASKABLE",
    ),
    (
        "DROP TABLE emp, nope",
        "ddl drop:public.emp+ drop:public.nope? writes",
    ),
    ("DROP SCHEMA hr CASCADE", "ddl drop:hr.* writes"),
    (
        "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS 'select 1'",
        "ddl create:public.* writes UNMASKABLE",
    ),
    (
        "CREATE RULE r AS ON INSERT TO open DO ALSO SELECT 1",
        "ddl alter:public.open writes UNMASKABLE",
    ),
    ("GRANT SELECT ON emp TO public", "dcl utility:db writes"),
    (
        "GRANT EXECUTE ON FUNCTION f(int, text) TO public",
        "dcl utility:db writes",
    ),
    (
        "REVOKE ALL ON PROCEDURE p(numeric(9, 2)) FROM public",
        "dcl utility:db writes",
    ),
    (
        "GRANT USAGE ON SCHEMA public TO me WITH GRANT OPTION",
        "dcl utility:db writes",
    ),
    (
        "GRANT SELECT ON LARGE OBJECT 1 TO me",
        "dcl utility:db writes",
    ),
    (
        "GRANT SET ON PARAMETER work_mem TO me",
        "dcl utility:db writes",
    ),
    ("GRANT USAGE ON TYPE mood TO me", "dcl utility:db writes"),
    (
        "GRANT USAGE ON FOREIGN SERVER s TO me",
        "dcl utility:db writes",
    ),
    ("GRANT SELECT (id) ON emp TO me", "dcl utility:db writes"),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO me",
        "dcl utility:db writes",
    ),
    (
        "VACUUM emp",
        "utility utility:public.emp+ utility:db writes",
    ),
    ("LISTEN x", "utility utility:db writes"),
    (
        "DO $$ BEGIN END $$",
        "call utility:db writes NOT-PARSED UNMASKABLE",
    ),
    ("CALL p()", "call call:public.p() writes"),
    ("COPY emp TO STDOUT", "copy copy_out:public.emp+"),
    (
        "COPY emp (id, name) TO STDOUT (FORMAT csv)",
        "copy copy_out:public.emp+",
    ),
    (
        "COPY emp TO STDOUT (FORMAT binary)",
        "copy copy_out:public.emp+",
    ),
    (
        "COPY (SELECT ssn FROM emp) TO STDOUT",
        "copy select:public.emp+ copy_out:public.emp+ UNMASKABLE",
    ),
    (
        "COPY (SELECT id FROM emp) TO STDOUT",
        "copy select:public.emp+ copy_out:public.emp+",
    ),
    (
        "COPY emp TO PROGRAM 'x'",
        "copy copy_out:public.emp+ utility:db writes UNMASKABLE",
    ),
    ("COPY open FROM STDIN", "copy insert:public.open writes"),
    (
        "COPY open FROM '/etc/passwd'",
        "copy insert:public.open utility:db writes UNMASKABLE",
    ),
    (
        "COPY open FROM STDIN; DROP TABLE emp; SELECT 1",
        "ddl insert:public.open drop:public.emp+ session:db multi writes",
    ),
    ("BEGIN; SELECT 1; COMMIT", "select session:db multi"),
    ("EXPLAIN DELETE FROM open", "select select:public.open"),
    (
        "EXPLAIN ANALYZE DELETE FROM open",
        "delete delete:public.open no-where writes",
    ),
    (
        "EXPLAIN (ANALYZE off) DELETE FROM open",
        "select select:public.open",
    ),
    (
        "EXPLAIN (ANALYZE on, ANALYZE off) DELETE FROM open",
        "delete delete:public.open no-where writes",
    ),
    (
        "PREPARE a AS SELECT * FROM emp",
        "session session:db select:public.emp+",
    ),
    ("EXECUTE unknown", "unknown session:db NOT-PARSED"),
    ("FETCH ALL FROM unknown", "session session:db"),
    (
        "DECLARE c CURSOR FOR SELECT * FROM emp",
        "session session:db select:public.emp+",
    ),
    ("SHOW search_path", "session session:db"),
    ("SET search_path = hr", "session session:db"),
    (
        "SET search_path = hr; SELECT * FROM emp",
        "select session:db select:public.emp+ select:hr.emp multi",
    ),
    ("SET client_encoding = 'SJIS'", "session session:db REFUSED"),
    ("SET NAMES 'UTF8'", "session session:db"),
    (
        "SET standard_conforming_strings = off",
        "session session:db REFUSED",
    ),
    (
        "SET ROLE Postgres",
        "session assume_role:role postgres session:db",
    ),
    (
        "SET LOCAL ROLE 'None'",
        "session assume_role:role None session:db",
    ),
    ("SET ROLE NONE", "session session:db"),
    ("RESET ROLE", "session session:db"),
    (
        "SET SESSION AUTHORIZATION x",
        "session assume_role:role x session:db",
    ),
    ("SET SESSION AUTHORIZATION DEFAULT", "session session:db"),
    (
        "SELECT set_config('ROLE', 'x', true)",
        "select assume_role:role x session:db",
    ),
    (
        "SELECT set_config('role', $1, true)",
        "select call:pg_catalog.set_config()! writes REFUSED",
    ),
    // Whose names they are is not known.
    (
        "SET ROLE x; SELECT * FROM emp",
        "select assume_role:role x session:db select:public.emp+ select:hr.emp multi",
    ),
    (
        "RESET ROLE; SELECT * FROM emp",
        "select session:db select:public.emp+ select:hr.emp multi",
    ),
    ("SET row_security = off", "session session:db"),
    (
        "SET client_min_messages = debug5",
        "session session:db REFUSED",
    ),
    (
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL",
        "select session:db multi",
    ),
    ("DISCARD ALL", "session session:db"),
    ("SELECT set_config('my.x', 'y', false)", "select session:db"),
    (
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "select session:db",
    ),
    (
        "SELECT set_config('client_encoding', 'SJIS', false)",
        "select call:pg_catalog.set_config()! writes REFUSED",
    ),
    (
        "SELECT hr.set_config('my.x', 'y', false)",
        "select call:hr.set_config()?! UNMASKABLE",
    ),
    (
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'my.x'",
        "select select:pg_catalog.pg_settings session:db",
    ),
    (
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'role'",
        "select select:pg_catalog.pg_settings assume_role:role x session:db",
    ),
    (
        "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name <> 'my.x'",
        "select select:pg_catalog.pg_settings call:pg_catalog.set_config()! writes REFUSED",
    ),
    (
        "SELECT set_config(note, 'x', false) FROM open WHERE note = 'my.x'",
        "select select:public.open call:pg_catalog.set_config()! writes REFUSED",
    ),
    ("PREPARE TRANSACTION 'x'", "transaction utility:db writes"),
    ("COMMIT PREPARED 'x'", "transaction utility:db writes"),
    ("ROLLBACK PREPARED 'x'", "transaction utility:db writes"),
    (
        "SELECT setseed(length(ssn)) FROM emp",
        "select select:public.emp+ call:pg_catalog.setseed() writes UNMASKABLE",
    ),
    (
        "SELECT pg_advisory_lock(length(ssn)) FROM emp",
        "select select:public.emp+ call:pg_catalog.pg_advisory_lock() writes UNMASKABLE",
    ),
    (
        "SELECT setval('s', pay) FROM emp",
        "select select:public.emp+ call:pg_catalog.setval() writes UNMASKABLE",
    ),
    (
        "SELECT * FROM pg_prepared_xact()",
        "select call:pg_catalog.pg_prepared_xact()",
    ),
    (
        "SELECT pg_stat_get_backend_activity(1), version()",
        "select call:pg_catalog.pg_stat_get_backend_activity()",
    ),
    (
        "UPDATE open SET note = 'x' WHERE true",
        "update select:public.open update:public.open no-where writes",
    ),
    (
        "DELETE FROM open WHERE 1 = 1 OR id = 2",
        "delete select:public.open delete:public.open no-where writes",
    ),
    (
        "INSERT INTO open SELECT id, name FROM emp ON CONFLICT (id) DO UPDATE SET note = 'x'",
        "insert select:public.emp+ insert:public.open update:public.open no-where writes",
    ),
    (
        "INSERT INTO emp VALUES (1) ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn",
        "insert insert:public.emp+ update:public.emp+ writes",
    ),
    (
        "UPDATE emp SET ssn = lower(ssn) WHERE id = 1",
        "update select:public.emp+ update:public.emp+ writes",
    ),
    (
        "INSERT INTO emp (id, ssn) SELECT id, trim(ssn) FROM emp",
        "insert select:public.emp+ insert:public.emp+ writes",
    ),
    (
        "INSERT INTO emp (id, name) SELECT id, trim(ssn) FROM emp",
        "insert select:public.emp+ insert:public.emp+ writes UNMASKABLE",
    ),
    (
        "INSERT INTO emp (id, ssn) SELECT id, ssn FROM emp ON CONFLICT (id) DO UPDATE SET name = excluded.ssn",
        "insert select:public.emp+ insert:public.emp+ update:public.emp+ no-where writes UNMASKABLE",
    ),
    (
        "SELECT hr.x(1",
        "unknown utility:db no-where locks writes NOT-PARSED UNMASKABLE REFUSED",
    ),
    (
        "SELECT set_config('ROLE', 'postgres', false)",
        "select assume_role:role postgres session:db",
    ),
    (
        "SELECT set_config('ro'||'le', 'postgres', false)",
        "select call:pg_catalog.set_config()! writes REFUSED",
    ),
    (
        "SELECT set_config('my.x', ssn, false) FROM emp",
        "select select:public.emp+ call:pg_catalog.set_config()! writes UNMASKABLE REFUSED",
    ),
    (
        "SELECT pg_notify('c', ssn) FROM emp",
        "select select:public.emp+ call:pg_catalog.pg_notify() writes UNMASKABLE",
    ),
    (
        "SELECT pg_notify('c', 'x')",
        "select call:pg_catalog.pg_notify() writes",
    ),
    (
        "SELECT setval('s', 1)",
        "select call:pg_catalog.setval() writes",
    ),
    (
        "SELECT nextval('s')",
        "select call:pg_catalog.nextval() writes",
    ),
    (
        "SELECT pg_advisory_lock(1)",
        "select call:pg_catalog.pg_advisory_lock() writes",
    ),
    ("SELECT pg_advisory_unlock(1)", "select session:db"),
    (
        "SELECT 'a\\'; DROP TABLE emp; --'",
        "unknown utility:db no-where locks writes NOT-PARSED UNMASKABLE REFUSED",
    ),
    (
        "SELEC 1",
        "unknown utility:db no-where locks writes NOT-PARSED UNMASKABLE REFUSED",
    ),
    (
        "SELECT 1 === 2 FROM emp TABLESAMPLE evil(1)",
        "select select:public.emp+ NOT-PARSED",
    ),
    (
        "ALTER SYSTEM SET work_mem = 1",
        "utility utility:db writes UNMASKABLE",
    ),
];

#[test]
fn statements() {
    let server = Server::start("facts");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    client.run("CREATE TEMP TABLE tmp (a int)");
    let own = World::new(client.snapshot(), client.state());
    for sql in ["SELECT * FROM tmp", "SELECT * FROM pg_temp.tmp"] {
        let shown = show(&own.analyse(sql));
        assert!(
            shown.starts_with("select select:pg_temp_") && shown.ends_with(".tmp"),
            "{shown}"
        );
    }
    let mut wrong = Vec::new();
    for (sql, expect) in TABLE {
        let got = show(&world.analyse(sql));
        if got != *expect {
            wrong.push(format!("{sql}\n   got {got}\n  want {expect}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
