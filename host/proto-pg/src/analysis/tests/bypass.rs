//! Every way around masking that we know of, run on a real server: the planted secret must not be in
//! what is left of the rows, or the statement must not run at all.

use bytes::BytesMut;
use pipeline::mask::{MaskKeys, MaskPlan};
use pipeline::{Column, LabelCatalog};

use super::World;
use crate::analysis::{Analysis, CopyKind, Taint};
use crate::catalog::tests::server::{Client, Server, texts};
use crate::mask::RowMask;

pub(super) const SECRET: &str = "111-22-3333";

const SCHEMA: &str = "
CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text, dept int, pay int);
INSERT INTO emp VALUES (1, 'ada', '111-22-3333', 10, 5), (2, 'bob', '111-22-3333', 20, 7);
CREATE TABLE dept (id int, title text);
INSERT INTO dept VALUES (10, 'x'), (20, 'y');
CREATE TABLE part (k int, ssn text, other text) PARTITION BY RANGE (k);
CREATE TABLE part_1 (other text, ssn text, k int NOT NULL);
ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES FROM (0) TO (9);
INSERT INTO part VALUES (1, '111-22-3333', 'o');
CREATE TABLE base (id int, note text);
CREATE TABLE child (ssn text) INHERITS (base);
INSERT INTO child VALUES (1, 'n', '111-22-3333');
CREATE TABLE gen (ssn text, copy text GENERATED ALWAYS AS (ssn || '!') STORED);
INSERT INTO gen VALUES ('111-22-3333');
CREATE VIEW v_plain AS SELECT id, name, ssn FROM emp;
CREATE VIEW v_alias AS SELECT id, name AS who, ssn AS code FROM emp;
CREATE VIEW v_deep AS SELECT id, who, code AS c2 FROM v_alias;
CREATE VIEW v_row AS SELECT id, e AS whole FROM emp e;
CREATE VIEW v_json AS SELECT id, to_json(e) AS j FROM emp e;
CREATE VIEW v_union AS SELECT name AS n FROM emp UNION SELECT ssn FROM emp;
CREATE MATERIALIZED VIEW m_copy AS SELECT id, ssn AS frozen FROM emp;
CREATE FUNCTION leak(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT ssn FROM emp WHERE id = $1';
CREATE OR REPLACE FUNCTION information_schema._pg_leak(int) RETURNS text LANGUAGE sql STABLE AS
  'SELECT ssn FROM emp WHERE id = $1';
CREATE FUNCTION leak_row() RETURNS SETOF emp LANGUAGE sql AS 'SELECT * FROM emp';
CREATE FUNCTION leak_secdef() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS
  'BEGIN RETURN (SELECT ssn FROM emp LIMIT 1); END';
CREATE VIEW v_func AS SELECT leak(1) AS l;
CREATE FUNCTION cat(text, text) RETURNS text LANGUAGE sql AS 'SELECT (SELECT ssn FROM emp LIMIT 1)';
CREATE OPERATOR <+> (FUNCTION = cat, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION ssn_of(emp) RETURNS text LANGUAGE sql AS 'SELECT $1.ssn';
CREATE TYPE pair AS (a text, b int);
CREATE FUNCTION mkpair(int) RETURNS pair LANGUAGE sql AS 'SELECT ROW(ssn, id)::pair FROM emp WHERE id = $1';
CREATE CAST (int AS pair) WITH FUNCTION mkpair(int);
CREATE TABLE twin (ssn text);
INSERT INTO twin VALUES ('111-22-3333');
CREATE SCHEMA x;
CREATE TABLE x.twin (a text);
ANALYZE emp;
";

/// Each alone in its session; `;;` separates texts that are sent one after the other.
pub(super) const LEAKS: &[&str] = &[
    // Casts run functions.
    "SELECT (1::pair).a",
    "SELECT CAST(id AS pair) FROM emp",
    // The same name means something else by the time that the server looks.
    "BEGIN;;SET LOCAL search_path = x, public;;SELECT 1 FROM twin;;ROLLBACK; SELECT 'q' || t FROM twin t",
    "BEGIN;;SAVEPOINT a;;SET search_path = x, public;;SELECT 1 FROM twin;;ROLLBACK TO a; TABLE twin;;ROLLBACK",
    "SET search_path = x, public;;SELECT 1 FROM twin;;BEGIN;;DROP TABLE x.twin; SELECT 'q' || t FROM twin t;;ROLLBACK",
    "SET search_path = x, public;;PREPARE pp AS SELECT 'q' || t FROM twin t;;SET search_path = public;;EXECUTE pp",
    "SET search_path = x, public;;UPDATE pg_settings SET setting = 'public' WHERE name = 'search_path';;SELECT 'q' || t FROM twin t",
    // A1: names.
    "SELECT ssn FROM emp",
    "SELECT SSN AS harmless FROM EMP",
    "SELECT \"ssn\" FROM \"emp\"",
    "SELECT U&\"s\\0073n\" FROM emp",
    "SELECT e.ssn AS a23456789012345678901234567890123456789012345678901234567890123xyz FROM emp e",
    "SELECT a23456789012345678901234567890123456789012345678901234567890123_two FROM (SELECT ssn || '' AS a23456789012345678901234567890123456789012345678901234567890123_one FROM emp) x",
    "SELECT * FROM emp",
    "SELECT emp.* FROM emp",
    "TABLE emp",
    // A2, A3: expressions and casts.
    "SELECT ssn || '' FROM emp",
    "SELECT '' || ssn AS name FROM emp",
    "SELECT upper(ssn), lower(ssn), trim(ssn), left(ssn, 20) FROM emp",
    "SELECT coalesce(ssn, ''), nullif(ssn, ''), greatest(ssn, '') FROM emp",
    "SELECT CASE WHEN true THEN ssn ELSE name END FROM emp",
    "SELECT * FROM (SELECT CASE WHEN true THEN ssn ELSE name END FROM emp) x",
    "SELECT name || '' FROM (SELECT CASE WHEN true THEN ssn ELSE name END FROM emp) x",
    "SELECT ssn::varchar(20), ssn COLLATE \"C\", CAST(ssn AS char(20)) FROM emp",
    "SELECT quote_literal(ssn), format('%s', ssn), concat(ssn, ''), concat_ws('', ssn) FROM emp",
    "SELECT (ARRAY[ssn])[1], ARRAY[ssn], ROW(ssn) FROM emp",
    // A4: subqueries.
    "SELECT (SELECT ssn FROM emp WHERE id = 1)",
    "SELECT (SELECT max(ssn) FROM emp) AS name FROM dept",
    "SELECT ARRAY(SELECT ssn FROM emp)",
    "SELECT (SELECT x FROM (SELECT ssn AS x FROM emp LIMIT 1) y)",
    "SELECT (SELECT e FROM emp e LIMIT 1)",
    "SELECT (TABLE m_copy LIMIT 1) FROM dept WHERE false;;SELECT (SELECT frozen FROM m_copy LIMIT 1)",
    // A5: set operations.
    "SELECT name FROM emp UNION SELECT ssn FROM emp",
    "SELECT name FROM emp UNION ALL (SELECT 'x' EXCEPT SELECT 'y') UNION ALL SELECT ssn FROM emp",
    "SELECT id, name FROM emp INTERSECT SELECT id, ssn FROM emp UNION SELECT 1, ssn FROM emp",
    "SELECT n FROM (SELECT name AS n FROM emp UNION ALL SELECT ssn FROM emp) x",
    "SELECT * FROM (SELECT title AS t FROM dept UNION ALL SELECT ssn FROM emp) x",
    "VALUES ('x') UNION SELECT ssn FROM emp",
    // A6: CTEs.
    "WITH c AS (SELECT ssn FROM emp) SELECT * FROM c",
    "WITH c AS MATERIALIZED (SELECT ssn || '' AS z FROM emp) SELECT z FROM c",
    "WITH c(q) AS (SELECT ssn || '' FROM emp) SELECT q FROM c",
    "WITH RECURSIVE r(n, s) AS (SELECT 1, ssn || '' FROM emp UNION ALL SELECT n + 1, s FROM r WHERE n < 3) SELECT s FROM r",
    "WITH RECURSIVE r AS (SELECT id, ssn FROM emp UNION ALL SELECT r.id + 1, r.ssn FROM r WHERE r.id < 3) SEARCH DEPTH FIRST BY ssn SET path SELECT path FROM r",
    "WITH u AS (UPDATE emp SET pay = 1 WHERE id = 1 RETURNING ssn AS z) SELECT z || '' FROM u",
    "WITH emp2 AS (SELECT * FROM emp), emp AS (SELECT 1 AS ssn) SELECT emp2.ssn FROM emp2",
    // A7: VALUES, LATERAL, row sources.
    "SELECT * FROM (VALUES ((SELECT ssn FROM emp LIMIT 1))) v",
    "SELECT column1 || '' FROM (VALUES ((SELECT ssn FROM emp LIMIT 1))) v",
    "SELECT x.y FROM emp e, LATERAL (SELECT e.ssn || '' AS y) x",
    "SELECT u FROM unnest(ARRAY(SELECT ssn FROM emp)) u",
    "SELECT * FROM emp e, LATERAL unnest(ARRAY[e.ssn]) AS t(q)",
    "SELECT * FROM ROWS FROM (unnest(ARRAY(SELECT ssn FROM emp)), generate_series(1, 2)) AS z(a, b)",
    "SELECT value FROM emp e, json_each_text(row_to_json(e))",
    "SELECT * FROM regexp_split_to_table((SELECT ssn FROM emp LIMIT 1), ',') x",
    "SELECT * FROM xmltable('/a' PASSING (SELECT xmlelement(name a, ssn) FROM emp LIMIT 1) COLUMNS q text PATH '.')",
    // A8, A9: whole rows.
    "SELECT e FROM emp e",
    "SELECT emp FROM emp",
    "SELECT (e).* FROM emp e",
    "SELECT (e.*)::text FROM emp e",
    "SELECT row(e.*) FROM emp e",
    "SELECT emp::text FROM public.emp",
    "SELECT x FROM (SELECT ssn FROM emp) x",
    "SELECT row_to_json(e) FROM emp e",
    "SELECT to_jsonb(emp) FROM emp",
    "SELECT e.to_json FROM emp e",
    "SELECT e.row_to_json FROM emp e",
    "SELECT json_agg(e) FROM emp e",
    "SELECT e.json_agg FROM emp e",
    "SELECT json_build_object('a', ssn), jsonb_build_array(ssn) FROM emp",
    "SELECT xmlforest(ssn), xmlelement(name x, ssn) FROM emp",
    "SELECT textin(record_out(e)) FROM emp e",
    "SELECT hashed FROM (SELECT convert_to(ssn, 'UTF8')::text AS hashed, encode(ssn::bytea, 'escape') AS b FROM emp) x;;SELECT encode(ssn::bytea, 'escape') FROM emp",
    // A10: aggregates and windows.
    "SELECT array_agg(ssn), string_agg(ssn, ','), min(ssn), max(ssn) FROM emp",
    "SELECT mode() WITHIN GROUP (ORDER BY ssn) FROM emp",
    "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ssn) FROM emp",
    "SELECT lag(ssn, 0) OVER (), first_value(ssn) OVER w FROM emp WINDOW w AS (ORDER BY id)",
    // A11: functional notation.
    "SELECT ssn(e) FROM emp e",
    "SELECT e.ssn_of FROM emp e",
    "SELECT (e).ssn FROM emp e",
    // A12, A13: joins and renaming.
    "SELECT ssn FROM emp JOIN part USING (ssn)",
    "SELECT ssn FROM emp FULL JOIN part USING (ssn)",
    "SELECT ssn || '' FROM emp NATURAL JOIN gen",
    "SELECT j.ssn || '' FROM (emp JOIN part USING (ssn) AS j)",
    "SELECT c || '' FROM emp AS e(a, b, c)",
    "SELECT t.z || '' FROM (SELECT id, ssn FROM emp) AS t(y, z)",
    "SELECT q.z || '' FROM (emp CROSS JOIN dept) AS q(x, y, z)",
    // A14: views.
    "SELECT * FROM v_plain",
    "SELECT code FROM v_alias",
    "SELECT code || '' FROM v_alias",
    "SELECT c2, upper(c2) FROM v_deep",
    "SELECT whole, whole::text FROM v_row",
    "SELECT (whole).ssn FROM v_row",
    "SELECT j FROM v_json",
    "SELECT n FROM v_union",
    "SELECT frozen FROM m_copy",
    "SELECT l FROM v_func",
    "UPDATE v_alias SET who = who WHERE id = 1 RETURNING code",
    // A15: partitions and inheritance.
    "SELECT ssn FROM part",
    "SELECT ssn FROM part_1",
    "SELECT upper(ssn) FROM ONLY part_1",
    "SELECT ssn FROM ONLY child",
    // A16: functions.
    "SELECT leak(1)",
    // The schema is PostgreSQL's own, the function is not.
    "SELECT information_schema._pg_leak(1)",
    "SELECT * FROM leak_row()",
    "SELECT (leak_row()).ssn",
    "SELECT leak_secdef()",
    "SELECT 'a' <+> 'b'",
    "SELECT id, leak(1) FROM dept",
    // A17: generated columns.
    "SELECT copy FROM gen",
    "SELECT copy || '' FROM gen",
    // A18: laundering.
    "CREATE TABLE stolen AS SELECT ssn FROM emp;;SELECT * FROM stolen",
    "SELECT ssn AS x INTO stolen FROM emp;;SELECT * FROM stolen",
    "CREATE TABLE stolen (x text);;INSERT INTO stolen SELECT ssn FROM emp;;SELECT * FROM stolen",
    "CREATE TEMP TABLE stolen (x text);;INSERT INTO stolen SELECT e::text FROM emp e;;SELECT * FROM stolen",
    "UPDATE emp SET name = ssn;;SELECT name FROM emp",
    "UPDATE emp SET name = ssn WHERE id = 1 RETURNING name",
    "UPDATE dept SET title = e.ssn FROM emp e WHERE e.dept = dept.id;;SELECT title FROM dept",
    "INSERT INTO dept VALUES (3, (SELECT ssn FROM emp LIMIT 1));;SELECT title FROM dept",
    "INSERT INTO emp AS e (id, name) VALUES (1, 'q') ON CONFLICT (id) DO UPDATE SET name = e.ssn;;SELECT name FROM emp",
    "INSERT INTO dept SELECT 1, leak(1);;SELECT title FROM dept",
    "MERGE INTO dept d USING emp e ON d.id = e.dept WHEN MATCHED THEN UPDATE SET title = e.ssn;;SELECT title FROM dept",
    "CREATE VIEW stolen AS SELECT ssn AS x FROM emp;;SELECT * FROM stolen",
    "CREATE FUNCTION steal() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM emp';;SELECT steal()",
    "ALTER TABLE emp RENAME COLUMN ssn TO harmless;;SELECT harmless FROM emp",
    "ALTER TABLE emp RENAME TO harmless;;SELECT pay FROM harmless",
    "ALTER TABLE emp ALTER COLUMN name TYPE text USING ssn;;SELECT name FROM emp",
    "ALTER TABLE emp ADD COLUMN g text GENERATED ALWAYS AS (ssn) STORED;;SELECT g FROM emp",
    // A19: RETURNING.
    "UPDATE emp SET pay = 1 WHERE id = 1 RETURNING *",
    "DELETE FROM emp RETURNING ssn || ''",
    "INSERT INTO emp (id, ssn) VALUES (9, '111-22-3333') RETURNING emp",
    // A20: cursors and prepared statements.
    "BEGIN; DECLARE c CURSOR FOR SELECT ssn || '' FROM emp;;FETCH ALL FROM c;;COMMIT",
    "DECLARE c CURSOR WITH HOLD FOR SELECT ssn, upper(ssn) FROM emp;;FETCH 1 FROM c",
    "PREPARE p AS SELECT ssn || '' FROM emp;;EXECUTE p",
    "PREPARE p AS SELECT 1;;DEALLOCATE p;;PREPARE p AS SELECT ssn || '' FROM emp;;EXECUTE p",
    "PREPARE p AS SELECT ssn FROM emp;;CREATE TABLE stolen AS EXECUTE p;;SELECT * FROM stolen",
    // B21, B22: COPY.
    "COPY emp TO STDOUT",
    "COPY emp (ssn) TO STDOUT",
    "COPY emp TO STDOUT WITH (FORMAT csv)",
    "COPY emp TO STDOUT (DELIMITER ',')",
    "COPY emp TO STDOUT (FORMAT binary)",
    "COPY (SELECT ssn FROM emp) TO STDOUT",
    "COPY (SELECT e FROM emp e) TO STDOUT",
    "COPY (UPDATE emp SET pay = 1 RETURNING ssn) TO STDOUT",
    "COPY part_1 TO STDOUT",
    // B26, B29, B30: settings, functions that read by name, statistics.
    "SELECT set_config('my.x', (SELECT ssn FROM emp LIMIT 1), false);;SHOW my.x",
    "SELECT query_to_xml('SELECT ssn FROM emp', true, true, '')",
    "SELECT table_to_xml('emp', true, true, '')",
    "SELECT schema_to_xml('public', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT * FROM ts_stat('SELECT to_tsvector(ssn) FROM emp')",
    "SELECT most_common_vals FROM pg_stats WHERE tablename = 'emp'",
    "SELECT * FROM pg_statistic",
    "SELECT most_common_vals::text FROM pg_stats",
    // B33: plans.
    "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM emp WHERE ssn = (SELECT ssn FROM emp LIMIT 1)",
    "EXPLAIN VERBOSE SELECT leak(1)",
    // D43, D44: several statements, another path.
    "SELECT 1; SELECT ssn || '' FROM emp; SELECT 2",
    "CREATE SCHEMA other; CREATE VIEW other.dept AS SELECT 1;;SET search_path = other, public;;SELECT ssn || '' FROM emp",
];

/// Statements whose clean values must stay as they are.
const CLEAN: &[(&str, &str)] = &[
    (
        "SELECT id, name FROM emp WHERE id NOT BETWEEN 2 AND 3",
        "1|ada",
    ),
    (
        "SELECT id, name FROM emp WHERE id BETWEEN SYMMETRIC 3 AND 2",
        "2|bob",
    ),
    ("SELECT id, name FROM emp ORDER BY id LIMIT 1", "1|ada"),
    ("SELECT count(*) FROM emp", "2"),
    // Drivers read the columns of keys by it.
    (
        "SELECT 'n', (information_schema._pg_expandarray(i.indkey)).n FROM pg_index i LIMIT 1",
        "n|1",
    ),
    ("SELECT sum(id), upper(min(name)) FROM emp", "3|ADA"),
    ("SELECT e.name || '!' FROM emp e WHERE e.id = 1", "ada!"),
    (
        "SELECT x.n FROM (SELECT upper(name) AS n FROM emp WHERE id = 1) x",
        "ADA",
    ),
    (
        "WITH c AS (SELECT dept, count(*) AS n FROM emp GROUP BY dept) SELECT sum(n) FROM c",
        "2",
    ),
    (
        "SELECT name FROM emp WHERE id = 1 UNION ALL SELECT title FROM dept WHERE id = 20",
        "ada;y",
    ),
    ("SELECT upper(who) FROM v_alias WHERE id = 1", "ADA"),
    ("SELECT who, id FROM v_deep WHERE id = 1", "ada|1"),
    ("SELECT other, k + 1 FROM part", "o|2"),
    ("SELECT now() IS NOT NULL, 1 + 1", "t|2"),
    ("SELECT * FROM dept WHERE id = 10", "10|x"),
    (
        "SELECT d.*, upper(d.title) FROM dept d JOIN emp e ON e.dept = d.id WHERE e.id = 1",
        "10|x|X",
    ),
    ("SELECT g, g * 2 FROM generate_series(1, 2) g", "1|2;2|4"),
    (
        "UPDATE emp SET name = 'eva' WHERE id = 1 RETURNING id, upper(name)",
        "1|EVA",
    ),
    (
        "PREPARE p AS SELECT upper(name) FROM emp WHERE id = 1;;EXECUTE p",
        "EVA",
    ),
    ("SELECT relname FROM pg_class WHERE relname = 'emp'", "emp"),
];

pub(super) struct Run {
    pub world: World,
    client: Client,
}

impl Run {
    pub fn on(server: &Server) -> Self {
        Self::with(server, "")
    }

    /// `setup` is done behind the analysis' back, but before it looks.
    pub fn with(server: &Server, setup: &str) -> Self {
        let mut client = server.connect();
        client.run("SET client_min_messages = warning");
        client.run("DROP EVENT TRIGGER IF EXISTS noise");
        client.run("BEGIN; DROP SCHEMA public CASCADE; CREATE SCHEMA public; COMMIT");
        client.run("DROP SCHEMA IF EXISTS other, x CASCADE");
        client.run(SCHEMA);
        client.run(setup);
        client.run("RESET client_min_messages");
        let world = World::new(client.snapshot(), client.state());
        Self { world, client }
    }

    /// What the client would see of one text; none when it is refused.
    pub fn text(&mut self, sql: &str) -> Option<String> {
        let analysis = self.world.analyse(sql);
        let masked: &[Column] = &analysis.labelled;
        let refused = analysis.refuse.is_some()
            || !analysis.facts.parsed
            || (analysis.unmaskable.is_some() && !masked.is_empty());
        if refused {
            return None;
        }
        let replies = self.client.query(sql);
        self.world.state.forwarded(&analysis);
        let mut seen = Vec::new();
        for (i, reply) in replies.iter().enumerate() {
            if masked.is_empty() {
                seen.extend(reply.error.iter().chain(&reply.notices).cloned());
            }
            seen.extend(shown(&self.world, &analysis, i, masked, reply));
        }
        if analysis.changes_catalog {
            self.world.snapshot = self.client.snapshot();
        }
        if self.world.state.search_path_unknown() {
            let row = self
                .client
                .rows(crate::catalog::SessionState::QUERY)
                .remove(0);
            self.world.state.refreshed(&row).unwrap();
        }
        Some(seen.join(";"))
    }
}

fn shown(
    world: &World,
    analysis: &Analysis,
    index: usize,
    masked: &[Column],
    reply: &crate::catalog::tests::server::Reply,
) -> Vec<String> {
    let keys = MaskKeys::default();
    let Some(shape) = analysis.statements.get(index) else {
        assert!(reply.rows.is_empty());
        return Vec::new();
    };
    let mut out = Vec::new();
    if !reply.copied.is_empty() {
        let Some(CopyKind::Out { style, fields }) = shape.copy() else {
            panic!("a COPY that was not announced");
        };
        let Some(fields) = fields else {
            // The wire half refuses these unless nothing is masked; clean queries are let through.
            return reply
                .copied
                .iter()
                .map(|c| String::from_utf8_lossy(c).into_owned())
                .collect();
        };
        let taints = shape.taints(fields, &world.snapshot, masked);
        let mask = RowMask::build(fields, &taints, &MaskPlan::pass(fields.len()), &keys);
        if mask.is_pass() {
            return reply
                .copied
                .iter()
                .map(|c| String::from_utf8_lossy(c).into_owned())
                .collect();
        }
        for line in &reply.copied {
            let mut frame = BytesMut::new();
            mask.apply_copy(style.as_ref().unwrap(), line, &mut frame)
                .unwrap();
            out.push(String::from_utf8_lossy(&frame[5..]).trim_end().to_owned());
        }
        return out;
    }
    let taints = shape.taints(&reply.fields, &world.snapshot, masked);
    assert_eq!(taints.len(), reply.fields.len());
    let mask = RowMask::build(&reply.fields, &taints, &MaskPlan::pass(taints.len()), &keys);
    assert_eq!(mask.is_pass(), taints.iter().all(|t| *t == Taint::Clean));
    for row in &reply.rows {
        let mut frame = BytesMut::new();
        mask.apply(row, &mut frame).unwrap();
        let values = texts(&frame[5..]);
        let values = values
            .into_iter()
            .map(|v| v.unwrap_or_else(|| "NULL".into()));
        out.push(values.collect::<Vec<_>>().join("|"));
    }
    out
}

#[test]
fn nothing_leaks_and_clean_values_stay() {
    let server = Server::start("bypass");
    let mut wrong = Vec::new();
    let (mut ran, mut refused) = (0, 0);
    for case in LEAKS {
        let mut run = Run::on(&server);
        for sql in case.split(";;") {
            match run.text(sql) {
                None => refused += 1,
                Some(seen) => {
                    ran += 1;
                    if seen.contains(SECRET) || seen.contains("111") {
                        wrong.push(format!("LEAK {sql}\n    {seen}"));
                    }
                }
            }
        }
    }
    // The same without labels: nearly every case shows the secret then, so the cases test something.
    let mut silent = Vec::new();
    for case in LEAKS {
        let mut run = Run::on(&server);
        run.world.labels = LabelCatalog::default();
        let seen: Vec<String> = case.split(";;").filter_map(|sql| run.text(sql)).collect();
        if !seen.join(";").contains("111") {
            silent.push(*case);
        }
    }
    let mut run = Run::on(&server);
    for (case, expect) in CLEAN {
        let mut seen = None;
        for sql in case.split(";;") {
            seen = run.text(sql);
        }
        if seen.as_deref() != Some(expect) {
            wrong.push(format!(
                "OVERMASKED {case}\n    {seen:?} instead of {expect:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(silent.len() * 10 < LEAKS.len(), "{}", silent.join("\n"));
    // The table must not pass because everything is refused.
    assert!(ran > 2 * refused, "{ran} ran, {refused} were refused");
}
