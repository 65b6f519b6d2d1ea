//! Which labelled columns decide something that a client sees, and which statements over the same tables
//! have nothing to do with them.

use super::World;
use crate::analysis::Taint;
use crate::catalog::tests::server::{Client, Server};

const SCHEMA: &str = "
CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text UNIQUE, dept int, pay int, hired date);
CREATE TABLE dept (id int PRIMARY KEY, title text, code text);
CREATE TABLE pub (id int, ssn_count int, name text, pay_band text);
CREATE TABLE hidden (id int, ssn text);
CREATE VIEW v_plain AS SELECT id, name, ssn FROM emp;
CREATE VIEW v_alias AS SELECT id, name AS who, ssn AS code FROM emp;
CREATE VIEW v_rich AS SELECT id, name FROM emp WHERE pay > 100;
CREATE VIEW v_rank AS SELECT id, name FROM emp ORDER BY ssn;
CREATE FUNCTION mine(text) RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp LIMIT 1';
CREATE TABLE keyed (ssn text PRIMARY KEY, name text);
CREATE TABLE visit (id int, who text REFERENCES keyed);
CREATE TABLE club (id int PRIMARY KEY, name text);
CREATE TABLE member (id int, ssn int REFERENCES club ON DELETE CASCADE);
CREATE TABLE capped (id int PRIMARY KEY, ssn int, cap int, name text, CHECK (ssn < cap));
CREATE UNIQUE INDEX ON hidden (lower(ssn)) WHERE id > 0;
CREATE DOMAIN grade AS int;
CREATE TABLE graded (id int, ssn grade);
CREATE TABLE split (k int, ssn text, name text) PARTITION BY LIST (k);
CREATE TABLE split_1 (name text, ssn text UNIQUE, k int);
ALTER TABLE split ATTACH PARTITION split_1 FOR VALUES IN (1);
CREATE SEQUENCE c;
CREATE TABLE scratch (id int, note text);
CREATE TABLE ruled (id int, note text);
CREATE RULE r AS ON INSERT TO ruled DO INSTEAD INSERT INTO scratch (id, note)
    VALUES (NEW.id, NEW.note) RETURNING id, (SELECT ssn FROM emp WHERE emp.id = 1);
CREATE VIEW v_ruled AS SELECT id, note FROM scratch;
CREATE RULE r AS ON UPDATE TO v_ruled DO INSTEAD UPDATE scratch SET note = NEW.note
    WHERE id = OLD.id RETURNING id, (SELECT ssn FROM emp WHERE emp.id = 1);
INSERT INTO scratch VALUES (1, 'n');
INSERT INTO emp VALUES (1, 'ada', '111-22-3333', 10, 5, '2020-01-01');
";

