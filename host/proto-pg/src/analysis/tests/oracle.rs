//! What the analysis finds, beside what pg_query finds in the same text.
//!
//! pg_query brings PostgreSQL's parser as a C library whose symbols are those of pg_raw_parse, so the
//! two cannot be in one program: `tests/oracle` asks it, and its answers come as lines of JSON. It
//! sees names as they are written and resolves none, so names are compared without schemas.

use std::collections::BTreeSet;

use serde_json::Value;

use super::World;
use crate::catalog::tests::server::Server;

const CORPUS: &str = include_str!("../../../../../tests/oracle/corpus.jsonl");

const SCHEMA: &str = "
    CREATE SCHEMA hr;
    CREATE TABLE hr.emp (id integer PRIMARY KEY, name text);
    CREATE TABLE dept (id integer PRIMARY KEY, title text);
    CREATE TABLE emp (id integer PRIMARY KEY, name text, dept integer);
    CREATE TABLE log (id integer PRIMARY KEY, what text);
    CREATE TABLE part (id integer) PARTITION BY RANGE (id);
    CREATE VIEW seen AS SELECT id FROM dept;
    CREATE MATERIALIZED VIEW kept AS SELECT id FROM dept;
    CREATE SEQUENCE s;
    CREATE FUNCTION f(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE FUNCTION hr.g(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE FUNCTION tg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1'";

/// The strictest part of a statement is its kind; what is explained counts as what it would do.
const STRICTEST: &str = "the strictest part counts";
const BLIND: &str = "pg_query does not look there";
const VIEW: &str = "what a view shows is touched with it";
const COPY_OUT: &str = "pg_query takes every COPY of a table for a change";
const NEW: &str = "what is made is not there yet: its schema is what is asked about";
const RIGHTS: &str = "rights are asked about on the database";
const LOCK: &str = "a lock is a fact of its own, and no change";

/// Where the two differ, in which way, and why that is right. A row that no longer differs in this
/// way fails the test.
const EXPLAINED: &[(&str, &str, &str)] = &[
    (
        "WITH gone AS (DELETE FROM log WHERE id = 1 RETURNING id) SELECT * FROM gone",
        "kind: delete here, select there",
        STRICTEST,
    ),
    (
        "EXPLAIN SELECT * FROM emp",
        "kind: select here, utility there",
        STRICTEST,
    ),
    (
        "EXPLAIN ANALYZE DELETE FROM log WHERE id = 1",
        "kind: delete here, utility there",
        STRICTEST,
    ),
    (
        "SELECT id INTO n FROM emp",
        "kind: ddl here, select there",
        STRICTEST,
    ),
    (
        "SELECT * FROM emp TABLESAMPLE system (10)",
        "read: {\"emp\"} only here, {} only there",
        BLIND,
    ),
    (
        "VALUES ((SELECT min(id) FROM emp))",
        "read: {\"emp\"} only here, {} only there",
        BLIND,
    ),
    (
        "VALUES ((SELECT min(id) FROM emp))",
        "called: {\"min\"} only here, {} only there",
        BLIND,
    ),
    (
        "INSERT INTO log (id, what) VALUES (1, lower('X')) ON CONFLICT (id) DO UPDATE SET what = excluded.what",
        "called: {\"lower\"} only here, {} only there",
        BLIND,
    ),
    (
        "UPDATE emp SET (name, dept) = (SELECT title, id FROM dept LIMIT 1)",
        "read: {\"dept\"} only here, {} only there",
        BLIND,
    ),
    (
        "ALTER TABLE emp ADD COLUMN x integer DEFAULT f(1)",
        "called: {\"f\"} only here, {} only there",
        BLIND,
    ),
    (
        "ALTER TABLE emp RENAME TO n",
        "written: {\"emp\"} only here, {} only there",
        BLIND,
    ),
    (
        "ALTER TABLE emp RENAME COLUMN name TO n",
        "written: {\"emp\"} only here, {} only there",
        BLIND,
    ),
    (
        "COMMENT ON TABLE emp IS 'x'",
        "written: {\"emp\"} only here, {} only there",
        BLIND,
    ),
    (
        "PREPARE p AS SELECT name FROM emp WHERE id = $1",
        "read: {\"emp\"} only here, {} only there",
        BLIND,
    ),
    (
        "DECLARE c CURSOR FOR SELECT name FROM emp",
        "read: {\"emp\"} only here, {} only there",
        BLIND,
    ),
    (
        "SELECT * FROM seen",
        "read: {\"dept\"} only here, {} only there",
        VIEW,
    ),
    (
        "DROP VIEW seen",
        "written: {\"dept\", \"seen\"} only here, {} only there",
        VIEW,
    ),
    (
        "REFRESH MATERIALIZED VIEW kept",
        "written: {\"dept\"} only here, {} only there",
        VIEW,
    ),
    (
        "COPY emp TO STDOUT",
        "written: {} only here, {\"emp\"} only there",
        COPY_OUT,
    ),
    (
        "COPY emp (id, name) TO STDOUT WITH (FORMAT csv)",
        "written: {} only here, {\"emp\"} only there",
        COPY_OUT,
    ),
    (
        "CREATE TABLE n (id integer)",
        "written: {} only here, {\"n\"} only there",
        NEW,
    ),
    (
        "CREATE TABLE n AS SELECT id FROM emp",
        "written: {} only here, {\"n\"} only there",
        NEW,
    ),
    (
        "CREATE VIEW n AS SELECT id FROM emp",
        "written: {} only here, {\"n\"} only there",
        NEW,
    ),
    (
        "CREATE MATERIALIZED VIEW n AS SELECT count(*) FROM emp",
        "written: {} only here, {\"n\"} only there",
        NEW,
    ),
    (
        "GRANT SELECT ON emp TO public",
        "written: {} only here, {\"emp\"} only there",
        RIGHTS,
    ),
    (
        "REVOKE ALL ON emp FROM public",
        "written: {} only here, {\"emp\"} only there",
        RIGHTS,
    ),
    (
        "LOCK TABLE emp IN EXCLUSIVE MODE",
        "written: {} only here, {\"emp\"} only there",
        LOCK,
    ),
];

#[test]
fn pg_query_finds_the_same() {
    let server = Server::start("oracle");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    let mut wrong = Vec::new();
    let mut explained = BTreeSet::new();
    for line in CORPUS.lines() {
        let oracle: Value = serde_json::from_str(line).unwrap();
        let sql = oracle["sql"].as_str().unwrap();
        for difference in differences(&world, sql, &oracle) {
            let known = EXPLAINED
                .iter()
                .position(|(s, d, _)| *s == sql && *d == difference);
            match known {
                Some(row) => drop(explained.insert(row)),
                None => wrong.push(format!("{sql}\n    {difference}")),
            }
        }
    }
    for (row, (sql, difference, _)) in EXPLAINED.iter().enumerate() {
        if !explained.contains(&row) {
            wrong.push(format!("{sql}\n    no longer differs: {difference}"));
        }
    }
    assert!(CORPUS.lines().count() > 100, "the corpus is too small");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

type Names = BTreeSet<String>;

/// Every difference as one line of text.
fn differences(world: &World, sql: &str, oracle: &Value) -> Vec<String> {
    let analysis = world.analyse(sql);
    let facts = &analysis.facts;
    let of = |key: &str| -> Names {
        let names = oracle[key].as_array().unwrap();
        names.iter().map(|n| last(n.as_str().unwrap())).collect()
    };
    let ours = |relations: &[pipeline::Relation]| -> Names {
        relations.iter().map(|r| r.name.to_string()).collect()
    };
    let (reads, writes) = (ours(&facts.reads), ours(&facts.writes_to));
    let (select, written) = (of("select"), &of("dml") | &of("ddl"));
    let calls: Names = facts.functions.iter().map(|f| last(f)).collect();

    let mut found = Vec::new();
    let kinds: Vec<&str> = oracle["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| kind(k.as_str().unwrap()))
        .collect();
    if facts.multi_statement != (kinds.len() > 1) {
        found.push(format!("{} statement(s)", kinds.len()));
    }
    if let [kind] = kinds.as_slice()
        && *kind != facts.kind.as_str()
    {
        found.push(format!("kind: {} here, {kind} there", facts.kind.as_str()));
    }
    compare("written", &writes, &written, &mut found);
    // What is changed may be read by that, too; pg_query has it as changed only.
    compare(
        "read",
        &(&reads - &written),
        &(&select - &written),
        &mut found,
    );
    let missing = &(&select & &written) - &reads;
    if !missing.is_empty() {
        found.push(format!("changed and read, and not read here: {missing:?}"));
    }
    compare("called", &calls, &of("calls"), &mut found);
    found
}

fn compare(what: &str, here: &Names, there: &Names, found: &mut Vec<String>) {
    if here != there {
        found.push(format!(
            "{what}: {:?} only here, {:?} only there",
            here - there,
            there - here
        ));
    }
}

fn last(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

/// The analysis's word for a kind of pg_query's.
fn kind(statement: &str) -> &'static str {
    match statement {
        "SelectStmt" => "select",
        "InsertStmt" => "insert",
        "UpdateStmt" => "update",
        "DeleteStmt" | "TruncateStmt" => "delete",
        "MergeStmt" => "merge",
        "CopyStmt" => "copy",
        "CallStmt" | "DoStmt" => "call",
        "TransactionStmt" => "transaction",
        "VariableSetStmt" | "VariableShowStmt" | "PrepareStmt" | "DeclareCursorStmt"
        | "DiscardStmt" | "LockStmt" => "session",
        "GrantStmt" | "CreateRoleStmt" => "dcl",
        "VacuumStmt" | "ListenStmt" | "NotifyStmt" | "ExplainStmt" => "utility",
        _ => "ddl",
    }
}
