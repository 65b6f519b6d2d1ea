//! Code and rows that a statement reaches without naming them, on a real server: each row has its own
//! objects, so that they disturb no other.

use pipeline::LabelCatalog;

use super::bypass::{Run, SECRET};
use crate::analysis::functions;
use crate::catalog::tests::server::Server;

const STEAL: &str =
    "CREATE TABLE acc (id int PRIMARY KEY, balance int); INSERT INTO acc VALUES (1, 5);
    CREATE FUNCTION owner_ssn(acc) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1';";
const NOISY: &str = "CREATE TABLE noisy (id int, x text); INSERT INTO noisy VALUES (0, 'n');
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1);
        NEW.x := (SELECT ssn FROM emp LIMIT 1); RETURN NEW; END $$;
    CREATE TRIGGER t BEFORE INSERT OR UPDATE ON noisy FOR EACH ROW EXECUTE FUNCTION tell();";
const CHAIN: &str = "CREATE TABLE top (id int PRIMARY KEY); INSERT INTO top VALUES (1);
    CREATE TABLE middle (id int PRIMARY KEY REFERENCES top ON DELETE CASCADE); INSERT INTO middle VALUES (1);
    CREATE TABLE leaf (id int REFERENCES middle ON DELETE SET NULL, ssn text, CHECK (id IS NOT NULL));
    INSERT INTO leaf VALUES (1, '111-22-3333');";
const AUDIT: &str = "CREATE TABLE audit (before emp, many emp[]);
    INSERT INTO audit SELECT e, ARRAY[e] FROM emp e;
    CREATE DOMAIN emp_dom AS emp; CREATE TYPE wrap AS (n int, e emp_dom);
    CREATE TABLE audit2 (w wrap); INSERT INTO audit2 SELECT ROW(1, e)::wrap FROM emp e;
    CREATE TYPE person AS (id int, ssn text);
    CREATE TABLE people (p person); INSERT INTO people VALUES (ROW(1, '111-22-3333'));
    CREATE TYPE span AS RANGE (SUBTYPE = person);
    CREATE TABLE spans (s span); INSERT INTO spans VALUES (span(ROW(1,'111-22-3333')::person, NULL));
    CREATE VIEW v_audit AS SELECT before AS b FROM audit;";
const OWN_TYPE: &str = "CREATE TYPE box2 AS (v text);
    CREATE FUNCTION to_box2(int) RETURNS box2 LANGUAGE sql AS
        'SELECT ROW((SELECT ssn FROM emp LIMIT 1))::box2';
    CREATE CAST (int AS box2) WITH FUNCTION to_box2(int) AS ASSIGNMENT;
    CREATE DOMAIN dbox AS box2; CREATE TYPE boxes AS (b box2);
    CREATE TABLE held (b box2);";
const MONEY: &str = "CREATE TYPE money2 AS (v int);
    CREATE FUNCTION same(money2, money2) RETURNS bool LANGUAGE plpgsql AS $$
    BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN true; END $$;
    CREATE OPERATOR = (FUNCTION = same, LEFTARG = money2, RIGHTARG = money2);
    CREATE OPERATOR <= (FUNCTION = same, LEFTARG = money2, RIGHTARG = money2);
    CREATE OPERATOR >= (FUNCTION = same, LEFTARG = money2, RIGHTARG = money2);
    CREATE TABLE prices (p money2); INSERT INTO prices VALUES (ROW(1));
    CREATE VIEW v_prices AS SELECT p FROM prices;";
const IMPLICIT: &str = "CREATE TYPE worth AS (v int);
    CREATE FUNCTION told(worth) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
    BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN 'x'; END $$;
    CREATE CAST (worth AS text) WITH FUNCTION told(worth) AS IMPLICIT;
    CREATE TYPE worth2 AS (v int);
    CREATE FUNCTION other(worth) RETURNS worth2 IMMUTABLE LANGUAGE plpgsql AS $$
    BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN ROW(1); END $$;
    CREATE CAST (worth AS worth2) WITH FUNCTION other(worth) AS IMPLICIT;
    CREATE TABLE worths (i worth, w worth2); INSERT INTO worths VALUES (ROW(1), ROW(2));";
