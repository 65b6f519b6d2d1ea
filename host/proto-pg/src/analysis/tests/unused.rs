//! Columns that the server does not compute where nobody uses them, and those that it computes all the
//! same: only what is computed can fail for what a labelled column holds.

use super::World;
use crate::catalog::tests::server::Server;

/// `1 / pay` tells whether somebody has none.
const SCHEMA: &str = "
CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text, pay int, dept int);
CREATE TABLE open (id int PRIMARY KEY, note text);
CREATE FUNCTION seen(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION own(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE OPERATOR <+> (FUNCTION = own, RIGHTARG = text);
CREATE VIEW plain AS SELECT id, name, 1 / pay AS k FROM emp;
CREATE VIEW again AS SELECT id, k AS m, name || k AS n FROM plain;
CREATE VIEW few AS SELECT id, 1 / pay AS k FROM emp LIMIT 10;
CREATE VIEW inner_few AS SELECT id FROM few;
CREATE VIEW ordered AS SELECT id, 1 / pay AS k FROM emp ORDER BY id;
CREATE VIEW by_k AS SELECT id, 1 / pay AS k FROM emp ORDER BY k;
CREATE VIEW grouped AS SELECT dept, 1 / sum(pay) AS k FROM emp GROUP BY dept;
CREATE VIEW different AS SELECT DISTINCT id, 1 / pay AS k FROM emp;
CREATE VIEW twice AS SELECT id, 1 / pay AS k FROM emp UNION ALL SELECT id, id FROM open;
CREATE VIEW windowed AS SELECT id, rank() OVER (ORDER BY 1 / pay) AS k FROM emp;
CREATE VIEW many AS SELECT id, generate_series(1, pay) AS k FROM emp;
CREATE VIEW any_time AS SELECT id, random() / pay AS k FROM emp;
CREATE VIEW beside AS SELECT id, 1 / pay AS k, random() AS r FROM emp;
CREATE VIEW chosen AS SELECT id, 1 / (id - 3) AS k, ssn FROM emp;
CREATE VIEW picked AS SELECT id, ssn FROM emp WHERE 1 / (id - 3) > 0;
CREATE VIEW plain_ones AS SELECT id, ssn FROM emp WHERE id > 3;
CREATE MATERIALIZED VIEW kept AS SELECT id, name, 1 / nullif(pay, 0) AS k FROM emp;
CREATE MATERIALIZED VIEW rich AS SELECT id FROM emp WHERE pay > 3;
";

const PAY: &str = "public.emp.pay";
const NOTHING: &str = "";

const TABLE: &[(&str, &str)] = &[
    // Views.
    ("SELECT id, name FROM plain", NOTHING),
    ("SELECT count(*) FROM plain", NOTHING),
    ("SELECT k FROM plain", PAY),
    ("SELECT * FROM plain", PAY),
    ("TABLE plain", PAY),
    ("SELECT p FROM plain p", PAY),
    ("SELECT count(p) FROM plain p", PAY),
    ("SELECT p.*::text FROM plain p", PAY),
    ("SELECT id FROM plain WHERE k > 1", PAY),
    ("SELECT id FROM plain ORDER BY k", PAY),
    ("SELECT name FROM plain GROUP BY k, name", PAY),
    ("SELECT id FROM plain p JOIN open o USING (id)", NOTHING),
    ("SELECT p.id FROM plain p JOIN open o ON o.id = p.k", PAY),
    ("SELECT p.id FROM plain p NATURAL JOIN plain q", PAY),
    ("SELECT id FROM again", NOTHING),
    ("SELECT n FROM again", PAY),
    ("SELECT id FROM few", NOTHING),
    ("SELECT id FROM ordered", NOTHING),
    ("SELECT id FROM by_k", PAY),
    ("SELECT dept FROM grouped", NOTHING),
    ("SELECT k FROM grouped", PAY),
    ("SELECT id FROM different", PAY),
    ("SELECT id FROM twice", PAY),
    ("SELECT id FROM windowed", PAY),
    ("SELECT id FROM many", PAY),
    ("SELECT id FROM any_time", PAY),
    ("SELECT id FROM beside", NOTHING),
    // Materialized views are computed when they are refreshed.
    ("SELECT id FROM kept", NOTHING),
    ("SELECT k FROM kept", NOTHING),
    ("SELECT id FROM kept FOR SHARE", NOTHING),
    ("REFRESH MATERIALIZED VIEW kept", PAY),
    ("SELECT id FROM rich", PAY),
    // Sub-selects.
    (
        "SELECT id FROM (SELECT id, 1 / pay AS k FROM emp) q",
        NOTHING,
    ),
    ("SELECT id FROM (SELECT * FROM plain) q", NOTHING),
    (
        "SELECT id FROM (SELECT id, 1 / pay AS k FROM emp OFFSET 0) q",
        NOTHING,
    ),
    ("SELECT * FROM (SELECT id FROM plain) q", NOTHING),
    (
        "SELECT a FROM (SELECT id, 1 / pay FROM emp) q (a, b)",
        NOTHING,
    ),
    ("SELECT b FROM (SELECT id, 1 / pay FROM emp) q (a, b)", PAY),
    (
        "SELECT id FROM (SELECT DISTINCT id, 1 / pay AS k FROM emp) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT DISTINCT ON (id) id, 1 / pay AS k FROM emp) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT id, 1 / pay AS k FROM emp ORDER BY k) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT id, 1 / pay AS k FROM emp ORDER BY 2) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT id, 1 / pay AS k FROM emp GROUP BY id, 2) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT id, k FROM plain GROUP BY id, k) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT id, 1 / pay AS k FROM emp UNION ALL SELECT 1, 2) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT id, generate_series(1, 1 / pay) AS k FROM emp) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT id, 1 / pay + random() AS k FROM emp) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT id, seen(1 / pay) AS k FROM emp) q",
        PAY,
    ),
    (
        "SELECT id FROM (SELECT id, <+> (1 / pay)::text AS k FROM emp) q",
        "public.emp.pay public.emp.ssn",
    ),
    (
        "SELECT o.id FROM open o, LATERAL (SELECT 1 / pay AS k FROM emp) q",
        NOTHING,
    ),
    (
        "SELECT o.id FROM open o LEFT JOIN (SELECT id, 1 / pay AS k FROM emp) q ON q.id = o.id",
        NOTHING,
    ),
    (
        "SELECT id FROM open WHERE EXISTS (SELECT 1 / pay FROM emp OFFSET 0)",
        PAY,
    ),
    (
        "SELECT id FROM open WHERE id IN (SELECT 1 / pay FROM emp)",
        PAY,
    ),
    ("SELECT (SELECT 1 / pay FROM emp LIMIT 1) IS NULL", PAY),
    (
        "SELECT q.a FROM (VALUES (1, (SELECT 1 / pay FROM emp LIMIT 1))) q (a, b)",
        PAY,
    ),
    (
        "SELECT j.id FROM (plain p JOIN open o USING (id)) j",
        NOTHING,
    ),
    ("SELECT j.k FROM (plain p JOIN open o USING (id)) j", PAY),
    // CTEs are computed as a whole, unless the server reads them in place.
    (
        "WITH c AS (SELECT id, 1 / pay AS k FROM emp) SELECT id FROM c",
        NOTHING,
    ),
    (
        "WITH c AS (SELECT id, 1 / pay AS k FROM emp) SELECT k FROM c",
        PAY,
    ),
    (
        "WITH c AS (SELECT id, 1 / pay AS k FROM emp) SELECT 1",
        NOTHING,
    ),
    (
        "WITH c AS (SELECT id, 1 / pay AS k FROM emp) SELECT a.id FROM c a, c b",
        PAY,
    ),
    (
        "WITH c AS (SELECT id, 1 / pay AS k FROM emp), d AS (SELECT id FROM c) SELECT a.id FROM d a, d b",
        NOTHING,
    ),
    (
        "WITH c AS NOT MATERIALIZED (SELECT id, 1 / pay AS k FROM emp) SELECT a.id FROM c a, c b",
        NOTHING,
    ),
    (
        "WITH c AS MATERIALIZED (SELECT id, 1 / pay AS k FROM emp) SELECT id FROM c",
        PAY,
    ),
    (
        "WITH c AS (SELECT id, 1 / pay AS k, random() FROM emp) SELECT id FROM c",
        PAY,
    ),
    (
        "WITH c AS (SELECT id, 1 / pay AS k FROM emp WHERE random() < 1) SELECT id FROM c",
        PAY,
    ),
    (
        "WITH c AS (SELECT id, m AS k FROM beside, LATERAL (SELECT 1 / k AS m) x) SELECT id FROM c",
        PAY,
    ),
    (
        "WITH c AS (SELECT id, 1 / pay AS k FROM emp FOR UPDATE) SELECT id FROM c",
        PAY,
    ),
    (
        "WITH RECURSIVE c AS (SELECT id, 1 / pay AS k FROM emp) SELECT id FROM c",
        PAY,
    ),
    // Whoever locks rows, or writes to others beside them, has whole rows computed: to look at them again.
    ("SELECT id FROM plain FOR UPDATE", PAY),
    ("SELECT id FROM few FOR UPDATE", PAY),
    ("SELECT id FROM inner_few FOR UPDATE", PAY),
    ("SELECT id FROM (SELECT id FROM few) q FOR SHARE", PAY),
    (
        "SELECT o.id FROM open o, few WHERE o.id = few.id FOR UPDATE OF o",
        PAY,
    ),
    (
        "UPDATE open SET note = 'x' FROM few WHERE few.id = open.id",
        PAY,
    ),
    (
        "UPDATE open SET note = 'x' FROM (SELECT id FROM few) q WHERE q.id = open.id",
        PAY,
    ),
    (
        "WITH c AS (SELECT id FROM few) UPDATE open SET note = 'x' FROM c WHERE c.id = open.id",
        PAY,
    ),
    (
        "DELETE FROM open USING inner_few f WHERE f.id = open.id",
        PAY,
    ),
    (
        "MERGE INTO open o USING few f ON f.id = o.id WHEN MATCHED THEN DELETE",
        PAY,
    ),
    ("INSERT INTO open SELECT id FROM plain", NOTHING),
    ("INSERT INTO open SELECT id, k FROM plain", PAY),
    // Whether it fails can hang on another column than its own.
    (
        "SELECT id, coalesce(ssn, k::text) FROM chosen",
        "public.emp.ssn",
    ),
    ("SELECT id, coalesce(name, k::text) FROM plain", PAY),
    // An index can give the rows of a view, too.
    ("SELECT max(ssn) FROM picked", "public.emp.ssn"),
    ("SELECT max(ssn) FROM plain_ones", NOTHING),
    // Division that cannot fail.
    ("SELECT pay / 1000, pay % 7, pay / 2 % -1 FROM emp", PAY),
    ("SELECT pay / 1000, pay % 7, pay::bigint / 10 FROM emp", PAY),
    ("SELECT pay / 1000, pay % 7, 8 FROM emp", NOTHING),
    ("SELECT pay / 0 FROM emp", PAY),
    ("SELECT pay / -1 FROM emp", PAY),
    ("SELECT pay / 1.5 FROM emp", PAY),
    ("SELECT 1000 / pay FROM emp", PAY),
    ("SELECT pay / $1 FROM emp", PAY),
];

#[test]
fn what_is_not_computed_cannot_fail() {
    let server = Server::start("unused");
    let mut client = server.connect();
    client.run(SCHEMA);
    let mut wrong = Vec::new();
    for (sql, expect) in TABLE {
        let world = World::new(client.snapshot(), client.state());
        let analysis = world.analyse(sql);
        let name = |c: &pipeline::Column| format!("{}.{}.{}", c.schema, c.table, c.column);
        let mut found: Vec<String> = analysis.computed.iter().map(name).collect();
        found.retain(|c| c.starts_with("public.emp."));
        found.sort();
        let found = found.join(" ");
        if found != *expect {
            wrong.push(format!("{sql}\n    {found:?} instead of {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
