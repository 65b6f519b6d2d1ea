//! B21–B35: values that do not come back as a result's columns.

use weir_tests::wire::{Client, Reply, frame};

use super::defence::{FAILED, HARMLESS, MASKED, NULLED, PINNED, REDACTED, REFUSED};
use super::protocol::started;
use super::run::Scene;
use super::{Row, row, wire};
use crate::vaults::{Mode, ask};

const M: super::Defence = MASKED;
const N: super::Defence = NULLED;
const R: super::Defence = REFUSED;
const D: super::Defence = REDACTED;
const P: super::Defence = PINNED;
const ANY: super::Defence = MASKED.or(NULLED).or(REFUSED).or(REDACTED);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    // B21: COPY to the client.
    row("B21", M, &["COPY people TO STDOUT"]),
    row("B21", M, &["COPY people (id, ssn) TO STDOUT"]),
    row("B21", M.or(R), &["COPY (SELECT ssn AS id FROM people) TO STDOUT"]),
    row("B21", M.or(R), &["COPY (SELECT upper(ssn), salary FROM people) TO STDOUT"]),
    row("B21", M, &["COPY people TO STDOUT (FORMAT csv)"]),
    row("B21", M, &["COPY people TO STDOUT WITH CSV HEADER FORCE QUOTE *"]),
    row("B21", M, &["COPY people TO STDOUT (FORMAT binary)"]),
    row("B21", M, &["COPY BINARY people TO STDOUT"]),
    row("B21", M, &["COPY people TO STDOUT (DELIMITER '|')"]),
    row("B21", R, &["COPY people TO STDOUT (NULL 'x')"]),
    row("B21", M, &["COPY people TO STDOUT (HEADER)"]),
    row("B21", R.or(M), &["COPY people TO STDOUT (ENCODING 'LATIN1')"]),
    row("B21", M, &["COPY people (name, ssn, born) TO STDOUT (FORMAT csv, DELIMITER ';', QUOTE '''', ESCAPE '#', NULL 'nothing')"]),
    row("B21", M, &["COPY (SELECT upper(ssn), md5(ssn) FROM people) TO STDOUT (FORMAT csv, FORCE_QUOTE *, HEADER)"]),
    row("B21", M, &["COPY (SELECT upper(ssn), salary / 10, ARRAY[ssn] FROM people) TO STDOUT (FORMAT binary)"]),
    row("B21", M, &["COPY (SELECT ssn AS name, id FROM people) TO STDOUT (FORMAT binary)"]),
    row("B21", M, &["COPY (SELECT coalesce(a.notes, b.ssn) FROM people a, people b) TO STDOUT (FORMAT csv)"]),
    row("B21", M.or(N), &["COPY (SELECT name FROM people UNION ALL SELECT ssn FROM people) TO STDOUT CSV"]),
    row("B21", M, &["COPY people TO STDOUT (FORMAT csv, NULL 1)"]),
    row("B21", M.or(R), &["COPY people TO STDOUT (FORMAT csv, NULL 1.5, DELIMITER 7)"]),
    row("B21", M, &["COPY (SELECT name, ssn, born FROM people) TO STDOUT WITH (FORMAT csv, NULL 1, HEADER 1)"]),
    row("B21", R, &["COPY people (id, ssn) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"]),
    row("B21", R, &["COPY (SELECT ssn FROM people) TO STDOUT (FORMAT text, NULL 'q')"]),
    row("B21", M, &["COPY events_2025 TO STDOUT"]),
    row("B21", M, &["COPY vehicles TO STDOUT"]),
    row("B21", M.or(R), &["COPY (TABLE staff_codes) TO STDOUT"]),
    row("B21", R.or(FAILED).or(M), &["COPY people_copy TO STDOUT"]).since(18),
    row("B21", M.or(R), &["COPY (UPDATE people SET notes = notes WHERE id = 1 RETURNING ssn) TO STDOUT"]),
    row("B21", R, &["COPY people TO STDOUT; COPY orders TO STDOUT"]).simple(),
    row("B21", M.or(R), &["SELECT 1; COPY people TO STDOUT; SELECT 2"]).simple(),
    row("B21", M.or(N).or(R), &["COPY (SELECT p FROM people p) TO STDOUT"]),

    // B22: files, programs, other servers.
    row("B22", R, &["COPY people TO '/tmp/weir-leak-{n}-{port}'", "SELECT pg_read_file('/tmp/weir-leak-{n}-{port}')"]).alone(),
    row("B22", R, &["COPY (SELECT ssn FROM people) TO PROGRAM 'cat > /tmp/weir-leak-p{n}-{port}'", "SELECT pg_read_file('/tmp/weir-leak-p{n}-{port}')"]).alone(),
    row("B22", R, &["COPY scratch (note) FROM PROGRAM 'echo hi'"]).inert("nothing of the vault"),
    row("B22", R, &["SELECT pg_read_file('PG_VERSION'), pg_ls_dir('.')"]).inert("nothing of the vault"),
    row("B22", R, &["CHECKPOINT", "SELECT pg_read_binary_file(pg_relation_filepath('people'))"]).alone(),
    row("B22", R, &["SELECT lo_import('/etc/hostname'), (SELECT ssn FROM people WHERE id = 1)"]),
    row("B22", R, &["CREATE EXTENSION file_fdw"]).alone().inert("nothing of the vault"),
    row("B22", R, &["CREATE EXTENSION postgres_fdw", "CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname '{db}')", "CREATE USER MAPPING FOR CURRENT_USER SERVER loop OPTIONS (user 'postgres', password_required 'false')", "CREATE FOREIGN TABLE far{n} (ssn text) SERVER loop OPTIONS (table_name 'people')", "SELECT ssn FROM far{n}"]).alone(),
    row("B22", R, &["COPY scratch (note) FROM PROGRAM 'psql -XAtw -h 127.0.0.1 -p {port} -U postgres -d {db} -c \"SELECT id + {n}000 || ssn FROM people\"'", "SELECT note FROM scratch"]).alone(),
    row("B22", R, &["CREATE EXTENSION dblink"]).alone().inert("nothing of the vault"),
    row("B22", R, &["CREATE FOREIGN DATA WRAPPER w{n}"]).inert("nothing of the vault"),
    row("B22", R, &["CREATE SERVER s{n} FOREIGN DATA WRAPPER postgres_fdw"]).inert("nothing of the vault"),
    row("B22", R, &["CREATE SUBSCRIPTION s{n} CONNECTION 'host=127.0.0.1' PUBLICATION p WITH (connect = false)"]).inert("nothing of the vault"),
    row("B22", R, &["CREATE PUBLICATION p{n} FOR TABLE people"]).inert("nobody subscribes"),
    row("B22", R, &["LOAD 'auto_explain'"]).inert("nothing of the vault"),

    // B23: errors that quote values.
    row("B23", R, &["SELECT ssn::integer FROM people"]),
    row("B23", R, &["SELECT ssn::date FROM people WHERE id = 2"]),
    row("B23", R, &["SELECT ssn::uuid, ssn::inet FROM people"]),
    row("B23", R, &["SELECT ssn::json FROM people"]),
    row("B23", R, &["SELECT ('\"' || ssn)::json FROM people"]),
    row("B23", R, &["SELECT ssn::xml FROM people"]),
    row("B23", R, &["SELECT ('<' || ssn)::xml FROM people"]),
    row("B23", R, &["SELECT ssn::regclass FROM people"]),
    row("B23", R, &["SELECT to_regclass(ssn), ssn::regproc FROM people"]),
    row("B23", R, &["SELECT to_date(ssn, 'YYYY') FROM people"]),
    row("B23", R, &["SELECT ssn::point, ssn::int[] FROM people"]),
    row("B23", R, &["SELECT ssn::grade FROM people"]),
    row("B23", R, &["SELECT (salary * 1000)::smallint FROM people"]).inert("the text does not quote it"),
    row("B23", D.or(R), &["SELECT id FROM people WHERE ssn::integer > 0"]),
    row("B23", D.or(R), &["SELECT id FROM people ORDER BY ssn::date"]),
    row("B23", D.or(R), &["INSERT INTO depts (id, name, floor) SELECT 90, 'x', ssn::integer FROM people"]),
    row("B23", D, &["UPDATE people SET city = NULL WHERE id = 1"]),
    row("B23", D, &["UPDATE people SET salary = -1 WHERE id = 1"]),
    row("B23", D.or(R), &["UPDATE people SET ssn = 'same'"]).inert("the value is given"),
    row("B23", D.or(R), &["INSERT INTO badges SELECT code, person_id, color FROM badges"]),
    row("B23", D.or(R), &["UPDATE visits SET badge = 'none' WHERE id = 1"]).inert("the value is given"),
    row("B23", D.or(R), &["DELETE FROM badges WHERE person_id = 2"]),
    row("B23", D, &["UPDATE events SET at = '2030-01-01' WHERE id = 1"]).inert("the text quotes the key only"),
    row("B23", D.or(R), &["ALTER TABLE events ALTER COLUMN payload TYPE integer USING payload::integer"]),
    row("B23", D.or(R), &["ALTER TABLE people ADD CONSTRAINT c{n} CHECK (salary < 0)"]).inert("the text does not quote it"),
    row("B23", D.or(R), &["CREATE UNIQUE INDEX i{n} ON people ((left(ssn, 1)))"]),
    row("B23", D.or(R), &["ALTER TABLE badges ADD FOREIGN KEY (code) REFERENCES depts (name)"]),
    row("B23", D.or(R), &["CREATE TABLE part{n} (LIKE people) PARTITION BY LIST (ssn)", "INSERT INTO part{n} SELECT * FROM people"]),
    row("B23", D.or(R), &["SELECT fail(1)"]),
    row("B23", D.or(R), &["SELECT fail(id) FROM depts"]),
    row("B23", D.or(R), &["SELECT 1 / (ascii(ssn) - ascii(ssn)) FROM people"]).inert("the text does not quote it"),
    row("B23", D.or(R), &["SELECT set_config('TimeZone', ssn, true) FROM people"]),
    row("B23", R, &["SELECT repeat(ssn, 100000000) FROM people"]).inert("the text does not quote it"),
    row("B23", R, &["SELECT jsonb_path_query(doc, 'strict $.none') FROM people"]).inert("the text does not quote it"),
    row("B23", R, &["SELECT encode(blob, ssn) FROM people"]),
    row("B23", R, &["SELECT date_part(ssn, born) FROM people"]),
    row("B23", R, &["SELECT to_timestamp(ssn, 'YYYY'), to_number(ssn, '9') FROM people"]),
    row("B23", R, &["SELECT regexp_match('a', ssn || '(') FROM people"]).inert("the text does not quote it"),
    row("B23", R, &["SELECT JSON_VALUE(doc, '$.key' RETURNING integer ERROR ON ERROR) FROM people"]).since(17),

    // B24: notices.
    row("B24", D.or(R), &["SELECT say(1)"]),
    row("B24", D.or(R), &["SELECT say(id) FROM depts"]),
    row("B24", R, &["DO $$ BEGIN RAISE NOTICE '%', (SELECT ssn FROM people WHERE id = 1); END $$"]),
    row("B24", R, &["DO $$ DECLARE v text; BEGIN SELECT ssn INTO v FROM people WHERE id = 2; RAISE EXCEPTION '%', v; END $$"]),
    row("B24", R, &["DO LANGUAGE plpgsql 'BEGIN ASSERT false, (SELECT ssn FROM people WHERE id = 2); END'"]),
    row("B24", PINNED, &["SET client_min_messages = debug5", "SELECT 1 FROM people WHERE id = 1"]).inert("nothing of the vault"),
    row("B24", PINNED.or(R), &["SET LOCAL client_min_messages TO 'debug1'"]).inert("nothing of the vault"),
    row("B24", P, &["SET auto_explain.log_analyze = on", "SELECT set_config('client_min_messages', 'log', false)"]).inert("nothing of the vault"),
    row("B24", P, &["SET debug_print_plan = on", "SELECT set_config('client_min_messages', 'debug1', false)", "SELECT ssn FROM people WHERE id = 1"]).alone(),
    row("B24", P, &["SET log_statement_stats = on", "SET client_min_messages = log", "SELECT 1"]),

    // B25: notifications.
    row("B25", R, &["LISTEN ears", "SELECT pg_notify('ears', ssn) FROM people WHERE id = 1", "SELECT 1"]).alone(),
    row("B25", R, &["SELECT pg_notify(ssn, '') FROM people WHERE id = 1"]).inert("nobody listens"),
    row("B25", ANY, &["LISTEN ears", "SELECT tell(1)", "SELECT 1"]).alone(),
    wire("B25", ANY, "another session listens while one notifies", overheard),
    row("B25", R, &["NOTIFY ears, 'a constant'", "SELECT pg_notify('ears', (SELECT code FROM staff_codes WHERE id = 1))"]).inert("nobody listens"),
    row("B25", R, &["SELECT pg_logical_emit_message(false, 'x', ssn) FROM people"]),

    // B26: settings as storage.
    row("B26", R, &["SELECT set_config('application_name', ssn, false) FROM people WHERE id = 1", "SHOW application_name"]).alone(),
    row("B26", R, &["SELECT set_config('my.x', ssn, false) FROM people WHERE id = 1", "SELECT current_setting('my.x')"]).alone(),
    row("B26", R, &["SELECT set_config('my.x', max(ssn), true) FROM people", "SHOW my.x"]),
    row("B26", R, &["SELECT set_config('my.x', code, false) FROM staff_codes LIMIT 1", "SELECT * FROM pg_settings WHERE name = 'my.x'"]).alone(),
    row("B26", R, &["UPDATE pg_settings SET setting = (SELECT ssn FROM people WHERE id = 1) WHERE name = 'application_name'", "SHOW application_name"]).alone(),
    row("B26", R, &["SELECT set_config(x, ssn, false) FROM people, (VALUES ('my.y')) v (x)", "SHOW my.y"]).alone(),
    row("B26", R.or(HARMLESS), &["ALTER ROLE other SET application_name = 'x'", "ALTER SYSTEM SET application_name = 'x'"]).alone().inert("the value is a constant"),

    // B27: sequences and locks.
    row("B27", R, &["SELECT setval('counter', salary) FROM people WHERE id = 1", "SELECT last_value FROM counter"]).alone(),
    row("B27", R, &["SELECT setval('counter', (SELECT salary FROM people WHERE id = 2))", "SELECT nextval('counter'), currval('counter'), lastval()"]).alone(),
    row("B27", R, &["SELECT pg_advisory_lock(salary) FROM people WHERE id = 1", "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory'"]).alone(),
    row("B27", R, &["SELECT pg_try_advisory_xact_lock(salary, id) FROM people", "SELECT classid, objid FROM pg_locks WHERE locktype = 'advisory'"]),
    row("B27", R, &["SELECT setseed(1.0 / salary) FROM people WHERE id = 1"]).inert("random() would tell it"),
    row("B27", R, &["ALTER SEQUENCE counter RESTART", "SELECT nextval('counter') FROM people WHERE vip", "SELECT last_value FROM counter"]).alone(),
    row("B27", R, &["SELECT CASE WHEN vip THEN nextval('counter') END FROM people", "SELECT last_value FROM counter"]).alone(),

    // B28: large objects and function calls by number.
    row("B28", R, &["SELECT lo_from_bytea(4242{n}, ssn::bytea) FROM people WHERE id = 1", "SELECT lo_get(4242{n})"]),
    row("B28", R, &["SELECT lo_put(lo_create(0), 0, blob) FROM people WHERE id = 1", "SELECT data FROM pg_largeobject"]),
    row("B28", R, &["SELECT lo_export(1, '/tmp/x')"]).inert("there is none"),
    wire("B28", R, "FunctionCall of a user's function", |scene| called(scene, "ssn_of(integer)", &1_i32.to_be_bytes())),
    wire("B28", R, "FunctionCall of query_to_xml's kin", |scene| called(scene, "table_to_xml(regclass,boolean,boolean,text)", &[])).inert("arguments are missing"),

    // B29: functions that run texts or read relations by name.
    row("B29", R, &["SELECT query_to_xml('SELECT ssn FROM people', true, true, '')"]),
    row("B29", R, &["SELECT xpath('//ssn/text()', query_to_xml('SELECT ssn FROM people', true, false, ''))"]),
    row("B29", R, &["SELECT table_to_xml('people', true, true, '')"]),
    row("B29", R, &["SELECT pg_catalog.table_to_xml('public.people'::regclass, false, false, '')"]),
    row("B29", R, &["SELECT schema_to_xml('public', true, true, '')"]),
    row("B29", R, &["SELECT database_to_xml(true, true, '')"]),
    row("B29", R, &["SELECT query_to_xml_and_xmlschema('SELECT max(ssn) FROM people', true, true, '')"]),
    row("B29", R, &["BEGIN", "DECLARE c CURSOR FOR SELECT ssn FROM people", "SELECT cursor_to_xml('c', 10, true, true, '')", "ROLLBACK"]),
    row("B29", R, &["SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', ssn) FROM people')"]),
    row("B29", R, &["SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ssn::tsquery FROM people WHERE id = 1')"]),
    row("B29", R, &["SELECT x FROM XMLTABLE('//ssn' PASSING query_to_xml('TABLE people', true, false, '') COLUMNS x text PATH '.') t"]),
    row("B29", HARMLESS.or(R), &["SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef", "SELECT pg_get_constraintdef(oid) FROM pg_constraint"]).inert("no values"),
    row("B29", R, &["SELECT pg_input_error_info(ssn, 'integer') FROM people WHERE id = 1", "SELECT dblink('', '')"]).since(16),
    row("B29", R, &["SELECT (pg_input_error_info(ssn, 'integer')).message FROM people WHERE id = 1"]).since(16),

    // B30: statistics.
    row("B30", R, &["SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename = 'people'"]),
    row("B30", R, &["SELECT n_distinct, correlation FROM pg_stats WHERE tablename = 'people' AND attname = 'ssn'"]),
    row("B30", R, &["SELECT stavalues1, stavalues2 FROM pg_statistic"]),
    row("B30", R, &["TABLE pg_catalog.pg_statistic"]),
    row("B30", R, &["SELECT * FROM pg_stats_ext", "SELECT * FROM pg_stats_ext_exprs", "SELECT * FROM pg_statistic_ext_data"]).inert("there are none"),
    row("B30", R, &["CREATE STATISTICS s{n} (mcv) ON vip, score FROM people", "ANALYZE people", "SELECT most_common_vals FROM pg_stats_ext"]).alone(),
    row("B30", R, &["SELECT s::text FROM pg_stats s WHERE tablename = 'badges'"]),
    row("B30", R, &["WITH s AS (SELECT * FROM pg_stats) SELECT histogram_bounds FROM s WHERE tablename = 'events'"]),
    row("B30", R, &["COPY pg_statistic TO STDOUT"]),

    // B31: what others do.
    wire("B31", R, "the text of another session's statement", others_text),
    row("B31", R, &["SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"]).inert("it sees itself only"),
    row("B31", R, &["SELECT pg_stat_get_backend_activity(1)", "SELECT * FROM pg_stat_get_activity(NULL)"]),
    row("B31", R, &["SELECT statement FROM pg_prepared_statements"]).inert("there are none"),
    row("B31", R, &["SELECT statement FROM pg_cursors", "SELECT * FROM pg_prepared_xacts"]).inert("there are none"),
    row("B31", R, &["SELECT * FROM pg_stat_statements"]).inert("not installed"),

    // B32: replication and pages.
    wire("B32", R, "replication=database at startup", |scene| started(scene, &[("replication", "database")])).inert("positions in the log"),
    wire("B32", R, "replication=true at startup", |scene| started(scene, &[("replication", "true")])).inert("positions in the log"),
    row("B32", R, &["SELECT * FROM pg_logical_slot_get_changes('s', NULL, NULL)"]).inert("there is none"),
    row("B32", R, &["SELECT pg_create_logical_replication_slot('s{n}', 'test_decoding')"]).inert("wal_level"),
    row("B32", R, &["SELECT get_raw_page('people', 0)"]).inert("not installed"),
    row("B32", R, &["CREATE EXTENSION pageinspect", "SELECT heap_page_items(get_raw_page('people', 0))"]),
    row("B32", R, &["START_REPLICATION SLOT s LOGICAL 0/0"]).inert("no SQL"),
    row("B32", R, &["BASE_BACKUP"]).inert("no SQL"),
    row("B32", R, &["SELECT pg_walfile_name('0/0'), pg_switch_wal()"]).alone(),

    // B33: plans.
    row("B33", R.or(N), &["EXPLAIN (ANALYZE, VERBOSE, TIMING OFF, SUMMARY OFF, COSTS OFF) SELECT id FROM people WHERE ssn > 'm'"]),
    row("B33", R.or(N), &["EXPLAIN SELECT id FROM people WHERE vip"]),
    row("B33", R.or(N), &["EXPLAIN (FORMAT JSON) SELECT id FROM people WHERE salary < 200000000"]),
    row("B33", R.or(N), &["EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF, FORMAT YAML) UPDATE people SET notes = notes WHERE vip"]),
    row("B33", ANY, &["EXPLAIN (VERBOSE) SELECT planned()"]),
    row("B33", ANY, &["EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM depts WHERE name = planned()"]),
    row("B33", R, &["EXPLAIN ANALYZE CREATE TABLE t{n} AS SELECT ssn FROM people", "SELECT ssn FROM t{n}"]),
    row("B33", R.or(N), &["EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) SELECT count(*) FROM people p JOIN badges b ON p.ssn > b.code"]),
    row("B33", R.or(N), &["EXPLAIN (ANALYZE, SERIALIZE TEXT, TIMING OFF, SUMMARY OFF, COSTS OFF, BUFFERS OFF) SELECT ssn FROM people WHERE vip"]).since(17),

    // B34: counts.
    row("B34", R, &["UPDATE people SET notes = notes WHERE vip"]),
    row("B34", R, &["DELETE FROM visits WHERE badge < 'm' AND id > 1000 - minutes * 40"]),
    row("B34", R, &["INSERT INTO scratch (id) SELECT id + 4{n}000 FROM people WHERE salary < 200000000"]),
    row("B34", R.or(N), &["SELECT ssn FROM people WHERE ssn > 'm'"]),
    row("B34", R.or(N), &["COPY (SELECT 1 FROM people WHERE vip) TO STDOUT"]),
    wire("B34", R, "a portal that is asked for one row at a time", one_by_one),
    row("B34", R, &["BEGIN", "DECLARE c SCROLL CURSOR FOR SELECT 1 FROM people WHERE vip", "MOVE FORWARD ALL IN c", "ROLLBACK"]),
    row("B34", R, &["SELECT FROM people WHERE vip"]),

    // B35: objects in front of others.
    row("B35", R.or(M).or(N), &["CREATE TEMP TABLE orders AS SELECT 1 AS id", "SELECT * FROM orders", "SELECT ssn FROM people"]),
    row("B35", R, &["CREATE FUNCTION pg_temp.upper(text) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM people WHERE id = 1'", "SELECT pg_temp.upper('')"]),
    row("B35", R, &["CREATE TEMP VIEW people AS SELECT id, reverse(ssn) AS note FROM public.people", "SELECT note FROM people"]).alone(),
    row("B35", R.or(M), &["SET search_path = pg_temp, public", "CREATE TEMP TABLE scratch AS SELECT ssn AS note FROM people", "SELECT note FROM scratch"]),
    row("B35", R.or(N), &["CREATE OPERATOR public.@@@ (RIGHTARG = text, FUNCTION = reverse)", "SELECT @@@ ssn FROM people", "DROP OPERATOR public.@@@ (NONE, text)"]).alone(),
    row("B35", R.or(N), &["CREATE TYPE t{n} AS (a integer)", "CREATE CAST (text AS t{n}) WITH INOUT AS IMPLICIT", "SELECT ('(' || salary || ')')::t{n} FROM people", "DROP TYPE t{n} CASCADE"]).alone(),
    row("B35", R.or(N), &["CREATE DOMAIN d{n} AS text CHECK (VALUE <> 'q')", "SELECT ssn::d{n} FROM people"]).alone(),
    row("B35", R, &["CREATE SCHEMA s{n} CREATE VIEW v AS SELECT ssn FROM public.people", "SELECT ssn FROM s{n}.v"]).alone(),
    row("B35", R, &["ALTER TABLE people SET SCHEMA pg_temp"]).inert("not there"),
    row("B35", R.or(M), &["CREATE SCHEMA s{n}", "ALTER TABLE people SET SCHEMA s{n}", "SELECT ssn FROM s{n}.people", "ALTER TABLE s{n}.people SET SCHEMA public"]).alone(),
];

