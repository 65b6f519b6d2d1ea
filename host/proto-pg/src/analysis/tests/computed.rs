//! Which labelled columns a statement is said to compute with.

use super::World;
use crate::catalog::tests::server::Server;

const SCHEMA: &str = "
CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text UNIQUE, pay int, dept int);
CREATE TABLE dept (id int PRIMARY KEY, title text, ssn text);
CREATE TABLE open (id int PRIMARY KEY, note text, name text);
CREATE VIEW v AS SELECT id, name, ssn AS code FROM emp WHERE pay > 3;
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE p(int) LANGUAGE sql AS 'SELECT 1';
CREATE TABLE part (k int, ssn text) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (9);
";

const E_SSN: &str = "public.emp.ssn";
const E_PAY: &str = "public.emp.pay";
/// Everything labelled that the statement can reach.
const REACH: &str = "*";
const NOTHING: &str = "";

const TABLE: &[(&str, &str)] = &[
    // Nothing depends on what is hidden.
    ("SELECT * FROM emp", NOTHING),
    (
        "SELECT ssn FROM emp WHERE id = 1 ORDER BY id LIMIT 3",
        NOTHING,
    ),
    (
        "SELECT ssn, upper(ssn), pay + 1 FROM emp WHERE name = 'ada'",
        E_PAY,
    ),
    (
        "SELECT name, count(*), sum(pay) FROM emp GROUP BY name",
        NOTHING,
    ),
    ("SELECT DISTINCT name FROM emp", NOTHING),
    (
        "SELECT e.ssn, d.title FROM emp e JOIN dept d ON d.id = e.dept",
        NOTHING,
    ),
    (
        "SELECT e.ssn, d.title FROM emp e JOIN dept d USING (id)",
        NOTHING,
    ),
    ("SELECT id FROM emp UNION SELECT id FROM dept", NOTHING),
    (
        "SELECT ssn FROM emp UNION ALL SELECT ssn FROM dept",
        NOTHING,
    ),
    (
        "SELECT name FROM open WHERE EXISTS (SELECT * FROM emp WHERE emp.id = open.id)",
        NOTHING,
    ),
    (
        "SELECT name FROM open WHERE id IN (SELECT id FROM emp)",
        NOTHING,
    ),
    (
        "SELECT row_number() OVER (ORDER BY id), ssn FROM emp",
        NOTHING,
    ),
    (
        "SELECT (SELECT ssn FROM emp e WHERE e.id = o.id) FROM open o WHERE o.id < 9",
        NOTHING,
    ),
    (
        "WITH c AS (SELECT id, ssn FROM emp) SELECT * FROM c WHERE id = 1 ORDER BY 1, 2 LIMIT 0",
        E_SSN,
    ),
    (
        "WITH c AS (SELECT id, ssn FROM emp) SELECT * FROM c WHERE id = 1 ORDER BY id",
        NOTHING,
    ),
    ("SELECT code FROM v WHERE id = 3", E_PAY),
    ("INSERT INTO emp (id, ssn) VALUES (1, 'x')", E_SSN),
    (
        "INSERT INTO emp (id, ssn) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn",
        E_SSN,
    ),
    (
        "UPDATE emp SET ssn = 'x', pay = 3 WHERE id = 1 RETURNING ssn",
        E_SSN,
    ),
    ("DELETE FROM emp WHERE id = 1 RETURNING *", NOTHING),
    ("COPY emp TO STDOUT", NOTHING),
    (
        "DECLARE c CURSOR FOR SELECT ssn FROM emp;; FETCH 3 FROM c",
        NOTHING,
    ),
    ("CREATE INDEX ON emp (id) WHERE name IS NOT NULL", NOTHING),
    (
        "CREATE VIEW w AS SELECT id, ssn FROM emp WHERE id > 3",
        NOTHING,
    ),
    ("SELECT f(id), ssn FROM emp WHERE id = 1", NOTHING),
    ("CALL p(1)", NOTHING),
    ("SELECT 1 AS ssn ORDER BY ssn", NOTHING),
    ("SELECT note AS ssn FROM open ORDER BY ssn", NOTHING),
    // Conditions.
    ("SELECT id FROM emp WHERE ssn LIKE '1%'", E_SSN),
    ("SELECT id FROM emp WHERE SSN = $1", E_SSN),
    (
        "SELECT id FROM emp e WHERE e.pay BETWEEN 1 AND 3 AND e.ssn IS NOT NULL",
        "public.emp.pay public.emp.ssn",
    ),
    (
        "SELECT id FROM emp WHERE ssn = ANY (ARRAY['1', '2'])",
        E_SSN,
    ),
    ("SELECT count(*) FROM emp HAVING max(ssn) > '3'", E_SSN),
    (
        "SELECT id FROM emp WHERE CASE WHEN pay > 3 THEN 1 / (id - 1) ELSE 1 END > 0",
        E_PAY,
    ),
    ("SELECT id FROM emp WHERE (ssn, id) = ('1', 1)", E_SSN),
    ("SELECT id FROM emp e WHERE e.* IS NOT NULL", REACH),
    ("SELECT id FROM emp e WHERE e IS NOT NULL", REACH),
    (
        "SELECT id FROM emp WHERE row_to_json(emp)::text LIKE '%111%'",
        REACH,
    ),
    (
        "SELECT id FROM emp LIMIT (SELECT count(*) FROM emp WHERE ssn LIKE '1%')",
        E_SSN,
    ),
    (
        "SELECT id FROM emp LIMIT (SELECT pay FROM emp LIMIT 1)",
        E_PAY,
    ),
    ("SELECT id FROM v WHERE code LIKE '1%'", REACH),
    (
        "SELECT id FROM (SELECT id, ssn || '' AS z FROM emp) q WHERE z LIKE '1%'",
        E_SSN,
    ),
    (
        "SELECT id FROM (SELECT id FROM emp WHERE ssn LIKE '1%') q",
        E_SSN,
    ),
    (
        "WITH c AS (SELECT id FROM emp WHERE ssn LIKE '1%') SELECT * FROM c",
        E_SSN,
    ),
    (
        "SELECT k FROM part WHERE ssn = '1'",
        "public.part.ssn public.part_1.ssn",
    ),
    ("TABLE open EXCEPT SELECT id, ssn, name FROM emp", E_SSN),
    ("EXPLAIN SELECT id FROM emp WHERE ssn LIKE '1%'", E_SSN),
    (
        "PREPARE q AS SELECT id FROM emp WHERE ssn = $1;; EXECUTE q ('1')",
        E_SSN,
    ),
    (
        "DECLARE c CURSOR FOR SELECT id FROM emp WHERE ssn = '1';; FETCH 3 FROM c",
        E_SSN,
    ),
    ("COPY (SELECT id FROM emp WHERE ssn = '1') TO STDOUT", E_SSN),
    // Sub-selects that are compared.
    (
        "SELECT note FROM open WHERE name IN (SELECT ssn FROM emp)",
        E_SSN,
    ),
    (
        "SELECT note FROM open WHERE name = (SELECT ssn FROM emp WHERE id = 1)",
        E_SSN,
    ),
    (
        "SELECT note FROM open WHERE EXISTS (SELECT 1 FROM emp WHERE ssn = open.name)",
        E_SSN,
    ),
    (
        "SELECT note FROM open WHERE 3 > ALL (SELECT length(z) FROM (SELECT ssn AS z FROM emp) q)",
        E_SSN,
    ),
    // Joins.
    (
        "SELECT e.id FROM emp e JOIN dept d ON d.ssn = e.ssn",
        "public.dept.ssn public.emp.ssn",
    ),
    (
        "SELECT e.id FROM emp e JOIN dept d USING (ssn)",
        "public.dept.ssn public.emp.ssn",
    ),
    (
        "SELECT e.id FROM emp e NATURAL JOIN dept d",
        "public.dept.ssn public.emp.ssn",
    ),
    (
        "SELECT e.id FROM emp e, LATERAL (SELECT 1 FROM open WHERE name = e.ssn) x",
        E_SSN,
    ),
    // Order, groups, comparing rows.
    ("SELECT id FROM emp ORDER BY ssn", E_SSN),
    ("SELECT id, upper(ssn) AS u FROM emp ORDER BY u", E_SSN),
    ("SELECT id, ssn FROM emp ORDER BY 2", E_SSN),
    ("SELECT count(*) FROM emp GROUP BY ssn", E_SSN),
    ("SELECT ssn, count(*) FROM emp GROUP BY 1", E_SSN),
    ("SELECT count(*) FROM emp GROUP BY ROLLUP (pay)", E_PAY),
    ("SELECT DISTINCT ssn FROM emp", E_SSN),
    ("SELECT DISTINCT ON (pay) id FROM emp", E_PAY),
    (
        "SELECT count(*) FROM (SELECT DISTINCT ssn FROM emp) q",
        E_SSN,
    ),
    ("SELECT ssn FROM emp UNION SELECT name FROM open", E_SSN),
    ("SELECT * FROM emp INTERSECT SELECT * FROM emp", REACH),
    (
        "SELECT ssn FROM emp UNION ALL SELECT name FROM open ORDER BY 1",
        E_SSN,
    ),
    (
        "(SELECT ssn FROM emp UNION ALL SELECT name FROM open) UNION SELECT name FROM open",
        E_SSN,
    ),
    ("SELECT name FROM emp WINDOW w AS (ORDER BY ssn)", E_SSN),
    (
        "SELECT (SELECT 1 UNION SELECT length(ssn) FROM emp LIMIT 1)",
        E_SSN,
    ),
    // Writes.
    ("UPDATE emp SET name = 'x' WHERE ssn = '1'", E_SSN),
    (
        "UPDATE open SET note = 'x' FROM emp WHERE emp.ssn = open.name",
        E_SSN,
    ),
    (
        "DELETE FROM open USING emp WHERE emp.ssn = open.name",
        E_SSN,
    ),
    ("DELETE FROM emp WHERE pay > 3", E_PAY),
    (
        "INSERT INTO emp (id, ssn) VALUES (1, 'x') ON CONFLICT (ssn) DO NOTHING",
        E_SSN,
    ),
    (
        "INSERT INTO emp (id, ssn) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'x' WHERE emp.ssn > '3'",
        E_SSN,
    ),
    (
        "INSERT INTO emp (id, ssn) VALUES (1, 'x') ON CONFLICT DO NOTHING",
        E_SSN,
    ),
    (
        "INSERT INTO emp (id, ssn) VALUES (1, 'x') ON CONFLICT ON CONSTRAINT emp_ssn_key DO NOTHING",
        E_SSN,
    ),
    (
        "INSERT INTO open SELECT id FROM emp WHERE ssn LIKE '1%'",
        E_SSN,
    ),
    (
        "MERGE INTO open USING emp ON emp.ssn = open.name WHEN MATCHED THEN DELETE",
        E_SSN,
    ),
    (
        "MERGE INTO open USING emp ON emp.id = open.id WHEN MATCHED AND pay > 3 THEN DELETE",
        E_PAY,
    ),
    // What outlives the statement.
    (
        "CREATE TABLE t AS SELECT id FROM emp WHERE ssn LIKE '1%'",
        E_SSN,
    ),
    (
        "CREATE VIEW w AS SELECT id FROM emp WHERE ssn LIKE '1%'",
        E_SSN,
    ),
    (
        "CREATE VIEW w AS SELECT id FROM (SELECT id, ssn AS z FROM emp) q WHERE z LIKE '1%'",
        E_SSN,
    ),
    (
        "CREATE VIEW w AS SELECT id FROM emp UNION SELECT pay FROM emp",
        E_PAY,
    ),
    (
        "CREATE MATERIALIZED VIEW w AS SELECT id FROM emp ORDER BY ssn",
        E_SSN,
    ),
    ("ALTER TABLE emp ADD CHECK (ssn LIKE '1%')", E_SSN),
    ("CREATE POLICY x ON emp USING (ssn LIKE '1%')", E_SSN),
    ("CLUSTER emp USING emp_ssn_key", REACH),
    ("CLUSTER open USING open_pkey", NOTHING),
    ("CLUSTER", REACH),
    // Code that can read anything.
    ("SELECT id FROM emp WHERE f(id) = 1", REACH),
    ("SELECT f(id) AS y, ssn FROM emp ORDER BY y", REACH),
    ("SELECT DISTINCT f(id) FROM emp", REACH),
    ("SELECT f(id) FROM emp WHERE ssn = '1'", E_SSN),
    (
        "SELECT f(id) FROM emp e JOIN dept d USING (ssn)",
        "public.dept.ssn public.emp.ssn",
    ),
    ("SELECT 1; SELECT id FROM emp WHERE pay = 1", E_PAY),
    // Not understood: anything.
    (
        "DO $$ BEGIN PERFORM 1 FROM emp WHERE ssn = '1'; END $$",
        NOTHING,
    ),
    ("SELECT id FROM emp WHERE ssn LIKE", REACH),
];

#[test]
fn what_decides_rows_and_their_order() {
    let server = Server::start("computed");
    let mut client = server.connect();
    client.run(SCHEMA);
    let mut wrong = Vec::new();
    for (case, expect) in TABLE {
        let mut world = World::new(client.snapshot(), client.state());
        let mut last = None;
        for sql in case.split(";;") {
            let analysis = world.analyse(sql);
            world.state.forwarded(&analysis);
            last = Some(analysis);
        }
        let Some(analysis) = last else { continue };
        let name = |c: &pipeline::Column| format!("{}.{}.{}", c.schema, c.table, c.column);
        let mut found: Vec<String> = analysis.computed.iter().map(name).collect();
        found.sort();
        let all = !found.is_empty() && analysis.computed.len() == analysis.labelled.len();
        let found = found.join(" ");
        let fits = found == *expect || (*expect == REACH && all);
        if !fits {
            wrong.push(format!("{case}\n    {found:?} instead of {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
