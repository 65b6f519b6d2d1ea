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
CREATE TABLE rest (id int, ssn text) PARTITION BY LIST (ssn);
CREATE TABLE rest_all PARTITION OF rest DEFAULT;
CREATE VIEW rich AS SELECT id FROM emp WHERE pay > 3;
CREATE VIEW named AS SELECT id, name FROM emp;
CREATE TABLE by_view (id int, name text);
CREATE POLICY mine ON by_view USING (id IN (SELECT id FROM rich));
ALTER TABLE by_view ENABLE ROW LEVEL SECURITY;
CREATE TABLE by_names (id int, name text);
CREATE POLICY mine ON by_names USING (id IN (SELECT id FROM named));
ALTER TABLE by_names ENABLE ROW LEVEL SECURITY;
CREATE TABLE by_policy (id int, name text);
CREATE POLICY mine ON by_policy USING (EXISTS (SELECT 1 FROM owned o WHERE o.id = by_policy.id));
ALTER TABLE by_policy ENABLE ROW LEVEL SECURITY;
CREATE VIEW round AS SELECT id FROM emp;
CREATE TABLE in_circles (id int, name text);
CREATE OR REPLACE VIEW round AS SELECT id FROM in_circles;
CREATE POLICY mine ON in_circles USING (id IN (SELECT id FROM round));
ALTER TABLE in_circles ENABLE ROW LEVEL SECURITY;
CREATE MATERIALIZED VIEW rich_kept AS SELECT id, name FROM emp WHERE pay > 3;
CREATE MATERIALIZED VIEW names_kept AS SELECT id, name FROM emp;
CREATE UNIQUE INDEX ON names_kept (name);
CREATE MATERIALIZED VIEW codes_kept AS SELECT id, ssn || '' AS code FROM emp;
CREATE UNIQUE INDEX ON codes_kept (code);
CREATE TABLE summed (id int, ssn int, bonus int, name text);
CREATE INDEX ON summed ((ssn + bonus));
CREATE VIEW counted AS SELECT relname, reltuples FROM pg_class;
CREATE VIEW locked AS SELECT pid FROM pg_locks;
CREATE VIEW written AS SELECT pg_current_wal_insert_lsn() AS at;
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
    ("SELECT id FROM by_view", "pay"),
    ("SELECT id FROM by_names", ""),
    ("SELECT id FROM by_policy", "ssn"),
    (
        "SELECT count(*) FROM by_policy p JOIN emp USING (id)",
        "ssn",
    ),
    ("SELECT id FROM parted WHERE ctid = '(0,1)'", "ssn"),
    ("SELECT id FROM emp WHERE ctid = '(0,1)'", ""),
    (
        "SELECT id FROM parted TABLESAMPLE BERNOULLI (50) REPEATABLE (7)",
        "ssn",
    ),
    ("SELECT p.id FROM parted AS p TABLESAMPLE SYSTEM (1)", "ssn"),
    ("SELECT count(*) FROM byname TABLESAMPLE SYSTEM (1)", ""),
    ("SELECT count(*) FROM emp TABLESAMPLE SYSTEM (1)", ""),
    ("SELECT count(*) FROM pg_locks", "ssn"),
    ("SELECT 1 FROM pg_catalog.pg_locks", "ssn"),
    ("SELECT count(*) FROM locked", "ssn"),
    ("COPY (SELECT 1 FROM pg_locks) TO STDOUT", "ssn"),
    ("SELECT count(*) FROM pg_lock_status()", "ssn"),
    ("SELECT pg_lock_status()", "ssn"),
    ("VACUUM (VERBOSE) parted", "ssn"),
    ("ANALYZE VERBOSE parted_low", "ssn"),
    ("VACUUM VERBOSE", "ssn"),
    ("VACUUM (FULL, VERBOSE) byname", ""),
    ("VACUUM parted", ""),
    ("ANALYZE", ""),
    (
        "ALTER TABLE rest ATTACH PARTITION owned FOR VALUES IN ('x')",
        "ssn",
    ),
    ("TRUNCATE parted_low", "ssn"),
    ("TRUNCATE parted", ""),
    ("DROP TABLE parted_low", "ssn"),
    ("DROP TABLE byname_a", ""),
    ("ALTER TABLE parted_low ADD CHECK (id <> 3)", "ssn"),
    ("ALTER TABLE parted_low ALTER name SET NOT NULL", "ssn"),
    ("CREATE UNIQUE INDEX ON parted_low (name)", "ssn"),
    ("CREATE INDEX ON byname_a (id)", ""),
    (
        "CREATE TABLE rest_x PARTITION OF rest FOR VALUES IN ('x')",
        "ssn",
    ),
    (
        "CREATE TABLE byname_x PARTITION OF byname FOR VALUES IN ('x')",
        "",
    ),
    ("CREATE UNIQUE INDEX ON rich_kept (name)", "pay"),
    ("CREATE UNIQUE INDEX ON names_kept (id)", ""),
    ("REFRESH MATERIALIZED VIEW names_kept", ""),
    ("REFRESH MATERIALIZED VIEW codes_kept", "ssn"),
    ("REFRESH MATERIALIZED VIEW rich_kept", "pay"),
    ("UPDATE summed SET bonus = 2147483647", "ssn"),
    ("UPDATE summed SET name = 'x'", ""),
    ("SELECT relname FROM pg_class WHERE reltuples > 3", "ssn"),
    (
        "SELECT relname FROM pg_stat_xact_user_tables WHERE n_tup_upd > 0",
        "ssn",
    ),
    ("SELECT relname FROM counted ORDER BY reltuples", "ssn"),
    ("SELECT relname FROM pg_class ORDER BY relkind", ""),
    ("SELECT 1 WHERE pg_relation_size('parted_low') > 0", "ssn"),
    (
        "SELECT 1 WHERE pg_current_wal_insert_lsn() > '0/0'",
        "pay ssn",
    ),
    ("SELECT 1 FROM written WHERE at > '0/0'", "pay ssn"),
];