/// The statement, and the labelled columns that decide something in it.
const COMPUTED: &[(&str, &str)] = &[
    ("SELECT id FROM emp WHERE ssn = '1'", "ssn"),
    (
        "SELECT id FROM emp WHERE ssn LIKE '1%' AND pay > 3",
        "pay ssn",
    ),
    ("SELECT id FROM emp WHERE ssn IS NULL", "ssn"),
    ("SELECT count(*) FROM emp WHERE pay BETWEEN 1 AND 2", "pay"),
    (
        "SELECT id FROM emp e WHERE EXISTS (SELECT 1 FROM hidden h WHERE h.ssn = e.ssn)",
        "ssn",
    ),
    (
        "SELECT id FROM emp WHERE id IN (SELECT pay FROM emp)",
        "pay",
    ),
    ("SELECT (SELECT count(*) FROM emp WHERE ssn = '1')", "ssn"),
    ("SELECT id FROM emp WHERE emp::text LIKE '%1%'", "pay ssn"),
    ("SELECT id FROM emp e WHERE (e).ssn = '1'", "ssn"),
    ("SELECT id FROM emp e WHERE e IS NOT NULL", "pay ssn"),
    ("SELECT e.id FROM emp e WHERE e = e", "pay ssn"),
    ("SELECT id FROM emp ORDER BY ssn", "ssn"),
    ("SELECT id, ssn AS x FROM emp ORDER BY x", "ssn"),
    ("SELECT id, ssn FROM emp ORDER BY 2", "ssn"),
    ("SELECT id FROM emp ORDER BY length(ssn)", "ssn"),
    ("SELECT * FROM emp ORDER BY 3", "ssn"),
    ("SELECT count(*) FROM emp GROUP BY ssn", "ssn"),
    ("SELECT ssn AS x, count(*) FROM emp GROUP BY x", "ssn"),
    ("SELECT ssn, count(*) FROM emp GROUP BY 1", "ssn"),
    (
        "SELECT count(*) FROM emp GROUP BY ROLLUP (dept, ssn)",
        "ssn",
    ),
    (
        "SELECT dept FROM emp GROUP BY dept HAVING max(ssn) > '1'",
        "ssn",
    ),
    ("SELECT DISTINCT ssn FROM emp", "ssn"),
    ("SELECT DISTINCT ON (ssn) id FROM emp", "ssn"),
    ("SELECT count(DISTINCT ssn) FROM emp", "ssn"),
    ("SELECT count(*) FILTER (WHERE ssn = '1') FROM emp", "ssn"),
    ("SELECT string_agg(name, ',' ORDER BY ssn) FROM emp", "ssn"),
    ("SELECT mode() WITHIN GROUP (ORDER BY pay) FROM emp", "pay"),
    ("SELECT ssn FROM emp UNION SELECT title FROM dept", "ssn"),
    (
        "SELECT title FROM dept EXCEPT ALL SELECT ssn FROM emp",
        "ssn",
    ),
    (
        "SELECT title FROM dept INTERSECT SELECT ssn FROM emp",
        "ssn",
    ),
    ("SELECT rank() OVER (ORDER BY pay) FROM emp", "pay"),
    (
        "SELECT sum(id) OVER w FROM emp WINDOW w AS (PARTITION BY ssn)",
        "ssn",
    ),
    ("SELECT CASE WHEN ssn = '1' THEN 1 END FROM emp", "ssn"),
    ("SELECT CASE ssn WHEN '1' THEN 1 END FROM emp", "ssn"),
    ("SELECT nullif(ssn, 'x') FROM emp", "ssn"),
    ("SELECT ssn IN ('a', (1 / (id - 1))::text) FROM emp", "ssn"),
    (
        "SELECT ssn BETWEEN 'm' AND (1 / (id - 1))::text FROM emp",
        "ssn",
    ),
    (
        "SELECT ssn = ANY (SELECT (1 / (d.id - 1))::text FROM dept d) FROM emp",
        "ssn",
    ),
    ("SELECT ssn NOT IN (SELECT title FROM dept) FROM emp", "ssn"),
    ("SELECT max(ssn) FROM emp WHERE 1 / (id - 1) > 0", "ssn"),
    (
        "SELECT min(s) FROM (SELECT ssn AS s FROM emp WHERE nextval('c') > 0) x",
        "ssn",
    ),
    ("SELECT pay::\"char\" FROM emp", "pay"),
    ("SELECT array(SELECT ARRAY[ssn] FROM emp)", "ssn"),
    (
        "SELECT a.i FROM (SELECT (SELECT * FROM (SELECT e.ssn) x), id AS i FROM emp e) a \
         NATURAL JOIN (SELECT 'x'::text AS ssn) b",
        "ssn",
    ),
    ("SELECT coalesce(ssn, (1 / (id - 1))::text) FROM emp", "ssn"),
    ("SELECT ssn = '1' AND 1 / id = 1 FROM emp", "ssn"),
    ("SELECT ssn::int FROM emp", "ssn"),
    ("SELECT 1 / pay FROM emp", "pay"),
    ("SELECT pay + 2147483647 FROM emp", "pay"),
    ("SELECT ssn::json FROM emp", "ssn"),
    ("SELECT to_number(ssn, '999') FROM emp", "ssn"),
    ("SELECT ssn LIKE $1 FROM emp", "ssn"),
    ("SELECT name LIKE ssn FROM emp", "ssn"),
    ("SELECT substr(name, 1, length(ssn)) FROM emp", "ssn"),
    ("SELECT repeat(ssn, 100000000) FROM emp", "ssn"),
    ("SELECT repeat('x', 1073741800) || ssn FROM emp", "ssn"),
    ("SELECT left(name, length(ssn)) FROM emp", "ssn"),
    ("SELECT chr(length(ssn) - 11) FROM emp", "ssn"),
    ("SELECT row_to_json(e) FROM emp e", "pay ssn"),
    ("SELECT generate_series(1, pay) FROM emp", "pay"),
    ("SELECT g FROM emp, generate_series(1, pay) g", "pay"),
    ("SELECT unnest(string_to_array(ssn, '-')) FROM emp", "ssn"),
    ("SELECT regexp_split_to_table(ssn, '1') FROM emp", "ssn"),
    (
        "SELECT id FROM emp LIMIT (SELECT pay FROM emp LIMIT 1)",
        "pay",
    ),
    (
        "SELECT id FROM emp OFFSET (SELECT length(min(ssn)) FROM emp)",
        "ssn",
    ),
    (
        "SELECT e.id FROM emp e JOIN hidden h ON h.ssn = e.ssn",
        "ssn",
    ),
    ("SELECT e.id FROM emp e JOIN hidden h USING (ssn)", "ssn"),
    ("SELECT e.name FROM emp e NATURAL JOIN hidden h", "ssn"),
    (
        "SELECT e.id FROM emp e LEFT JOIN dept d ON d.code = e.ssn",
        "ssn",
    ),
    (
        "SELECT x.c FROM (SELECT ssn AS c, id FROM emp) x WHERE x.c > '1'",
        "ssn",
    ),
    (
        "WITH q AS (SELECT ssn || '' AS c FROM emp) SELECT 1 FROM q WHERE c = 'x'",
        "ssn",
    ),
    (
        "WITH RECURSIVE r AS (SELECT id, ssn FROM emp UNION ALL SELECT id + 1, ssn FROM r WHERE id < 3) SELECT id FROM r ORDER BY ssn",
        "ssn",
    ),
    (
        "SELECT x.b FROM (SELECT id, ssn FROM emp) x (a, b) ORDER BY b",
        "ssn",
    ),
    ("SELECT id FROM v_plain WHERE ssn = '1'", "ssn"),
    ("SELECT id FROM v_alias WHERE code = '1'", "ssn"),
    ("SELECT id FROM v_alias a ORDER BY a.code", "ssn"),
    ("SELECT id, name FROM v_rich", "pay"),
    ("SELECT count(*) FROM v_rich", "pay"),
    ("SELECT id FROM v_rank", "ssn"),
    ("SELECT 1 WHERE (SELECT max(ssn) FROM emp) > '1'", "ssn"),
    ("SELECT xmlelement(name a, ssn) FROM emp", "ssn"),
    ("SELECT mine('x')", ""),
    ("SELECT mine(ssn) FROM emp", "ssn"),
    ("SELECT id FROM dept WHERE mine('x') = 'y'", "pay ssn who"),
    ("UPDATE emp SET name = 'x' WHERE ssn = '1'", "ssn"),
    ("UPDATE emp SET pay = pay + 1 WHERE id = 1", "pay"),
    ("UPDATE emp SET ssn = lower(ssn) WHERE id = 1", "ssn"),
    ("DELETE FROM emp WHERE pay > 3", "pay"),
    (
        "DELETE FROM dept USING emp WHERE emp.ssn = dept.code",
        "ssn",
    ),
    (
        "INSERT INTO emp (id, ssn) VALUES (1, 'x') ON CONFLICT (ssn) DO NOTHING",
        "ssn",
    ),
    (
        "INSERT INTO emp (id, ssn) VALUES (1, 'x') ON CONFLICT DO NOTHING",
        "ssn",
    ),
    (
        "INSERT INTO emp (id, ssn) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'y' WHERE emp.ssn = 'z'",
        "ssn",
    ),
    (
        "INSERT INTO dept SELECT id, 'x' FROM emp WHERE ssn = '1'",
        "ssn",
    ),
    (
        "MERGE INTO dept d USING emp e ON d.code = e.ssn WHEN MATCHED THEN DELETE",
        "ssn",
    ),
    (
        "MERGE INTO dept d USING emp e ON d.id = e.dept WHEN MATCHED AND e.pay > 3 THEN DELETE",
        "pay",
    ),
    ("PREPARE q AS SELECT id FROM emp WHERE ssn = $1", "ssn"),
    (
        "DECLARE c CURSOR FOR SELECT id FROM emp ORDER BY ssn",
        "ssn",
    ),
    ("COPY (SELECT id FROM emp ORDER BY ssn) TO STDOUT", "ssn"),
    ("EXPLAIN SELECT id FROM emp WHERE ssn = '1'", "ssn"),
    (
        "CREATE TABLE n AS SELECT id FROM emp WHERE ssn = '1'",
        "ssn",
    ),
    // Whether there is such a value.
    ("INSERT INTO emp (id, ssn) VALUES (1, 'x')", "ssn"),
    ("INSERT INTO emp VALUES (1, 'a', 'x')", "ssn"),
    (
        "INSERT INTO emp (id, ssn) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn",
        "ssn",
    ),
    (
        "INSERT INTO emp (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET ssn = 'x'",
        "ssn",
    ),
    ("UPDATE emp SET ssn = $1 WHERE id = 1 RETURNING ssn", "ssn"),
    (
        "MERGE INTO emp e USING pub p ON p.id = e.id WHEN NOT MATCHED THEN INSERT (id, ssn) VALUES (p.id, 'x')",
        "ssn",
    ),
    (
        "MERGE INTO emp e USING pub p ON p.id = e.id WHEN MATCHED THEN UPDATE SET ssn = 'x'",
        "ssn",
    ),
    (
        "WITH w AS (INSERT INTO emp (id, ssn) VALUES (1, 'x') RETURNING id) SELECT id FROM w",
        "ssn",
    ),
    ("COPY emp FROM STDIN", "ssn"),
    ("COPY emp (id, ssn) FROM STDIN", "ssn"),
    ("INSERT INTO v_plain (id, ssn) VALUES (1, 'x')", "ssn"),
    ("INSERT INTO hidden VALUES (1, 'x')", "ssn"),
    ("UPDATE hidden SET id = 5", "ssn"),
    ("INSERT INTO visit VALUES (1, 'x')", "ssn who"),
    ("INSERT INTO member VALUES (1, 3)", "ssn"),
    ("DELETE FROM keyed WHERE name = 'x'", "ssn who"),
    ("DELETE FROM club WHERE id = 1", "ssn"),
    ("UPDATE club SET id = 2 WHERE id = 1", "ssn"),
    ("UPDATE capped SET cap = 3 WHERE id = 1", "ssn"),
    ("INSERT INTO split VALUES (1, 'x', 'y')", "ssn"),
    ("UPDATE split SET k = 1 WHERE name = 'x'", "ssn"),
    // Whether a constraint holds, and in which order rows come to lie.
    ("CLUSTER emp USING emp_ssn_key", "pay ssn"),
    ("CREATE INDEX ON emp (ssn)", "ssn"),
    ("CREATE UNIQUE INDEX ON emp (pay)", "pay"),
    ("CREATE INDEX ON emp (id) INCLUDE (pay)", "pay"),
    ("CREATE INDEX ON emp (name) WHERE pay > 3", "pay"),
    ("CREATE UNIQUE INDEX ON emp (lower(ssn))", "ssn"),
    ("ALTER TABLE emp ADD UNIQUE (pay)", "pay"),
    ("ALTER TABLE emp ADD CHECK (pay > 3)", "pay"),
    ("ALTER TABLE emp ADD EXCLUDE (pay WITH =)", "pay"),
    ("ALTER TABLE emp ALTER pay SET NOT NULL", "pay"),
    ("ALTER TABLE emp VALIDATE CONSTRAINT x", "pay ssn"),
    (
        "ALTER TABLE pub ADD FOREIGN KEY (name) REFERENCES keyed (ssn)",
        "ssn",
    ),
    (
        "ALTER TABLE pub ADD COLUMN k text DEFAULT 'x' REFERENCES keyed",
        "ssn",
    ),
    ("ALTER DOMAIN grade ADD CHECK (VALUE > 3)", "ssn"),
    // What is done, and for how many rows.
    (
        "SELECT CASE WHEN pay > 3 THEN nextval('c') END FROM emp",
        "pay",
    ),
    ("SELECT setval('c', pay) FROM emp", "pay"),
    ("SELECT pg_advisory_lock(pay) FROM emp", "pay"),
    ("SELECT pg_notify('x', ssn) FROM emp", "ssn"),
    (
        "SELECT 1 / (CASE WHEN pay > 3 THEN 0 ELSE 1 END) FROM emp",
        "pay",
    ),
    ("SELECT generate_series(1, pay) FROM emp", "pay"),
    ("SELECT e.id FROM emp e, generate_series(1, e.pay)", "pay"),
    (
        "SELECT count(*) OVER (PARTITION BY pay > 3) FROM emp",
        "pay",
    ),
    (
        "SELECT sum(id) OVER (ORDER BY pay RANGE 1 PRECEDING) FROM emp",
        "pay",
    ),
    ("SELECT sqrt(pay), substr(ssn, pay) FROM emp", "pay ssn"),
    ("SELECT random() < pay FROM emp", "pay"),
    (
        "SELECT id FROM emp TABLESAMPLE system ((SELECT max(pay) FROM emp))",
        "pay",
    ),
];

