//! Columns and names: what nothing has, what has to be looked up, and what stays as protected as it was.

use super::World;
use crate::catalog::tests::server::Server;

const SCHEMA: &str = "
CREATE TABLE emp (id int, name text, ssn text, pay int);
CREATE TABLE open (id int, note text);
CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
CREATE VIEW names AS SELECT id, name FROM emp;
CREATE SCHEMA hr; CREATE TYPE hr.kind AS ENUM ('x');
CREATE FUNCTION f(int) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1';
";

/// What has to be looked up has to be fresh, also inside of what only declares or prepares.
#[test]
fn names_that_are_looked_up() {
    let server = Server::start("names");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    for (sql, expect) in [
        ("BEGIN", false),
        ("COMMIT", false),
        ("SET search_path = hr", false),
        ("SHOW x.y", false),
        ("SELECT 1", false),
        ("", false),
        ("CLOSE c", false),
        ("SELECT * FROM emp", true),
        ("SELECT f(1)", true),
        ("SELECT 'x'::hr.kind", true),
        ("DECLARE c CURSOR FOR SELECT * FROM emp", true),
        ("DECLARE c CURSOR FOR SELECT 1", false),
        ("PREPARE p AS SELECT id FROM emp", true),
        ("BEGIN; DECLARE c CURSOR FOR SELECT f(1)", true),
        ("EXPLAIN SELECT * FROM emp", true),
        ("LOCK TABLE emp", true),
        ("DROP TABLE emp", true),
        ("COPY emp TO STDOUT", true),
        ("CREATE TABLE n (a int)", true),
        ("SELEC", true),
    ] {
        assert_eq!(world.analyse(sql).names_relations, expect, "{sql}");
    }
}

/// A column that nothing has is newer than what is known, or a mistake: neither is clean.
#[test]
fn columns_that_nothing_has() {
    let server = Server::start("columns");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    let unknown = [
        "SELECT ssn || '' FROM open",
        "SELECT o.ssn || '' FROM open o",
        "SELECT 1 FROM open WHERE ssn::int = 1",
        "SELECT 1 FROM open o ORDER BY o.ssn::int",
        "SELECT (SELECT ssn) FROM open",
        "SELECT ssn || '' FROM (SELECT ssn FROM open) x",
        "SELECT x.ssn FROM (SELECT id FROM open) x",
        "WITH c AS (SELECT ssn AS z FROM open) SELECT z FROM c",
        "UPDATE open SET note = ssn WHERE id = 1",
        "DELETE FROM open WHERE ssn = '1' RETURNING id",
        "INSERT INTO open (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET note = excluded.ssn",
        "PREPARE p AS SELECT ssn || '' FROM open",
        "DECLARE c CURSOR FOR SELECT ssn || '' FROM open",
        "COPY (SELECT ssn || '' FROM open) TO STDOUT",
        "SELECT o.id FROM open o JOIN open p ON o.ssn = p.ssn",
    ];
    for sql in unknown {
        let analysis = world.analyse(sql);
        assert!(analysis.unknown_names, "{sql}");
        assert!(
            analysis.labelled.iter().any(|c| &*c.column == "ssn"),
            "{sql}"
        );
    }
    let stored = world.analyse("CREATE TABLE n AS SELECT ssn || '' AS x FROM open");
    assert!(stored.unmaskable.is_some());
    for sql in [
        "SELECT id, note AS n FROM open ORDER BY n, id",
        "SELECT lower(note) FROM open ORDER BY lower",
        "SELECT count(*), note FROM open GROUP BY note HAVING count(*) > 1 ORDER BY count",
        "SELECT ctid, xmin, tableoid::regclass, o.cmax FROM open o",
        "SELECT o, open.note FROM open o, open",
        "SELECT x.y FROM (SELECT id AS y FROM open) x",
        "SELECT a FROM (SELECT id, note FROM open) x(a, b)",
        "SELECT x.column1, column2 FROM (VALUES (1, 2)) x",
        "SELECT g, g.g FROM generate_series(1, 2) g",
        "SELECT key, value FROM json_each('{}')",
        "SELECT t.k FROM json_to_recordset('[]') AS t(k int)",
        "SELECT q FROM xmltable('/a' PASSING '<a/>' COLUMNS q text PATH '.')",
        "SELECT id FROM open JOIN emp USING (id)",
        "SELECT j.id FROM open JOIN emp USING (id) AS j",
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        "WITH c AS (SELECT * FROM open) SELECT c.note, id FROM c",
        "WITH d AS (DELETE FROM open RETURNING id AS gone) SELECT gone FROM d",
        "INSERT INTO open VALUES (1) ON CONFLICT (id) DO UPDATE SET note = excluded.note WHERE open.id > 1",
        "UPDATE open o SET note = e.name FROM emp e WHERE e.id = o.id RETURNING o.note, e.id",
        "MERGE INTO open o USING emp e ON o.id = e.id WHEN MATCHED THEN UPDATE SET note = e.name",
        "SELECT CASE WHEN true THEN 1 END FROM open ORDER BY \"case\"",
        "SELECT note::varchar FROM open ORDER BY note",
        "SELECT row_number() OVER w FROM open WINDOW w AS (ORDER BY id)",
        "SELECT k, v FROM part WHERE k = 1",
        "SELECT names.name, names.* FROM names",
        "SELECT relname, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace",
        "SELECT table_name FROM information_schema.tables",
        "SELECT e.row_to_json FROM emp e",
        "SELECT last_value FROM emp, LATERAL (SELECT 1 AS last_value) x",
        "SELECT id FROM open UNION SELECT pay FROM emp ORDER BY id",
        "SELECT DISTINCT ON (note) id FROM open ORDER BY note, id",
        "SELECT (SELECT note) FROM open",
        "SELECT current_user, session_user, current_date FROM open",
        "COPY open FROM STDIN WHERE id > 1",
        "SELECT unnest(ARRAY[1]) AS u FROM open ORDER BY u",
        "SELECT exists (SELECT 1) FROM open ORDER BY exists",
    ] {
        assert!(!world.analyse(sql).unknown_names, "{sql}");
    }
}

