//! What a real server says about results, against what was resolved: their columns, names and origins.

use std::collections::BTreeSet;

use super::World;
use crate::analysis::resolve::{ANY, Output};
use crate::analysis::shape::Body;
use crate::catalog::tests::server::{Client, Server};

const SCHEMA: &str = "
CREATE TABLE emp (id int PRIMARY KEY, name text, ssn text, dept int, pay int);
CREATE TABLE dept (id int PRIMARY KEY, title text, boss int);
CREATE TABLE note (id bigint, name varchar(20), body text, tags text[], doc jsonb);
CREATE TABLE part (k int, ssn text, other text) PARTITION BY RANGE (k);
CREATE TABLE part_1 (other text, ssn text, k int NOT NULL);
ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES FROM (0) TO (9);
CREATE TABLE base (id int, note text);
CREATE TABLE child (extra text) INHERITS (base);
CREATE TABLE gen (a text, b text GENERATED ALWAYS AS (a || '!') STORED);
CREATE TYPE pair AS (x int, y text);
CREATE TABLE held (p pair, ps pair[], e emp);
CREATE DOMAIN short AS varchar(10);
CREATE TABLE domained (s short, t text);
CREATE VIEW v_plain AS SELECT id, name, ssn FROM emp;
CREATE VIEW v_alias (k, who, code) AS SELECT id, name, upper(ssn) FROM emp WHERE pay > 1;
CREATE VIEW v_deep AS SELECT k, who || '' AS w, code AS c2 FROM v_alias ORDER BY code;
CREATE MATERIALIZED VIEW m_copy AS SELECT id, ssn AS frozen FROM emp;
CREATE SCHEMA x;
CREATE TABLE x.emp (id int, a text);
CREATE FUNCTION two(OUT a int, OUT b text) LANGUAGE sql AS 'SELECT 1, ''x''::text';
CREATE FUNCTION rows() RETURNS SETOF emp LANGUAGE sql AS 'SELECT * FROM emp';
";

const QUERIES: &str = include_str!("truth.sql");

/// What was resolved, and whether foreign code runs.
fn output(world: &World, sql: &str) -> Option<(Output, bool)> {
    let analysis = world.analyse(sql);
    assert!(analysis.facts.parsed, "{sql}");
    if analysis.unknown_names {
        return None;
    }
    match &*analysis.statements.last()?.body {
        Body::Rows(output) => Some(((**output).clone(), analysis.runs_code())),
        _ => None,
    }
}

#[test]
fn results_are_what_the_server_says() {
    let server = Server::start("truth");
    let mut client = server.connect();
    client.run(SCHEMA);
    let world = World::new(client.snapshot(), client.state());
    let (mut queries, mut columns, mut exact) = (0, 0, 0);
    let mut wrong = Vec::new();
    for sql in QUERIES
        .split(";\n")
        .map(str::trim)
        .filter(|s| !s.is_empty())
    {
        let Some(fields) = described(&mut client, sql, &mut wrong) else {
            continue;
        };
        let Some((output, foreign)) = output(&world, sql) else {
            wrong.push(format!("UNRESOLVED {sql}"));
            continue;
        };
        queries += 1;
        if !output.agrees(&fields) {
            wrong.push(format!("DISAGREES {sql}\n    {output:?}\n    {fields:?}"));
        }
        let known = output.head.iter().zip(&fields);
        for (column, field) in known {
            columns += 1;
            let says = (field.table_oid, field.attnum);
            let told = column.origin.map_or((0, 0), |o| (o.relation, o.column));
            // A system column and a whole row are no columns of values.
            exact += usize::from(says == told || field.attnum <= 0);
            if column.sources.contains(&ANY) && !foreign {
                wrong.push(format!("BLIND {sql}: {}", field.name));
            }
            if column.name.is_none() {
                wrong.push(format!("NAMELESS {sql}: {}", field.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{queries} queries, {columns} columns, {exact} with the server's origin");
    assert!(
        queries > 200 && exact * 100 > columns * 95,
        "{queries} {exact} of {columns}"
    );
}

fn described(
    client: &mut Client,
    sql: &str,
    wrong: &mut Vec<String>,
) -> Option<Vec<crate::analysis::Field>> {
    let replies = client.query(&format!("BEGIN; {sql}; ROLLBACK"));
    let error = replies.iter().find_map(|r| r.error.clone());
    if let Some(error) = error {
        client.run("ROLLBACK");
        wrong.push(format!("ERROR {sql}\n    {error}"));
        return None;
    }
    let fields = replies
        .into_iter()
        .map(|r| r.fields)
        .find(|f| !f.is_empty());
    fields.or_else(|| {
        wrong.push(format!("NO ROWS {sql}"));
        None
    })
}

/// Every labelled column is resolved to itself, through whatever stands between.
#[test]
fn nothing_is_resolved_twice() {
    let queries: Vec<&str> = QUERIES.split(";\n").map(str::trim).collect();
    let different: BTreeSet<&str> = queries.iter().copied().collect();
    assert_eq!(queries.len(), different.len());
}