/// Values that are only hidden: nothing depends on them.
const ONLY_SHOWN: &[&str] = &[
    "SELECT ssn, pay FROM emp",
    "SELECT * FROM emp WHERE id = 1 ORDER BY name",
    "SELECT ssn || '' FROM emp",
    "SELECT '<' || ssn || '>' || name FROM emp",
    "SELECT upper(ssn), lower(ssn), length(ssn), md5(ssn), concat(ssn, name), left(ssn, 3), ssn::varchar(20) FROM emp",
    "SELECT coalesce(ssn, ''), greatest(ssn, ''), ssn IS NULL, ssn = 'x' FROM emp",
    "SELECT count(ssn), min(ssn), max(pay), sum(pay), avg(pay) FROM emp",
    "SELECT min(ssn), max(pay) FROM emp WHERE name = 'x' AND id > 3",
    "SELECT dept, max(pay) FROM emp WHERE id % 2 = 0 GROUP BY dept",
    "SELECT ssn IN ('x', name), ssn BETWEEN 'a' AND name FROM emp",
    "SELECT (SELECT ssn FROM emp WHERE id = 1)",
    "SELECT x.c FROM (SELECT ssn AS c FROM emp) x",
    "SELECT e.ssn, d.title FROM emp e JOIN dept d ON d.id = e.dept WHERE d.title = 'x'",
    "SELECT ssn FROM emp UNION ALL SELECT title FROM dept",
    "SELECT code FROM v_alias WHERE id = 1",
    "SELECT e FROM emp e",
    "SELECT first_value(ssn) OVER (ORDER BY id) FROM emp",
    "INSERT INTO emp (id, pay) VALUES (1, 3)",
    "INSERT INTO emp (id, pay) VALUES (1, 3) ON CONFLICT (id) DO UPDATE SET pay = excluded.pay",
    "INSERT INTO emp (id, name) VALUES (1, 'x') ON CONFLICT DO NOTHING",
    "UPDATE emp SET pay = $1 WHERE id = 1 RETURNING ssn",
    "UPDATE keyed SET name = 'x'",
    "UPDATE club SET name = 'x' WHERE id = 1",
    "UPDATE capped SET name = 'x' WHERE id = 1",
    "INSERT INTO capped VALUES (1, 2, 3, 'x')",
    "INSERT INTO member (id) VALUES (1)",
    "COPY emp (id, name) FROM STDIN",
    "ALTER TABLE emp ADD UNIQUE (name)",
    "CREATE INDEX ON emp (name)",
    "DELETE FROM emp WHERE id = 1 RETURNING ssn",
    "COPY emp TO STDOUT",
];