/// What is stored where it is protected as it was is no copy.
#[test]
fn kept_where_it_was() {
    let server = Server::start("kept");
    let mut client = server.connect();
    client.run(
        "CREATE TABLE people (id int PRIMARY KEY, name text, email text, ssn text);
         CREATE TABLE old_people (id int, email text, note text);
         CREATE VIEW mails AS SELECT id, email, email AS address FROM people;",
    );
    let mut world = World::new(client.snapshot(), client.state());
    let rule = |column: &str, labels: &[&str]| pipeline::LabelRule {
        target: "*".into(),
        schema: "*".into(),
        table: "*".into(),
        column: column.into(),
        labels: labels.iter().map(|l| std::sync::Arc::from(*l)).collect(),
    };
    let rules = vec![rule("email", &["pii", "pii.email"]), rule("ssn", &["pii"])];
    world.labels = pipeline::LabelCatalog::new(rules);
    for (sql, kept) in KEPT {
        let analysis = world.analyse(sql);
        assert!(analysis.facts.parsed && !analysis.unknown_names, "{sql}");
        assert_eq!(analysis.unmaskable.is_none(), *kept, "{sql}");
    }
}

const KEPT: &[(&str, bool)] = &[
    ("INSERT INTO people VALUES (1, 'a', 'b', 'c')", true),
    (
        "INSERT INTO people (id, email) VALUES (1, 'b') ON CONFLICT (id) DO UPDATE SET email = EXCLUDED.email",
        true,
    ),
    (
        "INSERT INTO people (id, email) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET email = excluded.email, name = excluded.name RETURNING id",
        true,
    ),
    (
        "INSERT INTO people AS p (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = coalesce(excluded.email, p.email)",
        true,
    ),
    ("UPDATE people SET email = lower(email)", true),
    (
        "UPDATE people SET email = trim(lower(people.email)), name = upper(name) WHERE ssn = '1'",
        true,
    ),
    (
        "UPDATE old_people o SET email = p.email FROM people p WHERE p.id = o.id",
        true,
    ),
    (
        "INSERT INTO old_people (id, email) SELECT id, email FROM people",
        true,
    ),
    (
        "INSERT INTO old_people (id, email) SELECT id, email FROM people WHERE id = 1 ON CONFLICT DO NOTHING",
        true,
    ),
    (
        "INSERT INTO people (id, email) SELECT id, email FROM old_people ON CONFLICT (id) DO UPDATE SET email = excluded.email",
        true,
    ),
    (
        "MERGE INTO old_people o USING people p ON o.id = p.id WHEN MATCHED THEN UPDATE SET email = p.email WHEN NOT MATCHED THEN INSERT (id, email) VALUES (p.id, p.email)",
        true,
    ),
    (
        "UPDATE people SET ssn = NULL, email = 'x' WHERE id = 1",
        true,
    ),
    // Under another name, but what it is a copy of has the same labels.
    ("UPDATE old_people SET email = m.address FROM mails m", true),
    (
        "UPDATE old_people SET email = c.x FROM (SELECT email AS x FROM people) c",
        true,
    ),
    (
        "MERGE INTO old_people o USING people p ON o.id = p.id WHEN NOT MATCHED THEN INSERT VALUES (p.id, p.email)",
        true,
    ),
    // Fewer, other or more labels.
    ("UPDATE people SET name = email", false),
    ("UPDATE people SET ssn = email", false),
    ("UPDATE people SET email = ssn", false),
    ("UPDATE people SET email = email || ssn", false),
    ("UPDATE people SET email = people::text", false),
    (
        "UPDATE people SET email = (SELECT ssn FROM people LIMIT 1)",
        false,
    ),
    (
        "UPDATE people SET email = p.x FROM (SELECT id, ssn AS x FROM people) p",
        false,
    ),
    (
        "UPDATE people SET email = p.email FROM (SELECT id, ssn AS email FROM people) p",
        false,
    ),
    (
        "UPDATE people SET email = p.email FROM (SELECT id, ssn FROM people) p(id, email)",
        false,
    ),
    (
        "WITH c AS (SELECT ssn AS email FROM people) UPDATE people SET email = c.email FROM c",
        false,
    ),
    (
        "UPDATE people SET (email, name) = (SELECT email, email FROM people p LIMIT 1)",
        false,
    ),
    ("UPDATE old_people SET note = p.email FROM people p", false),
    (
        "INSERT INTO people (id, name) SELECT id, email FROM people",
        false,
    ),
    ("INSERT INTO old_people SELECT id, ssn FROM people", false),
    (
        "INSERT INTO old_people SELECT id, email, email FROM people",
        false,
    ),
    (
        "INSERT INTO old_people (id, email) SELECT id, name FROM people UNION SELECT id, ssn FROM people",
        false,
    ),
    (
        "INSERT INTO people (id, email) SELECT id, email FROM people ON CONFLICT (id) DO UPDATE SET name = excluded.email",
        false,
    ),
    (
        "INSERT INTO people (id, email) SELECT id, email FROM people ON CONFLICT (id) DO UPDATE SET name = excluded::text",
        false,
    ),
    (
        "INSERT INTO people (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = people.email",
        false,
    ),
    (
        "INSERT INTO people (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET name = (SELECT excluded.ssn FROM people excluded LIMIT 1)",
        false,
    ),
    (
        "MERGE INTO old_people o USING people p ON o.id = p.id WHEN NOT MATCHED THEN INSERT (id, note) VALUES (p.id, p.email)",
        false,
    ),
    (
        "MERGE INTO old_people o USING people p ON o.id = p.id WHEN MATCHED THEN UPDATE SET email = p.ssn",
        false,
    ),
];

