//! What a snapshot of a real database holds, and what hostile rows do to `build`.

use std::sync::Arc;

use pipeline::{LabelCatalog, LabelRule};

use super::server::Server;
use crate::catalog::{CatalogError, Path, Rows, Snapshot};

const SCHEMA: &str = "
CREATE SCHEMA hr;
CREATE TABLE hr.emp (id int, gone text, ssn text, clean text,
    tail text GENERATED ALWAYS AS (right(ssn, 4)) STORED,
    up text GENERATED ALWAYS AS (upper(clean)) STORED);
ALTER TABLE hr.emp DROP COLUMN gone;
CREATE TABLE part (k int, ssn text) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE VIEW direct AS SELECT id, ssn AS s FROM hr.emp;
CREATE VIEW second AS SELECT s AS t FROM direct;
CREATE FUNCTION leak() RETURNS text LANGUAGE sql AS 'SELECT ssn FROM hr.emp LIMIT 1';
CREATE VIEW hidden AS SELECT leak() AS l;
CREATE MATERIALIZED VIEW frozen AS SELECT ssn FROM hr.emp;
CREATE FUNCTION like_that(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR === (FUNCTION = like_that, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR ==== (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text);
";

#[test]
fn of_a_real_database() {
    let server = Server::start("snapshot");
    let mut client = server.connect();
    client.run(SCHEMA);
    let snapshot = client.snapshot();
    let second = snapshot.find_relations(None, "second", Path::Unknown);
    assert!(!snapshot.relation(second[0]).unwrap().opaque);
    // A hostile search path changes nothing, but that pg_get_viewdef finds no view: its own query
    // uses an operator by name. A view whose definition is missing counts as opaque.
    client.run(
        "CREATE SCHEMA evil; SET search_path = evil, pg_catalog;
        CREATE FUNCTION evil.ne(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT false';
        CREATE OPERATOR evil.>= (FUNCTION = evil.ne, LEFTARG = oid, RIGHTARG = oid);
        CREATE OPERATOR evil.= (FUNCTION = evil.ne, LEFTARG = oid, RIGHTARG = oid)",
    );
    let snapshot = client.snapshot();
    let state = client.state();
    let find = |schema: &str, name: &str| {
        let found = snapshot.find_relations(Some(schema), name, Path::Unknown);
        assert_eq!(found.len(), 1, "{schema}.{name}");
        snapshot.relation(found[0]).unwrap()
    };
    let emp = find("hr", "emp");
    let columns: Vec<(i16, &str)> = emp.columns.iter().map(|c| (c.number, &*c.name)).collect();
    assert_eq!(
        columns,
        [(1, "id"), (3, "ssn"), (4, "clean"), (5, "tail"), (6, "up")]
    );
    assert!(emp.is_table() && !emp.is_view());
    assert_eq!(find("public", "part").children.len(), 1);
    assert_eq!(find("public", "part_1").parents.len(), 1);
    assert!(find("public", "hidden").opaque);
    assert!(find("public", "second").opaque);
    assert_eq!(find("public", "frozen").kind, b'm');
    assert_eq!(
        &*snapshot.foreign_operators("===")[0].function.1,
        "like_that"
    );
    assert!(snapshot.foreign_operators("====").is_empty());
    assert!(snapshot.foreign_operators("||").is_empty());
    assert!(!snapshot.find_functions(None, "leak", Path::Unknown)[0].pure);
    assert!(snapshot.find_functions(None, "count", state.path())[0].pure);
    assert!(snapshot.takes_row("row_to_json") && !snapshot.takes_row("lower"));

    let rule = |schema: &str, table: &str, column: &str| LabelRule {
        target: "*".into(),
        schema: schema.into(),
        table: table.into(),
        column: column.into(),
        labels: [Arc::from("pii")].into(),
    };
    let labels = LabelCatalog::new(vec![
        rule("hr", "emp", "ssn"),
        rule("*", "part_1", "ssn"),
        rule("*", "*", "relname"),
        rule("pg_catalog", "pg_authid", "rolpassword"),
    ]);
    let index = snapshot.labelled(&labels, &Arc::from("t"));
    let all: Vec<String> = index
        .all
        .iter()
        .map(|c| format!("{}.{}.{}", c.schema, c.table, c.column))
        .collect();
    for expect in [
        "hr.emp.ssn",
        "hr.emp.tail",
        "public.part.ssn",
        "public.part_1.ssn",
        "pg_catalog.pg_authid.rolpassword",
    ] {
        assert!(all.iter().any(|c| c == expect), "{expect} in {all:?}");
    }
    assert_eq!(all.len(), 5, "{all:?}");
    assert!(Arc::ptr_eq(
        &index,
        &snapshot.labelled(&labels.clone(), &Arc::from("t"))
    ));
}

#[test]
fn rows_that_no_server_sends() {
    assert!(matches!(
        Snapshot::build(&[]),
        Err(CatalogError::Missing { .. })
    ));
    let empty: Vec<Rows> = vec![Vec::new(); Snapshot::QUERIES.len()];
    assert!(Snapshot::build(&empty).is_ok());
    for query in 0..Snapshot::QUERIES.len() {
        let mut results = empty.clone();
        results[query] = vec![vec![None]];
        assert!(Snapshot::build(&results).is_err(), "query {query}");
        let wide = vec![Some("x".to_owned()); 8];
        for width in 0..8 {
            results[query] = vec![wide[..width].to_vec()];
            // Of the right width, it can be a row that nobody asks for.
            Snapshot::build(&results).ok();
        }
    }
}