/// What a policy cannot go through, the server refuses; here it ends.
#[test]
fn policies_in_circles() {
    let server = Server::start("places_circle");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    assert!(
        !world
            .analyse("SELECT id FROM in_circles")
            .computed
            .is_empty()
    );
}

/// What the server counts, and what it writes down, is hidden like what it was counted by.
#[test]
fn counts_are_hidden() {
    let server = Server::start("places_counts");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    for (sql, hidden) in [
        ("SELECT reltuples, relname FROM pg_class", true),
        ("SELECT c.relpages + 1 FROM pg_class c", true),
        ("SELECT reltuples FROM counted", true),
        ("SELECT relname, reltuples FROM counted", false),
        ("SELECT n_tup_ins FROM pg_stat_user_tables", true),
        ("SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables", true),
        (
            "SELECT pg_stat_get_live_tuples('parted_low'::regclass)",
            true,
        ),
        ("SELECT pg_total_relation_size('parted_low')", true),
        ("SELECT pg_current_wal_lsn()", true),
        (
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')",
            true,
        ),
        ("SELECT at FROM written", true),
        ("SELECT wal_bytes FROM pg_stat_wal", true),
        ("SELECT sent_lsn FROM pg_stat_replication", true),
        ("SELECT relname FROM pg_stat_user_tables", false),
        ("SELECT pg_database_size('postgres')", true),
        ("SELECT blks_hit FROM pg_stat_database", true),
        ("SELECT tup_updated FROM pg_stat_database", false),
        ("SELECT pg_lock_status()", true),
        ("SELECT now()", false),
    ] {
        assert_eq!(is_hidden(&world, sql), hidden, "{sql}");
    }
}

/// Is the first column hidden, or the statement refused?
fn is_hidden(world: &World, sql: &str) -> bool {
    let analysis = world.analyse(sql);
    let [shape] = analysis.statements.as_slice() else {
        panic!("{sql}");
    };
    let fields = shape.described(&world.snapshot).unwrap();
    let taints = shape.taints(&fields, &world.snapshot, &analysis.labelled);
    let clean = taints.first() == Some(&crate::analysis::Taint::Clean);
    !clean || !analysis.computed.is_empty()
}

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
        ("SELECT ctid FROM parted", true),
        ("SELECT ctid FROM byname", false),
        ("UPDATE parted SET name = 'x' RETURNING old.tableoid", true),
        ("UPDATE parted SET name = 'x' RETURNING new.ctid", true),
        ("UPDATE byname SET id = 1 RETURNING old.tableoid", false),
    ] {
        assert_eq!(is_hidden(&world, sql), hidden, "{sql}");
    }
}

/// The server says itself that it is the system column, whatever else the name could be.
#[test]
fn tableoid_beside_what_is_unknown() {
    let server = Server::start("places_beside");
    let mut client = server.connect();
    client.run(SCHEMA);
    client.run("CREATE FUNCTION everybody() RETURNS SETOF emp LANGUAGE sql AS 'SELECT * FROM emp'");
    let world = World::new(client.snapshot(), client.state());
    let analysis = world.analyse("SELECT tableoid FROM parted, everybody()");
    let [shape] = analysis.statements.as_slice() else {
        panic!();
    };
    let oid = world
        .snapshot
        .find_relations(None, "parted", crate::catalog::Path::Unknown);
    let mut fields = shape.described(&world.snapshot).unwrap();
    fields[0].table_oid = world.snapshot.relation(oid[0]).unwrap().oid;
    fields[0].attnum = -6;
    let taints = shape.taints(&fields, &world.snapshot, &analysis.labelled);
    assert_eq!(taints, [crate::analysis::Taint::Tainted]);
}