/// Types and operators that the snapshot does not have come with code that nobody has looked at.
#[test]
fn types_and_operators_that_nothing_has() {
    let server = Server::start("symbols");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    for (sql, unknown) in [
        ("SELECT 1::newer FROM emp", true),
        ("SELECT 1 @#@@@@ 2 FROM emp", true),
        ("SELECT 1 OPERATOR(public.<#>) 2 FROM emp", true),
        // Plain calls on this server.
        ("SELECT json_serialize(1) FROM emp", true),
        ("SELECT json_scalar(1) FROM emp", true),
        ("SELECT json('{}'), json_object('{a,b}') FROM emp", false),
        (
            "SELECT id::text, id::int8[], 'x'::hr.kind, name LIKE 'a%' FROM emp",
            false,
        ),
        (
            "SELECT id != 1 AND id <> 2 AND NOT name ~* 'x' FROM emp",
            false,
        ),
        ("SELECT '{}'::jsonb #>> '{a}' FROM emp", false),
        (
            "CREATE TABLE n (a serial, b bigserial, c varchar(3), d double precision)",
            false,
        ),
    ] {
        let analysis = world.analyse(sql);
        assert_eq!(analysis.unknown_names, unknown, "{sql}");
    }
    // Every operator of the server is known.
    let mut strange = Vec::new();
    for row in client.rows("SELECT DISTINCT oprname FROM pg_operator WHERE oid < 16384") {
        let symbol = row[0].clone().unwrap();
        if world
            .analyse(&format!("SELECT 1 OPERATOR({symbol}) 2 FROM emp"))
            .unknown_names
        {
            strange.push(symbol);
        }
    }
    assert!(strange.is_empty(), "{strange:?}");
}