const CHECKED: &str = "CREATE FUNCTION shout(text) RETURNS bool LANGUAGE plpgsql AS $$
    BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN true; END $$;
    CREATE FUNCTION secret() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1';
    CREATE TABLE checked (a text CHECK (shout(a)), d text DEFAULT secret());
    CREATE TABLE indexed (a text); CREATE FUNCTION key(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
    BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN $1; END $$;
    CREATE INDEX ON indexed (key(a));
    CREATE DOMAIN loud AS text CHECK (shout(VALUE)); CREATE TABLE domained (a loud);
    CREATE TABLE guarded (a text); INSERT INTO guarded VALUES ('x');
    ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
    CREATE POLICY p ON guarded USING (shout(a)); DROP ROLE IF EXISTS somebody; CREATE ROLE somebody;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO somebody; GRANT USAGE ON SCHEMA public TO somebody;
    SET SESSION AUTHORIZATION somebody;";

/// What is done before anybody looks, and the texts.
pub(super) const LEAKS: &[(&str, &str)] = &[
    // Functional notation.
    (STEAL, "SELECT a.owner_ssn FROM acc a"),
    (STEAL, "SELECT (SELECT a FROM acc a LIMIT 1).owner_ssn"),
    (STEAL, "SELECT (a).owner_ssn FROM acc a"),
    (STEAL, "SELECT acc.owner_ssn || '' FROM public.acc"),
    (STEAL, "SELECT public.acc.owner_ssn FROM public.acc"),
    (STEAL, "COPY (SELECT a.owner_ssn FROM acc a) TO STDOUT"),
    (STEAL, "SELECT 1 FROM acc a WHERE a.owner_ssn::int = 3"),
    (STEAL, "SELECT 1 FROM acc a ORDER BY a.owner_ssn::int"),
    (STEAL, "UPDATE acc SET balance = 1 RETURNING acc.owner_ssn"),
    (STEAL, "INSERT INTO acc VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET balance = length(excluded.owner_ssn) RETURNING owner_ssn(acc)"),
    (
        "CREATE TABLE acc (id int); INSERT INTO acc VALUES (1); CREATE DOMAIN acc_dom AS acc;
         CREATE FUNCTION owner_ssn(acc_dom) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1'",
        "SELECT (a::acc_dom).owner_ssn FROM acc a",
    ),
    (
        "CREATE TABLE acc (id int); INSERT INTO acc VALUES (1);
         CREATE FUNCTION poly(anyelement, int DEFAULT 1) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1';
         CREATE FUNCTION many(VARIADIC anyarray) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1';
         CREATE FUNCTION rec(record) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT ssn FROM emp LIMIT 1); END'",
        "SELECT a.poly FROM acc a;;SELECT a.many FROM acc a;;SELECT a.rec FROM acc a",
    ),
    (
        "CREATE TABLE acc (id int); INSERT INTO acc VALUES (1); CREATE TYPE other AS (v text);
         CREATE FUNCTION as_other(acc) RETURNS other LANGUAGE sql AS 'SELECT ROW((SELECT ssn FROM emp LIMIT 1))::other';
         CREATE CAST (acc AS other) WITH FUNCTION as_other(acc)",
        "SELECT a::other FROM acc a;;SELECT CAST(a AS other) FROM acc a",
    ),
    // Rows inside of columns.
    (AUDIT, "SELECT (before).ssn FROM audit"),
    (AUDIT, "SELECT before FROM audit"),
    (AUDIT, "SELECT to_json(before), before::text FROM audit"),
    (AUDIT, "SELECT many, (many[1]).ssn, u.ssn FROM audit, unnest(many) u"),
    (AUDIT, "SELECT b, (b).ssn FROM v_audit"),
    (AUDIT, "SELECT w, ((w).e).ssn FROM audit2"),
    (AUDIT, "SELECT p, (p).ssn FROM people"),
    (AUDIT, "SELECT s, lower(s) FROM spans"),
    (AUDIT, "COPY audit TO STDOUT"),
    (AUDIT, "CREATE TABLE stolen AS SELECT (before).ssn AS x FROM audit;;SELECT x FROM stolen"),
    // Triggers.
    (NOISY, "INSERT INTO noisy (id) VALUES (1)"),
    (NOISY, "INSERT INTO noisy (id) VALUES (1) RETURNING x"),
    (NOISY, "UPDATE noisy SET id = 2 RETURNING *"),
    (NOISY, "UPDATE noisy SET id = 2 RETURNING noisy"),
    (NOISY, "WITH w AS (INSERT INTO noisy (id) VALUES (1) RETURNING x AS y) SELECT y || '' FROM w"),
    (NOISY, "COPY (INSERT INTO noisy (id) VALUES (1) RETURNING x) TO STDOUT"),
    (NOISY, "WITH w AS (INSERT INTO noisy (id) VALUES (1) RETURNING x) INSERT INTO dept SELECT 1, x FROM w;;SELECT title FROM dept"),
    (NOISY, "PREPARE p AS INSERT INTO noisy (id) VALUES (1) RETURNING x;;EXECUTE p"),
    (
        "CREATE TABLE base3 (id int); CREATE TABLE sub3 () INHERITS (base3); INSERT INTO sub3 VALUES (1);
         CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN NULL; END $$;
         CREATE TRIGGER t AFTER UPDATE ON sub3 FOR EACH ROW EXECUTE FUNCTION tell();
         CREATE VIEW v3 AS SELECT * FROM base3",
        "UPDATE base3 SET id = 2;;UPDATE v3 SET id = 2",
    ),
    (
        "CREATE TABLE mover (id int); CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM set_config('search_path', 'public', false); RETURN NEW; END $$;
         CREATE TRIGGER t BEFORE INSERT ON mover FOR EACH ROW EXECUTE FUNCTION move()",
        "SET search_path = x, public;;INSERT INTO mover VALUES (1);;SELECT 'q' || t FROM twin t",
    ),
    (
        "CREATE TABLE late (id int); CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER t AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION tell()",
        "BEGIN;;INSERT INTO late VALUES (1);;COMMIT",
    ),
    (
        "CREATE TABLE late (id int); CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER t AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION tell()",
        "BEGIN;;INSERT INTO late VALUES (1);;SET CONSTRAINTS ALL IMMEDIATE;;ROLLBACK",
    ),
    (
        "CREATE FUNCTION tell() RETURNS event_trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); END $$;
         CREATE EVENT TRIGGER noise ON ddl_command_start EXECUTE FUNCTION tell()",
        "CREATE TABLE some_table (a int)",
    ),
    // A function of PostgreSQL's own behind an operator.
    (
        "CREATE OPERATOR @@@@ (FUNCTION = ts_rewrite, LEFTARG = tsquery, RIGHTARG = text)",
        "SELECT 'a'::tsquery @@@@ 'SELECT ''a''::tsquery, replace(ssn, ''-'', '''')::tsquery FROM emp'",
    ),
    // Columns that hold what other columns hold.
    (
        "CREATE TABLE keyed (ssn text PRIMARY KEY); INSERT INTO keyed VALUES ('111-22-3333');
         CREATE TABLE refers (who text REFERENCES keyed (ssn)); INSERT INTO refers VALUES ('111-22-3333');
         CREATE TABLE further (whom text); ALTER TABLE refers ADD UNIQUE (who);
         ALTER TABLE further ADD FOREIGN KEY (whom) REFERENCES refers (who); INSERT INTO further VALUES ('111-22-3333')",
        "SELECT who FROM refers;;SELECT upper(whom) FROM further",
    ),
    (
        "CREATE TABLE texts (id int, ssn text, words tsvector);
         CREATE TRIGGER t BEFORE INSERT ON texts FOR EACH ROW
             EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', ssn);
         INSERT INTO texts VALUES (1, '111-22-3333')",
        "SELECT words FROM texts;;SELECT id || words::text FROM texts",
    ),
    // Foreign keys.
    (CHAIN, "DELETE FROM middle WHERE id = 1"),
    (CHAIN, "DELETE FROM top WHERE id = 1"),
    (CHAIN, "MERGE INTO top t USING dept d ON true WHEN MATCHED THEN DELETE;;DELETE FROM top"),
    // Defaults, checks, indexes, domains, policies.
    (CHECKED, "INSERT INTO checked (a) VALUES ('x')"),
    (CHECKED, "INSERT INTO checked (a) VALUES ('x') RETURNING d"),
    (CHECKED, "INSERT INTO indexed VALUES ('x')"),
    (CHECKED, "INSERT INTO domained VALUES ('x')"),
    (CHECKED, "SELECT 'x'::loud"),
    (CHECKED, "SELECT a FROM guarded"),
    // Casts and operators.
    (OWN_TYPE, "INSERT INTO held VALUES (1) RETURNING (b).v"),
    (OWN_TYPE, "INSERT INTO held VALUES (1) RETURNING b"),
    (OWN_TYPE, "SELECT (1::dbox)"),
    (OWN_TYPE, "SELECT ARRAY[1]::box2[]"),
    (OWN_TYPE, "SELECT ARRAY[1]::_box2"),
    (MONEY, "SELECT 1 FROM prices a, prices b WHERE a.p = b.p;;SELECT ROW(1)::money2 = ROW(2)::money2"),
    (MONEY, "SELECT 1 FROM prices a WHERE a.p BETWEEN ROW(1)::money2 AND ROW(3)::money2"),
    (MONEY, "SELECT 1 FROM prices a WHERE a.p IN (SELECT p FROM prices)"),
    (MONEY, "SELECT CASE p WHEN p THEN 1 END FROM prices"),
    (MONEY, "SELECT 1 FROM prices a JOIN prices b USING (p)"),
    (MONEY, "SELECT 1 FROM prices a NATURAL JOIN prices b"),
    (MONEY, "SELECT NULLIF(p, p) FROM prices"),
    (MONEY, "SELECT p IS DISTINCT FROM p FROM prices"),
    (MONEY, "SELECT p = ANY (ARRAY[p]) FROM prices"),
    (MONEY, "SELECT 1 FROM prices a WHERE a.p OPERATOR(public.=) a.p"),
    (MONEY, "SELECT p FROM (SELECT p FROM prices) x WHERE x.p = x.p"),
    (MONEY, "PREPARE q AS SELECT 1 FROM v_prices v WHERE v.p = v.p;;EXECUTE q"),
    (IMPLICIT, "SELECT i FROM worths UNION ALL SELECT w FROM worths"),
    (IMPLICIT, "SELECT CASE WHEN true THEN i ELSE w END FROM worths"),
    (IMPLICIT, "SELECT coalesce(i, w) FROM worths"),
    (IMPLICIT, "SELECT ARRAY[i, w] FROM worths"),
    (IMPLICIT, "SELECT lower(i) FROM worths"),
    (CHECKED, "PREPARE q(loud) AS SELECT $1;;EXECUTE q('x')"),
    (CHECKED, "INSERT INTO indexed VALUES ('y');;ANALYZE indexed"),
    (
        "CREATE FUNCTION key(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
         BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN $1; END $$;
         CREATE TABLE split (a text) PARTITION BY LIST (key(a));
         CREATE TABLE split_x PARTITION OF split FOR VALUES IN ('x')",
        "INSERT INTO split VALUES ('x')",
    ),
];

