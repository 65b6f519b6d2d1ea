//! Values that have to become another type without anybody writing it, and operators, casts, types and
//! collations that users made: by failing, each could tell what a value is.

use super::World;
use crate::catalog::tests::server::{Client, Server};

const SCHEMA: &str = "
CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text, pay int);
CREATE TABLE own (x text COLLATE \"C\", y text COLLATE \"POSIX\");
INSERT INTO emp VALUES (1, 'ada', '111-22-3333', 5);
INSERT INTO own VALUES ('a', 'b');
";

/// The statement, and the labelled columns that decide something in it.
const BENT: &[(&str, &str)] = &[
    ("SELECT sum(pay) = '5'::oid FROM emp", "pay"),
    ("SELECT sum(pay) = 5 FROM emp", ""),
    ("SELECT sum(pay) / 1000 FROM emp", ""),
    (
        "SELECT CASE WHEN true THEN sum(pay) ELSE '1'::oid END FROM emp",
        "pay",
    ),
    (
        "SELECT CASE WHEN id = 1 THEN ssn ELSE upper(name) END FROM emp",
        "",
    ),
    ("SELECT CASE WHEN id = 1 THEN pay ELSE 0.5 END FROM emp", ""),
    (
        "SELECT * FROM (VALUES ((SELECT sum(pay) FROM emp)), ('1'::oid)) v",
        "pay",
    ),
    (
        "SELECT * FROM (VALUES ((SELECT max(ssn) FROM emp)), ('x')) v",
        "",
    ),
    (
        "SELECT coalesce(sum(pay), 'pg_class'::regclass) FROM emp",
        "pay",
    ),
    ("SELECT coalesce(sum(pay), 0) FROM emp", ""),
    ("SELECT coalesce(e, e) FROM emp e", ""),
    (
        "SELECT coalesce(e.*, ROW(1, '', '', 2)) FROM emp e",
        "pay ssn",
    ),
    ("SELECT lower(ssn COLLATE \"C\") FROM emp", ""),
    ("SELECT lower(e.ssn || o.x) FROM emp e, own o", ""),
    ("SELECT e.ssn || o.x < o.y FROM emp e, own o", "ssn"),
    (
        "SELECT lower(e.ssn || t.x || t.y) FROM emp e, \
         (SELECT 'a'::text COLLATE \"C\" AS x, 'b'::text COLLATE \"POSIX\" AS y) t",
        "ssn",
    ),
    (
        "SELECT max(coalesce(e.ssn, o.x, o.y)) FROM emp e, own o",
        "ssn",
    ),
    (
        "SELECT upper(v.a || e.ssn) FROM emp e, (SELECT x || y AS a FROM own) v",
        "ssn",
    ),
    ("SELECT ssn || 'x'::text FROM emp", ""),
    (
        "SELECT ssn || repeat('x', 1000000000)::text FROM emp",
        "ssn",
    ),
];

/// Parameters, whose types the client says elsewhere.
const PARAMETERS: &[(&str, &str)] = &[
    ("SELECT sum(pay) = $1 FROM emp", "pay"),
    ("SELECT coalesce(sum(pay), $1) FROM emp", "pay"),
    ("SELECT greatest(sum(pay), $1) FROM emp", "pay"),
    ("SELECT sum(pay) IN (1, $1) FROM emp", "pay"),
    ("SELECT pay = $1 FROM emp", ""),
    ("SELECT ssn || $1 FROM emp", ""),
    ("SELECT coalesce(ssn, $1) FROM emp", ""),
    ("SELECT left(ssn, $1) FROM emp", ""),
];

fn check(client: &mut Client, rows: &[(&str, &str)], wrong: &mut Vec<String>) {
    let world = World::new(client.snapshot(), client.state());
    for (sql, expect) in rows {
        let analysis = world.analyse(sql);
        let columns = analysis.computed.iter().map(|c| &*c.column);
        let columns: std::collections::BTreeSet<&str> = columns.collect();
        let columns: Vec<&str> = columns.into_iter().collect();
        if columns.join(" ") != *expect || !analysis.facts.parsed {
            wrong.push(format!("{sql}: {columns:?}, not {expect}"));
        }
    }
}

#[test]
fn what_becomes_another_type() {
    let server = Server::start("bends");
    let mut client = server.connect();
    client.run(SCHEMA);
    let mut wrong = Vec::new();
    for (sql, _) in BENT.iter().filter(|(_, expect)| expect.is_empty()) {
        client.run(sql);
    }
    check(&mut client, BENT, &mut wrong);
    check(&mut client, PARAMETERS, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// By PostgreSQL's own functions, which can fail all the same.
#[test]
fn what_users_made() {
    let steps: &[(&str, &[(&str, &str)])] = &[
        (
            "CREATE SCHEMA so; CREATE OPERATOR so.< (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl);
             CREATE OPERATOR so.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = textregexeq)",
            &[
                ("SELECT pay OPERATOR(so.<) 5 FROM emp", "pay"),
                ("SELECT pay > 5 FROM emp", ""),
                ("SELECT 'x' OPERATOR(so.||) ssn FROM emp", "ssn"),
                ("SELECT pay NOT BETWEEN 1 AND 2 FROM emp", "pay"),
            ],
        ),
        (
            "DROP SCHEMA so CASCADE; CREATE EXTENSION IF NOT EXISTS ltree",
            &[
                ("SELECT ssn || $1 FROM emp", "ssn"),
                ("SELECT ssn || 'x' FROM emp", ""),
                ("SELECT pay < 5 FROM emp", ""),
            ],
        ),
        (
            "CREATE SCHEMA sneaky; CREATE DOMAIN sneaky.text AS pg_catalog.text CHECK (VALUE < 'm')",
            &[
                ("SELECT ssn::sneaky.text FROM emp", "ssn"),
                ("SELECT ssn::varchar(3) FROM emp", ""),
            ],
        ),
        (
            "DROP SCHEMA sneaky CASCADE; CREATE CAST (int AS text) WITH FUNCTION pg_catalog.chr(int)",
            &[
                ("SELECT pay::text FROM emp", "pay"),
                ("SELECT ssn = 'x' FROM emp", ""),
            ],
        ),
        (
            "DROP CAST (int AS text); CREATE CAST (text AS int) WITH INOUT AS IMPLICIT",
            &[
                ("SELECT ssn = 5 FROM emp", "ssn"),
                ("SELECT ssn FROM emp", ""),
            ],
        ),
        (
            "DROP CAST (text AS int); CREATE CAST (int AS text) WITH INOUT AS IMPLICIT",
            &[
                ("SELECT ssn || 'x' FROM emp", ""),
                ("SELECT pay::text FROM emp", ""),
            ],
        ),
    ];
    let server = Server::start("bends_made");
    let mut client = server.connect();
    client.run(SCHEMA);
    let mut wrong = Vec::new();
    for (change, rows) in steps {
        client.run(change);
        check(&mut client, rows, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
