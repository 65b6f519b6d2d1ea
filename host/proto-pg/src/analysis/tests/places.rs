//! Where a row is, and who sees it: partitions and row security policies tell of the columns by whose
//! values they choose.

use super::World;
use crate::catalog::tests::server::Server;

const SCHEMA: &str = "
CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text, pay int);
CREATE TABLE parted (id int, ssn text, name text) PARTITION BY RANGE (ssn);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (MINVALUE) TO ('5');
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM ('5') TO (MAXVALUE);
CREATE TABLE byname (id int, ssn text, name text) PARTITION BY LIST (name);
CREATE TABLE byname_a PARTITION OF byname FOR VALUES IN ('a');
CREATE TABLE byexpr (id int, ssn text) PARTITION BY HASH (lower(ssn));
CREATE TABLE byexpr_0 PARTITION OF byexpr FOR VALUES WITH (MODULUS 1, REMAINDER 0);
CREATE TABLE owned (id int, ssn text, name text);
CREATE POLICY mine ON owned USING (ssn = current_setting('app.ssn', true));
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
CREATE TABLE linked (id int, name text);
CREATE POLICY mine ON linked USING (EXISTS (SELECT 1 FROM emp e WHERE e.id = linked.id AND e.pay > 3));
ALTER TABLE linked ENABLE ROW LEVEL SECURITY;
CREATE TABLE plain (id int, name text, ssn text);
CREATE POLICY mine ON plain USING (name = current_user);
ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
CREATE VIEW v_owned AS SELECT id, name FROM owned;
";

/// The statement, and the labelled columns that decide something in it.
const TOLD: &[(&str, &str)] = &[
    ("SELECT id FROM parted_low", "ssn"),
    ("SELECT count(*) FROM parted_high WHERE id > 1", "ssn"),
    ("TABLE ONLY parted_low", "ssn"),
    ("COPY parted_low (id) TO STDOUT", "ssn"),
    ("COPY (SELECT id FROM parted_low) TO STDOUT", "ssn"),
    ("UPDATE parted_low SET name = 'x' RETURNING id", "ssn"),
    ("DELETE FROM parted_high", "ssn"),
    ("SELECT id FROM byexpr_0", "ssn"),
    ("SELECT id FROM byname_a", ""),
    ("SELECT id, name FROM parted", ""),
    ("SELECT tableoid, id FROM byname", ""),
    (
        "SELECT id FROM parted WHERE tableoid = 'parted_low'::regclass",
        "ssn",
    ),
    (
        "SELECT tableoid::regclass, count(*) FROM parted GROUP BY 1",
        "ssn",
    ),
    ("SELECT id FROM owned", "ssn"),
    ("SELECT count(*) FROM owned", "ssn"),
    ("SELECT id FROM v_owned", "ssn"),
    ("COPY owned (id) TO STDOUT", "ssn"),
    ("UPDATE owned SET name = 'x'", "ssn"),
    ("SELECT id FROM linked", "pay"),
    ("SELECT e.id FROM emp e JOIN linked l USING (id)", "pay"),
    ("DELETE FROM linked", "pay"),
    ("SELECT id FROM plain", ""),
];

#[test]
fn what_places_tell() {
    let server = Server::start("places");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    let mut wrong = Vec::new();
    for (sql, expect) in TOLD {
        let analysis = world.analyse(sql);
        let columns: Vec<&str> = analysis.computed.iter().map(|c| &*c.column).collect();
        let columns: std::collections::BTreeSet<&str> = columns.into_iter().collect();
        let columns: Vec<&str> = columns.into_iter().collect();
        if columns.join(" ") != *expect || !analysis.facts.parsed {
            wrong.push(format!("{sql}: {columns:?}, not {expect}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Which partition a row is in is shown as what it was chosen by.
#[test]
fn tableoid_is_hidden() {
    let server = Server::start("places_oid");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    for (sql, hidden) in [
        ("SELECT tableoid::regclass, id FROM parted", true),
        ("SELECT p.tableoid + 0 FROM parted p", true),
        ("SELECT (p).tableoid FROM parted p", true),
        ("SELECT tableoid FROM byname", false),
        ("SELECT tableoid FROM emp", false),
    ] {
        let analysis = world.analyse(sql);
        let [shape] = analysis.statements.as_slice() else {
            panic!("{sql}");
        };
        let fields = shape.described(&world.snapshot).unwrap();
        let taints = shape.taints(&fields, &world.snapshot, &analysis.labelled);
        let clean = taints.first() == Some(&crate::analysis::Taint::Clean);
        let refused = !analysis.computed.is_empty();
        assert_eq!(!clean || refused, hidden, "{sql}: {taints:?}");
    }
}