const CODE: &str =
    "CREATE FUNCTION secret() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1';
    CREATE FUNCTION shout(text) RETURNS bool LANGUAGE plpgsql AS $$
    BEGIN RAISE NOTICE '%', (SELECT ssn FROM emp LIMIT 1); RETURN true; END $$;
    CREATE FUNCTION same(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN RETURN (SELECT ssn FROM emp LIMIT 1); END $$;
    CREATE TABLE acc (id int, a text); INSERT INTO acc VALUES (1, 'x');
    CREATE FUNCTION owner_ssn(acc) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1';
    CREATE TABLE parts (k text, id int) PARTITION BY LIST (k);
    CREATE DOMAIN plain AS text;";

/// Definitions that store code, each of which must be refused while columns are labelled.
pub(super) const DEFINITIONS: &[&str] = &[
    "CREATE DOMAIN d AS text CHECK (shout(VALUE))",
    "CREATE DOMAIN d AS text DEFAULT secret()",
    "CREATE DOMAIN d AS text CHECK (VALUE <> (secret() || ''))",
    "ALTER DOMAIN plain ADD CHECK (shout(VALUE))",
    "ALTER DOMAIN plain SET DEFAULT secret()",
    "CREATE TABLE n (a text DEFAULT secret())",
    "CREATE TABLE n (a text, CHECK (shout(a)))",
    "CREATE TABLE n (a text CHECK (shout(a)))",
    "CREATE TABLE n (a text, b text GENERATED ALWAYS AS (same(a)) STORED)",
    "CREATE TABLE n (a text) PARTITION BY LIST (same(a))",
    "CREATE TABLE n (a text, EXCLUDE USING btree (same(a) WITH =))",
    "CREATE TABLE n (a text, EXCLUDE USING btree (a WITH =) WHERE (same(a) = 'x'))",
    "CREATE TABLE n PARTITION OF parts FOR VALUES IN (secret())",
    "CREATE TABLE n PARTITION OF parts (id DEFAULT length(secret())) FOR VALUES IN ('a')",
    "CREATE TABLE n (k text, id int); ALTER TABLE parts ATTACH PARTITION n FOR VALUES IN (secret())",
    "ALTER TABLE acc ADD CHECK (shout(a))",
    "ALTER TABLE acc ADD CONSTRAINT c CHECK (shout(a)) NOT VALID",
    "ALTER TABLE acc ADD COLUMN b text DEFAULT secret()",
    "ALTER TABLE acc ADD COLUMN b text CHECK (shout(b))",
    "ALTER TABLE acc ALTER COLUMN a SET DEFAULT secret()",
    "ALTER TABLE acc ADD EXCLUDE USING btree (same(a) WITH =)",
    "ALTER TABLE acc ALTER COLUMN a TYPE text USING secret()",
    "CREATE INDEX ON acc (same(a))",
    "CREATE INDEX ON acc (a) WHERE same(a) = 'x'",
    "CREATE POLICY p ON acc USING (shout(a))",
    "CREATE POLICY p ON acc WITH CHECK (shout(a))",
    "CREATE POLICY p ON acc USING (acc.owner_ssn IS NULL)",
    "CREATE POLICY p ON acc USING (EXISTS (SELECT secret()))",
    "CREATE POLICY p ON acc; ALTER POLICY p ON acc USING (shout(a))",
    "CREATE STATISTICS s ON (same(a)), id FROM acc",
    "CREATE VIEW n AS SELECT secret() AS s",
    "CREATE VIEW n AS SELECT a.owner_ssn AS s FROM acc a",
    "CREATE RULE r AS ON INSERT TO acc DO ALSO SELECT secret()",
    "CREATE FOREIGN TABLE n (a text DEFAULT secret()) SERVER nowhere",
    "CREATE SCHEMA other CREATE TABLE n (a text DEFAULT secret())",
    "CREATE TABLE n (a text DEFAULT 'x' <+> 'y')",
    "CREATE TABLE n (a pair DEFAULT 1::pair)",
];

/// Ordinary definitions, which must stay possible.
pub(super) const DEFINES: &[&str] = &[
    "CREATE TABLE n (id serial PRIMARY KEY, at timestamptz DEFAULT now(), v numeric(10,2) CHECK (v > 0))",
    "CREATE TABLE n (id int GENERATED ALWAYS AS IDENTITY, e int REFERENCES emp (id) ON DELETE CASCADE)",
    "CREATE TABLE n (a text, b text GENERATED ALWAYS AS (upper(a)) STORED)",
    "CREATE TABLE n (ssn text, CHECK (length(ssn) = 11))",
    "CREATE TABLE n PARTITION OF parts FOR VALUES IN ('a', 'b')",
    "CREATE INDEX ON acc (lower(a)) WHERE id > 0",
    "CREATE UNIQUE INDEX ON emp (ssn)",
    "CREATE INDEX ON emp (lower(ssn))",
    "ALTER TABLE emp ADD CONSTRAINT c CHECK (length(ssn) = 11)",
    "ALTER TABLE emp ADD COLUMN later date DEFAULT current_date",
    "CREATE POLICY p ON emp USING (name = current_user AND EXISTS (SELECT 1 FROM dept))",
    "CREATE DOMAIN d AS text CHECK (VALUE ~ '^x')",
    "CREATE STATISTICS s ON id, a FROM acc",
    "CREATE SEQUENCE n START 5",
    "CREATE TYPE n AS ENUM ('a')",
    "CREATE TYPE n AS (a int, b text)",
    "CREATE VIEW n AS SELECT id, name FROM emp",
    "CREATE SCHEMA other CREATE TABLE n (a int DEFAULT 1)",
    "DROP TYPE pair CASCADE",
    "DROP FUNCTION shout(text)",
    "COMMENT ON TABLE acc IS 'x'",
    "DROP TABLE acc CASCADE",
];

#[test]
fn what_definitions_store() {
    let server = Server::start("stored");
    let mut run = Run::with(&server, CODE);
    let mut wrong = Vec::new();
    for sql in DEFINITIONS {
        let analysis = run.world.analyse(sql);
        let understood = analysis.facts.parsed;
        if understood && (analysis.labelled.is_empty() || analysis.unmaskable.is_none()) {
            wrong.push(format!("PASSES {sql}"));
        }
    }
    for sql in DEFINES {
        if run.text(sql).is_none() {
            wrong.push(format!("REFUSED {sql}"));
        }
        run = Run::with(&server, CODE);
    }
    // Each is something that the server would take.
    run.world.labels = LabelCatalog::default();
    for sql in DEFINITIONS
        .iter()
        .filter(|sql| !sql.contains("FOREIGN TABLE"))
    {
        let seen = run.text(sql);
        if seen.as_deref().is_none_or(|s| s.contains("ERROR")) {
            wrong.push(format!("IMPOSSIBLE {sql}\n    {seen:?}"));
        }
        run = Run::with(&server, CODE);
        run.world.labels = LabelCatalog::default();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Constructs of a newer grammar, which an older server takes for calls.
pub(super) const KEYWORDS: &[(&str, &str)] = &[
    ("json(text)", "json('x')"),
    ("json_scalar(text)", "json_scalar('x')"),
    ("json_serialize(text)", "json_serialize('x')"),
    ("json_object(int)", "json_object(1)"),
    ("json_array(int)", "json_array(1)"),
    ("json_array()", "json_array()"),
    ("json_value(text, text)", "json_value('x', 'y')"),
    ("json_query(text, text)", "json_query('x', 'y')"),
    ("json_exists(text, text)", "json_exists('x', 'y')"),
    ("json_arrayagg(text)", "json_arrayagg('x')"),
    ("merge_action()", "merge_action()"),
];

#[test]
fn constructs_that_are_calls_elsewhere() {
    let server = Server::start("keywords");
    let mut wrong = Vec::new();
    for (function, call) in KEYWORDS {
        let setup = format!(
            "CREATE FUNCTION {function} RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1'"
        );
        let sql = format!("SELECT {call} AS x");
        let mut run = Run::with(&server, &setup);
        let analysis = run.world.analyse(&sql);
        let name = call.split('(').next().unwrap();
        let asked = analysis
            .accesses
            .iter()
            .any(|access| match &access.resource {
                pipeline::Resource::PgFunction {
                    schema, function, ..
                } => &**schema == "public" && &**function == name,
                _ => false,
            });
        let seen = run.text(&sql).unwrap_or_default();
        if !asked || seen.contains("111") {
            wrong.push(format!("{sql}: asked {asked}, {seen}"));
        }
        run.world.labels = LabelCatalog::default();
        println!("{sql}: {:?}", run.text(&sql));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Ordinary work, which must stay as it is: what is done before, the texts, and the last result.
const CLEAN: &[(&str, &str, &str)] = &[
    (
        MONEY,
        "SELECT id, name FROM emp WHERE id = 1 AND name BETWEEN 'a' AND 'b'",
        "1|ada",
    ),
    (
        MONEY,
        "SELECT d.title FROM dept d WHERE d.id IN (SELECT 10)",
        "x",
    ),
    (
        IMPLICIT,
        "SELECT lower(name) || 'x' FROM emp WHERE id = 1",
        "adax",
    ),
    (STEAL, "SELECT a.balance, a.id FROM acc a", "5|1"),
    (STEAL, "SELECT (a).balance FROM acc a", "5"),
    (
        STEAL,
        "SELECT max(x.balance) FROM (SELECT * FROM acc) x",
        "5",
    ),
    (AUDIT, "SELECT count(*) FROM audit", "2"),
    (AUDIT, "SELECT count(*), 'a' || 'b' FROM people", "1|ab"),
    (NOISY, "SELECT id, x FROM noisy", "0|n"),
    (
        NOISY,
        "DELETE FROM noisy WHERE id = 0 RETURNING id, x",
        "0|n",
    ),
    (
        "CREATE TABLE refers (e int REFERENCES emp (id), d text); INSERT INTO refers VALUES (1, 'd');
         CREATE TABLE texts (id int, body text, words tsvector);
         CREATE TRIGGER t BEFORE INSERT ON texts FOR EACH ROW
             EXECUTE FUNCTION tsvector_update_trigger(words, 'pg_catalog.simple', body);
         INSERT INTO texts VALUES (1, 'tea')",
        "SELECT e, d, words FROM refers, texts",
        "1|d|'tea':1",
    ),
    (CHAIN, "INSERT INTO top VALUES (2) RETURNING id", "2"),
    (
        CHAIN,
        "UPDATE leaf SET id = 1 WHERE id = 1 RETURNING id",
        "1",
    ),
    (OWN_TYPE, "SELECT 1 + 1, '1'::int, 'a' || 'b'", "2|1|ab"),
    (
        "CREATE TYPE money2 AS (v int);
         CREATE FUNCTION same(money2, money2) RETURNS bool LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR = (FUNCTION = same, LEFTARG = money2, RIGHTARG = money2)",
        "SELECT id, name FROM emp WHERE id = 1 AND name = 'ada'",
        "1|ada",
    ),
    (
        "CREATE TABLE stamped (id int DEFAULT 1, at text DEFAULT upper('x'), CHECK (id > 0));
         CREATE INDEX ON stamped (lower(at))",
        "INSERT INTO stamped (id) VALUES (2) RETURNING id, at",
        "2|X",
    ),
];

/// Somebody has looked at every function of PostgreSQL that does something. When this fails on a newer
/// version: until then they count as dangerous.
#[test]
fn every_function_that_acts_is_known() {
    // Words in names of functions that do something.
    const ACTS: &[&str] = &[
        "set",
        "reset",
        "create",
        "drop",
        "advance",
        "switch",
        "promote",
        "terminate",
        "cancel",
        "reload",
        "rotate",
        "import",
        "export",
        "emit",
        "notify",
        "lock",
        "sleep",
        "write",
        "put",
        "restore",
        "clear",
        "log",
        "sync",
        "start",
        "stop",
        "resume",
        "pause",
        "replay",
        "truncate",
        "next",
        "load",
        "kill",
        "force",
        "summarize",
        "flush",
    ];
    // Declared stable or immutable, with such a word in their name, and all the same harmless.
    const HARMLESS: &[&str] = &[
        "jsonb_set",
        "jsonb_set_lax",
        "pg_get_statisticsobjdef_expressions",
        "pg_get_replica_identity_index",
        "pg_listening_channels",
        "pg_postmaster_start_time",
        "pg_settings_get_flags",
        "array_set_bit",
        "get_bit",
        "get_byte",
        "set_bit",
        "set_byte",
        "set_masklen",
        "pg_replication_origin_oid",
        "pg_collation_for",
        "fmgr_internal_validator",
        "log",
        "numeric_log",
        "pg_conf_load_time",
    ];
    let server = Server::start("natures");
    let mut client = server.connect();
    let names = "SELECT proname, provolatile, prorettype::regtype::text FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND oid < 16384 GROUP BY 1, 2, 3 ORDER BY 1";
    let mut unknown = Vec::new();
    for row in client.rows(names) {
        let [name, volatile, gives] = [0, 1, 2].map(|i| row[i].clone().unwrap());
        let acts = ACTS
            .iter()
            .any(|word| name.split('_').any(|part| part == *word));
        let internal = matches!(gives.as_str(), "internal" | "cstring" | "trigger");
        if functions::known(&name).is_none()
            && (volatile == "v" || (acts && !internal && !HARMLESS.contains(&name.as_str())))
        {
            unknown.push(format!("{name} ({volatile})"));
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

#[test]
fn what_no_statement_names() {
    let server = Server::start("hidden");
    let mut wrong = Vec::new();
    for (setup, texts) in LEAKS {
        let mut run = Run::with(&server, setup);
        for sql in texts.split(";;") {
            let seen = run.text(sql).unwrap_or_default();
            if seen.contains(SECRET) || seen.contains("111") {
                wrong.push(format!("LEAK {sql}\n    {seen}"));
            }
        }
        let mut run = Run::with(&server, setup);
        run.world.labels = LabelCatalog::default();
        let seen: Vec<String> = texts.split(";;").filter_map(|sql| run.text(sql)).collect();
        if !seen.join(";").contains("111") {
            wrong.push(format!("TESTS NOTHING {texts}\n    {seen:?}"));
        }
    }
    for (setup, texts, expect) in CLEAN {
        let mut run = Run::with(&server, setup);
        let seen = texts.split(";;").map(|sql| run.text(sql)).last().flatten();
        if seen.as_deref() != Some(expect) {
            wrong.push(format!(
                "OVERMASKED {texts}\n    {seen:?} instead of {expect:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