/// One session listens, another tells; both are looked at.
fn overheard(scene: &Scene<'_>) -> Vec<Reply> {
    let mut ears = scene.connect();
    let mut mouth = scene.connect();
    let mut out = vec![ears.query("LISTEN ears").unwrap()];
    for sql in [
        "SELECT pg_notify('ears', ssn) FROM people WHERE id = 3",
        "SELECT pg_notify('ears', id || '') FROM people WHERE vip",
        "SELECT tell(4)",
    ] {
        out.push(mouth.query(sql).unwrap());
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    out.push(ears.query("SELECT 1").unwrap());
    out
}

/// FunctionCall with one binary argument and a text result.
fn called(scene: &Scene<'_>, function: &str, argument: &[u8]) -> Vec<Reply> {
    let oid = scene
        .side
        .behind(&format!("SELECT '{function}'::regprocedure::oid::integer"));
    let mut body = oid.parse::<i32>().unwrap().to_be_bytes().to_vec();
    body.extend([0, 1, 0, 1, 0, 1]);
    body.extend((argument.len() as i32).to_be_bytes());
    body.extend(argument);
    body.extend([0, 0]);
    let mut client = scene.connect();
    client.send_raw(&frame(b'F', &body)).unwrap();
    vec![client.reply().unwrap()]
}

/// Somebody who may see a value has it in a statement's text.
fn others_text(scene: &Scene<'_>) -> Vec<Reply> {
    let mut other = scene.side.direct();
    let ssn = other.query("SELECT ssn FROM people WHERE id = 1").unwrap();
    let ssn = ssn.text(0, 0).unwrap();
    other.query(&format!("SELECT '{ssn}'")).unwrap();
    let mut client = scene.connect();
    let looks = [
        "SELECT query FROM pg_stat_activity WHERE query LIKE 'SELECT ''_%'",
        "SELECT query FROM pg_stat_get_activity(NULL) WHERE query LIKE 'SELECT ''_%'",
    ];
    let look = |sql: &&str| ask(&mut client, Mode::Text, sql);
    looks.iter().map(look).collect()
}

/// How many rows there are, told by PortalSuspended.
fn one_by_one(scene: &Scene<'_>) -> Vec<Reply> {
    let mut client: Client = scene.connect();
    let mut out = weir_tests::wire::parse("", "SELECT 1 FROM people WHERE vip");
    out.extend(weir_tests::wire::bind("", "", &[], &[]));
    for _ in 0..14 {
        out.extend(weir_tests::wire::execute("", 1));
    }
    out.extend(frame(b'S', b""));
    client.send_raw(&out).unwrap();
    vec![client.reply().unwrap()]
}