/// Ordinary work over the same tables, and the same names elsewhere: neither hidden nor computed.
const CLEAN: &[&str] = &[
    "SELECT id, name FROM emp WHERE id = 1",
    "SELECT count(*) FROM emp",
    "SELECT name || '!' AS ssn FROM emp ORDER BY ssn",
    "SELECT name AS pay, count(*) FROM emp GROUP BY name ORDER BY pay",
    "SELECT ssn FROM (SELECT name AS ssn FROM emp) x WHERE ssn = 'a' ORDER BY ssn",
    "WITH emp AS (SELECT 1 AS ssn, 2 AS pay) SELECT ssn, pay + 1 FROM emp WHERE pay > 1 ORDER BY ssn",
    "WITH c (ssn) AS (SELECT title FROM dept) SELECT upper(ssn) FROM c GROUP BY ssn",
    "SELECT x.ssn, x.pay FROM (SELECT id, name, dept FROM emp) x (ssn, pay, q) ORDER BY x.pay",
    "SELECT pay FROM generate_series(1, 3) AS pay ORDER BY pay",
    "SELECT e.id, p.ssn_count FROM emp e JOIN pub p USING (id) ORDER BY p.ssn_count",
    "SELECT p.name, e.name FROM emp e, pub p WHERE e.id = p.id AND p.pay_band = 'x'",
    "SELECT d.title, count(*) FROM emp e JOIN dept d ON d.id = e.dept GROUP BY d.title HAVING count(*) > 1 ORDER BY 2 DESC",
    "SELECT d.title, (SELECT count(*) FROM emp e WHERE e.dept = d.id) AS n FROM dept d ORDER BY n",
    "SELECT dept, array_agg(name ORDER BY hired), max(hired), bool_or(id > 3) FROM emp GROUP BY dept",
    "SELECT name, row_number() OVER (PARTITION BY dept ORDER BY hired), lag(name) OVER w FROM emp WINDOW w AS (ORDER BY id)",
    "SELECT dept, count(*) FILTER (WHERE hired > '2020-01-01'), sum(id) FROM emp GROUP BY GROUPING SETS ((dept), ())",
    "SELECT DISTINCT dept FROM emp",
    "SELECT CASE WHEN id > 1 THEN name ELSE 'x' END, coalesce(name, 'x'), id::text, extract(year FROM hired) FROM emp",
    "SELECT to_char(hired, 'YYYY'), date_trunc('month', hired), hired + 1, 10 / id FROM emp WHERE id BETWEEN 1 AND 5",
    "SELECT name FROM emp WHERE dept IN (SELECT id FROM dept WHERE title LIKE 'a%') AND name ~ 'x'",
    "SELECT name FROM emp e WHERE EXISTS (SELECT 1 FROM dept d WHERE d.id = e.dept)",
    "SELECT name FROM emp UNION SELECT title FROM dept ORDER BY 1",
    "WITH RECURSIVE r (id, depth) AS (SELECT id, 0 FROM dept UNION ALL SELECT e.id, depth + 1 FROM emp e JOIN r ON r.id = e.dept WHERE depth < 3) SELECT * FROM r ORDER BY depth",
    "WITH a AS (SELECT dept, count(*) AS n FROM emp GROUP BY dept) SELECT d.title, a.n FROM a JOIN dept d ON d.id = a.dept WHERE a.n > 1",
    "SELECT x.* FROM (SELECT id, name, dept FROM emp) x JOIN dept d ON d.id = x.dept ORDER BY x.name LIMIT 5",
    "SELECT d.*, l.name FROM dept d, LATERAL (SELECT e.name FROM emp e WHERE e.dept = d.id ORDER BY e.hired LIMIT 1) l",
    "SELECT row_to_json(x) FROM (SELECT id, name FROM emp) x",
    "SELECT json_agg(json_build_object('id', id, 'name', name)) FROM emp",
    "SELECT id, who FROM v_alias WHERE who = 'x' ORDER BY id",
    "SELECT upper(name), id FROM v_plain ORDER BY name",
    "SELECT j.id FROM emp JOIN dept USING (id) AS j ORDER BY j.id",
    "SELECT id, title FROM emp NATURAL JOIN dept",
    "SELECT q.b FROM (emp CROSS JOIN dept) AS q (a, b) WHERE q.a = 1",
    "SELECT e.ctid, e.tableoid::regclass FROM emp e",
    "UPDATE emp SET name = upper(name), dept = d.id FROM dept d WHERE d.title = 'x' AND d.id = emp.dept RETURNING emp.id, d.title",
    "INSERT INTO pub (id, name) SELECT id, name FROM emp WHERE dept = 1 ON CONFLICT DO NOTHING RETURNING id",
    "INSERT INTO pub SELECT id, count(*) OVER (), name, 'x' FROM emp",
    "DELETE FROM emp e USING dept d WHERE d.id = e.dept AND d.title = 'x' RETURNING e.id, e.name",
    "MERGE INTO pub p USING emp e ON p.id = e.id WHEN MATCHED THEN UPDATE SET name = e.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (e.id, e.name)",
    "CREATE TABLE n1 AS SELECT id, name FROM emp WHERE dept = 1",
    "SELECT relname, reltuples FROM pg_class WHERE relname = 'emp' ORDER BY 1",
    "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'emp' ORDER BY ordinal_position",
    "SELECT (SELECT name FROM emp LIMIT 1) || '!', ARRAY(SELECT id FROM emp ORDER BY hired)",
    "SELECT t.v, t.n FROM emp e, unnest(ARRAY[e.name, 'x']) WITH ORDINALITY AS t (v, n) ORDER BY t.n",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM emp",
    "SELECT e1.name, e2.name FROM emp e1 LEFT JOIN emp e2 ON e2.id = e1.dept ORDER BY e1.id, e2.name",
    "SELECT name, id FROM (SELECT name, id, ssn FROM emp) x ORDER BY id",
    "SELECT e.name, v.word FROM emp e JOIN (VALUES (0, 'low'), (1, 'high')) AS v (n, word) ON v.n = e.id",
    "SELECT * FROM (VALUES (1, (SELECT max(name) FROM emp)), (2, 'x')) v (n, m)",
    "SELECT t FROM (SELECT id, name FROM emp) t",
    "SELECT t.*, to_jsonb(t), t::text FROM (SELECT id, name FROM emp) t",
    "SELECT e.name, u.* FROM emp e, unnest(string_to_array(e.name, ' ')) WITH ORDINALITY u",
    "SELECT e.name, u.w, u.n FROM emp e, unnest(string_to_array(e.name, ' ')) WITH ORDINALITY u (w, n)",
    "SELECT e.name, key, value FROM emp e, jsonb_each(jsonb_build_object('a', e.name))",
    "SELECT e.name, j.* FROM emp e, jsonb_each_text(jsonb_build_object('a', e.name)) AS j",
    "SELECT e.name, j.k FROM emp e, jsonb_each(jsonb_build_object('a', e.name)) AS j (k, v) ORDER BY j.v",
    "SELECT e.name, g FROM emp e, generate_series(1, e.id) g",
    "SELECT e.name, m[1] FROM emp e, regexp_matches(e.name, 'a', 'g') m",
    "SELECT x.a, e.name FROM emp e, jsonb_to_recordset('[{\"a\": 1}]') AS x (a int)",
    "WITH RECURSIVE r AS (SELECT id, name, 1 AS depth FROM emp UNION ALL SELECT r.id, r.name, depth + 1 FROM r WHERE depth < 3) SELECT * FROM r ORDER BY 1, 3",
    "WITH RECURSIVE r AS (SELECT id, name, 1 AS depth FROM emp UNION SELECT e.id, e.name, r.depth + 1 FROM r JOIN emp e ON e.dept = r.id WHERE depth < 3) SELECT id, depth FROM r ORDER BY 1, 2",
    "SELECT 1 AS one, 'x' AS two, a.name FROM v_plain a FULL JOIN dept d ON d.id = a.id",
    "SELECT 1 AS one, a.name, b.who FROM v_plain a FULL JOIN v_alias b ON a.id = b.id FULL JOIN pub p ON p.id = a.id",
    "SELECT array_agg(e.name), array_length(array_agg(e.id), 1) FROM emp e",
    "SELECT (SELECT t FROM (SELECT id, name FROM emp) t LIMIT 1)",
    "INSERT INTO emp (id, name) VALUES (77, 'x') RETURNING id, name",
    "EXPLAIN SELECT id, name FROM emp WHERE id = 1",
    "EXPLAIN (FORMAT json) SELECT dept, count(*) FROM emp GROUP BY dept",
    "EXPLAIN ANALYZE SELECT name FROM emp e JOIN dept d ON d.id = e.dept ORDER BY name",
    "WITH c AS (SELECT * FROM emp) SELECT id, name FROM c WHERE dept = 1",
];

fn world(server: &Server) -> (World, Client) {
    let mut client = server.connect();
    client.run(SCHEMA);
    (World::new(client.snapshot(), client.state()), client)
}

#[test]
fn what_decides() {
    let server = Server::start("computed");
    let (world, mut client) = world(&server);
    let mut wrong = Vec::new();
    let only_shown = ONLY_SHOWN.iter().map(|sql| (*sql, ""));
    for (sql, expect) in COMPUTED.iter().copied().chain(only_shown) {
        let analysis = world.analyse(sql);
        let columns: std::collections::BTreeSet<&str> =
            analysis.computed.iter().map(|c| &*c.column).collect();
        let columns: Vec<&str> = columns.into_iter().collect();
        if columns.join(" ") != expect || analysis.unknown_names || !analysis.facts.parsed {
            wrong.push(format!("{sql}\n    {columns:?}"));
        }
        let understood = client.query(&format!("DEALLOCATE ALL; PREPARE tried AS {sql}"));
        let syntax = understood.iter().find_map(|r| r.error.as_ref());
        let statement = [
            "PREPARE", "DECLARE", "COPY", "EXPLAIN", "CREATE", "ALTER", "CLUSTER",
        ];
        let statement = statement.iter().any(|s| sql.starts_with(s));
        if let (Some(error), false) = (syntax, statement) {
            wrong.push(format!("{sql}\n    {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ordinary_work_is_clean() {
    let server = Server::start("ordinary");
    let (world, mut client) = world(&server);
    let mut wrong = Vec::new();
    for sql in CLEAN {
        let analysis = world.analyse(sql);
        if !analysis.computed.is_empty() || analysis.unmaskable.is_some() || analysis.unknown_names
        {
            wrong.push(format!(
                "COMPUTED {sql}\n    {:?} {:?}",
                analysis.computed, analysis.unmaskable
            ));
        }
        let replies = client.query(&format!("BEGIN; {sql}; ROLLBACK"));
        for reply in &replies {
            if let Some(error) = &reply.error {
                wrong.push(format!("ERROR {sql}\n    {error}"));
            }
        }
        client.run("ROLLBACK");
        let shape = &analysis.statements[0];
        let Some(fields) = replies.iter().map(|r| &r.fields).find(|f| !f.is_empty()) else {
            continue;
        };
        let taints = shape.taints(fields, &world.snapshot, &analysis.labelled);
        if taints.iter().any(|t| *t != Taint::Clean) {
            wrong.push(format!("MASKED {sql}\n    {taints:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The server says that what a rule shows is the column, and it can be anything.
#[test]
fn rules_show_what_they_want() {
    let server = Server::start("ruled");
    let (world, mut client) = world(&server);
    for sql in [
        "INSERT INTO ruled VALUES (90, 'r') RETURNING note",
        "INSERT INTO ruled VALUES (90, 'r') RETURNING *",
        "INSERT INTO ruled VALUES (90, 'r') RETURNING ruled",
        "UPDATE v_ruled SET note = 'r' WHERE id = 1 RETURNING note",
        "WITH w AS (INSERT INTO ruled VALUES (90, 'r') RETURNING note) SELECT note FROM w",
    ] {
        let analysis = world.analyse(sql);
        let replies = client.query(sql);
        let reply = replies.iter().find(|r| !r.fields.is_empty()).unwrap();
        let row = String::from_utf8_lossy(&reply.rows[0]);
        assert!(row.contains("111-22-3333"), "{sql}: {row}");
        let shape = &analysis.statements[0];
        let taints = shape.taints(&reply.fields, &world.snapshot, &analysis.labelled);
        assert!(
            taints.iter().any(|t| *t != Taint::Clean),
            "{sql}: {taints:?}"
        );
        let hidden = analysis.labelled.iter().any(|c| &*c.column == "ssn");
        assert!(hidden, "{sql}");
    }
    let sql = "INSERT INTO ruled VALUES (90, 'r') RETURNING 1 / (note = 'x')::int";
    let computed = world.analyse(sql).computed;
    assert!(computed.iter().any(|c| &*c.column == "ssn"), "{computed:?}");
}

/// Estimates are made from what is stored: widths, frequencies, how many there are.
#[test]
fn plans_tell_of_the_columns_in_them() {
    let server = Server::start("plans");
    let (world, mut client) = world(&server);
    for sql in [
        "EXPLAIN SELECT ssn FROM emp",
        "EXPLAIN SELECT * FROM emp",
        "EXPLAIN SELECT id FROM emp WHERE pay > 3",
        "EXPLAIN SELECT count(*) FROM (SELECT ssn FROM emp OFFSET 0) x",
        "EXPLAIN SELECT count(*) FROM (SELECT e FROM emp e OFFSET 0) x",
        "EXPLAIN WITH x AS MATERIALIZED (TABLE emp) SELECT count(*) FROM x",
        "EXPLAIN SELECT id FROM v_rich",
        "EXPLAIN SELECT id FROM emp WHERE mine('x') = 'y'",
        "EXPLAIN ANALYZE SELECT id FROM emp ORDER BY ssn",
        "EXPLAIN UPDATE emp SET name = 'x'",
    ] {
        let analysis = world.analyse(sql);
        let replies = client.query(&format!("BEGIN; {sql}; ROLLBACK"));
        let reply = replies.iter().find(|r| !r.fields.is_empty()).unwrap();
        let shape = &analysis.statements[0];
        let taints = shape.taints(&reply.fields, &world.snapshot, &analysis.labelled);
        assert_eq!(taints, [Taint::Tainted], "{sql}");
    }
}
